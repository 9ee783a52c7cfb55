"""Consoles of guests."""

from __future__ import annotations

from rvtui.commands.formats import escaped, unescaped
from rvtui.commands.registry import Argument, CommandError, Context, Report, command
from rvtui.commands.values import number_of
from rvtui.plaintext import lines_of
from rvtui.subjects import console_names, consoles
from rvtui.text import clean

LINES = 20
MOST = 10_000
NAME = Argument("NAME", "console", "of which VM; of what is looked at if not given", True)


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
    return Report(tuple(lines) or ("nothing yet",), data)


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
