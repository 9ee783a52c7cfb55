"""Units and the entries in them: functions, also inlined ones, and all else by its offset (7.5 "Format of Debugging
Information").

Attributes are kept as plain values: numbers, strings, bytes of expressions. A reference is the offset in .debug_info of
what it names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from emulator.dwarf.reader import Cursor, DwarfError, Sections, checked

UNITS_LIMIT: Final = 1 << 16
ENTRIES_LIMIT: Final = 1 << 21
"""Of a unit that are looked at."""
DEPTH_LIMIT: Final = 256
RANGES_LIMIT: Final = 1 << 16
ROOT_SIZE: Final = 4096
"""Bytes of a unit that its first entry is looked for in, before all of them are."""
HOPS: Final = 8
"""From an entry to those that it refers to, for its name."""
WORD: Final = (1 << 64) - 1

COMPILE_UNIT, SUBPROGRAM, INLINED, BLOCK = 0x11, 0x2E, 0x1D, 0x0B
PARTIAL_UNIT, SKELETON_UNIT, LABEL = 0x3C, 0x4A, 0x0A
PARAMETER, VARIABLE = 0x05, 0x34
SIBLING, LOCATION, NAME, STMT_LIST, LOW_PC, HIGH_PC = 0x01, 0x02, 0x03, 0x10, 0x11, 0x12
COMP_DIR, CONST_VALUE, ORIGIN, DECL_LINE = 0x1B, 0x1C, 0x31, 0x3B
FRAME_BASE, SPECIFICATION, TYPE, RANGES, CALL_LINE, CALL_FILE = 0x40, 0x47, 0x49, 0x55, 0x59, 0x58
BYTE_SIZE, ENCODING, MEMBER_AT, UPPER_BOUND, COUNT, LINKAGE_NAME = 0x0B, 0x3E, 0x38, 0x2F, 0x37, 0x6E
STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE, LOCLISTS_BASE = 0x72, 0x73, 0x74, 0x8C
_BASES: Final = (STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE, LOCLISTS_BASE)

FIXED: Final = {
    0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x21: 0,
    0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4, 0x20: 8,
}  # fmt: skip
"""Bytes of forms that have always as many."""
_OFFSETS: Final = (0x0E, 0x17, 0x1F, 0x1D)
_ADDRESSES: Final = (0x01, 0x1B, 0x29, 0x2A, 0x2B, 0x2C)
_TABLE: Final = 8192
"""Bytes of a table of abbreviations that are looked at first."""
_INDIRECT, _IMPLICIT_CONST = 0x16, 0x21


class Abbreviation(NamedTuple):
    """7.5.3 "Abbreviations Tables"."""

    tag: int
    children: bool
    attributes: tuple[tuple[int, int, int], ...]
    """(attribute, form, value of an implicit constant)."""
    length: bool
    """DW_AT_high_pc is a number, and so counts from DW_AT_low_pc."""


@dataclass(frozen=True)
class Entry:
    """A debugging information entry. `end` is where the next one begins, which is its first child if `children`."""

    offset: int
    tag: int
    children: bool
    attributes: dict[int, Any]
    end: int

    def get(self, attribute: int) -> Any:
        return self.attributes.get(attribute)

    def whole(self, attribute: int) -> int | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) else None


@dataclass
class Function:
    """A function, or with `call` (file number, line) one inlined there. `inner`: what is inlined in it."""

    entry: Entry
    ranges: tuple[tuple[int, int], ...]
    call: tuple[int, int] | None = None
    inner: list[Function] = field(default_factory=list)

    @property
    def start(self) -> int:
        return min(low for low, _ in self.ranges)

    def holds(self, address: int) -> bool:
        return any(low <= address < high for low, high in self.ranges)


class Unit:
    """A unit's header (7.5.1 "Unit Headers"); all else is read when asked for. Calls raise DwarfError."""

    def __init__(self, sections: Sections, offset: int, wide: bool, end: int, header: Cursor) -> None:
        self.sections, self.offset, self.wide, self.end = sections, offset, wide, end
        self.where = f"{sections.name}: .debug_info at {offset:#x}"
        self.version = header.u16()
        self.kind = 1
        if not 2 <= self.version <= 5:
            raise DwarfError(f"{self.where}: a unit of version {self.version}: 2 to 5 are read")
        if self.version >= 5:
            self.kind, self.address_size = header.u8(), header.u8()
            self._abbreviations_at = header.offset(wide)
        else:
            self._abbreviations_at, self.address_size = header.offset(wide), header.u8()
        if self.address_size != 8:
            raise DwarfError(f"{self.where}: addresses of {self.address_size} bytes; harts here are RV64")
        if self.kind in (4, 5):
            header.u64()  # which file of a split pair
        elif self.kind in (2, 6):
            header.u64()  # a type's signature
            header.offset(wide)
        self.first = header.at
        """Where its first entry is, from `offset` on."""
        self.number = 0
        """Of those that are kept, counted by who keeps them."""
        self._data: bytes | None = None
        self._abbreviations: Abbreviations | None = None
        self._root: Entry | None = None
        self._functions: list[Function] | None = None
        self._starts: list[int] = []

    # --- entries ---

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = self.sections.bytes(".debug_info", self.offset, self.end - self.offset)
        return self._data

    @property
    def abbreviations(self) -> Abbreviations:
        if self._abbreviations is None:
            self._abbreviations = Abbreviations(self.sections, self._abbreviations_at)
        return self._abbreviations

    @property
    def root(self) -> Entry:
        if self._root is None:
            size = min(ROOT_SIZE, self.end - self.offset)
            data = self.sections.bytes(".debug_info", self.offset, size) if self._data is None else self._data
            try:
                found = self._entry(Cursor(data, self.first), True)
            except DwarfError:
                if size < ROOT_SIZE:
                    raise
                found = self._entry(Cursor(self.data, self.first), True)
            if found is None:
                raise DwarfError(f"{self.where}: the unit has no entries")
            self._root = found
        return self._root

    def entry(self, offset: int) -> Entry:
        """The entry at an offset of .debug_info inside this unit."""
        if not self.offset + self.first <= offset < self.end:
            raise DwarfError(f"{self.where}: no entry of this unit is at {offset:#x}")
        found = self._entry(Cursor(self.data, offset - self.offset))
        if found is None:
            raise DwarfError(f"{self.where}: there is no entry at {offset:#x}")
        return found

    def children(self, parent: Entry) -> Iterator[Entry]:
        """Those right below it."""
        if not parent.children:
            return
        cursor, depth, seen = Cursor(self.data, parent.end - self.offset), 0, 0
        while cursor.at < len(self.data):
            entry = self._entry(cursor)
            seen += 1
            if seen > ENTRIES_LIMIT or depth > DEPTH_LIMIT:
                raise DwarfError(f"{self.where}: its entries are too many or too deep")
            if entry is None:
                if not depth:
                    return
                depth -= 1
                continue
            if not depth:
                yield entry
            if entry.children:
                sibling = entry.whole(SIBLING)
                if sibling is not None and self.offset + cursor.at <= sibling < self.end:
                    cursor.at = sibling - self.offset
                else:
                    depth += 1

    def _entry(self, cursor: Cursor, root: bool = False) -> Entry | None:
        """None for the end of a list of children. The cursor goes on to the next."""
        at = self.offset + cursor.at
        with checked(f"{self.sections.name}: .debug_info at {at:#x}"):
            code = cursor.uleb()
            if not code:
                return None
            abbreviation = self.abbreviations.get(code)
            if abbreviation is None:
                raise DwarfError(f"{self.sections.name}: .debug_info at {at:#x}: abbreviation {code} is not there")
            attributes: dict[int, Any] = {}
            later: list[tuple[int, int, int]] = []
            for attribute, form, implicit in abbreviation.attributes:
                value = self._value(cursor, form, implicit)
                if isinstance(value, _Indexed):
                    later.append((attribute, value.kind, value.place))
                else:
                    attributes[attribute] = value
            if later:
                bases = attributes if root else self.root.attributes
                for attribute, kind, index in later:
                    attributes[attribute] = self._indexed(bases, kind, index)
            if abbreviation.length and isinstance(high := attributes.get(HIGH_PC), int):
                attributes[HIGH_PC] = high + (attributes.get(LOW_PC) or 0)
            return Entry(at, abbreviation.tag, abbreviation.children, attributes, self.offset + cursor.at)

    def _value(self, cursor: Cursor, form: int, implicit: int) -> Any:
        """7.5.5 "Classes and Forms"."""
        match form:
            case 0x01:
                return cursor.u64()
            case 0x0B | 0x11 | 0x0C:
                value = cursor.u8()
                return value + self.offset if form == 0x11 else value
            case 0x05 | 0x12:
                value = cursor.u16()
                return value + self.offset if form == 0x12 else value
            case 0x06 | 0x13:
                value = cursor.u32()
                return value + self.offset if form == 0x13 else value
            case 0x07 | 0x14:
                value = cursor.u64()
                return value + self.offset if form == 0x14 else value
            case 0x0D:
                return cursor.sleb()
            case 0x0F:
                return cursor.uleb()
            case 0x15:
                return cursor.uleb() + self.offset
            case 0x08:
                return cursor.string()
            case 0x0E:
                return self.sections.string(".debug_str", cursor.offset(self.wide))
            case 0x1F:
                return self.sections.string(".debug_line_str", cursor.offset(self.wide))
            case 0x17:
                return cursor.offset(self.wide)
            case 0x10:
                return cursor.u64() if self.version == 2 else cursor.offset(self.wide)
            case 0x19:
                return 1
            case 0x21:
                return implicit
            case 0x18 | 0x09:
                return cursor.take(cursor.uleb())
            case 0x0A:
                return cursor.take(cursor.u8())
            case 0x03:
                return cursor.take(cursor.u16())
            case 0x04:
                return cursor.take(cursor.u32())
            case 0x1E:
                return cursor.take(16)
            case 0x1A | 0x25 | 0x26 | 0x27 | 0x28:
                return _Indexed(0x1A, cursor.uleb() if form == 0x1A else cursor.number(form - 0x24))
            case 0x1B | 0x29 | 0x2A | 0x2B | 0x2C:
                return _Indexed(0x1B, cursor.uleb() if form == 0x1B else cursor.number(form - 0x28))
            case 0x22 | 0x23:
                return _Indexed(form, cursor.uleb())
            case 0x20:
                return bytes(cursor.take(8))  # a type by its signature, of another unit
            case 0x1D | 0x1C | 0x24:
                cursor.take(8 if form == 0x24 or (form == 0x1D and self.wide) else 4)
                return None  # in a supplementary file
            case 0x16:
                inner = cursor.uleb()
                if inner in (_INDIRECT, _IMPLICIT_CONST):
                    raise DwarfError(f"{self.where}: an indirect form of form {inner:#x}")
                return self._value(cursor, inner, 0)
            case _:
                raise DwarfError(f"{self.where}: form {form:#x} is not known here")

    def _indexed(self, bases: dict[int, Any], kind: int, index: int) -> Any:
        """7.3.2 and 7.26 to 7.29: what is reached through the tables of strings, addresses, ranges and locations."""
        size = 8 if self.wide else 4
        match kind:
            case 0x1A:
                base = bases.get(STR_OFFSETS_BASE, 2 * size)
                data = self.sections.bytes(".debug_str_offsets", base + index * size, size)
                return self.sections.string(".debug_str", int.from_bytes(data, "little"))
            case 0x1B:
                base = bases.get(ADDR_BASE, 8)
                return int.from_bytes(self.sections.bytes(".debug_addr", base + index * 8, 8), "little")
            case _:
                section = ".debug_loclists" if kind == 0x22 else ".debug_rnglists"
                base = bases.get(LOCLISTS_BASE if kind == 0x22 else RNGLISTS_BASE, 20 if self.wide else 12)
                data = self.sections.bytes(section, base + index * size, size)
                return base + int.from_bytes(data, "little")

    def indexed_address(self, index: int) -> int:
        """7.27 "Address Table"."""
        return int(self._indexed(self.root.attributes, 0x1B, index))

    # --- places ---

    @property
    def base(self) -> int:
        """That ranges are relative to."""
        return self.root.whole(LOW_PC) or 0

    def ranges(self, entry: Entry) -> tuple[tuple[int, int], ...]:
        """Where its code is, as [low, high) (2.17 "Code Addresses, Ranges and Base Addresses")."""
        at = entry.whole(RANGES)
        if at is not None:
            section = ".debug_rnglists" if self.version >= 5 else ".debug_ranges"
            return tuple(self._listed(section, at))
        low, high = entry.whole(LOW_PC), entry.get(HIGH_PC)
        if low is None or not isinstance(high, int):
            return ()
        return ((low, high),) if low < high else ()

    def _listed(self, section: str, at: int) -> Iterator[tuple[int, int]]:
        for low, high, _ in self.list_of(section, at):
            if low < high:
                yield low, high

    def list_of(self, section: str, at: int) -> Iterator[tuple[int, int, bytes]]:
        """Entries of a list of ranges or of locations, as [low, high) and the expression that holds there."""
        with checked(f"{self.sections.name}: {section} at {at:#x}"):
            yield from self._list_of(section, at)

    def _list_of(self, section: str, at: int) -> Iterator[tuple[int, int, bytes]]:
        view = self.sections.view(section)
        if at >= len(view):
            raise DwarfError(f"{self.sections.name}: there is no list at {at:#x} of {section}")
        cursor = Cursor(bytes(view[at : at + (1 << 20)]))
        base, located = self.base, "loc" in section
        for _ in range(RANGES_LIMIT):
            data = b""
            if section in (".debug_ranges", ".debug_loc"):
                low, high = cursor.u64(), cursor.u64()
                if low == WORD:
                    base = high
                    continue
                if not low and not high:
                    return
                low, high = low + base, high + base
                if located:
                    data = cursor.take(cursor.u16())
                yield low & WORD, high & WORD, data
                continue
            kind = cursor.u8()
            # Lists of locations have one more kind, the default's, in the middle.
            if located and kind == 5:
                yield 0, WORD, cursor.take(cursor.uleb())
                continue
            kind -= located and kind > 5
            match kind:
                case 0:
                    return
                case 1:
                    base = self._indexed(self.root.attributes, 0x1B, cursor.uleb())
                    continue
                case 2:
                    low, high = (self._indexed(self.root.attributes, 0x1B, cursor.uleb()) for _ in range(2))
                case 3:
                    low = self._indexed(self.root.attributes, 0x1B, cursor.uleb())
                    high = low + cursor.uleb()
                case 4:
                    low, high = base + cursor.uleb(), base + cursor.uleb()
                case 5:
                    base = cursor.u64()
                    continue
                case 6:
                    low, high = cursor.u64(), cursor.u64()
                case 7:
                    low = cursor.u64()
                    high = low + cursor.uleb()
                case _:
                    raise DwarfError(f"{self.sections.name}: {section} at {at:#x} has an entry of kind {kind}")
            if located:
                data = cursor.take(cursor.uleb())
            yield low & WORD, high & WORD, data
        raise DwarfError(f"{self.sections.name}: {section} at {at:#x} has no end")

    # --- functions ---

    def functions(self) -> list[Function]:
        """All that have code, ascending, with what is inlined in them. One pass over the unit."""
        if self._functions is None:
            found = self._scan()
            found.sort(key=lambda each: each.start)
            self._functions, self._starts = found, [each.start for each in found]
        return self._functions

    def forget(self) -> None:
        """What takes memory; it can be read again."""
        self._functions, self._data, self._abbreviations = None, None, None

    def chain(self, address: int) -> list[Function]:
        """The function there, and in it, from the outermost, those inlined."""
        functions = self.functions()
        index = bisect_right(self._starts, address) - 1
        found = None
        for at in range(index, max(-1, index - 64), -1):  # parts of others may lie between
            if functions[at].holds(address):
                found = functions[at]
                break
        if found is None:
            return []
        chain = [found]
        while inner := next((each for each in chain[-1].inner if each.holds(address)), None):
            chain.append(inner)
        return chain

    def _scan(self) -> list[Function]:
        found: list[Function] = []
        root = self.root
        if not root.children:
            return found
        data, table = self.data, self.abbreviations
        plans: dict[int, _Plan] = {}
        cursor = Cursor(data, root.end - self.offset)
        owners: list[Function | None] = [None]
        seen, size = 0, len(data)
        with checked(f"{self.where}: its entries"):
            while cursor.at < size and owners:
                seen += 1
                if seen > ENTRIES_LIMIT or len(owners) > DEPTH_LIMIT:
                    raise DwarfError(f"{self.where}: its entries are too many or too deep")
                at = cursor.at
                code = cursor.uleb()
                if not code:
                    owners.pop()
                    continue
                abbreviation = table.get(code)
                if abbreviation is None:
                    raise DwarfError(f"{self.where}: abbreviation {code} is not there (at {self.offset + at:#x})")
                owner = owners[-1]
                if abbreviation.tag in (SUBPROGRAM, INLINED):
                    cursor.at = at
                    entry = self._entry(cursor)
                    assert entry is not None
                    ranges = self.ranges(entry)
                    if ranges:
                        inlined = abbreviation.tag == INLINED
                        call = (entry.whole(CALL_FILE) or 0, entry.whole(CALL_LINE) or 0) if inlined else None
                        function = Function(entry, ranges, call)
                        if not inlined:
                            found.append(function)
                        elif owner is not None:
                            owner.inner.append(function)
                        owner = function
                    elif abbreviation.tag == SUBPROGRAM:
                        owner = None
                    sibling = None if ranges else entry.whole(SIBLING)
                else:
                    if code not in plans:
                        plans[code] = _plan(abbreviation, self)
                    sibling = _skip(cursor, plans[code], self)
                    if abbreviation.tag not in _OPAQUE:
                        sibling = None
                if abbreviation.children:
                    if sibling is not None and self.offset + cursor.at <= sibling < self.end:
                        cursor.at = sibling - self.offset
                    else:
                        owners.append(owner)
        return found


_OPAQUE: Final = frozenset({0x13, 0x17, 0x04, 0x01, 0x15, 0x48, 0x4109})
"""Tags below which there are no functions with code, so that their sibling is next: types, and call sites."""


class _Indexed(NamedTuple):
    kind: int
    place: int


class Abbreviations:
    """The table at an offset of .debug_abbrev, read as far as is asked for. DwarfError where it is damaged."""

    def __init__(self, sections: Sections, at: int) -> None:
        self._where = f"{sections.name}: .debug_abbrev at {at:#x}"
        self._view = sections.view(".debug_abbrev")[at:]
        self._cursor = Cursor(bytes(self._view[:_TABLE]))
        self._found: dict[int, Abbreviation] = {}
        self._ended = False

    def get(self, code: int) -> Abbreviation | None:
        while code not in self._found and not self._ended:
            at = self._cursor.at
            with checked(self._where):
                try:
                    self._next()
                except IndexError:
                    if len(self._cursor.data) == len(self._view):
                        raise
                    self._cursor = Cursor(bytes(self._view), at)
        return self._found.get(code)

    def _next(self) -> None:
        cursor = self._cursor
        code = cursor.uleb()
        if not code:
            self._ended = True
            return
        tag, children = cursor.uleb(), bool(cursor.u8())
        attributes = []
        while True:
            attribute, form = cursor.uleb(), cursor.uleb()
            implicit = cursor.sleb() if form == _IMPLICIT_CONST else 0
            if not attribute and not form:
                break
            attributes.append((attribute, form, implicit))
        length = any(attribute == HIGH_PC and form not in _ADDRESSES for attribute, form, _ in attributes)
        self._found.setdefault(code, Abbreviation(tag, children, tuple(attributes), length))


_Plan = list[tuple[int, int]]


def _plan(abbreviation: Abbreviation, unit: Unit) -> _Plan:
    """How to pass over an entry: (0, so many bytes), (1, a form to read), (2, the form of its sibling)."""
    plan: _Plan = []
    for attribute, form, _ in abbreviation.attributes:
        size = FIXED.get(form)
        if form == 0x01:
            size = 8
        elif form in _OFFSETS or (form == 0x10 and unit.version > 2):
            size = 8 if unit.wide else 4
        elif form == 0x10:
            size = 8
        if attribute == SIBLING:
            plan.append((2, form))
        elif size is None:
            plan.append((1, form))
        elif plan and plan[-1][0] == 0:
            plan[-1] = (0, plan[-1][1] + size)
        else:
            plan.append((0, size))
    return plan


def _skip(cursor: Cursor, plan: _Plan, unit: Unit) -> int | None:
    """Returns the sibling, where the entry names one."""
    sibling = None
    for what, value in plan:
        if not what:
            cursor.at += value
        elif what == 1:
            if value == 0x08:
                cursor.at = cursor.data.index(b"\0", cursor.at) + 1
            elif value in (0x18, 0x09):
                cursor.take(cursor.uleb())
            else:
                unit._value(cursor, value, 0)
        else:
            found = unit._value(cursor, value, 0)
            sibling = found if isinstance(found, int) else None
    return sibling


def units(sections: Sections) -> Iterator[Unit]:
    """All units, by their headers alone. DwarfError where one is damaged; those before it were given."""
    view = sections.view(".debug_info")
    at = 0
    for _ in range(UNITS_LIMIT):
        if at >= len(view):
            return
        with checked(f"{sections.name}: .debug_info at {at:#x}"):
            header = Cursor(bytes(view[at : at + 64]))
            length, wide = header.initial_length()
            end = at + header.at + length
            if end > len(view):
                raise DwarfError(f"{sections.name}: .debug_info at {at:#x}: a unit of {length} bytes is too long")
            unit = Unit(sections, at, wide, end, header)
        if unit.kind in (1, 3, 4):
            yield unit
        at = end
    raise DwarfError(f"{sections.name}: it has more than {UNITS_LIMIT} units")
