"""The hub and the host on it, against frames made here, with nothing of how the code takes them apart or makes them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.devices.network import Host, Hub, Port
from emulator.errors import ConfigurationError, StateError

HOST, ME, OTHER = bytes.fromhex("52550a000202"), bytes.fromhex("525400123456"), bytes.fromhex("525400123457")
ALL = b"\xff" * 6
HERE, MINE, ELSEWHERE, NOBODY, EVERYBODY = "10.0.2.2", "10.0.2.15", "8.8.8.8", "0.0.0.0", "255.255.255.255"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ip(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def internet_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = 0
    for high, low in zip(data[::2], data[1::2] + b"\0" * (len(data) % 2), strict=True):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def packet(protocol: int, payload: bytes, source: str = MINE, target: str = HERE, **change: Any) -> bytes:
    header = struct.pack(
        ">BBHHHBBH4s4s", change.get("first", 0x45), 0, change.get("length", 20 + len(payload)), 7,
        change.get("fragment", 0), 64, protocol, 0, ip(source), ip(target),
    )  # fmt: skip
    found = internet_sum(header) ^ change.get("damage", 0)
    return header[:10] + found.to_bytes(2, "big") + header[12:] + payload


def frame(payload: bytes, kind: int = 0x0800, source: bytes = ME, target: bytes = HOST) -> bytes:
    return target + source + kind.to_bytes(2, "big") + payload


def with_sum(protocol: int, data: bytes, at: int, source: str = MINE, target: str = HERE) -> bytes:
    pseudo = ip(source) + ip(target) + bytes((0, protocol)) + len(data).to_bytes(2, "big")
    found = internet_sum(pseudo + data)
    return data[:at] + found.to_bytes(2, "big") + data[at + 2 :]


def udp(port: int, data: bytes, source: str = MINE, target: str = HERE, summed: bool = True) -> bytes:
    datagram = struct.pack(">HHHH", 1234 if port != 67 else 68, port, 8 + len(data), 0) + data
    datagram = with_sum(17, datagram, 6, source, target) if summed else datagram
    return packet(17, datagram, source, target)


def opened(answer: bytes, protocol: int, target: bytes = ME) -> tuple[str, bytes]:
    """(destination address, payload) of an IPv4 frame from the host, which must be sound."""
    assert answer[:14] == target + HOST + b"\x08\0"
    data = answer[14:]
    assert data[0] == 0x45 and data[9] == protocol and data[8] > 0 and ip(HERE) == data[12:16]
    assert internet_sum(data[:20]) == 0 and int.from_bytes(data[2:4], "big") == len(data)
    if protocol in (6, 17):
        assert internet_sum(data[12:20] + bytes((0, protocol)) + (len(data) - 20).to_bytes(2, "big") + data[20:]) == 0
    return ".".join(map(str, data[16:20])), data[20:]


# --- ARP and ICMP ---


def arp(operation: int, target: str, **change: bytes) -> bytes:
    return change.get("kind", b"\0\1\x08\0\6\4") + operation.to_bytes(2, "big") + ME + ip(MINE) + bytes(6) + ip(target)


def test_arp() -> None:
    host = Host()
    (answer,) = host.receive(frame(arp(1, HERE), 0x0806, target=ALL))
    assert answer == frame(b"\0\1\x08\0\6\4\0\2" + HOST + ip(HERE) + ME + ip(MINE), 0x0806, HOST, ME)
    assert host.receive(frame(arp(1, HERE), 0x0806)) == [answer], "asked of it alone"
    for wrong in (arp(1, "10.0.2.3"), arp(2, HERE), arp(1, HERE)[:27], arp(1, HERE, kind=b"\0\6\x08\0\6\4")):
        assert host.receive(frame(wrong, 0x0806, target=ALL)) == []


def echo(data: bytes, kind: int = 8) -> bytes:
    text = bytes((kind, 0, 0, 0)) + data
    return text[:2] + internet_sum(text).to_bytes(2, "big") + text[4:]


@pytest.mark.parametrize("size", [0, 1, 56, 1472])
def test_ping(size: int) -> None:
    data = b"\x12\x34\0\1" + bytes(n & 0xFF for n in range(size))
    (answer,) = Host().receive(frame(packet(1, echo(data))))
    assert opened(answer, 1) == (MINE, echo(data, 0))


def test_what_nobody_answers() -> None:
    good = packet(1, echo(b"abcd"))
    short = packet(1, echo(b"ab"))
    for wrong in (
        frame(good, target=OTHER), frame(good, target=ALL), frame(good, source=HOST), frame(good, source=ALL),
        frame(good, 0x86DD), frame(good[:19]), frame(good[:-1]), frame(packet(1, echo(b"abcd\0\0"))[:-2]),
        frame(packet(1, echo(b"abcd"), first=0x65)), frame(packet(1, echo(b"abcd"), first=0x44)),
        frame(packet(1, echo(b"abcd"), fragment=0x2000)), frame(packet(1, echo(b"abcd"), fragment=5)),
        frame(packet(1, echo(b"abcd"), damage=1)), frame(packet(1, echo(b"abcd"), length=19)),
        frame(packet(1, echo(b"abcd")[:3])), frame(packet(1, echo(b"abcd", 13))), frame(packet(1, echo(b"abcd", 0))),
        frame(packet(1, b"\x08\0\0\0abcd")), frame(packet(2, b"12345678")), frame(short), frame(b""),
        frame(packet(17, b"1234567")), frame(packet(6, b"1" * 19)),
        frame(packet(17, struct.pack(">HHHH", 1, 2, 9, 0))),
        frame(packet(17, struct.pack(">HHHH", 1, 2, 8, 1))),
    ):  # fmt: skip
        assert Host().receive(wrong) == [], wrong.hex()
    assert Host().receive(frame(good + bytes(6))) == Host().receive(frame(good)), "what pads a short frame is no part"


def test_there_is_nothing_beyond() -> None:
    """RFC 792, "Destination Unreachable Message": network, or port, with the packet's header and 8 bytes."""
    away = packet(1, echo(b"abcdefghij"), target=ELSEWHERE)
    closed = udp(53, b"who is?")
    for sent, code in ((away, 0), (closed, 3), (udp(53, b"who is?", summed=False), 3)):
        (answer,) = Host().receive(frame(sent))
        target, message = opened(answer, 1)
        assert target == MINE and message[:2] == bytes((3, code)) and internet_sum(message) == 0
        assert message[4:8] == bytes(4) and message[8:] == sent[:28]
    for quiet in (packet(1, echo(b"abcd", 3), target=ELSEWHERE), packet(1, echo(b"a"), target="224.0.0.1"),
                  packet(1, echo(b"a"), target="10.0.2.77"), packet(1, echo(b"a"), target=EVERYBODY)):  # fmt: skip
        assert Host().receive(frame(quiet)) == []


# --- DHCP ---


def dhcp(
    message: int, mac: bytes = ME, *, client: str = NOBODY, flags: int = 0, wanted: str = "", server: str = "",
    **change: Any,
) -> bytes:  # fmt: skip
    body = struct.pack(">BBBBIHH", change.get("operation", 1), 1, 6, 0, change.get("number", 0x1234_5678), 0, flags)
    body += ip(client) + bytes(8) + ip(change.get("relay", NOBODY)) + mac + bytes(10 + 64 + 128)
    body += change.get("cookie", b"\x63\x82\x53\x63")
    body += bytes((53, 1, message)) + b"\0\0"
    body += bytes((50, 4)) + ip(wanted) if wanted else b""
    body += bytes((54, 4)) + ip(server) if server else b""
    data = body + change.get("end", b"\xff")
    source, target = (client, change.get("to", HERE)) if client != NOBODY else (NOBODY, EVERYBODY)
    to = ALL if target == EVERYBODY else HOST
    return frame(udp(67, data, source, target), source=change.get("sender", mac), target=to)


def reply(answers: list[bytes], mac: bytes = ME, target: bytes | None = None) -> tuple[str, str, dict[int, bytes]]:
    """(IP destination, yiaddr, options) of the one answer."""
    (answer,) = answers
    where, data = opened(answer, 17, mac if target is None else target)
    assert data[:4] == b"\0\x43\0\x44" and int.from_bytes(data[4:6], "big") == len(data)
    data = data[8:]
    assert data[:8] == b"\2\1\6\0\x12\x34\x56\x78" and data[28:34] == mac and data[236:240] == b"\x63\x82\x53\x63"
    options, at = {}, 240
    while data[at] != 255:
        options[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return where, ".".join(map(str, data[16:20])), options


def test_a_lease() -> None:
    """RFC 2131, "Client-server interaction": discover, offer, request, acknowledgment."""
    host = Host()
    for message, kind in ((1, 2), (3, 5)):
        asked = dhcp(message, wanted=MINE if message == 3 else "", server=HERE if message == 3 else "")
        where, mine, options = reply(host.receive(asked))
        assert (where, mine, options.pop(53)) == (MINE, MINE, bytes((kind,)))
        assert options.pop(51) != bytes(4)
        assert options == {54: ip(HERE), 1: ip("255.255.255.0"), 3: ip(HERE), 28: ip("10.0.2.255")}, "and no DNS"
    assert reply(host.receive(dhcp(1, OTHER)), OTHER)[1] == "10.0.2.16"
    assert reply(host.receive(dhcp(1)))[1] == MINE, "the same MAC, the same address"
    assert reply(host.receive(dhcp(1, flags=0x8000)), target=ALL)[:2] == (EVERYBODY, MINE)
    renewed = host.receive(dhcp(3, client=MINE))
    assert reply(renewed)[:2] == (MINE, MINE) and renewed[0][54:58] == ip(MINE), "with its own address, ciaddr"


def test_a_checksum_of_zero_is_sent_as_ones() -> None:
    """RFC 768: zero stands for none."""
    first = Host().receive(dhcp(1))[0]
    low = 0x5678 + int.from_bytes(first[40:42], "big")
    (answer,) = Host().receive(dhcp(1, number=0x1234_0000 | (low & 0xFFFF) + (low >> 16)))
    assert answer[40:42] == b"\xff\xff" and opened(answer, 17)[0] == MINE


def test_leases_that_are_refused_or_none() -> None:
    host = Host()
    for wanted, client in (("10.0.2.99", NOBODY), ("", "10.0.2.44"), (NOBODY, NOBODY)):
        where, mine, options = reply(host.receive(dhcp(3, wanted=wanted, client=client)), target=ALL)
        assert (where, mine) == (EVERYBODY, NOBODY) and options == {53: b"\6", 54: ip(HERE)}
    where, mine, options = reply(host.receive(dhcp(8, OTHER, client="10.0.2.200")), OTHER)
    assert (where, mine, options[53]) == ("10.0.2.200", NOBODY, b"\5") and 51 not in options
    assert OTHER not in host.leases
    for quiet in (dhcp(4), dhcp(7), dhcp(0), dhcp(3, server="10.0.2.3"), dhcp(1, operation=2), dhcp(1, ALL),
                  dhcp(1, ALL, sender=ME), dhcp(8, client=MINE, to="10.0.2.9"),
                  dhcp(1, relay=MINE), dhcp(1, cookie=bytes(4)), dhcp(1, end=b"\xff", mac=OTHER)[:-60]):  # fmt: skip
        assert host.receive(quiet) == []


def test_leases_end_with_the_addresses() -> None:
    host = Host()
    macs = [bytes.fromhex("0200000000") + bytes((n,)) for n in range(250)]
    given = [host.receive(dhcp(1, mac)) for mac in macs]
    found = [reply(answers, mac)[1] for mac, answers in zip(macs, given, strict=True) if answers]
    assert found == [f"10.0.2.{n}" for n in range(15, 255)]
    assert reply(host.receive(dhcp(1, macs[7])), macs[7])[1] == "10.0.2.22"


# --- TCP and HTTP ---


class Client:
    """A TCP client without mercy or clock: `lose` is asked of each segment that comes."""

    def __init__(self, host: Host, port: int = 40000, *, window: int = 65535, mss: int | None = 1460) -> None:
        self.host, self.port, self.window, self.mss = host, port, window, mss
        self.sequence, self.expected = 0xFFFF_FFF0, 0
        self.data = b""
        self.ended = False
        self.sizes: list[int] = []

    def segment(
        self, flags: int, data: bytes = b"", sequence: int | None = None, port: int = 80, **change: int
    ) -> bytes:
        options = b"\1\2\4" + self.mss.to_bytes(2, "big") + b"\0\0\0" if flags & SYN and self.mss is not None else b""
        at = self.sequence if sequence is None else sequence
        head = struct.pack(">HHIIBBHHH", self.port, port, at & 0xFFFF_FFFF, change.get("ack", self.expected), 0x50 + 4 *
                           len(options), flags, change.get("window", self.window), 0, 0)  # fmt: skip
        return frame(packet(6, with_sum(6, head + options + data, 16)))

    def send(self, *args: Any, **options: Any) -> list[tuple[int, int, int, bytes]]:
        """(flags, sequence, acknowledgment, data) of what comes back."""
        found = []
        for answer in self.host.receive(self.segment(*args, **options)):
            _, data = opened(answer, 6)
            source, target, sequence, acknowledged, offset, flags, window, _, more = struct.unpack(
                ">HHIIBBHHH", data[:20]
            )
            assert (source, target, more) == (options.get("port", 80), self.port, 0) and (flags & RST or window >= 1024)
            if flags & SYN:
                assert data[20 : 4 * (offset >> 4)] == b"\2\4\x05\xb4"
            found.append((flags, sequence, acknowledged, data[4 * (offset >> 4) :]))
        return found

    def connect(self) -> None:
        ((flags, sequence, acknowledged, data),) = self.send(SYN)
        assert flags == SYN | ACK and acknowledged == self.sequence + 1 & 0xFFFF_FFFF and not data
        self.sequence, self.expected = acknowledged, sequence + 1 & 0xFFFF_FFFF
        assert self.send(ACK) == []

    def take(self, answers: list[tuple[int, int, int, bytes]], lose: Iterator[bool]) -> bool:
        """Take in what is next, and say whether anything came; what was acknowledged counts."""
        came = False
        for flags, sequence, acknowledged, data in answers:
            if next(lose):
                continue
            came = True
            self.acknowledged = acknowledged
            if sequence == self.expected and not self.ended:
                self.sizes.append(len(data))
                self.data += data
                self.ended = bool(flags & FIN)
                self.expected = sequence + len(data) + self.ended & 0xFFFF_FFFF
        return came

    def get(self, request: bytes = b"GET / HTTP/1.0\r\n\r\n", lose: Iterator[bool] | None = None) -> bytes:
        """All that the answer brings, then both sides close. The request is sent again, as it is not acknowledged."""
        lose = iter(lambda: False, True) if lose is None else lose
        first, self.acknowledged = self.sequence, self.sequence
        self.sequence = first + len(request) & 0xFFFF_FFFF
        self.take(self.send(ACK | PSH, request, first), lose)
        for _ in range(3000):
            if self.ended:
                break
            if self.take(self.send(ACK), lose) or self.ended:
                continue
            assert self.acknowledged == first, "else the client would wait for ever"
            self.take(self.send(ACK | PSH, request, first), lose)
        assert self.ended and self.acknowledged == self.sequence
        ((flags, _, acknowledged, _),) = self.send(FIN | ACK)
        assert flags == ACK and acknowledged == self.sequence + 1 & 0xFFFF_FFFF
        assert not self.host.connections
        return self.data


def facts(size: int = 4000) -> str:
    return "".join(f"row {n}\n" for n in range(size // 7))[:size]


def served(**options: Any) -> Client:
    client = Client(Host(lambda: facts()), **options)
    client.connect()
    return client


def test_the_page() -> None:
    client = served()
    head, _, body = client.get().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n") and b"Content-Length: 4000" in head and body.decode() == facts()
    assert client.sizes == [1460, 1460, len(head) + 4 + 4000 - 2920]


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: 10.0.2.2\r\n\r\n", b"200", b""),
        (b"GET /?x=1 HTTP/1.0\n\n", b"200", facts().encode()),
        (b"GET /etc/passwd HTTP/1.0\r\n\r\n", b"404", b"404 Not Found\n"),
        (b"POST / HTTP/1.0\r\n\r\n", b"501", b"501 Not Implemented\n"),
        (b"nonsense\r\n\r\n", b"400", b"400 Bad Request\n"),
        (b"\r\n\r\n", b"400", b"400 Bad Request\n"),
    ],
)
def test_other_requests(request_: bytes, status: bytes, body: bytes) -> None:
    head, _, found = served().get(request_).partition(b"\r\n\r\n")
    assert head.split()[1] == status and found == body


def test_a_request_without_end() -> None:
    client = served()
    for _ in range(8):
        ((flags, _, acknowledged, data),) = client.send(ACK, b"x" * 1000)
        client.sequence = client.sequence + 1000 & 0xFFFF_FFFF
        assert (flags, acknowledged, data) == (ACK, client.sequence, b"")
    client.take(client.send(ACK, b"x" * 1000), iter([False]))
    assert client.data.startswith(b"HTTP/1.0 431 ") and client.ended


def test_a_request_in_pieces_is_acknowledged_piece_by_piece() -> None:
    client = served()
    for piece in (b"GET", b" / HTTP/1.0\r", b"\n"):
        ((flags, _, acknowledged, data),) = client.send(ACK, piece)
        client.sequence = client.sequence + len(piece) & 0xFFFF_FFFF
        assert (flags, acknowledged, data) == (ACK, client.sequence, b"")
        ((_, _, acknowledged, _),) = client.send(ACK, piece, client.sequence - len(piece))
        assert acknowledged == client.sequence, "sent twice counts once"
    assert client.get(b"\r\n").endswith(facts().encode())


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 32), rate=st.sampled_from([0.1, 0.5, 0.8]),
    window=st.sampled_from([1, 100, 1460, 5000, 65535]), mss=st.sampled_from([None, 1, 64, 500, 1460, 65535]),
)  # fmt: skip
def test_segments_that_are_lost_come_again(seed: int, rate: float, window: int, mss: int | None) -> None:
    size = 40 if window == 1 else 3000
    client = Client(Host(lambda: facts(size)), window=window, mss=mss)
    client.connect()
    numbers = random.Random(seed)
    data = client.get(lose=iter(lambda: numbers.random() < rate, None))
    assert data.partition(b"\r\n\r\n")[2].decode() == facts(size)
    assert max(client.sizes) <= min(window, max(64, min(536 if mss is None else mss, 1460)))


def test_a_window_of_zero_is_waited_for() -> None:
    client = served()
    request = b"GET / HTTP/1.0\r\n\r\n"
    ((_, _, _, data),) = client.send(ACK | PSH, request, window=0)
    assert data == b""
    client.sequence = client.sequence + len(request) & 0xFFFF_FFFF
    assert client.send(ACK, window=0) == []
    client.take(client.send(ACK, window=9000), iter([False] * 9))
    assert client.sizes == [1460, 1460] and not client.ended
    client.take(client.send(ACK), iter([False]))
    assert client.ended


def test_a_first_segment_that_is_lost_comes_again() -> None:
    client = Client(Host(facts))
    first = client.send(SYN)
    assert client.send(SYN) == first
    client.connect()
    client.get()


def test_segments_of_no_connection_are_refused() -> None:
    """RFC 9293, "Reset Generation"."""
    client = Client(Host(facts))
    assert client.send(SYN, port=81) == [(RST | ACK, 0, 0xFFFF_FFF1, b"")]
    assert client.send(ACK, b"abc", ack=77) == [(RST, 77, 0, b"")]
    assert client.send(FIN, b"abc") == [(RST | ACK, 0, 0xFFFF_FFF4, b"")]
    assert client.send(RST) == [] and client.send(RST | ACK, port=81) == []
    assert not client.host.connections


def test_what_is_out_of_place() -> None:
    client = served()
    ((flags, _, acknowledged, _),) = client.send(ACK, b"early", client.sequence + 10)
    assert (flags, acknowledged) == (ACK, client.sequence)
    ((flags, _, acknowledged, _),) = client.send(ACK, b"GET / HTTP/1.0\r\n\r\n", ack=client.expected + 5)
    assert (flags, acknowledged) == (ACK, client.sequence), "it acknowledges what was not sent, and is dropped"
    ((flags, _, acknowledged, _),) = client.send(ACK, b"", client.sequence - 1)
    assert (flags, acknowledged) == (ACK, client.sequence), "are you still there?"
    ((flags, _, _, _),) = client.send(SYN, sequence=client.sequence - 1)
    assert flags == ACK, "the first segment astray"
    assert client.send(RST, sequence=client.sequence + 1) == [] and client.host.connections
    assert client.send(0, b"no ACK") == [] and client.host.connections
    assert client.send(RST) == [] and not client.host.connections


def test_acknowledgments_that_are_old_or_of_nothing() -> None:
    client = Client(Host(facts), window=1000)
    ((_, sequence, client.expected, _),) = client.send(SYN)
    client.sequence, client.expected = client.expected, sequence
    before = client.host.state()
    assert client.send(ACK, b"GET / HTTP/1.0\r\n\r\n") == [], "our SYN is not acknowledged yet"
    assert client.host.state() == before
    client.expected = sequence + 1
    assert client.send(ACK) == []
    client.take(client.send(ACK, b"GET / HTTP/1.0\r\n\r\n"), iter([False]))
    client.sequence = client.sequence + 18 & 0xFFFF_FFFF
    client.take(client.send(ACK), iter([False]))
    assert client.sizes == [1000, 1000]
    before = client.host.state()
    assert client.send(ACK, ack=client.expected - 1500, window=5000) == [] and client.host.state() == before


def test_a_peer_that_closes_before_it_has_asked() -> None:
    client = served()
    client.take(client.send(FIN | ACK), iter([False] * 9))
    assert client.ended and client.data == b""
    client.sequence = client.sequence + 1 & 0xFFFF_FFFF
    assert client.send(ACK) == [] and not client.host.connections


def test_a_peer_that_begins_anew() -> None:
    client = served()
    client.send(ACK, b"GET /")
    again = Client(client.host)
    again.sequence = 5
    again.connect()
    assert again.get().endswith(facts().encode())


def test_connections_are_bounded() -> None:
    host = Host(facts)
    clients = [Client(host, 1000 + n) for n in range(40)]
    for client in clients:
        client.connect()
    assert len(host.connections) == 32
    ((flags, *_),) = clients[0].send(ACK | PSH, b"GET / HTTP/1.0\r\n\r\n")
    assert flags == RST
    assert clients[-1].host.receive(clients[-1].segment(ACK, b"GET / HTTP/1.0\r\n\r\n"))
    again = clients[-32]
    again.sequence = 77
    again.connect()
    assert len(host.connections) == 32, "the same port anew costs nobody's place"
    assert clients[-31].send(ACK) == [] and clients[-2].send(ACK) == []
    assert again.send(ACK, b"GET /", port=81)[0][0] == RST, "another port is another connection"
    host = Host(lambda: "x" * (1 << 20))
    client = Client(host)
    client.connect()
    head, _, body = client.get().partition(b"\r\n\r\n")
    assert len(head) + 4 + len(body) <= 64 << 10 and b"Content-Length: %d\r\n" % len(body) in head


# --- the hub ---


class Station:
    def __init__(self, hub: Hub, name: str, room: int = 1000) -> None:
        self.got: list[bytes] = []
        self.room = room
        self.port = Port(name, self.take)
        hub.connect(self.port)

    def take(self, data: bytes) -> bool:
        if len(self.got) < self.room:
            self.got.append(data)
            return True
        return False


def stations(count: int = 3) -> tuple[Hub, list[Station]]:
    hub = Hub()
    return hub, [Station(hub, f"p{n}") for n in range(count)]


A, B, C = (bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3))


def test_frames_go_where_their_address_was_seen() -> None:
    _, (a, b, c) = stations()
    first = frame(b"x", 0x1234, A, B)
    a.port.send(first)
    assert (a.got, b.got, c.got) == ([], [first], [first]), "nobody knows yet where it is"
    back = frame(b"y", 0x1234, B, A)
    b.port.send(back)
    assert (a.got, b.got, c.got) == ([back], [first], [first])
    a.port.send(first)
    assert (len(b.got), len(c.got)) == (2, 1)
    c.port.send(frame(b"moved", 0x1234, B, A))
    a.port.send(first)
    assert (len(b.got), len(c.got)) == (2, 2)
    b.port.send(frame(b"z", 0x1234, A, C))
    b.port.send(frame(b"home", 0x1234, C, A))
    assert b.got[2:] == [], "a frame to the port that it comes from goes nowhere"
    group = frame(b"all", 0x1234, A, b"\1\0\x5e\0\0\1")
    b.port.send(frame(b"from all?", 0x1234, group[:6], A))
    a.port.send(group)
    assert b.got[-1] == c.got[-1] == group != a.got[-1]


def test_nobody_takes_the_hosts_place() -> None:
    hub, (a, b, _) = stations()
    b.port.send(frame(b"", 0x1234, HOST, A))
    a.port.send(frame(packet(1, echo(b"abcd"))))
    assert len(b.got) == 0 and opened(a.got[-1], 1)[1] == echo(b"abcd", 0)
    assert HOST not in hub.places


def test_counters() -> None:
    hub, (a, b, c) = stations()
    c.room = 0
    sent = frame(bytes(100), 0x1234, A, B)
    a.port.send(sent)
    for wrong in (sent[:13], b"", sent.ljust(1519, b"\0")):
        a.port.send(wrong)
    a.port.send(sent.ljust(1518, b"\0"))
    assert a.port.state() == {"received": 0, "received_bytes": 0, "sent": 2, "sent_bytes": 114 + 1518, "dropped": 3}
    assert b.port.state() == {"received": 2, "received_bytes": 1632, "sent": 0, "sent_bytes": 0, "dropped": 0}
    assert c.port.state() == {"received": 0, "received_bytes": 0, "sent": 0, "sent_bytes": 0, "dropped": 2}
    a.port.send(frame(packet(1, echo(b"abcd"))))
    host = hub.host_port.state()
    assert (host["received"], host["sent"], host["sent_bytes"]) == (3, 1, 14 + 20 + 8)


def test_addresses_that_are_remembered_are_bounded() -> None:
    hub, (a, b, c) = stations()
    b.port.send(frame(b"", 0x1234, B, A))
    for n in range(3000):
        a.port.send(frame(b"", 0x1234, b"\2\1\0\0" + n.to_bytes(2, "big"), A))
        if n % 500 == 0:
            b.port.send(frame(b"", 0x1234, B, HOST))
    assert len(hub.places) == 1024
    before = len(c.got)
    b.port.send(frame(b"", 0x1234, B, b"\2\1\0\0" + (2999).to_bytes(2, "big")))
    assert len(c.got) == before, "the newest are known"
    oldest, moves, *_ = hub.places
    c.port.send(frame(b"", 0x1234, moves, HOST))
    assert hub.places[moves] == "p2" and oldest in hub.places and len(hub.places) == 1024
    c.port.send(frame(b"", 0x1234, C, HOST))
    assert list(hub.places)[-2:] == [moves, C] and oldest not in hub.places


def test_unplugged() -> None:
    hub, (a, b, c) = stations()
    b.port.send(frame(b"", 0x1234, B, A))
    hub.disconnect(b.port)
    a.port.send(frame(b"x", 0x1234, A, B))
    b.port.send(frame(b"y", 0x1234, B, A))
    assert b.got == [] and len(c.got) == 2 and len(a.got) == 1
    with pytest.raises(ConfigurationError, match="port p0 already"):
        Station(hub, "p0")


def test_addresses_that_are_given_are_qemus() -> None:
    hub = Hub()
    assert [hub.new_mac() for _ in range(3)] == [f"52:54:00:12:34:{n}" for n in (56, 57, 58)]


# --- state, and what hostile guests send ---


def busy() -> tuple[Hub, Client]:
    """A hub in the middle of everything, and a client to which a part of the page is on its way."""
    hub, all_ = stations()
    hub.host.facts = facts
    all_[0].port.send(dhcp(1))
    client = Client(hub.host, window=1000)
    client.connect()
    request = b"GET / HTTP/1.0\r\n\r\n"
    client.take(client.send(ACK, request), iter([False]))
    client.sequence = client.sequence + len(request) & 0xFFFF_FFFF
    hub.host.receive(Client(hub.host, 41000).segment(SYN))
    hub.new_mac()
    return hub, client


def test_state_is_whole() -> None:
    one, client = busy()
    two, _ = stations()
    two.host.facts = facts
    state = one.state()
    two.restore(state)
    assert two.state() == state and list(two.host.connections) == list(one.host.connections)
    assert len(state["host"]["connections"]) == 2 and state["places"] and state["made"] == 1
    assert client.sizes == [1000] and not client.ended
    client.window = 9000
    for hub in (one, two):
        client.host = hub.host
        answers = client.send(ACK)
        assert sum(len(data) for *_, data in answers) == 2920
    assert one.state() == two.state() != state


def test_damaged_states_are_refused() -> None:
    hub, _ = busy()

    def change(*path: Any, value: Any) -> Any:
        state = hub.state()
        inner = state
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        return state

    connection = hub.state()["host"]["connections"][0]
    for state in [
        None, {}, change("made", value=-1), change("made", value="x"), change("places", value=[[A, "nowhere"]]),
        change("places", value=[[b"", "p0"]]), change("places", value=[[A, "p0"], [A, "p1"]]),
        change("places", value=[3]),
        change("places", value=[[n.to_bytes(6, "big"), "p0"] for n in range(1025)]), change("port", value={}),
        change("host", value=3), change("host", "leases", value=[b"x"]), change("host", "leases", value=[A, A]),
        change("host", "leases", value=[n.to_bytes(6, "big") for n in range(241)]), change("host", "opened", value=-1),
        change("host", "connections", value=[connection] * 2), change("host", "connections", value=[connection] * 33),
        change("host", "connections", 0, "peer", value=b"x"), change("host", "connections", 0, "sent", value=1 << 40),
        change("host", "connections", 0, "request", value=bytes(9000)), change("host", "connections", 0, value=7),
    ]:  # fmt: skip
        with pytest.raises(StateError) as error:
            hub.restore(state)
        assert "\n" not in str(error.value)


pieces = st.sampled_from([
    frame(arp(1, HERE), 0x0806, target=ALL), frame(packet(1, echo(b"abcd"))), dhcp(1), dhcp(3, wanted=MINE),
    Client(Host()).segment(SYN), Client(Host()).segment(ACK, b"GET / HTTP/1.0\r\n\r\n", 0xFFFF_FFF1),
    frame(udp(53, b"abc")), frame(packet(1, echo(b"abcd"), target=ELSEWHERE)),
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(pieces, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
                          st.integers(14, 1518)), max_size=12))  # fmt: skip
def test_any_frames_are_survived(steps: list[tuple[bytes, list[tuple[int, int]], int]]) -> None:
    hub, (a, _, _) = stations()
    hub.host.facts = facts
    for data, changes, cut in steps:
        damaged = bytearray(data)
        for at, value in changes:
            damaged[at % len(damaged)] = value
        a.port.send(bytes(damaged[:cut]))
    assert all(14 <= len(each) <= 1514 and each[6:12] == HOST for each in a.got)
    again, _ = stations()
    again.restore(hub.state())
    assert again.state() == hub.state()
