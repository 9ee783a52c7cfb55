"""Who may execute what: every CSR number and privileged instruction, in every mode, against the model of rights.py.

Each rule of this chapter states what the model says of a part of that; the cases compare the hart with the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

from rig import BASE, DATA, HANDLER, HS, ILLEGAL, VIRTUAL, VS, VU, M, Rig, U

from emulator.hart import Mode
from emulator.isa.csrs import BY_NAME, BY_NUMBER

from .rights import (
    BASE_CSRS,
    COUNTERS,
    FLOAT,
    HGATP,
    INSTRUCTIONS,
    OPTIONAL_CSRS,
    SATP,
    STIMECMP,
    TM,
    VSTIMECMP,
    Enables,
    csr_access,
)
from .scene import MODES
from .suite import grid, rule

CAUSES = "Trap Cause Codes"
SVINVAL = "Svinval Extension for Fine-Grained Address-Translation Cache Invalidation"
ALL = (1 << 32) - 1
IMPLEMENTED = BASE_CSRS | {
    number for numbers in OPTIONAL_CSRS.values() if any(n in BY_NUMBER for n in numbers) for number in numbers
}
"""What this hart must have: an extension's registers, if it has one of them."""
COUNTER_ENABLES = ("mcounteren", "hcounteren", "scounteren")
TWINS = frozenset({0x200, 0x204, 0x205, *range(0x240, 0x245), VSTIMECMP, 0x280})


class Bench:
    """A machine that tries one instruction after the other, all traps into M-mode."""

    def __init__(self, enables: Enables) -> None:
        self.rig = Rig(stimecmp=(1 << 64) - 1, vstimecmp=(1 << 64) - 1)
        for name in (f"{level}stateen{n}" for level in "mh" for n in range(4)):
            if name in BY_NAME:
                self.rig.set(**{name: (1 << 64) - 1})
        self.rig.set(**enables.csrs)
        self.enables = replace(enables, **{name: self.rig.csr(name) for name in COUNTER_ENABLES})
        """Without the counters that do not exist."""

    def execute(self, mode: Mode, word: int, operand: int = 0) -> int | None:
        """The exception, or None; a0 = `operand`."""
        rig = self.rig
        rig.store(BASE, word, 4)
        rig.hart.mode, rig.hart.pc = mode, BASE
        rig.put(a0=operand, a1=DATA)
        rig.hart.waiting = False
        rig.run(1)
        if rig.hart.pc != HANDLER:
            return None
        assert rig.csr("mtval") == word
        return rig.csr("mcause")

    def write(self, mode: Mode, number: int) -> int | None:
        """csrw of the value that the register has, so that nothing changes."""
        twin = number + 0x100 if mode.virtual and number + 0x100 in TWINS else number
        value = self.rig.csr(twin) if twin in BY_NUMBER else 0
        return self.execute(mode, csr_word(number, 1, 0, 10), value)

    def read(self, mode: Mode, number: int) -> int | None:
        return self.execute(mode, csr_word(number, 2, 10, 0))


def csr_word(number: int, funct3: int, rd: int, rs1: int) -> int:
    return number << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x73


def compare(mode: Mode, enables: Enables, numbers: Iterable[int], ways: str = "rw") -> None:
    bench = Bench(enables)
    wrong = []
    for number in numbers:
        for way in ways:
            found = (bench.read if way == "r" else bench.write)(mode, number)
            expected = csr_access(mode, number, way == "w", bench.enables, IMPLEMENTED)
            if found != expected:
                wrong.append(f"{number:#05x} {way}: {found} for {expected}")
    assert not wrong, "; ".join(wrong[:5])


OPEN = Enables()


@rule(
    "access.csr.every",
    "Every CSR number: absent, too privileged for HS-mode, read-only: illegal; forbidden by V=1 alone: virtual",
    section=CAUSES,
    rows=(60, 63, 71),
    cases=grid(mode=MODES, block=range(0, 4096, 512)),
)
def _(mode: Mode, block: int) -> None:
    compare(mode, OPEN, range(block, block + 512))


GUARDED = (*COUNTERS, *FLOAT, SATP, HGATP, STIMECMP, VSTIMECMP, 0x280, 0x100, 0x200, 0x600, 0x10A, 0x106, 0x300)


@rule(
    "access.csr.enables",
    "Registers that may be withheld, under every combination of what withholds them",
    section=CAUSES,
    rows=(60, 63, 66, 67, 68),
    cases=grid(mode=MODES, tvm=(False, True), vtvm=(False, True), fs=(True, False), vs_fs=(True, False)),
)
def _(mode: Mode, **fields: bool) -> None:
    compare(mode, Enables(**fields), GUARDED)


@rule(
    "access.counters",
    "A counter: withheld by mcounteren illegal, by hcounteren (or in VU-mode scounteren) alone virtual, bit by bit",
    section="Hypervisor Counter-Enable (hcounteren) Register",
    rows=(67,),
    cases=grid(mode=MODES, m=(0, ALL), h=(0, ALL), s=(0, ALL), odd=(False, True)),
)
def _(mode: Mode, m: int, h: int, s: int, odd: bool) -> None:
    """`odd`: bits 0, 2, 4... the other way round."""
    flip = 0x5555_5555 if odd else 0
    compare(mode, Enables(mcounteren=m ^ flip, hcounteren=h ^ flip, scounteren=s ^ flip), COUNTERS)


@rule(
    "access.counters.one",
    "Each bit of a counter-enable register opens its own counter and no other",
    section="Machine Counter-Enable (mcounteren) Register",
    rows=(67,),
    cases=grid(mode=(HS, U, VS, VU), bit=(0, 1, 2)),
)
def _(mode: Mode, bit: int) -> None:
    one = 1 << bit
    for m, h, s in ((one, ALL, ALL), (ALL, one, ALL), (ALL, ALL, one)):
        compare(mode, Enables(mcounteren=m, hcounteren=h, scounteren=s), range(0xC00, 0xC03), "r")


@rule(
    "access.stimecmp",
    "stimecmp, vstimecmp: menvcfg.STCE or mcounteren.TM 0 is illegal below M; henvcfg.STCE or hcounteren.TM 0 virtual",
    section="Supervisor Timer (stimecmp) Register",
    rows=(68,),
    cases=grid(mode=MODES, m_stce=(True, False), h_stce=(True, False), m_tm=(TM, 0), h_tm=(TM, 0), s_tm=(TM, 0)),
)
def _(mode: Mode, m_stce: bool, h_stce: bool, m_tm: int, h_tm: int, s_tm: int) -> None:
    enables = Enables(m_tm, h_tm, s_tm, m_stce, h_stce and m_stce)
    compare(mode, enables, (STIMECMP, VSTIMECMP, 0xC01))


@rule(
    "access.float",
    "With FS off in mstatus, or when V=1 in vsstatus, floating point is illegal in every mode, never virtual",
    section=CAUSES,
    rows=(9, 71),
    cases=grid(mode=MODES, fs=(True, False), vs_fs=(True, False)),
)
def _(mode: Mode, fs: bool, vs_fs: bool) -> None:
    """Instructions of the unit too: fadd.d, fmv.x.d, fld, fsd."""
    enables = Enables(fs=fs, vs_fs=vs_fs)
    compare(mode, enables, FLOAT)
    off = not fs or (mode.virtual and not vs_fs)
    bench = Bench(enables)
    for word in (0x0220_F053, 0xE200_0553, 0x0005_B007, 0x0005_B027):
        assert bench.execute(mode, word) == (ILLEGAL if off else None), hex(word)


@rule(
    "access.csr.read_write",
    "Only what writes needs a writable register: CSRRS and CSRRC with x0 or 0 never do, CSRRW always does",
    section="Zicsr Extension for Control and Status Register (CSR) Instructions",
    rows=(60,),
    cases=grid(mode=MODES, number=(0xF14, 0xC00, 0xE12, 0x340, 0x140, 0x240, 0x643, 0x003)),
)
def _(mode: Mode, number: int) -> None:
    bench = Bench(OPEN)
    for funct3, rd, rs1 in product((1, 2, 3, 5, 6, 7), (0, 10), (0, 10)):
        write = funct3 & 3 == 1 or rs1 != 0
        expected = csr_access(mode, number, write, bench.enables, IMPLEMENTED)
        assert bench.execute(mode, csr_word(number, funct3, rd, rs1)) == expected, (funct3, rd, rs1)


@rule(
    "access.csr.twin",
    "When V=1 a VS register by its own number is a virtual instruction, whether read or written",
    section="Hypervisor and Virtual Supervisor CSRs",
    rows=(63,),
    cases=grid(mode=(VS, VU), number=(0x200, 0x204, 0x205, 0x240, 0x241, 0x242, 0x243, 0x244, 0x24D, 0x280)),
)
def _(mode: Mode, number: int) -> None:
    bench = Bench(OPEN)
    assert (bench.read(mode, number), bench.write(mode, number)) == (VIRTUAL, VIRTUAL)
    assert (bench.read(U, number), bench.write(U, number)) == (ILLEGAL, ILLEGAL)
    for allowed in (M, HS):
        assert (bench.read(allowed, number), bench.write(allowed, number)) == (None, None)


@rule(
    "access.csr.high_half",
    "On RV64 a high-half register is illegal in every mode, even where its low half would be virtual",
    section=CAUSES,
    rows=(60, 71),
    cases=grid(
        number={
            "cycleh": 0xC80, "timeh": 0xC81, "instreth": 0xC82, "htimedeltah": 0x615, "henvcfgh": 0x61A,
            "hedelegh": 0x612, "stimecmph": 0x15D, "vstimecmph": 0x25D, "mstatush": 0x310, "menvcfgh": 0x31A,
            "medelegh": 0x312, "hstateen0h": 0x61C, "mcycleh": 0xB80, "pmpcfg1": 0x3A1,
        },
        mode=MODES,
    ),
)  # fmt: skip
def _(number: int, mode: Mode) -> None:
    bench = Bench(OPEN)
    assert (bench.read(mode, number), bench.write(mode, number)) == (ILLEGAL, ILLEGAL)


@rule(
    "access.csr.no_effect",
    "A CSR access that raises an exception writes neither the register nor rd",
    section="Zicsr Extension for Control and Status Register (CSR) Instructions",
    rows=(18,),
    cases={
        "HS satp with TVM": {"mode": HS, "name": "satp", "enables": Enables(tvm=True), "stored": "satp"},
        "HS hgatp with TVM": {"mode": HS, "name": "hgatp", "enables": Enables(tvm=True), "stored": "hgatp"},
        "VS satp with VTVM": {"mode": VS, "name": "satp", "enables": Enables(vtvm=True), "stored": "vsatp"},
        "VS hgatp": {"mode": VS, "name": "hgatp", "enables": OPEN, "stored": "hgatp"},
        "VS vsscratch": {"mode": VS, "name": "vsscratch", "enables": OPEN, "stored": "vsscratch"},
        "VU sscratch": {"mode": VU, "name": "sscratch", "enables": OPEN, "stored": "vsscratch"},
        "U sscratch": {"mode": U, "name": "sscratch", "enables": OPEN, "stored": "sscratch"},
        "HS mscratch": {"mode": HS, "name": "mscratch", "enables": OPEN, "stored": "mscratch"},
        "VS stimecmp": {
            "mode": VS, "name": "stimecmp", "enables": Enables(henvcfg_stce=False), "stored": "vstimecmp",
        },
    },
)  # fmt: skip
def _(mode: Mode, name: str, enables: Enables, stored: str) -> None:
    rig = Rig(f"csrrw a0, {name}, a1", mode=mode, **enables.csrs)
    before = rig.csr(stored)
    rig.put(a0=77, a1=0x123 ^ before)
    rig.run(1)
    assert rig.trap() is not None
    assert (rig.csr(stored), rig.x("a0")) == (before, 77)


def combinations() -> Iterator[Enables]:
    names = ("tvm", "tw", "tsr", "vtvm", "vtw", "vtsr", "hu")
    for values in product((False, True), repeat=len(names)):
        yield Enables(**dict(zip(names, values, strict=True)))


RULES_OF: dict[str, tuple[str, str, tuple[int, ...], tuple[str, ...]]] = {
    "access.sret": (
        "SRET: in HS-mode TSR makes it illegal, in VS-mode VTSR virtual; VU-mode virtual, U-mode illegal",
        "Hypervisor Status (hstatus) Register",
        (65,),
        ("sret",),
    ),
    "access.mret": (
        "MRET is legal in M-mode only, and never a virtual instruction",
        "Trap Cause Codes",
        (60,),
        ("mret",),
    ),
    "access.wfi": (
        "WFI: TW=1 illegal in every mode but M; else VU-mode virtual, VS-mode virtual with VTW, U-mode illegal",
        "Hypervisor Status (hstatus) Register",
        (64,),
        ("wfi",),
    ),
    "access.sfence": (
        "SFENCE.VMA and SINVAL.VMA: in HS-mode TVM makes them illegal, in VS-mode VTVM virtual; VU virtual, U illegal",
        SVINVAL,
        (66,),
        ("sfence.vma", "sfence.vma a1,a0", "sinval.vma"),
    ),
    "access.sfence.order": (
        "SFENCE.W.INVAL and SFENCE.INVAL.IR are never trapped by TVM or VTVM; VU-mode virtual, U-mode illegal",
        SVINVAL,
        (66,),
        ("sfence.w.inval", "sfence.inval.ir"),
    ),
    "access.hfence.vvma": (
        "HFENCE.VVMA and HINVAL.VVMA: virtual with V=1, illegal in U-mode, and never trapped by TVM or VTVM",
        "Hypervisor Memory-Management Fence Instructions",
        (61, 66),
        ("hfence.vvma", "hfence.vvma a1,a0", "hinval.vvma"),
    ),
    "access.hfence.gvma": (
        "HFENCE.GVMA and HINVAL.GVMA: virtual with V=1, illegal in U-mode and, with TVM, in HS-mode",
        "Hypervisor Memory-Management Fence Instructions",
        (61, 66),
        ("hfence.gvma", "hfence.gvma a1,a0", "hinval.gvma"),
    ),
    "access.hlv": (
        "HLV, HLVX and HSV: virtual with V=1; legal in M-mode, HS-mode and, with HU, U-mode, else illegal",
        "Hypervisor Virtual-Machine Load and Store Instructions",
        (61, 62),
        tuple(name for name, (_, judge) in INSTRUCTIONS.items() if judge.__name__ == "_guest_access"),
    ),
    "access.not_instructions": (
        "Encodings beside the privileged instructions are illegal in every mode, never virtual",
        "Trap Cause Codes",
        (60, 71),
        tuple(name for name, (_, judge) in INSTRUCTIONS.items() if judge.__name__ == "_never"),
    ),
}  # fmt: skip
"""Rules that differ in the instructions they are about: sentence, section, rows, instructions."""


def instruction_rule(id: str) -> None:
    sentence, section, rows, names = RULES_OF[id]

    @rule(
        id,
        f"{sentence}; under every other enabling bit",
        section=section,
        rows=rows,
        cases=grid(name=names, mode=MODES),
    )
    def _(name: str, mode: Mode) -> None:
        word, judge = INSTRUCTIONS[name]
        bench = Bench(OPEN)
        for enables in combinations():
            bench.rig.set(**{k: v for k, v in enables.csrs.items() if k in ("mstatus", "hstatus")})
            assert bench.execute(mode, word) == judge(mode, enables), enables


for _id in RULES_OF:
    instruction_rule(_id)
