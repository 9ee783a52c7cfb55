"""Fences: what each must drop. A translation that is stale may be used until then, so nothing here asks for one."""

from __future__ import annotations

from itertools import product
from random import Random

from rig import (
    ADUE,
    BASE,
    FETCH,
    HANDLER,
    HS,
    LEAF,
    LOAD,
    MPRV,
    MPV,
    MXR,
    ONES,
    SPVP,
    STORE,
    SUM,
    TABLES,
    USER,
    VS,
    VU,
    A,
    M,
    R,
    Rig,
    Tables,
    U,
    V,
    W,
    X,
)

from emulator.hart import Mode

from .memory_types import PBMTE
from .scene import ADDRESS, GPA, MEMORY, PAGE, PAGED, VALUE, Scene
from .suite import grid, rule
from .translation import protect
from .walker import Fault

SUPERVISOR = "Supervisor Memory-Management Fence Instruction"
HYPERVISOR = "Hypervisor Memory-Management Fence Instructions"
FENCES = "Memory-Management Fences"
OTHER = 0x0FED_CBA9_8765_0001
"""What lies in the page that a mapping is changed to. It begins with c.nop too."""
ELSEWHERE = PAGE + 0x1000


def variants(name: str) -> dict[str, str]:
    """By address and address space; a1 holds the address, a3 the address space."""
    inval = name.replace("fence", "inval")
    return {
        "all": f"{name} zero, zero",
        "address": f"{name} a1, zero",
        "space": f"{name} zero, a3",
        "both": f"{name} a1, a3",
        "inval": f"sfence.w.inval\n{inval} zero, zero\nsfence.inval.ir",
        "inval address": f"sfence.w.inval\n{inval} a1, zero\nsfence.inval.ir",
        "inval both": f"sfence.w.inval\n{inval} a1, a3\nsfence.inval.ir",
    }


def fence(scene: Scene, text: str, mode: Mode, address: int, *, at: int = BASE) -> None:
    """Execute a fence in `mode` for `address` and address space 0; the scene's own mode is as before."""
    own, scene.mode = scene.mode, mode
    scene.rig.put(a3=0)
    found = scene.execute(text, address, steps=text.count("\n") + 1, at=at)
    assert found.cause is None, f"the fence raised {found.cause}"
    scene.mode = own


def look(scene: Scene, kind: str, address: int = ADDRESS) -> int | None:
    """Which of the two pages the access reaches: its value; None for a fault."""
    rig = scene.rig
    if kind == LOAD or kind.startswith("h"):
        found = scene.attempt(kind, address)
        return None if found.cause is not None else found.value
    if kind == STORE:
        rig.store(PAGE, 0)
        rig.store(ELSEWHERE, 0)
        found = scene.attempt(STORE, address)
        hits = [value for at, value in ((PAGE, VALUE), (ELSEWHERE, OTHER)) if rig.load(at)]
        rig.store(PAGE, VALUE)
        rig.store(ELSEWHERE, OTHER)
        return hits[0] if hits else None
    found = scene.execute("jr a1", address + 16, steps=2)
    return None if found.cause is not None else {1: VALUE, 2: OTHER}.get(rig.x("a0"))


def prepared(mode: Mode, **csrs: int) -> Scene:
    """ADDRESS leads to PAGE, by one stage or two; ELSEWHERE is the other page, and GPA + 0x1000 leads there."""
    scene = Scene(mode, **csrs)
    user = 0 if mode.privilege else USER
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | user)
    if mode.virtual:
        scene.second.map(GPA, PAGE, LEAF | USER)
        scene.second.map(GPA + 0x1000, ELSEWHERE, LEAF | USER)
    scene.rig.store(ELSEWHERE, OTHER)
    scene.rig.write(PAGE + 16, "li a0, 1")
    scene.rig.write(ELSEWHERE + 16, "li a0, 2")
    return scene


@rule(
    "fence.sfence",
    "SFENCE.VMA (and SINVAL.VMA between its fences) orders a changed entry before the translations that follow",
    section=SUPERVISOR,
    rows=(57,),
    cases=grid(text=variants("sfence.vma"), mode=(HS, U, VS, VU), kind=(LOAD, STORE, FETCH)),
)
def _(text: str, mode: Mode, kind: str) -> None:
    """U-mode's tables are fenced by M-mode. VU-mode's by VS-mode, which runs in a page of its own."""
    scene = prepared(mode)
    assert look(scene, kind) == VALUE
    scene.first.map(ADDRESS, GPA + 0x1000 if mode.virtual else ELSEWHERE, LEAF | (0 if mode.privilege else USER))
    if mode is VU:
        supervisor = BASE + 0x8000
        scene.first.map(supervisor, supervisor, LEAF)
        fence(scene, text, VS, ADDRESS, at=supervisor)
    else:
        fence(scene, text, M if mode is U else mode, ADDRESS)
    assert look(scene, kind) == OTHER


@rule(
    "fence.hfence.vvma",
    "HFENCE.VVMA (and HINVAL.VVMA) does for the guest's tables what SFENCE.VMA does in VS-mode",
    section=HYPERVISOR,
    rows=(57,),
    cases=grid(text=variants("hfence.vvma"), mode=(VS, VU), kind=(LOAD, STORE, FETCH), executor=(HS, M)),
)
def _(text: str, mode: Mode, kind: str, executor: Mode) -> None:
    scene = prepared(mode)
    assert look(scene, kind) == VALUE
    scene.first.map(ADDRESS, GPA + 0x1000, LEAF | (0 if mode.privilege else USER))
    fence(scene, text, executor, ADDRESS)
    assert look(scene, kind) == OTHER


@rule(
    "fence.hfence.gvma",
    "HFENCE.GVMA (and HINVAL.GVMA) drops G-stage translations, those combined with VS-stage ones too",
    section=HYPERVISOR,
    rows=(58,),
    cases=grid(text=variants("hfence.gvma"), mode=(VS, VU), kind=(LOAD, STORE, FETCH), executor=(HS, M)),
)
def _(text: str, mode: Mode, kind: str, executor: Mode) -> None:
    """The address is guest-physical, shifted right by two."""
    scene = prepared(mode)
    assert look(scene, kind) == VALUE
    scene.second.map(GPA, ELSEWHERE, LEAF | USER)
    fence(scene, text, executor, GPA >> 2)
    assert look(scene, kind) == OTHER


@rule(
    "fence.hfence.gvma.walk",
    "It also drops the G-stage translations of a guest's page tables",
    section=HYPERVISOR,
    rows=(58,),
    cases=grid(kind=(LOAD, STORE, FETCH)),
)
def _(kind: str) -> None:
    scene = prepared(VS)
    entry = scene.first.slot(ADDRESS)
    table = GPA + 0x20_0000
    scene.rig.store(scene.first.slot(ADDRESS, 1), table >> 12 << 10 | V)
    scene.second.map(table, entry & ~0xFFF, LEAF | USER)
    assert look(scene, kind) == VALUE
    copy = BASE + 0x13_0000
    scene.rig.store(copy | entry & 0xFFF, (GPA + 0x1000) >> 12 << 10 | LEAF)
    scene.second.map(table, copy, LEAF | USER)
    fence(scene, "hfence.gvma a1, zero", HS, table >> 2)
    assert look(scene, kind) == OTHER


@rule(
    "fence.hlv",
    "Translations that HLV and HSV made are dropped by the same fences",
    section=HYPERVISOR,
    rows=(56, 58),
    cases=grid(
        fence_text=("hfence.vvma a1, zero", "hfence.vvma zero, zero", "hfence.gvma a1, zero"), kind=("hlv", "hlvx")
    ),
)
def _(fence_text: str, kind: str) -> None:
    scene = prepared(VS, hstatus=SPVP)
    scene.mode = HS
    cut = (1 << 32) - 1 if kind == "hlvx" else ONES
    assert look(scene, kind) == VALUE & cut
    if "gvma" in fence_text:
        scene.second.map(GPA, ELSEWHERE, LEAF | USER)
        fence(scene, fence_text, HS, GPA >> 2)
    else:
        scene.first.map(ADDRESS, GPA + 0x1000, LEAF)
        fence(scene, fence_text, HS, ADDRESS)
    assert look(scene, kind) == OTHER & cut


@rule(
    "fence.superpage",
    "A fence for one address drops the whole leaf that maps it, however small the pages of the other stage are",
    section=SUPERVISOR,
    cases=grid(text=("sfence.vma", "sinval.vma", "hfence.vvma", "hinval.vvma"), g=(0, 1), part=(0, 0x5000, 0x1F_F000)),
)
def _(text: str, g: int, part: int) -> None:
    scene = Scene(VS)
    rig = scene.rig
    far, address = 0x1_4000_0000, 0x20_0020_0000
    for half in (0, 1):
        size = 1 << 12 + 9 * g
        for at in range(0, 2 << 20, size) if g == 1 else (PAGE & 0x1F_FFFF, part):
            scene.second.map(far + (half << 21) + at, BASE + (half << 21) + at, LEAF | USER, g)
    offset = PAGE & 0x1F_FFFF
    scene.first.map(address, far, LEAF, 1)
    rig.store(PAGE + (2 << 20), OTHER)
    assert scene.attempt(LOAD, address + offset).value == VALUE
    scene.first.map(address, far + (2 << 20), LEAF, 1)
    fence(scene, f"{text} a1, zero", VS if text.startswith("s") else HS, address + part)
    assert scene.attempt(LOAD, address + offset).value == OTHER


@rule(
    "fence.permission",
    "A permission taken away is gone behind the fence, one granted is there: W, R, X, U and V of either stage",
    section=FENCES,
    cases=grid(stage=("VS", "G"), kind=(LOAD, STORE, FETCH), bit={"V": V, "U": USER, "RWX": R | W | X}),
)
def _(stage: str, kind: str, bit: int) -> None:
    scene = prepared(VU)
    tables, at = (scene.first, ADDRESS) if stage == "VS" else (scene.second, GPA)
    slot = tables.slot(at)
    good = scene.rig.load(slot)
    bad = good & ~({LOAD: R | W, STORE: W, FETCH: X}[kind] if bit == R | W | X else bit)
    text, where = ("hfence.vvma a1, zero", ADDRESS) if stage == "VS" else ("hfence.gvma a1, zero", GPA >> 2)
    for entry, expected in ((good, VALUE), (bad, None), (good, VALUE), (bad, None)):
        scene.rig.store(slot, entry)
        fence(scene, text, HS, where)
        assert look(scene, kind) == expected


@rule(
    "fence.stale",
    "Without a fence an access uses the old entry or the new one, and nothing else",
    section=FENCES,
    cases=grid(mode=PAGED, kind=(LOAD, STORE, FETCH)),
)
def _(mode: Mode, kind: str) -> None:
    scene = prepared(mode)
    look(scene, kind)
    scene.first.map(ADDRESS, GPA + 0x1000 if mode.virtual else ELSEWHERE, LEAF | (0 if mode.privilege else USER))
    assert look(scene, kind) in (VALUE, OTHER)
    if mode.virtual:
        scene.second.map(GPA, ELSEWHERE, LEAF | USER)
        assert look(scene, kind) in (VALUE, OTHER)


@rule(
    "fence.invalid",
    "An entry that was invalid and becomes valid is used behind the fence: a fault may not stick",
    section=FENCES,
    cases=grid(mode=(HS, VS), kind=(LOAD, STORE, FETCH)),
)
def _(mode: Mode, kind: str) -> None:
    scene = prepared(mode)
    slot = scene.first.slot(ADDRESS)
    good = scene.rig.load(slot)
    scene.rig.store(slot, 0)
    assert look(scene, kind) is None
    scene.rig.store(slot, good)
    fence(scene, "sfence.vma a1, zero", mode, ADDRESS)
    assert look(scene, kind) == VALUE


@rule(
    "space.vmid",
    "Translations of one VMID do not serve another: back and forth, each guest sees its own memory without a fence",
    section=FENCES,
    rows=(57, 59),
    cases=grid(kind=(LOAD, STORE, FETCH), mode=(VS, VU)),
)
def _(kind: str, mode: Mode) -> None:
    scene = prepared(mode)
    other = Tables(scene.rig, guest=True, at=BASE + 0x14_0000)
    for at in range(BASE, BASE + (4 << 20), 2 << 20):
        other.map(at, at, LEAF | USER, 1)
    other.map(GPA, ELSEWHERE, LEAF | USER)
    for vmid, tables, expected in ((1, scene.second, VALUE), (2, other, OTHER)) * 3:
        scene.rig.set(hgatp=tables.atp | vmid << 44)
        assert look(scene, kind) == expected


@rule(
    "space.asid",
    "Translations of one ASID do not serve another, in HS-mode and in a guest",
    section=SUPERVISOR,
    rows=(57, 59),
    cases=grid(kind=(LOAD, STORE, FETCH), mode=PAGED),
)
def _(kind: str, mode: Mode) -> None:
    scene = prepared(mode)
    user = 0 if mode.privilege else USER
    other = Tables(scene.rig, at=BASE + 0x14_0000)
    other.map(BASE, BASE, LEAF | user)
    other.map(ADDRESS, GPA + 0x1000 if mode.virtual else ELSEWHERE, LEAF | user)
    name = "vsatp" if mode.virtual else "satp"
    for asid, tables, expected in ((1, scene.first, VALUE), (2, other, OTHER)) * 3:
        scene.rig.set(**{name: tables.atp | asid << 44})
        assert look(scene, kind) == expected


@rule(
    "space.write",
    "A program that writes satp, SUM, MXR or MPRV has them count for its own next access, and loses what it takes away",
    section=FENCES,
    rows=(57,),
    cases=grid(
        what={
            "satp of HS": (HS, "satp", None), "satp of VS": (VS, "satp", None), "SUM of HS": (HS, "sstatus", SUM),
            "SUM of VS": (VS, "sstatus", SUM), "MPRV": (M, "mstatus", MPRV | 1 << 11),
            "MPRV, MPV": (M, "mstatus", MPRV | MPV | 1 << 11),
        }
    ),
)  # fmt: skip
def _(what: tuple[Mode, str, int | None]) -> None:
    mode, name, bits = what
    scene = prepared(VS if mode is VS or (bits and bits & MPV) else HS)
    rig = scene.rig
    scene.mode = mode
    other = Tables(rig, at=BASE + 0x14_0000)
    other.map(BASE, BASE, LEAF)
    other.map(ADDRESS, GPA + 0x1000 if mode.virtual else ELSEWHERE, LEAF)
    if bits is not None and mode is not M:
        scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | USER)
    if bits is None:
        texts = "ld a0, 0(a1)\ncsrw satp, a4\nld a2, 0(a1)\ncsrw satp, a5\nld a3, 0(a1)"
        rig.put(a4=other.atp | 1 << 44, a5=scene.first.atp)
        expected, steps = (VALUE, OTHER, VALUE), 5
    else:
        texts = f"csrs {name}, a4\nld a0, 0(a1)\ncsrc {name}, a4\nld a2, 0(a1)"
        rig.put(a4=bits)
        expected, steps = (VALUE, 0, 0), 4
    rig.write(BASE, texts)
    rig.put(a0=0, a1=ADDRESS, a2=0, a3=0)
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.run(steps)
    assert (rig.x("a0"), rig.x("a2"), rig.x("a3")) == expected
    assert rig.hart.pc == (BASE + 20 if bits is None else HANDLER)


@rule(
    "space.modes",
    "Translations of one mode do not serve another: HS, U, VS and VU at the same virtual address",
    section=FENCES,
    rows=(57,),
    cases=grid(kind=(LOAD, FETCH)),
)
def _(kind: str) -> None:
    """HS-mode's page is for the supervisor, the guest's for its user; each mode in turn."""
    scene = prepared(VU)
    rig = scene.rig
    own = Tables(rig, at=BASE + 0x14_0000)
    own.map(BASE, BASE, LEAF)
    own.map(ADDRESS, ELSEWHERE, LEAF)
    rig.set(satp=own.atp)
    for mode, expected in ((VU, VALUE), (HS, OTHER)) * 3:
        scene.mode = mode
        assert look(scene, kind) == expected
    # U-mode and VS-mode find no code of theirs: a page fault of the fetch, in their own tables.
    for mode, gva in ((U, False), (VS, True), (U, False)):
        scene.mode = mode
        found = scene.execute("nop")
        assert (found.cause, found.tval, found.gva) == (12, BASE, gva)


@rule(
    "space.status",
    "SUM and MXR, the guest's and the host's, count for the next access without a fence",
    section=FENCES,
    rows=(57,),
    cases=grid(
        what={
            "SUM of HS": (HS, "mstatus", SUM, LEAF | USER, LEAF | USER),
            "MXR of HS": (HS, "mstatus", MXR, V | X | A, LEAF | USER),
            "SUM of VS": (VS, "vsstatus", SUM, LEAF | USER, LEAF | USER),
            "MXR of VS": (VS, "vsstatus", MXR, V | X | A, LEAF | USER),
            "MXR of the host": (VS, "mstatus", MXR, V | X | A, V | X | A | USER),
            "MXR of the host, G-stage": (VS, "mstatus", MXR, LEAF, V | X | A | USER),
        }
    ),
)
def _(what: tuple[Mode, str, int, int, int]) -> None:
    mode, name, bit, vs, g = what
    scene = prepared(mode)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, vs)
    scene.second.map(GPA, PAGE, g)
    for value in (0, bit, 0, bit, 0):
        scene.rig.set(**{name: value})
        assert look(scene, LOAD) == (VALUE if value else None)


@rule(
    "space.status.all",
    "Whatever SUM and MXR were for the access before, those of now count for this one",
    section=FENCES,
    rows=(57,),
    cases=grid(
        mode=(HS, VS), page={"user": LEAF | USER, "code": V | X | A, "user code": V | X | A | USER, "own": LEAF}
    ),
)
def _(mode: Mode, page: int) -> None:
    scene = prepared(mode)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, page)
    scene.second.map(GPA, PAGE, V | X | A | USER)
    settings = list(product((0, MXR), (0, SUM), (0, MXR)))
    for before, now in product(settings, repeat=2):
        for host, own, guest in (before, now):
            scene.rig.set(mstatus=host | own, vsstatus=guest | own)
            expected, _ = scene.expected(LOAD, ADDRESS)
            assert (look(scene, LOAD) is None) == isinstance(expected, Fault)


@rule(
    "space.many",
    "Address spaces stay apart when there are more of them than any lookaside could know",
    section=FENCES,
    rows=(57,),
    cases=grid(what=("asid", "vmid", "asid and SUM")),
)
def _(what: str) -> None:
    mode = VS if what == "vmid" else HS
    scene = prepared(mode)
    rig = scene.rig
    user = USER if "SUM" in what else 0
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF | user)
    other = Tables(rig, guest=mode.virtual, at=BASE + 0x14_0000)
    if mode.virtual:
        for at in range(BASE & -(2 << 20), BASE + MEMORY, 2 << 20):
            other.map(at, at, LEAF | USER, 1)
        other.map(GPA, ELSEWHERE, LEAF | USER)
    else:
        other.map(BASE, BASE, LEAF)
        other.map(ADDRESS, ELSEWHERE, LEAF | user)
    name, tables = ("hgatp", (scene.second, other)) if mode.virtual else ("satp", (scene.first, other))
    random = Random(7)
    for number in (*range(700), *(random.randrange(1 << 14) for _ in range(3000))):
        rig.set(**{name: tables[number % 2].atp | number << 44})
        for sum in (0, SUM, 0) if user else (0,):
            rig.set(mstatus=sum)
            assert look(scene, LOAD) == (None if user and not sum else OTHER if number % 2 else VALUE)


@rule(
    "space.roots",
    "Nor does a translation serve other SUM and MXR than it was made for, with however many tables they take turns",
    section=FENCES,
    rows=(57,),
    cases=grid(mode=(HS, VS)),
)
def _(mode: Mode) -> None:
    """The page, at virtual address 0, is code of the user: what may read it needs both. Every root is a copy of one."""
    scene = prepared(mode)
    rig = scene.rig
    scene.first.map(0, GPA if mode.virtual else PAGE, V | X | A | USER)
    name, own = ("vsatp", "vsstatus") if mode.virtual else ("satp", "mstatus")
    root = rig.machine.memory.read(scene.first.root, 4096)
    for number in range(400):
        at = BASE + 0x20_0000 + 4096 * number
        rig.machine.memory.write(at, root)
        rig.set(**{name: 8 << 60 | at >> 12})
        for bad in (0, MXR, SUM):
            rig.set(**{own: SUM | MXR})
            assert look(scene, LOAD, 0) == VALUE
            rig.set(**{own: bad})
            assert look(scene, LOAD, 0) is None


@rule(
    "space.crowd",
    "Of thousands of address spaces that take turns, each reaches its own pages, of which others have reached some",
    section=FENCES,
    rows=(57,),
    cases=grid(what=("load", "fetch")),
)
def _(what: str) -> None:
    """Every word of a page says which it is: as a number, and as a function that adds it to a0."""
    rig = Rig(memory=MEMORY)
    roots = []
    for value, at, page in ((3, TABLES, PAGE), (5, TABLES + 0x8_0000, ELSEWHERE)):
        tables = Tables(rig, at=at)
        tables.map(BASE, BASE, LEAF)
        words = f"c.addi a0, {value}\nc.jr ra\n" * 1024 if what == "fetch" else ""
        rig.write(page, words) if words else rig.machine.memory.write(page, value.to_bytes(8, "little") * 512)
        for number in range(16, 528):
            tables.map(number << 12, page, LEAF)
        roots.append((tables.atp, 8 * value))
    step = "jalr ra, 0(a1)\n" if what == "fetch" else "ld a2, 0(a1)\nadd a0, a0, a2\n"
    end = rig.write(BASE, "li a0, 0\n" + (step + "add a1, a1, a3\n") * 8 + "end: nop")["end"]
    random = Random(11)
    for number in range(5000):
        root, expected = roots[number % 2]
        rig.set(satp=root | number << 44)
        rig.hart.pc, rig.hart.mode = BASE, HS
        stride = random.randrange(1, 64)
        rig.put(a1=(random.randrange(16, 528 - 7 * stride) << 12) + random.randrange(512) * 8, a3=stride << 12)
        rig.run(1 + 8 * (4 if what == "fetch" else 3))
        assert (rig.x("a0"), rig.hart.pc) == (expected, end)


@rule(
    "space.loop",
    "The same for a program that goes through thousands of address spaces by itself",
    section=FENCES,
    rows=(57,),
    cases=grid(mode=(HS, VS)),
)
def _(mode: Mode) -> None:
    scene = prepared(mode)
    rig = scene.rig
    scene.first.map(0, GPA if mode.virtual else PAGE, LEAF)
    step = "csrw satp, a4\nld a2, 0(zero)\nadd a0, a0, a2\nadd a4, a4, a5\naddi a3, a3, -1"
    end = rig.write(BASE, f"again: {step}\nbnez a3, again\nend: nop")["end"]
    rig.store(PAGE, 3)
    rig.set(mstatus=SUM, vsstatus=SUM)  # so that loads go another way than fetches
    rig.put(a0=0, a3=2000, a4=scene.first.atp, a5=1 << 44)
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.run(12_000)
    assert (rig.hart.pc, rig.x("a0")) == (end, 6000)


@rule(
    "space.guest",
    "A translation of V=0 does not serve V=1 nor the reverse, even with one table for both: PBMTE is each one's own",
    section=FENCES,
    rows=(57,),
    cases=grid(kind=(LOAD, STORE, FETCH)),
)
def _(kind: str) -> None:
    scene = prepared(HS, menvcfg=PBMTE)
    scene.first.map(ADDRESS, PAGE, LEAF | 1 << 61)
    scene.rig.set(vsatp=scene.first.atp)
    for mode in (HS, VS, HS, VS):
        scene.mode = mode
        assert look(scene, kind) == (VALUE if mode is HS else None)


@rule(
    "space.status.stages",
    "The host's MXR counts for the G-stage at once while the guest's is 1, and the guest's for the VS-stage",
    section=FENCES,
    rows=(48, 57),
    cases=grid(kind=(LOAD, "hlv"), menvcfg=(0, ADUE)),
)
def _(kind: str, menvcfg: int) -> None:
    scene = prepared(VS, hstatus=SPVP, vsstatus=MXR, menvcfg=menvcfg)
    scene.mode = VS if kind == LOAD else HS
    scene.second.map(GPA, PAGE, V | X | A | USER)
    for mxr in (0, MXR, 0, MXR, 0):
        scene.rig.set(mstatus=mxr)
        assert look(scene, kind) == (VALUE if mxr else None)
    scene = prepared(VS, hstatus=SPVP, menvcfg=menvcfg)
    scene.mode = VS if kind == LOAD else HS
    scene.first.map(ADDRESS, GPA, V | X | A)
    for mxr in (0, MXR, 0, MXR, 0):
        scene.rig.set(vsstatus=mxr)
        assert look(scene, kind) == (VALUE if mxr else None)


@rule(
    "fence.pmp",
    "Behind a change of PMP, SFENCE.VMA and HFENCE.GVMA without arguments make it count for every translation",
    section=FENCES,
    cases=grid(mode=PAGED, kind=(LOAD, STORE, FETCH)),
)
def _(mode: Mode, kind: str) -> None:
    scene = prepared(mode)
    assert look(scene, kind) == VALUE
    protect(scene.rig, PAGE, 0)
    fence(scene, "hfence.gvma zero, zero" if mode.virtual else "sfence.vma", M, 0)
    assert look(scene, kind) is None
    protect(scene.rig, PAGE, 7)
    fence(scene, "hfence.gvma zero, zero" if mode.virtual else "sfence.vma", M, 0)
    assert look(scene, kind) == VALUE


@rule(
    "fence.adue",
    "Behind a change of menvcfg.ADUE or henvcfg.ADUE, HFENCE.GVMA or HFENCE.VVMA makes it count",
    section=FENCES,
    cases=grid(stage=("VS", "G")),
)
def _(stage: str) -> None:
    scene = prepared(VS)
    tables, at, leaf = (
        (scene.first, ADDRESS, V | R | W | X) if stage == "VS" else (scene.second, GPA, V | R | W | X | USER)
    )
    slot = tables.slot(at)
    page = scene.rig.load(slot) >> 10 << 10
    for update, expected in ((0, None), (ADUE, VALUE), (0, None), (ADUE, VALUE)):
        scene.rig.store(slot, page | leaf)
        if stage == "VS":
            scene.rig.set(menvcfg=ADUE)
            scene.rig.set(henvcfg=update)
            fence(scene, "hfence.vvma zero, zero", HS, 0)
        else:
            scene.rig.set(menvcfg=update)
            fence(scene, "hfence.gvma zero, zero", HS, 0)
        assert look(scene, LOAD) == expected


@rule(
    "fence.hgatp.mode",
    "A new MODE of hgatp for the same VMID counts behind HFENCE.GVMA, also from and to Bare",
    section=HYPERVISOR,
    rows=(57, 58),
)
def _() -> None:
    scene = Scene(VS, 3, 0)
    rig = scene.rig
    scene.first.map(ADDRESS, PAGE, LEAF)
    rig.store(ELSEWHERE, OTHER)
    deep = Tables(rig, 4, guest=True, at=BASE + 0x14_0000)
    for at in range(BASE, BASE + (1 << 20), 4096):
        deep.map(at, at, LEAF | USER)
    deep.map(PAGE, ELSEWHERE, LEAF | USER)
    for hgatp, expected in ((0, VALUE), (deep.atp, OTHER), (0, VALUE), (deep.atp, OTHER)):
        rig.set(hgatp=hgatp)
        fence(scene, "hfence.gvma zero, zero", HS, 0)
        assert look(scene, LOAD) == expected


@rule(
    "fence.keeps",
    "A fence changes no register and no memory",
    section=HYPERVISOR,
    cases=grid(
        text=(
            "sfence.vma a1, a3",
            "sinval.vma a1, a3",
            "hfence.vvma a1, a3",
            "hfence.gvma a1, a3",
            "hinval.gvma a1, a3",
        ),
        mode=(M, HS),
    ),
)
def _(text: str, mode: Mode) -> None:
    scene = prepared(VS)
    scene.mode = mode
    rig = scene.rig
    rig.write(BASE, text)
    rig.put(a1=ADDRESS, a3=5)
    rig.hart.mode, rig.hart.pc = mode, BASE
    names = ("mstatus", "hstatus", "vsstatus", "vsatp", "hgatp", "satp", "mcause", "scause", "mip")
    before = [*rig.hart.x, *(rig.csr(name) for name in names), rig.machine.memory.read(PAGE, 4096)]
    rig.run(1)
    assert rig.hart.pc == BASE + 4
    assert [*rig.hart.x, *(rig.csr(name) for name in names), rig.machine.memory.read(PAGE, 4096)] == before


@rule(
    "fence.loop",
    "The same holds for a program that changes its own tables, fences and calls the same address again",
    section=SUPERVISOR,
    rows=(57,),
    cases=grid(text=variants("sfence.vma"), mode=(HS, VS), what=("call", "load", "store")),
)
def _(text: str, mode: Mode, what: str) -> None:
    """No instruction is rewritten between the two calls, so that whatever leads from one to the next is still there."""
    scene = prepared(mode)
    rig = scene.rig
    slot = scene.first.slot(ADDRESS)
    scene.first.map(slot, slot & ~0xFFF, LEAF)
    rig.write(PAGE + 16, "li a0, 1\nret")
    rig.write(ELSEWHERE + 16, "li a0, 2\nret")
    use = {"call": "jalr ra, 16(a1)", "load": "lbu a0, 3(a1)", "store": "sb a6, 8(a1)"}[what]
    program = rig.write(
        BASE,
        f"""
        li s2, 2
    again: {use}
        mv s0, s1
        mv s1, a0
        sd a4, 0(a5)
        {text}
        addi s2, s2, -1
        bnez s2, again
    end: j end
        """,
    )
    target = GPA + 0x1000 if mode is VS else ELSEWHERE
    rig.put(a1=ADDRESS, a3=0, a4=target >> 12 << 10 | LEAF, a5=slot, a6=0x77)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(60)
    assert rig.hart.pc == program["end"]
    if what == "store":
        assert [rig.load(at + 8, 1) for at in (PAGE, ELSEWHERE)] == [0x77, 0x77]
    else:
        expected = [1, 2] if what == "call" else [VALUE >> 24 & 0xFF, OTHER >> 24 & 0xFF]
        assert [rig.x("s0"), rig.x("s1")] == expected


class Spaces:
    """HS-mode and two virtual machines, each with a page of its own that is known, and tables that were cleared behind
    the hart's back: what still reads its page was not dropped."""

    def __init__(self, kind: str) -> None:
        self.scene, self.kind = Scene(VS), kind
        rig = self.scene.rig
        own = Tables(rig, at=TABLES + 0x20_0000)
        own.map(BASE, BASE, LEAF)
        guest, second = self.scene.first.atp, self.scene.second.atp
        self.settings = {"satp": own.atp, "vsatp": guest, "hgatp": second}
        self.readers: dict[str, tuple[Mode, dict[str, int]]] = {
            "host": (HS, {}),
            "host-5": (HS, {"satp": own.atp | 5 << 44}),
            "guest": (VS, {}),
            "guest-5": (VS, {"vsatp": guest | 5 << 44}),
            "other": (VS, {"hgatp": second | 3 << 44}),
        }
        # From page number 0 modulo any lookaside's size on: the first place is dropped too. Of fetches the code has it.
        first = (ADDRESS & -(16 << 20)) + 0x1000 * (kind == FETCH)
        self.address = {name: first + 0x1000 * i for i, name in enumerate(self.readers)}
        slots = [tables.map(at, PAGE, LEAF) for tables in (own, self.scene.first) for at in self.address.values()]
        assert self.left() == set(self.readers)
        for slot in slots:
            rig.store(slot, 0)
        assert self.left() == set(self.readers)

    def left(self) -> set[str]:
        """Which still read. Looking changes nothing: a walk that fails is not remembered."""
        found = set()
        for name, (mode, settings) in self.readers.items():
            self.scene.mode = mode
            self.scene.rig.set(**self.settings | settings)
            if self.scene.attempt(self.kind, self.address[name]).cause is None:
                found.add(name)
        return found


EXACT = [
    (HS, "sfence.vma zero, zero", 0, "guest", "host host-5"),
    (M, "sfence.vma zero, zero", 0, "guest", "host host-5"),
    (HS, "sfence.vma a1, zero", 0, "host-5", "host-5"),
    (HS, "sfence.vma a1, zero", 0, "guest", ""),
    (HS, "sfence.vma zero, a4", 0, "guest", "host-5"),
    (HS, "sfence.vma a1, a4", 0, "host", ""),
    (HS, "sinval.vma zero, a4", 0, "guest", "host-5"),
    (VS, "sfence.vma zero, zero", 0, "guest", "guest guest-5"),
    (VS, "sfence.vma a1, zero", 0, "guest", "guest"),
    (VS, "sfence.vma zero, a4", 0, "guest", "guest-5"),
    (VS, "sfence.vma zero, zero", 3, "guest", "other"),
    (HS, "hfence.vvma zero, zero", 0, "guest", "guest guest-5"),
    (HS, "hfence.vvma zero, a4", 0, "guest", "guest-5"),
    (HS, "hfence.vvma a1, zero", 0, "host", ""),
    (HS, "hfence.vvma a1, zero", 3, "other", "other"),
    (HS, "hinval.vvma zero, zero", 3, "guest", "other"),
    (HS, "hfence.gvma zero, zero", 0, "guest", "guest guest-5 other"),
    (HS, "hfence.gvma zero, a3", 0, "guest", "other"),
    (HS, "hinval.gvma zero, a3", 0, "guest", "other"),
]


@rule(
    "fence.exact",
    "A fence drops what it names; this hart leaves the rest, which it need not, so that a fence too few shows",
    section="Memory-Management Fences",
    rows=(58,),
    cases={
        f"{text.replace(', ', ',').replace(' ', '_')}-{mode.name}-{vmid}-{of}-{kind}": {
            "mode": mode, "text": text, "vmid": vmid, "of": of, "dropped": dropped, "kind": kind,
        }
        for mode, text, vmid, of, dropped in EXACT
        for kind in (FETCH, LOAD, STORE)
    },
)  # fmt: skip
def _(mode: Mode, text: str, vmid: int, of: str, dropped: str, kind: str) -> None:
    spaces = Spaces(kind)
    rig = spaces.scene.rig
    rig.set(**spaces.settings | {"hgatp": spaces.settings["hgatp"] | vmid << 44})
    rig.write(BASE, text)
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.put(a1=spaces.address[of], a4=5, a3=3)
    rig.run(1)
    assert rig.hart.pc == BASE + 4
    assert spaces.left() == set(spaces.readers) - set(dropped.split())
