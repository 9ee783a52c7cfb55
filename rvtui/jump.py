"""Jump mode: a letter on each thing that can be gone to; pressing or clicking it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Offset, Size
from textual.screen import ModalScreen
from textual.widgets import Static

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
"""Those under the fingers first."""
COLUMN = 26


@dataclass(frozen=True)
class Target:
    """A place on the screen, and what going there does."""

    at: Offset
    go: Callable[[], object]
    width: int = 3


@dataclass(frozen=True)
class Elsewhere:
    """A pane that is not on the screen: its key, as people read it, and how to go there."""

    key: str
    title: str
    go: Callable[[], object]


class _Letter(Static):
    def __init__(self, text: str, go: Callable[[], object]) -> None:
        super().__init__(text, classes="letter", markup=False)
        self._go = go

    def on_click(self, event: events.Click) -> None:
        event.stop()
        screen = self.screen
        assert isinstance(screen, JumpScreen)
        screen.go(self._go)


class _Row(_Letter):
    def __init__(self, other: Elsewhere) -> None:
        super().__init__("", other.go)
        self.set_class(False, "letter")
        self.set_class(True, "row")
        self.update(Text.assemble((f" {other.key} ", "bold"), f" {other.title}"[: COLUMN - 4]))


class JumpScreen(ModalScreen[None]):
    """Any other key, and a click beside, leaves it."""

    CSS = """
    JumpScreen { background: $background 0%; layers: list letters; }
    JumpScreen .letter {
        layer: letters; position: absolute; height: 1; background: $warning; color: $background;
        text-style: bold;
    }
    JumpScreen #elsewhere {
        layer: list; position: absolute; border: round $paint-dim; border-title-color: $paint-label;
        background: $surface; layout: grid; grid-rows: 1;
    }
    JumpScreen .row { width: 1fr; height: 1; background: $surface; }
    """

    def __init__(
        self, targets: Sequence[Target], elsewhere: Sequence[Elsewhere], keys: Mapping[str, Callable[[], object]]
    ) -> None:
        """`keys`: what else a key does here."""
        super().__init__()
        self._keys = keys
        self._targets = dict(zip(LETTERS, targets, strict=False))
        self._elsewhere = elsewhere
        self._of = Size()

    def compose(self) -> ComposeResult:
        with Container(id="elsewhere") as box:
            box.border_title = "not on the screen"
            for other in self._elsewhere:
                yield _Row(other)
        for letter, target in self._targets.items():
            widget = _Letter(f"{letter:^{target.width}}", target.go)
            widget.styles.width = target.width
            widget.styles.offset = (target.at.x, target.at.y)
            yield widget

    def on_mount(self) -> None:
        self._place()
        self._of = self.app.size

    def on_resize(self, event: events.Resize) -> None:
        if self.app.size != self._of:
            self._leave()  # what the letters stood on has moved

    def _place(self) -> None:
        box = self.query_one("#elsewhere")
        count = len(self._elsewhere)
        box.display = bool(count)
        width, height = self.app.size
        across = max(1, min((width - 4) // COLUMN, -(-count // max(1, height - 8)), 4) if count else 1)
        across = max(across, 2 if count > 6 and width >= 2 * COLUMN + 4 else 1)
        rows = -(-count // across)
        box.styles.grid_size_columns = across
        box.styles.width, box.styles.height = COLUMN * across + 2, rows + 2
        box.styles.offset = (max(0, (width - COLUMN * across - 2) // 2), max(0, height - rows - 3))

    def go(self, where: Callable[[], object]) -> None:
        self._leave()
        self.app.call_later(where)

    def _leave(self) -> None:
        if self.is_current:  # several may ask at once
            self.dismiss()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        target = self._targets.get(event.key)
        found = target.go if target is not None else self._keys.get(event.key)
        self.go(found) if found is not None else self._leave()

    def on_click(self, event: events.Click) -> None:
        self._leave()
