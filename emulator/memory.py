"""Physical memory: regions of host memory behind ranges of the physical address space.

Regions are anonymous private mappings, so that pages which nobody touched cost nothing, and reading one does not
allocate it either.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

from emulator.errors import ConfigurationError, EmulatorError

PAGE: Final = 4096
"""Bytes in a page, the unit in which memory is tracked and saved."""

ADDRESS_BITS: Final = 56
"""Width of a physical address (Privileged ISA, "Sv39: Page-Based 39-bit Virtual-Memory System")."""

_MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
# Sizes that a search for touched pages descends through; each divides the one before it, the last is a page.
_CHUNKS: Final = (1 << 20, 1 << 16, PAGE)
_ZEROS: Final = {size: bytearray(size) for size in _CHUNKS}


class MemoryRangeError(EmulatorError):
    """A range of physical addresses is not, or not all, memory of one region."""


class Region:
    """Memory at [base, base+size), zero when made.

    `base` and `size` are multiples of 4096 bytes, else ConfigurationError. `writable` says whether harts and
    devices may write; the host always may. `buffer` is the mapping; its address never changes.
    """

    def __init__(self, name: str, base: int, size: int, writable: bool = True) -> None:
        where = f"memory region {name} ({base:#x}..{base + size:#x})"
        if size <= 0 or base < 0 or base % PAGE or size % PAGE:
            raise ConfigurationError(f"{where}: start and size must be multiples of {PAGE}, size more than 0")
        if base + size > 1 << ADDRESS_BITS:
            raise ConfigurationError(f"{where} does not fit into {ADDRESS_BITS} address bits")
        self.name, self.base, self.size, self.writable = name, base, size, writable
        try:
            self.buffer = _reserve(size)
        except (OSError, OverflowError, ValueError, MemoryError):
            raise ConfigurationError(f"{where}: this computer cannot provide {size >> 20} MiB; use less") from None

    def __repr__(self) -> str:
        return f"Region({self.name!r}, {self.base:#x}..{self.end:#x})"

    @property
    def end(self) -> int:
        """The first address after the region."""
        return self.base + self.size

    def holds(self, address: int, length: int = 1) -> bool:
        """Whether [address, address+length) lies inside."""
        return length >= 0 and self.base <= address and address + length <= self.end

    def pages_nonzero(self, candidates: Iterable[int] | None = None) -> Iterator[int]:
        """Indexes of the 4 KiB pages that hold anything but zeros, ascending.

        `candidates` are the page indexes to look at, in the order wanted (those that were ever written, say);
        without them all pages are, at memory speed. An index outside of the region raises MemoryRangeError.
        """
        with memoryview(self.buffer) as view:
            if candidates is None:
                yield from _nonzero(view, 0, self.size, 0)
                return
            zero = _ZEROS[PAGE]
            for page in candidates:
                if not 0 <= page < self.size // PAGE:
                    raise MemoryRangeError(f"{self.name} has no page {page}: it has {self.size // PAGE}")
                if zero != view[page * PAGE : (page + 1) * PAGE]:
                    yield page


class Memory:
    """All memory of a machine, found by physical address (bytes). An access must stay inside one region.

    Every write made here calls `changed(address, length)`, which the machine sets to drop decoded code and mark
    pages. MemoryRangeError where an access leaves memory.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self.regions: tuple[Region, ...] = tuple(sorted(regions, key=lambda region: region.base))
        self.changed: Callable[[int, int], None] = lambda address, length: None
        for low, high in pairwise(self.regions):
            if low.end > high.base:
                raise ConfigurationError(f"memory regions {low.name} and {high.name} overlap at {high.base:#x}")

    def find(self, address: int, length: int = 1) -> Region | None:
        """The region that holds all of [address, address+length), or None."""
        return next((region for region in self.regions if region.holds(address, length)), None)

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address`."""
        region, offset = self._locate(address, length)
        return region.buffer[offset : offset + length]

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Put `data` at `address`. This is the host's hand: read-only regions take it too (that is how they are
        filled); a device that writes for a guest asks `find(address, length).writable` first."""
        length = memoryview(data).nbytes
        region, offset = self._locate(address, length)
        if length:
            region.buffer[offset : offset + length] = data
            self.changed(address, length)

    def read_int(self, address: int, size: int) -> int:
        """The little-endian unsigned number of `size` bytes at `address`."""
        return int.from_bytes(self.read(address, size), "little")

    def write_int(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian."""
        self.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def view(self, address: int, length: int) -> memoryview:
        """A window on memory without a copy. Who writes through it calls `changed`."""
        region, offset = self._locate(address, length)
        return memoryview(region.buffer)[offset : offset + length]

    def fill(self, address: int, length: int, byte: int = 0) -> None:
        """Set `length` bytes to `byte` (0..255). Whole pages of zeros are given back to the system."""
        region, offset = self._locate(address, length)
        if not 0 <= byte <= 255:
            raise MemoryRangeError(f"{byte} is not a byte to fill memory with")
        at, end = offset, offset + length
        first, last = -(-offset // PAGE) * PAGE, end // PAGE * PAGE
        # Only Linux promises that a private page reads as zero after MADV_DONTNEED.
        if byte == 0 and sys.platform == "linux" and first < last:
            region.buffer[at:first] = bytes(first - at)
            region.buffer.madvise(mmap.MADV_DONTNEED, first, last - first)
            at = last
        pattern = bytes([byte]) * min(end - at, _CHUNKS[0])
        while at < end:
            size = min(end - at, len(pattern))
            region.buffer[at : at + size] = pattern[:size]
            at += size
        if length:
            self.changed(address, length)

    def search(self, pattern: bytes, address: int = 0, length: int | None = None) -> Iterator[int]:
        """Addresses in [address, address+length) where `pattern` lies completely, ascending, over all regions."""
        limit = 1 << 64 if length is None else address + length
        for region in self.regions if pattern else ():
            at, end = max(address, region.base) - region.base, min(limit, region.end) - region.base
            while at < end and (at := region.buffer.find(pattern, at, end)) >= 0:
                yield region.base + at
                at += 1

    def pages_nonzero(self) -> Iterator[int]:
        """Physical addresses of all 4 KiB pages that hold anything but zeros, ascending."""
        for region in self.regions:
            for page in region.pages_nonzero():
                yield region.base + page * PAGE

    def _locate(self, address: int, length: int) -> tuple[Region, int]:
        region = self.find(address, length)
        if region is None:
            have = ", ".join(f"{r.name} {r.base:#x}..{r.end:#x}" for r in self.regions) or "none"
            raise MemoryRangeError(f"{address:#x}..{address + length:#x} is not memory; there is: {have}")
        return region, address - region.base


def _reserve(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)


def _nonzero(view: memoryview, start: int, end: int, depth: int) -> Iterator[int]:
    """Pages in [start, end) that are not all zero. A bytearray compares with a buffer by memcmp, which stops at the
    first difference, so that looking at smaller and smaller pieces costs little."""
    size = _CHUNKS[depth]
    zero = _ZEROS[size]
    for at in range(start, end, size):
        stop = min(at + size, end)
        if zero == view[at:stop] or (stop - at < size and zero[: stop - at] == view[at:stop]):
            continue
        if size == PAGE:
            yield at // PAGE
        else:
            yield from _nonzero(view, at, stop, depth + 1)
