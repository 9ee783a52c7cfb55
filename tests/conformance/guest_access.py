"""HLV, HLVX and HSV: whose access they make, what they read and write, what they leave behind."""

from __future__ import annotations

from itertools import product

from rig import (
    ADUE,
    BASE,
    HS,
    HU,
    LEAF,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    MPRV,
    MPV,
    MXR,
    SPP,
    SPVP,
    STORE_GUEST,
    SUM,
    USER,
    A,
    D,
    M,
    R,
    Tables,
    U,
    V,
    W,
    X,
)

from emulator.hart import Mode
from emulator.machine import UART

from .scene import ADDRESS, GPA, GUEST_LEVELS, GUEST_TABLES, LEVELS, MEMORY, PAGE, STORED, VALUE, Scene, guest_entry
from .suite import grid, rule
from .translation import RWX, protect

HLV = "Hypervisor Virtual-Machine Load and Store Instructions"
KINDS = {"hlv": "hlv", "hlvx": "hlvx", "hsv": "hsv"}
MODES = (M, HS, U)


def scene_for(mode: Mode, flags: int = LEAF, guest_flags: int = LEAF | USER, **csrs: int) -> Scene:
    scene = Scene(mode, guest=True)
    scene.rig.set(hstatus=HU, **csrs) if "hstatus" not in csrs else scene.rig.set(**csrs)
    scene.first.map(ADDRESS, GPA, flags)
    scene.second.map(GPA, PAGE, guest_flags)
    return scene


@rule(
    "hlv.spvp",
    "The access is made with V=1 at the privilege of SPVP, whatever SPP, MPP, MPV and MPRV are, from M, HS and U alike",
    section=HLV,
    rows=(50,),
    cases=grid(
        kind=KINDS,
        mode=MODES,
        spvp=(0, SPVP),
        user=(0, USER),
        status=(0, MPRV | 3 << 11, MPRV | MPV | SPP, MPRV | 1 << 11),
    ),
)
def _(kind: str, mode: Mode, spvp: int, user: int, status: int) -> None:
    scene = scene_for(mode, LEAF | user, hstatus=HU | spvp, mstatus=status if mode is M else status & SPP)
    found = scene.check(kind, ADDRESS)
    assert (found.cause is None) == (bool(user) != bool(spvp))


@rule(
    "hlv.permissions",
    "R, W, X and U of the VS-stage, vsstatus.SUM and MXR: as for the guest itself",
    section=HLV,
    rows=(48, 49, 50, 51),
    cases=grid(kind=KINDS, spvp=(0, SPVP), sum=(0, SUM), mxr=(0, MXR), host=(0, SUM, MXR)),
)
def _(kind: str, spvp: int, sum: int, mxr: int, host: int) -> None:
    scene = scene_for(HS, hstatus=spvp, vsstatus=sum | mxr, mstatus=host)
    for rwx, user in product(RWX, (0, USER)):
        scene.first.map(ADDRESS, GPA, V | A | D | rwx | user)
        scene.check(kind, ADDRESS)


@rule(
    "hlv.g.permissions",
    "The G-stage checks them as it checks a guest's accesses; HLVX needs X there",
    section=HLV,
    rows=(45, 48, 51),
    cases=grid(kind=KINDS, host=(0, MXR), guest=(0, MXR)),
)
def _(kind: str, host: int, guest: int) -> None:
    scene = scene_for(HS, hstatus=SPVP, vsstatus=guest, mstatus=host)
    for rwx, user in product(RWX, (0, USER)):
        scene.second.map(GPA, PAGE, V | A | D | rwx | user)
        scene.check(kind, ADDRESS)


@rule(
    "hlvx.execute",
    "HLVX needs execute permission in both stages, not read permission, and faults as a load",
    section=HLV,
    rows=(51,),
    cases=grid(vs=(R, X, R | X), g=(R, X, R | X)),
)
def _(vs: int, g: int) -> None:
    scene = scene_for(HS, V | A | vs, V | A | USER | g, hstatus=SPVP)
    found = scene.check("hlvx", ADDRESS)
    assert found.cause == (LOAD_PAGE if not vs & X else LOAD_GUEST if not g & X else None)


@rule(
    "hlvx.pmp",
    "HLVX needs both read and execute of PMP; HLV needs read, HSV write, in every mode, also from M-mode",
    section=HLV,
    rows=(50, 51),
    cases=grid(kind=KINDS, mode=MODES, rights=(0, 1, 3, 4, 5, 7)),
)
def _(kind: str, mode: Mode, rights: int) -> None:
    scene = scene_for(mode, hstatus=HU | SPVP)
    protect(scene.rig, PAGE, rights)
    needed = {"hlv": 1, "hlvx": 5, "hsv": 2}[kind]
    found = scene.attempt(kind, ADDRESS)
    good = rights & needed == needed
    assert found.cause == (None if good else 7 if kind == "hsv" else LOAD_ACCESS)
    if not good:
        assert (found.tval, found.tval2, found.gva) == (ADDRESS, 0, True)


@rule(
    "hlvx.walk",
    "The walk of HLVX reads page tables like any other: R of the G-stage, not X",
    section=HLV,
    rows=(51,),
    cases=grid(flags=(R, X, R | X)),
)
def _(flags: int) -> None:
    scene = scene_for(HS, hstatus=SPVP)
    guest_entry(scene, V | A | USER | flags, GPA + 0x10_0000)
    found = scene.check("hlvx", ADDRESS)
    assert (found.cause, found.tinst) == ((None, 0) if flags & R else (LOAD_GUEST, 0x3000)) or found.cause is None


WIDTHS = {
    "hlv.b": (1, True), "hlv.bu": (1, False), "hlv.h": (2, True), "hlv.hu": (2, False), "hlvx.hu": (2, False),
    "hlv.w": (4, True), "hlv.wu": (4, False), "hlvx.wu": (4, False), "hlv.d": (8, False),
}  # fmt: skip


@rule(
    "hlv.widths",
    "HLV.B, H, W sign-extend, HLV.BU, HU, WU and HLVX.HU, WU zero-extend; misaligned and across pages too",
    section=HLV,
    rows=(52, 53),
    cases=grid(name=WIDTHS.keys(), offset=(0, 1, 3, 0xFF8, 0xFFB, 0xFFD, 0xFFF), sign=(0x81, 0x01)),
)
def _(name: str, offset: int, sign: int) -> None:
    scene = scene_for(HS, hstatus=SPVP)
    scene.first.map(ADDRESS + 0x1000, GPA + 0x5000, LEAF)
    scene.second.map(GPA + 0x5000, PAGE + 0x3000, LEAF | USER)
    data = bytes(sign + i for i in range(8))
    for i, byte in enumerate(data):
        at = offset + i
        scene.rig.store((PAGE if at < 0x1000 else PAGE + 0x2000) + at, byte, 1)
    size, signed = WIDTHS[name]
    for _ in range(2):  # the page is known the second time
        found = scene.execute(f"{name} a0, (a1)", ADDRESS + offset)
        assert found.cause is None
        assert found.value == int.from_bytes(data[:size], "little", signed=signed) & (1 << 64) - 1


@rule(
    "hsv.widths",
    "HSV.B, H, W and D write 1, 2, 4 and 8 bytes; misaligned and across pages too",
    section=HLV,
    rows=(53,),
    cases=grid(text={"hsv.b": 1, "hsv.h": 2, "hsv.w": 4, "hsv.d": 8}, offset=(1, 4, 8, 0xFF8, 0xFFD, 0xFFF)),
)
def _(text: int, offset: int) -> None:
    scene = scene_for(HS, hstatus=SPVP)
    scene.first.map(ADDRESS + 0x1000, GPA + 0x5000, LEAF)
    scene.second.map(GPA + 0x5000, PAGE + 0x1000, LEAF | USER)
    memory = scene.rig.machine.memory
    memory.write(PAGE + offset - 1, b"\xee" * 10)
    name = {1: "b", 2: "h", 4: "w", 8: "d"}[text]
    assert scene.execute(f"hsv.{name} a2, (a1)", ADDRESS + offset).cause is None
    expected = b"\xee" + STORED.to_bytes(8, "little")[:text] + b"\xee" * (9 - text)
    assert memory.read(PAGE + offset - 1, 10) == expected


@rule(
    "hlv.misaligned.privilege",
    "Both halves of a misaligned access are made at SPVP's privilege, and xtval names the half that faulted",
    section=HLV,
    rows=(53,),
    cases=grid(text=("hlv.w a0, (a1)", "hsv.d a2, (a1)"), spvp=(0, SPVP), bad=(0, 1)),
)
def _(text: str, spvp: int, bad: int) -> None:
    scene = Scene(HS, guest=True, hstatus=spvp)
    right = 0 if spvp else USER
    for page in (0, 1):
        flags = LEAF | (right ^ USER if page == bad else right)
        scene.first.map(ADDRESS + 0x1000 * page, GPA + 0x1000 * page, flags)
        scene.second.map(GPA + 0x1000 * page, PAGE + 0x1000 * page, LEAF | USER)
    found = scene.execute(text, ADDRESS + 0xFFE)
    assert found.cause == (LOAD_PAGE if text.startswith("hlv") else 15)
    assert found.tval == (ADDRESS + 0x1000 if bad else ADDRESS + 0xFFE)
    assert found.gva


@rule(
    "hlv.modes",
    "Two-stage translation applies in every pair of modes",
    section=HLV,
    rows=(42, 43),
    cases=grid(kind=KINDS, vs=LEVELS, g=GUEST_LEVELS),
)
def _(kind: str, vs: int, g: int) -> None:
    scene = Scene(HS, vs, g, guest=True, hstatus=SPVP)
    address = ADDRESS if vs else GPA if g else PAGE
    scene.first.map(ADDRESS, GPA if g else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    assert scene.check(kind, address).cause is None
    if g:
        scene.second.map(GPA, PAGE, 0)
        found = scene.check(kind, address)
        assert (found.cause, found.tval2) == (STORE_GUEST if kind == "hsv" else LOAD_GUEST, GPA >> 2)


@rule(
    "hlv.ad",
    "A and D of both stages are set, or fault, as for accesses of the guest",
    section=HLV,
    rows=(46,),
    cases=grid(kind=KINDS, vs=(0, A, A | D), g=(0, A, A | D), menvcfg=(0, ADUE), henvcfg=(0, ADUE)),
)
def _(kind: str, vs: int, g: int, menvcfg: int, henvcfg: int) -> None:
    scene = Scene(HS, guest=True, hstatus=SPVP, menvcfg=menvcfg)
    scene.rig.set(henvcfg=henvcfg)
    scene.first.map(ADDRESS, GPA, V | R | W | X | vs)
    scene.second.map(GPA, PAGE, V | R | W | X | USER | g)
    scene.check(kind, ADDRESS)


@rule(
    "hlv.follows",
    "HLV goes by hgatp and vsatp as they are: another VMID or ASID is another address space at once, without a fence",
    section=HLV,
    cases=grid(mode=(M, HS), spvp=(0, SPVP), which=("hgatp", "vsatp")),
)
def _(mode: Mode, spvp: int, which: str) -> None:
    """One run, with the former space again at its end."""
    scene = scene_for(mode, LEAF | (0 if spvp else USER), hstatus=HU | spvp)
    rig = scene.rig
    scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    if which == "hgatp":
        other = Tables(rig, 3, guest=True, at=GUEST_TABLES + 0x8_0000)
        for at in range(BASE, BASE + MEMORY, 1 << 21):
            other.map(at, at, LEAF | USER, 1)
        other.map(GPA, PAGE + 0x1000, LEAF | USER)
        atps = scene.second.atp | 1 << 44, other.atp | 2 << 44
    else:
        other = Tables(rig, 3, at=GUEST_TABLES + 0x8_0000)
        other.map(ADDRESS, GPA + 0x1000, LEAF | (0 if spvp else USER))
        atps = scene.first.atp | 1 << 44, other.atp | 2 << 44
    rig.store(PAGE, 111)
    rig.store(PAGE + 0x1000, 222)
    lines = [f"csrw {which}, {atp}\nhlv.d {to}, (a1)" for atp, to in (("a2", "a4"), ("a3", "a5"), ("a2", "a6"))]
    rig.write(BASE, "\n".join(lines))
    rig.put(a1=ADDRESS, a2=atps[0], a3=atps[1])
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.run(6)
    assert [rig.x(name) for name in ("a4", "a5", "a6")] == [111, 222, 111]


@rule(
    "hlv.own_tables",
    "HLV does not go through the hypervisor's own satp, nor does it leave a translation there",
    section=HLV,
    rows=(56,),
    cases=grid(first=("hlv.d", "ld"), mode=(HS, M)),
)
def _(first: str, mode: Mode) -> None:
    scene = scene_for(mode, hstatus=SPVP)
    rig = scene.rig
    own = Tables(rig, at=BASE + 0x12_0000)
    own.map(BASE, BASE, LEAF)
    own.map(ADDRESS, PAGE + 0x1000, LEAF)
    rig.set(satp=own.atp)
    if mode is M:
        rig.set(mstatus=MPRV | 1 << 11)
    rig.store(PAGE + 0x1000, 222)
    other = {"hlv.d": "ld", "ld": "hlv.d"}[first]
    form = {"hlv.d": "(a1)", "ld": "0(a1)"}
    text = f"{first} a2, {form[first]}\n{other} a3, {form[other]}\n" * 2 + "sd zero, 0(a1)\nhlv.d a0, (a1)"
    rig.write(BASE, text)
    rig.put(a1=ADDRESS)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(6)
    assert rig.trap() is None
    found = {first: rig.x("a2"), other: rig.x("a3")}
    assert found == {"hlv.d": VALUE, "ld": 222}
    assert (rig.x("a0"), rig.load(PAGE + 0x1000)) == (VALUE, 0)


@rule(
    "hlv.switch",
    "SPVP, vsatp, hgatp, vsstatus.SUM and MXR count anew for every access, without a fence",
    section=HLV,
    rows=(57,),
)
def _() -> None:
    scene = scene_for(HS, LEAF | USER, hstatus=0)
    for spvp, sum, good in ((0, 0, True), (SPVP, 0, False), (SPVP, SUM, True), (0, SUM, True), (SPVP, 0, False)):
        scene.rig.set(hstatus=spvp, vsstatus=sum)
        assert (scene.attempt("hlv", ADDRESS).cause is None) == good
    scene = scene_for(HS, V | X | A, hstatus=SPVP)
    for mxr, good in ((0, False), (MXR, True), (0, False)):
        scene.rig.set(vsstatus=mxr)
        assert (scene.attempt("hlv", ADDRESS).cause is None) == good
        assert scene.attempt("hlvx", ADDRESS).cause is None


@rule(
    "hlv.spaces",
    "The vsatp and hgatp of now lead HLV, HLVX and HSV, back and forth between two guests without a fence",
    section=HLV,
    rows=(57, 59),
    cases=grid(kind=KINDS, what=("vsatp", "hgatp")),
)
def _(kind: str, what: str) -> None:
    scene = scene_for(HS, hstatus=SPVP)
    rig = scene.rig
    other = Tables(rig, guest=what == "hgatp", at=BASE + 0x14_0000)
    if what == "vsatp":
        other.map(ADDRESS, GPA + 0x1000, LEAF)
        scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    else:
        for at in range(BASE, BASE + MEMORY, 2 << 20):
            other.map(at, at, LEAF | USER, 1)
        other.map(GPA, PAGE + 0x1000, LEAF | USER)
    for _ in range(3):
        for number, tables in enumerate((scene.first if what == "vsatp" else scene.second, other)):
            rig.set(**{what: tables.atp | number << 44})
            for page in (0, 1):
                rig.store(PAGE + 0x1000 * page, 100 + page)
            found = scene.attempt(kind, ADDRESS)
            assert found.cause is None
            if kind == "hsv":
                assert [rig.load(PAGE + 0x1000 * page) == STORED for page in (0, 1)] == [not number, bool(number)]
            else:
                assert found.value == 100 + number


@rule(
    "hlv.many",
    "Guests stay apart when HLV reads of more of them, one behind the other, than any lookaside could know",
    section=HLV,
    rows=(57,),
    cases=grid(kind=("hlv", "hlvx"), address=(0, ADDRESS)),
)
def _(kind: str, address: int) -> None:
    scene = scene_for(HS, hstatus=SPVP)
    rig = scene.rig
    other = Tables(rig, at=BASE + 0x14_0000)
    for tables, gpa in ((scene.first, GPA), (other, GPA + 0x1000)):
        tables.map(address, gpa, LEAF)
    scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    rig.store(PAGE, 100)
    rig.store(PAGE + 0x1000, 101)
    for number in range(1500):
        rig.set(vsatp=(scene.first, other)[number % 2].atp | number << 44)
        assert scene.attempt(kind, address).value == 100 + number % 2


@rule(
    "hlvx.apart",
    "What HLVX may read because of X, HLV may not, nor HLVX what HLV reads because of R, one straight behind the other",
    section=HLV,
    rows=(51, 57),
    cases=grid(first=("hlv", "hlvx"), pmm=(0, 2, 3)),
)
def _(first: str, pmm: int) -> None:
    scene = scene_for(HS, V | A | (R if first == "hlv" else X), hstatus=SPVP)
    scene.rig.set(henvcfg=pmm << 32)
    second = "hlv" if first == "hlvx" else "hlvx"
    for _ in range(2):
        assert scene.attempt(first, ADDRESS).cause is None
        assert scene.attempt(second, ADDRESS).cause == LOAD_PAGE


@rule(
    "hlvx.device",
    "HLVX reads only what may be fetched: a device, which HLV reads, is a load access fault",
    section=HLV,
    rows=(51,),
    cases=grid(mode=MODES),
)
def _(mode: Mode) -> None:
    scene = scene_for(mode, hstatus=HU | SPVP)
    scene.second.map(GPA, UART, LEAF | USER)
    assert scene.execute("hlv.bu a0, (a1)", ADDRESS + 5).cause is None
    found = scene.execute("hlvx.hu a0, (a1)", ADDRESS + 4)
    assert (found.cause, found.tval, found.gva) == (LOAD_ACCESS, ADDRESS + 4, True)
