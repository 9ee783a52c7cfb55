"""Zba: address generation (B Extension for Bit Manipulation)."""

from __future__ import annotations

from .description import instruction
from .expression import zext

EXTENSION = "Zba"


@instruction("add.uw rd, rs1, rs2", "0000100 rs2 rs1 000 rd 0111011", aliases={"zext.w rd, rs1": {"rs2": 0}})
def add_uw(x, rd, rs1, rs2):
    x[rd] = x[rs2] + zext(x[rs1], 32)


@instruction("slli.uw rd, rs1, shamt", "000010 shamt rs1 001 rd 0011011")
def slli_uw(x, rd, rs1, shamt):
    x[rd] = zext(x[rs1], 32) << shamt


def describe(amount: int, funct3: str) -> None:
    @instruction(f"sh{amount}add rd, rs1, rs2", f"0010000 rs2 rs1 {funct3} rd 0110011")
    def shadd(x, rd, rs1, rs2):
        x[rd] = x[rs2] + (x[rs1] << amount)

    @instruction(f"sh{amount}add.uw rd, rs1, rs2", f"0010000 rs2 rs1 {funct3} rd 0111011")
    def shadd_uw(x, rd, rs1, rs2):
        x[rd] = x[rs2] + (zext(x[rs1], 32) << amount)


for _amount, _funct3 in ((1, "010"), (2, "100"), (3, "110")):
    describe(_amount, _funct3)
