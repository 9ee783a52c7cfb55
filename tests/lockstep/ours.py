"""This project's hart, stepped one instruction at a time: the native library with RAM and no devices."""

from __future__ import annotations

import mmap
from collections.abc import Iterable

from emulator.hart._native import ffi, lib

from .spike import RAM_BASE

_PRV = (0, 1, 3)


class Ours:
    """`memory` bytes of RAM at 0x80000000. `reset` before the first step."""

    def __init__(self, memory: int = 16 << 20) -> None:
        self.size = memory
        self._ram = mmap.mmap(-1, memory)
        self._buffer = ffi.from_buffer("uint8_t[]", self._ram)
        self._out = ffi.new("hart_exit *")
        self._value = ffi.new("uint64_t *")
        self._machine = ffi.NULL
        self.slept = False
        """The last step began with waiting: time passed before its instruction."""
        self.step_time = 0
        """`time` as the last step's instruction saw it."""
        self.time = 0
        self.retired = True
        """The last step retired an instruction; it took a trap otherwise."""
        self._touched: set[int] = set()

    def reset(self, pc: int) -> None:
        """A new machine, its memory zero, in M-mode at `pc`, time 0."""
        if self._machine != ffi.NULL:
            flags = lib.machine_page_flags(self._machine, RAM_BASE)
            for page, flag in enumerate(ffi.unpack(flags, self.size >> 12)):
                if flag & 1:
                    self._ram[page << 12 : page + 1 << 12] = bytes(4096)
            lib.machine_free(self._machine)
        self._machine = lib.machine_new(1)
        if self._machine == ffi.NULL:
            raise MemoryError("machine_new")
        if lib.machine_add_region(self._machine, RAM_BASE, self.size, self._buffer, 1):
            raise RuntimeError("machine_add_region")
        self._hart = lib.machine_hart(self._machine, 0)
        lib.hart_reset(self._hart, pc)
        self.time = self.step_time = 0
        self._idle = self._clock = 0

    def step(self) -> str:
        """One instruction or trap. A text when the hart cannot go on."""
        hart = self._hart
        lib.machine_run(self._machine, 1, (1 << 64) - 1, self._out)
        self.slept = hart.idle != self._idle
        self.retired = hart.clock - hart.idle != self._clock - self._idle
        self._idle, self._clock = hart.idle, hart.clock
        self.time = lib.hart_time(hart)
        if self.slept:
            self.step_time = self.time
        reason = self._out.reason
        if reason == lib.EXIT_BUDGET:
            return "waits" if hart.waiting and not self.retired else ""
        if reason == lib.EXIT_IDLE:
            return "waits"
        if reason == lib.EXIT_TRAP_LOOP:
            return "trap loop"
        return f"exit {reason}"

    def registers(self) -> tuple[int, int, list[int], list[int]]:
        """pc, mode as prv | V << 2, x0..x31, f0..f31."""
        hart = self._hart
        return hart.pc, hart.prv | hart.v << 2, ffi.unpack(hart.x, 32), ffi.unpack(hart.f, 32)

    def csrs(self, numbers: Iterable[int]) -> list[int]:
        hart, value, read = self._hart, self._value, lib.hart_csr_read
        out = []
        for number in numbers:
            if read(hart, number, value):
                raise KeyError(f"{number:#x}")
            out.append(value[0])
        return out

    def read(self, address: int, length: int) -> bytes:
        return self._ram[address - RAM_BASE : address - RAM_BASE + length]

    def write(self, address: int, data: bytes) -> None:
        self._ram[address - RAM_BASE : address - RAM_BASE + len(data)] = data
        lib.machine_memory_changed(self._machine, address, len(data))

    def fetch(self, pc: int, mode: int) -> int | None:
        """The instruction at `pc` as `mode` sees it now; None where it cannot be fetched."""
        prv, v = mode & 3, mode >> 2
        index = {(3, 0): 0, (1, 0): 1, (0, 0): 2, (1, 1): 3, (0, 1): 4}[prv, v]
        record = ffi.new("walk_record *")
        halves = []
        for at in (pc, pc + 2):
            if lib.hart_walk(self._hart, at, 0, index, record) != -1:
                return None
            offset = record.physical - RAM_BASE
            if not 0 <= offset <= self.size - 2:
                return None
            halves.append(int.from_bytes(self._ram[offset : offset + 2], "little"))
            if halves[0] & 3 != 3:
                return halves[0]
        return halves[0] | halves[1] << 16
