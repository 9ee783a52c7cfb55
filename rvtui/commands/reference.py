"""All commands, as text: what `help` says, and the page rvtui/docs/commands.md, which `rvtui commands` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from rvtui.commands import registry
from rvtui.commands.registry import COMMANDS, Command, Report

WIDTH = 100
_INTRODUCTION = """\
# Commands

The same everywhere: in the application's command bar (`:`), in `rvtui monitor`, in its scripts. `rvtui commands`
prints this page; `help` and `help COMMAND` say the same where commands are typed.

A name may be cut as far as it is clear. Blanks part arguments, but not inside quotes, () and []; the last argument
takes the rest of the line.

## What is written how

* **Expressions**: numbers (`16`, `0x10`, `0b10`, `4k`, `2M`), registers (`sp`, `x2`, `$sp`, `pc`, `fa0`), CSRs and
  their fields (`sstatus`, `hgatp.VMID`), symbols, and C's `+ - * / % << >> & ^ | ~ ( )` over 64 bits, unsigned.
  `*ADDRESS` is the 8 bytes in memory there, at a virtual address.
* **Addresses**: an expression is a virtual address of what is looked at (`select`), in its present mode. `gpa:` before
  it makes it guest-physical, `pa:` physical; a VM's name before that means that VM: `ticker:gpa:0x80000000`,
  `ticker:main`.
* **Formats** as in GDB: `x/8gx sp` is a count, a letter (`x d u o t z c a f s i`) and a size (`b h w g`: 1, 2, 4, 8
  bytes).

## JSON

With `--json`, `rvtui monitor` answers each command with one line, an object: `command`, `ok`, and `data`, or where `ok`
is false `error`, a line for people, and `check`, whether it was a check (`expect`, `assert`). After a command that let
the machine run there is also `stop`: `reason`, `executed` and `clock` (both in instructions), `finished` (the machine
cannot go on), `pc`, `mode`, `console`, by name what was printed meanwhile (of each the last 256 KiB), and `displays`,
what `display` shows.

Addresses and contents of registers and memory are strings, `"0x80000000"`, because many readers of JSON keep no 64
bits; counts, sizes and times are numbers. Keys only ever grow in number.
"""


def by_subject(commands: Iterable[Command] | None = None) -> dict[str, list[Command]]:
    """All commands, or these, under what they are about."""
    found: dict[str, list[Command]] = {}
    given = COMMANDS.values() if commands is None else commands
    for each in sorted(given, key=lambda each: (each.subject, each.name)):
        found.setdefault(each.subject, []).append(each)
    return found


def overview(commands: Iterable[Command] | None = None) -> Report:
    """A line for each command, or for each of these."""
    lines: list[str] = []
    known = list(COMMANDS.values() if commands is None else commands)
    width = min(34, max(len(each.usage) for each in known))
    for subject, rows in by_subject(known).items():
        lines += ["", subject] if lines else [subject]
        for each in rows:
            text = textwrap.wrap(each.help, WIDTH - width - 4)
            first = f"  {each.usage:<{width}}  "
            if len(each.usage) > width:
                lines.append(f"  {each.usage}")
                first = " " * (width + 4)
            lines.append(first + text[0])
            lines += [" " * (width + 4) + more for more in text[1:]]
    lines += ["", "help COMMAND says more; Tab completes."]
    return Report(tuple(lines), {"commands": [_data(each) for each in known]})


def page(command: Command) -> Report:
    """All about one."""
    lines = [f"{command.usage}: {command.help}"]
    width = max((len(each.name) for each in command.arguments), default=0)
    lines += [f"  {each.name:<{width}}  {each.help}{' (optional)' * each.optional}" for each in command.arguments]
    if aliases := _aliases(command):
        lines.append(f"also: {', '.join(aliases)}")
    lines.append("for example:")
    lines += [f"  {line}" for line in command.example.split("\n")]
    return Report(tuple(lines), _data(command))


def _aliases(command: Command) -> list[str]:
    return [alias for alias, found in registry.aliases().items() if found is command]


def _data(command: Command) -> dict[str, object]:
    return {
        "name": command.name, "subject": command.subject, "usage": command.usage, "help": command.help,
        "arguments": [
            {"name": each.name, "kind": each.kind, "help": each.help, "optional": each.optional}
            for each in command.arguments
        ],
        "aliases": _aliases(command), "example": command.example.split("\n"), "changes": command.changes,
    }  # fmt: skip


def markdown() -> str:
    """The reference page."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield _INTRODUCTION
    for subject, commands in by_subject().items():
        yield f"## {subject}\n"
        for command in commands:
            yield f"### `{command.usage}`\n"
            yield f"{command.help[0].upper()}{command.help[1:]}.\n"
            for each in command.arguments:
                yield f"* `{each.name}`{' (optional)' * each.optional}: {each.help}"
            if command.arguments:
                yield ""
            if aliases := _aliases(command):
                yield f"Also: {', '.join(f'`{alias}`' for alias in aliases)}.\n"
            yield "".join(f"    {line}\n" for line in command.example.split("\n"))
