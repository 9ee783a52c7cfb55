/* pages: turns on Sv39 and looks at the same memory through pages of 4 KiB, 2 MiB and 1 GiB.
 *
 *   virtual                      page    physical
 *   ram_base (identity)          1 GiB   its own gigabyte: code, stack and tables stay where they are
 *   0x1_0000_0000 + offset       1 GiB   the same gigabyte again
 *   0x1_4000_0000                2 MiB   the window
 *   0x1_8000_0000                4 KiB   the window, page by page, last page first
 *
 * The window is 2 MiB of RAM that belong to nobody else.
 */
#include "common/guest.h"

#define PAGE            4096UL
#define MEGAPAGE        (512 * PAGE)
#define GIGAPAGE        (512 * MEGAPAGE)

#define VIEW_1G         0x100000000UL
#define VIEW_2M         0x140000000UL
#define VIEW_4K         0x180000000UL

enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, USER = 16, ACCESSED = 64, DIRTY = 128 };
#define READ_WRITE      (VALID | READ | WRITE | ACCESSED | DIRTY)
#define SATP_SV39       (8UL << 60)

extern char ram_base[];

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t megapages[512] __attribute__((aligned(4096)));      /* covers VIEW_2M */
static uint64_t to_small[512] __attribute__((aligned(4096)));       /* covers VIEW_4K ... */
static uint64_t small[512] __attribute__((aligned(4096)));          /* ... and this its first 2 MiB */

static uint64_t window, gigabyte;       /* physical */
static unsigned bad;

/* The last exception: the handler writes it down and steps over the instruction. */
static volatile uint64_t fault_cause, fault_address;

void trap(struct trap *t)
{
    fault_cause = t->cause;
    fault_address = t->value;
    if (t->cause == FETCH_PAGE_FAULT)
        t->pc = t->x[1];                /* nothing to step over: back to the caller */
    else if (t->cause == LOAD_PAGE_FAULT || t->cause == STORE_PAGE_FAULT)
        t->pc += instruction_length(*(uint16_t *)t->pc);
    else {
        print("unexpected trap: cause %lx at %lx\n", t->cause, t->pc);
        sbi(SBI_SRST, 0, 0, 1, 0);
    }
}

static uint64_t entry(uint64_t physical, uint64_t flags) { return physical >> 12 << 10 | flags; }
static uint64_t index(uint64_t address, unsigned level) { return address >> (12 + 9 * level) & 511; }

static void fence(uint64_t address) { __asm__ volatile("sfence.vma %0" :: "r"(address) : "memory"); }

static uint64_t load(uint64_t address)
{
    uint64_t value = 0;
    __asm__ volatile("ld %0, (%1)" : "+r"(value) : "r"(address) : "memory");
    return value;
}

static void store(uint64_t address, uint64_t value)
{
    __asm__ volatile("sd %1, (%0)" :: "r"(address), "r"(value) : "memory");
}

static void report(const char *what, bool good)
{
    print("  %-52s %s\n", what, good ? "OK" : "BAD");
    bad += !good;
}

static bool faults(uint64_t cause, uint64_t address)
{
    bool as_expected = fault_cause == cause && fault_address == address;
    fault_cause = fault_address = 0;
    return as_expected;
}

/* Where byte `offset` of the window is in each view. */
static uint64_t physical(uint64_t offset) { return window + offset; }
static uint64_t at_1g(uint64_t offset) { return VIEW_1G + (window - gigabyte) + offset; }
static uint64_t at_2m(uint64_t offset) { return VIEW_2M + offset; }
static uint64_t at_4k(uint64_t offset) { return VIEW_4K + (MEGAPAGE - PAGE - offset / PAGE * PAGE) + offset % PAGE; }

/* Writes a word into every page of the window through one view, and looks for all of them through another. */
static bool walk(uint64_t (*write)(uint64_t), uint64_t (*read)(uint64_t), uint64_t seed)
{
    const uint64_t step = PAGE + 8;     /* another word of each page */
    bool good = true;

    for (uint64_t offset = 0; offset < MEGAPAGE; offset += step)
        store(write(offset), seed ^ offset * 0x9e3779b97f4a7c15);
    for (uint64_t offset = 0; offset < MEGAPAGE; offset += step)
        good &= load(read(offset)) == (seed ^ offset * 0x9e3779b97f4a7c15);
    return good && fault_cause == 0;
}

static void build_tables(void)
{
    gigabyte = (uint64_t)ram_base / GIGAPAGE * GIGAPAGE;
    window = ((uint64_t)ram_base / MEGAPAGE + 1) * MEGAPAGE;

    root[index(gigabyte, 2)] = entry(gigabyte, READ_WRITE | EXECUTE);
    root[index(VIEW_1G, 2)] = entry(gigabyte, READ_WRITE);
    root[index(VIEW_2M, 2)] = entry((uint64_t)megapages, VALID);
    megapages[0] = entry(window, READ_WRITE);
    root[index(VIEW_4K, 2)] = entry((uint64_t)to_small, VALID);
    to_small[0] = entry((uint64_t)small, VALID);
    for (uint64_t page = 0; page < 512; page++)
        small[511 - page] = entry(window + page * PAGE, READ_WRITE);
}

/* Changes one entry of the 4 KiB view and makes the change seen. */
static void change(uint64_t page, uint64_t physical, uint64_t flags)
{
    small[page] = entry(physical, flags);
    fence(VIEW_4K + page * PAGE);
}

int main(void)
{
    uint64_t satp;

    print("pages: one memory, three page sizes\n");
    csr_write(stvec, trap_vector);
    build_tables();
    satp = SATP_SV39 | (uint64_t)root >> 12;
    csr_write(satp, satp);
    __asm__ volatile("sfence.vma" ::: "memory");
    report("Sv39 is on and the code still runs", csr_read(satp) == satp);

    report("written at physical addresses, read by 1 GiB", walk(physical, at_1g, 1));
    report("written by 1 GiB, read by 2 MiB", walk(at_1g, at_2m, 2));
    report("written by 2 MiB, read by 4 KiB", walk(at_2m, at_4k, 3));
    report("written by 4 KiB, read by 1 GiB", walk(at_4k, at_1g, 4));

    store(at_2m(0), 100);
    store(at_2m(PAGE), 200);
    bool first = load(VIEW_4K) == load(at_2m(MEGAPAGE - PAGE));
    change(0, window, READ_WRITE);
    bool second = load(VIEW_4K) == 100;
    change(0, window + PAGE, READ_WRITE);
    report("an entry changed twice, SFENCE.VMA, new page seen", first && second && load(VIEW_4K) == 200);

    change(1, window, VALID | READ | ACCESSED);
    store(VIEW_4K + PAGE, 1);
    report("store to a page without W: store page fault", faults(STORE_PAGE_FAULT, VIEW_4K + PAGE));
    report("  and the memory is as it was", load(VIEW_4K + PAGE) == 100);

    change(1, window, 0);
    load(VIEW_4K + PAGE + 16);
    report("load from a page without V: load page fault", faults(LOAD_PAGE_FAULT, VIEW_4K + PAGE + 16));

    change(1, window, READ_WRITE | USER);
    load(VIEW_4K + PAGE);
    report("load from a user page: load page fault", faults(LOAD_PAGE_FAULT, VIEW_4K + PAGE));
    csr_set(sstatus, SSTATUS_SUM);
    report("  and allowed by sstatus.SUM", load(VIEW_4K + PAGE) == 100 && fault_cause == 0);
    csr_clear(sstatus, SSTATUS_SUM);

    ((void (*)(void))VIEW_2M)();
    report("call into a page without X: fetch page fault", faults(FETCH_PAGE_FAULT, VIEW_2M));

    const uint32_t add_one = 0x80820505;        /* c.addi a0, 1; c.ret */
    store(at_2m(0), add_one);
    change(1, window, READ_WRITE | EXECUTE);
    __asm__ volatile("fence.i" ::: "memory");
    report("code written by 2 MiB runs by 4 KiB", ((long (*)(long))(VIEW_4K + PAGE))(41) == 42);

    load(1UL << 40);
    report("an address that is not canonical: load page fault", faults(LOAD_PAGE_FAULT, 1UL << 40));

    /* Svade reports A and D to software, Svadu sets them itself: both are right. */
    change(1, window, VALID | READ | WRITE);
    store(VIEW_4K + PAGE, 300);
    bool told = faults(STORE_PAGE_FAULT, VIEW_4K + PAGE);
    bool set = (small[1] & (ACCESSED | DIRTY)) == (ACCESSED | DIRTY);
    report(told ? "store with A and D clear: software is told" : "store with A and D clear: hardware set them",
           told != set && (load(at_2m(0)) == 300) == set);

    csr_write(satp, 0);
    __asm__ volatile("sfence.vma" ::: "memory");
    report("Sv39 is off again", *(volatile uint64_t *)window == load(window) && fault_cause == 0);
    print(bad ? "pages: %u BAD\n" : "pages: all OK\n", bad);
    return bad != 0;
}
