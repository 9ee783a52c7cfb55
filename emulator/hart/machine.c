/* The machine: memory regions, harts in turn, and the loop that takes interrupts and traps between runs of code. */

#include <stdlib.h>

#include "internal.h"

/* Between looks at the stop request. */
enum { CHUNK = 100000, QUANTUM = 1000, TRAP_RUN = 1000 };

const char *native_compiler(void) {
#if defined(__clang__)
    return __VERSION__;
#elif defined(__GNUC__)
    return "GCC " __VERSION__;
#else
    return "an unnamed C compiler";
#endif
}

/* --- making and describing ---------------------------------------------------------------------------------------- */

machine *machine_new(uint32_t harts) {
    if (!harts || harts > 64) return NULL;
    machine *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->harts = harts;
    m->quantum = QUANTUM;
    m->instructions_per_tick = 100;
    m->cores = calloc(harts, sizeof *m->cores);
    m->arena = calloc(ARENA_UNITS, sizeof *m->arena);
    m->code = calloc(CODE_PAGES, sizeof *m->code);
    if (!m->cores || !m->arena || !m->code) goto no_memory;
    for (u32 i = 0; i < harts; i++) {
        if (!(m->cores[i] = calloc(1, sizeof(core)))) goto no_memory;
        if (!(m->cores[i]->past = calloc(1, sizeof(hart_history)))) goto no_memory;
        m->cores[i]->m = m;
        m->cores[i]->h.index = i;
    }
    static const u64 at_most[FEATURE_WORDS] = {FEATURES_AT_MOST};
    machine_set_features(m, at_most);
    return m;
no_memory:
    machine_free(m);
    return NULL;
}

void machine_free(machine *m) {
    if (!m) return;
    for (u32 i = 0; m->cores && i < m->harts; i++) {
        if (m->cores[i]) free(m->cores[i]->past);
        free(m->cores[i]);
    }
    for (u32 i = 0; i < m->regions; i++) {
        free(m->region[i].flags);
        free(m->region[i].code);
    }
    free(m->cores);
    free(m->arena);
    free(m->code);
    free(m);
}

void machine_set_features(machine *m, const uint64_t *features) {
    memcpy(m->isa.features, features, sizeof m->isa.features);
    csr_implement(&m->isa);
    flush_code(m);
    for (u32 i = 0; i < m->harts; i++) hart_reset(&m->cores[i]->h, 0);
}

const hart_isa *isa_of(hart *h) { return &core_of(h)->m->isa; }

hart *machine_hart(machine *m, uint32_t index) { return index < m->harts ? &m->cores[index]->h : NULL; }

void machine_set_guest_interrupts(machine *m, uint32_t count) {
    for (u32 i = 0; i < m->harts; i++) {
        m->cores[i]->h.geilen = count < MAX_GEILEN ? count : MAX_GEILEN;
        hart_refresh(&m->cores[i]->h);
    }
}

int machine_add_region(machine *m, uint64_t base, uint64_t size, void *host, int writable) {
    if (m->regions == REGIONS || !size || (base | size) & 4095 || base + size < base) return -1;
    for (u32 i = 0; i < m->regions; i++)
        if (base < m->region[i].base + m->region[i].size && m->region[i].base < base + size) return -1;
    region *r = &m->region[m->regions];
    *r = (region){.base = base, .size = size, .host = host, .writable = writable != 0};
    r->flags = calloc(size >> 12, 1);
    r->code = calloc(size >> 12, sizeof *r->code);
    if (!r->flags || !r->code) {
        free(r->flags);
        free(r->code);
        return -1;
    }
    m->regions++;
    return 0;
}

void machine_hide_region(machine *m, uint64_t base, int hidden) {
    region *r = find_region(m, base, 1);
    if (!r || r->hidden == (hidden != 0)) return;
    r->hidden = hidden != 0;
    for (u32 i = 0; i < m->harts; i++) drop_quick(m->cores[i]); /* by which its pages are reached, decoded or not */
}

int machine_add_device(machine *m, uint64_t base, uint64_t size) {
    if (m->devices == DEVICES) return -1;
    m->device[m->devices].base = base;
    m->device[m->devices++].size = size;
    return 0;
}

void machine_memory_changed(machine *m, uint64_t address, uint64_t length) {
    while (length) {
        const u64 here = length < 4096 - (address & 4095) ? length : 4096 - (address & 4095);
        region *r = find_region(m, address, here);
        if (r) {
            u8 *flags = &r->flags[(address - r->base) >> 12];
            *flags |= PAGE_WRITTEN | PAGE_TOUCHED;
            if (*flags & PAGE_CODE) code_written(m, r, address, here);
        }
        address += here;
        length -= here;
    }
}

uint8_t *machine_page_flags(machine *m, uint64_t base) {
    region *r = find_region(m, base, 1);
    return r ? r->flags : NULL;
}

void machine_clear_dirty(machine *m, uint64_t base) {
    region *r = find_region(m, base, 1);
    if (!r) return;
    for (u64 i = 0; i < r->size >> 12; i++) r->flags[i] &= (u8)~PAGE_WRITTEN;
    flush_stores(m);
}

static bool same_scope(const stop_scope *a, const stop_scope *b) {
    return a->modes == b->modes && a->mask == b->mask && a->hgatp == b->hgatp;
}

static const stop_scope anywhere = {.modes = 31};

int machine_breakpoint(machine *m, uint64_t address, int on) { return machine_breakpoint_in(m, address, &anywhere, on); }

int machine_breakpoint_in(machine *m, uint64_t address, const stop_scope *scope, int on) {
    u32 i = 0;
    while (i < m->breakpoints && (m->breakpoint[i].address != address || !same_scope(&m->breakpoint[i].scope, scope))) i++;
    if (on && i == m->breakpoints) {
        if (i == BREAKPOINTS) return -1;
        m->breakpoint[m->breakpoints++] = (breakpoint){address, *scope};
    } else if (!on && i < m->breakpoints) {
        m->breakpoint[i] = m->breakpoint[--m->breakpoints];
    }
    flush_code(m); /* blocks end before breakpoints */
    return 0;
}

void machine_skip_breakpoint(machine *m) {
    for (u32 i = 0; i < m->harts; i++) {
        core *c = m->cores[i];
        c->skip_break = i == m->turn || (c->at_break && c->break_pc == c->h.pc);
        c->skip_pc = c->h.pc;
    }
}

int machine_watch(machine *m, uint64_t address, uint64_t length, uint32_t kinds) {
    const stop_watch w = {.address = address, .length = length, .kinds = kinds, .scope = anywhere};
    return machine_watch_in(m, &w, kinds != 0);
}

/* Of two watches that differ in their kinds alone, the last counts; noted ones, and others, are two. */
static bool same_watch(const stop_watch *a, const stop_watch *b) {
    return a->address == b->address && a->length == b->length && a->space == b->space && a->noted == b->noted &&
           same_scope(&a->scope, &b->scope);
}

int machine_watch_in(machine *m, const stop_watch *watch, int on) {
    u32 i = 0;
    if (!watch->length || (watch->space == SPACE_PHYSICAL && !find_region(m, watch->address, watch->length))) return -1;
    while (i < m->watches && !same_watch(&m->watch[i], watch)) i++;
    if (on && i == m->watches) {
        if (i == WATCHES) return -1;
        m->watches++;
    }
    if (on) m->watch[i] = *watch;
    else if (i < m->watches) m->watch[i] = m->watch[--m->watches];
    m->roaming = m->guest_watched = false;
    for (u32 n = 0; n < m->regions; n++)
        for (u64 page = 0; page < m->region[n].size >> 12; page++) m->region[n].flags[page] &= (u8)~PAGE_WATCHED;
    for (u32 n = 0; n < m->watches; n++) {
        m->roaming |= m->watch[n].space != SPACE_PHYSICAL;
        m->guest_watched |= m->watch[n].space == SPACE_GUEST;
        if (m->watch[n].space != SPACE_PHYSICAL) continue;
        region *at = find_region(m, m->watch[n].address, m->watch[n].length);
        const u64 first = (m->watch[n].address - at->base) >> 12;
        const u64 last = (m->watch[n].address + m->watch[n].length - 1 - at->base) >> 12;
        for (u64 page = first; page <= last; page++) at->flags[page] |= PAGE_WATCHED;
    }
    for (u32 n = 0; n < m->harts; n++) drop_quick(m->cores[n]);
    return 0;
}

/* --- time ------------------------------------------------------------------------------------------------------------- */

void machine_set_time(machine *m, uint64_t instructions_per_tick, uint64_t offset) {
    m->instructions_per_tick = instructions_per_tick ? instructions_per_tick : 1;
    m->time_offset = offset;
}

uint64_t hart_time(hart *h) {
    const machine *m = core_of(h)->m;
    return h->clock / m->instructions_per_tick + m->time_offset;
}

/* The first clock at which `time` is reached; NEVER beyond LAST_CLOCK. */
uint64_t hart_clock_at_time(hart *h, uint64_t time) {
    const machine *m = core_of(h)->m;
    const u64 now = hart_time(h);
    if (time <= now) return h->clock;
    const u64 ticks = time - now, base = h->clock / m->instructions_per_tick, last = LAST_CLOCK / m->instructions_per_tick;
    if (base > last || ticks > last - base) return NEVER;
    return (base + ticks) * m->instructions_per_tick;
}

void machine_schedule(machine *m, uint64_t out[5]) {
    out[0] = m->round;
    out[1] = m->turn;
    out[2] = m->quantum;
    out[3] = m->instructions_per_tick;
    out[4] = m->time_offset;
}

void machine_set_schedule(machine *m, const uint64_t in[5]) {
    m->round = in[0];
    m->turn = (u32)(in[1] < m->harts ? in[1] : 0);
    m->quantum = in[2] ? in[2] : QUANTUM;
    machine_set_time(m, in[3], in[4]);
}

static void sleep_until(core *c, u64 clock) {
    if (clock <= c->h.clock) return;
    history_sleep(c, clock);
    c->h.idle += clock - c->h.clock;
    c->h.clock = clock;
    if (UNLIKELY(c->armed)) counters_check(c);
}

void machine_sleep(machine *m, uint64_t until) {
    for (u32 i = 0; i < m->harts; i++) sleep_until(m->cores[i], until);
    if (m->harts > 1 && m->round < until) m->round = until; /* one hart alone has no rounds */
}

/* --- state from outside ---------------------------------------------------------------------------------------------------- */

void hart_refresh(hart *h) {
    core *c = core_of(h);
    csr_fit(h);
    counters_changed(c);
    pmp_refresh(c);
    drop_quick(c);
    hart_context_changed(h);
    c->mode_mark = h->clock - h->idle;
    history_stand(c, h->clock);
    c->mmio = MMIO_NONE;
    c->redo = c->single = false;
    h->x[0] = 0;
}

void hart_reset(hart *h, uint64_t pc) {
    const u32 index = h->index, geilen = h->geilen;
    memset(h, 0, sizeof *h);
    h->index = index;
    h->geilen = geilen;
    h->pc = pc;
    h->prv = PRV_M;
    h->reservation = NEVER;
    h->mtimecmp = NEVER;
    history_clear(core_of(h)->past);
    csr_reset(h);
    hart_refresh(h);
}

void hart_settle(hart *h) {
    settle(core_of(h), h->clock - h->idle);
}

void hart_set_mode(hart *h, uint32_t prv, uint32_t v) {
    const u32 from = mode_index(h->prv, h->v), to = mode_index(prv, v);
    enter_mode(core_of(h), prv, v, 0);
    if (looking(core_of(h), SEEN_CHANGE)) saw_change(core_of(h), h->pc, from, to);
    if (from == to) return;
    h->moves[from][to][MOVE_SET]++;
    record(core_of(h), EVENT_RETURN, h->pc, 0, MOVE_SET, from, to);
    history_note(core_of(h), EVENT_RETURN);
}

void hart_flush(hart *h) { flush_translations(core_of(h)); }

void hart_wire(hart *h, uint32_t bit, int level) {
    if (level) h->lines |= 1ull << (bit & 63);
    else h->lines &= ~(1ull << (bit & 63));
}

void hart_guest_wire(hart *h, uint32_t number, int level) {
    if (level) h->guest_lines |= 1ull << (number & 63);
    else h->guest_lines &= ~(1ull << (number & 63));
}

/* --- running ------------------------------------------------------------------------------------------------------------------ */

void machine_stop(machine *m) { m->stop = 1; }

static void leave(hart_exit *out, core *c, u32 reason) {
    out->reason = reason;
    out->hart = c->h.index;
}

/* What the trap tells of its instruction: the bits in xtval of illegal and virtual ones, and for explicit accesses to memory
   the transformation in xtinst, where no pseudoinstruction stands there already. */
static void describe_instruction(core *c) {
    enum { ACCESSES = 1 << EXCEPTION_LOAD_MISALIGNED | 1 << EXCEPTION_LOAD_ACCESS | 1 << EXCEPTION_STORE_MISALIGNED |
                      1 << EXCEPTION_STORE_ACCESS | 1 << EXCEPTION_LOAD_PAGE | 1 << EXCEPTION_STORE_PAGE |
                      1 << EXCEPTION_LOAD_GUEST_PAGE | 1 << EXCEPTION_STORE_GUEST_PAGE };
    const u64 cause = c->trap.cause;
    if (cause == EXCEPTION_ILLEGAL_INSTRUCTION || cause == EXCEPTION_VIRTUAL_INSTRUCTION)
        c->trap.tval = instruction_bits(c, c->h.pc);
    else if (ACCESSES >> cause & 1 && !c->trap.tinst)
        c->trap.tinst = transformed(c, instruction_bits(c, c->h.pc), c->trap.offset);
}

/* Has something happened that the caller looks for? */
static bool seen(core *c, hart_exit *out) {
    if (LIKELY(!c->m->looking) || !c->m->seen.kinds) return false;
    leave(out, c, EXIT_EVENT);
    return true;
}

/* A trap: true when the caller has to look. */
static bool trap(core *c, u64 cause, const trap_info *info, u32 mode, u64 *budget, hart_exit *out) {
    const u64 now = c->h.clock - c->h.idle, pc = c->h.pc;
    const u32 from = mode_index(c->h.prv, c->h.v);
    take_trap(c, cause, info, mode);
    if (looking(c, SEEN_TRAP | SEEN_CHANGE)) saw_trap(c, cause, info->tval, pc, from, mode);
    --*budget;
    c->h.trap_run = now == c->h.trap_mark ? c->h.trap_run + 1 : 0;
    c->h.trap_mark = now;
    if (c->h.host_modes >> mode & 1) {
        leave(out, c, EXIT_TRAP);
        out->kind = mode;
        out->cause = cause;
        c->h.trap_run = 0;
        return true;
    }
    if (c->h.trap_run < TRAP_RUN) return seen(c, out);
    c->h.trap_run = 0;
    leave(out, c, EXIT_TRAP_LOOP);
    out->address = c->h.pc;
    out->cause = cause;
    return true;
}

enum turn { TURN_EXIT, TURN_OVER, TURN_SPENT };

/* When a hart that waits wakes by itself. */
static u64 wakes_at(hart *h) {
    const u64 alarm = hart_next_timer(h);
    return alarm > LAST_SLEEP ? NEVER : alarm;
}

/* Let one hart run until its slice ends at clock `end`, the budget is spent, it waits, or the caller is needed. */
static enum turn take_turn(core *c, u64 *budget, u64 end, hart_exit *out) {
    hart *h = &c->h;
    machine *m = c->m;
    static const trap_info none;
    for (;;) {
        /* An access that the caller has carried out belongs to an instruction that must end first. */
        const bool alone = c->redo || c->mmio == MMIO_DONE;
        if (UNLIKELY(m->stop) && !alone) {
            m->stop = 0;
            leave(out, c, EXIT_STOPPED);
            return TURN_EXIT;
        }
        if (h->clock >= end) return TURN_OVER;
        if (h->waiting) {
            if (!hart_wfi_wakes(h)) {
                const u64 alarm = wakes_at(h);
                if (alarm >= end) return TURN_OVER;
                sleep_until(c, alarm);
            }
            h->waiting = 0;
        }
        if (!*budget) return TURN_SPENT;
        if (!alone) {
            u32 mode;
            const i32 interrupt = hart_next_interrupt(h, &mode);
            if (interrupt >= 0) {
                if (trap(c, (u64)interrupt | INTERRUPT_BIT, &none, mode, budget, out)) return TURN_EXIT;
                continue;
            }
        }
        u64 slice = end - h->clock;
        const u64 alarm = hart_next_timer(h), overflow = hart_next_overflow(h, false);
        if (alarm - h->clock < slice) slice = alarm - h->clock;
        if (overflow - h->clock < slice) slice = overflow - h->clock;
        if (*budget < slice) slice = *budget;
        if (slice > CHUNK) slice = CHUNK;
        const u64 start = h->clock;
        i64 left = (i64)slice;
        c->limit = start + slice;
        c->single = alone;
        c->redo = false;
        c->status = OK;
        block *b = alone ? scratch_block(c, h->pc, 1) : find_block(c, h->pc);
        if (b && b->n > slice) b = scratch_block(c, h->pc, (u32)slice);
        enum status status = b ? interpret(c, b, h->pc, &left) : c->status;
        c->single = false;
        h->clock = c->limit - (u64)left;
        if (UNLIKELY(c->armed)) counters_check(c);
        *budget -= h->clock - start;
        c->at_break = status == BREAK;
        switch (status) {
        case TRAP:
            describe_instruction(c);
            if (trap(c, c->trap.cause, &c->trap, exception_mode(c, c->trap.cause), budget, out)) return TURN_EXIT;
            break;
        case MMIO:
            leave(out, c, c->mmio_store ? EXIT_MMIO_WRITE : EXIT_MMIO_READ);
            out->address = c->mmio_address;
            out->value = c->mmio_value;
            out->size = c->mmio_size;
            return TURN_EXIT;
        case BREAK:
            leave(out, c, EXIT_BREAKPOINT);
            out->address = c->break_pc = h->pc;
            return TURN_EXIT;
        default:
            break;
        }
        if (UNLIKELY(c->watch_hit)) {
            c->watch_hit = false;
            leave(out, c, EXIT_WATCHPOINT);
            out->address = c->watch_address;
            out->size = c->watch_size;
            out->kind = c->watch_kind;
            return TURN_EXIT;
        }
        if (seen(c, out)) return TURN_EXIT;
    }
}

/* All harts wait: when does the first wake by itself? */
static u64 first_alarm(machine *m) {
    u64 first = NEVER;
    for (u32 i = 0; i < m->harts; i++) {
        hart *h = &m->cores[i]->h;
        if (h->halted) continue;
        if (!h->waiting || hart_wfi_wakes(h)) return 0;
        const u64 alarm = wakes_at(h);
        if (alarm < first) first = alarm;
    }
    return first;
}

/* Harts take turns of `quantum` instructions, in order; a round begins when all have had theirs, so that their clocks agree
   at its start. One hart alone has no rounds. */
void machine_run(machine *m, uint64_t budget, uint64_t until, hart_exit *out) {
    const u64 granted = budget;
    memset(out, 0, sizeof *out);
    for (;;) {
        core *c = m->cores[m->turn];
        const u64 end = m->harts == 1 ? NEVER : m->round + m->quantum;
        if (m->turn == 0 && (m->harts > 1 || c->h.waiting || c->h.halted)) {
            const u64 alarm = first_alarm(m);
            if (alarm == NEVER) {
                leave(out, c, EXIT_IDLE);
                break;
            }
            if (alarm && alarm > m->cores[0]->h.clock) {
                machine_sleep(m, alarm < until ? alarm : until);
                if (alarm >= until) goto spent;
                continue;
            }
        }
        if (m->turn == 0 && m->harts > 1 && m->round >= until) goto spent;
        if (!c->h.halted) {
            const u64 stop_at = m->harts == 1 && until < end ? until : end;
            const enum turn turn = take_turn(c, &budget, stop_at, out);
            if (turn == TURN_EXIT) break;
            if (turn == TURN_SPENT || (m->harts == 1 && c->h.clock >= until)) goto spent;
            if (m->harts == 1) continue;
        }
        sleep_until(c, end);
        c->h.reservation = NEVER;
        if (++m->turn == m->harts) {
            m->turn = 0;
            m->round = end;
        }
    }
    out->executed = granted - budget;
    return;
spent:
    leave(out, m->cores[m->turn], EXIT_BUDGET);
    out->executed = granted - budget;
}

void machine_complete(machine *m, uint64_t value) {
    for (u32 i = 0; i < m->harts; i++) {
        core *c = m->cores[i];
        if (c->mmio != MMIO_WAITING) continue;
        c->mmio = MMIO_DONE;
        c->mmio_value = value;
    }
}
