"""Zicond Extension for Integer Conditional Operations."""

from __future__ import annotations

from .description import instruction
from .expression import select

EXTENSION = "Zicond"


@instruction("czero.eqz rd, rs1, rs2", "0000111 rs2 rs1 101 rd 0110011")
def czero_eqz(x, rd, rs1, rs2):
    x[rd] = select(x[rs2] == 0, 0, x[rs1])


@instruction("czero.nez rd, rs1, rs2", "0000111 rs2 rs1 111 rd 0110011")
def czero_nez(x, rd, rs1, rs2):
    x[rd] = select(x[rs2] != 0, 0, x[rs1])
