"""Loads and stores of a guest to addresses where a device is emulated: decoded and carried out here."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.vmm.vcpu import MASK64

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
        return (value - (1 << bits)) & MASK64 if self.signed and value >> bits - 1 else value


_LOADS = ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu")
_STORES = ("sb", "sh", "sw", "sd")
# Compressed forms: (quadrant, funct3) -> name, store, size. In quadrant 0 the data register is rd' (x8..x15) at bit 2.
_COMPRESSED = {
    (0, 2): ("c.lw", False, 4), (0, 6): ("c.sw", True, 4), (2, 2): ("c.lwsp", False, 4), (2, 6): ("c.swsp", True, 4),
    (0, 3): ("c.ld", False, 8), (0, 7): ("c.sd", True, 8), (2, 3): ("c.ldsp", False, 8), (2, 7): ("c.sdsp", True, 8),
}  # fmt: skip


def decode(word: int) -> Access | None:
    """The access that an instruction makes; None for any other instruction (floating point, atomic, vector)."""
    if word & 3 != 3:
        return _decode_compressed(word & 0xFFFF)
    funct3 = word >> 12 & 7
    if word & 0x7F == 0x03 and funct3 < len(_LOADS):
        return Access(_LOADS[funct3], False, 1 << (funct3 & 3), funct3 < 4, word >> 7 & 31, 4)
    if word & 0x7F == 0x23 and funct3 < len(_STORES):
        return Access(_STORES[funct3], True, 1 << funct3, False, word >> 20 & 31, 4)
    return None


def _decode_compressed(word: int) -> Access | None:
    quadrant = word & 3
    found = _COMPRESSED.get((quadrant, word >> 13))
    if found is None:
        return None
    name, store, size = found
    if quadrant == 0:
        register = 8 + (word >> 2 & 7)
    elif store:
        register = word >> 2 & 31
    else:
        register = word >> 7 & 31
        if register == 0:
            return None  # reserved
    return Access(name, store, size, not store, register, 2)


def decode_transformed(htinst: int) -> Access | None:
    """The same from htinst where it holds a transformed load or store; on None, look at the instruction itself."""
    if htinst & 1 == 0 or htinst >> 32:
        return None
    access = decode(htinst | 2)
    if access is None:
        return None
    length = 4 if htinst & 2 else 2  # bit 1 clear: it was a compressed instruction
    return Access(access.name, access.store, access.size, access.signed, access.register, length, htinst >> 15 & 31)
