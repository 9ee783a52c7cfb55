"""The network device (virtio 1.2, "Network Device"): one pair of queues, and no offloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from emulator.devices.fields import Shape, Shown, flags
from emulator.devices.network import FRAME_LIMIT, MTU, Port, mac_bytes, mac_text
from emulator.devices.virtio.function import VERSION_1, Function
from emulator.devices.virtio.queue import Chain
from emulator.errors import ConfigurationError, StateError

RECEIVE, TRANSMIT = 0, 1
HAS_MTU, HAS_MAC, HAS_STATUS = 1 << 3, 1 << 5, 1 << 16
NAMES: Final = (*flags("", "", "", "MTU", "", "MAC"), *flags("link status", low=16))
LINK_UP: Final = 1
HEADER, OLD_HEADER = 12, 10
"""Bytes of virtio_net_hdr; before version 1 it had no num_buffers ("Legacy Interface: Device Operation")."""
BACKLOG: Final = 256
"""Frames that may wait for the driver's buffers."""


class _Frames:
    """At most BACKLOG frames."""

    def take(self, value: Any) -> list[bytes]:
        if not isinstance(value, (list, tuple)) or len(value) > BACKLOG:
            raise ValueError(f"a list of at most {BACKLOG} frames")
        if not all(type(frame) is bytes and len(frame) <= FRAME_LIMIT for frame in value):
            raise ValueError(f"frames of at most {FRAME_LIMIT} bytes")
        return list(value)


class Network(Function):
    """Plug `port` into a hub. Frames wait for buffers while a driver runs; else they are dropped, and so are those that
    come when BACKLOG wait, or for which the driver's next buffers are too small."""

    kind, device_id, queues, features = "network", 1, (256, 256), HAS_MTU | HAS_MAC | HAS_STATUS
    names = NAMES
    fields: Mapping[str, Shape] = {"backlog": _Frames()}

    def __init__(self, mac: str | None = None) -> None:
        """`mac` as "52:54:00:12:34:56"; without one it gets the next one of the machine's. ConfigurationError where it
        is none of one station."""
        super().__init__()
        try:
            self.mac = None if mac is None else mac_text(mac_bytes(mac))
        except (ValueError, TypeError, AttributeError):
            raise ConfigurationError(f"network: {mac!r:.40} is no MAC address of one station") from None
        self.port = Port(self.kind, self._deliver)
        self.backlog: list[bytes] = []

    def about(self) -> str:
        return self.mac or ""

    def shown(self) -> tuple[Shown, ...]:
        waiting = Shown("frames", words=f"{len(self.backlog)} of {BACKLOG} wait for buffers of the driver")
        counts = {name.replace("_", " "): getattr(self.port, name) for name in self.port.fields}
        return (waiting, *(Shown(name, words=f"{times:,}") for name, times in counts.items()))

    def configuration(self) -> dict[str, Any]:
        return {"mac": self.mac}

    def _deliver(self, frame: bytes) -> bool:
        if not self.running() or len(self.backlog) >= BACKLOG:
            return False
        self.backlog.append(frame)
        self.wake(RECEIVE)
        return True

    @property
    def _header(self) -> int:
        return HEADER if self.accepted() & VERSION_1 else OLD_HEADER

    def serve(self, queue: int, chain: Chain) -> int | None:
        if queue == TRANSMIT:
            self._transmit(chain)
            return 0
        while self.backlog:
            frame = self.backlog.pop(0)
            if self._header + len(frame) <= chain.writable_size:
                # All zero but num_buffers, which is 1 ("Processing of Incoming Packets").
                header = bytes(OLD_HEADER) + b"\1\0"
                return chain.write(0, header[: self._header] + frame)
            self.port.drop()
        return None

    def _transmit(self, chain: Chain) -> None:
        """ "Packet Transmission". Without offloads the header asks for nothing; a frame that does is not one."""
        header = chain.read(0, self._header)
        if len(header) < self._header or header[0] or header[1] or chain.readable_size > self._header + FRAME_LIMIT:
            return self.port.drop()
        self.port.send(chain.read(self._header, FRAME_LIMIT))

    def read(self, offset: int, size: int) -> int:
        """ "Device configuration layout": mac, status, max_virtqueue_pairs, mtu."""
        layout = mac_bytes(self.mac or mac_text(bytes(6))) + bytes((LINK_UP, 0, 0, 0)) + MTU.to_bytes(2, "little")
        return int.from_bytes(layout[offset : offset + size], "little")

    def reset(self) -> None:
        self.backlog.clear()

    def state(self) -> dict[str, Any]:
        return super().state() | {"port": self.port.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        before = self.port.state()
        self.port.restore(state.get("port", {}))
        try:
            super().restore({name: value for name, value in state.items() if name != "port"})
        except StateError:
            self.port.restore(before)
            raise
