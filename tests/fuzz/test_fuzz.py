"""A short fuzz of the native hart; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from . import __main__ as fuzz


@pytest.fixture(scope="module")
def program() -> Path:
    """The variant with tiny tables, under sanitizers where the compiler has them."""
    try:
        return fuzz.build("small", "quick")
    except fuzz.BuildError as error:
        if "has no sanitizers" not in str(error):
            raise
        return fuzz.build("small", "none")


def test_random_machines_keep_every_invariant(program: Path) -> None:
    done = fuzz.run(program, 1, 1 << 40, 15, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr[-4000:]
    counts = re.search(
        r"^cases (\d+), exact (\d+), comparisons (\d+), runs \d+, steps (\d+)", done.stdout, re.MULTILINE
    )
    assert counts is not None, done.stdout[-1000:]
    cases, exact, comparisons, steps = map(int, counts.groups())
    assert "no failure" in done.stdout
    assert cases >= 20 and exact >= 5 and comparisons > exact and steps > 100_000


def test_a_seed_is_a_case(program: Path) -> None:
    """What a seed does is the same every time, so that a failure can be seen again."""
    first, second = (fuzz.run(program, 7, 3, 60, "v", stdout=subprocess.PIPE).stdout for _ in range(2))
    assert first == second
    assert len(re.findall(r"^seed \d+: ", first, re.MULTILINE)) == 3


def test_a_compiler_without_sanitizers_is_named(tmp_path: Path) -> None:
    compiler = tmp_path / "plain-cc"
    compiler.write_text("#!/bin/sh\necho 'plain-cc: unrecognized option -fsanitize' >&2\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(fuzz.BuildError, match=r"plain-cc.* has no sanitizers .*unrecognized option"):
        fuzz.check_sanitizers([str(compiler)], fuzz.CHECKS["full"], tmp_path)
