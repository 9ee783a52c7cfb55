"""The timer and software interrupts, in the layout of SiFive's CLINT."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.bus import Bus
from emulator.devices.aclint import Aclint
from emulator.errors import StateError

BASE = 0x200_0000


class FakeHart:
    def __init__(self) -> None:
        self.mtimecmp = 0
        self.lines: dict[int, bool] = {}

    def wire(self, bit: int, level: bool) -> None:
        self.lines[bit] = level


class Board:
    def __init__(self, harts: int = 2) -> None:
        self.now = 0x1_0000_0005
        self.harts = [FakeHart() for _ in range(harts)]
        self.aclint = Aclint(self.harts, lambda: self.now, self.set_time)
        self.bus = Bus()
        self.bus.add(BASE, self.aclint)

    def set_time(self, ticks: int) -> None:
        self.now = ticks


def test_software_interrupts_are_one_bit_per_hart() -> None:
    board = Board()
    board.bus.write(BASE + 4, 4, 0xFFFF_FFFF)
    assert board.harts[1].lines[3] is True and not board.harts[0].lines.get(3)
    assert board.bus.read(BASE + 4, 4) == 1 and board.bus.read(BASE, 4) == 0
    assert board.bus.read(BASE, 8) == 1 << 32
    board.bus.write(BASE + 4, 4, 0xFFFF_FFFE)
    assert board.harts[1].lines[3] is False
    board.bus.write(BASE, 8, 0x1_0000_0001)
    assert [hart.lines[3] for hart in board.harts] == [True, True]
    board.bus.write(BASE + 8, 4, 1)
    assert board.bus.read(BASE + 8, 4) == 0, "there is no third hart"


def test_comparators_take_whole_and_half_writes() -> None:
    board = Board()
    board.bus.write(BASE + 0x4008, 8, 0x1122_3344_5566_7788)
    assert board.harts[1].mtimecmp == 0x1122_3344_5566_7788 and board.harts[0].mtimecmp == 0
    board.bus.write(BASE + 0x4008, 4, 0xAAAA_AAAA)
    assert board.harts[1].mtimecmp == 0x1122_3344_AAAA_AAAA
    board.bus.write(BASE + 0x400C, 4, 0xFFFF_FFFF)
    assert board.harts[1].mtimecmp == 0xFFFF_FFFF_AAAA_AAAA
    assert board.bus.read(BASE + 0x4008, 4) == 0xAAAA_AAAA
    assert board.bus.read(BASE + 0x400C, 4) == 0xFFFF_FFFF
    assert board.bus.read(BASE + 0x4008, 8) == 0xFFFF_FFFF_AAAA_AAAA


def test_the_counter_is_the_machines() -> None:
    board = Board()
    assert board.bus.read(BASE + 0xBFF8, 8) == 0x1_0000_0005
    assert board.bus.read(BASE + 0xBFF8, 4) == 5 and board.bus.read(BASE + 0xBFFC, 4) == 1
    board.bus.write(BASE + 0xBFFC, 4, 7)
    assert board.now == 0x7_0000_0005
    board.bus.write(BASE + 0xBFF8, 8, 42)
    assert board.now == 42


def test_reset_silences_all() -> None:
    board = Board()
    board.bus.write(BASE, 4, 1)
    board.bus.write(BASE + 0x4000, 8, 5)
    board.aclint.reset()
    assert board.bus.read(BASE, 4) == 0 and board.harts[0].lines[3] is False
    assert board.harts[0].mtimecmp == (1 << 64) - 1, "no timer interrupt is near"


def test_state_round_trip_drives_the_wires() -> None:
    board, other = Board(), Board()
    board.bus.write(BASE + 4, 4, 1)
    other.aclint.restore(board.aclint.state())
    assert other.harts[1].lines[3] is True and other.harts[0].lines[3] is False
    with pytest.raises(StateError, match="msip must be a list of 3"):
        Board(3).aclint.restore(board.aclint.state())


@settings(deadline=None)
@given(st.integers(0, 0xFFFF), st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1), st.integers(1, 64))
def test_every_offset_is_defined(offset: int, size: int, value: int, harts: int) -> None:
    board = Board(harts)
    offset -= max(0, offset + size - 0x10000)
    assert board.bus.write(BASE + offset, size, value)
    read = board.bus.read(BASE + offset, size)
    assert read is not None and 0 <= read < 1 << 8 * size
    assert 0 <= board.now < 1 << 64 and all(0 <= hart.mtimecmp < 1 << 64 for hart in board.harts)
