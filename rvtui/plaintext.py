"""What guests print, as plain lines: nothing in them that a terminal would obey, whatever the guest sends."""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

LONGEST = 4096
"""Characters of a line; more begin another."""

# Each part ends where the next escape begins, so that no input takes longer than its length.
_TOKEN = re.compile(
    r"""
    \x1b\[[0-?]*[ -/]*[@-~]                         # CSI sequences
    | \x1b[\]PX^_][^\x07\x1b]*(?:\x1b\\|\x07)?      # OSC, DCS and other texts for the terminal, to their end
    | \x1b[ -/]*[0-~]                              # all other escapes
    | [\n\r\x08\t]
    | [^\x00-\x1f\x7f]+
    | .
    """,
    re.VERBOSE,
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*|[ -/]*)?")


@lru_cache(4096)
def _safe(each: str) -> str:
    """A character, or a dot for those that are no letter, mark or sign of their own."""
    return "·" if unicodedata.category(each)[0] in "CZM" and each != " " else each


def safe(text: str) -> str:
    return text if text.isascii() and text.isprintable() else "".join(map(_safe, text))


class PlainText:
    """Takes output as it comes, in any pieces, and gives whole lines. What follows a carriage return takes the line's
    place; escape sequences are left out; memory is bounded."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._returned = False
        self.line = ""
        """What stands in the last line, which has no end yet."""

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes end."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        last = text.rfind("\x1b")
        if last >= 0 and len(text) - last < LONGEST and _UNFINISHED.fullmatch(text, last):
            self._held, text = text[last:], text[:last]
        lines: list[str] = []
        for match in _TOKEN.finditer(text):
            token = match[0]
            if token == "\n":
                lines.append(self.take())
            elif token == "\r":
                self._returned = True
            elif token == "\b":
                self.line = self.line[:-1]
            elif token[0] != "\x1b":
                if self._returned:
                    self.take()
                self.line += " " * (8 - len(self.line) % 8) if token == "\t" else safe(token)
            while len(self.line) > LONGEST:
                lines.append(self.line[:LONGEST])
                self.line = self.line[LONGEST:]
        return lines

    def take(self) -> str:
        """The last line, end or not; after it another begins."""
        line, self.line, self._returned = self.line, "", False
        return line


def lines_of(data: bytes) -> list[str]:
    """All lines of some output, the last one too where it has no end."""
    text = PlainText()
    lines = text.feed(data)
    return [*lines, text.line] if text.line else lines


_HARMLESS = re.compile(r"\x1b\[[0-9;]{0,64}[mABCDEFGHJKLMPX@d]|\x1b\[\?25[hl]")


class LiveText:
    """Output as it comes, for a terminal whose keys go to the guest: text, and of escape sequences those that move the
    cursor, erase and colour. What asks the terminal, names it, or changes its modes is left out. `plain`: all of them
    are."""

    RESET = "\x1b[0m\x1b[?25h\n"

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        text = self._held + self._decoder.decode(data)
        self._held = ""
        last = text.rfind("\x1b")
        if last >= 0 and len(text) - last < LONGEST and _UNFINISHED.fullmatch(text, last):
            self._held, text = text[last:], text[:last]
        return "".join(map(self._passed, _TOKEN.findall(text)))

    def end(self) -> str:
        """What leaves the terminal as it should be."""
        return "\n" if self._plain else self.RESET

    def _passed(self, token: str) -> str:
        if token[0] == "\x1b":
            return token if not self._plain and _HARMLESS.fullmatch(token) else ""
        return token if token in "\n\r\b\t\a" else safe(token)
