"""Booting a bare machine as QEMU's virt does: firmware at the start of RAM, kernel behind it, initrd and device tree
where neither is in the other's way.

The kernel is found where OpenSBI looks for it: fw_jump at 2 MiB, fw_dynamic at the address that it is told. Without
firmware the built-in one is used. With flash, firmware goes on into that instead, in S-mode, and what runs there finds
kernel, initrd and command line in fw_cfg.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from .devices.flash import FLASH
from .devicetree import Node, flatten, parse, quads, reservations, with_room
from .errors import ConfigurationError, LoadError, StateError
from .firmware import Firmware
from .loader import FILE_LIMIT, Image, parse_program, read_file, shown
from .machine import MIB, Machine

STAGE: Final = 2 * MIB
"""Alignment of a kernel; S-mode maps it with pages of this size."""
INITRD_REACH: Final = 512 * MIB
"""The initrd lies at most so far behind the kernel, as early kernels map no more."""

TREE_ROOM: Final = 4 << 10
"""Bytes that the built-in firmware leaves free in the device tree, as OpenSBI does: boot loaders edit it in place."""
ADUE: Final = 1 << 61


class Initrd(NamedTuple):
    name: str
    data: bytes


PARTS: Final = {"firmware": FILE_LIMIT, "kernel": FILE_LIMIT, "initrd": FILE_LIMIT, "tree": 1 << 20}
"""What a machine boots from, and the most bytes of each."""


class Recipe:
    """Files to boot a machine from, as often as it is reset: they must then still be what they were."""

    def __init__(self, append: str = "", **files: str | os.PathLike[str] | None) -> None:
        """`files`: paths by part; see PARTS."""
        self.append = append
        given = {part: os.fsdecode(path) for part, path in files.items() if path is not None}
        self.files = {part: os.path.abspath(path) for part, path in given.items()}
        self.names = {part: shown(path) for part, path in given.items()}
        """As the user wrote them."""
        self.digests: dict[str, str] = {}

    def read(self, part: str) -> bytes | None:
        """None where there is no such part. LoadError for what cannot be read, or has changed since the first time."""
        if part not in self.files:
            return None
        data = read_file(self.files[part], PARTS[part], self.names[part])
        digest = hashlib.sha256(data).hexdigest()
        if self.digests.setdefault(part, digest) != digest:
            raise LoadError(f"{self.names[part]}: it is not the file that the machine was booted from")
        return data

    def start(self, machine: Machine) -> tuple[bytes, Image | None]:
        """Boot; returns the device tree and the first program. LoadError as `boot`."""
        images: list[Image | None] = []
        for part in ("firmware", "kernel"):
            data = None if machine.flash and part == "kernel" else self.read(part)
            place = machine.ram_base if part == "firmware" else kernel_place(machine, images[0])
            images.append(None if data is None else parse_program(data, self.names[part], place))
        initrd, tree = None if machine.flash else self.read("initrd"), self.read("tree")
        if machine.flash:
            self._offer(machine)
        blob = boot(
            machine, *images, append=self.append, tree=tree,
            initrd=None if initrd is None else Initrd(self.names["initrd"], initrd),
            tree_name="device tree" if tree is None else self.names["tree"],
        )  # fmt: skip
        return blob, images[0] or images[1]

    def _offer(self, machine: Machine) -> None:
        """Kernel and initrd by fw_cfg, still the files that they were."""
        for part in ("kernel", "initrd"):
            self.read(part)
        machine.fw_cfg.put_kernel(self.files.get("kernel"), self.files.get("initrd"), self.append)

    def state(self) -> dict[str, Any]:
        rows = {part: [self.files[part], self.names[part], digest] for part, digest in self.digests.items()}
        return {"append": self.append, "files": rows}

    @classmethod
    def from_state(cls, state: object) -> Recipe:
        """Raises StateError."""
        match state:
            case {"append": str(append), "files": Mapping() as files} if set(files) <= PARTS.keys():
                self = cls(append)
            case _:
                raise StateError("saved state of the machine: what it was booted from is damaged")
        for part, row in files.items():
            match row:
                case [str(path), str(name), str(digest)]:
                    self.files[part], self.names[part], self.digests[part] = path, name, digest
                case _:
                    raise StateError(f"saved state of the machine: its {part} is damaged")
        return self


def kernel_place(machine: Machine, firmware: Image | None) -> int:
    """Where a kernel that does not say itself goes: behind the firmware, at least 2 MiB into RAM."""
    end = machine.ram_base + 1 if firmware is None else firmware.end
    return -(-end // STAGE) * STAGE


def boot(
    machine: Machine, firmware: Image | None, kernel: Image | None = None, *, initrd: Initrd | None = None,
    append: str = "", tree: bytes | None = None, tree_name: str = "device tree",
) -> bytes:  # fmt: skip
    """Load all and reset the harts into the firmware; returns the device tree that it is handed.

    A kernel linked for an address below RAM, as vmlinux is for 0, is moved to where a flat one would go. `tree` takes
    the place of the machine's own device tree; its chosen node gets what `append` and `initrd` say. Without a kernel,
    flash is what follows firmware, if there is any. LoadError for whatever does not fit, or contradicts the machine.
    """
    room = TREE_ROOM if firmware is None else 0
    ram = machine.memory.regions[-1]
    try:
        end = ram.end if tree is None else check_tree(parse(tree, tree_name), machine, tree_name)
    except ConfigurationError as error:
        raise LoadError(f"{tree_name}: {error}") from None
    if kernel is not None and kernel.end <= ram.base:
        kernel = kernel.moved(kernel_place(machine, firmware))
    programs = [image for image in (kernel, firmware) if image is not None]
    taken = [(image.name, s.physical, s.physical + s.size) for image in programs for s in image.segments]
    if kernel is not None and not (ram.base <= kernel.start and kernel.end <= end):
        raise LoadError(
            f"{kernel.name}: the kernel needs {kernel.start:#x}..{kernel.end:#x}, but RAM is"
            f" {ram.base:#x}..{end:#x}: give it more memory"
        )
    place = None
    blob = _tree(machine, tree, append, (0, 0) if initrd is not None else None, tree_name, room)
    at = machine.tree_place(len(blob), end)
    if initrd is not None:
        start = _initrd_place(initrd, ram.base, end, kernel, taken, at)
        place = start, start + len(initrd.data)
        taken.append((initrd.name, *place))
        blob = _tree(machine, tree, append, place, tree_name, room)
    taken.append((tree_name, at, at + len(blob)))
    for (one, _, last), (other, start, _) in pairwise(sorted(taken, key=lambda each: each[1:])):
        if last > start:
            raise LoadError(f"{one} and {other} overlap in memory, at {start:#x}: give it more memory")
    for image in programs:
        machine.load(image)
    if initrd is not None and place is not None:
        machine.memory.write(place[0], initrd.data)
    following = kernel.entry if kernel is not None else FLASH if machine.flash else None
    if firmware is not None:
        machine.boot(firmware.entry, blob, following, end)
        if firmware.tohost is None:
            _update_bits(machine)
    elif following is not None:
        machine.boot(following, blob, end=end)
        machine.host = Firmware(machine)
    return blob


def _update_bits(machine: Machine) -> None:
    """Hardware sets A and D until firmware says otherwise, as on QEMU's virt: kernels in M-mode rely on it. ("Reset"
    leaves menvcfg open.) Programs that end through HTIF are written for Spike, where pages fault."""
    for hart in machine.harts:
        hart.set_csr("menvcfg", ADUE)


def _initrd_place(
    initrd: Initrd, ram: int, end: int, kernel: Image | None, taken: list[tuple[str, int, int]], tree: int
) -> int:
    """Half of RAM behind the kernel, but no further than `INITRD_REACH`, so that what a kernel takes for itself at
    first does not reach it; lower where it would not fit below the device tree."""
    size = len(initrd.data)
    if size > end - ram:
        raise LoadError(f"{initrd.name}: an initrd of {size} bytes is larger than RAM of {end - ram} bytes")
    base = ram if kernel is None else kernel.start
    at = min(base + min((end - ram) // 2, INITRD_REACH), tree - size) & -4096
    if any(at < last and first < at + size for _, first, last in taken) or at < ram:
        above = max((last for _, _, last in taken), default=ram)
        raise LoadError(
            f"{initrd.name}: an initrd of {size} bytes does not fit between the kernel's end at {above:#x} and the"
            f" device tree at {tree:#x}: give it more memory"
        )
    return at


def _tree(
    machine: Machine, tree: bytes | None, append: str, initrd: tuple[int, int] | None, name: str, room: int
) -> bytes:
    """The blob, with what `chosen` says of the command line and of the initrd's place, if there are such, and with
    `room` to grow."""
    if tree is not None and not append and initrd is None:
        return with_room(tree, room) if room else tree
    own = machine.device_tree() if tree is None else tree
    root = parse(own, name)
    chosen = root.find("chosen") or root.add(Node("chosen"))
    if append:
        chosen.properties["bootargs"] = append
    if initrd is not None:
        chosen.properties["linux,initrd-start"] = quads(initrd[0])
        chosen.properties["linux,initrd-end"] = quads(initrd[1])
    return with_room(flatten(root, reservations(own)), room)


def check_tree(root: Node, machine: Machine, name: str) -> int:
    """Where the memory ends that the tree tells of, from the start of RAM on. LoadError for a tree that no kernel could
    boot this machine with: no memory or memory beyond RAM, none where programs start, no hart or others than it has."""
    ranges = [
        each for node in root.children if node.name.split("@")[0] == "memory" for each in node.ranges("reg", root)
    ]
    if not any(size for _, size in ranges):
        raise LoadError(f"{name}: the device tree has no memory")
    ram = machine.memory.regions[-1]
    for base, size in ranges:
        if size and not ram.holds(base, size):
            raise LoadError(
                f"{name}: the device tree has memory at {base:#x}..{base + size:#x}, but RAM is"
                f" {ram.base:#x}..{ram.end:#x}"
            )
    first = min(each for each in ranges if each[1])
    if first[0] > ram.base + STAGE:
        raise LoadError(f"{name}: the device tree has no memory before {first[0]:#x}; programs start at {ram.base:#x}")
    cpus = root.find("cpus") or Node("cpus")
    harts = [node.number("reg") for node in cpus.children if node.name.split("@")[0] == "cpu" and node.enabled]
    if not harts or max(harts) >= len(machine.harts):
        have = f"cpu {max(harts)}" if harts else "no cpu"
        more = ": give it more harts" if harts else ""
        raise LoadError(f"{name}: the device tree has {have}, but the harts are 0 to {len(machine.harts) - 1}{more}")
    end = sum(first)
    for base, size in sorted(ranges):
        end = max(end, base + size) if base <= end else end
    return end
