"""Mending: entries of page tables, and traps that are taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from emulator.hart import Access, Mode, TrapRecord, Walk
from emulator.isa import pages
from emulator.traps import standing_at, take_back
from emulator.verdict import culprit, entry_name, mending
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind
from rvtui.commands.values import ADDRESS, value_of
from rvtui.panes.traps import brief, read_traps
from rvtui.panes.walk import examine
from rvtui.subjects import hart_of, selected_vcpu

_ENTRY = re.compile(r"(?:(?:vs|s)\d(?:/g\d)?|g\d)\Z")
WORDS = "[ACCESS] [MODE] [ENTRY] CHANGE"


@kind("entry change")
def _changes(context: Context, stem: str) -> Iterator[Candidate]:
    head, blank, _ = stem.rpartition(" ")
    words = [*(access.name.lower() for access in Access), *(mode.name for mode in Mode)]
    words += ["vs0", "g0", "+w", "+v", "+u", "+x", "+ad", "-w", *(name.lower() for name in pages.MEMORY_TYPES.values())]
    return (Candidate(head + blank + word) for word in words)


def _chosen(walk: Walk, name: str) -> int:
    """Which step of a walk is called so; the one that it fails at, or its last of the first stage, for ""."""
    names = [entry_name(walk, index) for index in range(len(walk.steps))]
    if name:
        name = name if walk.world.mode.virtual else name.replace("vs", "s")
        if name not in names:
            raise CommandError(f"this walk has no entry {name}: it has {', '.join(names) or 'none'}")
        return names.index(name)
    at = culprit(walk)
    if at is not None:
        return at
    own = [index for index, step in enumerate(walk.steps) if not step.stage] or range(len(walk.steps))
    if not own:
        raise CommandError(f"{walk.address:#x} is walked by no table")
    return own[-1]


@command(
    "pte",
    "change the entry of a page table that a walk fails at, or another of it; translations of before are dropped",
    ADDRESS,
    Argument("CHANGE", "entry change", f"{WORDS}: +w sets W, -x+ad, nc, pma, =EXPRESSION the whole entry, to=EXPRESSION"
             " where it points; ENTRY as the walk calls it: vs0, g1, vs2/g0", True),
    example="run 20k\npte main fetch\npte main store g0 +wd",
    changes=True,
)  # fmt: skip
def _pte(context: Context, address: str, words: str = "") -> Report:
    machine, subject = context.session.machine, context.session.subject
    access, mode, name, change = Access.LOAD, None, "", ""
    for word in words.split():
        if word.upper() in Access.__members__:
            access = Access[word.upper()]
        elif word.upper() in Mode.__members__:
            mode = Mode[word.upper()]
        elif _ENTRY.match(word.lower()):
            name = word.lower()
        elif change:
            raise CommandError(f"{word!r}: one CHANGE only, without blanks; pte ADDRESS {WORDS}")
        else:
            change = word
    found = examine(machine, subject, value_of(context, address), access, mode)
    walk = found.walk
    index = _chosen(walk, name)
    step = walk.steps[index]
    called, before = entry_name(walk, index), step.pte
    reason = "" if found.verdict is None else found.verdict.text
    if step.unread:
        raise CommandError(f"{called} was not read: {reason}")
    if not change:
        text = f"{called} [{step.pte_physical:#x}] = {before:#x} {pages.flags(before)}"
        if mends := mending(walk, index):
            text += f": {reason}; {mends} would mend it"
        return Report((text,), _told(walk, index, before, None))
    if change.startswith("="):
        after = value_of(context, change[1:])
    elif change.lower().startswith("to="):
        to = value_of(context, change[3:])
        if to & 0xFFF or to >> 56:
            raise CommandError(f"{change}: a page's address has 56 bits, the low 12 of them 0")
        after = before & ~pages.PPN | to >> 2
    else:
        after = pages.changed(before, change)
    machine.memory.write_int(step.pte_physical, 8, after & (1 << 64) - 1)
    for hart in machine.harts:
        hart.flush_translation()
    again = examine(machine, subject, walk.address, access, mode)
    leads = f"leads to {again.walk.physical:#x}" if again.verdict is None else f"fails: {again.verdict.text}"
    text = (
        f"{called} [{step.pte_physical:#x}] {before:#x} {pages.flags(before)} is now {after:#x} {pages.flags(after)};"
        f" {access.name.lower()} of {walk.address:#x} in {walk.world.mode.label} {leads}"
    )
    return Report((text,), _told(walk, index, before, after))


def _told(walk: Walk, index: int, before: int, after: int | None) -> dict[str, object]:
    step = walk.steps[index]
    return {
        "entry": entry_name(walk, index), "address": hex(step.pte_physical), "before": hex(before),
        "after": None if after is None else hex(after),
    }  # fmt: skip


@command(
    "retry",
    "take the last trap back: pc, mode and status are as before it, and the instruction is next",
    Argument("anyway", "choice", "also when its handler has begun to run, which may have changed registers", True,
             choices=("anyway",)),
    example="select ticker\nrun 100k\nretry anyway",
    changes=True,
    aliases=("untrap",),
)  # fmt: skip
def _retry(context: Context, anyway: str = "") -> str:
    if anyway not in ("", "anyway"):
        raise CommandError(f"retry {anyway}: only 'anyway' may follow")
    session = context.session
    machine, subject = session.machine, session.subject
    vm, vcpu = selected_vcpu(machine, subject)
    face = hart_of(machine, subject)

    def ours(trap: TrapRecord) -> bool:
        return vm is None or (trap.vmid == vm.vmid and trap.from_mode.virtual and trap.to_mode is Mode.VS)

    entry = next((each for each in read_traps(machine, subject) if ours(each.trap)), None)
    if entry is None:
        raise CommandError("no trap yet" if vm is None else f"{vm.name} has taken no trap of late: none to take back")
    if vcpu is not None and vcpu.status == "ended":
        raise CommandError(f"{vm.name} has ended: {vm.message}")
    trap = entry.trap
    if not anyway and not standing_at(face, trap):
        raise CommandError(
            f"the handler of the last trap, {trap.name} at {trap.pc:#x}, has begun to run: 'retry anyway' goes back all"
            " the same, with registers as they are; 'catch trap' stops in time"
        )
    take_back(face, trap, "H" in machine.harts[0].isa)
    return f"taken back: {brief(entry)}; that instruction is next"
