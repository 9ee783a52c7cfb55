"""Transformed instructions in mtinst and htinst: this hart writes them wherever it may."""

from __future__ import annotations

from rig import (
    BASE,
    HS,
    HU,
    LEAF,
    ONES,
    SPVP,
    USER,
    VS,
    VU,
    M,
    U,
    transformed,
    word_of,
)

from emulator.hart import Mode

from .scene import ADDRESS, GPA, NOWHERE, PAGE, Scene
from .suite import grid, rule

SECTION = "Transformed Instruction or Pseudoinstruction for mtinst or htinst"

EXPLICIT = (
    "lb a0, -3(a1)", "lbu a3, 0(a1)", "lh t6, 2047(a1)", "lhu a0, 2(a1)", "lw s11, -2048(a1)", "lwu a0, 4(a1)",
    "ld a0, 8(a1)", "ld zero, 8(a1)", "sb a0, -1(a1)", "sh t6, 2047(a1)", "sw zero, 4(a1)", "sd a1, -2048(a1)",
    "flw fa0, 4(a1)", "fld ft11, 8(a1)", "fsw fa0, -4(a1)", "fsd ft11, 16(a1)",
    "lr.w a0, (a1)", "lr.d.aq a0, (a1)", "sc.w a0, a2, (a1)", "sc.d.rl a0, a2, (a1)", "amoswap.w a0, a2, (a1)",
    "amoadd.d.aqrl t6, t5, (a1)", "amomaxu.w zero, a2, (a1)",
)  # fmt: skip
GUEST = ("hlv.b a0, (a1)", "hlv.hu t6, (a1)", "hlv.d a0, (a1)", "hlvx.wu a0, (a1)", "hsv.b a2, (a1)", "hsv.d t6, (a1)")
SHORT = {
    "c.lw a0, 4(a1)": "lw a0, 4(a1)", "c.ld a2, 8(a1)": "ld a2, 8(a1)", "c.sw a0, 4(a1)": "sw a0, 4(a1)",
    "c.sd a2, 8(a1)": "sd a2, 8(a1)", "c.fld fa0, 8(a1)": "fld fa0, 8(a1)", "c.fsd fa2, 16(a1)": "fsd fa2, 16(a1)",
    "c.lwsp a0, 4": "lw a0, 4(sp)", "c.ldsp a0, 8": "ld a0, 8(sp)", "c.swsp a0, 4": "sw a0, 4(sp)",
    "c.sdsp a0, 8": "sd a0, 8(sp)", "c.fldsp fa0, 8": "fld fa0, 8(sp)", "c.fsdsp fa0, 8": "fsd fa0, 8(sp)",
}  # fmt: skip
"""A short instruction, and its equivalent of 32 bits."""


def raised(text: str, address: int, *, mode: Mode = VS, fault: str = "G", target: Mode = M) -> tuple[int, int]:
    """(cause, xtinst) of the instruction with a1 = sp = `address`, whose page is unmapped where `fault` says."""
    guest = not mode.virtual
    scene = Scene(mode, guest=guest, hstatus=HU | SPVP, mstatus=1 << 13, vsstatus=1 << 13)
    rig = scene.rig
    for page in (-1, 0, 1):
        at = ADDRESS + 0x1000 * page
        flags = LEAF | (USER if mode is VU else 0)
        if fault != "VS" and not (fault == "second" and page == 1):
            scene.first.map(at, GPA + 0x1000 * page, flags)
        elif fault == "second" and page == 1:
            scene.first.map(at, GPA + 0x10_0000, flags)
        if fault in ("access", "second"):
            scene.second.map(GPA + 0x1000 * page, NOWHERE if fault == "access" else PAGE + 0x1000 * page, LEAF | USER)
    rig.set(medeleg=ONES if target is HS else 0, mtinst=ONES, htinst=ONES)
    rig.write(BASE, text)
    rig.put(a1=address, sp=address)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(1)
    trap = rig.trap()
    assert trap is not None and trap[0] is target
    return trap[1], rig.csr("mtinst" if target is M else "htinst")


@rule(
    "tinst.explicit",
    "A fault of a load, store or atomic writes its transformation: rs1 and the offset zero, the rest kept",
    section=SECTION,
    rows=(35,),
    cases=grid(text=EXPLICIT, fault=("VS", "G", "access"), target=(M, HS)),
)
def _(text: str, fault: str, target: Mode) -> None:
    assert raised(text, ADDRESS, fault=fault, target=target)[1] == transformed(word_of(text))


@rule(
    "tinst.guest",
    "A fault of HLV, HLVX or HSV writes the instruction with rs1 zero",
    section=SECTION,
    rows=(35,),
    cases=grid(text=GUEST, fault=("VS", "G", "access"), mode=(M, HS, U)),
)
def _(text: str, fault: str, mode: Mode) -> None:
    assert raised(text, ADDRESS, fault=fault, mode=mode)[1] == transformed(word_of(text))


@rule(
    "tinst.short",
    "A compressed instruction is expanded, transformed, and marked by bit 1 being zero",
    section=SECTION,
    rows=(35,),
    cases=grid(text=SHORT.keys(), fault=("VS", "G")),
)
def _(text: str, fault: str) -> None:
    assert raised(text, ADDRESS, fault=fault)[1] == transformed(word_of(SHORT[text])) & ~2


@rule(
    "tinst.offset",
    "For a misaligned access bits 19:15 are the distance from its address to the byte that faulted",
    section=SECTION,
    rows=(35,),
    cases=grid(
        text=("lw a0, 0(a1)", "ld a0, 0(a1)", "sd a2, 0(a1)", "sh a2, 0(a1)", "lhu a0, 0(a1)"), before=range(1, 8)
    ),
)
def _(text: str, before: int) -> None:
    size = {"w": 4, "d": 8, "h": 2}[text[1]]
    if before >= size:
        before = size - 1
    _, found = raised(text, ADDRESS + 0x1000 - before, fault="second")
    assert found == transformed(word_of(text), before)


@rule(
    "tinst.zero",
    "Fetch faults, illegal and virtual instructions, breakpoints and calls write zero",
    section=SECTION,
    rows=(35,),
    cases=grid(
        text=("ecall", "ebreak", ".word 0xffffffff", "hfence.gvma zero, zero", "csrr a0, hstatus"), target=(M, HS)
    ),
)
def _(text: str, target: Mode) -> None:
    assert raised(text, ADDRESS, target=target)[1] == 0
