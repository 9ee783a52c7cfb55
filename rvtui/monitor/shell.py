"""The monitor itself: carries out lines one after another, waits while the machine runs, and says what came of it.

`Monitor.carry_out` is the whole of it; scripts, pipes and the prompt differ only in where lines come from. Everything
that is printed goes through here: answers, what guests print meanwhile (as plain lines, each after its console's name),
progress, errors.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Unfinished
from types import FrameType
from typing import Any

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import commands
from rvtui.commands.code import Listed, listed
from rvtui.commands.displays import values
from rvtui.commands.machine import place_text
from rvtui.commands.registry import DEEPEST, TOO_DEEP, CheckError, CommandError, Context, Report, Told
from rvtui.commands.source import source_text
from rvtui.listing import listing
from rvtui.monitor import paint
from rvtui.monitor.announce import Moment, changes, moment
from rvtui.monitor.script import Line, Script, is_comment
from rvtui.plaintext import PlainText, safe
from rvtui.session import Session
from rvtui.spaces import Place
from rvtui.spoken import linear
from rvtui.subjects import by_name, console_names, consoles, hart_of, symbols_of
from rvtui.text import clean

POLL_SECONDS = 0.05
QUIET_SECONDS = 1.0
HELD = 500
"""Lines of other consoles that are kept while the keys go to one."""
PROGRESS_SECONDS = 5.0
"""Between two lines about how far a long command is, where lines stay."""
INTERRUPTED = 130
CHECK_FAILED = 1
USER_ERROR = 2


class _Port:
    """What commands may ask of the screen, where there is none."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def goto(self, pane: str) -> None:
        raise CommandError("there are no panes here")

    def walk(self, address: int, access: Access, mode: Mode | None) -> None:
        raise CommandError("there are no panes here")

    def zoom(self) -> None:
        raise CommandError("there are no panes here")

    def help(self) -> None: ...

    def quit(self, code: int | None) -> None:
        self._monitor.ended = True
        if code is not None:
            self._monitor.code = code

    def progress(self, text: str) -> None:
        self._monitor.progress(text)


class Monitor:
    """Commands on a machine that stands still between them. `as_json`: a line of JSON per command, see
    rvtui/docs/commands.md. `plain`: all in words, for screen readers: no sign, colour or column says anything, nothing
    is written over, and what changed is said at each stop."""

    def __init__(
        self, session: Session, *, as_json: bool = False, interactive: bool = False, plain: bool = False
    ) -> None:
        self.session = session
        self.as_json = as_json
        self.plain = plain
        self.interactive = interactive
        self.ended = False
        """`quit` was said."""
        self.code = 0
        """That it was said with; or what came of lines: 1 where a check failed, 2 where something else went wrong."""
        self.interrupted = False
        self.status = ""
        """Where the machine stands, for a prompt's toolbar."""
        self._out = sys.stdout
        self._colours = paint.colours(self._out) and not plain
        self._told_at = 0.0
        self._heard = 0.0
        """When a guest printed last."""
        self._before: Moment | None = None
        self._told_progress = False
        self._consoles: dict[int, PlainText] = {}
        self._held: deque[tuple[int, str]] = deque(maxlen=HELD)
        self._wake = threading.Event()
        self._shown: list[str] = []
        self._attach: int | None = None
        self._line = Line("", "")
        self._followed: Iterable[Line] = ()
        self._depth = 0
        self.context = Context(session, _Port(self), follow=self._follow)
        session.ends_idle = True
        session.on_view = self._wake.set
        session.subscribe("names", lambda machine, subject: tuple(by_name(machine)))

    # Carrying out.

    def carry_out(self, line: Line) -> bool:
        """A line, to its end: where it makes the machine run, until that stops. False where it went wrong."""
        self.interrupted = False
        self._line, self._followed = line, ()
        written, session = self.written(), self.session
        machine, stops = session.machine, session.stops
        with self._interrupts():
            future = commands.invoke(self.context, line.text)
            failure, failed = "", 0
            try:
                answer = self._wait(future)
            except (EmulatorError, OSError) as error:
                failure, failed = _one_line(error), CHECK_FAILED if isinstance(error, CheckError) else USER_ERROR
            except Exception as error:
                failure, failed = f"internal error: {type(error).__name__}: {error}", USER_ERROR
            self._hush()
            stop = None
            if session.stops != stops and not session.running:  # what guests printed comes before what came of it
                self._wait_for_stop()
                self._pump(end=True)
            if not self.as_json and not failed:
                self._print(answer)
            self._wait_for_stop()
            self._pump()
            if session.stops != stops and session.machine is machine:
                stop = self.tell_stop(written)
            more = {"stop": stop} if stop else {}
            if failed:
                self._fail(line, failure, failed, more)
                return False
            if self.as_json:
                self._object({"command": line.text, "ok": True, "data": _data(answer), **more})
            self._warn()
            attach, self._attach = self._attach, None
        if attach is not None:
            from rvtui.monitor.attach import attached

            attached(self, attach)
        self.look()
        followed, self._followed = self._followed, ()
        return not followed or self._within(followed)

    def scripts(self, scripts: Iterable[Script]) -> bool:
        """One after the other, to the first that goes wrong or says quit; False, and `code`, where one goes wrong."""
        for script in scripts:
            if self.ended:
                break
            if not self.script(script):
                self.code = INTERRUPTED if self.interrupted else self.code
                return False
        return True

    def _follow(self, lines: Iterable[tuple[str, str]]) -> None:
        """The command has lines that come next; on the worker."""
        if self._depth == DEEPEST:
            raise CommandError(TOO_DEEP)
        here = self._line.where
        self._followed = (Line(text, where or here) for text, where in lines)

    def _within(self, lines: Iterable[Line]) -> bool:
        self._depth += 1
        try:
            return self.script(lines)
        finally:
            self._depth -= 1

    def script(self, script: Iterable[Line]) -> bool:
        """Line by line; False at the first that goes wrong, and after an interrupt."""
        for line in script:
            if not self.carry_out(line) or self.interrupted:
                return False
            if self.ended:
                break
        return True

    def _wait(self, future: Future[Any]) -> Any:
        """What a command answers. It may have let the machine run, and answer when that stands."""
        asked = False
        while True:
            with contextlib.suppress(Unfinished):
                return future.result(POLL_SECONDS)
            if future.done():
                return future.result()
            self._pump()
            self.session.nudge()
            if self.interrupted and self.session.running and not asked:
                asked = True
                self.session.pause()

    def _wait_for_stop(self) -> None:
        session = self.session
        asked = False
        while session.running:
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            # A prompt has no end of line: who listens is told of it once the guest has nothing to add.
            self._pump(end=self.plain and self.interactive and time.monotonic() - self._heard > QUIET_SECONDS)
            session.nudge()
            if self.interrupted and not asked:
                asked = True
                session.pause()
        session.call(lambda machine: None).result()  # all that it printed has been collected

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C ends the command, and stops the machine, not us."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            self.interrupted = True
            self.context.cancelled.set()
            self._wake.set()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def ask_attach(self, index: int) -> None:
        """A command wants the keys to go to a console; on the worker."""
        self._attach = index

    # Printing.

    def _print(self, answer: commands.Answer) -> None:
        if answer is None:
            return
        for line in answer.lines if isinstance(answer, Report) else answer.split("\n"):
            if self.interrupted:
                break
            self.write(line)
        self._out.flush()

    def write(self, line: str) -> None:
        """A line of an answer; whatever guests or files have put into it, it is text."""
        if self.plain:
            said = line.said.split("\n") if isinstance(line, Told) else [linear(line)]
            self._out.writelines(f"{safe(each)}\n" for each in said if each)
            return
        line = safe(line)
        self._out.write((paint.painted(line) if self._colours else line) + "\n")

    def _object(self, data: dict[str, Any]) -> None:
        self._out.write(json.dumps(data, ensure_ascii=True) + "\n")
        self._out.flush()

    def _fail(self, line: Line, text: str, code: int, more: dict[str, Any]) -> None:
        self.code = max(self.code, code)
        self._pump()
        if self.as_json:
            self._object({"command": line.text, "ok": False, "error": text, "check": code == CHECK_FAILED, **more})
        self.complain(f"{line.where}: {text}" if line.where else text)

    def complain(self, text: str) -> None:
        self._out.flush()
        text = safe(text)
        text = text if self.interactive else f"rvtui: {text}"
        coloured = paint.colours(sys.stderr) and not self.plain
        print(paint.styled(text, "bad") if coloured else text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """How far a long command is: on a terminal alone, in one line that goes away; or now and then in one that
        stays."""
        if self.plain:
            now = time.monotonic()
            if not self._told_at or now - self._told_at > PROGRESS_SECONDS:
                # The first only says that it takes longer than one would wait in silence.
                if self._told_at and sys.stderr.isatty():
                    print(linear(text), file=sys.stderr, flush=True)
                self._told_at = now
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._told_progress = True
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()

    def _hush(self) -> None:
        self._told_at = 0.0
        if self._told_progress:
            self._told_progress = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _warn(self) -> None:
        for text in self.session.take_warnings():
            self.complain(f"warning: {clean(text, 300)}")

    # Guests' output.

    def hold(self, but: int) -> None:
        """Take what other consoles print, so that they need not wait, and keep the last of it for later."""
        for index in range(len(self.session.view.consoles)):
            text = self._consoles.setdefault(index, PlainText())
            while index != but and (data := self.session.drain(index, 64 << 10)):
                self._held += [(index, line) for line in text.feed(data)]

    def _pump(self, *, end: bool = False) -> None:
        """Print what guests printed, line by line after the console's name."""
        names = self.session.view.consoles
        wrote = bool(self._held)
        while self._held:
            index, line = self._held.popleft()
            self._guest_line(names[index], line)
        for index in range(len(names)):
            text = self._consoles.setdefault(index, PlainText())
            while data := self.session.drain(index, 64 << 10):
                self._heard = time.monotonic()
                for line in text.feed(data):
                    wrote |= self._guest_line(names[index], line)
            if end and text.line:
                wrote |= self._guest_line(names[index], text.take())
        if wrote:
            self._out.flush()

    def _guest_line(self, name: str, line: str) -> bool:
        if self.as_json:
            return False
        head = f"{clean(name, 40)}: " if self.plain else f"{clean(name, 40)} | "
        self._out.write((paint.styled(head, "dim") if self._colours else head) + line + "\n")
        return True

    def written(self) -> list[int]:
        return [console.written for console in consoles(self.session.machine)]

    # Stops.

    def tell_stop(self, written: list[int]) -> dict[str, Any]:
        """Say where the machine stands now, and why."""
        self._pump(end=True)

        def read(machine: Machine) -> dict[str, Any]:
            session, face = self.session, hart_of(machine, self.session.subject)
            prints = {
                name: bytes(console.output[-(console.written - before) :]) if console.written > before else b""
                for name, console, before in zip(console_names(machine), consoles(machine), written, strict=False)
            }
            source = symbols_of(machine, session.subject).line(face.pc)
            shown = values(self.context)
            self._shown = [line for each in shown for line in each.said]
            return {
                "source": None if source is None else {"file": source.file, "line": source.line},
                "reason": session.reason, "executed": machine.executed, "clock": machine.clock,
                "finished": session.finished, "pc": hex(face.pc), "mode": face.mode.label,
                "console": {name: data.decode(errors="replace") for name, data in prints.items()},
                "displays": [each.json for each in shown],
            }  # fmt: skip

        stop = self.session.call(read).result()
        if self.plain:
            self._announce(stop)
        elif not self.as_json:
            self.write(f"{stop['reason']} at instruction {stop['executed']:,}: {self._text(place_text)}")
            for line in self._text(_current).split("\n") if not stop["finished"] else ():
                if line:
                    self.write(line)
            for line in self._shown:
                self.write(line)
            self._out.flush()
        return stop

    def _announce(self, stop: dict[str, Any]) -> None:
        """Why it stands, where, what is different, and what comes next; what matters least is said last."""
        now = self.session.call(lambda machine: moment(machine, self.session.subject)).result()
        self.write(f"Stopped: {stop['reason']}. {self._text(place_text)}")
        for line in changes(self._before, now):
            self.write(line)
        self._before = now
        if not stop["finished"] and (line := self._text(lambda context: getattr(_current(context), "said", ""))):
            self.write(f"Next: {line.split(': ', 2)[-1]}")
        self.write(f"Instruction {stop['executed']:,}")
        self._out.flush()

    def begin(self) -> None:
        """Look at the machine as it is before the first command."""
        self._before = self.session.call(lambda machine: moment(machine, self.session.subject)).result()

    def _text(self, question: Any) -> str:
        try:
            return str(self.session.call(lambda machine: question(self.context)).result())
        except EmulatorError as error:
            return str(error)

    def look(self) -> None:
        if self.interactive:
            self.status = f"{self._text(place_text)}  {self.session.machine.executed:,} instructions"


def _current(context: Context) -> str:
    """The instruction at pc, and before it the source line, if it begins there."""
    machine, subject = context.session.machine, context.session.subject
    face, symbols = hart_of(machine, subject), symbols_of(machine, subject)
    found = [Listed(each) for each in listing(face, symbols, face.pc, 1, {}) if each.length]
    lines = listed(context, Place(machine, subject, "va", face.pc), found)[-1:]
    return "\n".join([*source_text(context), *lines]) if found else ""


def _data(answer: commands.Answer) -> Any:
    if isinstance(answer, Report):
        return list(answer.lines) if answer.data is None else answer.data
    return answer


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def run(
    machine: Machine, scripts: Sequence[Script] = (), *, as_json: bool = False, interactive: bool = False,
    path: str = "", folders: Sequence[str] = (), plain: bool = False, start: bool = False,
) -> int:  # fmt: skip
    """The scripts in order, then, if there are none or `interactive` is asked for, lines of standard input. `folders`:
    where sources are, as `SourceFiles.add` takes it; `start`: the machine runs before. Returns the exit code."""
    at_prompt = interactive or not scripts
    terminal = at_prompt and sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:  # so that the prompt leaves the terminal as it was
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    session = Session(machine, path=path, pace=terminal)
    session.files.add_all(folders)
    if terminal:  # scripts do the same whatever was left from before
        session.book.open()
    session.start()
    try:
        monitor = Monitor(session, as_json=as_json, interactive=terminal, plain=plain)
        if terminal:
            monitor.context.attach = monitor.ask_attach
        if plain:
            monitor.begin()
        if start:
            monitor.write("Running. Control-C stops, help lists commands, quit leaves." if terminal else "Running.")
            monitor.carry_out(Line("run", ""))
        if not monitor.scripts(scripts) and not interactive:
            return monitor.code
        if at_prompt and not monitor.ended:
            from rvtui.monitor.prompt import lines

            monitor.code = 0
            for text in lines(monitor):
                if not is_comment(text):
                    monitor.carry_out(Line(text.strip(), ""))
                if monitor.ended:
                    break
            if terminal and not monitor.ended:
                return 0
        return monitor.code
    finally:
        session.close()
