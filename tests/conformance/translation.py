"""Two-stage address translation: every pair of modes, page sizes, permissions, A and D bits, and what faults report."""

from __future__ import annotations

from itertools import product

from rig import (
    ADUE,
    BASE,
    FETCH,
    FETCH_GUEST,
    HS,
    LEAF,
    LOAD,
    LOAD_GUEST,
    LOAD_PAGE,
    MXR,
    ONES,
    STORE,
    STORE_GUEST,
    SUM,
    USER,
    VS,
    VU,
    A,
    D,
    G,
    R,
    Rig,
    Tables,
    U,
    V,
    W,
    X,
)

from emulator.hart import Mode

from .scene import (
    ACCESSES,
    ADDRESS,
    GPA,
    GUEST_LEVELS,
    GUEST_TABLES,
    KIND,
    LEVELS,
    MEMORY,
    NOWHERE,
    PAGE,
    PAGED,
    STORED,
    VALUE,
    Scene,
    guest_entry,
)
from .suite import grid, rule
from .walker import ACCESS, GUEST
from .walker import PAGE as PAGE_FAULT

TWO_STAGES = "Two-Stage Address Translation"
GPA_TRANSLATION = "Guest Physical Address Translation"
PROCESS = "Virtual Address Translation Process"
GUEST_FAULTS = "Guest-Page Faults"
ELSE = (1 << 63 | 1 << 62 | 0xF0) & ~ADUE
"""What menvcfg and henvcfg have besides ADUE and pointer masking."""
RWX = [sum(bits) for bits in product((0, R), (0, W), (0, X))]


@rule(
    "translate.modes",
    "Every mode of vsatp works with every mode of hgatp: an address goes through the VS-stage, then the G-stage",
    section=TWO_STAGES,
    rows=(3, 42, 43),
    cases=grid(vs=LEVELS, g=GUEST_LEVELS, mode=(VS, VU)),
)
def _(vs: int, g: int, mode: Mode) -> None:
    scene = Scene(mode, vs, g)
    address = ADDRESS if vs else GPA if g else PAGE
    if vs:
        scene.first.map(ADDRESS, GPA if g else PAGE, LEAF | (0 if mode is VS else USER))
    if g:
        scene.second.map(GPA, PAGE, LEAF | USER)
    for kind in (*ACCESSES, "lr", "amo"):
        assert scene.check(kind, address).cause is None
    scene.rig.store(PAGE + 0x1000, VALUE)
    for kind in ACCESSES:  # the next page is mapped in no stage
        expected = PAGE_FAULT if vs else GUEST if g else None
        found = scene.attempt(kind, address + 0x1000)
        assert found.cause == (expected[kind] if expected else None)
        assert found.tval2 == ((GPA + 0x1000) >> 2 if g and not vs else 0)


@rule(
    "translate.vs.bare",
    "With vsatp Bare the virtual address is the guest-physical address, and permissions are those of the G-stage alone",
    section=TWO_STAGES,
    rows=(43,),
    cases=grid(mode=(VS, VU), kind=ACCESSES),
)
def _(mode: Mode, kind: str) -> None:
    scene = Scene(mode, 0, 3, vsstatus=MXR)
    for flags in (*(V | A | D | USER | rwx for rwx in RWX), LEAF, 0):
        scene.second.map(GPA, PAGE, flags)
        scene.check(kind, GPA)


@rule(
    "translate.g.bare",
    "With hgatp Bare guest-physical addresses are supervisor physical addresses, without protection",
    section=GPA_TRANSLATION,
    rows=(42,),
    cases=grid(mode=(VS, VU), kind=ACCESSES, vs=LEVELS),
)
def _(mode: Mode, kind: str, vs: int) -> None:
    scene = Scene(mode, vs, 0)
    if vs:
        scene.first.map(ADDRESS, PAGE, LEAF | (0 if mode is VS else USER))
    scene.check(kind, ADDRESS if vs else PAGE)
    if vs:
        scene.first.map(ADDRESS, NOWHERE, LEAF | (0 if mode is VS else USER))
    scene.check(kind, ADDRESS if vs else NOWHERE)


@rule(
    "translate.superpages",
    "Leaves of the two stages may have any sizes: each stage keeps the low bits that its own leaf leaves",
    section=GPA_TRANSLATION,
    rows=(44,),
    cases=grid(vs=(0, 1, 2, 3, 4), g=(0, 1, 2, 3, 4)),
)
def _(vs: int, g: int) -> None:
    rig = Rig(memory=4 << 20)
    first, second = Tables(rig, 5), Tables(rig, 5, guest=True, at=GUEST_TABLES)
    second.map(BASE, BASE, LEAF | USER, 1)
    offset = 0x00AB_CDEF_1234_5678
    address = (offset & (1 << 12 + 9 * vs) - 1) | (0x0012_3456_789A_BCDE << 12 & ~((1 << 12 + 9 * vs) - 1)) & (
        1 << 56
    ) - 1
    gpa_page = (0x0155_5555_5555_5555 & ~((1 << 12 + 9 * vs) - 1)) & (1 << 56) - 1
    gpa = gpa_page | address & (1 << 12 + 9 * vs) - 1
    physical_page = 0x00AA_AAAA_AAAA_A000 & ~((1 << 12 + 9 * g) - 1)
    first.map(address, gpa_page, LEAF, vs)
    second.map(gpa, physical_page, LEAF | USER, g)
    rig.set(vsatp=first.atp, hgatp=second.atp)
    walk = rig.hart.walk(address, mode=VS)
    # Nothing lies there; the last step of each stage says where it leads.
    last = {step.stage: step.output for step in walk.steps if step.nested is None}
    assert last[0] == gpa
    assert last[1] == physical_page | gpa & (1 << 12 + 9 * g) - 1


@rule(
    "translate.superpages.access",
    "An access through superpages of unequal size reaches exactly the byte that both stages lead to",
    section=GPA_TRANSLATION,
    rows=(44,),
    cases=grid(vs=(0, 1), g=(0, 1), kind=ACCESSES),
)
def _(vs: int, g: int, kind: str) -> None:
    scene = Scene(VS)
    gpa = 0x1_4020_0000 | PAGE & 0x1F_FFFF
    address = 0x20_0020_0000 | PAGE & 0x1F_FFFF
    scene.first.map(address, gpa & -(1 << 12 + 9 * vs), LEAF, vs)
    scene.second.map(gpa, PAGE & -(1 << 12 + 9 * g), LEAF | USER, g)
    for beyond in (0, 8, 0xFF8, 0x1000, 0x2000):
        scene.rig.store(PAGE + beyond, VALUE ^ beyond << 16)
        scene.check(kind, address + beyond)


@rule(
    "translate.superpages.misaligned",
    "A superpage whose physical page number is not aligned to its size faults, in the stage that it belongs to",
    section=PROCESS,
    cases=grid(stage=("VS", "G"), level=(1, 2, 3, 4), kind=ACCESSES),
)
def _(stage: str, level: int, kind: str) -> None:
    for bit in {12, 12 + 9 * level - 1}:
        scene = Scene(VS, 5, 5)
        address = ADDRESS + (level << 50)
        if stage == "VS":
            scene.first.map(address, 1 << bit, LEAF, level)
            found = scene.check(kind, address)
            assert (found.cause, found.tval2) == (PAGE_FAULT[kind], 0)
        else:
            far = GPA | level << 52
            scene.first.map(address, far, LEAF)
            scene.second.map(far, 1 << bit, LEAF | USER, level)
            found = scene.check(kind, address)
            assert (found.cause, found.tval2) == (GUEST[kind], far >> 2)


@rule(
    "translate.canonical",
    "A virtual address whose high bits are not copies of the top bit of its mode's width faults in the VS-stage",
    section=PROCESS,
    cases=grid(vs=(3, 4, 5), mode=(HS, VS), kind=ACCESSES),
)
def _(vs: int, mode: Mode, kind: str) -> None:
    width = 12 + 9 * vs
    scene = Scene(mode, vs, 5)
    for address in (1 << width - 1, 1 << width, 1 << 63, ONES >> 1 & ~0xFFF, ONES - (1 << width) - 0xFFF, 1 << 62):
        scene.first.map(address, PAGE, LEAF)  # where it would lead without its high bits
        found = scene.check(kind, address)
        assert (found.cause, found.tval2) == (PAGE_FAULT[kind], 0)
    top = ONES & ~0xFFF
    scene.first.map(top, PAGE, LEAF)
    assert scene.check(kind, top).cause is None
    scene.first.map(1 << width - 2, PAGE, LEAF)
    assert scene.check(kind, 1 << width - 2).cause is None


@rule(
    "translate.gpa.width",
    "Guest-physical addresses have 41, 50 or 59 bits and are zero-extended: any higher bit is a guest-page fault",
    section=GPA_TRANSLATION,
    rows=(32, 41),
    cases=grid(g={"Sv39x4": 3, "Sv48x4": 4, "Sv57x4": 5}, kind=ACCESSES),
)
def _(g: int, kind: str) -> None:
    width = 12 + 9 * g + 2
    scene = Scene(VS, 0, g)
    for address in (1 << width - 1, 1 << width - 2, (1 << width) - 0x1000):
        scene.second.map(address, PAGE, LEAF | USER)
        assert scene.check(kind, address).cause is None
    for bit in range(width, 64):
        address = 1 << bit | GPA
        scene.second.map(GPA, PAGE, LEAF | USER)
        found = scene.check(kind, address)
        assert (found.cause, found.tval, found.tval2) == (GUEST[kind], address, address >> 2)
    found = scene.check(kind, ONES & ~0xFFF)  # not sign-extended
    assert found.cause == GUEST[kind]


@rule(
    "translate.gpa.width.walk",
    "The same holds for the addresses of a guest's own page-table entries",
    section=GPA_TRANSLATION,
    rows=(27, 33, 41),
    cases=grid(g={"Sv39x4": 3, "Sv48x4": 4}, level=(0, 1), kind=ACCESSES),
)
def _(g: int, level: int, kind: str) -> None:
    scene = Scene(VS, 3, g)
    scene.first.map(ADDRESS, PAGE, LEAF)
    far = 1 << 12 + 9 * g + 2
    scene.second.map(0, scene.first.slot(ADDRESS, level) & ~0xFFF, LEAF | USER)  # where it would lead without the bit
    scene.rig.store(scene.first.slot(ADDRESS, level + 1), far >> 12 << 10 | V)
    found = scene.check(kind, ADDRESS)
    index = ADDRESS >> (12 + 9 * level) & 511
    assert (found.cause, found.tval2, found.tinst) == (GUEST[kind], (far + 8 * index) >> 2, 0x3000)


@rule(
    "translate.gpa.width.root",
    "And for the root of vsatp, whose address is guest-physical",
    section=GPA_TRANSLATION,
    rows=(41,),
    cases=grid(g={"Sv39x4": 3, "Sv48x4": 4}),
)
def _(g: int) -> None:
    scene = Scene(VS, 3, g)
    far = 1 << 12 + 9 * g + 2
    scene.second.map(0, scene.first.root, LEAF | USER)
    scene.rig.set(vsatp=8 << 60 | far >> 12)
    found = scene.execute("nop")
    assert (found.cause, found.tval, found.tinst) == (FETCH_GUEST, BASE, 0x3000)
    assert found.tval2 == (far + 8 * (BASE >> 30)) >> 2


@rule(
    "translate.g.root",
    "The root of the G-stage is 16 KiB: two more address bits choose its entry",
    section=GPA_TRANSLATION,
    cases=grid(g={"Sv39x4": 3, "Sv48x4": 4, "Sv57x4": 5}, part=(0, 1, 2, 3)),
)
def _(g: int, part: int) -> None:
    scene = Scene(VS, 0, g)
    gpa = part << 12 + 9 * g | 3 << 12 + 9 * (g - 1) | 5 << 21
    slot = scene.second.slot(gpa, g - 1)
    assert slot == scene.second.root + 8 * (gpa >> 12 + 9 * (g - 1))
    scene.second.map(gpa, PAGE, LEAF | USER)
    assert scene.check(LOAD, gpa).value == VALUE


PERMISSIONS = grid(mode=PAGED, kind=(*ACCESSES, "lr", "sc", "amo"), sum=(0, SUM), mxr=(0, MXR))


@rule(
    "translate.permissions",
    "R, W, X and U of the first stage, SUM and MXR: as the algorithm of virtual address translation says",
    section=PROCESS,
    rows=(48, 49),
    cases=PERMISSIONS,
)
def _(mode: Mode, kind: str, sum: int, mxr: int) -> None:
    """The status register that does not count holds the opposite."""
    scene = Scene(mode)
    if mode.virtual:
        scene.rig.set(vsstatus=sum | mxr, mstatus=SUM & ~sum)
    else:
        scene.rig.set(mstatus=sum | mxr, vsstatus=(SUM | MXR) & ~(sum | mxr))
    for rwx, user in product(RWX, (0, USER)):
        scene.first.map(ADDRESS, PAGE, V | A | D | rwx | user)
        scene.check(kind, ADDRESS)


@rule(
    "translate.g.permissions",
    "The G-stage checks R, W and X of every access, and takes it for a user's: a page without U faults",
    section=GPA_TRANSLATION,
    rows=(32, 45, 48),
    cases=grid(mode=(VS, VU), kind=(*ACCESSES, "lr", "sc", "amo"), host_mxr=(0, MXR), guest_mxr=(0, MXR)),
)
def _(mode: Mode, kind: str, host_mxr: int, guest_mxr: int) -> None:
    scene = Scene(mode, mstatus=host_mxr | SUM, vsstatus=guest_mxr | SUM)
    scene.first.map(ADDRESS, GPA, LEAF | (0 if mode is VS else USER))
    for rwx, user in product(RWX, (0, USER)):
        scene.second.map(GPA, PAGE, V | A | D | rwx | user)
        scene.check(kind, ADDRESS)


@rule(
    "translate.mxr.stages",
    "sstatus.MXR makes execute-only pages readable in both stages, vsstatus.MXR in the VS-stage only",
    section=TWO_STAGES,
    rows=(48,),
    cases=grid(vs=(V | X | A, LEAF), g=(V | X | USER | A, LEAF | USER), host=(0, MXR), guest=(0, MXR)),
)
def _(vs: int, g: int, host: int, guest: int) -> None:
    scene = Scene(VS, mstatus=host, vsstatus=guest)
    scene.first.map(ADDRESS, GPA, vs)
    scene.second.map(GPA, PAGE, g)
    found = scene.check(LOAD, ADDRESS)
    if not vs & R and not host and not guest:
        assert found.cause == LOAD_PAGE
    elif not g & R and not host:
        assert found.cause == LOAD_GUEST
    else:
        assert found.value == VALUE


@rule(
    "translate.walk.permissions",
    "A read of a guest's page table needs R and U of the G-stage, whatever the access and MXR are",
    section=GPA_TRANSLATION,
    rows=(28, 29, 45, 48),
    cases=grid(kind=(*ACCESSES, "amo"), mxr=(0, MXR), rwx=RWX, user=(0, USER)),
)
def _(kind: str, mxr: int, rwx: int, user: int) -> None:
    scene = Scene(VS, mstatus=mxr, vsstatus=mxr)
    scene.first.map(ADDRESS, PAGE, LEAF)
    _, gpa, _ = guest_entry(scene, V | A | D | rwx | user)
    found = scene.check(kind, ADDRESS)
    good = rwx & R and user
    if not good:
        cause = GUEST[STORE if kind == "amo" else kind]
        assert (found.cause, found.tval2, found.tinst) == (cause, gpa >> 2, 0x3000)
    else:
        assert found.cause is None


@rule(
    "translate.walk.level",
    "At whatever level a guest's table is hidden, htval is the address of the entry that could not be read",
    section="Hypervisor Trap Value (htval) Register",
    rows=(27, 28, 29, 36),
    cases=grid(vs={"Sv39": 3, "Sv48": 4, "Sv57": 5}, kind=ACCESSES),
)
def _(vs: int, kind: str) -> None:
    address = ADDRESS | 1 << 12 + 9 * (vs - 1)  # shares no table with the code
    for level in range(vs - 1):
        scene = Scene(VS, vs)
        scene.first.map(address, PAGE, LEAF)
        scene.rig.store(scene.first.slot(address, level + 1), GPA >> 12 << 10 | V)
        found = scene.check(kind, address)
        index = address >> 12 + 9 * level & 511
        assert (found.cause, found.tval) == (GUEST[kind], address)
        assert (found.tval2, found.tinst) == ((GPA + 8 * index) >> 2, 0x3000)


@rule(
    "translate.reserved",
    "Reserved bits and encodings of an entry fault in the stage that it belongs to, before A and D are written",
    section=PROCESS,
    rows=(47,),
    cases=grid(
        stage=("VS", "G"),
        entry={
            **{f"bit {bit}": LEAF & ~(A | D) | 1 << bit for bit in range(54, 63)},
            "N and no size": LEAF & ~(A | D) | 1 << 63,
            "W without R": V | W,
            "W and X without R": V | W | X,
            "V=0": LEAF & ~V,
        },
        kind=ACCESSES,
    ),
)
def _(stage: str, entry: int, kind: str) -> None:
    scene = Scene(VS, menvcfg=ADUE, henvcfg=ADUE)
    scene.first.map(ADDRESS, GPA, entry if stage == "VS" else LEAF)
    slot = scene.second.map(GPA, PAGE, entry | USER if stage == "G" else LEAF | USER)
    if stage == "VS":
        slot = scene.first.slot(ADDRESS)
    before = scene.rig.load(slot)
    found = scene.check(kind, ADDRESS)
    assert found.cause == (PAGE_FAULT if stage == "VS" else GUEST)[kind]
    assert scene.rig.load(slot) == before


@rule(
    "translate.reserved.superpages",
    "Reserved encodings fault in leaves of every level",
    section=PROCESS,
    rows=(47,),
    cases=grid(stage=("VS", "G"), level=(1, 2), bit=(54, 60, 61, 62, 63)),
)
def _(stage: str, level: int, bit: int) -> None:
    scene = Scene(VS, menvcfg=ADUE, henvcfg=ADUE)
    size = 1 << 12 + 9 * level
    far = 0x10_0000_0000 & -size
    scene.first.map(far, far, LEAF | (1 << bit if stage == "VS" else 0), level)
    scene.second.map(far, 1 << 31, LEAF | USER | (1 << bit if stage == "G" else 0), level)
    assert scene.check(LOAD, far + 0x4000).cause == (LOAD_PAGE if stage == "VS" else LOAD_GUEST)


@rule(
    "translate.pointers",
    "A, D, U and the reserved bits of an entry that points to a table must be zero; at the last level it faults",
    section=PROCESS,
    cases=grid(stage=("VS", "G"), bit=(4, 6, 7, *range(54, 64)), level=(1, 2)),
)
def _(stage: str, bit: int, level: int) -> None:
    scene = Scene(VS)
    scene.first.map(ADDRESS, GPA, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    tables, at = (scene.first, ADDRESS) if stage == "VS" else (scene.second, GPA)
    slot = tables.slot(at, level)
    if level == 2 and stage == "G":  # not the entry that shows RAM
        slot = scene.second.slot(GPA, 2)
        assert slot != scene.second.slot(BASE, 2)
    leaf, pointer = tables.slot(at), scene.rig.load(slot)
    assert scene.check(LOAD, ADDRESS).value == VALUE
    faults = PAGE_FAULT if stage == "VS" else GUEST
    scene.rig.store(slot, pointer | 1 << bit)
    for kind in ACCESSES:
        assert scene.check(kind, ADDRESS).cause == faults[kind]
    scene.rig.store(slot, pointer)
    scene.rig.store(leaf, PAGE >> 12 << 10 | V)
    assert scene.check(LOAD, ADDRESS).cause == faults[LOAD]
    # What it points to may be as good as it likes.
    beyond = BASE + 0x18_0000
    scene.rig.machine.memory.write(beyond, (LEAF | (USER if stage == "G" else 0)).to_bytes(8, "little") * 512)
    scene.rig.store(leaf, beyond >> 12 << 10 | V)
    assert scene.check(LOAD, ADDRESS).cause == faults[LOAD]


@rule(
    "translate.edges",
    "The first and the last bytes of RAM are reached like all others, in pages of theirs; those beside are not there",
    section=PROCESS,
    cases=grid(mode=PAGED, kind=(LOAD, STORE, "lr", "amo")),
)
def _(mode: Mode, kind: str) -> None:
    scene = Scene(mode)
    user = 0 if mode.privilege else USER
    for page in (BASE - 0x1000, BASE, BASE + MEMORY - 0x1000, BASE + MEMORY):
        scene.first.map(ADDRESS, GPA if mode.virtual else page, LEAF | user)
        scene.second.map(GPA, page, LEAF | USER)
        good = BASE <= page < BASE + MEMORY
        for offset in (0, 0xFF8):
            if page != BASE or offset:  # the code itself
                assert scene.check(kind, ADDRESS + offset).cause == (None if good else ACCESS[KIND.get(kind, kind)])


@rule(
    "translate.edges.tables",
    "An entry may be the last of RAM, and the last that PMP permits",
    section=PROCESS,
    cases=grid(stage=("VS", "G"), rights=(R >> 1, (R | W) >> 1)),
)
def _(stage: str, rights: int) -> None:
    scene = Scene(VS)
    rig = scene.rig
    last = ADDRESS & -(2 << 20) | 0x1F_F000
    scene.first.map(last, GPA, LEAF)
    gpa = GPA & -(2 << 20) | 0x1F_F000
    scene.first.map(last, gpa, LEAF)
    scene.second.map(gpa, PAGE, LEAF | USER)
    tables, at = (scene.first, last) if stage == "VS" else (scene.second, gpa)
    table = BASE + MEMORY - 0x1000
    rig.store(table + 0xFF8, rig.load(tables.slot(at)))
    rig.store(tables.slot(at, 1), table >> 12 << 10 | V)
    protect(rig, table, rights)
    assert scene.check(LOAD, last).value == VALUE


@rule(
    "translate.parts",
    "Each part of an access across pages goes where its page leads; one that leads nowhere is named by xtval",
    section=PROCESS,
    cases=grid(mode=PAGED, kind=(LOAD, STORE), nowhere=(None, 0, 1), beyond=(1, 4, 7)),
)
def _(mode: Mode, kind: str, nowhere: int | None, beyond: int) -> None:
    scene = Scene(mode)
    rig = scene.rig
    targets = [NOWHERE if part == nowhere else PAGE + 0x4000 * part for part in (0, 1)]
    for part, to in enumerate(targets):
        gpa = GPA + 0x7000 * part
        user = 0 if mode.privilege else USER
        scene.first.map(ADDRESS + 0x1000 * part, gpa if mode.virtual else to, LEAF | user)
        scene.second.map(gpa, to, LEAF | USER)
    address = ADDRESS + 0x1000 - 8 + beyond
    here = 8 - beyond
    places = [targets[0] + 0x1000 - here + i if i < here else targets[1] + i - here for i in range(8)]
    if nowhere is None:
        for i, at in enumerate(places):
            rig.store(at, 0xA0 + i, 1)
    for _ in range(2):
        found = scene.attempt(kind, address)
        if nowhere is None:
            assert found.cause is None
            stored = bytes(rig.load(at, 1) for at in places)
            value = found.value if kind == LOAD else int.from_bytes(stored, "little")
            assert value == (int.from_bytes(range(0xA0, 0xA8), "little") if kind == LOAD else STORED)
        else:
            assert (found.cause, found.tval) == (ACCESS[kind], address if nowhere == 0 else ADDRESS + 0x1000)


@rule(
    "translate.misaligned",
    "Misaligned loads and stores are carried out, again and again, within a page; atomics raise address-misaligned",
    section="Misaligned Address and Atomicity Granule",
    cases=grid(mode=PAGED, kind=(LOAD, STORE, "lr", "amo"), offset=(1, 2, 3, 4, 5, 6, 7)),
)
def _(mode: Mode, kind: str, offset: int) -> None:
    scene = Scene(mode)
    rig = scene.rig
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    for round in range(3):
        value = int.from_bytes(range(0x90 + round, 0x98 + round), "little")
        rig.store(PAGE + offset, value if kind == LOAD else 0)
        found = scene.attempt(kind, ADDRESS + offset)
        if kind in (LOAD, STORE):
            assert found.cause is None
            assert found.value == value if kind == LOAD else rig.load(PAGE + offset) == STORED
        else:
            assert (found.cause, found.tval) == (4 if kind == "lr" else 6, ADDRESS + offset)
            assert found.tinst == scene.tinst(kind)  # or 0 elsewhere; this hart says what it was
            assert rig.load(PAGE + offset) == 0
    if kind == STORE:  # and by one run of a program
        rig.write(BASE, "sd a2, 0(a1)\nsd a3, 0(a1)\nld a4, 0(a1)\nsd a2, 0(a1)\nld a5, 0(a1)")
        rig.hart.pc, rig.hart.mode = BASE, mode
        rig.put(a1=ADDRESS + offset, a2=STORED, a3=VALUE)
        rig.run(5)
        assert (rig.x("a4"), rig.x("a5"), rig.load(PAGE + offset)) == (VALUE, STORED, STORED)


@rule(
    "translate.roots",
    "Every bit of PPN chooses the root; where there is no memory, the walk's read of it is an access fault",
    section=PROCESS,
    cases=grid(which=("satp", "vsatp", "hgatp"), kind=ACCESSES),
)
def _(which: str, kind: str) -> None:
    scene = Scene(HS if which == "satp" else VS, 3, 3 if which == "hgatp" else 0)
    rig = scene.rig
    scene.first.map(ADDRESS, GPA if which == "hgatp" else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    tables = scene.second if which == "hgatp" else scene.first
    size = 0x4000 if tables.guest else 0x1000
    root, copies = rig.machine.memory.read(tables.root, size), BASE + 0x10_0000
    for bit in range(size.bit_length() - 1, 20):
        for at in {copies | 1 << bit, copies | (1 << 20) - size ^ 1 << bit}:
            rig.machine.memory.write(at, root)
            rig.machine.memory.write(tables.root, bytes(size))
            rig.set(**{which: tables.atp ^ (tables.root ^ at) >> 12})
            assert scene.attempt(kind, ADDRESS).cause is None
            rig.machine.memory.write(at, bytes(size))
            rig.hart.flush_translation()
            assert scene.attempt(FETCH, BASE).cause is not None
            rig.machine.memory.write(tables.root, root)
    for bit in range(33, 56):
        rig.set(**{which: tables.atp | 1 << bit - 12})
        rig.hart.flush_translation()
        found = scene.attempt(FETCH, BASE)
        assert (found.cause, found.tval) == (ACCESS[FETCH], BASE), bit


@rule(
    "translate.global",
    "G is ignored in the G-stage, and allowed in pointers and leaves; RSW bits are software's",
    section=GPA_TRANSLATION,
    cases=grid(stage=("VS", "G"), level=(0, 1), bits=(G, 1 << 8, 1 << 9)),
)
def _(stage: str, level: int, bits: int) -> None:
    scene = Scene(VS)
    scene.first.map(ADDRESS, GPA, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    tables, at = (scene.first, ADDRESS) if stage == "VS" else (scene.second, GPA)
    slot = tables.slot(at, level)
    scene.rig.store(slot, scene.rig.load(slot) | bits)
    assert scene.check(LOAD, ADDRESS).value == VALUE


@rule(
    "translate.ad.first",
    "A=0, or D=0 for a store: a page fault (Svade), or set by hardware where ADUE is 1 (Svadu)",
    section=PROCESS,
    rows=(18,),
    cases=grid(
        mode=PAGED, kind=(*ACCESSES, "lr", "sc", "amo"), ad=(0, A, D, A | D), menvcfg=(0, ADUE, ELSE),
        henvcfg=(0, ADUE, ELSE),
    ),
)
def _(mode: Mode, kind: str, ad: int, menvcfg: int, henvcfg: int) -> None:
    """menvcfg.ADUE rules HS and U; the VS-stage needs henvcfg's, which menvcfg's gates."""
    scene = Scene(mode, menvcfg=menvcfg)
    scene.rig.set(henvcfg=henvcfg, hgatp=scene.second.atp)  # of V=0 it translates nothing, and would not
    slot = scene.first.map(ADDRESS, PAGE, V | R | W | X | ad | (0 if mode.privilege else USER))
    stores = kind in (STORE, "sc", "amo")
    needed = A | (D if stores else 0)
    updates = menvcfg & ADUE and (henvcfg & ADUE or not mode.virtual)
    found = scene.check(kind, ADDRESS)
    if needed & ~ad and not updates:
        assert found.cause == PAGE_FAULT[STORE if stores else kind if kind == FETCH else LOAD]
        assert scene.rig.load(slot) & (A | D) == ad
    else:
        assert found.cause is None
        assert scene.rig.load(slot) & (A | D) == ad | needed


@rule(
    "translate.ad.g",
    "A and D of the G-stage go by menvcfg.ADUE: a guest-page fault, or set by hardware",
    section=GPA_TRANSLATION,
    rows=(46,),
    cases=grid(
        kind=(*ACCESSES, "lr", "sc", "amo"), ad=(0, A, D, A | D), menvcfg=(0, ADUE, ELSE), henvcfg=(0, ADUE, ELSE)
    ),
)
def _(kind: str, ad: int, menvcfg: int, henvcfg: int) -> None:
    scene = Scene(VS, menvcfg=menvcfg)
    scene.rig.set(henvcfg=henvcfg)
    scene.first.map(ADDRESS, GPA, LEAF)
    slot = scene.second.map(GPA, PAGE, V | R | W | X | USER | ad)
    stores = kind in (STORE, "sc", "amo")
    needed = A | (D if stores else 0)
    found = scene.check(kind, ADDRESS)
    if needed & ~ad and not menvcfg & ADUE:
        assert found.cause == GUEST[STORE if stores else kind if kind == FETCH else LOAD]
        assert (found.tval2, scene.rig.load(slot) & (A | D)) == (GPA >> 2, ad)
    else:
        assert scene.rig.load(slot) & (A | D) == ad | needed


@rule(
    "translate.ad.update",
    "Setting A or D of a guest's entry is a store to the G-stage: it needs W there, and sets D there",
    section=GPA_TRANSLATION,
    rows=(28, 46),
    cases=grid(
        kind=(*ACCESSES, "amo"),
        g={
            "RW": V | R | W | USER,
            "R": V | R | USER,
            "R with A": V | R | USER | A,
            "RW with A and D": V | R | W | USER | A | D,
            "RWX without U": V | R | W | X | A | D,
        },
    ),
)
def _(kind: str, g: int) -> None:
    scene = Scene(VS, menvcfg=ADUE, henvcfg=ADUE)
    scene.first.map(ADDRESS, PAGE, V | R | W | X)
    entry, gpa, slot = guest_entry(scene, g)
    found = scene.check(kind, ADDRESS)
    reported = GUEST[STORE if kind == "amo" else kind]
    if not g & USER:
        assert (found.cause, found.tval2, found.tinst) == (reported, gpa >> 2, 0x3000)
    elif not g & W:
        assert (found.cause, found.tval2, found.tinst) == (reported, gpa >> 2, 0x3020)
        assert scene.rig.load(entry) & (A | D) == 0
    else:
        assert scene.rig.load(entry) & (A | D) == (A | D if kind in (STORE, "amo") else A)
        assert scene.rig.load(slot) & (A | D) == A | D


@rule(
    "translate.ad.walk",
    "A walk that only reads a guest's tables sets A in the G-stage, not D, and faults there where A may not be set",
    section=GPA_TRANSLATION,
    rows=(46,),
    cases=grid(kind=ACCESSES, menvcfg=(0, ADUE)),
)
def _(kind: str, menvcfg: int) -> None:
    scene = Scene(VS, menvcfg=menvcfg)
    scene.first.map(ADDRESS, PAGE, LEAF)
    _, gpa, slot = guest_entry(scene, V | R | W | USER)
    found = scene.check(kind, ADDRESS)
    if menvcfg:
        assert (found.cause, scene.rig.load(slot) & (A | D)) == (None, A)
    else:
        assert (found.cause, found.tval2, found.tinst) == (GUEST[kind], gpa >> 2, 0x3000)


@rule(
    "translate.ad.denied",
    "An access that is not permitted sets neither A nor D in the entry that forbids it",
    section=PROCESS,
    cases=grid(stage=("VS", "G"), kind=ACCESSES),
)
def _(stage: str, kind: str) -> None:
    scene = Scene(VS, menvcfg=ADUE, henvcfg=ADUE)
    poor = V | {FETCH: R | W, LOAD: X, STORE: R | X}[kind]
    scene.first.map(ADDRESS, GPA, poor if stage == "VS" else LEAF)
    scene.second.map(GPA, PAGE, (poor if stage == "G" else LEAF) | USER)
    slot = scene.first.slot(ADDRESS) if stage == "VS" else scene.second.slot(GPA)
    assert scene.check(kind, ADDRESS).cause == (PAGE_FAULT if stage == "VS" else GUEST)[kind]
    assert scene.rig.load(slot) & (A | D) == 0


@rule(
    "translate.ad.toggle",
    "A store after a load through the same page sets D: a cached translation for loads does not serve stores",
    section=PROCESS,
    cases=grid(stage=("VS", "G"), warm=(LOAD, FETCH)),
)
def _(stage: str, warm: str) -> None:
    scene = Scene(VS, menvcfg=ADUE, henvcfg=ADUE)
    bare = V | R | W | X
    slot = scene.first.map(ADDRESS, GPA, bare if stage == "VS" else LEAF)
    other = scene.second.map(GPA, PAGE, bare | USER if stage == "G" else LEAF | USER)
    slot = slot if stage == "VS" else other
    assert scene.attempt(warm, ADDRESS).cause is None
    assert scene.rig.load(slot) & (A | D) == A
    assert scene.attempt(STORE, ADDRESS).cause is None
    assert scene.rig.load(slot) & (A | D) == A | D


@rule(
    "translate.tables.absent",
    "An entry that lies where there is no memory is an access fault of the original kind, without a guest address",
    section=PROCESS,
    rows=(24, 26),
    cases=grid(stage=("one", "VS", "G"), kind=(*ACCESSES, "lr", "sc", "amo")),
)
def _(stage: str, kind: str) -> None:
    scene = Scene(HS if stage == "one" else VS)
    scene.first.map(ADDRESS, GPA if stage != "one" else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    if stage == "VS":
        scene.second.map(NOWHERE, NOWHERE, LEAF | USER)
    tables, at = (scene.second, GPA) if stage == "G" else (scene.first, ADDRESS)
    scene.rig.store(tables.slot(at, 1), NOWHERE >> 12 << 10 | V)
    found = scene.check(kind, ADDRESS)
    assert found.cause == ACCESS[STORE if kind in ("sc", "amo") else LOAD if kind == "lr" else kind]
    assert (found.tval, found.tval2) == (ADDRESS, 0)


def protect(rig: Rig, base: int, rights: int, size: int = 4096) -> None:
    """PMP entry 0 for a naturally aligned range, entry 1 everything."""
    rig.set(pmpaddr0=base >> 2 | size // 8 - 1, pmpaddr1=ONES, pmpcfg0=0x1F << 8 | 0x18 | rights)


@rule(
    "translate.tables.pmp.update",
    "Where PMP refuses the update of an entry, the access fails, though its guest-physical address is memory too",
    section="Physical Memory Protection and Paging",
    rows=(24, 46),
    cases=grid(stage=("VS", "G"), kind=ACCESSES),
)
def _(stage: str, kind: str) -> None:
    scene = Scene(VS, identity=0, menvcfg=ADUE)
    scene.rig.set(henvcfg=ADUE)
    gpa = PAGE + 0x3000
    scene.first.map(ADDRESS, gpa, LEAF if stage == "G" else V | R | W | X)
    scene.second.map(gpa, PAGE, (LEAF if stage == "VS" else V | R | W | X) | USER)
    slot = scene.first.slot(ADDRESS) if stage == "VS" else scene.second.slot(gpa)
    protect(scene.rig, slot & ~0xFFF, 1)
    found = scene.attempt(kind, ADDRESS)
    assert (found.cause, found.tval, found.tval2) == (ACCESS[kind], ADDRESS, 0)


@rule(
    "translate.tables.pmp",
    "PMP applies to page tables as to S-mode's accesses: reads need R, updates of A and D need W",
    section="Physical Memory Protection and Paging",
    rows=(24, 26),
    cases=grid(stage=("one", "VS", "G"), kind=ACCESSES, rights=(0, R >> 1, (R | W) >> 1, X >> 1), ad=(0, A | D)),
)
def _(stage: str, kind: str, rights: int, ad: int) -> None:
    scene = Scene(HS if stage == "one" else VS, menvcfg=ADUE, henvcfg=ADUE)
    flags = V | R | W | X | ad
    scene.first.map(ADDRESS, GPA if stage != "one" else PAGE, LEAF if stage == "G" else flags)
    scene.second.map(GPA, PAGE, (flags if stage == "G" else LEAF) | USER)
    slot = (scene.second.slot(GPA) if stage == "G" else scene.first.slot(ADDRESS)) & ~0xFFF
    protect(scene.rig, slot, rights)
    found = scene.attempt(kind, ADDRESS)
    good = rights & 1 and (ad or rights & 2)
    assert found.cause == (None if good else ACCESS[kind])
    if not good:
        assert (found.tval, found.tval2, found.gva) == (ADDRESS, 0, stage != "one")


@rule(
    "translate.pmp",
    "PMP applies to the supervisor physical address that both stages lead to; its fault has no guest address",
    section=TWO_STAGES,
    rows=(26,),
    cases=grid(mode=PAGED, kind=(*ACCESSES, "lr", "sc", "amo"), rights=(0, 1, 3, 4, 5, 7)),
)
def _(mode: Mode, kind: str, rights: int) -> None:
    scene = Scene(mode)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    protect(scene.rig, PAGE, rights)
    found = scene.attempt(kind, ADDRESS)
    base = STORE if kind in ("sc", "amo") else LOAD if kind == "lr" else kind
    good = rights & {FETCH: 4, LOAD: 1, STORE: 2}[base]
    assert found.cause == (None if good else ACCESS[base])
    if not good:
        assert (found.tval, found.tval2, found.gva) == (ADDRESS, 0, mode.virtual)


@rule(
    "translate.atomics",
    "Guest-page faults of AMO and SC are store/AMO faults (23), those of LR are load faults (21)",
    section=GPA_TRANSLATION,
    rows=(30,),
    cases=grid(kind={"lr": "lr", "sc": "sc", "amo": "amo"}),
)
def _(kind: str) -> None:
    scene = Scene(VS)
    scene.first.map(ADDRESS, GPA, LEAF)
    found = scene.check(kind, ADDRESS)
    assert found.cause == (LOAD_GUEST if kind == "lr" else STORE_GUEST)
    scene.second.map(GPA, PAGE, V | R | USER | A | D)
    assert scene.check(kind, ADDRESS).cause == (None if kind == "lr" else STORE_GUEST)


@rule(
    "translate.htval.offset",
    "htval is the guest-physical address of the very byte that xtval names, shifted right by two",
    section=GUEST_FAULTS,
    rows=(27, 33, 36),
    cases=grid(offset=(0, 4, 8, 0xFF8), kind=(LOAD, STORE), level=(0, 1, 2)),
)
def _(offset: int, kind: str, level: int) -> None:
    scene = Scene(VS, 3, 4)
    size = 1 << 12 + 9 * level
    far = 0x3_5555_4000_0000 & -size  # 50 bits
    at = 0x20_0000_0000 + (size >> 1 & ~0xFFF) + offset
    scene.first.map(at, far, LEAF, level)
    found = scene.check(kind, at)
    assert (found.tval, found.tval2) == (at, (far | at & size - 1) >> 2)


@rule(
    "translate.straddle",
    "Of an access or instruction across two pages, xtval and htval name the portion that faulted",
    section=GUEST_FAULTS,
    rows=(33,),
    cases=grid(kind=("lw", "sd", "fetch"), missing=("first", "second"), stage=("VS", "G", "memory")),
)
def _(kind: str, missing: str, stage: str) -> None:
    scene = Scene(VS)
    for page, name in enumerate(("first", "second")):
        gone = name == missing
        if not (gone and stage == "VS"):
            scene.first.map(ADDRESS + 0x1000 * page, GPA + 0x3000 * page, LEAF)
        if not (gone and stage == "G"):
            there = NOWHERE if gone and stage == "memory" else PAGE + 0x2000 * page
            scene.second.map(GPA + 0x3000 * page, there, LEAF | USER)
    at = ADDRESS + 0xFFE
    scene.rig.store(PAGE + 0xFFE, 0x0513, 2)  # addi a0, a0, ...
    found = {
        "lw": lambda: scene.execute("lw a0, 0(a1)", at),
        "sd": lambda: scene.execute("sd a2, 0(a1)", at),
        "fetch": lambda: scene.execute("jr a1", at, steps=2),
    }[kind]()
    access = {"lw": LOAD, "sd": STORE, "fetch": FETCH}[kind]
    tval = at if missing == "first" else ADDRESS + 0x1000
    gpa = (GPA + 0xFFE if missing == "first" else GPA + 0x3000) if stage == "G" else 0
    assert (found.cause, found.tval) == ({"VS": PAGE_FAULT, "G": GUEST, "memory": ACCESS}[stage][access], tval)
    assert (found.tval2, found.gva) == (gpa >> 2, True)
    assert scene.rig.csr("mepc") == (at if kind == "fetch" else BASE)


@rule(
    "translate.v0",
    "With V=0 neither vsatp nor hgatp has any effect on accesses",
    section="Hypervisor and Virtual Supervisor CSRs",
    cases=grid(mode=(HS, U), kind=ACCESSES),
)
def _(mode: Mode, kind: str) -> None:
    scene = Scene(mode, vsatp=8 << 60 | 0x12345, hgatp=10 << 60 | 0x12344)
    scene.first.map(ADDRESS, PAGE, LEAF | (0 if mode.privilege else USER))
    assert scene.check(kind, ADDRESS).cause is None


@rule(
    "translate.v1",
    "With V=1 satp has no effect on accesses",
    section="Hypervisor and Virtual Supervisor CSRs",
    cases=grid(mode=(VS, VU), kind=ACCESSES, vs=LEVELS),
)
def _(mode: Mode, kind: str, vs: int) -> None:
    scene = Scene(mode, vs, satp=9 << 60 | 0x12345)
    scene.first.map(ADDRESS, GPA, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    assert scene.check(kind, ADDRESS if vs else GPA).cause is None
