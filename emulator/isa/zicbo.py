"""Zicbom and Zicboz: Cache Management Operations on blocks of 64 bytes.

There is no cache: the management instructions only check what they are to check, that is the right to execute (CBIE and
CBCFE of xenvcfg) and access to the block. CBO.INVAL that must not lose data may flush, and so may every other.
"""

from __future__ import annotations

from .description import instruction

EXTENSION = "Zicbom"
BLOCK = 64
"""Bytes of a cache block (Zic64b)."""


@instruction("cbo.inval (rs1)", "000000000000 rs1 010 00000 0001111")
def cbo_inval(x, mem, rs1):
    mem.do("cbo_inval", x[rs1])


@instruction("cbo.clean (rs1)", "000000000001 rs1 010 00000 0001111")
def cbo_clean(x, mem, rs1):
    mem.do("cbo_clean", x[rs1])


@instruction("cbo.flush (rs1)", "000000000010 rs1 010 00000 0001111")
def cbo_flush(x, mem, rs1):
    mem.do("cbo_clean", x[rs1])


@instruction("cbo.zero (rs1)", "000000000100 rs1 010 00000 0001111", extension="Zicboz")
def cbo_zero(x, mem, rs1):
    mem.do("cbo_zero", x[rs1])
