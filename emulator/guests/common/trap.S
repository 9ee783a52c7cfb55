# The trap vector: saves every register into a struct trap (guest.h), calls trap(), and resumes.
#
# It stays on the interrupted stack. That is sound because nothing below supervisor mode here has one of its own.

    .equ    FRAME, 8 * 36

    .text
    .balign 4
    .global trap_vector
trap_vector:
    addi    sp, sp, -FRAME
    .irp    n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd      x\n, 8 * \n(sp)
    .endr
    addi    t0, sp, FRAME
    sd      t0, 8 * 2(sp)
    csrr    t0, sepc
    sd      t0, 8 * 32(sp)
    csrr    t0, scause
    sd      t0, 8 * 33(sp)
    csrr    t0, stval
    sd      t0, 8 * 34(sp)

    mv      a0, sp
    call    trap

    ld      t0, 8 * 32(sp)
    csrw    sepc, t0
    .irp    n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      x\n, 8 * \n(sp)
    .endr
    addi    sp, sp, FRAME
    sret
