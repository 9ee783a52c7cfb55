"""How an instruction is described, and the registry of all of them.

    @instruction("addi rd, rs1, imm", "imm[11:0] rs1 000 rd 0010011")
    def addi(x, rd, rs1, imm):
        x[rd] = x[rs1] + imm

The pattern lists the fields from bit 31 (or 15) down: literal bits, registers, immediates with the bits they carry.
Immediates are sign-extended from their highest bit unless the field is called `uimm`, `shamt` or `csr`. `constant` is
the number of a floating-point constant (Zfa).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .expression import Effect, HartPrimitives, Memory, ProgramCounter, RegisterFile, Trace, Value

#: Widths of the fields that are not immediates. A quote marks a register of the compressed three-bit form (x8..x15).
FIELD_WIDTHS = {
    "rd": 5, "rs1": 5, "rs2": 5, "rs3": 5, "rm": 3, "aq": 1, "rl": 1, "csr": 12, "uimm": 5, "shamt": 6, "shamtw": 5,
    "fm": 4, "constant": 5, "rnum": 4, "bs": 2, "pred": 4, "succ": 4, "rd'": 3, "rs1'": 3, "rs2'": 3,
}  # fmt: skip
SIGNED = "imm"


@dataclass(frozen=True)
class Piece:
    """`width` bits of the instruction from bit `low` are bits `at`.. of operand `name`."""

    name: str
    low: int
    width: int
    at: int


@dataclass(frozen=True)
class Layout:
    """A parsed pattern."""

    length: int  # bytes: 2 or 4
    mask: int
    match: int
    pieces: tuple[Piece, ...]

    @property
    def operands(self) -> dict[str, int]:
        """Operand name to its width in bits."""
        widths: dict[str, int] = {}
        for piece in self.pieces:
            widths[piece.name] = max(widths.get(piece.name, 0), piece.at + piece.width)
        return widths

    def extract(self, word: int) -> dict[str, int]:
        """The operands of an instruction word. A register of the three-bit form comes out as x8..x15."""
        values = dict.fromkeys(self.operands, 0)
        for piece in self.pieces:
            values[piece.name] |= ((word >> piece.low) & ((1 << piece.width) - 1)) << piece.at
        for name, width in self.operands.items():
            if name == SIGNED and values[name] >> (width - 1):
                values[name] -= 1 << width
            elif name.endswith("'"):
                values[name] += 8
        return {name.rstrip("'"): value for name, value in values.items()}

    def insert(self, values: Mapping[str, int]) -> int:
        """The word that extract() turns into `values`. ValueError when one does not fit."""
        word = self.match
        widths = self.operands
        for name, width in widths.items():
            value = values[name.rstrip("'")] - (8 if name.endswith("'") else 0)
            carried = sum(((1 << p.width) - 1) << p.at for p in self.pieces if p.name == name)
            low, high = (-(1 << width - 1), (1 << width - 1) - 1) if name == SIGNED else (0, (1 << width) - 1)
            if not low <= value <= high or (value & ((1 << width) - 1)) & ~carried:
                raise ValueError(f"{name}={values[name.rstrip(chr(39))]} does not fit its field")
            for piece in self.pieces:
                if piece.name == name:
                    word |= ((value >> piece.at) & ((1 << piece.width) - 1)) << piece.low
        return word


def parse_pattern(pattern: str) -> Layout:
    pieces: list[tuple[str, list[tuple[int, int]] | str]] = []
    total = 0
    for token in pattern.split():
        if re.fullmatch("[01]+", token):
            pieces.append(("", token))
            total += len(token)
        elif named := re.fullmatch(r"(u?imm|shamt)\[([\d:|]+)\]", token):
            spans = []
            for span in named[2].split("|"):
                high, _, low = span.partition(":")
                spans.append((int(high), int(low or high)))
            pieces.append((named[1], spans))
            total += sum(high - low + 1 for high, low in spans)
        elif token in FIELD_WIDTHS:
            pieces.append((token, [(FIELD_WIDTHS[token] - 1, 0)]))
            total += FIELD_WIDTHS[token]
        else:
            raise ValueError(f"unknown field {token!r} in pattern {pattern!r}")
    if total not in (16, 32):
        raise ValueError(f"pattern {pattern!r} has {total} bits")
    mask = match = 0
    low = total
    fields: list[Piece] = []
    for name, content in pieces:
        if isinstance(content, str):
            low -= len(content)
            mask |= ((1 << len(content)) - 1) << low
            match |= int(content, 2) << low
            continue
        for high_bit, low_bit in content:
            width = high_bit - low_bit + 1
            low -= width
            fields.append(Piece("shamt" if name == "shamtw" else name, low, width, low_bit))
    return Layout(total // 8, mask, match, tuple(fields))


@dataclass(frozen=True, eq=False)
class Instruction:
    """One instruction of the instruction set. `effects` is what its body did with symbolic operands."""

    name: str
    syntax: str
    pattern: str
    layout: Layout
    extension: str
    needs: str  # the feature that it takes, see features.py
    effects: tuple[Effect, ...]
    parameters: tuple[str, ...]
    never: Mapping[str, tuple[int, ...]]  # operand values that make the word reserved
    aliases: tuple[tuple[str, Mapping[str, int | str]], ...]  # syntax, and the operand values that select it
    common: bool  # frequent in compiled code: worth a fused handler with its neighbour
    doc: str
    source: str  # first sentence of the module that describes it: the chapter of the manual

    @property
    def ends_block(self) -> bool:
        return any(effect.kind in ("jump", "do") for effect in self.effects)


@dataclass(frozen=True, eq=False)
class Compressed:
    """A 16-bit form: decodes to `target` with the operands that `arguments` name or fix."""

    name: str
    syntax: str
    pattern: str
    layout: Layout
    extension: str
    needs: str  # beside what the target does
    target: str
    arguments: Mapping[str, str | int]
    never: Mapping[str, tuple[int, ...]]


@dataclass
class Registry:
    """All descriptions, in the order they were made."""

    instructions: dict[str, Instruction] = field(default_factory=dict)
    compressed: dict[str, Compressed] = field(default_factory=dict)


ISA = Registry()
_NOTHING: Mapping[str, tuple[int, ...]] = {}


def extension_of(module: str) -> str:
    """Each module of descriptions names its extension by a module constant."""
    return str(sys.modules[module].EXTENSION)


def source_of(module: str) -> str:
    """Each module of descriptions begins with the name of its chapter."""
    return (sys.modules[module].__doc__ or "").strip().split("\n")[0]


def feature_of(extension: str) -> str:
    """What an instruction needs of which nothing else is said: its extension, where that is one and not a mode."""
    return {"C": "Zca", "S": "I", "M-mode": "I"}.get(extension, extension)


def instruction(
    syntax: str,
    pattern: str,
    *,
    never: Mapping[str, tuple[int, ...]] = _NOTHING,
    aliases: Mapping[str, Mapping[str, int | str]] | None = None,
    common: bool = False,
    extension: str | None = None,
    needs: str | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a description. The body runs once, here, over symbolic operands.

    `never` lists operand values that are reserved; `aliases` maps pseudo-instruction syntax to the operand values that
    select it. `needs` is the feature that the hart must have, where that is not just the extension. The name is the
    first word of the syntax.
    """

    def register(body: Callable[..., None]) -> Callable[..., None]:
        trace = Trace()
        context: dict[str, Any] = {
            "x": RegisterFile(trace, "x"),
            "f": RegisterFile(trace, "f"),
            "mem": Memory(trace),
            "pc": ProgramCounter(trace),
            "hart": HartPrimitives(trace),
        }
        layout = parse_pattern(pattern)
        parameters = tuple(
            n for n, p in inspect.signature(body).parameters.items() if p.default is inspect.Parameter.empty
        )
        unknown = [p for p in parameters if p not in context and p not in layout.operands]
        if unknown:
            raise ValueError(f"{syntax}: {unknown} are not in the pattern")
        body(*(context[p] if p in context else Value("operand", (p,)) for p in parameters))
        title = syntax.split()[0]
        if title in ISA.instructions:
            raise ValueError(f"{title} is described twice")
        home = extension or extension_of(body.__module__)
        ISA.instructions[title] = Instruction(
            title, syntax, pattern, layout, home, feature_of(home) if needs is None else needs, tuple(trace.effects),
            tuple(p for p in parameters if p not in context), never,
            tuple((aliases or {}).items()), common, inspect.getdoc(body) or "", source_of(body.__module__),
        )  # fmt: skip
        return body

    return register


def compressed(
    syntax: str, pattern: str, expands: str, *, never: Mapping[str, tuple[int, ...]] = _NOTHING, extension: str = "C",
    needs: str | None = None,
) -> None:  # fmt: skip
    """Register a 16-bit form. `expands` is a call by keyword, as "addi rd=rd rs1=2 imm=imm"; what that takes need not
    be said in `needs`."""
    target, *arguments = expands.split()
    values: dict[str, str | int] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        values[key] = int(value) if value.lstrip("-").isdigit() else value
    title = syntax.split()[0]
    feature = feature_of(extension) if needs is None else needs
    ISA.compressed[title] = Compressed(
        title, syntax, pattern, parse_pattern(pattern), extension, feature, target, values, never
    )
