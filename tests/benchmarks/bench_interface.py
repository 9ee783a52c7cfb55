"""What the screen costs: the speed of a guest in the application at 200x50, all panes of the largest layout open,
beside the same guest without a screen.

    python tests/benchmarks/bench_interface.py [--seconds 3] [--rounds 5]

Both run in one process, in turn; the guest is an endless loop of loads, stores and arithmetic in M-mode. Prints
millions of instructions per second of wall time, their ratio, pair by pair, and the median.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from emulator import Machine
from rvtui.application import Application
from rvtui.session import Session

RAM = 0x8000_0000
#: auipc x2, 1; then: ld x5,0(x2); addi x5,x5,1; sd x5,0(x2); addi x6,x6,3; xor x7,x7,x6; bne x5,x0,-20
LOOP = (0x00001117, 0x00013283, 0x00128293, 0x00513023, 0x00330313, 0x0063C3B3, 0xFE0296E3)


def guest() -> Machine:
    machine = Machine(memory=16 << 20)
    machine.memory.write(RAM, b"".join(word.to_bytes(4, "little") for word in LOOP))
    machine.boot(RAM)
    return machine


def headless(seconds: float) -> float:
    machine = guest()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        machine.run(10_000_000)
    return machine.executed / (time.monotonic() - started) / 1e6


async def on_screen(seconds: float) -> float:
    machine = guest()
    session = Session(machine)
    session.start()
    application = Application(session)
    async with application.run_test(size=(200, 50)) as pilot:
        await pilot.pause(0.5)
        session.run()
        await pilot.pause(0.5)
        first, started = machine.executed, time.monotonic()
        await pilot.pause(seconds)
        speed = (machine.executed - first) / (time.monotonic() - started) / 1e6
    session.close()
    return speed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for _ in range(options.rounds):
        alone, shown = headless(options.seconds), asyncio.run(on_screen(options.seconds))
        ratios.append(shown / alone)
        print(f"headless {alone:7.0f}  on screen {shown:7.0f}  million instructions/s  ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
