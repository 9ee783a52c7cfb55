"""What the hart did when, and what happened."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.history import KINDS
from rvtui.commands.machine import table
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import number_of
from rvtui.lanes import LABEL, Wanted, heading, picture_rows, read_timeline, told
from rvtui.panes.events import named
from rvtui.subjects import hart_index
from rvtui.text import clean

CELLS = 64
RING = 1024
"""Events that a hart keeps."""
LATEST = 20
"""Events that are shown unless more are asked for."""


def clock_of(text: str, now: int) -> int:
    """A clock in instructions: a number, "now", or -N for so many before now."""
    if text == "now":
        return now
    if text.startswith("-"):
        return max(0, now - number_of(text[1:]))
    return 0 if text == "0" else number_of(text)


def range_of(first: str, last: str, now: int) -> tuple[int, int]:
    """[start, end) of the clock. CommandError where there is nothing between."""
    start, end = clock_of(first, now) if first else 0, clock_of(last, now) if last else now + 1
    if start >= end:
        raise CommandError(f"from {start:,} to {end:,}: nothing is between; the clock is {now:,}")
    return start, end


@kind("clock")
def _clocks(context: Context, stem: str) -> Iterator[Candidate]:
    yield Candidate("now", "the hart's clock")
    yield Candidate("-1M", "a million instructions ago")
    yield Candidate("0", "the start")


@kind("event-filter")
def _filters(context: Context, stem: str) -> Iterator[Candidate]:
    head = stem[: len(stem) - len(stem.split(" ")[-1])]
    yield from (Candidate(head + name) for name in KINDS)


@command(
    "timeline",
    "what the hart did when: time by mode and guest, and how often what happened",
    Argument("FROM", "clock", "a clock, in instructions: 2M, now, -50k for so many before now; 0 if not given", True),
    Argument("TO", "clock", "up to there; now if not given", True),
    example="timeline\ntimeline -50k\ntimeline 0 1M",
)
def _timeline(context: Context, first: str = "", last: str = "") -> Report:
    session = context.session
    machine, subject = session.machine, session.subject
    now = machine.harts[hart_index(machine, subject)].clock
    start, end = range_of(first, last, now)
    shift = max(0, ((end - start - 1) // CELLS).bit_length())
    while ((end - 1) >> shift) - (start >> shift) >= CELLS:
        shift += 1
    if shift > 62 or start > now:
        raise CommandError(f"from {start:,}: the clock is {now:,}")
    cells = ((min(end - 1, now)) >> shift) - (start >> shift) + 1
    timeline = read_timeline(machine, subject, Wanted(shift, start >> shift, cells, min(end - 1, now)))
    rows = [heading(timeline), *picture_rows(timeline, session.stood, cursor=False)]
    lines = ["".join(text for text, _ in line).rstrip() for line in rows]
    legend = "A, B: the guest that ran most; A small: less than half of the cell. Rows of guests: how much each ran."
    return Report((*lines, " " * LABEL + legend), told(timeline, session.stood))


@command(
    "events",
    "the hart's last traps, interrupts, returns, fences and world switches",
    Argument("COUNT", "count", f"how many of the last {RING:,}; {LATEST} if not given", True),
    Argument("FILTER", "event-filter", f"of kinds: {', '.join(KINDS)}; and of a range of the clock: -50k..now", True),
    example="events 5\nevents 100 leave enter\nevents 20 trap 0..10k",
    aliases=("info events",),
)
def _events(context: Context, *words: str) -> Report:
    machine, subject = context.session.machine, context.session.subject
    hart = machine.harts[hart_index(machine, subject)]
    most, kinds, first, last = _wanted(" ".join(words).split(), hart.clock)
    found = hart.events_between(first, last)
    found = [event for event in found if not kinds or any(KINDS[name](event) for name in kinds)][-most:]
    rows = [["clock", "event", "modes", "what", "pc"]]
    data = []
    for event, name in named(machine, found):
        kind = event.kind.name.lower()
        modes = f"{event.from_mode.label}>{event.to_mode.label}" if event.from_mode != event.to_mode else (
            event.from_mode.label
        )
        pc = f"{event.pc:#x}" + (f" <{clean(name, 60)}>" if name else "")
        value = f" value {event.value:#x}" if event.value and kind in ("trap", "interrupt") else ""
        rows.append([f"{event.clock:,}", kind, modes, event.text + value, pc])
        data.append({
            "clock": event.clock, "kind": kind, "from": event.from_mode.label, "to": event.to_mode.label,
            "text": event.text, "cause": event.cause if kind in ("trap", "interrupt") else None,
            "value": hex(event.value), "pc": hex(event.pc), "symbol": name or None, "vmid": event.vmid,
        })  # fmt: skip
    nothing = "nothing has happened yet"
    if kinds or (first, last) != (0, hart.clock + 1):
        nothing = f"no such event among the last {RING:,}: they begin at {hart.events_from:,}"
    return Report(table(rows, right={0}) if found else (nothing,), {"events": data})


def _wanted(words: list[str], now: int) -> tuple[int, list[str], int, int]:
    """(how many, kinds, range) that the words of a filter ask for, in any order."""
    most, kinds, first, last = LATEST, [], 0, now + 1
    for word in words:
        low, dots, high = word.partition("..")
        if dots:
            first, last = range_of(low, high, now)
        elif word.lower().rstrip("s") in KINDS:
            kinds.append(word.lower().rstrip("s"))
        elif word[:1].isalpha():
            raise CommandError(f"no kind of event {word!r}: there is {', '.join(KINDS)}; or a range, FROM..TO")
        else:
            most = number_of(word, RING)
    return most, kinds, first, last
