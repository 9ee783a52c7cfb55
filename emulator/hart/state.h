/* What a hart and a machine are made of.
 *
 * One text, two readers: the C compiler, and cffi, which gives Python every field between the two marks below.
 * Between the marks stand only declarations that cffi's parser knows: no preprocessor, no expressions but integers.
 * `csr_state` is generated from emulator/isa/csrs.py.
 */
#ifndef RVTUI_STATE_H
#define RVTUI_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "csr_state.h"

/* cffi: begin */

/* Why run() came back. */
enum exit_reason {
    EXIT_BUDGET = 0,       /* the budget of instructions is spent */
    EXIT_MMIO_READ = 1,    /* a load from an address that no memory backs: complete with `value`, run again */
    EXIT_MMIO_WRITE = 2,   /* a store of `value` to such an address: carry out, run again */
    EXIT_IDLE = 3,         /* every hart waits (WFI) and no timer is set: only an outside interrupt can wake one */
    EXIT_BREAKPOINT = 4,   /* pc is at a breakpoint, the instruction has not run */
    EXIT_WATCHPOINT = 5,   /* a watched range was touched, the instruction is complete */
    EXIT_TRAP = 6,         /* a trap entered a mode that the caller plays; its CSRs are written */
    EXIT_STOPPED = 7,      /* stop was asked for from another thread */
    EXIT_TRAP_LOOP = 8,    /* traps follow traps and nothing retires: the hart can never leave by itself */
    EXIT_EVENT = 10        /* something happened that machine_look_for asked for; machine_seen says what */
};

enum watch_kind { WATCH_READ = 1, WATCH_WRITE = 2 };

/* Where a breakpoint or watch holds: in these modes (bits by mode index), and if `mask` is not 0, with V=1 only, where
   hgatp & mask is `hgatp`. */
typedef struct {
    uint64_t hgatp, mask;
    uint32_t modes, spare;
} stop_scope;

enum watch_space { SPACE_PHYSICAL = 0, SPACE_VIRTUAL = 1, SPACE_GUEST = 2 };

/* A watched range, by addresses of one kind. Noted ones are told by machine_seen. */
typedef struct {
    uint64_t address, length;
    uint32_t kinds;        /* enum watch_kind */
    uint32_t space;        /* enum watch_space */
    uint32_t noted, spare;
    stop_scope scope;
} stop_watch;

/* What to look for beside breakpoints and watches. */
typedef struct {
    uint64_t traps[5][2];  /* by the mode it comes from: bits of exceptions, of interrupts */
    uint64_t changes;      /* of mode: bit 5 * from + to */
    uint64_t csr_reads[64], csr_writes[64]; /* by instructions; bit per CSR number, VS CSRs by their own */
} stop_filter;

enum seen_kind { SEEN_TRAP = 1, SEEN_CHANGE = 2, SEEN_CSR_READ = 4, SEEN_CSR_WRITE = 8, SEEN_TOUCH = 16 };
enum { TOUCHES = 4 };

/* A touch of a noted range. */
typedef struct {
    uint64_t address, guest_physical, physical; /* of the access; guest_physical where somebody watches that */
    uint32_t size, kinds;  /* enum watch_kind */
    uint32_t mode, spare;  /* whose access it was: with MPRV and HLV not the hart's */
    uint8_t old[64];       /* what was there before */
} stop_touch;

/* What happened, of what was looked for, during the last instruction or trap. */
typedef struct {
    uint32_t kinds;        /* enum seen_kind */
    uint32_t hart;
    uint64_t pc;           /* of the instruction; for interrupts, of the one they came before */
    uint64_t hgatp, hgatp_after; /* when the first, and when the last of it happened */
    uint64_t cause, tval;  /* trap: as in xcause, xtval */
    uint32_t origin, target; /* mode indices, of the first */
    uint64_t changes;      /* of mode, as in stop_filter */
    uint32_t csr, touches;
    uint64_t old, value;   /* CSR: before and after; of a read both are what was read */
    stop_touch touch[TOUCHES];
} stop_seen;

enum event_kind {
    EVENT_TRAP = 1,        /* exception: cause, pc, value = xtval */
    EVENT_INTERRUPT = 2,   /* interrupt: cause, pc */
    EVENT_RETURN = 3,      /* xRET, or the caller has set the mode: pc = where to */
    EVENT_FENCE = 4,       /* SFENCE/HFENCE/SINVAL/HINVAL: value = rs1 */
    EVENT_WFI = 5,         /* the hart begins to wait: value = the clock until which it has slept, 0 not yet */
    EVENT_HGATP = 6        /* hgatp written: value = new hgatp */
};

/* One entry of the event ring. Modes are mode indices, 0 M, 1 HS, 2 U, 3 VS, 4 VU. */
typedef struct {
    uint64_t clock;        /* the hart's clock when it happened */
    uint64_t pc;
    uint64_t value;
    uint16_t cause;        /* of a return: enum move */
    uint16_t vmid;         /* in hgatp then */
    uint8_t kind, from_mode, to_mode;
    uint8_t guest;         /* with V=1 before or behind it: which of `guests`, if that was there then */
} hart_event;

/* By what a hart changes mode. */
enum move {
    MOVE_CALL = 0,         /* an environment call */
    MOVE_TRAP = 1,         /* another exception */
    MOVE_INTERRUPT = 2,
    MOVE_MRET = 3, MOVE_SRET = 4,
    MOVE_SET = 5           /* the caller: a host that plays a mode, or a debugger */
};

enum { TRAPS = 256, FAULTS = 64 };

/* A trap as it was taken, for display. What is in pairs stood before it, and stands behind it. */
typedef struct {
    uint64_t event;        /* its number among all events */
    uint64_t clock;
    uint64_t epc, cause, tval, tval2, tinst; /* as written; into VS-mode no tval2 and tinst */
    uint64_t handler;
    uint64_t delegated[2]; /* medeleg and hedeleg, of an interrupt mideleg and hideleg */
    uint64_t enabled, pending; /* mie and mip, of an interrupt */
    uint64_t status[2];    /* mstatus, or into VS-mode vsstatus */
    uint64_t hstatus[2];
    uint16_t vmid;
    uint8_t from_mode, to_mode;
    uint32_t spare;
} hart_trap;

/* Interrupts by the bits of mip, and by level: of M, of HS, of VS. */
typedef struct {
    uint64_t stored;       /* software has written it */
    uint64_t wired;        /* an interrupt controller drives it */
    uint64_t injected;     /* by hvip */
    uint64_t guests;       /* by hgeip */
    uint64_t timers;       /* a comparator is reached */
    uint64_t pending;      /* any of these */
    uint64_t enabled;      /* mie */
    uint64_t level[3];     /* whose it is, by mideleg and hideleg */
    uint32_t open[3];      /* would that level take one in the present mode */
    uint32_t mode;         /* mode index that takes `next` */
    int32_t next;          /* its bit; -1: none is taken */
    int32_t code;          /* what xcause says of it */
} interrupt_record;

enum { GUESTS = 16 };

/* Traps out of V=1 with one cause into one mode. What follows them until the guest is entered again is measured by the clock of
   this hart: what it retires then, for whomever, and what it sleeps. */
typedef struct {
    uint64_t count;
    uint64_t returns;      /* of which an entry followed */
    uint64_t spent, least, most;
} guest_exits;

/* A guest as the hart knows it: by MODE and PPN of hgatp. For display only. */
typedef struct {
    uint64_t hgatp;        /* as at its last entry: its VMID may have been another before */
    uint64_t entries;      /* V became 1; 0: nobody is here */
    uint64_t retired[2];   /* in VS, in VU; hart_settle() brings them up to date */
    uint64_t seen;         /* clock of the last entry or exit */
    uint64_t left;         /* clock of the last exit */
    uint64_t served[3];    /* retired in M, HS, U between an exit of it and the next entry, of whichever guest */
    uint64_t before[3];    /* `retired` of the hart in these modes at the last exit */
    uint64_t clock, cause, pc, tval, tval2, tinst; /* of the last exit, cause as in xcause; once `exits` has one */
    uint32_t away;         /* 1 + which of `exits` it left by; 0 inside, or after an exit without a trap */
    uint8_t from_mode, to_mode; /* of the last exit */
    uint16_t spare;
    uint64_t since;        /* clock of the first entry */
    guest_exits exits[128];/* by cause, +32 for interrupts, +64 into M-mode */
} hart_guest;

enum { HISTORY_ROWS = 2048 };

/* What a hart did during some stretch of its clock: instructions that retired, and that it slept; and events. What stands
   for a guest before its `since` is another's, which had its place then. */
typedef struct {
    uint64_t retired[3];   /* in M, HS, U */
    uint64_t asleep;       /* waiting or halted */
    uint64_t events[6];    /* by enum event_kind, from 1 */
    struct {
        uint64_t retired[2]; /* in VS, in VU */
        uint64_t exits;    /* traps out of V=1 */
    } guests[GUESTS];
} history_row;

/* All that a hart ever did, from clock 0 on: a row for each 1 << shift of its clock. When there are no rows left, two become
   one. For display only, but saved: it follows from what ran alone, not from who looked when. */
typedef struct {
    uint32_t shift;
    uint32_t used;         /* rows; those behind are 0 */
    history_row rows[HISTORY_ROWS];
} hart_history;

enum { TLB_SIZE = 1024, CONTEXTS = 512 };

/* Everything besides the address that decides a translation. Its number is part of each lookaside tag. */
typedef struct {
    uint64_t satp, hgatp;
    uint32_t flags;        /* privilege, V, SUM, MXR..., as context_tag() packs them */
    uint32_t used;
} translation_context;

/* What the lookaside holds of one page, until a fence or another page takes its place: page tables that changed since may
   say otherwise, as on any hardware. So it is state, and saved. */
typedef struct {
    uint64_t tag;          /* page address, and number of the context << 3; 0: empty */
    uint64_t page;         /* physical page, and in its low bits log2 of the first stage's page */
} translation;

/* One read of a page-table entry, as the walker made it. */
typedef struct {
    uint8_t stage;         /* 0: single stage or VS-stage, 1: G-stage */
    uint8_t level;         /* 4 (Sv57 root) .. 0 (4 KiB leaf) */
    uint8_t nested;        /* for the G-stage: VS-stage level whose PTE address it translates, 255 for the final address */
    uint8_t result;        /* enum walk_result */
    uint64_t input;        /* the address that this walk translates: gva, or gpa for the G-stage */
    uint64_t pte_address;  /* where the entry was read: VS-stage: gpa, else physical */
    uint64_t pte_physical; /* the same place as a physical address */
    uint64_t pte;
    uint64_t output;       /* leaf: the translated address */
} walk_step;

enum walk_result {
    WALK_POINTER = 0, WALK_LEAF = 1,
    WALK_INVALID = 2,      /* V=0, or W without R */
    WALK_RESERVED = 3,     /* reserved bits or encodings set */
    WALK_NO_READ = 4, WALK_NO_WRITE = 5, WALK_NO_EXECUTE = 6,
    WALK_USER = 7,         /* U page, not accessible to S (SUM, or execution) */
    WALK_SUPERVISOR = 8,   /* page without U: supervisor only; in the G-stage every page needs U */
    WALK_MISALIGNED = 9,   /* superpage whose low PPN bits are not zero */
    WALK_ACCESSED = 10,    /* A=0 and no hardware update */
    WALK_DIRTY = 11,       /* D=0 on a store and no hardware update */
    WALK_TOO_DEEP = 12,    /* a pointer at the last level */
    WALK_RANGE = 13,       /* high bits: not canonical, or guest-physical bits beyond the mode's width */
    WALK_ACCESS = 14       /* the entry, or the final address, is refused by PMP or has no memory behind it */
};

/* Why the entry or the address that a walk ends at cannot be reached: below 64, the PMP entry that decides. */
enum walk_refusal { REFUSED_NOT = -1, REFUSED_NO_ENTRY = -2, REFUSED_NO_MEMORY = -3, REFUSED_READ_ONLY = -4 };

/* What hart_look() is asked. Where -1 stands, as the hart has it. */
typedef struct {
    uint64_t address;
    uint32_t access;       /* 0 fetch, 1 load, 2 store */
    uint32_t hlvx;         /* a load by HLVX: for VS or VU, as `mode` or SPVP has it */
    int32_t mode;          /* mode index, or -1: the hart's own, with MPRV for data */
    int32_t sum, mxr;      /* of vsstatus with V=1, else of mstatus */
    int32_t gmxr;          /* MXR of mstatus, with V=1 */
} walk_query;

typedef struct {
    uint64_t physical;     /* valid when cause is -1, or where it is refused itself */
    uint64_t guest_physical;
    int64_t cause;         /* -1, or the exception code that the access would raise */
    uint64_t tval;
    uint64_t tval2;        /* htval/mtval2: guest-physical address >> 2, or 0 */
    uint64_t tinst;
    uint32_t count;        /* steps used */
    uint32_t page_bits;    /* log2 of the smaller page of both stages; 12..48 */
    walk_step steps[64];
    uint64_t address;      /* as translated: pointer masking may have changed the top */
    uint64_t first, second;/* satp or vsatp, and hgatp, that ruled; 0: none */
    int32_t refused;       /* enum walk_refusal */
    uint8_t mode;          /* mode index: on whose behalf */
    uint8_t sum, mxr, gmxr;/* gmxr: MXR as the G-stage sees it */
} walk_record;

typedef struct {
    uint32_t reason;       /* enum exit_reason */
    uint32_t hart;
    uint64_t address;      /* MMIO, watchpoint: physical address; breakpoint: pc */
    uint64_t value;        /* MMIO: data, in or out */
    uint32_t size;         /* MMIO, watchpoint: bytes */
    uint32_t kind;         /* watchpoint: enum watch_kind; trap: mode index that was entered */
    uint64_t cause;        /* trap: as in xcause */
    uint64_t executed;     /* steps taken by this call: instructions retired plus traps taken, over all harts */
} hart_exit;

typedef struct hart {
    uint64_t x[33];        /* x[0] is 0; x[32] swallows writes to x0 */
    uint64_t f[32];        /* NaN-boxed bit patterns */
    uint64_t pc;
    uint64_t clock;        /* instructions retired plus instructions slept in WFI; drives time */
    uint64_t idle;         /* of which slept */
    uint64_t reservation;  /* physical address of the LR reservation, all ones when none */
    uint32_t prv;          /* 0 U, 1 S, 3 M */
    uint32_t v;            /* virtualization mode */
    uint32_t index;        /* mhartid */
    uint32_t waiting;      /* in WFI */
    uint64_t lines;        /* interrupt wires from devices, as bits of mip: MSIP 3, SEIP 9, MEIP 11 */
    uint64_t guest_lines;  /* hgeip wires */
    uint64_t mtimecmp;     /* the ACLINT's comparator; MTIP = time >= mtimecmp */
    uint32_t host_modes;   /* bit per mode index: a trap into that mode is an EXIT_TRAP */
    uint32_t halted;       /* not started, or stopped by the caller: run() passes it over */
    uint32_t geilen;       /* guest external interrupts that the hart has, numbered from 1; kept over reset */
    uint64_t trap_mark;    /* instructions retired when the last trap was taken */
    uint64_t trap_run;     /* traps since, with nothing retired between */
    uint64_t retired[5];   /* by mode index; hart_settle() brings the current mode up to date */
    uint64_t traps[5][128];/* by mode index it came from, and cause (+64 for interrupts) */
    uint64_t misses[3];    /* lookaside misses: fetch, load, store */
    translation_context contexts[CONTEXTS];
    translation known[3][TLB_SIZE]; /* by access: fetch, load, store; by page number modulo TLB_SIZE */
    uint64_t walk_reads;   /* page-table entries read */
    uint64_t events;       /* events ever recorded; the ring holds the last 1024 */
    hart_event ring[1024];
    uint32_t guest;        /* which of `guests` was entered last; with V=1 it runs */
    uint64_t guests_lost;  /* that gave way to others, the one not seen for longest first */
    hart_guest guests[GUESTS];
    csr_state csr;         /* storage behind the CSRs, a field per stored CSR */
    uint64_t moves[5][5][6]; /* changes of mode, also into the same: from, to, enum move */
    uint64_t logged;       /* traps ever noted in `log`, which holds the last 256. Neither is saved: no part of the state */
    hart_trap log[TRAPS];
    uint64_t faulted;      /* the same of faults alone, which busy guests would push out of `log`: the last 64 */
    hart_trap faults[FAULTS];
} hart;

/* cffi: end */

#endif
