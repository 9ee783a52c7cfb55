"""Virtio 1.2 devices behind memory-mapped transports, as on QEMU's virt machine.

`transport` holds the registers that a driver sees and `queue` the rings that it shares with the device; what a device
does with the buffers in them is its `Function`: entropy, block, console, network, shared folder. `slots` puts all
together. A driver is a guest's program, and hostile.
"""

from emulator.devices.virtio.block import Drive
from emulator.devices.virtio.console import VirtioConsole
from emulator.devices.virtio.entropy import Entropy
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.net import Network
from emulator.devices.virtio.share import Share
from emulator.devices.virtio.slots import KINDS, VIRTIO, VIRTIO_SLOTS, Shared, Slots
from emulator.devices.virtio.transport import Transport

__all__ = [
    "KINDS", "VIRTIO", "VIRTIO_SLOTS", "Drive", "Entropy", "Function", "Network", "Share", "Shared", "Slots",
    "Transport", "VirtioConsole",
]  # fmt: skip
