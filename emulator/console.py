"""The host's side of a guest's console: what it printed, and what it is to be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from emulator.devices.fields import Number, Octets, Shape, Stateful

OUTPUT_LIMIT: Final = 256 << 10
"""Bytes of output that are kept; older ones are dropped."""
INPUT_LIMIT: Final = 64 << 10
"""Bytes of input that may wait for the guest."""
LINES: Final = 16384
"""Begun lines of which the time is kept, until the reader takes them; older ones are forgotten."""


class Console(Stateful):
    """A terminal line. Guests flood it at will: both directions are bounded.

    `output` holds the last 256 KiB that the guest wrote, `written` counts all bytes ever. `take` hands out what is
    new; how far it got belongs to the reader, not to the machine, and is not saved; nor is when each line began.
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
        self.now: Callable[[], int] = lambda: 0
        """The machine's clock in instructions; the machine that it belongs to sets it."""
        self.begun: deque[tuple[int, int]] = deque(maxlen=LINES)
        """(bytes written before it, clock) of each line's first byte, also of lines that are empty."""
        self._begins = True
        """What comes next begins a line."""
        self._taken = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """The guest prints."""
        if self._begins or b"\n" in data:  # most devices write byte by byte
            self._note(bytes(data))
        self.output += data[-OUTPUT_LIMIT:]
        self.written += len(data)
        if len(self.output) > OUTPUT_LIMIT:
            del self.output[:-OUTPUT_LIMIT]
        if self.heard is not None:
            self.heard(bytes(data))

    def _note(self, data: bytes) -> None:
        """When lines begin in what is about to be written."""
        starts = [0] if self._begins and data else []
        at = data.find(b"\n") + 1
        while at and at < len(data):
            starts.append(at)
            at = data.find(b"\n", at) + 1
        if starts:
            clock = self.now()
            self.begun += [(self.written + start, clock) for start in starts]
        self._begins = data.endswith(b"\n") if data else self._begins

    def take_begun(self) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        """What `take` gives, and (place in it, clock) of each line that begins in it, as far as that is still kept."""
        data = self.take()
        start = self.written - len(data)
        begun = tuple((at - start, clock) for at, clock in self.begun if at >= start)
        self.begun.clear()
        return data, begun

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
        self.begun.clear()
        self._begins = not self.output or self.output[-1] == 0x0A
