"""Exits of guests and traps of harts, counted and measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rvtui import exits
from rvtui.commands.machine import table
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import subject_named
from rvtui.exits import COLUMNS, PARTS, Table, Tables
from rvtui.machines import write_file
from rvtui.panes.vms import Overview
from rvtui.text import clean, count, guest_time

_FORMS = ("csv", "json")
_WORDS = {
    "reset": "count anew from now on",
    "all": "count from the machine's start again",
    "by": f"sort by {', '.join(COLUMNS)}",
    "csv": "write a new file of comma-separated values",
    "json": "write a new file of JSON",
    "replace": "the file, if there is one of that name",
}


@kind("exits")
def _offered(context: Context, stem: str) -> Iterator[Candidate]:
    head, blank, _ = stem.rpartition(" ")
    overview = context.session.view.get("overview")
    names = overview.names if isinstance(overview, Overview) else context.session.view.get("names") or ()
    words = dict.fromkeys(names, "") if not head else {}
    words |= dict.fromkeys(COLUMNS, "") if head.split()[-1:] == ["by"] else _WORDS
    yield from (Candidate(head + blank + word, help) for word, help in words.items())


@command(
    "exits",
    "how often guests left, why, and how long until they went on; traps of harts; instructions by where",
    Argument(
        "NAME or WHAT", "exits",
        f"whose; by {', '.join(COLUMNS)}; csv or json FILE [replace]; reset: count from now on; all: no more",
        True,
    ),
    example="exits hello\nexits by time\nexits reset\nexits csv exits.csv replace",
    aliases=("info exits",),
)  # fmt: skip
def _exits(context: Context, text: str = "") -> Report | str:
    name, words = _parted(text)
    session = context.session
    now = exits.read(session.machine)
    if "reset" in words or "all" in words:
        if name or len(words) > 1:
            raise CommandError("reset and all are for every guest and hart, and stand alone")
        session.counted_from = now if "reset" in words else None
        return f"exits count from {guest_time(now.clock)} on" if "reset" in words else "exits count from the start"
    shown = exits.since(now, session.counted_from)
    tables = shown.tables
    if name:
        _, subject = subject_named(context, name)
        tables = tuple(each for each in tables if each.subject.same(subject))
    column = words.get("by", "samples")
    tables = tuple(replace(each, rows=exits.ordered(each.rows, column)) for each in tables)
    shown = replace(shown, tables=tables)
    for form in _FORMS:
        if form in words:
            return _write(shown, form, words[form], "replace" in words)
    return Report(tuple(_lines(shown)), exits.told(shown))


def _parted(text: str) -> tuple[str, dict[str, str]]:
    """The name, and what else is asked, by its word: with its argument where it has one. CommandError."""
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"{text!r}: {error}") from None
    name: list[str] = []
    words: dict[str, str] = {}
    while parts:
        part = parts.pop(0)
        word = part.removeprefix("--")
        if word not in _WORDS:
            if words or part != word:
                raise CommandError(f"exits: {part!r} is none of {', '.join(_WORDS)}")
            name.append(part)
        elif word in ("reset", "all", "replace"):
            words[word] = ""
        elif not parts:
            raise CommandError(f"exits {word} what? " + ("a file's name" if word in _FORMS else ", ".join(COLUMNS)))
        else:
            words[word] = parts.pop(0)
    if words.get("by", "samples") not in COLUMNS:
        raise CommandError(f"exits by {words['by']!r}: one of {', '.join(COLUMNS)}")
    if "replace" in words and not words.keys() & set(_FORMS):
        raise CommandError("exits replace: which file? it stands behind csv FILE or json FILE")
    return " ".join(name), words


def _write(shown: Tables, form: str, path: str, replaces: bool) -> str:
    if Path(path).is_file() and not replaces:
        raise CommandError(f"{path} is there already: another name, or say `replace` at the end")
    text = exits.as_csv(shown) if form == "csv" else json.dumps(exits.told(shown), indent=1) + "\n"
    write_file(path, text.encode())
    return f"wrote {sum(len(each.rows) for each in shown.tables):,} rows to {path}"


def _lines(shown: Tables) -> Iterator[str]:
    if shown.since:
        yield f"since {guest_time(shown.since)}, {guest_time(shown.clock - shown.since)} ago"
    for each in shown.tables:
        yield f"{clean(each.name, 40)}: {each.total:,} in all"
        yield f"  instructions: {_parts(each)}"
        head = ["", "", "samples", "%", "time%", "min", "max", "mean"]
        yield from table([head] * bool(each.rows and each.timed) + [_cells(each, row) for row in each.rows],
                         right={2, 3, 4, 5, 6, 7})  # fmt: skip
        yield from (f"  last: {clean(exits.said(last), 160)}" for last in each.last[-1:])


def _parts(each: Table) -> str:
    total = sum(each.instructions) or 1
    return ", ".join(
        f"{part} {number:,} ({number * 100 / total:.1f}%)"
        for part, number in zip(PARTS, each.instructions, strict=True)
    )


def _cells(each: Table, row: exits.Row) -> list[str]:
    share = f"{row.times * 100 / each.total:.1f}%"
    cells = [f"  {clean(row.what)}", row.mode, f"{row.times:,}", share]
    if not each.timed:
        return [*cells, "", "", "", ""]
    spent = f"{row.time * 100 / each.time:.1f}%" if each.time else "-"
    return [*cells, spent, *("-" if value is None else count(value) for value in (row.least, row.most, row.mean))]
