/* What the native library offers to its caller. Read by cffi like state.h. */
#ifndef RVTUI_NATIVE_H
#define RVTUI_NATIVE_H

#include "state.h"

/* cffi: begin */

typedef struct machine machine;

/* What compiled the hart: name and version. */
const char *native_compiler(void);

/* harts 1..64. NULL when memory for it is not to be had. */
machine *machine_new(uint32_t harts);
void machine_free(machine *m);
hart *machine_hart(machine *m, uint32_t index);
/* GEILEN of all harts, at most 63; 0 at first. */
void machine_set_guest_interrupts(machine *m, uint32_t count);

/* What all harts implement, as bits by number of the feature (emulator/isa/features.py), before anything has run. At first
   everything that they can. */
void machine_set_features(machine *m, const uint64_t *features);

/* Host memory behind [base, base+size), both multiples of 4096; the caller keeps `host` alive. 0, or -1: no room, overlap. */
int machine_add_region(machine *m, uint64_t base, uint64_t size, void *host, int writable);

/* Flash: the contents of the region that begins at `base` are hidden. Until shown again only its device answers there, and
   nothing there is executed or walked. Stores into read-only memory are the device's anyway. */
void machine_hide_region(machine *m, uint64_t base, int hidden);

/* Addresses [base, base+size) that devices answer: EXIT_MMIO_*. All others raise access faults. 0, or -1: too many (64). */
int machine_add_device(machine *m, uint64_t base, uint64_t size);

/* The caller changed memory behind the hart's back (loader, DMA, debugger): drop decoded code, mark the pages dirty. */
void machine_memory_changed(machine *m, uint64_t address, uint64_t length);

/* One byte per 4 KiB page of the region that holds `base`: bit 0 written since cleared, bit 3 ever
   written, by harts or by machine_memory_changed. */
uint8_t *machine_page_flags(machine *m, uint64_t base);
/* Clear bit 0 of all pages of the region, so that the next write sets it again. */
void machine_clear_dirty(machine *m, uint64_t base);

/* Run at most `budget` steps (instructions retired plus traps taken, over all harts) and not past clock `until`; fills `out`.
   EXIT_BUDGET for either. How a run is divided into calls never changes what happens. */
void machine_run(machine *m, uint64_t budget, uint64_t until, hart_exit *out);
/* Ask a running machine_run, from any thread, to come back with EXIT_STOPPED soon (within 100,000 instructions). */
void machine_stop(machine *m);

/* After EXIT_MMIO_*: the access is done; `value` is what was read. The next run completes the instruction. */
void machine_complete(machine *m, uint64_t value);

/* Execution breakpoints by virtual address, any mode. on: 1 set, 0 clear. 0, or -1: too many (256). */
int machine_breakpoint(machine *m, uint64_t address, int on);
/* The same in `scope` only. One address may have several. */
int machine_breakpoint_in(machine *m, uint64_t address, const stop_scope *scope, int on);
/* The next instruction runs even if a breakpoint stands there: of the hart whose turn it is, and of those whose breakpoint
   was reported. */
void machine_skip_breakpoint(machine *m);
/* Watch [address, address+length) of physical RAM. kinds: enum watch_kind, 0 clears. 0, or -1: too many (64), not RAM. */
int machine_watch(machine *m, uint64_t address, uint64_t length, uint32_t kinds);
/* The same by addresses of any kind, and in a scope. Virtual and guest-physical ones are compared when the access is made. */
int machine_watch_in(machine *m, const stop_watch *watch, int on);

/* EXIT_EVENT from now on for what `filter` names, behind the instruction or trap; nothing if it is empty. */
void machine_look_for(machine *m, const stop_filter *filter);
/* What was seen since the last call, into `out`; 0: nothing. Where the caller plays a mode, look after its part too. */
int machine_seen(machine *m, stop_seen *out);

/* Time: clock instructions per tick of `time` (default 100), and what is added to it (mtime writes, snapshots). */
void machine_set_time(machine *m, uint64_t instructions_per_tick, uint64_t offset);
/* The round-robin cursor, for snapshots: [0] start of the round, [1] hart whose turn it is, [2] quantum in instructions,
   [3] instructions per tick, [4] time offset. */
void machine_schedule(machine *m, uint64_t out[5]);
void machine_set_schedule(machine *m, const uint64_t in[5]);
/* Let time pass for all harts, as if they had waited, until clock `until`. */
void machine_sleep(machine *m, uint64_t until);

uint64_t hart_time(hart *h);
/* The first clock with hart_time >= time; all ones when never. */
uint64_t hart_clock_at_time(hart *h, uint64_t time);
/* Reset: M-mode, pc, zeroed registers and CSRs; CSRs at their reset values. */
void hart_reset(hart *h, uint64_t pc);
/* After fields were written from outside (restore, debugger): rebuild what is derived from them. */
void hart_refresh(hart *h);
/* Bring `retired`, and the history, up to date. */
void hart_settle(hart *h);
/* What it did since it was reset; lives as long as the machine. Who writes there calls hart_refresh. */
hart_history *hart_past(hart *h);
/* Of the history, `cells` stretches of 1 << shift of the clock from number `first` on, each as the sum of its rows, or where
   rows are longer, as the row that it lies in: `out` is the numbers of a history_row, of each those of all cells. */
void hart_survey(hart *h, uint64_t first, uint32_t cells, uint32_t shift, uint64_t *out);
void hart_set_mode(hart *h, uint32_t prv, uint32_t v);
/* Forget translations, as a full HFENCE does: the caller changed page tables in memory. */
void hart_flush(hart *h);
/* Set or clear an interrupt wire (bit number of mip). */
void hart_wire(hart *h, uint32_t bit, int level);
/* The same of a guest external interrupt, by its number from 1: a bit of hgeip. */
void hart_guest_wire(hart *h, uint32_t number, int level);

/* CSR access for debuggers, snapshots and the host: as M-mode would do it (V=0), read-only bits and WARL as ever.
   0, or -1: no such CSR on this hart; hart_csr_write also -1: read-only. */
int hart_csr_read(hart *h, uint32_t number, uint64_t *value);
int hart_csr_write(hart *h, uint32_t number, uint64_t value);

/* What would translating `address` do? access: 0 fetch, 1 load, 2 store. mode: mode index (0 M, 1 HS, 2 U, 3 VS, 4 VU),
   or -1 for the hart's own, with MPRV for data. Changes nothing: no A, no D, no lookaside. Returns cause, or -1. */
int64_t hart_walk(hart *h, uint64_t address, uint32_t access, int32_t mode, walk_record *out);
/* The same with more to ask. */
int64_t hart_look(hart *h, const walk_query *q, walk_record *out);
/* What trap entry would write for the exception that a walk found, if the hart were in `mode` (mode index): the CSRs
   afterwards, and pc. Returns the mode index that takes it; 5: no memory for the attempt. Changes nothing. */
uint32_t hart_trap_csrs(hart *h, uint32_t mode, uint64_t cause, const walk_record *found, csr_state *out, uint64_t *pc);

/* The interrupt that would be taken now, or -1; `mode` receives the mode index that takes it. */
int32_t hart_next_interrupt(hart *h, uint32_t *mode);
/* What that follows from, for each interrupt. */
void hart_interrupts(hart *h, interrupt_record *out);

/* cffi: end */

#endif
