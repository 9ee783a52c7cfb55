"""MRET and SRET: where they go and what they leave."""

from __future__ import annotations

from rig import (
    BASE,
    DATA,
    HS,
    LEAF,
    MIE,
    MPIE,
    MPP,
    MPRV,
    MPV,
    SIE,
    SPIE,
    SPP,
    SPV,
    SPVP,
    TSR,
    USER,
    VS,
    M,
    Rig,
)

from emulator.hart import Mode

from .entry import CHANGED, fields, state
from .scene import ADDRESS, GPA, PAGE, Scene
from .suite import grid, rule

RETURN = "Trap Return"


def check_return(rig: Rig, mode: Mode, pc: int, expected: dict[str, int]) -> None:
    rig.run(1)
    after = state(rig)
    assert (rig.hart.mode, rig.hart.pc) == (mode, pc)
    differ = {k: (hex(after[k]), hex(expected[k])) for k in CHANGED if after[k] != expected[k]}
    assert not differ, f"(found, expected): {differ}"


@rule(
    "return.mret",
    "MRET goes to MPP with V=MPV, but M-mode when MPP=3; sets MPV=0, MPP=U, MIE=MPIE, MPIE=1, and MPRV=0 below M-mode",
    section=RETURN,
    rows=(38, 39, 54),
    cases=grid(
        mpp={"U": 0, "S": 1, "M": 3}, mpv=(0, MPV), mpie=(0, MPIE), mie=(0, MIE), rest=(0, SIE | SPIE | SPP | MPRV)
    ),
)
def _(mpp: int, mpv: int, mpie: int, mie: int, rest: int) -> None:
    rig = Rig("mret", mstatus=mpp << 11 | mpv | mpie | mie | rest, mepc=DATA, sepc=BASE + 64, vsepc=BASE + 128)
    rig.set(hstatus=SPV | SPVP, vsstatus=SPP | SPIE)
    before = state(rig)
    status = fields(
        before["mstatus"], mpp=(MPP, 0), mpv=(MPV, 0), mie=(MIE, MIE if mpie else 0), mpie=(MPIE, MPIE),
        mprv=(0 if mpp == 3 else MPRV, 0),
    )  # fmt: skip
    mode = Mode.of(mpp, bool(mpv) and mpp != 3)
    check_return(rig, mode, DATA, before | {"mstatus": status})


@rule(
    "return.sret",
    "SRET with V=0 goes to SPP with V=SPV; sets SPV=0, SPP=0, SIE=SPIE, SPIE=1 and MPRV=0, and leaves SPVP",
    section=RETURN,
    rows=(38,),
    cases=grid(mode=(M, HS), spp=(0, SPP), spv=(0, SPV), spie=(0, SPIE), sie=(0, SIE), rest=(0, 1)),
)
def _(mode: Mode, spp: int, spv: int, spie: int, sie: int, rest: int) -> None:
    more = (MPIE | MIE | MPV | MPRV | 1 << 11, SPVP, SPP | SPIE | SIE) if rest else (0, 0, 0)
    rig = Rig("sret", mstatus=spp | spie | sie | more[0], hstatus=spv | more[1], vsstatus=more[2], sepc=DATA)
    rig.set(mepc=BASE + 64, vsepc=BASE + 128)
    rig.hart.mode = mode
    before = state(rig)
    status = fields(before["mstatus"], spp=(SPP, 0), sie=(SIE, SIE if spie else 0), spie=(SPIE, SPIE), mprv=(MPRV, 0))
    hstatus = fields(before["hstatus"], spv=(SPV, 0))
    check_return(rig, Mode.of(int(bool(spp)), bool(spv)), DATA, before | {"mstatus": status, "hstatus": hstatus})


@rule(
    "return.sret.guest",
    "SRET in VS-mode goes by vsstatus.SPP and vsepc, stays in V=1, and touches vsstatus alone",
    section=RETURN,
    rows=(38, 65),
    cases=grid(spp=(0, SPP), spie=(0, SPIE), sie=(0, SIE), rest=(0, 1)),
)
def _(spp: int, spie: int, sie: int, rest: int) -> None:
    more = (MPIE | MIE | MPV | SIE | SPP | TSR, SPVP | SPV) if rest else (SPIE, 0)
    rig = Rig("sret", mstatus=more[0], hstatus=more[1], vsstatus=spp | spie | sie, vsepc=DATA)
    rig.set(mepc=BASE + 64, sepc=BASE + 128)
    rig.hart.mode = VS
    before = state(rig)
    status = fields(before["vsstatus"], spp=(SPP, 0), sie=(SIE, SIE if spie else 0), spie=(SPIE, SPIE))
    check_return(rig, Mode.of(int(bool(spp)), True), DATA, before | {"vsstatus": status})


@rule(
    "return.translation",
    "The instruction at the target of a return is fetched in the new mode, through its own translation",
    section=RETURN,
    rows=(57,),
    cases=grid(insn=("mret", "sret", "sret in VS"), user=(False, True)),
)
def _(insn: str, user: bool) -> None:
    scene = Scene(VS)
    rig = scene.rig
    scene.first.map(ADDRESS, GPA, LEAF | USER * user)
    scene.second.map(GPA, PAGE, LEAF | USER)
    rig.write(PAGE, "li a0, 5\necall")
    rig.write(BASE, insn.split()[0])
    rig.set(mepc=ADDRESS, sepc=ADDRESS, vsepc=ADDRESS)
    spp = 0 if user else SPP
    rig.set(mstatus=MPV | (0 if user else 1 << 11) | spp, hstatus=SPV, vsstatus=spp)
    rig.hart.mode, rig.hart.pc = {"mret": M, "sret": HS, "sret in VS": VS}[insn], BASE
    rig.run(3)
    assert rig.trap() == (M, 8 if user else 10, 0)
    assert (rig.x("a0"), rig.csr("mepc")) == (5, ADDRESS + 4)


@rule(
    "return.mret.machine",
    "MRET with MPP=3 leaves V=0 even with MPV=1: M-mode then means the supervisor's registers, and its own privilege",
    section=RETURN,
    rows=(39,),
    cases=grid(mpv=(0, MPV)),
)
def _(mpv: int) -> None:
    rig = Rig("mret", mstatus=MPP | mpv, mepc=DATA, sscratch=5, vsscratch=6, hgatp=8 << 60 | 0x774)
    rig.write(DATA, "csrr a0, sscratch\nld a2, 0(a1)\nhfence.gvma zero, zero\necall")
    rig.put(a1=DATA)
    rig.run(5)
    assert rig.trap() == (M, 11, 0)
    assert (rig.x("a0"), rig.x("a2")) == (5, rig.load(DATA))
    assert rig.csr("mstatus") & (MPP | MPV) == MPP
