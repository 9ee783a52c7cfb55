"""Virtio 1.2 devices behind memory-mapped transports, as on QEMU's virt machine.

`transport` holds the registers that a driver sees and `queue` the rings that it shares with the device; what a device
does with the buffers in them is its `Function`: entropy, block, console, shared folder. A driver
is a guest's program, and hostile.
"""

from emulator.devices.virtio.block import Drive
from emulator.devices.virtio.console import VirtioConsole
from emulator.devices.virtio.entropy import Entropy
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.share import Share
from emulator.devices.virtio.transport import Transport

KINDS: dict[str, type[Function]] = {kind.kind: kind for kind in (Drive, Entropy, Share, VirtioConsole)}
"""By the name under which a machine's configuration keeps them."""

__all__ = ["KINDS", "Drive", "Entropy", "Function", "Share", "Transport", "VirtioConsole"]
