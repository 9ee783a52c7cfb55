"""An answer of many lines, over the panes: scrolled and searched as a pager does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from rvtui.panes.base import Pane
from rvtui.text import Line, clean


class ReportPane(Pane):
    """The lines, and where a text is in them."""

    NAME = "report"
    TITLE = "Answer"
    HELP = "The answer of a command."

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", show=False),
        Binding("n", "again(1)", "next", show=False),
        Binding("N", "again(-1)", "previous", show=False),
        Binding("space", "page(1)", "page down", show=False),
        Binding("b", "page(-1)", "page up", show=False),
    ]

    def __init__(self, title: str, texts: Sequence[str]) -> None:
        super().__init__()
        self._title = clean(title, 60)
        self._texts = [clean(text, 2000) for text in texts]
        self._found: int | None = None
        self.wanted = ""

    def on_mount(self) -> None:
        self.entitle("")
        self.put(self._styled())

    def entitle(self, text: str) -> None:
        self.border_title = "  ".join(filter(None, (self._title, text, "Escape closes, / searches")))

    def _styled(self) -> list[Line]:
        return [self._line(index, text) for index, text in enumerate(self._texts)]

    def _line(self, index: int, text: str) -> Line:
        spans: list[tuple[str, str]] = []
        lower, at = text.lower(), 0
        style = "select" if index == self._found else ""
        while self.wanted and (hit := lower.find(self.wanted.lower(), at)) >= 0:
            spans += [(text[at:hit], style), (text[hit : hit + len(self.wanted)], "accent bold")]
            at = hit + len(self.wanted)
        return (*spans, (text[at:], style))

    def search(self, text: str) -> None:
        """Go to the first line from here on that has it."""
        self.wanted, self._found = text, None
        self._go(1, self.top)

    def action_search(self) -> None:
        screen = self.screen
        assert isinstance(screen, ReportScreen)
        screen.ask()

    def action_again(self, direction: int) -> None:
        if self.wanted:
            self._go(direction, self.top if self._found is None else self._found + direction)

    def _go(self, direction: int, start: int) -> None:
        count = len(self._texts)
        order = [(start + direction * step) % count for step in range(count)] if count else []
        wanted = self.wanted.lower()
        self._found = next((index for index in order if wanted and wanted in self._texts[index].lower()), None)
        if self._found is not None and not self.top <= self._found < self.top + self.rows:
            self.top = max(0, self._found - self.rows // 3)
        self.put(self._styled())
        self.entitle(f"/{clean(self.wanted, 30)}" + ("" if self._found is not None else " is nowhere"))

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = []
        self.put(self._styled())


class ReportScreen(ModalScreen[None]):
    CSS = """
    ReportScreen { align: center middle; }
    ReportScreen > Vertical { width: 94%; height: 88%; }
    ReportScreen ReportPane { height: 1fr; border: heavy $primary; background: $surface; padding: 0 1; }
    ReportScreen Input { display: none; height: 1; border: none; background: $panel; }
    ReportScreen Input:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c", "dismiss", "close", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._pane = ReportPane(title, lines)
        self._input = Input(placeholder="search for", select_on_focus=False)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._pane
            yield self._input

    def on_mount(self) -> None:
        self._pane.focus()

    def ask(self) -> None:
        self._input.display = True
        self._input.value = ""
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._done()
        self._pane.search(event.value)

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self._input.has_focus:
            event.stop()
            event.prevent_default()
            self._done()

    def _done(self) -> None:
        self._input.display = False
        self._pane.focus()
