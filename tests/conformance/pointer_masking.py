"""Pointer masking (Ssnpm, Smnpm) where guests are concerned."""

from __future__ import annotations

from rig import BASE, HS, HU, LEAF, MPRV, MPV, MXR, SPVP, USER, VS, VU, M, U

from emulator.hart import Mode

from .scene import ADDRESS, GPA, PAGE, VALUE, Scene
from .suite import grid, rule

SECTION = "Pointer Masking Extensions"
HSTATUS = "Hypervisor Status (hstatus) Register"
PMM, HUPMM = 32, 48
PMLEN = {0: 0, 2: 7, 3: 16}


def scene_for(mode: Mode, guest: bool = False, **csrs: int) -> Scene:
    scene = Scene(mode, guest=guest, **csrs)
    user = mode.privilege == 0 if not guest else not csrs.get("hstatus", 0) & SPVP
    scene.first.map(ADDRESS, GPA if mode.virtual or guest else PAGE, LEAF | (USER if user else 0))
    scene.second.map(GPA, PAGE, LEAF | USER)
    return scene


@rule(
    "mask.modes",
    "PMM of menvcfg masks HS-mode's pointers, of henvcfg VS-mode's, of senvcfg those of U-mode and VU-mode; no other",
    section=SECTION,
    cases=grid(mode=(HS, U, VS, VU), pmm=(0, 2, 3), others=(0, 3), kind=("load", "store", "amo")),
)
def _(mode: Mode, pmm: int, others: int, kind: str) -> None:
    own = {HS: "menvcfg", VS: "henvcfg", U: "senvcfg", VU: "senvcfg"}[mode]
    scene = scene_for(mode)
    scene.rig.set(**{name: (pmm if name == own else others) << PMM for name in ("menvcfg", "henvcfg", "senvcfg")})
    at = ADDRESS | 0x2A << 57
    found = scene.attempt(kind, at)
    assert (found.cause is None) == (pmm != 0)
    if pmm == 0:
        assert found.cause in (13, 15) and found.tval == at
    at = ADDRESS | 0x1B << 49  # below the upper seven bits
    assert (scene.attempt(kind, at).cause is None) == (pmm == 3)


@rule(
    "mask.machine",
    "PMM of mseccfg masks M-mode's pointers and extends them with zeros, whatever satp and MXR are; no other does so",
    section=SECTION,
    cases=grid(pmm=(0, 2, 3), others=(0, 3), more=(0, MXR), kind=("load", "store", "amo")),
)
def _(pmm: int, others: int, more: int, kind: str) -> None:
    scene = Scene(M, mstatus=more, vsatp=8 << 60, satp=8 << 60)
    scene.rig.set(mseccfg=pmm << PMM, **dict.fromkeys(("menvcfg", "henvcfg", "senvcfg"), others << PMM))
    assert (scene.attempt(kind, PAGE | 0x7F << 57).cause is None) == (pmm != 0)
    assert (scene.attempt(kind, PAGE | 1 << 49).cause is None) == (pmm == 3)
    assert scene.attempt("fetch", PAGE | 1 << 62).cause == 1
    if pmm and kind == "load":
        top = 1 << 63 - PMLEN[pmm]  # the highest bit that is left: no sign
        assert scene.attempt(kind, PAGE | top).tval == PAGE | top


@rule(
    "mask.change",
    "A pointer that was masked is not behind a write that ends it, and is again behind one that begins it",
    section=SECTION,
    cases=grid(mode=(HS, U, VS, VU), kind=("load", "store")),
)
def _(mode: Mode, kind: str) -> None:
    scene = scene_for(mode)
    own = {HS: "menvcfg", VS: "henvcfg", U: "senvcfg", VU: "senvcfg"}[mode]
    for pmm in (2, 0, 2, 0):
        scene.rig.set(**{own: pmm << PMM})
        for _ in range(2):
            assert (scene.attempt(kind, ADDRESS | 0x2A << 57).cause is None) == (pmm != 0)


@rule(
    "mask.fence",
    "A fence for an address drops what pointers with any tag have made known of its page",
    section=SECTION,
    cases=grid(mode=(HS, VS), pmm=(2, 3), kind=("load", "store")),
)
def _(mode: Mode, pmm: int, kind: str) -> None:
    scene = scene_for(mode)
    rig = scene.rig
    rig.set(**{"menvcfg" if mode is HS else "henvcfg": pmm << PMM})
    slot = scene.first.slot(ADDRESS)
    for tag in (0x2A << 57, 0, 0x55 << 57):
        for _ in range(2):
            assert scene.attempt(kind, ADDRESS | tag).cause is None
        entry = rig.load(slot)
        rig.store(slot, 0)
        assert scene.execute("sfence.vma a1, zero", ADDRESS).cause is None
        assert scene.attempt(kind, ADDRESS | tag).cause == (13 if kind == "load" else 15)
        rig.store(slot, entry)


@rule(
    "mask.change.program",
    "A program in M-mode that ends the masking of another mode's pointers has MPRV's accesses unmasked at once",
    section=SECTION,
    cases=grid(mode={"HS": HS, "U": U, "VS": VS, "VU": VU}, kind=("ld a0, 0(a1)", "sd a0, 0(a1)")),
)
def _(mode: Mode, kind: str) -> None:
    scene = Scene(M, guest=True)
    if not mode.virtual:
        scene.rig.set(satp=scene.first.atp, vsatp=0, hgatp=0)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    own = {HS: "menvcfg", VS: "henvcfg", U: "senvcfg", VU: "senvcfg"}[mode]
    rig = scene.rig
    rig.set(mstatus=MPRV | mode.privilege << 11 | MPV * mode.virtual)
    rig.write(BASE, f"csrw {own}, a4\n{kind}\n{kind}\ncsrw {own}, zero\naddi a5, a5, 1\n{kind}\naddi a5, a5, 1")
    rig.put(a1=ADDRESS | 0x2A << 57, a4=2 << PMM, a5=0)
    rig.hart.pc, rig.hart.mode = BASE, M
    rig.run(7)
    assert (rig.csr("mcause"), rig.csr("mtval"), rig.x("a5")) == (13 if kind.startswith("l") else 15, rig.x("a1"), 1)


@rule(
    "mask.sign",
    "A virtual address is extended from its highest unmasked bit, a physical or guest-physical one with zeros",
    section=SECTION,
    cases=grid(pmm=(2, 3)),
)
def _(pmm: int) -> None:
    top = ~0xFFF & (1 << 64) - 1
    scene = scene_for(VS)
    scene.first.map(top, GPA, LEAF)
    scene.rig.set(henvcfg=pmm << PMM)
    assert scene.attempt("load", top & (1 << 64 - PMLEN[pmm]) - 1).value == VALUE
    scene = Scene(VS, 0, 3)
    scene.second.map(GPA, PAGE, LEAF | USER)
    scene.rig.set(henvcfg=pmm << PMM)
    assert scene.attempt("load", GPA | 0x7F << 57).value == VALUE
    far = GPA | 1 << (63 - PMLEN[pmm])
    found = scene.attempt("load", far | 1 << 63)
    assert (found.cause, found.tval, found.tval2) == (21, far, far >> 2)


@rule(
    "mask.sign.own",
    "Which of both it is follows from the satp that translates: not from the guest's for the host, nor the reverse",
    section=SECTION,
    cases=grid(mode=(HS, VS), bare=(False, True), pmm=(2, 3), kind=("load", "store")),
)
def _(mode: Mode, bare: bool, pmm: int, kind: str) -> None:
    """The one's table translates, or only the other's: an address in the upper half says which is looked at."""
    scene = Scene(mode, 0 if bare else 3, 0)
    own, other = ("vsatp", "satp") if mode.virtual else ("satp", "vsatp")
    scene.rig.set(**{"henvcfg" if mode.virtual else "menvcfg": pmm << PMM})
    scene.rig.set(**{other: scene.first.atp if bare else 0})
    top = 1 << 63 - PMLEN[pmm]
    found = scene.attempt(kind, PAGE | top)
    signed = PAGE | -top & (1 << 64) - 1
    assert (found.cause, found.tval) == ((5, 7)[kind == "store"], PAGE | top) if bare else (
        (13, 15)[kind == "store"], signed,
    )  # fmt: skip
    assert scene.rig.csr(own) >> 60 == (0 if bare else 8)


@rule(
    "mask.depth",
    "However deep the table is, masked bits choose none of its entries",
    section=SECTION,
    cases=grid(mode=(HS, VS), levels=(3, 4, 5), pmm=(2, 3), tag=(0x7F << 57, 0xFF << 49, 1 << 48)),
)
def _(mode: Mode, levels: int, pmm: int, tag: int) -> None:
    scene = Scene(mode, levels)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    scene.rig.set(**{"menvcfg" if mode is HS else "henvcfg": pmm << PMM})
    masked = tag >> 64 - PMLEN[pmm] << 64 - PMLEN[pmm] == tag
    found = scene.attempt("load", ADDRESS | tag)
    assert (found.cause, found.value) == ((None, VALUE) if masked else (13, None))


@rule(
    "mask.xtval",
    "xtval holds the address after masking, htval the guest-physical address that it leads to",
    section=SECTION,
    cases=grid(mode=(VS, VU), kind=("load", "store")),
)
def _(mode: Mode, kind: str) -> None:
    scene = scene_for(mode)
    scene.rig.set(henvcfg=2 << PMM, senvcfg=2 << PMM)
    scene.second.map(GPA, PAGE, 0)
    found = scene.attempt(kind, ADDRESS | 0x55 << 57)
    assert (found.cause, found.tval, found.tval2) == (21 if kind == "load" else 23, ADDRESS, GPA >> 2)


@rule(
    "mask.fetch",
    "Fetches are not masked, nor are loads while MXR is in effect",
    section=SECTION,
    cases=grid(what=("fetch", "mxr", "host mxr")),
)
def _(what: str) -> None:
    scene = scene_for(VS, vsstatus=MXR if what == "mxr" else 0, mstatus=MXR if what == "host mxr" else 0)
    scene.rig.set(henvcfg=2 << PMM)
    found = scene.attempt("fetch" if what == "fetch" else "load", ADDRESS | 0x2A << 57)
    assert found.cause == (12 if what == "fetch" else 13)


@rule(
    "mask.hlv",
    "HLV and HSV are masked by henvcfg.PMM as VS; as VU by senvcfg.PMM from M and HS, by hstatus.HUPMM from U",
    section=HSTATUS,
    rows=(50,),
    cases=grid(mode=(M, HS, U), spvp=(0, SPVP), on=("henvcfg", "senvcfg", "hstatus", "menvcfg"), kind=("hlv", "hsv")),
)
def _(mode: Mode, spvp: int, on: str, kind: str) -> None:
    scene = scene_for(mode, True, hstatus=HU | spvp)
    masks = {name: 2 << PMM if name == on else 0 for name in ("menvcfg", "henvcfg", "senvcfg")}
    scene.rig.set(**masks, hstatus=HU | spvp | (2 << HUPMM if on == "hstatus" else 0))
    rules = "henvcfg" if spvp else "hstatus" if mode is U else "senvcfg"
    assert (scene.attempt(kind, ADDRESS | 0x2A << 57).cause is None) == (on == rules)


@rule(
    "mask.hlv.mxr",
    "HUPMM masks nothing where MXR is in effect, the guest's or the host's",
    section=HSTATUS,
    cases=grid(name=("vsstatus", "mstatus"), mxr=(0, MXR), kind=("hlv", "hsv")),
)
def _(name: str, mxr: int, kind: str) -> None:
    scene = scene_for(U, True, hstatus=HU | 2 << HUPMM, **{name: mxr})
    assert (scene.attempt(kind, ADDRESS | 0x2A << 57).cause is None) == (not mxr)


@rule(
    "mask.hlvx",
    "HLVX is never masked",
    section="Hypervisor Virtual-Machine Load and Store Instructions",
    rows=(51,),
    cases=grid(mode=(M, HS, U), spvp=(0, SPVP)),
)
def _(mode: Mode, spvp: int) -> None:
    scene = scene_for(mode, True, hstatus=HU | spvp | 2 << HUPMM)
    scene.rig.set(menvcfg=2 << PMM, henvcfg=2 << PMM, senvcfg=2 << PMM)
    assert scene.attempt("hlvx", ADDRESS | 0x2A << 57).cause == 13
    assert scene.attempt("hlvx", ADDRESS).cause is None


@rule(
    "mask.mprv",
    "Accesses that MPRV makes another mode's are masked as that mode's",
    section=SECTION,
    cases=grid(mode={"HS": HS, "U": U, "VS": VS, "VU": VU}, on=("menvcfg", "henvcfg", "senvcfg")),
)
def _(mode: Mode, on: str) -> None:
    scene = Scene(M, guest=True)
    if not mode.virtual:
        scene.rig.set(satp=scene.first.atp, vsatp=0, hgatp=0)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    scene.rig.set(**{on: 2 << PMM}, mstatus=MPRV | mode.privilege << 11 | MPV * mode.virtual)
    own = {HS: "menvcfg", VS: "henvcfg", U: "senvcfg", VU: "senvcfg"}[mode]
    assert (scene.attempt("load", ADDRESS | 0x2A << 57).cause is None) == (on == own)


@rule(
    "mask.fields",
    "PMM and HUPMM take 0, 2 and 3; a write of 1 leaves a legal value",
    section="Hypervisor Environment Configuration Register (henvcfg)",
    rows=(12,),
    cases=grid(
        name=("menvcfg", "henvcfg", "senvcfg", "mseccfg", "hstatus"), value=(0, 1, 2, 3), before=(0, 3),
        above=(0, 1 << 40),
    ),
)
def _(name: str, value: int, before: int, above: int) -> None:
    low = HUPMM if name == "hstatus" else PMM
    scene = Scene(HS, 0)
    scene.rig.set(**{name: before << low})
    scene.rig.set(**{name: value << low | (above if name != "hstatus" else 0)})
    found = scene.rig.csr(name) >> low & 3
    assert found == value if value != 1 else found in PMLEN
