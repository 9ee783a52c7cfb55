"""What GDB asks and what it is answered, packet by packet; knows the session, and nothing of sockets.

Source: the GDB manual, appendix "GDB Remote Serial Protocol". All-stop: between a resume and its stop reply GDB waits,
else it takes the machine to stand still. Whoever else runs or pauses the machine meanwhile is not hindered: what stops
it while GDB waits is reported, and a resume of what runs already only begins to wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as Late
from typing import TypeVar
from xml.sax.saxutils import quoteattr

from emulator.errors import EmulatorError
from emulator.hart import Exit, ExitReason
from emulator.machine import Machine
from rvtui.gdb import memory, packets
from rvtui.gdb.description import PC, Register, describe
from rvtui.gdb.memory import Space
from rvtui.gdb.packets import ALL, ANY, PACKET_SIZE, Id, Refusal, number, octets
from rvtui.gdb.points import HARDWARE, KINDS, SOFTWARE, Points
from rvtui.gdb.threads import MACHINE, Thread, stopped, threads_of
from rvtui.session import Session
from rvtui.subjects import Subject, virtual_machines

T = TypeVar("T")

SIGNAL_INT, SIGNAL_TRAP, SIGNAL_ABORT, SIGNAL_KILL = 2, 5, 6, 9
"""GDB's numbers."""
COME, INTERRUPTED = "a debugger has come", "stopped by the debugger"
RANGE_STEPS = 100_000
"""Instructions after which stepping through a range reports where it is; GDB goes on by itself."""
SUPPORTED = (
    f"PacketSize={PACKET_SIZE:x}", "QStartNoAckMode+", "qXfer:features:read+", "qXfer:threads:read+",
    "qXfer:memory-map:read+", "swbreak+", "hwbreak+", "vContSupported+",
)  # fmt: skip
HALF = 1 << 63
# What is where depends on the translation of the moment: all addresses may be memory.
MEMORY_MAP = (
    '<?xml version="1.0"?>\n<memory-map>'
    f'<memory type="ram" start="0" length="{HALF:#x}"/><memory type="ram" start="{HALF:#x}" length="{HALF:#x}"/>'
    "</memory-map>\n"
)


class Closed(Exception):
    """The session is over."""


class Stub:
    """One conversation after another, each from `reset` on. Packets are answered one at a time.

    `stopped` is called on the worker when the machine has come to stand: `notice` may have something to say then.
    """

    def __init__(self, session: Session, *, kill: Callable[[], None] | None, stopped: Callable[[], None]) -> None:
        self.session = session
        self.points = Points(session.machine)
        self._kill = kill
        self._stopped = stopped
        self.runs = session.running
        """The machine runs when no debugger holds it."""
        self.abandoned = False
        """A debugger was lost while it held the machine."""
        self.reset()

    def reset(self) -> None:
        """Nobody is connected yet."""
        self.acknowledged = True
        """Packets are followed by + or -."""
        self.attached = False
        self.waiting = False
        """GDB waits for a stop reply."""
        self.multiprocess = False
        self.messages = False
        """An error may be said in words."""
        self.space = Space.VIRTUAL
        self.processes = {MACHINE}
        """That GDB is attached to."""
        self.points.forget()
        self._general = self._running = Id()
        self._listed: list[bytes] = []

    # The session's side (Debugger), on the worker.

    def wants(self, exit: Exit) -> bool:
        return self.points.wants(exit)

    def owns(self, address: int) -> bool:
        return self.points.owns(address)

    def takes_over(self, address: int) -> bool:
        return self.points.takes_over(address)

    def lifted(self) -> contextlib.AbstractContextManager[None]:
        return self.points.lifted()

    def stopped(self) -> None:
        self.points.follow(self.session.machine)
        self._stopped()

    # The server's side.

    def ask(self, question: Callable[[Machine], T]) -> T:
        """Of the machine, on the worker. Raises what it raises; Closed when there is no session any more."""
        future = self.session.call(question)
        while True:
            try:
                return future.result(0.5)
            except Late:
                if future.done():
                    raise
                if self.session.closed:
                    raise Closed from None
            except CancelledError:
                raise Closed from None
            except EmulatorError:
                if self.session.closed:
                    raise Closed from None
                raise

    def answer(self, body: bytes) -> list[bytes]:
        """Packets that answer one; none where the answer comes later, or never."""
        try:
            if body.startswith(b"qRcmd,"):
                from rvtui.gdb import monitor

                line = octets(body[6:], "qRcmd").decode("utf-8", "replace")
                return [*map(self._output, monitor.carry_out(self, line)), b"OK"]
            return self.ask(lambda machine: self._answer(machine, body))
        except (Refusal, EmulatorError) as error:
            return [self._error(str(error))]
        except Closed:
            raise
        except Exception as error:  # a debugger that gets no answer is lost
            return [self._error(f"internal error: {type(error).__name__}: {error}")]

    def chosen(self, machine: Machine) -> Subject:
        """What the thread is that GDB has chosen."""
        return self._thread(machine, self._general).subject

    def interrupt(self) -> None:
        """^C: the stop that follows is noticed."""
        if self.waiting:
            self.ask(lambda machine: self.session.stand(INTERRUPTED))

    def notice(self) -> list[bytes]:
        """The stop reply that GDB waits for, when the machine has stopped."""

        def look(machine: Machine) -> list[bytes]:
            if not self.waiting or self.session.running:
                return []
            self.waiting = False
            said = self._said()
            return [*([self._output(said)] if said else []), self._stop_reply(machine)]

        return self.ask(look)

    def end(self) -> list[bytes]:
        """rvtui ends: what GDB is told if it waits."""
        return [self._ended(b"X%02x" % SIGNAL_KILL, MACHINE)] if self.waiting else []

    def leave(self) -> None:
        """The connection is over. What was set goes; the machine stays as it is, running or not."""

        def change(machine: Machine) -> None:
            self.points.follow(machine)
            self.points.remove_all()
            self.abandoned = self.attached and not self.session.running
            self.attached = self.waiting = False

        self.ask(change)

    # Answers.

    def _error(self, text: str) -> bytes:
        if not self.messages:
            return b"E01"
        return packets.escape(f"E.{' '.join(text.split())}".encode()[: PACKET_SIZE // 2])

    @staticmethod
    def _output(text: str) -> bytes:
        return b"O" + text.encode("utf-8", "replace").hex().encode()

    def _ended(self, what: bytes, process: int) -> bytes:
        return what + (b";process:%x" % process if self.multiprocess else b"")

    def _id(self, thread: Thread) -> bytes:
        return b"p%x.%x" % (thread.process, thread.number) if self.multiprocess else b"%x" % thread.number

    def _threads(self, machine: Machine) -> list[Thread]:
        return [each for each in threads_of(machine, self.points.apart) if each.process in self.processes]

    def _thread(self, machine: Machine, wanted: Id) -> Thread:
        """Raises Refusal where there is none; any one is the one that stopped."""
        every = self._threads(machine)
        fit = [each for each in every if wanted.covers(each.process, each.number)]
        if not fit:
            raise Refusal("no such thread")
        last = self._last(machine)
        return last if last in fit else fit[0]

    def _last(self, machine: Machine) -> Thread:
        """Who stopped. GDB must know it, whoever it was."""
        last = stopped(machine, self.session.exit, self.points.apart)
        known = self._threads(machine)
        return last if last in known or not known else known[0]

    def _said(self) -> str:
        """Why the machine stands, where no stop reply can say it."""
        exit = self.session.exit
        evident = exit is not None and exit.reason in (ExitReason.BREAKPOINT, ExitReason.WATCHPOINT, ExitReason.BUDGET)
        evident = evident or self.session.finished or self.session.reason in ("", INTERRUPTED)
        return "" if evident else f"rvtui: {self.session.reason}\n"

    def _stop_reply(self, machine: Machine) -> bytes:
        exit = self.session.exit
        if self.session.finished:
            return self._finished(machine, exit)
        thread = self._last(machine)
        return self._stands(machine, thread, SIGNAL_INT if exit is None else SIGNAL_TRAP, self.points.reason(exit))

    def _stands(self, machine: Machine, thread: Thread, signal: int = SIGNAL_TRAP, reason: bytes = b"") -> bytes:
        """ "Stop Reply Packets", T. GDB takes the thread that it names for chosen by Hg."""
        self._general = self._running = Id(thread.process, thread.number)
        pc = _hex(int(thread.face(machine).pc), 8)
        return b"T%02x%sthread:%s;%x:%s;" % (signal, reason, self._id(thread), PC, pc)

    def _finished(self, machine: Machine, exit: Exit | None) -> bytes:
        """Of one process after the other."""
        process = min(self.processes, default=MACHINE)
        self.processes.discard(process)
        if exit is None or exit.reason is not ExitReason.HALTED:
            return self._ended(b"X%02x" % SIGNAL_ABORT, process)
        return self._ended(b"W%02x" % ((exit.code or 0) & 0xFF), process)

    def _answer(self, machine: Machine, body: bytes) -> list[bytes]:
        self.points.follow(machine)
        text = body.decode("latin-1")
        name = text[:1]
        match name:
            case "q" | "Q":
                return [self._query(machine, text)]
            case "v":
                return self._verbose(machine, text)
            case "?":
                self._attach()
                return [self._standing(machine)]
            case "H" if text[1:2] in ("g", "c"):
                wanted = Id.parse(text[2:])
                self._thread(machine, wanted)
                if text[1] == "g":
                    self._general = wanted
                else:
                    self._running = wanted
                return [b"OK"]
            case "T":
                self._thread(machine, Id.parse(text[1:]))
                return [b"OK"]
            case "!":
                return [b"OK"]
            case "g" | "G" | "p" | "P":
                return [self._registers(machine, name, text[1:])]
            case "m" | "M" | "X":
                return [self._memory(machine, name, body[1:])]
            case "Z" | "z":
                self._point(machine, text)
                return [b"OK"]
            case "c" | "C" | "s" | "S":
                return self._resume_old(machine, name, text[1:])
            case "D":
                self._detach(text[1:])
                return [b"OK"]
            case "k":
                self._end_it()
                return []
        return [b""]

    def _attach(self) -> None:
        if self.attached:
            return
        self.attached = True
        if self.session.running or not self.abandoned:
            self.runs = self.session.running
        self.abandoned = False
        self.session.stand(COME)

    def _attach_to(self, machine: Machine, process: int) -> None:
        known = {MACHINE: "the machine"}
        known |= {MACHINE + 1 + place: vm.name for place, vm in enumerate(virtual_machines(machine))}
        if process not in known:
            raise Refusal(f"no process {process}: {', '.join(f'{n} is {name}' for n, name in known.items())}")
        self._attach()
        self.processes.add(process)
        if process != MACHINE:
            self.points.apart.add(process)
        self._general = Id(process, ANY)

    def _standing(self, machine: Machine) -> bytes:
        """The answer to ?: registers can be read also when all is over."""
        self.waiting = False
        return self._stands(machine, self._thread(machine, self._general))

    def _detach(self, rest: str) -> None:
        if rest.startswith(";"):
            process = number(rest[1:], "process")
            self.points.remove_all(process)
            self.processes.discard(process)
            self.points.apart.discard(process)
            if self.processes:
                return
        self.points.remove_all()
        held = self.attached or self.abandoned
        if self.runs and held and not (self.session.finished or self.session.running):
            self.session.go(leave_breakpoint=True)
        self.attached = self.abandoned = self.waiting = False

    def _end_it(self) -> None:
        self.points.remove_all()
        self.runs = self.attached = self.waiting = False
        if self._kill is not None:
            self._kill()

    # Queries ("General Query Packets").

    def _query(self, machine: Machine, text: str) -> bytes:
        name, _, rest = text.partition(":")
        match name:
            case "qSupported":
                features = rest.split(";")
                self.multiprocess = "multiprocess+" in features
                self.messages = "error-message+" in features
                return ";".join((*SUPPORTED, *["multiprocess+"] * self.multiprocess)).encode()
            case "QStartNoAckMode":
                self.acknowledged = False
                return b"OK"
            case "qAttached":
                return b"1"
            case "qC":
                return b"QC" + self._id(self._thread(machine, self._general))
            case "qfThreadInfo":
                every = [self._id(each) for each in self._threads(machine)]
                self._listed = [b",".join(every[at : at + 64]) for at in range(0, len(every), 64)]
                return self._next_threads()
            case "qsThreadInfo":
                return self._next_threads()
            case "qSymbol" | "QThreadSuffixSupported":
                return b"OK" if name == "qSymbol" else b""
            case "qXfer":
                return self._transfer(machine, rest)
        if text.startswith("qThreadExtraInfo,"):
            thread = self._thread(machine, Id.parse(text.partition(",")[2]))
            return f"{thread.name}: {thread.what(machine)}".encode().hex().encode()
        return b""

    def _next_threads(self) -> bytes:
        return b"m" + self._listed.pop(0) if self._listed else b"l"

    def _transfer(self, machine: Machine, rest: str) -> bytes:
        kind, _, after = rest.partition(":")
        verb, _, after = after.partition(":")
        annex, _, where = after.partition(":")
        if verb != "read":
            return b""
        match kind:
            case "features":
                if annex != "target.xml":
                    raise Refusal(f"no description {annex[:20]!r}: there is target.xml")
                return packets.piece(describe(machine).xml, where)
            case "threads":
                return packets.piece(self._thread_list(machine), where)
            case "memory-map":
                return packets.piece(MEMORY_MAP, where)
        return b""

    def _thread_list(self, machine: Machine) -> str:
        """ "Thread List Format"."""
        rows = [
            f'<thread id="{self._id(each).decode()}" core="{each.subject.hart}" name={quoteattr(each.name)}>'
            f"{quoteattr(each.what(machine))[1:-1]}</thread>"
            for each in self._threads(machine)
        ]
        return "<threads>\n" + "\n".join(rows) + "\n</threads>\n"

    # Registers and memory ("Packets").

    def _registers(self, machine: Machine, name: str, rest: str) -> bytes:
        known = describe(machine)
        face = self._thread(machine, self._general).face(machine)
        if name == "g":
            return b"".join(_hex(each.read(face), each.size) for each in known.general)
        if name == "G":
            data, at = octets(rest, "registers"), 0
            if not data or len(data) % 8 or len(data) > 8 * len(known.general):
                raise Refusal(f"G: {len(data)} bytes; x0 to x31 and pc have {8 * len(known.general)}")
            for each in known.general[: len(data) // 8]:
                each.write(face, int.from_bytes(data[at : at + 8], "little"))
                at += 8
            return b"OK"
        which, equals, value = rest.partition("=")
        register = known.registers.get(number(which, "register"))
        if register is None:
            raise Refusal(f"there is no register {which[:20]}")
        if name == "p":
            return self._one(face, register)
        data = octets(value, "value")
        if not equals or len(data) != register.size:
            raise Refusal(f"{register.name} has {register.size} bytes, not {len(data)}")
        register.write(face, int.from_bytes(data, "little"))
        return b"OK"

    @staticmethod
    def _one(face: object, register: Register) -> bytes:
        try:
            return _hex(register.read(face), register.size)
        except EmulatorError:  # of a virtual CPU that is away, or not on this hart
            return b"xx" * register.size

    def _memory(self, machine: Machine, name: str, body: bytes) -> bytes:
        where, colon, data = body.partition(b":")
        start, comma, size = where.partition(b",")
        if not comma or bool(colon) != (name != "m"):
            raise Refusal(f"{name}: not ADDRESS,LENGTH")
        address, length = number(start, "address"), number(size, "length")
        thread = self._thread(machine, self._general)
        if name == "m":
            return memory.read(machine, thread, self.space, address, min(length, PACKET_SIZE // 2)).hex().encode()
        if name == "M":
            data = octets(data, "data")
        if len(data) != length:
            raise Refusal(f"{len(data)} bytes of data for {length} of memory")
        memory.write(machine, thread, self.space, address, data)
        return b"OK"

    def _point(self, machine: Machine, text: str) -> None:
        kind, address_text, *more = [*text[1:].split(";")[0].split(","), ""][:3]
        on, which = text[0] == "Z", number(kind, "kind", 4)
        address, length = number(address_text, "address"), number(more[0], "length") if more and more[0] else 0
        process = self._general.process if self.multiprocess else ANY
        if which in (SOFTWARE, HARDWARE):
            (self.points.set if on else self.points.clear)(which, address, process)
            return
        if not on:
            self.points.unwatch(which, address, length, process)
            return
        if which not in KINDS or not 0 < length <= 4096:
            raise Refusal(f"a watchpoint of {length} bytes: 1 to 4096")
        thread = self._thread(machine, self._general)
        pieces = tuple(memory.pieces(machine, thread, self.space, address, length))
        self.points.watch(which, address, length, process, pieces)

    # Running.

    def _verbose(self, machine: Machine, text: str) -> list[bytes]:
        name = text.partition(";")[0]
        match name:
            case "vCont?":
                return [b"vCont;c;C;s;S;r"]
            case "vCont":
                return self._continue(machine, text.split(";")[1:])
            case "vKill":
                self._end_it()
                return [b"OK"]
            case "vAttach":
                self._attach_to(machine, number(text.partition(";")[2], "process"))
                return [self._standing(machine)]
        return [b""]

    def _resume_old(self, machine: Machine, name: str, rest: str) -> list[bytes]:
        """c, s, C, S, of the thread that Hc chose."""
        if name in "CS":
            _, _, rest = rest.partition(";")
        if rest:
            self._thread(machine, self._running).face(machine).pc = number(rest, "address")
        if name in "cC":
            return self._go(machine)
        return self._step(machine, self._thread(machine, self._running), None)

    def _continue(self, machine: Machine, actions: list[str]) -> list[bytes]:
        """"vCont": each thread does what the first action that covers it says. One thread may be stepped; it is the
        machine that runs, so the others run along as their turns come."""
        asked = []
        for each in actions:
            action, colon, thread = each.partition(":")
            if action[:1] not in ("c", "C", "s", "S", "r") or (action[0] in "cs" and len(action) > 1):
                raise Refusal(f"vCont: no action {each[:20]!r}")
            asked.append((action, Id.parse(thread) if colon else Id(ALL, ALL)))
        if not asked:
            raise Refusal("vCont: nothing to do")
        steps = [(action, who) for action, who in asked if action[0] in "sSr"]
        if not steps:
            return self._go(machine)
        action, who = steps[0]
        if who.thread in (ALL, ANY):
            who = self._running if who.covers(*_numbers(self._thread(machine, self._running))) else who
        span = None
        if action[0] == "r":
            start, _, end = action[1:].partition(",")
            span = range(number(start, "range"), number(end, "range"))
        return self._step(machine, self._thread(machine, who), span)

    def _go(self, machine: Machine) -> list[bytes]:
        if self.session.finished:
            return [self._stop_reply(machine)]
        self.runs = self.attached = True
        if not self.session.running:
            # GDB has stepped over the breakpoints that it knows of; the next one may stand right there.
            pc = stopped(machine, None).face(machine).pc
            self.session.go(leave_breakpoint=pc not in self.points.breakpoints)
        self.waiting = True
        return []

    def _step(self, machine: Machine, thread: Thread, span: range | None) -> list[bytes]:
        if self.session.finished:
            return [self._stop_reply(machine)]
        self.runs = self.attached = True
        self.session.stand("")

        def inside() -> bool:
            pc = thread.face(machine).pc
            face = thread.face(machine)
            stops = pc in machine.breakpoints or machine.stops.at(pc, face.mode, face.hgatp)
            return span is not None and pc in span and not stops

        self.session.step_while(thread.subject, inside, 1 if span is None else RANGE_STEPS)
        exit = self.session.exit
        met = exit is not None and exit.reason in (ExitReason.BREAKPOINT, ExitReason.WATCHPOINT, ExitReason.EVENT)
        if met or self.session.finished:
            return [self._stop_reply(machine)]
        return [self._stands(machine, thread)]


def _hex(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little").hex().encode()


def _numbers(thread: Thread) -> tuple[int, int]:
    return thread.process, thread.number
