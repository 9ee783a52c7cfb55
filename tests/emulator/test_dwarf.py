"""Debugging information: what files say is found, in every version of the format, and what is damaged does no harm."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator import guests, loader
from emulator.dwarf import DebugInfo, DwarfError, LocationError, Piece, Sources, Variables, location
from emulator.dwarf.reader import Cursor, Sections
from emulator.dwarf.unwind import leave
from emulator.errors import LoadError
from emulator.loader import Symbols

HERE = Path(__file__).parent / "dwarf"
NAMES = ("v2-O0", "v3-O2", "v4-O2", "v5-O0", "v5-O2", "v5-zlib", "v4-zlib-gnu", "noframes")
FILES = {name: HERE / f"{name}.elf" for name in NAMES} | {name: guests.path(name) for name in guests.NAMES}
SOURCE = (HERE / "lines.c").read_text().split("\n")


def line_of(text: str) -> int:
    """The number of the only line of lines.c that holds a text."""
    (found,) = [number for number, line in enumerate(SOURCE, 1) if text in line]
    return found


def symbols_of(name: str) -> Symbols:
    return loader.read_elf(FILES[name]).symbols


def opened(name: str) -> ELFFile:
    return ELFFile(io.BytesIO(FILES[name].read_bytes()))


def rows_of(name: str) -> Iterator[tuple[int, str, int, bool, bool]]:
    """(address, file, line, begins a statement, ends a sequence) of all rows, as pyelftools decodes them."""
    dwarf = opened(name).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        first = int(program["version"] < 5)
        for entry in program.get_entries():
            if (state := entry.state) is not None:
                file = program["file_entry"][state.file - first].name.decode() if not state.end_sequence else ""
                yield state.address, file.rpartition("/")[2], state.line, state.is_stmt, state.end_sequence


# --- lines ---


@pytest.mark.parametrize("name", FILES)
def test_lines_are_those_that_pyelftools_decodes(name: str) -> None:
    symbols = symbols_of(name)
    expected: dict[int, tuple[str, int]] = {}
    rows = list(rows_of(name))
    for (address, file, line, statement, ended), (after, *_) in pairwise(rows):
        if not ended and after > address:
            same = [row for row in rows if row[0] == address and not row[4]]
            best = next((row for row in reversed(same) if row[3]), same[-1]) if not statement else (0, file, line)
            expected[address] = (best[1], best[2])
    assert len(expected) > 20
    for address, (file, number) in expected.items():
        found = symbols.line(address)
        got = None if found is None else (found.file.rpartition("/")[2], found.line)
        assert got == ((file, number) if number else None), hex(address)
        if found is not None:
            assert found.start <= address < found.end
    assert not symbols.sources.troubles


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_found_by_its_file_and_number(name: str) -> None:
    symbols = symbols_of(name)
    number = line_of("counter = x;")
    addresses = symbols.locate(f"lines.c:{number}")
    start = symbols.find("other")
    assert start is not None and len(addresses) == 1 and start <= addresses[0] < start + 64
    line = symbols.line(addresses[0])
    assert line is not None and (line.line, line.file) == (number, "/source/lines.c")
    assert line.name == f"lines.c:{number}"
    assert symbols.find(f"lines.c:{number}") == symbols.find(f"/source/lines.c:{number}") == addresses[0]
    assert symbols.find(f"other:{number}") == addresses[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_is_inlined_twice_begins_at_two_places(name: str) -> None:
    symbols = symbols_of(name)
    found = symbols.locate("lines.h:5")
    functions = [[scope.name for scope in symbols.sources.chain(address)] for address in found]
    assert sorted(names[0] for names in functions) == ["leaf", "other"]
    if name.endswith("O0"):  # else no instruction may be left there that is of the inlined function alone
        assert sorted(functions) == [["leaf", "twice"], ["other", "twice"]]
    assert [symbols.locate(f"lines.h:5@{number}") for number in (1, 2)] == [[each] for each in found]
    (scope,) = [each for each in symbols.sources.chain(found[0]) if each.inlined]
    assert scope.call == f"lines.c:{line_of('return twice(counter)')}"
    with pytest.raises(LocationError, match="begins at 2 places"):
        symbols.locate("lines.h:5@3")


def test_a_line_without_code_is_the_next_one_that_has_some() -> None:
    symbols = symbols_of("v5-O0")
    comment, code = line_of("__attribute__((noinline)) long factorial"), line_of("if (n < 2)")
    first = [symbols.find("factorial")]
    assert symbols.locate(f"lines.c:{comment + 1}") == symbols.locate(f"lines.c:{comment}") == first
    assert symbols.locate(f"lines.c:{code}") != [symbols.find("factorial")]


@pytest.mark.parametrize("text, why", [
    ("nowhere.c:3", "no source file is called 'nowhere.c'"), ("lines.c:4000", "no code at or behind line 4000"),
    ("lines.c:", "write FILE:LINE"), (":3", "write FILE:LINE"), ("plain:3", "plain has no line numbers"),
    ("lines.c:99999999999999999999", "write FILE:LINE"), ("x/lines.c:3", "no source file"),
])  # fmt: skip
def test_what_is_no_line_is_said(text: str, why: str) -> None:
    with pytest.raises(LocationError, match=why):
        symbols_of("v5-O2").locate(text)


def test_without_debugging_information_lines_are_not_known() -> None:
    symbols = Symbols([loader.Symbol(0x1000, 16, "main", True)])
    assert symbols.line(0x1000) is None and not symbols.sources
    with pytest.raises(LocationError, match="debugging information"):
        symbols.locate("main.c:3")


def test_code_without_lines_has_none() -> None:
    symbols = symbols_of("v5-O2")
    for name in ("_start", "plain"):
        at = symbols.find(name)
        assert at is not None and symbols.line(at) is None and not symbols.sources.chain(at)
    assert symbols.line(0) is None and symbols.line((1 << 64) - 1) is None


def test_a_file_that_several_are_called_must_be_named_further() -> None:
    one, two = symbols_of("hello"), symbols_of("v5-O2")
    both = one | two
    assert both.find(f"lines.c:{line_of('counter = x;')}") == two.find(f"lines.c:{line_of('counter = x;')}")
    tiny = symbols_of("tiny-hypervisor") | one
    with pytest.raises(LocationError, match=r"start\.S may be common/start\.S, tiny_hypervisor/start\.S"):
        tiny.locate("start.S:30")
    assert tiny.locate("tiny_hypervisor/start.S:8") == [0x8000_0000]


def test_a_program_that_was_moved_takes_its_lines_along() -> None:
    symbols, by = symbols_of("v5-O2"), 0x1234_0000
    moved = symbols.moved(by)
    for name in ("main", "leaf"):
        at = symbols.find(name)
        assert at is not None and moved.find(name) == at + by
        before, after = symbols.line(at), moved.line(at + by)
        assert before is not None and after is not None
        assert (after.line, after.start) == (before.line, before.start + by)
        assert [scope.name for scope in moved.sources.chain(at + by)] == [name]
        assert moved.sources.row(at + by) is not None and moved.line(at) is None
    place = f"lines.c:{line_of('counter = x;')}"
    assert moved.locate(place) == [each + by for each in symbols.locate(place)]


# --- functions ---


@pytest.mark.parametrize("name", FILES)
def test_functions_are_those_that_pyelftools_finds(name: str) -> None:
    symbols = symbols_of(name)
    count = 0
    for unit in opened(name).get_dwarf_info().iter_CUs():
        for entry in unit.iter_DIEs():
            if entry.tag != "DW_TAG_subprogram" or "DW_AT_low_pc" not in entry.attributes:
                continue
            named = entry
            for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
                if "DW_AT_name" not in named.attributes and attribute in named.attributes:
                    named = named.get_DIE_from_attribute(attribute)
            at = entry.attributes["DW_AT_low_pc"].value
            chain = symbols.sources.chain(at)
            assert chain and chain[0].name == named.attributes["DW_AT_name"].value.decode() and chain[0].start == at
            count += 1
    assert count >= 4


# --- frames ---


@pytest.mark.parametrize("name", [name for name in FILES if name != "noframes"])
def test_frames_are_those_that_pyelftools_decodes(name: str) -> None:
    symbols, count = symbols_of(name), 0
    for entry in opened(name).get_dwarf_info().CFI_entries():
        if not isinstance(entry, FDE):
            continue
        table = entry.get_decoded().table
        for row, after in zip(table, [*table[1:], None], strict=True):
            end = after["pc"] if after is not None else entry.header["initial_location"] + entry.header["address_range"]
            for address in {row["pc"], end - 2} if end > row["pc"] else ():
                got = symbols.sources.row(address)
                assert got is not None and isinstance(got.cfa, tuple)
                assert got.cfa == (row["cfa"].reg, row["cfa"].offset or 0), hex(address)
                saved = {n: rule.arg for n, rule in row.items() if isinstance(n, int) and rule.type == "OFFSET"}
                assert {n: rule[1] for n, rule in got.rules.items() if rule[0] == "offset"} == saved
                count += 1
    assert count > 10


def test_the_caller_is_found_through_its_frame() -> None:
    symbols = symbols_of("v5-O0")
    start = symbols.find("middle")
    assert start is not None
    body = symbols.sources.prologue_end(start, start + 64)
    assert body is not None
    row = symbols.sources.row(body)
    assert row is not None and row.cfa == (8, 0)  # the frame pointer
    stack = {0x7FF8: 0x8000_1234, 0x7FF0: 0xAAAA}  # ra and s0, where the function stores them at -O0

    def read(address: int, size: int) -> bytes:
        return stack.get(address, 0).to_bytes(size, "little")

    caller = leave(row, {2: 0x7F00, 8: 0x8000, 10: 1}, read)
    assert caller is not None and (caller.pc, caller.cfa) == (0x8000_1234, 0x8000)
    assert caller.registers[2] == 0x8000 and caller.registers[8] == 0xAAAA
    assert 10 not in caller.registers and 1 not in caller.registers, "what a callee need not keep is not known"


@pytest.mark.parametrize("expression, value", [
    ("31 32 22", 3), ("08 05 09 fd 1c", 8), ("10 e58e26", 624485), ("11 9bf159 1f", 624485), ("35 33 1b", 1),
    ("35 1f 33 1b", -1), ("35 33 1d", 2), ("31 2f 0100 38 34 22", 5), ("70 08 23 10", 0x1018), ("92 02 78", 0x1FF8),
    ("0c 00300000 06", 0x3000 ^ 0xFF), ("0c 00300000 94 01", 0xFF), ("31 32 33 17 1c 22", 3 + (1 - 2)), ("35 24 1a", 0),
])  # fmt: skip
def test_expressions(expression: str, value: int) -> None:
    """2.5.1, by hand: literals, constants, arithmetic, registers, memory, jumps."""
    registers = {0: 0x1000, 2: 0x2000}
    machine = location.Machine(
        registers.__getitem__, lambda address, size: (address ^ 0xFF).to_bytes(8, "little")[:size]
    )
    data = bytes.fromhex(expression)
    if expression == "35 24 1a":  # two operands, and one on the stack
        with pytest.raises(DwarfError):
            location.value_of(data, machine)
        return
    assert location.value_of(data, machine) == value % (1 << 64)


def test_an_expression_ends() -> None:
    machine = location.Machine(lambda number: 0, lambda address, size: bytes(size))
    with pytest.raises(DwarfError, match="does not end"):
        location.value_of(bytes.fromhex("2f fdff"), machine)  # jumps to itself
    with pytest.raises(DwarfError):
        location.value_of(bytes.fromhex("30 12 2f fcff"), machine)  # piles up
    with pytest.raises(DwarfError, match="divides by zero"):
        location.value_of(bytes.fromhex("31 30 1b"), machine)


# --- numbers ---


@given(st.integers(0, (1 << 64) - 1))
def test_unsigned_numbers(value: int) -> None:
    data, rest = bytearray(), value
    while True:
        data.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
        rest >>= 7
        if not rest:
            break
    cursor = Cursor(bytes(data) + b"\x05")
    assert cursor.uleb() == value and cursor.u8() == 5


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_signed_numbers(value: int) -> None:
    data, rest = bytearray(), value
    while True:
        byte, rest = rest & 0x7F, rest >> 7
        if (rest == 0 and not byte & 0x40) or (rest == -1 and byte & 0x40):
            data.append(byte)
            break
        data.append(byte | 0x80)
    assert Cursor(bytes(data)).sleb() == value


# --- what is wrong ---


MACHINE = location.Machine(lambda number: 0x1000, lambda address, size: bytes(size), lambda: 0x1000)


def shown_all(every: Variables) -> None:
    try:
        for variable in every.visible():
            try:
                text = every.show(every.value(variable))
                assert "\n" not in text and len(text) < 100_000
                every.name(every.type_of(variable.unit, variable.entry))
            except DwarfError as error:
                assert "\n" not in str(error)
    except DwarfError as error:
        assert "\n" not in str(error)


def asked(symbols: Symbols, addresses: list[int]) -> None:
    """Everything that can be asked. Nothing may be raised but what says what is wrong."""
    for address in addresses:
        symbols.line(address)
        symbols.sources.chain(address)
        row = symbols.sources.row(address)
        if row is not None:
            try:
                leave(row, dict.fromkeys(range(32), 0x1000), lambda address, size: bytes(size))
            except DwarfError as error:
                assert "\n" not in str(error)
        symbols.sources.statements(address, address + 64)
        for info, bias in symbols.sources.parts:
            shown_all(Variables(info, bias, address, MACHINE))
        symbols.sources.prologue_end(address, address + 64)
    for name in ("lines.c:30", "lines.h:5", "main:50", "hello.c:30"):
        try:
            symbols.locate(name)
        except LocationError as error:
            assert "\n" not in str(error) and str(error).isprintable()
    symbols.sources.files()
    for trouble in symbols.sources.troubles:
        assert "\n" not in trouble and trouble.isprintable()


@pytest.mark.parametrize("name", ["v2-O0", "v4-O2", "v5-O2", "v5-zlib", "hello"])
def test_damaged_files_do_no_harm(name: str) -> None:
    """Bytes of the debugging sections are changed, by chance that is the same each time."""
    whole = FILES[name].read_bytes()
    places = [
        (section["sh_offset"], section["sh_size"])
        for section in opened(name).iter_sections()
        if section.name.startswith((".debug", ".zdebug"))
    ]
    spots = [0x8000_0000 + at for at in range(0, 0x600, 46)]
    chance = random.Random(name)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 20))):
            offset, size = chance.choice(places)
            at = offset + chance.randrange(size)
            data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            symbols = loader.parse_elf(bytes(data), name).symbols
        except LoadError:
            continue
        asked(symbols, spots)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.binary(min_size=0, max_size=120), min_size=5, max_size=5))
def test_any_bytes_do_no_harm(parts: list[bytes]) -> None:
    names = (".debug_info", ".debug_abbrev", ".debug_line", ".debug_frame", ".debug_aranges")
    info = DebugInfo("x", {n: Piece(memoryview(p), False, 0) for n, p in zip(names, parts, strict=True)}, ())
    asked(Symbols([loader.Symbol(0, 8, "main", True)], (), Sources([(info, 0)])), [0, 8, 1 << 40])


def program(*opcodes: bytes, version: int = 4, line_range: int = 14) -> bytes:
    """A line table of one file, a.c."""
    body = b"".join(opcodes)
    head = struct.pack("<BBBbBB", 1, 1, 1, -5, line_range, 13) + bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
    head += b"\0a.c\0\0\0\0\0"
    whole = struct.pack("<HI", version, len(head)) + head + body
    return struct.pack("<I", len(whole)) + whole


ABBREVIATIONS = bytes.fromhex("01 11 00 10 17 11 01 12 07 03 08 00 00 00")
"""A unit with its line table, low_pc, high_pc and name."""


def unit(line: int, low: int, size: int, abbreviations: bytes = ABBREVIATIONS) -> dict[str, bytes]:
    body = struct.pack("<HIBBIQQ", 4, 0, 8, 1, line, low, size) + b"a.c\0"
    return {".debug_info": struct.pack("<I", len(body)) + body, ".debug_abbrev": abbreviations}


def made(**sections: bytes) -> DebugInfo:
    pieces = {f".{name}": Piece(memoryview(data), False, 0) for name, data in sections.items()}
    return DebugInfo("made", pieces, ())


def sections_of(parts: dict[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix("."): data for name, data in parts.items()}


SET = b"\0\x09\x02" + (0x1000).to_bytes(8, "little")
END = b"\0\x01\x01"


def test_a_table_made_by_hand() -> None:
    """Line 10 at 0x1000, 11 at 0x1004 (no statement begins), 12 at 0x1008; the end at 0x1010."""
    lines = program(SET, b"\x03\x09\x01", b"\x02\x04\x03\x01\x06\x01\x06", b"\x02\x04\x03\x01\x01", b"\x02\x08", END)
    info = made(debug_line=lines, **sections_of(unit(0, 0x1000, 0x10)))
    got = [(line.line, line.start, line.end) for at in (0x1000, 0x1005, 0x1008, 0x100F) if (line := info.line(at))]
    assert got == [(10, 0x1000, 0x1004), (11, 0x1004, 0x1008), (12, 0x1008, 0x1010), (12, 0x1008, 0x1010)]
    assert info.line(0x1010) is None and info.line(0xFFF) is None
    assert [place.line for place in Sources([(info, 0)]).places("a.c", 11)] == [12], "no statement begins in line 11"


def test_giant_tables_are_refused_in_time() -> None:
    lines = program(SET, b"\x01" * (2 << 20), END)
    info = made(debug_line=lines, **sections_of(unit(0, 0x1000, 0x10)))
    assert info.line(0x1000) is None and "more than 1048576 rows" in info.troubles[0]


@pytest.mark.parametrize("lines, why", [
    (program(SET, line_range=0), "line range is 0"), (program(SET, version=9), "version 9"),
    (program(b"\0\x00"), "extended opcode of 0"), (b"\xff\xff\xff\xff", "damaged"), (program(SET)[:20], "beyond"),
])  # fmt: skip
def test_a_bad_line_table_is_told(lines: bytes, why: str) -> None:
    info = made(debug_line=lines, **sections_of(unit(0, 0x1000, 0x10)))
    assert info.line(0x1000) is None and why in info.troubles[0]


def test_entries_that_lead_back_end() -> None:
    """A sibling that is before its entry, and a unit whose entries never end."""
    abbreviations = bytes.fromhex("01 11 01 10 17 11 01 12 07 03 08 00 00  02 13 01 01 13 00 00  00")
    body = struct.pack("<HIBBIQQ", 4, 0, 8, 1, 0, 0x1000, 0x10) + b"a.c\0" + (b"\2" + struct.pack("<I", 11)) * 3000
    info = made(debug_info=struct.pack("<I", len(body)) + body, debug_abbrev=abbreviations)
    assert info.chain(0x1000) == [] and "too deep" in info.troubles[0]


def test_what_unfolds_to_too_much_is_refused() -> None:
    head = struct.pack("<IIQQ", 1, 0, 1 << 40, 1)
    sections = Sections("made", {".debug_line": Piece(memoryview(head + b"x"), True, 0)})
    with pytest.raises(DwarfError, match="unfold to more than"):
        sections.view(".debug_line")
    sections = Sections("made", {".debug_line": Piece(memoryview(struct.pack("<IIQQ", 7, 0, 9, 1)), True, 0)})
    with pytest.raises(DwarfError, match="type 7"):
        sections.view(".debug_line")


def _unit_name(symbols: Symbols, address: int) -> str:
    """The main source of the unit that an address is in."""
    (info, _), *_ = symbols.sources.parts
    return str(info.functions(address)[0][0].root.attributes[3])


def test_a_header_that_is_in_many_units_needs_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = symbols_of("exits")
    every = symbols.locate("guest.h:59")
    near = {place.address for place in symbols.sources.places("guest.h", 59, symbols.find("main"))}
    assert {"exits.c"} == {_unit_name(symbols, address) for address in near} and near < set(every)
    monkeypatch.setattr("emulator.dwarf.info.MOST_UNITS", 1)
    with pytest.raises(LocationError, match="more than 1 parts of the program: write FUNCTION:LINE"):
        symbols.locate("guest.h:1")
    start = symbols.find("main")
    line = symbols.line(start or 0)
    assert line is not None and symbols.locate(f"main:{line.line}") == [start]
