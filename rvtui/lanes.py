"""The timeline as rows of text: what a hart did when, and what happened; one drawing for the pane and the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator import history
from emulator.hart import Event, EventKind, Mode, Survey
from emulator.history import Picture
from emulator.machine import Machine
from emulator.worlds import identity
from rvtui.panes.events import line_of, named
from rvtui.subjects import Subject, hart_index, virtual_machines
from rvtui.text import SPARKS, Line, Span, clean, count, fit, guest_time

LABEL = 13
"""Columns before the cells."""
LETTERS = "ABCDEFGIJKLNOPQR"
"""Guests, as the marks of their time; H, M and U are modes."""
DIGITS = 9
"""Up to so many events a cell are told as a number, above as bars."""
DETAILS = 64
"""Events of one cell that are told, at most."""
_COARSE = "░▒"
EVENT_ROWS: tuple[tuple[str, str, str, EventKind | None], ...] = (
    ("◂", "exits", "VS", None),
    ("!", "traps", "warn", EventKind.TRAP),
    ("↯", "interrupts", "accent", EventKind.INTERRUPT),
    ("⇄", "hgatp", "HS", EventKind.HGATP),
    ("∥", "fences", "label", EventKind.FENCE),
    ("z", "waits", "dim", EventKind.WFI),
)
"""Mark, name, style, kind of events; those that happened at least once have a row."""


@dataclass(frozen=True)
class Wanted:
    """What to look at: cells of 1 << `shift` (None: as long as the whole run needs) from number `first` on (None: the
    last ones), so many of them; and the clock whose cell is told in full (None: the last)."""

    shift: int | None = None
    first: int | None = None
    cells: int = 64
    cursor: int | None = None


@dataclass(frozen=True)
class Timeline:
    picture: Picture
    names: Mapping[int, tuple[str, str]]
    """Letter and name of each guest, by its identity."""
    others: tuple[tuple[int, str], ...]
    """Other harts, and in which mode or guest each spent most of each cell."""
    cursor: int
    """A clock."""
    details: tuple[tuple[Event, str], ...]
    """Events of the cursor's cell that are known, and the symbol at each; at most `DETAILS`."""
    more: int
    """Further ones."""
    seen: frozenset[str]
    """Names of the kinds of events that ever happened."""

    @property
    def cell(self) -> int:
        """The cursor's, in the picture; may lie outside."""
        return (self.cursor >> self.picture.shift) - self.picture.first


def read_timeline(machine: Machine, subject: Subject, wanted: Wanted) -> Timeline:
    hart = machine.harts[hart_index(machine, subject)]
    cells = max(8, min(wanted.cells, history.MOST))
    shift = history.whole(machine.clock, cells) if wanted.shift is None else max(0, min(62, wanted.shift))
    last = hart.clock >> shift
    first = wanted.first
    if first is None:  # the end, in steps: so that most of the picture stays as it is
        step = max(1, cells // 4)
        first = 0 if last < cells else -(-(last + 1 - cells) // step) * step
    first = max(0, min(first, last))
    picture = history.read(hart, first, cells, shift)
    cursor = hart.clock if wanted.cursor is None else max(0, min(wanted.cursor, hart.clock))
    at = cursor >> shift << shift
    events = hart.events_between(at, at + (1 << shift))
    surveys = [each.survey(0, 1, 62) for each in machine.harts]
    whole = surveys[hart.index]
    seen = {name for _, name, _, kind in EVENT_ROWS if kind is not None and whole.events[kind][0]}
    if any(guest.exits[0] for guest in whole.guests):
        seen.add("exits")
    names = _names(machine, surveys)
    return Timeline(
        picture, names, _others(machine, picture, names), cursor, named(machine, events[:DETAILS]),
        len(events) - len(events[:DETAILS]), frozenset(seen),
    )  # fmt: skip


def _names(machine: Machine, surveys: list[Survey]) -> dict[int, tuple[str, str]]:
    """By the order of first entries, which does not change when more come."""
    known: dict[int, tuple[int, int]] = {}
    for survey in surveys:
        for guest in survey.guests:
            since = min(guest.since, known.get(identity(guest.hgatp), (guest.since, 0))[0])
            known[identity(guest.hgatp)] = since, guest.hgatp
    called = {identity(vm.hgatp): clean(vm.name, 30) for vm in virtual_machines(machine)}
    ordered = sorted(known, key=lambda which: (known[which][0], which))
    return {
        which: (LETTERS[at % len(LETTERS)], called.get(which, f"VMID {known[which][1] >> 44 & 0x3FFF}"))
        for at, which in enumerate(ordered)
    }


def _others(machine: Machine, shown: Picture, names: Mapping[int, tuple[str, str]]) -> tuple[tuple[int, str], ...]:
    rows = []
    for hart in machine.harts:
        if hart.index != shown.hart:
            picture = history.read(hart, shown.first, shown.cells, shown.shift)
            letters = [
                (names.get(guest.identity, ("?", ""))[0], guest.retired) for guest in picture.guests
            ] + [(mode.label[0], picture.retired[mode]) for mode in (Mode.M, Mode.HS, Mode.U)] + [("z", picture.asleep)]
            row = "".join(
                max(letters, key=lambda each: each[1][cell])[0] if any(values[cell] for _, values in letters) else " "
                for cell in range(picture.cells)
            )
            rows.append((hart.index, row))
    return tuple(rows)


# --- Drawing ----------------------------------------------------------------------------------------------------------


def duration(clock: int) -> str:
    """At one instruction per nanosecond."""
    if clock < 1000:
        return f"{clock} ns"
    return f"{clock / 1000:.3g} µs" if clock < 1_000_000 else guest_time(clock)


def picture_rows(timeline: Timeline, stood: Sequence[tuple[int, str]] = (), *, cursor: bool = True) -> list[Line]:
    """The axis, a lane for each mode, a row for each kind of event and guest. `stood`: where the user's stops were."""
    picture = timeline.picture
    at = timeline.cell if cursor else None
    shares = [max(1, picture.awake(cell)) for cell in range(picture.cells)]
    lines = [_axis(picture, at)]
    for mode in (Mode.M, Mode.HS, Mode.U):
        cells = [_bar(n, total) for n, total in zip(picture.retired[mode], shares, strict=True)]
        lines.append(_row(_head(picture, mode), cells, mode.label, picture, at))
    for part, mode in enumerate((Mode.VS, Mode.VU)):
        lines.append(_row(_head(picture, mode), _letters(timeline, part, shares), mode.label, picture, at))
    unit = 1 << max(picture.shift, picture.resolution)
    ends = [unit if cell < picture.exact else 1 << picture.shift for cell in range(picture.cells)]
    asleep = [_bar(n, total) for n, total in zip(picture.asleep, ends, strict=True)]
    lines.append(_row((" asleep", "dim"), asleep, "dim", picture, at))
    for mark, name, style, kind in EVENT_ROWS:
        if name in timeline.seen:
            numbers = picture.exits if kind is None else picture.events[kind]
            lines.append(_row((f"{mark} {name}", style), _marks(numbers, mark, picture), style, picture, at))
    if stood:
        places = {(clock >> picture.shift) - picture.first for clock, _ in stood}
        marks = ["■" if cell in places else " " for cell in range(picture.cells)]
        lines.append(_row(("■ stops", "bad"), marks, "bad", picture, at))
    most = max((max(guest.retired) for guest in picture.guests), default=0)
    for guest in picture.guests:
        letter, name = timeline.names.get(guest.identity, ("?", ""))
        bars = [_bar(n, most) for n in guest.retired]
        lines.append(_row((f"{letter} {name}", "VS bold"), bars, "VS", picture, at))
    for index, row in timeline.others:
        lines.append(_row((f"  hart {index}", "label"), list(row), "label", picture, at))
    return lines


def _head(picture: Picture, mode: Mode) -> Span:
    here = picture.mode is mode
    return (f"{'▶' if here else ' '}{mode.label}", f"{mode.label} bold")


def _bar(value: int, total: int) -> str:
    return SPARKS[min(7, value * 8 // total)] if value and total else " "


def _letters(timeline: Timeline, part: int, shares: list[int]) -> list[str]:
    """Of each cell the guest that spent most there: its letter, small where that is less than half of the cell."""
    rows = [
        (timeline.names.get(guest.identity, ("?", ""))[0], (guest.vs, guest.vu)[part])
        for guest in timeline.picture.guests
    ]
    letters = []
    for cell, total in enumerate(shares):
        letter, n = max(((letter, values[cell]) for letter, values in rows), key=lambda each: each[1], default=("", 0))
        letters.append(" " if not n else letter if 2 * n >= total else letter.lower())
    return letters


def _marks(numbers: Sequence[int], mark: str, picture: Picture) -> list[str]:
    """One event as its mark, some as their number, or if any cell has many, all as bars."""
    most = max(numbers[picture.exact :], default=0)
    if most > DIGITS:
        return [_bar(n, most) for n in numbers]
    return [" " if not n else mark if n == 1 else str(min(n, DIGITS)) for n in numbers]


def _row(head: Span, cells: Sequence[str], style: str, picture: Picture, cursor: int | None) -> Line:
    """Cells that are known only as part of a longer stretch are hatched."""
    spans: list[Span] = [(fit(head[0], LABEL), head[1])]
    text, worn = "", ""
    for at, cell in enumerate(cells):
        wear = style
        if at < picture.exact and cell != " ":
            cell, wear = cell if cell.isalpha() else _COARSE[cell in "▅▆▇█"], "dim"
        wear = f"{wear} select" if at == cursor else wear
        if wear != worn:
            spans.append((text, worn))
            text, worn = "", wear
        text += cell
    spans.append((text, worn))
    return tuple(span for span in spans if span[0])


TICK = 16
"""Cells from one tick of the axis to the next."""


def _axis(picture: Picture, cursor: int | None) -> Line:
    """The first tick tells its clock, the others how far they are from it."""
    text = ""
    while len(text) < picture.cells:
        label = f"┆+{count(len(text) << picture.shift)}" if text else f"┆{picture.start:,}"
        if len(text) + len(label) > picture.cells:
            label = "┆"
        text += fit(label, -(-(len(label) + 1) // TICK) * TICK)
    text = text[: picture.cells]
    if cursor is None or not 0 <= cursor < picture.cells:
        return ((" " * LABEL, ""), (text, "dim"))
    return ((" " * LABEL, ""), (text[:cursor], "dim"), ("▼", "accent bold"), (text[cursor + 1 :], "dim"))


def heading(timeline: Timeline) -> Line:
    """How long a cell is, and what of the run is there."""
    picture = timeline.picture
    one = 1 << picture.shift
    end = min(picture.end, picture.clock)
    spans: list[Span] = [
        (f"hart {picture.hart}  ", "label"),
        (f"{one:,} instruction{'s' * (one > 1)} a cell", "bold"),
        (f" ({duration(one)})  ", "dim"),
        (f"{picture.start:,} to {end:,}", ""),
        (f" of {picture.clock:,}" if end < picture.clock or picture.first else "", "dim"),
    ]
    if picture.exact:
        spans.append((f"  {_COARSE} known by stretches of {1 << picture.resolution:,}", "warn"))
    return tuple(spans)


def cell_lines(timeline: Timeline, stood: Sequence[tuple[int, str]] = ()) -> list[Line]:
    """The cursor's cell: its time by mode and guest, how often what happened, the user's stops, known events."""
    picture, cell = timeline.picture, timeline.cell
    if not 0 <= cell < picture.cells:
        return []
    start, end = (picture.first + cell) << picture.shift, (picture.first + cell + 1) << picture.shift
    if cell < picture.exact:
        start = start >> picture.resolution << picture.resolution
        end = start + (1 << picture.resolution)
    end = min(end, picture.clock)
    spans: list[Span] = [(f"▼ {start:,}", "accent bold"), (f" +{end - start:,}", "label")]
    shown = [(mode.label, picture.retired[mode][cell], mode.label) for mode in (Mode.M, Mode.HS, Mode.U)]
    for guest in picture.guests:
        letter, name = timeline.names.get(guest.identity, ("?", "?"))
        shown += [(f"VS {letter} {name}", guest.vs[cell], "VS"), (f"VU {letter} {name}", guest.vu[cell], "VU")]
    shown.append(("asleep", picture.asleep[cell], "dim"))
    for name, n, style in shown:
        if n:
            spans += [(f"  {name} ", f"{style} bold"), (f"{n:,}", "")]
    lines: list[Line] = [tuple(spans)]
    counts = [(name, picture.exits[cell] if kind is None else picture.events[kind][cell], style)
              for _, name, style, kind in EVENT_ROWS]  # fmt: skip
    counts.append(("returns", picture.events[EventKind.RETURN][cell], "label"))
    spans = [span for name, n, style in counts if n for span in ((f"  {name} ", style), (f"{n:,}", ""))]
    if not spans:
        spans = [("  nothing happened", "dim")]
    elif start < picture.known:
        spans.append((f"   single events are known from {picture.known:,} on", "dim"))
    lines.append(tuple(spans))
    for clock, reason in stood:
        if start <= clock < max(end, start + 1):
            lines.append((("  ■ ", "bad"), (f"{clock:,} ", "dim"), (clean(reason, 120), "bad")))
    lines += [line_of(event, symbol) for event, symbol in timeline.details]
    if timeline.more:
        lines.append(((f"  and {timeline.more:,} more", "dim"),))
    return lines


def told(timeline: Timeline, stood: Sequence[tuple[int, str]] = ()) -> dict[str, Any]:
    """The same for programs: each list has a number for each cell."""
    picture = timeline.picture
    return {
        "hart": picture.hart, "clock": picture.clock, "start": picture.start, "cell": 1 << picture.shift,
        "cells": picture.cells, "resolution": 1 << picture.resolution, "exact_from": picture.exact,
        "retired": {mode.label: list(values) for mode, values in picture.retired.items()},
        "asleep": list(picture.asleep), "exits": list(picture.exits),
        "events": {kind.name.lower(): list(values) for kind, values in picture.events.items()},
        "guests": [
            {
                "letter": timeline.names.get(guest.identity, ("?", ""))[0],
                "name": timeline.names.get(guest.identity, ("", "?"))[1], "hgatp": hex(guest.hgatp),
                "since": guest.since, "vs": list(guest.vs), "vu": list(guest.vu), "exits": list(guest.exits),
            }
            for guest in picture.guests
        ],
        "stops": [
            {"clock": clock, "reason": reason} for clock, reason in stood if picture.start <= clock < picture.end
        ],
    }  # fmt: skip
