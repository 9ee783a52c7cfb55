# M-mode: where the machine starts. It gives everything away that can be given, keeps the timer, and drops to HS-mode.

#include "machine.h"

    .section .text.start, "ax"
    .global _start
_start:
    csrr    t0, mhartid
    bnez    t0, park                    # one hart is enough

    la      sp, stack_top
    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b

2:  la      t0, machine_trap
    csrw    mtvec, t0
    la      t0, machine_scratch
    csrw    mscratch, t0

    csrr    t0, misa
    srli    t0, t0, 'H' - 'A'
    andi    t0, t0, 1
    beqz    t0, no_extension

    li      t0, -1                      # PMP: one entry, all of memory, RWX
    csrw    pmpaddr0, t0
    li      t0, 0x1f
    csrw    pmpcfg0, t0

    li      t0, -1                      # every exception to HS-mode, except its own ecall (read-only zero bits stay)
    li      t1, 1 << 9
    xor     t0, t0, t1
    csrw    medeleg, t0
    li      t0, 0x222                   # SSI, STI, SEI; those of VS-mode are always delegated
    csrw    mideleg, t0
    li      t0, 7                       # cycle, time, instret
    csrw    mcounteren, t0

    csrw    satp, zero
    li      t0, MSTATUS_MPP             # MPP = S, MPV = 0
    csrc    mstatus, t0
    li      t0, MSTATUS_MPP_S
    csrs    mstatus, t0
    la      t0, main
    csrw    mepc, t0
    mret

no_extension:
    la      a0, no_extension_text
    call    print
    li      a0, 1
    j       finish

    .balign 4
    .global park
park:
    wfi
    j       park

# The two things that M-mode still does. From HS-mode: ecall with the next deadline in a0. From the timer: tell HS-mode.
    .text
    .balign 4
machine_trap:
    csrrw   t0, mscratch, t0            # t0 = machine_scratch
    sd      t1, 8(t0)
    sd      t2, 16(t0)
    csrr    t1, mcause
    bltz    t1, timer
    addi    t1, t1, -CAUSE_ECALL_FROM_S
    bnez    t1, broken

    li      t1, MTIMECMP
    sd      a0, 0(t1)
    li      t1, STIP                    # the old interrupt is withdrawn, a new one may come
    csrc    mip, t1
    li      t1, MTIP
    csrs    mie, t1
    csrr    t1, mepc
    addi    t1, t1, 4
    csrw    mepc, t1
    j       leave

timer:
    li      t1, MTIP                    # silent until the next deadline
    csrc    mie, t1
    li      t1, STIP
    csrs    mip, t1

leave:
    ld      t1, 8(t0)
    ld      t2, 16(t0)
    csrrw   t0, mscratch, t0
    mret

broken:                                 # an exception that M-mode never expects
    la      t0, park                    # one is enough
    csrw    mtvec, t0
    csrr    a0, mcause

# Ends the machine: a0 = 0 is success, anything else the exit code of a failure.
    .global finish
finish:
    li      t0, FINISHER
    li      t1, FINISHER_PASS
    beqz    a0, 1f
    slli    t1, a0, 16
    li      t2, FINISHER_FAIL
    or      t1, t1, t2
1:  sw      t1, 0(t0)
    j       park

    .section .rodata
no_extension_text:
    .asciz  "tiny-hypervisor: this hart has no H extension\n"

    .section .stack, "aw", @nobits
    .balign 16
machine_scratch:
    .skip   32
    .skip   8192
    .global stack_top
stack_top:
