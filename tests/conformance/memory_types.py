"""Page-based memory types (Svpbmt) and 64 KiB ranges (Svnapot), in both stages."""

from __future__ import annotations

from rig import HS, LEAF, LOAD_GUEST, LOAD_PAGE, ONES, USER, VS

from emulator.hart import Mode

from .scene import ACCESSES, ADDRESS, GPA, PAGE, VALUE, Scene
from .suite import grid, rule
from .walker import GUEST
from .walker import PAGE as PAGE_FAULT

HENVCFG = "Hypervisor Environment Configuration Register (henvcfg)"
SVPBMT = "Svpbmt Extension for Page-Based Memory Types"
SVNAPOT = "Svnapot Extension for NAPOT Translation Contiguity"
PBMTE = 1 << 62
N = 1 << 63
BLOCK = PAGE & ~0xFFFF
"""64 KiB of RAM around PAGE."""


@rule(
    "pbmt.enables",
    "menvcfg.PBMTE makes PBMT legal in one-stage translation and the G-stage, henvcfg.PBMTE in the VS-stage",
    section=HENVCFG,
    rows=(47,),
    cases=grid(stage=("one", "VS", "G"), pbmt=(1, 2, 3), menvcfg=(0, PBMTE), henvcfg=(0, PBMTE), kind=ACCESSES),
)
def _(stage: str, pbmt: int, menvcfg: int, henvcfg: int, kind: str) -> None:
    scene = Scene(HS if stage == "one" else VS, menvcfg=menvcfg)
    scene.rig.set(henvcfg=henvcfg)
    typed = pbmt << 61
    scene.first.map(ADDRESS, PAGE if stage == "one" else GPA, LEAF | (0 if stage == "G" else typed))
    scene.second.map(GPA, PAGE, LEAF | USER | (typed if stage == "G" else 0))
    found = scene.attempt(kind, ADDRESS)
    enabled = menvcfg and (henvcfg or stage != "VS")
    if enabled and pbmt != 3:
        assert found.cause is None
    else:
        assert found.cause == (GUEST if stage == "G" else PAGE_FAULT)[kind]
        assert found.tval2 == (GPA >> 2 if stage == "G" else 0)


@rule(
    "pbmt.pointers",
    "PBMT of an entry that points to a table is reserved, enabled or not",
    section=SVPBMT,
    rows=(47,),
    cases=grid(stage=("VS", "G"), pbmt=(1, 2, 3)),
)
def _(stage: str, pbmt: int) -> None:
    scene = Scene(VS, menvcfg=PBMTE)
    scene.rig.set(henvcfg=PBMTE)
    scene.first.map(ADDRESS, GPA, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    tables, at = (scene.first, ADDRESS) if stage == "VS" else (scene.second, GPA)
    slot = tables.slot(at, 1)
    scene.rig.store(slot, scene.rig.load(slot) | pbmt << 61)
    assert scene.attempt("load", ADDRESS).cause == (LOAD_PAGE if stage == "VS" else LOAD_GUEST)


@rule(
    "pbmt.gated",
    "henvcfg.PBMTE is read-only zero while menvcfg.PBMTE is 0",
    section=HENVCFG,
    rows=(11,),
)
def _() -> None:
    scene = Scene(HS, 0, menvcfg=0)
    scene.rig.set(henvcfg=ONES)
    assert not scene.rig.csr("henvcfg") & PBMTE
    scene.rig.set(menvcfg=PBMTE)
    scene.rig.set(henvcfg=ONES)
    assert scene.rig.csr("henvcfg") & PBMTE
    scene.rig.set(menvcfg=0)
    assert not scene.rig.csr("henvcfg") & PBMTE


@rule(
    "napot.range",
    "An entry with N and ppn[3:0] = 1000 maps 64 KiB: the low four bits of the page number are the address's",
    section=SVNAPOT,
    rows=(44,),
    cases=grid(stage=("one", "VS", "G", "both"), page=(0, 1, 7, 8, 15)),
)
def _(stage: str, page: int) -> None:
    mode: Mode = HS if stage == "one" else VS
    scene = Scene(mode)
    address, gpa, at = (base & ~0xFFFF | page << 12 for base in (ADDRESS, GPA, PAGE))
    napot = 0x8000
    vs_napot, g_napot = stage in ("one", "VS", "both"), stage in ("G", "both")
    first = (BLOCK if mode is HS else gpa & ~0xFFFF) | napot if vs_napot else gpa
    scene.first.map(address, first, LEAF | (N if vs_napot else 0))
    scene.second.map(gpa, BLOCK | napot if g_napot else at, LEAF | USER | (N if g_napot else 0))
    scene.rig.store(at | 0x28, VALUE)
    found = scene.attempt("load", address | 0x28)
    assert (found.cause, found.value) == (None, VALUE)


@rule(
    "napot.reserved",
    "N with any other ppn[3:0], or in a larger page or a pointer, is reserved and faults",
    section=SVNAPOT,
    rows=(47,),
    cases=grid(stage=("VS", "G"), low=[n for n in range(16) if n != 8], kind=ACCESSES),
)
def _(stage: str, low: int, kind: str) -> None:
    scene = Scene(VS)
    bad = BLOCK | low << 12
    scene.first.map(ADDRESS, (GPA & ~0xFFFF) | low << 12 if stage == "VS" else GPA, LEAF | (N if stage == "VS" else 0))
    scene.second.map(GPA, bad if stage == "G" else PAGE, LEAF | USER | (N if stage == "G" else 0))
    found = scene.attempt(kind, ADDRESS)
    assert found.cause == (PAGE_FAULT if stage == "VS" else GUEST)[kind]


@rule(
    "napot.superpage",
    "N in a larger page is reserved",
    section=SVNAPOT,
    rows=(47,),
    cases=grid(stage=("VS", "G"), level=(1, 2)),
)
def _(stage: str, level: int) -> None:
    scene = Scene(VS)
    far = 0x10_0000_0000
    scene.first.map(far, far, LEAF | (N if stage == "VS" else 0), level)
    scene.second.map(far, 1 << 31, LEAF | USER | (N if stage == "G" else 0), level)
    assert scene.attempt("load", far).cause == (LOAD_PAGE if stage == "VS" else LOAD_GUEST)
