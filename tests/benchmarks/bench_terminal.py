"""What the application costs on a terminal: the speed that is left, how fast keys answer, whether memory grows.

    python tests/benchmarks/bench_terminal.py [--rows 50] [--columns 200] [--rounds 5] [--keys 200] [--minutes 0]
        [-- ARGUMENTS OF rvtui run]

`rvtui` runs as a process of its own on a pseudo-terminal that somebody reads. The guest is, unless arguments say which,
an endless loop of loads, stores and arithmetic in M-mode.

Speed: the time that more instructions take, headless beside on screen, pair by pair; starting is in neither.
Keys: from the write of a key to the arrival of the title of the pane that it focuses, while the guest runs at full
speed. Memory: resident set of the process, from a minute after the start on.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import select
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

LIMIT = b"stopped"
#: auipc x2, 1; then: ld x5,0(x2); addi x5,x5,1; sd x5,0(x2); addi x6,x6,3; xor x7,x7,x6; bne x5,x0,-20
LOOP = (0x00001117, 0x00013283, 0x00128293, 0x00513023, 0x00330313, 0x0063C3B3, 0xFE0296E3)
PANES = {b"3": b"3 Registers", b"4": b"4 CSRs", b"5": b"5 Disassembly", b"6": b"6 G-stage", b"1": b"1 VMs"}
"""Keys of panes that have a place in the largest layout, and what their borders say."""


class Screen:
    """`rvtui run` on a pseudo-terminal."""

    def __init__(self, arguments: Sequence[str], rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rvtui", "run", *arguments], stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def wait_for(self, text: bytes, seconds: float) -> float | None:
        """Seconds until new output has `text`; None where it does not come."""
        begun, seen = time.monotonic(), b""
        while (left := begun + seconds - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                seen = seen[-200:] + os.read(self.master, 1 << 16)
                if text in seen:
                    return time.monotonic() - begun
        return None

    def drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                os.read(self.master, 1 << 16)

    def send(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def resident(self) -> float:
        """MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def headless(arguments: Sequence[str], count: int) -> float:
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "rvtui", "run", "--headless", "--instructions", str(count), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return time.monotonic() - begun


def on_screen(arguments: Sequence[str], count: int, rows: int, columns: int) -> float:
    screen = Screen(["--instructions", str(count), *arguments], rows, columns)
    try:
        if screen.wait_for(LIMIT, 600) is None:
            raise SystemExit("it never stopped at its limit")
        return time.monotonic() - screen.started
    finally:
        screen.close()


def speed(arguments: Sequence[str], rows: int, columns: int, rounds: int, few: int, many: int) -> None:
    ratios = []
    for _ in range(rounds):
        alone = headless(arguments, many) - headless(arguments, few)
        shown = on_screen(arguments, many, rows, columns) - on_screen(arguments, few, rows, columns)
        ratios.append(alone / shown)
        rate = (many - few) / 1e6
        print(f"headless {rate / alone:6.0f}, on screen {rate / shown:6.0f} million instructions/s: {ratios[-1]:.3f}")
    if ratios:
        print(f"speed: median of {rounds} pairs {statistics.median(ratios):.3f}")


def keys(arguments: Sequence[str], rows: int, columns: int, presses: int) -> None:
    screen = Screen(arguments, rows, columns)
    chance = random.Random(1)
    took = []
    last = b""
    try:
        screen.wait_for(b"1 VMs", 30)
        screen.drain(3)
        for _ in range(presses):
            key = chance.choice([each for each in PANES if each != last])
            screen.send(key)
            found = screen.wait_for(PANES[key], 5)
            if found is None:
                raise SystemExit(f"key {key!r} was not answered")
            took.append(found * 1000)
            last = key
            screen.drain(chance.uniform(0.03, 0.25))
    finally:
        screen.close()
    if took:
        took.sort()
        middle, late = statistics.median(took), took[int(len(took) * 0.95)]
        print(f"keys: median {middle:.0f} ms, 95th percentile {late:.0f} ms, worst {took[-1]:.0f} ms of {presses}")


def growth(arguments: Sequence[str], rows: int, columns: int, minutes: float) -> None:
    screen = Screen(arguments, rows, columns)
    try:
        screen.drain(60)
        first = screen.resident()
        until = time.monotonic() + 60 * minutes
        while (left := until - time.monotonic()) > 0:
            screen.drain(min(left, 300))
            gone = minutes - max(0, until - time.monotonic()) / 60
            print(f"{gone:5.1f} min: {screen.resident():.1f} MiB", flush=True)
        print(f"memory: {first:.1f} MiB after a minute, {screen.resident() - first:+.1f} MiB in {minutes:g} minutes")
    finally:
        screen.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--few", type=int, default=1_000_000_000, help="instructions of the shorter runs")
    parser.add_argument("--many", type=int, default=6_000_000_000, help="and of the longer")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("arguments", nargs="*", help="of rvtui run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loop = Path(folder, "loop.bin")
        loop.write_bytes(b"".join(word.to_bytes(4, "little") for word in LOOP))
        arguments = options.arguments or ["--bare", str(loop)]
        size = options.rows, options.columns
        speed(arguments, *size, options.rounds, options.few, options.many)
        if options.keys:
            keys(arguments, *size, options.keys)
        if options.minutes:
            growth(arguments, *size, options.minutes)


if __name__ == "__main__":
    main()
