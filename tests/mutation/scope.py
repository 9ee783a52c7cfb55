"""What is mutated, and what is not: each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from . import table
from .source import HART, Mutant, Source
from .table import TableMutant

AnyMutant = Mutant | TableMutant

FILES = ("system.c", "csr.c", "mmu.c", "counters.c", "machine.c")

MACHINE = ("describe_instruction", "trap", "take_turn", "sleep_until", "hart_time", "hart_clock_at_time")
"""Of machine.c only what takes traps and interrupts."""

NOT_MUTATED: dict[tuple[str, str], str] = {
    # (file, function): why nothing that it does is architectural
    ("mmu.c", "hart_walk"): "the walk as the monitor shows it; programs never see it",
    ("mmu.c", "step"): "the record of a walk, for display",
    ("mmu.c", "check_watch"): "watchpoints belong to the debugger",
    ("mmu.c", "mark_written"): "dirty pages and decoded code: the caller's bookkeeping",
    ("mmu.c", "hits_code"): "decoded code; self-modifying programs are tests/emulator/test_hart_engine's",
    ("mmu.c", "slot_of"): "which place of the lookaside: any will do",
    ("mmu.c", "key_jumps"): "decoded jumps",
    ("mmu.c", "flush_jumps"): "decoded jumps",
    ("mmu.c", "drop_quick"): "the quick form of what is known: nothing that a program could notice",
    ("mmu.c", "flush_stores"): "dirty pages, for the caller",
    ("mmu.c", "install"): "the quick form of what is known",
    ("mmu.c", "misaligned_hit"): "the quick form of what is known",
    ("mmu.c", "quick_entries"): "the quick form of what is known",
    ("mmu.c", "flush_array"): "the quick form of what is known",
    ("mmu.c", "compare_and_swap_pair"): "an unprivileged instruction: tests/emulator/test_hart_extensions",
    ("system.c", "record"): "the ring of events, for display",
}

_COUNTED = "statistics and the ring of events, for display"
_SHOWN = "the record of a walk, for display"

LINES: dict[tuple[str, str], str] = {
    # (function, beginning of the line): why
    ("take_trap", "h->traps["): _COUNTED,
    ("take_trap", "record("): _COUNTED,
    ("take_trap", "const u32 prv = h->prv, v = h->v, from"): _COUNTED,
    ("returned", "const u32 from"): _COUNTED,
    ("returned", "record("): _COUNTED,
    ("do_wfi", "record("): _COUNTED,
    ("fence_event", "const u32 mode"): _COUNTED,
    ("fence_event", "record("): _COUNTED,
    ("finish_write", "const u32 mode"): _COUNTED,
    ("finish_write", "record("): _COUNTED,
    ("enter_mode", "const u64 now"): _COUNTED,
    ("enter_mode", "c->h.retired["): _COUNTED,
    ("enter_mode", "c->mode_mark"): _COUNTED,
    ("pte_host", "} else if (!k->probe) {"): _COUNTED,
    ("pte_host", "c->h.walk_reads++"): _COUNTED,
    ("pte_host", "if (!k->probe) mark_written"): "dirty pages, and looks of the monitor",
    ("resolve", "c->h.misses["): _COUNTED,
    ("resolve", "if (k->access == ACCESS_FETCH && t->tag) flush_jumps"): "decoded jumps",
    ("resolve", "quick_entries("): "the quick form of what is known",
    ("read_pte", "s->"): _SHOWN,
    ("mark_pte", "s->"): _SHOWN,
    ("gstage", "s->"): _SHOWN,
    ("gstage", "walk_step *s = step("): _SHOWN,
    ("first_stage", "s->"): _SHOWN,
    ("first_stage", "walk_step *s = step("): _SHOWN,
    ("first_stage", "step(k, 0, levels - 1"): _SHOWN,
    ("measure", "if (bits < k->bits)"): _SHOWN,
    ("translate", "k->bits = 63"): _SHOWN,
    ("context_tag", "u64 hash"): "where in the table of contexts: any place will do",
    ("context_tag", "for (u32 probe"): "where in the table of contexts: any place will do",
    ("context_tag", "if (!number) continue"): "where in the table of contexts: any place will do",
    ("hart_context_changed", "key_jumps(c)"): "decoded jumps",
    ("flush_address", "flush_jumps(c)"): "decoded jumps",
    ("trap", "c->h.trap_"): "the caller's way out of endless traps",
    ("trap", "if (c->h.trap_run"): "the caller's way out of endless traps",
    ("trap", "if (c->h.host_modes"): "traps that the caller plays: tests/emulator/test_vmm",
    ("trap", "out->"): "traps that the caller plays: tests/emulator/test_vmm",
    ("trap", "leave("): "traps that the caller plays: tests/emulator/test_vmm",
    ("trap", "--*budget"): "the caller's budget",
    ("trap", "const u64 now"): "the caller's way out of endless traps",
    ("take_turn", "if (UNLIKELY(m->stop)"): "stops from outside",
    ("take_turn", "m->stop = 0"): "stops from outside",
    ("take_turn", "leave("): "exits to the caller",
    ("take_turn", "out->"): "exits to the caller",
    ("take_turn", "c->at_break"): "breakpoints",
    ("take_turn", "if (UNLIKELY(c->watch_hit))"): "watchpoints",
    ("take_turn", "c->watch_hit"): "watchpoints",
    ("take_turn", "if (slice > CHUNK)"): "how often stops are looked for",
}

EQUIVALENT: dict[tuple[str, str, str], str] = {}


def every() -> Iterator[AnyMutant]:
    for file in FILES:
        for mutant in Source(HART / file).mutants():
            if file == "machine.c" and mutant.function not in MACHINE:
                continue
            if (file, mutant.function) in NOT_MUTATED or skipped(mutant):
                continue
            yield mutant
    yield from table.mutants()


def skipped(mutant: Mutant) -> bool:
    return any(mutant.function == function and mutant.before.startswith(head) for function, head in LINES)


def stale(mutants: list[AnyMutant]) -> list[str]:
    """Entries of the lists that match nothing: what they explain has changed."""
    found = {(mutant.file, mutant.function, mutant.change) for mutant in mutants}
    lost = [str(key) for key in EQUIVALENT if key not in found]
    functions, lines = set(), []
    for file in FILES:
        source = Source(HART / file)
        functions |= {(file, name) for name, _, _ in source.functions}
        lines += [(name, source.text[source.tokens[a].start : source.tokens[b].end]) for name, a, b in source.functions]
    lost += [str(key) for key in NOT_MUTATED if key not in functions]
    for function, head in LINES:
        if not any(name == function and head in " ".join(text.split()) for name, text in lines):
            lost.append(f"{function}: {head}")
    return lost
