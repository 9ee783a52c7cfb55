"""The software floating point of the hart against exact rational arithmetic and the host's own binary64.

The reference here shares nothing with the C code: values are `Fraction`s, each result is rounded once from the exact
one, as IEEE 754 words it. The C code is compiled into a library of its own, behind its public header.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import random
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCES = Path(__file__).resolve().parents[2] / "emulator" / "hart"

RNE, RTZ, RDN, RUP, RMM = MODES = range(5)
NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16

# Accrued flags on entry: none, and inexact (which lets the host's arithmetic in) with one that must survive.
ENTRY_FLAGS = (0, NX | DZ)

EXPORTS = """
#include "softfloat.h"
#define EXPORT(name, parameters, arguments) uint64_t test_##name parameters { return fp_##name arguments; }
#define UNARY(name) EXPORT(name, (uint64_t a, unsigned w, unsigned rm, uint32_t *f), (a, w, rm, f))
#define BINARY(name) EXPORT(name, (uint64_t a, uint64_t b, unsigned w, unsigned rm, uint32_t *f), (a, b, w, rm, f))
#define PICK(name) EXPORT(name, (uint64_t a, uint64_t b, unsigned w, uint32_t *f), (a, b, w, f))
#define INTEGER(name) EXPORT(name, (uint64_t a, unsigned w, unsigned k, unsigned rm, uint32_t *f), (a, w, k, rm, f))
#define PLAIN(name) EXPORT(name, (uint64_t a), (a))
BINARY(add) BINARY(sub) BINARY(mul) BINARY(div) UNARY(sqrt)
EXPORT(fma, (uint64_t a, uint64_t b, uint64_t c, unsigned w, unsigned rm, uint32_t *f), (a, b, c, w, rm, f))
PICK(min) PICK(max) PICK(eq) PICK(lt) PICK(le)
PICK(minm) PICK(maxm) PICK(leq) PICK(ltq) UNARY(round) UNARY(roundnx)
EXPORT(constant, (uint64_t index, unsigned w), (index, w))
EXPORT(class, (uint64_t a, unsigned w), (a, w))
INTEGER(to_int) INTEGER(from_int)
PLAIN(box32) PLAIN(box16) PLAIN(unbox32) PLAIN(unbox16)
"""


# The reference


@dataclass(frozen=True)
class Format:
    """An IEEE 754 binary interchange format."""

    width: int
    fraction: int

    @property
    def emax(self) -> int:
        return (1 << (self.width - self.fraction - 2)) - 1

    @property
    def emin(self) -> int:
        return 1 - self.emax

    @property
    def sign(self) -> int:
        return 1 << (self.width - 1)

    @property
    def infinity(self) -> int:
        return (2 * self.emax + 1) << self.fraction

    @property
    def nan(self) -> int:
        return {16: 0x7E00, 32: 0x7FC00000, 64: 0x7FF8000000000000}[self.width]


F16, F32, F64 = Format(16, 10), Format(32, 23), Format(64, 52)
REGISTER_FORMATS = pytest.mark.parametrize("fmt", [F16, F32, F64], ids=["f16", "f32", "f64"])


@dataclass(frozen=True)
class Value:
    """What a pattern stands for. `exact` is None for infinities and NaNs."""

    negative: bool
    exact: Fraction | None
    nan: bool = False
    signaling: bool = False

    @property
    def infinite(self) -> bool:
        return self.exact is None and not self.nan

    @property
    def zero(self) -> bool:
        return self.exact == 0

    def __neg__(self) -> Value:
        return Value(not self.negative, None if self.exact is None else -self.exact, self.nan, self.signaling)


@lru_cache(maxsize=4096)
def decode(bits: int, fmt: Format) -> Value:
    negative = bool(bits & fmt.sign)
    exponent, fraction = divmod(bits & (fmt.sign - 1), 1 << fmt.fraction)
    if exponent == 2 * fmt.emax + 1:
        quiet = bool(fraction >> (fmt.fraction - 1))
        return Value(negative, None, nan=fraction != 0, signaling=fraction != 0 and not quiet)
    significand = Fraction(fraction, 1 << fmt.fraction) + (exponent > 0)
    exact = significand * Fraction(2) ** (max(exponent, 1) - fmt.emax)
    return Value(negative, -exact if negative else exact)


def round_integer(whole: int, rest: int, unit: int, negative: bool, rm: int) -> int:
    """`whole + rest/unit`, the magnitude of a number, to an integer."""
    if rm in (RNE, RMM):
        return whole + (2 * rest > unit or (2 * rest == unit and (rm == RMM or whole % 2 == 1)))
    return whole + (rest > 0 and rm == (RDN if negative else RUP))


def round_exact(exact: Fraction, fmt: Format, rm: int) -> tuple[int, int]:
    """Pattern and flags of a number that is not zero."""
    negative = exact < 0
    numerator, denominator = abs(exact).as_integer_ratio()
    exponent = numerator.bit_length() - denominator.bit_length()
    if numerator << max(-exponent, 0) < denominator << max(exponent, 0):
        exponent -= 1

    def at(exponent: int) -> tuple[int, bool]:
        """In units of the last place of that binade, and whether this is exact."""
        place = exponent - fmt.fraction
        unit = denominator << max(place, 0)
        whole, rest = divmod(numerator << max(-place, 0), unit)
        return round_integer(whole, rest, unit, negative, rm), rest == 0

    unbounded, exactly = at(exponent)
    flags = 0 if exactly else NX
    overflowed = exponent > fmt.emax or (exponent == fmt.emax and unbounded == 2 << fmt.fraction)
    sign = fmt.sign if negative else 0
    if overflowed:
        to_infinity = rm in (RNE, RMM) or rm == (RDN if negative else RUP)
        return sign | (fmt.infinity if to_infinity else fmt.infinity - 1), OF | NX
    if exponent < fmt.emin:
        tiny = not (exponent == fmt.emin - 1 and unbounded == 2 << fmt.fraction)
        units, exactly = at(fmt.emin)
        flags = 0 if exactly else NX | UF if tiny else NX
        return sign | units, flags
    return sign | ((exponent - fmt.emin) << fmt.fraction) + unbounded, flags


# What an exact operation gives: a number, with the sign a zero takes (None: by the rounding mode); an infinity;
# or no value.
Outcome = tuple[Fraction, bool | None] | tuple[None, bool] | None


def exact_add(x: Value, y: Value) -> Outcome:
    if x.infinite and y.infinite and x.negative != y.negative:
        return None
    if x.exact is None or y.exact is None:
        return None, x.negative if x.infinite else y.negative
    return x.exact + y.exact, x.negative if x.negative == y.negative else None


def exact_sub(x: Value, y: Value) -> Outcome:
    return exact_add(x, -y)


def exact_mul(x: Value, y: Value) -> Outcome:
    negative = x.negative != y.negative
    if x.exact is None or y.exact is None:
        return None if x.zero or y.zero else (None, negative)
    return x.exact * y.exact, negative


def exact_div(x: Value, y: Value) -> Outcome:
    negative = x.negative != y.negative
    if (x.infinite and y.infinite) or (x.zero and y.zero):
        return None
    if x.exact is None or y.zero:
        return None, negative
    return (Fraction(0) if y.exact is None else x.exact / y.exact), negative


def exact_sqrt(x: Value) -> Outcome:
    if x.zero:
        return Fraction(0), x.negative
    if x.negative:
        return None
    if x.exact is None:
        return None, False
    # Enough digits that what follows them can only be told from zero, and then half a unit in their place.
    shift = 256 + 2 * x.exact.denominator.bit_length()
    scaled = x.exact.numerator * (1 << 2 * shift) // x.exact.denominator
    root = math.isqrt(scaled)
    found = Fraction(root, 1 << shift)
    return (found if found * found == x.exact else found + Fraction(1, 2 << shift)), False


def exact_fma(x: Value, y: Value, z: Value) -> Outcome:
    product = exact_mul(x, y)
    if product is None:
        return None
    exact, negative = product
    assert negative is not None
    return exact_add(Value(negative, exact), z)


EXACT: dict[str, Callable[..., Outcome]] = {
    "add": exact_add,
    "sub": exact_sub,
    "mul": exact_mul,
    "div": exact_div,
    "sqrt": exact_sqrt,
    "fma": exact_fma,
}


def expected(operation: str, operands: tuple[int, ...], fmt: Format) -> list[tuple[int, int]]:
    """Pattern and flags in each rounding mode."""
    values = [decode(bits, fmt) for bits in operands]
    if any(value.nan for value in values):
        # Manual, "F": infinity times zero is invalid even when a quiet NaN is added to it.
        bad_product = operation == "fma" and any(a.infinite and b.zero for a, b in (values[:2], values[1::-1]))
        invalid = bad_product or any(value.signaling for value in values)
        return [(fmt.nan, NV if invalid else 0)] * 5
    outcome = EXACT[operation](*values)
    if outcome is None:
        return [(fmt.nan, NV)] * 5
    exact, negative = outcome
    if exact is None:
        by_zero = operation == "div" and not values[0].infinite
        return [((fmt.sign if negative else 0) | fmt.infinity, DZ if by_zero else 0)] * 5
    if exact == 0:
        return [(fmt.sign if (rm == RDN if negative is None else negative) else 0, 0) for rm in MODES]
    return [round_exact(exact, fmt, rm) for rm in MODES]


# The code under test


def compile_library(directory: Path) -> ctypes.CDLL:
    candidates = [(sysconfig.get_config_var("CC") or "").split(), ["cc"], ["gcc"], ["clang"]]
    found = [command for command in candidates if command and shutil.which(command[0])]
    compiler = found[0] if found else [sys.executable, "-m", "ziglang", "cc"]
    exports, library = directory / "exports.c", directory / "softfloat.so"
    exports.write_text(EXPORTS)
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", f"-I{SOURCES}"]
    subprocess.run([*compiler, *flags, str(exports), str(SOURCES / "softfloat.c"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


class Library:
    """Calls by name, each made once for each of ENTRY_FLAGS; the flags raised must come OR-ed in."""

    def __init__(self, directory: Path) -> None:
        self._library = compile_library(directory)
        self._functions: dict[str, Any] = {}
        self._flags = ctypes.c_uint32()

    def _function(self, name: str, arguments: int, patterns: int) -> Any:
        function = self._functions.get(name)
        if function is None:
            function = self._library[name]
            function.restype = ctypes.c_uint64
            words: list[Any] = [ctypes.c_uint64] * patterns + [ctypes.c_uint] * (arguments - patterns)
            function.argtypes = [*words, ctypes.POINTER(ctypes.c_uint32)]
            self._functions[name] = function
        return function

    def check(self, name: str, patterns: tuple[int, ...], settings: tuple[int, ...], wanted: tuple[int, int]) -> None:
        function = self._function(name, len(patterns) + len(settings), len(patterns))
        for entry in ENTRY_FLAGS:
            self._flags.value = entry
            result = function(*patterns, *settings, self._flags)
            got = (result, self._flags.value)
            if got != (wanted[0], wanted[1] | entry):
                raise AssertionError(
                    f"{name}({', '.join(map(hex, patterns))}; {settings}) with flags {entry:#x}: "
                    f"{got[0]:#x} flags {got[1]:#x}, expected {wanted[0]:#x} flags {wanted[1] | entry:#x}"
                )

    def check_arithmetic(self, operation: str, operands: tuple[int, ...], fmt: Format) -> None:
        for rm, wanted in zip(MODES, expected(operation, operands, fmt), strict=True):
            self.check(f"test_{operation}", operands, (fmt.width, rm), wanted)

    def plain(self, name: str, *arguments: int) -> int:
        """A function of patterns alone."""
        function = self._library[name]
        function.restype = ctypes.c_uint64
        function.argtypes = [ctypes.c_uint64] * len(arguments)
        result: int = function(*arguments)
        return result


@pytest.fixture(scope="module")
def fp(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("softfloat"))


# Operands


def both_signs(fmt: Format, magnitudes: Iterable[int]) -> list[int]:
    unique = list(dict.fromkeys(magnitudes))
    return unique + [bits | fmt.sign for bits in unique]


def edges(fmt: Format, *, few: bool = False) -> list[int]:
    """Patterns at the borders of every class, and ones whose sums and products come to lie on borders."""
    unit = 1 << fmt.fraction
    one = fmt.emax << fmt.fraction
    least_normal = unit
    chosen = [0, 1, least_normal - 1, least_normal, one, one + 1, fmt.infinity - 1, fmt.infinity, fmt.nan]
    chosen += [one - unit, one - 1, one + unit // 2, fmt.infinity | 1]
    if not few:
        half_exponent = (fmt.emax // 2 + 1) << fmt.fraction
        chosen += [2, 3, least_normal // 2, least_normal + 1, 2 * least_normal, 2 * least_normal - 1]
        chosen += [one + unit - 1, one + unit, fmt.infinity - unit, fmt.infinity - unit + 1, fmt.infinity - 2]
        chosen += [half_exponent, half_exponent - 1, half_exponent + 1, one + half_exponent]
        chosen += [one + (fmt.fraction << fmt.fraction), one + ((fmt.fraction + 1) << fmt.fraction) + 1]
        chosen += [one - ((fmt.fraction + 1) << fmt.fraction), one - ((fmt.fraction + 1) << fmt.fraction) + 1]
        chosen += [one - ((fmt.fraction + 2) << fmt.fraction) - 1]
        chosen += [fmt.nan | 1, fmt.sign - 1, fmt.infinity | unit // 4]
    return both_signs(fmt, chosen)


def compose(fmt: Format, sign: int, exponent: int, fraction: int) -> int:
    exponent = min(max(exponent, 0), 2 * fmt.emax + 1)
    return sign * fmt.sign | exponent << fmt.fraction | fraction & ((1 << fmt.fraction) - 1)


def sparse(generator: random.Random, bits: int) -> int:
    """Few ones, few zeros, or anything: what makes ties, long carries and exact results likely."""
    shape = generator.randrange(4)
    if shape == 0:
        return generator.getrandbits(bits)
    value = 0
    for _ in range(generator.randrange(4)):
        value ^= 1 << generator.randrange(bits)
    if shape == 1:
        return value
    return value ^ (((1 << bits) - 1) if shape == 2 else -1 << generator.randrange(bits)) & ((1 << bits) - 1)


def near(generator: random.Random, fmt: Format, exponent: int, spread: int) -> int:
    """A number whose biased exponent lies around `exponent`."""
    exponent += generator.randint(-spread, spread)
    return compose(fmt, generator.randrange(2), exponent, sparse(generator, fmt.fraction))


def patterns(fmt: Format) -> st.SearchStrategy[int]:
    places = st.integers(0, fmt.fraction)
    fields = st.builds(
        compose,
        st.just(fmt),
        st.integers(0, 1),
        st.one_of(st.integers(0, 2 * fmt.emax + 1), st.integers(fmt.emax - 4, fmt.emax + 4)),
        st.builds(lambda low, high: (1 << low) ^ -(1 << high), places, places),
    )
    return st.one_of(st.sampled_from(edges(fmt)), st.integers(0, 2 * fmt.sign - 1), fields)


search = settings(max_examples=150, deadline=None, derandomize=True, database=None)


# Arithmetic


@REGISTER_FORMATS
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_every_pair_of_edges(fp: Library, operation: str, fmt: Format) -> None:
    for operands in itertools.product(edges(fmt), repeat=2):
        fp.check_arithmetic(operation, operands, fmt)


@REGISTER_FORMATS
def test_every_triple_of_edges_fused(fp: Library, fmt: Format) -> None:
    for operands in itertools.product(edges(fmt, few=True), repeat=3):
        fp.check_arithmetic("fma", operands, fmt)


@REGISTER_FORMATS
def test_square_root_of_edges_and_of_the_neighbours_of_squares(fp: Library, fmt: Format) -> None:
    generator = random.Random(1)
    inputs = edges(fmt)
    for _ in range(1000):
        short = decode(near(generator, fmt, fmt.emax, fmt.emax // 2), fmt).exact
        assert short is not None
        square = round_exact(short * short, fmt, RNE)[0] & ~fmt.sign
        inputs += [square - 1, square, square + 1]
    # All roots of the largest and smallest significands lie next to borders of the iteration inside.
    inputs += [compose(fmt, 0, fmt.emax + odd, fraction) for odd in (0, 1) for fraction in (*range(64), *range(-64, 0))]
    for operand in inputs:
        fp.check_arithmetic("sqrt", (operand,), fmt)


@REGISTER_FORMATS
def test_sums_that_cancel_and_sums_of_distant_operands(fp: Library, fmt: Format) -> None:
    generator = random.Random(2)
    for _ in range(2000):
        exponent = generator.randrange(2 * fmt.emax + 1)
        distance = generator.choice((0, 1, 2, fmt.fraction, fmt.fraction + 1, fmt.fraction + 2, fmt.fraction + 3))
        operands = near(generator, fmt, exponent, 0), near(generator, fmt, exponent - distance, 1)
        fp.check_arithmetic(generator.choice(("add", "sub")), operands, fmt)


@REGISTER_FORMATS
def test_products_and_quotients_at_the_ends_of_the_range(fp: Library, fmt: Format) -> None:
    generator = random.Random(3)
    for _ in range(1500):
        target = generator.choice((-fmt.fraction, -fmt.fraction // 2, 0, 1, 2 * fmt.emax, 2 * fmt.emax + 1))
        first = generator.randrange(1, 2 * fmt.emax + 1)
        fp.check_arithmetic(
            "mul", (near(generator, fmt, first, 0), near(generator, fmt, target - first + fmt.emax, 1)), fmt
        )
        fp.check_arithmetic(
            "div", (near(generator, fmt, first, 0), near(generator, fmt, first - target + fmt.emax, 1)), fmt
        )


@REGISTER_FORMATS
def test_fused_addend_against_product(fp: Library, fmt: Format) -> None:
    """The addend cancels the rounded product (what remains is its rounding error), or only just reaches it."""
    generator = random.Random(4)
    for _ in range(1500):
        total = generator.choice((1, 2 * fmt.emax - 1, generator.randrange(1, 2 * fmt.emax + 1)))
        first = generator.randrange(max(1, total - fmt.emax), min(2 * fmt.emax, total + fmt.emax) + 1)
        a, b = near(generator, fmt, first, 0), near(generator, fmt, total - first + fmt.emax, 1)
        product = expected("mul", (a, b), fmt)[RTZ][0] ^ fmt.sign
        reach = generator.choice((0, 1, 2, fmt.fraction, fmt.fraction + 2, 2 * fmt.fraction, 2 * fmt.fraction + 4))
        addends = [
            product + generator.choice((-1, 0, 0, 1)) & (2 * fmt.sign - 1),
            near(generator, fmt, total - reach, 1),
            near(generator, fmt, total + reach, 1),
        ]
        for c in addends:
            fp.check_arithmetic("fma", (a, b, c), fmt)


@search
@given(data=st.data())
@pytest.mark.parametrize("operation", EXACT)
@REGISTER_FORMATS
def test_any_patterns(fp: Library, fmt: Format, operation: str, data: st.DataObject) -> None:
    count = {"sqrt": 1, "fma": 3}.get(operation, 2)
    fp.check_arithmetic(operation, tuple(data.draw(patterns(fmt), label="operand") for _ in range(count)), fmt)


def test_binary64_as_the_host_computes_it(fp: Library) -> None:
    def bits_of(value: float) -> int:
        return F64.nan if math.isnan(value) else int.from_bytes(struct.pack("<d", value), "little")

    def double(bits: int) -> float:
        value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
        return value

    host: dict[str, Callable[[float, float], float]] = {
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y,
        "sqrt": lambda x, y: math.sqrt(abs(x)),
    }
    flags = ctypes.c_uint32()
    generator = random.Random(5)
    for _ in range(5000):
        a = generator.choice((generator.getrandbits(64), near(generator, F64, F64.emax, 30)))
        b = generator.choice((generator.getrandbits(64), near(generator, F64, a >> 52 & 0x7FF, 3))) | 1
        for operation, compute in host.items():
            arguments = (a & ~F64.sign,) if operation == "sqrt" else (a, b)
            function = fp._function(f"test_{operation}", len(arguments) + 2, len(arguments))
            wanted = bits_of(compute(double(a), double(b)))
            for flags.value in ENTRY_FLAGS:
                got = function(*arguments, 64, RNE, flags)
                assert got == wanted, f"{operation} {a:#x} {b:#x}: {got:#x}, the host says {wanted:#x}"


# Comparison and classification


@REGISTER_FORMATS
def test_comparisons(fp: Library, fmt: Format) -> None:
    for a, b in itertools.product(edges(fmt), repeat=2):
        x, y = decode(a, fmt), decode(b, fmt)
        signaling = NV if x.signaling or y.signaling else 0
        if x.nan or y.nan:
            results = {"eq": (0, signaling), "lt": (0, NV), "le": (0, NV), "ltq": (0, signaling), "leq": (0, signaling)}
        else:
            u, v = (
                (-math.inf if value.negative else math.inf) if value.exact is None else value.exact for value in (x, y)
            )
            results = {"eq": (u == v, 0)} | dict.fromkeys(("lt", "ltq"), (u < v, 0))
            results |= dict.fromkeys(("le", "leq"), (u <= v, 0))
        for name, (holds, flags) in results.items():
            fp.check(f"test_{name}", (a, b), (fmt.width,), (int(holds), flags))


@REGISTER_FORMATS
def test_minimum_and_maximum_number(fp: Library, fmt: Format) -> None:
    """Version 2.2 of "F": a number wins over any NaN, a signaling one raises NV, -0 is less than +0."""
    for a, b in itertools.product(edges(fmt), repeat=2):
        x, y = decode(a, fmt), decode(b, fmt)
        numbers = [(bits, value) for bits, value in ((a, x), (b, y)) if not value.nan]

        def rank(item: tuple[int, Value]) -> tuple[Fraction | float, bool]:
            value = item[1]
            infinity = -math.inf if value.negative else math.inf
            return (infinity if value.exact is None else value.exact), not value.negative

        flags = NV if x.signaling or y.signaling else 0
        for name, pick in (("min", min), ("max", max)):
            wanted = pick(numbers, key=rank)[0] if numbers else fmt.nan
            fp.check(f"test_{name}", (a, b), (fmt.width,), (wanted, flags))
            # Zfa: the same, except that any NaN makes a NaN.
            fp.check(f"test_{name}m", (a, b), (fmt.width,), (wanted if len(numbers) == 2 else fmt.nan, flags))


@REGISTER_FORMATS
def test_classes(fp: Library, fmt: Format) -> None:
    smallest_normal = Fraction(2) ** fmt.emin
    seen = set()
    for bits in edges(fmt):
        value = decode(bits, fmt)
        if value.nan:
            wanted = 8 if value.signaling else 9
        else:
            subnormal = value.exact is not None and abs(value.exact) < smallest_normal
            step = [value.zero, subnormal, not value.infinite, True].index(True)
            wanted = 3 - step if value.negative else 4 + step
        seen.add(wanted)
        assert fp.plain("test_class", bits, fmt.width) == 1 << wanted, hex(bits)
    assert seen == set(range(10))


# Conversion

RANGES = [(-(1 << 31), (1 << 31) - 1), (0, (1 << 32) - 1), (-(1 << 63), (1 << 63) - 1), (0, (1 << 64) - 1)]
KINDS = pytest.mark.parametrize("kind", range(4), ids=["w", "wu", "l", "lu"])


def expected_integer(value: Value, kind: int, rm: int) -> tuple[int, int]:
    low, high = RANGES[kind]
    if value.exact is None:
        integer, flags = (low if value.infinite and value.negative else high), NV
    else:
        whole, rest = divmod(abs(value.exact.numerator), value.exact.denominator)
        integer = round_integer(whole, rest, value.exact.denominator, value.negative, rm)
        integer = -integer if value.negative else integer
        flags = NX if rest else 0
        if not low <= integer <= high:
            integer, flags = (low if value.negative else high), NV
    if kind < 2 and integer >> 31 & 1:
        integer |= -1 << 32
    return integer & ((1 << 64) - 1), flags


def integer_borders(fmt: Format) -> Iterator[int]:
    for power in (0, 1, 2, 24, 31, 32, 53, 63, 64):
        for offset in (Fraction(n, 8) for n in range(-20, 21)):
            exact = (1 << power) + offset
            if exact:
                yield round_exact(exact, fmt, RTZ)[0]
        border = round_exact(Fraction(1 << power), fmt, RTZ)[0]
        yield from (border + ulps for ulps in range(-3, 4))


@KINDS
@REGISTER_FORMATS
def test_to_integer(fp: Library, fmt: Format, kind: int) -> None:
    generator = random.Random(6)
    inputs = edges(fmt) + both_signs(fmt, integer_borders(fmt))
    inputs += [near(generator, fmt, fmt.emax + 30, 36) for _ in range(800)]
    for operand in inputs:
        for rm in MODES:
            fp.check("test_to_int", (operand,), (fmt.width, kind, rm), expected_integer(decode(operand, fmt), kind, rm))


@KINDS
@REGISTER_FORMATS
def test_from_integer(fp: Library, fmt: Format, kind: int) -> None:
    generator = random.Random(7)
    inputs = [(1 << power) + offset for power in range(65) for offset in (-2, -1, 0, 1, 2, 3)]
    inputs += [-value for value in inputs]
    inputs += [sparse(generator, generator.randint(1, 64)) for _ in range(800)]
    low, high = RANGES[kind]
    width = 32 if kind < 2 else 64
    for raw in inputs:
        integer = raw & ((1 << width) - 1)
        if integer > high:
            integer -= 1 << width
        assert low <= integer <= high
        for rm in MODES:
            wanted = round_exact(Fraction(integer), fmt, rm) if integer else (0, 0)
            fp.check("test_from_int", (raw & ((1 << 64) - 1),), (fmt.width, kind, rm), wanted)


def expected_integral(bits: int, fmt: Format, rm: int) -> tuple[int, int]:
    """Zfa, "Round-to-Integer Instructions": the result, and the flags of FROUNDNX."""
    value = decode(bits, fmt)
    if value.nan:
        return fmt.nan, NV if value.signaling else 0
    if not value.exact:
        return bits, 0
    whole, rest = divmod(abs(value.exact.numerator), value.exact.denominator)
    integer = round_integer(whole, rest, value.exact.denominator, value.negative, rm)
    pattern = round_exact(Fraction(integer), fmt, rm)[0] if integer else 0
    return pattern | (fmt.sign if value.negative else 0), NX if rest else 0


@REGISTER_FORMATS
def test_rounding_to_an_integer_in_the_same_format(fp: Library, fmt: Format) -> None:
    generator = random.Random(10)
    inputs = edges(fmt) + both_signs(fmt, integer_borders(fmt))
    inputs += [near(generator, fmt, fmt.emax + fmt.fraction // 2, fmt.fraction // 2 + 3) for _ in range(1500)]
    if fmt is F16:
        inputs = list(range(1 << 16))
    for bits in inputs:
        for rm in MODES:
            pattern, flags = expected_integral(bits, fmt, rm)
            fp.check("test_roundnx", (bits,), (fmt.width, rm), (pattern, flags))
            fp.check("test_round", (bits,), (fmt.width, rm), (pattern, flags & ~NX))


def test_modular_conversion(fp: Library) -> None:
    """Zfa, "Modular Convert-to-Integer Instruction"."""
    generator = random.Random(11)
    inputs = edges(F64) + both_signs(F64, integer_borders(F64))
    inputs += [near(generator, F64, F64.emax + 50, 56) for _ in range(3000)]
    for bits in inputs:
        value = decode(bits, F64)
        flags = expected_integer(value, 0, RTZ)[1]
        low = 0 if value.exact is None else math.trunc(value.exact) % (1 << 32)
        fp.check("f64_to_word_modular", (bits,), (), ((low ^ 1 << 31) - (1 << 31) & (1 << 64) - 1, flags))


@REGISTER_FORMATS
def test_immediate_constants(fp: Library, fmt: Format) -> None:
    """Zfa, table "Immediate values loaded by the FLI.S instruction", which 2^16 in binary16 exceeds."""
    exact = [Fraction(-1), Fraction(2) ** fmt.emin, *(Fraction(2) ** n for n in (-16, -15, -8, -7, -4, -3))]
    exact += [Fraction(n, 16) for n in (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48)]
    exact += [Fraction(2) ** n for n in (2, 3, 4, 7, 8, 15, 16)]
    patterns = [round_exact(value, fmt, RNE)[0] for value in exact] + [fmt.infinity, fmt.nan]
    assert [fp.plain("test_constant", index, fmt.width) for index in range(32)] == patterns


def expected_conversion(bits: int, source: Format, target: Format, rm: int) -> tuple[int, int]:
    value = decode(bits, source)
    if value.nan:
        return target.nan, NV if value.signaling else 0
    if value.exact:
        return round_exact(value.exact, target, rm)
    return (target.sign if value.negative else 0) | (target.infinity if value.infinite else 0), 0


def test_every_binary16_widens_exactly(fp: Library) -> None:
    for bits in range(1 << 16):
        for target in (F32, F64):
            wanted = expected_conversion(bits, F16, target, RNE)
            assert wanted[1] in (0, NV)
            fp.check(f"f16_to_f{target.width}", (bits,), (), wanted)


def test_binary32_widens_exactly(fp: Library) -> None:
    generator = random.Random(8)
    for bits in edges(F32) + [generator.getrandbits(32) for _ in range(3000)]:
        wanted = expected_conversion(bits, F32, F64, RNE)
        assert wanted[1] in (0, NV)
        fp.check("f32_to_f64", (bits,), (), wanted)


@pytest.mark.parametrize(
    ("source", "target"), [(F64, F32), (F64, F16), (F32, F16)], ids=["f64_to_f32", "f64_to_f16", "f32_to_f16"]
)
def test_narrowing(fp: Library, source: Format, target: Format) -> None:
    """Around values of the target and the midpoints between them, over its whole range and past both ends."""
    generator = random.Random(9)
    inputs = edges(source) + [generator.getrandbits(source.width) for _ in range(500)]
    narrow = edges(target) + [generator.getrandbits(target.width) for _ in range(500)]
    for bits in narrow:
        base = decode(bits, target).exact
        following = decode(bits + 1 & (2 * target.sign - 1), target).exact
        if base is None or following is None:
            continue
        for exact in (base, (base + following) / 2):
            wide = round_exact(exact, source, RTZ)[0] if exact else 0
            inputs += [wide + ulps & (2 * source.sign - 1) for ulps in (-1, 0, 1)]
    top = compose(source, 0, source.emax + target.emax + 1, 0)
    bottom = compose(source, 0, source.emax + target.emin - target.fraction - 1, 0)
    inputs += both_signs(source, (border + ulps for border in (top, bottom) for ulps in range(-3, 4)))
    for bits in inputs:
        for rm in MODES:
            wanted = expected_conversion(bits, source, target, rm)
            fp.check(f"f{source.width}_to_f{target.width}", (bits,), (rm,), wanted)


# The manual's words, one by one


@pytest.mark.parametrize(
    ("name", "patterns", "settings", "result", "flags"),
    [
        ("test_add", (0x7F800000, 0xFF800000), (32, RNE), 0x7FC00000, NV),
        ("test_add", (0x7FF0000000000001, 0), (64, RNE), 0x7FF8000000000000, NV),
        ("test_add", (0xFFF8000000000123, 0), (64, RNE), 0x7FF8000000000000, 0),
        ("test_div", (0x3F800000, 0x80000000), (32, RNE), 0xFF800000, DZ),
        ("test_fma", (0x7F800000, 0, 0x7FC00000), (32, RNE), 0x7FC00000, NV),
        # (1 - 2^-46) * 2^-126 rounds to the smallest normal in 24 bits: inexact, not tiny.
        ("test_mul", (0x3F7FFFFE, 0x00800001), (32, RNE), 0x00800000, NX),
        # (1 - 2^-24) * 2^-126 has 24 bits: tiny, though delivered as the same smallest normal.
        ("test_mul", (0x3F7FFFFF, 0x00800000), (32, RNE), 0x00800000, NX | UF),
        # The same by fusing: 2^-126 - 2^-100 * 2^-50.
        ("test_fma", (0x0D800000, 0xA6800000, 0x00800000), (32, RNE), 0x00800000, NX | UF),
        ("test_to_int", (0xBF7FFFFF,), (32, 1, RTZ), 0, NX),
        ("test_to_int", (0xBF800000,), (32, 1, RTZ), 0, NV),
        ("test_to_int", (0x7FC00000,), (32, 1, RNE), 0xFFFFFFFFFFFFFFFF, NV),
        ("test_to_int", (0x4F000000,), (32, 1, RNE), 0xFFFFFFFF80000000, 0),
    ],
)
def test_known_results(
    fp: Library, name: str, patterns: tuple[int, ...], settings: tuple[int, ...], result: int, flags: int
) -> None:
    fp.check(name, patterns, settings, (result, flags))


def test_nan_boxes(fp: Library) -> None:
    """ "D", NaN Boxing of Narrower Values: what is not properly boxed reads as the canonical NaN."""
    assert fp.plain("test_box32", 0x3F800000) == 0xFFFFFFFF3F800000
    assert fp.plain("test_box16", 0x3C00) == 0xFFFFFFFFFFFF3C00
    for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        assert fp.plain("test_unbox32", 0xFFFFFFFF << 32 | value) == value
        assert fp.plain("test_unbox32", 0xFFFFFFFE << 32 | value) == F32.nan
        assert fp.plain("test_unbox32", 0x7FFFFFFF << 32 | value) == F32.nan
    for value in (0, 0x7FFF, 0x8000, 0xFFFF):
        assert fp.plain("test_unbox16", 0xFFFFFFFFFFFF << 16 | value) == value
        assert fp.plain("test_unbox16", 0xFFFFFFFFFFFE << 16 | value) == F16.nan
        assert fp.plain("test_unbox16", 0xFFFFFFFF << 16 | value) == F16.nan
