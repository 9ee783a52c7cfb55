"""Zbkb: bit manipulation for cryptography. Rotations, andn, orn, xnor and rev8 are those of Zbb; zip is RV32's."""

from __future__ import annotations

from .description import instruction
from .expression import call, sext, zext

EXTENSION = "Zbkb"


@instruction("pack rd, rs1, rs2", "0000100 rs2 rs1 100 rd 0110011")
def pack(x, rd, rs1, rs2):
    x[rd] = zext(x[rs1], 32) | (x[rs2] << 32)


@instruction("packh rd, rs1, rs2", "0000100 rs2 rs1 111 rd 0110011")
def packh(x, rd, rs1, rs2):
    x[rd] = zext(x[rs1], 8) | (zext(x[rs2], 8) << 8)


@instruction("packw rd, rs1, rs2", "0000100 rs2 rs1 100 rd 0111011")
def packw(x, rd, rs1, rs2):
    """With rs2=x0 it is zext.h of Zbb."""
    x[rd] = sext(zext(x[rs1], 16) | (x[rs2] << 16), 32)


@instruction("brev8 rd, rs1", "011010000111 rs1 101 rd 0010011")
def brev8(x, rd, rs1):
    x[rd] = call("reverse_bits_of_bytes", x[rs1])
