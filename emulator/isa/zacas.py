"""Zacas Extension for Atomic Compare-and-Swap. A comparison that fails needs the right to write all the same."""

from __future__ import annotations

from .description import instruction
from .expression import select, sext

EXTENSION = "Zacas"
ODD = tuple(range(1, 32, 2))


def describe(suffix: str, funct3: str, bits: int, extension: str = EXTENSION, needs: str = EXTENSION) -> None:
    @instruction(
        f"amocas.{suffix} rd, rs2, (rs1)", f"00101 aq rl rs2 rs1 {funct3} rd 0101111", extension=extension, needs=needs
    )
    def amocas(x, mem, rd, rs1, rs2):
        wanted, new = sext(x[rd], bits), sext(x[rs2], bits)
        old = mem.amo(x[rs1], bits, lambda old: select(sext(old, bits) == wanted, new, old))
        x[rd] = sext(old, bits)


describe("w", "010", 32)
describe("d", "011", 64)


@instruction("amocas.q rd, rs2, (rs1)", "00101 aq rl rs2 rs1 100 rd 0101111", never={"rd": ODD, "rs2": ODD})
def amocas_q(x, mem, rd, rs1, rs2):
    """Pairs of registers, the even one the low half; a pair that begins at x0 reads as zero and is not written."""
    mem.do("compare_and_swap_pair", x[rs1], rd, rs2)
