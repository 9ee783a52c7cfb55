"""An initramfs: a cpio archive in the "newc" format ("initramfs buffer format" of the kernel's documentation).

It is not compressed: whoever boots it spends instructions on every byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rvtui.images import ImageError
from rvtui.images.packages import File, libraries, module_info, module_name

DIRECTORIES: Final = ("dev", "proc", "sys", "tmp", "root", "etc", "run", "bin", "usr/bin", "mnt")
_LINKS: Final = 40
"""A chain of symbolic links that is longer has no end, as for the kernel's path walk."""


def archive(tree: dict[str, File]) -> bytes:
    """The archive of `tree`, the directories in front of what is in them; the same bytes for the same tree."""
    folders = {folder for path in tree for folder in _above(path)} | {f for d in DIRECTORIES for f in (*_above(d), d)}
    parts: list[bytes] = []
    for number, path in enumerate(sorted(folders | tree.keys()), 1):
        if path in tree:
            file = tree[path]
            kind, data = (0o120000, file.link.encode()) if file.link else (0o100000, file.data)
            parts += _entry(path, kind | file.mode, data, number)
        else:
            parts += _entry(path, 0o040755, b"", number)
    # The kernel opens the first process's console before anything is mounted.
    parts += _entry("dev/console", 0o020600, b"", len(folders) + len(tree) + 1, device=(5, 1))
    parts += _entry("TRAILER!!!", 0, b"", 0)
    return b"".join(parts)


def _above(path: str) -> list[str]:
    pieces = path.split("/")[:-1]
    return ["/".join(pieces[: n + 1]) for n in range(len(pieces))]


def _entry(path: str, mode: int, data: bytes, number: int, device: tuple[int, int] = (0, 0)) -> list[bytes]:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]


def busybox(program: File) -> dict[str, File]:
    """The program, and the shell that starts init, which makes the other links; the kernel calls /sbin/modprobe."""
    links = {"bin/sh": "busybox", "sbin": "bin"}
    return {"bin/busybox": File(0o755, program.data)} | {name: File(0o777, b"", to) for name, to in links.items()}


def modules(release: str, found: dict[str, tuple[str, bytes]], builtin: Iterable[str]) -> dict[str, File]:
    """Kernel modules (name: path below /lib/modules/RELEASE, contents) with the lists that modprobe reads.

    ImageError where a module needs one that is neither `found` nor `builtin`."""
    present = set(builtin)
    needs, aliases = {}, []
    for name, (_, data) in found.items():
        info = module_info(name, data)
        needs[name] = needed(info)
        aliases += [f"alias {alias} {name}\n" for alias in info.get("alias", ())]
        if missing := [each for each in needs[name] if each not in found and each not in present]:
            raise ImageError(f"kernel module {name} needs {missing[0]}, which no package brings")
    order = [f"{found[name][0]}:{''.join(f' {found[n][0]}' for n in _closure(name, needs, found))}\n" for name in found]
    base = f"lib/modules/{release}"
    return {f"{base}/{path}": File(0o644, data) for path, data in found.values()} | {
        f"{base}/modules.dep": File(0o644, "".join(sorted(order)).encode()),
        f"{base}/modules.alias": File(0o644, "".join(sorted(aliases)).encode()),
        f"{base}/modules.builtin": File(0o644, "".join(f"kernel/{n}.ko\n" for n in sorted(present)).encode()),
    }


def needed(info: dict[str, list[str]]) -> list[str]:
    """The modules that must be there before, from what a module says of itself; the soft ones are wishes only."""
    return [module_name(f"{each}.ko") for each in ",".join(info.get("depends", ())).split(",") if each]


def _closure(name: str, needs: dict[str, list[str]], found: dict[str, tuple[str, bytes]]) -> list[str]:
    """What `name` needs, each in front of what it needs itself: modprobe loads from the end."""
    order: list[str] = []

    def visit(each: str, under: tuple[str, ...]) -> None:
        if each in under:
            raise ImageError(f"kernel modules need each other in a circle: {' '.join((*under, each))}")
        for other in needs[each]:
            if other in found:
                visit(other, (*under, each))
        if each not in order:
            order.append(each)

    visit(name, ())
    return order[-2::-1]


def programs(paths: Iterable[str], files: dict[str, File]) -> dict[str, File]:
    """`paths` of `files` (package path: file) and all shared libraries that they need, each at the path where the
    dynamic linker looks. ImageError where one is missing."""
    by_name = {path.rpartition("/")[2]: path for path in sorted(files, reverse=True) if ".so" in path}
    tree: dict[str, File] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path in tree:
            continue
        real = _followed(path, files)
        if real is None:
            raise ImageError(f"{path}: no package brings it")
        tree[path] = File(0o755, files[real].data)
        names, linker = libraries(path, files[real].data)
        if linker:
            inside = linker.strip("/")
            source = by_name.get(inside.rpartition("/")[2])
            if source is None or (at := _followed(source, files)) is None:
                raise ImageError(f"{path}: no package brings its dynamic linker {linker}")
            tree[inside] = File(0o755, files[at].data)
        for name in names:
            if name not in by_name:
                raise ImageError(f"{path} needs {name}, which no package brings")
            waiting.append(by_name[name])
    return tree


def _followed(path: str, files: dict[str, File]) -> str | None:
    """Where a path leads through symbolic links; None for nowhere."""
    for _ in range(_LINKS):
        if path not in files:
            return None
        link = files[path].link
        if not link:
            return path
        pieces = [] if link.startswith("/") else path.split("/")[:-1]
        for piece in link.split("/"):
            if piece == "..":
                pieces = pieces[:-1]
            elif piece not in ("", "."):
                pieces.append(piece)
        path = "/".join(pieces)
    return None
