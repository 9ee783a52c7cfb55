"""Zbs: single-bit instructions (B Extension for Bit Manipulation)."""

from __future__ import annotations

from collections.abc import Callable

from .description import instruction
from .expression import Operand, Value

EXTENSION = "Zbs"


def describe(name: str, funct6: str, funct3: str, change: Callable[[Value, Operand], Value]) -> None:
    @instruction(f"{name} rd, rs1, rs2", f"{funct6}0 rs2 rs1 {funct3} rd 0110011")
    def register_form(x, rd, rs1, rs2):
        x[rd] = change(x[rs1], x[rs2] & 63)

    @instruction(f"{name}i rd, rs1, shamt", f"{funct6} shamt rs1 {funct3} rd 0010011")
    def immediate_form(x, rd, rs1, shamt):
        x[rd] = change(x[rs1], shamt)


def bit(index: Operand) -> Value:
    return Value("shl", (1, index))


describe("bclr", "010010", "001", lambda value, index: value & ~bit(index))
describe("bext", "010010", "101", lambda value, index: (value >> index) & 1)
describe("binv", "011010", "001", lambda value, index: value ^ bit(index))
describe("bset", "001010", "001", lambda value, index: value | bit(index))
