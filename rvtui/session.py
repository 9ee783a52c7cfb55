"""One object owns the machine and the thread that runs it.

Everything that touches the machine happens on the session's worker thread, between chunks of instructions. The
application asks by `call`, and by the run control methods; it sees the machine only through `View`, an immutable
record that the worker publishes at safe points. A view holds what somebody subscribed to and nothing else, so a pane
that is not on screen costs nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from emulator.errors import EmulatorError
from emulator.hart import Exit, ExitReason
from emulator.machine import MOST_TURNS, Machine
from emulator.stops import ANYWHERE, At, Condition, Hit, Scope, Stop
from rvtui.consolelog import ConsoleLog
from rvtui.exits import Tables
from rvtui.frames import SP, frame_of, instruction_at
from rvtui.linestep import LineStep
from rvtui.runner import Runner
from rvtui.sources import Reading, SourceFiles, called
from rvtui.stops import Book, Note, breaks, guest_scope, told
from rvtui.subjects import (
    Subject,
    console_names,
    consoles,
    default_subject,
    hart_index,
    hart_of,
    keep_sources,
    selected_vcpu,
    symbols_of,
)

T = TypeVar("T")

Begun = tuple[tuple[int, int], ...]
"""(place in some output, clock) of each line that begins in it."""

Reader = Callable[[Machine, Subject], Any]
"""Reads what a pane needs from the stopped machine, as a value that never changes afterwards."""

FRAME_SECONDS = 0.045
LATE_FRAME_SECONDS = 0.25
URGENT_SHARE = 0.2
URGENT_SECONDS = 0.008
"""The same for a short while after a key went to a guest, so that its echo is seen at once."""
CONSOLE_PENDING = 128 << 10
"""Bytes of unseen console output at which the machine waits for the application to catch up."""
STEP_SECONDS = 2.0
STOOD = 200
OLD_OUTPUT = 64 << 10
"""Bytes of what a console printed earlier that are shown again after a restore."""

_STOP_TEXT = {
    ExitReason.IDLE: "idle: every hart waits and no timer is set",
    ExitReason.TRAP_LOOP: "trap loop: traps follow traps and nothing retires",
}
_CUT = (ExitReason.BUDGET, ExitReason.STOPPED)
"""A run that ended because somebody cut it there."""


@dataclass(frozen=True)
class Failure:
    """Stands in a view where a reader could not deliver: `text` is one line."""

    text: str


@dataclass(frozen=True)
class View:
    """The machine at one safe point."""

    sequence: int
    running: bool
    finished: bool
    reason: str
    """Why the machine stands still, or "" while it runs."""
    clock: int
    executed: int
    rate: float
    """Instructions retired per second of host time, over the last views."""
    idle: bool
    """The guest slept through most of the time since the last view."""
    subject: Subject
    consoles: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, key: str) -> Any:
        return self.values.get(key)


@dataclass
class _Goal:
    """What ends a run before a stop of the user does."""

    stop: Stop | None = None
    """Set for this goal alone, and goes with it."""
    reason: str = ""
    most: int | None = None
    """Instructions that the machine has executed when the run is over."""
    over: str = ""
    """The reason then, if it is another."""
    marks: tuple[Stop, ...] = ()
    """More of the kind of `stop`."""
    then: Callable[[], None] | None = None
    """What to do there in place of standing still."""

    @property
    def every(self) -> tuple[Stop, ...]:
        return self.marks if self.stop is None else (self.stop, *self.marks)


@dataclass
class _Printed:
    """Output of a console that was collected at once, and how far it was drained."""

    data: bytes
    begun: Begun
    at: int = 0
    mark: int = 0
    """How many of `begun` are before `at`."""

    def take(self, most: int) -> tuple[bytes, list[tuple[int, int]]]:
        """The next bytes, and lines that begin in them."""
        start, end = self.at, min(len(self.data), self.at + most)
        lines = []
        while self.mark < len(self.begun) and self.begun[self.mark][0] < end:
            at, clock = self.begun[self.mark]
            lines.append((at - start, clock))
            self.mark += 1
        self.at = end
        return self.data[start:end], lines


class Debugger(Protocol):
    """Who stands beside the application and has stops of its own in the machine's lists. Called on the worker."""

    def wants(self, exit: Exit) -> bool:
        """Whether to stop there; a breakpoint knows no worlds."""
        ...

    def owns(self, address: int) -> bool:
        """Whether it alone has a plain breakpoint there."""
        ...

    def takes_over(self, address: int) -> bool:
        """The user gives up a plain breakpoint: whether it has one there too, which is its own from now on."""
        ...

    def lifted(self) -> contextlib.AbstractContextManager[None]:
        """Without what it has set."""
        ...

    def stopped(self) -> None:
        """The machine stands still, or is another."""
        ...


class Session:
    """Runs a machine on a thread of its own. Any thread may call its methods; none of them blocks for long."""

    def __init__(self, machine: Machine, *, path: str = "", pace: bool = True, limit: int | None = None) -> None:
        self.machine = machine
        self.path = path
        self.pace = pace
        self.book = Book(machine)
        """What the user has it stop for. On the worker only."""
        self.kept_stops = 0
        """Stops that were there from the last time."""
        self.ends_idle = False
        """A machine that waits for input, with no timer set, stops."""
        self.stops = 0
        """How often it has come to a stand."""
        self._stood: tuple[tuple[int, int, str], ...] = ()
        self.limit = limit
        """Where the machine stands still, by its `executed`."""
        self.debugger: Debugger | None = None
        self.exit: Exit | None = None
        """How the last chunk or step ended; None where none did: paused, restored."""
        self.subject = default_subject(machine)
        self.view = View(0, False, False, "not started", 0, 0, 0.0, False, self.subject, console_names(machine))
        self.unsaved = False
        """What it is now stands in no snapshot file, as far as that is known."""
        self.saved: list[str] = []
        """Snapshot files that were saved here, whole paths."""
        self.files = SourceFiles()
        self.reading = Reading(self._read_more)
        """Debugging information and sources that panes wait for."""
        self.level: tuple[object, int] | None = None
        """The frame that is looked at, and of which moment it is."""
        self.marks: dict[str, Any] = {}
        """Address maps of moments that were marked, by name; see rvtui/mapping.py."""
        self.counted_from: Tables | None = None
        """What exits had been counted when the user had them counted anew."""
        self.seen = 0
        """The sequence of the last view that the application has drawn."""
        self.frame_seconds = FRAME_SECONDS
        """Views are published at most this often while running."""
        self.on_view: Callable[[], None] = lambda: None
        """Called on the worker's thread after a publication that should not wait for the application's next frame."""
        self.logs: dict[int, ConsoleLog] = {}
        """Files that consoles are written to, by console. On the worker only."""
        self._warnings: list[str] = []
        self._readers: dict[str, tuple[Reader, float]] = {}
        self._read_at: dict[str, float] = {}
        self._commands: deque[tuple[Callable[[Machine], Any], Future[Any]]] = deque()
        self._condition = threading.Condition()
        self._closing = False
        self._running = False
        self._finished = False
        self._reason = "ready"
        self._goal: _Goal | None = None
        self._dirty = True
        self._input: deque[tuple[int, bytes]] = deque()
        self._output: dict[int, deque[_Printed]] = {}
        self._pending: dict[int, int] = {}
        self.begun: dict[int, int] = {}
        """By console, how much the machine had printed when it came here."""
        self._standing: list[tuple[Callable[[Machine], Any], Future[Any]]] = []
        self._old_output = self._take_old()
        self._urgent_until = 0.0
        self._published = 0.0
        self._rate_base = (0.0, 0)
        self._rate = 0.0
        self._runner = Runner(machine, pace=pace)
        self._slept = 0.0
        self._slept_share = 0.0
        self._leave_breakpoint = False
        """The next instruction runs even if a breakpoint stands there."""
        self._passed = False
        """The last stop stands behind its instruction: a breakpoint at pc has not been told."""
        self._thread = threading.Thread(target=self._work, name="machine", daemon=True)

    # The application's side.

    def start(self, *, run: bool = False) -> None:
        self._running = run
        self._reason = "" if run else "ready"
        self._thread.start()

    def close(self) -> None:
        """Stop the machine and end the thread."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self.machine.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for _, future in self._standing:
            future.set_exception(EmulatorError("the session is closed"))
        while self.logs:
            self.logs.popitem()[1].close()

    def call(self, function: Callable[[Machine], T]) -> Future[T]:
        """Run `function` on the worker at the next safe point; its result or exception is the future's. The worker
        itself does at once what it calls."""
        future: Future[T] = Future()
        if threading.current_thread() is self._thread:
            self._do(function, future)
            return future
        with self._condition:
            if self._closing:
                future.set_exception(EmulatorError("the session is closed"))
                return future
            self._commands.append((function, future))
            self._condition.notify_all()
        self._runner.interrupt()
        return future

    def when_standing(self, function: Callable[[Machine], T]) -> Future[T]:
        """The same once the machine stands still: at the next safe point, if it does then."""
        future: Future[T] = Future()

        def ask(machine: Machine) -> None:
            if self._running:
                self._standing.append((function, future))
            else:
                self._do(function, future)

        def refused(asked: Future[None]) -> None:
            if (error := asked.exception()) is not None:
                future.set_exception(error)

        self.call(ask).add_done_callback(refused)
        return future

    def subscribe(self, key: str, reader: Reader, *, every: float = 0.0) -> None:
        """Have `reader`'s value in each view under `key`; while running at most once per `every` seconds."""
        with self._condition:
            self._readers[key] = (reader, every)
            self._read_at.pop(key, None)
            self._dirty = True
            self._condition.notify_all()

    def unsubscribe(self, keys: Iterable[str]) -> None:
        with self._condition:
            for key in keys:
                self._readers.pop(key, None)
                self._read_at.pop(key, None)

    def select(self, subject: Subject) -> None:
        """Choose the hart or virtual CPU that the panes look at."""
        with self._condition:
            self.subject = subject
            self._read_at.clear()
            self._dirty = True
            self._condition.notify_all()

    def send(self, console: int, data: bytes) -> None:
        """Bytes typed at a console; the guest receives them before its next chunk of instructions."""
        with self._condition:
            self._input.append((console, data))
            self._urgent_until = time.monotonic() + 0.3
            self._condition.notify_all()
        self._runner.interrupt()

    def take_warnings(self) -> list[str]:
        """What there is to say since the last time: of drives, folders and logs that fail, as a rule."""
        return [found.pop(0) for found in (self.machine.warnings, self._warnings) for _ in range(len(found))]

    def old_output(self, console: int) -> tuple[bytes, Begun]:
        """What the console had printed before this session, as in a restored machine; once."""
        return self._old_output.pop(console, (b"", ()))

    def _take_old(self) -> dict[int, tuple[bytes, Begun]]:
        old = {}
        for index, console in enumerate(consoles(self.machine)):
            taken, begun = console.take_begun()
            data = bytes(console.output[-OLD_OUTPUT:])
            shift = len(data) - len(taken)
            old[index] = data, tuple((at + shift, clock) for at, clock in begun if at + shift >= 0)
            self.begun[index] = console.written
        return old

    def drain(self, console: int, limit: int) -> bytes:
        """At most `limit` bytes of output that were not drained before."""
        return self.drain_begun(console, limit)[0]

    def drain_begun(self, console: int, limit: int) -> tuple[bytes, Begun]:
        """The same, and when each line in it began."""
        with self._condition:
            chunks = self._output.get(console)
            if not chunks:
                return b"", ()
            taken = []
            lines: list[tuple[int, int]] = []
            size = 0
            while chunks and size < limit:
                chunk, begun = chunks[0].take(limit - size)
                if chunks[0].at == len(chunks[0].data):
                    chunks.popleft()
                taken.append(chunk)
                lines += [(at + size, clock) for at, clock in begun]
                size += len(chunk)
            self._pending[console] -= size
            self._condition.notify_all()
            return b"".join(taken), tuple(lines)

    def nudge(self) -> None:
        """End a chunk that takes far too long."""
        self._runner.nudge()

    @property
    def running(self) -> bool:
        return self._running

    @property
    def closed(self) -> bool:
        """`close` was called: what takes long should end, and nothing that is asked will be answered."""
        return self._closing

    @property
    def reason(self) -> str:
        """Why the machine stands still, or "" while it runs."""
        return self._reason

    @property
    def stood(self) -> tuple[tuple[int, str], ...]:
        """Where it last came to a stand since the machine was reset, other than by steps: the clock, and why."""
        return tuple((clock, reason) for resets, clock, reason in self._stood if resets == self.machine.resets)

    @property
    def finished(self) -> bool:
        """The machine cannot go on."""
        return self._finished

    def run(self, most: int | None = None) -> Future[None]:
        """Until something stops the machine, or for `most` instructions."""

        def begin(machine: Machine) -> None:
            if most is None:
                self._begin(_Goal())
            else:
                self._begin(_Goal(reason=f"ran {most:,} instructions", most=machine.executed + most))

        return self.call(begin)

    def expect(self, stop: Stop, most: int, before: Mapping[str, bytes]) -> None:
        """On the worker: run until `stop`, for a text that is printed, is reached, and for `most` instructions at most.
        `before`: what consoles have printed already that the text may begin in, by their names. Raises EmulatorError
        where the machine cannot go on."""
        over = f"not printed within {most:,} instructions"
        self._begin(_Goal(stop, "as expected", self.machine.executed + most, over))
        for console, data in before.items():
            self.machine.stops.hear(stop, console, data)

    def pause(self) -> Future[None]:
        return self.call(lambda machine: self._halt("paused") if self._running else None)

    def toggle(self) -> Future[None]:
        return self.pause() if self._running else self.run()

    def step(self, count: int = 1) -> Future[None]:
        return self.call(lambda machine: self._step(count))

    def step_over(self) -> Future[None]:
        return self.call(self._step_over)

    def step_line(self, *, into: bool, count: int = 1) -> Future[None]:
        """To the next source line, of functions that are called as well if `into`. LineStepError where pc has no
        line."""
        return self.call(LineStep(self, into, count).start)

    def until(self, address: int | None = None, text: str = "") -> Future[None]:
        """Run to `address`, in the VM that is looked at; without one, on past a loop: over a jump backwards."""
        if address is None:
            return self.call(self._until_past)
        where = text or f"{address:#x}"
        return self.call(lambda machine: self._begin(_Goal(self._mark(address), f"reached {where}")))

    def finish(self) -> Future[str]:
        """Run until the function at pc returns; says where to, and how that is known. FrameError where nothing
        tells."""
        return self.call(self._finish)

    def toggle_breakpoint(self, address: int) -> Future[bool]:
        """True: there is one now."""

        def change(machine: Machine) -> bool:
            there = breaks(machine, self.subject).get(address, [])
            if not self.drop_breakpoint(address) and not there:
                self.book.set(self.subject, f"break {address:#x}")
                return True
            for stop in there:
                self.book.remove(stop)
            return False

        return self.call(change)

    def is_debuggers(self, address: int) -> bool:
        """On the worker: a debugger alone has the plain breakpoint there."""
        return self.debugger is not None and self.debugger.owns(address)

    def drop_breakpoint(self, address: int) -> bool:
        """On the worker: remove a plain breakpoint, one in the machine's list; where a debugger has one too, that
        stays. False where there is none, or a debugger's alone."""
        there = address in self.machine.breakpoints and not self.is_debuggers(address)
        if there and not (self.debugger is not None and self.debugger.takes_over(address)):
            self.machine.breakpoints.discard(address)
        return there

    def toggle_stop(self, line: str) -> Future[str]:
        """Set the stop that a line asks for, or remove it where it is set; says which. Raises what `Book.set` does."""

        def change(machine: Machine) -> str:
            stop, there = self.book.toggle(self.subject, line)
            text = stop.note.text if isinstance(stop.note, Note) else line
            return f"stop {stop.number}: {text}" if there else f"{text} removed"

        return self.call(change)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """On the worker: without what a debugger has set. The user's stops, and the session's own, are no part of a
        machine's state."""
        with contextlib.nullcontext() if self.debugger is None else self.debugger.lifted():
            yield

    # For steps by line, on the worker.

    def run_to(self, addresses: Iterable[int], condition: Condition, then: Callable[[], None]) -> None:
        """Run to the first of `addresses` where the condition holds, and do `then` there, if nothing stops before."""
        self._begin(_Goal(marks=tuple(self._mark(each, condition) for each in addresses), then=then))

    def step_of(self, subject: Subject) -> Exit:
        """One instruction of it, between runs: who waits for the machine to stand still is not told. EmulatorError
        where the machine cannot go on."""
        self._check_unfinished()
        self._drop_goal()
        self._passed = False
        self._feed()
        exit = self._step_once(time.monotonic() + STEP_SECONDS, subject)
        self._collect()
        return exit

    def end(self, exit: Exit) -> None:
        """Stand still as `exit` says."""
        self._finished = exit.reason is ExitReason.HALTED
        self._halt(describe(self.machine, exit), exit)

    def stand_at(self, reason: str) -> None:
        """Stand still with a reason."""
        self._halt(reason)

    # For a debugger, on the worker.

    def go(self, *, leave_breakpoint: bool) -> None:
        """Run. `leave_breakpoint`: the next instruction runs even if a breakpoint stands there. Raises EmulatorError
        where the machine cannot go on."""
        self._begin(_Goal())
        self._leave_breakpoint = leave_breakpoint

    def stand(self, reason: str) -> None:
        """Stand still, if running."""
        if self._running:
            self._halt(reason)

    def step_while(self, subject: Subject, inside: Callable[[], bool], most: int) -> None:
        """Steps of `subject`, at least one and at most `most`, while `inside` says so. Other harts and VMs run as their
        turns come. Raises EmulatorError where the machine cannot go on."""
        self._step(most, subject, inside)

    def replace(self, machine: Machine, path: str = "") -> Future[None]:
        """Go on with another machine, as after a restore; it stands still."""

        def change(_: Machine) -> None:
            self._drop_goal()
            self._runner = Runner(machine, pace=self.pace)
            keep_sources(self.machine, machine)
            self.book.move(machine)
            self.machine = machine
            self.path = path
            self.unsaved = False
            old = self._take_old()
            with self._condition:
                self.subject = default_subject(machine)
                self._output.clear()
                self._pending.clear()
                self._old_output = old
                self._input.clear()
                self._read_at.clear()
            self._finished = False
            self._rate_base = (0.0, 0)
            self._halt("restored")
            self._stood = ()

        return self.call(change)

    def _read_more(self) -> None:
        """What a pane has asked for is there."""
        with self._condition:
            self._read_at.clear()
            self._dirty = True
            self._condition.notify_all()

    # The worker's side.

    def _work(self) -> None:
        while not self._closing:
            self._carry_out()
            if self._closing:
                break
            runner = self._runner
            if self._running and runner.owed > 0:
                self._publish(force=self._dirty)
                started = time.monotonic()
                self._wait(runner.owed)
                runner.owed -= time.monotonic() - started
                if self._input:
                    runner.owed = 0.0
            elif self._running and not self._choked():
                self._run_guarded()
                self._publish(force=not self._running)
            else:
                self._feed()
                self._publish(force=True)
                self._wait(0.05 if self._running else None)

    def _wait(self, timeout: float | None) -> bool:
        """Until there is something to do; True if so."""
        with self._condition:
            return self._condition.wait_for(
                lambda: bool(self._closing or self._commands or self._input or self._dirty), timeout
            )

    def _carry_out(self) -> None:
        while self._commands and not self._closing:
            function, future = self._commands.popleft()
            if future.set_running_or_notify_cancel():
                self._do(function, future)

    def _do(self, function: Callable[[Machine], T], future: Future[T]) -> None:
        try:
            result = function(self.machine)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        self._dirty = True

    @property
    def _urgent(self) -> bool:
        return time.monotonic() < self._urgent_until

    def _choked(self) -> bool:
        return any(size > CONSOLE_PENDING for size in self._pending.values())

    def _feed(self) -> None:
        while self._input:
            self.unsaved = True
            index, data = self._input.popleft()
            faces = consoles(self.machine)
            if index < len(faces):
                faces[index].feed(data)

    def _collect(self) -> None:
        for index, console in enumerate(consoles(self.machine)):
            data, begun = console.take_begun()
            if data:
                with self._condition:
                    self._output.setdefault(index, deque()).append(_Printed(data, begun))
                    self._pending[index] = self._pending.get(index, 0) + len(data)
                if index in self.logs:
                    self._log(index, data)

    def _log(self, index: int, data: bytes) -> None:
        log = self.logs[index]
        try:
            log.write(data)
        except OSError as error:
            del self.logs[index]
            log.close()
            self._warnings.append(f"{log.path}: the log ends here, after {log.bytes:,} bytes: {error.strerror}")

    def _run_guarded(self) -> None:
        try:
            self._feed()
            self._run_chunk()
            self._collect()
        except Exception as error:  # the application must outlive the machine, and say what happened to it
            self._finished = True
            kind = "" if isinstance(error, EmulatorError) else f"internal error, {type(error).__name__}: "
            self._halt(kind + str(error))

    def _run_chunk(self) -> None:
        most = None if self.limit is None else self.limit - self.machine.executed
        if most is not None and most <= 0:
            self._halt("the limit of instructions is reached")
            return
        leave, self._leave_breakpoint = self._leave_breakpoint, False
        goal = self._goal
        if goal is not None and goal.most is not None:
            most = goal.most - self.machine.executed if most is None else min(most, goal.most - self.machine.executed)
        self.unsaved = True
        exit = self._runner.run(most, share=URGENT_SHARE if self._urgent else 1.0, leave_breakpoint=leave)
        self.exit = exit
        if exit.reason is ExitReason.IDLE and self.pace:
            self._runner.owed = FRAME_SECONDS
        self._slept += self._runner.owed
        self._after(exit)

    def _after(self, exit: Exit) -> None:
        """Decide whether an exit ends the run."""
        reason = exit.reason
        goal = self._goal
        idle = reason is ExitReason.IDLE and self.ends_idle
        if reason in (ExitReason.BUDGET, ExitReason.STOPPED, ExitReason.IDLE) and not idle:
            if goal is not None and goal.most is not None and self.machine.executed >= goal.most:
                self._halt(goal.over or goal.reason)
            return
        if goal is not None and any(hit.stop in goal.every for hit in exit.hits):
            if goal.then is not None and not any(hit.stop.number for hit in exit.hits):
                self._drop_goal()
                self._then(goal.then)
                return
            self._halt("; ".join(filter(None, (goal.reason, told(self.machine, exit)))), exit)
            return
        if not self._wanted(exit):
            self._leave_breakpoint = True
            return
        self._finished = reason is ExitReason.HALTED
        never = [str(stop.number) for stop in self.book.stops if not stop.hits] if self._finished else []
        self._passed = reason in (ExitReason.WATCHPOINT, ExitReason.EVENT)
        self._halt(describe(self.machine, exit) + (f"; never hit: stop {', '.join(never)}" if never else ""), exit)

    def _then(self, what: Callable[[], None]) -> None:
        self.exit = None
        try:
            what()
        except EmulatorError as error:
            self._halt(str(error))

    def _wanted(self, exit: Exit) -> bool:
        return bool(exit.hits) or self.debugger is None or self.debugger.wants(exit)

    def _check_unfinished(self) -> None:
        if self._finished:
            raise EmulatorError(f"the machine cannot go on: {self._reason}; restore a snapshot or start again")

    def _begin(self, goal: _Goal) -> None:
        self._check_unfinished()
        self._drop_goal()
        for mark in goal.every:
            self.machine.stops.add(mark, hidden=True)
        self._goal = goal
        self._leave_breakpoint, self._passed = not self._passed, False
        self._runner.owed = 0.0
        self._reason = ""
        self._running = True

    def _halt(self, reason: str, exit: Exit | None = None) -> None:
        self._reason = reason
        self.stops += 1
        if reason:
            clock = self.machine.clock if exit is None else self.machine.harts[exit.hart].clock
            self._stood = (*self._stood[1 - STOOD :], (self.machine.resets, clock, reason))
        self.exit = exit
        self._running = False
        self._drop_goal()
        self._dirty = True
        if self.debugger is not None:
            self.debugger.stopped()
        standing, self._standing = self._standing, []
        for function, future in standing:
            self._do(function, future)

    def _drop_goal(self) -> None:
        goal, self._goal = self._goal, None
        for mark in () if goal is None else goal.every:
            self.machine.stops.remove(mark)

    def _mark(self, address: int, condition: Condition | None = None) -> Stop:
        """A breakpoint for ourselves, in the VM that is looked at."""
        vm, _ = selected_vcpu(self.machine, self.subject)
        return Stop(At(address, self._scope_of(vm)), condition=condition)

    @staticmethod
    def _scope_of(vm: Any) -> Scope:
        return ANYWHERE if vm is None else guest_scope(vm.hgatp)

    def _step(self, count: int, subject: Subject | None = None, inside: Callable[[], bool] = lambda: True) -> None:
        self._check_unfinished()
        self._halt("")
        self._passed, self.unsaved = False, True
        self._feed()
        deadline = time.monotonic() + STEP_SECONDS
        reason = "stepped" if count == 1 else f"stepped {count:,}"
        for done in range(count):
            if self._closing:
                break
            if done and subject is None and (here := self._stopped_here()) is not None:
                self.exit, reason = here, told(self.machine, here)
                break
            self.exit = exit = self._step_once(deadline, subject)
            met = exit.reason is ExitReason.BREAKPOINT and subject is not None
            if met or exit.reason not in (ExitReason.BUDGET, ExitReason.BREAKPOINT):
                self._finished = exit.reason is ExitReason.HALTED
                reason = describe(self.machine, exit)
                break
            if not inside():
                break
            if time.monotonic() > deadline:
                reason = f"stopped after {done + 1:,} steps: for more, until and break are faster"
                break
        self._reason = reason
        self._collect()

    def _stopped_here(self) -> Exit | None:
        """As the user's breakpoints at the next instruction have it; None where there is none that counts."""
        machine = self.machine
        _, vcpu = selected_vcpu(machine, self.subject)
        hart = machine.harts[machine.turn] if vcpu is None else vcpu.hart
        if hart is None or not machine.stops.at(hart.pc, hart.mode, hart.hgatp):
            return None
        exit = Exit(ExitReason.BREAKPOINT, hart.index, hart.pc)
        hits = machine.stops.judge(exit)
        return Exit(ExitReason.BREAKPOINT, hart.index, hart.pc, hits=hits) if hits else None

    def _step_once(self, deadline: float, subject: Subject | None) -> Exit:
        """One instruction of `subject`, or of what is looked at; other VMs have their turns until its own comes. On a
        bare machine without `subject`, of the hart whose turn it is."""
        machine = self.machine
        vm, vcpu = selected_vcpu(machine, subject or self.subject)
        if vcpu is None:
            return machine.step() if subject is None else self._step_hart(machine, subject.hart)
        host: Any = machine.host
        before = vcpu.instructions
        while vcpu.instructions == before:
            if vcpu.status == "ended":
                return Exit(ExitReason.STOPPED, message=f"{vm.name} has ended: {vm.message}")
            if self._closing or time.monotonic() > deadline:
                return Exit(ExitReason.STOPPED, message=f"{vm.name} is {vcpu.state}: no instruction of it to step")
            if host.current is vcpu and vcpu.status == "ready":
                exit = machine.step()
            else:
                exit = self._await_turn(vcpu, vcpu.pc)
            if exit.reason not in _CUT and self._wanted(exit):
                return exit
        return exit

    def _step_hart(self, machine: Machine, index: int) -> Exit:
        """Until this hart has made a step. Others stop at their breakpoints."""
        hart = machine.harts[index]
        start, pc = hart.progress, hart.pc
        exit = machine.step()
        for _ in range(MOST_TURNS):
            if hart.progress != start:
                break
            if exit.reason is ExitReason.BREAKPOINT and (exit.hart, exit.address) == (index, pc):
                return machine.resume(1)
            if exit.reason not in _CUT and self._wanted(exit):
                break
            exit = (machine.run if exit.reason in _CUT else machine.resume)(1)
        return exit

    def _await_turn(self, vcpu: Any, pc: int) -> Exit:
        """Let the others run until `vcpu` stands on the hart, at `pc` or wherever an interrupt takes it."""
        machine = self.machine
        host: Any = machine.host
        scope = self._scope_of(vcpu.vm)
        marks = [Stop(At(address, scope)) for address in {pc, vcpu.get_reg("vstvec") & ~3}]
        for mark in marks:
            machine.stops.add(mark, hidden=True)
        # Another VM may stand at a breakpoint of the user's, which it has shown; `vcpu` must not slip over its own.
        other = host.current
        stands = (
            other not in (None, vcpu)
            and other.status == "ready"
            and (other.pc in machine.breakpoints or machine.stops.at(other.pc, other.mode, other.vm.hgatp))
        )
        try:
            exit = (machine.resume if stands else machine.run)(max(1, host.slice_left))
        finally:
            for mark in marks:
                machine.stops.remove(mark)
        ours = host.current is vcpu or any(hit.stop in marks for hit in exit.hits)
        if exit.reason is ExitReason.BREAKPOINT and ours:
            return Exit(ExitReason.BUDGET)
        return exit

    def _step_over(self, machine: Machine) -> None:
        face = hart_of(machine, self.subject)
        after = call_return(face)
        if after is None:
            self._step(1)
            return
        # The same call's return: same stack pointer. Recursion passes by with a lower one.
        stack = face.x[SP]
        self._begin(_Goal(self._mark(after, self._same_world(lambda sp: sp == stack)), "stepped over"))

    def _same_world(self, right: Callable[[int], bool]) -> Condition:
        """That it is the hart and the world that are looked at, with a stack pointer that is `right`."""
        face = hart_of(self.machine, self.subject)
        world = (face.mode, face.hgatp)
        index = hart_index(self.machine, self.subject)

        def same(machine: Machine, hit: Hit) -> bool:
            hart = machine.harts[hit.hart]
            return hit.hart == index and (hart.mode, hart.hgatp) == world and right(hart.x[SP])

        return same

    def _until_past(self, machine: Machine) -> None:
        face = hart_of(machine, self.subject)
        decoded = instruction_at(face, face.pc)
        if decoded is None or (decoded.target_offset or 0) >= 0 or decoded.is_call:
            self._step_over(machine)
            return
        stack, after = face.x[SP], face.pc + decoded.length
        self._begin(_Goal(self._mark(after, self._same_world(lambda sp: sp == stack)), "past the loop"))

    def _finish(self, machine: Machine) -> str:
        face = hart_of(machine, self.subject)
        symbols = symbols_of(machine, self.subject)
        frame = frame_of(face, symbols)
        lowest = face.x[SP] if frame.stack is None else frame.stack
        right = self._same_world(lambda sp: sp >= lowest if frame.stack is None else sp == lowest)
        name = symbols.at(face.pc)
        where = f"{frame.returns:#x}{called(symbols, frame.returns)}"
        what = name.name if name is not None else "the function"
        self._begin(_Goal(self._mark(frame.returns, right), f"{what} has returned to {where}"))
        return f"{what} returns to {where}, {frame.how}"

    def _publish(self, *, force: bool = False) -> None:
        now = time.monotonic()
        period = URGENT_SECONDS if self._urgent else self.frame_seconds
        if self._running and not force:
            # An application that has not drawn the last view yet has enough to do.
            behind = self.seen < self.view.sequence and not self._urgent
            if now - self._published < (LATE_FRAME_SECONDS if behind else period):
                return
        if force and not self._dirty and self.view.running == self._running:
            return
        machine = self.machine
        self._dirty = False
        since, base = self._rate_base
        if now - since >= 0.25 or not self._running:
            executed = machine.executed
            if since and now - since < 2 and self._running:
                self._rate = (executed - base) / (now - since)
            self._slept_share = min(1.0, self._slept / max(now - since, 1e-6)) if since else 0.0
            self._slept = 0.0
            self._rate_base = (now, executed)
        if not self._running:
            self._rate = 0.0
        with self._condition:
            readers = list(self._readers.items())
        values = dict(self.view.values)
        for key in values.keys() - {key for key, _ in readers}:
            del values[key]
        for key, (reader, every) in readers:
            if self._running and every and now - self._read_at.get(key, -1e9) < every:
                continue
            self._read_at[key] = now
            try:
                values[key] = reader(machine, self.subject)
            except EmulatorError as error:
                values[key] = Failure(str(error))
            except Exception as error:  # one pane without its data is better than no machine
                values[key] = Failure(f"internal error reading {key}: {type(error).__name__}: {error}")
        self._published = time.monotonic()
        self.view = View(
            sequence=self.view.sequence + 1,
            running=self._running,
            finished=self._finished,
            reason=self._reason,
            clock=machine.clock,
            executed=machine.executed,
            rate=self._rate,
            idle=self._running and self._slept_share > 0.5,
            subject=self.subject,
            consoles=console_names(machine),
            values=MappingProxyType(values),
        )
        # Waking the application now would hand it the interpreter lock just when the machine is to run on. While
        # nothing presses, it finds the view at its own next frame.
        if self._urgent or not self._running:
            self.on_view()


def call_return(hart: Any) -> int | None:
    """Where the call at pc returns to, or None when the instruction there is no call (link in x1 or x5)."""
    decoded = instruction_at(hart, hart.pc)
    return hart.pc + decoded.length if decoded is not None and decoded.is_call else None


def describe(machine: Machine, exit: Exit) -> str:
    """One line: why the machine came back."""
    reason = exit.reason
    if reason is not ExitReason.HALTED and (text := told(machine, exit)):
        return text
    if reason is ExitReason.BREAKPOINT:
        return f"breakpoint at {exit.address:#x}{called(machine.symbols, exit.address)}"
    if reason is ExitReason.WATCHPOINT:
        verb = {1: "read", 2: "written"}.get(exit.kind, "touched")
        return f"watchpoint: {exit.size} bytes {verb} at {exit.address:#x}"
    if reason is ExitReason.HALTED:
        text = exit.message or "the machine ended"
        return text if exit.code is None else f"{text} (exit code {exit.code})"
    if reason in _STOP_TEXT:
        return exit.message or _STOP_TEXT[reason]
    return exit.message or reason.name.lower().replace("_", " ")
