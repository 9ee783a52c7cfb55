"""What the map pane and its commands show: maps of what is looked at, who maps a page, differences of two maps.

All of it is read on the session's worker, as generators that yield now and then: the pane drives them a slice at a
time, so that the machine, the keys and the screen go on between; commands drive them to the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from emulator.addressspace import (
    STAGES,
    AddressMap,
    Change,
    Filter,
    Leaves,
    Run,
    Space,
    Tables,
    by_output,
    coalesce,
    difference,
    holders,
    letters,
)
from emulator.errors import ConfigurationError
from emulator.isa.pages import A, D
from emulator.machine import Machine
from rvtui.subjects import Subject, by_name, hart_of, spaces_of, subject_name, subjects
from rvtui.text import Line, clean, size

SLICE_SECONDS = 0.012
SHAPES = ("ranges", "equal", "leaves")
"""Neighbours joined whatever A, D and the size of pages; only where they are alike; or none."""
PAGE_MASK = 4095
MARKS = 32
"""Moments that are kept at most."""


class Holder(NamedTuple):
    """A mapping that leads to the page that was asked for: whose, in which stage."""

    owner: str
    stage: str
    run: Run


Row = Run | Change | Holder


@dataclass(frozen=True)
class Wanted:
    """What is to be shown. `kind`: "map", "who" (needs `page`, `space`: "pa" or "gpa") or "diff" (`sides`).

    `stage`: one of STAGES, or "" for the one that suits what is looked at; `filter` as Filter.parse takes it; `order`:
    "start" or "output".
    """

    kind: str = "map"
    stage: str = ""
    filter: str = ""
    shape: str = "ranges"
    order: str = "start"
    page: int = 0
    space: str = "pa"
    sides: tuple[str, str] = ("", "")
    exact: bool = False


@dataclass(frozen=True)
class Shown:
    """The rows, and what is to be said of them."""

    wanted: Wanted
    stage: str
    name: str
    title: str
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()
    map: AddressMap | None = None


Showing = Generator[int, None, Shown]


@dataclass(frozen=True)
class Moment:
    """What was marked: whose, at which instruction, its map by stage."""

    name: str
    clock: int
    maps: Mapping[str, AddressMap]


class Slices:
    """A generator driven a slice at a time on the worker; `shown` when it is done. `tables`: how many it has read."""

    def __init__(self, showing: Showing) -> None:
        self._showing = showing
        self.tables = 0
        self.shown: Shown | None = None

    def go(self, machine: Machine) -> bool:
        """True: done. An EmulatorError is the user's."""
        end = time.monotonic() + SLICE_SECONDS
        try:
            while time.monotonic() < end:
                self.tables = next(self._showing)
        except StopIteration as stop:
            self.shown = stop.value
            return True
        return False


def default_stage(machine: Machine, subject: Subject, spaces: Mapping[str, Space]) -> str:
    """The stage to begin with: the hart's own with V=0, else both, as far as they translate."""
    virtual = subject.vm is not None or subject.guest is not None or hart_of(machine, subject).mode.virtual
    has = [name for name in ("vsatp", "hgatp", "satp") if name in spaces and spaces[name].levels]
    if virtual and "hgatp" in has:
        return "merged" if "vsatp" in has else "hgatp"
    if virtual and "vsatp" in has:
        return "vsatp"
    return "satp" if "satp" in has else "hgatp" if "hgatp" in has else next(iter(spaces), "satp")


def show(machine: Machine, subject: Subject, tables: Tables, wanted: Wanted, marks: Mapping[str, Moment]) -> Showing:
    """What `wanted` says. EmulatorError for what cannot be shown."""
    chosen = Filter.parse(wanted.filter)
    if wanted.stage and wanted.stage not in STAGES:
        raise ConfigurationError(f"no stage {wanted.stage!r}: one of {', '.join(STAGES)}")
    if wanted.kind == "who":
        return (yield from _who(machine, subject, tables, wanted))
    if wanted.kind == "diff":
        return (yield from _diff(machine, subject, tables, wanted, chosen, marks))
    spaces = spaces_of(machine, subject)
    stage = wanted.stage or default_stage(machine, subject, spaces)
    found = yield from tables.read_stage(spaces, stage)
    runs: Sequence[Run] = [run for run in found.runs if chosen.accepts(run)]
    yield len(found.found)
    if wanted.shape == "ranges":
        runs = coalesce(runs)
        yield len(found.found)
    if wanted.order == "output":
        runs = by_output(runs)
    leaves = sum(run.leaves for run in runs)
    name = subject_name(machine, subject)
    kind = "ranges" if wanted.shape == "ranges" else "runs"
    title = f"{stage} of {name}: {_modes(found)}, {leaves:,} leaves in {len(runs):,} {kind}"
    rows: Sequence[Run] = Leaves(runs) if wanted.shape == "leaves" else runs
    return Shown(wanted, stage, name, title, rows, _notes(found), found)


def _modes(found: AddressMap) -> str:
    return " over ".join(
        f"{space.mode} {'VMID' if space.guest else 'ASID'} {space.number}" if space.levels else f"{space.name} Bare"
        for space in found.spaces
    )


def _notes(found: AddressMap) -> tuple[str, ...]:
    notes = list(found.problems)
    if found.bare:
        notes.append(f"{' and '.join(space.name for space in found.spaces)} Bare: addresses are not translated")
    if not found.complete:
        notes.append(f"not all: there is more than {len(found.runs):,} runs or {len(found.found):,} tables")
    return tuple(notes)


def _who(machine: Machine, subject: Subject, tables: Tables, wanted: Wanted) -> Showing:
    """Every mapping that leads to a page: of all harts, VMs and guests to a physical one, else of what is looked at."""
    page = wanted.page & ~PAGE_MASK
    rows: list[Row] = []
    notes: list[str] = []
    seen: set[object] = set()
    every = [subject] if wanted.space == "gpa" else subjects(machine)
    for each in every:
        spaces = spaces_of(machine, each)
        name = subject_name(machine, each)
        for stage in ("vsatp",) if wanted.space == "gpa" else ("satp", "hgatp", "merged"):
            parts = ("vsatp", "hgatp") if stage == "merged" else (stage,)
            if any(part not in spaces for part in parts) or not spaces[parts[0]].levels:
                continue
            key = (stage, *(spaces[part].value for part in parts))
            if key in seen:
                continue
            seen.add(key)
            found = yield from tables.read_stage(spaces, stage)
            rows += [Holder(name, stage, run) for run in holders(found.runs, page)]
            notes += [f"{name}: {note}" for note in _notes(found)]
            if page in found.found and stage != "merged":
                notes.append(f"the page is a table of {name}'s {stage}, of level {found.found[page]}")
    kind = "guest-physical" if wanted.space == "gpa" else "physical"
    title = f"who maps {kind} {page:#x}: {len(rows):,} mapping{'s' * (len(rows) != 1)}"
    return Shown(wanted, "who", subject_name(machine, subject), title, rows, tuple(notes[:20]))


def _diff(
    machine: Machine, subject: Subject, tables: Tables, wanted: Wanted, chosen: Filter, marks: Mapping[str, Moment]
) -> Showing:
    stage = wanted.stage
    if not stage:
        stage = default_stage(machine, subject, spaces_of(machine, subject))
    maps: list[AddressMap] = []
    for side in wanted.sides:
        found = yield from _side(machine, subject, tables, side, stage, marks)
        maps.append(found)
    old, new = ([run for run in found.runs if chosen.accepts(run)] for found in maps)
    yield 0
    rows = difference(old, new, 0 if wanted.exact else A | D)
    marked = {mark: sum(row.mark == mark for row in rows) for mark in "+-~"}
    before, after = wanted.sides
    title = f"{stage}: {before} to {after}: " + ", ".join(f"{mark}{number:,}" for mark, number in marked.items())
    notes = [f"{side}: {note}" for side, found in zip(wanted.sides, maps, strict=True) for note in _notes(found)]
    return Shown(wanted, stage, subject_name(machine, subject), title, rows, tuple(notes))


def named(machine: Machine, name: str) -> Subject | None:
    """What `select` would take."""
    known = by_name(machine)
    spelt = {each.lower().replace(" ", ""): subject for each, subject in known.items()}
    return known.get(name) or spelt.get(name.lower().replace(" ", "").removeprefix("hart"))


def _side(
    machine: Machine, subject: Subject, tables: Tables, side: str, stage: str, marks: Mapping[str, Moment]
) -> Generator[int, None, AddressMap]:
    """One side of a difference: "now", a moment, a hart, VM or guest by name, or a snapshot file."""
    if side == "now":
        return (yield from tables.read_stage(spaces_of(machine, subject), stage))
    if side in marks:
        moment = marks[side]
        if stage not in moment.maps:
            have = ", ".join(moment.maps) or "nothing"
            raise ConfigurationError(f"moment {side!r} has no {stage} of {moment.name}: it has {have}")
        return moment.maps[stage]
    other = named(machine, side)
    if other is not None:
        return (yield from tables.read_stage(spaces_of(machine, other), stage))
    if not os.path.exists(side):
        names = ", ".join(["now", *marks, *by_name(machine)])
        raise ConfigurationError(f"{side!r} is no moment, machine part or snapshot file: there is {names}")
    import snapshots

    then = snapshots.load(side)
    return (yield from Tables(then.memory).read_stage(spaces_of(then, subject), stage))


def mark(machine: Machine, subject: Subject, tables: Tables) -> Generator[int, None, Moment]:
    """The maps of what is looked at, of every stage that it has."""
    maps: dict[str, AddressMap] = {}
    spaces = spaces_of(machine, subject)
    for stage in STAGES:
        try:
            maps[stage] = yield from tables.read_stage(spaces, stage)
        except ConfigurationError:  # it has no such stage
            continue
    return Moment(subject_name(machine, subject), machine.clock, maps)


# --- rows as text


def hexes(value: int | None, width: int) -> str:
    return (f"{value:x}" if value is not None else "-").rjust(width)


def sizes_text(run: Run) -> str:
    """ "2M 4K", "64K": of the pages."""
    names = {12: "4K", 21: "2M", 30: "1G", 39: "512G", 48: "256T"}
    if run.bits >> 63 and run.sizes == 4096:
        return "64K"
    return " ".join(names.get(bit, f"2^{bit}") for bit in range(48, 11, -1) if run.sizes >> bit & 1)


def head_line(shown: Shown, width: int) -> Line:
    wanted = shown.wanted
    by = {"start": "↑", "output": ""} if wanted.order == "start" else {"start": "", "output": "↑"}
    match wanted.kind:
        case "who":
            text = f"  {'who':<14} {'stage':<7} {'address':>16} {'length':>10}  bits"
        case "diff":
            text = f"  {'address':>16} {'length':>10}  before → after"
        case _ if shown.stage == "merged":
            text = f"{'gva' + by['start']:>16} {'length':>9} {'gpa':>11} → {'spa' + by['output']:>11}"
            text += "  VS       G        pages"
        case _:
            names = {"satp": ("va", "pa"), "vsatp": ("gva", "gpa"), "hgatp": ("gpa", "spa")}
            low, high = names.get(shown.stage, ("address", "output"))
            text = f"{low + by['start']:>16} {'length':>10} → {high + by['output']:>13}  bits     pages"
    return ((text[:width], "label bold"),)


def row_line(shown: Shown, row: Row, width: int) -> Line:
    """One row; a difference has its sign beside its colour."""
    if isinstance(row, Change):
        style = {"+": "good", "-": "bad", "~": "changed"}[row.mark]
        parts = [_short(run) for run in (row.before, row.after) if run is not None]
        return (
            (f"{row.mark} ", f"{style} bold"),
            (f"{row.start:16x} {size(row.length):>10}  ", ""),
            (" → ".join(parts), style),
        )
    if isinstance(row, Holder):
        run = row.run
        return (
            (f"  {clean(row.owner, 14):<14} {row.stage:<7} ", "label"),
            (f"{run.start:16x}", "bold"),
            (f" {size(run.length):>10}  {_bits(run)}", "label"),
            (f"  gpa {run.gpa:x}" if run.gpa is not None else "", "dim"),
        )
    if shown.stage == "merged":
        hole = row.output is None
        return (
            (f"{row.start:16x}", "bold"),
            (f" {size(row.length):>9}", "label"),
            (hexes(row.gpa, 12), "VS"),
            (" → ", "faint"),
            (hexes(row.output, 11), "warn" if hole else ""),
            (f"  {letters(row.bits, row.mixed)}", "label"),
            (
                "  hole: the G-stage maps nothing" if hole else f"  {letters(row.gbits, row.gmixed)}",
                "warn" if hole else "label",
            ),
            ("" if hole else f"  {sizes_text(row)}", "dim"),
        )
    refused = shown.stage == "hgatp" and not (row.bits | row.mixed) & 16
    return (
        (f"{row.start:16x}", "bold"),
        (f" {size(row.length):>10}", "label"),
        (" → ", "faint"),
        (hexes(row.output, 13), ""),
        (f"  {letters(row.bits, row.mixed)}", "bad" if refused else "label"),
        (f"  {sizes_text(row)}", "dim"),
        (f"  {row.leaves:,}" if row.leaves > 1 else "", "faint"),
        ("  no U: refused" if refused else "", "bad"),
    )


def _short(run: Run) -> str:
    return f"{hexes(run.output, 0)} {_bits(run)}"


def _bits(run: Run) -> str:
    text = letters(run.bits, run.mixed)
    return text + (f" {letters(run.gbits, run.gmixed)}" if run.gpa is not None else "")


def data(shown: Shown, most: int) -> dict[str, Any]:
    """What JSON can say, of at most `most` rows: addresses in hex, lengths in bytes."""
    return {
        "kind": shown.wanted.kind,
        "stage": shown.stage,
        "of": shown.name,
        "rows": [_plain(shown.rows[index]) for index in range(min(most, len(shown.rows)))],
        "total": len(shown.rows),
        "notes": list(shown.notes),
    }


def _plain(row: Row | None) -> Any:
    if row is None:
        return None
    if isinstance(row, Change):
        return {
            "mark": row.mark, "start": hex(row.start), "length": row.length, "before": _plain(row.before),
            "after": _plain(row.after),
        }  # fmt: skip
    if isinstance(row, Holder):
        return {"owner": row.owner, "stage": row.stage, **_plain(row.run)}
    found = {
        "start": hex(row.start), "length": row.length, "bits": letters(row.bits, row.mixed),
        "pages": sizes_text(row).split(), "leaves": row.leaves,
    }  # fmt: skip
    if row.output is not None:
        found["output"] = hex(row.output)
    if row.gpa is not None:
        found |= {"gpa": hex(row.gpa), "gbits": letters(row.gbits, row.gmixed)}
    return found


def find(rows: Sequence[Row], address: int) -> int | None:
    """The row that holds `address`, by its own side."""
    if isinstance(rows, Leaves):
        return rows.find(address)
    for index, row in enumerate(rows):
        at = row.run if isinstance(row, Holder) else row
        if at.start <= address < at.start + at.length:
            return index
    return None
