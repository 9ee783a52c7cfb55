"""What arguments mean: expressions, counts, names of addresses. On the worker only."""

from __future__ import annotations

from emulator.isa import csrs
from rvtui.commands.registry import Argument, CommandError, Context
from rvtui.expressions import evaluate, register_number
from rvtui.subjects import hart_of, names_of

ADDRESS = Argument("ADDRESS", "expression", "a number, symbol, register or expression")
FILE = Argument("FILE", "path", "a file name")


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


def count_of(text: str) -> int:
    try:
        value = int(text.replace("_", "").replace(",", ""), 0)
    except ValueError:
        value = 0
    if value < 1:
        raise CommandError(f"count {text!r}: a whole number from 1")
    return value


def symbol(context: Context, address: int) -> str | None:
    return names_of(context.session.machine, context.session.subject).lookup(address)


def where(context: Context, address: int) -> str:
    name = symbol(context, address)
    return f"{address:#x}" + (f" <{name}>" if name else "")
