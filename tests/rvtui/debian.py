"""A Debian of the tests' own: tiny packages, and an apt that serves them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import struct
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard
from desk import jump, lui

RELEASE = "6.12.9-test"
MODULES = f"usr/lib/modules/{RELEASE}"
LIBRARIES = "usr/lib/riscv64-linux-gnu"
LINKER = "/lib/ld-linux-riscv64-lp64d.so.1"
Content = bytes | str
"""Of a file, or where a link leads."""


def module(name: str, depends: str = "", alias: str = "") -> bytes:
    """A kernel module that says so much of itself, and nothing else."""
    info = f"name={name}\0depends={depends}\0" + (f"alias={alias}\0" if alias else "")
    names = b"\0.modinfo\0.shstrtab\0"
    data = info.encode()
    sections = bytes(64)
    for at, kind, offset, size in ((1, 1, 64, len(data)), (10, 3, 64 + len(data), len(names))):
        sections += struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, offset, size, 0, 0, 1, 0)
    return _header(1, sections=64 + len(data) + len(names), count=3) + data + names + sections


def program(needs: Sequence[str], linker: str = "") -> bytes:
    """A program or library that the dynamic linker could read, and no code."""
    names = b"\0" + b"".join(each.encode() + b"\0" for each in needs)
    at = {each: names.index(each.encode()) for each in needs}
    start = 64 + 3 * 56
    inner = linker.encode() + b"\0" if linker else b""
    dynamic_at = start + len(names) + len(inner)
    dynamic = b"".join(struct.pack("<QQ", 1, at[each]) for each in needs)
    dynamic += struct.pack("<6Q", 5, start, 10, len(names), 0, 0)
    size = dynamic_at + len(dynamic)
    segments = [(1, 0, size), (2, dynamic_at, len(dynamic))]
    if linker:
        segments.append((3, start + len(names), len(inner)))
    table = b"".join(struct.pack("<IIQQQQQQ", kind, 5, o, o, o, n, n, 8) for kind, o, n in segments)
    return _header(3, segments=len(segments)) + table.ljust(3 * 56, b"\0") + names + inner + dynamic


def _header(kind: int, *, sections: int = 0, count: int = 0, segments: int = 0) -> bytes:
    return b"\x7fELF\2\1\1" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", kind, 243, 1, 0, 64 if segments else 0, sections, 0, 64, 56, segments, 64, count,
        count - 1 if count else 0,
    )  # fmt: skip


def kernel() -> bytes:
    """A Linux image that writes "pass" to the test finisher."""
    head = struct.pack("<IIQQQIIQ8s4sI", jump(64), 0, 0x20_0000, 0x1000, 0, 2, 0, 0, b"RISCV\0\0\0", b"RSC\5", 0)
    code = (lui(5, 0x100), lui(6, 0x5), 0x5553_0313, 0x0062_A023, jump(0))
    return head + b"".join(word.to_bytes(4, "little") for word in code)


def deb(files: Mapping[str, Content], form: str = "xz") -> bytes:
    """A package with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    press = {"xz": lzma.compress, "gz": gzip.compress, "zst": zstandard.compress, "": bytes}[form]
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        f"data.tar{form and '.'}{form}": press(packed.getvalue()),
    }
    out = b"!<arch>\n"
    for name, data in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(data):<10}`\n"
        out += head.encode() + data + b"\n" * (len(data) & 1)
    return out


def everything() -> dict[str, tuple[str, str, bytes]]:
    """Name: (section, what it depends on, file) of all that the images want."""
    plain = ("virtio_mmio", "virtio_blk", "virtio-rng", "ext4", "crc32c_generic")
    files: dict[str, Content] = {
        f"boot/vmlinux-{RELEASE}": kernel(),
        f"{MODULES}/modules.builtin": b"kernel/drivers/virtio/virtio.ko\nkernel/lib/crc16.ko\n",
        # What a module needs comes before it and after it; some of it is built in.
        f"{MODULES}/kernel/virt/irqbypass.ko.xz": lzma.compress(module("irqbypass")),
        f"{MODULES}/kernel/arch/kvm.ko.xz": lzma.compress(module("kvm", "irqbypass,virtio", "devname:kvm")),
        f"{MODULES}/kernel/net/virtio_net.ko.zst": zstandard.compress(module("virtio_net", "net_failover", "virtio:1")),
        f"{MODULES}/kernel/net/net_failover.ko.gz": gzip.compress(module("net_failover", "failover")),
        f"{MODULES}/kernel/net/failover.ko": module("failover"),
        f"{MODULES}/kernel/fs/9p.ko": module("9p", "9pnet"),
        f"{MODULES}/kernel/net/9pnet.ko": module("9pnet"),
        f"{MODULES}/kernel/net/9pnet_virtio.ko": module("9pnet_virtio", "9pnet"),
        f"{MODULES}/kernel/drivers/unwanted.ko": module("unwanted"),
    }
    files |= {f"{MODULES}/kernel/{name}.ko": module(name.replace("-", "_")) for name in plain}
    qemu = program(["libone.so.1", "libc.so.6"], LINKER)
    return {
        "linux-image-riscv64": ("kernel", f"linux-image-{RELEASE} (= 1)", deb({})),
        f"linux-image-{RELEASE}": ("kernel", "kmod, initramfs-tools (>= 1) | other", deb(files)),
        "busybox-static": ("shells", "", deb({"usr/bin/busybox": b"busybox"}, "zst")),
        "opensbi": ("misc", "", deb({"usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin": b"sbi!"}, "gz")),
        "qemu-system-riscv": ("otherosfs", "libone1, libc6, sayings", deb({"usr/bin/qemu-system-riscv64": qemu}, "")),
        "libone1": ("libs", "libtwo1, libc6 (>= 2) | musl", deb({
            f"{LIBRARIES}/libone.so.1": "libone.so.1.2",
            f"{LIBRARIES}/libone.so.1.2": program(["libtwo.so", "libc.so.6"]),
        })),
        "libtwo1": ("libs", "libone1", deb({f"{LIBRARIES}/libtwo.so": program(["libone.so.1"])})),
        "libc6": ("libs", "", deb({
            f"{LIBRARIES}/libc.so.6": program([]),
            "usr/lib/ld-linux-riscv64-lp64d.so.1": program([]),
        })),
        "sayings": ("games", "", deb({"usr/games/unwanted": b"no"})),
    }  # fmt: skip


FAKE = """#!{python} -IS
import json, os, pathlib, signal, sys, time
home = pathlib.Path({home!r})
told = json.loads((home / "packages.json").read_text())
words = sys.argv[1:]
tool = pathlib.Path(sys.argv[0]).name
with (home / "log").open("a") as log:
    log.write(" ".join([tool, *words]) + "\\n")
status = [int(w.partition("=")[2]) for w in words if w.startswith("APT::Status-Fd=")]
names = [w.partition("=")[0] for w in words if w.partition("=")[0] in told]
trouble = (home / "trouble").read_text().split() if (home / "trouble").exists() else []
if "indextargets" in words:
    print("http://mirror.test/debian-security/\\nhttp://mirror.test/debian/")
elif "show" in words:
    for name in names:
        section, depends = told[name]["section"], told[name]["depends"]
        print(f"Package: {{name}}\\nVersion: 1:2-3\\nSection: {{section}}\\nDepends: {{depends}}")
        print("Description: words\\n of a package\\n")
elif "offline" in trouble:
    print("Err:1 http://mirror.test/debian trixie", flush=True)
    sys.exit("E: Failed to fetch http://mirror.test/debian/x  Could not resolve 'mirror.test'\\nE: Some files failed")
elif "download" in words:
    for name in names:
        data = (home / (name + ".deb")).read_bytes()
        file = name + "_1%3a2-3_riscv64.deb"
        if "--print-uris" in words:
            print(f"'http://mirror.test/{{file}}' {{file}} {{len(data)}} SHA256:{{told[name]['sha256']}}")
            continue
        if f"interrupt:{{name}}" in trouble:
            pathlib.Path(file).write_bytes(data[: len(data) // 2])
            (home / "pid").write_text(str(os.getpid()))
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
        pathlib.Path(file).write_bytes(data)
        for number in status:
            os.write(number, b"dlstatus:1:50.0000:Retrieving\\n")
"""


class Debian:
    """Packages in a folder, with `apt-get` and `apt-cache` in its folder bin."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.packages = everything()
        (home / "bin").mkdir(parents=True)
        for tool in ("apt-get", "apt-cache"):
            path = home / "bin" / tool
            path.write_text(FAKE.format(python=sys.executable, home=str(home)))
            path.chmod(0o755)
        self.publish()

    def publish(self, *, signed: Mapping[str, str] | None = None) -> None:
        """Serve `packages`; `signed` are digests in the list that are others than the files'."""
        told: dict[str, Any] = {}
        for name, (section, depends, data) in self.packages.items():
            (self.home / f"{name}.deb").write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            told[name] = {"section": section, "depends": depends, "sha256": (signed or {}).get(name, sha256)}
        (self.home / "packages.json").write_text(json.dumps(told))

    def trouble(self, *words: str) -> None:
        """offline, or interrupt:PACKAGE when it is half here."""
        (self.home / "trouble").write_text(" ".join(words))

    def is_at_work(self) -> bool:
        """Whether the apt that made trouble last still runs."""
        try:
            os.kill(int((self.home / "pid").read_text()), 0)
        except ProcessLookupError:
            return False
        return True

    def calls(self) -> list[str]:
        """What apt was called for, since last asked."""
        log = self.home / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def fetched(self) -> set[str]:
        """Names of packages that it was asked to download, since last asked."""
        calls = [line.split() for line in self.calls() if " download " in line and "--print-uris" not in line]
        return {word.partition("=")[0] for words in calls for word in words} & self.packages.keys()


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Path: (mode, contents) of a newc archive, read as the kernel's documentation says."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701" and not at % 4
        field = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + field[11]]
        assert name.endswith(b"\0")
        start = at + 110 + field[11] + -(110 + field[11]) % 4
        if name == b"TRAILER!!!\0":
            return found
        found[name[:-1].decode()] = field[1], archive[start : start + field[6]]
        at = start + field[6] + -field[6] % 4
