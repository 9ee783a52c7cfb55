"""Builds the benchmark programs: ``python tests/benchmarks/programs/build.py [--check] [NAME...]``.

``--host`` runs them on this machine instead and prints the checksums; each must equal `expected` in its source.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from emulator.guests.build import Program, main  # noqa: E402

PROGRAMS = {
    name: Program(("start.S", f"{name}.c"), script="program.ld", optimize=("-O2",)) for name in ("mix", "sieve", "vm")
}


def host_checksum(name: str) -> int:
    """What the program computes when it is compiled for this machine. Raises `CalledProcessError` with `stderr` set."""
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch) / name
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O1", "-Wall", "-Werror"]
        subprocess.run(
            [*compiler, "-o", str(binary), "host.c", f"{name}.c"], cwd=HERE, check=True, capture_output=True, text=True
        )
        done = subprocess.run([str(binary)], check=False, capture_output=True, text=True)
        return int(done.stdout, 16)


if __name__ == "__main__":
    if sys.argv[1:] == ["--host"]:
        for name in PROGRAMS:
            print(f"{name}: {host_checksum(name):#018x}")
    else:
        sys.exit(main(PROGRAMS, HERE, HERE / "elf", "python tests/benchmarks/programs/build.py"))
