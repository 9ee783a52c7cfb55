"""Zicsr Extension for Control and Status Register (CSR) Instructions.

Whether a form reads or writes depends on rd and rs1 being x0; the hart's primitive decides that.
"""

from __future__ import annotations

from .description import instruction

EXTENSION = "Zicsr"


@instruction("csrrw rd, csr, rs1", "csr rs1 001 rd 1110011", aliases={"csrw csr, rs1": {"rd": 0}})
def csrrw(hart, x, csr, rs1, rd):
    hart.do("csr_write", csr, x[rs1], rs1, rd)


@instruction(
    "csrrs rd, csr, rs1",
    "csr rs1 010 rd 1110011",
    aliases={"csrr rd, csr": {"rs1": 0}, "csrs csr, rs1": {"rd": 0}},
)
def csrrs(hart, x, csr, rs1, rd):
    hart.do("csr_set", csr, x[rs1], rs1, rd)


@instruction("csrrc rd, csr, rs1", "csr rs1 011 rd 1110011", aliases={"csrc csr, rs1": {"rd": 0}})
def csrrc(hart, x, csr, rs1, rd):
    hart.do("csr_clear", csr, x[rs1], rs1, rd)


@instruction("csrrwi rd, csr, uimm", "csr uimm 101 rd 1110011", aliases={"csrwi csr, uimm": {"rd": 0}})
def csrrwi(hart, csr, uimm, rd):
    hart.do("csr_write", csr, uimm, uimm, rd)


@instruction("csrrsi rd, csr, uimm", "csr uimm 110 rd 1110011", aliases={"csrsi csr, uimm": {"rd": 0}})
def csrrsi(hart, csr, uimm, rd):
    hart.do("csr_set", csr, uimm, uimm, rd)


@instruction("csrrci rd, csr, uimm", "csr uimm 111 rd 1110011", aliases={"csrci csr, uimm": {"rd": 0}})
def csrrci(hart, csr, uimm, rd):
    hart.do("csr_clear", csr, uimm, uimm, rd)
