"""Zbb: basic bit manipulation (B Extension for Bit Manipulation)."""

from __future__ import annotations

from .description import instruction
from .expression import call, less, select, sext, signed_less, zext

EXTENSION = "Zbb"
SHARED = "Zbb|Zbkb"


@instruction("andn rd, rs1, rs2", "0100000 rs2 rs1 111 rd 0110011", needs=SHARED)
def andn(x, rd, rs1, rs2):
    x[rd] = x[rs1] & ~x[rs2]


@instruction("orn rd, rs1, rs2", "0100000 rs2 rs1 110 rd 0110011", needs=SHARED)
def orn(x, rd, rs1, rs2):
    x[rd] = x[rs1] | ~x[rs2]


@instruction("xnor rd, rs1, rs2", "0100000 rs2 rs1 100 rd 0110011", needs=SHARED)
def xnor(x, rd, rs1, rs2):
    x[rd] = ~(x[rs1] ^ x[rs2])


@instruction("clz rd, rs1", "0110000 00000 rs1 001 rd 0010011")
def clz(x, rd, rs1):
    x[rd] = call("leading_zeros", x[rs1])


@instruction("ctz rd, rs1", "0110000 00001 rs1 001 rd 0010011")
def ctz(x, rd, rs1):
    x[rd] = call("trailing_zeros", x[rs1])


@instruction("cpop rd, rs1", "0110000 00010 rs1 001 rd 0010011")
def cpop(x, rd, rs1):
    x[rd] = call("ones", x[rs1])


@instruction("clzw rd, rs1", "0110000 00000 rs1 001 rd 0011011")
def clzw(x, rd, rs1):
    x[rd] = call("leading_zeros", zext(x[rs1], 32)) - 32


@instruction("ctzw rd, rs1", "0110000 00001 rs1 001 rd 0011011")
def ctzw(x, rd, rs1):
    x[rd] = call("trailing_zeros", x[rs1] | (1 << 32))


@instruction("cpopw rd, rs1", "0110000 00010 rs1 001 rd 0011011")
def cpopw(x, rd, rs1):
    x[rd] = call("ones", zext(x[rs1], 32))


@instruction("max rd, rs1, rs2", "0000101 rs2 rs1 110 rd 0110011")
def max_(x, rd, rs1, rs2):
    x[rd] = select(signed_less(x[rs1], x[rs2]), x[rs2], x[rs1])


@instruction("maxu rd, rs1, rs2", "0000101 rs2 rs1 111 rd 0110011")
def maxu(x, rd, rs1, rs2):
    x[rd] = select(less(x[rs1], x[rs2]), x[rs2], x[rs1])


@instruction("min rd, rs1, rs2", "0000101 rs2 rs1 100 rd 0110011")
def min_(x, rd, rs1, rs2):
    x[rd] = select(signed_less(x[rs1], x[rs2]), x[rs1], x[rs2])


@instruction("minu rd, rs1, rs2", "0000101 rs2 rs1 101 rd 0110011")
def minu(x, rd, rs1, rs2):
    x[rd] = select(less(x[rs1], x[rs2]), x[rs1], x[rs2])


@instruction("sext.b rd, rs1", "0110000 00100 rs1 001 rd 0010011")
def sext_b(x, rd, rs1):
    x[rd] = sext(x[rs1], 8)


@instruction("sext.h rd, rs1", "0110000 00101 rs1 001 rd 0010011")
def sext_h(x, rd, rs1):
    x[rd] = sext(x[rs1], 16)


@instruction("zext.h rd, rs1", "0000100 00000 rs1 100 rd 0111011")
def zext_h(x, rd, rs1):
    x[rd] = zext(x[rs1], 16)


@instruction("rol rd, rs1, rs2", "0110000 rs2 rs1 001 rd 0110011", needs=SHARED)
def rol(x, rd, rs1, rs2):
    x[rd] = call("rotate_right", x[rs1], call("negate", x[rs2]))


@instruction("ror rd, rs1, rs2", "0110000 rs2 rs1 101 rd 0110011", needs=SHARED)
def ror(x, rd, rs1, rs2):
    x[rd] = call("rotate_right", x[rs1], x[rs2])


@instruction("rori rd, rs1, shamt", "011000 shamt rs1 101 rd 0010011", needs=SHARED)
def rori(x, rd, rs1, shamt):
    x[rd] = call("rotate_right", x[rs1], shamt)


@instruction("rolw rd, rs1, rs2", "0110000 rs2 rs1 001 rd 0111011", needs=SHARED)
def rolw(x, rd, rs1, rs2):
    x[rd] = sext(call("rotate_right_word", x[rs1], call("negate", x[rs2])), 32)


@instruction("rorw rd, rs1, rs2", "0110000 rs2 rs1 101 rd 0111011", needs=SHARED)
def rorw(x, rd, rs1, rs2):
    x[rd] = sext(call("rotate_right_word", x[rs1], x[rs2]), 32)


@instruction("roriw rd, rs1, shamt", "0110000 shamtw rs1 101 rd 0011011", needs=SHARED)
def roriw(x, rd, rs1, shamt):
    x[rd] = sext(call("rotate_right_word", x[rs1], shamt), 32)


@instruction("orc.b rd, rs1", "001010000111 rs1 101 rd 0010011")
def orc_b(x, rd, rs1):
    x[rd] = call("or_combine_bytes", x[rs1])


@instruction("rev8 rd, rs1", "011010111000 rs1 101 rd 0010011", needs=SHARED)
def rev8(x, rd, rs1):
    x[rd] = call("reverse_bytes", x[rs1])
