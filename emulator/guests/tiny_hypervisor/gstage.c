/* G-stage translation, Sv39x4: from guest-physical to machine addresses in three levels, filled as the guest touches
 * pages.
 *
 * It is Sv39 with a root four times as large: 16 KiB, 2048 entries, 41 bits of guest-physical address. Every access
 * counts as a user access here, so each leaf needs U.
 */
#include "hypervisor.h"

#define HGATP_SV39X4    (8UL << 60)

enum { VALID = 1, READ = 2, WRITE = 4, EXECUTE = 8, USER = 16, ACCESSED = 64, DIRTY = 128 };
#define LEAF            (VALID | READ | WRITE | EXECUTE | USER | ACCESSED | DIRTY)

extern char free_memory[];

void *allocate(uint64_t size)
{
    static uintptr_t next;

    next = ((next ? next : (uintptr_t)free_memory) + size - 1) & -size;
    uint64_t *words = (uint64_t *)next;
    next += size;
    if (next > RAM_END) {
        print("tiny-hypervisor: out of memory\n");
        finish(1);
    }
    for (uint64_t i = 0; i < size / 8; i++)
        words[i] = 0;
    return words;
}

uint64_t gstage_hgatp(const struct vm *vm)
{
    return HGATP_SV39X4 | (uint64_t)vm->vmid << 44 | (uintptr_t)vm->gstage / PAGE;
}

/* The entry that a pointer entry leads to; makes the table if there is none yet. */
static uint64_t *next_table(uint64_t *entry)
{
    if (!(*entry & VALID))
        *entry = (uintptr_t)allocate(PAGE) / PAGE << 10 | VALID;
    return (uint64_t *)(*entry >> 10 << 12);
}

/* A new page of guest RAM: the part of the image that belongs there, and zeros. */
static char *new_page(const struct vm *vm, uint64_t offset)
{
    char *page = allocate(PAGE);
    for (uint64_t i = 0; i < PAGE && offset + i < vm->image_size; i++)
        page[i] = vm->image[offset + i];
    return page;
}

char *gstage_page(struct vm *vm, uint64_t guest_physical)
{
    if (guest_physical < GUEST_RAM || guest_physical >= GUEST_RAM + GUEST_RAM_SIZE)
        return NULL;
    uint64_t *root = &vm->gstage[guest_physical >> 30 & 2047];
    uint64_t *middle = &next_table(root)[guest_physical >> 21 & 511];
    uint64_t *leaf = &next_table(middle)[guest_physical >> 12 & 511];

    if (!(*leaf & VALID)) {
        char *page = new_page(vm, (guest_physical - GUEST_RAM) & -PAGE);
        *leaf = (uintptr_t)page / PAGE << 10 | LEAF;
        vm->pages++;
        /* The hart may remember that the entry was invalid, and what was there is now code. */
        __asm__ volatile("hfence.gvma %0, %1" :: "r"(guest_physical >> 2), "r"(vm->vmid) : "memory");
        __asm__ volatile("fence.i" ::: "memory");
    }
    return (char *)(*leaf >> 10 << 12);
}
