"""Zawrs Extension for Wait-on-Reservation-Set instructions.

A stall may end for any reason; here it ends at once, because harts take turns and the store waited for comes in another
hart's turn. As for WFI the bounded time after which TW and VTW trap is zero.
"""

from __future__ import annotations

from .description import instruction

EXTENSION = "Zawrs"


@instruction("wrs.nto", "000000001101 00000 000 00000 1110011")
def wrs_nto(hart):
    hart.do("wrs_nto")


@instruction("wrs.sto", "000000011101 00000 000 00000 1110011")
def wrs_sto():
    """The short timeout is over at once, in every mode."""
