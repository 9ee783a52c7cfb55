"""Enhanced PMP (Smepmp) and guests."""

from __future__ import annotations

from rig import (
    BASE,
    FETCH,
    HS,
    LEAF,
    LOAD,
    ONES,
    SPVP,
    STORE,
    USER,
    VS,
    VU,
    M,
    U,
)

from emulator.hart import Mode

from .scene import ADDRESS, GPA, PAGE, Scene
from .suite import grid, rule
from .walker import ACCESS

SECTION = "Smepmp Extension for PMP Enhancements for memory access and execution prevention in Machine mode"
MML, MMWP, RLB = 1, 2, 4
SHARED = {0b0010: 0b001, 0b0011: 0b011, 0b1010: 0b100, 0b1011: 0b100, 0b1111: 0b001}
"""By L, R, W, X: what supervisor and user may do (bits X, W, R) in regions that they share with M-mode."""


def rights(lrwx: int) -> int:
    """The truth table of MML for S-mode and U-mode, as bits 2 X, 1 W, 0 R."""
    if lrwx in SHARED:
        return SHARED[lrwx]
    if lrwx & 8:
        return 0  # M-mode's alone
    return lrwx >> 2 & 1 | lrwx & 2 | (lrwx & 1) << 2


@rule(
    "smepmp.table",
    "With mseccfg.MML the truth table for S and U holds for a guest's accesses and for HLV, HLVX and HSV",
    section=SECTION,
    rows=(50, 51),
    cases=grid(mode=(HS, U, VS, VU), lrwx=range(16)),
)
def _(mode: Mode, lrwx: int) -> None:
    kinds = {FETCH: 4, LOAD: 1, STORE: 2} | ({"hlv": 1, "hlvx": 5, "hsv": 2} if mode is HS else {})
    for kind, needed in kinds.items():
        guest = kind.startswith("h")
        scene = Scene(mode, guest=guest, hstatus=SPVP)
        scene.first.map(ADDRESS, GPA if mode.virtual or guest else PAGE, LEAF | (0 if mode.privilege else USER))
        scene.second.map(GPA, PAGE, LEAF | USER)
        cfg = (lrwx & 8) << 4 | lrwx >> 2 & 1 | lrwx & 2 | (lrwx & 1) << 2
        # MML comes first, since R=0 with W=1 is reserved without it, and RLB, so that locked entries can be written.
        # Entry 1 lets S and U at everything, as entry 0 did.
        scene.rig.set(pmpaddr1=ONES, pmpcfg0=0x1F << 8 | 0x1F, mseccfg=MML | RLB)
        scene.rig.set(pmpaddr0=PAGE >> 2 | 511, pmpcfg0=0x1F << 8 | 0x18 | cfg)
        found = scene.attempt(kind, ADDRESS)
        good = rights(lrwx) & needed == needed
        base = {"hlv": LOAD, "hlvx": LOAD, "hsv": STORE}.get(kind, kind)
        assert found.cause == (None if good else ACCESS[base]), (kind, found)


MACHINE = {
    0b0010: 0b011, 0b0011: 0b011, 0b1001: 0b100, 0b1010: 0b100, 0b1011: 0b101, 0b1100: 0b001, 0b1101: 0b101,
    0b1110: 0b011, 0b1111: 0b001,
}  # fmt: skip
"""By L, R, W, X: what M-mode may do (bits X, W, R) under MML; nothing elsewhere."""
NEEDED = {FETCH: 4, LOAD: 1, STORE: 2}


def page(address: int) -> int:
    """pmpaddr of a NAPOT range of 4 KiB."""
    return address >> 2 | 0x1FF


@rule(
    "smepmp.machine",
    "With mseccfg.MML M-mode may do what the truth table says: rules of lower modes grant it nothing",
    section=SECTION,
    cases=grid(lrwx=range(16), kind=(FETCH, LOAD, STORE)),
)
def _(lrwx: int, kind: str) -> None:
    scene = Scene(M)
    config = (lrwx & 8) << 4 | 0b11000 | (lrwx & 1) << 2 | lrwx & 2 | lrwx >> 2 & 1
    scene.rig.set(mseccfg=MML | RLB, pmpaddr0=page(PAGE), pmpaddr1=page(BASE))
    scene.rig.set(pmpcfg0=config | 0b1001_1101 << 8)
    assert (scene.attempt(kind, PAGE).cause is None) == bool(MACHINE.get(lrwx, 0) & NEEDED[kind])


@rule(
    "smepmp.none",
    "Where no entry matches M-mode may do all; under MML not execute; under MMWP nothing",
    section=SECTION,
    cases=grid(mml=(0, MML), mmwp=(0, MMWP), kind=(FETCH, LOAD, STORE)),
)
def _(mml: int, mmwp: int, kind: str) -> None:
    scene = Scene(M)
    scene.rig.set(mseccfg=RLB, pmpaddr0=0, pmpaddr1=page(BASE))
    scene.rig.set(pmpcfg0=0b1001_1101 << 8)
    scene.rig.set(mseccfg=mml | mmwp | RLB)  # counts at once
    assert (scene.attempt(kind, PAGE).cause is None) == (not mmwp and not (mml and kind == FETCH))


@rule(
    "smepmp.locked",
    "Without MML an entry binds M-mode only where it is locked",
    section=SECTION,
    cases=grid(
        lock=(0, 0x80), rwx=(0b000, 0b001, 0b011, 0b100, 0b101, 0b111), kind=(FETCH, LOAD, STORE), mmwp=(0, MMWP)
    ),
)
def _(lock: int, rwx: int, kind: str, mmwp: int) -> None:
    scene = Scene(M)
    scene.rig.set(mseccfg=mmwp | RLB, pmpaddr0=page(PAGE), pmpaddr1=page(BASE))
    scene.rig.set(pmpcfg0=lock | 0b11000 | rwx | 0b1001_1101 << 8)
    assert (scene.attempt(kind, PAGE).cause is None) == (not lock or bool(rwx & NEEDED[kind]))


@rule(
    "smepmp.sticky",
    "MML and MMWP stay 1 once set; RLB cannot be set while an entry is locked, but stays where it was set before",
    section=SECTION,
    cases=grid(lock=(0, 0x80), entry=(0, 15), before=(0, RLB, MML, MMWP)),
)
def _(lock: int, entry: int, before: int) -> None:
    rig = Scene(M).rig
    rig.set(mseccfg=before)
    rig.set(**{f"pmpcfg{entry // 8 * 2}": (lock | 0x19) << entry % 8 * 8})  # readable only: MML refuses no such entry
    rig.set(mseccfg=RLB)
    kept = before & (MML | MMWP)
    assert rig.csr("mseccfg") == kept | (RLB if before & RLB or not lock else 0)
    rig.set(mseccfg=0)
    assert rig.csr("mseccfg") == kept


@rule(
    "smepmp.rlb",
    "With RLB 1 locked entries can be written and removed, with RLB 0 they cannot, whatever else is set",
    section=SECTION,
    cases=grid(entry=(0, 5, 15), rlb=(0, RLB), others=(0, MMWP, MML | MMWP), kind={"TOR": 8, "NAPOT": 0x18}),
)
def _(entry: int, rlb: int, others: int, kind: int) -> None:
    rig = Scene(M).rig
    rig.set(pmpcfg0=0, pmpcfg2=0, mseccfg=rlb | others)
    config, shift = f"pmpcfg{entry // 8 * 2}", entry % 8 * 8
    rig.set(**{f"pmpaddr{i}": 0x100 + i for i in range(16)})
    rig.set(**{config: (0x80 | kind | 1) << shift})
    rig.set(**{f"pmpaddr{i}": 0x777 for i in range(16)})
    kept = set() if rlb else {entry, entry - 1 if kind == 8 else entry}
    assert {i for i in range(16) if rig.csr(f"pmpaddr{i}") != 0x777} == kept - {-1}
    rig.set(**{config: 0})
    assert bool(rig.csr(config)) == (not rlb)


@rule(
    "smepmp.add",
    "Under MML no entry is taken that lets M-mode execute, but with RLB",
    section=SECTION,
    cases=grid(lrwx=range(16), rlb=(0, RLB)),
)
def _(lrwx: int, rlb: int) -> None:
    rig = Scene(M).rig
    config = (lrwx & 8) << 4 | 0b11000 | (lrwx & 1) << 2 | lrwx & 2 | lrwx >> 2 & 1
    rig.set(mseccfg=MML | rlb, pmpcfg2=config)
    refused = not rlb and lrwx in (0b1001, 0b1010, 0b1011, 0b1101)
    assert rig.csr("pmpcfg2") & 0xFF == (0 if refused else config)


@rule(
    "smepmp.without",
    "Without MML W without R is reserved and locked entries may execute, whatever else mseccfg has",
    section=SECTION,
    cases=grid(mseccfg={"none": 0, "MMWP": MMWP, "RLB": RLB, "PMM": 2 << 32}, rwx=range(8), lock=(0, 0x80)),
)
def _(mseccfg: int, rwx: int, lock: int) -> None:
    rig = Scene(M).rig
    rig.set(mseccfg=mseccfg)
    rig.set(pmpcfg2=lock | 0x18 | rwx)
    assert rig.csr("mseccfg") == mseccfg
    assert rig.csr("pmpcfg2") == lock | 0x18 | (rwx & ~2 if rwx & 3 == 2 else rwx)
