/* Traps and returns, and the primitives that instructions name: CSR access, fences, WFI.
 *
 * Sections: "Trap Entry" and "Trap Return" of the hypervisor chapter, "Machine Trap Delegation Registers",
 * "Virtual-Instruction Exception"... The quoted names are those of the privileged manual.
 */

#include "internal.h"

enum status raise(core *c, u64 cause, u64 tval) {
    c->trap = (trap_info){.cause = cause, .tval = tval};
    return c->status = TRAP;
}

/* xtval of illegal- and virtual-instruction exceptions is the instruction; the run loop fills it in, where pc is known. */
enum status raise_illegal(core *c) { return raise(c, EXCEPTION_ILLEGAL_INSTRUCTION, 0); }

static void record_here(core *c, u32 kind, u64 value) {
    const u32 mode = mode_index(c->h.prv, c->h.v);
    record(c, kind, c->h.pc, value, 0, mode, mode);
    settle(c, c->h.clock - c->h.idle);
    history_note(c, kind);
}

/* `retired`: instructions of the old mode that clock does not count yet. */
void enter_mode(core *c, u32 prv, u32 v, u64 retired) {
    c->h.clock += retired;
    const u64 now = c->h.clock - c->h.idle;
    settle(c, now);
    if (v && !c->h.v) guest_entered(c, now);
    if (UNLIKELY(c->filtered)) counters_leave(c);
    c->h.prv = prv;
    c->h.v = v;
    if (UNLIKELY(c->filtered)) counters_enter(c);
    c->h.clock -= retired;
    hart_context_changed(&c->h);
}

/* "Machine Trap Delegation Registers", "Hypervisor Trap Delegation Registers": never to a less privileged mode. */
u32 exception_mode(core *c, u64 cause) {
    if (c->h.prv == PRV_M || !(c->h.csr.medeleg >> cause & 1)) return MODE_M;
    return c->h.v && c->h.csr.hedeleg >> cause & 1 ? MODE_VS : MODE_HS;
}

static u64 vector(u64 tvec, u64 cause) {
    const u64 base = tvec & ~3ull;
    return tvec & 1 && cause & INTERRUPT_BIT ? base + 4 * (cause & ~INTERRUPT_BIT) : base;
}

/* SPP, SPIE, SIE of mstatus or vsstatus on the way in. */
static u64 stacked(u64 status, u32 prv) {
    const u64 enabled = status & MSTATUS_SIE;
    status &= ~(MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_SIE);
    return status | (prv == PRV_S ? MSTATUS_SPP : 0) | enabled << (MSTATUS_SPIE_SHIFT - MSTATUS_SIE_SHIFT);
}

/* Notes what led to a trap, and afterwards what its entry wrote: for display. */
static hart_trap *trap_begins(core *c, u64 cause, u32 from, u32 mode) {
    hart *h = &c->h;
    hart_trap *t = &h->log[h->logged++ % TRAPS];
    const bool interrupt = cause & INTERRUPT_BIT;
    t->event = h->events;
    t->clock = h->clock;
    t->vmid = (u16)vmid_of(h);
    t->from_mode = (u8)from;
    t->to_mode = (u8)mode;
    t->delegated[0] = interrupt ? h->csr.mideleg : h->csr.medeleg;
    t->delegated[1] = interrupt ? h->csr.hideleg : h->csr.hedeleg;
    t->enabled = interrupt ? h->csr.mie : 0;
    t->pending = interrupt ? hart_mip(h) : 0;
    t->status[0] = mode == MODE_VS ? h->csr.vsstatus : h->csr.mstatus;
    t->hstatus[0] = h->csr.hstatus;
    return t;
}

/* Accesses that failed, and illegal instructions: what no running system takes all the time, as it does calls and exits. */
static const u64 FAULT_CAUSES = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 15;

static void trap_ended(hart *h, hart_trap *t) {
    const csr_state *s = &h->csr;
    t->handler = h->pc;
    t->status[1] = t->to_mode == MODE_VS ? s->vsstatus : s->mstatus;
    t->hstatus[1] = s->hstatus;
    switch (t->to_mode) {
    case MODE_M:
        t->epc = s->mepc, t->cause = s->mcause, t->tval = s->mtval, t->tval2 = s->mtval2, t->tinst = s->mtinst;
        break;
    case MODE_HS:
        t->epc = s->sepc, t->cause = s->scause, t->tval = s->stval, t->tval2 = s->htval, t->tinst = s->htinst;
        break;
    default:
        t->epc = s->vsepc, t->cause = s->vscause, t->tval = s->vstval, t->tval2 = t->tinst = 0;
        break;
    }
    if (!(t->cause & INTERRUPT_BIT) && FAULT_CAUSES >> (t->cause & 63) & 1) h->faults[h->faulted++ % FAULTS] = *t;
}

static u32 move_of(u64 cause) {
    if (cause & INTERRUPT_BIT) return MOVE_INTERRUPT;
    return cause >= EXCEPTION_ECALL_U && cause <= EXCEPTION_ECALL_M ? MOVE_CALL : MOVE_TRAP;
}

/* "Trap Entry". `cause` as it is written to xcause of `mode`. */
void take_trap(core *c, u64 cause, const trap_info *info, u32 mode) {
    hart *h = &c->h;
    const u32 prv = h->prv, v = h->v, from = mode_index(prv, v);
    const u64 pc = h->pc;
    hart_trap *noted = trap_begins(c, cause, from, mode);
    h->traps[from][(cause & 63) + (cause & INTERRUPT_BIT ? 64 : 0)]++;
    h->moves[from][mode][move_of(cause)]++;
    count_trap(c, cause, mode);
    const bool left = v && mode != MODE_VS;
    if (left) guest_left(c, cause, info, mode);
    record(c, cause & INTERRUPT_BIT ? EVENT_INTERRUPT : EVENT_TRAP, pc, info->tval, cause & 63, from, mode);
    switch (mode) {
    case MODE_M: {
        u64 s = h->csr.mstatus;
        const u64 enabled = s & MSTATUS_MIE;
        s &= ~(MSTATUS_MPP | MSTATUS_MPIE | MSTATUS_MIE | MSTATUS_MPV | MSTATUS_GVA);
        s |= (u64)prv << MSTATUS_MPP_SHIFT | enabled << (MSTATUS_MPIE_SHIFT - MSTATUS_MIE_SHIFT);
        s |= (v ? MSTATUS_MPV : 0) | (info->gva ? MSTATUS_GVA : 0);
        h->csr.mstatus = s;
        h->csr.mepc = pc;
        h->csr.mcause = cause;
        h->csr.mtval = info->tval;
        h->csr.mtval2 = info->tval2;
        h->csr.mtinst = info->tinst;
        h->pc = vector(h->csr.mtvec, cause);
        enter_mode(c, PRV_M, 0, 0);
        break;
    }
    case MODE_HS: {
        u64 s = h->csr.hstatus & ~(HSTATUS_SPV | HSTATUS_GVA);
        s |= (v ? HSTATUS_SPV : 0) | (info->gva ? HSTATUS_GVA : 0);
        /* SPVP remembers the guest's privilege, and keeps it over traps from V=0. */
        if (v) s = (s & ~HSTATUS_SPVP) | (prv == PRV_S ? HSTATUS_SPVP : 0);
        h->csr.hstatus = s;
        h->csr.mstatus = stacked(h->csr.mstatus, prv);
        h->csr.sepc = pc;
        h->csr.scause = cause;
        h->csr.stval = info->tval;
        h->csr.htval = info->tval2;
        h->csr.htinst = info->tinst;
        h->pc = vector(h->csr.stvec, cause);
        enter_mode(c, PRV_S, 0, 0);
        break;
    }
    default:
        h->csr.vsstatus = stacked(h->csr.vsstatus, prv);
        h->csr.vsepc = pc;
        h->csr.vscause = cause;
        h->csr.vstval = info->tval;
        h->pc = vector(h->csr.vstvec, cause);
        enter_mode(c, PRV_S, 1, 0);
        break;
    }
    history_note(c, cause & INTERRUPT_BIT ? EVENT_INTERRUPT : EVENT_TRAP);
    if (left) c->row->guests[h->guest].exits++;
    trap_ended(h, noted);
}

/* --- environment --------------------------------------------------------------------------------------------------- */

enum status do_ecall(core *c) {
    static const u8 cause[] = {EXCEPTION_ECALL_M, EXCEPTION_ECALL_HS, EXCEPTION_ECALL_U, EXCEPTION_ECALL_VS, EXCEPTION_ECALL_U};
    return raise(c, cause[mode_index(c->h.prv, c->h.v)], 0);
}

enum status do_ebreak(core *c) {
    raise(c, EXCEPTION_BREAKPOINT, c->h.pc);
    c->trap.gva = c->h.v;
    return TRAP;
}

/* --- returns --------------------------------------------------------------------------------------------------------- */

static enum status returned(core *c, u32 prv, u32 v, u64 to, u32 by) {
    const u32 from = mode_index(c->h.prv, c->h.v);
    const u64 pc = c->h.pc;
    c->h.moves[from][mode_index(prv, v)][by]++;
    count(c, COUNT_RETURNS);
    enter_mode(c, prv, v, 1);
    if (looking(c, SEEN_CHANGE)) saw_change(c, pc, from, mode_index(prv, v));
    c->h.pc = to;
    record(c, EVENT_RETURN, to, 0, by, from, mode_index(prv, v));
    history_note(c, EVENT_RETURN);
    return JUMP;
}

/* "Trap Return": MPV counts only below M; leaving M clears MPRV. */
enum status do_mret(core *c) {
    if (c->h.prv != PRV_M) return raise_illegal(c);
    u64 s = c->h.csr.mstatus;
    const u32 prv = (u32)(s >> MSTATUS_MPP_SHIFT) & 3;
    const u32 v = prv != PRV_M && s & MSTATUS_MPV;
    const u64 enabled = s & MSTATUS_MPIE;
    s &= ~(MSTATUS_MPP | MSTATUS_MPV | MSTATUS_MIE);
    s |= MSTATUS_MPIE | enabled >> (MSTATUS_MPIE_SHIFT - MSTATUS_MIE_SHIFT);
    if (prv != PRV_M) s &= ~MSTATUS_MPRV;
    c->h.csr.mstatus = s;
    return returned(c, prv, v, c->h.csr.mepc, MOVE_MRET);
}

static u64 unstacked(u64 status) {
    const u64 enabled = status & MSTATUS_SPIE;
    status &= ~(MSTATUS_SPP | MSTATUS_SIE);
    return status | MSTATUS_SPIE | enabled >> (MSTATUS_SPIE_SHIFT - MSTATUS_SIE_SHIFT);
}

enum status do_sret(core *c) {
    hart *h = &c->h;
    if (h->v) {
        if (h->prv == PRV_U || h->csr.hstatus & HSTATUS_VTSR) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
        const u32 prv = h->csr.vsstatus & MSTATUS_SPP ? PRV_S : PRV_U;
        h->csr.vsstatus = unstacked(h->csr.vsstatus);
        return returned(c, prv, 1, h->csr.vsepc, MOVE_SRET);
    }
    if (h->prv == PRV_U || (h->prv == PRV_S && h->csr.mstatus & MSTATUS_TSR)) return raise_illegal(c);
    const u32 prv = h->csr.mstatus & MSTATUS_SPP ? PRV_S : PRV_U;
    const u32 v = h->csr.hstatus & HSTATUS_SPV ? 1 : 0;
    h->csr.hstatus &= ~HSTATUS_SPV;
    h->csr.mstatus = unstacked(h->csr.mstatus) & ~MSTATUS_MPRV;
    return returned(c, prv, v, h->csr.sepc, MOVE_SRET);
}

/* "Wait for Interrupt" and "Virtual-Instruction Exception": TW comes first in every mode below M; U-mode may not wait,
   since it has no interrupts of its own and the bounded time is zero. */
enum status do_wfi(core *c) {
    const hart *h = &c->h;
    if (h->prv != PRV_M && h->csr.mstatus & MSTATUS_TW) return raise_illegal(c);
    if (h->v && (h->prv == PRV_U || h->csr.hstatus & HSTATUS_VTW)) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    if (h->prv == PRV_U) return raise_illegal(c);
    if (hart_wfi_wakes(&c->h)) return LEAVE;
    c->h.waiting = 1;
    count(c, COUNT_WAITS);
    record_here(c, EVENT_WFI, 0);
    return LEAVE;
}

/* "Zawrs": open to every mode, U-mode too, but subject to TW and VTW as WFI is. */
enum status do_wrs_nto(core *c) {
    const hart *h = &c->h;
    if (h->prv != PRV_M && h->csr.mstatus & MSTATUS_TW) return raise_illegal(c);
    if (h->v && h->csr.hstatus & HSTATUS_VTW) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    return OK;
}

/* --- fences ------------------------------------------------------------------------------------------------------------ */

enum status do_fence_i(core *c) {
    (void)c;
    return OK;
}

/* Goes straight on, unless counting the fence has made an interrupt pending. */
static enum status fence_event(core *c, u64 address) {
    record_here(c, EVENT_FENCE, address);
    return count(c, COUNT_FENCES) ? LEAVE : OK;
}

/* SFENCE.W.INVAL, SFENCE.INVAL.IR ("Svinval"): legal in S and M, nothing to order here. */
enum status do_inval_order(core *c) {
    if (c->h.prv == PRV_U) return c->h.v ? raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0) : raise_illegal(c);
    return OK;
}

/* SFENCE.VMA and SINVAL.VMA: of this V, and with V=1 of this virtual machine. */
enum status do_sfence_vma(core *c, u64 address, u64 asid, u64 rs1, u64 rs2) {
    const hart *h = &c->h;
    if (h->v) {
        if (h->prv == PRV_U || h->csr.hstatus & HSTATUS_VTVM) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    } else if (h->prv == PRV_U || (h->prv == PRV_S && h->csr.mstatus & MSTATUS_TVM)) {
        return raise_illegal(c);
    }
    fence(c, &(fence_scope){
        .v = h->v, .by_vmid = h->v, .vmid = vmid_of(h),
        .by_address = rs1 != 0, .address = address, .by_asid = rs2 != 0, .asid = asid,
    });
    return fence_event(c, address);
}

/* Virtual instruction with V=1, illegal in U. */
static enum status check_hfence(core *c, bool trapped_by_tvm) {
    if (c->h.v) return raise(c, EXCEPTION_VIRTUAL_INSTRUCTION, 0);
    const bool tvm = trapped_by_tvm && c->h.prv == PRV_S && c->h.csr.mstatus & MSTATUS_TVM;
    return c->h.prv == PRV_U || tvm ? raise_illegal(c) : OK;
}

/* HFENCE.VVMA, HINVAL.VVMA: as SFENCE.VMA in the virtual machine that hgatp names. TVM does not trap them. */
enum status do_hfence_vvma(core *c, u64 address, u64 asid, u64 rs1, u64 rs2) {
    if (check_hfence(c, false) != OK) return TRAP;
    fence(c, &(fence_scope){
        .v = 1, .by_vmid = true, .vmid = vmid_of(&c->h),
        .by_address = rs1 != 0, .address = address, .by_asid = rs2 != 0, .asid = asid,
    });
    return fence_event(c, address);
}

/* HFENCE.GVMA, HINVAL.GVMA: rs1 is a guest-physical address shifted right by two, which lookasides are not keyed by: all of
   the virtual machine goes. */
enum status do_hfence_gvma(core *c, u64 address, u64 vmid, u64 rs1, u64 rs2) {
    (void)rs1;
    if (check_hfence(c, true) != OK) return TRAP;
    fence(c, &(fence_scope){.v = 1, .by_vmid = rs2 != 0, .vmid = vmid});
    return fence_event(c, address);
}

/* --- CSR instructions ---------------------------------------------------------------------------------------------------- */

static enum status access_csr(core *c, u32 number, bool write, int *refused) {
    *refused = csr_check(&c->h, number, write);
    return *refused < 0 ? OK : raise(c, (u64)*refused, 0);
}

/* xscratch, xepc, xcause and xtval, fcsr and its parts, satp: no interrupt can depend on them. */
static bool is_quiet(u32 number) {
    return (number & 0x0fc) == 0x040 || number <= CSR_FCSR || number == CSR_SATP;
}

static bool looked_for(core *c, u32 number) {
    const u32 meant = csr_meant(&c->h, number);
    return c->m->filter.csr_writes[meant >> 6] >> (meant & 63) & 1;
}

static enum status finish_write(core *c, u32 number, u64 value) {
    const u64 hgatp = c->h.csr.hgatp;
    const bool told = looking(c, SEEN_CSR_WRITE) && looked_for(c, number);
    const u64 old = told ? csr_read(&c->h, number) : 0;
    csr_write(&c->h, number, value);
    if (told) saw_csr(c, SEEN_CSR_WRITE, number, old, csr_read(&c->h, number));
    if (hgatp != c->h.csr.hgatp) {
        count(c, COUNT_SWITCHES);
        record_here(c, EVENT_HGATP, c->h.csr.hgatp);
    }
    if (UNLIKELY(c->m->looking) && c->m->seen.kinds) return LEAVE;
    return is_quiet(number) ? OK : LEAVE;
}

enum status do_csr_write(core *c, u64 csr, u64 value, u64 source, u64 rd) {
    const u32 number = (u32)csr & 0xfff;
    int refused;
    (void)source;
    if (access_csr(c, number, true, &refused) != OK) return TRAP;
    if (rd != 32) {
        c->h.x[rd] = csr_read(&c->h, number);
        if (looking(c, SEEN_CSR_READ)) saw_csr(c, SEEN_CSR_READ, number, c->h.x[rd], c->h.x[rd]);
    }
    return finish_write(c, number, value);
}

/* CSRRS and CSRRC with x0 or a zero immediate do not write, and have no side effect of writing. */
static enum status modify_csr(core *c, u64 csr, u64 bits, bool set, bool write, u64 rd) {
    const u32 number = (u32)csr & 0xfff;
    int refused;
    if (access_csr(c, number, write, &refused) != OK) return TRAP;
    const u64 old = csr_read(&c->h, number);
    enum status status = OK;
    if (looking(c, SEEN_CSR_READ)) saw_csr(c, SEEN_CSR_READ, number, old, old);
    if (write) {
        const u64 from = csr_read_for_modify(&c->h, number);
        status = finish_write(c, number, set ? from | bits : from & ~bits);
    }
    c->h.x[rd] = old;
    if (UNLIKELY(c->m->looking) && status == OK && c->m->seen.kinds) return LEAVE;
    return status;
}

enum status do_csr_set(core *c, u64 csr, u64 value, u64 source, u64 rd) {
    return modify_csr(c, csr, value, true, source != 0, rd);
}

enum status do_csr_clear(core *c, u64 csr, u64 value, u64 source, u64 rd) {
    return modify_csr(c, csr, value, false, source != 0, rd);
}
