"""The long run: see the package."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .generate import generate
from .program import DoesNotFit
from .report import describe
from .runner import Lockstep, run_elf
from .shrink import shrink
from .spike import SpikeError

PHASES: dict[str, tuple[str, ...]] = {"user": ("user",), "privileged": ("privileged",), "translation": ("translation",)}
PHASES["all"] = ("user", "privileged", "translation")


def main(arguments: list[str] | None = None) -> int:
    """0: no difference that is not allowed; 1: some; 2: cannot run."""
    parser = argparse.ArgumentParser(prog="python -m tests.lockstep", description="Compare this hart with Spike.")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=100, help="seeds to run, each in every phase")
    parser.add_argument("--instructions", type=int, default=2000, help="most steps of a program")
    parser.add_argument("--units", type=int, default=400, help="units of instructions in a program")
    parser.add_argument("--phase", choices=PHASES, default="all")
    parser.add_argument("--stride", type=int, help="steps between comparisons of the CSRs (1; for --elf 64)")
    parser.add_argument("--elf", metavar="FILE", help="run this bare program instead")
    parser.add_argument("--no-shrink", action="store_true", help="show failing programs whole")
    options = parser.parse_args(arguments)
    try:
        if options.elf:
            return _elf(options.elf, options.instructions, options.stride or 64)
        return _random(options)
    except SpikeError as error:
        print(error, file=sys.stderr)
        return 2


def _elf(path: str, steps: int, stride: int) -> int:
    started = time.process_time()
    outcome = run_elf(path, steps, stride)
    spent = time.process_time() - started
    print(f"{path}: {outcome.steps} steps in {spent:.0f} s{', ' + outcome.ending if outcome.ending else ''}")
    _notes(Counter(outcome.notes))
    if outcome.agrees:
        return 0
    print(outcome.describe())
    return 1


def _random(options: argparse.Namespace) -> int:
    lockstep = Lockstep()
    endings: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    steps = failures = programs = 0
    started = time.process_time()
    for seed in range(options.seed, options.seed + options.count):
        for phase in PHASES[options.phase]:
            program = generate(seed, phase, options.units)
            try:
                image = program.image()
            except DoesNotFit as error:
                print(f"{program.label}: {error}", file=sys.stderr)
                return 2
            outcome = lockstep.run(image, steps=options.instructions, stride=options.stride or 1)
            programs += 1
            steps += outcome.steps
            notes.update(outcome.notes)
            endings[outcome.ending or "all steps made"] += 1
            if not outcome.agrees:
                failures += 1
                if not options.no_shrink:
                    program, outcome = shrink(lockstep, program, outcome)
                print(describe(program, outcome), flush=True)
        if sys.stderr.isatty():
            print(f"\r{programs} programs, {steps} steps, {failures} differ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    spent = time.process_time() - started
    print(f"{programs} programs, {steps} steps, {spent:.0f} s, {failures} differ")
    for ending, count in endings.most_common():
        print(f"  {count} ended: {ending}")
    _notes(notes)
    return 1 if failures else 0


def _notes(notes: Counter[str]) -> None:
    for title, count in notes.most_common():
        print(f"  {count} allowed: {title}")


if __name__ == "__main__":
    sys.exit(main())
