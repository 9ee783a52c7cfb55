"""Where the user was with a program: layout, panes, focus and what is looked at; and the layouts that he saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from emulator.errors import ConfigurationError
from emulator.machine import Machine
from rvtui.configuration import checked_layout, checked_panes
from rvtui.folders import state_folder
from rvtui.keeping import Keeper
from rvtui.layout import BY_SIZE
from rvtui.text import clean

FORMAT: Final = 1
MOST_LAYOUTS: Final = 100


@dataclass(frozen=True)
class Place:
    layout: str = BY_SIZE
    """By name; "" for `panes`."""
    panes: tuple[str, ...] = ()
    """Beside each other, where no layout of a name was chosen."""
    shown: str = "console"
    """The pane that was asked for last."""
    focus: str = "vms"
    """"" for none."""
    zoomed: str | None = None
    subject: str = ""
    """As the list of VMs calls it."""


class Memory:
    """Both files. Without a place for them it lasts as long as the application."""

    def __init__(self, place: Keeper | None = None, layouts: Keeper | None = None) -> None:
        self._place, self._layouts = place, layouts
        self._saved: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = []
        """Files that could not be read or written, a line each."""

    @classmethod
    def of(cls, machine: Machine) -> Memory:
        """In the user's folder."""
        folder = state_folder()
        return cls(Keeper.of_program("view", machine), Keeper(folder / "layouts.json") if folder else None)

    def _read(self, keeper: Keeper | None, what: str) -> Any:
        try:
            return keeper.read() if keeper is not None else None
        except (OSError, ValueError, RecursionError) as error:
            self._broken(keeper, what, error)
            return None

    def _broken(self, keeper: Keeper | None, what: str, error: Exception) -> None:
        assert keeper is not None
        keeper.broken = True
        why = error.strerror if isinstance(error, OSError) else error
        self.problems.append(f"{keeper.path}: {what} of before is ignored: {clean(str(why), 120)}")

    def _write(self, keeper: Keeper, what: str, document: Any) -> None:
        try:
            keeper.write(document)
        except (OSError, ConfigurationError) as error:
            self.problems.append(f"{what} is not kept for next time: {clean(str(error), 160)}")

    def recall(self, layouts: Collection[str]) -> Place | None:
        """Where the user was, as far as that still means something. `layouts`: those that there are."""
        whole = self._read(self._place, "the layout")
        if whole is None:
            return None
        try:
            match whole:
                case {
                    "format": 1, "layout": str(layout), "panes": list(panes), "shown": str(shown), "focus": str(focus),
                    "zoomed": str() | None as zoomed, "subject": str(subject),
                }:  # fmt: skip
                    tiles = checked_panes(panes) if panes or not layout else ()
                    for name in (shown, focus, zoomed):
                        if name:
                            checked_panes([name])
                    return Place(
                        layout if layout in layouts else "" if tiles else BY_SIZE, tiles, shown, focus,
                        zoomed, subject,
                    )  # fmt: skip
                case {"format": int(number)} if number != FORMAT:
                    raise ValueError(f"format {number} is not one that this version reads")
                case _:
                    raise ValueError("it is damaged")
        except (ConfigurationError, ValueError, TypeError) as error:
            self._broken(self._place, "the layout", error)
            return None

    def remember(self, place: Place) -> None:
        if self._place is not None:
            self._write(self._place, "the layout", {"format": FORMAT, **asdict(place)})

    def saved_layouts(self) -> Mapping[str, tuple[str, ...]]:
        """By name; those that are damaged are told and left out."""
        whole = self._read(self._layouts, "layouts")
        if whole is None:
            return self._saved
        match whole:
            case {"format": 1, "layouts": dict(entries)} if len(entries) <= MOST_LAYOUTS:
                for name, panes in entries.items():
                    try:
                        self._saved[name] = checked_layout(name, panes)
                    except (ConfigurationError, TypeError) as error:
                        self._broken(self._layouts, "a layout", error)
            case _:
                self._broken(self._layouts, "layouts", ValueError("it is damaged"))
        return self._saved

    def save_layout(self, name: str, panes: tuple[str, ...]) -> None:
        """Besides what others have saved meanwhile. ConfigurationError where there are too many."""
        self.saved_layouts()
        if len(self._saved) >= MOST_LAYOUTS:
            raise ConfigurationError(f"there are {MOST_LAYOUTS} saved layouts: use one of their names")
        self._saved[name] = panes
        if self._layouts is not None:
            self._write(self._layouts, "the layout", {"format": FORMAT, "layouts": self._saved})
