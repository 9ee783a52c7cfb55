"""How long a whole system takes, from reset to power off, beside QEMU.

    python tests/benchmarks/bench_boot.py FIRMWARE --kernel F --initrd F [--append TEXT] [--memory 1G] [--rounds 5]

`rvtui run --bare FIRMWARE ... --headless` and `qemu-system-riscv64 -M virt -accel tcg,thread=single` take turns with
the same files in one invocation, as whole processes. Both must end with code 0, and their consoles must show each
`--shows` text. Prints the medians of wall and CPU seconds, and the median of the ratios taken pair by pair (above 1:
ours is quicker). Files are the user's own: nothing that boots so far comes with the package.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time


def timed(command: list[str], shows: list[str]) -> tuple[float, float]:
    """(wall, CPU) seconds of a whole process. SystemExit where it fails or does not say what it should."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    missing = [text for text in shows if text.encode() not in done.stdout]
    if done.returncode or missing:
        tail = done.stdout[-2000:].decode("utf-8", "replace")
        raise SystemExit(f"{' '.join(command)}\nended with code {done.returncode}, without {missing}:\n{tail}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("firmware")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--append", default="console=ttyS0")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shows", action="append", default=[], metavar="TEXT", help="what each console must show")
    options = parser.parse_args()
    files = [options.firmware, "--kernel", options.kernel, "--initrd", options.initrd, "--append", options.append]
    commands = {
        "ours": [sys.executable, "-m", "rvtui", "run", "--bare", *files, "--memory", options.memory, "--headless"],
    }
    if (qemu := shutil.which("qemu-system-riscv64")) is not None:
        commands["qemu"] = [
            qemu, "-M", "virt", "-cpu", "rv64,h=true", "-m", options.memory, "-nographic", "-no-reboot", "-net", "none",
            "-accel", "tcg,thread=single", "-bios", options.firmware, "-kernel", options.kernel,
            "-initrd", options.initrd, "-append", options.append,
        ]  # fmt: skip
    else:
        print("qemu-system-riscv64 is not here: only our own figures follow")
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            runs[name].append(timed(command, options.shows))
    for name, times in runs.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:<6} {wall:7.2f} s wall {cpu:7.2f} s CPU")
    if "qemu" in runs:
        pairs = zip(runs["qemu"], runs["ours"], strict=True)
        wall, cpu = (
            statistics.median(ratios) for ratios in zip(*((q[0] / o[0], q[1] / o[1]) for q, o in pairs), strict=True)
        )
        print(f"qemu/ours {wall:.2f} wall, {cpu:.2f} CPU (medians of {options.rounds} pairs)")


if __name__ == "__main__":
    main()
