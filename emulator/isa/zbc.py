"""Zbc: carry-less multiplication, and with it its subset Zbkc (clmul, clmulh).

Time is counted in retired instructions, so that no latency can depend on data: what Zkt attests holds for every
instruction of this hart.
"""

from __future__ import annotations

from .description import instruction
from .expression import call

EXTENSION = "Zbc"


@instruction("clmul rd, rs1, rs2", "0000101 rs2 rs1 001 rd 0110011", needs="Zbc|Zbkc")
def clmul(x, rd, rs1, rs2):
    x[rd] = call("carryless_product", x[rs1], x[rs2])


@instruction("clmulh rd, rs1, rs2", "0000101 rs2 rs1 011 rd 0110011", needs="Zbc|Zbkc")
def clmulh(x, rd, rs1, rs2):
    """Bits 127:64 of the product, whose bit 127 is always 0."""
    x[rd] = call("carryless_product_middle", x[rs1], x[rs2]) >> 1


@instruction("clmulr rd, rs1, rs2", "0000101 rs2 rs1 010 rd 0110011")
def clmulr(x, rd, rs1, rs2):
    """Bits 126:63 of the product."""
    x[rd] = call("carryless_product_middle", x[rs1], x[rs2])
