"""What all panes share: rows of styled text, of which only the changed ones are drawn again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from rvtui.actions import MOVING, bindings_of
from rvtui.session import Failure, Reader, View
from rvtui.text import Line, clean
from rvtui.theme import Paint

if TYPE_CHECKING:
    from rvtui.application import Application

MOST_SEARCHED = 20_000
"""Lines that a search looks at, from here on: the interface waits for it."""
FOLDS, FOLD = ("▸", "▾"), 2
"""What a row that opens may begin with, and the columns in which one click does it."""


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
    WIDE: ClassVar[bool] = False
    """Its lines want some 80 columns."""
    TOLD_BY: ClassVar[str] = ""
    """The command that tells the same in words; "": what is drawn is read out."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of(MOVING)]
    """A subclass adds its own: small letters, with a description for who reads it first. The user may remap them, as
    "NAME.id of the binding" or, without one, "NAME.action"."""

    def __init__(self) -> None:
        super().__init__(id=self.NAME)
        self._of_widget = frozenset((*self.__dict__, "_of_widget", "_application", "room"))
        self._application: Application | None = None
        self.room: Size | None = None
        """Of one that is drawn aside, not on the screen."""
        self.lines: Sequence[Line] = []
        self.top = 0
        self.cursor = 0
        self.last: View | None = None
        self.pinned: list[Line] = []
        """Rows that stay at the bottom, below what scrolls."""
        self.sought = ""
        """The text that was searched for last."""
        self._found_row: int | None = None
        """Where it stands, until the user moves."""
        self._drawn: list[Line | None] = []
        self._paint: Paint | None = None
        self._title = self._subtitle = ""

    @property
    def application(self) -> Application:
        return self._application or cast("Application", self.app)

    def aside(self, application: Application, room: Size) -> Self:
        """Another pane that shows the same, `room` large, and is on no screen. Any thread may ask."""
        other = type(self)()
        for name in other.__dict__.keys() - other._of_widget:
            value = getattr(self, name)
            setattr(other, name, value.copy() if isinstance(value, list | dict | set | deque) else value)
        other._application, other.room, other._paint, other._drawn = application, room, None, []
        other._title = other._subtitle = ""  # not on its border yet
        return other

    @property
    def extent(self) -> Size:
        """Columns and rows inside of its border."""
        return self.room or self.content_size

    @property
    def in_sight(self) -> bool:
        """Somebody sees what it draws."""
        return self.room is not None or bool(self.display and self.is_attached)

    def _on_mount(self, event: events.Mount) -> None:  # Textual calls that of each class
        self._bindings = self.application.keymap.of_pane(type(self))

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

    def walk_here(self) -> bool:
        """Walk the address under the cursor; False: there is none."""
        line = self.walk_command()
        if line:
            self.application.carry_out(line)
        return bool(line)

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
        at = self._found_row
        if at is not None and not (at < len(lines) and self._has(at, self.sought.lower())):
            self._found_row = None
        self._clamp()
        self._refresh_rows()

    @property
    def rows(self) -> int:
        """In which `lines` scroll."""
        return max(0, int(self.extent.height) - len(self.pinned))

    @property
    def columns(self) -> int:
        return int(self.extent.width)

    def _clamp(self) -> None:
        if self.CURSOR:
            self.cursor = max(self.HEAD, min(self.cursor, len(self.lines) - 1))
            if self.rows:
                self.top = max(min(self.top, self.cursor - self.HEAD), self.cursor - self.rows + 1)
        self.top = max(0, min(self.top, len(self.lines) - self.rows))

    def _row(self, y: int, rows: int) -> Line | None:
        """What stands in row `y` of the pane, with the cursor's mark folded in so that moving it is a change. `rows`:
        those that scroll."""
        if y >= rows:
            return self.pinned[y - rows] if self.pinned else None
        index = y if y < self.HEAD else self.top + y
        if index >= len(self.lines):
            return None
        line = self.lines[index]
        if (self.CURSOR and index == self.cursor and self.has_focus) or index == self._found_row:
            return (("", "select"), *line)
        return line

    def _refresh_rows(self) -> None:
        height, rows = int(self.extent.height), self.rows  # asking Textual costs something
        wanted = [self._row(y, rows) for y in range(height)]
        if len(self._drawn) != height:
            self._drawn = wanted
            self.refresh()
        else:
            changed = [y for y in range(height) if wanted[y] != self._drawn[y]]
            self._drawn = wanted
            self._refresh_changed(changed)
        last = self.top + rows
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
        if self._subtitle != text:
            self._subtitle = text
            self.border_subtitle = Content(text)  # names of guests are no markup

    def entitle(self, text: str) -> None:
        """`text` after the pane's key and title, as the border's."""
        self._put_title(f"{self._title_key()} {self.TITLE}".strip() + (f"  {text}" if text else ""))

    def _title_key(self) -> str:
        if not self.KEY:
            return ""
        return self.application.keymap.said(f"show.{self.NAME}", 1)

    def _put_title(self, title: str) -> None:
        if self._title != title:
            self._title = title
            self.border_title = Content(title)

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
        line = self._drawn[y] if y < len(self._drawn) else self._row(y, self.rows)
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
        self._found_row = None
        self._refresh_rows()
        self.moved()

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.rows - 1))

    def action_half(self, direction: int) -> None:
        self.action_move(direction * max(1, self.rows // 2))

    def action_edge(self, end: int) -> None:
        self.action_move(len(self.lines) if end else -len(self.lines))

    def action_choose(self) -> None:
        self.choose(self.cursor)

    def moved(self) -> None:
        """The cursor or the text was moved by the user."""

    def choose(self, row: int) -> None:
        """Enter was pressed, or a row clicked twice."""

    # Searching.

    def action_ask_search(self) -> None:
        self.application.ask("a text to find; nothing: the one before", "/", then=self.search)

    def search(self, text: str) -> None:
        """Go to the next line that has the text; upper and lower case are one."""
        self.sought = text or self.sought
        self.action_again(1)

    def action_again(self, direction: int) -> None:
        wanted = self.sought.lower()
        if not wanted:
            self._nowhere()
            return
        count = len(self.lines)
        here = self._found_row if self._found_row is not None else self.cursor if self.CURSOR else self.top - direction
        for step in range(1, min(count, MOST_SEARCHED) + 1):
            index = (here + direction * step) % count
            if self._has(index, wanted):
                self._go_to(index)
                return
        self._nowhere()

    def _nowhere(self) -> None:
        self.application.say(
            f"{self.sought!r} is nowhere in {self.TITLE}" if self.sought else "nothing was searched for yet", error=True
        )

    def _has(self, index: int, wanted: str) -> bool:
        return wanted in "".join(text for text, _ in self.lines[index]).lower()

    def _go_to(self, index: int) -> None:
        if self.CURSOR:
            self.cursor = index
        elif not self.top <= index < self.top + self.rows:
            self.top = index - self.rows // 3
        self._clamp()
        self._found_row = index
        self._refresh_rows()
        self.moved()
        self._found_row = index

    # The mouse.

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3 if not self.CURSOR else 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3 if not self.CURSOR else -1)

    async def _on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            if event.chain == 2 and event.y <= self.gutter.top - 1:  # the line of the title
                self.application.zoom(self)
        elif offset.y < self.rows:
            self.clicked(offset.x, offset.y if offset.y < self.HEAD else self.top + offset.y, event.chain)

    def clicked(self, x: int, row: int, times: int) -> None:
        """A cell of what scrolls was clicked: `row` of `lines`, which may be beyond them. The first click of a chain
        chooses the row, or opens it where that is drawn at its beginning, the second opens it."""
        if not self.CURSOR or not self.HEAD <= row < len(self.lines):
            return
        self.cursor = row
        self._refresh_rows()
        self.moved()
        folded = x < FOLD and any(text[:1] in FOLDS for text, _ in self.lines[row][:1])
        if times == 2 - folded:
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
