"""Makes a failing program short: units, first CSR values, registers and memory go while the difference persists."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from .program import DoesNotFit, Program
from .runner import Lockstep, Outcome


def _signature(outcome: Outcome) -> str:
    """What has to persist: the first thing that differs, without addresses."""
    name = outcome.differences[0].name if outcome.differences else ""
    return re.sub("0x.*|[(].*", "", name)


def shrink(lockstep: Lockstep, program: Program, outcome: Outcome, most: int = 600) -> tuple[Program, Outcome]:
    """A smaller program with the same difference, and its outcome, after at most `most` runs."""
    wanted = _signature(outcome)
    steps = outcome.steps
    best, shown = program, outcome
    runs = 0

    def attempt(candidate: Program) -> bool:
        nonlocal best, shown, runs
        if runs >= most:
            return False
        runs += 1
        try:
            found = lockstep.run(candidate.image(), steps=min(steps, shown.steps + 200))
        except DoesNotFit:
            return False
        if _signature(found) != wanted:
            return False
        best, shown = candidate, found
        return True

    def minimise(length: Callable[[], int], without: Callable[[int, int], Program]) -> None:
        """Drop runs of entries, halving their size."""
        size = max(1, length() // 2)
        while True:
            at = 0
            while at < length():
                if not attempt(without(at, size)):
                    at += size
            if size == 1:
                return
            size //= 2

    minimise(lambda: len(best.units), lambda at, count: best.without(at, count))
    minimise(lambda: len(best.csrs), lambda at, count: replace(best, csrs=best.csrs[:at] + best.csrs[at + count :]))
    for unit_at in range(len(best.units)):
        item_at = 0
        while item_at < len(best.units[unit_at].items):
            unit = best.units[unit_at]
            shorter = replace(unit, items=unit.items[:item_at] + unit.items[item_at + 1 :])
            if not attempt(replace(best, units=(*best.units[:unit_at], shorter, *best.units[unit_at + 1 :]))):
                item_at += 1
    for offset in tuple(best.memory):
        attempt(replace(best, memory={key: value for key, value in best.memory.items() if key != offset}))
    for i in range(32):
        if best.x[i]:
            attempt(replace(best, x=(*best.x[:i], 0, *best.x[i + 1 :])))
        if best.f[i]:
            attempt(replace(best, f=(*best.f[:i], 0, *best.f[i + 1 :])))
    return best, shown
