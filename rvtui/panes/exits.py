"""Exits per VM with KVM's names, or on a bare machine the traps of each hart by cause and origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.isa import csrs
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, virtual_machines
from rvtui.text import MODE_NAMES, Line, clean, fit

BAR = "█▉▊▋▌▍▎▏"


@dataclass(frozen=True)
class Table:
    name: str
    subject: Subject
    rows: tuple[tuple[str, str, int], ...]
    """(what, mode it came from or "", count), most frequent first."""
    last: tuple[str, ...]


def read_exits(machine: Machine, _: Subject) -> tuple[Table, ...]:
    vms = virtual_machines(machine)
    if vms:
        return tuple(
            Table(
                vm.name,
                Subject(0, index),
                tuple(
                    (name, "", times) for name, times in sorted(vm.exits.items(), key=lambda item: (-item[1], item[0]))
                ),
                tuple(
                    f"{event.name}  pc {event.pc:#x}"
                    + (f"  gpa {event.address:#x}" if event.address else "")
                    + f"  {event.detail}"
                    for event in list(vm.events)[-8:]
                ),
            )
            for index, vm in enumerate(vms)
        )
    tables = []
    for hart in machine.harts:
        rows = sorted(hart.traps(), key=lambda row: (-row[3], row[1]))
        tables.append(
            Table(
                f"hart {hart.index}",
                Subject(hart.index),
                tuple(
                    (csrs.cause_name(cause, interrupt), MODE_NAMES[origin], times)
                    for origin, cause, interrupt, times in rows
                ),
                (),
            )
        )
    return tuple(tables)


class ExitsPane(Pane):
    NAME = "exits"
    TITLE = "Exits"
    KEY = "8"
    HELP = (
        "How often each VM left for the hypervisor and why, with the names of KVM's statistics; on a bare machine the"
        " traps of each hart with the mode they came from. Counts since the start and each one's share. Below, the last"
        " exits of the VM that is looked at."
    )

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"exits": (read_exits, 0.2)}

    def draw(self, view: View) -> list[Line] | None:
        tables = view.get("exits")
        if not isinstance(tables, tuple):
            return None
        width = self.columns
        lines: list[Line] = []
        tables = tuple(
            sorted(
                tables, key=lambda table: table.subject.vm != view.subject.vm or table.subject.hart != view.subject.hart
            )
        )
        self.entitle("" if view.subject.vm is not None else "(traps)")
        longest = max((len(what) for table in tables for what, *_ in table.rows), default=16)
        names = max(16, min(longest, width - 22))
        for table in tables:
            total = sum(times for *_, times in table.rows)
            lines.append(((clean(table.name, 20), "bold"), (f"  {total:,} in all", "dim")))
            top = max((times for *_, times in table.rows), default=1)
            for what, mode, times in table.rows:
                room = max(0, width - names - 22)
                lines.append(
                    (
                        ("  ", ""),
                        (fit(clean(what), names), ""),
                        (f" {mode:<2}", mode),
                        (f"{times:>9,} ", ""),
                        (f"{times * 100 / total:>3.0f}% ", "label"),
                        (_bar(times / top, min(room, 30)), "accent"),
                    )
                )
            if table.last and table is tables[0]:
                for text in table.last:
                    lines.append(((f"    {clean(text, 160)}", "dim"),))
            lines.append(())
        return lines


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + (BAR[8 - eighths % 8] if eighths % 8 else "")
