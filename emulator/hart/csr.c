/* CSR access: see csr.h. Section names are those of the privileged manual. */
#include "csr.h"

enum { PRV_U = 0, PRV_S = 1, PRV_M = 3 };
enum { LEVEL_U = 0, LEVEL_S = 1, LEVEL_HS = 2, LEVEL_M = 3 }; /* number bits 9:8 */

#define BIT(n) (UINT64_C(1) << (n))

/* Section "Smstateen and Ssstateen Extensions": bit 63 of each register guards those of the levels below. */
#define STATEEN_SE MSTATEEN0_SE0

/* --- Access rights --- */

/* The part of a guard that HS-mode is subject to, fields TVM aside: does it forbid access below M-mode? */
static bool barred_by_machine(hart *h, unsigned number, unsigned guard)
{
    switch (guard) {
    case CSR_GUARD_COUNTER:
        return !(h->csr.mcounteren & BIT(number & 31));
    case CSR_GUARD_STIMECMP:
    case CSR_GUARD_VSTIMECMP:
        return !(h->csr.menvcfg & MENVCFG_STCE) || !(h->csr.mcounteren & MCOUNTEREN_TM);
    case CSR_GUARD_STATEEN:
        return !(h->csr.mstateen[number & 3] & STATEEN_SE);
    case CSR_GUARD_ENVCFG:
        return !(h->csr.mstateen[0] & MSTATEEN0_ENVCFG);
    default:
        return false;
    }
}

/* V=1: does the hypervisor, or for VU-mode the guest's supervisor, forbid an access that HS-mode could make? */
static bool barred_in_guest(hart *h, unsigned number, unsigned guard)
{
    switch (guard) {
    case CSR_GUARD_COUNTER:
        return !(h->csr.hcounteren & BIT(number & 31)) || (h->prv == PRV_U && !(h->csr.scounteren & BIT(number & 31)));
    case CSR_GUARD_STIMECMP:
        return !(h->csr.henvcfg & HENVCFG_STCE) || !(h->csr.hcounteren & HCOUNTEREN_TM);
    case CSR_GUARD_SATP:
        return h->csr.hstatus & HSTATUS_VTVM;
    case CSR_GUARD_STATEEN:
        return !(h->csr.hstateen[number & 3] & STATEEN_SE);
    case CSR_GUARD_ENVCFG:
        return !(h->csr.hstateen[0] & HSTATEEN0_ENVCFG);
    default:
        return false;
    }
}

static bool float_off(hart *h)
{
    return !(h->csr.mstatus & MSTATUS_FS) || (h->v && !(h->csr.vsstatus & VSSTATUS_FS));
}

/* Place in csr_entries; 0: this hart has no such register. */
static unsigned place_of(hart *h, unsigned number)
{
    const unsigned place = csr_index[number & 0xfff];
    return isa_of(h)->there[place] ? place : 0;
}

int csr_check(hart *h, unsigned number, bool write)
{
    unsigned place = place_of(h, number);
    if (!place || (write && number >> 10 == 3))
        return EXCEPTION_ILLEGAL_INSTRUCTION;
    unsigned guard = csr_entries[place].guard;
    unsigned level = number >> 8 & 3;
    /* Units that are off: illegal in every mode, and never virtual (section "Trap Cause Codes"). */
    if (guard == CSR_GUARD_FLOAT && float_off(h))
        return EXCEPTION_ILLEGAL_INSTRUCTION;
    if (h->prv == PRV_M)
        return -1;
    if (level == LEVEL_M || barred_by_machine(h, number, guard))
        return EXCEPTION_ILLEGAL_INSTRUCTION;
    if (h->v) {
        /* What is left would be valid in HS-mode (were TVM 0): HS-qualified, so the exception is virtual. */
        if (level > (h->prv == PRV_S ? LEVEL_S : LEVEL_U) || barred_in_guest(h, number, guard))
            return EXCEPTION_VIRTUAL_INSTRUCTION;
        return -1;
    }
    if (h->prv == PRV_U) {
        if (level != LEVEL_U || (guard == CSR_GUARD_COUNTER && !(h->csr.scounteren & BIT(number & 31))))
            return EXCEPTION_ILLEGAL_INSTRUCTION;
        return -1;
    }
    if ((guard == CSR_GUARD_SATP || guard == CSR_GUARD_HGATP) && h->csr.mstatus & MSTATUS_TVM)
        return EXCEPTION_ILLEGAL_INSTRUCTION;
    return -1;
}

/* --- Access --- */

static const csr_entry *entry_of(unsigned number)
{
    return &csr_entries[csr_index[number & 0xfff]];
}

/* Less the bits that are read-only zero, because what they belong to is switched off. */
static uint64_t implemented(hart *h, unsigned number, uint64_t value)
{
    return value & ~isa_of(h)->off[csr_index[number & 0xfff]];
}

/* The number that the access really means. */
unsigned csr_meant(hart *h, unsigned number)
{
    return h->v && entry_of(number)->twin ? entry_of(number)->twin : number;
}

uint64_t csr_read(hart *h, unsigned number)
{
    uint64_t value;
    number = csr_meant(h, number);
    value = implemented(h, number, entry_of(number)->read(h, number));
    if (number == CSR_TIME && h->v)
        return value + h->csr.htimedelta;
    /* Section "Supervisor Count Overflow (scountovf) Register". */
    if (number == CSR_SCOUNTOVF && h->prv != PRV_M)
        return value & h->csr.mcounteren & (h->v ? h->csr.hcounteren : ~UINT64_C(0));
    return value;
}

uint64_t csr_read_for_modify(hart *h, unsigned number)
{
    return number == CSR_MIP ? csr_modify_mip(h, number) : csr_read(h, number);
}

void csr_write(hart *h, unsigned number, uint64_t value)
{
    const csr_entry *entry;
    number = csr_meant(h, number);
    entry = entry_of(number);
    h->clock += 1; /* a write takes effect after its instruction, which itself is counted */
    entry->write(h, number, implemented(h, number, value));
    h->clock -= 1;
    if (entry->after)
        entry->after(h);
}

int hart_csr_read(hart *h, uint32_t number, uint64_t *value)
{
    if (number > 0xfff || !place_of(h, number))
        return -1;
    *value = implemented(h, number, entry_of(number)->read(h, number));
    return 0;
}

int hart_csr_write(hart *h, uint32_t number, uint64_t value)
{
    if (number > 0xfff || !place_of(h, number) || number >> 10 == 3)
        return -1;
    const csr_entry *entry = entry_of(number);
    entry->write(h, number, implemented(h, number, value));
    if (entry->after)
        entry->after(h);
    return 0;
}

/* --- What follows a write --- */

/* henvcfg.STCE, ADUE and their like are read-only zero while menvcfg has them zero: storage holds what is in effect. */
void csr_after_menvcfg(hart *h)
{
    h->csr.henvcfg &= h->csr.menvcfg | ~HENVCFG_GATED;
    hart_context_changed(h);
}

/* The same of hstateen under mstateen. sstateen is read-only zero: its bits are of what this hart has not. */
void csr_after_mstateen(hart *h)
{
    for (unsigned i = 0; i < 4; i++)
        h->csr.hstateen[i] &= h->csr.mstateen[i];
}

/* Section "Machine Interrupt Delegation (mideleg) Register": what is zero here is read-only zero in hideleg. */
void csr_after_mideleg(hart *h)
{
    h->csr.hideleg &= h->csr.mideleg;
}

/* Writing fcsr dirties the unit, in both status registers when V=1. A debugger may write it while the unit is off. */
void csr_after_fcsr(hart *h)
{
    if (h->csr.mstatus & MSTATUS_FS)
        h->csr.mstatus |= MSTATUS_FS;
    if (h->v && h->csr.vsstatus & VSSTATUS_FS)
        h->csr.vsstatus |= VSSTATUS_FS;
}

/* --- Identity and time --- */

uint64_t csr_read_mhartid(hart *h, unsigned number)
{
    (void)number;
    return h->index;
}

uint64_t csr_read_time(hart *h, unsigned number)
{
    (void)number;
    return hart_time(h);
}

/* --- Physical memory protection --- */

static bool pmp_locked(hart *h, unsigned entry)
{
    return h->csr.pmpcfg[entry] & PMPCFG_L && !(h->csr.mseccfg & MSECCFG_RLB);
}

/* Section "Machine Security Configuration (mseccfg) Register": RLB stays 0 once any entry is locked, MMWP and MML stay 1. */
void csr_write_mseccfg(hart *h, unsigned number, uint64_t value)
{
    const uint64_t sticky = MSECCFG_MML | MSECCFG_MMWP;
    uint64_t mask = sticky | MSECCFG_RLB;
    (void)number;
    if (!(h->csr.mseccfg & MSECCFG_RLB))
        for (unsigned i = 0; i < PMP_COUNT; i++)
            if (h->csr.pmpcfg[i] & PMPCFG_L)
                mask &= ~MSECCFG_RLB;
    value |= h->csr.mseccfg & sticky;
    if ((value & MSECCFG_PMM) >> MSECCFG_PMM_SHIFT != 1)
        mask |= MSECCFG_PMM;
    h->csr.mseccfg = (h->csr.mseccfg & ~mask) | (value & mask);
}

void csr_after_mseccfg(hart *h)
{
    hart_pmp_changed(h);
    hart_context_changed(h);
}

/* With MML: would the entry let M-mode execute? Such entries cannot be added ("Smepmp"), but with RLB. */
static bool pmp_adds_code(uint8_t cfg)
{
    const unsigned rights = cfg & (PMPCFG_R | PMPCFG_W | PMPCFG_X);
    return cfg & PMPCFG_L && rights != (PMPCFG_R | PMPCFG_W | PMPCFG_X)
        && (rights & PMPCFG_X || rights == PMPCFG_W);
}

/* RV64: even numbers, eight entries each. */
static unsigned pmpcfg_entry(unsigned number)
{
    return (number - CSR_PMPCFG0) * 4;
}

uint64_t csr_read_pmpcfg(hart *h, unsigned number)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)h->csr.pmpcfg[pmpcfg_entry(number) + i] << 8 * i;
    return value;
}

void csr_write_pmpcfg(hart *h, unsigned number, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned entry = pmpcfg_entry(number) + i;
        uint8_t byte = value >> 8 * i & (PMPCFG_R | PMPCFG_W | PMPCFG_X | PMPCFG_A | PMPCFG_L);
        if (pmp_locked(h, entry))
            continue;
        if (h->csr.mseccfg & MSECCFG_MML) {
            if (!(h->csr.mseccfg & MSECCFG_RLB) && pmp_adds_code(byte))
                continue;
        } else if (!(byte & PMPCFG_R)) {
            byte &= (uint8_t)~PMPCFG_W; /* W without R is reserved */
        }
        h->csr.pmpcfg[entry] = byte;
    }
}

uint64_t csr_read_pmpaddr(hart *h, unsigned number)
{
    return h->csr.pmpaddr[number - CSR_PMPADDR0];
}

void csr_write_pmpaddr(hart *h, unsigned number, uint64_t value)
{
    unsigned entry = number - CSR_PMPADDR0;
    /* The top of a locked range is locked, and so is its bottom, the address before. */
    bool bottom = entry + 1 < PMP_COUNT && pmp_locked(h, entry + 1)
        && (h->csr.pmpcfg[entry + 1] & PMPCFG_A) >> PMPCFG_A_SHIFT == 1;
    if (!pmp_locked(h, entry) && !bottom)
        h->csr.pmpaddr[entry] = value & PMPADDR0_ADDRESS;
}

/* --- Interrupts --- */

#define HYPERVISOR_BITS (MIP_VSSIP | MIP_VSTIP | MIP_VSEIP)

/* Section "Hypervisor Guest External Interrupt Registers": bits GEILEN to 1. */
static uint64_t guest_interrupts(const hart *h)
{
    return (BIT(h->geilen) << 1) - 2;
}

static uint64_t guest_external(hart *h)
{
    return h->guest_lines & guest_interrupts(h);
}

void csr_write_hgeie(hart *h, unsigned number, uint64_t value)
{
    (void)number;
    h->csr.hgeie = value & guest_interrupts(h);
}

void csr_fit(hart *h)
{
    csr_keep(h);
    h->csr.mideleg &= ~MIDELEG_SGEI;
    if (h->geilen)
        h->csr.mideleg |= MIDELEG_SGEI;
    else
        h->csr.mie &= ~MIE_SGEIE;
    h->csr.hgeie &= guest_interrupts(h);
    if ((h->csr.hstatus & HSTATUS_VGEIN) >> HSTATUS_VGEIN_SHIFT > h->geilen)
        h->csr.hstatus &= ~HSTATUS_VGEIN;
}

uint64_t csr_read_hgeip(hart *h, unsigned number)
{
    (void)number;
    return guest_external(h);
}

typedef struct sources { uint64_t stored, wired, injected, guests, timers; } sources;

/* What makes bits of mip pending, exact in the bits `wanted`; asking for no timer saves computing time. */
static inline sources sources_of(hart *h, uint64_t wanted)
{
    const uint64_t guests = guest_external(h);
    sources s = {
        .stored = h->csr.mip,
        .wired = h->lines & (MIP_MSIP | MIP_SEIP | MIP_MEIP),
        .injected = h->csr.hvip & HYPERVISOR_BITS,
    };
    if (guests) {
        if (guests & h->csr.hgeie)
            s.guests |= MIP_SGEIP;
        if (guests >> ((h->csr.hstatus & HSTATUS_VGEIN) >> HSTATUS_VGEIN_SHIFT) & 1)
            s.guests |= MIP_VSEIP;
    }
    if (wanted & (MIP_MTIP | MIP_STIP | MIP_VSTIP)) {
        const uint64_t time = hart_time(h);
        if (time >= h->mtimecmp)
            s.timers |= MIP_MTIP;
        if (h->csr.menvcfg & MENVCFG_STCE) {
            s.stored &= ~MIP_STIP;
            if (time >= h->csr.stimecmp)
                s.timers |= MIP_STIP;
        }
        if (h->csr.henvcfg & HENVCFG_STCE && time + h->csr.htimedelta >= h->csr.vstimecmp)
            s.timers |= MIP_VSTIP;
    }
    return s;
}

static inline uint64_t all_of(sources s)
{
    return s.stored | s.wired | s.injected | s.guests | s.timers;
}

static uint64_t pending(hart *h, uint64_t wanted)
{
    return all_of(sources_of(h, wanted));
}

uint64_t hart_mip(hart *h)
{
    return pending(h, ~UINT64_C(0));
}

uint64_t csr_read_mip(hart *h, unsigned number)
{
    (void)number;
    return hart_mip(h);
}

/* Section "Machine Interrupt Registers": the controller's wire takes no part in a read-modify-write. */
uint64_t csr_modify_mip(hart *h, unsigned number)
{
    (void)number;
    return h->csr.mip | (h->csr.hvip & MIP_VSSIP);
}

/* sip, hip and vsip are views of mip and end up here; mip.VSSIP is hip.VSSIP is hvip.VSSIP. */
void csr_write_mip(hart *h, unsigned number, uint64_t value)
{
    uint64_t mask = MIP_SSIP | MIP_SEIP | MIP_LCOFIP | (h->csr.menvcfg & MENVCFG_STCE ? 0 : MIP_STIP);
    (void)number;
    h->csr.mip = (h->csr.mip & ~mask) | (value & mask);
    h->csr.hvip = (h->csr.hvip & ~MIP_VSSIP) | (value & MIP_VSSIP);
}

/* Decreasing. Sections "Machine Interrupt Registers" and "Hypervisor Interrupt Registers". */
static const uint8_t priority[] = {INTERRUPT_PRIORITY};

static int32_t highest(uint64_t interrupts)
{
    for (unsigned i = 0; i < sizeof priority; i++)
        if (interrupts >> priority[i] & 1)
            return priority[i];
    return -1;
}

/* M, HS and VS, as mode indices. */
static const uint8_t levels[] = {0, 1, 3};

/* Of what reaches a level, what it does not pass on. Section "Trap Entry". */
static uint64_t kept_by(const hart *h, unsigned mode)
{
    return mode == 0 ? ~h->csr.mideleg : mode == 1 ? ~h->csr.hideleg : UINT64_MAX;
}

/* Does that level interrupt the present mode? A level does always below its mode, never above, and in it by xIE: HS-level
   interrupts are enabled in VS and VU whatever SIE says, VS-level interrupts are never taken in U or HS. */
static bool interrupts_for(const hart *h, unsigned mode)
{
    if (mode == 0)
        return h->prv != PRV_M || h->csr.mstatus & MSTATUS_MIE;
    if (mode == 1)
        return h->prv != PRV_M && (h->v || h->prv == PRV_U || h->csr.mstatus & MSTATUS_SIE);
    return h->v && (h->prv == PRV_U || h->csr.vsstatus & VSSTATUS_SIE);
}

/* VSEI, VSTI, VSSI appear to VS-mode as SEI, STI, SSI. */
static int32_t seen_as(int32_t code, unsigned mode)
{
    return mode == 3 && code != INTERRUPT_LCOFI ? code - 1 : code;
}

/* The interrupt that is taken now by its bit of mip, and `mode` which takes it; or -1. */
static int32_t next_interrupt(hart *h, uint32_t *mode)
{
    const uint64_t ready = pending(h, h->csr.mie) & h->csr.mie;
    if (!ready)
        return -1;
    /* A level that does not interrupt the present mode leaves none below it that does. */
    for (unsigned i = 0; i < sizeof levels; i++) {
        const uint64_t taken = ready & kept_by(h, levels[i]);
        if (taken && interrupts_for(h, levels[i])) {
            *mode = levels[i];
            return highest(taken);
        }
    }
    return -1;
}

int32_t hart_next_interrupt(hart *h, uint32_t *mode)
{
    const int32_t bit = next_interrupt(h, mode);
    return bit < 0 ? bit : seen_as(bit, *mode);
}

void hart_interrupts(hart *h, interrupt_record *out)
{
    const sources s = sources_of(h, ~UINT64_C(0));
    *out = (interrupt_record){
        .stored = s.stored, .wired = s.wired, .injected = s.injected, .guests = s.guests, .timers = s.timers,
        .pending = all_of(s), .enabled = h->csr.mie,
    };
    for (uint64_t i = 0, left = UINT64_MAX; i < sizeof levels; i++, left &= ~out->level[i - 1]) {
        out->level[i] = left & kept_by(h, levels[i]);
        out->open[i] = interrupts_for(h, levels[i]);
    }
    out->next = next_interrupt(h, &out->mode);
    out->code = out->next < 0 ? -1 : seen_as(out->next, out->mode);
}

bool hart_wfi_wakes(hart *h)
{
    return pending(h, h->csr.mie) & h->csr.mie;
}

static uint64_t next_timer(hart *h)
{
    uint64_t enabled = h->csr.mie;
    uint64_t time, next = UINT64_MAX;
    bool any = false; /* the greatest number is a time too */
    if (!(enabled & (MIP_MTIP | MIP_STIP | MIP_VSTIP)))
        return UINT64_MAX;
    time = hart_time(h);
    if (enabled & MIP_MTIP && time < h->mtimecmp) {
        next = h->mtimecmp;
        any = true;
    }
    if (enabled & MIP_STIP && h->csr.menvcfg & MENVCFG_STCE && time < h->csr.stimecmp && h->csr.stimecmp <= next) {
        next = h->csr.stimecmp;
        any = true;
    }
    if (enabled & MIP_VSTIP && h->csr.henvcfg & HENVCFG_STCE) {
        uint64_t guest = time + h->csr.htimedelta;
        if (guest < h->csr.vstimecmp) {
            uint64_t ahead = h->csr.vstimecmp - guest;
            if (ahead <= next - time) {
                next = time + ahead;
                any = true;
            }
        }
    }
    return any ? hart_clock_at_time(h, next) : UINT64_MAX;
}

uint64_t hart_next_timer(hart *h)
{
    uint64_t timer = next_timer(h);
    uint64_t overflow = h->csr.mie & MIE_LCOFIE ? hart_next_overflow(h, true) : UINT64_MAX;
    return overflow < timer ? overflow : timer;
}
