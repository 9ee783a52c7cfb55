from __future__ import annotations

import pytest
from textual.geometry import Region, Size

from rvtui import panes
from rvtui.layout import LEAST_TILE, MINIMUM, PLANS, SLOT, arrange, names, plan_for, tile, wide_panes

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


def test_tiles_fill_every_size_and_have_room() -> None:
    others = [name for name in PANES if name != "vms"]
    for width in range(MINIMUM[0], 260, 17):
        for height in range(MINIMUM[1] - 2, 90, 9):
            for count in range(1, 13):
                for wanted in (others[0], others[-1], "vms"):
                    for head in ((), ("vms",)):
                        panes = (*head, *others[:count])
                        places = tile(Size(width, height), wanted, 6, panes)
                        assert wanted in places and set(places) <= {*panes, wanted}
                        assert sum(place.area for place in places.values()) == width * height
                        tiled = [place for name, place in places.items() if name != "vms"] or list(places.values())
                        assert all(each.width >= LEAST_TILE[0] and each.height >= LEAST_TILE[1] for each in tiled)
                        widths = [each.width for each in tiled]
                        assert max(widths) - min(widths) <= 1, "evenly"


def test_tiles_come_in_the_order_in_which_they_were_asked_for() -> None:
    places = tile(Size(200, 48), "walk", 6, ["walk", "code", "map", "csrs"])
    assert places["walk"].offset == (0, 0) and places["walk"].size == (100, 24)
    assert list(places) == ["walk", "code", "map", "csrs"]
    assert list(tile(Size(80, 22), "walk", 6, ["walk", "code", "map", "csrs"])) == ["walk", "code", "map"]
    assert list(tile(Size(80, 22), "exits", 6, ["walk", "code", "map", "csrs"])) == ["walk", "code", "exits"]


def test_more_room_shows_more() -> None:
    sizes = ((80, 24), (120, 40), (200, 50), (240, 60))
    counts = [len(arrange(Size(w, h - 2), "console", None, 6, 2)) for w, h in sizes]
    assert counts == sorted(counts) and counts[2:] == [9, 12]


@pytest.mark.parametrize(
    ("size", "plan"),
    [((240, 58), "huge"), ((80, 22), "small"), ((120, 38), "medium"), ((200, 48), "large"), ((200, 22), "wide")],
)
def test_plans(size: tuple[int, int], plan: str) -> None:
    assert plan_for(Size(*size)).name == plan


def test_zoom_and_single_console() -> None:
    assert arrange(Size(80, 22), "code", "gstage", 5, 2) == {"gstage": Region(0, 0, 80, 22)}
    places = arrange(Size(200, 48), "walk", None, 5, 1)
    assert "console2" not in places and "exits" in places


def test_what_has_long_lines_gets_room_for_them() -> None:
    for width, height in ((120, 38), (200, 48), (80, 22)):
        for name in wide_panes():
            assert arrange(Size(width, height), name, None, 6, 2)[name].width >= min(width, 62), (width, name)
        for name in ("walk", "traps", "timeline"):
            assert arrange(Size(width, height), name, None, 6, 2)[name].width >= 80, (width, name)


def test_every_pane_of_a_plan_exists() -> None:
    assert set(PANES) >= wide_panes() >= {"walk", "traps", "timeline", "memory"}
    for plan in PLANS:
        assert set(names(plan.split)) | set(names(plan.wide) if plan.wide else ()) <= {*PANES, "console2", SLOT}
        assert plan.default in PANES
