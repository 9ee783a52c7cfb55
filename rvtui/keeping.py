"""Files that the user's choices and stops are kept in, by the program that a machine runs: small JSON documents.

A file that cannot be read is told and stays where it is; it is put aside before another is written in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from emulator.errors import ConfigurationError
from emulator.machine import Machine
from rvtui.folders import state_folder
from rvtui.machines import write_file

LARGEST: Final = 1 << 20
"""Bytes of a file that is looked at."""


def program_key(machine: Machine) -> str | None:
    """What the machine runs, by its contents; None where nobody knows."""
    digests = list(machine.programs)
    if machine.recipe is not None:
        digests += [machine.recipe.digests[part] for part in ("firmware", "kernel") if part in machine.recipe.digests]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:32] if digests else None


def read_small(path: Path) -> bytes:
    """What is in a file of the user's. OSError, or ValueError that says what is wrong."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError("it is too large")
    return data


class Keeper:
    """One such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False
        """What stands there is not ours to overwrite."""

    @classmethod
    def of_program(cls, what: str, machine: Machine, folder: Path | None = None) -> Keeper | None:
        """For `what` of the program that the machine runs, in `folder` or the user's; None where there is no place."""
        key = program_key(machine)
        folder = state_folder() if folder is None else folder
        return None if key is None or folder is None else cls(folder / what / f"{key}.json")

    def read(self) -> Any:
        """The document, None where there is no file. OSError, ValueError or RecursionError, and `broken`, else."""
        try:
            return json.loads(read_small(self.path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            self.broken = True
            raise

    def write(self, document: Any) -> None:
        """Whole or not at all; None removes the file. OSError or ConfigurationError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.broken and self.path.exists():
            os.replace(self.path, self._aside())
        self.broken = False
        if document is None:
            self.path.unlink(missing_ok=True)
        else:
            write_file(str(self.path), json.dumps(document, indent=1).encode())

    def _aside(self) -> Path:
        for number in range(1, 10_000):
            aside = self.path.with_suffix(f".broken-{number}")
            if not aside.exists():
                return aside
        raise ConfigurationError(f"{self.path}: too many files put aside beside it")
