"""What goes in comes out: state, memory, and what the machine does next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snapshots
from snapshots import SnapshotError

PAGE = 4096
RAM = 0x8000_0000

examples = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@examples
@given(a=st.integers(0, 300), b=st.integers(0, 300))
def test_a_restored_machine_continues_as_if_never_stopped(tmp_path: Path, new: Any, load: Any, a: int, b: int) -> None:
    whole, stopped = new(), new()
    whole.run(a + b)
    stopped.run(a)
    snapshots.save(stopped, tmp_path / "a.rvs")
    continued = load(tmp_path / "a.rvs")
    assert continued.state_hash() == stopped.state_hash()
    continued.run(b)
    assert continued.state_hash() == whole.state_hash()


@examples
@given(value=plain)
def test_any_plain_state_comes_back_with_its_types(tmp_path: Path, new: Any, load: Any, value: Any) -> None:
    machine = new()
    machine.extra = {"value": value, "machine": value}
    snapshots.save(machine, tmp_path / "a.rvs")
    assert repr(load(tmp_path / "a.rvs").state()) == repr(machine.state())


def test_a_file_name_that_is_not_unicode_survives_in_the_state(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new()
    name = b"kernel-\xff\xe4.elf".decode("utf-8", "surrogateescape")
    machine.extra = {"symbols": name}
    machine.host.vms[0].name = name
    snapshots.save(machine, tmp_path / "a.rvs")
    assert snapshots.verify(tmp_path / "a.rvs").vms == ("kernel-??.elf", "zwei\u00e4")
    assert load(tmp_path / "a.rvs").extra == machine.extra


@examples
@given(pages=st.lists(st.integers(0, 5), max_size=600), limit=st.integers(1, 700))
def test_any_arrangement_of_equal_and_zero_pages_comes_back(
    tmp_path: Path, new: Any, load: Any, pages: list[int], limit: int
) -> None:
    machine = new(700 * PAGE)
    # 0 is a zero page, 1 to 3 repeat, 4 and 5 are different everywhere.
    data = [bytes(PAGE) if kind == 0 else (bytes([kind]) + (b"" if kind < 4 else b"%d" % i)).ljust(PAGE, b"#")
            for i, kind in enumerate(pages)]  # fmt: skip
    machine.memory.write(RAM, b"".join(data))
    machine.memory.write(RAM + limit * PAGE - 1, b"\1")
    path = tmp_path / "a.rvs"
    snapshots.save(machine, path)
    assert load(path).state_hash() == machine.state_hash()
    found = snapshots.verify(path)
    stored = [machine.memory.read(RAM + i * PAGE, PAGE) for i in range(700)]
    assert found.pages == sum(any(page) for page in stored)
    assert found.contents == len({page for page in stored if any(page)})


def test_a_fill_is_stored_once(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new(32 << 20)
    machine.memory.write(RAM, b"\x55" * (32 << 20))
    path = tmp_path / "a.rvs"
    snapshots.save(machine, path)
    found = snapshots.verify(path)
    assert (found.pages, found.contents, found.uncompressed) == (8192, 1, PAGE)
    assert path.stat().st_size < 2000
    assert load(path).state_hash() == machine.state_hash()


def test_untouched_memory_costs_nothing(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new(8 << 30)
    machine.memory.write(RAM + (8 << 30) - 4, b"last")
    path = tmp_path / "a.rvs"
    begun = time.process_time()
    snapshots.save(machine, path)
    restored = load(path)
    assert time.process_time() - begun < 1
    assert restored.memory.read(RAM + (8 << 30) - 4, 4) == b"last"
    assert list(restored.touched_pages(restored.memory.regions[1])) == [(8 << 18) // 1 - 1]
    found = snapshots.info(path)
    assert (found.memory, found.pages) == (8 << 30, 1)


def test_the_same_machine_gives_the_same_bytes(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new()
    machine.run(500)
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    snapshots.save(machine, first)
    snapshots.save(machine, second)
    snapshots.save(snapshots.capture(machine), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    again = load(first)
    again.host = machine.host
    snapshots.save(again, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_capture_is_independent_of_the_machine_and_of_what_it_became(new: Any) -> None:
    machine = new()
    machine.run(100)
    before = machine.state_hash()
    captured = snapshots.capture(machine)
    machine.run(100)
    after = machine.state_hash()
    first = snapshots.restore(captured, builder=new.from_state)
    assert first.state_hash() == before
    first.run(100)
    first.harts[0]["events"].append(1)
    second = snapshots.restore(captured, builder=new.from_state)
    assert second.state_hash() == before
    second.run(100)
    assert second.state_hash() == after == machine.state_hash()


def test_info_says_what_was_saved(tmp_path: Path, new: Any) -> None:
    machine = new()
    machine.run(3)
    path = tmp_path / "a.rvs"
    snapshots.save(machine, path, note="before\nthe fall", created=1_800_000_000)
    found = snapshots.info(path)
    assert found == snapshots.verify(path)
    assert (found.version, found.note, found.created, found.parent) == ((1, 0), "before\nthe fall", 1_800_000_000, None)
    assert (found.harts, found.vms, found.clock, found.executed) == (1, ("one", "zweiä"), 3, 3)
    assert (found.memory, found.file_size) == (64 * PAGE, path.stat().st_size)
    assert 0 < found.compressed < found.uncompressed == found.contents * PAGE
    snapshots.save(machine, path, note="other")
    assert snapshots.info(path).created is None
    assert snapshots.info(path).identity != found.identity


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "machine.x[0] is float"),
        ((1, 2), "machine.x[0] is tuple"),
        (bytearray(2), "machine.x[0] is bytearray"),
        (1 << 64, "machine.x[0] is wider than 64 bits"),
        (-(1 << 63) - 1, "machine.x[0] is wider than 64 bits"),
        ({"k": {1: 2}}, "a key in machine.x[0].k is int"),
        ({"a\nb": 1.0}, "machine.x[0].'a\\nb' is float"),
        (nested(40), "nested deeper than 32"),
    ],
)
def test_a_state_that_cannot_be_saved_is_named_and_writes_nothing(
    tmp_path: Path, new: Any, value: Any, said: str
) -> None:
    machine = new()
    machine.extra = {"x": [value]}
    with pytest.raises(SnapshotError) as caught:
        snapshots.save(machine, tmp_path / "a.rvs")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_state_without_harts_is_refused(tmp_path: Path, new: Any) -> None:
    machine = new()
    machine.harts = None
    with pytest.raises(SnapshotError, match="no list named 'harts'"):
        snapshots.save(machine, tmp_path / "a.rvs")


def test_a_machine_that_does_not_take_all_over_is_no_restored_machine(saved: Any, new: Any) -> None:
    def forgetful(state: dict[str, Any]) -> Any:
        machine = new.from_state(state)
        machine.harts[0]["x"][1] ^= 1
        return machine

    with pytest.raises(SnapshotError, match=r"did not take over harts\[0\]\.x\[1\]"):
        snapshots.load(saved[0], builder=forgetful)


def test_a_machine_with_other_memory_is_refused(saved: Any, new: Any) -> None:
    with pytest.raises(SnapshotError, match="memory is not that of the machine"):
        snapshots.load(saved[0], builder=lambda state: new(128 * PAGE))


def test_what_the_machine_refuses_is_said_in_one_line(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new()
    captured = snapshots.capture(machine)
    for change, said in (
        ({"memory": 1 << 50}, "memory of 1125899906842624 bytes is too much"),
        ({"memory": None}, "TypeError"),
        ({"clock": "x"}, "TypeError"),
    ):
        machine.extra = change
        snapshots.save(machine, tmp_path / "a.rvs")
        with pytest.raises(SnapshotError, match=said) as caught:
            load(tmp_path / "a.rvs")
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{tmp_path / 'a.rvs'}: ")
    assert snapshots.restore(captured, builder=new.from_state).state_hash() == new().state_hash()


def test_sixty_four_mebibytes_save_and_load_within_a_second_each(tmp_path: Path, new: Any, load: Any) -> None:
    machine = new(64 << 20)
    # Every page different, half of it compressible.
    noise = bytes((i * i >> 3 ^ i >> 7) & 0xFF for i in range(PAGE // 2 + 16384))
    machine.memory.write(RAM, b"".join(noise[i : i + PAGE // 2] + i.to_bytes(4, "little") * 512 for i in range(16384)))
    path = tmp_path / "a.rvs"
    begun = time.process_time()
    snapshots.save(machine, path)
    written = time.process_time()
    restored = load(path)
    read = time.process_time()
    assert snapshots.info(path).contents == 16384
    assert restored.memory.read(RAM, 64 << 20) == machine.memory.read(RAM, 64 << 20)
    assert written - begun < 1
    assert read - written < 1
