"""Machines as the command line asks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emulator import guests, loader
from emulator.devices.virtio import Drive
from emulator.errors import ConfigurationError, LoadError
from emulator.loader import Image
from emulator.machine import RAM_BASE, Machine
from emulator.vmm import Hypervisor

VM_MEMORY = 32 << 20
DEVICE_TREE_MAGIC = bytes.fromhex("d00dfeed")
RAW = (".bin", ".img", ".raw")
"""Names of files that need no header: they are loaded at the start of RAM."""
OVERHEAD = 16 << 20
"""RAM of the machine beyond that of its VMs: G-stage tables and alignment."""


def bundled(*, bare: bool = False) -> str:
    """Names of the bundled guests, for messages."""
    return ", ".join(name for name in guests.NAMES if (name in guests.BARE) == bare)


def find(name: str, *, bare: bool) -> Path:
    """A guest by path, or a bundled one by name. Raises LoadError, which says which there are."""
    path = Path(name)
    if name in guests.NAMES and not path.exists():
        if bare != (name in guests.BARE):
            raise LoadError(
                f"{name} boots on the bare machine: use --bare {name}"
                if not bare
                else f"{name} is a guest of a hypervisor: leave out --bare"
            )
        return guests.path(name)
    if not path.exists() and os.sep not in name and "." not in name:
        raise LoadError(f"{name}: no such file, and no bundled guest is called that (there are {bundled(bare=bare)})")
    return path


def with_guests(names: Sequence[str], *, memory: int = VM_MEMORY, vcpus: int = 1) -> Machine:
    """Each of `names` as a VM of the built-in hypervisor, with `memory` bytes."""
    paths = [find(name, bare=False) for name in names]
    machine = Machine(memory=_up(len(paths) * (memory + (2 << 20)) + OVERHEAD))
    hypervisor = Hypervisor(machine)
    machine.host = hypervisor
    taken: set[str] = set()
    for path in paths:
        vm = hypervisor.create_vm(_name(path, taken), memory=memory, vcpus=vcpus)
        if not _has_form(path):
            raise LoadError(f"{path}: neither an ELF file nor a Linux kernel image")
        vm.load(path)
    return machine


def bare(
    firmware: str, *, memory: int, harts: int, dtb: str | None, drives: Sequence[str] = ()
) -> tuple[Machine, bytes, Image]:
    """The bare machine with `firmware` in M-mode at its entry; the device tree that it is handed; what was loaded."""
    path = find(firmware, bare=True)
    if _has_form(path):
        image = loader.read_image(path)
    elif path.suffix in RAW:
        image = loader.read_raw(path, RAM_BASE)
    else:
        raise LoadError(f"{path}: neither an ELF file nor a Linux kernel image; a raw image is called {', '.join(RAW)}")
    machine = Machine(memory=memory, harts=harts, drives=map(Drive.parse, drives), entropy=0)
    machine.load(image)
    tree = machine.device_tree() if dtb is None else loader.read_file(dtb, 1 << 20)
    if dtb is not None and tree[:4] != DEVICE_TREE_MAGIC:
        raise LoadError(f"{dtb}: no flattened device tree (it begins with {tree[:4].hex() or 'nothing'}, not d00dfeed)")
    machine.boot(image.entry, tree)
    return machine, tree, image


def _has_form(path: Path) -> bool:
    """ELF, Linux image or compressed, whatever the name says."""
    data = loader.read_file(path)
    return data.startswith((b"\x7fELF", b"\x1f\x8b")) or loader.linux_header(data) is not None


def _up(size: int) -> int:
    """To whole MiB."""
    return -(-size >> 20) << 20


def _name(path: Path, taken: set[str]) -> str:
    stem = path.stem[:32] or "guest"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    taken.add(name)
    return name


def write_file(path: str, data: bytes) -> None:
    """Whole or not at all, unless it is a device or pipe. Raises ConfigurationError."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if _is_stream(target):
            target.write_bytes(data)
            return
        beside.write_bytes(data)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


def _is_stream(target: Path) -> bool:
    """/dev/stdout and the like must not be replaced by a file."""
    return target.exists() and (not target.is_file() or target.parent == Path("/dev"))


def check_writable(path: str) -> None:
    """Better to hear now than after a long run that a file cannot be saved. Raises ConfigurationError."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise ConfigurationError(f"{path}: is a directory; name a file to save to")
    if not folder.is_dir():
        raise ConfigurationError(f"{path}: there is no directory {folder}")
    if not os.access(target if _is_stream(target) else folder, os.W_OK):
        raise ConfigurationError(f"{path}: directory {folder} is not writable")
