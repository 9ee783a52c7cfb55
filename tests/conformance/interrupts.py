"""Interrupts: what is pending and enabled in which register, who takes which first, and WFI."""

from __future__ import annotations

from itertools import combinations
from random import Random

from rig import (
    BASE,
    GVA,
    H_GVA,
    HANDLER,
    HS,
    INTERRUPT,
    MIE,
    MPIE,
    MPP,
    MPV,
    ONES,
    SIE,
    SPIE,
    SPP,
    SPV,
    SPVP,
    VS,
    VU,
    M,
    Rig,
    U,
)

from emulator.hart import Mode

from .entry import OFFSET, Trap, entered, state
from .suite import grid, rule

REGISTERS = "Hypervisor Interrupt (hvip, hip, and hie) Registers"
VS_REGISTERS = "Virtual Supervisor Interrupt (vsip and vsie) Registers"
MACHINE = "Machine Interrupt (mip and mie) Registers"
DELEGATION = "Hypervisor Trap Delegation (hedeleg and hideleg) Registers"
MODES = (M, HS, U, VS, VU)
CODES = (1, 2, 3, 5, 6, 7, 9, 10, 11)
S_LEVEL, VS_LEVEL, M_LEVEL = (1, 5, 9), (2, 6, 10), (3, 7, 11)
S_BITS, VS_BITS = 0x222, 0x444
PRIORITY = (11, 3, 7, 9, 1, 5, 12, 10, 2, 6, 13)
"""MEI, MSI, MTI, SEI, SSI, STI, SGEI, VSEI, VSSI, VSTI, LCOFI."""


def pend(rig: Rig, pending: int) -> None:
    """Make exactly these interrupts pending, each by its source."""
    for code in (3, 11):
        rig.hart.wire(code, bool(pending >> code & 1))
    rig.hart.mtimecmp = 0 if pending >> 7 & 1 else ONES
    rig.set(mip=pending & S_BITS)
    rig.set(hvip=pending & VS_BITS)


def taken(
    mode: Mode, pending: int, mie: int, mideleg: int, hideleg: int, m: bool, s: bool, vs: bool
) -> tuple[Mode, int] | None:
    """The model: (mode that takes it, code that it sees). `m`, `s`, `vs`: MIE, SIE of mstatus, SIE of vsstatus."""
    ready = pending & mie
    for level, bits, may in (
        (M, ready & ~mideleg, m if mode is M else True),
        (HS, ready & mideleg & ~hideleg, {M: False, HS: s}.get(mode, True)),
        (VS, ready & mideleg & hideleg, {VS: vs, VU: True}.get(mode, False)),
    ):
        if bits and may:
            code = next(code for code in PRIORITY if bits >> code & 1)
            return level, code - 1 if level is VS else code
    return None


def check(mode: Mode, pending: int, mie: int, mideleg: int, hideleg: int, enables: int, vectored: int = 0) -> None:
    """One step with a nop at pc: the interrupt of the model is taken, with all that its entry writes, or none."""
    m, s, vs = (bool(enables >> bit & 1) for bit in range(3))
    rig = Rig("nop", mideleg=mideleg, hideleg=hideleg, mie=mie, mtval2=ONES, htval=ONES, mtinst=ONES, htinst=ONES)
    rig.set(
        mstatus=GVA | MIE * m | SIE * s | (0 if s else SPIE),
        vsstatus=SIE * vs | (0 if vs else SPIE),
        hstatus=H_GVA | SPVP,
    )
    for at, name in enumerate(("mtvec", "stvec", "vstvec")):
        rig.set(**{name: HANDLER + 0x1000 * at | vectored})
    rig.set(stval=ONES, mtval=ONES, vstval=ONES)
    pend(rig, pending)
    rig.hart.mode = mode
    before = state(rig)
    expected = taken(mode, pending, mie, mideleg | VS_BITS, hideleg & VS_BITS, m, s, vs)
    rig.run(1)
    if expected is None:
        assert (rig.hart.pc, rig.hart.mode) == (BASE + 4, mode)
        return
    target, code = expected
    assert (rig.hart.mode, rig.hart.pc) == (target, HANDLER + OFFSET[target] + 4 * code * vectored)
    after = state(rig)
    model = entered(before, mode, target, Trap(0), 0, INTERRUPT | code)
    assert {k: v for k, v in after.items() if v != model[k]} == {}


DELEGATED = {"M": (0, 0), "HS": (S_BITS, 0), "VS": (S_BITS, VS_BITS)}


@rule(
    "interrupt.one",
    "Each interrupt, in each mode, delegated or not, enabled or not: taken by whom the delegation says, or not at all",
    section=DELEGATION,
    rows=(20, 25, 26, 37, 75, 76),
    cases=grid(code=CODES, mode=MODES, deleg=DELEGATED, vectored=(0, 1)),
)
def _(code: int, mode: Mode, deleg: tuple[int, int], vectored: int) -> None:
    for enables in range(8):
        check(mode, 1 << code, 1 << code, *deleg, enables, vectored)
    check(mode, 1 << code, ONES & ~(1 << code), *deleg, 7, vectored)


@rule(
    "interrupt.delegation.bits",
    "Each bit of mideleg and hideleg is for its own interrupt",
    section=DELEGATION,
    rows=(76,),
    cases=grid(code=S_LEVEL + VS_LEVEL, mode=(U, VS, VU)),
)
def _(code: int, mode: Mode) -> None:
    for bit in (1 << code, S_BITS & ~(1 << code)):
        check(mode, 1 << code, ONES, bit, 0, 7)
    for bit in (1 << code, VS_BITS & ~(1 << code)):
        check(mode, 1 << code, ONES, S_BITS, bit, 7)


@rule(
    "interrupt.priority",
    "Of two interrupts for one mode: MEI, MSI, MTI, SEI, SSI, STI, SGEI, VSEI, VSSI, VSTI, LCOFI; for VS SEI, SSI, STI",
    section=REGISTERS,
    rows=(76,),
    cases=grid(mode=MODES, deleg=DELEGATED),
)
def _(mode: Mode, deleg: tuple[int, int]) -> None:
    for a, b in combinations(CODES, 2):
        check(mode, 1 << a | 1 << b, ONES, *deleg, 7)


@rule(
    "interrupt.levels",
    "An interrupt for M-mode goes before one for HS-mode, and that before one for VS-mode, whatever their codes",
    section=REGISTERS,
    rows=(75,),
    cases=grid(mode=MODES, enables=range(8)),
)
def _(mode: Mode, enables: int) -> None:
    for m, s, vs in ((7, 9, 10), (7, 5, 2), (11, 1, 6), (3, 9, 6)):
        for chosen in (1 << m | 1 << s | 1 << vs, 1 << s | 1 << vs, 1 << m | 1 << vs, 1 << vs):
            check(mode, chosen, ONES, S_BITS, VS_BITS, enables)


@rule(
    "interrupt.any",
    "Any set of pending, enabled and delegated interrupts, in any mode: the model's choice",
    section=REGISTERS,
    rows=(75, 76),
    cases=grid(mode=MODES, seed=range(4)),
)
def _(mode: Mode, seed: int) -> None:
    random = Random(seed)
    every = sum(1 << code for code in CODES)
    for _ in range(60):
        pending, mie = (random.getrandbits(12) & every for _ in range(2))
        check(
            mode, pending, mie, random.getrandbits(12) & S_BITS, random.getrandbits(12) & VS_BITS, random.randrange(8)
        )


@rule(
    "interrupt.return",
    "An interrupt that a return or a CSR write enables is taken before the next instruction",
    section=MACHINE,
    cases={
        "mret": {"text": "mret", "mode": M, "csrs": {"mstatus": MPP | MPIE, "mepc": BASE + 8}, "code": 3, "mie": 8},
        "sret": {"text": "sret", "mode": HS, "csrs": {"mstatus": SPP | SPIE, "sepc": BASE + 8}, "code": 1, "mie": 2},
        "sret to VS": {
            "text": "sret", "mode": HS, "csrs": {"mstatus": SPP, "hstatus": SPV, "sepc": BASE + 8, "vsstatus": SIE},
            "code": 2, "mie": 4,
        },
        "sret in VS": {
            "text": "sret", "mode": VS, "csrs": {"vsstatus": SPP | SPIE, "vsepc": BASE + 8}, "code": 2, "mie": 4,
        },
        "mret to VU": {"text": "mret", "mode": M, "csrs": {"mstatus": MPV, "mepc": BASE + 8}, "code": 2, "mie": 4},
        "csrsi sstatus": {"text": "csrsi sstatus, 2", "mode": VS, "csrs": {}, "code": 2, "mie": 4},
        "csrsi sie": {"text": "csrsi sie, 2", "mode": VS, "csrs": {"vsstatus": SIE}, "code": 2, "mie": 0},
        "csrsi sip": {"text": "csrsi sip, 2", "mode": VS, "csrs": {"vsstatus": SIE}, "code": 0, "mie": 4},
        "csrsi mstatus": {"text": "csrsi mstatus, 8", "mode": M, "csrs": {}, "code": 3, "mie": 1 << 3},
        "csrw hie": {"text": "csrw hie, a0", "mode": HS, "csrs": {"hideleg": 0, "mstatus": SIE}, "code": 2, "mie": 0},
        "csrw hvip": {"text": "csrw hvip, a0", "mode": HS, "csrs": {"hideleg": 0, "mstatus": SIE}, "code": 0, "mie": 4},
        "csrw hideleg": {"text": "csrw hideleg, zero", "mode": HS, "csrs": {"mstatus": SIE}, "code": 2, "mie": 4},
    },
)  # fmt: skip
def _(text: str, mode: Mode, csrs: dict[str, int], code: int, mie: int) -> None:
    rig = Rig(f"{text}\nloop: addi s0, s0, 1\nj loop", mode=mode, mideleg=S_BITS, hideleg=VS_BITS, mie=mie)
    rig.set(**csrs)
    pend(rig, 1 << code & ~1)
    rig.write(BASE + 8, "loop: addi s0, s0, 1\nj loop")
    rig.put(a0=4, s0=0)
    rig.run(300)
    trap = rig.trap()
    assert trap is not None and trap[1] & INTERRUPT, f"pc {rig.hart.pc:#x}"
    epc = rig.csr({M: "mepc", HS: "sepc", VS: "vsepc"}[trap[0]])
    assert (epc, rig.x("s0")) == (BASE + 8 if "ret" in text else BASE + 4, 0)


# --- aliases ---


def csr_step(text: str, mode: Mode = M, rig: Rig | None = None, **registers: int) -> Rig:
    rig = rig or Rig()
    rig.write(BASE, text)
    rig.put(**registers)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(1)
    assert rig.hart.pc == BASE + 4, f"{text} trapped"
    return rig


@rule(
    "alias.hie",
    "VSSIE, VSTIE and VSEIE of hie are those of mie, both ways, and no other bit of hie can be set",
    section="Machine Interrupt (mip and mie) Registers",
    cases=grid(bit=range(14)),
)
def _(bit: int) -> None:
    rig = csr_step("csrw hie, a0", HS, a0=1 << bit)
    expected = 1 << bit if bit in VS_LEVEL else 0
    if bit == 12 and rig.csr("hgeie") == 0:
        expected = rig.csr("hie")  # as there are guest external interrupts or not
    assert (rig.csr("hie"), rig.csr("mie")) == (expected, expected)
    rig = csr_step("csrw mie, a0", M, a0=ONES & ~(1 << bit))
    assert rig.csr("hie") & VS_BITS == VS_BITS & ~(1 << bit)
    rig = csr_step("csrw hie, zero", HS, rig)
    assert rig.csr("mie") & VS_BITS == 0 and rig.csr("mie") & 0x888 == 0x888 & ~(1 << bit)


@rule(
    "alias.sie",
    "sie shows the bits of mie that mideleg delegates, hie's never: writable bits of sie are zero in hie and hip",
    section=REGISTERS,
    cases=grid(bit=range(14), mideleg=(0, S_BITS, 2, 0x200)),
)
def _(bit: int, mideleg: int) -> None:
    rig = Rig(mideleg=mideleg, mie=ONES)
    visible = S_BITS & mideleg
    assert rig.csr("sie") & 0xFFF == visible
    assert rig.csr("sie") & rig.csr("hie") == 0
    rig = csr_step("csrw sie, a0", HS, Rig(mideleg=mideleg), a0=1 << bit)
    expected = 1 << bit & visible
    if bit < 13:
        assert (rig.csr("sie"), rig.csr("mie")) == (expected, expected)
    rig = csr_step("csrw sie, zero", HS, Rig(mideleg=mideleg, mie=ONES))
    assert rig.csr("mie") & 0xFFF & (S_BITS | VS_BITS | 0x888) == (S_BITS | VS_BITS | 0x888) & ~visible


@rule(
    "alias.sip",
    "sip shows the bits of mip that mideleg delegates; SSIP alone can be written there",
    section="Supervisor Interrupt (sip and sie) Registers",
    cases=grid(bit=range(13), mideleg=(0, S_BITS, 2, 0x200)),
)
def _(bit: int, mideleg: int) -> None:
    rig = Rig(mideleg=mideleg, mip=S_BITS, hvip=VS_BITS)
    assert rig.csr("sip") == S_BITS & mideleg
    rig = csr_step("csrw sip, a0", HS, Rig(mideleg=mideleg), a0=1 << bit)
    assert rig.csr("mip") == 1 << bit & mideleg & 2
    rig = csr_step("csrw sip, zero", HS, Rig(mideleg=mideleg, mip=S_BITS, hvip=VS_BITS))
    assert rig.csr("mip") == (S_BITS | VS_BITS) & ~(mideleg & 2)


@rule(
    "alias.hvip",
    "hvip sets VS-level interrupts pending in hip and mip, whatever hideleg is; sip does not show them",
    section=REGISTERS,
    rows=(73,),
    cases=grid(bit=VS_LEVEL, hideleg=(0, VS_BITS)),
)
def _(bit: int, hideleg: int) -> None:
    rig = csr_step("csrw hvip, a0", HS, Rig(hideleg=hideleg, mideleg=S_BITS), a0=1 << bit)
    names = ("hvip", "hip", "mip", "sip", "vsip")
    seen = 1 << bit - 1 if hideleg else 0
    assert [rig.csr(name) for name in names] == [1 << bit, 1 << bit, 1 << bit, 0, seen]
    rig = csr_step("csrc hvip, a0", HS, rig, a0=1 << bit)
    assert [rig.csr(name) for name in names] == [0] * 5


@rule(
    "alias.hip",
    "hip.VSSIP is an alias of hvip.VSSIP that can be written; VSTIP and VSEIP of hip are read-only",
    section=REGISTERS,
    rows=(73,),
    cases=grid(name={"hip": "hip", "mip": "mip"}, bit=range(13)),
)
def _(name: str, bit: int) -> None:
    mode = HS if name == "hip" else M
    rig = csr_step(f"csrw {name}, a0", mode, Rig(), a0=1 << bit)
    assert rig.csr("hvip") == 1 << bit & 4
    assert rig.csr("hip") == 1 << bit & 4
    assert rig.csr("mip") == (1 << bit & (S_BITS | 4) if name == "mip" else 1 << bit & 4)
    rig = csr_step(f"csrw {name}, zero", mode, Rig(hvip=VS_BITS))
    assert rig.csr("hvip") == VS_BITS & ~4 == rig.csr("hip")
    rig = csr_step(f"csrs {name}, a0", mode, Rig(hvip=0x440), a0=0)
    assert rig.csr("hvip") == 0x440


@rule(
    "alias.vsip",
    "vsip.SSIP, STIP, SEIP are hip's VSSIP, VSTIP, VSEIP where hideleg has the bit, else zero; SSIP can be written",
    section=VS_REGISTERS,
    rows=(74,),
    cases=grid(hideleg=(0, 4, 0x40, 0x400, VS_BITS), name={"vsip": "vsip", "sip": "sip"}),
)
def _(hideleg: int, name: str) -> None:
    """By its own number in HS-mode, as sip in VS-mode; mideleg has no say."""
    mode = HS if name == "vsip" else VS
    for mideleg in (0, S_BITS):
        for bit in VS_LEVEL:
            rig = csr_step(f"csrr a0, {name}", mode, Rig(hideleg=hideleg, mip=S_BITS, hvip=1 << bit, mideleg=mideleg))
            assert rig.x("a0") == (1 << bit & hideleg) >> 1
        rig = csr_step(f"csrw {name}, a0", mode, Rig(hideleg=hideleg, mideleg=mideleg), a0=ONES)
        assert rig.csr("hvip") == hideleg & 4 == rig.csr("hip")
        assert rig.csr("mip") & ~VS_BITS == 0
        rig = csr_step(f"csrw {name}, zero", mode, Rig(hideleg=hideleg, mip=S_BITS, hvip=VS_BITS, mideleg=mideleg))
        assert rig.csr("hvip") == VS_BITS & ~(hideleg & 4)
        assert rig.csr("mip") & S_BITS == S_BITS


@rule(
    "alias.vsie",
    "vsie.SSIE, STIE, SEIE are hie's VSSIE, VSTIE, VSEIE where hideleg has the bit, else read-only zero",
    section=VS_REGISTERS,
    rows=(74,),
    cases=grid(hideleg=(0, 4, 0x40, 0x400, VS_BITS), name={"vsie": "vsie", "sie": "sie"}),
)
def _(hideleg: int, name: str) -> None:
    mode = HS if name == "vsie" else VS
    for mideleg in (0, S_BITS):
        for bit in VS_LEVEL:
            rig = csr_step(f"csrr a0, {name}", mode, Rig(hideleg=hideleg, mie=1 << bit | S_BITS, mideleg=mideleg))
            assert rig.x("a0") == (1 << bit & hideleg) >> 1
            rig = csr_step(f"csrw {name}, a0", mode, Rig(hideleg=hideleg, mideleg=mideleg), a0=1 << bit - 1)
            assert rig.csr("hie") == rig.csr("mie") == 1 << bit & hideleg
        rig = csr_step(f"csrw {name}, zero", mode, Rig(hideleg=hideleg, mie=0xEEE, mideleg=mideleg))
        assert rig.csr("mie") & 0xEEE == 0xEEE & ~hideleg


@rule(
    "alias.mip",
    "SSIP, STIP and SEIP of mip are M-mode's to write; MSIP, MTIP and MEIP are read-only, driven by their sources",
    section=MACHINE,
    cases=grid(bit=M_LEVEL),
)
def _(bit: int) -> None:
    rig = csr_step("csrw mip, a0", M, Rig(), a0=ONES)
    assert rig.csr("mip") & 0xFFF == S_BITS | 4
    rig = Rig()
    pend(rig, 1 << bit)
    assert rig.csr("mip") == 1 << bit
    csr_step("csrw mip, zero", M, rig)
    assert rig.csr("mip") == 1 << bit
    pend(rig, 0)
    assert rig.csr("mip") == 0


@rule(
    "alias.seip",
    "SEIP reads as the software's bit OR the controller's wire, and a read-modify-write does not keep the wire",
    section=MACHINE,
    cases=grid(text=("csrrs a1, mip, a0", "csrrc a1, mip, a0", "csrrsi a1, mip, 2"), software=(0, 0x200)),
)
def _(text: str, software: int) -> None:
    rig = Rig(mip=software)
    rig.hart.wire(9, True)
    assert rig.csr("mip") & 0x200
    csr_step(text, M, rig, a0=2)
    assert rig.x("a1") & 0x200  # rd sees the wire
    rig.hart.wire(9, False)
    assert rig.csr("mip") & 0x200 == software


@rule(
    "alias.sip.wire",
    "sip.SEIP shows the wire to HS-mode where it is delegated, and vsip never does",
    section=VS_REGISTERS,
    rows=(73, 74),
    cases=grid(mideleg=(0, S_BITS), hideleg=(0, VS_BITS)),
)
def _(mideleg: int, hideleg: int) -> None:
    rig = Rig(mideleg=mideleg, hideleg=hideleg)
    rig.hart.wire(9, True)
    assert rig.csr("sip") == 0x200 & mideleg
    assert (rig.csr("vsip"), rig.csr("hip"), rig.csr("hvip")) == (0, 0, 0)


# --- WFI ---


@rule(
    "wfi.wakes",
    "WFI ends for any interrupt that is pending and enabled in mie, whatever global enables and delegation are",
    section="Wait for Interrupt",
    cases=grid(code=CODES, mode=(M, HS, VS), hideleg=(0, VS_BITS)),
)
def _(code: int, mode: Mode, hideleg: int) -> None:
    rig = Rig("wfi\nnop", mode=mode, mideleg=S_BITS, hideleg=hideleg, mie=1 << code)
    rig.run(3)
    assert rig.hart.waiting
    pend(rig, 1 << code)
    rig.run(1)
    assert not rig.hart.waiting
    trap = rig.trap()
    expected = taken(mode, 1 << code, 1 << code, S_BITS | VS_BITS, hideleg, False, False, False)
    assert (trap is None) == (expected is None)
    if expected is None:
        assert rig.hart.pc == BASE + 8
    else:
        assert rig.csr({M: "mepc", HS: "sepc", VS: "vsepc"}[expected[0]]) == BASE + 4


@rule(
    "wfi.waits",
    "WFI does not end for an interrupt that mie does not enable",
    section="Wait for Interrupt",
    cases=grid(code=CODES, mode=(M, HS, VS)),
)
def _(code: int, mode: Mode) -> None:
    rig = Rig("wfi\nnop", mode=mode, mideleg=S_BITS, mie=ONES & ~(1 << code), mstatus=MIE | SIE)
    rig.run(3)
    pend(rig, 1 << code)
    rig.run(3)
    assert rig.hart.waiting and rig.trap() is None


@rule(
    "wfi.pending",
    "WFI with an interrupt already pending and enabled, but globally off, is a no-op",
    section="Wait for Interrupt",
    cases=grid(code=CODES, mode=(M, HS, VS)),
)
def _(code: int, mode: Mode) -> None:
    mideleg = {M: 0, HS: S_BITS, VS: S_BITS}[mode]
    rig = Rig("wfi\nnop", mode=mode, mideleg=mideleg, hideleg=VS_BITS if mode is VS else 0, mie=1 << code)
    pend(rig, 1 << code)
    expected = taken(mode, 1 << code, 1 << code, mideleg | VS_BITS, rig.csr("hideleg"), False, False, False)
    rig.run(2)
    assert not rig.hart.waiting
    assert (rig.trap() is None) == (expected is None)
    assert expected is not None or rig.hart.pc == BASE + 8
