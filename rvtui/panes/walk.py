"""The walk of one address through both stages, as a diagram: each entry read, and where and why it ends."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from emulator.hart import Access, Mode, Step, Walk, WalkResult
from emulator.isa import csrs, pages
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import GuestFace, Subject, walker_of
from rvtui.text import Line, Span, clean, size


def read_walk(address: int | None, access: Access, mode: Mode | None) -> Reader:
    """The walk of `address`, or of pc as a fetch where no address was asked for."""

    def read(machine: Machine, subject: Subject) -> tuple[str, int, Access, int, Walk]:
        face = walker_of(machine, subject)
        where, kind = (face.pc, Access.FETCH) if address is None else (address, access)
        of = "of pc" if address is None else ""
        if isinstance(face, GuestFace):
            of += f" of {face.guest.name}" if face.whole else f" guest-physical: {face.guest.name} is on no hart"
        return of.strip(), where, kind, int(face.mode if mode is None else mode), face.walk(where, kind, mode)

    return read


class WalkPane(Pane):
    NAME = "walk"
    TITLE = "Walk"
    KEY = "7"
    HELP = (
        "How one address is translated now: each page-table entry that is read, in order, with its bits; N is one of 64"
        " KiB (Svnapot), NC and IO the memory type (Svpbmt). The G-stage"
        " walk that finds a VS-stage entry is indented under it. It ends with the physical address, or with the rule"
        " that refuses and what the trap would write. w asks for another address (or: walk ADDRESS store VU); without"
        " one the pane follows pc. Looking never sets A or D. A guest inside is walked as it stood at its last exit;"
        " once no hart has its hgatp, by its G-stage alone, from guest-physical addresses."
    )

    def __init__(self) -> None:
        super().__init__()
        self.address: int | None = None
        self.access = Access.FETCH
        self.mode: Mode | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"walk": (read_walk(self.address, self.access, self.mode), 0.2)}

    def ask(self, address: int | None, access: Access = Access.LOAD, mode: Mode | None = None) -> None:
        self.address, self.access, self.mode = address, access, mode
        self.top = 0
        self.application.resubscribe(self)

    def draw(self, view: View) -> list[Line] | None:
        value = view.get("walk")
        if not isinstance(value, tuple):
            return None
        of, _, _, mode, walk = value
        self.entitle(of)
        return walk_lines(walk, Mode(mode), self.columns)


def walk_lines(walk: Walk, mode: Mode, columns: int) -> list[Line]:
    """What each step of a walk in `mode` found, and how it ended; sentences are wrapped at `columns`."""
    name = mode.label
    head: list[Span] = [
        (f"{walk.address:#x}", "bold"),
        (f"  {walk.access.name.lower()} in ", "label"),
        (name, f"{name} bold"),
    ]
    lines: list[Line] = [tuple(head)]
    first = "VS" if mode.virtual or any(step.stage for step in walk.steps) else "S"
    reads = 0
    place: object = None
    for step in walk.steps:
        reads += 1
        nested = step.stage == 1 and step.nested is not None
        if step.stage == 1 and place != (step.nested, step.input):
            if nested:
                lines.append(
                    (("│  ", "faint"), (f"┌ G-stage: the VS-stage entry is at gpa {step.input:#x}", "dim"))
                )
            elif reads > 1:
                lines.append((("│", "faint"),))
                lines.append(
                    (
                        ("├─ ", "faint"),
                        (f"guest-physical {step.input:#x}", "bold"),
                        ("  through the G-stage", "label"),
                    )
                )
        place = (step.nested, step.input) if step.stage == 1 else None
        lines.append(_step(step, nested, first))
    if walk.cause is not None:
        lines.append((("└─ ", "faint"), (f"✗ {csrs.cause_name(walk.cause, False)} ({walk.cause})", "bad bold")))
        trap: list[Span] = [("   tval ", "label"), (f"{walk.tval:#x}", "")]
        if walk.tval2:
            trap += [("  htval ", "label"), (f"{walk.tval2:#x}", ""), (f"  gpa {walk.tval2 << 2:#x}", "dim")]
        if walk.tinst:
            trap += [("  htinst ", "label"), (f"{walk.tinst:#x}", "")]
        lines.append(tuple(trap))
        if walk.tinst:
            lines.append((("   " + csrs.MEANINGS["tinst"](walk.tinst), "dim"),))
        for part in textwrap.wrap(clean(walk.explain, 400), max(20, columns - 3)):
            lines.append((("   " + part, "italic label"),))
    else:
        how = f"  {size(1 << walk.page_bits)} page" if walk.steps else "  no translation in this mode"
        kind = _memory_type(walk)
        if kind:
            how += f", {pages.MEMORY_TYPES[kind]} memory"
        lines.append(
            (
                ("└─ ", "faint"),
                (f"✓ physical {walk.physical:#x}", "good bold"),
                (how, "label"),
                (f"  {reads} reads" if reads else "", "dim"),
            )
        )
    return lines


def _step(step: Step, nested: bool, first: str) -> Line:
    flags, more = pages.flags(step.pte), pages.high_flags(step.pte)
    spans: list[Span] = [
        ("│  │ " if nested else "├─ ", "faint"),
        (f"{'G' if step.stage else first:<2} L{step.level} ", "HS" if step.stage or first == "S" else "VS"),
        (f"[{step.pte_physical:x}]", "dim"),
        (f" {step.pte:>9x}", ""),
        (f" {flags} {f'{more} ' if more else ''}", "label"),
    ]
    if step.result is WalkResult.LEAF:
        spans.append((f"→ {step.output:#x}", "good"))
    elif step.result is WalkResult.POINTER:
        spans.append(("→ next table", "label"))
    else:
        spans.append((f"✗ {step.result.meaning}", "bad"))
    return tuple(spans)


def _memory_type(walk: Walk) -> int:
    """PBMT of the leaves together: the VS-stage's, where it is not 0, overrides the G-stage's ("Svpbmt Extension for
    Page-Based Memory Types")."""
    found = {step.stage: step.pte >> 61 & 3 for step in walk.steps if step.nested is None}
    return found.get(0) or found.get(1, 0)
