"""Breakpoints, watches, and what else the machine stops for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from emulator.isa import ABI_NAMES, csrs
from emulator.loader import Symbols
from emulator.stops import Stop
from rvtui import stops
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import count_of, value_of, where
from rvtui.panes.vms import Overview
from rvtui.subjects import names_of

MOST_OFFERED = 200
MOST_PLACES = 32
"""Breakpoints that one line sets."""

_PLACE = Argument("ADDRESS [in WORLD] [if CONDITION]", "stop place", "where; modes, a VM, VMID N; an expression")
_RANGE = Argument(
    "ADDRESS[, LENGTH] [...]", "stop place",
    "virtual, gpa: or pa:; then: changed, equals VALUE, in WORLD, if CONDITION",
)  # fmt: skip
_NUMBERS = Argument("NUMBER...", "stop number", "as `stops` lists them; without, all", True)
_NUMBER = Argument("NUMBER", "stop number", "as `stops` lists them")


def _set(context: Context, line: str, *, temporary: bool = False) -> str:
    stop = context.session.book.set(context.session.subject, line, temporary=temporary)
    row = stops.row_of(context.session.machine, stop)
    condition = f" if {row.condition}" if row.condition else ""
    what = "breakpoint at" if row.kind == "break" else row.kind
    remark = row.remark.removeprefix("never hit").removeprefix(", ")
    return f"stop {stop.number}: {what} {row.where}{condition}" + (f": {remark}" if remark else "")


@command(
    "break", "stop before the instruction at ADDRESS", _PLACE, example="break main in VS if a0 == 3",
    aliases=("b", "hbreak"),
)  # fmt: skip
def _break(context: Context, place: str) -> str:
    return "\n".join(_set(context, f"break {each}") for each in _every(context, place))


@command("tbreak", "the same, once", _PLACE, example="tbreak main", aliases=("tb", "thbreak"))
def _tbreak(context: Context, place: str) -> str:
    return "\n".join(_set(context, f"break {each}", temporary=True) for each in _every(context, place))


def _every(context: Context, place: str) -> list[str]:
    """A source line may begin at several places: in each function that it was inlined in."""
    match = re.match(r"\s*((?:\"[^\"]*\"|'[^']*'|[^\s\"']+):\d+)(?=\s|$)", place)
    if match is None:
        return [place]
    machine = context.session.machine
    line, _ = stops.split_condition(f"break {place}")
    home = stops.parse(machine, context.session.subject, line).home
    found = names_of(machine, stops.subject_of(machine, home)).locate(match[1])
    if len(found) > MOST_PLACES:
        raise CommandError(f"{match[1]} begins at {len(found)} places: say which, as in {match[1]}@1")
    return [place] if len(found) == 1 else [
        f"{match[1]}@{number}{place[match.end() :]}" for number in range(1, len(found) + 1)
    ]


@command("watch", "stop behind instructions that write to memory", _RANGE, example="watch sp, 8 changed")
def _watch(context: Context, place: str) -> str:
    return _set(context, f"watch {place}")


@command("rwatch", "stop behind instructions that read memory", _RANGE, example="rwatch gpa:0x80001000, 4")
def _rwatch(context: Context, place: str) -> str:
    return _set(context, f"rwatch {place}")


@command("awatch", "stop behind instructions that read or write memory", _RANGE, example="awatch sp for 16")
def _awatch(context: Context, place: str) -> str:
    return _set(context, f"awatch {place}")


@command(
    "catch",
    "stop at traps, exits, CSR accesses, changes of mode, console output",
    Argument(
        "EVENT", "stop event",
        "trap or exit [CAUSE, ...] [from MODES] [to MODES]; csr NAME [read|write|access] [changed]; mode MODE, enter,"
        " leave or switch [from MODES]; console TEXT; then: in WORLD, if CONDITION",
    ),
    example="catch trap page-fault from VU in any if $tval < 4096",
)  # fmt: skip
def _catch(context: Context, event: str) -> str:
    name, _, rest = event.partition(" ")
    matches = [known for known in stops.EVENTS if known.startswith(name.lower())]
    if len(matches) != 1:
        raise CommandError(f"{name!r} cannot be caught: one of {', '.join(stops.EVENTS)}")
    return _set(context, f"{matches[0]} {rest}".strip())


def _chosen(context: Context, text: str) -> list[Stop]:
    book = context.session.book
    words = text.replace(",", " ").split()
    if not words:
        return book.stops
    return [book.find(_whole(word)) for word in words]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise CommandError(f"{text!r}: a stop has a number, as `stops` lists it")
    return int(text)


def _said(chosen: list[Stop], what: str) -> str:
    if not chosen:
        return "no stops"
    return f"stop{'s' * (len(chosen) != 1)} {', '.join(str(stop.number) for stop in chosen)} {what}"


@command(
    "condition", "stop only if EXPRESSION is not 0; without one, always", _NUMBER,
    Argument("EXPRESSION", "expression", "as in `print`; also $old, $new, $cause, $tval, $address, $hits", True),
    example="break main\ncondition 1 a0 == 3 && $hits < 10",
)  # fmt: skip
def _condition(context: Context, number: str, expression: str = "") -> str:
    stop = context.session.book.find(_whole(number))
    context.session.book.set_condition(stop, expression.strip().removeprefix("if "))
    return _said([stop], f"if {expression}" if expression else "always")


@command(
    "ignore", "pass a stop the next COUNT times", _NUMBER, Argument("COUNT", "count", "how often; 0: not any more"),
    example="break main\nignore 1 100",
)  # fmt: skip
def _ignore(context: Context, number: str, count: str) -> str:
    stop = context.session.book.find(_whole(number))
    stop.ignore = 0 if count.strip() == "0" else count_of(count)
    context.session.book.changed()
    return _said([stop], f"passes the next {stop.ignore:,}" if stop.ignore else "counts at once")


@command("enable", "have stops act again", _NUMBERS, example="break main\nenable 1")
def _enable(context: Context, numbers: str = "") -> str:
    chosen = _chosen(context, numbers)
    for stop in chosen:
        context.session.book.enable(stop, True)
    return _said(chosen, "enabled")


@command("disable", "keep stops, but do not act on them", _NUMBERS, example="break main\ndisable 1")
def _disable(context: Context, numbers: str = "") -> str:
    chosen = _chosen(context, numbers)
    for stop in chosen:
        context.session.book.enable(stop, False)
    return _said(chosen, "disabled")


@command(
    "delete",
    "remove stops by number, or the breakpoints at an address; without either, all",
    Argument("NUMBER... or ADDRESS", "stop number", "as `stops` lists them", True),
    example="break main\ndelete 1",
    aliases=("d", "clear"),
)
def _delete(context: Context, which: str = "") -> str:
    book, machine = context.session.book, context.session.machine
    if which and not all(word.isdecimal() for word in which.replace(",", " ").split()):
        value = value_of(context, which)
        chosen = stops.breaks(machine, context.session.subject).get(value, [])
        if not context.session.drop_breakpoint(value) and not chosen:
            gdbs = ", but GDB's" * context.session.is_debuggers(value)
            raise CommandError(f"no breakpoint at {value:#x}{gdbs}")
        for stop in chosen:
            book.remove(stop)
        return f"breakpoint at {value:#x} removed"
    chosen = _chosen(context, which)
    for stop in chosen:
        book.remove(stop)
    if not which:
        for address in machine.breakpoints:
            context.session.drop_breakpoint(address)
    return _said(chosen, "removed")


@command("stops", "list the breakpoints, watches and other stops", aliases=("breakpoints", "info breakpoints"))
def _stops(context: Context) -> Report:
    machine = context.session.machine
    rows = stops.rows(machine)
    plain = [(where(context, each), "GDB's" if context.session.is_debuggers(each) else "kept in the machine itself")
             for each in machine.breakpoints]  # fmt: skip
    count = len(rows) + len(plain)
    lines = [row.text for row in rows] + [f"  - ● break    {text}: {whose}" for text, whose in plain]
    head = "no breakpoints, watches or other stops" if not count else f"{count} stop{'s' * (count != 1)}"
    data = [row.data for row in rows] + [{"kind": "break", "where": text} for text, _ in plain]
    return Report((head, *lines), data)


@command(
    "finish", "run until the function at pc returns", changes=True, gdb="finish",
    example="tbreak print\nrun\nfinish", aliases=("fin",),
)  # fmt: skip
def _finish(context: Context) -> str:
    return context.session.finish().result()


# --- completion ---


@lru_cache(maxsize=8)
def _sorted(symbols: Symbols) -> list[str]:
    return symbols.names


def _symbols(context: Context, stem: str) -> Iterator[str]:
    """Names are asked for while the machine may be running: those of a program do not change."""
    found = 0
    for name in _sorted(names_of(context.session.machine, context.session.subject)) if stem else ():
        if name.startswith(stem):
            yield name
            found += 1
            if found == MOST_OFFERED:
                return


def _worlds(context: Context) -> Iterator[str]:
    yield from ("M", "HS", "U", "VS", "VU", "host", "guest", "any")
    overview = context.session.view.get("overview")
    yield from overview.names if isinstance(overview, Overview) else ()


def _offered(stem: str, words: Iterable[str]) -> Iterator[Candidate]:
    """What may go on from the last word, after all that stands before it."""
    head, blank, _ = stem.rpartition(" ")
    for word in words:
        yield Candidate(head + blank + word)


@kind("stop place")
def _places(context: Context, stem: str) -> Iterator[Candidate]:
    last = stem.rpartition(" ")[2]
    words = ["in", "if", "for", "changed", "equals", "pa:", "gpa:", *_worlds(context), "pc", *ABI_NAMES]
    return _offered(stem, [*words, *_symbols(context, last)])


@kind("stop event")
def _events(context: Context, stem: str) -> Iterator[Candidate]:
    words = [*stops.EVENTS, "in", "if", "from", "to", "changed", "read", "write", "access", "enter", "leave", "switch"]
    return _offered(stem, [*words, *_worlds(context), *stops.cause_names(), *csrs.BY_NAME])


@kind("stop number")
def _numbers(context: Context, stem: str) -> Iterator[Candidate]:
    known = stops.set_in(context.session.machine)
    head, blank, _ = stem.rpartition(" ")
    for stop in known:
        text = stop.note.text if isinstance(stop.note, stops.Note) else ""
        yield Candidate(f"{head}{blank}{stop.number}", text)
