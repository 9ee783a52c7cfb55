"""Instructions of the privileged architecture: trap returns, WFI, supervisor fences, and Svinval."""

from __future__ import annotations

from .description import instruction

EXTENSION = "S"


@instruction("mret", "0011000 00010 00000 000 00000 1110011", extension="M-mode")
def mret(hart):
    hart.do("mret")


@instruction("sret", "0001000 00010 00000 000 00000 1110011")
def sret(hart):
    hart.do("sret")


@instruction("wfi", "0001000 00101 00000 000 00000 1110011", extension="M-mode")
def wfi(hart):
    hart.do("wfi")


@instruction("sfence.vma rs1, rs2", "0001001 rs2 rs1 000 00000 1110011", aliases={"sfence.vma": {"rs1": 0, "rs2": 0}})
def sfence_vma(hart, x, rs1, rs2):
    hart.do("sfence_vma", x[rs1], x[rs2], rs1, rs2)


@instruction("sinval.vma rs1, rs2", "0001011 rs2 rs1 000 00000 1110011", extension="Svinval")
def sinval_vma(hart, x, rs1, rs2):
    hart.do("sfence_vma", x[rs1], x[rs2], rs1, rs2)


@instruction("sfence.w.inval", "0001100 00000 00000 000 00000 1110011", extension="Svinval")
def sfence_w_inval(hart):
    hart.do("inval_order")


@instruction("sfence.inval.ir", "0001100 00001 00000 000 00000 1110011", extension="Svinval")
def sfence_inval_ir(hart):
    hart.do("inval_order")
