"""Interrupts of one hart: what is pending and why, whose it is, and why it is taken or not."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.hart import Mode
from emulator.interrupts import GATES, VSEI, VSSI, VSTI, Standing, Verdict, standings
from emulator.isa import csrs
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_index, selected_vcpu
from rvtui.text import Line, Span, clean, digits, fit

MARKS = {
    Verdict.TAKEN: ("▶", "good bold"),
    Verdict.BEHIND: ("…", "accent"),
    Verdict.CLOSED: ("✗", "warn bold"),
    Verdict.DISABLED: ("✗", "warn"),
    Verdict.IDLE: ("·", "dim"),
}


@dataclass(frozen=True)
class Board:
    hart: int
    mode: Mode
    waiting: bool
    note: str
    """Of what the registers are, where that is not what is looked at."""
    standings: tuple[Standing, ...]


def read_interrupts(machine: Machine, subject: Subject) -> Board:
    hart = machine.harts[hart_index(machine, subject)]
    vm, vcpu = selected_vcpu(machine, subject)
    loaded = vcpu is not None and vcpu.hart is not None
    note = "" if vcpu is None or loaded else f"{vm.name} is not on the hart: its own wait with it"
    rows = standings(machine, hart, vcpu if loaded else None)
    return Board(hart.index, hart.mode, hart.waiting, note, rows)


class InterruptsPane(Pane):
    NAME = "interrupts"
    WIDE = True
    TITLE = "Interrupts"
    KEY = "I"
    TOLD_BY = "interrupts"
    CURSOR = True
    HELP = (
        "Each interrupt of the hart by priority: its bits in mip (pending), mie (enabled), mideleg and hideleg, whose"
        " it is by these, whether that mode takes it now, and the verdict: ▶ taken next, … ready behind another, ✗"
        " pending and not taken, because of what is said. Enter shows what makes it pending, or does not: sources of"
        " the PLIC with priority, threshold and enable, comparators with the ticks left, hvip and hgeip. b stops when"
        " it is taken, and b again no more."
    )

    def __init__(self) -> None:
        super().__init__()
        self._opened: set[int] = set()
        self._rows_of: list[int | None] = []

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"interrupts": (read_interrupts, 0.1)}

    def stop_line(self) -> str:
        code = self._rows_of[self.cursor] if self.cursor < len(self._rows_of) else None
        if code is None:
            return ""
        # What VS-mode takes as its own has another code there.
        codes = [code] + [code - 1] * (code in (VSSI, VSTI, VSEI))
        return f"trap {', '.join(f'interrupt {each}' for each in codes)} in any"

    def draw(self, view: View) -> list[Line] | None:
        board = view.get("interrupts")
        if not isinstance(board, Board):
            return None
        width = self.columns
        mode = board.mode.label
        self.entitle(f"hart {board.hart}")
        lines: list[Line] = [headline(board)]
        if board.note:
            lines.append(((clean(board.note, width), "warn"),))
        lines.append(_head(width))
        rows: list[int | None] = [None] * len(lines)
        for row in board.standings:
            lines.append(_row(row, row.code in self._opened, width))
            lines += sources(row, mode, width) if row.code in self._opened else []
            rows += [row.code] * (len(lines) - len(rows))
        self._rows_of = rows
        return lines

    def choose(self, row: int) -> None:
        code = self._rows_of[row] if row < len(self._rows_of) else None
        if code is not None:
            self._opened ^= {code}
            self.redraw()


GATES_FROM = 100
"""Columns from which on it stands in each row whether that mode takes interrupts now."""


def _head(width: int) -> Line:
    there = f"{'there':<15}" if width >= GATES_FROM else ""
    return ((f"{'':<7}bit mip mie deleg to {there}  verdict", "dim"),)


def table(board: Board, width: int) -> list[Line]:
    """All of it, with what makes each interrupt pending under its row."""
    lines: list[Line] = [_head(width)]
    for row in board.standings:
        lines.append(_row(row, False, width)[1:])
        lines += [((f"{'':<11}", ""), ("● " if each.active else "○ ", ""), (each.text, "")) for each in row.sources]
    return lines


def headline(board: Board) -> Line:
    mode = board.mode.label
    wfi = ", waiting in WFI" if board.waiting else ""
    spans: list[Span] = [("in ", "label"), (mode, f"{mode} bold"), (wfi, "label")]
    taken = [row for row in board.standings if row.verdict is Verdict.TAKEN]
    if taken:
        spans += [("   ▶ ", "good bold"), (f"{taken[0].name} {taken[0].text}", "good bold")]
    else:
        held = sum(row.pending for row in board.standings)
        spans.append((f"   none is taken; {held or 'none'} pending", "label"))
    return tuple(spans)


def _row(row: Standing, opened: bool, width: int) -> tuple[Span, ...]:
    mark, style = MARKS[row.verdict]
    level = row.level.label
    return (
        ("▾" if opened else "▸", "accent"),
        (f"{row.name:<6}", "bold" if row.pending else ""),
        (f"{row.code:>2} ", "dim"),
        (f"{int(row.pending):>3} ", "bold" if row.pending else "dim"),
        (f"{int(row.enabled):>3} ", "" if row.enabled else "dim"),
        (f" {row.delegated[0]} {row.delegated[1]}  ", "label"),
        (f"{level:<2} ", level),
        (fit(row.gate, 15) if width >= GATES_FROM else "", "" if row.open else "dim"),
        (f"{mark} ", style),
        (clean(row.text, max(20, width)), style if row.verdict is not Verdict.IDLE else "label" if row.text else "dim"),
    )


def sources(row: Standing, mode: str, width: int) -> list[Line]:
    """What stands behind a row: the interrupt's full name, each source, and each bit on its way."""
    level = row.level.label
    seen = f", which {level} sees as {csrs.INTERRUPTS[row.seen][0]} ({row.seen})" if row.seen != row.code else ""
    texts: list[tuple[str, str]] = [("label", f"{csrs.INTERRUPTS[row.code][1]} ({row.code}){seen}")]
    texts += [("bold" if each.active else "", f"{'●' if each.active else '○'} {each.text}") for each in row.sources]
    if not row.sources:
        texts.append(("dim", "○ nothing asks for it"))
    texts.append(("" if row.enabled else "warn", f"{row.enable}={int(row.enabled)}"))
    names = f"mideleg.{row.code}={row.delegated[0]}, hideleg.{row.code}={row.delegated[1]}"
    texts.append(("", f"{names}: {level} takes it"))
    own = f"{GATES[row.level]} counts in {level}-mode only" if mode != level else row.gate
    texts.append(("", f"the hart is in {mode}: {row.gate}" + (f" ({own})" if own != row.gate else "")))
    lines: list[Line] = []
    for style, text in texts:
        for at, part in enumerate(textwrap.wrap(clean(text, 300), max(20, width - 8)) or [""]):
            lines.append((("      │ " if not at else "      │   ", "faint"), (part, style)))
    return lines


def sentences(board: Board) -> list[str]:
    """Each interrupt in words, those that are pending first; the others of one kind together."""
    lines = []
    for row in sorted(board.standings, key=lambda row: not row.pending):
        state = "pending" if row.pending else "not pending"
        said = f"{row.name}: {state}, {'' if row.enabled else 'not '}enabled by {row.enable}, for {row.level.label}"
        text = row.text if row.text != state else ""
        why = "; ".join(filter(None, (text, "" if row.open else row.gate, *(each.text for each in row.sources))))
        lines.append(f"{said}, {row.verdict.name.lower()}" + (f": {why}" if why else ""))
    return lines


def told(board: Board) -> dict[str, Any]:
    """The same for programs."""
    return {
        "hart": board.hart, "mode": board.mode.label, "waiting": board.waiting, "note": board.note,
        "interrupts": [
            {
                "name": row.name, "bit": row.code, "pending": row.pending, "enabled": row.enabled, "enable": row.enable,
                "mideleg": digits(row.delegated[0]), "hideleg": digits(row.delegated[1]),
                "level": row.level.label, "seen": row.seen, "open": row.open, "gate": row.gate,
                "verdict": row.verdict.name.lower(), "text": row.text,
                "sources": [
                    {"active": each.active, "held": each.blocked, "ticks": each.ticks, "text": each.text}
                    for each in row.sources
                ],
            }
            for row in board.standings
        ],
    }  # fmt: skip
