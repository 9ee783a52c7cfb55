"""The walk of one address through both stages, as a diagram: each entry read, and where and why it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.hart import Access, Mode
from emulator.isa import csrs
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_of
from rvtui.text import MODE_NAMES, Line, Span, clean

_BITS = "VRWXUGAD"
_RESULTS = {
    0: ("→ next table", "label"),
    1: ("leaf", "good"),
    2: ("✗ not valid (V=0, or W without R)", "bad"),
    3: ("✗ reserved bits are set", "bad"),
    4: ("✗ not readable (R=0)", "bad"),
    5: ("✗ not writable (W=0)", "bad"),
    6: ("✗ not executable (X=0)", "bad"),
    7: ("✗ a user page (U=1), and S may not", "bad"),
    8: ("✗ not a user page (U=0)", "bad"),
    9: ("✗ superpage whose low PPN bits are not zero", "bad"),
    10: ("✗ never accessed (A=0)", "bad"),
    11: ("✗ never written (D=0)", "bad"),
    12: ("✗ a pointer at the last level", "bad"),
    13: ("✗ address out of range for the mode", "bad"),
    14: ("✗ no memory there, or PMP refuses", "bad"),
}


def read_walk(address: int | None, access: Access, mode: Mode | None) -> Reader:
    """The walk of `address`, or of pc as a fetch where no address was asked for."""

    def read(machine: Machine, subject: Subject) -> tuple[int, Access, int, Any]:
        face = hart_of(machine, subject)
        where, kind = (face.pc, Access.FETCH) if address is None else (address, access)
        return where, kind, int(face.mode if mode is None else mode), face.walk(where, kind, mode)

    return read


class WalkPane(Pane):
    NAME = "walk"
    TITLE = "Walk"
    KEY = "7"
    HELP = (
        "How one address is translated now: each page-table entry that is read, in order, with its bits. The G-stage"
        " walk that finds a VS-stage entry is indented under it. It ends with the physical address, or with the rule"
        " that refuses and what the trap would write. w asks for another address (or: walk ADDRESS store VU); without"
        " one the pane follows pc. Looking never sets A or D."
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
        address, access, mode, walk = value
        self.entitle("of pc" if self.address is None else "")
        name = MODE_NAMES[mode]
        head: list[Span] = [
            (f"{address:#x}", "bold"),
            (f"  {access.name.lower()} in ", "label"),
            (name, f"{name} bold"),
        ]
        lines: list[Line] = [tuple(head)]
        reads = 0
        depth_before = -1
        steps = list(walk.steps)
        for index, step in enumerate(steps):
            reads += step.pte_address is not None
            nested = step.stage == 1 and step.nested != 255
            depth = 1 if nested else 0
            if step.stage == 1 and depth_before != (1 << 8 | step.nested):
                if nested:
                    lines.append((("│  ", "faint"), (f"┌ G-stage finds the VS-stage entry at gpa {step.input:#x}", "dim")))
                elif index and steps[index - 1].stage == 0:
                    lines.append((("│", "faint"),))
                    lines.append((("├─ ", "faint"), (f"guest-physical {step.input:#x}", "bold"), ("  through the G-stage", "label")))
            depth_before = 1 << 8 | step.nested if step.stage == 1 else 0
            lines.append(self._step(step, depth))
        failed = walk.cause is not None
        page = f"{1 << walk.page_bits - 10} KiB" if 12 <= getattr(walk, "page_bits", 0) < 20 else ""
        if getattr(walk, "page_bits", 0) >= 20:
            page = f"{1 << walk.page_bits - 20} MiB" if walk.page_bits < 30 else f"{1 << walk.page_bits - 30} GiB"
        if failed:
            cause = csrs.cause_name(walk.cause, False)
            lines.append((("└─ ", "faint"), ("✗ ", "bad bold"), (f"{cause} ({walk.cause})", "bad bold")))
            lines.append((("   tval ", "label"), (f"{walk.tval:#x}", ""), *((("  tval2 ", "label"), (f"{walk.tval2:#x}", ""), (f"  (gpa {walk.tval2 << 2:#x})", "dim")) if walk.tval2 else ())))
        else:
            how = f"  {page} page" if page and steps else "  no translation" if not steps else ""
            lines.append((("└─ ", "faint"), ("✓ ", "good bold"), (f"physical {walk.physical:#x}", "good bold"), (how, "label"), (f"  {reads} reads" if reads else "", "dim")))
        explain = walk.explain
        text = explain() if callable(explain) else explain
        if text and failed:
            for part in _wrapped(clean(str(text), 400), max(20, self.columns - 3)):
                lines.append((("   " + part, "italic label"),))
        return lines

    def _step(self, step: Any, depth: int) -> Line:
        text, style = _RESULTS.get(int(step.result), (f"result {step.result}", "warn"))
        bits = "".join(letter if step.pte >> bit & 1 else "-" for bit, letter in enumerate(_BITS))
        stage = "G" if step.stage else "VS"
        spans: list[Span] = [("│  │ " if depth else "├─ ", "faint")]
        spans += [
            (f"{stage:<2} L{step.level} ", "HS" if step.stage else "VS"),
            (f"[{step.pte_physical:#x}]", "dim"),
            (f" {step.pte:#x}", ""),
            (f" {bits[::-1]} ", "label"),
        ]
        if int(step.result) == 1:
            spans.append((f"→ {step.output:#x}", "good"))
        else:
            spans.append((text, style))
        return tuple(spans)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]
