"""Page tables read as maps: what is found is what the hart's own walker says; tables made to hurt do not."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from emulator.addressspace import (
    AddressMap,
    Filter,
    Leaves,
    Run,
    Tables,
    by_output,
    coalesce,
    difference,
    finish,
    holders,
    letters,
    spaces_of_hart,
    spaces_of_vcpu,
)
from emulator.errors import ConfigurationError
from emulator.guests import path
from emulator.hart import Access, Mode
from emulator.isa.pages import A, D, G, N, R, U, V, W, X
from emulator.machine import Machine
from emulator.vmm import Hypervisor
from tests.emulator.tables import GUEST, LEAF, MEMORY, RAM, Scene, Tree

HIGH = 0xFFFF_FFC0_0000_0000
READ = V | R | A | D


def read(scene: Scene, stage: str) -> AddressMap:
    return finish(Tables(scene.memory).read_stage(spaces_of_hart(scene.hart), stage))


def test_runs_of_every_size_and_both_halves() -> None:
    scene = Scene()
    scene.first.map(0x1000, RAM, length=0x3000)
    scene.first.map(0x20_0000, RAM + 0x20_0000, READ, 1, 0x40_0000)
    scene.first.map(1 << 30, 0, READ | X, 2)
    scene.first.map(HIGH, RAM + 0x5000, LEAF | G)
    found = read(scene, "vsatp")
    assert [(run.start, run.output, run.length, run.page, run.leaves) for run in found.runs] == [
        (0x1000, RAM, 0x3000, 4096, 3),
        (0x20_0000, RAM + 0x20_0000, 0x40_0000, 1 << 21, 2),
        (1 << 30, 0, 1 << 30, 1 << 30, 1),
        (HIGH, RAM + 0x5000, 0x1000, 4096, 1),
    ]
    assert found.complete and not found.problems and found.leaves == 7
    assert found.at(0x3FFF) == found.runs[0] and found.at(0x4000) is None and found.at(0) is None
    assert {scene.first.root} < set(found.found)


@pytest.mark.parametrize(("levels", "glevels"), [(3, 3), (4, 4), (5, 5), (3, 5)])
def test_the_map_is_what_the_walker_says(levels: int, glevels: int) -> None:
    """Random tables, random pages: mapped exactly where a load or fetch in either mode gets to, and there."""
    chance = random.Random(levels * 8 + glevels)
    scene = Scene(levels, glevels)
    flags = [
        LEAF, LEAF, LEAF, LEAF | U, LEAF | U, READ, V | X | A, LEAF & ~V, LEAF & ~A, V | W | A,
        LEAF | 1 << 60, LEAF | 1 << 61,
    ]  # fmt: skip
    pages = [chance.randrange(1 << 9) << 12 | chance.choice((0, 1 << 30, 1 << 37)) for _ in range(200)]
    for address in pages[:-20]:
        scene.first.map(address, chance.randrange(64) << 12, chance.choice(flags))
    for gpa in range(56):
        gflags = chance.choice([GUEST, GUEST, GUEST, *(each | U for each in flags), LEAF])
        scene.guest.map(gpa << 12, RAM + (chance.randrange(8) << 12), gflags)
    before = scene.machine.state_hash()
    merged = read(scene, "merged")
    assert scene.machine.state_hash() == before, "nothing was written"
    seen = 0
    for address in pages:
        run = merged.at(address)
        walks = [
            scene.hart.walk(address, access, mode, sum=True)
            for access in (Access.LOAD, Access.FETCH)
            for mode in (Mode.VS, Mode.VU)
        ]
        reached = {walk.physical for walk in walks} - {None}
        if reached:
            assert run is not None and run.output is not None
            assert {run.output + address - run.start} == reached
            seen += 1
        elif run is not None and run.output is not None:
            assert not (run.gbits & U and run.bits & run.gbits & A and run.bits & run.gbits & (R | X))
    assert seen > 25


def test_contiguous_entries_are_one_range() -> None:
    scene = Scene()
    for page in range(16):
        scene.first.map(0x10000 + page * 4096, RAM + 0x8000, LEAF | N)
    (run,) = read(scene, "vsatp").runs
    assert (run.start, run.output, run.length, run.leaves) == (0x10000, RAM, 0x10000, 16)
    assert "N" in letters(run.bits)


def test_both_stages_merged_with_holes() -> None:
    scene = Scene()
    scene.first.map(0x10000, 0x4000, length=0x4000)
    scene.guest.map(0x4000, RAM + 0x9000, GUEST)
    scene.guest.map(0x5000, RAM + 0xA000, GUEST & ~W)
    scene.guest.map(0x7000, RAM + 0x1000, GUEST)
    runs = read(scene, "merged").runs
    assert [(run.start, run.gpa, run.output, run.length) for run in runs] == [
        (0x10000, 0x4000, RAM + 0x9000, 0x1000),
        (0x11000, 0x5000, RAM + 0xA000, 0x1000),
        (0x12000, 0x6000, None, 0x1000),
        (0x13000, 0x7000, RAM + 0x1000, 0x1000),
    ]
    assert [bool(run.gbits & W) for run in runs] == [True, False, False, True]


def test_a_superpage_over_small_pages_is_as_many() -> None:
    scene = Scene()
    scene.first.map(0, 0, LEAF, 1)
    scene.guest.map(0, RAM, GUEST, 0, 0x3000)
    mapped, hole = read(scene, "merged").runs
    assert (mapped.length, mapped.page, mapped.leaves) == (0x3000, 4096, 3)
    assert (hole.start, hole.output, hole.end) == (0x3000, None, 1 << 21)


@pytest.mark.parametrize("flags", [GUEST & ~U, GUEST & ~(R | W)], ids=["no U", "no R"])
def test_tables_that_the_g_stage_does_not_let_be_read(flags: int) -> None:
    """As the hart: the VS-stage's own reads need U and R of the G-stage."""
    scene = Scene()
    scene.first.map(0x1000, RAM)
    scene.guest.map(RAM, RAM, flags, 1, MEMORY)
    assert scene.hart.walk(0x1000, Access.LOAD, Mode.VS).cause == 21
    found = read(scene, "vsatp")
    assert not found.runs and "no page to read" in found.problems[0]


def test_a_stage_that_is_bare() -> None:
    scene = Scene()
    scene.hart.set_csr("vsatp", 0)
    assert read(scene, "vsatp").bare and not read(scene, "vsatp").runs
    (run,) = coalesce(read(scene, "merged").runs)
    assert (run.start, run.gpa, run.output, run.length) == (RAM, RAM, RAM, MEMORY)
    scene.hart.set_csr("vsatp", scene.first.value())
    scene.first.map(0x1000, RAM)
    scene.hart.set_csr("hgatp", 0)
    (run,) = read(scene, "merged").runs
    assert (run.start, run.gpa, run.output) == (0x1000, RAM, RAM)
    with pytest.raises(ConfigurationError, match="no stage 'both'"):
        read(scene, "both")
    plain = Scene(glevels=None, isa="max,h=off")
    with pytest.raises(ConfigurationError, match="no hgatp to look at: the H extension is off"):
        read(plain, "hgatp")


def test_neighbours_are_joined_and_leaves_come_apart_again() -> None:
    scene = Scene()
    scene.first.map(0, RAM, LEAF, 1)
    scene.first.map(0x20_0000, RAM + 0x20_0000, LEAF & ~D, length=0x2000)
    scene.first.map(0x20_2000, RAM + 0x20_2000, READ)
    runs = read(scene, "vsatp").runs
    assert len(runs) == 3
    wide, other = coalesce(runs)
    assert (wide.length, wide.leaves, wide.sizes) == (0x20_2000, 3, 1 << 21 | 4096)
    assert wide.mixed == D and letters(wide.bits, wide.mixed) == "rwx--a+"
    assert other.start == 0x20_2000
    assert len(coalesce(runs, 0)) == 3
    leaves = Leaves(runs)
    assert [leaf.start for leaf in leaves] == [0, 0x20_0000, 0x20_1000, 0x20_2000] and len(leaves) == 4
    assert leaves[2].output == RAM + 0x20_1000 and leaves.find(0x20_1FFF) == 2 and leaves.find(0x30_0000) is None
    with pytest.raises(IndexError):
        leaves[4]


def test_sorted_by_the_other_side() -> None:
    runs = [
        Run(0, 0x3000, 4096, V, 4096, 1),
        Run(0x1000, None, 4096, V, 4096, 1),
        Run(0x2000, 0x1000, 4096, V, 4096, 1),
    ]
    assert [run.start for run in by_output(runs)] == [0x2000, 0, 0x1000]


FILTERS = [
    ("", 5), ("0x1000", 1), ("0x1000-0x3000", 2), ("0x1000+0x1000", 1), ("to:0x80005000-0x80006000", 1), ("rw", 3),
    ("-w", 2), ("+x", 1), ("u", 1), ("-u rw", 3), ("2m", 1), ("4k", 4), ("nc", 1), ("-nc -u 4k", 2), ("0x1000 u", 0),
    ("n", 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "count"), FILTERS, ids=str)
def test_filters(text: str, count: int) -> None:
    runs = [
        Run(0x1000, 0x8000_1000, 0x1000, V | R | W, 4096, 1),
        Run(0x2000, 0x8000_5000, 0x1000, V | R | X, 4096, 1),
        Run(0x3000, 0x8000_9000, 0x1000, V | R | U, 4096, 1),
        Run(0x20_0000, 0x8020_0000, 0x20_0000, V | R | W, 1 << 21, 1),
        Run(0x40_0000, 0x1000_0000, 0x1000, V | R | W | 1 << 61, 4096, 1),
    ]
    assert sum(map(Filter.parse(text).accepts, runs)) == count


def test_filters_of_both_stages() -> None:
    runs = [
        Run(0, 0x5000, 4096, V | R | W, 4096, 1, 0x1000, V | R | U),
        Run(0x1000, 0x6000, 4096, V | R, 4096, 1, 0x2000, V | R | W | U),
        Run(0x2000, None, 4096, V | R, 4096, 1, 0x9000),
    ]
    for text, starts in (
        ("g:w", [0x1000]),
        ("g:-w", [0, 0x2000]),
        ("gpa:0x1000", [0]),
        ("hole", [0x2000]),
        ("w g:-w", [0]),
    ):
        chosen = Filter.parse(text)
        assert [run.start for run in runs if chosen.accepts(run)] == starts, text


@pytest.mark.parametrize("text", ["q", "from:0x1000", "0x2000-0x1000", "0xzz", "0x1-", "to:", "to:rw", "5m", ":"])
def test_wrong_filters_are_said(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"filter|range"):
        Filter.parse(text)


def test_who_maps_a_page() -> None:
    scene = Scene()
    scene.first.map(0x5000, 0x4000, length=0x3000)
    scene.first.map(HIGH, 0x5000)
    scene.guest.map(0x4000, RAM + 0x9000, GUEST, 0, 0x3000)
    assert [(run.start, run.length) for run in holders(read(scene, "vsatp").runs, 0x5000)] == [
        (0x6000, 4096),
        (HIGH, 4096),
    ]
    assert [run.start for run in holders(read(scene, "hgatp").runs, RAM + 0xA000)] == [0x5000, RAM + 0xA000]
    merged = read(scene, "merged").runs
    assert [run.start for run in holders(merged, RAM + 0xA000)] == [0x6000, HIGH]
    assert [run.start for run in holders(merged, 0x5000, side="gpa")] == [0x6000, HIGH]
    assert holders(merged, RAM + 0x100_0000) == []
    around = [Run(page << 12, page + 1 << 20, 4096, V | R, 4096, 1) for page in range(3)]
    assert holders(around, (2 << 20) - 4096) == [] and holders(around, (2 << 20) + 4096) == []


def test_differences() -> None:
    scene = Scene()
    scene.first.map(0x1000, RAM, length=0x4000)
    scene.first.map(0x20_0000, RAM, LEAF, 1)
    before = read(scene, "vsatp")
    scene.memory.write_int(scene.first.place(0x2000), 8, 0)
    scene.first.map(0x3000, RAM + 0x2000, LEAF & ~W)
    scene.first.map(0x8000, RAM, length=0x2000)
    scene.first.map(0x4000, RAM + 0x3000, LEAF & ~D)
    after = read(scene, "vsatp")
    changes = difference(before.runs, after.runs)
    assert [(change.mark, change.start, change.length) for change in changes] == [
        ("-", 0x2000, 0x1000),
        ("~", 0x3000, 0x1000),
        ("+", 0x8000, 0x2000),
    ]
    assert changes[0].after is None and changes[2].before is None
    assert changes[1].before is not None and changes[1].after is not None
    assert changes[1].before.bits & W and not changes[1].after.bits & W
    exact = difference(before.runs, after.runs, 0)
    assert ("~", 0x4000) in [(change.mark, change.start) for change in exact]
    assert difference(after.runs, after.runs, 0) == []
    assert [change.mark for change in difference(after.runs, before.runs)] == ["+", "~", "-"]


def test_a_superpage_that_is_split_is_no_difference() -> None:
    scene = Scene()
    scene.first.map(0, RAM, LEAF, 1)
    before = read(scene, "vsatp")
    scene.memory.write_int(scene.first.place(0, 1), 8, 0)
    scene.first.map(0, RAM, LEAF, 0, 1 << 21)
    after = read(scene, "vsatp")
    assert after.leaves == 512 and difference(before.runs, after.runs, 0) == []


def test_differences_against_a_count_of_pages() -> None:
    """Random maps: page by page the difference is what the two dictionaries say."""
    chance = random.Random(5)

    def some() -> tuple[list[Run], dict[int, tuple[int, int]]]:
        runs, pages, at = [], {}, 0
        while at < 400:
            at += chance.choice((0, 0, 1, 3))
            length, to, bits = chance.randrange(1, 9), chance.randrange(3) * 1000, chance.choice((V | R, V | R | W))
            runs.append(Run(at << 12, to + at << 12, length << 12, bits, 4096, length))
            pages.update({at + page: (to + at + page, bits) for page in range(length)})
            at += length
        return runs, pages

    for _ in range(20):
        (before, old), (after, new) = some(), some()
        found: dict[int, str] = {}
        last = -1
        for mark, start, length, was, now in difference(before, after):
            assert start > last
            last = start + length - 1
            for page in range(start >> 12, start + length >> 12):
                found[page] = mark
                offset = page - (start >> 12)
                if was is not None:
                    assert ((was.output or 0) >> 12) + offset == old[page][0]
                if now is not None:
                    assert ((now.output or 0) >> 12) + offset == new[page][0]
        expected = {
            page: "+" if page not in old else "-" if page not in new else "~"
            for page in old.keys() | new.keys()
            if old.get(page) != new.get(page)
        }
        assert found == expected


# --- tables made to hurt


def loop(scene: Scene, tree: Tree) -> None:
    """A root whose every entry points to itself."""
    for index in range(512):
        scene.memory.write_int(tree.root + 8 * index, 8, tree.root >> 2 | V)


def test_a_table_that_points_to_itself_ends() -> None:
    scene = Scene(5)
    loop(scene, scene.first)
    reading = Tables(scene.memory).read(spaces_of_hart(scene.hart)["vsatp"], tables=2000)
    found = finish(reading)
    assert not found.complete and found.runs == ()


def test_shared_tables_with_very_many_leaves_end() -> None:
    """Five tables, 2^45 leaves, of which no two are neighbours."""
    scene = Scene(5)
    tables = [scene.first.root, *(scene.page() for _ in range(4))]
    for upper, lower in pairwise(tables):
        for index in range(512):
            scene.memory.write_int(upper + 8 * index, 8, lower >> 2 | V)
    for index in range(0, 512, 2):
        scene.memory.write_int(tables[-1] + 8 * index, 8, RAM >> 2 | LEAF)
    found = finish(Tables(scene.memory).read(spaces_of_hart(scene.hart)["vsatp"], runs=3000))
    assert not found.complete and 3000 <= len(found.runs) < 3000 + 512
    assert all(run.leaves == 1 and run.output == RAM for run in found.runs)


def test_reading_can_be_stopped_and_left() -> None:
    scene = Scene(5)
    loop(scene, scene.first)
    reading = Tables(scene.memory).read_stage(spaces_of_hart(scene.hart), "merged")
    told = [next(reading) for _ in range(5)]
    assert told == sorted(set(told))
    reading.close()


def test_tables_that_lead_nowhere_are_named() -> None:
    scene = Scene()
    scene.memory.write_int(scene.first.place(0, 2), 8, 0x5000 >> 2 | V)
    scene.memory.write_int(scene.first.place(1 << 30, 2), 8, (RAM + MEMORY) >> 2 | V)
    scene.first.map(2 << 30, RAM, LEAF, 2)
    found = read(scene, "vsatp")
    assert [run.start for run in found.runs] == [2 << 30]
    low, high = found.problems
    assert "table at 0x5000, for 0x0" in low and "G-stage" in low
    assert f"table at {RAM + MEMORY:#x}, for 0x40000000" in high
    bare = Scene(glevels=None)
    bare.memory.write_int(bare.first.root, 8, 0x5000 >> 2 | V)
    (problem,) = read(bare, "satp").problems
    assert "table at 0x5000" in problem and "not memory" in problem


def test_problems_are_not_without_end() -> None:
    scene = Scene(glevels=None)
    for index in range(512):
        scene.memory.write_int(scene.first.root + 8 * index, 8, 0x5000 >> 2 | V)
    assert len(read(scene, "satp").problems) == 20


def test_tables_are_known_again_only_while_they_are_the_same() -> None:
    scene = Scene()
    scene.first.map(0x1000, RAM)
    tables, spaces = Tables(scene.memory), spaces_of_hart(scene.hart)
    assert len(finish(tables.read_stage(spaces, "vsatp")).runs) == 1
    scene.first.map(0x5000, RAM)
    assert [run.start for run in finish(tables.read_stage(spaces, "vsatp")).runs] == [0x1000, 0x5000]


# --- whose


def test_a_vm_and_its_vcpu_wherever_it_is() -> None:
    machine = Machine(memory=64 << 20)
    hypervisor = Hypervisor(machine)
    machine.host = hypervisor
    for name in ("pages", "ticker"):
        vm = hypervisor.create_vm(name, memory=8 << 20)
        vm.load_elf(path(name))
    pages, ticker = hypervisor.vms
    for _ in range(3000):
        if pages.vcpus[0].get_reg("vsatp") and list(pages.tables.leaves()) and list(ticker.tables.leaves()):
            break
        machine.run(50)
    for vm in (pages, ticker):
        spaces = spaces_of_vcpu(machine, vm.vcpus[0])
        assert spaces["hgatp"].value == vm.hgatp and spaces["hgatp"].number == vm.vmid
        found = finish(Tables(machine.memory).read_stage(spaces, "hgatp"))
        leaves = [(leaf.gpa, leaf.physical, leaf.size) for leaf in vm.tables.leaves()]
        assert [(leaf.start, leaf.output, leaf.length) for leaf in Leaves(found.runs)] == leaves and leaves
    assert finish(Tables(machine.memory).read_stage(spaces_of_vcpu(machine, pages.vcpus[0]), "merged")).leaves
    assert "satp" not in spaces_of_vcpu(machine, pages.vcpus[0])
