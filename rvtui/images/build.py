"""From packages to an image: what of them becomes the kernel, the initramfs and the firmware."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from rvtui.images import ImageError, initramfs
from rvtui.images.apt import Apt, Archive, Progress, follow, missing
from rvtui.images.cache import Cache, Manifest, Origin
from rvtui.images.packages import File, files, module_info, module_name, unpacked
from rvtui.images.recipes import GUEST_SCRIPTS, Recipe, script

FIRMWARE: Final = "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"
BUSYBOX: Final = ("usr/bin/busybox", "bin/busybox")
ROOM: Final = 160 << 20
"""Bytes for lists of packages and for what is built."""


def get(recipe: Recipe, cache: Cache, mirror: str | None, progress: Progress, note: Callable[[str], None]) -> Manifest:
    """Fetch, build and keep an image. `note` is told what went wrong and may not matter. Raises ImageError."""
    with cache.explained():
        apt = Apt(cache.root / "apt", mirror, progress)
        cache.packages.mkdir(parents=True, exist_ok=True)
    failed: ImageError | None = None
    try:
        apt.update()
    except ImageError as error:
        failed = error
    try:
        archives = apt.archives(apt.closure(recipe.packages, follow))
    except ImageError as error:
        raise failed or error from None
    if failed is not None:
        note(f"{failed}; going on with the lists from before")
    _check_room(cache, archives)
    apt.download(missing(archives, cache.packages), cache.packages)
    if bad := [each for each in archives if not _whole(each, cache.packages)]:
        for each in bad:  # changed after apt had checked it
            (cache.packages / each.file).unlink(missing_ok=True)
        apt.download(bad, cache.packages)
        if any(not _whole(each, cache.packages) for each in bad):
            raise ImageError(f"package {bad[0].file} is not what Debian's list says: try again, or another --mirror")
    contents = build(recipe, archives, cache.packages, progress)
    origins = tuple(Origin(each.package.name, each.package.version, each.size, each.sha256) for each in archives)
    cache.add(Manifest(recipe.name, recipe.digest, apt.mirror, recipe.append, origins, {}), contents)
    whole = cache.manifest(recipe.name)
    assert whole is not None
    return whole


def _check_room(cache: Cache, archives: Iterable[Archive]) -> None:
    needed = sum(each.size for each in missing(archives, cache.packages)) + ROOM
    free = shutil.disk_usage(cache.root).free
    if free < needed:
        raise ImageError(
            f"{cache.root}: {needed >> 20} MiB are needed and {free >> 20} are free: make room, or set XDG_CACHE_HOME"
        )


def _whole(archive: Archive, folder: Path) -> bool:
    try:
        with (folder / archive.file).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == archive.sha256
    except OSError:
        return False


def build(recipe: Recipe, archives: Iterable[Archive], folder: Path, progress: Progress) -> dict[str, bytes]:
    """The files of the image by kind. Raises ImageError."""
    kernel: bytes | None = None
    tree: dict[str, File] = {}
    brought: dict[str, File] = {}
    firmware = busybox = None
    archives = list(archives)
    for number, archive in enumerate(archives):
        progress("building", number / len(archives))
        path = folder / archive.file
        if archive.package.name.startswith("linux-image-"):
            found, parts = _kernel(path, recipe.modules)
            kernel, tree = found or kernel, tree | parts
        else:
            for name, file in files(path, lambda name: _is_wanted(name, recipe)):
                if name == FIRMWARE:
                    firmware = file.data
                elif name in BUSYBOX:
                    busybox = file
                else:
                    brought[name] = file
    for what, value in (("kernel", kernel), ("busybox", busybox), ("firmware", firmware)):
        if value is None:
            raise ImageError(f"image {recipe.name}: no package brings the {what}")
    assert kernel is not None and busybox is not None and firmware is not None
    shell = initramfs.busybox(busybox)
    tree |= shell | initramfs.programs(recipe.programs, brought)
    for name in recipe.scripts:
        tree["init" if name == "init" else f"bin/{name}"] = File(0o755, script(name).encode())
    if recipe.nested:
        inner = {name.removeprefix("guest-"): File(0o755, script(name).encode()) for name in GUEST_SCRIPTS}
        tree["guest/kernel"] = File(0o644, kernel)
        tree["guest/initrd"] = File(0o644, initramfs.archive(shell | inner))
    progress("building", 1.0)
    return {"kernel": kernel, "initrd": initramfs.archive(tree), "firmware": firmware}


def _is_wanted(name: str, recipe: Recipe) -> bool:
    return name in (FIRMWARE, *BUSYBOX, *recipe.programs) or (
        bool(recipe.programs) and ".so" in name and name.startswith(("usr/lib/", "lib/"))
    )


def _kernel(package: Path, wanted: Iterable[str]) -> tuple[bytes | None, dict[str, File]]:
    """The kernel of a package, if it has one, and the modules `wanted` of it with those that they need."""
    kernel, release, builtin = None, "", set[str]()
    packed: dict[str, tuple[str, bytes]] = {}  # all of them, as what a module needs may stand before it
    for name, file in files(package, lambda name: _is_kernel(name) or bool(module_name(name))):
        _, _, inside = name.partition("lib/modules/")
        if name.startswith("boot/"):
            kernel = file.data
        elif inside.endswith("/modules.builtin"):
            release = inside.split("/")[0]
            builtin = {module_name(line) for line in file.data.decode("utf-8", "replace").split()}
        elif inside and not file.link:
            packed[module_name(name)] = name, file.data
    if kernel is None or not release:
        return None, {}
    found: dict[str, tuple[str, bytes]] = {}
    waiting = list(wanted)
    while waiting:
        each = waiting.pop()
        if each in packed and each not in found:
            name, data = packed[each]
            inside = name.partition("lib/modules/")[2].partition("/")[2]
            found[each] = inside.partition(".ko")[0] + ".ko", unpacked(name, data)
            waiting += initramfs.needed(module_info(each, found[each][1]))
    if lacking := sorted(set(wanted) - found.keys() - builtin):
        raise ImageError(f"{package.name}: it has no kernel module {lacking[0]}")
    return kernel, initramfs.modules(release, found, builtin)


def _is_kernel(name: str) -> bool:
    return name.startswith(("boot/vmlinux-", "boot/vmlinuz-")) or (
        name.endswith("/modules.builtin") and "lib/modules/" in name
    )
