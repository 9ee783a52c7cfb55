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
    HELP = (
        "x0 to x31 by their ABI names, pc and mode. A value that changed since the last display is bold with a * after"
        " it. Floating-point registers (p) are raw bits. e edits: NAME=VALUE, where VALUE may be an expression over"
        " registers, CSRs and symbols."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("p", "floating", "floating-point registers, and back", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._floating = False
        self._now: Registers | None = None
        self._before: Registers | None = None
        self._subject: Subject | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"registers": (read_registers, 0.0)}

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
                ("pc    ", "label"),
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
                spans += [(f"{names[index]:<6}", "label"), zeros, digits, ("*" if changed else " ", "changed bold")]
                room = cell - 23 - 1
                hint = "" if self._floating or room < 9 else clean(now.names[index], room)
                spans.append(((" " + hint).ljust(cell - 23) if room >= 0 else "", "dim"))
            lines.append(tuple(spans))
        return lines
