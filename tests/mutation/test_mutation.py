"""The tool works: a few mutants of each kind are made, built, and killed by the conformance suite."""

from __future__ import annotations

import random
from collections import Counter

from .engine import EQUAL, KILLED, STILLBORN, SURVIVED, Engine
from .scope import FILES, every, explained, stale
from .source import HART, Source


def test_what_is_explained_is_still_there() -> None:
    assert stale(list(every())) == []


def test_every_function_of_every_file_is_found() -> None:
    for file in FILES:
        source = Source(HART / file)
        heads = [line for line in source.text.splitlines() if line[:1].isalpha() and line.rstrip().endswith(") {")]
        assert len(source.functions) >= len(heads)


def test_a_sample_is_killed() -> None:
    mutants = [mutant for mutant in every() if not explained(mutant)]
    sample = random.Random(83).sample(mutants, 12)
    engine = Engine(sample, 1)
    try:
        assert engine.control().verdict == SURVIVED, "the hart as it is"
        found = list(engine.run())
    finally:
        engine.close()
    counts = Counter(verdict.verdict for _, verdict in found)
    alive = [f"{mutant.function}: {mutant.change}" for mutant, verdict in found if verdict.verdict == SURVIVED]
    assert alive == []
    assert counts[KILLED] >= 8
    assert counts[EQUAL] + counts[STILLBORN] <= 4
