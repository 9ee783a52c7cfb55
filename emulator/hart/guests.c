/* What the monitor counts of each guest. The hart knows guests by where their G-stage is: MODE and PPN of hgatp. The VMID is a
 * name for the time being, which hypervisors give away anew.
 *
 * Section "Hypervisor Guest Address Translation and Protection (hgatp) Register". Programs notice nothing of this.
 */
#include "internal.h"

static hart_guest *find_guest(hart *h) {
    const u64 hgatp = h->csr.hgatp;
    u32 at = 0;
    for (u32 i = 0; i < GUESTS; i++) {
        const hart_guest *g = &h->guests[i];
        if (g->entries && !((g->hgatp ^ hgatp) & ~HGATP_VMID)) {
            h->guest = i;
            return &h->guests[i];
        }
        if (h->guests[at].entries && (!g->entries || g->seen < h->guests[at].seen)) at = i;
    }
    if (h->guests[at].entries) h->guests_lost++;
    h->guests[at] = (hart_guest){0};
    h->guest = at;
    return &h->guests[at];
}

/* What the hart did since the guest that it left by a trap is that guest's, whoever comes next. */
static void account(hart *h) {
    hart_guest *g = &h->guests[h->guest];
    if (!g->entries || !g->away) return;
    for (u32 i = 0; i < 3; i++) g->served[i] += h->retired[i] - g->before[i];
}

/* V becomes 1, behind instruction number `now` of the hart. */
void guest_entered(core *c, u64 now) {
    hart *h = &c->h;
    account(h);
    hart_guest *g = find_guest(h);
    g->hgatp = h->csr.hgatp;
    g->seen = now + h->idle;
    if (!g->entries++) g->since = g->seen;
    if (!g->away) return;
    guest_exits *e = &g->exits[g->away - 1];
    const u64 spent = g->seen - g->left;
    if (!e->returns++ || spent < e->least) e->least = spent;
    if (spent > e->most) e->most = spent;
    e->spent += spent;
    g->away = 0;
}

/* A trap, not taken yet, into `mode` without V. */
void guest_left(core *c, u64 cause, const trap_info *info, u32 mode) {
    hart *h = &c->h;
    hart_guest *g = &h->guests[h->guest];
    const u32 row = (cause & 31) + (cause & INTERRUPT_BIT ? 32 : 0) + (mode == MODE_M ? 64 : 0);
    g->exits[row].count++;
    g->away = row + 1;
    g->left = g->seen = g->clock = h->clock;
    for (u32 i = 0; i < 3; i++) g->before[i] = h->retired[i];
    g->cause = cause;
    g->pc = h->pc;
    g->tval = info->tval;
    g->tval2 = info->tval2;
    g->tinst = info->tinst;
    g->from_mode = (u8)mode_index(h->prv, h->v);
    g->to_mode = (u8)mode;
}
