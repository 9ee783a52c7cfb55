"""Snapshots."""

from __future__ import annotations

from pathlib import Path

from emulator.isa import ABI_NAMES
from rvtui.commands.machine import table
from rvtui.commands.registry import Argument, CommandError, Context, Report, command
from rvtui.commands.values import FILE, progress
from rvtui.text import clean, guest_time, size


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
    context.session.unsaved = False
    whole = str(Path(path).absolute())
    context.session.saved = [*(each for each in context.session.saved if each != whole), whole]
    written = Path(path).stat().st_size
    return f"saved {path} ({written / 1024:,.0f} KiB) at instruction {context.session.machine.executed:,}"


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


@command(
    "snapshots",
    "the snapshot files in a folder, those written last first",
    Argument("FOLDER", "path", "where; the present one if not given", True),
    example="save before.snap\nsnapshots",
    aliases=("info snapshots",),
)
def _snapshots(context: Context, folder: str = ".") -> Report:
    import snapshots

    rows = [["file", "instructions", "clock", "size", "of", "note"]]
    data = []
    for each in snapshots.listing(folder):
        name, info = clean(Path(each.path).name, 60), each.info
        if info is None:
            rows.append([name, "-", "-", size(each.size), "", clean(each.problem, 120)])
        else:
            of = owners(info.vms, info.harts)
            rows.append([name, f"{info.executed:,}", guest_time(info.clock), size(each.size), of, clean(info.note, 60)])
        data.append({
            "file": each.path, "size": each.size, "problem": each.problem or None,
            "executed": info and info.executed, "clock": info and info.clock, "harts": info and info.harts,
            "vms": info and list(info.vms), "pages": info and info.pages, "parent": info and info.parent,
            "note": info and info.note,
        })  # fmt: skip
    return Report(table(rows, right={1, 2, 3}) if data else ("no snapshots there",), {"snapshots": data})


def owners(vms: tuple[str, ...], harts: int) -> str:
    """Whose machine it is, in a few words."""
    return ", ".join(clean(name, 20) for name in vms[:6]) or f"bare, {harts} hart{'s' * (harts != 1)}"


@command(
    "differs",
    "what a snapshot has that the machine has not: pages, registers, devices",
    FILE,
    example="save before.snap\nstep 100\ndiffers before.snap",
)
def _differs(context: Context, path: str) -> Report:
    import snapshots

    found = snapshots.difference(context.session.machine, path, progress(context, f"comparing with {path}"))
    memory = f"{found.pages:,} page{'s' * (found.pages != 1)} differ" if found.pages else "memory is the same"
    lines = ["the same, bit for bit" if found.same else memory]
    lines += [f"  pa:{at:#x}  {size(length)}" for at, length in found.ranges]
    if sum(length for _, length in found.ranges) < found.pages * 4096:
        lines.append("  and more")
    harts = [[ABI_NAMES[int(name[1:])] if name[:1] == "x" else name for name in names] for names in found.harts]
    lines += [f"hart {hart}: {', '.join(names)}" for hart, names in enumerate(harts) if names]
    if found.others:
        lines.append(f"others: {', '.join(found.others)}")
    ranges = [{"address": hex(at), "size": length} for at, length in found.ranges]
    return Report(tuple(lines), {
        "file": path, "same": found.same, "pages": found.pages, "ranges": ranges,
        "harts": harts, "others": list(found.others),
    })  # fmt: skip


@command("remove", "delete a snapshot file, and no other", FILE, example="save before.snap\nremove before.snap")
def _remove(context: Context, path: str) -> str:
    import snapshots

    snapshots.remove(path)
    context.session.saved = [each for each in context.session.saved if each != str(Path(path).absolute())]
    return f"{path} is deleted"
