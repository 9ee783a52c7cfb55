"""Instructions and CSRs of the hart: descriptions, and what can be read off them.

    >>> decode(0x00150513).text
    'addi a0, a0, 1'
"""

from __future__ import annotations

from . import csrs
from .decoder import ABI_NAMES, FLOAT_NAMES, Decoded, decode
from .description import ISA, load_all

load_all()

__all__ = ["ABI_NAMES", "FLOAT_NAMES", "ISA", "Decoded", "csrs", "decode"]
