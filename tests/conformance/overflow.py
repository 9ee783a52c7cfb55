"""Counter overflow (Sscofpmf), counting by mode (Smcntrpmf), and LCOFI (Shlcofideleg)."""

from __future__ import annotations

from collections import Counter

from rig import BASE, DATA, HANDLER, HS, ILLEGAL, INTERRUPT, MIE, MPV, ONES, SIE, VIRTUAL, VS, VU, M, Rig, U

from emulator.hart import Mode
from emulator.isa.csrs import EVENTS
from emulator.machine import INSTRUCTIONS_PER_TICK

from .suite import grid, rule

SECTION = "Sscofpmf Extension for Count Overflow and Mode-Based Filtering"
MODES = (M, HS, U, VS, VU)
OF, LCOFI, MTI = 1 << 63, 1 << 13, 1 << 7
INHIBIT = {M: 1 << 62, HS: 1 << 61, U: 1 << 60, VS: 1 << 59, VU: 1 << 58}


def number_of(event: str) -> int:
    """The event's number in mhpmevent, which is the platform's choice."""
    (number,) = (number for number, (name, _) in EVENTS.items() if name == event)
    return number


@rule(
    "lcofi.scountovf",
    "scountovf shows OF of every mhpmevent: in M-mode all, below those of mcounteren, in a guest of hcounteren too",
    section=SECTION,
    rows=(82,),
    cases=grid(mode=MODES, m=(0, 0xA8, ONES), h=(0, 0xC8, ONES)),
)
def _(mode: Mode, m: int, h: int) -> None:
    rig = Rig("csrr a0, scountovf", mcounteren=m, hcounteren=h, mcause=0)
    rig.set(mhpmevent3=OF, mhpmevent4=OF, mhpmevent5=OF, mhpmevent6=OF)
    rig.hart.mode = mode
    rig.run(1)
    if mode in (U, VU):
        trap = rig.trap()
        assert trap is not None and trap[:2] == (M, ILLEGAL if mode is U else VIRTUAL)
        return
    every = 0b1111000
    assert rig.x("a0") == every & {M: ONES, HS: m, VS: m & h}[mode]


@rule(
    "lcofi.scountovf.readonly",
    "scountovf cannot be written, in any mode",
    section=SECTION,
    cases=grid(mode=MODES),
)
def _(mode: Mode) -> None:
    rig = Rig("csrw scountovf, zero", mode=mode, mcounteren=ONES, hcounteren=ONES)
    rig.run(1)
    trap = rig.trap()
    assert trap is not None and trap[:2] == (M, ILLEGAL)


@rule(
    "lcofi.delegation",
    "LCOFI is interrupt 13, to M-mode, HS-mode or, where hideleg has the bit, VS-mode under the same code",
    section="Virtual Supervisor Interrupt (vsip and vsie) Registers",
    cases=grid(mode=(U, VS, VU), deleg={"M": (0, 0), "HS": (LCOFI, 0), "VS": (LCOFI, LCOFI)}),
)
def _(mode: Mode, deleg: tuple[int, int]) -> None:
    rig = Rig("nop", mideleg=deleg[0], hideleg=deleg[1], mie=LCOFI, mip=LCOFI, vsstatus=SIE)
    rig.hart.mode = mode
    rig.run(1)
    if rig.csr("hideleg") & LCOFI:
        assert rig.trap() == ((VS, INTERRUPT | 13, 0) if mode.virtual else None)
    else:
        assert rig.trap() == (HS if deleg[0] else M, INTERRUPT | 13, 0)


@rule(
    "lcofi.alias",
    "vsip.LCOFIP and vsie.LCOFIE are those of sip and sie where hideleg has bit 13, else zero",
    section="Virtual Supervisor Interrupt (vsip and vsie) Registers",
    rows=(74,),
    cases=grid(hideleg=(0, LCOFI)),
)
def _(hideleg: int) -> None:
    rig = Rig(mideleg=LCOFI, hideleg=hideleg, mie=LCOFI, mip=LCOFI)
    shown = rig.csr("hideleg") & LCOFI
    assert (rig.csr("sip") & LCOFI, rig.csr("sie") & LCOFI) == (LCOFI, LCOFI)
    assert (rig.csr("vsip"), rig.csr("vsie")) == (shown, shown)
    assert rig.csr("hip") & LCOFI == 0 == rig.csr("hie") & LCOFI


@rule(
    "lcofi.write",
    "sip and sie write LCOFIP and LCOFIE where mideleg has bit 13, vsip and vsie where hideleg has it too",
    section="Virtual Supervisor Interrupt (vsip and vsie) Registers",
    rows=(74,),
    cases=grid(deleg={"none": (0, 0), "HS": (LCOFI, 0), "VS": (LCOFI, LCOFI)}, names=(("sip", "mip"), ("sie", "mie"))),
)
def _(deleg: tuple[int, int], names: tuple[str, str]) -> None:
    rig = Rig(mideleg=deleg[0], hideleg=deleg[1])
    name, whole = names
    for each, bit in ((name, deleg[0]), (f"v{name}", deleg[1])):
        for before in (0, LCOFI):
            rig.set(**{whole: before})
            rig.set(**{each: before ^ LCOFI})
            assert rig.csr(whole) & LCOFI == before ^ bit, each


@rule(
    "lcofi.hideleg",
    "hideleg bit 13 is read-only zero while mideleg has it zero",
    section="Machine Interrupt Delegation (mideleg) Register",
    rows=(6,),
)
def _() -> None:
    rig = Rig(mideleg=0, hideleg=ONES)
    assert not rig.csr("hideleg") & LCOFI
    rig = Rig(mideleg=LCOFI, hideleg=ONES, mip=LCOFI, mie=LCOFI)
    assert rig.csr("hideleg") & LCOFI  # Shlcofideleg
    rig.set(mideleg=0)
    assert not rig.csr("hideleg") & LCOFI
    assert (rig.csr("vsip"), rig.csr("vsie")) == (0, 0)


@rule(
    "counter.inhibit.mode",
    "mcyclecfg and minstretcfg keep mcycle and minstret from counting in the modes that they name, and in no other",
    section="Smcntrpmf Cycle and Instret Privilege Mode Filtering",
    cases=grid(mode=MODES, inhibited=MODES, which={"instret": "minstret", "cycle": "mcycle"}),
)
def _(mode: Mode, inhibited: Mode, which: str) -> None:
    rig = Rig("nop\nnop\nnop\nnop", **{f"{which}cfg": INHIBIT[inhibited]})
    assert rig.csr(f"{which}cfg") & ~OF == INHIBIT[inhibited]
    rig.hart.mode = mode
    before = rig.csr(which)
    rig.run(4)
    assert rig.csr(which) - before == (0 if mode is inhibited else 4)
    assert rig.hart.pc == BASE + 16


@rule(
    "counter.inhibit.switch",
    "Over MRET, SRET and traps each instruction counts in the mode that it retires in: a return in the mode it leaves",
    section="Smcntrpmf Cycle and Instret Privilege Mode Filtering",
    cases=grid(
        through=(HS, U, VS, VU), inhibited=MODES, which={"instret": "minstret", "cycle": "mcycle"},
        deleg={"M": (0, 0), "HS": (ONES, 0), "VS": (ONES, ONES)},
    ),
)  # fmt: skip
def _(through: Mode, inhibited: Mode, which: str, deleg: tuple[int, int]) -> None:
    user = VU if through.virtual else U
    last = M if not deleg[0] else VS if deleg[1] and user is VU else HS
    handler = HANDLER + {M: 0, HS: 0x1000, VS: 0x2000}[last]
    rig = Rig("nop\nnop\nmret", mstatus=through.privilege << 11 | (MPV if through.virtual else 0), mepc=DATA)
    rig.set(**{f"{which}cfg": INHIBIT[inhibited]}, sepc=DATA + 0x100, vsepc=DATA + 0x100)
    rig.set(medeleg=deleg[0], hedeleg=deleg[1])
    rig.write(DATA, "nop\nnop\nnop\nsret" if through.privilege else "ecall")
    rig.write(DATA + 0x100, "nop\nnop\necall")
    rig.write(handler, "nop\nnop\nnop\nnop\nnop")
    before = rig.csr(which)
    spent = Counter({M: 3}) + Counter({last: 5})
    if through.privilege:
        spent += Counter({through: 4, user: 2})
    rig.run(spent.total() + 1)
    assert (rig.hart.mode, rig.hart.pc) == (last, handler + 20)
    assert rig.csr(which) - before == spent.total() - spent[inhibited]


@rule(
    "lcofi.wakes",
    "A counter of cycles that overflows while the hart waits ends the wait where LCOFI is enabled, then and not before",
    section=SECTION,
    cases=grid(
        event=("CYCLES", "INSTRUCTIONS"), enabled=(0, LCOFI), timer=(50, 5000), distance=(100, 1000), mie=(0, MIE)
    ),
)
def _(event: str, enabled: int, timer: int, distance: int, mie: int) -> None:
    """Beside mtimecmp, `timer` ticks ahead. Instructions do not count while the hart waits. With mstatus.MIE the
    interrupt is taken before the next instruction."""
    rig = Rig("wfi\nnop", mie=enabled | MTI, mstatus=mie, minstret=0)
    code = number_of(event)
    start = rig.hart.time
    rig.hart.mtimecmp = start + timer
    rig.set(mhpmevent3=code, mhpmcounter3=-distance * INSTRUCTIONS_PER_TICK & ONES)
    rig.run(2)
    woken = event == "CYCLES" and enabled and distance < timer
    assert rig.hart.time - start == (distance if woken else timer)
    if mie:
        assert (rig.trap(), rig.csr("mepc")) == ((M, INTERRUPT | (13 if woken else 7), 0), BASE + 4)
    else:
        assert (rig.hart.pc, rig.csr("minstret")) == (BASE + 8, 2)
    assert bool(rig.csr("mip") & LCOFI) == (event == "CYCLES" and distance < timer)


@rule(
    "lcofi.exact",
    "LCOFI is taken behind the instruction that makes the counter overflow",
    section=SECTION,
    cases=grid(event=("CYCLES", "INSTRUCTIONS"), distance=(1, 2, 5, 100, 301), mode=(M, HS, U)),
)
def _(event: str, distance: int, mode: Mode) -> None:
    rig = Rig("loop: j loop", mie=LCOFI)
    rig.run(1000)
    rig.write(BASE, "nop\n" * 400)
    rig.set(mhpmcounter3=-distance & ONES, mhpmevent3=number_of(event), mstatus=MIE)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(400)
    assert (rig.trap(), rig.csr("mepc")) == ((M, INTERRUPT | 13, 0), BASE + 4 * distance)


@rule(
    "lcofi.priority",
    "LCOFI comes after every other interrupt for the same mode",
    section="Hypervisor Interrupt (hvip, hip, and hie) Registers",
    cases=grid(target=(M, HS, VS), code=(3, 7, 11, 1, 5, 9, 2, 6, 10)),
)
def _(target: Mode, code: int) -> None:
    guest, machine = code in (2, 6, 10), code in (3, 7, 11)
    both = 1 << code | LCOFI
    rig = Rig("nop", mie=both, mideleg=0 if target is M else LCOFI | 0x222, vsstatus=SIE)
    rig.set(hideleg=0 if target is not VS else LCOFI | 0x444, hvip=1 << code if guest else 0, mip=both)
    rig.hart.wire(3, code == 3)
    rig.hart.wire(11, code == 11)
    rig.hart.mtimecmp = 0 if code == 7 else ONES
    rig.hart.mode = VS
    rig.run(1)
    if guest and target is M:
        expected = M, 13  # VS-level interrupts are always HS-mode's, and M-mode goes before
    elif guest and target is VS:
        expected = VS, code - 1
    else:
        expected = M if machine or target is M else HS, code
    assert rig.trap() == (expected[0], INTERRUPT | expected[1], 0)
