"""Themes: contrast, and what of it is left for those who see fewer colours."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from desk import opened
from textual.theme import Theme

from rvtui.theme import THEMES

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", IEEE TVCG 15(6), 2009: the matrices of severity 1.0, for linear RGB.
SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
MODES = ("mode-m", "mode-hs", "mode-u", "mode-vs", "mode-vu")
VERDICTS = ("paint-good", "paint-warn", "paint-bad")
BY_NAME = {theme.name: theme for theme in THEMES}


def linear(colour: str) -> list[float]:
    parts = [each / 255 for each in bytes.fromhex(colour[1:])]
    return [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIELAB under D65."""
    rows = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    white = (0.95047, 1.0, 1.08883)
    x, y, z = (sum(a * b for a, b in zip(row, rgb, strict=True)) / w for row, w in zip(rows, white, strict=True))
    fx, fy, fz = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def least_distance(theme: Theme, names: tuple[str, ...], eyes: str) -> float:
    def look(name: str) -> tuple[float, float, float]:
        rgb = linear(theme.variables[name])
        return lab([min(1.0, max(0.0, sum(a * b for a, b in zip(row, rgb, strict=True)))) for row in SEEN[eyes]])

    return min(math.dist(look(a), look(b)) for a, b in combinations(names, 2))


def contrast(a: str, b: str) -> float:
    """Of WCAG 2."""
    low, high = sorted(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(x), strict=True)) for x in (a, b))
    return (high + 0.05) / (low + 0.05)


def test_the_measures_are_right() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert lab(linear("#ffffff")) == pytest.approx((100, 0, 0), abs=0.02)
    assert lab(linear("#ff0000")) == pytest.approx((53.24, 80.09, 67.20), abs=0.05)


@pytest.mark.parametrize("eyes", SEEN)
def test_the_safe_theme_is_safe(eyes: str) -> None:
    theme = BY_NAME["rvtui-safe"]
    assert least_distance(theme, MODES, eyes) >= 30
    assert least_distance(theme, VERDICTS, eyes) >= 50


@pytest.mark.parametrize("name", BY_NAME)
def test_colours_are_apart_and_can_be_read(name: str) -> None:
    theme = BY_NAME[name]
    least = 7 if name == "rvtui-contrast" else 4.5
    assert least_distance(theme, MODES, "all") >= 20 and least_distance(theme, VERDICTS, "all") >= 20
    assert theme.background and theme.foreground and theme.panel
    text = {*MODES, *VERDICTS, "paint-label", "paint-accent", "paint-changed", "paint-dim"}
    for each in text:
        assert contrast(theme.variables[each], theme.background) >= least, each
    for ground in (theme.background, theme.panel, theme.variables["paint-select"]):
        assert contrast(theme.foreground, ground) >= 7


def test_all_themes_name_the_same() -> None:
    assert all(theme.variables.keys() == THEMES[0].variables.keys() for theme in THEMES)


async def test_choosing_a_theme() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await desk.settled()
        for theme in THEMES:
            desk.application.carry_out(f"theme {theme.name.removeprefix('rvtui-')}")
            await desk.until(lambda theme=theme: desk.application.theme == theme.name)
            mode = desk.pane("vms").paint["VS"].color
            assert mode is not None and mode.name == theme.variables["mode-vs"]
        desk.application.carry_out("theme")
        await desk.shows(f"▸ {THEMES[-1].name}")
        desk.application.carry_out("theme pink")
        await desk.until(lambda: "no theme 'pink': one of rvtui-dark" in desk.application._keys.message)
