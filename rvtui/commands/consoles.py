"""Consoles of guests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from rvtui.commands.formats import escaped, unescaped
from rvtui.commands.registry import Answer, Argument, Candidate, CommandError, Context, Report, Told, command, kind
from rvtui.commands.values import FILE, number_of
from rvtui.consolelog import ConsoleLog
from rvtui.plaintext import lines_of
from rvtui.subjects import console_names, consoles
from rvtui.text import clean

LINES = 20
MOST = 10_000
NAME = Argument("NAME", "console", "of which VM; of what is looked at if not given", True)


@runtime_checkable
class ConsoleScreen(Protocol):
    """A screen that shows consoles."""

    def find_in_console(self, text: str) -> None: ...


def _index(context: Context, name: str) -> int:
    """Which console is meant: that of a VM by name, or of what is looked at."""
    names = console_names(context.session.machine)
    if not name:
        vm = context.session.subject.vm
        return vm if vm is not None and vm < len(names) else 0
    if name not in names:
        raise CommandError(f"no console {name!r}: there is {', '.join(names)}")
    return names.index(name)


@command(
    "console",
    "the last lines that a guest printed",
    NAME,
    Argument("COUNT", "count", f"how many lines; {LINES} if not given", True),
    example="console\nconsole hello 3",
)
def _console(context: Context, name: str = "", count: str = "") -> Report:
    if name.isdecimal() and not count:
        name, count = "", name
    wanted = number_of(count or str(LINES), MOST)
    index = _index(context, name)
    console = consoles(context.session.machine)[index]
    lines = lines_of(bytes(console.output))[-wanted:]
    data = {"of": console_names(context.session.machine)[index], "written": console.written, "lines": lines}
    return Report(tuple(Told(line, line) for line in lines) or ("nothing yet",), data)


@command(
    "console-find",
    "the lines of a console with TEXT, in any case; on the screen it is marked there",
    Argument("TEXT", "text", "what to look for"),
    example="console find hello",
    aliases=("console find",),
)
def _find(context: Context, text: str) -> Answer:
    if isinstance(context.screen, ConsoleScreen):
        context.screen.find_in_console(text)
        return None
    index = _index(context, "")
    lines = lines_of(bytes(consoles(context.session.machine)[index].output))
    found = [(number, line) for number, line in enumerate(lines, 1) if text.lower() in line.lower()]
    texts = [Told(text := f"{line}  (line {number} of {len(lines):,})", text) for number, line in found]
    data = [{"line": number, "text": line} for number, line in found]
    return Report(tuple(texts) or (f"none of the {len(lines):,} lines that are kept has it",), {"lines": data})


@command(
    "console-copy",
    "all that is kept of what a guest printed into a new file, as plain lines",
    FILE,
    example="console copy hello.txt",
    aliases=("console copy",),
)
def _copy(context: Context, path: str) -> str:
    if Path(path).exists():
        raise CommandError(f"{path} is there already: another name")
    index = _index(context, "")
    lines = lines_of(bytes(consoles(context.session.machine)[index].output))
    with open(path, "x", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{line}\n" for line in lines)
    return f"{path}: {len(lines):,} lines of {clean(console_names(context.session.machine)[index], 40)}"


@kind("log")
def _log_files(context: Context, stem: str) -> Iterator[Candidate]:
    from rvtui.commands.registry import KINDS

    yield Candidate("off", "end the log")
    yield from KINDS["path"](context, stem)


@command(
    "log",
    "append what a console prints to FILE as it comes, off to end that; which consoles have one, if nothing is given",
    Argument("NAME", "console", "of which VM", True),
    Argument("FILE", "log", "a file name, in quotes if there are blanks in it; or off", True),
    Argument("HOW", "choice", "text (default): no escape sequences; raw: byte for byte", True, ("text", "raw")),
    example="log hello hello.log\nlog hello off",
)
def _log(context: Context, name: str = "", path: str = "", how: str = "text") -> Report | str:
    logs, names = context.session.logs, console_names(context.session.machine)
    if not name:
        data = [
            {"of": names[index], "file": log.path, "bytes": log.bytes, "raw": log.raw}
            for index, log in sorted(logs.items())
        ]
        lines = [f"{clean(str(each['of']), 40)}: {each['file']}, {each['bytes']:,} bytes" for each in data]
        return Report(tuple(lines) or ("no console is logged: log NAME FILE",), {"logs": data})
    index = _index(context, name)
    if not path:
        raise CommandError(f"log {name} into which file? log {name} FILE, or log {name} off")
    if path == "off":
        log = logs.pop(index, None)
        if log is None:
            raise CommandError(f"{clean(name, 40)} is not logged")
        log.close()
        return f"{log.path}: {log.bytes:,} bytes, the log is closed"
    if how not in ("text", "raw"):
        raise CommandError(f"{how!r}: text or raw; a file name with blanks wants quotes")
    if path[:1] in "'\"" and path[-1:] == path[:1] and len(path) > 1:
        path = path[1:-1]
    if any(os.path.abspath(each.path) == os.path.abspath(path) for number, each in logs.items() if number != index):
        raise CommandError(f"{path}: another console is logged there")
    log = ConsoleLog(path, raw=how == "raw")
    if index in logs:
        logs.pop(index).close()
    logs[index] = log
    return f"what {clean(name, 40)} prints is appended to {path}"


def feed(context: Context, data: bytes, name: str = "") -> str:
    """Have a console receive bytes, that of `name` or of what is looked at. CommandError where it has no room."""
    machine = context.session.machine
    index = _index(context, name)
    name = clean(console_names(machine)[index], 40)
    console = consoles(machine)[index]
    if len(console.input) + len(data) > 64 << 10:
        raise CommandError(f"{name} has {len(console.input):,} bytes to read already, and takes 65,536: let it run")
    console.feed(data)
    return f"{len(data)} bytes for {name}: {escaped(data[:60])}" + ("..." if len(data) > 60 else "")


@command(
    "type",
    "type TEXT and Enter at the console of what is looked at; it reads when it runs",
    Argument("TEXT", "text", "what to type, as it stands; Enter alone if not given", True),
    example="type hello there",
    changes=True,
)
def _type(context: Context, text: str = "") -> str:
    return feed(context, text.encode("utf-8", "surrogateescape") + b"\r")


@command(
    "keys",
    "the same without Enter, and with C's escapes for other keys",
    Argument("TEXT", "text", r"\r Enter, \t Tab, \e Escape, \x03 Ctrl-C, \\ itself"),
    example=r"keys ls\r",
    changes=True,
    aliases=("sendkey",),
)
def _keys(context: Context, text: str) -> str:
    return feed(context, unescaped(text))


@command("attach", "give the keyboard to a console; Ctrl-] takes it back", NAME, aliases=("at",), changes=True)
def _attach(context: Context, name: str = "") -> None:
    index = _index(context, name)
    if context.panes:
        context.screen.goto("console")
    elif context.attach is None:
        raise CommandError("attach needs a terminal; `type TEXT` sends a line from anywhere")
    else:
        context.attach(index)
