"""Exits per VM with KVM's names, or on a bare machine the traps of each hart by cause and origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.hart import ExitCount
from emulator.isa import csrs
from emulator.machine import Machine
from emulator.worlds import GuestExit
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, inner_guests, virtual_machines
from rvtui.text import Line, Span, clean, count, fit

BAR = "█▉▊▋▌▍▎▏"
SPENT = " time%   min   max  mean"


@dataclass(frozen=True)
class Row:
    """`mode`: where a trap came from, or where a guest's exit went; `spent`: what followed, where that is known."""

    what: str
    times: int
    mode: str = ""
    spent: ExitCount | None = None


@dataclass(frozen=True)
class Table:
    name: str
    subject: Subject
    rows: tuple[Row, ...]
    """The most frequent first."""
    last: tuple[str, ...]


def read_exits(machine: Machine, _: Subject) -> tuple[Table, ...]:
    vms = virtual_machines(machine)
    tables = [
        Table(
            vm.name,
            Subject(0, index),
            tuple(Row(*item) for item in sorted(vm.exits.items(), key=lambda item: (-item[1], item[0]))),
            tuple(map(_said, list(vm.events)[-8:])),
        )
        for index, vm in enumerate(vms)
    ]
    tables += [
        Table(
            guest.name,
            Subject(guest=guest.identity),
            tuple(Row(each.name, each.count, each.to_mode.label, each) for each in guest.exit_counts),
            (_said(guest.last_exit),) if guest.last_exit else (),
        )
        for guest in inner_guests(machine)
    ]
    for hart in () if vms else machine.harts:
        traps = sorted(hart.traps(), key=lambda row: (-row[3], row[1]))
        rows = (Row(csrs.cause_name(cause, irq), times, origin.label) for origin, cause, irq, times in traps)
        tables.append(Table(f"hart {hart.index}", Subject(hart.index), tuple(rows), ()))
    return tuple(tables)


def _said(exit: GuestExit) -> str:
    address = f"  gpa {exit.address:#x}" if exit.address else ""
    return f"{exit.name}  pc {exit.pc:#x}{address}  {exit.detail}"


class ExitsPane(Pane):
    NAME = "exits"
    TITLE = "Exits"
    KEY = "8"
    TOLD_BY = "exits"
    HELP = (
        "How often each VM left for the hypervisor and why, with the names of KVM's statistics. On a bare machine each"
        " guest of the hypervisor inside with the columns of perf kvm stat, where time is instructions that the hart"
        " retired until it entered the guest again, and the mode that the exit led to; then the traps of each hart with"
        " the mode they came from. Counts since the start and each one's share. Below, the last exits of what is"
        " looked at."
    )

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"exits": (read_exits, 0.2)}

    def draw(self, view: View) -> list[Line] | None:
        tables = view.get("exits")
        if not isinstance(tables, tuple):
            return None
        width = self.columns
        lines: list[Line] = []
        tables = tuple(sorted(tables, key=lambda table: not table.subject.same(view.subject)))
        self.entitle("(traps)" if tables and tables[0].subject.vm is None and tables[0].subject.guest is None else "")
        for table in tables:
            longest = max((len(row.what) for row in table.rows), default=16)
            names = max(16, min(longest, width - 22))
            total = sum(row.times for row in table.rows)
            lines.append(((clean(table.name, 20), "bold"), (f"  {total:,} in all", "dim")))
            wide = any(row.spent for row in table.rows) and width >= names + 20 + len(SPENT)
            if wide:
                lines.append(((" " * (names + 20) + SPENT, "dim"),))
            spent = sum(row.spent.spent for row in table.rows if row.spent) or 1
            top = max((row.times for row in table.rows), default=1)
            for row in table.rows:
                spans: list[Span] = [
                    ("  ", ""),
                    (fit(clean(row.what), names), ""),
                    (f" {row.mode:<2}", row.mode),
                    (f"{row.times:>9,} ", ""),
                    (f"{row.times * 100 / total:>3.0f}% ", "label"),
                ]
                room = width - names - 22
                if wide and row.spent:
                    each = row.spent
                    texts = [count(each.least), count(each.most), count(each.mean)] if each.returns else ["-"] * 3
                    share = f"{each.spent * 100 / spent:>5.0f}%"
                    spans.append((share + "".join(f"{text:>6}" for text in texts) + "  ", "label"))
                    room -= len(SPENT)
                spans.append((_bar(row.times / top, max(0, min(room, 30))), "accent"))
                lines.append(tuple(spans))
            if table.last and table is tables[0]:
                for text in table.last:
                    lines.append(((f"    {clean(text, 160)}", "dim"),))
            lines.append(())
        return lines


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + (BAR[8 - eighths % 8] if eighths % 8 else "")
