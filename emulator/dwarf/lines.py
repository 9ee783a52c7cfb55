"""Line number programs: which source line an instruction belongs to (6.2 "Line Number Information")."""

from __future__ import annotations

import posixpath
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from emulator.dwarf.reader import Cursor, DwarfError, Sections, checked

ROWS_LIMIT: Final = 1 << 20
"""Rows of one unit's table."""
FILES_LIMIT: Final = 1 << 16
_STATEMENT, _PROLOGUE_END = 1, 2
_LINE_BITS: Final = 24
_LNCT_PATH, _LNCT_DIRECTORY = 1, 2


class Line(NamedTuple):
    """Instructions [start, end) come from `line` of `file`, a path as the compiler recorded it. `column` counts from 1;
    0: not said."""

    file: str
    line: int
    column: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """ "main.c:12". """
        return f"{posixpath.basename(self.file)}:{self.line}"


class Sequence:
    """Rows in the order of their addresses; `places` packs file << 24 | line, `more` column << 2 | flags."""

    __slots__ = ("addresses", "end", "more", "places", "start")

    def __init__(self) -> None:
        self.addresses, self.places, self.more = array("Q"), array("Q"), array("I")
        self.start = self.end = 0

    def closed(self, end: int) -> Sequence:
        """Addresses should ascend ("6.2.5 The Line Number Program"), and mostly do."""
        addresses = self.addresses
        if any(one > other for one, other in pairwise(addresses)):
            order = sorted(range(len(addresses)), key=addresses.__getitem__)
            for name in ("addresses", "places", "more"):
                old = getattr(self, name)
                setattr(self, name, array(old.typecode, (old[index] for index in order)))
        self.start, self.end = self.addresses[0], end
        return self


@dataclass
class Header:
    """6.2.4 "The Line Number Program Header". `files` begin at index `first`."""

    version: int
    program: int
    end: int
    minimum: int
    statement: bool
    line_base: int
    line_range: int
    opcode_base: int
    lengths: tuple[int, ...]
    first: int
    files: list[str] = field(default_factory=list)

    def file(self, number: int) -> str:
        index = number - self.first
        return self.files[index] if 0 <= index < len(self.files) else f"?{number}"


class Table:
    """The lines of one unit. DwarfError where it cannot be read; what stands before the damage is not kept either."""

    def __init__(self, sections: Sections, offset: int, directory: str, code: tuple[tuple[int, int], ...]) -> None:
        """`code`: where instructions can be, as others were discarded by the linker; empty: anywhere."""
        where = f"{sections.name}: .debug_line at {offset:#x}"
        data, wide = _program(sections, offset, where)
        with checked(where):
            self.header = read_header(sections, data, wide, directory)
            found = _run(data, self.header, where)
        self.sequences = sorted((each for each in found if _kept(each, code)), key=lambda each: each.start)
        self._starts = [each.start for each in self.sequences]
        self._by_file: dict[int, list[tuple[int, int]]] | None = None

    def at(self, address: int) -> Line | None:
        """None where no line is given, as for code that the compiler made up (line 0)."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.sequences[index].end:
            return None
        rows = self.sequences[index]
        row = bisect_right(rows.addresses, address) - 1
        # Of several rows at one address the last that begins a statement counts.
        best = row
        while row > 0 and rows.addresses[row - 1] == rows.addresses[best]:
            row -= 1
        best = next((each for each in range(best, row - 1, -1) if rows.more[each] & _STATEMENT), best)
        place = rows.places[best]
        if not place & (1 << _LINE_BITS) - 1:
            return None
        first = last = best
        while first > 0 and rows.places[first - 1] == place and first > best - 4096:
            first -= 1
        count = len(rows.addresses)
        while last + 1 < count and (
            rows.places[last + 1] == place or rows.addresses[last + 1] == rows.addresses[best]
        ) and last < best + 4096:  # fmt: skip
            last += 1
        end = rows.addresses[last + 1] if last + 1 < count else rows.end
        line = place & (1 << _LINE_BITS) - 1
        return Line(self.header.file(place >> _LINE_BITS), line, rows.more[best] >> 2, rows.addresses[first], end)

    def starts(self, number: int) -> list[tuple[int, int]]:
        """(line, address) where statements of a file begin, ascending: rows that begin a statement and are of another
        line than the row before."""
        if self._by_file is None:
            found: dict[int, list[tuple[int, int]]] = {}
            for rows in self.sequences:
                before = -1
                for address, place, more in zip(rows.addresses, rows.places, rows.more, strict=True):
                    if more & _STATEMENT and place != before and (line := place & (1 << _LINE_BITS) - 1):
                        found.setdefault(place >> _LINE_BITS, []).append((line, address))
                    before = place
            for each in found.values():
                each.sort()
            self._by_file = found
        return self._by_file.get(number, [])

    def statements(self, start: int, end: int) -> list[tuple[int, int]]:
        """(address, packed place) of all rows in [start, end) that begin a statement of another line than the row
        before."""
        found = []
        for index in range(max(0, bisect_right(self._starts, start) - 1), len(self.sequences)):
            rows = self.sequences[index]
            if rows.start >= end:
                break
            first = max(0, bisect_right(rows.addresses, start) - 1)
            before = -1
            for row in range(first, len(rows.addresses)):
                address, place = rows.addresses[row], rows.places[row]
                if address >= end:
                    break
                if place != before and rows.more[row] & _STATEMENT and place & (1 << _LINE_BITS) - 1:
                    if address >= start:
                        found.append((address, place))
                    before = place
        return found

    def prologue_end(self, start: int, end: int) -> int | None:
        """Where the body of the function at [start, end) begins: at a row that says so, else at its second line."""
        for rows in self.sequences:
            if rows.start <= start < rows.end:
                row = bisect_right(rows.addresses, start) - 1
                first = rows.places[row]
                second = None
                while row < len(rows.addresses) and rows.addresses[row] < end:
                    if rows.more[row] & _PROLOGUE_END and rows.addresses[row] >= start:
                        return rows.addresses[row]
                    other = rows.addresses[row] > start and rows.places[row] != first
                    if second is None and other and rows.more[row] & _STATEMENT:
                        second = rows.addresses[row]
                    row += 1
                return second
        return None


def _kept(rows: Sequence, code: tuple[tuple[int, int], ...]) -> bool:
    return rows.start < rows.end and (not code or any(low <= rows.start < high for low, high in code))


def _program(sections: Sections, offset: int, where: str) -> tuple[bytes, bool]:
    with checked(where):
        cursor = Cursor(sections.bytes(".debug_line", offset, min(12, len(sections.view(".debug_line")) - offset)))
        length, wide = cursor.initial_length()
    return sections.bytes(".debug_line", offset + cursor.at, length), wide


def file_names(sections: Sections, offset: int, directory: str) -> Header:
    """The header alone, for the names of its files. DwarfError."""
    where = f"{sections.name}: .debug_line at {offset:#x}"
    data, wide = _program(sections, offset, where)
    with checked(where):
        return read_header(sections, data, wide, directory)


def read_header(sections: Sections, data: bytes, wide: bool, directory: str) -> Header:
    cursor = Cursor(data)
    version = cursor.u16()
    if not 2 <= version <= 5:
        raise DwarfError(f"{sections.name}: a line table of version {version}: 2 to 5 are read")
    if version >= 5:
        cursor.take(2)  # sizes of an address and of a segment selector
    length = cursor.offset(wide)
    program = cursor.at + length
    minimum = cursor.u8()
    if version >= 4:
        cursor.u8()  # operations per instruction, of VLIW machines
    statement, base, range_, opcode_base = cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()
    lengths = tuple(cursor.take(max(0, opcode_base - 1)))
    header = Header(
        version, program, len(data), minimum, bool(statement), base - 256 if base > 127 else base, range_, opcode_base,
        lengths, int(version < 5),
    )  # fmt: skip
    if version >= 5:
        directories = [path for path, _ in _entries(sections, cursor, wide)]
        home = posixpath.join(directory, directories[0]) if directories else directory
        folders = [home, *(posixpath.join(home, each) for each in directories[1:])]
        files = _entries(sections, cursor, wide)
    else:
        folders, files = [directory], []
        while name := cursor.string():
            folders.append(posixpath.join(directory, name))
        while name := cursor.string():
            files.append((name, cursor.uleb()))
            cursor.uleb()
            cursor.uleb()
            if len(files) > FILES_LIMIT:
                raise DwarfError(f"{sections.name}: a line table with more than {FILES_LIMIT} files")
    header.files = [_path(folders, name, number) for name, number in files]
    return header


def _path(folders: list[str], name: str, number: int) -> str:
    folder = folders[number] if number < len(folders) else ""
    return posixpath.normpath(posixpath.join(folder, name)) if name else "?"


def _entries(sections: Sections, cursor: Cursor, wide: bool) -> list[tuple[str, int]]:
    """Directories or files of version 5, each as (path, directory)."""
    formats = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.u8())]
    count = cursor.uleb()
    if count > FILES_LIMIT or (count and not formats):
        raise DwarfError(f"{sections.name}: a line table with {count} files or directories")
    found = []
    for _ in range(count):
        path, directory = "", 0
        for content, form in formats:
            match form:
                case 0x08:
                    value: str | int = cursor.string()
                case 0x1F:
                    value = sections.string(".debug_line_str", cursor.offset(wide))
                case 0x0E:
                    value = sections.string(".debug_str", cursor.offset(wide))
                case 0x0B:
                    value = cursor.u8()
                case 0x05:
                    value = cursor.u16()
                case 0x06:
                    value = cursor.u32()
                case 0x07:
                    value = cursor.u64()
                case 0x0F:
                    value = cursor.uleb()
                case 0x1E:
                    value = cursor.take(16).hex()
                case 0x09:
                    value = cursor.take(cursor.uleb()).hex()
                case _:
                    raise DwarfError(f"{sections.name}: a line table with form {form:#x}, which is not known here")
            if content == _LNCT_PATH:
                path = str(value)
            elif content == _LNCT_DIRECTORY and isinstance(value, int):
                directory = value
        found.append((path, directory))
    return found


def _run(data: bytes, header: Header, where: str) -> list[Sequence]:
    """The state machine (6.2.5 "The Line Number Program"). Each opcode takes a byte and makes at most a row."""
    cursor = Cursor(data, header.program)
    if header.program > len(data):
        raise DwarfError(f"{where}: its program begins behind its end")
    base, range_, opcode_base, minimum = header.line_base, header.line_range, header.opcode_base, header.minimum
    if not range_ and opcode_base < 256:
        raise DwarfError(f"{where}: its line range is 0")
    found: list[Sequence] = []
    rows = Sequence()
    total = 0
    mask, most = (1 << 64) - 1, (1 << _LINE_BITS) - 1
    default = int(header.statement)
    address, file, line, column, flags = 0, 1, 1, 0, default
    size = len(data)
    while cursor.at < size:
        opcode = data[cursor.at]
        cursor.at += 1
        if opcode >= opcode_base:
            adjusted = opcode - opcode_base
            address = (address + adjusted // range_ * minimum) & mask
            line += base + adjusted % range_
        elif opcode == 1:
            pass
        elif opcode == 2:
            address = (address + cursor.uleb() * minimum) & mask
            continue
        elif opcode == 3:
            line += cursor.sleb()
            continue
        elif opcode == 4:
            file = cursor.uleb()
            continue
        elif opcode == 5:
            column = min(cursor.uleb(), 0xFFFF)
            continue
        elif opcode == 6:
            flags ^= _STATEMENT
            continue
        elif opcode == 8:
            address = (address + (255 - opcode_base) // range_ * minimum) & mask
            continue
        elif opcode == 9:
            address = (address + cursor.u16()) & mask
            continue
        elif opcode == 10:
            flags |= _PROLOGUE_END
            continue
        elif opcode in (7, 11):
            continue
        elif opcode == 12:
            cursor.uleb()
            continue
        elif opcode:
            for _ in range(header.lengths[opcode - 1]):
                cursor.uleb()
            continue
        else:
            length = cursor.uleb()
            end = cursor.at + length
            if not length or end > size:
                raise DwarfError(f"{where}: an extended opcode of {length} bytes")
            extended = cursor.u8()
            if extended == 1:
                if rows.addresses:
                    found.append(rows.closed(address))
                rows = Sequence()
                address, file, line, column, flags = 0, 1, 1, 0, default
            elif extended == 2:
                address = cursor.number(min(8, length - 1))
            elif extended == 3:
                header.files.append(cursor.string())
            cursor.at = end
            continue
        total += 1
        if total > ROWS_LIMIT:
            raise DwarfError(f"{where}: it has more than {ROWS_LIMIT} rows")
        place = file << _LINE_BITS | (line if 0 <= line <= most else 0)
        rows.addresses.append(address)
        rows.places.append(place if place <= mask else 0)
        rows.more.append(column << 2 | flags)
        flags &= ~_PROLOGUE_END
    return found
