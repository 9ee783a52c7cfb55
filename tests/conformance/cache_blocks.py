"""Cache-block instructions (Zicbom, Zicboz) and WRS (Zawrs) in guests."""

from __future__ import annotations

from itertools import product

from rig import (
    BASE,
    HS,
    ILLEGAL,
    LEAF,
    ONES,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    TW,
    USER,
    VIRTUAL,
    VS,
    VTW,
    VU,
    M,
    U,
)

from emulator.hart import Mode
from emulator.isa.csrs import BY_NAME
from emulator.machine import ACLINT

from .access import OPEN, Bench
from .scene import ADDRESS, GPA, NOWHERE, PAGE, Scene
from .suite import grid, rule

MODES = (M, HS, U, VS, VU)
HENVCFG = "Hypervisor Environment Configuration Register (henvcfg)"
CBIE, CBCFE, CBZE = 1 << 4, 1 << 6, 1 << 7
CBO = {"cbo.inval": (0, CBIE), "cbo.clean": (1, CBCFE), "cbo.flush": (2, CBCFE), "cbo.zero": (4, CBZE)}


def word(name: str) -> int:
    """With a1 as the address."""
    return CBO[name][0] << 20 | 11 << 15 | 0x200F


@rule(
    "cbo.enables",
    "CBO: menvcfg's bit 0 is illegal below M; henvcfg's 0 virtual in a guest; senvcfg's 0 illegal in U, virtual in VU",
    section=HENVCFG,
    rows=(71,),
    cases=grid(name=CBO.keys(), mode=MODES),
)
def _(name: str, mode: Mode) -> None:
    bench = Bench(OPEN)
    bit = CBO[name][1]
    for m, h, s, others in product((True, False), repeat=4):
        fill = (CBIE | CBCFE | CBZE) & ~bit if others else 0
        values = {"menvcfg": m, "henvcfg": h, "senvcfg": s}
        bench.rig.set(**{register: bit * on | fill for register, on in values.items()})
        if mode is M:
            expected = None
        elif not m:
            expected = ILLEGAL
        elif mode.virtual:
            expected = None if h and (s or mode is VS) else VIRTUAL
        else:
            expected = None if s or mode is HS else ILLEGAL
        assert bench.execute(mode, word(name)) == expected, values


@rule(
    "cbo.faults",
    "A fault of a CBO is a store's: page fault 15, guest-page fault 23, access fault 7; xtinst keeps its operation,"
    " funct3 and opcode",
    section="Cache Management Operations (CMOs)",
    cases=grid(name=CBO.keys(), fault=("VS", "G", "walk", "access")),
)
def _(name: str, fault: str) -> None:
    scene = Scene(VS, menvcfg=ONES)
    scene.rig.set(henvcfg=ONES, senvcfg=ONES, **({"mstateen0": ONES} if "mstateen0" in BY_NAME else {}))
    scene.rig.set(menvcfg=CBIE | CBCFE | CBZE, henvcfg=CBIE | CBCFE | CBZE)
    if fault != "VS":
        scene.first.map(ADDRESS, GPA, LEAF)
    if fault == "access":
        scene.second.map(GPA, NOWHERE, LEAF | USER)
    if fault == "walk":
        scene.rig.store(scene.first.slot(ADDRESS, 1), GPA >> 12 << 10 | 1)
    found = scene.execute(f".word {word(name):#x}", ADDRESS)
    gpa = {"G": GPA, "walk": GPA + 8 * (ADDRESS >> 12 & 511)}.get(fault, 0)
    assert found.cause == {"VS": STORE_PAGE, "access": STORE_ACCESS}.get(fault, STORE_GUEST)
    assert (found.tval, found.tval2, found.gva) == (ADDRESS, gpa >> 2, True)
    assert found.tinst == (0x3000 if fault == "walk" else word(name) & 0xFFF0707F)


@rule(
    "cbo.zero",
    "CBO.ZERO stores 64 zero bytes through both stages, at the block that holds the address",
    section="Cache Management Operations (CMOs)",
    cases=grid(offset=(0, 1, 63, 64)),
)
def _(offset: int) -> None:
    scene = Scene(VS, menvcfg=CBZE)
    scene.rig.set(henvcfg=CBZE)
    scene.first.map(ADDRESS, GPA, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    memory = scene.rig.machine.memory
    start = offset & ~63
    for _ in range(2):  # the page is known the second time
        memory.write(PAGE, b"\xff" * 256)
        assert scene.execute(f".word {word('cbo.zero'):#x}", ADDRESS + offset).cause is None
        assert memory.read(PAGE, 256) == b"\xff" * start + bytes(64) + b"\xff" * (192 - start)
    # By one run of a program, so that the page stays known; and so does page 0, which it is not about.
    scene.first.map(0, GPA + 0x1000, LEAF)
    scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    memory.write(PAGE, b"\xff" * 256)
    memory.write(PAGE + 0x1000, b"\xff" * 256)
    rig = scene.rig
    zero = f".word {word('cbo.zero'):#x}\n"
    rig.write(BASE, f"sd a2, 0(zero)\n{zero}sd a2, 0(a3)\nsd a2, 56(a3)\naddi a1, a1, 7\n{zero}")
    rig.put(a1=ADDRESS + offset, a2=ONES, a3=ADDRESS + start)
    rig.hart.pc, rig.hart.mode = BASE, VS
    rig.run(6)
    assert memory.read(PAGE + 0x1000, 256) == b"\xff" * 256
    blocks = memory.read(PAGE + start, 64), memory.read(PAGE + start + 64, 64)
    if (offset + 7) & ~63 == start:
        assert blocks == (bytes(64), b"\xff" * 64)
    else:
        assert blocks == (b"\xff" * 8 + bytes(48) + b"\xff" * 8, bytes(64))


@rule(
    "cbo.pmp",
    "The whole block must be permitted: for reading or writing to be managed, for writing to be zeroed; else 7",
    section="Cache Management Operations (CMOs)",
    cases=grid(name=CBO.keys(), mode=(HS, VS), rights=(0, 1, 3, 4), part=(0, 32)),
)
def _(name: str, mode: Mode, rights: int, part: int) -> None:
    """An entry for the block, or for its second half alone, between others that permit everything."""
    scene = Scene(mode, menvcfg=CBIE | CBCFE | CBZE)
    scene.rig.set(henvcfg=CBIE | CBCFE | CBZE)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    low = PAGE + 64 + part
    scene.rig.set(pmpcfg0=0, pmpaddr0=low >> 2, pmpaddr1=PAGE + 128 >> 2, pmpaddr2=ONES)
    scene.rig.set(pmpcfg0=0x1F << 16 | (8 | rights) << 8)
    needed = 2 if name == "cbo.zero" else 1
    for _ in range(2):
        allowed = bool(rights & needed) and not part
        for offset, good in ((0, True), (64, allowed), (100, allowed)):
            found = scene.execute(f".word {word(name):#x}", ADDRESS + offset)
            assert found.cause == (None if good else STORE_ACCESS), offset
            if not good:
                assert (found.tval, found.tval2, found.gva) == (ADDRESS + offset, 0, mode.virtual)


@rule(
    "cbo.device",
    "A device's blocks may be managed, with no effect, but not zeroed; where nothing is, all of them are access faults",
    section="Cache Management Operations (CMOs)",
    cases=grid(name=CBO.keys(), mode=(M, HS, VS), where={"device": ACLINT + 0x4000, "nowhere": NOWHERE, "RAM": PAGE}),
)
def _(name: str, mode: Mode, where: int) -> None:
    scene = Scene(mode, 0 if mode is M else 3, menvcfg=CBIE | CBCFE | CBZE)
    scene.rig.set(henvcfg=CBIE | CBCFE | CBZE)
    scene.first.map(ADDRESS, GPA if mode.virtual else where, LEAF)
    scene.second.map(GPA, where, LEAF | USER)
    scene.rig.hart.mtimecmp = 5
    address = (where if mode is M else ADDRESS) + 3
    found = scene.execute(f".word {word(name):#x}", address)
    good = where == PAGE or (where != NOWHERE and name != "cbo.zero")
    assert found.cause == (None if good else STORE_ACCESS)
    assert good or found.tval == address
    assert scene.rig.hart.mtimecmp == 5


@rule(
    "wrs.trap",
    "WRS.NTO goes by TW and VTW as WFI does, but may be executed in U and VU; WRS.STO is never trapped. The time after"
    " which this hart traps is 0",
    section="Zawrs Extension for Wait-on-Reservation-Set instructions",
    rows=(64,),
    cases=grid(mode=MODES, tw=(0, TW), vtw=(0, VTW)),
)
def _(mode: Mode, tw: int, vtw: int) -> None:
    bench = Bench(OPEN)
    bench.rig.set(mstatus=tw, hstatus=vtw)
    expected = ILLEGAL if mode is not M and tw else VIRTUAL if mode.virtual and vtw else None
    assert bench.execute(mode, 0x00D0_0073) == expected
    assert bench.execute(mode, 0x01D0_0073) is None
