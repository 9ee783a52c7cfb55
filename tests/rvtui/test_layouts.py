"""Layouts in the application, what comes back the next time, and terminals that shrink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk import Desk, opened

from rvtui import application, machines, panes
from rvtui.application import Application
from rvtui.configuration import Settings
from rvtui.keeping import Keeper
from rvtui.layout import BY_SIZE, LAYOUTS, MINIMUM
from rvtui.panes.console import ConsolePane
from rvtui.resume import Memory

GUESTS = ["echo", "ticker"]


def memory(tmp_path: Path) -> Memory:
    return Memory(Keeper(tmp_path / "view" / "one.json"), Keeper(tmp_path / "layouts.json"))


async def give(desk: Desk, line: str, says: str) -> None:
    desk.application.carry_out(line)
    await desk.until(lambda: says in desk.application._keys.message, says)
    await desk.pilot.pause()


def test_layouts_of_ours_show_something() -> None:
    known = {pane.NAME for pane in panes.every()}
    for name, members in LAYOUTS.items():
        assert name not in known and (name == BY_SIZE or len(known.intersection(members)) >= 3), name


async def test_panes_side_by_side() -> None:
    async with opened(GUESTS, (200, 50)) as desk:
        await give(desk, "layout walk gst", "✓ layout walk gstage")
        assert desk.application.shown == ["walk", "gstage"]
        walk, tree = desk.pane("walk"), desk.pane("gstage")
        await desk.until(lambda: walk.region.width == tree.region.width == 100 and walk.region.height == 48)
        assert walk.has_focus, "what had the focus is not on the screen"
        await desk.press("3")
        assert desk.application.shown == ["walk", "registers"] and desk.pane("registers").has_focus
        await desk.press("z")
        assert desk.application.shown == ["registers"]
        await give(desk, "layout reset", "layout by-size")
        assert len(desk.application.shown) == 9
        await give(desk, "layout debugging", "layout debugging: vms")
        assert {"vms", "code", "registers", "stops"} <= set(desk.application.shown)


async def test_the_key_goes_round_all_layouts() -> None:
    async with opened(GUESTS, (120, 40)) as desk:
        await give(desk, "layout save mine", "saved layout mine")
        seen = []
        for _ in desk.application.layouts:
            await desk.press("ctrl+l")
            seen.append(desk.application.layout_name)
            assert f"layout {seen[-1]}: " in desk.application._keys.message
            assert desk.application.focused is not None and desk.application.focused.display
        assert sorted(seen) == sorted(desk.application.layouts) and "mine" in seen


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("layout walkk", "no layout or pane 'walkk': did you mean 'walk'?"),
        ("layout walk nowhere", 'no pane "nowhere"'),
        ("layout walk walk", "a pane can be there only once"),
        ("layout save", "layout save NAME"),
        ("layout save walk", "that is a pane"),
        ("layout save a b", "layout save NAME"),
        ("layout save by-size", "a layout of ours"),
        ("layout save ../x", "letters, digits"),
        ("layout save " + "x" * 60, "letters, digits"),
        ("layout " + " ".join(["walk"] * 20), "a list of panes, at most 12"),
    ],
)
async def test_layouts_that_cannot_be(line: str, says: str) -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        before = desk.application.shown
        await give(desk, line, says)
        assert "✗" in desk.application._keys.message and desk.application.shown == before


async def test_completion_offers_layouts_and_panes() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        complete = desk.application._complete
        assert {"layout debugging", "layout save", "layout walk"} <= set(complete("layout "))
        assert complete("layout walk gs") == ["layout walk gstage"] and "theme rvtui-safe" in complete("theme ")


async def test_a_console_alone_can_be_left() -> None:
    async with opened(GUESTS, (120, 40)) as desk:
        await give(desk, "layout console console2", "layout console console2")
        await desk.press("2")
        assert isinstance(desk.application.focused, ConsolePane)
        await desk.press("ctrl+right_square_bracket", "space")
        await desk.until(lambda: not desk.session.running)


# --- the next time ---


async def test_all_comes_back(tmp_path: Path) -> None:
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path)) as desk:
        await desk.shows("echo>")
        await give(desk, "layout walk gstage", "layout walk gstage")
        await give(desk, "layout save both", "saved layout both")
        await give(desk, "layout csrs exits map", "layout csrs exits map")
        await desk.press("right_square_bracket", "W")
        await desk.until(lambda: desk.session.subject.vm == 1)
        shown = desk.application.shown
        assert shown == ["csrs", "exits", "worlds"]
        await desk.press("q")
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path)) as desk:
        assert desk.application.shown == shown
        await desk.until(lambda: desk.pane("worlds").has_focus)
        await desk.until(lambda: desk.session.subject.vm == 1, "what was looked at")
        await give(desk, "layout both", "layout both: walk gstage")
        await desk.press("6", "z", "q")
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path)) as desk:
        assert desk.application.shown == ["gstage"] and desk.application._zoomed == "gstage"
        await desk.press("z")
        assert desk.application.shown == ["walk", "gstage"] and desk.application.layout_name == "both"
        await desk.press("q")
    anew = Settings(values={**Settings().values, "resume": False})
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path), settings=anew) as desk:
        assert desk.application.layout_name == BY_SIZE and "vms" in desk.application.shown
        assert "both" in desk.application.layouts, "layouts are the user's, not the program's"


async def test_the_config_files_layout_is_for_programs_without_a_choice(tmp_path: Path) -> None:
    mine = Settings(values={**Settings().values, "layout": "trapping"})
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path), settings=mine) as desk:
        assert desk.application.layout_name == "trapping" and "traps" in desk.application.shown
        await give(desk, "layout consoles", "layout consoles")
        await desk.press("q")
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path), settings=mine) as desk:
        assert desk.application.layout_name == "consoles"


PLACE = {"format": 1, "layout": "", "panes": ["code"], "shown": "code", "focus": "code", "zoomed": None, "subject": ""}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '"x"', "7", '{"format": 2}', '{"format": 1}', "\xff", "[" * 100_000,
        json.dumps({**PLACE, "panes": ["nowhere"]}), json.dumps({**PLACE, "shown": "nowhere"}),
        json.dumps({**PLACE, "panes": ["code"] * 100}), json.dumps({**PLACE, "panes": [["code"]]}),
        json.dumps({**PLACE, "focus": 7}), json.dumps({**PLACE, "layout": "", "panes": []}), " " * (2 << 20),
    ],
    ids=range(16),
)  # fmt: skip
async def test_a_broken_file_is_told_ignored_and_kept_aside(tmp_path: Path, text: str) -> None:
    file = tmp_path / "view" / "one.json"
    file.parent.mkdir()
    file.write_text(text, encoding="latin-1")
    async with opened(["hello"], (120, 40), running=False, memory=memory(tmp_path)) as desk:
        message = desk.application._keys.message
        assert str(file) in message and "the layout of before is ignored" in message
        assert desk.application.layout_name == BY_SIZE
        await desk.press("q")
    aside = file.with_suffix(".broken-1")
    assert aside.read_text(encoding="latin-1") == text
    assert json.loads(file.read_text())["layout"] == BY_SIZE


async def test_broken_layouts_are_told_and_the_others_kept(tmp_path: Path) -> None:
    file = tmp_path / "layouts.json"
    file.write_text(json.dumps({"format": 1, "layouts": {"good": ["code", "walk"], "bad": ["nowhere"], "code": []}}))
    async with opened(["hello"], (120, 40), running=False, memory=memory(tmp_path)) as desk:
        assert "no pane \"nowhere\"" in desk.application._keys.message and "good" in desk.application.layouts
        await give(desk, "layout save another", "saved layout another")
    assert json.loads(file.read_text())["layouts"].keys() == {"good", "another"}
    assert "nowhere" in file.with_suffix(".broken-1").read_text()


async def test_a_layout_that_is_gone_and_a_guest_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "view" / "one.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**PLACE, "layout": "forgotten", "panes": [], "subject": "nobody"}))
    async with opened(["hello"], (120, 40), running=False, memory=memory(tmp_path)) as desk:
        await desk.settled()
        assert desk.application.layout_name == BY_SIZE and desk.session.subject.vm == 0
        assert "code" in desk.application.shown


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "view").write_text("a file")
    (tmp_path / "layouts.json").mkdir()
    async with opened(["hello"], (120, 40), running=False, memory=memory(tmp_path)) as desk:
        await desk.settled()
        desk.application.carry_out("layout save mine")
        await desk.until(lambda: "mine" in desk.application.layouts, "for as long as it lasts")
        await desk.press("q")
    assert (tmp_path / "view").read_text() == "a file"


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("stops", [False, True])
def test_fresh_reads_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool, stops: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen: list[Application] = []

    def used(self: Application, *_: object, **__: object) -> None:
        seen.append(self)
        self.session.call(lambda machine: self.session.book.set(self.session.subject, "break main")).result(10)
        self._memory.remember(self.place())

    monkeypatch.setattr(Application, "run", used)
    settings = Settings(values={**Settings().values, "stops": stops})
    for _ in range(2):
        application.run(machines.with_guests(["hello"]), start=False, settings=settings, fresh=fresh)
    files = {path.parent.name for path in tmp_path.rglob("*.json")}
    assert files == (set() if fresh else {"view", "stops"} if stops else {"view"})
    assert len(seen[1].session.book.stops) == 1 + (stops and not fresh)


# --- terminals that shrink ---


async def test_what_had_the_focus_has_it_again(tmp_path: Path) -> None:
    async with opened(GUESTS, (120, 40), memory=memory(tmp_path)) as desk:
        await desk.shows("echo>")
        await give(desk, "layout console walk", "layout console walk")
        await desk.press("7")
        for size in ((40, 10), (79, 24), (10, 3)):
            await desk.pilot.resize_terminal(*size)
        await desk.pilot.resize_terminal(*MINIMUM)
        await desk.until(lambda: desk.pane("walk").has_focus)
        assert desk.application.shown == ["console", "walk"]
        await desk.pilot.resize_terminal(30, 8)
        await desk.press("q")
    assert json.loads((tmp_path / "view" / "one.json").read_text())["focus"] == "walk"


async def test_what_is_typed_for_a_guest_that_cannot_be_seen_does_nothing() -> None:
    async with opened(["echo"], (80, 24)) as desk:
        await desk.shows("echo>")
        await desk.press("2")
        await desk.pilot.resize_terminal(60, 20)
        await desk.shows("rvtui needs 80x24")
        await desk.press("q", "s", "x", "enter")
        assert desk.application.is_running and desk.session.running
        await desk.pilot.resize_terminal(80, 24)
        await desk.until(lambda: isinstance(desk.application.focused, ConsolePane))
        await desk.press("a", "b", "enter")
        await desk.shows("BA")


async def test_a_question_outlives_a_small_terminal() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await desk.press("colon", "p", "r")
        await desk.pilot.resize_terminal(60, 20)
        await desk.press("i")
        await desk.pilot.resize_terminal(80, 24)
        await desk.press("n", "t", "space", "7", "enter")
        await desk.shows("0x7 = 7")


async def test_resizing_like_mad_in_every_layout() -> None:
    async with opened(GUESTS, (200, 50)) as desk:
        await desk.shows("echo>")
        for step, name in enumerate([*desk.application.layouts] * 4):
            desk.application.arrange(name)
            await desk.pilot.resize_terminal(20 + step * 37 % 230, 5 + step * 17 % 70)
            if step % 5 == 0:
                await desk.press("f")
        await desk.press("escape")
        await desk.pilot.resize_terminal(120, 40)
        await desk.until(lambda: all(len(row) == 120 for row in desk.screen()))
        assert len(desk.application.screen_stack) == 1
