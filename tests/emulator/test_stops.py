"""Stops: breakpoints by world, watches by any address, CSR accesses, traps, changes of mode, console output.

The rules under all of it: a run stops exactly where it must and nowhere else, goes on from there without stopping
again, and ends in the state that a run without stops ends in.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from assembler import assemble
from rig import BASE, DATA, HANDLER, HS, LEAF, ONES, USER, VS, VU, M, Rig, Tables, U
from test_machine import BUSY, busy
from test_reset import START, kernel

from emulator import Hypervisor, Machine, guests
from emulator.boot import Recipe
from emulator.errors import ConfigurationError, EmulatorError
from emulator.hart import Exit, ExitReason, Mode
from emulator.machine import MIB
from emulator.stops import (
    GUEST_MODES,
    HOST_MODES,
    READ,
    WRITE,
    At,
    Change,
    CsrAccess,
    Hit,
    Printed,
    Scope,
    Space,
    Stop,
    Touch,
    Trap,
    Wanted,
)

BREAK, WATCH, EVENT, BUDGET = ExitReason.BREAKPOINT, ExitReason.WATCHPOINT, ExitReason.EVENT, ExitReason.BUDGET
ECALL_M, ECALL_U = 11, 8


def stop(machine: Machine, what: Wanted, **more: object) -> Stop:
    return machine.stops.add(Stop(what, **more))  # type: ignore[arg-type]


def go(machine: Machine, steps: int = 10_000) -> Exit:
    """On from where it stands, as who looks at it does."""
    return machine.resume(steps)


def hits(exit: Exit) -> list[int]:
    return [hit.stop.number for hit in exit.hits]


def only(exit: Exit) -> Hit:
    (hit,) = exit.hits
    return hit


# --- breakpoints ---

EVERYWHERE = """
        la   t0, here
        csrw mepc, t0
        csrw mstatus, a1          # MPP, MPV: where to
        li   a2, 1
        jal  here
        mret
here:   addi a0, a0, 1
        beqz a2, back
        li   a2, 0
        ret
back:   ecall
"""


@pytest.mark.parametrize(
    ("mode", "status"), [(HS, 1 << 11), (U, 0), (VS, 1 << 11 | 1 << 39), (VU, 1 << 39)], ids=lambda each: str(each)
)
def test_a_breakpoint_in_one_mode_passes_the_others(mode: Mode, status: int) -> None:
    rig = Rig(EVERYWHERE)
    rig.put(a1=status)
    here = rig.program["here"]
    mine = stop(rig.machine, At(here, Scope(frozenset({mode}))))
    exit = go(rig.machine)
    assert (exit.reason, exit.address, rig.hart.mode, rig.hart.pc) == (BREAK, here, mode, here)
    assert rig.x("a0") == 1, "M-mode has passed by"
    assert only(exit).stop is mine and mine.hits == 1
    assert go(rig.machine).reason is BUDGET and mine.hits == 1


def test_a_breakpoint_anywhere_stops_in_each() -> None:
    rig = Rig(EVERYWHERE)
    mine = stop(rig.machine, At(rig.program["here"]))
    modes = []
    while (exit := go(rig.machine)).reason is BREAK:
        modes.append(only(exit).mode)
    assert modes == [M, U] and mine.hits == 2


def test_a_breakpoint_in_one_guest_passes_the_others() -> None:
    rig = Rig("csrw mepc, a3\nmret\nhere: addi a0, a0, 1\necall")
    tables = Tables(rig, guest=True)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        tables.map(at, at, LEAF | USER, 1)
    rig.write(HANDLER, "csrr t0, hgatp; add t0, t0, a5; csrw hgatp, t0; csrw mepc, a3; mret")
    rig.set(hgatp=tables.atp | 1 << 44, mstatus=1 << 11 | 1 << 39)
    rig.put(a3=rig.program["here"], a5=1 << 44)
    mine = stop(rig.machine, At(rig.program["here"], Scope(GUEST_MODES, 5 << 44, 0x3FFF << 44)))
    exit = go(rig.machine)
    assert exit.reason is BREAK and only(exit).stop is mine
    assert rig.csr("hgatp") >> 44 & 0x3FFF == 5 and rig.x("a0") == 4, "guests 1 to 4 have passed by"
    whole = stop(rig.machine, At(rig.program["here"], Scope(GUEST_MODES, tables.atp & ONES, ONES ^ 0x3FFF << 44)))
    assert only(go(rig.machine)).stop is whole and rig.csr("hgatp") >> 44 & 0x3FFF == 6


def test_vms_at_the_same_addresses_are_told_apart() -> None:
    machine = Machine(memory=128 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    vms = [hypervisor.create_vm(name, memory=8 * MIB) for name in ("one", "two")]
    for vm in vms:
        vm.load_elf(guests.path("hello"))
    main = vms[1].symbols.find("main")
    assert main is not None and vms[0].symbols.find("main") == main
    mine = stop(machine, At(main, Scope(GUEST_MODES, vms[1].hgatp, ONES)))
    exit = go(machine, 10_000_000)
    assert exit.reason is BREAK and hypervisor.current is vms[1].vcpus[0]
    assert machine.harts[0].hgatp == vms[1].hgatp
    assert go(machine, 10_000_000).reason is ExitReason.HALTED and mine.hits == 1
    assert b"hello" in bytes(vms[0].console.output).lower() and b"hello" in bytes(vms[1].console.output).lower()


LOOP = """
        li   a1, 10
loop:   addi a0, a0, 1
here:   addi a2, a2, 1
        addi a1, a1, -1
        bnez a1, loop
end:    j    end
"""


def test_conditions_ignored_times_and_counts() -> None:
    rig = Rig(LOOP)
    here = rig.program["here"]
    odd = stop(rig.machine, At(here), condition=lambda machine, hit: machine.harts[hit.hart].x[10] % 2 == 1)
    late = stop(rig.machine, At(here), ignore=7)
    seen = []
    while (exit := go(rig.machine)).reason is BREAK:
        seen.append((rig.x("a0"), hits(exit)))
    assert seen == [(1, [1]), (3, [1]), (5, [1]), (7, [1]), (8, [2]), (9, [1, 2]), (10, [2])]
    assert (odd.hits, late.hits, late.ignore) == (5, 10, 0)


def test_once_disabled_and_hidden() -> None:
    rig = Rig(LOOP)
    here, stops = rig.program["here"], rig.machine.stops
    once = stop(rig.machine, At(here), temporary=True)
    off = stop(rig.machine, At(here), enabled=False)
    hidden = stops.add(Stop(At(here + 4)), hidden=True)
    assert (once.number, off.number, hidden.number) == (1, 2, 0)
    assert only(go(rig.machine)).stop is once and list(stops) == [off, hidden]
    assert only(go(rig.machine)).stop is hidden
    off.enabled = True
    stops.arm()
    stops.remove(hidden)
    assert only(go(rig.machine)).stop is off and rig.x("a0") == 2
    assert stops.find(2) is off and stops.find(1) is None and stops.find(0) is None


def test_a_condition_without_a_value_stops_and_says_why() -> None:
    def no(machine: Machine, hit: Hit) -> bool:
        raise EmulatorError("unknown name 'x'")

    rig = Rig(LOOP)
    stop(rig.machine, At(rig.program["here"]), condition=no)
    exit = go(rig.machine)
    assert exit.reason is BREAK and only(exit).trouble == "unknown name 'x'"


def test_plain_breakpoints_and_stops_share_a_place() -> None:
    rig = Rig(LOOP)
    here = rig.program["here"]
    rig.machine.breakpoints.add(here)
    never = stop(rig.machine, At(here), condition=lambda machine, hit: False)
    exit = go(rig.machine)
    assert (exit.reason, exit.address, exit.hits) == (BREAK, here, ())
    rig.machine.breakpoints.discard(here)
    assert go(rig.machine).reason is BUDGET and not never.hits and rig.x("a0") == 10
    rig.hart.pc = BASE
    rig.machine.breakpoints.add(here)
    rig.machine.stops.remove(never)
    assert rig.run(100).reason is BREAK


# --- watches ---


def test_a_watch_tells_old_and_new_and_the_instruction() -> None:
    rig = Rig("li a0, 5\nsd a0, 0(a2)\nwrite: sh a0, 2(a2)\nnop\nend: j end")
    rig.put(a2=DATA)
    rig.store(DATA, 0x1111)
    stop(rig.machine, Touch(DATA, 8))
    exit = go(rig.machine)
    assert exit.reason is WATCH and (only(exit).old, only(exit).value) == (0x1111, 5)
    exit = go(rig.machine)
    assert (only(exit).old, only(exit).value, only(exit).pc) == (5, 0x5_0005, rig.program["write"])
    assert rig.hart.pc == rig.program["write"] + 4, "behind the instruction"
    assert go(rig.machine).reason is BUDGET


@pytest.mark.parametrize(
    ("text", "kinds", "count"),
    [
        ("ld a3, 0(a2)", READ, 1),
        ("ld a3, 0(a2)", WRITE, 0),
        ("sb a0, 7(a2)", WRITE, 1),
        ("sb a0, 8(a2)", WRITE, 0),
        ("sb a0, -1(a2)", WRITE, 0),
        ("sd a0, -7(a2)", WRITE, 1),
        ("amoadd.d a3, a0, (a2)", READ, 1),
        ("amoadd.d a3, a0, (a2)", WRITE, 1),
        ("sc.d a3, a0, (a2)", READ, 0),
        ("cbo.zero (a2)", WRITE, 1),
        ("fld fa0, 0(a2)", READ, 1),
    ],
)
@pytest.mark.parametrize("space", [Space.VIRTUAL, Space.PHYSICAL])
def test_kinds_of_access(text: str, kinds: int, count: int, space: Space) -> None:
    rig = Rig(f"ld t0, 0(a2)\nsd t0, 0(a2)\nwarm: nop\n{text}\nend: j end", mstatus=3 << 13)
    rig.put(a0=1, a2=DATA)
    rig.reach("warm")
    mine = stop(rig.machine, Touch(DATA, 8, kinds, space))
    assert go(rig.machine).reason is (WATCH if count else BUDGET)
    assert go(rig.machine).reason is BUDGET and mine.hits == count


def test_a_watch_of_what_changes_or_becomes_a_value() -> None:
    rig = Rig("loop: sw a0, 0(a2)\nsw a0, 0(a2)\naddi a0, a0, 1\nblt a0, a1, loop\nend: j end")
    rig.put(a1=6, a2=DATA)
    changed = stop(rig.machine, Touch(DATA, 4, changed=True))
    equals = stop(rig.machine, Touch(DATA, 4, equals=3))
    seen = []
    while (exit := go(rig.machine)).reason is WATCH:
        seen.append((rig.load(DATA, 4), hits(exit)))
    assert seen == [(1, [1]), (2, [1]), (3, [1, 2]), (3, [2]), (4, [1]), (5, [1])]
    assert (changed.hits, equals.hits) == (5, 2)


def test_a_virtual_watch_follows_the_address_not_the_page() -> None:
    """The page is mapped after the watch was set, and later elsewhere; another address of the same page is no touch."""
    rig = Rig()
    tables = Tables(rig)
    tables.map(BASE, BASE, LEAF, 1)
    entry = tables.slot(0x40_0000)
    tables.map(0x41_0000, DATA, LEAF)
    rig.set(satp=tables.atp)
    program = rig.write(BASE, """
        sd a0, 0(a1)
        sd a0, 0(a2)
        sd a0, 8(a2)
        sd a3, 0(a4)
        sfence.vma
        sd a0, 0(a2)
        end: j end
    """)
    rig.hart.mode = HS
    tables.map(0x42_0000, entry & ~0xFFF, LEAF)
    rig.store(entry, DATA >> 12 << 10 | LEAF)
    rig.put(a0=7, a1=0x41_0000, a2=0x40_0000, a3=(DATA + 0x1000) >> 12 << 10 | LEAF, a4=0x42_0000 | entry & 0xFFF)
    stop(rig.machine, Touch(0x40_0000, 8))
    first, second = go(rig.machine), go(rig.machine)
    assert [only(each).pc for each in (first, second)] == [program.base + 4, program.base + 20]
    assert [only(each).touched.physical for each in (first, second)] == [DATA, DATA + 0x1000]  # type: ignore[union-attr]
    assert go(rig.machine).reason is BUDGET


def two_stages(rig: Rig) -> None:
    """VS-mode: 0x40_0000 and 0x50_0000 are guest-physical 0x1000_0000, which is DATA."""
    first, second = Tables(rig), Tables(rig, guest=True, at=DATA + 0x8_0000)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        second.map(at, at, LEAF | USER, 1)
    second.map(0x1000_0000, DATA, LEAF | USER)
    first.map(BASE, BASE, LEAF, 1)
    for at in (0x40_0000, 0x50_0000):
        first.map(at, 0x1000_0000, LEAF)
    rig.set(vsatp=first.atp, hgatp=second.atp | 3 << 44)
    rig.hart.mode = VS


@pytest.mark.parametrize(
    ("address", "space", "scope", "where"),
    [
        (0x40_0008, Space.VIRTUAL, Scope(), [4, 16]),
        (0x50_0008, Space.VIRTUAL, Scope(), [8]),
        (0x1000_0008, Space.GUEST, Scope(), [4, 8, 16]),
        (DATA + 8, Space.PHYSICAL, Scope(), [4, 8, 16]),
        (0x1000_0008, Space.VIRTUAL, Scope(), []),
        (0x1000_0008, Space.GUEST, Scope(GUEST_MODES, 3 << 44, 0x3FFF << 44), [4, 8, 16]),
        (0x1000_0008, Space.GUEST, Scope(GUEST_MODES, 4 << 44, 0x3FFF << 44), []),
        (0x40_0008, Space.VIRTUAL, Scope(frozenset({VU})), []),
        (DATA + 8, Space.PHYSICAL, Scope(HOST_MODES), []),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_three_kinds_of_address(address: int, space: Space, scope: Scope, where: list[int], warm: bool) -> None:
    rig = Rig()
    two_stages(rig)
    text = "again: nop\nsd a0, 8(a1)\nsd a0, 8(a2)\nsd a0, 16(a1)\nsd a0, 8(a1)\nbeqz a3, end\nj again\nend: j end"
    program = rig.write(BASE, text)
    rig.put(a0=1, a1=0x40_0000, a2=0x50_0000, a3=int(warm))
    if warm:
        rig.run(7)
        rig.put(a3=0)
    mine = stop(rig.machine, Touch(address, 8, WRITE, space, scope))
    seen = []
    while (exit := go(rig.machine)).reason is WATCH:
        seen.append(only(exit).pc - program.base)
    assert seen == where and mine.hits == len(where)


def test_what_hlv_and_mprv_touch_is_the_guests() -> None:
    rig = Rig()
    two_stages(rig)
    rig.write(BASE, "hsv.d a0, (a1)\ncsrs mstatus, a2\nsd a0, 0(a1)\nend: j end")
    rig.hart.mode = M
    rig.set(hstatus=1 << 8)
    rig.put(a0=1, a1=0x40_0000, a2=1 << 17 | 1 << 11 | 1 << 39)
    stop(rig.machine, Touch(0x1000_0000, 8, WRITE, Space.GUEST, Scope(frozenset({VS}))))
    for _ in range(2):
        exit = go(rig.machine)
        assert exit.reason is WATCH and only(exit).mode is VS and rig.hart.mode is M
    assert go(rig.machine).reason is BUDGET


def test_a_store_over_two_pages_and_a_range_over_more() -> None:
    rig = Rig("sd a0, 0(a1)\nsd a0, 8(a1)\nend: j end")
    rig.put(a0=ONES, a1=DATA + 0xFFC)
    stop(rig.machine, Touch(DATA + 0x1000, 4))
    exit = go(rig.machine)
    assert exit.reason is WATCH and (only(exit).old, only(exit).value) == (0, 0xFFFF_FFFF)
    assert go(rig.machine).reason is BUDGET
    rig.hart.pc = BASE
    rig.put(a1=DATA + 0x2000)
    stop(rig.machine, Touch(DATA + 0xFFC, 0x2000))
    assert only(go(rig.machine)).pc == BASE and only(go(rig.machine)).pc == BASE + 4


# --- CSRs ---


@pytest.mark.parametrize(
    ("text", "mode", "what", "values"),
    [
        ("csrw mscratch, a0", M, CsrAccess("mscratch"), (0, 5)),
        ("csrw sscratch, a0", VS, CsrAccess("vsscratch"), (0, 5)),
        ("csrw sscratch, a0", VS, CsrAccess("sscratch"), None),
        ("csrw sscratch, a0", HS, CsrAccess("vsscratch"), None),
        ("csrw vsscratch, a0", HS, CsrAccess("vsscratch"), (0, 5)),
        ("csrsi sstatus, 2", HS, CsrAccess("mstatus"), (0x2_0000_0000, 0x2_0000_0002)),
        ("csrsi sstatus, 2", VS, CsrAccess("vsstatus"), (0x2_0000_0000, 0x2_0000_0002)),
        ("csrsi sstatus, 2", VS, CsrAccess("mstatus"), None),
        ("csrr a1, mscratch", M, CsrAccess("mscratch"), None),
        ("csrr a1, mscratch", M, CsrAccess("mscratch", READ), (0, 0)),
        ("csrs mscratch, zero", M, CsrAccess("mscratch"), None),
        ("csrw mscratch, a0", M, CsrAccess("mscratch", READ), None),
        ("csrrw a1, mscratch, a0", M, CsrAccess("mscratch", READ), (0, 0)),
        ("csrrw a1, mscratch, a0", M, CsrAccess("mscratch", READ | WRITE), (0, 5)),
        ("csrw mscratch, zero", M, CsrAccess("mscratch", changed=True), None),
        ("csrw mscratch, a0", M, CsrAccess("mscratch", changed=True), (0, 5)),
        ("csrw mscratch, a0", M, CsrAccess("mscratch", scope=Scope(GUEST_MODES)), None),
        ("csrw mvendorid, a0", M, CsrAccess("mvendorid"), None),
        ("csrw mie, a0", M, CsrAccess("mie"), (0, 4)),  # VSSIE
    ],
)
def test_csr_accesses(text: str, mode: Mode, what: CsrAccess, values: tuple[int, int] | None) -> None:
    rig = Rig(f"{text}\nend: j end", mode=mode)
    rig.put(a0=5)
    mine = stop(rig.machine, what)
    exit = go(rig.machine)
    if values is None:
        assert exit.reason is BUDGET and not mine.hits
        return
    assert exit.reason is EVENT and (only(exit).old, only(exit).value) == values
    assert exit.executed == 1 and rig.hart.pc == BASE + 4 and only(exit).mode is mode
    assert go(rig.machine).reason is BUDGET and mine.hits == 1


# --- traps and modes ---

CALLS = """
        csrw  medeleg, zero
again:  ecall
        .word 0
        addi  a0, a0, 1
        bltu  a0, a1, again
end:    j     end
"""
RETURN = "csrr t0, mepc; addi t0, t0, 4; csrw mepc, t0; mret"


def test_traps_by_cause_stand_at_the_handler() -> None:
    rig = Rig(CALLS)
    rig.write(HANDLER, RETURN)
    rig.put(a1=3)
    mine = stop(rig.machine, Trap(1 << ECALL_M, 0))
    for count in range(3):
        exit = go(rig.machine)
        hit = only(exit)
        assert exit.reason is EVENT and hit.seen is not None
        assert (hit.pc, hit.seen.cause, hit.seen.origin, hit.seen.target) == (rig.program["again"], ECALL_M, M, M)
        assert rig.hart.pc == HANDLER and rig.x("a0") == count and rig.csr("mcause") == ECALL_M
    assert go(rig.machine).reason is BUDGET and mine.hits == 3 and rig.csr("mcause") == 2


def test_a_breakpoint_at_the_handler_comes_after_the_trap() -> None:
    rig = Rig(CALLS)
    rig.write(HANDLER, RETURN)
    stop(rig.machine, Trap(1 << ECALL_M, 0))
    stop(rig.machine, At(HANDLER))
    assert hits(rig.machine.run(1000)) == [1]
    assert hits(rig.machine.run(1000)) == [2], "run, not resume: the breakpoint was not told yet"


@pytest.mark.parametrize(
    ("what", "count"),
    [
        (Trap(), 2),
        (Trap(origins=frozenset({U})), 1),
        (Trap(targets=frozenset({HS})), 1),
        (Trap(origins=frozenset({U}), targets=frozenset({M})), 0),
        (Trap(scope=Scope(frozenset({HS}))), 1),
        (Trap(interrupts=0, exceptions=1 << ECALL_U), 1),
        (Trap(exceptions=0), 0),
        (Change(frozenset({(U, HS)})), 1),
        (Change(frozenset({(HS, U), (HS, M)})), 2),
        (Change(frozenset({(HS, HS)})), 0),
        (Change(frozenset({(M, HS)})), 1),
    ],
)
def test_traps_and_changes_by_mode(what: Wanted, count: int) -> None:
    """M to HS by MRET, to U by SRET, to HS by a call, to M by another."""
    rig = Rig("la t0, super; csrw mepc, t0; mret\nsuper: la t0, user; csrw sepc, t0; sret\nuser: ecall")
    rig.set(medeleg=1 << ECALL_U, mstatus=1 << 11)
    rig.write(HANDLER + 0x1000, "ecall")
    mine = stop(rig.machine, what)
    for _ in range(count):
        assert go(rig.machine).reason is EVENT
    assert go(rig.machine).reason is BUDGET and mine.hits == count


def test_interrupts_by_code() -> None:
    rig = Rig("end: j end", mie=1 << 7 | 1 << 3, mstatus=1 << 3)
    rig.hart.mtimecmp = 5
    timer, software = (stop(rig.machine, Trap(0, 1 << code)) for code in (7, 3))
    exit = go(rig.machine)
    seen = only(exit).seen
    assert exit.reason is EVENT and seen is not None and seen.cause == 1 << 63 | 7 and rig.hart.pc == HANDLER
    assert (timer.hits, software.hits) == (1, 0)
    assert rig.hart.clock == 500


def test_worlds_entered_and_left() -> None:
    """The hypervisor enters VMID 1 and VMID 2 in turn, by SRET; each calls it."""
    rig = Rig("ecall", mode=M)
    rig.write(HANDLER + 0x1000, "csrr t0, hgatp; xor t0, t0, a5; csrw hgatp, t0; csrw sepc, a3; sret")
    rig.set(medeleg=1 << 10, hstatus=1 << 7, mstatus=1 << 8, hgatp=8 << 60 | 1 << 44)
    tables = Tables(rig, guest=True)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        tables.map(at, at, LEAF | USER, 1)
    rig.set(hgatp=tables.atp | 1 << 44)
    rig.put(a3=BASE, a5=3 << 44)
    rig.hart.mode = VS
    second = Scope(GUEST_MODES, 2 << 44, 0x3FFF << 44)
    entered = stop(rig.machine, Change(frozenset({(HS, VS)}), second))
    left = stop(rig.machine, Change(frozenset({(VS, HS)}), second))
    seen = []
    for _ in range(4):
        exit = go(rig.machine)
        seen.append((hits(exit), rig.hart.mode, rig.csr("hgatp") >> 44 & 0x3FFF))
    assert seen == [([1], VS, 2), ([2], HS, 2)] * 2 and (entered.hits, left.hits) == (2, 2)


def test_two_harts_and_who_it_was() -> None:
    rig = Rig("csrr a0, mhartid\ncsrw mscratch, a0\nsd a0, 0(a2)\nhere: nop\nend: j end", harts=2)
    for hart in rig.machine.harts:
        hart.x[12] = DATA + 8 * hart.index
    stop(rig.machine, CsrAccess("mscratch"))
    stop(rig.machine, Touch(DATA, 16))
    stop(rig.machine, At(rig.program["here"]))
    seen = []
    while (exit := rig.machine.run(10_000)).reason is not BREAK or len(seen) < 5:
        seen.append((exit.hart, only(exit).hart, hits(exit)[0]))
        if exit.reason is BREAK:
            exit = rig.machine.resume(1)
    assert [*seen, (exit.hart, only(exit).hart, 3)] == [(hart, hart, number) for hart in (0, 1) for number in (1, 2, 3)]


# --- consoles ---


def test_console_output_stops_behind_the_store() -> None:
    rig = Rig("loop: lbu a0, 0(a1); beqz a0, end; sb a0, 0(a2); addi a1, a1, 1; j loop\nend: j end")
    rig.machine.memory.write(DATA, b"one login: two login: ")
    rig.put(a1=DATA, a2=0x1000_0000)
    mine = stop(rig.machine, Printed(b"login:"))
    for end in (10, 21):
        exit = go(rig.machine)
        assert exit.reason is EVENT and only(exit).console == "console"
        assert rig.hart.pc == rig.program["loop"] + 12 and rig.x("a1") == DATA + end - 1
        assert bytes(rig.machine.console.output).endswith(b"login:")
    assert go(rig.machine).reason is BUDGET and mine.hits == 2


# --- the built-in hypervisor ---


def with_vms(*names: str) -> tuple[Machine, Hypervisor]:
    machine = Machine(memory=128 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    for name in names:
        hypervisor.create_vm(name, memory=8 * MIB).load_elf(guests.path(name))
    return machine, hypervisor


def test_exits_of_a_vm_by_cause() -> None:
    machine, hypervisor = with_vms("exits")
    (vm,) = hypervisor.vms
    what = Trap(1 << 21, 0, GUEST_MODES, HOST_MODES, Scope(GUEST_MODES, vm.hgatp, ONES))
    mine = stop(machine, what)
    before = 0
    while (exit := go(machine, 1_000_000)).reason is EVENT:
        last = vm.last_exit
        assert last is not None and last.name == "EXC_LOAD_GUEST_PAGE_FAULT" and only(exit).pc == last.pc
        assert vm.exits[last.name] == before + 1 and vm.vcpus[0].inside, "dealt with, and entered again"
        before += 1
    assert exit.reason is ExitReason.HALTED and exit.code == 0
    assert mine.hits == before == vm.exits["EXC_LOAD_GUEST_PAGE_FAULT"] > 0


def test_world_switches_and_consoles_of_vms() -> None:
    machine, hypervisor = with_vms("ticker", "hello")
    ticker, hello = hypervisor.vms
    scope = Scope(GUEST_MODES, hello.hgatp, ONES)
    entered = stop(machine, Change(frozenset({(HS, VS), (HS, VU)}), scope), temporary=True)
    exit = go(machine, 10_000_000)
    assert only(exit).stop is entered and hypervisor.current is hello.vcpus[0] and machine.harts[0].mode is VS
    assert ticker.instructions and not hello.instructions
    assert not len(machine.stops)
    stop(machine, Printed(b"SBI console", "hello"))
    exit = go(machine, 10_000_000)
    assert only(exit).console == "hello" and bytes(hello.console.output).endswith(b"through the SBI console\r\n")


# --- nothing changes ---


def everything(machine: Machine, place: int, data: int) -> None:
    """Stops of all kinds, some of which never end the run."""
    no = {"condition": lambda machine, hit: False}
    for more in ({}, no):
        stop(machine, At(place), **more)
        stop(machine, Touch(data, 8, READ | WRITE), **more)
        stop(machine, Touch(data, 64, WRITE, Space.GUEST), **more)
        stop(machine, Trap(), **more)
        stop(machine, Change(frozenset((a, b) for a in Mode for b in Mode)), **more)
        stop(machine, CsrAccess("mepc", READ | WRITE), **more)
        stop(machine, Printed(b"!"), **more)


@pytest.mark.parametrize("harts", [1, 2])
def test_a_run_with_stops_ends_where_one_without_does(harts: int) -> None:
    labels = assemble(BASE, BUSY, harts=harts)
    plain, stopped = busy(harts), busy(harts)
    everything(stopped, labels["main"], labels["data"])
    assert stopped.state_hash() == plain.state_hash(), "they are no part of the state"
    plain.run(6000)
    left, count, last = 6000, 0, BUDGET
    while left:
        exit = (stopped.resume if last is BREAK else stopped.run)(left)
        left, last = left - exit.executed, exit.reason
        count += exit.reason is not BUDGET
    assert count > 100
    assert stopped.state_hash() == plain.state_hash()
    assert not any(each.hits for each in list(stopped.stops)[7:]) and list(stopped.stops)[3].hits > 20


def test_the_same_with_vms_however_the_run_is_cut() -> None:
    plain, _ = with_vms("hello", "pages")
    whole, _ = with_vms("hello", "pages")
    cut, _ = with_vms("hello", "pages")
    plain.run(60_000)
    seen: list[list[tuple[int, list[int]]]] = []
    for machine, piece in ((whole, 60_000), (cut, 1997)):
        everything(machine, guests_main(), 0x8000_4000)
        machine.stops.remove(next(each for each in machine.stops if isinstance(each.what, Trap)))
        told, last = [], BUDGET
        while machine.executed < 60_000:
            exit = (machine.resume if last is BREAK else machine.run)(min(piece, 60_000 - machine.executed))
            last = exit.reason
            if exit.hits:
                told.append((machine.executed, hits(exit)))
        seen.append(told)
    assert seen[0] == seen[1] and len(seen[0]) > 10
    assert plain.state_hash() == whole.state_hash() == cut.state_hash()


def guests_main() -> int:
    from emulator.loader import read_elf

    address = read_elf(guests.path("hello")).symbols.find("main")
    assert address is not None
    return address


# --- limits, and machines that change ---


def test_what_cannot_be_is_refused_and_leaves_nothing() -> None:
    machine = Rig().machine
    for what, says in (
        (Touch(0x3000_0000, 8, WRITE, Space.PHYSICAL), "not RAM"),
        (Touch(DATA, 0), "1 to 4G"),
        (Touch(DATA, 16, equals=1), "at most 8 bytes"),
        (CsrAccess("nosuch"), "no CSR"),
        (Printed(b""), "1 to 256"),
    ):
        with pytest.raises((ConfigurationError, KeyError), match=says):
            stop(machine, what)
    assert not len(machine.stops)
    for n in range(256):
        stop(machine, At(0x1000 + 2 * n))
    with pytest.raises(ConfigurationError, match="256 breakpoints"):
        stop(machine, At(0x9000))
    for n in range(64):
        stop(machine, Touch(DATA + 8 * n))
    with pytest.raises(ConfigurationError, match="64 watches"):
        stop(machine, Touch(DATA + 0x1000))
    assert len(machine.stops) == 320
    machine.stops.remove(next(iter(machine.stops)))
    assert stop(machine, At(0x9000)).number == 321


def test_a_csr_that_the_hart_lacks() -> None:
    with pytest.raises(ConfigurationError, match="no CSR hgatp"):
        stop(Machine(memory=MIB, isa="rv64gc"), CsrAccess("hgatp"))


def test_stops_survive_a_reset(tmp_path: Path) -> None:
    path = tmp_path / "kernel.bin"
    path.write_bytes(kernel("li t0, 0x100000; li t1, 0x7777; sw t1, 0(t0)"))
    machine = Machine(memory=64 * MIB)
    machine.recipe = Recipe("", kernel=path)
    machine.recipe.start(machine)
    place, printed = stop(machine, At(START)), stop(machine, Printed(b"2"))
    renewed: list[int] = []
    machine.stops.renewed = lambda: renewed.append(machine.resets)
    assert hits(machine.run(1_000_000)) == [1]
    assert hits(go(machine, 1_000_000)) == [1] and machine.resets == 1 and renewed == [1]
    assert hits(go(machine, 1_000_000)) == [2]
    assert go(machine, 1_000_000).reason is ExitReason.HALTED and (place.hits, printed.hits) == (2, 1)
