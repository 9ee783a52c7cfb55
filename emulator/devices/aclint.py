"""Timer and software interrupts (RISC-V ACLINT specification: MTIMER and MSWI in the layout of SiFive's CLINT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from emulator.bus import Device
from emulator.devices.fields import Number, Numbers, Shown
from emulator.devicetree import Node, Tree, quads

MTIMECMP, MTIME = 0x4000, 0xBFF8
MSIP_LINE: Final = 3
MAX_HARTS: Final = 4095
"""As many as there is room for."""
NEVER: Final = (1 << 64) - 1


class TimerHart(Protocol):
    """What the timer needs of a hart. Time is in ticks; the hart itself raises MTIP when `time >= mtimecmp`."""

    mtimecmp: int

    def wire(self, bit: int, level: bool) -> None: ...


class Aclint(Device):
    """msip at 0x0, mtimecmp at 0x4000, per hart; mtime at 0xBFF8. 4 and 8 byte accesses.

    The comparators are part of the hart's state and the counter of the machine's: they are not saved here.
    """

    title = "ACLINT: timer and software interrupts"
    size = 0x10000
    widths = (4, 8)

    def __init__(
        self,
        harts: Sequence[TimerHart],
        time: Callable[[], int],
        set_time: Callable[[int], None],
        name: str = "aclint",
    ) -> None:
        """`time()` and `set_time(ticks)` read and write the machine's 64-bit counter."""
        super().__init__()
        self.name, self.harts, self.time, self.set_time = name, harts[:MAX_HARTS], time, set_time
        self.until: Callable[[int], int] | None = None
        """By a hart's number: how many instructions of its clock are left to its mtimecmp; the machine sets it."""
        self.msip = [0] * len(self.harts)
        self.fields = {"msip": Numbers(len(self.harts), Number(1))}

    def reset(self) -> None:
        self.msip = [0] * len(self.harts)
        for hart in self.harts:
            hart.mtimecmp = NEVER
        self.refresh()

    def refresh(self) -> None:
        for hart, level in zip(self.harts, self.msip, strict=True):
            hart.wire(MSIP_LINE, bool(level))

    def read(self, offset: int, size: int) -> int:
        return self._load(offset & ~7) >> 8 * (offset & 4)

    def write(self, offset: int, size: int, value: int) -> None:
        base, shift = offset & ~7, 8 * (offset & 4)
        if size == 4:
            value = self._load(base) & ~(0xFFFF_FFFF << shift) | value << shift
        if base < MTIMECMP:
            for index, level in enumerate((value & 1, value >> 32 & 1), base // 4):
                if index < len(self.harts):
                    self.msip[index] = level
                    self.harts[index].wire(MSIP_LINE, bool(level))
        elif base == MTIME:
            self.set_time(value)
        elif (index := (base - MTIMECMP) // 8) < len(self.harts):
            self.harts[index].mtimecmp = value

    def _load(self, offset: int) -> int:
        """The 64 bits at `offset`, a multiple of 8."""
        if offset < MTIMECMP:
            low, *high = self.msip[offset // 4 : offset // 4 + 2] or [0]
            return low | (high[0] << 32 if high else 0)
        if offset == MTIME:
            return self.time()
        index = (offset - MTIMECMP) // 8
        return self.harts[index].mtimecmp if index < len(self.harts) else 0

    def shown(self) -> tuple[Shown, ...]:
        now, rows = self.time(), []
        for index, (hart, msip) in enumerate(zip(self.harts, self.msip, strict=True)):
            if hart.mtimecmp == NEVER:
                words = "never"
            elif hart.mtimecmp <= now:
                words = f"due for {now - hart.mtimecmp:,} ticks: MTIP is set"
            else:
                ticks = hart.mtimecmp - now
                words = f"in {ticks:,} ticks" + (f", {self.until(index):,} instructions" if self.until else "")
            rows.append(Shown(f"mtimecmp {index}", hart.mtimecmp, words, bits=64))
            rows.append(Shown(f"msip {index}", msip, "MSIP is set" if msip else "", bits=1))
        return (Shown("mtime", now, f"{now:,} ticks", bits=64), *rows)

    def describe(self, tree: Tree, base: int) -> None:
        tree.soc.add(Node(f"clint@{base:x}", {
            "compatible": ["sifive,clint0", "riscv,clint0"], "reg": quads(base, self.size),
            "interrupts-extended": tree.hart_interrupts(3, 7),
        }))  # fmt: skip
