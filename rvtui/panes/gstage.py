"""The G-stage tables as a tree per VM: what each guest-physical range maps to, with which permissions."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from emulator.errors import EmulatorError
from emulator.isa import csrs, pages
from emulator.machine import Machine
from emulator.vmm.gstage import SCHEMES, Entry, Scheme
from emulator.worlds import identity, root_of, vmid_of
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, inner_guests, out_for, virtual_machines
from rvtui.text import Line, Span, clean, size

MAX_ROWS = 4000
MAX_TREES = 64
PBMTE = csrs.BY_NAME["menvcfg"].field("PBMTE")
_BY_CODE = {scheme.code: scheme for scheme in SCHEMES.values()}
_PARSED: dict[tuple[int, int, int, bool, bytes], tuple[tuple[Entry, str, int], ...]] = {}


@dataclass(frozen=True)
class Node:
    """A row: an entry, or a run of `pages` leaves that go on alike."""

    depth: int
    path: tuple[int, ...]
    """Addresses of the entries from the root to here; names the node for opening and closing."""
    gpa: int
    bytes: int
    physical: int
    pages: int
    level: int
    kind: str
    pte: int
    last: bool
    closed: bool
    entries: int


@dataclass(frozen=True)
class Tree:
    subject: Subject
    name: str
    vmid: int
    scheme: str
    root: int
    nodes: tuple[Node, ...]
    problem: str
    mapped: int
    """Bytes that leaves map, as far as opened tables show them."""
    state: str = ""


def read_trees(closed: frozenset[tuple[int, ...]]) -> Reader:
    """The tree of each VM, or on a bare machine of each guest and of what is in a hart's hgatp besides."""

    def read(machine: Machine, _: Subject) -> tuple[Tree, ...]:
        trees = [
            _tree(machine, Subject(0, index), vm.name, vm.hgatp, closed)
            for index, vm in enumerate(virtual_machines(machine))
        ]
        if trees:
            return tuple(trees)
        guests = inner_guests(machine)
        known = {guest.identity for guest in guests}
        for guest in guests:
            tree = _tree(machine, Subject(guest=guest.identity), guest.name, guest.hgatp, closed)
            state = "on no hart" if guest.status == "away" else ""
            trees.append(replace(tree, state="  ".join(filter(None, (state, out_for(machine, guest))))))
        for hart in machine.harts:
            hgatp = hart.hgatp
            if hgatp >> 60 and identity(hgatp) not in known:
                known.add(identity(hgatp))
                trees.append(_tree(machine, Subject(hart.index), f"hart {hart.index}", hgatp, closed))
        return tuple(trees[:MAX_TREES])

    return read


def _tree(machine: Machine, subject: Subject, name: str, hgatp: int, closed: frozenset[tuple[int, ...]]) -> Tree:
    vmid, root = vmid_of(hgatp), root_of(hgatp)
    scheme = _BY_CODE.get(hgatp >> 60)
    if scheme is None:
        return Tree(subject, name, vmid, "Bare", root, (), "no G-stage translation", 0)
    nodes: list[Node] = []
    try:
        # The G-stage of every hart looks at menvcfg; a hypervisor gets the same from its firmware on all of them.
        types = bool(PBMTE.extract(machine.harts[0].csr("menvcfg")))
        mapped = _descend(machine, scheme, types, root, scheme.levels - 1, 0, (root,), closed, nodes)
    except EmulatorError as error:
        return Tree(subject, name, vmid, scheme.name, root, tuple(nodes), str(error), 0)
    return Tree(subject, name, vmid, scheme.name, root, tuple(nodes), "", mapped)


def _runs(
    machine: Machine, scheme: Scheme, types: bool, table: int, level: int, gpa: int
) -> tuple[tuple[Entry, str, int], ...]:
    """The non-zero entries of a table with their kind; leaves that continue each other are one run with its number of
    pages. `types`: the G-stage knows memory types (PBMTE).

    Remembered by content: most tables stay as they are from one view to the next.
    """
    length = 2048 if level == scheme.levels - 1 else 512
    data = machine.memory.read(table, 8 * length)
    key = (table, level, gpa, types, data)
    found = _PARSED.get(key)
    if found is not None:
        return found
    span = 4096 << 9 * level
    runs: list[tuple[Entry, str, int]] = []
    for index, pte in enumerate(struct.unpack(f"<{length}Q", data)):
        if not pte:
            continue
        entry = Entry(table + 8 * index, level, gpa + index * span, pte)
        kind = pages.kind(pte, level, types)
        if runs and kind == "leaf":
            first, before, count = runs[-1]
            if (
                before == "leaf"
                and entry.gpa == first.gpa + count * span
                and entry.physical == first.physical + count * span
                and not (pte ^ first.pte) & ~pages.PPN
            ):
                runs[-1] = (first, kind, count + 1)
                continue
        runs.append((entry, kind, 1))
    if len(_PARSED) > 512:
        _PARSED.clear()
    _PARSED[key] = tuple(runs)
    return _PARSED[key]


def _descend(
    machine: Machine,
    scheme: Scheme,
    types: bool,
    table: int,
    level: int,
    gpa: int,
    path: tuple[int, ...],
    closed: frozenset[tuple[int, ...]],
    nodes: list[Node],
) -> int:
    runs = _runs(machine, scheme, types, table, level, gpa)
    mapped = 0
    for index, (entry, kind, count) in enumerate(runs):
        if len(nodes) >= MAX_ROWS:
            break
        here = (*path, entry.address)
        below = _runs(machine, scheme, types, entry.physical, level - 1, entry.gpa) if kind == "pointer" else ()
        nodes.append(
            Node(
                depth=len(path) - 1,
                path=here,
                gpa=entry.gpa,
                bytes=entry.size,
                physical=entry.physical,
                pages=count,
                level=level,
                kind=kind,
                pte=entry.pte,
                last=index == len(runs) - 1,
                closed=here in closed,
                entries=sum(number for *_, number in below),
            )
        )
        if kind == "leaf":
            mapped += count * entry.size
        elif kind == "pointer" and here not in closed:
            mapped += _descend(machine, scheme, types, entry.physical, level - 1, entry.gpa, here, closed, nodes)
    return mapped


class GStagePane(Pane):
    NAME = "gstage"
    TITLE = "G-stage tables"
    KEY = "6"
    TOLD_BY = "map hgatp"
    CURSOR = True
    HELP = (
        "Guest-physical to physical, read from the tables in the machine's memory: one tree per VM, or on a bare"
        " machine per guest that its hypervisor ran, the one that is looked at first. Of a guest that is out for good"
        " it is whatever stands there now. Leaves that continue each other are one row. Letters are the entry's bits:"
        " rwx permissions, u user (the G-stage needs it on every leaf), g global, a accessed, d dirty, N 64 KiB"
        " (Svnapot), NC and IO the memory type (Svpbmt). Enter opens and closes; w walks the address under the cursor,"
        " b stops when it is touched."
    )

    def __init__(self) -> None:
        super().__init__()
        self._folded: set[tuple[int, ...]] = set()
        self._rows_of: list[Node | Tree | None] = []

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"gstage": (read_trees(frozenset(self._folded)), 0.4)}

    @property
    def selected(self) -> int | None:
        """The guest-physical address under the cursor."""
        row = self._rows_of[self.cursor] if self.cursor < len(self._rows_of) else None
        return row.gpa if isinstance(row, Node) else None

    def walk_command(self) -> str:
        return f"gwalk {self.selected:#x}" if self.selected is not None else ""

    def place_here(self) -> str:
        return f"gpa:{self.selected:#x}" if self.selected is not None else ""

    def stop_line(self) -> str:
        row = self._rows_of[self.cursor] if self.cursor < len(self._rows_of) else None
        return f"awatch gpa:{row.gpa:#x} for {row.bytes * row.pages}" if isinstance(row, Node) else ""

    def draw(self, view: View) -> list[Line] | None:
        trees = view.get("gstage")
        if not isinstance(trees, tuple):
            return None
        lines: list[Line] = []
        rows: list[Node | Tree | None] = []
        if not trees:
            lines.append((("hgatp is Bare on every hart: no guest runs with a G-stage.", "dim"),))
        width = self.columns
        for tree in sorted(trees, key=lambda tree: not tree.subject.same(view.subject)):
            folded = (tree.root,) in self._folded
            spans: list[Span] = [
                ("▸ " if folded else "▾ ", "accent"),
                (clean(tree.name, 20), "bold"),
                ("" if tree.name.startswith("VMID") else f"  VMID {tree.vmid}", "label"),
                (f"  {tree.scheme}  root {tree.root:#x}", "label"),
            ]
            if tree.state:
                spans.append((f"  {tree.state}", "dim"))
            if tree.mapped and width >= 64:
                spans.append((f"  {size(tree.mapped)}", "dim"))
            lines.append(tuple(spans))
            rows.append(tree)
            if tree.problem:
                lines.append((("  " + clean(tree.problem, 120), "warn"),))
                rows.append(None)
            if folded:
                continue
            for node, stem in zip(tree.nodes, _stems(tree.nodes), strict=True):
                lines.append(_node_line(node, stem, width))
                rows.append(node)
        self._rows_of = rows
        return lines

    def choose(self, row: int) -> None:
        chosen = self._rows_of[row] if row < len(self._rows_of) else None
        if isinstance(chosen, Tree):
            self._folded ^= {(chosen.root,)}
        elif isinstance(chosen, Node) and chosen.kind == "pointer":
            self._folded ^= {chosen.path}
        else:
            return
        self.application.resubscribe(self)
        self.redraw()


def _stems(nodes: tuple[Node, ...]) -> list[str]:
    """The branches drawn before each node."""
    stems = []
    open_at: list[bool] = []
    for node in nodes:
        del open_at[node.depth :]
        stems.append("".join("│ " if more else "  " for more in open_at) + ("└─" if node.last else "├─"))
        open_at.append(not node.last)
    return stems


def _node_line(node: Node, stem: str, width: int) -> Line:
    flags = pages.flags(node.pte).lower()[::-1]
    more = pages.high_flags(node.pte)
    spans: list[Span] = [(stem, "faint")]
    if node.kind == "pointer":
        spans += [
            ("▸" if node.closed else "▾", "accent"),
            (f" {node.gpa:#x}", ""),
            (f"  spans {size(node.bytes)}", "dim"),
            (f"  → table {node.physical:#x}", "label"),
            (f"  {node.entries} used", "dim"),
        ]
    elif node.kind == "leaf":
        spans += [
            (" ", ""),
            (f" {node.gpa:#x}", "bold"),
            (f" → {node.physical:#x}", ""),
            (f"  {flags[1:4]} {flags[4:]}{f' {more}' if more else ''}", "label" if node.pte & pages.U else "bad"),
            (f"  {_extent(node)}", "dim"),
        ]
        if not node.pte & pages.U:
            spans.append(("  no U: every access faults", "bad"))
    else:
        spans += [(f"  {node.gpa:#x}  invalid entry, bits {node.pte & 0xFF:#04x}{f' {more}' if more else ''}", "warn")]
    return tuple(spans)


def _extent(node: Node) -> str:
    """How much a run maps, and of what pages: "2 MiB", "8 KiB (2 x 4 KiB)", "128 KiB (2 x 64 KiB NAPOT)"."""
    total = size(node.bytes * node.pages)
    entries = 1 << pages.bits(node.pte, node.level) - 12 - 9 * node.level
    number, rest = divmod(node.pages, entries)
    if entries == 1 or rest:
        return total if node.pages == 1 else f"{total} ({node.pages} x {size(node.bytes)})"
    return f"{total} NAPOT" if number == 1 else f"{total} ({number} x {size(node.bytes * entries)} NAPOT)"
