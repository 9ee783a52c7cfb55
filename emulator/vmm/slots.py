"""Memory slots: which guest-physical addresses are memory, and where in the machine's memory they lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.errors import ConfigurationError, StateError
from emulator.memory import Memory, MemoryRangeError
from emulator.vmm.allocator import PAGE, Allocator


@dataclass
class Slot:
    """[gpa, gpa+size) of a guest is [physical, physical+size) of the machine. All in bytes, multiples of 4 KiB."""

    gpa: int
    size: int
    physical: int
    dirty: set[int] | None = field(default=None)
    """Guest-physical pages written since the dirty log was read; None while it is off."""
    writable = True

    @property
    def end(self) -> int:
        return self.gpa + self.size

    def touch(self, gpa: int, length: int) -> None:
        """Somebody other than the guest wrote here."""
        if self.dirty is not None:
            self.dirty.update(range(gpa & -PAGE, gpa + length, PAGE))

    def state(self) -> dict[str, object]:
        dirty = None if self.dirty is None else sorted(self.dirty)
        return {"gpa": self.gpa, "size": self.size, "physical": self.physical, "dirty": dirty}

    @classmethod
    def from_state(cls, state: object, allocator: Allocator) -> Slot:
        match state:
            case {"gpa": int(gpa), "size": int(size), "physical": int(physical), "dirty": (None | list()) as dirty}:
                low, high = allocator.base, allocator.base + allocator.size
                inside = low <= physical and physical + size <= high and size > 0 <= gpa
                pages = dirty is None or all(isinstance(page, int) and gpa <= page < gpa + size for page in dirty)
                if inside and pages and not (gpa | size | physical) % PAGE:
                    return cls(gpa, size, physical, None if dirty is None else set(dirty))
        raise StateError("saved memory slot: not whole pages inside the machine's memory")


class GuestMemory:
    """A guest's memory by guest-physical address, as the host sees it: no G-stage entry is needed or made."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.slots: list[Slot] = []
        """Ascending by guest-physical address."""

    def check(self, slot: Slot) -> None:
        """Raises ConfigurationError where `slot` overlaps another."""
        for other in self.slots:
            if slot.gpa < other.end and other.gpa < slot.end:
                raise ConfigurationError(
                    f"memory slot {slot.gpa:#x}..{slot.end:#x} overlaps the one at {other.gpa:#x}..{other.end:#x}"
                )

    def add(self, slot: Slot) -> None:
        """Raises ConfigurationError where `slot` overlaps another."""
        self.check(slot)
        self.slots = sorted([*self.slots, slot], key=lambda each: each.gpa)

    def find(self, gpa: int, length: int = 1) -> Slot | None:
        """The slot that holds all of [gpa, gpa+length), or None."""
        return next((slot for slot in self.slots if slot.gpa <= gpa and gpa + length <= slot.end), None)

    def read(self, gpa: int, length: int) -> bytes:
        """Raises MemoryRangeError where that is not memory of one slot."""
        return self._memory.read(self.physical(gpa, length), length)

    def write(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        """Raises MemoryRangeError where that is not memory of one slot."""
        length = memoryview(data).nbytes
        self._memory.write(self.physical(gpa, length), data)
        slot = self.find(gpa, length)
        if slot is not None and length:
            slot.touch(gpa, length)

    def read_int(self, gpa: int, size: int) -> int:
        """The little-endian number of `size` bytes. Raises MemoryRangeError."""
        return int.from_bytes(self.read(gpa, size), "little")

    def write_int(self, gpa: int, size: int, value: int) -> None:
        """Store the low `size` bytes of `value`, little-endian. Raises MemoryRangeError."""
        self.write(gpa, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def fill(self, gpa: int, length: int, byte: int = 0) -> None:
        self._memory.fill(self.physical(gpa, length), length, byte)
        slot = self.find(gpa, length)
        if slot is not None and length:
            slot.touch(gpa, length)

    def physical(self, gpa: int, length: int = 1) -> int:
        """Where [gpa, gpa+length) is in the machine's memory. Raises MemoryRangeError where that is not one slot's."""
        slot = self.find(gpa, length)
        if slot is None:
            raise MemoryRangeError(
                f"{gpa:#x}..{gpa + length:#x} is not guest memory; there is: {describe(self.slots)}"
            )
        return slot.physical + gpa - slot.gpa


def describe(slots: Iterable[Slot]) -> str:
    return ", ".join(f"{slot.gpa:#x}..{slot.end:#x}" for slot in slots) or "none"
