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
    "mcause": (0, ONES), "scause": (0, ONES), "vscause": (0, ONES), "mtinst": (0, ONES), "htinst": (0, ONES),
    # ENVCFG, SE; this hart has not what the others are for: AIA, IMSIC, Sscsrind, Sdtrig, Smctr, Ssqosid, Zcmt, Zfinx
    "mstateen0": (0, bits(62, 63)), "hstateen0": (0, bits(62, 63)), "sstateen0": (0, 0),
    **{f"{level}stateen{n}": (0, bits(63)) for level in "mh" for n in (1, 2, 3)},
    # There are 16 entries, and no trigger: tinfo says so by its bit 0.
    **{f"pmpcfg{n}": (0, 0) for n in range(4, 16, 2)}, **{f"pmpaddr{n}": (0, 0) for n in range(16, 64)},
    **dict.fromkeys(("tselect", "tdata1", "tdata2", "tdata3", "tcontrol"), (0, 0)), "tinfo": (1, 1),
    "mvendorid": (0, 0), "mconfigptr": (0, 0), "hgeip": (0, 0), "hgeie": (0, 0),
}  # fmt: skip


SV39, SV48, SV57 = 8 << 60, 9 << 60, 10 << 60
PPN = bits(span(43, 0))
ADDRESS = bits(span(63, 2))
# (what is written, what is read) in turn; legal values of fields that take not all.
WRITTEN: dict[str, list[tuple[int, int]]] = {
    **{
        name: [(ADDRESS, ADDRESS), (1, 1), (ADDRESS | 1, ADDRESS | 1), (0, 0), (2, 0), (1, 1), (3, 1), (2, 1)]
        for name in ("mtvec", "stvec", "vstvec")
    },
    "satp": [(0, 0)] + [(mode | bits(span(59, 0)),) * 2 for mode in (SV39, SV48, SV57)],
    "vsatp": [(0, 0)] + [(mode | bits(span(59, 0)),) * 2 for mode in (SV39, SV48, SV57)],
    # VMID has 14 bits, and the root is 16 KiB.
    "hgatp": [(0, 0)] + [(mode | ONES >> 4, mode | bits(span(57, 44)) | PPN & ~3) for mode in (SV39, SV48, SV57)],
    "fflags": [(ONES, 0x1F), (0, 0)], "frm": [(ONES, 7), (0, 0)], "fcsr": [(ONES, 0xFF), (0, 0)],
    **{
        name: [(cbie << 4, cbie << 4) for cbie in (1, 3, 0)] + [(pmm << 32, pmm << 32) for pmm in (2, 3, 0)]
        for name in ("menvcfg", "senvcfg", "henvcfg")
    },
    "mseccfg": [(pmm << 32, pmm << 32) for pmm in (2, 3, 0, 2)] + [(1 << 32, 2 << 32)],
    # A value that is not legal leaves the rest of the write as it is.
    **{f"{name} and others": [(2 << 4 | 1, 1), (1 << 32 | 0xC0, 0xC0)] for name in ("menvcfg", "senvcfg", "henvcfg")},
    "hstatus": [(VSXL64 | 2 << 48, VSXL64 | 2 << 48), (VSXL64 | 1 << 48 | 1 << 7, VSXL64 | 2 << 48 | 1 << 7)],
    "mstatus": [
        (mpp << 11 | UXL64 | SXL64, mpp << 11 | UXL64 | SXL64) for mpp in (3, 0, 1)
    ] + [(2 << 11 | UXL64 | SXL64 | 1 << 17, 1 << 11 | UXL64 | SXL64 | 1 << 17)],
}  # fmt: skip


@rule(
    "csr.legal",
    "A field keeps every value that is legal, and its former one where another is written; the others take theirs",
    section="CSR Field Specifications",
    cases=grid(name=WRITTEN.keys()),
)
def _(name: str) -> None:
    rig = Rig(mstatus=bits(FS), menvcfg=ONES if name.startswith("henvcfg") else 0)
    csr = name.partition(" ")[0]
    rig.set(**{csr: 0})
    for written, expected in WRITTEN[name]:
        rig.set(**{csr: written})
        assert rig.csr(csr) == expected, f"{written:#x}: {rig.csr(csr):#x}"


@rule(
    "csr.fcsr",
    "fflags is bits 4 to 0 of fcsr, frm bits 7 to 5: what is written to one shows in the other",
    section="Floating-Point Control and Status Register",
    cases=grid(frm=range(8), fflags=(0, 1, 16, 31)),
)
def _(frm: int, fflags: int) -> None:
    rig = Rig(mstatus=bits(FS))
    rig.set(fcsr=0)
    rig.set(frm=frm, fflags=fflags)
    assert rig.csr("fcsr") == frm << 5 | fflags
    rig.set(fcsr=0xFF & ~(frm << 5 | fflags))
    assert (rig.csr("frm"), rig.csr("fflags")) == (7 & ~frm, 31 & ~fflags)


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
    if name.startswith("hstateen"):
        rig.set(**{f"m{name[1:]}": ONES})
    if rig.hart.csr(name) == zeros == ones:
        return
    rig.set(**{name: 0})
    assert rig.csr(name) == zeros, f"{rig.csr(name) ^ zeros:#x} differ after zeros"
    rig.set(**{name: ONES})
    assert rig.csr(name) == ones, f"{rig.csr(name) ^ ones:#x} differ after ones"
    rig.set(**{name: 0})
    assert rig.csr(name) == zeros, f"{rig.csr(name) ^ zeros:#x} differ after zeros again"
