"""Address translation: both stages, permissions, A and D bits, PMP, fences, and what faults leave behind.

Sections of the privileged manual: "Virtual Address Translation Process", "Two-Stage Address Translation",
"Guest-Page Faults", "Hypervisor Virtual-Machine Load and Store Instructions", "Physical Memory Protection",
"Supervisor Memory-Management Fence Instruction", "Hypervisor Memory-Management Fence Instructions".
"""

from __future__ import annotations

import struct
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import (
    ADUE,
    BASE,
    DATA,
    FETCH,
    FETCH_ACCESS,
    FETCH_GUEST,
    FETCH_PAGE,
    GVA,
    H_GVA,
    HS,
    HU,
    LEAF,
    LOAD,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    MPRV,
    MPV,
    MXR,
    ONES,
    SPV,
    SPVP,
    STORE,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    SUM,
    TABLES,
    TEXT,
    USER,
    VS,
    VU,
    A,
    D,
    G,
    M,
    R,
    Rig,
    Tables,
    U,
    V,
    W,
    X,
    tinst,
)

from emulator.errors import TranslationError
from emulator.hart import Access, Mode, WalkResult

ACCESSES = (FETCH, LOAD, STORE)
PAGE_FAULT = {FETCH: FETCH_PAGE, LOAD: LOAD_PAGE, STORE: STORE_PAGE}
GUEST_FAULT = {FETCH: FETCH_GUEST, LOAD: LOAD_GUEST, STORE: STORE_GUEST}
ACCESS_FAULT = {FETCH: FETCH_ACCESS, LOAD: LOAD_ACCESS, STORE: STORE_ACCESS}
VALUE = 0x0123_4567_89AB_0001  # begins with c.nop
GUEST_TABLES = TABLES + 0x8_0000
ADDRESS = 0x1234_5678_9000 & (1 << 38) - 1
PAGE = DATA + 0x8000


class World:
    """A rig whose code stands in a page of its own, mapped for `mode`, with tables of the stages that the mode has."""

    def __init__(
        self, mode: Mode, *, levels: int = 3, guest_levels: int | None = 3, code: bool = True, **csrs: int
    ) -> None:
        self.rig = Rig()
        self.mode = mode
        self.first = Tables(self.rig, levels)
        self.second = Tables(self.rig, guest_levels or 3, guest=True, at=GUEST_TABLES)
        user = USER if mode.privilege == 0 else 0
        if code:
            self.first.map(BASE, BASE, LEAF | user)
        if mode.virtual and guest_levels:
            self.identity()
        self.rig.set(**{"vsatp" if mode.virtual else "satp": self.first.atp})
        if mode.virtual and guest_levels:
            self.rig.set(hgatp=self.second.atp)
        self.rig.set(**csrs)
        self.rig.store(PAGE, VALUE)

    def identity(self) -> None:
        """Guest-physical RAM is physical RAM, by 2 MiB pages."""
        for at in range(BASE, BASE + (4 << 20), 2 << 20):
            self.second.map(at, at, LEAF | USER, 1)

    def reach(self, kind: str, address: int) -> tuple[int, int] | None:
        """Carry out one access: (cause, mtval), or None when it succeeded."""
        rig = self.rig
        rig.write(BASE, TEXT[kind])
        rig.hart.pc, rig.hart.mode = BASE, self.mode
        rig.put(a0=0, a1=address, a2=VALUE)
        rig.run(2 if kind == FETCH else 1)
        trap = rig.trap()
        if trap is not None:
            assert rig.csr("mepc") == (address if kind == FETCH else BASE)
            return trap[1:]
        assert rig.hart.pc == ((address + 2) & ONES if kind == FETCH else BASE + 4)
        return None


MODES = (HS, U, VS, VU)
LEVELS = {3: 39, 4: 48, 5: 57}


def canonical(address: int, width: int) -> int:
    address &= (1 << width) - 1
    return (address | -1 << width) & ONES if address >> (width - 1) else address


# --- one stage ---


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([3, 4, 5]), st.integers(0, 4), st.integers(0, ONES), st.sampled_from([HS, U, VS]))
def test_pages_of_every_size(levels: int, level: int, address: int, mode: Mode) -> None:
    level = min(level, levels - 1)
    size = 1 << 12 + 9 * level
    world = World(mode, levels=levels, guest_levels=None)
    address = canonical(address & ~7, LEVELS[levels])
    if level < 2:
        at = BASE + (address & (size - 1)) if level else PAGE + (address & 4095)
        page = at & ~(size - 1)
    else:  # the page holds RAM somewhere; the low bits choose where in it
        page = BASE & ~(size - 1)
        address = canonical((address & ~(size - 1)) | (PAGE + (address & 0xFF8) - page), LEVELS[levels])
        at = PAGE + (address & 0xFF8)
    world.first.map(address, page, LEAF | (0 if mode.privilege else USER), level)
    if address >> (12 + 9 * level) == BASE >> (12 + 9 * level):
        return  # the code's own page
    if PAGE <= at < PAGE + 0x1000:
        world.rig.store(at, VALUE)
    expected = world.rig.load(at)
    world.rig.hart.mode = mode
    walk = world.rig.hart.walk(address, Access.LOAD)
    assert (walk.physical, walk.cause) == (at, None)
    assert walk.page_bits == 12 + 9 * level
    if BASE + 0x1000 <= at < TABLES:
        assert world.reach(LOAD, address) is None
        assert world.rig.x("a0") == expected


@pytest.mark.parametrize(("levels", "width"), LEVELS.items())
@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("mode", [HS, VS])
def test_addresses_must_be_sign_extended(mode: Mode, kind: str, levels: int, width: int) -> None:
    world = World(mode, levels=levels, guest_levels=4)
    for address in (
        1 << (width - 1),
        (1 << width) - 0x1000,
        ONES - (1 << (width - 1)) - 0xFFE,
        1 << 63,
        1 << 62 | 0x1000,
    ):
        assert world.reach(kind, address & ~1) == (PAGE_FAULT[kind], address & ~1)
        assert world.rig.csr("mtval2") == 0


def permitted(kind: str, flags: int, user: bool, sum_: bool, mxr: bool) -> bool:
    """The rules of "Virtual Address Translation Process", steps 3 to 8, for a leaf."""
    if not flags & V or (flags & W and not flags & R):
        return False
    if not flags & (R | X):
        return False  # a pointer, below the last level
    if user != bool(flags & USER) and (user or kind == FETCH or not sum_):
        return False
    if kind == FETCH:
        return bool(flags & X)
    if kind == STORE:
        return bool(flags & W)
    return bool(flags & R or (mxr and flags & X))


FLAGS = [sum(bits) for bits in product((0, V), (0, R), (0, W), (0, X), (0, USER))]


@pytest.mark.parametrize(("sum_", "mxr"), list(product((0, SUM), (0, MXR))))
@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("mode", MODES)
def test_permissions(mode: Mode, kind: str, sum_: int, mxr: int) -> None:
    """In a guest, SUM and MXR of vsstatus count for the VS-stage; the host's SUM is set the other way round."""
    world = World(mode)
    if mode.virtual:
        world.rig.set(vsstatus=sum_ | mxr, mstatus=SUM & ~sum_)
    else:
        world.rig.set(mstatus=sum_ | mxr, vsstatus=(SUM | MXR) & ~(sum_ | mxr))
    for flags in FLAGS:
        world.first.map(ADDRESS, PAGE, flags | A | D)
        world.rig.hart.flush_translation()
        good = permitted(kind, flags, mode.privilege == 0, bool(sum_), bool(mxr))
        assert world.reach(kind, ADDRESS) == (None if good else (PAGE_FAULT[kind], ADDRESS)), hex(flags)
        if not good:
            assert bool(world.rig.csr("mstatus") & GVA) == mode.virtual
        if good and kind == LOAD:
            assert world.rig.x("a0") == VALUE


def test_mxr_of_the_host_counts_for_the_vs_stage_too() -> None:
    world = World(VS, mstatus=MXR)
    world.first.map(ADDRESS, PAGE, V | X | A)
    assert world.reach(LOAD, ADDRESS) is None


@pytest.mark.parametrize("mode", [HS, VS])
@pytest.mark.parametrize(
    ("what", "result"),
    [
        (LEAF | 1 << 54, WalkResult.RESERVED),
        (LEAF | 1 << 60, WalkResult.RESERVED),
        (LEAF | 1 << 61, WalkResult.RESERVED),
        (LEAF | 1 << 63, WalkResult.RESERVED),
        (V, WalkResult.TOO_DEEP),
        (V | G, WalkResult.TOO_DEEP),
        (LEAF & ~V, WalkResult.INVALID),
        (V | W | A | D, WalkResult.INVALID),
        (V | W | X | A | D, WalkResult.INVALID),
    ],
)
def test_entries_that_cannot_be(mode: Mode, what: int, result: WalkResult) -> None:
    world = World(mode)
    world.first.map(ADDRESS, PAGE + 0x1000, what)  # no page number that Svnapot knows
    for kind in ACCESSES:
        assert world.reach(kind, ADDRESS) == (PAGE_FAULT[kind], ADDRESS)
    walk = world.rig.hart.walk(ADDRESS, Access.LOAD, mode)
    assert (walk.cause, walk.steps[-1].result) == (LOAD_PAGE, result)


@pytest.mark.parametrize("bits", [A, D, USER, 1 << 54, 1 << 61, 1 << 62, 1 << 63])
@pytest.mark.parametrize("level", [1, 2])
def test_reserved_bits_of_pointers_must_be_zero(level: int, bits: int) -> None:
    world = World(HS)
    world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(LOAD, ADDRESS) is None
    slot = world.first.slot(ADDRESS, level)
    world.rig.store(slot, world.rig.load(slot) | bits)
    world.rig.hart.flush_translation()
    assert world.reach(LOAD, ADDRESS) == (LOAD_PAGE, ADDRESS)


def test_pointers_and_leaves_may_be_global() -> None:
    world = World(HS)
    world.first.map(ADDRESS, PAGE, LEAF | G | 3 << 8)
    slot = world.first.slot(ADDRESS, 1)
    world.rig.store(slot, world.rig.load(slot) | G)
    assert world.reach(LOAD, ADDRESS) is None


@pytest.mark.parametrize("mode", [HS, VS])
@pytest.mark.parametrize(("level", "bit"), [(1, 12), (1, 20), (2, 12), (2, 21), (2, 29)])
def test_superpages_must_be_aligned(mode: Mode, level: int, bit: int) -> None:
    world = World(mode)
    world.first.map(ADDRESS, 0x8000_0000 | 1 << bit, LEAF, level)
    assert world.reach(LOAD, ADDRESS) == (LOAD_PAGE, ADDRESS)
    assert world.rig.hart.walk(ADDRESS, mode=mode).steps[-1].result is WalkResult.MISALIGNED


def test_tables_must_be_in_memory() -> None:
    world = World(HS)
    slot = world.first.slot(ADDRESS, 2)
    world.rig.store(slot, 0x7000_0000 >> 12 << 10 | V)
    for kind in ACCESSES:
        assert world.reach(kind, ADDRESS) == (ACCESS_FAULT[kind], ADDRESS)


def test_physical_addresses_beyond_memory_are_access_faults() -> None:
    world = World(HS)
    world.first.map(ADDRESS, (1 << 55) + 0x1000, LEAF)
    for kind in ACCESSES:
        assert world.reach(kind, ADDRESS) == (ACCESS_FAULT[kind], ADDRESS)


def test_bare_and_machine_mode_do_not_translate() -> None:
    for mode in (M, HS, U, VS, VU):
        rig = Rig("ld a0, 0(a1)", mode=mode)
        if mode is M:
            rig.set(satp=8 << 60 | 1, vsatp=8 << 60 | 1, hgatp=8 << 60 | 4)
        rig.store(PAGE, VALUE)
        rig.put(a1=PAGE)
        rig.run(1)
        assert rig.x("a0") == VALUE


def test_bare_addresses_are_not_truncated() -> None:
    rig = Rig("ld a0, 0(a1)", mode=HS)
    rig.put(a1=1 << 56 | PAGE)
    rig.run(1)
    assert rig.trap() == (M, LOAD_ACCESS, 1 << 56 | PAGE)


# --- A and D ---


@pytest.mark.parametrize("update", [0, ADUE])
@pytest.mark.parametrize("flags", [0, A, D, A | D])
@pytest.mark.parametrize("kind", [*ACCESSES, "lr", "amo"])
@pytest.mark.parametrize("mode", [HS, U, VS, VU])
def test_accessed_and_dirty(mode: Mode, kind: str, flags: int, update: int) -> None:
    """Svade without ADUE, Svadu with it: menvcfg's for HS and U, henvcfg's for the VS-stage."""
    world = World(mode, menvcfg=ADUE if update or mode.virtual else 0, henvcfg=update if mode.virtual else 0)
    user = 0 if mode.privilege else USER
    slot = world.first.map(ADDRESS, PAGE, V | R | W | X | user | flags)
    writes = kind in (STORE, "amo")
    needed = A | (D if writes else 0)
    cause = PAGE_FAULT[STORE if writes else FETCH if kind == FETCH else LOAD]
    if flags & needed == needed or update:
        assert world.reach(kind, ADDRESS) is None
        assert world.rig.load(slot) & (A | D) == flags | needed
    else:
        assert world.reach(kind, ADDRESS) == (cause, ADDRESS)
        assert world.rig.load(slot) & (A | D) == flags


def test_the_first_store_to_a_page_that_was_read_sets_d() -> None:
    world = World(HS, menvcfg=ADUE)
    slot = world.first.map(ADDRESS, PAGE, V | R | W)
    assert world.reach(LOAD, ADDRESS) is None
    assert world.rig.load(slot) & (A | D) == A
    assert world.reach(STORE, ADDRESS) is None
    assert world.rig.load(slot) & (A | D) == A | D


def test_no_bit_is_set_when_the_access_is_not_permitted() -> None:
    world = World(HS, menvcfg=ADUE)
    slot = world.first.map(ADDRESS, PAGE, V | R)
    assert world.reach(STORE, ADDRESS) == (STORE_PAGE, ADDRESS)
    assert world.rig.load(slot) & (A | D) == 0


@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("flags", [0, A, A | D])
@pytest.mark.parametrize("update", [0, ADUE])
def test_accessed_and_dirty_of_the_g_stage(kind: str, flags: int, update: int) -> None:
    """menvcfg.ADUE rules the G-stage, henvcfg's does not."""
    world = World(VS, menvcfg=update)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    slot = world.second.map(0x1_0000_0000, PAGE, V | R | W | X | USER | flags)
    needed = A | (D if kind == STORE else 0)
    if flags & needed == needed or update:
        assert world.reach(kind, ADDRESS) is None
        assert world.rig.load(slot) & (A | D) == flags | needed
    else:
        assert world.reach(kind, ADDRESS) == (GUEST_FAULT[kind], ADDRESS)
        assert world.rig.csr("mtval2") == 0x1_0000_0000 >> 2
        assert world.rig.load(slot) & (A | D) == flags


def guest_with_tables_elsewhere(flags: int, **csrs: int) -> tuple[World, int, int, int]:
    """A guest whose last-level table for ADDRESS lies at a guest-physical page of its own, mapped with `flags`.
    (world, physical address of the entry, its guest-physical address, slot of the G-stage entry)."""
    world = World(VS)
    world.rig.set(**csrs)
    entry = world.first.map(ADDRESS, PAGE, V | R | W | X)
    table = entry & ~0xFFF
    gpa = 0x1_2345_6000
    pointer = world.first.slot(ADDRESS, 1)
    world.rig.store(pointer, gpa >> 12 << 10 | V)
    slot = world.second.map(gpa, table, flags)
    return world, entry, gpa | entry & 0xFFF, slot


@pytest.mark.parametrize("kind", ACCESSES)
def test_the_update_of_a_guests_entry_is_a_store_to_the_g_stage(kind: str) -> None:
    world, entry, _, slot = guest_with_tables_elsewhere(V | R | W | USER, menvcfg=ADUE, henvcfg=ADUE)
    assert world.reach(kind, ADDRESS) is None
    assert world.rig.load(entry) & (A | D) == (A | D if kind == STORE else A)
    assert world.rig.load(slot) & (A | D) == A | D


@pytest.mark.parametrize("kind", ACCESSES)
def test_an_update_that_the_g_stage_forbids(kind: str) -> None:
    """The fault is of the original access; htinst says that a write of a page-table entry failed: 0x3020."""
    world, entry, gpa, _ = guest_with_tables_elsewhere(V | R | USER | A, menvcfg=ADUE, henvcfg=ADUE)
    assert world.reach(kind, ADDRESS) == (GUEST_FAULT[kind], ADDRESS)
    assert (world.rig.csr("mtval2"), world.rig.csr("mtinst")) == (gpa >> 2, 0x3020)
    assert world.rig.load(entry) & (A | D) == 0


@pytest.mark.parametrize("kind", ACCESSES)
def test_walks_of_a_guest_set_a_but_not_d_of_the_g_stage(kind: str) -> None:
    world, entry, _, slot = guest_with_tables_elsewhere(V | R | USER, menvcfg=ADUE)
    world.rig.store(entry, world.rig.load(entry) | A | D)
    assert world.reach(kind, ADDRESS) is None
    assert world.rig.load(slot) & (A | D) == A


@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("flags", [0, V | R | A | D, V | X | USER | A | D, V | R | USER | D])
def test_a_guests_table_that_the_g_stage_does_not_show(kind: str, flags: int) -> None:
    """Implicit reads need R and U, whatever MXR says; htval is the address of the entry, htinst 0x3000."""
    world, _, gpa, _ = guest_with_tables_elsewhere(flags, mstatus=MXR, vsstatus=MXR)
    assert world.reach(kind, ADDRESS) == (GUEST_FAULT[kind], ADDRESS)
    assert (world.rig.csr("mtval2"), world.rig.csr("mtinst")) == (gpa >> 2, 0x3000)
    assert world.rig.csr("mstatus") & (GVA | MPV) == GVA | MPV


# --- two stages ---


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([3, 4, 5]),
    st.sampled_from([3, 4, 5]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, ONES),
    st.integers(0, ONES),
)
def test_pages_of_both_stages_are_independent(
    levels: int, guest_levels: int, level: int, guest_level: int, address: int, gpa: int
) -> None:
    """gva to gpa by one size, gpa to physical by another. Only the walk is asked, so that anything may be mapped."""
    rig = Rig()
    first, second = Tables(rig, levels), Tables(rig, guest_levels, guest=True, at=GUEST_TABLES)
    rig.set(vsatp=first.atp, hgatp=second.atp)
    address = canonical(address, LEVELS[levels])
    size, guest_size = 1 << 12 + 9 * level, 1 << 12 + 9 * guest_level
    # VS-stage leaves carry 44 bits of PPN; the G-stage takes two bits more than the first stage of as many levels.
    gpa = gpa & ((1 << min(LEVELS[guest_levels] + 2, 56)) - 1) & ~(size - 1) | address & (size - 1)
    if gpa >> 30 == BASE >> 30:
        gpa ^= 1 << 31
    second.map(BASE, BASE, LEAF | USER, 2 if guest_levels else 0)
    first.map(address, gpa & ~(size - 1), LEAF, level)
    # The page of the G-stage that holds the address leads to RAM at its own low bits, as far as there are any.
    physical_page = BASE if guest_level else PAGE
    if guest_level == 2:
        physical_page = BASE & ~(guest_size - 1)
    second.map(gpa, physical_page, LEAF | USER, guest_level)
    expected = physical_page | gpa & (guest_size - 1)
    walk = rig.hart.walk(address, Access.LOAD, VS)
    if rig.machine.memory.find(expected) is not None:
        assert (walk.physical, walk.guest_physical) == (expected, gpa)
        assert walk.page_bits == 12 + 9 * min(level, guest_level)
    else:
        assert (walk.physical, walk.cause, walk.tval) == (None, LOAD_ACCESS, address)
    final = [step for step in walk.steps if step.stage == 1 and step.nested is None]
    assert (final[-1].result, final[-1].output) == (WalkResult.LEAF, expected)


@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize(("level", "guest_level"), [(0, 1), (1, 0), (1, 1), (0, 0)])
def test_accesses_through_superpages_of_either_stage(level: int, guest_level: int, kind: str) -> None:
    world = World(VS)
    gpa = 0x1_4020_0000 | PAGE & 0x1F_FFFF
    address = 0x20_0020_0000 | PAGE & 0x1F_FFFF
    world.first.map(address, gpa & ~((1 << 12 + 9 * level) - 1), LEAF, level)
    world.second.map(gpa, PAGE & ~((1 << 12 + 9 * guest_level) - 1), LEAF | USER, guest_level)
    assert world.reach(kind, address) is None
    if kind == LOAD:
        assert world.rig.x("a0") == VALUE
    if not level or not guest_level:  # only that page is mapped
        beyond = address + 0x1000
        expected = PAGE_FAULT if not level else GUEST_FAULT
        assert world.reach(kind, beyond) == (expected[kind], beyond)


@pytest.mark.parametrize("guest_levels", [3, 4, 5])
@pytest.mark.parametrize("kind", ACCESSES)
def test_the_g_stage_takes_two_more_bits_and_zero_extends(kind: str, guest_levels: int) -> None:
    width = LEVELS[guest_levels] + 2
    world = World(VS, levels=3, guest_levels=guest_levels)
    if width <= 56:
        top = (1 << width) - 0x1000
        world.second.map(top, PAGE, LEAF | USER)
        world.first.map(ADDRESS, top, LEAF)
        assert world.reach(kind, ADDRESS) is None
    world = World(VS, guest_levels=guest_levels)
    rig = world.rig
    # With vsatp Bare the address itself is guest-physical.
    rig.set(vsatp=0)
    for address in (1 << width, 1 << width + 1, 1 << 63, ONES & ~0xFFF):
        world.second.map(address & ((1 << width) - 1), PAGE, LEAF | USER)  # where it would lead without the bits
        rig.write(BASE, TEXT[kind])
        rig.hart.pc, rig.hart.mode = BASE, VS
        rig.put(a1=address)
        rig.run(2 if kind == FETCH else 1)
        assert rig.trap() == (M, GUEST_FAULT[kind], address)
        assert (rig.csr("mtval2"), rig.csr("mtinst")) == (address >> 2, tinst(TEXT[kind]))


@pytest.mark.parametrize("guest_levels", [3, 4])
def test_a_guests_table_beyond_the_g_stage(guest_levels: int) -> None:
    world = World(VS, guest_levels=guest_levels)
    far = 1 << LEVELS[guest_levels] + 2
    world.rig.store(world.first.slot(ADDRESS, 2), far >> 12 << 10 | V)
    assert world.reach(STORE, ADDRESS) == (STORE_GUEST, ADDRESS)
    index = ADDRESS >> 21 & 0x1FF
    assert (world.rig.csr("mtval2"), world.rig.csr("mtinst")) == ((far + 8 * index) >> 2, 0x3000)


@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("gmxr", [0, MXR])
def test_permissions_of_the_g_stage(kind: str, gmxr: int) -> None:
    """Every access is a user's there. MXR of vsstatus has no say; the host's has."""
    world = World(VS, mstatus=gmxr, vsstatus=MXR)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    for flags in FLAGS:
        world.second.map(0x1_0000_0000, PAGE, flags | A | D)
        world.rig.hart.flush_translation()
        good = permitted(kind, flags, True, False, bool(gmxr))
        found = world.reach(kind, ADDRESS)
        assert found == (None if good else (GUEST_FAULT[kind], ADDRESS)), hex(flags)
        if not good:
            assert (world.rig.csr("mtval2"), world.rig.csr("mtinst")) == (0x1_0000_0000 >> 2, tinst(TEXT[kind]))


def test_htval_holds_the_guest_physical_address_with_its_offset() -> None:
    world = World(VS)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    for offset in (0, 8, 0xFF8):
        assert world.reach(LOAD, ADDRESS + offset) == (LOAD_GUEST, ADDRESS + offset)
        assert world.rig.csr("mtval2") == (0x1_0000_0000 + offset) >> 2


@pytest.mark.parametrize("kind", ["lr", "sc", "amo"])
def test_atomics_fault_as_stores_but_load_reserved(kind: str) -> None:
    world = World(VS)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    assert world.reach(kind, ADDRESS) == (LOAD_GUEST if kind == "lr" else STORE_GUEST, ADDRESS)
    world.first.map(ADDRESS, PAGE, V | R | A | D)
    world.rig.hart.flush_translation()
    assert world.reach(kind, ADDRESS) == (None if kind == "lr" else (STORE_PAGE, ADDRESS))


def test_a_guest_page_fault_taken_by_hs() -> None:
    world = World(VS, medeleg=ONES, hedeleg=ONES)
    rig = world.rig
    rig.set(mtval2=0, mtinst=0)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    rig.write(BASE, TEXT[STORE])
    rig.hart.pc, rig.hart.mode = BASE, VS
    rig.put(a1=ADDRESS + 16)
    rig.run(1)
    assert rig.trap() == (HS, STORE_GUEST, ADDRESS + 16)
    assert (rig.csr("htval"), rig.csr("htinst")) == ((0x1_0000_0000 + 16) >> 2, tinst(TEXT[STORE]))
    assert rig.csr("hstatus") & (H_GVA | SPV | SPVP) == H_GVA | SPV | SPVP
    assert (rig.csr("mtval2"), rig.csr("mtinst"), rig.csr("mcause")) == (0, 0, 0)


def test_a_page_fault_of_the_vs_stage_taken_by_the_guest() -> None:
    world = World(VU, medeleg=ONES, hedeleg=ONES, htval=77)
    rig = world.rig
    rig.write(BASE, TEXT[LOAD])
    rig.hart.pc, rig.hart.mode = BASE, VU
    rig.put(a1=ADDRESS)
    rig.run(1)
    assert rig.trap() == (VS, LOAD_PAGE, ADDRESS)
    assert rig.csr("htval") == 77


@pytest.mark.parametrize("kind", ACCESSES)
def test_an_access_fault_of_a_guest_has_no_guest_physical_address(kind: str) -> None:
    world = World(VS, mtval2=ONES, mtinst=ONES)
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    world.second.map(0x1_0000_0000, 0x7000_0000, LEAF | USER)
    assert world.reach(kind, ADDRESS) == (ACCESS_FAULT[kind], ADDRESS)
    assert (world.rig.csr("mtval2"), world.rig.csr("mtinst")) == (0, tinst(TEXT[kind]))
    assert world.rig.csr("mstatus") & GVA


def test_a_fault_of_the_vs_stage_comes_before_one_of_the_g_stage() -> None:
    world = World(VS)
    world.first.map(ADDRESS, 0x1_0000_0000, V | R | A | D)  # not writable, and not mapped behind
    assert world.reach(STORE, ADDRESS) == (STORE_PAGE, ADDRESS)


def test_hgatp_bare_leaves_one_stage() -> None:
    world = World(VS, guest_levels=None)
    world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(LOAD, ADDRESS) is None
    assert all(step.stage == 0 for step in world.rig.hart.walk(ADDRESS, mode=VS).steps)


def test_the_g_stages_root_is_four_pages() -> None:
    world = World(VS)
    gpa = 3 << 39 | 5 << 30 | 7 << 21
    world.second.map(gpa, PAGE, LEAF | USER)
    world.first.map(ADDRESS, gpa, LEAF)
    walk = world.rig.hart.walk(ADDRESS, mode=VS)
    top = next(step for step in walk.steps if step.stage == 1 and step.nested is None)
    assert top.pte_address == world.second.root + 8 * (gpa >> 30)
    assert world.reach(LOAD, ADDRESS) is None


# --- HLV, HLVX, HSV ---


class GuestAccess(World):
    """Code of the hypervisor (bare), and a guest's page at ADDRESS."""

    def __init__(self, mode: Mode, flags: int, guest_flags: int = LEAF | USER, **csrs: int) -> None:
        super().__init__(VS, code=False, **csrs)
        self.mode = mode
        self.first.map(ADDRESS, 0x1_0000_0000, flags)
        self.second.map(0x1_0000_0000, PAGE, guest_flags)


@pytest.mark.parametrize("mode", [M, HS, U])
@pytest.mark.parametrize("spvp", [0, SPVP])
@pytest.mark.parametrize("kind", ["hlv", "hlvx", "hsv"])
def test_guest_accesses_are_made_in_the_mode_of_spvp(kind: str, spvp: int, mode: Mode) -> None:
    for flags in (LEAF, LEAF | USER):
        world = GuestAccess(mode, flags, hstatus=HU | spvp, mstatus=SUM)
        good = bool(flags & USER) != bool(spvp)
        assert world.reach(kind, ADDRESS) == (None if good else (STORE_PAGE if kind == "hsv" else LOAD_PAGE, ADDRESS))
        if not good:
            assert world.rig.csr("mstatus") & (GVA | MPV) == GVA  # from V=0, with a guest's address


def test_sum_of_the_guest_counts_for_guest_accesses() -> None:
    world = GuestAccess(HS, LEAF | USER, hstatus=SPVP, vsstatus=SUM)
    assert world.reach("hlv", ADDRESS) is None


@pytest.mark.parametrize(
    ("flags", "guest_flags", "good"),
    [
        (V | X | A, V | X | USER | A, None),
        (V | R | A, V | X | USER | A, LOAD_PAGE),
        (V | R | W | A, V | X | USER | A, LOAD_PAGE),
        (V | X | A, V | R | USER | A, LOAD_GUEST),
        (V | X | A, V | R | X | USER | A, None),
    ],
)
def test_hlvx_needs_execute_in_both_stages_and_faults_as_a_load(flags: int, guest_flags: int, good: int | None) -> None:
    world = GuestAccess(HS, flags, guest_flags, hstatus=SPVP)
    assert world.reach("hlvx", ADDRESS) == (None if good is None else (good, ADDRESS))
    if good is None:
        assert world.rig.x("a0") == VALUE & 0xFFFF_FFFF


def test_hlvx_reads_page_tables_as_anybody() -> None:
    """Implicit accesses need read permission of the G-stage, not execute."""
    world = GuestAccess(HS, LEAF, hstatus=SPVP)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        world.second.map(at, at, V | R | W | USER | A | D, 1)
    assert world.reach("hlvx", ADDRESS) is None


def test_hlv_does_not_read_what_is_only_executable() -> None:
    world = GuestAccess(HS, V | X | A, hstatus=SPVP)
    assert world.reach("hlv", ADDRESS) == (LOAD_PAGE, ADDRESS)
    world.rig.set(vsstatus=MXR)
    assert world.reach("hlv", ADDRESS) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hlv.b", 0xFFFF_FFFF_FFFF_FF81),
        ("hlv.bu", 0x81),
        ("hlv.h", 0xFFFF_FFFF_FFFF_8281),
        ("hlv.hu", 0x8281),
        ("hlvx.hu", 0x8281),
        ("hlv.w", 0xFFFF_FFFF_8483_8281),
        ("hlv.wu", 0x8483_8281),
        ("hlvx.wu", 0x8483_8281),
        ("hlv.d", 0x8887_8685_8483_8281),
    ],
)
@pytest.mark.parametrize("offset", [0, 3, 0xFFA])
def test_widths_of_guest_loads(text: str, expected: int, offset: int) -> None:
    """Misaligned ones too, and across two pages that lie apart."""
    world = GuestAccess(HS, LEAF, hstatus=SPVP)
    world.first.map(ADDRESS + 0x1000, 0x1_8000_0000, LEAF)
    world.second.map(0x1_8000_0000, PAGE + 0x5000, LEAF | USER)
    pattern = bytes(range(0x81, 0x89))
    for i, byte in enumerate(pattern):
        at = offset + i
        world.rig.store(PAGE + at if at < 0x1000 else PAGE + 0x4000 + at, byte, 1)
    world.rig.write(BASE, f"{text} a0, (a1)")
    world.rig.hart.mode = HS
    world.rig.put(a1=ADDRESS + offset)
    world.rig.run(1)
    assert world.rig.trap() is None
    assert world.rig.x("a0") == expected


@pytest.mark.parametrize(("text", "size"), [("hsv.b", 1), ("hsv.h", 2), ("hsv.w", 4), ("hsv.d", 8)])
@pytest.mark.parametrize("offset", [0, 1, 0xFFF])
def test_widths_of_guest_stores(text: str, size: int, offset: int) -> None:
    world = GuestAccess(HS, LEAF, hstatus=SPVP)
    world.first.map(ADDRESS + 0x1000, 0x1_0000_1000, LEAF)
    world.second.map(0x1_0000_1000, PAGE + 0x1000, LEAF | USER)
    world.rig.machine.memory.write(PAGE + offset - 1, b"\xee" * 10)
    world.rig.write(BASE, f"{text} a2, (a1)")
    world.rig.hart.mode = HS
    world.rig.put(a1=ADDRESS + offset, a2=0x0807_0605_0403_0201)
    world.rig.run(1)
    assert world.rig.machine.memory.read(PAGE + offset - 1, 10) == b"\xee" + bytes(range(1, size + 1)) + b"\xee" * (
        9 - size
    )


def test_a_guest_access_leaves_no_trace_in_the_next_access() -> None:
    """The same virtual address means another page to the hypervisor itself."""
    world = GuestAccess(HS, LEAF, hstatus=SPVP)
    rig = world.rig
    rig.store(PAGE + 0x1000, 222)
    own = Tables(rig, at=TABLES + 0x10_0000)
    own.map(ADDRESS, PAGE + 0x1000, LEAF)
    own.map(BASE, BASE, LEAF)
    rig.set(satp=own.atp)
    rig.write(BASE, "hlv.d a0, (a1)\nld a2, 0(a1)\nhlv.d a3, (a1)\nld a4, 0(a1)\nhsv.d zero, (a1)\nld a5, 0(a1)")
    rig.hart.mode = HS
    rig.put(a1=ADDRESS)
    rig.run(6)
    assert [rig.x(name) for name in ("a0", "a2", "a3", "a4", "a5")] == [VALUE, 222, VALUE, 222, 222]


def test_a_guest_access_that_faults_in_the_g_stage() -> None:
    world = GuestAccess(HS, LEAF, 0, hstatus=SPVP, medeleg=ONES)
    rig = world.rig
    rig.write(BASE, TEXT["hsv"])
    rig.hart.mode = HS
    rig.put(a1=ADDRESS + 8)
    rig.run(1)
    assert rig.trap() == (HS, STORE_GUEST, ADDRESS + 8)
    assert rig.csr("htval") == (0x1_0000_0000 + 8) >> 2
    assert rig.csr("hstatus") & (H_GVA | SPV) == H_GVA


# --- MPRV ---


@pytest.mark.parametrize("mode", [HS, U, VS, VU])
def test_mprv_makes_data_accesses_those_of_mpp_and_mpv(mode: Mode) -> None:
    world = World(mode, code=False)
    user = 0 if mode.privilege else USER
    world.first.map(ADDRESS, PAGE, LEAF | user)
    other = USER - user
    world.first.map(ADDRESS + 0x1000, PAGE, LEAF | other)
    rig = world.rig
    rig.set(mstatus=MPRV | mode.privilege << 11 | (MPV if mode.virtual else 0))
    world.mode = M
    assert world.reach(LOAD, ADDRESS) is None and rig.x("a0") == VALUE
    assert world.reach(STORE, ADDRESS) is None
    assert world.reach("amo", ADDRESS) is None
    assert world.reach(LOAD, ADDRESS + 0x1000) == (LOAD_PAGE, ADDRESS + 0x1000)
    assert bool(rig.csr("mstatus") & GVA) == mode.virtual
    assert rig.csr("mstatus") & MPV == 0  # the trap came from V=0


def test_mprv_does_not_reach_fetches_nor_mpp_of_m() -> None:
    world = World(HS, code=False)
    world.mode = M
    world.rig.set(mstatus=MPRV | 1 << 11)
    assert world.reach(FETCH, PAGE) is None
    world.rig.set(mstatus=MPRV | MPV | 3 << 11, vsatp=8 << 60)
    assert world.reach(LOAD, PAGE) is None and world.rig.x("a0") == VALUE


# --- PMP ---

PMP_R, PMP_W, PMP_X, TOR, NA4, NAPOT, LOCK = 1, 2, 4, 8, 16, 24, 128
ALL = 7


def napot(base: int, size: int) -> int:
    return base >> 2 | (size >> 3) - 1


def protected(entries: list[tuple[int, int]], mode: Mode = HS, text: str = "ld a0, 0(a1)") -> Rig:
    """A rig with these (configuration, pmpaddr) entries first, and one behind that permits everything."""
    rig = Rig(text)
    rig.set(pmpcfg0=0, pmpaddr0=0)
    entries = [*entries, (NAPOT | ALL, ONES)]
    for i, (_, address) in enumerate(entries):
        rig.set(**{f"pmpaddr{i}": address})
    rig.set(pmpcfg0=sum(cfg << 8 * i for i, (cfg, _) in enumerate(entries[:8])))
    if len(entries) > 8:
        rig.set(pmpcfg2=sum(cfg << 8 * i for i, (cfg, _) in enumerate(entries[8:])))
    rig.hart.mode = mode
    rig.store(PAGE, VALUE)
    return rig


def touch(rig: Rig, kind: str, address: int, mode: Mode = HS) -> tuple[int, int] | None:
    rig.write(BASE, TEXT[kind])
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.put(a1=address, a2=VALUE)
    rig.run(2 if kind == FETCH else 1)
    trap = rig.trap()
    return None if trap is None else trap[1:]


@pytest.mark.parametrize("rights", [0, PMP_R, PMP_R | PMP_W, PMP_X, PMP_R | PMP_X, ALL])
@pytest.mark.parametrize("kind", ACCESSES)
@pytest.mark.parametrize("mode", [HS, U, VS, VU])
def test_pmp_rights(mode: Mode, kind: str, rights: int) -> None:
    rig = protected([(NAPOT | rights, napot(PAGE, 4096))])
    needed = {FETCH: PMP_X, LOAD: PMP_R, STORE: PMP_W}[kind]
    assert touch(rig, kind, PAGE, mode) == (None if rights & needed else (ACCESS_FAULT[kind], PAGE))
    assert touch(rig, kind, PAGE, M) is None


@pytest.mark.parametrize("kind", ACCESSES)
def test_locked_entries_bind_machine_mode(kind: str) -> None:
    rig = protected([(NAPOT | LOCK, napot(PAGE, 4096))])
    assert touch(rig, kind, PAGE, M) == (ACCESS_FAULT[kind], PAGE)


def test_without_a_matching_entry_only_machine_mode_has_access() -> None:
    rig = Rig()
    rig.set(pmpcfg0=0)
    assert touch(rig, LOAD, PAGE, M) is None
    for mode in (HS, U, VS, VU):
        assert touch(rig, LOAD, PAGE, mode) == (FETCH_ACCESS, BASE)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("entries", "good", "bad"),
    [
        ([(NA4, (PAGE + 16) >> 2)], [8, 20, 24], [16, 12]),
        ([(NAPOT, napot(PAGE + 16, 8))], [8, 24], [16, 12, 20]),
        ([(NAPOT, napot(PAGE + 0x40, 0x40))], [0x38, 0x80], [0x40, 0x78, 0x3C]),
        ([(0, (PAGE + 0x100) >> 2), (TOR, (PAGE + 0x180) >> 2)], [0xF8, 0x180], [0x100, 0x178, 0xFC]),
        (
            [(TOR | ALL, (PAGE + 0x20) >> 2), (TOR | PMP_R, (PAGE + 0x30) >> 2), (TOR, (PAGE + 0x40) >> 2)],
            [0x20, 0x28, 0x40],
            [0x30, 0x38],
        ),
        ([(NAPOT | PMP_R, napot(PAGE, 64)), (NAPOT, napot(PAGE, 4096))], [0, 56], [60, 64, 4088]),
        ([(0, (PAGE + 0x200) >> 2), (TOR, (PAGE + 0x100) >> 2)], [0x100, 0x1F8], []),
    ],
)
def test_pmp_matching(entries: list[tuple[int, int]], good: list[int], bad: list[int], warm: bool) -> None:
    """Each offset is that of an 8-byte load; an access that an entry holds only in part fails."""
    rig = protected(entries)
    for offset in good + bad + good if warm else good + bad:
        expected = None if offset in good else (LOAD_ACCESS, PAGE + offset)
        assert touch(rig, LOAD, PAGE + offset) == expected, hex(offset)


def test_pmp_of_the_first_entry_as_tor_begins_at_zero() -> None:
    rig = protected([(TOR | ALL, BASE + 0x2_0000 >> 2), (NAPOT, napot(PAGE, 4096))])
    assert touch(rig, LOAD, PAGE) == (LOAD_ACCESS, PAGE)
    assert touch(rig, LOAD, BASE + 0x1_8000) is None


def test_all_sixteen_entries_work() -> None:
    rig = protected([*[(0, 0)] * 14, (NAPOT, napot(PAGE, 4096))])
    assert touch(rig, LOAD, PAGE) == (LOAD_ACCESS, PAGE)
    assert touch(rig, LOAD, PAGE + 4096) is None


def test_pmp_cuts_code_inside_a_page() -> None:
    rig = protected([(NAPOT | PMP_R, napot(PAGE + 0x40, 0x40))], text="")
    rig.write(PAGE + 0x30, "li a0, 1\nli a0, 2\nli a0, 3\nli a0, 4\nli a0, 5")
    rig.hart.pc = PAGE + 0x30
    rig.run(10)
    assert rig.x("a0") == 4
    assert rig.trap() == (M, FETCH_ACCESS, PAGE + 0x40)
    assert rig.csr("mepc") == PAGE + 0x40


def test_pmp_cuts_an_instruction() -> None:
    rig = protected([(NA4 | PMP_R, PAGE + 0x40 >> 2)], text="")
    rig.write(PAGE + 0x3E, "li a0, 1")
    rig.hart.pc = PAGE + 0x3E
    rig.run(1)
    trap = rig.trap()
    assert trap is not None and trap[1] == FETCH_ACCESS and rig.csr("mepc") == PAGE + 0x3E
    assert rig.x("a0") == 0


def test_a_misaligned_access_needs_both_sides() -> None:
    rig = protected([(NAPOT, napot(PAGE + 0x1000, 4096))])
    assert touch(rig, LOAD, PAGE + 0xFFC) == (LOAD_ACCESS, PAGE + 0x1000)
    assert touch(rig, STORE, PAGE + 0xFFC) == (STORE_ACCESS, PAGE + 0x1000)
    assert rig.load(PAGE + 0xFFC, 4) == 0


def test_pmp_guards_page_tables() -> None:
    """Entries are read as by S-mode; a refusal is an access fault of the original type."""
    world = World(HS, menvcfg=ADUE)
    rig = world.rig
    slot = world.first.map(ADDRESS, PAGE, V | R | W | X)
    for kind in ACCESSES:
        rig.set(pmpcfg0=0, pmpaddr1=ONES, pmpaddr0=napot(slot & ~7, 8))
        rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT)
        assert world.reach(kind, ADDRESS) == (ACCESS_FAULT[kind], ADDRESS)
        rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT | PMP_R)  # readable, but A cannot be written
        assert world.reach(kind, ADDRESS) == (ACCESS_FAULT[kind], ADDRESS)
        assert rig.load(slot) & A == 0
    rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT | PMP_R | PMP_W)
    assert world.reach(LOAD, ADDRESS) is None


def test_pmp_guards_the_tables_of_the_g_stage() -> None:
    world = World(VS)
    rig = world.rig
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    slot = world.second.map(0x1_0000_0000, PAGE, LEAF | USER)
    rig.set(pmpcfg0=0, pmpaddr1=ONES, pmpaddr0=napot(slot & ~7, 8))
    rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT)
    assert world.reach(STORE, ADDRESS) == (STORE_ACCESS, ADDRESS)
    assert (rig.csr("mtval2"), rig.csr("mtinst")) == (0, tinst(TEXT[STORE]))


def test_hlvx_needs_read_and_execute_of_pmp() -> None:
    for rights, good in ((PMP_X, False), (PMP_R, False), (PMP_R | PMP_X, True)):
        world = GuestAccess(HS, LEAF, hstatus=SPVP)
        rig = world.rig
        rig.set(pmpcfg0=0, pmpaddr1=ONES, pmpaddr0=napot(PAGE, 4096))
        rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT | rights)
        assert world.reach("hlvx", ADDRESS) == (None if good else (LOAD_ACCESS, ADDRESS))


def test_mprv_is_subject_to_pmp_as_the_mode_it_stands_for() -> None:
    rig = protected([(NAPOT, napot(PAGE, 4096))], M)
    rig.set(mstatus=MPRV | 0 << 11)
    assert touch(rig, LOAD, PAGE, M) == (LOAD_ACCESS, PAGE)


@pytest.mark.parametrize("kind", ACCESSES)
def test_a_changed_pmp_holds_at_once(kind: str) -> None:
    rig = protected([(NAPOT | ALL, napot(PAGE, 4096))])
    assert touch(rig, kind, PAGE) is None
    rig.set(pmpcfg0=(NAPOT | ALL) << 8 | NAPOT)
    assert touch(rig, kind, PAGE) == (ACCESS_FAULT[kind], PAGE)
    rig.set(pmpaddr0=napot(PAGE + 0x10000, 4096))
    assert touch(rig, kind, PAGE) is None


# --- across pages ---


@pytest.mark.parametrize("mode", MODES)
def test_an_instruction_across_two_pages_that_lie_apart(mode: Mode) -> None:
    world = World(mode)
    user = 0 if mode.privilege else USER
    world.first.map(ADDRESS, PAGE, LEAF | user)
    world.first.map(ADDRESS + 0x1000, PAGE + 0x3000, LEAF | user)
    rig = world.rig
    rig.store(PAGE + 0xFFE, 0x0513, 2)  # addi a0, a0, 1365
    rig.store(PAGE + 0x3000, 0x5555, 2)
    for times in (1, 2, 3):
        rig.hart.pc, rig.hart.mode = ADDRESS + 0xFFE, mode
        rig.run(1)
        assert rig.hart.pc == ADDRESS + 0x1002
        assert rig.x("a0") == 0x555 * times


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stage", [0, 1])
def test_an_instruction_whose_second_half_faults(stage: int, mode: Mode) -> None:
    """xtval is the address of the portion that faulted, xepc that of the instruction ("Machine Trap Value")."""
    if stage and not mode.virtual:
        mode = {HS: VS, U: VU}[mode]
    world = World(mode)
    user = 0 if mode.privilege else USER
    world.first.map(ADDRESS, PAGE, LEAF | user)
    if stage:
        world.first.map(ADDRESS + 0x1000, 0x1_0000_0000, LEAF | user)
    rig = world.rig
    rig.store(PAGE + 0xFFC, 0x0513_0001, 4)
    rig.hart.pc, rig.hart.mode = ADDRESS + 0xFFC, mode
    rig.run(2)
    assert rig.trap() == (M, FETCH_GUEST if stage else FETCH_PAGE, ADDRESS + 0x1000)
    assert rig.csr("mepc") == ADDRESS + 0xFFE
    assert rig.csr("mtval2") == (0x1_0000_0000 >> 2 if stage else 0)
    assert rig.hart.instret == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("kind", "offset"), [(LOAD, 0xFF9), (STORE, 0xFFF), (LOAD, 0xFFF), (STORE, 0xFFC)])
def test_data_across_two_pages_of_which_one_faults(kind: str, offset: int, first: bool) -> None:
    world = World(HS)
    world.first.map(ADDRESS + (0x1000 if first else 0), PAGE, LEAF)
    at = ADDRESS + offset
    before = world.rig.machine.memory.read(PAGE, 0x1000)
    assert world.reach(kind, at) == (PAGE_FAULT[kind], at if first else ADDRESS + 0x1000)
    assert world.rig.machine.memory.read(PAGE, 0x1000) == before


@pytest.mark.parametrize("warm", ["", "lb t0, -9(a1)\nsb t0, -9(a1)\n"])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_data_across_two_pages_that_lie_apart(size: int, warm: str) -> None:
    world = World(VS)
    world.first.map(ADDRESS, PAGE, LEAF)
    world.first.map(ADDRESS + 0x1000, PAGE + 0x3000, LEAF)
    rig = world.rig
    letter = {2: "h", 4: "w", 8: "d"}[size]
    for inside in range(1, size):
        rig.machine.memory.write(PAGE, bytes(0x4000))
        rig.write(BASE, f"{warm}s{letter} a2, 0(a1)\nl{letter} a0, 0(a1)")
        rig.hart.pc, rig.hart.mode = BASE, VS
        rig.put(a0=0, a1=ADDRESS + 0x1000 - inside, a2=0x0807_0605_0403_0201)
        rig.run(2 + warm.count("\n"))
        assert rig.x("a0") == int.from_bytes(bytes(range(1, size + 1)), "little")
        assert rig.machine.memory.read(PAGE + 0x1000 - inside, inside) == bytes(range(1, inside + 1))
        assert rig.machine.memory.read(PAGE + 0x3000, size - inside) == bytes(range(inside + 1, size + 1))


# --- fences ---


def remapped(
    world: World, fence: str, kind: str, executor: Mode, *, second: bool = False, level: int = 0, probe: int = ADDRESS
) -> int:
    """Read through a mapping, change it, fence in `executor`, read again: the second value."""
    rig = world.rig
    size = 1 << 12 + 9 * level
    user = 0 if world.mode.privilege else USER
    other = PAGE + 0x1000 if level == 0 else PAGE + size
    tables = world.second if second else world.first
    if second:
        world.first.map(ADDRESS, 0x1_0000_0000, LEAF | user)
        slot = tables.map(0x1_0000_0000, PAGE, LEAF | USER)
    else:
        slot = tables.map(ADDRESS & ~(size - 1), PAGE & ~(size - 1), LEAF | user, level)
    rig.store(other + (probe & 0xFFF), 222)
    if kind == FETCH:
        rig.write(PAGE, "li a0, 111\nself: j self")
        rig.write(other, "li a0, 222\nself: j self")
    else:
        rig.store(PAGE + (probe & 0xFFF), 111)
    values = []
    for value in (None, rig.load(slot) + (other - PAGE >> 12 << 10)):
        if value is not None:
            rig.store(slot, value)
            rig.write(BASE, fence)
            rig.hart.pc, rig.hart.mode = BASE, executor
            rig.put(a3=ADDRESS, a4=0, a5=0x1_0000_0000 >> 2)
            rig.run(1)
            assert rig.trap() is None
        rig.write(BASE, TEXT[kind])
        rig.hart.pc, rig.hart.mode = BASE, world.mode
        rig.put(a1=probe)
        rig.run(50 if kind == FETCH else 1)
        values.append(rig.x("a0"))
    assert values[0] == 111
    return values[1]


SFENCES = ["sfence.vma", "sfence.vma a3, zero", "sfence.vma zero, a4", "sfence.vma a3, a4", "sinval.vma a3, zero"]
VFENCES = [
    "hfence.vvma zero, zero",
    "hfence.vvma a3, zero",
    "hfence.vvma zero, a4",
    "hfence.vvma a3, a4",
    "hinval.vvma a3, zero",
]
GFENCES = [
    "hfence.gvma zero, zero",
    "hfence.gvma a5, zero",
    "hfence.gvma zero, a4",
    "hfence.gvma a5, a4",
    "hinval.gvma a5, zero",
]


@pytest.mark.parametrize("kind", [LOAD, FETCH])
@pytest.mark.parametrize("fence", SFENCES)
def test_a_fence_of_the_supervisor(fence: str, kind: str) -> None:
    assert remapped(World(HS), fence, kind, HS) == 222


@pytest.mark.parametrize("kind", [LOAD, FETCH])
@pytest.mark.parametrize("fence", SFENCES)
def test_a_fence_of_the_guest(fence: str, kind: str) -> None:
    assert remapped(World(VS), fence, kind, VS) == 222


@pytest.mark.parametrize("mode", [VS, VU])
@pytest.mark.parametrize("kind", [LOAD, FETCH])
@pytest.mark.parametrize("fence", VFENCES)
def test_a_fence_for_the_guests_tables(fence: str, kind: str, mode: Mode) -> None:
    world = World(mode)
    rig = world.rig
    # The hypervisor runs bare at the same address.
    assert remapped(world, fence, kind, HS) == 222
    assert rig.csr("satp") == 0


@pytest.mark.parametrize("kind", [LOAD, FETCH])
@pytest.mark.parametrize("fence", GFENCES)
def test_a_fence_for_the_g_stage(fence: str, kind: str) -> None:
    assert remapped(World(VS), fence, kind, HS, second=True) == 222


@pytest.mark.parametrize("guest_levels", [3, None])
@pytest.mark.parametrize("fence", ["sfence.vma a3, zero", "hfence.vvma a3, zero"])
def test_a_fence_by_address_is_for_the_whole_superpage(fence: str, guest_levels: int | None) -> None:
    """rs1 selects the leaf that maps the address: a superpage, behind whose parts the G-stage may have small pages."""
    world = World(VS, guest_levels=guest_levels)
    if guest_levels:
        for at in range(BASE, BASE + (4 << 20), 4096):
            world.second.map(at + 0x1_0000_0000, at, LEAF | USER)
    rig = world.rig
    at, offset = 0x20_0020_0000, PAGE & 0x1F_FFFF
    high = 0x1_0000_0000 if guest_levels else 0
    slot = world.first.map(at, BASE + high, LEAF, 1)
    rig.store(PAGE, 111)
    rig.store(PAGE + 0x20_0000, 222)
    world.mode = VS
    assert world.reach(LOAD, at + offset) is None and rig.x("a0") == 111
    rig.store(slot, (BASE + high + 0x20_0000) >> 12 << 10 | LEAF)
    rig.write(BASE, fence)
    rig.hart.pc, rig.hart.mode = BASE, VS if fence.startswith("s") else HS
    rig.put(a3=at + 0x5000)
    rig.run(1)
    assert world.reach(LOAD, at + offset) is None and rig.x("a0") == 222


@pytest.mark.parametrize("fence", SFENCES)
def test_a_store_permission_that_was_taken_away(fence: str) -> None:
    world = World(HS)
    slot = world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(STORE, ADDRESS) is None
    world.rig.store(slot, world.rig.load(slot) & ~W)
    world.rig.write(BASE, fence)
    world.rig.hart.pc, world.rig.hart.mode = BASE, HS
    world.rig.put(a3=ADDRESS, a4=0)
    world.rig.run(1)
    assert world.reach(STORE, ADDRESS) == (STORE_PAGE, ADDRESS)


def test_another_satp_means_another_space_without_a_fence() -> None:
    """ASIDs are distinct, and a new root with a new ASID needs no fence. Back again, the old one still holds."""
    world = World(HS)
    rig = world.rig
    world.first.map(ADDRESS, PAGE, LEAF)
    other = Tables(rig, at=TABLES + 0x10_0000)
    other.map(BASE, BASE, LEAF)
    other.map(ADDRESS, PAGE + 0x1000, LEAF)
    rig.store(PAGE + 0x1000, 222)
    rig.set(satp=world.first.atp | 1 << 44)
    for asid, tables, expected in ((1, world.first, VALUE), (2, other, 222), (1, world.first, VALUE), (2, other, 222)):
        rig.write(BASE, "csrw satp, a3\nld a0, 0(a1)")
        rig.hart.pc, rig.hart.mode = BASE, HS
        rig.put(a1=ADDRESS, a3=tables.atp | asid << 44)
        rig.run(2)
        assert rig.x("a0") == expected


def test_another_vmid_means_another_space_without_a_fence() -> None:
    world = World(VS)
    rig = world.rig
    world.first.map(ADDRESS, 0x1_0000_0000, LEAF)
    world.second.map(0x1_0000_0000, PAGE, LEAF | USER)
    other = Tables(rig, guest=True, at=TABLES + 0x10_0000)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        other.map(at, at, LEAF | USER, 1)
    other.map(0x1_0000_0000, PAGE + 0x1000, LEAF | USER)
    rig.store(PAGE + 0x1000, 222)
    for vmid, tables, expected in (
        (1, world.second, VALUE),
        (2, other, 222),
        (1, world.second, VALUE),
        (2, other, 222),
    ):
        rig.set(hgatp=tables.atp | vmid << 44)
        assert world.reach(LOAD, ADDRESS) is None
        assert rig.x("a0") == expected


def test_many_address_spaces() -> None:
    """More than the hart keeps apart at once, in any order, without a fence: no two have a root and ASID in common."""
    rig = Rig(memory=64 << 20)
    random = Random(1)
    roots, targets, visits = BASE + (16 << 20), BASE + (32 << 20), BASE + (8 << 20)
    satps = []
    for n in range(1500):
        root = roots + 0x2000 * n
        rig.store(root + 8 * 2, BASE >> 12 << 10 | LEAF)  # a gigapage: RAM where it is
        rig.store(root, root + 0x1000 >> 12 << 10 | V)
        for page in range(2):
            rig.store(root + 0x1000 + 8 * page, targets + (n % 8 << 21) >> 12 << 10 | LEAF)
        satps.append(8 << 60 | random.randrange(1 << 16) << 44 | root >> 12)
    for target in range(8):
        for page in range(64):
            rig.store(targets + (target << 21) + 0x1000 * page, 100 * target + page)
    list_ = b""
    for _ in range(20_000):
        n, page, half = random.randrange(1500), random.randrange(64), random.randrange(2)
        list_ += struct.pack("<3Q", satps[n], (half << 21) + 0x1000 * page, 100 * (n % 8) + page)
    rig.machine.memory.write(visits, list_)
    program = rig.write(
        BASE,
        """
    loop: ld   t0, 0(s0)
        ld   t1, 8(s0)
        ld   t2, 16(s0)
        csrw satp, t0
        ld   t3, 0(t1)
    bad: bne t3, t2, bad
        addi s0, s0, 24
        bltu s0, s1, loop
    end: j end
        """,
    )
    rig.hart.mode = HS
    rig.put(s0=visits, s1=visits + len(list_))
    rig.run(8 * 20_000)
    assert rig.hart.pc == program["end"], f"visit {(rig.x('s0') - visits) // 24}"


@pytest.mark.parametrize(
    ("name", "bit", "flags", "before", "after"),
    [
        ("mstatus", SUM, LEAF | USER, LOAD_PAGE, None),
        ("mstatus", MXR, V | X | A, LOAD_PAGE, None),
    ],
)
def test_sum_and_mxr_hold_at_once(name: str, bit: int, flags: int, before: int | None, after: int | None) -> None:
    world = World(HS)
    world.first.map(ADDRESS, PAGE, flags)
    for value, expected in ((0, before), (bit, after), (0, before), (bit, after)):
        world.rig.set(**{name: value})
        assert world.reach(LOAD, ADDRESS) == (None if expected is None else (expected, ADDRESS))


@pytest.mark.parametrize(("bit", "flags"), [(SUM, LEAF | USER), (MXR, V | X | A)])
def test_sum_and_mxr_of_a_guest_hold_at_once(bit: int, flags: int) -> None:
    world = World(VS)
    world.first.map(ADDRESS, PAGE, flags)
    for value in (0, bit, 0, bit):
        world.rig.set(vsstatus=value)
        assert world.reach(LOAD, ADDRESS) == (None if value else (LOAD_PAGE, ADDRESS))


def test_spvp_and_the_privilege_of_the_guest_are_kept_apart() -> None:
    world = GuestAccess(HS, LEAF | USER)
    for spvp in (0, SPVP, 0, SPVP):
        world.rig.set(hstatus=spvp)
        assert world.reach("hlv", ADDRESS) == ((LOAD_PAGE, ADDRESS) if spvp else None)


# --- looking without touching ---


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(MODES),
    st.sampled_from(ACCESSES),
    st.integers(0, 0xFF),
    st.integers(0, 0xFF),
    st.integers(0, 2),
    st.sampled_from([0, ADUE]),
    st.sampled_from([0, SUM, MXR, SUM | MXR]),
    st.booleans(),
    st.integers(0, 0x1FF),
)
def test_a_walk_foretells_the_access(
    mode: Mode, kind: str, flags: int, guest_flags: int, level: int, update: int, status: int, far: bool, offset: int
) -> None:
    world = World(mode, menvcfg=update, henvcfg=update)
    rig = world.rig
    rig.set(vsstatus=status if mode.virtual else 0, mstatus=0 if mode.virtual else status)
    gpa = 1 << 41 if far else 0x1_0000_0000
    address = ADDRESS + 8 * offset
    world.first.map(ADDRESS, gpa if mode.virtual else PAGE, flags, level)
    world.second.map(0x1_0000_0000, PAGE, guest_flags)
    rig.store(PAGE + 8 * offset, VALUE)
    tables = rig.machine.memory.read(TABLES, 0x10_0000)
    hart_state = rig.hart.state()
    walk = rig.hart.walk(address, Access(ACCESSES.index(kind)), mode)
    assert rig.machine.memory.read(TABLES, 0x10_0000) == tables
    assert rig.hart.state() == hart_state
    found = world.reach(kind, address)
    if walk.cause is None:
        assert found is None
        assert walk.physical is not None
        if kind == LOAD:
            assert rig.x("a0") == rig.load(walk.physical)
    else:
        assert found == (walk.cause, walk.tval) and walk.tval == address
        assert (rig.csr("mtval2"), rig.csr("mtinst")) == (walk.tval2, walk.tinst or tinst(TEXT[kind]))
        assert walk.physical is None and "\n" not in walk.explain


def test_reading_and_writing_through_a_guests_eyes() -> None:
    world = World(VS)
    world.first.map(ADDRESS, PAGE, LEAF)
    world.first.map(ADDRESS + 0x1000, PAGE + 0x3000, V | R | A)
    hart = world.rig.hart
    world.rig.machine.memory.write(PAGE + 0xFFE, b"ab")
    world.rig.machine.memory.write(PAGE + 0x3000, b"cd")
    assert hart.read_virtual(ADDRESS + 0xFFE, 4, mode=VS) == b"abcd"
    hart.write_virtual(ADDRESS + 0xFF0, b"xyz", VS)
    assert world.rig.machine.memory.read(PAGE + 0xFF0, 3) == b"xyz"
    with pytest.raises(TranslationError) as error:
        hart.write_virtual(ADDRESS + 0xFFE, b"1234", VS)
    assert "\n" not in str(error.value)
    assert world.rig.machine.memory.read(PAGE + 0xFFE, 2) == b"ab"
    with pytest.raises(TranslationError):
        hart.read_virtual(ADDRESS + 0x2000, 1, mode=VS)


def test_the_hart_itself_is_asked_with_mprv() -> None:
    world = World(VS)
    world.first.map(ADDRESS, PAGE, LEAF)
    rig = world.rig
    rig.hart.mode = M
    assert rig.hart.walk(ADDRESS).cause == LOAD_ACCESS
    rig.set(mstatus=MPRV | MPV | 1 << 11)
    assert rig.hart.walk(ADDRESS).physical == PAGE
    assert rig.hart.walk(ADDRESS, Access.FETCH).cause == FETCH_ACCESS
