"""As much of TCP (RFC 9293) as serves one page to a request, and no clock.

Frames to the host are never lost, only those from it, where a guest takes none. So the guest's own clock is enough: its
request stays unacknowledged until the last of the answer is sent, and what it sends again asks for the rest again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from emulator.devices.fields import Exactly, Flag, Number, Octets, Shape, Stateful
from emulator.devices.network.frames import MTU

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
OUR_MSS: Final = MTU - 40
USUAL_MSS, LEAST_MSS = 536, 64
"""Bytes of data in a segment where the peer says nothing, and at least whatever it says."""
WINDOW: Final = 8192
REQUEST_LIMIT: Final = 8192
RESPONSE_LIMIT: Final = 64 << 10
BURST: Final = 16
"""Segments sent at once at most."""
_WORD: Final = 0xFFFF_FFFF
_HEADER: Final = struct.Struct(">HHIIBBHHH")


class Segment(NamedTuple):
    source: int
    destination: int
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    mss: int
    data: bytes

    @property
    def length(self) -> int:
        """Sequence numbers that it takes."""
        return len(self.data) + bool(self.flags & SYN) + bool(self.flags & FIN)


def parse(data: bytes) -> Segment | None:
    """RFC 9293, "Header Format". The checksum is the caller's."""
    if len(data) < _HEADER.size:
        return None
    source, destination, sequence, acknowledgment, offset, flags, window, _, _ = _HEADER.unpack_from(data)
    size = 4 * (offset >> 4)
    if not _HEADER.size <= size <= len(data):
        return None
    mss = _mss(data[_HEADER.size : size])
    return Segment(source, destination, sequence, acknowledgment, flags, window, mss, data[size:])


def _mss(options: bytes) -> int:
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            break
        if options[at] == 2 and options[at + 1] == 4 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2 : at + 4], "big")
        at += options[at + 1]
    return USUAL_MSS


def pack(segment: Segment) -> bytes:
    """With an MSS option on SYN, and without a checksum, which belongs at byte 16."""
    options = b"\2\4" + segment.mss.to_bytes(2, "big") if segment.flags & SYN else b""
    offset = _HEADER.size + len(options) << 2
    return _HEADER.pack(*segment[:4], offset, segment.flags, segment.window, 0, 0) + options + segment.data


CHECKSUM_AT: Final = 16


def refusal(segment: Segment) -> Segment | None:
    """What answers a segment for which there is no connection (RFC 9293, "Reset Generation")."""
    if segment.flags & RST:
        return None
    back = segment.destination, segment.source
    if segment.flags & ACK:
        return Segment(*back, segment.acknowledgment, 0, RST, 0, 0, b"")
    return Segment(*back, 0, segment.sequence + segment.length & _WORD, RST | ACK, 0, 0, b"")


def _distance(later: int, earlier: int) -> int:
    """later - earlier of sequence numbers, from -2**31."""
    return (later - earlier + (1 << 31) & _WORD) - (1 << 31)


class Connection(Stateful):
    """One request and its answer. Offsets in what we send: 0 is the SYN, 1 the answer's first byte, its FIN behind.

    `acked` is how far the peer has it, `sent` what goes next; `received` is the peer's next sequence number, `told` how
    far we acknowledge.
    """

    name = "connection"
    fields: Mapping[str, Shape] = {
        "peer": Exactly(12),
        "first": Number(_WORD),
        "received": Number(_WORD),
        "told": Number(_WORD),
        "window": Number(0xFFFF),
        "mss": Number(OUR_MSS),
        "acked": Number(RESPONSE_LIMIT + 2),
        "sent": Number(RESPONSE_LIMIT + 2),
        "request": Octets(REQUEST_LIMIT),
        "response": Octets(RESPONSE_LIMIT),
        "answered": Flag(),
        "closed": Flag(),
    }

    def __init__(self, peer: bytes, first: int, segment: Segment | None = None) -> None:
        """`peer`: MAC and IPv4 address and port, 12 bytes; `first`: our initial sequence number; `segment`: its SYN."""
        self.peer, self.first = peer, first
        self.received = self.told = 0 if segment is None else segment.sequence + 1 & _WORD
        self.window = 0 if segment is None else segment.window
        self.mss = USUAL_MSS if segment is None else max(LEAST_MSS, min(segment.mss, OUR_MSS))
        self.acked, self.sent = 0, 1
        self.request, self.response = bytearray(), bytearray()
        self.answered = self.closed = False
        """The response is there; the peer has sent its FIN."""
        self.over = False
        """Nothing follows: the connection can be forgotten."""

    @property
    def end(self) -> int:
        """The offset behind the FIN."""
        return len(self.response) + 2

    def _segment(self, offset: int, flags: int, data: bytes = b"") -> Segment:
        sequence = self.first + offset & _WORD
        return Segment(80, int.from_bytes(self.peer[10:], "big"), sequence, self.told, flags, WINDOW, OUR_MSS, data)

    def greet(self) -> Segment:
        return self._segment(0, SYN | ACK)

    def _ack(self) -> Segment:
        return self._segment(self.sent, ACK)

    def take(self, segment: Segment, answer: Callable[[bytes], bytes]) -> list[Segment]:
        """Deal with a segment of the peer's; returns ours. `answer` gives the response to a request, b"" while that is
        not complete."""
        skip = _distance(self.received, segment.sequence)
        if segment.flags & RST:
            self.over = not skip
            return []
        if segment.flags & SYN:  # again, as our answer was lost; or astray (RFC 5961, "Mitigation")
            return [self._ack() if self.acked else self.greet()]
        gained = _distance(segment.acknowledgment, self.first + self.acked & _WORD)
        if not segment.flags & ACK or gained > self.sent - self.acked:
            return [self._ack()] if segment.flags & ACK else []
        if gained >= 0:
            self.acked, self.window = self.acked + gained, segment.window
        if not self.acked:
            return []
        length = segment.length
        if skip < 0:
            return [self._ack()]
        if skip < length:
            self._accept(segment, skip, answer)
        out = self._pieces(again=bool(length and skip))
        if not out and (length or skip):
            out = [self._ack()]
        self.over = self.closed and self.acked == self.end and self.answered
        return out

    def _accept(self, segment: Segment, skip: int, answer: Callable[[bytes], bytes]) -> None:
        fresh = segment.data[skip:]
        before, self.received = self.received, self.received + segment.length - skip & _WORD
        self.closed |= bool(segment.flags & FIN)
        if self.answered:
            if self.told == before:
                self.told = self.received
            return
        self.request += fresh[: REQUEST_LIMIT - len(self.request)]
        self.response += answer(bytes(self.request))[:RESPONSE_LIMIT]
        self.answered = bool(self.response) or self.closed
        if not self.response:
            self.told = self.received

    def _pieces(self, again: bool) -> list[Segment]:
        """As much of the answer as the peer's window takes; from what it acknowledged on, if `again`."""
        if again:
            self.sent = self.acked
        out: list[Segment] = []
        while self.answered and self.sent < self.end and len(out) < BURST:
            room = self.acked + self.window - self.sent
            size = max(0, min(self.mss, room, self.end - 1 - self.sent))
            final = self.sent + size == self.end - 1
            last = final and room > size
            # The last piece goes when the peer has all before it, as it acknowledges the request.
            if (final and self.sent > self.acked) or not (size or last):
                break
            if last:
                self.told = self.received
            data = bytes(self.response[self.sent - 1 : self.sent - 1 + size])
            out.append(self._segment(self.sent, ACK | PSH | (FIN if last else 0), data))
            self.sent += size + last
        return out

    def refresh(self) -> None:
        self.over = False
