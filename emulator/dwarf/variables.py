"""Variables: which there are at an address, where they are, and their values by their types (2.6, 4.1, chapter 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from emulator.dwarf import location
from emulator.dwarf import units as dies
from emulator.dwarf.info import DebugInfo
from emulator.dwarf.location import Location, Machine
from emulator.dwarf.reader import DwarfError
from emulator.dwarf.units import Entry, Function, Unit

MOST_VARIABLES: Final = 512
MOST_MEMBERS, MOST_ELEMENTS, DEEPEST = 64, 16, 3
"""Of a value that are shown."""
MOST_SHOWN: Final = 512
"""Parts of one value."""
LARGEST: Final = 1 << 16
"""Bytes of a value that are read."""
LONGEST_TEXT: Final = 64
_QUALIFIERS: Final = frozenset({0x16, 0x26, 0x35, 0x37, 0x47})
"""Types that are another with a name or qualifier: typedef, const, volatile, restrict, atomic."""
_POINTERS: Final = frozenset({0x0F, 0x10, 0x42})
_ARRAY, _ENUMERATION, _STRUCTURE, _SUBROUTINE, _UNION, _BASE, _CLASS = 0x01, 0x04, 0x13, 0x15, 0x17, 0x24, 0x02
_MEMBER, _ENUMERATOR, _SUBRANGE = 0x0D, 0x28, 0x21
_DATA_BIT_OFFSET, _BIT_SIZE, _BIT_OFFSET = 0x6B, 0x0D, 0x0C
_BOOLEAN, _FLOAT, _SIGNED, _SIGNED_CHAR, _UNSIGNED_CHAR, _UTF = 0x02, 0x04, 0x05, 0x06, 0x08, 0x10


class Type(NamedTuple):
    """An entry that describes a type; None is void."""

    unit: Unit
    entry: Entry


@dataclass(frozen=True)
class Variable:
    """`parameter`: of the function; `function`: whose it is, where that is an inlined one, or ""."""

    name: str
    unit: Unit
    entry: Entry
    parameter: bool
    function: Function | None


@dataclass(frozen=True)
class Value:
    """What a variable, or a part of one, is: in memory at `address`, or `data` that was read. `bits`: (first, count) of
    a bit field in it."""

    type: Type | None
    address: int | None
    data: bytes | None
    bits: tuple[int, int] | None = None


class Variables:
    """Of one program whose addresses were moved by `bias`, in one frame: `machine` gives its registers and memory, `pc`
    is in the function. All raise DwarfError, or what reading memory raises."""

    def __init__(self, info: DebugInfo, bias: int, pc: int, machine: Machine) -> None:
        self._info, self._bias, self._pc, self._machine = info, bias, pc - bias, machine
        self._shown = 0

    # --- which ---

    def visible(self) -> Iterator[Variable]:
        """Those of the function at pc and of its blocks there, the innermost first; of inlined ones before those of the
        function that they are in."""
        count = 0
        for unit, function in reversed(self._info.functions(self._pc)):
            for variable in self._below(unit, function.entry, function, 0):
                yield variable
                count += 1
                if count >= MOST_VARIABLES:
                    return

    def _below(self, unit: Unit, parent: Entry, function: Function, depth: int) -> Iterator[Variable]:
        later = []
        for entry in unit.children(parent):
            if entry.tag in (dies.PARAMETER, dies.VARIABLE):
                if name := self._info.name_of(unit, entry):
                    later.append(Variable(name, unit, entry, entry.tag == dies.PARAMETER, function))
            elif entry.tag == dies.BLOCK and depth < 32:
                ranges = unit.ranges(entry)
                if any(low <= self._pc < high for low, high in ranges):
                    yield from self._below(unit, entry, function, depth + 1)
        yield from later

    def named(self, name: str) -> Variable | None:
        """The one that a name means at pc: a local one, else one of the same unit."""
        for variable in self.visible():
            if variable.name == name:
                return variable
        for unit, _ in self._info.functions(self._pc)[:1]:
            for entry in unit.children(unit.root):
                placed = entry.tag == dies.VARIABLE and dies.LOCATION in entry.attributes
                if placed and self._info.name_of(unit, entry) == name:
                    return Variable(name, unit, entry, False, None)
        return None

    # --- where ---

    def value(self, variable: Variable) -> Value:
        """Where it is now. DwarfError says why that is not known, as for what was optimized out."""
        unit, entry = variable.unit, variable.entry
        kind = self.type_of(unit, entry)
        constant = entry.get(dies.CONST_VALUE)
        if isinstance(constant, int):
            return Value(kind, None, (constant & (1 << 64) - 1).to_bytes(8, "little"))
        if isinstance(constant, bytes):
            return Value(kind, None, constant)
        where = self._info.attribute(unit, entry, dies.LOCATION)[1]
        if isinstance(where, int):
            section = ".debug_loclists" if unit.version >= 5 else ".debug_loc"
            where = next((data for low, high, data in unit.list_of(section, where) if low <= self._pc < high), None)
        if not isinstance(where, bytes):
            raise DwarfError("it is optimized out here")
        machine = replace(self._machine, frame_base=lambda: self._frame_base(variable))
        return self._placed(kind, location.evaluate(where, machine, address=unit.indexed_address), where)

    def _placed(self, kind: Type | None, found: Location, where: bytes) -> Value:
        match found.kind:
            case "memory":
                # Addresses that the file says are moved as it was; those of registers are not.
                moved = self._bias if where[:1] in (b"\x03", b"\xa1", b"\xfb") else 0
                return Value(kind, found.number + moved & (1 << 64) - 1, None)
            case "register":
                return Value(kind, None, self._machine.register(found.number).to_bytes(8, "little"))
            case "value":
                return Value(kind, None, found.number.to_bytes(8, "little"))
        return Value(kind, None, found.data)

    def _frame_base(self, variable: Variable) -> int:
        """Of the function that it is in; an inlined one has that of the one around it."""
        for unit, function in self._info.functions(self._pc):
            where = function.entry.get(dies.FRAME_BASE)
            if isinstance(where, bytes):
                return location.value_of(where, self._machine)
            if isinstance(where, int):
                section = ".debug_loclists" if unit.version >= 5 else ".debug_loc"
                for low, high, data in unit.list_of(section, where):
                    if low <= self._pc < high:
                        return location.value_of(data, self._machine)
        raise DwarfError("its function has no frame base")

    # --- types ---

    def type_of(self, unit: Unit, entry: Entry) -> Type | None:
        owner, at = self._info.attribute(unit, entry, dies.TYPE)
        if not isinstance(at, int):
            return None
        unit = owner if owner.offset <= at < owner.end else self._info.unit_at(at)
        return Type(unit, unit.entry(at))

    def plain(self, kind: Type | None) -> Type | None:
        """Without names and qualifiers."""
        for _ in range(32):
            if kind is None or kind.entry.tag not in _QUALIFIERS:
                return kind
            kind = self.type_of(*kind)
        raise DwarfError("its type leads back to itself")

    def name(self, kind: Type | None, depth: int = 0) -> str:
        """As C writes it, about."""
        if kind is None:
            return "void"
        if depth > 16:
            return "..."
        entry = kind.entry
        name = self._info.name_of(*kind)
        if entry.tag in _POINTERS:
            inner = self.type_of(*kind)
            star = "*" if entry.tag == 0x0F else "&"
            if inner is not None and inner.entry.tag == _SUBROUTINE:
                return f"{self.name(self.type_of(*inner), depth + 1)} (*)()"
            text = self.name(inner, depth + 1)
            return f"{text}{star}" if text.endswith("*") else f"{text} {star}"
        if entry.tag == _ARRAY:
            sizes = "".join(f"[{count if count is not None else ''}]" for count in self._counts(kind))
            return f"{self.name(self.type_of(*kind), depth + 1)}{sizes}"
        if entry.tag in (0x26, 0x35):
            return f"{'const' if entry.tag == 0x26 else 'volatile'} {self.name(self.type_of(*kind), depth + 1)}"
        word = {_STRUCTURE: "struct ", _UNION: "union ", _ENUMERATION: "enum ", _CLASS: "class "}.get(entry.tag, "")
        if name or word:
            return word + (name or "{...}")
        return self.name(self.type_of(*kind), depth + 1) if dies.TYPE in entry.attributes else "?"

    def size(self, kind: Type | None, depth: int = 0) -> int:
        """Bytes. DwarfError where it is not said."""
        kind = self.plain(kind)
        if kind is None or depth > 8:
            raise DwarfError("its type has no size")
        size = kind.entry.whole(dies.BYTE_SIZE)
        if size is not None:
            return size
        if kind.entry.tag in _POINTERS:
            return 8
        if kind.entry.tag == _ARRAY:
            total = self.size(self.type_of(*kind), depth + 1)
            for count in self._counts(kind):
                total *= count or 0
            return total
        raise DwarfError("its type has no size")

    def _counts(self, kind: Type) -> list[int | None]:
        found: list[int | None] = []
        for entry in kind.unit.children(kind.entry):
            if entry.tag == _SUBRANGE:
                count, bound = entry.whole(dies.COUNT), entry.whole(dies.UPPER_BOUND)
                found.append(count if count is not None else None if bound is None else bound + 1 & 0xFFFF_FFFF)
        return found[:8] or [None]

    # --- parts ---

    def bytes_of(self, value: Value) -> bytes:
        size = self.size(value.type)
        if size > LARGEST:
            raise DwarfError(f"its {size} bytes are too many")
        if value.data is not None:
            return value.data[:size].ljust(size, b"\0")
        assert value.address is not None
        return self._machine.read(value.address, size)

    def members(self, kind: Type) -> Iterator[tuple[str, Value, int]]:
        """(name, as a part of bytes that begin at 0, offset in bytes)."""
        for entry in kind.unit.children(kind.entry):
            if entry.tag != _MEMBER:
                continue
            at = entry.get(dies.MEMBER_AT)
            if isinstance(at, bytes):
                at = location.evaluate(at, self._machine, 0).number
            offset = at if isinstance(at, int) else 0
            part = self.type_of(kind.unit, entry)
            bits = None
            if (count := entry.whole(_BIT_SIZE)) is not None:
                first = entry.whole(_DATA_BIT_OFFSET)
                if first is None:  # before version 4: counted from the most significant end of a unit
                    width = 8 * (entry.whole(dies.BYTE_SIZE) or self.size(part))
                    first = 8 * offset + width - (entry.whole(_BIT_OFFSET) or 0) - count
                offset, bits = first // 8, (first % 8, count)
            yield self._info.name_of(kind.unit, entry), Value(part, offset, None, bits), offset

    def member(self, value: Value, name: str) -> Value:
        """The part of that name of a structure, also in unnamed ones in it; of what a pointer points to."""
        value = self.through(value)
        found = self._find(value, name, 0)
        if found is None:
            raise DwarfError(f"{self.name(value.type)} has no member {name}")
        return found

    def _find(self, value: Value, name: str, depth: int) -> Value | None:
        kind = self.plain(value.type)
        if kind is None or kind.entry.tag not in (_STRUCTURE, _UNION, _CLASS):
            raise DwarfError(f"{self.name(value.type)} has no members")
        for label, part, offset in self.members(kind):
            if label == name or (not label and depth < 4):
                if value.address is not None:
                    placed = replace(part, address=value.address + offset)
                else:
                    placed = replace(part, address=None, data=self.bytes_of(value)[offset:])
                if label == name:
                    return placed
                found = self._find(placed, name, depth + 1)
                if found is not None:
                    return found
        return None

    def through(self, value: Value) -> Value:
        """What a pointer points to; anything else as it is."""
        kind = self.plain(value.type)
        if kind is None or kind.entry.tag not in _POINTERS:
            return value
        return Value(self.type_of(*kind), self.number(value), None)

    def element(self, value: Value, index: int) -> Value:
        """Of an array, or of where a pointer points."""
        kind = self.plain(value.type)
        if kind is not None and kind.entry.tag == _ARRAY:
            counts = self._counts(kind)
            if len(counts) > 1:
                raise DwarfError("arrays of several dimensions are shown whole only")
            if counts[0] is not None and not 0 <= index < counts[0]:
                raise DwarfError(f"there is no element {index}: it has {counts[0]}")
            inner = self.type_of(*kind)
            at = index * self.size(inner)
            if value.address is None:
                return Value(inner, None, self.bytes_of(value)[at:])
            return Value(inner, value.address + at, None)
        if kind is not None and kind.entry.tag in _POINTERS:
            inner = self.type_of(*kind)
            return Value(inner, self.number(value) + index * self.size(inner) & (1 << 64) - 1, None)
        raise DwarfError(f"{self.name(value.type)} has no elements")

    def number(self, value: Value) -> int:
        """Of a scalar, a pointer, or a bit field, by the sign of its type."""
        kind = self.plain(value.type)
        if kind is None or kind.entry.tag in (_STRUCTURE, _UNION, _CLASS, _ARRAY):
            raise DwarfError(f"{self.name(value.type)} is no number")
        encoding = kind.entry.whole(dies.ENCODING)
        if kind.entry.tag == _ENUMERATION and (inner := self.plain(self.type_of(*kind))) is not None:
            encoding = inner.entry.whole(dies.ENCODING)
        signed = encoding in (_SIGNED, _SIGNED_CHAR)
        if value.bits is None:
            return int.from_bytes(self.bytes_of(value), "little", signed=signed)
        first, count = value.bits
        size = (first + count + 7) // 8
        data = self._machine.read(value.address, size) if value.address is not None else (value.data or b"")[:size]
        number = int.from_bytes(data, "little") >> first & (1 << count) - 1
        return number - (1 << count) if signed and number >> count - 1 else number

    # --- to words ---

    def show(self, value: Value, depth: int = 0) -> str:
        """As GDB writes it, in one line."""
        kind = self.plain(value.type)
        if not depth:
            self._shown = 0
        self._shown += 1
        if self._shown > MOST_SHOWN:
            return "..."
        if kind is None:
            return "void"
        entry = kind.entry
        if entry.tag in (_STRUCTURE, _UNION, _CLASS):
            return self._show_members(value, kind, depth)
        if entry.tag == _ARRAY:
            return self._show_elements(value, kind, depth)
        if entry.tag in _POINTERS:
            return f"{self.number(value):#x}"
        if entry.tag == _ENUMERATION:
            number = self.number(value)
            for each in kind.unit.children(entry):
                constant = each.whole(dies.CONST_VALUE) if each.tag == _ENUMERATOR else None
                mask = (1 << 8 * self.size(kind)) - 1
                if constant is not None and constant & mask == number & mask:
                    return self._info.name_of(kind.unit, each)
            return str(number)
        encoding = entry.whole(dies.ENCODING)
        if encoding == _FLOAT and value.bits is None:
            data = self.bytes_of(value)
            form = {2: "<e", 4: "<f", 8: "<d"}.get(len(data))
            return repr(struct.unpack(form, data)[0]) if form else data.hex()
        number = self.number(value)
        if encoding == _BOOLEAN and number in (0, 1):
            return ("false", "true")[number]
        if encoding in (_SIGNED_CHAR, _UNSIGNED_CHAR, _UTF) and 32 <= number < 127:
            return f"{number} '{chr(number)}'"
        return str(number)

    def _show_members(self, value: Value, kind: Type, depth: int) -> str:
        if depth >= DEEPEST:
            return "{...}"
        texts: list[str] = []
        for name, part, offset in self.members(kind):
            if len(texts) >= MOST_MEMBERS:
                texts.append("...")
                break
            if value.address is not None:
                placed = replace(part, address=value.address + offset)
            else:
                placed = replace(part, address=None, data=self.bytes_of(value)[offset:])
            text = self.show(placed, depth + 1)
            texts.append(f"{name} = {text}" if name else text)
        return f"{{{', '.join(texts)}}}" if texts else "{...}"

    def _show_elements(self, value: Value, kind: Type, depth: int) -> str:
        counts, inner = self._counts(kind), self.type_of(*kind)
        plain = self.plain(inner)
        if len(counts) > 1 or depth >= DEEPEST:
            return "{...}"
        count = counts[0] or 0
        if plain is not None and plain.entry.whole(dies.ENCODING) in (_SIGNED_CHAR, _UNSIGNED_CHAR):
            short = min(count, LONGEST_TEXT)
            data = self._machine.read(value.address, short) if value.address is not None else self.bytes_of(value)
            text = data[:short].partition(b"\0")[0]
            if all(32 <= byte < 127 for byte in text):
                return f'"{text.decode()}"' + ("..." if len(text) == short < count else "")
        texts = [self.show(self.element(value, index), depth + 1) for index in range(min(count, MOST_ELEMENTS))]
        return f"{{{', '.join(texts)}{', ...' if count > MOST_ELEMENTS else ''}}}"
