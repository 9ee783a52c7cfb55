/* From addresses to memory: lookaside misses, the walk through both stages, PMP, and every access that is not a plain hit.
 *
 * Sections of the privileged manual: "Virtual Address Translation Process", "Two-Stage Address Translation",
 * "Guest-Page Faults", "Memory-Management Fences", "Physical Memory Protection".
 */

#include <stdlib.h>

#include "internal.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
#define PTE_PPN(pte) ((pte) >> 10 & 0xfffffffffffull)
#define PTE_N (1ull << 63)
#define PTE_PBMT (3ull << 61)
#define PTE_RESERVED (0x7full << 54)

/* On whose behalf an access is made. */
typedef struct world {
    u32 prv, v;
    bool sum, mxr, gmxr; /* gmxr: MXR as the G-stage sees it */
    bool hlvx;
    u32 pmm;             /* pointer masking, as in PMM fields */
} world;

typedef struct walk {
    core *c;
    world w;
    u32 access;
    bool probe;          /* looking must change nothing */
    bool both;           /* a store that reads what was there: an atomic operation */
    walk_record *record;
    u64 tag;             /* of the translation context; 0: neither from the lookaside nor into it */
    u64 given;           /* the address before pointer masking */
    u64 address;
    u64 physical, guest_physical;
    u32 bits;            /* log2 of the smaller page of both stages */
    u32 span;            /* and of the first stage's: a fence for one of its addresses is for all */
    trap_info trap;
} walk;

/* --- worlds and contexts -------------------------------------------------------------------------------------- */

/* "Pointer Masking and Privilege Modes": configured by the next higher mode. "Memory Accesses Subject to Pointer Masking":
   not where MXR is in effect, which it never is in M-mode. */
static u32 masking(core *c, u32 prv, u32 v, bool mxr) {
    if (prv == PRV_M) return (u32)((c->h.csr.mseccfg & MSECCFG_PMM) >> MSECCFG_PMM_SHIFT);
    if (mxr) return 0;
    if (prv == PRV_U) return (u32)((c->h.csr.senvcfg & SENVCFG_PMM) >> SENVCFG_PMM_SHIFT);
    return (u32)(((v ? c->h.csr.henvcfg : c->h.csr.menvcfg) & MENVCFG_PMM) >> MENVCFG_PMM_SHIFT);
}

static world world_of(core *c, u32 prv, u32 v) {
    const u64 mstatus = c->h.csr.mstatus, vsstatus = c->h.csr.vsstatus;
    const bool gmxr = mstatus & MSTATUS_MXR, mxr = gmxr || (v && vsstatus & MSTATUS_MXR);
    return (world){
        .prv = prv, .v = v,
        .sum = (v ? vsstatus : mstatus) & MSTATUS_SUM,
        .mxr = mxr,
        .gmxr = gmxr,
        .pmm = masking(c, prv, v, mxr),
    };
}

/* mstatus.MPRV makes loads and stores of M-mode those of MPP and MPV ("Memory Privilege in mstatus Register"). */
static world data_world(core *c) {
    const u64 mstatus = c->h.csr.mstatus;
    u32 prv = c->h.prv, v = c->h.v;
    if (prv == PRV_M && mstatus & MSTATUS_MPRV) {
        prv = (u32)(mstatus >> MSTATUS_MPP_SHIFT) & 3;
        v = prv != PRV_M && mstatus & MSTATUS_MPV;
    }
    return world_of(c, prv, v);
}

/* HLV, HLVX, HSV: V=1 at the privilege that hstatus.SPVP names ("Hypervisor Virtual-Machine Load and Store Instructions").
   In U-mode, hstatus.HUPMM masks pointers "as though in VU-mode"; those of HLVX are never masked. */
static world guest_world(core *c, bool hlvx) {
    const u64 hstatus = c->h.csr.hstatus;
    world w = world_of(c, hstatus & HSTATUS_SPVP ? PRV_S : PRV_U, 1);
    if (c->h.prv == PRV_U && w.prv == PRV_U) w.pmm = w.mxr ? 0 : (u32)((hstatus & HSTATUS_HUPMM) >> HSTATUS_HUPMM_SHIFT);
    if (hlvx) w.pmm = 0;
    w.hlvx = hlvx;
    return w;
}

static walk walk_of(core *c, const world *w, u32 access, u64 tag, u64 address) {
    walk k = {.c = c, .w = *w, .access = access, .tag = tag, .given = address, .address = address};
    if (UNLIKELY(w->pmm) && access != ACCESS_FETCH) {
        /* "The \"Ignore\" Transformation": a virtual address is sign-extended, a physical one zero-extended. */
        static const u8 pmlen[] = {0, 0, 7, 16};
        const u32 by = pmlen[w->pmm];
        const bool physical = w->prv == PRV_M || !((w->v ? c->h.csr.vsatp : c->h.csr.satp) >> 60);
        k.address = physical ? address << by >> by : (u64)((i64)(address << by) >> by);
    }
    return k;
}

static u32 slot_of(u64 address) { return address >> 12 & (TLB_SIZE - 1); }

static tlb_entry *quick_entries(core *c, u32 access) {
    return access == ACCESS_FETCH ? c->fetch : access == ACCESS_LOAD ? c->load : c->store;
}

static void flush_array(tlb_entry *entries) { memset(entries, 0, TLB_SIZE * sizeof *entries); }

static void key_jumps(core *c) { c->jump_key = c->fetch_tag << 45 | (c->jump_flushes & ((1ull << 48) - 1)); }

void flush_jumps(core *c) {
    c->jump_flushes++;
    key_jumps(c);
}

/* The quick forms go, what is known stays: nothing that a program could notice. */
void drop_quick(core *c) {
    flush_jumps(c);
    flush_array(c->fetch);
    flush_array(c->load);
    flush_array(c->store);
}

void flush_translations(core *c) {
    drop_quick(c);
    memset(c->h.known, 0, sizeof c->h.known);
}

void flush_stores(machine *m) {
    for (u32 i = 0; i < m->harts; i++) flush_array(m->cores[i]->store);
}

/* "Supervisor Memory-Management Fence Instruction", "Memory-Management Fences" of the hypervisor chapter: what a fence need
   not drop stays, so that a fence too few shows. Of an address, all that came from the leaf that maps it. */
void fence(core *c, const fence_scope *scope) {
    bool meant[CONTEXTS];
    for (u32 i = 0; i < CONTEXTS; i++) {
        const translation_context *t = &c->h.contexts[i];
        meant[i] = t->used && (t->flags >> 2 & 1) == scope->v &&
                   (!scope->by_asid || ((t->satp ^ scope->asid << SATP_ASID_SHIFT) & SATP_ASID) == 0) &&
                   (!scope->by_vmid || ((t->hgatp ^ scope->vmid << HGATP_VMID_SHIFT) & HGATP_VMID) == 0);
    }
    flush_jumps(c);
    for (u32 access = ACCESS_FETCH; access <= ACCESS_STORE; access++) {
        translation *known = c->h.known[access];
        for (u32 i = 0; i < TLB_SIZE; i++) {
            if (!known[i].tag || !meant[known[i].tag >> 3 & (CONTEXTS - 1)]) continue;
            if (scope->by_address && (known[i].tag ^ scope->address) >> (known[i].page & 63)) continue;
            known[i].tag = 0;
            quick_entries(c, access)[i].tag = 0;
        }
    }
}

/* The number of the translation context, shifted into the place that tags have for it; 0 where the table is crowded. */
static u64 find_context(core *c, const world *w, bool data) {
    translation_context want = {0};
    want.used = 1;
    want.flags = w->prv | w->v << 2;
    if (w->prv != PRV_M) {
        want.satp = w->v ? c->h.csr.vsatp : c->h.csr.satp;
        want.hgatp = w->v ? c->h.csr.hgatp : 0;
        if (data) want.flags |= (u32)w->sum << 3 | (u32)w->mxr << 4 | (u32)w->gmxr << 5;
        want.flags |= (u32)(c->h.csr.menvcfg >> MENVCFG_ADUE_SHIFT & 1) << 6;
        want.flags |= (u32)(c->h.csr.henvcfg >> MENVCFG_ADUE_SHIFT & 1) << 7;
        want.flags |= (u32)(c->h.csr.menvcfg >> MENVCFG_PBMTE_SHIFT & 1) << 8;
        want.flags |= (u32)(c->h.csr.henvcfg >> MENVCFG_PBMTE_SHIFT & 1) << 9;
    }
    if (data) want.flags |= w->pmm << 10 | (u32)w->hlvx << 12;
    u64 hash = (want.satp ^ want.hgatp * 31 ^ want.flags * 0x9e3779b9ull) * 0x9e3779b97f4a7c15ull >> 55; /* ASIDs are high bits */
    for (u32 probe = 0; probe < 8; probe++, hash++) {
        const u32 number = (u32)(hash & (CONTEXTS - 1));
        translation_context *have = &c->h.contexts[number];
        if (!number) continue;
        if (!have->used) *have = want;
        if (have->satp == want.satp && have->hgatp == want.hgatp && have->flags == want.flags) return (u64)number << 3;
    }
    return 0;
}

static u64 context_tag(core *c, const world *w, bool data) {
    const u64 tag = find_context(c, w, data);
    if (tag) return tag;
    /* Crowded: begin anew. */
    memset(c->h.contexts, 0, sizeof c->h.contexts);
    flush_translations(c);
    return find_context(c, w, data);
}

void hart_context_changed(hart *h) {
    core *c = core_of(h);
    const world fetch = world_of(c, h->prv, h->v), data = data_world(c);
    const u64 mine = h->csr.mstatus & MSTATUS_FS, guest = h->csr.vsstatus & MSTATUS_FS;
    c->fetch_tag = context_tag(c, &fetch, false);
    const u64 data_tag = context_tag(c, &data, true);
    /* A crowded table forgets the first number; asking again then finds room. */
    c->fetch_tag = context_tag(c, &fetch, false);
    c->load_tag = c->store_tag = data_tag;
    c->guest_tag[0] = c->guest_tag[1] = 0;
    key_jumps(c);
    if (!mine || (h->v && !guest)) c->fp = 0;
    else c->fp = mine == MSTATUS_FS && (!h->v || guest == MSTATUS_FS) ? 2 : 1;
}

/* --- PMP -------------------------------------------------------------------------------------------------------- */

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_L = 128 };

/* Entries as ranges of addresses, and what M-mode may where none matches (mseccfg.MMWP, MML: "Smepmp Physical Memory
   Protection Rules"). */
void pmp_refresh(core *c) {
    const hart *h = &c->h;
    const u64 mseccfg = h->csr.mseccfg;
    c->pmp_default = mseccfg & MSECCFG_MMWP ? 0 : mseccfg & MSECCFG_MML ? PMP_R | PMP_W : PMP_R | PMP_W | PMP_X;
    c->pmp_count = 0;
    for (u32 i = 0; i < PMP_COUNT; i++) {
        const u8 cfg = h->csr.pmpcfg[i];
        const u64 address = h->csr.pmpaddr[i];
        u64 low = 1, high = 0;
        switch (cfg >> 3 & 3) {
        case 1: { /* TOR */
            const u64 from = i ? h->csr.pmpaddr[i - 1] : 0;
            if (from < address) { low = from << 2; high = (address << 2) - 1; }
            break;
        }
        case 2: /* NA4 */
            low = address << 2;
            high = low + 3;
            break;
        case 3: { /* NAPOT */
            const u64 mask = address ^ (address + 1);
            low = (address & ~mask) << 2;
            high = low + (mask << 2) + 3;
            break;
        }
        }
        c->pmp[i].low = low;
        c->pmp[i].high = high;
        c->pmp[i].cfg = cfg;
        if (cfg >> 3 & 3) c->pmp_count = i + 1;
    }
}

void hart_pmp_changed(hart *h) {
    pmp_refresh(core_of(h));
    flush_translations(core_of(h));
}

/* What a matching entry grants to an effective privilege mode: R, W, X. */
static u8 pmp_rights(const core *c, u8 cfg, bool machine) {
    const bool locked = cfg & PMP_L;
    const u8 rights = cfg & (PMP_R | PMP_W | PMP_X);
    if (!(c->h.csr.mseccfg & MSECCFG_MML)) return machine && !locked ? PMP_R | PMP_W | PMP_X : rights;
    /* The table of "Smepmp Physical Memory Protection Rules": shared regions first. */
    if ((cfg & (PMP_R | PMP_W)) == PMP_W) {
        if (locked) return PMP_X | (machine && cfg & PMP_X ? PMP_R : 0);
        return PMP_R | (machine || cfg & PMP_X ? PMP_W : 0);
    }
    if (locked && rights == (PMP_R | PMP_W | PMP_X)) return PMP_R;
    return machine == locked ? rights : 0;
}

/* "Priority and Matching Logic": the lowest entry that touches any byte decides. -1: none does. */
static i32 pmp_entry(const core *c, u64 address, u64 size) {
    const u64 last = address + size - 1;
    for (u32 i = 0; i < c->pmp_count; i++)
        if (c->pmp[i].low <= last && c->pmp[i].high >= address) return (i32)i;
    return -1;
}

/* It must hold all of them. */
static bool pmp_allows(core *c, u64 address, u64 size, u32 access, u32 prv) {
    static const u8 needed[] = {PMP_X, PMP_R, PMP_W};
    const i32 i = pmp_entry(c, address, size);
    if (i < 0) return prv == PRV_M && c->pmp_default & needed[access];
    if (c->pmp[i].low > address || c->pmp[i].high < address + size - 1) return false;
    return pmp_rights(c, c->pmp[i].cfg, prv == PRV_M) & needed[access];
}

/* Does one answer hold for the whole page? */
static bool pmp_uniform(core *c, u64 page) {
    for (u32 i = 0; i < c->pmp_count; i++) {
        if (c->pmp[i].low > page + 4095 || c->pmp[i].high < page) continue;
        return c->pmp[i].low <= page && c->pmp[i].high >= page + 4095;
    }
    return true;
}

/* --- physical memory --------------------------------------------------------------------------------------------- */

region *find_region(machine *m, u64 address, u64 size) {
    for (u32 i = 0; i < m->regions; i++) {
        region *r = &m->region[i];
        if (address - r->base < r->size && r->size - (address - r->base) >= size) return r;
    }
    return NULL;
}

static void mark_written(machine *m, region *r, u64 physical, u64 size) {
    u8 *flags = &r->flags[(physical - r->base) >> 12];
    *flags |= PAGE_WRITTEN | PAGE_TOUCHED;
    if (UNLIKELY(*flags & PAGE_CODE)) code_written(m, r, physical, size);
}

/* --- the walk ------------------------------------------------------------------------------------------------------ */

static bool fail(walk *k, u64 cause, u64 tval2, u64 tinst) {
    k->trap = (trap_info){.cause = cause, .tval = k->address, .tval2 = tval2, .tinst = tinst, .gva = k->w.v};
    return false;
}

static bool page_fault(walk *k) {
    static const u8 cause[] = {EXCEPTION_INSTRUCTION_PAGE, EXCEPTION_LOAD_PAGE, EXCEPTION_STORE_PAGE};
    return fail(k, cause[k->access], 0, 0);
}

static bool access_fault(walk *k) {
    static const u8 cause[] = {EXCEPTION_INSTRUCTION_ACCESS, EXCEPTION_LOAD_ACCESS, EXCEPTION_STORE_ACCESS};
    return fail(k, cause[k->access], 0, 0);
}

/* Implicit accesses keep the cause of the original access, and say by a pseudoinstruction what they were. */
static bool guest_page_fault(walk *k, u64 gpa, u64 tinst) {
    static const u8 cause[] = {EXCEPTION_INSTRUCTION_GUEST_PAGE, EXCEPTION_LOAD_GUEST_PAGE, EXCEPTION_STORE_GUEST_PAGE};
    return fail(k, cause[k->access], gpa >> 2, tinst);
}

static walk_step *step(walk *k, u32 stage, u32 level, u32 nested, u64 input) {
    static walk_step nowhere;
    if (!k->record) return &nowhere;
    walk_record *r = k->record;
    walk_step *s = &r->steps[r->count < 63 ? r->count++ : 63];
    memset(s, 0, sizeof *s);
    s->stage = (u8)stage;
    s->level = (u8)level;
    s->nested = (u8)nested;
    s->input = input;
    return s;
}

/* What is wrong with a leaf, or WALK_LEAF. `implicit`: an access that the walk itself makes; no MXR, no HLVX. */
static u32 judge_leaf(const walk *k, u64 pte, u32 level, u32 access, bool implicit, bool gstage) {
    const bool execute_reads = !implicit && (gstage ? k->w.gmxr : k->w.mxr);
    if (pte & PTE_U) {
        if (!gstage && k->w.prv == PRV_S && (access == ACCESS_FETCH || !k->w.sum)) return WALK_USER;
    } else if (gstage || k->w.prv == PRV_U) {
        return WALK_SUPERVISOR;
    }
    if (access == ACCESS_STORE) {
        if (!(pte & PTE_W)) return WALK_NO_WRITE;
    } else if (access == ACCESS_FETCH || (k->w.hlvx && !implicit)) {
        if (!(pte & PTE_X)) return WALK_NO_EXECUTE;
    } else if (!(pte & PTE_R) && !(execute_reads && pte & PTE_X)) {
        return WALK_NO_READ;
    }
    if (PTE_PPN(pte) & ((1ull << 9 * level) - 1)) return WALK_MISALIGNED;
    return WALK_LEAF;
}

static u32 judge_pointer(u64 pte, u32 level) {
    if (pte & (PTE_A | PTE_D | PTE_U | PTE_N | PTE_PBMT)) return WALK_RESERVED;
    return level ? WALK_POINTER : WALK_TOO_DEEP;
}

/* Reserved encodings of a leaf. PBMT: reserved while off, and the value 3 ("Svpbmt"); menvcfg.PBMTE rules the single stage and
   the G-stage, henvcfg.PBMTE the VS-stage. N: 64 KiB at the last level is all there is ("Svnapot"). */
static bool reserved_leaf(const walk *k, u64 pte, u32 level, bool gstage) {
    const u64 envcfg = k->w.v && !gstage ? k->c->h.csr.henvcfg : k->c->h.csr.menvcfg;
    const u64 pbmt = pte & PTE_PBMT;
    if (pbmt == PTE_PBMT || (pbmt && !(envcfg & MENVCFG_PBMTE))) return true;
    if (pte & PTE_N && !has(k->c, FEATURE_SVNAPOT)) return true;
    return pte & PTE_N && (level || (PTE_PPN(pte) & 15) != 8);
}

static u32 judge(const walk *k, u64 pte, u32 level, u32 access, bool implicit, bool gstage) {
    if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W) return WALK_INVALID;
    if (pte & PTE_RESERVED) return WALK_RESERVED;
    if (!(pte & (PTE_R | PTE_X))) return judge_pointer(pte, level);
    if (reserved_leaf(k, pte, level, gstage)) return WALK_RESERVED;
    return judge_leaf(k, pte, level, access, implicit, gstage);
}

/* log2 of the size of the page that a leaf maps. */
static u32 leaf_bits(u64 pte, u32 level) { return pte & PTE_N ? 16 : 12 + 9 * level; }

static u64 leaf_address(u64 pte, u32 level, u64 address) {
    const u64 offset = (1ull << leaf_bits(pte, level)) - 1;
    return (PTE_PPN(pte) << 12 & ~offset) | (address & offset);
}

/* The entry at a physical address, or NULL when PMP or the lack of memory forbids it: page tables are read as by S-mode. */
static u8 *pte_host(walk *k, u64 physical, u32 access) {
    core *c = k->c;
    region *r = find_region(c->m, physical, 8);
    if (!r || r->hidden || !pmp_allows(c, physical, 8, access, PRV_S)) return NULL;
    if (access == ACCESS_STORE) {
        if (!r->writable) return NULL;
        if (!k->probe) mark_written(c->m, r, physical, 8);
    } else if (!k->probe) {
        c->h.walk_reads++;
    }
    return r->host + (physical - r->base);
}

/* Read the entry at `physical`; false where that is refused. */
static bool read_pte(walk *k, walk_step *s, u64 physical, u64 *pte) {
    const u8 *host = pte_host(k, physical, ACCESS_LOAD);
    s->pte_physical = physical;
    if (!host) {
        s->result = WALK_ACCESS;
        return access_fault(k);
    }
    memcpy(pte, host, 8);
    s->pte = *pte;
    return true;
}

/* Set A, and D for a store, in the entry at `physical`; a look leaves it as it is. */
static bool mark_pte(walk *k, walk_step *s, u64 physical, u64 pte) {
    u8 *host = pte_host(k, physical, ACCESS_STORE);
    if (!host) {
        s->result = WALK_ACCESS;
        return access_fault(k);
    }
    if (!k->probe) memcpy(host, &pte, 8);
    return true;
}

/* Which of A and D are missing for this access. */
static u64 missing_bits(u64 pte, u32 access) { return (PTE_A | (access == ACCESS_STORE ? PTE_D : 0)) & ~pte; }

static u32 gstage_levels(u64 hgatp) {
    const u64 mode = hgatp >> 60;
    return mode >= 8 && mode <= 10 ? (u32)mode - 5 : 0;
}

/* G-stage: guest-physical to physical. `access`: what this access needs; `implicit`: 0, or the pseudoinstruction that
   describes an access made for VS-stage translation; `nested`: VS-stage level whose entry is meant, 255 for the final address. */
static bool gstage(walk *k, u64 gpa, u32 access, u64 implicit, u32 nested, u64 *physical) {
    core *c = k->c;
    const u64 hgatp = c->h.csr.hgatp;
    const u32 levels = gstage_levels(hgatp);
    if (!levels) {
        *physical = gpa;
        return true;
    }
    /* Zero, not sign, extension: the root has four pages for two more bits. */
    if (gpa >> (12 + 9 * levels + 2)) {
        walk_step *s = step(k, 1, levels - 1, nested, gpa);
        s->result = WALK_RANGE;
        return guest_page_fault(k, gpa, implicit);
    }
    u64 table = (hgatp & 0xffffffffffcull) << 12;
    for (u32 level = levels - 1;; level--) {
        const u64 index = gpa >> (12 + 9 * level) & (level == levels - 1 ? 2047 : 511);
        const u64 at = table + index * 8;
        walk_step *s = step(k, 1, level, nested, gpa);
        u64 pte;
        s->pte_address = at;
        if (!read_pte(k, s, at, &pte)) return false;
        u32 result = judge(k, pte, level, access, implicit, true);
        if (result == WALK_POINTER) {
            table = PTE_PPN(pte) << 12;
            continue;
        }
        const u64 missing = missing_bits(pte, access);
        if (result == WALK_LEAF && missing && !(c->h.csr.menvcfg & MENVCFG_ADUE))
            result = missing & PTE_A ? WALK_ACCESSED : WALK_DIRTY;
        s->result = (u8)result;
        if (result != WALK_LEAF) return guest_page_fault(k, gpa, implicit);
        if (missing && !mark_pte(k, s, at, pte | missing)) return false;
        *physical = s->output = leaf_address(pte, level, gpa);
        if (leaf_bits(pte, level) < k->bits) k->bits = leaf_bits(pte, level);
        return true;
    }
}

/* First stage: satp, or vsatp with V=1. Leaves the guest-physical (V=1) or physical address in guest_physical. */
static bool first_stage(walk *k) {
    core *c = k->c;
    const u32 v = k->w.v;
    const u64 satp = v ? c->h.csr.vsatp : c->h.csr.satp;
    const u64 mode = satp >> 60;
    if (k->w.prv == PRV_M || mode < 8 || mode > 10) {
        k->guest_physical = k->address;
        return true;
    }
    const u32 levels = (u32)mode - 5, width = 12 + 9 * levels;
    const i64 high = (i64)k->address >> (width - 1);
    if (high != 0 && high != -1) {
        step(k, 0, levels - 1, 255, k->address)->result = WALK_RANGE;
        return page_fault(k);
    }
    const bool update = v ? c->h.csr.henvcfg & MENVCFG_ADUE : c->h.csr.menvcfg & MENVCFG_ADUE;
    u64 table = (satp & SATP_PPN) << 12;
    for (u32 level = levels - 1;; level--) {
        const u64 at = table + (k->address >> (12 + 9 * level) & 511) * 8;
        u64 physical = at;
        if (v && !gstage(k, at, ACCESS_LOAD, 0x3000, level, &physical)) return false;
        walk_step *s = step(k, 0, level, 255, k->address);
        u64 pte;
        s->pte_address = at;
        if (!read_pte(k, s, physical, &pte)) return false;
        u32 result = judge(k, pte, level, k->access, false, false);
        if (result == WALK_POINTER) {
            table = PTE_PPN(pte) << 12;
            continue;
        }
        const u64 missing = missing_bits(pte, k->access);
        if (result == WALK_LEAF && missing && !update) result = missing & PTE_A ? WALK_ACCESSED : WALK_DIRTY;
        s->result = (u8)result;
        if (result != WALK_LEAF) return page_fault(k);
        if (missing) {
            /* The update is a store: the G-stage must permit it, and marks its own page dirty. */
            if (v && !gstage(k, at, ACCESS_STORE, 0x3020, level, &physical)) return false;
            if (!mark_pte(k, s, physical, pte | missing)) return false;
        }
        k->guest_physical = s->output = leaf_address(pte, level, k->address);
        k->bits = k->span = leaf_bits(pte, level);
        return true;
    }
}

static bool translate(walk *k) {
    k->bits = 63;
    k->span = 12;
    if (!first_stage(k)) return false;
    k->physical = k->guest_physical;
    return !k->w.v || gstage(k, k->guest_physical, k->access, 0, 255, &k->physical);
}

/* Does the lookaside know the page, in the context that `tag` names? */
static bool is_known(walk *k, u64 tag) {
    const translation *t = &k->c->h.known[k->access][slot_of(k->address)];
    if (t->tag != ((k->address & PAGE_MASK) | tag)) return false;
    k->physical = (t->page & PAGE_MASK) | (k->address & 4095);
    return true;
}

/* What the lookaside knows; else a walk, which it then knows. */
static bool resolve(walk *k) {
    core *c = k->c;
    if (!k->tag) return translate(k);
    if (is_known(k, k->tag)) return true;
    c->h.misses[k->access]++;
    if (!translate(k)) return false;
    translation *t = &c->h.known[k->access][slot_of(k->address)];
    /* Jumps go by themselves to a page that was known; it no longer is. */
    if (k->access == ACCESS_FETCH && t->tag) flush_jumps(c);
    *t = (translation){.tag = (k->address & PAGE_MASK) | k->tag, .page = (k->physical & PAGE_MASK) | k->span};
    quick_entries(c, k->access)[slot_of(k->address)].tag = 0;
    return true;
}

/* Translate and check what lies there: `size` bytes within one page. HLVX needs execute and read from PMP. */
static bool reach(walk *k, u64 size) {
    if (!resolve(k)) return false;
    if (!pmp_allows(k->c, k->physical, size, k->access, k->w.prv)) return access_fault(k);
    return !k->w.hlvx || pmp_allows(k->c, k->physical, size, ACCESS_FETCH, k->w.prv) || access_fault(k);
}

/* The quick form, by the address as the program gave it: a tagged pointer has an entry of its own. */
static void install(const walk *k, const void *page) {
    quick_entries(k->c, k->access)[slot_of(k->address)] = (tlb_entry){
        .tag = (k->given & PAGE_MASK) | k->tag,
        .addend = (u64)(uintptr_t)page - (k->given & PAGE_MASK),
    };
}

static enum status trapped(core *c, const walk *k) {
    c->trap = k->trap;
    return c->status = TRAP;
}

/* --- fetch --------------------------------------------------------------------------------------------------------- */

/* The decoded page that holds `address`. *out is NULL, with OK, where PMP cuts the page: then nothing may be cached. Nor of
   the instruction that has just hidden the memory which it lies in, and must end. */
enum status fetch_page(core *c, u64 address, code_page **out) {
    const world w = world_of(c, c->h.prv, c->h.v);
    walk k = walk_of(c, &w, ACCESS_FETCH, c->fetch_tag, address);
    if (!reach(&k, 2)) return trapped(c, &k);
    region *r = find_region(c->m, k.physical, 2);
    if (!r || (r->hidden && c->mmio != MMIO_DONE)) {
        access_fault(&k);
        return trapped(c, &k);
    }
    *out = code_page_of(c->m, r, k.physical & PAGE_MASK);
    if (r->hidden || !pmp_uniform(c, k.physical & PAGE_MASK)) {
        *out = NULL;
        return OK;
    }
    c->fetch[slot_of(address)] = (tlb_entry){.tag = (address & PAGE_MASK) | k.tag, .addend = (u64)(uintptr_t)*out};
    return OK;
}

/* Two bytes of code at a virtual address that was fetched, without any effect: it came through the lookaside, which knows
   the page, whatever the tables say now. -1 when it does not. */
static i32 peek_parcel(core *c, u64 address) {
    const world w = world_of(c, c->h.prv, c->h.v);
    walk k = walk_of(c, &w, ACCESS_FETCH, 0, address);
    if (!is_known(&k, c->fetch_tag)) return -1;
    region *r = find_region(c->m, k.physical, 2);
    if (!r) return -1;
    u16 parcel;
    memcpy(&parcel, r->host + (k.physical - r->base), 2);
    return parcel;
}

/* The instruction at pc, for xtval: 16 or 32 bits. */
u32 instruction_bits(core *c, u64 pc) {
    const i32 low = peek_parcel(c, pc);
    if (low < 0 || (low & 3) != 3) return low < 0 ? 0 : (u32)low;
    const i32 high = peek_parcel(c, pc + 2);
    return (u32)low | (high < 0 ? 0 : (u32)high << 16);
}

/* --- loads and stores ------------------------------------------------------------------------------------------------ */

static bool is_device(const machine *m, u64 physical) {
    for (u32 i = 0; i < m->devices; i++)
        if (physical - m->device[i].base < m->device[i].size) return true;
    return false;
}

/* Memory that answers this access itself, or NULL. */
static region *answering(walk *k, u64 size) {
    region *r = find_region(k->c->m, k->physical, size);
    return r && !r->hidden && (r->writable || k->access != ACCESS_STORE) ? r : NULL;
}

/* An access that no memory answers. Not a device either: access fault. Else the caller carries it out between two runs. */
static enum status device_access(walk *k, u32 size, u64 *value) {
    core *c = k->c;
    const bool store = k->access == ACCESS_STORE;
    if (!is_device(c->m, k->physical) || k->physical & (size - 1) || k->w.hlvx) {
        access_fault(k);
        return trapped(c, k);
    }
    if (c->mmio == MMIO_DONE) {
        c->mmio = MMIO_NONE;
        if (!store) *value = c->mmio_value; /* of which the access takes its bytes */
        return OK;
    }
    c->mmio = MMIO_WAITING;
    c->mmio_address = k->physical;
    c->mmio_size = size;
    c->mmio_store = store;
    c->mmio_value = store ? *value : 0;
    return c->status = MMIO;
}

/* The guest-physical address of an access that was let through; what the lookaside knows does not tell it. */
static bool find_guest_physical(const walk *k, u64 *out) {
    walk look = *k;
    look.probe = true;
    look.tag = 0;
    if (!k->w.v || !translate(&look)) return false;
    *out = look.guest_physical;
    return true;
}

static bool overlaps(u64 a, u64 size, u64 b, u64 length) { return a - b < length || b - a < size; }

/* A touch of a watched range ends the run behind the instruction: it is begun again alone, and then may complete. */
static enum status check_watch(const walk *k, u32 size, u32 kinds, const u8 *host) {
    core *c = k->c;
    const u32 mode = mode_index(k->w.prv, k->w.v);
    stop_touch touch = {.address = k->address, .physical = k->physical, .size = size, .mode = mode};
    const bool guest = c->m->guest_watched && find_guest_physical(k, &touch.guest_physical);
    bool noted = false;
    for (u32 i = 0; i < c->m->watches; i++) {
        const stop_watch *w = &c->m->watch[i];
        const u64 at[] = {k->physical, k->address, touch.guest_physical};
        if (!(w->kinds & kinds) || !overlaps(at[w->space], size, w->address, w->length)) continue;
        if ((w->space == SPACE_GUEST && !guest) || !in_scope(c, &w->scope, mode)) continue;
        if (!c->single) {
            c->redo = true;
            return c->status = REDO;
        }
        c->watch_kind = (c->watch_hit ? c->watch_kind : 0) | (kinds & w->kinds);
        c->watch_hit = true;
        c->watch_address = k->physical;
        c->watch_size = size;
        noted |= w->noted;
    }
    if (noted) {
        touch.kinds = kinds;
        memcpy(touch.old, host, size < sizeof touch.old ? size : sizeof touch.old);
        saw_touch(c, &touch);
    }
    return OK;
}

/* Does a watch by virtual or guest-physical address lie in the page of this access? Then it has no quick form. */
static bool roams_here(const walk *k) {
    const machine *m = k->c->m;
    u64 gpa = 0;
    const bool guest = m->guest_watched && find_guest_physical(k, &gpa);
    for (u32 i = 0; i < m->watches; i++) {
        const stop_watch *w = &m->watch[i];
        if (w->space == SPACE_PHYSICAL || (w->space == SPACE_GUEST && !guest)) continue;
        if (overlaps((w->space == SPACE_GUEST ? gpa : k->address) & PAGE_MASK, 4096, w->address, w->length)) return true;
    }
    return false;
}

/* Is this store into decoded instructions? Then it must run alone, so that no stale operation runs behind it. */
static bool hits_code(core *c, const region *r, u64 physical, u32 size) {
    const u64 page = (physical - r->base) >> 12;
    if (!(r->flags[page] & PAGE_CODE)) return false;
    const u64 lines = c->m->code[r->code[page]].lines;
    return lines >> (physical >> 6 & 63) & 1 || lines >> ((physical + size - 1) >> 6 & 63) & 1;
}

/* The host address of `size` bytes of RAM within one page, ready to be read or written, or NULL with c->status set. */
static u8 *ram(walk *k, u32 size, bool cache) {
    core *c = k->c;
    const bool store = k->access == ACCESS_STORE;
    region *r = answering(k, size);
    if (!r) {
        access_fault(k);
        trapped(c, k);
        return NULL;
    }
    u8 *flags = &r->flags[(k->physical - r->base) >> 12];
    u8 *host = r->host + (k->physical - r->base);
    if (*flags & PAGE_WATCHED || UNLIKELY(c->m->roaming)) {
        const u32 kinds = k->both ? WATCH_READ | WATCH_WRITE : store ? WATCH_WRITE : WATCH_READ;
        if (check_watch(k, size, kinds, host)) return NULL;
    }
    if (store) {
        if (!c->single && hits_code(c, r, k->physical, size)) {
            c->redo = true;
            c->status = REDO;
            return NULL;
        }
        mark_written(c->m, r, k->physical, size);
    }
    const bool plain = !(*flags & (store ? PAGE_WATCHED | PAGE_CODE : PAGE_WATCHED)) && !(c->m->roaming && roams_here(k));
    if (cache && plain && pmp_uniform(c, k->physical & PAGE_MASK)) {
        const u8 *page = r->host + ((k->physical & PAGE_MASK) - r->base);
        install(k, page);
    }
    return host;
}

/* One access within a page. */
static enum status access_page(walk *k, u32 size, void *data, bool cache) {
    core *c = k->c;
    if (!reach(k, size)) return trapped(c, k);
    if (!answering(k, size)) {
        u64 value = 0;
        if (k->access == ACCESS_STORE) memcpy(&value, data, size);
        const enum status status = device_access(k, size, &value);
        if (status == OK && k->access == ACCESS_LOAD) memcpy(data, &value, size);
        return status;
    }
    u8 *host = ram(k, size, cache);
    if (!host) return c->status;
    if (k->access == ACCESS_STORE) memcpy(host, data, size);
    else memcpy(data, host, size);
    return OK;
}

static enum status trapped_behind(core *c, const walk *k, u32 offset) {
    trapped(c, k);
    c->trap.offset = offset;
    return TRAP;
}

/* Any load or store, aligned or not. Misaligned accesses are carried out ("Misaligned Loads and Stores" leaves it to the
   platform), those across pages only when both pages permit. `tag` 0: without the lookaside. */
static enum status access_memory(core *c, const world *w, u32 access, u64 tag, u64 address, u32 size, void *data) {
    walk k = walk_of(c, w, access, tag, address);
    const u32 room = 4096 - (u32)(address & 4095);
    if (LIKELY(size <= room)) return access_page(&k, size, data, tag != 0);
    walk second = walk_of(c, w, access, tag, address + room);
    if (!reach(&k, room)) return trapped(c, &k);
    if (!reach(&second, size - room)) return trapped_behind(c, &second, room);
    if (!answering(&k, room)) { access_fault(&k); return trapped(c, &k); }
    if (!answering(&second, size - room)) { access_fault(&second); return trapped_behind(c, &second, room); }
    u8 *const a = ram(&k, room, false), *const b = a ? ram(&second, size - room, false) : NULL;
    if (!b) return c->status;
    u8 *bytes = data;
    if (access == ACCESS_STORE) {
        memcpy(a, bytes, room);
        memcpy(b, bytes + room, size - room);
    } else {
        memcpy(bytes, a, room);
        memcpy(bytes + room, b, size - room);
    }
    return OK;
}

/* A misaligned access inside a page that the lookaside knows: the tag speaks for the page. NULL: not so. */
static u8 *misaligned_hit(const tlb_entry *entries, u64 tag, u64 address, u32 size) {
    const tlb_entry *e = &entries[address >> 12 & (TLB_SIZE - 1)];
    if (e->tag != ((address & PAGE_MASK) | tag) || (address & 4095) + size > 4096) return NULL;
    return (u8 *)(uintptr_t)(address + e->addend);
}

u64 slow_load(core *c, u64 address, u32 size) {
    u64 value = 0;
    const u8 *host = misaligned_hit(c->load, c->load_tag, address, size);
    if (host) {
        memcpy(&value, host, size);
        return value;
    }
    const world w = data_world(c);
    access_memory(c, &w, ACCESS_LOAD, c->load_tag, address, size, &value);
    return value;
}

enum status slow_store(core *c, u64 address, u64 value, u32 size) {
    u8 *host = misaligned_hit(c->store, c->store_tag, address, size);
    if (host) {
        memcpy(host, &value, size);
        return OK;
    }
    const world w = data_world(c);
    return access_memory(c, &w, ACCESS_STORE, c->store_tag, address, size, &value);
}

/* The host address for an atomic operation, which needs RAM, alignment and write permission. NULL: c->status says why. */
static u8 *atomic_host(core *c, u32 access, bool both, u64 address, u32 size, u64 *physical) {
    const world w = data_world(c);
    walk k = walk_of(c, &w, access, access == ACCESS_STORE ? c->store_tag : c->load_tag, address);
    k.both = both;
    if (address & (size - 1)) {
        fail(&k, access == ACCESS_STORE ? EXCEPTION_STORE_MISALIGNED : EXCEPTION_LOAD_MISALIGNED, 0, 0);
    } else if (reach(&k, size)) {
        *physical = k.physical;
        return ram(&k, size, true);
    }
    trapped(c, &k);
    return NULL;
}

void *slow_amo(core *c, u64 address, u32 size) {
    u64 physical;
    return atomic_host(c, ACCESS_STORE, true, address, size, &physical);
}

/* "Load-Reserved/Store-Conditional Instructions". The reservation is the physical address; harts take turns, and losing
   one's turn loses it. */
enum status load_reserved(core *c, u64 address, u64 bits, u64 *out) {
    u64 physical;
    const u8 *host = atomic_host(c, ACCESS_LOAD, false, address, (u32)bits / 8, &physical);
    if (!host) return c->status;
    c->h.reservation = physical;
    *out = 0;
    memcpy(out, host, bits / 8);
    return OK;
}

enum status store_conditional(core *c, u64 address, u64 value, u64 bits, u64 *out) {
    u64 physical;
    u8 *host = atomic_host(c, ACCESS_STORE, false, address, (u32)bits / 8, &physical);
    if (!host) return c->status;
    *out = c->h.reservation != physical;
    c->h.reservation = NEVER;
    if (!*out) memcpy(host, &value, bits / 8);
    return OK;
}

/* AMOCAS.Q ("Zacas"): the pair that begins at x0 reads as zero and is not written. */
enum status compare_and_swap_pair(core *c, u64 address, u64 rd, u64 rs2) {
    static const u64 nothing[2];
    u64 *const x = c->h.x, physical, old[2];
    u8 *host = atomic_host(c, ACCESS_STORE, true, address, sizeof old, &physical);
    if (!host) return c->status;
    memcpy(old, host, sizeof old);
    if (!memcmp(old, rd ? x + rd : nothing, sizeof old)) memcpy(host, rs2 ? x + rs2 : nothing, sizeof old);
    if (rd) memcpy(x + rd, old, sizeof old);
    return OK;
}

/* --- cache blocks: "Cache Management Operations" ---------------------------------------------------------------------- */

enum { CACHE_BLOCK = 64 };

/* "CSR controls for CMO instructions": `field` has its place in all three registers. */
static enum status check_cbo(core *c, u64 field) {
    const hart *h = &c->h;
    const bool user = h->prv == PRV_U && !(h->csr.senvcfg & field);
    if ((h->prv != PRV_M && !(h->csr.menvcfg & field)) || (user && !h->v)) return raise_illegal(c);
    if (h->v && (!(h->csr.henvcfg & field) || user)) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    return OK;
}

/* Translate, and go to the beginning of the block. Faults keep the address as rs1 has it. */
static bool reach_block(walk *k) {
    if (!resolve(k)) return false;
    k->physical &= ~(u64)(CACHE_BLOCK - 1);
    return pmp_allows(k->c, k->physical, CACHE_BLOCK, k->access, k->w.prv) || access_fault(k);
}

/* With no cache there is nothing to do but to check. What may load or store may manage the block, and nothing stores that
   may not load; the exceptions are those of a store, though, and D is not looked at. */
static enum status manage_block(core *c, u64 address, u64 field) {
    const world w = data_world(c);
    walk k = walk_of(c, &w, ACCESS_LOAD, c->load_tag, address);
    if (check_cbo(c, field) != OK) return TRAP;
    if (!reach_block(&k) || !(find_region(c->m, k.physical, 1) || is_device(c->m, k.physical) || access_fault(&k))) {
        k.trap.cause += EXCEPTION_STORE_ACCESS - EXCEPTION_LOAD_ACCESS; /* the same distance for all three */
        return trapped(c, &k);
    }
    return OK;
}

enum status cbo_inval(core *c, u64 address) { return manage_block(c, address, MENVCFG_CBIE); }
enum status cbo_clean(core *c, u64 address) { return manage_block(c, address, MENVCFG_CBCFE); }

/* A store of 64 bytes. Devices do not support it. */
enum status cbo_zero(core *c, u64 address) {
    if (check_cbo(c, MENVCFG_CBZE) != OK) return TRAP;
    u8 *host = misaligned_hit(c->store, c->store_tag, address & ~(u64)(CACHE_BLOCK - 1), CACHE_BLOCK);
    if (!host) {
        const world w = data_world(c);
        walk k = walk_of(c, &w, ACCESS_STORE, c->store_tag, address);
        if (!reach_block(&k)) return trapped(c, &k);
        host = ram(&k, CACHE_BLOCK, true);
        if (!host) return c->status;
    }
    memset(host, 0, CACHE_BLOCK);
    return OK;
}

/* The tag of HLV's, HSV's or HLVX's translations. Where the table of contexts is crowded they go without: to begin it anew
   would take the page from under the instructions that run. */
static u64 guest_tag(core *c, const world *w) {
    u64 *tag = &c->guest_tag[w->hlvx];
    if (!*tag) *tag = find_context(c, w, true);
    return *tag;
}

/* V=1 raises virtual instruction before privilege is looked at; U-mode needs hstatus.HU. */
static enum status guest_access(core *c, u32 access, u64 address, u64 bits, bool hlvx, void *data) {
    if (c->h.v) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    if (c->h.prv == PRV_U && !(c->h.csr.hstatus & HSTATUS_HU)) return raise_illegal(c);
    const world w = guest_world(c, hlvx);
    return access_memory(c, &w, access, guest_tag(c, &w), address, (u32)bits / 8, data);
}

enum status guest_load(core *c, u64 address, u64 bits, u64 *out) {
    *out = 0;
    return guest_access(c, ACCESS_LOAD, address, bits, false, out);
}

enum status guest_load_execute(core *c, u64 address, u64 bits, u64 *out) {
    *out = 0;
    return guest_access(c, ACCESS_LOAD, address, bits, true, out);
}

enum status guest_store(core *c, u64 address, u64 value, u64 bits) {
    return guest_access(c, ACCESS_STORE, address, bits, false, &value);
}

/* --- looking without touching ------------------------------------------------------------------------------------------ */

/* Why `size` bytes at a physical address are refused, or REFUSED_NOT. */
static i32 refusal(core *c, u64 physical, u64 size, u32 access, u32 prv) {
    region *r = find_region(c->m, physical, size);
    if (!pmp_allows(c, physical, size, access, prv)) {
        const i32 entry = pmp_entry(c, physical, size);
        return entry < 0 ? REFUSED_NO_ENTRY : entry;
    }
    if (!r) return access != ACCESS_FETCH && is_device(c->m, physical) ? REFUSED_NOT : REFUSED_NO_MEMORY;
    return access == ACCESS_STORE && !r->writable ? REFUSED_READ_ONLY : REFUSED_NOT;
}

/* Of an entry that could not be read or, its bits being good, not be written; else of the address that the walk led to. */
static i32 why_refused(walk *k, const walk_record *out) {
    const walk_step *last = out->count ? &out->steps[out->count - 1] : NULL;
    i32 why;
    if (last && last->result == WALK_ACCESS) {
        why = refusal(k->c, last->pte_physical, 8, ACCESS_LOAD, PRV_S);
        if (why == REFUSED_NOT) why = refusal(k->c, last->pte_physical, 8, ACCESS_STORE, PRV_S);
        return why == REFUSED_NOT ? REFUSED_NO_MEMORY : why;
    }
    if (last && last->result != WALK_LEAF) return REFUSED_NOT;
    why = refusal(k->c, k->physical, 1, k->access, k->w.prv);
    return why == REFUSED_NOT && k->w.hlvx ? refusal(k->c, k->physical, 1, ACCESS_FETCH, k->w.prv) : why;
}

static world asked_world(core *c, const walk_query *q) {
    static const u8 prv[] = {PRV_M, PRV_S, PRV_U, PRV_S, PRV_U};
    const bool given = q->mode >= 0 && q->mode <= 4;
    const world own = q->access == ACCESS_FETCH ? world_of(c, c->h.prv, c->h.v) : data_world(c);
    world w = q->hlvx ? guest_world(c, true) : given ? world_of(c, prv[q->mode], q->mode >= MODE_VS) : own;
    if (q->hlvx && given) w.prv = prv[q->mode];
    if (q->sum >= 0) w.sum = q->sum;
    if (q->gmxr >= 0) w.gmxr = q->gmxr;
    if (q->mxr >= 0 || q->gmxr >= 0) {
        const bool mxr = q->mxr >= 0 ? q->mxr : (c->h.csr.vsstatus & MSTATUS_MXR) != 0;
        if (!w.v && q->mxr >= 0) w.gmxr = mxr;
        w.mxr = w.gmxr || (w.v && mxr);
        if (!w.hlvx) w.pmm = masking(c, w.prv, w.v, w.mxr);
    }
    return w;
}

int64_t hart_walk(hart *h, uint64_t address, uint32_t access, int32_t mode, walk_record *out) {
    const walk_query q = {.address = address, .access = access, .mode = mode, .sum = -1, .mxr = -1, .gmxr = -1};
    return hart_look(h, &q, out);
}

int64_t hart_look(hart *h, const walk_query *q, walk_record *out) {
    core *c = core_of(h);
    const u32 access = q->access > 2 || q->hlvx ? ACCESS_LOAD : q->access;
    const world w = asked_world(c, q);
    walk k = walk_of(c, &w, access, 0, q->address);
    k.probe = true;
    k.record = out;
    memset(out, 0, sizeof *out);
    bool reached = reach(&k, 1);
    const region *r = find_region(c->m, k.physical, 1);
    if (reached && (!r || r->hidden))
        reached = (access != ACCESS_FETCH && !w.hlvx && is_device(c->m, k.physical)) || access_fault(&k);
    out->physical = k.physical;
    out->guest_physical = k.guest_physical;
    out->page_bits = k.bits > 60 ? 60 : k.bits;
    out->cause = reached ? -1 : (i64)k.trap.cause;
    out->refused = REFUSED_NOT;
    if (!reached) {
        out->tval = k.trap.tval;
        out->tval2 = k.trap.tval2;
        out->tinst = k.trap.tinst;
        out->refused = why_refused(&k, out);
    }
    out->address = k.address;
    out->mode = (u8)mode_index(w.prv, w.v);
    out->sum = w.sum;
    out->mxr = w.mxr;
    out->gmxr = w.gmxr;
    out->first = w.prv == PRV_M ? 0 : w.v ? h->csr.vsatp : h->csr.satp;
    out->second = w.v ? h->csr.hgatp : 0;
    return out->cause;
}

uint32_t hart_trap_csrs(hart *h, uint32_t mode, uint64_t cause, const walk_record *found, csr_state *out, uint64_t *pc) {
    static const u8 prv[] = {PRV_M, PRV_S, PRV_U, PRV_S, PRV_U};
    /* On a copy of the whole hart, which then is thrown away. */
    core *c = malloc(sizeof *c);
    if (!c) return 5;
    memcpy(c, core_of(h), sizeof *c);
    history_row unseen = {0};
    c->row = &unseen;
    c->row_end = NEVER;
    c->h.prv = prv[mode];
    c->h.v = mode >= MODE_VS;
    const trap_info info = {
        .cause = cause, .tval = found->tval, .tval2 = found->tval2, .tinst = found->tinst, .gva = found->mode >= MODE_VS,
    };
    const u32 to = exception_mode(c, cause);
    take_trap(c, cause, &info, to);
    *out = c->h.csr;
    *pc = c->h.pc;
    free(c);
    return to;
}
