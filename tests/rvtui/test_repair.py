"""Mending from outside: an entry of a page table, and a trap that is taken back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench import commanded
from desk import RAM, opened

from emulator.hart import Access, Mode
from emulator.isa import pages
from emulator.machine import Machine
from emulator.verdict import culprit, entry_name, mending

sys.path.append(str(Path(__file__).resolve().parents[1] / "emulator"))

from rig import ONES, Rig

M, HS, U, VS, VU = Mode
WHERE = 0x4000_0010
LEDGER = 0x1_4000_0010


async def test_a_newcomer_finds_the_fault_and_mends_it() -> None:
    """Which guest faulted, on which address, because of which bit; and it goes on."""
    async with opened(["ticker", "faulty"], (80, 24)) as desk:
        await desk.shows("faulty")
        await desk.until(lambda: desk.ask(lambda machine: b"refused" in machine.host.vms[1].console.output))
        await desk.press("T", "l", "w")
        await desk.shows("W=0: not writable")
        assert f"{LEDGER:#x}" in desk.text() and desk.session.subject.vm == 1
        await desk.press("e")
        await desk.shows("pte 0x140000010 store VS vs0 ")
        assert desk.application._prompt.value.endswith("+w")
        await desk.press("enter")
        await desk.until(lambda: desk.ask(lambda machine: machine.host.vms[1].ended))
        said = desk.ask(lambda machine: bytes(machine.host.vms[1].console.output))
        assert b"written, after " in said and b"thank you" in said
        assert desk.ask(lambda machine: machine.host.vms[1].exit_code) == 0


def with_tables(leaf: int, middle: int = 1, *, types: bool = False) -> Machine:
    """Sv39, and a page at WHERE through `middle` and `leaf`, of which only the bits are given."""
    machine = Machine(memory=4 << 20)
    for at, entry in ((0x1000, RAM + 0x2000 >> 2 | 1), (0x2000, RAM + 0x3000 >> 2 | middle),
                      (0x3000, RAM + 0x4000 >> 2 | leaf)):  # fmt: skip
        machine.memory.write_int(RAM + at + 8 * (at == 0x1000), 8, entry)
    hart = machine.harts[0]
    hart.set_csrs({"pmpaddr0": ONES, "pmpcfg0": 0x1F, "menvcfg": types << 62, "satp": 8 << 60 | RAM + 0x1000 >> 12})
    hart.mode, hart.pc = HS, RAM + 0x4000
    return machine


@pytest.mark.parametrize(
    ("leaf", "middle", "access", "mode", "entry", "change"),
    [
        (0xCE, 1, Access.LOAD, HS, "s0", "+v"),
        (0xC5, 1, Access.LOAD, HS, "s0", "+r"),  # W without R: reserved
        (0xC9, 1, Access.LOAD, HS, "s0", "+r"),
        (0xC3, 1, Access.STORE, HS, "s0", "+w"),
        (0xC7, 1, Access.FETCH, HS, "s0", "+x"),
        (0x8F, 1, Access.LOAD, HS, "s0", "+a"),
        (0x4F, 1, Access.STORE, HS, "s0", "+d"),
        (0xCF, 1, Access.LOAD, U, "s0", "+u"),
        (0xDF, 1, Access.LOAD, HS, "s0", "-u"),
        (0xCF | 1 << 61, 1, Access.LOAD, HS, "s0", "pma"),  # without PBMTE
        (0xCF, 0, Access.LOAD, HS, "s1", "+v"),
        (0xCF, 0x81, Access.LOAD, HS, "s1", "-d"),  # in a pointer
        (0xCF, 1 | 1 << 63, Access.LOAD, HS, "s1", "-n"),
        (0xC1, 1, Access.LOAD, HS, "s0", ""),  # R=W=X=0 where a leaf must be
        (0x01, 1, Access.LOAD, HS, "s0", ""),
        (0xCF, 0xCF, Access.LOAD, HS, "s1", ""),  # misaligned: nobody knows which page was meant
        (0xCF | 1 << 63, 1, Access.LOAD, HS, "s0", ""),  # no such range
        (0xCF | 1 << 55, 1, Access.LOAD, HS, "s0", ""),  # reserved bits have no name
    ],
)
def test_what_is_offered_mends(leaf: int, middle: int, access: Access, mode: Mode, entry: str, change: str) -> None:
    machine = with_tables(leaf, middle)
    hart = machine.harts[0]
    hart.mode = mode
    walk = hart.walk(WHERE, access)
    at = culprit(walk)
    assert at is not None and (entry_name(walk, at), mending(walk, at)) == (entry, change)
    with commanded(machine) as bench:
        shown = str(bench.say(f"pte {WHERE:#x} {access.name.lower()}"))
        assert shown.startswith(f"{entry} [") and (f"; {change} would mend it" in shown) == bool(change)
        if change:
            step = walk.steps[at]
            said = str(bench.say(f"pte {WHERE:#x} {access.name} {mode.name} {change}"))
            assert f"leads to {RAM + 0x4010:#x}" in said
            after = machine.memory.read_int(step.pte_physical, 8)
            assert after == pages.changed(step.pte, change) != step.pte
            assert bench.ask(lambda machine: hart.walk(WHERE, access)).physical == RAM + 0x4010


def test_the_hart_forgets_the_translations_of_before() -> None:
    machine = with_tables(0xCF)
    hart = machine.harts[0]
    machine.memory.write_int(RAM + 0x4000, 8, 0x0105_3583_0105_3583)  # ld a1, 16(a0), twice
    machine.memory.write_int(RAM + 0x4010, 8, 0x1234)
    machine.memory.write_int(RAM + 0x8010, 8, 0x5678)
    hart.pc, hart.x[10] = WHERE & ~0xFFF, WHERE & ~0xFFF
    hart.set_csr("stvec", RAM)
    machine.run(1)
    assert hart.x[11] == 0x1234
    with commanded(machine) as bench:
        said = str(bench.say(f"pte {WHERE:#x} to={RAM:#x}+0x8000"))
        assert f"leads to {RAM + 0x8010:#x}" in said
        machine.memory.write_int(RAM + 0x8004, 4, 0x0105_3583)
        bench.say("step")
        assert hart.x[11] == 0x5678


def test_an_entry_is_named_and_given_whole() -> None:
    machine = with_tables(0xCF)
    with commanded(machine) as bench:
        assert bench.data(f"pte {WHERE:#x} s1") == {
            "entry": "s1", "address": hex(RAM + 0x2000), "before": hex(RAM + 0x3000 >> 2 | 1), "after": None,
        }  # fmt: skip
        bench.say(f"pte {WHERE:#x} s1 =0")
        assert machine.memory.read_int(RAM + 0x2000, 8) == 0
        bench.say(f"pte {WHERE:#x} s1 +v-v+v")
        assert machine.memory.read_int(RAM + 0x2000, 8) == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pte 0x40000010 vs7 +w", "no entry s7: it has s2, s1, s0"),
        ("pte 0x40000010 +", "write +w"), ("pte 0x40000010 +q", "write +w"), ("pte 0x40000010 w", "write +w"),
        ("pte 0x40000010 +w +d", "one CHANGE only"), ("pte 0x40000010 to=0x123", "low 12 of them 0"),
        ("pte 0x40000010 =nowhere", "nowhere"), ("pte 0x40000010 M", "walked by no table"),
        ("pte 0xf000000000000000 +w", "was not read: bits 63 to 39"),
        ("retry", "no trap yet"), ("retry now", "only 'anyway'"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_told_and_nothing_is(line: str, why: str) -> None:
    machine = with_tables(0xCF)
    with commanded(machine) as bench:
        before = bench.ask(Machine.state_hash)
        assert why in bench.fails(line)
        assert bench.ask(Machine.state_hash) == before


PAIRS = [(M, M, 0, 0), (HS, M, 0, 0), (HS, HS, ONES, 0), (U, HS, ONES, 0), (VS, M, 0, 0), (VS, HS, ONES, 0),
         (VS, VS, ONES, ONES), (VU, HS, ONES, 0), (VU, VS, ONES, ONES)]  # fmt: skip


@pytest.mark.parametrize(("origin", "target", "medeleg", "hedeleg"), PAIRS)
@pytest.mark.parametrize("status", [0, 0xA | 1 << 5 | 1 << 8])
def test_a_trap_is_taken_back_with_all_that_its_entry_changed(
    origin: Mode, target: Mode, medeleg: int, hedeleg: int, status: int
) -> None:
    rig = Rig(".word 0xffffffff")
    hart = rig.hart
    rig.set(medeleg=medeleg, hedeleg=hedeleg, mstatus=status, vsstatus=status, hstatus=status << 3)
    hart.mode, hart.pc = origin, RAM
    names = ("mstatus", "vsstatus", "hstatus")
    before = hart.pc, hart.mode, *map(hart.csr, names), list(hart.x)
    rig.run(1)
    assert hart.mode is target and hart.pc != RAM
    with commanded(rig.machine) as bench:
        assert "illegal instruction" in str(bench.say("retry"))
        assert (hart.pc, hart.mode, *map(hart.csr, names), list(hart.x)) == before
        bench.say("step")
        assert hart.mode is target, "it is tried again"


def test_only_before_its_handler_runs_unless_anyway() -> None:
    with commanded(["faulty"]) as bench:
        bench.say("run 1M")
        assert "has begun to run" in bench.fails("retry")
        assert "taken back" in str(bench.say("retry anyway"))
        assert bench.machine.host.vms[0].vcpus[0].pc == bench.machine.host.vms[0].symbols.find("record") + 8


def test_what_has_ended_takes_nothing_back() -> None:
    with commanded(["faulty"]) as bench:
        bench.say("catch trap page-fault")
        bench.say("run")
        bench.say(f"pte {LEDGER:#x} store +w")
        bench.say("retry")
        bench.say("run")
        assert bench.machine.host.vms[0].ended
        assert "faulty has ended" in bench.fails("retry")
