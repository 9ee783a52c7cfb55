"""What a hart did when: its time by mode and guest, from the record of its whole run, and exactly from its last events.

Time is the hart's clock: instructions retired or slept. It is looked at in cells of 1 << shift of it. Cells that are no
finer than the record are exact sums of it; finer ones are worked out from the hart's last 1024 events, as far back as
these reach, and before that stand for the stretch of the record that they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from emulator.hart.hart import Event, EventKind, EventRow, Hart, Mode, Move, Survey
from emulator.worlds import identity

_MODES: Final = tuple(Mode)
_KINDS: Final = (EventKind.TRAP, *EventKind)
_RETURN, _WFI, _SET, _VS = int(EventKind.RETURN), int(EventKind.WFI), int(Move.SET), int(Mode.VS)
MOST: Final = 4096
"""Cells of one picture."""


class Stretch(NamedTuple):
    """From clock `start` to `end` the hart was in `mode`, with V=1 in a guest that hgatp tells, if it is known."""

    start: int
    end: int
    mode: Mode
    guest: int | None
    asleep: bool


@dataclass(frozen=True)
class Guest:
    """Of each cell, the instructions of one guest in VS and in VU, and its traps out of V=1."""

    hgatp: int
    since: int
    """Clock of its first entry."""
    vs: tuple[int, ...]
    vu: tuple[int, ...]
    exits: tuple[int, ...]

    @property
    def identity(self) -> int:
        return identity(self.hgatp)

    @property
    def retired(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(self.vs, self.vu, strict=True)))


@dataclass(frozen=True)
class Picture:
    """A hart's past in cells of 1 << `shift` of its clock, from number `first` on: of each a number in every tuple."""

    hart: int
    clock: int
    """The hart's, now: cells behind it are empty."""
    mode: Mode
    """Now."""
    first: int
    shift: int
    resolution: int
    """log2 of the stretches that the record keeps."""
    exact: int
    """The first cell of this picture whose numbers are its own: those before stand for a longer stretch."""
    retired: Mapping[Mode, tuple[int, ...]]
    """By mode; VS and VU of all guests together."""
    asleep: tuple[int, ...]
    events: Mapping[EventKind, tuple[int, ...]]
    exits: tuple[int, ...]
    guests: tuple[Guest, ...]
    """In the order of their first entries."""
    known: int
    """The clock from which on each event is known by itself."""

    @property
    def cells(self) -> int:
        return len(self.asleep)

    @property
    def start(self) -> int:
        """Clock of the first cell."""
        return self.first << self.shift

    @property
    def end(self) -> int:
        return (self.first + self.cells) << self.shift

    def awake(self, cell: int) -> int:
        """Instructions that retired there."""
        return sum(values[cell] for values in self.retired.values())


def whole(clock: int, cells: int) -> int:
    """The least shift for which all of a run is within `cells` cells."""
    return max(0, (clock // cells).bit_length())


def stretches(hart: Hart, events: list[EventRow], start: int, end: int) -> Iterator[Stretch]:
    """What `events`, all those in [start, end) and the last before, tell of it: in order and without gaps from
    `hart.events_from` on."""
    now = min(hart.clock, end)
    played = hart.host_modes
    at, mode, guest, slept = start, hart.mode, None, 0
    if events:
        mode, guest = _MODES[events[0][6]], events[0][8]
    for until, _, value, cause, _, kind, was, become, of in events:
        if at < slept < until:
            yield Stretch(at, slept, mode, guest, True)
            at = slept
        if at < until:
            yield Stretch(at, until, mode, guest, mode in played or until <= slept)
        # The instruction that ends here is the old mode's.
        behind = until + (kind >= _RETURN and cause != _SET)
        if start <= until < behind <= end:
            yield Stretch(until, behind, _MODES[was], of, False)
        at, mode, guest = max(start, behind), _MODES[become], of if become >= _VS else None
        slept = value if kind == _WFI else 0
    if at < min(slept, now):
        yield Stretch(at, min(slept, now), mode, guest, True)
        at = slept
    if at < now:
        yield Stretch(at, now, mode, guest, mode in played)


def read(hart: Hart, first: int, cells: int, shift: int) -> Picture:
    """The picture of `cells` cells (at most 4096) of 1 << shift (0 to 62) instructions from number `first` on."""
    cells = max(1, min(cells, MOST))
    survey = hart.survey(first, cells, shift)
    exact = 0 if shift >= survey.resolution else min(cells, max(0, -(-hart.events_from >> shift) - first))
    drawing = _Drawing(survey, exact)
    if shift < survey.resolution and exact < cells:
        drawing.work_out(hart)
    guests = drawing.guests()
    return Picture(
        hart.index, hart.clock, hart.mode, first, shift, survey.resolution, exact,
        {
            **{mode: tuple(values) for mode, values in drawing.retired.items()},
            Mode.VS: _sums([guest.vs for guest in guests], cells),
            Mode.VU: _sums([guest.vu for guest in guests], cells),
        },
        tuple(drawing.asleep), {kind: tuple(values) for kind, values in drawing.events.items()},
        _sums([guest.exits for guest in guests], cells), guests, hart.events_from,
    )  # fmt: skip


def _sums(rows: list[tuple[int, ...]], cells: int) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0,) * cells


class _Drawing:
    """A survey, whose cells from `exact` on can be worked out anew."""

    def __init__(self, survey: Survey, exact: int) -> None:
        self.survey, self.exact = survey, exact
        self.retired = {mode: list(values) for mode, values in survey.retired.items()}
        self.asleep = list(survey.asleep)
        self.events = {kind: list(values) for kind, values in survey.events.items()}
        self.rows = {
            identity(guest.hgatp): (guest, list(guest.vs), list(guest.vu), list(guest.exits)) for guest in survey.guests
        }

    def guests(self) -> tuple[Guest, ...]:
        rows = sorted(self.rows.values(), key=lambda row: row[0].since)
        return tuple(Guest(guest.hgatp, guest.since, *map(tuple, numbers)) for guest, *numbers in rows)

    def work_out(self, hart: Hart) -> None:
        """From the hart's last events."""
        shift, first = self.survey.shift, self.survey.first
        cells = len(self.asleep)
        start, end = (first + self.exact) << shift, (first + cells) << shift
        for numbers in (*self.retired.values(), self.asleep, *self.events.values(), *self._numbers()):
            numbers[self.exact :] = [0] * (cells - self.exact)
        events = hart.event_rows(start, end, before=True)
        rows: dict[tuple[Mode, int | None, bool], list[int]] = {}
        for at, until, mode, guest, asleep in stretches(hart, events, start, end):
            if (row := rows.get((mode, guest, asleep))) is None:
                row = rows[mode, guest, asleep] = self.asleep if asleep else self._row(mode, guest)
            if at >> shift == (until - 1) >> shift:
                row[(at >> shift) - first] += until - at
                continue
            for cell in range(at >> shift, ((until - 1) >> shift) + 1):
                row[cell - first] += min((cell + 1) << shift, until) - max(cell << shift, at)
        for clock, _, _, _, _, kind, was, become, of in events:
            if clock >= start:
                self.events[_KINDS[kind]][(clock >> shift) - first] += 1
                if was >= _VS > become and kind != _RETURN and of is not None:
                    self.rows[identity(of)][3][(clock >> shift) - first] += 1

    def _numbers(self) -> Iterator[list[int]]:
        for _, vs, vu, exits in self.rows.values():
            yield from (vs, vu, exits)

    def _row(self, mode: Mode, guest: int | None) -> list[int]:
        if not mode.virtual:
            return self.retired[mode]
        found = self.rows.get(identity(guest)) if guest is not None else None
        if found is None:  # a guest that gave way to others
            return [0] * len(self.asleep)
        return found[1] if mode is Mode.VS else found[2]


KINDS: Final[Mapping[str, Callable[[Event], bool]]] = {
    "trap": lambda event: event.kind is EventKind.TRAP,
    "interrupt": lambda event: event.kind is EventKind.INTERRUPT,
    "return": lambda event: event.kind is EventKind.RETURN,
    "fence": lambda event: event.kind is EventKind.FENCE,
    "wfi": lambda event: event.kind is EventKind.WFI,
    "hgatp": lambda event: event.kind is EventKind.HGATP,
    "enter": lambda event: event.entry,
    "leave": lambda event: event.exit,
}
"""Kinds of events by name: `EventKind`, and the world switches."""


def _any(event: Event) -> bool:
    return True


def seek(hart: Hart, clock: int, direction: int, kind: str = "") -> int | None:
    """The clock of the next event behind `clock` (direction 1), or the last before it (-1), of one of `KINDS`, or any.

    Where single events are not known any more, that of the stretch of the record that has some: of entries, where exits
    are. None where there is none.
    """
    wanted = KINDS.get(kind, _any)
    known = hart.events_from
    near = hart.events_between(clock + 1, 1 << 64) if direction > 0 else hart.events_between(0, clock)
    found = [event.clock for event in near if wanted(event)]
    resolution = hart.survey(0, 1, 0).resolution
    here = clock >> resolution
    if direction > 0 and clock >= known:
        return found[0] if found else None
    if direction < 0 and found:
        return found[-1]
    survey = hart.survey(0, (hart.clock >> resolution) + 1, resolution)
    rows = _rows(survey, kind)
    if direction > 0:
        far = next((i for i in range(here + 1, min(len(rows), (known >> resolution) + 1)) if rows[i]), None)
        return max(far << resolution, clock + 1) if far is not None else found[0] if found else None
    far = next((i for i in range(min(here, len(rows)) - 1, -1, -1) if rows[i]), None)
    return None if far is None else far << resolution


def _rows(survey: Survey, kind: str) -> tuple[int, ...]:
    """Events of a kind in each stretch."""
    if kind in ("enter", "leave"):
        return _sums([guest.exits for guest in survey.guests], survey.cells)
    return _sums([row for each, row in survey.events.items() if not kind or each.name.lower() == kind], survey.cells)
