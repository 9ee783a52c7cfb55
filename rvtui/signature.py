"""The memory signature that conformance suites compare: what lies between begin_signature and end_signature."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.errors import LoadError
from emulator.loader import Image
from emulator.memory import Memory
from rvtui import machines

WORD = 4  # bytes a line, unless asked for otherwise


@dataclass(frozen=True)
class Signature:
    """Bytes [start, end) of memory, for the file `path`, `width` bytes a line."""

    path: str
    start: int
    end: int
    width: int

    @classmethod
    def of(cls, path: str, image: Image, memory: Memory, width: int) -> Signature:
        """Everything that could keep it from being written is found here, before the run."""
        if image.signature is None:
            raise LoadError(f"{image.name}: --signature needs its symbols begin_signature and end_signature")
        start, end = image.signature
        if end <= start:
            raise LoadError(f"{image.name}: end_signature ({end:#x}) is not behind begin_signature ({start:#x})")
        if memory.find(start, end - start) is None:
            raise LoadError(f"{image.name}: its signature ({start:#x}..{end:#x}) is not in RAM")
        machines.check_writable(path)
        return cls(path, start, end, width)

    def text(self, memory: Memory) -> str:
        """A line is a little-endian number, most significant digit first; above the end, it is filled with zeros."""
        data = memory.read(self.start, self.end - self.start)
        lines = range(0, len(data), self.width)
        return "".join(f"{int.from_bytes(data[at : at + self.width], 'little'):0{2 * self.width}x}\n" for at in lines)

    def write(self, memory: Memory) -> None:
        machines.write_file(self.path, self.text(memory).encode())
