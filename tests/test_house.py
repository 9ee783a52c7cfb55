"""The house itself: lint, types, layers, and one place for each instruction."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.isa import ISA

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for package in ("emulator", "snapshots", "rvtui")
    for ending in ("*.py", "*.c", "*.h")
    for path in (ROOT / package).rglob(ending)
    if "guests" not in path.parts
]


def checked(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    checked(sys.executable, "-m", "ruff", "check", ".")


def test_types_are_right() -> None:
    checked(sys.executable, "-m", "mypy")


def test_the_layers_hold() -> None:
    checked(sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")


@pytest.mark.parametrize("name", ["addw", "amomaxu.d", "c.addi4spn", "hlvx.wu", "fcvt.lu.s", "sh3add.uw"])
def test_an_instruction_is_known_in_one_place(name: str) -> None:
    """Only its description names it: no decoder, interpreter, disassembler or pane does."""
    assert name in ISA.instructions or name in ISA.compressed
    words = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w.])|\b{re.escape(name.replace('.', '_'))}\b")
    found = {str(path.relative_to(ROOT)) for path in SOURCES if words.search(path.read_text())}
    assert all(place.startswith("emulator/isa/") for place in found)
    assert len(found) <= 2  # its own file, and that of the 16-bit forms
