"""Snapshots."""

from __future__ import annotations

from pathlib import Path

from rvtui.commands.registry import CommandError, Context, command
from rvtui.commands.values import FILE, progress


@command("save", "save the machine to a new snapshot file", FILE, example="save before.snap")
def _save(context: Context, path: str) -> str:
    if Path(path).exists():
        raise CommandError(f"{path} is there already: another name, or `overwrite {path}` to replace it")
    return _overwrite(context, path)


@command("overwrite", "save the machine, in place of a file that may be there", FILE, example="overwrite before.snap")
def _overwrite(context: Context, path: str) -> str:
    import snapshots

    with context.session.undisturbed():
        snapshots.save(context.session.machine, path, progress=progress(context, f"saving {path}"))
    size = Path(path).stat().st_size
    return f"saved {path} ({size / 1024:,.0f} KiB) at instruction {context.session.machine.executed:,}"


@command(
    "restore",
    "load a snapshot file and stand where it was saved",
    FILE,
    example="save before.snap\nrestore before.snap",
    changes=True,
    aliases=("load",),
)
def _restore(context: Context, path: str) -> str:
    import snapshots

    machine = snapshots.load(path, progress=progress(context, f"restoring {path}"))
    context.session.replace(machine, path).result()
    return f"restored {path} at instruction {machine.executed:,}"
