"""A short run of random programs against Spike; `python -m tests.lockstep` is the long one."""

from __future__ import annotations

import pytest

from emulator import guests

from .generate import generate
from .program import BASE, Program, Unit, csrr, encode, li
from .report import describe
from .runner import Lockstep, expand, run_elf, transformations
from .shrink import shrink
from .spike import FAR_CLINT, ISA, Spike
from .text import disassemble

SEEDS = 8
"""Per test; a test runs this many programs, from its own seed on."""


@pytest.fixture(scope="module")
def lockstep() -> Lockstep:
    return Lockstep()


@pytest.mark.parametrize("first", range(0, 40, SEEDS))
def test_user_programs_agree_with_spike(lockstep: Lockstep, first: int) -> None:
    for seed in range(first, first + SEEDS):
        program = generate(seed, "user")
        outcome = lockstep.run(program.image(), steps=1500)
        assert outcome.agrees, describe(program, outcome)
        assert outcome.ending or outcome.steps == 1500


@pytest.mark.parametrize("first", range(0, 160, SEEDS))
def test_privileged_programs_agree_with_spike(lockstep: Lockstep, first: int) -> None:
    for seed in range(first, first + SEEDS):
        program = generate(seed, "privileged")
        outcome = lockstep.run(program.image(), steps=1200)
        assert outcome.agrees, describe(program, outcome)


def test_privileged_programs_reach_every_mode_and_most_traps(lockstep: Lockstep) -> None:
    """What the programs exercise, so that agreement means something."""
    modes: set[int] = set()
    causes: set[int] = set()
    for seed in range(60):
        lockstep.run(generate(seed, "privileged").image(), steps=1200, stride=1200)
        for mode, cause in lockstep.traps():
            modes.add(mode)
            causes.add(cause)
    assert modes == {0, 1, 2, 3, 4}
    exceptions = {1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 15, 20, 21, 22, 23}
    assert exceptions <= causes, f"never raised: {exceptions - causes}"
    assert {64 + 1, 64 + 2, 64 + 5, 64 + 9} <= causes, "interrupts"


def test_a_bare_hypervisor_with_two_guests_agrees_with_spike() -> None:
    outcome = run_elf(guests.path("tiny-hypervisor"), 150_000)
    assert outcome.agrees, outcome.describe()
    assert outcome.steps == 150_000


def test_a_seed_always_gives_the_same_program() -> None:
    assert generate(7).image() == generate(7).image()
    assert generate(7).image() != generate(8).image()


class TestShrinking:
    def test_a_difference_comes_down_to_the_instruction_that_makes_it(self) -> None:
        """Against a Spike without Zbb, which takes cpop for illegal."""
        pair = Lockstep()
        pair.replace_spike(Spike(4 << 20, isa=ISA.replace("_zbb", ""), clint=FAR_CLINT))
        noise = [encode("addi", rd=5 + i % 3, rs1=6, imm=i) for i in range(40)]
        units = [Unit(i, (word,)) for i, word in enumerate(noise)]
        units[23] = Unit(23, (encode("cpop", rd=10, rs1=11),))
        program = Program(tuple(units), x=tuple(range(32)), csrs=(("mscratch", 5),), label="mine")
        outcome = pair.run(program.image(), steps=300)
        assert not outcome.agrees
        small, shown = shrink(pair, program, outcome)
        assert [unit.items for unit in small.units] == [(encode("cpop", rd=10, rs1=11),)]
        assert small.csrs == ()
        assert "cpop" in describe(small, shown)


class TestLoadingConstants:
    @pytest.mark.parametrize(
        "value",
        [0, 1, -1, 2047, 2048, -2048, -2049, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 0x8000_0000_0000_0000,
         0x7FFF_FFFF_FFFF_F800, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, (1 << 63) - 1],
    )  # fmt: skip
    def test_li(self, lockstep: Lockstep, value: int) -> None:
        code = li(10, value)
        outcome = lockstep.run({BASE: code}, steps=len(code) // 4)
        assert outcome.agrees
        assert lockstep.registers()[2][10] == value & (1 << 64) - 1


class TestTransformedInstructions:
    """The manual's figures of "Transformed Instruction or Pseudoinstruction for mtinst or htinst"."""

    def test_a_load_keeps_width_and_destination(self) -> None:
        word = int.from_bytes(encode("lw", rd=10, rs1=11, imm=-4), "little")
        assert 0x0000_2503 in transformations(word)
        assert 0x0002_2503 & 0x7FFF in {value & 0x7FFF for value in transformations(word)}

    def test_a_store_keeps_width_and_source(self) -> None:
        word = int.from_bytes(encode("sd", rs1=11, rs2=12, imm=40), "little")
        assert 0x00C0_3023 in transformations(word)

    def test_a_compressed_one_is_expanded_and_bit_1_cleared(self) -> None:
        word = int.from_bytes(encode("c.ld", rd=9, rs1=8, uimm=16), "little")
        assert disassemble(expand(word)).startswith("ld")
        assert 0x0000_3481 in transformations(word)

    def test_hlv_and_amo_keep_all_but_the_address(self) -> None:
        for name in ("hlv.w", "amoadd.d", "lr.w"):
            word = int.from_bytes(encode(name, rd=10, rs1=11), "little")
            assert word & ~(31 << 15) in transformations(word)

    def test_others_have_none(self) -> None:
        assert transformations(int.from_bytes(csrr("mstatus", 1), "little")) == set()
