"""The console: bounded in both directions."""

from __future__ import annotations

import pytest

from emulator.console import INPUT_LIMIT, OUTPUT_LIMIT, Console
from emulator.errors import StateError


def test_take_gives_each_byte_once() -> None:
    console = Console()
    console.write(b"one ")
    console.write(b"two")
    assert console.take() == b"one two"
    assert console.take() == b""
    console.write(b"!")
    assert console.take() == b"!"
    assert console.output == b"one two!" and console.written == 8


def test_a_flood_keeps_the_last_bytes() -> None:
    console = Console()
    for _ in range(OUTPUT_LIMIT // 1000 + 2):
        console.write(b"x" * 999 + b"\n")
    console.write(b"end")
    total = (OUTPUT_LIMIT // 1000 + 2) * 1000 + 3
    assert len(console.output) == OUTPUT_LIMIT and console.written == total
    assert len(console.take()) == OUTPUT_LIMIT
    console.write(b"y" * (OUTPUT_LIMIT + 7) + b"z")
    assert console.written == total + OUTPUT_LIMIT + 8
    assert console.output == b"y" * (OUTPUT_LIMIT - 1) + b"z"


def test_input_is_taken_as_far_as_there_is_room() -> None:
    console = Console()
    calls: list[int] = []
    console.arrived = lambda: calls.append(len(console.input))
    assert console.feed(b"") == 0
    assert console.feed(b"a" * (INPUT_LIMIT - 1)) == INPUT_LIMIT - 1
    assert console.feed(b"bcd") == 1
    assert console.feed(b"e") == 0
    assert calls == [INPUT_LIMIT - 1, INPUT_LIMIT]
    assert console.get() == ord("a")
    assert console.feed(b"fg") == 1
    console.reset()
    assert console.get() is None


def test_state_round_trip_and_what_was_shown_stays_shown() -> None:
    console = Console()
    console.write(b"before")
    console.feed(b"typed")
    other = Console()
    other.restore(console.state())
    assert other.state() == console.state()
    assert other.take() == b""
    other.write(b"after")
    assert other.take() == b"after"
    assert [other.get() for _ in range(6)] == [*b"typed", None]


def test_taking_is_not_part_of_the_state() -> None:
    one, two = Console(), Console()
    for console in (one, two):
        console.write(b"x")
    one.take()
    assert one.state() == two.state()


def test_an_oversized_state_is_refused() -> None:
    state = Console().state()
    with pytest.raises(StateError, match="input"):
        Console().restore({**state, "input": bytes(INPUT_LIMIT + 1)})
