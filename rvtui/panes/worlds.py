"""The two worlds of the supervisor: HS and VS banks side by side, which one each name means; and ways between modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from emulator.errors import EmulatorError
from emulator.hart import Mode, Move
from emulator.isa import csrs
from emulator.isa.csrs import Csr
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_index, hart_of, selected_vcpu
from rvtui.text import Line, Span, clean, count, digits, fit, hex64

MACHINE_BANK = 76
"""Columns from which on M-mode's registers stand beside."""
TALL = 20
"""Rows from which on the transitions are open by themselves."""
LABELS = 26
"""Columns that a transition's counts want beside the diagram."""

PAIRS: tuple[tuple[Csr, Csr, Csr | None], ...] = tuple(
    (csr, csr.twin, csrs.BY_NAME.get("m" + csr.name[1:]) if csr.name != "satp" else None)
    for csr in sorted(csrs.CSRS, key=lambda csr: csr.number)
    if csr.v_alias is not None and csr.twin is not None
)
"""(HS, VS, M) registers that have the same part in their worlds."""
Moves = Mapping[tuple[Mode, Mode, Move], int]


@dataclass(frozen=True)
class Worlds:
    hart: int
    mode: Mode
    """Of the hart."""
    note: str
    values: Mapping[str, int]
    """Registers that are there."""
    moves: Moves
    executed: int


def read_worlds(machine: Machine, subject: Subject) -> Worlds:
    hart = machine.harts[hart_index(machine, subject)]
    face = hart_of(machine, subject)
    values = {}
    for csr in (csr for row in PAIRS for csr in row if csr is not None):
        try:
            values[csr.name] = face.csr(csr.name)
        except EmulatorError:  # not on this hart
            continue
    vm, vcpu = selected_vcpu(machine, subject)
    note = f"{vm.name} is not on the hart: its VS bank is kept for it" if vcpu is not None and not face.loaded else ""
    return Worlds(hart.index, hart.mode, note, values, hart.moves, machine.executed)


class WorldsPane(Pane):
    NAME = "worlds"
    WIDE = True
    TITLE = "Worlds"
    KEY = "W"
    TOLD_BY = "worlds"
    CURSOR = True
    HELP = (
        "The supervisor's registers twice: HS-mode's own, and the VS bank that takes their names while V=1; ▶ marks the"
        " bank that sstatus, stvec and so on reach now, ≠ registers that differ. Enter shows a register's fields in"
        " both. Above, the five modes, the present one marked ▶, and each way that was taken between them, how often"
        " and by what; * are those since the view before. Enter folds and unfolds. b stops at the next"
        " switch between the worlds, and b again no more."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "count_anew", "count transitions anew, from now on", show=False)
    ]

    def __init__(self) -> None:
        super().__init__()
        self._fields: set[str] = set()
        self._folded: bool | None = None
        """The transitions; None: as there is room."""
        self._base: tuple[int, int, Moves] | None = None
        """Hart, instructions and counts when x was pressed."""
        self._now: Worlds | None = None
        self._before: Worlds | None = None
        self._rows_of: list[str] = []

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"worlds": (read_worlds, 0.1)}

    def stop_line(self) -> str:
        return "mode switch in any"

    def draw(self, view: View) -> list[Line] | None:
        now = view.get("worlds")
        if not isinstance(now, Worlds):
            return None
        if self._now is not None and self._now.hart != now.hart:
            self._before, self._now = None, now
        elif now != self._now:
            self._before, self._now = self._now, now
        width = self.columns
        moves, since = self._since(now)
        before = self._before.moves if self._before is not None else now.moves
        fresh = {(a, b) for (a, b, by), n in now.moves.items() if before.get((a, b, by), 0) != n}
        folded = self._folded if self._folded is not None else int(self.extent.height) < TALL
        self.entitle(f"hart {now.hart}")
        lines: list[Line] = [modes(now.mode, moves, width)]
        rows = ["modes"]
        total = f"  {sum(moves.values()):,} {since}"
        lines.append((("▸ " if folded else "▾ ", "accent"), ("Transitions", "bold"), (total, "dim")))
        rows.append("moves")
        if not folded:
            lines += ladder(now.mode, moves, fresh, width)
        if now.note:
            lines.append(((clean(now.note, 100), "warn"),))
        rows += [""] * (len(lines) - len(rows))
        for name, line in banks(now, self._before, self._fields, width):
            lines.append(line)
            rows.append(name)
        self._rows_of = rows
        return lines

    def _since(self, now: Worlds) -> tuple[Moves, str]:
        if self._base is not None:
            hart, executed, counts = self._base
            left = {key: n - counts.get(key, 0) for key, n in now.moves.items()}
            if hart == now.hart and executed <= now.executed and min(left.values(), default=0) >= 0:
                return {key: n for key, n in left.items() if n}, f"since instruction {executed:,}"
            self._base = None  # another hart, or a machine that was put back
        return now.moves, "since the start"

    def action_count_anew(self) -> None:
        if self._now is not None:
            self._base = self._now.hart, self._now.executed, self._now.moves
            self.redraw()

    def choose(self, row: int) -> None:
        name = self._rows_of[row] if row < len(self._rows_of) else ""
        if name in ("modes", "moves"):
            folded = self._folded if self._folded is not None else int(self.extent.height) < TALL
            self._folded = not folded
        elif name:
            self._fields ^= {name}
        self.redraw()


# --- Modes ------------------------------------------------------------------------------------------------------------


def modes(mode: Mode, moves: Moves, width: int) -> Line:
    """The five modes in a row, with how often each was entered from another."""
    spans: list[Span] = []
    for each in Mode:
        entered = sum(n for (a, b, _), n in moves.items() if b is each and a is not each)
        here = each is mode
        spans += [
            ("▶" if here else " ", f"{each.label} bold"),
            (f"{each.label:<2}", f"{each.label} bold{' reverse' if here else ''}"),
            (f" {count(entered) if entered else '-':<6}" if width >= 50 else " ", "label"),
        ]
    return (*spans, ("times entered", "dim")) if width >= 64 else tuple(spans)


def ladder(mode: Mode, moves: Moves, fresh: set[tuple[Mode, Mode]], width: int) -> list[Line]:
    """A line down for each mode, and across an arrow for each way between two that was taken: by what, how often."""
    ways: dict[tuple[Mode, Mode], list[str]] = {}
    for (origin, target, by), n in sorted(moves.items()):
        ways.setdefault((origin, target), []).append(f"{by.label} {n:,}" if width >= 90 else f"{by.label} {count(n)}")
    if not ways:
        return [(("   no mode was left yet", "dim"),)]
    gap = max(4, min(14, (width - LABELS - 7) // 4))
    room = width - 4 * gap - 8
    heads: list[Span] = [("  ", "")]
    for each in Mode:
        here = each is mode
        heads.append((fit(f"{'▶' if here else ' '}{each.label}", gap), f"{each.label} bold{' underline' * here}"))
    lines: list[Line] = [tuple(heads)]
    for (origin, target), labels in ways.items():
        new = (origin, target) in fresh
        for at, text in enumerate(_rows_of(labels, room)):
            arrow = _arrow(None if at else origin, None if at else target, mode, gap)
            mark = "*" if new and not at else ""
            lines.append((*arrow, (text, "changed bold" if new else "label"), (mark, "changed bold")))
    return lines


def _rows_of(labels: list[str], room: int) -> list[str]:
    """Labels in as few rows as hold them whole."""
    rows = [labels[0]]
    for label in labels[1:]:
        if len(rows[-1]) + 2 + len(label) < room:
            rows[-1] += f"  {label}"
        else:
            rows.append(label)
    return rows


def _arrow(origin: Mode | None, target: Mode | None, mode: Mode, gap: int) -> list[Span]:
    """One row of the diagram: the lines of all modes, and the arrow across those between, if there is one."""
    first, last = sorted((origin, target)) if origin is not None and target is not None else (9, 9)
    right = first == origin
    spans: list[Span] = [("   ", "")]
    for each in Mode:
        line = "┃" if each is mode else "│"
        if each is target:
            line = "↺" if first == last else "▶" if right else "◀"
        elif each is origin:
            line = "├" if right else "┤"
        elif first < each < last:
            line = "┼"
        strong = each in (origin, target, mode)
        spans.append((line, f"{each.label} bold" if strong else "faint"))
        if each is not Mode.VU:
            inside = origin is not None and first <= each < last
            spans.append((("─" if inside else " ") * (gap - 1), origin.label if origin is not None else ""))
    return [*spans, ("   ", "")]


# --- Banks ------------------------------------------------------------------------------------------------------------


def banks(now: Worlds, before: Worlds | None, opened: set[str], width: int) -> list[tuple[str, Line]]:
    """(register, line): a row for each pair of registers, and the fields of those in `opened`."""
    v = now.mode.virtual
    machine = width >= MACHINE_BANK
    head: list[Span] = [
        (fit("names reach", 11), "dim"),
        (fit(f"{' ' if v else '▶'} HS bank", 20), "HS bold underline" if not v else "HS"),
        (fit(f"{'▶' if v else ' '} VS bank", 20), "VS bold underline" if v else "VS"),
    ]
    if machine:
        head.append(("  M", "M"))
    head.append((f"  V={int(v)}" if width >= 51 else "", "dim"))
    lines: list[tuple[str, Line]] = [("", tuple(head))]
    for own, twin, above in PAIRS:
        if own.name not in now.values:
            continue
        left, right = now.values[own.name], now.values.get(twin.name)
        differ = right is not None and left != right
        spans: list[Span] = [(f"{own.name:<10}", "label"), ("≠" if differ else " ", "warn bold")]
        for name, value in ((own.name, left), (twin.name, right), (above.name if above else "", None)):
            if name == twin.name and right is None:
                spans.append((fit("  -", 20), "dim"))
                continue
            if value is None and (not machine or name not in now.values):
                continue
            value = now.values[name]
            reached = name == (twin.name if v else own.name)
            changed = before is not None and before.values.get(name) != value
            style = "changed bold" if changed else "bold" if reached else "" if value else "dim"
            mark = ("* " if changed else "  ", "changed bold")
            spans += [("▸ " if reached else "  ", "accent"), *hex64(value, style), mark]
        lines.append((own.name, tuple(spans)))
        if own.name in opened:
            lines += [(own.name, line) for line in _fields(own, left, right, width)]
    return lines


def _fields(own: Csr, left: int, right: int | None, width: int) -> list[Line]:
    """Each field in both banks."""
    lines: list[Line] = []
    for field, bits, meaning in own.decode(left):
        other = field.extract(right) if right is not None else None
        said = field.meaning(other, right or 0) if other is not None else "-"
        differ = other is not None and other != bits
        lines.append(
            (
                (f"    {fit(field.name, 8)}", "accent" if bits or other else "dim"),
                ("≠ " if differ else "  ", "warn bold"),
                (fit(clean(meaning), 18) + " ", "" if bits else "dim"),
                (fit(clean(said), 18) + " ", "" if other else "dim"),
                (fit(field.doc, max(0, width - 53)).rstrip(), "dim"),
            )
        )  # fmt: skip
    return lines


def sentences(now: Worlds) -> list[str]:
    """The same in words: the ways taken, then each register in its banks."""
    v = now.mode.virtual
    lines = [f"Mode {now.mode.label}: the names reach the {'VS' if v else 'HS'} bank", *filter(None, [now.note])]
    for (origin, target, by), n in sorted(now.moves.items()):
        lines.append(f"{origin.label} to {target.label}: {by.label}, {n:,} time{'s' * (n > 1)}")
    for own, twin, above in PAIRS:
        if own.name not in now.values:
            continue
        left, right = now.values[own.name], now.values.get(twin.name)
        parts = [f"HS {left:#x}"]
        if right is not None:
            parts.append(f"VS {right:#x}" if right != left else "VS the same")
        if above is not None and above.name in now.values:
            parts.append(f"M {now.values[above.name]:#x}")
        lines.append(f"{own.name}: {', '.join(parts)}")
    return lines


def told(now: Worlds) -> dict[str, Any]:
    """The same for programs."""
    v = now.mode.virtual
    return {
        "hart": now.hart, "mode": now.mode.label, "v": int(v), "note": now.note,
        "banks": [
            {
                "name": own.name, "reaches": twin.name if v else own.name, "hs": digits(now.values[own.name]),
                "vs": digits(now.values.get(twin.name)), "m": digits(now.values.get(above.name)) if above else None,
            }
            for own, twin, above in PAIRS
            if own.name in now.values
        ],
        "transitions": [
            {"from": origin.label, "to": target.label, "by": by.label, "times": n}
            for (origin, target, by), n in sorted(now.moves.items())
        ],
    }  # fmt: skip
