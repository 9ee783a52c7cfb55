"""The bus: who answers, and in which pieces."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.bus import Bus, Device, DeviceError
from emulator.devices.fields import Flag, Number, Numbers, Octets
from emulator.errors import ConfigurationError, StateError


class Scratch(Device):
    """Bytes that read back, and a log of accesses."""

    def __init__(self, name: str = "scratch", size: int = 0x100, widths: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.name, self.size, self.widths = name, size, widths
        self.bytes = bytearray(range(256)) * (size // 256)
        self.log: list[tuple[str, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        self.log.append(("r", offset, size))
        return int.from_bytes(self.bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("w", offset, size))
        self.bytes[offset : offset + size] = value.to_bytes(size, "little")


def test_devices_are_found_by_address() -> None:
    bus = Bus()
    high, low = Scratch("high"), Scratch("low")
    bus.add(0x2000, high)
    bus.add(0x1000, low)
    assert bus.find(0xFFF) is None and bus.find(0x1100) is None and bus.find(0x2100) is None
    assert bus.find(0x1000) == (0x1000, low) and bus.find(0x10FF) == (0x1000, low)
    assert bus.find(0x20FF) == (0x2000, high)
    assert bus.ranges == [(0x1000, 0x100), (0x2000, 0x100)]
    assert [device.name for _, device in bus] == ["low", "high"]


def test_nobody_answers_outside_and_across_the_end() -> None:
    bus = Bus()
    bus.add(0x1000, Scratch())
    assert bus.read(0x10FC, 4) == 0xFFFE_FDFC
    for address in (0, 0xFFF, 0x1100, 0x10FD, 1 << 64):
        assert bus.read(address, 4) is None
        assert bus.write(address, 4, 1) is False


@pytest.mark.parametrize(("base", "size"), [(0x1000, 0x100), (0x10FF, 1), (0xFFF, 2), (0x0, 0x10000), (0x1010, 0x10)])
def test_overlap_is_refused(base: int, size: int) -> None:
    bus = Bus()
    bus.add(0x1000, Scratch("one"))
    with pytest.raises(ConfigurationError, match=r"two .* overlaps one"):
        bus.add(base, Scratch("two", size))
    bus.add(0x1100, Scratch("three"))
    assert len(bus.ranges) == 2


def test_names_are_unique_and_ranges_are_addresses() -> None:
    bus = Bus()
    bus.add(0x1000, Scratch("one"))
    with pytest.raises(ConfigurationError, match="one at 0x1000 already"):
        bus.add(0x2000, Scratch("one"))
    for base, size in [(-0x1000, 0x100), (1 << 56, 0x100), (0, 0)]:
        with pytest.raises(ConfigurationError, match="not a range"):
            bus.add(base, Scratch("two", size))


@pytest.mark.parametrize(
    ("widths", "offset", "size", "made"),
    [
        ((1, 2, 4, 8), 0x10, 8, [(0x10, 8)]),
        ((4,), 0x10, 8, [(0x10, 4), (0x14, 4)]),
        ((1,), 0x10, 4, [(0x10, 1), (0x11, 1), (0x12, 1), (0x13, 1)]),
        ((1, 2, 4), 0x11, 4, [(0x11, 1), (0x12, 2), (0x14, 1)]),
        ((4, 8), 0x14, 8, [(0x14, 4), (0x18, 4)]),
    ],
)
def test_an_access_is_made_of_those_that_the_device_takes(
    widths: tuple[int, ...], offset: int, size: int, made: list[tuple[int, int]]
) -> None:
    bus, device = Bus(), Scratch(widths=widths)
    bus.add(0x1000, device)
    assert bus.read(0x1000 + offset, size) == int.from_bytes(bytes(range(offset, offset + size)), "little")
    assert device.log == [("r", *each) for each in made]
    device.log.clear()
    value = 0x8877_6655_4433_2211
    assert bus.write(0x1000 + offset, size, value)
    assert device.log == [("w", *each) for each in made]
    assert device.bytes[offset : offset + size] == value.to_bytes(8, "little")[:size]


def test_narrow_reads_see_their_part_and_narrow_writes_are_dropped() -> None:
    bus, device = Bus(), Scratch(widths=(4,))
    bus.add(0x1000, device)
    assert bus.read(0x1013, 1) == 0x13
    assert bus.read(0x1012, 4) == 0x1514_1312
    assert set(device.log) == {("r", 0x10, 4), ("r", 0x14, 4)}
    before = bytes(device.bytes)
    assert bus.write(0x1012, 2, 0xFFFF)
    assert bus.write(0x1012, 4, 0xFFFF_FFFF)
    assert device.bytes == before
    assert bus.write(0x1012, 8, (1 << 64) - 1)
    assert device.bytes == before[:0x14] + b"\xff" * 4 + before[0x18:]


def test_values_are_cut_to_their_size_both_ways() -> None:
    class Loud(Scratch):
        def read(self, offset: int, size: int) -> int:
            return -1

    bus, device = Bus(), Scratch()
    bus.add(0x1000, device)
    bus.add(0x2000, Loud("loud"))
    assert bus.write(0x1000, 1, 0x1FF) and device.bytes[0] == 0xFF
    assert bus.read(0x2000, 2) == 0xFFFF


def test_a_broken_device_is_one_line_not_a_traceback() -> None:
    class Broken(Scratch):
        def read(self, offset: int, size: int) -> int:
            return [1, 2][offset]

    bus = Bus()
    bus.add(0x1000, Broken("broken"))
    with pytest.raises(DeviceError) as error:
        bus.read(0x1010, 4)
    assert str(error.value).startswith("device broken: read of 4 bytes at 0x1010 failed (IndexError")
    assert "\n" not in str(error.value)


class Saved(Device):
    name = "saved"

    def __init__(self) -> None:
        super().__init__()
        self.fields = {"number": Number(9), "flag": Flag(), "list": Numbers(2, Number(9)), "data": Octets(3)}
        self.number, self.flag, self.list, self.data = 3, True, [1, 2], bytearray(b"ab")


def test_state_is_a_copy_of_plain_values() -> None:
    device = Saved()
    state = device.state()
    assert state == {"number": 3, "flag": True, "list": [1, 2], "data": b"ab"} and type(state["data"]) is bytes
    device.list[0] = 7
    device.data.clear()
    assert state["list"] == [1, 2] and state["data"] == b"ab"
    device.restore(state)
    assert device.state() == state
    device.list[0] = 5
    assert state["list"] == [1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        {"number": 10}, {"number": -1}, {"number": True}, {"number": 1.0}, {"number": "1"}, {"flag": 1}, {"flag": None},
        {"list": [1]}, {"list": [1, 2, 3]}, {"list": [1, 10]}, {"list": 5}, {"data": b"abcd"}, {"data": "ab"},
        {"more": 1},
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused_and_changes_nothing(damage: dict[str, Any]) -> None:
    device = Saved()
    before = device.state()
    good = {"number": 4, "flag": False, "list": [3, 4], "data": b""}
    with pytest.raises(StateError, match="saved state of saved") as error:
        device.restore({**good, **damage})
    assert next(iter(damage)) in str(error.value)
    with pytest.raises(StateError, match="flag"):
        device.restore({name: value for name, value in good.items() if name != "flag"})
    with pytest.raises(StateError):
        device.restore(["number"])  # type: ignore[arg-type]
    assert device.state() == before
