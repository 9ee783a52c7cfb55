"""Running and stepping."""

from __future__ import annotations

from dataclasses import replace

from rvtui.commands.registry import Argument, Context, command
from rvtui.commands.values import ADDRESS, count_of, number_of, value_of


@command(
    "run",
    "let the machine run, until it stops or for COUNT instructions",
    Argument("COUNT", "count", "at most so many instructions, of all harts together: 1000, 20k, 5M", True),
    example="run 100000",
    changes=True,
    aliases=("continue", "c", "cont"),
    gdb="continue",
)
def _run(context: Context, count: str = "") -> None:
    context.session.run(number_of(count) if count else None).result()


@command("pause", "stop the machine at the next instruction", changes=True, aliases=("stop",), gdb="Ctrl-C")
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
    gdb="stepi",
)
def _step(context: Context, count: str = "1") -> None:
    context.session.step(count_of(count)).result()


@command("next", "one instruction, calls as one", changes=True, aliases=("n", "nexti", "ni"), again="", gdb="nexti")
def _next(context: Context) -> None:
    context.session.step_over().result()


@command(
    "until",
    "run to ADDRESS; without one, to behind a jump that leads back",
    replace(ADDRESS, optional=True),
    example="until main",
    changes=True,
    aliases=("u", "advance"),
    gdb="advance",
)
def _until(context: Context, address: str = "") -> None:
    context.session.until(value_of(context, address) if address else None, address).result()
