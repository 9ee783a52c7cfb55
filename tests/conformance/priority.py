"""Which of several exceptions of one instruction is taken."""

from __future__ import annotations

from rig import (
    BASE,
    BREAKPOINT,
    DATA,
    FETCH,
    FETCH_ACCESS,
    FETCH_GUEST,
    FETCH_PAGE,
    HS,
    ILLEGAL,
    LEAF,
    LOAD,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    STORE,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    USER,
    VIRTUAL,
    VS,
    VU,
    A,
    D,
    M,
    R,
    Rig,
    U,
    V,
    X,
)

from emulator.hart import Mode

from .scene import ACCESSES, ADDRESS, GPA, NOWHERE, PAGE, Scene
from .suite import grid, rule
from .translation import protect
from .walker import ACCESS, GUEST
from .walker import PAGE as PAGE_FAULT

ORDER = "Trap Cause Codes"


@rule(
    "priority.stages",
    "A VS-stage fault of the leaf is taken before anything the G-stage would say of the address that it leads to",
    section=ORDER,
    rows=(31,),
    cases=grid(kind=ACCESSES, behind={"unmapped": 0, "denied": V | A | D, "far": 1}),
)
def _(kind: str, behind: int) -> None:
    scene = Scene(VS)
    poor = V | A | D | {FETCH: R, LOAD: X, STORE: R | X}[kind]
    target = 1 << 45 if behind == 1 else GPA
    scene.first.map(ADDRESS, target, poor)
    scene.second.map(GPA, PAGE, behind & ~1 | (V if behind else 0))
    found = scene.check(kind, ADDRESS)
    assert (found.cause, found.tval2, found.tinst in (0, scene.tinst(kind))) == (PAGE_FAULT[kind], 0, True)


@rule(
    "priority.walk.order",
    "The first fault of the walk, from the root down, is the one that is taken",
    section=ORDER,
    rows=(31, 41),
    cases=grid(kind=ACCESSES, level=(0, 1), what=("hidden", "absent", "far")),
)
def _(kind: str, level: int, what: str) -> None:
    """The table of one level is gone in the G-stage; the entry of the level above is invalid, or not."""
    where = {"hidden": GPA, "absent": NOWHERE, "far": 1 << 44}[what]
    for above in (True, False):
        scene = Scene(VS)
        scene.first.map(ADDRESS, PAGE, LEAF)
        if what == "absent":
            scene.second.map(NOWHERE, NOWHERE, LEAF | USER)
        pointer = scene.first.slot(ADDRESS, level + 1)
        scene.rig.store(pointer, where >> 12 << 10 | (0 if above else V))
        found = scene.check(kind, ADDRESS)
        later = ACCESS if what == "absent" else GUEST
        assert found.cause == (PAGE_FAULT if above else later)[kind]


@rule(
    "priority.final",
    "PMP and absence of memory count after both translations: a page or guest-page fault comes first",
    section=ORDER,
    rows=(26,),
    cases=grid(kind=ACCESSES, stage=("VS", "G", "none"), physical={"nowhere": NOWHERE, "protected": PAGE}),
)
def _(kind: str, stage: str, physical: int) -> None:
    scene = Scene(VS)
    poor = A | D | V | {FETCH: R, LOAD: X, STORE: R}[kind]
    scene.first.map(ADDRESS, GPA, poor if stage == "VS" else LEAF)
    scene.second.map(GPA, physical, (poor if stage == "G" else LEAF) | USER)
    protect(scene.rig, PAGE, 0)
    found = scene.attempt(kind, ADDRESS)
    assert found.cause == {"VS": PAGE_FAULT, "G": GUEST, "none": ACCESS}[stage][kind]
    assert found.tval2 == (GPA >> 2 if stage == "G" else 0)


@rule(
    "priority.fetch",
    "A fault of the fetch is taken before anything that the instruction would raise",
    section=ORDER,
    rows=(32,),
    cases=grid(mode=(HS, U, VS, VU), text=("ecall", "ebreak", ".word 0xffffffff", "hlv.d a0, (a1)", "ld a0, 0(a1)")),
)
def _(mode: Mode, text: str) -> None:
    scene = Scene(mode)
    scene.rig.write(PAGE, text)
    scene.first.map(ADDRESS, PAGE if not mode.virtual else GPA, LEAF & ~X | (0 if mode.privilege else USER))
    scene.second.map(GPA, PAGE, LEAF | USER)
    assert scene.attempt(FETCH, ADDRESS).cause == FETCH_PAGE
    if mode.virtual:
        scene = Scene(mode)
        scene.first.map(ADDRESS, GPA, LEAF | (0 if mode.privilege else USER))
        scene.second.map(GPA, PAGE, LEAF & ~X | USER)
        scene.rig.write(PAGE, text)
        assert scene.attempt(FETCH, ADDRESS).cause == FETCH_GUEST
    scene = Scene(mode)
    scene.first.map(ADDRESS, NOWHERE if not mode.virtual else GPA, LEAF | (0 if mode.privilege else USER))
    scene.second.map(GPA, NOWHERE, LEAF | USER)
    assert scene.attempt(FETCH, ADDRESS).cause == FETCH_ACCESS


@rule(
    "priority.privilege",
    "What may not be executed does not access memory: illegal or virtual instruction comes before faults",
    section=ORDER,
    rows=(61, 62),
    cases=grid(mode=(U, VS, VU), text=("hlv.d a0, (a1)", "hlvx.wu a0, (a1)", "hsv.d a0, (a1)")),
)
def _(mode: Mode, text: str) -> None:
    scene = Scene(mode, guest=mode is U)
    assert scene.execute(text, ADDRESS).cause == (ILLEGAL if mode is U else VIRTUAL)


@rule(
    "priority.misaligned",
    "A misaligned atomic reports misalignment or its translation's fault, and misalignment where it translates",
    section=ORDER,
    cases=grid(
        text={"lr": "lr.d a0, (a1)", "sc": "sc.d a0, a2, (a1)", "amo": "amoadd.d a0, a2, (a1)"}, fault=("VS", "G", "no")
    ),
)
def _(text: str, fault: str) -> None:
    scene = Scene(VS)
    if fault != "VS":
        scene.first.map(ADDRESS, GPA, LEAF)
    if fault == "no":
        scene.second.map(GPA, PAGE, LEAF | USER)
    found = scene.execute(text, ADDRESS + 4)
    load = text.startswith("lr")
    misaligned = 4 if load else 6
    own = {"VS": (LOAD_PAGE, STORE_PAGE), "G": (LOAD_GUEST, STORE_GUEST), "no": (misaligned, misaligned)}[fault]
    also = (LOAD_ACCESS, STORE_ACCESS) if fault == "no" else (misaligned, misaligned)
    assert found.cause in (own[0 if load else 1], also[0 if load else 1])
    assert found.tval == ADDRESS + 4


@rule(
    "priority.interrupt",
    "An interrupt is taken before the instruction, whatever that would raise",
    section="Machine Interrupt (mip and mie) Registers",
    cases=grid(mode=(M, HS, U, VS, VU), text=("ecall", "ebreak", ".word 0xffffffff", "wfi", "hfence.gvma zero, zero")),
)
def _(mode: Mode, text: str) -> None:
    rig = Rig(text, mode=mode, mie=1 << 3, mstatus=1 << 3)
    rig.hart.wire(3, True)
    rig.run(1)
    assert rig.trap() == (M, 1 << 63 | 3, 0)
    assert rig.csr("mepc") == BASE


@rule(
    "priority.one_cause",
    "Of a call, a break and an illegal instruction each raises its own exception, in every mode",
    section=ORDER,
    cases=grid(mode=(M, HS, U, VS, VU)),
)
def _(mode: Mode) -> None:
    for text, cause in (("ebreak", BREAKPOINT), (".word 0xffffffff", ILLEGAL), (".half 0", ILLEGAL)):
        rig = Rig(text, mode=mode, mcause=0)
        rig.put(a1=DATA)
        rig.run(1)
        trap = rig.trap()
        assert trap is not None and trap[:2] == (M, cause)
        assert rig.csr("mcause") == cause
