"""The console device (virtio 1.2, "Console Device"): one port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from emulator.console import OUTPUT_LIMIT, Console
from emulator.devices.fields import Part, Shown, text_of
from emulator.devices.virtio.function import Function
from emulator.devices.virtio.queue import Chain

RECEIVE, TRANSMIT = 0, 1
EMERGENCY_WRITE: Final = 1 << 2
EMERGENCY: Final = 8
"""Where in the configuration a character can be written without a queue."""


class VirtioConsole(Function):
    """Connects a Console of its own, `console`. Input waits there until the driver offers buffers."""

    kind, device_id, queues, features = "console", 3, (64, 64), EMERGENCY_WRITE

    names = (Part("emergency write", 2),)

    def __init__(self) -> None:
        super().__init__()
        self.console = Console("hvc")
        self.console.arrived = lambda: self.wake(RECEIVE)

    def serve(self, queue: int, chain: Chain) -> int | None:
        if queue == TRANSMIT:
            # No more than the console keeps.
            start = max(0, chain.readable_size - OUTPUT_LIMIT)
            self.console.write(chain.read(start, OUTPUT_LIMIT))
            return 0
        waiting = self.console.input
        if not waiting:
            return None
        taken = chain.write(0, bytes(waiting[: chain.writable_size]))
        del waiting[:taken]
        return taken

    def write(self, offset: int, size: int, value: int) -> None:
        if offset == EMERGENCY:
            self.console.write(bytes((value & 0xFF,)))

    def shown(self) -> tuple[Shown, ...]:
        waiting = text_of(self.console.input)
        return (Shown("console", words=f"{self.console.written:,} bytes printed, {waiting} not read yet"),)

    def state(self) -> dict[str, Any]:
        return self.console.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.console.restore(state)
