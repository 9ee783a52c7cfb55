"""Control and status registers in groups, their fields decoded, the VS twin beside each HS register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.errors import EmulatorError
from emulator.isa import csrs
from emulator.isa.csrs import Csr
from emulator.machine import Machine
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, hart_of
from rvtui.text import Line, Span, csr_summary, fit, hex64

BESIDE = 60
"""Columns from which on a VS register stands beside its twin, else below it."""
NAMES = 11
"""Columns of a name, where no register of the group has a longer one."""


@dataclass(frozen=True)
class CsrValues:
    executed: int
    values: Mapping[str, int]


@dataclass(frozen=True)
class _Row:
    """What a line of the pane stands for."""

    group: str = ""
    name: str = ""
    twin: str = ""


def read_csrs(names: tuple[str, ...]) -> Reader:
    def read(machine: Machine, subject: Subject) -> CsrValues:
        face = hart_of(machine, subject)
        values = {}
        for name in names:
            try:
                values[name] = face.csr(name)
            except EmulatorError:  # not on this hart
                continue
        return CsrValues(machine.executed, values)

    return read


class CsrsPane(Pane):
    NAME = "csrs"
    TITLE = "CSRs"
    KEY = "4"
    TOLD_BY = "registers hypervisor supervisor"
    CURSOR = True
    HELP = (
        "CSRs by group. Supervisor registers stand beside their VS twins: with V=1 an access to the first reaches the"
        " second. Enter opens a group, or shows each field of a register with its meaning. Values that changed are bold"
        " with a *. e edits the register under the cursor; read-only bits stay as they are. b stops when an instruction"
        " writes it, and b again no more."
    )

    def __init__(self) -> None:
        super().__init__()
        self._groups = _groups()
        self._open = set(list(self._groups)[:2])
        self._fields: set[str] = set()
        self._now: CsrValues | None = None
        self._before: CsrValues | None = None
        self._subject: Subject | None = None
        self._rows_of: list[_Row] = []

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        names: list[str] = []
        for group in self._open:
            for csr in self._groups[group]:
                names.append(csr.name)
                if csr.twin is not None:
                    names.append(csr.twin.name)
        return {"csrs": (read_csrs(tuple(dict.fromkeys(names))), 0.1)}

    @property
    def selected(self) -> str:
        """The register under the cursor, or ""."""
        return self._rows_of[self.cursor].name if self.cursor < len(self._rows_of) else ""

    def place_here(self) -> str:
        return self.selected

    def stop_line(self) -> str:
        return f"csr {self.selected} write" if self.selected else ""

    def draw(self, view: View) -> list[Line] | None:
        now = view.get("csrs")
        if not isinstance(now, CsrValues):
            return None
        if view.subject != self._subject:
            self._subject, self._before, self._now = view.subject, None, now
        elif now.executed != (self._now.executed if self._now else None) or now.values != (
            self._now and self._now.values
        ):
            self._before, self._now = self._now, now
        lines: list[Line] = []
        rows: list[_Row] = []
        width = self.columns
        for group, members in self._groups.items():
            opened = group in self._open
            lines.append((("▾ " if opened else "▸ ", "accent"), (group, "bold"), (f"  {len(members)}", "dim")))
            rows.append(_Row(group))
            if not opened:
                continue
            names = max(NAMES, *(len(csr.name) + 1 for csr in members))
            for csr in members:
                if csr.name not in now.values:
                    continue
                lines.append(self._line(csr, now.values, width, names))
                rows.append(_Row(name=csr.name, twin=csr.twin.name if csr.twin else ""))
                twin = csr.twin.name if csr.twin else ""
                if twin in now.values and width < BESIDE:
                    lines.append((("  ", ""), *self._value(twin, now.values)))
                    rows.append(_Row(name=twin))
                if csr.name in self._fields or (twin in self._fields and width < BESIDE):
                    for shown in (csr, csr.twin):
                        if shown is not None and shown.name in now.values:
                            for line in _field_lines(shown, now.values[shown.name], width):
                                lines.append(line)
                                rows.append(_Row(name=shown.name))
        self._rows_of = rows
        return lines

    def _value(self, name: str, values: Mapping[str, int], names: int = NAMES) -> list[Span]:
        before = self._before.values.get(name) if self._before else None
        value = values[name]
        changed = before is not None and before != value
        zeros, digits = hex64(value, "changed bold" if changed else "" if value else "dim")
        return [(f"{name:<{names}}", "label"), zeros, digits, ("* " if changed else "  ", "changed bold")]

    def _line(self, csr: Csr, values: Mapping[str, int], width: int, names: int) -> Line:
        spans: list[Span] = [("  ", "")]
        spans += self._value(csr.name, values, names)
        used = names + 20
        if csr.twin is not None and csr.twin.name in values and width >= BESIDE:
            spans += self._value(csr.twin.name, values)
            used += 29
        room = width - used
        if room >= 8:
            spans.append((fit(csr_summary(csr, values[csr.name]), room).rstrip(), "dim"))
        return tuple(spans)

    def choose(self, row: int) -> None:
        if row >= len(self._rows_of):
            return
        chosen = self._rows_of[row]
        if chosen.group:
            self._open ^= {chosen.group}
            self.application.resubscribe(self)
        else:
            self._fields ^= {chosen.name}
        self.redraw()


_TITLES = {
    "hypervisor": "Hypervisor",
    "supervisor": "Supervisor, and the VS twin beside",
    "machine": "Machine",
    "float": "Floating point",
    "counters": "Counters",
    "performance": "Performance counters",
    "state": "State enables",
    "pmp": "Physical memory protection",
    "debug": "Debug",
}


def _groups() -> dict[str, tuple[Csr, ...]]:
    """By title, hypervisor first; VS registers stand beside their twins instead of on their own."""
    beside = {csr.v_alias for csr in csrs.CSRS if csr.v_alias}
    groups: dict[str, list[Csr]] = {word: [] for word in _TITLES}
    for csr in csrs.CSRS:
        if csr.name not in beside:
            groups.setdefault(csr.group.split()[0], []).append(csr)
    return {_TITLES.get(word, word.capitalize()): tuple(members) for word, members in groups.items() if members}


def _field_lines(csr: Csr, value: int, width: int) -> list[Line]:
    """One line per field: bits, name, value, meaning where that says more, and what the field is for."""
    names = min(23, max(len(field.name) for field in csr.fields) + 1)
    lines: list[Line] = []
    for field, bits, meaning in csr.decode(value):
        where = f"{field.high}:{field.low}" if field.width > 1 else str(field.low)
        number = f"{bits:#x}" if field.width > 3 else str(bits)
        if meaning in (number, "on", "off"):
            meaning = ""
        shown = f"{number} {meaning}" if meaning and field.values else meaning or number
        lines.append(
            (
                (f"  {where:>6} ", "dim"),
                (fit(field.name, names), "accent" if bits else "dim"),
                (fit(shown, 20 if width >= 70 else 14) + " ", "" if bits else "dim"),
                (field.doc, "dim"),
            )
        )
    return lines
