"""The machine's run loop: budgets, breakpoints, watchpoints, devices, several harts, and saving.

The rule under all of it: how a run is cut into calls, and whether it is saved and taken up in between, changes nothing.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from assembler import Program, assemble
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import BASE, DATA, HANDLER, HS, INTERRUPT, LEAF, LOAD_ACCESS, MIE, MPP, ONES, STORE_ACCESS, VS, M, Rig, Tables

from emulator.bus import Device
from emulator.errors import ConfigurationError, EmulatorError, StateError
from emulator.hart import Exit, ExitReason
from emulator.machine import Machine

DEVICE = 0x3000_0000
READ, WRITE, BOTH = 1, 2, 3


class Recorder(Device):
    """A device that remembers what was done to it, and answers reads with a pattern."""

    name = "recorder"

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.log: list[tuple[str, int, int, int]] = []
        self.act = act

    def read(self, offset: int, size: int) -> int:
        self.log.append(("read", offset, size, 0))
        self.act()
        return 0x8182_8384_8586_8788 >> 8 * (offset & 7) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("write", offset, size, value))
        self.act()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Any) -> None:
        pass


def with_device(text: str, act: Callable[[Rig], None] = lambda rig: None, **csrs: int) -> tuple[Rig, Recorder]:
    rig = Rig(text)
    rig.set(**csrs)
    device = Recorder(lambda: act(rig))
    rig.machine.add_device(DEVICE, device)
    rig.put(a1=DEVICE)
    return rig, device


# --- a program with everything in it ---

BUSY = """
        csrr  s0, mhartid
        la    t0, handler
        csrw  mtvec, t0
        la    s1, data
        slli  t0, s0, 12
        add   s1, s1, t0
        li    s2, 0x2004000       # mtimecmp
        slli  t0, s0, 3
        add   s2, s2, t0
        csrr  t0, time
        addi  t0, t0, 3
        sd    t0, 0(s2)
        li    t0, 0x88
        csrw  mie, t0
        csrsi mstatus, 8
        li    s3, 0x10000000      # UART
        li    s4, 0x2000000       # msip
        li    s5, 1
main:   addi  s6, s6, 1
        andi  t0, s6, 7
        bnez  t0, quiet
        ecall                      # a trap now and then
quiet:  sb    s6, 0(s3)            # and output
        lbu   t1, 5(s3)
        add   s7, s7, t1
        andi  t0, s6, 63
        bnez  t0, store
        addi  t2, s0, 1            # wake the next hart
        li    t3, harts
        remu  t2, t2, t3
        slli  t2, t2, 2
        add   t2, t2, s4
        sw    s5, 0(t2)
        csrr  t3, time
        add   s7, s7, t3
store:  andi  t0, s6, 255
        slli  t0, t0, 3
        add   t0, t0, s1
        ld    t1, 0(t0)
        add   t1, t1, s6
        sd    t1, 0(t0)
        lr.d  t1, (s1)
        addi  t1, t1, 1
        sc.d  t2, t1, (s1)
        add   s8, s8, t2
        andi  t0, s6, 31
        bnez  t0, main
        wfi
        j     main
        .align 4
handler: csrr t4, mcause
        bltz  t4, interrupt
        csrr  t4, mepc
        addi  t4, t4, 4
        csrw  mepc, t4
        addi  s9, s9, 1
        mret
interrupt: slli t4, t4, 1
        srli  t4, t4, 1
        addi  t5, zero, 3
        beq   t4, t5, software
        csrr  t5, time
        addi  t5, t5, 4
        sd    t5, 0(s2)
        addi  s10, s10, 1
        mret
software: slli t5, s0, 2
        add   t5, t5, s4
        sw    zero, 0(t5)
        addi  s11, s11, 1
        mret
        .align 4096
data:   .dword 0
"""


def busy(harts: int) -> Machine:
    rig = Rig(harts=harts, memory=1 << 20)
    rig.write(BASE, BUSY, harts=harts)
    return rig.machine


def test_the_busy_program_does_all_that_it_is_for() -> None:
    machine = busy(3)
    machine.run(60_000)
    for hart in machine.harts:
        assert hart.x[22] > 300 and hart.x[25] > 30 and hart.x[26] > 10 and hart.x[27] > 1, list(hart.x)
        assert hart.idle > 0
    assert len(machine.console.take()) > 100


REFERENCE: dict[tuple[int, int], str] = {}


def reference(harts: int, steps: int) -> str:
    """The hash after a run in one piece."""
    if (harts, steps) not in REFERENCE:
        machine = busy(harts)
        machine.run(steps)
        REFERENCE[harts, steps] = machine.state_hash()
    return REFERENCE[harts, steps]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 3]), st.lists(st.integers(0, 6000), max_size=6))
def test_how_a_run_is_cut_changes_nothing(harts: int, cuts: list[int]) -> None:
    machine = busy(harts)
    done = 0
    for cut in sorted(cuts):
        exit = machine.run(cut - done)
        assert (exit.reason, exit.executed) == (ExitReason.BUDGET, cut - done)
        done = cut
    machine.run(6000 - done)
    assert machine.state_hash() == reference(harts, 6000)


@pytest.mark.parametrize("harts", [1, 3])
def test_single_steps_are_a_run(harts: int) -> None:
    machine = busy(harts)
    for _ in range(3000):
        machine.step()
    assert machine.executed == 3000
    assert machine.state_hash() == reference(harts, 3000)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(0, 5000), st.booleans())
def test_saving_in_the_middle_changes_nothing(harts: int, cut: int, elsewhere: bool) -> None:
    machine = busy(harts)
    machine.run(cut)
    state, ram = copy.deepcopy(machine.state()), machine.memory.read(BASE, 1 << 20)
    before = machine.state_hash()
    if elsewhere:
        machine = Machine.from_state(state)
        machine.memory.write(BASE, ram)
    else:
        for hart, saved in zip(machine.harts, state["harts"], strict=True):
            hart.restore(saved)
    assert machine.state() == state
    assert machine.state_hash() == before
    machine.run(5000 - cut)
    assert machine.state_hash() == reference(harts, 5000)


@pytest.mark.parametrize("harts", [1, 2])
def test_an_alarm_of_the_clock_comes_at_the_same_place_however_a_run_is_cut(harts: int) -> None:
    text = """
        csrr t0, mhartid
        li   t1, 0x800
        csrw mie, t1
        csrsi mstatus, 8
        li   s1, 0xc000000
        li   t1, 1
        sw   t1, 44(s1)          # priority of source 11
        li   t2, 0xc002000
        slli t3, t0, 8
        add  t2, t2, t3
        li   t1, 1 << 11
        sw   t1, 0(t2)           # enabled for this hart's M-mode
        bnez t0, loop
        li   s0, 0x101000
        lwu  a0, 0(s0)
        lwu  a1, 4(s0)
        slli a1, a1, 32
        or   a0, a0, a1
        li   a1, 12340
        add  a0, a0, a1
        srli a1, a0, 32
        sw   a1, 12(s0)
        sw   a0, 8(s0)           # an alarm 12340 ns from now
        li   a1, 1
        sw   a1, 16(s0)
loop:   addi s2, s2, 1
        j    loop
    """
    places = set()
    for cut in [0, *range(12_300, 26_000, 377)]:
        rig = Rig(text, harts=harts)
        rig.run(cut)
        rig.run(40_000 - cut)
        assert all(hart.traps() == [(M, 11, True, 1)] for hart in rig.machine.harts)
        places.add(tuple(hart.x[18] for hart in rig.machine.harts))
    assert len(places) == 1


@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("moved", [0, 100, 1 << 40, ONES - 50])
def test_an_alarm_of_the_clock_after_the_timer_was_moved(
    moved: int, harts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing mtime moves the time of day; the alarm comes 50 us behind its setting all the same."""
    rig = Rig("loop: addi a0, a0, 1\nj loop", harts=harts)
    rig.run(20_000 * harts)
    machine = rig.machine
    machine.set_time(moved)
    begun, rtc = rig.hart.clock, machine.rtc
    alarm = (rtc.now + 50_000) & ONES
    for offset, value in ((12, alarm >> 32), (8, alarm & 0xFFFF_FFFF), (16, 1)):
        rtc.write(offset, 4, value)
    looks, tick = 0, rtc.tick

    def counted() -> None:
        nonlocal looks
        looks += 1
        assert looks < 1000, "it hangs"
        tick()

    monkeypatch.setattr(rtc, "tick", counted)
    steps = 0
    while not rtc.pending and steps < 200_000:
        exit = machine.run(1000)
        assert exit.reason is ExitReason.BUDGET
        steps += 1000
    assert 0 <= rig.hart.clock - begun - 50_000 <= 2000


def test_a_run_ends_at_a_clock_too() -> None:
    rig = Rig("loop: addi a0, a0, 1\nj loop")
    exit = rig.machine.run(10_000, until=300)
    assert (exit.reason, exit.executed, rig.hart.clock) == (ExitReason.BUDGET, 300, 300)
    exit = rig.machine.run(10_000, until=300)
    assert (exit.executed, rig.hart.clock) == (0, 300)


def test_a_waiting_hart_sleeps_no_further_than_asked() -> None:
    rig = Rig("wfi\nli a0, 1", mie=1 << 7)
    rig.hart.mtimecmp = 50
    rig.machine.run(100, until=1234)
    assert (rig.hart.clock, rig.hart.waiting) == (1234, True)
    rig.machine.run(1)
    assert (rig.hart.clock, rig.x("a0")) == (5001, 1)


def test_a_run_of_nothing() -> None:
    rig = Rig("nop")
    before = rig.machine.state_hash()
    exit = rig.run(0)
    assert (exit.reason, exit.executed) == (ExitReason.BUDGET, 0)
    assert rig.machine.state_hash() == before


# --- breakpoints ---

LOOP = """
        li   a1, 100
loop:   addi a0, a0, 1
here:   addi a2, a2, 1
        addi a1, a1, -1
        bnez a1, loop
end:    j    end
"""


def stopped(exit: Exit, address: int) -> None:
    assert (exit.reason, exit.address) == (ExitReason.BREAKPOINT, address)


@pytest.mark.parametrize("warm", [False, True])
def test_a_breakpoint_in_a_loop_stops_every_time(warm: bool) -> None:
    rig = Rig(LOOP)
    if warm:
        rig.reach("end")
        rig.hart.pc = BASE
        rig.put(a0=0, a2=0)
    rig.machine.breakpoints.add(rig.program["here"])
    for n in range(100):
        exit = rig.machine.resume(10_000)
        stopped(exit, rig.program["here"])
        assert (rig.x("a0"), rig.x("a2"), rig.hart.pc) == (n + 1, n, rig.program["here"])
    assert rig.machine.resume(1000).reason is ExitReason.BUDGET
    assert rig.x("a2") == 100


def test_running_on_at_a_breakpoint_stays() -> None:
    rig = Rig(LOOP)
    rig.machine.breakpoints.add(rig.program["here"])
    for _ in range(3):
        stopped(rig.run(1000), rig.program["here"])
        assert rig.x("a2") == 0
    rig.machine.step()
    assert (rig.x("a2"), rig.hart.pc) == (1, rig.program["here"] + 4)


@pytest.mark.parametrize("distance", [1, 2, 3, 30, 100])
def test_resuming_elsewhere_does_not_pass_over_a_breakpoint(distance: int) -> None:
    rig = Rig("nop\n" * distance + "here: addi a0, a0, 1\nend: j end")
    rig.machine.breakpoints.add(rig.program["here"])
    stopped(rig.machine.resume(1000), rig.program["here"])
    assert rig.x("a0") == 0


def test_resuming_at_a_breakpoint_stops_at_the_next_one() -> None:
    rig = Rig("one: addi a0, a0, 1\ntwo: addi a0, a0, 1\nj one")
    rig.machine.breakpoints.add(rig.program["one"])
    rig.machine.breakpoints.add(rig.program["two"])
    for n in range(6):
        stopped(rig.machine.resume(1000), rig.program["two" if n % 2 == 0 else "one"])


def test_a_step_of_one_hart_does_not_let_another_pass() -> None:
    rig = Rig("csrr t0, mhartid\nbnez t0, other\nself: j self\nother: nop\nhere: addi a0, a0, 1\nj other", harts=2)
    rig.machine.breakpoints.add(rig.program["here"])
    rig.machine.step()
    exit = rig.run(10_000)
    stopped(exit, rig.program["here"])
    assert exit.hart == 1 and rig.machine.harts[1].x[10] == 0


def test_resuming_one_hart_does_not_let_another_pass() -> None:
    rig = Rig("addi a0, a0, 1\nself: j self", harts=2)
    rig.machine.breakpoints.add(BASE)
    for index in (0, 1):
        exit = rig.machine.resume(5000) if index else rig.run(5000)
        stopped(exit, BASE)
        assert exit.hart == index
    assert [hart.x[10] for hart in rig.machine.harts] == [1, 0]
    assert rig.machine.resume(5000).reason is ExitReason.BUDGET


def test_resuming_after_a_trap_does_not_pass_over_a_breakpoint_in_the_handler() -> None:
    rig = Rig("here: ecall")
    rig.machine.breakpoints.add(rig.program["here"])
    rig.machine.breakpoints.add(HANDLER)
    stopped(rig.run(10), rig.program["here"])
    stopped(rig.machine.resume(10), HANDLER)
    assert rig.csr("mcause") == 11


def test_resuming_where_an_interrupt_is_due_does_not_pass_over_a_breakpoint_in_the_handler() -> None:
    rig = Rig("here: nop", mstatus=MIE, mie=8)
    rig.machine.breakpoints.add(rig.program["here"])
    stopped(rig.run(10), rig.program["here"])
    rig.hart.wire(3, True)
    rig.write(HANDLER, "nop\nself: j self")
    rig.machine.breakpoints.add(HANDLER + 4)
    stopped(rig.machine.resume(10), HANDLER + 4)


@pytest.mark.parametrize("where", [0, 2, 0xFFC, 0xFFE, 0x1000, 0x1002])
def test_breakpoints_at_page_ends_and_on_short_instructions(where: int) -> None:
    rig = Rig("c.addi a0, 1\n" * 0x900)
    rig.machine.breakpoints.add(BASE + where)
    for _ in range(2):
        rig.hart.pc = BASE
        rig.put(a0=0)
        exit = rig.run(0x900)
        stopped(exit, BASE + where)
        assert (rig.x("a0"), exit.executed) == (where // 2, where // 2)


def test_a_breakpoint_on_an_instruction_across_pages() -> None:
    rig = Rig(".org 0xffa\nnop\nhere: addi a0, a0, 1\nj here")
    rig.hart.pc = BASE + 0xFFA
    rig.machine.breakpoints.add(rig.program["here"])
    for n in range(3):
        stopped(rig.machine.resume(100), rig.program["here"])
        assert rig.x("a0") == n


def test_a_breakpoint_inside_an_instruction_does_not_stop() -> None:
    rig = Rig(LOOP)
    rig.machine.breakpoints.add(rig.program["here"] + 2)
    assert rig.run(1000).reason is ExitReason.BUDGET


def test_a_breakpoint_is_an_address_not_a_place_in_memory() -> None:
    rig = Rig()
    tables = Tables(rig)
    tables.map(BASE, BASE, LEAF, 1)
    tables.map(0x4000_0000, BASE, LEAF, 1)
    rig.set(satp=tables.atp)
    rig.hart.mode = HS
    program = rig.write(
        BASE,
        """
        jal  ra, f
        li   t0, 0x40000000 - 0x80000000
        la   t1, g
        add  t1, t1, t0
        jalr zero, 0(t1)
g:      la   t1, f
        jalr ra, 0(t1)
        jal  ra, f
end:    j    end
        .org 0x100
f:      addi a0, a0, 1
        ret
    """,
    )
    alias = program["f"] - 0x4000_0000
    rig.machine.breakpoints.add(alias)
    for n in (1, 2):
        stopped(rig.machine.resume(1000), alias)
        assert rig.x("a0") == n


def test_breakpoints_hold_in_every_mode() -> None:
    for mode in (M, HS, VS):
        rig = Rig("nop\nhere: nop", mode=mode)
        rig.machine.breakpoints.add(rig.program["here"])
        stopped(rig.run(5), rig.program["here"])


def test_breakpoints_come_and_go() -> None:
    rig = Rig(LOOP)
    breakpoints = rig.machine.breakpoints
    breakpoints.add(rig.program["here"])
    breakpoints.add(rig.program["here"])
    assert len(breakpoints) == 1 and rig.program["here"] in breakpoints
    breakpoints.discard(rig.program["here"])
    breakpoints.discard(rig.program["here"])
    assert rig.run(1000).reason is ExitReason.BUDGET
    for n in range(256):
        breakpoints.add(0x1000 + 2 * n)
    with pytest.raises(ConfigurationError, match="256"):
        breakpoints.add(0x9000)
    assert 0x9000 not in breakpoints
    breakpoints.discard(0x1000)
    breakpoints.add(rig.program["end"])
    stopped(rig.run(10), rig.program["end"])


def test_breakpoints_change_nothing_else() -> None:
    plain, broken = busy(2), busy(2)
    program = assemble(BASE, BUSY, harts=2)
    broken.breakpoints.add(program["store"])
    broken.breakpoints.add(program["interrupt"])
    plain.run(5000)
    left, stops = 5000, 0
    while left:
        exit = broken.resume(left)
        left -= exit.executed
        stops += exit.reason is ExitReason.BREAKPOINT
    assert stops > 100
    for address in list(broken.breakpoints):
        broken.breakpoints.discard(address)
    assert broken.state_hash() == plain.state_hash()


# --- watchpoints ---


@pytest.mark.parametrize(
    ("text", "kinds", "hit", "size", "kind"),
    [
        ("sd a0, 0(a1)", WRITE, 0, 8, WRITE),
        ("sd a0, 0(a1)", BOTH, 0, 8, WRITE),
        ("sd a0, 0(a1)", READ, None, 0, 0),
        ("ld a2, 0(a1)", READ, 0, 8, READ),
        ("ld a2, 0(a1)", WRITE, None, 0, 0),
        ("sb a0, 3(a1)", WRITE, 3, 1, WRITE),
        ("sb a0, 4(a1)", WRITE, None, 0, 0),
        ("sb a0, -1(a1)", WRITE, None, 0, 0),
        ("sw a0, -1(a1)", WRITE, -1, 4, WRITE),
        ("sd a0, -7(a1)", WRITE, -7, 8, WRITE),
        ("sd a0, -8(a1)", WRITE, None, 0, 0),
        ("amoadd.w a2, a0, (a1)", WRITE, 0, 4, WRITE),
        ("lr.w a2, (a1)", READ, 0, 4, READ),
        ("c.sw a0, 0(a1)", WRITE, 0, 4, WRITE),
        ("fsw fa0, 0(a1)", WRITE, 0, 4, WRITE),
        ("fsh fa0, 2(a1)", WRITE, 2, 2, WRITE),
        ("amocas.q a2, a4, (a1)", WRITE, 0, 16, WRITE),
        ("cbo.zero (a1)", WRITE, 0, 64, WRITE),
        ("cbo.zero (a1)", READ, None, 0, 0),
        ("cbo.flush (a1)", BOTH, None, 0, 0),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_watchpoints(text: str, kinds: int, hit: int | None, size: int, kind: int, warm: bool) -> None:
    """Four bytes at DATA + 0x100 are watched. The run ends behind the instruction, which is complete."""
    rig = Rig(f"nop\n{text}\nnop\nnop", mstatus=3 << 13)
    at = DATA + 0x100
    rig.put(a0=0x1111_2222_3333_4444, a1=at)
    if warm:
        rig.run(4)
        rig.hart.pc = BASE
    rig.machine.watch(at, 4, kinds)
    exit = rig.run(4)
    if hit is None:
        assert exit.reason is ExitReason.BUDGET
        return
    assert (exit.reason, exit.address, exit.size, exit.kind, exit.executed) == (
        ExitReason.WATCHPOINT,
        at + hit,
        size,
        kind,
        2,
    )
    assert rig.hart.pc == BASE + 4 + len(rig.program.code) - 12
    if text.startswith("sd"):
        assert rig.load(at + hit) == 0x1111_2222_3333_4444
    assert rig.run(2).reason is ExitReason.BUDGET


def test_a_watch_in_a_loop_stops_every_time() -> None:
    rig = Rig("li a1, 10\nloop: sd a1, 0(a2)\naddi a1, a1, -1\nbnez a1, loop\nend: j end")
    rig.put(a2=DATA)
    rig.machine.watch(DATA, 8, WRITE)
    values = []
    while rig.run(1000).reason is ExitReason.WATCHPOINT:
        values.append(rig.load(DATA))
    assert values == list(range(10, 0, -1))


def test_a_watch_over_two_pages_and_a_store_over_both() -> None:
    rig = Rig("sd a0, 0(a1)\nld a2, 0(a1)\nnop")
    rig.put(a0=ONES, a1=DATA + 0xFFC)
    rig.machine.watch(DATA + 0x1000, 2, BOTH)
    exit = rig.run(3)
    assert exit.reason is ExitReason.WATCHPOINT and exit.kind == WRITE
    assert rig.load(DATA + 0xFFC) == ONES
    exit = rig.run(3)
    assert exit.reason is ExitReason.WATCHPOINT and exit.kind == READ and rig.x("a2") == ONES


def test_a_watch_is_physical_and_sees_guests() -> None:
    rig = Rig()
    first, second = Tables(rig), Tables(rig, guest=True, at=DATA + 0x8_0000)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        second.map(at, at, LEAF | 16, 1)
    first.map(BASE, BASE, LEAF, 1)
    first.map(0x12_3456_7000, DATA, LEAF)
    rig.set(vsatp=first.atp, hgatp=second.atp)
    rig.write(BASE, "sd a0, 8(a1)")
    rig.hart.mode = VS
    rig.put(a0=5, a1=0x12_3456_7000)
    rig.machine.watch(DATA + 8, 1, WRITE)
    exit = rig.run(1)
    assert (exit.reason, exit.address) == (ExitReason.WATCHPOINT, DATA + 8)


def test_an_access_that_faults_is_no_touch() -> None:
    rig = Rig("sd a0, 0(a1)")
    rig.put(a1=BASE + (4 << 20) - 4)
    rig.machine.watch(BASE + (4 << 20) - 8, 8, WRITE)
    assert rig.run(1).reason is ExitReason.BUDGET
    assert rig.trap() == (M, STORE_ACCESS, BASE + (4 << 20))


def test_watching_what_is_no_memory_is_refused() -> None:
    machine = Rig().machine
    for address, length in ((DEVICE, 8), (BASE, 0), (BASE + (4 << 20) - 4, 8), (ONES, 1)):
        with pytest.raises(ConfigurationError) as error:
            machine.watch(address, length, WRITE)
        assert "\n" not in str(error.value)
    for n in range(64):
        machine.watch(DATA + 8 * n, 8, WRITE)
    with pytest.raises(ConfigurationError):
        machine.watch(DATA + 8 * 64, 8, WRITE)
    assert len(machine.watches) == 64
    machine.watch(DATA, 8, 0)
    machine.watch(DATA + 8 * 64, 8, READ)
    assert (DATA + 8 * 64, 8, READ) in machine.watches and (DATA, 8, WRITE) not in machine.watches


def test_a_watch_that_was_taken_away() -> None:
    rig = Rig("sd a0, 0(a1)\nj 0x80000000")
    rig.put(a1=DATA)
    rig.machine.watch(DATA, 8, WRITE)
    assert rig.run(10).reason is ExitReason.WATCHPOINT
    rig.machine.watch(DATA, 8, 0)
    assert rig.run(10).reason is ExitReason.BUDGET


def test_watches_change_nothing_else() -> None:
    plain, watched = busy(1), busy(1)
    data = assemble(BASE, BUSY, harts=2)["data"]
    watched.watch(data, 8, BOTH)
    watched.watch(data + 80, 4, WRITE)
    plain.run(5000)
    left, stops = 5000, 0
    while left:
        exit = watched.run(left)
        left -= exit.executed
        stops += exit.reason is ExitReason.WATCHPOINT
    assert stops > 50
    for address, length, _ in watched.watches:
        watched.watch(address, length, 0)
    assert watched.state_hash() == plain.state_hash()


# --- devices ---

LOADS = [
    ("lb", 1, True),
    ("lbu", 1, False),
    ("lh", 2, True),
    ("lhu", 2, False),
    ("lw", 4, True),
    ("lwu", 4, False),
    ("ld", 8, True),
]


@pytest.mark.parametrize("offset", [0, 8, 0xFF8])
@pytest.mark.parametrize(("name", "size", "signed"), LOADS)
def test_reading_a_device(name: str, size: int, signed: bool, offset: int) -> None:
    rig, device = with_device(f"{name} a0, {offset - 2048}(a1)\nnop")
    rig.put(a1=DEVICE + 2048)
    exit = rig.run(1)
    pattern = (0x8182_8384_8586_8788).to_bytes(8, "little")
    assert (exit.reason, exit.executed, rig.hart.pc) == (ExitReason.BUDGET, 1, BASE + 4)
    assert rig.x("a0") == int.from_bytes(pattern[:size], "little", signed=signed) & ONES
    assert device.log == [("read", offset, size, 0)]


@pytest.mark.parametrize(("letter", "size"), [("b", 1), ("h", 2), ("w", 4), ("d", 8)])
def test_writing_a_device(letter: str, size: int) -> None:
    rig, device = with_device(f"s{letter} a0, {size}(a1)")
    rig.put(a0=0x1122_3344_5566_7788)
    rig.run(1)
    assert device.log == [("write", size, size, 0x1122_3344_5566_7788 & ((1 << 8 * size) - 1))]


def test_devices_and_floating_point_registers() -> None:
    rig, device = with_device("fld fa0, 0(a1)\nfsw fa0, 8(a1)\nflw fa1, 4(a1)", mstatus=1 << 13)
    rig.run(3)
    assert rig.hart.f[10] == 0x8182_8384_8586_8788
    assert rig.hart.f[11] == 0xFFFF_FFFF_8182_8384
    assert device.log == [("read", 0, 8, 0), ("write", 8, 4, 0x8586_8788), ("read", 4, 4, 0)]


@pytest.mark.parametrize(
    "text", ["lw a0, 2(a1)", "sd a0, 4(a1)", "amoadd.w a0, a0, (a1)", "lr.d a0, (a1)", "sc.d a0, a0, (a1)"]
)
def test_what_devices_do_not_take(text: str) -> None:
    """Misaligned and atomic accesses are access faults there."""
    rig, device = with_device(text)
    rig.run(1)
    trap = rig.trap()
    cause = LOAD_ACCESS if text.startswith("l") else STORE_ACCESS
    assert trap is not None and trap[1] == cause
    assert device.log == []


def test_fetching_from_a_device_is_an_access_fault() -> None:
    rig, device = with_device("jr a1")
    rig.run(2)
    assert rig.trap() == (M, 1, DEVICE)
    assert device.log == []


def test_the_bytes_behind_a_device_are_not_its() -> None:
    rig, _ = with_device("ld a0, 0(a1)")
    rig.put(a1=DEVICE + 0x1000)
    rig.run(1)
    assert rig.trap() == (M, LOAD_ACCESS, DEVICE + 0x1000)


def test_an_access_in_the_middle_of_a_block_happens_once() -> None:
    text = "addi a2, a2, 1\nld a0, 0(a1)\naddi a2, a2, 1\nsd a2, 8(a1)\naddi a2, a2, 1\n"
    for pieces in ([5], [1] * 5, [2, 3], [3, 2]):
        rig, device = with_device(text)
        assert [rig.run(piece).executed for piece in pieces] == pieces
        assert device.log == [("read", 0, 8, 0), ("write", 8, 8, 2)]
        assert (rig.x("a2"), rig.hart.instret) == (3, 5)


def test_an_interrupt_that_the_access_raises_is_taken_behind_it() -> None:
    for text in ("sw a0, 0(a1)", "lw a0, 0(a1)"):
        rig, device = with_device(f"{text}\nli a2, 1", lambda rig: rig.hart.wire(3, True), mstatus=MIE, mie=8)
        rig.run(10)
        assert len(device.log) == 1
        assert (rig.csr("mcause"), rig.csr("mepc"), rig.x("a2")) == (INTERRUPT | 3, BASE + 4, 0)


def test_an_interrupt_that_the_access_lowers_is_not_taken() -> None:
    rig, _ = with_device("csrsi mie, 8\nsw a0, 0(a1)\ncsrsi mstatus, 8\nnop", lambda rig: rig.hart.wire(3, False))
    rig.hart.wire(3, True)
    rig.run(4)
    assert rig.hart.traps() == []


@pytest.mark.parametrize("text", ["sd a0, 0(a1)\nld a2, 8(a1)\nend: j end", "ld a0, 0(a1)\nsd a2, 8(a1)\nend: j end"])
def test_a_stop_during_an_access_leaves_nothing_open(text: str) -> None:
    """The state that a stopped machine shows is whole: taken up elsewhere, the access does not happen again."""
    rig, device = with_device(text, lambda rig: rig.machine.stop())
    assert rig.run(100).reason is ExitReason.STOPPED
    assert len(device.log) == 1
    rig.hart.restore(rig.hart.state())
    rig.run(100)
    rig.run(100)
    assert [entry[:3] for entry in device.log] == [
        ("write" if text[0] == "s" else "read", 0, 8),
        ("read" if text[0] == "s" else "write", 8, 8),
    ]


def test_a_debugger_may_move_pc_after_any_stop() -> None:
    rig, device = with_device("ld a0, 0(a1)\nnop\nld a2, 8(a1)\nend: j end", lambda rig: rig.machine.stop())
    rig.run(100)
    rig.hart.pc = BASE + 8
    rig.run(100)
    assert ("read", 8, 8, 0) in device.log


def test_mtime_is_written_and_read() -> None:
    rig = Rig(
        """
        li   a1, 0x200bff8
        li   a0, 5000
        sd   a0, 0(a1)
        ld   a2, 0(a1)
        csrr a3, time
    """
        + "nop\n" * 100
        + "csrr a4, time"
    )
    rig.run(200)
    assert (rig.x("a2"), rig.x("a3"), rig.x("a4")) == (5000, 5000, 5001)


def test_the_finisher_ends_the_machine_behind_its_store() -> None:
    rig = Rig("li a0, 0x100000\nli a1, 0x5555\nsw a1, 0(a0)\nend: j end")
    exit = rig.run(100)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0)
    assert rig.hart.pc == rig.program["end"] and rig.machine.executed == rig.hart.instret
    assert rig.run(100).reason is ExitReason.HALTED


# --- stopping ---


@pytest.mark.parametrize(
    "text",
    ["self: j self", "loop: lbu a0, 5(a1)\nj loop", "loop: ecall\nj loop", "loop: addi a0, a0, 1\nbnez a0, loop"],
)
def test_another_thread_stops_a_run(text: str) -> None:
    rig = Rig(text)
    rig.write(HANDLER, "csrr t0, mepc\naddi t0, t0, 4\ncsrw mepc, t0\nli t0, 0x1800\ncsrs mstatus, t0\nmret")
    rig.put(a1=0x1000_0000)
    found: list[Exit] = []
    thread = threading.Thread(target=lambda: found.append(rig.run(1 << 50)))
    thread.start()
    time.sleep(0.05)
    begun = time.monotonic()
    rig.machine.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert found[0].reason is ExitReason.STOPPED and found[0].executed > 0
    assert time.monotonic() - begun < 0.5
    before = rig.machine.executed
    assert rig.run(100).executed == 100 and rig.machine.executed == before + 100


# --- several harts ---


def test_harts_take_turns_and_their_clocks_agree() -> None:
    rig = Rig("loop: addi a0, a0, 1\nj loop", harts=3)
    rig.run(3 * 5000)
    assert {hart.clock for hart in rig.machine.harts} == {5000}
    assert {hart.x[10] for hart in rig.machine.harts} == {2500}
    assert [hart.csr("mhartid") for hart in rig.machine.harts] == [0, 1, 2]


def test_one_hart_wakes_another() -> None:
    rig = Rig(
        """
        csrr t0, mhartid
        bnez t0, other
        li   t1, 0x2000004
        li   t2, 1
        li   t3, 2000
    wait: addi t3, t3, -1
        bnez t3, wait
        sw   t2, 0(t1)
    self: j  self
    other: csrwi mie, 8
        wfi
        csrr a0, mip
        li   a1, 1
    done: j  done
        """,
        harts=2,
    )
    rig.run(10_000)
    other = rig.machine.harts[1]
    assert (other.x[11], other.x[10] & 8) == (1, 8)
    assert other.idle > 0


def test_all_wait() -> None:
    rig = Rig("csrwi mie, 8\nwfi\nli a0, 1\nself: j self", harts=3)
    exit = rig.run(1000)
    assert (exit.reason, exit.executed) == (ExitReason.IDLE, 6)
    rig.machine.harts[2].wire(3, True)
    rig.run(100)
    assert [hart.x[10] for hart in rig.machine.harts] == [0, 0, 1]


def test_all_wait_for_the_earliest_timer() -> None:
    rig = Rig("li t0, 128\ncsrw mie, t0\nwfi\ncsrr a0, time\nself: j self", harts=3)
    for hart, when in zip(rig.machine.harts, (700, 300, 500), strict=True):
        hart.mtimecmp = when
    rig.run(300_000)
    assert [hart.x[10] for hart in rig.machine.harts] == [700, 300, 500]


def test_a_long_sleep_of_many_harts_takes_no_time() -> None:
    rig = Rig("li t0, 128\ncsrw mie, t0\nwfi\ncsrr a0, time\nself: j self", harts=3)
    for hart in rig.machine.harts:
        hart.mtimecmp = 1 << 50
    watchdog = threading.Timer(5, rig.machine.stop)
    watchdog.start()
    exit = rig.run(15)
    watchdog.cancel()
    assert exit.reason is ExitReason.BUDGET
    assert [hart.x[10] for hart in rig.machine.harts] == [1 << 50, 0, 0]


def test_halted_harts_do_not_run() -> None:
    rig = Rig("loop: addi a0, a0, 1\nj loop", harts=2)
    rig.machine.harts[0].halted = True
    rig.run(2000)
    assert [hart.x[10] for hart in rig.machine.harts] == [0, 1000]
    rig.machine.harts[1].halted = True
    assert rig.run(100).reason is ExitReason.IDLE


def test_a_step_of_a_chosen_hart() -> None:
    rig = Rig("loop: addi a0, a0, 1\nj loop", harts=3)
    rig.machine.step(2)
    assert rig.machine.harts[2].instret == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"harts": 0}, "harts"),
        ({"harts": 9}, "harts"),
        ({"memory": 4096}, "memory"),
        ({"memory": (1 << 20) + 1}, "memory"),
        ({"memory": 1 << 60}, "memory"),
    ],
)
def test_impossible_machines(options: dict[str, int], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as error:
        Machine(**options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


# --- states ---


def saved(harts: int = 2) -> dict[str, Any]:
    machine = busy(harts)
    machine.run(3000)
    machine.breakpoints.add(0x1234)
    machine.watch(DATA, 8, WRITE)
    return machine.state()


def test_breakpoints_watches_and_counts_are_part_of_the_state() -> None:
    state = saved()
    machine = Machine.from_state(copy.deepcopy(state))
    assert machine.state() == state
    assert list(machine.breakpoints) == [0x1234] and machine.watches == [(DATA, 8, WRITE)]
    assert machine.executed == 3000


def test_the_hash_sees_every_register_and_byte() -> None:
    rig = Rig("nop")
    hashes = {rig.machine.state_hash()}

    def changed(what: str) -> None:
        found = rig.machine.state_hash()
        assert found not in hashes, what
        hashes.add(found)

    for n in range(1, 32):
        rig.hart.x[n] = 1
        changed(f"x{n}")
    for n in range(32):
        rig.hart.f[n] = 1
        changed(f"f{n}")
    rig.store(BASE + (4 << 20) - 1, 1, 1)
    changed("memory")
    for name in ("mscratch", "vsscratch", "hgatp", "stimecmp", "pmpaddr3", "mcycle"):
        rig.set(**{name: 0x8000_0000})
        changed(name)
    rig.hart.mtimecmp = 5
    changed("mtimecmp")
    rig.hart.wire(9, True)
    changed("wire")
    rig.machine.console.feed(b"x")
    changed("console")
    rig.machine.set_time(99)
    changed("time")
    rig.hart.mode = HS
    changed("mode")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    if isinstance(value, dict):
        for key in value:
            found += paths(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            found += paths(value[index], (*at, index))
    return found


STATE = saved()
PATHS = paths(STATE)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([1 << 31, 1 << 32, 1 << 63, ONES, 1 << 64, -(1 << 63), 1 << 200]),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.floats(),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


def replaced(path: tuple[Any, ...], junk: Any, remove: bool) -> Any:
    state = copy.deepcopy(STATE)
    place = state
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = junk
    return state


def still_works(machine: Machine) -> None:
    """It runs, stops in time, and can be saved."""
    done = threading.Event()

    def bite() -> None:
        done.set()
        machine.stop()

    watchdog = threading.Timer(5, bite)
    watchdog.start()
    try:
        machine.run(2000)
    except EmulatorError:
        pass
    finally:
        watchdog.cancel()
    assert not done.is_set(), "it hangs"
    machine.state_hash()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), JUNK, st.booleans())
def test_a_damaged_state_is_refused_or_harmless(path: tuple[Any, ...], junk: Any, remove: bool) -> None:
    try:
        machine = Machine.from_state(replaced(path, junk, remove))
    except StateError as error:
        assert "\n" not in str(error)
        return
    still_works(machine)


@pytest.mark.parametrize("junk", [None, 5, "x", b"", [], {}, {"config": {}}, {"config": {"memory": 1 << 20}}])
def test_what_is_no_state_at_all(junk: Any) -> None:
    with pytest.raises(StateError):
        Machine.from_state(junk)


@pytest.mark.parametrize("place", ["halted", "htif", "watches", "breakpoints", "symbols", "schedule", "harts", "host"])
def test_lists_of_the_wrong_things(place: str) -> None:
    for junk in ([], [1], [1, 2, 3], [None] * 3, [[0] * 3], [[0] * 4], ["a", "b", "c"], "", "x", b"", b"abc", {"a": 1}):
        try:
            machine = Machine.from_state(copy.deepcopy(STATE) | {place: junk})
        except StateError as error:
            assert "\n" not in str(error)
        else:
            still_works(machine)


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, ONES), (0, ONES - 500), (0, 1 << 62), (1, 7), (2, ONES), (2, 1 << 63), (3, ONES), (4, ONES), (4, 1 << 63)],
)
def test_a_schedule_out_of_this_world_does_not_hang(index: int, value: int) -> None:
    state = copy.deepcopy(STATE)
    state["schedule"][index] = value
    try:
        machine = Machine.from_state(state)
    except StateError:
        return
    still_works(machine)


@pytest.mark.parametrize("name", ["clock", "idle", "mtimecmp", "reservation", "lines", "guest_lines", "events", "pc"])
@pytest.mark.parametrize("value", [ONES, 1 << 63, (1 << 62) - 2, ONES - 1])
def test_extreme_numbers_in_a_hart_do_not_hang(name: str, value: int) -> None:
    state = copy.deepcopy(STATE)
    state["harts"][0][name] = value
    try:
        machine = Machine.from_state(state)
    except StateError:
        return
    still_works(machine)


@pytest.mark.parametrize("clock", [1 << 40, (1 << 62) - 1])
def test_clocks_far_ahead_of_the_schedule_do_not_hang(clock: int) -> None:
    state = copy.deepcopy(STATE)
    for hart in state["harts"]:
        hart["clock"] = clock
    try:
        machine = Machine.from_state(state)
    except StateError:
        return
    still_works(machine)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_values_in_the_csrs_are_harmless(data: st.DataObject) -> None:
    """The storage behind the CSRs is taken as it comes, legal or not."""
    state = copy.deepcopy(STATE)
    csr = state["harts"][0]["csr"]
    for name in data.draw(st.lists(st.sampled_from(sorted(csr)), min_size=1, max_size=8)):
        if isinstance(csr[name], list):
            csr[name] = [data.draw(st.integers(0, 255)) for _ in csr[name]]
        else:
            csr[name] = data.draw(st.sampled_from([ONES, 0, 1 << 63, 0x5555_5555_5555_5555]) | st.integers(0, ONES))
    state["harts"][0]["prv"], state["harts"][0]["v"] = data.draw(
        st.sampled_from([(3, 0), (1, 0), (0, 0), (1, 1), (0, 1)])
    )
    try:
        machine = Machine.from_state(state)
    except StateError:
        return
    machine.memory.write(BASE, assemble(BASE, BUSY, harts=2).code)
    machine.memory.write(DATA, bytes(range(256)) * 16)
    still_works(machine)


def test_a_refused_state_leaves_the_hart_as_it_was() -> None:
    machine = busy(1)
    machine.run(1000)
    hart = machine.harts[0]
    before = hart.state()
    for key, junk in (("prv", 2), ("x", [0] * 31), ("pc", 3), ("ring", b""), ("csr", {}), ("v", 5), ("clock", -1)):
        with pytest.raises(StateError):
            hart.restore(before | {key: junk})
        assert hart.state() == before
    with pytest.raises(StateError):
        hart.restore({key: value for key, value in before.items() if key != "f"})


def test_a_program_object_tells_where_it_ends() -> None:
    program: Program = assemble(BASE, "nop\nc.nop")
    assert program.end == BASE + 6


def test_mpp_of_a_machine_trap_is_machine() -> None:
    rig = Rig("ebreak", mstatus=0)
    rig.run(1)
    assert rig.csr("mstatus") & MPP == MPP
