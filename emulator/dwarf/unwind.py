"""Call frame information: how the caller's registers are recovered (6.4 "Call Frame Information").

.debug_frame and .eh_frame (Linux Standard Base, "Exception Frames") say the same in two forms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from emulator.dwarf.location import Machine, value_of
from emulator.dwarf.reader import Cursor, DwarfError, Sections, checked

ENTRIES_LIMIT: Final = 1 << 20
REMEMBERED: Final = 64
WORD: Final = (1 << 64) - 1
RA, SP = 1, 2
VOLATILE: Final = frozenset({1, 5, 6, 7, *range(10, 18), *range(28, 32)})
"""Registers that a function need not preserve ("RISC-V Calling Conventions", of the psABI)."""

Rule = tuple[str, int | bytes]
"""("offset", from the CFA), ("value", from the CFA), ("register", n), ("expression" or "value expression", bytes),
("undefined", 0)."""


class Common(NamedTuple):
    """6.4.1, "Common Information Entry"."""

    code: int
    data: int
    returns: int
    first: bytes
    encoding: int
    augmented: bool
    signal: bool


@dataclass
class Row:
    """Where an instruction's frame is: `cfa` is (register, offset) or an expression."""

    cfa: tuple[int, int] | bytes | None
    rules: dict[int, Rule]
    returns: int
    signal: bool


@dataclass(frozen=True)
class Caller:
    """The frame above: registers whose values are known there, `pc` and the CFA of the frame that was left."""

    registers: Mapping[int, int]
    pc: int
    cfa: int
    signal: bool


class Frames:
    """One section's table. DwarfError where it is damaged."""

    def __init__(self, sections: Sections, section: str) -> None:
        self._exception = section == ".eh_frame"
        self._where = f"{sections.name}: {section}"
        self._address = sections.address(section)
        self._data = sections.bytes(section)
        self._commons: dict[int, Common] = {}
        self.trouble = ""
        found: list[tuple[int, int, int, int, int]] = []
        try:
            with checked(self._where):
                self._index(found)
        except DwarfError as error:
            self.trouble = str(error)  # what stands before the damage is still good
        found.sort()
        self._entries = found
        self._starts = [each[0] for each in found]

    def __len__(self) -> int:
        return len(self._entries)

    def _index(self, found: list[tuple[int, int, int, int, int]]) -> None:
        cursor = Cursor(self._data)
        for _ in range(ENTRIES_LIMIT):
            if cursor.at >= len(self._data):
                return
            start = cursor.at
            length, wide = cursor.initial_length()
            if not length:
                if self._exception:
                    return
                continue
            at = cursor.at
            end = at + length
            if end > len(self._data):
                raise DwarfError(f"{self._where} at {start:#x}: an entry of {length} bytes is too long")
            link = cursor.offset(wide)
            common = link == 0 if self._exception else link == ((1 << 64) - 1 if wide else 0xFFFF_FFFF)
            if not common:
                owner = at - link if self._exception else link
                info = self._common(owner)
                if info is not None:
                    low = self._pointer(cursor, info.encoding)
                    size = self._pointer(cursor, info.encoding & 0x0F)
                    if info.augmented:
                        cursor.take(cursor.uleb())
                    if low and size and cursor.at <= end:
                        found.append((low, low + size, owner, cursor.at, end))
            cursor.at = end
        raise DwarfError(f"{self._where}: it has more than {ENTRIES_LIMIT} entries")

    def _pointer(self, cursor: Cursor, encoding: int) -> int:
        at = self._address + cursor.at
        match encoding & 0x0F:
            case 0x00 | 0x04 | 0x0C:
                value = cursor.u64()
            case 0x01:
                value = cursor.uleb()
            case 0x02:
                value = cursor.u16()
            case 0x03:
                value = cursor.u32()
            case 0x09:
                value = cursor.sleb()
            case 0x0A:
                value = int.from_bytes(cursor.take(2), "little", signed=True)
            case 0x0B:
                value = int.from_bytes(cursor.take(4), "little", signed=True)
            case _:
                raise DwarfError(f"{self._where}: a pointer's encoding {encoding:#x} is not known here")
        if encoding & 0x70 == 0x10:
            value += at
        elif encoding & 0xF0:
            raise DwarfError(f"{self._where}: a pointer's encoding {encoding:#x} is not known here")
        return value & WORD

    def _common(self, offset: int) -> Common | None:
        """None for one of a kind that is not read here."""
        if offset in self._commons:
            return self._commons[offset]
        cursor = Cursor(self._data, offset)
        length, wide = cursor.initial_length()
        end = cursor.at + length
        cursor.offset(wide)
        version, augmentation = cursor.u8(), cursor.string()
        if version >= 4 and (cursor.u8() != 8 or cursor.u8()):
            return None
        code, data = cursor.uleb(), cursor.sleb()
        returns = cursor.u8() if version == 1 else cursor.uleb()
        encoding, signal = 0, False
        if augmentation.startswith("z"):
            after = cursor.uleb()
            after += cursor.at
            for letter in augmentation[1:]:
                match letter:
                    case "R":
                        encoding = cursor.u8()
                    case "P":
                        self._pointer(cursor, cursor.u8() & 0x0F)
                    case "L":
                        cursor.u8()
                    case "S":
                        signal = True
                    case _:
                        break
            cursor.at = after
        elif augmentation:
            return None
        info = Common(code, data, returns, self._data[cursor.at : end], encoding, augmentation.startswith("z"), signal)
        self._commons[offset] = info
        return info

    def row(self, address: int) -> Row | None:
        """How to leave the frame at an instruction; None where nothing is said of it. DwarfError."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._entries[index][1]:
            return None
        low, _, owner, at, end = self._entries[index]
        with checked(f"{self._where} at {at:#x}"):
            info = self._common(owner)
            assert info is not None
            row = Row(None, {}, info.returns, info.signal)
            self._execute(info.first, row, info, low, WORD, {})
            initial = dict(row.rules)
            self._execute(self._data[at:end], row, info, low, address, initial)
        return row

    def _execute(
        self, data: bytes, row: Row, info: Common, location: int, until: int, initial: Mapping[int, Rule]
    ) -> None:
        """6.4.2 "Call Frame Instructions", as far as they are about addresses up to `until`."""
        cursor = Cursor(data)
        kept: list[tuple[tuple[int, int] | bytes | None, dict[int, Rule]]] = []

        def restore(register: int) -> None:
            if register in initial:
                row.rules[register] = initial[register]
            else:
                row.rules.pop(register, None)

        def frame() -> tuple[int, int]:
            if isinstance(row.cfa, bytes):
                raise DwarfError(f"{self._where}: a frame's register is changed that has none")
            return row.cfa or (SP, 0)  # compilers name the register alone where the offset is 0

        while cursor.at < len(data):
            op = cursor.u8()
            low = op & 0x3F
            match op >> 6:
                case 1:
                    location += low * info.code
                case 2:
                    row.rules[low] = ("offset", cursor.uleb() * info.data)
                    continue
                case 3:
                    restore(low)
                    continue
            if op >> 6 == 0:
                match op:
                    case 0x00:
                        continue
                    case 0x01:
                        location = self._pointer(cursor, info.encoding)
                    case 0x02:
                        location += cursor.u8() * info.code
                    case 0x03:
                        location += cursor.u16() * info.code
                    case 0x04:
                        location += cursor.u32() * info.code
                    case 0x05:
                        row.rules[cursor.uleb()] = ("offset", cursor.uleb() * info.data)
                    case 0x11:
                        row.rules[cursor.uleb()] = ("offset", cursor.sleb() * info.data)
                    case 0x14:
                        row.rules[cursor.uleb()] = ("value", cursor.uleb() * info.data)
                    case 0x15:
                        row.rules[cursor.uleb()] = ("value", cursor.sleb() * info.data)
                    case 0x06:
                        restore(cursor.uleb())
                    case 0x07:
                        row.rules[cursor.uleb()] = ("undefined", 0)
                    case 0x08:
                        row.rules.pop(cursor.uleb(), None)
                    case 0x09:
                        row.rules[cursor.uleb()] = ("register", cursor.uleb())
                    case 0x0A:
                        if len(kept) >= REMEMBERED:
                            raise DwarfError(f"{self._where}: too much is remembered")
                        kept.append((row.cfa, dict(row.rules)))
                    case 0x0B:
                        row.cfa, row.rules = kept.pop()
                    case 0x0C:
                        row.cfa = (cursor.uleb(), cursor.uleb())
                    case 0x12:
                        row.cfa = (cursor.uleb(), cursor.sleb() * info.data)
                    case 0x0D:
                        row.cfa = (cursor.uleb(), frame()[1])
                    case 0x0E:
                        row.cfa = (frame()[0], cursor.uleb())
                    case 0x13:
                        row.cfa = (frame()[0], cursor.sleb() * info.data)
                    case 0x0F:
                        row.cfa = cursor.take(cursor.uleb())
                    case 0x10:
                        row.rules[cursor.uleb()] = ("expression", cursor.take(cursor.uleb()))
                    case 0x16:
                        row.rules[cursor.uleb()] = ("value expression", cursor.take(cursor.uleb()))
                    case 0x2E:
                        cursor.uleb()
                    case _:
                        raise DwarfError(f"{self._where}: call frame instruction {op:#x} is not known here")
            if location > until:
                return


def leave(row: Row, registers: Mapping[int, int], read: Callable[[int, int], bytes]) -> Caller | None:
    """The caller's frame; None where this is the outermost: its return address is undefined. DwarfError, or what `read`
    raises, where it cannot be told."""

    def register(number: int) -> int:
        if number not in registers:
            raise DwarfError(f"the value of DWARF register {number} is not known in this frame")
        return registers[number]

    machine = Machine(register, read)
    if row.cfa is None:
        raise DwarfError("nothing says where the frame is")
    cfa = value_of(row.cfa, machine) if isinstance(row.cfa, bytes) else register(row.cfa[0]) + row.cfa[1] & WORD
    found = dict(registers)
    found[SP] = cfa
    for number, (kind, what) in row.rules.items():
        try:
            match kind, what:
                case "offset", int(by):
                    found[number] = int.from_bytes(read(cfa + by & WORD, 8), "little")
                case "value", int(by):
                    found[number] = cfa + by & WORD
                case "register", int(other):
                    found[number] = register(other)
                case "expression", bytes(data):
                    found[number] = int.from_bytes(read(value_of(data, machine, cfa), 8), "little")
                case "value expression", bytes(data):
                    found[number] = value_of(data, machine, cfa)
                case _:
                    found.pop(number, None)
        except DwarfError:
            found.pop(number, None)
    if row.returns not in found:
        return None
    pc = found[row.returns]
    if not row.signal:
        found.pop(RA, None)  # the call has left it at pc, and only what the caller's own frame says counts
        for number in VOLATILE - row.rules.keys():
            found.pop(number, None)
    return Caller(found, pc, cfa, row.signal)
