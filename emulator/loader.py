"""Reading programs: ELF files, Linux kernel images, raw images, and their symbols.

Files come from anywhere: every count, offset and size is checked against the file before it is used, and every fault
is a LoadError of one line. Reading knows no machine; `place` puts an image into memory.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple

import zstandard
from elftools.elf.constants import P_FLAGS
from elftools.elf.structs import ELFStructs

from emulator import dwarf
from emulator.dwarf import DebugInfo, Line, LocationError, Sources
from emulator.errors import LoadError
from emulator.memory import Memory

FILE_LIMIT: Final = 1 << 30
"""Bytes of a file that is read."""
UNFOLDED_LIMIT: Final = 256 << 20
"""Bytes that a compressed file may unfold to."""
SEGMENT_LIMIT, SECTION_LIMIT, SYMBOL_LIMIT = 256, 4096, 1 << 20
NAME_LIMIT: Final = 1024
"""Bytes of a symbol's name that are kept."""
NAMES_LIMIT: Final = 64 << 20
"""Bytes of all names together, and of a System.map."""
REACH: Final = 1 << 20
"""How far a symbol of unknown size may lie before an address that is shown relative to it."""

EXECUTE: Final = int(P_FLAGS.PF_X)
_STRUCTS: Final = ELFStructs(little_endian=True, elfclass=64)
_STRUCTS.create_basic_structs()
_STRUCTS.create_advanced_structs(e_type="ET_EXEC", e_machine="EM_RISCV")
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE = 64, 56, 64
_SYMBOL: Final = struct.Struct("<IBBHQQ")
GZIP: Final = b"\x1f\x8b\x08"
_LINUX: Final = struct.Struct("<IIQQQIIQ8s4sI")
_ZBOOT: Final = struct.Struct("<2s2x4sII8x32s")
_UNPACKERS: Final[dict[str, Callable[[], Any]]] = {
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, UNFOLDED_LIMIT),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, UNFOLDED_LIMIT),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
"""How compressions begin that the names in zboot images have, and what undoes them."""
_MORSEL: Final = 1024
"""Bytes that are unpacked at a time: none unfolds to more than some tens of MiB."""
_LINUX_MAGIC: Final = b"RSC\x05"
_FOREIGN: Final = (
    (0x38, b"ARM\x64", "a Linux kernel for arm64"),
    (0x24, b"\x18\x28\x6f\x01", "a Linux kernel for arm"),
    (0x202, b"HdrS", "a Linux kernel for x86"),
    (0x38, b"\xcd\x23\x82\x81", "a Linux kernel for LoongArch"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image, whose contents are wanted"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree"),
    (0, b"070701", "a cpio archive, as an initrd is"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\xfd7zXZ", "compressed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4"),
    (0, b"MZ", "an EFI or Windows program, not for RISC-V"),
    (0, b"QFI\xfb", "a disk image (qcow2)"),
    (0, b"\x89PNG", "a picture"),
)
"""(offset, bytes there, what begins so): from the descriptions of each format."""
_NOTYPE, _OBJECT, _FUNCTION, _IFUNC = 0, 1, 2, 10
_ABSOLUTE: Final = 0xFFF1
_SHF_EXECINSTR: Final = 4
_WORD: Final = (1 << 64) - 1


_NO_SOURCES: Final = Sources()


class Segment(NamedTuple):
    """`data` goes to `physical`, zeros follow up to `size` bytes. `flags`: 4 read, 2 write, 1 execute."""

    physical: int
    virtual: int
    data: memoryview
    size: int
    flags: int


class Symbol(NamedTuple):
    """`size` is 0 where the file does not say."""

    address: int
    size: int
    name: str
    function: bool = False


class Symbols:
    """Names of addresses, and the source that they come from. Of several at one address, `lookup` shows the first:
    functions, then objects, then labels, each with the global ones first."""

    def __init__(
        self, symbols: Iterable[Symbol] = (), constants: Iterable[Symbol] = (), sources: Sources = _NO_SOURCES
    ) -> None:
        """`symbols`: the better one first where two have the same address or name. `constants` are numbers with a
        name, not places: only `find` knows them."""
        self.sources = sources
        """Debugging information. It is no part of a machine's state: files have it."""
        self._by_address: dict[int, Symbol] = {}
        self._by_name: dict[str, int] = {}
        for symbol in symbols:
            self._by_address.setdefault(symbol.address, symbol)
            self._by_name.setdefault(symbol.name, symbol.address)
        for symbol in constants:
            self._by_name.setdefault(symbol.name, symbol.address)
        self._addresses = sorted(self._by_address)

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Symbol]:
        """One symbol per address, ascending."""
        return (self._by_address[address] for address in self._addresses)

    def __or__(self, other: Symbols) -> Symbols:
        """Both; where they differ, this one counts."""
        both = Symbols()
        both._by_address = other._by_address | self._by_address
        both._by_name = other._by_name | self._by_name
        both._addresses = sorted(both._by_address)
        both.sources = self.sources | other.sources
        return both

    def same(self, other: Symbols) -> bool:
        """Whether all addresses have the same names."""
        return self._by_address == other._by_address

    def moved(self, by: int) -> Symbols:
        """The same of a program that was placed so many bytes further on."""
        places = [symbol._replace(address=symbol.address + by & _WORD) for symbol in self]
        shown = {symbol.name for symbol in places}
        others = [Symbol(at + by & _WORD, 0, name) for name, at in self._by_name.items() if name not in shown]
        return Symbols(places, others, self.sources.moved(by))

    def at(self, address: int) -> Symbol | None:
        """The symbol that `address` belongs to: inside it if its size is known, else the nearest one before."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        symbol = self._by_address[self._addresses[index]]
        return symbol if address - symbol.address < (symbol.size or REACH) else None

    def lookup(self, address: int) -> str | None:
        """"name" or "name+0x10"."""
        symbol = self.at(address)
        if symbol is None:
            return None
        return symbol.name if symbol.address == address else f"{symbol.name}+{address - symbol.address:#x}"

    def find(self, name: str) -> int | None:
        """The address of `name`: of a symbol, or as `locate` has it, the first. LocationError for a line that is
        nowhere."""
        if ":" not in name:
            return self._by_name.get(name)
        return self.locate(name)[0]

    def locate(self, name: str) -> list[int]:
        """Where code of FILE:LINE or FUNCTION:LINE begins, once for each function; FILE:LINE@N is the N-th of them
        alone. LocationError where there is none."""
        where, _, text = name.rpartition(":")
        text, chosen, number = text.partition("@")
        where = where.strip("\"'")
        if not where or not text.isdecimal() or (chosen and not number.isdecimal()) or len(text + number) > 9:
            raise LocationError(f"{name!r}: write FILE:LINE or FUNCTION:LINE")
        at = self._by_name.get(where)
        if at is not None and (line := self.sources.line(at)) is not None:
            found = [place.address for place in self.sources.places(line.file, int(text), at)]
        elif at is not None:
            raise LocationError(f"{where} has no line numbers: build it with -g, or symbol-file")
        else:
            found = [place.address for place in self.sources.places(where, int(text))]
        if not chosen:
            return found
        if not 0 < int(number) <= len(found):
            raise LocationError(f"{name}: the line begins at {len(found)} places")
        return [found[int(number) - 1]]

    def line(self, address: int) -> Line | None:
        """The source line of the instruction there."""
        return self.sources.line(address)

    @property
    def functions(self) -> list[Symbol]:
        """All functions, ascending by address."""
        return [symbol for symbol in self if symbol.function]

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)


@dataclass(frozen=True)
class Image:
    """A program ready to be placed. All addresses but `Segment.virtual` and those of `symbols` are physical."""

    name: str
    kind: str
    """"elf", "linux" or "raw"."""
    entry: int
    segments: list[Segment]
    symbols: Symbols = field(default_factory=Symbols)
    tohost: int | None = None
    fromhost: int | None = None
    signature: tuple[int, int] | None = None
    """Where begin_signature and end_signature are."""

    @property
    def start(self) -> int:
        """The lowest address."""
        return min(segment.physical for segment in self.segments)

    @property
    def end(self) -> int:
        """The first address after the highest one."""
        return max(segment.physical + segment.size for segment in self.segments)

    def moved(self, to: int) -> Image:
        """The same with its lowest byte at `to`: for position-independent programs."""
        by = to - min(segment.physical for segment in self.segments)
        segments = [segment._replace(physical=segment.physical + by) for segment in self.segments]
        return Image(self.name, self.kind, self.entry + by, segments, self.symbols)


class LinuxHeader(NamedTuple):
    """What matters of the header of an arch/riscv Linux image ("Boot image header in RISC-V Linux")."""

    text_offset: int
    image_size: int
    big_endian: bool


def read_file(path: str | os.PathLike[str], limit: int = FILE_LIMIT, name: str = "") -> bytes:
    """A whole regular file. LoadError if it is missing, unreadable, empty, no file, or longer than `limit` bytes; it
    calls the file `name`, or as the path does."""
    name = name or shown(path)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise LoadError(f"{name}: it is {kind}")
            if status.st_size > limit:
                raise LoadError(f"{name}: {status.st_size} bytes are too many; at most {limit} are read")
            data = file.read(limit + 1)
    except OSError as error:
        reason = "it is a directory" if isinstance(error, IsADirectoryError) else error.strerror or str(error)
        raise LoadError(f"{name}: {reason}") from None
    except (ValueError, MemoryError):
        raise LoadError(f"{name}: it cannot be read") from None
    if not data:
        raise LoadError(f"{name}: the file is empty")
    if len(data) > limit:
        raise LoadError(f"{name}: it has more than {limit} bytes")
    return data


def decompress(data: bytes, name: str, limit: int = UNFOLDED_LIMIT) -> bytes:
    """What a gzip stream holds, at most `limit` bytes. LoadError for a damaged, cut or larger one."""
    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise LoadError(f"{name}: damaged gzip data ({error})") from None
    if len(out) > limit:
        raise LoadError(f"{name}: it unfolds to more than {limit} bytes")
    if not stream.eof:
        raise LoadError(f"{name}: the gzip data ends too early")
    return out


def is_zboot(data: bytes) -> bool:
    """A kernel that unpacks itself where EFI starts it (Linux, "zboot-header.S", CONFIG_EFI_ZBOOT)."""
    return len(data) >= _ZBOOT.size and _ZBOOT.unpack_from(data)[:2] == (b"MZ", b"zimg")


def unpack_zboot(data: bytes, name: str, limit: int = UNFOLDED_LIMIT) -> bytes:
    """The kernel in an EFI zboot image, at most `limit` bytes. LoadError for a damaged, cut or larger one, or
    where it is compressed in a way that is not known here."""
    _, _, start, size, kind = _ZBOOT.unpack_from(data)
    if start + size > len(data):
        raise LoadError(f"{name}: its packed kernel ({size} bytes at {start:#x}) reaches beyond the end of the file")
    method = shown(kind.split(b"\0")[0])
    packed = data[start : start + size]
    # The names are those of the kernel's makefiles: "xzkern", "zstd22".
    if method == "gzip":
        return decompress(packed, name, limit)
    make = next((make for begin, make in _UNPACKERS.items() if method.startswith(begin)), None)
    if make is None:
        known = ", ".join(("gzip", *_UNPACKERS))
        raise LoadError(f"{name}: its kernel is compressed with {method!r}; known are {known}: unpack it yourself")
    stream, out, at = make(), bytearray(), 0
    try:
        while not stream.eof and at < len(packed) and len(out) <= limit:
            out += stream.decompress(packed[at : at + _MORSEL])
            at += _MORSEL
    except (lzma.LZMAError, zstandard.ZstdError) as error:
        raise LoadError(f"{name}: damaged {method} data ({' '.join(str(error).split())})") from None
    if len(out) > limit:
        raise LoadError(f"{name}: it unfolds to more than {limit} bytes")
    if not stream.eof:
        raise LoadError(f"{name}: the {method} data ends too early")
    return bytes(out)


def read_symbols(path: str | os.PathLike[str]) -> Symbols:
    """The names in an ELF file, also of one that only has debugging information, or in a System.map. LoadError."""
    data = read_file(path)
    if not data.startswith((b"\x7fELF", GZIP)):
        return read_system_map(path)
    return _Elf(decompress(data, shown(path)) if data.startswith(GZIP) else data, shown(path)).symbols()


def read_elf(path: str | os.PathLike[str]) -> Image:
    """A 64-bit little-endian RISC-V program. LoadError for anything else, and for inconsistent files."""
    return parse_elf(read_file(path), shown(path))


def read_raw(path: str | os.PathLike[str], address: int) -> Image:
    """Any file, byte for byte, at `address`, where it also starts."""
    return _raw(read_file(path), shown(path), address)


def read_image(path: str | os.PathLike[str], address: int | None = None, ram: int = 0x8000_0000) -> Image:
    """A program in whichever form: ELF, Linux kernel image, either of them compressed with gzip, EFI zboot, or raw.

    A Linux image goes to `address`, or to its own offset from the start of memory, `ram`. A raw one needs `address`.
    """
    return parse_image(read_file(path), shown(path), address, ram)


def has_form(data: bytes) -> bool:
    """ELF, Linux image or compressed, and not any bytes."""
    return data.startswith((b"\x7fELF", GZIP[:2])) or is_zboot(data) or linux_header(data) is not None


def parse_program(data: bytes, name: str, address: int) -> Image:
    """In whichever form; what has none is raw. All but ELF files go to `address`."""
    return parse_image(data, name, address) if has_form(data) else _raw(data, name, address)


def parse_image(data: bytes, name: str, address: int | None = None, ram: int = 0x8000_0000) -> Image:
    """As `read_image`, from bytes; `name` is for messages."""
    if data.startswith(GZIP):
        data = decompress(data, name)
    if is_zboot(data):
        data = unpack_zboot(data, name)
    if data.startswith(b"\x7fELF"):
        return parse_elf(data, name)
    header = linux_header(data)
    if header is None:
        if other := foreign(data):
            raise LoadError(f"{name}: it is {other}, not a program for RISC-V")
        if address is None:
            raise LoadError(f"{name}: it is neither an ELF file nor a Linux kernel image; a raw one needs an address")
        return _raw(data, name, address)
    if header.big_endian:
        raise LoadError(f"{name}: it is a big-endian Linux kernel")
    start = ram + header.text_offset if address is None else address
    size = max(len(data), header.image_size)
    return Image(name, "linux", start, [Segment(start, start, memoryview(data), size, 7)])


def linux_header(data: bytes) -> LinuxHeader | None:
    """The header at the start of a Linux kernel image; None if `data` is no such image."""
    if len(data) < _LINUX.size:
        return None
    _, _, text_offset, image_size, flags, _, _, _, _, magic, _ = _LINUX.unpack_from(data)
    return LinuxHeader(text_offset, image_size, bool(flags & 1)) if magic == _LINUX_MAGIC else None


def foreign(data: bytes) -> str | None:
    """What a file that is no program for RISC-V seems to be, in words; None if nobody knows."""
    for offset, magic, what in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return what
    return None


def is_text(data: bytes) -> bool:
    """Code has bytes that no text has, soon."""
    return all((byte >= 0x20 and byte != 0x7F) or byte in b"\t\n\f\r\x1b" for byte in data[:4096])


def read_system_map(path: str | os.PathLike[str]) -> Symbols:
    """The symbols in a Linux System.map: lines of address, type letter, name."""
    name = shown(path)
    found: list[Symbol] = []
    for number, line in enumerate(io.BytesIO(read_file(path, NAMES_LIMIT)), 1):
        if number > SYMBOL_LIMIT:
            raise LoadError(f"{name}: it has more than {SYMBOL_LIMIT} lines")
        if not line.strip():
            continue
        try:
            address, letter, label = line.split()[:3]
            value = int(address, 16)
        except ValueError:
            value = -1
        if not 0 <= value < 1 << 64 or len(letter) != 1:
            raise LoadError(f"{name}: line {number} is not one of a System.map (address, type, name)")
        if letter not in b"aA" and not label.startswith((b"$", b".L")):
            found.append(Symbol(value, 0, _printable(label[:NAME_LIMIT]), letter in b"tTwW"))
    return Symbols(sorted(found, key=lambda symbol: not symbol.function))


def place(image: Image, memory: Memory) -> None:
    """Write all segments, with their zeros. LoadError, and nothing written, if one does not fit into RAM."""
    for index, segment in enumerate(image.segments):
        region = memory.find(segment.physical, segment.size)
        if region is None or not region.writable:
            ram = ", ".join(f"{r.base:#x}..{r.end:#x}" for r in memory.regions if r.writable) or "none"
            # GNU ld's default layout loads the page with the file's own headers in front of the code.
            hint = "; link with -n to leave the ELF headers out" if bytes(segment.data[:4]) == b"\x7fELF" else ""
            raise LoadError(
                f"{image.name}: segment {index} ({segment.physical:#x}..{segment.physical + segment.size:#x}) "
                f"is outside RAM ({ram}){hint}"
            )
    for segment in image.segments:
        memory.write(segment.physical, segment.data)
        memory.fill(segment.physical + len(segment.data), segment.size - len(segment.data))


def parse_elf(data: bytes, name: str) -> Image:
    """As `read_elf`, from bytes; `name` is for messages."""
    file = _Elf(data, name)
    segments = file.segments()
    symbols = file.symbols()

    def physical(address: int | None) -> int | None:
        """Where an address of the program is loaded; unchanged where no segment holds it."""
        for segment in segments:
            if address is not None and segment.virtual <= address < segment.virtual + segment.size:
                return address - segment.virtual + segment.physical
        return address

    begin, end = symbols.find("begin_signature"), symbols.find("end_signature")
    at = physical(begin)
    signature = None if begin is None or end is None or at is None else (at, at + end - begin)
    return Image(
        name,
        "elf",
        file.entry(segments),
        segments,
        symbols,
        physical(symbols.find("tohost")),
        physical(symbols.find("fromhost")),
        signature,
    )


def shown(path: str | os.PathLike[str]) -> str:
    """A path fit for a message: one line, nothing that a terminal would obey."""
    text = os.fsdecode(path)
    return text if text.isprintable() else ascii(text)[1:-1]


class _Elf:
    """An ELF file's tables, checked as they are read. Layouts and names of fields are pyelftools' and the ELF
    specification's; pyelftools' own readers are not used, as they trust offsets and sizes."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.view, self.name = data, memoryview(data), name
        if not data.startswith(b"\x7fELF"):
            raise self.wrong("it is not an ELF file")
        if len(data) < _EHDR_SIZE:
            raise self.wrong(f"the file ends inside its ELF header ({len(data)} of {_EHDR_SIZE} bytes)")
        if data[4] != 2:
            raise self.wrong("it is not a 64-bit ELF file; harts here are RV64")
        if data[5] != 1:
            raise self.wrong("it is a big-endian ELF file; RISC-V memory is little-endian here")
        self.header: Any = _STRUCTS.Elf_Ehdr.parse(data[:_EHDR_SIZE])
        if self.header["e_machine"] != "EM_RISCV":
            raise self.wrong(f"it is for another machine ({_constant(self.header['e_machine'], 'EM_')}), not RISC-V")
        if self.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
            raise self.wrong(f"it is no program ({_constant(self.header['e_type'], 'ET_')}); link it first")

    def wrong(self, what: str) -> LoadError:
        return LoadError(f"{self.name}: {what}")

    def table(self, what: str, prefix: str, layout: Any, size: int, limit: int) -> list[Any]:
        """The program or section header table."""
        offset, count = self.header[f"e_{prefix}off"], self.header[f"e_{prefix}num"]
        if not count:
            return []
        if self.header[f"e_{prefix}entsize"] != size:
            raise self.wrong(f"a {what} header has {self.header[f'e_{prefix}entsize']} bytes, it must be {size}")
        if count > limit:
            raise self.wrong(f"{count} {what} headers are too many; at most {limit} are read")
        if offset + count * size > len(self.data):
            raise self.wrong(f"the {what} headers ({count} at {offset:#x}) reach beyond the end of the file")
        return [layout.parse(self.data[at : at + size]) for at in range(offset, offset + count * size, size)]

    def contents(self, what: str, offset: int, size: int) -> memoryview:
        if offset + size > len(self.data):
            raise self.wrong(f"{what} ({size} bytes at {offset:#x}) reaches beyond the end of the file")
        return self.view[offset : offset + size]

    def segments(self) -> list[Segment]:
        """Loadable segments that are not empty, in the order of the file."""
        found: list[tuple[int, Segment]] = []
        for index, header in enumerate(self.table("segment", "ph", _STRUCTS.Elf_Phdr, _PHDR_SIZE, SEGMENT_LIMIT)):
            if header["p_type"] != "PT_LOAD" or not header["p_memsz"]:
                continue
            what = f"segment {index}"
            physical, virtual, size = header["p_paddr"], header["p_vaddr"], header["p_memsz"]
            if header["p_filesz"] > size:
                raise self.wrong(f"{what} has more bytes in the file ({header['p_filesz']}) than in memory ({size})")
            if max(physical, virtual) + size > 1 << 64:
                raise self.wrong(f"{what} ({size} bytes at {physical:#x}) wraps around the end of the address space")
            data = self.contents(what, header["p_offset"], header["p_filesz"])
            found.append((index, Segment(physical, virtual, data, size, header["p_flags"])))
        if not found:
            raise self.wrong("it has nothing to load (no segment of type LOAD)")
        order = sorted(found, key=lambda each: each[1].physical)
        for (low, below), (high, above) in pairwise(order):
            if below.physical + below.size > above.physical:
                raise self.wrong(f"segments {low} and {high} overlap at {above.physical:#x}")
        return [segment for _, segment in found]

    def entry(self, segments: list[Segment]) -> int:
        """The entry point as a physical address; the file may give it as virtual or physical. Executable segments come
        first, but linkers of bare programs do not always say which are."""
        entry: int = self.header["e_entry"]
        code = sorted(segments, key=lambda segment: not segment.flags & EXECUTE)
        for segment in code:
            if segment.virtual <= entry < segment.virtual + segment.size:
                return entry - segment.virtual + segment.physical
        if any(segment.physical <= entry < segment.physical + segment.size for segment in code):
            return entry
        raise self.wrong(f"the entry point {entry:#x} is in no segment")

    def symbols(self) -> Symbols:
        """Functions, objects and labels."""
        sections = self.sections
        sources = self.sources()
        tables = [s for kind in ("SHT_SYMTAB", "SHT_DYNSYM") for s in sections if s["sh_type"] == kind]
        if not tables:
            return Symbols(sources=sources)
        table = tables[0]
        if table["sh_entsize"] != _SYMBOL.size or table["sh_size"] % _SYMBOL.size:
            raise self.wrong(f"the symbol table is not made of {_SYMBOL.size}-byte entries")
        if table["sh_size"] // _SYMBOL.size > SYMBOL_LIMIT:
            raise self.wrong(f"it has more than {SYMBOL_LIMIT} symbols; strip those that are not needed")
        if not 0 < table["sh_link"] < len(sections) or sections[table["sh_link"]]["sh_type"] != "SHT_STRTAB":
            raise self.wrong(f"the symbol table has no string table (section {table['sh_link']})")
        strings = sections[table["sh_link"]]
        names = bytes(self.contents("the string table", strings["sh_offset"], strings["sh_size"]))
        return self.named(self.contents("the symbol table", table["sh_offset"], table["sh_size"]), names, sources)

    @cached_property
    def sections(self) -> list[Any]:
        return self.table("section", "sh", _STRUCTS.Elf_Shdr, _SHDR_SIZE, SECTION_LIMIT)

    def sources(self) -> Sources:
        """Debugging information, if there is some. What is wrong in it is told where it is asked, and keeps nothing
        from running."""
        index, sections = self.header["e_shstrndx"], self.sections
        names = sections[index] if index < len(sections) else None
        if names is None or names["sh_offset"] + names["sh_size"] > len(self.data):
            return _NO_SOURCES
        pieces: dict[str, dwarf.Piece] = {}
        for section in sections:
            start = names["sh_offset"] + section["sh_name"]
            end = names["sh_offset"] + names["sh_size"]
            label = self.data[start : min(start + 32, end)].partition(b"\0")[0].decode("ascii", "replace")
            plain = label.replace(".zdebug_", ".debug_")
            inside = section["sh_offset"] + section["sh_size"] <= len(self.data)
            if plain in dwarf.SECTIONS and section["sh_type"] != "SHT_NOBITS" and section["sh_size"] and inside:
                content = self.view[section["sh_offset"] : section["sh_offset"] + section["sh_size"]]
                folded = label != plain or bool(section["sh_flags"] & dwarf.SHF_COMPRESSED)
                pieces.setdefault(plain, dwarf.Piece(content, folded, section["sh_addr"]))
        if not pieces:
            return _NO_SOURCES
        code = [
            (section["sh_addr"], section["sh_addr"] + section["sh_size"])
            for section in sections
            if section["sh_flags"] & _SHF_EXECINSTR and section["sh_size"]
        ]
        return Sources([(DebugInfo(self.name, pieces, code), 0)])

    def named(self, entries: memoryview, names: bytes, sources: Sources) -> Symbols:
        ranks = {_FUNCTION: 0, _IFUNC: 0, _OBJECT: 2, _NOTYPE: 4}
        places: list[list[Symbol]] = [[] for _ in range(6)]
        constants: list[Symbol] = []
        total = 0
        for start, info, _, section, value, size in _SYMBOL.iter_unpack(entries):
            rank = ranks.get(info & 15)
            if rank is None or not section or not start:
                continue
            end = names.find(b"\0", start, start + NAME_LIMIT + 1)
            if end < 0:
                if start + NAME_LIMIT >= len(names):
                    raise self.wrong(f"a symbol's name (at {start:#x}) is not inside the string table")
                end = start + NAME_LIMIT
            label = names[start:end]
            # Mapping symbols ("$x", RISC-V ELF psABI) and assembler-local labels name nothing.
            if not label or label[0] == 0x24 or label.startswith(b".L"):
                continue
            total += len(label)
            if total > NAMES_LIMIT:
                raise self.wrong(f"its symbols' names are longer than {NAMES_LIMIT} bytes together")
            symbol = Symbol(value, size, _printable(label), rank == 0)
            (constants if section == _ABSOLUTE else places[rank + (info >> 4 == 0)]).append(symbol)
        return Symbols(chain.from_iterable(places), constants, sources)


def _open_at_once(path: str, flags: int) -> int:
    """Opening a pipe must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _raw(data: bytes, name: str, address: int) -> Image:
    return Image(name, "raw", address, [Segment(address, address, memoryview(data), len(data), 7)])


def _printable(label: bytes) -> str:
    text = label.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _constant(value: object, prefix: str) -> str:
    return str(value).removeprefix(prefix)
