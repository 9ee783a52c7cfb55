"""QEMU's firmware configuration device ("QEMU Firmware Configuration (fw_cfg) Device", memory-mapped, with DMA):
numbered items of bytes that firmware reads, the kernel among them.

Large items are files of the host, read when a guest first wants them: in a saved machine stands what they must be.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emulator.bus import Device
from emulator.devices.fields import Number, Shape, Shown
from emulator.devicetree import Node, Tree, quads
from emulator.errors import ConfigurationError, LoadError
from emulator.loader import FILE_LIMIT, GZIP, decompress, read_file, shown
from emulator.memory import Memory

SIGNATURE, ID, NB_CPUS, KERNEL_SIZE, INITRD_SIZE, KERNEL_DATA, INITRD_DATA = 0x00, 0x01, 0x05, 0x08, 0x0B, 0x11, 0x12
CMDLINE_SIZE, CMDLINE_DATA, FILE_DIR, FILE_FIRST = 0x14, 0x15, 0x19, 0x20
"""Keys of items."""
KEYS: Final = {
    SIGNATURE: "signature", ID: "features", NB_CPUS: "number of harts", KERNEL_SIZE: "kernel size",
    INITRD_SIZE: "initrd size", KERNEL_DATA: "kernel", INITRD_DATA: "initrd", CMDLINE_SIZE: "command line size",
    CMDLINE_DATA: "command line", FILE_DIR: "directory of files",
}  # fmt: skip
FILES_LIMIT: Final = 32
NAME_LIMIT: Final = 55
"""Characters of a file's name."""
WRITE_CHANNEL: Final = 0x4000
"""A bit of keys that means nothing any more."""
DATA, SELECTOR, DMA, DMA_LOW = 0x00, 0x08, 0x10, 0x14
SIZE: Final = 0x18
FEATURES: Final = 0b11
"""Registers, and DMA."""
GREETING: Final = b"QEMU CFG"
"""What the address register of DMA reads as."""
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16
_REQUEST: Final = struct.Struct(">IIQ")
_ENTRY: Final = struct.Struct(">IHH56s")
LITERAL_LIMIT: Final = 64 << 10
"""Bytes of an item that is no file."""


@dataclass
class Item:
    """Bytes under a key. `path` and `digest` (SHA-256): the file that they are, and what it must still be. `size` in
    bytes: that of the file, unless it is compressed. `name`: in the directory of files."""

    key: int
    size: int
    data: bytes | None
    name: str = ""
    path: str = ""
    digest: str = ""

    def row(self) -> list[Any]:
        return [self.key, self.size, None if self.path else self.data, self.name, self.path, self.digest]


class _Items:
    """Rows of items, ascending by key."""

    def take(self, value: Any) -> dict[int, Item]:
        found: dict[int, Item] = {}
        for row in value if isinstance(value, (list, tuple)) else (value,):
            match row:
                case [int(key), int(size), data, str(name), str(path), str(digest)] if (
                    len(found) <= FILE_FIRST + FILES_LIMIT
                    and max(found, default=-1) < key < WRITE_CHANNEL
                    and 0 <= size <= FILE_LIMIT
                    and len(name) <= NAME_LIMIT and name.isascii() and "\0" not in path
                    and (path if data is None else type(data) is bytes and len(data) == size <= LITERAL_LIMIT)
                ):  # fmt: skip
                    found[key] = Item(key, size, data, name, path, digest)
                case _:
                    raise ValueError("rows of a key, size, contents, name, path and digest, ascending by key")
        return found


class FwCfg(Device):
    """Registers are big-endian: the item to select, 2 bytes; the address of a DMA request, 8 bytes or two halves, the
    high one first. Data is a stream. Items cannot be written."""

    title = "QEMU firmware configuration"
    name, size = "fw_cfg", SIZE
    fields: Mapping[str, Shape] = {
        "selected": Number(0xFFFF),
        "offset": Number(FILE_LIMIT),
        "high": Number(0xFFFF_FFFF),
        "items": _Items(),
    }

    def __init__(self, memory: Memory, harts: int, wrote: Callable[[], None], warn: Callable[[str], None]) -> None:
        """`wrote` is called after it wrote memory; `warn` with what the user should know and no guest can tell."""
        super().__init__()
        self.memory, self.wrote, self.warn = memory, wrote, warn
        self.items: dict[int, Item] = {}
        self.put(SIGNATURE, b"QEMU")
        self.put(ID, FEATURES.to_bytes(4, "little"))
        self.put(NB_CPUS, harts.to_bytes(2, "little"))
        self.reset()

    def reset(self) -> None:
        self.selected = self.offset = self.high = 0

    # --- items ---

    def put(self, key: int, data: bytes) -> None:
        """ConfigurationError for more than 64 KiB: that is for files."""
        if len(data) > LITERAL_LIMIT:
            raise ConfigurationError(f"fw_cfg item {key:#x}: {len(data)} bytes; at most {LITERAL_LIMIT}")
        self.items[key] = Item(key, len(data), data)

    def put_file(self, key: int, path: str | os.PathLike[str], name: str = "") -> int:
        """The file's contents; of the kernel, what they unfold to. Returns how many bytes that is. LoadError."""
        where = os.path.abspath(os.fsdecode(path))
        data = read_file(path)
        digest = hashlib.sha256(data).hexdigest()
        data = _unfolded(key, data, shown(path))
        self.items[key] = Item(key, len(data), data, name, where, digest)
        return len(data)

    def add_file(self, text: str) -> None:
        """NAME=FILE, for the directory. ConfigurationError for a name that cannot be, LoadError for such a file."""
        name, equals, path = text.partition("=")
        taken = [item for item in self.items.values() if item.name]
        if not equals or not path or not 0 < len(name) <= NAME_LIMIT or not name.isascii() or not name.isprintable():
            raise ConfigurationError(f"fw_cfg {shown(text)}: it is NAME=FILE, NAME at most {NAME_LIMIT} characters")
        if len(taken) == FILES_LIMIT or name in (item.name for item in taken):
            why = "there are so many files already" if len(taken) == FILES_LIMIT else "there is a file of this name"
            raise ConfigurationError(f"fw_cfg {name}: {why}")
        self.put_file(FILE_FIRST + FILES_LIMIT, path, name)
        files = [*taken, self.items[FILE_FIRST + FILES_LIMIT]]
        for item in files:
            del self.items[item.key]
        for item in sorted(files, key=lambda each: each.name):
            item.key = FILE_FIRST + sum(item.name > other.name for other in files)
            self.items[item.key] = item

    def put_kernel(self, kernel: str | None, initrd: str | None, append: str) -> None:
        """What firmware finds of `kernel`, `initrd` and command line: as QEMU offers it to firmware in flash."""
        for path, size, data in ((kernel, KERNEL_SIZE, KERNEL_DATA), (initrd, INITRD_SIZE, INITRD_DATA)):
            if path is not None:
                self.put(size, self.put_file(data, path).to_bytes(4, "little"))
        line = append.encode("utf-8", "surrogateescape") + b"\0"
        self.put(CMDLINE_SIZE, len(line).to_bytes(4, "little"))
        self.put(CMDLINE_DATA, line)

    def _contents(self, key: int) -> bytes:
        """Nothing where there is no such item, or its file is another by now."""
        if key == FILE_DIR:
            files = sorted((item for item in self.items.values() if item.name), key=lambda each: each.key)
            rows = (_ENTRY.pack(item.size, item.key, 0, item.name.encode()) for item in files)
            return len(files).to_bytes(4, "big") + b"".join(rows)
        item = self.items.get(key)
        if item is None:
            return b""
        if item.data is None:
            item.data = self._again(item)
        return item.data

    def _again(self, item: Item) -> bytes:
        name = shown(item.path)
        try:
            data = read_file(item.path)
            if hashlib.sha256(data).hexdigest() == item.digest:
                return _unfolded(item.key, data, name)
            self.warn(f"fw_cfg: {name}: it is not the file that the machine was started with; the guest finds zeros")
        except LoadError as error:
            self.warn(f"fw_cfg: {error}; the guest finds zeros")
        return b""

    def state(self) -> dict[str, Any]:
        return {**super().state(), "items": [self.items[key].row() for key in sorted(self.items)]}

    # --- registers ---

    def _select(self, key: int) -> None:
        self.selected, self.offset = key & ~WRITE_CHANNEL, 0

    def _take(self, length: int) -> bytes:
        """The next bytes of the item, fewer at its end."""
        data = self._contents(self.selected)[self.offset : self.offset + length]
        self.offset += len(data)
        return data

    def read(self, offset: int, size: int) -> int:
        if offset < SELECTOR:
            return int.from_bytes(self._take(size).ljust(size, b"\0"), "little")
        return int.from_bytes(GREETING[offset - DMA :][:size], "little") if offset >= DMA else 0

    def write(self, offset: int, size: int, value: int) -> None:
        number = int.from_bytes(value.to_bytes(size, "little"), "big")
        match offset, size:
            case 0x08, 2:
                self._select(number)
            case 0x10, 8:
                self._carry_out(number)
            case 0x10, 4:
                self.high = number
            case 0x14, 4:
                self._carry_out(self.high << 32 | number)
                self.high = 0

    def _carry_out(self, at: int) -> None:
        """The DMA request at a physical address. Without memory there nobody could be told that it failed."""
        region = self.memory.find(at, _REQUEST.size)
        if region is None or not region.writable:
            return
        control, length, address = _REQUEST.unpack(self.memory.read(at, _REQUEST.size))
        if control & SELECT:
            self._select(control >> 16)
        failed = bool(control & WRITE)
        if control & READ:
            failed = not self._copy(address, length)
        elif control & SKIP and not failed:
            self.offset = min(self.offset + length, len(self._contents(self.selected)))
        self.memory.write(at, (ERROR if failed else 0).to_bytes(4, "big"))
        self.wrote()

    def _copy(self, address: int, length: int) -> bool:
        """Bytes of the item, then zeros, into memory; false where there is none."""
        region = self.memory.find(address, length)
        if region is None or not region.writable:
            return False
        data = self._take(length)
        self.memory.write(address, data)
        self.memory.fill(address + len(data), length - len(data))
        return True

    def shown(self) -> tuple[Shown, ...]:
        rows = tuple(
            Shown(item.name or KEYS.get(key, f"item {key:#x}"), key, f"{item.size:,} bytes"
                  + (f" of {item.path}" if item.path else ""), bits=16)
            for key, item in sorted(self.items.items())
        )  # fmt: skip
        known = self.items.get(self.selected)
        name = (known.name if known else "") or KEYS.get(self.selected, "no item")
        return (
            Shown("selector", self.selected, name, bits=16),
            Shown("offset", self.offset, f"{self.offset:,} bytes read of it"),
            Shown("DMA address, high half", self.high),
            Shown("items", words=str(len(rows)), rows=rows),
        )

    def describe(self, tree: Tree, base: int) -> None:
        tree.root.add(Node(f"fw-cfg@{base:x}", {
            "compatible": "qemu,fw-cfg-mmio", "reg": quads(base, self.size), "dma-coherent": True,
        }))  # fmt: skip


def _unfolded(key: int, data: bytes, name: str) -> bytes:
    return decompress(data, name) if key == KERNEL_DATA and data.startswith(GZIP) else data
