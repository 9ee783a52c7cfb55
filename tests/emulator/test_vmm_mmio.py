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
        if word & 0xE003 != 0x8000 and word & 3 != 3:  # Capstone 5 does not know Zcb
            check(disassembler, word, 2)


@pytest.mark.parametrize(
    ("name", "funct", "size", "signed", "offsets"),
    [
        ("c.lbu", 0b000_0, 1, False, (0, 2, 1, 3)),  # uimm[0|1] in bits 6:5
        ("c.lhu", 0b001_0, 2, False, (0, 2)),
        ("c.lh", 0b001_1, 2, True, (0, 2)),
        ("c.sb", 0b010_0, 1, False, (0, 2, 1, 3)),
        ("c.sh", 0b011_0, 2, False, (0, 2)),
    ],
)
def test_bytes_and_halfwords_of_zcb(name: str, funct: int, size: int, signed: bool, offsets: tuple[int, ...]) -> None:
    """Each as the figures of "Zcb" have it: funct6, rs1', and bit 6 that tells halfwords apart."""
    for base in range(8):
        for register in range(8):
            for field, displacement in enumerate(offsets):
                word = 1 << 15 | (funct >> 1) << 10 | base << 7 | (funct & 1) << 6 | field << 5 | register << 2
                store = name.startswith("c.s")
                assert decode(word) == Access(name, store, size, signed, 8 + register, 2, 8 + base, displacement)


def test_other_halfwords_of_that_space_are_no_accesses() -> None:
    for word in range(0x9000, 0xA000, 4):
        assert decode(word) is None
    assert decode(0x8C40) is None  # c.sh with bit 6


def test_loads_and_stores_of_every_register(disassembler: capstone.Cs) -> None:
    for opcode in range(3, 128, 4):
        for funct3 in range(8):
            for register in range(32):
                for other in (0, 17):
                    word = opcode | register << 7 | funct3 << 12 | other << 15 | (register ^ 5) << 20
                    if word >> 5 & 3 != 3 or opcode & 0x1C != 0x1C:
                        check(disassembler, word, 4)
