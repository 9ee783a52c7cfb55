/* The machine below: QEMU's virt. For C and assembly. */
#ifndef MACHINE_H
#define MACHINE_H

#define FINISHER            0x100000
#define FINISHER_PASS       0x5555
#define FINISHER_FAIL       0x3333      /* with the exit code above bit 16 */
#define MTIMECMP            0x2004000
#define UART                0x10000000
#define RAM_END             0x81000000  /* 16 MiB are plenty */

#define MSTATUS_MPP         (3 << 11)
#define MSTATUS_MPP_S       (1 << 11)
#define MTIP                (1 << 7)
#define STIP                (1 << 5)
#define CAUSE_ECALL_FROM_S  9

/* struct vcpu, as world_switch.S sees it */
#define VCPU_PC             (8 * 32)
#define VCPU_HSTATUS        (8 * 33)
#define VCPU_SSTATUS        (8 * 34)
#define VCPU_HOST_SP        (8 * 35)

#endif
