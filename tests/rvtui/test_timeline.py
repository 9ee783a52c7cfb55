"""The timeline: what the pane draws and its keys do, and the commands that tell the same as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, commanded
from desk import RAM, Desk, opened
from textual.events import MouseScrollDown, MouseScrollUp

from emulator import guests, history
from emulator.hart import EventKind, Mode
from emulator.machine import Machine
from rvtui import lanes, machines
from rvtui.subjects import Subject

sys.path.append(str(Path(__file__).resolve().parents[1] / "emulator"))

from rig import HANDLER, Rig

SIZES = [(80, 24), (200, 50)]


def ticking() -> Machine:
    """U and M in turn: two instructions of U, then four of M."""
    rig = Rig("loop: nop; ecall; j loop", mode=Mode.U)
    rig.write(HANDLER, "csrr t0, mepc; addi t0, t0, 4; csrw mepc, t0; mret")
    rig.run(7 * 200)
    return rig.machine


def tiny(steps: int = 700_000) -> Machine:
    machine = Machine(memory=64 << 20)
    machine.boot(machine.load_elf(guests.path("tiny-hypervisor")).entry)
    machine.run(steps)
    return machine


async def zoomed(desk: Desk) -> Any:
    await desk.press("0")
    if desk.application._zoomed is None:
        await desk.press("z")
    await desk.settled()
    return desk.pane("timeline")


def row(desk: Desk, name: str) -> str:
    """The cells of a row."""
    (found,) = (line for line in desk.lines("timeline") if line[: lanes.LABEL].strip(" ▶") == name)
    return found[lanes.LABEL :]


async def pressed(desk: Desk, *keys: str) -> Any:
    await desk.press(*keys)
    await desk.settled()
    return desk.pane("timeline").timeline.picture


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_at_one_instruction_a_cell_the_lanes_are_the_program(size: tuple[int, int]) -> None:
    async with opened(ticking(), size, running=False) as desk:
        pane = await zoomed(desk)
        assert (await pressed(desk, "home", *["plus"] * 10)).shift == 0
        assert "1 instruction a cell" in desk.lines("timeline")[0]
        cells = pane.timeline.picture.cells
        assert cells == size[0] - 2 - lanes.LABEL
        # nop, then ecall does not retire; four of M; the jump, nop: a period of six.
        user = "█" + "    ██" * 200
        machine = " " + "████  " * 200
        assert row(desk, "U")[:60] == user[:60] and row(desk, "M")[:60] == machine[:60]
        assert row(desk, "! traps")[:60] == (" " + "!     " * 200)[:60]
        assert row(desk, "HS").strip() == row(desk, "VS").strip() == row(desk, "asleep").strip() == ""
        assert not any("exits" in line for line in desk.lines("timeline")), "none ever happened"
        text = desk.text()
        assert "▼ 0 +1" in text and "returns 1" in text, "the mode was set"
        await pressed(desk, "right")
        assert "▼ 1 +1" in desk.text() and "M 1 " in desk.text() and "traps 1" in desk.text()
        if size[1] > 24:
            assert "environment call from U" in desk.text(), "the event itself"
        await pressed(desk, "right")
        assert "▼ 2 +1" in desk.text() and "nothing happened" in desk.text()


async def test_zoom_keeps_the_cursor_and_ends_at_one_instruction_and_the_whole_run() -> None:
    async with opened(tiny(), (100, 40), running=False) as desk:
        pane = await zoomed(desk)
        whole = pane.timeline.picture
        assert whole.first == 0 and whole.end > whole.clock and whole.shift == history.whole(whole.clock, whole.cells)
        await pressed(desk, "home", *["right"] * 3)
        at = pane.timeline.cursor
        assert at == 3 << whole.shift
        seen = []
        for times in (1, 1, whole.shift, 1):
            picture = await pressed(desk, *["plus"] * times)
            seen.append(picture.shift)
            assert picture.start <= at < picture.end and pane.timeline.cursor == at
        assert seen == [whole.shift - 1, whole.shift - 2, 0, 0]
        picture = await pressed(desk, *["minus"] * (whole.shift + 2))
        assert picture.shift == whole.shift and pane.timeline.cursor == at and picture.first == 0
        await pressed(desk, *["plus"] * 5)
        picture = await pressed(desk, "a")
        assert (picture.first, picture.shift, pane.timeline.cursor) == (0, whole.shift, whole.clock)


async def test_arrows_and_pages_pan_within_the_run() -> None:
    async with opened(tiny(), (100, 40), running=False) as desk:
        pane = await zoomed(desk)
        await pressed(desk, "home", "plus", "plus", "plus")
        picture = pane.timeline.picture
        cells, last = picture.cells, picture.clock >> picture.shift
        picture = await pressed(desk, "pagedown")
        assert (picture.first, pane.timeline.cell) == (cells, 0)
        picture = await pressed(desk, "left")
        assert (picture.first, pane.timeline.cell) == (cells - 1, 0), "the picture follows the cursor"
        picture = await pressed(desk, "shift+right")
        assert (picture.first, pane.timeline.cell) == (cells - 1, 8)
        picture = await pressed(desk, *["pageup"] * 3)
        assert picture.first == 0
        picture = await pressed(desk, *["left"] * 10)
        assert (picture.first, pane.timeline.cursor) == (0, 0)
        picture = await pressed(desk, *["pagedown"] * 10)
        assert picture.first == last and pane.timeline.cursor <= picture.clock
        await pressed(desk, "end")
        assert pane.timeline.cursor == picture.clock and "follows the end" in str(pane.border_title)
        picture = pane.timeline.picture
        assert picture.first <= last < picture.first + cells


async def test_it_follows_a_running_machine_and_stays_where_the_user_went() -> None:
    async with opened(["ticker"], (100, 40)) as desk:
        pane = await zoomed(desk)
        await desk.until(lambda: pane.timeline is not None and pane.timeline.picture.clock > 10_000)
        before = pane.timeline.picture.clock
        await desk.until(lambda: pane.timeline.picture.clock > before + 1_000_000)
        picture = pane.timeline.picture
        assert pane.timeline.cursor == picture.clock < picture.end
        await desk.press("home", *["plus"] * 3)
        await desk.until(lambda: pane.timeline.picture.first == 0 and pane.timeline.cursor == 0)
        shift = pane.timeline.picture.shift
        before = pane.timeline.picture.clock
        await desk.until(lambda: pane.timeline.picture.clock > before + 1_000_000)
        assert (pane.timeline.picture.first, pane.timeline.picture.shift, pane.timeline.cursor) == (0, shift, 0)


async def test_guests_have_letters_that_stay_and_rows() -> None:
    async with opened(tiny(3_000_000), (120, 50), running=False) as desk:
        pane = await zoomed(desk)
        names = [line[: lanes.LABEL].strip() for line in desk.lines("timeline")]
        assert names[-2:] == ["A VMID 1", "B VMID 2"]
        timeline = pane.timeline
        first, second = timeline.picture.guests
        assert first.since < second.since
        for cell in range(timeline.picture.cells):
            letter = row(desk, "VS").ljust(timeline.picture.cells)[cell]
            most = max((guest for guest in (first, second)), key=lambda guest: guest.vs[cell])
            expected = {0: "A", 1: "B"}[(first, second).index(most)] if most.vs[cell] else " "
            assert letter.upper() == expected
            if letter != " ":
                assert letter.isupper() is (2 * most.vs[cell] >= timeline.picture.awake(cell))
            assert (row(desk, "A VMID 1")[cell] != " ") is bool(first.retired[cell])
    vmm = machines.with_guests(["hello", "ticker"])
    vmm.run(100_000)
    timeline = lanes.read_timeline(vmm, Subject(0, 0), lanes.Wanted())
    assert sorted(timeline.names.values()) == [("A", "hello"), ("B", "ticker")]


async def test_events_are_found_by_kind_and_enter_leads_to_why() -> None:
    async with opened(tiny(300_000), (120, 50), running=False) as desk:
        pane = await zoomed(desk)
        picture = await pressed(desk, "home", *["plus"] * 20)
        exits = [event for event in desk.ask(lambda machine: machine.harts[0].events(1024)) if event.exit]
        await desk.press(*["t"] * 8)
        assert "leave" in str(pane.border_title)
        for event in exits[:3]:
            await desk.press("full_stop")
            await desk.until(lambda event=event: pane.timeline.cursor == event.clock)
            assert f"{event.clock:,}" in desk.text() and "leave VMID 1" in desk.text()
        await desk.press("comma")
        await desk.until(lambda: pane.timeline.cursor == exits[1].clock)
        assert pane.timeline.picture.start <= exits[1].clock < pane.timeline.picture.end
        await desk.press("enter")
        await desk.until(lambda: desk.pane("traps").has_focus)
        await desk.settled()
        lines = desk.lines("traps")
        selected = desk.pane("traps").selected
        assert selected is not None and (selected.trap.pc, selected.trap.cause) == (exits[1].pc, exits[1].cause)
        assert any(line.startswith("▾") for line in lines) and any("medeleg" in line for line in lines), "opened"
        assert picture.shift == 0


async def test_enter_on_several_events_lists_them_and_the_end_of_a_search_is_said() -> None:
    async with opened(ticking(), (100, 40), running=False) as desk:
        await zoomed(desk)
        await pressed(desk, "home", *["plus"] * 8, "minus", "minus", "minus", "minus")
        await desk.press("enter")
        await desk.shows("one cell of the timeline")
        text = desk.text()
        assert text.count("environment call from U") == 3 and text.count("return") >= 2
        await desk.press("escape")
        await desk.press("comma")
        await desk.shows("no earlier event")
        await desk.press("t", "t", "full_stop")
        await desk.shows("no later interrupt")


async def test_the_wheel_zooms_where_it_points_and_a_click_chooses() -> None:
    async with opened(tiny(), (100, 40), running=False) as desk:
        pane = await zoomed(desk)
        before = pane.timeline.picture
        await desk.pilot.click(pane, offset=(1 + lanes.LABEL + 7, 6))
        await desk.settled()
        assert pane.timeline.cell == 7
        await desk.pilot._post_mouse_events([MouseScrollUp], pane, offset=(1 + lanes.LABEL + 7, 6), button=0)
        await desk.settled()
        picture = pane.timeline.picture
        assert picture.shift == before.shift - 2 and picture.start <= 7 << before.shift < picture.end
        assert pane.timeline.cell == 7
        await desk.pilot._post_mouse_events([MouseScrollDown], pane, offset=(1 + lanes.LABEL + 7, 6), button=0)
        await desk.settled()
        assert pane.timeline.picture.shift == before.shift
        await desk.pilot.click(pane, offset=(2, 6))
        await desk.settled()
        assert pane.timeline.cell == 7, "labels are no cells"
        await desk.pilot.click(pane, offset=(1 + lanes.LABEL + 7, 6))
        await desk.shows("one cell of the timeline")


async def test_stops_of_the_user_are_marked() -> None:
    async with opened(tiny(1000), (100, 40), running=False) as desk:
        pane = await zoomed(desk)
        await desk.press("colon")
        await desk.type("run 5000")
        await desk.press("enter")
        await desk.until(lambda: desk.machine.executed >= 6000 and not desk.session.running)
        await desk.settled()
        (clock,) = (clock for clock, reason in desk.session.stood if "5,000" in reason)
        assert row(desk, "■ stops").rstrip()[-1] == "■"
        assert clock == desk.machine.clock == pane.timeline.cursor and "ran 5,000 instructions" in desk.text()
        await desk.press("s")
        await desk.settled()
        assert len(desk.session.stood) == 1, "steps are none"
        desk.machine.resets += 1
        assert not desk.session.stood, "its clock is another"


async def test_only_what_changed_is_drawn_again() -> None:
    async with opened(ticking(), (100, 40), running=False) as desk:
        pane = await zoomed(desk)
        await pressed(desk, "home", *["plus"] * 8)
        drawn: list[int] = []
        original = pane._refresh_changed
        pane._refresh_changed = lambda rows: (drawn.extend(rows), original(rows))[1]
        pane.redraw()
        assert drawn == []
        await pressed(desk, "right")
        assert drawn and max(drawn) < int(pane.content_size.height)
        assert 0 not in drawn, "the heading is as it was"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with commanded(ticking()) as bench:
        yield bench


def test_the_command_tells_the_same_as_text_and_data(bench: Bench) -> None:
    data = bench.data("timeline 0 60")
    json.dumps(data)
    assert (data["start"], data["cell"], data["cells"], data["exact_from"], data["resolution"]) == (0, 1, 60, 0, 1)
    user = [1] + [0, 0, 0, 0, 1, 1] * 10
    assert data["retired"]["U"] == user[:60]
    assert data["retired"]["M"] == [1 - n for n in user[:60]] and not any(data["retired"]["VS"])
    assert data["events"]["trap"] == ([0] + [1, 0, 0, 0, 0, 0] * 10)[:60]
    lines = bench.say("timeline 0 60").splitlines()
    assert "1 instruction a cell" in lines[0] and "0 to 60 of 1,200" in lines[0]
    (lane,) = (line for line in lines if line.split()[0].strip("▶") == "U")
    assert lane[lanes.LABEL :].rstrip() == "".join(" █"[n] for n in user[:60]).rstrip()
    clock = bench.machine.harts[0].clock
    assert bench.data("timeline -30")["start"] == clock - 30
    assert sum(bench.data("timeline")["retired"]["U"]) == bench.machine.harts[0].retired[Mode.U]
    whole = bench.data("timeline")
    assert whole["cells"] <= 64 and whole["clock"] == clock and sum(whole["events"]["trap"]) == 200


def test_events_by_kind_and_range(bench: Bench) -> None:
    assert {each["kind"] for each in bench.data("events 100 trap")["events"]} == {"trap"}
    assert len(bench.data("events 7 returns")["events"]) == 7
    found = bench.data("events 100 10..40 trap")["events"]
    assert [each["clock"] for each in found] == [13, 19, 25, 31, 37]
    assert found == bench.data("events trap 100 10..40")["events"] == bench.data("events 10..40 trap")["events"]
    every = bench.data("events 1024")["events"]
    assert len(every) == 401 and every[-1]["pc"] == hex(RAM + 8), "the mode that was set, 200 calls, 200 returns"
    assert "no such event among the last 1,024" in bench.say("events fence")
    both = bench.data("events 4 trap return")["events"]
    assert [each["kind"] for each in both] == ["trap", "return", "trap", "return"]


def test_other_harts_have_a_row_each() -> None:
    rig = Rig("loop: j loop", harts=3)
    rig.machine.harts[1].mode = Mode.HS
    rig.machine.harts[2].halted = True
    rig.run(6000)
    timeline = lanes.read_timeline(rig.machine, Subject(0), lanes.Wanted(cells=40))
    assert [(index, set(row.strip())) for index, row in timeline.others] == [(1, {"H"}), (2, {"z"})]
    names = ["".join(text for text, _ in line)[: lanes.LABEL].strip() for line in lanes.picture_rows(timeline)]
    assert names[-2:] == ["hart 1", "hart 2"]
    other = lanes.read_timeline(rig.machine, Subject(2), lanes.Wanted(cells=40))
    assert other.picture.hart == 2 and sum(other.picture.asleep) == other.picture.clock


def test_many_events_are_bars_and_few_are_numbers() -> None:
    machine = ticking()
    rows = {}
    for shift in (0, 5, 7):
        timeline = lanes.read_timeline(machine, Subject(0), lanes.Wanted(shift, 0, 8))
        (line,) = (line for line in lanes.picture_rows(timeline) if "traps" in line[0][0])
        rows[shift] = "".join(text for text, _ in line[1:])
    assert rows[0] == " !     !"
    assert set(rows[5]) <= set("56") and set(rows[7]) <= set("▁▂▃▄▅▆▇█ ") and "█" in rows[7]
    picture = lanes.read_timeline(machine, Subject(0), lanes.Wanted(7, 0, 10)).picture
    assert sum(picture.events[EventKind.TRAP]) == 200
