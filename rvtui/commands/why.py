"""Traps, interrupts and the two worlds: what the panes of these names show, as text."""

from __future__ import annotations

from emulator.traps import reason
from rvtui.commands.registry import Argument, CommandError, Context, Report, Told, command, retold
from rvtui.commands.values import count_of
from rvtui.panes import interrupts, traps, worlds
from rvtui.spoken import linear
from rvtui.text import Line

WIDTH = 160
"""Columns of what is told in full."""


def _texts(lines: list[Line]) -> tuple[str, ...]:
    return tuple("".join(text for text, _ in line).rstrip() for line in lines)


@command(
    "traps",
    "the last traps, or N of them, newest first",
    Argument("N", "count", "how many rows", True),
    Argument("WHICH", "choice", "faults: accesses that failed and illegal instructions alone", True, ("faults",)),
    example="traps 5\ntraps 20 faults",
)
def _traps(context: Context, number: str = "20", which: str = "") -> Report:
    session = context.session
    if number == "faults":
        number, which = "20", number
    if which not in ("", "faults"):
        raise CommandError(f"traps N {which}: only 'faults' may follow")
    entries = [
        entry for entry in traps.read_traps(session.machine, session.subject) if entry.fault or not which
    ][: count_of(number)]
    lines = []
    for entry in entries:
        text, clock = traps.brief(entry), f"{entry.trap.clock:,}"
        lines.append(Told(f"{clock:>14} {text}", f"{linear(text)}, instruction {clock}"))
    return Report(tuple(lines) or ("no trap yet",), [traps.told(entry) for entry in entries])


@command(
    "why",
    "the last trap in full: the way it took, and what each CSR received by which rule",
    example="run 20k\nwhy",
)
def _why(context: Context) -> Report:
    session = context.session
    entries = traps.read_traps(session.machine, session.subject)
    if not entries:
        raise CommandError("no trap yet: run, or step, until there is one")
    last = entries[0]
    why = reason(last.trap)
    lines = _texts(traps.explained(last, WIDTH))
    lines = tuple(Told(line, "") if line.strip() == why else line for line in lines)  # it was said first
    return Report((f"{traps.brief(last)}: {why}", *lines), traps.told(last))


@command("interrupts", "each interrupt: pending, enabled, whose, and why it is taken or not")
def _interrupts(context: Context) -> Report:
    session = context.session
    board = interrupts.read_interrupts(session.machine, session.subject)
    lines = _texts([interrupts.headline(board), *interrupts.table(board, WIDTH)])
    said = [linear(lines[0]), *interrupts.sentences(board)]
    return Report(retold(lines, said), interrupts.told(board))


@command("worlds", "the HS and VS banks side by side, and the ways taken between the modes")
def _worlds(context: Context) -> Report:
    session = context.session
    now = worlds.read_worlds(session.machine, session.subject)
    lines = [worlds.modes(now.mode, now.moves, WIDTH), *worlds.ladder(now.mode, now.moves, set(), WIDTH)]
    lines += [line for _, line in worlds.banks(now, None, set(), WIDTH)]
    return Report(retold(_texts(lines), worlds.sentences(now)), worlds.told(now))
