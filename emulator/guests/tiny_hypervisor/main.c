/* tiny-hypervisor: HS-mode. Two guests share one hart in slices of a millisecond, until both have ended. */
#include "hypervisor.h"

#define SLICE           (TICKS_PER_SECOND / 1000)
#define VMS             2
#define VMID_MASK       (0x3fffUL << 44)

extern const char guest_a[], guest_a_end[], guest_b[], guest_b_end[];

static struct vm vms[VMS];
static bool flush_on_switch;            /* the hart has no VMIDs to tell the guests' translations apart */

/* The console: a 16550. */

void console_write(const char *text, size_t length)
{
    volatile uint8_t *uart = (volatile uint8_t *)UART;
    for (; length > 0; length--) {
        while (!(uart[5] & 1 << 5))     /* line status: transmitter empty */
            ;
        uart[0] = (uint8_t)*text++;
    }
}

_Noreturn void host_bug(uint64_t cause, uint64_t pc, uint64_t value)
{
    print("tiny-hypervisor: its own bug: cause %lx at %lx, value %lx\n", cause, pc, value);
    finish(2);
}

/* VMs. */

static void create(struct vm *vm, unsigned vmid, const char *image, const char *end)
{
    vm->vmid = vmid;
    vm->gstage = allocate(16384);
    vm->image = image;
    vm->image_size = (size_t)(end - image);
    vm->deadline = NEVER;
    vm->time_delta = -now();
    vm->vcpu.pc = GUEST_RAM;            /* a0 = hart 0, a1 = no device tree: registers are 0 */
    vm->vcpu.hstatus = csr_read(hstatus) | HSTATUS_SPV | HSTATUS_SPVP | HSTATUS_VTW;
    vm->vcpu.sstatus = csr_read(sstatus) | SSTATUS_SPP;
    vm->vsstatus = csr_read(vsstatus);
}

void stop(struct vm *vm, bool failed, const char *why)
{
    vm->stopped = true;
    vm->failed = failed;
    print("tiny-hypervisor: guest %u %s\n", vm->vmid, why);
}

/* Gives the hart's VS CSRs and translation to a VM ... */
static void load(const struct vm *vm)
{
    csr_write(vsstatus, vm->vsstatus);
    csr_write(vsie, vm->vsie);
    csr_write(vstvec, vm->vstvec);
    csr_write(vsscratch, vm->vsscratch);
    csr_write(vsepc, vm->vsepc);
    csr_write(vscause, vm->vscause);
    csr_write(vstval, vm->vstval);
    csr_write(vsatp, vm->vsatp);
    csr_write(htimedelta, vm->time_delta);
    csr_write(hvip, 0);
    csr_write(hgatp, gstage_hgatp(vm));
    if (flush_on_switch)
        __asm__ volatile("hfence.gvma\n\thfence.vvma" ::: "memory");
}

/* ... and takes them back. */
static void save(struct vm *vm)
{
    vm->vsstatus = csr_read(vsstatus);
    vm->vsie = csr_read(vsie);
    vm->vstvec = csr_read(vstvec);
    vm->vsscratch = csr_read(vsscratch);
    vm->vsepc = csr_read(vsepc);
    vm->vscause = csr_read(vscause);
    vm->vstval = csr_read(vstval);
    vm->vsatp = csr_read(vsatp);
}

/* M-mode owns the comparator: an ecall sets it (start.S). */
static void set_host_timer(uint64_t deadline)
{
    register uint64_t a0 __asm__("a0") = deadline;
    __asm__ volatile("ecall" :: "r"(a0) : "memory");
}

/* Scheduling. */

/* Runs a VM until its slice is over, or it waits or stops. */
static void run(struct vm *vm)
{
    uint64_t slice_end = now() + SLICE;

    load(vm);
    while (!vm->stopped && !vm->waiting && now() < slice_end) {
        bool due = vm->deadline <= now();
        if (due)
            csr_set(hvip, VSTIP);       /* stays until the guest sets its timer anew */
        set_host_timer(!due && vm->deadline < slice_end ? vm->deadline : slice_end);
        enter_guest(&vm->vcpu);
        handle_exit(vm, csr_read(scause));
    }
    save(vm);
}

/* Wakes the VMs whose time has come. Returns the first deadline of those that still sleep. */
static uint64_t wake(void)
{
    uint64_t first = NEVER;
    for (struct vm *vm = vms; vm < vms + VMS; vm++) {
        if (vm->deadline <= now())
            vm->waiting = false;
        if (vm->waiting && !vm->stopped && vm->deadline < first)
            first = vm->deadline;
    }
    return first;
}

static void schedule(void)
{
    for (;;) {
        bool ran = false, alive = false;
        uint64_t first = wake();
        for (struct vm *vm = vms; vm < vms + VMS; vm++) {
            alive |= !vm->stopped;
            if (!vm->stopped && !vm->waiting) {
                run(vm);
                ran = true;
            }
        }
        if (!alive)
            return;
        if (!ran) {                     /* everybody sleeps: so does the hart */
            set_host_timer(first);
            wait_for_interrupt();
        }
    }
}

static int report(void)
{
    static const char *const kinds[EXIT_KINDS] = {
        [EXIT_SBI] = "SBI call", [EXIT_GUEST_PAGE] = "guest-page fault", [EXIT_WFI] = "WFI",
        [EXIT_VIRTUAL_INSTRUCTION] = "virtual instruction", [EXIT_TIMER] = "timer interrupt"};

    print("\n%-22s%10s%10s\n", "exits", "guest 1", "guest 2");
    for (int kind = 0; kind < EXIT_KINDS; kind++)
        print("%-22s%10lu%10lu\n", kinds[kind], vms[0].exits[kind], vms[1].exits[kind]);
    print("%-22s%10lu%10lu\n", "pages of memory", vms[0].pages, vms[1].pages);
    return vms[0].failed || vms[1].failed;
}

/* HS-mode begins here, with V = 0, satp = 0 and interrupts off. */
_Noreturn void main(void)
{
    /* The guest handles its own exceptions (misaligned, access and page faults, illegal, ebreak, ecall from VU) ... */
    csr_write(hedeleg, 0xb1ff);
    csr_write(hideleg, 0x444);          /* ... and its own interrupts */
    csr_write(hcounteren, 2);           /* it may read time, not cycle and instret */
    csr_write(sie, TIMER);

    csr_write(hgatp, VMID_MASK);
    uint64_t vmids = csr_read(hgatp) >> 44 & 0x3fff;
    csr_write(hgatp, 0);
    flush_on_switch = vmids < VMS;
    print("tiny-hypervisor: in HS-mode, Sv39x4, %s\n", flush_on_switch ? "no VMIDs" : "VMIDs 1 and 2");

    create(&vms[0], 1, guest_a, guest_a_end);
    create(&vms[1], 2, guest_b, guest_b_end);
    schedule();
    finish(report());
}
