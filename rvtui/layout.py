"""Where each pane stands: tables of splits for every size of terminal, tiles of what the user names, and the Textual
layout that applies them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from textual.containers import Container
from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

MINIMUM = (80, 24)
"""Columns and rows of the terminal below which only a message is shown."""

SLOT = "*"
"""Stands for the pane that was asked for last and has no place of its own; `Plan.default` at first."""


@dataclass(frozen=True)
class Split:
    """Parts side by side (`across`) or stacked. Sizes: a positive number of cells, or a negative share of the rest."""

    across: bool
    parts: tuple[tuple[float | str, Split | str], ...]


def rows(*parts: tuple[float | str, Split | str]) -> Split:
    return Split(False, parts)


def columns(*parts: tuple[float | str, Split | str]) -> Split:
    return Split(True, parts)


@dataclass(frozen=True)
class Plan:
    """`width` and `height` are the least room of the workspace; "vms" as a size is as many rows as it has lines."""

    name: str
    width: int
    height: int
    default: str
    split: Split
    wide: Split | None = None
    """Where a wide pane that has no place of its own goes, if elsewhere."""


PLANS = (
    Plan(
        "huge",
        236,
        54,
        "walk",
        rows(
            ("vms", "vms"),
            (
                -1,
                columns(
                    (-10, rows((-3, "console"), (-3, "console2"), (-2, "exits"))),
                    (-9, rows((-1, "code"), (-1, SLOT))),
                    (-9, rows((-1, "gstage"), (-1, "traps"), (-1, "events"))),
                    (53, rows((19, "registers"), (-2, "csrs"), (-1, "interrupts"))),
                ),
            ),
        ),
    ),
    Plan(
        "large",
        176,
        44,
        "walk",
        columns(
            (
                -1,
                rows(
                    ("vms", "vms"),
                    (
                        -1,
                        columns(
                            (-10, rows((-4, "console"), (-4, "console2"), (-3, "exits"))),
                            (-9, rows((-9, "code"), (-8, "gstage"), (-9, SLOT))),
                        ),
                    ),
                ),
            ),
            (63, rows((19, "registers"), (-1, "csrs"))),
        ),
        columns(
            (
                -1,
                rows(
                    ("vms", "vms"),
                    (
                        -6,
                        columns(
                            (-10, rows((-1, "console"), (-1, "console2"))), (-9, rows((-1, "code"), (-1, "gstage")))
                        ),
                    ),
                    (-5, SLOT),
                ),
            ),
            (63, rows((19, "registers"), (-1, "csrs"))),
        ),
    ),
    Plan(
        "medium",
        112,
        34,
        "csrs",
        rows(
            ("vms", "vms"),
            (
                -1,
                columns(
                    (-1, rows((-4, "console"), (-5, "code"))),
                    (53, rows((19, "registers"), (-1, SLOT))),
                ),
            ),
        ),
        rows(("vms", "vms"), (-3, SLOT), (-2, columns((-1, "console"), (-1, "code")))),
    ),
    Plan("wide", 132, 1, "console", rows(("vms", "vms"), (-1, columns((-1, SLOT), (53, "registers"))))),
    Plan("small", 1, 1, "console", rows(("vms", "vms"), (-1, SLOT))),
)


LEAST_TILE: Final = (50, 7)
"""Columns and rows."""
TILE_SHAPE: Final = 3.5
"""Columns for each row that suit most panes best."""
UNEVEN: Final = 0.4
"""What columns of several heights cost beside that, as a logarithm."""
INSTEAD: Final = ("exits", "events", "traps", "stops")
"""What takes the place of the second console where there is none."""

BY_SIZE: Final = "by-size"
LAYOUTS: Final[Mapping[str, tuple[str, ...]]] = {
    BY_SIZE: (),
    "consoles": ("vms", "console", "console2"),
    "debugging": ("vms", "source", "code", "console", "registers", "stops", "watches"),
    "addresses": ("vms", "walk", "gstage", "map", "memory", "csrs"),
    "trapping": ("vms", "traps", "interrupts", "exits", "events", "worlds"),
    "hardware": ("vms", "console", "devices", "interrupts", "events"),
}
"""What `layout NAME` shows. Panes that there are not are left out."""
MOST_TILES: Final = 12
RESERVED: Final = ("list", "save", "reset")
"""Words that are no names of layouts."""


@cache
def wide_panes() -> frozenset[str]:
    """Names of the panes that say they want room for long lines."""
    from rvtui import panes

    return frozenset(pane.NAME for pane in panes.every() if pane.WIDE)


def plan_for(size: Size) -> Plan:
    return next(plan for plan in PLANS if size.width >= plan.width and size.height >= plan.height)


def names(split: Split) -> list[str]:
    """Panes in reading order."""
    found: list[str] = []
    for _, part in split.parts:
        found += [part] if isinstance(part, str) else names(part)
    return found


def arrange(
    size: Size, wanted: str, zoomed: str | None, vms_height: int, consoles: int, panes: Sequence[str] = ()
) -> dict[str, Region]:
    """The place of every visible pane in a workspace of `size`: of `panes`, else by the plan for the size. `wanted`
    fills the slot, or the last tile, having no place of its own."""
    whole = Region(0, 0, size.width, size.height)
    if zoomed is not None:
        return {zoomed: whole}
    if panes:
        return tile(size, wanted, vms_height, [name for name in panes if name != "console2" or consoles > 1])
    plan = plan_for(size)
    split = plan.split
    if plan.wide is not None and wanted in wide_panes() and wanted not in names(split):
        split = plan.wide
    fixed = [name for name in names(split) if name != SLOT]
    slot = wanted if wanted not in fixed else plan.default
    places: dict[str, Region] = {}
    _place(split, whole, slot, min(vms_height, max(5, size.height // 3)), places)
    if "console2" in places and consoles < 2:
        places[next(name for name in INSTEAD if name not in places)] = places.pop("console2")
    return places


def tile(size: Size, wanted: str, vms_height: int, panes: Sequence[str]) -> dict[str, Region]:
    """Panes side by side and stacked, all of about one size; the list of VMs on top, as high as it needs. As many as
    have room, in this order; `wanted` is among them."""
    top = min(vms_height, max(5, size.height // 3)) if "vms" in panes and len(panes) > 1 else 0
    tiled = [name for name in panes if name != "vms" or not top]
    area = Region(0, top, size.width, size.height - top)
    across = 1
    for count in range(len(tiled), 0, -1):
        fits = [
            each
            for each in range(1, count + 1)
            if area.width // each >= LEAST_TILE[0] and area.height // math.ceil(count / each) >= LEAST_TILE[1]
        ]
        if fits or count == 1:
            tiled = tiled[:count]
            shape = {each: area.width / each / (area.height / math.ceil(count / each)) for each in fits}
            uneven = {each: UNEVEN * (count % each > 0) for each in fits}
            across = min(fits, key=lambda each: abs(math.log(shape[each] / TILE_SHAPE)) + uneven[each], default=1)
            break
    if wanted not in tiled and not (top and wanted == "vms"):
        tiled[-1] = wanted
    places = {"vms": Region(0, 0, size.width, top)} if top else {}
    split: list[tuple[float | str, Split | str]] = []
    for column in range(across):
        first, last = len(tiled) * column // across, len(tiled) * (column + 1) // across
        split.append((-1, rows(*((-1, name) for name in tiled[first:last]))))
    _place(columns(*split), area, "", 0, places)
    return places


def _place(split: Split, region: Region, slot: str, vms_height: int, places: dict[str, Region]) -> None:
    total = region.width if split.across else region.height
    sizes = [vms_height if size == "vms" else float(size) for size, _ in split.parts]
    rest = total - sum(size for size in sizes if size > 0)
    shares = sum(-size for size in sizes if size < 0)
    at = given = 0
    passed = 0.0
    for (_, part), size in zip(split.parts, sizes, strict=True):
        if size > 0:
            length = int(size)
        else:
            passed -= size
            length = round(rest * passed / shares) - given
            given += length
        place = (
            Region(region.x + at, region.y, length, region.height)
            if split.across
            else Region(region.x, region.y + at, region.width, length)
        )
        at += length
        if isinstance(part, Split):
            _place(part, place, slot, vms_height, places)
        else:
            places[slot if part == SLOT else part] = place


class PlacesLayout(Layout):
    """Puts each child where `places` says, by the child's id."""

    name = "places"

    def __init__(self) -> None:
        self.places: Mapping[str, Region] = {}

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        return [
            WidgetPlacement(self.places[child.id], NULL_OFFSET, Spacing(), child)
            for child in children
            if child.id is not None and child.id in self.places
        ]


class Workspace(Container):
    """Holds all panes; those without a place are not displayed."""

    def __init__(self, *panes: Widget) -> None:
        super().__init__(*panes, id="workspace")
        self._places_layout = PlacesLayout()

    @property
    def layout(self) -> Layout:
        return self._places_layout

    @property
    def places(self) -> Mapping[str, Region]:
        return self._places_layout.places

    def place(self, places: Mapping[str, Region]) -> None:
        if places == self._places_layout.places:
            return
        self._places_layout.places = dict(places)
        for child in self.children:
            child.display = child.id in places
        self._clear_arrangement_cache()  # Textual forgets that of a widget's ancestors only
        self.refresh(layout=True)
