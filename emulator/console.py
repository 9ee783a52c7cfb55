"""The host's side of a guest's console: what it printed, and what it is to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from emulator.devices.fields import Number, Octets, Shape, Stateful

OUTPUT_LIMIT: Final = 256 << 10
"""Bytes of output that are kept; older ones are dropped."""
INPUT_LIMIT: Final = 64 << 10
"""Bytes of input that may wait for the guest."""


class Console(Stateful):
    """A terminal line. Guests flood it at will: both directions are bounded.

    `output` holds the last 256 KiB that the guest wrote, `written` counts all bytes ever. `take` hands out what is
    new; how far it got belongs to the reader, not to the machine, and is not saved.
    """

    fields: Mapping[str, Shape] = {
        "output": Octets(OUTPUT_LIMIT),
        "written": Number((1 << 64) - 1),
        "input": Octets(INPUT_LIMIT),
    }

    def __init__(self, name: str = "console") -> None:
        self.name = name
        self.output = bytearray()
        self.written = 0
        self.input = bytearray()
        self.arrived: Callable[[], None] = lambda: None
        """Called after input was fed; the device that reads this console sets it."""
        self.heard: Callable[[bytes], None] | None = None
        """Called with what was written; a debugger that waits for some text sets it."""
        self._taken = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """The guest prints."""
        self.output += data[-OUTPUT_LIMIT:]
        self.written += len(data)
        if len(self.output) > OUTPUT_LIMIT:
            del self.output[:-OUTPUT_LIMIT]
        if self.heard is not None:
            self.heard(bytes(data))

    def take(self) -> bytes:
        """Output since the last call, as far as it is still kept."""
        new = min(self.written - self._taken, len(self.output))
        self._taken = self.written
        return bytes(self.output[len(self.output) - new :])

    def feed(self, data: bytes) -> int:
        """Queue input for the guest; returns how many bytes were taken (65536 may wait)."""
        room = max(0, INPUT_LIMIT - len(self.input))
        self.input += data[:room]
        if data and room:
            self.arrived()
        return min(room, len(data))

    def get(self) -> int | None:
        """The guest's device takes the next byte of input, if there is one."""
        return self.input.pop(0) if self.input else None

    def reset(self) -> None:
        """Forget waiting input. What was printed stays."""
        self.input.clear()

    def refresh(self) -> None:
        self._taken = self.written
