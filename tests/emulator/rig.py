"""A bare machine for tests: one instruction at a time, any mode, page tables by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from assembler import REGISTERS, Program, assemble

from emulator.devices.flash import Flash
from emulator.hart import Exit, Hart, Mode
from emulator.machine import Machine

BASE: Final = 0x8000_0000
HANDLER: Final = BASE + 0x1_0000
"""Where traps into M-mode go; HS-mode and VS-mode 0x1000 and 0x2000 behind. There stand jumps to themselves."""
DATA: Final = BASE + 0x2_0000
TABLES: Final = BASE + 0x4_0000
ONES: Final = (1 << 64) - 1

M, HS, U, VS, VU = Mode.M, Mode.HS, Mode.U, Mode.VS, Mode.VU
INTERRUPT: Final = 1 << 63

# mstatus, vsstatus and sstatus; hstatus
SIE, MIE, SPIE, MPIE, SPP, MPP, FS = 1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8, 3 << 11, 3 << 13
MPRV, SUM, MXR, TVM, TW, TSR, GVA, MPV = 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 38, 1 << 39
H_GVA, SPV, SPVP, HU, VTVM, VTW, VTSR = 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 20, 1 << 21, 1 << 22
STCE, ADUE = 1 << 63, 1 << 61

# Page-table entries
V, R, W, X, USER, G, A, D = (1 << n for n in range(8))
LEAF: Final = V | R | W | X | A | D

# Exceptions
FETCH_ACCESS, ILLEGAL, BREAKPOINT, LOAD_MISALIGNED, LOAD_ACCESS, STORE_MISALIGNED, STORE_ACCESS = range(1, 8)
ECALL_U, ECALL_S, ECALL_VS, ECALL_M, FETCH_PAGE, LOAD_PAGE, STORE_PAGE = 8, 9, 10, 11, 12, 13, 15
FETCH_GUEST, LOAD_GUEST, VIRTUAL, STORE_GUEST = 20, 21, 22, 23

FETCH, LOAD, STORE = "fetch", "load", "store"
TEXT = {
    FETCH: "jr a1",
    LOAD: "ld a0, 0(a1)",
    STORE: "sd a2, 0(a1)",
    "lr": "lr.d a0, (a1)",
    "sc": "sc.d a0, a2, (a1)",
    "amo": "amoswap.d a0, a2, (a1)",
    "hlv": "hlv.d a0, (a1)",
    "hlvx": "hlvx.wu a0, (a1)",
    "hsv": "hsv.d a2, (a1)",
    **{name: f"{name} (a1)" for name in ("cbo.zero", "cbo.inval", "cbo.clean", "cbo.flush")},
}
"""An access to the address in a1, by name."""

EVERYTHING: Final = (1 << 64) - 1


class Rig:
    """A machine whose PMP permits everything, with a program at BASE."""

    def __init__(
        self, text: str = "", *, harts: int = 1, memory: int = 4 << 20, mode: Mode = M, guest_interrupts: int = 0,
        isa: str = "max", flash: Iterable[Flash] = (), **csrs: int,
    ) -> None:  # fmt: skip
        self.machine = Machine(memory=memory, harts=harts, guest_interrupts=guest_interrupts, isa=isa, flash=flash)
        self.hart: Hart = self.machine.harts[0]
        for hart in self.machine.harts:
            hart.set_csr("pmpaddr0", ONES)
            hart.set_csr("pmpcfg0", 0x1F)  # NAPOT, RWX: everything
            hart.set_csrs({"mtvec": HANDLER, "stvec": HANDLER + 0x1000, "vstvec": HANDLER + 0x2000})
            hart.pc = BASE
        for at in (0, 0x1000, 0x2000):
            self.write(HANDLER + at, "self: j self")
        self.set(**csrs)
        self.program = self.write(BASE, text)
        self.hart.mode = mode

    def set(self, **csrs: int) -> None:
        for name, value in csrs.items():
            self.hart.set_csr(name, value)

    def csr(self, name: str) -> int:
        return int(self.hart.csr(name))

    def write(self, address: int, text: str, **symbols: int) -> Program:
        program = assemble(address, text, **symbols)
        self.machine.memory.write(address, program.code)
        return program

    def store(self, address: int, value: int, size: int = 8) -> None:
        self.machine.memory.write_int(address, size, value)

    def load(self, address: int, size: int = 8) -> int:
        return self.machine.memory.read_int(address, size)

    def x(self, name: str) -> int:
        return int(self.hart.x[REGISTERS[name]])

    def put(self, **registers: int) -> None:
        for name, value in registers.items():
            self.hart.x[REGISTERS[name]] = value

    def run(self, steps: int = 1) -> Exit:
        return self.machine.run(steps)

    def reach(self, where: str | int, most: int = 10_000) -> None:
        """Step until pc is there."""
        address = self.program[where] if isinstance(where, str) else where
        for _ in range(most):
            if self.hart.pc == address:
                return
            self.machine.step()
        raise AssertionError(f"{address:#x} was not reached; pc is {self.hart.pc:#x}")

    def trap(self) -> tuple[Mode, int, int] | None:
        """(mode, cause, xtval) of the trap that led to a handler; None when pc is at none."""
        names = {0: (M, "m"), 0x1000: (HS, "s"), 0x2000: (VS, "vs")}
        where = self.hart.pc - HANDLER
        if where not in names:
            return None
        mode, prefix = names[where]
        assert self.hart.mode is mode
        return mode, self.csr(f"{prefix}cause"), self.csr(f"{prefix}tval")


def word_of(text: str) -> int:
    """A 32-bit instruction."""
    return int.from_bytes(assemble(BASE, text).code[:4], "little")


def transformed(word: int, offset: int = 0) -> int:
    """What xtinst says of a 32-bit instruction whose access to memory failed: loads keep rd and funct3, stores rs2
    and funct3, atomics and guest accesses everything; `offset` takes the place of rs1. Cache-block operations keep
    their number and funct3. 0 for all others.

    Sections "Transformed Instruction or Pseudoinstruction for mtinst or htinst", "Cache Management Operations".
    """
    if word & 0x707F == 0x200F:
        return word & 0xFFF0707F
    masks = {0x03: 0x00007FFF, 0x07: 0x00007FFF, 0x23: 0x01F0707F, 0x27: 0x01F0707F, 0x2F: 0xFFF07FFF}
    kept = 0xFFF07FFF if word & 0x707F == 0x4073 else masks.get(word & 0x7F, 0)
    return word & kept | (offset << 15 if kept else 0)


def tinst(text: str, offset: int = 0) -> int:
    """`transformed`, of assembly text."""
    return transformed(word_of(text), offset)


class Tables:
    """Page tables of one stage. `levels` 3, 4 or 5; `extra` 2 in the G-stage, whose root is four pages."""

    def __init__(self, rig: Rig, levels: int = 3, *, guest: bool = False, at: int = TABLES, offset: int = 0) -> None:
        """Tables are allocated from physical address `at` up. Entries hold addresses less `offset` (for VS-stage tables
        that lie at another guest-physical address)."""
        self.rig, self.levels, self.guest, self.offset = rig, levels, guest, offset
        self.root = at
        self.next = at + (0x4000 if guest else 0x1000)

    @property
    def atp(self) -> int:
        """The value of satp, vsatp or hgatp."""
        return (self.levels + 5) << 60 | (self.root - self.offset) >> 12

    def slot(self, address: int, level: int = 0) -> int:
        """Where the entry of `level` for an address lies, physically; tables above it are made."""
        table = self.root
        for at in range(self.levels - 1, level, -1):
            slot = table + self.index(address, at) * 8
            entry = self.rig.load(slot)
            if not entry & V:
                entry = (self.next - self.offset) >> 12 << 10 | V
                self.rig.store(slot, entry)
                self.next += 0x1000
            table = (entry >> 10 << 12) + self.offset
        return table + self.index(address, level) * 8

    def index(self, address: int, level: int) -> int:
        wide = self.guest and level == self.levels - 1
        return address >> (12 + 9 * level) & (0x7FF if wide else 0x1FF)

    def map(self, address: int, to: int, flags: int, level: int = 0) -> int:
        """Map a page of `level` (0: 4 KiB, 1: 2 MiB...). The physical address of its entry."""
        slot = self.slot(address, level)
        self.rig.store(slot, to >> 12 << 10 | flags)
        return slot
