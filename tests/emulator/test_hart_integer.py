"""Integer instructions: every one against an independent reference, through the hart and through `evaluate`.

The reference is written from the unprivileged manual's chapters on RV64I, M, B, Zbkb, Zbkx and Zicond, on Python's
unbounded integers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from operator import xor

import pytest
from assembler import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import BASE, DATA, FS, ILLEGAL, LOAD_MISALIGNED, ONES, STORE_ACCESS, STORE_MISALIGNED, M, Rig

from emulator.isa import ISA, decode
from emulator.isa.decoder import evaluate
from emulator.isa.expression import Value

MASK = ONES


def s(value: int, bits: int = 64) -> int:
    """The signed number in the low bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def u(value: int, bits: int = 64) -> int:
    return value & ((1 << bits) - 1)


def word(value: int) -> int:
    """The 32-bit result that a W instruction leaves: sign-extended."""
    return u(s(value, 32))


def quotient(a: int, b: int) -> int:
    """Rounded toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def div(a: int, b: int, bits: int = 64) -> int:
    a, b = s(a, bits), s(b, bits)
    return -1 if b == 0 else quotient(a, b)


def rem(a: int, b: int, bits: int = 64) -> int:
    a, b = s(a, bits), s(b, bits)
    return a if b == 0 else a - b * quotient(a, b)


def divu(a: int, b: int, bits: int = 64) -> int:
    a, b = u(a, bits), u(b, bits)
    return -1 if b == 0 else a // b


def remu(a: int, b: int, bits: int = 64) -> int:
    a, b = u(a, bits), u(b, bits)
    return a if b == 0 else a % b


def ror(a: int, by: int, bits: int) -> int:
    text = f"{u(a, bits):0{bits}b}"
    by %= bits
    return int(text[bits - by :] + text[: bits - by], 2)


def clz(a: int, bits: int) -> int:
    return len(f"{u(a, bits):0{bits}b}") - len(f"{u(a, bits):0{bits}b}".lstrip("0"))


def ctz(a: int, bits: int) -> int:
    return len(f"{u(a, bits):0{bits}b}") - len(f"{u(a, bits):0{bits}b}".rstrip("0"))


def bytes_of(a: int) -> bytes:
    return u(a).to_bytes(8, "little")


def carryless(a: int, b: int) -> int:
    """The product of polynomials over GF(2), as long multiplication without carries."""
    return reduce(xor, (a << i for i in range(64) if b >> i & 1), 0)


def crossbar(a: int, b: int, bits: int) -> int:
    """ "Zbkx": a look-up of each element of b in a."""
    elements, indices = ([v >> bits * i & (1 << bits) - 1 for i in range(64 // bits)] for v in (a, b))
    return sum(elements[index] << bits * i for i, index in enumerate(indices) if index < len(elements))


#: name: (rs1, rs2) to rd; the immediate stands for rs2 in the immediate forms.
REGISTER: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "sll": lambda a, b: a << (b % 64),
    "slt": lambda a, b: s(a) < s(b),
    "sltu": lambda a, b: u(a) < u(b),
    "xor": lambda a, b: a ^ b,
    "srl": lambda a, b: u(a) >> (b % 64),
    "sra": lambda a, b: s(a) >> (b % 64),
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
    "addw": lambda a, b: word(a + b),
    "subw": lambda a, b: word(a - b),
    "sllw": lambda a, b: word(a << (b % 32)),
    "srlw": lambda a, b: word(u(a, 32) >> (b % 32)),
    "sraw": lambda a, b: word(s(a, 32) >> (b % 32)),
    "mul": lambda a, b: a * b,
    "mulh": lambda a, b: s(a) * s(b) >> 64,
    "mulhu": lambda a, b: u(a) * u(b) >> 64,
    "mulhsu": lambda a, b: s(a) * u(b) >> 64,
    "div": div,
    "divu": divu,
    "rem": rem,
    "remu": remu,
    "mulw": lambda a, b: word(a * b),
    "divw": lambda a, b: word(div(a, b, 32)),
    "divuw": lambda a, b: word(divu(a, b, 32)),
    "remw": lambda a, b: word(rem(a, b, 32)),
    "remuw": lambda a, b: word(remu(a, b, 32)),
    "add.uw": lambda a, b: u(a, 32) + b,
    "sh1add": lambda a, b: 2 * a + b,
    "sh2add": lambda a, b: 4 * a + b,
    "sh3add": lambda a, b: 8 * a + b,
    "sh1add.uw": lambda a, b: 2 * u(a, 32) + b,
    "sh2add.uw": lambda a, b: 4 * u(a, 32) + b,
    "sh3add.uw": lambda a, b: 8 * u(a, 32) + b,
    "andn": lambda a, b: a & ~b,
    "orn": lambda a, b: a | ~b,
    "xnor": lambda a, b: ~(a ^ b),
    "min": lambda a, b: min(s(a), s(b)),
    "max": lambda a, b: max(s(a), s(b)),
    "minu": min,
    "maxu": max,
    "rol": lambda a, b: ror(a, 64 - b % 64, 64),
    "ror": lambda a, b: ror(a, b % 64, 64),
    "rolw": lambda a, b: word(ror(a, 32 - b % 32, 32)),
    "rorw": lambda a, b: word(ror(a, b % 32, 32)),
    "bclr": lambda a, b: a & ~(1 << b % 64),
    "bext": lambda a, b: a >> (b % 64) & 1,
    "binv": lambda a, b: a ^ 1 << b % 64,
    "bset": lambda a, b: a | 1 << b % 64,
    "clmul": carryless,
    "clmulh": lambda a, b: carryless(a, b) >> 64,
    "clmulr": lambda a, b: carryless(a, b) >> 63,
    "pack": lambda a, b: u(a, 32) + u(b, 32) * 2**32,
    "packh": lambda a, b: u(a, 8) + u(b, 8) * 2**8,
    "packw": lambda a, b: word(u(a, 16) + u(b, 16) * 2**16),
    "xperm4": lambda a, b: crossbar(a, b, 4),
    "xperm8": lambda a, b: crossbar(a, b, 8),
    "czero.eqz": lambda a, b: a if b else 0,
    "czero.nez": lambda a, b: 0 if b else a,
}
IMMEDIATE: dict[str, Callable[[int, int], int]] = {
    "addi": REGISTER["add"],
    "slti": REGISTER["slt"],
    "sltiu": REGISTER["sltu"],
    "xori": REGISTER["xor"],
    "ori": REGISTER["or"],
    "andi": REGISTER["and"],
    "addiw": REGISTER["addw"],
}
SHIFT: dict[str, Callable[[int, int], int]] = {
    "slli": REGISTER["sll"],
    "srli": REGISTER["srl"],
    "srai": REGISTER["sra"],
    "slliw": REGISTER["sllw"],
    "srliw": REGISTER["srlw"],
    "sraiw": REGISTER["sraw"],
    "slli.uw": lambda a, b: u(a, 32) << b,
    "rori": REGISTER["ror"],
    "roriw": REGISTER["rorw"],
    "bclri": REGISTER["bclr"],
    "bexti": REGISTER["bext"],
    "binvi": REGISTER["binv"],
    "bseti": REGISTER["bset"],
}
UNARY: dict[str, Callable[[int], int]] = {
    "clz": lambda a: clz(a, 64),
    "ctz": lambda a: ctz(a, 64),
    "cpop": lambda a: f"{a:b}".count("1"),
    "clzw": lambda a: clz(a, 32),
    "ctzw": lambda a: ctz(a, 32),
    "cpopw": lambda a: f"{u(a, 32):b}".count("1"),
    "sext.b": lambda a: s(a, 8),
    "sext.h": lambda a: s(a, 16),
    "zext.h": lambda a: u(a, 16),
    "orc.b": lambda a: int.from_bytes(bytes(0xFF if b else 0 for b in bytes_of(a)), "little"),
    "rev8": lambda a: int.from_bytes(bytes_of(a), "big"),
    "brev8": lambda a: int.from_bytes(bytes(int(f"{b:08b}"[::-1], 2) for b in bytes_of(a)), "little"),
}
NEWER = ("Zbc", "Zbkb", "Zbkx", "Zicond")
BRANCH: dict[str, Callable[[int, int], bool]] = {
    "beq": lambda a, b: a == b,
    "bne": lambda a, b: a != b,
    "blt": lambda a, b: s(a) < s(b),
    "bge": lambda a, b: s(a) >= s(b),
    "bltu": lambda a, b: a < b,
    "bgeu": lambda a, b: a >= b,
}
CORNERS = sorted(
    {
        n & ONES
        for k in (0, 1, 7, 8, 15, 16, 31, 32, 33, 62, 63)
        for n in (1 << k, (1 << k) - 1, -(1 << k), -(1 << k) - 1)
    }
    | {0x8000_0000_8000_0000, 0x0123_4567_89AB_CDEF, 0x00FF_0001_8000_7F00, 0xFFFF_FFFF_0000_0000}
)
values = st.sampled_from(CORNERS) | st.integers(0, ONES)

rig = Rig()


def execute(code: int, a: int, b: int) -> Rig:
    """Run one instruction at BASE with a1 = a, a2 = b."""
    rig.store(BASE, code, 4 if code & 3 == 3 else 2)
    rig.hart.pc = BASE
    rig.hart.x[10], rig.hart.x[11], rig.hart.x[12] = 0x5555, a, b
    rig.run(1)
    return rig


def check(code: int, a: int, b: int, expected: int) -> None:
    before = decode(code)
    assert before is not None
    execute(code, a, b)
    assert rig.x("a0") == u(int(expected)), f"{before.text} with {a:#x}, {b:#x}"
    assert rig.hart.pc == BASE + 4


def test_the_reference_covers_every_integer_instruction() -> None:
    known = {*REGISTER, *IMMEDIATE, *SHIFT, *UNARY, *BRANCH, "lui", "auipc", "jal", "jalr"}
    described = {
        insn.name
        for insn in ISA.instructions.values()
        if insn.extension in ("I", "M", "Zba", "Zbb", "Zbs", *NEWER)
        and insn.name not in ("ecall", "ebreak", "fence")
        and insn.layout.match & 0x7F not in (0x03, 0x23)
    }
    assert described == known


@pytest.mark.parametrize("name", REGISTER)
def test_register_instructions_at_corners(name: str) -> None:
    code = encode(name, rd=10, rs1=11, rs2=12)
    for a in CORNERS:
        for b in [*CORNERS[::3], 0, 1, ONES, 1 << 63, 1 << 31, 31, 32, 63, 64]:
            check(code, a, b, REGISTER[name](a, b))


@pytest.mark.parametrize("name", UNARY)
def test_unary_instructions_at_corners(name: str) -> None:
    for a in CORNERS:
        check(encode(name, rd=10, rs1=11), a, 0, UNARY[name](a))


@settings(max_examples=600)
@given(st.sampled_from([*REGISTER]), values, values)
def test_register_instructions(name: str, a: int, b: int) -> None:
    check(encode(name, rd=10, rs1=11, rs2=12), a, b, REGISTER[name](a, b))


@settings(max_examples=300)
@given(st.sampled_from([*IMMEDIATE]), values, st.integers(-2048, 2047))
def test_immediate_instructions(name: str, a: int, imm: int) -> None:
    check(encode(name, rd=10, rs1=11, imm=imm), a, 0, IMMEDIATE[name](a, imm & ONES))


@settings(max_examples=300)
@given(st.sampled_from([*SHIFT]), values, st.integers(0, 63))
def test_shifts_by_a_constant(name: str, a: int, shamt: int) -> None:
    if name.endswith("iw"):
        shamt &= 31
    check(encode(name, rd=10, rs1=11, shamt=shamt), a, 0, SHIFT[name](a, shamt))


@settings(max_examples=300)
@given(st.sampled_from([*UNARY]), values)
def test_unary_instructions(name: str, a: int) -> None:
    check(encode(name, rd=10, rs1=11), a, 0, UNARY[name](a))


@settings(max_examples=300)
@given(st.sampled_from([*BRANCH]), values, values, st.integers(-2048, 2047), st.booleans())
def test_branches(name: str, a: int, b: int, half: int, same: bool) -> None:
    b = a if same else b
    execute(encode(name, rs1=11, rs2=12, imm=2 * half), a, b)
    assert rig.hart.pc == (BASE + 2 * half if BRANCH[name](a, b) else BASE + 4)


@given(st.integers(-(1 << 19), (1 << 19) - 1))
def test_upper_immediates(high: int) -> None:
    check(encode("lui", rd=10, imm=high << 12), 0, 0, high << 12)
    check(encode("auipc", rd=10, imm=high << 12), 0, 0, BASE + (high << 12))


@given(st.integers(-(1 << 19), (1 << 19) - 1))
def test_jal(half: int) -> None:
    execute(encode("jal", rd=10, imm=2 * half), 0, 0)
    assert (rig.hart.pc, rig.x("a0")) == (BASE + 2 * half, BASE + 4)


@given(values, st.integers(-2048, 2047))
def test_jalr_clears_bit_0(a: int, imm: int) -> None:
    execute(encode("jalr", rd=10, rs1=11, imm=imm), a, 0)
    assert (rig.hart.pc, rig.x("a0")) == (u(a + imm) & ~1, BASE + 4)


def test_jalr_reads_its_register_before_it_writes_it() -> None:
    execute(encode("jalr", rd=11, rs1=11, imm=8), BASE + 0x100, 0)
    assert (rig.hart.pc, rig.x("a1")) == (BASE + 0x108, BASE + 4)


def test_results_written_to_x0_are_lost() -> None:
    for name in ("add", "mul", "div", "rev8", "ld", "lui", "jal", "amoadd.d"):
        execute(
            encode(name, rd=0, **({"rs1": 11} if name in ("add", "mul", "div", "rev8", "ld", "amoadd.d") else {})),
            DATA,
            3,
        )
        assert rig.hart.x[0] == 0
        rig.store(BASE, encode("add", rd=10, rs1=0, rs2=0), 4)
        rig.hart.pc = BASE
        rig.run(1)
        assert rig.x("a0") == 0


# --- what the monitor says of it ---


def calls(value: object) -> bool:
    return isinstance(value, Value) and (value.op == "call" or any(calls(arg) for arg in value.args))


INTEGER = [
    insn
    for insn in ISA.instructions.values()
    if insn.effects
    and all(effect.kind in ("x", "jump") for effect in insn.effects)
    and insn.extension in ("I", "M", "Zba", "Zbb", "Zbs", *NEWER)
    and not insn.name.startswith("l")
] + [ISA.instructions["lui"]]


@settings(max_examples=1000)
@given(st.sampled_from(INTEGER), st.data())
def test_evaluation_agrees_with_the_hart(insn: object, data: st.DataObject) -> None:
    layout = insn.layout  # type: ignore[attr-defined]
    filler = data.draw(st.integers(0, 0xFFFF_FFFF))
    code = layout.match | filler & ~layout.mask
    rig.store(BASE, code, 4)
    rig.hart.pc = BASE
    for register in range(1, 32):
        rig.hart.x[register] = data.draw(values) if register in (1, 2) else (register * 0x9E37_79B9_7F4A_7C15) & ONES
    for name in ("rs1", "rs2"):
        if name in layout.operands:
            rig.hart.x[layout.extract(code)[name]] = data.draw(values)
    d = decode(code)
    assert d is not None
    expected = {}
    target: int | None = BASE + d.length
    for effect in d.instruction.effects:
        if effect.kind == "x":
            result = evaluate(effect.args[1], d, rig.hart)
            assert (result is None) == calls(effect.args[1])
            if result is not None and d.operands["rd"]:
                expected[d.operands["rd"]] = result
        else:
            taken = 1 if effect.args[1] is None else evaluate(effect.args[1], d, rig.hart)
            target = evaluate(effect.args[0], d, rig.hart) if taken else BASE + d.length
    rig.run(1)
    assert {register: rig.hart.x[register] for register in expected} == expected
    assert rig.hart.pc == target


# --- compressed forms ---

SHORT = [
    ("c.addi4spn a0, 1020", "addi a0, sp, 1020"),
    ("c.addi a0, -32", "addi a0, a0, -32"),
    ("c.addiw a0, 31", "addiw a0, a0, 31"),
    ("c.li a0, -32", "addi a0, zero, -32"),
    ("c.addi16sp -512", "addi sp, sp, -512"),
    ("c.lui a0, 0xfffe0", "lui a0, 0xfffe0"),
    ("c.srli a0, 63", "srli a0, a0, 63"),
    ("c.srai a0, 63", "srai a0, a0, 63"),
    ("c.andi a0, -32", "andi a0, a0, -32"),
    ("c.sub a0, a1", "sub a0, a0, a1"),
    ("c.xor a0, a1", "xor a0, a0, a1"),
    ("c.or a0, a1", "or a0, a0, a1"),
    ("c.and a0, a1", "and a0, a0, a1"),
    ("c.subw a0, a1", "subw a0, a0, a1"),
    ("c.addw a0, a1", "addw a0, a0, a1"),
    ("c.slli a0, 63", "slli a0, a0, 63"),
    ("c.mv a0, t6", "add a0, zero, t6"),
    ("c.add a0, t6", "add a0, a0, t6"),
    ("c.nop", "addi zero, zero, 0"),
    ("c.lw a0, 124(a2)", "lw a0, 124(a2)"),
    ("c.ld a0, 248(a2)", "ld a0, 248(a2)"),
    ("c.sw a0, 124(a2)", "sw a0, 124(a2)"),
    ("c.sd a0, 248(a2)", "sd a0, 248(a2)"),
    ("c.fld fa0, 248(a2)", "fld fa0, 248(a2)"),
    ("c.fsd fa0, 248(a2)", "fsd fa0, 248(a2)"),
    ("c.lwsp a0, 252", "lw a0, 252(sp)"),
    ("c.ldsp a0, 504", "ld a0, 504(sp)"),
    ("c.swsp a0, 252", "sw a0, 252(sp)"),
    ("c.sdsp a0, 504", "sd a0, 504(sp)"),
    ("c.fldsp fa0, 504", "fld fa0, 504(sp)"),
    ("c.fsdsp fa0, 504", "fsd fa0, 504(sp)"),
    ("c.j 0x80000100", "jal zero, 0x80000100"),
    ("c.beqz a3, 0x80000010", "beq a3, zero, 0x80000010"),
    ("c.bnez a0, 0x7fffff00", "bne a0, zero, 0x7fffff00"),
    ("c.jr a4", "jalr zero, 0(a4)"),
    ("c.jalr a4", "jalr ra, 0(a4)"),
    ("c.lbu a0, 3(a2)", "lbu a0, 3(a2)"),
    ("c.lhu a0, 2(a2)", "lhu a0, 2(a2)"),
    ("c.lh a0, 2(a2)", "lh a0, 2(a2)"),
    ("c.sb a0, 3(a2)", "sb a0, 3(a2)"),
    ("c.sh a0, 2(a2)", "sh a0, 2(a2)"),
    ("c.zext.b a0", "andi a0, a0, 255"),
    ("c.sext.b a1", "sext.b a1, a1"),
    ("c.zext.h a1", "zext.h a1, a1"),
    ("c.sext.h a0", "sext.h a0, a0"),
    ("c.zext.w a1", "add.uw a1, a1, zero"),
    ("c.not a0", "xori a0, a0, -1"),
    ("c.mul a0, a1", "mul a0, a0, a1"),
    *((f"c.ntl.{name}", f"ntl.{name}") for name in ("p1", "pall", "s1", "all")),
]


def after(text: str) -> tuple[list[int], list[int], bytes, int, int]:
    """Registers, memory, pc behind the instruction, and its length."""
    rig.put(
        sp=DATA + 0x800, a0=0x8000_0000_1234_5678, a1=0xFFFF_FFFF_8000_0001, a2=DATA, a3=0, a4=BASE + 0x80, t6=77, ra=0
    )
    rig.hart.f[10] = 0x4009_21FB_5444_2D18
    rig.hart.set_csr("mstatus", FS)
    rig.machine.memory.write(DATA, bytes(i * 7 & 0xFF for i in range(0x1000)))
    rig.store(BASE, 0x0001_0001_0001)
    program = rig.write(BASE, text)
    rig.hart.pc = BASE
    rig.hart.mode = M
    rig.run(1)
    return list(rig.hart.x), list(rig.hart.f), rig.machine.memory.read(DATA, 0x1000), rig.hart.pc, len(program.code)


@pytest.mark.parametrize(("short", "long"), SHORT)
def test_a_compressed_form_does_what_its_expansion_does(short: str, long: str) -> None:
    x, f, memory, pc, length = after(short)
    x2, f2, memory2, pc2, length2 = after(long)
    assert (length, length2) == (2, 4)
    assert (f, memory) == (f2, memory2)
    if "jalr ra" in long:  # the link is the address behind the instruction
        assert (x.pop(1), x2.pop(1)) == (BASE + 2, BASE + 4)
    assert x == x2
    assert pc == (BASE + 2 if pc2 == BASE + 4 else pc2)


def test_every_compressed_form_is_covered() -> None:
    assert {short.split()[0] for short, _ in SHORT} | {"c.ebreak"} == set(ISA.compressed)


# --- loads and stores ---

PATTERN = bytes([0x80, 0x7F, 0xFF, 0x00, 0x81, 0x12, 0xEE, 0x90, 0xA1, 0xB2, 0xC3, 0xD4, 0xE5, 0xF6, 0x07, 0x18])
WIDTHS = {"b": 1, "h": 2, "w": 4, "d": 8}
LOADS = [
    (f"l{letter}{sign}", size, sign != "u")
    for letter, size in WIDTHS.items()
    for sign in ("", "u")
    if (letter, sign) != ("d", "u")
]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("offset", [*range(8), 0xFF8, 0xFF9, 0xFFC, 0xFFD, 0xFFE, 0xFFF])
@pytest.mark.parametrize(("name", "size", "signed"), LOADS)
def test_loads_extend_at_any_alignment(name: str, size: int, signed: bool, offset: int, warm: bool) -> None:
    """Misaligned ones too, and across pages: "Load and Store Instructions" leaves that to the platform."""
    r = Rig("ld t0, 0(a2)\n" * warm + f"{name} a0, 0(a1)")
    at = DATA + offset
    r.machine.memory.write(at, PATTERN)
    r.put(a1=at, a2=DATA, a0=0x5555)
    r.run(1 + warm)
    expected = int.from_bytes(PATTERN[:size], "little", signed=signed) & ONES
    assert r.x("a0") == expected


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("offset", [*range(8), 0xFF8, 0xFF9, 0xFFC, 0xFFD, 0xFFE, 0xFFF])
@pytest.mark.parametrize("letter", WIDTHS)
def test_stores_change_their_bytes_only(letter: str, offset: int, warm: bool) -> None:
    size, at = WIDTHS[letter], DATA + offset
    r = Rig("sb zero, 64(a2)\n" * warm + f"s{letter} a0, -1(a1)")
    r.machine.memory.write(at - 4, b"\xaa" * 16)
    r.put(a1=at + 1, a2=DATA, a0=0x0807_0605_0403_0201)
    r.run(1 + warm)
    assert r.machine.memory.read(at - 4, 16) == b"\xaa" * 4 + bytes(range(1, 1 + size)) + b"\xaa" * (12 - size)


def test_addresses_wrap_around() -> None:
    r = Rig("ld a0, 0(a1)\nld a2, -1(a3)")
    r.store(DATA, 99)
    r.put(a1=DATA, a3=DATA + 1)
    r.run(2)
    assert (r.x("a0"), r.x("a2")) == (99, 99)
    r = Rig("sd a0, 2047(a1)")
    r.put(a0=5, a1=(DATA - 2047) & ONES)
    r.run(1)
    assert r.load(DATA) == 5


# --- atomics ---

AMOS: dict[str, Callable[[int, int, int], int]] = {
    "swap": lambda old, new, bits: new,
    "add": lambda old, new, bits: old + new,
    "xor": lambda old, new, bits: old ^ new,
    "and": lambda old, new, bits: old & new,
    "or": lambda old, new, bits: old | new,
    "min": lambda old, new, bits: min(s(old, bits), s(new, bits)),
    "max": lambda old, new, bits: max(s(old, bits), s(new, bits)),
    "minu": lambda old, new, bits: min(u(old, bits), u(new, bits)),
    "maxu": lambda old, new, bits: max(u(old, bits), u(new, bits)),
}


@pytest.mark.parametrize("ordering", ["", ".aq", ".rl", ".aqrl"])
@pytest.mark.parametrize(("letter", "bits"), [("b", 8), ("h", 16), ("w", 32), ("d", 64)])
@pytest.mark.parametrize("name", AMOS)
def test_atomic_operations(name: str, letter: str, bits: int, ordering: str) -> None:
    r = Rig(f"amo{name}.{letter}{ordering} a0, a2, (a1)")
    for old in CORNERS[::5]:
        for new in CORNERS[::4]:
            r.store(DATA, old)
            r.hart.pc = BASE
            r.put(a1=DATA, a2=new)
            r.run(1)
            assert r.x("a0") == u(s(old, bits))
            kept = old >> bits << bits
            assert r.load(DATA) == kept | u(AMOS[name](old, new, bits), bits)


def test_an_atomic_operation_may_use_one_register_for_all() -> None:
    r = Rig("amoadd.d a1, a1, (a1)")
    r.store(DATA, 7)
    r.put(a1=DATA)
    r.run(1)
    assert (r.x("a1"), r.load(DATA)) == (7, DATA + 7)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("lr.w a0, (a1)", LOAD_MISALIGNED),
        ("sc.w a0, a2, (a1)", STORE_MISALIGNED),
        ("amoadd.d a0, a2, (a1)", STORE_MISALIGNED),
        ("lr.d a0, (a1)", LOAD_MISALIGNED),
        ("amoadd.h a0, a2, -1(a1)", STORE_MISALIGNED),
        ("amocas.h a0, a2, -1(a1)", STORE_MISALIGNED),
        ("amocas.w a0, a2, (a1)", STORE_MISALIGNED),
        ("amocas.d a0, a2, (a1)", STORE_MISALIGNED),
        ("amocas.q a0, a2, 6(a1)", STORE_MISALIGNED),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_atomics_must_be_aligned(text: str, cause: int, warm: bool) -> None:
    offset = re.search(r"(-?\d+)\(", text)
    at = DATA + 2 + int(offset[1] if offset else 0)
    r = Rig("sd zero, 0(a3)\nld t0, 0(a3)\n" * warm + re.sub(r"-?\d+\(", "(", text))
    r.put(a1=at, a3=DATA, a0=1)
    r.run(1 + 2 * warm + 0)
    assert r.trap() == (M, cause, at)
    assert r.x("a0") == 1


@pytest.mark.parametrize("ordering", ["", ".aqrl"])
@pytest.mark.parametrize(("letter", "bits"), [("b", 8), ("h", 16), ("w", 32), ("d", 64)])
def test_compare_and_swap(letter: str, bits: int, ordering: str) -> None:
    """Only the low bits of both registers count, and the old value comes sign-extended."""
    r = Rig(f"amocas.{letter}{ordering} a0, a2, (a1)")
    high = 0x5A5A_5A5A_5A5A_5A5A << bits & ONES
    for old in CORNERS[::3]:
        for wanted in (u(old, bits) | high, old ^ 1, old ^ 1 << bits - 1):
            new = 0x0123_4567_89AB_CDEF
            r.store(DATA, old)
            r.hart.pc = BASE
            r.put(a0=wanted, a1=DATA, a2=new)
            r.run(1)
            same = u(old, bits) == u(wanted, bits)
            assert r.load(DATA) == (old >> bits << bits | u(new, bits) if same else old)
            assert r.x("a0") == u(s(old, bits))


def test_compare_and_swap_with_x0_compares_with_zero_and_keeps_nothing() -> None:
    for letter in "bhwd":
        r = Rig(f"add zero, a2, a2\namocas.{letter} zero, a2, (a1)\namocas.{letter} zero, a3, (a1)\nmv a4, zero")
        r.put(a1=DATA, a2=7, a3=9, a4=5)
        r.run(4)
        assert (r.load(DATA), r.x("a4")) == (7, 0)


def test_compare_and_swap_of_a_pair() -> None:
    for low, high in ((0, 0), (1, 0), (0, 1)):
        r = Rig("amocas.q a0, a2, (a4)")
        r.store(DATA, 11)
        r.store(DATA + 8, 22)
        r.put(a0=11 + low, a1=22 + high, a2=33, a3=44, a4=DATA)
        r.run(1)
        assert (r.load(DATA), r.load(DATA + 8)) == ((11, 22) if low or high else (33, 44))
        assert (r.x("a0"), r.x("a1")) == (11, 22)


def test_a_pair_that_begins_at_x0_is_zero_and_is_not_written() -> None:
    r = Rig("amocas.q zero, a2, (a4)\namocas.q a0, zero, (a4)")
    r.put(ra=5, a2=33, a3=44, a4=DATA, a0=33, a1=44)
    r.run(1)
    assert (r.load(DATA), r.load(DATA + 8), r.x("ra"), r.hart.x[0]) == (33, 44, 5, 0)
    r.run(1)
    assert (r.load(DATA), r.load(DATA + 8), r.x("a0"), r.x("a1")) == (0, 0, 33, 44)


@pytest.mark.parametrize("operands", [{"rd": 11, "rs2": 12}, {"rd": 10, "rs2": 13}, {"rd": 1, "rs2": 12}])
def test_an_odd_register_makes_no_pair(operands: dict[str, int]) -> None:
    r = Rig()
    code = encode("amocas.q", rs1=14, **operands)
    assert decode(code) is None
    r.store(BASE, code, 4)
    r.put(a4=DATA)
    r.run(1)
    assert r.trap() == (M, ILLEGAL, code)


def test_a_comparison_that_fails_needs_the_right_to_write() -> None:
    """Zacas: "always requires write permissions". What is no memory takes none either."""
    for text in ("amocas.d a0, a2, (a1)", "amocas.q a0, a2, (a1)", "amocas.b a0, a2, (a1)"):
        r = Rig(text)
        r.set(pmpaddr0=(DATA >> 2) + 1, pmpcfg0=0x1F_99)  # 16 bytes read-only, locked; then everything
        r.set(pmpaddr1=ONES)
        r.store(DATA, 1)
        r.put(a0=2, a1=DATA)
        r.run(1)
        assert r.trap() == (M, STORE_ACCESS, DATA)
        assert r.x("a0") == 2


def test_load_reserved_and_store_conditional() -> None:
    r = Rig("""
        lr.w a0, (a1)
        sc.w a2, a3, (a1)
        sc.w a4, a3, (a1)    # the reservation is used up
        lr.d a5, (a1)
        sc.d a6, a7, (t0)    # elsewhere
        sc.d t1, a7, (a1)    # and the failed one has dropped it
        ld   t2, 0(a1)
    """)
    r.store(DATA, 0xFFFF_FFFF_8000_0000)
    r.put(a1=DATA, a3=0x1_2345_6789, a7=ONES, t0=DATA + 64, a2=9, a4=9, a6=9, t1=9)
    r.run(7)
    assert r.x("a0") == 0xFFFF_FFFF_8000_0000  # sign-extended
    assert r.x("a2") == 0
    assert [r.x(name) for name in ("a4", "a6", "t1")] == [1, 1, 1]
    assert r.x("a5") == r.x("t2") == 0xFFFF_FFFF_2345_6789
    assert r.load(DATA + 64) == 0


def test_a_store_conditional_alone_fails() -> None:
    r = Rig("sc.d a0, a1, (a2)")
    r.store(DATA, 5)
    r.put(a1=6, a2=DATA)
    r.run(1)
    assert (r.x("a0"), r.load(DATA)) == (1, 5)


def test_a_store_of_another_hart_breaks_the_reservation() -> None:
    """Harts take turns; a store of the other in between must make SC fail."""
    r = Rig(
        """
        csrr t0, mhartid
        bnez t0, other
        lr.d a0, (a1)
        li   t1, 5000        # long enough for the other's turn
    wait: addi t1, t1, -1
        bnez t1, wait
        sc.d a2, a3, (a1)
    self: j self
    other: sd a4, 0(a1)
        j    self
        """,
        harts=2,
    )
    for hart in r.machine.harts:
        hart.x[11], hart.x[13], hart.x[14], hart.x[12] = DATA, 1, 2, 9
    r.run(30_000)
    assert r.x("a2") == 1
    assert r.load(DATA) == 2


def test_a_loop_of_load_reserved_and_store_conditional_makes_progress_on_several_harts() -> None:
    r = Rig(
        """
            li   t0, 500
    retry:  lr.d a0, (a1)
            addi a0, a0, 1
            sc.d a2, a0, (a1)
            bnez a2, retry
            addi t0, t0, -1
            bnez t0, retry
            li   a3, 1
    self:   j self
        """,
        harts=3,
    )
    for hart in r.machine.harts:
        hart.x[11] = DATA
    r.run(30_000)
    assert [hart.x[13] for hart in r.machine.harts] == [1, 1, 1]
    assert r.load(DATA) == 1500
