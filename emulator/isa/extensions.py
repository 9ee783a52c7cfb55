"""The extensions: one list of names, versions and meanings, and whether this hart has them.

The device tree, and whatever else names what the hart implements, derive from it. Versions are those of the prefaces of
both manuals; the order of names is that of "ISA Extension Naming Conventions", section "Canonical Order".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Extension:
    """`name` as the manual writes it; `implemented`: by this hart. Lists of names are words separated by blanks."""

    name: str
    version: str
    meaning: str
    implemented: bool = True
    needs: str = ""
    """What must be there besides."""
    parts: str = ""
    """What it consists of: comes and goes with it."""
    implies: str = ""
    """What comes with it, but may be there alone."""
    total: bool = False
    """Nothing but its parts: there as soon as they all are."""
    fixed: bool = False
    """How the hart works, where it has what this needs: it cannot be switched."""


def _absent(name: str, version: str, meaning: str) -> Extension:
    return Extension(name, version, meaning, False)


_SINGLE: Final = "IEMAFDQCBVPH"
_CATEGORIES: Final = "IMAFDQLCBKJTVPH"
"""By the letter after Z."""
_PREFIXES: Final = ("Z", "Su", "Ss", "Sv", "Sh", "Sm", "X")


def canonical(name: str) -> tuple[int, int, str]:
    """A key that sorts names into the canonical order."""
    if len(name) == 1:
        return 0, _SINGLE.index(name), name
    place = 1 + next(i for i, prefix in enumerate(_PREFIXES) if name.startswith(prefix))
    return place, _CATEGORIES.index(name[1].upper()) if name[0] == "Z" else 0, name.lower()


EXTENSIONS: Final = tuple(sorted((
    Extension("I", "2.1", "base integer instructions, 64 bits", fixed=True),
    Extension("M", "2.0", "multiplication and division", parts="Zmmul"),
    Extension("A", "2.1", "atomic instructions: Zaamo and Zalrsc", parts="Zaamo Zalrsc", total=True),
    Extension("F", "2.2", "single-precision floating point"),
    Extension("D", "2.2", "double-precision floating point", needs="F"),
    _absent("Q", "2.2", "quad-precision floating point"),
    Extension("C", "2.0", "compressed instructions: Zca and Zcd", parts="Zca"),
    Extension("B", "1.0", "bit manipulation: Zba, Zbb and Zbs", parts="Zba Zbb Zbs", total=True),
    _absent("V", "1.0", "vectors"),
    Extension("H", "1.0", "hypervisor: two-stage translation and the modes VS and VU"),
    Extension("Zic64b", "1.0", "cache blocks are 64 bytes", fixed=True),
    Extension("Zicbom", "1.0", "cache-block management: cbo.inval, cbo.clean, cbo.flush"),
    Extension("Zicbop", "1.0", "cache-block prefetch hints"),
    Extension("Zicboz", "1.0", "cache-block zero: cbo.zero"),
    Extension("Ziccamoa", "1.0", "main memory takes all atomic operations of A", needs="Zaamo", fixed=True),
    Extension("Ziccamoc", "1.0", "main memory takes compare-and-swap", needs="Zacas", fixed=True),
    Extension("Ziccid", "1.0", "fetches see stores in the end, without FENCE.I", fixed=True),
    Extension("Ziccif", "1.0", "instruction fetches from main memory are atomic", fixed=True),
    Extension("Zicclsm", "1.0", "main memory takes misaligned loads and stores", fixed=True),
    Extension("Ziccrse", "1.0", "LR/SC loops in main memory succeed in the end", needs="Zalrsc", fixed=True),
    _absent("Zicfilp", "1.0", "landing pads for indirect jumps"),
    _absent("Zicfiss", "1.0", "shadow stack"),
    Extension("Zicntr", "2.0", "the counters cycle, time and instret"),
    Extension("Zicond", "1.0", "conditional zero: czero.eqz, czero.nez"),
    Extension("Zicsr", "2.0", "instructions on control and status registers", fixed=True),
    Extension("Zifencei", "2.0", "instruction-fetch fence"),
    Extension("Zihintntl", "1.0", "hints that data will not be used again: ntl.*"),
    Extension("Zihintpause", "2.0", "hint of a loop that waits: pause"),
    Extension("Zihpm", "2.0", "hardware performance counters"),
    Extension("Zimop", "1.0", "may-be-operations, which write zero"),
    Extension("Zmmul", "1.0", "multiplication without division"),
    Extension("Za64rs", "1.0", "reservation sets are at most 64 bytes", needs="Zalrsc", fixed=True),
    Extension("Zaamo", "1.0", "atomic memory operations"),
    Extension("Zabha", "1.0", "atomic memory operations on bytes and halfwords", needs="Zaamo"),
    Extension("Zacas", "1.0", "atomic compare-and-swap", needs="Zaamo"),
    Extension("Zalrsc", "1.0", "load-reserved and store-conditional"),
    _absent("Zalasr", "1.0", "loads and stores with acquire and release"),
    _absent("Zama16b", "1.0", "accesses within 16 aligned bytes are atomic, misaligned AMOs too"),
    Extension("Zawrs", "1.0", "wait for a store to the reservation set", needs="Zalrsc"),
    Extension("Zfa", "1.0", "further floating-point instructions: constants, rounding, minimum", needs="F"),
    _absent("Zfbfmin", "1.0", "conversions of BF16"),
    Extension("Zfh", "1.0", "half-precision floating point", implies="Zfhmin"),
    Extension("Zfhmin", "1.0", "half precision: loads, stores, moves, conversions", needs="F"),
    Extension("Zca", "1.0", "compressed instructions without floating point"),
    Extension("Zcb", "1.0", "further compressed instructions", needs="Zca"),
    Extension("Zcd", "1.0", "compressed loads and stores of double precision", needs="Zca D"),
    Extension("Zcmop", "1.0", "compressed may-be-operations, which do nothing", needs="Zca"),
    Extension("Zba", "1.0", "address generation"),
    Extension("Zbb", "1.0", "basic bit manipulation"),
    Extension("Zbc", "1.0", "carry-less multiplication"),
    Extension("Zbkb", "1.0", "bit manipulation for cryptography"),
    Extension("Zbkc", "1.0", "carry-less multiplication for cryptography"),
    Extension("Zbkx", "1.0", "crossbar permutations"),
    Extension("Zbs", "1.0", "single bits"),
    Extension("Zkn", "1.0", "cryptography of NIST: Zbkb, Zbkc, Zbkx, Zkne, Zknd and Zknh",
              parts="Zbkb Zbkc Zbkx Zkne Zknd Zknh", total=True),
    Extension("Zknd", "1.0", "AES decryption"),
    Extension("Zkne", "1.0", "AES encryption"),
    Extension("Zknh", "1.0", "hashes SHA-256 and SHA-512"),
    _absent("Zkr", "1.0", "entropy source"),
    Extension("Zks", "1.0", "cryptography of ShangMi: Zbkb, Zbkc, Zbkx, Zksed and Zksh",
              parts="Zbkb Zbkc Zbkx Zksed Zksh", total=True),
    Extension("Zksed", "1.0", "block cipher SM4"),
    Extension("Zksh", "1.0", "hash SM3"),
    Extension("Zkt", "1.0", "latency independent of data: here time is counted in instructions", fixed=True),
    _absent("Ztso", "1.0", "total store ordering"),
    Extension("Ssccptr", "1.0", "main memory holds page tables", fixed=True),
    Extension("Sscofpmf", "1.0", "counter overflow and mode filtering"),
    Extension("Sscounterenw", "1.0", "scounteren is writable for every counter that is there", fixed=True),
    _absent("Ssdbltrp", "1.0", "double traps in S-mode"),
    Extension("Ssnpm", "1.0", "pointer masking in the mode below S"),
    Extension("Ssstateen", "1.0", "state-enable registers of S-mode"),
    Extension("Sstc", "1.0", "stimecmp and vstimecmp"),
    Extension("Sstvala", "1.0", "stval holds the faulting address or instruction", fixed=True),
    Extension("Sstvecd", "1.0", "stvec takes Direct mode and any aligned address", fixed=True),
    Extension("Ssu64xl", "1.0", "UXL may be 64 bits", fixed=True),
    Extension("Svade", "1.0", "page faults where A or D is to be set, while ADUE is 0", fixed=True),
    Extension("Svadu", "1.0", "hardware sets A and D, while ADUE is 1"),
    Extension("Svinval", "1.0", "fine-grained fences of translation"),
    Extension("Svnapot", "1.0", "contiguous pages in one leaf", needs="Sv39"),
    Extension("Svpbmt", "1.0", "memory types by page", needs="Sv39"),
    Extension("Svvptc", "1.0", "entries that become valid are seen in the end, without a fence", fixed=True),
    Extension("Sha", "1.0", "the augmented hypervisor extension: H, Ssstateen and all Sh*",
              parts="H Ssstateen Shcounterenw Shgatpa Shtvala Shvsatpa Shvstvala Shvstvecd", total=True),
    Extension("Shcounterenw", "1.0", "hcounteren is writable for every counter that is there", needs="H", fixed=True),
    Extension("Shgatpa", "1.0", "hgatp takes every mode that satp takes", needs="H", fixed=True),
    Extension("Shlcofideleg", "1.0", "counter overflow interrupts may be delegated to VS-mode", needs="H Sscofpmf"),
    Extension("Shtvala", "1.0", "htval holds the faulting guest-physical address", needs="H", fixed=True),
    Extension("Shvsatpa", "1.0", "vsatp takes every mode that satp takes", needs="H", fixed=True),
    Extension("Shvstvala", "1.0", "vstval is written as stval is", needs="H", fixed=True),
    Extension("Shvstvecd", "1.0", "vstvec takes Direct mode and any aligned address", needs="H", fixed=True),
    Extension("Smcntrpmf", "1.0", "cycle and instret filtered by mode"),
    Extension("Smepmp", "1.0", "PMP that also restrains M-mode"),
    Extension("Smmpm", "1.0", "pointer masking in M-mode"),
    Extension("Smnpm", "1.0", "pointer masking in the mode below M"),
    Extension("Smstateen", "1.0", "state-enable registers", implies="Ssstateen"),
), key=lambda extension: canonical(extension.name)))  # fmt: skip
"""In canonical order."""

TRANSLATION: Final = (
    Extension("Sv39", "1.0", "virtual addresses of 39 bits"),
    Extension("Sv48", "1.0", "virtual addresses of 48 bits", needs="Sv39"),
    Extension("Sv57", "1.0", "virtual addresses of 57 bits", needs="Sv48"),
)
"""Modes of satp, and of vsatp and hgatp with them (Shvsatpa, Shgatpa): no part of an ISA string."""

BY_NAME: Final = {extension.name: extension for extension in EXTENSIONS}


def isa_string(names: Iterable[str] | None = None) -> str:
    """What the device tree calls "riscv,isa": of `names`, or of all that the hart implements."""
    chosen = sorted(names if names is not None else (e.name for e in EXTENSIONS if e.implemented), key=canonical)
    letters = "".join(name for name in chosen if len(name) == 1)
    return "_".join([f"rv64{letters}", *(name for name in chosen if len(name) > 1)]).lower()
