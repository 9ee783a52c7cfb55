"""Instructions and CSRs of the hart: descriptions, and what can be read off them.

>>> decode(0x00150513).text
'addi a0, a0, 1'
"""

from __future__ import annotations

# Each module registers what it describes; the order decides nothing but the numbering of handlers.
from . import (  # noqa: F401
    a,
    c,
    csrs,
    f_d,
    h,
    m,
    privileged,
    rv64i,
    zabha,
    zacas,
    zawrs,
    zba,
    zbb,
    zbc,
    zbkb,
    zbkx,
    zbs,
    zcb,
    zfa,
    zfh,
    zicbo,
    zicond,
    zicsr,
    zihint,
    zimop,
    zkn,
    zks,
)
from .decoder import ABI_NAMES, FLOAT_NAMES, Decoded, decode, sentence
from .description import ISA
from .selection import MAX, Isa

__all__ = ["ABI_NAMES", "FLOAT_NAMES", "ISA", "MAX", "Decoded", "Isa", "csrs", "decode", "sentence"]
