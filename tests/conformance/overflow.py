"""Counter overflow (Sscofpmf), counting by mode (Smcntrpmf), and LCOFI (Shlcofideleg)."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

from rig import BASE, DATA, HANDLER, HS, ILLEGAL, INTERRUPT, MIE, MPV, ONES, SIE, VIRTUAL, VS, VU, M, Rig, U

from emulator.hart import Mode
from emulator.machine import INSTRUCTIONS_PER_TICK

from .counters import EVENT, INHIBIT, INHIBITED, MODES, NUMBERS
from .suite import grid, rule

SECTION = "Sscofpmf Extension for Count Overflow and Mode-Based Filtering"
CONTROL = "Count Overflow Control"
OF, LCOFI, MTI = 1 << 63, 1 << 13, 1 << 7
COUNTED = {"INSTRUCTIONS": "nop\n", "CYCLES": "nop\n", "FENCES": "sfence.vma\n"}
"""Events, and an instruction that is one."""


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
    start = rig.hart.time
    rig.hart.mtimecmp = start + timer
    rig.set(mhpmevent3=EVENT[event], mhpmcounter3=-distance * INSTRUCTIONS_PER_TICK & ONES)
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
    rig.set(mhpmcounter3=-distance & ONES, mhpmevent3=EVENT[event], mstatus=MIE)
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


# --- Overflow ---


def counting(number: int, event: str, left: int, bits: int = 0, **csrs: int) -> Rig:
    """M-mode with LCOFI enabled; the counter overflows `left` events from now, of which each instruction is one."""
    rig = Rig(60 * COUNTED[event], mie=LCOFI, mstatus=MIE, **csrs)
    rig.set(**{f"mhpmevent{number}": EVENT[event] | bits, f"mhpmcounter{number}": -left & ONES})
    return rig


@rule(
    "overflow.request",
    "A counter that overflows with OF zero sets OF and makes LCOFI pending, and counts on from zero",
    section=CONTROL,
    cases=grid(number=NUMBERS, event=tuple(COUNTED), left=(1, 2, 40), elsewhere=(False, True)),
)
def _(number: int, event: str, left: int, elsewhere: bool) -> None:
    """The interrupt is taken behind the very instruction. `elsewhere`: inhibited in all modes but M."""
    bits = INHIBITED & ~INHIBIT[M] if elsewhere else 0
    rig = counting(number, event, left, bits)
    rig.run(left + 1 + 25)
    assert rig.trap() == (M, INTERRUPT | 13, 0)
    assert rig.csr("mepc") == BASE + 4 * left
    assert rig.csr(f"mhpmevent{number}") == OF | bits | EVENT[event]
    assert (rig.csr("scountovf"), rig.csr("mip")) == (1 << number, LCOFI)
    assert rig.csr(f"mhpmcounter{number}") == (0 if event == "FENCES" else 25)
    assert rig.csr("mhpmcounter12") == 0 == rig.csr("mhpmevent12")


@rule(
    "overflow.of",
    "While OF is one an overflow makes no request, and OF stays one until software clears it",
    section=CONTROL,
    cases=grid(number=NUMBERS, event=tuple(COUNTED)),
)
def _(number: int, event: str) -> None:
    rig = counting(number, event, 3, OF)
    rig.run(10)
    assert rig.trap() is None and rig.csr("mip") == 0
    assert rig.csr(f"mhpmcounter{number}") == 7
    assert rig.csr(f"mhpmevent{number}") == OF | EVENT[event]
    rig.set(**{f"mhpmevent{number}": EVENT[event], f"mhpmcounter{number}": -3 & ONES})
    # The handler begins anew, and leaves OF as it is.
    rig.write(HANDLER, f"addi a0, a0, 1\ncsrw mhpmcounter{number}, a1\ncsrrc zero, mip, a2\nmret")
    rig.put(a1=-6 & ONES, a2=LCOFI)
    rig.run(3 + 1 + 4 + 30)
    assert (rig.x("a0"), rig.csr("mepc"), rig.hart.pc) == (1, BASE + 4 * 13, BASE + 4 * 43)
    assert rig.csr("mip") == 0
    assert rig.csr(f"mhpmevent{number}") == OF | EVENT[event]


@rule(
    "overflow.write",
    "Overflow never results from writes of a counter or of its event selector, only from counting",
    section=CONTROL,
    cases=grid(
        number=(3, 31), event=tuple(COUNTED), values=((0,), (1,), (-9, 0), (-9, 2), (-9, 1 << 63), (-9, -70), (7, 0))
    ),
)
def _(number: int, event: str, values: tuple[int, ...]) -> None:
    rig = Rig(f"{5 * COUNTED[event]}csrw mhpmevent{number}, a0\n", mie=LCOFI, mstatus=MIE)
    names = ("a1", "a2")[: len(values)]
    text = "\n".join(f"csrw mhpmcounter{number}, {name}" for name in names)
    rig.write(BASE + 24, f"{text}\n{50 * COUNTED[event]}")
    rig.put(a0=EVENT[event], **dict(zip(names, (value & ONES for value in values), strict=True)))
    rig.run(6 + len(values) + 50)
    assert rig.trap() is None and rig.csr("mip") == 0
    assert rig.csr(f"mhpmevent{number}") == EVENT[event]
    assert rig.csr(f"mhpmcounter{number}") == values[-1] + 50 & ONES


ORDERS = {"-".join(order): order for order in permutations(("mhpmcounter", "mhpmevent", "mcountinhibit"))}


@rule(
    "overflow.order",
    "Whether the counter, its event or its bit of mcountinhibit is written last: from there it counts to its overflow",
    section=CONTROL,
    cases=grid(order=ORDERS, number=NUMBERS, event=tuple(COUNTED)),
)
def _(order: tuple[str, ...], number: int, event: str) -> None:
    registers = {"mhpmcounter": (f"mhpmcounter{number}", "a0"), "mhpmevent": (f"mhpmevent{number}", "a1")}
    registers["mcountinhibit"] = "mcountinhibit", "zero"
    rig = Rig(mie=LCOFI, mstatus=MIE, mcountinhibit=ONES)
    rig.write(BASE, "\n".join(f"csrw {', '.join(registers[name])}" for name in order) + "\n" + 40 * COUNTED[event])
    rig.put(a0=-5 & ONES, a1=EVENT[event])
    rig.run(40)
    assert rig.trap() == (M, INTERRUPT | 13, 0)
    assert rig.csr("mepc") == BASE + 4 * (3 + 5)


@rule(
    "overflow.several",
    "Each counter overflows by itself, at its own time, and makes a request of its own",
    section=CONTROL,
    cases=grid(
        numbers=((3, 4), (4, 3), (17, 31)), left=((5, 9), (9, 5), (7, 7), (1, 40)), mode=(HS, U, VS, VU),
        events=(("INSTRUCTIONS", "CYCLES"), ("CYCLES", "INSTRUCTIONS")),
    ),
)  # fmt: skip
def _(numbers: tuple[int, int], left: tuple[int, int], mode: Mode, events: tuple[str, str]) -> None:
    """They count what is below M-mode, and the handler clears LCOFIP only."""
    rig = Rig("nop\n" * 60, mie=LCOFI)
    rig.write(HANDLER, "csrr a0, mepc\nsd a0, 0(a1)\naddi a1, a1, 8\ncsrrc zero, mip, a2\nmret")
    for number, event, events_left in zip(numbers, events, left, strict=True):
        rig.set(**{f"mhpmevent{number}": EVENT[event] | INHIBIT[M], f"mhpmcounter{number}": -events_left & ONES})
    rig.put(a1=DATA, a2=LCOFI)
    rig.hart.mode = mode
    taken = sorted(set(left))
    rig.run(60 + 6 * len(taken))
    assert [rig.load(DATA + 8 * n) for n in range(3)] == [BASE + 4 * at for at in taken] + [0] * (3 - len(taken))
    assert rig.csr("scountovf") == sum(1 << number for number in numbers)
    assert [rig.csr(f"mhpmcounter{number}") for number in numbers] == [60 - at for at in left]


@rule(
    "overflow.mode",
    "A counter that counts in one mode overflows in that mode, as many events behind the return to it",
    section=CONTROL,
    cases=grid(mode=(HS, U, VS, VU), number=(3, 31), event=("INSTRUCTIONS", "CYCLES"), left=(1, 2, 30)),
)
def _(mode: Mode, number: int, event: str, left: int) -> None:
    rig = Rig("nop\nnop\nmret", mie=LCOFI, mepc=DATA)
    rig.set(mstatus=mode.privilege << 11 | (MPV if mode.virtual else 0))
    rig.set(**{f"mhpmevent{number}": EVENT[event] | INHIBITED & ~INHIBIT[mode], f"mhpmcounter{number}": -left & ONES})
    rig.write(DATA, "nop\n" * 60)
    rig.run(3 + left + 1 + 10)
    assert rig.trap() == (M, INTERRUPT | 13, 0)
    assert rig.csr("mepc") == DATA + 4 * left
    assert rig.csr(f"mhpmcounter{number}") == 0


@rule(
    "overflow.base",
    "mcycle and minstret wrap around without a request: bit 63 of mcyclecfg and minstretcfg is zero",
    section="Machine Counter Configuration (mcyclecfg, minstretcfg) Registers",
    cases=grid(name=("mcycle", "minstret"), inhibited=(0, INHIBIT[U])),
)
def _(name: str, inhibited: int) -> None:
    rig = Rig("nop\n" * 20, mie=LCOFI, mstatus=MIE, **{f"{name}cfg": inhibited, name: -3 & ONES})
    rig.run(20)
    assert rig.hart.pc == BASE + 4 * 20
    assert rig.csr(name) == 17
    assert (rig.csr("mip"), rig.csr("scountovf"), rig.csr(f"{name}cfg")) == (0, 0, inhibited)


ASLEEP = {
    # event, other bits of mhpmevent, mcountinhibit: does it count while M-mode waits?
    "CYCLES": ("CYCLES", 0, 0, True),
    "elsewhere": ("CYCLES", INHIBITED & ~INHIBIT[M], 0, True),
    "inhibited": ("CYCLES", INHIBIT[M], 0, False),
    "stopped": ("CYCLES", 0, ONES, False),
    "OF": ("CYCLES", OF, 0, False),
    "INSTRUCTIONS": ("INSTRUCTIONS", 0, 0, False),
    "NONE": ("NONE", 0, 0, False),
}


@rule(
    "overflow.wait",
    "An overflow of a counter of cycles ends WFI, in that cycle; a counter that stands still or has OF set does not",
    section="Wait for Interrupt",
    cases=grid(asleep=ASLEEP, number=(3, 31), enabled=(True, False)),
)
def _(asleep: tuple[str, int, int, bool], number: int, enabled: bool) -> None:
    event, bits, stopped, counts = asleep
    rig = Rig("wfi\ncsrr a0, time\nnop", mie=MTI | (LCOFI if enabled else 0), mcountinhibit=stopped)
    rig.set(**{f"mhpmevent{number}": EVENT[event] | bits, f"mhpmcounter{number}": -5000 & ONES})
    rig.hart.mtimecmp = 100  # in cycle 10000
    rig.run(2)
    assert rig.x("a0") == (50 if counts and enabled else 100)
    assert rig.csr("mip") & LCOFI == (LCOFI if counts else 0)
    assert bool(rig.csr(f"mhpmevent{number}") & OF) == (counts or bool(bits & OF))


@rule(
    "overflow.fields",
    "mhpmevent has OF and xINH, each on its own, and takes its events; written otherwise they read as a legal event",
    section=CONTROL,
    cases=grid(
        number=(3, 31), event=(*EVENT.values(), max(EVENT.values()) + 1, 1 << 55, (1 << 56) - 1), before=(0, 12),
    ),
)  # fmt: skip
def _(number: int, event: int, before: int) -> None:
    name, fields, low = f"mhpmevent{number}", OF | INHIBITED, (1 << 56) - 1
    rig = Rig(f"csrw {name}, a0\ncsrr a1, {name}")
    for bits in (0, ONES, OF, *INHIBIT.values()):
        rig.set(**{name: ~bits & fields | before})
        rig.hart.pc = BASE
        rig.put(a0=bits & ~low | event)
        rig.run(2)
        found = rig.x("a1")
        assert found & ~low == bits & fields
        assert found & low == event if event in EVENT.values() else found & low in EVENT.values()
