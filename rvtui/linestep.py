"""Stepping by source line.

Not instruction by instruction, as a line may loop for long: where control can leave the line's instructions, marks are
set, and the machine runs. Calls that are to be entered, returns and indirect jumps are marked themselves, and one step
shows where they lead. Interrupts, other harts and other VMs pass by: a mark counts in the same world and frame only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from emulator.dwarf import Line, Scope
from emulator.errors import EmulatorError
from emulator.hart import ExitReason
from emulator.isa.decoder import Decoded
from emulator.loader import Symbols
from emulator.machine import Machine
from emulator.stops import Condition, Hit
from rvtui.frames import RA, SP, FrameError, frame_of, instruction_at
from rvtui.subjects import hart_index, hart_of, symbols_of
from rvtui.text import clean

if TYPE_CHECKING:
    from rvtui.session import Session

MOST_MARKS: Final = 128
MOST_INSTRUCTIONS: Final = 4096
"""Of one line."""
MOST_HOPS: Final = 256
"""Parts of other lines, entered in their middle, that are passed on the way to the next one."""
UNKNOWN: Final = 2000
"""Instructions without a line that are passed."""
WORD: Final = (1 << 64) - 1


class LineStepError(EmulatorError):
    """There are no lines to step by."""


@dataclass(frozen=True)
class _Gate:
    """An instruction that leads elsewhere: where to, if it is not a return from a trap."""

    target: int | None
    after: int
    call: bool
    returns: bool


class LineStep:
    """One step, or `count`, from line to line; `into` calls of functions that have lines. On the session's worker."""

    def __init__(self, session: Session, into: bool, count: int = 1) -> None:
        self._session, self._into, self._left = session, into, count
        self._subject = session.subject
        self._verb = "stepped" if into else "stepped over"

    def start(self, machine: Machine) -> None:
        """LineStepError where pc has no line."""
        self._hops, self._machine = 0, machine
        face = self._face()
        line = self._line(face.pc)
        if line is None:
            raise LineStepError(
                f"pc {face.pc:#x} has no source line: step and next go by instruction, finish leaves the function"
            )
        self._origin, self._current = line, line
        self._world = (face.mode, face.hgatp)
        self._cfa = self._frame(face)
        self._scopes = self._chain(face.pc)
        self._go()

    # --- what is known ---

    def _face(self) -> Any:
        return hart_of(self._machine, self._subject)

    @property
    def _symbols(self) -> Symbols:
        return symbols_of(self._machine, self._subject)

    def _line(self, address: int) -> Line | None:
        return self._symbols.sources.line(address)

    def _chain(self, address: int) -> list[Scope]:
        return self._symbols.sources.chain(address)

    def _frame(self, face: Any) -> int | None:
        try:
            return frame_of(face, self._symbols).stack
        except FrameError:
            return None

    def _same(self, *, stack: int | None = None) -> Condition:
        """Our world on our hart, and sp being `stack`, or our frame."""
        world, cfa, index = self._world, self._cfa, hart_index(self._machine, self._subject)

        def holds(machine: Machine, hit: Hit) -> bool:
            hart = machine.harts[hit.hart]
            if hit.hart != index or (hart.mode, hart.hgatp) != world:
                return False
            if stack is not None:
                return bool(hart.x[SP] == stack)
            return cfa is None or self._frame(hart) in (cfa, None)

        return holds

    # --- the way ---

    def _go(self) -> None:
        """From pc on, which is in the current line."""
        face = self._face()
        if (gate := self._gate(face, face.pc)) is not None:
            self._pass(face, gate)
            return
        self._run(self._marks(face))

    def _run(
        self, addresses: list[int], condition: Condition | None = None, then: Callable[[], None] | None = None
    ) -> None:
        self._session.run_to(addresses, condition or self._same(), then or self._landed)

    def _extents(self) -> list[tuple[int, int]]:
        """Where the instructions of the current line are in its function."""
        current, pc = self._current, self._face().pc
        scope = self._chain(pc)
        symbol = self._symbols.at(pc)
        start = scope[0].start if scope else symbol.address if symbol else current.start
        end = symbol.address + symbol.size if symbol and symbol.size else current.end
        found = {(current.start, current.end)}
        for address, file, number in self._symbols.sources.statements(start, max(end, current.end)):
            if (file, number) == (current.file, current.line) and (line := self._line(address)) is not None:
                found.add((line.start, line.end))
        return sorted(found)

    def _marks(self, face: Any) -> list[int]:
        extents = self._extents()
        marks: dict[int, None] = {}
        seen = 0

        def outside(address: int) -> bool:
            return not any(start <= address < end for start, end in extents)

        for start, end in extents:
            at = start
            while at < end:
                seen += 1
                each = instruction_at(face, at)
                if each is None or seen > MOST_INSTRUCTIONS or len(marks) > MOST_MARKS:
                    raise LineStepError(f"{self._current.name} is too much code to step over: use until or finish")
                after = at + each.length
                if _is_gate(each, self._into):
                    marks[at] = None
                else:
                    offset = each.target_offset
                    if offset is not None and not each.is_call and outside(at + offset & WORD):
                        marks[at + offset & WORD] = None
                if outside(after) and not (each.name in ("jal", "jalr") and not each.operands.get("rd")):
                    marks[after] = None
                at = after
        return list(marks)

    def _gate(self, face: Any, pc: int) -> _Gate | None:
        each = instruction_at(face, pc)
        if each is None or not _is_gate(each, self._into):
            return None
        offset = each.target_offset
        operands = each.operands
        target: int | None
        if each.name == "jalr":
            target = (face.x[operands["rs1"]] + operands.get("imm", 0)) & WORD & ~1
        else:
            target = None if offset is None else pc + offset & WORD
        returns = each.name == "jalr" and operands["rs1"] == RA and not operands.get("rd")
        return _Gate(target, pc + each.length, each.is_call, returns)

    def _pass(self, face: Any, gate: _Gate) -> None:
        """Carry out the instruction at pc, and see where it leads."""
        before, stack = face.pc, int(face.x[SP])
        exit = self._session.step_of(self._subject)
        face = self._face()
        if exit.reason not in (ExitReason.BUDGET, ExitReason.BREAKPOINT):
            self._session.end(exit)
            return
        pc = face.pc
        if gate.target is not None and pc != gate.target:
            # An interrupt, or a fault of the jump: it is carried out again behind that.
            self._run([before], self._same(stack=stack))
        elif gate.target is None:
            self._stop("left the trap handler")
        elif gate.returns:
            self._stop("returned")
        elif gate.call:
            self._enter(face, gate.after)
        else:
            self._land(face)

    def _enter(self, face: Any, after: int) -> None:
        """At a function's first instruction: behind its prologue, or, if it has no lines, behind the call."""
        pc = face.pc
        if self._line(pc) is None:
            self._run([after], self._same(stack=int(face.x[SP])))
            return
        symbol = self._symbols.at(pc)
        end = symbol.address + symbol.size if symbol and symbol.size else pc + 256
        body = self._symbols.sources.prologue_end(pc, end)
        if body is None or body <= pc:
            self._stop("entered")
        else:
            world = self._world
            index = hart_index(self._machine, self._subject)

            def there(machine: Machine, hit: Hit) -> bool:
                hart = machine.harts[hit.hart]
                return hit.hart == index and (hart.mode, hart.hgatp) == world

            self._run([body], there, self._arrived)

    def _arrived(self) -> None:
        self._stop("entered")

    def _landed(self) -> None:
        self._land(self._face())

    def _land(self, face: Any) -> None:
        """At a place that the line leads to: stop, or go on if it is no beginning of another."""
        self._hops += 1
        pc = face.pc
        line = self._line(pc)
        if self._hops > MOST_HOPS:
            self._stop("")
        elif line is None:
            self._through(face)
        elif (line.file, line.line) == (self._origin.file, self._origin.line) or self._inside(pc):
            self._current = line
            self._go()
        elif self._begins(line, pc):
            self._stop("")
        else:
            self._current = line
            self._go()

    def _begins(self, line: Line, pc: int) -> bool:
        return any(address == pc for address, _, _ in self._symbols.sources.statements(pc, pc + 1)) or line.start == pc

    def _inside(self, pc: int) -> bool:
        """In what is inlined in our function, which is to be stepped over."""
        if self._into:
            return False
        chain, own = self._chain(pc), self._scopes
        return len(chain) > len(own) > 0 and [each.name for each in chain[: len(own)]] == [each.name for each in own]

    def _through(self, face: Any) -> None:
        """Code without lines: up to where there is one again."""
        for _ in range(UNKNOWN):
            pc = face.pc
            if self._line(pc) is not None:
                self._land(face)
                return
            each = instruction_at(face, pc)
            if each is not None and each.is_call:
                self._run([pc + each.length], self._same(stack=int(face.x[SP])))
                return
            exit = self._session.step_of(self._subject)
            if exit.reason not in (ExitReason.BUDGET, ExitReason.BREAKPOINT):
                self._session.end(exit)
                return
            face = self._face()
        self._stop("no line follows")

    def _stop(self, how: str) -> None:
        self._left -= 1
        face = self._face()
        line = self._line(face.pc)
        if self._left > 0 and line is not None:
            self.start(self._machine)
            return
        chain = self._chain(face.pc)
        name = " > ".join(each.name for each in chain) or self._symbols.lookup(face.pc) or ""
        where = line.name if line is not None else f"{face.pc:#x}"
        text = f"{how or self._verb} to {where}" if how != "entered" else f"entered {where}"
        self._session.stand_at(f"{text}{f', in {clean(name)}' if name else ''}")


def _is_gate(each: Decoded, into: bool) -> bool:
    """Whether it is to be stepped by itself."""
    if each.name in ("mret", "sret", "mnret"):
        return True
    if each.is_call:
        return into
    return bool(each.name == "jalr")
