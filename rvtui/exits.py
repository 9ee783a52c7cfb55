"""Exits as `perf kvm stat` prints them: of VMs, of guests inside, and the traps of harts; whole, or since a moment.

Counts are the machine's own, and grow for ever. "Since" is the viewer's: what was counted at some moment is subtracted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from emulator import worlds
from emulator.hart import ExitCount, Hart, Mode
from emulator.isa import csrs
from emulator.machine import Machine
from emulator.stops import Stop, Trap
from emulator.worlds import Guest, GuestExit
from rvtui.keeping import program_key
from rvtui.subjects import Subject, virtual_machines

OCCURRENCES = 8
"""Last ones of a row that are shown."""
PARTS = ("guest", "hypervisor", "firmware")
"""Where instructions are retired: VS and VU; HS and U; M."""
_CAUSES = {
    csrs.kvm_name(code, interrupt): (code, interrupt)
    for interrupt, table in ((False, csrs.EXCEPTIONS), (True, csrs.INTERRUPTS))
    for code in table
}


@dataclass(frozen=True)
class Row:
    """`mode`: where a trap came from, or where a guest's exit went; "" for VMs, whose hypervisor is not in the machine.

    `time` followed `returns` of the exits until the guest was entered again: clocks of the hart, one per instruction.
    """

    what: str
    cause: int
    interrupt: bool
    mode: str
    times: int
    returns: int = 0
    time: int = 0
    least: int | None = None
    """None: not known; of what follows a reset, unless it is a new extreme."""
    most: int | None = None
    stop: str = ""
    """The sign of the stop that waits for it, or ""."""

    @property
    def key(self) -> tuple[int, bool, str]:
        return self.cause, self.interrupt, self.mode

    @property
    def mean(self) -> float | None:
        return self.time / self.returns if self.returns else None


@dataclass(frozen=True)
class Table:
    name: str
    kind: str
    """ "vm", "guest" or "hart"."""
    subject: Subject
    hgatp: int
    """Of a VM or guest."""
    rows: tuple[Row, ...]
    """The most frequent first."""
    instructions: tuple[int, int, int]
    """By `PARTS`; of a guest, what its hypervisor and the firmware retired behind its exits."""
    last: tuple[GuestExit, ...] = ()
    """Exits of whatever cause, oldest first: of a VM some, of a guest one."""

    @property
    def key(self) -> tuple[str, object]:
        """By which it is known again later."""
        return self.kind, worlds.identity(self.hgatp) if self.kind == "guest" else self.name

    @property
    def total(self) -> int:
        return sum(row.times for row in self.rows)

    @property
    def time(self) -> int:
        return sum(row.time for row in self.rows)

    @property
    def timed(self) -> bool:
        """It has columns of time."""
        return self.kind != "hart"


@dataclass(frozen=True)
class Tables:
    """All of a machine at one moment."""

    clock: int
    tables: tuple[Table, ...]
    since: int = 0
    """The clock from which on they count."""
    program: str | None = None
    """What the machine runs."""


def read(machine: Machine) -> Tables:
    """Counts since the machine began. On the session's worker only."""
    vms = virtual_machines(machine)
    hosts = {guest.identity: guest for guest in machine.guests}
    stops = [stop for stop in machine.stops if stop.number and isinstance(stop.what, Trap)]
    tables = []
    for index, vm in enumerate(vms):
        guest = hosts.get(worlds.identity(vm.hgatp))
        tables.append(_of_vm(vm, Subject(0, index), guest))
    tables += [_of_guest(guest) for guest in ([] if vms else hosts.values())]
    tables += [_of_hart(hart) for hart in machine.harts if not hart.halted or any(hart.retired.values())]
    return Tables(machine.clock, tuple(_marked(table, stops) for table in tables), program=program_key(machine))


def _of_vm(vm: Any, subject: Subject, guest: Guest | None) -> Table:
    """The VM's own counts; the hart knows what followed, unless it has forgotten the VM for others."""
    known = {} if guest is None else {each.name: each for each in guest.exit_counts if each.to_mode is Mode.HS}
    rows = [
        _row(name, *_cause_of(name), "", times, known.get(name))
        for name, times in sorted(vm.exits.items(), key=lambda item: (-item[1], item[0]))
    ]
    outside = (0, 0, 0) if guest is None else guest.served
    parts = vm.instructions, outside[1] + outside[2], outside[0]
    return Table(vm.name, "vm", subject, vm.hgatp, tuple(rows), parts, tuple(vm.events)[-OCCURRENCES:])


def _cause_of(name: str) -> tuple[int, bool]:
    kind, _, code = name.partition("_")
    return _CAUSES[name] if name in _CAUSES else (int(code), kind == "IRQ")


def _of_guest(guest: Guest) -> Table:
    rows = (
        _row(each.name, each.cause, each.interrupt, each.to_mode.label, each.count, each)
        for each in guest.exit_counts
    )
    firmware, host, user = guest.served
    parts = guest.instructions, host + user, firmware
    subject = Subject(guest=guest.identity)
    last = (guest.last_exit,) if guest.last_exit else ()
    return Table(guest.name, "guest", subject, guest.hgatp, tuple(rows), parts, last)


def _of_hart(hart: Hart) -> Table:
    traps = sorted(hart.traps(), key=lambda row: (-row[3], row[1]))
    rows = (_row(csrs.cause_name(cause, irq), cause, irq, origin.label, n) for origin, cause, irq, n in traps)
    retired = hart.retired
    parts = retired[Mode.VS] + retired[Mode.VU], retired[Mode.HS] + retired[Mode.U], retired[Mode.M]
    return Table(f"hart {hart.index}", "hart", Subject(hart.index), 0, tuple(rows), parts)


def _row(what: str, cause: int, interrupt: bool, mode: str, times: int, known: ExitCount | None = None) -> Row:
    if known is None or not known.returns:
        return Row(what, cause, interrupt, mode, times)
    return Row(what, cause, interrupt, mode, times, known.returns, known.spent, known.least, known.most)


# --- since a moment ---


def since(now: Tables, then: Tables | None) -> Tables:
    """What was counted between two moments. A machine that went back in time behind `then`, or is another one, counts
    from its start."""
    if then is None or now.clock < then.clock or now.program != then.program:
        return now
    before = {table.key: table for table in then.tables}
    tables = []
    for table in now.tables:
        old = before.get(table.key)
        if old is None:
            tables.append(table)
            continue
        rows = {row.key: row for row in old.rows}
        left = [_less(row, rows[row.key]) if row.key in rows else row for row in table.rows]
        parts = tuple(a - b for a, b in zip(table.instructions, old.instructions, strict=True))
        if any(row.times < 0 or row.returns < 0 or row.time < 0 for row in left) or any(part < 0 for part in parts):
            return now
        found = sorted((row for row in left if row.times), key=lambda row: -row.times)
        tables.append(replace(table, rows=tuple(found), instructions=(parts[0], parts[1], parts[2])))
    return replace(now, tables=tuple(tables), since=then.clock)


def _less(row: Row, old: Row) -> Row:
    returns, time = row.returns - old.returns, row.time - old.time
    least = row.least if old.least is None or (row.least is not None and row.least < old.least) else None
    most = row.most if old.most is None or (row.most is not None and row.most > old.most) else None
    if returns == 1:
        least = most = time
    return replace(row, times=row.times - old.times, returns=returns, time=time, least=least, most=most)


# --- order ---

COLUMNS: Mapping[str, Callable[[Row], Any]] = {
    "samples": lambda row: row.times,
    "name": lambda row: row.what,
    "time": lambda row: row.time,
    "min": lambda row: -1 if row.least is None else row.least,
    "max": lambda row: -1 if row.most is None else row.most,
    "mean": lambda row: -1 if row.mean is None else row.mean,
}
"""By what rows can be sorted: numbers from the largest down, names from A on."""


def ordered(rows: Iterable[Row], column: str, backwards: bool = False) -> tuple[Row, ...]:
    """By a column; what is equal there keeps its order."""
    return tuple(sorted(rows, key=COLUMNS[column], reverse=(column != "name") is not backwards))


# --- stops, and the last occurrences ---


def stop_line(table: Table, row: Row) -> str:
    """What stops the machine at the next one, as the book of stops takes it."""
    known = (csrs.INTERRUPTS if row.interrupt else csrs.EXCEPTIONS).get(row.cause)
    cause = known[0] if known is not None else f"interrupt {row.cause}" if row.interrupt else str(row.cause)
    if table.kind == "hart":
        return f"trap {cause} from {row.mode} in any"
    scope = table.name if table.kind == "vm" else f"VMID {worlds.vmid_of(table.hgatp)}"
    return f"exit {cause}{f' to {row.mode}' if row.mode else ''} in {scope}"


def waits_for(what: object, table: Table, row: Row) -> bool:
    """Whether a stop is hit by an exit of this row."""
    if not isinstance(what, Trap) or not (what.interrupts if row.interrupt else what.exceptions) >> row.cause & 1:
        return False
    if table.kind == "hart":
        return Mode[row.mode] in what.origins and not what.scope.mask
    target = Mode[row.mode or "HS"]
    return target in what.targets and any(
        origin in what.origins and what.scope.of_guest(origin, table.hgatp) for origin in (Mode.VS, Mode.VU)
    )


def _marked(table: Table, stops: list[Stop]) -> Table:
    if not stops:
        return table
    rows = []
    for row in table.rows:
        found = [stop for stop in stops if waits_for(stop.what, table, row)]
        sign = "" if not found else "●" if any(stop.enabled for stop in found) else "○"
        rows.append(replace(row, stop=sign))
    return replace(table, rows=tuple(rows))


def occurrences(machine: Machine, table: Table, row: Row) -> tuple[str, ...]:
    """The last ones that are remembered, newest first, a line each: of a VM among its 256 last exits, else among the
    256 last traps of each hart."""
    if table.kind == "vm":
        vm = virtual_machines(machine)[table.subject.vm or 0]
        found = [said(each) for each in reversed(vm.events) if each.name == row.what]
        return tuple(found[:OCCURRENCES])
    harts = machine.harts if table.kind == "guest" else [machine.harts[table.subject.hart]]
    vmid = worlds.vmid_of(table.hgatp)
    rows = []
    for hart in harts:
        for trap in hart.trap_log():
            if (trap.cause, trap.interrupt) != (row.cause, row.interrupt):
                continue
            if table.kind == "hart":
                if trap.from_mode.label == row.mode:
                    rows.append((trap.clock, f"{trap.clock:,}  to {trap.to_mode.label}  pc {trap.pc:#x}"
                                 + (f"  value {trap.tval:#x}" if trap.tval else "")))  # fmt: skip
            elif trap.from_mode.virtual and trap.to_mode.label == row.mode and trap.vmid == vmid:
                gpa = trap.entry.tval2 << 2 | trap.tval & 3 if trap.entry and trap.entry.tval2 else 0
                text = f"{trap.clock:,}  {trap.from_mode.label}  pc {trap.pc:#x}"
                text += (f"  gpa {gpa:#x}" if gpa else "") + (f"  value {trap.tval:#x}" if trap.tval else "")
                rows.append((trap.clock, text + (f"  hart {hart.index}" if len(harts) > 1 else "")))
    rows.sort(reverse=True)
    return tuple(text for _, text in rows[:OCCURRENCES])


def said(exit: GuestExit) -> str:
    address = f"  gpa {exit.address:#x}" if exit.address else ""
    return f"{exit.clock:,}  {exit.name}  pc {exit.pc:#x}{address}  {exit.detail}".rstrip()


# --- for programs ---


def told(shown: Tables) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "clock": shown.clock,
        "since": shown.since,
        "tables": [
            {
                "of": table.name, "kind": table.kind, "total": table.total, "time": table.time,
                "instructions": dict(zip(PARTS, table.instructions, strict=True)),
                "exits": [
                    {
                        "name": row.what, "cause": row.cause, "interrupt": row.interrupt, "mode": row.mode or None,
                        "count": row.times, "share": _share(row.times, table.total), "returns": row.returns,
                        "time": row.time, "time_share": _share(row.time, table.time), "min": row.least,
                        "max": row.most, "mean": row.mean,
                    }
                    for row in table.rows
                ],
            }
            for table in shown.tables
        ],
    }  # fmt: skip


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def as_csv(shown: Tables) -> str:
    """A line for each row of each table, with the names that JSON has."""
    out = io.StringIO()
    lines: list[dict[str, Any]] = [
        {"of": table["of"], "kind": table["kind"], **row} for table in told(shown)["tables"] for row in table["exits"]
    ]
    names = ["of", "kind", "name", "cause", "interrupt", "mode", "count", "share", "returns", "time", "time_share",
             "min", "max", "mean"]  # fmt: skip
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: int(value) if isinstance(value, bool) else value for name, value in line.items()}
                     for line in lines)  # fmt: skip
    return out.getvalue()
