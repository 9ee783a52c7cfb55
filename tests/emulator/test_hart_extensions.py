"""Unprivileged extensions that are more than integers: cache blocks, waiting, hints, half precision.

Expectations are written from the manual's chapters "Cache Management Operations", "Zawrs", "Zimop", "Zfh" and "Zfa".
"""

from __future__ import annotations

import itertools

import pytest
from assembler import encode
from rig import (
    ADUE,
    BASE,
    DATA,
    FS,
    GVA,
    HS,
    ILLEGAL,
    LEAF,
    MPRV,
    MXR,
    ONES,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    SUM,
    TABLES,
    TW,
    USER,
    VIRTUAL,
    VS,
    VTW,
    VU,
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
)  # fmt: skip
from test_hart_translation import ADDRESS, FLAGS, LOAD, PAGE, STORE, World, permitted
from test_softfloat import F16, F32, F64, edges, expected, expected_conversion, expected_integer, expected_integral
from test_softfloat import decode as value_of

from emulator.devicetree import DEFAULT_ISA
from emulator.hart import Mode
from emulator.isa import ISA, csrs, decode
from emulator.isa.extensions import BY_NAME, EXTENSIONS, TRANSLATION, canonical, isa_string
from emulator.isa.features import FEATURES, named

MANAGE = ("cbo.inval", "cbo.clean", "cbo.flush")
BLOCKS = ("cbo.zero", *MANAGE)
GRANTED = 0xF0
"""CBIE, CBCFE and CBZE."""
CBIE, CBCFE, CBZE = 3 << 4, 1 << 6, 1 << 7
FIELD = {"cbo.zero": CBZE, "cbo.inval": CBIE, "cbo.clean": CBCFE, "cbo.flush": CBCFE}
ALL_GRANTED = {"menvcfg": GRANTED, "henvcfg": GRANTED, "senvcfg": GRANTED}


# --- the right to execute ---


def cbo_exception(mode: Mode, menvcfg: int, henvcfg: int, senvcfg: int) -> int | None:
    """The pseudocode of "CSR controls for CMO instructions"."""
    if (mode is not M and not menvcfg) or (mode is U and not senvcfg):
        return ILLEGAL
    if (mode is VS and not henvcfg) or (mode is VU and not (henvcfg and senvcfg)):
        return VIRTUAL
    return None


@pytest.mark.parametrize("mode", [M, HS, U, VS, VU])
@pytest.mark.parametrize("name", BLOCKS)
def test_who_may_operate_on_cache_blocks(name: str, mode: Mode) -> None:
    code, others = encode(name, rs1=11), GRANTED & ~FIELD[name]
    for fields in itertools.product((0, 1, 3) if name == "cbo.inval" else (0, 1), repeat=3):
        registers = dict(zip(("menvcfg", "henvcfg", "senvcfg"), fields, strict=True))
        # The other instructions' fields say the contrary.
        low = FIELD[name] & -FIELD[name]
        rig = Rig(name + " (a1)", mode=mode, **{k: v * low | (0 if v else others) for k, v in registers.items()})
        rig.store(DATA, 7)
        rig.put(a1=DATA)
        rig.run(1)
        cause = cbo_exception(mode, **registers)
        assert rig.trap() == (None if cause is None else (M, cause, code)), registers
        assert rig.load(DATA) == (0 if cause is None and name == "cbo.zero" else 7)


# --- access ---


def may_access(name: str, flags: int, user: bool, sum_: bool, mxr: bool) -> bool | None:
    """None: the manual leaves it open, where only a fetch is permitted."""
    store, load, fetch = (permitted(kind, flags, user, sum_, mxr) for kind in (STORE, LOAD, "fetch"))
    if name == "cbo.zero":
        return store
    return True if load or store else None if fetch else False


@pytest.mark.parametrize(("sum_", "mxr"), [*itertools.product((0, SUM), (0, MXR))])
@pytest.mark.parametrize("mode", [HS, U])
@pytest.mark.parametrize("name", BLOCKS)
def test_permissions_of_one_stage(name: str, mode: Mode, sum_: int, mxr: int) -> None:
    """Whatever is refused, the exception is a store's and its address that of rs1, which need not be aligned."""
    world = World(mode, mstatus=sum_ | mxr, **ALL_GRANTED)
    for flags in FLAGS:
        if flags & V and not flags & (R | W | X):
            continue  # a pointer
        world.first.map(ADDRESS, PAGE, flags | A | D)
        world.rig.hart.flush_translation()
        good = may_access(name, flags, mode is U, bool(sum_), bool(mxr))
        if good is None:
            continue
        assert world.reach(name, ADDRESS + 0x77) == (None if good else (STORE_PAGE, ADDRESS + 0x77)), flags


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("mode", [VS, VU])
def test_permissions_of_the_second_stage(name: str, mode: Mode) -> None:
    world = World(mode, **ALL_GRANTED)
    gpa = 0x1_0000_0000
    world.first.map(ADDRESS, gpa, LEAF | (USER if mode is VU else 0))
    for flags in FLAGS:
        if flags & V and not flags & (R | W | X):
            continue
        world.second.map(gpa, PAGE, flags | A | D)
        world.rig.hart.flush_translation()
        good = may_access(name, flags, True, False, False)
        if good is None:
            continue
        assert world.reach(name, ADDRESS + 0x1F9) == (None if good else (STORE_GUEST, ADDRESS + 0x1F9)), flags
        if not good:
            assert world.rig.csr("mtval2") == (gpa + 0x1F9) >> 2
            assert world.rig.csr("mstatus") & GVA


@pytest.mark.parametrize("name", BLOCKS)
def test_a_first_stage_fault_of_a_guest(name: str) -> None:
    world = World(VS, **ALL_GRANTED)
    world.first.map(ADDRESS, PAGE, V | R | A | D if name == "cbo.zero" else V | USER | R | W | A | D)
    assert world.reach(name, ADDRESS + 1) == (STORE_PAGE, ADDRESS + 1)


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("update", [0, ADUE])
@pytest.mark.parametrize("name", BLOCKS)
def test_accessed_and_dirty(name: str, update: int, stage: int) -> None:
    """All check A; only CBO.ZERO, which stores, checks D."""
    for bits in (0, A, A | D):
        world = World(VS, menvcfg=GRANTED | update, henvcfg=GRANTED | update)
        slot = world.first.map(ADDRESS, PAGE & ~0x1F_FFFF | 1 << 32, LEAF if stage == 2 else LEAF & ~(A | D) | bits)
        guest = world.second.map(
            1 << 32 | PAGE & ~0x1F_FFFF, PAGE, LEAF | USER if stage == 1 else V | R | W | USER | bits
        )
        needed = A | D if name == "cbo.zero" else A
        good = update or bits & needed == needed
        assert world.reach(name, ADDRESS) == (None if good else ((STORE_PAGE, STORE_GUEST)[stage - 1], ADDRESS)), bits
        entry = world.rig.load(slot if stage == 1 else guest)
        assert entry & (A | D) == (bits | needed if good else bits)


@pytest.mark.parametrize("name", BLOCKS)
def test_protection_and_what_is_no_memory(name: str) -> None:
    """PMP and missing memory raise a store access fault. A device has no block to zero, but one to manage."""
    for rights, good in ((0, False), (4, False), (1, name != "cbo.zero"), (3, True)):
        rig = Rig(name + " (a1)")
        rig.set(pmpaddr1=ONES, pmpaddr0=DATA >> 2 | 7, pmpcfg0=0x1F00 | 0x98 | rights)  # 64 bytes, locked
        rig.store(DATA + 56, 5)
        rig.put(a1=DATA + 60)
        rig.run(1)
        assert rig.trap() == (None if good else (M, STORE_ACCESS, DATA + 60))
    for address, good in (
        (BASE + (4 << 20) + 5, False),
        (BASE + (4 << 20) - 1, True),
        (0x1000_0000, name != "cbo.zero"),
    ):
        rig = Rig(name + " (a1)")
        rig.put(a1=address)
        rig.run(1)
        assert rig.trap() == (None if good else (M, STORE_ACCESS, address))


def test_protection_as_mprv_says() -> None:
    rig = Rig("cbo.zero (a1)", mstatus=MPRV | 1 << 11)
    tables = Tables(rig, at=TABLES)
    tables.map(ADDRESS, PAGE, LEAF)
    rig.set(satp=tables.atp)
    rig.store(PAGE + 64, ONES)
    rig.put(a1=ADDRESS + 64)
    rig.run(1)
    assert rig.trap() is None and rig.load(PAGE + 64) == 0


# --- what CBO.ZERO writes ---


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 63, 64, 0x1000 - 64, 0x1000 - 1])
def test_zeroing_a_block(offset: int, warm: bool) -> None:
    rig = Rig("sb a2, 0(a3)\n" * warm + "cbo.zero (a1)")
    start = DATA + offset & ~63
    rig.machine.memory.write(DATA - 64, b"\xff" * 0x1080)
    rig.put(a1=DATA + offset, a2=0xFF, a3=DATA + 512)
    rig.run(1 + warm)
    left = rig.machine.memory.read(DATA - 64, 0x1080)
    at = start - (DATA - 64)
    assert left == b"\xff" * at + bytes(64) + b"\xff" * (0x1080 - at - 64)


def test_management_changes_nothing() -> None:
    rig = Rig("\n".join(f"{name} (a1)" for name in MANAGE))
    rig.machine.memory.write(DATA, bytes(range(64)))
    rig.put(a1=DATA + 3)
    rig.run(3)
    assert rig.hart.pc == BASE + 12 and rig.machine.memory.read(DATA, 64) == bytes(range(64))


@pytest.mark.parametrize("offset", [0, 60])
def test_zeroed_code_does_not_run(offset: int) -> None:
    """The block holds what has run before: the zeros are an illegal instruction now."""
    rig = Rig(f"""
        la   a1, target
        jal  ra, target
        addi a1, a1, {offset}
        cbo.zero (a1)
        jal  ra, target
        .org 128
    target:
        addi a0, a0, 1
        ret
    """)
    rig.run(100)
    assert rig.x("a0") == 1
    assert (rig.csr("mcause"), rig.csr("mepc")) == (ILLEGAL, rig.program["target"])


def test_the_block_after_the_next_instruction_is_gone_at_once() -> None:
    rig = Rig("""
        la   a1, block
        j    block
        .org 64
    block:
        addi a0, a0, 1
        cbo.zero (a1)
        addi a0, a0, 1
    """)
    rig.run(10)
    assert rig.x("a0") == 1 and rig.csr("mcause") == ILLEGAL and rig.csr("mepc") == rig.program["block"] + 8


# --- waiting ---


@pytest.mark.parametrize(("tw", "vtw"), [*itertools.product((0, TW), (0, VTW))])
@pytest.mark.parametrize("mode", [M, HS, U, VS, VU])
def test_waiting_for_a_reservation(mode: Mode, tw: int, vtw: int) -> None:
    rig = Rig("wrs.nto\nwrs.sto", mode=mode, mstatus=tw, hstatus=vtw)
    rig.run(1)
    code = encode("wrs.nto")
    if tw and mode is not M:
        assert rig.trap() == (M, ILLEGAL, code)
    elif vtw and mode.virtual:
        assert rig.trap() == (M, VIRTUAL, code)
    else:
        assert rig.hart.pc == BASE + 4 and not rig.hart.waiting
    rig.hart.pc, rig.hart.mode = BASE + 4, mode
    rig.run(1)
    assert rig.hart.pc == BASE + 8 and not rig.hart.waiting


# --- hints and may-be-operations ---

HINTS = ("pause", "ntl.p1", "ntl.pall", "ntl.s1", "ntl.all", "wrs.sto", *(f"c.mop.{n}" for n in range(1, 16, 2)))


@pytest.mark.parametrize(
    "text", [*HINTS, *(f"prefetch.{kind} {imm}(a1)" for kind in "irw" for imm in (-2048, 2016)), "c.ntl.all"]
)
def test_hints_change_nothing(text: str) -> None:
    """a1 leads nowhere."""
    rig = Rig(text, mode=U)
    for i in range(1, 32):
        rig.hart.x[i] = 1 << 63 | i
    before = list(rig.hart.x)
    rig.run(1)
    assert list(rig.hart.x) == before and rig.hart.pc == rig.program.end
    assert rig.trap() is None


def test_may_be_operations_write_zero() -> None:
    names = [f"mop.r.{n}" for n in range(32)] + [f"mop.rr.{n}" for n in range(8)]
    for n, name in enumerate(names):
        number = n if n < 32 else n - 32
        # Figures "MOP.R.n" and "MOP.RR.n"
        high = 0x81C | (number >> 4) << 10 | (number >> 2 & 3) << 6 | number & 3
        if n >= 32:
            high = (0x41 | (number >> 2) << 5 | (number & 3) << 1) << 5 | 12
        word = high << 20 | 11 << 15 | 4 << 12 | 10 << 7 | 0x73
        found = decode(word)
        assert found is not None and found.name == name
        rig = Rig(mode=U)
        rig.store(BASE, word, 4)
        rig.put(a0=ONES, a1=5, a2=6)
        rig.run(1)
        assert (rig.x("a0"), rig.x("a1"), rig.x("a2"), rig.hart.pc) == (0, 5, 6, BASE + 4)


# --- half precision ---


def boxed(value: int, bits: int = 16) -> int:
    return value | ONES << bits & ONES


def float_rig(text: str, **more: int) -> Rig:
    return Rig(text, **{"mstatus": FS & -FS} | more)  # Initial: a write must make it Dirty


@pytest.mark.parametrize(
    ("name", "count"),
    [("fadd", 2), ("fsub", 2), ("fmul", 2), ("fdiv", 2), ("fsqrt", 1), ("fmadd", 3), ("fmsub", 3), ("fnmsub", 3),
     ("fnmadd", 3)],
)  # fmt: skip
def test_arithmetic_in_half_precision(name: str, count: int) -> None:
    """Every rounding mode, by the instruction and by frm, with the flags."""
    texts = [
        f"{name}.h fa0, {', '.join(f'fa{i}' for i in range(1, count + 1))}, {rm}"
        for rm in ("rne", "rtz", "rdn", "rup", "rmm", "dyn")
    ]
    rig = float_rig("\n".join(texts))
    chosen = edges(F16, few=True)[:: 1 if count < 3 else 3]
    for operands in itertools.product(chosen, repeat=count):
        flipped = list(operands)
        if name in ("fnmsub", "fnmadd"):
            flipped[0] ^= F16.sign
        if name in ("fmsub", "fnmadd"):
            flipped[2] ^= F16.sign
        wanted = expected("fma" if count == 3 else name[1:], tuple(flipped), F16)
        for i, operand in enumerate(operands, 1):
            rig.hart.f[10 + i] = boxed(operand)
        for rm in range(6):
            mode = rm if rm < 5 else 3
            rig.hart.pc = BASE + 4 * rm
            rig.set(fcsr=mode << 5)
            rig.run(1)
            pattern, flags = wanted[mode]
            assert (rig.hart.f[10], rig.csr("fflags")) == (boxed(pattern), flags), (operands, rm)
    assert rig.csr("mstatus") & FS == FS


def test_loads_stores_and_moves_keep_the_bits() -> None:
    rig = float_rig("flh fa0, 0(a1)\nfmv.x.h a0, fa0\nfsh fa1, 2(a1)\nfmv.h.x fa2, a2\nfmv.x.h a3, fa1")
    rig.store(DATA, 0xFD01, 2)  # a signaling NaN with a sign
    rig.hart.f[11] = 0x1234_5678_9ABC_7C01  # no box: only arithmetic minds
    rig.put(a1=DATA, a2=0xFFFF_0000_1234_FE02)
    rig.run(5)
    assert rig.hart.f[10] == boxed(0xFD01) and rig.x("a0") == ONES << 16 & ONES | 0xFD01
    assert rig.load(DATA, 4) == 0x7C01_FD01
    assert rig.hart.f[12] == boxed(0xFE02) and rig.x("a3") == 0x7C01


@pytest.mark.parametrize("value", [0xFFFF_FFFF_FFFE_3C00, 0x3C00, 0xFFFF_FFFF << 32 | 0x3C00])
def test_what_is_no_box_is_the_canonical_nan(value: int) -> None:
    rig = float_rig(
        "fadd.h fa0, fa1, fa2\nfsgnj.h fa3, fa1, fa1\nfclass.h a0, fa1\nfcvt.s.h fa4, fa1\nfcvt.d.h fa5, fa1"
    )
    rig.hart.f[11], rig.hart.f[12] = value, boxed(0x3C00)
    rig.run(5)
    assert (rig.hart.f[10], rig.hart.f[13], rig.x("a0")) == (boxed(F16.nan), boxed(F16.nan), 1 << 9)
    assert (rig.hart.f[14], rig.hart.f[15]) == (boxed(F32.nan, 32), F64.nan)
    assert rig.csr("fflags") == 0


def test_conversions_of_half_precision() -> None:
    rig = float_rig("fcvt.s.h fa1, fa0\nfcvt.d.h fa2, fa0\nfcvt.h.s fa3, fa4\nfcvt.h.d fa5, fa6")
    for half, single, double in zip(edges(F16), itertools.cycle(edges(F32)), itertools.cycle(edges(F64)), strict=False):
        for rm in range(5):
            rig.hart.f[10], rig.hart.f[14], rig.hart.f[16] = boxed(half), boxed(single, 32), double
            for i, (register, bits, value, source, target) in enumerate(
                (
                    (11, 32, half, F16, F32),
                    (12, 64, half, F16, F64),
                    (13, 16, single, F32, F16),
                    (15, 16, double, F64, F16),
                )
            ):
                rig.set(fcsr=rm << 5)
                rig.hart.pc = BASE + 4 * i
                rig.run(1)
                pattern, flags = expected_conversion(value, source, target, rm)
                assert (rig.hart.f[register], rig.csr("fflags")) == (boxed(pattern, bits), flags)


def test_integers_and_half_precision() -> None:
    kinds = ("w", "wu", "l", "lu")
    rig = float_rig("\n".join(f"fcvt.{kind}.h a0, fa0\nfcvt.h.{kind} fa1, a1" for kind in kinds))
    for half in edges(F16):
        for kind in range(4):
            for rm in range(5):
                rig.hart.f[10] = boxed(half)
                rig.set(fcsr=rm << 5)
                rig.hart.pc = BASE + 8 * kind
                rig.run(1)
                assert (rig.x("a0"), rig.csr("fflags")) == expected_integer(value_of(half, F16), kind, rm)
    for kind, value, pattern, flags in (
        (0, 2049, 0x6800, 1), (1, ONES - 1, 0x7C00, 5), (0, ONES - 1, 0xC000, 0), (2, 1 << 32 | 1, 0x7C00, 5),
        (3, 65504, 0x7BFF, 0), (0, 1 << 32 | 3, 0x4200, 0), (2, 0, 0, 0),
    ):  # fmt: skip
        rig.set(fcsr=0)
        rig.put(a1=value)
        rig.hart.pc = BASE + 8 * kind + 4
        rig.run(1)
        assert (rig.hart.f[11], rig.csr("fflags")) == (boxed(pattern), flags)


# --- Zfa on the hart ---


def test_constants_are_loaded_boxed_without_flags() -> None:
    rig = float_rig(
        "fli.h fa0, 0.3125\nfli.s fa1, -1.0\nfli.d fa2, min\nfli.h fa3, 65536.0\nfli.s fa4, nan\nfli.d fa5, inf"
    )
    rig.run(6)
    assert [rig.hart.f[i] for i in range(10, 16)] == [
        boxed(0x3500), boxed(0xBF80_0000, 32), 1 << 52, boxed(F16.infinity), boxed(F32.nan, 32), F64.infinity,
    ]  # fmt: skip
    assert rig.csr("fcsr") == 0 and rig.csr("mstatus") & FS == FS


@pytest.mark.parametrize(("s", "fmt"), [("h", F16), ("s", F32), ("d", F64)])
def test_rounding_minimum_and_quiet_comparison(s: str, fmt: object) -> None:
    assert fmt in (F16, F32, F64)
    width = fmt.width  # type: ignore[attr-defined]
    rig = float_rig(f"""
        fround.{s} fa2, fa0, rup
        froundnx.{s} fa3, fa0, rup
        fminm.{s} fa4, fa0, fa1
        fmaxm.{s} fa5, fa0, fa1
        fleq.{s} a0, fa0, fa1
        fltq.{s} a1, fa0, fa1
    """)
    half = (fmt.emax - 1) << fmt.fraction  # type: ignore[attr-defined]

    def box(value: int) -> int:
        return boxed(value, width) if width < 64 else value

    def step(a: int, b: int) -> list[tuple[int, int]]:
        rig.hart.pc = BASE
        rig.hart.f[10], rig.hart.f[11] = box(a), box(b)
        found = []
        for register in (12, 13, 14, 15, None, None):
            rig.set(fcsr=0)
            rig.run(1)
            found.append(
                (
                    rig.x("a0" if len(found) == 4 else "a1") if register is None else rig.hart.f[register],
                    rig.csr("fflags"),
                )
            )
        return found

    up, exactly = expected_integral(half, fmt, 3)  # type: ignore[arg-type]
    nan = fmt.nan  # type: ignore[attr-defined]
    assert (up, exactly) == (fmt.emax << fmt.fraction, 1)  # type: ignore[attr-defined]
    assert step(half, up) == [(box(up), 0), (box(up), 1), (box(half), 0), (box(up), 0), (1, 0), (1, 0)]
    assert step(half, nan) == [(box(up), 0), (box(up), 1), (box(nan), 0), (box(nan), 0), (0, 0), (0, 0)]
    signaling = nan ^ 3 << (fmt.fraction - 2)  # type: ignore[attr-defined]
    assert [flags for _, flags in step(signaling, half)] == [16] * 6


def test_modular_conversion_of_a_double() -> None:
    rig = float_rig("fcvtmod.w.d a0, fa0, rtz")
    for value, wanted, flags in (
        (0x41F0_0000_0010_0000, 1, 16),  # 2^32 + 1
        (0xC1E0_0000_0020_0000, 0x7FFF_FFFF, 16),  # -2^31 - 1
        (0xC004_0000_0000_0000, ONES - 1, 1),  # -2.5
        (0x41E0_0000_0000_0000, 0xFFFF_FFFF_8000_0000, 16),  # 2^31
        (F64.infinity, 0, 16),
        (F64.nan, 0, 16),
        (0x4330_0000_0000_0001, 1, 16),  # 2^52 + 1
        (0x7FE0_0000_0000_0000, 0, 16),
    ):
        rig.hart.pc = BASE
        rig.hart.f[10] = value
        rig.set(fcsr=2 << 5)
        rig.run(1)
        assert (rig.x("a0"), rig.csr("fflags")) == (wanted, flags), hex(value)


@pytest.mark.parametrize(
    "text",
    ["flh fa0, 0(a1)", "fsh fa0, 0(a1)", "fadd.h fa0, fa1, fa2", "fmv.x.h a0, fa0", "fli.d fa0, 1.0",
     "fround.h fa0, fa1", "fleq.s a0, fa1, fa2", "fcvtmod.w.d a0, fa0, rtz"],
)  # fmt: skip
def test_the_unit_may_be_off(text: str) -> None:
    rig = Rig(text, mstatus=0)
    rig.put(a1=DATA)
    rig.run(1)
    assert rig.trap() == (M, ILLEGAL, int.from_bytes(rig.program.code, "little"))


@pytest.mark.parametrize(
    "text", ["fadd.h fa0, fa1, fa2", "fcvt.s.h fa0, fa1", "fround.s fa0, fa1", "fcvt.h.d fa0, fa1"]
)
def test_a_reserved_dynamic_rounding_mode_is_illegal(text: str) -> None:
    rig = float_rig(text, fcsr=5 << 5)
    rig.run(1)
    assert rig.trap() is not None and rig.trap()[1] == ILLEGAL  # type: ignore[index]


# --- the list ---


def test_every_described_extension_is_in_the_list_as_implemented() -> None:
    described = {form.extension for form in (*ISA.instructions.values(), *ISA.compressed.values())} - {"S", "M-mode"}
    described |= {name for csr in csrs.CSRS for name in named(csr.extension)}
    described |= {name for feature in FEATURES for name in named(feature)} - {each.name for each in TRANSLATION}
    assert all(BY_NAME[name].implemented for name in described)
    fields = {field.extension: field for csr in csrs.CSRS for field in csr.fields if field.extension}
    for name, field in fields.items():
        if name in BY_NAME and BY_NAME[name].implemented:
            assert field.kind is not csrs.Kind.FIXED or field.value, name


def test_misa_agrees_with_the_list() -> None:
    letters = {e.name for e in EXTENSIONS if e.implemented and len(e.name) == 1}
    assert letters | {"S", "U"} == set(csrs.MISA_EXTENSIONS)


def test_names_stand_in_canonical_order() -> None:
    """ "ISA Extension Naming Conventions": MAFDQCBVPH, Z by category, then Ss, Sv, Sh, Sm."""
    names = [
        "Smstateen",
        "Svinval",
        "Zba",
        "Zicsr",
        "Zacas",
        "H",
        "B",
        "C",
        "A",
        "M",
        "I",
        "Sstc",
        "Shtvala",
        "Zfa",
        "Zicbom",
        "Zca",
    ]
    wanted = [
        "I",
        "M",
        "A",
        "C",
        "B",
        "H",
        "Zicbom",
        "Zicsr",
        "Zacas",
        "Zfa",
        "Zca",
        "Zba",
        "Sstc",
        "Svinval",
        "Shtvala",
        "Smstateen",
    ]
    assert sorted(names, key=canonical) == wanted
    assert [e.name for e in EXTENSIONS] == sorted((e.name for e in EXTENSIONS), key=canonical)
    assert isa_string(["Zba", "M", "I", "Zicsr"]) == "rv64im_zicsr_zba"


def test_the_device_tree_names_what_the_hart_implements() -> None:
    single, *more = DEFAULT_ISA.split("_")
    assert single == "rv64imafdcbh"
    assert set(more) == {e.name.lower() for e in EXTENSIONS if e.implemented and len(e.name) > 1}
    assert all(e.meaning and "\n" not in e.meaning and e.version[0].isdigit() for e in EXTENSIONS)
