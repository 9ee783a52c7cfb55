"""F and D Extensions for Single- and Double-Precision Floating-Point: described once for all widths, half among them.

Registers hold NaN-boxed patterns ("NaN Boxing of Narrower Values"): a single is read through `unbox`, which turns an
improperly boxed value into the canonical NaN, and written through `box`.
"""

from __future__ import annotations

from .description import instruction
from .expression import Operand, Value, call, fp, sext, zext

EXTENSION = "F"
RESERVED_ROUNDING = {"rm": (5, 6)}

WIDTHS = (("s", "00", 32, "F"), ("d", "01", 64, "D"))
#: Integer formats in the order of their encodings.
INTEGERS = ("w", "wu", "l", "lu")


def unbox(value: Value, bits: int) -> Value:
    return value if bits == 64 else call(f"unbox{bits}", value)


def box(value: Operand, bits: int) -> Operand:
    return value if bits == 64 else call(f"box{bits}", value)


def flip(value: Operand, bits: int) -> Value:
    """The value with its sign bit inverted."""
    return Value("xor", (value, 1 << (bits - 1)))


def describe(s: str, fmt: str, bits: int, extension: str, transfers: str | None = None) -> None:
    """Everything that exists in every width. `transfers`: the extension of loads and stores, where it is another."""
    transfers = transfers or extension
    sign = 1 << (bits - 1)
    load_funct3 = {16: "001", 32: "010", 64: "011"}[bits]
    load_name = {16: "h", 32: "w", 64: "d"}[bits]

    @instruction(f"fl{load_name} rd, imm(rs1)", f"imm[11:0] rs1 {load_funct3} rd 0000111", extension=transfers)
    def load(f, x, mem, rd, rs1, imm):
        f[rd] = box(mem.load(x[rs1] + imm, bits), bits)

    @instruction(
        f"fs{load_name} rs2, imm(rs1)", f"imm[11:5] rs2 rs1 {load_funct3} imm[4:0] 0100111", extension=transfers
    )
    def store(f, x, mem, rs1, rs2, imm):
        mem.store(x[rs1] + imm, f[rs2], bits)

    for name, opcode, negate_product, negate_addend in (
        ("fmadd", "1000011", False, False),
        ("fmsub", "1000111", False, True),
        ("fnmsub", "1001011", True, False),
        ("fnmadd", "1001111", True, True),
    ):

        @instruction(
            f"{name}.{s} rd, rs1, rs2, rs3, rm", f"rs3 {fmt} rs2 rs1 rm rd {opcode}", never=RESERVED_ROUNDING,
            extension=extension,
        )  # fmt: skip
        def fused(f, rd, rs1, rs2, rs3, rm, negate_product=negate_product, negate_addend=negate_addend):
            a, b, c = (unbox(f[r], bits) for r in (rs1, rs2, rs3))
            a = flip(a, bits) if negate_product else a
            c = flip(c, bits) if negate_addend else c
            f[rd] = box(fp("fma", bits, a, b, c, rm=rm), bits)

    for name, funct5 in (("fadd", "00000"), ("fsub", "00001"), ("fmul", "00010"), ("fdiv", "00011")):

        @instruction(
            f"{name}.{s} rd, rs1, rs2, rm", f"{funct5} {fmt} rs2 rs1 rm rd 1010011", never=RESERVED_ROUNDING,
            extension=extension,
        )  # fmt: skip
        def arithmetic(f, rd, rs1, rs2, rm, name=name):
            f[rd] = box(fp(name[1:], bits, unbox(f[rs1], bits), unbox(f[rs2], bits), rm=rm), bits)

    @instruction(
        f"fsqrt.{s} rd, rs1, rm", f"01011 {fmt} 00000 rs1 rm rd 1010011", never=RESERVED_ROUNDING, extension=extension
    )
    def fsqrt(f, rd, rs1, rm):
        f[rd] = box(fp("sqrt", bits, unbox(f[rs1], bits), rm=rm), bits)

    signs = (
        ("fsgnj", "000", lambda a, b: b & sign, "fmv"),
        ("fsgnjn", "001", lambda a, b: ~b & sign, "fneg"),
        ("fsgnjx", "010", lambda a, b: (a ^ b) & sign, "fabs"),
    )
    for name, funct3, new_sign, alias in signs:

        @instruction(
            f"{name}.{s} rd, rs1, rs2", f"00100 {fmt} rs2 rs1 {funct3} rd 1010011", extension=extension,
            aliases={f"{alias}.{s} rd, rs1": {"rs2": "rs1"}},
        )  # fmt: skip
        def inject(f, rd, rs1, rs2, new_sign=new_sign):
            a, b = unbox(f[rs1], bits), unbox(f[rs2], bits)
            f[rd] = box((a & (sign - 1)) | new_sign(a, b), bits)

    for name, funct3 in (("fmin", "000"), ("fmax", "001")):

        @instruction(f"{name}.{s} rd, rs1, rs2", f"00101 {fmt} rs2 rs1 {funct3} rd 1010011", extension=extension)
        def choose(f, rd, rs1, rs2, name=name):
            f[rd] = box(fp(name[1:], bits, unbox(f[rs1], bits), unbox(f[rs2], bits)), bits)

    for name, funct3 in (("feq", "010"), ("flt", "001"), ("fle", "000")):

        @instruction(f"{name}.{s} rd, rs1, rs2", f"10100 {fmt} rs2 rs1 {funct3} rd 1010011", extension=extension)
        def compare(f, x, rd, rs1, rs2, name=name):
            x[rd] = fp(name[1:], bits, unbox(f[rs1], bits), unbox(f[rs2], bits))

    @instruction(f"fclass.{s} rd, rs1", f"11100 {fmt} 00000 rs1 001 rd 1010011", extension=extension)
    def fclass(f, x, rd, rs1):
        x[rd] = call(f"f{bits}_class", unbox(f[rs1], bits))

    for kind, integer in enumerate(INTEGERS):

        @instruction(
            f"fcvt.{integer}.{s} rd, rs1, rm", f"11000 {fmt} {kind:05b} rs1 rm rd 1010011", never=RESERVED_ROUNDING,
            extension=extension,
        )  # fmt: skip
        def to_integer(f, x, rd, rs1, rm, kind=kind):
            x[rd] = fp("to_int", bits, unbox(f[rs1], bits), kind, rm=rm)

        @instruction(
            f"fcvt.{s}.{integer} rd, rs1, rm", f"11010 {fmt} {kind:05b} rs1 rm rd 1010011", never=RESERVED_ROUNDING,
            extension=extension,
        )  # fmt: skip
        def from_integer(f, x, rd, rs1, rm, kind=kind):
            f[rd] = box(fp("from_int", bits, x[rs1], kind, rm=rm), bits)


for _width in WIDTHS:
    describe(*_width)


@instruction("fmv.x.w rd, rs1", "11100 00 00000 rs1 000 rd 1010011")
def fmv_x_w(f, x, rd, rs1):
    x[rd] = sext(f[rs1], 32)


@instruction("fmv.w.x rd, rs1", "11110 00 00000 rs1 000 rd 1010011")
def fmv_w_x(f, x, rd, rs1):
    f[rd] = call("box32", zext(x[rs1], 32))


@instruction("fmv.x.d rd, rs1", "11100 01 00000 rs1 000 rd 1010011", extension="D")
def fmv_x_d(f, x, rd, rs1):
    x[rd] = f[rs1]


@instruction("fmv.d.x rd, rs1", "11110 01 00000 rs1 000 rd 1010011", extension="D")
def fmv_d_x(f, x, rd, rs1):
    f[rd] = x[rs1]


@instruction("fcvt.s.d rd, rs1, rm", "01000 00 00001 rs1 rm rd 1010011", never=RESERVED_ROUNDING, extension="D")
def fcvt_s_d(f, rd, rs1, rm):
    f[rd] = call("box32", fp("to_f32", 64, f[rs1], rm=rm))


@instruction("fcvt.d.s rd, rs1, rm", "01000 01 00000 rs1 rm rd 1010011", never=RESERVED_ROUNDING, extension="D")
def fcvt_d_s(f, rd, rs1, rm):
    f[rd] = fp("widen", 32, call("unbox32", f[rs1]), rm=rm)
