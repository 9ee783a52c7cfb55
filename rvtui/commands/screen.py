"""What is looked at, and how."""

from __future__ import annotations

from rvtui.commands.registry import Argument, CommandError, Context, command, find
from rvtui.subjects import by_name


@command(
    "select",
    "look at a VM or hart",
    Argument("NAME", "vm", "a VM's name, a hart's number, or a guest of the bare machine: VMID 1"),
    example="select ticker",
)
def _select(context: Context, name: str) -> str:
    known = by_name(context.session.machine)
    spelt = {each.lower().replace(" ", ""): each for each in known}
    found = name if name in known else spelt.get(name.lower().replace(" ", "").removeprefix("hart"))
    if found is None:
        raise CommandError(f"nothing is called {name!r}: there is {', '.join(known)}")
    context.session.select(known[found])
    return f"looking at {'hart ' if found.isdecimal() and known[found].vm is None else ''}{found}"


@command("goto", "show a pane", Argument("PANE", "pane", "its name"), example="goto csrs", aliases=("pane",))
def _goto(context: Context, pane: str) -> None:
    matches = [known for known in context.panes if known.startswith(pane)]
    if len(matches) != 1 and pane not in context.panes:
        raise CommandError(f"no pane {pane!r}: one of {', '.join(context.panes)}")
    context.screen.goto(pane if pane in context.panes else matches[0])


@command("zoom", "the focused pane alone, and back", aliases=("z",))
def _zoom(context: Context) -> None:
    context.screen.zoom()


@command("help", "keys and commands", Argument("COMMAND", "command", "one command", True), aliases=("h",))
def _help(context: Context, name: str = "") -> str | None:
    if not name:
        context.screen.help()
        return None
    found = find(name)
    return f"{found.usage}: {found.help}; for example: {found.example}"


@command("quit", "leave rvtui", aliases=("q", "exit"))
def _quit(context: Context) -> None:
    context.screen.quit()
