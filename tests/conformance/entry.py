"""Trap entry: who takes an exception, and everything that the entry writes and leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rig import (
    BASE,
    BREAKPOINT,
    DATA,
    ECALL_M,
    ECALL_S,
    ECALL_U,
    ECALL_VS,
    FETCH,
    FETCH_ACCESS,
    GVA,
    H_GVA,
    HANDLER,
    HS,
    HU,
    ILLEGAL,
    LEAF,
    LOAD,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_MISALIGNED,
    MIE,
    MPIE,
    MPP,
    MPRV,
    MPV,
    MXR,
    ONES,
    SIE,
    SPIE,
    SPP,
    SPV,
    SPVP,
    STORE,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_MISALIGNED,
    SUM,
    TVM,
    USER,
    VIRTUAL,
    VS,
    VTSR,
    VTVM,
    VTW,
    VU,
    A,
    M,
    Rig,
    U,
    V,
    X,
    transformed,
)

from emulator.hart import Mode

from .scene import ADDRESS, GPA, MEMORY, MODES, NOWHERE, PAGE, Scene
from .suite import grid, rule
from .walker import ACCESS, GUEST
from .walker import PAGE as PAGE_FAULT

ENTRY = "Trap Entry"
DELEGATION = "Hypervisor Trap Delegation (hedeleg and hideleg) Registers"
CHANGED = (
    "mstatus", "hstatus", "vsstatus", "mepc", "mcause", "mtval", "mtval2", "mtinst", "sepc", "scause", "stval", "htval",
    "htinst", "vsepc", "vscause", "vstval",
)  # fmt: skip
"""What a trap may change."""
ECALL = {M: ECALL_M, HS: ECALL_S, U: ECALL_U, VS: ECALL_VS, VU: ECALL_U}
NEVER_BELOW_HS = {9, 10, 11, 16, 20, 21, 22, 23}
"""Exceptions whose bit of hedeleg is read-only zero."""
OFFSET = {M: 0, HS: 0x1000, VS: 0x2000}


@dataclass(frozen=True)
class Trap:
    """What an instruction raises."""

    cause: int
    tval: int = 0
    address: bool = False
    """Is tval an address of the mode, so that GVA tells whose?"""
    epc: int = BASE
    gpa: int = 0
    tinst: tuple[int, ...] = (0,)
    """Values that xtinst may have."""
    guest: bool | None = None
    """Is the address a guest's? By default where V=1."""


def state(rig: Rig) -> dict[str, int]:
    return {name: rig.csr(name) for name in CHANGED}


def fields(register: int, **values: tuple[int, int]) -> int:
    """`register` with fields (mask, value in place) replaced."""
    for mask, value in values.values():
        register = register & ~mask | value
    return register


def entered(before: dict[str, int], origin: Mode, target: Mode, trap: Trap, tinst: int, cause: int) -> dict[str, int]:
    """The model: sections "Trap Entry" and "Privilege and Global Interrupt-Enable Stack"."""
    after = dict(before)
    guest = trap.address and (origin.virtual if trap.guest is None else trap.guest)
    s, prefix = before["mstatus"], {M: "m", HS: "s", VS: "vs"}[target]
    after |= {f"{prefix}epc": trap.epc, f"{prefix}cause": cause, f"{prefix}tval": trap.tval}
    if target is M:
        after["mtval2"], after["mtinst"] = trap.gpa >> 2, tinst
        after["mstatus"] = fields(
            s, mpp=(MPP, origin.privilege << 11), mpie=(MPIE, MPIE if s & MIE else 0), mie=(MIE, 0),
            mpv=(MPV, MPV * origin.virtual), gva=(GVA, GVA * guest),
        )  # fmt: skip
        return after
    stacked = "vsstatus" if target is VS else "mstatus"
    s = before[stacked]
    after[stacked] = fields(
        s, spp=(SPP, SPP * (origin.privilege == 1)), spie=(SPIE, SPIE if s & SIE else 0), sie=(SIE, 0)
    )
    if target is HS:
        after["htval"], after["htinst"] = trap.gpa >> 2, tinst
        h = fields(before["hstatus"], spv=(SPV, SPV * origin.virtual), gva=(H_GVA, H_GVA * guest))
        after["hstatus"] = fields(h, spvp=(SPVP, SPVP * (origin.privilege == 1))) if origin.virtual else h
    return after


def destination(origin: Mode, cause: int, medeleg: int, hedeleg: int) -> Mode:
    if origin is M or not medeleg >> cause & 1:
        return M
    return VS if origin.virtual and hedeleg >> cause & 1 and cause not in NEVER_BELOW_HS else HS


FULL = dict.fromkeys(("mtval", "stval", "vstval", "mtval2", "htval", "mtinst", "htinst", "sepc", "vsepc", "mepc"), ONES)
STACKS = {
    "ones": {
        "mstatus": SIE | MIE | SPIE | MPIE | SPP | MPP | GVA | SUM | MXR, "vsstatus": SIE | SPIE | SPP | SUM,
        "hstatus": H_GVA | SPV | SPVP | HU, **FULL,
    },
    "zeros": {"mstatus": 0, "vsstatus": 0, "hstatus": 0, **dict.fromkeys(FULL, 0)},
    "enabled": {"mstatus": SIE | MIE, "vsstatus": SIE, "hstatus": SPVP, **FULL},
    "stacked": {"mstatus": SPIE | MPIE | SPP | GVA, "vsstatus": SPIE | SPP, "hstatus": SPV, **FULL},
}  # fmt: skip
"""What was in the registers before: all bits one way, all the other, and both mixtures of enables and their stacks."""


def check_entry(rig: Rig, origin: Mode, trap: Trap, steps: int = 1) -> Mode:
    """Run into `trap`: all that changes is what the model says. The mode that was entered."""
    before, epc = state(rig), trap.epc
    target = destination(origin, trap.cause, rig.csr("medeleg"), rig.csr("hedeleg"))
    rig.run(steps)
    assert (rig.hart.mode, rig.hart.pc) == (target, HANDLER + OFFSET[target]), (rig.hart.mode, hex(rig.hart.pc))
    tinst = {M: rig.csr("mtinst"), HS: rig.csr("htinst"), VS: 0}[target]
    assert tinst in trap.tinst or target is VS, f"xtinst {tinst:#x}"
    after = state(rig)
    expected = entered(before, origin, target, trap, tinst, trap.cause)
    differ = {k: (hex(after[k]), hex(expected[k])) for k in CHANGED if after[k] != expected[k]}
    assert not differ, f"(found, expected): {differ}"
    assert epc == after[{M: "mepc", HS: "sepc", VS: "vsepc"}[target]]
    return target


def load_word(text: str) -> int:
    from assembler import assemble

    return int.from_bytes(assemble(BASE, text).code, "little")


def explicit(text: str) -> tuple[int, ...]:
    """xtinst of an explicit access: nothing, or its transformation."""
    word = load_word(text)
    return 0, transformed(word)


# name: (instruction, what it raises in `origin`); a1 = NOWHERE, a2 = DATA + 2, a3 = 0.
SIMPLE: dict[str, tuple[str, Callable[[Mode], Trap]]] = {
    "ecall": ("ecall", lambda m: Trap(ECALL[m])),
    "ebreak": ("ebreak", lambda m: Trap(BREAKPOINT, BASE, True)),
    "c.ebreak": ("c.ebreak", lambda m: Trap(BREAKPOINT, BASE, True)),
    "illegal": (".word 0xffffffff", lambda m: Trap(ILLEGAL, 0xFFFF_FFFF)),
    "illegal 16 bits": (".half 0x8002", lambda m: Trap(ILLEGAL, 0x8002)),
    "illegal zeros": (".half 0", lambda m: Trap(ILLEGAL, 0)),
    "load access": ("ld a0, 8(a1)", lambda m: Trap(LOAD_ACCESS, NOWHERE + 8, True, tinst=explicit("ld a0, 8(a1)"))),
    "load access at 0": ("lbu a0, 0(a3)", lambda m: Trap(LOAD_ACCESS, 0, True, tinst=explicit("lbu a0, 0(a3)"))),
    "store access": ("sw a0, 4(a1)", lambda m: Trap(STORE_ACCESS, NOWHERE + 4, True, tinst=explicit("sw a0, 4(a1)"))),
    "store access at 0": ("sb a0, 0(a3)", lambda m: Trap(STORE_ACCESS, 0, True, tinst=explicit("sb a0, 0(a3)"))),
    "amo access": (
        "amoor.w a0, a1, (a1)", lambda m: Trap(STORE_ACCESS, NOWHERE, True, tinst=explicit("amoor.w a0, a1, (a1)")),
    ),
    "load misaligned": (
        "lr.w a0, (a2)", lambda m: Trap(LOAD_MISALIGNED, DATA + 2, True, tinst=explicit("lr.w a0, (a2)")),
    ),
    "store misaligned": (
        "amoadd.d a0, a0, (a2)",
        lambda m: Trap(STORE_MISALIGNED, DATA + 2, True, tinst=explicit("amoadd.d a0, a0, (a2)")),
    ),
    "fetch access": ("jr a1", lambda m: Trap(FETCH_ACCESS, NOWHERE, True, NOWHERE)),
    "fetch access at 0": ("jr a3", lambda m: Trap(FETCH_ACCESS, 0, True, 0)),
}  # fmt: skip


def simple(name: str, origin: Mode, before: dict[str, int], medeleg: int, hedeleg: int) -> Mode:
    text, raises = SIMPLE[name]
    rig = Rig(text, mode=origin, medeleg=medeleg, hedeleg=hedeleg, **before)
    rig.put(a1=NOWHERE, a2=DATA + 2, a3=0)
    return check_entry(rig, origin, raises(origin), 2 if name.startswith("fetch") else 1)


@rule(
    "trap.entry",
    "Trap entry stacks mode, V and interrupt enable of the mode that takes it, and changes nothing else",
    section=ENTRY,
    rows=(20, 21, 22, 25, 26, 34, 35),
    cases=grid(name=SIMPLE.keys(), origin=MODES, before=STACKS),
)
def _(name: str, origin: Mode, before: dict[str, int]) -> None:
    targets = {simple(name, origin, before, medeleg, hedeleg) for medeleg, hedeleg in ((0, 0), (ONES, 0), (ONES, ONES))}
    below = {M: {M}, HS: {M, HS}, U: {M, HS}, VS: {M, HS, VS}, VU: {M, HS, VS}}[origin]
    assert targets == (below - {VS} if SIMPLE[name][1](origin).cause in NEVER_BELOW_HS else below) or origin is M


@rule(
    "trap.entry.mode",
    "A trap to M-mode or HS-mode sets V=0, one to VS-mode keeps V=1: the supervisor's CSRs then mean those of that V",
    section=ENTRY,
    cases=grid(origin=(VS, VU), target=(M, HS, VS)),
)
def _(origin: Mode, target: Mode) -> None:
    deleg = {M: (0, 0), HS: (ONES, 0), VS: (ONES, ONES)}[target]
    rig = Rig("ebreak", mode=origin, medeleg=deleg[0], hedeleg=deleg[1], sscratch=5, vsscratch=6, mstatus=TVM)
    rig.write(HANDLER + OFFSET[target], "csrr a0, sscratch\ncsrw sscratch, zero")
    rig.run(3)
    assert (rig.hart.mode, rig.x("a0")) == (target, 6 if target is VS else 5)
    assert (rig.csr("sscratch"), rig.csr("vsscratch")) == ((5, 0) if target is VS else (0, 6))


@rule(
    "trap.delegation",
    "An exception goes by its own bit of medeleg, then of hedeleg, and never to a mode of less privilege",
    section=DELEGATION,
    rows=(5,),
    cases=grid(name=SIMPLE.keys(), origin=MODES),
)
def _(name: str, origin: Mode) -> None:
    bit = 1 << SIMPLE[name][1](origin).cause
    for medeleg in (0, bit, ONES & ~bit, ONES):
        for hedeleg in (0, bit, ONES & ~bit, ONES):
            simple(name, origin, STACKS["enabled"], medeleg, hedeleg)


VIRTUAL_IN = {
    "hlv.d a0, (a2)": (VS, VU), "hlvx.hu a0, (a2)": (VS, VU), "hsv.b a0, (a2)": (VS, VU),
    "hfence.gvma zero, zero": (VS, VU), "hfence.vvma zero, zero": (VS, VU), "csrr a0, hstatus": (VS, VU),
    "csrw vsatp, a0": (VS, VU), "csrr a0, sscratch": (VU,), "sret": (VS, VU), "wfi": (VS, VU),
    "sfence.vma": (VS, VU), "csrr a0, satp": (VS, VU), "csrr a0, cycle": (VS, VU),
}  # fmt: skip


@rule(
    "trap.virtual",
    "A virtual-instruction exception has xtval as an illegal one (the instruction), GVA 0, and never reaches VS-mode",
    section="Trap Cause Codes",
    rows=(21, 34, 61),
    cases={
        f"{text.replace(' ', '_')}-{mode.name}": {"text": text, "origin": mode}
        for text, modes in VIRTUAL_IN.items()
        for mode in modes
    },
)
def _(text: str, origin: Mode) -> None:
    for medeleg, hedeleg in (
        (0, 0),
        (1 << VIRTUAL, ONES),
        (ONES & ~(1 << VIRTUAL), ONES),
        (1 << ILLEGAL, 1 << ILLEGAL),
    ):
        for name, before in STACKS.items():
            rig = Rig(text, mode=origin, medeleg=medeleg, hedeleg=hedeleg, **before)
            rig.set(hstatus=before["hstatus"] | VTW | VTVM | VTSR, mcounteren=7, hcounteren=0)
            assert check_entry(rig, origin, Trap(VIRTUAL, load_word(text))) is not VS, name


@rule(
    "trap.illegal.bits",
    "xtval has the 16 or 32 bits wherever they lie: at the end of memory, across pages, in pages that only execute",
    section="Machine Trap Value (mtval) Register",
    cases=grid(
        mode=(HS, VS),
        bits=(0x0000, 0x9C79, 0x0001_000B, 0xFFFF_FFFF, 0xC000_1073, 0x000B),
        place={"begin": 0, "end": 0xFFC, "last": 0xFFE},
        next=(False, True),
        flags={"all": LEAF, "execute only": V | X | A},
    ),
)
def _(mode: Mode, bits: int, place: int, next: bool, flags: int) -> None:
    """The page is the last of RAM; with `next`, its neighbour leads to other code."""
    if place == 0xFFE and bits & 3 == 3 and not next:
        return  # the second half cannot be fetched
    scene = Scene(mode)
    rig, last = scene.rig, BASE + MEMORY - 0x1000
    for page, to in ((0, last), (0x1000, PAGE))[: 1 + next]:
        scene.first.map(ADDRESS + page, GPA + page if mode.virtual else to, flags)
        scene.second.map(GPA + page, to, flags | USER)
    for page in (last, PAGE):
        rig.machine.memory.write(page, b"\xaa" * 0x1000)
    code = bits.to_bytes(4 if bits & 3 == 3 else 2, "little")
    rig.machine.memory.write(last + place, code[: 0x1000 - place])
    rig.machine.memory.write(PAGE, code[0x1000 - place :])
    rig.hart.mode, rig.hart.pc = mode, ADDRESS + place
    rig.run(1)
    assert (rig.csr("mcause"), rig.csr("mtval"), rig.csr("mepc")) == (2, bits, ADDRESS + place)


@rule(
    "trap.illegal.stale",
    "xtval has the instruction that was executed, though an entry that no fence has followed maps its page elsewhere",
    section="Machine Trap Value (mtval) Register",
    cases=grid(mode=(HS, VS), what=("unmapped", "elsewhere")),
)
def _(mode: Mode, what: str) -> None:
    scene = Scene(mode)
    rig = scene.rig
    slot = scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    scene.first.map(slot & ~0xFFF, slot & ~0xFFF, LEAF)
    rig.write(PAGE, "sd a2, 0(a1)\n.word 0x0001000b")
    rig.write(PAGE + 0x1000, "nop\n.word 0x0002000b")
    other = (GPA if mode.virtual else PAGE) + 0x1000
    rig.put(a1=slot, a2=0 if what == "unmapped" else other >> 12 << 10 | LEAF)
    rig.hart.mode, rig.hart.pc = mode, ADDRESS
    rig.run(2)
    assert (rig.csr("mcause"), rig.csr("mepc")) == (2, ADDRESS + 4)
    assert rig.csr("mtval") == 0x0001_000B


@rule(
    "trap.illegal.xtval",
    "xtval of an illegal-instruction exception is the instruction, whichever rule made it illegal",
    section="Machine Trap Value (mtval) Register",
    rows=(34,),
    cases={
        text.replace(" ", "_"): {"text": text, "origin": mode}
        for text, mode in {
            "mret": HS, "csrr a0, mscratch": VS, "csrw cycle, a0": VS, "sret": U, "hlv.d a0, (a1)": U,
            "csrr a0, satp": HS, "sfence.vma": HS, "csrw hgatp, a0": HS, "wfi": U, "csrr a0, cycle": HS,
            "csrr a0, fcsr": VU, "fadd.d fa0, fa0, fa0": VS, "csrr a0, hgatp": U,
        }.items()
    },
)  # fmt: skip
def _(text: str, origin: Mode) -> None:
    rig = Rig(text, mode=origin, mstatus=TVM, mcounteren=0, mtval=ONES, vsstatus=0)
    check_entry(rig, origin, Trap(ILLEGAL, load_word(text)))


# --- page faults and guest-page faults ---

FAULTS = ("one stage", "VS-stage", "G-stage", "walk", "access")


@rule(
    "trap.pages",
    "Page, guest-page and access faults of translation: who takes them, and xtval, GVA, htval and htinst",
    section="Guest-Page Faults",
    rows=(20, 26, 28, 32, 35),
    cases=grid(
        fault=FAULTS, kind=(FETCH, LOAD, STORE), origin=(HS, U, VS, VU), before=STACKS,
        deleg={"M": (0, 0), "HS": (ONES, 0), "VS": (ONES, ONES)},
    ),
)  # fmt: skip
def _(fault: str, kind: str, origin: Mode, before: dict[str, int], deleg: tuple[int, int]) -> None:
    if (fault == "one stage") == origin.virtual:
        origin = {HS: VS, U: VU, VS: HS, VU: U}[origin]
    scene = Scene(origin, medeleg=deleg[0], hedeleg=deleg[1], **before)
    rig = scene.rig
    user = 0 if origin.privilege else USER
    if fault in ("G-stage", "access"):
        scene.first.map(ADDRESS, GPA, 0xCF | user)
    if fault == "access":
        scene.second.map(GPA, NOWHERE, 0xCF | USER)
    if fault == "walk":
        scene.first.map(ADDRESS, GPA, 0xCF | user)
        rig.store(scene.first.slot(ADDRESS, 1), GPA >> 12 << 10 | 1)
    text = {FETCH: "jr a1", LOAD: "lhu a0, 16(a2)", STORE: "sw a3, 16(a2)"}[kind]
    at = ADDRESS + 0x128
    rig.write(BASE, text)
    rig.put(a1=at, a2=at - 16)
    rig.hart.mode, rig.hart.pc = origin, BASE
    causes = {"G-stage": GUEST, "walk": GUEST, "access": ACCESS}.get(fault, PAGE_FAULT)
    tinst = (0x3000,) if fault == "walk" else (0,) if kind == FETCH else explicit(text)
    gpa = {"G-stage": GPA + 0x128, "walk": GPA + 8 * (ADDRESS >> 12 & 511)}.get(fault, 0)
    trap = Trap(causes[kind], at, True, at if kind == FETCH else BASE, gpa, tinst)
    check_entry(rig, origin, trap, 2 if kind == FETCH else 1)


@rule(
    "trap.hlv",
    "A fault of HLV, HLVX or HSV has SPV or MPV 0, as it came from V=0, and GVA 1",
    section="Hypervisor Status (hstatus) Register",
    rows=(23, 24),
    cases=grid(
        text=("hlv.h a0, (a1)", "hlvx.wu a0, (a1)", "hsv.d a0, (a1)"), origin=(M, HS, U),
        fault=("VS-stage", "G-stage", "walk", "access"), deleg=(0, ONES), spvp=(0, SPVP),
    ),
)  # fmt: skip
def _(text: str, origin: Mode, fault: str, deleg: int, spvp: int) -> None:
    scene = Scene(origin, guest=True, medeleg=deleg, hedeleg=deleg, hstatus=HU | spvp, mtval2=ONES, htval=ONES)
    rig = scene.rig
    user = 0 if spvp else USER
    if fault in ("G-stage", "access"):
        scene.first.map(ADDRESS, GPA, 0xCF | user)
    if fault == "access":
        scene.second.map(GPA, NOWHERE, 0xCF | USER)
    if fault == "walk":
        scene.first.map(ADDRESS, GPA, 0xCF | user)
        rig.store(scene.first.slot(ADDRESS, 1), GPA >> 12 << 10 | 1)
    rig.write(BASE, text)
    rig.put(a1=ADDRESS + 8)
    rig.hart.mode, rig.hart.pc = origin, BASE
    kind = STORE if text.startswith("hsv") else LOAD
    causes = {"G-stage": GUEST, "walk": GUEST, "access": ACCESS}.get(fault, PAGE_FAULT)
    gpa = {"G-stage": GPA + 8, "walk": GPA + 8 * (ADDRESS >> 12 & 511)}.get(fault, 0)
    tinst = (0x3000,) if fault == "walk" else explicit(text)
    check_entry(rig, origin, Trap(causes[kind], ADDRESS + 8, True, BASE, gpa, tinst, True))
    assert (rig.hart.mode is M) == (origin is M or not deleg)


@rule(
    "trap.mprv",
    "A fault of an access that MPRV made a guest's has MPV 0 and GVA 1; of a host's, GVA 0",
    section="Machine Status (mstatus and mstatush) Registers",
    rows=(23, 24),
    cases=grid(text=("ld a0, 0(a1)", "sd a0, 0(a1)", "amoswap.w a0, a0, (a1)"), mpv=(0, MPV), mpp=(0, 1)),
)
def _(text: str, mpv: int, mpp: int) -> None:
    scene = Scene(M, guest=True, mstatus=MPRV | mpv | mpp << 11, satp=0)
    rig = scene.rig
    rig.set(satp=scene.first.atp)
    rig.write(BASE, text)
    rig.put(a1=ADDRESS)
    kind = PAGE_FAULT[LOAD if text.startswith("ld") else STORE]
    check_entry(rig, M, Trap(kind, ADDRESS, True, BASE, tinst=explicit(text), guest=bool(mpv)))


@rule(
    "trap.gva.again",
    "GVA, htval and htinst are written by every trap: after a guest-page fault, a call leaves them 0",
    section="Hypervisor Trap Value (htval) Register",
    rows=(22, 26),
    cases=grid(target=(M, HS), origin=(VS, VU, U)),
)
def _(target: Mode, origin: Mode) -> None:
    scene = Scene(VS, medeleg=0 if target is M else ONES)
    rig = scene.rig
    scene.first.map(ADDRESS, GPA, 0xCF)
    rig.write(BASE, "ld a0, 0(a1)")
    rig.put(a1=ADDRESS)
    rig.hart.mode, rig.hart.pc = VS, BASE
    rig.run(1)
    names = ("mtval2", "mtinst") if target is M else ("htval", "htinst")
    status, bit = ("mstatus", GVA) if target is M else ("hstatus", H_GVA)
    assert rig.hart.mode is target
    assert (rig.csr(names[0]), rig.csr(status) & bit) == (GPA >> 2, bit)
    rig.set(vsatp=0, hgatp=0, satp=0)
    rig.write(BASE, "ecall")
    rig.hart.mode, rig.hart.pc = origin, BASE
    rig.run(1)
    assert rig.hart.mode is target
    assert [rig.csr(name) for name in names] == [0, 0]
    assert not rig.csr(status) & bit


@rule(
    "trap.spvp",
    "SPVP follows SPP in traps from V=1 into HS-mode, and keeps its value in those from V=0",
    section="Hypervisor Status (hstatus) Register",
    rows=(25,),
    cases=grid(origin=(U, HS, VS, VU), before=(0, SPVP)),
)
def _(origin: Mode, before: int) -> None:
    rig = Rig("ebreak", mode=origin, medeleg=ONES, hstatus=before)
    rig.run(1)
    assert rig.hart.mode is HS
    expected = before if not origin.virtual else SPVP if origin is VS else 0
    assert rig.csr("hstatus") & SPVP == expected
    if origin.virtual:
        assert bool(rig.csr("hstatus") & SPVP) == bool(rig.csr("sstatus") & SPP)


@rule(
    "trap.ecall.codes",
    "Calls have cause 8 from U and VU, 9 from HS, 10 from VS, 11 from M",
    section="Trap Cause Codes",
    cases=grid(origin={m.name: m for m in MODES}),
)
def _(origin: Mode) -> None:
    rig = Rig("ecall", mode=origin)
    rig.run(1)
    assert rig.trap() == (M, ECALL[origin], 0)


@rule(
    "trap.guest_page.delegation",
    "Guest-page faults may be delegated to HS-mode but no further",
    section="Guest-Page Faults",
    rows=(5,),
    cases=grid(kind=(FETCH, LOAD, STORE), origin=(VS, VU)),
)
def _(kind: str, origin: Mode) -> None:
    for medeleg, target in ((ONES, HS), (1 << GUEST[kind], HS), (ONES & ~(1 << GUEST[kind]), M)):
        scene = Scene(origin, 0, medeleg=medeleg, hedeleg=ONES)
        rig = scene.rig
        rig.write(BASE, {FETCH: "jr a1", LOAD: "lb a0, 0(a1)", STORE: "sb a0, 0(a1)"}[kind])
        rig.put(a1=GPA)
        rig.hart.mode, rig.hart.pc = origin, BASE
        rig.run(2 if kind == FETCH else 1)
        assert rig.trap() == (target, GUEST[kind], GPA)


@rule(
    "trap.vectored.exceptions",
    "Exceptions go to the base of xtvec, also where its mode is Vectored",
    section="Machine Trap-Vector Base-Address (mtvec) Register",
    cases=grid(target=(M, HS, VS)),
)
def _(target: Mode) -> None:
    deleg = {M: (0, 0), HS: (ONES, 0), VS: (ONES, ONES)}[target]
    rig = Rig("ebreak", mode=VU, medeleg=deleg[0], hedeleg=deleg[1])
    rig.set(mtvec=HANDLER | 1, stvec=HANDLER + 0x1001, vstvec=HANDLER + 0x2001)
    rig.run(1)
    assert (rig.hart.mode, rig.hart.pc) == (target, HANDLER + OFFSET[target])


@rule(
    "trap.precise",
    "A load that faults leaves its destination register, and a store memory, as it was",
    section="Guest-Page Faults",
    rows=(18,),
    cases=grid(text=("ld a0, 0(a1)", "lr.d a0, (a1)", "amoadd.d a0, a2, (a1)", "fld fa0, 0(a1)", "sc.d a0, a2, (a1)")),
)
def _(text: str) -> None:
    scene = Scene(VS, mstatus=1 << 13, vsstatus=1 << 13)
    scene.first.map(ADDRESS, GPA, 0xCF)
    rig = scene.rig
    rig.write(BASE, text)
    rig.put(a0=77, a1=ADDRESS)
    rig.hart.f[10] = 99
    rig.hart.mode, rig.hart.pc = VS, BASE
    rig.run(1)
    assert rig.trap() == (M, LOAD_GUEST if text[:2] in ("ld", "lr", "fl") else STORE_GUEST, ADDRESS)
    assert (rig.x("a0"), rig.hart.f[10]) == (77, 99)
    assert not rig.csr("mstatus") & 2 << 13 and not rig.csr("vsstatus") & 2 << 13
