"""Running, stepping and stopping."""

from __future__ import annotations

from rvtui.commands.registry import Argument, CommandError, Context, command
from rvtui.commands.values import ADDRESS, count_of, number_of, value_of, where


@command(
    "run",
    "let the machine run, until it stops or for COUNT instructions",
    Argument("COUNT", "count", "at most so many instructions, of all harts together: 1000, 20k, 5M", True),
    example="run 100000",
    changes=True,
    aliases=("continue", "c", "cont"),
)
def _run(context: Context, count: str = "") -> None:
    context.session.run(number_of(count) if count else None).result()


@command("pause", "stop the machine at the next instruction", changes=True, aliases=("stop",))
def _pause(context: Context) -> None:
    context.session.pause().result()


@command(
    "step",
    "carry out one instruction, or COUNT",
    Argument("COUNT", "count", "how many", True),
    example="step 100",
    changes=True,
    aliases=("s", "stepi", "si"),
    again="",
)
def _step(context: Context, count: str = "1") -> None:
    context.session.step(count_of(count)).result()


@command("next", "one instruction, calls as one", changes=True, aliases=("n", "nexti", "ni"), again="")
def _next(context: Context) -> None:
    context.session.step_over().result()


@command("until", "run to ADDRESS", ADDRESS, example="until main", changes=True, aliases=("u",))
def _until(context: Context, address: str) -> None:
    context.session.until(value_of(context, address), address).result()


@command("break", "set a breakpoint", ADDRESS, example="break main", aliases=("b",))
def _break(context: Context, address: str) -> str:
    value = value_of(context, address)
    context.session.machine.breakpoints.add(value)
    return f"breakpoint at {where(context, value)}"


@command(
    "delete",
    "remove the breakpoint at ADDRESS, or all",
    Argument("ADDRESS", "expression", "where it stands", True),
    example="break main\ndelete main",
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


@command("breakpoints", "list the breakpoints", aliases=("info breakpoints",))
def _breakpoints(context: Context) -> str:
    addresses = sorted(context.session.machine.breakpoints)
    return "breakpoints: " + ", ".join(where(context, each) for each in addresses) if addresses else "no breakpoints"
