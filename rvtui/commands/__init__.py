"""One table of commands: the command bar, the palette, prompts and keys all come here.

A command is a function of a `Context` and its arguments as text. It runs on the session's worker, so it may touch the
machine, and returns the line to show, a `Report`, or None. What the user got wrong is a `CommandError`. Each module
here registers the commands of one subject when it is imported.
"""

from rvtui.commands import files, running, screen, state, stops, translation, why
from rvtui.commands.registry import (
    COMMANDS,
    Answer,
    Argument,
    Command,
    CommandError,
    Context,
    Report,
    Screen,
    command,
    complete,
    find,
    invoke,
    parse,
)
from rvtui.commands.values import value_of

__all__ = [
    "COMMANDS", "Answer", "Argument", "Command", "CommandError", "Context", "Report", "Screen", "command", "complete",
    "files", "find", "invoke", "parse", "running", "screen", "state", "stops", "translation", "value_of", "why",
]  # fmt: skip
