"""State enables (Smstateen, Ssstateen): what mstateen and hstateen withhold."""

from __future__ import annotations

from rig import BASE, HS, ILLEGAL, ONES, VIRTUAL, VS, VU, M, Rig, U

from emulator.hart import Mode

from .access import OPEN, Bench
from .suite import grid, rule

SECTION = "Smstateen and Ssstateen Extensions"
MODES = (M, HS, U, VS, VU)
SE, ENVCFG = 1 << 63, 1 << 62


def expected(mode: Mode, level: str, m: bool, h: bool) -> int | None:
    """The model for a register of "s" or "h" that bits of mstateen (`m`) and hstateen (`h`) guard."""
    if mode is M:
        return None
    if not m:
        return ILLEGAL  # not HS-qualified either
    if mode in (HS, U):
        return None if mode is HS else ILLEGAL
    return None if level == "s" and mode is VS and h else VIRTUAL


@rule(
    "stateen.reset",
    "After reset every mstateen is zero, and so are hstateen and sstateen",
    section=SECTION,
    rows=(14,),
)
def _() -> None:
    rig = Rig()
    for level in "mhs":
        for n in range(4):
            if level == "m":
                rig.hart.reset(BASE)
            assert rig.csr(f"{level}stateen{n}") == 0


@rule(
    "stateen.bit63",
    "Bit 63 of mstateen and of hstateen is writable, in all four registers",
    section=SECTION,
    cases=grid(n=range(4)),
)
def _(n: int) -> None:
    rig = Rig(**{f"mstateen{n}": SE})
    assert rig.csr(f"mstateen{n}") == SE
    rig.set(**{f"hstateen{n}": SE})
    assert rig.csr(f"hstateen{n}") == SE
    rig.set(**{f"hstateen{n}": 0})
    assert (rig.csr(f"hstateen{n}"), rig.csr(f"mstateen{n}")) == (0, SE)


@rule(
    "stateen.gated",
    "A bit of hstateen that mstateen has zero is read-only zero, from the moment that mstateen's is cleared",
    section=SECTION,
    rows=(14,),
    cases=grid(n=range(4), bit=(63, 62, 58, 1, 0)),
)
def _(n: int, bit: int) -> None:
    rig = Rig(**{f"mstateen{n}": ONES & ~(1 << bit)})
    rig.set(**{f"hstateen{n}": ONES})
    assert not rig.csr(f"hstateen{n}") >> bit & 1
    assert rig.csr(f"hstateen{n}") & ~rig.csr(f"mstateen{n}") == 0
    rig.set(**{f"mstateen{n}": ONES})
    rig.set(**{f"hstateen{n}": ONES})
    rig.set(**{f"mstateen{n}": 0})
    assert rig.csr(f"hstateen{n}") == 0 == rig.csr(f"sstateen{n}")


@rule(
    "stateen.se",
    "Bit 63 of mstateen 0 makes hstateen and sstateen illegal below M, of hstateen 0 sstateen virtual in a guest",
    section=SECTION,
    rows=(69,),
    cases=grid(mode=MODES, n=range(4), m=(True, False), h=(True, False)),
)
def _(mode: Mode, n: int, m: bool, h: bool) -> None:
    bench = Bench(OPEN)
    bench.rig.set(**{f"mstateen{n}": ONES, f"hstateen{n}": ONES if h else ONES & ~SE})
    bench.rig.set(**{f"mstateen{n}": ONES if m else ONES & ~SE})
    for level, number in (("h", 0x60C + n), ("s", 0x10C + n)):
        assert bench.read(mode, number) == expected(mode, level, m, h), level
        assert bench.write(mode, number) == expected(mode, level, m, h), level
    assert bench.read(mode, 0x30C + n) == (None if mode is M else ILLEGAL)


@rule(
    "stateen.envcfg",
    "ENVCFG of mstateen0 0 makes henvcfg and senvcfg illegal below M; of hstateen0 0, senvcfg virtual in a guest",
    section=SECTION,
    rows=(69,),
    cases=grid(mode=MODES, m=(True, False), h=(True, False)),
)
def _(mode: Mode, m: bool, h: bool) -> None:
    bench = Bench(OPEN)
    bench.rig.set(mstateen0=ONES, hstateen0=ONES if h else ONES & ~ENVCFG)
    bench.rig.set(mstateen0=ONES if m else ONES & ~ENVCFG)
    for level, number in (("h", 0x60A), ("s", 0x10A)):
        assert bench.read(mode, number) == expected(mode, level, m, h), level
        assert bench.write(mode, number) == expected(mode, level, m, h), level
