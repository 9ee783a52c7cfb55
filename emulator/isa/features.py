"""Features: what a hart can have or lack, by number. Decoder, CSR table and C ask for them; `Isa` says which it has.

A feature is an extension, or words about several: "Zacas Zabha" where both are needed, "Zbb|Zbkb" where either will do,
"!Zca" for what is there only without. Numbers follow from the descriptions and are nobody's business outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from . import csrs
from .description import ISA, Compressed, Instruction
from .extensions import EXTENSIONS, TRANSLATION

ALWAYS: Final = "I"


def holds(feature: str, names: Collection[str]) -> bool:
    """Is the feature there, where the extensions `names` are?"""
    return all(
        any((word[1:] not in names) if word.startswith("!") else word in names for word in each.split("|"))
        for each in feature.split()
    )


def normal(feature: str) -> str:
    """The same feature in its one spelling: what no name of an extension says (a mode's own) is always there."""
    words = [each for each in dict.fromkeys(feature.split()) if each != ALWAYS]
    return " ".join(sorted(words)) or ALWAYS


def said(feature: str) -> str:
    """In words."""
    return " and ".join(each.replace("|", " or ").replace("!", "no ") for each in feature.split())


def named(feature: str | None) -> list[str]:
    """The extensions that it speaks of, its home first."""
    return (feature or "").replace("|", " ").replace("!", "").split()


def of_form(form: Instruction | Compressed) -> str:
    """What an instruction needs. A 16-bit form needs what it abbreviates too."""
    target = ISA.instructions[form.target].needs if isinstance(form, Compressed) else ""
    return normal(f"{form.needs} {target}")


def of_csr(csr: csrs.Csr) -> str:
    return normal(csr.extension or ALWAYS)


def optional_bits(csr: csrs.Csr) -> Iterator[tuple[str, int]]:
    """(feature, bits in place) of what is read-only zero without the feature."""
    for field in csr.fields:
        if field.kind is csrs.Kind.FIXED and not field.value:
            continue
        if field.extension is not None:
            yield normal(field.extension), field.mask
        if field.without is not None:
            yield f"!{field.without}", field.mask
        for feature, bits in field.portions:
            yield normal(feature), bits << field.low


def _all() -> Iterator[str]:
    yield ALWAYS
    yield from sorted(each.name for each in EXTENSIONS if each.implemented and each.name != ALWAYS)
    yield from (each.name for each in TRANSLATION)
    described = {of_form(form) for form in ISA.instructions.values()}
    described |= {of_form(form) for form in ISA.compressed.values()}
    described |= {of_csr(csr) for csr in csrs.CSRS}
    described |= {feature for csr in csrs.CSRS for feature, _ in optional_bits(csr)}
    yield from sorted(described)


FEATURES: Final = tuple(dict.fromkeys(_all()))
NUMBERS: Final = {feature: number for number, feature in enumerate(FEATURES)}
WORDS: Final = -(-len(FEATURES) // 64)
"""64-bit words that hold a bit for each."""


def words(names: Collection[str]) -> list[int]:
    """The features that extensions `names` make up, as bits in WORDS words."""
    bits = sum(holds(feature, names) << number for number, feature in enumerate(FEATURES))
    return [bits >> 64 * i & (1 << 64) - 1 for i in range(WORDS)]
