"""Keys: the table of actions, what makes of it, and keys pressed in the application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from desk import SLEEP, SPIN, Desk, opened
from textual.widget import Widget

from rvtui import actions, panes
from rvtui.actions import ANY_PANE, DEFAULT, EVERYWHERE, KEYMAPS, PAGER, VIM, Change, Keymap, parse_key, said, spelled
from rvtui.application import Application
from rvtui.configuration import Settings
from rvtui.panes.console import ConsolePane
from rvtui.panes.registers import RegistersPane
from rvtui.reportscreen import ReportPane

KINDS: tuple[type[Widget], ...] = (*panes.every(), ReportPane)
OWN = {
    ("pane.bottom", "G"), ("pane.search-previous", "N"), ("walk.sum", "U"), ("memory.end", "G"),
    ("timeline.follow", "G"), ("console.again-back", "N"), ("console.again-on", "N"),
}  # fmt: skip
"""Capitals that panes may have."""


def settings(base: str = DEFAULT, **keys: str) -> Settings:
    """Written with __ for a dot and _ for a dash."""
    changes = {
        name.replace("__", ".").replace("_", "-"): Change(tuple(map(parse_key, text.split("|"))), "c:1")
        for name, text in keys.items()
    }
    return Settings(keymap=Keymap(base, changes))


# --- the table ---


@pytest.mark.parametrize("base", KEYMAPS)
def test_no_pane_takes_what_is_the_applications(base: str) -> None:
    keymap = Keymap(base)
    everywhere = ("jump", "next-pane", "previous-pane", "command", "help", "palette", "quit", "zoom", "layout", "run")
    reserved = {key for name in everywhere for key in keymap.keys[name]}
    for name, keys in keymap.keys.items():
        action = actions.every()[name]
        if action.where not in (EVERYWHERE, PAGER):
            for key in keys:
                capital = len(key) == 1 and (key.isdigit() or key.isupper())
                assert not capital or (name, key) in OWN, f"{name}: digits and capitals show panes"
                assert key not in reserved, f"{name}: {key} is the application's"


@pytest.mark.parametrize("base", KEYMAPS)
def test_no_key_stands_for_two_actions_of_one_place(base: str) -> None:
    keymap = Keymap(base)
    assert not keymap.problems
    wanted = {name: action.keys_in(base) for name, action in actions.every().items()}
    assert keymap.keys == wanted, "none was taken away"
    for place in {action.where for action in actions.every().values()}:
        keys = Counter(key for name, keys in wanted.items() if actions.every()[name].where == place for key in keys)
        assert set(keys.values()) <= {1}, (place, keys)
        assert not any(key.split(" ")[0] in keys for key in keys if " " in key), "the first of two is no key alone"


def test_every_action_can_be_done_and_says_what_for() -> None:
    by_name = {vars(kind)["NAME"]: kind for kind in KINDS}
    for action in actions.every().values():
        owner = Application if action.where == EVERYWHERE else by_name.get(action.where, panes.every()[0])
        assert hasattr(owner, f"action_{action.call.partition('(')[0]}"), action
        assert " " in action.does and action.does == action.does.strip(), f"{action.name}: a newcomer reads this"
        assert action.keys and all(parse_key(spelled(key)) == key for key in action.keys), action


def test_what_a_pane_has_is_in_the_table() -> None:
    for kind in KINDS:
        for binding in vars(kind).get("BINDINGS", ()):
            found = [each for each in actions.every().values() if each.where == vars(kind)["NAME"]]
            assert any(each.call == binding.action and each.does == binding.description for each in found), binding


@pytest.mark.parametrize(
    ("text", "key", "shown"),
    [
        ("?", "question_mark", "?"), ("Ctrl-P", "ctrl+p", "Ctrl-P"), ("C-p", "ctrl+p", "Ctrl-P"), ("-", "minus", "-"),
        ("pgup", "pageup", "PgUp"), ("g g", "g g", "gg"), ("ctrl+]", "ctrl+right_square_bracket", "Ctrl-]"),
        ("shift+a", "A", "A"), ("F5", "f5", "F5"), ("s-tab", "shift+tab", "Shift-Tab"), ("+", "plus", "+"),
        ("ctrl+-", "ctrl+minus", "Ctrl--"), (" ", "space", "space"), ("esc", "escape", "Escape"), ("ü", "ü", "ü"),
        ("alt+x", "alt+x", "Alt-X"), ("#", "number_sign", "#"),
    ],
)  # fmt: skip
def test_keys_as_people_write_them(text: str, key: str, shown: str) -> None:
    assert parse_key(text) == key and said(key) == shown


@pytest.mark.parametrize("text", ["", "frob", "ctrl+", "g g g", "hyper+x", "\x1b", "ctrl+frob"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        parse_key(text)


def test_conflicts_are_told_and_the_users_key_wins() -> None:
    keymap = settings(step="n").keymap
    assert keymap.keys["step"] == ("n",) and not keymap.keys["next"]
    (problem,) = keymap.problems
    assert problem.startswith("c:1: 'n' is step and next: ")
    both = settings(step="x", until="x").keymap
    assert "the first keeps it" in both.problems[0] and both.keys["step"] == ("x",) and not both.keys["until"]
    within = settings(stops__remove="c").keymap
    assert "'c' is stops.remove and stops.condition in stops" in within.problems[0]
    swapped = settings(step="n", next="s").keymap
    assert not swapped.problems


def test_keys_that_a_pane_takes_away_are_noted() -> None:
    notes = settings(step="x").keymap.notes
    for pane, name in (("walk", "walk.mxr"), ("stops", "stops.remove"), ("worlds", "worlds.count-anew")):
        assert f"c:1: in {pane} 'x' is {name}, not step" in notes
    assert all("'x' is " in note and note.endswith(", not step") for note in notes)
    assert settings(walk__mode="s").keymap.notes == ["c:1: in walk 's' is walk.mode, not step"]
    assert not Keymap(VIM).notes


def test_a_console_can_always_be_left() -> None:
    keymap = Keymap(DEFAULT, {"console.leave": Change((), "c:7")})
    assert keymap.keys["console.leave"] and "c:7: console.leave needs a key" in keymap.problems[0]


def test_the_readme_has_the_table() -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    assert actions.markdown() in text, "python -c 'from rvtui import actions; print(actions.markdown())'"


# --- pressed ---


async def stepped(desk: Desk, *keys: str) -> int:
    """Instructions that keys make what is looked at execute."""
    await desk.settled()
    vcpu = desk.machine.host.vms[0].vcpus[0]
    before = vcpu.instructions
    await desk.press(*keys)
    await desk.settled()
    return int(vcpu.instructions - before)


def answer(desk: Desk) -> list[str]:
    """The lines over the panes."""
    pane = desk.application.screen.query_one("#report", ReportPane)
    return ["".join(text for text, _ in line) for line in pane.lines]


async def test_keys_of_the_users_own(guest: Callable[[bytes], Path]) -> None:
    mine = settings(step="x|ctrl+t", registers__floating="m", run="f5")
    async with opened([str(guest(SPIN))], running=False, settings=mine) as desk:
        await desk.shows("x step")
        assert "F5 run" in desk.screen()[-1]
        assert await stepped(desk, "x") == 1 and await stepped(desk, "ctrl+t", "s") == 1, "s is no key any more"
        assert await stepped(desk, "space", "r") == 0
        await desk.press("3", "m")
        assert desk.lines("registers")[1].startswith("ft0")
        await desk.press("v", "question_mark")
        text = " ".join(" ".join(answer(desk)).split())
        assert "m floating-point registers" in text and "x Ctrl-T one instruction of what" in text


async def test_leaving_a_console_by_another_key() -> None:
    async with opened(["echo"], (80, 24), settings=settings(console__leave="f12")) as desk:
        await desk.shows("echo>")
        await desk.press("2", "ctrl+right_square_bracket")
        assert isinstance(desk.application.focused, ConsolePane) and "F12 leaves" in desk.text()
        await desk.press("f12")
        assert not desk.pane("console").typing


async def test_what_the_application_has_no_use_for_goes_to_the_guest() -> None:
    async with opened(["echo"], (80, 24)) as desk:
        await desk.shows("echo>")
        sent: list[bytes] = []
        await desk.press("2")
        desk.session.send = lambda index, data: sent.append(data)  # type: ignore[method-assign]
        await desk.press("ctrl+q", "ctrl+p", "tab", "f", "g", "g")
        assert b"".join(sent) == b"\x11\x10\tfgg" and desk.application.is_running


async def test_the_vim_keymap() -> None:
    async with opened(["hello"], (120, 40), running=False, settings=Settings(keymap=Keymap(VIM))) as desk:
        await desk.settled()
        pane = desk.pane("csrs")
        await desk.press("4", "G")
        last = pane.cursor
        assert last > 20
        await desk.press("g", "g")
        assert pane.cursor == 0
        await desk.press("ctrl+d")
        half = pane.cursor
        await desk.press("ctrl+u", "ctrl+f", "ctrl+b", "ctrl+f")
        assert 0 < half < pane.cursor and pane.cursor >= pane.rows - 1
        await desk.press("g", "g", "g", "j")
        assert pane.cursor == 1, "what does not belong together acts by itself"
        await desk.press("slash")
        await desk.type("hgei")
        await desk.press("enter")
        first = pane.cursor
        await desk.press("n")
        second = pane.cursor
        await desk.press("N")
        assert "hgeie" in desk.lines("csrs")[first] and "hgeip" in desk.lines("csrs")[second] and pane.cursor == first
        assert await stepped(desk, "full_stop") >= 1, "steps over"
        await desk.press("5")
        code = desk.pane("code")
        code.go(0x8000_0100)
        await desk.press("g", "g")
        assert code._anchor is None, "to pc"
        await desk.press("colon", "w", "enter")
        assert desk.application.query_one("#prompt").value == "machine.snap"
        await desk.press("escape", "colon", "e", "space", "n", "o", "p", "e", "enter")
        await desk.until(lambda: "nope" in desk.application._keys.message)
        await desk.press("colon", "w", "q", "space", "x", "enter")
        await desk.until(lambda: not desk.application.is_running, "it leaves when it is saved")
        assert Path("x").exists()


async def test_lines_of_vims_are_none_without_its_keymap() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await desk.press("colon", "w", "q", "enter")
        await desk.until(lambda: "no command 'wq'" in desk.application._keys.message)


async def test_searching_in_a_pane() -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        await desk.settled()
        await desk.press("3", "full_stop")
        assert "nothing was searched for" in desk.application._keys.message
        pane = desk.pane("registers")
        await desk.press("slash")
        await desk.type("T3")
        await desk.press("enter")
        (row,) = [row for row, line in enumerate(desk.lines("registers")) if "t3 " in line]
        assert pane._row(row - pane.top, pane.rows)[0] == ("", "select"), "the line is marked"
        await desk.press("slash")
        await desk.type("nosuch")
        await desk.press("enter")
        assert "'nosuch' is nowhere in Registers" in desk.application._keys.message
        assert not pane.lines or pane._found_row is None or "t3" in desk.lines("registers")[pane._found_row]


async def test_help_begins_with_the_focused_pane_and_can_be_searched() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await desk.press("7", "question_mark")
        lines = answer(desk)
        assert lines[0] == "Walk (this pane)"
        own = [line for line in lines[: lines.index("Keys")] if "another access: fetch" in line]
        assert own and own[0].split()[0] == "a"
        await desk.press("slash")
        await desk.type("perf kvm")
        await desk.press("enter")
        pane = desk.application.screen.query_one("#report", ReportPane)
        assert "perf kvm" in lines[pane._found_row] and pane.top <= pane._found_row < pane.top + pane.rows
        await desk.press("slash")
        await desk.type("no such words")
        await desk.press("enter")
        assert "is nowhere" in desk.text()
        await desk.press("escape")
        await desk.until(lambda: "nowhere" not in desk.text())


async def test_help_of_every_pane() -> None:
    from rvtui.helpscreen import help_lines

    for base in KEYMAPS:
        for pane in panes.every():
            for width in (40, 75, 200):
                made = help_lines(panes.every(), pane.NAME, Keymap(base), width)
                lines = ["".join(text for text, _ in line) for line in made]
                assert lines[0] == f"{pane.TITLE} (this pane)"
                text = " ".join(" ".join(lines).split())
                own = [action.does for action in actions.every().values() if action.where == pane.NAME]
                assert all(does in text for does in own)
                assert width < 75 or all(len(line) <= width for line in lines)


async def test_the_palette_finds_what_keys_do() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.press("3", "ctrl+p")
        await desk.type("floating")
        await desk.shows("floating-point registers, and back")
        await desk.pilot.pause(0.3)
        await desk.press("enter")
        await desk.until(lambda: desk.lines("registers")[1].startswith("ft0"))


# --- jumping ---


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)], ids=str)
async def test_jumping_to_every_pane_and_vm(size: tuple[int, int]) -> None:
    async with opened(["echo", "ticker"], size) as desk:
        await desk.until(lambda: len(desk.lines("vms")) == 4)
        application = desk.application
        names = application.shown
        await desk.press("f")
        letters = list(application.screen._targets)
        assert len(letters) == len(names) + 2
        for name, letter in zip(names, letters, strict=False):
            region = desk.pane(name).region
            x, y = region.offset
            await desk.until(lambda x=x, y=y, letter=letter: desk.screen()[y][x + 1 : x + 4] == f" {letter} ")
        hidden = [pane for pane in panes.every() if pane.KEY and pane.NAME not in names]
        assert all(f"{pane.KEY}  {pane.TITLE}" in desk.text() for pane in hidden)
        await desk.press("escape")
        assert len(application.screen_stack) == 1
        for name, letter in zip(names, letters, strict=False):
            await desk.press("f", letter)
            await desk.until(lambda name=name: desk.pane(name).has_focus, name)
            if "console" in name:
                await desk.press("ctrl+right_square_bracket")
        await desk.press("f", letters[len(names) + 1])
        await desk.until(lambda: desk.session.subject.vm == 1, "the second VM")
        await desk.press("f", hidden[-1].KEY)
        await desk.until(lambda: desk.pane(hidden[-1].NAME).has_focus)
        await desk.press("f", "f5")
        assert len(application.screen_stack) == 1, "any other key leaves"


async def test_jumping_by_mouse_and_a_terminal_that_changes_meanwhile() -> None:
    async with opened(["echo", "ticker"], (120, 40)) as desk:
        await desk.until(lambda: len(desk.lines("vms")) == 4)
        await desk.press("f")
        region = desk.pane("code").region
        await desk.pilot.click(offset=(region.x + 2, region.y))
        await desk.until(lambda: desk.pane("code").has_focus)
        await desk.press("f")
        row = next(y for y, line in enumerate(desk.screen()) if "W  Worlds" in line)
        await desk.pilot.click(offset=(desk.screen()[row].index("W  Worlds"), row))
        await desk.until(lambda: desk.pane("worlds").has_focus)
        await desk.press("f")
        await desk.pilot.resize_terminal(80, 24)
        await desk.until(lambda: len(desk.application.screen_stack) == 1, "its letters would stand elsewhere")


# --- the mouse ---


async def test_hints_below_and_the_state_above_can_be_clicked(guest: Callable[[bytes], Path]) -> None:
    async with opened([str(guest(SPIN))], (120, 40), running=False) as desk:
        await desk.settled()
        below = len(desk.screen()) - 1
        await desk.pilot.click(offset=(desk.screen()[below].index("s step") + 3, below))
        await desk.until(lambda: desk.machine.host.vms[0].vcpus[0].instructions == 1)
        await desk.until(lambda: "stepped" in desk.screen()[0])
        await desk.pilot.click(offset=(desk.screen()[below].index("z zoom"), below))
        await desk.until(lambda: desk.application._zoomed == "vms")
        await desk.pilot.click(offset=(desk.screen()[below].index("? help"), below))
        await desk.shows("(this pane)")
        await desk.press("escape", "z")
        await desk.pilot.click(offset=(10, 0))
        await desk.until(lambda: desk.session.running)
        await desk.pilot.click(offset=(10, 0))
        await desk.until(lambda: not desk.session.running)
        desk.application.say("something", error=True)
        await desk.pilot.click(offset=(5, below))
        await desk.until(lambda: "space run" in desk.screen()[below], "a message goes away")


async def test_the_mouse_in_every_pane() -> None:
    async with opened(["echo", "ticker"], (200, 50)) as desk:
        await desk.until(lambda: len(desk.lines("vms")) == 4)
        for kind in panes.every():
            if not kind.KEY:
                continue
            desk.application.goto("vms")
            desk.application._show(kind.NAME)
            await desk.pilot.pause()
            pane = desk.pane(kind.NAME)
            await desk.pilot.click(pane, offset=(8, 3))
            assert pane.has_focus, kind.NAME
            await desk.pilot.click(pane, offset=(8, 0), times=2)
            await desk.until(lambda kind=kind: desk.application._zoomed == kind.NAME, kind.NAME)
            await desk.pilot.click(pane, offset=(8, 0), times=2)
            await desk.until(lambda: desk.application._zoomed is None, kind.NAME)
            if kind.NAME == "console":
                await desk.press("ctrl+right_square_bracket")


async def test_a_click_chooses_and_two_open() -> None:
    async with opened(["echo", "ticker"], (200, 50)) as desk:
        await desk.until(lambda: len(desk.lines("vms")) == 4)
        await desk.pilot.click("#vms", offset=(10, 3))
        await desk.until(lambda: desk.session.subject.vm == 1, "a VM by one click")
        pane = desk.pane("csrs")
        await desk.pilot.click(pane, offset=(10, 2))
        rows = len(pane.lines)
        assert pane.cursor == 1
        await desk.pilot.click(pane, offset=(10, 2), times=2)
        await desk.until(lambda: len(pane.lines) > rows, "fields")
        await desk.pilot.click(pane, offset=(10, 2), times=2)
        await desk.until(lambda: len(pane.lines) == rows, "and closed again, not once for each click")
        await desk.pilot.click(pane, offset=(1, 1))
        await desk.until(lambda: len(pane.lines) < rows, "the sign before a group by one")


def test_where_an_action_works_is_a_place_that_there_is() -> None:
    places = {EVERYWHERE, ANY_PANE, *(vars(kind)["NAME"] for kind in KINDS)}
    assert {action.where for action in actions.every().values()} <= places
    assert actions.scopes(RegistersPane) == [ANY_PANE, "registers"]


@pytest.mark.parametrize("name", ["a[b]c.elf", "[/red].elf", "[bold]x.elf", "[@click=app.quit]q.elf"])
async def test_a_guests_name_is_no_markup(guest: Callable[[bytes], Path], name: str) -> None:
    async with opened([str(guest(SLEEP))], (120, 40), running=False) as desk:
        await desk.settled()
        desk.pane("console").show(replace(desk.session.view, consoles=(name,)))
        await desk.shows(f"Console  {name}")
