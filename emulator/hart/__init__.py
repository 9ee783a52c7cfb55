"""The hart: native code generated from `emulator.isa`, and its Python face.

Names load on first use: the build imports the generator from here before the native module exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hart import (
        Access,
        Event,
        EventKind,
        Exit,
        ExitCount,
        ExitReason,
        GuestCount,
        Hart,
        Interrupts,
        Mode,
        Move,
        Refused,
        Registers,
        Step,
        Survey,
        Trap,
        TrapEntry,
        TrapRecord,
        Walk,
        WalkResult,
        World,
        compiler,
    )

__all__ = [
    "Access", "Event", "EventKind", "Exit", "ExitCount", "ExitReason", "GuestCount", "Hart", "Interrupts",
    "Mode", "Move", "Refused", "Registers", "Step", "Survey", "Trap", "TrapEntry", "TrapRecord", "Walk",
    "WalkResult", "World", "compiler",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import hart

    return getattr(hart, name)
