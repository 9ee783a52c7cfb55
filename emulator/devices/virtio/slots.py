"""The transports of a machine or of a VM, as on QEMU's virt machine, and what is put behind them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations
from typing import Any, Final

from emulator.bus import Device
from emulator.devices.network import Hub
from emulator.devices.virtio.block import Drive
from emulator.devices.virtio.console import VirtioConsole
from emulator.devices.virtio.entropy import Entropy
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.net import Network
from emulator.devices.virtio.queue import Space
from emulator.devices.virtio.share import Share
from emulator.devices.virtio.transport import Transport
from emulator.errors import ConfigurationError, StateError

KINDS: Final[dict[str, type[Function]]] = {kind.kind: kind for kind in (Drive, Entropy, Network, Share, VirtioConsole)}
"""By the name under which a configuration keeps them."""
VIRTIO, VIRTIO_SLOTS = 0x1000_1000, 8
"""Transports, a page each, on sources 1 to 8."""


class Shared:
    """What the virtio devices of a machine and of its VMs have in common: the network, whom to warn, and files."""

    def __init__(self, network: Hub, warn: Callable[[str], None]) -> None:
        self.network, self.warn = network, warn
        self.slots: list[Slots] = []

    @property
    def functions(self) -> list[Function]:
        return [each.function for each in chain.from_iterable(self.slots) if each.function is not None]

    def check_drive(self, new: Drive) -> None:
        """Two drives may be on one file if neither writes to it."""
        for one, other in combinations([f for f in (*self.functions, new) if isinstance(f, Drive)], 2):
            if (one.direct or other.direct) and one.same_file(other):
                raise ConfigurationError(f"drive {one.path}: the same file as another drive, and written to")


class Slots(list[Transport]):
    """Eight transports. `owner` is the name of a VM, or ""."""

    def __init__(self, shared: Shared, memory: Space, wrote: Callable[[], None], owner: str = "") -> None:
        """`wrote` is called after a device wrote memory."""
        super().__init__(Transport(memory, n + 1, f"virtio{n}") for n in range(VIRTIO_SLOTS))
        self.shared, self.owner = shared, owner
        shared.slots.append(self)
        for transport in self:
            transport.wrote = wrote

    def place(self, add: Callable[[int, Device], None]) -> None:
        for n, transport in enumerate(self):
            add(VIRTIO + n * transport.size, transport)

    def attach(self, function: Function, slot: int | None = None) -> Transport:
        """Put a device behind transport number `slot`, or the first that is free; before the machine runs.
        ConfigurationError where it cannot stand there."""
        free = [n for n, transport in enumerate(self) if transport.function is None]
        if slot is None and not free:
            raise ConfigurationError(f"there are {VIRTIO_SLOTS} virtio devices already")
        if isinstance(function, Drive):
            self.shared.check_drive(function)
        transport = self[free[0] if slot is None else slot]
        transport.attach(function)
        function.warn = self.shared.warn
        if isinstance(function, Network):
            function.mac = function.mac or self.shared.network.new_mac()
            function.port.name = f"{self.owner}/{transport.name}" if self.owner else transport.name
            self.shared.network.connect(function.port)
        return transport

    def unplug(self) -> None:
        """They are no more: out of the network with them."""
        self.shared.slots = [slots for slots in self.shared.slots if slots is not self]
        for transport in self:
            if isinstance(transport.function, Network):
                self.shared.network.disconnect(transport.function.port)

    # --- state: what is attached; the transports' own is saved with the other devices ---

    def configuration(self) -> list[dict[str, Any] | None]:
        return [None if (f := each.function) is None else {"kind": f.kind, **f.configuration()} for each in self]

    def attach_again(self, rows: Any) -> None:
        """What `configuration` returned. StateError, or an error of the kinds that wrong types bring."""
        if not isinstance(rows, (list, tuple)) or len(rows) != len(self):
            raise StateError(f"saved state: there are {len(self)} virtio transports")
        for slot, row in enumerate(rows):
            if row is not None:
                given = {name: value for name, value in row.items() if name != "kind"}
                self.attach(KINDS[row["kind"]].again(**given), slot)


