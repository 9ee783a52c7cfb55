"""The last traps, returns, fences and waits of the hart, newest at the bottom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from emulator.hart import Event, EventKind
from emulator.isa import csrs
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_index, virtual_machines
from rvtui.text import MODE_NAMES, Line, Span, clean

COUNT = 200
_KINDS = {
    "trap": ("!", "warn"),
    "interrupt": ("⚡", "accent"),
    "return": ("←", "label"),
    "fence": ("∥", "dim"),
    "wfi": ("z", "dim"),
    "hgatp": ("⇄", "HS"),
}


@dataclass(frozen=True)
class Events:
    entries: tuple[tuple[Event, str], ...]
    """(event, symbol at its pc, and its source line if that is known), oldest first."""
    guests: Mapping[int, str]
    """Names by VMID."""


def read_events(machine: Machine, subject: Subject) -> Events:
    found = named(machine, machine.harts[hart_index(machine, subject)].events(COUNT))
    return Events(found, {vm.vmid: vm.name for vm in virtual_machines(machine)})


def named(machine: Machine, events: Iterable[Event]) -> tuple[tuple[Event, str], ...]:
    """(event, symbol at its pc, and its source line if that is known)."""
    guests = {vm.vmid: vm.symbols for vm in virtual_machines(machine)}
    entries = []
    for event in events:
        # A return stands where it leads to, all else where it came from.
        mode = event.to_mode if event.kind is EventKind.RETURN else event.from_mode
        table = guests.get(event.vmid) if mode.virtual else machine.symbols
        name = (table.lookup(event.pc) or "") if table is not None else ""
        line = table.sources.known_line(event.pc) if table is not None else None
        entries.append((event, f"{clean(name, 40)} {clean(line.name, 40)}" if line is not None else clean(name, 40)))
    return tuple(entries)


NOBODY: Mapping[int, str] = MappingProxyType({})


class EventsPane(Pane):
    NAME = "events"
    WIDE = True
    TITLE = "Events"
    KEY = "9"
    TOLD_BY = "events"
    HELP = (
        "The hart's last events with the instruction count at which they happened: traps and interrupts with cause and"
        " the modes they lead from and to, returns, fences, waits, and writes of hgatp. ▸ and ◂ are world switches: a"
        " guest is entered, or left and why; guests go by their names, or by the VMID in hgatp."
    )

    def __init__(self) -> None:
        super().__init__()
        self._follow = True

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"events": (read_events, 0.1)}

    def moved(self) -> None:
        self._follow = self.top >= len(self.lines) - self.rows

    def draw(self, view: View) -> list[Line] | None:
        events = view.get("events")
        if not isinstance(events, Events):
            return None
        lines = [line_of(event, symbol, events.guests) for event, symbol in events.entries]
        if not lines:
            lines = [(("nothing has happened yet", "dim"),)]
        if self._follow:
            self.top = max(0, len(lines) - self.rows)
        return lines


def line_of(event: Event, symbol: str, guests: Mapping[int, str] = NOBODY) -> Line:
    kind = event.kind.name.lower()
    switch = event.world_switch
    mark, style = ("▸" if event.entry else "◂", "VS") if switch else _KINDS.get(kind, ("?", "warn"))
    origin, target = MODE_NAMES[int(event.from_mode)], MODE_NAMES[int(event.to_mode)]
    spans: list[Span] = [(f"{event.clock:>14,} ", "dim"), (f"{mark} {kind:<9} ", style), (f"{origin:<2}", origin)]
    if kind in ("trap", "interrupt", "return"):
        spans += [("→", "faint"), (f"{target:<2} ", target)]
    else:
        spans.append(("    ", ""))
    if switch:
        name = guests.get(event.vmid)
        spans.append((switch if name is None else switch.replace(f"VMID {event.vmid}", clean(name, 20), 1), "VS bold"))
    elif kind in ("trap", "interrupt"):
        spans.append((csrs.cause_name(event.cause & 0x3F, kind == "interrupt"), "" if kind == "trap" else "accent"))
    elif kind == "hgatp":
        value = event.value
        spans.append(
            (f"VMID {value >> 44 & 0x3FFF}  root {(value & (1 << 44) - 1) << 12:#x}" if value >> 60 else "Bare", "HS")
        )
    elif kind == "fence":
        spans.append((f"address {event.value:#x}" if event.value else "all", "dim"))
    if kind == "trap" and event.value:
        spans.append((f"  {event.value:#x}", "label"))
    spans.append((f"  {event.pc:x} {symbol}", "dim"))
    return tuple(spans)
