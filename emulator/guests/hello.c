/* hello: says so twice, through the SBI console and through the UART, and tells what it sees of its machine. */
#include "common/guest.h"

/* A 16550 with byte registers. */
#define UART            ((volatile uint8_t *)0x10000000)
#define TRANSMIT        0
#define LINE_STATUS     5
#define TRANSMIT_EMPTY  (1 << 5)

static void uart_write(const char *text)
{
    for (; *text; text++) {
        while (!(UART[LINE_STATUS] & TRANSMIT_EMPTY))
            ;
        UART[TRANSMIT] = (uint8_t)*text;
    }
}

/* What answers SBI calls, by implementation id. */
static const char *implementation(uint64_t id)
{
    static const char *const names[] = {"BBL", "OpenSBI", "Xvisor", "KVM", "RustSBI", "Diosix"};
    if (id == 0x72767475)
        return "rvtui";
    return id < sizeof names / sizeof *names ? names[id] : "another";
}

int main(uint64_t hart, uint64_t device_tree)
{
    uint64_t version = sbi(SBI_BASE, 0, 0, 0, 0).value;
    uint64_t id = sbi(SBI_BASE, 1, 0, 0, 0).value;

    print("hello from a guest, through the SBI console\n");
    print("  hart         %lu\n", hart);
    print("  mode         supervisor: it owns sstatus (%lx), and cannot tell S from VS\n", csr_read(sstatus));
    print("  paging       %s\n", csr_read(satp) ? "on" : "off");
    print("  device tree  ");
    if (device_tree)
        print("%lx\n", device_tree);
    else
        print("none\n");
    print("  SBI          %lu.%lu, implementation %lu (%s)\n", version >> 24, version & 0xffffff, id,
          implementation(id));
    uart_write("hello from a guest, through the UART at 0x10000000\r\n");
    return 0;
}
