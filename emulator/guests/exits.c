/* exits: does once each thing that makes a guest leave to its hypervisor, and checks what comes back.
 *
 * A few things at the end do not exit: they are delegated to the guest itself. A hypervisor may answer some others in
 * two ways (emulate, or hand the guest an illegal instruction); the line then says which one it saw.
 */
#include "common/guest.h"

#define UART            0x10000000UL
#define MODEM_CONTROL   (UART + 4)
#define SCRATCH         (UART + 7)
#define PAGE            4096UL

extern char ram_base[];
#define FRESH           (ram_base + 0x300000)   /* pages that nobody has touched; a VM has at least 4 MiB */

static unsigned done, wrong;

static void report(bool good, const char *what, const char *seen)
{
    done++;
    wrong += !good;
    print("%s %-34s %s\n", good ? "ok " : "BAD", what, seen);
}

/* Traps: written down, then stepped over. */

static volatile uint64_t cause, software_interrupts, timer_interrupts;
static uint64_t resume;                 /* where the supervisor goes on after its user code has trapped */

void trap(struct trap *t)
{
    if (t->cause == (INTERRUPT | 1)) {
        csr_clear(sip, SOFTWARE);
        software_interrupts++;
    } else if (t->cause == (INTERRUPT | 5)) {
        set_timer(~0UL);
        timer_interrupts++;
    } else {
        cause = t->cause;
        if (!(csr_read(sstatus) & SSTATUS_SPP)) {
            t->pc = resume;
            csr_set(sstatus, SSTATUS_SPP);
        } else if (t->pc >= (uintptr_t)FRESH)
            t->pc = t->x[1];            /* ran into an empty page: back to the caller */
        else
            t->pc += instruction_length(*(uint16_t *)t->pc);
    }
}

/* The exception since the last question, or 0. */
static uint64_t took(void)
{
    uint64_t last = cause;
    cause = 0;
    return last;
}

/* Evaluates to the exception that one instruction raises, or 0. */
#define try(instruction, ...) ({ __asm__ volatile(instruction : __VA_ARGS__); took(); })

static void report_privileged(const char *what, uint64_t exception)
{
    report(exception == 0 || exception == ILLEGAL_INSTRUCTION, what,
           exception == 0 ? "done: this is HS, or it is emulated" : "illegal instruction: this is a guest");
}

/* What exits. */

static void sbi_calls(uint64_t hart)
{
    static char text[] = "    (this line went out by DBCN)\r\n";
    struct sbi_result r;

    r = sbi(SBI_BASE, 0, 0, 0, 0);
    report(r.error == SBI_OK && r.value >> 24 < 128, "SBI base: version", r.value >> 24 >= 2 ? "2 or newer" : "0 or 1");
    r = sbi(SBI_BASE, 3, SBI_BASE, 0, 0);
    report(r.error == SBI_OK && r.value != 0, "SBI base: probe itself", "present");
    r = sbi(SBI_BASE, 3, 0x0bad0bad, 0, 0);
    report(r.error == SBI_OK && r.value == 0, "SBI base: probe nonsense", "absent");
    report(sbi(0x0bad0bad, 0, 0, 0, 0).error == SBI_NOT_SUPPORTED, "SBI: unknown extension", "not supported");
    report(sbi(SBI_BASE, 99, 0, 0, 0).error == SBI_NOT_SUPPORTED, "SBI base: unknown function", "not supported");

    report(sbi(SBI_PUTCHAR, 0, '\r', 0, 0).error == 0, "SBI legacy: put a character", "a carriage return");
    report(sbi(SBI_GETCHAR, 0, 0, 0, 0).error >= -1, "SBI legacy: get a character", "a byte, or -1");
    if (sbi_has(SBI_DBCN)) {
        r = sbi(SBI_DBCN, 0, sizeof text - 1, (uintptr_t)text, 0);
        report(r.error == SBI_OK && r.value == sizeof text - 1, "SBI DBCN: write", "all of it");
        r = sbi(SBI_DBCN, 1, 1, (uintptr_t)text, 0);
        report(r.error == SBI_OK && r.value <= 1, "SBI DBCN: read", r.value ? "a byte" : "nothing there");
        report(sbi(SBI_DBCN, 2, '\r', 0, 0).error == SBI_OK, "SBI DBCN: write one byte", "a carriage return");
    }
    if (sbi_has(SBI_HSM)) {
        r = sbi(SBI_HSM, 2, hart, 0, 0);
        report(r.error == SBI_OK && r.value == 0, "SBI HSM: this hart", "started");
        report(sbi(SBI_HSM, 0, hart, (uintptr_t)ram_base, 0).error == SBI_ALREADY_AVAILABLE,
               "SBI HSM: start this hart", "already available");
        report(sbi(SBI_HSM, 0, 12345, (uintptr_t)ram_base, 0).error == SBI_INVALID_PARAMETER,
               "SBI HSM: start hart 12345", "invalid parameter");
    }
    if (sbi_has(SBI_RFENCE))
        report(sbi(SBI_RFENCE, 0, 1, hart, 0).error == SBI_OK, "SBI RFENCE: FENCE.I on this hart", "done");
    if (sbi_has(SBI_SRST))
        report(sbi(SBI_SRST, 0, 0x7777, 0, 0).error < 0, "SBI SRST: a reserved type", "refused");
}

/* Interrupts are taken between these two instructions only. */
static void take_interrupts(void)
{
    csr_set(sstatus, SSTATUS_SIE);
    csr_clear(sstatus, SSTATUS_SIE);
}

static void interrupts(uint64_t hart)
{
    csr_set(sie, SOFTWARE | TIMER);
    report(sbi(SBI_IPI, 0, 1, hart, 0).error == SBI_OK, "SBI IPI: to this hart", "sent");
    take_interrupts();
    report(software_interrupts == 1, "  the software interrupt", "taken once");

    uint64_t deadline = now() + TICKS_PER_SECOND / 1000;
    set_timer(deadline);
    while (timer_interrupts == 0) {
        wait_for_interrupt();
        take_interrupts();
    }
    report(now() >= deadline, "SBI TIME, WFI: sleep a millisecond", "not woken early");
    take_interrupts();
    report(timer_interrupts == 1, "  the timer interrupt", "taken once");
    csr_clear(sie, SOFTWARE | TIMER);
}

/* Each width, plain and compressed: a hypervisor has to decode them all. Wide accesses reach one byte register. */
static void device_access(void)
{
    uint64_t value;

    report(try("sb %0, (%1)", : "r"(0xa5UL), "r"(SCRATCH) : "memory") == 0, "UART: sb", "no exception");
    report(try("lb %0, (%1)", "=r"(value) : "r"(SCRATCH)) == 0 && value == -0x5bUL, "UART: lb", "sign-extended");
    report(try("lbu %0, (%1)", "=r"(value) : "r"(SCRATCH)) == 0 && value == 0xa5, "UART: lbu", "zero-extended");
    report(try("lhu %0, (%1)", "=r"(value) : "r"(UART + 6)) == 0, "UART: lhu", "no exception");
    report(try("lh %0, (%1)", "=r"(value) : "r"(UART + 6)) == 0, "UART: lh", "no exception");
    report(try("sh %0, (%1)", : "r"(0L), "r"(UART + 2) : "memory") == 0, "UART: sh", "no exception");
    report(try("sw %0, (%1)", : "r"(3L), "r"(MODEM_CONTROL) : "memory") == 0, "UART: sw", "no exception");
    report(try("lw %0, (%1)", "=r"(value) : "r"(MODEM_CONTROL)) == 0 && (value & 255) == 3, "UART: lw",
           "what was stored");
    report(try("lwu %0, (%1)", "=r"(value) : "r"(MODEM_CONTROL)) == 0 && (value & 255) == 3, "UART: lwu", "the same");
    report(try("c.sw %0, (%1)", : "cr"(1L), "cr"(MODEM_CONTROL) : "memory") == 0, "UART: c.sw", "no exception");
    report(try("c.lw %0, (%1)", "=cr"(value) : "cr"(MODEM_CONTROL)) == 0 && (value & 255) == 1, "UART: c.lw",
           "what was stored");
    report(try("ld %0, (%1)", "=r"(value) : "r"(UART)) == 0, "UART: ld", "no exception");
    report(try("sd %0, (%1)", : "r"('\r'), "r"(UART) : "memory") == 0, "UART: sd", "a carriage return");
    report(try("c.ld %0, (%1)", "=cr"(value) : "cr"(UART)) == 0, "UART: c.ld", "no exception");
    report(try("c.sd %0, (%1)", : "cr"('\r'), "cr"(UART) : "memory") == 0, "UART: c.sd", "a carriage return");
}

/* A guest-page fault for each way to touch a page first. The guest must notice none of them. */
static void first_touches(void)
{
    char *page = FRESH;
    uint64_t value = 0;

    report(try("ld %0, (%1)", "=r"(value) : "r"(page)) == 0, "first touch of a page: load", "no exception");

    page += PAGE;
    report(try("sd %0, (%1)", : "r"(1234L), "r"(page) : "memory") == 0 && *(volatile uint64_t *)page == 1234,
           "first touch: store", "the value is there");

    page += PAGE;
    report(try("lr.d %0, (%1)", "=r"(value) : "r"(page) : "memory") == 0, "first touch: load reserved", "no exception");

    page += PAGE;
    *(volatile uint64_t *)page = 1;
    report(try("amoadd.d %0, %1, (%2)", "=r"(value) : "r"(2L), "r"(page + PAGE - 8) : "memory") == 0
               && *(volatile uint64_t *)(page + PAGE - 8) == value + 2,
           "an AMO", "added");
    report(try("amoswap.d %0, %1, (%2)", "=r"(value) : "r"(5L), "r"(page + PAGE) : "memory") == 0
               && *(volatile uint64_t *)(page + PAGE) == 5,
           "first touch: AMO", "swapped");

    page += 3 * PAGE - 4;               /* half of it in one page, half in the next, neither touched before */
    value = try("sd %0, (%1)", : "r"(0x1122334455667788), "r"(page) : "memory");
    report(value == 0 || value == MISALIGNED_STORE, "first touch: store over two pages",
           value == 0 ? "done" : "misaligned: not supported here");

    page += 4 + PAGE;
    took();
    ((void (*)(void))page)();           /* an empty page holds no instruction */
    report(took() == ILLEGAL_INSTRUCTION, "first touch: fetch", "illegal instruction: the page is empty");
}

static void hypervisor_instructions(void)
{
    uint64_t value;

    report_privileged("csrr hstatus", try("csrr %0, hstatus", "=r"(value)));
    report_privileged("csrr hgatp", try("csrr %0, hgatp", "=r"(value)));
    report_privileged("csrr vsstatus", try("csrr %0, vsstatus", "=r"(value)));
    report_privileged("hfence.gvma", try("hfence.gvma", : : "memory"));
    report_privileged("hlv.d", try("hlv.d %0, (%1)", "=r"(value) : "r"(ram_base)));
}

static void counters(void)
{
    uint64_t first = now(), second = now(), value = 0, exception;

    report(took() == 0 && second >= first, "rdtime", "runs");
    exception = try("rdcycle %0", "=r"(value));
    report(exception == 0 || exception == ILLEGAL_INSTRUCTION, "rdcycle", exception ? "refused" : "answered");
    exception = try("rdinstret %0", "=r"(value));
    report(exception == 0 || exception == ILLEGAL_INSTRUCTION, "rdinstret", exception ? "refused" : "answered");
}

/* User code in its own guest: one instruction each. */

__asm__(".text\n"
        "user_ecall:  ecall\n"
        "user_ebreak: ebreak\n"
        "user_csr:    csrr zero, sstatus\n"
        "user_sret:   sret\n"
        "user_wfi:    wfi\n"
        "             ecall\n");
extern char user_ecall[], user_ebreak[], user_csr[], user_sret[], user_wfi[];

/* Runs user code until it traps, and returns the exception. */
static uint64_t user(const char *code)
{
    __asm__ volatile("la t0, 1f\n\t"
                     "sd t0, %0\n\t"
                     "csrw sepc, %1\n\t"
                     "csrc sstatus, %2\n\t"
                     "sret\n"
                     "1:"
                     : "=m"(resume) : "r"(code), "r"(SSTATUS_SPP) : "t0", "memory");
    return took();
}

static void user_traps(void)
{
    report(user(user_csr) == ILLEGAL_INSTRUCTION, "user mode: csrr sstatus", "illegal instruction");
    report(user(user_sret) == ILLEGAL_INSTRUCTION, "user mode: sret", "illegal instruction");

    set_timer(now() + TICKS_PER_SECOND / 1000);     /* should the WFI be allowed to wait */
    csr_set(sie, TIMER);
    uint64_t exception = user(user_wfi);
    csr_clear(sie, TIMER);
    set_timer(~0UL);
    report(exception == ILLEGAL_INSTRUCTION || exception == ECALL_FROM_U, "user mode: wfi",
           exception == ILLEGAL_INSTRUCTION ? "illegal instruction" : "it waited");
}

/* What does not exit. */

static void delegated(void)
{
    uint64_t value = 0, words[2] = {0x1122334455667788, 0x99aabbccddeeff00}, exception;

    report(user(user_ecall) == ECALL_FROM_U, "delegated: ecall from user mode", "environment call");
    report(user(user_ebreak) == BREAKPOINT, "delegated: ebreak from user mode", "breakpoint");
    report(try("ebreak", ) == BREAKPOINT, "delegated: ebreak", "breakpoint");
    report(try("unimp", ) == ILLEGAL_INSTRUCTION, "delegated: unimp", "illegal instruction");
    report(try("csrr %0, mstatus", "=r"(value)) == ILLEGAL_INSTRUCTION, "delegated: csrr mstatus",
           "illegal instruction");
    exception = try("ld %0, 3(%1)", "+r"(value) : "r"(words) : "memory");
    report(exception == MISALIGNED_LOAD || (exception == 0 && value == 0xeeff001122334455), "a misaligned load",
           exception ? "misaligned: not supported here" : "done");
}

int main(uint64_t hart)
{
    print("exits: what makes a guest leave to its hypervisor\n");
    csr_write(stvec, trap_vector);
    sbi_calls(hart);
    interrupts(hart);
    device_access();
    first_touches();
    hypervisor_instructions();
    counters();
    user_traps();
    delegated();
    print("exits: %u of %u as expected\n", done - wrong, done);
    return wrong != 0;
}
