/* faulty: a program with a mistake in its page table. It wants to write into its ledger, is refused, and tries again
 * once a second until somebody mends the entry from outside. Then it writes, and ends. */
#include "common/guest.h"

#define LEDGER  0x140000000UL

enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, ACCESSED = 64, DIRTY = 128 };
#define SATP_SV39       (8UL << 60)

extern char ram_base[];

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t middle[512] __attribute__((aligned(4096)));
static uint64_t last[512] __attribute__((aligned(4096)));
static uint64_t paper[512] __attribute__((aligned(4096)));     /* the ledger's page */

static unsigned refused;

static uint64_t entry(const void *physical, uint64_t flags) { return (uint64_t)physical >> 12 << 10 | flags; }

static void sleep_a_second(void)
{
    set_timer(now() + TICKS_PER_SECOND);
    csr_set(sie, TIMER);
    wait_for_interrupt();               /* pending is enough: sstatus.SIE is 0 in a handler */
    csr_clear(sie, TIMER);
}

/* Leaves pc where it was: the instruction is tried again. */
void trap(struct trap *t)
{
    if (!refused++)
        print("cause %lu at %lx: refused\nagain every second\n", t->cause, t->value);
    sleep_a_second();
}

static void record(volatile uint64_t *where, uint64_t amount) { *where = amount; }

int main(void)
{
    print("faulty: writing to the ledger\n");
    csr_write(stvec, trap_vector);
    root[(uint64_t)ram_base >> 30 & 511] = entry(ram_base, VALID | READ | WRITE | EXECUTE | ACCESSED | DIRTY);
    root[LEDGER >> 30 & 511] = entry(middle, VALID);
    middle[LEDGER >> 21 & 511] = entry(last, VALID);
    last[LEDGER >> 12 & 511] = entry(paper, VALID | READ | ACCESSED | DIRTY);
    csr_write(satp, SATP_SV39 | (uint64_t)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");

    record((uint64_t *)(LEDGER + 16), 42);
    bool good = paper[2] == 42;
    print(good ? "written, after %u refusals: thank you\n" : "lost after %u refusals\n", refused);
    return !good;
}
