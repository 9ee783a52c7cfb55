"""Colours and what they stand for. Every colour has a second mark beside it: a letter, a sign or weight."""

from __future__ import annotations

from collections.abc import Mapping

from rich.color import Color
from rich.style import Style
from textual.theme import Theme

# In each the five mode colours are apart, and so are good, warn and bad; in rvtui-safe for every kind of colour
# blindness, which tests/rvtui/test_theme.py simulates.
_DARK = {
    "mode-m": "#ff8c5a",
    "mode-hs": "#f2c14e",
    "mode-u": "#c3cbd3",
    "mode-vs": "#62b6ee",
    "mode-vu": "#4fc3a1",
    "paint-dim": "#73808d",
    "paint-faint": "#475461",
    "paint-label": "#9fb0bf",
    "paint-accent": "#8ec5e8",
    "paint-changed": "#ffd787",
    "paint-good": "#79c99e",
    "paint-warn": "#f2c14e",
    "paint-bad": "#ff8c73",
    "paint-select": "#22303c",
    "paint-bar": "#1a232b",
}
_LIGHT = {
    "mode-m": "#b3450d",
    "mode-hs": "#8a6100",
    "mode-u": "#4a545e",
    "mode-vs": "#0b62a4",
    "mode-vu": "#00745a",
    "paint-dim": "#66727d",
    "paint-faint": "#b4bec7",
    "paint-label": "#46535f",
    "paint-accent": "#0b62a4",
    "paint-changed": "#9a4a00",
    "paint-good": "#1d7a4c",
    "paint-warn": "#8a6100",
    "paint-bad": "#b02a1b",
    "paint-select": "#d9e6f0",
    "paint-bar": "#e6ebef",
}
_SAFE = {
    "mode-m": "#fa4d56",
    "mode-hs": "#ffbf00",
    "mode-u": "#e6f2dc",
    "mode-vs": "#33d1f0",
    "mode-vu": "#9066ff",
    "paint-dim": "#7d8792",
    "paint-faint": "#4c5660",
    "paint-label": "#a9b4be",
    "paint-accent": "#7cc4ff",
    "paint-changed": "#ffe27a",
    "paint-good": "#4a9dff",
    "paint-warn": "#fecc08",
    "paint-bad": "#ff5c7a",
    "paint-select": "#22303c",
    "paint-bar": "#1a232b",
}
_CONTRAST = {
    "mode-m": "#ff8a2a",
    "mode-hs": "#ffd400",
    "mode-u": "#ffffff",
    "mode-vs": "#5cc3ff",
    "mode-vu": "#5be49b",
    "paint-dim": "#b8c0c8",
    "paint-faint": "#98a2ac",
    "paint-label": "#dfe6ec",
    "paint-accent": "#9fdcff",
    "paint-changed": "#ffe14d",
    "paint-good": "#66e0ff",
    "paint-warn": "#ffd91a",
    "paint-bad": "#ff9a8c",
    "paint-select": "#001f47",
    "paint-bar": "#101418",
}

THEMES = (
    Theme(
        "rvtui-dark",
        primary="#62b6ee",
        secondary="#9fb0bf",
        warning="#f2c14e",
        error="#ff8c73",
        success="#79c99e",
        accent="#8ec5e8",
        foreground="#d8dee4",
        background="#0f1419",
        surface="#131a20",
        panel="#1a232b",
        dark=True,
        variables=_DARK,
    ),
    Theme(
        "rvtui-light",
        primary="#0b62a4",
        secondary="#46535f",
        warning="#8a6100",
        error="#b02a1b",
        success="#1d7a4c",
        accent="#0b62a4",
        foreground="#1c242b",
        background="#f7f9fa",
        surface="#f1f4f6",
        panel="#e6ebef",
        dark=False,
        variables=_LIGHT,
    ),
    Theme(
        "rvtui-safe",
        primary="#33d1f0",
        secondary="#a9b4be",
        warning="#fecc08",
        error="#ff5c7a",
        success="#4a9dff",
        accent="#7cc4ff",
        foreground="#d8dee4",
        background="#0f1419",
        surface="#131a20",
        panel="#1a232b",
        dark=True,
        variables=_SAFE,
    ),
    Theme(
        "rvtui-contrast",
        primary="#ffe14d",
        secondary="#dfe6ec",
        warning="#ffd91a",
        error="#ff9a8c",
        success="#66e0ff",
        accent="#9fdcff",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#101418",
        dark=True,
        variables=_CONTRAST,
    ),
)

_WEIGHT = {
    "bold": Style(bold=True),
    "italic": Style(italic=True),
    "reverse": Style(reverse=True),
    "underline": Style(underline=True),
}


_COLOURLESS = {
    "dim": Style(dim=True),
    "faint": Style(dim=True),
    "changed": Style(bold=True),
    "bad": Style(bold=True),
    "warn": Style(bold=True),
    "select": Style(reverse=True),
}
"""What stands for a colour where there is none."""


class Paint:
    """Names of what is drawn to terminal styles, for one theme and one background."""

    def __init__(self, variables: Mapping[str, str], foreground: str, background: str, colours: bool = True) -> None:
        """Without `colours`: weights in their place, where one says something."""
        self._named: dict[str, Style] = {"": Style.null(), **_WEIGHT}
        self._made: dict[str, Style] = {}
        self.base = Style()
        if not colours:
            names = (name.removeprefix("paint-").removeprefix("mode-") for name in variables)
            self._named |= {name.upper() if f"mode-{name}" in variables else name: Style() for name in names}
            self._named |= _COLOURLESS
            return
        self.base = Style(color=Color.parse(foreground[:7]), bgcolor=Color.parse(background[:7]))
        for name, colour in variables.items():
            if name.startswith("mode-"):
                self._named[name[5:].upper()] = Style(color=colour[:7])
            elif name in ("paint-select", "paint-bar"):
                self._named[name[6:]] = Style(bgcolor=colour[:7])
            elif name.startswith("paint-"):
                self._named[name[6:]] = Style(color=colour[:7])

    def __getitem__(self, names: str) -> Style:
        """`names`: "VS bold", "dim select": colours, weights and backgrounds, later ones win."""
        style = self._made.get(names)
        if style is None:
            style = self.base
            for name in names.split():
                style += self._named[name]
            self._made[names] = style
        return style

    def over(self, style: Style) -> Style:
        """A style from elsewhere, on this background."""
        return self.base + style
