"""One test for each rule and case; and the fidelity page is that of these rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .page import PATH, outline
from .rows import ROWS, WITHOUT_RULE
from .suite import Rule, cases, rules

_CASES = list(cases())


@pytest.mark.parametrize(("rule", "arguments"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES])
def test_rule(rule: Rule, arguments: Mapping[str, Any]) -> None:
    rule.check(**arguments)


def test_every_row_has_a_rule_or_a_reason() -> None:
    covered = {row for each in rules() for row in each.rows}
    assert set(ROWS) == set(range(1, 84))
    assert covered | set(WITHOUT_RULE) == set(ROWS)
    assert not covered & set(WITHOUT_RULE)


def test_the_page_states_these_rules() -> None:
    """After a change of rules: python -m tests.conformance"""
    page = json.loads(PATH.read_text())
    for each in page["rules"]:
        assert each.pop("verdict") == "holds", each["id"]
    assert page == outline()
