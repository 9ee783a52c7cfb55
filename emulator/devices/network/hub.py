"""The hub: passes frames from port to port, and learns who is where so that only he is troubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from emulator.devices.fields import Number, Shape, Stateful
from emulator.devices.network.frames import ETHERNET, FRAME_LIMIT, is_group, mac_text
from emulator.devices.network.host import Host
from emulator.errors import ConfigurationError, StateError

FIRST_MAC: Final = 0x5254_0012_3456
"""Of the first network device, as QEMU's."""
MOST_PLACES: Final = 1024
"""Addresses that are remembered; then the oldest is forgotten, and frames for it go everywhere."""
_COUNT: Final = (1 << 64) - 1


class Port(Stateful):
    """Where a device is plugged in. Counters as the device sees it: frames and bytes (header included, check sequence
    not) that it received and sent, and frames that were dropped on the way to it or from it, modulo 2**64."""

    fields: Mapping[str, Shape] = dict.fromkeys(
        ("received", "received_bytes", "sent", "sent_bytes", "dropped"), Number(_COUNT)
    )

    def __init__(self, name: str, deliver: Callable[[bytes], bool]) -> None:
        """`deliver` takes a frame for the device, or returns False where it has no room."""
        self.name, self.deliver = name, deliver
        self.hub: Hub | None = None
        self.received = self.received_bytes = self.sent = self.sent_bytes = self.dropped = 0

    def send(self, frame: bytes) -> None:
        """The device sends. What is no frame is dropped."""
        if not ETHERNET <= len(frame) <= FRAME_LIMIT:
            return self.drop()
        self.sent = self.sent + 1 & _COUNT
        self.sent_bytes = self.sent_bytes + len(frame) & _COUNT
        if self.hub is not None:
            self.hub.forward(self, frame)

    def receive(self, frame: bytes) -> None:
        """The hub has a frame for the device."""
        if not self.deliver(frame):
            return self.drop()
        self.received = self.received + 1 & _COUNT
        self.received_bytes = self.received_bytes + len(frame) & _COUNT

    def drop(self) -> None:
        self.dropped = self.dropped + 1 & _COUNT


class Hub:
    """`ports` by name, in the order in which they were plugged in, the host's first. `places`: at which of them an
    address was seen last, the oldest first."""

    def __init__(self, facts: Callable[[], str] = lambda: "") -> None:
        """`facts`: what the host's page says."""
        self.made = 0
        """Addresses given out."""
        self.host = Host(facts)
        self.ports: dict[str, Port] = {}
        self.places: dict[bytes, str] = {}
        self.host_port = Port("host", self._to_host)
        self.connect(self.host_port)

    def new_mac(self) -> str:
        self.made += 1
        return mac_text((FIRST_MAC + self.made - 1).to_bytes(6, "big"))

    def connect(self, port: Port) -> None:
        """ConfigurationError where there is a port of its name."""
        if port.name in self.ports:
            raise ConfigurationError(f"network: there is a port {port.name} already")
        self.ports[port.name] = port
        port.hub = self

    def disconnect(self, port: Port) -> None:
        del self.ports[port.name]
        port.hub = None
        self.places = {address: name for address, name in self.places.items() if name != port.name}

    def forward(self, source: Port, frame: bytes) -> None:
        """From a port to those whom it concerns."""
        self._learn(frame[6:12], source.name)
        target = frame[:6]
        place = self.host_port.name if target == self.host.mac else self.places.get(target)
        if place is None:
            for port in list(self.ports.values()):
                if port is not source:
                    port.receive(frame)
        elif place != source.name:
            self.ports[place].receive(frame)

    def _learn(self, address: bytes, name: str) -> None:
        """Nobody takes the host's place."""
        if is_group(address) or address == self.host.mac or self.places.get(address) == name:
            return
        self.places.pop(address, None)
        if len(self.places) >= MOST_PLACES:
            del self.places[next(iter(self.places))]
        self.places[address] = name

    def _to_host(self, frame: bytes) -> bool:
        for answer in self.host.receive(frame):
            self.host_port.send(answer)
        return True

    # --- state: that of the other ports is their devices' ---

    def state(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "places": [[address, name] for address, name in self.places.items()],
            "port": self.host_port.state(),
            "host": self.host.state(),
        }

    def restore(self, state: Any) -> None:
        """Once all ports are connected. StateError where the state is none of such a hub's."""
        match state:
            case {"made": int(made), "places": list(rows), "port": port, "host": host} if 0 <= made < 1 << 32:
                pass
            case _:
                raise StateError("saved state of the network: a field is missing or of the wrong kind")
        places: dict[bytes, str] = {}
        for row in rows:
            match row:
                case [bytes(address), str(name)] if len(address) == 6 and name in self.ports:
                    places[address] = name
                case _:
                    raise StateError("saved state of the network: an address and its place are damaged")
        if len(places) != len(rows) or len(places) > MOST_PLACES:
            raise StateError("saved state of the network: too many addresses, or one twice")
        self.host.restore(host)
        self.host_port.restore(port)
        self.made, self.places = made, places
