"""The console of a guest: its terminal, the keys that it gets while one types there, and looking at what it printed."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from rvtui.panes.base import Pane, strip_of
from rvtui.session import View
from rvtui.terminal import GuestTerminal, Place, Row
from rvtui.text import Line, clean

TYPING = ("console.leave", "console.page-up", "console.page-down")
"""Actions whose keys do not go to the guest."""
END = 1 << 30
"""Behind the last cell of any line."""
STAMP = 16
"""Columns of a time."""
CLIPBOARD = 48 << 10
"""Bytes that terminals take at once, in base64 two thirds more than most allow at least."""
_CURSOR = Style(reverse=True)
_RESTING = Style(underline=True)
_FOUND = Style(bold=True, underline=True)
_CHOSEN = Style(reverse=True, bold=True)


class ConsolePane(Pane):
    NAME = "console"
    TITLE = "Console"
    KEY = "2"
    TOLD_BY = "console"
    HELP = (
        "The console of the VM that is looked at (or of the bare machine), a terminal with colours and cursor movement."
        " A click, or going there, types: every key goes to the guest, also Tab, Escape and Ctrl-C, but for those that"
        " leave and turn pages. After leaving the pane stays, to look: arrows, pages, top or the wheel go to what"
        " scrolled away, a text is found from the newest line on, lines are selected (then arrows) and copied to the"
        " terminal's clipboard, as dragging with the mouse does; times are the clock when each line came, in"
        " instructions. Escape lets go, Enter types again. Whole: console copy FILE."
    )
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+right_square_bracket", "leave", "leave the console, whose keys go to the guest", show=False),
        Binding("shift+pageup", "page(-1)", "look at what scrolled away", show=False, id="console.page-up"),
        Binding("shift+pagedown", "page(1)", "forward again", show=False, id="console.page-down"),
        Binding("slash", "ask_find", "find a text, the newest line first", show=False),
        Binding("n", "again(-1)", "an older line with that text", show=False),
        Binding("N", "again(1)", "a newer line with that text", show=False),
        Binding("v", "select", "select lines, or let go of them", show=False),
        Binding("y", "copy", "copy what is selected to the terminal's clipboard", show=False),
        Binding("t", "stamps", "when each line came", show=False),
        Binding("l", "ask_log", "append what comes to a file", show=False),
        Binding("escape", "back", "let go of what is selected or found; then to the newest line", show=False),
    ]
    position = 0
    """0: the console of what is looked at; 1: the next other one."""

    def __init__(self) -> None:
        super().__init__()
        self.typing = False
        """Keys go to the guest while the pane has the focus; else they are the pane's own, to look."""
        self.stamps = False
        self._wanted = ""
        """What is searched."""
        self._found: int | None = None
        """The line where it was found last."""
        self._selected: tuple[Place, Place] | None = None
        """From the cell where it began to the one where it ends by now."""
        self._by_lines = False
        self._pressed: Place | None = None
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

    # Drawing.

    def show(self, view: View) -> None:
        self.last = view
        if not self.rows or not self.columns:
            return
        if self.index != self._index:
            self._index = self.index
            self._forget()
        terminal = self.terminal
        terminal.resize(self.columns - (STAMP if self.stamps else 0), self.rows)
        name = clean(view.consoles[self.index]) if self.index < len(view.consoles) else ""
        leave = self.application.keymap.said("console.leave", 1)
        typing = self.has_focus and self.typing and self.columns >= 60
        self.entitle(name + (f"  keys go to the guest, {leave} leaves" if typing else ""))
        self.annotate("  ".join(filter(None, self._notes(terminal))))
        rows = self._dressed(terminal)
        if len(rows) != len(self._shown):
            self._shown = rows
            self.refresh()
            return
        changed = [y for y, (old, new) in enumerate(zip(self._shown, rows, strict=True)) if old != new]
        self._shown = rows
        self._refresh_changed(changed)

    def _notes(self, terminal: GuestTerminal) -> list[str]:
        """What stands in the lower border."""
        notes = [terminal.broken]
        if self._selected is not None:
            notes.append("arrows select, y copies" if self._by_lines else "y copies")
        elif self._wanted:
            notes.append(f"/{clean(self._wanted, 20)}")
            notes.append("n older, N newer, Escape ends" if self._found is not None else "is nowhere")
        elif self.has_focus and not self.typing:
            keys = "Enter types, / finds, v selects, t times, l logs"
            notes.append(f"looking: {keys}" if self.columns >= 78 else keys if self.columns >= 56 else "Enter types")
        notes.append(f"{terminal.history} lines back" if terminal.history else "")
        return notes

    def _dressed(self, terminal: GuestTerminal) -> list[Row]:
        """The rows with cursor, what is found, what is selected, and times."""
        rows = list(terminal.rows())
        cursor = terminal.cursor
        if cursor is not None and cursor[1] < len(rows):
            mark = _CURSOR if self.has_focus and self.typing else _RESTING
            rows[cursor[1]] = _styled(rows[cursor[1]], [(cursor[0], cursor[0] + 1, mark)])
        if not (self._wanted or self._selected or self.stamps):
            return rows
        for y, (line, cell) in enumerate(terminal.places()[: len(rows)]):
            row, marks = rows[y], []
            if self._wanted:
                marks += _matches(row, self._wanted, _CHOSEN if line == self._found else _FOUND)
            if self._selected is not None:
                first, last = sorted(self._selected)
                start = 0 if first < (line, cell) else first[1] - cell if first[0] == line else END
                end = END if last[0] > line else last[1] - cell if last[0] == line else 0
                marks.append((start, min(end, terminal.width), _CURSOR))
            row = _styled(row, marks)
            if self.stamps:
                clock = None if cell else terminal.began(line)
                row = ((f"{clock:>{STAMP - 2},}  " if clock is not None else " " * STAMP, Style(dim=True)), *row)
            rows[y] = row
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

    # Typing.

    def type(self, on: bool = True) -> None:
        """Keys go to the guest, or no longer."""
        self.typing = on
        if on:
            self._forget()
            self.terminal.scroll_to_bottom()
        self.application.redraw_consoles()

    async def on_key(self, event: events.Key) -> None:
        if not self.typing:
            return
        event.stop()
        event.prevent_default()
        keymap = self.application.keymap
        if (action := keymap.doing(type(self), event.key)) is not None and action.name in TYPING:
            await self.application.run_action(action.call, self)
            return
        self._selected = None
        data = self.terminal.key(event.key, event.character)
        if data:
            self.terminal.scroll_to_bottom()
            self.application.session.send(self.index, data)

    def on_paste(self, event: events.Paste) -> None:
        if not self.typing:
            return
        event.stop()
        data = self.terminal.paste(event.text)
        if data:
            self.terminal.scroll_to_bottom()
            self.application.session.send(self.index, data)

    # Looking.

    def action_leave(self) -> None:
        self.application.leave_console()

    def _forget(self) -> None:
        self._wanted, self._found, self._selected, self._by_lines = "", None, None, False

    def action_choose(self) -> None:
        self.type()

    def action_back(self) -> None:
        """What is selected first, then what is found, then what scrolled away, then the application's own."""
        if self._selected is not None:
            self._selected, self._by_lines = None, False
        elif self._wanted:
            self._forget()
        elif self.terminal.history:
            self.terminal.scroll_to_bottom()
        else:
            self.application.action_calm()
        self.redraw()

    def action_move(self, rows: int) -> None:
        terminal = self.terminal
        if self._selected is not None and self._by_lines:
            kept, (first, (line, _)) = terminal.lines, self._selected
            line = max(kept.start, min(kept.stop - 1, line + rows))
            self._select_lines(first[0], line)
            terminal.show(line)
        else:
            terminal.scroll(rows)
        self.redraw()

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.rows // 2))

    def action_edge(self, end: int) -> None:
        self.action_move(END if end else -END)

    def action_ask_find(self) -> None:
        self.application.ask("find which text? newest line first", "console find ", self._wanted)

    def find(self, text: str) -> bool:
        """Go to the newest line that has a text; False: none has."""
        self._wanted, self._found = text, None
        return self._go(self.terminal.lines.stop - 1, -1)

    def action_again(self, direction: int) -> None:
        if not self._wanted:
            self.application.say("nothing was searched for yet", error=True)
            return
        kept = self.terminal.lines
        self._go((kept.stop - 1 if self._found is None else self._found) + direction, direction)

    def _go(self, start: int, direction: int) -> bool:
        self._found = self.terminal.find(self._wanted, start, direction)
        if self._found is not None:
            self.terminal.show(self._found)
        self.redraw()
        return self._found is not None

    def action_stamps(self) -> None:
        self.stamps = not self.stamps
        self._shown = []
        self.redraw()

    def action_ask_log(self) -> None:
        names = self.application.session.view.consoles
        name = names[self.index] if self.index < len(names) else ""
        self.application.ask("append what this console prints to which file? or off", f"log {name} ", f"{name}.log")

    # Copying.

    def action_select(self) -> None:
        """From the line that was found, or the last one on screen."""
        if self._selected is not None and self._by_lines:
            self._selected, self._by_lines = None, False
        else:
            kept = self.terminal.lines
            there = [line for line, _ in self.terminal.places() if line in kept]
            if not there:
                return
            line = self._found if self._found in there else there[-1]
            self._by_lines = True
            self._select_lines(line, line)
        self.redraw()

    def _select_lines(self, first: int, last: int) -> None:
        """`first` is where it began, and stays."""
        self._selected = ((first, 0), (last, END)) if first <= last else ((first, END), (last, 0))

    def action_copy(self) -> None:
        if self._selected is None:
            self.application.say("nothing is selected: v selects lines, or drag with the mouse", error=True)
            return
        lines = self.terminal.between(*self._selected)
        text = "\n".join(lines) + "\n" * self._by_lines
        self._selected, self._by_lines = None, False
        size = len(text.encode("utf-8", "replace"))
        if size > CLIPBOARD:
            self.application.say(f"{size:,} bytes are too long for a clipboard: console copy FILE", error=True)
        elif text.strip():
            self.application.copy_to_clipboard(text)
            count = f"{len(lines)} lines" if len(lines) > 1 else f"{len(text.rstrip())} characters"
            self.application.say(f"copied {count} to the terminal's clipboard")
        self.redraw()

    def _place_at(self, x: int, y: int) -> Place | None:
        places = self.terminal.places()
        if not places:
            return None
        line, cell = places[max(0, min(y, len(places) - 1))]
        return line, cell + max(0, min(x - (STAMP if self.stamps else 0), self.terminal.width))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and event.button == 1:
            self._pressed = self._place_at(offset.x, offset.y)
            self._selected, self._by_lines = None, False
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._pressed is None:
            return
        offset = event.get_content_offset_capture(self)
        if offset.y < 0 or offset.y >= self.rows:
            self.terminal.scroll(-1 if offset.y < 0 else 1)
        place = self._place_at(offset.x, offset.y)
        if place is not None and (place != self._pressed or self._selected is not None):
            self._selected = self._pressed, place
            self.redraw()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._pressed is None:
            return
        self.release_mouse()
        self._pressed = None
        if self._selected is not None:
            self.action_copy()
        else:
            self.type()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.terminal.scroll(3)
        self.redraw()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.terminal.scroll(-3)
        self.redraw()


class OtherConsolePane(ConsolePane):
    """Beside the first, the next VM's console."""

    NAME = "console2"
    TITLE = "Console"
    KEY = ""
    position = 1


def _matches(row: Row, wanted: str, style: Style) -> list[tuple[int, int, Style]]:
    """The cells of a row where a text stands."""
    text = "".join(part for part, _ in row)
    lower, wanted = text.lower(), wanted.lower()
    if len(lower) != len(text):  # a letter that has two small ones
        return []
    found = []
    at = lower.find(wanted)
    while at >= 0:
        start = cell_len(text[:at])
        found.append((start, start + cell_len(text[at : at + len(wanted)]), style))
        at = lower.find(wanted, at + len(wanted))
    return found


def _styled(row: Row, marks: list[tuple[int, int, Style]]) -> Row:
    """`row` with some cells styled, from the first to the one before the last; beyond its end there are blanks."""
    for start, end, mark in marks:
        if start >= end:
            continue
        out: list[tuple[str, Style]] = []
        at = 0
        for text, style in row:
            for character in text:
                step = cell_len(character)
                inside = start <= at < end or (start < at + step and at < end)
                out.append((character, style + mark if inside else style))
                at += step
        if end < END and at <= start:
            out += [(" " * (start - at), Style.null()), (" " * (end - start), mark)]
        row = _joined(out)
    return row


def _joined(parts: list[tuple[str, Style]]) -> Row:
    """Neighbours of one style as one."""
    out: list[tuple[str, Style]] = []
    for text, style in parts:
        if out and out[-1][1] == style:
            out[-1] = (out[-1][0] + text, style)
        elif text:
            out.append((text, style))
    return tuple(out)
