"""The loader: good programs load exactly, bad files are refused in one line."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from elftools.elf.sections import SymbolTableSection
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import loader
from emulator.errors import LoadError
from emulator.memory import Memory, Region

RAM = 0x8000_0000
FUNC, OBJECT, NOTYPE, FILE, SECTION = 2, 1, 0, 4, 3
LOCAL, GLOBAL = 0, 1
CODE = bytes.fromhex("13000000") * 4  # nop


def phdr(
    offset: int = 0, vaddr: int = RAM, filesz: int = 0, memsz: int | None = None, flags: int = 5, kind: int = 1,
    paddr: int | None = None,
) -> bytes:  # fmt: skip
    """A program header; kind 1 is LOAD."""
    memsz = filesz if memsz is None else memsz
    return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr, vaddr if paddr is None else paddr, filesz, memsz, 4096)


def shdr(kind: int, offset: int, size: int, link: int = 0, entsize: int = 0) -> bytes:
    return struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, offset, size, link, 0, 8, entsize)


def symbol(name: int, kind: int, value: int, size: int = 0, bind: int = GLOBAL, section: int = 1) -> bytes:
    return struct.pack("<IBBHQQ", name, bind << 4 | kind, 0, section, value, size)


def elf(
    segments: list[tuple[dict[str, int], bytes]] | None = None,
    symbols: list[tuple[str, int, int, int, int, int]] | None = None,
    entry: int = RAM,
    **header: int,
) -> bytes:
    """An ELF file. `segments`: fields of the program header and contents; `symbols`: name, kind, value, size, bind,
    section; `header`: fields of the ELF header to set otherwise."""
    segments = [({}, CODE)] if segments is None else segments
    symbols = symbols or []
    body = bytearray(bytes(64 + 56 * len(segments)))
    table = b""
    for fields, data in segments:
        table += phdr(**{"offset": len(body), "filesz": len(data), **fields})
        body += data
    body[64 : 64 + len(table)] = table
    names, entries = b"\0", symbol(0, NOTYPE, 0, section=0)
    for name, kind, value, size, bind, section in symbols:
        entries += symbol(len(names), kind, value, size, bind, section)
        names += name.encode() + b"\0"
    at = len(body)
    body += names + entries
    sections = shdr(0, 0, 0) + shdr(2, at + len(names), len(entries), 2, 24) + shdr(3, at, len(names))
    fields = {
        "type": 2, "machine": 243, "version": 1, "entry": entry, "phoff": 64, "shoff": len(body), "flags": 0,
        "ehsize": 64, "phentsize": 56, "phnum": len(segments), "shentsize": 64, "shnum": 3, "shstrndx": 2, **header,
    }  # fmt: skip
    body += sections
    body[:64] = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", *fields.values())
    return bytes(body)


def memory(size: int = 1 << 20) -> Memory:
    return Memory([Region("rom", 0x1000, 0x1000, writable=False), Region("ram", RAM, size)])


def refused(data: bytes, *words: str) -> str:
    """The data is refused in one line that names the file and has all `words`."""
    with pytest.raises(LoadError) as error:
        loader.parse_elf(data, "demo.elf")
    text = str(error.value)
    assert text.startswith("demo.elf: ") and "\n" not in text and len(text) < 250
    for word in words:
        assert word in text, text
    return text


def test_segments_land_in_memory_with_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "demo.elf"
    path.write_bytes(
        elf(
            [({}, CODE), ({"vaddr": RAM + 0x3001, "memsz": 0x2000, "flags": 6}, b"data"), ({"memsz": 0}, b"")],
            entry=RAM + 8,
        )
    )
    image = loader.read_elf(path)
    assert (image.kind, image.entry, image.start, image.end) == ("elf", RAM + 8, RAM, RAM + 0x5001)
    assert [(s.physical, bytes(s.data), s.size, s.flags) for s in image.segments] == [
        (RAM, CODE, 16, 5),
        (RAM + 0x3001, b"data", 0x2000, 6),
    ]
    m = memory()
    m.fill(RAM, 1 << 20, 0xCC)
    changes: list[tuple[int, int]] = []
    m.changed = lambda address, length: changes.append((address, length))
    loader.place(image, m)
    assert m.read(RAM, 0x3001) == CODE + b"\xcc" * (0x3001 - 16)
    assert m.read(RAM + 0x3001, 0x2001) == b"data" + bytes(0x1FFC) + b"\xcc"
    assert changes == [(RAM, 16), (RAM + 0x3001, 4), (RAM + 0x3005, 0x1FFC)]


def test_virtual_addresses_are_not_where_it_is_placed() -> None:
    high = 0xFFFF_FFFF_8000_0000
    image = loader.parse_elf(
        elf(
            [({"vaddr": high, "paddr": RAM}, CODE)],
            [("start", FUNC, high + 4, 4, GLOBAL, 1), ("tohost", NOTYPE, high + 8, 0, GLOBAL, 1)],
            entry=high + 4,
        ),
        "demo.elf",
    )
    assert image.entry == RAM + 4 and image.tohost == RAM + 8 and image.fromhost is None
    assert image.segments[0].virtual == high and image.symbols.find("start") == high + 4
    assert loader.parse_elf(elf([({"vaddr": high, "paddr": RAM}, CODE)], entry=RAM + 4), "demo.elf").entry == RAM + 4


def test_the_wrong_kind_of_file() -> None:
    good = elf()
    refused(b"\x7fELF", "4 of 64 bytes")
    refused(b"MZ" + bytes(100), "not an ELF file")
    refused(good[:4] + b"\1" + good[5:], "not a 64-bit")
    refused(good[:5] + b"\2" + good[6:], "big-endian")
    refused(elf(machine=62), "X86_64", "not RISC-V")
    refused(elf(machine=0xFFF0), "65520", "not RISC-V")
    refused(elf(type=1), "REL", "link it first")
    assert loader.parse_elf(elf(type=3), "demo.elf").kind == "elf"


def test_header_tables_stay_inside_the_file() -> None:
    refused(elf(phoff=1 << 63), "segment headers", "beyond the end")
    refused(elf(phnum=200), "segment headers", "beyond the end")
    refused(elf(phnum=60000), "60000 segment headers are too many")
    refused(elf(phentsize=32), "32 bytes, it must be 56")
    refused(elf(shoff=(1 << 64) - 1), "section headers", "beyond the end")
    refused(elf(shnum=65535), "65535 section headers are too many")
    refused(elf(phnum=0), "nothing to load")
    refused(elf([({"kind": 6}, CODE)]), "nothing to load")
    refused(elf([]), "nothing to load")


def test_segments_are_consistent() -> None:
    refused(elf([({"offset": 1 << 40}, CODE)]), "segment 0", "beyond the end")
    refused(elf([({"filesz": 1 << 40}, CODE)]), "segment 0", "beyond the end")
    refused(elf([({"memsz": 3}, CODE)]), "segment 0", "(16)", "(3)")
    refused(elf([({}, CODE), ({"vaddr": RAM + 8}, CODE)]), "segments 0 and 1 overlap at 0x80000008")
    refused(elf([({"vaddr": RAM + 8}, CODE), ({"vaddr": RAM}, CODE)]), "segments 1 and 0 overlap at 0x80000008")
    refused(elf([({"memsz": 1 << 63}, CODE), ({"vaddr": RAM + 64, "memsz": 1 << 63}, CODE)]), "overlap")
    refused(elf([({"vaddr": (1 << 64) - 8}, CODE)]), "wraps around")
    refused(elf([({"memsz": (1 << 64) - 1}, CODE)]), "wraps around")


def test_the_entry_point_is_in_a_segment() -> None:
    refused(elf(entry=0), "entry point 0x0 is in no segment")
    refused(elf(entry=RAM + 16), "entry point 0x80000010")


def test_segments_without_permission_flags_are_taken_as_linkers_of_bare_programs_make_them() -> None:
    assert loader.parse_elf(elf([({"flags": 0x2000}, CODE)]), "demo.elf").entry == RAM


def test_place_refuses_what_is_outside_of_ram_and_writes_nothing() -> None:
    m = memory()
    changes: list[int] = []
    m.changed = lambda address, length: changes.append(address)
    for where in [0x9000_0000, RAM + (1 << 20) - 8, 0x1000, 0, (1 << 64) - 16]:
        image = loader.parse_elf(elf([({}, CODE), ({"vaddr": where}, CODE)]), "demo.elf")
        with pytest.raises(LoadError) as error:
            loader.place(image, m)
        assert str(error.value) == (
            f"demo.elf: segment 1 ({where:#x}..{where + 16:#x}) is outside RAM (0x80000000..0x80100000)"
        )
    headers = loader.parse_elf(elf([({"offset": 0, "vaddr": RAM - 0x1000, "filesz": 64}, b""), ({}, CODE)]), "demo.elf")
    with pytest.raises(LoadError, match="link with -n"):
        loader.place(headers, m)
    image = loader.parse_elf(elf([({"memsz": 1 << 62}, CODE)]), "demo.elf")
    with pytest.raises(LoadError, match="outside RAM"):
        loader.place(image, m)
    assert changes == [] and list(m.pages_nonzero()) == []


def test_symbols() -> None:
    table = [
        ("$xrv64i2p1", NOTYPE, RAM, 0, LOCAL, 1),
        (".L5", NOTYPE, RAM + 4, 0, LOCAL, 1),
        ("demo.c", FILE, 0, 0, LOCAL, 0xFFF1),
        ("label", NOTYPE, RAM, 0, GLOBAL, 1),
        ("helper", FUNC, RAM, 8, LOCAL, 1),
        ("main", FUNC, RAM, 8, GLOBAL, 1),
        ("table", OBJECT, RAM + 0x100, 0x10, GLOBAL, 1),
        ("asm", NOTYPE, RAM + 0x200, 0, GLOBAL, 1),
        ("elsewhere", FUNC, 0, 0, GLOBAL, 0),
        ("STACK_SIZE", NOTYPE, 0x4000, 0, GLOBAL, 0xFFF1),
        ("", FUNC, RAM + 4, 4, GLOBAL, 1),
    ]
    symbols = loader.parse_elf(elf(symbols=table), "demo.elf").symbols
    assert symbols.lookup(RAM) == "main" and symbols.lookup(RAM + 7) == "main+0x7"
    assert symbols.lookup(RAM + 8) is None, "main is 8 bytes long"
    assert symbols.lookup(RAM + 0x10F) == "table+0xf" and symbols.lookup(RAM + 0x110) is None
    assert symbols.lookup(RAM + 0x1234) == "asm+0x1034", "of unknown size: the nearest one before"
    assert symbols.lookup(RAM - 1) is None and symbols.lookup(0x4000) is None
    assert symbols.lookup(RAM + 0x1000_0000) is None
    assert symbols.find("helper") == RAM and symbols.find("STACK_SIZE") == 0x4000
    assert symbols.find("elsewhere") is None and symbols.find(".L5") is None
    assert symbols.names == ["STACK_SIZE", "asm", "helper", "label", "main", "table"]
    assert [(f.name, f.address, f.size) for f in symbols.functions] == [("main", RAM, 8)]


def test_symbols_of_two_programs() -> None:
    one = loader.Symbols([loader.Symbol(0x10, 4, "a"), loader.Symbol(0x20, 4, "b")])
    two = loader.Symbols([loader.Symbol(0x20, 8, "c"), loader.Symbol(0x30, 4, "a")])
    both = one | two
    assert [both.lookup(address) for address in (0x10, 0x20, 0x26, 0x31)] == ["a", "b", None, "a+0x1"]
    assert both.find("a") == 0x10 and both.find("c") == 0x20 and len(both) == 3
    assert one.find("c") is None


def test_names_cannot_talk_to_the_terminal() -> None:
    evil = "a\x1b[31m\nb"
    symbols = loader.parse_elf(elf(symbols=[(evil, FUNC, RAM, 4, GLOBAL, 1)]), "demo.elf").symbols
    shown = symbols.lookup(RAM)
    assert shown is not None and shown.isprintable() and shown.startswith("a")


def test_damaged_symbol_tables_are_refused() -> None:
    good = elf(symbols=[("main", FUNC, RAM, 4, GLOBAL, 1)])
    at = struct.unpack_from("<Q", good, 40)[0]

    def patched(section: int, field: int, fmt: str, value: int) -> bytes:
        data = bytearray(good)
        struct.pack_into(fmt, data, at + 64 * section + field, value)
        return bytes(data)

    refused(patched(1, 24, "<Q", 1 << 60), "symbol table", "beyond the end")
    refused(patched(1, 32, "<Q", 49), "24-byte entries")
    refused(patched(1, 32, "<Q", 24 << 40), "more than 1048576 symbols")
    refused(patched(1, 56, "<Q", 0), "24-byte entries")
    refused(patched(1, 40, "<I", 7), "no string table (section 7)")
    refused(patched(1, 40, "<I", 1), "no string table (section 1)")
    refused(patched(2, 24, "<Q", 1 << 60), "string table", "beyond the end")
    refused(patched(2, 32, "<Q", 3), "name (at 0x1) is not inside the string table")


def test_long_names_are_cut() -> None:
    symbols = loader.parse_elf(elf(symbols=[("x" * 5000, FUNC, RAM, 4, GLOBAL, 1)]), "demo.elf").symbols
    assert symbols.lookup(RAM) == "x" * loader.NAME_LIMIT


def test_many_symbols_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one by one through pyelftools, which takes thirty times as long."""
    monkeypatch.setattr(SymbolTableSection, "get_symbol", None)
    table = [(f"function_number_{i}", FUNC, RAM + 4 * i, 4, GLOBAL, 1) for i in range(40_000)]
    symbols = loader.parse_elf(elf(symbols=table), "demo.elf").symbols
    assert len(symbols) == 40_000 and symbols.lookup(RAM + 4 * 39_999 + 2) == "function_number_39999+0x2"


Read = Callable[[Path], object]
READERS: list[Read] = [
    loader.read_elf,
    loader.read_image,
    loader.read_system_map,
    lambda path: loader.read_raw(path, RAM),
]


@pytest.mark.parametrize("read", READERS)
def test_files_that_are_none(tmp_path: Path, read: Read) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in [
        ("missing", "No such file"),
        (".", "directory"),
        ("empty", "empty"),
        ("pipe", "not a regular file"),
        ("nul\0byte", "cannot be read"),
    ]:
        with pytest.raises(LoadError, match=words) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_path_is_shown_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as error:
        loader.read_elf(tmp_path / "a\nb\x1b[2J")
    assert "a\\nb\\x1b[2J" in str(error.value) and str(error.value).isprintable()


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(LoadError, match="secret: Permission denied"):
        loader.read_elf(path)


def test_a_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(loader.FILE_LIMIT + 1)
    with pytest.raises(LoadError, match="too many"):
        loader.read_elf(path)


def test_raw_images(tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(gzip.compress(b"abc"))
    image = loader.read_raw(path, RAM + 3)
    m = memory()
    loader.place(image, m)
    assert m.read(RAM + 3, path.stat().st_size) == path.read_bytes(), "byte for byte, compressed or not"
    assert image.entry == RAM + 3 and image.kind == "raw"


def linux(text_offset: int = 0x20_0000, image_size: int = 0x3000, flags: int = 0) -> bytes:
    return (
        struct.pack("<IIQQQIIQ", 0, 0, text_offset, image_size, flags, 2, 0, 0) + b"RISCV\0\0\0RSC\x05" + bytes(4)
    ) + b"kernel"


def test_linux_images(tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(linux())
    image = loader.read_image(path)
    assert (image.kind, image.entry, image.end) == ("linux", RAM + 0x20_0000, RAM + 0x20_3000)
    assert bytes(image.segments[0].data).endswith(b"kernel")
    assert loader.read_image(path, address=RAM).entry == RAM
    assert loader.read_image(path, ram=0x4000_0000).entry == 0x4020_0000
    path.write_bytes(linux(image_size=0))
    assert loader.read_image(path).end == RAM + 0x20_0000 + len(linux())
    path.write_bytes(linux(flags=1))
    with pytest.raises(LoadError, match="big-endian"):
        loader.read_image(path)
    path.write_bytes(linux(image_size=1 << 63))
    with pytest.raises(LoadError, match="outside RAM"):
        loader.place(loader.read_image(path), memory())


def test_compressed_images(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    for data, kind in [(elf(), "elf"), (linux(), "linux")]:
        path.write_bytes(gzip.compress(data))
        assert loader.read_image(path).kind == kind
        path.write_bytes(gzip.compress(data)[:-9])
        with pytest.raises(LoadError, match="too early"):
            loader.read_image(path)
    path.write_bytes(b"\x1f\x8b\x08" + bytes(50))
    with pytest.raises(LoadError, match=r"damaged|too early"):
        loader.read_image(path)
    path.write_bytes(gzip.compress(b"nothing known"))
    with pytest.raises(LoadError, match="neither an ELF file nor a Linux"):
        loader.read_image(path)
    assert bytes(loader.read_image(path, address=RAM).segments[0].data) == b"nothing known"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xzkern": lambda data: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd22": zstandard.ZstdCompressor(level=1).compress,
}


def zboot(packed: bytes, kind: str, size: int | None = None) -> bytes:
    """As drivers/firmware/efi/libstub/zboot-header.S begins; the size of the kernel may stand behind the payload."""
    head = struct.pack("<2s2x4sII8x32s8x", b"MZ", b"zimg", 512, len(packed) if size is None else size, kind.encode())
    return head.ljust(512, b"\xcc") + packed + b"\1\2\3\4"


@pytest.mark.parametrize(("kind", "pack"), PACKERS.items(), ids=list(PACKERS))
def test_zboot_images(kind: str, pack: Callable[[bytes], bytes]) -> None:
    kernel = linux() + bytes(5000)
    image = loader.parse_image(zboot(pack(kernel), kind), "vmlinuz.efi", RAM)
    assert (image.kind, image.entry, bytes(image.segments[0].data)) == ("linux", RAM, kernel)
    assert loader.has_form(zboot(b"", kind))
    with pytest.raises(LoadError, match=r"vmlinuz.efi: .*too early"):
        loader.parse_image(zboot(pack(kernel)[:-6], kind, len(pack(kernel)) - 6), "vmlinuz.efi")
    with pytest.raises(LoadError, match=f"vmlinuz.efi: damaged {kind} data|too early"):
        loader.parse_image(zboot(pack(kernel)[:10] + b"\xff" * 60, kind), "vmlinuz.efi")
    with pytest.raises(LoadError, match="beyond the end of the file"):
        loader.parse_image(zboot(pack(kernel), kind, 1 << 31), "vmlinuz.efi")
    with pytest.raises(LoadError, match="a Linux kernel for arm64"):
        loader.parse_image(zboot(pack(bytes(56) + b"ARM\x64" + bytes(99)), kind), "vmlinuz.efi")


@pytest.mark.parametrize("kind", ["lz4", "lzo", "\x1b[2J", ""])
def test_zboot_images_that_nobody_unpacks(kind: str) -> None:
    with pytest.raises(LoadError, match="known are gzip, xz, lzma, zstd: unpack it yourself") as error:
        loader.parse_image(zboot(b"data", kind), "vmlinuz.efi")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(("kind", "pack"), PACKERS.items(), ids=list(PACKERS))
def test_a_zboot_bomb_is_bounded(kind: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = zboot(pack(bytes(4 << 20)), kind)
    assert len(loader.unpack_zboot(bomb, "bomb", 4 << 20)) == 4 << 20
    with pytest.raises(LoadError, match="bomb: it unfolds to more than 4194303 bytes"):
        loader.unpack_zboot(bomb, "bomb", (4 << 20) - 1)


def test_a_decompression_bomb_is_bounded() -> None:
    bomb = gzip.compress(bytes(1 << 20))
    assert len(loader.decompress(bomb, "bomb", limit=1 << 20)) == 1 << 20
    with pytest.raises(LoadError, match="bomb: it unfolds to more than 1048575 bytes"):
        loader.decompress(bomb, "bomb", limit=(1 << 20) - 1)


def test_system_map(tmp_path: Path) -> None:
    path = tmp_path / "System.map"
    path.write_text(
        "0000000000000000 A __per_cpu_load\n"
        "ffffffff80000000 T _start\n"
        "ffffffff80000000 t another\n"
        "ffffffff80000000 D data_here\n"
        "\n"
        "ffffffff80001000 t local_function\n"
        "ffffffff80002000 d local_data\n"
        "ffffffff80003000 t $x\n"
    )
    symbols = loader.read_system_map(path)
    assert symbols.lookup(0xFFFF_FFFF_8000_0FFF) == "_start+0xfff"
    assert symbols.lookup(0xFFFF_FFFF_8000_1000) == "local_function"
    assert symbols.lookup(0xFFFF_FFFF_8000_3000) == "local_data+0x1000"
    assert symbols.lookup(0x10) is None and symbols.find("__per_cpu_load") is None
    assert symbols.find("another") == 0xFFFF_FFFF_8000_0000
    assert [symbol.name for symbol in symbols.functions] == ["_start", "local_function"]
    for line in ["nonsense", "80000000 T", "xyz T name", "-1 T name", "80000000 TT name", "1" * 17 + " T name"]:
        path.write_text("80000000 T ok\n" + line)
        with pytest.raises(LoadError, match=r"System.map: line 2 is not one"):
            loader.read_system_map(path)


GOOD = elf(
    [({}, CODE), ({"vaddr": RAM + 0x3000, "memsz": 0x100, "flags": 6}, b"data")],
    [
        ("main", FUNC, RAM, 16, GLOBAL, 1),
        ("tohost", OBJECT, RAM + 0x3000, 8, GLOBAL, 1),
        ("a_label_with_a_long_name", NOTYPE, RAM + 4, 0, LOCAL, 1),
    ],
)
values = st.sampled_from([0, 1, 2, 7, 0x7F, 0xFF]) | st.integers(0, 255)
damages = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 8), values), min_size=1, max_size=8)


@settings(max_examples=400, deadline=None)
@given(damages, st.integers(0, len(GOOD)))
def test_any_damage_is_refused_or_loads(damage: list[tuple[int, int, int]], cut: int) -> None:
    data = bytearray(GOOD)
    for at, count, value in damage:
        data[at : at + count] = bytes([value]) * len(data[at : at + count])
    for version in (bytes(data), bytes(data[:cut])):
        try:
            image = loader.parse_elf(version, "demo.elf")
            image.symbols.lookup(RAM)
            loader.place(image, memory())
        except LoadError as error:
            assert str(error).startswith("demo.elf: ") and "\n" not in str(error)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x7fELF\2\1\1", b"\x1f\x8b\x08", linux()[:64]]))
def test_any_file_is_refused_or_loads(tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + data)
    for read in READERS:
        try:
            read(path)
        except LoadError as error:
            assert "\n" not in str(error)
