/* What every bundled guest is built on: CSRs, SBI calls, traps, a console. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CSRs. */

#define csr_read(name)         ({ uint64_t v_; __asm__ volatile("csrr %0, " #name : "=r"(v_) :: "memory"); v_; })
#define csr_write(name, value) ({ __asm__ volatile("csrw " #name ", %0" :: "rK"(value) : "memory"); })
#define csr_set(name, bits)    ({ __asm__ volatile("csrs " #name ", %0" :: "rK"(bits) : "memory"); })
#define csr_clear(name, bits)  ({ __asm__ volatile("csrc " #name ", %0" :: "rK"(bits) : "memory"); })

#define SSTATUS_SIE     (1UL << 1)
#define SSTATUS_SPP     (1UL << 8)
#define SSTATUS_SUM     (1UL << 18)

#define SOFTWARE        (1UL << 1)      /* bits of sie and sip */
#define TIMER           (1UL << 5)

#define INTERRUPT       (1UL << 63)     /* scause: an interrupt, not an exception */

enum cause {                            /* scause of the exceptions that a guest sees */
    ILLEGAL_INSTRUCTION = 2, BREAKPOINT = 3, MISALIGNED_LOAD = 4, MISALIGNED_STORE = 6, ECALL_FROM_U = 8,
    FETCH_PAGE_FAULT = 12, LOAD_PAGE_FAULT = 13, STORE_PAGE_FAULT = 15
};

#define TICKS_PER_SECOND 10000000UL     /* the timebase of QEMU's virt machine, and of ours */

static inline uint64_t now(void) { return csr_read(time); }

/* Waits until an interrupt that sie enables is pending. With sstatus.SIE clear it is not taken, so no wake-up is lost
 * between the caller's last look and the WFI. */
static inline void wait_for_interrupt(void) { __asm__ volatile("wfi" ::: "memory"); }

/* SBI: the calls a guest makes to what runs below it. */

enum sbi_extension {
    SBI_PUTCHAR = 0x01, SBI_GETCHAR = 0x02,             /* legacy: the result is in a0 alone */
    SBI_BASE = 0x10, SBI_TIME = 0x54494D45, SBI_IPI = 0x735049, SBI_RFENCE = 0x52464E43,
    SBI_HSM = 0x48534D, SBI_SRST = 0x53525354, SBI_DBCN = 0x4442434E
};

enum sbi_error {
    SBI_OK = 0, SBI_FAILED = -1, SBI_NOT_SUPPORTED = -2, SBI_INVALID_PARAMETER = -3, SBI_ALREADY_AVAILABLE = -6
};

struct sbi_result { long error; uint64_t value; };

static inline struct sbi_result sbi(long extension, long function, uint64_t first, uint64_t second, uint64_t third)
{
    register uint64_t a0 __asm__("a0") = first;
    register uint64_t a1 __asm__("a1") = second;
    register uint64_t a2 __asm__("a2") = third;
    register long a6 __asm__("a6") = function;
    register long a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, a1};
}

static inline bool sbi_has(long extension) { return sbi(SBI_BASE, 3, extension, 0, 0).value != 0; }
static inline void set_timer(uint64_t deadline) { sbi(SBI_TIME, 0, deadline, 0, 0); }

/* Traps: a guest that wants them points stvec at trap_vector and defines trap(). */

struct trap { uint64_t x[32], pc, cause, value; };      /* layout known to trap.S; pc may be changed */

void trap_vector(void);
void trap(struct trap *);

/* How many bytes the instruction takes that starts with this halfword. */
static inline unsigned instruction_length(uint16_t low) { return (low & 3) == 3 ? 4 : 2; }

/* Console. */

void console_write(const char *text, size_t length);    /* SBI in console.c */
int console_read(void);                                 /* a byte, or -1 when there is none */

/* %s %c %d %u %x with l, a width, and the flags 0 and -. A newline goes out as CR LF. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
