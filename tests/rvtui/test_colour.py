"""Without colours nothing is lost: each has a mark beside it; and none is sent where none is wanted."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from desk import Desk, opened, run
from test_monitor import Terminal, terminal

from rvtui import colour
from rvtui.text import Line

__all__ = ["terminal"]

COLOURED = re.compile(rb"\x1b\[[0-9;:]*(?<![0-9])(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?![0-9])[0-9;:]*m")
TELLING = {"good", "bad", "warn", "changed"}
"""Colours that say something by themselves."""


@pytest.fixture(autouse=True)
def _as_before() -> object:
    yield
    colour.choose("auto")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("said", "no_color", "term", "to", "there"),
    [
        ("auto", None, "xterm", Tty, True), ("auto", "1", "xterm", Tty, False), ("auto", "", "xterm", Tty, True),
        ("auto", None, "dumb", Tty, False), ("auto", None, None, Tty, False),
        ("auto", None, "xterm", io.StringIO, False),
        ("always", "1", "dumb", io.StringIO, True), ("never", None, "xterm", Tty, False),
    ],
)  # fmt: skip
def test_when_there_are_colours(
    monkeypatch: pytest.MonkeyPatch, said: str, no_color: str | None, term: str | None, to: type[io.StringIO],
    there: bool,
) -> None:  # fmt: skip
    for name, value in (("NO_COLOR", no_color), ("TERM", term)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    colour.choose(said)
    assert colour.colours(to()) is there


def test_the_user_has_the_last_word() -> None:
    assert b"\x1b[36m<main>" in run("monitor", "--color", "always", "-c", "until main", "hello").stdout
    assert b"\x1b[1mWhat the hart" in run("--color=always", "isa").stdout
    assert b"\x1b" not in run("isa", "--color", "auto").stdout
    assert b"sometimes" in run("isa", "--color", "sometimes").stderr


def test_no_colour_reaches_the_terminal(terminal: Callable[..., Terminal]) -> None:
    plain = terminal("run", "hello", "ticker", NO_COLOR="1")
    plain.wait(lambda text: "Console" in text and "ticker" in text)
    plain.type("7")
    plain.wait(lambda text: "Walk" in text)
    plain.type("q")
    assert plain.end() == 0
    assert not COLOURED.findall(plain.output)
    coloured = terminal("run", "--fresh", "hello", "ticker")
    coloured.wait(lambda text: "Console" in text)
    coloured.type("q")
    coloured.end()
    assert COLOURED.search(coloured.output), "else this would prove nothing"


async def shown(desk: Desk, name: str, *keys: str) -> list[Line]:
    desk.application.goto(name)
    await desk.pilot.pause()
    await desk.press(*keys) if keys else None
    await desk.settled()
    return list(desk.pane(name).lines)


def told_by_colour_alone(lines: list[Line]) -> list[str]:
    """Texts that stand once with and once without a telling colour, in lines that read the same."""
    looks: dict[tuple[str, str], set[frozenset[str]]] = {}
    for line in lines:
        whole = "".join(text for text, _ in line)
        for text, style in line:
            if text.strip() and "reverse" not in style:  # a mark of its own
                looks.setdefault((whole, text), set()).add(frozenset(style.split()) & TELLING)
    return [text for (_, text), styles in looks.items() if len(styles) > 1]


async def test_every_colour_has_a_mark_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panes as they are after a step, with stops of each kind, and a walk that fails."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(["exits", "ticker"], (160, 50), running=False) as desk:
        give = desk.application.carry_out
        desk.session.run(60_000).result(20)
        await desk.until(lambda: not desk.session.running, timeout=60)
        for line in ("break main", "break main if a0 == 77", "tbreak main+4", "disable 3", "catch trap ecall"):
            give(line)
        await desk.settled()
        rows: dict[str, list[Line]] = {}
        for name in ("registers", "csrs", "worlds"):
            await shown(desk, name)
        await desk.press("s", "s", "s", "s")
        await desk.settled()
        for name in ("vms", "registers", "csrs", "code", "gstage", "exits", "events", "stops", "traps", "interrupts",
                     "worlds", "map"):  # fmt: skip
            rows[name] = await shown(desk, name)
        give("walk 0x10 store VS")
        await desk.shows("✗")
        rows["walk"] = list(desk.pane("walk").lines)
        text = {name: ["".join(part for part, _ in line) for line in lines] for name, lines in rows.items()}
        flat = {name: "\n".join(lines) for name, lines in text.items()}
        for name, lines in rows.items():
            # What changed has a * behind it, wherever that is said.
            for line in lines:
                parts = [(part, style) for part, style in line if part]
                for (part, style), (after, _) in pairwise([*parts, ("", "")]):
                    if "changed" in style.split() and part.strip(" *") and name in ("registers", "csrs"):
                        assert after.startswith("*") or part.endswith("*"), (name, line)
            assert not told_by_colour_alone(lines), name
        assert re.search(r"^pc +[0-9a-f]{16}\* (VS|VU)", flat["registers"], re.M)
        assert re.search(r"[▶‖·z■◂] (running|paused|ready|idle|ended|stopped)", flat["vms"])
        assert re.search(r"^. ▶ ", flat["code"], re.M) or "▶" in flat["code"]
        assert all(mark in flat["stops"] for mark in "●◆○")
        assert re.search(r"[!⚡][ 0-9,]*(M|HS|U|VS|VU)→", flat["traps"])
        assert re.search(r"[▶…✗·] ", flat["interrupts"])
        assert "✗" in flat["walk"] and "▶" in flat["worlds"]
        assert re.search(r"[▸◂!←] (trap|return)", flat["events"])
        strips = desk.application.screen._compositor.render_strips()
        colours = {s.style.color for strip in strips for s in strip if s.style} | {
            s.style.bgcolor for strip in strips for s in strip if s.style
        }
        assert all(each is None or each.is_default for each in colours), colours


async def test_the_cursor_and_the_prompt_are_seen_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    def reversed_rows(desk: Desk) -> list[str]:
        strips = desk.application.screen._compositor.render_strips()
        marked = [[s.text for s in strip if s.style and (s.style.reverse or s.style.underline)] for strip in strips]
        return list(map("".join, marked))

    async with opened(["exits"], (80, 24), running=False) as desk:
        await desk.press("B")
        await desk.press("4")
        await desk.settled()
        cursor = [text for text in reversed_rows(desk) if "Hypervisor" in text]
        assert len(cursor) == 1
        await desk.press("down")
        assert not any("Hypervisor" in text for text in reversed_rows(desk)), "it moves"
        await desk.press("colon")
        await desk.type("x")
        assert reversed_rows(desk)[-1], "the cursor of the prompt"
        await desk.press("escape", "ctrl+p")
        await desk.shows("Search for commands")
        await desk.type("backtrace")
        await desk.until(lambda: any("who called the function" in text for text in reversed_rows(desk)), "its row")


async def test_a_message_says_by_a_sign_whether_it_went_well() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        desk.application.carry_out("nonsense")
        await desk.shows("✗ no command")
        desk.application.carry_out("print 1")
        await desk.shows("✓ 1 = 0x1")
