"""Disassembly around pc, with symbols, breakpoints, and a sentence about the current instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from emulator.loader import Symbols
from emulator.machine import Machine
from rvtui.listing import Instruction, listing, sentence, start
from rvtui.panes.base import Pane
from rvtui.session import Reader, Session, View
from rvtui.sources import Text
from rvtui.stops import marks
from rvtui.subjects import Subject, hart_of, symbols_of
from rvtui.text import MODE_NAMES, Line, Span, clean


@dataclass(frozen=True)
class Code:
    pc: int
    mode: int
    instructions: tuple[Instruction, ...]
    marks: Mapping[int, str]
    """The sign of each breakpoint, by address."""
    sentence: str
    sources: Mapping[int, str] = field(default_factory=dict)
    """The source line that begins at an address, where both are shown."""


def read_code(
    rows: int, anchor: int | None, held: list[int], texts: dict[int, Instruction], mixed: Session | None = None
) -> Reader:
    """`rows` instructions around pc, or from `anchor` on; with `mixed`, together with their source lines.

    `held` and `texts` are the reader's memory: the listing stays where it is as long as pc is well inside it, and what
    was disassembled once is not again as long as the bytes and the symbols are the same.
    """

    def read(machine: Machine, subject: Subject) -> Code:
        face = hart_of(machine, subject)
        symbols = symbols_of(machine, subject)
        pc = face.pc
        instructions: list[Instruction] = []
        if anchor is not None:
            instructions = listing(face, symbols, anchor, rows, texts)
        elif held:
            instructions = listing(face, symbols, held[0], rows, texts)
            shown = _fitting(instructions, _sources(symbols, instructions, mixed), rows - 3)
            if all(each.address != pc for each in instructions[: max(1, shown)]):
                instructions = []
        if not instructions:
            before = rows // 2 if mixed is not None else rows  # source lines take room as well
            instructions = listing(face, symbols, start(face, symbols, pc, before), rows, texts)
        if anchor is None:
            held[:] = [instructions[0].address]
        return Code(
            pc, int(face.mode), tuple(instructions), marks(machine, subject), sentence(face, pc),
            _sources(symbols, instructions, mixed),
        )  # fmt: skip

    return read


def _sources(symbols: Symbols, instructions: list[Instruction], session: Session | None) -> dict[int, str]:
    """Source lines by the address before which they stand. What is not read yet is asked for, and comes later."""
    found: dict[int, str] = {}
    if session is None or not symbols.sources:
        return found
    before = None
    for each in instructions:
        line = symbols.sources.known_line(each.address)
        if line is None:
            if not session.running and not symbols.sources.ready(each.address):
                session.reading.ask((id(symbols.sources), each.address), partial(symbols.sources.prepare, each.address))
            continue
        place = (line.file, line.line)
        if place == before:
            continue
        before = place
        text = session.files.known(line.file)
        if text is None:
            session.reading.ask(line.file, partial(session.files.find, line.file))
        found[each.address] = f"{line.name}  {text.line(line.line).strip() if isinstance(text, Text) else ''}"
    return found


def _fitting(instructions: list[Instruction], sources: Mapping[int, str], rows: int) -> int:
    """How many of them have room in so many rows, with their labels and source lines."""
    used = 0
    for count, each in enumerate(instructions):
        used += 1 + bool(each.label) + (each.address in sources)
        if used > rows:
            return count
    return len(instructions)


class CodePane(Pane):
    NAME = "code"
    TITLE = "Disassembly"
    KEY = "5"
    TOLD_BY = "disassemble"
    CURSOR = True
    HELP = (
        "Instructions around pc, as the hart would fetch them through its own translation. ▶ marks pc, ● a"
        " breakpoint, ◆ one with a condition, ○ one that is disabled. A click in the first column sets or clears one."
        " Source lines stand between the instructions as far as the program has debugging information. The last line"
        " says what the instruction at pc will do with the values that the registers have now."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home,g", "follow", "back to where pc is", show=False),
        Binding("m", "mix", "source lines between the instructions, or none", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._anchor: int | None = None
        self._code: Code | None = None
        self._held: list[int] = []
        self._texts: dict[int, Instruction] = {}
        self._subject: Subject | None = None
        self._rows_of: list[int | None] = []
        self._pc: int | None = None
        self._mixed = False
        self._sought: int | None = None
        """Where the cursor is to go once it is shown."""

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        mixed = self.application.session if self._mixed else None
        return {"code": (read_code(max(4, self.rows - 1), self._anchor, self._held, self._texts, mixed), 0.0)}

    @property
    def selected(self) -> int | None:
        """The address under the cursor."""
        return self._rows_of[self.cursor] if 0 <= self.cursor < len(self._rows_of) else None

    def place_here(self) -> str:
        return f"{self.selected:#x}" if self.selected is not None else ""

    def action_follow(self) -> None:
        self.go(None)

    def action_mix(self) -> None:
        self._mixed = not self._mixed
        self.go(self._anchor)

    def go(self, address: int | None) -> None:
        """Show from `address` on; None: around pc."""
        self._anchor = address
        self._held = []
        self._pc = None
        self.application.resubscribe(self)

    def seek(self, address: int) -> None:
        """Show from `address` on, with the cursor there."""
        self.go(address)
        self._sought = address

    def moved(self) -> None:
        code = self._code
        if code is None or not code.instructions:
            return
        if self.cursor >= len(self.lines) - 1 and len(code.instructions) > 2:
            self.go(code.instructions[1].address)
        elif self.cursor <= 0 and code.instructions[0].address >= 4:
            self.go(code.instructions[0].address - (2 if code.instructions[0].length == 2 else 4))

    def clicked(self, x: int, row: int, times: int) -> None:
        super().clicked(x, row, times)
        if x == 0 and self.selected is not None:
            self.application.toggle_breakpoint(self.selected)

    def on_resize(self, event: object) -> None:
        self.application.resubscribe(self)
        self.redraw()

    def draw(self, view: View) -> list[Line] | None:
        code = view.get("code")
        if not isinstance(code, Code):
            return None
        self._code = code
        if view.subject != self._subject:
            other = self._subject is not None
            self._subject = view.subject
            self._texts = {}
            if other:
                self.go(None)
        width = self.columns
        lines: list[Line] = []
        rows: list[int | None] = []
        space = self.rows - 1
        current = 0
        for instruction in code.instructions:
            if instruction.label and len(lines) < space:
                lines.append(((f"{clean(instruction.label)}:", "accent"),))
                rows.append(None)
            if (source := code.sources.get(instruction.address)) is not None and len(lines) < space:
                lines.append(((f"   {clean(source, max(20, width))}", "good"),))
                rows.append(None)
            if len(lines) >= space:
                break
            at = instruction.address == code.pc
            if at:
                current = len(lines)
            mark = code.marks.get(instruction.address, " ")
            tone = "bold" if at else ""
            spans: list[Span] = [
                (mark, "dim" if mark == "○" else "bad bold"),
                ("▶ " if at else "  ", f"{MODE_NAMES[code.mode]} bold"),
                (f"{instruction.address:>10x} ", "label" if not at else "bold"),
            ]
            if not instruction.length:
                spans.append(("nothing can be fetched here", "warn"))
            else:
                digits = f"{instruction.word:0{instruction.length * 2}x}"
                name, _, operands = instruction.text.partition(" ")
                spans += [
                    *([(f"{digits:<8}  ", "faint")] if width >= 48 else []),
                    (f"{name:<10} ", f"{tone} accent" if at else "accent"),
                    (operands, tone),
                ]
            lines.append(tuple(spans))
            rows.append(instruction.address)
        if code.pc != self._pc:
            self._pc = code.pc
            self.cursor = current
        if self._sought is not None and code.instructions and code.instructions[0].address == self._sought:
            self.cursor, self._sought = rows.index(self._sought), None
        lines += [()] * (space - len(lines))
        rows += [None] * (space - len(rows))
        lines.append(((clean(code.sentence, max(20, width)), "italic label"),))
        rows.append(None)
        self._rows_of = rows
        self.entitle(MODE_NAMES[code.mode])
        return lines
