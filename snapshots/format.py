"""The snapshot file, version 1.0.

A snapshot is a sequence of msgpack objects (https://github.com/msgpack/msgpack/blob/master/spec.md), gathered into
sections that follow each other without gaps:

    header      magic, version
    meta        when and of what
    machine     the machine's state, without what the next two hold
    harts       the harts' state
    devices     the devices' state
    pages       up to 256 page contents; as many such sections as needed, also none
    memory      regions, digests of the contents, and which page holds which content
    footer      length and SHA-256 digest of each section above
    end         where the footer is, how long the file is, digest of the footer

Every byte of the file is covered: sections by the footer, the footer by the end mark, and the end mark holds nothing
that is not checked. The footer's digest therefore stands for the whole file and is its identity. A reader verifies
the end mark and the footer first, then the digest of each section before it decodes it.

Integers are unsigned unless said otherwise. "u32" inside a byte string is four bytes, little-endian. A page is 4096
bytes. All digests are SHA-256, 32 bytes. Maps have str keys, each once; a reader ignores keys and sections that it
does not know.

**header**, 21 bytes, two objects:

    C4 10 89 72 76 74 75 69 2D 73 74 61 74 65 0D 0A 1A 0A     bin of 16 bytes: 89 "rvtui-state" CR LF 1A LF
    92 MM mm                                                   array [major, minor], each below 128

The first byte above 7F, the line ends and the end-of-file character reveal a transfer in text mode. A reader refuses
another major version than its own, newer or older, and reads any minor version.

**meta**, a map:

    note        str, whatever the user wanted to remember, at most 65,536 characters
    created     nil, or seconds since 1970-01-01 UTC as the application gave them
    parent      nil, or a map: digest (bin, identity of the parent), name (str, its file's name without folders)
    harts       how many harts
    vms         array of str, the names of the built-in hypervisor's VMs
    clock       the machine's clock in instructions
    executed    instructions that the machine has executed

The last four repeat what the state holds for those that only list snapshots; restoring does not use them.

**machine** is the map that Machine.state() returned, less its entries "harts" and "devices"; **harts** and
**devices** are the values of these two. Values are nil, bool, integers of -2^63 to 2^64-1, str, bin, arrays and maps,
nested at most 32 deep. No float, no extension types. str is UTF-8, except that bytes of a file name that are no UTF-8
stand as they are. What the entries mean is defined by the emulator package.

**pages**: bin, one zstd frame with its content size in its header and without a dictionary. Decompressed it is 256
page contents, in the last such section what remains of them. Contents are numbered from 0 through all of these
sections in order, in the order in which ascending addresses first hold them. No two are equal, none is all zero.

**memory**, a map:

    page        4096
    digests     bin, the digest of each content, one after the other; their number is the number of contents
    regions     array of maps, ascending in address order of the machine:
        name      str
        base      physical address, multiple of 4096
        size      bytes, multiple of 4096, not 0
        writable  bool: false for ROM
        runs      bin, four u32 per run: first page (index in the region), number of pages, first content, step

Page first+i of a run, for i from 0 to number-1, holds content first_content + i * step. step is 0 (a fill) or 1. Runs
ascend by first page and do not overlap. Without a parent, a page in no run is zero. With one, a page in no run is as
in the parent, and first content FFFFFFFF with step 0 stands for zero pages; regions are those of the parent.

**footer**, a map: sections, an array of arrays [name (str), length (bytes), digest (bin)], in file order from offset 0.

**end**, 57 bytes, one array of four:

    94  A3 "end"
        CF xx xx xx xx xx xx xx xx      offset of the footer, 64 bits, big-endian
        CF xx xx xx xx xx xx xx xx      length of the file, 64 bits, big-endian
        C4 20 <32 bytes>                digest of the footer

The same machine gives the same bytes (with one version of the zstd library), but for `created` and `note`.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import zstandard

from snapshots.errors import SnapshotError
from snapshots.files import Part, Source
from snapshots.plain import MOST, pack, unpack
from snapshots.snapshot import (
    CHUNK,
    DIGEST,
    PAGE,
    STATE_PARTS,
    Image,
    Meter,
    Parts,
    RegionImage,
    Summary,
    unpacked_state,
)

MAJOR, MINOR = 1, 0
MAGIC = b"\xc4\x10\x89rvtui-state\r\n\x1a\n"
LEVEL = 3
"""zstd's, for page contents."""

VIRTUAL_LIMIT = 16 << 30
"""Bytes of guest memory, touched or not, that a reader accepts unless told otherwise."""

LONGEST_NOTE = 65536

_HEADER = len(MAGIC) + 3
_END = struct.Struct(">5sBQBQ2s32s")
_END_FIXED = (b"\x94\xa3end", 0xCF, 0xCF, b"\xc4\x20")
_ZERO_CONTENT = 0xFFFFFFFF

# Far above what machines need. Decoded values cost at most some 70 bytes of memory per byte in the file; the memory
# section grows with memory but is made of few values, so that it may be longer.
_SECTION_LIMIT = 64 << 20
_MEMORY_LIMIT, _MEMORY_ITEMS = 512 << 20, 1024
_CHUNK_LIMIT = 2 * CHUNK * PAGE
_NAME_LIMIT = 255

_Nothing = type(None)
_META = {
    "note": str,
    "created": (int, _Nothing),
    "parent": (dict, _Nothing),
    "harts": int,
    "vms": [str],
    "clock": int,
    "executed": int,
}
_PARENT = {"digest": bytes, "name": str}
_MEMORY = {
    "page": int,
    "digests": bytes,
    "regions": [{"name": str, "base": int, "size": int, "writable": bool, "runs": bytes}],
}


@dataclass(frozen=True)
class Section:
    """A stretch of the file. `offset` and `length` in bytes."""

    name: str
    offset: int
    length: int
    digest: bytes

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True)
class Meta:
    """The section of that name. `parent`: (digest, file name)."""

    note: str
    created: int | None
    parent: tuple[bytes, str] | None
    summary: Summary


def _utf8(text: str) -> str:
    """Text with "?" where a file name held bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _u32(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_u32(data: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class Writer:
    """Writes one snapshot to `sink`, section by section, in the order of the methods."""

    def __init__(self, sink: Part) -> None:
        self._sink = sink
        self._sections: list[tuple[str, int, bytes]] = []
        self._offset = 0

    def _section(self, name: str, data: bytes) -> None:
        limit = _MEMORY_LIMIT if name == "memory" else _SECTION_LIMIT
        if len(data) > limit:
            size = f"{len(data) >> 20} MiB, and {limit >> 20} MiB is the most"
            raise SnapshotError(f"the machine's state cannot be saved: its part {name!r} takes {size}")
        self._sink.write(data)
        self._sections.append((name, len(data), hashlib.sha256(data).digest()))
        self._offset += len(data)

    def head(self, meta: Meta, parts: Parts) -> None:
        self._section("header", MAGIC + pack([MAJOR, MINOR], "version"))
        described = {
            "note": _utf8(meta.note),
            "created": meta.created,
            "parent": None if meta.parent is None else {"digest": meta.parent[0], "name": meta.parent[1]},
            "harts": meta.summary.harts,
            "vms": [_utf8(name) for name in meta.summary.vms],
            "clock": meta.summary.clock,
            "executed": meta.summary.executed,
        }
        self._section("meta", pack(described, "meta"))
        for name in STATE_PARTS:
            self._section(name, parts[name])

    def pages(self, chunks: Iterable[bytes]) -> None:
        compress = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False).compress
        for chunk in chunks:
            self._section("pages", pack(compress(chunk), "pages"))

    def foot(self, image: Image) -> None:
        regions = [
            {
                "name": region.name,
                "base": region.base,
                "size": region.size,
                "writable": region.writable,
                "runs": _u32(region.runs),
            }
            for region in image.regions
        ]
        self._section("memory", pack({"page": PAGE, "digests": bytes(image.digests), "regions": regions}, "memory"))
        footer = pack({"sections": [list(section) for section in self._sections]}, "footer")
        length = self._offset + len(footer) + _END.size
        mark, wide, _, binary = _END_FIXED
        self._sink.write(footer)
        self._sink.write(_END.pack(mark, wide, self._offset, wide, length, binary, hashlib.sha256(footer).digest()))


class Reader:
    """Reads one snapshot. Nothing in the file is believed before it is checked.

    `limit`: bytes of guest memory, touched or not, that are accepted. Construction checks header, end mark and footer.
    What is wrong raises SnapshotError without the file's name.
    """

    def __init__(self, source: Source, limit: int = VIRTUAL_LIMIT) -> None:
        self._source = source
        self._limit = limit
        self.size = source.size
        self.version = self._header()
        self.identity, self.sections = self._footer()
        names = [section.name for section in self.sections]
        for name in ("header", "meta", *STATE_PARTS, "memory"):
            if names.count(name) != 1:
                raise _damaged(f"its footer lists {names.count(name)} sections named {name!r}, not one")
        if names[0] != "header" or self.sections[0].length != _HEADER:
            raise _damaged("its footer does not begin with the header")

    def _header(self) -> tuple[int, int]:
        start = self._source.read(0, min(_HEADER, self.size))
        if not start:
            raise SnapshotError("is empty, not a snapshot; name a file that was saved as one")
        if start.startswith(b"\x7fELF"):
            raise SnapshotError("is an ELF program, not a snapshot; run it as a guest")
        if not MAGIC.startswith(start[: len(MAGIC)]):
            shown = start[:8].hex(" ")
            raise SnapshotError(f"is not a snapshot (it begins with {shown}); name a file that was saved as one")
        if len(start) < _HEADER:
            raise _damaged(f"cut short after {self.size} bytes, inside its header")
        array_of_two, major, minor = start[len(MAGIC) :]
        if array_of_two != 0x92 or major > 127 or minor > 127:
            raise _damaged("the version in its header is not readable")
        if major != MAJOR:
            age, hint = ("newer", "update rvtui") if major > MAJOR else ("older", "use the rvtui that wrote it")
            raise SnapshotError(f"is of snapshot version {major}.{minor}, {age} than the {MAJOR}.x read here; {hint}")
        return major, minor

    def _footer(self) -> tuple[bytes, list[Section]]:
        room = self.size - _END.size
        if room < _HEADER:
            raise _damaged(f"cut short after {self.size} bytes: its end mark is missing")
        mark, wide, offset, wide_too, length, binary, digest = _END.unpack(self._source.read(room, _END.size))
        if (mark, wide, wide_too, binary) != _END_FIXED:
            raise _damaged(f"its end mark is missing after {self.size} bytes: cut short, or damaged at the end")
        if length != self.size:
            raise _damaged(f"it is {self.size} bytes long, by its end mark {length}")
        if not _HEADER <= offset < room or room - offset > _SECTION_LIMIT:
            raise _damaged("the offset of the footer in its end mark is out of range")
        data = self._source.read(offset, room - offset)
        if hashlib.sha256(data).digest() != digest:
            raise _damaged(f"bytes {offset} to {self.size} (footer and end mark) do not match their digest")
        listed = _decode(data, "footer", {"sections": list})["sections"]
        sections: list[Section] = []
        at = 0
        for entry in listed:
            if type(entry) is not list or [type(part) for part in entry[:3]] != [str, int, bytes]:
                raise _damaged("its footer holds an entry that is not name, length, digest")
            section = Section(entry[0], at, entry[1], entry[2])
            fits = 0 < section.length <= offset - at and len(section.digest) == DIGEST
            if not fits or len(section.name) > _NAME_LIMIT:
                raise _damaged(f"its footer gives section {len(sections)} a name, length or digest that cannot be")
            sections.append(section)
            at = section.end
        if at != offset:
            raise _damaged(f"its footer accounts for {at} of {offset} bytes")
        return digest, sections

    def check(self, meter: Meter) -> None:
        """Compare all sections with their digests. Counts bytes of the file on `meter`."""
        for section in self.sections:
            sha = hashlib.sha256()
            for offset in range(section.offset, section.end, 1 << 20):
                piece = self._source.read(offset, min(1 << 20, section.end - offset))
                sha.update(piece)
                meter.add(len(piece))
            if sha.digest() != section.digest:
                raise _mismatch(section)

    def _data(self, section: Section, limit: int) -> bytes:
        _refuse_beyond(limit, section)
        data = self._source.read(section.offset, section.length)
        if hashlib.sha256(data).digest() != section.digest:
            raise _mismatch(section)
        return data

    def _named(self, name: str) -> Section:
        return next(section for section in self.sections if section.name == name)

    def _value(self, name: str, schema: Any) -> Any:
        section = self._named(name)
        if name == "memory":
            return _decode(self._data(section, _MEMORY_LIMIT), _where(section), schema, _MEMORY_ITEMS)
        return _decode(self._data(section, _SECTION_LIMIT), _where(section), schema)

    def meta(self) -> Meta:
        value = self._value("meta", _META)
        parent = value["parent"]
        if parent is not None:
            _typed(parent, _PARENT, "meta.parent")
            name = parent["name"]
            plain_name = name not in ("", ".", "..") and not set(name) & set("/\\\0") and len(name) <= _NAME_LIMIT
            if len(parent["digest"]) != DIGEST or not plain_name:
                raise _damaged("the parent that its meta section names is no file name with a digest")
        for key in ("created", "harts", "clock", "executed"):
            if value[key] is not None and value[key] < 0:
                raise _damaged(f"meta.{key} is negative")
        if len(value["note"]) > LONGEST_NOTE:
            raise _damaged(f"its note is longer than {LONGEST_NOTE} characters")
        for text in (value["note"], *value["vms"], *([parent["name"]] if parent else [])):
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise _damaged("its meta section holds text that is not UTF-8")
        summary = Summary(value["harts"], tuple(value["vms"]), value["clock"], value["executed"])
        return Meta(value["note"], value["created"], parent and (parent["digest"], parent["name"]), summary)

    def parts(self) -> Parts:
        """The packed state. It decodes to parts of the right kinds."""
        parts = {name: self._data(self._named(name), _SECTION_LIMIT) for name in STATE_PARTS}
        try:
            unpacked_state(parts)
        except ValueError as error:
            raise _damaged(str(error)) from None
        return parts

    def image(self) -> Image:
        """Where memory's contents lie; all sizes, ranges and numbers are checked against each other."""
        value = self._value("memory", _MEMORY)
        if value["page"] != PAGE:
            raise _damaged(f"its pages are {value['page']} bytes, not {PAGE}")
        digests = value["digests"]
        if len(digests) % DIGEST:
            raise _damaged("memory.digests is not a whole number of digests")
        image = Image([], bytearray(digests))
        based = self.meta().parent is not None
        for number, entry in enumerate(value["regions"]):
            where = f"memory.regions[{number}]"
            base, size = entry["base"], entry["size"]
            if base < 0 or size <= 0 or base % PAGE or size % PAGE or base + size > 1 << 64:
                raise _damaged(f"{where} has base {base:#x} and size {size:#x}, which no memory can have")
            if size >> 44:
                raise SnapshotError(
                    f"describes {size >> 40} TiB of memory in one region; 16 TiB is the most there can be"
                )
            if len(entry["runs"]) % 16:
                raise _damaged(f"{where}.runs is not a whole number of runs")
            region = RegionImage(entry["name"], base, size, entry["writable"], _from_u32(entry["runs"]))
            _check_runs(region, image.contents, where, based)
            image.regions.append(region)
        ordered = sorted(image.regions, key=lambda region: region.base)
        for one, other in pairwise(ordered):
            if one.base + one.size > other.base:
                raise _damaged(f"its memory regions at {one.base:#x} and {other.base:#x} overlap")
        if image.size > self._limit:
            raise SnapshotError(
                f"describes {_amount(image.size)} of guest memory, more than the limit of {_amount(self._limit)};"
                " raise the limit if you trust the file"
            )
        if image.contents > image.pages:
            raise _damaged(f"it holds {image.contents} page contents for {image.pages} pages")
        chunks = -(-image.contents // CHUNK)
        if len(self._chunks()) != chunks:
            raise _damaged(f"it has {len(self._chunks())} pages sections where its memory needs {chunks}")
        for section in self._chunks():
            _refuse_beyond(_CHUNK_LIMIT, section)
        return image

    def _chunks(self) -> list[Section]:
        return [section for section in self.sections if section.name == "pages"]

    @property
    def size_of_sections(self) -> int:
        """Bytes that check() passes over."""
        return self.sections[-1].end

    @property
    def compressed(self) -> int:
        """Bytes of the file that hold page contents."""
        return sum(section.length for section in self._chunks())

    def chunks(self, image: Image) -> Iterator[bytes]:
        """The page contents, CHUNK to each but the last, each checked against its own digest."""
        decompressor = zstandard.ZstdDecompressor()
        digests = memoryview(image.digests)
        sha256 = hashlib.sha256
        for number, section in enumerate(self._chunks()):
            first = number * CHUNK
            expected = min(CHUNK, image.contents - first) * PAGE
            # Each content has its own digest: that of the section adds nothing here.
            frame = _decode(self._source.read(section.offset, section.length), _where(section), bytes)
            # The size is checked before it is allocated: the library would believe the frame's header.
            try:
                if zstandard.frame_content_size(frame) != expected:
                    raise _damaged(f"{_where(section)} does not hold {expected} bytes of pages")
                chunk = decompressor.decompress(frame, max_output_size=expected, allow_extra_data=False)
            except zstandard.ZstdError:
                raise _damaged(f"{_where(section)} does not decompress") from None
            if len(chunk) != expected:
                raise _damaged(f"{_where(section)} does not hold {expected} bytes of pages")
            view = memoryview(chunk)
            for index in range(expected // PAGE):
                at = (first + index) * DIGEST
                if sha256(view[index * PAGE : (index + 1) * PAGE]).digest() != digests[at : at + DIGEST]:
                    raise _damaged(f"{_where(section)}: page content {first + index} does not match its digest")
            yield chunk


def _refuse_beyond(limit: int, section: Section) -> None:
    if section.length > limit:
        raise _damaged(f"{_where(section)} is longer than the {limit >> 20} MiB that such a section may be")


def _check_runs(region: RegionImage, contents: int, where: str, based: bool) -> None:
    pages = region.size // PAGE
    free = 0
    for first, count, content, step in region.each_run():
        if first < free or not count or first + count > pages:
            raise _damaged(f"{where}: the run at page {first} overlaps another or leaves the region's {pages} pages")
        free = first + count
        last = content + (count - 1) * step
        cleared = based and content == _ZERO_CONTENT and step == 0
        if step > 1 or (last >= contents and not cleared):
            raise _damaged(f"{where}: the run at page {first} refers to contents that are not there")


def _damaged(what: str) -> SnapshotError:
    return SnapshotError(f"is damaged: {what}; take another copy of it")


def _where(section: Section) -> str:
    return f"section {section.name!r} at bytes {section.offset} to {section.end}"


def _mismatch(section: Section) -> SnapshotError:
    return _damaged(f"{_where(section)} does not match its digest")


def _amount(size: int) -> str:
    return f"{size / (1 << 30):.4g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.4g} MiB"


def _decode(data: bytes, where: str, schema: Any, most: int = MOST) -> Any:
    """The one msgpack object in `data`, plain and as `schema` wants it. `where` names it in errors."""
    try:
        value = unpack(data, where, most)
    except ValueError as error:
        raise _damaged(str(error)) from None
    _typed(value, schema, where)
    return value


def _typed(value: Any, schema: Any, where: str) -> None:
    """Check `value` against `schema`: a type, types, {key: schema} (more keys are fine), or [schema of each]."""
    if isinstance(schema, dict):
        _typed(value, dict, where)
        for key, inner in schema.items():
            if key not in value:
                raise _damaged(f"{where} has no entry {key!r}")
            _typed(value[key], inner, f"{where}, entry {key!r}")
    elif isinstance(schema, list):
        _typed(value, list, where)
        for part in value:
            _typed(part, schema[0], where)
    else:
        kinds = schema if isinstance(schema, tuple) else (schema,)
        if type(value) not in kinds:
            raise _damaged(f"{where} is {type(value).__name__}, not {kinds[0].__name__}")
