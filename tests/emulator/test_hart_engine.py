"""How instructions are executed: decoded blocks, fused pairs, code that changes, slices and their ends.

None of it may be seen from inside: however a program is cut, and whatever was decoded before, it does the same.
"""

from __future__ import annotations

from random import Random

import pytest
from assembler import assemble, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import (
    ADUE,
    BASE,
    BREAKPOINT,
    DATA,
    FETCH_ACCESS,
    FETCH_PAGE,
    HANDLER,
    HS,
    ILLEGAL,
    INTERRUPT,
    LEAF,
    LOAD_ACCESS,
    MIE,
    MPP,
    ONES,
    STCE,
    STORE_ACCESS,
    TABLES,
    VS,
    A,
    D,
    M,
    R,
    Rig,
    Tables,
    U,
    V,
    W,
    X,
)

from emulator.hart import EventKind, ExitReason
from emulator.isa import ISA

NOWHERE = 0x7000_0000
PAGE = BASE + 0x8000


# --- code that changes ---

LI_A0 = encode("addi", rd=10, imm=7)


@pytest.mark.parametrize("gap", [0, 1, 5, 40])
@pytest.mark.parametrize("warm", [0, 1, 3])
def test_a_store_into_the_instructions_behind_it(gap: int, warm: int) -> None:
    """Even without FENCE.I, which asks for less than is given."""
    rig = Rig(f"""
        li   t0, {LI_A0}
        la   t1, patch
        li   t2, {warm}
    again: sw   t3, 0(t1)
        {"nop;" * gap}
    patch: li a0, 1
        addi t2, t2, -1
        mv   t3, t0
        bgez t2, again
    end: j    end
    """)
    rig.put(t3=encode("addi", rd=10, imm=3))
    rig.reach("patch")
    rig.run(1)
    assert rig.x("a0") == 3
    rig = Rig(rig_text(gap, warm))
    rig.put(t3=encode("addi", rd=10, imm=3))
    rig.run(1000)
    assert rig.x("a0") == (7 if warm else 3)


def rig_text(gap: int, warm: int) -> str:
    return f"""
        li   t0, {LI_A0}
        la   t1, patch
        li   t2, {warm}
    again: sw   t3, 0(t1)
        {"nop;" * gap}
    patch: li a0, 1
        addi t2, t2, -1
        mv   t3, t0
        bgez t2, again
    end: j    end
    """


@pytest.mark.parametrize(
    "store",
    [
        "sw t0, 0(t1)",
        "sh t0, 0(t1)\nsrli t0, t0, 16\nsh t0, 2(t1)",
        "amoswap.w zero, t0, (t1)",
        "lr.w t2, (t1)\nsc.w t2, t0, (t1)",
        "\nsrli t0, t0, 8\n".join(f"sb t0, {n}(t1)" for n in range(4)),
        "fmv.w.x fa0, t0\nfsw fa0, 0(t1)",
    ],
)
@pytest.mark.parametrize("where", [0x40, 0x800, 0x1100])
def test_every_kind_of_store_drops_what_was_decoded(where: int, store: str) -> None:
    rig = Rig(f"""
        li   t3, 0x2000
        csrs mstatus, t3
        la   t1, function
        call_it: jal ra, function
        mv   a1, a0
        li   t0, {LI_A0}
        {store}
        jal  ra, function
    end: j   end
        .org {where + 0x100}
    function: li a0, 1
        ret
    """)
    rig.run(1000)
    assert (rig.x("a1"), rig.x("a0")) == (1, 7)


def test_a_misaligned_store_across_two_instructions() -> None:
    words = encode("addi", rd=10, imm=7) | encode("addi", rd=11, imm=9) << 32
    rig = Rig("""
        jal ra, f
        la  t1, f
        sd  t0, 0(t1)      # four bytes ahead of a multiple of eight
        jal ra, f
    end: j  end
        .org 0x84
    f:  li a0, 1
        li a1, 1
        ret
    """)
    rig.put(t0=words)
    rig.run(100)
    assert (rig.x("a0"), rig.x("a1")) == (7, 9)


def test_a_store_across_two_pages_of_code() -> None:
    """An instruction that begins in one page and ends in the next is changed as a whole."""
    rig = Rig("""
        jal ra, f
        la  t1, f
        sw  t0, 0(t1)
        jal ra, f
    end: j  end
        .org 0xffe
    f:  li a0, 1
        ret
    """)
    rig.put(t0=LI_A0)
    rig.run(100)
    assert rig.x("a0") == 7


def test_the_second_half_of_an_instruction_across_pages_is_changed_alone() -> None:
    rig = Rig("""
        jal ra, f
        la  t1, f
        sh  t0, 2(t1)
        jal ra, f
    end: j  end
        .org 0xffe
    f:  li a0, 1
        ret
    """)
    rig.put(t0=LI_A0 >> 16)
    rig.run(100)
    assert rig.x("a0") == 7


def test_a_store_that_begins_in_the_line_before_the_code() -> None:
    rig = Rig("""
        jal ra, f
        la  t1, f
        sd  t0, -4(t1)
        jal ra, f
    end: j  end
        .org 0x100
    f:  li a0, 1
        ret
    """)
    rig.put(t0=LI_A0 << 32)
    rig.run(100)
    assert rig.x("a0") == 7


def test_a_large_change_by_the_host_that_ends_in_code() -> None:
    rig = Rig()
    program = rig.write(PAGE + 0x800, "f: li a0, 1\nj f")
    rig.hart.pc = program["f"]
    rig.run(10)
    rig.machine.memory.write(PAGE - 0x100, bytes(0x900) + LI_A0.to_bytes(4, "little"))
    rig.run(2)
    assert rig.x("a0") == 7


@pytest.mark.parametrize("last", ["nop", "bnez zero, BACK", "c.nop\nc.nop", "c.nop\nc.bnez a5, BACK", "fence.i"])
def test_what_follows_a_page_depends_on_the_mapping(last: str) -> None:
    """One page of code at two addresses, each with another page behind it; then another mapping of that one."""
    rig = Rig()
    tables = Tables(rig)
    tables.map(BASE, BASE, LEAF, 1)
    for n in range(2):
        tables.map(0x4000_0000 + 0x10_0000 * n, PAGE, LEAF)
        slot = tables.map(0x4000_1000 + 0x10_0000 * n, PAGE + 0x1000 * (n + 1), LEAF)
    for n in range(3):
        rig.write(PAGE + 0x1000 * (n + 1), f"li a0, {n}\nself: j self")
    rig.set(satp=tables.atp)

    def run(address: int) -> int:
        rig.write(PAGE + 0xFF8, "nop\n" + last, BACK=PAGE + 0xFF8)
        found = []
        for _ in range(3):
            rig.hart.pc, rig.hart.mode = address + 0xFF8, HS
            rig.put(a5=0, a0=99)
            rig.run(50)
            found.append(rig.x("a0"))
        assert len(set(found)) == 1
        return found[0]

    assert (run(0x4000_0000), run(0x4010_0000)) == (0, 1)
    rig.hart.pc, rig.hart.mode = 0x4000_0FF8, HS
    rig.put(a5=0, a0=99)
    rig.run(50)
    assert rig.x("a0") == 0
    rig.store(slot, rig.load(slot) + (0x1000 >> 12 << 10))
    rig.write(BASE, "sfence.vma")
    rig.hart.pc, rig.hart.mode = BASE, HS
    rig.run(1)
    rig.hart.pc, rig.hart.mode = 0x4010_0FF8, HS
    rig.run(50)
    assert rig.x("a0") == 2


def test_code_changed_by_another_hart() -> None:
    rig = Rig(
        f"""
            csrr t0, mhartid
            la   t1, patch
            bnez t0, other
    loop:   addi t2, t2, 1
    patch:  addi a0, zero, 1
            addi a1, a1, 1
            j    loop
    other:  li   t3, 3000
    wait:   addi t3, t3, -1
            bnez t3, wait
            li   t0, {LI_A0}
            sw   t0, 0(t1)
    self:   j    self
        """,
        harts=2,
    )
    rig.run(3000)
    assert rig.x("a0") == 1
    rig.run(30_000)
    assert rig.x("a0") == 7


def test_code_changed_by_the_host() -> None:
    rig = Rig("loop: li a0, 1\naddi a1, a1, 1\nj loop")
    rig.run(100)
    rig.machine.memory.write(BASE, LI_A0.to_bytes(4, "little"))
    rig.run(3)
    assert rig.x("a0") == 7
    rig.machine.memory.write(BASE, bytes(64))
    rig.run(3)
    assert rig.trap() == (M, ILLEGAL, 0)


def test_code_changed_by_the_hypervisors_store() -> None:
    """HSV writes the page that the hypervisor itself executes."""
    rig = Rig("la t1, patch\nhsv.w t0, (t1)\npatch: li a0, 1\nend: j end", mode=HS)
    rig.put(t0=LI_A0)
    rig.run(10)
    assert rig.x("a0") == 7


def test_code_seen_through_two_addresses() -> None:
    rig = Rig()
    tables = Tables(rig)
    tables.map(BASE, BASE, LEAF, 1)
    for n in range(3):
        tables.map(0x4000_0000 + 0x1000 * n, PAGE, LEAF)
    rig.set(satp=tables.atp)
    rig.hart.mode = HS
    rig.write(PAGE, "li a0, 1\nret")
    rig.write(
        BASE,
        f"""
        li   s0, 0x40000000
        li   s1, 0x40001000
        jalr ra, 0(s0)
        jalr ra, 0(s1)
        li   t1, 0x40002000
        li   t0, {LI_A0}
        sw   t0, 0(t1)
        jalr ra, 0(s0)
        mv   a1, a0
        jalr ra, 0(s1)
        mv   a2, a0
    end: j end
    """,
    )
    rig.run(100)
    assert (rig.x("a1"), rig.x("a2")) == (7, 7)


@pytest.mark.parametrize("same_line", [True, False])
def test_code_and_data_in_one_page(same_line: bool) -> None:
    offset = 0x20 if same_line else 0x400
    rig = Rig(f"""
        la   t1, loop
        li   t2, 1000
    loop: ld  t3, {offset}(t1)
        addi t3, t3, 1
        sd   t3, {offset}(t1)
        addi t2, t2, -1
        bnez t2, loop
    end: j end
    """)
    rig.run(100_000)
    assert rig.load(rig.program["loop"] + offset) == 1000


def test_an_instruction_overwritten_while_it_is_the_target_of_a_loop() -> None:
    """A loop counts its own immediate up: each round is a new instruction."""
    rig = Rig("""
        la   t1, patch
        li   t2, 100
    loop: lw t0, 0(t1)
        li   t3, 0x100000
        add  t0, t0, t3
        sw   t0, 0(t1)
    patch: addi a0, zero, 0
        add  a1, a1, a0
        addi t2, t2, -1
        bnez t2, loop
    end: j end
    """)
    rig.run(10_000)
    assert rig.x("a1") == sum(range(1, 101))


def test_a_page_table_in_the_page_of_the_code() -> None:
    """The walker's own store of A and D is a store like others."""
    rig = Rig(menvcfg=ADUE)
    tables = Tables(rig, at=TABLES)
    tables.map(BASE, BASE, V | R | W | X, 1)
    slot = tables.map(0x4000_0000, PAGE, V | R | W)
    rig.set(satp=tables.atp)
    rig.hart.mode = HS
    rig.write(BASE, "li a1, 0x40000000\nsd a0, 0(a1)\nend: j end")
    rig.run(10)
    assert rig.load(slot) & (A | D) == A | D
    assert rig.load(tables.slot(BASE, 1)) & (A | D) == A


def test_very_much_code() -> None:
    """More pages than the decoder keeps: it forgets all and goes on."""
    pages = 9000
    rig = Rig(memory=64 << 20)
    start = BASE + (1 << 20)
    for n in range(pages):
        target = 0x1000 if n < pages - 1 else -0x1000 * (pages - 1)
        code = encode("addi", rd=10, rs1=10, imm=1).to_bytes(4, "little")
        if -(1 << 20) <= target < 1 << 20:
            code += encode("jal", rd=0, imm=target - 4).to_bytes(4, "little")
        else:
            code += assemble(start + 0x1000 * n + 4, "la t0, start\njr t0", start=start).code
        rig.machine.memory.write(start + 0x1000 * n, code)
    rig.hart.pc = start
    rig.run(2 * (2 * pages + 2))  # two steps a page, four in the last
    assert (rig.x("a0"), rig.hart.pc) == (2 * pages, start)


# --- faults inside blocks and pairs ---


@pytest.mark.parametrize("before", [0, 1, 2, 3, 62, 63, 64, 65, 130])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [("ld a0, 0(a1)", LOAD_ACCESS), ("sd a0, 0(a1)", STORE_ACCESS), ("c.ebreak", BREAKPOINT), (".word 0", ILLEGAL)],
)
@pytest.mark.parametrize("filler", ["addi a2, a2, 1", "c.addi a2, 1"])
def test_a_fault_at_any_place_of_a_block_is_exact(filler: str, fault: str, cause: int, before: int) -> None:
    text = f"{filler}\n" * before + f"at: {fault}\n" + "addi a2, a2, 1\n" * 5
    rig = Rig(text)
    for _ in range(2):  # decoded anew, and found decoded
        rig.hart.pc, rig.hart.mode = BASE, M
        rig.put(a0=99, a1=NOWHERE, a2=0)
        instret = rig.hart.instret
        rig.run(before + 1)
        trap = rig.trap()
        assert trap is not None and trap[:2] == (M, cause)
        assert rig.csr("mepc") == rig.program["at"]
        assert (rig.x("a2"), rig.x("a0")) == (before, 99)
        assert rig.hart.instret - instret == before


COMMON = [insn for insn in ISA.instructions.values() if insn.common]
LOADS = [insn for insn in COMMON if insn.layout.match & 0x7F == 0x03]
STORES = [insn for insn in COMMON if insn.layout.match & 0x7F == 0x23]


@pytest.mark.parametrize("second", [insn.name for insn in LOADS + STORES])
@pytest.mark.parametrize("first", [insn.name for insn in COMMON if not insn.ends_block])
def test_pairs_whose_second_faults(first: str, second: str) -> None:
    """Frequent neighbours share a handler; a fault of the second leaves the first done, and nothing else."""
    load = ISA.instructions[second] in LOADS
    pair = [operand(first, rd=10, rs1=12, rs2=13), operand(second, rd=14, rs1=11, rs2=13)]
    code = b"".join(word.to_bytes(4, "little") for word in pair)
    expected = None
    for steps in ([1, 1], [2]):
        rig = Rig()
        rig.machine.memory.write(BASE, code)
        rig.put(a0=5, a1=NOWHERE, a2=DATA, a3=77, a4=99)
        rig.store(DATA, 0x8899_AABB_CCDD_EEFF)
        for step in steps:
            rig.run(step)
        assert rig.trap() == (M, LOAD_ACCESS if load else STORE_ACCESS, NOWHERE)
        assert rig.csr("mepc") == BASE + 4
        assert rig.x("a4") == 99
        assert rig.hart.instret == 1
        expected = expected or rig.machine.state_hash()
        assert rig.machine.state_hash() == expected


def operand(name: str, **values: int) -> int:
    """Encode with those of the operands that the instruction has."""
    operands = ISA.instructions[name].layout.operands
    return encode(name, **{key: value for key, value in values.items() if key in operands})


def random_program(seed: int, length: int) -> bytes:
    """Random frequent instructions over few registers, so that neighbours depend on each other; s0 points to data.

    Branches skip one instruction. The program ends in a jump to itself."""
    random = Random(seed)
    registers = [10, 11, 12, 13, 0, 31]
    straight = [insn for insn in COMMON if not insn.ends_block]
    words: list[int] = []
    while len(words) < length:
        insn = random.choice(straight if random.random() < 0.85 else COMMON)
        operands = insn.layout.operands
        memory = insn in LOADS or insn in STORES
        values = {}
        for name, width in operands.items():
            if name in ("rd", "rs1", "rs2"):
                values[name] = 8 if memory and name == "rs1" else random.choice(registers)
            elif name == "imm" and insn.ends_block:
                values[name] = 8
            elif name == "imm" and width == 32:
                values[name] = random.randrange(-(1 << 19), 1 << 19) << 12
            elif name == "imm" and memory:
                values[name] = random.randrange(0, 512) if random.random() < 0.3 else 8 * random.randrange(0, 64)
            elif name == "imm":
                values[name] = random.randrange(-2048, 2048)
            elif name.startswith("shamt"):
                values[name] = random.randrange(1 << width)
        if insn.name == "jalr":
            continue
        words.append(encode(insn.name, **values))
    words += [encode("addi"), encode("addi"), encode("jal", imm=0)]
    return b"".join(word.to_bytes(4, "little") for word in words)


def registers_and_data(rig: Rig) -> tuple[list[int], int, int, bytes]:
    return list(rig.hart.x), rig.hart.pc, rig.hart.instret, rig.machine.memory.read(DATA, 1024)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(2, 150))
def test_blocks_and_pairs_do_what_single_steps_do(seed: int, length: int) -> None:
    """A single step decodes one instruction and fuses nothing."""
    code = random_program(seed, length)
    data = Random(seed ^ 1).randbytes(1024)
    results = []
    for steps in ([length] * 2, [1] * (2 * length)):
        rig = Rig()
        rig.machine.memory.write(BASE, code)
        rig.machine.memory.write(DATA, data)
        rig.hart.x.load([0] * 8 + [DATA] + [(n * 0x9E37_79B9_7F4A_7C15) & ONES for n in range(9, 32)])
        if len(steps) == 2:  # run it once before, so that everything is decoded
            rig.run(2 * length)
            rig.machine.memory.write(DATA, data)
            rig.hart.x.load([0] * 8 + [DATA] + [(n * 0x9E37_79B9_7F4A_7C15) & ONES for n in range(9, 32)])
            rig.hart.reset(BASE)
            rig.hart.x.load([0] * 8 + [DATA] + [(n * 0x9E37_79B9_7F4A_7C15) & ONES for n in range(9, 32)])
        for step in steps:
            rig.run(step)
        results.append(registers_and_data(rig))
    assert results[0] == results[1]


def test_blocks_longer_than_64_instructions() -> None:
    rig = Rig("addi a0, a0, 1\n" * 1000 + "end: j end")
    rig.run(1000)
    assert (rig.x("a0"), rig.hart.pc) == (1000, BASE + 4000)
    rig = Rig("c.addi a0, 1\n" * 1000 + "end: j end")
    for n in range(1, 1001):
        rig.run(1)
        assert rig.x("a0") == n


@pytest.mark.parametrize("offset", [0xFF8, 0xFFA, 0xFFC, 0xFFE])
@pytest.mark.parametrize("text", ["c.addi a0, 1\n" * 8, "addi a0, a0, 1\n" * 6, "c.addi a0, 1\naddi a0, a0, 1\n" * 3])
def test_code_that_runs_over_the_end_of_a_page(text: str, offset: int) -> None:
    count = text.count("\n")
    rig = Rig()
    program = rig.write(BASE + offset, text + "end: j end")
    for pieces in ([count], [1] * count, [2] * (count // 2)):
        rig.hart.pc = BASE + offset
        rig.put(a0=0)
        for piece in pieces:
            rig.run(piece)
        assert (rig.x("a0"), rig.hart.pc) == (count, program["end"])


@pytest.mark.parametrize("kind", ["jal ra, ", "beq zero, zero, "])
@pytest.mark.parametrize("distance", [-0x1000, -0xFFC, -4, 0, 4, 0xFFC, 0xFFE])
def test_jumps_inside_a_page_and_out_of_it(distance: int, kind: str) -> None:
    for offset in (0, 0x7FC, 0xFFC):
        rig = Rig()
        at = PAGE + offset
        rig.write(at, f"{kind}{at + distance}")
        for _ in range(3):
            rig.hart.pc = at
            rig.run(1)
            assert rig.hart.pc == at + distance


def test_a_loop_over_two_pages() -> None:
    rig = Rig()
    rig.write(
        PAGE + 0xFF0,
        f"""
        li   a0, 0
        li   a1, 300
        j    {PAGE + 0x1010}
    back: addi a0, a0, 1
        {"nop;" * 4}
        .org 0x20
        addi a1, a1, -1
        bnez a1, back
    end: j end
    """,
    )
    rig.hart.pc = PAGE + 0xFF0
    rig.run(10_000)
    assert rig.x("a0") == 299


def test_the_first_instruction_of_a_jump_outside_of_memory() -> None:
    """A step is the jump; the fault is the next step."""
    rig = Rig("jr a1")
    rig.put(a1=NOWHERE)
    exit = rig.run(1)
    assert (exit.reason, exit.executed, rig.hart.pc) == (ExitReason.BUDGET, 1, NOWHERE)
    exit = rig.run(1)
    assert (exit.executed, rig.trap()) == (1, (M, FETCH_ACCESS, NOWHERE))


@pytest.mark.parametrize("text", ["j 0x7ffff000", "beq zero, zero, 0x7ffff800", "c.j 0x7ffff900", "jalr zero, -4(a1)"])
def test_a_budget_ends_before_the_fault_of_what_follows(text: str) -> None:
    rig = Rig(text)
    rig.put(a1=BASE)
    exit = rig.run(1)
    assert (exit.reason, exit.executed, rig.hart.instret) == (ExitReason.BUDGET, 1, 1)
    assert rig.hart.pc < BASE


def test_a_budget_ends_before_the_page_that_is_not_mapped() -> None:
    rig = Rig()
    tables = Tables(rig)
    tables.map(0x4000_0000, PAGE, LEAF)
    rig.set(satp=tables.atp)
    rig.write(PAGE + 0xFF8, "nop\nnop")
    rig.hart.pc, rig.hart.mode = 0x4000_0FF8, HS
    exit = rig.run(2)
    assert (exit.executed, rig.hart.pc, rig.hart.mode) == (2, 0x4000_1000, HS)
    rig.run(1)
    assert rig.trap() == (M, FETCH_PAGE, 0x4000_1000)


def test_an_interrupt_that_is_due_goes_before_the_fault_of_a_fetch() -> None:
    """The timer strikes exactly where the program has jumped to nowhere."""
    rig = Rig("nop\n" * 99 + "jr a1", mstatus=MIE, mie=1 << 7)
    rig.put(a1=NOWHERE)
    rig.hart.mtimecmp = 1  # clock 100
    rig.run(200)
    assert (rig.csr("mcause"), rig.csr("mepc")) == (INTERRUPT | 7, NOWHERE)


# --- counting ---


@pytest.mark.parametrize("position", range(0, 12))
def test_instret_and_cycle_read_inside_a_block(position: int) -> None:
    rig = Rig("nop\n" * position + "csrr a0, minstret\ncsrr a1, mcycle\ncsrr a2, instret")
    rig.run(position + 3)
    assert [rig.x(name) for name in ("a0", "a1", "a2")] == [position, position + 1, position + 2]


def test_time_read_inside_a_block() -> None:
    rig = Rig("nop\n" * 99 + "csrr a0, time\ncsrr a1, time")
    rig.run(101)
    assert (rig.x("a0"), rig.x("a1")) == (0, 1)
    assert rig.hart.time == 1


def test_a_trapped_instruction_is_not_retired() -> None:
    rig = Rig("nop\nebreak\n", mtvec=BASE + 0x100)
    rig.write(BASE + 0x100, "csrr a0, minstret")
    rig.run(3)
    assert rig.x("a0") == 1


# --- timers ---


def taken_at(rig: Rig, most: int = 5000) -> int:
    """The clock when the first interrupt is taken."""
    for _ in range(most):
        rig.run(1)
        if rig.hart.traps():
            return rig.hart.clock
    raise AssertionError("no interrupt")


@pytest.mark.parametrize("block", ["nop\n" * 40, "c.nop\n", "nop\n" * 7 + "csrw mscratch, zero\n", "fence.i\n"])
@pytest.mark.parametrize("tick", [1, 2, 7])
def test_the_machine_timer_strikes_at_its_instruction(tick: int, block: str) -> None:
    """MTIP is pending as soon as time >= mtimecmp: before the instruction at clock 100 * mtimecmp."""
    text = f"loop: {block}j loop"
    rig = Rig(text, mstatus=MIE, mie=1 << 7)
    rig.hart.mtimecmp = tick
    rig.run(100 * tick)
    assert (rig.hart.clock, rig.hart.traps()) == (100 * tick, [])
    rig.run(1)
    assert rig.hart.traps() == [(M, 7, True, 1)] and rig.hart.clock == 100 * tick
    rig = Rig(text, mstatus=MIE, mie=1 << 7)
    rig.hart.mtimecmp = tick
    rig.run(5000)
    assert rig.hart.events()[0].clock == 100 * tick


def test_the_supervisor_timer_strikes_at_its_instruction() -> None:
    for mode, csrs, cause, handler in (
        (HS, {"stimecmp": 3, "mie": 1 << 5, "mideleg": 0x222, "mstatus": 2}, 5, "scause"),
        (U, {"stimecmp": 3, "mie": 1 << 5, "mideleg": 0x222}, 5, "scause"),
        (VS, {"stimecmp": 3, "mie": 1 << 5, "mideleg": 0x222}, 5, "scause"),
        (VS, {"vstimecmp": 1003, "htimedelta": 1000, "mie": 1 << 6, "hideleg": 0x444, "vsstatus": 2}, 5, "vscause"),
        (VS, {"vstimecmp": 1003, "htimedelta": 1000, "mie": 1 << 6}, 6, "scause"),
        (VS, {"vstimecmp": 1, "htimedelta": ONES - 1, "mie": 1 << 6, "hideleg": 0x444, "vsstatus": 2}, 5, "vscause"),
    ):
        rig = Rig("loop: addi a0, a0, 1\nj loop")
        rig.set(menvcfg=STCE, henvcfg=STCE, stimecmp=ONES, vstimecmp=ONES)
        if csrs.get("htimedelta") == ONES - 1:
            # Time of the guest begins two ticks below zero, where it is past any comparator.
            rig.set(**{**csrs, "vstimecmp": ONES})
            rig.run(250)
            rig.set(vstimecmp=1)
        else:
            rig.set(**csrs)
        rig.hart.mode = mode
        rig.run(2000)
        trap = rig.hart.events()[-1]
        assert rig.csr(handler) == INTERRUPT | cause
        assert trap.clock == 300, (mode, csrs)


def test_a_timer_without_stce_does_not_strike() -> None:
    rig = Rig("loop: j loop", mode=HS, stimecmp=1, vstimecmp=1, mie=1 << 5 | 1 << 6, mideleg=0x222, mstatus=2)
    rig.run(1000)
    assert rig.hart.traps() == []


def test_a_timer_set_by_the_program_strikes_in_time() -> None:
    rig = Rig(
        """
        csrr t0, time
        addi t0, t0, 2
        csrw stimecmp, t0
    loop: j loop
    """,
        mode=HS,
        menvcfg=STCE,
        mcounteren=2,
        mie=1 << 5,
        mideleg=0x222,
        mstatus=2,
    )
    rig.run(1000)
    assert [event.clock for event in rig.hart.events() if event.kind is EventKind.INTERRUPT] == [200]


def test_an_enable_of_a_pending_interrupt_takes_it_before_the_next_instruction() -> None:
    for text in ("csrs mie, t0", "csrs mstatus, t1", "csrw mip, t2"):
        rig = Rig(
            f"nop\n{text}\nnop\nnop",
            mie=0 if "mie" in text else 1 << 1 | 1 << 3,
            mstatus=0 if "mstatus" in text else MIE,
        )
        if "mip" not in text:
            rig.hart.wire(3, True)
        rig.put(t0=1 << 3, t1=MIE, t2=1 << 1)
        rig.run(10)
        assert rig.csr("mepc") == BASE + 8, text


def test_waiting_skips_to_the_timer() -> None:
    rig = Rig("wfi\ncsrr a0, time", mie=1 << 7)
    rig.hart.mtimecmp = 5000
    exit = rig.run(2)
    assert (exit.executed, rig.x("a0")) == (2, 5000)
    assert (rig.hart.clock, rig.hart.instret, rig.hart.idle) == (500_001, 2, 499_999)


def test_waiting_with_an_interrupt_that_is_taken() -> None:
    rig = Rig("loop: wfi\naddi a0, a0, 1\nj loop", mstatus=MIE, mie=1 << 7)
    rig.write(
        HANDLER,
        """
        csrr t0, time
        addi t0, t0, 10
        li   t1, 0x2004000
        sd   t0, 0(t1)
        addi a1, a1, 1
        mret
    """,
    )
    rig.hart.mtimecmp = 10
    rig.set(mstatus=MIE | MPP)
    rig.run(10 * 18)  # wait, trap, six in the handler, two in the loop
    assert (rig.x("a0"), rig.x("a1")) == (18, 18)
    assert rig.hart.time == 180 and rig.hart.idle == rig.hart.clock - 9 * 18


def test_nothing_to_wake_it() -> None:
    for timer in (False, True):
        rig = Rig("wfi\nli a0, 1", mie=1 << 3)
        if timer:  # set, but not enabled
            rig.hart.mtimecmp = 5
        exit = rig.run(100)
        assert (exit.reason, exit.executed) == (ExitReason.IDLE, 1)
        assert rig.hart.waiting
