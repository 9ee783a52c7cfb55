"""Who may do what: a model of the manual's access rules, which knows nothing of the hart.

Sections "CSR Address Mapping Conventions", "Machine Counter-Enable (mcounteren) Register", "Hypervisor
Counter-Enable (hcounteren) Register", "Virtualization Support in mstatus Register", "Hypervisor Status (hstatus)
Register", "Trap Cause Codes", "Supervisor Timer (stimecmp) Register", "Svinval".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rig import HS, HU, ILLEGAL, TSR, TVM, TW, VIRTUAL, VS, VTSR, VTVM, VTW, VU, M, U

from emulator.hart import Mode

SATP, HGATP, STIMECMP, VSTIMECMP = 0x180, 0x680, 0x14D, 0x24D
FLOAT = (0x001, 0x002, 0x003)
COUNTERS = range(0xC00, 0xC20)
TM = 1 << 1

BASE_CSRS = frozenset(
    {
        *FLOAT,
        *COUNTERS,
        *(0x100, 0x104, 0x105, 0x106, 0x10A, *range(0x140, 0x145), SATP),
        *(0x200, 0x204, 0x205, *range(0x240, 0x245), 0x280),
        *(0x600, 0x602, 0x603, 0x604, 0x605, 0x606, 0x607, 0x60A, 0x643, 0x644, 0x645, 0x64A, HGATP, 0xE12),
        *(*range(0x300, 0x307), 0x30A, 0x320, *range(0x323, 0x345), 0x34A, 0x34B),
        *(*range(0x3A0, 0x3B0, 2), *range(0x3B0, 0x3F0)),
        *(0xB00, *range(0xB02, 0xB20), *range(0xF11, 0xF16)),
        *(STIMECMP, VSTIMECMP),
    }
)
"""Numbers of RV64 M, S, H, F, Zicntr, Zihpm and Sstc, from the chapter "CSR Listing"."""

OPTIONAL_CSRS: dict[str, tuple[int, ...]] = {
    "Smstateen": (*range(0x30C, 0x310), *range(0x60C, 0x610), *range(0x10C, 0x110)),
    "Sscofpmf": (0xDA0,),
    "Smepmp": (0x747,),
    "Sdtrig": tuple(range(0x7A0, 0x7A6)),
    "Smcntrpmf": (0x321, 0x322),
}
"""Extensions that a hart may lack: all of their registers or none."""


@dataclass(frozen=True)
class Enables:
    """What the registers that enable and disable hold."""

    mcounteren: int = (1 << 32) - 1
    hcounteren: int = (1 << 32) - 1
    scounteren: int = (1 << 32) - 1
    menvcfg_stce: bool = True
    henvcfg_stce: bool = True
    tvm: bool = False
    tw: bool = False
    tsr: bool = False
    vtvm: bool = False
    vtw: bool = False
    vtsr: bool = False
    hu: bool = False
    fs: bool = True
    vs_fs: bool = True

    @property
    def csrs(self) -> dict[str, int]:
        """The same, as registers of a rig."""
        stce = 1 << 63
        return {
            "mcounteren": self.mcounteren,
            "hcounteren": self.hcounteren,
            "scounteren": self.scounteren,
            "menvcfg": stce * self.menvcfg_stce,
            "henvcfg": stce * self.henvcfg_stce,
            "mstatus": TVM * self.tvm | TW * self.tw | TSR * self.tsr | (1 << 13) * self.fs,
            "hstatus": VTVM * self.vtvm | VTW * self.vtw | VTSR * self.vtsr | HU * self.hu,
            "vsstatus": (1 << 13) * self.vs_fs,
        }


def valid_in_hs(number: int, write: bool, e: Enables) -> bool:
    """HS-qualified: would the access succeed in HS-mode with TVM=0?"""
    if number >> 8 & 3 == 3 or (write and number >> 10 == 3):
        return False
    if number in COUNTERS:
        return bool(e.mcounteren >> (number & 31) & 1)
    if number in (STIMECMP, VSTIMECMP):
        return e.menvcfg_stce and bool(e.mcounteren & TM)
    return True


def csr_access(mode: Mode, number: int, write: bool, e: Enables, implemented: frozenset[int]) -> int | None:
    """The exception that the access raises, or None."""
    if number not in implemented:
        return ILLEGAL
    if number in FLOAT and (not e.fs or (mode.virtual and not e.vs_fs)):
        return ILLEGAL  # FS deviates from the rule of what is HS-qualified
    if mode is M:
        return ILLEGAL if write and number >> 10 == 3 else None
    if not valid_in_hs(number, write, e):
        return ILLEGAL
    level = number >> 8 & 3
    bit = number & 31
    if mode is HS:
        return ILLEGAL if e.tvm and number in (SATP, HGATP) else None
    if mode is U:
        hidden = number in COUNTERS and not e.scounteren >> bit & 1
        return ILLEGAL if level or hidden else None
    if level > mode.privilege:
        return VIRTUAL
    if number in COUNTERS:
        hidden = not e.hcounteren >> bit & 1 or (mode is VU and not e.scounteren >> bit & 1)
        return VIRTUAL if hidden else None
    if number == STIMECMP:
        return None if e.henvcfg_stce and e.hcounteren & TM else VIRTUAL
    if number == SATP:
        return VIRTUAL if e.vtvm else None
    return None


def _sret(mode: Mode, e: Enables) -> int | None:
    return {
        M: None, HS: ILLEGAL if e.tsr else None, U: ILLEGAL, VS: VIRTUAL if e.vtsr else None, VU: VIRTUAL,
    }[mode]  # fmt: skip


def _wfi(mode: Mode, e: Enables) -> int | None:
    """Where it is not permitted at once: this hart's time limit for WFI that may trap is 0."""
    if mode is M:
        return None
    if e.tw:
        return ILLEGAL
    return {HS: None, U: ILLEGAL, VS: VIRTUAL if e.vtw else None, VU: VIRTUAL}[mode]


def _supervisor_fence(mode: Mode, e: Enables) -> int | None:
    return {
        M: None, HS: ILLEGAL if e.tvm else None, U: ILLEGAL, VS: VIRTUAL if e.vtvm else None, VU: VIRTUAL,
    }[mode]  # fmt: skip


def _ordering(mode: Mode, e: Enables) -> int | None:
    return {U: ILLEGAL, VU: VIRTUAL}.get(mode)


def _vs_fence(mode: Mode, e: Enables) -> int | None:
    return VIRTUAL if mode.virtual else ILLEGAL if mode is U else None


def _g_fence(mode: Mode, e: Enables) -> int | None:
    return ILLEGAL if mode is HS and e.tvm else _vs_fence(mode, e)


def _guest_access(mode: Mode, e: Enables) -> int | None:
    return VIRTUAL if mode.virtual else ILLEGAL if mode is U and not e.hu else None


def _machine(mode: Mode, e: Enables) -> int | None:
    return None if mode is M else ILLEGAL


def _never(mode: Mode, e: Enables) -> int | None:
    return ILLEGAL


INSTRUCTIONS: Mapping[str, tuple[int, Callable[[Mode, Enables], int | None]]] = {
    "mret": (0x3020_0073, _machine),
    "sret": (0x1020_0073, _sret),
    "wfi": (0x1050_0073, _wfi),
    "sfence.vma": (0x1200_0073, _supervisor_fence),
    "sfence.vma a1,a0": (0x12A5_8073, _supervisor_fence),
    "sinval.vma": (0x16A5_8073, _supervisor_fence),
    "sfence.w.inval": (0x1800_0073, _ordering),
    "sfence.inval.ir": (0x1810_0073, _ordering),
    "hfence.vvma": (0x2200_0073, _vs_fence),
    "hfence.vvma a1,a0": (0x22A5_8073, _vs_fence),
    "hinval.vvma": (0x26A5_8073, _vs_fence),
    "hfence.gvma": (0x6200_0073, _g_fence),
    "hfence.gvma a1,a0": (0x62A5_8073, _g_fence),
    "hinval.gvma": (0x66A5_8073, _g_fence),
    "hlv.b": (0x6005_C573, _guest_access),
    "hlv.bu": (0x6015_C573, _guest_access),
    "hlv.h": (0x6405_C573, _guest_access),
    "hlv.hu": (0x6415_C573, _guest_access),
    "hlvx.hu": (0x6435_C573, _guest_access),
    "hlv.w": (0x6805_C573, _guest_access),
    "hlv.wu": (0x6815_C573, _guest_access),
    "hlvx.wu": (0x6835_C573, _guest_access),
    "hlv.d": (0x6C05_C573, _guest_access),
    "hsv.b": (0x62A5_C073, _guest_access),
    "hsv.h": (0x66A5_C073, _guest_access),
    "hsv.w": (0x6AA5_C073, _guest_access),
    "hsv.d": (0x6EA5_C073, _guest_access),
    "uret (removed)": (0x0020_0073, _never),
    "hret (removed)": (0x2020_0073, _never),
    "sfence.vm (removed)": (0x1040_0073, _never),
    "dret": (0x7B20_0073, _never),
    "sret with rd": (0x1020_00F3, _never),
    "hlvx.bu": (0x6035_C573, _never),
    "hlvx.d": (0x6C35_C573, _never),
    "hlv.du": (0x6C15_C573, _never),
    "hsv.d with rd": (0x6EA5_C0F3, _never),
    "hfence.gvma with rd": (0x6200_00F3, _never),
}
"""Every privileged instruction, and neighbours of theirs that are none. a1 holds an address."""
