"""GDB's formats of values, x/FMT and print/FMT: a count, a letter for how, a letter for the size."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from rvtui.commands.registry import CommandError

SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
LETTERS = {
    "x": "hexadecimal", "d": "signed", "u": "unsigned", "o": "octal", "t": "binary", "c": "character", "a": "address",
    "z": "hexadecimal with all zeros", "f": "floating point", "s": "text", "i": "instructions",
}  # fmt: skip
MOST = 4096
"""Items, or characters of a text, that are shown at once."""


class Format(NamedTuple):
    items: int
    letter: str
    size: int


def parse_format(form: str, letter: str = "x", size: int = 4) -> Format:
    """`form` as in GDB: "8gx", "5i", "s"; what it leaves out is one item, `letter` and `size`. CommandError."""
    match = re.fullmatch(r"(\d*)([a-z]*)", form.strip().lower())
    if match is None:
        raise CommandError(f"/{form}: a format is a count, a letter and a size, as in /8gx")
    digits, letters = match.groups()
    sized = False
    chosen = ""
    for each in letters:
        if each in SIZES:
            size, sized = SIZES[each], True
        elif each in LETTERS:
            chosen = each
        else:
            raise CommandError(
                f"/{form}: {each!r} is neither a format ({' '.join(LETTERS)}) nor a size ({' '.join(SIZES)})"
            )
    letter = chosen or letter
    if not sized:
        size = {"c": 1, "a": 8, "f": 8}.get(letter, size)
    if letter == "f" and size not in (4, 8):
        raise CommandError(f"/{form}: floating point has size w or g")
    count = int(digits[:20]) if digits else 1
    if not 0 < count <= MOST:
        raise CommandError(f"/{form}: from 1 to {MOST:,} items at once")
    return Format(count, letter, size)


def shown(letter: str, value: int, size: int, name: Callable[[int], str | None] = lambda value: None) -> str:
    """An unsigned value of `size` bytes in the form of `letter`; `name` says what an address is called."""
    bits = 8 * size
    value &= (1 << bits) - 1
    signed = value - (1 << bits) if value >> bits - 1 else value
    match letter:
        case "d":
            return str(signed)
        case "u":
            return str(value)
        case "o":
            return f"0{value:o}" if value else "0"
        case "t":
            return f"{value:b}"
        case "z":
            return f"0x{value:0{2 * size}x}"
        case "c":
            byte = value & 0xFF
            return f"{signed} {character(byte)}"
        case "a":
            called = name(value)
            return f"{value:#x}" + (f" <{called}>" if called else "")
        case "f":
            number = struct.unpack("<f" if size == 4 else "<d", value.to_bytes(size, "little"))[0]
            return f"{number:.9g}" if size == 4 else repr(number)
    return f"{value:#x}"


def character(byte: int) -> str:
    """As C writes it: 'a', '\\n', '\\x7f'."""
    return "'" + ("\\'" if byte == 0x27 else escaped(bytes([byte]))) + "'"


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 13: "\\r", 27: "\\e", 0x5C: "\\\\"}


def escaped(data: bytes) -> str:
    """Bytes as a C string would have them; nothing that a terminal would obey."""
    return "".join(_ESCAPES.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}") for b in data)


def unescaped(text: str) -> bytes:
    """The reverse: C's escapes, \\e for escape and \\xHH; all else as UTF-8. CommandError for an unknown one."""
    back = {text[1]: code for code, text in _ESCAPES.items()} | {"0": 0, '"': 0x22, "'": 0x27}
    out = bytearray()
    at = 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode("utf-8", "surrogateescape")
            at += 1
            continue
        letter = text[at + 1 : at + 2]
        digits = text[at + 2 : at + 4]
        if letter == "x" and re.fullmatch(r"[0-9a-fA-F]{2}", digits):
            out.append(int(digits, 16))
            at += 4
        elif letter and letter in back:
            out.append(back[letter])
            at += 2
        else:
            raise CommandError(f"{text[at : at + 4]!r}: escapes are \\n \\r \\t \\e \\\\ \\xHH")
    return bytes(out)
