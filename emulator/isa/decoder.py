"""From instruction words to text: the disassembler, and the sentence that says what an instruction does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol

from . import csrs
from .description import ISA, Compressed, Instruction, Layout
from .expression import Effect, Value
from .zfa import CONSTANTS

ABI_NAMES = (
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
    "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
)  # fmt: skip
FLOAT_NAMES = (
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
    "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
)  # fmt: skip
ROUNDING = ("rne", "rtz", "rdn", "rup", "rmm", "", "", "dyn")
MASK = (1 << 64) - 1


class Registers(Protocol):
    """What a sentence needs of a hart: the values before the instruction."""

    @property
    def pc(self) -> int: ...
    @property
    def x(self) -> Sequence[int]: ...
    @property
    def f(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Decoded:
    """One decoded instruction word. `length` in bytes; `operands` are raw field values, immediates signed."""

    word: int
    length: int
    instruction: Instruction
    compressed: Compressed | None
    operands: Mapping[str, int]

    @property
    def name(self) -> str:
        return self.instruction.name

    @property
    def ends_block(self) -> bool:
        return self.instruction.ends_block

    @property
    def is_call(self) -> bool:
        """A jump that keeps a return address: what "step over" runs to the end of."""
        jumps = any(effect.kind == "jump" for effect in self.instruction.effects)
        return jumps and self.operands.get("rd", 0) in (1, 5)

    @property
    def target_offset(self) -> int | None:
        """Bytes from this instruction to the target of a direct jump or branch."""
        for effect in self.instruction.effects:
            if effect.kind == "jump" and _is_relative(effect.args[0]):
                return self.operands["imm"]
        return None

    @property
    def text(self) -> str:
        """Assembly with ABI names and the usual pseudo-instructions; jumps as offsets (".+8")."""
        return self.assembly()

    def assembly(self, pc: int | None = None, symbol: Callable[[int], str | None] | None = None) -> str:
        """The same with absolute jump targets where `pc` is known, named by `symbol`."""
        syntax = self.instruction.syntax
        for alias, conditions in self.instruction.aliases:
            if all(self.operands[k] == (self.operands[v] if isinstance(v, str) else v) for k, v in conditions.items()):
                syntax = alias
                break
        name, _, rest = syntax.partition(" ")
        ordering = "".join(bit for bit in ("aq", "rl") if self.operands.get(bit))
        name += f".{ordering}" if ordering else ""
        shown = re.sub(r"[a-z]+\d?", lambda m: self._operand(m[0], pc, symbol), rest)
        return f"{name} {shown}".strip()

    def _operand(self, name: str, pc: int | None, symbol: Callable[[int], str | None] | None) -> str:
        value = self.operands[name]
        if name in ("rd", "rs1", "rs2", "rs3"):
            return (FLOAT_NAMES if name in _float_operands(self.instruction) else ABI_NAMES)[value]
        if name == "csr":
            known = csrs.BY_NUMBER.get(value)
            return known.name if known else f"{value:#x}"
        if name == "rm":
            return ROUNDING[value]
        if name == "constant":
            return CONSTANTS[value]
        if name in ("pred", "succ"):
            return "".join(letter for bit, letter in zip((8, 4, 2, 1), "iorw", strict=True) if value & bit) or "0"
        if name == "imm" and self.target_offset is not None:
            if pc is None:
                return f".{value:+d}"
            target = (pc + value) & MASK
            return (symbol(target) if symbol else None) or f"{target:#x}"
        if name == "imm" and self.instruction.layout.operands["imm"] == 32:
            return f"{value >> 12 & 0xFFFFF:#x}"
        return str(value)

    def explain(self, hart: Registers) -> str:
        """What executing it would do with the values that the hart holds now."""
        said = (_effect(effect, self, hart) for effect in self.instruction.effects if not _is_lost(effect, self))
        return "; ".join(said) or "no effect"


@cache
def _float_operands(insn: Instruction) -> frozenset[str]:
    """Operands that name floating-point registers, seen from how the body uses them."""
    found: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, Value):
            if value.op == "f":
                found.add(value.args[0].args[0])
            for arg in value.args:
                visit(arg)
        elif isinstance(value, tuple):
            for arg in value:
                visit(arg)

    for effect in insn.effects:
        if effect.kind == "f":
            found.add(effect.args[0].args[0])
        for arg in effect.args:
            visit(arg)
    return frozenset(found)


def _is_relative(value: object) -> bool:
    return isinstance(value, Value) and value.op == "add" and getattr(value.args[0], "op", "") == "pc"


def _bucket(word: int) -> int:
    """Where the forms of a word are listed."""
    return word & 0x7F if word & 3 == 3 else 0x100 | word & 3


@cache
def _forms() -> dict[int, list[tuple[Layout, Instruction, Compressed | None, Mapping[str, tuple[int, ...]]]]]:
    """Candidates by the low seven bits (by quadrant for 16-bit forms), narrower patterns first."""
    table: dict[int, list[tuple[Layout, Instruction, Compressed | None, Mapping[str, tuple[int, ...]]]]] = {}
    for insn in ISA.instructions.values():
        table.setdefault(_bucket(insn.layout.match), []).append((insn.layout, insn, None, insn.never))
    for short in ISA.compressed.values():
        entry = (short.layout, ISA.instructions[short.target], short, short.never)
        table.setdefault(_bucket(short.layout.match), []).append(entry)
    for entries in table.values():
        entries.sort(key=lambda entry: -entry[0].mask.bit_count())
    return table


@lru_cache(maxsize=1 << 14)
def decode(word: int) -> Decoded | None:
    """Decode the instruction in the low 16 or 32 bits of `word`; None where no instruction has that form."""
    wide = word & 3 == 3
    word &= 0xFFFFFFFF if wide else 0xFFFF
    for layout, insn, short, never in _forms().get(_bucket(word), ()):
        if word & layout.mask != layout.match:
            continue
        values = layout.extract(word)
        if any(values[name] in bad for name, bad in never.items()):
            return None
        if short is not None:
            values = {k: values[v] if isinstance(v, str) else v for k, v in short.arguments.items()}
        return Decoded(word, layout.length, insn, short, values)
    return None


def trapped(value: int) -> str:
    """What mtinst or htinst says of the trapping instruction: rs1 and the offset are gone, rs1's bits tell how far into
    the access the fault was. Section "Transformed Instruction or Pseudoinstruction for mtinst or htinst"."""
    if not value:
        return "nothing said"
    if value in csrs.PSEUDO_INSTRUCTIONS:
        return csrs.PSEUDO_INSTRUCTIONS[value]
    decoded = decode(value & ~(31 << 15) | 2) if value & 1 and not value >> 32 else None
    if decoded is None:
        return f"{value:#x}, no transformed instruction"
    text = re.sub(r",? *-?\d*\(zero\)$", "", decoded.text)
    into = value >> 15 & 31
    return (
        f"transformed {text}{'' if value & 2 else ', 16-bit form'}{f', at byte {into} of the access' if into else ''}"
    )


csrs.MEANINGS["tinst"] = trapped

# --- sentences ---

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>", "sar": ">>s",
    "eq": "==", "ne": "!=", "lt": "<s", "ltu": "<u", "ge": ">=s", "geu": ">=u",
}  # fmt: skip


def signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _number(value: int) -> str:
    short = signed(value)
    return str(short) if -4096 < short < 4096 else f"{value & MASK:#x}"


Leaf = Callable[[Value], str]
"""How to say an operand, a register or pc."""


def _values(d: Decoded, hart: Registers) -> Leaf:
    """By the values that they have now; floating-point registers by their names."""

    def leaf(value: Value) -> str:
        match value:
            case Value("operand", ("constant",)):
                return CONSTANTS[d.operands["constant"]]
            case Value("operand", (name,)):
                return _number(d.operands[name])
            case Value("x", (operand,)):
                return _number(hart.x[_index(operand, d)])
            case Value("f", (operand,)):
                return f"{FLOAT_NAMES[_index(operand, d)]}"
            case Value("pc"):
                return f"{hart.pc:#x}"
        return f"{hart.pc + d.length:#x}"

    return leaf


def _names(value: Value) -> str:
    """By the names of the operands."""
    match value:
        case Value("operand", (name,)):
            return str(name)
        case Value("x" | "f" as file, (operand,)):
            return _place(file, operand)
        case Value("pc"):
            return "pc"
    return "(pc after it)"


def _place(file: str, operand: object) -> str:
    return f"{file}[{operand.args[0] if isinstance(operand, Value) else operand}]"


def _say(value: object, leaf: Leaf) -> str:
    """The expression."""
    match value:
        case int():
            return _number(value)
        case Value("operand" | "x" | "f" | "pc" | "next"):
            return leaf(value)
        case Value("sext" | "zext" as op, (inner, bits)):
            return f"{op}({_open(inner, leaf)}, {bits})"
        case Value("load", (address, bits)):
            return f"mem{bits}[{_open(address, leaf)}]"
        case Value("amo", (address, bits, change)):
            return f"mem{bits}[{_open(address, leaf)}], then replaced by {_say(change, leaf)}"
        case Value("old", _):
            return "old"
        case Value("not", (inner,)):
            return f"~{_say(inner, leaf)}"
        case Value("select", (condition, left, right)):
            return f"({_say(left, leaf)} if {_say(condition, leaf)} else {_say(right, leaf)})"
        case Value("call" | "access", (name, *args)):
            return f"{name}({', '.join(_open(a, leaf) for a in args)})"
        case Value("fp", (name, bits, args, _)):
            return f"{name}{bits}({', '.join(_open(a, leaf) for a in args)})"
        case Value(op, (left, right)) if op in INFIX:
            return f"({_say(left, leaf)} {INFIX[op]} {_say(right, leaf)})"
    return "?"


def _open(value: object, leaf: Leaf) -> str:
    """The expression without parentheses around all of it, for where nothing else stands beside it."""
    text = _say(value, leaf)
    return text[1:-1] if isinstance(value, Value) and (value.op in INFIX or value.op == "select") else text


def _index(operand: object, d: Decoded) -> int:
    return d.operands[operand.args[0]] if isinstance(operand, Value) else int(str(operand))


def evaluate(value: object, d: Decoded, hart: Registers) -> int | None:
    """The value of an expression, where it follows from registers alone."""
    match value:
        case int():
            return value & MASK
        case Value("operand", (name,)):
            return d.operands[name] & MASK
        case Value("x", (operand,)):
            return hart.x[_index(operand, d)]
        case Value("pc"):
            return hart.pc
        case Value("next"):
            return (hart.pc + d.length) & MASK
        case Value("sext", (inner, bits)):
            inside = evaluate(inner, d, hart)
            return None if inside is None else signed(inside, bits) & MASK
        case Value("zext", (inner, bits)):
            inside = evaluate(inner, d, hart)
            return None if inside is None else inside & ((1 << bits) - 1)
        case Value("not", (inner,)):
            inside = evaluate(inner, d, hart)
            return None if inside is None else ~inside & MASK
        case Value("select", (condition, left, right)):
            test = evaluate(condition, d, hart)
            return None if test is None else evaluate(left if test else right, d, hart)
        case Value(op, (left, right)) if op in INFIX:
            a, b = evaluate(left, d, hart), evaluate(right, d, hart)
            return None if a is None or b is None else _ARITHMETIC[op](a, b) & MASK
    return None


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b & 63),
    "shr": lambda a, b: a >> (b & 63),
    "sar": lambda a, b: signed(a) >> (b & 63),
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "lt": lambda a, b: int(signed(a) < signed(b)),
    "ltu": lambda a, b: int(a < b),
    "ge": lambda a, b: int(signed(a) >= signed(b)),
    "geu": lambda a, b: int(a >= b),
}


def _is_lost(effect: Effect, d: Decoded) -> bool:
    """A write to x0."""
    return effect.kind == "x" and _index(effect.args[0], d) == 0


def _csr_effect(name: str, value: str, d: Decoded) -> str:
    """CSRRS and CSRRC with x0 or zero only read; CSRRW to x0 only writes ("CSR Instructions")."""
    known = csrs.BY_NUMBER.get(d.operands["csr"])
    csr = known.name if known else hex(d.operands["csr"])
    source = d.operands.get("rs1", d.operands.get("uimm", 0))
    said = [f"{ABI_NAMES[d.operands['rd']]} = {csr}"] if d.operands["rd"] else []
    if name == "csr_write":
        said.append(f"{csr} = {value}")
    elif source:
        said.append(f"{csr} {'|= ' if name == 'csr_set' else '&= ~'}{value}")
    return "; ".join(said) or f"read {csr}"


_FENCES = {
    "sfence_vma": ("first-stage", "ASID"),
    "hfence_vvma": ("VS-stage", "ASID"),
    "hfence_gvma": ("G-stage", "VMID"),
}
"""Which translations, and the numbers that tell them apart. HFENCE.GVMA's address is shifted right by 2."""

_PRIMITIVES = {
    "guest_store": "guest's mem{2}[{0}] = {1}",
    "inval_order": "order invalidations with the accesses around them",
    "mret": "return by mepc to the mode in MPP and MPV",
    "sret": "return by sepc to the mode in SPP, and from HS-mode to SPV",
    "wfi": "wait for an interrupt",
    "wrs_nto": "wait until the reservation is lost, or for an interrupt",
    "fence_i": "fetch what was stored before",
    "ecall": "trap: environment call",
    "ebreak": "trap: breakpoint",
    "cbo_inval": "invalidate the cache block of {0}",
    "cbo_clean": "write back the cache block of {0}",
    "cbo_zero": "zero the cache block of {0}",
    "compare_and_swap_pair": "mem128[{0}] = the pair x{2} if it equals the pair x{1}, which gets what was there",
}
"""What the hart does of itself, for a reader."""


def _effect(effect: Effect, d: Decoded, hart: Registers) -> str:
    leaf = _values(d, hart)
    match effect:
        case Effect("x", (operand, value)):
            name, said, result = ABI_NAMES[_index(operand, d)], _open(value, leaf), evaluate(value, d, hart)
            known = "" if result is None or _number(result) == said else f" = {_number(result)}"
            return f"{name} = {said}{known}"
        case Effect("f", (operand, value)):
            return f"{FLOAT_NAMES[_index(operand, d)]} = {_open(value, leaf)}"
        case Effect("store", (address, value, bits)):
            where = evaluate(address, d, hart)
            place = f"{where:#x}" if where is not None else _say(address, leaf)
            return f"mem{bits}[{place}] = {_say(value, leaf)}"
        case Effect("jump", (target, when)):
            where = evaluate(target, d, hart)
            to = f"pc = {where:#x}" if where is not None else f"pc = {_say(target, leaf)}"
            if when is None:
                return to
            taken = evaluate(when, d, hart)
            verdict = "" if taken is None else ", taken" if taken else ", not taken"
            return f"{to} if {_open(when, leaf)}{verdict}"
        case Effect("do", ("csr_write" | "csr_set" | "csr_clear" as name, _, value, *_)):
            return _csr_effect(str(name), _say(value, leaf), d)
        case Effect("do" | "access", (name, *args)):
            given = [_open(each, leaf) for each in args]
            if str(name) in _FENCES:
                stage, space = _FENCES[str(name)]
                which = f"address {given[0]}" if d.operands["rs1"] else "all addresses"
                whose = f"{space} {given[1]}" if d.operands["rs2"] else f"every {space}"
                return f"forget {stage} translations of {which}, {whose}"
            if str(name) in _PRIMITIVES:
                return _PRIMITIVES[str(name)].format(*given)
            return str(name).replace("_", " ") + (f" ({', '.join(given)})" if given else "")
    return effect.kind


def sentence(insn: Instruction) -> str:
    """What the instruction does, with the names of its operands: "x[rd] = x[rs1] + imm"."""
    return "; ".join(_abstract(effect) for effect in insn.effects) or "no effect"


_CSR_CHANGES = {"csr_write": "=", "csr_set": "|=", "csr_clear": "&= ~"}


def _abstract(effect: Effect) -> str:
    match effect:
        case Effect("x" | "f" as file, (operand, value)):
            return f"{_place(file, operand)} = {_open(value, _names)}"
        case Effect("store", (address, value, bits)):
            return f"mem{bits}[{_open(address, _names)}] = {_open(value, _names)}"
        case Effect("jump", (target, when)):
            to = f"pc = {_open(target, _names)}"
            return to if when is None else f"{to} if {_open(when, _names)}"
        case Effect("do", ("csr_write" | "csr_set" | "csr_clear" as name, _, value, *_)):
            return f"x[rd] = csr; csr {_CSR_CHANGES[str(name)]} {_open(value, _names)}"
        case Effect("do" | "access", (name, *args)):
            return f"{name}({', '.join(_open(each, _names) for each in args)})" if args else str(name)
    return effect.kind
