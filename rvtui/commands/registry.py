"""The table of commands: how one is described, found by its name, read from a line, completed and carried out."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, csrs
from rvtui.panes.vms import Overview
from rvtui.session import Session


class CommandError(EmulatorError):
    """A command that does not exist, or arguments it cannot take."""


@dataclass(frozen=True)
class Report:
    """An answer of several lines: `lines` for people, `data` (what JSON can say) for programs."""

    lines: tuple[str, ...]
    data: Any = None

    def __str__(self) -> str:
        return "\n".join(self.lines)


Answer = str | Report | None


class Screen(Protocol):
    """What a command may ask of the application around it; called on the worker's thread."""

    def goto(self, pane: str) -> None: ...
    def walk(self, address: int, access: Access, mode: Mode | None) -> None: ...
    def zoom(self) -> None: ...
    def help(self) -> None: ...
    def quit(self) -> None: ...
    def progress(self, text: str) -> None: ...


@dataclass
class Context:
    session: Session
    screen: Screen
    panes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Argument:
    """`kind` names what completion offers: expression, assignment, count, path, pane, vm, access, mode, command."""

    name: str
    kind: str
    help: str
    optional: bool = False


@dataclass(frozen=True)
class Command:
    name: str
    help: str
    function: Callable[..., Answer]
    arguments: tuple[Argument, ...] = ()
    example: str = ""
    changes: bool = False
    """It changes what the guest does or sees."""
    aliases: tuple[str, ...] = field(default=())

    @property
    def usage(self) -> str:
        return " ".join([self.name, *(f"[{a.name}]" if a.optional else a.name for a in self.arguments)])


COMMANDS: dict[str, Command] = {}
_ALIASES: dict[str, str] = {}


class Candidate(NamedTuple):
    """What may stand for an argument, and what it is."""

    text: str
    help: str = ""


Kind = Callable[["Context", str], Iterable[Candidate]]
"""What an argument that begins with a text may be; others are left out, so it may offer more than that."""

KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    """Register the decorated function as what completes arguments of a kind."""

    def register(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return register


Carrier = TypeVar("Carrier", bound=Callable[..., Answer])
"""What carries out a command."""


def command(
    name: str,
    help: str,
    *arguments: Argument,
    example: str = "",
    changes: bool = False,
    aliases: tuple[str, ...] = (),
) -> Callable[[Carrier], Carrier]:
    """Register the decorated function."""

    def register(function: Carrier) -> Carrier:
        COMMANDS[name] = Command(name, help, function, arguments, example or name, changes, aliases)
        for alias in aliases:
            _ALIASES[alias] = name
        return function

    return register


def find(name: str) -> Command:
    """By name, alias, or an unambiguous beginning. Raises CommandError with a suggestion."""
    if name in COMMANDS:
        return COMMANDS[name]
    if name in _ALIASES:
        return COMMANDS[_ALIASES[name]]
    matches = [known for known in COMMANDS if known.startswith(name)]
    if len(matches) == 1:
        return COMMANDS[matches[0]]
    if matches:
        raise CommandError(f"{name!r} may be {', '.join(matches)}: type more of it")
    near = difflib.get_close_matches(name, [*COMMANDS, *_ALIASES], 1)
    raise CommandError(f"no command {name!r}" + (f", did you mean {near[0]!r}?" if near else "; type help"))


def parse(line: str) -> tuple[Command, list[str]]:
    """Split a line into its command and arguments; the last takes the rest of the line. Raises CommandError."""
    line = line.strip()
    if not line:
        raise CommandError("empty command; type help")
    name, _, rest = line.partition(" ")
    found = find(name)
    count = len(found.arguments)
    words: list[str] = rest.split(None, count - 1) if count else rest.split()
    if count and found.arguments[-1].kind == "path" and words:
        try:
            split = shlex.split(words[-1])
        except ValueError as error:
            raise CommandError(f"{words[-1]!r}: {error}") from None
        words[-1] = split[0] if len(split) == 1 else words[-1]
    words = [word.strip() for word in words]
    needed = sum(not argument.optional for argument in found.arguments)
    if len(words) < needed:
        raise CommandError(f"{found.name} needs {found.arguments[len(words)].name}: {found.usage}")
    if len(words) > count:
        raise CommandError(f"{found.name} takes {count or 'no'} argument{'s' * (count != 1)}: {found.usage}")
    return found, words


def invoke(context: Context, line: str) -> Future[Answer]:
    """Carry out a line on the worker. The future's exception is an EmulatorError for what the user got wrong."""
    future: Future[Answer]
    try:
        found, words = parse(line)
    except CommandError as error:
        future = Future()
        future.set_exception(error)
        return future
    return context.session.call(lambda machine: found.function(context, *words))


def complete(context: Context, line: str) -> list[str]:
    """Whole lines that begin with `line`, for the command bar."""
    name, space, rest = line.lstrip().partition(" ")
    if not space:
        return [known for known in sorted([*COMMANDS, *_ALIASES]) if known.startswith(name)]
    try:
        found = find(name)
    except CommandError:
        return []
    words = rest.split(" ")
    index = min(len(words), len(found.arguments)) - 1
    if index < 0:
        return []
    kind = found.arguments[index].kind
    stem = " ".join(words[index:]) if kind == "vm" else words[-1]  # a guest's name has a space: VMID 1
    head = line[: len(line) - len(stem)]
    return [head + word for word in _candidates(context, kind, stem) if word.startswith(stem)]


def _candidates(context: Context, kind: str, stem: str) -> Iterable[str]:
    if kind in KINDS:
        return [each.text for each in KINDS[kind](context, stem)]
    match kind:
        case "pane":
            return context.panes
        case "vm":
            overview = context.session.view.get("overview")  # the machine may be running: what was seen of it
            return overview.names if isinstance(overview, Overview) else ()
        case "access":
            return [access.name.lower() for access in Access]
        case "mode":
            return [mode.name for mode in Mode]
        case "command":
            return sorted(COMMANDS)
        case "assignment" | "expression":
            names: list[str] = ["pc", *ABI_NAMES, *csrs.BY_NAME]
            return [name + ("=" if kind == "assignment" else "") for name in names]
        case "path":
            path = Path(stem or ".")
            folder = path if stem.endswith("/") or not stem else path.parent
            try:
                entries = sorted(folder.iterdir())[:200]
            except OSError:
                return []
            return [
                ("" if not stem.startswith("./") else "./") + str(entry) + "/" * entry.is_dir() for entry in entries
            ]
    return []
