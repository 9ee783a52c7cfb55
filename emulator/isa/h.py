"""H Extension for Hypervisor Support: Hypervisor Instructions, and their Svinval companions."""

from __future__ import annotations

from .description import instruction
from .expression import sext

EXTENSION = "H"


def describe_load(name: str, funct7: str, selector: str, bits: int, signed: bool, execute: bool = False) -> None:
    """HLV and HLVX: as an access of the guest, in the mode that hstatus.SPVP names."""

    @instruction(f"{name} rd, (rs1)", f"{funct7} {selector} rs1 100 rd 1110011")
    def load(x, mem, rd, rs1):
        value = mem.call("guest_load_execute" if execute else "guest_load", x[rs1], bits)
        x[rd] = sext(value, bits) if signed else value


def describe_store(name: str, funct7: str, bits: int) -> None:
    @instruction(f"{name} rs2, (rs1)", f"{funct7} rs2 rs1 100 00000 1110011")
    def store(x, mem, rs1, rs2):
        mem.do("guest_store", x[rs1], x[rs2], bits)


describe_load("hlv.b", "0110000", "00000", 8, True)
describe_load("hlv.bu", "0110000", "00001", 8, False)
describe_load("hlv.h", "0110010", "00000", 16, True)
describe_load("hlv.hu", "0110010", "00001", 16, False)
describe_load("hlvx.hu", "0110010", "00011", 16, False, execute=True)
describe_load("hlv.w", "0110100", "00000", 32, True)
describe_load("hlv.wu", "0110100", "00001", 32, False)
describe_load("hlvx.wu", "0110100", "00011", 32, False, execute=True)
describe_load("hlv.d", "0110110", "00000", 64, False)
describe_store("hsv.b", "0110001", 8)
describe_store("hsv.h", "0110011", 16)
describe_store("hsv.w", "0110101", 32)
describe_store("hsv.d", "0110111", 64)


@instruction("hfence.vvma rs1, rs2", "0010001 rs2 rs1 000 00000 1110011")
def hfence_vvma(hart, x, rs1, rs2):
    hart.do("hfence_vvma", x[rs1], x[rs2], rs1, rs2)


@instruction("hfence.gvma rs1, rs2", "0110001 rs2 rs1 000 00000 1110011")
def hfence_gvma(hart, x, rs1, rs2):
    hart.do("hfence_gvma", x[rs1], x[rs2], rs1, rs2)


@instruction("hinval.vvma rs1, rs2", "0010011 rs2 rs1 000 00000 1110011", extension="Svinval", needs="Svinval H")
def hinval_vvma(hart, x, rs1, rs2):
    hart.do("hfence_vvma", x[rs1], x[rs2], rs1, rs2)


@instruction("hinval.gvma rs1, rs2", "0110011 rs2 rs1 000 00000 1110011", extension="Svinval", needs="Svinval H")
def hinval_gvma(hart, x, rs1, rs2):
    hart.do("hfence_gvma", x[rs1], x[rs2], rs1, rs2)
