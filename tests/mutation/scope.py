"""What is mutated, and what is not: each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from . import table
from .source import HART, Mutant, Source
from .table import TableMutant

AnyMutant = Mutant | TableMutant

FILES = ("mmu.c", "csr.c", "system.c", "counters.c", "machine.c")

MACHINE = ("describe_instruction", "trap", "take_turn", "sleep_until", "hart_time", "hart_clock_at_time")
"""Of machine.c only what takes traps and interrupts."""

_LACKING = "what is switched off: tests/emulator/test_isa_selection; here everything is on"
_EVENT = "the manual leaves events to the platform: tests/emulator/test_counters"

NOT_MUTATED: dict[tuple[str, str], str] = {
    # (file, function): why nothing that it does is architectural
    ("mmu.c", "hart_walk"): "the walk as the monitor shows it; programs never see it",
    **{
        ("mmu.c", name): "the walk as the monitor shows it: tests/emulator/test_verdict"
        for name in ("hart_look", "asked_world", "refusal", "why_refused", "hart_trap_csrs")
    },
    ("mmu.c", "step"): "the record of a walk, for display",
    ("mmu.c", "check_watch"): "watchpoints belong to the debugger",
    ("mmu.c", "find_guest_physical"): "watchpoints belong to the debugger",
    ("mmu.c", "overlaps"): "watchpoints belong to the debugger",
    ("mmu.c", "roams_here"): "watchpoints belong to the debugger",
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
    ("mmu.c", "load_reserved"): "an unprivileged instruction: tests/emulator/test_hart_integer",
    ("mmu.c", "store_conditional"): "an unprivileged instruction: tests/emulator/test_hart_integer",
    ("mmu.c", "compare_and_swap_pair"): "an unprivileged instruction: tests/emulator/test_hart_extensions",
    ("csr.c", "hart_csr_read"): "access from outside: programs go through csr_read",
    ("csr.c", "hart_csr_write"): "access from outside: programs go through csr_write",
    ("csr.c", "place_of"): _LACKING,
    ("csr.c", "implemented"): _LACKING,
    ("csr.c", "csr_fit"): "how a machine is made: tests/emulator/test_guest_interrupts",
    ("counters.c", "count_trap"): _EVENT,
    ("system.c", "looked_for"): "what a debugger looks for: tests/emulator/test_stops",
    ("system.c", "record"): "the ring of events, for display",
    ("system.c", "record_here"): "the ring of events, for display",
    ("system.c", "settle"): "instructions by mode and guest, for display",
    ("system.c", "trap_begins"): "the log of traps, for display: tests/emulator/test_traps",
    ("system.c", "trap_ended"): "the log of traps, for display: tests/emulator/test_traps",
    ("system.c", "move_of"): "changes of mode, for display: tests/emulator/test_traps",
    ("csr.c", "hart_interrupts"): "interrupts as the monitor explains them: tests/emulator/test_interrupts",
}

_COUNTED = "statistics and the ring of events, for display"
_KEPT = "watchpoints, decoded code, dirty pages: the caller's bookkeeping, tests/emulator/test_hart_engine"
_SHOWN = "the record of a walk, for display"
_LOOKED = "what a debugger looks for: tests/emulator/test_stops"

_ANEW = "the run sets the clock anew behind its instructions"
_TURNS = "whose turn it is of several harts, and how one alone sleeps: tests/emulator/test_machine"
_FENCED = "software must fence behind a change of ADUE or PBMTE; here it need not"
_MORE = "more counters are looked at than need be, which changes nothing of them"

LINES: dict[tuple[str, str], str] = {
    # (function, beginning of the line): why
    ("take_trap", "h->traps["): _COUNTED,
    ("take_trap", "record("): _COUNTED,
    ("take_trap", "hart_trap *noted"): _COUNTED,
    ("take_trap", "h->moves["): _COUNTED,
    ("take_trap", "trap_ended("): _COUNTED,
    ("returned", "c->h.moves["): _COUNTED,
    ("take_trap", "const u32 prv = h->prv, v = h->v, from"): _COUNTED,
    ("returned", "const u32 from"): _COUNTED,
    ("returned", "record("): _COUNTED,
    ("returned", "const u64 pc"): _LOOKED,
    ("returned", "if (looking("): _LOOKED,
    ("take_trap", "history_note("): _COUNTED,
    ("returned", "history_note("): _COUNTED,
    ("do_wfi", "record_here("): _COUNTED,
    ("fence_event", "record_here("): _COUNTED,
    ("finish_write", "const u64 hgatp"): _EVENT,
    ("finish_write", "if (hgatp"): _EVENT,
    ("finish_write", "count("): _EVENT,
    ("fence_event", "return count("): _EVENT,
    ("do_wfi", "count("): _EVENT,
    ("returned", "count("): _EVENT,
    ("take_trap", "count_trap("): _EVENT,
    ("finish_write", "record_here("): _COUNTED,
    ("finish_write", "const bool told"): _LOOKED,
    ("finish_write", "const u64 old"): _LOOKED,
    ("finish_write", "if (told)"): _LOOKED,
    ("finish_write", "if (UNLIKELY(c->m->looking)"): _LOOKED,
    ("do_csr_write", "if (looking("): _LOOKED,
    ("modify_csr", "if (looking("): _LOOKED,
    ("modify_csr", "if (UNLIKELY(c->m->looking)"): _LOOKED,
    ("enter_mode", "const u64 now"): _COUNTED,
    ("enter_mode", "settle("): _COUNTED,
    ("enter_mode", "if (v && !c->h.v) guest_entered("): _COUNTED,
    ("take_trap", "const bool left"): _COUNTED,
    ("take_trap", "if (left)"): _COUNTED,
    ("sleep_until", "history_sleep("): _COUNTED,
    ("pmp_refresh", "c->pmp_count = 0;"): "entries that are off match nothing: more of them do no harm",
    ("pte_host", "} else if (!k->probe) {"): _COUNTED,
    ("pte_host", "c->h.walk_reads++"): _COUNTED,
    ("pte_host", "if (!k->probe) mark_written"): "dirty pages, and looks of the monitor",
    ("resolve", "c->h.misses["): _COUNTED,
    ("resolve", "if (k->access == ACCESS_FETCH && t->tag) flush_jumps"): "decoded jumps",
    ("resolve", "quick_entries("): "the quick form of what is known",
    ("ram", "u8 *flags"): _KEPT,
    ("ram", "const bool store"): _KEPT,
    ("ram", "u8 *host"): _KEPT,
    ("ram", "const u32 kinds"): _LOOKED,
    ("ram", "if (check_watch("): _LOOKED,
    ("ram", "const bool plain"): _KEPT,
    ("atomic_host", "k.both"): _LOOKED,
    ("ram", "if (store"): _KEPT,
    ("ram", "access_fault(k)"): "all memory is writable so far",
    ("ram", "trapped(c, k)"): "all memory is writable so far",
    ("ram", "return NULL"): _KEPT,
    ("ram", "if (*flags & PAGE_WATCHED"): _KEPT,
    ("ram", "if (!c->single && hits_code"): _KEPT,
    ("ram", "c->redo"): _KEPT,
    ("ram", "c->status = REDO"): _KEPT,
    ("ram", "mark_written("): _KEPT,
    ("ram", "if (cache && "): "the quick form of what is known: tests/emulator/test_hart_engine",
    ("ram", "const u8 *page"): "the quick form of what is known",
    ("ram", "install("): "the quick form of what is known",
    ("device_access", "c->mmio_value = store"): "what a caller sees beside a read",
    ("reserved_leaf", "if (pte & PTE_N && !has("): _LACKING,
    ("overflow", "if (!has("): _LACKING,
    ("read_pte", "s->"): _SHOWN,
    ("mark_pte", "s->"): _SHOWN,
    ("gstage", "s->"): _SHOWN,
    ("gstage", "result = missing & PTE_A"): _SHOWN,
    ("gstage", "if (leaf_bits(pte, level) < k->bits)"): _SHOWN,
    ("gstage", "walk_step *s = step("): _SHOWN,
    ("first_stage", "s->"): _SHOWN,
    ("first_stage", "walk_step *s = step("): _SHOWN,
    ("first_stage", "step(k, 0, levels - 1"): _SHOWN,
    ("translate", "k->bits = 63"): _SHOWN,
    ("csr_write", "h->clock -= 1"): _ANEW,
    ("enter_mode", "c->h.clock -= retired"): _ANEW,
    ("csr_after_mseccfg", "hart_context_changed("): "new PMP forgets all that was known already",
    ("translate", "k->span = 12"): "what Bare translates, no fence for an address is about",
    ("counters_changed", "c->filtered = c->counting = 0"): _MORE,
    ("find_context", "u64 hash"): "where in the table of contexts: any place will do",
    ("find_context", "want.flags |= (u32)(c->h.csr.menvcfg"): _FENCED,
    ("find_context", "want.flags |= (u32)(c->h.csr.henvcfg"): _FENCED,
    ("find_context", "const u32 number"): "where in the table of contexts: any place will do",
    ("find_context", "for (u32 probe"): "where in the table of contexts: any place will do",
    ("find_context", "if (!number) continue"): "where in the table of contexts: any place will do",
    ("hart_context_changed", "key_jumps(c)"): "decoded jumps",
    ("hart_context_changed", "c->fetch_tag = context_tag"): "is asked for twice, in case the table began anew",
    ("fence", "flush_jumps(c)"): "decoded jumps",
    ("trap", "c->h.trap_"): "the caller's way out of endless traps",
    ("trap", "if (c->h.trap_run"): "the caller's way out of endless traps",
    ("trap", "const u32 from"): _LOOKED,
    ("trap", "if (looking("): _LOOKED,
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
    ("take_turn", "if (seen("): _LOOKED,
    ("take_turn", "if (slice > CHUNK)"): "how often stops are looked for",
    ("take_turn", "if (h->clock >= end)"): _TURNS,
    ("take_turn", "if (alarm >= end)"): _TURNS,
    ("take_turn", "c->redo = false"): _KEPT,
    ("take_turn", "c->single = false"): _KEPT,
    ("take_turn", "block *b = alone"): "a block is cut to the slice, however it is found",
    ("trap", "return true"): "traps that the caller plays: tests/emulator/test_vmm",
}

_TRUE = "V, and a wait, are 0 or not 0"
_REFILLED = "describe_instruction puts the instruction there"
_SLOWER = "LEAVE for OK: interrupts are looked for where none can be"
_SHIFT = "numbers of these CSRs are multiples of 64 and the counter, and the host shifts modulo 64"
_NOBODY = "context number 0 is nobody's, and no translation has a tag of it"
_WRITES = "1 for 2: the status is looked at on every write"
_OFF = "more entries, that are off and match nothing"
_CUT = "says cut of a page that is not, which is slower, or looks at entries that do not touch it"
_WHOLE = "memory is whole pages, and no access goes beyond its own"
_WRITABLE = "all memory is writable so far; the rest of it is statistics, and dirty pages for the caller"
_MODES = "modes are 0, 8, 9 and 10"
_QUICK = "without the quick form it is slower"
_NEGATIVE = "whoever asks looks for a negative number"
_TWELVE = "CSR numbers have 12 bits"
_FLOAT = "with FS off there is no access"
_SOONER = "the hart looks for interrupts sooner, or more often, than need be"
_NOT_ACCESS = "of instructions that do not access memory nothing is kept, and those that were not fetched are 0"
_FAR = "no clock comes so far"
_REFUSED = "ram refuses what no memory answers as well"
_LATER = "asked for times to come alone"
_LOW = "the low bits are the same"
_READ = "what was executed can be read"
_APART = "tells more contexts apart than need be"

EQUIVALENT: dict[tuple[str, str, str], str] = {
    # (file, function, what the change has): why no program can tell. * stands for every function.
    ("csr_table.c", "medeleg", "INSTRUCTION_MISALIGNED: read-only"): _LACKING,
    ("csr_table.c", "hedeleg", "INSTRUCTION_MISALIGNED: read-only"): _LACKING,
    ("mmu.c", "pmp_refresh", "pmp_count = i + 2"): "one more entry, that is off",
    ("mmu.c", "pmp_refresh", "low = 1, high = 1"): "nothing lies at address 1",
    ("mmu.c", "hart_context_changed", "( guest == MSTATUS_FS)"): _WRITES,
    ("mmu.c", "hart_context_changed", "mine == MSTATUS_FS && (!h->v )"): _WRITES,
    ("mmu.c", "hart_context_changed", "(0 && (mine == MSTATUS_FS"): _WRITES,
    ("mmu.c", "hart_context_changed", "? 3 : 1"): _WRITES,
    ("mmu.c", "pmp_entry", "i <= c->pmp_count"): _OFF,
    ("mmu.c", "pmp_uniform", "i <= c->pmp_count"): _OFF,
    ("mmu.c", "pmp_uniform", "u32 i = 0; ; i++"): _CUT,
    ("mmu.c", "pmp_uniform", "if (0 && ("): _CUT,
    ("mmu.c", "pmp_uniform", "if ( c->pmp[i].high < page) continue"): _CUT,
    ("mmu.c", "pmp_uniform", "if (c->pmp[i].low > page + 4095 ) continue"): _CUT,
    ("mmu.c", "pmp_uniform", "return 0 && ("): _CUT,
    ("mmu.c", "pmp_uniform", "return c->pmp[i].low < page &&"): _CUT,
    ("mmu.c", "pmp_uniform", "return false;"): _CUT,
    ("mmu.c", "pmp_uniform", "high > page + 4095"): _CUT,
    ("mmu.c", "pmp_uniform", "high >= page + 0xffe"): "entries begin and end at multiples of 4",
    ("mmu.c", "pte_host", "access, PRV_U)) return NULL"): "PMP knows M-mode and the others",
    ("mmu.c", "pte_host", "(access == ACCESS_STORE)) {"): _WRITABLE,
    ("mmu.c", "pte_host", "if (access != ACCESS_STORE) {"): _WRITABLE,
    ("mmu.c", "pte_host", "if (access == ACCESS_LOAD) {"): _WRITABLE,
    ("mmu.c", "pte_host", "if (0 && (!r->writable))"): _WRITABLE,
    ("mmu.c", "read_pte", "memcpy(pte, host, 9)"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("mmu.c", "mark_pte", "if (1 || (!k->probe))"): "looks of the monitor: tests/emulator/test_hart_translation",
    ("mmu.c", "missing_bits", "PTE_D : 1)) & ~pte"): "a leaf has V",
    ("mmu.c", "access_page", "u64 value = 1;"): "loads put all of it there, stores what counts",
    ("mmu.c", "access_page", "if (1 || (k->access == ACCESS_STORE)) memcpy(&value"): "loads put all of it there",
    ("mmu.c", "access_page", "memcpy(data, &value, size)"): "what a store gets back, or what failed, does not count",
    ("mmu.c", "access_memory", "if (0 && (!answering(&k"): _REFUSED,
    ("mmu.c", "access_memory", "tag == 0)"): _NOBODY,
    ("mmu.c", "access_memory", "tag != 1)"): _NOBODY,
    ("mmu.c", "access_memory", "answering(&second, size + room)"): _WHOLE,
    ("mmu.c", "access_memory", "ram(&k, room, true)"): "a quick form more",
    ("mmu.c", "access_memory", "ram(&second, size - room, true)"): "a quick form more",
    ("mmu.c", "access_memory", "(1 || (a)) ?"): _KEPT,
    ("mmu.c", "access_memory", "if (0 && (!b)) return"): _KEPT,
    ("mmu.c", "access_memory", "if (!b) return 0 &&"): _KEPT,
    ("mmu.c", "access_memory", "ram(&second, size + room"): _KEPT,
    ("mmu.c", "slow_load", "u64 value = 1;"): "loads put all of it there",
    ("mmu.c", "slow_load", "if (0 && (host))"): _QUICK,
    ("mmu.c", "slow_store", "if (0 && (host))"): _QUICK,
    ("mmu.c", "atomic_host", "c->store_tag : c->load_tag"): "both tags are one",
    ("mmu.c", "atomic_host", "ram(&k, size, false)"): _QUICK,
    ("mmu.c", "*", "EXCEPTION_VIRTUAL_INSTRUCTION, 1)"): _REFILLED,
    ("mmu.c", "manage_block", "find_region(c->m, k.physical, 2)"): _WHOLE,
    ("mmu.c", "cbo_zero", "c->store_tag, ~(u64)(CACHE_BLOCK - 1)"): _QUICK,
    ("mmu.c", "cbo_zero", "if (1 || (!host))"): _QUICK,
    ("mmu.c", "cbo_zero", "ram(&k, CACHE_BLOCK, false)"): _QUICK,
    ("mmu.c", "cbo_zero", "if (0 && (!host)) return c->status"): _KEPT,
    ("mmu.c", "cbo_zero", "return 0 && (c->status);"): _KEPT,
    ("mmu.c", "guest_tag", "(!*tag)) *tag = find"): "HLV walks every time, or asks every time",
    ("mmu.c", "guest_tag", "if (*tag) *tag = find"): "HLV walks every time",
    ("mmu.c", "guest_load", "*out = 1;"): "a load puts all of it there",
    ("mmu.c", "guest_load_execute", "*out = 1;"): "a load puts all of it there",
    ("mmu.c", "is_known", "slot_of(k->given)"): _LOW,
    ("mmu.c", "is_known", "(k->given & 4095)"): _LOW,
    ("mmu.c", "is_known", "((k->given & PAGE_MASK) | tag)"): "tagged pointers are walked anew, as they always may",
    ("mmu.c", "resolve", "slot_of(k->given)"): _LOW,
    ("mmu.c", "resolve", "(k->physical ) | k->span"): "a fence may always do more",
    ("mmu.c", "fetch_page", "find_region(c->m, k.physical, 3)"): _WHOLE,
    ("mmu.c", "fetch_page", "if (1 || (r->hidden || !pmp_uniform"): _CUT,
    ("mmu.c", "fetch_page", ".tag = ( PAGE_MASK)"): "fetches of the page are slow, for want of a quick form",
    ("mmu.c", "fetch_page", ".tag = (address & PAGE_MASK) ,"): "fetches of the page are slow, for want of a quick form",
    ("mmu.c", "peek_parcel", "return -2"): _READ,
    ("mmu.c", "peek_parcel", "if (0 && (!r))"): _READ,
    ("mmu.c", "peek_parcel", "find_region(c->m, k.physical, 3)"): _WHOLE,
    ("mmu.c", "peek_parcel", "(k.physical - r->base), 3)"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("mmu.c", "instruction_bits", "low <= 0"): "0 has 16 bits",
    ("mmu.c", "instruction_bits", "low < 1"): "0 has 16 bits",
    ("mmu.c", "instruction_bits", "if ( (low & 3) != 3)"): _READ,
    ("mmu.c", "instruction_bits", "return low < 0 ? 1"): _READ,
    ("mmu.c", "instruction_bits", "return (0 && (low < 0)) ?"): _READ,
    ("mmu.c", "instruction_bits", "high <= 0"): "0 shifted is 0",
    ("mmu.c", "instruction_bits", "high < 1"): "0 shifted is 0",
    ("mmu.c", "instruction_bits", "high < 0 ? 1"): _READ,
    ("mmu.c", "instruction_bits", "((0 && (high < 0)) ?"): _READ,
    ("mmu.c", "is_device", "i <= m->devices"): "one more, of size 0",
    ("mmu.c", "device_access", "k->guest_physical & (size - 1)"): _LOW,
    ("mmu.c", "answering", "(r->writable ) ? r"): "the device gives what the array has, but slowly",
    ("mmu.c", "device_access", "if (1 || (!store)) *value"): "what a store gets back does not count",
    ("mmu.c", "gstage_levels", "return mode >= 8 ?"): _MODES,
    ("mmu.c", "gstage_levels", "mode <= 11"): _MODES,
    ("mmu.c", "first_stage", "|| mode < 8 ) {"): _MODES,
    ("mmu.c", "first_stage", "mode > 11"): _MODES,
    ("mmu.c", "first_stage", "missing & 0 ? WALK_ACC"): _SHOWN,
    ("mmu.c", "first_stage", "(0 && (missing & PTE_A)) ? WALK_ACC"): _SHOWN,
    ("mmu.c", "first_stage", "(1 || (missing & PTE_A)) ? WALK_ACC"): _SHOWN,
    ("mmu.c", "first_stage", "result = missing ? WALK_ACC"): _SHOWN,
    ("mmu.c", "first_stage", "result = PTE_A ? WALK_ACC"): _SHOWN,
    ("mmu.c", "first_stage", "if ( missing && !update)"): "for which of its faults an entry faults is for display",
    ("mmu.c", "first_stage", "leaf_address(pte, level, k->given)"): _LOW,
    ("mmu.c", "gstage", "if ( missing && !(c->h.csr.menvcfg"): "for which of its faults an entry faults is for display",
    ("mmu.c", "find_region", "< r->size ) return r"): _WHOLE,
    ("mmu.c", "find_region", "r->size + (address"): _WHOLE,
    ("mmu.c", "find_region", "(address + r->base)"): _WHOLE,
    ("mmu.c", "find_region", "address - r->base <= r->size"): "at the end there is no room for an access",
    ("mmu.c", "reserved_leaf", "PTE_N && ( (PTE_PPN(pte) & 15) != 8)"): "a superpage of such a number is misaligned",
    ("mmu.c", "find_region", "i <= m->regions"): "one more, of size 0",
    ("mmu.c", "pmp_uniform", "low >= page + 4095"): "entries begin and end at multiples of 4",
    ("mmu.c", "pmp_uniform", "low > page + 0xffe"): "entries begin and end at multiples of 4",
    ("mmu.c", "pmp_uniform", "high <= page"): "entries begin and end at multiples of 4",
    ("mmu.c", "pmp_refresh", "low = 2, high = 0"): "nothing lies at address 2",
    ("mmu.c", "pmp_refresh", "h->csr.pmpaddr[i - 1] : 1"): "nothing lies at address 0",
    ("mmu.c", "pmp_refresh", "if (1 || (cfg >> 3 & 3))"): _OFF,
    ("mmu.c", "pmp_refresh", "if (cfg >> 3 )"): _OFF,
    ("mmu.c", "pmp_refresh", "if ( 3)"): _OFF,
    ("mmu.c", "walk_of", "if ( access != ACCESS_FETCH)"): "nothing is shifted by 0 bits",
    ("mmu.c", "walk_of", "pmlen[] = {1,"): "an address that is not masked does not come here",
    ("mmu.c", "walk_of", "pmlen[] = {0, 1,"): "PMM 1 is reserved, and masks nothing",
    ("mmu.c", "walk_of", "c->h.csr.satp) >> 61"): _MODES,
    ("mmu.c", "flush_translations", "memset(c->h.known, 1,"): _NOBODY,
    ("mmu.c", "fence", "u32 i = 1; i < CONTEXTS"): _NOBODY,
    ("mmu.c", "fence", "i <= CONTEXTS"): "no tag has a number beyond; that it is out of bounds tests/fuzz would find",
    ("mmu.c", "fence", "meant[i] = (t->flags"): "no translation belongs to a context that is not used",
    ("mmu.c", "fence", "if ( !meant[known[i].tag"): _NOBODY,
    ("mmu.c", "fence", "[i].tag = 1;"): _NOBODY,
    ("mmu.c", "find_context", "want = {1}"): "the same in all contexts of M-mode; of others it is written over",
    ("mmu.c", "find_context", "if (1 || (w->prv != PRV_M))"): _APART,
    ("mmu.c", "find_context", "(1 || (w->v)) ? c->h.csr.hgatp"): _APART,
    ("mmu.c", "find_context", "? c->h.csr.hgatp : 1"): "the same in all contexts with V=0",
    ("mmu.c", "find_context", "if (1 || (data)) want.flags |= (u32)w->sum"): _APART,
    ("mmu.c", "find_context", "hlvx << 13"): "where in the flags: any place will do",
    ("mmu.c", "find_context", "want.used = 2"): "used is 0 or not 0",
    ("mmu.c", "find_context", "if (1 || (data)) want.flags |= w->pmm"): _APART,
    ("mmu.c", "fence", "i <= TLB_SIZE"): "drops one more, of the next kind of access",
    ("mmu.c", "guest_world", "((hstatus ) >> HSTATUS_HUPMM_SHIFT)"): "hstatus has nothing above HUPMM",
    ("mmu.c", "guest_world", "w.mxr ? 1 :"): "PMM 1 is reserved, and masks nothing",
    ("mmu.c", "guest_world", "if (hlvx) w.pmm = 1"): "PMM 1 is reserved, and masks nothing",
    ("mmu.c", "masking", "if (mxr) return 1"): "PMM 1 is reserved, and masks nothing",
    ("mmu.c", "masking", "(c->h.csr.senvcfg ) >>"): "senvcfg has nothing above PMM",
    ("mmu.c", "masking", "(c->h.csr.mseccfg ) >>"): "mseccfg has nothing above PMM",
    ("mmu.c", "judge_leaf", "!(execute_reads )"): "a leaf without R has X",
    ("mmu.c", "judge_leaf", "!(execute_reads && PTE_X)"): "a leaf without R has X",
    ("mmu.c", "judge_leaf", "!(execute_reads && pte )"): "a leaf without R has X",
    ("system.c", "*", "EXCEPTION_VIRTUAL_INSTRUCTION, 1)"): _REFILLED,
    ("csr.c", "barred_in_guest", "BIT(number )"): _SHIFT,
    ("csr.c", "barred_by_machine", "BIT(number )"): _SHIFT,
    ("csr.c", "csr_check", "return -2"): _NEGATIVE,
    ("csr.c", "highest", "return -2"): _NEGATIVE,
    ("csr.c", "next_interrupt", "return -2"): _NEGATIVE,
    ("csr.c", "next_interrupt", "if (0 && (!ready))"): "of none, none is taken",
    ("csr.c", "next_interrupt", "i <= sizeof levels"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("csr.c", "next_interrupt", "i = 0; ; i++"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("csr.c", "hart_next_interrupt", "bit <= 0"): "no interrupt has number 0",
    ("csr.c", "hart_next_interrupt", "bit < 1"): "no interrupt has number 0",
    ("csr.c", "hart_next_interrupt", "return (0 && (bit < 0))"): _NEGATIVE,
    ("csr.c", "highest", "i = 0; ; i++"): "it is asked where there is one",
    ("csr.c", "highest", "i <= sizeof priority"): "it is asked where there is one",
    ("machine.c", "describe_instruction", "else if ( 1 && !c->trap.tinst)"): _NOT_ACCESS,
    ("machine.c", "describe_instruction", "else if (ACCESSES >> cause && !c->trap.tinst)"): _NOT_ACCESS,
    ("machine.c", "describe_instruction", "else if ( !c->trap.tinst)"): _NOT_ACCESS,
    ("machine.c", "take_turn", "interrupt > 0"): "no interrupt has number 0",
    ("machine.c", "take_turn", "interrupt >= 1"): "no interrupt has number 0",
    ("machine.c", "take_turn", "if (b ) b = scratch"): "a block of its own for each run is slower, and nothing else",
    ("machine.c", "take_turn", "b->n >= slice"): "a block of its own for each run is slower, and nothing else",
    ("machine.c", "take_turn", "if (1 || (b && b->n"): "a block of its own for each run is slower, and nothing else",
    ("machine.c", "take_turn", "if (1 || (UNLIKELY(c->armed)))"): "of none, none overflows",
    ("machine.c", "take_turn", "if (1 || (alarm - h->clock < slice)"): "other limits follow; and how long a turn is",
    ("machine.c", "sleep_until", "if (0 && (clock <="): "there is nothing to sleep",
    ("machine.c", "sleep_until", "if (clock < c->h.clock)"): "there is nothing to sleep",
    ("machine.c", "sleep_until", "if (1 || (UNLIKELY(c->armed)))"): "of none, none overflows",
    ("csr_table.c", "mideleg", "SGEI: missing"): "csr_fit gives it to harts that have guest external interrupts",
    **{
        ("csr_table.c", "mip", change): "csr_write_mip and pending say what each bit is"
        for change in ("VSSIP: read-only", "VSTIP: missing", "VSEIP: missing", "SGEIP: missing", "LCOFIP: read-only")
    },
    **{
        ("csr_table.c", name, f"{bit}: writable"): "a view: csr_write_mip has the last word"
        for name, bits in (("hip", ("VSTIP", "VSEIP", "SGEIP")), ("vsip", ("STIP", "SEIP")))
        for bit in bits
    },
    **{
        ("csr_table.c", "mseccfg", f"{bit}: read-only"): "csr_write_mseccfg says what can be written"
        for bit in ("MML", "MMWP", "RLB", "PMM")
    },
    **{
        ("csr_table.c", name, f"{bit}: read-only"): "the register's own write function says what can be written"
        for name in ("mcyclecfg", "minstretcfg", "mhpmevent3", "mhpmevent15", "mhpmevent31")
        for bit in ("MINH", "SINH", "UINH", "VSINH", "VUINH", *["OF"] * name.startswith("mhpm"))
    },
    **{
        ("csr_table.c", f"hpmcounter{n}", "COUNT: missing"): "a view: mhpmcounter has the last word"
        for n in (3, 15, 31)
    },
    **{
        ("csr_table.c", "hstateen0", f"{bit}: writable"): "mstateen0, which gates it, has it not"
        for bit in ("C", "FCSR", "JVT", "CTR", "CONTEXT", "IMSIC", "AIA", "CSRIND")
    },
    ("csr_table.c", "stimecmp", "other value at reset"): "what it holds at reset is not specified",
    ("csr_table.c", "vstimecmp", "other value at reset"): "what it holds at reset is not specified",
    ("csr_table.c", "hstatus", "no after"): "HLV asks for what it goes by, SPVP and HUPMM, each time",
    ("csr_table.c", "henvcfg", "DTE: writable"): "menvcfg, which gates it, has it not",
    ("csr_table.c", "marchid", "value 1"): "it names the implementation",
    ("csr_table.c", "mimpid", "value 1"): "it names the implementation",
    ("csr_table.c", "sstatus", ": writable"): "a view: mstatus has the last word",
    ("machine.c", "hart_clock_at_time", "if (base >= last ||"): _FAR,
    ("machine.c", "hart_clock_at_time", "if (base > last )"): _FAR,
    ("machine.c", "hart_clock_at_time", "ticks > last + base)"): _FAR,
    ("machine.c", "hart_clock_at_time", "if ( ticks > last - base)"): _FAR,
    ("machine.c", "hart_clock_at_time", "ticks >= last - base"): _FAR,
    ("machine.c", "hart_clock_at_time", "if (0 && (time <= now))"): _LATER,
    ("machine.c", "hart_clock_at_time", "if (time < now)"): _LATER,
    ("machine.c", "hart_clock_at_time", "return 0 && (h->clock)"): _LATER,
    ("csr.c", "guest_external", "return h->guest_lines ;"): "a wire that the hart has not is refused before",
    ("csr.c", "entry_of", "csr_index[number ]"): _TWELVE,
    ("system.c", "do_csr_write", "number = (u32)csr ;"): _TWELVE,
    ("system.c", "modify_csr", "number = (u32)csr ;"): _TWELVE,
    ("system.c", "do_csr_write", "if (1 || (rd != 32))"): "reads have no side effects; 32 takes what x0 is given",
    ("system.c", "do_csr_write", "if (rd != 33)"): "reads have no side effects; 32 takes what x0 is given",
    ("system.c", "finish_write", "return (0 && (is_quiet(number)))"): _SLOWER,
    ("system.c", "vmid_of", "(h->csr.hgatp ) >>"): "only bits of VMID are compared",
    ("system.c", "*", "return 0 && (fence_event("): _EVENT,
    ("csr.c", "next_timer", "if (0 && (!(enabled &"): "of none, none comes",
    ("csr.c", "next_timer", "if (!( (MIP_MTIP"): "of none, none comes",
    ("csr.c", "next_timer", "if (!(enabled ))"): "of none, none comes",
    ("csr.c", "next_timer", "ahead < next - time"): "it is the same time",
    ("csr.c", "next_timer", "stimecmp < next)"): "it is the same time",
    ("csr.c", "next_timer", "if ( MIP_MTIP &&"): _SOONER,
    ("csr.c", "next_timer", "if (enabled && time < h->mtimecmp)"): _SOONER,
    ("csr.c", "next_timer", "if ( time < h->mtimecmp)"): _SOONER,
    ("csr.c", "csr_read", ": ~UINT64_C(1))"): "bit 0 of scountovf is 0",
    ("csr.c", "csr_after_mstateen", "i <= 4"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("csr.c", "csr_after_mstateen", "i < 5"): "out of bounds: the sanitizers of tests/fuzz find it",
    ("csr.c", "csr_after_fcsr", "if (1 || (h->csr.mstatus & MSTATUS_FS))"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if ( MSTATUS_FS)"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if (h->csr.mstatus )"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if (h->v )"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if (h->v && h->csr.mstatus & VSSTATUS_FS)"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if (h->v && h->csr.vsstatus )"): _FLOAT,
    ("csr.c", "csr_after_fcsr", "if (h->v && VSSTATUS_FS)"): _FLOAT,
    ("csr.c", "sources_of", ".wired = h->lines ,"): "wires have no other bits",
    ("csr.c", "sources_of", ".injected = h->csr.hvip ,"): "hvip has no other bits",
    ("csr.c", "csr_modify_mip", "(h->csr.hvip )"): "hvip has no other bits",
    ("csr.c", "sources_of", "if (1 || (guests))"): "without guest lines nothing is added",
    ("csr.c", "sources_of", "((h->csr.hstatus ) >> HSTATUS_VGEIN_SHIFT)"): _SHIFT,
    ("csr.c", "sources_of", "if (1 || (wanted &"): "more is computed than is asked for",
    ("csr.c", "sources_of", "if ( (MIP_MTIP"): "more is computed than is asked for",
    ("csr.c", "sources_of", "if (wanted )"): "more is computed than is asked for",
    ("csr.c", "hart_mip", "~UINT64_C(1)"): "bit 0 of mip is 0",
    ("csr.c", "csr_check", "BIT(number )"): _SHIFT,
    ("counters.c", "count_event", "overflowed = true;"): _SLOWER,
    ("counters.c", "will_overflow", "i >= FIRST_COUNTER && !(event & OVERFLOWED)"): _SOONER,
    ("counters.c", "counters_changed", "( EVENT_MASK) != COUNT_NONE"): _MORE,
    ("counters.c", "counters_changed", "(event ) != COUNT_NONE"): _MORE,
    ("counters.c", "counters_changed", "if (1 || (event & INHIBIT_MASK))"): _MORE,
    ("counters.c", "counters_changed", "if ( INHIBIT_MASK)"): _MORE,
    ("counters.c", "counters_changed", "if (event )"): _MORE,
    ("counters.c", "csr_write_counter_setup", ": *event & 0;"): "for a reserved event any legal one may stand",
    ("system.c", "raise_illegal", "EXCEPTION_ILLEGAL_INSTRUCTION, 1)"): _REFILLED,
    ("system.c", "access_csr", "(u64)*refused, 1)"): _REFILLED,
    ("system.c", "access_csr", "*refused <= 0"): "csr_check gives -1, 2 or 22",
    ("system.c", "access_csr", "*refused < 1"): "csr_check gives -1, 2 or 22",
    ("system.c", "enter_mode", "1 || (UNLIKELY(c->filtered))"): "without filtered counters both do nothing",
    ("system.c", "vector", "4 * (cause )"): "4 times bit 63 is 0",
    ("system.c", "take_trap", "enter_mode(c, PRV_S, 2, 0)"): _TRUE,
    ("system.c", "do_sret", "returned(c, prv, 2,"): _TRUE,
    ("system.c", "do_sret", "HSTATUS_SPV ? 2 : 0"): _TRUE,
    ("system.c", "do_wfi", "waiting = 2"): _TRUE,
    ("system.c", "do_wfi", "0 && (hart_wfi_wakes("): "a hart that waits looks for what wakes it before all else",
    ("system.c", "do_wfi", "wakes(&c->h)) return OK"): "what is pending here could not be taken before WFI either",
    ("system.c", "is_quiet", "return ( 0x0fc)"): _SLOWER,
    ("system.c", "is_quiet", "(number ) == 0x040"): _SLOWER,
    ("system.c", "is_quiet", "(number & 0x7e)"): _SLOWER,
    ("system.c", "is_quiet", "return number <= CSR_FCSR ||"): _SLOWER,
    ("system.c", "is_quiet", "== 0x20"): _SLOWER,
    ("system.c", "is_quiet", "number < CSR_FCSR"): _SLOWER,
    ("system.c", "is_quiet", "== 0x040 || number == CSR_SATP"): _SLOWER,
    ("system.c", "is_quiet", "number <= CSR_FCSR ;"): _SLOWER,
}


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


def explained(mutant: AnyMutant) -> str | None:
    """Why no program can tell this mutant from the hart."""
    return next((reason for key, reason in EQUIVALENT.items() if _means(key, mutant)), None)


def _means(key: tuple[str, str, str], mutant: AnyMutant) -> bool:
    file, function, words = key
    return mutant.file == file and function in (mutant.function, "*") and words in mutant.change


def stale(mutants: list[AnyMutant]) -> list[str]:
    """Entries of the lists that match nothing: what they explain has changed."""
    lost = [str(key) for key in EQUIVALENT if not any(_means(key, mutant) for mutant in mutants)]
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
