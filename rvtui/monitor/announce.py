"""What is different since the machine stood still last, in words, for who sees no marks beside values."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.isa import ABI_NAMES
from emulator.machine import Machine
from rvtui.panes.vms import Overview, read_overview
from rvtui.subjects import Subject, hart_of, symbols_of
from rvtui.text import clean

MOST = 6
"""Registers that are named."""


@dataclass(frozen=True)
class Moment:
    subject: Subject
    x: tuple[int, ...]
    names: tuple[str, ...]
    """What the values of x point to, "" where nothing."""
    overview: Overview


def moment(machine: Machine, subject: Subject) -> Moment:
    """On the session's worker."""
    x, symbols = tuple(hart_of(machine, subject).x), symbols_of(machine, subject)
    names = tuple((symbols.lookup(value) or "") if value > 4095 else "" for value in x)
    return Moment(subject, x, names, read_overview(machine, subject))


def changes(before: Moment | None, now: Moment) -> list[str]:
    """A line for each VM, hart or guest that came, ended or stopped, and one for the registers."""
    lines = []
    known = {} if before is None else {each.subject: each for each in before.overview.runners}
    for each in now.overview.runners:
        was = known.get(each.subject)
        if was is None and before is not None:
            lines.append(f"{clean(each.name)} is new: {each.state}")
        elif was is not None and was.state != each.state and each.state in ("ended", "stopped"):
            lines.append(f"{clean(each.name)} {each.state}" + (f": {clean(each.note, 200)}" if each.note else ""))
    if before is None or before.subject != now.subject:
        return lines
    changed = [index for index, (old, new) in enumerate(zip(before.x, now.x, strict=True)) if old != new]
    if changed:
        parts = [
            f"{ABI_NAMES[index]} {now.x[index]:#x}" + (f" {clean(now.names[index], 40)}" if now.names[index] else "")
            for index in changed[:MOST]
        ]
        more = f", and {len(changed) - MOST} more" if len(changed) > MOST else ""
        lines.append(f"Changed: {', '.join(parts)}{more}")
    return lines
