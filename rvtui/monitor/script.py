"""Commands that were written down before: in a file, or behind -c."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import ConfigurationError

LONGEST = 1 << 20
"""Bytes of a script."""


@dataclass(frozen=True)
class Line:
    text: str
    where: str
    """For messages: "boot.rv:3"."""


@dataclass(frozen=True)
class Script:
    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)


def is_comment(text: str) -> bool:
    """Empty, or begins with #."""
    return not text.strip() or text.lstrip().startswith("#")


def of_command(text: str) -> Script:
    """What stood behind a -c: a command, or several in lines."""
    lines = [each.strip() for each in text.split("\n") if not is_comment(each)]
    return Script(tuple(Line(each, f"-c {each}" if len(each) <= 60 else f"-c {each[:59]}…") for each in lines))


def read_script(path: str) -> Script:
    """A file of commands, a line each; # begins a comment line, and - is standard input. ConfigurationError."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LONGEST + 1)
        else:
            if Path(path).is_dir():
                raise ConfigurationError(f"{path}: a directory, not a file of commands")
            with open(path, "rb") as file:
                data = file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LONGEST:
        raise ConfigurationError(f"{path}: more than {LONGEST >> 20} MiB is no file of commands")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8 text: no file of commands") from None
    lines = enumerate(text.splitlines(), 1)
    return Script(tuple(Line(each.strip(), f"{path}:{number}") for number, each in lines if not is_comment(each)))
