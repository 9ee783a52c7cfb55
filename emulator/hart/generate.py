"""Writes the C that follows from the descriptions: the decoder's table and the interpreter's handlers.

Run at build time. Knows no instruction by name: everything comes from `emulator.isa`.

A decoded operation is eight bytes: handler, registers `a` and `b`, and either a 32-bit immediate or the small operands
`c`, `d`, `e`. Operands are placed by their role: rd in a, rs1 in b, rs2 in c (in a, where an immediate needs the room).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emulator.isa import ISA
from emulator.isa.description import Compressed, Instruction, Registry
from emulator.isa.expression import Effect, Value
from emulator.isa.features import NUMBERS, of_form

from .generate_csrs import csr_defs_h, csr_state_h, csr_table_c

IMMEDIATES = ("imm", "shamt", "csr")
#: Handlers that belong to no instruction: ends of blocks that stop for another reason than a jump, and what cannot run.
SYNTHETIC = ("illegal", "end", "end_page", "stop")

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "eq": "==", "ne": "!=",
    "ltu": "<", "geu": ">=",
}  # fmt: skip
SIGNED_INFIX = {"lt": "<", "ge": ">="}


def identifier(name: str) -> str:
    return name.replace(".", "_")


def slots(insn: Instruction) -> dict[str, str]:
    """Operand name to the field of the operation that carries it."""
    used = [name for name in insn.layout.operands if name in insn.parameters]
    wide = [name for name in used if name in IMMEDIATES]
    places = dict.fromkeys(wide, "imm")
    for name in used:
        match name:
            case "rd":
                places[name] = "a"
            case "rs1" | "uimm" | "constant":
                places[name] = "b"
            case "rnum":
                places[name] = "c"
            case "rs2":
                places[name] = "a" if wide else "c"
            case "rs3" | "bs":
                places[name] = "d"
            case "rm":
                places[name] = "e"
    return places


def is_pc_relative(value: object) -> bool:
    """Is this `pc + something`?"""
    return isinstance(value, Value) and value.op == "add" and getattr(value.args[0], "op", "") == "pc"


@dataclass
class Body:
    """The C statements of one instruction. `exits` are its jumps, written last."""

    insn: Instruction
    lines: list[str] = field(default_factory=list)
    temporaries: int = 0
    base: str | None = None  # what holds rs1, where the instruction before has just made it
    old: str = ""  # the temporary that holds what an atomic operation found in memory
    uses_fp: bool = False
    raises_flags: bool = False

    def temporary(self, c_type: str, value: str | None = None) -> str:
        self.temporaries += 1
        name = f"t{self.temporaries}"
        self.lines.append(f"{c_type} {name}" + (f" = {value};" if value is not None else ";"))
        return name

    def c(self, value: object) -> str:
        """A C expression of type u64; what may fault or must be ordered becomes a statement before it."""
        places = slots(self.insn)
        match value:
            case bool():
                raise TypeError("a Python truth value in a description")
            case int():
                return f"{value & 0xFFFFFFFFFFFFFFFF:#x}ull"
            case Value("operand", (name,)):
                return "(u64)(i64)op->imm" if places[name] == "imm" else f"(u64)op->{places[name]}"
            case Value("x", (Value("operand", ("rd",)),)):
                return f"x[op->{places['rd']} & 31]"  # where x0 is meant, rd names the sink
            case Value("x", (Value("operand", (name,)),)):
                return self.base if self.base and places[name] == "b" else f"x[op->{places[name]}]"
            case Value("x", (int() as number,)):
                return f"x[{number}]"
            case Value("f", (Value("operand", (name,)),)):
                self.uses_fp = True
                return f"c->h.f[op->{places[name]}]"
            case Value("next"):
                return "(base + BLOCK->bytes)"
            case Value("add", (Value("pc"), offset)):
                return f"(base + {self.c(offset)})"
            case Value("sext", (inner, bits)):
                return f"(u64)(i64)(i{bits})({self.c(inner)})"
            case Value("zext", (inner, bits)):
                return f"(u64)(u{bits})({self.c(inner)})"
            case Value("shl" | "shr" as op, (left, right)):
                return f"({self.c(left)} {'<<' if op == 'shl' else '>>'} ({self.c(right)} & 63))"
            case Value("sar", (left, right)):
                return f"(u64)((i64){self.c(left)} >> ({self.c(right)} & 63))"
            case Value("not", (inner,)):
                return f"(~{self.c(inner)})"
            case Value("select", (condition, left, right)):
                return f"({self.c(condition)} ? {self.c(left)} : {self.c(right)})"
            case Value("load", (address, bits)):
                result = self.temporary("u64")
                self.lines.append(f"LOAD(u{bits}, {result}, {self.c(address)});")
                return result
            case Value("amo", (address, bits, change)):
                location = self.temporary("u64", self.c(address))
                old = self.temporary("u64")
                self.lines.append(f"AMO_OPEN(u{bits}, {old}, {location});")
                self.old = old
                self.lines.append(f"AMO_CLOSE(u{bits}, {self.c(change)});")
                return old
            case Value("old", _):
                return self.old
            case Value("access", (name, *args)):
                result = self.temporary("u64", "0")
                arguments = ", ".join(self.c(argument) for argument in args)
                self.lines.append(f"ACCESS({name}(c, {arguments}, &{result}));")
                return result
            case Value("call", (name, *args)):
                return f"{name}({', '.join(self.c(argument) for argument in args)})"
            case Value("fp", (name, bits, args, rm)):
                self.uses_fp = self.raises_flags = True
                given = [self.c(argument) for argument in args]
                if rm is not None:
                    self.lines.append(f"ROUNDING(op->{places['rm']});")
                    given.append("rm")
                return self.temporary("u64", f"f{bits}_{name}({', '.join(given)}, &flags)")
            case Value(op, (left, right)) if op in SIGNED_INFIX:
                return f"(u64)((i64){self.c(left)} {SIGNED_INFIX[op]} (i64){self.c(right)})"
            case Value(op, (left, right)) if op in INFIX:
                text = f"({self.c(left)} {INFIX[op]} {self.c(right)})"
                return f"(u64){text}" if op in ("eq", "ne", "ltu", "geu") else text
        raise TypeError(f"{self.insn.name}: no C for {value!r}")

    def statements(
        self, far: bool = False, fused: bool = False, result: str | None = None, odd: bool = False
    ) -> list[str]:
        """The whole body, ending in the dispatch of what follows; `fused`: it goes on in the same handler, which finds
        the value written in `result`; `odd`: a jump to where instructions of 32 bits only may not be."""
        insn, places = self.insn, slots(self.insn)
        writes: list[str] = []
        jumps: list[str] = []
        writes_f = False
        for effect in insn.effects:
            match effect:
                case Effect("x", (Value("operand", (name,)), value)):
                    kept = f"{result} = " if result else ""
                    writes.append(f"x[op->{places[name]}] = {kept}{self.settle(value, insn)};")
                case Effect("f", (Value("operand", (name,)), value)):
                    self.uses_fp = writes_f = True
                    writes.append(f"c->h.f[op->{places[name]}] = {self.settle(value, insn)};")
                case Effect("store", (address, value, bits)):
                    text = self.c(value)
                    self.lines.append(f"STORE(u{bits}, {self.c(address)}, {text});")
                case Effect("access", (name, *args)):
                    self.lines.append(f"ACCESS({name}(c, {', '.join(self.c(argument) for argument in args)}));")
                case Effect("jump", (target, None)):
                    if odd and is_pc_relative(target):
                        return [f"MISALIGNED({self.c(target)});"]
                    if odd:
                        to = self.temporary("u64", self.c(target))
                        self.lines.append(f"if ({to} & 2) MISALIGNED({to});")
                    if is_pc_relative(target):
                        jumps.append("JUMP_FAR();" if far else "JUMP_NEAR();")
                    else:
                        jumps.append(f"JUMP_INDIRECT({self.settle(target, insn)});")
                case Effect("jump", (target, condition)) if odd:
                    jumps.append(f"if ({self.c(condition)}) MISALIGNED({self.c(target)}); else FALL_THROUGH();")
                case Effect("jump", (_, condition)):
                    kind = "FAR" if far else "NEAR"
                    jumps.append(f"if ({self.c(condition)}) JUMP_{kind}(); else FALL_THROUGH();")
                case Effect("do", (name, *args)):
                    arguments = "".join(f", {self.c(argument)}" for argument in args)
                    jumps.append(f"SYSTEM(do_{name}(c{arguments}));")
                case _:
                    raise TypeError(f"{insn.name}: no C for effect {effect}")
        head = ["FP_ENABLED();"] if self.uses_fp else []
        if self.raises_flags:
            # With NX raised already, softfloat may take the host's operations; results of f registers dirty FS anyway.
            head.append(f"u32 flags = {'(u32)c->h.csr.fcsr & 1' if writes_f else 0};")
            writes.append("FP_FLAGS();")
        if writes_f:
            writes.append("FP_DIRTY();")
        end = jumps or ([] if fused else ["NEXT();"])
        return [*head, *self.lines, *writes, *end]

    def settle(self, value: object, insn: Instruction) -> str:
        """Values are those before the instruction: with several effects, compute each before any is written."""
        text = self.c(value)
        return self.temporary("u64", text) if len(insn.effects) > 1 else text


def body(
    insn: Instruction, *, far: bool = False, fused: bool = False, result: str | None = None, base: str | None = None,
    odd: bool = False,
) -> str:  # fmt: skip
    return "\n    ".join(Body(insn, base=base).statements(far, fused, result, odd))


def jumps(insn: Instruction) -> bool:
    return any(effect.kind == "jump" for effect in insn.effects)


def has_near_jump(insn: Instruction) -> bool:
    return any(effect.kind == "jump" and is_pc_relative(effect.args[0]) for effect in insn.effects)


def needs_offset(insn: Instruction) -> bool:
    """Is the immediate relative to pc? Then the decoder makes it relative to the start of the block."""
    return any(any(is_pc_relative(a) for a in effect.args) for effect in insn.effects)


@dataclass(frozen=True)
class Fusion:
    """Pairs of neighbours that share one handler, by place in two lists. What produces a value, and what has rs1, comes
    first in each: of these pairs there is a second handler, for when the first's rd is the second's rs1. It saves the
    round trip of the value through memory, which is most of what a short dependent chain costs."""

    firsts: list[Instruction]
    ends: list[Instruction]

    @property
    def producers(self) -> int:
        return sum(writes_x(insn) for insn in self.firsts)

    @property
    def based(self) -> int:
        return sum("rs1" in insn.parameters for insn in self.ends)

    def pairs(self) -> list[tuple[str, Instruction, Instruction]]:
        """(handler, first, second), in the order of their numbers."""
        return [(f"{identifier(a.name)}__{identifier(b.name)}", a, b) for a in self.firsts for b in self.ends]

    def dependent_pairs(self) -> list[tuple[str, Instruction, Instruction]]:
        firsts, ends = self.firsts[: self.producers], self.ends[: self.based]
        return [(f"{identifier(a.name)}_to_{identifier(b.name)}", a, b) for a in firsts for b in ends]


def writes_x(insn: Instruction) -> bool:
    return any(effect.kind == "x" for effect in insn.effects)


def fusion(registry: Registry) -> Fusion:
    common = [insn for insn in registry.instructions.values() if insn.common]
    return Fusion(
        sorted((insn for insn in common if not insn.ends_block), key=lambda insn: not writes_x(insn)),
        sorted(common, key=lambda insn: "rs1" not in insn.parameters),
    )


def is_commutative(insn: Instruction) -> bool:
    """Do rs1 and rs2 only meet in one operation that does not mind their order? Then the decoder may swap them."""

    def symmetric(value: object) -> bool:
        match value:
            case Value("add" | "and" | "or" | "xor" | "mul" | "eq" | "ne", (Value("x", (left,)), Value("x", (right,)))):
                return {left.args[0], right.args[0]} == {"rs1", "rs2"}
            case Value("sext", (inner, _)):
                return symmetric(inner)
        return False

    return len(insn.effects) == 1 and any(symmetric(value) for value in insn.effects[0].args)


def handler_names(registry: Registry) -> list[str]:
    names = [identifier(name) for name in registry.instructions]
    names += [f"{identifier(insn.name)}_far" for insn in registry.instructions.values() if has_near_jump(insn)]
    names += [f"{identifier(insn.name)}_odd" for insn in registry.instructions.values() if jumps(insn)]
    names += SYNTHETIC
    pairs = fusion(registry)
    return names + [name for name, _, _ in (*pairs.pairs(), *pairs.dependent_pairs())]


def handlers_c(registry: Registry) -> str:
    """The bodies, for inclusion in the interpreter's function."""
    parts = []
    for insn in registry.instructions.values():
        name = identifier(insn.name)
        parts.append(f"OP({name}) {{\n    {body(insn)}\n}}")
        if has_near_jump(insn):
            parts.append(f"OP({name}_far) {{\n    {body(insn, far=True)}\n}}")
        if jumps(insn):
            parts.append(f"OP({name}_odd) {{\n    {body(insn, odd=True)}\n}}")
    pairs = fusion(registry)
    for name, a, b in pairs.pairs():
        first, second = body(a, fused=True), body(b)
        parts.append(f"OP({name}) {{\n  {{\n    {first}\n  }}\n  op++;\n  {{\n    {second}\n  }}\n}}")
    for name, a, b in pairs.dependent_pairs():
        first, second = body(a, fused=True, result="made"), body(b, base="made")
        parts.append(f"OP({name}) {{\n  u64 made;\n  {{\n    {first}\n  }}\n  op++;\n  {{\n    {second}\n  }}\n}}")
    return "\n".join(parts) + "\n"


def sizes_h(registry: Registry) -> str:
    """Handler numbers and what the decoder needs to know of each."""
    names = handler_names(registry)
    pairs = fusion(registry)
    lines = ["#define HANDLERS(H) \\"]
    lines += [f"    H({name}) \\" for name in names[:-1]] + [f"    H({names[-1]})", ""]
    lines.append(
        f"enum {{ FUSED_FIRSTS = {len(pairs.firsts)}, FUSED_ENDS = {len(pairs.ends)}, "
        f"FUSED_PRODUCERS = {pairs.producers}, FUSED_BASED = {pairs.based} }};"
    )
    return "\n".join(lines) + "\n"


def decoder_c(registry: Registry) -> str:
    """Candidates by major opcode, each with mask, match, handler, and how to place its operands."""
    places_of = {insn.name: slots(insn) for insn in registry.instructions.values()}
    layouts: dict[tuple[object, ...], int] = {}
    extractors: list[str] = []

    def extractor(form: Instruction | Compressed) -> int:
        """The number of the C function that fills an operation from a word of this form; shared by equal forms."""
        target = form if isinstance(form, Instruction) else registry.instructions[form.target]
        places = places_of[target.name]
        if isinstance(form, Instruction):
            sources: Mapping[str, str | int] = {name: name for name in places}
        else:
            sources = form.arguments
        sinks = writes_x(target) or (any(e.kind == "do" for e in target.effects) and "rd" in places)
        key = (form.layout.pieces, tuple(sorted((places[k], v) for k, v in sources.items() if k in places)), sinks)
        if key in layouts:
            return layouts[key]
        number = layouts[key] = len(layouts)
        quoted = {name.rstrip("'"): name for name in form.layout.operands}
        lines = []
        for operand, source in sources.items():
            if operand not in places:
                continue
            slot = places[operand]
            text = str(source) if isinstance(source, int) else field_c(form, quoted[source])
            if operand == "rd" and sinks:
                text = f"sink({text})"
            lines.append(f"o->{slot} = ({'i32' if slot == 'imm' else 'u8'})({text});")
        extractors.append(f"static void extract_{number}(op *o, u32 w) {{ (void)w; (void)o; {' '.join(lines)} }}")
        return number

    rows: list[tuple[int, str]] = []
    numbers = {insn.name: i for i, insn in enumerate(registry.instructions.values())}
    near = [insn for insn in registry.instructions.values() if has_near_jump(insn)]
    far = {insn.name: len(registry.instructions) + i for i, insn in enumerate(near)}
    jumping = [insn for insn in registry.instructions.values() if jumps(insn)]
    odd = {insn.name: len(registry.instructions) + len(near) + i for i, insn in enumerate(jumping)}
    pairs = fusion(registry)
    first_at = {insn.name: i + 1 for i, insn in enumerate(pairs.firsts)}
    end_at = {insn.name: i + 1 for i, insn in enumerate(pairs.ends)}
    for form in ordered([*registry.instructions.values(), *registry.compressed.values()]):
        target = form if isinstance(form, Instruction) else registry.instructions[form.target]
        bucket = form.layout.match & 3 if form.layout.length == 2 else form.layout.match & 0x7F
        if form.layout.length == 2:
            bucket |= (form.layout.match >> 13 & 7) << 2  # quadrant and funct3
        else:
            bucket = 32 + (bucket >> 2)
        never = [(name, value) for name, values in form.never.items() for value in values]
        checks = " || ".join(f"({field_c(form, quoted_name(form, name))}) == {value}" for name, value in never)
        row = (
            f"{{{form.layout.mask:#x}u, {form.layout.match:#x}u, {numbers[target.name]}, {far.get(target.name, 0)}, "
            f"{odd.get(target.name, 0)}, {NUMBERS[of_form(form)]}, "
            f"{int(target.ends_block)}, {int(needs_offset(target))}, {first_at.get(target.name, 0)}, "
            f"{end_at.get(target.name, 0)}, {swap(target)}, extract_{extractor(form)}, {reserved(checks, extractors)}, "
            f"{expander(form, registry, extractors)}}}"
        )
        rows.append((bucket, row))
    rows.sort(key=lambda item: item[0])
    starts = [next((i for i, (b, _) in enumerate(rows) if b >= bucket), len(rows)) for bucket in range(65)]
    table = ",\n    ".join(row for _, row in rows)
    return "\n".join(
        [
            *extractors,
            "static const form forms[] = {\n    " + table + "\n};",
            f"static const u16 buckets[65] = {{{', '.join(map(str, starts))}}};",
            "",
        ]
    )


def swap(insn: Instruction) -> int:
    """Where rs2 stands, if it may change places with rs1: 1 in a, 2 in c; 0 if not."""
    return {"a": 1, "c": 2}[slots(insn)["rs2"]] if is_commutative(insn) else 0


def reserved(checks: str, functions: list[str]) -> str:
    """The name of the function that tells whether operand values make a word reserved, or NULL."""
    if not checks:
        return "NULL"
    text = f"(u32 w) {{ return {checks}; }}"
    for function in functions:
        if function.endswith(text):
            return function.split()[2].partition("(")[0]
    name = f"reserved_{len(functions)}"
    functions.append(f"static bool {name}{text}")
    return name


def expander(form: Instruction | Compressed, registry: Registry, functions: list[str]) -> str:
    """The name of the function that expands a 16-bit word to the 32 bits that it abbreviates, or NULL."""
    if isinstance(form, Instruction):
        return "NULL"
    target = registry.instructions[form.target]
    terms = [f"{target.layout.match:#x}u"]
    for piece in target.layout.pieces:
        source = form.arguments.get(piece.name, 0)
        value = str(source) if isinstance(source, int) else field_c(form, quoted_name(form, source))
        terms.append(f"((u32)({value}) >> {piece.at} & {(1 << piece.width) - 1:#x}u) << {piece.low}")
    name = f"expand_{identifier(form.name)}"
    functions.append(f"static u32 {name}(u32 w) {{ (void)w; return {' | '.join(terms)}; }}")
    return name


def quoted_name(form: Instruction | Compressed, name: str) -> str:
    return name if name in form.layout.operands else name + "'"


def field_c(form: Instruction | Compressed, name: str) -> str:
    """A C expression that gathers an operand from the word `w`."""
    width = form.layout.operands[name]
    parts = [f"((w >> {p.low} & {(1 << p.width) - 1:#x}u) << {p.at})" for p in form.layout.pieces if p.name == name]
    text = " | ".join(parts)
    if name == "imm" and width < 32:
        return f"(i32)(({text}) << {32 - width}) >> {32 - width}"
    return f"({text}) + 8" if name.endswith("'") else text


def ordered(forms: Iterable[Instruction | Compressed]) -> list[Instruction | Compressed]:
    """More literal bits first, so that the narrower of two overlapping patterns wins."""
    return sorted(forms, key=lambda form: -form.layout.mask.bit_count())


def generate(directory: Path) -> None:
    """Write all generated files; a file that would not change keeps its time stamp."""
    registry = ISA
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "handlers.inc": handlers_c(registry),
        "handlers.h": sizes_h(registry),
        "decoder.inc": decoder_c(registry),
        "csr_state.h": csr_state_h(),
        "csr_defs.h": csr_defs_h(),
        "csr_table.c": csr_table_c(),
    }
    for name, text in files.items():
        path = directory / name
        text = text if name.startswith("csr_") else "/* Generated from emulator/isa. */\n" + text
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
