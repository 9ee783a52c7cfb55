"""What may differ: choices that the manual leaves open, and mistakes of Spike, each with the clause that decides.

Section names are those of the privileged manual unless another is named. A rule that allows a difference brings Spike
in line with this hart, so that both go on with equal state; one that cannot do so ends the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulator.isa import csrs

if TYPE_CHECKING:
    from .runner import Context, Difference

_TRIGGERS = (0x7A0, 0x7A1, 0x7A2, 0x7A3, 0x7A4, 0x7A5, 0x7A8, 0x5A8, 0x6A8)
UNCOMPARED: tuple[tuple[str, tuple[int, ...]], ...] = (
    # "Machine ISA (misa) Register": fields are WARL; Spike lets software turn extensions off, this hart does not.
    ("misa is WARL", (0x301,)),
    # "Machine Architecture ID (marchid) Register": Spike has its own number.
    ("marchid names the implementation", (0xF12,)),
    # The "Sdtrig" extension is optional: Spike has four triggers, this hart none.
    ("triggers are optional", _TRIGGERS),
)
UNCOMPARED_CSRS = frozenset(number for _, numbers in UNCOMPARED for number in numbers)
"""CSRs that are neither compared nor generated."""
ALIKE = frozenset(
    csr.name for csr in csrs.CSRS
    if csr.name.startswith(("mhpm", "hpm")) and csr.number & 31 not in (3, 4, 31)
)  # fmt: skip
"""Performance counters beyond three: of all alike, three are enough to compare and generate."""

AVOID: dict[str, int] = {
    # "Hardware Performance Monitor": events are the platform's, and Spike has none; nor has it counters for them.
    **{f"mhpmevent{i}": (1 << 56) - 1 for i in range(3, 32)},
    **{f"mhpmcounter{i}": (1 << 64) - 1 for i in range(3, 32)},
    # "Supervisor Count Overflow (scountovf) Register": bits 31:3 hold the OF bits of mhpmevent; Spike's are always 0.
    "scountovf": (1 << 64) - 1,
    # "Virtual Supervisor Interrupt (vsip and vsie) Registers": Shlcofideleg is optional, Spike lacks it.
    "hideleg": 1 << 13,
    # "State Enable 0 Registers": bits of what a hart lacks are read-only zero. Spike has C and CSRIND all the same.
    "mstateen0": 1 | 1 << 60,
    "hstateen0": 1 | 1 << 60,
    "sstateen0": 1,
    # "Machine Trap Delegation Registers": software check and hardware error cannot occur on this hart, so that their
    # bits may be read-only zero.
    "medeleg": 1 << 18 | 1 << 19,
    # "Hypervisor Trap Delegation Registers": bit 0 must be writable where IALIGN is 32; it is 16 on both sides.
    "hedeleg": 1,
    # "Machine Environment Configuration Register": FIOM must be writable where S-mode has paging; Spike lacks it.
    "menvcfg": 1,
    "henvcfg": 1,
    "senvcfg": 1,
    # "Machine Trap-Vector Base-Address Register": MODE is WARL; Spike drops bit 1, this hart keeps the former mode.
    "mtvec": 2,
    "stvec": 2,
    "vstvec": 2,
    # "Machine Trap Delegation Registers": mideleg.SGEI is read-only one where GEILEN is not 0; "Hypervisor Guest
    # External Interrupt Registers": it is 0 on both sides, and Spike has the bits all the same.
    "mideleg": 1 << 12,
    "mie": 1 << 12,
    "hie": 1 << 12,
}
"""Bits that random programs do not set."""
IGNORED = {csrs.BY_NAME[name].number: bits for name, bits in AVOID.items()}


def never_generate(word: int) -> bool:
    """Is this random word one that would break the frame of a program? A 16-bit instruction has its upper half 0."""
    if word & 0x7F == 0x73 and word >> 12 & 7 not in (0, 4):
        number, source = word >> 20, word >> 15 & 31
        reads = word >> 12 & 3 != 1 and source == 0
        return number in UNCOMPARED_CSRS or (number in csrs.BY_NUMBER and not reads)
    # WFI may wait forever.
    return word == 0x1050_0073


@dataclass(frozen=True)
class Rule:
    """`applies` says whether the difference is allowed; it is then removed by copying this hart's value."""

    title: str
    clause: str
    applies: Callable[[Difference, Context], bool]
    ends: bool = False
    """Nothing can be copied: the program stops here."""


def _trap_instruction(difference: Difference, context: Context) -> bool:
    if difference.name not in ("mtinst", "htinst") or difference.spike:
        return False
    return difference.ours in context.transformed()


def _breakpoint_value(difference: Difference, context: Context) -> bool:
    names = {"mtval": "mcause", "stval": "scause", "vstval": "vscause"}
    return (
        difference.name in names
        and context.csr(names[difference.name]) == 3
        and {difference.ours, difference.spike} <= {0, context.pc}
    )


def _timer_left(difference: Difference, context: Context) -> bool:
    if difference.name not in ("mip", "sip", "hip", "vsip"):
        return False
    shift = 1 if difference.name == "vsip" else 0
    changed = (difference.ours ^ difference.spike) << shift
    open_bits = 0 if context.csr("menvcfg") >> 63 else 1 << 5
    open_bits |= 0 if context.csr("henvcfg") >> 63 else 1 << 6
    return not changed & ~open_bits


def _ignored_bits_read(difference: Difference, context: Context) -> bool:
    word = context.word
    if word is None or word & 0x7F != 0x73 or word >> 12 & 3 == 0 or difference.name != f"x{word >> 7 & 31}":
        return False
    open_bits = ~0 if word >> 20 in UNCOMPARED_CSRS else IGNORED.get(word >> 20, 0)
    return not (difference.ours ^ difference.spike) & ~open_bits


def _misaligned_atomic(difference: Difference, context: Context) -> bool:
    word = context.word
    if word is None or word & 0x7F != 0x2F:
        return False
    return context.x[word >> 15 & 31] & (1 << (word >> 12 & 7)) - 1 != 0


def _inhibiting_write(difference: Difference, context: Context) -> bool:
    word = context.word
    return (
        difference.name in ("mcycle", "minstret")
        and word is not None
        and word & 0x7F == 0x73
        and word >> 20 == csrs.BY_NAME["mcountinhibit"].number
        and abs(difference.ours - difference.spike) == 1
    )


_VALUES = ("mtval", "stval", "vstval")


def _other_page_first(difference: Difference, context: Context) -> bool:
    return context.crosses_page and difference.name in _VALUES


_ADDRESS_REGISTERS = {csrs.BY_NAME["vsatp"].number: "vsatp", csrs.BY_NAME["hgatp"].number: "hgatp"}


_CBIE, _PMM, _HUPMM = 3 << 4, 3 << 32, 3 << 48
_WITH_RESERVED = {
    **dict.fromkeys(("menvcfg", "henvcfg", "senvcfg"), (_CBIE, _PMM)), "mseccfg": (_PMM,), "hstatus": (_HUPMM,),
}  # fmt: skip


def _reserved_value(difference: Difference, context: Context) -> bool:
    """Fields with a reserved value that this hart kept, when the register was written, and Spike made 0."""
    fields, word = _WITH_RESERVED.get(difference.name, ()), context.word
    if word is None or word & 0x7F != 0x73 or not word >> 12 & 3:
        return False
    differ = difference.ours ^ difference.spike
    kept = [field for field in fields if differ & field]
    same = kept and word >> 20 == csrs.BY_NAME[difference.name].number
    return bool(same) and not differ & ~sum(kept) and not difference.spike & sum(kept)


def _conditional_masking(difference: Difference, context: Context) -> bool:
    """xtval of an SC: on Spike the address in the register, here as pointer masking leaves it."""
    word = context.word
    if difference.name not in ("mtval", "stval", "vstval") or word is None or word & 0x7F != 0x2F or word >> 27 != 3:
        return False
    given = context.x[word >> 15 & 31]
    return difference.spike == given and not (difference.ours ^ given) & (1 << 48) - 1


def _unsupported_mode(difference: Difference, context: Context) -> bool:
    word = context.word
    if word is None or word & 0x7F != 0x73 or _ADDRESS_REGISTERS.get(word >> 20) != difference.name:
        return False
    return context.x[word >> 15 & 31] >> 60 not in (0, 8, 9, 10) and difference.ours >> 60 == difference.spike >> 60


def _conditional_gva(difference: Difference, context: Context) -> bool:
    word = context.word
    bit = {"mstatus": 1 << 38, "hstatus": 1 << 6}.get(difference.name)
    return word is not None and word & 0x7F == 0x2F and word >> 28 == 1 and difference.ours ^ difference.spike == bit


def _uncovered_field(difference: Difference, context: Context) -> bool:
    word = context.word
    if word is None or word & 0x7F != 0x73:
        return False
    for i in range(4):
        if word >> 20 == csrs.BY_NAME[f"mstateen{i}"].number:
            return difference.name == f"hstateen{i}" and not (difference.ours ^ difference.spike) & ~(3 << 62)
    if word >> 20 != csrs.BY_NAME["menvcfg"].number:
        return False
    return difference.name == "henvcfg" and not (difference.ours ^ difference.spike) & ~(5 << 61)


_INTERRUPT, _LCOFI = 1 << 63, 13


def _overflow_first(difference: Difference, context: Context) -> bool:
    if context.ours.retired or difference.name not in ("pc", "scause"):
        return False
    if difference.name == "scause" and difference.spike != _INTERRUPT | _LCOFI:
        return False
    ready = context.csr("mip") & context.csr("mie") & context.csr("mideleg")
    return bool(ready >> _LCOFI & 1) and context.csr("scause") in {_INTERRUPT | code for code in (2, 6, 10)}


def _cache_block(context: Context) -> int | None:
    """The address that a cache-block operation was given."""
    word = context.word
    return None if word is None or word & 0x7FFF != 0x200F else context.x[word >> 15 & 31]


def _zeroed_block_address(difference: Difference, context: Context) -> bool:
    address, low = _cache_block(context), 64 if difference.name in _VALUES else 16
    if address is None or difference.name not in (*_VALUES, "mtval2", "htval"):
        return False
    # Pointers to where it went wrong first: of the block's bytes, the first.
    return context.word is not None and context.word >> 20 == 4 and difference.spike == difference.ours & -low


def _cut_block(difference: Difference, context: Context) -> bool:
    address = _cache_block(context)
    if address is None:
        return False
    config = context.csr("pmpcfg0") | context.csr("pmpcfg2") << 64
    for entry in range(16):
        bounds = {1: (context.csr(f"pmpaddr{entry - 1}") if entry else 0, context.csr(f"pmpaddr{entry}"))}
        value = context.csr(f"pmpaddr{entry}")
        bounds |= {2: (value, value + 1), 3: (value & value + 1, (value | value + 1) + 1)}
        for bound in bounds.get(config >> 8 * entry + 3 & 3, ()):
            if bound & 15 and bound >> 4 & 63 == address >> 6 & 63:
                return True
    return False


RULES: tuple[Rule, ...] = (
    Rule(
        "Spike takes LCOFI before VS-level interrupts",
        '"Hypervisor Interrupt (hvip, hip, and hie) Registers": SEI, SSI, STI, SGEI, VSEI, VSSI, VSTI, LCOFI',
        _overflow_first,
        ends=True,
    ),
    Rule(
        "Spike reports the beginning of the block that CBO.ZERO could not write",
        '"Cache Management Operations", section "Traps": xtval is written with the value of rs1',
        _zeroed_block_address,
    ),
    Rule(
        "a cache block of which PMP grants one part otherwise than the rest",
        '"Cache Management Operations", section "Traps": UNSPECIFIED; this hart asks PMP for the whole block',
        _cut_block,
        ends=True,
    ),
    Rule(
        "fields of henvcfg or hstateen after menvcfg or mstateen makes them writable again",
        '"CSR Field Modulation": a field that becomes writable gets an unspecified legal value; here 0, on Spike the'
        " former",
        _uncovered_field,
    ),
    Rule(
        "Spike forgets GVA for an SC with MPRV=1 and MPV=1 that has no memory to go to",
        '"Machine Status (mstatus and mstatush) Registers" of the hypervisor chapter: GVA is 1 where a guest virtual'
        " address is written to mtval",
        _conditional_gva,
    ),
    Rule(
        "an access over the end of a page, where both pages fault",
        '"RVWMO", section "Memory Model Primitives": it may be decomposed into memory operations in any order; this'
        " hart translates both parts first",
        _other_page_first,
        ends=True,
    ),
    Rule(
        "vsatp or hgatp written with a MODE that does not exist",
        '"Virtual Supervisor Address Translation and Protection (vsatp) Register": with V=0 the write is ignored or the'
        " fields are WARL; hgatp: fields are WARL",
        _unsupported_mode,
    ),
    Rule(
        "the reserved value of CBIE, PMM or HUPMM written",
        '"Machine Environment Configuration (menvcfg) Register": they are WARL; here each stays as it was, on Spike it'
        " becomes 0",
        _reserved_value,
    ),
    Rule(
        "Spike writes the address of a failing SC as it was before pointer masking",
        '"Memory Accesses Subject to Pointer Masking": masking is applied to what hardware writes to a CSR',
        _conditional_masking,
    ),
    Rule(
        "is an instruction counted that writes mcountinhibit?",
        '"Machine Counter-Inhibit (mcountinhibit) Register" is silent; as for a write of instret ("Zicntr"), the'
        " increment comes before the write on this hart",
        _inhibiting_write,
    ),
    Rule(
        "a misaligned AMO, LR or SC",
        '"A" Extension, sections "Load-Reserved/Store-Conditional Instructions" and "Atomic Memory Operations": an'
        " address-misaligned or an access-fault exception; Spike performs it where its lookaside hits",
        _misaligned_atomic,
        ends=True,
    ),
    Rule(
        "a CSR read showed bits that are not compared",
        "see UNCOMPARED and AVOID",
        _ignored_bits_read,
    ),
    Rule(
        "Spike never writes transformed instructions",
        '"Transformed Instruction or Pseudoinstruction for mtinst or htinst": zero is always allowed, and so is the'
        " transformation",
        _trap_instruction,
    ),
    Rule(
        "xtval of a breakpoint",
        '"Machine Trap Value (mtval) Register": written with zero or the virtual address, for EBREAK',
        _breakpoint_value,
    ),
    Rule(
        "Spike keeps a timer interrupt pending after STCE is cleared",
        '"Sstc": with STCE=0, STIP and VSTIP revert to their behaviour without the extension',
        _timer_left,
    ),
)


_FIRST_PART = Rule(
    "a store over the end of a page, whose second page faults",
    '"Priority and Matching Logic" of PMP: a portion of a misaligned store may become visible even if another portion'
    " fails; Spike writes the first part, this hart all or nothing",
    lambda difference, context: False,
)
_MARKED = Rule(
    "A or D set for one page of an access over its end, when the other page faults",
    '"Virtual Address Translation Process": a trap may occur between the update of the entry and the access that caused'
    " it; this hart translates both parts first",
    lambda difference, context: False,
)


def decide_memory(offset: int, ours: int, spike: int) -> Rule | None:
    """The rule that allows a doubleword at `offset` of a page to differ after an access over a page's end trapped."""
    if not (ours ^ spike) & ~(3 << 6) and ours & spike == spike:
        return _MARKED
    return _FIRST_PART if offset == 4096 - 8 else None


def decide(difference: Difference, context: Context) -> Rule | None:
    """The rule that allows a difference."""
    return next((rule for rule in RULES if rule.applies(difference, context)), None)
