/* Decoded code: pages of blocks, made on first execution, dropped when their bytes are written.
 *
 * Stores see to it that no stale instruction runs, which is more than FENCE.I asks for ("Zifencei").
 */

#include "internal.h"

#define NUMBER(name) HANDLER_##name,
enum { HANDLERS(NUMBER) HANDLER_COUNT };
#undef NUMBER
enum { FUSED_BASE = HANDLER_stop + 1, DEPENDENT_BASE = FUSED_BASE + FUSED_FIRSTS * FUSED_ENDS };

/* One instruction form of the decoder's table. */
typedef struct form {
    u32 mask, match;
    u16 handler, far; /* far: for jumps that leave the page */
    u16 odd;          /* for jumps, which may be misaligned, where all instructions have 32 bits */
    u8 needs;         /* feature */
    u8 ends_block, relative;
    u8 first, second; /* place among the frequent instructions, from 1; 0: not fused */
    u8 swap;          /* rs1 in b may change places with rs2: 1 in a, 2 in c */
    void (*extract)(op *o, u32 word);
    bool (*reserved)(u32 word);
    u32 (*expand)(u32 word); /* of 16-bit forms: the instruction that they abbreviate */
} form;

/* Writes to x0 go where nobody looks. */
static inline u32 sink(u32 rd) { return rd ? rd : 32; }

#include "decoder.inc"

/* What is switched off makes way for what is behind it: hints are instructions of the base set that do nothing. */
static const form *find_form(const hart_isa *isa, u32 word) {
    const u32 bucket = (word & 3) == 3 ? 32 + (word >> 2 & 31) : (word & 3) | (word >> 13 & 7) << 2;
    for (const form *f = forms + buckets[bucket]; f < forms + buckets[bucket + 1]; f++)
        if ((word & f->mask) == f->match && isa_has(isa, f->needs)) return f->reserved && f->reserved(word) ? NULL : f;
    return NULL;
}

/* "Transformed Instruction or Pseudoinstruction for mtinst or htinst": of loads, stores, atomics, HLV, HLVX and HSV, and by
   "Cache Management Operations", section "Traps", of cache-block operations; 0 of others.
   `offset`: from the address of the access to the one that faulted. */
u32 transformed(const core *c, u32 word, u32 offset) {
    enum { LOAD = 0x03, LOAD_FP = 0x07, MISC_MEM = 0x0f, STORE = 0x23, STORE_FP = 0x27, AMO = 0x2f, SYSTEM_ = 0x73 };
    const form *f = find_form(&c->m->isa, word);
    if (!f) return 0;
    const u32 full = f->expand ? f->expand(word) : word;
    u32 kept;
    switch (full & 0x7f) {
    case LOAD: case LOAD_FP: kept = full & 0x7fff; break;
    case STORE: case STORE_FP: kept = full & 0x01f0707f; break;
    case AMO: kept = full & ~(31u << 15); break;
    case MISC_MEM: return full & 0xfff0707f;
    case SYSTEM_:
        if ((full >> 12 & 7) != 4) return 0;
        kept = full & ~(31u << 15);
        break;
    default: return 0;
    }
    return (kept | (offset & 31) << 15) & ~(f->expand ? 2u : 0u);
}

/* --- pages and arena ------------------------------------------------------------------------------------------------ */

void flush_code(machine *m) {
    for (u32 i = 0; i < m->harts; i++) {
        memset(m->cores[i]->fetch, 0, sizeof m->cores[i]->fetch);
        flush_jumps(m->cores[i]);
    }
    for (u32 i = 1; i < m->code_used; i++) {
        region *r = find_region(m, m->code[i].physical, 4096);
        if (!r) continue;
        const u64 page = (m->code[i].physical - r->base) >> 12;
        r->code[page] = 0;
        r->flags[page] &= (u8)~PAGE_CODE;
    }
    m->code_used = 1;
    m->arena_used = 1; /* unit 0 stands for "no block" */
    m->arena_generation++;
}

code_page *code_page_of(machine *m, region *r, u64 physical) {
    const u64 page = (physical - r->base) >> 12;
    if (!r->code[page]) {
        if (m->code_used == CODE_PAGES) flush_code(m);
        code_page *p = &m->code[m->code_used];
        memset(p, 0, sizeof *p);
        p->host = r->host + (physical - r->base);
        p->physical = physical;
        r->code[page] = (u16)m->code_used++;
    }
    return &m->code[r->code[page]];
}

/* Bytes of a page with code were written. Only lines that hold instructions matter. */
void code_written(machine *m, region *r, u64 physical, u64 length) {
    const u64 page = (physical - r->base) >> 12;
    code_page *p = &m->code[r->code[page]];
    const u64 first = physical >> 6 & 63, last = (physical + length - 1) >> 6 & 63;
    bool touched = false;
    for (u64 line = first; line <= last; line++) touched |= p->lines >> line & 1;
    if (!touched) return;
    memset(p->entry, 0, sizeof p->entry);
    p->lines = 0;
    for (u32 i = 0; i < m->harts; i++) flush_jumps(m->cores[i]);
    r->flags[page] &= (u8)~PAGE_CODE;
}

static void mark_code(machine *m, code_page *p, u32 from, u32 to) {
    region *r = find_region(m, p->physical, 4096);
    u8 *flags = &r->flags[(p->physical - r->base) >> 12];
    for (u32 line = from >> 6; line <= (to - 1) >> 6; line++) p->lines |= 1ull << line;
    if (!(*flags & PAGE_CODE)) {
        *flags |= PAGE_CODE;
        flush_stores(m);
    }
}

/* --- decoding --------------------------------------------------------------------------------------------------------- */

static bool breakpoint_in_page(const machine *m, u64 offset) {
    for (u32 i = 0; i < m->breakpoints; i++)
        if ((m->breakpoint[i].address & 4095) == offset) return true;
    return false;
}

/* What decides here is part of the translation context, so that a jump that passed by here still does where it is known. */
static bool is_breakpoint(const core *c, u64 pc) {
    const machine *m = c->m;
    for (u32 i = 0; i < m->breakpoints; i++)
        if (m->breakpoint[i].address == pc && in_scope(c, &m->breakpoint[i].scope, mode_index(c->h.prv, c->h.v))) return true;
    return false;
}

/* Room for the block while it grows: offsets are written behind the operations at the end. */
typedef struct draft {
    block head;
    op ops[BLOCK_SLOTS];
    u8 offsets[BLOCK_MAX];
    u8 first[BLOCK_MAX], second[BLOCK_MAX], swap[BLOCK_MAX];
    u32 slots;
} draft;

static void emit_synthetic(draft *d, u32 handler) {
    op o = {0};
    o.handler = (u16)handler;
    d->ops[d->slots++] = o;
}

/* Add one instruction; true when it ends the block. */
static bool emit(const core *c, draft *d, u32 word, u64 offset_in_page, u64 page_room) {
    const form *f = find_form(&c->m->isa, word);
    const u32 length = (word & 3) == 3 ? 4 : 2, n = d->head.n;
    op *o = &d->ops[d->slots++];
    memset(o, 0, sizeof *o);
    d->offsets[n] = (u8)(d->head.bytes / 2);
    d->first[n] = d->second[n] = d->swap[n] = 0;
    d->head.n++;
    if (!f) {
        o->handler = HANDLER_illegal;
        d->head.bytes += (u16)length;
        return true;
    }
    f->extract(o, word);
    o->handler = f->handler;
    d->first[n] = f->first;
    d->second[n] = f->second;
    d->swap[n] = f->swap;
    if (f->odd && !has(c, FEATURE_ZCA) && (!f->relative || o->imm & 2)) {
        o->handler = f->odd;
        d->second[n] = 0;
        if (f->relative) o->imm += d->head.bytes;
    } else if (f->relative) {
        const i64 target = (i64)offset_in_page + o->imm;
        if (f->far && (target < 0 || target >= (i64)page_room)) {
            o->handler = f->far;
            d->second[n] = 0;
        }
        o->imm += d->head.bytes;
    }
    d->head.bytes += (u16)length;
    if (f->ends_block) d->ops[d->slots++] = (op){0}; /* chain */
    return f->ends_block;
}

/* Would the immediate, made relative to the start of the block, leave its 32 bits? Then it begins a block. */
static bool overflows(const core *c, u32 word, u32 bytes) {
    const form *f = find_form(&c->m->isa, word);
    op o = {0};
    if (!f || !f->relative || f->ends_block) return false;
    f->extract(&o, word);
    return o.imm > INT32_MAX - (i32)bytes;
}

/* Does the second of two operations take what the first makes as its rs1, perhaps after a swap? */
static bool depends(const op *first, op *second, u32 swap) {
    u8 *other = swap == 1 ? &second->a : swap == 2 ? &second->c : NULL;
    if (first->a == second->b) return true;
    if (!other || first->a != *other) return false;
    *other = second->b;
    second->b = first->a;
    return true;
}

/* Two frequent neighbours share one handler, and one dispatch. */
static void fuse(draft *d) {
    for (u32 i = 0; i + 1 < d->head.n; i++) {
        const u32 first = d->first[i] - 1u, second = d->second[i + 1] - 1u;
        if (!d->first[i] || !d->second[i + 1]) continue;
        if (first < FUSED_PRODUCERS && second < FUSED_BASED && depends(&d->ops[i], &d->ops[i + 1], d->swap[i + 1]))
            d->ops[i].handler = (u16)(DEPENDENT_BASE + first * FUSED_BASED + second);
        else
            d->ops[i].handler = (u16)(FUSED_BASE + first * FUSED_ENDS + second);
        i++;
    }
}

/* How a draft ends. */
enum ending { BY_JUMP, BY_LIMIT, BY_PAGE };

static enum ending decode(core *c, const u8 *page, u32 offset, u32 most, draft *d) {
    d->head = (block){.offset = (u16)offset};
    d->slots = 0;
    for (u32 at = offset; d->head.n < most; at = offset + d->head.bytes) {
        u16 low, high = 0;
        if (at >= 4096) {
            emit_synthetic(d, HANDLER_end_page);
            return BY_PAGE;
        }
        if (d->head.n && c->m->breakpoints && breakpoint_in_page(c->m, at)) break;
        memcpy(&low, page + at, 2);
        if ((low & 3) == 3) {
            if (at + 4 > 4096) break; /* begins a block of its own, see crossing_block */
            memcpy(&high, page + at + 2, 2);
        }
        const u32 word = low | (u32)high << 16;
        if (d->head.n && overflows(c, word, d->head.bytes)) break;
        if (emit(c, d, word, at, 4096)) return BY_JUMP;
    }
    emit_synthetic(d, HANDLER_end);
    d->ops[d->slots++] = (op){0}; /* chain */
    return BY_LIMIT;
}

static block *store_draft(const draft *d, block *b) {
    *b = d->head;
    b->slots = (u16)d->slots;
    memcpy(b->ops, d->ops, d->slots * sizeof(op));
    memcpy(block_offsets(b), d->offsets, d->head.n);
    return b;
}

/* A block of at most `most` instructions that is used once: for single steps, odd budgets and breakpoints. The last
   instruction is followed by a stop. */
static block *scratch_from(core *c, draft *d, bool jumped) {
    if (!jumped) {
        /* Replace the end by a stop: the run is over where the budget is. */
        d->slots = d->head.n;
        emit_synthetic(d, HANDLER_stop);
    }
    return store_draft(d, &c->scratch.block);
}

/* The page of code at `pc`, from the lookaside where it knows: how a run is cut must not bring a walk that would not be. */
static enum status known_page(core *c, u64 pc, code_page **out) {
    const tlb_entry *e = &c->fetch[pc >> 12 & (TLB_SIZE - 1)];
    if (e->tag != ((pc & PAGE_MASK) | c->fetch_tag)) return fetch_page(c, pc, out);
    *out = (code_page *)(uintptr_t)e->addend;
    return OK;
}

/* An instruction that begins in the last two bytes of a page. */
static block *crossing_block(core *c, u64 pc, const u8 *page) {
    u16 low, high;
    code_page *next;
    memcpy(&low, page + 4094, 2);
    if (known_page(c, pc + 2, &next) != OK) {
        return NULL; /* xtval is the address of the half that faulted, xepc the instruction's */
    }
    if (next) {
        memcpy(&high, next->host, 2);
    } else {
        const u32 word = instruction_bits(c, pc);
        high = (u16)(word >> 16);
    }
    draft d = {0};
    d.head.offset = 4094;
    const bool jumped = emit(c, &d, low | (u32)high << 16, 4094, 0);
    return scratch_from(c, &d, jumped);
}

block *scratch_block(core *c, u64 pc, u32 most) {
    code_page *p;
    draft d;
    if (known_page(c, pc, &p) != OK) return NULL;
    if (!p) {
        /* PMP cuts this page: one instruction at a time, each half checked by the fetch. */
        const u32 word = instruction_bits(c, pc);
        code_page *second;
        if ((word & 3) == 3 && known_page(c, pc + 2, &second) != OK) return NULL;
        d = (draft){0};
        d.head.offset = pc & 4095;
        const bool jumped = emit(c, &d, word, 4096, 0);
        return scratch_from(c, &d, jumped);
    }
    u16 low;
    memcpy(&low, p->host + (pc & 4095), 2);
    if ((pc & 4095) == 4094 && (low & 3) == 3) return crossing_block(c, pc, p->host);
    const enum ending ending = decode(c, p->host, pc & 4095, most < BLOCK_MAX ? most : BLOCK_MAX, &d);
    return scratch_from(c, &d, ending == BY_JUMP);
}

static block *cached_block(core *c, u64 pc) {
    code_page *p;
    if (UNLIKELY(c->m->breakpoints) && is_breakpoint(c, pc)) {
        if (!c->skip_break || c->skip_pc != pc) {
            c->status = BREAK;
            return NULL;
        }
        c->skip_break = false; /* once: a loop comes back to it */
        return scratch_block(c, pc, 1);
    }
    if (known_page(c, pc, &p) != OK) return NULL;
    if (!p) return scratch_block(c, pc, 1);
    const u32 offset = pc & 4095;
    if (p->entry[offset >> 1]) return (block *)(c->m->arena + p->entry[offset >> 1]);
    u16 low;
    memcpy(&low, p->host + offset, 2);
    if (offset == 4094 && (low & 3) == 3) return crossing_block(c, pc, p->host);

    draft d;
    decode(c, p->host, offset, BLOCK_MAX, &d);
    fuse(&d);
    const u32 units = 1 + d.slots + (d.head.n + 7) / 8;
    if (c->m->arena_used + units > ARENA_UNITS) {
        /* By its physical address: what was decoded came from this page, whatever a walk would say now. */
        const u64 physical = p->physical;
        flush_code(c->m);
        p = code_page_of(c->m, find_region(c->m, physical, 4096), physical);
    }
    const u32 at = c->m->arena_used;
    c->m->arena_used += units;
    block *b = store_draft(&d, (block *)(c->m->arena + at));
    p->entry[offset >> 1] = at;
    mark_code(c->m, p, offset, offset + d.head.bytes);
    return b;
}

/* The block at `pc`: found, decoded, or made for this once. NULL: c->status says why not. */
block *find_block(core *c, u64 pc) {
    block *b = cached_block(c, pc);
    if (b && b != &c->scratch.block && handler_labels)
        c->jumps[pc >> 1 & (JUMPS - 1)] =
            (jump){.pc = pc, .key = c->jump_key, .block = b, .handler = handler_labels[b->ops[0].handler]};
    return b;
}

/* The block at `pc`, remembered behind the jump `at` when it lies in the same page. */
block *chain_block(core *c, block *from, op *at, u32 which, u64 pc) {
    const u32 generation = c->m->arena_generation;
    block *b = find_block(c, pc);
    if (!b || b == &c->scratch.block || from == &c->scratch.block || generation != c->m->arena_generation) return b;
    if (c->m->breakpoints && breakpoint_in_page(c->m, pc & 4095)) return b;
    /* `end` and branches fall through into the next page only where the last instruction ends the page. */
    if (which == 1 && from->offset + from->bytes >= 4096) return b;
    at[1].chain[which] = (u32)((u64 *)b - c->m->arena);
    return b;
}
