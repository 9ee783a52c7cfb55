"""`rvtui images` with an apt of the tests' own: no network, no Debian."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from debian import LIBRARIES, MODULES, RELEASE, Debian, deb, kernel, members, module, program

from emulator.devicetree import parse
from rvtui import cli
from rvtui.images import ImageError, apt, cache, command, initramfs
from rvtui.images.packages import File
from rvtui.images.recipes import RECIPES

Run = Callable[..., str]


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    made = Debian(tmp_path / "debian")
    (tmp_path / "key").touch()
    monkeypatch.setattr(apt, "KEYRINGS", (tmp_path / "key",))
    monkeypatch.setenv("PATH", str(made.home / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: what it prints, whose code must be `code`; for others, standard error."""

    def call(*arguments: str, code: int = 0, warned: bool = False) -> str:
        assert cli.main(arguments) == code
        out, wrong = capfd.readouterr()
        if code == cli.USER_ERROR:
            assert wrong.startswith("rvtui: ") and wrong.count("\n") == 1, wrong
        assert code or warned == bool(wrong), wrong
        return wrong if code or warned else out

    return call


def kept(run: Run, name: str, kind: str) -> bytes:
    return Path(run("images", "path", name, kind).strip()).read_bytes()


def test_an_image_is_built_of_packages_and_boots_offline(debian: Debian, run: Run, tmp_path: Path) -> None:
    text = run("images", "get", "debian")
    assert f"linux-image-{RELEASE} 1:2-3" in text and "rvtui run --image debian" in text
    assert kept(run, "debian", "kernel") == kernel()
    assert kept(run, "debian", "firmware") == b"sbi!"
    shutil.rmtree(debian.home)
    assert run("run", "--headless", "--image", "debian") == ""
    run("run", "--image", "debian", "--append", "loglevel=3", "--dump-dtb", "tree")
    chosen = parse((tmp_path / "tree").read_bytes(), "tree").find("chosen")
    assert chosen is not None and chosen.properties["bootargs"] == b"console=ttyS0 loglevel=3\0"
    start, end = (int.from_bytes(chosen.properties[f"linux,initrd-{end}"], "big") for end in ("start", "end"))  # type: ignore[arg-type]
    assert end - start == len(kept(run, "debian", "initrd"))


def test_the_initramfs_has_what_init_needs(debian: Debian, run: Run) -> None:
    run("images", "get", "debian")
    tree = members(kept(run, "debian", "initrd"))
    assert tree["init"][0] == 0o100755 and tree["init"][1].startswith(b"#!/bin/sh\n")
    assert tree["bin/busybox"] == (0o100755, b"busybox") and tree["bin/sh"] == (0o120777, b"busybox")
    assert tree["sbin"] == (0o120777, b"bin")  # where the kernel looks for modprobe
    assert tree["dev"][0] == tree["proc"][0] == 0o040755
    assert tree["dev/console"][0] == 0o020600
    base = f"lib/modules/{RELEASE}"
    assert tree[f"{base}/kernel/arch/kvm.ko"] == (0o100644, module("kvm", "irqbypass,virtio", "devname:kvm"))
    assert tree[f"{base}/kernel/net/virtio_net.ko"][1] == module("virtio_net", "net_failover", "virtio:1")
    assert not [name for name in tree if "unwanted" in name or "crc16" in name]
    needs = dict(line.split(":") for line in tree[f"{base}/modules.dep"][1].decode().splitlines())
    assert needs["kernel/net/virtio_net.ko"] == " kernel/net/net_failover.ko kernel/net/failover.ko"
    assert needs["kernel/arch/kvm.ko"] == " kernel/virt/irqbypass.ko"
    assert needs["kernel/net/failover.ko"] == ""
    assert b"alias virtio:1 virtio_net\n" in tree[f"{base}/modules.alias"][1]
    order = list(tree)
    assert all(order.index(name.rpartition("/")[0]) < order.index(name) for name in order if "/" in name)


def test_qemu_and_its_libraries_are_inside_and_nothing_else_is_fetched(debian: Debian, run: Run) -> None:
    run("images", "get", "debian-kvm")
    assert debian.fetched() == debian.packages.keys() - {"sayings"}
    tree = members(kept(run, "debian-kvm", "initrd"))
    assert tree["usr/bin/qemu-system-riscv64"][0] == 0o100755
    libraries = {name for name in tree if ".so" in name}
    assert libraries == {f"{LIBRARIES}/{name}" for name in ("libone.so.1", "libtwo.so", "libc.so.6")} | {
        "lib/ld-linux-riscv64-lp64d.so.1"
    }
    assert tree[f"{LIBRARIES}/libone.so.1"][1] == program(["libtwo.so", "libc.so.6"])
    assert tree["guest/kernel"][1] == kernel()
    inner = members(tree["guest/initrd"][1])
    assert inner["init"][0] == 0o100755 and "bin/busybox" in inner


def test_an_image_that_is_here_needs_no_apt(debian: Debian, run: Run) -> None:
    run("images", "get", "debian")
    debian.calls()
    assert "here already" in run("images", "get", "debian")
    assert debian.calls() == []
    run("images", "get", "debian", "--again")
    assert debian.fetched() == set()  # the packages are kept


def test_an_older_recipe_is_made_anew(debian: Debian, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("images", "get", "debian")
    monkeypatch.setattr("rvtui.images.recipes.FORMAT", 0)
    assert "older recipe" in run("images")
    assert "here already" not in run("images", "get", "debian")
    assert "older recipe" not in run("images")


def test_the_list_says_what_there_is(debian: Debian, run: Run) -> None:
    before = json.loads(run("images", "list", "--json"))
    assert [each["state"] for each in before["images"]] == ["absent"] * len(RECIPES)
    run("images", "get", "debian")
    told = json.loads(run("images", "list", "--json"))
    row = told["images"][0]
    assert (row["name"], row["state"]) == ("debian", "cached")
    assert row["size"] == sum(os.path.getsize(path) for path in row["files"].values())
    assert ["opensbi", "1:2-3"] in row["packages"]
    assert told["downloads"] == sum(len(debian.packages[name][2]) for name, _ in row["packages"])
    text = run("images")
    assert "opensbi 1:2-3" in text and "not here" in text and told["cache"] in text


@pytest.mark.parametrize("kind", ["kernel", "initrd"])
@pytest.mark.parametrize("how", ["changed", "shorter", "missing"])
def test_a_damaged_file_is_found_and_made_anew(debian: Debian, run: Run, kind: str, how: str) -> None:
    run("images", "get", "debian")
    path = Path(run("images", "path", "debian", kind).strip())
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if how == "changed" else b""))
    for arguments in (("images", "verify"), ("images", "path", "debian"), ("run", "--headless", "--image", "debian")):
        text = run(*arguments, code=2)
        assert kind in text and "rvtui images get debian" in text
    assert ("DAMAGED" in run("images")) == (how != "changed")
    run("images", "get", "debian")
    assert path.read_bytes() == data
    assert "every byte" in run("images", "verify")


@pytest.mark.parametrize(
    "change",
    [
        lambda told: [],
        lambda told: told | {"format": 2},
        lambda told: told | {"files": {}},
        lambda told: told | {"packages": [1]},
        lambda told: told | {"files": {"kernel": {"file": "../../secret", "size": 1, "sha256": "0" * 64}}},
        lambda told: told | {"files": {"kernel": {"file": "../-kernel", "size": 1, "sha256": "../" + "0" * 61}}},
        lambda told: told | {"files": told["files"] | {"kernel": {"file": 1, "size": None, "sha256": []}}},
    ],
)
def test_a_damaged_manifest_is_said_and_made_anew(debian: Debian, run: Run, change: Callable[[Any], Any]) -> None:
    run("images", "get", "debian")
    path = cache.default_root() / "debian.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert "manifest" in run("images", "path", "debian", code=2)
    assert "DAMAGED" in run("images")
    run("images", "get", "debian")
    run("images", "verify")


def test_a_broken_download_goes_on(debian: Debian, run: Run) -> None:
    debian.trouble("interrupt:opensbi")
    run("images", "get", "debian", code=cli.INTERRUPTED)
    assert not debian.is_at_work()
    assert "not here" in run("images", "path", "debian", code=2)
    debian.calls()
    debian.trouble()
    run("images", "get", "debian")
    assert "opensbi" in debian.fetched() and "busybox-static" not in debian.fetched()
    run("images", "verify")


def test_an_interrupted_renewal_leaves_the_image(debian: Debian, run: Run) -> None:
    run("images", "get", "debian")
    run("images", "clean")
    debian.trouble("interrupt:busybox-static")
    run("images", "get", "debian", "--again", code=cli.INTERRUPTED)
    assert "every byte" in run("images", "verify")


def test_offline_the_reason_is_apts_and_downloads_still_serve(debian: Debian, run: Run) -> None:
    debian.trouble("offline")
    text = run("images", "get", "debian", code=2)
    assert "Could not resolve 'mirror.test'" in text
    debian.trouble()
    run("images", "get", "debian")
    run("images", "remove", "debian")
    debian.trouble("offline")
    # The fake has no lists of its own to go by, as apt has: they come from where the files are.
    (debian.home / "bin" / "apt-get").write_text(
        (debian.home / "bin" / "apt-get").read_text().replace('"offline" in trouble', '"update" in words')
    )
    assert "lists from before" in run("images", "get", "debian", warned=True)
    run("images", "verify")


def test_systems_that_cannot_say_so(debian: Debian, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "KEYRINGS", (tmp_path / "nothing",))
    assert "apt install debian-archive-keyring" in run("images", "get", "debian", code=2)
    (debian.home / "bin" / "apt-cache").unlink()
    assert "apt-get" in run("images", "get", "debian", code=2)


def test_a_full_disk_is_said_before_the_download(debian: Debian, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert "make room" in run("images", "get", "debian", code=2)
    assert debian.fetched() == set()


def test_a_disk_that_fills_up_leaves_the_cache_whole(debian: Debian, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("images", "get", "debian")
    before = sorted(path.name for path in cache.Cache().files.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        text = run("images", "get", "debian-kvm", code=2)
    assert "No space left" in text and "make room" in text
    assert sorted(path.name for path in cache.Cache().files.iterdir()) == before
    run("images", "verify")


@pytest.mark.parametrize("where", ["listed", "downloaded"])
def test_a_package_that_is_not_the_signed_one_is_refused(debian: Debian, run: Run, where: str) -> None:
    if where == "listed":
        debian.publish(signed={"opensbi": "0" * 64})
        assert "opensbi_1%3a2-3_riscv64.deb is not what" in run("images", "get", "debian", code=2)
        return
    run("images", "get", "debian")
    path = next(cache.Cache().packages.glob("opensbi*"))
    path.write_bytes(bytes(path.stat().st_size))
    run("images", "get", "debian", "--again")
    assert kept(run, "debian", "firmware") == b"sbi!"


@pytest.mark.parametrize(
    ("package", "data", "says"),
    [
        ("opensbi", b"!<arch>\n", "opensbi"),
        ("opensbi", b"hello", "opensbi"),
        ("opensbi", deb({"usr/x": b"1"})[:-40], "opensbi"),
        ("opensbi", deb({"usr/x": b"1"}), "firmware"),
        ("busybox-static", deb({"usr/bin/busybox": b"1" * 5000})[:-60], "busybox"),
        ("busybox-static", deb({"usr/bin/other": b"1"}), "busybox"),
        (f"linux-image-{RELEASE}", deb({f"boot/vmlinux-{RELEASE}": kernel()}), "no package brings the kernel"),
        (
            f"linux-image-{RELEASE}",
            deb({f"boot/vmlinux-{RELEASE}": kernel(), f"{MODULES}/modules.builtin": b""}),
            "no kernel module 9p",
        ),
        ("qemu-system-riscv", deb({"usr/bin/qemu-system-riscv64": b"\x7fELF"}), "qemu-system-riscv64"),
        ("qemu-system-riscv", deb({"usr/bin/qemu-system-riscv64": program(["libno.so"])}), "needs libno.so"),
        ("qemu-system-riscv", deb({"usr/bin/qemu-system-riscv64": program([], "/lib/ld.so.9")}), "/lib/ld.so.9"),
        ("libone1", deb({f"{LIBRARIES}/libone.so.1": "libone.so.1"}), "libone.so.1"),
    ],
)
def test_packages_that_are_no_good_are_named(debian: Debian, run: Run, package: str, data: bytes, says: str) -> None:
    section, depends, _ = debian.packages[package]
    debian.packages[package] = section, depends, data
    debian.publish()
    assert says in run("images", "get", "debian-kvm", code=2)
    assert "not here" in run("images", "path", "debian-kvm", code=2)


def test_a_package_that_is_not_there_is_named(debian: Debian, run: Run) -> None:
    del debian.packages["opensbi"]
    debian.publish()
    assert "no package opensbi" in run("images", "get", "debian", code=2)


def test_modules_that_need_each_other_are_an_error() -> None:
    found = {"a": ("a.ko", module("a", "b")), "b": ("b.ko", module("b", "a"))}
    with pytest.raises(ImageError, match="circle"):
        initramfs.modules(RELEASE, found, ())
    with pytest.raises(ImageError, match="a needs b"):
        initramfs.modules(RELEASE, {"a": found["a"]}, ())


def test_the_same_tree_gives_the_same_archive() -> None:
    one, two = File(0o644, b"1"), File(0o755, b"22222")
    assert initramfs.archive({"x/y": one, "a": two}) == initramfs.archive({"a": two, "x/y": one})
    assert members(initramfs.archive({"x/y": one, "a": two}))["a"] == (0o100755, b"22222")


def test_removing_keeps_what_another_image_has(debian: Debian, run: Run) -> None:
    for name in RECIPES:
        run("images", "get", name)
    assert "freed" in run("images", "remove", "debian-kvm")
    run("images", "verify", "debian")
    assert len(list(cache.Cache().files.iterdir())) == 3
    run("images", "remove", "debian")
    assert list(cache.Cache().files.iterdir()) == []
    assert "nothing to remove" in run("images", "remove", "debian", code=2)
    run("images", "clean")
    assert not cache.Cache().packages.exists()


def test_two_at_once_do_not_disturb_each_other(debian: Debian, run: Run) -> None:
    with cache.Cache().working():
        for words in (("get", "debian"), ("remove", "debian"), ("clean",)):
            assert "wait until it has ended" in run("images", *words, code=2)
    run("images", "get", "debian")


def test_the_systems_mirror_is_used_unless_another_is_named(debian: Debian, run: Run) -> None:
    run("images", "get", "debian")
    sources = cache.default_root() / "apt" / "sources.list"
    assert " http://mirror.test/debian trixie main\n" in sources.read_text()
    run("images", "get", "debian", "--again", "--mirror", "https://other.test/debian")
    assert " https://other.test/debian trixie main\n" in sources.read_text()
    for bad in ("x", "http://a b", "http://a] [trusted=yes", "ftp://x"):
        assert "--mirror" in run("images", "get", "debian", "--again", "--mirror", bad, code=2)


def test_what_the_user_gets_wrong(debian: Debian, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there are debian, debian-kvm" in run("images", "get", "slackware", code=2)
    assert "rvtui images get debian" in run("run", "--headless", "--image", "debian", code=2)
    assert "there are" in run("run", "--headless", "--image", "../debian", code=2)
    run("images", "get", "debian")
    assert "--kernel" in run("run", "--headless", "--image", "debian", "--kernel", "x", code=2)
    assert "hello" in run("run", "--headless", "--image", "debian", "hello", code=2)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(debian.home))
    assert str(debian.home / ".cache" / "rvtui" / "images") in run("images")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (True, False):
        stream = io.StringIO()
        stream.isatty = lambda terminal=terminal: terminal  # type: ignore[misc, method-assign]
        monkeypatch.setattr(sys, "stderr", stream)
        progress = command.Progress("debian")
        progress("packages", 0.5)
        progress("packages", 0.5)
        progress.end()
        assert stream.getvalue() == ("\rdebian: packages  50%\x1b[K\r\x1b[K" if terminal else "")


def test_apts_own_progress_is_passed_on(debian: Debian, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    client = apt.Apt(tmp_path / "apt", None, lambda what, share: seen.append((what, share)))
    archives = client.archives(client.closure(["opensbi"], lambda package: False))
    client.download(archives, tmp_path)
    assert seen == [("packages", 0.5)]
