"""Expressions of the user with their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from rvtui.commands.displays import Shown, values
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.since import Since
from rvtui.text import Line, Span, clean


class WatchesPane(Pane):
    NAME = "watches"
    TOLD_BY = "display"
    TITLE = "Watches"
    KEY = "E"
    CURSOR = True
    HELP = (
        "Expressions with their values (display, undisplay), of what is looked at; ticker:sp is of another VM. A format"
        " shows a value as print does (/x), or memory as x does (/4wx, /2i, /s). One without a value says why. What is"
        " other than at the last stop is bold with a *. They are kept with the stops, by program. a asks for a new one,"
        " x or Delete removes, Enter or p shows the memory that it points to."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "remove", "remove the expression", show=False),
        Binding("a", "ask_new", "a new expression", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Shown] = []
        """By line."""
        self._since: Since[int, tuple[str, ...]] = Since()

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        context = self.application.commanding
        return {"watches": (lambda machine, subject: values(context), 0.2)}

    @property
    def selected(self) -> Shown | None:
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    def place_here(self) -> str:
        return self.selected.place if self.selected is not None else ""

    def choose(self, row: int) -> None:
        if self.selected is not None and self.selected.place:
            self.application.carry_out(f"memory {self.selected.place}")

    def action_remove(self) -> None:
        if self.selected is not None:
            self.application.carry_out(f"undisplay {self.selected.number}")

    def action_ask_new(self) -> None:
        self.application.ask("EXPRESSION, or /FORMAT EXPRESSION: /x sp, /4wx *ptr, /s name", "display ")

    def draw(self, view: View) -> list[Line] | None:
        found = view.get("watches")
        if not isinstance(found, tuple):
            return None
        of = (id(self.application.session.machine), view.subject)
        self._since.see(view, of, ((each.number, (*each.lines, each.trouble)) for each in found))
        self.entitle(str(len(found)) if found else "")
        self._rows = []
        lines: list[Line] = []
        names = min(max([12, *(len(each.name) for each in found)]), max(12, self.columns // 3))
        for each in found:
            before = self._since.before.get(each.number, ())
            head: list[Span] = [(f"{each.number:>3} ", "dim"), (f"{clean(each.name, names):<{names}}  ", "label")]
            if each.trouble:
                lines.append((*head, (clean(each.trouble, 300), "warn")))
                self._rows.append(each)
            for index, line in enumerate(each.lines):
                changed = index >= len(before) or before[index] != line
                lead = head if not index else [(" " * (names + 6), "")]
                value: Span = (clean(line, 300), "changed bold" if changed else "")
                lines.append((*lead, ("* " if changed else "  ", "changed bold"), value))
                self._rows.append(each)
        return lines or [(("none: a asks for one, or :display[/FORMAT] EXPRESSION", "dim"),)]
