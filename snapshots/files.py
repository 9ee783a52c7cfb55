"""Files as snapshots need them: read only if regular, replaced whole or not at all.

Errors here do not name the file; the caller puts the name in front.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from snapshots.errors import SnapshotError

Path = str | os.PathLike[str]

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_ROOM = "what was there is unchanged; make room or choose another place"
_RIGHTS = "check the permissions or choose another place"
_HINTS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}
_ABSENT = {"read": "no such file", "written": "no such folder to write to"}


def shown(path: Path) -> str:
    """The path as error messages show it: one line, printable whatever the name holds."""
    text = os.fspath(path)
    return text if text and text.isprintable() else ascii(text)


def _refuse_unless_regular(mode: int) -> None:
    for matches, kind in _KINDS:
        if matches(mode):
            raise SnapshotError(f"is {kind}, not a snapshot; name a file")


def _failed(verb: str, error: OSError | ValueError) -> SnapshotError:
    """The error for a system call that did not succeed. `verb`: "read" or "written"."""
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    if number == errno.ENOENT:
        return SnapshotError(f"{_ABSENT[verb]}; check the name")
    reason = os.strerror(number).lower() if number else str(error)
    return SnapshotError(f"cannot be {verb}: {reason}; {_HINTS.get(number, 'check the name and the disk')}")


class Source:
    """A regular file, open for reading. `size` in bytes, when it was opened."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """All of [offset, offset+length). Raises SnapshotError where the system refuses or the file ends before."""
        parts = []
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            while length:
                part = os.read(self._descriptor, length)
                if not part:
                    raise SnapshotError("became shorter while it was read; wait until it is whole and try again")
                parts.append(part)
                length -= len(part)
        except OSError as error:
            raise _failed("read", error) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Source]:
    """The regular file `path`, open for reading. Never waits at a pipe. Raises SnapshotError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _refuse_unless_regular(os.stat(path).st_mode)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _failed("read", error) from None
    try:
        _refuse_unless_regular(os.fstat(descriptor).st_mode)
        yield Source(descriptor)
    finally:
        os.close(descriptor)


class Part:
    """A file that does not have its name yet."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raises SnapshotError where the system refuses."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _failed("written", error) from None

    def commit(self, mode: int | None) -> None:
        """Everything is on the disk, with the permission bits of `mode`."""
        try:
            if mode is not None:
                os.chmod(self._descriptor, stat.S_IMODE(mode))
            os.fsync(self._descriptor)
        except OSError as error:
            raise _failed("written", error) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Part]:
    """A file to write that takes the name `path` when the block ends, synced to disk.

    Until then, and whatever the block raises, `path` stays as it was. A symbolic link is followed, the permission bits
    of a file that is replaced are kept. Raises SnapshotError where the system refuses; what the block raises passes.
    """
    try:
        target = os.path.realpath(path)
        mode = os.stat(target).st_mode if os.path.exists(target) else None
        if mode is not None:
            _refuse_unless_regular(mode)
        folder = os.path.dirname(target)
        beside = os.path.join(folder, f".snapshot-{secrets.token_hex(6)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(beside, flags, 0o666 if mode is None else 0o600)
    except (OSError, ValueError) as error:
        raise _failed("written", error) from None
    try:
        try:
            part = Part(descriptor)
            yield part
            part.commit(mode)
        finally:
            os.close(descriptor)
        try:
            os.replace(beside, target)
        except OSError as error:
            raise _failed("written", error) from None
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
