"""Mutants of C: small changes of tokens inside functions, each a piece of text put in place of another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HART = Path(__file__).resolve().parents[2] / "emulator" / "hart"

_TOKEN = re.compile(
    r"""(?P<blank>\s+|/\*.*?\*/|//[^\n]*|^\#(?:[^\n\\]|\\.)*)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>0[xX][0-9a-fA-F]+[uUlL]*|\d+[uUlL]*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_BINDING = {
    op: strength
    for strength, ops in enumerate(
        ("?", "||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %"), start=1
    )
    for op in ops.split()
}
_ENDS = ";,{}([)]:"
_WALLS = frozenset(_ENDS) | {f"{op}=" for op in ("", *"+-*/%&|^", "<<", ">>")} | {"return", "case", "else", "do"}
_TYPES = frozenset((
    "const", "static", "bool", "char", "int", "unsigned", "void", "enum", "struct", "u8", "u16", "u32", "u64", "i32",
    "i64", "uint8_t", "uint16_t", "uint64_t", "int32_t", "core", "hart", "machine", "region", "world", "walk",
    "walk_step", "walk_record", "translation", "translation_context", "tlb_entry", "csr_entry", "block", "watch",
    "goto", "break", "continue", "typedef",
))  # fmt: skip

_SWAPS = (
    "PRV_S PRV_U", "PRV_M PRV_S", "MODE_HS MODE_VS", "MODE_M MODE_HS", "ACCESS_LOAD ACCESS_STORE",
    "ACCESS_FETCH ACCESS_LOAD", "LEVEL_S LEVEL_HS", "LEVEL_M LEVEL_HS", "LEVEL_U LEVEL_S", "true false",
    "EXCEPTION_ILLEGAL_INSTRUCTION EXCEPTION_VIRTUAL_INSTRUCTION", "EXCEPTION_BREAKPOINT EXCEPTION_ECALL_U",
    "EXCEPTION_LOAD_PAGE EXCEPTION_STORE_PAGE", "EXCEPTION_LOAD_ACCESS EXCEPTION_STORE_ACCESS",
    "EXCEPTION_LOAD_GUEST_PAGE EXCEPTION_STORE_GUEST_PAGE", "EXCEPTION_LOAD_MISALIGNED EXCEPTION_STORE_MISALIGNED",
    "EXCEPTION_ECALL_HS EXCEPTION_ECALL_VS", "EXCEPTION_ECALL_U EXCEPTION_ECALL_VS",
    "EXCEPTION_ECALL_M EXCEPTION_ECALL_HS",
    "EXCEPTION_INSTRUCTION_PAGE EXCEPTION_LOAD_PAGE", "EXCEPTION_INSTRUCTION_ACCESS EXCEPTION_LOAD_ACCESS",
    "EXCEPTION_INSTRUCTION_GUEST_PAGE EXCEPTION_LOAD_GUEST_PAGE",
    "COUNT_CYCLES COUNT_INSTRUCTIONS", "COUNT_EXCEPTIONS COUNT_INTERRUPTS", "COUNT_PAGE_FAULTS COUNT_GUEST_PAGE_FAULTS",
    "COUNT_CALLS COUNT_REFUSALS", "COUNT_RETURNS COUNT_FENCES", "COUNT_WAITS COUNT_SWITCHES", "COUNT_EXITS COUNT_CALLS",
)  # fmt: skip
_MEMBERS = (
    "mstatus vsstatus", "satp vsatp", "menvcfg henvcfg", "senvcfg menvcfg", "mcounteren hcounteren",
    "scounteren hcounteren", "medeleg hedeleg", "mideleg hideleg", "mstateen hstateen", "stimecmp vstimecmp",
    "mtvec stvec", "stvec vstvec", "mepc sepc", "sepc vsepc", "mcause scause", "scause vscause", "mtval stval",
    "stval vstval", "hgatp vsatp", "mtval2 htval", "mtinst htinst", "mtimecmp clock", "hvip mip", "mie mip",
    "hgeie hgeip", "mcyclecfg minstretcfg", "given address", "physical guest_physical",
)  # fmt: skip


def _both(pairs: tuple[str, ...]) -> dict[str, str]:
    """One partner for every name; the first pair that has it decides."""
    table: dict[str, str] = {}
    for pair in pairs:
        a, b = pair.split()
        table.setdefault(a, b)
        table.setdefault(b, a)
    return table


SWAPS, MEMBERS = _both(_SWAPS), _both(_MEMBERS)
_COMPARED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_OTHER = {"+": "-", "-": "+", "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+="}


@dataclass(frozen=True)
class Mutant:
    """`text` in place of what stands at `start` .. `end` of a file."""

    file: str
    function: str
    start: int
    end: int
    text: str
    line: int
    change: str
    """The lines around it afterwards, blanks made one: what a list of mutants calls it."""
    before: str
    """The same lines as they are."""


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


class Source:
    """A C file, its tokens and its functions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        self.tokens = [
            Token(str(found.lastgroup), found[0], found.start(), found.end())
            for found in _TOKEN.finditer(self.text)
            if found.lastgroup != "blank"
        ]
        self.pair: dict[int, int] = {}
        opened: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.kind != "sign":
                continue
            if token.text in _PAIRS:
                opened.append(i)
            elif token.text in _PAIRS.values():
                other = opened.pop()
                self.pair[i], self.pair[other] = other, i

    @cached_property
    def functions(self) -> list[tuple[str, int, int]]:
        """(name, place of its opening brace, of its closing one)."""
        found, i = [], 0
        while i < len(self.tokens):
            if self.tokens[i].text == "{":
                close = self.pair[i]
                if self.tokens[i - 1].text == ")":
                    found.append((self.tokens[self.pair[i - 1] - 1].text, i, close))
                i = close
            i += 1
        return found

    def mutants(self) -> Iterator[Mutant]:
        for name, first, last in self.functions:
            seen = set()
            for start, end, text in _Body(self, first, last).edits():
                low, high = self.tokens[start].start, self.tokens[end].end
                if self.text[low:high] == text or (low, high, text) in seen:
                    continue
                seen.add((low, high, text))
                yield self._mutant(name, low, high, text)

    def _mutant(self, function: str, low: int, high: int, text: str) -> Mutant:
        head = self.text.rindex("\n", 0, low) + 1
        tail = self.text.find("\n", high)
        before, after = self.text[head:tail], self.text[head:low] + text + self.text[high:tail]
        line = self.text.count("\n", 0, low) + 1
        file = self.path.name
        return Mutant(file, function, low, high, text, line, " ".join(after.split()), " ".join(before.split()))

    def changed(self, mutant: Mutant) -> str:
        return self.text[: mutant.start] + mutant.text + self.text[mutant.end :]


class _Body:
    """The body of a function, as edits: tokens `start` .. `end`, both included, give way to a text."""

    def __init__(self, source: Source, first: int, last: int) -> None:
        self.source, self.first, self.last = source, first, last
        self.tokens, self.pair = source.tokens, source.pair

    def words(self, start: int, end: int) -> str:
        return self.source.text[self.tokens[start].start : self.tokens[end].end]

    def edits(self) -> Iterator[tuple[int, int, str]]:
        for i in range(self.first + 1, self.last):
            token = self.tokens[i]
            if token.text in ("if", "while") and token.kind == "name":
                yield from self.condition(i + 2, self.pair[i + 1] - 1)
            elif token.kind == "name":
                yield from self.name(i)
            elif token.kind == "number":
                yield from self.number(i)
            elif token.kind == "sign":
                yield from self.sign(i)
            if self.begins(i):
                yield from self.statement(i)

    def condition(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        text = self.words(start, end)
        yield start, end, f"0 && ({text})"
        yield start, end, f"1 || ({text})"

    def name(self, i: int) -> Iterator[tuple[int, int, str]]:
        text, before, after = self.tokens[i].text, self.tokens[i - 1].text, self.tokens[i + 1].text
        if text in SWAPS and before != "case":
            yield i, i, SWAPS[text]
        elif text in MEMBERS and (
            (before == "." and self.tokens[i - 2].text in ("csr", "h"))
            or (before == "->" and text in ("address", "physical", "given", "mtimecmp"))
        ):
            yield i, i, MEMBERS[text]
        elif before == "return" and after != ";" and text not in ("OK", "LEAVE", "NULL"):
            end = self.semicolon(i)
            if end is not None:
                yield i, end - 1, f"0 && ({self.words(i, end - 1)})"
                if any(op in self.words(i, end - 1) for op in ("&&", "||", "!", "==", "<=", ">=")):
                    yield i, end - 1, f"1 || ({self.words(i, end - 1)})"
        elif text in ("LEAVE",) and before != "case":
            yield i, i, "OK"
        elif re.fullmatch(r"[A-Z][A-Z0-9_]+", text) and self.masks(i) and after != "(" and text not in SWAPS:
            yield i, i, "0"

    def masks(self, i: int) -> bool:
        """Is the name an operand of & or | alone? Those of a chain fall out as its terms."""
        return self.tokens[i - 1].text in ("&", "&=", "|=") and self.tokens[i + 1].text not in ("|",)

    def number(self, i: int) -> Iterator[tuple[int, int, str]]:
        text = self.tokens[i].text
        bare = text.rstrip("uUlL")
        suffix, value = text[len(bare) :], int(bare, 0)
        if value < 256 and not bare.startswith("0x"):
            yield i, i, f"{value + 1}{suffix}"
        else:
            yield i, i, f"{value >> 1:#x}{suffix}"
            yield i, i, f"{value & value - 1:#x}{suffix}"

    def binary(self, i: int) -> bool:
        """Does an operand stand before?"""
        token = self.tokens[i - 1]
        if token.text == ")" and self.tokens[i - 2].text in _TYPES:
            return False  # of a cast
        return token.text in (")", "]") or (
            token.kind in ("name", "number") and token.text not in ("return", "case", "else")
        )

    def sign(self, i: int) -> Iterator[tuple[int, int, str]]:
        text = self.tokens[i].text
        if text in _COMPARED:
            yield i, i, _COMPARED[text]
        elif text in ("~", "!"):
            yield i, i, ""
        elif text in ("+=", "-=") or (text in _OTHER and self.binary(i)):
            yield i, i, _OTHER[text]
        if text in ("&&", "||") or (text in ("&", "|", "^") and self.binary(i)):
            left, right = self.left(i), self.right(i)
            yield left, i, ""
            if not self.chained(i):
                yield i, right, ""
        if text == "?":
            start = self.left(i)
            condition = self.words(start, i - 1)
            yield start, i - 1, f"(0 && ({condition}))"
            yield start, i - 1, f"(1 || ({condition}))"

    def left(self, i: int) -> int:
        """Where the left operand of the operator at `i` begins: after a weaker or an equal one."""
        strength, at = _BINDING[self.tokens[i].text], i - 1
        while True:
            text = self.tokens[at].text
            if text in (")", "]"):
                at = self.pair[at] - 1
                continue
            if text in _WALLS or (self.tokens[at].kind == "sign" and self.strength(at) <= strength):
                return at + 1
            at -= 1

    def right(self, i: int) -> int:
        strength, at = _BINDING[self.tokens[i].text], i + 1
        while True:
            text = self.tokens[at].text
            if text in _PAIRS and text != "{":
                at = self.pair[at] + 1
                continue
            if text in _WALLS or (at > i + 1 and self.tokens[at].kind == "sign" and self.strength(at) <= strength):
                return at - 1
            at += 1

    def strength(self, at: int) -> int:
        text = self.tokens[at].text
        if text not in _BINDING or (text in ("&", "*", "-", "+") and not self.binary(at)):
            return 99
        return _BINDING[text]

    def chained(self, i: int) -> bool:
        """Does an equal operator follow, which drops the operand between as its left one?"""
        return self.tokens[self.right(i) + 1].text == self.tokens[i].text

    def semicolon(self, i: int) -> int | None:
        """Where the statement ends; None when it is none, but of a list in braces."""
        while (text := self.tokens[i].text) != ";":
            if text in _PAIRS.values():
                return None
            i = self.pair[i] + 1 if text in _PAIRS else i + 1
        return i

    def begins(self, i: int) -> bool:
        """Does a statement begin here?"""
        before = self.tokens[i - 1].text
        if before in (";", "{", "}", "else", ":"):
            if before == ":" and not self.labelled(i):
                return False
        elif before == ")":
            opening = self.tokens[self.pair[i - 1] - 1].text
            if opening not in ("if", "for", "while", "EACH"):
                return False
        else:
            return False
        return True

    def labelled(self, i: int) -> bool:
        return any(self.tokens[at].text in ("case", "default") for at in (i - 3, i - 2))

    def statement(self, i: int) -> Iterator[tuple[int, int, str]]:
        """Delete an assignment or a call."""
        first = self.tokens[i]
        if first.text in _TYPES or (first.kind != "name" and first.text not in ("*", "++", "--")):
            return
        if first.text in ("if", "for", "while", "switch", "case", "default", "return", "else", "do"):
            return
        if self.tokens[i + 1].kind == "name" or (self.tokens[i + 1].text == "*" and first.kind == "name"):
            return  # a declaration
        if any(self.tokens[at].text in ("for",) for at in (i - 2,)):
            return
        end = self.semicolon(i)
        if end is not None:
            yield i, end, ";"
