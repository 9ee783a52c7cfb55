/* The console of a guest, over SBI: the debug console (DBCN) where there is one, else the legacy calls. */
#include "guest.h"

static bool has_debug_console(void)
{
    static enum { UNKNOWN, ABSENT, PRESENT } found;
    if (found == UNKNOWN)
        found = sbi_has(SBI_DBCN) ? PRESENT : ABSENT;
    return found == PRESENT;
}

/* DBCN takes a physical address; every guest here maps its own memory at the same address. */
void console_write(const char *text, size_t length)
{
    while (length > 0 && has_debug_console()) {
        struct sbi_result written = sbi(SBI_DBCN, 0, length, (uintptr_t)text, 0);
        if (written.error != SBI_OK)
            return;
        text += written.value;
        length -= written.value;
    }
    for (; length > 0; length--)
        sbi(SBI_PUTCHAR, 0, (uint8_t)*text++, 0, 0);
}

int console_read(void)
{
    if (has_debug_console()) {
        uint8_t byte = 0;
        struct sbi_result got = sbi(SBI_DBCN, 1, 1, (uintptr_t)&byte, 0);
        return got.error == SBI_OK && got.value == 1 ? byte : -1;
    }
    return (int)sbi(SBI_GETCHAR, 0, 0, 0, 0).error;
}
