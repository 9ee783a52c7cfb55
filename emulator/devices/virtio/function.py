"""What stands behind a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from emulator.devices.fields import Parts, Stateful
from emulator.devices.virtio.queue import Chain

VERSION_1: Final = 1 << 32


class Function(Stateful):
    """A kind of virtio device. What happens is decided by its state and what the driver sends, nothing else."""

    kind = ""
    """Its name in a machine's configuration."""
    device_id = 0
    """Virtio 1.2, "Device Types"."""
    queues: tuple[int, ...] = ()
    """The most entries of each queue, powers of two."""
    features = 0
    """Offered bits of its own, 0 to 23."""
    names: Parts = ()
    """What these are called."""

    def __init__(self) -> None:
        self.wake: Callable[[int], None] = lambda queue: None
        """Call with a queue's number to have the chains that wait there served; the transport sets it."""
        self.accepted: Callable[[], int] = lambda: 0
        """The features that the driver accepted; the transport sets it."""
        self.running: Callable[[], bool] = lambda: False
        """Whether a driver has set the device going, and it needs no reset; the transport sets it."""
        self.warn: Callable[[str], None] = lambda text: None
        """Something that the user should know and the guest cannot tell; the machine sets it."""

    def serve(self, queue: int, chain: Chain) -> int | None:
        """Carry out a request. Returns how many bytes were written to the chain, or None to leave it waiting.
        `Broken` where the request cannot be answered at all."""
        return 0

    def read(self, offset: int, size: int) -> int:
        """The device's configuration, 1, 2, 4 or 8 bytes."""
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Write the device's configuration."""

    def reset(self) -> None:
        """The driver starts anew."""

    @classmethod
    def again(cls, **configuration: Any) -> Function:
        """What `configuration` returned, from a snapshot: which is not the user, and opens no file for writing."""
        return cls(**configuration)

    def about(self) -> str:
        """What it is made of, in a few words: a disk's file."""
        return ""

    def configuration(self) -> dict[str, Any]:
        """Keyword arguments that make this again, as plain values."""
        return {}
