"""A machine's state in memory: captured, and built into a machine again."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from emulator.errors import EmulatorError
from snapshots.errors import SnapshotError
from snapshots.plain import first_difference, pack, unpack

if TYPE_CHECKING:
    from emulator.machine import Machine

State = dict[str, Any]
Progress = Callable[[int, int], None]

PAGE = 4096
CHUNK = 256
"""Page contents per chunk; a chunk is compressed as one."""

DIGEST = 32
"""Bytes of a SHA-256 digest."""

_MISFIT = "it is damaged or from another version of rvtui"
ZERO_PAGE = hashlib.sha256(bytes(PAGE)).digest()


class MachineLike(Protocol):
    """What is needed of emulator.machine.Machine, so that anything that keeps this contract can be saved."""

    @property
    def memory(self) -> Any: ...
    @property
    def harts(self) -> Sequence[Any]: ...
    @property
    def clock(self) -> int: ...
    @property
    def executed(self) -> int: ...

    def state(self) -> State: ...
    def touched_pages(self, region: Any, /) -> Iterable[int]: ...


Parts = dict[str, bytes]
"""A packed state: each of STATE_PARTS as one msgpack object."""

_APART: dict[str, type] = {"harts": list, "devices": dict}
STATE_PARTS = ("machine", *_APART)
"""How a state is divided: "machine" holds the entries that have no part of their own."""

Builder = Callable[[State], Any]
"""From a state to a machine with empty memory, as Machine.from_state."""


@dataclass(frozen=True)
class Summary:
    """What a list of snapshots shows of the machine."""

    harts: int
    vms: tuple[str, ...]
    clock: int
    executed: int

    @classmethod
    def of(cls, machine: MachineLike) -> Summary:
        """Of a machine, or of what can be saved as one."""
        vms = getattr(getattr(machine, "host", None), "vms", ())
        return cls(len(machine.harts), tuple(vm.name for vm in vms), machine.clock, machine.executed)


@dataclass
class RegionImage:
    """A region of physical memory and which contents its pages hold.

    `runs` is flat, four numbers per run: first page (index in the region), pages, first content, step. Page first+i
    holds content first_content + i*step, step 0 or 1. Runs ascend and do not overlap; pages in no run are zero.
    """

    name: str
    base: int
    size: int
    writable: bool
    runs: array[int] = field(default_factory=lambda: array("I"))

    def each_run(self) -> Iterator[tuple[int, int, int, int]]:
        numbers = iter(self.runs)
        return zip(numbers, numbers, numbers, numbers, strict=True)

    def add(self, page: int, content: int) -> None:
        """Page `page`, above all before, holds `content`."""
        runs = self.runs
        if runs:
            first, count, start, step = runs[-4:]
            if page == first + count:
                if count == 1 and content == start:
                    step = 0
                if content == start + count * step:
                    runs[-3], runs[-1] = count + 1, step
                    return
        runs.extend((page, 1, content, 1))

    @property
    def layout(self) -> tuple[str, int, int, bool]:
        return self.name, self.base, self.size, self.writable


@dataclass
class Image:
    """Memory without the contents themselves: where each lies, and the SHA-256 digest of each, one after the other."""

    regions: list[RegionImage]
    digests: bytearray = field(default_factory=bytearray)

    @property
    def contents(self) -> int:
        return len(self.digests) // DIGEST

    @property
    def pages(self) -> int:
        """Pages that hold some content."""
        return sum(sum(region.runs[1::4]) for region in self.regions)

    @property
    def size(self) -> int:
        """Bytes of memory, touched or not."""
        return sum(region.size for region in self.regions)


@dataclass(frozen=True)
class Snapshot:
    """A machine as it was, independent of it. `chunks` holds the page contents, CHUNK to each but the last."""

    parts: Parts
    summary: Summary
    image: Image
    chunks: tuple[bytes, ...]


class Meter:
    """Calls progress(done, total) as work is done; what that raises cancels the work."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total
        self.add(0)

    def add(self, amount: int) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress(self._done, self._total)


class Scan:
    """One pass over a machine's touched memory. The machine must not run meanwhile.

    `image` is complete once `chunks()` is exhausted. `touched`: bytes that the pass will look at.
    """

    def __init__(self, machine: MachineLike) -> None:
        self.image = Image([])
        self._pages: list[tuple[RegionImage, Any, list[int]]] = []
        for region in machine.memory.regions:
            image = RegionImage(region.name, region.base, region.size, bool(region.writable))
            if region.size % PAGE:
                raise SnapshotError(
                    f"memory region {region.name!r}: size {region.size:#x} is no multiple of {PAGE}; round it up"
                )
            self.image.regions.append(image)
            self._pages.append((image, region.buffer, sorted(set(machine.touched_pages(region)))))
        self.touched = PAGE * sum(len(pages) for _, _, pages in self._pages)

    def chunks(self, meter: Meter) -> Iterator[bytes]:
        """The page contents, each once, in chunks. A zero page, or one seen before, costs its digest only."""
        known = {ZERO_PAGE: -1}
        fresh: list[memoryview] = []
        passed = 0
        sha256, digests = hashlib.sha256, self.image.digests
        for image, buffer, pages in self._pages:
            view = memoryview(buffer)
            for page in pages:
                content = view[page * PAGE : (page + 1) * PAGE]
                digest = sha256(content).digest()
                index = known.get(digest)
                passed += PAGE
                if index is None:
                    index = known[digest] = len(known) - 1
                    digests += digest
                    fresh.append(content)
                if index >= 0:
                    image.add(page, index)
                if len(fresh) == CHUNK:
                    yield b"".join(fresh)
                    fresh.clear()
                if passed >= CHUNK * PAGE:
                    meter.add(passed)
                    passed = 0
        if fresh:
            yield b"".join(fresh)
        meter.add(passed)


def capture(machine: MachineLike) -> Snapshot:
    """The machine as it is now, memory included. It must not run meanwhile; afterwards it may do what it likes.

    Raises SnapshotError where the state holds what a snapshot cannot.
    """
    parts, summary, scan = packed_state(machine), Summary.of(machine), Scan(machine)
    chunks = tuple(scan.chunks(Meter(None, 0)))
    return Snapshot(parts, summary, scan.image, chunks)


def restore(snapshot: Snapshot, builder: Builder | None = None) -> Machine:
    """A new machine that continues bit for bit where the captured one stood.

    `builder`: instead of Machine.from_state. Raises SnapshotError where the machine does not take all of it over.
    """
    machine: Machine = rebuild(snapshot.parts, snapshot.image, snapshot.chunks, Meter(None, 0), builder)
    return machine


def packed_state(machine: MachineLike) -> Parts:
    """machine.state(), packed. Raises SnapshotError naming what cannot be saved."""
    state = machine.state()
    for name, kind in _APART.items():
        if type(state.get(name)) is not kind:
            raise SnapshotError(f"the machine's state cannot be saved: it has no {kind.__name__} named {name!r}")
    rest = {key: value for key, value in state.items() if key not in _APART}
    try:
        return {"machine": pack(rest, "machine")} | {name: pack(state[name], name) for name in _APART}
    except ValueError as error:
        raise SnapshotError(f"the machine's state cannot be saved: {error}") from None


def unpacked_state(parts: Parts) -> State:
    """What packed_state() was given. Raises ValueError, naming what is wrong."""
    state = unpack(parts["machine"], "machine")
    if not isinstance(state, dict):
        raise ValueError(f"machine is {type(state).__name__}, not dict")
    for name, kind in _APART.items():
        if name in state:
            raise ValueError(f"machine holds {name!r}, which is a part of its own")
        state[name] = unpack(parts[name], name)
        if not isinstance(state[name], kind):
            raise ValueError(f"{name} is {type(state[name]).__name__}, not {kind.__name__}")
    return state


def rebuild(parts: Parts, image: Image, chunks: Iterable[bytes], meter: Meter, builder: Builder | None) -> Any:
    """Build the machine, write its memory, and check that it then reports the same state. Raises SnapshotError."""
    machine = _built(unpacked_state(parts), builder)
    layouts = [(region.name, region.base, region.size, bool(region.writable)) for region in machine.memory.regions]
    if layouts != [region.layout for region in image.regions]:
        raise SnapshotError("is damaged: its memory is not that of the machine it describes; take another copy of it")
    pieces = _pieces(image)
    write = machine.memory.write
    at = 0
    for number, chunk in enumerate(chunks):
        view = memoryview(chunk)
        written = 0
        while at < len(pieces) and pieces[at][0] < (number + 1) * CHUNK:
            content, address, count, step = pieces[at]
            offset = (content - number * CHUNK) * PAGE
            if step:
                write(address, view[offset : offset + count * PAGE])
            else:
                _repeat(write, address, bytes(view[offset : offset + PAGE]), count)
            written += count * PAGE
            at += 1
        meter.add(written)
    _check_taken_over(parts, packed_state(machine))
    return machine


def _check_taken_over(expected: Parts, actual: Parts) -> None:
    for name in STATE_PARTS:
        # Bytes may differ by the order of keys alone.
        if expected[name] != actual[name] and (
            place := first_difference(unpack(expected[name], name), unpack(actual[name], name), name)
        ):
            raise SnapshotError(f"the machine did not take over {place}; {_MISFIT}")


def _built(state: State, builder: Builder | None) -> Any:
    if builder is None:
        # Here, so that what only reads files does not load the native hart.
        from emulator.machine import Machine

        builder = Machine.from_state
    try:
        return builder(state)
    except EmulatorError as error:
        raise SnapshotError(f"no machine can be built from it: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
        # The state is plain but not what the machine's devices and harts expect.
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise SnapshotError(f"no machine can be built from it: {reason}; {_MISFIT}") from error
    except (MemoryError, OSError) as error:
        reason = " ".join(str(error).split()) or "not enough memory"
        raise SnapshotError(f"no machine can be built from it: {reason}; close other programs") from error


def _pieces(image: Image) -> list[tuple[int, int, int, int]]:
    """(content, physical address, pages, step) of all runs, cut at chunk borders, by ascending content."""
    pieces = []
    for region in image.regions:
        for first, count, content, step in region.each_run():
            address = region.base + first * PAGE
            while step and content % CHUNK + count > CHUNK:
                part = CHUNK - content % CHUNK
                pieces.append((content, address, part, 1))
                content, address, count = content + part, address + part * PAGE, count - part
            pieces.append((content, address, count, step))
    pieces.sort()
    return pieces


def _repeat(write: Callable[[int, Any], None], address: int, page: bytes, count: int) -> None:
    block = memoryview(page * min(count, CHUNK))
    while count > 0:
        pages = min(count, CHUNK)
        write(address, block[: pages * PAGE])
        address, count = address + pages * PAGE, count - pages
