"""What CSR instructions do in each mode: rights, legal values, substitution, interrupts and counters.

Sections named are those of the privileged manual.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from emulator.errors import ConfigurationError
from emulator.hart import Mode
from emulator.isa.csrs import BY_NAME, CSRS
from emulator.machine import Machine

BASE = 0x8000_0000
HANDLER = BASE + 0x1000
ONES = (1 << 64) - 1
M, HS, U, VS, VU = Mode.M, Mode.HS, Mode.U, Mode.VS, Mode.VU
ILLEGAL, VIRTUAL = 2, 22

STCE, PBMTE, ADUE = 1 << 63, 1 << 62, 1 << 61
ALWAYS = 3 << 32 | 0xF0 | 1  # PMM; CBIE, CBCFE, CBZE; FIOM: no register withholds them from another
FS_INITIAL, FS_DIRTY, SD = 1 << 13, 3 << 13, 1 << 63
TVM, VTVM = 1 << 20, 1 << 20
CY, TM, IR = 1, 2, 4

# Everything that a CSR could withhold is granted; each case takes away what it is about.
GRANTED = {
    "mstatus": FS_INITIAL,
    "vsstatus": FS_INITIAL,
    "mcounteren": CY | TM | IR,
    "hcounteren": CY | TM | IR,
    "scounteren": CY | TM | IR,
    "menvcfg": STCE,
    "henvcfg": STCE,
    "mstateen0": ONES,
    "hstateen0": ONES,
    "stimecmp": ONES,
    "vstimecmp": ONES,
}


class Rig:
    """A machine that runs one CSR instruction at a time, with all traps in M-mode."""

    def __init__(self, *, guest_interrupts: int = 0, **csrs: int) -> None:
        self.machine = Machine(memory=1 << 20, guest_interrupts=guest_interrupts)
        self.hart = self.machine.harts[0]
        self.hart.set_csr("pmpaddr0", ONES)
        self.hart.set_csr("pmpcfg0", 0x1F)  # NAPOT, RWX: everything
        self.hart.set_csr("mtvec", HANDLER)
        self.set(**GRANTED)
        self.set(**csrs)

    def set(self, **csrs: int) -> None:
        for name, value in csrs.items():
            self.hart.set_csr(name, value)

    def csr(self, name: str) -> int:
        return int(self.hart.csr(name))

    def execute(self, mode: Mode, word: int) -> int | None:
        """One instruction in `mode`; the cause of its trap, or None."""
        self.machine.memory.write(BASE, word.to_bytes(4, "little"))
        self.hart.mode = mode
        self.hart.pc = BASE
        self.set(mcause=0, mtval=0)
        self.machine.step()
        if self.hart.pc == BASE + 4:
            return None
        assert self.hart.pc == HANDLER
        # Section "Machine Trap Value": the instruction's bits, for virtual-instruction exceptions too.
        assert self.csr("mtval") == word
        return self.csr("mcause")

    def instruction(self, mode: Mode, number: int, funct3: int, rd: int, rs1: int) -> int | None:
        return self.execute(mode, number << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x73)

    def read(self, mode: Mode, name: str) -> int | None:
        """csrr x5, name"""
        return self.instruction(mode, BY_NAME[name].number, 2, 5, 0)

    def write(self, mode: Mode, name: str, value: int) -> int | None:
        """csrw name, x6"""
        self.hart.x[6] = value
        return self.instruction(mode, BY_NAME[name].number, 1, 0, 6)

    def modify(self, mode: Mode, name: str, set_bits: int = 0, clear_bits: int = 0) -> int | None:
        """csrrs or csrrc x5, name, x6"""
        self.hart.x[6] = set_bits or clear_bits
        return self.instruction(mode, BY_NAME[name].number, 2 if set_bits else 3, 5, 6)

    @property
    def result(self) -> int:
        return int(self.hart.x[5])


@dataclass(frozen=True)
class Case:
    """An access of `name` in `mode`, after `csrs` were written; "r" reads, "w" writes."""

    what: str
    mode: Mode
    access: str
    name: str
    expected: int | None
    csrs: dict[str, int] = field(default_factory=dict)


CASES = [
    # Chapter "Control and Status Registers": privilege and read-only numbers.
    Case("machine CSR in M", M, "w", "mscratch", None),
    Case("machine CSR below M", HS, "r", "mscratch", ILLEGAL),
    Case("machine CSR in U", U, "r", "mscratch", ILLEGAL),
    Case("supervisor CSR in HS", HS, "w", "sscratch", None),
    Case("supervisor CSR in U", U, "r", "sscratch", ILLEGAL),
    Case("hypervisor CSR in M", M, "w", "hgatp", None),
    Case("hypervisor CSR in HS", HS, "w", "hstatus", None),
    Case("hypervisor CSR in U", U, "r", "hstatus", ILLEGAL),
    Case("VS CSR in HS", HS, "w", "vsscratch", None),
    Case("VS CSR in U", U, "r", "vsscratch", ILLEGAL),
    Case("read-only CSR written in M", M, "w", "mhartid", ILLEGAL),
    Case("read-only CSR written in HS", HS, "w", "hgeip", ILLEGAL),
    # Section "Trap Cause Codes": virtual only for what HS-mode could do.
    Case("machine CSR in VS", VS, "r", "mscratch", ILLEGAL),
    Case("machine CSR in VU", VU, "r", "mscratch", ILLEGAL),
    Case("hypervisor CSR in VS", VS, "r", "hstatus", VIRTUAL),
    Case("hypervisor CSR in VU", VU, "r", "hstatus", VIRTUAL),
    Case("hypervisor CSR written in VS", VS, "w", "hvip", VIRTUAL),
    Case("VS CSR by its own number in VS", VS, "r", "vsstatus", VIRTUAL),
    Case("VS CSR by its own number in VU", VU, "r", "vsstatus", VIRTUAL),
    Case("read-only hypervisor CSR in VS", VS, "r", "hgeip", VIRTUAL),
    Case("read-only hypervisor CSR written in VS", VS, "w", "hgeip", ILLEGAL),
    Case("counter written in VS", VS, "w", "cycle", ILLEGAL),
    Case("supervisor CSR in VS", VS, "w", "sscratch", None),
    Case("supervisor CSR in VU", VU, "r", "sscratch", VIRTUAL),
    Case("supervisor CSR without a twin in VS", VS, "w", "senvcfg", None),
    Case("supervisor CSR without a twin in VU", VU, "r", "senvcfg", VIRTUAL),
    Case("scounteren in VU", VU, "w", "scounteren", VIRTUAL),
    # Sections "Virtualization Support in mstatus" and "Hypervisor Status Register": TVM, VTVM.
    Case("satp with TVM in M", M, "w", "satp", None, {"mstatus": TVM}),
    Case("satp with TVM in HS", HS, "r", "satp", ILLEGAL, {"mstatus": TVM}),
    Case("satp written with TVM in HS", HS, "w", "satp", ILLEGAL, {"mstatus": TVM}),
    Case("hgatp with TVM in HS", HS, "w", "hgatp", ILLEGAL, {"mstatus": TVM}),
    Case("vsatp with TVM in HS", HS, "w", "vsatp", None, {"mstatus": TVM}),
    Case("satp with TVM in VS", VS, "w", "satp", None, {"mstatus": TVM}),
    Case("satp with TVM in VU", VU, "r", "satp", VIRTUAL, {"mstatus": TVM}),
    Case("hgatp with TVM in VS", VS, "r", "hgatp", VIRTUAL, {"mstatus": TVM}),
    Case("satp with VTVM in VS", VS, "r", "satp", VIRTUAL, {"hstatus": VTVM}),
    Case("satp with VTVM in HS", HS, "r", "satp", None, {"hstatus": VTVM}),
    Case("sstatus with VTVM in VS", VS, "r", "sstatus", None, {"hstatus": VTVM}),
    # Sections "Machine Counter-Enable", "Counter-Enable" and "Hypervisor Counter-Enable".
    Case("cycle in VU, all granted", VU, "r", "cycle", None),
    Case("cycle, M withholds, in M", M, "r", "cycle", None, {"mcounteren": 0}),
    Case("cycle, M withholds, in HS", HS, "r", "cycle", ILLEGAL, {"mcounteren": 0}),
    Case("cycle, M withholds, in VS", VS, "r", "cycle", ILLEGAL, {"mcounteren": 0}),
    Case("cycle, M and H withhold, in VU", VU, "r", "cycle", ILLEGAL, {"mcounteren": 0, "hcounteren": 0}),
    Case("instret, H withholds, in HS", HS, "r", "instret", None, {"hcounteren": 0}),
    Case("instret, H withholds, in U", U, "r", "instret", None, {"hcounteren": 0}),
    Case("instret, H withholds, in VS", VS, "r", "instret", VIRTUAL, {"hcounteren": 0}),
    Case("instret, H withholds, in VU", VU, "r", "instret", VIRTUAL, {"hcounteren": 0}),
    Case("time, S withholds, in HS", HS, "r", "time", None, {"scounteren": 0}),
    Case("time, S withholds, in U", U, "r", "time", ILLEGAL, {"scounteren": 0}),
    Case("time, S withholds, in VS", VS, "r", "time", None, {"scounteren": 0}),
    Case("time, S withholds, in VU", VU, "r", "time", VIRTUAL, {"scounteren": 0}),
    Case("bits are per counter", VS, "r", "time", None, {"mcounteren": TM, "hcounteren": TM}),
    Case("hpmcounter in M", M, "r", "hpmcounter3", None, {"mcounteren": 0}),
    Case("hpmcounter in HS", HS, "r", "hpmcounter3", None, {"mcounteren": 1 << 3}),
    Case("hpmcounter, M withholds, in HS", HS, "r", "hpmcounter3", ILLEGAL, {"mcounteren": ~(1 << 3) & ONES}),
    Case("hpmcounter, M withholds, in VS", VS, "r", "hpmcounter31", ILLEGAL, {"mcounteren": ~(1 << 31) & ONES}),
    Case("hpmcounter, S withholds, in U", U, "r", "hpmcounter31", ILLEGAL,
         {"mcounteren": ONES, "scounteren": ~(1 << 31) & ONES}),
    Case("hpmcounter, H withholds, in VS", VS, "r", "hpmcounter31", VIRTUAL,
         {"mcounteren": ONES, "hcounteren": ~(1 << 31) & ONES}),
    Case("hpmcounter, S withholds, in VS", VS, "r", "hpmcounter31", None,
         {"mcounteren": ONES, "hcounteren": 1 << 31, "scounteren": 0}),
    Case("hpmcounter, S withholds, in VU", VU, "r", "hpmcounter31", VIRTUAL,
         {"mcounteren": ONES, "hcounteren": ONES, "scounteren": ~(1 << 31) & ONES}),
    Case("hpmcounter, H withholds, in VU", VU, "r", "hpmcounter31", VIRTUAL,
         {"mcounteren": ONES, "hcounteren": ~(1 << 31) & ONES, "scounteren": ONES}),
    Case("hpmcounter, all granted, in VU", VU, "r", "hpmcounter4", None,
         {"mcounteren": 1 << 4, "hcounteren": 1 << 4, "scounteren": 1 << 4}),
    Case("hpmcounter written in HS", HS, "w", "hpmcounter3", ILLEGAL, {"mcounteren": ONES}),
    # Sections "Supervisor Timer", "Machine Environment Configuration" and "Hypervisor Environment Configuration".
    Case("stimecmp in HS", HS, "w", "stimecmp", None),
    Case("stimecmp in U", U, "r", "stimecmp", ILLEGAL),
    Case("stimecmp without menvcfg.STCE in M", M, "w", "stimecmp", None, {"menvcfg": 0}),
    Case("stimecmp without menvcfg.STCE in HS", HS, "r", "stimecmp", ILLEGAL, {"menvcfg": 0}),
    Case("vstimecmp without menvcfg.STCE in HS", HS, "r", "vstimecmp", ILLEGAL, {"menvcfg": 0}),
    Case("stimecmp without mcounteren.TM in HS", HS, "w", "stimecmp", ILLEGAL, {"mcounteren": CY}),
    Case("vstimecmp without mcounteren.TM in HS", HS, "w", "vstimecmp", ILLEGAL, {"mcounteren": CY}),
    Case("vstimecmp without henvcfg.STCE in HS", HS, "w", "vstimecmp", None, {"henvcfg": 0}),
    Case("stimecmp in VS", VS, "w", "stimecmp", None),
    Case("stimecmp in VU", VU, "r", "stimecmp", VIRTUAL),
    Case("stimecmp without menvcfg.STCE in VS", VS, "r", "stimecmp", ILLEGAL, {"menvcfg": 0}),
    Case("stimecmp without mcounteren.TM in VS", VS, "r", "stimecmp", ILLEGAL, {"mcounteren": CY}),
    Case("stimecmp without mcounteren.TM in VU", VU, "r", "stimecmp", ILLEGAL, {"mcounteren": CY}),
    Case("stimecmp without henvcfg.STCE in VS", VS, "w", "stimecmp", VIRTUAL, {"henvcfg": 0}),
    Case("stimecmp without hcounteren.TM in VS", VS, "w", "stimecmp", VIRTUAL, {"hcounteren": CY}),
    Case("vstimecmp by its own number in VS", VS, "r", "vstimecmp", VIRTUAL),
    # Section "Trap Cause Codes": FS in either status register is illegal, never virtual.
    Case("fcsr in VU", VU, "w", "fcsr", None),
    Case("fcsr, off for HS, in M", M, "r", "fcsr", ILLEGAL, {"mstatus": 0}),
    Case("fcsr, off for HS, in U", U, "r", "fflags", ILLEGAL, {"mstatus": 0}),
    Case("fcsr, off for HS, in VS", VS, "r", "frm", ILLEGAL, {"mstatus": 0}),
    Case("fcsr, off for VS, in VS", VS, "r", "fcsr", ILLEGAL, {"vsstatus": 0}),
    Case("fcsr, off for VS, in VU", VU, "w", "fcsr", ILLEGAL, {"vsstatus": 0}),
    Case("fcsr, off for VS, in HS", HS, "w", "fcsr", None, {"vsstatus": 0}),
    Case("fcsr, off for VS, in U", U, "w", "fcsr", None, {"vsstatus": 0}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_access(case: Case) -> None:
    rig = Rig(**case.csrs)
    value = rig.csr(case.name)
    found = rig.read(case.mode, case.name) if case.access == "r" else rig.write(case.mode, case.name, value)
    assert found == case.expected


ABSENT = {
    "mstatush": 0x310, "hedelegh": 0x612, "cycleh": 0xC80, "vstimecmph": 0x25D, "henvcfgh": 0x61A,
    "pmpcfg1": 0x3A1, "dcsr": 0x7B0, "hviprio1": 0x646, "ucustom": 0x800,
}


@pytest.mark.parametrize("number", ABSENT.values(), ids=ABSENT)
@pytest.mark.parametrize("mode", [M, HS, VS, VU], ids=lambda mode: mode.name)
def test_absent_registers_are_illegal_in_every_mode(number: int, mode: Mode) -> None:
    assert Rig().instruction(mode, number, 2, 5, 0) == ILLEGAL


def test_a_debugger_is_told_what_it_cannot_access() -> None:
    hart = Rig().hart
    with pytest.raises(ConfigurationError, match="mstatush"):
        hart.csr("mstatush")
    with pytest.raises(ConfigurationError, match="0x612"):
        hart.csr(0x612)
    with pytest.raises(ConfigurationError, match="mhartid"):
        hart.set_csr("mhartid", 1)
    with pytest.raises(ConfigurationError):
        hart.csr(0x1F00)


def test_set_and_clear_of_no_bits_do_not_write() -> None:
    """Chapter "Zicsr": with rs1 = x0, CSRRS and CSRRC never write, so read-only CSRs raise nothing."""
    rig = Rig()
    number = BY_NAME["mhartid"].number
    assert rig.instruction(M, number, 2, 5, 0) is None
    assert rig.instruction(M, number, 3, 5, 0) is None
    assert rig.instruction(M, number, 6, 5, 0) is None
    rig.hart.x[6] = 0
    assert rig.instruction(M, number, 2, 5, 6) == ILLEGAL, "a register that holds 0 is still a write"


def test_a_refused_write_changes_nothing() -> None:
    rig = Rig(satp=0, mstatus=TVM)
    rig.hart.x[5] = 77
    assert rig.modify(HS, "satp", set_bits=5) == ILLEGAL
    assert rig.csr("satp") == 0
    assert rig.result == 77, "rd keeps its value"


# --- Values -----------------------------------------------------------------------------------------------------------

SV39, SV48, SV57 = 8 << 60, 9 << 60, 10 << 60

# (what, register, values written one after the other, what the register then holds)
LEGAL = [
    ("satp keeps everything when MODE is unsupported", "satp", [SV39 | 5 << 44 | 0x123, 3 << 60 | 0x456],
     SV39 | 5 << 44 | 0x123),
    ("vsatp too", "vsatp", [SV48 | 0x123, 11 << 60 | 0x456], SV48 | 0x123),
    ("satp takes the defined modes", "satp", [SV57 | ONES >> 4], SV57 | ONES >> 4),
    ("hgatp takes the other fields when MODE is unsupported", "hgatp", [SV39 | 0x400, 3 << 60 | 7 << 44 | 0x800],
     SV39 | 7 << 44 | 0x800),
    ("hgatp: root of 16 KiB, 14 bits of VMID", "hgatp", [SV48 | ONES >> 4], SV48 | 0x3FFF << 44 | 0xFFF_FFFF_FFFC),
    ("hgatp can be Bare", "hgatp", [SV57, 0], 0),
    ("MPP cannot be 2", "mstatus", [3 << 11, 2 << 11], 3 << 11 | 0xA << 32),
    ("MPP can be S", "mstatus", [3 << 11, 1 << 11], 1 << 11 | 0xA << 32),
    ("MPV and GVA are writable", "mstatus", [3 << 38], 3 << 38 | 0xA << 32),
    ("no vectors, no big endian, SXL and UXL fixed", "mstatus", [3 << 9 | 1 << 6 | 3 << 36 | 0x5 << 32], 0xA << 32),
    ("SD follows FS", "mstatus", [FS_DIRTY], SD | FS_DIRTY | 0xA << 32),
    ("SD cannot be written", "mstatus", [SD | 2 << 13], 2 << 13 | 0xA << 32),
    ("vsstatus.UXL is fixed", "vsstatus", [0], 2 << 32),
    ("vsstatus.SD follows its own FS", "vsstatus", [FS_DIRTY], SD | FS_DIRTY | 2 << 32),
    ("hstatus: VSXL fixed, VGEIN and VSBE 0", "hstatus", [ONES], 3 << 48 | 2 << 32 | 0x70_03C0),
    ("hedeleg: what must be writable", "hedeleg", [ONES], 0x0C_B1FE),
    ("hideleg: VS interrupts, and LCOFI where mideleg has it", "hideleg", [ONES], 0x444),
    ("mideleg: VS interrupts always", "mideleg", [0], 0x444),
    ("mideleg", "mideleg", [ONES], 0x2666),
    ("medeleg: not ECALL from M, not double trap", "medeleg", [ONES], 0xF0_B7FE),
    ("mie", "mie", [ONES], 0x2EEE),
    ("hvip", "hvip", [ONES], 0x444),
    ("mcounteren: 32 bits", "mcounteren", [ONES], 0xFFFF_FFFF),
    ("hcounteren", "hcounteren", [ONES], 0xFFFF_FFFF),
    ("scounteren", "scounteren", [ONES], 0xFFFF_FFFF),
    ("mcountinhibit: time never stands still", "mcountinhibit", [ONES], 0xFFFF_FFFD),
    ("menvcfg", "menvcfg", [ONES], STCE | PBMTE | ADUE | ALWAYS),
    ("senvcfg", "senvcfg", [ONES], ALWAYS),
    ("PMM has no value 1", "menvcfg", [2 << 32, 1 << 32], 2 << 32),
    ("mseccfg", "mseccfg", [ONES], 3 << 32 | 7),
    ("mseccfg.PMM has no value 1", "mseccfg", [2 << 32, 1 << 32], 2 << 32),
    ("hstatus.HUPMM has no value 1", "hstatus", [3 << 48, 1 << 48], 3 << 48 | 2 << 32),
    ("CBIE cannot be 2", "menvcfg", [0x10, 0xE0], 0xD0),
    ("CBIE can be 3", "senvcfg", [0x10, 0x30], 0x30),
    ("CBIE of henvcfg cannot be 2", "henvcfg", [0x30, 0x20], 0x30),
    ("mtvec keeps its mode when that is reserved", "mtvec", [HANDLER | 1, BASE | 2], BASE | 1),
    ("vstvec", "vstvec", [BASE | 1], BASE | 1),
    ("mepc is even", "mepc", [ONES], ONES - 1),
    ("vsepc is even", "vsepc", [0x1003], 0x1002),
    ("mcause", "mcause", [1 << 63 | 11], 1 << 63 | 11),
    ("htval", "htval", [0x1234_5678], 0x1234_5678),
    ("mtval2", "mtval2", [ONES >> 2], ONES >> 2),
    ("misa does not change", "misa", [0], BY_NAME["misa"].reset),
    ("hgeie without guest external interrupts", "hgeie", [ONES], 0),
    ("tselect: no triggers", "tselect", [1], 0),
    ("mhpmevent3", "mhpmevent3", [0x3F << 58 | 5], 0x3F << 58 | 5),
    ("mhpmevent: an unknown event leaves the former, not the other fields", "mhpmevent31", [3, 1 << 62 | 1 << 55 | 5],
     1 << 62 | 3),
    ("mcyclecfg: no OF", "mcyclecfg", [ONES], 0x1F << 58),
    ("minstretcfg", "minstretcfg", [ONES], 0x1F << 58),
    ("pmpaddr has 54 bits", "pmpaddr3", [ONES], ONES >> 10),
    ("pmpcfg: W without R is reserved, bits 6:5 are 0", "pmpcfg2", [0x62 << 8 | 0x07], 0x07),
    ("no more than 16 PMP entries", "pmpcfg4", [ONES], 0),
    ("no more than 16 PMP addresses", "pmpaddr16", [ONES], 0),
    ("fcsr", "fcsr", [ONES], 0xFF),
]


@pytest.mark.parametrize(("what", "name", "written", "expected"), LEGAL, ids=[row[0] for row in LEGAL])
def test_legal_values(what: str, name: str, written: list[int], expected: int) -> None:
    by_instruction, by_debugger = Rig(), Rig()
    for value in written:
        assert by_instruction.write(M, name, value) is None
        by_debugger.set(**{name: value})
    assert by_debugger.csr(name) == expected
    if name not in ("mstatus", "mtvec", "mcause"):  # those that the instruction's own mode depends on
        assert by_instruction.csr(name) == expected


def test_every_writable_bit_can_be_set_and_cleared() -> None:
    for csr in CSRS:
        if csr.read_only or csr.group == "pmp" or csr.name in ("mip", "sip", "vsip", "hip", "satp", "vsatp"):
            continue
        rig = Rig(guest_interrupts=63, menvcfg=ONES, mideleg=ONES, hideleg=ONES)
        rig.set(**{f"mstateen{i}": ONES for i in range(4)})
        if any(f.legal for f in csr.fields):
            continue
        rig.set(**{csr.name: 0})
        assert rig.csr(csr.name) & csr.write_mask & ~SD == 0, csr.name
        rig.set(**{csr.name: ONES})
        assert rig.csr(csr.name) & csr.write_mask == csr.write_mask, csr.name


def test_henvcfg_has_only_what_menvcfg_grants() -> None:
    rig = Rig(menvcfg=STCE, henvcfg=0)
    rig.set(henvcfg=ONES)
    assert rig.csr("henvcfg") == STCE | ALWAYS
    rig.set(menvcfg=STCE | PBMTE | ADUE)
    assert rig.csr("henvcfg") == STCE | ALWAYS, "the write to a withheld bit was ignored"
    rig.set(henvcfg=ONES)
    assert rig.csr("henvcfg") == STCE | PBMTE | ADUE | ALWAYS
    rig.set(menvcfg=0)
    assert rig.csr("henvcfg") == ALWAYS


def test_sstatus_is_a_view_of_mstatus() -> None:
    rig = Rig(mstatus=0)
    rig.set(sstatus=ONES)
    assert rig.csr("sstatus") == SD | 2 << 32 | 0xC_6122
    assert rig.csr("mstatus") == SD | 0xA << 32 | 0xC_6122, "no field of M-mode was touched"


def test_sie_shows_what_mideleg_delegates() -> None:
    rig = Rig(mie=0, mideleg=1 << 5)
    rig.set(sie=ONES)
    assert rig.csr("sie") == rig.csr("mie") == 1 << 5
    rig.set(mie=0xEEE)
    assert rig.csr("sie") == 1 << 5


def test_pmp_lock() -> None:
    rig = Rig(pmpaddr5=0x1111, pmpaddr6=0x2222, pmpaddr7=0x3333)
    rig.set(pmpcfg0=0x1F | 0x89 << 48)  # entry 6: locked, TOR, R
    rig.set(pmpaddr5=1, pmpaddr6=2, pmpaddr7=3, pmpcfg0=0x1F)
    assert [rig.csr(f"pmpaddr{i}") for i in (5, 6, 7)] == [0x1111, 0x2222, 3]
    assert rig.csr("pmpcfg0") == 0x1F | 0x89 << 48
    rig = Rig(pmpaddr5=0x1111)
    rig.set(pmpcfg0=0x1F | 0x99 << 48)  # NAPOT: the address before is not part of it
    rig.set(pmpaddr5=1)
    assert rig.csr("pmpaddr5") == 1


def test_identity() -> None:
    machine = Machine(memory=1 << 20, harts=2)
    assert [hart.csr("mhartid") for hart in machine.harts] == [0, 1]
    assert machine.harts[0].csr("mvendorid") == 0


# --- V = 1 ------------------------------------------------------------------------------------------------------------

SUBSTITUTED = ["sscratch", "sepc", "scause", "stval", "stvec", "satp", "stimecmp"]


@pytest.mark.parametrize("name", SUBSTITUTED)
def test_supervisor_registers_of_a_guest_are_its_own(name: str) -> None:
    rig = Rig(**{name: 0x1000, "v" + name: 0x2000})
    value = 0 if name == "satp" else 0x3000
    assert rig.read(VS, name) is None and rig.result == (0x2000 if name != "satp" else rig.csr("vsatp"))
    assert rig.write(VS, name, value) is None
    assert rig.csr("v" + name) == value
    assert rig.read(HS, name) is None and rig.result == rig.csr(name) == 0x1000


def test_a_guest_sees_its_own_status() -> None:
    rig = Rig(mstatus=FS_DIRTY | 1 << 18, vsstatus=FS_INITIAL | 1 << 19)
    assert rig.read(VS, "sstatus") is None
    assert rig.result == FS_INITIAL | 1 << 19 | 2 << 32, "neither SUM nor SD of HS-mode"
    assert rig.write(VS, "sstatus", FS_INITIAL | 1 << 8) is None
    assert rig.csr("vsstatus") == FS_INITIAL | 1 << 8 | 2 << 32
    assert rig.csr("mstatus") & (FS_DIRTY | 1 << 18) == FS_DIRTY | 1 << 18


def test_writing_fcsr_dirties_both_status_registers() -> None:
    rig = Rig()
    assert rig.write(VS, "frm", 1) is None
    assert rig.csr("fcsr") == 1 << 5
    assert rig.csr("vsstatus") & FS_DIRTY == FS_DIRTY and rig.csr("mstatus") & FS_DIRTY == FS_DIRTY
    rig = Rig()
    assert rig.write(U, "fflags", 0x1F) is None
    assert rig.csr("mstatus") & FS_DIRTY == FS_DIRTY
    assert rig.csr("vsstatus") & FS_DIRTY == FS_INITIAL, "V=0: the guest's is not in effect"


def test_a_guest_with_an_unsupported_mode_leaves_vsatp_alone() -> None:
    rig = Rig(vsatp=0)
    assert rig.write(VS, "satp", 5 << 60 | 0x123) is None
    assert rig.csr("vsatp") == 0


def test_vsie_and_vsip_are_views_through_hideleg() -> None:
    rig = Rig(hideleg=1 << 10 | 1 << 2, hvip=0x444, mie=0)
    assert rig.read(VS, "sip") is None and rig.result == 1 << 9 | 1 << 1
    assert rig.write(VS, "sie", ONES) is None
    assert rig.csr("vsie") == 1 << 9 | 1 << 1
    assert rig.csr("hie") == rig.csr("mie") == 1 << 10 | 1 << 2, "STI is not delegated: not writable"
    assert rig.modify(VS, "sip", clear_bits=ONES) is None
    assert rig.csr("hvip") == 1 << 10 | 1 << 6, "of vsip only SSIP is writable"


def test_time_of_a_guest() -> None:
    rig = Rig(htimedelta=5000)
    here = rig.hart.time
    assert rig.read(VS, "time") is None and rig.result - here in (5000, 5001)
    assert rig.read(HS, "time") is None and rig.result - here in (0, 1)
    rig.set(htimedelta=ONES)  # one behind, modulo 2^64
    here = rig.hart.time
    assert rig.read(VU, "time") is None and (rig.result + 1 - here) % (1 << 64) in (0, 1)


# --- Pending interrupts -----------------------------------------------------------------------------------------------


def test_read_modify_write_of_mip_leaves_the_wire_out() -> None:
    """Section "Machine Interrupt Registers", the example with B and E."""
    rig = Rig(mip=0)
    rig.hart.wire(9, True)
    assert rig.modify(M, "mip", set_bits=1 << 1) is None
    assert rig.result & 1 << 9
    rig.hart.wire(9, False)
    assert rig.csr("mip") & (1 << 9 | 1 << 1) == 1 << 1, "the wire was not latched"
    assert rig.modify(M, "mip", set_bits=1 << 9) is None
    assert rig.csr("mip") & 1 << 9
    assert rig.csr("sip") == 0, "not delegated"
    rig.set(mideleg=ONES)
    assert rig.csr("sip") == 1 << 9 | 1 << 1


def test_wires_reach_mip_and_cannot_be_written() -> None:
    rig = Rig()
    for bit in (3, 11):
        rig.hart.wire(bit, True)
        rig.set(mip=0)
        assert rig.csr("mip") & 1 << bit
        rig.hart.wire(bit, False)
        rig.set(mip=ONES)
        assert not rig.csr("mip") & 1 << bit


def test_vssip_is_one_bit_by_three_names() -> None:
    rig = Rig(hvip=0)
    for name in ("mip", "hip", "hvip"):
        rig.set(**{name: 1 << 2})
        assert all(rig.csr(other) & 1 << 2 for other in ("mip", "hip", "hvip")), name
        rig.set(**{name: 0})
        assert not any(rig.csr(other) & 1 << 2 for other in ("mip", "hip", "hvip")), name


def test_hip_is_read_only_but_for_vssip() -> None:
    rig = Rig(hvip=1 << 10)
    rig.set(hip=1 << 6)
    assert rig.csr("hip") == 1 << 10
    assert rig.csr("hvip") == 1 << 10


def test_stip_follows_stimecmp_when_enabled() -> None:
    rig = Rig(menvcfg=0, mip=1 << 5, stimecmp=ONES)
    assert rig.csr("mip") & 1 << 5, "software's bit"
    rig.set(menvcfg=STCE)
    assert not rig.csr("mip") & 1 << 5, "time has not reached stimecmp"
    rig.set(stimecmp=0)
    assert rig.csr("mip") & 1 << 5
    rig.set(mip=0)
    assert rig.csr("mip") & 1 << 5, "read-only"


def test_vstip_is_the_or_of_hvip_and_vstimecmp() -> None:
    rig = Rig(vstimecmp=0, htimedelta=0, hvip=0)
    assert rig.csr("hip") == 1 << 6
    assert rig.csr("hvip") == 0, "hvip does not see the timer"
    rig.set(htimedelta=-1000 & ONES, vstimecmp=-500 & ONES)
    assert rig.csr("hip") == 0, "the sum wraps"
    rig.set(vstimecmp=-1000 & ONES)
    assert rig.csr("hip") == 1 << 6
    rig.set(henvcfg=0)
    assert rig.csr("hip") == 0
    rig.set(hvip=1 << 6)
    assert rig.csr("hip") == 1 << 6


def test_no_guest_external_interrupts_are_wired() -> None:
    rig = Rig(hstatus=1 << 12, hgeie=ONES)
    assert rig.csr("hgeip") == 0
    assert rig.csr("hip") & (1 << 10 | 1 << 12) == 0


# --- Which interrupt is taken -----------------------------------------------------------------------------------------

MIE_BIT, SIE_BIT = 1 << 3, 1 << 1
S_BITS, VS_BITS = 0x222, 0x444

# (what, mode, CSRs, wires, expected (cause, mode that takes it))
INTERRUPTS = [
    ("nothing pending", U, {"mie": ONES}, [], None),
    ("pending, not enabled", U, {"mie": 0, "mip": S_BITS}, [], None),
    ("M-level in M with MIE", M, {"mie": ONES, "mstatus": MIE_BIT}, [11], (11, M)),
    ("M-level in M without MIE", M, {"mie": ONES, "mstatus": 0}, [11], None),
    ("M-level below M whatever MIE", HS, {"mie": ONES, "mstatus": 0}, [3], (3, M)),
    ("M-level in VU", VU, {"mie": ONES, "mstatus": 0}, [11], (11, M)),
    ("order in M: MEI, MSI", U, {"mie": ONES, "mip": S_BITS}, [11, 3], (11, M)),
    ("order in M: MSI before SEI", U, {"mie": ONES, "mip": S_BITS}, [3], (3, M)),
    ("undelegated S-level goes to M", HS, {"mie": ONES, "mip": S_BITS}, [], (9, M)),
    ("order in M: SSI before STI", U, {"mie": ONES, "menvcfg": 0, "mip": 1 << 5 | 1 << 1}, [], (1, M)),
    ("delegated in HS with SIE", HS, {"mie": ONES, "mideleg": ONES, "mip": S_BITS, "mstatus": SIE_BIT}, [], (9, HS)),
    ("delegated in HS without SIE", HS, {"mie": ONES, "mideleg": ONES, "mip": S_BITS, "mstatus": 0}, [], None),
    ("delegated in U whatever SIE", U, {"mie": ONES, "mideleg": ONES, "mip": 1 << 1, "mstatus": 0}, [], (1, HS)),
    ("delegated never in M", M, {"mie": ONES, "mideleg": ONES, "mip": S_BITS, "mstatus": MIE_BIT | SIE_BIT}, [], None),
    ("HS-level in VS whatever SIE", VS, {"mie": ONES, "mideleg": ONES, "mip": 1 << 1, "mstatus": 0}, [], (1, HS)),
    ("HS-level in VU whatever SIE", VU, {"mie": ONES, "mideleg": ONES, "mip": 1 << 9, "vsstatus": 0}, [], (9, HS)),
    ("VS-level, not delegated, to HS", VS, {"mie": ONES, "hvip": VS_BITS}, [], (10, HS)),
    ("VS-level, not delegated, in HS", HS, {"mie": ONES, "hvip": 1 << 6, "mstatus": SIE_BIT}, [], (6, HS)),
    ("order in HS: SEI before VSEI", VS, {"mie": ONES, "mideleg": ONES, "mip": S_BITS, "hvip": VS_BITS}, [], (9, HS)),
    ("order in HS: STI before VSEI", VS,
     {"mie": ONES, "mideleg": ONES, "menvcfg": 0, "mip": 1 << 5, "hvip": VS_BITS}, [], (5, HS)),
    ("order in HS: VSSI before VSTI", VS, {"mie": ONES, "hvip": 1 << 6 | 1 << 2}, [], (2, HS)),
    ("VS-level in VS with its SIE", VS, {"mie": ONES, "hideleg": ONES, "hvip": VS_BITS, "vsstatus": SIE_BIT}, [],
     (9, VS)),
    ("VS-level timer", VS, {"mie": ONES, "hideleg": ONES, "hvip": 1 << 6, "vsstatus": SIE_BIT}, [], (5, VS)),
    ("VS-level software", VS, {"mie": ONES, "hideleg": ONES, "hvip": 1 << 2, "vsstatus": SIE_BIT}, [], (1, VS)),
    ("VS-level in VS without its SIE", VS, {"mie": ONES, "hideleg": ONES, "hvip": VS_BITS, "vsstatus": 0}, [], None),
    ("VS-level in VU whatever SIE", VU, {"mie": ONES, "hideleg": ONES, "hvip": 1 << 6, "vsstatus": 0}, [], (5, VS)),
    ("VS-level never in HS", HS,
     {"mie": ONES, "hideleg": ONES, "hvip": VS_BITS, "mstatus": SIE_BIT, "vsstatus": SIE_BIT}, [], None),
    ("VS-level never in U", U, {"mie": ONES, "hideleg": ONES, "hvip": VS_BITS, "vsstatus": SIE_BIT}, [], None),
    ("HS-level before VS-level", VU, {"mie": ONES, "mideleg": ONES, "hideleg": ONES, "mip": 1 << 1, "hvip": VS_BITS},
     [], (1, HS)),
    ("LCOFI, not delegated", VS, {"mie": ONES, "mip": 1 << 13, "hideleg": ONES}, [], (13, M)),
    ("order in M: STI before LCOFI", U, {"mie": ONES, "menvcfg": 0, "mip": 1 << 13 | 1 << 5}, [], (5, M)),
    ("LCOFI in HS with SIE", HS, {"mie": ONES, "mideleg": ONES, "mip": 1 << 13, "mstatus": SIE_BIT}, [], (13, HS)),
    ("LCOFI in HS without SIE", HS, {"mie": ONES, "mideleg": ONES, "mip": 1 << 13, "mstatus": 0}, [], None),
    ("order in HS: VSTI before LCOFI", VS, {"mie": ONES, "mideleg": ONES, "mip": 1 << 13, "hvip": 1 << 6}, [], (6, HS)),
    ("LCOFI in VS, delegated to VS", VS,
     {"mie": ONES, "mideleg": ONES, "hideleg": ONES, "mip": 1 << 13, "vsstatus": SIE_BIT}, [], (13, VS)),
    ("LCOFI in VU, delegated to VS", VU, {"mie": ONES, "mideleg": ONES, "hideleg": ONES, "mip": 1 << 13}, [], (13, VS)),
    ("LCOFI delegated to VS, in HS", HS,
     {"mie": ONES, "mideleg": ONES, "hideleg": ONES, "mip": 1 << 13, "mstatus": SIE_BIT}, [], None),
    ("order in VS: STI before LCOFI", VU,
     {"mie": ONES, "mideleg": ONES, "hideleg": ONES, "mip": 1 << 13, "hvip": 1 << 6}, [], (5, VS)),
    ("stimecmp", U, {"mie": ONES, "mideleg": ONES, "stimecmp": 0}, [], (5, HS)),
    ("vstimecmp", VU, {"mie": ONES, "hideleg": ONES, "vstimecmp": 0}, [], (5, VS)),
]


@pytest.mark.parametrize(
    ("what", "mode", "csrs", "wires", "expected"), INTERRUPTS, ids=[row[0] for row in INTERRUPTS]
)
def test_next_interrupt(
    what: str, mode: Mode, csrs: dict[str, int], wires: list[int], expected: tuple[int, Mode] | None
) -> None:
    # mtimecmp is not a CSR: leave MTI out of every case.
    rig = Rig(**{name: value & ~(1 << 7) if name == "mie" else value for name, value in csrs.items()})
    rig.hart.mode = mode
    for bit in wires:
        rig.hart.wire(bit, True)
    assert rig.hart.next_interrupt() == expected


# --- Counters ---------------------------------------------------------------------------------------------------------


def test_a_written_counter_holds_the_written_value_at_the_next_instruction() -> None:
    for name in ("minstret", "mcycle"):
        rig = Rig()
        assert rig.write(M, name, 1000) is None
        assert rig.read(M, name) is None and rig.result == 1000
        assert rig.read(M, name) is None and rig.result == 1001


def test_shadows_read_the_machine_counters() -> None:
    rig = Rig()
    assert rig.write(M, "minstret", 500) is None
    assert rig.read(U, "instret") is None and rig.result == 500
    assert rig.write(M, "mcycle", 700) is None
    assert rig.read(VU, "cycle") is None and rig.result == 700


def test_inhibited_counters_stand_still() -> None:
    rig = Rig()
    assert rig.write(M, "minstret", 100) is None
    assert rig.write(M, "mcountinhibit", IR) is None  # counted itself: 100 -> 101
    for _ in range(3):
        assert rig.read(M, "minstret") is None and rig.result == 101
    before = rig.csr("mcycle")
    assert rig.write(M, "mcountinhibit", 0) is None
    assert rig.csr("mcycle") == before + 1, "mcycle was not inhibited"
    assert rig.read(M, "minstret") is None and rig.result == 101
    assert rig.read(M, "minstret") is None and rig.result == 102
    rig.set(mcountinhibit=CY | IR, mcycle=5, minstret=6)
    assert rig.read(M, "mcycle") is None and rig.result == 5
    assert rig.read(M, "minstret") is None and rig.result == 6


def test_a_debugger_sets_a_counter_exactly() -> None:
    rig = Rig(minstret=42)
    assert rig.csr("minstret") == 42
    assert rig.read(M, "minstret") is None and rig.result == 42
