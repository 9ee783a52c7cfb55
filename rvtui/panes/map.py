"""The map of an address space: what either stage, or both, map where; who maps a page; what became different."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import ClassVar, overload

from textual.binding import Binding, BindingType

from emulator.addressspace import STAGES, Change, Run, Space, Tables
from emulator.errors import EmulatorError
from emulator.machine import Machine
from rvtui.mapping import SHAPES, Holder, Row, Shown, Slices, Wanted, find, head_line, row_line, show
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, spaces_of
from rvtui.text import Line, clean

AGAIN_SECONDS = 1.0
"""While the machine runs, the map is read again this long after it was last."""


class _Lines(Sequence[Line]):
    """Lines that are made when they are drawn."""

    def __init__(self, head: list[Line], count: int, line: Callable[[int], Line]) -> None:
        self._head, self._count, self._line = head, count, line

    def __len__(self) -> int:
        return len(self._head) + self._count

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._head[index] if index < len(self._head) else self._line(index - len(self._head))


def read_roots(machine: Machine, subject: Subject) -> tuple[object, ...]:
    """What says, without looking at tables, that they may be others than before."""
    try:
        spaces: Mapping[str, Space] = spaces_of(machine, subject)
    except EmulatorError:
        spaces = {}
    return (
        id(machine),
        subject,
        machine.executed,
        tuple((name, space.value, space.types) for name, space in spaces.items()),
    )


class MapPane(Pane):
    NAME = "map"
    WIDE = True
    TITLE = "Map"
    KEY = "M"
    TOLD_BY = "map"
    CURSOR = True
    HEAD = 1
    HELP = (
        "What page tables map: satp's, vsatp's, hgatp's, or both stages of a guest merged (guest-virtual to"
        " guest-physical to physical). m joins neighbours to ranges (whatever A, D and page size), to"
        " equal ones, or shows every leaf. A filter (l) is an address or range, to:RANGE, gpa:RANGE, bits as"
        " rw, -x, u, g:w for the G-stage's, 4k 2m 1g, nc io n, hole. Enter tells who maps the page"
        " of the line, in every hart and guest, w walks its address. Bits are r w x u g a d, - where clear, + where"
        " only some pages have them. In a difference + is new, - is gone, ~ leads elsewhere or may do else. While the"
        " machine runs, the tables are read anew every second, a slice at a time, and may change meanwhile."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "stage", "the other stages: satp, vsatp, hgatp, merged", show=False),
        Binding("m", "shape", "join neighbours: ranges, equal ones, or every leaf", show=False),
        Binding("o", "order", "sort by the other side", show=False),
        Binding("l", "ask_filter", "limit to a filter: a range, rw, 2m, hole ...", show=False, id="map.filter"),
        Binding("slash", "ask_find", "find an address", show=False, id="map.find"),
        Binding("c", "ask_diff", "compare with a moment, a guest or a snapshot", show=False, id="map.compare"),
        Binding("t", "ask_mark", "mark this moment, to compare with later", show=False, id="map.mark"),
        Binding("escape", "back", "back to the map", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.wanted = Wanted()
        self.shown: Shown | None = None
        self.problem = ""
        self._back: list[tuple[Wanted, int]] = []
        self._tables: Tables | None = None
        self._machine: Machine | None = None
        self._job: Slices | None = None
        self._made: tuple[object, Wanted] | None = None
        """What `shown` was made of."""
        self._ended = 0.0
        self._again = False
        self._seek: int | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"map": (read_roots, 0.2)}

    def ask(self, wanted: Wanted) -> None:
        """Show something else; Escape comes back to the map."""
        if wanted.kind != "map" and self.wanted.kind == "map":
            self._back = [(self.wanted, self.cursor)]
        self._want(wanted)

    def seek(self, address: int) -> None:
        """Move to the line that holds an address."""
        self._seek = address
        self._find()

    # Reading.

    def draw(self, view: View) -> Sequence[Line] | None:
        roots = view.get("map")
        if isinstance(roots, tuple):
            due = not view.running or time.monotonic() - self._ended > AGAIN_SECONDS
            asked = self._made is None or self._made[1] != self.wanted or self._again
            if self._job is None and (asked or (due and self._made is not None and self._made[0] != roots)):
                self._made, self._again = (roots, self.wanted), False
                self._start()
        return self._drawn_lines()

    def on_focus(self) -> None:
        self._again = True  # a command may have written to memory
        self.redraw()

    def _want(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._job = None
        self.cursor = self.top = 0
        self.redraw()

    def _start(self) -> None:
        session = self.application.session
        if self._tables is None or self._machine is not session.machine:
            self._machine, self._tables = session.machine, Tables(session.machine.memory)
        job = Slices(show(session.machine, session.view.subject, self._tables, self.wanted, session.marks))
        self._job = job
        self._slice(job)

    def _slice(self, job: Slices) -> None:
        future = self.application.session.call(job.go)
        future.add_done_callback(
            lambda done: self.application.post_message(self.application.Asked(partial(self._sliced, job, done)))
        )

    def _sliced(self, job: Slices, future: Future[bool]) -> None:
        """On the application's thread: a slice is done."""
        if job is not self._job:  # something else is wanted by now
            return
        if not self.in_sight:
            self._job, self._made = None, None
            return
        error = future.exception()
        if error is None and not future.result():
            if job.tables > 200:
                self.entitle(f"reading: {job.tables:,} tables")
            self._slice(job)
            return
        self._job, self._ended = None, time.monotonic()
        if error is None:
            self.shown, self.problem = job.shown, ""
        else:
            self.problem = str(error) if isinstance(error, EmulatorError | OSError) else f"internal error: {error}"
        self.put(self._drawn_lines())
        self._find()

    # Drawing.

    def _drawn_lines(self) -> Sequence[Line]:
        if self.problem:
            self.entitle("")
            return [(("", ""),), ((clean(self.problem, 400), "warn"),)]
        shown = self.shown
        if shown is None:
            return [(("", ""),), (("reading the tables", "dim"),)]
        mode = self.wanted.filter and f"  filter {self.wanted.filter}"
        self.entitle(clean(f"{shown.title}{mode}", 200))
        width = self.columns
        head: list[Line] = [head_line(shown, width), *(((clean(note, 200), "warn"),) for note in shown.notes)]
        if not shown.rows:
            head.append(((self._nothing(shown), "dim"),))
        self._first = len(head)
        return _Lines(head, len(shown.rows), lambda index: row_line(shown, shown.rows[index], width))

    @staticmethod
    def _nothing(shown: Shown) -> str:
        if shown.wanted.kind == "diff":
            return "no difference"
        if shown.wanted.kind == "who":
            return "nobody maps this page"
        return "nothing passes the filter" if shown.wanted.filter else "nothing is mapped"

    _first = 1

    @property
    def selected(self) -> Row | None:
        """What is under the cursor."""
        index = self.cursor - self._first
        return self.shown.rows[index] if self.shown is not None and 0 <= index < len(self.shown.rows) else None

    def _find(self) -> None:
        if self._seek is None or self.shown is None or self._job is not None:
            return
        address, self._seek = self._seek, None
        index = find(self.shown.rows, address)
        if index is None:
            self.application.say(f"{address:#x} is in no line: it is not mapped, or filtered away", error=True)
            return
        self.cursor = index + self._first
        self._clamp()
        self._refresh_rows()

    # Keys.

    def walk_command(self) -> str:
        row = self.selected
        run = row.run if isinstance(row, Holder) else row
        if run is None:
            return ""
        stage = row.stage if isinstance(row, Holder) else self.shown.stage if self.shown is not None else ""
        bits = run.bits if isinstance(run, Run) else 2
        access = "load" if bits & 2 else "fetch" if bits & 8 else "load"
        if stage == "satp":
            return f"walk {run.start:#x} {access} {'U' if bits & 16 else 'HS'}"
        if stage == "hgatp":
            return f"gwalk {run.start:#x} {access}"
        return f"walk {run.start:#x} {access} {'VU' if bits & 16 else 'VS'}"

    def place_here(self) -> str:
        row = self.selected
        run = row.run if isinstance(row, Holder) else (row.after or row.before) if isinstance(row, Change) else row
        if run is None:
            return ""
        stage = row.stage if isinstance(row, Holder) else self.shown.stage if self.shown is not None else ""
        return f"{'gpa:' if stage == 'hgatp' else ''}{run.start:#x}"

    def choose(self, row: int) -> None:
        found = self.selected
        if self.shown is None or found is None or isinstance(found, Holder):
            return
        run = (found.after or found.before) if isinstance(found, Change) else found
        if run is None:
            return
        physical = self.shown.stage != "vsatp" and run.output is not None
        page = run.output if physical else run.gpa if run.gpa is not None else run.output
        if page is not None:
            self.ask(Wanted(kind="who", page=page, space="pa" if physical else "gpa"))

    def action_stage(self) -> None:
        now = self.shown.stage if self.shown is not None and self.shown.stage in STAGES else self.wanted.stage
        spaces = self._stages()
        at = spaces.index(now) + 1 if now in spaces else 0
        if self.wanted.kind != "who":
            self._want(replace(self.wanted, stage=spaces[at % len(spaces)]))

    def _stages(self) -> list[str]:
        roots = self.last.get("map") if self.last is not None else None
        names = [name for name, *_ in roots[3]] if isinstance(roots, tuple) else []
        return [each for each in STAGES if each in names or (each == "merged" and "vsatp" in names)] or list(STAGES)

    def action_shape(self) -> None:
        self._want(replace(self.wanted, shape=SHAPES[(SHAPES.index(self.wanted.shape) + 1) % len(SHAPES)]))

    def action_order(self) -> None:
        self._want(replace(self.wanted, order="output" if self.wanted.order == "start" else "start"))

    def action_ask_filter(self) -> None:
        stage = self.shown.stage if self.shown is not None and self.shown.stage in STAGES else "merged"
        if not self.wanted.filter:
            self.application.ask("0x1000-0x2000, to:RANGE, rw, -x, u, 2m, nc, hole; - for all", f"map {stage} ")
        else:
            self.application.ask("- for all", f"map {stage} ", self.wanted.filter)

    def action_ask_find(self) -> None:
        self.application.ask("which address? a symbol, number or expression", "mapfind ")

    def action_ask_diff(self) -> None:
        marks = list(self.application.session.marks)
        self.application.ask(
            "A B: now, a moment that was marked, a VM or hart, or a snapshot file", "mapdiff ",
            f"{marks[-1]} now" if marks else "",
        )  # fmt: skip

    def action_ask_mark(self) -> None:
        self.application.ask("what is this moment called?", "mark ")

    def action_back(self) -> None:
        if self._back and self.wanted.kind != "map":
            wanted, cursor = self._back.pop()
            self._want(wanted)
            self.cursor = cursor
        elif self.wanted.kind != "map":
            self._want(Wanted())
        else:
            self.application.action_calm()

    def clicked(self, x: int, row: int, times: int) -> None:
        if row == 0 and self.wanted.kind == "map":
            self.action_order()  # the names of the columns
        super().clicked(x, row, times)
