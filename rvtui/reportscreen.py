"""An answer of many lines, over the panes: scrolled and searched as a pager does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from rvtui.panes.base import Pane
from rvtui.text import Line, Span, clean


class ReportPane(Pane):
    """The lines, and where a text is in them."""

    NAME = "report"
    TITLE = "Answer"
    HELP = "The answer of a command."

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "again(1)", "the next place where a text stands", show=False, id="report.search-next"),
        Binding("N", "again(-1)", "the place before", show=False, id="report.search-previous"),
        Binding("space", "page(1)", "a page down", show=False, id="report.page-down"),
        Binding("b", "page(-1)", "a page up", show=False, id="report.page-up"),
    ]

    def __init__(self, title: str, lines: Sequence[str] | Callable[[int], Sequence[Line]]) -> None:
        """`lines`: texts, or what makes styled lines for so many columns."""
        super().__init__()
        self._title_text = clean(title, 60)
        self._made = lines if callable(lines) else None
        self._plain: Sequence[Line] = () if callable(lines) else [((clean(text, 2000), ""),) for text in lines]

    def on_mount(self) -> None:
        self.entitle("")
        self._fill()

    def entitle(self, text: str) -> None:
        search = self.application.keymap.said("pane.search", 1)
        parts = (self._title_text, text, "Escape closes", search and f"{search} searches")
        self._put_title("  ".join(filter(None, parts)))

    def _fill(self) -> None:
        if self._made is not None:
            self._plain = self._made(max(20, self.columns))
        self.put([self._marked(line) for line in self._plain])

    def _marked(self, line: Line) -> Line:
        """`line` with what was searched for in it."""
        wanted = self.sought.lower()
        if not wanted or wanted not in "".join(text for text, _ in line).lower():
            return line
        spans: list[Span] = []
        for text, style in line:
            lower, at = text.lower(), 0
            while (hit := lower.find(wanted, at)) >= 0:
                spans += [(text[at:hit], style), (text[hit : hit + len(wanted)], "accent bold underline")]
                at = hit + len(wanted)
            spans.append((text[at:], style))
        return tuple(spans)

    def action_ask_search(self) -> None:
        screen = self.screen
        assert isinstance(screen, ReportScreen)
        screen.ask()

    def search(self, text: str) -> None:
        self.sought = text or self.sought
        if not self._within(self._found_row):
            self._found_row = self.top - 1
        self._fill()
        super().search("")

    def _within(self, row: int | None) -> bool:
        return row is not None and self.top <= row < self.top + self.rows

    def _go_to(self, index: int) -> None:
        super()._go_to(index)
        self.entitle(f"/{clean(self.sought, 30)}")

    def _nowhere(self) -> None:
        self.entitle(f"/{clean(self.sought, 30)} is nowhere" if self.sought else "nothing was searched for yet")

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = []
        self._fill()


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

    def __init__(self, title: str, lines: Sequence[str] | Callable[[int], Sequence[Line]]) -> None:
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
