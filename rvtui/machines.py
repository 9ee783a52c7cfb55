"""Machines as the command line asks for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from emulator import boot, guests, loader
from emulator.devices.flash import Flash
from emulator.devices.virtio import VIRTIO_SLOTS, Drive, Entropy, Network, Share
from emulator.errors import ConfigurationError, LoadError
from emulator.isa import decode
from emulator.loader import Image, Symbols
from emulator.machine import Machine
from emulator.vmm import Hypervisor

VM_MEMORY = 32 << 20
RAW = (".bin", ".img", ".raw")
"""Names of files that are raw images whatever they begin with: firmware at the start of RAM, kernels behind it."""
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


def with_guests(
    names: Sequence[str], *, memory: int = VM_MEMORY, vcpus: int = 1, initrd: str | None = None, append: str = "",
    drives: Sequence[str] = (), shares: Sequence[str] = (), network: bool = True, isa: str = "max",
) -> Machine:  # fmt: skip
    """Each of `names` as a VM of the built-in hypervisor, with `memory` bytes. All are given `initrd` and `append`,
    such of `drives` as name no other VM, `shares`, a source of entropy, and a network device if `network`."""
    paths = [find(name, bare=False) for name in names]
    machine = Machine(memory=_up(len(paths) * (memory + (2 << 20)) + OVERHEAD), isa=isa)
    hypervisor = Hypervisor(machine)
    machine.host = hypervisor
    taken: set[str] = set()
    disks = [_disk(text, len(paths)) for text in drives]
    for path in paths:
        vm = hypervisor.create_vm(_name(path, taken), memory=memory, vcpus=vcpus)
        vm.attach(Entropy(len(taken)), VIRTIO_SLOTS - 1)
        if network:
            vm.attach(Network(), VIRTIO_SLOTS - 2)
        for drive, only in disks:
            if only in (None, len(taken)):
                vm.attach(Drive.parse(drive))
        for share in Share.parse_all(shares):
            vm.attach(share)
        data = loader.read_file(path)
        if not loader.has_form(data):
            raise LoadError(f"{path}: {_foreign(data) or 'neither an ELF file nor a Linux kernel image'}")
        vm.load(path, append, initrd)
        machine.programs.append(hashlib.sha256(data).hexdigest())
    return machine


def add_symbols(machine: Machine, texts: Sequence[str]) -> Symbols | None:
    """Names and source lines as --symbols has them: FILE[,FILE][,vm=N], for all VMs, or on the bare machine. Returns
    them all, None where there are none. LoadError or ConfigurationError."""
    every: Symbols | None = None
    vms = getattr(machine.host, "vms", [])
    for text in texts:
        files, only = _disk(text, len(vms)) if vms else (text, None)
        owners = [machine] if not vms else vms if only is None else [vms[only - 1]]
        for file in files.split(","):
            found = loader.read_symbols(file)
            every = found if every is None else every | found
            for owner in owners:
                owner.symbols = owner.symbols | found
    return every


def _disk(text: str, vms: int) -> tuple[str, int | None]:
    """A --drive without its vm=N, and N: a position among the guests from 1 on; None for all of them."""
    words = text.split(",")
    mine = [word for word in words[1:] if word.startswith("vm=")]
    if not mine:
        if vms > 1 and words[-1] == "rw":
            raise ConfigurationError(f"drive {text}: one VM only may write to the file: say which, with ,vm=N")
        return text, None
    number = mine[0].removeprefix("vm=")
    if len(mine) > 1 or number not in map(str, range(1, vms + 1)):
        raise ConfigurationError(f"{text}: vm= takes the number of one guest, 1 to {vms}")
    words.remove(mine[0])
    return ",".join(words), int(number)


def bare(
    firmware: str | None, *, memory: int, harts: int, dtb: str | None, kernel: str | None = None,
    initrd: str | None = None, append: str = "", drives: Sequence[str] = (), shares: Sequence[str] = (),
    network: bool = True, reboot: bool = True, isa: str = "max", flash: Sequence[str] = (), fw_cfg: Sequence[str] = (),
) -> tuple[Machine, bytes, Image | None]:  # fmt: skip
    """The bare machine with `firmware` in M-mode at its entry, or `kernel` in S-mode under the built-in one; the device
    tree that it is handed; the first program loaded. Without either it has nothing to run, unless there is `flash`, to
    which `kernel` is handed. `fw_cfg`: NAME=FILE of what firmware finds. `reboot`: a reset boots it again."""
    machine = Machine(
        memory=memory, harts=harts, drives=map(Drive.parse, drives), entropy=0, network=network, isa=isa,
        flash=map(Flash.parse, flash),
    )  # fmt: skip
    for text in fw_cfg:
        machine.fw_cfg.add_file(text)
    for share in Share.parse_all(shares):
        machine.attach(share)
    paths = {"firmware": (firmware, True), "kernel": (kernel, False)}
    found = {part: find(name, bare=bare) for part, (name, bare) in paths.items() if name is not None}
    for part, path in found.items():
        if part == "firmware" or not flash:  # what is in flash decides what a kernel is
            _check_program(path)
    recipe = boot.Recipe(append, **found, initrd=initrd, tree=dtb)
    tree, image = recipe.start(machine)
    machine.recipe = recipe if reboot else None
    return machine, tree, image


def _check_program(path: Path) -> None:
    data = loader.read_file(path)
    if not loader.has_form(data):
        _check_raw(path, data)


def _foreign(data: bytes) -> str:
    """Why a file is not to be run at all, or ""."""
    from snapshots.format import MAGIC  # what only a wrong file needs

    if data.startswith(MAGIC):
        return "it is a snapshot: rvtui snapshot restore goes on from it"
    what = loader.foreign(data)
    return f"it is {what}, not a program for RISC-V" if what else ""


def _check_raw(path: Path, data: bytes) -> None:
    """Any file may be a raw image, loaded where its kind goes and entered at its first byte; refuses what is none."""
    why = _foreign(data)
    if not why and path.suffix not in RAW:
        first = decode(int.from_bytes(data[:4], "little"))
        if loader.is_text(data):
            why = "it is text, neither an ELF file nor a kernel image"
        elif first is None:
            why = "neither an ELF file nor a kernel image, and as a raw image it would begin with an instruction"
        why += f"; name it {RAW[0]} to run it all the same" if why else ""
    if why:
        raise LoadError(f"{path}: {why}")


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
