"""The goldfish clock, on machine time."""

from __future__ import annotations

import datetime

import pytest

from emulator.bus import Bus
from emulator.devices.rtc import Rtc
from emulator.errors import StateError

BASE = 0x10_1000
LOW, HIGH, ALARM_LOW, ALARM_HIGH, ENABLED, CLEAR_ALARM, STATUS, CLEAR_INTERRUPT = range(0, 0x20, 4)


class Board:
    def __init__(self) -> None:
        self.ticks = 0
        self.levels: list[bool] = []
        self.rtc = Rtc(lambda: self.ticks)
        self.rtc.interrupt = self.levels.append
        self.bus = Bus()
        self.bus.add(BASE, self.rtc)

    def read(self, offset: int) -> int:
        value = self.bus.read(BASE + offset, 4)
        assert value is not None
        return value

    def write(self, offset: int, value: int) -> None:
        assert self.bus.write(BASE + offset, 4, value)

    def now(self) -> int:
        low = self.read(LOW)
        return self.read(HIGH) << 32 | low

    def set_alarm(self, nanoseconds: int) -> None:
        self.write(ALARM_HIGH, nanoseconds >> 32)
        self.write(ALARM_LOW, nanoseconds & 0xFFFF_FFFF)


def test_the_clock_starts_at_a_fixed_date_and_runs_with_the_machine() -> None:
    board = Board()
    start = board.now()
    date = datetime.datetime.fromtimestamp(start / 1e9, datetime.UTC)
    assert date == datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    board.ticks = 10_000_000
    assert board.now() == start + 1_000_000_000


def test_reading_low_holds_high() -> None:
    board = Board()
    low = board.read(LOW)
    board.ticks = (1 << 33) // 100
    assert board.read(HIGH) << 32 | low == 1_704_067_200 * 10**9
    assert board.now() >= 1_704_067_200 * 10**9 + (1 << 33) - 100


def test_the_guest_sets_the_clock() -> None:
    board = Board()
    board.ticks = 777
    board.write(HIGH, 0x1234)
    board.write(LOW, 0x5678)
    assert board.now() == 0x1234_0000_5678
    board.ticks += 10
    assert board.now() == 0x1234_0000_5678 + 1000


def test_alarm() -> None:
    board = Board()
    board.write(ENABLED, 1)
    assert board.rtc.due() is None
    board.set_alarm(board.now() + 1050)
    assert board.read(STATUS) == 1 and board.rtc.due() == 11
    board.ticks = 10
    board.rtc.tick()
    assert board.levels[-1] is False
    board.ticks = 11
    board.rtc.tick()
    assert board.levels[-1] is True and board.read(STATUS) == 0 and board.rtc.due() is None
    board.write(CLEAR_INTERRUPT, 1)
    assert board.levels[-1] is False


def test_an_alarm_in_the_past_goes_off_at_once_if_enabled() -> None:
    board = Board()
    board.set_alarm(5)
    assert board.levels[-1] is False, "not enabled"
    board.write(ENABLED, 1)
    assert board.levels[-1] is True
    board.write(ENABLED, 0)
    assert board.levels[-1] is False


def test_a_cleared_alarm_stays_silent() -> None:
    board = Board()
    board.write(ENABLED, 1)
    board.set_alarm(board.now() + 1000)
    board.write(CLEAR_ALARM, 0)
    board.ticks = 1000
    board.rtc.tick()
    assert board.levels[-1] is False and board.read(ALARM_LOW) != 0


def test_state_round_trip_and_reset() -> None:
    board, other = Board(), Board()
    board.write(ENABLED, 1)
    board.write(LOW, 9)
    board.set_alarm(0)
    other.rtc.restore(board.rtc.state())
    assert other.rtc.state() == board.rtc.state() and other.levels[-1] is True
    assert other.now() == board.now()
    other.rtc.reset()
    assert other.levels[-1] is False and other.rtc.state() == Board().rtc.state()
    with pytest.raises(StateError, match="alarm"):
        other.rtc.restore({**board.rtc.state(), "alarm": -1})


def test_every_offset_is_defined() -> None:
    board = Board()
    for offset in range(0, 0x1000, 4):
        board.write(offset, 0xFFFF_FFFF)
        assert 0 <= board.read(offset) < 1 << 32
