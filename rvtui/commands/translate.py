"""Translation of addresses."""

from __future__ import annotations

from typing import Any

from emulator.hart import Access, Mode, Walk
from emulator.isa import csrs
from rvtui.commands.registry import Answer, Argument, Context, Report, command
from rvtui.commands.values import ADDRESS, access_of, mode_of, value_of
from rvtui.subjects import GuestFace, walker_of
from rvtui.text import size

COLUMNS = 100
ACCESS = Argument("ACCESS", "access", "fetch, load or store", True)
MODE = Argument("MODE", "mode", "M, HS, U, VS or VU; the hart's own if not given", True)


def _walked(context: Context, address: int, access: Access, mode: Mode | None) -> tuple[Walk, Mode, str]:
    """(the walk, the mode it was made in, what is to be said of where)."""
    face = walker_of(context.session.machine, context.session.subject)
    note = ""
    if isinstance(face, GuestFace):
        note = "" if face.whole else f"guest-physical: {face.guest.name} is on no hart, its G-stage alone is walked"
    return face.walk(address, access, mode), face.mode if mode is None else mode, note


def _data(walk: Walk, mode: Mode) -> dict[str, Any]:
    def text(value: int | None) -> str | None:
        return None if value is None else hex(value)

    staged = any(step.stage for step in walk.steps)
    cause = walk.cause
    return {
        "address": hex(walk.address),
        "access": walk.access.name.lower(),
        "mode": mode.label,
        "physical": text(walk.physical),
        "guest_physical": text(walk.guest_physical) if staged else None,
        "page": None if walk.physical is None or not walk.steps else 1 << walk.page_bits,
        "cause": cause,
        "cause_name": None if cause is None else csrs.cause_name(cause, False),
        "why": None if cause is None else walk.explain.partition(": ")[2],
        "tval": text(walk.tval), "tval2": text(walk.tval2), "tinst": text(walk.tinst),
    }  # fmt: skip


def walk_report(context: Context, address: int, access: Access, mode: Mode | None) -> Report:
    """Each step of a translation, as the Walk pane draws it."""
    from rvtui.panes.walk import walk_lines

    walk, world, note = _walked(context, address, access, mode)
    lines = ["".join(text for text, _ in line).rstrip() for line in walk_lines(walk, world, COLUMNS)]
    steps = [
        {
            "stage": "G" if step.stage else "VS" if world.virtual else "S",
            "level": step.level,
            "for_level": step.nested,
            "address": hex(step.input),
            "pte_address": hex(step.pte_physical),
            "pte": hex(step.pte),
            "result": step.result.name.lower(),
            "meaning": step.result.meaning,
            "output": hex(step.output),
        }
        for step in walk.steps
    ]
    return Report((*([note] if note else []), *lines), _data(walk, world) | {"steps": steps})


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
    walk, world, note = _walked(context, value_of(context, address), access_of(access), mode_of(mode))
    data = _data(walk, world)
    head = f"{walk.address:#x} {data['access']} in {world.label}: "
    if walk.cause is not None:
        gpa = f", guest-physical {walk.tval2 << 2:#x}" if walk.tval2 else ""
        text = f"{head}does not translate: {data['why']}{gpa}"
    else:
        through = f"guest-physical {walk.guest_physical:#x}, " if data["guest_physical"] else ""
        page = f", {size(1 << walk.page_bits)} page" if walk.steps else ", no translation in this mode"
        text = f"{head}{through}physical {walk.physical:#x}{page}"
    return Report((*([note] if note else []), text), data)


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
    value = value_of(context, address)
    kind, world = access_of(access), mode_of(mode)
    if "walk" in context.panes:
        context.screen.walk(value, kind, world)
        return f"walk of {value:#x}"
    return walk_report(context, value, kind, world)
