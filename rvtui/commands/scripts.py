"""Scripts: what they wait for, check and say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from emulator.stops import LONGEST_TEXT, Printed, Stop
from rvtui.commands.consoles import feed
from rvtui.commands.formats import escaped, unescaped
from rvtui.commands.registry import (
    Argument,
    Candidate,
    CheckError,
    CommandError,
    Context,
    Later,
    Report,
    candidates,
    command,
    kind,
    parse,
)
from rvtui.commands.values import FILE, number_of, value_of
from rvtui.subjects import console_names, consoles
from rvtui.text import clean

PATIENCE = 2_000_000_000
"""Instructions that `expect` waits unless told otherwise."""
MOST_REPEATS = 1_000_000
INSTEAD = 160
"""Bytes of what was printed that a failure tells."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s|$)')
_WORDS = re.compile(r"\s+(?:in\s+(?P<console>\S+(?: \d+)?)|within\s+(?P<within>\S+))$")


def _text_of(text: str) -> tuple[str, str]:
    """A text, in quotes or not, with C's escapes undone later; and what follows one in quotes."""
    found = _QUOTED.match(text)
    return (found[1], text[found.end() :]) if found else (text, "")


def _expected(text: str) -> tuple[bytes, str, int]:
    """What to wait for, at which console ("": any), for how many instructions."""
    said, rest = _text_of(text)
    quoted = said != text
    said, tail = (said, rest) if quoted else ("", text)
    console, within = "", PATIENCE
    while found := _WORDS.search(tail):
        if found["console"]:
            console = found["console"]
        else:
            within = number_of(found["within"])
        tail = tail[: found.start()]
    if quoted and tail.strip():
        raise CommandError(f"{tail.strip()!r}: after the text only `in CONSOLE` and `within N` may stand")
    wanted = unescaped(said if quoted else tail)
    if not 1 <= len(wanted) <= LONGEST_TEXT:
        raise CommandError(f"a text of {len(wanted)} bytes: 1 to {LONGEST_TEXT} can be waited for")
    return wanted, console, within


def _unread(context: Context) -> dict[int, int]:
    """By console, how far `expect` has read; from where this machine came here, where it has not."""
    session = context.session
    machine, marks = context.read
    if machine is not session.machine:
        marks = dict(session.begun)
        context.read = session.machine, marks
    return marks


def _since(console: Any, mark: int) -> bytes:
    """What a console has printed since it had printed `mark` bytes, as far as it is kept."""
    return bytes(console.output[max(0, len(console.output) - (console.written - mark)) :])


def _find(context: Context, text: bytes, chosen: list[int]) -> str | None:
    """The console that has printed `text`, which is then read."""
    marks, names = _unread(context), console_names(context.session.machine)
    for index in chosen:
        console = consoles(context.session.machine)[index]
        data = _since(console, marks.setdefault(index, 0))
        at = data.find(text)
        if at >= 0:
            marks[index] = console.written - len(data) + at + len(text)
            return names[index]
    return None


@command(
    "expect",
    "let the machine run until a console prints TEXT; else fail",
    Argument(
        "TEXT [in CONSOLE] [within N]", "text",
        f'what, with C\'s escapes, in "" where it has blanks at its end; whose; for how many instructions: {PATIENCE:,}'
        " if not given. What was printed since the last `expect` counts",
    ),
    example='expect "guest" in hello within 5M',
    changes=True,
    gdb="continue",
)  # fmt: skip
def _expect(context: Context, text: str) -> Report | Later:
    session = context.session
    machine = session.machine
    wanted, console, within = _expected(text)
    names, start = console_names(machine), machine.executed
    if console and console not in names:
        raise CommandError(f"no console {console!r}: there is {', '.join(names)}")
    chosen = [index for index, name in enumerate(names) if console in ("", name)]

    def found(name: str) -> Report:
        ran = session.machine.executed - start
        line = f"{clean(name, 40)} printed {quoted(wanted)}" + (f" after {ran:,} instructions" if ran else "")
        return Report((line,), {"console": name, "text": wanted.decode(errors="replace"), "instructions": ran})

    def outcome() -> Report:
        if session.machine is machine and (name := _find(context, wanted, chosen)) is not None:
            return found(name)
        why = session.reason if session.reason.startswith("not printed") else f"not printed: {session.reason}"
        raise CheckError(f"expect {quoted(wanted)}: {why}; printed instead: {_instead(context, chosen)}")

    if (name := _find(context, wanted, chosen)) is not None:
        return found(name)
    faces = consoles(machine)
    marks = _unread(context)
    before = {faces[index].name: _since(faces[index], marks.setdefault(index, 0)) for index in chosen}
    stop = Stop(Printed(wanted, faces[chosen[0]].name if console else ""))
    session.expect(stop, within, before)
    return Later(outcome)


def quoted(data: bytes) -> str:
    return f'"{escaped(data)}"'


def _instead(context: Context, chosen: list[int]) -> str:
    marks, names = _unread(context), console_names(context.session.machine)
    parts = []
    for index, console in enumerate(consoles(context.session.machine)):
        if index in chosen and (data := _since(console, marks.get(index, 0))):
            cut = "..." * (len(data) > INSTEAD)
            parts.append((f"{clean(names[index], 40)} " if len(chosen) > 1 else "") + cut + quoted(data[-INSTEAD:]))
    return ", ".join(parts) or "nothing"


@command(
    "send",
    "type TEXT at a console, without Enter but with C's escapes; it reads when it runs",
    Argument("CONSOLE", "console", "whose: a VM's name, or `machine`"),
    Argument("TEXT", "text", r'in "" or as it stands; \r is Enter, \n a line feed, \x03 Ctrl-C'),
    example=r'send hello "yes\r"',
    changes=True,
)
def _send(context: Context, name: str, text: str) -> str:
    said, rest = _text_of(text)
    if rest.strip():
        raise CommandError(f"{rest.strip()!r}: nothing may stand behind the text")
    return feed(context, unescaped(said), name)


@command(
    "assert",
    "fail unless EXPRESSION is not 0",
    Argument("EXPRESSION", "expression", "as in `print`, with == != < <= > >= && || as in C, unsigned"),
    example="assert hgatp.MODE == 8 && pc != 0",
)
def _assert(context: Context, expression: str) -> str:
    compared: list[tuple[int, str, int]] = []
    value = value_of(context, expression, compared=compared)
    sides = ", ".join(f"{left:#x} {operator} {right:#x}" for left, operator, right in compared)
    if not value:
        raise CheckError(f"assert {expression}: it is not so" + (f": {sides}" if sides else ""))
    return f"{expression}: so it is" + (f": {sides}" if sides else f": {value:#x}")


@command(
    "echo",
    "print a text",
    Argument("TEXT", "text", "in it $NAME is a variable or register, $(EXPRESSION) a value, $$ a $", True),
    example="echo sp is $sp, a page further is $(sp+4k)",
)
def _echo(context: Context, text: str = "") -> str:
    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return hex(value_of(context, found[1] or found[0]))

    return re.sub(r"\$\$|\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\$[A-Za-z_]\w*(?:\.\w+)?", value, text)


def _follow(context: Context, lines: Iterable[tuple[str, str]]) -> None:
    if context.follow is None:
        raise CommandError("nobody carries out one line after another here: that is for scripts and the monitor")
    context.follow(lines)


@command("source", "carry out the commands in a file, to the first that fails", FILE, example="source checks.rv")
def _source(context: Context, path: str) -> None:
    from rvtui.monitor.script import read_script

    if path == "-":
        raise CommandError("source takes a file: standard input is for -x -")
    _follow(context, [(line.text, line.where) for line in read_script(path)])


@kind("line")
def _lines(context: Context, stem: str) -> Iterable[Candidate]:
    return candidates(context, stem)


@command(
    "repeat",
    "carry out a command COUNT times, to the first that fails",
    Argument("COUNT", "count", "how often: 10, 5k"),
    Argument("COMMAND", "line", "a command with its arguments"),
    example="repeat 3 step 100",
)
def _repeat(context: Context, count: str, line: str) -> None:
    parse(line)
    _follow(context, itertools.repeat((line, ""), number_of(count, MOST_REPEATS)))
