"""What the machine stops for: breakpoints, watches and events, with their counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from emulator.machine import Machine
from rvtui import stops
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.stops import Row
from rvtui.subjects import Subject
from rvtui.text import Line, Span

_MARKS = {"●": "bad bold", "◆": "bad bold", "○": "dim"}
_CROSS = 4
"""Columns of the sign that removes a stop when it is clicked."""


def read_stops(machine: Machine, subject: Subject) -> tuple[Row, ...]:
    return stops.rows(machine)


class StopsPane(Pane):
    NAME = "stops"
    TITLE = "Stops"
    KEY = "B"
    TOLD_BY = "stops"
    CURSOR = True
    HELP = (
        "Breakpoints (break), watches (watch, rwatch, awatch) and events (catch trap, exit, csr, mode, console):"
        " number, what they wait for, how often they were hit; one that never was says so, and if nothing maps its"
        " address. ● acts, ◆ acts if its condition holds, ○ is disabled. Enter, or a click on the sign, enables and"
        " disables; a click on ✕ removes."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "remove", "remove the stop", show=False),
        Binding("a", "ask('break ')", "a new one: break, watch or catch", show=False, id="stops.add"),
        Binding("c", "condition", "stop only if something holds", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[Row, ...] = ()

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"stops": (read_stops, 0.2)}

    @property
    def selected(self) -> Row | None:
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    def place_here(self) -> str:
        found = re.match(r"((gpa|pa):)?0x[0-9a-f]+", self.selected.where) if self.selected is not None else None
        return found[0] if found is not None else ""

    def choose(self, row: int) -> None:
        if 0 <= row < len(self._rows):
            stop = self._rows[row]
            self.application.carry_out(f"{'disable' if stop.enabled else 'enable'} {stop.number}")

    def action_remove(self) -> None:
        if self.selected is not None:
            self.application.carry_out(f"delete {self.selected.number}")

    def action_ask(self, command: str) -> None:
        self.application.ask("at which address? [in WORLD] [if CONDITION]; or another command", command)

    def action_condition(self) -> None:
        if self.selected is not None:
            row = self.selected
            self.application.ask("stop only if which is not 0?", f"condition {row.number} ", row.condition)

    def clicked(self, x: int, row: int, times: int) -> None:
        sign = x < _CROSS + 6
        super().clicked(x, row, 1 if sign else times)
        if row >= len(self._rows) or not sign:
            return
        if x < _CROSS:
            self.action_remove()
        else:
            self.choose(row)

    def draw(self, view: View) -> list[Line] | None:
        found = view.get("stops")
        if not isinstance(found, tuple):
            return None
        self._rows = found
        self.entitle(str(len(found)) if found else "")
        if not found:
            return [(("none: b in the disassembly, a here, or :watch and :catch", "dim"),)]
        return [_line(row) for row in found]


def _line(row: Row) -> Line:
    tone = "" if row.enabled else "dim"
    spans: list[Span] = [
        ("  ✕ ", "faint"),
        (f"{row.number:>3} ", "label"),
        (f"{row.mark} ", _MARKS[row.mark]),
        (f"{row.kind:<8}", f"{tone} accent"),
        (row.where, tone),
    ]
    if row.condition:
        spans.append((f" if {row.condition}", "label"))
    spans.append((f"  {row.remark}", "warn" if not row.hits else "good"))
    return tuple(spans)
