"""Colours for lines of text, where there is a terminal that has them."""

from __future__ import annotations

import re

from rvtui.colour import colours

__all__ = ["colours", "painted", "styled"]

_STYLES = {
    "symbol": "36", "mode": "35", "name": "1", "pc": "1;33", "bad": "31", "dim": "2", "number": "34", "comment": "2",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<pc>^.?=> .*$)|(?P<symbol><[^<>]{1,200}>)|(?P<mode>(?<![\w.])(?:HS|VS|VU|M|U)(?![\w.]))"
    r"|(?P<dim>\b0{4,15}(?=[0-9a-f]))|(?P<bad>✗.*$)"
)


def styled(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def painted(line: str) -> str:
    """An answer's line with symbols, modes and the place of pc told apart."""
    return _TOKEN.sub(lambda found: styled(found[0], found.lastgroup or "dim"), line)
