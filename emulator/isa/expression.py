"""The expression graph: what an instruction's body yields when it runs over symbolic operands.

Every value is 64 bits wide. An operation that works on fewer says so by `sext` and `zext`. Consumers (the C generator,
the explaining sentence, later the translator) walk the graph; none of them knows an instruction by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Value:
    """A node: `op` applied to `args`, which are Values, plain ints or names."""

    op: str
    args: tuple[Any, ...] = ()

    def __add__(self, other: Operand) -> Value:
        return Value("add", (self, other))

    def __sub__(self, other: Operand) -> Value:
        return Value("sub", (self, other))

    def __mul__(self, other: Operand) -> Value:
        return Value("mul", (self, other))

    def __and__(self, other: Operand) -> Value:
        return Value("and", (self, other))

    def __or__(self, other: Operand) -> Value:
        return Value("or", (self, other))

    def __xor__(self, other: Operand) -> Value:
        return Value("xor", (self, other))

    def __invert__(self) -> Value:
        return Value("not", (self,))

    def __lshift__(self, other: Operand) -> Value:
        return Value("shl", (self, other))

    def __rshift__(self, other: Operand) -> Value:
        return Value("shr", (self, other))

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return Value("eq", (self, other))

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return Value("ne", (self, other))

    __hash__ = object.__hash__


Operand = Value | int


def sext(value: Operand, bits: int) -> Value:
    """Sign-extend the low `bits` bits."""
    return Value("sext", (value, bits))


def zext(value: Operand, bits: int) -> Value:
    """Zero-extend the low `bits` bits."""
    return Value("zext", (value, bits))


def select(condition: Operand, when_true: Operand, when_false: Operand) -> Value:
    return Value("select", (condition, when_true, when_false))


def signed_less(left: Operand, right: Operand) -> Value:
    return Value("lt", (left, right))


def less(left: Operand, right: Operand) -> Value:
    """Unsigned comparison."""
    return Value("ltu", (left, right))


def signed_greater_equal(left: Operand, right: Operand) -> Value:
    return Value("ge", (left, right))


def greater_equal(left: Operand, right: Operand) -> Value:
    """Unsigned comparison."""
    return Value("geu", (left, right))


def sra(value: Operand, amount: Operand) -> Value:
    """Arithmetic shift right of 64 bits."""
    return Value("sar", (value, amount))


def call(name: str, *args: Any) -> Value:
    """A pure function that each consumer provides: division with RISC-V's corner cases, bit counts, floating point."""
    return Value("call", (name, *args))


def fp(name: str, bits: int, *args: Any, rm: Operand | None = None) -> Value:
    """A floating-point operation on values of `bits` bits that may raise flags; `rm` is the rounding-mode operand."""
    return Value("fp", (name, bits, args, rm))


@dataclass
class Effect:
    """One change that the instruction makes. Values are those before the instruction: all effects happen at once."""

    kind: str  # x, f, store, jump, do
    args: tuple[Any, ...]


@dataclass
class Trace:
    """Collects the effects of one body."""

    effects: list[Effect] = field(default_factory=list)

    def add(self, kind: str, *args: Any) -> None:
        self.effects.append(Effect(kind, args))


class RegisterFile:
    """`x[rs1]` reads, `x[rd] = value` writes; `f` holds floating-point registers as NaN-boxed patterns."""

    def __init__(self, trace: Trace, kind: str):
        self._trace, self._kind = trace, kind

    def __getitem__(self, operand: Operand) -> Value:
        return Value(self._kind, (operand,))

    def __setitem__(self, operand: Operand, value: Operand) -> None:
        self._trace.add(self._kind, operand, value)


class Memory:
    """Explicit memory accesses; any of them may fault, and then nothing of the instruction has happened."""

    def __init__(self, trace: Trace):
        self._trace = trace

    def load(self, address: Operand, bits: int) -> Value:
        """Zero-extended."""
        return Value("load", (address, bits))

    def store(self, address: Operand, value: Operand, bits: int) -> None:
        self._trace.add("store", address, value, bits)

    def amo(self, address: Operand, bits: int, change: Callable[[Value], Operand]) -> Value:
        """Atomically replace memory by change(old); the value is the old one, zero-extended."""
        old = Value("old", (bits,))
        return Value("amo", (address, bits, change(old)))

    def call(self, name: str, *args: Any) -> Value:
        """An access that only the hart can do: reservations, hypervisor loads. May fault."""
        return Value("access", (name, *args))

    def do(self, name: str, *args: Any) -> None:
        """The same without a value."""
        self._trace.add("access", name, *args)


class ProgramCounter(Value):
    """The address of the instruction; `pc.next` is the address of the following one."""

    def __init__(self, trace: Trace):
        super().__init__("pc")
        object.__setattr__(self, "_trace", trace)

    @property
    def next(self) -> Value:
        return Value("next")

    def jump(self, target: Operand, when: Operand | None = None) -> None:
        self._trace.add("jump", target, when)  # type: ignore[attr-defined]


class HartPrimitives:
    """`hart.do("name", ...)`: what is not an expression. The hart implements it in C; it ends the block."""

    def __init__(self, trace: Trace):
        self._trace = trace

    def do(self, name: str, *args: Any) -> None:
        self._trace.add("do", name, *args)
