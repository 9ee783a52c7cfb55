"""Help: the focused pane first, then all keys, what each pane shows, and the commands; searched as a pager does."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from rvtui import actions
from rvtui.actions import ANY_PANE, EVERYWHERE, PAGER, Keymap
from rvtui.commands import reference
from rvtui.reportscreen import ReportScreen
from rvtui.text import Line

if TYPE_CHECKING:
    from rvtui.panes.base import Pane

MOUSE = (
    ("click", "a pane: its keys from now on; a row: the cursor; a VM: look at it; ▸ ▾: open and close"),
    ("twice", "a row: as Enter; a title: the pane alone, and back"),
    ("wheel", "scroll"),
    ("below, above", "a hint in the last line does what it says; the state in the first runs and pauses"),
)
MARKS = (
    ("M HS U VS VU", "the five modes: machine, supervisor, user, and supervisor and user of a guest"),
    ("▶ z · ■ ‖", "running, idle in WFI, waits for its turn, stopped, paused"),
    ("*", "the value changed since the display before"),
    ("● ◆ ○", "a breakpoint, one with a condition, a disabled one"),
)


def keys_of(keymap: Keymap, where: str, *, without: str = "show.") -> list[tuple[str, str]]:
    """(keys, what they do) of the actions of a place, those that have a key."""
    found = []
    for name, action in actions.every().items():
        if action.where == where and keymap.keys[name] and not name.startswith(without):
            found.append((keymap.said(name), action.does))
    return found


def help_lines(kinds: Sequence[type[Pane]], focused: str, keymap: Keymap, width: int) -> list[Line]:
    """`kinds`: the panes that can be shown; `focused`: the NAME of the one whose help stands first, or ""."""
    lines: list[Line] = []
    width = min(width, 100)

    def heading(text: str) -> None:
        lines.extend([()] if lines else [])
        lines.extend(((part, "bold accent"),) for part in textwrap.wrap(text, width))

    def table(title: str, pairs: Sequence[tuple[str, str]], indent: int) -> None:
        if title:
            heading(title)
        for left, right in pairs:
            parts = textwrap.wrap(right, max(20, width - indent - 2)) or [""]
            head = f"  {left:<{indent}}"
            if len(left) > indent - 1:
                lines.append(((head, "bold"),))
                head = " " * (indent + 2)
            lines.append(((head, "bold"), (parts[0], "")))
            lines.extend(((" " * (indent + 2) + part, ""),) for part in parts[1:])

    for pane in kinds:
        if focused == pane.NAME:
            heading(f"{pane.TITLE} (this pane)")
            lines.extend(((f"  {part}", ""),) for part in textwrap.wrap(pane.HELP, width - 2))
            own = [pair for scope in actions.scopes(pane)[1:] for pair in keys_of(keymap, scope)]
            if own:
                lines.append(())
                table("", own, 16)
    show = [keymap.said(f"show.{pane.NAME}", 1) for pane in kinds if pane.KEY]
    digits = [key for key in show if key.isdigit()]
    letters = " ".join(key for key in show if key and not key.isdigit())
    span = f"{digits[0]} .. {digits[-1]}  " if digits else ""
    panes = (f"{span}{letters}", "show and focus a pane; its title has the key")
    table("Keys", [*keys_of(keymap, EVERYWHERE), panes], 16)
    leave = (keymap.said("console.leave", 1), "leave a console, which otherwise gets every key")
    table("Keys in every pane", [*keys_of(keymap, ANY_PANE), leave], 16)
    table("Keys of answers and of this help", keys_of(keymap, PAGER), 16)
    table("Mouse", MOUSE, 16)
    table("Marks", MARKS, 16)
    heading("Panes")
    for pane in kinds:
        if focused != pane.NAME and pane.KEY:
            table("", [(f"{keymap.said(f'show.{pane.NAME}', 1)} {pane.TITLE}", pane.HELP)], 20)
            table("", [(f"   {keys}", does) for keys, does in keys_of(keymap, pane.NAME)], 20)
    for subject, members in reference.by_subject().items():
        table(f"Commands: {subject}", [(command.usage, command.help) for command in members], 34)
    return lines


class HelpScreen(ReportScreen):
    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Vertical { width: 94%; max-width: 106; height: 94%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1,enter", "dismiss", "close", show=False)]

    def __init__(self, kinds: Sequence[type[Pane]], focused: str, keymap: Keymap) -> None:
        super().__init__("Help", lambda width: help_lines(kinds, focused, keymap, width))
