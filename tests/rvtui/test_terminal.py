from __future__ import annotations

import random
import time

import pytest
from rich.cells import cell_len

from rvtui.terminal import GuestTerminal


def shown(terminal: GuestTerminal) -> list[str]:
    return ["".join(text for text, _ in row).rstrip() for row in terminal.rows()]


def test_text_cursor_and_colour() -> None:
    terminal = GuestTerminal(20, 4)
    terminal.feed(b"one\r\n\x1b[31mred\x1b[0m two\x1b[1;1Htop")
    assert shown(terminal)[:2] == ["top", "red two"]
    assert terminal.cursor == (3, 0)
    red = terminal.rows()[1][0]
    assert red[0] == "red" and red[1].color is not None


def test_alternate_screen_comes_and_goes() -> None:
    terminal = GuestTerminal(20, 3)
    terminal.feed(b"shell\x1b[?1049h\x1b[2J\x1b[Heditor")
    assert shown(terminal)[0] == "editor"
    terminal.feed(b"\x1b[?1049l")
    assert shown(terminal)[0] == "shell"


def test_scrollback_is_kept_and_bounded() -> None:
    terminal = GuestTerminal(20, 3)
    terminal.feed(b"".join(b"line %d\r\n" % number for number in range(100)))
    terminal.scroll(-10)
    assert terminal.history == 10
    assert shown(terminal)[0] == "line 88"
    assert terminal.cursor is None
    terminal.scroll(-10_000)
    assert shown(terminal)[0] == "line 0"
    terminal.feed(b"more\r\n")
    assert shown(terminal)[0] == "line 0", "the view holds still while the guest prints"
    terminal.scroll_to_bottom()
    assert shown(terminal)[1] == "more"


def test_queries_are_answered_once() -> None:
    answers: list[bytes] = []
    terminal = GuestTerminal(20, 4, answers.append)
    terminal.feed(b"ab\x1b[6n")
    assert answers == [b"\x1b[1;3R"]
    terminal.feed(b"\x1b[6n", live=False)
    assert answers == [b"\x1b[1;3R"], "output shown again is not answered again"


@pytest.mark.parametrize(
    ("key", "character", "sent"),
    [
        ("a", "a", b"a"),
        ("A", "A", b"A"),
        ("space", " ", b" "),
        ("enter", "\r", b"\r"),
        ("tab", "\t", b"\t"),
        ("backspace", "\x7f", b"\x7f"),
        ("escape", "\x1b", b"\x1b"),
        ("up", None, b"\x1b[A"),
        ("left", None, b"\x1b[D"),
        ("home", None, b"\x1b[H"),
        ("delete", None, b"\x1b[3~"),
        ("pageup", None, b"\x1b[5~"),
        ("f1", None, b"\x1bOP"),
        ("ctrl+c", "\x03", b"\x03"),
        ("ctrl+d", "\x04", b"\x04"),
        ("ctrl+z", "\x1a", b"\x1a"),
        ("ctrl+backslash", "\x1c", b"\x1c"),
        ("ctrl+right", None, b"\x1b[1;5C"),
        ("shift+tab", None, b"\x1b[Z"),
        ("alt+x", "x", b"\x1bx"),
        ("e_acute", "é", "é".encode()),
        ("volume_up", None, b""),
    ],
)
def test_keys(key: str, character: str | None, sent: bytes) -> None:
    assert GuestTerminal().key(key, character) == sent


def test_application_cursor_keys() -> None:
    terminal = GuestTerminal()
    terminal.feed(b"\x1b[?1h")
    assert terminal.key("up", None) == b"\x1bOA"


def test_paste_plain_bracketed_and_long() -> None:
    terminal = GuestTerminal()
    assert terminal.paste("one\ntwo\r\n") == b"one\rtwo\r"
    terminal.feed(b"\x1b[?2004h")
    assert terminal.paste("x") == b"\x1b[200~x\x1b[201~"
    assert len(terminal.paste("y" * 10_000)) >= 10_000


def test_a_guest_cannot_resize_the_screen() -> None:
    terminal = GuestTerminal(40, 10)
    for attempt in (b"\x1b[8;3000;3000t", b"\x1b[?40h\x1b[?3h", b"\x1b[132$|", b"\x1b[500t"):
        terminal.feed(attempt + b"\x1b[H\x1b[Jhere")
        assert len(terminal.rows()) == 10
        assert all(cell_len("".join(text for text, _ in row)) <= 40 for row in terminal.rows())
        assert shown(terminal)[0] == "here"


@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[999999999b",
        b"x\x1b[999999999b",
        b"\x1b[999999999S",
        b"\x1b[999999999L",
        b"\x1b[999999999@",
        b"\x1b[999999999;999999999H",
        b"\x1b]0;" + b"t" * 300_000,
        b"\x1bP" + b"q" * 300_000,
        b"\x1b[" + b"1;" * 100_000 + b"m",
        b"e" + "\u0301".encode() * 50_000,
        b"\xf0\x9f\x91\xa9\xe2\x80\x8d" * 20_000,
        bytes(range(128, 256)) * 200,
        b"\x1b[5i" + b"to the printer " * 1000,
    ],
)
def test_hostile_output_is_bounded(data: bytes) -> None:
    terminal = GuestTerminal(40, 10)
    started = time.monotonic()
    terminal.feed(data)
    assert time.monotonic() - started < 5
    assert len(terminal.rows()) == 10
    terminal.feed(b"\x1b\\\x18\x1bc")
    terminal.feed(b"alive")
    assert "alive" in terminal.text()


def test_random_output_never_breaks_the_layout() -> None:
    chance = random.Random(20240229)
    terminal = GuestTerminal(30, 6)
    pieces = [
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x9b",
        b";",
        b"?",
        b"\r\n",
        "中文".encode(),
        "\u202e".encode(),
        "👩‍🚀".encode(),
    ]
    for _ in range(600):
        data = b"".join(
            chance.choice(pieces) if chance.random() < 0.4 else bytes([chance.randrange(256)]) for _ in range(40)
        )
        terminal.feed(data)
        if chance.random() < 0.05:
            terminal.resize(chance.randrange(2, 60), chance.randrange(1, 20))
        rows = terminal.rows()
        assert len(rows) == terminal.height
        for row in rows:
            text = "".join(text for text, _ in row)
            assert cell_len(text) <= terminal.width
            assert not any(ord(each) < 32 or 0x7F <= ord(each) < 0xA0 or each == "\u202e" for each in text)
        terminal.key("a", "a")


def test_resizing_loses_nothing() -> None:
    terminal = GuestTerminal(60, 20)
    terminal.feed(b"".join(b"line %d\r\n" % number for number in range(19)))
    terminal.resize(40, 5)
    assert shown(terminal)[:4] == ["line 15", "line 16", "line 17", "line 18"]
    terminal.scroll(-100)
    assert shown(terminal)[0] == "line 0"
    terminal.scroll_to_bottom()
    terminal.resize(80, 30)
    terminal.feed(b"last")
    assert "last" in shown(terminal) and "line 18" in shown(terminal)
