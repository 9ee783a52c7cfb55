"""The chapters of the suite, a module each, in the order of the fidelity page."""

from __future__ import annotations

CHAPTERS = (
    "fields",
    "access",
    "entry",
    "returns",
    "translation",
    "priority",
    "guest_access",
    "mprv",
    "fences",
    "interrupts",
    "timer",
    "counters",
)

LATER: dict[str, tuple[str, tuple[int, ...]]] = {
    "stateen": ("no Smstateen yet", (14, 69)),
    "guest_external": ("no guest external interrupts yet", (77,)),
    "overflow": ("no Sscofpmf yet", (82,)),
    "cache_blocks": ("no Zicbom, Zicboz, Zawrs yet", ()),
    "memory_types": ("no Svpbmt, Svnapot yet", ()),
    "pointer_masking": ("no Ssnpm yet", ()),
    "smepmp": ("no Smepmp yet", ()),
    "tinst": ("xtinst is 0 yet where it may be", ()),
}
"""Chapters that wait for the hart: what it lacks, and the rows that only they cover. To switch one on, move its name
up."""
