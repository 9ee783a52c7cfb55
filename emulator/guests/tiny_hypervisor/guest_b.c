/* Guest 2 of tiny-hypervisor: sleepy. It naps in WFI, and with each nap touches a page that it never touched before. */
#include "../common/guest.h"

#define NAPS 8
#define NAP (TICKS_PER_SECOND / 250)
#define PAGE 4096

extern char ram_base[];

int main(void)
{
    volatile uint64_t *page = (uint64_t *)(ram_base + 0x80000);
    uint64_t sum = 0;

    csr_set(sie, TIMER);                    /* wakes the WFI; sstatus.SIE is clear, so there is no trap */
    for (uint64_t nap = 1; nap <= NAPS; nap++) {
        uint64_t deadline = now() + NAP;
        set_timer(deadline);
        while (now() < deadline)
            wait_for_interrupt();
        sum += *page;                       /* fresh memory is zero */
        *page = nap;
        print("nap %lu of %u, at %lu ms, page %lx\n", nap, NAPS, now() / (TICKS_PER_SECOND / 1000), (uint64_t)page);
        page += PAGE / sizeof *page;
    }
    return sum != 0;
}
