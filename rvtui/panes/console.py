"""The console of a guest: its terminal, and the keys that it gets while the pane has the focus."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from rvtui.panes.base import Pane, strip_of
from rvtui.session import View
from rvtui.terminal import GuestTerminal, Row
from rvtui.text import Line, clean

_CURSOR = Style(reverse=True)
_RESTING = Style(underline=True)


class ConsolePane(Pane):
    NAME = "console"
    TITLE = "Console"
    KEY = "2"
    HELP = (
        "The console of the VM that is looked at (or of the bare machine), a terminal with colours and cursor movement."
        " While it has the focus, every key goes to the guest, also Tab, Escape and Ctrl-C, but for those below. The"
        " wheel looks at what scrolled away."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+right_square_bracket", "leave", "leave the console, whose keys go to the guest", show=False),
        Binding("shift+pageup", "back(-1)", "look at what scrolled away", show=False, id="console.page-up"),
        Binding("shift+pagedown", "back(1)", "forward again", show=False, id="console.page-down"),
    ]
    position = 0
    """0: the console of what is looked at; 1: the next other one."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Row] = []
        self._index = -1

    @property
    def index(self) -> int:
        """Which console is shown."""
        view = self.application.session.view
        count = max(1, len(view.consoles))
        return ((view.subject.vm or 0) + self.position) % count

    @property
    def terminal(self) -> GuestTerminal:
        return self.application.terminal(self.index)

    def show(self, view: View) -> None:
        self.last = view
        if not self.rows or not self.columns:
            return
        terminal = self.terminal
        terminal.resize(self.columns, self.rows)
        name = clean(view.consoles[self.index]) if self.index < len(view.consoles) else ""
        leave = self.application.keymap.said("console.leave", 1)
        hint = f"  keys go to the guest, {leave} leaves" if self.has_focus and self.columns >= 60 else ""
        self.entitle(name + hint)
        self.annotate(terminal.broken or (f"{terminal.history} lines back" if terminal.history else ""))
        rows = self._with_cursor(terminal)
        if self.index != self._index or len(rows) != len(self._shown):
            self._index = self.index
            self._shown = rows
            self.refresh()
            return
        changed = [y for y, (old, new) in enumerate(zip(self._shown, rows, strict=True)) if old != new]
        self._shown = rows
        self._refresh_changed(changed)

    def _with_cursor(self, terminal: GuestTerminal) -> list[Row]:
        rows = terminal.rows()
        cursor = terminal.cursor
        if cursor is not None and cursor[1] < len(rows):
            mark = _CURSOR if self.has_focus else _RESTING
            rows[cursor[1]] = _mark(rows[cursor[1]], cursor[0], mark)
        return rows

    def draw(self, view: View) -> list[Line] | None:
        return None

    def render_line(self, y: int) -> Strip:
        paint = self.paint
        if y >= len(self._shown):
            return Strip.blank(self.columns, paint.base)
        return strip_of([(text, paint.over(style)) for text, style in self._shown[y]], self.columns, paint.base)

    def _refresh_rows(self) -> None:
        self.redraw()

    def forget_paint(self) -> None:
        self._shown = []
        super().forget_paint()
        self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        self._shown = []
        self.redraw()

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        keymap = self.application.keymap
        if (action := keymap.doing(type(self), event.key)) is not None:
            await self.application.run_action(action.call, self)
            return
        data = self.terminal.key(event.key, event.character)
        if data:
            self.terminal.scroll_to_bottom()
            self.application.session.send(self.index, data)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        data = self.terminal.paste(event.text)
        if data:
            self.terminal.scroll_to_bottom()
            self.application.session.send(self.index, data)

    def action_leave(self) -> None:
        self.application.leave_console()

    def action_back(self, direction: int) -> None:
        self._scroll(direction * max(1, self.rows // 2))

    def _scroll(self, rows: int) -> None:
        self.terminal.scroll(rows)
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._scroll(-3)


class OtherConsolePane(ConsolePane):
    """Beside the first, the next VM's console."""

    NAME = "console2"
    TITLE = "Console"
    KEY = ""
    position = 1


def _mark(row: Row, column: int, mark: Style) -> Row:
    """`row` with one cell styled."""
    from rich.cells import cell_len

    out: list[tuple[str, Style]] = []
    at = 0
    for text, style in row:
        width = cell_len(text)
        if at <= column < at + width:
            x = at
            for index, character in enumerate(text):
                step = cell_len(character)
                if x <= column < x + max(1, step):
                    out += [(text[:index], style), (character, style + mark), (text[index + 1 :], style)]
                    break
                x += step
        else:
            out.append((text, style))
        at += width
    if column >= at:
        out += [(" " * (column - at), Style.null()), (" ", mark)]
    return tuple(part for part in out if part[0])
