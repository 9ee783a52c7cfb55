"""The block device (virtio 1.2, "Block Device"), on a file of the host.

Unless it is named as writable, the file is only ever read: what the guest writes stays in memory, on top of it, and is
part of the machine's state.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import weakref
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, Final

from emulator.devices.fields import Number, Shape, Shown, flags
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.queue import Broken, Chain
from emulator.errors import ConfigurationError

SECTOR: Final = 512
BLOCK: Final = 4096
"""Bytes of the pieces in which written data is kept."""
QUEUE: Final = 128
SEGMENT: Final = 64 << 10
REQUEST_LIMIT: Final = 1 << 30
"""Bytes of the largest request. Drivers that did not accept `SIZE_MAX` load a whole file with one (U-Boot does)."""
PIECE: Final = 1 << 20
"""Bytes of a request that are dealt with at a time."""
SAMPLE: Final = 1 << 20
"""Bytes at either end of the file by which it is known again."""
MOST_BLOCKS: Final = 1 << 20

OK, IOERR, UNSUPP = 0, 1, 2
HEADER: Final = 16
ID_BYTES: Final = 20
SIZE_MAX, SEG_MAX, READ_ONLY, BLK_SIZE, FLUSHES = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 9
NAMES: Final = flags("", "size max", "seg max", "", "", "read-only", "block size", "", "", "flush")


class Request(IntEnum):
    """Types of requests."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8


MODES: Final = {"copy": "changes stay in memory", "ro": "read-only", "rw": "writes to the file"}


def file_and_mode(text: str, what: str) -> tuple[str, str]:
    """The file, and which of MODES, of F, "F,ro" or "F,rw". ConfigurationError where there is no F."""
    path, comma, mode = text.rpartition(",")
    if not comma or mode not in ("ro", "rw"):
        path, mode = text, "copy"
    if not path:
        raise ConfigurationError(f"{what} {text!r}: name a file")
    return path, mode


class _Blocks:
    """Written blocks in a saved state: a list of [number, contents], ascending."""

    def take(self, value: Any) -> dict[int, bytes]:
        if not isinstance(value, (list, tuple)) or len(value) > MOST_BLOCKS:
            raise ValueError(f"a list of at most {MOST_BLOCKS} blocks")
        found: dict[int, bytes] = {}
        last = -1
        for row in value:
            good = isinstance(row, (list, tuple)) and len(row) == 2 and type(row[0]) is int and type(row[1]) is bytes
            if not good or not last < row[0] < 1 << 52 or len(row[1]) != BLOCK:
                raise ValueError(f"[number, {BLOCK} bytes], ascending by number")
            last = row[0]
            found[last] = row[1]
        return found


class _Identity:
    """[size, time of change in ns, digest]."""

    def take(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) != 3 or type(value[2]) is not str or len(value[2]) != 64:
            raise ValueError("[size, time, digest]")
        return [*(Number((1 << 64) - 1).take(number) for number in value[:2]), value[2]]


class Drive(Function):
    """A disk on the file `path`. `mode`: "copy" keeps what is written in memory, "ro" refuses writes, "rw" writes to
    the file, which the user must have asked for. ConfigurationError where the file cannot be used so."""

    kind, device_id, queues = "block", 2, (QUEUE,)
    names = NAMES
    fields: Mapping[str, Shape] = {"overlay": _Blocks(), "identity": _Identity()}

    def __init__(self, path: str | os.PathLike[str], mode: str = "copy", *, trusted: bool = True) -> None:
        """`trusted` false: the mode comes from a snapshot, not from the user. The file is then not written, whatever
        it says; changes stay in memory."""
        super().__init__()
        if mode not in MODES:
            raise ConfigurationError(f"drive {path}: mode {mode!r:.20}; there are {', '.join(MODES)}")
        self.path, self.mode = os.path.abspath(os.fsdecode(path)), mode
        self.direct = mode == "rw" and trusted
        self._file = self._open()
        self.size = os.fstat(self._file).st_size
        if mode == "rw" and self.size % SECTOR:
            raise ConfigurationError(f"drive {self.path}: {self.size} bytes are no whole sectors of {SECTOR}")
        if not self.size:
            raise ConfigurationError(f"drive {self.path}: the file is empty")
        self.capacity = -(-self.size // SECTOR)
        self.features = SIZE_MAX | SEG_MAX | BLK_SIZE | FLUSHES | (READ_ONLY if mode == "ro" else 0)
        self.overlay: dict[int, bytes] = {}
        self._complained = False
        self.identity = self._identify()

    @classmethod
    def parse(cls, text: str) -> Drive:
        """As the command line has it: F, "F,ro" or "F,rw"."""
        return cls(*file_and_mode(text, "drive"))

    @classmethod
    def again(cls, **configuration: Any) -> Drive:
        return cls(**configuration | {"trusted": False})

    def _open(self) -> int:
        flags = (os.O_RDWR if self.direct else os.O_RDONLY) | getattr(os, "O_CLOEXEC", 0)
        try:
            # Looked at before it is opened, as opening some files does something.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise ConfigurationError(f"drive {self.path}: not a regular file")
            descriptor = os.open(self.path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            what = "opened for writing" if self.direct else "read"
            raise ConfigurationError(f"drive {self.path}: cannot be {what}: {reason.lower()}") from None
        weakref.finalize(self, os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"drive {self.path}: not a regular file")
        return descriptor

    def same_file(self, other: Drive) -> bool:
        return os.path.samestat(os.fstat(self._file), os.fstat(other._file))

    def about(self) -> str:
        modes = {"copy": "changes stay in memory", "ro": "read-only", "rw": "changes go into the file"}
        return f"{self.path}, {self.capacity:,} sectors, {modes[self.mode]}"

    def shown(self) -> tuple[Shown, ...]:
        return (Shown("changed", words=f"{len(self.overlay):,} blocks of {BLOCK} bytes"),)

    def configuration(self) -> dict[str, Any]:
        return {"path": self.path, "mode": self.mode}

    # --- requests ---

    def serve(self, queue: int, chain: Chain) -> int:
        header = chain.read(0, HEADER)
        room = chain.writable_size - 1
        if len(header) < HEADER or room < 0:
            raise Broken(f"a request of {len(header)} bytes with room for {room + 1}: it has a header and a status")
        kind, sector = int.from_bytes(header[:4], "little"), int.from_bytes(header[8:], "little")
        written = 0
        try:
            match kind:
                case Request.IN:
                    status, written = self._read(chain, sector, room)
                case Request.OUT:
                    status = self._write(chain, sector, chain.readable_size - HEADER)
                case Request.FLUSH:
                    status = OK
                    if self.direct:
                        os.fsync(self._file)
                case Request.GET_ID if room >= ID_BYTES:
                    status = OK
                    written = chain.write(0, os.fsencode(os.path.basename(self.path))[:ID_BYTES].ljust(ID_BYTES, b"\0"))
                case Request.GET_ID:
                    status = IOERR
                case _:
                    status = UNSUPP
        except OSError as error:
            status, written = IOERR, 0
            self._complain(error)
        chain.write(room, bytes((status,)))
        return written + 1 if written == room else written

    def _fits(self, sector: int, length: int) -> bool:
        return length <= REQUEST_LIMIT and not length % SECTOR and sector + length // SECTOR <= self.capacity

    def _read(self, chain: Chain, sector: int, length: int) -> tuple[int, int]:
        if not self._fits(sector, length):
            return IOERR, 0
        for at in range(0, length, PIECE):
            chain.write(at, self.read_bytes(sector * SECTOR + at, min(PIECE, length - at)))
        return OK, length

    def _write(self, chain: Chain, sector: int, length: int) -> int:
        if self.mode == "ro" or not self._fits(sector, length):
            return IOERR
        for at in range(0, length, PIECE):
            self.write_bytes(sector * SECTOR + at, chain.read(HEADER + at, min(PIECE, length - at)))
        return OK

    def read(self, offset: int, size: int) -> int:
        layout = (
            self.capacity.to_bytes(8, "little") + SEGMENT.to_bytes(4, "little") + (QUEUE - 2).to_bytes(4, "little")
            + bytes(4) + SECTOR.to_bytes(4, "little")
        )  # fmt: skip
        return int.from_bytes(layout[offset : offset + size], "little")

    # --- contents ---

    def read_bytes(self, offset: int, length: int) -> bytes:
        """What the guest finds there. OSError where the file cannot be read."""
        if not self.overlay:
            return self._from_file(offset, length)
        return b"".join(self._piece(number, start, end) for number, start, end in _blocks(offset, length))

    def _piece(self, number: int, start: int, end: int) -> bytes:
        block = self.overlay.get(number)
        return self._from_file(number * BLOCK + start, end - start) if block is None else block[start:end]

    def write_bytes(self, offset: int, data: bytes) -> None:
        """As the guest does: into the file or on top of it. OSError where that fails."""
        if self.direct:
            at = 0
            while at < len(data):
                put = os.pwrite(self._file, data[at:], offset + at)
                if not put:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                at += put
            return
        at = 0
        for number, start, end in _blocks(offset, len(data)):
            piece = data[at : at + end - start]
            at += end - start
            if len(self.overlay) >= MOST_BLOCKS and number not in self.overlay:
                raise OSError(errno.ENOSPC, f"changes of {MOST_BLOCKS * BLOCK >> 30} GiB are the most kept in memory")
            if len(piece) < BLOCK:
                whole = self._piece(number, 0, BLOCK)
                piece = whole[:start] + piece + whole[end:]
            self.overlay[number] = piece

    def _from_file(self, offset: int, length: int) -> bytes:
        """Bytes of the file, with zeros up to a whole block behind its end."""
        parts, at, end = [], offset, min(offset + length, self.size)
        while at < end:
            part = os.pread(self._file, end - at, at)
            if not part:
                raise OSError(errno.EIO, "it became shorter")
            parts.append(part)
            at += len(part)
        return b"".join(parts).ljust(length, b"\0")

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self.warn(f"drive {self.path}: {(error.strerror or str(error)).lower()}; the guest sees errors")

    # --- state ---

    def _identify(self) -> list[Any]:
        """Size, time of change, and a digest of both ends. Of a file that the machine writes the time says nothing,
        and would differ between equal runs."""
        about = os.fstat(self._file)
        digest = hashlib.sha256()
        try:
            for at in (0, max(0, about.st_size - SAMPLE)):
                digest.update(os.pread(self._file, SAMPLE, at))
        except OSError as error:
            self._complain(error)
        changed = 0 if self.mode == "rw" else max(0, about.st_mtime_ns)
        return [about.st_size, changed, digest.hexdigest()]

    def state(self) -> dict[str, Any]:
        if self.direct:
            self.identity = self._identify()
        return {
            "overlay": [[number, self.overlay[number]] for number in sorted(self.overlay)],
            "identity": self.identity,
        }

    def refresh(self) -> None:
        now = self._identify()
        size, _, digest = self.identity
        if now != self.identity:
            what = "size" if now[0] != size else "contents" if now[2] != digest else "time of change"
            self.warn(f"drive {self.path}: not the file it was, its {what} is another; the guest may find it damaged")
        if self.mode == "rw" and not self.direct:
            self.warn(f"drive {self.path}: was writable; from here on changes stay in memory")


def _blocks(offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of the parts of blocks that make up [offset, offset+length)."""
    end = offset + length
    while offset < end:
        number, start = divmod(offset, BLOCK)
        stop = min(BLOCK, start + end - offset)
        yield number, start, stop
        offset += stop - start
