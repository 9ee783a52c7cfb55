"""Folder sharing, as Linux's v9fs speaks to it: a client by hand, and hostile ones."""

from __future__ import annotations

import gc
import os
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_devices_virtio import BUFFERS, NEXT, RAM, WRITE, Board

import snapshots
from emulator.devices.virtio import VIRTIO, Share
from emulator.devices.virtio.share import MOST_FIDS, MOST_OPEN
from emulator.errors import ConfigurationError, StateError
from emulator.machine import Machine

ASK, REPLY, ROOM = BUFFERS, BUFFERS + 0x4_0000, 0x4_0000
NONE = 0xFFFF_FFFF
# Linux's errno numbers (asm-generic).
EPERM, ENOENT, EIO, ENXIO, EBADF, EEXIST, ENOTDIR, EISDIR, EINVAL, EMFILE = 1, 2, 5, 6, 9, 17, 20, 21, 22, 24
EFBIG, ENOSPC, EROFS, ENAMETOOLONG, ENOTEMPTY, EPROTO = 27, 28, 30, 36, 39, 71
EMSGSIZE, EOPNOTSUPP, ESTALE = 90, 95, 116
WRONLY, RDWR, CREAT, EXCL, TRUNC = 1, 2, 0o100, 0o200, 0o1000


class Refusal(Exception):
    """Rlerror, with its number."""


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(data)) + data


class Client(Board):
    """Mounts the folder: fid 0 is its root."""

    def __init__(self, share: Share, *, attach: bool = True) -> None:
        super().__init__(share)
        self.share, self.warnings = share, list[str]()
        share.warn = self.warnings.append
        self.start()
        if attach:
            self.mount()

    def mount(self) -> None:
        version = struct.pack("<I", 0x2_0000) + text("9P2000.L")
        assert self.ask(100, version) == version
        self.ask(104, struct.pack("<II", 0, NONE) + text("root") + text("") + struct.pack("<I", 0))

    def raw(self, data: bytes, room: int = ROOM) -> bytes | None:
        self.memory.write(ASK, data)
        self.memory.write(REPLY, b"\xee" * 64)
        used = self.send((ASK, len(data), NEXT, 1), (REPLY, room, WRITE, 0))
        return None if used is None else self.memory.read(REPLY, used[1])

    def ask(self, kind: int, body: bytes, tag: int = 7, room: int = ROOM) -> bytes:
        """What the reply holds behind its tag; Refusal where it is Rlerror."""
        reply = self.raw(struct.pack("<IBH", 7 + len(body), kind, tag) + body, room)
        assert reply is not None and self.problem == "", self.problem
        size, answer, same = struct.unpack_from("<IBH", reply)
        assert size == len(reply) and same == tag
        if answer == 7:
            raise Refusal(struct.unpack("<I", reply[7:])[0])
        assert answer == kind + 1
        return reply[7:]

    def walk(self, new: int, *names: str | bytes, fid: int = 0) -> int:
        """Qids that came back."""
        reply = self.ask(110, struct.pack("<IIH", fid, new, len(names)) + b"".join(map(text, names)))
        assert (len(reply) - 2) % 13 == 0
        return int.from_bytes(reply[:2], "little")

    def clunk(self, fid: int) -> None:
        self.ask(120, struct.pack("<I", fid))

    def open(self, new: int, *names: str | bytes, flags: int = 0) -> bytes:
        if self.walk(new, *names) != len(names):
            raise Refusal(ENOENT)
        try:
            return self.ask(12, struct.pack("<II", new, flags))
        except Refusal:
            self.clunk(new)
            raise

    def read(self, fid: int, offset: int = 0, count: int = 65536) -> bytes:  # type: ignore[override]
        reply = self.ask(116, struct.pack("<IQI", fid, offset, count))
        assert int.from_bytes(reply[:4], "little") == len(reply) - 4
        return reply[4:]

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        return int.from_bytes(self.ask(118, struct.pack("<IQI", fid, offset, len(data)) + data), "little")

    def create(self, fid: int, name: str, flags: int = RDWR | CREAT | EXCL, mode: int = 0o644) -> None:
        self.ask(14, struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, 0))

    def list(self, fid: int, offset: int = 0, count: int = 65536) -> list[tuple[str, int, int]]:
        """(name, type, cookie) of some entries."""
        reply = self.ask(40, struct.pack("<IQI", fid, offset, count))
        rows, at = [], 4
        while at < len(reply):
            cookie, kind, length = struct.unpack_from("<QBH", reply, at + 13)
            rows.append((reply[at + 24 : at + 24 + length].decode(), kind, cookie))
            at += 24 + length
        return rows

    def attributes(self, fid: int) -> dict[str, int]:
        names = "valid type version inode mode uid gid nlink rdev size blksize blocks atime . mtime mtime_ns"
        values = struct.unpack_from("<QBIQIIIQQQQQQQQQ", self.ask(24, struct.pack("<IQ", fid, 0x7FF)))
        return dict(zip(names.split(), values, strict=True))

    def set(self, fid: int, valid: int, mode: int = 0, uid: int = 0, size: int = 0, mtime: int = 0) -> None:
        self.ask(26, struct.pack("<IIIIIQQQQQ", fid, valid, mode, uid, 0, size, 0, 0, mtime, 5))


def number(function: Any, *arguments: Any, **named: Any) -> int:
    """The errno of a request that must fail."""
    with pytest.raises(Refusal) as error:
        function(*arguments, **named)
    return int(str(error.value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is shared, beside what must not be seen."""
    (tmp_path / "secret").write_text("outside")
    top = tmp_path / "shared"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "hello").write_text("hello, world")
    (top / "sub" / "deep" / "leaf").write_text("leaf")
    (top / "out").symlink_to("../secret")
    (top / "away").symlink_to(tmp_path)
    (top / "near").symlink_to("sub")
    os.mkfifo(top / "pipe")
    os.utime(top / "hello", ns=(1, 1_234_567_890_000_000_009))
    return top


# --- reading ---


def test_tag_and_identity(folder: Path) -> None:
    board = Client(Share(folder, tag="work"), attach=False)
    assert board[8] == 9 and board[0x10] & 1, "VIRTIO_9P_MOUNT_TAG"
    assert board.bus.read(0x100, 2) == 4
    assert bytes(board.bus.read(0x102 + n, 1) or 0 for n in range(5)) == b"work\0"


def test_files_are_read(folder: Path) -> None:
    client = Client(Share(folder))
    client.open(1, "hello")
    assert client.read(1) == b"hello, world" and client.read(1, 7, 3) == b"wor" and client.read(1, 12) == b""
    assert number(client.read, 1, 1 << 63) == EINVAL
    client.open(2, "sub", "deep", "leaf")
    assert client.read(2) == b"leaf"
    client.clunk(1)
    assert number(client.read, 1) == EBADF and number(client.clunk, 1) == EBADF
    about = client.attributes(2)
    assert (about["size"], about["nlink"], about["uid"], about["gid"], about["blocks"]) == (4, 1, 0, 0, 1)
    client.walk(3, "hello")
    about = client.attributes(3)
    assert (about["mtime"], about["mtime_ns"], about["atime"]) == (1_234_567_890, 9, 1_234_567_890)
    assert stat.S_ISREG(about["mode"]) and stat.S_ISDIR(client.attributes(0)["mode"])
    assert number(client.read, 3) == EBADF, "not open"
    client.open(4, "sub")
    assert number(client.read, 4) == EISDIR


def test_directories_are_in_order(folder: Path) -> None:
    client = Client(Share(folder))
    client.open(1)
    whole = client.list(1)
    assert [(name, kind) for name, kind, _ in whole] == [
        (".", 4), ("..", 4), ("away", 10), ("hello", 8), ("near", 10), ("out", 10), ("pipe", 0), ("sub", 4)
    ]  # fmt: skip
    pieces, at = [], 0
    while piece := client.list(1, at, 70):
        assert len(piece) <= 2
        pieces += piece
        at = piece[-1][2]
    assert pieces == whole
    assert client.list(1, whole[3][2]) == whole[4:], "as after seekdir"
    assert number(client.list, 1, 0, 24) == EINVAL
    client.open(2, "hello")
    assert number(client.list, 2) == ENOTDIR and number(client.list, 0) == EBADF


def test_a_directory_that_is_emptied_while_it_is_read_loses_no_entry(tmp_path: Path) -> None:
    names = [f"file{n:03}" for n in range(100)]
    for name in names:
        (tmp_path / name).touch()
    client, at, removed = Client(Share(tmp_path, "rw")), 0, []
    client.open(1)
    while piece := client.list(1, at, 400):
        at = piece[-1][2]
        for name, _, _ in piece:
            if not name.startswith("."):
                client.ask(76, struct.pack("<I", 0) + text(name) + struct.pack("<I", 0))
                removed.append(name)
    assert removed == names and not os.listdir(tmp_path)


def test_inode_numbers_are_the_trees(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    (other / "sub").mkdir(parents=True)
    (other / "hello").write_text("another")
    found = []
    for top in (folder, other):
        client = Client(Share(top))
        client.walk(1, "hello")
        client.walk(2, "sub")
        found.append([client.attributes(fid)["inode"] for fid in (0, 1, 2)])
    assert found[0] == found[1] and len(set(found[0])) == 3


def test_walks_end_where_there_is_nothing(folder: Path) -> None:
    client = Client(Share(folder))
    assert number(client.walk, 1, "no") == ENOENT
    assert client.walk(1, "sub", "no", "leaf") == 1
    assert number(client.clunk, 1) == EBADF, "it was not made"
    assert client.walk(1, "sub", "..", "..", "..", "hello") == 5
    client.ask(12, struct.pack("<II", 1, 0))
    assert client.read(1) == b"hello, world"
    assert number(client.walk, 2, fid=1) == EBADF, "of an open fid"
    assert number(client.walk, 1) == EINVAL and number(client.walk, NONE) == EINVAL
    assert client.walk(0, "sub") == 1 and client.walk(0, "deep") == 1 and client.walk(5, "leaf") == 1


@pytest.mark.parametrize(
    "names",
    [("..", "secret"), ("../secret",), ("sub/../../secret",), ("/etc/passwd",), ("out", "x"), ("away", "secret"),
     ("near", "deep"), ("sub\0",), ("",), (".",), ("sub", ".", "..", "..", "secret")],
)  # fmt: skip
def test_nothing_leads_outside(folder: Path, names: tuple[str, ...]) -> None:
    client = Client(Share(folder, "rw"))
    try:
        assert client.walk(1, *names) < len(names)
    except Refusal:
        return
    assert number(client.clunk, 1) == EBADF


def test_links_are_read_and_never_followed(folder: Path) -> None:
    client = Client(Share(folder, "rw"))
    for fid, (name, target) in enumerate({"out": "../secret", "near": "sub"}.items(), 1):
        client.walk(fid, name)
        assert client.ask(22, struct.pack("<I", fid)) == text(target)
        assert stat.S_ISLNK(client.attributes(fid)["mode"])
        assert number(client.ask, 12, struct.pack("<II", fid, 0)) == ENXIO
        assert number(client.ask, 12, struct.pack("<II", fid, WRONLY | TRUNC)) == ENXIO
        assert number(client.set, fid, 1, mode=0o777) and number(client.set, fid, 8, size=0)
    assert number(client.create, 0, "out", RDWR | CREAT) == ENXIO
    assert (folder.parent / "secret").read_text() == "outside"


def test_directories_that_become_links_meanwhile_are_not_followed(folder: Path) -> None:
    client = Client(Share(folder, "rw"))
    client.walk(1, "sub")
    (folder / "sub").rename(folder / "was")
    (folder / "sub").symlink_to("..")
    assert number(client.walk, 2, "secret", fid=1) == ENOTDIR
    assert number(client.create, 1, "new") == ENOTDIR
    assert number(client.ask, 76, struct.pack("<I", 1) + text("secret") + bytes(4)) == ENOTDIR
    assert (folder.parent / "secret").exists() and not (folder.parent / "new").exists()


def test_pipes_and_devices_are_not_opened(folder: Path) -> None:
    client = Client(Share(folder, "rw"))
    for flags in (0, WRONLY, RDWR):
        assert number(client.open, 1, "pipe", flags=flags) == ENXIO
    assert number(client.ask, 18, struct.pack("<I", 0) + text("node") + struct.pack("<IIII", 0o20666, 1, 3, 0)) == EPERM
    assert not (folder / "node").exists()


# --- writing ---


CHANGES: dict[str, tuple[int, bytes]] = {
    "open to write": (12, struct.pack("<II", 1, WRONLY)),
    "open to truncate": (12, struct.pack("<II", 1, TRUNC)),
    "create": (14, struct.pack("<I", 0) + text("new") + struct.pack("<III", RDWR | CREAT, 0o644, 0)),
    "symlink": (16, struct.pack("<I", 0) + text("new") + text("x") + bytes(4)),
    "rename": (20, struct.pack("<II", 1, 0) + text("new")),
    "setattr": (26, struct.pack("<IIIIIQQQQQ", 1, 8, 0, 0, 0, 0, 0, 0, 0, 0)),
    "link": (70, struct.pack("<II", 0, 1) + text("new")),
    "mkdir": (72, struct.pack("<I", 0) + text("new") + struct.pack("<II", 0o755, 0)),
    "renameat": (74, struct.pack("<I", 0) + text("hello") + struct.pack("<I", 0) + text("new")),
    "unlinkat": (76, struct.pack("<I", 0) + text("hello") + bytes(4)),
    "remove": (122, struct.pack("<I", 1)),
}


def listing(top: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in top.rglob("*"))


@pytest.mark.parametrize(("kind", "body"), CHANGES.values(), ids=list(CHANGES))
def test_read_only_unless_named_as_writable(folder: Path, kind: int, body: bytes) -> None:
    before = listing(folder)
    client = Client(Share.parse(str(folder)))
    client.walk(1, "hello")
    assert number(client.ask, kind, body) == EROFS
    assert listing(folder) == before and (folder / "hello").read_text() == "hello, world"
    client = Client(Share.parse(f"{folder},rw"))
    client.walk(1, "hello")
    client.ask(kind, body)


def test_files_are_written(folder: Path) -> None:
    client = Client(Share(folder, "rw"))
    client.walk(1)
    client.create(1, "new", mode=0o4755)
    assert client.write(1, b"abc") == 3 and client.write(1, b"xyz", 6) == 3 and client.write(1, b"") == 0
    assert client.read(1) == (folder / "new").read_bytes() == b"abc\0\0\0xyz"
    assert not (folder / "new").stat().st_mode & stat.S_ISUID
    assert number(client.write, 1, b"x", 1 << 63) == EFBIG
    client.ask(50, struct.pack("<II", 1, 0))
    client.set(1, 8, size=4)
    client.set(1, 0x20 | 0x100, mtime=77)
    assert (folder / "new").stat().st_mtime_ns == 77 * 10**9 + 5 and client.attributes(1)["size"] == 4
    client.walk(2, "new")
    client.set(2, 0x20 | 0x100, mtime=(1 << 64) - 2)
    assert client.attributes(2)["mtime"] == (1 << 64) - 2, "before 1970"
    client.set(2, 1, mode=0o6600)
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o600
    client.set(2, 8, size=1)
    assert (folder / "new").read_bytes() == b"a"
    assert number(client.set, 2, 2, uid=1000) == EPERM and number(client.set, 2, 8, size=1 << 63) == EFBIG
    client.set(2, 2, uid=0)
    client.set(2, 0x20 | 0x100, mtime=77)
    client.set(2, 0x20)
    assert client.attributes(2)["mtime"] > 1_500_000_000, "the host's clock"
    assert number(client.create, 0, "new") == EEXIST
    client.open(3, "new", flags=RDWR | TRUNC)
    assert (folder / "new").read_bytes() == b""
    client.open(4, "hello")
    assert number(client.write, 4, b"x") == EBADF, "opened to read"


def test_names_are_made_moved_and_removed(folder: Path) -> None:
    client = Client(Share(folder, "rw"))
    client.ask(72, struct.pack("<I", 0) + text("new") + struct.pack("<II", 0o755, 0))
    client.walk(1, "new")
    client.walk(2, "sub", "deep", "leaf")
    client.open(3, "sub", "deep", "leaf")
    client.ask(16, struct.pack("<I", 1) + text("link") + text("anything") + bytes(4))
    assert os.readlink(folder / "new" / "link") == "anything"
    client.ask(70, struct.pack("<II", 1, 2) + text("hard"))
    assert client.attributes(2)["nlink"] == 2
    # What is held moves along, whoever moves what is above it.
    client.ask(74, struct.pack("<I", 0) + text("sub") + struct.pack("<I", 1) + text("moved"))
    assert (folder / "new" / "moved" / "deep" / "leaf").exists()
    assert client.attributes(2)["size"] == 4 and client.read(3) == b"leaf"
    client.ask(20, struct.pack("<II", 2, 0) + text("leaf"))
    assert (folder / "leaf").read_text() == "leaf" and client.attributes(2)["size"] == 4
    assert number(client.ask, 74, struct.pack("<I", 0) + text("new") + struct.pack("<I", 1) + text("in")) == EINVAL
    assert number(client.ask, 20, struct.pack("<II", 0, 1) + text("x")) == 16
    assert number(client.ask, 76, struct.pack("<I", 0) + text("new") + struct.pack("<I", 0x200)) == ENOTEMPTY
    client.ask(122, struct.pack("<I", 2))
    assert not (folder / "leaf").exists() and number(client.clunk, 2) == EBADF
    assert client.read(3) == b"leaf" and client.attributes(3)["size"] == 4, "open, though it has lost its name"
    assert number(client.ask, 122, struct.pack("<I", 1)) == ENOTEMPTY and number(client.clunk, 1) == EBADF
    for name in ("..", ".", "", "a/b", "x" * 256):
        assert number(client.ask, 72, struct.pack("<I", 0) + text(name) + bytes(8)) in (EINVAL, ENAMETOOLONG)


def test_names_need_not_be_text(tmp_path: Path) -> None:
    client = Client(Share(tmp_path, "rw"))
    client.ask(72, struct.pack("<I", 0) + text(b"\xff\xfe") + struct.pack("<II", 0o755, 0))
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"] and client.walk(1, b"\xff\xfe") == 1
    assert client.share.state()["fids"][1][1] == b"\xff\xfe"


def test_a_full_disk_is_told_to_guest_and_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(Share(folder, "rw"))
    client.open(1, "hello", flags=WRONLY)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert [number(client.write, 1, b"x") for _ in range(3)] == [ENOSPC] * 3
    assert len(client.warnings) == 1 and "no space left" in client.warnings[0]


# --- the rest of the protocol ---


def test_what_is_not_kept(folder: Path) -> None:
    client = Client(Share(folder))
    about = struct.unpack("<IIQQQQQQI", client.ask(8, struct.pack("<I", 0)))
    assert about[0] == 0x0102_1997 and about[3] == 0 and about[8] == 255
    assert number(client.ask, 30, struct.pack("<II", 0, 9) + text("security.selinux")) == EOPNOTSUPP
    assert number(client.ask, 32, struct.pack("<I", 0) + text("user.x") + bytes(12)) == EOPNOTSUPP
    lock = struct.pack("<QQI", 1, 2, 3) + text("host")
    assert client.ask(52, struct.pack("<IBI", 0, 1, 0) + lock) == b"\0"
    assert client.ask(54, struct.pack("<IB", 0, 1) + lock) == b"\x02" + lock
    assert client.ask(108, b"\1\0") == b""
    assert number(client.ask, 102, struct.pack("<I", 1) + text("") + text("")) == EOPNOTSUPP
    assert number(client.ask, 104, struct.pack("<II", 5, NONE) + text("") + text("sub") + bytes(4)) == ENOENT
    assert number(client.ask, 6, b"") == EOPNOTSUPP and number(client.ask, 255, b"") == EOPNOTSUPP


def test_versions(folder: Path) -> None:
    client = Client(Share(folder), attach=False)
    assert number(client.walk, 1) == EPROTO
    assert number(client.ask, 100, struct.pack("<I", 4095) + text("9P2000.L")) == EMSGSIZE
    assert client.ask(100, struct.pack("<I", 8192) + text("9P2000.u")) == struct.pack("<I", 8192) + text("unknown")
    assert number(client.walk, 1) == EPROTO
    most = struct.pack("<I", 512 << 10) + text("9P2000.L")
    assert client.ask(100, struct.pack("<I", NONE) + text("9P2000.L")) == most
    client.mount()
    client.open(1, "hello")
    client.mount()
    assert number(client.read, 1) == EBADF, "all fids are gone"


def test_messages_that_lie(folder: Path) -> None:
    client = Client(Share(folder))
    client.open(1, "hello")
    for body in (b"", b"\0", struct.pack("<IQ", 1, 0), struct.pack("<IIH", 0, 2, 3), struct.pack("<IIHH", 0, 2, 1, 9)):
        for kind in (12, 14, 24, 26, 74, 110, 116, 118):
            if kind != 24 or len(body) != 12:
                assert number(client.ask, kind, body) in (EINVAL, EBADF, EISDIR, EROFS), (kind, body)
    assert number(client.ask, 110, struct.pack("<IIH", 0, 2, 17) + text("sub") * 17) == EINVAL
    # Sizes that are not the message's.
    head = struct.pack("<BHIQI", 116, 7, 1, 0, 5)
    assert client.raw(struct.pack("<I", 0) + head) == struct.pack("<IBHI", 11, 7, 7, EINVAL)
    assert client.raw(struct.pack("<I", NONE) + head) == struct.pack("<IBHI", 11, 7, 7, EMSGSIZE)
    assert client.raw(struct.pack("<I", 100) + head) == struct.pack("<IBHI", 16, 117, 7, 5) + b"hello"
    # Less room than the reply would take.
    assert client.ask(116, struct.pack("<IQI", 1, 0, 12), room=16) == struct.pack("<I", 5) + b"hello"
    assert number(client.ask, 24, struct.pack("<IQ", 1, 0), room=159) == EMSGSIZE
    assert client.raw(struct.pack("<I", 23) + head, room=10) is None
    assert "room for 10" in client.problem


def test_what_a_guest_holds_is_bounded(folder: Path) -> None:
    client = Client(Share(folder))
    for fid in range(1, MOST_FIDS):
        assert client.walk(fid, "hello") == 1
        if fid <= MOST_OPEN:
            client.ask(12, struct.pack("<II", fid, 0))
    assert number(client.walk, NONE - 1) == EMFILE
    assert number(client.ask, 12, struct.pack("<II", MOST_FIDS - 1, 0)) == EMFILE
    client.clunk(1)
    client.ask(12, struct.pack("<II", MOST_FIDS - 1, 0))
    client[0x70] = 0
    assert client.share.state() == {"msize": 0, "fids": []}


def test_paths_are_bounded(tmp_path: Path) -> None:
    client = Client(Share(tmp_path, "rw"))
    client.walk(1)
    for depth in range(200):
        try:
            client.ask(72, struct.pack("<I", 1) + text("d" * 40) + struct.pack("<II", 0o755, 0))
        except Refusal as error:
            assert int(str(error)) == ENAMETOOLONG and depth == 4096 // 41
            return
        assert client.walk(1, "d" * 40, fid=1) == 1
    raise AssertionError("no bound")


def test_descriptors_are_given_back(folder: Path) -> None:
    client = Client(Share(folder))
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(50):
        client.open(1, "sub", "deep", "leaf")
        client.read(1)
        client.clunk(1)
        client.open(1)
        client.list(1)
        client.clunk(1)
        assert number(client.open, 1, "pipe") == ENXIO
    assert not before or len(os.listdir("/proc/self/fd")) <= before


# --- snapshots ---


def test_a_restored_machine_reads_on(folder: Path, tmp_path: Path) -> None:
    machine = Machine(memory=2 << 20)
    machine.attach(Share(folder, tag="work"))
    path = tmp_path / "here.rvtui"
    snapshots.save(machine, path)
    again = snapshots.load(path)
    assert again.state_hash() == machine.state_hash()
    function = again.virtio[0].function
    assert isinstance(function, Share) and (function.tag, function.path, function.mode) == ("work", str(folder), "ro")
    assert len(again.warnings) == 1 and "reads that folder" in again.warnings[0]


def test_open_files_and_directories_are_opened_again(folder: Path) -> None:
    one = Client(Share(folder))
    one.open(1, "hello")
    one.open(2)
    first = one.list(2, 0, 120)
    two = Client(Share(folder), attach=False)
    two.transport.restore(one.transport.state())
    two.offered, two.returned = one.offered, one.returned
    two.memory.write(RAM, one.memory.read(RAM, 1 << 20))
    assert one.read(1, 7) == two.read(1, 7) == b"world"
    assert one.list(2, first[-1][2]) == two.list(2, first[-1][2]) != []
    assert one.transport.state() == two.transport.state() and two.warnings == []
    assert one.memory.read(RAM, 1 << 20) == two.memory.read(RAM, 1 << 20)


def test_what_has_gone_is_an_error_and_a_warning(folder: Path) -> None:
    one = Client(Share(folder))
    one.open(1, "hello")
    one.open(2, "sub", "deep", "leaf")
    state = one.share.state()
    (folder / "hello").unlink()
    two = Client(Share(folder), attach=False)
    two.share.restore(state)
    assert number(two.read, 1) == ESTALE and two.read(2) == b"leaf"
    assert len(two.warnings) == 1 and "hello cannot be opened again" in two.warnings[0]
    assert two.share.state() == state
    gone = Client(Share.again(path=str(folder / "no"), mode="ro", tag="x"), attach=False)
    gone.share.restore(state)
    assert number(gone.read, 2) == ESTALE and "no such file" in gone.warnings[0]


def test_a_snapshot_makes_nothing_writable(folder: Path) -> None:
    one = Client(Share(folder, "rw"))
    one.open(1, "hello", flags=RDWR)
    two = Client(Share.again(**one.share.configuration()), attach=False)
    two.share.restore(one.share.state())
    assert two.read(1) == b"hello, world" and number(two.write, 1, b"x") == EROFS
    assert "was writable" in two.warnings[0] and number(two.create, 0, "new") == EROFS
    assert not Share.again(**one.share.configuration(), trusted=True).writable


@pytest.mark.parametrize(
    "fids",
    [0, [[0, b"..", -1, False, 0, b""]], [[0, b"a//b", -1, False, 0, b""]], [[0, b"/etc", -1, False, 0, b""]],
     [[1, b"", -1, False, 0, b""], [1, b"", -1, False, 0, b""]], [[0, b"", 3, False, 0, b""]],
     [[0, "", 0, False, 0, b""]], [[1 << 32, b"", -1, False, 0, b""]], [[0, b"a/" * 200 + b"a", -1, False, 0, b""]],
     [[0, b"", -1, False, -1, b""]]],
)  # fmt: skip
def test_damaged_states_are_refused(folder: Path, fids: Any) -> None:
    client = Client(Share(folder))
    before = client.share.state()
    with pytest.raises(StateError, match="fids must be"):
        client.share.restore({"msize": 8192, "fids": fids})
    assert client.share.state() == before


# --- hostile guests ---


KINDS = [8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 40, 50, 70, 72, 74, 76, 100, 104, 110, 116, 118, 120, 122]
Messages = list[tuple[int, list[bytes]]]


@settings(deadline=None, max_examples=100)
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.lists(
                st.sampled_from([0, 1, 2, 3]).map(lambda n: struct.pack("<I", n))
                | st.sampled_from(["a", "b", "..", ".", "/", "a/b", "out", "\0", ""]).map(text)
                | st.binary(max_size=12),
                max_size=6,
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_client_stays_inside(tmp_path_factory: pytest.TempPathFactory, messages: Messages) -> None:
    above = tmp_path_factory.mktemp("above")
    (above / "guarded").write_text("guarded")
    top = above / "top"
    (top / "a").mkdir(parents=True)
    (top / "b").write_text("b")
    (top / "out").symlink_to("..")
    before = sorted(os.listdir(above)), (above / "guarded").stat()
    client = Client(Share(top, "rw"))
    client.walk(1, "a")
    for kind, parts in messages:
        body = b"".join(parts)
        reply = client.raw(struct.pack("<IBH", 7 + len(body), kind, 1) + body)
        assert reply is not None and len(reply) >= 7 and client.problem == ""
    assert sorted(os.listdir(above)) == before[0]
    after = (above / "guarded").stat()
    assert (after.st_mtime_ns, after.st_nlink, after.st_mode) == (before[1].st_mtime_ns, 1, before[1].st_mode)
    again = Share.again(**client.share.configuration())
    again.restore(client.share.state())
    assert again.state() == client.share.state()


# --- the command line ---


def test_as_the_command_line_has_them(folder: Path, tmp_path: Path) -> None:
    def parts(text: str) -> tuple[str, str, str]:
        share = Share.parse(text)
        return share.path, share.mode, share.tag

    assert parts(f"{folder}") == (str(folder), "ro", "share")
    assert parts(f"{folder},ro,tag=x") == (str(folder), "ro", "x")
    assert parts(f"{folder},tag=work,rw") == (str(folder), "rw", "work")
    (tmp_path / "a,b").mkdir()
    assert parts(f"{tmp_path}/a,b,rw") == (f"{tmp_path}/a,b", "rw", "share")
    assert [share.tag for share in Share.parse_all([str(folder)] * 3)] == ["share", "share1", "share2"]
    for bad, words in [
        ("", "name a folder"), (",rw", "name a folder"), (f"{folder}/hello", "not a directory"),
        (f"{folder}/no", "no such file"), (f"{folder},tag=a b", "letters"), (f"{folder},tag=", "letters"),
        (f"{folder},tag={'x' * 32}", "letters"), (f"{folder}/pipe", "not a directory"),
    ]:  # fmt: skip
        with pytest.raises(ConfigurationError, match=words) as error:
            Share.parse(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="tag=NAME"):
        Share.parse_all([f"{folder},tag=a", f"{folder},tag=a"])


def test_a_machine_has_it_on_its_bus(folder: Path) -> None:
    machine = Machine(memory=1 << 20)
    machine.attach(Share(folder))
    assert machine.bus.read(VIRTIO + 8, 4) == 9
