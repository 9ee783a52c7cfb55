from __future__ import annotations

import pytest
from textual.geometry import Region, Size

from rvtui import panes
from rvtui.layout import MINIMUM, PLANS, SLOT, arrange, names, plan_for

PANES = tuple(pane.NAME for pane in panes.every() if pane.KEY)


def test_every_size_is_filled_without_gaps_or_overlaps() -> None:
    for width in range(MINIMUM[0], 260, 7):
        for height in range(MINIMUM[1] - 2, 90, 5):
            for wanted in PANES:
                places = arrange(Size(width, height), wanted, None, 6, 2)
                assert wanted in places
                assert sum(place.area for place in places.values()) == width * height
                whole = Region(0, 0, width, height)
                for name, place in places.items():
                    assert place in whole, (name, place)
                    assert place.width >= 30 and place.height >= 3, (width, height, name, place)


@pytest.mark.parametrize(
    ("size", "plan"), [((80, 22), "small"), ((120, 38), "medium"), ((200, 48), "large"), ((200, 22), "wide")]
)
def test_plans(size: tuple[int, int], plan: str) -> None:
    assert plan_for(Size(*size)).name == plan


def test_zoom_and_single_console() -> None:
    assert arrange(Size(80, 22), "code", "gstage", 5, 2) == {"gstage": Region(0, 0, 80, 22)}
    places = arrange(Size(200, 48), "walk", None, 5, 1)
    assert "console2" not in places and "exits" in places


def test_every_pane_of_a_plan_exists() -> None:
    for plan in PLANS:
        assert set(names(plan.split)) <= {*PANES, "console2", SLOT}
        assert plan.default in PANES
