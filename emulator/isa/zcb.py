"""Zcb: the further 16-bit forms, each an abbreviation as those of C."""

from __future__ import annotations

from .description import compressed

EXTENSION = "Zcb"

compressed("c.lbu rd, uimm(rs1)", "100 000 rs1' uimm[0|1] rd' 00", "lbu rd=rd rs1=rs1 imm=uimm", extension="Zcb")
compressed("c.lhu rd, uimm(rs1)", "100 001 rs1' 0 uimm[1] rd' 00", "lhu rd=rd rs1=rs1 imm=uimm", extension="Zcb")
compressed("c.lh rd, uimm(rs1)", "100 001 rs1' 1 uimm[1] rd' 00", "lh rd=rd rs1=rs1 imm=uimm", extension="Zcb")
compressed("c.sb rs2, uimm(rs1)", "100 010 rs1' uimm[0|1] rs2' 00", "sb rs2=rs2 rs1=rs1 imm=uimm", extension="Zcb")
compressed("c.sh rs2, uimm(rs1)", "100 011 rs1' 0 uimm[1] rs2' 00", "sh rs2=rs2 rs1=rs1 imm=uimm", extension="Zcb")
compressed("c.zext.b rd", "100 1 11 rd' 11 000 01", "andi rd=rd rs1=rd imm=255", extension="Zcb")
compressed("c.sext.b rd", "100 1 11 rd' 11 001 01", "sext.b rd=rd rs1=rd", extension="Zcb")
compressed("c.zext.h rd", "100 1 11 rd' 11 010 01", "zext.h rd=rd rs1=rd", extension="Zcb")
compressed("c.sext.h rd", "100 1 11 rd' 11 011 01", "sext.h rd=rd rs1=rd", extension="Zcb")
compressed("c.zext.w rd", "100 1 11 rd' 11 100 01", "add.uw rd=rd rs1=rd rs2=0", extension="Zcb")
compressed("c.not rd", "100 1 11 rd' 11 101 01", "xori rd=rd rs1=rd imm=-1", extension="Zcb")
compressed("c.mul rd, rs2", "100 1 11 rd' 10 rs2' 01", "mul rd=rd rs1=rd rs2=rs2", extension="Zcb")
