"""Decoding of loads and stores that reach a device: against another disassembler."""

from __future__ import annotations

import capstone
import pytest

from emulator.vmm.mmio import Access, decode

SIZES = {"b": 1, "h": 2, "w": 4, "d": 8}
NAMES = {
    f"{prefix}{name}{suffix}": (SIZES[letter], signed, store)
    for prefix, names in (("", ("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "sb", "sh", "sw", "sd")),
                          ("c.", ("lw", "ld", "sw", "sd")))
    for name in names
    for suffix in ("", *(("sp",) if prefix else ()))
    for letter, signed, store in ((name[1], not name.endswith("u"), name[0] == "s"),)
}  # fmt: skip
REGISTERS = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2",
    "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
]  # fmt: skip


@pytest.fixture(scope="module")
def disassembler() -> capstone.Cs:
    return capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC)


def check(disassembler: capstone.Cs, word: int, length: int) -> None:
    access = decode(word)
    found = next(disassembler.disasm_lite(word.to_bytes(length, "little"), 0), None)
    name = found[2] if found else None
    if name not in NAMES:
        assert access is None, (hex(word), name)
        return
    assert found is not None
    size, signed, store = NAMES[name]
    assert isinstance(access, Access), (hex(word), name)
    assert (access.size, access.store, access.length) == (size, store, length)
    assert store or access.extend((1 << 8 * size) - 1) == ((1 << 64) - 1 if signed else (1 << 8 * size) - 1)
    register, _, address = found[3].partition(", ")
    displacement, _, base = address.removesuffix(")").partition("(")
    assert (REGISTERS[access.register], REGISTERS[access.base]) == (register, base), hex(word)
    assert access.displacement == int(displacement, 0), hex(word)


def test_every_halfword_is_taken_as_the_disassembler_takes_it(disassembler: capstone.Cs) -> None:
    for word in range(1 << 16):
        if word & 3 != 3:
            check(disassembler, word, 2)


def test_loads_and_stores_of_every_register(disassembler: capstone.Cs) -> None:
    for opcode in range(3, 128, 4):
        for funct3 in range(8):
            for register in range(32):
                for other in (0, 17):
                    word = opcode | register << 7 | funct3 << 12 | other << 15 | (register ^ 5) << 20
                    if word >> 5 & 3 != 3 or opcode & 0x1C != 0x1C:
                        check(disassembler, word, 4)
