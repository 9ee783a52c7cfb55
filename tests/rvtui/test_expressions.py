from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvtui.expressions import MASK, ExpressionError, evaluate, register_number

NAMES = {"sp": 0x1000, "main": 0x8000_0000, "big": MASK}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x10", 16),
        ("0b101", 5),
        ("1_000", 1000),
        ("4k", 4096),
        ("2M", 2 << 20),
        ("1+2*3", 7),
        ("(1+2)*3", 9),
        ("sp+16", 0x1010),
        ("main + 0x10", 0x8000_0010),
        ("-1", MASK),
        ("~0", MASK),
        ("big+1", 0),
        ("1<<63", 1 << 63),
        ("1<<64", 0),
        ("1<<99999999999", 0),
        ("0xff&0x0f|0x100", 0x10F),
        ("6^3", 5),
        ("7/2", 3),
        ("7%4", 3),
        ("--1", 1),
    ],
)
def test_values(text: str, value: int) -> None:
    assert evaluate(text, NAMES.get) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("1+", "ends too early"),
        ("(1", "missing )"),
        ("1 2", "unexpected"),
        ("1/0", "division by zero"),
        ("1%(2-2)", "division by zero"),
        ("nosuch", "unknown name 'nosuch'"),
        ("0x1_0000_0000_0000_0000", "64 bits"),
        ("1 ? 2", "cannot read"),
        ("0x_", "bad number"),
        ("(" * 100 + "1" + ")" * 100, "nested"),
        ("-" * 300 + "1", "nested"),
        ("1" * 500, "characters"),
    ],
)
def test_errors_are_one_line(text: str, says: str) -> None:
    with pytest.raises(ExpressionError) as error:
        evaluate(text, NAMES.get)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(alphabet="0123456789abcxXmsp+-*/%&|^~()<> kMG_", max_size=60))
def test_anything_gives_a_value_or_an_error(text: str) -> None:
    try:
        value = evaluate(text, NAMES.get)
    except ExpressionError:
        return
    assert 0 <= value <= MASK


@given(st.integers(0, MASK), st.integers(0, MASK))
def test_arithmetic_is_modulo_two_to_the_64(a: int, b: int) -> None:
    assert evaluate(f"{a}+{b:#x}", {}.get) == (a + b) & MASK
    assert evaluate(f"{a:#x}-{b}", {}.get) == (a - b) & MASK
    assert evaluate(f"{a}*{b}", {}.get) == a * b & MASK


def test_register_names() -> None:
    assert [register_number(name) for name in ("zero", "x0", "sp", "x2", "fp", "s0", "t6", "$a0", "X31")] == [
        0, 0, 2, 2, 8, 8, 31, 10, 31,
    ]  # fmt: skip
    assert [register_number(name) for name in ("x32", "x", "pc", "fa0", "")] == [None] * 5
