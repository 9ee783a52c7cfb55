"""HTIF: the commands that riscv-tests and its benchmarks use."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.console import OUTPUT_LIMIT, Console
from emulator.devices.htif import Htif
from emulator.errors import StateError
from emulator.memory import Memory, Region

RAM = 0x8000_0000
TOHOST, FROMHOST, BLOCK, TEXT = RAM + 0x1000, RAM + 0x1008, RAM + 0x2000, RAM + 0x3000
SIZE = 1 << 16


class Board:
    def __init__(self, tohost: int = TOHOST, fromhost: int | None = FROMHOST) -> None:
        self.memory = Memory([Region("ram", RAM, SIZE)])
        self.console = Console()
        self.ended: list[int] = []
        self.htif = Htif(tohost, fromhost, self.console, lambda code, message: self.ended.append(code))

    def command(self, value: int) -> None:
        self.memory.write_int(TOHOST, 8, value)
        self.htif.poke(self.memory)

    @property
    def answer(self) -> int:
        return self.memory.read_int(FROMHOST, 8)

    def call(self, *words: int) -> int:
        """A proxied system call, and its result."""
        self.memory.write(BLOCK, struct.pack("<8Q", *words, *[0] * (8 - len(words))))
        self.memory.write_int(FROMHOST, 8, 0)
        self.command(BLOCK)
        (result,) = struct.unpack("<q", self.memory.read(BLOCK, 8))
        return int(result)


@pytest.mark.parametrize(
    ("value", "code"), [(1, 0), (3, 1), (1337 << 1 | 1, 1337), ((1 << 64) - 1, 0xFFFF_FFFF)]
)
def test_exit(value: int, code: int) -> None:
    board = Board()
    board.command(value)
    assert board.ended == [code]
    assert board.memory.read_int(TOHOST, 8) == 0, "the command is taken"


def test_nothing_happens_without_a_command() -> None:
    board = Board()
    board.memory.write_int(FROMHOST, 8, 77)
    board.command(0)
    assert board.ended == [] and board.answer == 77 and board.console.written == 0


def test_putchar_prints_and_is_answered() -> None:
    board = Board()
    for byte in b"ok":
        board.command(0x0101 << 48 | byte)
        assert board.answer >> 48 == 0x0101
        assert board.memory.read_int(TOHOST, 8) == 0
    assert board.console.take() == b"ok"


def test_getchar_waits_for_input() -> None:
    board = Board()
    board.command(0x0100 << 48)
    assert board.answer == 0
    board.console.feed(b"yz")
    board.htif.poke(board.memory)
    assert board.answer == 0x0100 << 48 | 0x100 | ord("y")
    board.htif.poke(board.memory)
    assert board.console.get() == ord("z"), "one request, one character"


def test_getchar_does_not_overwrite_an_answer() -> None:
    board = Board()
    board.console.feed(b"y")
    board.memory.write_int(FROMHOST, 8, 5)
    board.command(0x0100 << 48)
    assert board.answer == 5
    board.memory.write_int(FROMHOST, 8, 0)
    board.htif.poke(board.memory)
    assert board.answer & 0xFF == ord("y")


def test_write_call() -> None:
    board = Board()
    board.memory.write(TEXT, b"hello, world\n")
    assert board.call(64, 1, TEXT, 13) == 13
    assert board.answer == 1
    assert board.console.take() == b"hello, world\n"
    assert board.call(64, 2, TEXT, 5) == 5
    assert board.console.take() == b"hello"


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ((64, 0, TEXT, 1), -9),
        ((64, 3, TEXT, 1), -9),
        ((64, 1, RAM - 1, 2), -14),
        ((64, 1, TEXT, SIZE), -14),
        ((64, 1, 0, 1 << 63), -14),
        ((64, 1, TEXT, 0), 0),
        ((57, 1), -38),
    ],
)
def test_calls_that_fail(words: tuple[int, ...], result: int) -> None:
    board = Board()
    assert board.call(*words) == result
    assert board.answer == 1 and board.console.written == 0


def test_exit_call() -> None:
    board = Board()
    board.call(93, 7)
    assert board.ended == [7]


def test_a_long_write_keeps_the_console_bounded() -> None:
    board = Board()
    board.memory = Memory([Region("ram", RAM, 1 << 20)])
    length = (1 << 20) - 0x3000
    assert board.call(64, 1, TEXT, length) == length
    assert board.console.written == length and len(board.console.output) == OUTPUT_LIMIT


def test_no_fromhost_no_answer() -> None:
    board = Board(fromhost=None)
    board.command(0x0101 << 48 | 0x41)
    board.command(0x0100 << 48)
    assert board.console.take() == b"A" and board.answer == 0


def test_addresses_outside_of_memory_are_harmless() -> None:
    board = Board(tohost=0x10)
    board.htif.poke(board.memory)
    board = Board(fromhost=0xFFFF_FFFF_FFFF_FFF8)
    board.command(0x0101 << 48 | 0x41)
    assert board.console.take() == b"A"
    board = Board()
    board.command(RAM + SIZE - 8)
    assert board.ended == []


def test_state_round_trip() -> None:
    board, other = Board(), Board()
    board.command(0x0100 << 48)
    other.htif.restore(board.htif.state())
    other.console.feed(b"q")
    other.htif.poke(other.memory)
    assert other.answer & 0xFF == ord("q")
    other.htif.reset()
    assert other.htif.state() == {"reading": False}
    with pytest.raises(StateError, match="reading"):
        other.htif.restore({"reading": 1})


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1) | st.integers(RAM - 64, RAM + SIZE), st.binary(max_size=64))
def test_any_command_is_survived(value: int, block: bytes) -> None:
    board = Board()
    board.memory.write(BLOCK, block)
    board.command(value)
    assert board.memory.read_int(TOHOST, 8) == 0
    assert all(0 <= code < 1 << 47 for code in board.ended)
