"""Instruction words as text, by the descriptions."""

from __future__ import annotations

from emulator.isa import ISA
from emulator.isa.description import Compressed, Instruction


def find(word: int) -> Instruction | Compressed | None:
    """The description that a word matches; the upper half of `word` does not matter for a 16-bit one."""
    registry = ISA
    table: list[Instruction | Compressed]
    if word & 3 == 3:
        table = list(registry.instructions.values())
    else:
        word &= 0xFFFF
        table = list(registry.compressed.values())
    for entry in table:
        if word & entry.layout.mask == entry.layout.match:
            fields = entry.layout.extract(word)
            if not any(fields.get(name.rstrip("'")) in bad for name, bad in entry.never.items()):
                return entry
    return None


def disassemble(word: int) -> str:
    """The syntax with its operands filled in; "unknown" for a word that no description matches."""
    entry = find(word)
    if entry is None:
        return "unknown"
    fields = entry.layout.extract(word if word & 3 == 3 else word & 0xFFFF)
    name, _, rest = entry.syntax.partition(" ")
    for key in sorted(fields, key=len, reverse=True):
        value = fields[key]
        shown = f"{value:#x}" if key == "csr" else f"x{value}" if key in ("rd", "rs1", "rs2", "rs3") else str(value)
        rest = rest.replace(key, shown)
    return f"{name} {rest}".strip()


def listing(code: bytes, address: int) -> list[str]:
    """One line per instruction."""
    lines = []
    at = 0
    while at + 2 <= len(code):
        half = int.from_bytes(code[at : at + 2], "little")
        length = 4 if half & 3 == 3 else 2
        word = int.from_bytes(code[at : at + length], "little")
        lines.append(f"{address + at:x}: {word:0{2 * length}x}  {disassemble(word)}")
        at += length
    return lines
