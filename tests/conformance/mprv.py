"""mstatus.MPRV: accesses of M-mode as though of another mode, a guest's too."""

from __future__ import annotations

from itertools import product

from rig import (
    BASE,
    FETCH,
    HS,
    LEAF,
    LOAD,
    MPP,
    MPRV,
    MPV,
    MXR,
    SPVP,
    STORE,
    SUM,
    USER,
    VS,
    VU,
    A,
    D,
    M,
    Tables,
    U,
    V,
)

from emulator.hart import Mode

from .scene import ADDRESS, GPA, PAGE, VALUE, Scene
from .suite import grid, rule
from .translation import RWX, protect

MSTATUS = "Machine Status (mstatus and mstatush) Registers"
EXPLICIT = (LOAD, STORE, "lr", "sc", "amo")
AS = {"U": U, "HS": HS, "VU": VU, "VS": VS}


def status_of(mode: Mode) -> int:
    return MPRV | mode.privilege << 11 | MPV * mode.virtual


def scene_as(mode: Mode, flags: int, **csrs: int) -> Scene:
    """M-mode, whose data accesses are those of `mode`: tables of one stage for U and HS, else of both."""
    scene = Scene(M, guest=True)
    rig = scene.rig
    if not mode.virtual:
        rig.set(satp=scene.first.atp, vsatp=0, hgatp=0)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, flags)
    scene.second.map(GPA, PAGE, LEAF | USER)
    rig.set(mstatus=status_of(mode) | csrs.pop("mstatus", 0), **csrs)
    return scene


@rule(
    "mprv.modes",
    "With MPRV=1 explicit accesses of M-mode are translated and protected as though in mode MPP with V=MPV",
    section=MSTATUS,
    cases=grid(mode=AS, kind=EXPLICIT, user=(0, USER)),
)
def _(mode: Mode, kind: str, user: int) -> None:
    scene = scene_as(mode, LEAF | user)
    found = scene.check(kind, ADDRESS)
    assert (found.cause is None) == (bool(user) == (mode.privilege == 0))


@rule(
    "mprv.permissions",
    "vsstatus.SUM and MXR count for MPV=1, with the host's MXR in both stages; the host's SUM for MPV=0",
    section=MSTATUS,
    rows=(48, 49),
    cases=grid(mode=AS, kind=(LOAD, STORE), host=(0, SUM, MXR), guest=(0, SUM, MXR)),
)
def _(mode: Mode, kind: str, host: int, guest: int) -> None:
    scene = scene_as(mode, LEAF, mstatus=host, vsstatus=guest)
    for rwx, user in product(RWX, (0, USER)):
        scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, V | A | D | rwx | user)
        scene.check(kind, ADDRESS)
    if mode.virtual:
        scene.first.map(ADDRESS, GPA, LEAF | (0 if mode.privilege else USER))
        for rwx in RWX:
            scene.second.map(GPA, PAGE, V | A | D | USER | rwx)
            scene.check(kind, ADDRESS)


@rule(
    "mprv.machine",
    "MPP=3 means M-mode's own accesses, without translation, whatever MPV is; so does MPRV=0",
    section=MSTATUS,
    rows=(39,),
    cases=grid(status={"MPP=3": MPRV | MPP, "MPP=3 MPV=1": MPRV | MPP | MPV, "MPRV=0": MPV | 1 << 11}, kind=EXPLICIT),
)
def _(status: int, kind: str) -> None:
    scene = scene_as(VS, LEAF)
    # Neither stage knows the page: the roots are of other tables, or empty.
    scene.rig.set(mstatus=status, hgatp=8 << 60 | (BASE + 0x14_0000) >> 12)
    assert scene.check(kind, PAGE).cause is None


@rule(
    "mprv.fetch",
    "Fetches are M-mode's own: neither translated nor protected by MPRV",
    section=MSTATUS,
    rows=(55,),
    cases=grid(mode=AS),
)
def _(mode: Mode) -> None:
    scene = scene_as(mode, LEAF)
    rig = scene.rig
    found = scene.execute("jr a1", PAGE, steps=2)
    assert found.cause is None and rig.hart.pc == PAGE + 2
    protect(rig, PAGE, 1)  # readable only: M-mode's fetches are not bound by an unlocked entry
    assert scene.attempt(FETCH, PAGE).cause is None


@rule(
    "mprv.pmp",
    "PMP holds for these accesses as for mode MPP",
    section="Physical Memory Protection",
    rows=(26,),
    cases=grid(mode=AS, kind=(LOAD, STORE), rights=(0, 1, 3)),
)
def _(mode: Mode, kind: str, rights: int) -> None:
    scene = scene_as(mode, LEAF | (0 if mode.privilege else USER))
    protect(scene.rig, PAGE, rights)
    good = rights & (1 if kind == LOAD else 2)
    found = scene.attempt(kind, ADDRESS)
    assert found.cause == (None if good else 5 if kind == LOAD else 7)
    assert good or (found.tval2, found.gva) == (0, mode.virtual)


@rule(
    "mprv.other_modes",
    "MPRV has no effect on accesses of modes below M",
    section=MSTATUS,
    cases=grid(mode=(HS, U), kind=(LOAD, STORE), mpp=(0, 1, 3)),
)
def _(mode: Mode, kind: str, mpp: int) -> None:
    scene = Scene(mode, 0)
    scene.rig.set(vsatp=8 << 60 | 0x777, hgatp=8 << 60 | 0x774)
    scene.rig.write(BASE, "ld a0, 0(a1)" if kind == LOAD else "sd a2, 0(a1)")
    scene.rig.set(mstatus=MPRV | MPV | mpp << 11)
    scene.rig.put(a1=PAGE)
    scene.rig.hart.mode, scene.rig.hart.pc = mode, BASE
    scene.rig.run(1)
    assert scene.rig.trap() is None
    assert kind == STORE or scene.rig.x("a0") == VALUE


@rule(
    "mprv.switch",
    "A change of MPRV, MPP or MPV counts for the next access",
    section=MSTATUS,
    rows=(57,),
)
def _() -> None:
    scene = Scene(M, guest=True, hstatus=SPVP)
    rig = scene.rig
    own = Tables(rig, at=BASE + 0x12_0000)
    own.map(ADDRESS, PAGE + 0x1000, LEAF)
    own.map(ADDRESS & ~0xFFF_FFFF | PAGE, PAGE, LEAF)
    scene.first.map(ADDRESS, GPA, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    rig.set(satp=own.atp)
    rig.store(PAGE + 0x1000, 222)
    for status, expected in ((status_of(VS), VALUE), (status_of(HS), 222), (status_of(VS), VALUE), (MPP | MPRV, None)):
        rig.set(mstatus=status)
        found = scene.attempt(LOAD, ADDRESS)
        assert found.value == expected
        assert (found.cause == 5) == (expected is None)
