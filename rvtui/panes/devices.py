"""The devices of the machine, or of the VM that is looked at, and what their registers hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from emulator.devices.fields import Shown
from rvtui.devices import LONGEST, Devices, Seen, bits_of, number, read_devices
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.text import Line, Span, clean, count, fit

Path = tuple[str, ...]
"""Names from the device on."""
_READ_SECONDS = 0.1


@dataclass(frozen=True)
class _Row:
    path: Path
    folds: bool
    """There is something below that Enter shows."""


class DevicesPane(Pane):
    NAME = "devices"
    WIDE = True
    TITLE = "Devices"
    KEY = "D"
    CURSOR = True
    TOLD_BY = "devices"
    HELP = (
        "Each device of the machine, or of the VM that is looked at: where it is, its interrupt line, and whether that"
        " is high, how often guests have read and written it, what it is. Enter shows its registers in words, and on a"
        " register its bits; what has changed has a *. Looking has no side effects: it takes no byte from a FIFO and"
        " claims no interrupt. The same as text: devices NAME, and memory-map for the whole map."
    )

    def __init__(self) -> None:
        super().__init__()
        self._open: set[Path] = set()
        self._rows_of: list[_Row] = []
        self._owner = ""
        self._executed = -1
        self._before: dict[Path, str] = {}
        self._now: dict[Path, str] = {}

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        wanted = frozenset(path[0] for path in self._open if len(path) == 1)
        return {"devices": (partial(read_devices, wanted=wanted), _READ_SECONDS)}

    @property
    def selected(self) -> Path:
        """Names of the device and the register under the cursor."""
        return self._rows_of[self.cursor].path if self.cursor < len(self._rows_of) else ()

    def choose(self, row: int) -> None:
        if row < len(self._rows_of) and self._rows_of[row].folds:
            path = self._rows_of[row].path
            self._open ^= {path}
            if len(path) == 1:
                self.application.resubscribe(self)
            self.redraw()

    def draw(self, view: View) -> list[Line] | None:
        found = view.get("devices")
        if not isinstance(found, Devices):
            return None
        self.entitle(f"of {clean(found.owner, 30)}")
        self._remember(found, view.executed)
        self._rows_of, lines = [], []
        for group in _grouped(found.devices):
            first = group[0]
            path = (first.name,)
            self._rows_of.append(_Row(path, not first.empty))
            lines.append(_device(group, path in self._open))
            if path in self._open:
                lines += self._registers(first.shown, path, 1)
        return lines

    def _remember(self, found: Devices, executed: int) -> None:
        now = {path: text for each in found.devices for path, text in _texts(each.shown, (each.name,))}
        if found.owner != self._owner:
            self._owner, self._before, self._now = found.owner, {}, now
        elif executed != self._executed or any(self._now.get(path, text) != text for path, text in now.items()):
            self._before, self._now = self._now, now
        else:
            self._now = now
        self._executed = executed

    def _registers(self, rows: tuple[Shown, ...], above: Path, depth: int) -> Iterator[Line]:
        names = max((len(each.name) for each in rows), default=0)
        digits = max((len(number(each)) for each in rows), default=0)
        for each in rows:
            path = (*above, each.name)
            folds = bool(each.parts or each.rows)
            opened = path in self._open
            changed = path in self._before and self._before[path] != self._now.get(path)
            self._rows_of.append(_Row(path, folds))
            sign = ("▾ " if opened else "▸ ") if folds else "  "
            tone = "changed bold" if changed else "" if each.value else "dim"
            spans: list[Span] = [
                ("  " * depth, ""),
                (sign, "accent"),
                (f"{clean(each.name):<{names}} ", "label"),
                (f"{number(each):>{digits}}", tone),
                ("* " if changed else "  ", "changed bold"),
                (clean(each.words, LONGEST), tone if each.value is None else "changed" if changed else ""),
            ]
            yield tuple(spans)
            if opened:
                yield from self._bits(each, path, depth + 1)
                yield from self._registers(each.rows, path, depth + 1)

    def _bits(self, register: Shown, path: Path, depth: int) -> Iterator[Line]:
        for part, bits, meaning in bits_of(register):
            self._rows_of.append(_Row((*path, part.name), False))
            where = str(part.low) if part.width == 1 else f"{part.low + part.width - 1}:{part.low}"
            tone = "" if bits else "dim"
            yield (
                ("  " * depth, ""),
                (f"{where:>7} ", "dim"),
                (fit(part.name, 24) + " ", "accent" if bits else "dim"),
                (f"{bits:#x}" if part.width > 3 else str(bits), tone),
                (f" {meaning}", tone),
            )


def _grouped(devices: tuple[Seen, ...]) -> Iterator[list[Seen]]:
    """Empty slots beside each other as one."""
    group: list[Seen] = []
    for each in devices:
        if group and not (each.empty and group[-1].empty):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _device(group: list[Seen], opened: bool) -> Line:
    first, last = group[0], group[-1]
    where = f"{first.base:8x}-{last.base + last.size - 1:<8x} "
    if first.empty:
        name = first.name if first is last else f"{first.name}-{last.name.removeprefix('virtio')}"
        return (("  ", ""), (fit(name, 11), "dim"), (where, "dim"), (" " * 19, ""), ("empty", "dim"))
    spans: list[Span] = [("▾ " if opened else "▸ ", "accent"), (fit(first.name, 11), "bold"), (where, "label")]
    if first.level is None:
        spans.append((" " * 9, ""))
    else:
        spans += [(f"irq {first.irq:<2} ", "label"), ("▔ " if first.level else "▁ ", "warn" if first.level else "dim")]
    for times, letter in ((first.reads, "r"), (first.writes, "w")):
        spans.append((f"{count(times):>4}{letter}" if times else "     ", ""))
    return (*spans, (f" {first.what}", ""))


def _texts(rows: tuple[Shown, ...], above: Path) -> Iterator[tuple[Path, str]]:
    for each in rows:
        path = (*above, each.name)
        yield path, f"{number(each)} {each.words}"
        yield from _texts(each.rows, path)
