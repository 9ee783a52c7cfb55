"""The host-target interface of riscv-tests and Spike: two doublewords in RAM, `tohost` and `fromhost`.

A command is device (bits 63..56), command (55..48) and payload. It is no device on the bus: the machine watches the
store to `tohost` and then calls `poke`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from emulator.console import Console
from emulator.devices.fields import Flag, Shape, Stateful
from emulator.memory import Memory, MemoryRangeError

SYS_WRITE, SYS_EXIT = 64, 93
EBADF, EFAULT, ENOSYS = 9, 14, 38
_PAYLOAD: Final = (1 << 48) - 1


class Htif(Stateful):
    """`tohost` and `fromhost` are physical addresses; `halt(code, message)` ends the machine."""

    fields: Mapping[str, Shape] = {"reading": Flag()}

    def __init__(
        self,
        tohost: int,
        fromhost: int | None,
        console: Console,
        halt: Callable[[int, str], None],
        name: str = "htif",
    ) -> None:
        self.tohost, self.fromhost, self.console, self.halt, self.name = tohost, fromhost, console, halt, name
        self.reading = False
        """A getchar waits for input."""

    def reset(self) -> None:
        self.reading = False

    def poke(self, memory: Memory) -> None:
        """Carry out the command in `tohost`, if there is one, and answer a waiting getchar from the console.
        Addresses that lead nowhere are the guest's loss: nothing is raised."""
        try:
            command = memory.read_int(self.tohost, 8)
            if command:
                memory.write_int(self.tohost, 8, 0)
                self._carry_out(memory, command)
            if self.reading and self.fromhost is not None and memory.read_int(self.fromhost, 8) == 0:
                byte = self.console.get()
                if byte is not None:
                    self.reading = False
                    self._answer(memory, 1 << 56 | 0x100 | byte)
        except MemoryRangeError:
            return

    def _carry_out(self, memory: Memory, command: int) -> None:
        payload = command & _PAYLOAD
        match command >> 48:
            case 0 if payload & 1:
                self._exit(payload >> 1)
            case 0xFFFF if payload & 1:  # a negative exit code, as in exit(-1)
                self._exit(payload >> 1 & 0xFFFF_FFFF)
            case 0:
                self._system_call(memory, payload)
                self._answer(memory, 1)
            case 0x0100:
                self.reading = True
            case 0x0101:
                self.console.write(bytes((payload & 0xFF,)))
                self._answer(memory, 0x0101 << 48 | 0x100 | payload & 0xFF)

    def _system_call(self, memory: Memory, block: int) -> None:
        """The proxy of riscv-tests' benchmarks: a block of 8 doublewords, number and arguments; result in the first."""
        call, a0, a1, a2, *_ = struct.unpack("<8Q", memory.read(block, 64))
        if call == SYS_EXIT:
            self._exit(a0 & 0xFFFF_FFFF)
            return
        result = -ENOSYS
        if call == SYS_WRITE and a0 not in (1, 2):
            result = -EBADF
        elif call == SYS_WRITE:
            try:
                self.console.write(memory.view(a1, a2))
                result = a2
            except MemoryRangeError:
                result = -EFAULT
        memory.write_int(block, 8, result)

    def _exit(self, code: int) -> None:
        self.halt(code, f"the guest wrote exit code {code} to tohost")

    def _answer(self, memory: Memory, value: int) -> None:
        if self.fromhost is not None:
            memory.write_int(self.fromhost, 8, value)
