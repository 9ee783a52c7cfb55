"""Why a trap went where it went, and what its entry wrote by which rule: all from what the hart noted when it took it.

Section names are those of the privileged manual; where none is said of whose, of its hypervisor chapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from emulator.errors import ConfigurationError
from emulator.hart import Access, Mode, TrapEntry, TrapRecord
from emulator.isa import csrs
from emulator.isa.decoder import decode

ENTRY = "Trap Entry"
M_DELEGATION = "Machine Trap Delegation (medeleg and mideleg) Registers"
H_DELEGATION = "Hypervisor Trap Delegation (hedeleg and hideleg) Registers"
ENABLES = "Machine Interrupt (mip and mie) Registers"
STACK = "Privilege and Global Interrupt-Enable Stack in mstatus register"
HSTATUS = "Hypervisor Status (hstatus) Register"
VECTORS = {
    Mode.M: "Machine Trap-Vector Base-Address (mtvec) Register",
    Mode.HS: "Supervisor Trap Vector Base Address (stvec) Register",
    Mode.VS: "Virtual Supervisor Trap Vector Base Address (vstvec) Register",
}
PREFIX = {Mode.M: "m", Mode.HS: "s", Mode.VS: "vs"}
"""What the registers of a trap begin with, by the mode that takes it."""

ACCESSES = {
    0: Access.FETCH, 1: Access.FETCH, 12: Access.FETCH, 20: Access.FETCH, 4: Access.LOAD, 5: Access.LOAD,
    13: Access.LOAD, 21: Access.LOAD, 6: Access.STORE, 7: Access.STORE, 15: Access.STORE, 23: Access.STORE,
}  # fmt: skip
"""Exceptions of an access to memory: xtval is the address."""
GUEST_PAGE_FAULTS = (20, 21, 23)
_INSTRUCTIONS = (2, 22)
_BREAKPOINT, _LCOFI = 3, 13

_FIELDS = {
    Mode.M: (
        ("mstatus", "MPP", "mode before the trap", "Machine Status (mstatus and mstatush) Registers"),
        ("mstatus", "MPV", "V before the trap", "Machine Status (mstatus and mstatush) Registers"),
        ("mstatus", "GVA", "mtval is an address of a guest", "Machine Status (mstatus and mstatush) Registers"),
        ("mstatus", "MPIE", "MIE as it was", STACK),
        ("mstatus", "MIE", "0: no M-level interrupt in M until MRET", STACK),
    ),
    Mode.HS: (
        ("hstatus", "SPV", "V before the trap", HSTATUS),
        ("hstatus", "SPVP", "the guest's mode before the trap", HSTATUS),
        ("hstatus", "GVA", "stval is an address of a guest", HSTATUS),
        ("sstatus", "SPP", "mode before the trap", ENTRY),
        ("sstatus", "SPIE", "SIE as it was", STACK),
        ("sstatus", "SIE", "0: no HS-level interrupt in HS until SRET", STACK),
    ),
    Mode.VS: (
        ("vsstatus", "SPP", "mode before the trap", "Virtual Supervisor Status (vsstatus) Register"),
        ("vsstatus", "SPIE", "SIE as it was", STACK),
        ("vsstatus", "SIE", "0: no VS-level interrupt in VS until SRET", STACK),
    ),
}
_OWNERS = {Mode.M: "Machine", Mode.HS: "Supervisor", Mode.VS: "Virtual Supervisor"}
_SECOND = {
    Mode.M: ("mtval2", "Machine Second Trap Value (mtval2) Register", "mtinst"),
    Mode.HS: ("htval", "Hypervisor Trap Value (htval) Register", "htinst"),
}
_TINST = "Transformed Instruction or Pseudoinstruction for mtinst or htinst"


@dataclass(frozen=True)
class Stop:
    """One thing that was asked on a trap's way: a bit of a CSR, and the answer. `mode`: whose bit decides there."""

    mode: Mode | None
    what: str
    value: int | None
    """None: nothing is asked."""
    says: str
    section: str

    @property
    def text(self) -> str:
        return self.what if self.value is None else f"{self.what}={self.value}"


@dataclass(frozen=True)
class Change:
    """What a trap wrote to a CSR, or to a field of one. `before` is known of fields only."""

    register: str
    field: str
    before: int | None
    after: int
    rule: str
    section: str
    meaning: str = ""
    address: bool = False
    """It is one where something can have a name."""

    @property
    def name(self) -> str:
        return f"{self.register}.{self.field}" if self.field else self.register


def bit_of(trap: TrapRecord) -> int:
    """The trap's bit in the delegation registers, and of an interrupt in mip: VS-mode sees VS-level interrupts under
    other codes."""
    renamed = trap.interrupt and trap.to_mode is Mode.VS and trap.cause != _LCOFI
    return trap.cause + 1 if renamed else trap.cause


def route(trap: TrapRecord) -> tuple[Stop, ...]:
    """What decided who takes the trap, in the order of section "Trap Entry"; empty where it is not known."""
    return () if trap.entry is None else tuple(_route(trap, trap.entry))


def _route(trap: TrapRecord, entry: TrapEntry) -> Iterator[Stop]:
    bit, origin = bit_of(trap), trap.from_mode
    first, second = ("mideleg", "hideleg") if trap.interrupt else ("medeleg", "hedeleg")
    if trap.interrupt:
        yield Stop(None, f"mip.{bit}", entry.pending >> bit & 1, "pending", ENABLES)
        yield Stop(None, f"mie.{bit}", entry.enabled >> bit & 1, "enabled", ENABLES)
    if origin is Mode.M and not trap.interrupt:
        yield Stop(Mode.M, f"{first}.{bit}", None, "not asked: M-mode passes nothing on", M_DELEGATION)
    else:
        delegated = entry.delegated[0] >> bit & 1
        yield Stop(Mode.M, f"{first}.{bit}", delegated, "M passes it on" if delegated else "M keeps it", M_DELEGATION)
        if delegated and origin.virtual:
            further = entry.delegated[1] >> bit & 1
            says = "HS passes it on" if further else "HS keeps it"
            yield Stop(Mode.HS, f"{second}.{bit}", further, says, H_DELEGATION)
        elif delegated:
            yield Stop(Mode.HS, f"{second}.{bit}", None, "not asked: V=0", ENTRY)
    if trap.interrupt:
        yield _gate(trap, entry)


def _gate(trap: TrapRecord, entry: TrapEntry) -> Stop:
    """The global enable, which counts in the mode itself only."""
    target = trap.to_mode
    section = ENABLES if target is Mode.M else ENTRY
    if trap.from_mode is not target:
        return Stop(target, f"{target.label}-level", None, f"always enabled below {target.label}-mode", section)
    name = {Mode.M: "mstatus.MIE", Mode.HS: "sstatus.SIE", Mode.VS: "vsstatus.SIE"}[target]
    register, field = ("mstatus" if target is not Mode.VS else "vsstatus"), name.split(".")[1]
    value = csrs.BY_NAME[register].field(field).extract(entry.status[0])
    return Stop(target, name, value, f"enabled in {target.label}-mode", section)


def reason(trap: TrapRecord) -> str:
    """In one line: "taken in HS because hedeleg.12=0"."""
    taken = f"taken in {trap.to_mode.label}"
    stops = [stop for stop in route(trap) if stop.what[1:].startswith(("edeleg", "ideleg"))]
    if not stops:
        return f"{taken}; what decided was not noted: it was before the snapshot"
    decisive = [stop for stop in stops if stop.value is not None]
    if not decisive:
        return f"{taken} because M-mode delegates no trap of its own"
    last = f"{taken} because {decisive[-1].text}"
    return last + (", and V=0" if stops[-1].value is None else "")


def access_of(trap: TrapRecord) -> tuple[int, Access, Mode] | None:
    """(address, access, the mode that it was made as) of an access that failed; None for all other traps.

    "Memory Privilege in mstatus Register": MPRV makes data accesses in M as MPP and MPV say. An address of a guest with
    V=0 is that of HLV, HLVX or HSV, which act as SPVP says ("Hypervisor Virtual-Machine Load and Store Instructions").
    """
    access = None if trap.interrupt else ACCESSES.get(trap.cause)
    if access is None:
        return None
    mode = trap.from_mode
    if trap.entry is not None and not mode.virtual:
        status = csrs.BY_NAME["mstatus"]
        fields = {name: status.field(name).extract(trap.entry.status[0]) for name in ("MPRV", "MPP", "MPV")}
        if _guest_address(trap, trap.entry) and not (mode is Mode.M and fields["MPRV"]):
            spvp = csrs.BY_NAME["hstatus"].field("SPVP").extract(trap.entry.hstatus[0])
            mode = Mode.VS if spvp else Mode.VU
        elif mode is Mode.M and fields["MPRV"] and access is not Access.FETCH:
            mode = Mode.of(fields["MPP"], bool(fields["MPV"]))
    return trap.tval, access, mode


def _guest_address(trap: TrapRecord, entry: TrapEntry) -> bool:
    if trap.to_mode is Mode.M:
        return bool(csrs.BY_NAME["mstatus"].field("GVA").extract(entry.status[1]))
    return trap.to_mode is Mode.HS and bool(csrs.BY_NAME["hstatus"].field("GVA").extract(entry.hstatus[1]))


def value_meaning(trap: TrapRecord) -> str:
    """What xtval holds: "sd a0, 0(a1)" for the bits of an instruction, and so on."""
    if trap.interrupt or (trap.cause not in ACCESSES and trap.cause not in (*_INSTRUCTIONS, _BREAKPOINT)):
        return "0: nothing to say of this cause"
    if trap.cause in _INSTRUCTIONS:
        decoded = decode(trap.tval)
        return decoded.text if decoded is not None else "no instruction"
    if trap.cause == _BREAKPOINT:
        return "address of the breakpoint"
    return f"address of the {ACCESSES[trap.cause].name.lower()}"


def guest_physical(trap: TrapRecord) -> int | None:
    """The guest-physical address of a guest-page fault: xtval2 leaves out two bits, which are those of xtval, unless
    the address is that of a page-table entry. Section "Hypervisor Trap Value (htval) Register"."""
    if trap.interrupt or trap.cause not in GUEST_PAGE_FAULTS or trap.entry is None or not trap.entry.tval2:
        return None
    return trap.entry.tval2 << 2 | (0 if trap.entry.tinst in csrs.PSEUDO_INSTRUCTIONS else trap.tval & 3)


def changes(trap: TrapRecord, hypervisor: bool = True) -> tuple[Change, ...]:
    """What each CSR received, and by which rule; empty where it is not known. `hypervisor`: the hart has H."""
    if trap.entry is None:
        return ()
    return tuple(c for c in _changes(trap, trap.entry) if hypervisor or not _is_of_h(c))


def _is_of_h(change: Change) -> bool:
    register = csrs.BY_NAME[change.register]
    own = (register.extension, register.field(change.field).extension if change.field else None)
    return "H" in own or change.register == "hstatus"


def _changes(trap: TrapRecord, entry: TrapEntry) -> Iterator[Change]:
    target = trap.to_mode
    prefix, owner = PREFIX[target], _OWNERS[target]
    where = "where it was interrupted" if trap.interrupt else "the instruction that trapped"
    yield Change(
        f"{prefix}epc", "", None, trap.pc, where, f"{owner} Exception Program Counter ({prefix}epc) Register",
        address=True,
    )  # fmt: skip
    cause = trap.cause | trap.interrupt << 63
    renamed = f", as VS-mode sees {csrs.INTERRUPTS[bit_of(trap)][0]}" if bit_of(trap) != trap.cause else ""
    yield Change(f"{prefix}cause", "", None, cause, "the cause" + renamed, f"{owner} Cause ({prefix}cause) Register",
                 f"{trap.name} ({trap.cause})")  # fmt: skip
    meaning = value_meaning(trap)
    bits = not trap.interrupt and trap.cause in _INSTRUCTIONS
    yield Change(f"{prefix}tval", "", None, trap.tval, "bits of the instruction" if bits else meaning,
                 f"{owner} Trap Value ({prefix}tval) Register", meaning if bits else "", not bits)  # fmt: skip
    if target in _SECOND:
        second, section, instruction = _SECOND[target]
        gpa = guest_physical(trap)
        rule = "guest-physical address of the fault, >> 2" if gpa is not None else "0: no guest-page fault"
        if gpa is None and not trap.interrupt and trap.cause in GUEST_PAGE_FAULTS:
            rule = "guest-physical address 0"
        yield Change(second, "", None, entry.tval2, rule, section, f"gpa {gpa:#x}" if gpa is not None else "")
        pseudo = entry.tinst in csrs.PSEUDO_INSTRUCTIONS
        rule = "the walk's own access" if pseudo else "the instruction that trapped" if entry.tinst else "0: none"
        yield Change(instruction, "", None, entry.tinst, rule, _TINST,
                     csrs.MEANINGS["tinst"](entry.tinst) if entry.tinst else "")  # fmt: skip
    for register, field, rule, section in _FIELDS[target]:
        stored = "mstatus" if register == "sstatus" else register
        pair = entry.hstatus if register == "hstatus" else entry.status
        if field == "SPVP" and not trap.from_mode.virtual:
            rule = "kept: V was 0"
        described = csrs.BY_NAME[stored].field(field)
        before, after = (described.extract(value) for value in pair)
        meaning = described.meaning(after) if described.values else ""
        yield Change(register, field, before, after, rule, section, meaning)


class Face(Protocol):
    """A hart, or a virtual CPU that looks like one."""

    pc: int
    mode: Mode

    def csr(self, name: str) -> int: ...
    def set_csr(self, name: str, value: int) -> None: ...


def standing_at(face: Face, trap: TrapRecord) -> bool:
    """The handler's first instruction is next: what the trap found in the registers is there still."""
    if trap.entry is None or (face.pc, face.mode) != (trap.entry.handler, trap.to_mode):
        return False
    prefix = PREFIX[trap.to_mode]
    return (face.csr(f"{prefix}epc"), face.csr(f"{prefix}cause")) == (trap.pc, trap.cause | trap.interrupt << 63)


def take_back(face: Face, trap: TrapRecord, hypervisor: bool = True) -> None:
    """Undo a trap's entry: pc, mode and the status fields are as they were, and the instruction is next. What xepc and
    its like held before nobody knows; they stay. `hypervisor`: the hart has H. Raises ConfigurationError where the
    entry was not noted."""
    if trap.entry is None:
        raise ConfigurationError("what this trap changed was not noted: it was before the snapshot")
    face.mode, face.pc = trap.from_mode, trap.pc
    for change in changes(trap, hypervisor):
        if change.before is not None:
            register = "mstatus" if change.register == "sstatus" else change.register
            field = csrs.BY_NAME[register].field(change.field)
            face.set_csr(register, field.insert(face.csr(register), change.before))
