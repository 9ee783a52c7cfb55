"""Translation: a walk as text, maps of address spaces, who maps a page, differences of maps, moments."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Protocol, TypeVar, runtime_checkable

from emulator.addressspace import STAGES, Filter, Tables, finish
from emulator.hart import Access, Mode
from emulator.isa import pages
from rvtui.commands.registry import Answer, Argument, CommandError, Context, Report, command
from rvtui.commands.values import ADDRESS, value_of
from rvtui.diagram import Examined, plain, whole
from rvtui.mapping import MARKS, Shown, Wanted, data, head_line, mark, named, row_line, show
from rvtui.panes.walk import examine
from rvtui.text import line_width

T = TypeVar("T")
ROWS = 2000
"""Lines of a report at most."""
WIDTH = 100


@runtime_checkable
class MapScreen(Protocol):
    """A screen that has the map pane."""

    def walk_physical(self, address: int, access: Access) -> None: ...
    def map(self, wanted: Wanted) -> None: ...
    def seek(self, address: int) -> None: ...


def _finish(context: Context, reading: Generator[int, None, T]) -> T:
    """To the end, telling how far; given up when the session closes."""
    told = 0

    def tell(tables: int) -> None:
        nonlocal told
        if tables - told >= 2000:
            told = tables
            context.screen.progress(f"{tables:,} tables read")
        if context.session.closing:
            raise CommandError("the session is closed")

    return finish(reading, tell)


def _report(shown: Shown) -> Report:
    lines = [shown.title, *shown.notes]
    if shown.rows:
        lines += plain([head_line(shown, 200)])
        lines += plain(row_line(shown, shown.rows[index], WIDTH) for index in range(min(ROWS, len(shown.rows))))
    if len(shown.rows) > ROWS:
        lines.append(f"... and {len(shown.rows) - ROWS:,} more: a filter shows fewer")
    return Report(tuple(lines), data(shown, ROWS))


def _shown(context: Context, wanted: Wanted) -> Shown:
    session = context.session
    tables = Tables(session.machine.memory)
    return _finish(context, show(session.machine, session.subject, tables, wanted, session.marks))


def _access(text: str) -> Access:
    try:
        return Access[text.upper()]
    except KeyError:
        raise CommandError(f"access {text!r}: one of fetch, load, store, hlvx") from None


def _mode(text: str) -> Mode | None:
    try:
        return Mode[text.upper()] if text else None
    except KeyError:
        raise CommandError(f"mode {text!r}: one of M, HS, U, VS, VU") from None


@command(
    "pagewalk",
    "the walk of ADDRESS through both stages as a diagram: each entry, where it ends and why",
    ADDRESS,
    Argument("ACCESS", "access", "fetch, load, store or hlvx", True),
    Argument("MODE", "mode", "M, HS, U, VS or VU; the hart's own if not given", True),
    example="pagewalk pc fetch",
)
def _pagewalk(context: Context, address: str, access: str = "load", mode: str = "") -> Report:
    session = context.session
    kind, world = _access(access), _mode(mode)
    if kind is Access.HLVX and world is not None and not world.virtual:
        raise CommandError(f"HLVX is for VS and VU, not for {world.label}")
    return _walked(examine(session.machine, session.subject, value_of(context, address), kind, world))


@command(
    "gwalk",
    "the walk of guest-physical ADDRESS through the G-stage alone",
    ADDRESS,
    Argument("ACCESS", "access", "fetch, load or store", True),
    example="gwalk 0x80000000",
)
def _gwalk(context: Context, address: str, access: str = "load") -> Answer:
    session = context.session
    kind, value = _access(access), value_of(context, address)
    if kind is Access.HLVX:
        raise CommandError("HLVX takes a guest-virtual address: pagewalk ADDRESS hlvx")
    found = examine(session.machine, session.subject, value, kind, physical=True)
    if isinstance(context.screen, MapScreen):
        context.screen.walk_physical(value, kind)
        return None
    return _walked(found)


def _walked(found: Examined) -> Report:
    walk = found.walk
    drawn = whole(found, WIDTH)
    width = max(line_width(line) for line in drawn.lines)
    lines = plain(whole(found, max(60, min(WIDTH, width))).lines)
    trap = found.trap
    return Report(
        lines,
        {
            "address": walk.address, "access": walk.access.name.lower(), "mode": walk.world.mode.label,
            "physical": walk.physical, "guest_physical": walk.guest_physical, "reads": walk.reads,
            "page": 1 << walk.page_bits if walk.physical is not None and walk.steps else None,
            "steps": [
                {
                    "stage": "G" if step.stage else "first", "level": step.level, "for_level": step.nested,
                    "input": step.input, "address": step.pte_address, "physical": step.pte_physical, "pte": step.pte,
                    "bits": f"{pages.flags(step.pte)} {pages.high_flags(step.pte)}".strip(),
                    "result": step.result.name.lower(),
                }
                for step in walk.steps
            ],
            "reason": found.verdict.text if found.verdict is not None else None,
            "trap": None if trap is None else {
                "cause": trap.cause, "mode": trap.mode.label, "pc": trap.pc,
                "csrs": {name: after for name, (_, after) in trap.csrs.items()},
            },
        },
    )  # fmt: skip


@command(
    "map",
    "what is mapped: STAGE is satp, vsatp, hgatp or merged; FILTER is words as 0x1000-0x2000, to:RANGE, rw, -x, u, 2m",
    Argument("STAGE", "stage", "satp, vsatp, hgatp, merged", True),
    Argument(
        "FILTER", "filter", "a range, to:RANGE, gpa:RANGE, rw, -x, u, g:w, 4k, 2m, 1g, nc, io, hole; - for all", True
    ),
    example="map hgatp rw 2m",
)
def _map(context: Context, stage: str = "", filter: str = "") -> Answer:
    if stage and stage not in STAGES:
        stage, filter = "", f"{stage} {filter}".strip()
    filter = "" if filter == "-" else filter
    Filter.parse(filter)
    wanted = Wanted(stage=stage, filter=filter)
    if isinstance(context.screen, MapScreen):
        context.screen.map(wanted)
        return None
    return _report(_shown(context, wanted))


@command(
    "mapfind",
    "go to the line of the map that holds ADDRESS",
    ADDRESS,
    example="mapfind pc",
)
def _mapfind(context: Context, address: str) -> Answer:
    value = value_of(context, address)
    if isinstance(context.screen, MapScreen):
        context.screen.seek(value)
        return None
    return _report(_shown(context, Wanted(filter=f"{value:#x}")))


@command(
    "whomaps",
    "every address that leads to the physical PAGE, in all harts, VMs and guests; gpa:PAGE in the one looked at",
    Argument("PAGE", "expression", "a physical address, or gpa:ADDRESS for a guest-physical one"),
    example="whomaps 0x80200000",
)
def _whomaps(context: Context, page: str) -> Answer:
    space, colon, rest = page.partition(":")
    if colon and space not in ("pa", "gpa"):
        raise CommandError(f"page {page!r}: write a physical address, or gpa:ADDRESS")
    wanted = Wanted(kind="who", page=value_of(context, rest if colon else page), space=space if colon else "pa")
    if isinstance(context.screen, MapScreen):
        context.screen.map(wanted)
        return None
    return _report(_shown(context, wanted))


def _sides(context: Context, text: str) -> list[str]:
    """The words of a line, of which two may be one name: VMID 1."""
    words = text.split()
    for at in range(len(words) - 1):
        if words[at].upper() == "VMID" and at + 1 < len(words):
            words[at : at + 2] = [f"VMID {words[at + 1]}", ""]
    return [word for word in words if word]


@command(
    "mapdiff",
    "how the map of B differs from A's: each is now, a moment that was marked, a hart or VM, or a snapshot file",
    Argument("A", "moment", "before"),
    Argument("B", "moment", "after, and a STAGE if it is not to be the usual one"),
    example="mapdiff before now",
)
def _mapdiff(context: Context, before: str, after: str) -> Answer:
    words = _sides(context, f"{before} {after}")
    stage = words.pop() if len(words) == 3 and words[-1] in STAGES else ""
    if len(words) != 2:
        raise CommandError("mapdiff takes A, B and perhaps a stage: now, a moment, a hart or VM, or a snapshot file")
    session = context.session
    for side in words:
        if side == "now" or side in session.marks or named(session.machine, side) is not None or os.path.exists(side):
            continue
        known = ", ".join(["now", *session.marks])
        raise CommandError(f"{side!r} is no moment, hart, VM or snapshot file; there is {known}: `mark NAME` keeps one")
    wanted = Wanted(kind="diff", stage=stage, sides=(words[0], words[1]))
    if isinstance(context.screen, MapScreen):
        context.screen.map(wanted)
        return None
    return _report(_shown(context, wanted))


@command(
    "mark",
    "keep the maps of what is looked at as the moment NAME, for mapdiff",
    Argument("NAME", "name", "what it is called"),
    example="mark before",
)
def _mark(context: Context, name: str) -> str:
    session = context.session
    if name == "now" or not name.isidentifier():
        raise CommandError(f"{name!r} cannot be the name of a moment: letters, digits and _, and not `now`")
    if len(session.marks) >= MARKS and name not in session.marks:
        raise CommandError(f"there are {MARKS} moments already: use one of their names again")
    moment = _finish(context, mark(session.machine, session.subject, Tables(session.machine.memory)))
    session.marks[name] = moment
    leaves = {stage: found.leaves for stage, found in moment.maps.items() if not found.bare}
    text = ", ".join(f"{stage} {number:,} leaves" for stage, number in leaves.items()) or "nothing is translated"
    return f"{name}: {moment.name} at clock {moment.clock:,}, {text}"
