"""One table of commands: the command bar, the palette, prompts and keys all come here.

A command is a function of a `Context` and its arguments as text. It runs on the session's worker, so it may touch the
machine, and returns the line to show, or None. What the user got wrong is a `CommandError`.
"""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, csrs
from rvtui.expressions import evaluate, register_number
from rvtui.panes.vms import Overview
from rvtui.session import Session
from rvtui.subjects import by_name, hart_of, names_of


class CommandError(EmulatorError):
    """A command that does not exist, or arguments it cannot take."""


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
    function: Callable[..., str | None]
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


Carrier = TypeVar("Carrier", bound=Callable[..., str | None])
"""What carries out a command: returns text for the user, or nothing."""


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


def invoke(context: Context, line: str) -> Future[str | None]:
    """Carry out a line on the worker. The future's exception is an EmulatorError for what the user got wrong."""
    future: Future[str | None]
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


def value_of(context: Context, text: str) -> int:
    """Evaluate over the selected hart's registers, CSRs and symbols; on the worker only."""
    machine = context.session.machine
    subject = context.session.subject
    hart = hart_of(machine, subject)

    def resolve(name: str) -> int | None:
        number = register_number(name)
        if number is not None:
            return int(hart.x[number])
        name = name.removeprefix("$")
        if name == "pc":
            return int(hart.pc)
        if name.lower() in csrs.BY_NAME:
            return int(hart.csr(name.lower()))
        return names_of(machine, subject).find(name)

    return evaluate(text, resolve)


def _count(text: str) -> int:
    try:
        value = int(text.replace("_", "").replace(",", ""), 0)
    except ValueError:
        value = 0
    if value < 1:
        raise CommandError(f"count {text!r}: a whole number from 1")
    return value


_ADDRESS = Argument("ADDRESS", "expression", "a number, symbol, register or expression")
_FILE = Argument("FILE", "path", "a file name")


@command("run", "let the machine run", aliases=("continue", "c"))
def _run(context: Context) -> None:
    context.session.run()


@command("pause", "stop the machine at the next instruction", aliases=("stop",))
def _pause(context: Context) -> None:
    context.session.pause()


@command(
    "step",
    "carry out one instruction, or COUNT",
    Argument("COUNT", "count", "how many", True),
    example="step 100",
    changes=True,
    aliases=("s", "stepi"),
)
def _step(context: Context, count: str = "1") -> None:
    context.session.step(_count(count))


@command("next", "one instruction, calls as one", changes=True, aliases=("n", "nexti"))
def _next(context: Context) -> None:
    context.session.step_over()


@command("until", "run to ADDRESS", _ADDRESS, example="until main+0x10", changes=True, aliases=("u",))
def _until(context: Context, address: str) -> None:
    context.session.until(value_of(context, address), address)


@command("break", "set a breakpoint", _ADDRESS, example="break trap_handler", aliases=("b",))
def _break(context: Context, address: str) -> str:
    value = value_of(context, address)
    context.session.machine.breakpoints.add(value)
    return f"breakpoint at {_where(context, value)}"


@command(
    "delete",
    "remove the breakpoint at ADDRESS, or all",
    Argument("ADDRESS", "expression", "where it stands", True),
    example="delete 0x80000000",
    aliases=("d",),
)
def _delete(context: Context, address: str = "") -> str:
    breakpoints = context.session.machine.breakpoints
    if not address:
        addresses = list(breakpoints)
        for each in addresses:
            breakpoints.discard(each)
        return f"{len(addresses)} breakpoint{'s' * (len(addresses) != 1)} removed"
    value = value_of(context, address)
    if value not in breakpoints:
        raise CommandError(f"no breakpoint at {value:#x}")
    breakpoints.discard(value)
    return f"breakpoint at {value:#x} removed"


@command("breakpoints", "list the breakpoints", aliases=("info",))
def _breakpoints(context: Context) -> str:
    addresses = sorted(context.session.machine.breakpoints)
    return "breakpoints: " + ", ".join(_where(context, each) for each in addresses) if addresses else "no breakpoints"


@command("print", "the value of an expression", _ADDRESS, example="print sp+16", aliases=("p",))
def _print(context: Context, expression: str) -> str:
    value = value_of(context, expression)
    signed = value - (1 << 64) if value >> 63 else value
    return f"{expression} = {value:#x} = {signed}" + (f" <{name}>" if (name := _symbol(context, value)) else "")


@command(
    "set",
    "write a register, pc or CSR",
    Argument("NAME=VALUE", "assignment", "what to write, and an expression"),
    example="set a0=sp+8",
    changes=True,
)
def _set(context: Context, assignment: str) -> str:
    name, equals, text = assignment.partition("=")
    name = name.strip().removeprefix("$").lower()
    if not equals or not name:
        raise CommandError(f"{assignment!r}: write NAME=VALUE, as in a0=0x10 or sstatus=sstatus|2")
    value = value_of(context, text)
    hart = hart_of(context.session.machine, context.session.subject)
    number = register_number(name)
    if number == 0:
        raise CommandError("zero is always 0: it cannot be set")
    if number is not None:
        hart.x[number] = value
        return f"{name} = {value:#x}"
    if name == "pc":
        if value & 1:
            raise CommandError(f"pc {value:#x} is odd: instructions start at even addresses")
        hart.pc = value
        return f"pc = {value:#x}"
    if name not in csrs.BY_NAME:
        near = difflib.get_close_matches(name, ["pc", *ABI_NAMES, *csrs.BY_NAME], 1)
        raise CommandError(f"no register or CSR {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    hart.set_csr(name, value)
    stored = hart.csr(name)
    return f"{name} = {stored:#x}" + ("" if stored == value else f" (of {value:#x}: the rest is not writable)")


@command(
    "walk",
    "show how ADDRESS is translated",
    _ADDRESS,
    Argument("ACCESS", "access", "fetch, load or store", True),
    Argument("MODE", "mode", "M, HS, U, VS or VU; the hart's own if not given", True),
    example="walk 0x10000000 store VS",
    aliases=("w",),
)
def _walk(context: Context, address: str, access: str = "load", mode: str = "") -> str:
    value = value_of(context, address)
    try:
        kind = Access[access.upper()]
    except KeyError:
        raise CommandError(f"access {access!r}: one of fetch, load, store") from None
    world = None
    if mode:
        try:
            world = Mode[mode.upper()]
        except KeyError:
            raise CommandError(f"mode {mode!r}: one of M, HS, U, VS, VU") from None
    context.screen.walk(value, kind, world)
    return f"walk of {value:#x}"


def _progress(context: Context, text: str) -> Callable[[int, int], None]:
    """Tells the screen how far a long command is, ten times a second at most."""
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > 0.1:
            told = now
            context.screen.progress(f"{text}: {done * 100 // max(1, total)}%")

    return tell


@command("save", "save the machine to a new snapshot file", _FILE, example="save before.snap")
def _save(context: Context, path: str) -> str:
    if Path(path).exists():
        raise CommandError(f"{path} is there already: another name, or `overwrite {path}` to replace it")
    return _overwrite(context, path)


@command("overwrite", "save the machine, in place of a file that may be there", _FILE, example="overwrite before.snap")
def _overwrite(context: Context, path: str) -> str:
    import snapshots

    with context.session.undisturbed():
        snapshots.save(context.session.machine, path, progress=_progress(context, f"saving {path}"))
    size = Path(path).stat().st_size
    return f"saved {path} ({size / 1024:,.0f} KiB) at instruction {context.session.machine.executed:,}"


@command(
    "restore",
    "load a snapshot file and stand where it was saved",
    _FILE,
    example="restore before.snap",
    changes=True,
    aliases=("load",),
)
def _restore(context: Context, path: str) -> str:
    import snapshots

    machine = snapshots.load(path, progress=_progress(context, f"restoring {path}"))
    context.session.replace(machine, path)
    return f"restored {path} at instruction {machine.executed:,}"


@command(
    "select",
    "look at a VM or hart",
    Argument("NAME", "vm", "a VM's name, a hart's number, or a guest of the bare machine: VMID 1"),
    example="select ticker",
)
def _select(context: Context, name: str) -> str:
    known = by_name(context.session.machine)
    spelt = {each.lower().replace(" ", ""): each for each in known}
    found = name if name in known else spelt.get(name.lower().replace(" ", "").removeprefix("hart"))
    if found is None:
        raise CommandError(f"nothing is called {name!r}: there is {', '.join(known)}")
    context.session.select(known[found])
    return f"looking at {'hart ' if found.isdecimal() and known[found].vm is None else ''}{found}"


@command("goto", "show a pane", Argument("PANE", "pane", "its name"), example="goto csrs", aliases=("pane",))
def _goto(context: Context, pane: str) -> None:
    matches = [known for known in context.panes if known.startswith(pane)]
    if len(matches) != 1 and pane not in context.panes:
        raise CommandError(f"no pane {pane!r}: one of {', '.join(context.panes)}")
    context.screen.goto(pane if pane in context.panes else matches[0])


@command("zoom", "the focused pane alone, and back", aliases=("z",))
def _zoom(context: Context) -> None:
    context.screen.zoom()


@command("help", "keys and commands", Argument("COMMAND", "command", "one command", True), aliases=("h",))
def _help(context: Context, name: str = "") -> str | None:
    if not name:
        context.screen.help()
        return None
    found = find(name)
    return f"{found.usage}: {found.help}; for example: {found.example}"


@command("quit", "leave rvtui", aliases=("q", "exit"))
def _quit(context: Context) -> None:
    context.screen.quit()


def _symbol(context: Context, address: int) -> str | None:
    return names_of(context.session.machine, context.session.subject).lookup(address)


def _where(context: Context, address: int) -> str:
    name = _symbol(context, address)
    return f"{address:#x}" + (f" <{name}>" if name else "")
