"""What the debugging information of a program says of its addresses: lines, functions, frames. Read when asked for."""

from __future__ import annotations

import posixpath
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, TypeVar

from emulator.dwarf import units as dies
from emulator.dwarf.lines import Line, Table, file_names
from emulator.dwarf.reader import Cursor, DwarfError, Piece, Sections, checked
from emulator.dwarf.units import Entry, Function, Unit
from emulator.dwarf.unwind import Frames, Row
from emulator.errors import EmulatorError

ROWS_KEPT: Final = 1 << 22
"""Rows of line tables that are kept; the tables that were not used for longest are forgotten."""
UNITS_KEPT: Final = 64
"""Units whose functions are kept."""
ARANGES_LIMIT: Final = 1 << 20
MOST_TROUBLES: Final = 8
_LINES: Final = (".debug_info", ".debug_line")
LITTLE: Final = 64 << 10
"""Bytes of these sections that take no time to read."""
OVERLAPPING: Final = 4
"""Units that may claim the same address."""
MOST_NAMED: Final = 5
MOST_UNITS: Final = 256
"""Units that a file is looked up in."""

T = TypeVar("T")


class LocationError(EmulatorError):
    """A source line that is in no program, or has no code."""


class Scope(NamedTuple):
    """A function that an address is in. `call`: where it was inlined, "" where it was not, or where nobody says."""

    name: str
    start: int
    inlined: bool
    call: str


class Place(NamedTuple):
    """Code of `line` of `file` begins at `address`."""

    file: str
    line: int
    address: int


@dataclass
class _Index:
    units: list[Unit]
    lows: array[int]
    """Where ranges of units begin, ascending."""
    highs: array[int]
    owners: array[int]


class DebugInfo:
    """Of one ELF file. What is damaged is told in `troubles`, and is as if it was not there."""

    def __init__(self, name: str, pieces: Mapping[str, Piece], code: Iterable[tuple[int, int]]) -> None:
        """`code`: where its instructions are, as [low, high)."""
        self.name = name
        self.sections = Sections(name, pieces)
        self.code = tuple(code)
        self.troubles: list[str] = []
        self._lock = threading.RLock()
        self._little = sum(pieces[name].size for name in _LINES if name in pieces) < LITTLE
        self._index: _Index | None = None
        self._tables: OrderedDict[int, Table | None] = OrderedDict()
        self._rows = 0
        self._scanned: OrderedDict[int, Unit] = OrderedDict()
        self._named: dict[str, list[int]] | None = None
        self._all: dict[str, array[int]] | None = None
        self._frames: list[Frames] | None = None

    def _guarded(self, what: Callable[[], T], otherwise: T) -> T:
        try:
            return what()
        except DwarfError as error:
            if len(self.troubles) < MOST_TROUBLES and str(error) not in self.troubles:
                self.troubles.append(str(error))
            return otherwise

    # --- which unit ---

    def index(self) -> _Index:
        with self._lock:
            if self._index is None:
                self._index = self._make_index()
            return self._index

    def _make_index(self) -> _Index:
        units: list[Unit] = []

        def collect() -> None:
            for unit in dies.units(self.sections):
                unit.number = len(units)
                units.append(unit)

        self._guarded(collect, None)
        found: list[tuple[int, int, int]] = []
        numbers = {unit.offset: number for number, unit in enumerate(units)}

        def covered() -> None:
            for low, high, offset in _aranges(self.sections):
                if offset in numbers and self._is_code(low):
                    found.append((low, high, numbers[offset]))

        self._guarded(covered, None)
        told = {owner for _, _, owner in found}
        for number, unit in enumerate(units):
            if number not in told:
                rows: tuple[tuple[int, int], ...] = self._guarded(partial(_whole, unit), ())
                found += [(low, high, number) for low, high in rows if self._is_code(low)]
        found.sort()
        return _Index(
            units, array("Q", [each[0] for each in found]), array("Q", [each[1] for each in found]),
            array("L", [each[2] for each in found]),
        )  # fmt: skip

    def _is_code(self, address: int) -> bool:
        return not self.code or any(low <= address < high for low, high in self.code)

    def claiming(self, address: int) -> Iterator[int]:
        """Numbers of units that an address may belong to."""
        index = self.index()
        at = bisect_right(index.lows, address) - 1
        for each in range(at, max(-1, at - 4 * OVERLAPPING), -1):
            if address < index.highs[each]:
                yield index.owners[each]

    # --- lines ---

    def _table(self, number: int) -> Table | None:
        with self._lock:
            if number in self._tables:
                self._tables.move_to_end(number)
                return self._tables[number]
            unit = self.index().units[number]
            table = self._guarded(lambda: self._read_table(unit), None)
            self._tables[number] = table
            self._rows += _rows(table)
            while self._rows > ROWS_KEPT and len(self._tables) > 1:
                self._rows -= _rows(self._tables.popitem(last=False)[1])
            return table

    def _read_table(self, unit: Unit) -> Table | None:
        at = unit.root.whole(dies.STMT_LIST)
        return None if at is None else Table(self.sections, at, _directory(unit), self.code)

    def ready(self, address: int) -> bool:
        """`line` and `chain` will be quick."""
        if self._index is None:
            return False
        owners = list(self.claiming(address))[:OVERLAPPING]
        return all(number in self._tables and number in self._scanned for number in owners)

    def line(self, address: int) -> Line | None:
        for number in list(self.claiming(address))[:OVERLAPPING]:
            table = self._table(number)
            if table is not None and (found := table.at(address)) is not None:
                return found
        return None

    def known_line(self, address: int) -> Line | None:
        """The same, of what was read before, or is so little that it is read at once."""
        if self._little:
            return self.line(address)
        if self._index is None:
            return None
        for number in list(self.claiming(address))[:OVERLAPPING]:
            table = self._tables.get(number)
            if table is not None and (found := table.at(address)) is not None:
                return found
        return None

    def statements(self, start: int, end: int) -> list[tuple[int, str, int]]:
        """(address, file, line) where statements begin in [start, end)."""
        found = []
        for number in dict.fromkeys(self.claiming(start)):
            table = self._table(number)
            if table is not None:
                for address, place in table.statements(start, end):
                    found.append((address, table.header.file(place >> 24), place & 0xFF_FFFF))
                break
        return found

    def prologue_end(self, start: int, end: int) -> int | None:
        for number in self.claiming(start):
            table = self._table(number)
            if table is not None and table.at(start) is not None:
                return table.prologue_end(start, end)
        return None

    # --- files ---

    def file_names(self) -> list[str]:
        """Of the files that units are made of; of headers one is not told here."""
        return sorted(self._primary())

    def _primary(self) -> dict[str, list[int]]:
        """Units by the path of their main source."""
        with self._lock:
            if self._named is None:
                found: dict[str, list[int]] = {}
                for number, unit in enumerate(self.index().units):
                    root = self._guarded(partial(getattr, unit, "root"), None)
                    if root is not None and isinstance(name := root.get(dies.NAME), str):
                        path = posixpath.normpath(posixpath.join(_directory(unit), name))
                        found.setdefault(path, []).append(number)
                self._named = found
            return self._named

    def _every(self) -> dict[str, array[int]]:
        """All files that line tables name, as unit << 16 | number."""
        with self._lock:
            if self._all is None:
                found: dict[str, array[int]] = {}
                for number, unit in enumerate(self.index().units):
                    self._guarded(partial(self._collect, found, number, unit), None)
                self._all = found
            return self._all

    def _collect(self, found: dict[str, array[int]], number: int, unit: Unit) -> None:
        at = unit.root.whole(dies.STMT_LIST)
        if at is None:
            return
        header = file_names(self.sections, at, _directory(unit))
        for index, path in enumerate(header.files, header.first):
            found.setdefault(path, array("Q")).append(number << 16 | min(index, 0xFFFF))

    def matching(self, name: str) -> dict[str, list[tuple[int, int]]]:
        """Files whose path ends with `name`: (unit, number of the file in its table)."""
        found: dict[str, list[tuple[int, int]]] = {}
        for path, numbers in self._primary().items():
            if _ends(path, name):
                mine: dict[str, array[int]] = {}
                for number in numbers:
                    self._guarded(partial(self._collect, mine, number, self.index().units[number]), None)
                if packed := mine.get(path):
                    found[path] = [(each >> 16, each & 0xFFFF) for each in packed]
        if not found:
            for path, packed in self._every().items():
                if _ends(path, name):
                    found[path] = [(each >> 16, each & 0xFFFF) for each in packed]
        return found

    def starts(self, owners: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
        """(line, address, unit) where statements of a file begin. LocationError where that would take for ever."""
        rows = 0
        for number, index in owners:
            table = self._table(number)
            rows += _rows(table)
            if rows > ROWS_KEPT:
                raise LocationError("the file is in too many parts of the program: write FUNCTION:LINE")
            if table is not None:
                yield from ((line, address, number) for line, address in table.starts(index))

    # --- functions ---

    def _functions(self, number: int) -> Unit:
        with self._lock:
            unit = self.index().units[number]
            if number not in self._scanned:
                none: list[Function] = []
                self._guarded(unit.functions, none)
                self._scanned[number] = unit
                while len(self._scanned) > UNITS_KEPT:
                    self._scanned.popitem(last=False)[1].forget()
            else:
                self._scanned.move_to_end(number)
            return unit

    def functions(self, address: int) -> list[tuple[Unit, Function]]:
        """The function there, and in it those inlined, outermost first."""
        for number in list(self.claiming(address))[:OVERLAPPING]:
            unit = self._functions(number)
            none: list[Function] = []
            chain = self._guarded(partial(unit.chain, address), none)
            if chain:
                return [(unit, each) for each in chain]
        return []

    def chain(self, address: int) -> list[Scope]:
        found = []
        for unit, each in self.functions(address):
            call = ""
            if each.call is not None and each.call[1]:
                call = f"{self.file_of(unit, each.call[0])}:{each.call[1]}"
            found.append(Scope(self.name_of(unit, each.entry) or "?", each.start, each.call is not None, call))
        return found

    def file_of(self, unit: Unit, number: int) -> str:
        table = self._table(unit.number)
        return posixpath.basename(table.header.file(number)) if table is not None else "?"

    def unit_at(self, offset: int) -> Unit:
        """The unit that an entry is in. DwarfError."""
        every = self.index().units
        at = bisect_right([unit.offset for unit in every], offset) - 1
        if at < 0:
            raise DwarfError(f"{self.name}: no unit is at {offset:#x} of .debug_info")
        return every[at]

    def follow(self, unit: Unit, entry: Entry, attribute: int) -> tuple[Unit, Entry] | None:
        """What an attribute refers to. DwarfError."""
        at = entry.whole(attribute)
        if at is None:
            return None
        owner = unit if unit.offset <= at < unit.end else self.unit_at(at)
        return owner, owner.entry(at)

    def attribute(self, unit: Unit, entry: Entry, attribute: int) -> tuple[Unit, object]:
        """Of an entry, or of what it is an instance of; (unit, None) where neither has it. DwarfError."""
        for _ in range(dies.HOPS):
            if (value := entry.get(attribute)) is not None:
                return unit, value
            found = self.follow(unit, entry, dies.ORIGIN) or self.follow(unit, entry, dies.SPECIFICATION)
            if found is None:
                break
            unit, entry = found
        return unit, None

    def name_of(self, unit: Unit, entry: Entry) -> str:
        """"" where it has none."""
        name = self._guarded(lambda: self.attribute(unit, entry, dies.NAME)[1], None)
        return name if isinstance(name, str) else ""

    # --- frames ---

    def row(self, address: int) -> Row | None:
        """How the frame at an instruction is left."""
        with self._lock:
            if self._frames is None:
                self._frames = []
                for section in (".debug_frame", ".eh_frame"):
                    if section in self.sections:
                        table = self._guarded(partial(Frames, self.sections, section), None)
                        if table is not None:
                            self._frames.append(table)
                            if table.trouble:
                                self.troubles.append(table.trouble)
        for table in self._frames:
            found = self._guarded(partial(table.row, address), None)
            if found is not None:
                return found
        return None


class Sources:
    """The debugging information of all that one machine or VM was loaded with, each where it was placed: (information,
    by how much its addresses were moved). The first that knows answers."""

    def __init__(self, parts: Iterable[tuple[DebugInfo, int]] = ()) -> None:
        self.parts = tuple(dict.fromkeys(parts))

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __or__(self, other: Sources) -> Sources:
        return Sources((*self.parts, *other.parts)) if other.parts else self

    def moved(self, by: int) -> Sources:
        return Sources((info, bias + by) for info, bias in self.parts)

    @property
    def troubles(self) -> list[str]:
        return [each for info, _ in self.parts for each in info.troubles]

    def ready(self, address: int) -> bool:
        """Whether what is asked about an address needs no reading first; `prepare` reads."""
        return all(info.ready(address - bias) for info, bias in self.parts)

    def prepare(self, address: int) -> None:
        self.line(address)
        self.chain(address)

    def line(self, address: int) -> Line | None:
        return self._first(lambda info, at: info.line(at), address)

    def known_line(self, address: int) -> Line | None:
        """The same, if it was read before: does not take long."""
        return self._first(lambda info, at: info.known_line(at), address)

    @staticmethod
    def _shifted(line: Line | None, bias: int) -> Line | None:
        return line if line is None or not bias else line._replace(start=line.start + bias, end=line.end + bias)

    def _first(self, ask: Callable[[DebugInfo, int], Line | None], address: int) -> Line | None:
        for info, bias in self.parts:
            if address >= bias and (found := self._shifted(ask(info, address - bias), bias)) is not None:
                return found
        return None

    def chain(self, address: int) -> list[Scope]:
        """The function there, and in it those inlined, outermost first."""
        for info, bias in self.parts:
            if address >= bias and (found := info.chain(address - bias)):
                return [each._replace(start=each.start + bias) for each in found]
        return []

    def row(self, address: int) -> Row | None:
        for info, bias in self.parts:
            if address >= bias and (found := info.row(address - bias)) is not None:
                return found
        return None

    def part_at(self, address: int) -> tuple[DebugInfo, int] | None:
        """Whose lines or functions an address is in."""
        for info, bias in self.parts:
            if address >= bias and (info.line(address - bias) is not None or info.functions(address - bias)):
                return info, bias
        return None

    def statements(self, start: int, end: int) -> list[tuple[int, str, int]]:
        """(address, file, line) where statements begin in [start, end)."""
        for info, bias in self.parts:
            if start >= bias and (found := info.statements(start - bias, end - bias)):
                return [(address + bias, file, line) for address, file, line in found]
        return []

    def prologue_end(self, start: int, end: int) -> int | None:
        """Where the body of the function at [start, end) begins."""
        for info, bias in self.parts:
            if start >= bias and (found := info.prologue_end(start - bias, end - bias)) is not None:
                return found + bias
        return None

    def files(self) -> list[str]:
        """Paths of main sources, sorted."""
        return sorted({name for info, _ in self.parts for name in info.file_names()})

    def file(self, name: str) -> str:
        """The path, as recorded, of the one file that `name` is the end of. LocationError."""
        return self._matching(name)[0]

    def _matching(self, name: str) -> tuple[str, list[tuple[DebugInfo, int, list[tuple[int, int]]]]]:
        wanted = posixpath.normpath(name)
        found: dict[str, list[tuple[DebugInfo, int, list[tuple[int, int]]]]] = {}
        for info, bias in self.parts:
            for path, owners in info.matching(wanted).items():
                found.setdefault(path, []).append((info, bias, owners))
        if not found:
            if not self.parts:
                raise LocationError(f"{name}: nothing here has debugging information; build with -g, or symbol-file")
            why = f" ({self.troubles[0]})" if self.troubles else ""
            raise LocationError(f"no source file is called {name!r}: `info sources` lists them{why}")
        if wanted in found:
            return wanted, found[wanted]
        if len(found) > 1:
            some = sorted(found)[:MOST_NAMED]
            more = f" and {len(found) - len(some)} more" if len(found) > len(some) else ""
            raise LocationError(f"{name} may be {', '.join(some)}{more}: say more of the path")
        return next(iter(found.items()))

    def code_lines(self, path: str) -> frozenset[int]:
        """Lines of a file, by its recorded path, that have code."""
        try:
            _, owners = self._matching(path)
            return frozenset(line for info, _, places in owners for line, _, _ in info.starts(places))
        except LocationError:
            return frozenset()

    def places(self, name: str, line: int, near: int | None = None) -> list[Place]:
        """Where code of a line begins, once for each function, or for each place where it was inlined; of the next
        line that has code, where this has none. With `near` only in the unit that this address is in. LocationError."""
        path, owners = self._matching(name)
        if near is not None:
            owners = [
                (info, bias, [each for each in places if each[0] in set(info.claiming(near - bias))])
                for info, bias, places in owners
            ]
        if any(len(places) > MOST_UNITS for _, _, places in owners):
            raise LocationError(f"{name} is in more than {MOST_UNITS} parts of the program: write FUNCTION:LINE")
        starts = [
            (number, address, info, bias, unit)
            for info, bias, places in owners
            for number, address, unit in info.starts(places)
        ]
        later = {each[0] for each in starts if each[0] >= line}
        if not later:
            most = max((each[0] for each in starts), default=0)
            last = f"the last with code is {most}" if most else "it has no code"
            raise LocationError(f"no code at or behind line {line} of {posixpath.basename(path)}: {last}")
        best = min(later)
        found: dict[tuple[int, int], int] = {}
        for number, address, info, bias, unit in starts:
            if number == best:
                chain = info.functions(address)
                instance = chain[-1][1].entry.offset if chain else -unit
                key = (id(info), instance)
                found[key] = min(found.get(key, address + bias), address + bias)
        return [Place(path, best, address) for address in sorted(set(found.values()))]


def _rows(table: Table | None) -> int:
    return 0 if table is None else sum(len(each.addresses) for each in table.sequences)


def _whole(unit: Unit) -> tuple[tuple[int, int], ...]:
    return unit.ranges(unit.root)


def _directory(unit: Unit) -> str:
    directory = unit.root.get(dies.COMP_DIR)
    return directory if isinstance(directory, str) else ""


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name.lstrip('/')}" if not name.startswith("/") else name)


def _aranges(sections: Sections) -> Iterator[tuple[int, int, int]]:
    """(low, high, offset of the unit), by 6.1.2 "Lookup by Address"."""
    view = sections.view(".debug_aranges")
    at = count = 0
    while at < len(view):
        where = f"{sections.name}: .debug_aranges at {at:#x}"
        with checked(where):
            head = Cursor(bytes(view[at : at + 32]))
            length, wide = head.initial_length()
            end = at + head.at + length
            if end > len(view):
                raise DwarfError(f"{where}: it is too long")
            version, owner = head.u16(), head.offset(wide)
            if version != 2 or head.u8() != 8 or head.u8():
                at = end
                continue
            cursor = Cursor(bytes(view[at:end]), -(-head.at // 16) * 16)
            while cursor.at + 16 <= len(cursor.data):
                low, size = cursor.u64(), cursor.u64()
                count += 1
                if count > ARANGES_LIMIT:
                    raise DwarfError(f"{where}: more than {ARANGES_LIMIT} ranges")
                if size:
                    yield low, low + size & (1 << 64) - 1, owner
        at = end
