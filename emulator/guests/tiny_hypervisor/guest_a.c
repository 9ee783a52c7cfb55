/* Guest 1 of tiny-hypervisor: busy. It counts primes, and a timer interrupt tells it to report. */
#include "../common/guest.h"

#define LIMIT 100000
#define PERIOD (TICKS_PER_SECOND / 200)

static volatile bool report_due;
static volatile bool refused;

void trap(struct trap *t)
{
    if (t->cause == (INTERRUPT | 5)) {
        report_due = true;
        set_timer(now() + PERIOD);
    } else if (t->cause == ILLEGAL_INSTRUCTION) {
        refused = true;
        t->pc += 4;
    } else {
        sbi(SBI_SRST, 0, 0, 1, 0);
    }
}

static bool is_prime(unsigned n)
{
    for (unsigned d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return true;
}

int main(void)
{
    unsigned primes = 0;

    print("counting the primes below %u\n", LIMIT);
    csr_write(stvec, trap_vector);
    csr_read(hstatus);                      /* a virtual instruction: the hypervisor makes it an illegal one */
    print("the hstatus register: %s\n", refused ? "not mine to read" : "readable");

    csr_set(sie, TIMER);
    set_timer(now() + PERIOD);
    csr_set(sstatus, SSTATUS_SIE);
    for (unsigned n = 2; n < LIMIT; n++) {
        primes += is_prime(n);
        if (report_due) {
            report_due = false;
            print("at %lu ms: %u primes, now at %u\n", now() / (TICKS_PER_SECOND / 1000), primes, n);
        }
    }
    print("%u primes\n", primes);
    return primes != 9592;
}
