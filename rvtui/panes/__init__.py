"""The panes of the application, one file each. Grouped by what they look at:

machines: vms, exits, events; the CPU: registers, csrs, code; memory: gstage, walk; the guest's face: console.

A class here with a NAME of its own is a pane; nothing lists them.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvtui.panes.base import Pane


def every() -> tuple[type[Pane], ...]:
    """All kinds of pane, by the key that shows them: digits, letters, those without one."""
    from rvtui.panes.base import Pane

    found = [
        each
        for name in sorted(module.name for module in iter_modules(__path__))
        for each in vars(import_module(f"{__name__}.{name}")).values()
        if isinstance(each, type) and issubclass(each, Pane) and "NAME" in vars(each)
        if each.__module__ == f"{__name__}.{name}"
    ]
    return tuple(sorted(found, key=lambda pane: (not pane.KEY, not pane.KEY.isdigit(), pane.KEY, pane.NAME)))
