"""The fidelity page, read out: every rule of the conformance suite, by section of the manual, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from textwrap import wrap
from typing import Any

from emulator.errors import EmulatorError

WIDTH = 80
MARKS = {"holds": "✓", "broken": "✗"}


class PageError(EmulatorError):
    """The page is not there, or nothing in it is what was asked for."""


def page() -> dict[str, Any]:
    try:
        text = resources.files("rvtui").joinpath("docs", "fidelity.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise PageError(f"the fidelity page cannot be read: {error}") from None
    return found


def selected(data: dict[str, Any], words: Sequence[str]) -> list[dict[str, Any]]:
    """Rules that have every word in their id, sentence or section, whatever its case."""

    def matches(rule: dict[str, Any], word: str) -> bool:
        return any(word.casefold() in rule[name].casefold() for name in ("id", "sentence", "section"))

    rules = [rule for rule in data["rules"] if all(matches(rule, word) for word in words)]
    if words and not rules:
        raise PageError(f"no rule has {' and '.join(map(repr, words))} in its id, sentence or section")
    return rules


def text_of_rules(rules: Sequence[dict[str, Any]]) -> Iterable[str]:
    for section in dict.fromkeys(rule["section"] for rule in rules):
        yield from wrap(section, WIDTH)
        for rule in rules:
            if rule["section"] != section:
                continue
            yield from wrap(f"{rule['sentence']}.", WIDTH, initial_indent=f"  {_mark(rule)} ", subsequent_indent="    ")
            yield f"    {rule['id']}, {_count(rule['cases'], 'case')}"
        yield ""
    yield summary(rules)


def summary(rules: Sequence[dict[str, Any]]) -> str:
    broken = sum(rule["verdict"] != "holds" for rule in rules)
    verdict = f"{broken} broken" if broken else "all hold" if len(rules) > 1 else "it holds"
    return f"{_count(len(rules), 'rule')}, {_count(sum(rule['cases'] for rule in rules), 'case')}: {verdict}"


def text_of_rows(data: dict[str, Any]) -> Iterable[str]:
    """What implementations got wrong, row by row, and the rules that keep this hart from it."""
    for row in data["rows"]:
        rules = [rule for rule in data["rules"] if row["row"] in rule["rows"]]
        mark = "-" if not rules else MARKS["broken" if any(r["verdict"] != "holds" for r in rules) else "holds"]
        head = f"{row['row']:>3} {mark} "
        yield from wrap(row["title"], WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
        said = ", ".join(rule["id"] for rule in rules) or f"no rule: {row['without']}"
        indent = " " * len(head)
        yield from wrap(said, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    covered = sum(not row["without"] for row in data["rows"])
    yield ""
    yield f"{covered} of {len(data['rows'])} rows have rules"


def show(words: Sequence[str], *, rows: bool = False, as_json: bool = False) -> None:
    data = page()
    if as_json:
        print(json.dumps(data | {"rules": selected(data, words)}, indent=1, ensure_ascii=False))
        return
    lines = text_of_rows(data) if rows else text_of_rules(selected(data, words))
    print("\n".join(lines))


def _mark(rule: dict[str, Any]) -> str:
    return MARKS.get(rule["verdict"], "✗")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
