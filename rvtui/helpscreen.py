"""Help: all keys, what each pane shows, and the commands."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rvtui.commands import reference

if TYPE_CHECKING:
    from rvtui.panes.base import Pane

KEYS = (
    ("space  r", "run and pause"),
    ("s", "step one instruction"),
    ("n", "step over a call"),
    ("u", "run to an address"),
    ("b", "breakpoint at the cursor of the disassembly, or ask where"),
    ("F", "run until the current function returns"),
    ("e", "edit a register or CSR: NAME=VALUE"),
    ("w", "walk an address through both stages"),
    ("p", "the memory at the address under the cursor"),
    ("S  L", "save to and restore from a snapshot file"),
    ("[  ]", "previous and next VM or hart"),
    ("Tab  Shift-Tab", "next and previous pane"),
    ("z", "the focused pane alone, and back"),
    ("arrows  PgUp  PgDn", "move in the focused pane; Enter opens or selects"),
    (":  Ctrl-P", "command bar, command palette"),
    ("Ctrl-]", "leave a console, which otherwise gets every key"),
    ("Ctrl-C", "pause"),
    ("q", "quit"),
)
MARKS = (
    ("M HS U VS VU", "the five modes: machine, supervisor, user, and supervisor and user of a guest"),
    ("▶ z · ■ ‖", "running, idle in WFI, waits for its turn, stopped, paused"),
    ("*", "the value changed since the display before"),
    ("● ◆ ○", "a breakpoint, one with a condition, a disabled one"),
)


class HelpScreen(ModalScreen[None]):
    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 90%; max-width: 100; height: 92%; background: $surface; border: heavy $primary; padding: 0 2;
        border-title-color: $primary; border-subtitle-color: $paint-dim;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1,enter", "dismiss", "close", show=False)]

    def __init__(self, panes: Sequence[type[Pane]], focused: str) -> None:
        super().__init__()
        self._pane_types = panes
        self._focused_name = focused

    def compose(self) -> ComposeResult:
        with VerticalScroll() as scroll:
            scroll.border_title = "Help"
            scroll.border_subtitle = "Escape closes"
            yield Static(self.text())

    def text(self) -> Text:
        width = max(40, min(92, self.app.size.width * 9 // 10 - 8))
        text = Text()

        def table(title: str, pairs: Sequence[tuple[str, str]], indent: int) -> None:
            text.append(f"\n{title}\n", "bold")
            for left, right in pairs:
                lines = textwrap.wrap(right, width - indent - 2) or [""]
                text.append(f"  {left:<{indent}}", "bold")
                if len(left) > indent - 2:
                    text.append("\n" + " " * (indent + 2))
                text.append(f"{lines[0]}\n")
                for line in lines[1:]:
                    text.append(" " * (indent + 2) + line + "\n")

        focused = [pane for pane in self._pane_types if self._focused_name == pane.NAME]
        for pane in focused:
            table(f"{pane.TITLE} (this pane)", [("", pane.HELP)], 0)
        letters = " ".join(pane.KEY for pane in self._pane_types if not pane.KEY.isdigit())
        table("Keys", [*KEYS, (f"1 .. 9  {letters}", "show and focus a pane")], 20)
        table("Marks", MARKS, 20)
        table(
            "Panes", [(f"{pane.KEY} {pane.TITLE}", pane.HELP) for pane in self._pane_types if pane not in focused], 18
        )
        for subject, members in reference.by_subject().items():
            table(f"Commands: {subject}", [(command.usage, command.help) for command in members], 34)
        return text
