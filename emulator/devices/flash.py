"""CFI flash (JEDEC JESD68, "Common Flash Interface"; Intel's command set 0001, "Intel StrataFlash Memory J3"), as
QEMU's virt machine has it: two banks, each of two 16-bit chips side by side behind a bus of 32 bits.

A bank that is read as an array is memory, for loads and instructions alike, and only its commands come here. While it
answers with anything else its contents are hidden. Both chips of a bank do the same: they obey the lower one's command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

from emulator.bus import Device
from emulator.devices.fields import Exactly, Flag, Number, Shape, Shown, flags, register
from emulator.devices.virtio.block import MODES, file_and_mode
from emulator.devicetree import Node, Tree, quads
from emulator.errors import ConfigurationError
from emulator.loader import read_file, shown
from emulator.memory import Memory, Region

FLASH, SIZE = 0x2000_0000, 32 << 20
"""Address of the first bank, and bytes of each."""
BANKS: Final = 2
BLOCK: Final = 256 << 10
"""Bytes that are erased together: 128 KiB of either chip."""
BLOCKS: Final = SIZE // BLOCK
WORD: Final = 4
CHIPS: Final = 2
WINDOW: Final = 4096
"""Bytes of the write buffer, of both chips."""
ERASED: Final = 0xFF
PIECE: Final = 1 << 20

READY, ERASE_FAILED, PROGRAM_FAILED, LOCKED = 1 << 7, 1 << 5, 1 << 4, 1 << 1
"""Bits of the status register. There is nothing to wait for: READY is always set."""
_STATUS: Final = flags("", "block locked", "", "", "program failed", "erase failed", "", "ready")
MANUFACTURER, DEVICE = 0x89, 0x18


_BLANK: Final = bytes((ERASED,)) * WINDOW


class Shows(IntEnum):
    """What reads find."""

    ARRAY = 0
    STATUS = 1
    IDENTITY = 2
    QUERY = 3


class Command(IntEnum):
    """The low byte of a word that begins a command, or ends one."""

    NONE = 0
    LOCK_BLOCK = 0x01
    PROGRAM_ALSO = 0x10
    ERASE = 0x20
    LOCK_DOWN = 0x2F
    PROGRAM = 0x40
    CLEAR_STATUS = 0x50
    LOCK = 0x60
    STATUS = 0x70
    IDENTITY = 0x90
    QUERY = 0x98
    SUSPEND = 0xB0
    CONFIRM = 0xD0
    PROGRAM_BUFFER = 0xE8
    ARRAY = 0xFF


_LONE: Final = {
    Command.STATUS: Shows.STATUS, Command.SUSPEND: Shows.STATUS, Command.CONFIRM: Shows.STATUS,
    Command.IDENTITY: Shows.IDENTITY, Command.QUERY: Shows.QUERY,
}  # fmt: skip
"""Commands of one word: what reads find from then on; nothing is under way that could be suspended or go on."""
_TWO: Final = (Command.PROGRAM, Command.PROGRAM_ALSO, Command.ERASE, Command.LOCK, Command.PROGRAM_BUFFER)
"""Those that go on with another word."""


def _query() -> bytes:
    """JESD68, "CFI Query Identification String" to "Device Geometry Definition", and Intel's primary table behind it: a
    byte to each address from 0x10 on, of one chip."""
    chip, block, regions = SIZE // CHIPS, BLOCK // CHIPS, 1
    primary = 0x31
    string = b"QRY" + bytes((0x01, 0x00, primary, 0, 0, 0, 0, 0))
    volts = bytes((0x45, 0x55, 0, 0))  # 4.5 V to 5.5 V, no programming voltage
    times = bytes((7, 7, 10, 0, 4, 4, 4, 0))  # 2^n us, us, ms, none; at most 2^n times that
    size = bytes((chip.bit_length() - 1, 0x02, 0))  # x8 and x16
    buffer = bytes(((WINDOW // CHIPS).bit_length() - 1, 0))
    erase = bytes((regions, *(BLOCKS - 1).to_bytes(2, "little"), *(block // 256).to_bytes(2, "little")))
    table = (string + volts + times + size + buffer + erase).ljust(primary - 0x10, b"\0")
    return bytes(0x10) + table + b"PRI10" + bytes(9) + b"\1"  # version 1.0, no optional features, a protection field


QUERY: Final = _query()


class Flash(Device):
    """A bank, with the contents of a file, or erased.

    `mode`: "copy" keeps what is programmed in memory, "ro" refuses it, "rw" writes it to the file, which the user must
    have asked for. ConfigurationError where the file cannot be used so. Registers are words of 4 bytes: of narrower
    accesses and wider ones, each is a cycle of its own.
    """

    title = "CFI flash"
    size = SIZE
    widths = (1, 2, 4)
    fields: Mapping[str, Shape] = {
        "shows": Number(max(Shows)),
        "status": Number(0xFF),
        "command": Number(0xFF),
        "counted": Flag(),
        "left": Number(WINDOW // WORD),
        "window": Number(SIZE // WINDOW),
        "buffer": Exactly(WINDOW),
        "locks": Exactly(BLOCKS),
    }

    def __init__(self, path: str | os.PathLike[str] | None = None, mode: str = "copy", *, trusted: bool = True) -> None:
        """`trusted` false: the bank comes from a snapshot, not from the user. Its contents are then those of memory,
        and no file is looked at; what would have gone there stays in memory."""
        super().__init__()
        if mode not in MODES:
            raise ConfigurationError(f"flash {path}: mode {mode!r:.20}; there are {', '.join(MODES)}")
        self.mode = mode
        self.path = None if path is None else os.path.abspath(os.fsdecode(path))
        self.warn: Callable[[str], None] = lambda text: None
        """Something that the user should know and the guest cannot tell; the machine sets it."""
        self.hide: Callable[[bool], None] = lambda hidden: None
        self.memory: Memory
        self.base = 0
        self._file: int | None = None
        self._image = b""
        if self.path is not None and trusted:
            self._take(self.path, f"flash {shown(path or '')}")
        self.trusted, self._complained = trusted, False
        self.locks = bytes(BLOCKS)
        self._power_on()

    @classmethod
    def parse(cls, text: str) -> Flash:
        """As the command line has it: F, "F,ro" or "F,rw"."""
        return cls(*file_and_mode(text, "flash"))

    def configuration(self) -> list[str] | None:
        return None if self.path is None else [self.path, self.mode]

    def _take(self, path: str, what: str) -> None:
        self._image = read_file(path, SIZE, what)
        if self.mode != "rw":
            return
        if len(self._image) != SIZE:
            raise ConfigurationError(f"{what}: {len(self._image)} bytes; to be written to it must be {SIZE}, as a bank")
        try:
            self._file = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigurationError(f"{what}: cannot be opened for writing: {reason}") from None
        weakref.finalize(self, os.close, self._file)

    def same_file(self, other: Flash) -> bool:
        if self.path is None or other.path is None:
            return False
        with contextlib.suppress(OSError):
            return os.path.samefile(self.path, other.path)
        return self.path == other.path

    def region(self) -> Region:
        """The memory that it is while it is read as an array."""
        return Region(self.name, self.base, SIZE, writable=False)

    def connect(self, memory: Memory, hide: Callable[[bool], None]) -> None:
        """Put the contents into its region of `memory`. `hide` says whether only this device answers there."""
        self.memory, self.hide = memory, hide
        image, self._image = self._image, b""
        for at in range(0, len(image), PIECE):
            piece = image[at : at + PIECE]
            if piece != bytes(len(piece)):  # zeros cost nothing as long as nobody writes them
                memory.write(self.base + at, piece)
        if self.trusted:
            memory.fill(self.base + len(image), SIZE - len(image), ERASED)

    # --- state ---

    def _power_on(self) -> None:
        self.shows, self.status = int(Shows.ARRAY), READY
        self._end()

    def _end(self, failed: int = 0) -> None:
        """The command is over."""
        self.status |= failed
        self.command, self.counted, self.left, self.window, self.buffer = int(Command.NONE), False, 0, 0, _BLANK

    def reset(self) -> None:
        """Contents stay, as those of a disk do; locks do not."""
        self.locks = bytes(BLOCKS)
        self._power_on()
        self.refresh()

    def refresh(self) -> None:
        self.hide(self.shows != Shows.ARRAY)

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        if self.mode == "rw" and not self.trusted:
            self.warn(f"flash {shown(self.path or '')}: was writable; from here on changes stay in memory")

    # --- reading ---

    def read(self, offset: int, size: int) -> int:
        match self.shows:
            case Shows.ARRAY:
                return self.memory.read_int(self.base + offset, size)
            case Shows.STATUS:
                value = self.status
            case Shows.IDENTITY:
                # Of each block: manufacturer, device, and whether it is locked.
                about = (MANUFACTURER, DEVICE, self.locks[offset // BLOCK])
                value = about[which] if (which := offset // WORD & 0xFF) < len(about) else 0
            case _:
                value = QUERY[which] if (which := offset // WORD & 0xFF) < len(QUERY) else 0
        return (value | value << 16) >> 8 * (offset % WORD)

    # --- commands ---

    def write(self, offset: int, size: int, value: int) -> None:
        word = value & 0xFF
        match self.command:
            case Command.NONE:
                self._begin(word)
            case Command.PROGRAM | Command.PROGRAM_ALSO:
                self._end(self._program(offset, value.to_bytes(size, "little")))
            case Command.ERASE if word == Command.CONFIRM:
                self._end(self._put(offset // BLOCK * BLOCK, bytes((ERASED,)) * BLOCK, ERASE_FAILED))
            case Command.LOCK if word in (Command.LOCK_BLOCK, Command.LOCK_DOWN, Command.CONFIRM):
                block = offset // BLOCK
                self.locks = self.locks[:block] + bytes((word != Command.CONFIRM,)) + self.locks[block + 1 :]
                self._end()
            case Command.PROGRAM_BUFFER:
                self._fill_buffer(offset, size, value)
            case _:  # "Command Sequence Error"
                self._end(ERASE_FAILED | PROGRAM_FAILED)
        self.refresh()

    def _begin(self, word: int) -> None:
        if word in _LONE:
            self.shows = int(_LONE[Command(word)])
        elif word in _TWO:
            self.shows, self.command = int(Shows.STATUS), word
        else:
            self.shows = int(Shows.ARRAY)
            if word == Command.CLEAR_STATUS:
                self.status = READY

    def _fill_buffer(self, offset: int, size: int, value: int) -> None:
        """How many words, less one; the words; then the confirmation."""
        if not self.counted and value & 0xFFFF < WINDOW // WORD:
            self.counted, self.left = True, (value & 0xFFFF) + 1
            return
        if self.counted and self.left:
            number, at = divmod(offset, WINDOW)
            if self.window in (0, number + 1):  # where it is the first word says
                self.window = number + 1
                self.buffer = self.buffer[:at] + value.to_bytes(size, "little") + self.buffer[at + size :]
                self.left -= 1
                return
        elif self.counted and self.window and value & 0xFF == Command.CONFIRM:
            return self._end(self._program((self.window - 1) * WINDOW, self.buffer))
        self._end(ERASE_FAILED | PROGRAM_FAILED)

    def _program(self, at: int, data: bytes) -> int:
        """Programming makes zeros of ones; only erasing makes ones."""
        there = int.from_bytes(self.memory.read(self.base + at, len(data)), "little")
        return self._put(at, (there & int.from_bytes(data, "little")).to_bytes(len(data), "little"), PROGRAM_FAILED)

    def _put(self, at: int, data: bytes, failed: int) -> int:
        """New contents within a block, where they are allowed. Returns bits of status: `failed` if they are not."""
        if self.locks[at // BLOCK]:
            return failed | LOCKED
        if self.mode == "ro":
            return failed
        self.memory.write(self.base + at, data)
        try:
            if self._file is not None and os.pwrite(self._file, data, at) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._complain(error)
            return failed
        return 0

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            reason = (error.strerror or str(error)).lower()
            self.warn(f"flash {shown(self.path or '')}: {reason}; the guest sees errors")

    def shown(self) -> tuple[Shown, ...]:
        """What the bank answers with, and how far a command has come."""
        known = {int(each): each.name.lower().replace("_", " ") for each in Command}
        under_way = known.get(self.command, "unknown")
        locked = sum(map(bool, self.locks))
        return (
            Shown("reads find", self.shows, Shows(self.shows).name.lower(), bits=2),
            register("status", self.status, _STATUS, bits=8),
            Shown("command", self.command, under_way if self.command else "none under way", bits=8),
            Shown("buffer", self.left, f"{self.left} words to come" if self.left else "empty", bits=16),
            Shown("locks", words=f"{locked} of {BLOCKS} blocks of {BLOCK >> 10} KiB are locked"),
            Shown("file", words=f"{self.path}, {self.mode}" if self.path else "none: erased at first"),
        )

    def describe(self, tree: Tree, base: int) -> None:
        """Both banks are one node: whoever comes second adds to it."""
        node = tree.root.find("flash") or tree.root.add(Node(f"flash@{base:x}", {
            "compatible": "cfi-flash", "reg": [], "bank-width": WORD,
        }))  # fmt: skip
        node.properties["reg"] = [*node.properties["reg"], *quads(base, SIZE)]  # type: ignore[misc]


def banks(given: Iterable[Flash]) -> list[Flash]:
    """The banks of a machine that is given some: two, the second erased where there is one; none where there is none.
    ConfigurationError for more, or for two on a file that one of them writes to."""
    found = list(given)
    if len(found) > BANKS:
        raise ConfigurationError(f"there are {BANKS} banks of flash, for {len(found)} files")
    if len(found) == BANKS and found[0].same_file(found[1]) and "rw" in (found[0].mode, found[1].mode):
        raise ConfigurationError(f"flash {shown(found[0].path or '')}: the same file in both banks, and written to")
    if found:
        found += [Flash() for _ in range(BANKS - len(found))]
    for number, bank in enumerate(found):
        bank.name, bank.base = f"flash{number}", FLASH + number * SIZE
    return found
