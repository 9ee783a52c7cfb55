"""The chapters of the suite, a module each, in the order of the fidelity page."""

from __future__ import annotations

CHAPTERS = (
    "fields",
    "bits",
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
    "cache_blocks",
    "devices",
)
