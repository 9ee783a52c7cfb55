"""Rules, and how they are collected: `@rule` on a function that asserts one sentence of the manual.

A rule runs once for each of its cases; a case is a set of arguments with a readable name. Chapters are modules of this
package; the order of CHAPTERS is the order of the fidelity page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from itertools import product
from typing import Any

from .chapters import CHAPTERS

Check = Callable[..., None]


@dataclass(frozen=True)
class Rule:
    """One sentence of the manual, and the cases that show whether the hart keeps to it."""

    id: str
    sentence: str
    section: str
    rows: tuple[int, ...]
    chapter: str
    check: Check
    cases: Mapping[str, Mapping[str, Any]]

    def run(self, *, first: bool = False) -> list[str]:
        """Carry out every case; a line for each that failed, or for the first."""
        broken = []
        for name, arguments in self.cases.items():
            try:
                self.check(**arguments)
            except Exception as error:
                broken.append(f"{self.id}[{name}]: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
                if first:
                    break
        return broken


_RULES: dict[str, Rule] = {}


def rule(
    id: str,
    sentence: str,
    *,
    section: str,
    rows: Iterable[int] = (),
    cases: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Check], Check]:
    """State a rule. `rows`: the rows it covers of the table of what implementations got wrong (rows.py)."""

    def keep(check: Check) -> Check:
        assert id not in _RULES, f"two rules are called {id}"
        chapter = check.__module__.rpartition(".")[2]
        assert cases is None or cases, f"{id} has no case"
        _RULES[id] = Rule(id, sentence, section, tuple(rows), chapter, check, {"": {}} if cases is None else cases)
        return check

    return keep


def label(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value < 100 else f"{value:#x}"
    return str(value).replace(", ", ",").replace(" ", "_")


def grid(**axes: Iterable[Any] | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A case for every combination of the axes' values; an axis with names for its values is a mapping."""
    named = [
        list(axis.items()) if isinstance(axis, Mapping) else [(label(value), value) for value in axis]
        for axis in axes.values()
    ]
    return {
        "-".join(name for name, _ in choice): dict(zip(axes, (value for _, value in choice), strict=True))
        for choice in product(*named)
    }


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of the chapters."""
    for chapter in CHAPTERS:
        import_module(f".{chapter}", __package__)
    return tuple(sorted(_RULES.values(), key=lambda rule: CHAPTERS.index(rule.chapter)))


def cases() -> Iterator[tuple[str, Rule, Mapping[str, Any]]]:
    """(name, rule, arguments) of every case."""
    for each in rules():
        for name, arguments in each.cases.items():
            yield f"{each.id}[{name}]" if name else each.id, each, arguments
