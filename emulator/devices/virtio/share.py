"""A folder of the host that the guest mounts (virtio 1.2, "Device Types": 9P transport), spoken to in 9P2000.L.

The virtio specification reserves the device's number; queue, feature and configuration are those of Linux's driver,
and the messages are 9P2000's with the .L changes that its file system uses. Each message is answered at once.

What differs from one computer to the next is left out: owners are 0, inode numbers come from the path, directories are
in the order of their names, free space is a constant, and times are those of the last change, in which the host's clock
shows only where the folder may be written.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import Any, Final

from emulator.devices.fields import Number, Shape
from emulator.devices.virtio.folder import Folder, OpenFile, Path
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.queue import Broken, Chain
from emulator.errors import ConfigurationError

QUEUE: Final = 128
LEAST_MESSAGE, MOST_MESSAGE = 4096, 512 << 10
"""Bytes of a message: what may be negotiated."""
MOST_FIDS: Final = 8192
MOST_OPEN: Final = 256
"""Files that are open at once: the host's descriptors are few."""
DEPTH, LONGEST_PATH, LONGEST_NAME = 128, 4096, 255
HEADER: Final = 7
ERROR_REPLY, ERROR = 11, 7
"""Bytes and type of the reply that says no."""
MOUNT_TAG: Final = 1 << 0
TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")
NO_FID, NO_ID = 0xFFFF_FFFF, 0xFFFF_FFFF
MODES: Final = {"ro": "read-only", "rw": "writes to the folder"}

FILE_SYSTEM, BLOCK, BLOCKS = 0x0102_1997, 4096, 1 << 28
"""What statfs tells of: the number of 9P file systems, and 1 TiB, whatever the host has."""
BASIC: Final = 0x7FF
"""Fields of getattr that are always given: all up to and with blocks."""


class Errno(IntEnum):
    """Linux's numbers, which the protocol uses."""

    EPERM = 1
    ENOENT = 2
    EIO = 5
    ENXIO = 6
    EBADF = 9
    EACCES = 13
    EBUSY = 16
    EEXIST = 17
    EXDEV = 18
    ENOTDIR = 20
    EISDIR = 21
    EINVAL = 22
    ENFILE = 23
    EMFILE = 24
    EFBIG = 27
    ENOSPC = 28
    EROFS = 30
    EMLINK = 31
    ENAMETOOLONG = 36
    ENOTEMPTY = 39
    ELOOP = 40
    EPROTO = 71
    EMSGSIZE = 90
    EOPNOTSUPP = 95
    ESTALE = 116
    EDQUOT = 122


OF_THE_HOST: Final = (Errno.EIO, Errno.EMFILE, Errno.ENFILE, Errno.ENOSPC, Errno.EDQUOT)
"""What the user should know of."""

ACCESS, CREATE, EXCLUSIVE, TRUNCATE, REMOVE_DIRECTORY = 3, 0o100, 0o200, 0o1000, 0x200
"""Flags as Linux's generic headers have them, not the host's."""
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME = (1 << n for n in range(6))
ATIME_GIVEN, MTIME_GIVEN = 1 << 7, 1 << 8
_HOST_ACCESS: Final = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)
_QID_TYPE: Final = {stat.S_IFDIR: 0x80, stat.S_IFLNK: 0x02}
_MASK: Final = (1 << 64) - 1
_LARGEST: Final = (1 << 63) - 1


class Refused(Exception):
    """The request fails with this number."""

    def __init__(self, number: Errno) -> None:
        self.number = number


# --- messages ---

_WIDTHS: Final = {"b": 1, "w": 2, "d": 4, "q": 8}


def pack(fields: str, *values: Any) -> bytes:
    """By letters: b, w, d, q are numbers of 1, 2, 4, 8 bytes; s a string; r bytes as they are."""
    out = bytearray()
    for field, value in zip(fields, values, strict=True):
        if field in _WIDTHS:
            out += (value & _MASK).to_bytes(8, "little")[: _WIDTHS[field]]
        else:
            out += (len(value).to_bytes(2, "little") if field == "s" else b"") + value
    return bytes(out)


def unpack(fields: str, data: bytes) -> list[Any]:
    """As `pack`; besides D, bytes after a count of 4 bytes, and N, a list of at most 16 strings. EINVAL where the
    message is too short."""
    at = 0

    def take(length: int) -> bytes:
        nonlocal at
        piece = data[at : at + length]
        at += length
        if len(piece) < length:
            raise Refused(Errno.EINVAL)
        return piece

    def number(width: int) -> int:
        return int.from_bytes(take(width), "little")

    values: list[Any] = []
    for field in fields:
        match field:
            case "s":
                values.append(take(number(2)))
            case "D":
                values.append(take(number(4)))
            case "N":
                if (count := number(2)) > 16:
                    raise Refused(Errno.EINVAL)
                values.append([take(number(2)) for _ in range(count)])
            case _:
                values.append(number(_WIDTHS[field]))
    return values


Handler = Callable[..., bytes]
MESSAGES: dict[int, tuple[str, Handler]] = {}
"""By type: the fields behind the tag, and what answers. The reply's type is one more."""


def message(kind: int, fields: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        MESSAGES[kind] = fields, handler
        return handler

    return register


# --- fids ---


@dataclass
class Fid:
    """A path that the guest holds, and what it has opened there. `access`: None, or 0 read, 1 write, 2 both. A
    directory is read on after `name`, the entry number `position`."""

    path: Path
    access: int | None = None
    directory: bool = False
    position: int = 0
    name: bytes = b""
    file: OpenFile | None = None


class _Fids:
    """Fids in a saved state: a list of [number, path, access or -1, directory, position, name], ascending."""

    def take(self, value: Any) -> dict[int, Fid]:
        if not isinstance(value, (list, tuple)) or len(value) > MOST_FIDS:
            raise ValueError(f"a list of at most {MOST_FIDS} fids")
        fids: dict[int, Fid] = {}
        last = -1
        for row in value:
            match row:
                case [int(number), bytes(path), (-1 | 0 | 1 | 2) as access, bool(directory), int(at), bytes(name)]:
                    names = tuple(path.split(b"/")) if path else ()
                    good = last < number < 1 << 32 and 0 <= at <= _LARGEST and len(name) <= LONGEST_NAME
                    if not good or not fits(names) or not all(map(is_name, names)):
                        raise ValueError("fids by number, with paths below the folder")
                    fids[number] = Fid(names, None if access < 0 else access, directory, at, name)
                    last = number
                case _:
                    raise ValueError("[number, path, access, directory, position, name]")
        return fids


def is_name(name: bytes) -> bool:
    """Whether a directory can have such an entry."""
    return name not in (b"", b".", b"..") and len(name) <= LONGEST_NAME and b"/" not in name and b"\0" not in name


def fits(path: Path) -> bool:
    return len(path) <= DEPTH and sum(map(len, path)) + len(path) <= LONGEST_PATH


class Share(Function):
    """The folder `path` under the name `tag`. `mode`: "ro", or "rw" to let the guest write there, which the user must
    have asked for. ConfigurationError where there is no such folder."""

    kind, device_id, queues, features = "share", 9, (QUEUE,), MOUNT_TAG
    fields: Mapping[str, Shape] = {"msize": Number(MOST_MESSAGE), "fids": _Fids()}

    def __init__(
        self, path: str | os.PathLike[str], mode: str = "ro", tag: str = "share", *, trusted: bool = True
    ) -> None:
        """`trusted` false: all this comes from a snapshot, not from the user. The folder is then not written, and may
        be gone."""
        super().__init__()
        self.path, self.mode, self.tag = os.path.abspath(os.fsdecode(path)), mode, tag
        if mode not in MODES:
            raise ConfigurationError(f"share {self.path}: mode {mode!r:.20}; there are {', '.join(MODES)}")
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            raise ConfigurationError(f"share {self.path}: tag {tag!r:.40}; up to 31 letters, digits, dots and dashes")
        self.writable, self.trusted = mode == "rw" and trusted, trusted
        self.folder: Folder | None = None
        self._problem = ""
        try:
            self.folder = Folder(self.path)
        except (OSError, ValueError) as error:
            self._problem = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
            if trusted:
                raise ConfigurationError(f"share {self.path}: cannot be opened: {self._problem}") from None
        self.msize = 0
        self.fids: dict[int, Fid] = {}
        self._complained: set[Errno] = set()
        self._room = 0
        """Bytes of data that the reply at hand may have."""

    @classmethod
    def parse(cls, text: str, tag: str = "share") -> Share:
        """As the command line has it: DIR, then ",ro" or ",rw" and ",tag=NAME" in any order. `tag`: if it has none."""
        path, mode = text, "ro"
        while True:
            rest, comma, option = path.rpartition(",")
            if comma and option in MODES:
                mode = option
            elif comma and option.startswith("tag="):
                tag = option.removeprefix("tag=")
            else:
                break
            path = rest
        if not path:
            raise ConfigurationError(f"share {text!r}: name a folder")
        return cls(path, mode, tag)

    @classmethod
    def parse_all(cls, texts: Iterable[str]) -> list[Share]:
        """Several, whose tags are "share", "share1", "share2" where they name none. ConfigurationError for one tag
        twice."""
        shares = [cls.parse(text, f"share{number or ''}") for number, text in enumerate(texts)]
        for number, one in enumerate(shares):
            if one.tag in (other.tag for other in shares[:number]):
                raise ConfigurationError(f"share {one.path}: another has the tag {one.tag}: write ,tag=NAME behind it")
        return shares

    @classmethod
    def again(cls, **configuration: Any) -> Share:
        return cls(**configuration | {"trusted": False})

    def about(self) -> str:
        return f"{self.path} as {self.tag!r}, {'may be written' if self.writable else 'read-only'}"

    def configuration(self) -> dict[str, Any]:
        return {"path": self.path, "mode": self.mode, "tag": self.tag}

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(pack("s", self.tag.encode())[offset : offset + size], "little")

    def reset(self) -> None:
        self._forget()
        self.msize = 0

    def _forget(self) -> None:
        for fid in self.fids.values():
            _close(fid)
        self.fids = {}

    # --- requests ---

    def serve(self, queue: int, chain: Chain) -> int:
        head = chain.read(0, HEADER)
        room = chain.writable_size
        if len(head) < HEADER or room < ERROR_REPLY:
            raise Broken(f"a message of {len(head)} bytes with room for {room}: there are at least {HEADER} and"
                         f" {ERROR_REPLY}")  # fmt: skip
        size, kind, tag = int.from_bytes(head[:4], "little"), head[4], head[5:]
        try:
            reply = self._answer(chain, size, kind, room)
            if HEADER + len(reply) > room:
                raise Refused(Errno.EMSGSIZE)
            kind += 1
        except (Refused, OSError, ValueError, OverflowError) as error:
            kind, reply = ERROR, pack("d", self._number(error))
        return chain.write(0, pack("db", HEADER + len(reply), kind) + tag + reply)

    def _answer(self, chain: Chain, size: int, kind: int, room: int) -> bytes:
        most = self.msize or LEAST_MESSAGE
        if size > most:
            raise Refused(Errno.EMSGSIZE)
        if kind not in MESSAGES:
            raise Refused(Errno.EOPNOTSUPP)
        if self.folder is None:
            raise Refused(Errno.ESTALE)
        fields, handler = MESSAGES[kind]
        values = unpack(fields, chain.read(HEADER, max(0, size - HEADER)))
        if not self.msize and handler is not Share._version:
            raise Refused(Errno.EPROTO)
        self._room = min(room, most) - ERROR_REPLY
        return handler(self, *values)

    def _number(self, error: Exception) -> Errno:
        if isinstance(error, Refused):
            return error.number
        if not isinstance(error, OSError):
            return Errno.EINVAL  # a number or name that the host's calls do not take
        name = errno.errorcode.get(error.errno or 0, "")
        number = Errno[name] if name in Errno.__members__ else Errno.EIO
        if number in OF_THE_HOST and number not in self._complained:
            self._complained.add(number)
            self.warn(f"share {self.path}: {(error.strerror or str(error)).lower()}; the guest sees errors")
        return number

    @property
    def _host(self) -> Folder:
        assert self.folder is not None
        return self.folder

    def _fid(self, number: int) -> Fid:
        if number not in self.fids:
            raise Refused(Errno.EBADF)
        return self.fids[number]

    def _below(self, number: int, name: bytes) -> Path:
        """The path of an entry in the directory that a fid stands for."""
        if not is_name(name):
            raise Refused(Errno.ENAMETOOLONG if len(name) > LONGEST_NAME else Errno.EINVAL)
        path = (*self._fid(number).path, name)
        if not fits(path):
            raise Refused(Errno.ENAMETOOLONG)
        return path

    def _file(self, number: int) -> int:
        """The descriptor of an open file."""
        fid = self._fid(number)
        if fid.access is None:
            raise Refused(Errno.EBADF)
        if fid.directory:
            raise Refused(Errno.EISDIR)
        if fid.file is None:
            raise Refused(Errno.ESTALE)
        return fid.file.descriptor

    def _add(self, number: int, fid: Fid) -> None:
        if number in self.fids or number == NO_FID:
            raise Refused(Errno.EINVAL)
        if len(self.fids) >= MOST_FIDS:
            raise Refused(Errno.EMFILE)
        self.fids[number] = fid

    def _change(self) -> None:
        """The request changes the folder."""
        if not self.writable:
            raise Refused(Errno.EROFS)

    def _stat(self, fid: Fid) -> os.stat_result:
        """Of an open file even where it has lost its name."""
        return os.fstat(fid.file.descriptor) if fid.file is not None else self._host.stat(fid.path)

    def _named(self, path: Path) -> bytes:
        return self._qid(path, self._host.stat(path))

    @staticmethod
    def _qid(path: Path, about: os.stat_result) -> bytes:
        version = about.st_mtime_ns ^ about.st_size
        return pack("bdq", _QID_TYPE.get(stat.S_IFMT(about.st_mode), 0), version, inode(path))

    # The session

    @message(100, "ds")
    def _version(self, most: int, version: bytes) -> bytes:
        self._forget()
        self.msize = 0
        if most < LEAST_MESSAGE:
            raise Refused(Errno.EMSGSIZE)
        known = version.split(b".")[0] == b"9P2000" and version.endswith(b".L")
        if known:
            self.msize = min(most, MOST_MESSAGE)
        return pack("ds", min(most, MOST_MESSAGE), b"9P2000.L" if known else b"unknown")

    @message(102, "dss")
    def _auth(self, fid: int, user: bytes, tree: bytes) -> bytes:
        raise Refused(Errno.EOPNOTSUPP)

    @message(104, "ddssd")
    def _attach(self, fid: int, auth: int, user: bytes, tree: bytes, uid: int) -> bytes:
        if auth != NO_FID or tree not in (b"", b"/"):
            raise Refused(Errno.EINVAL if auth != NO_FID else Errno.ENOENT)
        qid = self._named(())
        self._add(fid, Fid(()))
        return qid

    @message(108, "w")
    def _flush(self, tag: int) -> bytes:
        return b""

    @message(110, "ddN")
    def _walk(self, number: int, new: int, names: list[bytes]) -> bytes:
        """Each step but the first may fail without an error: the reply is then shorter, and `new` is not made."""
        fid = self._fid(number)
        if fid.access is not None:
            raise Refused(Errno.EBADF)
        path, qids = fid.path, []
        for name in names:
            try:
                if name == b"..":
                    step = path[:-1]
                elif is_name(name) and fits((*path, name)):
                    step = (*path, name)
                else:
                    raise Refused(Errno.ENAMETOOLONG if len(name) > LONGEST_NAME else Errno.ENOENT)
                qids.append(self._named(step))
            except (Refused, OSError):
                if not qids:
                    raise
                return pack("w", len(qids)) + b"".join(qids)
            path = step
        if new == number:
            fid.path = path
        else:
            self._add(new, Fid(path))
        return pack("w", len(qids)) + b"".join(qids)

    @message(120, "d")
    def _clunk(self, number: int) -> bytes:
        _close(self._fid(number))
        del self.fids[number]
        return b""

    # Files

    @message(12, "dd")
    def _open(self, number: int, flags: int) -> bytes:
        fid = self._fid(number)
        access = flags & ACCESS
        if fid.access is not None or access == ACCESS:
            raise Refused(Errno.EINVAL)
        if access or flags & TRUNCATE:
            self._change()
        about = self._host.stat(fid.path)
        fid.directory = stat.S_ISDIR(about.st_mode)
        if not fid.directory:
            fid.file = self._take(fid.path, access, os.O_TRUNC if flags & TRUNCATE else 0)
            about = os.fstat(fid.file.descriptor)
        elif access:
            raise Refused(Errno.EISDIR)
        else:
            self._host.entries(fid.path)  # whether it may be read at all
        fid.access, fid.position, fid.name = access, 0, b""
        return self._qid(fid.path, about) + pack("d", 0)

    def _take(self, path: Path, access: int, flags: int = 0, mode: int = 0) -> OpenFile:
        if sum(fid.file is not None for fid in self.fids.values()) >= MOST_OPEN:
            raise Refused(Errno.EMFILE)
        return self._host.open(path, _HOST_ACCESS[access] | flags, mode)

    @message(14, "dsddd")
    def _create(self, number: int, name: bytes, flags: int, mode: int, gid: int) -> bytes:
        """The fid, a directory before, is the new file."""
        fid, path = self._fid(number), self._below(number, name)
        self._change()
        access = flags & ACCESS
        if fid.access is not None or access == ACCESS:
            raise Refused(Errno.EINVAL)
        extra = os.O_CREAT | (os.O_EXCL if flags & EXCLUSIVE else 0) | (os.O_TRUNC if flags & TRUNCATE else 0)
        fid.file = self._take(path, access, extra, mode & 0o777)
        fid.path, fid.access, fid.directory = path, access, False
        return self._qid(path, os.fstat(fid.file.descriptor)) + pack("d", 0)

    @message(116, "dqd")
    def _read(self, number: int, offset: int, count: int) -> bytes:
        data = os.pread(self._file(number), min(count, self._room), offset)
        return pack("dr", len(data), data)

    @message(118, "dqD")
    def _write(self, number: int, offset: int, data: bytes) -> bytes:
        file = self._file(number)
        self._change()
        if offset + len(data) > _LARGEST:
            raise Refused(Errno.EFBIG)
        return pack("d", os.pwrite(file, data, offset) if data else 0)

    @message(50, "d")
    def _sync(self, number: int) -> bytes:
        fid = self._fid(number)
        if self.writable and fid.file is not None:
            os.fsync(fid.file.descriptor)
        return b""

    @message(40, "dqd")
    def _readdir(self, number: int, offset: int, count: int) -> bytes:
        """Entries are numbered as they are given. The guest goes on where it stopped even if names before have gone."""
        fid = self._fid(number)
        if fid.access is None or not fid.directory:
            raise Refused(Errno.EBADF if fid.access is None else Errno.ENOTDIR)
        found = self._host.entries(fid.path)
        rows = [(b".", stat.S_IFDIR, fid.path), (b"..", stat.S_IFDIR, fid.path[:-1])]
        start = offset
        if offset > len(rows) and offset == fid.position:
            start = len(rows) + bisect_right([entry.name for entry in found], fid.name)
        rows += [(name, kind, (*fid.path, name)) for name, kind in found[max(0, start - len(rows)) :]]
        out, room = bytearray(), min(count, self._room)
        for name, kind, path in rows[start if start < 2 else 2 :]:
            offset += 1
            row = pack("bdqqbs", _QID_TYPE.get(kind, 0), 0, inode(path), offset, kind >> 12, name)
            if len(out) + len(row) > room:
                if not out:
                    raise Refused(Errno.EINVAL)
                break
            out += row
            fid.position, fid.name = offset, name
        return pack("dr", len(out), out)

    @message(24, "dq")
    def _getattr(self, number: int, mask: int) -> bytes:
        fid = self._fid(number)
        about = self._stat(fid)
        directory = stat.S_ISDIR(about.st_mode)
        # Of directories file systems tell what they like: 1 link is "unknown".
        links, size = (1, BLOCK) if directory else (about.st_nlink, about.st_size)
        when = divmod(about.st_mtime_ns, 10**9)
        return (
            pack("q", BASIC)
            + self._qid(fid.path, about)
            + pack("ddd", about.st_mode, 0, 0)
            + pack("qqqqq", links, 0, size, BLOCK, -(-size // 512))
            + pack("qqqqqqqqqq", *when, *when, *when, 0, 0, 0, 0)
        )

    @message(26, "dddddqqqqq")
    def _setattr(
        self, number: int, valid: int, mode: int, uid: int, gid: int, size: int, atime: int, atime_ns: int,
        mtime: int, mtime_ns: int,
    ) -> bytes:  # fmt: skip
        fid = self._fid(number)
        self._change()
        if (valid & SET_UID and uid not in (0, NO_ID)) or (valid & SET_GID and gid not in (0, NO_ID)):
            raise Refused(Errno.EPERM)
        if valid & SET_SIZE:
            if size > _LARGEST:
                raise Refused(Errno.EFBIG)
            file = fid.file if fid.file is not None and fid.access else self._take(fid.path, 1)
            os.ftruncate(file.descriptor, size)
        if valid & SET_MODE:
            if fid.file is not None:
                os.fchmod(fid.file.descriptor, mode & 0o777)
            else:
                self._host.chmod(fid.path, mode & 0o777)
        if valid & (SET_ATIME | SET_MTIME):
            self._set_times(fid, valid, (atime, atime_ns), (mtime, mtime_ns))
        return b""

    def _set_times(self, fid: Fid, valid: int, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
        about = self._stat(fid)
        times = []
        for changes, given, (seconds, ns), before in (
            (SET_ATIME, ATIME_GIVEN, atime, about.st_atime_ns), (SET_MTIME, MTIME_GIVEN, mtime, about.st_mtime_ns),
        ):  # fmt: skip
            if valid & given and ns >= 10**9:
                raise Refused(Errno.EINVAL)
            signed = seconds - (1 << 64) if seconds >> 63 else seconds
            # Without a time of the guest's own it is the server's: the host's clock, as for what is written.
            times.append(before if not valid & changes else signed * 10**9 + ns if valid & given else time.time_ns())
        if fid.file is not None:
            os.utime(fid.file.descriptor, ns=(times[0], times[1]))
        else:
            self._host.utime(fid.path, (times[0], times[1]))

    @message(22, "d")
    def _readlink(self, number: int) -> bytes:
        return pack("s", self._host.readlink(self._fid(number).path))

    @message(8, "d")
    def _statfs(self, number: int) -> bytes:
        self._fid(number)
        free = BLOCKS if self.writable else 0
        return pack("ddqqqqqqd", FILE_SYSTEM, BLOCK, BLOCKS, free, free, BLOCKS, free, 0, LONGEST_NAME)

    @message(30, "dds")
    def _xattrwalk(self, number: int, new: int, name: bytes) -> bytes:
        self._fid(number)
        raise Refused(Errno.EOPNOTSUPP)

    @message(52, "dbdqqds")
    def _lock(self, number: int, kind: int, flags: int, start: int, length: int, owner: int, client: bytes) -> bytes:
        """One guest has the folder: its own kernel keeps its locks."""
        self._fid(number)
        return pack("b", 0)

    @message(54, "dbqqds")
    def _getlock(self, number: int, kind: int, start: int, length: int, owner: int, client: bytes) -> bytes:
        self._fid(number)
        return pack("bqqds", 2, start, length, owner, client)  # F_UNLCK: nobody else's

    # Names

    @message(72, "dsdd")
    def _mkdir(self, number: int, name: bytes, mode: int, gid: int) -> bytes:
        path = self._below(number, name)
        self._change()
        self._host.mkdir(path, mode & 0o777)
        return self._named(path)

    @message(16, "dssd")
    def _symlink(self, number: int, name: bytes, target: bytes, gid: int) -> bytes:
        path = self._below(number, name)
        self._change()
        self._host.symlink(path, target)
        return self._named(path)

    @message(18, "dsdddd")
    def _mknod(self, number: int, name: bytes, mode: int, major: int, minor: int, gid: int) -> bytes:
        raise Refused(Errno.EPERM)

    @message(70, "dds")
    def _link(self, directory: int, number: int, name: bytes) -> bytes:
        path, fid = self._below(directory, name), self._fid(number)
        self._change()
        self._host.link(fid.path, path)
        return b""

    @message(20, "dds")
    def _rename(self, number: int, directory: int, name: bytes) -> bytes:
        self._move(self._fid(number).path, self._below(directory, name))
        return b""

    @message(74, "dsds")
    def _renameat(self, old: int, old_name: bytes, new: int, name: bytes) -> bytes:
        self._move(self._below(old, old_name), self._below(new, name))
        return b""

    def _move(self, old: Path, new: Path) -> None:
        """Whoever holds what moves goes with it."""
        self._change()
        if not old:
            raise Refused(Errno.EBUSY)
        moved = [fid for fid in self.fids.values() if fid.path[: len(old)] == old]
        if not all(fits(new + fid.path[len(old) :]) for fid in moved):
            raise Refused(Errno.ENAMETOOLONG)
        self._host.rename(old, new)
        for fid in moved:
            fid.path = new + fid.path[len(old) :]

    @message(76, "dsd")
    def _unlinkat(self, number: int, name: bytes, flags: int) -> bytes:
        path = self._below(number, name)
        self._change()
        self._host.remove(path, directory=bool(flags & REMOVE_DIRECTORY))
        return b""

    @message(122, "d")
    def _remove(self, number: int) -> bytes:
        """The fid is gone in any case."""
        path = self._fid(number).path
        self._clunk(number)
        self._change()
        if not path:
            raise Refused(Errno.EBUSY)
        self._host.remove(path, directory=stat.S_ISDIR(self._host.stat(path).st_mode))
        return b""

    # --- state ---

    def state(self) -> dict[str, Any]:
        rows = []
        for number, fid in sorted(self.fids.items()):
            access = -1 if fid.access is None else fid.access
            rows.append([number, b"/".join(fid.path), access, fid.directory, fid.position, fid.name])
        return {"msize": self.msize, "fids": rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        before = self.fids
        super().restore(state)
        for fid in before.values():
            _close(fid)

    def refresh(self) -> None:
        """Open again what the guest had open."""
        if not self.trusted:
            self._tell()
        lost = []
        for fid in self.fids.values():
            if fid.access is not None and not fid.directory and fid.file is None and self.folder is not None:
                try:
                    fid.file = self._take(fid.path, fid.access if self.writable else 0)
                except (Refused, OSError):
                    lost.append(fid.path)
        if lost:
            name = os.fsdecode(b"/".join(lost[0])) + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
            self.warn(f"share {self.path}: {name} cannot be opened again; the guest sees errors")

    def _tell(self) -> None:
        if self.folder is None:
            self.warn(f"share {self.path}: cannot be opened: {self._problem}; the guest sees errors")
        elif self.mode == "rw":
            self.warn(f"share {self.path}: was writable; from here on it is read-only")
        else:
            self.warn(f"share {self.path}: the guest of this snapshot reads that folder")


def inode(path: Path) -> int:
    """The same wherever the folder lies."""
    return int.from_bytes(blake2b(b"/".join(path), digest_size=8).digest(), "little")


def _close(fid: Fid) -> None:
    if fid.file is not None:
        with suppress(OSError):
            fid.file.close()
        fid.file = None
