"""Pictures of panes and of the screen: what is drawn there, at any size, and nothing else is changed by taking them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import commanded
from desk import Desk, opened, run, with_page_features

from rvtui import panes

EVERY = [pane.NAME for pane in panes.every() if pane.NAME != "console2"]


async def taken(desk: Desk, line: str) -> None:
    """Carry out, and wait for what it says."""
    file = next((word for word in line.split() if "." in word), "screen.svg")
    desk.application.carry_out(line)
    await desk.until(lambda: desk.application._keys.message.startswith(f" ✓ {file}: "), line)


def inside(path: str) -> list[str]:
    """The rows within the border."""
    rows = Path(path).read_text().splitlines()
    assert rows[0].startswith("╭") and rows[-1].startswith("╰")
    assert all(row[0] == "│" == row[-1] for row in rows[1:-1]) and len({len(row) for row in rows}) == 1
    return [row[1:-1].rstrip() for row in rows[1:-1]]


@pytest.mark.parametrize("name", EVERY)
async def test_a_picture_is_what_the_pane_shows(name: str) -> None:
    async with opened(["pages", "ticker"], (100, 30), running=False) as desk:
        desk.session.run(60_000).result(20)
        await desk.until(lambda: not desk.session.running)
        desk.application.goto(name)
        await desk.pilot.pause()
        if name == "csrs":
            await desk.press("down", "enter")
        await desk.settled()
        if name == "map":
            await desk.until(lambda: desk.pane("map").shown is not None, "the map")
        pane = desk.pane(name)
        region = pane.content_region
        before = desk.screen()
        there = [row[region.x : region.right].rstrip() for row in before[region.y : region.bottom]]
        state = {key: value for key, value in vars(pane).items() if key in ("top", "cursor", "_fields", "_opened")}
        await taken(desk, f"screenshot {name} out.txt")
        assert inside("out.txt") == there
        assert there and any(there)
        desk.application._keys.hush()
        await desk.pilot.pause()
        assert desk.screen()[:-1] == before[:-1], "the screen is as it was"
        assert {key: value for key, value in vars(pane).items() if key in state} == state


async def test_a_picture_has_the_size_that_is_asked_for_and_a_pane_its_choices() -> None:
    async with opened(with_page_features(), (80, 24), running=False) as desk:
        desk.application.carry_out("walk 0x40000000 store VS")
        await desk.shows("0x40000000  store in")
        await desk.press("1")
        await taken(desk, "screenshot walk walk.txt 120x40")
        rows = inside("walk.txt")
        assert len(rows) == 38 and all(len(row) <= 118 for row in rows)
        assert rows[0].startswith("0x40000000  store in VS"), "the walk that was asked for, not that of pc"
        await taken(desk, "screenshot walk.txt.svg 90x30 csrs")
        assert "csrs, 90x30" in desk.application._keys.message


def texts(path: str) -> str:
    root = ElementTree.parse(path).getroot()
    return "\n".join(each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")).replace("\xa0", " ")


async def test_the_whole_screen_is_what_stands_there() -> None:
    async with opened(["hello"], (100, 30), running=False) as desk:
        await desk.press("question_mark")
        await desk.shows("Escape closes")
        before = desk.screen()
        await taken(desk, "screenshot all.txt")
        assert Path("all.txt").read_text().splitlines()[:-1] == [row.rstrip() for row in before[:-1]], "help and all"
        await desk.press("escape")
        await taken(desk, "screenshot")
        assert "Disassembly" in texts("screen.svg") or "Console" in texts("screen.svg")
        await taken(desk, "screenshot large.txt 200x50")
        rows = Path("large.txt").read_text().splitlines()
        assert len(rows) == 50 and max(map(len, rows)) <= 200
        for title in ("3 Registers", "4 CSRs", "7 Walk", "1 VMs and harts"):
            assert any(title in row for row in rows), title


async def test_a_key_asks_for_a_picture() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        Path("csrs.svg").write_text("mine")
        await desk.press("4", "P")
        assert "csrs csrs-2.svg" in desk.screen()[-1]
        await desk.press("enter")
        await desk.until(lambda: Path("csrs-2.svg").exists())
        assert "hstatus" in texts("csrs-2.svg") and Path("csrs.svg").read_text() == "mine"


def test_an_svg_stands_alone_and_is_well_formed() -> None:
    with commanded(["hello"]) as bench:
        bench.give("run 60k")
        assert bench.data("screenshot console c.svg 60x12") == {
            "file": "c.svg", "of": "console", "width": 60, "height": 12, "bytes": Path("c.svg").stat().st_size
        }  # fmt: skip
        assert "through the SBI console" in texts("c.svg")
        links = set(re.findall(r"\w+://[^\"') ]+", Path("c.svg").read_text()))
        assert all("w3.org" in each or "textualize" in each for each in links), "nothing is fetched"
        first = Path("c.svg").read_bytes()
        bench.give("screenshot console c.svg 60x12 overwrite")
        assert Path("c.svg").read_bytes() == first


def test_colours_are_left_out_where_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    with commanded(["hello"]) as bench:
        bench.give("screenshot registers one.svg")
        monkeypatch.setenv("NO_COLOR", "1")
        bench.give("screenshot registers two.svg")
    one, two = (set(re.findall(r"-r\d+ { fill: (#\w+)", Path(f"{name}.svg").read_text())) for name in ("one", "two"))
    assert len(one) > 2 >= len(two)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("screenshot there.svg", "is there already"),
        ("screenshot walk there.svg", "is there already"),
        ("screenshot nothing", "no pane 'nothing': one of"),
        ("screenshot walk csrs", "one pane"),
        ("screenshot a.svg b.svg", "one file"),
        ("screenshot a.png", ".svg file, or .txt"),
        ("screenshot walk 5x5", "too small: at least 20x4"),
        ("screenshot 60x20", "too small: at least 80x24"),
        ("screenshot walk 900x900", "too large"),
        ("screenshot none/walk.svg", "No such file"),
        ("screenshot 'walk", "No closing quotation"),
        ("show nothing", "no pane 'nothing'"),
    ],
)
def test_what_no_picture_is_taken_of(line: str, says: str) -> None:
    Path("there.svg").write_text("mine")
    with commanded(["hello"]) as bench:
        assert says in bench.fails(line)
    assert Path("there.svg").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["there.svg"]


@pytest.mark.parametrize("name", EVERY)
def test_every_pane_has_a_text(name: str) -> None:
    with commanded(["pages", "ticker"]) as bench:
        bench.give("run 60k")
        before = bench.ask(lambda machine: machine.state_hash())
        answer = bench.give(f"show {name}")
        assert answer.lines and all("\x1b" not in line for line in answer.lines)
        bench.give(f"screenshot {name} out.txt 100x30")
        assert any(row.strip() for row in inside("out.txt")) or name == "stops"
        assert bench.ask(lambda machine: machine.state_hash()) == before, "looking changes nothing"
        assert name in bench.data("show")["panes"]


def test_pictures_come_without_a_screen() -> None:
    done = run("monitor", "-c", "run 60k", "-c", "screenshot all.txt 200x50", "hello")
    assert done.returncode == 0 and b"all.txt: the screen, 200x50" in done.stdout
    assert "through the SBI console" in Path("all.txt").read_text()
