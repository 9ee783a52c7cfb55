"""The real machine with every bundled guest: saved, loaded in a new process, continued bit for bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snapshots
from emulator import guests
from emulator.machine import Machine
from emulator.vmm import Hypervisor
from snapshots.plain import pack
from snapshots.snapshot import unpacked_state

TOP = Path(__file__).resolve().parents[2]
MEMORY = 64 << 20

# Where runs are cut: while the guests start, and anywhere in the few milliseconds that most of them take.
lengths = st.integers(0, 20_000) | st.integers(0, 2_000_000)
examples = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

CONTINUE = """
import sys
import snapshots
machine = snapshots.load(sys.argv[1])
print(machine.state_hash())
machine.run(int(sys.argv[2]))
print(machine.state_hash())
snapshots.save(machine, sys.argv[3])
"""


def machine_with(*names: str) -> Machine:
    machine = Machine(memory=MEMORY)
    if guests.BARE.issuperset(names):
        machine.boot(machine.load_elf(guests.path(names[0])).entry)
        return machine
    host = Hypervisor(machine)
    machine.host = host
    for name in names:
        vm = host.create_vm(name, memory=4 << 20)
        vm.load_elf(guests.path(name))
        if name == "echo":
            vm.console.feed(b"what goes in\ncomes out\n")
    return machine


def elsewhere(path: Path, count: int, out: Path) -> list[str]:
    """State hashes of a new process that loads `path`: at once, and `count` steps later, when it saves to `out`."""
    arguments = [sys.executable, "-c", CONTINUE, str(path), str(count), str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False, cwd=TOP)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("name", [*guests.NAMES, "hello ticker echo exits"])
@examples
@given(a=lengths, b=lengths)
def test_a_new_process_continues_as_if_never_stopped(tmp_path: Path, name: str, a: int, b: int) -> None:
    whole, stopped = machine_with(*name.split()), machine_with(*name.split())
    whole.run(a + b)
    stopped.run(a)
    snapshots.save(stopped, tmp_path / "a.rvs")
    loaded, continued = elsewhere(tmp_path / "a.rvs", b, tmp_path / "b.rvs")
    assert loaded == stopped.state_hash()
    assert continued == whole.state_hash()
    snapshots.save(whole, tmp_path / "whole.rvs")
    assert (tmp_path / "b.rvs").read_bytes() == (tmp_path / "whole.rvs").read_bytes()


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 3_000_000), max_size=5))
def test_captures_on_the_way_change_nothing(cuts: list[int]) -> None:
    whole, cut = machine_with("pages", "ticker"), machine_with("pages", "ticker")
    whole.run(sum(cuts))
    for count in cuts:
        cut.run(count)
        cut = snapshots.restore(snapshots.capture(cut))
    assert cut.state_hash() == whole.state_hash()


def test_info_names_what_ran(tmp_path: Path) -> None:
    machine = machine_with("hello", "echo")
    machine.run(100_000)
    snapshots.save(machine, tmp_path / "a.rvs")
    found = snapshots.verify(tmp_path / "a.rvs")
    assert found.vms == ("hello", "echo")
    assert (found.harts, found.memory) == (1, MEMORY)
    assert (found.clock, found.executed) == (machine.clock, machine.executed)
    assert 0 < found.pages < MEMORY >> 12


def test_breakpoints_watches_symbols_and_consoles_come_back(tmp_path: Path) -> None:
    machine = machine_with("hello")
    machine.breakpoints.add(0x8000_0010)
    machine.watch(0x8010_0000, 16, 3)
    machine.run(2_000_000)
    snapshots.save(machine, tmp_path / "a.rvs")
    restored: Any = snapshots.load(tmp_path / "a.rvs")
    assert list(restored.breakpoints) == [0x8000_0010]
    assert restored.watches == [(0x8010_0000, 16, 3)]
    before: Any = machine.host
    assert restored.host.vms[0].console.output == before.vms[0].console.output
    assert [symbol.name for symbol in restored.host.vms[0].symbols] == [s.name for s in before.vms[0].symbols]
    assert len(list(restored.host.vms[0].symbols)) > 0


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container inside `value` with each of its keys; of lists only the first and the last."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list) and value:
        keys = sorted({0, len(value) - 1})
    for key in keys:
        yield value, key
        yield from leaves(value[key])


def test_states_with_one_wrong_value_are_refused_in_one_line_or_taken_over_exactly() -> None:
    machine = machine_with("hello", "echo")
    machine.run(3_000)
    captured = snapshots.capture(machine)
    state = unpacked_state(captured.parts)
    tried = refused = 0
    for container, key in [pair for part in state.values() for pair in leaves(part)]:
        good = container[key]
        for bad in (None, -1, (1 << 64) - 1, "\n\x1b", [], {}):
            container[key] = bad
            parts = {name: pack(state[name], name) for name in ("harts", "devices")}
            parts["machine"] = pack({name: part for name, part in state.items() if name not in parts}, "machine")
            tried += 1
            try:
                restored = snapshots.restore(replace(captured, parts=parts))
            except snapshots.SnapshotError as error:
                refused += 1
                assert str(error).isprintable(), (key, bad)
            else:
                assert snapshots.capture(restored).parts == parts
        container[key] = good
    assert tried > 1000
    assert refused > tried // 2
