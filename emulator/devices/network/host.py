"""The small host on the network: answers ARP, DHCP, ping and one page by HTTP, at the addresses of QEMU's user network.

It speaks only when spoken to, keeps a bounded number of things, and needs no clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from emulator.devices.fields import Number, Shape, Stateful
from emulator.devices.network import frames, tcp
from emulator.devices.network.frames import Arp, Packet, checksum, ethernet, ipv4, is_group, summed
from emulator.errors import StateError

MAC: Final = bytes.fromhex("52550a000202")
ADDRESS, NETWORK, NETMASK = bytes((10, 0, 2, 2)), bytes((10, 0, 2)), bytes((255, 255, 255, 0))
EVERYBODY: Final = b"\xff" * 4
FIRST_LEASE, MOST_LEASES = 15, 240
"""Leases are 10.0.2.15 to 10.0.2.254."""
LEASE_SECONDS: Final = 86400
MOST_CONNECTIONS: Final = 32
HTTP_PORT, DHCP_PORT, DHCP_CLIENT = 80, 67, 68
DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
"""DHCP message types (RFC 2132, "DHCP Message Type")."""
_COOKIE: Final = bytes.fromhex("63825363")
_BOOTP: Final = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
NETWORK_UNREACHABLE, PORT_UNREACHABLE = 0, 3


class Host(Stateful):
    """`receive` takes a frame and returns the answers. `leases` holds the MAC addresses that were given 10.0.2.15 and
    the following, by order."""

    name = "network host"
    mac = MAC
    fields: Mapping[str, Shape] = {"opened": Number(0xFFFF_FFFF)}

    def __init__(self, facts: Callable[[], str] = lambda: "") -> None:
        """`facts` is what the page says."""
        self.facts = facts
        self.leases: list[bytes] = []
        self.connections: dict[bytes, tcp.Connection] = {}
        self.opened = 0
        """Connections there were, modulo 2**32."""

    def receive(self, frame: bytes) -> list[bytes]:
        """The answers to a frame of 14 bytes or more. Those for nobody in particular get none but ARP's and DHCP's."""
        source, kind, payload = frame[6:12], int.from_bytes(frame[12:14], "big"), frame[frames.ETHERNET :]
        if is_group(source) or source == self.mac or (frame[:6] != self.mac and not is_group(frame[:6])):
            return []
        if kind == frames.ARP:
            return self._arp(source, payload)
        packet = frames.parse_ipv4(payload) if kind == frames.IPV4 else None
        if packet is None or (packet.protocol in (frames.UDP, frames.TCP) and self._damaged(packet)):
            return []
        if packet.protocol == frames.UDP and packet.payload[2:4] == DHCP_PORT.to_bytes(2, "big"):
            return self._dhcp(packet)
        if is_group(frame[:6]):
            return []
        if packet.destination != ADDRESS:
            return self._elsewhere(source, packet)
        match packet.protocol:
            case frames.ICMP:
                return self._ping(source, packet)
            case frames.TCP:
                return self._tcp(source, packet)
            case frames.UDP:
                return self._unreachable(source, packet, PORT_UNREACHABLE)
        return []

    @staticmethod
    def _damaged(packet: Packet) -> bool:
        """Too short, or a wrong checksum; UDP may have none."""
        data = packet.payload
        if packet.protocol == frames.UDP:
            if len(data) < 8 or int.from_bytes(data[4:6], "big") != len(data):
                return True
            if data[6:8] == b"\0\0":
                return False
        return len(data) < 8 or packet.pseudo_sum() != 0

    def _ip(self, mac: bytes, address: bytes, protocol: int, payload: bytes) -> bytes:
        return ethernet(mac, self.mac, frames.IPV4, ipv4(ADDRESS, address, protocol, payload))

    def _arp(self, mac: bytes, data: bytes) -> list[bytes]:
        """RFC 826. A sender without an address yet asks who has it, and is told all the same (RFC 5227)."""
        asked = frames.parse_arp(data)
        if asked is None or asked.operation != 1 or asked.target != ADDRESS:
            return []
        answer = Arp(2, self.mac, ADDRESS, asked.sender_mac, asked.sender)
        return [ethernet(mac, self.mac, frames.ARP, answer.pack())]

    # --- ICMP (RFC 792) ---

    def _ping(self, mac: bytes, packet: Packet) -> list[bytes]:
        data = packet.payload
        if len(data) < 8 or data[:2] != b"\x08\0" or checksum(data):
            return []
        return [self._ip(mac, packet.source, frames.ICMP, self._icmp(0, 0, data[4:]))]

    @staticmethod
    def _icmp(kind: int, code: int, rest: bytes) -> bytes:
        found = checksum(bytes((kind, code, 0, 0)) + rest)
        return bytes((kind, code)) + found.to_bytes(2, "big") + rest

    def _unreachable(self, mac: bytes, packet: Packet, code: int) -> list[bytes]:
        return [self._ip(mac, packet.source, frames.ICMP, self._icmp(3, code, bytes(4) + packet.header))]

    def _elsewhere(self, mac: bytes, packet: Packet) -> list[bytes]:
        """We are the router, and there is nothing beyond. No errors about errors, nor about groups (RFC 1122, "Error
        Messages")."""
        error = packet.protocol == frames.ICMP and packet.payload[:1] not in (b"\x08", b"\0")
        if error or packet.destination[0] >= 224 or packet.destination[:3] == NETWORK:
            return []
        return self._unreachable(mac, packet, NETWORK_UNREACHABLE)

    # --- DHCP (RFC 2131) ---

    def _lease(self, mac: bytes) -> bytes | None:
        """The address of a client, the same for ever; None when all are given."""
        if mac not in self.leases:
            if len(self.leases) >= MOST_LEASES:
                return None
            self.leases.append(mac)
        return NETWORK + bytes((FIRST_LEASE + self.leases.index(mac),))

    def _dhcp(self, packet: Packet) -> list[bytes]:
        """RFC 2131, "Server Behavior". A client that no address is left for hears nothing."""
        data = packet.payload[8:]
        if len(data) < _BOOTP.size or packet.destination not in (EVERYBODY, ADDRESS):
            return []
        operation, kind, wide, _, number, _, flags, client, _, _, relay, hardware, *_, cookie = _BOOTP.unpack_from(data)
        mac = hardware[:6]
        if (operation, kind, wide, cookie) != (1, 1, 6, _COOKIE) or relay != bytes(4) or is_group(mac):
            return []
        options = _options(data[_BOOTP.size :])
        message = int.from_bytes(options.get(53, b""), "big")
        if message not in (DISCOVER, REQUEST, INFORM) or options.get(54, ADDRESS) != ADDRESS:
            return []
        lease: bytes | None = client
        answer = ACK
        if message != INFORM:
            lease = self._lease(mac)
            if message == DISCOVER:
                answer = OFFER
            elif lease is not None and options.get(50, client) != lease:
                answer = NAK
        if lease is None:
            return []
        own = bytes(4) if answer == NAK or message == INFORM else lease
        text = _BOOTP.pack(2, 1, 6, 0, number, 0, flags, client if answer == ACK else bytes(4), own, bytes(4), bytes(4),
                           hardware, bytes(64), bytes(128), _COOKIE)  # fmt: skip
        text += bytes((53, 1, answer, 54, 4)) + ADDRESS
        if answer != NAK:
            if message != INFORM:
                text += bytes((51, 4)) + LEASE_SECONDS.to_bytes(4, "big")
            text += bytes((1, 4)) + NETMASK + bytes((3, 4)) + ADDRESS + bytes((28, 4)) + NETWORK + b"\xff"
        text = (text + b"\xff").ljust(300, b"\0")
        # "if 'ciaddr' is non-zero, then the server unicasts"; a NAK goes to everybody.
        if client != bytes(4) and answer != NAK:
            target, address = mac, client
        else:
            everybody = flags & 0x8000 or answer == NAK
            target, address = (frames.BROADCAST, EVERYBODY) if everybody else (mac, lease)
        datagram = struct.pack(">HHHH", DHCP_PORT, DHCP_CLIENT, 8 + len(text), 0) + text
        return [self._ip(target, address, frames.UDP, summed(ADDRESS, address, frames.UDP, datagram, 6))]

    # --- TCP and the page ---

    def _tcp(self, mac: bytes, packet: Packet) -> list[bytes]:
        segment = tcp.parse(packet.payload)
        if segment is None:
            return []
        answers = self._segments(mac + packet.source + segment.source.to_bytes(2, "big"), segment)
        packed = [summed(ADDRESS, packet.source, frames.TCP, tcp.pack(each), tcp.CHECKSUM_AT) for each in answers]
        return [self._ip(mac, packet.source, frames.TCP, each) for each in packed]

    def _segments(self, peer: bytes, segment: tcp.Segment) -> list[tcp.Segment]:
        connection = self.connections.get(peer) if segment.destination == HTTP_PORT else None
        opens = segment.flags & (tcp.SYN | tcp.ACK | tcp.RST | tcp.FIN) == tcp.SYN
        if opens and segment.destination == HTTP_PORT and (connection is None or self._is_new(connection, segment)):
            return [self._open(peer, segment).greet()]
        if connection is None:
            refusal = tcp.refusal(segment)
            return [] if refusal is None else [refusal]
        answers = connection.take(segment, self._answer)
        if connection.over:
            del self.connections[peer]
        return answers

    @staticmethod
    def _is_new(connection: tcp.Connection, segment: tcp.Segment) -> bool:
        """The peer knows nothing of the connection any more, and opens one by the same port."""
        return segment.sequence + 1 & 0xFFFF_FFFF != connection.received

    def _open(self, peer: bytes, segment: tcp.Segment) -> tcp.Connection:
        """Where there are many already, the oldest is forgotten; its peer is refused at its next word."""
        self.connections.pop(peer, None)
        if len(self.connections) >= MOST_CONNECTIONS:
            del self.connections[next(iter(self.connections))]
        self.opened = self.opened + 1 & 0xFFFF_FFFF
        connection = self.connections[peer] = tcp.Connection(peer, self.opened << 17 & 0xFFFF_FFFF, segment)
        return connection

    def _answer(self, request: bytes) -> bytes:
        """HTTP/1.0 (RFC 1945): the page to GET / and HEAD /."""
        text = request.replace(b"\r\n", b"\n")
        if b"\n\n" not in text:
            return _response("431 Request Header Fields Too Large") if len(request) >= tcp.REQUEST_LIMIT else b""
        words = text.partition(b"\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            return _response("400 Bad Request")
        if words[0] not in (b"GET", b"HEAD"):
            return _response("501 Not Implemented")
        if words[1].partition(b"?")[0] != b"/":
            return _response("404 Not Found")
        return _response("200 OK", self.facts(), head=words[0] == b"HEAD")

    # --- state ---

    def state(self) -> dict[str, Any]:
        connections = [connection.state() for connection in self.connections.values()]
        return super().state() | {"leases": list(self.leases), "connections": connections}

    def restore(self, state: Any) -> None:
        match state:
            case {"opened": int(opened), "leases": list(leases), "connections": list(rows)}:
                pass
            case _:
                raise StateError("saved state of the network host: a field is missing or of the wrong kind")
        good = all(type(mac) is bytes and len(mac) == 6 for mac in leases)
        if not good or len(leases) > MOST_LEASES or len(set(leases)) < len(leases) or len(rows) > MOST_CONNECTIONS:
            raise StateError("saved state of the network host: its leases are damaged, or it has too many connections")
        connections: dict[bytes, tcp.Connection] = {}
        for row in rows:
            connection = tcp.Connection(bytes(12), 0)
            connection.restore(row)
            connections[connection.peer] = connection
        if len(connections) < len(rows):
            raise StateError("saved state of the network host: a connection is there twice")
        super().restore({"opened": opened})
        self.leases, self.connections = list(leases), connections


def _options(data: bytes) -> dict[int, bytes]:
    """DHCP options (RFC 2132) by number, as far as they are whole."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != 255:
        if not data[at]:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            break
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


def _response(status: str, body: str | None = None, *, head: bool = False) -> bytes:
    text = f"{status}\n" if body is None else body
    data = text.encode("utf-8", "replace")[: tcp.RESPONSE_LIMIT - 512]
    header = (
        f"HTTP/1.0 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return header.encode() + (b"" if head else data)
