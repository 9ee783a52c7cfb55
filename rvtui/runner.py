"""Running a machine piece by piece, so that whoever runs it can look up in between."""

from __future__ import annotations

import threading
import time

from emulator.hart import Exit
from emulator.machine import CLOCK_LIMIT, Machine

CHUNK_SECONDS = 0.050
"""One per frame: at its end the runner needs the interpreter lock, which the application holds while it draws the frame
before. Whoever cannot wait calls `interrupt`."""
LONGEST_CHUNK = 50_000_000
"""Instructions."""
LATE_SECONDS = 0.100
"""A chunk that takes longer, as one with many device accesses may, is ended by `nudge`."""
SLEEP_CLOCKS = 10_000_000
"""Guest time, in instructions, that may pass asleep before a paced chunk ends."""
CLOCK_HZ = 1_000_000_000
"""Nominal instructions per second of guest time: one per nanosecond."""
MAXIMUM_DEBT = 0.25


class Runner:
    """Sizes chunks to last about 50 ms. Where a run is cut never changes what the guest does.

    Paced, guest time that passes in WFI is to last as long outside: `owed` says how many seconds the caller should let
    pass after a chunk.
    """

    def __init__(self, machine: Machine, *, pace: bool) -> None:
        self.machine = machine
        self.pace = pace
        self.owed = 0.0
        self.slept = 0.0
        """Seconds of guest time that the last chunk slept."""
        self._chunk = 100_000
        self._started = 0.0

    def run(self, most: int | None = None, *, share: float = 1.0, leave_breakpoint: bool = False) -> Exit:
        """One chunk or a share of it, of at most `most` instructions.

        `leave_breakpoint`: the next instruction runs even if a breakpoint stands there.
        """
        machine = self.machine
        budget = max(1, int(self._chunk * share))
        if most is not None:
            budget = min(budget, most)
        clock, executed = machine.clock, machine.executed
        limit = clock + budget + SLEEP_CLOCKS if self.pace else CLOCK_LIMIT
        self._started = time.monotonic()
        try:
            exit = (machine.resume if leave_breakpoint else machine.run)(budget, limit)
            elapsed = max(time.monotonic() - self._started, 1e-6)
        finally:
            self._started = 0.0
        done = machine.executed - executed
        if (done >= budget and share == 1.0) or elapsed > 2 * CHUNK_SECONDS:
            self._chunk = int(min(LONGEST_CHUNK, max(1000, done * min(4.0, max(0.05, CHUNK_SECONDS / elapsed)))))
        self.slept = max(0.0, (machine.clock - clock - done / len(machine.harts)) / CLOCK_HZ)
        self.owed = min(self.slept - elapsed, MAXIMUM_DEBT) if self.pace and self.slept > elapsed else 0.0
        return exit

    def nudge(self) -> None:
        """From another thread: end a chunk that takes too long."""
        started = self._started
        if started and time.monotonic() - started > LATE_SECONDS:
            self.machine.stop()

    def interrupt(self) -> None:
        """From another thread: end the chunk in progress, if there is one."""
        if self._started:
            self.machine.stop()


class Watch:
    """A thread that nudges, for callers that have nothing else that ticks."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(LATE_SECONDS):
            self._runner.nudge()
