"""A bare test program: units of instructions between fixed handlers, and its image in memory.

RAM from 0x80000000 (offsets):

    0x00000  start: registers and CSRs get their first values, then mret enters the body
    0x01000  trap handlers of M-mode, HS-mode and VS-mode, each a vector of 16 jumps and then the handler
    0x02000  first values of the registers
    0x04000  junk: random words, executable
    0x08000  body, which ends in a jump to its beginning
    0x10000  for each halfword of the body: the halfword where the next unit begins
    0x18000  for each halfword of the body: the mode that a trap there continues in, as an index of MODES
    0x20000  variables of the M-mode handler
    0x24000  page tables
    0x80000  data

Everything below 0x20000 is locked by PMP entry 0 (read, execute) and the data by entry 14 (read, write), so that no
program changes its own code: what a hart sees of that without FENCE.I is its own business.

The M-mode handler continues with the unit after the one that trapped, whatever happened; for a trap outside the body it
takes the unit after the last one it went to. So every program goes on as long as somebody steps it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from functools import cache

from emulator.isa import ISA, csrs
from emulator.isa.description import Compressed, Instruction

BASE = 0x8000_0000
USER = 0x4000_0000
"""Virtual (and guest-physical) window onto BASE with pages of U-mode."""
HANDLERS, VALUES, JUNK, BODY, RESUME, MODE_TABLE = 0x1000, 0x2000, 0x4000, 0x8000, 0x10000, 0x18000
VARIABLES, TABLES, DATA = 0x20000, 0x24000, 0x80000
BODY_SIZE, TABLE_PAGES, DATA_SIZE = 0x8000, 0x5C, 0x20000
JUNK_SIZE = 0x4000
HANDLER_SIZE = 0x200
M_HANDLER, HS_HANDLER, VS_HANDLER = (BASE + HANDLERS + HANDLER_SIZE * i for i in range(3))
MODES = ("keep", "U", "HS", "M", "VU", "VS")
"""A trap continues in one of these; "keep": where it came from."""
CHANGE_ENTRY = 0x5EE
"""ECALL with this in a7 has the M-mode handler flip the bits in t1 of the doubleword at t0, and fence."""
MPV, MPP, MPRV = 1 << 39, 3 << 11, 1 << 17
_MODE_BITS = (0, 0, 1 << 11, 3 << 11, MPV, MPV | 1 << 11)


class DoesNotFit(Exception):
    """The body is too long."""


@cache
def _registry() -> dict[str, Instruction | Compressed]:
    registry = ISA
    return {**registry.instructions, **registry.compressed}


def encode(name: str, **operands: int) -> bytes:
    """One instruction from the descriptions. Fields that are not given are 0; `csr` also by name."""
    layout = _registry()[name].layout
    values = {key.rstrip("'"): 8 if key.endswith("'") else 0 for key in layout.operands} | operands
    return layout.insert(values).to_bytes(layout.length, "little")


def csr_number(name: str) -> int:
    return csrs.BY_NAME[name].number


def li(rd: int, value: int) -> bytes:
    """Load a 64-bit constant."""
    value &= (1 << 64) - 1
    signed = value - (1 << 64) if value >> 63 else value
    if -2048 <= signed < 2048:
        return encode("addi", rd=rd, rs1=0, imm=signed)
    low = (signed & 0xFFF) - (0x1000 if signed & 0x800 else 0)
    if -(1 << 31) <= signed < (1 << 31):
        high = (signed - low) & 0xFFFF_FFFF
        out = encode("lui", rd=rd, imm=high - (1 << 32) if high >> 31 else high)
        return out + (encode("addiw", rd=rd, rs1=rd, imm=low) if low else b"")
    rest, shift = (signed - low) >> 12, 12
    while not rest & 1:
        rest, shift = rest >> 1, shift + 1
    out = li(rd, rest) + encode("slli", rd=rd, rs1=rd, shamt=shift)
    return out + (encode("addi", rd=rd, rs1=rd, imm=low) if low else b"")


def csrw(name: str | int, rs1: int, rd: int = 0) -> bytes:
    return encode("csrrw", rd=rd, csr=csr_number(name) if isinstance(name, str) else name, rs1=rs1)


def csrr(name: str, rd: int) -> bytes:
    return encode("csrrs", rd=rd, csr=csr_number(name), rs1=0)


@dataclass(frozen=True)
class Jump:
    """A branch or jump to the unit `target` (an identity), or to the next one that is left; to the next instruction
    where that is too far. `name` "la" loads the address into rd by auipc and addi."""

    name: str
    operands: tuple[tuple[str, int], ...]
    target: int

    @property
    def length(self) -> int:
        return 8 if self.name == "la" else _registry()[self.name].layout.length

    def assemble(self, distance: int) -> bytes:
        values = dict(self.operands)
        if self.name == "la":
            low = ((distance & 0xFFF) ^ 0x800) - 0x800
            rd = values["rd"]
            return encode("auipc", rd=rd, imm=distance - low) + encode("addi", rd=rd, rs1=rd, imm=low)
        try:
            return encode(self.name, imm=distance, **values)
        except ValueError:
            return encode(self.name, imm=self.length, **values)


@dataclass(frozen=True)
class Unit:
    """What is deleted as one when a failure is shrunk. `mode`: how a trap in it continues, an index of MODES."""

    identity: int
    items: tuple[bytes | Jump, ...]
    mode: int = 0

    @property
    def length(self) -> int:
        return sum(item.length if isinstance(item, Jump) else len(item) for item in self.items)


@dataclass(frozen=True)
class Program:
    """`csrs` are written at the start, in order; `memory` maps offsets to bytes."""

    units: tuple[Unit, ...]
    csrs: tuple[tuple[str, int], ...] = ()
    x: tuple[int, ...] = (0,) * 32
    f: tuple[int, ...] = (0,) * 32
    memory: dict[int, bytes] = field(default_factory=dict)
    start_mode: int = 3
    label: str = ""

    def without(self, first: int, count: int) -> Program:
        return replace(self, units=self.units[:first] + self.units[first + count :])

    def image(self) -> dict[int, bytes]:
        """Physical address to bytes. DoesNotFit when there are too many units."""
        places: dict[int, int] = {}
        at = 0
        for unit in self.units:
            places[unit.identity] = at
            at += unit.length
        end = at
        if end + 4 > BODY_SIZE:
            raise DoesNotFit(f"{end} bytes of instructions")
        order = sorted(places)
        code = bytearray()
        resume = bytearray()
        modes = bytearray()
        for unit in self.units:
            start = len(code)
            for item in unit.items:
                if isinstance(item, Jump):
                    target = next((places[i] for i in order if i >= item.target), end)
                    code += item.assemble(target - len(code))
                else:
                    code += item
            halves = (len(code) - start) // 2
            resume += struct.pack("<H", len(code) // 2) * halves
            modes += bytes([unit.mode]) * halves
        # The way back is too far for JAL only when the body is longer than 1 MiB.
        code += encode("jal", rd=0, imm=-end)
        resume += bytes(4)
        modes += bytes(2)
        image = {BASE + offset: data for offset, data in self.memory.items()}
        image[BASE] = self._start()
        for i, handler in enumerate((_m_handler(), _supervisor_handler("s"), _supervisor_handler("vs"))):
            vector = b"".join(encode("jal", rd=0, imm=64 - 4 * slot) for slot in range(16))
            assert len(vector + handler) <= HANDLER_SIZE
            image[BASE + HANDLERS + HANDLER_SIZE * i] = vector + handler
        image[BASE + VALUES] = struct.pack("<64Q", *self.x, *self.f)
        image[BASE + BODY] = bytes(code)
        image[BASE + RESUME] = bytes(resume)
        image[BASE + MODE_TABLE] = bytes(modes)
        return image

    def _start(self) -> bytes:
        """From reset: PMP, handlers, CSRs, registers, and into the body."""
        t0, t1 = 5, 6
        out = b""

        def put(name: str, value: int) -> None:
            nonlocal out
            out += li(t0, value) + csrw(name, t0)

        for entry, offset, size in ((0, 0, 0x20000), (14, DATA, DATA_SIZE)):
            put(f"pmpaddr{entry}", (BASE + offset >> 2) | (size >> 3) - 1)
        put("pmpaddr15", (1 << 54) - 1)
        put("pmpcfg2", 0x1F9B << 48)
        put("pmpcfg0", 0x9D)
        put("mtvec", M_HANDLER)
        put("stvec", HS_HANDLER)
        put("vstvec", VS_HANDLER)
        put("mstatus", 1 << 13)
        out += li(t0, BASE + VALUES)
        for i in range(32):
            out += encode("fld", rd=i, rs1=t0, imm=256 + 8 * i)
        for name, value in self.csrs:
            put(name, value)
        body = BASE + BODY
        if MODES[self.start_mode] in ("U", "VU"):
            body = USER + BODY
        put("mepc", body)
        out += li(t0, MPP | MPV) + encode("csrrc", csr=csr_number("mstatus"), rs1=t0)
        out += li(t0, _MODE_BITS[self.start_mode]) + encode("csrrs", csr=csr_number("mstatus"), rs1=t0)
        out += li(31, BASE + VALUES)
        for i in range(1, 32):
            out += encode("ld", rd=i, rs1=31, imm=8 * i)
        assert t1 and len(out) < HANDLERS
        return out + encode("mret")


class _Code:
    """A few instructions with labels."""

    def __init__(self) -> None:
        self.parts: list[bytes | tuple[str, str, dict[str, int]]] = []
        self.labels: dict[str, int] = {}
        self.size = 0

    def op(self, name: str, **operands: int) -> None:
        self.raw(encode(name, **operands))

    def raw(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)

    def branch(self, label: str, name: str, **operands: int) -> None:
        self.parts.append((label, name, operands))
        self.size += 4

    def label(self, name: str) -> None:
        self.labels[name] = self.size

    def assemble(self) -> bytes:
        out = b""
        for part in self.parts:
            if isinstance(part, bytes):
                out += part
            else:
                label, name, operands = part
                out += encode(name, imm=self.labels[label] - len(out), **operands)
        return out


@cache
def _m_handler() -> bytes:
    """Changes t3, t4, t5 and mie (interrupts), mstatus.MPRV, and MPP and MPV where the unit says so."""
    t3, t4, t5 = 28, 29, 30
    c = _Code()
    c.op("lui", rd=t3, imm=MPRV)
    c.op("csrrc", csr=csr_number("mstatus"), rs1=t3)
    c.raw(csrr("mcause", t3))
    c.branch("exception", "bge", rs1=t3, rs2=0)
    c.raw(csrw("mie", 0))
    c.op("mret")
    c.label("exception")
    c.raw(li(t3, CHANGE_ENTRY))
    c.branch("no call", "bne", rs1=t3, rs2=17)
    c.op("addi", rd=17, rs1=0, imm=0)
    c.op("amoxor.d", rd=0, rs1=5, rs2=6)
    c.op("sfence.vma")
    c.op("hfence.vvma")
    c.op("hfence.gvma")
    c.label("no call")
    c.raw(csrr("mepc", t3))
    c.op("slli", rd=t3, rs1=t3, shamt=34)
    c.op("srli", rd=t3, rs1=t3, shamt=34)
    c.op("lui", rd=t4, imm=BODY)
    c.op("sub", rd=t3, rs1=t3, rs2=t4)
    c.op("lui", rd=t4, imm=BODY_SIZE)
    c.branch("body", "bltu", rs1=t3, rs2=t4)
    c.raw(li(t4, BASE + VARIABLES))
    c.op("lhu", rd=t3, rs1=t4)
    c.label("body")
    c.raw(li(t4, BASE + RESUME))
    c.op("add", rd=t4, rs1=t4, rs2=t3)
    c.op("lhu", rd=t5, rs1=t4, imm=0)
    c.op("srli", rd=t3, rs1=t3, shamt=1)
    c.raw(li(t4, BASE + MODE_TABLE))
    c.op("add", rd=t4, rs1=t4, rs2=t3)
    c.op("lbu", rd=t3, rs1=t4)
    c.op("slli", rd=t5, rs1=t5, shamt=1)
    c.raw(li(t4, BASE + VARIABLES))
    c.op("sh", rs1=t4, rs2=t5)
    c.branch("kept", "beq", rs1=t3, rs2=0)
    c.raw(li(t4, MPP | MPV))
    c.op("csrrc", csr=csr_number("mstatus"), rs1=t4)
    c.op("addi", rd=t3, rs1=t3, imm=-1)
    for index, bits in enumerate(_MODE_BITS[1:]):
        c.op("addi", rd=t4, rs1=t3, imm=-index)
        c.branch(f"after {index}", "bne", rs1=t4, rs2=0)
        if bits:
            c.raw(li(t4, bits))
            c.op("csrrs", csr=csr_number("mstatus"), rs1=t4)
        c.label(f"after {index}")
    c.label("kept")
    # U-mode and VU-mode run in the window of user pages where there is any translation.
    c.raw(li(t3, BASE + BODY))
    c.raw(csrr("mstatus", t4))
    c.op("slli", rd=t4, rs1=t4, shamt=51)
    c.op("srli", rd=t4, rs1=t4, shamt=62)
    c.branch("supervisor", "bne", rs1=t4, rs2=0)
    c.raw(csrr("mstatus", t4))
    c.op("slli", rd=t4, rs1=t4, shamt=24)
    c.branch("guest", "blt", rs1=t4, rs2=0)
    c.raw(csrr("satp", t4))
    c.branch("bare", "beq", rs1=0, rs2=0)
    c.label("guest")
    c.raw(csrr("vsatp", t4))
    c.branch("user", "bne", rs1=t4, rs2=0)
    c.raw(csrr("hgatp", t4))
    c.label("bare")
    c.branch("supervisor", "beq", rs1=t4, rs2=0)
    c.label("user")
    c.raw(li(t3, USER + BODY))
    c.label("supervisor")
    c.op("add", rd=t3, rs1=t3, rs2=t5)
    c.raw(csrw("mepc", t3))
    c.op("mret")
    return c.assemble()


@cache
def _supervisor_handler(level: str) -> bytes:
    """Goes on four bytes after an exception, and disables the interrupts of its level after one of those. Where nothing
    can be fetched it calls M-mode, which knows where to go on. Changes t3 and t4."""
    t3, t4 = 28, 29
    c = _Code()
    c.raw(csrr("scause", t3))
    c.branch("exception", "bge", rs1=t3, rs2=0)
    c.raw(csrw("sie", 0))
    if level == "s":
        c.raw(csrw("hie", 0))
    c.op("sret")
    c.label("exception")
    c.raw(li(t4, 1 << 1 | 1 << 12 | 1 << 20))
    c.op("srl", rd=t4, rs1=t4, rs2=t3)
    c.op("andi", rd=t4, rs1=t4, imm=1)
    c.branch("skip", "beq", rs1=t4, rs2=0)
    c.op("ecall")
    c.label("skip")
    c.raw(csrr("sepc", t3))
    c.op("addi", rd=t3, rs1=t3, imm=4)
    c.raw(csrw("sepc", t3))
    c.op("sret")
    return c.assemble()
