"""A guest's terminal: bytes in, styled rows out, keys back to bytes.

bittty does the emulation; this adapter is the only place that knows it. It bounds what a hostile guest can cause: the
size of the screen is ours, history is limited, and no character leaves here whose width is not the one that it was
given on the screen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from bittty import XTERM, Board
from bittty.keyboard import KeyEvent, KeyModifiers
from bittty.style import Color as CellColor
from bittty.style import Style as CellStyle
from bittty.terminals.base import Terminal
from bittty.terminals.scrollback import MemoryScrollback, ScrollbackLine
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style

from rvtui.plaintext import safe

SCROLLBACK_CELLS = 800_000
"""Cells of history kept per console: about 10,000 full lines of 80."""
LINES = 10_000
"""Lines of history kept per console."""
PIECE = 512
"""Bytes that the emulator is given at once."""
MOST_HELD = 4096
"""Characters of an escape sequence that has no end; the emulator looks through them again with each piece."""
MAX_REPLY = 4096
"""Bytes of answers to queries that one piece of output may cause."""

PALETTE = (
    "#1b2229", "#d9705c", "#6fae8c", "#d3b063", "#6d9fd1", "#b58bc0", "#6bb3bd", "#c9d1d9",
    "#5c6873", "#f08c78", "#8fd0ab", "#f0cf86", "#93c1f0", "#d3abdc", "#8fd6e0", "#f2f5f7",
)  # fmt: skip
"""The sixteen ANSI colours, readable on the application's background."""

_ENDS = {"csi": re.compile(rb"[@-~\x18\x1a\x1b]")}
_END = re.compile(rb"[\x07\x18\x1a\x1b]")
"""What ends an escape sequence that is left out: of CSI, and of the others."""

_NAMED = {
    "enter": "enter", "tab": "tab", "backspace": "backspace", "escape": "escape",
    "delete": "delete", "insert": "insert", "home": "home", "end": "end", "pageup": "pageup", "pagedown": "pagedown",
    "up": "up", "down": "down", "left": "left", "right": "right",
}  # fmt: skip
_MODIFIERS = {"shift": KeyModifiers.SHIFT, "alt": KeyModifiers.ALT, "ctrl": KeyModifiers.CTRL}
_CONTROL = {
    "at": 0, "left_square_bracket": 27, "backslash": 28, "right_square_bracket": 29, "circumflex_accent": 30,
    "underscore": 31, "space": 0, "slash": 31, "2": 0,
}  # fmt: skip

Row = tuple[tuple[str, Style], ...]
Place = tuple[int, int]
"""A line, by its number since the terminal began, and a cell in it. Lines are the guest's: what is wrapped is one."""


class _Wire:
    """The host's end of the line: collects what the terminal sends. Satisfies bittty's Connection."""

    closed = False

    def __init__(self) -> None:
        self.sent = bytearray()

    def write(self, data: str) -> int:
        return self.write_bytes(data.encode("utf-8", "replace"))

    def write_bytes(self, data: bytes) -> int:
        if len(self.sent) < MAX_REPLY:
            self.sent += data[: MAX_REPLY - len(self.sent)]
        return len(data)

    def flush(self) -> None: ...

    async def read_bytes_async(self, size: int) -> bytes:
        return b""

    def configure_line(self, line: object) -> None: ...

    def resize(self, rows: int, cols: int) -> None: ...

    def close(self) -> None: ...

    def take(self) -> bytes:
        data = bytes(self.sent)
        self.sent.clear()
        return data


class _FixedBoard(Board):  # type: ignore[misc]
    """The guest may not resize the screen: asking costs a megabyte of cells each time."""

    accept_resize = False

    def resize(self, width: int, height: int) -> None:
        if self.accept_resize:
            super().resize(width, height)

    def set_page_columns(self, columns: int) -> None: ...


class _History(MemoryScrollback):  # type: ignore[misc]
    """Bounded in lines, too: most are short."""

    def _evict(self) -> None:
        while len(self._lines) > LINES:
            self.cells -= len(self._lines.popleft()) + 1
            self.first += 1
        super()._evict()


class GuestTerminal:
    """`reply` receives what the terminal answers to queries of the guest (cursor position, attributes)."""

    def __init__(self, width: int = 80, height: int = 24, reply: Callable[[bytes], None] | None = None) -> None:
        self.width = width
        self.height = height
        self.reply = reply or (lambda data: None)
        self.broken = ""
        """Set to one line when output could not be understood; the screen starts afresh then."""
        self._build()

    def _build(self) -> None:
        self._wire = _Wire()
        self._rows: list[Row] = []
        self._begun: dict[int, int] = {}
        self._skips: re.Pattern[bytes] | None = None
        """The end of an escape sequence that is too long, up to which output is left out."""
        self._board = _FixedBoard(
            width=self.width, height=self.height, model=replace(XTERM, options=frozenset(), reflows=True)
        )
        self._history = _History(SCROLLBACK_CELLS)
        self._terminal = Terminal(self._board, self._history)
        self._terminal.attach()
        self._board.pty = self._wire
        self._wire.take()

    def feed(self, data: bytes, *, live: bool = True, begun: Sequence[tuple[int, int]] = ()) -> None:
        """Output of the guest. Not live: it was shown before, queries in it are not answered again. `begun`: where in
        it lines begin, and the clock then."""
        marks = iter([*begun, (len(data), 0)])
        mark, clock = next(marks)
        at = 0
        while at < len(data):
            if at == mark:
                self._stamp(clock)
                mark, clock = next(marks)
            end = min(mark, at + PIECE)
            self._feed(data[at:end], live)
            at = end

    def _feed(self, data: bytes, live: bool) -> None:
        if self._skips is not None:
            end = self._skips.search(data)
            if end is None:
                return
            data = data[end.start() if end[0] == b"\x1b" else end.end() :]
            self._skips = None
        before = self._terminal.view_offset()
        try:
            self._board.feed_host_data(data)
            parser = self._board.parser
            if parser.mode is not None and len(parser.buffer) > MOST_HELD:
                self._skips = _ENDS.get(parser.mode, _END)
                self._board.feed_host_data(b"\x18")
            if (self._board.width, self._board.height) != (self.width, self.height):
                self._resize_board()  # DECCOLM
        except Exception as error:  # a guest must not be able to end the application through its terminal
            self.broken = f"the terminal lost its state over output of the guest ({type(error).__name__})"
            self._build()
        answer = self._wire.take()
        if live and answer:
            self.reply(answer)
        if not before:
            self._terminal.scroll_to_bottom()

    def resize(self, width: int, height: int) -> None:
        width, height = max(2, width), max(1, height)
        if (width, height) == (self.width, self.height):
            return
        self.width, self.height = width, height
        self._rows = []
        try:
            self._resize_board()
        except Exception:
            self._build()
        self._wire.take()

    def _resize_board(self) -> None:
        self._board.accept_resize = True
        try:
            self._board.resize(self.width, self.height)
        finally:
            self._board.accept_resize = False

    def scroll(self, rows: int) -> None:
        """Move the view: negative into history."""
        self._terminal.scroll_view(rows)
        self._rows = []

    def scroll_to_bottom(self) -> None:
        self._rows = []
        self._terminal.scroll_to_bottom()

    # Lines.

    def _stamp(self, clock: int) -> None:
        """What comes next stands in a line that began then."""
        if len(self._begun) > 2 * LINES:
            for line in [line for line in self._begun if line < self._history.first]:
                del self._begun[line]
        self._begun[self._screen()[self._row_of_cursor()][0]] = clock

    def began(self, line: int) -> int | None:
        """The clock when a line began, as far as that is known."""
        return self._begun.get(line)

    def _row_of_cursor(self) -> int:
        cursor = self._board.display.cursor
        return max(0, min(cursor[1], self.height - 1)) if cursor is not None else 0

    def _screen(self) -> list[Place]:
        """(line, row within it) of each row of the live screen."""
        history = self._history.width(self.width)
        line, within = history.line_at(len(history))
        page = self._board.display.page
        found = []
        for y in range(page.height):
            found.append((line, within))
            line, within = (line, within + 1) if page.line(y).wrapped else (line + 1, 0)
        return found

    def places(self) -> list[Place]:
        """Where each row that is shown begins."""
        history, offset = self._history.width(self.width), int(self._terminal.view_offset())
        top = len(history) - offset
        shown = [history.line_at(row) for row in range(top, top + min(offset, self.height))]
        shown += self._screen()[: self.height - len(shown)]
        return [(line, within * self.width) for line, within in shown]

    @property
    def lines(self) -> range:
        """The lines that are kept, without what is empty at the end of the screen."""
        screen, page = self._screen(), self._board.display.page
        used = [line for (line, _), y in zip(screen, range(page.height), strict=True) if _text(page.line(y).cells)]
        return range(self._history.first, max(used[-1] + 1 if used else 0, screen[0][0], self._history.first))

    def _cells(self, line: int, screen: Sequence[Place]) -> list[str]:
        """The characters of a line by cell, "" behind a wide one."""
        page = self._board.display.page
        cells: list[str] = []
        if line < screen[0][0] or (line == screen[0][0] and screen[0][1]):
            held: ScrollbackLine = self._history.line(line)
            cells += [character for _, character in held.cells(0, len(held))]
        for y, (number, _) in enumerate(screen):
            if number == line:
                cells += [character for _, character in page.line(y).cells]
        return cells

    def line(self, line: int) -> str:
        """A line's text; nothing in it that a terminal would obey."""
        return safe("".join(self._cells(line, self._screen())).rstrip())

    def between(self, first: Place, last: Place) -> list[str]:
        """The text from one cell to another, which is not included, line by line."""
        first, last = min(first, last), max(first, last)
        kept, screen = self.lines, self._screen()
        found = []
        for line in range(max(first[0], kept.start), min(last[0] + 1, kept.stop)):
            if first[0] < line < min(last[0], screen[0][0]):  # all of it, and it has scrolled off
                found.append(safe(self._history.line(line).text.rstrip()))
                continue
            cells = self._cells(line, screen)
            start = first[1] if line == first[0] else 0
            end = last[1] if line == last[0] else len(cells)
            found.append(safe("".join(cells[start:end]).rstrip()))
        return found

    def find(self, text: str, start: int, direction: int) -> int | None:
        """The next line from `start` on, or before it, that has a text, in any case; goes on at the other end."""
        wanted, kept = text.lower(), self.lines
        if not wanted or not kept:
            return None
        live = self._screen()[0][0]
        at = (start - kept.start) % len(kept)
        for step in range(len(kept)):
            line = kept[(at + direction * step) % len(kept)]
            # What has scrolled off is at hand as text.
            if wanted in (self._history.line(line).text if line < live else self.line(line)).lower():
                return line
        return None

    def show(self, line: int) -> None:
        """Move the view so that a line is on it, if it is not."""
        shown = {number for number, _ in self.places()}
        if line in shown:
            return
        history = self._history.width(self.width)
        screen = self._screen()
        row = next((len(history) + y for y, (number, _) in enumerate(screen) if number == line), None)
        row = history.row_for(line) if row is None else row
        self.scroll(row - self.height // 3 - (len(history) - self.history))

    @property
    def history(self) -> int:
        """Rows that the view stands above the live screen."""
        return int(self._terminal.view_offset())

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and row on the screen, None when hidden or scrolled away."""
        if self.history:
            return None
        cursor = self._board.display.cursor
        if cursor is None or not (0 <= cursor[1] < self.height):
            return None
        return min(cursor[0], self.width - 1), cursor[1]

    def rows(self) -> list[Row]:
        """What to show, `height` rows of at most `width` cells."""
        if self._terminal.view_offset():
            self._rows = []
            return [_row(cells[: self.width]) for cells in self._terminal.view_rows()[: self.height]]
        # Of the live screen, only what changed is looked at again.
        damaged = self._terminal.damaged_rows()
        grid = self._board.display.page.grid
        if len(self._rows) != len(grid):
            self._rows = [_row(cells[: self.width]) for cells in grid]
        else:
            for y in damaged:
                self._rows[y] = _row(grid[y][: self.width])
        return self._rows[: self.height]

    def text(self) -> str:
        """The live screen as plain text."""
        return str(self._board.capture_text())

    # Input.

    def key(self, key: str, character: str | None) -> bytes:
        """The bytes that a terminal sends for a key of the application, by its name there."""
        modifiers = KeyModifiers.NONE
        name = key
        while "+" in name and name != "+":
            head, _, rest = name.partition("+")
            if head not in _MODIFIERS:
                break
            modifiers |= _MODIFIERS[head]
            name = rest
        if modifiers & KeyModifiers.CTRL and not modifiers & ~(KeyModifiers.CTRL | KeyModifiers.ALT):
            prefix = b"\x1b" if modifiers & KeyModifiers.ALT else b""
            if len(name) == 1 and name.isascii() and name.isalpha():
                return prefix + bytes([ord(name.lower()) & 31])
            if name in _CONTROL:
                return prefix + bytes([_CONTROL[name]])
        if name in _NAMED or (name[0] == "f" and name[1:].isdigit()):
            return self._encode(_NAMED.get(name, name), modifiers)
        if character and character.isprintable():
            prefix = b"\x1b" if modifiers & KeyModifiers.ALT else b""
            return prefix + character.encode("utf-8", "replace")
        return b""

    def _encode(self, name: str, modifiers: KeyModifiers) -> bytes:
        try:
            self._board.input_key_event(KeyEvent(name, modifiers))
        except Exception:
            return b""
        return self._wire.take()

    def paste(self, text: str) -> bytes:
        """Pasted text, bracketed if the guest asked for that."""
        try:
            self._board.input_paste(text.replace("\r\n", "\r").replace("\n", "\r"))
        except Exception:
            return b""
        sent = self._wire.sent
        if len(sent) >= MAX_REPLY:  # longer than the wire keeps: send it plainly
            self._wire.take()
            return text.replace("\r\n", "\r").replace("\n", "\r").encode("utf-8", "replace")
        return self._wire.take()


def _text(cells: Sequence[tuple[CellStyle, str]]) -> str:
    return "".join(character for _, character in cells).strip()


def _row(cells: Sequence[tuple[CellStyle, str]]) -> Row:
    """Runs of equal style."""
    runs: list[tuple[str, Style]] = []
    text = ""
    current: CellStyle | None = None
    index = 0
    count = len(cells)
    while index < count:
        style, character = cells[index]
        wide = index + 1 < count and cells[index + 1][1] == ""
        if character == "":
            character = " "
        elif not (len(character) == 1 and " " <= character <= "~" and not wide):
            character = safe_glyph(character, 2 if wide else 1)
        if style is not current and style != current:
            if text:
                runs.append((text, _style(current)))
            text = ""
            current = style
        text += character
        index += 2 if wide else 1
    if text:
        runs.append((text, _style(current)))
    return tuple(runs)


@lru_cache(8192)
def safe_glyph(glyph: str, width: int) -> str:
    """`glyph`, or question marks where another terminal might give it a different width."""
    if cell_len(glyph) == width and all(unicodedata.category(each)[0] not in "CZ" or each == " " for each in glyph):
        return glyph
    return "?" * width


@lru_cache(4096)
def _style(style: CellStyle | None) -> Style:
    if style is None:
        return Style.null()
    foreground, background = _color(style.fg), _color(style.bg)
    return Style(
        color=foreground,
        bgcolor=background,
        bold=style.bold or None,
        dim=style.dim or None,
        italic=style.italic or None,
        underline=style.underline or None,
        reverse=style.reverse or None,
        strike=style.strike or None,
        conceal=style.conceal or None,
    )


@lru_cache(1024)
def _color(color: CellColor | None) -> Color | None:
    if color is None or color.mode == "default" or color.value is None:
        return None
    if color.mode == "rgb" and isinstance(color.value, tuple):
        return Color.from_rgb(*color.value)
    if isinstance(color.value, int):
        if 0 <= color.value < 16:
            return Color.parse(PALETTE[color.value])
        if color.value < 256:
            return Color.from_ansi(color.value)
    return None
