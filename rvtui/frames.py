"""Where the current function returns to, and how far up the stack its frame reaches.

Calling convention ("RISC-V Calling Convention", of the psABI): ra holds the return address at a function's first
instruction, sp must be there again at its return; with a frame pointer, s0 is what sp was, ra is kept 8 bytes below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from emulator.errors import EmulatorError
from emulator.hart import Access
from emulator.isa import decode
from emulator.isa.decoder import Decoded
from emulator.loader import Symbols

RA, SP, S0 = 1, 2, 8
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
    """`returns`: where to; `stack`: sp in the caller then, or None if not known; `how` that was found out."""

    returns: int
    stack: int | None
    how: str


def frame_of(face: Any, symbols: Symbols) -> Frame:
    """The frame of the function at pc. FrameError where nothing tells."""
    pc = face.pc
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
    if _behind_call(face, face.x[RA]):
        return Frame(int(face.x[RA]), None, "by ra, which points behind a call")
    raise FrameError("no symbol, frame pointer or ra tells where this returns to: use until ADDRESS")


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
            return Frame(int(face.x[RA]), stack, how)
        return None
    try:
        data = face.read_virtual((stack - saved) & WORD, 8, Access.LOAD)
    except EmulatorError:
        return None
    return Frame(int.from_bytes(data, "little"), stack, f"by ra as its prologue stored it, at sp+{depth - saved:#x}")


def _by_frame_pointer(face: Any) -> Frame | None:
    frame = int(face.x[S0])
    if frame % 16 or not 0 < frame - face.x[SP] <= 1 << 20:
        return None
    try:
        returns = int.from_bytes(face.read_virtual(frame - 8, 8, Access.LOAD), "little")
    except EmulatorError:
        return None
    return Frame(returns, frame, "by the frame pointer s0") if _behind_call(face, returns) else None


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
