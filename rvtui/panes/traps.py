"""Why did it trap: the last traps, and for each the way it took, and what each CSR received by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType

from emulator import traps
from emulator.hart import Access, Event, EventKind, Mode, TrapRecord
from emulator.loader import Symbols
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_index, inner_guests, virtual_machines
from rvtui.text import Line, Span, clean, digits, fit, hex64

MOST = 256
SECTIONS = 112
"""Columns from which on sections of the manual stand behind the rules."""
ILLEGAL_INSTRUCTION = 2
PREVIEW = 24
"""Rows from which on the selected trap is explained below the list."""


@dataclass(frozen=True)
class Entry:
    """The last of `times` traps that are alike: same cause, modes, pc and xtval."""

    trap: TrapRecord
    times: int
    names: Mapping[int, str]
    """Symbols at pc, handler and xtval, where they have one."""
    lines: Mapping[int, str]
    """Source lines of them, as far as they are known: "hello.c:12"."""
    hypervisor: bool
    """The hart has the H extension."""
    guest: Subject | None
    """What to look at for the guest that it came from, if it came from one."""
    owner: str
    """That guest's name; "" where it came from none that is known."""

    @property
    def fault(self) -> bool:
        """An access that failed, or an instruction that there is not: no call, no interrupt, nothing to emulate."""
        trap = self.trap
        return not trap.interrupt and (trap.cause in traps.ACCESSES or trap.cause == ILLEGAL_INSTRUCTION)

    @property
    def key(self) -> tuple[object, ...]:
        return alike(self.trap)

    def where(self, address: int) -> str:
        name = self.names.get(address, "")
        line = self.lines.get(address, "")
        return f"{address:#x}" + (f" <{clean(name, 40)}>" if name else "") + (f" {clean(line, 40)}" if line else "")


NOBODY: tuple[Subject | None, str] = (None, "")


def alike(trap: TrapRecord) -> tuple[object, ...]:
    """Traps for which this is equal stand in one row."""
    return trap.cause, trap.interrupt, trap.from_mode, trap.to_mode, trap.pc, trap.tval, trap.vmid


def key_of(event: Event) -> tuple[object, ...]:
    """The same of the event of a trap."""
    interrupt = event.kind is EventKind.INTERRUPT
    return event.cause, interrupt, event.from_mode, event.to_mode, event.pc, event.value, event.vmid


def read_traps(machine: Machine, subject: Subject) -> tuple[Entry, ...]:
    """Newest first."""
    hart = machine.harts[hart_index(machine, subject)]
    vms = virtual_machines(machine)
    symbols: dict[int, Symbols] = {vm.vmid: vm.symbols for vm in vms}
    guests = {vm.vmid: (Subject(0, index), vm.name) for index, vm in enumerate(vms)}
    guests |= {guest.vmid: (Subject(guest=guest.identity), guest.name) for guest in inner_guests(machine)}
    found: dict[tuple[object, ...], list[TrapRecord]] = {}
    log = hart.trap_log(MOST)
    first = log[0].number if log else 0
    for trap in reversed([trap for trap in hart.fault_log() if trap.number < first] + log):
        found.setdefault(alike(trap), []).append(trap)
    entries = []
    for same in found.values():
        trap = same[0]
        names: dict[int, str] = {}
        lines: dict[int, str] = {}
        handler = trap.entry.handler if trap.entry else trap.pc
        for address, mode in ((trap.tval, trap.from_mode), (handler, trap.to_mode), (trap.pc, trap.from_mode)):
            table = symbols.get(trap.vmid) if mode.virtual else machine.symbols
            name = table.lookup(address) if table is not None else None
            if name:
                names[address] = name
            line = table.sources.known_line(address) if table is not None else None
            if line is not None:
                lines[address] = line.name
        guest, owner = guests.get(trap.vmid, NOBODY) if trap.from_mode.virtual else NOBODY
        entries.append(Entry(trap, len(same), names, lines, "H" in hart.isa, guest, owner))
    return tuple(entries)


class TrapsPane(Pane):
    NAME = "traps"
    WIDE = True
    TITLE = "Why did it trap"
    KEY = "T"
    TOLD_BY = "traps"
    CURSOR = True
    HELP = (
        "The hart's last 256 traps, newest first, and the last 64 faults also behind those; what is alike is one row"
        " with its number. Enter shows the way that a trap took: each delegation bit as it was then, who took it and"
        " why, and what every CSR received by which rule of the manual. In a tall pane that of the selected trap stands"
        " below. Faults (l) are accesses that failed, and illegal instructions. w walks the address that failed, with"
        " its access and mode; where the selected trap is none, that of the last fault. t takes the last trap back, so"
        " that its instruction is tried again. b stops at traps like it from now on, and b again no more."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "faults", "limit to faults, or all", show=False),
        Binding("o", "own", "traps of what is looked at only, or of all", show=False),
        Binding("t", "take_back", "take the last trap back: its instruction is tried again", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._opened: set[tuple[object, ...]] = set()
        self._entries: list[Entry] = []
        """By row."""
        self._held: tuple[tuple[object, ...], int] | None = None
        """The trap that the user has gone to, and the row in it; None: the newest."""
        self._faults = self._own = False

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"traps": (read_traps, 0.2)}

    @property
    def selected(self) -> Entry | None:
        return self._entries[self.cursor] if self.cursor < len(self._entries) else None

    def hold(self, key: tuple[object, ...]) -> None:
        """Open the traps that are alike, and go there."""
        self._faults = self._own = False
        self._opened.add(key)
        self._held = key, 0
        if self.display:  # else a view that has them is to come
            self.redraw()

    def walk(self) -> tuple[int, Access, Mode, Subject | None] | None:
        """(address, access, mode, guest) of the selected trap, where an access failed; else of the last fault."""
        for entry in (*([self.selected] if self.selected else []), *self._entries):
            found = traps.access_of(entry.trap)
            if found is not None:
                return (*found, entry.guest)
        return None

    def walk_here(self) -> bool:
        """In the guest whose address it is."""
        walk = self.walk()
        if walk is not None:
            address, access, mode, guest = walk
            self.application.walk_in(guest, address, access, mode)
        return walk is not None

    def stop_line(self) -> str:
        if (entry := self.selected) is None:
            return ""
        trap = entry.trap
        cause = f"interrupt {trap.cause}" if trap.interrupt else str(trap.cause)
        return f"trap {cause} from {trap.from_mode.name} to {trap.to_mode.name} in {entry.owner or 'any'}"

    def place_here(self) -> str:
        walk = self.walk()
        return f"{walk[0]:#x}" if walk is not None else ""

    def draw(self, view: View) -> list[Line] | None:
        entries = view.get("traps")
        if not isinstance(entries, tuple):
            return None
        lines: list[Line] = []
        rows: list[Entry] = []
        starts: dict[tuple[object, ...], int] = {}
        width = self.columns
        wanted = [entry for entry in entries if self._wants(entry, view.subject)]
        self.entitle(" ".join(["faults"] * self._faults + ["of what is looked at"] * self._own))
        widest = max((cell_len(clean(entry.owner)) for entry in wanted), default=0)
        owners = min(widest, max(6, width - 70))
        for entry in wanted:
            opened = entry.key in self._opened
            starts[entry.key] = len(lines)
            lines.append(_row(entry, opened, width, owners))
            lines += explained(entry, width) if opened else []
            rows += [entry] * (len(lines) - len(rows))
        self._opened &= starts.keys()
        self.cursor = min(self.cursor, max(0, len(rows) - 1))
        if self._held is not None:
            key, offset = self._held
            self.cursor = starts.get(key, 0) + (offset if key in starts else 0)
        self._entries = rows
        self.pinned = []
        entry = self.selected
        height = int(self.extent.height)
        if entry is not None and height >= PREVIEW and entry.key not in self._opened:
            below = explained(entry, width)[: height - 6]
            self.pinned = [(("─" * width, "faint"),), *below]
        return lines or [((f"no {'fault' if self._faults and entries else 'trap'} yet", "dim"),)]

    def _wants(self, entry: Entry, subject: Subject) -> bool:
        if self._own and (entry.guest is None or not entry.guest.same(subject)):
            return False
        return entry.fault or not self._faults

    def action_faults(self) -> None:
        self._faults = not self._faults
        self._held, self.cursor = None, 0
        self.redraw()

    def action_own(self) -> None:
        self._own = not self._own
        self._held, self.cursor = None, 0
        self.redraw()

    def moved(self) -> None:
        entry = self.selected
        self._held = None
        if entry is not None and self.cursor:
            first = next(row for row, each in enumerate(self._entries) if each is entry)
            self._held = entry.key, self.cursor - first
        self.redraw()

    def action_take_back(self) -> None:
        self.application.carry_out("retry")

    def choose(self, row: int) -> None:
        if row < len(self._entries):
            key = self._entries[row].key
            self._opened ^= {key}
            self._held = (key, 0) if row and self._held is not None else None
            self.redraw()


def _row(entry: Entry, opened: bool, width: int, owners: int) -> Line:
    trap = entry.trap
    origin, target = trap.from_mode.label, trap.to_mode.label
    spans: list[Span] = [
        ("▾ " if opened else "▸ ", "accent"),
        ("⚡" if trap.interrupt else "! ", "accent" if trap.interrupt else "warn"),
        (f"{origin:>2}", origin),
        ("→", "faint"),
        (f"{target:<2} ", target),
        (fit(clean(entry.owner), owners) + " " * bool(owners), "bold"),
        (fit(trap.name, 30), ""),
        (f" {f'x{entry.times}' if entry.times > 1 else '':<5}", "bold"),
    ]
    if width >= 100:
        spans.insert(2, (f"{trap.clock:>14,} ", "dim"))
    if trap.tval and not trap.interrupt:
        what = traps.value_meaning(trap) if trap.cause in (2, 22) else f"{trap.tval:#x}"
        spans.append((f"{what}  ", "label"))
    line = entry.lines.get(trap.pc, "") if width >= 110 else ""
    spans.append((f"{trap.pc:x} {clean(entry.names.get(trap.pc, ''), 40)} {clean(line, 40)}".rstrip(), "dim"))
    return tuple(spans)


def brief(entry: Entry) -> str:
    """In one line."""
    trap = entry.trap
    tval = f"  tval {trap.tval:#x}" if trap.tval else ""
    times = f"  x{entry.times}" if entry.times > 1 else ""
    owner = f"{clean(entry.owner, 30)}: " if entry.owner else ""
    return f"{owner}{trap.from_mode.label} to {trap.to_mode.label}  {trap.name} at {entry.where(trap.pc)}{tval}{times}"


def explained(entry: Entry, width: int) -> list[Line]:
    """The way of a trap as a diagram, why it went there, and what each CSR received."""
    trap = entry.trap
    kind = "interrupt" if trap.interrupt else "exception"
    origin, target = trap.from_mode.label, trap.to_mode.label
    lines: list[Line] = [
        (
            ("   ● ", "accent"), (f"{origin:<3}", f"{origin} bold"), (f"{trap.name} ({kind} {trap.cause})", "bold"),
            (f"  at {entry.where(trap.pc)}", "label"), (f"  instruction {trap.clock:,}", "dim"),
        )
    ]  # fmt: skip
    for stop in traps.route(trap):
        passed = stop.value if stop.mode is not None and "deleg" in stop.what else None
        owner = stop.mode.label if stop.mode is not None else "hart"
        lines.append(
            (
                ("   │" if passed is None else "   ├" if passed else "   ╞", "faint"),
                (f" {owner:<5}", owner if stop.mode is not None else "label"),
                (f"{stop.text:<16}", "bold" if stop.value is not None else "dim"),
                (f" {stop.says}", ""),
                *_section(stop.section, 26 + len(stop.says), width),
            )
        )
    if trap.entry is not None:
        lines.append(
            (
                ("   ▼ ", f"{target} bold"), (f"{target:<5}", f"{target} bold"),
                (f"handler {entry.where(trap.entry.handler)}", ""),
                *_section(traps.VECTORS[trap.to_mode], 19 + len(entry.where(trap.entry.handler)), width),
            )
        )  # fmt: skip
    lines.append((("     " + traps.reason(trap), "good bold" if trap.entry else "label"),))
    for change in traps.changes(trap, entry.hypervisor):
        spans: list[Span] = [("     ", ""), (f"{change.name:<14}", "label")]
        if change.field:
            spans.append((f"{change.before} → {change.after}", "changed bold" if change.before != change.after else ""))
            spans.append(("* " if change.before != change.after else "  ", "changed bold"))
            used = 26
            if width >= 64:
                spans.append((" " * 11, ""))
                used += 11
        else:
            spans += [*hex64(change.after), ("  ", "")]
            used = 37
        meaning = entry.where(change.after) if change.address and change.after in entry.names else change.meaning
        text = change.rule + (f": {meaning}" if meaning and not change.rule.startswith("kept") else "")
        spans.append((clean(text, max(8, width - used)), "dim" if not meaning else ""))
        lines.append((*spans, *_section(change.section, used + len(text), width)))
    return lines


def _section(name: str, used: int, width: int) -> list[Span]:
    """Where the manual says so, if there is room."""
    room = width - max(used + 2, 78)
    return [(" " * (max(used + 2, 78) - used), ""), (fit(f"§ {name}", room).rstrip(), "faint")] if room >= 20 else []


def told(entry: Entry) -> dict[str, Any]:
    """The same for programs."""
    trap = entry.trap
    return {
        "cause": trap.cause, "interrupt": trap.interrupt, "name": trap.name, "from": trap.from_mode.label,
        "to": trap.to_mode.label, "guest": entry.owner or None, "pc": hex(trap.pc),
        "symbol": entry.names.get(trap.pc, ""), "source": entry.lines.get(trap.pc), "tval": hex(trap.tval),
        "clock": trap.clock, "vmid": trap.vmid, "times": entry.times, "reason": traps.reason(trap),
        "handler": None if trap.entry is None else hex(trap.entry.handler),
        "route": [
            {"asked": stop.what, "value": digits(stop.value), "says": stop.says, "section": stop.section}
            for stop in traps.route(trap)
        ],
        "received": [
            {
                "name": change.name, "before": digits(change.before), "after": digits(change.after),
                "meaning": change.meaning, "rule": change.rule, "section": change.section,
            }
            for change in traps.changes(trap, entry.hypervisor)
        ],
    }  # fmt: skip
