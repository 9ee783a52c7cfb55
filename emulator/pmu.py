"""Performance counters as S-mode is lent them (RISC-V SBI specification 2.0, "Performance Monitoring Unit Extension").

Each hart has hardware counters, which are CSRs that S-mode reads itself, and behind them firmware counters, which count
calls. Shared memory for snapshots is optional, and not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from emulator.devices.fields import Bits, Number, Numbers, Shape, Stateful
from emulator.hart import Hart
from emulator.isa.csrs import EVENTS, FIRST_COUNTER
from emulator.sbi_errors import (
    ALREADY_STARTED,
    ALREADY_STOPPED,
    INVALID_PARAM,
    NO_SHMEM,
    NOT_SUPPORTED,
    CallError,
)

MASK64: Final = (1 << 64) - 1
FIRMWARE_COUNTERS: Final = 16
FIRST_CSR: Final = 0xC00
CYCLE, INSTRET = 0, 2
"""Hardware counters are numbered as bits of mcountinhibit."""
CODE: Final = {name: code for code, (name, _) in EVENTS.items()}

GENERAL, RAW, FIRMWARE = 0x0, 0x2, 0xF
"""Types of events: bits 19..16 of an index."""
GENERAL_EVENTS: Final = {1: CODE["CYCLES"], 2: CODE["INSTRUCTIONS"]}
"""SBI_PMU_HW_CPU_CYCLES and _INSTRUCTIONS, as mhpmevent names them. The hart has no caches to miss."""
RAW_MASK: Final = (1 << 48) - 1
SKIP_MATCH, CLEAR_VALUE, AUTO_START, FILTERS = 1 << 0, 1 << 1, 1 << 2, 0xF8
INHIBIT_SHIFT: Final = 55
"""From the filters VUINH to MINH, bits 3 to 7, to the same in mhpmevent, mcyclecfg and minstretcfg."""
SET_VALUE, FROM_SNAPSHOT = 1 << 0, 1 << 1
RESET, TO_SNAPSHOT = 1 << 0, 1 << 1
OVERFLOWED: Final = 1 << 63

(
    MISALIGNED_LOAD, MISALIGNED_STORE, ACCESS_LOAD, ACCESS_STORE, ILLEGAL_INSN, SET_TIMER, IPI_SENT, IPI_RECEIVED,
    FENCE_I, _, SFENCE_VMA, _, SFENCE_VMA_ASID, _, HFENCE_GVMA, _, HFENCE_GVMA_VMID, _, HFENCE_VVMA, _,
    HFENCE_VVMA_ASID, _, FIRMWARE_EVENTS,
) = range(23)  # fmt: skip
"""Firmware events. Of a fence this is the one sent; that it was received is the next."""


class Hardware(Protocol):
    """The hardware counters of a hart."""

    counters: tuple[int, ...]

    def serves(self, counter: int, event: int) -> bool:
        """Whether it can count `event`, one of EVENTS."""
        ...

    def configure(self, counter: int, event: int, inhibit: int) -> None:
        """Count `event` when started, but in the modes whose bits of mhpmevent are in `inhibit`."""
        ...

    def release(self, counter: int) -> None:
        """As at power-on, but for the value."""
        ...

    def start(self, counter: int) -> None: ...
    def stop(self, counter: int) -> None: ...
    def set(self, counter: int, value: int) -> None: ...


class HartCounters:
    """All that a hart has. SETUP says how they are left while nobody asks for them."""

    counters = (CYCLE, INSTRET, *range(FIRST_COUNTER, 32))
    FIXED: Final = {CYCLE: ("mcycle", "CYCLES"), INSTRET: ("minstret", "INSTRUCTIONS")}
    SETUP: Final[Mapping[str, int]] = {"mcountinhibit": sum(1 << n for n in range(FIRST_COUNTER, 32))}

    def __init__(self, hart: Hart) -> None:
        self.hart = hart

    def serves(self, counter: int, event: int) -> bool:
        return event == CODE[self.FIXED[counter][1]] if counter in self.FIXED else event in EVENTS and event != 0

    def _set_up(self, counter: int, event: int, inhibit: int) -> None:
        if counter in self.FIXED:
            self.hart.set_csr(f"{self.FIXED[counter][0]}cfg", inhibit)
        else:
            self.hart.set_csr(f"mhpmevent{counter}", event | inhibit)

    def configure(self, counter: int, event: int, inhibit: int) -> None:
        self._set_up(counter, event, inhibit)

    def release(self, counter: int) -> None:
        self._set_up(counter, 0, 0)
        if counter in self.FIXED:
            self._inhibit(counter, False)

    def start(self, counter: int) -> None:
        if counter not in self.FIXED:
            name = f"mhpmevent{counter}"
            self.hart.set_csr(name, self.hart.csr(name) & ~OVERFLOWED)
        self._inhibit(counter, False)

    def stop(self, counter: int) -> None:
        self._inhibit(counter, True)

    def _inhibit(self, counter: int, level: bool) -> None:
        others = self.hart.csr("mcountinhibit") & ~(1 << counter)
        self.hart.set_csr("mcountinhibit", others | level << counter)

    def set(self, counter: int, value: int) -> None:
        self.hart.set_csr(self.FIXED[counter][0] if counter in self.FIXED else f"mhpmcounter{counter}", value)


class Pmu(Stateful):
    """The counters of one hart: hardware ones first. `events` has the index that each was configured for, 0 for none;
    `started` a bit for each; `values` are those of the firmware counters."""

    name = "performance counters"

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self.first = len(hardware.counters)
        self.size = self.first + FIRMWARE_COUNTERS
        self.fields: Mapping[str, Shape] = {
            "events": Numbers(self.size, Number(0xF_FFFF)),
            "started": Bits((1 << self.size) - 1),
            "values": Numbers(FIRMWARE_COUNTERS, Number(MASK64)),
        }
        self.reset()

    def reset(self) -> None:
        """The hart starts anew; who starts it sets the hardware up."""
        self.events = [0] * self.size
        self.started = 0
        self.values = [0] * FIRMWARE_COUNTERS

    def count(self, event: int) -> None:
        """A firmware event happened."""
        running = self.started >> self.first
        if running:
            for at in range(FIRMWARE_COUNTERS):
                if running >> at & 1 and self.events[self.first + at] == FIRMWARE << 16 | event:
                    self.values[at] = self.values[at] + 1 & MASK64

    # Functions

    def information(self, index: int) -> int:
        self._check(index)
        return 1 << 63 if index >= self.first else FIRST_CSR + self.hardware.counters[index] | 63 << 12

    def match(self, base: int, mask: int, flags: int, event: int, data: int) -> int:
        """ "Find and configure a matching counter": its number."""
        chosen = self._set(base, mask)
        if flags >> 8 or not chosen:
            raise CallError(INVALID_PARAM)
        if flags & SKIP_MATCH:
            found = chosen[:1]
        else:
            # Those that nobody has first, and of them those that tell when they overflow.
            free = [at for at in chosen if not self.started >> at & 1]
            found = sorted(free, key=lambda at: (self.events[at] != 0, self._fixed(at), at))
        index = next((at for at in found if self._serves(at, event, data)), None)
        if index is None:
            raise CallError(NOT_SUPPORTED)
        self.events[index] = event
        if index < self.first:
            code = self._code(event, data)
            self.hardware.configure(self.hardware.counters[index], code, (flags & FILTERS) << INHIBIT_SHIFT)
        if flags & CLEAR_VALUE:
            self._put(index, 0)
        if flags & AUTO_START:
            self._start(index)
        return index

    def start(self, base: int, mask: int, flags: int, value: int) -> None:
        chosen = self._set(base, mask)
        if flags & ~(SET_VALUE | FROM_SNAPSHOT) or not all(self.events[index] for index in chosen):
            raise CallError(INVALID_PARAM)
        if flags & FROM_SNAPSHOT:
            raise CallError(NO_SHMEM)
        already = any(self.started >> index & 1 for index in chosen)
        for index in chosen:
            if not self.started >> index & 1:
                if flags & SET_VALUE:
                    self._put(index, value)
                self._start(index)
        if already:
            raise CallError(ALREADY_STARTED)

    def stop(self, base: int, mask: int, flags: int) -> None:
        """All of them are stopped, and with RESET free again, even if some were before."""
        chosen = self._set(base, mask)
        if flags & ~(RESET | TO_SNAPSHOT):
            raise CallError(INVALID_PARAM)
        if flags & TO_SNAPSHOT:
            raise CallError(NO_SHMEM)
        already = not all(self.started >> index & 1 for index in chosen)
        for index in chosen:
            if self.started >> index & 1 and index < self.first:
                self.hardware.stop(self.hardware.counters[index])
            self.started &= ~(1 << index)
            if flags & RESET and self.events[index]:
                self.events[index] = 0
                if index < self.first:
                    self.hardware.release(self.hardware.counters[index])
        if already:
            raise CallError(ALREADY_STOPPED)

    def read(self, index: int) -> int:
        """A firmware counter."""
        self._check(index)
        if index < self.first:
            raise CallError(INVALID_PARAM)
        return self.values[index - self.first]

    # Counters

    def _check(self, index: int) -> None:
        if index >= self.size:
            raise CallError(INVALID_PARAM)

    def _set(self, base: int, mask: int) -> list[int]:
        chosen = [base + bit for bit in range(mask.bit_length()) if mask >> bit & 1]
        if chosen:
            self._check(chosen[-1])
        return chosen

    def _fixed(self, index: int) -> bool:
        return index < self.first and self.hardware.counters[index] < FIRST_COUNTER

    @staticmethod
    def _code(event: int, data: int) -> int:
        """What mhpmevent selects for it; 0 for nothing."""
        kind, code = event >> 16, event & 0xFFFF
        if kind == GENERAL and not data:
            return GENERAL_EVENTS.get(code, 0)
        return data if kind == RAW and not code and data <= RAW_MASK else 0

    def _serves(self, index: int, event: int, data: int) -> bool:
        if index >= self.first:
            return event >> 16 == FIRMWARE and event & 0xFFFF < FIRMWARE_EVENTS and not data
        return self.hardware.serves(self.hardware.counters[index], self._code(event, data))

    def _put(self, index: int, value: int) -> None:
        if index >= self.first:
            self.values[index - self.first] = value
        else:
            self.hardware.set(self.hardware.counters[index], value)

    def _start(self, index: int) -> None:
        self.started |= 1 << index
        if index < self.first:
            self.hardware.start(self.hardware.counters[index])
