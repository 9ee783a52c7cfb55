"""What a load or store does that reached an emulated device: read off the description of the instruction."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.isa import Decoded
from emulator.isa import decode as decode_instruction
from emulator.isa.expression import Effect, Value


@dataclass(frozen=True)
class Access:
    """An integer load into, or store from, `register`. `size` is the data's, `length` the instruction's, in bytes."""

    name: str
    store: bool
    size: int
    signed: bool
    register: int
    length: int
    base: int
    displacement: int
    """The address is that of register `base` plus this."""

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
        case Effect("x", (register, Value("load", (address, bits)))):
            return _access(found, False, bits, False, register, address)
        case Effect("x", (register, Value("sext", (Value("load", (address, bits)), _)))):
            return _access(found, False, bits, True, register, address)
        case Effect("store", (address, Value("x", (register,)), bits)):
            return _access(found, True, bits, False, register, address)
    return None


def _access(found: Decoded, store: bool, bits: int, signed: bool, register: Value, address: Value) -> Access | None:
    def operand(value: Value) -> int:
        return found.operands[value.args[0]]

    match address:
        case Value("add", (Value("x", (base,)), displacement)):
            name = found.compressed.name if found.compressed else found.name
            where = operand(base), operand(displacement)
            return Access(name, store, bits // 8, signed, operand(register), found.length, *where)
    return None
