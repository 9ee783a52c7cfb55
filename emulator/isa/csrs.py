"""The control and status registers: one table, from which everything else about them derives.

The hart's storage and access functions (`emulator/hart/generate_csrs.py`), the field decoder of the monitor, the
version data and the snapshot schema all read it. Registers are 64 bits wide (RV64). Authority is the privileged
manual: chapters "Control and Status Registers", "Machine-Level ISA", "Supervisor-Level ISA" and "Hypervisor Extension".

This module stands alone (no imports from the package), because the build needs it before anything else exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

XLEN = 64
MAX_GEILEN = XLEN - 1
"""The most guest external interrupts that a hart can have; how many it has (GEILEN) is a property of the machine."""
PMP_ENTRIES = 16
"""Implemented PMP entries; the CSRs of the others read 0."""

PRIVILEGED_VERSIONS = ("1.9.1", "1.10", "1.11", "1.12", "1.13")
HYPERVISOR_VERSIONS = ("h0.1", "h0.2", "h0.3", "h0.4", "h0.4+", "h0.5", "h0.5+", "h0.6", "h0.6.1", "h1.0")
"""Drafts of the H extension; "+" is the text between two drafts that carries the title of the older one."""
VERSIONS = PRIVILEGED_VERSIONS + HYPERVISOR_VERSIONS

# Exceptions and interrupts by code: (name, meaning, name in KVM's statistics, as `perf kvm stat` prints it, which has
# none for those that end in a number). Sections "Machine Cause Register" and "Trap Cause Codes".
EXCEPTIONS: dict[int, tuple[str, str, str]] = {
    0: ("INSTRUCTION_MISALIGNED", "instruction address misaligned", "EXC_INST_MISALIGNED"),
    1: ("INSTRUCTION_ACCESS", "instruction access fault", "EXC_INST_ACCESS"),
    2: ("ILLEGAL_INSTRUCTION", "illegal instruction", "EXC_INST_ILLEGAL"),
    3: ("BREAKPOINT", "breakpoint", "EXC_BREAKPOINT"),
    4: ("LOAD_MISALIGNED", "load address misaligned", "EXC_LOAD_MISALIGNED"),
    5: ("LOAD_ACCESS", "load access fault", "EXC_LOAD_ACCESS"),
    6: ("STORE_MISALIGNED", "store/AMO address misaligned", "EXC_STORE_MISALIGNED"),
    7: ("STORE_ACCESS", "store/AMO access fault", "EXC_STORE_ACCESS"),
    8: ("ECALL_U", "environment call from U or VU", "EXC_SYSCALL"),
    9: ("ECALL_HS", "environment call from HS", "EXC_HYPERVISOR_SYSCALL"),
    10: ("ECALL_VS", "environment call from VS", "EXC_SUPERVISOR_SYSCALL"),
    11: ("ECALL_M", "environment call from M", "EXC_11"),
    12: ("INSTRUCTION_PAGE", "instruction page fault", "EXC_INST_PAGE_FAULT"),
    13: ("LOAD_PAGE", "load page fault", "EXC_LOAD_PAGE_FAULT"),
    15: ("STORE_PAGE", "store/AMO page fault", "EXC_STORE_PAGE_FAULT"),
    16: ("DOUBLE_TRAP", "double trap", "EXC_16"),
    18: ("SOFTWARE_CHECK", "software check", "EXC_18"),
    19: ("HARDWARE_ERROR", "hardware error", "EXC_19"),
    20: ("INSTRUCTION_GUEST_PAGE", "instruction guest-page fault", "EXC_INST_GUEST_PAGE_FAULT"),
    21: ("LOAD_GUEST_PAGE", "load guest-page fault", "EXC_LOAD_GUEST_PAGE_FAULT"),
    22: ("VIRTUAL_INSTRUCTION", "virtual instruction", "EXC_VIRTUAL_INST_FAULT"),
    23: ("STORE_GUEST_PAGE", "store/AMO guest-page fault", "EXC_STORE_GUEST_PAGE_FAULT"),
}
INTERRUPTS: dict[int, tuple[str, str, str]] = {
    1: ("SSI", "supervisor software interrupt", "IRQ_S_SOFT"),
    2: ("VSSI", "virtual supervisor software interrupt", "IRQ_VS_SOFT"),
    3: ("MSI", "machine software interrupt", "IRQ_M_SOFT"),
    5: ("STI", "supervisor timer interrupt", "IRQ_S_TIMER"),
    6: ("VSTI", "virtual supervisor timer interrupt", "IRQ_VS_TIMER"),
    7: ("MTI", "machine timer interrupt", "IRQ_M_TIMER"),
    9: ("SEI", "supervisor external interrupt", "IRQ_S_EXT"),
    10: ("VSEI", "virtual supervisor external interrupt", "IRQ_VS_EXT"),
    11: ("MEI", "machine external interrupt", "IRQ_M_EXT"),
    12: ("SGEI", "supervisor guest external interrupt", "IRQ_S_GEXT"),
    13: ("LCOFI", "local counter overflow interrupt", "IRQ_PMU_OVF"),
}

INTERRUPT_PRIORITY = ("MEI", "MSI", "MTI", "SEI", "SSI", "STI", "SGEI", "VSEI", "VSSI", "VSTI", "LCOFI")
"""Decreasing, for one target mode. Sections "Machine Interrupt Registers" and "Hypervisor Interrupt Registers"."""

HYPERVISOR_INTERRUPTS = (2, 6, 10)
"""Always delegated past M-mode: their bits of mideleg are read-only one. So is SGEI's where GEILEN is not 0."""
SGEI = 12

# What mhpmevent can select: (name, meaning). The manual leaves all but 0 to the platform ("Hardware Performance
# Monitor"). Each is a function of the hart's state and counts alike however a run is cut; lookaside misses are not.
EVENTS: dict[int, tuple[str, str]] = {
    0: ("NONE", "no event"),
    1: ("CYCLES", "cycles, as mcycle counts them"),
    2: ("INSTRUCTIONS", "instructions retired"),
    3: ("EXCEPTIONS", "exceptions taken"),
    4: ("INTERRUPTS", "interrupts taken"),
    5: ("EXITS", "traps that left V=1"),
    6: ("PAGE_FAULTS", "page faults"),
    7: ("GUEST_PAGE_FAULTS", "guest-page faults"),
    8: ("CALLS", "environment calls"),
    9: ("REFUSALS", "illegal- and virtual-instruction exceptions"),
    10: ("RETURNS", "MRET and SRET"),
    11: ("FENCES", "SFENCE.VMA, HFENCE and their SINVAL, HINVAL forms"),
    12: ("WAITS", "WFI that began to wait"),
    13: ("SWITCHES", "writes that changed hgatp"),
}
FIRST_COUNTER, COUNTERS = 3, 29
"""mhpmcounter3 to mhpmcounter31."""


PSEUDO_INSTRUCTIONS: dict[int, str] = {
    0x2000: "32-bit read of a VS-stage page-table entry",
    0x2020: "32-bit write of a VS-stage page-table entry (A or D)",
    0x3000: "read of a VS-stage page-table entry",
    0x3020: "write of a VS-stage page-table entry (A or D)",
}
"""What mtinst and htinst hold after a guest-page fault of the walk itself. Section "Transformed Instruction or
Pseudoinstruction for mtinst or htinst"; the last two are RV64's."""


def cause_name(code: int, interrupt: bool) -> str:
    """The meaning of a trap cause; `code` without the interrupt bit."""
    row = (INTERRUPTS if interrupt else EXCEPTIONS).get(code)
    if row is not None:
        return row[1]
    kind = "interrupt" if interrupt else "exception"
    custom = 24 <= code <= 31 or 48 <= code <= 63
    return f"{'platform' if interrupt and code >= 16 else 'custom' if custom else 'reserved'} {kind} {code}"


def kvm_name(code: int, interrupt: bool) -> str:
    """The name of a trap cause in KVM's statistics; `code` without the interrupt bit."""
    row = (INTERRUPTS if interrupt else EXCEPTIONS).get(code)
    return row[2] if row is not None else f"{'IRQ' if interrupt else 'EXC'}_{code}"


class Kind(Enum):
    """What a write does to a field. Bits that no field covers read 0 and ignore writes (WPRI)."""

    RW = "read/write"
    LEGAL = "write any, read legal"
    """Takes the values of `Field.legal` only; another value leaves the field as it was (or, `veto`, the register)."""
    FIXED = "read-only"
    """Always `Field.value`."""
    LIVE = "read-only, driven"
    """Reflects something other than its own storage."""
    SUMMARY = "read-only, derived"
    """1 when FS of the same register is Dirty (VS and XS are never, on this hart)."""


@dataclass(frozen=True)
class Field:
    """Bits `low` .. `low + width - 1` of a register."""

    name: str
    low: int
    width: int
    kind: Kind
    doc: str
    values: dict[int, str] | None = None
    value: int = 0
    """Of a FIXED field; of others, the value after reset."""
    legal: tuple[int, ...] = ()
    veto: bool = False
    show: str = ""
    """How to show a value without a name in `values`: "" decimal, "hex", "page" (a physical page number),
    "cause", "address" (the field holds an address from its own low bit on), or a key of MEANINGS."""
    align: int = 0
    """That many low bits of the field are read-only zero."""
    extension: str | None = None
    """The extension that defines the field, or a feature as in features.py; FIXED 0 where the hart lacks it, and 0
    where it is switched off."""
    without: str | None = None
    """The field is there only while this extension is switched off; else 0."""
    portions: tuple[tuple[str, int], ...] = ()
    """(feature, bits of the field): 0 where that is switched off."""
    legal_with: tuple[tuple[str, int], ...] = ()
    """(feature, value): of `legal`, what is legal only with that."""
    limit: str | None = None
    """Of a LEGAL field: the member of the native hart that holds the largest legal value."""

    @property
    def later(self) -> bool:
        """Of an extension that is no part of the architecture's own versions."""
        return self.extension not in (None, "F", "H", "Zicntr", "Zihpm")

    @property
    def high(self) -> int:
        return self.low + self.width - 1

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.low

    @property
    def write_mask(self) -> int:
        """The bits, in place, that a write may change."""
        return self.switched_mask if self.without is None else 0

    @property
    def switched_mask(self) -> int:
        """The same on whatever hart, extensions switched off included."""
        return self.mask & -1 << self.low + self.align if self.kind in (Kind.RW, Kind.LEGAL) else 0

    def extract(self, register: int) -> int:
        return (register >> self.low) & ((1 << self.width) - 1)

    def insert(self, register: int, value: int) -> int:
        """`register` with the field replaced; `value` is cut to the field's width."""
        return (register & ~self.mask) | ((value << self.low) & self.mask)

    def meaning(self, value: int, register: int = 0) -> str:
        """What `value` of this field means, in a few words. `register` is the whole, where meanings depend on it."""
        if self.values is not None:
            return self.values.get(value, "reserved")
        if self.show == "cause":
            return cause_name(value, bool(register >> (XLEN - 1)))
        if self.show == "page":
            return f"{value << 12:#x}"
        if self.show == "address":
            return f"{value << self.low:#x}"
        if self.show in MEANINGS:
            return MEANINGS[self.show](value)
        if self.show == "hex":
            return f"{value:#x}"
        return ("off", "on")[value] if self.width == 1 else str(value)


def _pmp_meaning(value: int) -> str:
    match = ("off", "TOR", "NA4", "NAPOT")[value >> 3 & 3]
    if match == "off" and not value & 0x80:
        return match
    rights = "".join(letter if value >> bit & 1 else "-" for bit, letter in enumerate("RWX"))
    return f"{match} {rights}{' locked' if value & 0x80 else ''}"


MEANINGS: dict[str, Callable[[int], str]] = {"pmp": _pmp_meaning}
"""Meanings of values by `Field.show`. "tinst" comes from the decoder, because it takes one."""


@dataclass(frozen=True)
class View:
    """The register shows fields of another: this register's bits are those of `of`, shifted right by `shift`."""

    of: str
    shift: int = 0
    gates: tuple[str, ...] = ()
    """Registers in whose layout (that of `of`) a 0 hides the bit: it reads 0 and cannot be written."""
    unmoved: int = 0
    """Bits that keep their place whatever `shift` is."""

    def place(self, bits: int) -> int:
        """Bits of this register, where `of` has them."""
        return (bits & ~self.unmoved) << self.shift | bits & self.unmoved


@dataclass(frozen=True)
class Gate:
    """The bits `mask` are read-only 0 while the same bit of `by` is 0."""

    by: str
    mask: int


@dataclass(frozen=True)
class Former:
    """Name and number that the register had in earlier versions of a specification."""

    name: str
    number: int | None
    """None where the text names the register but publishes no number."""
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Csr:
    """One register."""

    number: int
    name: str
    group: str
    doc: str
    fields: tuple[Field, ...] = ()
    extension: str | None = None
    """What the hart must have, beyond the base privileged architecture, for the register to exist: a feature as in
    features.py."""
    absent: int | None = None
    """What its storage holds on a hart that lacks it, where that is not the value after reset."""
    since: str = "1.9.1"
    removed: str | None = None
    """First version of the privileged architecture without it."""
    h_since: str | None = None
    """First draft of the H extension with it, under whatever number; None: not of the H extension."""
    former: tuple[Former, ...] = ()
    storage: str | None = None
    """Field of `csr_state` behind it."""
    slot: int | None = None
    """Element of `storage`, where that is an array."""
    view: View | None = None
    gate: Gate | None = None
    v_alias: str | None = None
    """The VS CSR that takes this one's place when V=1."""
    guard: str | None = None
    """An access rule beyond privilege: "counter", "stimecmp", "vstimecmp", "satp", "hgatp", "float", "stateen",
    "envcfg"."""
    read: str | None = None
    """C function that reads it, where masks do not say it all."""
    write: str | None = None
    after: str | None = None
    """C function to call when it was written."""

    @property
    def privilege(self) -> str:
        """Lowest mode with access, from the number: "U", "S", "H" (HS and M) or "M"."""
        return "USHM"[self.number >> 8 & 3]

    @property
    def read_only(self) -> bool:
        """Writes raise an exception: number bits 11:10 are 11."""
        return self.number >> 10 == 3

    @property
    def mask(self) -> int:
        """All bits that belong to a field."""
        return sum(field.mask for field in self.fields)

    @property
    def write_mask(self) -> int:
        """Bits that a write may change, gates open."""
        return sum(field.write_mask for field in self.fields)

    @property
    def switched_mask(self) -> int:
        """The same on whatever hart, extensions switched off included."""
        return sum(field.switched_mask for field in self.fields)

    @property
    def reset(self) -> int:
        """The value after reset, as far as the table determines it."""
        return sum(field.value << field.low for field in self.fields)

    @property
    def twin(self) -> Csr | None:
        """sstatus for vsstatus and the reverse; None for a register without one."""
        if self.v_alias is not None:
            return BY_NAME[self.v_alias]
        return _SUPERVISOR_TWIN.get(self.name)

    def field(self, name: str) -> Field:
        """The field called `name`; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name}")

    def decode(self, value: int) -> list[tuple[Field, int, str]]:
        """The fields of `value`, most significant first: (field, its value, what it means)."""
        ordered = sorted(self.fields, key=lambda field: -field.low)
        return [(field, bits, field.meaning(bits, value)) for field in ordered for bits in [field.extract(value)]]

    def in_version(self, version: str) -> tuple[str, int | None] | None:
        """Name and number in a version of the privileged architecture or of the H extension; None: not there."""
        for former in self.former:
            if version in former.versions:
                return former.name, former.number
        if version in HYPERVISOR_VERSIONS:
            if self.h_since is None:
                present = self.removed is None
            else:
                present = HYPERVISOR_VERSIONS.index(version) >= HYPERVISOR_VERSIONS.index(self.h_since)
        else:
            at = PRIVILEGED_VERSIONS.index(version)
            present = at >= PRIVILEGED_VERSIONS.index(self.since) and (
                self.removed is None or at < PRIVILEGED_VERSIONS.index(self.removed)
            )
        return (self.name, self.number) if present else None

    def fields_in(self, version: str) -> tuple[Field, ...]:
        """The fields in a version; where the table records no other layout, today's."""
        layouts = FORMER_FIELDS.get(self.name, {})
        return layouts.get(version, self.fields)


# --- Fields -----------------------------------------------------------------------------------------------------------


def _rw(name: str, low: int, width: int, doc: str, values: dict[int, str] | None = None, show: str = "") -> Field:
    return Field(name, low, width, Kind.RW, doc, values, show=show)


def _bit(name: str, low: int, doc: str, values: dict[int, str] | None = None, extension: str | None = None) -> Field:
    return Field(name, low, 1, Kind.RW, doc, values, extension=extension)


def _fixed(
    name: str,
    low: int,
    width: int,
    value: int,
    doc: str,
    values: dict[int, str] | None = None,
    extension: str | None = None,
    show: str = "",
) -> Field:
    return Field(name, low, width, Kind.FIXED, doc, values, value=value, extension=extension, show=show)


def _live(name: str, low: int, doc: str, width: int = 1, show: str = "") -> Field:
    return Field(name, low, width, Kind.LIVE, doc, show=show)


def _whole(name: str, doc: str, show: str = "hex", reset: int = 0) -> tuple[Field, ...]:
    return (Field(name, 0, XLEN, Kind.RW, doc, value=reset, show=show),)


def _zero(name: str = "VALUE", doc: str = "read-only zero") -> tuple[Field, ...]:
    return (_fixed(name, 0, XLEN, 0, doc),)


_XLEN_VALUES = {1: "32", 2: "64", 3: "128"}
_DIRTY = {0: "Off", 1: "Initial", 2: "Clean", 3: "Dirty"}
_PREVIOUS = {0: "U", 1: "S"}
_ENDIAN = {0: "little", 1: "big"}
_TVEC_MODE = {0: "Direct", 1: "Vectored"}
_SATP_MODE = {0: "Bare", 8: "Sv39", 9: "Sv48", 10: "Sv57"}
_HGATP_MODE = {0: "Bare", 8: "Sv39x4", 9: "Sv48x4", 10: "Sv57x4"}
_ROUNDING = {0: "RNE", 1: "RTZ", 2: "RDN", 3: "RUP", 4: "RMM", 7: "DYN"}
_PMM = {0: "off", 2: "PMLEN 7", 3: "PMLEN 16"}

_S_STATUS = (
    _bit("SIE", 1, "supervisor interrupts enabled, in S-mode"),
    _bit("SPIE", 5, "SIE before the trap"),
    _fixed("UBE", 6, 1, 0, "endianness of U-mode", _ENDIAN),
    _bit("SPP", 8, "mode before the trap", _PREVIOUS),
    _fixed("VS", 9, 2, 0, "state of the vector unit", _DIRTY, extension="V"),
    Field("FS", 13, 2, Kind.RW, "state of the floating-point unit", _DIRTY, extension="F"),
    _fixed("XS", 15, 2, 0, "state of further units", _DIRTY),
    _bit("SUM", 18, "S-mode may load and store in pages of U-mode"),
    _bit("MXR", 19, "loads may read pages that are executable only"),
    _fixed("SPELP", 23, 1, 0, "landing pad expected before the trap", extension="Zicfilp"),
    _fixed("SDT", 24, 1, 0, "a trap to S-mode would be a double trap", extension="Ssdbltrp"),
    _fixed("UXL", 32, 2, 2, "XLEN of U-mode", _XLEN_VALUES),
    Field("SD", 63, 1, Kind.SUMMARY, "some unit's state is Dirty"),
)


def _status(*more: Field) -> tuple[Field, ...]:
    return tuple(sorted(_S_STATUS + more, key=lambda field: field.low))


_MSTATUS = _status(
    _bit("MIE", 3, "machine interrupts enabled, in M-mode"),
    _bit("MPIE", 7, "MIE before the trap"),
    Field("MPP", 11, 2, Kind.LEGAL, "mode before the trap", {0: "U", 1: "S", 3: "M"}, legal=(0, 1, 3)),
    _bit("MPRV", 17, "loads and stores act as though in mode MPP, with V = MPV"),
    _bit("TVM", 20, "HS-mode's accesses to satp and hgatp, SFENCE.VMA, HFENCE.GVMA: illegal instruction"),
    _bit("TW", 21, "WFI below M-mode: illegal instruction"),
    _bit("TSR", 22, "SRET in HS-mode: illegal instruction"),
    _fixed("SXL", 34, 2, 2, "XLEN of S-mode", _XLEN_VALUES),
    _fixed("SBE", 36, 1, 0, "endianness of S-mode", _ENDIAN),
    _fixed("MBE", 37, 1, 0, "endianness of M-mode", _ENDIAN),
    _bit("GVA", 38, "mtval holds a guest virtual address", extension="H"),
    _bit("MPV", 39, "V before the trap", extension="H"),
    _fixed("MPELP", 41, 1, 0, "landing pad expected before the trap", extension="Zicfilp"),
    _fixed("MDT", 42, 1, 0, "a trap to M-mode would be a double trap", extension="Smdbltrp"),
)

_VGEIN = Field(
    "VGEIN", 12, 6, Kind.LEGAL, "guest external interrupt for VS-mode, at most GEILEN",
    legal=tuple(range(MAX_GEILEN + 1)), limit="geilen",
)  # fmt: skip
_HSTATUS = (
    _fixed("VSBE", 5, 1, 0, "endianness of VS-mode", _ENDIAN),
    _bit("GVA", 6, "stval holds a guest virtual address"),
    _bit("SPV", 7, "V before the trap"),
    _bit("SPVP", 8, "guest's mode before the trap; the mode that HLV and HSV act in", {0: "VU", 1: "VS"}),
    _bit("HU", 9, "U-mode may use HLV, HLVX and HSV"),
    _VGEIN,
    _bit("VTVM", 20, "VS-mode's accesses to satp, SFENCE.VMA, SINVAL.VMA: virtual instruction"),
    _bit("VTW", 21, "WFI in VS-mode: virtual instruction"),
    _bit("VTSR", 22, "SRET in VS-mode: virtual instruction"),
    _fixed("VSXL", 32, 2, 2, "XLEN of VS-mode", _XLEN_VALUES),
    Field(
        "HUPMM", 48, 2, Kind.LEGAL, "pointer masking of HLV and HSV in U-mode", _PMM, legal=(0, 2, 3), extension="Ssnpm"
    ),
)


def _envcfg(level: str, *live: str) -> tuple[Field, ...]:
    """The layout that menvcfg, henvcfg and senvcfg share; `live` are the fields that this hart implements."""
    below = {"m": "S-mode", "h": "VS-mode", "s": "U-mode"}[level]
    rows = [
        ("FIOM", 0, 1, f"fences of I/O in modes below imply memory ({below})", None, None),
        ("LPE", 2, 1, f"landing pads in {below}", None, "Zicfilp"),
        ("SSE", 3, 1, f"shadow stack in {below}", None, "Zicfiss"),
        ("CBIE", 4, 2, f"CBO.INVAL below {level.upper()}", {0: "off", 1: "flush", 3: "invalidate"}, "Zicbom"),
        ("CBCFE", 6, 1, f"CBO.CLEAN and CBO.FLUSH below {level.upper()}", None, "Zicbom"),
        ("CBZE", 7, 1, f"CBO.ZERO below {level.upper()}", None, "Zicboz"),
        ("PMM", 32, 2, f"pointer masking in {below}", _PMM, "Smnpm" if level == "m" else "Ssnpm"),
    ]
    if level != "s":
        rows.append(("DTE", 59, 1, f"double trap in {below}", None, "Ssdbltrp"))
        if level == "m":
            rows.append(("CDE", 60, 1, "counters delegated to S-mode", None, "Smcdeleg"))
        rows += [
            ("ADUE", 61, 1, f"hardware sets A and D in page tables of {below}", None, "Svadu"),
            ("PBMTE", 62, 1, f"page-based memory types in page tables of {below}", None, "Svpbmt"),
            ("STCE", 63, 1, f"{'vstimecmp' if level == 'h' else 'stimecmp'} in {below}", None, "Sstc"),
        ]
    return tuple(
        Field(
            name, low, width, Kind.FIXED if name not in live else Kind.LEGAL if values else Kind.RW, doc, values,
            legal=tuple(values or ()), extension=extension,
        )
        for name, low, width, doc, values, extension in rows
    )  # fmt: skip


def _delegation(
    table: dict[int, tuple[str, str, str]], writable: set[int], ones: tuple[int, ...] = ()
) -> tuple[Field, ...]:
    fields = []
    for code, (name, doc, _) in table.items():
        needs = (_CODES_OF_H if table is EXCEPTIONS else _INTERRUPTS_OF).get(code)
        if table is EXCEPTIONS and code == 0:
            # No jump is misaligned while instructions of 16 bits are there ("Hypervisor Trap Delegation Registers").
            fields.append(Field(name, code, 1, Kind.RW, doc, without="Zca"))
        elif code in writable:
            fields.append(_bit(name, code, doc, extension=needs))
        else:
            fields.append(_fixed(name, code, 1, int(code in ones), doc, extension=needs if code in ones else None))
    return tuple(fields)


def _interrupt_bits(
    suffix: str, codes: tuple[int, ...], writable: tuple[int, ...], shift: int = 0, driven: bool = False
) -> tuple[Field, ...]:
    """SSIP, SEIE and so on. With `shift`, VS-level interrupts under the names and codes that VS-mode knows; LCOFI has
    no other."""
    rows = []
    for code in codes:
        seen = code - shift if code in HYPERVISOR_INTERRUPTS else code
        name, doc, _ = INTERRUPTS[seen]
        kind = Kind.RW if code in writable else Kind.LIVE if driven else Kind.FIXED
        word = "pending" if suffix == "P" else "enabled"
        needs = _INTERRUPTS_OF.get(code)
        rows.append(Field(f"{name[:-1]}I{suffix}", seen, 1, kind, f"{doc} {word}", extension=needs))
    return tuple(rows)


def _tvec(mode: str) -> tuple[Field, ...]:
    return (
        Field("MODE", 0, 2, Kind.LEGAL, "where interrupts go", _TVEC_MODE, legal=(0, 1)),
        _rw("BASE", 2, 62, f"trap handler of {mode}", show="address"),
    )


def _epc(mode: str) -> tuple[Field, ...]:
    doc = f"pc of the trap into {mode}"
    return (Field("PC", 0, 64, Kind.RW, doc, show="hex", align=1, portions=(("Zca", 2),)),)


_CAUSE = (
    _rw("CODE", 0, 63, "what caused the trap", show="cause"),
    _bit("INTERRUPT", 63, "the trap was an interrupt"),
)
_TVAL = _whole("VALUE", "address or instruction bits")
_TVAL2 = _whole("VALUE", "guest-physical address, shifted right by 2")
_TINST = _whole("VALUE", "trapping instruction, transformed, or 0", "tinst")
_COUNTERS = (
    _bit("CY", 0, "cycle is readable in the mode below", extension="Zicntr"),
    _bit("TM", 1, "time is readable in the mode below", extension="Zicntr"),
    _bit("IR", 2, "instret is readable in the mode below", extension="Zicntr"),
    Field("HPM", 3, 29, Kind.RW, "hpmcounter3 .. 31 are readable in the mode below", show="hex", extension="Zihpm"),
)
_SCHEMES = (("Sv39", 8), ("Sv48", 9), ("Sv57", 10))
_SATP = (
    _rw("PPN", 0, 44, "root page table", show="page"),
    _rw("ASID", 44, 16, "address-space identifier"),
    Field(
        "MODE", 60, 4, Kind.LEGAL, "translation scheme", _SATP_MODE, legal=(0, 8, 9, 10), veto=True,
        legal_with=_SCHEMES,
    ),
)  # fmt: skip
_HGATP = (
    Field("PPN", 0, 44, Kind.RW, "root page table, 16 KiB", show="page", align=2),
    _rw("VMID", 44, 14, "virtual-machine identifier"),
    Field("MODE", 60, 4, Kind.LEGAL, "translation scheme", _HGATP_MODE, legal=(0, 8, 9, 10), legal_with=_SCHEMES),
)
_CACHE = ("CBIE", "CBCFE", "CBZE")
_MENVCFG = _envcfg("m", "FIOM", *_CACHE, "PMM", "ADUE", "PBMTE", "STCE")
_HENVCFG = _envcfg("h", "FIOM", *_CACHE, "PMM", "ADUE", "PBMTE", "STCE")
_WITHHELD = sum(field.mask for field in _HENVCFG if field.name in ("DTE", "ADUE", "PBMTE", "STCE"))


def _inhibit(extension: str) -> tuple[Field, ...]:
    return tuple(
        _bit(f"{mode}INH", bit, f"does not count in {word}-mode", extension=extension + more)
        for mode, bit, word, more in (
            ("M", 62, "M", ""), ("S", 61, "HS", ""), ("U", 60, "U", ""), ("VS", 59, "VS", " H"), ("VU", 58, "VU", " H"),
        )
    )  # fmt: skip


_EVENT = (
    Field(
        "EVENT", 0, 56, Kind.LEGAL, "what is counted", {n: doc for n, (_, doc) in EVENTS.items()}, legal=tuple(EVENTS)
    ),
    *_inhibit("Sscofpmf"),
    _bit("OF", 63, "the counter has overflowed; while set, it requests no LCOFI", extension="Sscofpmf"),
)


def _stateen(level: str, index: int) -> tuple[Field, ...]:
    """mstateen, hstateen, sstateen. Bits of what this hart has not are read-only zero, as those reserved are."""
    rows = []
    if index == 0:
        rows = [
            ("C", 0, "custom state", "custom"),
            ("FCSR", 1, "fcsr, for floating point in x registers", "Zfinx"),
            ("JVT", 2, "jvt", "Zcmt"),
        ]
    if index == 0 and level != "s":
        rows += [
            ("CTR", 54, "control transfer records", "Smctr"),
            ("CONTEXT", 57, "scontext and hcontext", "Sdtrig"),
            ("IMSIC", 58, "IMSIC", "Ssaia"),
            ("AIA", 59, "what else Ssaia adds", "Ssaia"),
            ("CSRIND", 60, "indirect CSR access", "Sscsrind"),
        ]
    if index == 0 and level == "m":
        rows += [("SRMCFG", 55, "srmcfg", "Ssqosid"), ("P1P13", 56, "hedelegh", "RV32")]
    fields = [_fixed(name, low, 1, 0, f"access below to {doc}", extension=what) for name, low, doc, what in rows]
    if level == "s":
        return tuple(fields) or _zero()
    own = f"sstateen{index}" if level == "h" else f"hstateen{index} and sstateen{index}"
    if index == 0:
        fields.append(_bit("ENVCFG", 62, f"access below to {'henvcfg and ' if level == 'm' else ''}senvcfg"))
    fields.append(_bit(f"SE{index}", 63, f"access below to {own}"))
    return tuple(sorted(fields, key=lambda field: field.low))


_FFLAGS = (
    _bit("NX", 0, "inexact"),
    _bit("UF", 1, "underflow"),
    _bit("OF", 2, "overflow"),
    _bit("DZ", 3, "divide by zero"),
    _bit("NV", 4, "invalid operation"),
)

PMPCFG = (
    _bit("R", 0, "readable"),
    _bit("W", 1, "writable"),
    _bit("X", 2, "executable"),
    _rw("A", 3, 2, "address matching", {0: "off", 1: "TOR", 2: "NA4", 3: "NAPOT"}),
    _bit("L", 7, "locked, and enforced in M-mode"),
)
"""Layout of one entry's byte in the pmpcfg registers."""

MISA_EXTENSIONS = "ABCDFHIMSU"
_MISA = (
    *(
        _fixed(
            letter, bit, 1, int(letter in MISA_EXTENSIONS), f"extension {letter}",
            extension=letter if letter in MISA_EXTENSIONS and letter not in "ISU" else None,
        )
        for bit, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    ),
    _fixed("MXL", 62, 2, 2, "XLEN of M-mode", _XLEN_VALUES),
)  # fmt: skip

# --- Registers --------------------------------------------------------------------------------------------------------

_S_CODES = (1, 5, 9)
_VS_CODES = (2, 6, 10)
_LCOFI = 13
_NEVER_BELOW_M = {0, 11, 16, 18, 19}
"""Exceptions that cannot occur below M-mode on this hart, and double trap: read-only 0 in medeleg."""
_CODES_OF_H = dict.fromkeys((10, 20, 21, 22, 23), "H")
_INTERRUPTS_OF = dict.fromkeys((2, 6, 10, SGEI), "H") | {13: "Sscofpmf"}
"""What interrupts by code need to be there."""
_HEDELEG = {*range(1, 9), 12, 13, 15, 18, 19}
"""Must be writable: section "Hypervisor Trap Delegation Registers"."""


def _was(name: str, number: int | None, *versions: str) -> tuple[Former, ...]:
    return (Former(name, number, versions),)


def _machine_registers() -> Iterator[Csr]:
    g = "machine information"
    for number, name, doc in (
        (0xF11, "mvendorid", "vendor: JEDEC manufacturer, 0: none"),
        (0xF12, "marchid", "microarchitecture, 0: none"),
        (0xF13, "mimpid", "version of the implementation, 0: none"),
    ):
        yield Csr(number, name, g, doc, _zero(doc=doc))
    yield Csr(0xF14, "mhartid", g, "hart identifier", (_live("ID", 0, "hart index", XLEN),), read="csr_read_mhartid")
    doc = "address of a configuration structure, 0: none"
    yield Csr(0xF15, "mconfigptr", g, doc, _zero("ADDRESS", doc), since="1.12")

    g = "machine trap setup"
    yield Csr(0x300, "mstatus", g, "machine status", _MSTATUS, storage="mstatus", after="hart_context_changed")
    yield Csr(0x301, "misa", g, "base ISA and extensions", _MISA)
    bits = _delegation(EXCEPTIONS, set(EXCEPTIONS) - _NEVER_BELOW_M)
    yield Csr(0x302, "medeleg", g, "exceptions delegated to HS-mode", bits, storage="medeleg")
    bits = tuple(
        replace(field, kind=Kind.LIVE, doc=f"{field.doc}; 1 where GEILEN is not 0", extension="H")
        if field.low == SGEI
        else field
        for field in _delegation(INTERRUPTS, {*_S_CODES, _LCOFI}, HYPERVISOR_INTERRUPTS)
    )
    yield Csr(
        0x303, "mideleg", g, "interrupts delegated to HS-mode", bits, storage="mideleg", after="csr_after_mideleg"
    )
    bits = _interrupt_bits("E", tuple(INTERRUPTS), tuple(INTERRUPTS))
    yield Csr(
        0x304, "mie", g, "interrupts enabled", bits, storage="mie",
        gate=Gate("mideleg", 1 << SGEI),
    )
    yield Csr(0x305, "mtvec", g, "trap handler of M-mode", _tvec("M-mode"), storage="mtvec")
    doc = "counters readable below M-mode"
    yield Csr(0x306, "mcounteren", g, doc, _COUNTERS, storage="mcounteren", since="1.10")

    g = "machine trap handling"
    yield Csr(0x340, "mscratch", g, "scratch of M-mode", _whole("VALUE", "for software"), storage="mscratch")
    yield Csr(0x341, "mepc", g, "pc of the trap into M-mode", _epc("M-mode"), storage="mepc")
    yield Csr(0x342, "mcause", g, "cause of the trap into M-mode", _CAUSE, storage="mcause")
    was = _was("mbadaddr", 0x343, "1.9.1")
    yield Csr(0x343, "mtval", g, "value of the trap into M-mode", _TVAL, storage="mtval", former=was)
    # SEIP, STIP and SSIP are stored: the bits that software writes. STIP is read-only while menvcfg.STCE is 1.
    bits = _interrupt_bits("P", tuple(INTERRUPTS), (1, 2, 5, 9, _LCOFI), driven=True)
    yield Csr(
        0x344, "mip", g, "interrupts pending", bits, storage="mip", read="csr_read_mip", write="csr_write_mip"
    )
    yield Csr(
        0x34A, "mtinst", g, "instruction of the trap into M-mode", _TINST, extension="H", since="1.12", h_since="h0.5",
        storage="mtinst",
    )
    yield Csr(
        0x34B, "mtval2", g, "second value of the trap into M-mode", _TVAL2, extension="H", since="1.12",
        h_since="h0.5", storage="mtval2", former=_was("mvtval", None, "h0.1"),
    )

    g = "machine configuration"
    doc = "environment of the modes below M"
    yield Csr(
        0x30A, "menvcfg", g, doc, _MENVCFG, since="1.12", storage="menvcfg", after="csr_after_menvcfg"
    )
    bits = (
        _bit("MML", 0, "M-mode lockdown: PMP's L divides the modes; cannot be cleared", extension="Smepmp"),
        _bit("MMWP", 1, "M-mode needs a PMP entry for every access; cannot be cleared", extension="Smepmp"),
        _bit("RLB", 2, "locked PMP entries may be written; stays 0 once an entry is locked", extension="Smepmp"),
        _fixed("USEED", 8, 1, 0, "U-mode may read `seed`", extension="Zkr"),
        _fixed("SSEED", 9, 1, 0, "S-mode may read `seed`", extension="Zkr"),
        _fixed("MLPE", 10, 1, 0, "landing pads in M-mode", extension="Zicfilp"),
        Field("PMM", 32, 2, Kind.LEGAL, "pointer masking in M-mode", _PMM, legal=(0, 2, 3), extension="Smmpm"),
    )
    yield Csr(
        0x747, "mseccfg", g, "machine security", bits, extension="Smepmp|Smmpm", since="1.12", storage="mseccfg",
        write="csr_write_mseccfg", after="csr_after_mseccfg",
    )


def _supervisor_registers() -> Iterator[Csr]:
    g = "supervisor trap setup"
    yield Csr(0x100, "sstatus", g, "supervisor status", _S_STATUS, view=View("mstatus"), v_alias="vsstatus")
    view = View("mie", gates=("mideleg",))
    codes = (*_S_CODES, _LCOFI)
    bits = _interrupt_bits("E", codes, codes)
    yield Csr(0x104, "sie", g, "interrupts enabled at HS-level", bits, view=view, v_alias="vsie")
    yield Csr(0x105, "stvec", g, "trap handler of HS-mode", _tvec("HS-mode"), storage="stvec", v_alias="vstvec")
    yield Csr(0x106, "scounteren", g, "counters readable in U-mode", _COUNTERS, storage="scounteren", since="1.10")

    g = "supervisor configuration"
    bits = _envcfg("s", "FIOM", *_CACHE, "PMM")
    yield Csr(
        0x10A, "senvcfg", g, "environment of U-mode", bits, since="1.12", storage="senvcfg", guard="envcfg",
        after="hart_context_changed",
    )

    g = "supervisor trap handling"
    bits = _whole("VALUE", "for software")
    yield Csr(0x140, "sscratch", g, "scratch of HS-mode", bits, storage="sscratch", v_alias="vsscratch")
    yield Csr(0x141, "sepc", g, "pc of the trap into HS-mode", _epc("HS-mode"), storage="sepc", v_alias="vsepc")
    yield Csr(0x142, "scause", g, "cause of the trap into HS-mode", _CAUSE, storage="scause", v_alias="vscause")
    yield Csr(
        0x143, "stval", g, "value of the trap into HS-mode", _TVAL, storage="stval", v_alias="vstval",
        former=_was("sbadaddr", 0x143, "1.9.1"),
    )
    view = View("mip", gates=("mideleg",))
    bits = _interrupt_bits("P", codes, (1, _LCOFI), driven=True)
    yield Csr(0x144, "sip", g, "interrupts pending at HS-level", bits, view=view, v_alias="vsip")
    doc = "when `time` reaches it, STI becomes pending"
    yield Csr(
        0x14D, "stimecmp", g, doc, _whole("TIME", doc, reset=(1 << XLEN) - 1), extension="Sstc", since="1.12",
        storage="stimecmp", v_alias="vstimecmp", guard="stimecmp",
    )

    g = "supervisor translation"
    yield Csr(
        0x180, "satp", g, "address translation of HS-mode and U-mode", _SATP, storage="satp", v_alias="vsatp",
        guard="satp", after="hart_context_changed", former=_was("sptbr", 0x180, "1.9.1"),
    )


def _hypervisor_registers() -> Iterator[Csr]:
    def row(number: int, name: str, doc: str, fields: tuple[Field, ...], h_since: str, **more: Any) -> Csr:
        return Csr(number, name, g, doc, fields, extension="H", since="1.12", h_since=h_since, **more)

    g = "hypervisor trap setup"
    yield row(
        0x600, "hstatus", "hypervisor status", _HSTATUS, "h0.1", storage="hstatus", after="hart_context_changed",
        former=_was("hstatus", None, "h0.1") + _was("hstatus", 0xA00, "h0.2", "h0.3"),
    )
    yield row(
        0x602, "hedeleg", "exceptions delegated to VS-mode", _delegation(EXCEPTIONS, _HEDELEG), "h0.2",
        storage="hedeleg", former=_was("hedeleg", 0xA02, "h0.2", "h0.3"),
    )
    bits = tuple(
        replace(field, extension="Shlcofideleg") if field.low == _LCOFI else field
        for field in _delegation(INTERRUPTS, {*_VS_CODES, _LCOFI})
    )
    yield row(
        0x603, "hideleg", "interrupts delegated to VS-mode", bits, "h0.2",
        storage="hideleg", former=_was("hideleg", 0xA03, "h0.2", "h0.3"), gate=Gate("mideleg", 1 << _LCOFI),
    )
    bits = _interrupt_bits("E", (*_VS_CODES, SGEI), (*_VS_CODES, SGEI))
    yield row(0x604, "hie", "VS-level interrupts enabled", bits, "h0.5", view=View("mie"))
    yield row(0x606, "hcounteren", "counters readable when V=1", _COUNTERS, "h0.4", storage="hcounteren")
    doc = "guest external interrupts that raise SGEI"
    bits = (_rw("GUESTS", 1, MAX_GEILEN, f"{doc}: 1 to GEILEN", show="hex"),)
    yield row(0x607, "hgeie", doc, bits, "h0.5+", storage="hgeie", write="csr_write_hgeie")

    g = "hypervisor trap handling"
    yield row(
        0x643, "htval", "second value of the trap into HS-mode", _TVAL2, "h0.5", storage="htval",
        former=_was("hvtval", None, "h0.1"),
    )
    bits = _interrupt_bits("P", (*_VS_CODES, SGEI), (2,), driven=True)
    yield row(0x644, "hip", "VS-level interrupts pending", bits, "h0.5", view=View("mip"))
    bits = _interrupt_bits("P", _VS_CODES, _VS_CODES)
    yield row(0x645, "hvip", "interrupts that the hypervisor injects into VS-mode", bits, "h0.6", storage="hvip")
    yield row(0x64A, "htinst", "instruction of the trap into HS-mode", _TINST, "h0.5", storage="htinst")
    doc = "guest external interrupts pending"
    yield row(
        0xE12, "hgeip", doc, (_live("GUESTS", 0, doc, XLEN, "hex"),), "h0.5+", read="csr_read_hgeip",
        former=_was("hgeip", 0xE07, "h0.5+"),
    )

    g = "hypervisor configuration"
    yield row(
        0x60A, "henvcfg", "environment when V=1", _HENVCFG, "h1.0", storage="henvcfg",
        gate=Gate("menvcfg", _WITHHELD), after="hart_context_changed", guard="envcfg",
    )
    doc = "what VS-mode's time is ahead of `time`, modulo 2^64"
    yield row(0x605, "htimedelta", doc, _whole("DELTA", doc), "h0.4+", storage="htimedelta")

    g = "hypervisor translation"
    yield row(
        0x680, "hgatp", "G-stage address translation", _HGATP, "h0.2", storage="hgatp", guard="hgatp",
        after="hart_context_changed", former=_was("hgatp", 0xA80, "h0.2", "h0.3"),
    )


def _virtual_supervisor_registers() -> Iterator[Csr]:
    def row(number: int, name: str, doc: str, fields: tuple[Field, ...], **more: Any) -> Csr:
        # Up to draft 0.3 these were background CSRs, bs*; the text of 0.1 publishes no numbers.
        background = "b" + name[1:]
        former = _was(background, None, "h0.1") + _was(background, number, "h0.2", "h0.3")
        more = {"former": former, "extension": "H", "h_since": "h0.1"} | more
        return Csr(number, name, "virtual supervisor", doc, fields, since="1.12", **more)

    yield row(
        0x200, "vsstatus", "supervisor status of VS-mode", _S_STATUS, storage="vsstatus", after="hart_context_changed"
    )
    # Shlcofideleg: LCOFIP and LCOFIE are those of sip and sie, which mideleg shows.
    codes = (*_VS_CODES, _LCOFI)
    gates = ("hideleg",)  # where mideleg has a bit zero, hideleg has
    bits = _interrupt_bits("E", codes, codes, shift=1)
    view = View("mie", 1, gates, unmoved=1 << _LCOFI)
    yield row(0x204, "vsie", "interrupts enabled in VS-mode", bits, view=view)
    yield row(0x205, "vstvec", "trap handler of VS-mode", _tvec("VS-mode"), storage="vstvec")
    yield row(0x240, "vsscratch", "scratch of VS-mode", _whole("VALUE", "for software"), storage="vsscratch")
    yield row(0x241, "vsepc", "pc of the trap into VS-mode", _epc("VS-mode"), storage="vsepc")
    yield row(0x242, "vscause", "cause of the trap into VS-mode", _CAUSE, storage="vscause")
    yield row(0x243, "vstval", "value of the trap into VS-mode", _TVAL, storage="vstval")
    bits = _interrupt_bits("P", codes, (2, _LCOFI), shift=1, driven=True)
    view = View("mip", 1, gates, unmoved=1 << _LCOFI)
    yield row(0x244, "vsip", "interrupts pending in VS-mode", bits, view=view)
    doc = "when `time` + htimedelta reaches it, VSTI becomes pending"
    yield row(
        0x24D, "vstimecmp", doc, _whole("TIME", doc, reset=(1 << XLEN) - 1), storage="vstimecmp", guard="vstimecmp",
        former=(), extension="Sstc H", h_since="h1.0",
    )
    yield row(0x280, "vsatp", "VS-stage address translation", _SATP, storage="vsatp", after="hart_context_changed")


def _user_registers() -> Iterator[Csr]:
    bits: tuple[Field, ...]
    g = "float"
    frm = _rw("FRM", 0, 3, "rounding mode", _ROUNDING)
    yield Csr(0x001, "fflags", g, "floating-point exceptions", _FFLAGS, extension="F", view=View("fcsr"), guard="float")
    yield Csr(0x002, "frm", g, "rounding mode", (frm,), extension="F", view=View("fcsr", shift=5), guard="float")
    bits = (*_FFLAGS, _rw("FRM", 5, 3, frm.doc, _ROUNDING))
    yield Csr(
        0x003, "fcsr", g, "floating-point control and status", bits, extension="F", storage="fcsr", guard="float",
        after="csr_after_fcsr",
    )

    # Counters that count by the clock are stored as what is added to it; see counters.c.
    g = "counters"
    doc = "cycles: instructions, and those slept in WFI"
    yield Csr(
        0xB00, "mcycle", g, doc, _whole("COUNT", doc, ""), storage="mcycle", read="csr_read_counter",
        write="csr_write_counter",
    )
    doc = "instructions retired"
    yield Csr(
        0xB02, "minstret", g, doc, _whole("COUNT", doc, ""), storage="minstret", read="csr_read_counter",
        write="csr_write_counter",
    )
    bits = (
        _bit("CY", 0, "mcycle stands still"),
        _bit("IR", 2, "minstret stands still"),
        _rw("HPM", 3, 29, "mhpmcounter3 .. 31 stand still", show="hex"),
    )
    yield Csr(
        0x320, "mcountinhibit", g, "counters that stand still", bits, since="1.11", storage="mcountinhibit",
        write="csr_write_counter_setup",
    )
    for number, name in ((0x321, "mcyclecfg"), (0x322, "minstretcfg")):
        yield Csr(
            number, name, g, f"modes that {name[:-3]} does not count", _inhibit("Smcntrpmf"), extension="Smcntrpmf",
            since="1.13", storage=name, write="csr_write_counter_setup",
        )  # fmt: skip
    bits = (_live("COUNT", 0, "read-only shadow", XLEN),)
    zicntr: dict[str, Any] = {"extension": "Zicntr", "guard": "counter"}
    yield Csr(0xC00, "cycle", g, "shadow of mcycle", bits, view=View("mcycle"), **zicntr)
    doc = "the timer; when V=1, plus htimedelta"
    yield Csr(0xC01, "time", g, doc, (_live("TIME", 0, "ticks", XLEN),), read="csr_read_time", **zicntr)
    yield Csr(0xC02, "instret", g, "shadow of minstret", bits, view=View("minstret"), **zicntr)

    g = "performance counters"
    doc = "OF of mhpmevent3 .. 31; below M-mode, of counters that the mode may read"
    yield Csr(
        0xDA0, "scountovf", g, doc, (_live("OF", 3, doc, 29, "hex"),), extension="Sscofpmf", since="1.12",
        read="csr_read_scountovf",
    )  # fmt: skip
    for i in range(FIRST_COUNTER, FIRST_COUNTER + COUNTERS):
        doc = f"counter {i}"
        yield Csr(
            0xB00 + i, f"mhpmcounter{i}", g, doc, _whole("COUNT", doc, ""), storage="mhpmcounter",
            slot=i - FIRST_COUNTER, read="csr_read_counter", write="csr_write_counter",
        )  # fmt: skip
        yield Csr(
            0x320 + i, f"mhpmevent{i}", g, f"what counter {i} counts", _EVENT, storage="mhpmevent",
            slot=i - FIRST_COUNTER, write="csr_write_counter_setup",
        )  # fmt: skip
        yield Csr(0xC00 + i, f"hpmcounter{i}", g, f"shadow of mhpmcounter{i}", bits, view=View(f"mhpmcounter{i}"),
                  extension="Zihpm", guard="counter")  # fmt: skip


def _state_enable_registers() -> Iterator[Csr]:
    """Sections "State Enable Extensions" and "State Enable 0 Registers" of Smstateen."""

    def row(first: int, level: str, i: int, doc: str, **more: Any) -> Csr:
        name = f"{level}stateen{i}"
        fields = _stateen(level, i)
        # Without the register nothing is withheld.
        absent = sum(field.write_mask for field in fields)
        return Csr(first + i, name, "state enables", doc, fields, since="1.12", absent=absent, **more)

    for i in range(4):
        yield row(
            0x30C, "m", i, "state that modes below M may use", extension="Smstateen", storage="mstateen", slot=i,
            after="csr_after_mstateen",
        )  # fmt: skip
    for i in range(4):
        yield row(
            0x60C, "h", i, "state that V=1 may use", extension="Ssstateen H", h_since="h1.0",
            storage="hstateen", slot=i, gate=Gate(f"mstateen{i}", (1 << XLEN) - 1), guard="stateen",
        )  # fmt: skip
    for i in range(4):
        yield row(0x10C, "s", i, "state that U-mode may use", extension="Ssstateen", guard="stateen")


def _protection_registers() -> Iterator[Csr]:
    def row(number: int, name: str, doc: str, fields: tuple[Field, ...], array: str, slot: int) -> Csr:
        if slot >= PMP_ENTRIES:
            return Csr(number, name, "pmp", doc, fields, since="1.10")
        return Csr(
            number, name, "pmp", doc, fields, since="1.10", storage=array, slot=slot, read=f"csr_read_{array}",
            write=f"csr_write_{array}", after="hart_pmp_changed",
        )

    for i in range(0, 16, 2):
        entries = range(i * 4, i * 4 + 8)
        kind = Kind.RW if entries.stop <= PMP_ENTRIES else Kind.FIXED
        fields = tuple(Field(f"PMP{e}CFG", e % 8 * 8, 8, kind, f"entry {e}", show="pmp") for e in entries)
        doc = f"configuration of PMP entries {entries.start} to {entries.stop - 1}"
        yield row(0x3A0 + i, f"pmpcfg{i}", doc, fields, "pmpcfg", entries.start)
    for i in range(64):
        kind = Kind.RW if i < PMP_ENTRIES else Kind.FIXED
        field = Field("ADDRESS", 0, 54, kind, "bits 55:2 of an address", show="hex")
        yield row(0x3B0 + i, f"pmpaddr{i}", f"address of PMP entry {i}", (field,), "pmpaddr", i)


def _debug_registers() -> Iterator[Csr]:
    bits: tuple[Field, ...]
    g = "debug"
    yield Csr(0x7A0, "tselect", g, "selected trigger; there is none", _zero("INDEX"))
    bits = (_fixed("DATA", 0, 60, 0, "depends on the type"), _fixed("TYPE", 60, 4, 0, "kind of trigger", {0: "none"}))
    yield Csr(0x7A1, "tdata1", g, "trigger configuration", bits)
    yield Csr(0x7A2, "tdata2", g, "trigger data", _zero())
    yield Csr(0x7A3, "tdata3", g, "trigger data", _zero())
    bits = (_fixed("INFO", 0, 16, 1, "types that the trigger can take; bit 0: no trigger here", show="hex"),)
    yield Csr(0x7A4, "tinfo", g, "trigger types", bits, since="1.13")
    yield Csr(0x7A5, "tcontrol", g, "trigger control", _zero(), since="1.13")


CSRS: tuple[Csr, ...] = (
    *_machine_registers(),
    *_supervisor_registers(),
    *_hypervisor_registers(),
    *_virtual_supervisor_registers(),
    *_user_registers(),
    *_state_enable_registers(),
    *_protection_registers(),
    *_debug_registers(),
)
"""Every register of this hart, by group."""

HISTORICAL: tuple[Csr, ...] = (
    Csr(0x320, "mucounteren", "counters", "counters readable in U-mode", since="1.9.1", removed="1.10"),
    Csr(0x321, "mscounteren", "counters", "counters readable in S-mode", since="1.9.1", removed="1.10"),
    Csr(0x322, "mhcounteren", "counters", "counters readable in H-mode", since="1.9.1", removed="1.10"),
    Csr(0x380, "mbase", "machine protection", "base register", since="1.9.1", removed="1.10"),
    Csr(0x381, "mbound", "machine protection", "bound register", since="1.9.1", removed="1.10"),
    Csr(0x382, "mibase", "machine protection", "instruction base register", since="1.9.1", removed="1.10"),
    Csr(0x383, "mibound", "machine protection", "instruction bound register", since="1.9.1", removed="1.10"),
    Csr(0x384, "mdbase", "machine protection", "data base register", since="1.9.1", removed="1.10"),
    Csr(0x385, "mdbound", "machine protection", "data bound register", since="1.9.1", removed="1.10"),
)
"""Registers that later versions dropped and that this hart does not have."""

BY_NAME: dict[str, Csr] = {csr.name: csr for csr in CSRS}
BY_NUMBER: dict[int, Csr] = {csr.number: csr for csr in CSRS}
GROUPS: dict[str, tuple[Csr, ...]] = {
    group: tuple(csr for csr in CSRS if csr.group == group) for group in dict.fromkeys(csr.group for csr in CSRS)
}
"""Registers by group, in the order of display."""

_SUPERVISOR_TWIN: dict[str, Csr] = {csr.v_alias: csr for csr in CSRS if csr.v_alias is not None}


@dataclass(frozen=True)
class Storage:
    """A member of `csr_state`: `count` elements of the C type `type`; a scalar when count is 0."""

    name: str
    type: str
    count: int = 0


_ARRAYS = {
    "pmpcfg": Storage("pmpcfg", "uint8_t", PMP_ENTRIES),
    "pmpaddr": Storage("pmpaddr", "uint64_t", PMP_ENTRIES),
    "mstateen": Storage("mstateen", "uint64_t", 4),
    "hstateen": Storage("hstateen", "uint64_t", 4),
    "mhpmcounter": Storage("mhpmcounter", "uint64_t", COUNTERS),
    "mhpmevent": Storage("mhpmevent", "uint64_t", COUNTERS),
}

STORAGE: tuple[Storage, ...] = tuple(
    _ARRAYS.get(name) or Storage(name, "uint64_t")
    for name in dict.fromkeys(csr.storage for csr in CSRS if csr.storage is not None)
)
"""What a hart keeps behind its CSRs, in the order of `csr_state`."""

# --- Former layouts ---------------------------------------------------------------------------------------------------


def _draft(**bits: int) -> tuple[Field, ...]:
    """Fields of a draft by name: a bit, or VSXL and VGEIN with their widths."""
    widths = {"VSXL": 2, "VGEIN": 6}
    docs = {field.name: field.doc for field in _HSTATUS + _MSTATUS} | {
        "SPRV": "loads and stores below M-mode act as though V = SPV, in mode SPP",
        "SP2V": "SPV before the trap before",
        "SP2P": "SPP before the trap before",
        "STL": "the fault came from the second stage of translation",
        "MTL": "the fault came from the second stage of translation",
    }
    rows = [Field(name, low, widths.get(name, 1), Kind.RW, docs[name]) for name, low in bits.items()]
    return tuple(sorted(rows, key=lambda field: field.low))


def _mstatus_draft(**bits: int) -> tuple[Field, ...]:
    # Fields of later extensions came after these drafts.
    kept = tuple(field for field in _MSTATUS if field.name not in ("MPV", "GVA") and not field.later)
    return tuple(sorted(kept + _draft(**bits), key=lambda field: field.low))


_HSTATUS_03 = _draft(SPRV=0, STL=6, SPV=7, SP2P=8, SP2V=9, VTVM=20, VTSR=22)
_HSTATUS_05 = _draft(SPRV=0, VSBE=5, SPV=7, SP2P=8, SP2V=9, VTVM=20, VTSR=22, VSXL=32)

FORMER_FIELDS: dict[str, dict[str, tuple[Field, ...]]] = {
    "hstatus": {
        "h0.1": _draft(STL=9, SPV=10, SPRV=17, VTVM=20, VTW=21, VTSR=22),
        "h0.2": _draft(SPRV=0, SP2V=7, SP2P=8, STL=9, SPV=10, VTVM=20, VTW=21, VTSR=22),
        "h0.3": _HSTATUS_03,
        "h0.4": _HSTATUS_03,
        "h0.4+": _draft(SPRV=0, VSBE=5, STL=6, SPV=7, SP2P=8, SP2V=9, VTVM=20, VTSR=22, VSXL=32),
        "h0.5": _HSTATUS_05,
        "h0.5+": _draft(SPRV=0, VSBE=5, SPV=7, SP2P=8, SP2V=9, VGEIN=12, VTVM=20, VTSR=22, VSXL=32),
        "h0.6": _draft(VSBE=5, GVA=6, SPV=7, SPVP=8, HU=9, VGEIN=12, VTVM=20, VTSR=22, VSXL=32),
        "h0.6.1": _draft(VSBE=5, GVA=6, SPV=7, SPVP=8, HU=9, VGEIN=12, VTVM=20, VTW=21, VTSR=22, VSXL=32),
    },
    "mstatus": {
        "h0.1": _mstatus_draft(MTL=9, MPV=10),
        "h0.2": _mstatus_draft(MTL=9, MPV=10),
        "h0.3": _mstatus_draft(MTL=38, MPV=39),
        "h0.4": _mstatus_draft(MTL=38, MPV=39),
        "h0.4+": _mstatus_draft(MTL=38, MPV=39),
        "h0.5": _mstatus_draft(MPV=39),
        "h0.5+": _mstatus_draft(MPV=39),
    },
}
"""Layouts by register and version, where they were not today's."""


def present_in(version: str) -> list[tuple[str, int | None, Csr]]:
    """Name, number and register of everything that a version has, ordered by number; unnumbered ones last.

    `version` is one of VERSIONS. H registers belong to the privileged architecture from 1.12 on.
    """
    rows = [(*found, csr) for csr in (*CSRS, *HISTORICAL) for found in [csr.in_version(version)] if found is not None]
    return sorted(rows, key=lambda row: (row[1] is None, row[1] or 0, row[0]))
