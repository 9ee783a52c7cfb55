/* What a VM is, and what the parts of the hypervisor do with it. */
#ifndef HYPERVISOR_H
#define HYPERVISOR_H

#include "../common/guest.h"
#include "machine.h"

#define PAGE                4096UL
#define GUEST_RAM           0x80000000UL    /* guest-physical */
#define GUEST_RAM_SIZE      (1UL << 20)
#define NEVER               (~0UL)

/* hstatus */
#define HSTATUS_SPV         (1UL << 7)      /* the trap came from V = 1; sret returns there */
#define HSTATUS_SPVP        (1UL << 8)
#define HSTATUS_VTW         (1UL << 21)     /* WFI in VS-mode is a virtual-instruction exception */

#define VSTIP               (1UL << 6)      /* hvip, hie: the guest's timer interrupt */

enum exit {                                 /* what made a guest leave, in the order of the report */
    EXIT_SBI, EXIT_GUEST_PAGE, EXIT_WFI, EXIT_VIRTUAL_INSTRUCTION, EXIT_TIMER, EXIT_KINDS
};

/* What the world switch loads and stores; layout known to world_switch.S. */
struct vcpu {
    uint64_t x[32];
    uint64_t pc, hstatus, sstatus;
    uint64_t host_sp;
};

struct vm {
    struct vcpu vcpu;
    unsigned vmid;
    uint64_t *gstage;                       /* root of its G-stage tables */
    const char *image;                      /* what its RAM begins with */
    size_t image_size;

    /* Its CSRs, while another VM has the hart. */
    uint64_t vsstatus, vsie, vstvec, vsscratch, vsepc, vscause, vstval, vsatp;
    uint64_t time_delta;                    /* htimedelta: its time begins at 0 */
    uint64_t deadline;                      /* in host time, or NEVER */

    bool waiting;                           /* in WFI, until the deadline */
    bool stopped;
    bool failed;
    uint64_t exits[EXIT_KINDS];
    uint64_t pages;                         /* of its RAM, allocated so far */
    char line[100];                         /* of its console, until the newline */
    size_t line_used;
};

/* gstage.c */
void *allocate(uint64_t size);                              /* a power of two, aligned to it, zeroed; never fails */
uint64_t gstage_hgatp(const struct vm *);
char *gstage_page(struct vm *, uint64_t guest_physical);    /* the page there, allocated on demand; NULL outside RAM */

/* exits.c */
void handle_exit(struct vm *, uint64_t cause);

/* main.c */
void stop(struct vm *, bool failed, const char *why);

/* world_switch.S, start.S */
void enter_guest(struct vcpu *);
_Noreturn void finish(int code);

#endif
