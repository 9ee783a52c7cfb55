"""The RVA profiles: which extensions each of them demands, and which it knows as options.

Authority is the volume of profiles: chapters "RVA20 Profiles", "RVA22 Profiles" and "RVA23 Profiles", sections
"... Mandatory Extensions" and "... Optional Extensions". An S64 profile demands what the U64 profile of its year does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import csrs
from .extensions import BY_NAME, TRANSLATION, Extension


@dataclass(frozen=True)
class Profile:
    """Names of extensions, in the order of the text. Every one of them has an `extension()`."""

    name: str
    privileged: str | None
    """Version of the privileged architecture that it is based on; None: a profile of user mode."""
    mandatory: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What is mandatory and not here."""
        return tuple(name for name in self.mandatory if not extension(name).implemented)


def _modes() -> set[str]:
    return set((csrs.BY_NAME["satp"].field("MODE").values or {}).values())


def _part(name: str, meaning: str, implemented: bool) -> Extension:
    return Extension(name, "1.0", meaning, implemented)


def _all(*names: str) -> bool:
    return all(name in BY_NAME and BY_NAME[name].implemented for name in names)


_PARTS: Final = {
    part.name: part
    for part in (
        *(
            _part(
                f"Ss1p{minor}", f"supervisor architecture version 1.{minor}", f"1.{minor}" in csrs.PRIVILEGED_VERSIONS
            )
            for minor in (11, 12, 13)
        ),
        *TRANSLATION,
        _part("Svbare", "satp takes the mode Bare", "Bare" in _modes()),
        _part("Za128rs", "reservation sets are at most 128 bytes", _all("Za64rs")),
        _part("Ssstrict", "what is not implemented raises illegal instruction; nothing is custom", True),
        _part("Sdtrig", "debug triggers", False),
        _part("Sspm", "pointer masking in S-mode, as M-mode chooses", _all("Smnpm")),
        _part("Supm", "pointer masking in U-mode, as the system chooses", _all("Ssnpm")),
        _part("Zvbb", "vectors: basic bit manipulation", False),
        _part("Zvbc", "vectors: carry-less multiplication", False),
        _part("Zvfbfmin", "vectors: conversions of BF16", False),
        _part("Zvfbfwma", "vectors: widening multiply-add of BF16", False),
        _part("Zvfh", "vectors: half precision", False),
        _part("Zvfhmin", "vectors: conversions of half precision", False),
        _part("Zvkng", "vector cryptography, NIST, with GCM", False),
        _part("Zvksg", "vector cryptography, ShangMi, with GCM", False),
        _part("Zvkt", "vectors: latency independent of data", False),
    )
}
"""Names of profiles that are no extensions of their own on this hart, or that it lacks altogether."""


def extension(name: str) -> Extension:
    """The extension, or part of the architecture, that a profile names. KeyError for others."""
    return BY_NAME.get(name) or _PARTS[name]


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_U20: Final = _list("I M A F D C Zicsr Zicntr Ziccif Ziccrse Ziccamoa Za128rs Zicclsm")
_U22: Final = _list(
    "I M A F D C Zicsr Zicntr Ziccif Ziccrse Ziccamoa Zicclsm Za64rs B Zihpm Zihintpause Zic64b Zicbom Zicbop Zicboz"
    " Zfhmin Zkt"
)
_U23: Final = (*_U22, *_list("V Zvfhmin Zvbb Zvkt Zihintntl Zicond Zimop Zcmop Zcb Zfa Zawrs Supm"))
_S20: Final = _list("Svbare Sv39 Svade Ssccptr Sstvecd Sstvala")
_S22: Final = (*_S20, *_list("Sscounterenw Svpbmt Svinval"))
_S23: Final = (*_S22, *_list("Svnapot Sstc Sscofpmf Ssnpm Ssu64xl Sha"))
_U22_OPTIONS: Final = ("Zfh", "V", "Zkn", "Zks")
_U23_OPTIONS: Final = _list(
    "Zvkng Zvksg Zabha Zacas Ziccamoc Zvbc Zama16b Zfh Zbc Zicfilp Zicfiss Zvfh Zfbfmin Zvfbfmin Zvfbfwma"
)
_S22_OPTIONS: Final = _list("Sv48 Sv57 Svnapot Ssu64xl Sstc Sscofpmf Zkr Sha")
_S23_OPTIONS: Final = _list("Sv48 Sv57 Zkr Svadu Sdtrig Ssstrict Svvptc Sspm")

PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("RVA20U64", None, _U20, ("Zihpm",)),
        Profile("RVA20S64", "1.11", (*_U20, "Zifencei", "Ss1p11", *_S20), ("Zihpm", "Sv48", "Ssu64xl")),
        Profile("RVA22U64", None, _U22, _U22_OPTIONS),
        Profile("RVA22S64", "1.12", (*_U22, "Zifencei", "Ss1p12", *_S22), (*_U22_OPTIONS, *_S22_OPTIONS)),
        Profile("RVA23U64", None, _U23, _U23_OPTIONS),
        Profile("RVA23S64", "1.13", (*_U23, "Zifencei", "Ss1p13", *_S23), (*_U23_OPTIONS, *_S23_OPTIONS)),
    )
}
