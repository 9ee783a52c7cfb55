# Assembled without debugging information, as libraries often are.
    .section .text.start, "ax"
    .global _start
    .type _start, @function
_start:
    la sp, stack_top
    call main
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b
    .size _start, . - _start

    .text
    .global plain
    .type plain, @function
plain:
    addi sp, sp, -16
    sd ra, 8(sp)
    li a1, 0
    call leaf
    ld ra, 8(sp)
    addi sp, sp, 16
    ret
    .size plain, . - plain

    .bss
    .balign 16
    .space 4096
stack_top:
