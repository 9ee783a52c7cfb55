"""What is looked at, and help."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from rvtui.commands.registry import (
    Answer,
    Argument,
    Candidate,
    CommandError,
    Context,
    Report,
    command,
    find,
    kind,
)
from rvtui.commands.values import subject_named, value_of


@runtime_checkable
class Arranged(Protocol):
    """A screen whose panes and colours can be chosen."""

    @property
    def layouts(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def themes(self) -> Sequence[str]: ...
    @property
    def chosen(self) -> tuple[str, Sequence[str], str]:
        """The layout's name or "", the panes on the screen, the theme."""
        ...

    def arrange(self, layout: str, panes: Sequence[str], anew: bool) -> None: ...
    def save_layout(self, name: str) -> str: ...
    def dress(self, theme: str) -> None: ...


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


@command(
    "layout",
    "which panes stand beside each other: a layout by NAME, or these PANEs; also list, save NAME, reset",
    Argument("NAME", "layout", "a layout that `layout list` has, or panes: layout code walk", True),
    example="layout walk gstage",
)
def _layout(context: Context, words: str = "") -> Answer:
    from rvtui.configuration import checked_panes

    screen = _arranged(context)
    layouts, (layout, shown, _) = screen.layouts, screen.chosen
    match words.split():
        case [] | ["list"]:
            rows = tuple(
                f"{'▸' if name == layout else ' '} {name:<12} {' '.join(panes) or 'as the terminal has room'}"
                for name, panes in layouts.items()
            )
            known = {name: list(panes) for name, panes in layouts.items()}
            return Report(
                (*rows, f"now: {' '.join(shown)}"), {"layouts": known, "now": layout, "shown": list(shown)}
            )
        case ["reset"]:
            screen.arrange("by-size", (), True)
            return "layout by-size"
        case ["save", name]:
            return screen.save_layout(name)
        case ["save", *_]:
            raise CommandError("layout save NAME: one word that the layout is to have")
        case [name] if name in layouts:
            screen.arrange(name, (), False)
            return f"layout {name}: {' '.join(layouts[name]) or 'as the terminal has room'}"
        case panes:
            every = [each for each in context.panes if each.startswith(panes[0])]
            if len(panes) == 1 and not every:
                near = difflib.get_close_matches(panes[0], [*layouts, *context.panes], 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(layouts)}"
                raise CommandError(f"no layout or pane {panes[0]!r}: {hint}")
            found = checked_panes([_pane_named(context, name) for name in panes])
            screen.arrange("", found, False)
            return f"layout {' '.join(found)}"


def _pane_named(context: Context, name: str) -> str:
    """A pane by name or an unambiguous beginning; else as it is."""
    matches = [known for known in context.panes if known.startswith(name)]
    return matches[0] if len(matches) == 1 and name not in context.panes else name


@kind("layout")
def _layouts(context: Context, stem: str) -> Iterator[Candidate]:
    head, _, _ = stem.rpartition(" ")
    if head:
        return (Candidate(f"{head} {name}") for name in context.panes if name not in head.split())
    names = list(context.screen.layouts) if isinstance(context.screen, Arranged) else []
    return (Candidate(name) for name in sorted({*names, *context.panes, "list", "save", "reset"}))


@command(
    "theme", "colours of the screen, by name; without one it lists them",
    Argument("NAME", "theme", "rvtui-dark, rvtui-light, rvtui-safe (for the colour-blind), rvtui-contrast", True),
    example="theme rvtui-safe",
)  # fmt: skip
def _theme(context: Context, name: str = "") -> Answer:
    screen = _arranged(context)
    if not name:
        return Report(
            tuple(f"{'▸' if each == screen.chosen[2] else ' '} {each}" for each in screen.themes),
            {"themes": list(screen.themes), "now": screen.chosen[2]},
        )
    found = [each for each in screen.themes if name in (each, each.removeprefix("rvtui-"))]
    if not found:
        raise CommandError(f"no theme {name!r}: one of {', '.join(screen.themes)}")
    screen.dress(found[0])
    return f"theme {found[0]}"


@kind("theme")
def _themes(context: Context, stem: str) -> Iterator[Candidate]:
    return map(Candidate, context.screen.themes if isinstance(context.screen, Arranged) else ())


def _arranged(context: Context) -> Arranged:
    _need_panes(context)
    screen = context.screen
    assert isinstance(screen, Arranged)
    return screen


def _need_panes(context: Context) -> None:
    if not context.panes:
        raise CommandError("there are no panes here, they are the application's: `show PANE` tells what one shows")


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
