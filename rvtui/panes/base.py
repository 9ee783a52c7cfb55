"""What all panes share: rows of styled text, of which only the changed ones are drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from rvtui.session import Failure, Reader, View
from rvtui.text import Line, clean
from rvtui.theme import Paint

if TYPE_CHECKING:
    from rvtui.application import Application


def strip_of(runs: list[tuple[str, Style]], width: int, rest: Style) -> Strip:
    """`runs` cut or filled up to `width` cells. Measures only text that is not ASCII."""
    segments = []
    used = 0
    for text, style in runs:
        if not text:
            continue
        cells = len(text) if text.isascii() else cell_len(text)
        if used + cells > width:
            text = set_cell_size(text, width - used)
            cells = width - used
            if not cells:
                break
        segments.append(Segment(text, style))
        used += cells
    if used < width:
        segments.append(Segment(" " * (width - used), rest))
    return Strip(segments, width)


class Pane(Widget, can_focus=True):
    """`lines` scroll under an optional cursor. Subclasses say what they read and draw it from a view."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    KEY: ClassVar[str] = ""
    """The digit that shows it."""
    HELP: ClassVar[str]
    """What the pane shows and its own keys, for the help screen."""
    CURSOR: ClassVar[bool] = False
    """Up and down move a cursor instead of the text."""
    HEAD: ClassVar[int] = 0
    """Lines at the top that stay where they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "edge(0)", "top", show=False),
        Binding("end,G", "edge(1)", "bottom", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]

    class Chosen(Message):
        """Enter or a click on a row."""

        def __init__(self, pane: Pane, row: int) -> None:
            super().__init__()
            self.pane = pane
            self.row = row

    def __init__(self) -> None:
        super().__init__(id=self.NAME)
        self.lines: Sequence[Line] = []
        self.top = 0
        self.cursor = 0
        self.last: View | None = None
        self.pinned: list[Line] = []
        """Rows that stay at the bottom, below what scrolls."""
        self._drawn: list[Line | None] = []
        self._paint: Paint | None = None

    @property
    def application(self) -> Application:
        return cast("Application", self.app)

    # What subclasses say.

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        """What the pane needs in a view, by key, and at most how often (seconds, 0: each time)."""
        return {}

    def draw(self, view: View) -> Sequence[Line] | None:
        """The rows for a view, at the present size; None: as they are."""
        raise NotImplementedError

    def walk_command(self) -> str:
        """The command that walks the address under the cursor; "": there is none."""
        return ""

    def place_here(self) -> str:
        """The address under the cursor as `memory` takes it; "": there is none."""
        return ""

    def stop_line(self) -> str:
        """What stops the machine when what is under the cursor happens again, as the book of stops takes it; "": there
        is nothing to stop for."""
        return ""

    # Drawing.

    def show(self, view: View) -> None:
        self.last = view
        for key in self.readers():
            value = view.get(key)
            if isinstance(value, Failure):
                self.pinned = []
                self.put([((value.text, "warn"),)])
                return
        try:
            lines: Sequence[Line] | None = self.draw(view)
        except Exception as error:  # the machine behind is worth more than this picture of it
            lines = [((f"internal error drawing {self.NAME}: {type(error).__name__}: {clean(str(error))}", "bad"),)]
        if lines is not None:
            self.put(lines)

    def redraw(self) -> None:
        if self.last is not None:
            self.show(self.last)

    def put(self, lines: Sequence[Line]) -> None:
        """Have `lines` on screen, drawing the rows that differ."""
        self.lines = lines
        self._clamp()
        self._refresh_rows()

    @property
    def rows(self) -> int:
        """In which `lines` scroll."""
        return max(0, int(self.content_size.height) - len(self.pinned))

    @property
    def columns(self) -> int:
        return int(self.content_size.width)

    def _clamp(self) -> None:
        if self.CURSOR:
            self.cursor = max(self.HEAD, min(self.cursor, len(self.lines) - 1))
            if self.rows:
                self.top = max(min(self.top, self.cursor - self.HEAD), self.cursor - self.rows + 1)
        self.top = max(0, min(self.top, len(self.lines) - self.rows))

    def _row(self, y: int) -> Line | None:
        """What stands in row `y` of the pane, with the cursor's mark folded in so that moving it is a change."""
        if y >= self.rows:
            return self.pinned[y - self.rows] if self.pinned else None
        index = y if y < self.HEAD else self.top + y
        if index >= len(self.lines):
            return None
        line = self.lines[index]
        if self.CURSOR and index == self.cursor and self.has_focus:
            return (("", "select"), *line)
        return line

    def _refresh_rows(self) -> None:
        height = int(self.content_size.height)
        wanted = [self._row(y) for y in range(height)]
        if len(self._drawn) != height:
            self._drawn = wanted
            self.refresh()
        else:
            changed = [y for y in range(height) if wanted[y] != self._drawn[y]]
            self._drawn = wanted
            self._refresh_changed(changed)
        last = self.top + self.rows
        more = self.top or len(self.lines) > last
        self.annotate(f"{self.top + 1}-{last} of {len(self.lines)}" if more else "")

    def _refresh_changed(self, rows: list[int]) -> None:
        """Draw some rows again; neighbours go as one region."""
        width = self.columns
        regions: list[Region] = []
        for y in rows:
            if regions and regions[-1].bottom == y:
                regions[-1] = Region(0, regions[-1].y, width, regions[-1].height + 1)
            else:
                regions.append(Region(0, y, width, 1))
        if regions:
            self.refresh(*regions)

    def annotate(self, text: str) -> None:
        if (self.border_subtitle or "") != text:
            self.border_subtitle = text

    def entitle(self, text: str) -> None:
        """`text` after the pane's key and title, as the border's."""
        title = f"{self.KEY} {self.TITLE}".strip() + (f"  {text}" if text else "")
        if self.border_title != title:
            self.border_title = title

    @property
    def paint(self) -> Paint:
        if self._paint is None:
            self._paint = self.application.paint_for(self)
        return self._paint

    def forget_paint(self) -> None:
        """The theme has changed."""
        self._paint = None
        self._drawn = []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.columns
        paint = self.paint
        line = self._row(y)
        if line is None:
            return Strip.blank(width, paint.base)
        if line and line[0] == ("", "select"):
            return strip_of([(text, paint[f"{style} select"]) for text, style in line], width, paint["select"])
        return strip_of([(text, paint[style]) for text, style in line], width, paint.base)

    # Moving.

    def action_move(self, rows: int) -> None:
        if self.CURSOR:
            self.cursor += rows
        else:
            self.top += rows
        self._clamp()
        self._refresh_rows()
        self.moved()

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.rows - 1))

    def action_edge(self, end: int) -> None:
        self.action_move(len(self.lines) if end else -len(self.lines))

    def action_choose(self) -> None:
        self.choose(self.cursor)

    def moved(self) -> None:
        """The cursor or the text was moved by the user."""

    def choose(self, row: int) -> None:
        """Enter was pressed, or a row clicked twice."""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3 if not self.CURSOR else 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3 if not self.CURSOR else -1)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if self.CURSOR and offset is not None:
            row = self.top + offset.y
            if self.HEAD <= offset.y < self.rows and row < len(self.lines):
                again = row == self.cursor
                self.cursor = row
                self._refresh_rows()
                self.moved()
                if again:
                    self.choose(row)

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = []
        self.redraw()
        self._clamp()
        self._refresh_rows()

    def on_focus(self) -> None:
        self._refresh_rows()

    def on_blur(self) -> None:
        self._refresh_rows()
