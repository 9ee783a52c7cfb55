"""The test finisher: how a guest ends the machine."""

from __future__ import annotations

import pytest

from emulator.bus import Bus
from emulator.devices.finisher import Finisher

BASE = 0x10_0000


def write(value: int, size: int = 4, offset: int = 0, restart: bool = True) -> list[int | str]:
    """Write to a fresh finisher; what it asked for."""
    asked: list[int | str] = []
    bus = Bus()
    bus.add(
        BASE,
        Finisher(lambda code, message: asked.append(code), (lambda: asked.append("restart")) if restart else None),
    )
    assert bus.write(BASE + offset, size, value)
    assert bus.read(BASE + offset, size) == 0
    return asked


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (0x5555, [0]),
        (0x3333 | 7 << 16, [7]),
        (0x3333 | 0xFFFF << 16, [0xFFFF]),
        (0x3333, [1]),
        (0x7777, ["restart"]),
        (0, []),
        (0x5554, []),
        (0x5555_0000, []),
    ],
)
def test_words(value: int, asked: list[int | str]) -> None:
    assert write(value) == asked
    assert write(value, size=8) == asked
    assert write(value, offset=4) == []


def test_half_words_and_bytes() -> None:
    assert write(0x5555, size=2) == [0]
    assert write(0x55, size=1) == []


def test_reset_ends_a_machine_that_cannot_restart() -> None:
    assert write(0x7777, restart=False) == [0]


def test_the_message_names_the_code() -> None:
    messages: list[str] = []
    Finisher(lambda code, message: messages.append(message)).write(0, 4, 0x3333 | 42 << 16)
    assert "42" in messages[0]
