"""The keyboard given to a guest's console, until Ctrl-] takes it back."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emulator.errors import EmulatorError
from rvtui.plaintext import LiveText
from rvtui.text import clean

if TYPE_CHECKING:
    from rvtui.monitor.shell import Monitor

ESCAPE = b"\x1d"
"""Ctrl-]."""
WAIT_SECONDS = 0.03


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key as it is, Ctrl-C too; put back afterwards."""
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[0] &= ~(termios.ICRNL | termios.IXON)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
        yield
    finally:
        old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # from the background this would stop us
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, old)


def attached(monitor: Monitor, index: int) -> None:
    """The machine runs, keys go to console number `index`, and what it prints appears as it comes, without what could
    break the terminal. Ends with Ctrl-], or where the machine stops."""
    session, out = monitor.session, sys.stdout
    name = clean(session.view.consoles[index], 40)
    written = monitor.written()
    live = LiveText(plain=monitor.plain)
    session.ends_idle = False
    try:
        session.run().result()
    except EmulatorError as error:
        session.ends_idle = True
        monitor.complain(str(error))
        return
    leave = "Control and right bracket" if monitor.plain else "Ctrl-]"
    out.write(f"the keys go to {name}; {leave} takes them back\n")
    try:
        with _raw():
            while session.running:
                out.write(live.feed(session.drain(index, 64 << 10)))
                out.flush()
                monitor.hold(index)
                session.nudge()
                if not select.select([sys.stdin], [], [], WAIT_SECONDS)[0]:
                    continue
                data = os.read(sys.stdin.fileno(), 4096)
                keys, left, _ = data.partition(ESCAPE)
                if keys:
                    session.send(index, keys)
                if left or not data:
                    break
    finally:
        session.pause().result()
        session.ends_idle = True
        out.write(live.feed(session.drain(index, 64 << 10)) + live.end())
        out.flush()
    monitor.tell_stop(written)
