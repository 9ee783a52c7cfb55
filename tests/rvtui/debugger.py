"""A debugger for tests: GDB's side of the remote serial protocol, as its manual has it, and no more than tests need."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

from emulator.machine import Machine
from rvtui.gdb import Listener, Server, serving
from rvtui.session import Session

RAM = 0x8000_0000
SECONDS = 30.0
"""Longer than any answer takes; what never comes fails there."""


def words(data: bytes) -> list[int]:
    """64-bit values of hexadecimal bytes in target order."""
    raw = bytes.fromhex(data.decode())
    return [int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8)]


def le(value: int, size: int = 8) -> str:
    return value.to_bytes(size, "little").hex()


class Client:
    """Acknowledges until told not to."""

    def __init__(self, port: int, features: str = "swbreak+;hwbreak+;vContSupported+;error-message+") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.acknowledged = True
        self._buffer = b""
        self.features = self.ask(f"qSupported:{features}").split(";") if features else []

    def close(self) -> None:
        self.socket.close()

    # Bytes.

    def byte(self) -> bytes:
        if not self._buffer:
            self._buffer = self.socket.recv(65536)
            if not self._buffer:
                raise EOFError
        first, self._buffer = self._buffer[:1], self._buffer[1:]
        return first

    def send(self, body: str | bytes) -> None:
        data = body.encode("latin-1") if isinstance(body, str) else body
        self.socket.sendall(b"$%s#%02x" % (data, sum(data) % 256))
        if self.acknowledged:
            assert self.byte() == b"+"

    def receive(self) -> str:
        """The next packet, escapes undone."""
        assert self.byte() == b"$"
        body = b""
        while (byte := self.byte()) != b"#":
            body += bytes([self.byte()[0] ^ 0x20]) if byte == b"}" else byte
        self.byte(), self.byte()
        if self.acknowledged:
            self.socket.sendall(b"+")
        return body.decode("latin-1")

    # Questions.

    def ask(self, body: str | bytes) -> str:
        self.send(body)
        return self.receive()

    def ok(self, body: str | bytes) -> None:
        assert self.ask(body) == "OK", body

    def quick(self) -> None:
        """No more acknowledgment."""
        self.ok("QStartNoAckMode")
        self.acknowledged = False

    def attach(self) -> dict[str, str]:
        return self.stop_of(self.ask("?"))

    def stop(self) -> dict[str, str]:
        """Wait for a stop reply; what was printed before it is under "text"."""
        text = ""
        while (answer := self.receive()).startswith("O"):
            text += bytes.fromhex(answer[1:]).decode()
        return {**self.stop_of(answer), "text": text}

    @staticmethod
    def stop_of(answer: str) -> dict[str, str]:
        assert answer[0] in "TWX", answer
        found = {"signal": answer[1:3], "kind": answer[0]}
        for part in answer[3:].strip(";").split(";") if answer[3:] else ():
            name, _, value = part.partition(":")
            found["pc" if name == "20" else name] = value
        if "pc" in found:
            found["pc"] = hex(words(found["pc"].encode())[0])
        return found

    def go(self, how: str = "vCont;c") -> dict[str, str]:
        """Resume, and wait for the stop."""
        self.send(how)
        return self.stop()

    def monitor(self, line: str) -> str:
        self.send("qRcmd," + line.encode().hex())
        text = ""
        while (answer := self.receive()).startswith("O") and answer != "OK":
            text += bytes.fromhex(answer[1:]).decode()
        assert answer == "OK", answer
        return text

    def read(self, address: int, length: int) -> bytes:
        return bytes.fromhex(self.ask(f"m{address:x},{length:x}"))

    def register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")


class Bench:
    """A session that is served, and clients of it."""

    def __init__(self, session: Session, server: Server) -> None:
        self.session, self.server = session, server
        self._clients = contextlib.ExitStack()

    @property
    def machine(self) -> Machine:
        return self.session.machine

    def client(self, **more: Any) -> Client:
        return self._clients.enter_context(contextlib.closing(Client(self.server.listener.port, **more)))

    def next_client(self) -> Client:
        """Once the server has dealt with those before."""
        until = time.monotonic() + SECONDS
        while True:
            try:
                client = self.client()
                if "PacketSize=4000" in client.features:
                    return client
            except (EOFError, ConnectionError):
                pass
            assert time.monotonic() < until

    def attached(self, **more: Any) -> Client:
        client = self.client(**more)
        client.quick()
        client.attach()
        return client

    def ask(self, question: Any) -> Any:
        return self.session.call(question).result(SECONDS)

    def state_hash(self) -> str:
        return str(self.ask(Machine.state_hash))

    def settled(self) -> None:
        """The server has seen that its client is gone."""
        until = time.monotonic() + SECONDS
        while self.server.connected:
            assert time.monotonic() < until
            time.sleep(0.005)
        self.ask(lambda machine: None)


@contextlib.contextmanager
def served(machine: Machine, *, running: bool = False, limit: int | None = None) -> Iterator[Bench]:
    session = Session(machine, pace=False, limit=limit)
    session.start(run=running)
    try:
        with serving(session, Listener("0"), runs=running) as server:
            assert server is not None
            bench = Bench(session, server)
            with bench._clients:
                yield bench
    finally:
        session.close()


def counting(harts: int = 1) -> Machine:
    """A bare machine in M-mode: t0 counts up, is stored at a0 = RAM + 0x1000, t1 is loaded from a0 + 8; for ever."""
    machine = Machine(memory=4 << 20, harts=harts)
    # addi t0, t0, 1; sd t0, 0(a0); ld t1, 8(a0); jal zero, -12
    for at, word in enumerate((0x0012_8293, 0x0055_3023, 0x0085_3303, 0xFF5F_F06F)):
        machine.memory.write_int(RAM + 4 * at, 4, word)
    for hart in machine.harts:
        hart.reset(RAM)
        hart.x[10] = RAM + 0x1000 + 0x100 * hart.index
    return machine
