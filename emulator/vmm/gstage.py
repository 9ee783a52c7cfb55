"""G-stage page tables: Sv39x4, Sv48x4 and Sv57x4, built and read in the machine's own memory.

Manual: "Hypervisor Guest Address Translation and Protection (hgatp) Register", "Guest Physical Address Translation".
Nothing here caches an entry: what the methods return is what the hart's walker would read now. Whoever changes a valid
entry owes the hart a fence (HFENCE.GVMA); the methods say whether they did.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from emulator.errors import ConfigurationError, EmulatorError, StateError, TranslationError
from emulator.isa import pages
from emulator.isa.pages import A, D, R, U, V, W, X
from emulator.vmm.allocator import PAGE, Allocator

# What a page of a guest's memory gets. The G-stage takes every access for a U-mode one, so U must be set; A and D are
# set beforehand because nobody pages the guest's memory out.
MEMORY = V | R | W | X | U | A | D

ROOT_SIZE = 4 * PAGE  # two more index bits at the root: 2048 entries, aligned to 16 KiB


@dataclass(frozen=True)
class Scheme:
    """A translation mode: `code` is hgatp.MODE, `levels` the depth of the tree."""

    name: str
    code: int
    levels: int

    @property
    def bits(self) -> int:
        """Width of a guest-physical address."""
        return 12 + 9 * self.levels + 2


SCHEMES = {scheme.name: scheme for scheme in (Scheme("Sv39x4", 8, 3), Scheme("Sv48x4", 9, 4), Scheme("Sv57x4", 10, 5))}


def page_size(level: int) -> int:
    """Bytes that one entry of a table at `level` covers: 4 KiB at 0, 2 MiB at 1, 1 GiB at 2, ..."""
    return PAGE << (9 * level)


@dataclass(frozen=True)
class Entry:
    """One page-table entry as it stands in memory: at physical `address`, covering `gpa` and what follows it."""

    address: int
    level: int
    gpa: int
    pte: int

    @property
    def size(self) -> int:
        return page_size(self.level)

    @property
    def physical(self) -> int:
        """Where the entry points: a page, or the next table. One of a NAPOT range stands for its own page of it."""
        return pages.physical(self.pte, self.gpa)

    @property
    def kind(self) -> str:
        """ "pointer", "leaf", or "invalid" for what the hart would refuse whatever the access."""
        return pages.kind(self.pte, self.level)

    @property
    def flags(self) -> str:
        """The low eight bits, D to V, those that are clear as dashes: "da-uxwrv"."""
        return pages.flags(self.pte).lower()


class Memory(Protocol):
    """What of emulator.memory.Memory is needed here."""

    def read(self, address: int, length: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...


class GStage:
    """One guest's tree. `root` is physical and goes into hgatp.PPN; `tables` are the pages below it that are ours."""

    def __init__(self, memory: Memory, allocator: Allocator, scheme: str = "Sv39x4") -> None:
        if scheme not in SCHEMES:
            raise ConfigurationError(f"no G-stage mode {scheme!r}: choose one of {', '.join(SCHEMES)}")
        self.scheme = SCHEMES[scheme]
        self._memory = memory
        self._allocator = allocator
        self.root = allocator.allocate(ROOT_SIZE, ROOT_SIZE)
        self.tables: set[int] = set()
        memory.write(self.root, bytes(ROOT_SIZE))

    def hgatp(self, vmid: int) -> int:
        return self.scheme.code << 60 | vmid << 44 | self.root >> 12

    # Reading

    def children(self, of: Entry | None = None) -> list[Entry]:
        """The non-zero entries of the table that `of` points to; of the root without one. [] below a leaf."""
        if of is None:
            return self._entries(self.root, self.scheme.levels - 1, 0)
        return self._entries(of.physical, of.level - 1, of.gpa) if of.kind == "pointer" else []

    def lookup(self, gpa: int) -> Entry | None:
        """The valid leaf that translates `gpa`, or None."""
        entry = self._descend(gpa, 0)
        return entry if entry is not None and entry.kind == "leaf" else None

    def empty(self, gpa: int, level: int) -> bool:
        """Whether a page of page_size(level) could be mapped at `gpa`: nothing valid there, above or below."""
        entry = self._descend(gpa, level)
        return entry is not None and not entry.pte & V

    def leaves(self, start: int = 0, length: int | None = None) -> Iterator[Entry]:
        """The valid leaves that overlap [start, start+length), by rising guest-physical address."""
        end = 1 << self.scheme.bits if length is None else start + length
        return self._leaves(None, start, end)

    # Changing

    def map(self, gpa: int, physical: int, level: int = 0, flags: int = MEMORY) -> Entry:
        """Map one page of page_size(level). No fence is due, because what was there was invalid.

        Raises ConfigurationError where the address is out of range, misaligned, or already mapped.
        """
        size = page_size(level)
        if not 0 <= level < self.scheme.levels:
            raise ConfigurationError(f"{self.scheme.name} has no leaf at level {level}")
        if gpa % size or physical % size:
            raise ConfigurationError(f"a page of {size:#x} bytes cannot map {gpa:#x} to {physical:#x}: not aligned")
        entry = self._descend(gpa, level, create=True)
        if entry is None or entry.level != level or entry.pte & V:
            raise ConfigurationError(f"guest-physical {gpa:#x} is already mapped, or beyond {self.scheme.name}")
        self._set(entry.address, physical >> 2 | flags)
        return Entry(entry.address, level, gpa, physical >> 2 | flags)

    def unmap(self, start: int, length: int) -> bool:
        """Take away every leaf that overlaps the range (a superpage goes as a whole) and tables left empty.

        True when something was there, so that a fence is due.
        """
        return self._unmap(None, start, start + length)

    def protect(self, start: int, length: int) -> bool:
        """For dirty logging: take W and D from 4 KiB leaves, unmap superpages. True when a fence is due."""
        changed = False
        for leaf in list(self.leaves(start, length)):
            if leaf.level:
                changed |= self.unmap(leaf.gpa, leaf.size)
            elif leaf.pte & (W | D):
                self._set(leaf.address, leaf.pte & ~(W | D))
                changed = True
        return changed

    def allow_write(self, leaf: Entry) -> None:
        """Undo protect() for one leaf; a fence is due."""
        self._set(leaf.address, leaf.pte | W | D)

    def destroy(self) -> None:
        """Give the tables back; a fence is due before their VMID is used again."""
        for table in sorted(self.tables):
            self._allocator.free(table, PAGE)
        self._allocator.free(self.root, ROOT_SIZE)
        self.tables.clear()

    def state(self) -> dict[str, object]:
        return {"scheme": self.scheme.name, "root": self.root, "tables": sorted(self.tables)}

    @classmethod
    def from_state(cls, memory: Memory, allocator: Allocator, state: object) -> GStage:
        """The tables themselves are in the machine's memory, which must be restored, and the allocator too."""
        match state:
            case {"scheme": str(scheme), "root": int(root), "tables": list(tables)} if scheme in SCHEMES:
                low, high = allocator.base, allocator.base + allocator.size
                whole = all(isinstance(table, int) and not table % PAGE and low <= table < high for table in tables)
                if whole and not root % ROOT_SIZE and low <= root <= high - ROOT_SIZE:
                    self = cls.__new__(cls)
                    self.scheme, self.root, self.tables = SCHEMES[scheme], root, set(tables)
                    self._memory, self._allocator = memory, allocator
                    return self
        raise StateError("saved G-stage tables: no known mode, or tables outside the machine's memory")

    # Inside

    def _set(self, address: int, pte: int) -> None:
        self._memory.write(address, struct.pack("<Q", pte))

    def _entries(self, table: int, level: int, gpa: int) -> list[Entry]:
        count = 2048 if level == self.scheme.levels - 1 else 512
        words = struct.unpack(f"<{count}Q", self._read(table, 8 * count))
        size = page_size(level)
        return [Entry(table + 8 * i, level, gpa + i * size, pte) for i, pte in enumerate(words) if pte]

    def _read(self, address: int, length: int) -> bytes:
        try:
            return self._memory.read(address, length)
        except EmulatorError as error:  # an entry overwritten from outside may point anywhere
            raise TranslationError(f"G-stage table at {address:#x}: no memory there") from error

    def _descend(self, gpa: int, to: int, create: bool = False) -> Entry | None:
        """The entry for `gpa` at level `to`, or the first above it that is no pointer. None beyond the mode's width."""
        if gpa >> self.scheme.bits:
            return None
        table, level, base = self.root, self.scheme.levels - 1, 0
        while True:
            index = (gpa - base) // page_size(level)
            address, base = table + 8 * index, base + index * page_size(level)
            entry = Entry(address, level, base, struct.unpack("<Q", self._read(address, 8))[0])
            if level == to:
                return entry
            if create and not entry.pte & V:
                table = self._allocator.allocate(PAGE)
                self._memory.write(table, bytes(PAGE))
                self.tables.add(table)
                self._set(address, table >> 2 | V)
            elif entry.kind == "pointer":
                table = entry.physical
            else:
                return entry
            level -= 1

    def _leaves(self, of: Entry | None, start: int, end: int) -> Iterator[Entry]:
        for entry in self.children(of):
            if entry.gpa < end and start < entry.gpa + entry.size:
                if entry.kind == "leaf":
                    yield entry
                elif entry.kind == "pointer":
                    yield from self._leaves(entry, start, end)

    def _unmap(self, of: Entry | None, start: int, end: int) -> bool:
        changed = False
        for entry in self.children(of):
            if entry.gpa >= end or start >= entry.gpa + entry.size:
                continue
            if entry.kind == "pointer" and entry.physical in self.tables:
                changed |= self._unmap(entry, start, end)
                if any(self._read(entry.physical, PAGE)):
                    continue
                self.tables.discard(entry.physical)
                self._allocator.free(entry.physical, PAGE)
            changed |= bool(entry.pte & V)
            self._set(entry.address, 0)
        return changed
