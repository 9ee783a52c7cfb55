"""Snapshots: the whole state of a machine, in memory or in a file, to be continued bit for bit later.

    snapshots.save(machine, "before.rvs", note="before the first world switch")
    machine = snapshots.load("before.rvs")

The file format is described in snapshots.format.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snapshots.errors import SnapshotError
from snapshots.files import Path, reading, replacing, shown
from snapshots.format import LONGEST_NOTE, VIRTUAL_LIMIT, Meta, Reader, Writer
from snapshots.snapshot import (
    PAGE,
    Builder,
    MachineLike,
    Meter,
    Progress,
    Scan,
    Snapshot,
    Summary,
    capture,
    packed_state,
    rebuild,
    restore,
)

if TYPE_CHECKING:
    from emulator.machine import Machine
    from snapshots.folder import Difference, Entry, difference, listing, remove

__all__ = [
    "Difference",
    "Entry",
    "Snapshot",
    "SnapshotError",
    "SnapshotInfo",
    "Summary",
    "capture",
    "difference",
    "info",
    "listing",
    "load",
    "remove",
    "restore",
    "save",
    "verify",
]


@dataclass(frozen=True)
class SnapshotInfo:
    """What a snapshot file says of itself. Text is as it stands there: escape control characters before printing."""

    version: tuple[int, int]
    note: str
    created: int | None
    """Seconds since 1970 UTC, where the writer gave them."""
    identity: str
    """Hexadecimal digest that stands for the whole file."""
    parent: str | None
    """File name of the snapshot that this one is a difference to."""
    memory: int
    """Bytes of writable guest memory, touched or not."""
    harts: int
    vms: tuple[str, ...]
    clock: int
    """In instructions, as `executed`."""
    executed: int
    pages: int
    """Pages of 4096 bytes that hold something."""
    contents: int
    """Different ones among these pages, each of which is stored."""
    uncompressed: int
    """Bytes of page contents; `compressed`: what they take in the file."""
    compressed: int
    file_size: int


def save(
    machine: MachineLike | Snapshot,
    path: Path,
    note: str = "",
    progress: Progress | None = None,
    *,
    created: int | None = None,
) -> None:
    """Write the machine, or what was captured of one, to `path`.

    A machine must not run meanwhile; a captured one may. The file appears whole or not at all, and what was there
    before stays until then. `created`: seconds since 1970 UTC to be put into it. progress(done, total) is called in
    between; what it raises cancels, leaves `path` as it was, and passes through.

    Raises SnapshotError where the file cannot be written or the state holds what the format cannot.
    """
    with _named(path):
        if len(note) > LONGEST_NOTE:
            raise SnapshotError(f"cannot be written: a note of {len(note)} characters; the most is {LONGEST_NOTE}")
        if created is not None and (type(created) is not int or not 0 <= created < 1 << 64):
            raise SnapshotError(f"cannot be written: creation time {created}; give whole seconds since 1970")
        if isinstance(machine, Snapshot):
            parts, summary, image = machine.parts, machine.summary, machine.image
            amount = image.contents * PAGE
        else:
            parts, summary, scan = packed_state(machine), Summary.of(machine), Scan(machine)
            image, amount = scan.image, scan.touched
        # One page more than there are, for the state: the total is never 0.
        meter = Meter(progress, amount + PAGE)
        with replacing(path) as file:
            writer = Writer(file)
            writer.head(Meta(note, created, None, summary), parts)
            meter.add(PAGE)
            writer.pages(_counted(machine.chunks, meter) if isinstance(machine, Snapshot) else scan.chunks(meter))
            writer.foot(image)


def load(
    path: Path,
    progress: Progress | None = None,
    *,
    limit: int = VIRTUAL_LIMIT,
    builder: Builder | None = None,
) -> Machine:
    """A new Machine that continues where the one saved in `path` stood.

    The whole file is verified before anything is built. `limit`: bytes of guest memory, touched or not, to be accepted.
    `builder`: instead of Machine.from_state. What progress(done, total) raises cancels and passes through.

    Raises SnapshotError where the file cannot be read, is no snapshot, damaged, of another version or beyond the limit.
    """
    with _opened(path, limit) as reader:
        meta, image = reader.meta(), reader.image()
        if meta.parent is not None:
            raise SnapshotError(_parent_problem(path, meta.parent[1]))
        if image.pages * PAGE > (most := _computer_memory()):
            needed = f"{image.pages * PAGE >> 20} MiB for guest memory, of which this computer has {most >> 20} MiB"
            raise SnapshotError(f"needs {needed}; use a larger computer")
        meter = Meter(progress, reader.size_of_sections + image.pages * PAGE)
        reader.check(meter)
        machine: Machine = rebuild(reader.parts(), image, reader.chunks(image), meter, builder)
        return machine


def info(path: Path, *, limit: int = VIRTUAL_LIMIT) -> SnapshotInfo:
    """What the snapshot says of itself. Reads and checks only the parts that say it; `verify` checks all.

    Raises SnapshotError as `load` does.
    """
    with _opened(path, limit) as reader:
        return _info(reader)


def verify(path: Path, progress: Progress | None = None, *, limit: int = VIRTUAL_LIMIT) -> SnapshotInfo:
    """Check every byte of the file, and that all of it decodes and fits together, without building a machine.

    Raises SnapshotError as `load` does.
    """
    with _opened(path, limit) as reader:
        found, image = _info(reader), reader.image()
        meter = Meter(progress, reader.size_of_sections + found.uncompressed)
        reader.check(meter)
        reader.parts()
        for chunk in reader.chunks(image):
            meter.add(len(chunk))
        return found


def _counted(chunks: tuple[bytes, ...], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        meter.add(len(chunk))


def _info(reader: Reader) -> SnapshotInfo:
    meta, image = reader.meta(), reader.image()
    return SnapshotInfo(
        version=reader.version,
        note=meta.note,
        created=meta.created,
        identity=reader.identity.hex(),
        parent=meta.parent[1] if meta.parent else None,
        memory=sum(region.size for region in image.regions if region.writable),
        harts=meta.summary.harts,
        vms=meta.summary.vms,
        clock=meta.summary.clock,
        executed=meta.summary.executed,
        pages=image.pages,
        contents=image.contents,
        uncompressed=image.contents * PAGE,
        compressed=reader.compressed,
        file_size=reader.size,
    )


def _parent_problem(path: Path, name: str) -> str:
    if not os.path.exists(os.path.join(os.path.dirname(os.fspath(path)), name)):
        return f"is a difference to {shown(name)}, which is missing; put that snapshot into the same folder"
    return f"is a difference to {shown(name)}; restoring differences is not available yet"


def _computer_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 64


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the file's name in front of this package's errors."""
    try:
        yield
    except SnapshotError as error:
        raise SnapshotError(f"{shown(path)}: {error}") from error


def __getattr__(name: str) -> Any:
    """What is about several files is loaded when it is used."""
    if name in ("Difference", "Entry", "difference", "listing", "remove"):
        from snapshots import folder

        return getattr(folder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextlib.contextmanager
def _opened(path: Path, limit: int) -> Iterator[Reader]:
    with _named(path), reading(path) as source:
        yield Reader(source, limit)
