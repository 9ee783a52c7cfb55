"""Zfh and Zfhmin Extensions for Half-Precision Floating-Point: F in binary16, NaN-boxed in 16 bits."""

from __future__ import annotations

from .description import instruction
from .expression import call, fp, sext, zext
from .f_d import RESERVED_ROUNDING, box, describe, unbox

EXTENSION = "Zfhmin"

describe("h", "10", 16, "Zfh", transfers="Zfhmin")


@instruction("fmv.x.h rd, rs1", "11100 10 00000 rs1 000 rd 1010011")
def fmv_x_h(f, x, rd, rs1):
    x[rd] = sext(f[rs1], 16)


@instruction("fmv.h.x rd, rs1", "11110 10 00000 rs1 000 rd 1010011")
def fmv_h_x(f, x, rd, rs1):
    f[rd] = call("box16", zext(x[rs1], 16))


def describe_conversions(s: str, fmt: str, bits: int, needs: str) -> None:
    """To and from a wider format."""

    @instruction(
        f"fcvt.{s}.h rd, rs1, rm", f"01000 {fmt} 00010 rs1 rm rd 1010011", never=RESERVED_ROUNDING, needs=needs
    )
    def widen(f, rd, rs1, rm):
        f[rd] = box(fp(f"widen{bits}", 16, unbox(f[rs1], 16), rm=rm), bits)

    @instruction(
        f"fcvt.h.{s} rd, rs1, rm", f"01000 10 000{fmt} rs1 rm rd 1010011", never=RESERVED_ROUNDING, needs=needs
    )
    def narrow(f, rd, rs1, rm):
        f[rd] = call("box16", fp("to_f16", bits, unbox(f[rs1], bits), rm=rm))


describe_conversions("s", "00", 32, "Zfhmin")
describe_conversions("d", "01", 64, "Zfhmin D")
