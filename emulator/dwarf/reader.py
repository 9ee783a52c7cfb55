"""Reading DWARF's bytes: numbers, strings and forms, with every offset checked.

Names and numbers are those of the DWARF Debugging Information Format, versions 2 to 5; section numbers in docstrings
are version 5's. Files come from anywhere: whatever is wrong in one is a DwarfError of one line, and nothing here reads
a byte twice without an end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import zstandard

from emulator.errors import EmulatorError

SECTIONS: Final = (
    ".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_line_str", ".debug_str_offsets", ".debug_addr",
    ".debug_aranges", ".debug_ranges", ".debug_rnglists", ".debug_loc", ".debug_loclists", ".debug_frame", ".eh_frame",
)  # fmt: skip
UNFOLDED_LIMIT: Final = 512 << 20
"""Bytes that the compressed sections of a file may unfold to, together."""
STRING_LIMIT: Final = 4096
"""Bytes of a name or path that are read."""
STRINGS_KEPT: Final = 1 << 16
SHF_COMPRESSED: Final = 0x800
_CHDR: Final = struct.Struct("<IIQQ")
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_MORSEL: Final = 64 << 10


class DwarfError(EmulatorError):
    """Debugging information that is damaged, or of a kind that is not read here."""


@contextmanager
def checked(where: str) -> Iterator[None]:
    """What runs over the end of its bytes, or does not fit them, is a DwarfError that says where."""
    try:
        yield
    except (LookupError, struct.error, ValueError, OverflowError, TypeError) as error:
        raise DwarfError(f"{where}: the debugging information is damaged ({type(error).__name__})") from None


class Cursor:
    """Reads `data` from `at` on. What reaches beyond its end raises IndexError, struct.error or ValueError: use it
    inside `checked`."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def u8(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def u16(self) -> int:
        self.at += 2
        return int(_U16.unpack_from(self.data, self.at - 2)[0])

    def u32(self) -> int:
        self.at += 4
        return int(_U32.unpack_from(self.data, self.at - 4)[0])

    def u64(self) -> int:
        self.at += 8
        return int(_U64.unpack_from(self.data, self.at - 8)[0])

    def number(self, size: int) -> int:
        """Of `size` bytes, unsigned."""
        return int.from_bytes(self.take(size), "little")

    def uleb(self) -> int:
        """7.6 "Variable Length Data": at most 64 bits count."""
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1
            shift = min(shift + 7, 70)

    def sleb(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift = min(shift + 7, 70)
            if byte < 0x80:
                value -= (byte & 0x40) << 1 + shift - 7
                return value if -(1 << 63) <= value < 1 << 64 else value % (1 << 64)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise ValueError("beyond the end")
        data = self.data[self.at : end]
        self.at = end
        return data

    def string(self) -> str:
        end = self.data.index(b"\0", self.at)
        data = self.data[self.at : min(end, self.at + STRING_LIMIT)]
        self.at = end + 1
        return printable(data)

    def offset(self, wide: bool) -> int:
        return self.u64() if wide else self.u32()

    def initial_length(self) -> tuple[int, bool]:
        """7.4 "32-Bit and 64-Bit DWARF Formats": the length of what follows, and whether offsets have 64 bits."""
        length = self.u32()
        if length == 0xFFFF_FFFF:
            return self.u64(), True
        if length >= 0xFFFF_FFF0:
            raise ValueError("a reserved length")
        return length, False


def printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class Piece(NamedTuple):
    """A section as the file has it."""

    data: memoryview
    compressed: bool
    address: int
    """Where it is loaded, if it is."""

    @property
    def size(self) -> int:
        """Bytes that it has, or says that it unfolds to."""
        if not self.compressed:
            return len(self.data)
        gnu = bytes(self.data[:4]) == b"ZLIB"
        return int.from_bytes(self.data[4:12], "big") if gnu else int.from_bytes(self.data[8:16], "little")


class Sections:
    """The debugging sections of a file; those that are compressed are unfolded when they are first asked for."""

    def __init__(self, name: str, pieces: Mapping[str, Piece]) -> None:
        self.name = name
        self._pieces = dict(pieces)
        self._whole: dict[str, memoryview] = {}
        self._unfolded = 0
        self._strings: dict[int, str] = {}

    def __contains__(self, section: str) -> bool:
        return section in self._pieces

    def view(self, section: str) -> memoryview:
        """Empty where there is none. DwarfError where it cannot be unfolded."""
        found = self._whole.get(section)
        if found is None:
            piece = self._pieces.get(section)
            if piece is None:
                found = memoryview(b"")
            else:
                found = self._unfold(section, piece.data) if piece.compressed else piece.data
            self._whole[section] = found
        return found

    def address(self, section: str) -> int:
        return self._pieces[section].address if section in self._pieces else 0

    def bytes(self, section: str, start: int = 0, size: int | None = None) -> bytes:
        """A part of it. DwarfError where it has no such part."""
        view = self.view(section)
        end = len(view) if size is None else start + size
        if start > len(view) or end > len(view):
            raise DwarfError(f"{self.name}: {section} at {start:#x} reaches beyond the section's end")
        return bytes(view[start:end])

    def string(self, section: str, at: int) -> str:
        """The string that begins there, cut after `STRING_LIMIT` bytes."""
        if section == ".debug_line_str":  # many tables name the same files
            found = self._strings.get(at)
            if found is None:
                if len(self._strings) > STRINGS_KEPT:
                    self._strings.clear()
                found = self._strings[at] = self._string(section, at)
            return found
        return self._string(section, at)

    def _string(self, section: str, at: int) -> str:
        view = self.view(section)
        if at >= len(view):
            raise DwarfError(f"{self.name}: a string at {at:#x} is not inside {section}")
        data = bytes(view[at : at + 64])
        if b"\0" not in data:
            data = bytes(view[at : at + STRING_LIMIT])
        return printable(data.partition(b"\0")[0])

    def _unfold(self, section: str, data: memoryview) -> memoryview:
        where = f"{self.name}: {section}"
        with checked(where):
            if bytes(data[:4]) == b"ZLIB":  # .zdebug_*, as GNU tools wrote them before SHF_COMPRESSED
                kind, size, body = 1, int.from_bytes(data[4:12], "big"), data[12:]
            else:
                kind, _, size, _ = _CHDR.unpack_from(data)
                body = data[_CHDR.size :]
        self._unfolded += size
        if self._unfolded > UNFOLDED_LIMIT:
            raise DwarfError(f"{where}: compressed sections unfold to more than {UNFOLDED_LIMIT >> 20} MiB")
        if kind not in (1, 2):
            raise DwarfError(f"{where}: it is compressed in a way that is not known here (type {kind})")
        stream: Any = zlib.decompressobj() if kind == 1 else zstandard.ZstdDecompressor().decompressobj()
        out, at = bytearray(), 0
        try:
            while at < len(body) and len(out) <= size:
                if kind == 1:
                    out += stream.decompress(bytes(body[at : at + _MORSEL]), max(1, size + 1 - len(out)))
                    while stream.unconsumed_tail and len(out) <= size:
                        out += stream.decompress(stream.unconsumed_tail, max(1, size + 1 - len(out)))
                    at += _MORSEL
                else:
                    out += stream.decompress(bytes(body[at : at + 1024]))
                    at += 1024
                if stream.eof:
                    break
        except (zlib.error, zstandard.ZstdError) as error:
            raise DwarfError(f"{where}: damaged compressed data ({' '.join(str(error).split())})") from None
        if len(out) != size:
            raise DwarfError(f"{where}: it says that it unfolds to {size} bytes, and does not")
        return memoryview(bytes(out))
