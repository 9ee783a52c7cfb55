"""A Extension for Atomic Instructions: Zalrsc and Zaamo. The bits aq and rl ask for nothing that is not given."""

from __future__ import annotations

from collections.abc import Callable

from .description import instruction
from .expression import Operand, Value, less, select, sext, signed_less, zext

EXTENSION = "A"

Change = Callable[[Value, Value], Operand]

#: funct5, and what becomes of the old value and the operand; both come sign-extended to 64 bits.
CHANGES: dict[str, tuple[str, Change]] = {
    "swap": ("00001", lambda old, new: new),
    "add": ("00000", lambda old, new: old + new),
    "xor": ("00100", lambda old, new: old ^ new),
    "and": ("01100", lambda old, new: old & new),
    "or": ("01000", lambda old, new: old | new),
    "min": ("10000", lambda old, new: select(signed_less(old, new), old, new)),
    "max": ("10100", lambda old, new: select(signed_less(old, new), new, old)),
    "minu": ("11000", lambda old, new: select(less(old, new), old, new)),
    "maxu": ("11100", lambda old, new: select(less(old, new), new, old)),
}


def describe(
    name: str, funct5: str, change: Change, suffix: str, funct3: str, bits: int, extension: str = EXTENSION,
    needs: str = "Zaamo",
) -> None:  # fmt: skip
    """One AMO of one width. Sign extension of both sides keeps unsigned order too."""

    @instruction(
        f"amo{name}.{suffix} rd, rs2, (rs1)", f"{funct5} aq rl rs2 rs1 {funct3} rd 0101111", extension=extension,
        needs=needs,
    )  # fmt: skip
    def amo(x, mem, rd, rs1, rs2):
        x[rd] = sext(mem.amo(x[rs1], bits, lambda old: change(sext(old, bits), sext(x[rs2], bits))), bits)


for _suffix, _funct3, _bits in (("w", "010", 32), ("d", "011", 64)):
    for _name, (_funct5, _change) in CHANGES.items():
        describe(_name, _funct5, _change, _suffix, _funct3, _bits)


@instruction("lr.w rd, (rs1)", "00010 aq rl 00000 rs1 010 rd 0101111", needs="Zalrsc")
def lr_w(x, mem, rd, rs1):
    x[rd] = sext(mem.call("load_reserved", x[rs1], 32), 32)


@instruction("lr.d rd, (rs1)", "00010 aq rl 00000 rs1 011 rd 0101111", needs="Zalrsc")
def lr_d(x, mem, rd, rs1):
    x[rd] = mem.call("load_reserved", x[rs1], 64)


@instruction("sc.w rd, rs2, (rs1)", "00011 aq rl rs2 rs1 010 rd 0101111", needs="Zalrsc")
def sc_w(x, mem, rd, rs1, rs2):
    x[rd] = mem.call("store_conditional", x[rs1], zext(x[rs2], 32), 32)


@instruction("sc.d rd, rs2, (rs1)", "00011 aq rl rs2 rs1 011 rd 0101111", needs="Zalrsc")
def sc_d(x, mem, rd, rs1, rs2):
    x[rd] = mem.call("store_conditional", x[rs1], x[rs2], 64)
