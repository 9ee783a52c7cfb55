"""Snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rvtui.commands.registry import CommandError, Context, command
from rvtui.commands.values import FILE


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


@command("save", "save the machine to a new snapshot file", FILE, example="save before.snap")
def _save(context: Context, path: str) -> str:
    if Path(path).exists():
        raise CommandError(f"{path} is there already: another name, or `overwrite {path}` to replace it")
    return _overwrite(context, path)


@command("overwrite", "save the machine, in place of a file that may be there", FILE, example="overwrite before.snap")
def _overwrite(context: Context, path: str) -> str:
    import snapshots

    with context.session.undisturbed():
        snapshots.save(context.session.machine, path, progress=_progress(context, f"saving {path}"))
    size = Path(path).stat().st_size
    return f"saved {path} ({size / 1024:,.0f} KiB) at instruction {context.session.machine.executed:,}"


@command(
    "restore",
    "load a snapshot file and stand where it was saved",
    FILE,
    example="restore before.snap",
    changes=True,
    aliases=("load",),
)
def _restore(context: Context, path: str) -> str:
    import snapshots

    machine = snapshots.load(path, progress=_progress(context, f"restoring {path}"))
    context.session.replace(machine, path)
    return f"restored {path} at instruction {machine.executed:,}"
