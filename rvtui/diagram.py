"""A walk as a picture: the levels of the first stage downwards, across each the G-stage walk that finds its entry, and
last the one of the address itself. Below it why and how it ends, and every entry with its bits. Styled lines, which are
plain text as well: each colour has a sign beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.addressspace import MODES
from emulator.hart import Access, Mode, Step, Trap, Walk, WalkResult
from emulator.isa import csrs, pages
from emulator.verdict import Verdict, bits_of, culprit, route
from rvtui.text import MODE_NAMES, Line, Span, clean, fit, size

SHORT_SIZES = ("4K", "2M", "1G", "512G", "256T")
STATUS_BITS = {
    "hstatus": ("GVA", "SPV", "SPVP"),
    "sstatus": ("SPP", "SPIE", "SIE"),
    "vsstatus": ("SPP", "SPIE", "SIE"),
    "mstatus": ("GVA", "MPV", "MPP", "MPIE", "MIE"),
}
"""Of the registers that trap entry changes, the bits that it does."""


@dataclass(frozen=True)
class Examined:
    """A walk with why it fails and what the trap would write, both None where it does not. `of`: whose it is."""

    walk: Walk
    verdict: Verdict | None = None
    trap: Trap | None = None
    of: str = ""
    table: tuple[int, bytes] | None = None
    """The table of an entry that was asked for: its physical address and content."""


@dataclass
class _Row:
    """One walk across: steps of the G-stage by column, and the first stage's own entry."""

    label: str
    at: int
    across: list[int] = field(default_factory=list)
    own: int | None = None


@dataclass(frozen=True)
class Picture:
    """`places`: where each entry stands: line, first and last column, step."""

    lines: list[Line]
    places: list[tuple[int, int, int, int]]


def mode_name(register: int, guest: bool) -> str:
    return MODES.get(register >> 60, "?") + ("x4" if guest and register >> 60 else "")


def heading(found: Examined, asked: Iterable[str] = ()) -> list[Line]:
    """What is walked, for whom. `asked`: bits that are not the hart's own."""
    walk = found.walk
    world, asked = walk.world, set(asked)
    name = MODE_NAMES[world.mode]
    spans: list[Span] = [
        (f"{walk.address:#x}", "bold"),
        (f"  {walk.access.name.lower()} in ", "label"),
        (name, f"{name} bold"),
    ]
    if walk.access is not Access.FETCH and world.mode is not Mode.M and world.first:
        bits = [("sum", "SUM", world.sum), ("mxr", "MXR", world.mxr)]
        if world.mode.virtual:
            bits.append(("gmxr", "sstatus.MXR", world.gmxr))
        for key, text, value in bits:
            spans.append((f"  {text}={int(value)}{'!' if key in asked else ''}", "changed" if key in asked else "dim"))
    if world.first >> 60 or world.second >> 60:
        stages = [mode_name(world.first, False)] + ([mode_name(world.second, True)] if world.mode.virtual else [])
        spans.append(
            ("  " + " over ".join(stages), "dim") if len(stages) == 2 and walk.access is not Access.FETCH else ("", "")
        )
    return [tuple(spans)]


def _rows(walk: Walk) -> list[_Row]:
    rows: list[_Row] = []
    done: set[int] = set()
    current: tuple[object, ...] | None = None
    for index, step in enumerate(walk.steps):
        if not step.stage:
            if not rows or current is None or current[:2] != ("read", step.level):
                rows.append(_Row(f"L{step.level}", step.pte_address))
            rows[-1].own = index
            done.add(step.level)
            current = None
            continue
        if step.nested is None:
            key: tuple[object, ...] = ("final",)
        else:
            key = ("write" if step.nested in done else "read", step.nested)
        if key != current:
            label = "gpa" if key[0] == "final" else f"L{step.nested}" if key[0] == "read" else f"L{step.nested}✎"
            rows.append(_Row(label, step.input))
            current = key
        rows[-1].across.append(index)
    return rows


def picture(walk: Walk, verdict: Verdict | None, width: int, chosen: int | None = None) -> Picture:
    """The diagram, `width` columns wide."""
    lines: list[Line] = []
    places: list[tuple[int, int, int, int]] = []
    rows = _rows(walk)
    if not rows:
        return Picture([(("no translation in this mode: the address is physical", "label"),)], [])
    levels = walk.world.second >> 60
    columns = int(levels) - 5 if any(row.across for row in rows) else 0
    first = "VS" if walk.world.mode.virtual else "S"
    at_width = max(9, *(len(f"{row.at:x}") for row in rows)) + 1
    left = 4 + at_width
    own = any(row.own is not None for row in rows)
    cell = max(7, min(15, (width - left - 15 * own) // columns)) if columns else 0
    head: list[Span] = [
        (fit(f"{first if own else ''}", 4), first if first == "VS" else "HS"),
        (fit("at gpa" if columns else "at", at_width), "dim"),
    ]
    head += [(fit(f"G L{columns - 1 - column}", cell), "HS") for column in range(columns)]
    if own:
        head.append((f"{first}-stage entry" if first == "VS" else "entry", "VS" if first == "VS" else "HS"))
    lines.append(tuple(head))
    bad = culprit(walk)
    for row in rows:
        spans: list[Span] = [
            (fit(row.label, 4), "bold" if row.label == "gpa" else "VS" if first == "VS" else "HS"),
            (fit("" if row.own is not None and walk.steps[row.own].unread else f"{row.at:x}", at_width), ""),
        ]
        at = left
        ended = False
        for column in range(columns):
            level = columns - 1 - column
            index = next((each for each in row.across if walk.steps[each].level == level), None)
            if index is None:
                last = walk.steps[row.across[-1]] if row.across else None
                good = last is not None and last.result is WalkResult.LEAF
                spans.append((("─" if good and ended else " ") * cell, "faint"))
            else:
                step = walk.steps[index]
                ended = step.result is not WalkResult.POINTER
                spans += _cell(step, verdict if index == bad else None, cell, index == chosen)
                places.append((len(lines), at, at + cell, index))
            at += cell
        if row.own is not None:
            step = walk.steps[row.own]
            room = max(6, width - at)
            spans += _cell(step, verdict if row.own == bad else None, room, row.own == chosen, wide=True)
            places.append((len(lines), at, width, row.own))
        elif row.label == "gpa" and walk.reached is not None:
            spans.append((f"→ {walk.reached:x}", "good" if walk.cause is None else "bad"))
        elif row.label.endswith("✎"):
            spans.append(("to set A, D" if width - at >= 11 else "A, D", "dim"))
        lines.append(tuple(spans))
    return Picture(lines, places)


def _cell(step: Step, verdict: Verdict | None, width: int, chosen: bool, wide: bool = False) -> list[Span]:
    """One entry in `width` columns: ● pointer, ■ leaf, ✗ what is wrong with it."""
    high = pages.high_flags(step.pte)
    rest: list[Span] = []
    if verdict is not None:
        text, style = (
            "✗ " + (verdict.text.split(":")[0].split(",")[0] if verdict.bits or wide else verdict.text),
            "bad bold",
        )
    elif step.result is WalkResult.POINTER:
        text, style = "● ptr", "label"
        if wide:
            text += f" → {(step.pte & pages.PPN) << 2:x}" if width > 16 else ""
    else:
        extent = "64K" if step.pte & pages.N else SHORT_SIZES[step.level]
        flags = pages.flags(step.pte).lower()[::-1]
        text = f"■ {extent} {flags[1:4]}"
        if len(text) >= width:
            text = f"■ {extent}"
        style = "good"
        more = f"{flags[4:]}{f' {high}' if high else ''}"
        if len(text) + 1 + len(more) < width:
            text += " " + more
        elif high and len(text) + 1 + len(high) < width:
            text += " " + high
        if wide and len(text) + len(f" → {step.output:x}") <= width:
            text += f" → {step.output:x}"
    text = fit(text, width - 1) if len(text) >= width else text
    spans: list[Span] = [(text, f"{style} reverse" if chosen else style), *rest]
    left = width - len(text)
    if not wide and step.result is WalkResult.POINTER:
        spans.append((" " + "─" * (left - 2) + " " if left > 2 else " " * left, "faint"))
    elif not wide:
        spans.append(
            (
                " " + "─" * (left - 1) if left > 1 and step.result is WalkResult.LEAF and step.level else " " * left,
                "faint",
            )
        )
    return spans


def ending(found: Examined, width: int) -> list[Line]:
    """Where the walk leads, or why it fails and what the trap writes."""
    walk = found.walk
    reads = f"  {walk.reads} reads" if walk.steps else ""
    if walk.cause is None:
        how = f"  {size(1 << walk.page_bits)} page" if walk.steps else "  no translation in this mode"
        kind = memory_type(walk)
        if kind:
            how += f", {pages.MEMORY_TYPES[kind]} memory"
        return [((f"✓ physical {walk.physical:#x}", "good bold"), (how, "label"), (reads, "dim"))]
    lines: list[Line] = []
    name = csrs.cause_name(walk.cause, False)
    lines.append(
        (("✗ ", "bad bold"), (f"{name} ({walk.cause})", "bad bold"), (f"  {_where(walk)}", "label"), (reads, "dim"))
    )
    if found.verdict is not None:
        lines += _wrapped(found.verdict.text, width, "bad")
    if found.trap is None:
        return lines
    trap = found.trap
    lines += _wrapped(route(trap), width, "")
    words: list[str] = []
    for register, (_, after) in trap.csrs.items():
        if register in STATUS_BITS:
            continue
        if register.endswith("epc"):
            words.append(f"{register} = pc")
        elif register.endswith("cause"):
            words.append(f"{register} {after}")
        elif register in ("htval", "mtval2"):
            words.append(f"{register} {after:#x}" + (f" (gpa {after << 2:#x})" if after else ""))
        elif register.endswith("tinst"):
            meaning = (
                csrs.MEANINGS["tinst"](after)
                if after
                else "0, or the instruction"
                if walk.access is not Access.FETCH
                else ""
            )
            words.append(f"{register} {after:#x}" + (f" ({meaning})" if meaning else ""))
        else:
            words.append(f"{register} {after:#x}")
    lines += _flowed(words, width)
    words = []
    for register, (before, after) in trap.csrs.items():
        for bit in STATUS_BITS.get(register, ()):
            was, now = (csrs.BY_NAME[register].field(bit).extract(each) for each in (before, after))
            words.append(f"{bit}={now}" + (f" (was {was})" if now != was else ""))
        if register in STATUS_BITS:
            words[-len(STATUS_BITS[register])] = f"{register} " + words[-len(STATUS_BITS[register])]
    vector = {Mode.M: "mtvec", Mode.HS: "stvec"}.get(trap.mode, "vstvec")
    words.append(f"pc {trap.pc:#x} ({vector})")
    return [*lines, *_flowed(words, width)]


def _where(walk: Walk) -> str:
    at = culprit(walk)
    if at is None:
        return "at the address itself"
    step = walk.steps[at]
    if not step.stage:
        return (
            f"{'VS' if walk.world.mode.virtual else 'S'}-stage L{step.level}"
            if walk.world.mode.virtual
            else f"level {step.level}"
        )
    if step.nested is None:
        return f"G-stage L{step.level} of the address"
    writes = any(each.stage == 0 and each.level == step.nested for each in walk.steps[:at])
    return f"G-stage L{step.level}, {'writing' if writes else 'finding'} the VS-stage entry of L{step.nested}"


def _wrapped(text: str, width: int, style: str) -> list[Line]:
    return [
        (("  " + part, style),)
        for part in textwrap.wrap(clean(text, 600), max(20, width - 3), subsequent_indent="  ", break_on_hyphens=False)
    ]


def _flowed(words: Iterable[str], width: int) -> list[Line]:
    """Words, each kept whole, over as many lines as they need."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 2 + len(word) <= width:
            lines[-1] += "  " + word
        else:
            lines.append("  " + word)
    return [((line, "label"),) for line in lines]


def entry_line(walk: Walk, index: int, verdict: Verdict | None, chosen: bool = False) -> Line:
    """One entry: where it is, its value, its bits, where it leads."""
    step = walk.steps[index]
    bad = verdict is not None and index == culprit(walk)
    flags, more = pages.flags(step.pte), pages.high_flags(step.pte)
    stage = "G" if step.stage else "VS" if walk.world.mode.virtual else "S"
    spans: list[Span] = [
        ("✗ " if bad else "▸ " if chosen else "  ", "bad bold" if bad else "accent"),
        ("│ " if step.stage and step.nested is not None else "", "faint"),
        (f"{stage:<2} L{step.level} ", "VS" if stage == "VS" else "HS"),
    ]
    if step.unread:
        spans.append((f"{step.input:#x} not read", "bad"))
        return tuple(spans)
    spans += [(f"[{step.pte_physical:x}]", "dim"), (f" {step.pte:>9x}", ""), (" ", "")]
    blame = verdict.bits if bad and verdict is not None else 0
    for place, letter in enumerate(flags):
        bit = 1 << 7 - place
        spans.append((letter, "bad bold reverse" if blame & bit else "label"))
    spans.append((f" {more}" if more else "", "bad bold" if blame & (pages.N | pages.PBMT) else "label"))
    if step.result is WalkResult.LEAF:
        spans.append((f" → {step.output:#x}", "good"))
    elif step.result is WalkResult.POINTER:
        spans.append((f" → table {(step.pte & pages.PPN) << 2:#x}", "label"))
    return tuple(spans)


def explained(walk: Walk, index: int, verdict: Verdict | None, width: int) -> list[Line]:
    """What an entry is there for, and what each of its bits says; the ones to blame marked."""
    step = walk.steps[index]
    stage = "G-stage" if step.stage else "VS-stage" if walk.world.mode.virtual else "single stage"
    what = f"{stage} L{step.level}"
    if step.stage:
        what += f" for gpa {step.input:#x}" + (f", the entry of VS L{step.nested}" if step.nested is not None else "")
    elif walk.world.second >> 60:
        what += f" at gpa {step.pte_address:#x}"
    if step.unread:
        return [((what + ": not read", "bad"),)]
    lines: list[Line] = [((what, "bold"), (f"  [{step.pte_physical:x}] = {step.pte:#x}", ""))]
    blame = verdict.bits if verdict is not None and index == culprit(walk) else 0
    row: list[Span] = []
    used = 0
    for name, meaning, mask in bits_of(step):
        bad = bool(blame & mask)
        text = f"{'✗ ' if bad else ''}{name} {meaning}"
        if used and used + len(text) + 4 > width:
            lines.append(tuple(row))
            row, used = [], 0
        row += [("  ", ""), (text, "bad bold" if bad else "label")]
        used += len(text) + 2
    lines.append(tuple(row))
    return lines


def memory_type(walk: Walk) -> int:
    """PBMT of the leaves together: the VS-stage's, where it is not 0, overrides the G-stage's ("Svpbmt Extension for
    Page-Based Memory Types")."""
    found = {step.stage: step.pte >> 61 & 3 for step in walk.steps if step.nested is None}
    return found.get(0) or found.get(1, 0)


def table_lines(walk: Walk, index: int, table: tuple[int, bytes]) -> tuple[list[Line], int]:
    """The entries of the table that entry `index` of a walk stands in, and which line is that entry."""
    base, data = table
    step = walk.steps[index]
    stage = "G-stage" if step.stage else "VS-stage" if walk.world.mode.virtual else "single-stage"
    lines: list[Line] = [
        ((f"{stage} table of L{step.level} at physical {base:#x}", "bold"), ("  Esc: back to the walk", "dim"))
    ]
    chosen = 0
    for place in range(len(data) // 8):
        pte = int.from_bytes(data[8 * place : 8 * place + 8], "little")
        at = base + 8 * place
        here = at == step.pte_physical
        if here:
            chosen = len(lines)
        kind = pages.kind(pte, step.level, walk.world.types[step.stage])
        to = (pte & pages.PPN) << 2
        lead = {"leaf": f"→ {to:#x}", "pointer": f"→ table {to:#x}"}.get(kind, "invalid" if pte else "")
        more = pages.high_flags(pte)
        lines.append(
            (
                ("▶ " if here else "  ", "accent bold"),
                (f"{place:4} ", "dim"),
                (f"{at:x} ", "dim"),
                (f"{pte:016x} ", "bold" if here else "" if pte else "faint"),
                (f"{pages.flags(pte)}{f' {more}' if more else ''} " if pte else "", "label"),
                (lead, "warn" if kind == "invalid" else "good" if kind == "leaf" else "label"),
            )
        )
    return lines, chosen


def whole(found: Examined, width: int, chosen: int | None = None, asked: Iterable[str] = ()) -> Picture:
    """All of it, one under the other."""
    walk = found.walk
    head = heading(found, asked)
    drawn = picture(walk, found.verdict, width, chosen) if walk.steps else Picture([], [])
    places = [(line + len(head), *rest) for line, *rest in drawn.places]
    lines = [*head, *drawn.lines, *ending(found, width)]
    if chosen is not None and chosen < len(walk.steps):
        lines += explained(walk, chosen, found.verdict, width)
    for index in range(len(walk.steps)):
        places.append((len(lines), 0, width, index))
        lines.append(entry_line(walk, index, found.verdict, index == chosen))
    return Picture(lines, [(line, low, high, index) for line, low, high, index in places])


def plain(lines: Iterable[Line]) -> tuple[str, ...]:
    return tuple("".join(text for text, _ in line).rstrip() for line in lines)
