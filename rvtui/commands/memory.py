"""Memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulator.errors import TranslationError
from rvtui.commands.formats import MOST, Format, escaped, parse_format, shown, unescaped
from rvtui.commands.registry import Argument, CommandError, Context, Report, command
from rvtui.commands.values import FILE, LENGTH, PLACE, label, length_of, place_of, progress, size_of, value_of
from rvtui.spaces import Piece, Place
from rvtui.subjects import selected_vcpu, symbols_of

CHUNK = 1 << 20
"""Bytes that a long command moves before it looks up."""
FOUND = 100
"""Places that search and compare list."""
RANGE = 1 << 40
"""Bytes that a command goes through at most."""
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
    if wanted.letter == "i":
        lines, items, end = _instructions(context, place, wanted.items)
    elif wanted.letter == "s":
        lines, items, end = _texts(context, place, wanted.items)
    else:
        data = place.read(wanted.items * wanted.size)
        values = [
            int.from_bytes(data[at : at + wanted.size], "little") for at in range(0, len(data), wanted.size)
        ]
        hexadecimal = wanted._replace(letter="z") if wanted.letter == "x" else wanted
        items = [shown(wanted.letter, value, wanted.size, names.lookup) for value in values]
        texts = [shown(hexadecimal.letter, value, wanted.size, names.lookup) for value in values]
        lines = _columns(context, place, wanted, texts)
        end = len(data)
    context.continued = f"{place.at(end).spelt()}/{form}"
    return Report(tuple(lines), {**_whose(place), "size": wanted.size, "format": wanted.letter, "items": items})


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
    return f"{len(data)} bytes written at {label(context, place, place.address)}"


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
    """Every piece of a range, neighbours as one; TranslationError where one is missing, before anything is done."""
    pieces: list[Piece] = []
    tell, done = progress(context, what), 0
    for piece in place.pieces(length, store):
        tell(done, length)
        done += piece.size
        last = pieces[-1] if pieces else None
        if last is not None and last.memory is piece.memory and last.address + last.size == piece.address:
            pieces[-1] = last._replace(size=last.size + piece.size)
        else:
            pieces.append(piece)
    return pieces


def _chunks(context: Context, place: Place, length: int, what: str) -> Iterator[bytes]:
    """What a range holds, in pieces small enough to look up in between."""
    tell, done = progress(context, what), 0
    for memory, address, size in place.pieces(length):
        for at in range(0, size, CHUNK):
            tell(done, length)
            data = memory.read(address + at, min(CHUNK, size - at))
            yield data
            done += len(data)


@command(
    "search",
    "find a text, bytes or a number in memory",
    SIZE,
    Argument("WHAT", "expression", '"text", bytes as hex:13000000, or a number of SIZE (w if not given)'),
    Argument("ADDRESS", "place", "where to begin; all memory of what is looked at if not given", True),
    Argument("LENGTH", "expression", "bytes to look at", True),
    example='search "hello"\nsearch/w 0x00008067 main 4k',
    aliases=("find",),
)
def _search(context: Context, form: str, what: str, address: str = "", length: str = "") -> Report:
    pattern = _pattern(context, what, size_of(form, 4))
    if address:
        place = place_of(context, address)
        if not length:
            raise CommandError("search needs LENGTH after ADDRESS: how many bytes to look at")
        ranges = [(place, _length(context, length))]
    else:
        ranges = _everything(context)
    found: list[Place] = []
    more = False
    for place, size in ranges:
        for hit in _hits(context, place, size, pattern):
            if len(found) == FOUND:
                more = True
                break
            found.append(hit)
    lines = [label(context, each, each.address) for each in found]
    if more:
        lines.append(f"and more: the first {FOUND} are shown; give ADDRESS and LENGTH to look further on")
    data = [{**_whose(each)} for each in found]
    return Report(tuple(lines) or (f"nowhere in {sum(size for _, size in ranges):,} bytes",),
                  {"found": data, "more": more})  # fmt: skip


def _pattern(context: Context, what: str, size: int) -> bytes:
    if what[0] in "\"'":
        pattern = quoted(what)
    elif what.startswith("hex:"):
        try:
            pattern = bytes.fromhex(what[4:])
        except ValueError:
            raise CommandError(f"{what}: write pairs of hexadecimal digits, as in hex:13000000") from None
    else:
        pattern = _value(context, what, size).to_bytes(size, "little")
    if not pattern:
        raise CommandError("there is nothing to search for")
    return pattern


def _everything(context: Context) -> list[tuple[Place, int]]:
    """All memory of the VM that is looked at, or of the machine."""
    machine, subject = context.session.machine, context.session.subject
    vm, _ = selected_vcpu(machine, subject)
    if vm is not None:
        return [(Place(machine, subject, "gpa", slot.gpa), slot.size) for slot in vm.slots]
    return [(Place(machine, subject, "pa", region.base), region.size) for region in machine.memory.regions]


def _hits(context: Context, place: Place, length: int, pattern: bytes) -> Iterator[Place]:
    """Where a range holds a pattern, ascending. What is not memory holds nothing."""
    tell = progress(context, "searching")
    tail, at = b"", 0
    while at < length:
        tell(at, length)
        try:
            memory, address, size = place.at(at).piece()
        except TranslationError:
            at, tail = at + 4096 - (place.address + at) % 4096, b""
            continue
        size = min(size, length - at, CHUNK)
        data = tail + memory.read(address, size)
        start = at - len(tail)
        where = data.find(pattern)
        while where >= 0:
            yield place.at(start + where)
            where = data.find(pattern, where + 1)
        tail = data[len(data) - len(pattern) + 1 :] if len(pattern) > 1 else b""
        at += size


@command(
    "compare",
    "compare two ranges of memory",
    PLACE,
    Argument("OTHER", "place", "the other address"),
    LENGTH,
    example="compare hello:gpa:0x80000000 ticker:gpa:0x80000000 4k",
    aliases=("cmp",),
)
def _compare(context: Context, address: str, other: str, length: str) -> Report:
    one, two = place_of(context, address), place_of(context, other)
    wanted = _length(context, length)
    places: list[int] = []
    different = done = 0
    for a, b in zip(
        _even(_chunks(context, one, wanted, "comparing")), _even(_chunks(context, two, wanted, "comparing")),
        strict=True,
    ):  # fmt: skip
        if a != b:
            for at, (x, y) in enumerate(zip(a, b, strict=True)):
                if x != y:
                    different += 1
                    if len(places) < FOUND:
                        places.append(done + at)
        done += len(a)
    lines = [
        f"{label(context, one.at(at), one.at(at).address)}: {one.at(at).read(1)[0]:#04x},  "
        f"{label(context, two.at(at), two.at(at).address)}: {two.at(at).read(1)[0]:#04x}"
        for at in places
    ]
    if different > len(places):
        lines.append(f"and {different - len(places):,} more")
    head = f"{different:,} of {wanted:,} bytes differ" if different else f"{wanted:,} bytes are the same"
    rows = [{"offset": at, "a": hex(one.at(at).address), "b": hex(two.at(at).address)} for at in places]
    return Report((head, *lines), {"length": wanted, "different": different, "first": rows})


def _even(chunks: Iterator[bytes], size: int = 4096) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one as it comes."""
    held = b""
    for data in chunks:
        held += data
        cut = len(held) // size * size
        yield from (held[at : at + size] for at in range(0, cut, size))
        held = held[cut:]
    if held:
        yield held


_REPLACE = Argument("replace", "choice", "write over a file that is there", True, ("replace",))


@command(
    "dump",
    "write memory to a file; a new one, unless `replace` is said",
    FILE,
    PLACE,
    LENGTH,
    _REPLACE,
    example="dump code.bin main 256",
    aliases=("dump-memory",),
)
def _dump(context: Context, path: str, address: str, length: str, replace: str = "") -> Report:
    if replace not in ("", "replace"):
        raise CommandError(f"{replace!r}: after LENGTH only `replace` may stand")
    target = Path(path)
    if target.exists() and not replace:
        raise CommandError(f"{path} is there already: another name, or say `replace` at the end")
    if target.exists() and not target.is_file():
        raise CommandError(f"{path} is no plain file")
    place, wanted = place_of(context, address), _length(context, length)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as out:
            for data in _chunks(context, place, wanted, f"writing {path}"):
                out.write(data)
        beside.replace(target)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return Report((f"{wanted:,} bytes from {label(context, place, place.address)} are in {path}",),
                  {**_whose(place), "length": wanted, "file": path})  # fmt: skip


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
