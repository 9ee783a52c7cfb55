"""Where functions return to, how far up the stack their frames reach, and so who called whom.

The compiler's call frame information says it exactly, where a program has some; else the code itself is read.
Calling convention ("RISC-V Calling Convention", of the psABI): ra holds the return address at a function's first
instruction, sp must be there again at its return; with a frame pointer, s0 is what sp was, ra is kept 8 bytes below it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emulator.dwarf import DwarfError, Line, Scope, Variables, leave
from emulator.dwarf.location import Machine as Place
from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, decode
from emulator.isa.decoder import Decoded
from emulator.loader import Symbol, Symbols

RA, SP, S0 = 1, 2, 8
SAVED: Final = frozenset({3, 4, 8, 9, *range(18, 28)})
"""Registers that a function leaves as they were: gp, tp, s0 to s11."""
DEEPEST: Final = 256
"""Frames of a backtrace."""
WORD: Final = (1 << 64) - 1
LONGEST: Final = 64 << 10
"""Bytes of a function that are looked through."""
MOST_LABELS: Final = 16
PROLOGUE: Final = 64
"""Bytes from a function's first instruction in which it may not have a frame of its own yet."""


class FrameError(EmulatorError):
    """Where the function returns to cannot be told."""


@dataclass(frozen=True)
class Frame:
    """`returns`: where to; `stack`: sp in the caller then, or None if not known; `how` that was found out.
    `registers`: those of the caller that are known, but for sp."""

    returns: int
    stack: int | None
    how: str
    registers: Mapping[int, int] = field(default_factory=dict)
    interrupted: bool = False
    """The caller was interrupted at `returns`, it made no call."""


class OutermostError(FrameError):
    """Nobody called this function, and the program says so."""


def frame_of(face: Any, symbols: Symbols, returned: bool = False) -> Frame:
    """The frame of the function at pc. FrameError where nothing tells. `returned`: pc is where a call returns to, so
    that ra is not known."""
    pc = face.pc
    found = _by_call_frames(face, symbols, pc - returned)
    if found is not None:
        return found
    for start, certain in _starts(symbols, pc):
        found = _by_prologue(face, start, certain, pc)
        if found is not None:
            return found
    called = _called(face, int(face.x[RA]))
    if called is not None and 0 <= pc - called <= PROLOGUE:  # s0 may still be the caller's
        found = _by_prologue(face, called, False, pc)
        if found is not None:
            return found
    found = _by_frame_pointer(face)
    if found is not None:
        return found
    if not returned and _behind_call(face, face.x[RA]):
        return Frame(int(face.x[RA]), None, "by ra, which points behind a call")
    raise FrameError("no symbol, frame pointer or ra tells where this returns to: use until ADDRESS")


def _by_call_frames(face: Any, symbols: Symbols, at: int) -> Frame | None:
    """From .debug_frame or .eh_frame."""
    row = symbols.sources.row(at)
    if row is None:
        return None
    known = face.known if isinstance(face, Above) else dict(enumerate(int(face.x[number]) for number in range(32)))
    try:
        caller = leave(row, known, lambda address, size: face.read_virtual(address, size, Access.LOAD))
    except EmulatorError:
        return None
    if caller is None:
        raise OutermostError("this is the outermost function")
    how = "by call frame information"
    return Frame(caller.pc, caller.cfa, how, caller.registers, caller.signal)


class Above:
    """A frame that is not the innermost, with the face of a hart: `known` are registers that its callees have saved."""

    def __init__(self, face: Any, pc: int, known: Mapping[int, int]) -> None:
        self._face, self.pc, self.known = face, pc, dict(known)
        self.x = [0, *(self.known.get(number, 0) for number in range(1, 32))]

    def read_virtual(self, address: int, length: int, access: Access = Access.LOAD) -> bytes:
        data: bytes = self._face.read_virtual(address, length, access)
        return data


def _starts(symbols: Symbols, pc: int) -> list[tuple[int, bool]]:
    """Where the function may begin, the most likely first; certain where the symbol says that it is one."""
    functions = [each.address for each in symbols.functions if pc - LONGEST <= each.address <= pc]
    if functions:
        return [(functions[-1], True)]
    return [(each.address, False) for each in symbols if pc - LONGEST <= each.address <= pc][: -MOST_LABELS - 1 : -1]


def _by_prologue(face: Any, start: int, certain: bool, pc: int) -> Frame | None:
    """From what the function has done to sp and ra on the straight way from its first instruction to pc. Where it is
    not certain that a function begins there, ra must point behind a call that leads there."""
    depth = 0  # of sp below its value at entry
    saved: int | None = None  # where below that ra is kept
    others: dict[int, int] = {}  # and where the registers that it has to leave as they were
    kept: tuple[int, int | None] = depth, saved  # behind the prologue: what holds again after a return in the middle
    at = start
    while at < pc:
        each = instruction_at(face, at)
        if each is None:
            return None
        operands = each.operands
        rd, rs1, imm = operands.get("rd"), operands.get("rs1"), operands.get("imm", 0)
        if each.name == "addi" and rd == SP and rs1 == SP:
            depth -= imm
            if depth < 0:
                return None
        elif each.name == "sd" and operands.get("rs2") == RA and rs1 == SP:
            saved = depth - imm
        elif each.name == "sd" and operands.get("rs2") in SAVED and rs1 == SP:
            others.setdefault(operands["rs2"], depth - imm)
        elif each.name == "ld" and rd == RA and rs1 == SP:
            saved = None
        elif rd == SP and each.name != "addi":
            return None  # sp from elsewhere: alloca, a stack switch
        kept = max(kept, (depth, saved), key=lambda pair: (pair[0], pair[1] is not None))
        if (each.name in ("jal", "jalr") and not rd) or each.name in ("mret", "sret"):
            depth, saved = kept  # what follows is reached from before
        at += each.length
    if at != pc:
        return None
    stack = (face.x[SP] + depth) & WORD
    if saved is None:
        if _behind_call(face, face.x[RA], None if certain else start):
            how = "by ra, at its entry" if pc == start else "by ra, which it has not stored"
            return Frame(int(face.x[RA]), stack, how, _kept(face, stack, others))
        return None
    try:
        data = face.read_virtual((stack - saved) & WORD, 8, Access.LOAD)
    except EmulatorError:
        return None
    how = f"by ra as its prologue stored it, at sp+{depth - saved:#x}"
    return Frame(int.from_bytes(data, "little"), stack, how, _kept(face, stack, others))


def _kept(face: Any, stack: int, places: Mapping[int, int]) -> dict[int, int]:
    """What the caller's saved registers were: `places` below `stack`, else as they are."""
    found = dict(face.known) if isinstance(face, Above) else {number: int(face.x[number]) for number in SAVED}
    found = {number: value for number, value in found.items() if number in SAVED}
    for number, below in places.items():
        try:
            found[number] = int.from_bytes(face.read_virtual((stack - below) & WORD, 8, Access.LOAD), "little")
        except EmulatorError:
            found.pop(number, None)
    return found


def _by_frame_pointer(face: Any) -> Frame | None:
    frame = int(face.x[S0])
    if frame % 16 or not 0 < frame - face.x[SP] <= 1 << 20:
        return None
    try:
        outer, returns = struct.unpack("<QQ", face.read_virtual(frame - 16, 16, Access.LOAD))
    except EmulatorError:
        return None
    return Frame(returns, frame, "by the frame pointer s0", {S0: outer}) if _behind_call(face, returns) else None


def _behind_call(face: Any, address: int, callee: int | None = None) -> bool:
    """Does a call end right before `address`, and does it lead to `callee`, as far as it says where?"""
    for length in (4, 2):
        at = (address - length) & WORD
        each = instruction_at(face, at)
        if each is not None and each.length == length and each.is_call:
            offset = each.target_offset
            return callee is None or offset is None or (at + offset) & WORD == callee
    return False


def _called(face: Any, address: int) -> int | None:
    """Where the call right before `address` leads to, if it says so: JAL, or AUIPC and JALR."""
    for length in (4, 2):
        at = (address - length) & WORD
        each = instruction_at(face, at)
        if each is None or each.length != length or not each.is_call:
            continue
        if each.target_offset is not None:
            return (at + each.target_offset) & WORD
        upper = instruction_at(face, (at - 4) & WORD)
        if upper is not None and upper.name == "auipc" and upper.operands["rd"] == each.operands.get("rs1"):
            return (at - 4 + upper.operands["imm"] + each.operands.get("imm", 0)) & WORD
    return None


def instruction_at(face: Any, address: int) -> Decoded | None:
    """What would be fetched there; None where nothing can be, or it is no instruction."""
    if address & 1:
        return None
    try:
        data = face.read_virtual(address, 2, Access.FETCH)
        if data[0] & 3 == 3:
            data += face.read_virtual((address + 2) & WORD, 2, Access.FETCH)
    except EmulatorError:
        return None
    return decode(int.from_bytes(data, "little"))


def variables_of(face: Any, symbols: Symbols, level: Level) -> Variables:
    """What the program calls its variables in a frame. FrameError where nothing tells."""
    spot = level.spot
    part = symbols.sources.part_at(spot)
    if part is None:
        raise FrameError(f"nothing says which variables there are at {level.pc:#x}: build with -g, or symbol-file")

    def register(number: int) -> int:
        if number == 0:
            return 0
        if 32 <= number < 64 and not level.number:
            return int(face.f[number - 32])
        if number not in level.registers:
            raise DwarfError(f"it was in {ABI_NAMES[number] if number < 32 else number}, which is not known any more")
        return level.registers[number]

    def read(address: int, size: int) -> bytes:
        data: bytes = face.read_virtual(address, size, Access.LOAD)
        return data

    def cfa() -> int:
        if level.cfa is None:
            raise DwarfError("its frame is not known")
        return level.cfa

    return Variables(*part, spot, Place(register, read, cfa))


@dataclass(frozen=True)
class Level:
    """A frame of a backtrace, 0 the innermost. `registers`: what is known of x1 to x31 in it; `how` it was found.
    `spot`: an address in the instruction that it is at; `pc` of a caller is behind that."""

    number: int
    pc: int
    spot: int
    registers: Mapping[int, int]
    how: str
    scopes: tuple[Scope, ...] = ()
    """The function, and in it those inlined."""
    line: Line | None = None
    cfa: int | None = None
    """sp in the caller."""

    @property
    def function(self) -> str:
        """ "outer > inlined", or ""."""
        return " > ".join(scope.name for scope in self.scopes)


_TRAPS: Final = {Mode.M: "m", Mode.HS: "s", Mode.VS: "vs"}
"""How the CSRs of traps that a mode takes begin."""


def _vector(face: Any, symbols: Symbols) -> tuple[Symbol, int, str] | None:
    """What is called by traps into the mode of pc, where the last one came from, and the CSR that says so."""
    prefix = _TRAPS.get(face.mode)
    if prefix is None:
        return None
    try:
        base, epc = face.csr(f"{prefix}tvec") & ~3, face.csr(f"{prefix}epc")
    except EmulatorError:
        return None
    symbol = symbols.at(base)
    return None if symbol is None else (symbol, int(epc), f"{prefix}epc")


def _interrupted(at: Any, symbols: Symbols, returned: bool, epc: int, csr: str) -> Frame:
    """Out of a trap's vector, whose frame has what it has stored of the registers: ra as well, which is where a call
    would return to."""
    how = f"by {csr}: a trap was taken here"
    try:
        frame = frame_of(at, symbols, returned)
    except FrameError:
        return Frame(epc, None, how, {}, True)
    return Frame(epc, frame.stack, how, {**frame.registers, RA: frame.returns}, True)


def backtrace(face: Any, symbols: Symbols, most: int = DEEPEST) -> tuple[list[Level], str]:
    """Frames from pc outwards, and why there are no more; out of a trap's handler to what the trap was taken in. Of a
    function's caller is shown the call, by the address behind it."""
    vector = _vector(face, symbols)
    levels: list[Level] = []
    at: Any = face
    known: Mapping[int, int] = {number: int(face.x[number]) for number in range(1, 32)}
    how, returned, why = "pc", False, ""
    while True:
        frame: Frame | None = None
        try:
            if vector is not None and symbols.at(at.pc) == vector[0]:
                frame, vector = _interrupted(at, symbols, returned, *vector[1:]), None
            else:
                frame, why = frame_of(at, symbols, returned), ""
        except (FrameError, DwarfError) as error:
            why = str(error)
        spot = at.pc - returned
        scopes = tuple(symbols.sources.chain(spot))
        cfa = None if frame is None else frame.stack
        levels.append(Level(len(levels), at.pc, spot, known, how, scopes, symbols.sources.line(spot), cfa))
        if frame is None:
            return levels, why
        if len(levels) >= most:
            return levels, f"there are more: backtrace {2 * most}"
        if not frame.returns:
            return levels, "it returns to 0: the outermost"
        below = levels[-2].cfa if len(levels) > 1 else None
        if cfa is not None and below is not None and cfa <= below:
            return levels, f"the stack does not go on upwards (sp {cfa:#x} in the caller)"
        if not frame.interrupted and not _behind_call(face, frame.returns):
            return levels, f"it would return to {frame.returns:#x}, where no call has been made"
        known = {} if frame.stack is None else {**frame.registers, SP: frame.stack}
        at, how, returned = Above(face, frame.returns, known), frame.how, not frame.interrupted
