"""Pictures of panes and of the whole screen, at any size, drawn aside: what is on the screen stays as it is."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.segment import Segment
from textual.geometry import Size

from emulator.errors import EmulatorError
from rvtui import panes
from rvtui.actions import Keymap
from rvtui.bars import key_line, top_line
from rvtui.colour import colourless
from rvtui.layout import MINIMUM, arrange
from rvtui.panes.base import Pane, strip_of
from rvtui.panes.vms import Overview, read_overview
from rvtui.session import OLD_OUTPUT, Failure, Session, View
from rvtui.subjects import consoles
from rvtui.terminal import GuestTerminal
from rvtui.text import Line
from rvtui.theme import THEMES, Paint

if TYPE_CHECKING:
    from textual.widget import Widget

    from rvtui.application import Application
    from rvtui.commands.registry import Context

SIZE: Final = Size(80, 24)
"""Of a pane's picture where no size is asked for and none is on the screen, with its border."""
LARGEST: Final = Size(500, 500)
SMALLEST: Final = Size(20, 4)
TURNS: Final = 10_000
"""Parts of the work of a pane that reads in slices."""

Strips = list[list[Segment]]


class Aside:
    """Stands for the application around a pane that is on no screen. On the session's worker only."""

    def __init__(self, commanding: Context) -> None:
        self.commanding = commanding
        self.session = commanding.session
        self.keymap: Keymap = getattr(commanding.screen, "keymap", None) or Keymap()
        self._asked: deque[Callable[[], object]] = deque()
        self._terminals: dict[int, GuestTerminal] = {}

    def paint_for(self, widget: Widget) -> Paint:
        return paint()

    def terminal(self, index: int) -> GuestTerminal:
        """What the console shows, as large as it is asked to be later."""
        if index not in self._terminals:
            self._terminals[index] = terminal = GuestTerminal(*SIZE)
            terminal.feed(bytes(consoles(self.session.machine)[index].output[-OLD_OUTPUT:]), live=False)
        return self._terminals[index]

    def resubscribe(self, pane: Pane) -> None: ...

    def say(self, text: str, *, error: bool = False) -> None: ...

    def Asked(self, action: Callable[[], object]) -> Callable[[], object]:
        return action

    def post_message(self, action: Callable[[], object]) -> None:
        self._asked.append(action)

    def settle(self) -> None:
        """Carry out what was asked for meanwhile, to its end."""
        for _ in range(TURNS):
            if not self._asked:
                return
            self.commanding.check()
            self._asked.popleft()()


def paint(*, bar: bool = False) -> Paint:
    theme = THEMES[0]
    background = (theme.panel if bar else theme.background) or "#0f1419"
    return Paint(theme.variables, theme.foreground or "#d8dee4", background, colours=not colourless())


def fresh(name: str) -> Pane:
    """A pane as it is when it is opened."""
    return next(pane for pane in panes.every() if name == pane.NAME)()


def drawn(aside: Aside, pane: Pane, room: Size) -> Pane:
    """A copy of `pane`, `room` large, with its lines as the machine stands now."""
    other = pane.aside(cast("Application", aside), room)
    other.entitle("")
    view = _view(aside.session, {name: reader for name, (reader, _) in other.readers().items()})
    other.show(view)
    aside.settle()
    other.show(view)
    return other


def _view(session: Session, readers: Mapping[str, Callable[..., Any]]) -> View:
    machine = session.machine
    values: dict[str, Any] = {}
    for key, reader in readers.items():
        try:
            values[key] = reader(machine, session.subject)
        except EmulatorError as error:
            values[key] = Failure(str(error))
    return replace(
        session.view, running=session.running, finished=session.finished, reason=session.reason, clock=machine.clock,
        executed=machine.executed, subject=session.subject, values=MappingProxyType(values),
    )  # fmt: skip


def text_of(aside: Aside, pane: Pane, width: int, height: int = 40) -> list[str]:
    """All that a pane has to show, also what would be scrolled away; panes that show as much as there is room for have
    `height` rows."""
    found = drawn(aside, pane, Size(width, height))
    lines = [*found.lines, *found.pinned]
    if not lines:  # it draws rows of its own
        return [strip.text.rstrip() for strip in map(found.render_line, range(height))]
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def pane_strips(aside: Aside, pane: Pane, size: Size) -> Strips:
    """A pane in its border."""
    found = drawn(aside, pane, Size(size.width - 2, size.height - 2))
    look = paint()
    edge, head, foot = look["faint"], look["label"], look["dim"]

    def border(left: str, right: str, text: str, style: Any, *, first: bool) -> list[Segment]:
        text = set_cell_size(f" {text} ", min(cell_len(text) + 2, size.width - 4)) if text else ""
        rest = Segment("─" * (size.width - 3 - cell_len(text)), edge)
        middle = [Segment("─", edge), Segment(text, style), rest]
        middle = middle if first else [rest, Segment(text, style), Segment("─", edge)]
        return [Segment(left, edge), *middle, Segment(right, edge)]

    rows = [
        [Segment("│", edge), *found.render_line(y), Segment("│", edge)] for y in range(size.height - 2)
    ]
    top = border("╭", "╮", str(found.border_title or ""), head, first=True)
    return [top, *rows, border("╰", "╯", str(found.border_subtitle or ""), foot, first=False)]


def screen_strips(aside: Aside, size: Size, pane_of: Callable[[str], Pane] = fresh, wanted: str = "console") -> Strips:
    """All panes where they would stand on a screen of that size, and the lines above and below them."""
    view = _view(aside.session, {"overview": read_overview})
    overview = view.get("overview")
    mode, name, height = None, "", 5
    if isinstance(overview, Overview):
        height = overview.height
        if (runner := overview.runner(view.subject)) is not None:
            mode, name = runner.mode, runner.name
    places = arrange(Size(size.width, size.height - 2), wanted, None, height, len(view.consoles))
    rows: list[list[tuple[int, list[Segment]]]] = [[] for _ in range(size.height - 2)]
    for pane, region in places.items():
        for y, strip in enumerate(pane_strips(aside, pane_of(pane), region.size)):
            rows[region.y + y].append((region.x, strip))
    middle = [[part for _, strip in sorted(row, key=lambda each: each[0]) for part in strip] for row in rows]
    look = paint(bar=True)

    def bar(line: Line) -> list[Segment]:
        return list(strip_of([(text, look[style]) for text, style in line], size.width, look.base))

    top = bar(top_line(view, "", mode, name, size.width))
    hints = tuple((text, style) for text, style, _ in key_line(aside.keymap, view.running, None, size.width))
    return [top, *middle, bar(hints)]


def plain(strips: Sequence[Iterable[Segment]]) -> str:
    return "".join("".join(part.text for part in strip).rstrip() + "\n" for strip in strips)


_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def svg(strips: Sequence[Iterable[Segment]], title: str) -> str:
    """The same for viewers; nothing in it is fetched from elsewhere."""
    rows = [list(strip) for strip in strips]
    width = max((sum(cell_len(part.text) for part in row) for row in rows), default=1)
    console = Console(
        width=width, height=len(rows), file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True,
        legacy_windows=False, safe_box=False,
    )  # fmt: skip
    for row in rows:
        console.print(_Row(row), end="")
        console.print()
    return _FONTS.sub("", console.export_svg(title=title)).replace("<svg ", '<svg xml:space="preserve" ', 1)


class _Row:
    """Segments as they are."""

    def __init__(self, parts: list[Segment]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: Any) -> Iterable[Segment]:
        return self._parts


def render(strips: Strips, path: str, title: str) -> bytes:
    """As the file's name wants it: .txt, else SVG."""
    make = plain if path.lower().endswith(".txt") else partial(svg, title=title)
    return make(strips).encode("utf-8", "replace")


def fits(size: Size, *, whole: bool) -> str:
    """What is wrong with a size, or ""."""
    least = Size(*MINIMUM) if whole else SMALLEST
    if size.width < least.width or size.height < least.height:
        return f"{size.width}x{size.height} is too small: at least {least.width}x{least.height}"
    if size.width > LARGEST.width or size.height > LARGEST.height:
        return f"{size.width}x{size.height} is too large: at most {LARGEST.width}x{LARGEST.height}"
    return ""
