"""G-stage tables: against a model, and decoded from memory by other means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import ConfigurationError, StateError
from emulator.memory import Memory, Region
from emulator.vmm.allocator import Allocator
from emulator.vmm.gstage import MEMORY, SCHEMES, Entry, GStage, page_size

BASE, SIZE = 0x8000_0000, 4 << 20
K4, M2, G1 = 4 << 10, 2 << 20, 1 << 30


def make(scheme: str = "Sv39x4") -> tuple[Memory, Allocator, GStage]:
    memory = Memory([Region("ram", BASE, SIZE)])
    allocator = Allocator(BASE, SIZE)
    return memory, allocator, GStage(memory, allocator, scheme)


def walk(memory: Memory, root: int, levels: int, gpa: int) -> int | None:
    """The manual's algorithm, by bit fields: 11 bits for the root, 9 for each level below, 12 for the page."""
    if gpa >= 1 << (12 + 9 * levels + 2):
        return None
    table = root
    for level in reversed(range(levels)):
        bits = 11 if level == levels - 1 else 9
        vpn = gpa >> (12 + 9 * level) & ((1 << bits) - 1)
        pte = int.from_bytes(memory.read(table + vpn * 8, 8), "little")
        if not pte & 1:
            return None
        target = (pte >> 10 & ((1 << 44) - 1)) << 12
        if pte & 0b1110:
            assert pte & 0xFF == 0b11011111, "a guest's page has V R W X U A D and not G"
            below = (1 << (12 + 9 * level)) - 1
            assert target & below == 0
            return target | gpa & below
        table = target
    raise AssertionError("a pointer at the last level")


PAGES = st.tuples(
    st.sampled_from([0, K4, M2 - K4, M2, G1 - M2, G1, (1 << 41) - G1, (1 << 41) - K4]), st.integers(0, 2)
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("map"), PAGES, st.integers(1, 1 << 10)),
        st.tuples(st.just("unmap"), PAGES, st.sampled_from([K4, 3 * K4, M2, G1, 1 << 41])),
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(OPERATIONS)
def test_lookups_agree_with_a_dictionary(operations: list[tuple[str, tuple[int, int], int]]) -> None:
    memory, allocator, tables = make()
    empty = allocator.free_bytes
    model: dict[int, tuple[int, int]] = {}  # gpa -> size, physical

    def overlapping(start: int, end: int) -> list[int]:
        return [gpa for gpa, (size, _) in model.items() if gpa < end and start < gpa + size]

    for what, (gpa, level), number in operations:
        size = page_size(level)
        if what == "map":
            gpa, physical = gpa & -size, number * size
            if overlapping(gpa, gpa + size):
                with pytest.raises(ConfigurationError):
                    tables.map(gpa, physical, level)
            else:
                tables.map(gpa, physical, level)
                model[gpa] = size, physical
        else:
            gone = overlapping(gpa, gpa + number)
            assert tables.unmap(gpa, number) == bool(gone)
            for each in gone:
                del model[each]

    assert [(leaf.gpa, leaf.size, leaf.physical) for leaf in tables.leaves()] == [
        (gpa, *model[gpa]) for gpa in sorted(model)
    ]
    for gpa in {0, K4, M2, G1, (1 << 41) - 1, 1 << 41, *model, *(gpa + size - 1 for gpa, (size, _) in model.items())}:
        expected = next((gpa - at + to for at, (size, to) in model.items() if at <= gpa < at + size), None)
        leaf = tables.lookup(gpa)
        assert (None if leaf is None else leaf.physical + gpa - leaf.gpa) == expected
        assert walk(memory, tables.root, 3, gpa) == expected
    tables.unmap(0, 1 << 41)
    assert allocator.free_bytes == empty, "tables that became empty are free again"
    assert memory.read(tables.root, 16 << 10) == bytes(16 << 10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_maps_up_to_its_last_page(scheme: str) -> None:
    memory, allocator, tables = make(scheme)
    levels = SCHEMES[scheme].levels
    last = (1 << (14 + 9 * levels)) - K4
    tables.map(last, 0x1234000)
    assert walk(memory, tables.root, levels, last + 5) == 0x1234005
    assert tables.lookup(last + K4) is None
    with pytest.raises(ConfigurationError, match="beyond"):
        tables.map(last + K4, 0)
    assert tables.root % (16 << 10) == 0
    hgatp = tables.hgatp(5)
    assert (hgatp >> 60, hgatp >> 44 & 0x3FFF, (hgatp & ((1 << 44) - 1)) << 12) == (levels + 5, 5, tables.root)
    tables.destroy()
    assert allocator.free_bytes == SIZE


def test_what_cannot_be_mapped_is_refused() -> None:
    _, _, tables = make()
    for gpa, physical, level in ((K4, 0, 1), (0, K4, 1), (1, 0, 0), (0, 0, 3), (-K4, 0, 0)):
        with pytest.raises(ConfigurationError):
            tables.map(gpa, physical, level)
    with pytest.raises(ConfigurationError, match="Sv39x4, Sv48x4, Sv57x4"):
        make("Sv39")


def test_tree_is_read_level_by_level_from_memory() -> None:
    memory, _, tables = make()
    tables.map(G1 + M2 + K4, 0x8123_4000)
    tables.map(2 * G1, G1, 2)
    first, second = tables.children()
    assert (first.kind, first.gpa, first.level, first.size) == ("pointer", G1, 2, G1)
    assert (second.kind, second.gpa, second.physical, second.flags) == ("leaf", 2 * G1, G1, "da-uxwrv")
    (middle,) = tables.children(first)
    (leaf,) = tables.children(middle)
    assert (leaf.kind, leaf.gpa, leaf.physical) == ("leaf", G1 + M2 + K4, 0x8123_4000)
    assert tables.children(leaf) == [] == tables.children(second)
    # Whoever changes the memory sees the change: nothing is remembered.
    memory.write(leaf.address, (leaf.pte & ~1).to_bytes(8, "little"))
    assert tables.children(middle)[0].kind == "invalid"
    assert tables.lookup(leaf.gpa) is None


@pytest.mark.parametrize(
    ("pte", "level", "kind"),
    [
        (0b11011111, 0, "leaf"),
        (0b1, 1, "pointer"),
        (0b1, 0, "invalid"),  # a pointer at the last level
        (0b11010101, 0, "invalid"),  # W without R
        (0b11011110, 0, "invalid"),  # V clear
        (1 << 10 | 0b11011111, 1, "invalid"),  # a superpage with low PPN bits
        (512 << 10 | 0b11011111, 1, "leaf"),
        (1 << 63 | 8 << 10 | 0b11011111, 0, "leaf"),  # 64 KiB by N
        (1 << 63 | 4 << 10 | 0b11011111, 0, "invalid"),  # 32 KiB by N: reserved
        (1 << 63 | 512 << 10 | 0b11011111, 1, "invalid"),  # N above the last level
        (2 << 61 | 0b11011111, 0, "leaf"),
        (3 << 61 | 0b11011111, 0, "invalid"),  # a reserved memory type
        (1 << 61 | 0b1, 1, "invalid"),  # a pointer with a memory type
        (0b11000001, 1, "invalid"),  # a pointer with A and D
        (1 << 54 | 0b11011111, 0, "invalid"),  # a reserved bit
    ],
)
def test_entries_are_named_as_the_hart_takes_them(pte: int, level: int, kind: str) -> None:
    assert Entry(0x8000_0000, level, 0, pte).kind == kind


def test_protect_takes_write_permission_and_splits_superpages() -> None:
    _, _, tables = make()
    tables.map(0, M2, 0)
    tables.map(M2, M2, 1)
    assert tables.protect(0, 2 * M2)
    (leaf,) = tables.leaves()
    assert leaf.gpa == 0
    assert leaf.flags == "-a-ux-rv"
    assert not tables.protect(0, 2 * M2)
    tables.allow_write(leaf)
    found = tables.lookup(0)
    assert found is not None
    assert found.pte & 0xFF == MEMORY


def test_state_restores_the_same_tables() -> None:
    memory, allocator, tables = make()
    tables.map(0x8000_0000, 0x8010_0000)
    again = GStage.from_state(memory, allocator, tables.state())
    assert list(again.leaves()) == list(tables.leaves())
    again.unmap(0x8000_0000, K4)
    assert again.state()["tables"] == []
    for damage in ({"scheme": "Sv39"}, {"root": BASE + K4}, {"tables": [BASE + SIZE]}, {"tables": 5}):
        with pytest.raises(StateError):
            GStage.from_state(memory, allocator, {**tables.state(), **damage})


def test_a_pointer_to_nowhere_is_an_error_in_one_line() -> None:
    memory, _, tables = make()
    tables.map(0, 0)
    memory.write(tables.root, (0x7777 << 10 | 1).to_bytes(8, "little"))
    with pytest.raises(Exception, match="no memory there") as raised:
        tables.lookup(0)
    assert "\n" not in str(raised.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=30), st.randoms(use_true_random=False))
def test_allocator_never_gives_a_byte_twice(requests: list[tuple[int, int]], random: object) -> None:
    allocator = Allocator(BASE, SIZE)
    held: list[tuple[int, int]] = []
    for pages, shift in requests:
        size, alignment = pages * K4, K4 << shift
        start = allocator.allocate(size, alignment, like=K4)
        assert start % alignment == K4 % alignment
        assert start >= BASE and start + size <= BASE + SIZE
        assert all(start >= other + length or other >= start + size for other, length in held)
        held.append((start, size))
    again = Allocator(BASE, SIZE)
    again.restore(allocator.state())
    assert again.state() == allocator.state()
    random.shuffle(held)  # type: ignore[attr-defined]
    for start, size in held:
        allocator.free(start, size)
    assert allocator.state() == [[BASE, BASE + SIZE]]


def test_allocator_says_what_is_free() -> None:
    allocator = Allocator(BASE, 4 * K4)
    allocator.allocate(K4)
    with pytest.raises(ConfigurationError, match="0x3000 of 0x4000 free"):
        allocator.allocate(4 * K4)
    for damage in ([[BASE, BASE]], [[BASE, BASE + 1]], [[BASE + K4, BASE + 2 * K4], [BASE, BASE + K4]], 7, [[0, K4]]):
        with pytest.raises(StateError):
            allocator.restore(damage)
