"""Texts about programs and outcomes."""

from __future__ import annotations

from .program import BASE, BODY, MODES, Program
from .runner import Outcome
from .text import listing


def describe(program: Program, outcome: Outcome) -> str:
    """The first difference and the program that makes it."""
    lines = [f"{program.label}: {outcome.describe()}", f"  starts in {MODES[program.start_mode]}"]
    lines += [f"  {name} = {value:#x}" for name, value in program.csrs]
    lines += [f"  x{i} = {value:#x}" for i, value in enumerate(program.x) if value and i]
    lines += [f"  f{i} = {value:#x}" for i, value in enumerate(program.f) if value]
    lines += [f"  memory at {BASE + offset:#x}: {len(data)} bytes" for offset, data in sorted(program.memory.items())]
    code = program.image()[BASE + BODY]
    lines += ["  body:"] + [f"    {line}" for line in listing(code, BASE + BODY)]
    modes = [(i, MODES[unit.mode]) for i, unit in enumerate(program.units) if unit.mode]
    if modes:
        lines.append("  traps go on in: " + ", ".join(f"unit {i}: {mode}" for i, mode in modes))
    return "\n".join(lines)
