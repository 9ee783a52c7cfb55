"""Snapshots beside each other in a folder, and what one of them has that a machine has not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import snapshots
from snapshots.errors import SnapshotError
from snapshots.files import Path, reading, shown
from snapshots.format import MAGIC, VIRTUAL_LIMIT, Reader
from snapshots.snapshot import (
    CHUNK,
    DIGEST,
    PAGE,
    ZERO_PAGE,
    Image,
    MachineLike,
    Meter,
    Progress,
    RegionImage,
    packed_state,
    unpacked_state,
)

MOST_FILES = 4096
"""Entries of a folder that are looked at."""
MOST_RANGES = 64
"""Ranges of pages that differ which are told."""


@dataclass(frozen=True)
class Entry:
    """A file that begins as a snapshot does. `info` is None where it is damaged or of another version: `problem` says
    why, in one line. `modified`: nanoseconds since 1970, by the file system; `size`: bytes."""

    path: str
    modified: int
    size: int
    info: snapshots.SnapshotInfo | None
    problem: str = ""


Known = dict[str, Entry]


def listing(folder: Path, known: Known | None = None, *, limit: int = VIRTUAL_LIMIT) -> list[Entry]:
    """The snapshots in a folder, those written last first. Other files are left out, by their first bytes; of a
    snapshot only what says what it is gets read. `known`: entries of before, by path, which are taken over where the
    file is the same, and brought up to date.

    Raises SnapshotError where the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            paths = [entry.path for _, entry in zip(range(MOST_FILES), entries, strict=False)]
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SnapshotError(f"{shown(folder)}: cannot be listed: {reason.lower()}") from None
    found = [each for path in paths if (each := entry_of(path, known, limit=limit)) is not None]
    return sorted(found, key=lambda each: (-each.modified, each.path))


def entry_of(path: Path, known: Known | None = None, *, limit: int = VIRTUAL_LIMIT) -> Entry | None:
    """One file of it; None where there is none, or no snapshot."""
    name = os.fspath(path)
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None
        before = None if known is None else known.get(name)
        if before is not None and (before.modified, before.size) == (status.st_mtime_ns, status.st_size):
            return before
        with open(name, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
        info, problem = None, ""
        try:
            info = snapshots.info(name, limit=limit)
        except SnapshotError as error:
            problem = str(error).removeprefix(f"{shown(name)}: ")
        entry = Entry(name, status.st_mtime_ns, status.st_size, info, problem)
        if known is not None:
            known[name] = entry
        return entry
    return None


def remove(path: Path) -> None:
    """Delete a snapshot file. Raises SnapshotError for what is no snapshot, and where it cannot be deleted."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise SnapshotError(f"{shown(path)}: is no snapshot: delete it by other means")
        os.unlink(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SnapshotError(f"{shown(path)}: cannot be deleted: {reason}") from None


@dataclass(frozen=True)
class Difference:
    """What a snapshot has that a machine has not. `ranges`: (physical address, bytes) of the first pages of 4096 bytes
    that differ, neighbours as one; `pages` counts all. `harts`: by hart, the names in its state; `others`: names of
    devices, and of other parts of the state."""

    pages: int
    ranges: tuple[tuple[int, int], ...]
    harts: tuple[tuple[str, ...], ...]
    others: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return not (self.pages or any(self.harts) or self.others)


def difference(
    machine: MachineLike, path: Path, progress: Progress | None = None, *, limit: int = VIRTUAL_LIMIT
) -> Difference:
    """Compare a machine, which must not run meanwhile, with a snapshot file. Of the file's memory only the digests are
    read; `progress(done, total)` counts bytes of the machine's, and what it raises cancels.

    Raises SnapshotError as `load` does, and where the file is of a machine with other memory.
    """
    try:
        with reading(path) as source:
            reader = Reader(source, limit)
            if reader.meta().parent is not None:
                raise SnapshotError("is a difference to another snapshot: comparing these is not available yet")
            image, then = reader.image(), unpacked_state(reader.parts())
    except SnapshotError as error:
        raise SnapshotError(f"{shown(path)}: {error}") from error
    regions = list(machine.memory.regions)
    if [(r.name, r.base, r.size, bool(r.writable)) for r in regions] != [region.layout for region in image.regions]:
        raise SnapshotError(f"{shown(path)}: is of a machine with other memory: there is no telling what differs")
    touched = [sorted(set(machine.touched_pages(region))) for region in regions]
    meter = Meter(progress, PAGE * sum(map(len, touched)))
    pages = 0
    ranges: list[tuple[int, int]] = []
    for region, saved, ours in zip(regions, image.regions, touched, strict=True):
        for page in _pages(region, saved, image, ours, meter):
            pages += 1
            at = region.base + page * PAGE
            if ranges and sum(ranges[-1]) == at:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + PAGE)
            elif len(ranges) < MOST_RANGES:
                ranges.append((at, PAGE))
    now = unpacked_state(packed_state(machine))
    harts = tuple(tuple(_names(one, other)) for one, other in zip(now["harts"], then["harts"], strict=False))
    devices = [name for name in sorted({*now["devices"], *then["devices"]})
               if now["devices"].get(name) != then["devices"].get(name)]  # fmt: skip
    rest = sorted(key for key in {*now, *then} - {"harts", "devices"} if now.get(key) != then.get(key))
    return Difference(pages, tuple(ranges), harts, (*devices, *rest))


def _pages(region: Any, saved: RegionImage, image: Image, touched: list[int], meter: Meter) -> Iterator[int]:
    """Pages of a region that differ, ascending."""
    contents: dict[int, int] = {}
    for first, count, content, step in saved.each_run():
        contents.update((first + page, content + page * step) for page in range(count))
    view, digests, sha256 = memoryview(region.buffer), memoryview(image.digests), hashlib.sha256
    ours, passed = set(touched), 0
    for number, page in enumerate(sorted(ours.union(contents))):
        content = contents.get(page, -1)
        there = ZERO_PAGE if content < 0 else digests[content * DIGEST : (content + 1) * DIGEST]
        here = sha256(view[page * PAGE : (page + 1) * PAGE]).digest() if page in ours else ZERO_PAGE
        if here != there:
            yield page
        passed += PAGE * (page in ours)
        if number % CHUNK == CHUNK - 1:
            meter.add(passed)
            passed = 0
    meter.add(passed)


def _names(one: Any, other: Any) -> Iterator[str]:
    """Names in a hart's state that differ: registers and CSRs by their own."""
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            yield from (name for name in sorted({*a, *b}) if a.get(name) != b.get(name))
        elif key in ("x", "f") and isinstance(a, list) and isinstance(b, list):
            yield from (f"{key}{number}" for number, (v, w) in enumerate(zip(a, b, strict=False)) if v != w)
        else:
            yield key
