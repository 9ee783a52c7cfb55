"""Instructions in memory as assembly, with symbols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emulator.errors import EmulatorError
from emulator.hart import Access
from emulator.isa import decode

PAGE = 4096
MEMORY = 4096
"""Instructions whose text is remembered."""


@dataclass(frozen=True)
class Instruction:
    address: int
    word: int
    length: int
    """In bytes; 0: nothing can be fetched there."""
    text: str
    label: str
    """The symbol that begins here, or ""."""


def disassemble(word: int, pc: int, symbol: Callable[[int], str | None]) -> tuple[str, int]:
    """Assembly text and length in bytes of the instruction at `pc` whose first 16 or 32 bits are in `word`."""
    length = 4 if word & 3 == 3 else 2
    word &= (1 << 8 * length) - 1
    decoded = decode(word)
    if decoded is None:
        return f".{'word' if length == 4 else 'half'} {word:#x}", length
    return decoded.assembly(pc, symbol), length


def listing(face: Any, symbols: Any, address: int, rows: int, texts: dict[int, Instruction]) -> list[Instruction]:
    """Up to `rows` instructions from `address` on, as far as they can be fetched."""
    instructions = []
    data = fetch(face, address, rows * 4 + 2)
    at = 0
    for _ in range(rows):
        if len(data) - at < 2:
            instructions.append(Instruction(address, 0, 0, "", ""))
            break
        word = int.from_bytes(data[at : at + 4], "little")
        if word & 3 != 3:
            word &= 0xFFFF
        known = texts.get(address)
        if known is None or known.word != word:
            text, length = disassemble(word, address, symbols.lookup)
            name = symbols.lookup(address) or ""
            if len(texts) > MEMORY:
                texts.clear()
            known = texts[address] = Instruction(address, word, length, text, "" if "+" in name else name)
        instructions.append(known)
        address += known.length
        at += known.length
    return instructions


def fetch(face: Any, address: int, length: int) -> bytes:
    """What can be fetched of [address, address+length), stopping where translation does."""
    data = b""
    while length > 0:
        part = min(length, PAGE - address % PAGE)
        try:
            data += face.read_virtual(address, part, Access.FETCH)
        except EmulatorError:
            break
        address = (address + part) & (1 << 64) - 1
        length -= part
    return data


def start(face: Any, symbols: Any, pc: int, rows: int) -> int:
    """An instruction boundary a third of the pane before pc: decoded forward from the function's start where known."""
    before = rows // 3
    name = symbols.lookup(pc)
    lowest = pc - 4 * before
    origin = None
    if name:
        function = symbols.find(name.partition("+")[0])
        if function is not None and 0 <= pc - function <= 8192:
            origin = function
    if origin is None:
        origin = max(lowest - 64, pc & ~(PAGE - 1))
    data = fetch(face, origin, pc - origin)
    if len(data) < pc - origin:
        return pc
    starts = []
    offset = 0
    while offset < len(data):
        starts.append(origin + offset)
        offset += 4 if data[offset] & 3 == 3 else 2
    if offset != len(data):  # out of step: the bytes before pc were no straight line of instructions
        return pc
    return starts[-before] if len(starts) >= before > 0 else starts[0] if starts else pc


def sentence(face: Any, pc: int) -> str:
    """What the instruction at `pc` will do with the values that the registers have now."""
    try:
        data = face.read_virtual(pc, 2, Access.FETCH)
        if data[0] & 3 == 3:
            data += face.read_virtual(pc + 2, 2, Access.FETCH)
    except EmulatorError as error:
        return f"nothing can be fetched at pc: {error}"
    decoded = decode(int.from_bytes(data, "little"))
    return "no instruction that this hart knows" if decoded is None else str(decoded.explain(face))
