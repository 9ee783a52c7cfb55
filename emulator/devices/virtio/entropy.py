"""The entropy device (virtio 1.2, "Entropy Device"): random to the guest, the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from emulator.devices.fields import Number, Shape
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.queue import Chain
from emulator.errors import ConfigurationError

MOST: Final = 4096
"""Bytes given for one request, which may ask for any amount and must get some."""
_MASK: Final = (1 << 64) - 1


class Entropy(Function):
    """Request number n is answered by SHAKE-256 of seed and n."""

    kind, device_id, queues = "entropy", 4, (128,)
    fields: Mapping[str, Shape] = {"count": Number(_MASK)}

    def __init__(self, seed: int = 0) -> None:
        """`seed`: 0 to 2**64 - 1."""
        super().__init__()
        if type(seed) is not int or not 0 <= seed <= _MASK:
            raise ConfigurationError(f"entropy: a seed is a number from 0 to {_MASK:#x}, not {seed!r:.40}")
        self.seed, self.count = seed, 0

    def serve(self, queue: int, chain: Chain) -> int:
        length = min(chain.writable_size, MOST)
        text = b"rvtui entropy" + self.seed.to_bytes(8, "little") + self.count.to_bytes(8, "little")
        self.count = self.count + 1 & _MASK
        return chain.write(0, hashlib.shake_256(text).digest(length))

    def configuration(self) -> dict[str, Any]:
        return {"seed": self.seed}
