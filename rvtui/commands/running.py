"""Running and stepping."""

from __future__ import annotations

from dataclasses import replace

from rvtui.commands.registry import Argument, Context, command
from rvtui.commands.values import ADDRESS, count_of, value_of


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
    context.session.step(count_of(count))


@command("next", "one instruction, calls as one", changes=True, aliases=("n", "nexti"))
def _next(context: Context) -> None:
    context.session.step_over()


@command(
    "until",
    "run to ADDRESS; without one, to behind a jump that leads back",
    replace(ADDRESS, optional=True),
    example="until main+0x10",
    changes=True,
    aliases=("u", "advance"),
)
def _until(context: Context, address: str = "") -> None:
    context.session.until(value_of(context, address) if address else None, address)
