"""Why a walk ends where it does, in words: which bits of which entry, and the rule that they break.

The verdict is the hart's (`Step.result`, `Walk.refused`); here it is only said which of an entry's bits brought it.
Manual: "Virtual Address Translation Process", "Two-Stage Address Translation", "Svnapot Extension for NAPOT Translation
Contiguity", "Svpbmt Extension for Page-Based Memory Types", "Physical Memory Protection".
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.hart.hart import Access, Hart, Mode, Refused, Step, Trap, Walk, WalkResult
from emulator.isa import pages
from emulator.isa.pages import LEAF, PBMT, PPN, RESERVED, A, D, N, R, U, V, W, X

WIDTHS = {3: "Sv39", 4: "Sv48", 5: "Sv57"}
SIZES = ("4 KiB", "2 MiB", "1 GiB", "512 GiB", "256 TiB")
_NEEDS = {Access.FETCH: "X", Access.LOAD: "R", Access.STORE: "W", Access.HLVX: "X"}


@dataclass(frozen=True)
class Verdict:
    """`bits`: those of the entry that are to blame, 0 where it was never read; `text`: the reason."""

    bits: int
    text: str


def culprit(walk: Walk) -> int | None:
    """Index of the step that the walk fails at; None where it does not, or at the address it leads to."""
    if walk.cause is None or not walk.steps or walk.steps[-1].result in (WalkResult.LEAF, WalkResult.POINTER):
        return None
    return len(walk.steps) - 1


def reason(walk: Walk, hart: Hart | None = None) -> Verdict | None:
    """Why it fails; None where it does not. `hart`: to tell what a PMP entry says."""
    if walk.cause is None:
        return None
    at = culprit(walk)
    if at is None:
        right = _NEEDS[walk.access]
        where = f"physical {walk.reached:#x}" if walk.reached is not None else "the address"
        return Verdict(0, _refused(walk, hart, where, right))
    step = walk.steps[at]
    match step.result:
        case WalkResult.ACCESS:
            right = "W" if step.pte else "R"
            what = "the entry" if right == "R" else "the entry, to set A and D in it,"
            return Verdict(0, _refused(walk, hart, f"{what} at physical {step.pte_physical:#x}", right))
        case WalkResult.RANGE:
            return Verdict(0, _range(walk, step))
        case WalkResult.INVALID:
            if not step.pte & V:
                return Verdict(V, "V=0: the entry is not valid")
            return Verdict(R | W, "W=1 without R=1: reserved")
        case WalkResult.RESERVED:
            return _reserved(walk, step)
        case WalkResult.MISALIGNED:
            low = PPN & ((1 << 9 * step.level) - 1) << 10
            return Verdict(
                step.pte & low, f"misaligned superpage: a {SIZES[step.level]} page whose PPN has low bits set"
            )
        case WalkResult.TOO_DEEP:
            return Verdict(LEAF, "R=W=X=0 at level 0: a pointer where only a leaf may be")
        case WalkResult.ACCESSED | WalkResult.DIRTY:
            bit, name = (A, "A") if step.result is WalkResult.ACCESSED else (D, "D")
            register = "henvcfg" if walk.world.mode.virtual and not step.stage else "menvcfg"
            why = "" if name == "A" else " on a store"
            return Verdict(bit, f"{name}=0{why}, and {register}.ADUE=0: software must set it")
        case _:
            return _rights(walk, step)


def _rights(walk: Walk, step: Step) -> Verdict:
    implicit = step.nested is not None
    world = walk.world
    status = "vsstatus" if world.mode.virtual else "sstatus"
    match step.result:
        case WalkResult.USER:
            if walk.access is Access.FETCH:
                return Verdict(U, "U=1: supervisor mode never executes a user page")
            return Verdict(U, f"U=1, but the mode is S and {status}.SUM=0")
        case WalkResult.SUPERVISOR:
            if step.stage:
                return Verdict(U, "U=0: the G-stage takes every access for a user's")
            return Verdict(U, "U=0: a supervisor page, and the mode is U")
        case WalkResult.NO_WRITE:
            return Verdict(
                W, "W=0: not writable" + (", and the walk must set A or D in an entry there" if implicit else "")
            )
        case WalkResult.NO_EXECUTE:
            return Verdict(X, "X=0: not executable" + (", as HLVX needs" if walk.access is Access.HLVX else ""))
    text = "R=0: not readable"
    if implicit:
        text += ", and the VS-stage entry must be read there" + ("; MXR does not count for that" * bool(step.pte & X))
    elif step.pte & X:
        text += ", only executable, and " + ("sstatus" if step.stage else status) + ".MXR=0"
    return Verdict(R, text)


def _reserved(walk: Walk, step: Step) -> Verdict:
    pte = step.pte
    if pte & RESERVED:
        return Verdict(pte & RESERVED, "reserved bits 60:54 are not 0")
    if not pte & (R | X):
        wrong = pte & (A | D | U | N | PBMT)
        names = [name for name, bit in (("D", D), ("A", A), ("U", U), ("N", N), ("PBMT", PBMT)) if wrong & bit]
        return Verdict(wrong, f"a pointer with {', '.join(names)} set: reserved")
    if pte & PBMT == PBMT:
        return Verdict(PBMT, "PBMT=3: reserved")
    if pte & PBMT and not walk.world.types[step.stage]:
        register = "henvcfg" if walk.world.mode.virtual and not step.stage else "menvcfg"
        return Verdict(pte & PBMT, f"PBMT={pages.MEMORY_TYPES[pte >> 61 & 3]}, and {register}.PBMTE=0: reserved")
    if step.level:
        return Verdict(N, "N=1 above level 0: reserved")
    if pte >> 10 & 15 != 8:
        return Verdict(N | PPN & 15 << 10, "N=1, and PPN[3:0] is not 8: 64 KiB is the only range there is")
    return Verdict(N, "N=1 without Svnapot: reserved")


def _range(walk: Walk, step: Step) -> str:
    levels = step.level + 1
    if step.stage:
        bits = 12 + 9 * levels + 2
        return f"guest-physical {step.input:#x} has bits above {bits - 1}: {WIDTHS[levels]}x4 translates {bits}"
    bits = 12 + 9 * levels
    return f"bits 63 to {bits} are not copies of bit {bits - 1}: no {WIDTHS[levels]} address"


def _refused(walk: Walk, hart: Hart | None, what: str, right: str) -> str:
    match walk.refused:
        case Refused.NO_ENTRY:
            return f"PMP: no entry matches {what}, and the mode is not M"
        case Refused.NO_MEMORY | None:
            return f"there is no memory at {what}" if what.startswith("physical") else f"{what} is not in memory"
        case Refused.READ_ONLY:
            return f"read-only memory: {what} cannot be written"
    entry = walk.refused
    says = ""
    if hart is not None:
        byte = hart.csr(f"pmpcfg{entry // 8 * 2}") >> entry % 8 * 8 & 0xFF
        rights = "".join(letter if byte >> bit & 1 else "-" for bit, letter in enumerate("rwx"))
        says = f" ({rights}{', locked' if byte & 0x80 else ''}, pmpaddr{entry}={hart.csr(f'pmpaddr{entry}'):#x})"
    return f"PMP entry {entry}{says} does not grant {right} of {what}"


def bits_of(step: Step) -> list[tuple[str, str, int]]:
    """An entry's bits: "D=1", what it means there ("written"), and the mask."""
    pte = step.pte
    if not pte & V:
        return [("V=0", "not valid, the rest is software's", V)]
    found = [("V=1", "valid", V)]
    if not pte & (R | X):
        wrong = "W without R" if pte & W else "points to the next table"
        found.append(("RWX=" + _rwx(pte), wrong, LEAF))
        found += [
            (f"{name}=1", "reserved in a pointer", bit) for name, bit in (("U", U), ("A", A), ("D", D)) if pte & bit
        ]
    else:
        found.append(("RWX=" + _rwx(pte), f"{SIZES[step.level]} page", LEAF))
        if step.stage:
            found.append(("U=1", "as the G-stage needs", U) if pte & U else ("U=0", "refused by the G-stage", U))
        else:
            found.append(("U=1", "a user's", U) if pte & U else ("U=0", "a supervisor's", U))
        if pte & pages.G:
            found.append(("G=1", "ignored" if step.stage else "in all address spaces", pages.G))
        found.append(("A=1", "used", A) if pte & A else ("A=0", "not used yet", A))
        found.append(("D=1", "written", D) if pte & D else ("D=0", "not written yet", D))
    if pte & PBMT:
        found.append((f"PBMT={pte >> 61 & 3}", pages.MEMORY_TYPES[pte >> 61 & 3], PBMT))
    if pte & N:
        found.append(("N=1", "one of 64 KiB", N))
    if pte & RESERVED:
        found.append((f"60:54={(pte & RESERVED) >> 54:#x}", "reserved", RESERVED))
    found.append((f"PPN={(pte & PPN) >> 10:#x}", f"{(pte & PPN) << 2:#x}", PPN))
    return found


def _rwx(pte: int) -> str:
    return "".join(letter if pte & bit else "-" for letter, bit in (("r", R), ("w", W), ("x", X)))


def entry_name(walk: Walk, index: int) -> str:
    """What an entry of a walk is called: "vs2", of the one stage there is "s2", of the G-stage "g1" for the address and
    "vs2/g1" for the entry of level 2."""
    step = walk.steps[index]
    if not step.stage:
        return f"{'vs' if walk.world.mode.virtual else 's'}{step.level}"
    return f"g{step.level}" if step.nested is None else f"vs{step.nested}/g{step.level}"


def remedy(walk: Walk) -> int:
    """The bits to turn round in the entry that a walk fails at, so that it goes on there; 0 where no bit of it would
    do. Whether they should be is for the tables' owner to say."""
    at, verdict = culprit(walk), reason(walk)
    if at is None or verdict is None:
        return 0
    step = walk.steps[at]
    match step.result:
        case WalkResult.INVALID:
            return V if verdict.bits == V else R
        case WalkResult.TOO_DEEP | WalkResult.MISALIGNED:
            return 0  # which page was meant cannot be known
        case WalkResult.RESERVED if verdict.bits & (PPN | RESERVED) or not (step.level or step.pte & LEAF):
            return 0
    return verdict.bits


def mending(walk: Walk, index: int) -> str:
    """The same as `pages.changed` takes it, for the entry that a walk fails at; "" for others."""
    return pages.change_text(remedy(walk), walk.steps[index].pte) if index == culprit(walk) else ""


def route(trap: Trap) -> str:
    """Where the trap is taken, and by which bit: "taken in HS: medeleg.21=1, hedeleg.21=0"."""
    if trap.origin is Mode.M:
        return "taken in M: the access is M-mode's"
    by = [f"medeleg.{trap.cause}={int(trap.medeleg)}"]
    if trap.medeleg and trap.origin.virtual:
        by.append(f"hedeleg.{trap.cause}={int(trap.hedeleg)}")
    return f"taken in {trap.mode.label}: {', '.join(by)}"
