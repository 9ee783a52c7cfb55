"""Where each pane stands, for every size of terminal: tables of splits, and the Textual layout that applies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


PLANS = (
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
                            (-10, rows((-1, "console"), (-1, "console2"))),
                            (-9, rows((-9, "code"), (-8, "gstage"), (-9, SLOT))),
                        ),
                    ),
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
    ),
    Plan("wide", 132, 1, "console", rows(("vms", "vms"), (-1, columns((-1, SLOT), (53, "registers"))))),
    Plan("small", 1, 1, "console", rows(("vms", "vms"), (-1, SLOT))),
)


def plan_for(size: Size) -> Plan:
    return next(plan for plan in PLANS if size.width >= plan.width and size.height >= plan.height)


def names(split: Split) -> list[str]:
    """Panes in reading order."""
    found: list[str] = []
    for _, part in split.parts:
        found += [part] if isinstance(part, str) else names(part)
    return found


def arrange(size: Size, wanted: str, zoomed: str | None, vms_height: int, consoles: int) -> dict[str, Region]:
    """The place of every visible pane in a workspace of `size`. `wanted` fills the slot, having no place of its own."""
    whole = Region(0, 0, size.width, size.height)
    if zoomed is not None:
        return {zoomed: whole}
    plan = plan_for(size)
    fixed = [name for name in names(plan.split) if name != SLOT]
    slot = wanted if wanted not in fixed else plan.default
    places: dict[str, Region] = {}
    _place(plan.split, whole, slot, min(vms_height, max(5, size.height // 3)), places)
    if "console2" in places and consoles < 2:
        places["exits" if "exits" not in places else "events"] = places.pop("console2")
    return places


def _place(split: Split, region: Region, slot: str, vms_height: int, places: dict[str, Region]) -> None:
    total = region.width if split.across else region.height
    sizes = [vms_height if size == "vms" else float(size) for size, _ in split.parts]
    rest = total - sum(size for size in sizes if size > 0)
    shares = sum(-size for size in sizes if size < 0)
    at = 0
    for index, ((_, part), size) in enumerate(zip(split.parts, sizes, strict=True)):
        length = int(size) if size > 0 else round(rest * -size / shares)
        if index == len(sizes) - 1:
            length = total - at
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

    def place(self, places: Mapping[str, Region]) -> None:
        if places == self._places_layout.places:
            return
        self._places_layout.places = dict(places)
        for child in self.children:
            child.display = child.id in places
        self._clear_arrangement_cache()  # Textual forgets that of a widget's ancestors only
        self.refresh(layout=True)
