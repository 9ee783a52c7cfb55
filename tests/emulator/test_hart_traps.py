"""Traps and returns between M, HS, U, VS and VU: who takes them, and what they leave in the CSRs.

Sections of the privileged manual: "Machine Trap Delegation Registers", "Hypervisor Trap Delegation Registers",
"Trap Entry", "Trap Return", "Virtual-Instruction Exception", "Wait for Interrupt".
"""

from __future__ import annotations

from itertools import product

import pytest
from assembler import encode
from rig import (
    BASE,
    BREAKPOINT,
    DATA,
    ECALL_M,
    ECALL_S,
    ECALL_U,
    ECALL_VS,
    FETCH_ACCESS,
    GVA,
    H_GVA,
    HANDLER,
    HS,
    HU,
    ILLEGAL,
    INTERRUPT,
    LOAD_ACCESS,
    LOAD_MISALIGNED,
    MIE,
    MPIE,
    MPP,
    MPRV,
    MPV,
    MXR,
    ONES,
    SIE,
    SPIE,
    SPP,
    SPV,
    SPVP,
    STCE,
    STORE_ACCESS,
    STORE_MISALIGNED,
    SUM,
    TSR,
    TVM,
    TW,
    VIRTUAL,
    VS,
    VTSR,
    VTVM,
    VTW,
    VU,
    M,
    Rig,
    U,
    tinst,
)

from emulator.hart import EventKind, ExitReason, Mode, Move

MODES = (M, HS, U, VS, VU)
DELEGATE = 0xB1FF & ~(1 << 11)
NOWHERE = 0x7000_0000
"""An address that nothing answers."""

ECALL = {M: ECALL_M, HS: ECALL_S, U: ECALL_U, VS: ECALL_VS, VU: ECALL_U}
PREFIX = {M: "m", HS: "s", VS: "vs"}
OFFSET = {M: 0, HS: 0x1000, VS: 0x2000}

# An instruction, the exception that it raises everywhere, and xtval; a1 = NOWHERE, a2 = DATA + 2.
FAULTS = {
    "ebreak": (BREAKPOINT, BASE),
    "c.ebreak": (BREAKPOINT, BASE),
    ".word 0xffffffff": (ILLEGAL, 0xFFFF_FFFF),
    ".half 0x8002": (ILLEGAL, 0x8002),
    "ld a0, 0(a1)": (LOAD_ACCESS, NOWHERE),
    "sw a0, 4(a1)": (STORE_ACCESS, NOWHERE + 4),
    "lr.w a0, (a2)": (LOAD_MISALIGNED, DATA + 2),
    "amoadd.d a0, a0, (a2)": (STORE_MISALIGNED, DATA + 2),
    "jr a1": (FETCH_ACCESS, NOWHERE),
}
ACCESSES = {LOAD_ACCESS, STORE_ACCESS, LOAD_MISALIGNED, STORE_MISALIGNED}
ADDRESSES = {BREAKPOINT, FETCH_ACCESS, *ACCESSES}


def target_of(origin: Mode, cause: int, medeleg: int, hedeleg: int) -> Mode:
    if origin is M or not medeleg >> cause & 1:
        return M
    return VS if origin.virtual and hedeleg >> cause & 1 else HS


def check_entry(
    rig: Rig, origin: Mode, target: Mode, cause: int, tval: int, epc: int, gva: bool, instruction: int = 0
) -> None:
    """All that trap entry writes, the stacks having been all ones before (interrupts enabled)."""
    p = PREFIX[target]
    assert rig.hart.mode is target
    assert rig.hart.pc == HANDLER + OFFSET[target]
    assert (rig.csr(f"{p}cause"), rig.csr(f"{p}tval"), rig.csr(f"{p}epc")) == (cause, tval, epc)
    if target is M:
        status = rig.csr("mstatus")
        assert (status & MPP) >> 11 == origin.privilege
        assert bool(status & MPV) == origin.virtual
        assert bool(status & GVA) == gva
        assert status & MPIE and not status & MIE
        assert status & SIE  # the others' are left alone
        assert (rig.csr("mtval2"), rig.csr("mtinst")) == (0, instruction)
    elif target is HS:
        status, hstatus = rig.csr("mstatus"), rig.csr("hstatus")
        assert bool(status & SPP) == (origin.privilege == 1)
        assert status & SPIE and not status & SIE
        assert status & MIE
        assert bool(hstatus & SPV) == origin.virtual
        assert bool(hstatus & H_GVA) == gva
        if origin.virtual:
            assert bool(hstatus & SPVP) == (origin is VS)
        assert (rig.csr("htval"), rig.csr("htinst")) == (0, instruction)
    else:
        status = rig.csr("vsstatus")
        assert bool(status & SPP) == (origin is VS)
        assert status & SPIE and not status & SIE
        assert rig.csr("mstatus") & SIE


def enabled(text: str, mode: Mode, **csrs: int) -> Rig:
    """A rig with all interrupt enables on and registers that earlier traps left full."""
    rig = Rig(text)
    junk = dict.fromkeys(("mtval", "stval", "vstval", "mtval2", "htval", "mtinst", "htinst"), ONES)
    rig.set(mstatus=SIE | MIE | GVA, vsstatus=SIE, hstatus=H_GVA, **junk)
    rig.set(**csrs)
    rig.put(a0=0, a1=NOWHERE, a2=DATA + 2)
    rig.hart.mode = mode
    return rig


@pytest.mark.parametrize("origin", MODES)
@pytest.mark.parametrize("text", FAULTS)
def test_exceptions_go_where_they_are_delegated(text: str, origin: Mode) -> None:
    cause, tval = FAULTS[text]
    for medeleg, hedeleg in product((0, 1 << cause, DELEGATE & ~(1 << cause), DELEGATE), repeat=2):
        rig = enabled(text, origin, medeleg=medeleg, hedeleg=hedeleg)
        rig.run(2 if text == "jr a1" else 1)
        target = target_of(origin, cause, rig.csr("medeleg"), rig.csr("hedeleg"))
        epc = NOWHERE if cause == FETCH_ACCESS else BASE
        shown = tinst(text) if cause in ACCESSES else 0
        check_entry(rig, origin, target, cause, tval, epc, origin.virtual and cause in ADDRESSES, shown)


@pytest.mark.parametrize("origin", MODES)
@pytest.mark.parametrize(("medeleg", "hedeleg"), list(product((0, DELEGATE), repeat=2)))
def test_environment_calls(origin: Mode, medeleg: int, hedeleg: int) -> None:
    cause = ECALL[origin]
    rig = enabled("ecall", origin, medeleg=medeleg, hedeleg=hedeleg)
    rig.run(1)
    # hedeleg has no bit for calls from HS, VS and M: 9, 10 and 11 are read-only zero.
    target = target_of(origin, cause, medeleg & ~(1 << 11), hedeleg & ~(7 << 9))
    check_entry(rig, origin, target, cause, 0, BASE, False)


@pytest.mark.parametrize("origin", [VS, VU])
@pytest.mark.parametrize("delegated", [False, True])
@pytest.mark.parametrize("text", ["hlv.b a0, (a2)", "hfence.gvma", "csrr a0, hstatus", "hsv.d a0, (a2)"])
def test_virtual_instruction_exceptions_never_reach_the_guest(text: str, delegated: bool, origin: Mode) -> None:
    text = "hfence.gvma zero, zero" if text == "hfence.gvma" else text
    rig = enabled(text, origin, medeleg=1 << VIRTUAL if delegated else 0, hedeleg=ONES)
    rig.run(1)
    word = int.from_bytes(rig.program.code, "little")
    check_entry(rig, origin, HS if delegated else M, VIRTUAL, word, BASE, False)


@pytest.mark.parametrize("mode", MODES)
def test_xtval_of_an_illegal_instruction_that_crosses_a_page(mode: Mode) -> None:
    rig = Rig()
    at = BASE + 0xFFE
    rig.store(at, 0xFFFF_FFFF, 4)
    rig.hart.pc, rig.hart.mode = at, mode
    rig.run(1)
    assert rig.trap() == (M, ILLEGAL, 0xFFFF_FFFF)
    assert rig.csr("mepc") == at


def test_xtval_of_a_short_illegal_instruction_at_the_end_of_memory() -> None:
    rig = Rig(memory=1 << 20)
    at = BASE + (1 << 20) - 2
    rig.store(at, 0, 2)
    rig.hart.pc = at
    rig.set(mtval=ONES)
    rig.run(1)
    assert rig.trap() == (M, ILLEGAL, 0)


def test_a_long_instruction_cut_by_the_end_of_memory_faults_at_its_second_half() -> None:
    rig = Rig(memory=1 << 20)
    at = BASE + (1 << 20) - 2
    rig.store(at, encode("addi", rd=1, imm=1) & 0xFFFF, 2)
    rig.hart.pc = at
    rig.run(1)
    assert rig.trap() == (M, FETCH_ACCESS, at + 2)
    assert rig.csr("mepc") == at


def test_a_trap_into_hs_from_v0_leaves_spvp_alone() -> None:
    for before in (0, SPVP):
        rig = enabled("ecall", U, medeleg=1 << ECALL_U, hstatus=before | SPV | H_GVA)
        rig.run(1)
        assert rig.csr("hstatus") & (SPVP | SPV | H_GVA) == before


def test_a_trap_with_interrupts_off_stacks_that() -> None:
    for mode, deleg in ((HS, 0), (U, DELEGATE), (VU, DELEGATE)):
        rig = enabled(
            "ebreak", mode, medeleg=deleg, hedeleg=deleg if mode is VU else 0, mstatus=MPIE | SPIE, vsstatus=SPIE
        )
        rig.run(1)
        name, bit = {M: ("mstatus", MPIE), HS: ("mstatus", SPIE), VS: ("vsstatus", SPIE)}[rig.hart.mode]
        assert not rig.csr(name) & bit


def test_a_trap_into_vs_leaves_the_hypervisors_registers_alone() -> None:
    rig = enabled("ecall", VU, medeleg=DELEGATE, hedeleg=DELEGATE, hstatus=H_GVA)
    names = (
        "hstatus",
        "mstatus",
        "sepc",
        "scause",
        "stval",
        "htval",
        "htinst",
        "mepc",
        "mcause",
        "mtval",
        "mtval2",
        "mtinst",
    )
    before = [rig.csr(name) for name in names]
    rig.run(1)
    assert rig.hart.mode is VS
    assert [rig.csr(name) for name in names] == before


def test_mxr_sum_and_mprv_survive_a_trap() -> None:
    rig = enabled("ecall", U, mstatus=SUM | MXR | MPRV)
    rig.run(1)
    assert rig.csr("mstatus") & (SUM | MXR | MPRV) == SUM | MXR | MPRV


# --- vectors ---

MACHINE_LINES = {3: 3, 11: 11}
INTERRUPTS = (1, 2, 3, 5, 6, 7, 9, 10, 11)


def pend(rig: Rig, code: int) -> None:
    """Make an interrupt pending the way its source does."""
    if code in (3, 11):
        rig.hart.wire(code, True)
    elif code == 7:
        rig.hart.mtimecmp = 0
    elif code in (1, 5, 9):
        rig.set(mip=1 << code)
    else:
        rig.set(hvip=1 << code)


def interrupted(rig: Rig, origin: Mode, target: Mode, code: int, pc: int) -> None:
    assert rig.hart.mode is target
    assert rig.hart.pc == pc
    p = PREFIX[target]
    assert (rig.csr(f"{p}cause"), rig.csr(f"{p}tval"), rig.csr(f"{p}epc")) == (INTERRUPT | code, 0, BASE)
    if target is M:
        assert (rig.csr("mtval2"), rig.csr("mtinst"), rig.csr("mstatus") & GVA) == (0, 0, 0)
        assert bool(rig.csr("mstatus") & MPV) == origin.virtual
    elif target is HS:
        assert (rig.csr("htval"), rig.csr("htinst"), rig.csr("hstatus") & H_GVA) == (0, 0, 0)
        assert bool(rig.csr("hstatus") & SPV) == origin.virtual


@pytest.mark.parametrize("vectored", [0, 1])
@pytest.mark.parametrize("code", INTERRUPTS)
@pytest.mark.parametrize("origin", MODES)
def test_interrupts_by_mode_and_delegation(origin: Mode, code: int, vectored: int) -> None:
    """Every interrupt, in every mode, delegated as far as it can be, or not."""
    for mideleg, hideleg in ((0, 0), (0x222, 0), (0x222, 0x444)):
        rig = enabled("nop", origin, mideleg=mideleg, hideleg=hideleg, mie=1 << code)
        for at, name in enumerate(("mtvec", "stvec", "vstvec")):
            rig.set(**{name: HANDLER + 0x1000 * at | vectored})
        pend(rig, code)
        rig.run(1)
        guests = code in (2, 6, 10)
        if code in (3, 7, 11) or (code in (1, 5, 9) and not mideleg):
            target = M
        elif guests and hideleg:
            target = VS
        else:
            target = HS
        if (target is HS and origin is M) or (target is VS and origin not in (VS, VU)):
            assert rig.hart.pc == BASE + 4  # not now
            continue
        seen = code - 1 if target is VS else code
        interrupted(rig, origin, target, seen, HANDLER + OFFSET[target] + 4 * seen * vectored)


@pytest.mark.parametrize("target", [M, HS, VS])
def test_exceptions_go_to_the_base_of_a_vectored_handler(target: Mode) -> None:
    rig = enabled("ebreak", {M: M, HS: U, VS: VU}[target], medeleg=0 if target is M else DELEGATE, hedeleg=DELEGATE)
    rig.set(mtvec=HANDLER | 1, stvec=HANDLER + 0x1001, vstvec=HANDLER + 0x2001)
    rig.run(1)
    assert (rig.hart.mode, rig.hart.pc) == (target, HANDLER + OFFSET[target])


def test_enables_of_a_mode_hold_in_that_mode_only() -> None:
    """xIE counts in mode x; below, interrupts for x are always enabled."""
    for code, origin, csr, taken in (
        (3, M, "mstatus", False),
        (3, HS, "mstatus", True),
        (3, VU, "mstatus", True),
        (1, HS, "mstatus", False),
        (1, U, "mstatus", True),
        (1, VS, "mstatus", True),
        (2, VS, "vsstatus", False),
        (2, VU, "vsstatus", True),
    ):
        rig = enabled("nop", origin, mideleg=0x222, hideleg=0x444, mie=1 << code)
        rig.set(**{csr: 0})
        pend(rig, code)
        rig.run(1)
        assert (rig.hart.pc != BASE + 4) is taken, (code, origin)


def test_an_interrupt_is_not_taken_where_mie_has_it_off() -> None:
    rig = enabled("nop", U, mie=0)
    for code in INTERRUPTS:
        pend(rig, code)
    rig.run(1)
    assert rig.hart.pc == BASE + 4


def test_an_interrupt_goes_before_the_fault_of_the_instruction_it_interrupts() -> None:
    rig = enabled(".word 0xffffffff", HS, mie=1 << 3)
    pend(rig, 3)
    rig.run(1)
    interrupted(rig, HS, M, 3, HANDLER)


# --- returns ---


@pytest.mark.parametrize("pie", [0, MPIE])
@pytest.mark.parametrize("mpv", [0, MPV])
@pytest.mark.parametrize("mpp", [M, HS, U])
def test_mret(mpp: Mode, mpv: int, pie: int) -> None:
    rig = Rig(
        "mret", mstatus=mpp.privilege << 11 | mpv | pie | MPRV | (0 if pie else MIE) | SIE | SPIE | SPP, mepc=DATA
    )
    rig.run(1)
    status = rig.csr("mstatus")
    expected = Mode.of(mpp.privilege, bool(mpv) and mpp is not M)
    assert (rig.hart.mode, rig.hart.pc) == (expected, DATA)
    assert bool(status & MIE) == bool(pie) and status & MPIE
    assert status & (MPP | MPV) == 0  # the least privileged mode
    assert bool(status & MPRV) == (mpp is M)
    assert status & (SIE | SPIE | SPP) == SIE | SPIE | SPP


@pytest.mark.parametrize("pie", [0, SPIE])
@pytest.mark.parametrize("spv", [0, SPV])
@pytest.mark.parametrize("spp", [0, SPP])
@pytest.mark.parametrize("mode", [M, HS])
def test_sret_with_v_0(mode: Mode, spp: int, spv: int, pie: int) -> None:
    rig = Rig(
        "sret", mstatus=spp | pie | MPRV | (0 if pie else SIE) | MIE | MPIE | 1 << 11, hstatus=spv | SPVP, sepc=DATA
    )
    rig.hart.mode = mode
    rig.set(vsstatus=SIE, vsepc=BASE + 0x100)
    rig.run(1)
    status = rig.csr("mstatus")
    assert (rig.hart.mode, rig.hart.pc) == (Mode.of(1 if spp else 0, bool(spv)), DATA)
    assert bool(status & SIE) == bool(pie) and status & SPIE
    assert status & (SPP | MPRV) == 0
    assert status & (MIE | MPIE | MPP) == MIE | MPIE | 1 << 11
    assert rig.csr("hstatus") & (SPV | SPVP) == SPVP
    assert rig.csr("vsstatus") & SIE


@pytest.mark.parametrize("pie", [0, SPIE])
@pytest.mark.parametrize("spp", [0, SPP])
def test_sret_of_a_guest(spp: int, pie: int) -> None:
    rig = Rig(
        "sret",
        mode=VS,
        vsstatus=spp | pie | (0 if pie else SIE),
        vsepc=DATA,
        hstatus=SPV | SPVP,
        mstatus=TSR | SIE | SPP,
    )
    rig.set(sepc=BASE + 0x100)
    rig.run(1)
    status = rig.csr("vsstatus")
    assert (rig.hart.mode, rig.hart.pc) == (VS if spp else VU, DATA)
    assert bool(status & SIE) == bool(pie) and status & SPIE and not status & SPP
    assert rig.csr("hstatus") & (SPV | SPVP) == SPV | SPVP
    assert rig.csr("mstatus") & (SIE | SPP) == SIE | SPP


def test_mpv_means_nothing_for_a_return_to_machine_mode() -> None:
    rig = Rig("mret", mstatus=3 << 11 | MPV, mepc=DATA, vsscratch=5, sscratch=6)
    rig.write(DATA, "csrr a0, sscratch\nhfence.gvma zero, zero\necall")
    rig.run(4)
    assert rig.trap() == (M, ECALL_M, 0)
    assert rig.x("a0") == 6
    assert rig.csr("mstatus") & MPV == 0


def test_an_interrupt_enabled_by_a_return_is_taken_before_the_next_instruction() -> None:
    rig = Rig("mret", mstatus=3 << 11 | MPIE, mepc=DATA, mie=1 << 3)
    rig.hart.wire(3, True)
    rig.run(2)
    assert (rig.csr("mcause"), rig.csr("mepc"), rig.hart.pc) == (INTERRUPT | 3, DATA, HANDLER)


# --- what may be executed where ---

OK = None
# instruction, mode, CSRs that matter, exception
RIGHTS: list[tuple[str, Mode, dict[str, int], int | None]] = [
    *[("mret", mode, {}, ILLEGAL) for mode in (HS, U, VS, VU)],
    ("sret", M, {"mstatus": TSR}, OK),
    ("sret", HS, {}, OK),
    ("sret", HS, {"mstatus": TSR}, ILLEGAL),
    ("sret", HS, {"hstatus": VTSR}, OK),
    ("sret", U, {}, ILLEGAL),
    ("sret", U, {"mstatus": TSR}, ILLEGAL),
    ("sret", VS, {}, OK),
    ("sret", VS, {"mstatus": TSR}, OK),
    ("sret", VS, {"hstatus": VTSR}, VIRTUAL),
    ("sret", VU, {}, VIRTUAL),
    ("sret", VU, {"mstatus": TSR}, VIRTUAL),
    ("wfi", M, {"mstatus": TW}, OK),
    ("wfi", HS, {}, OK),
    ("wfi", HS, {"mstatus": TW}, ILLEGAL),
    ("wfi", HS, {"hstatus": VTW}, OK),
    ("wfi", U, {}, ILLEGAL),
    ("wfi", U, {"mstatus": TW}, ILLEGAL),
    ("wfi", VS, {}, OK),
    ("wfi", VS, {"hstatus": VTW}, VIRTUAL),
    ("wfi", VS, {"mstatus": TW}, ILLEGAL),
    ("wfi", VS, {"mstatus": TW, "hstatus": VTW}, ILLEGAL),
    ("wfi", VU, {}, VIRTUAL),
    ("wfi", VU, {"hstatus": VTW}, VIRTUAL),
    ("wfi", VU, {"mstatus": TW}, ILLEGAL),
    *[
        row
        for text in ("sfence.vma", "sfence.vma a0, a1", "sinval.vma a0, a1")
        for row in (
            (text, M, {"mstatus": TVM}, OK),
            (text, HS, {}, OK),
            (text, HS, {"mstatus": TVM}, ILLEGAL),
            (text, HS, {"hstatus": VTVM}, OK),
            (text, U, {}, ILLEGAL),
            (text, VS, {}, OK),
            (text, VS, {"mstatus": TVM}, OK),
            (text, VS, {"hstatus": VTVM}, VIRTUAL),
            (text, VU, {}, VIRTUAL),
            (text, VU, {"mstatus": TVM}, VIRTUAL),
        )
    ],
    *[
        row
        for text in ("sfence.w.inval", "sfence.inval.ir")
        for row in (
            (text, M, {}, OK),
            (text, HS, {"mstatus": TVM}, OK),
            (text, U, {}, ILLEGAL),
            (text, VS, {"hstatus": VTVM}, OK),
            (text, VU, {}, VIRTUAL),
        )
    ],
    *[
        row
        for text in ("hfence.vvma a0, a1", "hinval.vvma zero, zero")
        for row in (
            (text, M, {}, OK),
            (text, HS, {}, OK),
            (text, HS, {"mstatus": TVM}, OK),
            (text, U, {}, ILLEGAL),
            (text, U, {"hstatus": HU}, ILLEGAL),
            (text, VS, {}, VIRTUAL),
            (text, VU, {}, VIRTUAL),
        )
    ],
    *[
        row
        for text in ("hfence.gvma a0, a1", "hinval.gvma zero, zero")
        for row in (
            (text, M, {"mstatus": TVM}, OK),
            (text, HS, {}, OK),
            (text, HS, {"mstatus": TVM}, ILLEGAL),
            (text, U, {}, ILLEGAL),
            (text, VS, {}, VIRTUAL),
            (text, VU, {"mstatus": TVM}, VIRTUAL),
        )
    ],
    *[
        row
        for text in ("hlv.d a0, (a1)", "hlvx.wu a0, (a1)", "hsv.b a0, (a1)")
        for row in (
            (text, M, {}, OK),
            (text, HS, {}, OK),
            (text, HS, {"hstatus": HU}, OK),
            (text, U, {}, ILLEGAL),
            (text, U, {"hstatus": HU}, OK),
            (text, VS, {}, VIRTUAL),
            (text, VS, {"hstatus": HU}, VIRTUAL),
            (text, VU, {}, VIRTUAL),
            (text, VU, {"hstatus": HU}, VIRTUAL),
        )
    ],
    ("fence.i", U, {}, OK),
    ("fence.i", VU, {}, OK),
]


@pytest.mark.parametrize(("text", "mode", "csrs", "cause"), RIGHTS, ids=lambda v: str(v))
def test_rights(text: str, mode: Mode, csrs: dict[str, int], cause: int | None) -> None:
    rig = Rig(text, sepc=BASE + 4, vsepc=BASE + 4)
    rig.set(**csrs)
    rig.put(a1=DATA, a0=DATA)
    rig.hart.mode = mode
    rig.run(1)
    if cause is None:
        assert rig.trap() is None
        assert rig.hart.pc == BASE + 4
    else:
        assert rig.trap() == (M, cause, int.from_bytes(rig.program.code, "little"))
        assert rig.csr("mepc") == BASE


# --- waiting ---


@pytest.mark.parametrize("code", INTERRUPTS)
def test_wfi_wakes_for_what_mie_enables_even_where_it_is_not_taken(code: int) -> None:
    rig = Rig("wfi\nli a0, 1", mie=1 << code, mideleg=0x222, hideleg=0x444)  # M-mode, MIE=0
    assert rig.run(10).reason is ExitReason.IDLE
    assert rig.hart.waiting and rig.hart.pc == BASE + 4
    pend(rig, code)
    rig.run(1)
    assert not rig.hart.waiting and rig.x("a0") == 1


def test_wfi_does_not_wait_when_an_interrupt_is_pending() -> None:
    rig = Rig("wfi\nli a0, 1", mie=1 << 3)
    rig.hart.wire(3, True)
    rig.run(2)
    assert rig.x("a0") == 1


def test_wfi_does_not_wake_for_what_mie_has_off() -> None:
    rig = Rig("wfi\nli a0, 1", mie=1 << 3)
    assert rig.run(10).reason is ExitReason.IDLE
    rig.hart.wire(11, True)
    assert rig.run(10).reason is ExitReason.IDLE
    assert rig.x("a0") == 0


def test_the_trap_that_ends_a_wait_returns_behind_it() -> None:
    rig = Rig("wfi\nli a0, 1", mode=HS, mie=1 << 3)
    rig.run(5)
    rig.hart.wire(3, True)
    rig.run(1)
    assert (rig.csr("mcause"), rig.csr("mepc")) == (INTERRUPT | 3, BASE + 4)


# --- counting and recording ---


def test_traps_and_instructions_are_counted_by_the_mode_they_come_from() -> None:
    rig = Rig("nop\nnop\necall", mode=VU, medeleg=1 << ECALL_U, mie=1 << 3)
    rig.run(3)
    assert rig.hart.retired == {M: 0, HS: 0, U: 0, VS: 0, VU: 2}
    rig.run(4)  # the handler, in HS-mode
    assert rig.hart.retired[HS] == 4
    rig.hart.wire(3, True)
    rig.run(1)
    assert rig.hart.traps() == [(HS, 3, True, 1), (VU, ECALL_U, False, 1)]
    assert rig.hart.instret == 6


def test_a_return_counts_for_the_mode_that_executes_it() -> None:
    rig = Rig("mret", mstatus=MPV, mepc=DATA)
    rig.write(DATA, "nop\nnop")
    rig.run(3)
    assert rig.hart.retired == {M: 1, HS: 0, U: 0, VS: 0, VU: 2}


def test_events_tell_the_story() -> None:
    rig = Rig("mret", mstatus=MPV | 1 << 11, mepc=DATA, hgatp=0)
    rig.write(DATA, "sfence.vma a0, zero\necall")
    rig.put(a0=0x1234000)
    rig.run(3)
    kinds = [(e.kind, e.pc, e.value, e.cause, e.from_mode, e.to_mode, e.clock) for e in rig.hart.events()[-3:]]
    assert kinds == [
        (EventKind.RETURN, DATA, 0, Move.MRET, M, VS, 0),
        (EventKind.FENCE, DATA, 0x1234000, 0, VS, VS, 1),
        (EventKind.TRAP, DATA + 4, 0, ECALL_VS, VS, M, 2),
    ]


def test_the_ring_keeps_the_last_1024_events() -> None:
    rig = Rig("loop: sfence.vma a0, zero\naddi a0, a0, 1\nj loop", mode=HS)
    rig.run(3 * 1500)
    events = rig.hart.events(5000)
    assert rig.hart.event_count >= 1500
    assert [e.value for e in events[-1024:]] == list(range(1500 - 1024, 1500))
    assert len(events) == 1024


def test_the_last_bit_of_an_address_in_epc_is_zero() -> None:
    rig = Rig("mret", mstatus=3 << 11)
    rig.set(mepc=DATA | 1)
    rig.run(1)
    assert rig.hart.pc == DATA


# --- host modes ---


@pytest.mark.parametrize(
    ("target", "origin", "medeleg"), [(HS, VS, DELEGATE), (M, VS, 0), (HS, U, DELEGATE), (VS, VU, DELEGATE)]
)
def test_traps_into_a_host_mode_come_back_with_the_csrs_written(target: Mode, origin: Mode, medeleg: int) -> None:
    rig = enabled("nop\nebreak", origin, medeleg=medeleg, hedeleg=DELEGATE if target is VS else 0)
    rig.hart.host_modes = {target}
    exit = rig.run(100)
    assert (exit.reason, exit.hart, exit.kind, exit.cause, exit.executed) == (ExitReason.TRAP, 0, target, BREAKPOINT, 2)
    check_entry(rig, origin, target, BREAKPOINT, BASE + 4, BASE + 4, origin.virtual)


def test_an_interrupt_into_a_host_mode_comes_back_too() -> None:
    rig = enabled("nop\nnop", VS, mie=1 << 10, mideleg=0, hideleg=0)
    rig.hart.host_modes = {HS}
    rig.set(hvip=1 << 10)
    exit = rig.run(100)
    assert (exit.reason, exit.kind, exit.cause, exit.executed) == (ExitReason.TRAP, HS, INTERRUPT | 10, 1)
    interrupted(rig, VS, HS, 10, HANDLER + 0x1000)


def test_traps_into_other_modes_do_not_come_back() -> None:
    rig = enabled("ebreak", VU, medeleg=DELEGATE, hedeleg=DELEGATE)
    rig.hart.host_modes = {HS, M}
    assert rig.run(50).reason is ExitReason.BUDGET
    assert rig.hart.mode is VS


def test_a_host_may_go_on_where_it_wants() -> None:
    rig = enabled("ebreak\nli a0, 7\nebreak", VS, medeleg=DELEGATE)
    rig.hart.host_modes = {HS}
    assert rig.run(10).reason is ExitReason.TRAP
    rig.hart.pc, rig.hart.mode = BASE + 4, VS
    assert rig.run(10).reason is ExitReason.TRAP
    assert (rig.x("a0"), rig.csr("sepc")) == (7, BASE + 8)


# --- traps without end ---


def test_a_handler_that_cannot_run_is_reported() -> None:
    rig = Rig("ebreak", mtvec=NOWHERE)
    exit = rig.run(1_000_000)
    assert exit.reason is ExitReason.TRAP_LOOP
    assert (exit.cause, rig.hart.pc) == (FETCH_ACCESS, NOWHERE)
    assert rig.hart.instret == 0


def test_many_traps_with_progress_between_them_are_no_loop() -> None:
    rig = Rig("loop: ebreak\nj loop")
    rig.write(HANDLER, "csrr t0, mepc\naddi t0, t0, 4\ncsrw mepc, t0\nmret")
    rig.set(mstatus=3 << 11)
    rig.write(HANDLER, "li t1, 0x1800\ncsrs mstatus, t1\ncsrr t0, mepc\naddi t0, t0, 4\ncsrw mepc, t0\nmret")
    assert rig.run(50_000).reason is ExitReason.BUDGET
    assert {(m, c): n for m, c, _, n in rig.hart.traps()}[M, BREAKPOINT] > 5000


@pytest.mark.parametrize("virtual", [False, True])
def test_stimecmp_of_a_guest_is_its_own(virtual: bool) -> None:
    rig = Rig("li a0, 12345\n.word 0x14d51073\n", mode=VS if virtual else HS)  # csrw stimecmp, a0
    rig.set(menvcfg=STCE, henvcfg=STCE, mcounteren=2, hcounteren=2)
    rig.reach(BASE + 12)
    assert rig.csr("vstimecmp" if virtual else "stimecmp") == 12345
    assert rig.csr("stimecmp" if virtual else "vstimecmp") == ONES
