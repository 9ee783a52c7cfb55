/* What the files of the native hart share, and nobody else sees. */
#ifndef RVTUI_INTERNAL_H
#define RVTUI_INTERNAL_H

#include <stddef.h>
#include <string.h>

#include "csr.h"
#include "csr_defs.h"
#include "handlers.h"
#include "native.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "guest memory is read in place: the host must be little-endian"
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

enum { PRV_U = 0, PRV_S = 1, PRV_M = 3 };
enum { MODE_M = 0, MODE_HS = 1, MODE_U = 2, MODE_VS = 3, MODE_VU = 4 };
enum { ACCESS_FETCH = 0, ACCESS_LOAD = 1, ACCESS_STORE = 2 };

#define INTERRUPT_BIT (1ull << 63)
#define PAGE_MASK (~0xfffull)
#define NEVER UINT64_MAX
/* No hart sleeps longer, and none runs so long: clocks and turns can be added. */
#define LAST_SLEEP ((UINT64_C(1) << 62) - 1)
#define LAST_CLOCK ((UINT64_C(1) << 63) - 1)

/* --- decoded code ------------------------------------------------------------------------------------------- */

/* One decoded operation. `chain`, in the slot after a jump, holds the blocks that follow: taken, not taken. */
typedef union op {
    struct {
        u16 handler;
        u8 a, b;
        union {
            i32 imm;
            struct { u8 c, d, e, spare; };
        };
    };
    u32 chain[2];
} op;
_Static_assert(sizeof(op) == 8, "operations are eight bytes: footprint decides the speed of large programs");

enum { BLOCK_MAX = 64, BLOCK_SLOTS = BLOCK_MAX + 3 };

/* A straight run of instructions in one page. After the operations stand `n` bytes: the offset of each, in halfwords. */
typedef struct block {
    u16 n;      /* instructions */
    u16 bytes;
    u16 slots;  /* operations, synthetic ends and chain slot included */
    u16 offset; /* in its page */
    op ops[];
} block;

static inline u8 *block_offsets(block *b) { return (u8 *)(b->ops + b->slots); }

/* Decoded code of one physical page: block by halfword, as offsets into the arena in units of eight bytes; 0 none. */
typedef struct code_page {
    u8 *host;
    u64 physical;
    u64 lines;  /* 64-byte lines that hold decoded instructions */
    u32 entry[2048];
} code_page;

/* --- machine ------------------------------------------------------------------------------------------------ */

enum { PAGE_WRITTEN = 1, PAGE_CODE = 2, PAGE_WATCHED = 4, PAGE_TOUCHED = 8 };
enum { REGIONS = 16, DEVICES = 64, BREAKPOINTS = 256, WATCHES = 64, CODE_PAGES = 8192 };
enum { ARENA_UNITS = 1 << 23 }; /* 64 MiB of decoded code, touched as it fills */

typedef struct region {
    u64 base, size;
    u8 *host;
    u8 *flags;   /* per page */
    u16 *code;   /* per page: index of its code_page, 0 none */
    bool writable, hidden;
} region;

typedef struct breakpoint { u64 address; stop_scope scope; } breakpoint;

typedef struct core core;

struct machine {
    hart_isa isa; /* of all its harts: they share decoded code */
    u32 harts;
    core **cores;
    u32 regions;
    region region[REGIONS];
    u32 devices;
    struct { u64 base, size; } device[DEVICES];
    u32 breakpoints;
    breakpoint breakpoint[BREAKPOINTS];
    u32 watches;
    stop_watch watch[WATCHES];
    bool roaming;        /* a watch is by virtual or guest-physical address: no page of memory stands for it */
    bool guest_watched;  /* by guest-physical address */
    u32 looking;         /* enum seen_kind: of which `filter` names any */
    stop_filter filter;
    stop_seen seen;
    u64 instructions_per_tick, time_offset;
    u64 round, quantum;
    u32 turn;
    volatile int stop;
    u64 *arena;          /* of units */
    u32 arena_used;
    u32 arena_generation;
    code_page *code;     /* CODE_PAGES of them, 0 unused */
    u32 code_used;
};

/* --- core: a hart with what is derived from its state --------------------------------------------------------- */

enum { JUMPS = 4096 };

/* The quick form of a translation: `tag` as there, but of the address as the program gives it; low bits of a misaligned
   address spoil it. Host address = address + `addend`. There is none without a `known` translation, but it may be dropped
   at any time. */
typedef struct tlb_entry {
    u64 tag;
    u64 addend;
} tlb_entry;

/* Where an indirect jump went: what a mispredicted one waits for is this one entry, handler address included. */
typedef struct jump {
    u64 pc, key;      /* key: translation context, and a count of all that may have moved code */
    block *block;
    const void *handler;
} jump;

typedef struct trap_info {
    u64 cause, tval, tval2, tinst;
    u32 offset;       /* of tval from the address of the access, where that is misaligned and reaches into another page */
    bool gva;
} trap_info;

/* Which translations a fence is about: V, and where asked for the address, ASID, VMID. */
typedef struct fence_scope {
    u32 v;
    bool by_address, by_asid, by_vmid;
    u64 address, asid, vmid;
} fence_scope;

/* How a step ended. Of primitives: OK goes straight on, LEAVE goes on after a look around, JUMP too, at h.pc. */
enum status { OK = 0, TRAP = 1, REDO = 2, MMIO = 3, BREAK = 4, LEAVE = 5, JUMP = 6, LIMIT = 7 };
enum { MMIO_NONE = 0, MMIO_WAITING = 1, MMIO_DONE = 2 };

struct core {
    hart h; /* first: x[0] lies at the address of the core */
    machine *m;
    u64 load_tag, store_tag, fetch_tag;
    u64 guest_tag[2]; /* of HLV and HSV, and of HLVX; 0: not known yet */
    u64 jump_key;     /* of entries in `jumps` that hold now */
    u64 jump_flushes;
    block *block;     /* that the interpreter is in */
    u32 fp;           /* 0 off, 1 on, 2 on and dirty */
    u64 limit;        /* the clock when the present slice is used up */
    enum status status; /* OK from the beginning of a turn until something ends it: what did */
    trap_info trap;
    bool single;      /* one instruction from the scratch block: stores to code and watched ranges may complete */
    bool redo;        /* the next instruction must run so */
    bool skip_break;  /* pass over a breakpoint at skip_pc, once */
    bool at_break;    /* the caller was told of a breakpoint at break_pc, and nothing has run since */
    u64 skip_pc, break_pc;
    bool watch_hit;
    u64 watch_address;
    u32 watch_size, watch_kind;
    u32 mmio;
    u32 mmio_size;
    bool mmio_store;
    u64 mmio_address, mmio_value;
    u64 mode_mark;    /* instructions retired when the present mode was entered */
    hart_history *past;
    history_row *row; /* of it: where the clock stood at mode_mark */
    u64 row_end;      /* the clock where the next row begins */
    u64 filtered, counting, armed; /* sets of counters, see counters.c */
    u32 pmp_count;    /* entries up to the last that is not OFF */
    struct { u64 low, high; u8 cfg; } pmp[PMP_COUNT]; /* inclusive bounds */
    u8 pmp_default;   /* R, W, X of M-mode where no entry matches */
    tlb_entry fetch[TLB_SIZE], load[TLB_SIZE], store[TLB_SIZE];
    jump jumps[JUMPS];
    union {
        block block;
        u64 room[BLOCK_SLOTS + 2 + BLOCK_MAX / 8];
    } scratch;
};

static inline core *core_of(hart *h) { return (core *)h; }

static inline bool has(const core *c, u32 feature) { return isa_has(&c->m->isa, feature); }

static inline u32 mode_index(u32 prv, u32 v) {
    if (prv == PRV_M) return MODE_M;
    if (v) return prv == PRV_S ? MODE_VS : MODE_VU;
    return prv == PRV_S ? MODE_HS : MODE_U;
}

/* mmu.c */
enum status fetch_page(core *c, u64 address, code_page **out);
u64 slow_load(core *c, u64 address, u32 size);
enum status slow_store(core *c, u64 address, u64 value, u32 size);
void *slow_amo(core *c, u64 address, u32 size);
enum status load_reserved(core *c, u64 address, u64 bits, u64 *out);
enum status store_conditional(core *c, u64 address, u64 value, u64 bits, u64 *out);
enum status guest_load(core *c, u64 address, u64 bits, u64 *out);
enum status guest_load_execute(core *c, u64 address, u64 bits, u64 *out);
enum status guest_store(core *c, u64 address, u64 value, u64 bits);
enum status compare_and_swap_pair(core *c, u64 address, u64 rd, u64 rs2);
enum status cbo_inval(core *c, u64 address);
enum status cbo_clean(core *c, u64 address);
enum status cbo_zero(core *c, u64 address);
void flush_translations(core *c);
void fence(core *c, const fence_scope *scope);
void flush_stores(machine *m);
void drop_quick(core *c);
void pmp_refresh(core *c);
void flush_jumps(core *c);
region *find_region(machine *m, u64 address, u64 size);
u32 instruction_bits(core *c, u64 pc);
u32 transformed(const core *c, u32 word, u32 offset);

/* code.c */
block *find_block(core *c, u64 pc);
extern const void *const *handler_labels; /* set by the interpreter when it is first entered */
block *chain_block(core *c, block *from, op *at, u32 which, u64 pc);
block *scratch_block(core *c, u64 pc, u32 most);
code_page *code_page_of(machine *m, region *r, u64 physical);
void code_written(machine *m, region *r, u64 physical, u64 length);
void flush_code(machine *m);

/* interpret.c */
enum status interpret(core *c, block *b, u64 pc, i64 *left);

/* counters.c */
void counters_changed(core *c); /* what they count, or their cells, was written from outside */
void counters_check(core *c);   /* the clock has moved: note overflows */
void counters_leave(core *c);   /* around a change of mode */
void counters_enter(core *c);
bool count_event(core *c, u32 event);
void count_trap(core *c, u64 cause, u32 mode);

static inline bool count(core *c, u32 event) { return UNLIKELY(c->counting) && count_event(c, event); }

/* stops.c */
bool in_scope(const core *c, const stop_scope *s, u32 mode);
void saw_trap(core *c, u64 cause, u64 tval, u64 pc, u32 from, u32 to);
void saw_change(core *c, u64 pc, u32 from, u32 to);
void saw_csr(core *c, u32 kind, u32 number, u64 old, u64 value);
void saw_touch(core *c, const stop_touch *touch);

/* Is anybody looking for this? */
static inline bool looking(const core *c, u32 kinds) { return UNLIKELY(c->m->looking & kinds); }

/* history.c */
void history_stand(core *c, u64 clock);
void history_spend(core *c, u64 now);
void history_sleep(core *c, u64 until);
void history_clear(hart_history *past);

/* The instructions since `mode_mark` are the present mode's, and with V=1 the guest's that runs; all in the present row. */
static inline void spend(core *c, u64 now) {
    hart *h = &c->h;
    const u32 mode = mode_index(h->prv, h->v);
    const u64 since = now - c->mode_mark;
    c->mode_mark = now;
    h->retired[mode] += since;
    if (mode >= MODE_VS) {
        h->guests[h->guest].retired[mode - MODE_VS] += since;
        c->row->guests[h->guest].retired[mode - MODE_VS] += since;
    } else {
        c->row->retired[mode] += since;
    }
}

/* An event; the present row must be that of the clock, as behind settle(). */
static inline void history_note(core *c, u32 kind) { c->row->events[kind - 1]++; }

/* guests.c */
void guest_entered(core *c, u64 now);
void guest_left(core *c, u64 cause, const trap_info *info, u32 mode);

/* system.c: traps, and the primitives that the descriptions name */
enum status raise(core *c, u64 cause, u64 tval);
enum status raise_illegal(core *c);
void take_trap(core *c, u64 cause, const trap_info *info, u32 mode);
u32 exception_mode(core *c, u64 cause);
void record(core *c, u32 kind, u64 pc, u64 value, u32 cause, u32 from, u32 to);
void enter_mode(core *c, u32 prv, u32 v, u64 retired);
void settle(core *c, u64 now); /* brings what modes and guests have retired up to the hart's instruction `now` */
enum status do_fence_i(core *c);
enum status do_ecall(core *c);
enum status do_ebreak(core *c);
enum status do_mret(core *c);
enum status do_sret(core *c);
enum status do_wfi(core *c);
enum status do_wrs_nto(core *c);
enum status do_inval_order(core *c);
enum status do_sfence_vma(core *c, u64 address, u64 asid, u64 rs1, u64 rs2);
enum status do_hfence_vvma(core *c, u64 address, u64 asid, u64 rs1, u64 rs2);
enum status do_hfence_gvma(core *c, u64 address, u64 vmid, u64 rs1, u64 rs2);
enum status do_csr_write(core *c, u64 csr, u64 value, u64 source, u64 rd);
enum status do_csr_set(core *c, u64 csr, u64 value, u64 source, u64 rd);
enum status do_csr_clear(core *c, u64 csr, u64 value, u64 source, u64 rd);

/* Called by csr.c after a write. */
void hart_context_changed(hart *h);
void hart_pmp_changed(hart *h);

#endif
