/* What a debugger looks for and no program notices: scopes of breakpoints and watches, and a note of what happened.
 *
 * Traps, changes of mode and accesses to CSRs are looked at where they are carried out anyway, which is never on the path of
 * plain instructions.
 */
#include "internal.h"

bool in_scope(const core *c, const stop_scope *s, u32 mode) {
    if (!(s->modes >> mode & 1)) return false;
    return !s->mask || (mode >= MODE_VS && (c->h.csr.hgatp & s->mask) == s->hgatp);
}

/* The first that is seen says where; what follows belongs to it, or to the caller that plays a mode. */
static stop_seen *note(core *c, u32 kind, u64 pc, u32 from, u32 to) {
    stop_seen *s = &c->m->seen;
    if (!s->kinds) {
        s->hart = c->h.index;
        s->pc = pc;
        s->hgatp = c->h.csr.hgatp;
        s->origin = from;
        s->target = to;
    }
    s->hgatp_after = c->h.csr.hgatp;
    s->kinds |= kind;
    return s;
}

void saw_trap(core *c, u64 cause, u64 tval, u64 pc, u32 from, u32 to) {
    if (c->m->filter.traps[from][cause & INTERRUPT_BIT ? 1 : 0] >> (cause & 63) & 1) {
        stop_seen *s = note(c, SEEN_TRAP, pc, from, to);
        s->cause = cause;
        s->tval = tval;
    }
    saw_change(c, pc, from, to);
}

void saw_change(core *c, u64 pc, u32 from, u32 to) {
    const u64 bit = 1ull << (5 * from + to);
    if (from != to && c->m->filter.changes & bit) note(c, SEEN_CHANGE, pc, from, to)->changes |= bit;
}

void saw_csr(core *c, u32 kind, u32 number, u64 old, u64 value) {
    const u32 meant = csr_meant(&c->h, number), mode = mode_index(c->h.prv, c->h.v);
    const u64 *bits = kind == SEEN_CSR_WRITE ? c->m->filter.csr_writes : c->m->filter.csr_reads;
    if (!(bits[meant >> 6] >> (meant & 63) & 1)) return;
    stop_seen *s = note(c, kind, c->h.pc, mode, mode);
    s->csr = meant;
    s->old = old;
    s->value = value;
}

void saw_touch(core *c, const stop_touch *touch) {
    const u32 mode = mode_index(c->h.prv, c->h.v);
    stop_seen *s = note(c, SEEN_TOUCH, c->h.pc, mode, mode);
    if (s->touches < TOUCHES) s->touch[s->touches++] = *touch;
}

void machine_look_for(machine *m, const stop_filter *filter) {
    u64 traps = 0, reads = 0, writes = 0;
    for (u32 mode = 0; mode < 5; mode++) traps |= filter->traps[mode][0] | filter->traps[mode][1];
    for (u32 i = 0; i < 64; i++) {
        reads |= filter->csr_reads[i];
        writes |= filter->csr_writes[i];
    }
    m->filter = *filter;
    m->looking = (traps ? SEEN_TRAP : 0) | (filter->changes ? SEEN_CHANGE : 0) | (reads ? SEEN_CSR_READ : 0) |
                 (writes ? SEEN_CSR_WRITE : 0);
    m->seen = (stop_seen){0};
}

int machine_seen(machine *m, stop_seen *out) {
    if (!m->seen.kinds) return 0;
    *out = m->seen;
    m->seen = (stop_seen){0};
    return 1;
}
