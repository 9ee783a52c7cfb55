"""This project's side, stepped one instruction at a time: the native hart alone, or in a whole machine."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from typing import Any

from emulator.hart._native import ffi, lib
from emulator.hart.hart import ExitReason
from emulator.machine import Machine
from emulator.memory import Memory

from .spike import RAM_BASE

M64 = (1 << 64) - 1


class HartSide:
    """What both have in common: a hart to look into, and what the last step was."""

    def __init__(self) -> None:
        self._value = ffi.new("uint64_t *")
        self.slept = False
        """Time passed in the last step before its instruction, because it began with waiting."""
        self.idled = 0
        """Clock cycles slept in the last step."""
        self.step_time = 0
        """`time` as the instruction of a step after sleep saw it."""
        self.time = 0
        self.retired = True
        """The last step retired an instruction; it took a trap otherwise."""

    def _watch(self, hart: Any) -> None:
        self._hart = hart
        self._idle, self._clock, self._waiting = hart.idle, hart.clock, hart.waiting
        self.time = self.step_time = lib.hart_time(hart)

    def _stepped(self) -> None:
        hart = self._hart
        self.idled = hart.idle - self._idle
        self.slept = bool(self.idled and self._waiting)
        self.retired = hart.clock - hart.idle != self._clock - self._idle
        self._idle, self._clock, self._waiting = hart.idle, hart.clock, hart.waiting
        self.time = self.step_time = lib.hart_time(hart)

    @property
    def wires(self) -> tuple[int, int]:
        """Interrupt wires as bits of mip, and mtimecmp."""
        return self._hart.lines, self._hart.mtimecmp

    def host_writes(self) -> list[tuple[int, bytes]]:
        """Memory that something beside the hart wrote in the last step."""
        return []

    def registers(self) -> tuple[int, int, list[int], list[int]]:
        """pc, mode as prv | V << 2, x0..x31, f0..f31."""
        hart = self._hart
        return hart.pc, hart.prv | hart.v << 2, ffi.unpack(hart.x, 32), ffi.unpack(hart.f, 32)

    def csrs(self, numbers: Iterable[int]) -> list[int]:
        """As M-mode reads them."""
        hart, value, read = self._hart, self._value, lib.hart_csr_read
        out = []
        for number in numbers:
            if read(hart, number, value):
                raise KeyError(f"{number:#x}")
            out.append(value[0])
        return out

    def traps(self) -> dict[tuple[int, int], int]:
        """(mode index it came from, cause + 64 for interrupts) to how many there were."""
        return {(mode, i): n for mode in range(5) for i, n in enumerate(self._hart.traps[mode]) if n}

    def step(self) -> str:
        """One instruction or trap. A text when there is no going on."""
        raise NotImplementedError

    def read(self, address: int, length: int) -> bytes:
        raise NotImplementedError

    def pages(self) -> Iterable[int]:
        """Addresses of the pages of memory to compare."""
        raise NotImplementedError

    def fetch(self, pc: int, mode: int) -> int | None:
        """The instruction at `pc` as `mode` sees it now; None where it cannot be fetched."""
        index = {3: 0, 1: 1, 0: 2, 5: 3, 4: 4}[mode]
        record = ffi.new("walk_record *")
        halves: list[int] = []
        for at in (pc, pc + 2 & M64):
            if lib.hart_walk(self._hart, at, 0, index, record) != -1:
                return None
            data = self.read(record.physical, 2)
            if len(data) < 2:
                return None
            halves.append(int.from_bytes(data, "little"))
            if halves[0] & 3 != 3:
                return halves[0]
        return halves[0] | halves[1] << 16


class Ours(HartSide):
    """The hart with `memory` bytes of RAM at 0x80000000 and no devices. `reset` before the first step."""

    def __init__(self, memory: int = 16 << 20) -> None:
        super().__init__()
        self.size = memory
        self._ram = mmap.mmap(-1, memory)
        self._buffer = ffi.from_buffer("uint8_t[]", self._ram)
        self._out = ffi.new("hart_exit *")
        self._machine = ffi.NULL

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
        hart = lib.machine_hart(self._machine, 0)
        lib.hart_reset(hart, pc)
        self.executed = 0
        self._watch(hart)

    def step(self) -> str:
        lib.machine_run(self._machine, 1, M64, self._out)
        self.executed += self._out.executed
        self._stepped()
        reason = self._out.reason
        if reason == lib.EXIT_BUDGET:
            return "waits" if self._hart.waiting and not self.retired else ""
        return {lib.EXIT_IDLE: "waits", lib.EXIT_TRAP_LOOP: "trap loop"}.get(reason, f"exit {reason}")

    def read(self, address: int, length: int) -> bytes:
        offset = address - RAM_BASE
        return self._ram[offset : offset + length] if offset >= 0 else b""

    def run(self, steps: int) -> bool:
        """Up to so many instructions and traps in one call; False when the hart waits for what will not come."""
        lib.machine_run(self._machine, steps, M64, self._out)
        self.executed += self._out.executed
        self._stepped()
        return bool(self._out.reason != lib.EXIT_IDLE)

    def pages(self) -> Iterable[int]:
        return range(RAM_BASE, RAM_BASE + self.size, 4096)

    def write(self, address: int, data: bytes) -> None:
        self._ram[address - RAM_BASE : address - RAM_BASE + len(data)] = data
        lib.machine_memory_changed(self._machine, address, len(data))


class Mirrored(Exception):
    """The two sides did not make the same device access."""


class MachineSide(HartSide):
    """A whole machine with a bare program in it. Its device accesses are kept, so that Spike's are answered alike."""

    def __init__(self, elf: str | os.PathLike[str], memory: int = 128 << 20) -> None:
        super().__init__()
        self.machine = Machine(memory=memory)
        entry = self.machine.load_elf(elf).entry
        self.machine.boot(entry)
        self.size = memory
        self.accesses: list[tuple[int, int, int | None, int]] = []
        """(address, size, value stored or None, value loaded) since the step before."""
        read, write = self.machine.bus.read, self.machine.bus.write

        def recorded_read(address: int, size: int) -> int | None:
            value = read(address, size)
            self.accesses.append((address, size, None, value or 0))
            return value

        def recorded_write(address: int, size: int, value: int) -> bool:
            self.accesses.append((address, size, value, 0))
            return write(address, size, value)

        self.machine.bus.read = recorded_read  # type: ignore[method-assign]
        self.machine.bus.write = recorded_write  # type: ignore[method-assign]
        self._poked = False
        if self.machine.htif is not None:
            poke = self.machine.htif.poke

            def noted(memory: Memory) -> None:
                self._poked = True
                poke(memory)

            self.machine.htif.poke = noted  # type: ignore[method-assign]
        self._watch(lib.machine_hart(self.machine._native, 0))

    def step(self) -> str:
        exit = self.machine.run(1)
        self._stepped()
        if exit.reason is ExitReason.BUDGET:
            return ""
        return {ExitReason.IDLE: "waits", ExitReason.TRAP_LOOP: "trap loop"}.get(exit.reason, exit.reason.name.lower())

    def host_writes(self) -> list[tuple[int, bytes]]:
        """HTIF's answers in tohost and fromhost."""
        htif, poked = self.machine.htif, self._poked
        self._poked = False
        words = (htif.tohost, htif.fromhost) if htif is not None and poked else ()
        return [(at, self.read(at, 8)) for at in words if at is not None]

    def access(self, address: int, size: int, value: int | None) -> int:
        """Spike's access: the same as this machine made in the step, answered alike."""
        if not self.accesses:
            raise Mirrored(f"Spike accessed {address:#x}, this machine did not")
        mine_address, mine_size, stored, loaded = self.accesses.pop(0)
        if (mine_address, mine_size, stored) != (address, size, value):
            mine = f"{mine_size} bytes at {mine_address:#x}, stored {stored}"
            raise Mirrored(f"ours accessed {mine}; Spike {size} bytes at {address:#x}, stored {value}")
        return loaded

    def read(self, address: int, length: int) -> bytes:
        region = self.machine.memory.find(address, length)
        return self.machine.memory.read(address, length) if region is not None else b""

    def pages(self) -> Iterable[int]:
        """Those ever written here: all of a large memory takes long."""
        region = self.machine.memory.regions[0]
        return [region.base + page * 4096 for page in self.machine.touched_pages(region)]
