"""What a load or store does that reached an emulated device: read off the description of the instruction."""

from __future__ import annotations

from dataclasses import dataclass, replace

from emulator.isa import Decoded
from emulator.isa import decode as decode_instruction
from emulator.isa.expression import Effect, Value

PSEUDO = (0x2000, 0x2020, 0x3000, 0x3020)
"""htinst of a fault that the walk of the VS-stage tables raised. Manual: "Transformed Instruction or
Pseudoinstruction for mtinst or htinst"; the last two are RV64's, with 0x20 for an update of A or D."""


@dataclass(frozen=True)
class Access:
    """An integer load into, or store from, `register`. `size` is the data's, `length` the instruction's, in bytes."""

    name: str
    store: bool
    size: int
    signed: bool
    register: int
    length: int
    offset: int = 0
    """Addr.Offset of a transformed instruction: the faulting address is so many bytes behind the access's first."""

    def extend(self, value: int) -> int:
        """What a load puts into the register when memory gave `value`."""
        bits = 8 * self.size
        value &= (1 << bits) - 1
        return (value | -(1 << bits)) & ((1 << 64) - 1) if self.signed and value >> bits - 1 else value


def decode(word: int) -> Access | None:
    """The access that an instruction makes; None for any other instruction (floating point, atomic, no access)."""
    found = decode_instruction(word)
    if found is None or len(found.instruction.effects) != 1:
        return None
    match found.instruction.effects[0]:
        case Effect("x", (register, Value("load", (_, bits)))):
            return _access(found, False, bits, False, register)
        case Effect("x", (register, Value("sext", (Value("load", (_, bits)), _)))):
            return _access(found, False, bits, True, register)
        case Effect("store", (_, Value("x", (register,)), bits)):
            return _access(found, True, bits, False, register)
    return None


def _access(found: Decoded, store: bool, bits: int, signed: bool, register: Value) -> Access:
    name = found.compressed.name if found.compressed else found.name
    return Access(name, store, bits // 8, signed, found.operands[register.args[0]], found.length)


def decode_transformed(htinst: int) -> Access | None:
    """The same from htinst where it holds a transformed load or store; on None, look at the instruction itself."""
    if htinst & 1 == 0 or htinst >> 32:
        return None
    # Bit 1 clear: it was a compressed instruction. Bits 19..15, where rs1 was, hold Addr.Offset.
    access = decode(htinst | 2)
    return access and replace(access, length=4 if htinst & 2 else 2, offset=htinst >> 15 & 31)
