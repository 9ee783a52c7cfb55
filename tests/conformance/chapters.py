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
    "protection",
    "stateen",
    "guest_external",
    "overflow",
    "memory_types",
    "pointer_masking",
    "smepmp",
    "tinst",
)

LATER: dict[str, tuple[str, tuple[int, ...]]] = {
    "cache_blocks": ("no Zicbom, Zicboz, Zawrs yet", ()),
}
"""Chapters that wait for the hart: what it lacks, and the rows that only they cover. To switch one on, move its name
up."""
