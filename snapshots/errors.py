"""The one error of this package."""

from __future__ import annotations

from emulator.errors import EmulatorError


class SnapshotError(EmulatorError):
    """A snapshot cannot be written, read or restored. One line: which file, what is wrong where, what to do."""
