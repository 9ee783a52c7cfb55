"""A RISC-V machine with the hypervisor extension, usable as a library.

    >>> from emulator import Machine
    >>> machine = Machine(memory=16 << 20)
    >>> machine.memory.write(0x8000_0000, (0x00150513).to_bytes(4, "little"))  # addi a0, a0, 1
    >>> machine.boot(0x8000_0000)
    >>> machine.run(1).executed, machine.harts[0].x[10]
    (1, 1)

Names load on first use, so that the build can import what it generates from.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ConfigurationError, EmulatorError, LoadError, StateError, TranslationError
    from .hart.hart import Access, Exit, ExitReason, Hart, Mode
    from .machine import Host, Machine
    from .vmm import Hypervisor, Vcpu, Vm
    from .worlds import Guest

_HOMES = {
    "ConfigurationError": "errors",
    "EmulatorError": "errors",
    "LoadError": "errors",
    "StateError": "errors",
    "TranslationError": "errors",
    "Access": "hart.hart",
    "Exit": "hart.hart",
    "ExitReason": "hart.hart",
    "Hart": "hart.hart",
    "Mode": "hart.hart",
    "Host": "machine",
    "Machine": "machine",
    "Hypervisor": "vmm",
    "Vcpu": "vmm",
    "Vm": "vmm",
    "Guest": "worlds",
}

__all__ = [
    "Access", "ConfigurationError", "EmulatorError", "Exit", "ExitReason", "Guest", "Hart", "Host", "Hypervisor",
    "LoadError", "Machine", "Mode", "StateError", "TranslationError", "Vcpu", "Vm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
