"""The images that there are, and what each is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Final

from rvtui.images import ImageError

SUITE: Final = "trixie"
ARCHITECTURE: Final = "riscv64"
FORMAT: Final = 2
"""Of what is built; counted up when the builder makes something else of the same recipe."""


@dataclass(frozen=True)
class Recipe:
    """`packages` are fetched with the shared libraries and the kernel that they depend on."""

    name: str
    what: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    """Kernel modules that the initramfs has, besides those that these need."""
    programs: tuple[str, ...] = ()
    """Files of packages that the initramfs has, besides busybox and the shared libraries that these need."""
    scripts: tuple[str, ...] = ("init", "network")
    """Texts of ours in the initramfs, from `rvtui/images/scripts`."""
    nested: bool = False
    """The kernel and a small initramfs are inside once more, for a guest."""
    append: str = "console=ttyS0"
    download: int = 0
    """Bytes to fetch, about: what is asked for before there are lists of packages."""

    @property
    def digest(self) -> str:
        """Of all that decides what is built of given packages: with another one the image is to be made anew."""
        texts = {name: script(name) for name in (*self.scripts, *(GUEST_SCRIPTS if self.nested else ()))}
        told = json.dumps([FORMAT, SUITE, asdict(self), texts], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


_BASE: Final = ("linux-image-riscv64", "busybox-static", "opensbi")
_VIRTIO: Final = ("virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "9pnet_virtio")
_MODULES: Final = (*_VIRTIO, "9p", "ext4", "crc32c_generic", "kvm")  # ext4 asks for the checksum by name
GUEST_SCRIPTS: Final = ("guest-init",)
RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "debian",
            "Debian's kernel with KVM and virtio, a busybox shell, OpenSBI",
            _BASE,
            _MODULES,
            download=115 << 20,
        ),
        Recipe(
            "debian-kvm",
            "the same with QEMU inside: `guest` starts the kernel once more, under KVM",
            (*_BASE, "qemu-system-riscv"),
            _MODULES,
            programs=("usr/bin/qemu-system-riscv64",),
            scripts=("init", "network", "guest"),
            nested=True,
            download=142 << 20,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """Raises ImageError, which says which there are."""
    if name not in RECIPES:
        raise ImageError(f"there is no image {name[:64]!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def script(name: str) -> str:
    """A text that goes into an initramfs."""
    return resources.files(__package__).joinpath("scripts", name).read_text("utf-8")
