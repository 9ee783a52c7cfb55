"""Physical memory protection as guests meet it: matching, permissions, and what locks."""

from __future__ import annotations

from rig import BASE, HS, LEAF, MPRV, ONES, USER, VS, M, Rig

from emulator.hart import Mode

from .scene import ADDRESS, GPA, PAGE, Scene
from .suite import grid, rule

PMP = "Physical Memory Protection"
CSRS = "Physical Memory Protection CSRs"
R, W, X, TOR, NA4, NAPOT, LOCK = 1, 2, 4, 8, 16, 24, 128
EVERYTHING = 0x1F


def scene_for(mode: Mode) -> Scene:
    scene = Scene(mode)
    scene.first.map(ADDRESS, GPA if mode.virtual else PAGE, LEAF)
    scene.second.map(GPA, PAGE, LEAF | USER)
    return scene


@rule(
    "pmp.match",
    "The lowest entry that matches any byte decides: NA4, NAPOT and TOR ranges, the entry before being TOR's bottom",
    section=PMP,
    cases=grid(
        mode=(HS, VS),
        entry={
            "NA4": (NA4, PAGE + 0x10, PAGE + 0x10, PAGE + 0x14),
            "NAPOT 8": (NAPOT, PAGE + 0x20, PAGE + 0x20, PAGE + 0x28),
            "NAPOT 4K": (NAPOT, PAGE, PAGE, PAGE + 0x1000), "TOR": (TOR, PAGE + 0x40, PAGE + 0x18, PAGE + 0x40),
            "TOR empty": (TOR, PAGE + 0x18, PAGE + 0x18, PAGE + 0x18), "off": (0, PAGE + 0x10, 0, 0),
        },
        size=(1, 4, 8), permits=(False, True),
    ),
)  # fmt: skip
def _(mode: Mode, entry: tuple[int, int, int, int], size: int, permits: bool) -> None:
    """Entry 1 denies [low, high), or permits it; entry 2 permits everything. A match of part of an access fails it."""
    kind, at, low, high = entry
    scene = scene_for(mode)
    encoded = at >> 2 | ((high - low) // 8 - 1 if kind == NAPOT else 0)
    scene.rig.set(pmpcfg0=0, pmpaddr0=(PAGE + 0x18) >> 2, pmpaddr1=encoded, pmpaddr2=ONES)
    scene.rig.set(pmpcfg0=EVERYTHING << 16 | (kind | (R if permits else 0)) << 8)
    for offset in range(0, 0x60, 1 if size == 1 else 2):
        start = PAGE + offset
        found = scene.execute(f"l{'b' if size == 1 else 'w' if size == 4 else 'd'} a0, 0(a1)", ADDRESS + offset)
        touched = max(low, start) < min(high, start + size)
        within = low <= start and start + size <= high
        assert found.cause == (5 if touched and not (permits and within) else None), hex(offset)


@rule(
    "pmp.page",
    "An entry that cuts a page is asked for every access to it, whatever was done there before",
    section=PMP,
    cases=grid(
        mode=(HS, VS, M),
        part={
            "beginning": (-0x400, 0x400), "most": (-0x400, 0xC00), "end": (0xC00, 0x1400), "middle": (0x800, 0x808),
            "first": (0, 8), "last": (0xFF8, 0x1000),
        },
        place=(0, 3), permits=(False, True), kind=("load", "store", "fetch"),
    ),
)  # fmt: skip
def _(mode: Mode, part: tuple[int, int], place: int, permits: bool, kind: str) -> None:
    """Either the part alone is denied or it alone is permitted, locked, so that it binds M-mode too."""
    scene = Scene(mode, 0 if mode is M else 3)
    rig, (low, high) = scene.rig, part
    page = PAGE + 0x1000
    scene.second.map(GPA, page, LEAF | USER)
    scene.first.map(ADDRESS, GPA if mode.virtual else page, LEAF)
    address = page if mode is M else ADDRESS
    rig.set(pmpcfg0=0, pmpcfg2=0)
    shown = {f"pmpaddr{place}": page + low >> 2, f"pmpaddr{place + 1}": page + high >> 2}
    rig.set(**shown, **{f"pmpaddr{place + 2}": page >> 2 | 511, f"pmpaddr{place + 3}": ONES})
    yes, no = (R | W | X, 0) if permits else (0, R | W | X)
    cfg = [TOR | LOCK | yes, NAPOT | LOCK | no, EVERYTHING]
    value = sum(each << 8 * (place + 1 + i) for i, each in enumerate(cfg))
    rig.set(pmpcfg0=value & ONES, pmpcfg2=value >> 64)
    inside, outside = max(low, 0) & 0xFFF, 0xC00 if low <= 0 else 0x7F0
    good, bad = (inside, outside) if permits else (outside, inside)
    # Everything by one run of a program, so that nothing is forgotten in between.
    rig.machine.memory.write(page, b"\x82\x80" * 2048)  # c.jr ra
    step = {"load": "ld a0, 0({})", "store": "sd a0, 0({})", "fetch": "jalr ra, 0({})"}[kind]
    lines = [step.format(at) for at in ("a1", "a1", "a1", "a2")]
    rig.write(BASE, "\n".join(f"{line}\naddi a5, a5, 1" for line in lines))
    rig.put(a0=0x8082_8082_8082_8082, a1=address + good, a2=address + bad, a5=0)
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.run(30)
    fault = {"fetch": 1, "load": 5, "store": 7}[kind]
    assert (rig.csr("mcause"), rig.csr("mtval"), rig.x("a5")) == (fault, address + bad, 3)
    for offset, cause in ((good, None), (bad, fault)):
        rig.machine.memory.write(page + offset, b"\x01\x00" * 2)
        assert scene.attempt(kind, address + offset).cause == cause


@rule(
    "pmp.misaligned",
    "Of an access across pages each part is checked by itself, and no byte beside it; xtval names the part that fails",
    section=PMP,
    cases=grid(mode=(HS, VS), kind=("load", "store"), which=("first", "second")),
)
def _(mode: Mode, kind: str, which: str) -> None:
    """Around the border of two pages, four bytes of one are permitted; beyond them its entry permits nothing."""
    scene = scene_for(mode)
    scene.first.map(ADDRESS + 0x1000, (GPA if mode.virtual else PAGE) + 0x1000, LEAF)
    scene.second.map(GPA + 0x1000, PAGE + 0x1000, LEAF | USER)
    border = PAGE + 0x1000
    low = border - 4 if which == "first" else border
    scene.rig.set(pmpcfg0=0, pmpaddr0=low >> 2, pmpaddr1=low + 4 >> 2)
    scene.rig.set(pmpaddr2=(PAGE if which == "first" else border) >> 2 | 511, pmpaddr3=ONES)
    scene.rig.set(pmpcfg0=EVERYTHING << 24 | NAPOT << 16 | (TOR | R | W) << 8)
    for beyond in range(1, 8):
        address = ADDRESS + 0x1000 - 8 + beyond
        found = scene.attempt(kind, address)
        good = (8 - beyond if which == "first" else beyond) <= 4
        assert found.cause == (None if good else 5 if kind == "load" else 7)
        if not good:
            assert found.tval == (address if which == "first" else ADDRESS + 0x1000)


@rule(
    "pmp.fetch",
    "Each half of an instruction is checked by itself, and no byte beside it; mtval names the half that fails",
    section=PMP,
    cases=grid(mode=(HS, VS, M), bits=(16, 32), at=(-4, -2)),
)
def _(mode: Mode, bits: int, at: int) -> None:
    """Four bytes of a page can be executed; beyond them their entry permits nothing."""
    scene = Scene(mode, 0 if mode is M else 3)
    page = PAGE + 0x1000
    scene.second.map(GPA, page, LEAF | USER)
    scene.first.map(ADDRESS, GPA if mode.virtual else page, LEAF)
    where = (page if mode is M else ADDRESS) + 0x404
    scene.rig.set(pmpcfg0=0, pmpaddr0=page + 0x400 >> 2, pmpaddr1=page + 0x404 >> 2)
    scene.rig.set(pmpaddr2=page >> 2 | 511, pmpaddr3=ONES)
    scene.rig.set(pmpcfg0=EVERYTHING << 24 | (LOCK | NAPOT) << 16 | (TOR | LOCK | X) << 8)
    instruction = 0x0001 if bits == 16 else 0x0000_0013
    scene.rig.machine.memory.write(page + 0x404 + at, instruction.to_bytes(bits // 8, "little"))
    found = scene.execute("jr a1", where + at, steps=2)
    if at + bits // 8 <= 0:
        assert (found.cause, scene.rig.hart.pc) == (None, where + at + bits // 8)
    else:
        assert (found.cause, found.tval, scene.rig.csr("mepc")) == (1, where, where + at)


@rule(
    "pmp.fetch.page",
    "That a part of a page was executed says nothing about another part",
    section=PMP,
    cases=grid(
        mode=(HS, VS, M), denied={"lower": (0, 0x800), "upper": (0x800, 0x1000), "middle": (0x7F0, 0x800)}, place=(0, 3)
    ),
)
def _(mode: Mode, denied: tuple[int, int], place: int) -> None:
    """One run of a program that executes on both sides of it first."""
    scene = Scene(mode, 0 if mode is M else 3)
    rig, page, (low, high) = scene.rig, PAGE + 0x1000, denied
    scene.second.map(GPA, page, LEAF | USER)
    scene.first.map(ADDRESS, GPA if mode.virtual else page, LEAF)
    rig.set(pmpcfg0=0, **{f"pmpaddr{place}": page + low >> 2 | (high - low) // 8 - 1, f"pmpaddr{place + 1}": ONES})
    rig.set(pmpcfg0=(EVERYTHING << 8 | NAPOT | LOCK | R | W) << 8 * place)
    rig.machine.memory.write(page, b"\x82\x80" * 2048)  # c.jr ra
    base = page if mode is M else ADDRESS
    good = [base + at for at in (0x7E8, 0x900, 0, 0xFF0) if not low <= at < high]
    rig.write(BASE, "\n".join(f"jalr ra, 0({name})\naddi a5, a5, 1" for name in ("a1", "a2", "a1", "a3")))
    rig.put(a1=good[0], a2=good[-1], a3=base + (low + high) // 2, a5=0)
    rig.hart.pc, rig.hart.mode = BASE, mode
    rig.run(30)
    assert (rig.csr("mcause"), rig.csr("mtval"), rig.x("a5")) == (1, base + (low + high) // 2, 3)


@rule(
    "pmp.alone",
    "An entry of any kind counts at any place, others being off; what it does not name, no entry matches",
    section=PMP,
    cases=grid(entry=(0, 1, 7, 8, 15), kind={"NA4": NA4, "NAPOT": NAPOT, "TOR": TOR}, locked=(0, LOCK)),
)
def _(entry: int, kind: int, locked: int) -> None:
    rig = Rig("lw a0, 0(a1)")
    values = {f"pmpaddr{i}": PAGE >> 2 for i in range(16)}
    values[f"pmpaddr{entry}"] = PAGE + (4 if kind == TOR else 0) >> 2
    rig.set(pmpcfg0=0, pmpcfg2=0)
    rig.set(**values)
    rig.set(**{f"pmpcfg{entry // 8 * 2}": (kind | R | W | X | locked) << entry % 8 * 8})
    names = {NA4: 4, NAPOT: 8, TOR: 4}[kind]
    low = 0 if kind == TOR and not entry else PAGE
    for at in (PAGE - 4, PAGE, PAGE + names - 4, PAGE + names):
        rig.hart.mode, rig.hart.pc = M, BASE
        rig.set(mstatus=MPRV | 1 << 11)
        rig.put(a1=at)
        rig.run(1)
        assert (rig.trap() is None) == (low <= at < PAGE + names), hex(at)


@rule(
    "pmp.tor.first",
    "The bottom of entry 0 is 0 for TOR, whatever the other registers hold",
    section=PMP,
    cases=grid(rights=(0, R)),
)
def _(rights: int) -> None:
    scene = scene_for(HS)
    everything = {f"pmpaddr{i}": ONES for i in range(1, 16)}
    scene.rig.set(pmpcfg0=0, pmpaddr0=(PAGE + 0x40) >> 2, **everything)
    scene.rig.set(pmpcfg0=TOR | rights | X, pmpcfg2=EVERYTHING * 0x0101_0101_0101_0101)
    for offset in (0, 0x38, 0x40):
        assert scene.attempt("load", ADDRESS + offset).cause == (None if rights or offset == 0x40 else 5)


@rule(
    "pmp.order",
    "A lower entry goes before a higher one, whichever of them permits",
    section=PMP,
    cases=grid(mode=(HS, VS), first=(0, R, R | W | X)),
)
def _(mode: Mode, first: int) -> None:
    scene = scene_for(mode)
    page = PAGE >> 2 | 511
    scene.rig.set(pmpcfg0=0, pmpaddr0=page, pmpaddr1=page, pmpaddr2=ONES)
    scene.rig.set(pmpcfg0=EVERYTHING << 16 | (NAPOT | (R | W | X) & ~first) << 8 | NAPOT | first)
    assert (scene.attempt("load", ADDRESS).cause is None) == bool(first & R)


@rule(
    "pmp.none",
    "Below M-mode an access that no entry matches fails; in M-mode it succeeds, and so does one that no lock binds",
    section=PMP,
    cases=grid(locked=(0, LOCK), rights=(0, R, R | W)),
)
def _(locked: int, rights: int) -> None:
    rig = Rig("ld a0, 0(a1)\nsd a0, 0(a1)")
    rig.set(pmpcfg0=0)
    rig.put(a1=PAGE)
    rig.run(2)
    assert rig.trap() is None
    rig.hart.mode, rig.hart.pc = HS, BASE
    rig.run(1)
    assert rig.trap() == (M, 1, BASE)
    rig.set(pmpaddr0=PAGE >> 2 | 511, pmpcfg0=NAPOT | locked | rights)
    rig.hart.mode, rig.hart.pc = M, BASE
    rig.run(2)
    expected = None if not locked or rights & W else 7 if rights & R else 5
    trap = rig.trap()
    assert (trap and trap[1]) == expected


@rule(
    "pmp.lock",
    "A locked entry's configuration and address cannot be written, nor the address before a locked TOR entry",
    section=CSRS,
    cases=grid(kind={"NA4": NA4, "NAPOT": NAPOT, "TOR": TOR, "off": 0}, entry=(1, 5, 8, 14, 15), lock=(0, LOCK)),
)
def _(kind: int, entry: int, lock: int) -> None:
    """Register 0 looks like the configuration of a locked TOR entry: there is none behind the last."""
    rig = Rig(**{f"pmpaddr{i}": 0x100 + i for i in range(16)})
    rig.set(pmpaddr0=LOCK | TOR | R)
    name, shift = f"pmpcfg{entry // 8 * 2}", entry % 8 * 8
    rig.set(pmpcfg0=0, pmpcfg2=0)
    rig.set(**{name: (lock | kind | R) << shift | (0 if shift else R << 8)})
    before = rig.csr(name)
    rig.set(**{f"pmpaddr{i}": 0x777 for i in range(16)}, **{name: 0})
    assert rig.csr(name) == (before & 0xFF << shift if lock else 0)
    kept = {entry, entry - 1 if kind == TOR else entry} if lock else set()
    assert {i for i in range(16) if rig.csr(f"pmpaddr{i}") != 0x777} == kept


@rule(
    "pmp.address.width",
    "pmpaddr holds bits 55 to 2 of an address, and its own bits 63 to 54 are zero",
    section=CSRS,
    cases=grid(entry=range(16)),
)
def _(entry: int) -> None:
    rig = Rig(**{f"pmpaddr{entry}": ONES})
    assert rig.csr(f"pmpaddr{entry}") == (1 << 54) - 1


@rule(
    "pmp.address.counts",
    "What is written to pmpaddr counts for the next access, by itself",
    section=CSRS,
    cases=grid(entry=(0, 3, 14), kind={"NAPOT": NAPOT, "NA4": NA4}) | grid(entry=(3, 14), kind={"TOR": TOR}),
)
def _(entry: int, kind: int) -> None:
    scene = scene_for(HS)
    scene.rig.set(pmpcfg0=0, **({f"pmpaddr{entry - 1}": PAGE >> 2} if entry else {}))
    scene.rig.set(**{f"pmpaddr{entry}": 0, f"pmpaddr{entry + 1}": ONES})
    scene.rig.set(**{f"pmpcfg{entry // 8 * 2}": (EVERYTHING << 8 | kind) << entry % 8 * 8})
    covering = {NAPOT: PAGE >> 2 | 511, NA4: PAGE >> 2, TOR: PAGE + 8 >> 2}[kind]
    for value in (0, covering, 0, covering):
        scene.rig.set(**{f"pmpaddr{entry}": value})
        assert scene.attempt("load", ADDRESS).cause == (5 if value else None)


@rule(
    "pmp.address.last",
    "So it does in the last entry, which permits everything or next to nothing",
    section=CSRS,
    cases=grid(entry=(0, 15)),
)
def _(entry: int) -> None:
    scene = scene_for(HS)
    scene.rig.set(pmpcfg0=0)
    scene.rig.set(**{f"pmpaddr{entry}": ONES, f"pmpcfg{entry // 8 * 2}": EVERYTHING << entry % 8 * 8})
    for value in (ONES, 0, ONES):
        scene.rig.set(**{f"pmpaddr{entry}": value})
        assert scene.attempt("load", ADDRESS).cause == (None if value else 1)


@rule(
    "pmp.reserved",
    "W without R is not taken, and bits 6:5 of a configuration read zero",
    section=CSRS,
    cases=grid(value=range(256)),
)
def _(value: int) -> None:
    rig = Rig(pmpcfg2=value & ~LOCK)
    found = rig.csr("pmpcfg2") & 0xFF
    assert not found & 0x60
    assert found & (R | W) != W
    if value & (R | W) != W:
        assert found == value & ~(0x60 | LOCK)
