"""The line above the panes and the line below them: state, keys, messages, and the prompt."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input

from rvtui.actions import GENERAL, Keymap
from rvtui.session import View
from rvtui.text import MODE_NAMES, Line, clean, count, guest_time, line_width
from rvtui.theme import Paint

MESSAGE_SECONDS = 6.0


class Bar(Widget):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; background: $panel; }"

    def __init__(self, id: str, paint: Callable[[Widget], Paint]) -> None:
        super().__init__(id=id)
        self._line: Line = ()
        self._find_paint = paint
        self._paint: Paint | None = None

    def put(self, line: Line) -> None:
        if line != self._line:
            self._line = line
            self.refresh()

    def forget_paint(self) -> None:
        self._paint = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._paint is None:
            self._paint = self._find_paint(self)
        paint = self._paint
        return Strip([Segment(text, paint[style]) for text, style in self._line]).adjust_cell_length(
            self.size.width, paint.base
        )


def top_line(view: View, title: str, mode: int | None, name: str, width: int) -> Line:
    """What the machine does, at one glance."""
    if view.running:
        state = (" z idle ", "label bold") if view.idle else (" ▶ running ", "good bold")
    else:
        state = (" ■ ended " if view.finished else " ‖ stopped ", "warn bold")
    left: list[tuple[str, str]] = [(" rvtui ", "accent bold"), state]
    if not view.running and view.reason:
        left.append((f" {clean(view.reason, max(10, width - 62))}", "warn"))
    right: list[tuple[str, str]] = [(clean(name, 20), "bold")]
    if mode is not None:
        right += [(" ", ""), (MODE_NAMES[mode], f"{MODE_NAMES[mode]} bold")]
    right.append((f"  {view.executed:,} instr", ""))
    if width >= 100:
        right.append((f"  {guest_time(view.clock)}", "label"))
    right.append((f"  {count(view.rate)}/s " if view.running else " ", "accent"))
    if width >= 130 and title:
        right.insert(0, (f"{clean(title, 40)}  ", "dim"))
    gap = width - line_width(tuple(left)) - line_width(tuple(right))
    return (*left, (" " * max(1, gap), ""), *right)


class TopBar(Bar):
    """The state; a click on it runs and pauses, one on what is looked at goes to the next."""

    def __init__(self, paint: Callable[[Widget], Paint], do: Callable[[str], None]) -> None:
        super().__init__("top", paint)
        self._do = do

    def on_click(self, event: events.Click) -> None:
        self._do("run" if event.x < self.size.width // 2 else "next-vm")


Part = tuple[str, str, str]
"""Text, its style, and the action that a click on it does, or "". """


def key_line(keymap: Keymap, running: bool, console: str | None, width: int) -> tuple[Part, ...]:
    """The keys that are needed most. `console`: whose console has the focus, if one has."""
    if console is not None:
        return (
            (f" {keymap.said('console.leave', 1)}", "accent bold", "console.leave"),
            (" leaves the console   ", "label", "console.leave"),
            (f"all other keys go to {clean(console, 20)}", "", ""),
        )
    hints = [action for action in GENERAL if action.hint and keymap.keys[action.name]]
    parts: list[Part] = []
    for drop in range(max(action.rank for action in hints) if hints else 0, -1, -1):
        parts = [(" ", "", "")]
        shown = [action for action in hints if action.rank <= drop]
        for index, action in enumerate(shown):
            alike = index + 1 < len(shown) and shown[index + 1].hint == action.hint
            word = "pause" if action.hint == "run" and running else action.hint
            parts.append((keymap.said(action.name, 1), "accent bold", action.name))
            parts.append((" ", "", "") if alike else (f" {word}  ", "label", action.name))
        if line_width(tuple(part[:2] for part in parts)) <= width:
            break
    return tuple(parts)


class KeyBar(Bar):
    """Keys, or for a while a message. A click does what stands there, or takes the message away."""

    def __init__(self, paint: Callable[[Widget], Paint], do: Callable[[str], None]) -> None:
        super().__init__("keys", paint)
        self._do = do
        self._parts: tuple[Part, ...] = ()
        self._message: Line | None = None
        self._until = 0.0

    def say(self, text: str, *, error: bool = False) -> None:
        mark = (" ✗ ", "bad bold") if error else (" ✓ ", "good bold")
        self._message = (mark, (clean(text, 400), "bad" if error else ""))
        self._until = time.monotonic() + MESSAGE_SECONDS * (2 if error else 1)
        self.put(self._message)

    def hush(self) -> None:
        self._until = 0.0

    @property
    def message(self) -> str:
        """What is being said, or ""."""
        return "".join(text for text, _ in self._message or ()) if time.monotonic() < self._until else ""

    def update(self, parts: tuple[Part, ...]) -> None:
        self._parts = parts
        self.put(self._message if self._message is not None and self.message else tuple(part[:2] for part in parts))

    def on_click(self, event: events.Click) -> None:
        if self.message:
            self.hush()
            self.update(self._parts)
            return
        at = 0
        for text, _, action in self._parts:
            at += cell_len(text)
            if event.x < at:
                if action:
                    self._do(action)
                return


class _Completion(Suggester):
    def __init__(self, complete: Callable[[str], list[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return next((line for line in self._complete(value) if line != value), None) if value else None


class Prompt(Input):
    """The command bar and all questions: a line with completion by Tab and history by up and down."""

    DEFAULT_CSS = """
    Prompt { height: 1; width: 1fr; border: none; padding: 0 1 0 0; background: $panel; }
    Prompt:focus { border: none; background-tint: $foreground 0%; }
    """

    def __init__(self, complete: Callable[[str], list[str]], done: Callable[[str | None], None]) -> None:
        self._prefix = ""
        self._whole = True
        self._completions: list[str] = []
        self._stem = ""
        super().__init__(id="prompt", suggester=_Completion(lambda text: self._lines(text)), select_on_focus=False)
        self._complete_line = complete
        self._done = done
        self._history: list[str] = []
        self._at = 0

    def _lines(self, text: str) -> list[str]:
        prefix = self._prefix
        return [line[len(prefix) :] for line in self._complete_line(prefix + text)]

    def ask(self, label: str, prefix: str, value: str = "", *, whole: bool = True) -> None:
        """`prefix` is the beginning of the command that the answer completes; "" asks for a whole command. With `whole`
        off the answer is no command: it comes without the prefix, also empty, and is not remembered."""
        self._prefix = prefix
        self._whole = whole
        self.placeholder = label
        self.value = value
        self.cursor_position = len(value)
        self._completions = []
        self._at = len(self._history)
        self.focus()

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "tab":
            self._next_completion()
        elif event.key in ("escape", "ctrl+c") or (event.key == "backspace" and not self.value):
            self._close(None)
        elif event.key in ("up", "down"):
            self._recall(-1 if event.key == "up" else 1)
        elif event.key == "enter" and not self._whole:
            self._close(self.value)
        elif event.key == "enter":
            line = (self._prefix + self.value).strip()
            if self.value.strip() and (not self._history or self._history[-1] != line):
                self._history = [*self._history[-199:], line]
            self._close(line if self.value.strip() else None)
        else:
            self._completions = []
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    def _close(self, line: str | None) -> None:
        self._done(line)

    def _next_completion(self) -> None:
        if not self._completions:
            self._stem = self.value
            self._completions = self._lines(self.value)
            if len(self._completions) > 1:
                common = _common(self._completions)
                if len(common) > len(self.value):
                    self.value = common
                    self.cursor_position = len(common)
                    self._completions = []
                    return
        if self._completions:
            self._completions.append(self._completions.pop(0))
            self.value = self._completions[-1]
            self.cursor_position = len(self.value)

    def _recall(self, direction: int) -> None:
        lines = [line[len(self._prefix) :] for line in self._history if line.startswith(self._prefix)]
        self._at = max(0, min(len(lines), min(self._at, len(lines)) + direction))
        self.value = lines[self._at] if self._at < len(lines) else ""
        self.cursor_position = len(self.value)


def _common(lines: list[str]) -> str:
    first, last = min(lines), max(lines)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]
