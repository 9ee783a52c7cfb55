"""Source files: where they are on this computer, and their lines as panes and commands show them."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator import guests
from emulator.errors import EmulatorError
from emulator.loader import Symbols, shown
from rvtui.text import Line, Span, clean

LARGEST: Final = 8 << 20
LONGEST: Final = 400
"""Characters of a line that are shown."""
TAB: Final = 4
KEPT: Final = 64
"""Files that are remembered."""
MOST_TOLD: Final = 4


class SourceError(EmulatorError):
    """A source file that is not found, or cannot be shown."""


@dataclass(frozen=True)
class Text:
    """A source file: its lines, as they are and with their colours."""

    path: str
    """Where it was found."""
    lines: tuple[str, ...]
    painted: tuple[Line, ...]
    stamp: tuple[int, int]

    def line(self, number: int) -> str:
        """"" where it has none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


class SourceFiles:
    """Finds files by the paths that compilers recorded. Threads may ask at the same time."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        """Where to look first: a folder, or FROM=TO, which stands for the beginning of a recorded path."""
        self._known: dict[str, Text] = {}
        self._missing: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """SourceError for a folder that is not there."""
        old, equals, new = text.rpartition("=")
        new = os.path.expanduser(new)
        if not os.path.isdir(new):
            raise SourceError(f"source path {shown(text)}: there is no folder {shown(new) or '(none)'}")
        if equals and not old:
            raise SourceError(f"source path {shown(text)}: write FROM=TO, or a folder")
        self.folders.insert(0, f"{old}={new}" if equals else new)
        self.forget()

    def add_all(self, texts: Iterable[str]) -> None:
        """The first of them is looked at first."""
        for text in reversed(list(texts)):
            self.add(text)

    def forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._missing.clear()

    def candidates(self, recorded: str) -> Iterator[str]:
        """Where a file may be, the likeliest first: in each folder also by the ends of its path alone."""
        for each in self.folders:
            old, equals, new = each.rpartition("=")
            if equals and (recorded == old or recorded.startswith(old.rstrip("/") + "/")):
                yield posixpath.join(new, recorded[len(old) :].lstrip("/"))
        if posixpath.isabs(recorded):
            yield recorded
        parts = [part for part in recorded.split("/") if part not in ("", ".", "..")]
        folders = [each for each in self.folders if "=" not in each]
        for folder in (*folders, ".", str(Path(guests.__file__).parent)):
            for first in range(max(0, len(parts) - 12), len(parts)):
                yield posixpath.join(folder, *parts[first:])

    def find(self, recorded: str) -> Text:
        """SourceError that says where it was looked for."""
        with self._lock:
            known = self._known.get(recorded)
        if known is not None and _stamp(known.path) in (known.stamp, None):
            return known
        for path in self.candidates(recorded):
            if (stamp := _stamp(path)) is not None:
                try:
                    text = _read(path, stamp)
                except SourceError as error:
                    with self._lock:
                        self._missing[recorded] = str(error)
                    raise
                with self._lock:
                    if len(self._known) >= KEPT:
                        self._known.clear()
                    self._known[recorded] = text
                return text
        looked = list(dict.fromkeys(posixpath.dirname(path) or "." for path in self.candidates(recorded)))
        some = ", ".join(clean(each, 80) for each in looked[:MOST_TOLD]) + (" ..." if len(looked) > MOST_TOLD else "")
        why = f"{clean(recorded, 120)}: not found; looked in {some}: say where with `directory FOLDER` or --source-path"
        with self._lock:
            if len(self._missing) >= KEPT:
                self._missing.clear()
            self._missing[recorded] = why
        raise SourceError(why)

    def known(self, recorded: str) -> Text | str | None:
        """If it was looked for before: the text, or why there is none."""
        with self._lock:
            return self._known.get(recorded) or self._missing.get(recorded)


def _stamp(path: str) -> tuple[int, int] | None:
    """Of a regular file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size) if os.path.isfile(path) else None


def _read(path: str, stamp: tuple[int, int]) -> Text:
    if stamp[1] > LARGEST:
        raise SourceError(f"{shown(path)}: {stamp[1]} bytes are too many for a source file")
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST)
    except OSError as error:
        raise SourceError(f"{shown(path)}: {error.strerror}") from None
    lines = tuple(
        clean(line.expandtabs(TAB)[: LONGEST + 1], LONGEST) for line in data.decode("utf-8", "replace").split("\n")
    )
    lines = lines[:-1] if lines and not lines[-1] else lines
    return Text(path, lines, tuple(_painted(lines, path)), stamp)


# --- colours ---

_WORD: Final = re.compile(
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|"
    r"register|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|bool|"
    r"true|false|NULL|class|namespace|new|delete|public|private|protected|template|this|using|virtual|constexpr|"
    r"nullptr|fn|let|mut|pub|impl|trait|mod|use|match|loop|unsafe|move|ref|self|Self|where|async|await|dyn|crate|"
    r"var|comptime|try|catch|defer|func|package|import|type|interface|map|chan|go|range|nil"
)
"""Keywords of the languages that programs are written in."""
_TOKENS: Final = re.compile(
    r"(?P<comment>//.*|/\*.*?(?:\*/|$))|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)+')"
    r"|(?P<number>\b0[xX][0-9a-fA-F_]+\w*|\b\d[\d_.]*\w*)|(?P<word>[A-Za-z_]\w*)"
)
_STYLES: Final = {"comment": "dim italic", "string": "good", "number": "changed", "word": ""}
_DIRECTIVES: Final = ("include", "define", "undef", "if", "ifdef", "ifndef", "else", "elif", "endif")
_ASSEMBLY: Final = (".s", ".asm")


def _painted(lines: tuple[str, ...], path: str) -> Iterator[Line]:
    assembly = os.path.splitext(path)[1].lower() in _ASSEMBLY
    inside = False
    for line in lines:
        spans: list[Span] = []
        at = 0
        if inside:
            end = line.find("*/")
            at = len(line) if end < 0 else end + 2
            spans.append((line[:at], _STYLES["comment"]))
            inside = end < 0
        elif line.lstrip().startswith("#"):
            first = line.lstrip()[1:].lstrip().partition(" ")[0]
            directive = not assembly or first in _DIRECTIVES
            spans.append((line, "label" if directive else _STYLES["comment"]))
            at = len(line)
        while at < len(line):
            match = _TOKENS.search(line, at)
            comment = line.find("#", at) if assembly else -1
            if comment >= 0 and (match is None or comment <= match.start()):
                spans += [(line[at:comment], ""), (line[comment:], _STYLES["comment"])]
                break
            if match is None:
                spans.append((line[at:], ""))
                break
            kind = match.lastgroup or "word"
            text = match.group()
            style = ("accent" if _WORD.fullmatch(text) else "") if kind == "word" else _STYLES[kind]
            spans += [(line[at : match.start()], ""), (text, style)]
            at = match.end()
            if kind == "comment" and text.startswith("/*") and (not text.endswith("*/") or len(text) < 4):
                inside = True
        yield tuple(_merged(spans))


def _merged(spans: list[Span]) -> Iterator[Span]:
    text, style = "", ""
    for more, of in spans:
        if of != style and text:
            yield text, style
            text = ""
        text, style = text + more, of
    if text:
        yield text, style


# --- what addresses are called ---


def called(symbols: Symbols, address: int, *, limit: int = 60, wait: bool = True) -> str:
    """" <main+0x4> hello.c:12", as far as it is known, or "". Without `wait` only by what was read before."""
    name = symbols.lookup(address)
    if name is None:
        return ""
    line = symbols.sources.line(address) if wait else symbols.sources.known_line(address)
    return f" <{clean(name, limit)}>" + (f" {clean(line.name, limit)}" if line is not None else "")


class Reading:
    """Reads debugging information and sources on a thread of its own, one job after another, each key once at a time.
    `done` is called there after each."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._jobs: dict[object, Callable[[], object]] = {}
        self._busy = False
        self._lock = threading.Lock()

    def ask(self, key: object, job: Callable[[], object]) -> None:
        with self._lock:
            if len(self._jobs) > KEPT:
                return
            self._jobs.setdefault(key, job)
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._work, name="sources", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._busy = False
                    return
                key, job = next(iter(self._jobs.items()))
            with contextlib.suppress(Exception):  # who asks for it itself is told
                job()
            with self._lock:
                del self._jobs[key]
            self._done()
