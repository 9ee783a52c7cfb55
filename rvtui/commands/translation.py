"""Translation: a walk as text, maps of address spaces, who maps a page, differences of maps, moments."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from emulator.addressspace import STAGES, Filter, Tables, finish
from emulator.hart import Access
from emulator.isa import csrs, pages
from rvtui import spoken
from rvtui.commands.registry import Answer, Argument, Candidate, CommandError, Context, Report, command, kind, retold
from rvtui.commands.values import ADDRESS, access_of, mode_of, value_of
from rvtui.diagram import Examined, plain, whole
from rvtui.mapping import MARKS, Shown, Wanted, data, head_line, mark, named, row_line, show
from rvtui.panes.walk import examine
from rvtui.text import line_width, size

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
        if context.session.closed:
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


def _show(context: Context, wanted: Wanted) -> Answer:
    """In the map pane, or as a report where there is none."""
    if isinstance(context.screen, MapScreen):
        context.screen.map(wanted)
        return None
    return _report(_shown(context, wanted))


ACCESS = Argument("ACCESS", "access", "fetch, load, store or hlvx", True)
MODE = Argument("MODE", "mode", "M, HS, U, VS or VU; the hart's own if not given", True)


def _examined(context: Context, address: str, access: str, mode: str) -> Examined:
    session = context.session
    sort, world = access_of(access), mode_of(mode)
    if sort is Access.HLVX and world is not None and not world.virtual:
        raise CommandError(f"HLVX is for VS and VU, not for {world.label}")
    return examine(session.machine, session.subject, value_of(context, address), sort, world)


@kind("stage")
def _stage(context: Context, stem: str) -> Iterator[Candidate]:
    return map(Candidate, STAGES)


@kind("moment")
def _moment(context: Context, stem: str) -> Iterator[Candidate]:
    return map(Candidate, ("now", *context.session.marks))


@command(
    "translate",
    "where ADDRESS leads, or which stage refuses it and why",
    ADDRESS,
    ACCESS,
    MODE,
    example="translate main fetch",
    aliases=("gva2gpa", "gpa2hva"),
)
def _translate(context: Context, address: str, access: str = "load", mode: str = "") -> Report:
    found = _examined(context, address, access, mode)
    walk = found.walk
    facts = _data(found)
    head = f"{walk.address:#x} {facts['access']} in {walk.world.mode.label}: "
    if walk.cause is not None:
        gpa = f", guest-physical {walk.tval2 << 2:#x}" if walk.tval2 else ""
        text = f"{head}does not translate: {walk.explain.partition(': ')[2]}{gpa}"
    else:
        through = f"guest-physical {walk.guest_physical:#x}, " if facts["guest_physical"] else ""
        page = f", {size(1 << walk.page_bits)} page" if walk.steps else ", no translation in this mode"
        text = f"{head}{through}physical {walk.physical:#x}{page}"
    return Report(tuple(line for line in (found.of, text) if line), facts)


@command(
    "walk",
    "show how ADDRESS is translated",
    ADDRESS,
    ACCESS,
    MODE,
    example="walk 0x80000000 store VS",
    aliases=("w",),
)
def _walk(context: Context, address: str, access: str = "load", mode: str = "") -> Answer:
    if "walk" not in context.panes:
        return _walked(_examined(context, address, access, mode))
    value = value_of(context, address)
    context.screen.walk(value, access_of(access), mode_of(mode))
    return f"walk of {value:#x}"


@command(
    "pagewalk",
    "the walk of ADDRESS through both stages as a diagram: each entry, where it ends and why",
    ADDRESS,
    ACCESS,
    MODE,
    example="pagewalk pc fetch",
)
def _pagewalk(context: Context, address: str, access: str = "load", mode: str = "") -> Report:
    return _walked(_examined(context, address, access, mode))


@command(
    "gwalk",
    "the walk of guest-physical ADDRESS through the G-stage alone",
    ADDRESS,
    Argument("ACCESS", "access", "fetch, load or store", True),
    example="gwalk 0x80000000",
)
def _gwalk(context: Context, address: str, access: str = "load") -> Answer:
    session = context.session
    sort, value = access_of(access), value_of(context, address)
    if sort is Access.HLVX:
        raise CommandError("HLVX takes a guest-virtual address: pagewalk ADDRESS hlvx")
    found = examine(session.machine, session.subject, value, sort, physical=True)
    if isinstance(context.screen, MapScreen):
        context.screen.walk_physical(value, sort)
        return None
    return _walked(found)


def _walked(found: Examined) -> Report:
    drawn = whole(found, WIDTH)
    width = max(line_width(line) for line in drawn.lines)
    lines = plain(whole(found, max(60, min(WIDTH, width))).lines)
    return Report(retold(lines, spoken.walk(found)), _data(found))


def _data(found: Examined) -> dict[str, Any]:
    walk, trap = found.walk, found.trap
    staged = any(step.stage for step in walk.steps)
    first = "VS" if walk.world.mode.virtual else "S"

    def text(value: int | None) -> str | None:
        return None if value is None else hex(value)

    return {
        "address": hex(walk.address), "access": walk.access.name.lower(), "mode": walk.world.mode.label,
        "physical": text(walk.physical), "guest_physical": text(walk.guest_physical) if staged else None,
        "reads": walk.reads, "cause": walk.cause,
        "cause_name": None if walk.cause is None else csrs.cause_name(walk.cause, False),
        "page": 1 << walk.page_bits if walk.physical is not None and walk.steps else None,
        "steps": [
            {
                "stage": "G" if step.stage else first, "level": step.level, "for_level": step.nested,
                "address": hex(step.input), "pte_address": hex(step.pte_physical), "pte": hex(step.pte),
                "bits": f"{pages.flags(step.pte)} {pages.high_flags(step.pte)}".strip(),
                "result": step.result.name.lower(), "output": hex(step.output),
            }
            for step in walk.steps
        ],
        "reason": found.verdict.text if found.verdict is not None else None,
        "trap": None if trap is None else {
            "cause": trap.cause, "name": csrs.cause_name(trap.cause, False), "mode": trap.mode.label,
            "pc": hex(trap.pc), "csrs": {name: hex(after) for name, (_, after) in trap.csrs.items()},
        },
    }  # fmt: skip


@command(
    "map",
    "what is mapped: STAGE is satp, vsatp, hgatp or merged; FILTER is words as 0x1000-0x2000, to:RANGE, rw, -x, u, 2m",
    Argument("STAGE", "stage", "satp, vsatp, hgatp, merged", True),
    Argument(
        "FILTER", "text", "a range, to:RANGE, gpa:RANGE, rw, -x, u, g:w, 4k, 2m, 1g, nc, io, hole; - for all", True
    ),
    example="map hgatp rw 2m",
)
def _map(context: Context, stage: str = "", filter: str = "") -> Answer:
    if stage and stage not in STAGES:
        stage, filter = "", f"{stage} {filter}".strip()
    filter = "" if filter == "-" else filter
    Filter.parse(filter)
    wanted = Wanted(stage=stage, filter=filter)
    return _show(context, wanted)


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
    return _show(context, wanted)


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
    example="mark before\nmapdiff before now",
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
    return _show(context, wanted)


@command(
    "mark",
    "keep the maps of what is looked at as the moment NAME, for mapdiff",
    Argument("NAME", "text", "what it is called"),
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
