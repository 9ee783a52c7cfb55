"""Split virtqueues, the device's side (virtio 1.2, "Split Virtqueues").

Everything in a ring was written by the guest. Every address is checked against memory before it is used, a chain is
as long as the queue at most, and a ring is looked at once per notification, so that no guest makes this loop. What
breaks a rule raises `Broken` with the reason; the transport then asks for a reset, and the machine goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from emulator.devices.fields import Flag, Number, Shape, Stateful

NEXT, WRITE, INDIRECT = 1, 2, 4
"""Flags of a descriptor."""
NO_INTERRUPT: Final = 1
DESCRIPTOR: Final = 16
"""Bytes of one."""
_ADDRESS: Final = (1 << 64) - 1
_INDEX: Final = 0xFFFF

Buffer = tuple[int, int]
"""Address and bytes of guest memory."""


class Piece(Protocol):
    @property
    def writable(self) -> bool: ...


class Space(Protocol):
    """The memory that the driver's addresses mean: a machine's, or that of a VM."""

    def find(self, address: int, length: int = 1, /) -> Piece | None: ...
    def read(self, address: int, length: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> None: ...
    def read_int(self, address: int, size: int, /) -> int: ...
    def write_int(self, address: int, size: int, value: int, /) -> None: ...


class Broken(Exception):
    """The driver broke a rule of the queue: what it was."""


class Queue(Stateful):
    """One queue as the driver has set it up: `size` entries; `descriptors`, `available` (the specification's driver
    area) and `used` (device area) are physical addresses; `seen` and `done` count chains taken and returned, modulo
    65536."""

    fields: Mapping[str, Shape] = {
        "size": Number(0xFFFF_FFFF),
        "ready": Flag(),
        "descriptors": Number(_ADDRESS),
        "available": Number(_ADDRESS),
        "used": Number(_ADDRESS),
        "seen": Number(_INDEX),
        "done": Number(_INDEX),
    }

    def __init__(self, name: str, most: int) -> None:
        """`most`: entries that the device supports."""
        self.name, self.most = name, most
        self.reset()

    def reset(self) -> None:
        self.size, self.ready = self.most, False
        self.descriptors = self.available = self.used = 0
        self.seen = self.done = 0


class Chain:
    """A request: buffers that the device reads, then buffers that it writes, all of them checked to be memory.

    Drivers may cut both as they like ("Message Framing"), so that a device sees two streams of bytes.
    """

    def __init__(self, memory: Space, head: int) -> None:
        self.memory, self.head = memory, head
        self.readable: list[Buffer] = []
        self.writable: list[Buffer] = []

    @property
    def readable_size(self) -> int:
        return sum(length for _, length in self.readable)

    @property
    def writable_size(self) -> int:
        return sum(length for _, length in self.writable)

    def read(self, offset: int, length: int) -> bytes:
        """What the driver sends, from `offset` on; less than `length` bytes where it ends before."""
        return b"".join(self.memory.read(*piece) for piece in _pieces(self.readable, offset, length))

    def write(self, offset: int, data: bytes) -> int:
        """Answer, from `offset` on; returns how many bytes there was room for."""
        at = 0
        for address, length in _pieces(self.writable, offset, len(data)):
            self.memory.write(address, data[at : at + length])
            at += length
        return at


def _pieces(buffers: list[Buffer], offset: int, length: int) -> Iterator[Buffer]:
    """The parts of buffers that make up [offset, offset+length) of the stream."""
    for address, size in buffers:
        here = min(size - offset, length)
        if here > 0:
            yield address + offset, here
            length -= here
        offset = max(0, offset - size)
        if not length:
            return


class Ring:
    """A queue that is ready, for the time of one notification."""

    def __init__(self, memory: Space, queue: Queue, *, indirect: bool, events: bool) -> None:
        """`indirect`, `events`: the driver accepted indirect descriptors, and notifications by index."""
        self.memory, self.queue, self.indirect, self.events = memory, queue, indirect, events
        size = queue.size
        if not 0 < size <= queue.most or size & size - 1:
            raise Broken(f"its size is {size}, which is no power of two up to {queue.most}")
        extra = 2 if events else 0
        for what, address, length, alignment, writable in (
            ("descriptor table", queue.descriptors, DESCRIPTOR * size, 16, False),
            ("available ring", queue.available, 4 + 2 * size + extra, 2, False),
            ("used ring", queue.used, 4 + 8 * size + extra, 4, True),
        ):
            if address % alignment:
                raise Broken(f"its {what} is at {address:#x}, which is not a multiple of {alignment}")
            self._check(what, address, length, writable)
        self.done = queue.done
        """`done` when the notification came."""
        self.target = queue.seen
        """The driver's index as it was then."""

    def begin(self) -> None:
        """Look how far the driver has come."""
        self.target = self._get(self.queue.available + 2, 2)
        if self.waiting > self.queue.size:
            raise Broken(f"its available index is {self.waiting} ahead of a queue of {self.queue.size} entries")

    def _check(self, what: str, address: int, length: int, writable: bool) -> None:
        region = self.memory.find(address, length)
        if region is None or (writable and not region.writable):
            problem = "not memory" if region is None else "read-only"
            raise Broken(f"its {what} at {address:#x}, {length} bytes, is {problem}")

    def _get(self, address: int, size: int) -> int:
        return self.memory.read_int(address, size)

    @property
    def waiting(self) -> int:
        """Chains that the driver has offered and the device has not taken."""
        return self.target - self.queue.seen & _INDEX

    def peek(self) -> Chain:
        """The next chain that waits."""
        queue = self.queue
        head = self._get(queue.available + 4 + 2 * (queue.seen % queue.size), 2)
        if head >= queue.size:
            raise Broken(f"its available ring names descriptor {head} of {queue.size}")
        chain = Chain(self.memory, head)
        rest = self._follow(chain, queue.descriptors, queue.size, head, self.indirect)
        if rest is not None:
            self._follow(chain, rest[0], rest[1] // DESCRIPTOR, 0, False)
        return chain

    def _follow(self, chain: Chain, table: int, entries: int, at: int, indirect: bool) -> Buffer | None:
        """Add the buffers of a chain in a table, from descriptor `at` on. It may end with an indirect table, which is
        returned, where `indirect` allows one."""
        for _ in range(entries):
            word = self.memory.read(table + DESCRIPTOR * at, DESCRIPTOR)
            address, length = int.from_bytes(word[:8], "little"), int.from_bytes(word[8:12], "little")
            flags, following = int.from_bytes(word[12:14], "little"), int.from_bytes(word[14:], "little")
            if flags & INDIRECT:
                return self._table(at, address, length, flags, indirect)
            if length:
                self._check("buffer", address, length, bool(flags & WRITE))
            if flags & WRITE:
                chain.writable.append((address, length))
            elif chain.writable:
                raise Broken(f"descriptor {at} is for reading but follows one for writing")
            else:
                chain.readable.append((address, length))
            if not flags & NEXT:
                return None
            if following >= entries:
                raise Broken(f"descriptor {at} leads to {following}, where the table has {entries}")
            at = following
        raise Broken(f"a chain of more than {entries} descriptors, which are all that its table has: a loop")

    def _table(self, at: int, address: int, length: int, flags: int, allowed: bool) -> Buffer:
        """The indirect table that a descriptor names: its WRITE is ignored, and it may be larger than the ring."""
        if not allowed or flags & NEXT:
            why = "with NEXT set" if allowed else "which is not negotiated, or stands in one itself"
            raise Broken(f"descriptor {at} is an indirect table, {why}")
        entries, rest = divmod(length, DESCRIPTOR)
        if rest or not 0 < entries <= self.queue.most:
            raise Broken(f"an indirect table of {length} bytes: it has 1 to {self.queue.most} entries of 16 bytes")
        self._check("indirect table", address, length, False)
        return address, length

    def take(self, chain: Chain, written: int) -> None:
        """Return the chain of `peek` to the driver, with `written` bytes from its first writable buffer on."""
        queue = self.queue
        queue.seen = queue.seen + 1 & _INDEX
        at = queue.used + 4 + 8 * (queue.done % queue.size)
        self.memory.write(at, chain.head.to_bytes(4, "little") + written.to_bytes(4, "little"))
        queue.done = queue.done + 1 & _INDEX
        self.memory.write_int(queue.used + 2, 2, queue.done)

    def finish(self) -> bool:
        """The notification is dealt with. Whether the driver wants an interrupt for what was returned
        ("Used Buffer Notification Suppression", "Available Buffer Notification Suppression")."""
        queue = self.queue
        if self.events:
            self.memory.write_int(queue.used + 4 + 8 * queue.size, 2, self.target)
        returned = queue.done - self.done & _INDEX
        if not returned:
            return False
        if not self.events:
            return not self._get(queue.available, 2) & NO_INTERRUPT
        event = self._get(queue.available + 4 + 2 * queue.size, 2)
        return queue.done - event - 1 & _INDEX < returned
