"""Source lines, and who called whom."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from emulator.dwarf import Line, Scope, Variables
from emulator.errors import EmulatorError
from emulator.isa import ABI_NAMES
from emulator.loader import Symbols
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import count_of, level_of, moment_of, number_of, symbol_names, value_of
from rvtui.frames import DEEPEST, Level, backtrace, variables_of
from rvtui.sources import SourceError, Text, called
from rvtui.stops import marks
from rvtui.subjects import hart_of, names_of, symbols_of
from rvtui.text import clean

ROWS = 10
MOST_LINES = 2000
LOCATION = Argument("LOCATION", "location", "main.c:12, a function, FUNCTION:LINE, an address or expression", True)


def _symbols(context: Context) -> Symbols:
    return names_of(context.session.machine, context.session.subject)


def _pc(context: Context) -> int:
    """Of the frame that is looked at; of an outer one, of its call."""
    level = level_of(context.session)
    if level is None:
        return int(hart_of(context.session.machine, context.session.subject).pc)
    return level.spot


def _line_at(context: Context, address: int) -> Line:
    line = _symbols(context).line(address)
    if line is None:
        troubles = _symbols(context).sources.troubles
        why = f": {troubles[0]}" if troubles else ""
        if not _symbols(context).sources:
            why = ": nothing here has debugging information; build with -g, or give it by `symbol-file`"
        raise CommandError(f"{address:#x}{called(_symbols(context), address)} has no source line{why}")
    return line


def _spot(context: Context, text: str) -> tuple[str, int]:
    """(path, line) of what `list` is given. CommandError or LocationError."""
    sources = _symbols(context).sources
    head, colon, number = text.rpartition(":")
    if text.isdecimal():
        file = context.source[0] if context.source else _line_at(context, _pc(context)).file
        return file, int(text)
    if colon and number.isdecimal() and _symbols(context).find(head) is None:
        return sources.file(head.strip("\"'")), int(number)
    line = _line_at(context, value_of(context, text))
    return line.file, int(number) if colon and number.isdecimal() else line.line


@command(
    "list",
    "source lines: around pc or LOCATION, the next ten, or with - those before",
    Argument("LOCATION", "location", "main.c:12, main.c:5,20, a function, a line, an expression, or -", True),
    example="list main\nlist",
    aliases=("l",),
)
def _list(context: Context, location: str = "") -> Report:
    session = context.session
    location = location.strip()
    first: int
    if location in ("", "-") and context.source is not None and context.source[3] == moment_of(session):
        path, low, high, _ = context.source
        first, last = (high + 1, high + ROWS) if not location else (low - ROWS, low - 1)
        if last < 1:
            raise CommandError(f"this is the beginning of {posixpath.basename(path)}")
        first = max(1, first)
    else:
        span = re.fullmatch(r"(.*?)(\d+)\s*,\s*(\d+)", location)
        if span:
            path, first = _spot(context, f"{span[1]}{span[2]}")
            last = int(span[3])
            if not first <= last < first + MOST_LINES:
                raise CommandError(f"lines {first} to {last}: the last stands behind the first, by less than 2,000")
        else:
            if location in ("", "-"):
                line = _line_at(context, _pc(context))
                path, middle = line.file, line.line
            else:
                path, middle = _spot(context, location)
            first = max(1, middle - ROWS // 2 + 1)
            last = first + ROWS - 1
    text = session.files.find(path)
    if first > len(text.lines):
        raise CommandError(f"{posixpath.basename(path)} has {len(text.lines)} lines")
    last = min(last, len(text.lines))
    context.source = (path, first, last, moment_of(session))
    rows = _rows(context, path, text, first, last)
    return Report(tuple(text for text, _ in rows), {
        "file": path, "found": text.path, "lines": [data for _, data in rows],
    })  # fmt: skip


def _rows(context: Context, path: str, text: Text, first: int, last: int) -> list[tuple[str, dict[str, Any]]]:
    machine, subject = context.session.machine, context.session.subject
    symbols = symbols_of(machine, subject)
    here = symbols.sources.line(_pc(context)) if symbols.sources else None
    stops = {line.line for at in marks(machine, subject) if (line := symbols.line(at)) and line.file == path}
    rows = []
    for number in range(first, last + 1):
        at = here is not None and here.file == path and here.line == number
        sign = "*" if number in stops else " "
        rows.append((
            f"{sign}{'=>' if at else '  '} {number:>5}  {text.line(number)}".rstrip(),
            {"line": number, "text": text.line(number), "pc": at, "breakpoint": number in stops},
        ))  # fmt: skip
    return rows


def source_text(context: Context) -> list[str]:
    """The source line of pc, if it begins there and is found; for who shows the instruction as well."""
    machine, subject = context.session.machine, context.session.subject
    pc = int(hart_of(machine, subject).pc)
    line = symbols_of(machine, subject).line(pc)
    text = _text_of(context, line) if line is not None and line.start == pc else ""
    return [f"    {clean(line.name)}  {text}"] if line is not None and text else []


def _scopes(chain: list[Scope] | tuple[Scope, ...]) -> str:
    """"leaf > twice (inlined at a.c:15)"."""
    return " > ".join(
        clean(each.name) + (f" (inlined at {each.call})" if each.inlined and each.call else "") for each in chain
    )


@command("info-line", "where a source line's code is, or which line an address belongs to", LOCATION,
         example="info line main", aliases=("info line",))  # fmt: skip
def _info_line(context: Context, location: str = "") -> Report:
    symbols = _symbols(context)
    if ":" in location and re.search(r":\d+(@\d+)?$", location.strip()):
        addresses = symbols.locate(location.strip())
    else:
        addresses = [value_of(context, location) if location else _pc(context)]
    lines, data = [], []
    for address in addresses:
        line = _line_at(context, address)
        chain = symbols.sources.chain(address)
        column = f", column {line.column}" if line.column else ""
        lines.append(
            f"line {line.line} of {line.file}{column}: {line.start:#x}{_name(symbols, line.start)} to {line.end:#x}"
            + (f", in {_scopes(chain)}" if chain else "")
        )
        data.append({
            "file": line.file, "line": line.line, "column": line.column, "start": hex(line.start),
            "end": hex(line.end), "functions": [each._asdict() | {"start": hex(each.start)} for each in chain],
        })  # fmt: skip
    return Report(tuple(lines), {"lines": data})


def _name(symbols: Symbols, address: int) -> str:
    name = symbols.lookup(address)
    return f" <{clean(name)}>" if name else ""


@command("info-sources", "the source files that the program was made of", aliases=("info sources",))
def _info_sources(context: Context) -> Report:
    sources = _symbols(context).sources
    if not sources:
        raise CommandError("nothing here has debugging information: build with -g, or give it by `symbol-file`")
    names = sources.files()
    lines = [clean(name, 200) for name in names[:MOST_LINES]] + [f"damaged: {each}" for each in sources.troubles]
    if len(names) > MOST_LINES:
        lines.append(f"and {len(names) - MOST_LINES:,} more")
    return Report(tuple(lines) or ("no names",), {"files": names, "troubles": sources.troubles})


@command(
    "directory",
    "look for sources in FOLDER first; FROM=TO: where what was compiled in FROM is now; without, lists them",
    Argument("FOLDER", "path", "a folder, or FROM=TO", True),
    example="directory",
    aliases=("dir", "source-path"),
)
def _directory(context: Context, folder: str = "") -> str:
    files = context.session.files
    if folder:
        files.add(folder)
    if not files.folders:
        return "sources are looked for where the compiler found them, and here"
    return f"sources are looked for in {', '.join(clean(each, 80) for each in files.folders)}, then where they were"


@command(
    "sstep", "to another source line, into functions that have lines",
    Argument("COUNT", "count", "how many lines", True),
    example="until main\nsstep", changes=True, aliases=("ss",), again="", gdb="step",
)  # fmt: skip
def _sstep(context: Context, count: str = "1") -> None:
    context.session.step_line(into=True, count=count_of(count)).result()


@command(
    "snext", "to the next source line of this function, calls as one",
    Argument("COUNT", "count", "how many lines", True),
    example="until main\nsnext", changes=True, aliases=("sn",), again="", gdb="next",
)  # fmt: skip
def _snext(context: Context, count: str = "1") -> None:
    context.session.step_line(into=False, count=count_of(count)).result()


@command(
    "view",
    "show a source file in its pane: around LOCATION, or pc",
    LOCATION,
    example="view main",
)
def _view(context: Context, location: str = "") -> Report | None:
    if "source" not in context.panes:
        return _list(context, location)
    show: Any = getattr(context.screen, "source", None)
    path, line = _spot(context, location.strip()) if location.strip() else ("", 1)
    if show is not None:
        show(path, line)
    return None


# --- frames ---


def _levels(context: Context, most: int = DEEPEST) -> tuple[list[Level], str]:
    session = context.session
    face = hart_of(session.machine, session.subject)
    return backtrace(face, symbols_of(session.machine, session.subject), most)


def _told(context: Context, level: Level) -> str:
    symbols = symbols_of(context.session.machine, context.session.subject)
    name = symbols.lookup(level.pc)
    function = _scopes(level.scopes) or (clean(name) if name else "?")
    where = f" at {clean(level.line.name)}" if level.line else ""
    offset = f" <{clean(name)}>" if name and level.scopes else ""
    how = f"  ({level.how})" if level.number else ""
    return f"#{level.number:<2} {level.pc:#x}{offset} in {function}{where}{how}"


def _data(level: Level) -> dict[str, Any]:
    return {
        "frame": level.number, "pc": hex(level.pc), "how": level.how, "functions": [each.name for each in level.scopes],
        "file": level.line.file if level.line else None, "line": level.line.line if level.line else None,
        "cfa": None if level.cfa is None else hex(level.cfa),
    }  # fmt: skip


@command(
    "backtrace",
    "who called the function at pc, and how that is known",
    Argument("COUNT", "count", f"at most so many frames; {DEEPEST} if not given", True),
    example="until main\nbacktrace",
    aliases=("bt", "where", "info stack"),
)
def _backtrace(context: Context, count: str = str(DEEPEST)) -> Report:
    levels, why = _levels(context, number_of(count, 10_000))
    chosen = level_of(context.session)
    number = chosen.number if chosen else 0
    lines = [f"{'=>' if each.number == number and number else '  '}{_told(context, each)}" for each in levels]
    return Report((*lines, f"    {why}"), {"frames": [_data(each) for each in levels], "end": why})


def _choose(context: Context, number: int) -> Report:
    levels, why = _levels(context, number + 1)
    if number >= len(levels):
        raise CommandError(f"there is no frame {number}: the outermost is {len(levels) - 1}; {why}")
    level = levels[number]
    context.session.level = (moment_of(context.session), number) if number else None
    lines = [_told(context, level)]
    if level.line is not None and (text := _text_of(context, level.line)):
        lines.append(f"{level.line.line:>5}  {text}")
    return Report(tuple(lines), _data(level))


def _text_of(context: Context, line: Line) -> str:
    try:
        return context.session.files.find(line.file).line(line.line).strip()
    except SourceError:
        return ""


@command(
    "frame",
    "look at frame NUMBER of the backtrace: registers, list and print are of it until something runs",
    Argument("NUMBER", "count", "0 is the innermost; without, the one that is looked at", True),
    example="frame 0",
    aliases=("f",),
)
def _frame(context: Context, number: str = "") -> Report:
    if not number:
        level = level_of(context.session)
        return _choose(context, level.number if level else 0)
    if not number.isdecimal() or len(number) > 4:
        raise CommandError(f"{number!r}: a frame has a number from 0")
    return _choose(context, int(number))


def _by(context: Context, by: int) -> Report:
    level = level_of(context.session)
    number = (level.number if level else 0) + by
    if number < 0:
        raise CommandError("this is frame 0, the innermost")
    return _choose(context, number)


@command("up", "look at the caller's frame", Argument("COUNT", "count", "how many frames", True),
         example="tbreak print\nrun\nup")  # fmt: skip
def _up(context: Context, count: str = "1") -> Report:
    return _by(context, number_of(count, DEEPEST))


@command("down", "look at the frame that it called", Argument("COUNT", "count", "how many frames", True),
         example="tbreak print\nrun\nup\ndown")  # fmt: skip
def _down(context: Context, count: str = "1") -> Report:
    return _by(context, -number_of(count, DEEPEST))


@command("info-frame", "the frame that is looked at: its registers as far as they are known", aliases=("info frame",))
def _info_frame(context: Context) -> Report:
    level = level_of(context.session) or _levels(context, 1)[0][0]
    lines = [_told(context, level)]
    if level.cfa is not None:
        lines.append(f"    sp is {level.cfa:#x} in its caller")
    known = [f"{ABI_NAMES[number]}={value:#x}" for number, value in sorted(level.registers.items()) if number]
    lines += ["    " + "  ".join(known[at : at + 4]) for at in range(0, len(known), 4)]
    registers = {ABI_NAMES[number]: hex(value) for number, value in sorted(level.registers.items()) if number}
    return Report(tuple(lines), _data(level) | {"registers": registers})


# --- variables ---


def _variables(context: Context) -> Variables:
    machine, subject = context.session.machine, context.session.subject
    face, symbols = hart_of(machine, subject), symbols_of(machine, subject)
    return variables_of(face, symbols, level_of(context.session) or _levels(context, 1)[0][0])


def _locals(context: Context, parameters: bool) -> Report:
    every = _variables(context)
    lines, data, names = [], [], set()
    for variable in every.visible():
        if variable.parameter != parameters:
            continue
        try:
            value, trouble = every.value(variable), ""
            text = every.show(value)
        except EmulatorError as error:
            text, trouble = "", str(error)
        hidden = " (hidden)" if variable.name in names else ""
        names.add(variable.name)
        kind = every.name(every.type_of(variable.unit, variable.entry))
        lines.append(clean(f"{variable.name} = {text or f'<{trouble}>'}{hidden}", 400) + f"  [{clean(kind)}]")
        data.append({"name": variable.name, "type": kind, "value": text or None, "trouble": trouble or None})
    none = "no parameters" if parameters else "no local variables"
    return Report(tuple(lines) or (f"{none} here",), {"variables": data})


@command("info-locals", "the local variables of the frame that is looked at, and their values",
         example="until main\ninfo locals", aliases=("info locals", "locals"))  # fmt: skip
def _info_locals(context: Context) -> Report:
    return _locals(context, False)


@command("info-args", "the parameters of the function, and their values",
         example="until main\ninfo args", aliases=("info args",))  # fmt: skip
def _info_args(context: Context) -> Report:
    return _locals(context, True)


_PART = re.compile(r"\s*(?:(->|\.)\s*([A-Za-z_]\w*)|\[([^\[\]]+)\])")


@command(
    "value",
    "a variable of the program by its type: local ones of the frame, and those of its source file",
    Argument("VARIABLE", "variable", "count, p->next->name, table[2], *p, &here"),
    example="until main\nvalue hart",
    aliases=("whatis", "ptype"),
)
def _value(context: Context, text: str) -> Report:
    every = _variables(context)
    match = re.match(r"\s*([*&]*)\s*([A-Za-z_]\w*)", text)
    if match is None:
        raise CommandError(f"{text!r}: a variable is written as in C: count, p->next, table[2], *p")
    variable = every.named(match[2])
    if variable is None:
        names = ", ".join(dict.fromkeys(each.name for each in every.visible())) or "none"
        raise CommandError(f"no variable {match[2]!r} here: there is {clean(names, 300)}")
    value, at = every.value(variable), match.end()
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise CommandError(f"cannot read {text[at:]!r}: parts are .NAME, ->NAME and [INDEX]")
        value = every.member(value, part[2]) if part[2] else every.element(value, _index(context, part[3]))
        at = part.end()
    for sign in reversed(match[1]):
        if sign == "&":
            if value.address is None:
                raise CommandError(f"{text}: it is in a register, and has no address")
            return Report((f"&{text.strip(' &')} = {value.address:#x}  [{every.name(value.type)} *]",), {
                "name": text, "address": hex(value.address), "type": every.name(value.type),
            })  # fmt: skip
        value = every.through(value)
    kind = every.name(value.type)
    where = f" at {value.address:#x}" if value.address is not None else ""
    return Report((clean(f"{text.strip()} = {every.show(value)}", 2000) + f"  [{clean(kind)}{where}]",), {
        "name": text, "value": every.show(value), "type": kind,
        "address": None if value.address is None else hex(value.address),
    })  # fmt: skip


def _index(context: Context, text: str) -> int:
    found = value_of(context, text)
    return found - (1 << 64) if found >> 63 else found


@kind("variable")
def _variable_names(context: Context, stem: str) -> Iterator[Candidate]:
    if context.session.running:
        return
    try:
        every = _variables(context)
        for variable in every.visible():
            yield Candidate(variable.name, every.name(every.type_of(variable.unit, variable.entry)))
    except EmulatorError:
        return


# --- completion ---


@kind("location")
def _locations(context: Context, stem: str) -> Iterator[Candidate]:
    for path in _symbols(context).sources.files() if _symbols(context).sources else ():
        name = posixpath.basename(path)
        if name.startswith(stem):
            yield Candidate(f"{name}:", clean(path, 100))
    yield from symbol_names(context, stem)

