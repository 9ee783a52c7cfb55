"""Zfa Extension for Additional Floating-Point Instructions, in half, single and double precision."""

from __future__ import annotations

from .description import instruction
from .expression import call, fp
from .f_d import RESERVED_ROUNDING, box, unbox

EXTENSION = "Zfa"

#: Table "Immediate values loaded by the FLI.S instruction".
CONSTANTS = (
    "-1.0", "min", repr(2.0**-16), repr(2.0**-15), repr(2.0**-8), repr(2.0**-7), "0.0625", "0.125", "0.25", "0.3125",
    "0.375", "0.4375", "0.5", "0.625", "0.75", "0.875", "1.0", "1.25", "1.5", "1.75", "2.0", "2.5", "3.0", "4.0", "8.0",
    "16.0", "128.0", "256.0", "32768.0", "65536.0", "inf", "nan",
)  # fmt: skip


def describe(s: str, fmt: str, bits: int, needs: str) -> None:
    @instruction(f"fli.{s} rd, constant", f"11110 {fmt} 00001 constant 000 rd 1010011", needs=needs)
    def fli(f, rd, constant):
        f[rd] = box(call(f"f{bits}_constant", constant), bits)

    for name, funct3 in (("fminm", "010"), ("fmaxm", "011")):

        @instruction(f"{name}.{s} rd, rs1, rs2", f"00101 {fmt} rs2 rs1 {funct3} rd 1010011", needs=needs)
        def choose(f, rd, rs1, rs2, name=name):
            f[rd] = box(fp(name[1:], bits, unbox(f[rs1], bits), unbox(f[rs2], bits)), bits)

    for name, rs2 in (("fround", "00100"), ("froundnx", "00101")):

        @instruction(
            f"{name}.{s} rd, rs1, rm", f"01000 {fmt} {rs2} rs1 rm rd 1010011", never=RESERVED_ROUNDING, needs=needs
        )
        def to_integral(f, rd, rs1, rm, name=name):
            f[rd] = box(fp(name[1:], bits, unbox(f[rs1], bits), rm=rm), bits)

    for name, funct3 in (("fleq", "100"), ("fltq", "101")):

        @instruction(f"{name}.{s} rd, rs1, rs2", f"10100 {fmt} rs2 rs1 {funct3} rd 1010011", needs=needs)
        def compare(f, x, rd, rs1, rs2, name=name):
            x[rd] = fp(name[1:], bits, unbox(f[rs1], bits), unbox(f[rs2], bits))


for _width in (("s", "00", 32, "Zfa"), ("d", "01", 64, "Zfa D"), ("h", "10", 16, "Zfa Zfh")):
    describe(*_width)


@instruction(
    "fcvtmod.w.d rd, rs1, rm", "11000 01 01000 rs1 rm rd 1010011", never={"rm": (0, 2, 3, 4, 5, 6, 7)}, needs="Zfa D"
)
def fcvtmod_w_d(f, x, rd, rs1):
    """Rounds towards zero always, and says so in its encoding: other rounding modes are reserved."""
    x[rd] = fp("to_word_modular", 64, f[rs1])
