"""Resets: a machine that knows what it was booted from boots again, by the same rules in every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from assembler import assemble

import snapshots
from emulator.boot import Recipe
from emulator.devices.rtc import EPOCH
from emulator.errors import LoadError, StateError
from emulator.hart import ExitReason
from emulator.machine import MIB, Machine

START, SCRATCH = 0x8020_0000, 0x8030_0000
FINISHER = "li t0, 0x100000; li t1, 0x7777; sw t1, 0(t0)"
WAYS = {
    "finisher": FINISHER,
    "cold": "li a0, 1; li a1, 0; li a6, 0; li a7, 0x53525354; ecall",
    "warm": "li a0, 2; li a1, 0; li a6, 0; li a7, 0x53525354; ecall",
}
LATER = 0x2000_0000
"""Upper half of the time that the first life sets, far from that of power-on."""


def kernel(reset: str) -> bytes:
    """Says how often it lived, by the real-time clock, which alone goes on; the second time it powers off. Before that
    stand a0, as a letter, and whether memory is empty."""
    return assemble(START, f"""
        li s0, 0x10000000; addi t0, a0, 65; sb t0, 0(s0)
        li t0, {SCRATCH}; ld t1, 0(t0); snez t1, t1; addi t1, t1, 48; sb t1, 0(s0)
        li t1, -1; sd t1, 0(t0)
        li t0, 0x101000; lw t1, 0(t0); lw t1, 4(t0)
        li t2, {LATER}; bgeu t1, t2, second
        li t1, 49; sb t1, 0(s0)
        li t2, {LATER}; sw t2, 4(t0)
        csrwi sie, 2; csrwi stvec, 8; li t1, 7; sb t1, 1(s0)
        li t0, 0xC000028; li t1, 1; sw t1, 0(t0)
        {reset}
    here: j here
    second:
        li t1, 50; sb t1, 0(s0)
        li t0, 0x100000; li t1, 0x5555; sw t1, 0(t0)
    done: j done
    """).code


@pytest.fixture
def booted(tmp_path: Path) -> Any:
    def make(reset: str = FINISHER, harts: int = 1, *, keep: bool = True) -> Machine:
        path = tmp_path / "kernel.bin"
        path.write_bytes(kernel(reset))
        machine = Machine(memory=64 * MIB, harts=harts)
        recipe = Recipe("quiet", kernel=path)
        recipe.start(machine)
        machine.recipe = recipe if keep else None
        return machine

    return make


def text(machine: Machine) -> str:
    return bytes(machine.console.output).decode()


@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_a_reset_boots_again(booted: Any, way: str, harts: int) -> None:
    machine = booted(way, harts)
    exit = machine.run(100_000)
    assert (exit.reason, exit.code, exit.message) == (ExitReason.HALTED, 0, "the guest powered off")
    assert text(machine) == "A01A02" and machine.resets == 1
    assert machine.executed > machine.clock


@pytest.mark.parametrize(("way", "says"), [(FINISHER, "a reset"), (WAYS["cold"], "a reboot")])
def test_without_a_recipe_it_ends(booted: Any, way: str, says: str) -> None:
    machine = booted(way, keep=False)
    exit = machine.run(100_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0) and says in exit.message
    assert text(machine) == "A01" and machine.resets == 0


def until_reset(machine: Machine) -> None:
    while not machine.resets:
        assert machine.run(1).executed == 1


@pytest.mark.parametrize("harts", [1, 2])
def test_all_is_as_it_was_booted(booted: Any, harts: int) -> None:
    machine, fresh = booted(harts=harts), booted(harts=harts)
    machine.set_time(1_000_000)
    until_reset(machine)
    one, other = machine.state(), fresh.state()
    # The clock on the wall goes on, disks keep what they have, and the machine knows what has been.
    assert one["devices"]["rtc"].pop("offset") - other["devices"]["rtc"].pop("offset") > LATER - (EPOCH >> 32) << 31
    assert one.pop("executed") > 0 == other.pop("executed") and one.pop("resets") == 1 + other.pop("resets")
    assert one.pop("console") != other.pop("console")
    assert one == other
    memory = [bytes(each.memory.regions[0].buffer[:]) for each in (machine, fresh)]
    assert memory[0] == memory[1] and any(memory[0])


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.parametrize("cut", [1, 7, 41])
def test_how_a_run_is_cut_changes_nothing(booted: Any, way: str, cut: int) -> None:
    whole, pieces = booted(way, 2), booted(way, 2)
    total = whole.run(100_000).executed
    done = 0
    while (exit := pieces.run(cut)).reason is ExitReason.BUDGET:
        assert exit.executed == cut
        done += exit.executed
    assert done + exit.executed == total and pieces.state_hash() == whole.state_hash()


def test_a_restored_machine_resets_the_same(booted: Any, tmp_path: Path) -> None:
    machine = booted()
    machine.run(20)
    snapshots.save(machine, tmp_path / "s")
    again = snapshots.load(tmp_path / "s")
    assert machine.run(100_000) == again.run(100_000) and again.resets == 1
    assert again.state_hash() == machine.state_hash()


def test_a_file_that_is_another_now_is_not_booted(booted: Any, tmp_path: Path) -> None:
    for change in (lambda path: path.write_bytes(b"\x13\0\0\0" * 9), lambda path: path.unlink()):
        machine = booted()
        change(tmp_path / "kernel.bin")
        exit = machine.run(100_000)
        assert (exit.reason, exit.code, machine.resets) == (ExitReason.HALTED, 3, 1)
        assert "kernel.bin" in exit.message and "\n" not in exit.message
        assert machine.run(10).reason is ExitReason.HALTED and machine.state_hash()


def test_a_guest_that_only_resets_is_bounded_by_the_budget(booted: Any, tmp_path: Path) -> None:
    (tmp_path / "loop.bin").write_bytes(assemble(START, f"{FINISHER}\nhere: j here").code)
    machine = Machine(memory=4 * MIB)
    machine.recipe = Recipe(kernel=tmp_path / "loop.bin")
    machine.recipe.start(machine)
    assert machine.run(100).executed == 100 and machine.resets > 10


@pytest.mark.parametrize(
    "junk", [0, {}, {"append": 1, "files": {}}, {"append": "", "files": {"no": ["a", "b"]}},
             {"append": "", "files": {"kernel": ["a", "b"]}}, {"append": "", "files": {"kernel": "ab"}}],
)  # fmt: skip
def test_a_damaged_recipe_is_refused(booted: Any, junk: Any) -> None:
    with pytest.raises(StateError):
        Machine.from_state(booted().state() | {"boot": junk})


def test_a_recipe_reads_its_files_only_if_they_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    recipe = Recipe(initrd=path)
    assert recipe.read("initrd") == b"one" == recipe.read("initrd") and recipe.read("kernel") is None
    path.write_bytes(b"two")
    with pytest.raises(LoadError, match="not the file"):
        recipe.read("initrd")
