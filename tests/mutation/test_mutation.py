"""The tool works: a few mutants of each kind are made, built, and killed by the conformance suite."""

from __future__ import annotations

import random
import shutil
from collections import Counter

import pytest

from .engine import GENERATED, KILLED, SURVIVED, Engine, compiler
from .scope import FILES, every, explained, stale
from .source import HART, Source
from .variants import source_text

builds = pytest.mark.skipif(
    not (GENERATED / "_native.c").exists() or shutil.which(compiler()[0]) is None,
    reason="needs a C compiler, and the C that a build in this directory generates",
)


def test_what_is_explained_is_still_there() -> None:
    assert stale(list(every())) == []


def test_every_function_of_every_file_is_found() -> None:
    for file in FILES:
        source = Source(HART / file)
        heads = [line for line in source.text.splitlines() if line[:1].isalpha() and line.rstrip().endswith(") {")]
        assert len(source.functions) >= len(heads)


def test_a_file_holds_many_mutants_at_once() -> None:
    """Each function becomes a choice between copies of it, and text outside of functions stays as it is."""
    source = Source(HART / "csr.c")
    mutants = [mutant for mutant in source.mutants() if mutant.function == "float_off"][:2]
    text = source_text(source, enumerate(mutants, 1))
    assert text.count("float_off__1(") == text.count("float_off__2(") == 2, "a copy, and a choice of it"
    assert "default: return float_off__0(h); break;" in text
    assert mutants[0].text in text.partition('"mutant1"')[2].partition('"mutant2"')[0]


CLOSED = {
    "judge_leaf", "judge", "exception_mode", "vector", "stacked", "unstacked", "do_mret", "csr_check",
    "next_interrupt", "kept_by", "interrupts_for", "seen_as", "sstatus", "vsstatus", "hstatus", "satp", "hedeleg",
    "INTERRUPT_PRIORITY", "setup", "stands_still", "count_event", "csr_write_counter_setup", "csr_read_scountovf",
}  # fmt: skip
"""Functions and registers of which no mutant may survive."""


@builds
def test_a_sample_is_killed() -> None:
    mutants = [mutant for mutant in every() if mutant.function in CLOSED and not explained(mutant)]
    sample = random.Random(83).sample(mutants, 12)
    engine = Engine(sample, 1)
    try:
        found = list(engine.run())
    finally:
        engine.close()
    alive = [f"{mutant.function}: {mutant.change}" for mutant, verdict in found if verdict.verdict == SURVIVED]
    assert alive == []
    counts = Counter(verdict.verdict for _, verdict in found)
    assert counts[KILLED] >= 8, counts


@builds
def test_the_hart_itself_is_not_killed() -> None:
    """Through the same build, a few cases of each rule; all of them are tests of their own."""
    engine = Engine([mutant for mutant in every() if mutant.function == "vector"][:1], 1, most=2)
    try:
        assert engine.control().verdict == SURVIVED
    finally:
        engine.close()
