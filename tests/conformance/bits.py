"""What each register reads after zeros and after ones were written to it: fixed bits, and the width of the rest.

The numbers are those of the manuals for a hart with the extensions that this one has, not those of its own description.
"""

from __future__ import annotations

from rig import ONES, Rig

from .suite import grid, rule


def bits(*places: int | range) -> int:
    """A number with these bits; ranges take both of their ends."""
    return sum(sum(1 << n for n in place) if isinstance(place, range) else 1 << place for place in places)


def span(high: int, low: int) -> range:
    return range(low, high + 1)


UXL64, SXL64, VSXL64 = 2 << 32, 2 << 34, 2 << 32
FS, SD = span(14, 13), 63
SUPERVISOR = (1, 5, 9)
"""SSI, STI, SEI."""
GUEST = (2, 6, 10)
"""VSSI, VSTI, VSEI."""
LCOFI = 13
ENVCFG = (0, span(5, 4), 6, 7, span(33, 32))
"""FIOM, CBIE, CBCFE, CBZE, PMM."""
STATUS = (1, 5, 8, FS, 18, 19)
"""SIE, SPIE, SPP, FS, SUM, MXR."""

# name: (after zeros, after ones)
REGISTERS: dict[str, tuple[int, int]] = {
    "mstatus": (UXL64 | SXL64, UXL64 | SXL64 | bits(*STATUS, 3, 7, 11, 12, 17, 20, 21, 22, 38, 39, SD)),
    "sstatus": (UXL64, UXL64 | bits(*STATUS, SD)),
    "vsstatus": (UXL64, UXL64 | bits(*STATUS, SD)),
    # GVA, SPV, SPVP, HU, VTVM, VTW, VTSR, HUPMM; VGEIN with GEILEN 0 is 0.
    "hstatus": (VSXL64, VSXL64 | bits(6, 7, 8, 9, 20, 21, 22, span(49, 48))),
    "misa": (2 << 62 | bits(*(ord(letter) - 65 for letter in "ABCDFHIMSU")),) * 2,
    "medeleg": (0, bits(span(10, 1), 12, 13, 15, span(23, 20))),  # not 0, which C takes away, nor 11, of M-mode itself
    "hedeleg": (0, bits(span(8, 1), 12, 13, 15, 18, 19)),  # the table that this section has
    "mideleg": (bits(*GUEST), bits(*GUEST, *SUPERVISOR, LCOFI)),
    "hideleg": (0, bits(*GUEST)),
    "mie": (0, bits(*SUPERVISOR, *GUEST, 3, 7, 11, LCOFI)),
    "hie": (0, bits(*GUEST)),
    "hvip": (0, bits(*GUEST)),
    "mcounteren": (0, bits(span(31, 0))),
    "hcounteren": (0, bits(span(31, 0))),
    "scounteren": (0, bits(span(31, 0))),
    "mcountinhibit": (0, bits(span(31, 0)) & ~2),
    "menvcfg": (0, bits(*ENVCFG, 61, 62, 63)),  # and ADUE, PBMTE, STCE
    "senvcfg": (0, bits(*ENVCFG)),
    "mepc": (0, ONES & ~1), "sepc": (0, ONES & ~1), "vsepc": (0, ONES & ~1),
    "mscratch": (0, ONES), "sscratch": (0, ONES), "vsscratch": (0, ONES),
    "mtval": (0, ONES), "stval": (0, ONES), "vstval": (0, ONES), "htval": (0, ONES), "mtval2": (0, ONES),
    "htimedelta": (0, ONES), "stimecmp": (0, ONES), "vstimecmp": (0, ONES),
    "mvendorid": (0, 0), "mconfigptr": (0, 0), "hgeip": (0, 0), "hgeie": (0, 0),
}  # fmt: skip


@rule(
    "csr.henvcfg.kept",
    "Of henvcfg, menvcfg takes away ADUE, PBMTE and STCE alone, at once",
    section="Hypervisor Environment Configuration Register (henvcfg)",
)
def _() -> None:
    rig = Rig(menvcfg=ONES)
    rig.set(henvcfg=ONES)
    assert rig.csr("henvcfg") == bits(*ENVCFG, 61, 62, 63)
    rig.set(menvcfg=0)
    assert rig.csr("henvcfg") == bits(*ENVCFG)


@rule(
    "csr.bits",
    "Every bit of a register is fixed or keeps what is written, as its section says",
    section="CSR Field Specifications",
    cases=grid(name=REGISTERS.keys()),
)
def _(name: str) -> None:
    """From outside, which reaches what programs reach by the same functions; read-only registers are only read."""
    zeros, ones = REGISTERS[name]
    rig = Rig()
    if name in ("hcounteren", "scounteren"):
        rig.set(mcounteren=ONES)
    if rig.hart.csr(name) == zeros == ones:
        return
    rig.set(**{name: 0})
    assert rig.csr(name) == zeros, f"{rig.csr(name) ^ zeros:#x} differ after zeros"
    rig.set(**{name: ONES})
    assert rig.csr(name) == ones, f"{rig.csr(name) ^ ones:#x} differ after ones"
    rig.set(**{name: 0})
    assert rig.csr(name) == zeros, f"{rig.csr(name) ^ zeros:#x} differ after zeros again"
