"""Numbers as people type them: literals, symbols, registers, CSRs and C's integer operators, over 64-bit values.
Comparisons are of unsigned numbers, and give 1 or 0. `*ADDRESS` is the 8 bytes in memory there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from emulator.errors import EmulatorError
from emulator.isa import ABI_NAMES

MASK = (1 << 64) - 1
MAX_LENGTH = 400
MAX_DEPTH = 40


class ExpressionError(EmulatorError):
    """An expression that cannot be read or has no value."""


_TOKEN = re.compile(
    r"\s*(?:((?:\"[^\"]*\"|'[^']*'|[A-Za-z_./][\w./@+~-]*):\d+(?:@\d+)?)"  # FILE:LINE, FUNCTION:LINE
    r"|(0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*[kKmMgG]?)|([A-Za-z_.$][\w.$@]*)|(<<|>>|[<>=!]=|&&|\|\||[-+*/%&|^~()<>!]))"
)
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
    ("*", "/", "%"),
)  # fmt: skip
_SUFFIX = {"k": 10, "m": 20, "g": 30}


def register_number(name: str) -> int | None:
    """x0..x31, the ABI names and fp, with an optional leading $."""
    name = name.removeprefix("$").lower()
    if name == "fp":
        return 8
    if name in ABI_NAMES:
        return ABI_NAMES.index(name)
    if re.fullmatch(r"x([0-9]|[12][0-9]|3[01])", name):
        return int(name[1:])
    return None


def evaluate(
    text: str, resolve: Callable[[str], int | None], memory: Callable[[int], int] | None = None,
    compared: list[tuple[int, str, int]] | None = None,
) -> int:  # fmt: skip
    """The value of `text` modulo 2**64. `resolve` gives a name's value or None, `memory` the 8 bytes at an address.
    Comparisons that are made on the way are added to `compared`: left, operator, right. Raises ExpressionError, and
    whatever `resolve` and `memory` raise."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"expression of {len(text)} characters: at most {MAX_LENGTH}")
    parser = _Parser(text, resolve, memory, compared)
    value = parser.level(0, 0)
    if parser.token:
        raise ExpressionError(f"unexpected {parser.token!r} in {text!r}")
    return value & MASK


class _Parser:
    def __init__(
        self, text: str, resolve: Callable[[str], int | None], memory: Callable[[int], int] | None = None,
        compared: list[tuple[int, str, int]] | None = None,
    ) -> None:
        self.text = text
        self.compared = [] if compared is None else compared
        self.resolve = resolve
        self.memory = memory
        self.tokens = self._split()
        self.token = next(self.tokens)

    def _split(self) -> Iterator[str]:
        position = 0
        text = self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ExpressionError(f"cannot read {text[position:].strip()[:20]!r} in {text!r}")
            yield match.group(match.lastindex or 0)
            position = match.end()
        while True:
            yield ""

    def take(self) -> str:
        token, self.token = self.token, next(self.tokens)
        return token

    def level(self, index: int, depth: int) -> int:
        if index == len(_LEVELS):
            return self.unary(depth)
        value = self.level(index + 1, depth)
        while self.token in _LEVELS[index]:
            operator = self.take()
            if operator == self.token == "*":  # people mean a power, and would get what is in memory
                raise ExpressionError(f"unexpected '*' in {self.text!r}: write a * (*b) to multiply by what is there")
            value = self.apply(operator, value, self.level(index + 1, depth))
        return value

    def apply(self, operator: str, a: int, b: int) -> int:
        if operator in "/%" and b == 0:
            raise ExpressionError(f"division by zero in {self.text!r}")
        if operator in ("==", "!=", "<", "<=", ">", ">="):
            self.compared.append((a, operator, b))
        match operator:
            case "||":
                return int(bool(a or b))
            case "&&":
                return int(bool(a and b))
            case "==":
                return int(a == b)
            case "!=":
                return int(a != b)
            case "<":
                return int(a < b)
            case "<=":
                return int(a <= b)
            case ">":
                return int(a > b)
            case ">=":
                return int(a >= b)
            case "|":
                return a | b
            case "^":
                return a ^ b
            case "&":
                return a & b
            case "<<":
                return (a << b) & MASK if b < 64 else 0
            case ">>":
                return a >> b if b < 64 else 0
            case "+":
                return (a + b) & MASK
            case "-":
                return (a - b) & MASK
            case "*":
                return (a * b) & MASK
            case "/":
                return a // b
            case _:
                return a % b

    def unary(self, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"expression nested deeper than {MAX_DEPTH}")
        token = self.take()
        if token == "-":
            return -self.unary(depth + 1) & MASK
        if token == "~":
            return ~self.unary(depth + 1) & MASK
        if token == "!":
            return int(not self.unary(depth + 1))
        if token == "+":
            return self.unary(depth + 1)
        if token == "*":
            if self.memory is None:
                raise ExpressionError(f"* in {self.text!r}: no memory is read here, only numbers and names")
            return self.memory(self.unary(depth + 1)) & MASK
        if token == "(":
            value = self.level(0, depth + 1)
            if self.take() != ")":
                raise ExpressionError(f"missing ) in {self.text!r}")
            return value
        if not token:
            raise ExpressionError(
                f"expression ends too early: {self.text!r}" if self.text.strip() else "empty expression"
            )
        if token[0].isdigit():
            return self.number(token)
        if not (token[0].isalpha() or token[0] in "_.$" or ":" in token):
            raise ExpressionError(f"unexpected {token!r} in {self.text!r}")
        found = self.resolve(token)
        if found is None:
            raise ExpressionError(f"unknown name {token!r}: no register, CSR or symbol is called that")
        return found & MASK

    def number(self, token: str) -> int:
        digits = token.replace("_", "").lower()
        shift = 0
        if digits[-1] in _SUFFIX and not digits.startswith("0x"):
            shift = _SUFFIX[digits[-1]]
            digits = digits[:-1]
        try:
            value = int(digits, 0 if digits[:2] in ("0x", "0b") else 10) << shift
        except ValueError:
            raise ExpressionError(f"bad number {token!r}") from None
        if value > MASK:
            raise ExpressionError(f"{token} does not fit 64 bits")
        return value
