/* Counters: mcycle, minstret, mhpmcounter3 to 31, which modes they count in, and what happens when they overflow.
 *
 * Sections: "Hardware Performance Monitor" and "Machine Counter-Inhibit (mcountinhibit) Register" of the machine chapter,
 * "Sscofpmf", "Smcntrpmf".
 *
 * A counter of cycles or instructions costs nothing while it counts: stored is its distance from the hart's own clock, and
 * its value while it stands still. The others count events where those happen. What is derived lies in the core: which
 * counters a change of mode starts or stops (`filtered`), which wait for events (`counting`), and whose overflow is ahead and
 * would request LCOFI (`armed`). The clock at which one of these overflows ends a slice, as a timer does.
 */
#include "internal.h"

#define EVENT_MASK MHPMEVENT3_EVENT
#define OVERFLOWED MHPMEVENT3_OF
#define INHIBIT_MASK (MCYCLECFG_MINH | MCYCLECFG_SINH | MCYCLECFG_UINH | MCYCLECFG_VSINH | MCYCLECFG_VUINH)

/* By number of the register, modulo 32; there is no counter 1. */
#define ALL_COUNTERS 0xfffffffdull
#define EACH(i, set) (u64 left_ = (set), i; left_ && (i = (u64)__builtin_ctzll(left_), true); left_ &= left_ - 1)

static u64 *cell(hart *h, u64 i) {
    return i == 0 ? &h->csr.mcycle : i == 2 ? &h->csr.minstret : &h->csr.mhpmcounter[i - FIRST_COUNTER];
}

/* What the counter counts and where not, in the layout of mhpmevent. */
static u64 setup(const hart *h, u64 i) {
    return i == 0 ? h->csr.mcyclecfg | COUNT_CYCLES : i == 2 ? h->csr.minstretcfg | COUNT_INSTRUCTIONS : h->csr.mhpmevent[i - FIRST_COUNTER];
}

static bool by_clock(u64 event) {
    return (event & EVENT_MASK) == COUNT_CYCLES || (event & EVENT_MASK) == COUNT_INSTRUCTIONS;
}

/* xINH stand from bit 62 down in the order of mode indices. */
static bool stands_still(const hart *h, u64 i) {
    return h->csr.mcountinhibit >> i & 1 || setup(h, i) >> (MCYCLECFG_MINH_SHIFT - mode_index(h->prv, h->v)) & 1;
}

/* What drives the counter on: 0 where nothing does. */
static u64 drive(const hart *h, u64 i) {
    const u64 event = setup(h, i) & EVENT_MASK;
    if (stands_still(h, i)) return 0;
    return event == COUNT_CYCLES ? h->clock : event == COUNT_INSTRUCTIONS ? h->clock - h->idle : 0;
}

/* Between the two, the cells hold the values, and what drives the counters may change. */
static void hold(hart *h, u64 set) {
    for EACH(i, set) *cell(h, i) += drive(h, i);
}

static void release(hart *h, u64 set) {
    for EACH(i, set) *cell(h, i) -= drive(h, i);
}

/* --- overflow -------------------------------------------------------------------------------------------------------- */

/* A counter by the clock passes zero when what drives it reaches the negated cell. */
static bool will_overflow(hart *h, u64 i) {
    const u64 event = setup(h, i);
    return i >= FIRST_COUNTER && by_clock(event) && !(event & OVERFLOWED) && !stands_still(h, i) && 0 - *cell(h, i) > drive(h, i);
}

static void arm(core *c, u64 set) {
    c->armed &= ~set;
    for EACH(i, set)
        if (will_overflow(&c->h, i)) c->armed |= 1ull << i;
}

void counters_changed(core *c) {
    hart *h = &c->h;
    c->filtered = c->counting = 0;
    for EACH(i, ALL_COUNTERS) {
        const u64 event = setup(h, i);
        if (!by_clock(event)) c->counting |= (u64)((event & EVENT_MASK) != COUNT_NONE) << i;
        else if (event & INHIBIT_MASK) c->filtered |= 1ull << i;
    }
    arm(c, ALL_COUNTERS);
}

/* "Count Overflow Control": the request sets OF, and OF withholds further ones. */
static void overflow(core *c, u64 i) {
    u64 *event = &c->h.csr.mhpmevent[i - FIRST_COUNTER];
    c->armed &= ~(1ull << i);
    if (!has(c, FEATURE_SSCOFPMF)) return;
    if (*event & OVERFLOWED) return;
    *event |= OVERFLOWED;
    c->h.csr.mip |= MIP_LCOFIP;
}

void counters_check(core *c) {
    for EACH(i, c->armed)
        if (drive(&c->h, i) >= 0 - *cell(&c->h, i)) overflow(c, i);
}

u64 hart_next_overflow(hart *h, bool asleep) {
    u64 ahead = NEVER - h->clock;
    for EACH(i, core_of(h)->armed) {
        if (asleep && (setup(h, i) & EVENT_MASK) != COUNT_CYCLES) continue;
        const u64 distance = 0 - *cell(h, i) - drive(h, i);
        if (distance < ahead) ahead = distance;
    }
    return h->clock + ahead;
}

/* --- events ---------------------------------------------------------------------------------------------------------- */

/* It happened in the present mode. True: a counter overflowed, so that interrupts must be looked at. */
bool count_event(core *c, u32 event) {
    hart *h = &c->h;
    bool overflowed = false;
    for EACH(i, c->counting)
        if ((setup(h, i) & EVENT_MASK) == event && !stands_still(h, i) && !++*cell(h, i)) {
            overflow(c, i);
            overflowed = true;
        }
    return overflowed;
}

void count_trap(core *c, u64 cause, u32 mode) {
    if (LIKELY(!c->counting)) return;
    count_event(c, cause & INTERRUPT_BIT ? COUNT_INTERRUPTS : COUNT_EXCEPTIONS);
    if (c->h.v && mode != MODE_VS) count_event(c, COUNT_EXITS);
    switch (cause) {
    case EXCEPTION_INSTRUCTION_PAGE: case EXCEPTION_LOAD_PAGE: case EXCEPTION_STORE_PAGE: count_event(c, COUNT_PAGE_FAULTS); break;
    case EXCEPTION_INSTRUCTION_GUEST_PAGE: case EXCEPTION_LOAD_GUEST_PAGE: case EXCEPTION_STORE_GUEST_PAGE:
        count_event(c, COUNT_GUEST_PAGE_FAULTS);
        break;
    case EXCEPTION_ECALL_U: case EXCEPTION_ECALL_HS: case EXCEPTION_ECALL_VS: case EXCEPTION_ECALL_M: count_event(c, COUNT_CALLS); break;
    case EXCEPTION_ILLEGAL_INSTRUCTION: case EXCEPTION_VIRTUAL_INSTRUCTION: count_event(c, COUNT_REFUSALS); break;
    default: break;
    }
}

/* "Counter Behavior" of Smcntrpmf: an xRET is the old mode's, a trap is nobody's. The clock counts what retired in it. */
void counters_leave(core *c) { hold(&c->h, c->filtered); }

void counters_enter(core *c) {
    release(&c->h, c->filtered);
    arm(c, c->filtered);
}

/* --- CSRs ------------------------------------------------------------------------------------------------------------ */

uint64_t csr_read_counter(hart *h, unsigned number) {
    return *cell(h, number & 31) + drive(h, number & 31);
}

void csr_write_counter(hart *h, unsigned number, uint64_t value) {
    const u64 i = number & 31;
    *cell(h, i) = value - drive(h, i);
    arm(core_of(h), 1ull << i);
}

/* mcountinhibit, mcyclecfg, minstretcfg, mhpmevent: counters keep their values. */
void csr_write_counter_setup(hart *h, unsigned number, uint64_t value) {
    hold(h, ALL_COUNTERS);
    switch (number) {
    case CSR_MCOUNTINHIBIT: h->csr.mcountinhibit = value & ALL_COUNTERS; break;
    case CSR_MCYCLECFG: h->csr.mcyclecfg = value & INHIBIT_MASK; break;
    case CSR_MINSTRETCFG: h->csr.minstretcfg = value & INHIBIT_MASK; break;
    default: {
        u64 *event = &h->csr.mhpmevent[number - CSR_MHPMEVENT3];
        const u64 kind = (value & EVENT_MASK) < EVENT_KINDS ? value & EVENT_MASK : *event & EVENT_MASK;
        *event = (value & (OVERFLOWED | INHIBIT_MASK)) | kind;
    }
    }
    release(h, ALL_COUNTERS);
    counters_changed(core_of(h));
}

uint64_t csr_read_scountovf(hart *h, unsigned number) {
    u64 value = 0;
    (void)number;
    for EACH(i, ALL_COUNTERS) value |= setup(h, i) >> MHPMEVENT3_OF_SHIFT << i;
    return value;
}
