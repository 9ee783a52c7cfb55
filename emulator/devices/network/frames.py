"""Frames and packets, taken apart and put together: Ethernet, ARP (RFC 826), IPv4 (RFC 791), their checksum (RFC 1071).

What comes from guests is total nonsense at times: whatever is not sound is None, and nobody answers it.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

MTU: Final = 1500
"""Bytes of the largest packet."""
ETHERNET: Final = 14
"""Bytes of the header: destination, source, type."""
FRAME_LIMIT: Final = ETHERNET + 4 + MTU
"""Bytes of the largest frame, without check sequence: one with a VLAN tag."""
BROADCAST: Final = b"\xff" * 6
IPV4, ARP = 0x0800, 0x0806
"""EtherTypes."""
ICMP, TCP, UDP = 1, 6, 17
"""Protocols of IPv4."""
TTL: Final = 64
_IPV4: Final = struct.Struct(">BBHHHBBH4s4s")
_ARP: Final = struct.Struct(">HHBBH6s4s6s4s")
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)


def mac_text(address: bytes) -> str:
    return address.hex(":")


def mac_bytes(text: str) -> bytes:
    """From "52:54:00:12:34:56". ValueError for what is no address of one station."""
    if not _MAC.fullmatch(text) or int(text[:2], 16) & 1:
        raise ValueError(f"{text!r:.40} is no MAC address of one station, as 52:54:00:12:34:56 is")
    return bytes.fromhex(text.replace(":", ""))


def is_group(address: bytes) -> bool:
    """Broadcast and multicast MAC addresses."""
    return bool(address[0] & 1)


def checksum(data: bytes) -> int:
    """The Internet checksum; 0 over data that contains its own."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Packet(NamedTuple):
    """An IPv4 packet that is no fragment. `header` is its header and the next 8 bytes, which ICMP errors quote."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    header: bytes

    def pseudo_sum(self) -> int:
        """The checksum that TCP and UDP have over addresses, protocol, length and contents: 0 where it is right."""
        return checksum(_pseudo(self.source, self.destination, self.protocol, len(self.payload)) + self.payload)


def _pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return struct.pack(">4s4sHH", source, destination, protocol, length)


def ethernet(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    return destination + source + kind.to_bytes(2, "big") + payload


def parse_ipv4(data: bytes) -> Packet | None:
    """RFC 791, "Internet Header Format". Options are passed over; fragments are not put together."""
    if len(data) < _IPV4.size:
        return None
    first, _, total, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(data)
    size = 4 * (first & 15)
    if first >> 4 != 4 or not _IPV4.size <= size <= total <= len(data) or fragment & 0x3FFF or checksum(data[:size]):
        return None
    return Packet(source, destination, protocol, data[size:total], data[: min(size + 8, total)])


def ipv4(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """A packet that may not be cut, and so needs no identification (RFC 6864)."""
    length = _IPV4.size + len(payload)
    header = _IPV4.pack(0x45, 0, length, 0, 0x4000, TTL, protocol, 0, source, destination)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def summed(source: bytes, destination: bytes, protocol: int, payload: bytes, at: int) -> bytes:
    """`payload` with the checksum over it, and over the pseudo header, at byte `at`, where it is 0."""
    found = checksum(_pseudo(source, destination, protocol, len(payload)) + payload)
    if protocol == UDP and not found:
        found = 0xFFFF  # 0 stands for none
    return payload[:at] + found.to_bytes(2, "big") + payload[at + 2 :]


class Arp(NamedTuple):
    """ARP for IPv4 over Ethernet: `operation` 1 asks, 2 answers."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes

    def pack(self) -> bytes:
        return _ARP.pack(1, IPV4, 6, 4, *self)


def parse_arp(data: bytes) -> Arp | None:
    if len(data) < _ARP.size:
        return None
    hardware, protocol, wide, long, *rest = _ARP.unpack_from(data)
    return Arp(*rest) if (hardware, protocol, wide, long) == (1, IPV4, 6, 4) else None
