"""Flattened device trees (Devicetree Specification 0.4, "Flattened Devicetree (DTB) Format", version 17).

`machine_tree` describes a machine as QEMU's virt does; each device adds its own nodes. `flatten` and `parse` turn a
tree into a blob and back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from emulator.errors import ConfigurationError, LoadError
from emulator.isa.extensions import isa_string
from emulator.isa.zicbo import BLOCK

if TYPE_CHECKING:
    from emulator.bus import Device

MAGIC, VERSION, COMPATIBLE_VERSION = 0xD00D_FEED, 17, 16
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9
_HEADER: Final = struct.Struct(">10I")
_WORD: Final = struct.Struct(">I")
_PAIR: Final = struct.Struct(">II")
_RESERVATION: Final = struct.Struct(">QQ")

_WIDTHS: Final = {"#address-cells": 2, "#size-cells": 1}
"""Where a node does not say."""
SIZE_LIMIT: Final = 4 << 20
"""Bytes of a blob that `parse` looks at."""
DEPTH_LIMIT: Final = 32
NAME_LIMIT: Final = 255
"""Characters of a node's or property's name (the specification wants at most 31)."""

DEFAULT_ISA: Final = isa_string()
ISA_LIMIT: Final = 511
"""Characters of "riscv,isa": U-Boot (2023.01) does not start where there are more."""
SILENT: Final = frozenset({
    "zic64b", "za64rs", "ziccamoa", "ziccamoc", "ziccid", "ziccif", "zicclsm", "ziccrse", "ssccptr", "sscounterenw",
    "sstvala", "sstvecd", "ssu64xl", "svvptc", "sha", "shcounterenw", "shgatpa", "shtvala", "shvsatpa", "shvstvala",
    "shvstvecd",
})  # fmt: skip
"""Names that profiles have given to how memory and CSRs behave: nothing to execute. They are younger than
"riscv,isa-extensions", so that nobody looks for them in "riscv,isa"."""

Value = int | str | bytes | bool | Sequence[int] | Sequence[str]
"""A property: an int is one 32-bit cell, a sequence its cells or strings, True an empty property."""


class Node:
    """A node: `name` with its unit address, properties as bytes would be, children in order."""

    def __init__(self, name: str, properties: Mapping[str, Value] | None = None) -> None:
        self.name = name
        self.properties: dict[str, Value] = dict(properties or {})
        self.children: list[Node] = []

    def __repr__(self) -> str:
        return f"Node({self.name!r})"

    def add(self, child: Node) -> Node:
        """Append `child` and return it."""
        self.children.append(child)
        return child

    def find(self, path: str) -> Node | None:
        """The node at `path` below this one, "cpus/cpu@0"; a unit address may be left out where it is not needed."""
        node: Node | None = self
        for part in filter(None, path.split("/")):
            assert node is not None
            children = node.children
            node = next((c for c in children if c.name == part), None) or next(
                (c for c in children if c.name.split("@")[0] == part), None
            )
            if node is None:
                return None
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def raw(self, name: str) -> bytes:
        """The property's bytes; ConfigurationError where there is none."""
        if name not in self.properties:
            raise ConfigurationError(f"device tree node {self.name or '/'} has no property {name}")
        return encode(self.properties[name], f"{self.name or '/'}: {name}")

    def cells(self, name: str) -> list[int]:
        """The property as 32-bit cells; ConfigurationError where it is not of whole cells."""
        data = self.raw(name)
        if len(data) % 4:
            raise ConfigurationError(f"device tree node {self.name or '/'}: {name} is {len(data)} bytes, not of cells")
        return [cell for (cell,) in _WORD.iter_unpack(data)]

    def number(self, name: str) -> int:
        """The property as one big-endian number, of however many cells."""
        return int.from_bytes(self.raw(name), "big")

    def ranges(self, name: str, parent: Node) -> list[tuple[int, int]]:
        """The property as (address, size) pairs, whose widths `parent` states ("#address-cells and #size-cells")."""
        widths = [parent.number(which) if which in parent.properties else usual for which, usual in _WIDTHS.items()]
        cells = self.cells(name)
        step = sum(widths)
        if not all(0 < width <= 4 for width in widths) or len(cells) % step:
            raise ConfigurationError(f"device tree node {self.name}: {name} does not fit its parent's {widths} cells")
        pairs = []
        for at in range(0, len(cells), step):
            whole = b"".join(map(_WORD.pack, cells[at : at + step]))
            middle = 4 * widths[0]
            pairs.append((int.from_bytes(whole[:middle], "big"), int.from_bytes(whole[middle:], "big")))
        return pairs

    @property
    def enabled(self) -> bool:
        """Whether `status`, if there is one, says so."""
        return "status" not in self.properties or self.strings("status")[0] in ("okay", "ok")

    def strings(self, name: str) -> list[str]:
        """The property as a list of strings."""
        return self.raw(name).decode("utf-8", "replace").removesuffix("\0").split("\0")


def quads(*values: int) -> list[int]:
    """64-bit numbers as pairs of cells, the high one first."""
    return [cell for value in values for cell in (value >> 32 & 0xFFFF_FFFF, value & 0xFFFF_FFFF)]


def encode(value: Value, where: str = "property") -> bytes:
    """The bytes of a property value. ConfigurationError, naming `where`, for one that has none."""
    match value:
        case bytes():
            return value
        case True:
            return b""
        case int() if 0 <= value < 1 << 32 and value is not False:
            return _WORD.pack(value)
        case str() if "\0" not in value:
            return value.encode("utf-8", "surrogateescape") + b"\0"
        case list() | tuple() if all(type(each) in (int, str) for each in value):
            return b"".join(encode(each, where) for each in value)
    raise ConfigurationError(f"device tree: {where} cannot be {value!r:.60}")


def flatten(root: Node, reservations: Iterable[tuple[int, int]] = (), boot_hart: int = 0) -> bytes:
    """The tree as a version 17 blob. `reservations` are (address, size) of memory that the guest must leave alone."""
    strings: dict[str, int] = {}
    names = bytearray()
    out = bytearray()

    def emit(node: Node, path: str) -> None:
        out.extend(_WORD.pack(BEGIN_NODE) + _padded(encode(node.name, path)))
        for name, value in node.properties.items():
            if name not in strings:
                strings[name] = len(names)
                names.extend(encode(name, path))
            data = encode(value, f"{path}: {name}")
            out.extend(_WORD.pack(PROP) + _PAIR.pack(len(data), strings[name]) + _padded(data))
        for child in node.children:
            emit(child, f"{path.rstrip('/')}/{child.name}")
        out.extend(_WORD.pack(END_NODE))

    emit(root, "/")
    out.extend(_WORD.pack(END))
    reserved = b"".join(_RESERVATION.pack(*each) for each in (*reservations, (0, 0)))
    structure = _HEADER.size + len(reserved)
    block = structure + len(out)
    total = block + len(names)
    header = _HEADER.pack(
        MAGIC, total, structure, block, _HEADER.size, VERSION, COMPATIBLE_VERSION, boot_hart, len(names), len(out)
    )
    return bytes(header + reserved + out + names)


def with_room(blob: bytes, room: int) -> bytes:
    """A sound blob with `room` free bytes at its end, which editing it in place uses up ("Header", totalsize)."""
    size = _PAIR.unpack_from(blob)[1]
    return blob[:4] + _WORD.pack(size + room) + blob[8:size] + bytes(room)


def parse(blob: bytes, name: str = "device tree") -> Node:
    """The tree in a blob, properties as bytes. LoadError, naming `name`, for whatever is not a sound blob of version
    16 or 17 that fits its own sizes; at most 4 MiB are looked at, and 32 levels."""
    return _Reader(blob, name).tree()


def reservations(blob: bytes) -> list[tuple[int, int]]:
    """(address, size) of memory that a sound blob reserves ("Memory Reservation Block")."""
    at = _HEADER.unpack_from(blob)[4]
    found = []
    while at + _RESERVATION.size <= len(blob) and (entry := _RESERVATION.unpack_from(blob, at)) != (0, 0):
        found.append((entry[0], entry[1]))
        at += _RESERVATION.size
    return found


class _Reader:
    def __init__(self, blob: bytes, name: str) -> None:
        self.name = name
        if len(blob) < _HEADER.size or _WORD.unpack_from(blob)[0] != MAGIC:
            raise self.wrong(0, "it is no flattened device tree (magic number d00dfeed missing)")
        _, total, at, strings, _, version, compatible, _, strings_size, size = _HEADER.unpack_from(blob)
        if version < VERSION or compatible > VERSION:
            raise self.wrong(20, f"version {version} (compatible with {compatible}) is not supported, 17 is")
        if not _HEADER.size <= total <= min(len(blob), SIZE_LIMIT):
            raise self.wrong(4, f"its size is given as {total} bytes, there are {len(blob)} (at most {SIZE_LIMIT})")
        if at % 4 or at + size > total or strings + strings_size > total:
            raise self.wrong(8, "structure or strings lie outside of the blob")
        self.blob, self.at, self.end = blob, at, at + size
        self.strings = blob[strings : strings + strings_size]

    def wrong(self, at: int, what: str) -> LoadError:
        return LoadError(f"{self.name}: at byte {at}: {what}")

    def word(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def take(self, size: int) -> bytes:
        """The next `size` bytes; moves on to the next multiple of 4."""
        start = self.at
        if start + size > self.end:
            raise self.wrong(start, "the structure ends too early")
        self.at = min(start + size + 3 & ~3, self.end)
        return self.blob[start : start + size]

    def text(self, data: bytes, start: int, limit: int, at: int) -> str:
        """The name that begins at `start` of `data` and ends before `limit`."""
        end = data.find(b"\0", start, min(limit, start + NAME_LIMIT + 1))
        if end < 0:
            raise self.wrong(at, f"a name does not end, or has more than {NAME_LIMIT} characters")
        name = data[start:end].decode("ascii", "replace")
        if not name.isprintable() or not name.isascii() or "/" in name:
            raise self.wrong(at, f"{name!r:.40} is no name")
        return name

    def node_name(self) -> str:
        name = self.text(self.blob, self.at, self.end, self.at)
        self.take(len(name) + 1)
        return name

    def tree(self) -> Node:
        top = Node("")
        path = [top]
        while True:
            at = self.at
            match self.word():
                case 1 if len(path) <= DEPTH_LIMIT and not (len(path) == 1 and top.children):
                    path.append(path[-1].add(Node(self.node_name())))
                case 3 if len(path) > 1:
                    size, offset = self.word(), self.word()
                    if offset >= len(self.strings):
                        raise self.wrong(at, "a property's name lies outside of the strings")
                    name = self.text(self.strings, offset, len(self.strings), at)
                    if name in path[-1].properties:
                        raise self.wrong(at, f"property {name} of {path[-1].name or '/'} is there twice")
                    path[-1].properties[name] = self.take(size)
                case 2 if len(path) > 1:
                    path.pop()
                case 4:
                    pass
                case 9 if len(path) == 1 and top.children:
                    return top.children[0]
                case token:
                    raise self.wrong(at, f"token {token} has no place at depth {len(path) - 1}")


class Tree:
    """A machine's tree while it is being built: `root`, `soc` and `chosen` are nodes for devices to add to."""

    def __init__(self, harts: int) -> None:
        sizes: dict[str, Value] = {"#address-cells": 2, "#size-cells": 2}
        self.root = Node("", {**sizes, "compatible": "riscv-virtio", "model": "rvtui,virt"})
        self.chosen = self.root.add(Node("chosen"))
        self.soc = Node("soc", {**sizes, "compatible": "simple-bus", "ranges": True})
        self.harts = harts
        self._handles: dict[str, int] = {}

    def phandle(self, name: str) -> int:
        """The number by which nodes refer to the one called `name`; whoever makes that node sets it there."""
        return self._handles.setdefault(name, len(self._handles) + 1)

    def interrupt(self, source: int) -> dict[str, Value]:
        """The properties of a device on source number `source` of the PLIC; none for 0."""
        return {"interrupts": source, "interrupt-parent": self.phandle("plic")} if source else {}

    def hart_interrupts(self, *causes: int) -> list[int]:
        """Cells that tie a controller to interrupt `causes` (bits of mip) of every hart, hart by hart."""
        return [
            cell for hart in range(self.harts) for cause in causes for cell in (self.phandle(f"hart{hart}"), cause)
        ]


def isa_extensions(isa: str) -> list[str]:
    """The names in an ISA string, "rv64imac_zba" -> i, m, a, c, zba. ConfigurationError if it is none for RV64."""
    single, *rest = isa.split("_")
    if not single.startswith("rv64i") or not isa.isascii() or not isa.replace("_", "").isalnum():
        raise ConfigurationError(f"{isa!r:.80} is no ISA string; one is {DEFAULT_ISA}")
    return [*single.removeprefix("rv64"), *filter(None, rest)]


def old_isa(isa: str) -> str:
    """The property "riscv,isa" for who does not know "riscv,isa-extensions", which took its place: without `SILENT`."""
    return "_".join(name for name in isa.split("_") if name not in SILENT)


def machine_tree(
    devices: Iterable[tuple[int, Device]],
    memory: Iterable[tuple[int, int]],
    *,
    harts: int = 1,
    isa: str = DEFAULT_ISA,
    mmu: str = "riscv,sv57",
    timebase: int = 10_000_000,
    bootargs: str = "",
    initrd: tuple[int, int] | None = None,
) -> Node:
    """Describe a machine. `devices` are (base, device), as iterating a Bus gives them; `memory` (base, size) of RAM;
    `timebase` in Hz; `initrd` [start, end). `flatten` makes the blob.

    ConfigurationError for an ISA string that is none, text with NUL characters, or a device that refers to another
    one (a PLIC, say) that is not there.
    """
    tree = Tree(harts)
    if bootargs:
        tree.chosen.properties["bootargs"] = bootargs
    if initrd is not None:
        tree.chosen.properties["linux,initrd-start"] = quads(initrd[0])
        tree.chosen.properties["linux,initrd-end"] = quads(initrd[1])
    for base, size in memory:
        tree.root.add(Node(f"memory@{base:x}", {"device_type": "memory", "reg": quads(base, size)}))
    tree.root.add(_cpus(tree, isa, mmu, timebase))
    tree.root.add(tree.soc)
    for base, device in devices:
        device.describe(tree, base)
    defined = {node.properties["phandle"] for node in tree.root.walk() if "phandle" in node.properties}
    if missing := [name for name, handle in tree._handles.items() if handle not in defined]:
        raise ConfigurationError(f"device tree: a device refers to {', '.join(missing)}, which this machine lacks")
    return tree.root


def _cpus(tree: Tree, isa: str, mmu: str, timebase: int) -> Node:
    cpus = Node("cpus", {"#address-cells": 1, "#size-cells": 0, "timebase-frequency": timebase})
    cluster = Node("cluster0")
    extensions = isa_extensions(isa)
    blocks = {f"riscv,{name[2:]}-block-size": BLOCK for name in ("zicbom", "zicbop", "zicboz") if name in extensions}
    for hart in range(tree.harts):
        handle = tree.phandle(f"cpu{hart}")
        cpu = cpus.add(Node(f"cpu@{hart:x}", {
            "device_type": "cpu", "reg": hart, "status": "okay", "compatible": "riscv", "riscv,isa": old_isa(isa),
            "riscv,isa-base": "rv64i", "riscv,isa-extensions": extensions, "mmu-type": mmu, **blocks,
            "phandle": handle,
        }))  # fmt: skip
        cpu.add(Node("interrupt-controller", {
            "#interrupt-cells": 1, "#address-cells": 0, "interrupt-controller": True,
            "compatible": "riscv,cpu-intc", "phandle": tree.phandle(f"hart{hart}"),
        }))  # fmt: skip
        cluster.add(Node(f"core{hart}", {"cpu": handle}))
    cpus.add(Node("cpu-map")).add(cluster)
    return cpus


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
