"""Zimop and Zcmop Extensions for May-Be-Operations: they write zero, or the compressed ones nothing, until an extension
gives them a meaning."""

from __future__ import annotations

from .description import instruction

EXTENSION = "Zimop"


def describe(name: str, operands: str, high: str, middle: str) -> None:
    @instruction(f"{name} {operands}", f"{high} {middle} rs1 100 rd 1110011")
    def may_be(x, rd):
        x[rd] = 0


for _n in range(32):
    describe(f"mop.r.{_n}", "rd, rs1", f"1 {_n >> 4} 00 {_n >> 2 & 3:02b}", f"0111 {_n & 3:02b}")
for _n in range(8):
    describe(f"mop.rr.{_n}", "rd, rs1, rs2", f"1 {_n >> 2} 00 {_n & 3:02b} 1", "rs2")


def describe_short(n: int) -> None:
    """In the place of c.lui xN, 0. The operation that it stands for has no other encoding."""

    @instruction(f"c.mop.{n}", f"011 0 {n:05b} 00000 01", extension="Zcmop")
    def may_be():
        """Writes no register."""


for _n in range(1, 16, 2):
    describe_short(_n)
