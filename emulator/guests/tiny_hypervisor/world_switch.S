# The world switch: from HS-mode into the guest, and back at its next trap.

#include "machine.h"

    .text

# void enter_guest(struct vcpu *vcpu): returns after the guest has trapped into HS-mode.
    .global enter_guest
enter_guest:
    addi    sp, sp, -8 * 16             # what a C function must preserve, and gp and tp
    sd      ra, 0(sp)
    sd      gp, 8(sp)
    sd      tp, 16(sp)
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
    sd      s\n, 24 + 8 * \n(sp)
    .endr
    sd      sp, VCPU_HOST_SP(a0)

    csrw    sscratch, a0                # found again in guest_exit
    la      t0, guest_exit
    csrw    stvec, t0
    ld      t0, VCPU_PC(a0)
    csrw    sepc, t0
    ld      t0, VCPU_HSTATUS(a0)        # SPV = 1: sret goes to V = 1 ...
    csrw    hstatus, t0
    ld      t0, VCPU_SSTATUS(a0)        # ... and SPP says whether to VS or VU
    csrw    sstatus, t0

    .irp    n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      x\n, 8 * \n(a0)
    .endr
    ld      a0, 8 * 10(a0)
    sret

    .balign 4
guest_exit:
    csrrw   a0, sscratch, a0            # a0 = vcpu, sscratch = the guest's a0
    .irp    n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd      x\n, 8 * \n(a0)
    .endr
    csrr    t0, sscratch
    sd      t0, 8 * 10(a0)
    csrr    t0, sepc
    sd      t0, VCPU_PC(a0)
    csrr    t0, hstatus
    sd      t0, VCPU_HSTATUS(a0)
    csrr    t0, sstatus
    sd      t0, VCPU_SSTATUS(a0)

    la      t0, host_trap               # from here on a trap is a bug of the hypervisor
    csrw    stvec, t0
    ld      sp, VCPU_HOST_SP(a0)
    ld      ra, 0(sp)
    ld      gp, 8(sp)
    ld      tp, 16(sp)
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
    ld      s\n, 24 + 8 * \n(sp)
    .endr
    addi    sp, sp, 8 * 16
    ret

    .balign 4
host_trap:
    la      t0, park                    # one is enough
    csrw    stvec, t0
    csrr    a0, scause
    csrr    a1, sepc
    csrr    a2, stval
    la      sp, stack_top
    j       host_bug
