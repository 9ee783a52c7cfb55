"""The goldfish real-time clock (Android emulator hardware, "goldfish RTC"), told by machine time alone.

No host clock: the machine starts at `EPOCH`, and nanoseconds pass with its timer.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Final

from emulator.bus import Device
from emulator.devices.fields import Flag, Number, Shape, Shown
from emulator.devicetree import Node, Tree, quads

EPOCH: Final = 1_704_067_200 * 10**9
"""Nanoseconds of Unix time when the machine's timer stands at 0: 2024-01-01 00:00 UTC."""
NANOSECONDS_PER_TICK: Final = 100
TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH, IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT = range(0, 32, 4)
YEAR_9999: Final = 253_370_764_800
"""Its beginning, in seconds since 1970: as far as dates go here."""
_MASK: Final = (1 << 64) - 1
_WORD: Final = (1 << 32) - 1


def _date(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    if seconds >= YEAR_9999:
        return "after the year 9998"
    day = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{day:%Y-%m-%d %H:%M:%S}.{rest // 10**6:03} UTC"


class Rtc(Device):
    """Registers of 4 bytes. Reading TIME_LOW holds TIME_HIGH; writing ALARM_LOW sets the alarm.

    An alarm needs the machine's help: `due()` is the time at which to call `tick()`. Any access looks too.
    """

    title = "goldfish real-time clock"
    widths = (4,)
    fields: Mapping[str, Shape] = {
        "offset": Number(_MASK),
        "high": Number(_WORD),
        "alarm": Number(_MASK),
        "armed": Flag(),
        "enabled": Flag(),
        "pending": Flag(),
    }

    def __init__(self, time: Callable[[], int], irq: int = 11, name: str = "rtc") -> None:
        """`time()` is the machine's timer in ticks of 100 ns."""
        super().__init__()
        self.name, self.irq, self.time = name, irq, time
        self._power_on()

    def _power_on(self) -> None:
        self.offset, self.high, self.alarm = EPOCH, 0, 0
        self.armed = self.enabled = self.pending = False

    def reset(self) -> None:
        self._power_on()
        self.refresh()

    @property
    def now(self) -> int:
        """Nanoseconds since 1970, 64 bits."""
        return self.time() * NANOSECONDS_PER_TICK + self.offset & _MASK

    def due(self) -> int | None:
        """The machine time, in ticks, at which the alarm goes off; None when none is set."""
        if not self.armed:
            return None
        return self.time() + max(0, -(-(self.alarm - self.now) // NANOSECONDS_PER_TICK))

    def tick(self) -> None:
        """Let the alarm go off if its time has come."""
        if self.armed and self.alarm <= self.now:
            self.armed, self.pending = False, True
        self.refresh()

    def refresh(self) -> None:
        self.interrupt(self.pending and self.enabled)

    def read(self, offset: int, size: int) -> int:
        self.tick()
        match offset:
            case 0x00:
                self.high = self.now >> 32
                return self.now & _WORD
            case 0x04:
                return self.high
            case 0x08:
                return self.alarm & _WORD
            case 0x0C:
                return self.alarm >> 32
            case 0x10:
                return int(self.enabled)
            case 0x18:
                return int(self.armed)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        match offset:
            case 0x00:
                self.set(self.now & ~_WORD | value)
            case 0x04:
                self.set(self.now & _WORD | value << 32)
            case 0x08:
                self.alarm, self.armed = self.alarm & ~_WORD | value, True
            case 0x0C:
                self.alarm = self.alarm & _WORD | value << 32
            case 0x10:
                self.enabled = bool(value & 1)
            case 0x14:
                self.armed = False
            case 0x1C:
                self.pending = False
        self.tick()

    def set(self, nanoseconds: int) -> None:
        """From here on it is `nanoseconds` since 1970."""
        self.offset = self.offset + nanoseconds - self.now & _MASK

    def shown(self) -> tuple[Shown, ...]:
        due = self.due()
        alarm = _date(self.alarm) if self.armed else "none set"
        if due is not None:
            alarm += f", in {due - self.time():,} ticks"
        return (
            Shown("TIME", self.now, _date(self.now), bits=64),
            Shown("ALARM", self.alarm, alarm, bits=64),
            Shown("IRQ_ENABLED", int(self.enabled), "yes" if self.enabled else "no", bits=1),
            Shown("pending", int(self.pending), "the alarm has gone off" if self.pending else "no", bits=1),
        )

    def describe(self, tree: Tree, base: int) -> None:
        tree.soc.add(Node(f"rtc@{base:x}", {
            "compatible": "google,goldfish-rtc", "reg": quads(base, self.size), **tree.interrupt(self.irq),
        }))  # fmt: skip
