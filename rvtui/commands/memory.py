"""Memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rvtui.commands.formats import MOST, Format, escaped, parse_format, shown, unescaped
from rvtui.commands.registry import Answer, Argument, CommandError, Context, Report, command
from rvtui.commands.values import FILE, LENGTH, PLACE, label, length_of, place_of, progress, size_of, value_of
from rvtui.hexview import Gaps, dump_lines, parts, rights, way
from rvtui.spaces import NAMES as SPACES
from rvtui.spaces import Piece, Place, Trail
from rvtui.subjects import selected_vcpu, symbols_of

CHUNK = 1 << 20
"""Bytes that a long command moves before it looks up."""
FOUND = 100
"""Places that search and compare list."""
RANGE = 1 << 40
"""Bytes that a command goes through at most."""
COPIED = 256 << 20
"""Bytes that are copied at once at most."""
DUMPED = 64 << 10
"""Bytes that a hexdump shows at most."""
FORMAT = Argument("FORMAT", "format", "count, letter (x d u o t c a s i f z) and size (b h w g), as in 8gx", True)
SIZE = Argument("SIZE", "format", "size of each value: b (1 byte), h (2), w (4), g (8)", True)
_COLUMNS = {1: 8, 2: 8, 4: 4, 8: 2}
"""Values in a line, by size; characters go by eight, as in GDB."""


@command(
    "x",
    "examine memory, as GDB does",
    FORMAT,
    Argument("ADDRESS", "place", PLACE.help + "; goes on after the last look if not given", True),
    example="until main\nx/8gx sp\nx/5i main\nx/4wx hello:gpa:0x80000000",
    aliases=("examine",),
    again="x",
)
def _examine(context: Context, form: str, address: str = "") -> Report:
    return _look(context, form, address, "va")


def examine(context: Context, form: str, address: str) -> Report:
    """As `x` does. CommandError, TranslationError."""
    return _look(context, form, address, "va")


@command(
    "xp",
    "examine physical memory of the machine, as QEMU does",
    FORMAT,
    Argument("ADDRESS", "place", "a physical address"),
    example="xp/4wx 0x80000000",
    again="x",
)
def _examine_physical(context: Context, form: str, address: str) -> Report:
    return _look(context, form, address, "pa")


def _look(context: Context, form: str, address: str, space: str) -> Report:
    if not address:
        if not context.continued:
            raise CommandError("x needs an ADDRESS first: x/8gx sp")
        address, last = context.continued.rsplit("/", 1)
        form = form or last
    wanted = parse_format(form, size=4)
    place = place_of(context, address, space)
    names = symbols_of(context.session.machine, place.subject)
    missing: Trail | None = None
    if wanted.letter == "i":
        lines, items, end = _instructions(context, place, wanted.items)
    elif wanted.letter == "s":
        lines, items, end = _texts(context, place, wanted.items)
    else:
        data, missing = _as_far_as(place, wanted.items * wanted.size)
        values = [
            int.from_bytes(data[at : at + wanted.size], "little")
            for at in range(0, len(data) - wanted.size + 1, wanted.size)
        ]
        if not values:
            place.read(wanted.size)
        hexadecimal = wanted._replace(letter="z") if wanted.letter == "x" else wanted
        items = [shown(wanted.letter, value, wanted.size, names.lookup) for value in values]
        texts = [shown(hexadecimal.letter, value, wanted.size, names.lookup) for value in values]
        lines = _columns(context, place, wanted, texts)
        end = len(values) * wanted.size
        lines += [f"{place.at(len(data)).spelt()}:  {missing.brief}"] if missing is not None else []
    context.continued = f"{place.at(end).spelt()}/{form}"
    return Report(tuple(lines), {**_whose(place), "size": wanted.size, "format": wanted.letter, "items": items,
                                 "missing": missing.why if missing is not None else None})  # fmt: skip


def _as_far_as(place: Place, length: int) -> tuple[bytes, Trail | None]:
    """The bytes from a place on to where memory ends, and what is there."""
    data = b""
    for _, trail in place.trails(length):
        if trail.piece is None:
            return data, trail
        data += trail.piece.memory.read(trail.piece.address, trail.piece.size)
    return data, None


def _whose(place: Place) -> dict[str, Any]:
    return {"space": place.space, "of": place.owner or None, "address": hex(place.address)}


def _columns(context: Context, place: Place, form: Format, texts: list[str]) -> list[str]:
    per = 1 if form.letter in "ad" and form.size == 8 else 8 if form.letter == "c" else _COLUMNS[form.size]
    width = max(map(len, texts))
    rows = [(label(context, place, place.at(at * form.size).address), texts[at : at + per])
            for at in range(0, len(texts), per)]  # fmt: skip
    names = max(len(name) for name, _ in rows)
    return [f"{name + ':':<{names + 1}}  " + "  ".join(f"{text:>{width}}" for text in row) for name, row in rows]


def _instructions(context: Context, place: Place, count: int) -> tuple[list[str], list[Any], int]:
    from rvtui.commands.code import instructions, listed

    found = instructions(context, place, count)
    return listed(context, place, found), [each.data for each in found], sum(each.length for each in found)


def _texts(context: Context, place: Place, count: int) -> tuple[list[str], list[Any], int]:
    """C strings, each cut at so many characters as a look may have."""
    lines, items, at = [], [], 0
    for _ in range(count):
        context.check()
        here, data = place.at(at), b""
        while b"\0" not in data and len(data) < MOST:
            piece = here.at(len(data)).piece()
            data += piece.memory.read(piece.address, min(piece.size, 64, MOST - len(data)))
        text, zero, _ = data.partition(b"\0")
        lines.append(f'{label(context, here, here.address)}:  "{escaped(text)}"' + ("" if zero else "..."))
        items.append({"address": hex(here.address), "text": text.decode("latin-1"), "whole": bool(zero)})
        at += len(text) + len(zero)
        if at >= 16 * MOST:
            break
    return lines, items, at


@command(
    "write",
    "write values into memory, one after another",
    SIZE,
    PLACE,
    Argument("VALUES", "expression", 'numbers, with blanks between them: 1 2 0x30; or a "text"'),
    example='write/w gpa:0x80100000 0x13 0x13 0x6f\nwrite gpa:0x80100000 "hello\\n"',
    changes=True,
)
def _write(context: Context, form: str, address: str, values: str) -> str:
    size = size_of(form, 4)
    place = place_of(context, address)
    if values.startswith('"'):
        data = quoted(values)
    else:
        data = b"".join(_value(context, word, size).to_bytes(size, "little") for word in _words(values))
    place.write(data)
    return f"{len(data)} byte{'s' * (len(data) != 1)} written at {label(context, place, place.address)}"


def _words(text: str) -> list[str]:
    """Expressions parted by blanks; a blank beside an operator parts nothing, and neither does one in ()."""
    text = re.sub(r"\s*([-+*/%&|^]|<<|>>)\s+|\s+([*/%&|^]|<<|>>)\s*", lambda found: found[0].strip(), text)
    return re.findall(r"(?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\S)+", text)


def _value(context: Context, text: str, size: int) -> int:
    value = value_of(context, text)
    negative = (1 << 64) - (1 << 8 * size - 1)
    if value >> 8 * size and value < negative:
        raise CommandError(f"{text} = {value:#x} does not fit {size} byte{'s' * (size > 1)}: write/g writes 8")
    return value & ((1 << 8 * size) - 1)


def quoted(text: str) -> bytes:
    """The bytes of a text in quotes, with C's escapes. CommandError."""
    if len(text) < 2 or not text.endswith(text[0]):
        raise CommandError(f"{text[:40]}: the text has no closing {text[0]}")
    return unescaped(text[1:-1])


@command(
    "fill",
    "fill memory with a byte",
    PLACE,
    LENGTH,
    Argument("BYTE", "expression", "0 to 255; 0 if not given", True),
    example="fill gpa:0x80100000 4k 0xff",
    changes=True,
)
def _fill(context: Context, address: str, length: str, byte: str = "0") -> str:
    place = place_of(context, address)
    wanted = _length(context, length)
    value = value_of(context, byte)
    if value > 255:
        raise CommandError(f"{byte} = {value:#x} is no byte: 0 to 255")
    pieces = _all(context, place, wanted, "filling", store=True)
    tell, done = progress(context, "filling"), 0
    for memory, at, size in pieces:
        tell(done, wanted)
        memory.fill(at, size, value)
        done += size
    context.session.machine.device_wrote()
    return f"{wanted:,} bytes at {label(context, place, place.address)} are {value:#04x}"


def _length(context: Context, text: str) -> int:
    length = length_of(context, text)
    if length > RANGE:
        raise CommandError(f"length {text} = {length:#x}: at most {RANGE >> 30:,} GiB at once")
    return length


def _all(context: Context, place: Place, length: int, what: str, *, store: bool = False) -> list[Piece]:
    """Every piece of a range, neighbours as one; TranslationError that names what is missing, before anything is
    done."""
    pieces: list[Piece] = []
    tell, gaps = progress(context, what), Gaps()
    for at, trail in place.trails(length, store):
        tell(at, length)
        piece, last = trail.piece, pieces[-1] if pieces else None
        if piece is None:
            gaps.add(place, at, trail)
        elif last is not None and last.memory is piece.memory and last.address + last.size == piece.address:
            pieces[-1] = last._replace(size=last.size + piece.size)
        else:
            pieces.append(piece)
    gaps.refuse(length)
    return pieces


def _chunks(context: Context, place: Place, length: int, what: str) -> Iterator[tuple[int, Trail, bytes | None]]:
    """What a range holds, in pieces small enough to look up in between: where each begins, and its bytes; None where
    there is no memory."""
    tell = progress(context, what)
    for start, trail in place.trails(length):
        tell(start, length)
        if trail.piece is None:
            yield start, trail, None
            continue
        memory, address, size = trail.piece
        for at in range(0, size, CHUNK):
            tell(start + at, length)
            yield start + at, trail, memory.read(address + at, min(CHUNK, size - at))


@command(
    "search",
    "find a text, bytes or a number in memory",
    SIZE,
    Argument("WHAT", "expression", '"text", hex:1300??0? with ? for any digit, or a number of SIZE (w if not given)'),
    Argument("ADDRESS", "place", "where to begin; all memory of what is looked at if not given", True),
    Argument("LENGTH", "expression", "bytes to look at", True),
    Argument("STEP", "expression", "find it only every so many bytes from ADDRESS on", True),
    example='search "hello"\nsearch hex:13????00 main 4k 4\nsearch/w 0x00008067 main 4k',
    aliases=("find",),
)
def _search(context: Context, form: str, what: str, address: str = "", length: str = "", step: str = "1") -> Report:
    pattern = _pattern(context, what, size_of(form, 4))
    if address:
        place = place_of(context, address)
        if not length:
            raise CommandError("search needs LENGTH after ADDRESS: how many bytes to look at")
        ranges = [(place, _length(context, length))]
    else:
        ranges = _everything(context)
    stride = value_of(context, step)
    if not stride:
        raise CommandError(f"step {step} is 0: bytes from one place to look at to the next")
    found: list[Place] = []
    more = False
    gaps = Gaps()
    for place, size in ranges:
        for hit in _hits(context, place, size, pattern, gaps, stride):
            if len(found) == FOUND:
                more = True
                break
            found.append(hit)
    lines = [label(context, each, each.address) for each in found]
    if more:
        lines.append(f"and more: the first {FOUND} are shown; give ADDRESS and LENGTH to look further on")
    data = [{**_whose(each)} for each in found]
    lines = lines or [f"nowhere in {sum(size for _, size in ranges):,} bytes"]
    return Report((*lines, *gaps.lines("not looked at")), {"found": data, "more": more, "missing": gaps.data})


class _Pattern(NamedTuple):
    regex: re.Pattern[bytes]
    length: int
    literal: bytes | None
    """Where it has no ?: what to look for, faster."""


def _pattern(context: Context, what: str, size: int) -> _Pattern:
    if what[0] in "\"'":
        literal = quoted(what)
    elif what.startswith("hex:"):
        digits = "".join(what[4:].split()).replace(".", "?").lower()
        if not re.fullmatch(r"([0-9a-f?]{2})+", digits):
            raise CommandError(f"{what}: write pairs of hexadecimal digits, ? for any, as in hex:13??0000")
        pairs = [digits[at : at + 2] for at in range(0, len(digits), 2)]
        if "?" in digits:
            regex = re.compile(b"(?=" + b"".join(map(_byte_class, pairs)) + b")", re.DOTALL)
            return _Pattern(regex, len(pairs), None)
        literal = bytes.fromhex(digits)
    else:
        literal = _value(context, what, size).to_bytes(size, "little")
    if not literal:
        raise CommandError("there is nothing to search for")
    return _Pattern(re.compile(b"(?=" + re.escape(literal) + b")", re.DOTALL), len(literal), literal)


def _byte_class(pair: str) -> bytes:
    """What matches a byte of which digits may be anything."""
    values = [byte for byte in range(256) if all(a in ("?", b) for a, b in zip(pair, f"{byte:02x}", strict=True))]
    return b"." if len(values) == 256 else b"[" + b"".join(b"\\x%02x" % byte for byte in values) + b"]"


def _everything(context: Context) -> list[tuple[Place, int]]:
    """All memory of the VM that is looked at, or of the machine."""
    machine, subject = context.session.machine, context.session.subject
    vm, _ = selected_vcpu(machine, subject)
    if vm is not None:
        return [(Place(machine, subject, "gpa", slot.gpa), slot.size) for slot in vm.slots]
    return [(Place(machine, subject, "pa", region.base), region.size) for region in machine.memory.regions]


def _hits(
    context: Context, place: Place, length: int, pattern: _Pattern, gaps: Gaps, step: int = 1
) -> Iterator[Place]:
    """Where a range holds a pattern, ascending, at multiples of `step` from its start. What is not memory holds
    nothing, and is added to `gaps`."""
    tail = b""
    for at, trail, chunk in _chunks(context, place, length, "searching"):
        if chunk is None:
            gaps.add(place, at, trail)
            tail = b""
            continue
        data = tail + chunk
        start = at - len(tail)
        for where in _found(pattern, data):
            if (start + where) % step == 0:
                yield place.at(start + where)
        tail = data[len(data) - pattern.length + 1 :] if pattern.length > 1 else b""


def _found(pattern: _Pattern, data: bytes) -> Iterator[int]:
    if pattern.literal is None:
        yield from (match.start() for match in pattern.regex.finditer(data))
        return
    where = data.find(pattern.literal)
    while where >= 0:
        yield where
        where = data.find(pattern.literal, where + 1)


@command(
    "compare",
    "compare two ranges of memory",
    PLACE,
    Argument("OTHER", "place", "the other address"),
    LENGTH,
    example="compare hello:gpa:0x80000000 ticker:gpa:0x80000000 4k",
    aliases=("cmp", "mcompare"),
)
def _compare(context: Context, address: str, other: str, length: str) -> Report:
    one, two = place_of(context, address), place_of(context, other)
    wanted = _length(context, length)
    places: list[int] = []
    different = compared = 0
    gaps = Gaps()
    for done, a, b in _beside(context, one, two, wanted, gaps):
        compared += len(a)
        for at in range(0, len(a), 4096) if a != b else ():
            x, y = a[at : at + 4096], b[at : at + 4096]
            if x == y:
                continue
            for index, (left, right) in enumerate(zip(x, y, strict=True)):
                if left != right:
                    different += 1
                    if len(places) < FOUND:
                        places.append(done + at + index)
    if not compared:
        gaps.refuse(gaps.size)
    lines = [
        f"{label(context, one.at(at), one.at(at).address)}: {one.at(at).read(1)[0]:#04x},  "
        f"{label(context, two.at(at), two.at(at).address)}: {two.at(at).read(1)[0]:#04x}"
        for at in places
    ]
    if different > len(places):
        lines.append(f"and {different - len(places):,} more")
    head = f"{different:,} of {compared:,} bytes differ" if different else f"{compared:,} bytes are the same"
    rows = [{"offset": at, "a": hex(one.at(at).address), "b": hex(two.at(at).address)} for at in places]
    return Report(
        (head, *lines, *gaps.lines("not compared")),
        {"length": compared, "different": different, "first": rows, "missing": gaps.data},
    )


def _beside(
    context: Context, one: Place, two: Place, length: int, gaps: Gaps
) -> Iterator[tuple[int, bytes, bytes]]:
    """What two ranges hold at the same offsets, where both are memory."""
    sides = [_chunks(context, each, length, "comparing") for each in (one, two)]
    held: list[tuple[int, Trail, bytes | None] | None] = [None, None]
    at = 0
    while at < length:
        for index, side in enumerate(sides):
            found = held[index]
            if found is None or at >= found[0] + _size_of(found):
                held[index] = next(side)
        a, b = held
        assert a is not None and b is not None
        end = min(each[0] + _size_of(each) for each in (a, b))
        for place, (_, trail, data) in ((one, a), (two, b)):
            if data is None:
                gaps.add(place, at, replace(trail, size=end - at))
                break
        else:
            left, right = a[2], b[2]
            assert left is not None and right is not None
            yield at, left[at - a[0] : end - a[0]], right[at - b[0] : end - b[0]]
        at = end


def _size_of(chunk: tuple[int, Trail, bytes | None]) -> int:
    return chunk[1].size if chunk[2] is None else len(chunk[2])


@command(
    "copy",
    "copy memory, also where the two ranges overlap",
    PLACE,
    Argument("TO", "place", "where to"),
    LENGTH,
    example="copy main gpa:0x80100000 256",
    aliases=("mcopy", "copy-memory"),
    changes=True,
)
def _copy(context: Context, address: str, to: str, length: str) -> str:
    source, target = place_of(context, address), place_of(context, to)
    wanted = _length(context, length)
    if wanted > COPIED:
        raise CommandError(f"length {length} = {wanted:,}: at most {COPIED >> 20} MiB are copied at once")
    pieces = _all(context, source, wanted, "reading"), _all(context, target, wanted, "looking", store=True)
    data = bytearray()  # all of it before the first byte is written: two spaces may lead to the same memory
    tell = progress(context, "reading")
    for memory, at, size in pieces[0]:
        for offset in range(0, size, CHUNK):
            tell(len(data), wanted)
            data += memory.read(at + offset, min(CHUNK, size - offset))
    done, tell = 0, progress(context, "copying")
    for memory, at, size in pieces[1]:
        for offset in range(0, size, CHUNK):
            tell(done, wanted)
            count = min(CHUNK, size - offset)
            memory.write(at + offset, memoryview(data)[done : done + count])
            done += count
    context.session.machine.device_wrote()
    return f"{wanted:,} bytes copied to {label(context, target, target.address)}"


@command(
    "hexdump",
    "bytes in hex and as text, 16 in a row",
    Argument("ADDRESS", "place", PLACE.help + "; goes on after the last look if not given", True),
    Argument("LENGTH", "expression", "how many bytes; 128 if not given", True),
    example="hexdump main 64\nhexdump gpa:0x0ffffff0 32",
    aliases=("hd", "xd"),
    again="hexdump",
)
def _hexdump(context: Context, address: str = "", length: str = "128") -> Report:
    if not address:
        if not context.continued:
            raise CommandError("hexdump needs an ADDRESS first: hexdump sp 64")
        address = context.continued.rsplit("/", 1)[0]
    place, wanted = place_of(context, address), length_of(context, length)
    if wanted > DUMPED:
        most = f"at most {DUMPED >> 10} KiB are shown at once; `dump` writes a file"
        raise CommandError(f"length {length} = {wanted:#x}: {most}")
    context.continued = f"{place.at(wanted).spelt()}/"
    rows = [
        {"address": hex(each.address), "size": each.size, "bytes": None if each.data is None else each.data.hex(),
         "why": each.trail.brief or None}
        for each in parts(place, wanted)
    ]  # fmt: skip
    return Report(tuple(dump_lines(place, wanted)), {**_whose(place), "length": wanted, "parts": rows})


_HOW = Argument(
    "HOW", "choice", "replace: write over a file that is there; holes: zeros where there is no memory", True,
    ("replace", "holes", "replace holes"),
)  # fmt: skip


@command(
    "dump",
    "write memory to a file; a new one, unless `replace` is said",
    FILE,
    PLACE,
    LENGTH,
    _HOW,
    example="dump code.bin main 256",
    aliases=("dump-memory",),
)
def _dump(context: Context, path: str, address: str, length: str, how: str = "") -> Report:
    words = how.split()
    if any(word not in ("replace", "holes") for word in words):
        raise CommandError(f"{how!r}: after LENGTH only `replace` and `holes` may stand")
    target = Path(path)
    if target.exists() and "replace" not in words:
        raise CommandError(f"{path} is there already: another name, or say `replace` at the end")
    if target.exists() and not target.is_file():
        raise CommandError(f"{path} is no plain file")
    place, wanted = place_of(context, address), _length(context, length)
    gaps = Gaps()
    if "holes" not in words:
        _all(context, place, wanted, f"writing {path}")
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as out:
            for at, trail, data in _chunks(context, place, wanted, f"writing {path}"):
                if data is None:
                    gaps.add(place, at, trail)
                else:
                    out.seek(at)  # over holes, which take no room
                    out.write(data)
            if gaps.size == wanted:
                gaps.refuse(wanted)
            out.truncate(wanted)
        beside.replace(target)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return Report(
        (f"{wanted:,} bytes from {label(context, place, place.address)} are in {path}", *gaps.lines("zeros in it")),
        {**_whose(place), "length": wanted, "file": path, "missing": gaps.data},
    )


@command(
    "load-memory",
    "put what a file holds into memory",
    FILE,
    PLACE,
    example="dump code.bin main 256\nload-memory code.bin gpa:0x80100000",
    changes=True,
    aliases=("loadmem",),
)
def _load_memory(context: Context, path: str, address: str) -> Report:
    place = place_of(context, address)
    if Path(path).exists() and not Path(path).is_file():
        raise CommandError(f"{path} is no plain file")
    try:
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            if not length:
                raise CommandError(f"{path} is empty")
            if length > RANGE:
                raise CommandError(f"{path} has {length:,} bytes: at most {RANGE >> 30:,} GiB at once")
            pieces = _all(context, place, length, f"loading {path}", store=True)
            tell, done = progress(context, f"loading {path}"), 0
            for memory, at, size in pieces:
                for offset in range(0, size, CHUNK):
                    tell(done, length)
                    data = file.read(min(CHUNK, size - offset))
                    memory.write(at + offset, data)
                    done += len(data)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from None
    context.session.machine.device_wrote()
    return Report((f"{done:,} bytes of {path} are at {label(context, place, place.address)}",),
                  {**_whose(place), "length": done, "file": path})  # fmt: skip


# --- the pane ---


@dataclass(frozen=True)
class Look:
    """What the pane of memory is asked to show: an expression and the space of its value."""

    text: str
    space: str = ""
    """"": as the text says, else virtual."""
    follow: bool = False
    """Stay at the expression as its value changes."""
    cursor: int | None = None
    """Where to stand, if not at the address itself."""
    sought: str = ""
    """What was searched for, and is found here."""


@runtime_checkable
class MemoryScreen(Protocol):
    """A screen that has the pane of memory."""

    def memory(self, look: Look) -> None: ...


@command(
    "memory",
    "look at memory at ADDRESS; `follow`: stay at it as its value changes",
    PLACE,
    Argument("SPACE", "choice", "va, gpa or pa; and follow", True, (*SPACES, "follow")),
    example="memory gpa:0x80000000\nmemory sp follow",
    aliases=("mem",),
)
def _memory(context: Context, address: str, how: str = "") -> Answer:
    words = how.lower().split()
    spaces = [word for word in words if word in SPACES]
    if len(spaces) > 1 or len(words) != len(spaces) + words.count("follow"):
        raise CommandError(f"{how!r}: after ADDRESS may stand {', '.join(SPACES)}, and follow")
    space = spaces[0] if spaces else "va"
    place = place_of(context, address, space)
    look = Look(address, space, "follow" in words)
    if isinstance(context.screen, MemoryScreen):
        context.screen.memory(look)
        return None
    return _shown_as_text(context, place)


def _shown_as_text(context: Context, place: Place) -> Report:
    trail = place.trail()
    steps = way(place.space, place.address, trail)
    bits = [f"{name} {text}" for name, text in rights(trail.walk)]
    head = " -> ".join(f"{space} 0x{digits}" for space, digits in steps)
    lines = [", ".join([head, *bits, *filter(None, (trail.brief, trail.note))]), *dump_lines(place, 128)]
    data = {
        **_whose(place), "way": {space: f"0x{digits}" for space, digits in steps}, "rights": dict(rights(trail.walk)),
        "device": trail.device or None, "why": trail.why or None, "note": trail.note or None,
    }  # fmt: skip
    return Report(tuple(lines), data)


@command(
    "memfind",
    "go to the next place from ADDRESS on that holds a text, bytes or a number",
    SIZE,
    PLACE,
    Argument("WHAT", "expression", '"text", hex:1300??0? with ? for any digit, or a number of SIZE (w if not given)'),
    example="memfind/h main 0x8082",
)
def _memfind(context: Context, form: str, address: str, what: str) -> Answer:
    place = place_of(context, address)
    pattern = _pattern(context, what, size_of(form, 4))
    gaps = Gaps()
    length = min(RANGE, (1 << 64) - place.address)
    hit = next(_hits(context, place, length, pattern, gaps), None)
    if hit is None:
        raise CommandError(f"{what} is nowhere in {length:,} bytes from {place.spelt()} on")
    if isinstance(context.screen, MemoryScreen):
        context.screen.memory(Look(hit.spelt(), cursor=hit.address, sought=what))
        return None
    return _shown_as_text(context, hit)
