"""What is looked at, and help."""

from __future__ import annotations

from rvtui.commands.registry import Answer, Argument, CommandError, Context, command, find
from rvtui.commands.values import subject_named, value_of


@command(
    "select",
    "look at a VM or hart",
    Argument("NAME", "vm", "a VM's name, a hart's number, or a guest of the bare machine: VMID 1"),
    example="select ticker",
    aliases=("cpu", "thread"),
)
def _select(context: Context, name: str) -> str:
    found, subject = subject_named(context, name)
    context.session.select(subject)
    return f"looking at {'hart ' if found.isdecimal() and subject.vm is None else ''}{found}"


@command("goto", "show a pane", Argument("PANE", "pane", "its name"), example="goto csrs", aliases=("pane",))
def _goto(context: Context, pane: str) -> None:
    _need_panes(context)
    matches = [known for known in context.panes if known.startswith(pane)]
    if len(matches) != 1 and pane not in context.panes:
        raise CommandError(f"no pane {pane!r}: one of {', '.join(context.panes)}")
    context.screen.goto(pane if pane in context.panes else matches[0])


@command("zoom", "the focused pane alone, and back", aliases=("z",))
def _zoom(context: Context) -> None:
    _need_panes(context)
    context.screen.zoom()


def _need_panes(context: Context) -> None:
    if not context.panes:
        raise CommandError("there are no panes here: they are the application's; help lists what answers in text")


@command(
    "help",
    "commands by subject; all about one",
    Argument("COMMAND", "command", "one command", True),
    example="help walk",
    aliases=("h", "?"),
)
def _help(context: Context, name: str = "") -> Answer:
    from rvtui.commands import reference

    if name:
        return reference.page(find(name))
    if context.panes:
        context.screen.help()
        return None
    return reference.overview()


@command(
    "quit",
    "leave rvtui",
    Argument("CODE", "count", "the exit code, 0 to 255; if not given 0, where nothing failed", True),
    aliases=("q", "exit"),
)
def _quit(context: Context, code: str = "") -> None:
    value = value_of(context, code) if code else None
    if value is not None and value > 255:
        raise CommandError(f"exit code {code} = {value}: 0 to 255")
    context.screen.quit(value)
