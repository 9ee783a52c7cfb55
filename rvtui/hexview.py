"""Memory as people look at it: parts of a range with what they lead to, and rows of bytes beside their text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emulator.addressspace import letters
from emulator.errors import TranslationError
from emulator.hart import Mode, Walk
from emulator.hart.hart import WalkResult
from emulator.isa import pages
from rvtui.spaces import Place, Trail
from rvtui.text import size

LISTED = 12
"""Ranges without memory that a message names."""


@dataclass(frozen=True)
class Gap:
    """A range without memory: `offset` is from where one looked."""

    place: Place
    offset: int
    size: int
    brief: str
    why: str

    @property
    def text(self) -> str:
        first = self.place.at(self.offset)
        last = first.at(self.size - 1).address
        return f"{first.spelt()}..{last:#x} ({self.size:,} byte{'s' * (self.size != 1)}): {self.brief}"

    @property
    def data(self) -> dict[str, Any]:
        return {"address": hex(self.place.at(self.offset).address), "size": self.size, "why": self.brief}


class Gaps:
    """Ranges without memory as they are met, neighbours for the same reason as one; the first are kept."""

    def __init__(self) -> None:
        self.found: list[Gap] = []
        self.more = self.size = 0
        self._last: Gap | None = None

    def add(self, place: Place, offset: int, trail: Trail) -> None:
        last = self._last
        self.size += trail.size
        if last is not None and last.offset + last.size == offset and last.brief == trail.brief and place == last.place:
            self._last = Gap(place, last.offset, last.size + trail.size, last.brief, last.why)
            if self.found[-1] is last:
                self.found[-1] = self._last
            return
        self._last = Gap(place, offset, trail.size, trail.brief, trail.why)
        if len(self.found) < LISTED:
            self.found.append(self._last)
        else:
            self.more += 1

    def lines(self, what: str) -> list[str]:
        told = [f"{what}: {gap.text}" for gap in self.found]
        return told + ([f"{what}: {self.more:,} more such ranges"] if self.more else [])

    @property
    def data(self) -> list[dict[str, Any]]:
        return [gap.data for gap in self.found]

    def refuse(self, length: int) -> None:
        """Raises TranslationError where there are any: of `length` bytes all must be memory."""
        if not self.found:
            return
        if self.size == length and not self.more and len(self.found) == 1:
            raise TranslationError(self.found[0].why)
        named = "; ".join(gap.text for gap in self.found[:3])
        more = len(self.found) + self.more - 3
        named += f"; and {more:,} more ranges" if more > 0 else ""
        raise TranslationError(f"{self.size:,} of {length:,} bytes are no memory: {named}")


@dataclass(frozen=True)
class Part:
    """Bytes from `address` on, or why there are none: `trail` is that of the first one."""

    address: int
    size: int
    data: bytes | None
    trail: Trail
    region: str = ""
    """Of what it is a part: memory or a device, by name."""


def parts(place: Place, length: int) -> Iterator[Part]:
    """What a range holds; neighbours without memory for the same reason are one part. The caller bounds `length`."""
    held: Part | None = None
    for offset, trail in place.trails(length):
        at = place.at(offset).address
        if trail.piece is None:
            if held is not None and held.trail.brief == trail.brief:
                held = Part(held.address, held.size + trail.size, None, held.trail, held.region)
                continue
            if held is not None:
                yield held
            held = Part(at, trail.size, None, trail, region_of(place, trail))
            continue
        if held is not None:
            yield held
            held = None
        memory, where, count = trail.piece
        yield Part(at, count, memory.read(where, count), trail, region_of(place, trail))
    if held is not None:
        yield held


def region_of(place: Place, trail: Trail) -> str:
    """What lies there: "ram", "flash0", "device uart"; "" where nothing does."""
    if trail.device:
        return f"device {trail.device}"
    if trail.physical is None:
        return ""
    region = place.machine.memory.find(trail.physical)
    return region.name if region is not None else ""


# What a walk found.


def rights(walk: Walk | None) -> list[tuple[str, str]]:
    """Of each stage that translates its name, and the bits of the leaf with its size: ("G", "rwxu-ad 4 KiB")."""
    if walk is None:
        return []
    found = []
    for stage, name in ((0, "VS" if walk.world.mode.virtual else walk.world.mode.name), (1, "G")):
        leaves = [
            step
            for step in walk.steps
            if step.stage == stage and step.result is WalkResult.LEAF and (not stage or step.nested is None)
        ]
        if leaves:
            pte = leaves[-1].pte
            text = letters(pte & 0xFF | pte & ~pages.PPN & ~0x3FF)
            found.append((name, f"{text} {size(1 << pages.bits(pte, leaves[-1].level))}"))
    return found


def way(space: str, address: int, trail: Trail) -> list[tuple[str, str]]:
    """The address in each space that it goes through, each after the space's name."""
    steps = [(space, f"{address:x}")]
    if space == "va" and trail.guest_physical is not None:
        steps.append(("gpa", f"{trail.guest_physical:x}"))
    if space != "pa" and trail.physical is not None:
        steps.append(("pa", f"{trail.physical:x}"))
    return steps


def mode_of(trail: Trail) -> Mode | None:
    """Whose access it was."""
    return trail.walk.world.mode if trail.walk is not None else None


# Rows.


def text_of(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)


def dump_lines(place: Place, length: int) -> Iterator[str]:
    """16 bytes a row, as a hex dump; a range without memory is a row that says why."""
    found: dict[int, bytes] = {}
    for part in parts(place, length):
        if part.data is None:
            yield from _rows(place, found)
            found = {}
            last = place.at(part.address - place.address + part.size - 1).address
            yield f"{place.spelt(part.address)}..{last:#x}:  {part.trail.brief}"
        else:
            found[part.address] = part.data
    yield from _rows(place, found)


def _rows(place: Place, found: dict[int, bytes]) -> Iterator[str]:
    if not found:
        return
    start, data = next(iter(found)), b"".join(found.values())
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        digits = f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}"
        yield f"{place.spelt(place.at(start - place.address + at).address)}:  {digits}  {text_of(row)}"
