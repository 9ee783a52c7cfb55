"""M Extension for Integer Multiplication and Division. Division by zero and overflow have results, not traps."""

from __future__ import annotations

from .description import instruction
from .expression import call, sext, zext

EXTENSION = "M"


@instruction("mul rd, rs1, rs2", "0000001 rs2 rs1 000 rd 0110011", common=True, needs="Zmmul")
def mul(x, rd, rs1, rs2):
    x[rd] = x[rs1] * x[rs2]


@instruction("mulh rd, rs1, rs2", "0000001 rs2 rs1 001 rd 0110011", needs="Zmmul")
def mulh(x, rd, rs1, rs2):
    x[rd] = call("mul_high_signed", x[rs1], x[rs2])


@instruction("mulhsu rd, rs1, rs2", "0000001 rs2 rs1 010 rd 0110011", needs="Zmmul")
def mulhsu(x, rd, rs1, rs2):
    x[rd] = call("mul_high_signed_unsigned", x[rs1], x[rs2])


@instruction("mulhu rd, rs1, rs2", "0000001 rs2 rs1 011 rd 0110011", needs="Zmmul")
def mulhu(x, rd, rs1, rs2):
    x[rd] = call("mul_high", x[rs1], x[rs2])


@instruction("div rd, rs1, rs2", "0000001 rs2 rs1 100 rd 0110011")
def div(x, rd, rs1, rs2):
    x[rd] = call("divide_signed", x[rs1], x[rs2])


@instruction("divu rd, rs1, rs2", "0000001 rs2 rs1 101 rd 0110011")
def divu(x, rd, rs1, rs2):
    x[rd] = call("divide_unsigned", x[rs1], x[rs2])


@instruction("rem rd, rs1, rs2", "0000001 rs2 rs1 110 rd 0110011")
def rem(x, rd, rs1, rs2):
    x[rd] = call("remainder_signed", x[rs1], x[rs2])


@instruction("remu rd, rs1, rs2", "0000001 rs2 rs1 111 rd 0110011")
def remu(x, rd, rs1, rs2):
    x[rd] = call("remainder_unsigned", x[rs1], x[rs2])


@instruction("mulw rd, rs1, rs2", "0000001 rs2 rs1 000 rd 0111011", needs="Zmmul")
def mulw(x, rd, rs1, rs2):
    x[rd] = sext(x[rs1] * x[rs2], 32)


@instruction("divw rd, rs1, rs2", "0000001 rs2 rs1 100 rd 0111011")
def divw(x, rd, rs1, rs2):
    x[rd] = sext(call("divide_signed", sext(x[rs1], 32), sext(x[rs2], 32)), 32)


@instruction("divuw rd, rs1, rs2", "0000001 rs2 rs1 101 rd 0111011")
def divuw(x, rd, rs1, rs2):
    x[rd] = sext(call("divide_unsigned", zext(x[rs1], 32), zext(x[rs2], 32)), 32)


@instruction("remw rd, rs1, rs2", "0000001 rs2 rs1 110 rd 0111011")
def remw(x, rd, rs1, rs2):
    x[rd] = sext(call("remainder_signed", sext(x[rs1], 32), sext(x[rs2], 32)), 32)


@instruction("remuw rd, rs1, rs2", "0000001 rs2 rs1 111 rd 0111011")
def remuw(x, rd, rs1, rs2):
    x[rd] = sext(call("remainder_unsigned", zext(x[rs1], 32), zext(x[rs2], 32)), 32)
