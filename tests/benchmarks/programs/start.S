# Bare machine, M-mode, one hart at 0x8000_0000: runs the program and ends through HTIF with exit code 0 or 1.

    .section .text.start, "ax"
    .global _start
_start:
    csrr    t0, mhartid
    bnez    t0, 3f
    la      t0, 3f                      # nothing should trap; if it does, stand still
    csrw    mtvec, t0
    la      sp, stack_top
    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b

2:  call    checksum
    ld      t0, expected
    sub     a0, a0, t0
    snez    a0, a0
    slli    a0, a0, 1                   # HTIF: the exit code above a set bit 0
    ori     a0, a0, 1
    la      t0, tohost
    sd      a0, 0(t0)
    .balign 4
3:  j       3b

    .section .tohost, "aw", @progbits
    .balign 64
    .global tohost
    .type   tohost, @object
    .size   tohost, 8
tohost:
    .dword  0
    .balign 64
    .global fromhost
    .type   fromhost, @object
    .size   fromhost, 8
fromhost:
    .dword  0

    .section .stack, "aw", @nobits
    .balign 16
    .skip   16384
stack_top:
