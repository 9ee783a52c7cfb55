"""Physical memory: bounds, the change hook, and finding touched pages."""

from __future__ import annotations

import random
import resource
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import ConfigurationError
from emulator.memory import PAGE, Memory, MemoryRangeError, Region

BASE = 0x8000_0000


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(size: int = 1 << 20) -> Memory:
    return Memory([Region("rom", 0x1000, PAGE, writable=False), Region("ram", BASE, size)])


def test_what_is_written_is_read_and_reported() -> None:
    m = memory()
    changes: list[tuple[int, int]] = []
    m.changed = lambda address, length: changes.append((address, length))
    m.write(BASE + 5, b"hello")
    m.write_int(BASE + 16, 4, 0x1_2345_6789)
    m.fill(BASE + 100, 3, 0xEE)
    m.write(BASE, b"")
    assert m.read(BASE + 4, 7) == b"\0hello\0"
    assert m.read(BASE + 16, 5) == bytes([0x89, 0x67, 0x45, 0x23, 0])
    assert m.read_int(BASE + 16, 8) == 0x2345_6789
    assert m.read(BASE + 99, 5) == b"\0\xee\xee\xee\0"
    assert changes == [(BASE + 5, 5), (BASE + 16, 4), (BASE + 100, 3)]


def test_first_and_last_byte_are_reachable_and_nothing_beyond() -> None:
    m = memory()
    end = BASE + (1 << 20)
    m.write(end - 1, b"z")
    assert m.read(end - 1, 1) == b"z"
    for address, length in [(BASE - 1, 1), (BASE - 1, 2), (end - 1, 2), (end, 1), (0, 8), (1 << 70, 1), (-8, 8)]:
        with pytest.raises(MemoryRangeError) as error:
            m.read(address, length)
        assert "0x80000000..0x80100000" in str(error.value) and "\n" not in str(error.value)
        with pytest.raises(MemoryRangeError):
            m.write(address, bytes(length))
        with pytest.raises(MemoryRangeError):
            m.view(address, length)
        with pytest.raises(MemoryRangeError):
            m.fill(address, length)
    with pytest.raises(MemoryRangeError):
        m.read(BASE, -1)


def test_a_view_is_the_memory_itself() -> None:
    m = memory()
    view = m.view(BASE + 8, 4)
    m.write(BASE + 8, b"abcd")
    assert bytes(view) == b"abcd"
    view[0] = ord("x")
    assert m.read(BASE + 8, 4) == b"xbcd"


def test_find_wants_the_whole_range_in_one_region() -> None:
    m = Memory([Region("high", BASE + PAGE, PAGE), Region("low", BASE, PAGE)])
    assert [region.name for region in m.regions] == ["low", "high"]
    found = m.find(BASE + PAGE)
    assert found is not None and found.name == "high"
    assert m.find(BASE + PAGE - 4, 8) is None
    assert m.find(BASE + 2 * PAGE) is None


@pytest.mark.parametrize(
    ("base", "size"), [(BASE + 1, PAGE), (BASE, PAGE + 1), (BASE, 0), (BASE, -PAGE), (-PAGE, PAGE), (1 << 56, PAGE)]
)
def test_bad_regions_are_refused(base: int, size: int) -> None:
    with pytest.raises(ConfigurationError, match="memory region bad"):
        Region("bad", base, size)


def test_overlapping_regions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="one and two overlap at 0x80001000"):
        Memory([Region("one", BASE, 2 * PAGE), Region("two", BASE + PAGE, PAGE)])


def test_more_memory_than_the_computer_has_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="use less") as error:
        Region("ram", 0, 1 << 55)
    assert "\n" not in str(error.value)


def test_pages_nonzero_finds_single_bytes_anywhere() -> None:
    region = Region("ram", BASE, 3 << 20)
    m = Memory([Region("rom", 0x1000, PAGE), region])
    offsets = [0, PAGE - 1, PAGE, 65535, 65536, (1 << 20) - 1, 1 << 20, (3 << 20) - 1]
    for offset in offsets:
        m.write(BASE + offset, b"\1")
    wanted = sorted({offset // PAGE for offset in offsets})
    assert list(region.pages_nonzero()) == wanted
    assert list(m.pages_nonzero()) == [BASE + page * PAGE for page in wanted]
    assert list(region.pages_nonzero([5, 1, 0])) == [1, 0]
    with pytest.raises(MemoryRangeError):
        list(region.pages_nonzero([768]))


@settings(deadline=None)
@given(st.integers(1, 600), st.lists(st.integers(0, 599), max_size=8))
def test_pages_nonzero_agrees_with_looking_at_every_page(pages: int, touched: list[int]) -> None:
    region = Region("ram", 0, pages * PAGE)
    for page in touched:
        if page < pages:
            region.buffer[page * PAGE + page % PAGE] = 1
    slow = [page for page in range(pages) if any(region.buffer[page * PAGE : (page + 1) * PAGE])]
    assert list(region.pages_nonzero()) == slow
    assert list(region.pages_nonzero(range(pages))) == slow


def test_a_gigabyte_costs_only_what_is_touched() -> None:
    before = peak()
    region = Region("ram", BASE, 1 << 30)
    m = Memory([region])
    for page in range(0, 1 << 18, 1 << 12):
        m.write(BASE + page * PAGE, b"\1")
    assert len(list(m.pages_nonzero())) == 64
    grown = peak() - before
    assert grown < 256 << 20, f"{grown} bytes for 64 touched pages, huge ones at worst"


@settings(deadline=None)
@given(st.integers(0, 4 * PAGE), st.integers(0, 4 * PAGE), st.sampled_from([0, 0x5A]))
def test_fill_sets_exactly_its_range(start: int, length: int, byte: int) -> None:
    length = min(length, 4 * PAGE - start)
    m = Memory([Region("ram", 0, 4 * PAGE)])
    old = random.Random(start).randbytes(4 * PAGE)
    m.write(0, old)
    m.fill(start, length, byte)
    assert m.read(0, 4 * PAGE) == old[:start] + bytes([byte]) * length + old[start + length :]


def test_fill_refuses_what_is_no_byte() -> None:
    with pytest.raises(MemoryRangeError, match="256 is not a byte"):
        memory().fill(BASE, 1, 256)


def test_search_finds_all_places_also_overlapping_ones() -> None:
    m = memory()
    m.write(0x1000, b"aa")
    m.write(BASE + 10, b"aaa")
    assert list(m.search(b"aa")) == [0x1000, BASE + 10, BASE + 11]
    assert list(m.search(b"aa", BASE)) == [BASE + 10, BASE + 11]
    assert list(m.search(b"aa", BASE + 10, 2)) == [BASE + 10]
    assert list(m.search(b"ab")) == []
    assert list(m.search(b"")) == []
