"""What programs read: every command's data keeps the convention, and fits the schema that is documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schema

from rvtui import commands

_SAMPLES: list[tuple[str, Any]] = []


@pytest.fixture
def samples() -> list[tuple[str, Any]]:
    if not _SAMPLES:
        _SAMPLES.extend(schema.samples())
    return _SAMPLES


def test_every_command_answers_by_the_convention_and_the_schema(samples: list[tuple[str, Any]]) -> None:
    """`python tests/rvtui/schema.py` writes the page again where data has grown."""
    described = json.loads(schema.PAGE.read_text())["$defs"]
    problems = []
    for name, data in samples:
        problems += [f"{name}: {each}" for each in schema.violations(data)]
        if name not in described:
            problems.append(f"{name} is not described")
        elif why := schema.misfit(data, described[name]):
            problems.append(f"{name}: {why}")
    assert not problems, "\n".join(sorted(set(problems)))
    assert {name for name, _ in samples} == commands.COMMANDS.keys() - schema.OF_SCREENS
    assert described.keys() == commands.COMMANDS.keys() - schema.OF_SCREENS


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"pc": 5}, "ought to be text"),
        ({"size": "0x10"}, "ought to be a number"),
        ({"executed": 1 << 60}, "too large"),
        ({"novelty": 5}, "nobody has said"),
        ({"rows": [{"address": "main"}]}, "not as addresses"),
        ({"state": {"lcr": 3}}, "ought to be text"),
        ({"registers": {"a0": 3}}, "ought to be text"),
    ],
)
def test_the_convention_notices(data: Any, says: str) -> None:
    assert says in next(schema.violations(data))


def test_schemas_notice_what_does_not_fit() -> None:
    known = schema.merged(schema.of({"a": 1, "b": ["0x1"]}), schema.of({"a": None, "b": []}))
    assert schema.misfit({"a": 7, "b": ["0xff"]}, known) is None
    assert schema.misfit({"a": None, "b": []}, known) is None
    good = {"a": 1, "b": []}
    for data in ({**good, "a": "x"}, {"a": 1}, {**good, "b": ["1"]}, {**good, "c": 0}, [], {**good, "a": True}):
        assert schema.misfit(data, known), data
