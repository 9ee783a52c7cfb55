/* The interpreter: threaded dispatch over decoded operations. The handlers are generated from emulator/isa. */

#include "internal.h"
#include "crypto.h"
#include "integer.h"
#include "softfloat.h"

/* A lookaside hit needs page, context and alignment to agree at once: low bits of a misaligned address spoil the tag. */
#define HIT(entry, address, type, context) \
    LIKELY((entry)->tag == (((address) & (PAGE_MASK | (sizeof(type) - 1))) | (context)))

#define LOAD(type, result, where) \
    do { \
        const u64 va_ = (where); \
        const tlb_entry *e_ = &c->load[va_ >> 12 & (TLB_SIZE - 1)]; \
        if (HIT(e_, va_, type, c->load_tag)) { \
            type v_; \
            memcpy(&v_, (const void *)(uintptr_t)(va_ + e_->addend), sizeof v_); \
            result = v_; \
        } else { \
            result = slow_load(c, va_, sizeof(type)); \
            if (UNLIKELY(c->status)) goto fault; \
        } \
    } while (0)

#define STORE(type, where, value) \
    do { \
        const u64 va_ = (where); \
        const type v_ = (type)(value); \
        const tlb_entry *e_ = &c->store[va_ >> 12 & (TLB_SIZE - 1)]; \
        if (HIT(e_, va_, type, c->store_tag)) memcpy((void *)(uintptr_t)(va_ + e_->addend), &v_, sizeof v_); \
        else if (UNLIKELY(slow_store(c, va_, v_, sizeof(type)))) goto fault; \
    } while (0)

#define AMO_OPEN(type, old, where) \
    void *amo_; \
    do { \
        const tlb_entry *e_ = &c->store[(where) >> 12 & (TLB_SIZE - 1)]; \
        type v_; \
        amo_ = HIT(e_, where, type, c->store_tag) ? (void *)(uintptr_t)((where) + e_->addend) : slow_amo(c, where, sizeof(type)); \
        if (UNLIKELY(!amo_)) goto fault; \
        memcpy(&v_, amo_, sizeof v_); \
        old = v_; \
    } while (0)

#define AMO_CLOSE(type, value) \
    do { \
        const type v_ = (type)(value); \
        memcpy(amo_, &v_, sizeof v_); \
    } while (0)

#define ACCESS(call) \
    do { \
        if (UNLIKELY((c->status = (call)) != OK)) goto fault; \
    } while (0)

/* mstatus.FS, and vsstatus.FS with V=1, must both be on; what a write makes dirty is dirty in both. */
#define FP_ENABLED() \
    if (UNLIKELY(!c->fp)) goto illegal
#define FP_DIRTY() \
    if (UNLIKELY(c->fp != 2)) fp_make_dirty(c)
#define FP_FLAGS() \
    if (flags & ~(u32)c->h.csr.fcsr) { c->h.csr.fcsr |= flags; FP_DIRTY(); } else if (flags) { FP_DIRTY(); }
#define ROUNDING(operand) \
    const u32 rm = (operand) == 7 ? (u32)c->h.csr.fcsr >> 5 : (operand); \
    if (UNLIKELY(rm > 4)) goto illegal

#define DISPATCH() goto *labels[op->handler]
#define NEXT() \
    do { \
        op++; \
        DISPATCH(); \
    } while (0)
/* The present block is kept in memory: few handlers ask for it, and a register is worth more. */
#define BLOCK (c->block)
#define ENTER(next) \
    do { \
        block *const next__ = (next); \
        c->block = next__; \
        left -= next__->n; \
        op = next__->ops; \
        if (UNLIKELY(left < 0)) goto spent; \
        DISPATCH(); \
    } while (0)
#define CHAINED(which) \
    do { \
        const u32 next_ = op[1].chain[which]; \
        if (UNLIKELY(!next_)) goto chain_##which; \
        ENTER((block *)(arena + next_)); \
    } while (0)
#define JUMP_NEAR() \
    do { \
        base += (u64)(i64)op->imm; \
        CHAINED(0); \
    } while (0)
#define FALL_THROUGH() \
    do { \
        base += BLOCK->bytes; \
        CHAINED(1); \
    } while (0)
#define LOOK_UP() \
    do { \
        const jump *const jump_ = &c->jumps[base >> 1 & (JUMPS - 1)]; \
        if (UNLIKELY(jump_->pc != base || jump_->key != c->jump_key)) goto find; \
        c->block = jump_->block; \
        left -= jump_->block->n; \
        op = jump_->block->ops; \
        if (UNLIKELY(left < 0)) goto spent; \
        goto *jump_->handler; \
    } while (0)
#define JUMP_FAR() \
    do { \
        base += (u64)(i64)op->imm; \
        LOOK_UP(); \
    } while (0)
#define JUMP_INDIRECT(target) \
    do { \
        base = (target); \
        LOOK_UP(); \
    } while (0)
/* "Instruction-address-misaligned": only where IALIGN is 32. The jump writes no register then. */
#define MISALIGNED(target) \
    do { \
        c->status = raise(c, EXCEPTION_INSTRUCTION_MISALIGNED, (target)); \
        c->trap.gva = c->h.v; \
        goto fault; \
    } while (0)
/* Ends a block: pc and clock are those of this instruction while its primitive runs. */
#define SYSTEM(call) \
    do { \
        c->h.pc = base + 2 * (u64)block_offsets(BLOCK)[BLOCK->n - 1]; \
        c->h.clock = c->limit - (u64)left - 1; \
        c->status = (call); \
        goto system; \
    } while (0)

static void fp_make_dirty(core *c) {
    c->fp = 2;
    c->h.csr.mstatus |= MSTATUS_FS;
    if (c->h.v) c->h.csr.vsstatus |= MSTATUS_FS;
}

/* Widening never rounds, but a reserved rounding mode is illegal all the same; the handler has checked it. */
static inline u64 f32_widen(u64 a, u32 rm, u32 *flags) {
    (void)rm;
    return f32_to_f64(a, flags);
}
static inline u64 f16_widen32(u64 a, u32 rm, u32 *flags) {
    (void)rm;
    return f16_to_f32(a, flags);
}
static inline u64 f16_widen64(u64 a, u32 rm, u32 *flags) {
    (void)rm;
    return f16_to_f64(a, flags);
}

const void *const *handler_labels;

/* Runs from block `from` at `base` until `*left` instructions are used up or something needs a look from outside.
   On return h.pc is the next instruction, or the one that did not complete; *left is exact. */
enum status interpret(core *c, block *from, u64 base, i64 *left_out) {
#define LABEL(name) &&op_##name,
    static const void *const labels[] = {HANDLERS(LABEL)};
#undef LABEL
    handler_labels = labels;
    u64 *const x = c->h.x;
    const u64 *const arena = c->m->arena;
    i64 left = *left_out;
    union op *op;
    block *found;

    ENTER(from);

#define OP(name) op_##name:
#include "handlers.inc"

    OP(illegal) { goto illegal; }
    OP(end) { FALL_THROUGH(); }
    OP(end_page) {
        base += BLOCK->bytes;
        LOOK_UP();
    }
    OP(stop) {
        base += BLOCK->bytes;
        c->h.pc = base;
        *left_out = left;
        return LIMIT;
    }

/* Out of line: the next block is not known here. At the end of the slice it must not even be fetched: an interrupt may be
   due first, and a fault would be one step too many. */
chain_0:
    if (left <= 0) goto over;
    found = chain_block(c, BLOCK, op, 0, base);
    goto entered;
chain_1:
    if (left <= 0) goto over;
    found = chain_block(c, BLOCK, op, 1, base);
    goto entered;
find:
    if (left <= 0) goto over;
    found = find_block(c, base);
entered:
    if (LIKELY(found)) ENTER(found);
    c->h.pc = base;
    *left_out = left;
    return c->status;

system:
    if (LIKELY(c->status == OK)) {
        base += BLOCK->bytes;
        if (UNLIKELY(BLOCK == &c->scratch.block)) {
            c->h.pc = base;
            *left_out = left;
            return LEAVE;
        }
        LOOK_UP();
    }
    if (c->status == TRAP) left++;
    else if (c->status == LEAVE) c->h.pc = base + BLOCK->bytes;
    *left_out = left;
    return c->status;

illegal:
    c->status = raise_illegal(c);
fault: {
    const ptrdiff_t done = op - BLOCK->ops;
    c->h.pc = base + 2 * (u64)block_offsets(BLOCK)[done];
    *left_out = left + BLOCK->n - done;
    return c->status;
}
spent:
    left += BLOCK->n;
over:
    c->h.pc = base;
    *left_out = left;
    return LIMIT;
}
