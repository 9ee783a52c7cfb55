"""Files: replaced whole or not at all, and every unfit one refused in one line."""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import snapshots
from snapshots import SnapshotError

PAGE = 4096
RAM = 0x8000_0000


class CancelledError(Exception):
    pass


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read and write everything: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def one_line(path: Any, call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(SnapshotError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith(f"{path}: ")
    assert "; " in text
    return text


def cancel_after(share: float) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= share * total:
            raise CancelledError

    return progress


def test_a_full_disk_leaves_what_was_there(saved: Any, new: Any, load: Any) -> None:
    path, small = saved
    machine = new(8 << 20)
    machine.memory.write(RAM, os.urandom(8 << 20))
    for room in (0, 10, 100, 1000, 5_000_000):
        with room_for(room):
            assert "cannot be written: file too large; what was there is unchanged" in one_line(
                path, snapshots.save, machine, path
            )
        assert os.listdir(path.parent) == [path.name]
        assert load(path).state_hash() == small.state_hash()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_cancelling_leaves_what_was_there(saved: Any, new: Any, load: Any, share: float) -> None:
    path, small = saved
    machine = new(8 << 20)
    machine.memory.write(RAM, os.urandom(8 << 20))
    with pytest.raises(CancelledError):
        snapshots.save(machine, path, progress=cancel_after(share))
    assert os.listdir(path.parent) == [path.name]
    assert load(path).state_hash() == small.state_hash()
    for call in (load, snapshots.verify):
        with pytest.raises(CancelledError):
            call(path, cancel_after(share))


def test_an_error_of_the_progress_function_is_not_mistaken_for_one_of_the_file(saved: Any, new: Any) -> None:
    def broken(done: int, total: int) -> None:
        raise BrokenPipeError("the terminal is gone")

    with pytest.raises(BrokenPipeError):
        snapshots.save(new(), saved[0], progress=broken)
    assert os.listdir(saved[0].parent) == [saved[0].name]


def test_progress_rises_to_its_total(tmp_path: Path, new: Any, load: Any) -> None:
    path = tmp_path / "a.rvs"
    machine = new(8 << 20)
    machine.memory.write(RAM, b"".join(i.to_bytes(4, "little") * 1024 for i in range(2048)))
    captured = snapshots.capture(machine)
    for call in (
        lambda progress: snapshots.save(machine, path, progress=progress),
        lambda progress: snapshots.save(captured, path, progress=progress),
        lambda progress: load(path, progress),
        lambda progress: snapshots.verify(path, progress),
    ):
        seen: list[tuple[int, int]] = []
        call(lambda done, total, seen=seen: seen.append((done, total)))
        totals = {total for _, total in seen}
        done = [done for done, _ in seen]
        assert len(totals) == 1
        assert done[0] == 0
        assert done == sorted(done)
        assert done[-1] == totals.pop() > 0
        assert len(done) >= 8


def test_an_empty_machine_has_a_total_too(tmp_path: Path, new: Any) -> None:
    seen: list[tuple[int, int]] = []
    snapshots.save(new(), tmp_path / "a.rvs", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_link_is_followed_and_permissions_are_kept(saved: Any, new: Any, load: Any, tmp_path: Path) -> None:
    path, _ = saved
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    machine = new()
    machine.run(50)
    snapshots.save(machine, link)
    assert link.is_symlink()
    assert load(path).state_hash() == machine.state_hash()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    umask = os.umask(0o027)
    try:
        snapshots.save(machine, tmp_path / "fresh")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640


def test_names_without_a_folder_work(saved: Any, new: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved[0].parent)
    snapshots.save(new(), "here.rvs")
    assert load("here.rvs").state_hash() == new().state_hash()


UNFIT = {
    "missing": (None, "no such file; check the name"),
    "empty": (b"", "is empty"),
    "program": (b"\x7fELF\2\1\1" + bytes(100), "is an ELF program, not a snapshot"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a snapshot (it begins with 89 50 4e 47 0d 0a 1a 0a)"),
    "one byte": (b"\xc4", "cut short after 1 bytes"),
    "text": (b"hello\n", "is not a snapshot"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_files_are_refused_in_one_line(tmp_path: Path, load: Any, name: str) -> None:
    content, said = UNFIT[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for call in (load, snapshots.info, snapshots.verify):
        assert said in one_line(path, call, path)


def test_what_is_no_file_is_refused_for_reading_and_writing(tmp_path: Path, new: Any, load: Any) -> None:
    pipe, server = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(server))
        for path, kind in (
            (tmp_path, "a directory"),
            (pipe, "a pipe"),
            (server, "a socket"),
            ("/dev/zero", "a device"),
        ):
            for call, arguments in ((load, (path,)), (snapshots.info, (path,)), (snapshots.save, (new(), path))):
                assert f"is {kind}, not a snapshot" in one_line(path, call, *arguments)


def test_rights_that_are_missing_are_named(saved: Any, new: Any, load: Any) -> None:
    path = saved[0]
    before = path.read_bytes()
    path.chmod(0)
    path.parent.chmod(0o555)
    try:
        with without_rights():
            for call in (load, snapshots.info, snapshots.verify):
                assert "cannot be read: permission denied; check the permissions" in one_line(path, call, path)
            assert "cannot be written: permission denied" in one_line(path, snapshots.save, new(), path)
    finally:
        path.parent.chmod(0o755)
    path.chmod(0o600)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300, "no/such/folder/a.rvs", "new\nline/a"])
def test_impossible_names_are_refused_in_one_line(
    tmp_path: Path, new: Any, load: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = name if name.isprintable() and name else ascii(name)
    one_line(shown, load, name)
    one_line(shown, snapshots.save, new(), name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("created", [-1, 1 << 64, 1.5])
def test_an_impossible_creation_time_is_refused(tmp_path: Path, new: Any, created: Any) -> None:
    path = tmp_path / "a.rvs"
    assert "creation time" in one_line(path, lambda: snapshots.save(new(), path, created=created))
    assert not path.exists()


def test_a_note_of_any_text_is_kept_and_one_too_long_is_refused(tmp_path: Path, new: Any) -> None:
    path = tmp_path / "a.rvs"
    snapshots.save(new(), path, note="grün \0 \U0001f40d " + b"\xff".decode("utf-8", "surrogateescape"))
    assert snapshots.info(path).note == "grün \0 \U0001f40d ?"
    assert "65536" in one_line(path, snapshots.save, new(), path, "x" * 65537)
