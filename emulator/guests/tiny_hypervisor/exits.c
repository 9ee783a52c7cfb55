/* Why a guest came back, and what the hypervisor does about it before the guest goes on. */
#include "hypervisor.h"

enum {                                      /* scause of the exits; everything else was delegated to the guest */
    VIRTUAL_SUPERVISOR_ECALL = 10, FETCH_GUEST_PAGE_FAULT = 20, LOAD_GUEST_PAGE_FAULT = 21, VIRTUAL_INSTRUCTION = 22,
    STORE_GUEST_PAGE_FAULT = 23
};

#define WFI 0x10500073

/* Console output comes byte by byte and goes out line by line, so that two guests do not mix. */
static void console_put(struct vm *vm, char c)
{
    if (c != '\r' && c != '\n')
        vm->line[vm->line_used++] = c;
    if (c == '\n' || vm->line_used == sizeof vm->line - 1) {
        vm->line[vm->line_used] = 0;
        print("[guest %u] %s\n", vm->vmid, vm->line);
        vm->line_used = 0;
    }
}

/* DBCN write: the buffer is at a guest-physical address. Returns how much of it could be read. */
static uint64_t console_put_buffer(struct vm *vm, uint64_t address, uint64_t length)
{
    for (uint64_t done = 0; done < length; done++, address++) {
        const char *page = gstage_page(vm, address);
        if (!page)
            return done;
        console_put(vm, page[address % PAGE]);
    }
    return length;
}

/* An SBI call: extension in a7, function in a6, arguments from a0 on; the answer in a0 and a1. */
static void sbi_call(struct vm *vm)
{
    uint64_t *a = &vm->vcpu.x[10];          /* a[0] is a0 ... a[7] is a7 */
    struct sbi_result answer = {SBI_NOT_SUPPORTED, 0};

    vm->vcpu.pc += 4;
    switch (a[7]) {
    case SBI_PUTCHAR:
        console_put(vm, (char)a[0]);
        a[0] = SBI_OK;                      /* a legacy call: a1 stays */
        return;
    case SBI_BASE:
        if (a[6] == 0)
            answer = (struct sbi_result){SBI_OK, 2UL << 24};
        else if (a[6] == 3)
            answer = (struct sbi_result){SBI_OK, a[0] == SBI_PUTCHAR || a[0] == SBI_BASE || a[0] == SBI_TIME
                                                     || a[0] == SBI_DBCN || a[0] == SBI_SRST};
        else if (a[6] < 7)
            answer = (struct sbi_result){SBI_OK, 0};
        break;
    case SBI_TIME:
        if (a[6] == 0) {
            uint64_t deadline = a[0] - vm->time_delta;
            vm->deadline = deadline >= a[0] ? deadline : NEVER;    /* beyond the end of time */
            csr_clear(hvip, VSTIP);
            answer.error = SBI_OK;
        }
        break;
    case SBI_DBCN:
        if (a[6] == 0)
            answer = (struct sbi_result){SBI_OK, console_put_buffer(vm, a[1], a[0])};
        break;
    case SBI_SRST:
        if (a[0] > 2) {                     /* shutdown, cold and warm reboot: they all end it here */
            answer.error = SBI_INVALID_PARAMETER;
            break;
        }
        stop(vm, a[1] != 0, a[1] ? "switched itself off: failure" : "switched itself off");
        return;
    }
    a[0] = (uint64_t)answer.error;
    a[1] = answer.value;
}

/* What the hart would do if the exception had been delegated: the guest traps into its own supervisor mode. */
static void inject(struct vm *vm, uint64_t cause, uint64_t value)
{
    uint64_t vsstatus = csr_read(vsstatus), spie = (vsstatus & SSTATUS_SIE) << 4;

    vsstatus &= ~(SSTATUS_SPP | SSTATUS_SIE | SSTATUS_SIE << 4);
    csr_write(vsstatus, vsstatus | spie | (vm->vcpu.sstatus & SSTATUS_SPP));
    csr_write(vsepc, vm->vcpu.pc);
    csr_write(vscause, cause);
    csr_write(vstval, value);
    vm->vcpu.pc = csr_read(vstvec) & ~3UL;
    vm->vcpu.sstatus |= SSTATUS_SPP;
}

/* The instruction at the guest's pc, read with the guest's own right to execute it. */
static uint64_t read_instruction(uint64_t pc)
{
    uint64_t low, high = 0;

    __asm__ volatile("hlvx.hu %0, (%1)" : "=r"(low) : "r"(pc) : "memory");
    if (instruction_length((uint16_t)low) == 4)
        __asm__ volatile("hlvx.hu %0, (%1)" : "=r"(high) : "r"(pc + 2) : "memory");
    return high << 16 | low;
}

static void virtual_instruction(struct vm *vm)
{
    uint64_t instruction = csr_read(stval);

    if (instruction == 0)                   /* a hart may leave it out */
        instruction = read_instruction(vm->vcpu.pc);
    if (instruction == WFI) {
        vm->exits[EXIT_WFI]++;
        vm->waiting = true;
        vm->vcpu.pc += 4;
        if (vm->deadline == NEVER)          /* the timer is the only thing that could wake it */
            stop(vm, true, "sleeps, and nothing will ever wake it");
    } else {                                /* hypervisor CSRs and instructions: there is no hypervisor in a guest */
        vm->exits[EXIT_VIRTUAL_INSTRUCTION]++;
        inject(vm, ILLEGAL_INSTRUCTION, instruction);
    }
}

void handle_exit(struct vm *vm, uint64_t cause)
{
    switch (cause) {
    case VIRTUAL_SUPERVISOR_ECALL:
        vm->exits[EXIT_SBI]++;
        sbi_call(vm);
        break;
    case FETCH_GUEST_PAGE_FAULT:
    case LOAD_GUEST_PAGE_FAULT:
    case STORE_GUEST_PAGE_FAULT:
        vm->exits[EXIT_GUEST_PAGE]++;
        if (!gstage_page(vm, csr_read(htval) << 2))     /* htval leaves out the low two bits */
            stop(vm, true, "touched an address that is not in its RAM");
        break;
    case VIRTUAL_INSTRUCTION:
        virtual_instruction(vm);
        break;
    case INTERRUPT | 5:                     /* ours: the slice is over, or a guest's deadline is there */
        vm->exits[EXIT_TIMER]++;
        break;
    default:
        print("tiny-hypervisor: guest %u: cause %lx at %lx\n", vm->vmid, cause, vm->vcpu.pc);
        stop(vm, true, "did what this hypervisor does not know");
    }
}
