"""Walks as diagrams, maps of address spaces, who maps a page, differences: by keys, mouse and commands."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from bench import NoScreen
from desk import RAM, Desk, opened, with_page_features

import snapshots
from emulator.addressspace import Tables, finish, spaces_of_guest
from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.isa.pages import A, D, R, U, V, W
from emulator.machine import Machine
from rvtui import commands, machines
from rvtui.diagram import culprit, picture, plain, whole
from rvtui.mapping import Slices, Wanted, show
from rvtui.panes.walk import examine
from rvtui.session import Session
from rvtui.subjects import Subject, inner_guests, spaces_of

SIZES = [(80, 24), (200, 50)]
STEPS_TO_BOTH = 3_000_000


def tiny(steps: int) -> Machine:
    """tiny-hypervisor after `steps`: at 3,000,000 both guests have run, at its end one is away."""
    machine, _, _ = machines.bare("tiny-hypervisor", memory=64 << 20, harts=1, dtb=None)
    machine.run(steps)
    return machine


# --- the diagram


def test_the_picture_has_a_cell_for_each_entry() -> None:
    """Down the levels of the VS-stage, across the G-stage; the last row is the walk of the address."""
    machine = with_page_features()
    walk = machine.harts[0].walk(0x4000_3008)
    for width in (56, 78, 120):
        drawn = picture(walk, None, width)
        text = plain(drawn.lines)
        assert all(len(line) <= width for line in text), text
        assert [line.split()[0] for line in text[1:]] == ["L2", "L1", "L0", "gpa"]
        assert re.findall(r"G L\d", text[0]) == ["G L2", "G L1", "G L0"] and "VS-stage entry" in text[0]
        assert sorted(index for *_, index in drawn.places) == list(range(len(walk.steps)))
        for line, low, _, index in drawn.places:
            step = walk.steps[index]
            cell = text[line][low:].split()[0]
            assert cell == ("●" if step.result.name == "POINTER" else "■"), (text[line], index)
            assert step.stage == 1 or text[line].startswith(f"L{step.level}")
        levels = [walk.steps[index].level for *_, index in drawn.places if walk.steps[index].nested == 2]
        assert levels == sorted(levels, reverse=True)
        assert f"{walk.steps[-1].input:x}" in text[-1] and f"{walk.physical:x}" in text[-1]
    wide = "\n".join(plain(picture(walk, None, 120).lines))
    assert "64K" in wide and "N NC" in wide and "rwx" in wide


def test_deep_walks_fit_the_smallest_terminal() -> None:
    from tests.emulator.tables import LEAF, Scene

    scene = Scene(5, 5)
    scene.first.map(0x4000_0000, RAM, LEAF)
    found = examine(scene.machine, Subject(0), 0x4000_0000, Access.LOAD, Mode.VS)
    drawn = picture(found.walk, None, 78)
    assert len(drawn.lines) == 7 and all(len(line) <= 78 for line in plain(drawn.lines))
    assert "Sv57 over Sv57x4" in plain(whole(found, 78).lines)[0]


def test_a_walk_that_fails_is_marked_and_told() -> None:
    machine = with_page_features()
    found = examine(machine, Subject(0), 0xC000_0000, Access.STORE, Mode.VS)
    text = "\n".join(plain(whole(found, 78, culprit(found.walk)).lines))
    assert text.count("✗ V=0") >= 2, "in the picture, and in the bits"
    assert "store/AMO guest-page fault (23)" in text and "finding the VS-stage entry of L1" in text
    assert "taken in HS: medeleg.23=1, hedeleg.23=0" in text
    assert "htval 0x8000000 (gpa 0x20000000)" in text and "htinst 0x3000" in text
    assert re.search(r"GVA=1.*SPV=1", text) and f"{found.walk.reads} reads" in text
    assert "scause 23" in text and "stval 0xc0000000" in text


def test_an_update_of_an_entry_has_a_row_of_its_own() -> None:
    from tests.emulator.tables import GUEST, LEAF, MEMORY, Scene

    scene = Scene()
    scene.first.map(0x4000_0000, RAM, LEAF & ~A)
    scene.hart.set_csr("menvcfg", 1 << 61)
    scene.hart.set_csr("henvcfg", 1 << 61)
    walk = scene.hart.walk(0x4000_0000)
    assert walk.physical == RAM
    assert [line.split()[0] for line in plain(picture(walk, None, 100).lines)[1:]] == ["L2", "L1", "L0", "L0✎", "gpa"]
    scene.guest.map(RAM, RAM, GUEST & ~W, 1, MEMORY)
    found = examine(scene.machine, Subject(0), 0x4000_0000)
    text = "\n".join(plain(whole(found, 100).lines))
    assert "writing the VS-stage entry of L0" in text and "the walk must set A or D" in text and "htinst 0x3020" in text


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_walk_pane_by_keys(size: tuple[int, int]) -> None:
    """Choose entries, ask for other accesses, modes and bits, open the table; the machine stays as it is."""
    async with opened(with_page_features(), size, running=False) as desk:
        await desk.settled()
        before = desk.state_hash()
        desk.application.carry_out("walk 0x40003008 load VS")
        await desk.until(lambda: any("✓ physical 0x80023008" in line for line in desk.lines("walk")))
        await desk.press("z") if size[0] < 100 else None
        assert any("gpa " in row and "■" in row for row in desk.screen())
        pane = desk.pane("walk")
        walk = pane._found.walk
        assert pane._at == len(walk.steps) - 1
        await desk.press("up", "left")
        assert pane._at not in (None, len(walk.steps) - 1)
        await desk.press("right")
        chosen = walk.steps[pane._at]
        assert any(f"[{chosen.pte_physical:x}] = {chosen.pte:#x}" in line for line in desk.lines("walk"))
        await desk.press("enter")
        await desk.until(lambda: any("table of L" in line for line in desk.lines("walk")))
        (row,) = (line for line in desk.lines("walk") if line.startswith("▶"))
        assert f"{chosen.pte_physical:x} {chosen.pte:016x}" in row
        assert any(row[:20] in line for line in desk.screen()), "it is in sight"
        await desk.press("escape")
        await desk.until(lambda: any("✓ physical" in line for line in desk.lines("walk")))
        await desk.press("a")
        await desk.until(lambda: "store in VS" in desk.lines("walk")[0])
        await desk.press("a")
        await desk.until(lambda: "hlvx in VS" in desk.lines("walk")[0])
        await desk.press("a", "a", "m")
        await desk.until(lambda: "load in VU" in desk.lines("walk")[0])
        assert any("✗ load page fault (13)" in line for line in desk.lines("walk"))
        assert any("U=0: a supervisor page, and the mode is U" in line for line in desk.lines("walk"))
        await desk.press("U")
        await desk.until(lambda: "SUM=1!" in desk.lines("walk")[0])
        await desk.press("x")
        await desk.until(lambda: " MXR=1!" in desk.lines("walk")[0])
        await desk.press("d")
        await desk.until(lambda: "load in VS" in desk.lines("walk")[0] and "!" not in desk.lines("walk")[0])
        assert desk.state_hash() == before


async def test_a_click_chooses_an_entry_and_two_open_it() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        desk.application.carry_out("walk 0x40003008 load VS")
        await desk.until(lambda: any("✓ physical" in line for line in desk.lines("walk")))
        await desk.press("7", "z")
        await desk.settled()
        pane = desk.pane("walk")
        line, low, _, index = pane._places[0]
        await desk.pilot.click(pane, offset=(low + 1 + 1, line - pane.top + 1))
        assert pane._at == index
        await desk.pilot.click(pane, offset=(low + 1 + 1, line - pane.top + 1), times=2)
        await desk.until(lambda: any("G-stage table of L2" in line for line in desk.lines("walk")))


async def test_harts_without_guests_are_not_asked_for_them() -> None:
    machine = Machine(memory=4 << 20, isa="max,h=off")
    machine.boot(RAM)
    async with opened(machine, (120, 40), running=False) as desk:
        await desk.press("7", "a", "a", "a", "m", "m", "m", "U", "x", "v", "left", "enter")
        await desk.settled()
        assert any("no translation in this mode" in line for line in desk.lines("walk"))


# --- commands


def say(machine: Machine, *lines: str) -> Any:
    """The answer to the last of these lines, on a machine that stands still."""
    session = Session(machine)
    session.start()
    try:
        context = commands.Context(session, NoScreen())
        for line in lines:
            answer = commands.invoke(context, line).result(30)
        return answer
    finally:
        session.close()


def test_pagewalk_as_text_and_data() -> None:
    machine = with_page_features()
    answer = say(machine, "pagewalk 0x40003008 load VS")
    walk = machine.harts[0].walk(0x4000_3008, Access.LOAD, Mode.VS)
    assert answer.data["physical"] == hex(walk.physical) == "0x80023008" and answer.data["reads"] == len(walk.steps)
    assert [step["pte"] for step in answer.data["steps"]] == [hex(step.pte) for step in walk.steps]
    assert answer.data["trap"] is None and "✓ physical 0x80023008" in str(answer)
    failed = say(machine, "pagewalk 0xc0000000 store VS")
    assert failed.data["reason"].startswith("V=0") and failed.data["trap"]["mode"] == "HS"
    assert failed.data["trap"]["csrs"]["htval"] == hex(0x2000_0000 >> 2)
    assert "hlvx in VU" in str(say(machine, "pagewalk 0x40003008 hlvx")), "hstatus.SPVP=0"
    guest = say(machine, "gwalk 0x10003008 store")
    assert guest.data["physical"] == "0x80023008" and guest.data["reads"] == 3, "the VS-stage takes no part"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pagewalk 0 jump", "fetch, load, store, hlvx"),
        ("pagewalk 0 hlvx HS", "HLVX is for VS and VU"),
        ("pagewalk 0 load XS", "M, HS, U, VS, VU"),
        ("gwalk 0 hlvx", "guest-virtual"),
        ("map both", "filter 'both'"),
        ("map hgatp 0x2000-0x1000", "is empty"),
        ("map satp q", "filter 'q'"),
        ("whomaps va:0", "gpa:ADDRESS"),
        ("whomaps nothing", "nothing"),
        ("mapdiff now", "needs B"),
        ("mapdiff now then", "'then' is no moment"),
        ("mapdiff now now now now", "takes A, B"),
        ("mark now", "cannot be the name"),
        ("mark two words", "cannot be the name"),
    ],
)
def test_what_is_wrong_is_one_line(line: str, said: str) -> None:
    with pytest.raises(EmulatorError) as failed:
        say(with_page_features(), line)
    assert said in str(failed.value) and "\n" not in str(failed.value)


def test_map_as_text_and_data() -> None:
    machine = with_page_features()
    answer = say(machine, "map merged nc")
    (row,) = answer.data["rows"]
    assert (row["start"], row["gpa"], row["output"]) == ("0x40000000", "0x10000000", "0x80020000")
    assert row["length"] == 0x10000
    assert row["pages"] == ["64K"] and "40000000" in str(answer) and "80020000" in str(answer)
    assert say(machine, "map hgatp").data["total"] == 3
    assert "satp Bare" in str(say(machine, "map satp"))
    (found,) = say(machine, "mapfind 0x40003000").data["rows"]
    assert found["start"] == "0x40000000"


def test_whomaps_finds_every_stage() -> None:
    machine = with_page_features()
    answer = say(machine, "whomaps 0x80023000")
    assert {(row["stage"], int(row["start"], 16)) for row in answer.data["rows"]} == {
        ("hgatp", 0x1000_3000), ("hgatp", RAM + 0x2_3000), ("merged", 0x4000_3000), ("merged", RAM + 0x2_3000),
    }  # fmt: skip
    answer = say(machine, "whomaps gpa:0x10003000")
    assert [(row["stage"], int(row["start"], 16)) for row in answer.data["rows"]] == [("vsatp", 0x4000_3000)]
    tables = say(machine, f"whomaps {RAM + 0x4_0000}").lines
    assert any("table of hart 0's hgatp, of level 2" in line for line in tables)


def test_moments_and_what_became_of_them() -> None:
    machine = with_page_features()
    session = Session(machine)
    session.start()
    try:
        context = commands.Context(session, NoScreen())

        def do(line: str) -> Any:
            return commands.invoke(context, line).result(30)

        assert "merged" in do("mark before")
        assert do("mapdiff before now").data["total"] == 0
        session.call(lambda machine: machine.memory.write_int(RAM + 0x5_2000 + 8 * 5, 8, 0)).result(5)
        answer = do("mapdiff before now")
        (row,) = answer.data["rows"]
        assert (row["mark"], row["start"], row["length"]) == ("-", "0x40005000", 4096)
        assert any(line.startswith("- ") and "40005000" in line for line in answer.lines)
        assert [row["mark"] for row in do("mapdiff now before vsatp").data["rows"]] == ["+"]
        assert do("mapdiff now before hgatp").data["total"] == 0
        for number in range(31):
            do(f"mark m{number}")
        do("mark before")
        with pytest.raises(EmulatorError, match="32 moments already"):
            do("mark more")
    finally:
        session.close()


def test_a_snapshot_file_against_now(tmp_path: Path) -> None:
    machine = with_page_features()
    file = tmp_path / "then.rvtui"
    snapshots.save(machine, str(file))
    machine.memory.write_int(RAM + 0x4_6000 + 8 * 70, 8, RAM >> 2 | 0xDF)
    answer = say(machine, f"mapdiff {file} now hgatp")
    assert [(row["mark"], int(row["start"], 16)) for row in answer.data["rows"]] == [("+", 0x1004_6000)]
    file.write_bytes(b"rubbish")
    with pytest.raises(EmulatorError):
        say(machine, f"mapdiff {file} now")


def test_guests_of_a_hypervisor_inside_also_one_that_is_away() -> None:
    machine = tiny(100_000_000)
    away, loaded = inner_guests(machine)
    assert not away.loaded and loaded.loaded
    for guest in (away, loaded):
        spaces = spaces_of_guest(machine, guest)
        assert ("vsatp" in spaces) == bool(guest.loaded)
        found = finish(Tables(machine.memory).read_stage(spaces, "hgatp"))
        run = found.at(0x8000_0000)
        with_walk = examine(machine, Subject(guest=guest.identity), 0x8000_0000, Access.LOAD, Mode.VS).walk
        assert run is not None and run.output == with_walk.physical
    before = machine.state_hash()
    text = str(say(machine, f"mapdiff {away.name} {loaded.name} hgatp"))
    assert re.search(r"^~ +80000000", text, re.MULTILINE), text
    assert machine.state_hash() == before


# --- the map pane


async def mapped(desk: Desk, keys: str = "M") -> str:
    await desk.press(*keys)
    await desk.until(lambda: desk.pane("map").shown is not None and desk.pane("map")._job is None, "a map")
    await desk.settled()
    return "\n".join(desk.lines("map"))


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_map_by_keys(size: tuple[int, int]) -> None:
    async with opened(with_page_features(), size, running=False) as desk:
        await desk.settled()
        before = desk.state_hash()
        text = await mapped(desk, "M")
        pane = desk.pane("map")
        assert pane.shown.stage == "merged" and "gva" in text and "spa" in text
        assert re.search(r"40000000 +64 KiB +10000000 → +80020000", text), text
        starts = [row.start for row in pane.shown.rows]
        await desk.press("o")
        await desk.until(lambda: pane.shown.wanted.order == "output" and pane._job is None)
        assert sorted(row.start for row in pane.shown.rows) == starts
        outputs = [row.output for row in pane.shown.rows if row.output is not None]
        assert outputs == sorted(outputs)
        await desk.press("m", "m")
        await desk.until(lambda: pane.shown.wanted.shape == "leaves" and pane._job is None)
        assert sum(row.start >> 16 == 0x4000 for row in pane.shown.rows) == 16
        await desk.press("l")
        await desk.type("nc")
        await desk.press("enter")
        await desk.until(lambda: pane.wanted.filter == "nc" and pane._job is None and pane.shown.wanted == pane.wanted)
        assert len(pane.shown.rows) == 1 and "filter nc" in str(pane.border_title)
        await desk.press("v")
        await desk.until(lambda: pane.shown.stage == "satp" and pane._job is None)
        assert any("satp Bare" in line for line in desk.lines("map"))
        assert desk.state_hash() == before


async def test_who_maps_the_line_and_back() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        await mapped(desk)
        pane = desk.pane("map")
        await desk.press("slash")
        await desk.type("0x40000000")
        await desk.press("enter")
        await desk.until(lambda: pane.selected is not None and pane.selected.start == 0x4000_0000)
        cursor = pane.cursor
        await desk.press("enter")
        await desk.until(lambda: pane.shown.wanted.kind == "who")
        text = "\n".join(desk.lines("map"))
        assert "hgatp" in text and "merged" in text and "40000000" in text
        await desk.press("down", "w")
        await desk.until(lambda: any("✓ physical 0x80020000" in line for line in desk.lines("walk")))
        await desk.press("M", "escape")
        await desk.until(lambda: pane.shown.wanted.kind == "map" and pane._job is None)
        assert pane.cursor == cursor


async def test_a_difference_has_signs_beside_its_colours() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        await mapped(desk)
        pane = desk.pane("map")
        await desk.press("t")
        await desk.type("before")
        await desk.press("enter")
        await desk.until(lambda: "before" in desk.session.marks)
        table = RAM + 0x5_2000
        desk.ask(lambda machine: machine.memory.write_int(table + 8 * 3, 8, 0))
        desk.ask(lambda machine: machine.memory.write_int(table + 8 * 20, 8, 0x1000_8000 >> 2 | 0xCF))
        desk.ask(lambda machine: machine.memory.write_int(table + 8 * 4, 8, 0x1002_0000 >> 2 | 0xCF))
        await desk.press("c", "enter")
        await desk.until(lambda: pane.shown.wanted.kind == "diff" and pane._job is None)
        marks = {(line[0], line.split()[1]) for line in desk.lines("map")[1:] if line[0] in "+-~"}
        assert marks == {("-", "40003000"), ("~", "40004000"), ("+", "40014000")}
        styles = {line[0][0][0]: line[0][1] for line in list(pane.lines)[1:]}
        assert len({styles[mark] for mark in "+-~"}) == 3
        await desk.press("escape")
        await desk.until(lambda: pane.shown.wanted.kind == "map")


async def test_the_mouse_sorts_chooses_and_asks() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        await mapped(desk, "M")
        await desk.press("z")
        await desk.settled()
        pane = desk.pane("map")
        await desk.pilot.click(pane, offset=(5, 1))
        await desk.until(lambda: pane.shown.wanted.order == "output" and pane._job is None)
        await desk.pilot.click(pane, offset=(5, 3))
        assert pane.cursor == 2
        await desk.pilot.click(pane, offset=(5, 3), times=2)
        await desk.until(lambda: pane.shown.wanted.kind == "who")


async def test_the_names_of_the_columns_stay_while_lines_scroll() -> None:
    machine = with_page_features()
    for page in range(0, 512, 2):
        machine.memory.write_int(RAM + 0x5_2000 + 8 * page, 8, RAM >> 2 | 0xCF)
    async with opened(machine, (80, 24), running=False) as desk:
        await mapped(desk, "M")
        await desk.press("end")
        pane = desk.pane("map")
        assert pane.top > 100 and pane.cursor == len(pane.lines) - 1
        head = next(row for row in desk.screen() if "gva" in row)
        assert "spa" in head
        await desk.press("home")
        assert pane.cursor == 1 and pane.top == 0


async def test_a_map_follows_the_machine_and_what_is_looked_at() -> None:
    machine = tiny(STEPS_TO_BOTH)
    one, two = inner_guests(machine)
    async with opened(machine, (120, 40), running=False) as desk:
        pane = desk.pane("map")
        for guest in (one, two):
            desk.session.select(Subject(guest=guest.identity))
            await desk.settled()
            await mapped(desk, "M")
            await desk.until(lambda name=guest.name: pane.shown.name == name and pane._job is None)
            desk.application.show_map(Wanted(stage="hgatp"))
            await desk.until(lambda: pane.shown.stage == "hgatp" and pane._job is None)
            spaces = desk.ask(lambda machine, guest=guest: spaces_of(machine, Subject(guest=guest.identity)))
            assert {space.root for space in pane.shown.map.spaces} == {guest.root} == {spaces["hgatp"].root}
            desk.application.show_map(Wanted())
        await desk.press("space")
        await desk.until(lambda: desk.session.view.finished, timeout=60)
        await desk.until(lambda: pane._made[0][2] == machine.executed and pane._job is None)


def big(pages: int) -> Machine:
    """A machine whose satp maps `pages` pages of 4 KiB, every thousandth apart from its neighbours."""
    machine = Machine(memory=64 << 20)
    hart = machine.harts[0]
    root, middle, leaf = RAM + 0x10_0000, RAM + 0x10_1000, RAM + 0x20_0000
    tables = pages // 512
    for upper in range(-(-tables // 512)):
        machine.memory.write_int(root + 8 * upper, 8, middle + 4096 * upper >> 2 | V)
    flags = V | R | W | A | D
    pointers = [leaf + 4096 * table >> 2 | V for table in range(tables)]
    leaves = [RAM + 4096 * page >> 2 | flags | (0 if page % 1000 else U) for page in range(pages)]
    for at, entries in ((middle, pointers), (leaf, leaves)):
        machine.memory.write(at, struct.pack(f"<{len(entries)}Q", *entries))
    hart.set_csr("satp", 8 << 60 | root >> 12)
    hart.mode = Mode.HS
    return machine


async def test_hundreds_of_thousands_of_leaves_in_slices() -> None:
    """The work is cut into slices on the worker; only lines in sight are made."""
    pages = 300 * 512
    machine = big(pages)
    async with opened(machine, (80, 24), running=False) as desk:
        made: list[int] = []
        text = await mapped(desk, "M")
        pane = desk.pane("map")
        assert pane.shown.stage == "satp" and f"{pages:,} leaves" in pane.shown.title
        assert len(pane.shown.rows) == pages // 1000 * 2 + 1 + 1 and text
        await desk.press("m", "m")
        await desk.until(lambda: pane.shown.wanted.shape == "leaves" and pane._job is None)
        lines = pane.lines
        original = lines._line
        lines._line = lambda index: (made.append(index), original(index))[1]
        await desk.press("end")
        assert len(pane.lines) == pages + 1 and pane.cursor == pages
        assert len(set(made)) < 3 * 24
        await desk.press("m")
        await desk.until(lambda: pane.shown.wanted.shape == "ranges" and pane._job is None)


def test_a_slice_is_short_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one slice does is bounded by the clock, not by the size of the tables."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    monkeypatch.setattr("rvtui.mapping.time.monotonic", clock)
    machine = big(20 * 512)
    job = Slices(show(machine, Subject(0), Tables(machine.memory), Wanted(), {}))
    slices = 0
    while not job.go(machine):
        slices += 1
    assert slices >= 2 and job.shown is not None and job.shown.map is not None and job.shown.map.leaves == 20 * 512


async def test_reading_without_end_does_not_hold_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices in which nothing gets done: keys and commands go on between, and leaving the pane ends the reading."""
    monkeypatch.setattr("rvtui.mapping.SLICE_SECONDS", 0.0)
    machine = big(512)
    async with opened(machine, (80, 24), running=False) as desk:
        await desk.press("M")
        await desk.until(lambda: desk.pane("map")._job is not None)
        desk.application.carry_out("print 6*7")
        await desk.shows("= 42")
        assert desk.pane("map")._job is not None
        await desk.press("3")
        assert desk.pane("registers").has_focus
        await desk.until(lambda: desk.pane("map")._job is None, "reading ends when the pane is gone")
        monkeypatch.undo()
        await mapped(desk, "M")
        assert desk.pane("map").shown.map.leaves == 512


def test_tables_without_end_are_said_to_be_more() -> None:
    """A root that points to itself at every entry."""
    machine = Machine(memory=4 << 20)
    root = RAM + 0x10_0000
    machine.memory.write(root, (root >> 2 | V).to_bytes(8, "little") * 512)
    machine.harts[0].set_csr("satp", 10 << 60 | root >> 12)
    machine.harts[0].mode = Mode.HS
    answer = say(machine, "map satp")
    assert answer.data["total"] == 0 and any(note.startswith("not all") for note in answer.data["notes"])
