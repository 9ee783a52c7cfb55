"""Registers: which fields exist, what they take, and which register an access means when V=1."""

from __future__ import annotations

from rig import (
    ADUE,
    BASE,
    DATA,
    GVA,
    H_GVA,
    HANDLER,
    HS,
    HU,
    ILLEGAL,
    MPP,
    MPRV,
    MPV,
    MXR,
    ONES,
    SIE,
    SPIE,
    SPP,
    SPV,
    SPVP,
    STCE,
    SUM,
    TSR,
    TVM,
    TW,
    VS,
    VTSR,
    VTVM,
    VTW,
    VU,
    M,
    Rig,
    U,
)

from emulator.hart import Mode

from .suite import grid, rule

HSTATUS = "Hypervisor Status (hstatus) Register"
DELEGATION = "Hypervisor Trap Delegation (hedeleg and hideleg) Registers"
HGATP = "Hypervisor Guest Address Translation and Protection (hgatp) Register"
VSSTATUS = "Virtual Supervisor Status (vsstatus) Register"
VS_CSRS = "Hypervisor and Virtual Supervisor CSRs"
FS, FS_DIRTY, SD = 1 << 13, 3 << 13, 1 << 63
PPN, MODE_SHIFT = (1 << 44) - 1, 60


def written(name: str, *values: int, **before: int) -> int:
    """What the register holds after M-mode wrote these values one after the other, by CSR instructions."""
    rig = Rig(f"csrw {name}, a0\ncsrr a1, {name}", **before)
    for value in values:
        rig.hart.pc = BASE
        rig.put(a0=value)
        rig.run(2)
        assert rig.hart.pc == BASE + 8, f"{name} cannot be written"
    return rig.x("a1")


# --- hstatus, mstatus, vsstatus ---


@rule(
    "hstatus.fields",
    "GVA, SPV, SPVP, HU, VTVM, VTW and VTSR of hstatus are read/write, each on its own; WPRI bits read 0",
    section=HSTATUS,
    rows=(54,),
    cases=grid(bit={"GVA": H_GVA, "SPV": SPV, "SPVP": SPVP, "HU": HU, "VTVM": VTVM, "VTW": VTW, "VTSR": VTSR}),
)
def _(bit: int) -> None:
    rest = H_GVA | SPV | SPVP | HU | VTVM | VTW | VTSR
    assert written("hstatus", bit) & rest == bit
    assert written("hstatus", ONES, rest & ~bit) & rest == rest & ~bit
    fields = rest | 1 << 5 | 0x3F << 12 | 3 << 32 | 3 << 48
    assert written("hstatus", ONES) & ~fields == 0


@rule(
    "hstatus.vsxl",
    "hstatus.VSXL and vsstatus.UXL always read a legal width; this hart's are 64 bits",
    section=HSTATUS,
    rows=(7,),
    cases=grid(name={"hstatus": "hstatus", "vsstatus": "vsstatus", "sstatus": "sstatus"}, value=(0, 1, 2, 3)),
)
def _(name: str, value: int) -> None:
    assert written(name, value << 32) >> 32 & 3 == 2
    assert Rig().csr(name) >> 32 & 3 == 2


@rule(
    "hstatus.vgein",
    "VGEIN holds every value from 0 to GEILEN; with GEILEN=0 it is read-only zero",
    section=HSTATUS,
)
def _() -> None:
    geilen = written("hgeie", ONES).bit_length() - 1 if written("hgeie", ONES) else 0
    for value in range(geilen + 1):
        assert written("hstatus", value << 12) >> 12 & 0x3F == value
    assert written("hstatus", 0x3F << 12) >> 12 & 0x3F <= geilen


@rule(
    "hstatus.vsbe",
    "Endianness is little at every level: VSBE, UBE of both status registers, SBE and MBE are read-only zero",
    section=HSTATUS,
)
def _() -> None:
    assert written("hstatus", ONES) & 1 << 5 == 0
    assert written("mstatus", ONES & ~MPRV) & (1 << 6 | 3 << 36) == 0
    assert written("sstatus", ONES) & 1 << 6 == 0 == written("vsstatus", ONES) & 1 << 6


@rule(
    "mstatus.mpv",
    "MPV and GVA of mstatus can be written by software",
    section="Machine Status (mstatus and mstatush) Registers",
    rows=(54,),
    cases=grid(bits={"MPV": MPV, "GVA": GVA, "both": MPV | GVA}),
)
def _(bits: int) -> None:
    assert written("mstatus", bits) & (MPV | GVA) == bits
    assert written("mstatus", ONES, 0) & (MPV | GVA) == 0


@rule(
    "mstatus.mpp",
    "mstatus.MPP takes 0, 1 and 3; a write of 2 leaves a legal value",
    section="Privilege and Global Interrupt-Enable Stack in mstatus register",
    rows=(16,),
    cases=grid(value=(0, 1, 2, 3), before=(0, 1, 3)),
)
def _(value: int, before: int) -> None:
    found = (written("mstatus", before << 11, value << 11) & MPP) >> 11
    assert found == value if value != 2 else found in (0, 1, 3)


@rule(
    "mstatus.controls",
    "MPRV, SUM, MXR, TVM, TW and TSR of mstatus are read/write, each on its own",
    section="Memory Privilege in mstatus Register",
    cases=grid(bit={"MPRV": MPRV, "SUM": SUM, "MXR": MXR, "TVM": TVM, "TW": TW, "TSR": TSR, "SIE": SIE, "MIE": 8}),
)
def _(bit: int) -> None:
    rest = MPRV | SUM | MXR | TVM | TW | TSR | SIE | 8
    assert written("mstatus", bit) & rest == bit
    assert written("mstatus", ONES, ONES & ~bit) & rest == rest & ~bit


STATUS = SIE | SPIE | SPP | FS_DIRTY | SUM | MXR


@rule(
    "sstatus.view",
    "sstatus shows SIE, SPIE, SPP, FS, SUM, MXR and SD of mstatus, and writes reach no other field",
    section="Supervisor Status (sstatus) Register",
    cases=grid(value={"ones": ONES, "zeros": 0, "SUM": SUM, "SPP": SPP}),
)
def _(value: int) -> None:
    for before in (0, ONES & ~(3 << 11)):
        rig = Rig("csrw sstatus, a0\ncsrr a1, sstatus", mode=HS, mstatus=before & ~TVM)
        was = rig.csr("mstatus")
        rig.put(a0=value)
        rig.run(2)
        now = rig.csr("mstatus")
        assert now & STATUS == value & STATUS == rig.x("a1") & STATUS
        assert now & ~(STATUS | SD) == was & ~(STATUS | SD)
        assert bool(rig.x("a1") & SD) == (value & FS_DIRTY == FS_DIRTY)
        assert rig.x("a1") & (MPP | MPRV | TVM | TW | TSR | MPV | GVA | 0x88) == 0


@rule(
    "vsstatus.fields",
    "vsstatus has the fields of sstatus, and its own values for them",
    section=VSSTATUS,
    cases=grid(
        value={"ones": ONES, "SIE": SIE, "SPIE": SPIE, "SPP": SPP, "SUM": SUM, "MXR": MXR, "FS": FS, "zeros": 0}
    ),
)
def _(value: int) -> None:
    assert written("vsstatus", ONES & ~value, value) & STATUS == value & STATUS
    rig = Rig(mstatus=STATUS & ~value)
    rig.set(vsstatus=value)
    assert rig.csr("mstatus") & STATUS == STATUS & ~value
    assert rig.csr("vsstatus") & (MPP | MPRV | TVM | TW | TSR | MPV | GVA | 0x88) == 0


@rule(
    "vsstatus.sd",
    "vsstatus.SD summarizes vsstatus alone, sstatus.SD mstatus alone",
    section=VSSTATUS,
    rows=(8,),
    cases=grid(fs=(0, 1, 2, 3), vs_fs=(0, 1, 2, 3)),
)
def _(fs: int, vs_fs: int) -> None:
    rig = Rig(mstatus=fs << 13, vsstatus=vs_fs << 13)
    assert bool(rig.csr("vsstatus") & SD) == (vs_fs == 3)
    assert bool(rig.csr("sstatus") & SD) == (fs == 3) == bool(rig.csr("mstatus") & SD)
    rig.write(BASE, "csrr a0, sstatus")
    for mode, dirty in ((HS, fs == 3), (VS, vs_fs == 3)):
        rig.hart.mode, rig.hart.pc = mode, BASE
        rig.run(1)
        assert bool(rig.x("a0") & SD) == dirty
    assert written("vsstatus", SD) & SD == 0  # cannot be written


@rule(
    "vsstatus.fs.dirty",
    "Modifying floating-point state makes FS Dirty in mstatus, and when V=1 in vsstatus as well",
    section=VSSTATUS,
    rows=(9,),
    cases=grid(
        text={
            "fld": "fld fa0, 0(a1)", "flw": "flw fa0, 0(a1)", "fmv.d.x": "fmv.d.x fa0, a0",
            "fadd.d": "fadd.d fa0, fa0, fa1",
            "fadd.s": "fadd.s fa0, fa0, fa1", "csrw fcsr": "csrw fcsr, a0", "csrw frm": "csrw frm, zero",
            "csrwi fflags": "csrwi fflags, 1", "fcvt.d.l": "fcvt.d.l fa0, a0", "feq.d": "feq.d a0, fa2, fa2",
        },
        mode=(M, HS, U, VS, VU),
        fs=(1, 2, 3), guest=(0, 1, 2, 3),
    ),
)  # fmt: skip
def _(text: str, mode: Mode, fs: int, guest: int) -> None:
    if mode.virtual and not guest:
        return  # then it is off
    rig = Rig(text, mstatus=fs << 13, vsstatus=guest << 13)
    rig.put(a1=DATA)
    rig.hart.f[12] = 0x7FF0_0000_0000_0001  # a signaling NaN: feq raises a flag
    rig.hart.mode = mode
    rig.run(1)
    assert rig.trap() is None
    assert rig.csr("mstatus") & FS_DIRTY == FS_DIRTY
    assert rig.csr("vsstatus") & FS_DIRTY == (FS_DIRTY if mode.virtual else guest << 13)


@rule(
    "vsstatus.fs.clean",
    "What only reads floating-point state leaves FS as it is",
    section=VSSTATUS,
    cases=grid(text={"fsd": "fsd fa0, 0(a1)", "fmv.x.d": "fmv.x.d a0, fa0", "csrr": "csrr a0, fcsr"}, mode=(HS, VS)),
)
def _(text: str, mode: Mode) -> None:
    rig = Rig(text, mode=mode, mstatus=FS, vsstatus=2 << 13)
    rig.put(a1=DATA)
    rig.run(1)
    assert (rig.csr("mstatus") & FS_DIRTY, rig.csr("vsstatus") & FS_DIRTY) == (FS, 2 << 13)


@rule(
    "mhartid",
    "mhartid is each hart's own number, one of them 0, and cannot be written",
    section="Hart ID (mhartid) Register",
)
def _() -> None:
    rig = Rig("csrr a0, mhartid\ncsrw mhartid, a1", harts=3)
    assert [hart.csr("mhartid") for hart in rig.machine.harts] == [0, 1, 2]
    rig.put(a0=5, a1=1)
    rig.run(2)
    assert rig.x("a0") == 0 and rig.trap() is not None


# --- delegation ---

MUST_WRITE = {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 18, 19}
MUST_BE_ZERO = {9, 10, 11, 16, 20, 21, 22, 23}


@rule(
    "hedeleg.bits",
    "hedeleg: bits 1-8, 12, 13, 15, 18, 19 are writable; 9-11, 16, 20-23 read-only zero",
    section=DELEGATION,
    rows=(5,),
    cases=grid(bit=sorted(MUST_WRITE | MUST_BE_ZERO)),
)
def _(bit: int) -> None:
    assert written("hedeleg", 1 << bit) >> bit & 1 == int(bit in MUST_WRITE)
    assert written("hedeleg", ONES, ONES & ~(1 << bit)) >> bit & 1 == 0


@rule(
    "hideleg.bits",
    "hideleg: bits 10, 6, 2 are writable, bits 12, 9, 5, 1 read-only zero, and so is what mideleg has zero",
    section=DELEGATION,
    rows=(6,),
    cases=grid(bit=range(16)),
)
def _(bit: int) -> None:
    found = written("hideleg", 1 << bit, mideleg=0) >> bit & 1
    if bit in (2, 6, 10):
        assert found == 1
    elif bit != 13:
        assert found == 0
    assert written("hideleg", ONES, mideleg=0) & ~written("mideleg", 0) == 0
    assert written("hideleg", ONES, ONES & ~(1 << bit)) >> bit & 1 == 0


@rule(
    "mideleg.bits",
    "mideleg: bits 2, 6, 10 are read-only one, and bit 12 where there are guest external interrupts; 1, 5, 9 writable",
    section="Machine Interrupt Delegation (mideleg) Register",
    rows=(6,),
)
def _() -> None:
    geilen = written("hgeie", ONES) != 0
    fixed = 0x444 | (0x1000 if geilen else 0)
    assert written("mideleg", 0) == fixed
    assert written("mideleg", ONES) & 0xFFF == 0x444 | 0x222
    for bit in (1, 5, 9):
        assert written("mideleg", 1 << bit) == fixed | 1 << bit
    assert written("mideleg", ONES) & 0x888 == 0


@rule(
    "medeleg.bits",
    "medeleg: calls from M-mode and double traps are never delegated; what hedeleg can pass on, and 20-23, can be",
    section="Machine Trap Delegation (medeleg and mideleg) Registers",
)
def _() -> None:
    found = written("medeleg", ONES)
    assert not found >> 11 & 1 and not found >> 16 & 1
    for bit in (*range(1, 11), 12, 13, 15, 20, 21, 22, 23):
        assert found >> bit & 1, bit
        assert written("medeleg", 1 << bit) == 1 << bit


@rule(
    "hvip.bits",
    "hvip: VSSIP, VSTIP and VSEIP are writable, each on its own, all other bits of 15:0 read-only zero",
    section="Hypervisor Interrupt (hvip, hip, and hie) Registers",
    cases=grid(bit=range(16)),
)
def _(bit: int) -> None:
    assert written("hvip", 1 << bit, mideleg=0) == (1 << bit if bit in (2, 6, 10) else 0)
    assert written("hvip", ONES, 0) == 0


# --- translation ---

MODES = {"Bare": 0, "Sv39": 8, "Sv48": 9, "Sv57": 10}
LEGAL_PPN = {8: PPN, 9: PPN, 10: PPN}


@rule(
    "hgatp.modes",
    "hgatp takes Bare and Sv39x4, Sv48x4, Sv57x4 exactly as satp and vsatp take Bare, Sv39, Sv48, Sv57",
    section="Shgatpa Extension for Translation Mode Support, Version 1.0",
    rows=(3,),
    cases=grid(mode=range(16)),
)
def _(mode: int) -> None:
    expected = mode if mode in MODES.values() else 0
    for name in ("hgatp", "satp", "vsatp"):
        found = written(name, mode << 60 | (0x4000 if mode else 0))
        assert found >> 60 == expected, name


@rule(
    "hgatp.mode.warl",
    "An unsupported MODE in a write of hgatp leaves MODE legal, while PPN and VMID take their new values",
    section=HGATP,
    rows=(1,),
    cases=grid(mode=(1, 2, 7, 11, 15), before=(8, 9, 10)),
)
def _(mode: int, before: int) -> None:
    found = written("hgatp", before << 60 | 5 << 44 | 0x1230, mode << 60 | 7 << 44 | 0x4560)
    assert found >> 60 in MODES.values()
    assert (found >> 44 & 0x3FFF, found & PPN) == (7, 0x4560)


@rule(
    "hgatp.ppn",
    "PPN[1:0] of hgatp read zero, as the root is 16 KiB; every other bit of PPN is kept",
    section=HGATP,
    rows=(2,),
    cases=grid(mode=(8, 9, 10), bit=range(44)),
)
def _(mode: int, bit: int) -> None:
    assert written("hgatp", mode << 60 | 1 << bit) == mode << 60 | (1 << bit if bit > 1 else 0)


@rule(
    "hgatp.vmid",
    "VMID bits are implemented from the lowest up, at most 14; bits 59:58 read zero",
    section=HGATP,
    cases=grid(mode=(8, 9, 10)),
)
def _(mode: int) -> None:
    found = written("hgatp", mode << 60 | PPN << 0 | 0xFFFF << 44)
    vmid = found >> 44 & 0x3FFF
    assert vmid & vmid + 1 == 0 and not found >> 58 & 3
    for bit in range(vmid.bit_length()):
        assert written("hgatp", mode << 60 | 1 << 44 + bit) >> 44 & 0xFFFF == 1 << bit


@rule(
    "hgatp.bare",
    "hgatp can be set to zero from every mode: Bare",
    section=HGATP,
    cases=grid(mode=(8, 9, 10)),
)
def _(mode: int) -> None:
    assert written("hgatp", mode << 60 | 3 << 44 | 0x1000, 0) == 0


@rule(
    "satp.mode",
    "A write of satp with an unsupported MODE has no effect at all",
    section="Supervisor Address Translation and Protection (satp) Register",
    rows=(4,),
    cases=grid(mode=(1, 2, 7, 11, 15), executor=(M, HS)),
)
def _(mode: int, executor: Mode) -> None:
    before = 3 << 44 | 0x123  # Bare, so that HS-mode's code needs no tables
    rig = Rig("csrw satp, a0", mode=executor, satp=before)
    rig.put(a0=mode << 60 | 5 << 44 | 0x456)
    rig.run(1)
    assert rig.csr("satp") == before


@rule(
    "vsatp.mode.v1",
    "A write of satp in VS-mode with an unsupported MODE does not write vsatp",
    section="Virtual Supervisor Address Translation and Protection (vsatp) Register",
    rows=(4,),
    cases=grid(mode=(1, 2, 7, 11, 15)),
)
def _(mode: int) -> None:
    rig = Rig("csrw satp, a0", mode=VS, vsatp=0, satp=8 << 60 | 0x777)
    rig.put(a0=mode << 60 | 5 << 44 | 0x456)
    rig.run(1)
    assert rig.trap() is None
    assert (rig.csr("vsatp"), rig.csr("satp")) == (0, 8 << 60 | 0x777)


@rule(
    "vsatp.mode.v0",
    "A write of vsatp with V=0 and an unsupported MODE is ignored, or leaves MODE legal and writes the rest",
    section="Virtual Supervisor Address Translation and Protection (vsatp) Register",
    rows=(4,),
    cases=grid(mode=(1, 2, 7, 11, 15)),
)
def _(mode: int) -> None:
    before = 9 << 60 | 3 << 44 | 0x123
    found = written("vsatp", before, mode << 60 | 5 << 44 | 0x456)
    assert found == before or (found >> 60 in MODES.values() and found << 4 & ONES == (5 << 44 | 0x456) << 4)


@rule(
    "vsatp.fields",
    "vsatp holds MODE, ASID and PPN as satp does",
    section="Virtual Supervisor Address Translation and Protection (vsatp) Register",
    cases=grid(mode=(8, 9, 10)),
)
def _(mode: int) -> None:
    for bit in range(60):
        value = mode << 60 | 1 << bit
        assert written("vsatp", value) == written("satp", value) == value


# --- trap registers ---


@rule(
    "htval.holds",
    "htval and mtval2 hold every guest-physical address shifted right by two, up to Sv57x4's 59 bits",
    section="Hypervisor Trap Value (htval) Register",
    rows=(19, 33),
    cases=grid(name={"htval": "htval", "mtval2": "mtval2"}, value=(0, 1, (1 << 57) - 1, 0x12_3456_789A_BCDE, 1 << 56)),
)
def _(name: str, value: int) -> None:
    assert written(name, ONES ^ value, value) == value
    rig = Rig(**{name: value})
    for other in {"htval", "mtval2", "htinst", "mtinst", "stval", "mtval", "vstval"} - {name}:
        assert rig.csr(other) == 0


@rule(
    "htinst.holds",
    "htinst and mtinst hold zero and the values that traps write",
    section="Hypervisor Trap Instruction (htinst) Register",
    cases=grid(name={"htinst": "htinst", "mtinst": "mtinst"}, value=(0, 0x3000, 0x3020, 0x0000_3003, 0xFFF0_7FFF)),
)
def _(name: str, value: int) -> None:
    assert written(name, 0x3000 ^ value, value) == value


@rule(
    "vsepc.warl",
    "vsepc holds what sepc can: any address with bit 0 zero",
    section="Virtual Supervisor Exception Program Counter (vsepc) Register",
    cases=grid(name={"vsepc": "vsepc", "sepc": "sepc", "mepc": "mepc"}, value=(ONES, 0, 0x1003, 0x8000_0002)),
)
def _(name: str, value: int) -> None:
    assert written(name, ONES ^ value, value) == value & ~1


@rule(
    "vstvec.warl",
    "vstvec and stvec take Direct and Vectored with any 4-byte aligned base; a reserved mode leaves a legal one",
    section="Virtual Supervisor Trap Vector Base Address (vstvec) Register",
    cases=grid(name={"vstvec": "vstvec", "stvec": "stvec", "mtvec": "mtvec"}, mode=(0, 1, 2, 3)),
)
def _(name: str, mode: int) -> None:
    for base in (0, HANDLER, 0x8000_0004, 0x3F_FFFF_FFFC):
        found = written(name, base | mode)
        assert found & ~3 == base
        assert found & 3 == mode if mode < 2 else found & 3 in (0, 1)


@rule(
    "vscause.holds",
    "vscause holds every cause that scause can",
    section="Virtual Supervisor Cause (vscause) Register",
    cases=grid(name={"vscause": "vscause", "scause": "scause", "mcause": "mcause"}),
)
def _(name: str) -> None:
    for code in (*range(24), *(1 << 63 | n for n in range(16))):
        assert written(name, code) == code


@rule(
    "vstval.holds",
    "vstval, stval and mtval hold any address and instruction; mtval is not read-only zero",
    section="Virtual Supervisor Trap Value (vstval) Register",
    cases=grid(name={"vstval": "vstval", "stval": "stval", "mtval": "mtval"}, value=(ONES, 0, 1, 0xFFFF_FFFF, 1 << 63)),
)
def _(name: str, value: int) -> None:
    assert written(name, ONES ^ value, value) == value


@rule(
    "scratch.holds",
    "vsscratch, sscratch and mscratch hold any value",
    section="Virtual Supervisor Scratch (vsscratch) Register",
    cases=grid(
        name={"vsscratch": "vsscratch", "sscratch": "sscratch", "mscratch": "mscratch"}, value=(ONES, 0, 1 << 63)
    ),
)
def _(name: str, value: int) -> None:
    assert written(name, ONES ^ value, value) == value


# --- environment and counters ---


@rule(
    "henvcfg.reset",
    "henvcfg is zero after reset, and with menvcfg zero none of STCE, PBMTE, ADUE, DTE can be set",
    section="Hypervisor Environment Configuration Register (henvcfg)",
    rows=(11, 12),
)
def _() -> None:
    rig = Rig()
    assert (rig.csr("henvcfg"), rig.csr("menvcfg")) == (0, 0)
    assert written("henvcfg", ONES) >> 59 & 0b11101 == 0


@rule(
    "henvcfg.gated",
    "STCE and ADUE of henvcfg are writable while menvcfg has them 1, and read 0 as soon as menvcfg has them 0",
    section="Machine Environment Configuration (menvcfg) Register",
    rows=(11,),
    cases=grid(bit={"STCE": STCE, "ADUE": ADUE}),
)
def _(bit: int) -> None:
    both = STCE | ADUE
    assert written("henvcfg", ONES, menvcfg=bit) & both == bit
    assert written("henvcfg", ONES, menvcfg=both & ~bit) & both == both & ~bit
    rig = Rig(menvcfg=both)
    rig.set(henvcfg=both)
    rig.set(menvcfg=both & ~bit)
    assert rig.csr("henvcfg") & both == both & ~bit
    rig.set(henvcfg=both)
    assert rig.csr("henvcfg") & both == both & ~bit


@rule(
    "henvcfg.cbie",
    "CBIE of menvcfg, henvcfg and senvcfg never holds the reserved value 2, PMM never 1",
    section="Hypervisor Environment Configuration Register (henvcfg)",
    rows=(12,),
    cases=grid(name={"menvcfg": "menvcfg", "henvcfg": "henvcfg", "senvcfg": "senvcfg"}, before=(0, 3)),
)
def _(name: str, before: int) -> None:
    found = written(name, before << 4 | before << 32, 2 << 4 | 1 << 32)
    assert found >> 4 & 3 in (0, 1, 3)
    assert found >> 32 & 3 in (0, 2, 3)


@rule(
    "henvcfg.fiom",
    "FIOM is read/write in menvcfg, henvcfg and senvcfg, independently",
    section="Hypervisor Environment Configuration Register (henvcfg)",
    cases=grid(name={"menvcfg": "menvcfg", "henvcfg": "henvcfg", "senvcfg": "senvcfg"}),
)
def _(name: str) -> None:
    assert written(name, 1) & 1 == 1 and written(name, ONES, 0) == 0
    rig = Rig(**{name: 1})
    assert {n for n in ("menvcfg", "henvcfg", "senvcfg") if rig.csr(n) & 1} == {name}


@rule(
    "hcounteren.warl",
    "mcounteren, hcounteren and scounteren have 32 bits, of which CY, TM and IR are writable one by one",
    section="Hypervisor Counter-Enable (hcounteren) Register",
    rows=(13,),
    cases=grid(name={"mcounteren": "mcounteren", "hcounteren": "hcounteren", "scounteren": "scounteren"}),
)
def _(name: str) -> None:
    full = written(name, ONES)
    assert full >> 32 == 0 and full & 7 == 7
    for bit in range(32):
        assert written(name, 1 << bit) == full & 1 << bit
    assert written(name, ONES, 0) == 0
    rig = Rig(**{name: ONES})
    assert all(rig.csr(other) == 0 for other in {"mcounteren", "hcounteren", "scounteren"} - {name})


@rule(
    "htimedelta.holds",
    "htimedelta is 64 bits, read/write",
    section="Hypervisor Time Delta (htimedelta) Register",
    cases=grid(value=(0, 1, ONES, 1 << 63, 0x1234_5678_9ABC_DEF0)),
)
def _(value: int) -> None:
    assert written("htimedelta", ONES ^ value, value) == value


@rule(
    "hgeie.bits",
    "hgeie has the bits GEILEN to 1, writable; all others, and bit 0, read zero, and so do those of hgeip",
    section="Hypervisor Guest External Interrupt Registers (hgeip and hgeie)",
    rows=(78,),
)
def _() -> None:
    full = written("hgeie", ONES)
    assert full & 1 == 0 and (full + 2) & full == 0
    for bit in range(full.bit_length()):
        assert written("hgeie", 1 << bit) == full & 1 << bit
    assert Rig().csr("hgeip") == 0


@rule(
    "misa.h",
    "misa.H is 1; clearing it either has no effect or takes MPV, SPV and the hypervisor's registers along",
    section="H Extension for Hypervisor Support",
    rows=(15,),
)
def _() -> None:
    assert Rig().csr("misa") >> 7 & 1
    assert Rig().csr("misa") >> 62 == 2
    rig = Rig("csrw misa, a0\ncsrr a1, hstatus", mstatus=MPV, hstatus=SPV)
    rig.put(a0=rig.csr("misa") & ~(1 << 7))
    rig.run(2)
    if rig.csr("misa") >> 7 & 1:
        assert rig.csr("mstatus") & MPV and rig.x("a1") & SPV
    else:
        assert rig.trap() == (M, ILLEGAL, int.from_bytes(rig.program.code[4:], "little"))


# --- substitution ---

TWINS = {
    "sstatus": "vsstatus", "stvec": "vstvec", "sscratch": "vsscratch", "sepc": "vsepc", "scause": "vscause",
    "stval": "vstval", "stimecmp": "vstimecmp",
}  # fmt: skip


@rule(
    "vs.substitution",
    "When V=1 the VS registers take the place of the supervisor registers, which keep their values",
    section=VS_CSRS,
    rows=(10,),
    cases=grid(name=TWINS.keys(), insn=("csrrw", "csrrs", "csrrc")),
)
def _(name: str, insn: str) -> None:
    """Read, and written by every kind of instruction; the same in HS-mode means the supervisor register."""
    twin = TWINS[name]
    host, guest, operand = (SUM, MXR, SPP) if name == "sstatus" else (0x1000, 0x2004, 0x4008)
    for mode in (VS, HS):
        rig = Rig(f"{insn} a0, {name}, a1", menvcfg=STCE, mcounteren=7, hcounteren=7)
        rig.set(henvcfg=STCE)
        rig.set(**{name: host, twin: guest})
        rig.put(a1=operand)
        rig.hart.mode = mode
        was = rig.csr(twin if mode is VS else name)
        other = rig.csr(name if mode is VS else twin)
        rig.run(1)
        assert rig.trap() is None
        assert rig.x("a0") == was
        expected = {"csrrw": operand, "csrrs": was | operand, "csrrc": was & ~operand}[insn]
        keep = 3 << 32 if name == "sstatus" else 0
        assert rig.csr(twin if mode is VS else name) == expected | was & keep
        assert rig.csr(name if mode is VS else twin) == other


@rule(
    "vs.substitution.satp",
    "When V=1 satp means vsatp",
    section=VS_CSRS,
    rows=(10,),
)
def _() -> None:
    rig = Rig("csrrw a0, satp, a1", mode=VS, satp=0, vsatp=0)
    rig.put(a1=9 << 60 | 0x777)
    rig.run(1)
    assert (rig.csr("satp"), rig.csr("vsatp"), rig.x("a0")) == (0, 9 << 60 | 0x777, 0)


@rule(
    "vs.no_twin",
    "scounteren and senvcfg have no VS register: a guest reads and writes the same as HS-mode",
    section=VS_CSRS,
    cases=grid(name={"scounteren": "scounteren", "senvcfg": "senvcfg"}, mode=(HS, VS)),
)
def _(name: str, mode: Mode) -> None:
    from .access import OPEN, Bench

    rig = Bench(OPEN).rig
    rig.set(**{name: 0})
    rig.write(BASE, f"csrrs a0, {name}, a1\ncsrr a2, {name}")
    rig.put(a1=1)
    rig.hart.mode, rig.hart.pc = mode, BASE
    rig.run(2)
    assert (rig.x("a0"), rig.x("a2") & 1, rig.csr(name) & 1) == (0, 1, 1)


@rule(
    "vs.kept",
    "While V=1 the supervisor registers have no effect: SIE, SPP, SUM and stvec of HS-mode do not reach the guest",
    section=VS_CSRS,
    rows=(10, 49),
    cases=grid(mode=(VS, VU)),
)
def _(mode: Mode) -> None:
    rig = Rig("ecall" if mode is VU else "ebreak", mode=mode, medeleg=ONES, hedeleg=ONES, mstatus=SIE | SPP | SUM)
    before = rig.csr("mstatus")
    rig.run(1)
    assert (rig.hart.mode, rig.hart.pc) == (VS, HANDLER + 0x2000)
    assert rig.csr("mstatus") == before
