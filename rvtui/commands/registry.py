"""The table of commands: how one is described, found by its name, read from a line, completed and carried out.

A line is a command's name, or a beginning of it that says which, and its arguments. Blanks part arguments, but not
inside quotes, () and []; the last one takes the rest of the line. A name with a blank ("info registers") is an alias; a
name may have a /FORMAT behind it (x/8gx) where the first argument is of the kind "format".
"""

from __future__ import annotations

import difflib
import shlex
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from rvtui.session import Session

DEEPEST = 16
TOO_DEEP = f"scripts within scripts: at most {DEEPEST} deep"


class CommandError(EmulatorError):
    """A command that does not exist, or arguments it cannot take."""


class CheckError(CommandError):
    """What a script checks is not so: no fault of the script."""


class Told(str):
    """A line that is read out in other words, `said`: several lines, or "" for none."""

    said: str

    def __new__(cls, line: str, said: str) -> Told:
        told = super().__new__(cls, line)
        told.said = said
        return told


def retold(lines: Iterable[str], said: Iterable[str]) -> tuple[str, ...]:
    """Lines that are read out as others, all together."""
    return tuple(Told(line, "" if index else "\n".join(said)) for index, line in enumerate(lines))


@dataclass(frozen=True)
class Report:
    """An answer of several lines: `lines` for people, `data` (what JSON can say) for programs.

    In `data` addresses and the contents of registers and memory are strings, "0x80000000": many readers of JSON keep no
    64 bits. Counts, sizes and times are numbers. Keys only ever grow in number.
    """

    lines: tuple[str, ...]
    data: Any = None

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Later:
    """The answer of a command that has let the machine run: `answer` is called on the worker when it stands again."""

    answer: Callable[[], str | Report | None]


Answer = str | Report | None


class Screen(Protocol):
    """What a command may ask of the application around it; called on the worker's thread."""

    def goto(self, pane: str) -> None: ...
    def walk(self, address: int, access: Access, mode: Mode | None) -> None: ...
    def zoom(self) -> None: ...
    def help(self) -> None: ...
    def quit(self, code: int | None) -> None: ...
    def progress(self, text: str) -> None: ...


@dataclass
class Context:
    """Where commands are given: the application, the line monitor, a debugger's connection."""

    session: Session
    screen: Screen
    panes: tuple[str, ...] = ()
    """Of a screen that has some; else what they show is answered as text."""
    attach: Callable[[int], None] | None = None
    """Have the keys go to a console, by number, once the command is done; None where there are no keys."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set by whoever wants a long command to end."""
    follow: Callable[[Iterable[tuple[str, str]]], None] | None = None
    """Have lines carried out after this command, each once the machine stands: the text, and where it is from
    ("boot.rv:3"; "": from this very line). CommandError where that goes too deep. None where nobody would."""
    variables: dict[str, int] = field(default_factory=dict)
    """Of scripts, by name, without the $."""
    read: tuple[Any, dict[int, int]] = (None, {})
    """How far `expect` has read: of which machine, and by console of the bytes that it has printed in all."""
    continued: str = ""
    """Where the last look at memory ended, for one that goes on."""
    source: tuple[str, int, int, object] | None = None
    """The file and lines that were listed last, and in which moment."""

    def check(self) -> None:
        """Raises CommandError where the command is to end: for long ones, every now and then."""
        if self.cancelled.is_set():
            raise CommandError("interrupted")


@dataclass(frozen=True)
class Argument:
    """`kind` names what completion offers, see `KINDS`; "format" and "count" offer nothing."""

    name: str
    kind: str
    help: str
    optional: bool = False
    choices: tuple[str, ...] = ()
    """Words that it takes, for the kind "choice"."""


@dataclass(frozen=True)
class Command:
    name: str
    help: str
    function: Callable[..., Answer | Later]
    arguments: tuple[Argument, ...] = ()
    example: str = ""
    """One line, or several that belong together."""
    changes: bool = False
    """It changes what the guest does or sees."""
    aliases: tuple[str, ...] = field(default=())
    again: str | None = None
    """The line that an empty one after it stands for, as in GDB; "" the same line."""
    gdb: str = ""
    """What GDB has in its place: it must know itself where the machine is."""

    @property
    def formatted(self) -> bool:
        """It takes a /FORMAT behind its name."""
        return bool(self.arguments) and self.arguments[0].kind == "format"

    @property
    def topical(self) -> bool:
        """All that may stand behind its name is another command's: info."""
        return bool(self.arguments) and self.arguments[0].kind == "topic"

    @property
    def usage(self) -> str:
        texts = [f"[{a.name}]" if a.optional else a.name for a in self.arguments]
        return f"{self.name}[/{self.arguments[0].name}] " + " ".join(texts[1:]) if self.formatted else " ".join(
            [self.name, *texts]
        )

    @property
    def subject(self) -> str:
        """What its module is about."""
        return (sys.modules[self.function.__module__].__doc__ or "").strip().partition("\n")[0].rstrip(".")


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


Carrier = TypeVar("Carrier", bound=Callable[..., Answer | Later])
"""What carries out a command."""


def command(
    name: str,
    help: str,
    *arguments: Argument,
    example: str = "",
    changes: bool = False,
    aliases: tuple[str, ...] = (),
    again: str | None = None,
    gdb: str = "",
) -> Callable[[Carrier], Carrier]:
    """Register the decorated function."""

    def register(function: Carrier) -> Carrier:
        COMMANDS[name] = Command(name, help, function, arguments, example or name, changes, aliases, again, gdb)
        for alias in aliases:
            _ALIASES[alias] = name
        return function

    return register


def synonym(alias: str, name: str) -> None:
    """Another name of a command, registered now or later."""
    _ALIASES[alias] = name


def aliases() -> dict[str, Command]:
    """Other names of commands, those of commands that there are."""
    return {alias: COMMANDS[name] for alias, name in _ALIASES.items() if name in COMMANDS and alias not in COMMANDS}


def find(name: str) -> Command:
    """By name, alias, or an unambiguous beginning. Raises CommandError with a suggestion."""
    if name in COMMANDS:
        return COMMANDS[name]
    if (known := aliases().get(name)) is not None:
        return known
    matches = [known for known in COMMANDS if known.startswith(name)]
    if len(matches) == 1:
        return COMMANDS[matches[0]]
    if matches:
        raise CommandError(f"{name!r} may be {', '.join(matches)}: type more of it")
    near = difflib.get_close_matches(name, [*COMMANDS, *aliases()], 1)
    raise CommandError(f"no command {name!r}" + (f", did you mean {near[0]!r}?" if near else "; type help"))


def topics(prefix: str) -> dict[str, Command]:
    """What aliases of two words, the first of which is `prefix`, stand for, by the second."""
    known = sorted(aliases().items(), key=lambda item: item[0])
    return {alias.partition(" ")[2]: found for alias, found in known if alias.startswith(f"{prefix} ")}


def named(line: str) -> tuple[Command, str, str]:
    """The command that a line begins with, its /FORMAT, and the rest. Raises CommandError with a suggestion."""
    word, *more = line.split(None, 1)
    rest = more[0] if more else ""
    name, slash, form = word.partition("/")
    prefix = name if name in COMMANDS else _ALIASES.get(name, name)
    known = topics(prefix)
    if prefix in COMMANDS and not COMMANDS[prefix].topical and rest.partition(" ")[0] not in known:
        known = {}
    if rest and known:
        topic, _, after = rest.partition(" ")
        topic, slash, form = topic.partition("/")
        found = known.get(topic) or COMMANDS.get(topic)
        if found is None:
            matches = {each.name: each for word, each in known.items() if word.startswith(topic)}
            if len(matches) > 1:
                words = [word for word in known if word.startswith(topic)]
                raise CommandError(f"'{prefix} {topic}' may be {', '.join(words)}: type more of it")
            near = difflib.get_close_matches(topic, known, 1)
            hint = f"did you mean '{prefix} {near[0]}'?" if near else f"there is {', '.join(known)}"
            if not matches:
                raise CommandError(f"no '{prefix} {topic}': {hint}")
            (found,) = matches.values()
        rest = after.strip()
    else:
        found = find(name)
        if found.formatted and rest.startswith("/") and not slash:  # QEMU's way to write it
            form, _, rest = rest[1:].partition(" ")
            slash, rest = "/", rest.strip()
    if slash and not found.formatted:
        raise CommandError(f"{found.name} takes no /{form}: {found.usage}")
    return found, form, rest



def split(text: str, most: int) -> list[str]:
    """At most `most` words of `text`, the last of which is its rest. Blanks in quotes, () and [] part no words.
    CommandError where a quote of a word before the last is never closed."""
    words: list[str] = []
    text = text.strip()
    while text and len(words) < most - 1:
        end, depth, quote = len(text), 0, ""
        for at, each in enumerate(text):
            if quote:
                quote = "" if each == quote else quote
            elif each in "\"'":
                quote = each
            elif each.isspace() and not depth:
                end = at
                break
            else:
                depth = max(0, depth + (each in "([") - (each in ")]"))
        if quote:
            raise CommandError(f"{text[:40]}: no closing {quote}")
        words.append(text[:end])
        text = text[end:].lstrip()
    return [*words, text] if text else words


def parse(line: str) -> tuple[Command, list[str]]:
    """Split a line into its command and arguments; the last takes the rest of the line. Raises CommandError."""
    line = line.strip()
    if not line:
        raise CommandError("empty command; type help")
    found, form, rest = named(line)
    arguments = found.arguments[1:] if found.formatted else found.arguments
    count = len(arguments)
    words = split(rest, count) if count else rest.split()
    needed = sum(not argument.optional for argument in arguments)
    if len(words) < needed:
        raise CommandError(f"{found.name} needs {arguments[len(words)].name}: {found.usage}")
    if len(words) > count:
        raise CommandError(f"{found.name} takes {count or 'no'} argument{'s' * (count != 1)}: {found.usage}")
    for index, word in enumerate(words):
        if arguments[index].kind == "path":
            try:
                parts = shlex.split(word)
            except ValueError as error:
                raise CommandError(f"{word!r}: {error}") from None
            words[index] = parts[0] if len(parts) == 1 else word
    return found, [form, *words] if found.formatted else words


def invoke(context: Context, line: str) -> Future[Answer]:
    """Carry out a line on the worker. The future's exception is an EmulatorError for what the user got wrong."""
    future: Future[Answer] = Future()
    try:
        found, words = parse(line)
    except CommandError as error:
        future.set_exception(error)
        return future
    context.cancelled.clear()

    def done(asked: Future[Answer | Later]) -> None:
        error = asked.exception()
        if error is not None:
            future.set_exception(error)
        elif isinstance(answer := asked.result(), Later):
            later: Future[Answer | Later] = context.session.when_standing(lambda machine: answer.answer())
            later.add_done_callback(done)
        else:
            future.set_result(answer)

    def carry_out(machine: Any) -> Answer | Later:
        answer = found.function(context, *words)
        if found.changes and context.session.machine is machine:
            context.session.unsaved = True
        return answer

    context.session.call(carry_out).add_done_callback(done)
    return future


def complete(context: Context, line: str) -> list[str]:
    """Whole lines that begin with `line`, for the command bar."""
    return [each.text for each in candidates(context, line)]


def candidates(context: Context, line: str) -> list[Candidate]:
    """The same, with what is added explained."""
    line = line.lstrip()
    word, *more = line.split(None, 1)[:2] or [""]
    if not more and not line.endswith(" "):
        names = {name: command.help for name, command in COMMANDS.items()}
        names |= {alias: f"{found.help} ({found.name})" for alias, found in aliases().items()}
        return [Candidate(name, help) for name, help in sorted(names.items()) if name.startswith(word)]
    prefix = word if word in COMMANDS else _ALIASES.get(word, word)
    rest = more[0] if more else ""
    topical: list[Candidate] = []
    if (known := topics(prefix)) and " " not in rest:
        head = line[: len(line) - len(rest)]
        topical = [Candidate(head + topic, each.help) for topic, each in known.items() if topic.startswith(rest)]
        if prefix not in COMMANDS or COMMANDS[prefix].topical:
            return topical
    try:
        found, _, rest = named(line)
        arguments = found.arguments[1:] if found.formatted else found.arguments
        words = split(rest, len(arguments))
    except CommandError:
        return topical
    if not words or (line[-1].isspace() and len(words) < len(arguments)):
        words.append("")
    if len(words) > len(arguments):
        return topical
    argument, stem = arguments[len(words) - 1], words[-1]
    head = line[: len(line.rstrip()) - len(stem)] if stem else line
    offered = KINDS.get(argument.kind)
    found_words = map(Candidate, argument.choices) if offered is None else offered(context, stem)
    return topical + [Candidate(head + text, help) for text, help in found_words if text.startswith(stem)]
