/* CSR access: rights, values, and the interrupts and counters that CSRs report.
 *
 * Storage, masks and most access functions are generated from emulator/isa/csrs.py (csr_state.h, csr_defs.h,
 * csr_table.c); this header and csr.c hold what a mask cannot say.
 */
#ifndef RVTUI_CSR_H
#define RVTUI_CSR_H

#include <stdbool.h>
#include <stdint.h>

#include "csr_defs.h"
#include "native.h"
#include "state.h"

/* For CSR instructions, in this order: csr_check; csr_read for rd; for CSRRS and CSRRC the new value is computed from
   csr_read_for_modify; csr_write. After csr_write the caller must look for interrupts (section "Machine Interrupt
   Registers": conditions are evaluated immediately after an explicit write). */

/* May the current mode access the CSR? -1, or the exception to raise: EXCEPTION_ILLEGAL_INSTRUCTION or
   EXCEPTION_VIRTUAL_INSTRUCTION. `write`: the instruction writes, whatever the value. */
int csr_check(hart *h, unsigned number, bool write);

/* These take numbers that csr_check has passed. When V=1, numbers of supervisor CSRs mean their VS twins.
   At a read, h->clock counts the instructions before this one; a write takes effect after this one. */
uint64_t csr_read(hart *h, unsigned number);
unsigned csr_meant(hart *h, unsigned number); /* the number of the register that is accessed */
uint64_t csr_read_for_modify(hart *h, unsigned number);
void csr_write(hart *h, unsigned number, uint64_t value);

/* What the harts of a machine implement: features by number (emulator/isa/features.py), and what follows for CSRs. */
typedef struct hart_isa {
    uint64_t features[FEATURE_WORDS];
    uint64_t off[CSR_PLACES];  /* by place in csr_entries: bits that are read-only zero */
    uint8_t there[CSR_PLACES]; /* is there such a register? */
} hart_isa;

static inline bool isa_has(const hart_isa *isa, unsigned feature)
{
    return isa->features[feature >> 6] >> (feature & 63) & 1;
}

/* Compute what follows from the features. */
void csr_implement(hart_isa *isa);
/* Storage of registers and bits that are not there, to what it must hold then. */
void csr_keep(hart *h);

/* All CSRs to their reset values. */
void csr_reset(hart *h);
/* Bring what depends on GEILEN, and on what is implemented, in line with it. */
void csr_fit(hart *h);

/* Interrupts pending, as read from mip: wires, timers and bits that software set. */
uint64_t hart_mip(hart *h);
/* Is an interrupt pending that mie enables? Ends WFI, whatever the global enables and delegation. */
bool hart_wfi_wakes(hart *h);
/* The smallest clock after h->clock at which MTIP, STIP, VSTIP or, while the hart waits, LCOFIP rises by itself; only those
   that mie enables. UINT64_MAX: none will. */
uint64_t hart_next_timer(hart *h);
/* The clock at which the next counter overflows that would set OF, if the hart runs on, or `asleep`. UINT64_MAX: none. */
uint64_t hart_next_overflow(hart *h, bool asleep);
/* Also hart_next_interrupt, hart_csr_read and hart_csr_write, see native.h. */

/* Provided by the rest of the hart. */
const hart_isa *isa_of(hart *h);
static inline bool hart_has(hart *h, unsigned feature) { return isa_has(isa_of(h), feature); }
void hart_context_changed(hart *h); /* something that translation or decoding of accesses depends on was written */
void hart_pmp_changed(hart *h);

/* --- The generated table --- */

enum csr_guard {
    CSR_GUARD_NONE,
    CSR_GUARD_COUNTER,   /* mcounteren, hcounteren, scounteren; bit number is that of the CSR, modulo 32 */
    CSR_GUARD_STIMECMP,
    CSR_GUARD_VSTIMECMP,
    CSR_GUARD_SATP,
    CSR_GUARD_HGATP,
    CSR_GUARD_FLOAT,
    CSR_GUARD_STATEEN,   /* the upper level's register of the same number, modulo 4 */
    CSR_GUARD_ENVCFG     /* mstateen0, hstateen0 */
};

typedef struct {
    uint64_t (*read)(hart *h, unsigned number);
    void (*write)(hart *h, unsigned number, uint64_t value);
    void (*after)(hart *h); /* to be called after a write, or NULL */
    uint16_t twin;          /* the VS CSR to use when V=1, or 0 */
    uint8_t guard;          /* enum csr_guard */
} csr_entry;

extern const csr_entry csr_entries[]; /* entry 0 is unused */
extern const uint16_t csr_index[4096]; /* by CSR number: place in csr_entries, 0: no such CSR */

/* Functions that the table names. A write sees h->clock as it will be when the writing instruction has completed. */
uint64_t csr_read_mhartid(hart *h, unsigned number);
uint64_t csr_read_mip(hart *h, unsigned number);
uint64_t csr_modify_mip(hart *h, unsigned number);
void csr_write_mip(hart *h, unsigned number, uint64_t value);
uint64_t csr_read_hgeip(hart *h, unsigned number);
void csr_write_hgeie(hart *h, unsigned number, uint64_t value);
uint64_t csr_read_time(hart *h, unsigned number);
uint64_t csr_read_counter(hart *h, unsigned number);
void csr_write_counter(hart *h, unsigned number, uint64_t value);
void csr_write_counter_setup(hart *h, unsigned number, uint64_t value);
uint64_t csr_read_scountovf(hart *h, unsigned number);
uint64_t csr_read_pmpcfg(hart *h, unsigned number);
void csr_write_pmpcfg(hart *h, unsigned number, uint64_t value);
uint64_t csr_read_pmpaddr(hart *h, unsigned number);
void csr_write_pmpaddr(hart *h, unsigned number, uint64_t value);
void csr_write_mseccfg(hart *h, unsigned number, uint64_t value);
void csr_after_mseccfg(hart *h);
void csr_after_menvcfg(hart *h);
void csr_after_mstateen(hart *h);
void csr_after_mideleg(hart *h);
void csr_after_fcsr(hart *h);

#endif
