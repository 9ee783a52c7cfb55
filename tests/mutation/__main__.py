"""Try mutants of the native hart on the conformance suite.

python -m tests.mutation [--file mmu.c] [--function judge_leaf] [--sample N --seed S] [--jobs N] [--report FILE]

The report has a line of JSON for each mutant. Exit status 1: one survived that scope.py does not explain.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .engine import EQUAL, KILLED, STILLBORN, SURVIVED, Engine
from .scope import every, explained, stale


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--file", action="append", help="only mutants of this file; may be repeated")
    parser.add_argument("--function", action="append", help="only of this function, or of this CSR")
    parser.add_argument("--sample", type=int, help="only so many, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first", action="append", default=[], help="rules to begin with: a word of their ids")
    parser.add_argument("--beside", action="store_true", help="try survivors on the emulator's own tests too")
    parser.add_argument("--explained", action="store_true", help="try those too that scope.py calls equivalent")
    parser.add_argument("--no-control", action="store_true", help="do not try the hart as it is first")
    parser.add_argument("--list", action="store_true", help="list mutants, try none")
    parser.add_argument("--again", help="only what survived in this report")
    parser.add_argument(
        "--known", action="append", default=[], help="an earlier report: what killed a mutant there goes first on it"
    )
    parser.add_argument(
        "--most", type=int, help="only so many cases of a rule: quicker, but survivors must be tried again"
    )
    parser.add_argument(
        "--report", help="add a line of JSON for each mutant; those that have one already are not tried"
    )
    options = parser.parse_args(arguments)
    mutants = list(every())
    lost = stale(mutants)
    for entry in lost:
        print(f"matches nothing any more: {entry}")
    if options.file:
        mutants = [mutant for mutant in mutants if mutant.file in options.file]
    if options.function:
        mutants = [mutant for mutant in mutants if mutant.function in options.function]
    if not options.explained:
        mutants = [mutant for mutant in mutants if not explained(mutant)]
    if options.again:
        wanted = {key for key, row in rows_of(options.again) if row["verdict"] == SURVIVED}
        mutants = [mutant for mutant in mutants if (mutant.file, mutant.function, mutant.change) in wanted]
    if options.report and Path(options.report).exists():
        done = {key for key, _ in rows_of(options.report)}
        mutants = [mutant for mutant in mutants if (mutant.file, mutant.function, mutant.change) not in done]
    if options.sample is not None:
        drawn = random.Random(options.seed).sample(range(len(mutants)), min(options.sample, len(mutants)))
        mutants = [mutants[place] for place in sorted(drawn)]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.file}:{mutant.line} {mutant.function}: {mutant.change}")
        print(len(mutants))
        return 0
    known = {key: row["killer"] for report in options.known for key, row in rows_of(report) if row["verdict"] == KILLED}
    engine = Engine(
        mutants, options.jobs, most=options.most, beside=options.beside, first=cases_of(options.first), known=known
    )
    return 1 if run(engine, options.report, control=not options.no_control) or lost else 0


def rows_of(report: str) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
    """What a report says of each mutant, by its file, function and change; of one tried twice, the last comes last."""
    for row in map(json.loads, Path(report).read_text().splitlines()):
        yield (row["file"], row["function"], row["change"]), row


def cases_of(words: list[str]) -> list[str]:
    """Cases of the rules that have one of the words in their ids."""
    if not words:
        return []
    from tests.conformance.suite import rules

    return [f"{rule.id}[{case}]" for rule in rules() if any(word in rule.id for word in words) for case in rule.cases]


def run(engine: Engine, report: str | None, *, control: bool = True) -> int:
    """How many survived unexplained."""
    out = open(report, "a", buffering=1) if report else None  # noqa: SIM115
    try:
        if control:
            verdict = engine.control()
            if verdict.verdict != SURVIVED:
                print(f"the hart as it is breaks {verdict.killer}: {verdict.how}")
                return 1
            print(f"control: holds, {verdict.seconds:.1f} s", flush=True)
        print(f"{len(engine.mutants)} mutants", flush=True)
        counts: Counter[str] = Counter()
        survivors, noticed_beside = [], 0
        start = time.monotonic()
        for number, (mutant, verdict) in enumerate(engine.run(), 1):
            reason = explained(mutant)
            word = "explained" if reason and verdict.verdict == SURVIVED else verdict.verdict
            counts[word] += 1
            noticed_beside += verdict.verdict == KILLED and verdict.killer.startswith("tests/")
            if word == SURVIVED:
                survivors.append(mutant)
                print(f"SURVIVED {mutant.file}:{mutant.line} {mutant.function}: {mutant.change}", flush=True)
            if reason and verdict.verdict == KILLED:
                print(f"explained, but killed: {mutant.function}: {mutant.change}", flush=True)
            if number % 50 == 0:
                print(
                    f"{number}/{len(engine.mutants)} after {time.monotonic() - start:.0f} s: {dict(counts)}", flush=True
                )
            if out is not None:
                row = {
                    "file": mutant.file, "line": mutant.line, "function": mutant.function, "change": mutant.change,
                    "before": mutant.before, "verdict": word, "killer": verdict.killer, "how": verdict.how,
                    "seconds": round(verdict.seconds, 2),
                }  # fmt: skip
                out.write(json.dumps(row) + "\n")
        print(summary(counts, time.monotonic() - start))
        if engine.beside:
            print(f"{noticed_beside} of those killed only by tests/emulator")
        return len(survivors)
    finally:
        engine.close()
        if out is not None:
            out.close()


def summary(counts: Counter[str], seconds: float) -> str:
    tried = counts[KILLED] + counts[SURVIVED] + counts["explained"]
    return (
        f"{sum(counts.values())} mutants in {seconds:.0f} s: {counts[KILLED]} of {tried} killed, "
        f"{counts['explained']} explained, {counts[SURVIVED]} survived unexplained; "
        f"{counts[EQUAL]} compile to the same code, {counts[STILLBORN]} not at all"
    )


if __name__ == "__main__":
    sys.exit(main())
