"""Packets of GDB's remote serial protocol, between bytes and what they carry. Nothing here knows a machine.

Source: the GDB manual, appendix "GDB Remote Serial Protocol", sections "Overview" and "Packet Acknowledgment".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PACKET_SIZE = 0x4000
"""Bytes between $ and # that either side may send, escapes counted."""
WORD = (1 << 64) - 1


class Refusal(Exception):
    """A packet that is answered by an error: one line that says why."""


class Sign(Enum):
    """What comes between packets."""

    ACK = "+"
    NAK = "-"
    INTERRUPT = "\x03"
    BAD = "a packet whose checksum is wrong, or that is too long"


Item = bytes | Sign


class Decoder:
    """Cuts a stream into packets, however it arrives. Keeps at most one packet of PACKET_SIZE bytes."""

    def __init__(self) -> None:
        self._body: bytearray | None = None
        self._sum: bytearray | None = None
        """The digits behind #, while they come."""
        self._long = False

    def feed(self, data: bytes) -> list[Item]:
        """What is whole now: bodies of packets, escapes undone, and signs. Rubbish between packets is nothing."""
        found: list[Item] = []
        at = 0
        while at < len(data):
            if self._sum is not None:
                self._sum.append(data[at])
                at += 1
                if len(self._sum) == 2:
                    found.append(self._whole())
            elif self._body is not None:
                at = self._gather(data, at)
            else:
                if data[at] == ord("$"):
                    self._body, self._long = bytearray(), False
                elif data[at] in b"+-\x03":
                    found.append(Sign(chr(data[at])))
                at += 1
        return found

    def _gather(self, data: bytes, at: int) -> int:
        """Take what belongs to the body; returns where it ends. A $ inside begins a new packet: the old one was cut."""
        assert self._body is not None
        ends = [place for place in (data.find(b"#", at), data.find(b"$", at)) if place >= 0]
        end = min(ends, default=len(data))
        room = PACKET_SIZE - len(self._body)
        self._long = self._long or end - at > room
        self._body += data[at : at + min(end - at, room)]
        if not ends:
            return end
        if data[end] == ord("#"):
            self._sum = bytearray()
        else:
            self._body, self._long = bytearray(), False
        return end + 1

    def _whole(self) -> Item:
        assert self._body is not None and self._sum is not None
        body, digits, self._body, self._sum = bytes(self._body), bytes(self._sum), None, None
        try:
            right = int(digits, 16) == sum(body) & 0xFF
        except ValueError:
            right = False
        return unescape(body) if right and not self._long else Sign.BAD


def unescape(body: bytes) -> bytes:
    """"Binary Data": } is followed by the byte it stands for, XOR 0x20."""
    if b"}" not in body:
        return body
    first, *rest = body.split(b"}")
    # A pair of } escapes nothing that is sent; it leaves an empty piece, which is dropped.
    return first + b"".join(bytes([piece[0] ^ 0x20]) + piece[1:] for piece in rest if piece)


def escape(data: bytes) -> bytes:
    """Also *, which would be a run length in an answer."""
    if not any(each in data for each in b"}#$*"):
        return data
    return b"".join(bytes([0x7D, each ^ 0x20]) if each in b"}#$*" else bytes([each]) for each in data)


def packet(body: bytes) -> bytes:
    """Framed, as it goes over the wire; `body` is escaped already where it must be."""
    return b"$%s#%02x" % (body, sum(body) & 0xFF)


def number(text: str | bytes, what: str, most: int = WORD) -> int:
    """Hexadecimal, at most `most`. Raises Refusal."""
    digits = text.decode("latin-1") if isinstance(text, bytes) else text
    if not 0 < len(digits) <= 32 or not all(each in "0123456789abcdefABCDEF" for each in digits):
        raise Refusal(f"{what}: {digits[:20]!r} is no hexadecimal number")
    value = int(digits, 16)
    if value > most:
        raise Refusal(f"{what}: {value:#x} is more than {most:#x}")
    return value


def octets(text: str | bytes, what: str) -> bytes:
    """Two hexadecimal digits a byte. Raises Refusal."""
    digits = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        if not digits.isalnum() and digits:
            raise ValueError
        return bytes.fromhex(digits)
    except ValueError:
        raise Refusal(f"{what}: {digits[:20]!r} is not made of hexadecimal bytes") from None


ALL, ANY = -1, 0
"""Numbers that stand for all threads or processes, and for any one."""


@dataclass(frozen=True)
class Id:
    """A thread as packets name it ("Packets", thread-id): process and thread, each a number from 1, ALL or ANY."""

    process: int = ANY
    thread: int = ANY

    @classmethod
    def parse(cls, text: str) -> Id:
        """p1.2, p1 (all of its threads), 2, -1, 0. Raises Refusal."""
        if not text.startswith("p"):
            return cls(ANY, _part(text))
        process, dot, thread = text[1:].partition(".")
        return cls(_part(process), _part(thread) if dot else ALL)

    def covers(self, process: int, thread: int) -> bool:
        return self.process in (ALL, ANY, process) and self.thread in (ALL, ANY, thread)


def _part(text: str) -> int:
    return ALL if text == "-1" else number(text, "thread", (1 << 31) - 1)


def piece(whole: str, where: str) -> bytes:
    """The answer to a qXfer read of `whole`; `where` is OFFSET,LENGTH ("General Query Packets", qXfer). Offsets count
    bytes. Raises Refusal."""
    start, comma, length = where.partition(",")
    if not comma:
        raise Refusal(f"qXfer: {where[:20]!r} is not OFFSET,LENGTH")
    at, size = number(start, "offset"), number(length, "length")
    data = whole.encode()
    part = data[at : at + min(size, PACKET_SIZE // 2 - 1)]
    return (b"m" if at + len(part) < len(data) else b"l") + escape(part)
