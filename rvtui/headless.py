"""Running without a screen: consoles to standard output, standard input to the first console, an exit code."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emulator.hart import Exit, ExitReason
from emulator.machine import Machine
from rvtui.cli import STOPPED
from rvtui.gdb import Listener, Server, serving
from rvtui.runner import Runner, Watch
from rvtui.session import Session
from rvtui.signature import Signature
from rvtui.subjects import console_names, consoles
from rvtui.text import clean

if TYPE_CHECKING:
    from rvtui.monitor import Script

LONGEST_LINE = 4096
"""With several guests: a line is printed at the latest when it has so many bytes."""
MOST_OUTPUT = 1 << 20
"""Bytes of a console that are printed at once."""
POLL_SECONDS = 0.02
"""Between looks at a machine that runs on another thread."""


_GOES_ON = frozenset(
    {ExitReason.BUDGET, ExitReason.STOPPED, ExitReason.BREAKPOINT, ExitReason.WATCHPOINT, ExitReason.EVENT}
)
"""Nobody is there to look."""


class Output:
    """Console output as it comes; with several consoles line by line, each after the name of its VM."""

    def __init__(self, machine: Machine, take: Callable[[int], bytes] | None = None) -> None:
        """`take`: new output of a console, where somebody else has taken it from the console already."""
        faces = consoles(machine)
        self._take = take or (lambda index: bytes(faces[index].take()))
        names = console_names(machine)
        width = max(len(name) for name in names)
        self._prefixes = [f"{clean(name):<{width}} | ".encode() for name in names]
        self._partial = [b""] * len(names)

    def pump(self) -> None:
        """Print what is new. Raises BrokenPipeError when nobody reads any more."""
        wrote = False
        for index in range(len(self._partial)):
            data = self._take(index)
            if not data:
                continue
            wrote = True
            if len(self._partial) == 1:
                _write(data)
                continue
            lines = (self._partial[index] + data).split(b"\n")
            for line in lines[:-1]:
                _write(self._prefixes[index] + line.rstrip(b"\r") + b"\n")
            rest = lines[-1]
            while len(rest) > LONGEST_LINE:
                _write(self._prefixes[index] + rest[:LONGEST_LINE] + b"\n")
                rest = rest[LONGEST_LINE:]
            self._partial[index] = rest
        if wrote:
            sys.stdout.flush()

    def finish(self) -> None:
        """Print what is left of lines that never ended."""
        self.pump()
        for prefix, rest in zip(self._prefixes, self._partial, strict=True):
            if rest:
                _write(prefix + rest.rstrip(b"\r") + b"\n")
        self._partial = [b""] * len(self._partial)
        sys.stdout.flush()


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)


class Input:
    """Standard input for the first console: a file as fast as the guest takes it, a terminal as typed."""

    def __init__(self, machine: Machine, feed: Callable[[bytes], int] | None = None) -> None:
        """`feed`: how to hand over, where the machine runs on another thread; returns how much was taken."""
        self._feed = feed or consoles(machine)[0].feed
        self._waiting = b""
        self.ended = False
        try:
            self._descriptor = sys.stdin.fileno()
            kind = os.fstat(self._descriptor).st_mode
        except (OSError, ValueError, AttributeError):
            self.ended, self.terminal, self._file = True, False, False
            return
        self._file = stat.S_ISREG(kind)
        self.terminal = os.isatty(self._descriptor)

    def pump(self, timeout: float | None = 0) -> bool:
        """Hand over what there is; wait up to `timeout` seconds for it (None: until there is). True if some was."""
        if not self._waiting and not self.ended:
            ready = self._file or select.select([self._descriptor], [], [], timeout)[0]
            if ready:
                try:
                    self._waiting = os.read(self._descriptor, 4096)
                except (BlockingIOError, InterruptedError):
                    return False
                except OSError:
                    self._waiting = b""
                self.ended = not self._waiting
        if not self._waiting:
            return False
        taken = int(self._feed(self._waiting))
        self._waiting = self._waiting[taken:]
        return taken > 0


@contextlib.contextmanager
def _typing(source: Input) -> Iterator[None]:
    """A terminal on standard input sends keys at once and unechoed; Ctrl-C still interrupts. Put back afterwards."""
    if not source.terminal:
        yield
        return
    import termios

    descriptor = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:
        yield
        return
    raw = termios.tcgetattr(descriptor)
    raw[0] &= ~(termios.ICRNL | termios.IXON)
    raw[3] &= ~(termios.ECHO | termios.ICANON)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
        yield
    finally:
        # From the background this would stop us: ignore the signal that does it.
        old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTTOU, old)


def run(
    machine: Machine, *, limit: int | None = None, save: str | None = None, signature: Signature | None = None,
    gdb: Listener | None = None, start: bool = True,
) -> int:  # fmt: skip
    """Run to the end, or for `limit` instructions; then save, if asked to. Returns the exit code.

    `signature` is written where the guest ended, whatever its code, and not where it was stopped. `gdb`: a debugger may
    come there, and without `start` the machine waits for it."""
    _warn(machine)
    target = None if limit is None else machine.executed + limit
    if gdb is None:
        exit = _alone(machine, target)
    else:
        machine, exit = _debugged(machine, target, gdb, start=start)
    if exit is None:
        # Where a snapshot was asked for, getting there is what was wanted.
        code, reason = (0, "") if save is not None else (STOPPED, f"stopped after {limit:,} instructions")
    else:
        code, reason = _verdict(exit)
    if signature is not None and exit is not None and exit.reason is ExitReason.HALTED:
        signature.write(machine.memory)
    if save is not None:
        import snapshots

        snapshots.save(machine, save)
    _warn(machine)
    if reason:
        print(f"rvtui: {clean(reason, 300)}", file=sys.stderr, flush=True)
    return code


def scripted(
    machine: Machine, scripts: Sequence[Script], *, as_json: bool, limit: int | None, save: str | None,
    signature: Signature | None,
) -> int:  # fmt: skip
    """The scripts drive the machine; without any it runs to its end. Returns what `quit` said, 1 or 2 where a line went
    wrong, else the guest's own code where it has ended."""
    from rvtui.monitor import Monitor
    from rvtui.monitor.script import of_command

    session = Session(machine, pace=False, limit=None if limit is None else machine.executed + limit)
    session.start()
    try:
        monitor = Monitor(session, as_json=as_json)
        good = monitor.scripts(scripts or [of_command("run")])
    finally:
        session.close()
    machine, exit = session.machine, session.exit
    code, reason = monitor.code, ""
    if good and not monitor.ended:
        if session.finished and exit is not None:
            code, reason = _verdict(exit)
        elif not scripts:
            code, reason = (STOPPED, session.reason) if save is None or exit is not None else (0, "")
    if signature is not None and session.finished:
        signature.write(machine.memory)
    if save is not None and good:
        import snapshots

        snapshots.save(machine, save)
    _warn(machine)
    if reason:
        print(f"rvtui: {clean(reason, 300)}", file=sys.stderr, flush=True)
    return code


def _verdict(exit: Exit) -> tuple[int, str]:
    """Exit code, and why if there is something to say."""
    match exit.reason:
        case ExitReason.HALTED:
            code = (exit.code or 0) & 0xFF
            if exit.code and not code:
                code = 1
            return code, (exit.message or f"the guest ended with code {exit.code}") if code else ""
        case ExitReason.IDLE:
            return STOPPED, exit.message or "deadlock: every hart waits and nothing can wake one"
        case ExitReason.TRAP_LOOP:
            return STOPPED, exit.message or "trap loop: traps follow traps and nothing retires"
    return STOPPED, exit.message


def _alone(machine: Machine, target: int | None) -> Exit | None:
    """How it ended; None where it has executed `target`."""
    output, source = Output(machine), Input(machine)
    runner = Runner(machine, pace=source.terminal)
    exit: Exit | None = None
    with _typing(source), Watch(runner):
        while target is None or machine.executed < target:
            # At a terminal, guest time spent asleep takes as long outside; keys cut it short.
            source.pump(runner.owed)
            left = None if target is None else target - machine.executed
            exit = runner.run(left, leave_breakpoint=exit is not None and exit.reason is ExitReason.BREAKPOINT)
            output.pump()
            _warn(machine)
            if exit.reason in _GOES_ON:
                continue
            if exit.reason is not ExitReason.IDLE:
                break
            if not source.ended and source.pump(None):
                continue
            if source.ended:
                break
        else:
            exit = None
        output.finish()
    return exit


def _debugged(
    machine: Machine, target: int | None, gdb: Listener, *, start: bool
) -> tuple[Machine, Exit | None]:
    """The same, with a debugger that may come, go, and end it; and restore another machine, which is then told."""
    killed, changed = threading.Event(), threading.Event()

    def feed(data: bytes) -> int:
        return session.call(lambda machine: int(consoles(machine)[0].feed(data))).result()

    source = Input(machine, feed)
    session = Session(machine, pace=source.terminal, limit=target)
    session.on_view = changed.set
    output = Output(machine, lambda index: session.drain(index, MOST_OUTPUT))
    print(f"rvtui: GDB: target remote {gdb}", file=sys.stderr, flush=True)
    session.start(run=start)
    try:
        with _typing(source), serving(session, gdb, runs=start, kill=killed.set) as server:
            assert server is not None
            while not killed.is_set() and not _over(session, server, source):
                source.pump(0)
                output.pump()
                _warn(machine)
                session.nudge()
                changed.wait(POLL_SECONDS)
                changed.clear()
            session.call(lambda machine: None).result()  # what the last chunk printed is collected by then
            output.finish()
    finally:
        session.close()
    exit = session.exit
    if killed.is_set():
        exit = Exit(ExitReason.STOPPED, message="ended by the debugger")
    elif target is not None and session.machine.executed >= target and not session.finished:
        exit = None
    elif exit is None:
        exit = Exit(ExitReason.STOPPED, message=session.reason)
    return session.machine, exit


def _over(session: Session, server: Server, source: Input) -> bool:
    """Whether nobody has anything more to do with the machine."""
    exit = session.exit
    if session.finished:
        return True
    if session.running:
        dead = exit is not None and exit.reason is ExitReason.IDLE and source.ended
        if dead and server.attached:
            session.call(lambda machine: session.stand("deadlock: every hart waits and nothing can wake one"))
        return dead and not server.attached
    if server.attached or server.abandoned or exit is None:
        return session.limit is not None and session.machine.executed >= session.limit and not server.attached
    if exit.reason in (ExitReason.BREAKPOINT, ExitReason.WATCHPOINT, ExitReason.EVENT):  # nobody is there to see it
        session.run()
        return False
    return exit.reason is ExitReason.TRAP_LOOP


def _warn(machine: Machine) -> None:
    for text in machine.warnings:
        print(f"rvtui: warning: {clean(text, 300)}", file=sys.stderr, flush=True)
    machine.warnings.clear()


def advance(machine: Machine, instructions: int) -> None:
    """Run quietly for so many instructions, or as far as the machine goes."""
    runner = Runner(machine, pace=False)
    target = machine.executed + instructions
    while machine.executed < target and runner.run(target - machine.executed).reason is ExitReason.BUDGET:
        pass


def print_info(path: str, info: Any, *, verified: bool) -> None:
    """What `rvtui snapshot info` and `verify` print."""
    rows = [
        ("file", f"{path}, {info.file_size:,} bytes, format {info.version[0]}.{info.version[1]}"),
        ("identity", info.identity),
        ("harts", str(info.harts)),
        ("VMs", ", ".join(info.vms) or "none (bare machine)"),
        ("executed", f"{info.executed:,} instructions"),
        ("clock", f"{info.clock:,}"),
        ("memory", f"{info.memory >> 20:,} MiB, {info.pages:,} pages in use, {info.contents:,} different"),
        ("pages", f"{info.uncompressed:,} bytes stored in {info.compressed:,}"),
    ]
    if info.parent:
        rows.append(("parent", info.parent))
    if info.note:
        rows.append(("note", info.note))
    if info.created is not None:
        rows.append(("created", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(info.created))))
    if verified:
        rows.append(("verified", "every byte is as it was written"))
    for name, text in rows:
        print(f"{name:<9} {clean(text, 400)}")
    sys.stdout.flush()
