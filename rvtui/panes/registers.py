"""The integer or floating-point registers of the hart or virtual CPU that is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from emulator.isa import ABI_NAMES, FLOAT_NAMES
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_of, symbols_of
from rvtui.text import MODE_NAMES, Line, Span, clean, hex64


@dataclass(frozen=True)
class Registers:
    executed: int
    pc: int
    mode: int
    symbol: str
    x: tuple[int, ...]
    f: tuple[int, ...]
    names: tuple[str, ...]
    """Symbols that the values of x point to, "" where none."""


def read_registers(machine: Machine, subject: Subject) -> Registers:
    face = hart_of(machine, subject)
    symbols = symbols_of(machine, subject)
    x = tuple(face.x)
    pc = face.pc
    return Registers(
        machine.executed,
        pc,
        int(face.mode),
        symbols.lookup(pc) or "",
        x,
        tuple(face.f),
        tuple((symbols.lookup(value) or "") if value > 4095 else "" for value in x),
    )


class RegistersPane(Pane):
    NAME = "registers"
    TITLE = "Registers"
    KEY = "3"
    TOLD_BY = "registers"
    HELP = (
        "x0 to x31 by their ABI names, pc and mode. A value that changed since the last display is bold with a * after"
        " it. Floating-point registers (v) are raw bits. Arrows choose a register: e edits it (NAME=VALUE, where VALUE"
        " may be an expression over registers, CSRs and symbols), p shows the memory that it points to."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "floating", "floating-point registers, and back", show=False),
        Binding("left,h", "across(-1)", "the register to the left", show=False, id="registers.left"),
        Binding("right,l", "across(1)", "the register to the right", show=False, id="registers.right"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._floating = False
        self._at = 0
        """The register under the cursor: 0 for pc, else one more than its number."""
        self._columns = 1
        self._now: Registers | None = None
        self._before: Registers | None = None
        self._subject: Subject | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"registers": (read_registers, 0.0)}

    @property
    def selected(self) -> str:
        """The name of the register under the cursor."""
        return "pc" if not self._at else (FLOAT_NAMES if self._floating else ABI_NAMES)[self._at - 1]

    def place_here(self) -> str:
        return self.selected

    def action_move(self, rows: int) -> None:
        """Down the column, from pc into the first one."""
        height = 32 // self._columns
        row = (self._at - 1) % height + 1 if self._at else 0
        column = (self._at - 1) // height if self._at else 0
        row = max(0, min(row + rows, height))
        self._at = column * height + row if row else 0
        self._show_cursor()

    def action_across(self, columns: int) -> None:
        height = 32 // self._columns
        if self._at:
            column, row = divmod(self._at - 1, height)
            self._at = 1 + max(0, min(column + columns, self._columns - 1)) * height + row
        self._show_cursor()

    def _show_cursor(self) -> None:
        row = (self._at - 1) % (32 // self._columns) + 1 if self._at else 0
        self.top = max(min(self.top, row), row - self.rows + 1)
        self.redraw()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def clicked(self, x: int, row: int, times: int) -> None:
        column = min(x * self._columns // max(1, self.columns), self._columns - 1)
        if row <= 32 // self._columns:
            self._at = column * (32 // self._columns) + row if row else 0
            self.redraw()

    def action_floating(self) -> None:
        self._floating = not self._floating
        self.redraw()

    def draw(self, view: View) -> list[Line] | None:
        now = view.get("registers")
        if not isinstance(now, Registers):
            return None
        if view.subject != self._subject:
            self._subject, self._before, self._now = view.subject, None, now
        elif now != self._now:
            self._before, self._now = self._now, now
        before = self._before
        mode = MODE_NAMES[now.mode]
        moved = before is not None and before.pc != now.pc
        zeros, digits = hex64(now.pc, "changed bold" if moved else "bold")
        lines: list[Line] = [
            (
                ("pc    ", self._label(0)),
                zeros,
                digits,
                ("*" if moved else " ", "changed"),
                (" ", ""),
                (f"{mode:<3}", f"{mode} bold"),
                (clean(now.symbol, 40), "accent"),
            )
        ]
        values, old = (now.f, before.f if before else None) if self._floating else (now.x, before.x if before else None)
        width = self.columns
        columns = 4 if width >= 96 and self.rows < 17 else 2 if width >= 46 else 1
        self._columns = columns
        cell = width // columns
        names = FLOAT_NAMES if self._floating else ABI_NAMES
        height = 32 // columns
        for row in range(height):
            spans: list[Span] = []
            for column in range(columns):
                index = row + column * height
                value = values[index]
                changed = old is not None and old[index] != value
                zeros, digits = hex64(value, "changed bold" if changed else "" if value else "dim")
                spans += [(f"{names[index]:<6}", self._label(index + 1)), zeros, digits]
                spans.append(("*" if changed else " ", "changed bold"))
                room = cell - 23 - 1
                hint = "" if self._floating or room < 9 else clean(now.names[index], room)
                spans.append(((" " + hint).ljust(cell - 23) if room >= 0 else "", "dim"))
            lines.append(tuple(spans))
        return lines

    def _label(self, index: int) -> str:
        return "reverse bold" if self.has_focus and index == self._at else "label"
