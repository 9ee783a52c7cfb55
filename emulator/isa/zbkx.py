"""Zbkx: crossbar permutations. An index outside the vector gives zero."""

from __future__ import annotations

from .description import instruction
from .expression import call

EXTENSION = "Zbkx"


@instruction("xperm8 rd, rs1, rs2", "0010100 rs2 rs1 100 rd 0110011")
def xperm8(x, rd, rs1, rs2):
    x[rd] = call("permute_bytes", x[rs1], x[rs2])


@instruction("xperm4 rd, rs1, rs2", "0010100 rs2 rs1 010 rd 0110011")
def xperm4(x, rd, rs1, rs2):
    x[rd] = call("permute_nibbles", x[rs1], x[rs2])
