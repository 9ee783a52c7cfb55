"""Values, registers, CSRs and translation."""

from __future__ import annotations

import difflib

from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, csrs
from rvtui.commands.registry import Argument, CommandError, Context, command
from rvtui.commands.values import ADDRESS, symbol, value_of
from rvtui.expressions import register_number
from rvtui.subjects import hart_of


@command("print", "the value of an expression", ADDRESS, example="print sp+16", aliases=("p",))
def _print(context: Context, expression: str) -> str:
    value = value_of(context, expression)
    signed = value - (1 << 64) if value >> 63 else value
    return f"{expression} = {value:#x} = {signed}" + (f" <{name}>" if (name := symbol(context, value)) else "")


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
    ADDRESS,
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
