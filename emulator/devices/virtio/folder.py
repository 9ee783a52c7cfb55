"""A directory of the host, and nothing outside of it.

Paths are tuples of names below it. Each step is opened from the one before, symbolic links are never followed and ".."
is never handed to the system: whatever a guest asks for, and whoever moves things about meanwhile, stays inside.
"""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from collections.abc import Iterator
from typing import Final, NamedTuple

Path = tuple[bytes, ...]

_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_STEP: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


class Special(OSError):
    """Neither a file nor a directory nor a link: a pipe, a device, a socket. It is not opened."""


class Entry(NamedTuple):
    name: bytes
    kind: int
    """The file type bits of st_mode; 0 for what is none of file, directory and link."""


class OpenFile:
    """A regular file's descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.close = weakref.finalize(self, os.close, descriptor)


class Folder:
    """Methods raise OSError as the system calls do whose names they have."""

    def __init__(self, path: str) -> None:
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._root)

    @contextlib.contextmanager
    def _parent(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """(descriptor of the directory, name in it) of `path`."""
        at = self._root
        try:
            for name in path[:-1]:
                following = os.open(name, _STEP, dir_fd=at)
                if at != self._root:
                    os.close(at)
                at = following
            yield at, path[-1] if path else b"."
        finally:
            if at != self._root:
                os.close(at)

    def stat(self, path: Path) -> os.stat_result:
        with self._parent(path) as (at, name):
            return os.stat(name, dir_fd=at, follow_symlinks=False)

    def open(self, path: Path, flags: int, mode: int = 0) -> OpenFile:
        """A regular file. `Special` for what is none, which is not even opened."""
        with self._parent(path) as (at, name):
            try:
                kind = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
            except FileNotFoundError:
                kind = stat.S_IFREG if flags & os.O_CREAT else 0
                if not kind:
                    raise
            _regular(kind)
            file = OpenFile(os.open(name, flags | _SAFE, mode, dir_fd=at))
            _regular(os.fstat(file.descriptor).st_mode)
            return file

    def entries(self, path: Path) -> list[Entry]:
        """What a directory holds, by name."""
        with self._parent(path) as (at, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _SAFE, dir_fd=at)
        try:
            with os.scandir(descriptor) as found:
                return sorted(Entry(os.fsencode(each.name), _kind(each)) for each in found)
        finally:
            os.close(descriptor)

    def readlink(self, path: Path) -> bytes:
        with self._parent(path) as (at, name):
            return os.readlink(name, dir_fd=at)

    # --- changes ---

    def mkdir(self, path: Path, mode: int) -> None:
        with self._parent(path) as (at, name):
            os.mkdir(name, mode, dir_fd=at)

    def symlink(self, path: Path, target: bytes) -> None:
        with self._parent(path) as (at, name):
            os.symlink(target, name, dir_fd=at)

    def link(self, old: Path, new: Path) -> None:
        with self._parent(old) as (source, name), self._parent(new) as (at, other):
            os.link(name, other, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)

    def rename(self, old: Path, new: Path) -> None:
        with self._parent(old) as (source, name), self._parent(new) as (at, other):
            os.rename(name, other, src_dir_fd=source, dst_dir_fd=at)

    def remove(self, path: Path, *, directory: bool) -> None:
        with self._parent(path) as (at, name):
            (os.rmdir if directory else os.unlink)(name, dir_fd=at)

    def chmod(self, path: Path, mode: int) -> None:
        with self._parent(path) as (at, name):
            _regular(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode, stat.S_IFREG, stat.S_IFDIR)
            try:
                descriptor = os.open(name, os.O_RDONLY | _SAFE, dir_fd=at)
            except PermissionError:
                descriptor = os.open(name, os.O_WRONLY | _SAFE, dir_fd=at)
        try:
            _regular(os.fstat(descriptor).st_mode, stat.S_IFREG, stat.S_IFDIR)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def utime(self, path: Path, times: tuple[int, int]) -> None:
        """`times`: of access and of change, in ns since 1970."""
        with self._parent(path) as (at, name):
            os.utime(name, ns=times, dir_fd=at, follow_symlinks=False)


def _regular(mode: int, *kinds: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind in (kinds or (stat.S_IFREG,)):
        return
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(21, os.strerror(21))
    raise Special(6, os.strerror(6))


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0
