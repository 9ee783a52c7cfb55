/* What a hart did, from its first instruction on, by stretches of its clock that grow with what there is to keep.
 *
 * It is written where modes change and events are recorded, never by plain instructions. What lies between two such places is
 * parted exactly, so that who looks in between changes nothing. Programs notice nothing of this.
 */
#include "internal.h"

enum { NUMBERS = sizeof(history_row) / sizeof(u64) };

static void add(u64 *to, const u64 *from) {
    for (u32 i = 0; i < NUMBERS; i++) to[i] += from[i];
}

/* Two rows become one. */
static void halve(hart_history *past) {
    for (u32 i = 1; i < past->used; i++) {
        if (i & 1) add((u64 *)&past->rows[i / 2], (const u64 *)&past->rows[i]);
        else past->rows[i / 2] = past->rows[i];
    }
    const u32 left = past->used - past->used / 2;
    memset(&past->rows[left], 0, (past->used - left) * sizeof *past->rows);
    past->used = left;
    past->shift++;
}

/* The present row is that of `clock`. */
void history_stand(core *c, u64 clock) {
    hart_history *past = c->past;
    while (clock >> past->shift >= HISTORY_ROWS) halve(past);
    const u64 at = clock >> past->shift;
    if (at >= past->used) past->used = (u32)at + 1;
    c->row = &past->rows[at];
    c->row_end = (at + 1) << past->shift;
}

/* There is a row for `clock`. */
static void reach(core *c, u64 clock) {
    while (clock >> c->past->shift >= HISTORY_ROWS) halve(c->past);
    history_stand(c, c->mode_mark + c->h.idle);
}

/* As settle(), where that may lead behind the present row. */
void history_spend(core *c, u64 now) {
    const u64 idle = c->h.idle;
    reach(c, now + idle);
    const u32 shift = c->past->shift;
    for (u64 at = (c->mode_mark + idle) >> shift; at < (now + idle) >> shift;) {
        at++;
        spend(c, (at << shift) - idle);
        history_stand(c, at << shift);
    }
    spend(c, now);
}

/* The hart is about to sleep until `until`. */
void history_sleep(core *c, u64 until) {
    u64 clock = c->h.clock;
    settle(c, clock - c->h.idle);
    if (until >= c->row_end) reach(c, until);
    const u32 shift = c->past->shift;
    for (u64 at = clock >> shift; at < until >> shift;) {
        at++;
        c->row->asleep += (at << shift) - clock;
        clock = at << shift;
        history_stand(c, clock);
    }
    c->row->asleep += until - clock;
    hart_event *last = &c->h.ring[(c->h.events - 1) & 1023];
    if (c->h.waiting && last->kind == EVENT_WFI) last->value = until;
}

void history_clear(hart_history *past) {
    memset(past->rows, 0, past->used * sizeof *past->rows);
    past->shift = past->used = 0;
}

hart_history *hart_past(hart *h) { return core_of(h)->past; }

void hart_survey(hart *h, uint64_t first, uint32_t cells, uint32_t shift, uint64_t *out) {
    hart_settle(h);
    const hart_history *past = core_of(h)->past;
    const u32 finer = shift > past->shift ? shift - past->shift : 0, coarser = past->shift > shift ? past->shift - shift : 0;
    for (u32 cell = 0; cell < cells; cell++) {
        const u64 at = first + cell, from = at > UINT64_MAX >> finer ? NEVER : (at << finer) >> coarser;
        u64 sum[NUMBERS] = {0};
        for (u64 i = from; i < past->used && i - from < (u64)1 << finer; i++) add(sum, (const u64 *)&past->rows[i]);
        for (u32 n = 0; n < NUMBERS; n++) out[(size_t)n * cells + cell] = sum[n];
    }
}
