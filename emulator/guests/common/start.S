# Where a guest begins: a0 = hart id, a1 = address of the device tree or 0, S-mode (VS in a VM), satp = 0.

    .section .text.start, "ax"
    .global _start
_start:
    la      sp, stack_top

    la      t0, bss_start           # memory may be stale after a reboot
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b

2:  call    main

    snez    a1, a0                  # SRST reason: 0 none, 1 system failure
    li      a0, 0                   # SRST type: shutdown
    li      a6, 0
    li      a7, 0x53525354
    ecall
3:  wfi                             # nobody switched the machine off
    j       3b

    .section .stack, "aw", @nobits
    .balign 16
    .skip   4096
stack_top:
