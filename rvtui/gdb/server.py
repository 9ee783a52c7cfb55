"""The socket of the stub: one debugger at a time, on a thread of its own."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from emulator.errors import ConfigurationError
from rvtui.gdb.packets import Decoder, Item, Sign, packet
from rvtui.gdb.stub import Closed, Stub
from rvtui.session import Session

LOOPBACK = "127.0.0.1"
READ = 4096
BUSY = b"E.rvtui: another debugger is connected"
REFUSED_SECONDS = 2.0
"""How long one who was refused may take to read that."""
MOST_REFUSED = 16
END_SECONDS = 1.0
"""How long rvtui waits at its end for GDB to take what is said last."""


class Listener:
    """A bound socket. `text` is [HOST]:PORT or PORT; HOST may be an IPv6 address in brackets, PORT 0 any free one.

    ConfigurationError for what cannot be listened at."""

    def __init__(self, text: str) -> None:
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or LOOPBACK
        if not (port.isascii() and port.isdecimal()) or len(port) > 5 or int(port) > 65535:
            raise ConfigurationError(f"--gdb {text}: write PORT or HOST:PORT, with a port up to 65535")
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
            self.socket = socket.socket(family, kind, protocol)
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(address)
                self.socket.listen(8)
            except OSError:
                self.socket.close()
                raise
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"--gdb {text}: cannot listen there: {why}") from None
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.address


class Server:
    """Serves one session at one listener, from `start` to `close`, which takes the listener along."""

    def __init__(self, session: Session, listener: Listener, kill: Callable[[], None] | None = None) -> None:
        """`kill`: on the worker, what GDB's kill does; by default the machine only stays as it is."""
        self.session = session
        self.listener = listener
        self._kill = kill
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(listener.socket, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._client: socket.socket | None = None
        self._refused: dict[socket.socket, float] = {}
        self._out = bytearray()
        self._last = b""
        """The packet that - asks for again."""
        self._items: deque[Item] = deque()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="gdb", daemon=True)

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def attached(self) -> bool:
        """A debugger is connected, and has not left the machine to itself."""
        return self._client is not None and self.stub.attached

    @property
    def abandoned(self) -> bool:
        """A debugger was lost while it held the machine."""
        return self.stub.abandoned

    def start(self, *, runs: bool) -> None:
        """`runs`: what the machine is to do, when it does not yet."""
        self.stub = Stub(self.session, kill=self._killed, stopped=self._notify)
        self.stub.runs = runs
        self.session.debugger = self.stub
        self._thread.start()

    def close(self) -> None:
        """Before the session's own end."""
        self._ending = True
        self._notify()
        self._thread.join(timeout=5 + END_SECONDS)
        self.session.debugger = None

    def _notify(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake all the same
            self._wake.send(b"!")

    def _killed(self) -> None:
        if self._kill is not None:
            self._kill()

    # The thread.

    def _work(self) -> None:
        try:
            while not self._ending:
                try:
                    self._turn()
                except Closed:
                    raise
                except Exception as error:  # the machine, and the next debugger, must outlive it
                    self.session.machine.warnings.append(f"gdb: internal error: {type(error).__name__}: {error}")
                    self._drop()
            if self._client is not None:
                self._finish()
        except Closed:
            pass
        finally:
            with contextlib.suppress(Closed):
                self._drop()
            for each in (*self._refused, self.listener.socket, self._wake, self._woken):
                each.close()
            self._selector.close()

    def _turn(self) -> None:
        timeout = 0.5 if self._refused else None
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self.listener.socket:
                self._accept()
            elif key.fileobj is self._woken:
                with contextlib.suppress(OSError):
                    self._woken.recv(READ)
                self._say(*self.stub.notice())
            elif key.fileobj is self._client:
                self._serve()
            elif isinstance(key.fileobj, socket.socket):
                self._drain(key.fileobj)
        for each in [each for each, until in self._refused.items() if until < time.monotonic()]:
            self._forget(each)
        self._proceed()

    def _accept(self) -> None:
        try:
            client, _ = self.listener.socket.accept()
        except OSError:
            return
        client.setblocking(False)
        if self._client is not None:
            if len(self._refused) >= MOST_REFUSED:
                client.close()
                return
            with contextlib.suppress(OSError):
                client.send(b"+" + packet(BUSY))
                client.shutdown(socket.SHUT_WR)
            self._refused[client] = time.monotonic() + REFUSED_SECONDS
            self._selector.register(client, selectors.EVENT_READ)
            return
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._client = client
        self._decoder = Decoder()
        self._out.clear()
        self._items.clear()
        self._last = b""
        self.stub.reset()
        self._selector.register(client, selectors.EVENT_READ)

    def _drain(self, refused: socket.socket) -> None:
        """What is left unread would take the answer away from who was refused."""
        try:
            if refused.recv(READ):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._forget(refused)

    def _forget(self, refused: socket.socket) -> None:
        if self._refused.pop(refused, None) is not None:
            self._selector.unregister(refused)
            refused.close()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        self._selector.unregister(client)
        client.close()
        self._out.clear()
        self._items.clear()
        self.stub.leave()

    def _serve(self) -> None:
        """Read some, unless answers still wait to be taken: a client that does not read is not read either."""
        assert self._client is not None
        if self._out or self._items:
            return
        try:
            data = self._client.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        self._items.extend(self._decoder.feed(data))

    def _proceed(self) -> None:
        """Send what waits, and deal with what has come while all that was said is taken."""
        while self._client is not None:
            self._flush()
            if self._client is None or self._out or not self._items:
                break
            self._deal(self._items.popleft())
        if self._client is not None:
            wanted = selectors.EVENT_WRITE if self._out else selectors.EVENT_READ
            self._selector.modify(self._client, wanted)

    def _flush(self) -> None:
        assert self._client is not None
        try:
            while self._out:
                del self._out[: self._client.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop()

    def _deal(self, item: Item) -> None:
        if item is Sign.INTERRUPT:
            self.stub.interrupt()
        elif item is Sign.NAK:
            self._out += self._last if self.stub.acknowledged else b""
        elif item is Sign.BAD:
            self._out += b"-" if self.stub.acknowledged else b""
        elif isinstance(item, bytes):
            if self.stub.acknowledged:
                self._out += b"+"
            self._say(*self.stub.answer(item))

    def _say(self, *bodies: bytes) -> None:
        if self._client is not None and bodies:
            self._last = packet(bodies[-1])
            self._out += b"".join(map(packet, bodies))

    def _finish(self) -> None:
        """rvtui ends: say how the machine did, if GDB waits for it."""
        self._say(*self.stub.notice())
        self._say(*self.stub.end())
        until = time.monotonic() + END_SECONDS
        while self._client is not None and self._out and time.monotonic() < until:
            self._flush()
            if self._out:
                time.sleep(0.01)
        if self._client is None:
            return
        with contextlib.suppress(OSError):  # until it has read that
            self._client.shutdown(socket.SHUT_WR)
            while time.monotonic() < until:
                try:
                    if not self._client.recv(READ):
                        break
                except BlockingIOError:
                    time.sleep(0.01)


@contextlib.contextmanager
def serving(
    session: Session, listener: Listener | None, *, runs: bool, kill: Callable[[], None] | None = None
) -> Iterator[Server | None]:
    """A debugger may come while this lasts; without a listener none."""
    if listener is None:
        yield None
        return
    server = Server(session, listener, kill)
    server.start(runs=runs)
    try:
        yield server
    finally:
        server.close()
