"""A small assembler for tests: it encodes through the registry of `emulator.isa`,
so that it knows no instruction itself.

program = assemble(0x8000_0000, '''
        li   a0, 0x1234_5678_9abc
loop:   addi a0, a0, -1
        bnez a0, loop
''')
program["loop"], program.code
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from emulator.isa import ABI_NAMES, FLOAT_NAMES, ISA, csrs
from emulator.isa.description import Compressed, Instruction
from emulator.isa.expression import Value
from emulator.isa.zfa import CONSTANTS

REGISTERS = {name: i for i, name in enumerate(ABI_NAMES)} | {f"x{i}": i for i in range(32)} | {"fp": 8}
FLOATS = {name: i for i, name in enumerate(FLOAT_NAMES)} | {f"f{i}": i for i in range(32)}
ROUNDING = {"rne": 0, "rtz": 1, "rdn": 2, "rup": 3, "rmm": 4, "dyn": 7}
OPERAND = re.compile(r"[a-z]+\d?")


class AssemblyError(ValueError):
    """A line that does not assemble."""


@dataclass(frozen=True)
class Program:
    """Machine code, the address it is for, and the addresses of its labels."""

    base: int
    code: bytes
    labels: Mapping[str, int]

    def __getitem__(self, label: str) -> int:
        return self.labels[label]

    @property
    def end(self) -> int:
        return self.base + len(self.code)


@dataclass(frozen=True)
class Template:
    """One syntax of one form: how its operands are written, and the values that it fixes."""

    form: Instruction | Compressed
    pattern: re.Pattern[str]
    operands: tuple[str, ...]
    fixed: Mapping[str, int | str]


def encode(name: str, **operands: int) -> int:
    """The word of an instruction by name; operands that are not given are 0 (rm: dynamic)."""
    form = ISA.instructions.get(name) or ISA.compressed[name]
    values = {key.rstrip("'"): 7 if key == "rm" else 0 for key in form.layout.operands}
    return form.layout.insert(values | operands)


@cache
def templates() -> dict[str, tuple[Template, ...]]:
    """By mnemonic: the full syntax first, then the pseudo-instructions of that name."""
    found: dict[str, list[Template]] = {}

    def add(form: Instruction | Compressed, syntax: str, fixed: Mapping[str, int | str]) -> None:
        name, _, rest = syntax.partition(" ")
        operands = tuple(OPERAND.findall(rest))
        parts = [r"\s*".join(["", *map(re.escape, gap.replace(" ", "")), ""]) for gap in OPERAND.split(rest)]
        pattern = "".join(
            part + group for part, group in zip(parts, [r"([^\s,()]*)"] * len(operands) + [""], strict=True)
        )
        found.setdefault(name, []).append(Template(form, re.compile(pattern), operands, fixed))
        if operands and operands[-1] == "rm":
            add(form, syntax[: syntax.rindex(",")], {"rm": 7})

    for insn in ISA.instructions.values():
        add(insn, insn.syntax, {})
        for alias, fixed in insn.aliases:
            add(insn, alias, fixed)
    for short in ISA.compressed.values():
        add(short, short.syntax, {})
    return {name: tuple(rows) for name, rows in found.items()}


@cache
def float_operands(form: Instruction | Compressed) -> frozenset[str]:
    """Operands that name floating-point registers."""
    if isinstance(form, Compressed):
        wide = float_operands(ISA.instructions[form.target])
        return frozenset(v for k, v in form.arguments.items() if k in wide and isinstance(v, str))
    found: set[str] = set()

    def visit(value: object) -> None:
        if isinstance(value, Value):
            if value.op == "f":
                found.add(value.args[0].args[0])
            visit(value.args)
        elif isinstance(value, tuple):
            for item in value:
                visit(item)

    for effect in form.effects:
        if effect.kind == "f":
            found.add(effect.args[0].args[0])
        visit(effect.args)
    return frozenset(found)


def is_relative(form: Instruction | Compressed) -> bool:
    """Is the immediate a jump's target?"""
    insn = form if isinstance(form, Instruction) else ISA.instructions[form.target]
    return any(effect.kind == "jump" for effect in insn.effects) and insn.name != "jalr"


def load_immediate(rd: int, value: int) -> list[int]:
    """The words that put any 64-bit value into a register."""
    value &= (1 << 64) - 1
    signed = value - (1 << 64) if value >> 63 else value
    low = ((signed & 0xFFF) ^ 0x800) - 0x800
    if signed == low:
        return [encode("addi", rd=rd, imm=low)]
    if -(1 << 31) <= signed < 1 << 31:
        high = (((signed - low) & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
        words = [encode("lui", rd=rd, imm=high)]
        return words + ([encode("addiw", rd=rd, rs1=rd, imm=low)] if low else [])
    rest, shift = signed - low >> 12, 12
    while not rest & 1:
        rest, shift = rest >> 1, shift + 1
    words = [*load_immediate(rd, rest), encode("slli", rd=rd, rs1=rd, shamt=shift)]
    return words + ([encode("addi", rd=rd, rs1=rd, imm=low)] if low else [])


def _bytes(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4 if word & 3 == 3 else 2, "little") for word in words)


def _statements(text: str) -> Iterator[tuple[list[str], str]]:
    """(labels, statement) line by line; a statement may be empty."""
    for line in text.splitlines():
        for part in line.partition("#")[0].split(";"):
            labels = []
            while match := re.match(r"\s*([A-Za-z_]\w*):", part):
                labels.append(match[1])
                part = part[match.end() :]
            yield labels, part.strip()


def assemble(base: int, text: str, **symbols: int) -> Program:
    """Assemble. Besides instructions: li, la, .byte .half .word .dword, .zero,
    .align (to a power of two of bytes), .org (offset from `base`). `symbols` are names with values."""
    labels: dict[str, int] = {}
    code = b""
    for final in (False, True):
        known = symbols | labels

        def value(word: str, known: dict[str, int] = known, final: bool = final) -> int:
            try:
                return int(eval(word, {"__builtins__": {}}, known))
            except NameError:
                if final:
                    raise AssemblyError(f"unknown name in {word!r}") from None
                return 0
            except (SyntaxError, TypeError):
                raise AssemblyError(f"not a number: {word!r}") from None

        code = b""
        for names, statement in _statements(text):
            for name in names:
                labels[name] = base + len(code)
            if statement:
                try:
                    code += _statement(statement, base + len(code), value, base, final)
                except ValueError as error:
                    raise AssemblyError(f"{statement}: {error}") from None
    return Program(base, code, labels)


def _statement(statement: str, at: int, value: Callable[[str], int], base: int, final: bool) -> bytes:
    name, _, rest = statement.partition(" ")
    rest = rest.strip()
    sizes = {".byte": 1, ".half": 2, ".word": 4, ".dword": 8}
    if name in sizes:
        size = sizes[name]
        return b"".join((value(w) & ((1 << 8 * size) - 1)).to_bytes(size, "little") for w in rest.split(","))
    if name == ".zero":
        return bytes(value(rest))
    if name == ".align":
        return bytes(-at % value(rest))
    if name == ".org":
        if (gap := base + value(rest) - at) < 0:
            raise AssemblyError("goes backwards")
        return bytes(gap)
    if name == "li":
        register, _, number = rest.partition(",")
        return _bytes(load_immediate(REGISTERS[register.strip()], value(number.strip())))
    if name == "la":
        register, _, target = rest.partition(",")
        offset = value(target.strip()) - at if final else 0
        low = ((offset & 0xFFF) ^ 0x800) - 0x800
        rd = REGISTERS[register.strip()]
        return _bytes([encode("auipc", rd=rd, imm=offset - low), encode("addi", rd=rd, rs1=rd, imm=low)])
    plain, aq, rl = name, 0, 0
    for suffix, ordering in ((".aqrl", (1, 1)), (".aq", (1, 0)), (".rl", (0, 1))):
        if plain.endswith(suffix):
            plain, (aq, rl) = plain.removesuffix(suffix), ordering
            break
    for template in templates().get(plain, ()):
        match = template.pattern.fullmatch(rest)
        if match is None:
            continue
        words = dict(zip(template.operands, match.groups(), strict=True))
        values = _operands(template, words, at, value, final)
        if "aq" in template.form.layout.operands:
            values |= {"aq": aq, "rl": rl}
        return _bytes([encode(template.form.name, **values)])
    raise AssemblyError("no such instruction, or other operands")


def _operands(
    template: Template, words: Mapping[str, str], at: int, value: Callable[[str], int], final: bool
) -> dict[str, int]:
    floats = float_operands(template.form)
    values: dict[str, int] = {k: v for k, v in template.fixed.items() if isinstance(v, int)}
    for name, word in words.items():
        if name in ("rd", "rs1", "rs2", "rs3"):
            table = FLOATS if name in floats else REGISTERS
            if word not in table:
                raise AssemblyError(f"{word!r} is not a register here")
            values[name] = table[word]
        elif name == "csr":
            values[name] = csrs.BY_NAME[word].number if word in csrs.BY_NAME else value(word)
        elif name == "rm":
            values[name] = ROUNDING[word]
        elif name == "constant":
            values[name] = CONSTANTS.index(word)
        elif name in ("pred", "succ"):
            values[name] = sum(bit for bit, letter in zip((8, 4, 2, 1), "iorw", strict=True) if letter in word)
        elif name == "imm" and is_relative(template.form):
            values[name] = value(word) - at if final else 0
        elif name == "imm" and template.form.name in ("lui", "auipc", "c.lui"):
            width = template.form.layout.operands["imm"]
            number = value(word) << 12 & ((1 << width) - 1)
            values[name] = number - (1 << width) if number >> (width - 1) else number
        else:
            values[name] = value(word)
    for name, twin in template.fixed.items():
        if isinstance(twin, str):
            values[name] = values[twin]
    return values
