"""What is drawn, in words: for screen readers, braille lines and terminals that know nothing but text.

Lines stand for themselves, the first word says most, and nothing tells by its place, sign or colour. What readers
stumble over goes: frames, bars, columns of blanks, leading zeros.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from emulator.hart import WalkResult
from emulator.isa import csrs, pages
from emulator.verdict import culprit, route
from rvtui.diagram import Examined, memory_type
from rvtui.text import size

WORDS = {
    "→": "to", "←": "from", "≠": "differs", "✓": "good:", "✗": "failed:", "●": "active", "◆": "active if",
    "○": "inactive", "▶": "now", "◀": "from", "▼": "to", "■": "page", "…": "and more", "§": "section",
    "⚡": "interrupt", "↺": "again", "✎": "write", "⇄": "switch", "∥": "fence", "‖": "paused", "↑": "", "▸": "",
    "▾": "", "◂": "", "✕": "",
}  # fmt: skip
"""What the signs of lines and panes mean."""

_SIGNS = re.compile("([" + "".join(WORDS) + "]) *")
_DRAWING = re.compile("[\u2500-\u257f\u2580-\u259f\u2800-\u28ff]+")
_ARROW = re.compile(r"(?<=\s)=>|^=>")


_PLAIN_HEADS = ("", "name", "device", "event", "what", "where")
"""Columns that speak for themselves."""


def linear(line: str) -> str:
    """A line for people who see it, as one for those who do not: columns become parts of a sentence."""
    line = _DRAWING.sub("  ", line)
    line = _SIGNS.sub(lambda sign: f" {WORDS[sign[1]]} ".lstrip() if WORDS[sign[1]] else " ", line)
    line = _ARROW.sub("next:", line)
    line = re.sub(r"(?<=[A-Z])[>→](?=[A-Z])", " to ", line)  # of modes
    line = re.sub(r"(?<![\w.])([0-9a-f]{16})(?![\w.])", lambda found: f"{int(found[1], 16):#x}", line)
    line = re.sub(r"0x0+(?=[0-9a-f])(?=[0-9a-f]{1,15}\b)", "0x", line)
    parts = [" ".join(part.split()) for part in re.split(r"\s{2,}", line.strip())]
    text = ", ".join(part for part in parts if part)
    return re.sub(r"([:,;]),", r"\1", text)


def row(heads: Sequence[str], cells: Sequence[str]) -> str:
    """A row of a table, each cell behind its column's name, where that says more; what is empty is left out, and when
    it was is said last."""
    parts = []
    for head, cell in sorted(zip(heads, cells, strict=True), key=lambda each: each[0] == "clock"):
        cell = cell.strip()
        if not cell or cell == "-":
            continue
        cell = "selected" if cell == "*" else cell
        parts.append(cell if head in _PLAIN_HEADS else f"{head} {cell}")
    return linear("  ".join(parts))


def walk(found: Examined) -> list[str]:
    """A walk as numbered sentences, how it ends first."""
    of = found.walk
    world = of.world
    first = "VS-stage" if world.mode.virtual else "S-stage"
    head = f"{of.access.name.lower()} of {of.address:#x} in {world.mode.label}"
    if of.cause is None:
        kind = memory_type(of)
        page = f", {size(1 << of.page_bits)} page" if of.steps else ", no translation in this mode"
        lines = [f"{head} leads to physical {of.physical:#x}{page}" + (f", {pages.MEMORY_TYPES[kind]}" if kind else "")]
    else:
        lines = [f"{head} fails: {csrs.cause_name(of.cause, False)}, cause {of.cause}"]
        if found.verdict is not None:
            lines.append(f"Because: {found.verdict.text}")
        if found.trap is not None:
            lines.append(f"The trap: {route(found.trap)}")
            changes = found.trap.csrs.items()
            lines += [f"{name} becomes {after:#x}" for name, (before, after) in changes if before != after]
    if found.of:
        lines[0] += f" ({found.of})"
    if of.reads:
        lines[0] += f", after {of.reads} reads"
    bad = culprit(of)
    for index, step in enumerate(of.steps):
        stage = "G-stage" if step.stage else first
        why = f", for the {first} entry of level {step.nested}" if step.nested is not None else ""
        text = f"{index + 1}. {stage} level {step.level}{why}: "
        if step.unread:
            lines.append(f"{text}the entry at {step.input:#x} is not read")
            continue
        flags = " ".join(letter for letter in pages.flags(step.pte) if letter != "-")
        high = pages.high_flags(step.pte)
        text += f"entry {step.pte:#x} at physical {step.pte_physical:#x}, bits {flags or 'none'}"
        text += f" {high}" if high else ""
        if index == bad:
            text += ", it fails here"
        elif step.result is WalkResult.POINTER:
            text += f", points to table {(step.pte & pages.PPN) << 2:#x}"
        elif step.result is WalkResult.LEAF:
            text += f", a page: {step.output:#x}"
        lines.append(text)
    return lines
