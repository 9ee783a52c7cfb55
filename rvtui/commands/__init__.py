"""One table of commands: the command bar, the palette, prompts and keys all come here.

A command is a function of a `Context` and its arguments as text. It runs on the session's worker, so it may touch the
machine, and returns the line to show, a `Report`, or None. What the user got wrong is a `CommandError`. Each module
here registers the commands of one subject when it is imported.
"""

from importlib import import_module
from pkgutil import iter_modules

from rvtui.commands.registry import (
    COMMANDS,
    Answer,
    Argument,
    Candidate,
    CheckError,
    Command,
    CommandError,
    Context,
    Report,
    Screen,
    candidates,
    command,
    complete,
    find,
    invoke,
    named,
    parse,
)
from rvtui.commands.values import value_of

__all__ = [
    "COMMANDS", "Answer", "Argument", "Candidate", "CheckError", "Command", "CommandError", "Context", "Report",
    "Screen", "candidates", "command", "complete", "find", "invoke", "named", "parse", "value_of",
]  # fmt: skip

for _module in sorted(each.name for each in iter_modules(__path__)):
    import_module(f"{__name__}.{_module}")
