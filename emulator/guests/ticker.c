/* ticker: a timer interrupt ten times a second, and one line on the console that lives. It never ends. */
#include "common/guest.h"

#define PERIOD (TICKS_PER_SECOND / 10)
#define WIDTH 16        /* the whole line fits into a narrow pane */

static volatile uint64_t ticks;
static uint64_t deadline;

void trap(struct trap *t)
{
    if (t->cause != (INTERRUPT | 5)) {
        print("\nunexpected trap: cause %lx at %lx\n", t->cause, t->pc);
        sbi(SBI_SRST, 0, 0, 1, 0);
    }
    ticks++;
    deadline += PERIOD;                 /* not "now plus a period": lateness must not add up */
    set_timer(deadline);                /* also withdraws the interrupt */
}

/* A bar that runs to the end and back. */
static void draw(uint64_t tick)
{
    char bar[WIDTH + 1];
    uint64_t step = tick % (2 * WIDTH), length = step < WIDTH ? step : 2 * WIDTH - step;

    for (uint64_t i = 0; i < WIDTH; i++)
        bar[i] = i < length ? '=' : ' ';
    bar[WIDTH] = 0;
    print("\r\033[1;32m%c\033[0m \033[36m[%s]\033[0m %lu.%lu s\033[K", "|/-\\"[tick % 4], bar, tick / 10, tick % 10);
}

int main(void)
{
    print("ticker: ten timer interrupts a second\n");
    csr_write(stvec, trap_vector);
    deadline = now() + PERIOD;
    set_timer(deadline);
    csr_set(sie, TIMER);

    for (;;) {
        uint64_t drawn = ticks;
        draw(drawn);
        while (ticks == drawn) {
            wait_for_interrupt();
            csr_set(sstatus, SSTATUS_SIE);      /* taken between these two */
            csr_clear(sstatus, SSTATUS_SIE);
        }
    }
}
