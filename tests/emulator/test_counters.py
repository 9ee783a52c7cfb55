"""The counters: what they count, in which modes, and the exact instruction at which one overflows.

Sections named are those of the privileged manual: "Hardware Performance Monitor", "Sscofpmf", "Smcntrpmf".
"""

from __future__ import annotations

import random

import pytest
from rig import BASE, HS, INTERRUPT, MIE, MPV, ONES, SPP, SPV, TABLES, VS, VU, M, Rig, U
from test_csr_rules import Rig as Access

from emulator.hart import ExitReason, Mode
from emulator.isa.csrs import EVENTS, FIRST_COUNTER

CODE = {name: code for code, (name, _) in EVENTS.items()}
OF, MINH, SINH, UINH, VSINH, VUINH = (1 << bit for bit in (63, 62, 61, 60, 59, 58))
EVERY_MODE = MINH | SINH | UINH | VSINH | VUINH
LCOFI = 1 << 13
SV39 = 8 << 60


def nops(count: int) -> str:
    return "nop\n" * count


# --- What is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [3, 4, 17, 31])
def test_instructions(number: int) -> None:
    rig = Rig(nops(50), **{f"mhpmevent{number}": CODE["INSTRUCTIONS"]})
    rig.run(20)
    assert rig.csr(f"mhpmcounter{number}") == rig.csr(f"hpmcounter{number}") == 20
    rig.set(**{f"mhpmcounter{number}": 7})
    rig.run(5)
    assert rig.csr(f"mhpmcounter{number}") == 12
    other = 3 if number != 3 else 4
    assert rig.csr(f"mhpmcounter{other}") == 0, "no event is selected"


def test_cycles_go_on_while_the_hart_waits_and_instructions_do_not() -> None:
    rig = Rig("nop; wfi; nop; nop", mhpmevent3=CODE["CYCLES"], mhpmevent4=CODE["INSTRUCTIONS"], mie=1 << 7)
    rig.hart.mtimecmp = 10  # at instruction 1000
    rig.run(4)
    assert rig.hart.pc == BASE + 16
    assert rig.csr("mhpmcounter3") == 1002 == rig.csr("mcycle")
    assert rig.csr("mhpmcounter4") == 4 == rig.csr("minstret")


# (event, mode, program, CSRs, steps, how often it happens)
HAPPENINGS = [
    ("EXCEPTIONS", U, "ecall", {}, 1, 1),
    ("EXCEPTIONS", HS, "nop; nop", {"mie": 2, "mip": 2}, 2, 0),
    ("INTERRUPTS", HS, "nop; nop", {"mie": 2, "mip": 2}, 2, 1),
    ("INTERRUPTS", U, "ecall", {}, 1, 0),
    ("EXITS", VS, "ecall", {}, 1, 1),
    ("EXITS", VU, "ecall", {"medeleg": ONES, "hedeleg": 0}, 1, 1),
    ("EXITS", VU, "ecall", {"medeleg": ONES, "hedeleg": ONES}, 1, 0),
    ("EXITS", VU, "nop", {"mie": ONES, "hideleg": 0, "hvip": 1 << 2}, 1, 1),
    ("EXITS", VU, "nop", {"mie": ONES, "hideleg": ONES, "hvip": 1 << 2}, 1, 0),
    ("EXITS", HS, "ecall", {}, 1, 0),
    ("PAGE_FAULTS", HS, "", {"satp": SV39 | TABLES >> 12}, 1, 1),
    ("PAGE_FAULTS", VS, "", {"hgatp": SV39 | TABLES >> 12}, 1, 0),
    ("GUEST_PAGE_FAULTS", VS, "", {"hgatp": SV39 | TABLES >> 12}, 1, 1),
    ("GUEST_PAGE_FAULTS", HS, "", {"satp": SV39 | TABLES >> 12}, 1, 0),
    ("CALLS", M, "ecall", {}, 1, 1),
    ("CALLS", HS, "ecall", {}, 1, 1),
    ("CALLS", VU, "ecall", {}, 1, 1),
    ("CALLS", U, "ebreak", {}, 1, 0),
    ("REFUSALS", VS, "csrr a0, hstatus", {}, 1, 1),
    ("REFUSALS", HS, "csrr a0, mstatus", {}, 1, 1),
    ("REFUSALS", HS, "csrr a0, sstatus", {}, 1, 0),
    ("RETURNS", M, "mret", {"mepc": BASE}, 1, 1),
    ("RETURNS", HS, "sret", {"sepc": BASE}, 1, 1),
    ("RETURNS", VS, "sret", {"vsepc": BASE}, 1, 1),
    ("RETURNS", U, "sret", {}, 1, 0),
    (
        "FENCES",
        HS,
        "sfence.vma; hfence.gvma zero, zero; hfence.vvma zero, zero; sinval.vma zero, zero; nop; fence.i",
        {},
        6,
        4,
    ),
    ("FENCES", U, "sfence.vma", {}, 1, 0),
    ("WAITS", HS, "wfi; nop", {"mie": 0}, 2, 1),
    ("WAITS", HS, "wfi; nop", {"mie": 2, "mip": 2, "mideleg": 2, "mstatus": 0}, 2, 0),
    ("SWITCHES", HS, "csrw hgatp, a0; csrw hgatp, a0; csrw hgatp, zero", {}, 3, 2),
    ("NONE", HS, "ecall", {}, 1, 0),
]


@pytest.mark.parametrize(
    ("event", "mode", "program", "csrs", "steps", "expected"), HAPPENINGS, ids=[f"{r[0]} {r[1].name} {r[5]} {i}"
    for i, r in enumerate(HAPPENINGS)],
)  # fmt: skip
def test_events(event: str, mode: Mode, program: str, csrs: dict[str, int], steps: int, expected: int) -> None:
    inhibit = {M: MINH, HS: SINH, U: UINH, VS: VSINH, VU: VUINH}[mode]
    rig = Rig(program, mode=mode, **csrs)
    rig.put(a0=SV39 | TABLES >> 12)
    rig.set(
        mhpmevent3=CODE[event], mhpmevent4=CODE[event] | inhibit, mhpmevent5=CODE[event] | EVERY_MODE & ~inhibit,
        mhpmevent6=CODE[event], mcountinhibit=1 << 6,
    )  # fmt: skip
    rig.run(steps)
    assert rig.csr("mhpmcounter3") == expected
    assert rig.csr("mhpmcounter4") == 0, "inhibited in the mode where it happens"
    assert rig.csr("mhpmcounter5") == expected, "inhibited elsewhere"
    assert rig.csr("mhpmcounter6") == 0, "mcountinhibit"


def test_every_event_is_tried() -> None:
    assert {row[0] for row in HAPPENINGS} | {"CYCLES", "INSTRUCTIONS"} == set(CODE)


def test_a_host_that_changes_the_mode_executes_no_instruction() -> None:
    rig = Rig(nops(4), mhpmevent3=CODE["RETURNS"], mhpmevent4=CODE["INSTRUCTIONS"] | MINH)
    rig.hart.mode = HS
    rig.run(2)
    rig.hart.mode = M
    rig.run(2)
    assert rig.csr("mhpmcounter3") == 0
    assert rig.csr("mhpmcounter4") == 2


# --- In which modes ---------------------------------------------------------------------------------------------------

ROUND = """
        la   t0, inner
        csrw mepc, t0
        csrrs zero, mstatus, t1
        mret
inner:  nop
        nop
        ecall
        nop
        nop
end:    j    end
        .org 0x100
trap:   csrw mepc, t2
        mret
"""
# Retired in the mode: the nops, for ECALL does not. In M-mode: la is two, csrw, csrrs, mret; in the handler csrw, mret.
INSIDE, OUTSIDE = 4, 7


@pytest.mark.parametrize("counter", ["minstret", "mcycle", "mhpmcounter3", "mhpmcounter9"])
@pytest.mark.parametrize("mode", [U, HS, VS, VU], ids=lambda mode: mode.name)
def test_mode_filters(mode: Mode, counter: str) -> None:
    """ "Counter Behavior": a trap is not an instruction, and xRET is one of the mode it leaves."""
    status = (1 << 11 if mode in (HS, VS) else 0) | (MPV if mode.virtual else 0)
    own = {U: UINH, HS: SINH, VS: VSINH, VU: VUINH}[mode]
    setup = {
        "minstret": "minstretcfg",
        "mcycle": "mcyclecfg",
        "mhpmcounter3": "mhpmevent3",
        "mhpmcounter9": "mhpmevent9",
    }
    base = {"mhpmcounter3": CODE["INSTRUCTIONS"], "mhpmcounter9": CODE["CYCLES"]}.get(counter, 0)
    for filter, expected in (
        (0, INSIDE + OUTSIDE), (own, OUTSIDE), (MINH, INSIDE), (MINH | own, 0), (EVERY_MODE, 0),
        (EVERY_MODE & ~own, INSIDE), (EVERY_MODE & ~MINH, OUTSIDE), (EVERY_MODE & ~own & ~MINH, INSIDE + OUTSIDE),
    ):  # fmt: skip
        rig = Rig(ROUND, mtvec=BASE + 0x100, mstatus=0)
        rig.put(t1=status, t2=rig.program["inner"] + 12)
        rig.set(**{setup[counter]: base | filter, counter: 1000})
        rig.reach("end")
        assert rig.hart.instret == INSIDE + OUTSIDE
        assert rig.csr(counter) == 1000 + expected, (filter, counter)


def test_a_faulting_instruction_of_a_user_counts_once() -> None:
    """The example of "Counter Behavior": all modes but U inhibited, and a load that faults first."""
    rig = Rig(
        "load: ld a0, 0(a1); j load\n.org 0x100\ntrap: li a1, 0x80020000; mret",
        mstatus=0, minstretcfg=EVERY_MODE & ~UINH, mtvec=BASE + 0x100,
    )  # fmt: skip
    rig.hart.mode = U
    rig.put(a1=0x4000_0000)
    rig.reach(BASE + 4)
    assert rig.csr("minstret") == 1
    assert rig.hart.instret > 3


def test_inhibited_counters_keep_their_values() -> None:
    rig = Rig(nops(60), mhpmevent3=CODE["INSTRUCTIONS"], mhpmcounter3=100)
    rig.run(3)
    rig.set(mcountinhibit=1 << 3)
    rig.run(10)
    assert rig.csr("mhpmcounter3") == 103
    rig.set(mcountinhibit=0, mhpmevent3=CODE["CYCLES"])
    rig.run(10)
    assert rig.csr("mhpmcounter3") == 113
    rig.set(mhpmevent3=0)
    rig.run(10)
    assert rig.csr("mhpmcounter3") == 113


def test_a_written_counter_holds_the_written_value_at_the_next_instruction() -> None:
    """ "Any CSR write takes effect after the writing instruction has otherwise completed." """
    rig = Access(mhpmevent3=CODE["INSTRUCTIONS"])
    assert rig.write(M, "mhpmcounter3", 1000) is None
    assert rig.read(M, "mhpmcounter3") is None and rig.result == 1000
    assert rig.read(M, "hpmcounter3") is None and rig.result == 1001


# --- Overflow ---------------------------------------------------------------------------------------------------------


def overflowing(left: int, event: str = "INSTRUCTIONS", **csrs: int) -> Rig:
    """M-mode runs nops and the counter overflows in `left` events; LCOFI goes to HANDLER."""
    more = {"mie": LCOFI, "mstatus": MIE, "mhpmevent3": CODE[event], "mhpmcounter3": -left & ONES} | csrs
    return Rig(nops(400) + "end: j end", **more)


@pytest.mark.parametrize("event", ["INSTRUCTIONS", "CYCLES"])
@pytest.mark.parametrize("left", [1, 2, 5, 63, 64, 65, 200, 399])
def test_the_interrupt_comes_behind_the_instruction_that_overflows(left: int, event: str) -> None:
    """ "If an hpmcounter overflows while the associated OF bit is zero, then a request is generated." """
    rig = overflowing(left, event)
    rig.run(left + 1)  # the trap is a step too
    assert rig.trap() == (M, INTERRUPT | 13, 0)
    assert rig.csr("mepc") == BASE + 4 * left
    assert rig.csr("mhpmevent3") == OF | CODE[event]
    assert rig.csr("scountovf") == 1 << 3
    assert rig.csr("mip") & LCOFI, "software clears it"
    assert rig.csr("mhpmcounter3") == 0
    rig.run(3)
    assert rig.csr("mhpmcounter3") == 3, "the counter wraps around and keeps counting"


@pytest.mark.parametrize("steps", [1, 7, 64])
def test_and_in_pieces_too(steps: int) -> None:
    rig = overflowing(200)
    for _ in range(400 // steps):
        rig.run(steps)
    assert rig.csr("mepc") == BASE + 4 * 200


def test_it_is_pending_as_soon_as_the_run_ends_there() -> None:
    rig = overflowing(10)
    rig.run(9)
    assert not rig.csr("mip") & LCOFI and not rig.csr("mhpmevent3") & OF
    rig.run(1)
    assert rig.csr("mip") & LCOFI and rig.csr("mhpmevent3") & OF


def test_no_request_of_a_counted_event_while_of_is_set() -> None:
    rig = Rig("sfence.vma; nop; nop", mhpmevent7=CODE["FENCES"] | OF, mhpmcounter7=ONES, mie=LCOFI, mstatus=MIE)
    rig.run(3)
    assert rig.trap() is None and not rig.csr("mip") & LCOFI
    assert rig.csr("mhpmcounter7") == 0 and rig.csr("mhpmevent7") == CODE["FENCES"] | OF


def test_no_request_while_of_is_set() -> None:
    rig = overflowing(5, mhpmevent3=CODE["INSTRUCTIONS"] | OF)
    rig.run(100)
    assert rig.trap() is None and not rig.csr("mip") & LCOFI
    assert rig.csr("mhpmcounter3") == 95


@pytest.mark.parametrize("number", [3, 8, 31])
def test_instructions_see_it_happen_where_nothing_is_enabled(number: int) -> None:
    rig = Rig(
        f"{nops(6)}csrr a0, mhpmevent{number}; csrr a1, mip; csrr a2, scountovf"
        f"; csrr a3, mhpmevent{number}; csrr a4, mip; csrr a5, scountovf",
        **{f"mhpmevent{number}": CODE["INSTRUCTIONS"], f"mhpmcounter{number}": -9 & ONES},
    )
    rig.run(12)
    event = CODE["INSTRUCTIONS"]
    assert [rig.x(name) for name in ("a0", "a1", "a2")] == [event, 0, 0], "the ninth has not retired yet"
    assert [rig.x(name) for name in ("a3", "a4", "a5")] == [event | OF, LCOFI, 1 << number]


def test_writing_never_overflows() -> None:
    """ "Count overflow never results from writes to the mhpmcountern or mhpmeventn registers." """
    rig = Rig(
        "csrw mhpmcounter3, a0; csrw mhpmcounter3, zero; csrw mhpmcounter3, a1; csrw mhpmevent3, zero; nop; nop; nop",
        mhpmevent3=CODE["INSTRUCTIONS"],
    )
    rig.put(a0=ONES - 1, a1=ONES - 3)
    rig.run(7)
    assert not rig.csr("mhpmevent3") & OF and not rig.csr("mip") & LCOFI
    rig = Rig("csrw mhpmcounter3, a0; nop; nop", mhpmevent3=CODE["INSTRUCTIONS"])
    rig.put(a0=ONES)
    rig.run(1)
    assert rig.csr("mhpmcounter3") == ONES and not rig.csr("mhpmevent3") & OF
    rig.run(1)
    assert rig.csr("mhpmcounter3") == 0 and rig.csr("mhpmevent3") & OF


def test_mcycle_and_minstret_request_nothing() -> None:
    rig = Rig(nops(10), mcycle=-3 & ONES, minstret=-4 & ONES, mie=LCOFI, mstatus=MIE)
    rig.run(8)
    assert (rig.csr("mcycle"), rig.csr("minstret")) == (5, 4)
    assert rig.trap() is None and rig.csr("scountovf") == 0


@pytest.mark.parametrize(
    "fence", ["sfence.vma", "hfence.gvma zero, zero", "hfence.vvma zero, zero", "sfence.vma a0, zero"]
)
def test_a_counted_event_in_the_middle_of_a_block_interrupts_behind_it(fence: str) -> None:
    rig = Rig(
        f"{nops(5)}{fence}\n{nops(400)}", mhpmevent7=CODE["FENCES"], mhpmcounter7=ONES, mie=LCOFI, mstatus=MIE,
    )  # fmt: skip
    rig.run(300)  # far enough that no end of a run cuts the blocks behind it short
    assert rig.trap() == (M, INTERRUPT | 13, 0)
    assert rig.csr("mepc") == BASE + 4 * 6
    assert rig.csr("mhpmevent7") & OF and rig.csr("mhpmcounter7") == 0


def test_an_overflow_in_one_mode_only() -> None:
    """Of two counters that begin alike, one counts in U only."""
    event = CODE["INSTRUCTIONS"]
    rig = Rig(
        f"{nops(20)}mret\n.org 0x100\nuser: {nops(40)}", mstatus=0, mepc=BASE + 0x100, mie=LCOFI,
        mhpmevent3=event | EVERY_MODE & ~UINH, mhpmcounter3=-10 & ONES,
    )  # fmt: skip
    rig.run(40)
    assert rig.csr("mepc") == BASE + 0x100 + 4 * 10
    assert rig.csr("mcause") == INTERRUPT | 13


def test_cycles_end_a_wait_and_instructions_do_not() -> None:
    rig = Rig("wfi; nop; nop", mie=LCOFI, mhpmevent3=CODE["CYCLES"], mhpmcounter3=-5000 & ONES)
    rig.run(2)
    assert (rig.hart.pc, rig.hart.clock) == (BASE + 8, 5001)
    assert rig.csr("mip") & LCOFI
    rig = Rig("wfi; nop; nop", mie=LCOFI, mhpmevent3=CODE["INSTRUCTIONS"], mhpmcounter3=-5000 & ONES)
    assert rig.run(2).reason is ExitReason.IDLE


def test_a_wait_for_something_else_goes_on_over_an_overflow() -> None:
    rig = Rig("wfi; nop; nop", mie=1 << 7, mhpmevent3=CODE["CYCLES"], mhpmcounter3=-5000 & ONES)
    rig.hart.mtimecmp = 80  # instruction 8000
    rig.run(2)
    assert rig.hart.clock == 8001
    assert rig.csr("mip") & LCOFI and rig.csr("mhpmcounter3") == 3001


def test_the_first_instruction_after_a_wait_sees_an_overflow_during_it() -> None:
    rig = Rig("wfi; csrr a0, mip; nop", mie=1 << 7, mhpmevent3=CODE["CYCLES"], mhpmcounter3=-5000 & ONES)
    rig.hart.mtimecmp = 80
    rig.run(2)
    assert rig.x("a0") == LCOFI | 1 << 7
    rig = Rig("nop", mhpmevent3=CODE["CYCLES"], mhpmcounter3=-5000 & ONES)
    rig.machine.sleep(8000)
    assert rig.csr("mhpmevent3") & OF and rig.csr("mhpmcounter3") == 3000


def test_restored_state_overflows_at_the_same_instruction() -> None:
    rig = overflowing(150)
    rig.run(40)
    state = rig.hart.state()
    rig.run(300)
    first = rig.csr("mepc"), rig.csr("mhpmcounter3"), rig.hart.clock
    rig.hart.restore(state)
    assert not rig.csr("mhpmevent3") & OF
    rig.run(300)
    assert (rig.csr("mepc"), rig.csr("mhpmcounter3"), rig.hart.clock) == first
    assert first[0] == BASE + 4 * 150


def test_cutting_a_run_changes_nothing() -> None:
    text = """
loop:   addi a0, a0, 1
        sfence.vma
        csrr a2, mhpmcounter4
        ecall
        j    loop
        .org 0x100
trap:   csrr a4, mcause
        bgez a4, call
        csrw mhpmevent3, a6
        csrw mhpmcounter3, a5
        csrrc zero, mip, a7
        addi a3, a3, 1
        mret
call:   csrr a4, mepc
        addi a4, a4, 4
        csrw mepc, a4
        mret
"""

    def final(sizes: list[int]) -> str:
        rig = Rig(
            text, mtvec=BASE + 0x100, mstatus=0, mie=LCOFI, mhpmevent3=CODE["INSTRUCTIONS"] | MINH,
            mhpmcounter3=-77 & ONES, mhpmevent4=CODE["FENCES"], mhpmcounter4=-31 & ONES, minstretcfg=UINH,
            mhpmevent5=CODE["CYCLES"] | SINH, mhpmcounter5=-500 & ONES,
        )  # fmt: skip
        rig.put(a5=-93 & ONES, a6=CODE["INSTRUCTIONS"] | MINH, a7=LCOFI)
        rig.hart.mode = HS
        left = 5000
        while left:
            size = min(left, sizes[0])
            rig.run(size)
            left -= size
            sizes.append(sizes.pop(0))
        assert rig.x("a3") > 5, "interrupts were taken"
        assert rig.csr("scountovf") & 0x38 != 0
        return rig.machine.state_hash()

    rng = random.Random(5)
    assert final([5000]) == final([1]) == final([rng.randrange(1, 90) for _ in range(50)])


# --- Rights -----------------------------------------------------------------------------------------------------------


def test_scountovf_shows_what_the_mode_may_read() -> None:
    """ "Supervisor Count Overflow (scountovf) Register"."""
    rig = Access(
        mcounteren=1 << 3 | 1 << 4, hcounteren=1 << 4 | 1 << 5, mhpmevent3=OF, mhpmevent4=OF, mhpmevent5=OF,
        mhpmevent31=OF,
    )  # fmt: skip
    for mode, bits in ((M, 0x8000_0038), (HS, 0x18), (VS, 0x10)):
        assert rig.read(mode, "scountovf") is None and rig.result == bits, mode
    assert rig.read(VU, "scountovf") == 22 and rig.read(U, "scountovf") == 2
    assert rig.write(M, "scountovf", 0) == 2, "read-only"
    rig.hart.mode = VS
    assert rig.csr("scountovf") == 0x8000_0038, "a debugger is not subject to it"


def test_lcofip_is_one_bit_by_three_names() -> None:
    """mip, sip where delegated, and with Shlcofideleg vsip; at its own place in each."""
    rig = Access(mideleg=LCOFI, hideleg=LCOFI, mie=0)
    for name in ("mip", "sip", "vsip"):
        rig.set(**{name: LCOFI})
        assert all(rig.csr(other) == LCOFI for other in ("mip", "sip", "vsip")), name
        rig.set(**{name: 0})
        assert not any(rig.csr(other) & LCOFI for other in ("mip", "sip", "vsip")), name
    assert rig.write(VS, "sie", LCOFI) is None
    assert rig.csr("mie") == rig.csr("sie") == rig.csr("vsie") == LCOFI
    assert rig.csr("hip") == rig.csr("hie") == rig.csr("hvip") == 0


@pytest.mark.parametrize("name", ["hideleg", "mideleg"])
def test_lcofi_is_hidden_where_it_is_not_delegated(name: str) -> None:
    rig = Access(mideleg=LCOFI, hideleg=LCOFI, mip=LCOFI, mie=LCOFI)
    rig.set(**{name: 0})
    assert rig.csr("vsip") == rig.csr("vsie") == 0
    assert rig.csr("sip") & LCOFI == rig.csr("sie") & LCOFI == (0 if name == "mideleg" else LCOFI)
    rig.set(mie=0)
    assert rig.write(VS, "sip", 0) is None and rig.csr("mip") & LCOFI
    rig.set(mie=LCOFI, mip=0)
    assert rig.write(VS, "sie", 0) is None and rig.csr("mie") & LCOFI


def test_a_supervisor_takes_the_overflow_of_its_guest() -> None:
    rig = Rig(
        f"{nops(3)}sret\n.org 0x100\nguest: {nops(40)}", mode=HS, mideleg=LCOFI, mie=LCOFI, sepc=BASE + 0x100,
        mstatus=SPP, hstatus=SPV, mhpmevent12=CODE["INSTRUCTIONS"] | EVERY_MODE & ~VSINH, mhpmcounter12=-8 & ONES,
    )  # fmt: skip
    rig.run(4 + 8 + 1)
    assert rig.trap() == (HS, INTERRUPT | 13, 0)
    assert rig.csr("sepc") == BASE + 0x100 + 4 * 8


def test_registers_are_numbered_as_the_counters() -> None:
    assert FIRST_COUNTER == 3
    rig = Rig(nops(4), mhpmevent3=CODE["INSTRUCTIONS"])
    rig.run(2)
    assert [rig.csr(f"mhpmcounter{i}") for i in range(3, 32)] == [2] + [0] * 28
