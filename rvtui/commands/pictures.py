"""What panes show, as text and as pictures."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rvtui.commands.registry import (
    Answer,
    Argument,
    Candidate,
    CommandError,
    Context,
    Later,
    Report,
    command,
    kind,
    parse,
)

if TYPE_CHECKING:
    from textual.geometry import Size

    from rvtui.panes.base import Pane
    from rvtui.picture import Strips

WIDTH = 120
WHOLE = "screen"
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")


@runtime_checkable
class PictureScreen(Protocol):
    """A screen with panes on it; called on the worker's thread."""

    def pane(self, name: str) -> tuple[Pane, Size]:
        """As it is, and its size, with its border; of one that is not on the screen, as if it were alone there."""
        ...

    def strips(self) -> Strips:
        """All that is on the screen now."""
        ...


def _every() -> dict[str, type[Pane]]:
    from rvtui import panes

    return {pane.NAME: pane for pane in panes.every()}


def _named(text: str) -> str:
    """A pane by its name, or a beginning that says which."""
    known = [name for name in _every() if name != "console2"]
    matches = [name for name in known if name.startswith(text)]
    if text not in known and len(matches) != 1:
        raise CommandError(f"no pane {text!r}: one of {', '.join(known)}")
    return text if text in known else matches[0]


@kind("any pane")
def _panes(context: Context, stem: str) -> Iterator[Candidate]:
    return (Candidate(name, pane.TITLE) for name, pane in _every().items() if name != "console2")


@command(
    "show",
    "what a pane shows, as text; which panes there are, if none is named",
    Argument("PANE", "any pane", "its name, or a beginning", True),
    example="show exits",
)
def _show(context: Context, name: str = "") -> Answer | Later:
    from rvtui import picture

    if not name:
        rows = {name: pane.TITLE for name, pane in _every().items() if name != "console2"}
        return Report(tuple(f"{name}: {title}" for name, title in rows.items()), {"panes": rows})
    name = _named(name)
    told = _every()[name].TOLD_BY
    if told and not isinstance(context.screen, PictureScreen):
        found, words = parse(told)
        return found.function(context, *words)
    aside = picture.Aside(context)
    pane = context.screen.pane(name)[0] if isinstance(context.screen, PictureScreen) else picture.fresh(name)
    lines = picture.text_of(aside, pane, WIDTH)
    while lines and not lines[-1]:
        lines.pop()
    return Report(tuple(lines) or ("nothing",), {"pane": name, "lines": lines})


@kind("picture")
def _parts(context: Context, stem: str) -> Iterator[Candidate]:
    yield Candidate(WHOLE, "all of it")
    yield from _panes(context, stem)


@command(
    "screenshot",
    "a picture of a pane, or of the whole screen, into a new .svg or .txt file",
    Argument(
        "[PANE] [FILE] [WIDTHxHEIGHT] [overwrite]", "picture",
        "a pane's name, else the screen; a file, else one called after it; columns and rows; to replace a file", True,
    ),
    example="screenshot walk walk.svg 120x40 overwrite",
)  # fmt: skip
def _screenshot(context: Context, words: str = "") -> Report:
    from textual.geometry import Size

    from rvtui import machines, picture

    name, path, size, replace = _understood(words)
    screen = context.screen if isinstance(context.screen, PictureScreen) else None
    whole = name == WHOLE
    if size is not None and (wrong := picture.fits(Size(*size), whole=whole)):
        raise CommandError(wrong)
    if not path:
        names = (f"{name}{f'-{number}' if number > 1 else ''}.svg" for number in range(1, 1000))
        path = next((each for each in names if not os.path.exists(each)), f"{name}.svg")
    if os.path.exists(path) and not replace:
        raise CommandError(f"{path} is there already: another name, or the word overwrite behind it")
    aside = picture.Aside(context)
    of: Any = picture.fresh if screen is None else lambda pane: screen.pane(pane)[0]
    if whole:
        strips = screen.strips() if screen is not None and size is None else picture.screen_strips(
            aside, Size(*size or (120, 40)), of
        )
    else:
        there = picture.SIZE if screen is None else screen.pane(name)[1]
        strips = picture.pane_strips(aside, of(name), Size(*size) if size else there)
    data = picture.render(strips, path, "rvtui" if whole else f"rvtui: {name}")
    machines.write_file(path, data)
    width = max(sum(part.cell_length for part in strip) for strip in strips)
    text = f"{path}: {'the screen' if whole else name}, {width}x{len(strips)}, {len(data):,} bytes"
    return Report((text,), {"file": path, "of": name, "width": width, "height": len(strips), "bytes": len(data)})


def _understood(text: str) -> tuple[str, str, tuple[int, int] | None, bool]:
    """(pane or screen, file or "", size, whether a file may be replaced), in whatever order they stand."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"{text!r}: {error}") from None
    name, path, size, replace = "", "", None, False
    for word in words:
        if word == "overwrite":
            replace = True
        elif match := _SIZE.fullmatch(word):
            size = int(match[1]), int(match[2])
        elif "." in word or "/" in word:
            if path:
                raise CommandError(f"{path} and {word}: one file")
            path = word
        elif name:
            raise CommandError(f"{name} and {word}: one pane")
        else:
            name = WHOLE if word == WHOLE else _named(word)
    if path and not path.lower().endswith((".svg", ".txt")):
        raise CommandError(f"{path}: a picture is an .svg file, or .txt")
    return name or WHOLE, path, size, replace
