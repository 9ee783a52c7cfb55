"""Whether there are colours: what the user says (--color), else NO_COLOR (https://no-color.org) and the terminal."""

from __future__ import annotations

import os
from typing import IO, Any, Final

WHEN: Final = ("auto", "always", "never")
_said = "auto"


def choose(when: str) -> None:
    """`when`: one of WHEN, from here on, for the whole program."""
    global _said
    _said = when


def colours(out: IO[Any]) -> bool:
    """Whether text for `out` has colours: by itself on a terminal that knows them, without NO_COLOR."""
    return not colourless() if _said != "auto" else out.isatty() and not colourless() and not dumb()


def colourless() -> bool:
    """No colour is wanted anywhere, on whatever terminal; bold, dim and reverse are no colours."""
    return _said == "never" or (_said == "auto" and bool(os.environ.get("NO_COLOR")))


def dumb() -> bool:
    """The terminal knows no escape sequences, or none is told."""
    return os.environ.get("TERM") in (None, "", "dumb", "unknown")
