"""RV32I and RV64I Base Integer Instruction Sets (unprivileged manual, chapters of these names), and Zifencei."""

from __future__ import annotations

from .description import instruction
from .expression import greater_equal, less, sext, signed_greater_equal, signed_less, sra, zext

EXTENSION = "I"


@instruction("lui rd, imm", "imm[31:12] rd 0110111", common=True)
def lui(x, rd, imm):
    x[rd] = imm


@instruction("auipc rd, imm", "imm[31:12] rd 0010111")
def auipc(x, pc, rd, imm):
    x[rd] = pc + imm


@instruction("jal rd, imm", "imm[20|10:1|11|19:12] rd 1101111", aliases={"j imm": {"rd": 0}, "jal imm": {"rd": 1}})
def jal(x, pc, rd, imm):
    x[rd] = pc.next
    pc.jump(pc + imm)


@instruction(
    "jalr rd, imm(rs1)",
    "imm[11:0] rs1 000 rd 1100111",
    aliases={"ret": {"rd": 0, "rs1": 1, "imm": 0}, "jr rs1": {"rd": 0, "imm": 0}, "jalr rs1": {"rd": 1, "imm": 0}},
)
def jalr(x, pc, rd, rs1, imm):
    x[rd] = pc.next
    pc.jump((x[rs1] + imm) & -2)


@instruction(
    "beq rs1, rs2, imm",
    "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011",
    aliases={"beqz rs1, imm": {"rs2": 0}},
    common=True,
)
def beq(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=x[rs1] == x[rs2])


@instruction(
    "bne rs1, rs2, imm",
    "imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011",
    aliases={"bnez rs1, imm": {"rs2": 0}},
    common=True,
)
def bne(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=x[rs1] != x[rs2])


@instruction(
    "blt rs1, rs2, imm",
    "imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011",
    aliases={"bltz rs1, imm": {"rs2": 0}, "bgtz rs2, imm": {"rs1": 0}},
    common=True,
)
def blt(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=signed_less(x[rs1], x[rs2]))


@instruction(
    "bge rs1, rs2, imm",
    "imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011",
    aliases={"bgez rs1, imm": {"rs2": 0}, "blez rs2, imm": {"rs1": 0}},
    common=True,
)
def bge(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=signed_greater_equal(x[rs1], x[rs2]))


@instruction("bltu rs1, rs2, imm", "imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", common=True)
def bltu(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=less(x[rs1], x[rs2]))


@instruction("bgeu rs1, rs2, imm", "imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", common=True)
def bgeu(x, pc, rs1, rs2, imm):
    pc.jump(pc + imm, when=greater_equal(x[rs1], x[rs2]))


@instruction("lb rd, imm(rs1)", "imm[11:0] rs1 000 rd 0000011")
def lb(x, mem, rd, rs1, imm):
    x[rd] = sext(mem.load(x[rs1] + imm, 8), 8)


@instruction("lh rd, imm(rs1)", "imm[11:0] rs1 001 rd 0000011", common=True)
def lh(x, mem, rd, rs1, imm):
    x[rd] = sext(mem.load(x[rs1] + imm, 16), 16)


@instruction("lw rd, imm(rs1)", "imm[11:0] rs1 010 rd 0000011", common=True)
def lw(x, mem, rd, rs1, imm):
    x[rd] = sext(mem.load(x[rs1] + imm, 32), 32)


@instruction("ld rd, imm(rs1)", "imm[11:0] rs1 011 rd 0000011", common=True)
def ld(x, mem, rd, rs1, imm):
    x[rd] = mem.load(x[rs1] + imm, 64)


@instruction("lbu rd, imm(rs1)", "imm[11:0] rs1 100 rd 0000011", common=True)
def lbu(x, mem, rd, rs1, imm):
    x[rd] = mem.load(x[rs1] + imm, 8)


@instruction("lhu rd, imm(rs1)", "imm[11:0] rs1 101 rd 0000011")
def lhu(x, mem, rd, rs1, imm):
    x[rd] = mem.load(x[rs1] + imm, 16)


@instruction("lwu rd, imm(rs1)", "imm[11:0] rs1 110 rd 0000011")
def lwu(x, mem, rd, rs1, imm):
    x[rd] = mem.load(x[rs1] + imm, 32)


@instruction("sb rs2, imm(rs1)", "imm[11:5] rs2 rs1 000 imm[4:0] 0100011", common=True)
def sb(x, mem, rs1, rs2, imm):
    mem.store(x[rs1] + imm, x[rs2], 8)


@instruction("sh rs2, imm(rs1)", "imm[11:5] rs2 rs1 001 imm[4:0] 0100011")
def sh(x, mem, rs1, rs2, imm):
    mem.store(x[rs1] + imm, x[rs2], 16)


@instruction("sw rs2, imm(rs1)", "imm[11:5] rs2 rs1 010 imm[4:0] 0100011", common=True)
def sw(x, mem, rs1, rs2, imm):
    mem.store(x[rs1] + imm, x[rs2], 32)


@instruction("sd rs2, imm(rs1)", "imm[11:5] rs2 rs1 011 imm[4:0] 0100011", common=True)
def sd(x, mem, rs1, rs2, imm):
    mem.store(x[rs1] + imm, x[rs2], 64)


@instruction(
    "addi rd, rs1, imm",
    "imm[11:0] rs1 000 rd 0010011",
    aliases={"nop": {"rd": 0, "rs1": 0, "imm": 0}, "li rd, imm": {"rs1": 0}, "mv rd, rs1": {"imm": 0}},
    common=True,
)
def addi(x, rd, rs1, imm):
    x[rd] = x[rs1] + imm


@instruction("slti rd, rs1, imm", "imm[11:0] rs1 010 rd 0010011")
def slti(x, rd, rs1, imm):
    x[rd] = signed_less(x[rs1], imm)


@instruction("sltiu rd, rs1, imm", "imm[11:0] rs1 011 rd 0010011", aliases={"seqz rd, rs1": {"imm": 1}})
def sltiu(x, rd, rs1, imm):
    x[rd] = less(x[rs1], imm)


@instruction("xori rd, rs1, imm", "imm[11:0] rs1 100 rd 0010011", aliases={"not rd, rs1": {"imm": -1}})
def xori(x, rd, rs1, imm):
    x[rd] = x[rs1] ^ imm


@instruction("ori rd, rs1, imm", "imm[11:0] rs1 110 rd 0010011")
def ori(x, rd, rs1, imm):
    x[rd] = x[rs1] | imm


@instruction("andi rd, rs1, imm", "imm[11:0] rs1 111 rd 0010011", aliases={"zext.b rd, rs1": {"imm": 255}}, common=True)
def andi(x, rd, rs1, imm):
    x[rd] = x[rs1] & imm


@instruction("slli rd, rs1, shamt", "000000 shamt rs1 001 rd 0010011", common=True)
def slli(x, rd, rs1, shamt):
    x[rd] = x[rs1] << shamt


@instruction("srli rd, rs1, shamt", "000000 shamt rs1 101 rd 0010011", common=True)
def srli(x, rd, rs1, shamt):
    x[rd] = x[rs1] >> shamt


@instruction("srai rd, rs1, shamt", "010000 shamt rs1 101 rd 0010011", common=True)
def srai(x, rd, rs1, shamt):
    x[rd] = sra(x[rs1], shamt)


@instruction("add rd, rs1, rs2", "0000000 rs2 rs1 000 rd 0110011", aliases={"mv rd, rs2": {"rs1": 0}}, common=True)
def add(x, rd, rs1, rs2):
    x[rd] = x[rs1] + x[rs2]


@instruction("sub rd, rs1, rs2", "0100000 rs2 rs1 000 rd 0110011", aliases={"neg rd, rs2": {"rs1": 0}}, common=True)
def sub(x, rd, rs1, rs2):
    x[rd] = x[rs1] - x[rs2]


@instruction("sll rd, rs1, rs2", "0000000 rs2 rs1 001 rd 0110011")
def sll(x, rd, rs1, rs2):
    x[rd] = x[rs1] << (x[rs2] & 63)


@instruction(
    "slt rd, rs1, rs2",
    "0000000 rs2 rs1 010 rd 0110011",
    aliases={"sltz rd, rs1": {"rs2": 0}, "sgtz rd, rs2": {"rs1": 0}},
)
def slt(x, rd, rs1, rs2):
    x[rd] = signed_less(x[rs1], x[rs2])


@instruction("sltu rd, rs1, rs2", "0000000 rs2 rs1 011 rd 0110011", aliases={"snez rd, rs2": {"rs1": 0}})
def sltu(x, rd, rs1, rs2):
    x[rd] = less(x[rs1], x[rs2])


@instruction("xor rd, rs1, rs2", "0000000 rs2 rs1 100 rd 0110011", common=True)
def xor(x, rd, rs1, rs2):
    x[rd] = x[rs1] ^ x[rs2]


@instruction("srl rd, rs1, rs2", "0000000 rs2 rs1 101 rd 0110011")
def srl(x, rd, rs1, rs2):
    x[rd] = x[rs1] >> (x[rs2] & 63)


@instruction("sra rd, rs1, rs2", "0100000 rs2 rs1 101 rd 0110011")
def sra_(x, rd, rs1, rs2):
    x[rd] = sra(x[rs1], x[rs2] & 63)


@instruction("or rd, rs1, rs2", "0000000 rs2 rs1 110 rd 0110011")
def or_(x, rd, rs1, rs2):
    x[rd] = x[rs1] | x[rs2]


@instruction("and rd, rs1, rs2", "0000000 rs2 rs1 111 rd 0110011", common=True)
def and_(x, rd, rs1, rs2):
    x[rd] = x[rs1] & x[rs2]


@instruction("addiw rd, rs1, imm", "imm[11:0] rs1 000 rd 0011011", aliases={"sext.w rd, rs1": {"imm": 0}}, common=True)
def addiw(x, rd, rs1, imm):
    x[rd] = sext(x[rs1] + imm, 32)


@instruction("slliw rd, rs1, shamt", "0000000 shamtw rs1 001 rd 0011011")
def slliw(x, rd, rs1, shamt):
    x[rd] = sext(x[rs1] << shamt, 32)


@instruction("srliw rd, rs1, shamt", "0000000 shamtw rs1 101 rd 0011011", common=True)
def srliw(x, rd, rs1, shamt):
    x[rd] = sext(zext(x[rs1], 32) >> shamt, 32)


@instruction("sraiw rd, rs1, shamt", "0100000 shamtw rs1 101 rd 0011011")
def sraiw(x, rd, rs1, shamt):
    x[rd] = sra(sext(x[rs1], 32), shamt)


@instruction("addw rd, rs1, rs2", "0000000 rs2 rs1 000 rd 0111011", common=True)
def addw(x, rd, rs1, rs2):
    x[rd] = sext(x[rs1] + x[rs2], 32)


@instruction("subw rd, rs1, rs2", "0100000 rs2 rs1 000 rd 0111011", aliases={"negw rd, rs2": {"rs1": 0}})
def subw(x, rd, rs1, rs2):
    x[rd] = sext(x[rs1] - x[rs2], 32)


@instruction("sllw rd, rs1, rs2", "0000000 rs2 rs1 001 rd 0111011")
def sllw(x, rd, rs1, rs2):
    x[rd] = sext(x[rs1] << (x[rs2] & 31), 32)


@instruction("srlw rd, rs1, rs2", "0000000 rs2 rs1 101 rd 0111011")
def srlw(x, rd, rs1, rs2):
    x[rd] = sext(zext(x[rs1], 32) >> (x[rs2] & 31), 32)


@instruction("sraw rd, rs1, rs2", "0100000 rs2 rs1 101 rd 0111011")
def sraw(x, rd, rs1, rs2):
    x[rd] = sra(sext(x[rs1], 32), x[rs2] & 31)


@instruction(
    "fence pred, succ", "fm pred succ rs1 000 rd 0001111", aliases={"fence": {"pred": 15, "succ": 15, "fm": 0}}
)
def fence():
    """Memory is sequentially consistent here; nothing is left to order. Reserved forms execute as fences."""


@instruction("fence.i", "imm[11:0] rs1 001 rd 0001111", extension="Zifencei")
def fence_i(hart):
    """Zifencei: stores to code already drop what was decoded from it; the instruction only ends the block."""
    hart.do("fence_i")


@instruction("ecall", "000000000000 00000 000 00000 1110011")
def ecall(hart):
    hart.do("ecall")


@instruction("ebreak", "000000000001 00000 000 00000 1110011")
def ebreak(hart):
    hart.do("ebreak")
