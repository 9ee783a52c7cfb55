"""The timeline: what a hart did when, in lanes, from one instruction a cell to the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from emulator import history
from emulator.hart import EventKind
from emulator.machine import Machine
from rvtui.lanes import DETAILS, LABEL, Timeline, Wanted, cell_lines, heading, picture_rows, read_timeline
from rvtui.panes.base import Pane
from rvtui.panes.traps import MOST, alike, key_of
from rvtui.reportscreen import ReportScreen
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_index
from rvtui.text import Line

WHEEL = 2
"""Doublings of a cell for a step of the mouse wheel."""
KINDS = ("", *history.KINDS)
BRIEF = 2
"""Lines about the cursor's cell, at least."""
TALL = 18
"""Rows from which on a line parts them from the picture."""


class TimelinePane(Pane):
    NAME = "timeline"
    WIDE = True
    TOLD_BY = "timeline"
    TITLE = "Timeline"
    KEY = "0"
    HEAD = 2
    HELP = (
        "The hart's whole run, to the right by its clock. M, HS, U: bars of the share of the instructions that retired"
        " in the cell. VS, VU: the guest that ran most, its letter small where that is less than half; rows below say"
        " how much each guest ran. Then how often what happened: one event as its mark, more as a number, many as bars."
        " Hatched cells are known as part of a longer stretch only. + - or the wheel: shorter and longer cells; arrows"
        " move the cursor, PageUp and PageDown by pages; Home the start, End the end, which it then follows; a the"
        " whole run. Dot and comma: the next and the previous event, t of which kind. Enter shows the events of the"
        " cell, and of a trap why."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "scale(-1)", "shorter cells", show=False),
        Binding("minus,underscore", "scale(1)", "longer cells", show=False),
        Binding("left", "go(-1)", "a cell to the left", show=False),
        Binding("right", "go(1)", "a cell to the right", show=False),
        Binding("shift+left", "go(-8)", "eight cells to the left", show=False),
        Binding("shift+right", "go(8)", "eight cells to the right", show=False),
        Binding("pageup", "turn(-1)", "page left", show=False),
        Binding("pagedown", "turn(1)", "page right", show=False),
        Binding("home,g", "start", "to the beginning of the run", show=False),
        Binding("end,G", "follow", "to its end, and along with it", show=False),
        Binding("a", "whole", "the whole run", show=False),
        Binding("full_stop", "seek(1)", "next event", show=False),
        Binding("comma", "seek(-1)", "previous event", show=False),
        Binding("t", "kind", "which kind of event . and , look for", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shift: int | None = None
        """None: the whole run."""
        self._first: int | None = None
        """None: it follows the end."""
        self._cursor: int | None = None
        """A clock; None: the end."""
        self._kind = ""
        self._seen: Timeline | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        wanted = Wanted(self._shift, self._first, self._cells, self._cursor)
        return {"timeline": (partial(_read, wanted), 0.25)}

    @property
    def _cells(self) -> int:
        return max(8, self.columns - LABEL)

    @property
    def timeline(self) -> Timeline | None:
        """What is drawn."""
        return self._seen

    def draw(self, view: View) -> list[Line] | None:
        timeline = view.get("timeline")
        if not isinstance(timeline, Timeline):
            return None
        self._seen = timeline
        stood = self.application.session.stood
        rows = [heading(timeline), *picture_rows(timeline, stood)]
        below = cell_lines(timeline, stood)
        height = int(self.extent.height)
        line: list[Line] = [(("─" * self.columns, "faint"),)] if height >= TALL else []
        room = max(BRIEF, height - len(rows) - len(line))
        if (hidden := len(below) - room) > 0:
            below = below[:room]
            below[1] = (*below[1], (f"  Enter: {hidden} more lines", "dim"))
        self.pinned = [*line, *below]
        self.entitle(", ".join(self._state()))
        return rows

    def _state(self) -> list[str]:
        follows = "follows the end" if self._first is None else ""
        return [text for text in (follows, f"finds {self._kind or 'any event'}") if text]

    def _want(self) -> None:
        self.application.resubscribe(self)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._want()

    # Where to look.

    def _stay(self) -> tuple[int, int, int] | None:
        """(shift, first cell, cursor) of what is drawn: from now on it no longer moves by itself."""
        timeline = self._seen
        if timeline is None:
            return None
        self._shift, self._first = timeline.picture.shift, timeline.picture.first
        self._cursor = timeline.cursor if self._cursor is None else self._cursor
        return self._shift, self._first, self._cursor

    def _place(self, clock: int, shift: int) -> None:
        """The cursor to a clock, and the picture to the cursor, if it left it."""
        timeline = self._seen
        if timeline is None:
            return
        self._cursor, self._shift = max(0, min(clock, timeline.picture.clock)), shift
        cell = self._cursor >> shift
        if self._first is None or not self._first <= cell < self._first + self._cells:
            self._first = max(0, cell - self._cells // 2)
        self._want()

    def action_go(self, cells: int) -> None:
        if (here := self._stay()) is not None:
            shift, first, cursor = here
            cell = (cursor >> shift) + cells
            if cell < first:
                self._first = max(0, cell)
            elif cell >= first + self._cells:
                self._first = cell - self._cells + 1
            self._place(cell << shift, shift)

    def action_turn(self, pages: int) -> None:
        if (here := self._stay()) is not None and self._seen is not None:
            shift, first, cursor = here
            moved = max(0, min(first + pages * self._cells, self._seen.picture.clock >> shift)) - first
            self._first = first + moved
            self._place(max(0, (cursor >> shift) + moved) << shift, shift)

    def action_scale(self, doublings: int, cell: int | None = None) -> None:
        """Cells twice as long or half as long, with the cursor where it is."""
        if (here := self._stay()) is None or self._seen is None:
            return
        shift, first, cursor = here
        if cell is not None:
            cursor = min((first + cell) << shift, self._seen.picture.clock)
        changed = max(0, min(shift + doublings, history.whole(self._seen.picture.clock, self._cells)))
        offset = max(0, min((cursor >> shift) - first, self._cells - 1))
        self._first = max(0, (cursor >> changed) - offset)
        self._place(cursor, changed)

    def action_start(self) -> None:
        if (here := self._stay()) is not None:
            self._first = 0
            self._place(0, here[0])

    def action_follow(self) -> None:
        self._first = self._cursor = None
        self._want()

    def action_whole(self) -> None:
        self._shift = self._first = self._cursor = None
        self._want()

    def action_kind(self) -> None:
        self._kind = KINDS[(KINDS.index(self._kind) + 1) % len(KINDS)]
        self.entitle(", ".join(self._state()))

    def action_seek(self, direction: int) -> None:
        """The cursor to the next cell with an event of the kind, or the one before."""
        if (here := self._stay()) is None:
            return
        shift, _, cursor = here
        start = cursor >> shift << shift
        subject, kind = self.application.session.subject, self._kind

        def look(machine: Machine) -> int | None:
            hart = machine.harts[hart_index(machine, subject)]
            return history.seek(hart, start + (1 << shift) - 1 if direction > 0 else start, direction, kind)

        def found(clock: int | None) -> None:
            if clock is None:
                which = "later" if direction > 0 else "earlier"
                self.application.say(f"no {which} {self._kind or 'event'}", error=True)
            else:
                self._place(clock, shift)

        self.application.when_done(self.application.session.call(look), found)

    # Mouse.

    def _cell_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset(self)
        return offset.x - LABEL if offset is not None and 0 <= offset.x - LABEL < self._cells else None

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scale(-WHEEL, self._cell_at(event))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scale(WHEEL, self._cell_at(event))

    def on_click(self, event: events.Click) -> None:
        cell, here = self._cell_at(event), self._stay()
        if cell is None or here is None:
            return
        shift, first, cursor = here
        if cursor >> shift == first + cell:
            self.action_choose()
        else:
            self._place((first + cell) << shift, shift)

    # Enter.

    def choose(self, row: int) -> None:
        """The events of the cell: of a trap alone why, of others the list."""
        timeline = self._seen
        if timeline is None:
            return
        taken = [event for event, _ in timeline.details if event.kind in (EventKind.TRAP, EventKind.INTERRUPT)]
        if len(taken) != 1 or timeline.more:
            self._list(timeline)
            return
        key, index = key_of(taken[0]), timeline.picture.hart

        def logged(machine: Machine) -> bool:
            return any(alike(trap) == key for trap in machine.harts[index].trap_log(MOST))

        def show(there: bool) -> None:
            if there:
                self.application.show_trap(key)
            else:
                self._list(timeline)

        self.application.when_done(self.application.session.call(logged), show)

    def _list(self, timeline: Timeline) -> None:
        lines = cell_lines(timeline, self.application.session.stood)
        texts = ["".join(text for text, _ in line) for line in lines]
        if texts:
            self.application.push_screen(ReportScreen("one cell of the timeline", texts[: DETAILS + 16]))



def _read(wanted: Wanted, machine: Machine, subject: Subject) -> Timeline:
    return read_timeline(machine, subject, wanted)
