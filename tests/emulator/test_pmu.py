"""SBI 2.0, "Performance Monitoring Unit Extension", by programs in S-mode and in VS-mode that call it."""

from __future__ import annotations

from typing import Any

import pytest
from assembler import assemble
from test_firmware import DONE, IPI, OFF, RFENCE, START, TIME, Bench, call, signed

from emulator.errors import StateError
from emulator.hart import ExitReason, Hart
from emulator.isa.csrs import EVENTS
from emulator.loader import Image, Segment
from emulator.machine import MIB, Machine
from emulator.pmu import HartCounters, Pmu
from emulator.sbi_errors import CallError
from emulator.vmm import Hypervisor, Vm

PMU = 0x504D55
NOT_SUPPORTED, INVALID_PARAM, ALREADY_STARTED, ALREADY_STOPPED, NO_SHMEM = -2, -3, -7, -8, -9
NUMBER, INFORMATION, MATCH, BEGIN, STOP, READ, READ_HIGH, SHARE = range(8)
SKIP, CLEAR, AUTO = 1, 2, 4
CYCLES, INSTRUCTIONS, RAW, FIRMWARE = 1, 2, 0x2_0000, 0xF_0000
HARDWARE, TOTAL = 31, 47
ALL = (1 << TOTAL) - 1
CODE = {name: code for code, (name, _) in EVENTS.items()}


def error(function: Any, *arguments: int) -> int:
    with pytest.raises(CallError) as raised:
        function(*arguments)
    return raised.value.error


def fresh() -> tuple[Pmu, Hart]:
    machine = Machine(memory=MIB)
    hart = machine.harts[0]
    hart.set_csr("mcountinhibit", HartCounters.SETUP["mcountinhibit"])
    return Pmu(HartCounters(hart)), hart


# --- as a kernel calls it ---


def test_a_kernel_finds_its_counters() -> None:
    bench = Bench(f"""
        {call(PMU, NUMBER)}; mv s2, a1
        {call(PMU, INFORMATION, 0)}; mv s3, a1
        {call(PMU, INFORMATION, 1)}; mv s4, a1
        {call(PMU, INFORMATION, HARDWARE - 1)}; mv s5, a1
        {call(PMU, INFORMATION, HARDWARE)}; mv s6, a1
        {call(PMU, INFORMATION, TOTAL)}; mv s7, a0
        {call(PMU, SHARE, START, 0, 0)}; mv s8, a0
        {DONE}
    """)
    bench.run()
    width = 63 << 12
    assert [bench.x(n) for n in range(18, 23)] == [TOTAL, 0xC00 | width, 0xC02 | width, 0xC1F | width, 1 << 63]
    assert [signed(bench.x(n)) for n in (23, 24)] == [INVALID_PARAM, NOT_SUPPORTED]


def test_instructions_are_counted_between_start_and_stop() -> None:
    bench = Bench(f"""
        {call(PMU, MATCH, 0, ALL, CLEAR, INSTRUCTIONS, 0)}; mv s2, a0; mv s3, a1
        csrr s4, hpmcounter3
        mv a0, s3; li a1, 1; li a2, 1; li a3, 1000; li a7, {PMU}; li a6, {BEGIN}; ecall
        csrr s5, hpmcounter3
        {"nop;" * 20}
        csrr s6, hpmcounter3
        mv a0, s3; li a1, 1; li a2, 0; li a7, {PMU}; li a6, {STOP}; ecall
        csrr s7, hpmcounter3
        {"nop;" * 20}
        csrr s8, hpmcounter3
        {DONE}
    """)
    bench.run()
    assert (bench.x(18), bench.x(19), bench.x(20)) == (0, 2, 0), "hpmcounter3, though minstret could, too"
    assert bench.x(21) == 1000 and bench.x(22) == 1021 and bench.x(23) == bench.x(24) > 1021


def test_an_overflow_interrupts() -> None:
    bench = Bench(f"""
        la t0, handler; csrw stvec, t0
        li t0, 1 << 13; csrw sie, t0; csrsi sstatus, 2
        {call(PMU, MATCH, 0, ALL, 0, INSTRUCTIONS, 0)}
        mv a0, a1; li a1, 1; li a2, 1; li a3, -10; li a7, {PMU}; li a6, {BEGIN}; ecall
        {"nop;" * 30}
        {DONE}
        .align 4
    handler: csrr s2, scause; csrr s3, scountovf; {OFF}
    """.replace("1 << 13", str(1 << 13)))
    assert bench.run().reason is ExitReason.HALTED
    assert bench.x(18) == 1 << 63 | 13 and bench.x(19) == 1 << 3


def test_calls_are_counted_by_who_sends_and_who_receives() -> None:
    def fw(event: int) -> str:
        return call(PMU, MATCH, 0, ALL, CLEAR | AUTO, FIRMWARE | event, 0)

    def match_all(*events: int) -> str:
        return "; ".join(map(fw, events))

    sent = (5, 6, 8, 10, 12, 14, 16, 18, 20)
    fences = "; ".join(call(RFENCE, function, 3, 0, 0, 0) for function in range(7))
    bench = Bench(f"""
        bnez a0, second
        {match_all(*sent)}
        {call(0x48534D, 0, 1, "second", 0)}
        la s4, flag
    wait: lw t0, 0(s4); beqz t0, wait
        {call(TIME, 0, (1 << 64) - 1)}; {call(TIME, 0, (1 << 64) - 1)}
        {call(IPI, 0, 3, 0)}
        {fences}
        li t0, 2; sw t0, 0(s4)
        {DONE}
    second:
        {match_all(*(event + 1 for event in sent if event != 5))}
        la s4, flag; li t0, 1; sw t0, 0(s4)
    rest: lw t0, 0(s4); li t1, 2; bne t0, t1, rest
        j rest
        .align 3
    flag: .dword 0
    """, harts=2)
    bench.run(60_000)
    one, other = (caller.pmu for caller in bench.machine.host.callers)  # type: ignore[union-attr]
    assert one.values[:9] == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert other.values[:8] == [1] * 8
    assert Machine.from_state(bench.machine.state()).state() == bench.machine.state()


# --- its rules, one by one ---


def test_which_counter_counts_what() -> None:
    pmu, hart = fresh()
    assert pmu.match(0, ALL, 0, CYCLES, 0) == 2 and hart.csr("mhpmevent3") == CODE["CYCLES"]
    assert pmu.match(0, ALL, 0, CYCLES, 0) == 3, "the first is somebody's"
    assert pmu.match(0, 1, 0, CYCLES, 0) == 0 and pmu.match(1, 1, 0, INSTRUCTIONS, 0) == 1
    assert pmu.match(0, ALL, 0, RAW, CODE["EXITS"]) == 4 and hart.csr("mhpmevent5") == CODE["EXITS"]
    assert pmu.match(0, ALL, 0, FIRMWARE | 21, 0) == HARDWARE
    assert pmu.match(2, 1, 0, INSTRUCTIONS, 0) == 2, "nobody started it"
    for event, data in [
        (0, 0), (3, 0), (10, 0), (CYCLES, 1), (0x1_0000, 0), (RAW, 0), (RAW, 99), (RAW, 1 << 48), (RAW | 1, 1),
        (0x3_0000, 1), (FIRMWARE | 22, 0), (FIRMWARE | 0xFFFF, 0), (FIRMWARE, 1), (1 << 20 | CYCLES, 0),
    ]:  # fmt: skip
        assert error(pmu.match, 0, ALL, 0, event, data) == NOT_SUPPORTED, (event, data)
    assert error(pmu.match, 0, 1, 0, INSTRUCTIONS, 0) == NOT_SUPPORTED
    assert error(pmu.match, HARDWARE, 1, 0, CYCLES, 0) == NOT_SUPPORTED
    assert error(pmu.match, TOTAL, 1, 0, CYCLES, 0) == INVALID_PARAM
    assert error(pmu.match, 40, 0x80, 0, CYCLES, 0) == INVALID_PARAM
    assert error(pmu.match, 0, 0, 0, CYCLES, 0) == INVALID_PARAM
    assert error(pmu.match, 0, ALL, 0x100, CYCLES, 0) == INVALID_PARAM
    assert error(pmu.match, (1 << 64) - 1, (1 << 64) - 1, 0, CYCLES, 0) == INVALID_PARAM


def test_filters_and_flags() -> None:
    pmu, hart = fresh()
    for flag, bit in ((3, 58), (4, 59), (5, 60), (6, 61), (7, 62)):
        pmu.match(2, 1, 1 << flag, CYCLES, 0)
        assert hart.csr("mhpmevent3") == CODE["CYCLES"] | 1 << bit
        pmu.match(0, 1, 1 << flag, CYCLES, 0)
        assert hart.csr("mcyclecfg") == 1 << bit
    hart.set_csr("mhpmcounter4", 5)
    assert pmu.match(3, 1, AUTO, CYCLES, 0) == 3 and hart.csr("mhpmcounter4") == 5
    assert not hart.csr("mcountinhibit") >> 4 & 1 and hart.csr("mcountinhibit") >> 5 & 1
    assert error(pmu.match, 3, 1, 0, CYCLES, 0) == NOT_SUPPORTED, "it is started"
    assert pmu.match(3, 1, SKIP | CLEAR, INSTRUCTIONS, 0) == 3 and hart.csr("mhpmcounter4") == 0
    assert error(pmu.match, 0, ALL, SKIP, INSTRUCTIONS, 0) == NOT_SUPPORTED, "the first, whatever it can"


def test_starting_and_stopping() -> None:
    pmu, hart = fresh()
    assert error(pmu.start, 2, 1, 0, 0) == INVALID_PARAM, "counts nothing"
    assert error(pmu.stop, 0, ALL, 1) == ALREADY_STOPPED and hart.csr("mcountinhibit") == (1 << 32) - 8
    first = pmu.match(0, ALL, 0, CYCLES, 0)
    hart.set_csr("mhpmevent3", hart.csr("mhpmevent3") | 1 << 63)
    pmu.start(first, 1, 1, 77)
    assert hart.csr("mhpmcounter3") == 77 and not hart.csr("mhpmevent3") >> 63, "its overflow is of the past"
    second = pmu.match(0, ALL, 0, CYCLES, 0)
    assert error(pmu.start, first, 3, 1, 5) == ALREADY_STARTED
    assert hart.csr("mhpmcounter3") == 77 and hart.csr("mhpmcounter4") == 5 and pmu.started == 3 << first
    pmu.stop(second, 1, 0)
    assert hart.csr("mcountinhibit") >> 3 & 3 == 2 and pmu.events[second]
    assert error(pmu.stop, first, 3, 1) == ALREADY_STOPPED
    assert pmu.started == 0 and not any(pmu.events) and hart.csr("mhpmevent3") == 0
    for flags, number in ((4, INVALID_PARAM), (2, NO_SHMEM)):
        pmu.match(2, 1, 0, CYCLES, 0)
        assert error(pmu.start, 2, 1, flags, 0) == number == error(pmu.stop, 2, 1, flags)
    assert error(pmu.start, TOTAL, 1, 0, 0) == INVALID_PARAM == error(pmu.stop, TOTAL, 1, 0)
    pmu.start(0, 0, 0, 0)
    pmu.stop(0, 0, 0)


def test_the_fixed_ones_stand_still_when_stopped_and_run_when_nobody_has_them() -> None:
    pmu, hart = fresh()
    assert pmu.match(0, 1, AUTO, CYCLES, 0) == 0
    pmu.stop(0, 1, 0)
    assert hart.csr("mcountinhibit") & 1
    assert error(pmu.stop, 0, 1, 1) == ALREADY_STOPPED
    assert not hart.csr("mcountinhibit") & 1


def test_firmware_counters() -> None:
    pmu, _ = fresh()
    pmu.count(5)
    at = pmu.match(0, ALL, 0, FIRMWARE | 5, 0)
    pmu.count(5)
    assert pmu.read(at) == 0, "it is not started"
    pmu.start(at, 1, 1, (1 << 64) - 1)
    pmu.count(6)
    pmu.count(5)
    pmu.count(5)
    assert pmu.read(at) == 1
    assert error(pmu.read, 2) == INVALID_PARAM == error(pmu.read, TOTAL)


def test_state() -> None:
    pmu, _ = fresh()
    pmu.match(0, ALL, AUTO, FIRMWARE | 5, 0)
    pmu.count(5)
    other, _ = fresh()
    other.restore(pmu.state())
    assert other.state() == pmu.state() and other.values[0] == 1
    for name, junk in (("events", [0]), ("started", 1 << TOTAL), ("values", [1 << 64] * 16)):
        with pytest.raises(StateError):
            other.restore(pmu.state() | {name: junk})


# --- in a VM ---


def guest(text: str) -> tuple[Machine, Vm]:
    machine = Machine(memory=64 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("guest", memory=8 * MIB)
    code = assemble(START, text).code
    vm.start(Image("guest", "raw", START, [Segment(START, START, memoryview(code), len(code), 7)]))
    return machine, vm


def x(vm: Vm, number: int) -> int:
    return int(vm.vcpus[0].x[number])


def test_a_guest_counts_its_own_instructions() -> None:
    machine, vm = guest(f"""
        csrr s2, instret; nop; nop; csrr s3, cycle
        {call(PMU, NUMBER)}; mv s4, a1
        {call(PMU, MATCH, 0, (1 << 18) - 1, 0, INSTRUCTIONS, 0)}; mv s5, a1
        {call(PMU, BEGIN, 1, 1, 1, 500)}
        csrr s6, instret; nop; nop; nop; csrr s7, instret
        {call(PMU, STOP, 1, 1, 0)}
        csrr s8, instret; nop; csrr s9, instret
        {call(PMU, MATCH, 0, (1 << 18) - 1, 0, RAW, CODE["EXITS"])}; mv s10, a0
        csrr zero, cycle
        {OFF}
    """)
    machine.run(10_000)
    assert vm.exit_code == 0, vm.message
    assert x(vm, 19) - x(vm, 18) == 2 and x(vm, 20) == 18 and x(vm, 21) == 1
    assert x(vm, 22) == 500 and x(vm, 23) == 503 and x(vm, 24) == x(vm, 25) > 503
    assert signed(x(vm, 26)) == NOT_SUPPORTED
    assert vm.stats["csr_exit_kernel"] == 7


def test_a_guests_traps_and_calls_are_counted() -> None:
    machine, vm = guest(f"""
        la t0, next; csrw stvec, t0
        {call(PMU, MATCH, 0, (1 << 18) - 1, AUTO, FIRMWARE | 4, 0)}
        {call(PMU, MATCH, 0, (1 << 18) - 1, AUTO, FIRMWARE | 5, 0)}
        {call(TIME, 0, (1 << 64) - 1)}
        csrr t0, hgatp
        .align 2
    next:
        {call(PMU, READ, 2)}; mv s2, a1
        {call(PMU, READ, 3)}; mv s3, a1
        {call(PMU, READ_HIGH, 3)}; mv s4, a0; mv s5, a1
        {OFF}
    """)
    machine.run(10_000)
    assert (x(vm, 18), x(vm, 19), x(vm, 20), x(vm, 21)) == (1, 1, 0, 0)


def test_what_user_mode_may_read_is_the_guests_to_say() -> None:
    def stats(scounteren: int) -> int:
        machine, vm = guest(f"""
            la t0, trap; csrw stvec, t0; la t0, user; csrw sepc, t0
            li t0, {scounteren}; csrw scounteren, t0; li t0, 0x100; csrc sstatus, t0; sret
        user: csrr a0, instret; ecall
            .align 2
        trap: {OFF}
        """)
        machine.run(10_000)
        return vm.stats["csr_exit_kernel"]

    assert stats(4) == 1 and stats(3) == 0


def test_a_guests_counters_are_saved() -> None:
    text = f"""
        {call(PMU, MATCH, 0, (1 << 18) - 1, AUTO | CLEAR, CYCLES, 0)}
        {"nop;" * 50} csrr s2, cycle; {call(PMU, STOP, 0, 1, 0)}; csrr s3, cycle
        {OFF}
    """
    for cut in (5, 30, 70):
        machine, vm = guest(text)
        machine.run(cut)
        again = Machine.from_state(machine.state())
        for region, other in zip(machine.memory.regions, again.memory.regions, strict=True):
            for page in machine.touched_pages(region):
                again.memory.write(region.base + page * 4096, region.buffer[page * 4096 : page * 4096 + 4096])
            assert other.base == region.base
        assert again.state_hash() == machine.state_hash()
        machine.run(10_000)
        again.run(10_000)
        assert again.state_hash() == machine.state_hash() and x(vm, 18) == 50


def test_the_tree_promises_no_overflow_interrupts() -> None:
    _, vm = guest("nop")
    assert b"sscofpmf" not in vm.device_tree() and b"sscofpmf" in Machine(memory=MIB).device_tree()
