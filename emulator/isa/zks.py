"""Zksed and Zksh: SM4 and SM3 ("Cryptography Extensions")."""

from __future__ import annotations

from .description import instruction
from .expression import Operand, Value, call, sext

EXTENSION = "Zksed"


def left(value: Operand, by: int) -> Value:
    """A rotation of 32 bits."""
    return call("rotate_right_word", value, 32 - by)


def describe(name: str, funct5: str, function: str) -> None:
    """One byte of rs2, the one that bs names, through S-box and linear layer; added to rs1."""

    @instruction(f"{name} rd, rs1, rs2, bs", f"bs {funct5} rs2 rs1 000 rd 0110011")
    def step(x, rd, rs1, rs2, bs):
        x[rd] = sext(x[rs1] ^ call(function, x[rs2], bs), 32)


describe("sm4ed", "11000", "sm4_round")
describe("sm4ks", "11010", "sm4_key_round")


def describe_permutation(name: str, number: str, a: int, b: int) -> None:
    @instruction(f"{name} rd, rs1", f"0001000 {number} rs1 001 rd 0010011", extension="Zksh")
    def permute(x, rd, rs1):
        x[rd] = sext(x[rs1] ^ left(x[rs1], a) ^ left(x[rs1], b), 32)


describe_permutation("sm3p0", "01000", 9, 17)
describe_permutation("sm3p1", "01001", 15, 23)
