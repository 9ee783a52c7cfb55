"""Timers of supervisors: stimecmp, vstimecmp, htimedelta, and what enables them (Sstc)."""

from __future__ import annotations

from itertools import combinations, permutations

from rig import (
    BASE,
    HS,
    ILLEGAL,
    INTERRUPT,
    ONES,
    SIE,
    STCE,
    VIRTUAL,
    VS,
    VU,
    M,
    Rig,
    U,
)

from emulator.hart import Mode
from emulator.machine import ACLINT, INSTRUCTIONS_PER_TICK

from .access import OPEN, Bench
from .suite import grid, rule

VSTIMECMP = "Virtual Supervisor Timer (vstimecmp) Register"
STIMECMP = "Supervisor Timer (stimecmp) Register"
HENVCFG = "Hypervisor Environment Configuration Register (henvcfg)"
HTIMEDELTA = "Hypervisor Time Delta (htimedelta) Register"
STI, VSTI = 1 << 5, 1 << 6
MODES = (M, HS, U, VS, VU)
NOW = 0x1_0000


def at_time(time: int, text: str = "nop", **csrs: int) -> Rig:
    """A rig at `time`, with every counter readable."""
    rig = Rig(text, mcounteren=7, hcounteren=7, scounteren=7, menvcfg=STCE)
    rig.machine.bus.write(ACLINT + 0xBFF8, 8, time & ONES)
    assert rig.hart.time == time & ONES
    rig.set(henvcfg=STCE, stimecmp=ONES, vstimecmp=ONES)
    rig.set(**csrs)
    return rig


COMPARED = {
    "before": (NOW, NOW + 1), "at": (NOW, NOW), "after": (NOW, NOW - 1), "never": (NOW, ONES), "always": (NOW, 0),
    "unsigned": (NOW, 1 << 63), "high": (1 << 63, 1 << 62), "high before": (1 << 63, (1 << 63) + 1),
}  # fmt: skip
"""(time, comparator)"""


@rule(
    "sstc.stip",
    "STIP is 1 exactly while time is not less than stimecmp, as unsigned numbers, in mip and, delegated, in sip",
    section=STIMECMP,
    cases=grid(numbers=COMPARED),
)
def _(numbers: tuple[int, int]) -> None:
    time, compare = numbers
    rig = at_time(time, stimecmp=compare, mideleg=STI)
    assert bool(rig.csr("mip") & STI) == bool(rig.csr("sip") & STI) == (time >= compare)


@rule(
    "sstc.stip.readonly",
    "STIP of mip is read-only while menvcfg.STCE is 1, and a bit of M-mode's software while it is 0",
    section="Machine Interrupt (mip and mie) Registers",
    cases=grid(stce=(0, STCE), compare=(0, ONES)),
)
def _(stce: int, compare: int) -> None:
    for written in (0, STI):
        rig = at_time(NOW, "csrw mip, a0", stimecmp=compare, menvcfg=stce)
        rig.put(a0=written)
        rig.run(1)
        expected = (STI if compare == 0 else 0) if stce else written
        assert rig.csr("mip") & STI == expected
        rig.set(menvcfg=0)
        assert rig.csr("mip") & STI == (0 if stce else written)  # what was ignored does not come up later
        rig.set(mip=STI)
        rig.set(menvcfg=STCE)
        assert rig.csr("mip") & STI == (STI if compare == 0 else 0)  # and the timer's signal is all that counts


@rule(
    "sstc.stip.kept",
    "While stimecmp gives STIP, writes of mip leave the bit that software wrote, and henvcfg has no say in it",
    section="Machine Interrupt (mip and mie) Registers",
    cases=grid(before=(0, STI), written=(0, ONES), henvcfg=(0, STCE), others=(0, ONES & ~STCE)),
)
def _(before: int, written: int, henvcfg: int, others: int) -> None:
    rig = at_time(NOW, "csrw mip, a0\ncsrw mip, a0", stimecmp=ONES, menvcfg=0)
    rig.set(mip=before)
    rig.set(menvcfg=STCE | others)
    rig.set(henvcfg=henvcfg)
    rig.put(a0=written)
    rig.run(1)
    assert not rig.csr("mip") & (STI | 1)
    rig.set(menvcfg=others)
    assert rig.csr("mip") & STI == before
    rig.run(1)
    assert rig.csr("mip") & STI == written & STI


@rule(
    "sstc.stip.stce",
    "With menvcfg.STCE 0 the comparator gives no signal, whatever else is enabled",
    section=STIMECMP,
    cases=grid(others=(0, ONES & ~STCE), software=(0, STI)),
)
def _(others: int, software: int) -> None:
    rig = at_time(NOW, stimecmp=0, mideleg=STI, menvcfg=others)
    rig.set(mip=software)
    assert rig.csr("mip") & STI == rig.csr("sip") & STI == software


@rule(
    "sstc.vstip",
    "hip.VSTIP is hvip.VSTIP OR time + htimedelta not less than vstimecmp, modulo 2^64 and unsigned, in every mode",
    section=VSTIMECMP,
    rows=(73,),
    cases=grid(
        numbers={
            **{name: (time, 0, compare) for name, (time, compare) in COMPARED.items()},
            "ahead": (NOW, 0x100, NOW + 0x100), "ahead before": (NOW, 0x100, NOW + 0x101),
            "behind": (NOW, -0x100 & ONES, NOW - 0x100), "behind before": (NOW, -0x100 & ONES, NOW - 0xFF),
            "wraps": (NOW, -NOW & ONES, 1), "wraps to 0": (NOW, -NOW & ONES, 0),
            "wraps high": (NOW, -NOW - 1 & ONES, ONES),
        },
        hvip=(0, VSTI), mode=MODES,
    ),
)  # fmt: skip
def _(numbers: tuple[int, int, int], hvip: int, mode: Mode) -> None:
    time, delta, compare = numbers
    rig = at_time(time, htimedelta=delta, vstimecmp=compare, hvip=hvip, hideleg=VSTI)
    rig.hart.mode = mode
    due = (time + delta & ONES) >= compare
    expected = bool(hvip) or due
    assert bool(rig.csr("hip") & VSTI) == bool(rig.csr("mip") & VSTI) == bool(rig.csr("vsip") & STI) == expected
    assert rig.csr("hvip") == hvip  # the timer's signal does not show there


@rule(
    "sstc.stce",
    "With henvcfg.STCE 0, or menvcfg.STCE 0, VSTIP is hvip's bit alone",
    section=HENVCFG,
    rows=(11, 68),
    cases=grid(menvcfg=(0, STCE), henvcfg=(0, STCE), hvip=(0, VSTI), others=(0, ONES & ~STCE)),
)
def _(menvcfg: int, henvcfg: int, hvip: int, others: int) -> None:
    rig = at_time(NOW, vstimecmp=0, hvip=hvip, menvcfg=menvcfg | others)
    rig.set(henvcfg=henvcfg | others)
    assert rig.csr("hip") & VSTI == (VSTI if menvcfg and henvcfg else hvip)


@rule(
    "sstc.stce.off",
    "Clearing menvcfg.STCE takes the guest's timer signal away at once",
    section="Machine Environment Configuration (menvcfg) Register",
    rows=(11,),
)
def _() -> None:
    rig = at_time(NOW, vstimecmp=0)
    assert rig.csr("hip") & VSTI
    rig.set(menvcfg=0)
    assert not rig.csr("hip") & VSTI
    rig = at_time(NOW, stimecmp=0)
    assert rig.csr("mip") & STI
    rig.set(menvcfg=0)
    assert not rig.csr("mip") & STI


@rule(
    "sstc.access",
    "stimecmp means vstimecmp when V=1: a guest sets and reads its own comparator, and the host's stays",
    section=VSTIMECMP,
    cases=grid(mode=(HS, VS)),
)
def _(mode: Mode) -> None:
    rig = at_time(NOW, "csrrw a0, stimecmp, a1", stimecmp=111, vstimecmp=222)
    rig.put(a1=NOW + 5)
    rig.hart.mode = mode
    rig.run(1)
    assert rig.x("a0") == (222 if mode is VS else 111)
    assert (rig.csr("stimecmp"), rig.csr("vstimecmp")) == ((111, NOW + 5) if mode is VS else (NOW + 5, 222))


GATES = ("menvcfg", "mcounteren", "henvcfg", "hcounteren")


@rule(
    "sstc.gates",
    "STCE and TM of M-mode, and for a guest of HS-mode, open the comparators; no other bit beside them counts",
    section=STIMECMP,
    rows=(68,),
    cases=grid(mode=(M, HS, VS), closed=("", *GATES), number=(0x14D, 0x24D), others=(True, False)),
)
def _(mode: Mode, closed: str, number: int, others: bool) -> None:
    bench = Bench(OPEN)
    for name in GATES:
        bit = STCE if name.endswith("cfg") else 2
        bench.rig.set(**{name: (ONES if others else bit) & ~(bit if name == closed else 0)})
    if mode is M or (not closed and (mode is HS or number == 0x14D)):
        expected = None
    elif closed.startswith("m"):
        expected = ILLEGAL
    elif mode is HS:
        expected = None
    else:
        expected = VIRTUAL
    assert bench.read(mode, number) == bench.write(mode, number) == expected


@rule(
    "sstc.clear",
    "Writing a later time takes the pending interrupt away, an earlier one makes it pending",
    section=VSTIMECMP,
)
def _() -> None:
    rig = at_time(NOW, "csrw stimecmp, a0\ncsrr a1, sip\ncsrw stimecmp, a2\ncsrr a3, sip", vstimecmp=0, hideleg=VSTI)
    rig.put(a0=ONES, a2=1)
    rig.hart.mode = VS
    rig.run(4)
    assert (rig.x("a1"), rig.x("a3")) == (0, STI)


@rule(
    "sstc.delivery",
    "The timer's interrupt is VSTI: code 6 in HS-mode, or, delegated by hideleg, code 5 in VS-mode",
    section=VSTIMECMP,
    rows=(76,),
    cases=grid(hideleg=(0, VSTI), mode=(HS, U, VS, VU)),
)
def _(hideleg: int, mode: Mode) -> None:
    rig = at_time(NOW, vstimecmp=NOW, hideleg=hideleg, mie=VSTI, mstatus=SIE, vsstatus=SIE)
    rig.hart.mode = mode
    rig.run(1)
    if hideleg:
        assert rig.trap() == ((VS, INTERRUPT | 5, 0) if mode.virtual else None)
    else:
        assert rig.trap() == (HS, INTERRUPT | 6, 0)


@rule(
    "sstc.elapse",
    "The interrupt is not taken before the comparator's time, and is taken soon after",
    section=VSTIMECMP,
    cases=grid(which={"stimecmp": "stimecmp", "vstimecmp": "vstimecmp"}, ahead=(1, 3), delta=(0, 1000, -1000 & ONES)),
)
def _(which: str, ahead: int, delta: int) -> None:
    rig = at_time(NOW, "loop: addi a0, a0, 1\nj loop", htimedelta=delta, mideleg=STI, hideleg=VSTI)
    due = NOW + ahead + (delta if which == "vstimecmp" else 0) & ONES
    rig.set(**{which: due}, mie=STI | VSTI, mstatus=SIE, vsstatus=SIE)
    rig.hart.mode = VS if which == "vstimecmp" else HS
    rig.run(10_000)
    assert rig.trap() == (VS if which == "vstimecmp" else HS, INTERRUPT | 5, 0)
    ticks = 2 * rig.x("a0") / INSTRUCTIONS_PER_TICK
    assert ahead - 1 < ticks <= ahead + 1


@rule(
    "sstc.wfi",
    "WFI sleeps until the comparator's time, where the interrupt is enabled",
    section="Wait for Interrupt",
    cases=grid(
        which={"stimecmp": "stimecmp", "vstimecmp": "vstimecmp"},
        delta=(0, 77, -77 & ONES),
        mode=(HS, VS),
        enabled=(True, False),
    ),
)
def _(which: str, delta: int, mode: Mode, enabled: bool) -> None:
    rig = at_time(NOW, "wfi\nnop\nself: j self", htimedelta=delta, mideleg=STI, hideleg=VSTI)
    ahead = 50
    due = NOW + ahead + (delta if which == "vstimecmp" else 0) & ONES
    rig.set(**{which: due}, mie=(STI | VSTI) * enabled)
    rig.hart.mode = mode
    rig.run(5)
    if enabled:
        assert rig.hart.time == NOW + ahead and not rig.hart.waiting
    else:
        assert rig.hart.waiting


COMPARATORS = {"m": 1 << 7, "s": STI, "vs": VSTI}
FAR = (1 << 62) // INSTRUCTIONS_PER_TICK
"""Ticks: a clock beyond which nothing sleeps."""


@rule(
    "timer.first",
    "Of several comparators the first that is enabled ends the wait, at its time; those that are not do not count",
    section="Wait for Interrupt",
    cases=grid(
        order=permutations(COMPARATORS), enabled=[c for n in (1, 2, 3) for c in combinations(COMPARATORS, n)],
        late=(False, True), closed=("", "s", "vs"),
    ),
)  # fmt: skip
def _(order: tuple[str, ...], enabled: tuple[str, ...], late: bool, closed: str) -> None:
    """`late`: the first of them is over, and was not enabled. `closed`: STCE of that one is 0."""
    rig = at_time(NOW, "wfi\nnop\nself: j self", htimedelta=500)
    due = {name: NOW + 20 * (1 + place) for place, name in enumerate(order)}
    if late and order[0] not in enabled:
        due[order[0]] = NOW - 1
    rig.hart.mtimecmp = due["m"]
    rig.set(stimecmp=due["s"], vstimecmp=due["vs"] + 500, mie=sum(COMPARATORS[name] for name in enabled))
    rig.set(**{{"s": "menvcfg", "vs": "henvcfg"}[closed]: ONES & ~STCE} if closed else {})
    rig.run(5)
    # menvcfg's bit is the guest's too.
    awake = set(enabled) - ({"s", "vs"} if closed == "s" else {closed})
    if awake:
        assert rig.hart.time == min(due[name] for name in awake) and not rig.hart.waiting
    else:
        assert rig.hart.waiting


@rule(
    "timer.far",
    "A comparator that no clock of the hart will reach does not end the wait",
    section="Wait for Interrupt",
    cases=grid(
        which=list(COMPARATORS),
        ahead={
            "just": FAR - 99, "beyond": FAR, "further": FAR + 150, "2^60": 1 << 60, "2^63": 1 << 63,
            "2^64": ONES // INSTRUCTIONS_PER_TICK - 99, "2^64 and more": ONES // INSTRUCTIONS_PER_TICK,
        },
    ),
)
def _(which: str, ahead: int) -> None:
    """The hart has run for 100 ticks, which count with what is ahead; together they may be more than 64 bits hold."""
    rig = Rig("li a0, 5000\nloop: addi a0, a0, -1\nbnez a0, loop\nwfi\nself: j self")
    rig.run(10_002)
    rig.set(menvcfg=STCE, stimecmp=ONES, vstimecmp=ONES, mie=COMPARATORS[which])
    rig.set(henvcfg=STCE)
    due = rig.hart.time + ahead
    rig.hart.mtimecmp = due if which == "m" else ONES
    rig.set(**{f"{which}timecmp": due} if which != "m" else {})
    rig.run(5)
    assert rig.hart.waiting


@rule(
    "timer.last",
    "At the last number of time no comparator has anything to come, and programs go on",
    section="Machine Timer (mtime and mtimecmp) Registers",
    cases=grid(which=list(COMPARATORS), mode=(M, HS)),
)
def _(which: str, mode: Mode) -> None:
    rig = at_time(ONES, "nop\nnop\nwfi", mie=COMPARATORS[which], mideleg=0 if which == "m" else ONES, mstatus=0)
    rig.hart.mtimecmp = 57
    rig.hart.mode = M if which == "m" else mode
    rig.run(2)
    assert (rig.hart.pc, rig.csr("mip") & COMPARATORS[which]) == (BASE + 8, COMPARATORS[which])


@rule(
    "timer.interrupt",
    "While a program runs, the first comparator that is enabled interrupts it, soon after its time and not before",
    section="Machine Timer (mtime and mtimecmp) Registers",
    cases=grid(
        order=permutations(COMPARATORS), enabled=[c for n in (1, 2, 3) for c in combinations(COMPARATORS, n)]
    ),
)
def _(order: tuple[str, ...], enabled: tuple[str, ...]) -> None:
    """In U-mode, from where all of them are taken in M-mode; of a hart that has run for a while."""
    rig = at_time(NOW, "loop: addi a0, a0, 1\nj loop", htimedelta=500)
    rig.run(50 * INSTRUCTIONS_PER_TICK)
    rig.machine.bus.write(ACLINT + 0xBFF8, 8, NOW)
    rig.put(a0=0)
    due = {name: NOW + 3 * (1 + place) for place, name in enumerate(order)}
    rig.hart.mtimecmp = due["m"]
    rig.set(stimecmp=due["s"], vstimecmp=due["vs"] + 500, mie=sum(COMPARATORS[name] for name in enabled), mideleg=0)
    rig.hart.mode = U
    first = min(enabled, key=due.__getitem__)
    rig.run((due[first] + 2 - NOW) * INSTRUCTIONS_PER_TICK)
    code = {"m": 7, "s": 5, "vs": 6}[first]
    assert rig.trap() == (M if first != "vs" else HS, INTERRUPT | code, 0)
    ahead = due[first] - NOW
    assert ahead - 1 < 2 * rig.x("a0") / INSTRUCTIONS_PER_TICK <= ahead + 1


@rule(
    "time.delta",
    "time reads the timer plus htimedelta, modulo 2^64, in VS and VU, and the timer alone in M, HS and U",
    section=HTIMEDELTA,
    cases=grid(mode=MODES, delta=(0, 1, -1 & ONES, -NOW & ONES, 1 << 63, 0x1234_5678_9ABC)),
)
def _(mode: Mode, delta: int) -> None:
    rig = at_time(NOW, "csrr a0, time", htimedelta=delta)
    rig.hart.mode = mode
    rig.run(1)
    assert rig.trap() is None
    assert rig.x("a0") == (NOW + delta & ONES if mode.virtual else NOW)


@rule(
    "time.delta.others",
    "htimedelta has no effect on stimecmp, on cycle and on instret",
    section=HTIMEDELTA,
    cases=grid(mode=(HS, VS)),
)
def _(mode: Mode) -> None:
    found = []
    for delta in (0, 1 << 40):
        rig = at_time(NOW, "csrr a0, cycle\ncsrr a1, instret", htimedelta=delta, stimecmp=NOW + 9)
        rig.hart.mode = mode
        rig.run(2)
        found.append((rig.x("a0"), rig.x("a1"), rig.csr("mip") & STI))
    assert found[0] == found[1] and found[0][2] == 0
