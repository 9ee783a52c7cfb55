"""What a guest prints, kept in a file as it comes."""

from __future__ import annotations

import contextlib
import os
import stat

from emulator.errors import ConfigurationError
from rvtui.plaintext import PlainText


class ConsoleLog:
    """Appends to a file: lines without what only a terminal obeys, or `raw`, byte for byte. Its last line, where that
    has no end yet, follows when the log is closed."""

    def __init__(self, path: str, *, raw: bool = False) -> None:
        """ConfigurationError where the file cannot be written. Nothing that would block is waited for."""
        self.path, self.raw = path, raw
        self.bytes = 0
        """Written so far."""
        self._text = PlainText()
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            self._file = os.open(path, flags, 0o666)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"{path}: cannot be written: {why}") from None
        if os.isatty(self._file) or stat.S_ISFIFO(os.fstat(self._file).st_mode):
            os.close(self._file)
            raise ConfigurationError(f"{path}: a log is a file, not a terminal or pipe")

    def write(self, data: bytes) -> None:
        """Raises OSError, as where the disk is full."""
        if self.raw:
            self._put(data)
        elif lines := self._text.feed(data):
            self._put(("\n".join(lines) + "\n").encode("utf-8", "replace"))

    def _put(self, data: bytes) -> None:
        while data:
            done = os.write(self._file, data)
            self.bytes += done
            data = data[done:]

    def close(self) -> None:
        """With what is left of its last line, if there is still room."""
        with contextlib.suppress(OSError):
            if self._text.line:
                self._put(self._text.take().encode("utf-8", "replace") + b"\n")
        os.close(self._file)
