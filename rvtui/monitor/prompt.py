"""Where lines come from: a prompt with completion, history and search on a terminal, else standard input as it is."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rvtui import commands
from rvtui.colour import dumb
from rvtui.folders import state_folder
from rvtui.monitor import paint
from rvtui.monitor.script import is_comment

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.lexers import Lexer

    from rvtui.monitor.shell import Monitor

PROMPT = "rvtui> "
KEPT = 2000
"""Lines of history."""


def lines(monitor: Monitor) -> Iterator[str]:
    """What the user enters, line by line, to the end of input. On a terminal an empty line repeats the one before
    where that makes sense (step, x)."""
    if not monitor.interactive:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
        return
    ask = _plain if dumb() else _linear(monitor) if monitor.plain else _toolkit(monitor)
    again: str | None = None
    while True:
        try:
            text = ask()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if not text.strip() and again is not None:
            text = again
        again = None
        if not is_comment(text):
            with contextlib.suppress(commands.CommandError):
                found, _ = commands.parse(text)
                again = None if found.again is None else found.again or text
        yield text


def _plain() -> str:
    sys.stdout.write(PROMPT)
    sys.stdout.flush()
    try:
        text = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        raise
    if not text:
        sys.stdout.write("\n")
        raise EOFError
    return text.rstrip("\r\n")


def _linear(monitor: Monitor) -> Callable[[], str]:
    """With history and completion, and nothing drawn again but what is typed: screen readers follow this best."""
    try:
        import readline
    except ImportError:
        return _plain
    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if not state:
            line = readline.get_line_buffer()[: readline.get_endidx()].lstrip()
            at = len(line) - len(text)
            found[:] = dict.fromkeys(each.text[at:] for each in commands.candidates(monitor.context, line))
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t")
    for setting in ("tab: complete", "set enable-bracketed-paste off", "set page-completions off",
                    "set completion-query-items 50", "set completion-display-width 0"):  # fmt: skip
        readline.parse_and_bind(setting)
    return lambda: input(PROMPT)


def _history() -> History:
    """In a file, cut to its last lines; in memory where that cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        folder = state_folder()
        if folder is None:
            return InMemoryHistory()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / "history"
        file.touch(mode=0o600)
        kept = file.read_text(errors="replace").splitlines(keepends=True)
        if len(kept) > 3 * KEPT:  # a stamp and an empty line go with each
            beside = file.with_name(f".history.{os.getpid()}")
            beside.write_text("".join(kept[-2 * KEPT :]))
            beside.replace(file)
        with file.open("a"):
            pass
        return FileHistory(str(file))
    except (OSError, RuntimeError):
        return InMemoryHistory()


def _toolkit(monitor: Monitor) -> Callable[[], str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.output import ColorDepth
    from prompt_toolkit.styles import Style

    colours = paint.colours(sys.stdout)
    session: PromptSession[str] = PromptSession(
        history=_history(),
        completer=completer(monitor),
        lexer=lexer(),
        auto_suggest=AutoSuggestFromHistory(),
        enable_history_search=True,
        complete_while_typing=False,
        color_depth=None if colours else ColorDepth.DEPTH_1_BIT,
        style=Style.from_dict(
            {"command": "bold", "unknown": "ansired", "number": "ansiblue", "comment": "ansibrightblack",
             "string": "ansigreen", "bottom-toolbar": "noreverse", "prompt": "bold"}
        ),
        bottom_toolbar=lambda: f" {monitor.status}   Tab completes, Ctrl-R searches, help, quit",
    )  # fmt: skip

    monitor.look()

    def ask() -> str:
        return session.prompt([("class:prompt", PROMPT)])

    return ask


def completer(monitor: Monitor) -> Completer:
    """The registry's completion, with each candidate's help beside it."""
    from prompt_toolkit.completion import Completer, Completion

    class Candidates(Completer):
        def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
            line = document.text_before_cursor.lstrip()
            for text, help in commands.candidates(monitor.context, line):
                at = max(line.rfind(" "), line.rfind("=") if "=" in text else -1) + 1
                yield Completion(text[at:], at - len(line), display_meta=help)

    return Candidates()


_TOKEN = re.compile(r"""("[^"]*"?|'[^']*'?)|((?<![\w.$])0[xXbB][\w]*|(?<![\w.$])\d[\w]*)""")


def lexer() -> Lexer:
    """Commands that exist, numbers, texts and comments told apart."""
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.lexers import Lexer

    class Words(Lexer):
        def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
            return lambda number: spans(document.lines[number])

    return Words()


def spans(line: str) -> list[Any]:
    """(style, text) of each part of a line that is typed."""
    if line.lstrip().startswith("#"):
        return [("class:comment", line)]
    head = re.match(r"\s*\S*", line)
    end = head.end() if head else 0
    word, rest = line[:end], line[end:]
    try:
        commands.named(line) if line.strip() else None
        style = "class:command"
    except commands.CommandError:
        style = "class:unknown" if rest else ""
    found: list[Any] = [(style, word)]
    at = 0
    for match in _TOKEN.finditer(rest):
        found += [("", rest[at : match.start()]), ("class:string" if match[1] else "class:number", match[0])]
        at = match.end()
    return [*found, ("", rest[at:])]
