"""Exits of VMs and guests as perf kvm stat prints them, traps of harts, and where each has its instructions retired."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from emulator.machine import Machine
from rvtui import exits
from rvtui.exits import COLUMNS, PARTS, Row, Table, Tables
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject
from rvtui.text import Line, Span, clean, count, fit, guest_time, spark

BAR = "█▉▊▋▌▍▎▏"
HISTORY = 60
NAMES = (16, 32)
"""Columns that names have at least and at most."""
_STYLES = {"guest": "VS", "hypervisor": "HS", "firmware": "M"}
_HEADS = {"time": 7, "min": 6, "max": 6, "mean": 6}
"""Columns that stand where there is room, and their widths."""

Place = tuple[tuple[str, object], tuple[int, bool, str] | None]
"""Of a row: its table's key and its own; None: the table's head."""


@dataclass(frozen=True)
class Found:
    """What the pane reads: counts since the start, and of opened rows the last occurrences."""

    counted: Tables
    opened: Mapping[Place, tuple[str, ...]]


class ExitsPane(Pane):
    NAME = "exits"
    WIDE = True
    TITLE = "Exits"
    KEY = "8"
    CURSOR = True
    HEAD = 1
    TOLD_BY = "exits"
    HELP = (
        "How often each VM or guest left, and why, by the names and columns of perf kvm stat: samples, their share, and"
        " the time until it was entered again, its share, least, most and mean, in clocks of the hart: one per"
        " instruction, asleep or not. Beside the name exits per second of the machine's time; below it"
        " instructions: the guest's own, and those that its exits cost in the hypervisor (HS, U) and in firmware (M)"
        " until a guest ran again. On a bare machine a guest's rows say which mode the exit led to. Then each hart:"
        " where its instructions were retired, and all its traps by cause and the mode that they came from. c counts"
        " anew from now (min and max are known where they are new), a from the start again; h holds the picture and"
        " lets it go; o sorts by the next column, i the other way; Enter on a row shows its last occurrences, on a"
        " name looks at that; b stops the machine at the next such exit (●), and b again no more; x writes a file."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "count('reset')", "count anew", show=False),
        Binding("a", "count('all')", "count from the start", show=False),
        Binding("h", "freeze", "hold the picture", show=False),
        Binding("o", "order(1)", "sort by the next column", show=False),
        Binding("i", "backwards", "sort the other way", show=False),
        Binding("x", "export", "write a file", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.column = "samples"
        self.backwards = False
        self._opened: frozenset[Place] = frozenset()
        self._places: list[Place | None] = []
        """By line."""
        self._tables: tuple[Table, ...] = ()
        """As they are shown."""
        self._held: tuple[Place, int] | None = None
        """The row that the cursor is in, and the line of it."""
        self._frozen: tuple[Tables, Found, Mapping[tuple[str, object], list[float]]] | None = None
        self._history: dict[tuple[str, object], deque[float]] = {}
        self._sampled: dict[tuple[str, object], tuple[int, int]] = {}
        """Clock and exits of the last point."""
        self._wide = False

    # Reading.

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"exits": (self._read, 0.2)}

    def _read(self, machine: Machine, _: Subject) -> Found:
        """On the worker."""
        counted = exits.read(machine)
        opened = self._opened
        found: dict[Place, tuple[str, ...]] = {
            (table.key, row.key): exits.occurrences(machine, table, row)
            for table in counted.tables
            for row in table.rows
            if (table.key, row.key) in opened
        }
        return Found(counted, found)

    def _sample(self, counted: Tables) -> None:
        """A point of each history, if time has passed."""
        for table in counted.tables:
            clock, total = self._sampled.get(table.key, (counted.clock, table.total))
            passed, more = counted.clock - clock, table.total - total
            if passed < 0 or more < 0:
                self._history.pop(table.key, None)
            elif passed:
                self._history.setdefault(table.key, deque(maxlen=HISTORY)).append(more * 1e9 / passed)
            self._sampled[table.key] = counted.clock, table.total

    # Drawing.

    def draw(self, view: View) -> list[Line] | None:
        found = view.get("exits")
        if not isinstance(found, Found):
            return None
        self._sample(found.counted)
        shown = exits.since(found.counted, self.application.session.counted_from)
        histories: Mapping[tuple[str, object], Iterable[float]] = self._history
        if self._frozen is not None:
            shown, found, histories = self._frozen
        tables = sorted(shown.tables, key=lambda table: not table.subject.same(view.subject))
        self._tables = tuple(tables)
        self._entitle(shown)
        width = self.columns
        longest = max((len(row.what) for table in tables for row in table.rows), default=0)
        names = max(NAMES[0], min(NAMES[1], longest, width - 22))
        self._wide = width >= names + 46 and any(table.timed for table in tables)
        lines: list[Line] = [self._head_line(names)]
        places: list[Place | None] = [None]
        for table in tables:
            lines += [_name_line(table, list(histories.get(table.key, ())), width), _instructions(table, width)]
            places += [(table.key, None)] * 2
            for row in exits.ordered(table.rows, self.column, self.backwards):
                place = table.key, row.key
                lines.append(self._row_line(table, row, names, width))
                if place in self._opened:
                    texts = found.opened.get(place, ()) or ("none of those that are remembered",)
                    lines += [(("      ", ""), (clean(text, 160), "dim")) for text in texts]
                places += [place] * (len(lines) - len(places))
            if table is tables[0] and not any(place[0] == table.key for place in self._opened):
                lasts = table.last[-(exits.OCCURRENCES if self.rows >= 30 else 3) :]
                lines += [(("    ", ""), (clean(exits.said(last), 160), "dim")) for last in lasts]
            lines.append(())
            places += [None] * (len(lines) - len(places))
        self._places = places
        if self._held is not None and self._held[0] in places:
            self.cursor = places.index(self._held[0]) + self._held[1]
        return lines

    def _entitle(self, shown: Tables) -> None:
        parts = ["(traps)"] if all(table.kind == "hart" for table in shown.tables) else []
        if shown.since:
            parts.append(f"since {guest_time(shown.since)}")
        if self._frozen is not None:
            parts.append(f"frozen at {guest_time(shown.clock)}")
        self.entitle("  ".join(parts))

    def _head_line(self, names: int) -> Line:
        def head(column: str, text: str, width: int) -> Span:
            mark = ("▴" if self.backwards else "▾") if column == self.column else ""
            padded = fit(text + mark, width) if column == "name" else f"{mark}{text}".rjust(width)
            return padded, "label" if mark else "dim"

        spans = [("  ", ""), head("name", "exit", names), (" in", "dim")]
        spans += [head("samples", "samples", 10), ("    %", "dim")]
        if self._wide:
            spans += [head(each, "time%" if each == "time" else each, width) for each, width in _HEADS.items()]
        elif self.column not in ("name", "samples"):
            spans.append((f"  by {self.column}", "label"))
        return tuple(spans)

    def _row_line(self, table: Table, row: Row, names: int, width: int) -> Line:
        share = row.times * 100 / (table.total or 1)
        spans: list[Span] = [
            (f"{row.stop or ' '} ", "bad bold" if row.stop == "●" else "dim"),
            (fit(clean(row.what), names), ""),
            (f" {row.mode:<2}", row.mode),
            (f"{row.times:>10,}", ""),
            (f"{share:>4.0f}%", "label"),
        ]
        room = width - names - 20
        if self._wide:
            room -= 26
            if table.timed:
                spent = f"{row.time * 100 / table.time:.0f}%" if table.time else "-"
                numbers = ("-" if each is None else count(each) for each in (row.least, row.most, row.mean))
                spans.append((f"{spent:>7}" + "".join(f"{text:>6}" for text in numbers) + " ", "label"))
            else:
                spans.append((" " * 26, ""))
        top = max(each.times for each in table.rows)
        spans += [(" ", ""), (_bar(row.times / top, max(0, min(room - 1, 30))), "accent")]
        return tuple(spans)

    # Keys.

    def moved(self) -> None:
        place = self._places[self.cursor] if self.cursor < len(self._places) else None
        self._held = None if place is None else (place, self.cursor - self._places.index(place))

    @property
    def selected(self) -> tuple[Table, Row | None] | None:
        """The table that the cursor is in, and the row unless it is in the table's head."""
        place = self._places[self.cursor] if self.cursor < len(self._places) else None
        if place is None:
            return None
        table = next(table for table in self._tables if table.key == place[0])
        return table, next((row for row in table.rows if row.key == place[1]), None)

    def stop_line(self) -> str:
        found = self.selected
        return "" if found is None or found[1] is None else exits.stop_line(found[0], found[1])

    def choose(self, row: int) -> None:
        found = self.selected
        if found is None:
            return
        table, line = found
        if line is None:
            self.application.session.select(table.subject)
            return
        place = table.key, line.key
        self._opened ^= {place}
        self._held = place, 0
        self.application.resubscribe(self)
        self.redraw()

    def action_count(self, word: str) -> None:
        self.application.carry_out(f"exits {word}")

    def action_freeze(self) -> None:
        if self._frozen is not None:
            self._frozen = None
        elif self.last is not None and isinstance(found := self.last.get("exits"), Found):
            shown = exits.since(found.counted, self.application.session.counted_from)
            self._frozen = shown, found, {key: list(history) for key, history in self._history.items()}
        self.redraw()

    def action_order(self, step: int) -> None:
        columns = list(COLUMNS) if self._wide else ["samples", "name"]
        at = columns.index(self.column) if self.column in columns else -1
        self.column = columns[(at + step) % len(columns)]
        self.redraw()

    def action_backwards(self) -> None:
        self.backwards = not self.backwards
        self.redraw()

    def action_export(self) -> None:
        self.application.ask("csv FILE or json FILE", "exits ", "csv exits.csv")


def _name_line(table: Table, history: list[float], width: int) -> Line:
    what = "traps" if table.kind == "hart" else "exits"
    spans: list[Span] = [(clean(table.name, 20), "bold"), (f"  {table.total:,} in all", "dim")]
    room = min(HISTORY, width - 50)
    if room >= 8 and history:
        spans += [("  ", ""), (spark(history, room), "accent"), (f"  {count(history[-1])} {what}/s", "label")]
    return tuple(spans)


def _instructions(table: Table, width: int) -> Line:
    """A bar of where instructions were retired, and the numbers."""
    total = sum(table.instructions)
    spans: list[Span] = [("  ", "")]
    length = max(0, min(40, width - 62))
    if length >= 4:
        filled = 0
        for index, part in enumerate(PARTS):
            upto = round(sum(table.instructions[: index + 1]) * length / total) if total else 0
            spans.append(("█" * (upto - filled), _STYLES[part]))
            filled = upto
        spans.append(("░" * (length - filled) + "  ", "faint"))
    for part, number in zip(PARTS, table.instructions, strict=True):
        share = number * 100 / total if total else 0.0
        text = f"{share:.0f}%" if share >= 0.5 else "<1%" if number else "-"
        spans.append((f"{part} ", _STYLES[part] if number else "faint"))
        spans.append((f"{text} {count(number)}  " if number else "-  ", "label" if number else "faint"))
    return tuple(spans)


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + (BAR[8 - eighths % 8] if eighths % 8 else "")
