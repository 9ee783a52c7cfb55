"""Expressions that are shown at each stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from emulator.errors import EmulatorError
from rvtui.commands.formats import LETTERS, SIZES, parse_format, shown
from rvtui.commands.memory import examine
from rvtui.commands.registry import Answer, Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import place_of
from rvtui.stops import Display
from rvtui.subjects import symbols_of

MOST_ITEMS = 64
"""Items of memory that one of them shows."""


@dataclass(frozen=True)
class Shown:
    """What an expression is now. `lines`: its value, of memory several; none where `trouble` says why it has none."""

    number: int
    text: str
    form: str
    lines: tuple[str, ...]
    trouble: str
    place: str
    """Where that is, or what the value points to, as `memory` takes it."""
    data: Any

    @property
    def name(self) -> str:
        """As it is written: "sp", "/x sp"; of memory "x/4wx sp"."""
        if not self.form:
            return self.text
        return f"{'x' if of_memory(self.form) else ''}/{self.form} {self.text}"

    @property
    def said(self) -> list[str]:
        """As GDB says it at a stop."""
        head = f"{self.number}: {self.name}"
        if self.trouble:
            return [f"{head}: {self.trouble}"]
        if of_memory(self.form):
            return [head, *(f"  {line}" for line in self.lines)]
        return [f"{head} = {self.lines[0]}"]

    @property
    def json(self) -> dict[str, Any]:
        return {"number": self.number, "expression": self.text, "format": self.form, "value": self.data,
                "error": self.trouble or None}  # fmt: skip


def of_memory(form: str) -> bool:
    """Whether a /FORMAT looks at memory, as in GDB: one with a count or a size, or i or s."""
    return any(letter.isdecimal() or letter in SIZES or letter in "is" for letter in form)


def values(context: Context) -> tuple[Shown, ...]:
    """All of them, of what is looked at. On the worker only."""
    return tuple(_shown(context, each) for each in context.session.book.displays)


def _shown(context: Context, display: Display) -> Shown:
    number, form, text = display.number, display.form, display.text
    own = replace(context, cancelled=threading.Event())  # neither interrupted with another, nor what `x` goes on from
    try:
        lines, place, data = _value(own, form, text)
    except EmulatorError as error:
        return Shown(number, text, form, (), " ".join(str(error).split()), "", None)
    return Shown(number, text, form, lines, "", place, data)


def _value(context: Context, form: str, text: str) -> tuple[tuple[str, ...], str, Any]:
    place = place_of(context, text)
    if of_memory(form):
        found = examine(context, form, text)
        return found.lines, place.spelt(), found.data["items"]
    value, name = place.address, symbols_of(context.session.machine, place.subject).lookup
    if form:
        said = shown(form, value, 8, name)
    else:
        said = f"{value:#x} = {value - (1 << 64) if value >> 63 else value}"
        called = name(value) if value > 4095 else None
        said += f" <{called}>" if called else ""
    return (said,), replace(place, space="va").spelt(), hex(value)


def _check(form: str) -> str:
    wanted = parse_format(form)
    if of_memory(form):
        if wanted.items > MOST_ITEMS:
            raise CommandError(f"/{form}: at most {MOST_ITEMS} items are shown at each stop")
    elif form and (len(form) > 1 or form not in LETTERS or form == "f"):
        raise CommandError(f"/{form}: one of {' '.join(each for each in LETTERS if each not in 'fis')}, or as of x")
    return form.lower()


@command(
    "display",
    "show an expression at each stop, in FORMAT memory as `x` does; without one, all that are shown",
    Argument("FORMAT", "format", "a letter as of print; with a count or size, or i or s, as of x", True),
    Argument("EXPRESSION", "place", "a value, or an address; ticker:sp is of another VM", True),
    example="display/x sp\ndisplay/2i pc\ndisplay",
    aliases=("watch-expression", "info display"),
)
def _display(context: Context, form: str, text: str = "") -> Answer:
    if not text and context.panes:
        context.screen.goto("watches")
        return None
    if text:
        display = context.session.book.show(_check(form), text)
        found: tuple[Shown, ...] = (_shown(context, display),)
    else:
        found = values(context)
    lines = [line for each in found for line in each.said]
    if context.panes and len(lines) > 1:
        return f"{lines[0]} is shown among the watches"
    return Report(tuple(lines) or ("nothing is shown at stops: display EXPRESSION",), [each.json for each in found])


@command(
    "undisplay",
    "no longer show expressions at stops",
    Argument("NUMBER...", "display", "as `display` lists them; without, all", True),
    example="display sp\nundisplay",
)
def _undisplay(context: Context, numbers: str = "") -> str:
    book = context.session.book
    words = numbers.replace(",", " ").split()
    known = [each.number for each in book.displays]
    chosen = []
    for word in words:
        if not (word.isascii() and word.isdecimal()) or int(word[:9]) not in known:
            there = f"there is {', '.join(map(str, known))}" if known else "nothing is shown"
            raise CommandError(f"no expression {word}: {there}")
        chosen.append(int(word))
    chosen = chosen or known
    book.hide(chosen)
    if not chosen:
        return "nothing was shown"
    return f"expression{'s' * (len(chosen) != 1)} {', '.join(map(str, chosen))} not shown any more"


@kind("display")
def _displays(context: Context, stem: str) -> Iterator[Candidate]:
    head, blank, _ = stem.rpartition(" ")
    for each in context.session.book.displays:
        yield Candidate(f"{head}{blank}{each.number}", each.text)
