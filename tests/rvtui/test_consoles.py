"""Consoles: looking at what scrolled away, finding, copying, times of lines, logs; and guests that mean harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import commanded
from desk import ECALL, Desk, elf, jump, li, opened

from emulator.console import Console
from emulator.machine import Machine
from rvtui import machines
from rvtui.terminal import LINES, MOST_HELD, GuestTerminal

Guest = Callable[[bytes], Path]
LEAVE = "ctrl+right_square_bracket"


def printing(text: bytes) -> bytes:
    """A guest that prints a short text once, letter by letter, then spins."""
    words = [word for each in text for word in (li(17, 1), li(10, each), ECALL)]
    return elf([*words, jump(0)])


def shown(terminal: GuestTerminal) -> list[str]:
    return ["".join(text for text, _ in row).rstrip() for row in terminal.rows()]


# The terminal.


def test_lines_are_the_guests_whatever_the_width() -> None:
    terminal = GuestTerminal(20, 4)
    long = "a line that is longer than the terminal is wide"
    for number in range(8):
        terminal.feed(f"{number} {long}\r\n".encode(), begun=[(0, 100 + number)])
    for width in (20, 50, 13, 20):
        terminal.resize(width, 4)
        assert terminal.line(3) == f"3 {long}" and terminal.began(3) == 103
        assert terminal.between((2, 0), (4, 5)) == [f"2 {long}", f"3 {long}", "4 a l"]
        assert terminal.find("7 A LINE", 0, 1) == 7
        terminal.show(1)
        assert any(row.startswith("1 a line") for row in shown(terminal)), width
    assert terminal.find("nowhere", 0, 1) is None
    assert list(terminal.lines) == list(range(8))


def test_finding_goes_both_ways_and_around() -> None:
    terminal = GuestTerminal(30, 4)
    for number in range(50):
        terminal.feed(f"{'odd' if number % 10 == 3 else 'line'} {number}\r\n".encode())
    found = [terminal.find("ODD", start, way) for start, way in ((49, -1), (42, -1), (2, -1), (4, 1), (44, 1))]
    assert found == [43, 33, 43, 13, 3]
    assert terminal.find("line 49", 0, 1) == 49, "what is still on the screen is found too"


def test_history_is_bounded_in_lines_and_cells() -> None:
    terminal = GuestTerminal(20, 4)
    terminal.feed(b"\n" * (LINES + 5000))
    terminal.scroll(-(1 << 30))
    assert LINES - 10 <= terminal.history <= LINES
    assert len(terminal._begun) <= 2 * LINES + 1


def test_a_line_begins_when_its_first_byte_comes() -> None:
    console = Console()
    now = iter(range(10, 100))
    console.now = lambda: next(now)
    for data in (b"a", b"b\n", b"c", b"\nd\ne", b"\n", b"\n"):
        console.write(data)
    assert console.take_begun() == (b"ab\nc\nd\ne\n\n", ((0, 10), (3, 11), (5, 12), (7, 12), (9, 13)))
    console.write(b"f")
    assert console.take_begun() == (b"f", ((0, 14),))
    console.restore(console.state())
    console.write(b"g")
    assert console.take_begun() == (b"g", ()), "the line that goes on began before"


def test_times_of_lines_are_the_machines_however_it_is_run(guest: Guest) -> None:
    path = str(guest(printing(b"ab\ncd\n")))
    machine = machines.with_guests([path])
    console = machine.host.vms[0].console
    times: list[int] = []
    while len(times) < 2:
        before, written = machine.clock, console.written
        machine.step()
        if console.written > written and console.output[-1:] in (b"a", b"c"):
            times.append(before)
    for piece in (7, 1000, 1 << 20):
        other: Machine = machines.with_guests([path])
        while other.executed < 5000:
            other.run(min(piece, 5000 - other.executed))
        data, begun = other.host.vms[0].console.take_begun()
        assert data == b"ab\ncd\n"
        assert [at for at, _ in begun] == [0, 3]
        assert all(time <= clock <= time + 1 for (_, clock), time in zip(begun, times, strict=True)), piece


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_lines_keep_their_times_in_whatever_pieces_they_are_taken(guest: Guest, size: int) -> None:
    text = b"ab\n\ncde\nf\n"
    with commanded([str(guest(printing(text)))]) as bench:
        for _ in range(20):  # collected in pieces, too
            bench.give("run 7")
        bench.give("run 1000")
        data, times = b"", {}
        while (piece := bench.session.drain_begun(0, size))[0]:
            assert len(piece[0]) <= size
            times |= {len(data) + at: clock for at, clock in piece[1]}
            data += piece[0]
    assert data == text and list(times) == [0, 3, 4, 8]
    clocks = list(times.values())
    assert clocks == sorted(set(clocks)) and clocks[-1] < 1200


@pytest.mark.parametrize("start", [b"\x1b]0;", b"\x1b]52;c;", b"\x1bP", b"\x1b_", b"\xc2\x9d", b"\x1b["])
def test_an_escape_sequence_without_end_is_let_go(start: bytes) -> None:
    """The emulator looks through all of it again with each piece, so that a long one would take for ever."""
    terminal = GuestTerminal(40, 4)
    terminal.feed(start + b"1" * 200_000)
    assert len(terminal._board.parser.buffer) <= MOST_HELD + 512
    assert shown(terminal)[0] == ""
    terminal.feed(b"m" if start == b"\x1b[" else b"1\x1b\\")
    terminal.feed(b"after")
    assert shown(terminal)[0] == "after"


# The pane.


async def press_all(desk: Desk, *keys: str) -> None:
    for key in keys:
        await desk.press(key)


async def test_a_console_that_was_left_is_looked_at() -> None:
    async with opened(["exits"], (80, 24)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        await press_all(desk, "2", LEAVE)
        pane = desk.pane("console")
        assert pane.has_focus and not pane.typing
        assert "looking: Enter types, / finds, v selects, t times, l logs" in desk.text()
        await desk.press("pageup", "pageup")
        assert "lines back" in desk.text()
        await desk.press("home")
        assert "what makes a guest leave" in desk.text()
        await desk.press("escape")
        assert "lines back" not in desk.text()
        before = desk.session.view.executed
        await desk.press("7")
        assert desk.pane("walk").has_focus, "the other keys are the application's"
        assert desk.session.view.executed == before


async def test_tab_passes_consoles_and_enter_types_there() -> None:
    async with opened(["echo", "ticker"], (80, 24)) as desk:
        await desk.shows("echo>")
        pane = desk.pane("console")
        for _ in range(4):
            await desk.press("tab")
            assert not pane.typing
        while not pane.has_focus:
            await desk.press("tab")
        await desk.press("enter")
        assert pane.typing
        await desk.type("abc")
        await desk.press("enter")
        await desk.shows("CBA")


async def test_a_text_is_found_and_marked() -> None:
    async with opened(["exits"], (80, 24)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        await press_all(desk, "2", LEAVE, "slash")
        await desk.type("WHAT MAKES")
        await desk.press("enter")
        await desk.shows("what makes a guest leave")
        pane = desk.pane("console")
        marked = [text for row in pane._shown for text, style in row if style.reverse and style.bold]
        assert marked == ["what makes"]
        await desk.press("slash")
        await desk.type("nothing like it")
        await desk.press("enter")
        await desk.shows("stands nowhere on this console")


async def test_n_goes_on_and_says_where_nothing_is_searched(guest: Guest) -> None:
    path = guest(printing(b"".join(b"%s %d\n" % (b"tick" if n % 3 else b"tock", n) for n in range(30))))
    async with opened([str(path)], (80, 24), running=False) as desk:
        desk.session.run(30_000).result(20)
        await desk.until(lambda: not desk.session.running)
        await desk.settled()
        await press_all(desk, "2", LEAVE, "slash")
        await desk.type("tick")
        await desk.press("enter")
        pane = desk.pane("console")
        await desk.until(lambda: pane._found is not None)
        newest, executed = pane._found, desk.machine.executed
        assert newest is not None
        await desk.press("n")
        assert pane._found < newest and "tick" in pane.terminal.line(pane._found)
        await desk.press("N")
        assert pane._found == newest
        assert desk.machine.executed == executed, "nothing has run"
        await press_all(desk, "escape", "n")
        await desk.shows("nothing was searched for yet")
        assert desk.machine.executed == executed, "a step would be a surprise here"


def copied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the clipboard from now on."""
    texts: list[str] = []
    monkeypatch.setattr(desk.application, "copy_to_clipboard", texts.append)
    return texts


async def test_lines_are_selected_and_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(["exits"], (80, 24)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        texts = copied(desk, monkeypatch)
        await press_all(desk, "2", LEAVE, "y")
        assert not texts and "nothing is selected" in desk.screen()[-1]
        await press_all(desk, "v", "up", "up")
        kept = desk.pane("console").terminal
        last = kept.lines.stop - 1
        assert "arrows select, y copies" in desk.text()
        await desk.press("y")
        assert texts == ["".join(f"{kept.line(line)}\n" for line in (last - 2, last - 1, last))]
        assert "copied 3 lines" in desk.screen()[-1]
        await press_all(desk, "v", "home", "y")
        assert texts[1].startswith(kept.line(0)) and texts[1].count("\n") == last + 1


async def test_the_mouse_selects_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(["hello"], (80, 24)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        texts = copied(desk, monkeypatch)
        pane = desk.pane("console")
        row = next(y for y, text in enumerate(shown(pane.terminal)) if "hello" in text.lower())
        text = shown(pane.terminal)[row]
        region = pane.content_region
        x, y = region.x, region.y + row
        await desk.pilot.mouse_down(offset=(x + 1, y))
        await desk.pilot.hover(offset=(x + 9, y))
        await desk.pilot.mouse_up(offset=(x + 9, y))
        await desk.pilot.pause()
        assert texts == [text[1:9]] and text[8] != " "
        assert not pane.typing, "to drag is to look"
        await desk.pilot.click(offset=(x + 1, y))
        assert pane.typing


async def test_times_stand_beside_lines_that_events_can_be_found_by() -> None:
    async with opened(["hello"], (100, 30)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        await press_all(desk, "2", LEAVE)
        plain = shown(desk.pane("console").terminal)
        await desk.press("t")
        pane = desk.pane("console")
        rows = ["".join(text for text, _ in row).rstrip() for row in pane._shown]
        first = next(index for index, text in enumerate(plain) if text)
        clock, _, text = rows[first].strip().partition("  ")
        assert plain[first].startswith(text[:40]) and text
        assert int(clock.replace(",", "")) == pane.terminal.began(first) > 0
        await desk.press("t")
        assert shown(pane.terminal) == plain, "the width is what it was"


async def test_a_guest_cannot_reach_the_users_terminal(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = b"\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x07\x1b[5n\x1b[?1000h\x07ok\n"
    async with opened([str(guest(printing(evil)))], (80, 24)) as desk:
        written: list[str] = []
        driver = desk.application._driver
        assert driver is not None
        monkeypatch.setattr(driver, "write", written.append)
        await desk.shows("ok")
        text = "".join(written)
        assert "52;" not in text and "owned" not in text and "?1000h" not in text and "\x07" not in text
        assert desk.application.clipboard == ""


# Files.


def test_what_a_console_prints_is_logged_as_it_comes() -> None:
    with commanded(["hello", "ticker"]) as bench:
        assert bench.say("log") == "no console is logged: log NAME FILE"
        Path("old.log").write_text("before\n")
        assert bench.say("log ticker old.log") == "what ticker prints is appended to old.log"
        bench.give("log hello raw.log raw")
        bench.give("run 200k")
        outputs = [bytes(vm.console.output) for vm in bench.machine.host.vms]
        assert Path("raw.log").read_bytes() == outputs[0]
        whole = outputs[1].decode().replace("\r", "").rpartition("\n")[0]
        assert whole and Path("old.log").read_text() == f"before\n{whole}\n"
        data = bench.data("log")["logs"]
        assert {each["of"]: each["bytes"] for each in data}["hello"] == len(outputs[0])
        assert "is closed" in bench.say("log ticker off")
        size = Path("old.log").stat().st_size
        bench.give("run 200k")
        assert Path("old.log").stat().st_size == size
        assert "is not logged" in bench.fails("log ticker off")


def test_escape_sequences_stay_out_of_a_log(guest: Guest) -> None:
    path = guest(printing(b"\x1b[31mred\x1b[0m \x1b]52;c;AAAA\x07x\rgreen\nlast"))
    with commanded([str(path)]) as bench:
        bench.give("log guest out.log")
        bench.give("run 2000")
        assert Path("out.log").read_text() == "green\n"
        bench.give("log guest off")
        assert Path("out.log").read_text() == "green\nlast\n", "what has no end comes when the log is closed"


def test_a_log_on_a_full_disk_ends_and_is_told() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is full")
    with commanded(["ticker"]) as bench:
        bench.give("log ticker /dev/full")
        before = bench.machine.executed
        bench.give("run 200k")
        assert bench.machine.executed - before == 200_000, "the machine goes on"
        (told,) = bench.session.take_warnings()
        assert told.startswith("/dev/full: the log ends here, after 0 bytes: No space")
        assert bench.say("log").startswith("no console")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("log nobody x.log", "no console 'nobody': there is hello"),
        ("log hello", "into which file"),
        ("log hello .", "cannot be written"),
        ("log hello none/x.log", "No such file"),
        ("log hello a b", "text or raw"),
        ("log hello pipe", "not a terminal or pipe"),
        ("console copy there", "is there already"),
        ("console nobody", "no console 'nobody'"),
    ],
)
def test_what_cannot_be_logged_or_copied(line: str, says: str) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    Path("there").write_text("mine")
    with commanded(["hello"]) as bench:
        bench.give("run 200k")
        assert says in bench.fails(line)
    os.close(reader)
    assert Path("there").read_text() == "mine"


def test_a_pipe_that_nobody_reads_is_not_waited_for() -> None:
    os.mkfifo("pipe")
    with commanded(["hello"]) as bench:
        assert "pipe: cannot be written" in bench.fails("log hello pipe")


def test_a_console_is_copied_and_searched_as_text() -> None:
    with commanded(["hello"]) as bench:
        bench.give("run 5M")
        lines = bench.data("console 10000")["lines"]
        bench.give("console copy out.txt")
        assert Path("out.txt").read_text() == "".join(f"{line}\n" for line in lines)
        number, line = next((n, line) for n, line in enumerate(lines, 1) if line.strip())
        found = bench.data(f"console find {line[:12].upper()}")["lines"]
        assert found[0] == {"line": number, "text": line}
        assert bench.say("console find blue moon").startswith("none of the")
        assert bench.say("console hello 1") == lines[-1], "a name still is one"


async def test_logging_is_asked_for_by_key() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await press_all(desk, "2", LEAVE, "l")
        await desk.press("enter")
        await desk.shows("appended to hello.log")
        await desk.press("r")
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        desk.session.close()
        assert Path("hello.log").read_text().strip()
