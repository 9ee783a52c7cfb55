"""The walk of one address through both stages, as a diagram: each entry read, and where and why it ends."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import ClassVar

from textual.binding import Binding, BindingType

from emulator.errors import EmulatorError, TranslationError
from emulator.hart import Access, Hart, Mode, Walk
from emulator.machine import Machine
from emulator.verdict import culprit, entry_name, mending, reason
from rvtui.diagram import Examined, heading, table_lines, whole
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import GuestFace, Subject, borrowed, standing
from rvtui.text import Line

PAGE = 4096
ROOT = 4 * PAGE
"""Bytes of a G-stage root."""
BITS = ("sum", "mxr", "gmxr")


def examine(
    machine: Machine,
    subject: Subject,
    address: int | None,
    access: Access = Access.LOAD,
    mode: Mode | None = None,
    asked: Mapping[str, bool] | None = None,
    table: int | None = None,
    physical: bool = False,
) -> Examined:
    """The walk of `address`, or of pc as a fetch where no address was asked for. `asked`: other bits than the hart's,
    by name of BITS; `table`: the step of which the table is wanted; `physical`: `address` is guest-physical, walked by
    the G-stage alone. On the session's worker only."""
    with (
        standing(machine, subject) as (hart, face),
        borrowed(hart, {"hgatp": hart.hgatp}) if physical else nullcontext(),
    ):
        if physical and not hart.hgatp >> 60:
            raise TranslationError("hgatp is Bare: guest-physical addresses are physical")
        where, kind = (face.pc, Access.FETCH) if address is None else (address, access)
        of = "of pc" if address is None else ""
        if isinstance(face, GuestFace):
            of += f" of {face.guest.name}" if face.whole else f" guest-physical: {face.guest.name} is on no hart"
        if physical:
            of, mode = "guest-physical", Mode.VS
        world = mode if isinstance(face, Hart) or mode is not None else face.mode
        if kind is Access.HLVX and world is not None and not world.virtual:
            world = None
        walk = hart.walk(where, kind, world, **(asked or {}))
        return Examined(walk, reason(walk, hart), hart.trap_of(walk), of.strip(), _table(machine, walk, table))


def _table(machine: Machine, walk: Walk, index: int | None) -> tuple[int, bytes] | None:
    if index is None or index >= len(walk.steps):
        return None
    step = walk.steps[index]
    root = step.stage == 1 and step.level == (walk.world.second >> 60) - 6
    size = ROOT if root else PAGE
    base = step.pte_physical & -size
    try:
        return base, machine.memory.read(base, size)
    except EmulatorError:
        return None


class WalkPane(Pane):
    NAME = "walk"
    WIDE = True
    TITLE = "Walk"
    KEY = "7"
    TOLD_BY = "pagewalk pc fetch"
    HELP = (
        "How one address is translated now. Downwards the levels of the first stage, across each the G-stage walk that"
        " finds its entry, last the walk of the guest-physical address: ● points on, ■ is a leaf with its size and"
        " bits, ✗ fails. Then where it leads, or which bit refuses, who takes the trap by which delegation bit, and"
        " what it writes. Then every entry with address, value and bits; N is one of 64 KiB (Svnapot), NC and IO the"
        " memory type (Svpbmt). Arrows or a click choose an entry and explain its bits, Enter shows its table. e"
        " changes the chosen entry, and offers what would mend it. w asks for another address (or: walk ADDRESS store"
        " VU); without one the pane"
        " follows pc. Looking never sets A or D. A guest inside is walked as it stood at its last exit; once no hart"
        " has its hgatp, by its G-stage alone, from guest-physical addresses."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "the entry before", show=False, id="walk.previous"),
        Binding("right,l", "step(1)", "the next entry", show=False, id="walk.next"),
        Binding("a", "access", "another access: fetch, load, store, HLVX", show=False),
        Binding("m", "mode", "another mode", show=False),
        Binding("U", "bit('sum')", "SUM the other way", show=False, id="walk.sum"),
        Binding("x", "bit('mxr')", "MXR the other way", show=False, id="walk.mxr"),
        Binding("v", "bit('gmxr')", "the MXR of sstatus, that the G-stage sees", show=False, id="walk.gmxr"),
        Binding("d", "default", "all bits and the mode as the hart has them", show=False),
        Binding("e", "change", "change the entry, or mend it", show=False),
        Binding("escape", "back", "back from a table", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.address: int | None = None
        self.access = Access.FETCH
        self.mode: Mode | None = None
        self.physical = False
        """The address is guest-physical."""
        self.asked: dict[str, bool] = {}
        self.chosen: int | None = None
        """The step that was chosen; None: the one that the walk ends at."""
        self.table = False
        self._found: Examined | None = None
        self._places: list[tuple[int, int, int, int]] = []

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        address, access, mode, asked, physical = self.address, self.access, self.mode, dict(self.asked), self.physical
        table = self._at if self.table else None
        return {
            "walk": (
                lambda machine, subject: examine(machine, subject, address, access, mode, asked, table, physical),
                0.2,
            ),
        }

    def ask(
        self, address: int | None, access: Access = Access.LOAD, mode: Mode | None = None, physical: bool = False
    ) -> None:
        """`physical`: the address is guest-physical."""
        self.address, self.access, self.mode, self.physical = address, access, mode, physical
        self.asked, self.chosen, self.table = {}, None, False
        self.top = 0
        self.application.resubscribe(self)

    @property
    def _at(self) -> int | None:
        """The step under the cursor."""
        if self._found is None or not self._found.walk.steps:
            return None
        last = len(self._found.walk.steps) - 1
        bad = culprit(self._found.walk)
        return min(self.chosen, last) if self.chosen is not None else last if bad is None else bad

    def draw(self, view: View) -> list[Line] | None:
        found = view.get("walk")
        if not isinstance(found, Examined):
            return None
        fresh = self._found is None or (found.table is not None and self._found.table is None)
        self._found = found
        self.entitle(found.of)
        self._places = []
        at = self._at
        if self.table and at is not None and found.table is not None:
            lines, here = table_lines(found.walk, at, found.table)
            if fresh:
                self.top = max(0, here - self.rows // 2)
            return lines
        if self.rows and self.rows < 5:
            return [*heading(found, self.asked), *whole(found, self.columns, at, self.asked).lines[1:]]
        drawn = whole(found, self.columns, at, self.asked)
        self._places = drawn.places
        return drawn.lines

    def place_here(self) -> str:
        """Of an entry that was chosen where it is, else the address that is walked."""
        if self._found is None:
            return ""
        walk = self._found.walk
        if self.chosen is not None and self._at is not None:
            return f"pa:{walk.steps[self._at].pte_physical:#x}"
        return f"{'gpa:' if self.physical else ''}{walk.address:#x}"

    # Choosing.

    def action_step(self, by: int) -> None:
        """Along the order of reading."""
        at = self._at
        if at is not None and self._found is not None:
            self._choose_step((at + by) % len(self._found.walk.steps))

    def action_move(self, rows: int) -> None:
        """Up and down the diagram, in the same column; elsewhere the text."""
        at = self._at
        if abs(rows) != 1 or at is None or self.table:
            super().action_move(rows)
            return
        grid = [place for place in self._grid if place[3] == at]
        if not grid:
            super().action_move(rows)
            return
        line, low, *_ = grid[0]
        further = [place for place in self._grid if (place[0] - line) * rows > 0]
        if further:
            near = min(further, key=lambda place: (abs(place[0] - line), abs(place[1] - low)))
            self._choose_step(near[3])
        else:
            super().action_move(rows)

    @property
    def _grid(self) -> list[tuple[int, int, int, int]]:
        """Places in the diagram, without those in the list below it."""
        return self._places[: len(self._places) - (len(self._found.walk.steps) if self._found is not None else 0)]

    def _choose_step(self, step: int) -> None:
        self.chosen = step
        if self.table:
            self.application.resubscribe(self)
        self.redraw()
        for line, *_, index in self._grid:
            if index == step:
                self.top = max(min(self.top, line), line - self.rows + 1)
        self._clamp()
        self._refresh_rows()

    def action_choose(self) -> None:
        self._open(not self.table)

    def _open(self, table: bool) -> None:
        if table and self._at is None:
            return
        self.table, self.top = table, 0
        if self._found is not None:
            self._found = Examined(self._found.walk, self._found.verdict, self._found.trap, self._found.of)
        self.application.resubscribe(self)
        self.redraw()

    def action_back(self) -> None:
        if self.table:
            self._open(False)
        else:
            self.application.action_calm()

    def clicked(self, x: int, row: int, times: int) -> None:
        for line, low, high, index in self._places:
            if line == row and low <= x < high:
                if index == self._at and times > 1:
                    self._open(True)
                else:
                    self._choose_step(index)
                return

    # What is asked.

    def _again(self) -> None:
        self.chosen = None
        if self.address is None and self.last is not None and self._found is not None:
            self.address = self._found.walk.address  # of pc it would stay a fetch
        self.application.resubscribe(self)

    @property
    def _modes(self) -> list[Mode]:
        return list(Mode) if "H" in self.application.session.machine.harts[0].isa else list(Mode)[:3]

    def action_access(self) -> None:
        every = list(Access) if Mode.VS in self._modes else list(Access)[:3]
        self.access = every[(every.index(self.access) + 1) % len(every)]
        if self.access is Access.HLVX and self.mode is not None and not self.mode.virtual:
            self.mode = Mode.VS
        self._again()

    def action_mode(self) -> None:
        now = self.mode if self.mode is not None else self._found.walk.world.mode if self._found is not None else Mode.M
        every = [mode for mode in self._modes if mode.virtual or self.access is not Access.HLVX]
        self.mode = every[(every.index(now) + 1) % len(every)] if now in every else every[0]
        self._again()

    def action_bit(self, name: str) -> None:
        """As the hart has it, then the other way, then back."""
        if self._found is None:
            return
        if name in self.asked:
            del self.asked[name]
        else:
            self.asked[name] = not getattr(self._found.walk.world, name)
        self._again()

    def action_change(self) -> None:
        """Ask for the change of the entry under the cursor; offered is what would mend it."""
        found, at = self._found, self._at
        if found is None or at is None or found.walk.steps[at].unread:
            self.application.say("no entry to change here", error=True)
            return
        walk = found.walk
        words = f"pte {walk.address:#x} {walk.access.name.lower()} {walk.world.mode.name} {entry_name(walk, at)} "
        self.application.ask("+w sets W, -x+ad, nc, =VALUE, to=ADDRESS", words, mending(walk, at))

    def action_default(self) -> None:
        self.asked, self.mode = {}, None
        self._again()
