"""`monitor LINE` in GDB (packet qRcmd): the commands of rvtui, and two that are about GDB itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import commands
from rvtui.commands import reference
from rvtui.gdb import points
from rvtui.gdb.memory import Space
from rvtui.gdb.packets import Refusal
from rvtui.session import Session
from rvtui.subjects import Subject

if TYPE_CHECKING:
    from rvtui.gdb.stub import Stub

PIECE = 4096
"""Characters of an answer in one packet."""


class _Looking:
    """The session, as one that looks at something else than the application does."""

    def __init__(self, session: Session, subject: Subject) -> None:
        self._session = session
        self.subject = subject

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class _Paper:
    """What a command may ask of a screen, where there is none."""

    def goto(self, pane: str) -> None:
        raise commands.CommandError("panes are in the application: GDB has none")

    def walk(self, address: int, access: Access, mode: Mode | None) -> None:
        self.goto("walk")

    def zoom(self) -> None:
        self.goto("")

    def help(self) -> None:
        self.goto("help")

    def quit(self, code: int | None) -> None:
        raise commands.CommandError("detach and kill are GDB's: what they do to rvtui is in its README")

    def progress(self, text: str) -> None:
        """GDB waits for the answer alone."""


def _known() -> list[commands.Command]:
    """The commands that there are here: those about GDB, and of all others those that it has none of its own for."""
    return [*OWN.values(), *(each for each in commands.COMMANDS.values() if not each.gdb)]


def carry_out(stub: Stub, line: str) -> list[str]:
    """The answer, in pieces. Raises EmulatorError and Refusal."""
    name, *words = line.split(None, 2) or ["help"]
    own = OWN.get(name)
    if own is not None:
        text = stub.ask(lambda machine: str(own.function(stub, machine, words)))
    elif name == "help" and (not words or words[0] in OWN):
        text = str(reference.page(OWN[words[0]]) if words else reference.overview(_known()))
    else:
        text = _command(stub, line)
    text = text.rstrip("\n") + "\n" if text else ""
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def _command(stub: Stub, line: str) -> str:
    """A command of rvtui, about the thread that GDB has chosen."""
    found, _ = commands.parse(line)
    if found.gdb:
        raise commands.CommandError(f"{found.name} is GDB's own here: {found.gdb}")
    session = cast(Session, _Looking(stub.session, stub.ask(stub.chosen)))
    try:
        future = commands.invoke(commands.Context(session, _Paper()), line)
        answer = stub.ask(lambda machine: None) or future.result(0)  # calls are carried out in order
    except EmulatorError as error:
        answer = str(error)
    lines = [] if answer is None else [str(answer)]
    if found.changes:
        lines.append("(what GDB has read before is old now: maintenance flush register-cache)")
    return "\n".join(lines)


def _space(stub: Stub, machine: Machine, words: list[str]) -> str:
    known = {each.value: each for each in Space}
    if words:
        wanted = " ".join(words)
        if wanted not in known:
            raise Refusal(f"no space {wanted!r}: one of {', '.join(known)}")
        stub.space = known[wanted]
    return f"addresses of memory are {stub.space.value}"


def _world(stub: Stub, machine: Machine, words: list[str]) -> str:
    """A guest's name has a space: what is no number at the end belongs to it."""
    given, found = stub.points, []
    if not words:
        found = [f"{at:#x} {world.name}" for at, world in given.worlds.items() if world is not points.ANYWHERE]
        known = ", ".join(points.worlds(machine))
        return "\n".join([f"new breakpoints stop in {given.world.name}; there is {known}", *found])
    name, _, last = " ".join(words).rpartition(" ")
    try:
        address = int(last, 0) if name and last.startswith("0x") else None
    except ValueError:
        raise Refusal(f"{last!r} is no address") from None
    world = points.named(machine, " ".join(words) if address is None else name)
    if address is None:
        given.world = world
        return f"breakpoints that are set for the first time from now on stop in {world.name}"
    given.confine(address, world)
    return f"a breakpoint at {address:#x} stops in {world.name}"


_SPACE = commands.Argument("|".join(each.value for each in Space), "choice", "those of the thread; else", True)
_WORLD = commands.Argument("any|host|guest|NAME", "vm", "a VM's name, or VMID 1; the present one is told", True)
_ADDRESS = commands.Argument("ADDRESS", "expression", "0x and digits", True)
OWN = {
    "space": commands.Command("space", "what addresses of memory are", _space, (_SPACE,), "space physical"),
    "world": commands.Command(
        "world", "where new breakpoints stop, or the one at ADDRESS", _world, (_WORLD, _ADDRESS),
        "world guest 0x80000000",
    ),
}  # fmt: skip
"""Commands about GDB itself."""
