"""`rvtui conformance`: the fidelity page, read out."""

from __future__ import annotations

import json

import pytest
from desk import run

from rvtui import conformance


def lines(*arguments: str) -> list[str]:
    done = run("conformance", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def test_every_rule_is_shown_in_80_columns() -> None:
    shown, data = lines(), conformance.page()
    assert max(map(len, shown)) <= 80
    for rule in data["rules"]:
        assert any(line.strip().startswith(f"{rule['id']}, ") for line in shown), rule["id"]
    assert sum(line.startswith("  ✓ ") for line in shown) == len(data["rules"])
    assert shown[-1].startswith(f"{len(data['rules'])} rules, ") and shown[-1].endswith("all hold")


def test_words_choose_rules() -> None:
    shown = lines("hgatp.mode", "WARL")
    assert shown[-1].startswith("1 rule, ")
    assert any("hgatp.mode.warl" in line for line in shown)
    done = run("conformance", "no such thing")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().count("\n") == 1


def test_rows_are_all_listed() -> None:
    shown = lines("--rows")
    assert max(map(len, shown)) <= 80
    numbers = [int(line[:3]) for line in shown if line[:3].strip().isdigit()]
    assert numbers[:83] == list(range(1, 84))
    assert run("conformance", "--rows", "word").returncode == 2


def test_json_is_the_data() -> None:
    done = run("conformance", "--json")
    assert json.loads(done.stdout) == conformance.page()
    chosen = json.loads(run("conformance", "--json", "trap.spvp").stdout)
    assert [rule["id"] for rule in chosen["rules"]] == ["trap.spvp"]


def test_a_broken_rule_is_marked() -> None:
    rule = {"id": "a.b", "sentence": "It is so", "section": "S", "rows": [1], "cases": 2, "verdict": "broken"}
    text = list(conformance.text_of_rules([rule]))
    assert text[1] == "  ✗ It is so." and text[-1] == "1 rule, 2 cases: 1 broken"
    data = {"rules": [rule], "rows": [{"row": 1, "title": "T", "without": ""}]}
    assert next(iter(conformance.text_of_rows(data))) == "  1 ✗ T"


@pytest.mark.parametrize("word", ["wfi", "Trap Entry"])
def test_sections_stand_above_their_rules(word: str) -> None:
    data = conformance.page()
    chosen = conformance.selected(data, [word])
    text = list(conformance.text_of_rules(chosen))
    for rule in chosen:
        place = next(i for i, line in enumerate(text) if line.strip().startswith(f"{rule['id']}, "))
        above = [line for line in text[:place] if line and not line.startswith(" ")]
        assert rule["section"].endswith(above[-1])
