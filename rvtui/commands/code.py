"""Code, and names of addresses."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, replace
from typing import Any

from emulator.hart import Access
from emulator.loader import Symbol, read_symbols
from rvtui.commands.registry import Argument, CommandError, Context, Report, Told, command
from rvtui.commands.values import ADDRESS, FILE, PLACE, number_of, place_of, value_of
from rvtui.listing import Instruction, listing, sentence, start
from rvtui.spaces import Place
from rvtui.stops import marks
from rvtui.subjects import hart_of, names_of, selected_vcpu, symbols_of
from rvtui.text import clean

ROWS = 16
MOST = 4096
"""Instructions or names at once."""


class _Face:
    """A place as a listing reads it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def read_virtual(self, address: int, length: int, access: Access = Access.LOAD) -> bytes:
        return replace(self.place, address=address).read(length)


@dataclass(frozen=True)
class Listed:
    instruction: Instruction

    @property
    def length(self) -> int:
        return self.instruction.length

    @property
    def data(self) -> dict[str, Any]:
        each = self.instruction
        return {
            "address": hex(each.address),
            "bytes": each.word.to_bytes(each.length, "little").hex(),
            "text": each.text,
            "symbol": each.label or None,
        }


def instructions(context: Context, place: Place, count: int) -> list[Listed]:
    """`count` instructions from a place on. TranslationError where they end before."""
    symbols = symbols_of(context.session.machine, place.subject)
    found = listing(_Face(place), symbols, place.address, count, {})
    if not found[-1].length:
        replace(place, address=found[-1].address).read(2)
    return [Listed(each) for each in found]


def listed(context: Context, place: Place, rows: list[Listed]) -> list[str]:
    """As lines; => marks pc, * a breakpoint."""
    machine = context.session.machine
    signs = marks(machine, place.subject) if place.space == "va" else {}
    pc = hart_of(machine, place.subject).pc if place.space == "va" else None
    lines = []
    for each in (row.instruction for row in rows):
        if each.label:
            lines.append(f"{clean(each.label)}:")
        mark = "*" if each.address in signs else " "
        digits = f"{each.word:0{each.length * 2}x}"
        name, _, operands = each.text.partition(" ")
        arrow = "=>" if each.address == pc else "  "
        here = "next: " * (each.address == pc) + "stop at " * (each.address in signs)
        lines.append(
            Told(
                f"{mark}{arrow} {place.spelt(each.address)}:  {digits:<8}  {name:<10} {operands}".rstrip(),
                f"{here}{place.spelt(each.address)}: {name} {operands}".rstrip(),
            )
        )
    return lines


@command(
    "disassemble",
    "instructions around pc, or from ADDRESS on",
    Argument("ADDRESS", PLACE.kind, PLACE.help, True),
    Argument("COUNT", "count", f"how many; {ROWS} if not given", True),
    example="disassemble\ndisassemble main 4",
    aliases=("dis", "disas"),
)
def _disassemble(context: Context, address: str = "", count: str = str(ROWS)) -> Report:
    rows = number_of(count, MOST)
    place = place_of(context, address or "pc")
    machine = context.session.machine
    if not address:
        face, symbols = hart_of(machine, place.subject), symbols_of(machine, place.subject)
        place = replace(place, address=start(face, symbols, place.address, rows))
        found = [Listed(each) for each in listing(_Face(place), symbols, place.address, rows, {}) if each.length]
        if not found:
            place_of(context, "pc").read(2)
    else:
        found = instructions(context, place, rows)
    return Report(tuple(listed(context, place, found)), {"instructions": [each.data for each in found]})


@command("explain", "what the instruction at pc will do", example="explain")
def _explain(context: Context) -> str:
    face = hart_of(context.session.machine, context.session.subject)
    return sentence(face, face.pc)


@command(
    "symbols",
    "names with a part like PATTERN, and their addresses",
    Argument("PATTERN", "symbol", "a part of a name, or with * and ? the whole: uart_*", True),
    example="symbols main",
    aliases=("info symbols", "info functions", "info variables"),
)
def _symbols(context: Context, pattern: str = "") -> Report:
    names = names_of(context.session.machine, context.session.subject)
    whole = pattern if any(each in pattern for each in "*?[") else f"*{pattern}*"
    found = [name for name in names.names if fnmatch.fnmatchcase(name.lower(), whole.lower())]
    if not found:
        raise CommandError(f"no name is like {pattern!r}" if len(names) else "nothing that is looked at has names")
    rows = sorted((names.find(name) or 0, name) for name in found[:MOST])
    kinds: dict[tuple[int, str], Symbol] = {(each.address, each.name): each for each in names}
    lines, data = [], []
    for address, name in rows:
        known = kinds.get((address, name))
        size = known.size if known else 0
        lines.append(f"{address:#018x}  {size or '-':>8}  {clean(name, 200)}")
        data.append({"name": name, "address": hex(address), "size": size, "function": bool(known and known.function)})
    if len(found) > MOST:
        lines.append(f"and {len(found) - MOST:,} more: say more of the name")
    return Report(tuple(lines), {"symbols": data, "more": max(0, len(found) - MOST)})


@command(
    "symbol",
    "which name an address belongs to",
    ADDRESS,
    example="symbol pc",
    aliases=("info symbol",),
)
def _symbol(context: Context, address: str) -> Report:
    value = value_of(context, address)
    known = names_of(context.session.machine, context.session.subject).at(value)
    if known is None:
        raise CommandError(f"{value:#x} belongs to no name")
    offset = value - known.address
    kind = "function" if known.function else "name"
    size = f", {known.size} bytes" if known.size else ""
    text = f"{value:#x} is {clean(known.name, 200)}" + (f"+{offset:#x}" if offset else "") + f": a {kind}{size}"
    return Report((text,), {
        "address": hex(value), "name": known.name, "offset": offset, "start": hex(known.address), "size": known.size,
        "function": known.function,
    })  # fmt: skip


@command(
    "symbol-file",
    "take more names and source lines, of an ELF file or a System.map, for what is looked at",
    Argument("FILE", FILE.kind, "a file; behind it +OFFSET, if the program was moved by so much"),
    example="symbol-file System.map",
    changes=True,
    aliases=("add-symbol-file",),
)
def _symbol_file(context: Context, path: str) -> Report:
    path, by = _offset(context, path)
    found = read_symbols(path)
    found = found.moved(by) if by else found
    machine = context.session.machine
    vm, _ = selected_vcpu(machine, context.session.subject)
    owner = machine if vm is None else vm
    before = len(owner.symbols)
    owner.symbols = found | owner.symbols if by else owner.symbols | found
    text = f"{len(owner.symbols) - before:,} more names, of {len(found):,} in {clean(path, 100)}"
    text += ", and source lines" if found.sources else ""
    return Report((text,), {
        "file": path, "names": len(found), "new": len(owner.symbols) - before, "sources": bool(found.sources),
    })  # fmt: skip


def _offset(context: Context, text: str) -> tuple[str, int]:
    """A file, and by how much its addresses are moved: "u-boot +0x7e000000", "u-boot -o EXPRESSION"."""
    match = re.fullmatch(r"(.*\S)\s+(?:-o\s+|(?=[+-]))(\S.*)", text)
    if match is None or os.path.exists(text):
        return text, 0
    return match[1].strip("\"'"), value_of(context, match[2])
