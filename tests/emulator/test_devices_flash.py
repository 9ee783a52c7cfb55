"""Flash: guests that query, erase, program and lock it, run in it, and find it again after resets and snapshots.

Expected values are those of JESD68 ("Common Flash Interface") and of Intel's command set, for two 16-bit chips of
16 MiB side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from assembler import assemble
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snapshots
from emulator.boot import Recipe
from emulator.devices.flash import Flash
from emulator.devicetree import parse
from emulator.errors import ConfigurationError, EmulatorError, LoadError, StateError
from emulator.hart import ExitReason, Mode
from emulator.machine import MIB, Machine
from snapshots.snapshot import capture, restore

RAM, RESULTS = 0x8000_0000, 0x8001_0000
CODE, DATA = 0x2000_0000, 0x2200_0000
BANK, BLOCK = 32 << 20, 256 << 10
READY, ERASE_FAILED, PROGRAM_FAILED, LOCKED = 0x80, 0x20, 0x10, 0x02
POWER_OFF = "li t0, 0x100000; li t1, 0x5555; sw t1, 0(t0)\nend: j end"
ARRAY = (DATA, 0x00FF_00FF)

Write = tuple[int, int]
Step = Write | int
"""A word is written, or an address read."""


def both(chip: int) -> int:
    return chip | chip << 16


def erase(at: int) -> list[Step]:
    return [(at, both(0x20)), (at, both(0xD0))]


def put(at: int, word: int) -> list[Step]:
    return [(at, both(0x40)), (at, word)]


def text(steps: list[Step], end: str = POWER_OFF) -> str:
    lines = [f"li s0, {RESULTS}"]
    for step in steps:
        if isinstance(step, int):
            lines.append(f"li t0, {step}; lwu t1, 0(t0); sd t1, 0(s0); addi s0, s0, 8")
        else:
            lines.append(f"li t0, {step[0]}; li t1, {step[1]}; sw t1, 0(t0)")
    return "\n".join([*lines, end])


def machine_of(*flash: Flash) -> Machine:
    return Machine(memory=4 * MIB, flash=flash or [Flash()])


def start(machine: Machine, code: str, at: int = RAM) -> Machine:
    """Hart 0 in M-mode, at the beginning of the program, whose traps stop it."""
    machine.halted = None
    machine.memory.write(at, assemble(at, code).code)
    hart = machine.harts[0]
    hart.reset(at)
    hart.set_csr("mtvec", RAM + 0x8000)
    machine.memory.write(RAM + 0x8000, assemble(RAM + 0x8000, "csrr s1, mcause; csrr s2, mepc\n" + POWER_OFF).code)
    return machine


def finish(machine: Machine, most: int = 100_000) -> None:
    exit = machine.run(most)
    assert exit.reason is ExitReason.HALTED and exit.code == 0, exit


def perform(machine: Machine, *steps: Step) -> list[int]:
    """Carry out `steps`; returns what was read."""
    finish(start(machine, text(list(steps))))
    count = sum(isinstance(step, int) for step in steps)
    return [machine.memory.read_int(RESULTS + 8 * n, 8) for n in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def make(head: bytes = b"", size: int = BANK, name: str = "flash.fd") -> Path:
        path = tmp_path / name
        with path.open("wb") as out:
            out.write(head)
            out.truncate(size)
        return path

    return make


def test_the_query_describes_the_bank() -> None:
    words = perform(machine_of(), (CODE + 0x154, both(0x98)), *range(CODE + 0x40, CODE + 0x100, 4), ARRAY)
    low = [word & 0xFFFF for word in words]
    assert low == [word >> 16 for word in words]
    query = dict(enumerate(low, 0x10))
    assert bytes(low[:3]) == b"QRY"
    assert query[0x13] | query[0x14] << 8 == 1  # Intel's extended command set
    primary = query[0x15] | query[0x16] << 8
    assert bytes(query[primary + n] for n in range(5)) == b"PRI10"
    assert 1 << query[0x27] == BANK // 2
    assert query[0x28] == 2  # x8 and x16
    assert 1 << query[0x2A] == 2048
    assert query[0x2C] == 1
    assert (query[0x2D] | query[0x2E] << 8) + 1 == BANK // BLOCK
    assert (query[0x2F] | query[0x30] << 8) * 256 == BLOCK // 2


def test_identity() -> None:
    assert perform(machine_of(), DATA, (DATA, both(0x90)), DATA, DATA + 4, DATA + 8, DATA + 12) == [
        0xFFFF_FFFF, both(0x89), both(0x18), 0, 0,
    ]  # fmt: skip


def test_narrow_reads_are_lanes_of_the_bus() -> None:
    machine = machine_of()
    perform(machine, (DATA, both(0x98)))
    assert [machine.bus.read(DATA + 0x40 + n, 1) for n in range(4)] == [0x51, 0, 0x51, 0]
    assert machine.bus.read(DATA + 0x40, 8) == both(0x51) | both(0x52) << 32


def test_programming_makes_zeros_and_erasing_ones() -> None:
    at = DATA + BLOCK + 8
    machine = machine_of()
    assert perform(machine, *put(at, 0x1234_5678), at, ARRAY, at - 4, at, at + 4) == [
        both(READY), 0xFFFF_FFFF, 0x1234_5678, 0xFFFF_FFFF,
    ]  # fmt: skip
    assert perform(machine, *put(at, 0x0F0F_F0F0), ARRAY, at) == [0x0204_5070]
    edges = [DATA + BLOCK - 4, DATA + BLOCK, DATA + 2 * BLOCK - 4, DATA + 2 * BLOCK]
    assert perform(machine, *(step for edge in edges for step in put(edge, 0)), *erase(at), at, ARRAY, *edges, at) == [
        both(READY), 0, 0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0xFFFF_FFFF,
    ]  # fmt: skip


def test_the_banks_are_two() -> None:
    """Each has its own state: code runs in one while the other is written."""
    machine = machine_of()
    assert perform(machine, *put(DATA, 7), (CODE + BANK - 4, 0xFF), DATA, CODE, ARRAY, DATA) == [
        both(READY), 0xFFFF_FFFF, 7,
    ]  # fmt: skip


def buffered(at: int, words: list[int], confirm: int = 0xD0) -> list[Step]:
    data: list[Step] = [(at + 4 * n, word) for n, word in enumerate(words)]
    return [(at, both(0xE8)), at, (at, both(len(words) - 1)), *data, (at, both(confirm)), at, ARRAY]


def test_programming_by_the_buffer() -> None:
    at = DATA + 4096 - 16
    assert perform(machine_of(), *buffered(at, [1, 2, 3, 4]), *range(at - 4, at + 20, 4)) == [
        both(READY), both(READY), 0xFFFF_FFFF, 1, 2, 3, 4, 0xFFFF_FFFF,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "steps",
    [
        buffered(DATA + 4096 - 8, [1, 2, 3]),
        buffered(DATA, [1, 2], 0xFF),
        [(DATA, both(0xE8)), (DATA, both(1024)), DATA, ARRAY],
        [(DATA, both(0x20)), (DATA, both(0xFF)), DATA, ARRAY],
        [(DATA, both(0x60)), (DATA, both(0xFF)), DATA, ARRAY],
    ],
    ids=["beyond the buffer", "not confirmed", "too many words", "erase", "lock"],
)
def test_sequences_that_are_none_fail_and_change_nothing(steps: list[Step]) -> None:
    machine = machine_of()
    *_, status = perform(machine, *steps)
    assert status == both(READY | ERASE_FAILED | PROGRAM_FAILED)
    assert machine.memory.read(DATA, BLOCK) == b"\xff" * BLOCK
    assert perform(machine, (DATA, both(0x50)), (DATA, both(0x70)), DATA) == [both(READY)]


def test_locked_blocks_stay_as_they_are() -> None:
    machine = machine_of()
    lock: list[Step] = [(DATA, both(0x60)), (DATA, both(0x01))]
    unlock: list[Step] = [(DATA, both(0x60)), (DATA, both(0xD0))]
    clear = (DATA, both(0x50))
    look: list[Step] = [(DATA, both(0x90)), DATA + 8, DATA + BLOCK + 8]
    assert perform(machine, *lock, *put(DATA, 1), DATA, clear, *erase(DATA), DATA, clear, *look, ARRAY, DATA) == [
        both(READY | PROGRAM_FAILED | LOCKED), both(READY | ERASE_FAILED | LOCKED), both(1), 0, 0xFFFF_FFFF,
    ]  # fmt: skip
    assert perform(machine, *put(DATA + BLOCK, 1), *unlock, *put(DATA, 2), DATA, ARRAY, DATA, DATA + BLOCK) == [
        both(READY), 2, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "word", "inside"), [("copy", 5, 0), ("ro", 0, 0), ("rw", 5, 5)])
def test_files(file: Callable[..., Path], mode: str, word: int, inside: int) -> None:
    """Erased, then programmed: in the file only where the user says so."""
    path = file()
    machine = machine_of(Flash(), Flash(path, mode))
    status, found, beside = perform(machine, *erase(DATA), *put(DATA, 5), DATA, ARRAY, DATA, DATA + 4)
    assert (found, beside) == (word, 0xFFFF_FFFF if word else 0)
    assert status == both(READY | (0 if word else ERASE_FAILED | PROGRAM_FAILED))
    data = path.read_bytes()
    assert len(data) == BANK and data[:8] == (b"\5\0\0\0\xff\xff\xff\xff" if inside else bytes(8))
    assert machine.warnings == []


def test_a_short_file_is_filled_up(file: Callable[..., Path]) -> None:
    machine = machine_of(Flash.parse(str(file(b"head", 6))))
    assert machine.memory.read(CODE, 10) == b"head\0\0\xff\xff\xff\xff"
    assert machine.memory.read(CODE + BANK - 2, 2) == machine.memory.read(DATA, 2) == b"\xff\xff"


RUNS = """
    li s0, 1000
loop:
    la t0, word; lwu t1, 0(t0); add s1, s1, t1
    addi s0, s0, -1; bnez s0, loop
""" + POWER_OFF + "\n.align 3\nword: .word 3"  # fmt: skip


def test_it_runs_in_place_as_fast_as_in_memory() -> None:
    """All 5000 instructions in one native run, up to the store that ends it."""
    machine = start(machine_of(), RUNS, CODE)
    runs = 0
    enter = machine.enter

    def counted(*arguments: object) -> object:
        nonlocal runs
        runs += 1
        return enter(*arguments)

    machine.enter = counted
    finish(machine)
    assert machine.harts[0].x[9] == 3000 and runs == 1


def hidden(access: str) -> str:
    """An access to the other bank while it shows its status; the trap handler then powers off."""
    return text([(DATA, both(0x70))], f"li a0, {DATA}; li s1, 0\n{access}\n{POWER_OFF}")


@pytest.mark.parametrize(
    ("access", "cause"),
    [
        ("jr a0", 1), ("lr.w t0, (a0)", 5), ("amoadd.w t0, t1, (a0)", 7), ("addi a0, a0, 2046; ld t0, 2046(a0)", 5),
        ("cbo.zero (a0)", 7), ("lw t0, 1(a0)", 5), ("lw t0, 0(a0)", 0), ("sw t0, 0(a0)", 0),
    ],
)  # fmt: skip
def test_hidden_contents_cannot_be_reached(access: str, cause: int) -> None:
    machine = start(machine_of(), hidden(access))
    finish(machine)
    assert machine.harts[0].x[9] == cause


@pytest.mark.parametrize(
    ("access", "cause"), [("amoadd.w t0, t1, (a0)", 7), ("cbo.zero (a0)", 7), ("sw t0, 2(a0)", 7), ("lr.w t0, (a0)", 0)]
)
def test_stores_that_are_no_commands_are_refused(access: str, cause: int) -> None:
    machine = start(machine_of(), text([], f"li a0, {DATA}; li s1, 0\n{access}\n{POWER_OFF}"))
    finish(machine)
    assert machine.harts[0].x[9] == cause


def test_page_tables_in_flash() -> None:
    """Walked while it is an array; while it is not, the walk finds no memory."""
    machine = machine_of()
    hart = machine.harts[0]
    gigabyte = RAM >> 30
    machine.memory.write_int(DATA + 8 * gigabyte, 8, RAM >> 12 << 10 | 0xCF)  # the gigabyte of RAM, onto itself
    for show, cause in ((0xFF, None), (0x70, 5)):
        start(machine, POWER_OFF)
        hart.set_csr("satp", 8 << 60 | DATA >> 12)
        hart.set_csr("pmpaddr0", (1 << 54) - 1)
        hart.set_csr("pmpcfg0", 0x1F)
        machine.bus.write(DATA, 4, both(show))
        walk = hart.walk(RAM, mode=Mode.HS)
        assert walk.cause == cause


def test_an_instruction_that_hides_its_own_bank_ends_first() -> None:
    machine = start(machine_of(), f"li t0, {CODE}; li t1, 0x70\nstore: sw t1, 0(t0)\nafter: j after", CODE)
    program = assemble(CODE, f"li t0, {CODE}; li t1, 0x70\nstore: sw t1, 0(t0)\nafter: j after")
    finish(machine)
    hart = machine.harts[0]
    assert (hart.x[9], hart.x[18]) == (1, program["after"])
    assert machine.bus.read(CODE, 4) == both(READY)


EVERYTHING: list[Step] = [
    *put(DATA, 1), DATA, (DATA, both(0x98)), DATA + 0x40, (DATA, both(0x90)), DATA, *erase(DATA),
    (DATA + BLOCK, both(0x60)), (DATA + BLOCK, both(1)), *buffered(DATA + 32, [7, 8]), DATA + 36,
]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 7])
def test_a_run_in_pieces_over_snapshots_is_the_same_run(file: Callable[..., Path], piece: int) -> None:
    banks = [file(b"first"), file(b"\xff" * 64, name="second")]
    whole = start(machine_of(*map(Flash, banks)), text(EVERYTHING))
    finish(whole)
    machine = start(machine_of(*map(Flash, banks)), text(EVERYTHING))
    turns = 0
    while machine.halted is None:
        machine.run(piece * 5)
        turns += 1
        if turns % 3 == 0:
            machine = restore(capture(machine))
    assert machine.state_hash() == whole.state_hash()
    assert machine.memory.read_int(RESULTS, 8) == both(READY) and machine.memory.read(DATA + 32, 5) == b"\7\0\0\0\10"


def test_a_snapshot_needs_no_file_and_writes_none(file: Callable[..., Path], tmp_path: Path) -> None:
    path = file(b"before")
    machine = machine_of(Flash(), Flash(path, "rw"))
    snapshots.save(machine, tmp_path / "s")
    path.unlink()
    again = snapshots.load(tmp_path / "s")
    assert perform(again, DATA, *put(DATA, 0), ARRAY, DATA) == [int.from_bytes(b"befo", "little"), 0]
    assert not path.exists()
    assert again.warnings == [f"flash {path}: was writable; from here on changes stay in memory"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_sequence_of_accesses_breaks_it(data: st.DataObject) -> None:
    commands = [0x01, 0x10, 0x20, 0x2F, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xB0, 0xD0, 0xE8, 0xFF, 0, 3]
    machine, saved = _ONE
    for bank in machine.flash:
        bank.reset()
    for _ in range(data.draw(st.integers(1, 12))):
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        at = data.draw(st.sampled_from([0, 4096, BLOCK - 8, BANK - 8])) // size * size
        machine.bus.write(DATA + at, size, data.draw(st.sampled_from(commands)))
        assert machine.bus.read(DATA + at, size) is not None
    for bank in machine.flash:
        state = bank.state()
        bank.restore(saved)
        bank.restore(state)
        assert bank.state() == state


_ONE = (machine_of(), machine_of().flash[1].state())


@pytest.mark.parametrize(
    "change",
    [
        {"shows": 4},
        {"command": 256},
        {"window": BANK},
        {"buffer": b""},
        {"locks": b"\0"},
        {"left": 5000},
        {"counted": 1},
    ],
    ids=str,
)
def test_damaged_states_are_refused(change: dict[str, Any]) -> None:
    bank = machine_of().flash[0]
    with pytest.raises(StateError, match=f"flash0: {next(iter(change))} must be"):
        bank.restore(bank.state() | change)


def test_states_that_no_guest_makes_do_no_harm() -> None:
    bank = machine_of().flash[1]
    bank.restore(bank.state() | {"command": 0xE8, "counted": True, "left": 0, "window": 0})
    bank.write(0, 4, 0xD0)
    assert bank.status == READY | ERASE_FAILED | PROGRAM_FAILED


BOOTS = f"""
    li s0, 0x10000000; li s1, {DATA}; lwu s2, 0(s1); addi t0, s2, 65; sb t0, 0(s0)
    csrr t1, sstatus; beqz a1, bad
    snez t0, a0; addi t0, t0, 48; sb t0, 0(s0)
    bnez s2, begin
    li t0, 0x100000; li t1, 0x5555; sw t1, 0(t0)
begin:
    li t1, 0x20; sw t1, 0(s1); li t1, 0xD0; sw t1, 0(s1)
    addi s2, s2, -1; li t1, 0x40; sw t1, 0(s1); sw s2, 0(s1)
    li t1, 0x60; sw t1, 0(s1); li t1, 1; sw t1, 0(s1)
    li t0, 0x100000; li t1, 0x7777; sw t1, 0(t0)
bad: j bad
"""
"""Counts down in the other bank, one at each boot, and leaves it locked, and showing its status."""
DYNAMIC = """
park: bnez a0, park
    ld t0, 16(a2); csrw mepc, t0; ld t1, 24(a2); slli t1, t1, 11; csrw mstatus, t1
    li t0, -1; csrw pmpaddr0, t0; li t0, 31; csrw pmpcfg0, t0
    mret
"""
"""As OpenSBI's fw_dynamic: goes on where a2 says, in the mode that it says."""


@pytest.mark.parametrize("firmware", [None, DYNAMIC], ids=["ours", "fw_dynamic"])
def test_the_machine_goes_on_into_flash_and_flash_outlives_resets(
    file: Callable[..., Path], tmp_path: Path, firmware: str | None
) -> None:
    code, variables = file(assemble(CODE, BOOTS).code, name="code"), file(b"\3", name="variables")
    machine = Machine(memory=64 * MIB, harts=2, flash=[Flash(code, "ro"), Flash(variables)])
    path = None
    if firmware is not None:
        path = tmp_path / "firmware.bin"
        path.write_bytes(assemble(RAM, firmware).code)
    machine.recipe = Recipe(firmware=path)
    machine.recipe.start(machine)
    finish(machine, 1000)
    assert bytes(machine.console.output) == b"D0C0B0A0" and machine.resets == 3
    assert machine.harts[0].mode is Mode.HS


def test_the_device_tree_names_both_banks() -> None:
    node = parse(machine_of().device_tree()).find("flash@20000000")
    assert node is not None and node.strings("compatible") == ["cfi-flash"] and node.number("bank-width") == 4
    assert node.cells("reg") == [0, CODE, 0, BANK, 0, DATA, 0, BANK]
    assert parse(Machine(memory=4 * MIB).device_tree()).find("flash") is None


def test_flash_is_not_counted_as_ram() -> None:
    machine = machine_of()
    assert machine.state()["config"]["memory"] == 4 * MIB and "memory: 4 MiB" in machine.facts()


def test_what_cannot_be_flash(file: Callable[..., Path], tmp_path: Path) -> None:
    path = file()
    cases: list[tuple[Callable[[], object], type[EmulatorError], str]] = [
        (lambda: machine_of(Flash(), Flash(), Flash()), ConfigurationError, "2 banks of flash, for 3 files"),
        (lambda: machine_of(Flash(path), Flash(path, "rw")), ConfigurationError, "the same file in both banks"),
        (lambda: Flash.parse(",rw"), ConfigurationError, "name a file"),
        (lambda: Flash(path, "wr"), ConfigurationError, "mode 'wr'"),
        (lambda: Flash(file(size=100, name="short"), "rw"), ConfigurationError, f"100 bytes; .* must be {BANK}"),
        (lambda: Flash(file(size=BANK + 1, name="long")), LoadError, "too many"),
        (lambda: Flash(tmp_path), LoadError, "a directory"),
        (lambda: Flash(tmp_path / "none"), LoadError, "No such file"),
    ]
    for make, kind, words in cases:
        with pytest.raises(kind, match=words):
            make()
