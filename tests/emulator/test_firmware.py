"""The built-in firmware (RISC-V SBI specification 2.0), by programs in S-mode that call it and look around."""

from __future__ import annotations

from typing import Any

import pytest
from assembler import Program, assemble

from emulator.boot import boot
from emulator.errors import StateError
from emulator.firmware import Firmware
from emulator.hart import Exit, ExitReason, Mode
from emulator.loader import Image, Segment
from emulator.machine import INSTRUCTIONS_PER_TICK, MIB, Machine

RAM, START = 0x8000_0000, 0x8020_0000
TIME, IPI, RFENCE, HSM, SRST, DBCN = 0x54494D45, 0x735049, 0x52464E43, 0x48534D, 0x53525354, 0x4442434E
SUCCESS, NOT_SUPPORTED, INVALID_PARAM, INVALID_ADDRESS, ALREADY_AVAILABLE = 0, -2, -3, -5, -6
ALL = (1 << 64) - 1
SSIE, STIE, SEIE = 1 << 1, 1 << 5, 1 << 9
PLIC, UART = 0xC00_0000, 0x1000_0000
DONE = "done: j done"


def call(extension: int, function: int = 0, *arguments: int | str) -> str:
    """A call; arguments may be labels."""
    loads = [f"{'la' if isinstance(value, str) else 'li'} a{at}, {value}" for at, value in enumerate(arguments)]
    return "; ".join([*loads, f"li a7, {extension}", f"li a6, {function}", "ecall"])


OFF = call(SRST, 0, 0, 0)


class Bench:
    """A machine that was booted into a program in S-mode."""

    def __init__(self, text: str, harts: int = 1, isa: str = "max") -> None:
        self.machine = Machine(memory=64 * MIB, harts=harts, isa=isa)
        self.program: Program = assemble(START, text)
        code = self.program.code
        boot(self.machine, None, Image("kernel", "raw", START, [Segment(START, START, memoryview(code), len(code), 7)]))

    def run(self, budget: int = 20_000) -> Exit:
        return self.machine.run(budget)

    def x(self, register: int, hart: int = 0) -> int:
        return int(self.machine.harts[hart].x[register])

    @property
    def text(self) -> str:
        return bytes(self.machine.console.output).decode()


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


ANSWERS: list[tuple[tuple[int, ...], tuple[int, int]]] = [
    ((0x10, 0), (SUCCESS, 2 << 24)),
    ((0x10, 1), (SUCCESS, 0x7276_7475)),
    ((0x10, 3, TIME), (SUCCESS, 1)),
    # Suspend (SUSP), CPPC, NACL and STA are not there, nor what comes after SBI 2.0.
    ((0x10, 3, 8), (SUCCESS, 1)),
    ((0x10, 3, 0x504D55), (SUCCESS, 1)),
    *[((0x10, 3, absent), (SUCCESS, 0)) for absent in (0x53555350, 0x43505043, 0x4E41434C, 0x535441, 0x535345, 9, ALL)],
    *[((absent, 0), (NOT_SUPPORTED, 0)) for absent in (0x53555350, 0x43505043, 0x4E41434C, 0x535441)],
    ((0x10, 4), (SUCCESS, 0)),
    ((TIME, 0, ALL), (SUCCESS, 0)),
    ((IPI, 0, 4, 0), (INVALID_PARAM, 0)),
    ((IPI, 0, 2, 0), (SUCCESS, 0)),
    *[((RFENCE, function, 3, 0, 0, ALL), (SUCCESS, 0)) for function in range(7)],
    ((RFENCE, 7, 3, 0), (NOT_SUPPORTED, 0)),
    ((RFENCE, 3, 1, 2), (INVALID_PARAM, 0)),
    ((HSM, 0, 0, START), (ALREADY_AVAILABLE, 0)),
    ((HSM, 0, 2, START), (INVALID_PARAM, 0)),
    ((HSM, 0, 1, 0x4000_0000), (INVALID_ADDRESS, 0)),
    ((HSM, 2, 0), (SUCCESS, 0)),
    ((HSM, 2, 1), (SUCCESS, 1)),
    ((HSM, 3, 0x9000_0000), (NOT_SUPPORTED, 0)),
    ((HSM, 3, 0x8000_0001), (INVALID_PARAM, 0)),
    ((HSM, 3, 0x8000_0000, 0x4000_0000), (INVALID_ADDRESS, 0)),
    ((HSM, 3, 0x8000_0000, START + 1), (INVALID_ADDRESS, 0)),
    ((SRST, 0, 3, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, UART, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, RAM + 64 * MIB - 2, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, START, 1), (INVALID_PARAM, 0)),
    ((DBCN, 1, 4, START, 0), (SUCCESS, 0)),
]


@pytest.mark.parametrize(("arguments", "expected"), ANSWERS)
def test_answers(arguments: tuple[int, ...], expected: tuple[int, int]) -> None:
    bench = Bench(f"{call(*arguments)}\n{DONE}", harts=2)
    bench.run()
    assert (signed(bench.x(10)), bench.x(11)) == expected
    assert bench.machine.harts[0].mode is Mode.HS and bench.machine.halted is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((SRST, 0, 0, 0), 0, "shut down"),
        ((SRST, 0, 1, 0), 0, "reboot"),
        ((SRST, 0, 0, 1), 1, "shut down"),
        ((SRST, 0, 0, 0xE000_0007), 7, "shut down"),
        ((8, 0), 0, "shut down"),
        ((HSM, 1), 3, "nothing starts one again"),
    ],
)
def test_ends(arguments: tuple[int, ...], code: int, message: str) -> None:
    exit = Bench(f"{call(*arguments)}\n{DONE}").run()
    assert (exit.reason, exit.code) == (ExitReason.HALTED, code)
    assert message in exit.message


def test_consoles() -> None:
    bench = Bench(f"""
        {call(DBCN, 0, 5, "words", 0)}
        {call(DBCN, 2, 0x21)}
        {call(1, 0, 0x3F)}
        {call(2)}; mv s2, a0
        {call(DBCN, 1, 100, START + 0x1000, 0)}; mv s3, a1
        {call(2)}; mv s4, a0
        {OFF}
        words: .byte 0x68, 0x65, 0x6c, 0x6c, 0x6f
    """)
    bench.machine.console.feed(b"typed")
    bench.run()
    assert bench.text == "hello!?"
    assert (bench.x(18), bench.x(19), signed(bench.x(20))) == (ord("t"), 4, -1)
    assert bench.machine.memory.read(START + 0x1000, 4) == b"yped"


@pytest.mark.parametrize("isa", ["max", "max,sstc=off"])
def test_the_timer_interrupts_when_it_is_due_and_not_before(isa: str) -> None:
    bench = Bench(f"""
        la t0, handler; csrw stvec, t0
        li t0, {STIE}; csrw sie, t0
        csrr s1, time; addi s1, s1, 50; mv a0, s1
        li a7, {TIME}; li a6, 0; ecall
        csrr s2, sip
        csrsi sstatus, 2
    sleep: wfi; j sleep
        .align 4
    handler: csrr s3, time; csrr s4, scause
        {call(TIME, 0, ALL)}
        csrr s5, sip
        {OFF}
    """, isa=isa)  # fmt: skip
    assert bench.run().code == 0
    assert not bench.x(18) & STIE and not bench.x(21) & STIE
    assert bench.x(20) == 1 << 63 | 5
    assert bench.x(9) <= bench.x(19) <= bench.x(9) + 1
    assert bench.machine.clock >= 50 * INSTRUCTIONS_PER_TICK


SECOND = f"""
    {call(HSM, 0, 1, "second", 0xBEE)}
    li t0, {SSIE}; csrw sie, t0
    wfi
    csrr s2, sip
    {call(3)}
    csrr s3, sip
    {OFF}
second:
    mv s0, a0; mv s1, a1; csrr s2, satp; csrr s3, sstatus
    {call(HSM, 2, 0)}; mv s4, a1
    {call(IPI, 0, 1, 0)}
    {call(HSM, 1)}
"""


def test_a_second_hart_starts_interrupts_the_first_and_stops() -> None:
    bench = Bench(SECOND, harts=2)
    exit = bench.run(50_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0)
    assert [bench.x(register, 1) for register in (8, 9, 18)] == [1, 0xBEE, 0]
    assert not bench.x(19, 1) & 2, "interrupts are off"
    assert bench.x(18) & SSIE and not bench.x(19) & SSIE
    assert [hart.halted for hart in bench.machine.harts] == [False, True]


# Hart 1 sees what hart 0 says before and after it is woken.
WATCHING = f"""
    second: li t0, 3000
    wait: addi t0, t0, -1; bnez t0, wait
        {call(HSM, 2, 0)}; mv s1, a1
        {call(IPI, 0, 1, 0)}
        li t0, 3000
    again: addi t0, t0, -1; bnez t0, again
        {call(HSM, 2, 0)}; mv s2, a1
    {DONE}
    """
SUSPENDED = f"""
        {call(HSM, 0, 1, "second", 0)}
        li t0, {SSIE}; csrw sie, t0
        {call(HSM, 3, 0)}; mv s2, a0
    first: j first
    {WATCHING}
    """


def test_a_suspended_hart_says_so_until_it_wakes() -> None:
    bench = Bench(SUSPENDED, harts=2)
    bench.run(60_000)
    assert (bench.x(9, 1), bench.x(18, 1)) == (4, 0)
    assert bench.x(18) == SUCCESS


# As SUSPENDED, but hart 0 gives up its registers: with paging on and interrupts too it resumes at "back".
LEFT = f"""
        {call(HSM, 0, 1, "second", 0)}
        la t0, root; li t1, 0x200000CF; sd t1, 16(t0); li t1, 0xC7; sd t1, 0(t0)
        srli t0, t0, 12; li t1, 8; slli t1, t1, 60; or t0, t0, t1; csrw satp, t0
        la t0, lost; csrw stvec, t0
        li t0, {SSIE}; csrw sie, t0
        csrsi sstatus, 2
        li a0, 0xFFFFFFFF80000000; la a1, back; li a2, 0xBEE; li a6, 3; li a7, {HSM}; ecall
    lost: j lost
    back: mv s2, a0; mv s3, a1; csrr s4, satp; csrr s5, sstatus; csrr s6, sie; li s7, 1
    first: j first
    {WATCHING}
    .align 4096
    root: .dword 0
    """


def test_a_hart_that_suspends_without_its_registers_resumes_where_it_said() -> None:
    bench = Bench(LEFT, harts=2)
    bench.run(60_000)
    assert (bench.x(9, 1), bench.x(18, 1)) == (4, 0)
    assert [bench.x(register) for register in (18, 19, 20, 22, 23)] == [0, 0xBEE, 0, SSIE, 1]
    assert not bench.x(21) & 2, "interrupts are off"


def test_a_software_interrupt_keeps_no_other_pending() -> None:
    """SEIP comes from the PLIC: an IPI that comes while it is up must not leave it up."""
    bench = Bench(f"""
        li t0, {PLIC + 40}; li t1, 1; sw t1, 0(t0)
        li t0, {PLIC + 0x2080}; li t1, 1024; sw t1, 0(t0)
        li t0, {UART}; li t1, 1; sb t1, 1(t0)
        csrr s1, sip
        {call(IPI, 0, 1, 0)}
        csrr s2, sip
        li t0, {UART}; lbu t1, 0(t0); sb zero, 1(t0)
        li t0, {PLIC + 0x201004}; lw t1, 0(t0); sw t1, 0(t0)
        csrr s3, sip
        {DONE}
    """)
    bench.machine.console.feed(b"!")
    bench.run()
    assert [bench.x(register) & (SEIE | SSIE) for register in (9, 18, 19)] == [SEIE, SEIE | SSIE, SSIE]


def test_a_remote_fence_drops_the_other_harts_translations() -> None:
    """Hart 1 reads through a page that hart 0 then points elsewhere."""
    tables, window = START + 0x10_0000, 0xC000_0000
    bench = Bench(
        f"""
        {call(HSM, 0, 1, "second", 0)}
        li t0, 4000
    wait: addi t0, t0, -1; bnez t0, wait
        li t0, {tables + 0x2000}; li t1, {(START + 0x20_1000) >> 2 | 0xCF}; sd t1, 0(t0)
        {call(RFENCE, 1, 2, 0, window, 4096)}
        {DONE}
    second:
        li t0, {8 << 60 | tables >> 12}; csrw satp, t0
        li s1, {window}
    read: ld s2, 0(s1); j read
    """,
        harts=2,
    )
    memory = bench.machine.memory
    for at, value in (
        (tables + 16, RAM >> 2 | 0xCF),  # a gigapage over RAM
        (tables + 24, (tables + 0x1000) >> 2 | 1),
        (tables + 0x1000, (tables + 0x2000) >> 2 | 1),
        (tables + 0x2000, (START + 0x20_0000) >> 2 | 0xCF),
        (START + 0x20_0000, 1111),
        (START + 0x20_1000, 2222),
    ):
        memory.write_int(at, 8, value)
    bench.run(4_000)
    assert bench.x(18, 1) == 1111
    bench.run(30_000)
    assert bench.x(18, 1) == 2222


def test_what_s_mode_may_do() -> None:
    """Counters, timers, cache blocks; state enables; all memory. In U-mode time, cycle and instret."""
    bench = Bench(f"""
        la t0, handler; csrw stvec, t0
        li s11, 0
        csrr t0, cycle; csrr t0, time; csrr t0, instret; csrr t0, hpmcounter3
        csrr t0, stimecmp; csrr t0, vstimecmp; csrr t0, hstateen0; csrr t0, senvcfg; csrr t0, hgatp
        li t0, {START + 0x4000}; cbo.zero (t0); cbo.clean (t0); cbo.flush (t0); cbo.inval (t0)
        lw t0, 1(t0)
        fadd.d f1, f2, f3
        li s10, 1
        .word 0
    back:
        la t0, user; csrw sepc, t0; li t0, 256; csrc sstatus, t0; sret
        .align 4
    handler: addi s11, s11, 1; csrr s9, scause
        li t0, 1; beq s11, t0, back
        {OFF}
        .align 4
    user: csrr t0, cycle; csrr t0, time; csrr t0, instret; li s8, 1; ecall
    """)
    assert bench.run().code == 0
    assert bench.x(26) == 1, "nothing before the illegal instruction trapped"
    assert bench.x(27) == 2 and bench.x(24) == 1 and bench.x(25) == 8


def test_traps_go_to_s_mode_with_what_they_tell() -> None:
    for text, cause, value in (
        (".word 0", 2, 0),
        ("ebreak", 3, None),
        ("li t0, 0x40000000; lw t0, 0(t0)", 5, 0x4000_0000),
        ("li t0, 0x40000000; sw t0, 0(t0)", 7, 0x4000_0000),
        ("li t0, 0x40000000; jalr t0", 1, 0x4000_0000),
    ):
        handler = f".align 4; handler: csrr s1, scause; csrr s2, stval; {OFF}"
        bench = Bench(f"la t0, handler; csrw stvec, t0; {text}; {handler}")
        assert bench.run().code == 0
        assert bench.x(9) == cause and (value is None or bench.x(18) == value)


def test_a_trap_that_nobody_takes_ends_the_machine_with_the_reason() -> None:
    bench = Bench(".word 0")
    bench.machine.harts[0].set_csr("medeleg", 0)
    exit = bench.run()
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 3)
    assert "cause 0x2" in exit.message and f"pc={START:#x}" in exit.message


def test_calls_are_counted() -> None:
    bench = Bench(f"{call(1, 0, 65)}; {call(1, 0, 66)}; {OFF}")
    bench.run()
    assert isinstance(bench.machine.host, Firmware)
    assert bench.machine.host.calls == {"legacy.console_putchar": 2, "srst.system_reset": 1}


# Determinism and snapshots


@pytest.mark.parametrize("cut", [1, 137, 4001])
def test_how_a_run_is_cut_changes_nothing(cut: int) -> None:
    whole, pieces = Bench(SECOND, harts=2), Bench(SECOND, harts=2)
    whole.run(50_000)
    while pieces.run(cut).reason is ExitReason.BUDGET:
        pass
    assert pieces.machine.state_hash() == whole.machine.state_hash()


def test_a_restored_machine_goes_on_the_same() -> None:
    """Also while a hart is suspended, which must still say so."""
    for program, cut in ((SECOND, 20), (SECOND, 60), (SUSPENDED, 3000), (LEFT, 3000)):
        whole, half = Bench(program, harts=2), Bench(program, harts=2)
        whole.run(50_000)
        half.run(cut)
        again = Machine.from_state(half.machine.state())
        for page in half.machine.memory.pages_nonzero():
            again.memory.write(page, half.machine.memory.read(page, 4096))
        assert isinstance(again.host, Firmware)
        again.run(50_000 - cut)
        assert again.state_hash() == whole.machine.state_hash()


@pytest.mark.parametrize(
    "junk",
    [
        {"firmware": None},
        {"firmware": {"suspended": [False]}},
        {"firmware": {"suspended": [False, 1], "calls": {}}},
        {"firmware": {"suspended": [False], "calls": {}}},
        {"firmware": {"suspended": [False, False], "calls": {"x": "y"}}},
    ],
)
def test_a_damaged_state_is_refused(junk: Any) -> None:
    state = Bench(SECOND, harts=2).machine.state()
    with pytest.raises(StateError):
        Machine.from_state({**state, "host": junk})
