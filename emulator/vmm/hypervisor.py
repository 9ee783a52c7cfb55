"""The host: sets the machine up as firmware and KVM do, schedules virtual CPUs, and handles their exits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator import firmware, pmu, sbi
from emulator.errors import ConfigurationError, EmulatorError, StateError, TranslationError
from emulator.hart import Access, Exit, ExitReason, Mode
from emulator.isa import csrs
from emulator.isa.pages import A, D, R, U, W, X
from emulator.machine import INSTRUCTIONS_PER_TICK, Machine
from emulator.vmm import mmio
from emulator.vmm.allocator import PAGE, Allocator
from emulator.vmm.gstage import SCHEMES, GStage
from emulator.vmm.vcpu import HSTATUS_VTW, MASK64, VS_INTERRUPTS, Vcpu
from emulator.vmm.vm import MAXIMUM_VCPUS, RAM_BASE, Vm

SLICE = 500_000
"""Instructions that a vCPU runs before others get their turn; a world switch costs about as much as 50,000."""
MAXIMUM_VMID = (1 << 14) - 1
STUCK, REFAULTS = 1 << 14, 8
"""Exits in a row, while no instruction retires, after which a guest is taken for stuck: of any kind, and on a page that
is mapped."""
LOOP = "traps follow traps and nothing retires"
STOPPED_CODE = 3
"""Exit code of a machine whose guest was stopped."""

INTERRUPT = 1 << 63
ECALL_VS, FETCH_GUEST, LOAD_GUEST, VIRTUAL_INSTRUCTION, STORE_GUEST = 10, 20, 21, 22, 23
ILLEGAL_INSTRUCTION = 2
WFI = 0x1050_0073

# Exceptions that a guest may raise and that end in the guest, by delegation or redirected by the hypervisor.
OWN_TRAPS = firmware.SUPERVISOR_TRAPS
REDIRECT_STATS = {
    2: "instr_illegal_exits", 4: "load_misaligned_exits", 6: "store_misaligned_exits", 5: "load_access_exits",
    7: "store_access_exits",
}  # fmt: skip
REDIRECT_EVENTS = {
    2: pmu.ILLEGAL_INSN, 4: pmu.MISALIGNED_LOAD, 5: pmu.ACCESS_LOAD, 6: pmu.MISALIGNED_STORE, 7: pmu.ACCESS_STORE,
}  # fmt: skip
COUNTER_READS = {pmu.FIRST_CSR + counter: counter for counter in (pmu.CYCLE, pmu.INSTRET)}
CSRRS_X0, CSRRS_MASK = 0x2073, 0xF_F07F
"""Reads a CSR and writes nothing, but for the CSR's number and rd."""
# What KVM since 6.17 leaves to the guest without an exit. Access faults and misaligned accesses it redirects.
DELEGATED_TO_VS = (0, 2, 3, 8, 12, 13, 15)

STATEEN_SE, STATEEN_ENVCFG = 1 << 63, 1 << 62
TM = 1 << 1  # the `time` bit of the counter-enable registers

SETUP = {
    **firmware.SETUP,
    "mstateen1": STATEEN_SE,
    "mstateen2": STATEEN_SE,
    "mstateen3": STATEEN_SE,
    "hedeleg": sum(1 << cause for cause in DELEGATED_TO_VS),
    "hideleg": VS_INTERRUPTS,
    "hcounteren": TM,
    "henvcfg": firmware.SETUP["menvcfg"],  # to the guest as to us
    # senvcfg is exchanged with the guest, and sstateen has no bits on this hart.
    "hstateen0": STATEEN_SE | STATEEN_ENVCFG,
    "hstateen1": STATEEN_SE,
    "hstateen2": STATEEN_SE,
    "hstateen3": STATEEN_SE,
    "hstatus": HSTATUS_VTW | 2 << 32,
    "hvip": 0,
    "sie": 0,
}  # fmt: skip

# Which permission of a G-stage leaf an access needs beside U and A. Manual: "Guest Physical Address Translation".
NEEDED = {FETCH_GUEST: X, LOAD_GUEST: R, STORE_GUEST: W | D}
VERBS = {FETCH_GUEST: "fetch", LOAD_GUEST: "load", STORE_GUEST: "store"}


class Hypervisor:
    """Implements emulator.machine.Host on hart 0 of `machine`, whose largest writable memory is given out to VMs.

    Other harts are halted.
    """

    def __init__(self, machine: Machine, time_slice: int = SLICE) -> None:
        if "H" not in machine.isa:
            raise ConfigurationError("the built-in hypervisor needs the H extension, which is off: add h=on to --isa")
        self._attach(machine, time_slice)
        self.hart.set_csrs(SETUP)
        # Nothing is ever executed in HS-mode: a trap ends the run. The vector points somewhere harmless.
        self.hart.set_csr("stvec", self.allocator.base)
        self.hart.mode = Mode.HS
        self.hart.pc = self.allocator.base

    def _attach(self, machine: Machine, time_slice: int) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.hart = machine.harts[0]
        self.hart.host_modes = {Mode.HS, Mode.M}
        for other in machine.harts[1:]:
            other.halted = True
        ram = max((region for region in self.memory.regions if region.writable), key=lambda region: region.size)
        self.allocator = Allocator(ram.base, ram.size)
        self.vms: list[Vm] = []
        self.time_slice = time_slice
        self.current: Vcpu | None = None
        """The vCPU whose turn it is, or was last; its registers are in the hart."""
        self.slice_left = 0
        self._cursor = -1
        """Position of `current` among all vCPUs, from which the round goes on."""
        self._retired = self.hart.instret

    # VMs

    def create_vm(
        self, name: str, memory: int = 32 << 20, vcpus: int = 1, scheme: str = "Sv39x4", pages: str = "4K"
    ) -> Vm:
        """A VM with `memory` bytes at guest-physical 0x8000_0000; its vCPUs are stopped until boot().

        `scheme` is the G-stage mode, `pages` the largest page size that it uses ("4K", "2M", "1G"). Raises
        ConfigurationError.
        """
        if not name or any(vm.name == name for vm in self.vms):
            raise ConfigurationError(f"VM name {name!r}: it must be new and not empty")
        if not 1 <= vcpus <= MAXIMUM_VCPUS:
            raise ConfigurationError(f"VM {name}: {vcpus} vCPUs; it may have 1 to {MAXIMUM_VCPUS}")
        used = {vm.vmid for vm in self.vms}
        vmid = next((number for number in range(1, MAXIMUM_VMID + 1) if number not in used), None)
        if vmid is None:
            raise ConfigurationError(f"VM {name}: all {MAXIMUM_VMID} VMIDs are in use")
        if scheme.removesuffix("x4") not in self.machine.isa and scheme in SCHEMES:
            raise ConfigurationError(f"VM {name}: the harts do not translate by {scheme}: it is off in --isa")
        vm = Vm(self, name, vmid, pages)
        vm.tables = GStage(self.memory, self.allocator, scheme)
        vm.add_vcpus(vcpus)
        vm.time_delta = -self.hart.time & ((1 << 64) - 1)
        try:
            vm.add_slot(RAM_BASE, memory)
        except ConfigurationError:
            vm.tables.destroy()
            vm.virtio.unplug()
            raise
        self.vms.append(vm)
        return vm

    def destroy_vm(self, vm: Vm) -> None:
        """Remove a VM; its memory is cleared and free again."""
        position = next(at for at, vcpu in enumerate(self._vcpus()) if vcpu.vm is vm)
        if self.current is not None and self.current.vm is vm:
            self.current.save()
            self.current, self.slice_left = None, 0
        if self._cursor >= position:
            self._cursor = max(position - 1, self._cursor - len(vm.vcpus))
        vm.end(0, "destroyed")
        vm.virtio.unplug()
        self.vms.remove(vm)
        for slot in vm.slots:
            self.memory.fill(slot.physical, slot.size)
            self.allocator.free(slot.physical, slot.size)
        vm.tables.destroy()
        self.fence()

    def fence(self) -> None:
        """HFENCE.GVMA and HFENCE.VVMA of everything."""
        self.hart.flush_translation()

    @property
    def finished(self) -> Exit | None:
        """Host: when all VMs have ended, one way or the other, how."""
        if not self.vms or not all(vm.ended for vm in self.vms):
            return None
        return Exit(ExitReason.HALTED, code=self.exit_code, message=self.message)

    @property
    def exit_code(self) -> int:
        """3 when a VM was stopped, else the first code that is not 0."""
        if any(vm.stopped is not None for vm in self.vms):
            return STOPPED_CODE
        return next((vm.exit_code for vm in self.vms if vm.exit_code), 0)

    @property
    def message(self) -> str:
        """How the VMs ended, in one line."""
        return "; ".join(f"{vm.name}: {vm.message}" for vm in self.vms if vm.ended)

    # Scheduling

    def _vcpus(self) -> Iterator[Vcpu]:
        for vm in self.vms:
            yield from vm.vcpus

    def schedule(self, remaining: int, until: int) -> int:
        """Host: load what runs next; how many instructions it may run now. 0 when nothing can, or when all vCPUs
        sleep beyond clock `until`: then time has passed to there.

        Decides anew only when a slice is over or the vCPU cannot go on, so that runs may be cut anywhere without a
        difference.
        """
        vcpu = self.current
        if vcpu is None or vcpu.status != "ready" or self.slice_left <= 0:
            vcpu = self._next(until)
            if vcpu is None:
                return 0
            self._switch(vcpu)
        elif not vcpu.inside:
            vcpu.enter()
        return min(remaining, self.slice_left, vcpu.until_timer())

    def _next(self, until: int) -> Vcpu | None:
        vcpus = list(self._vcpus())
        while True:
            for step in range(1, len(vcpus) + 1):
                at = (self._cursor + step) % len(vcpus)
                vcpu = vcpus[at]
                if vcpu.status == "idle" and self._wakes(vcpu):
                    vcpu.status, vcpu.suspended = "ready", False
                if vcpu.status == "ready":
                    self._cursor = at
                    return vcpu
            waits = [ticks for vcpu in vcpus if vcpu.status == "idle" and (ticks := vcpu.ticks_to_timer()) is not None]
            if not waits:
                return None
            alarm = (self.hart.clock // INSTRUCTIONS_PER_TICK + min(waits)) * INSTRUCTIONS_PER_TICK
            self.machine.sleep(min(alarm, until))
            if alarm > until:
                return None

    def _wakes(self, vcpu: Vcpu) -> bool:
        if vcpu.has_interrupt():
            return True
        if vcpu.index or not vcpu.vm.input_arrived:
            return False
        vcpu.vm.input_arrived = False
        return True

    def _switch(self, vcpu: Vcpu) -> None:
        """The world switch."""
        previous = self.current
        if previous is not vcpu:
            if previous is not None:
                previous.save()
                if previous.vm is vcpu.vm:
                    self.fence()  # ASIDs belong to a hart: the other vCPU means other address spaces by them
            vcpu.load(self.hart)
            self.current = vcpu
            self._retired = self.hart.instret
        self.slice_left = self.time_slice
        if not vcpu.inside:
            vcpu.enter()

    def give_turn(self, vcpu: Vcpu) -> None:
        """For a debugger: `vcpu` runs next, and the round goes on from it. ConfigurationError if it cannot run."""
        if vcpu.status != "ready":
            raise ConfigurationError(f"vCPU {vcpu.index} of {vcpu.vm.name} cannot run now: it is {vcpu.status}")
        self._cursor = list(self._vcpus()).index(vcpu)
        self._switch(vcpu)

    def wait(self, vcpu: Vcpu) -> None:
        """WFI: the vCPU idles unless there is something to wake it."""
        if not self._wakes(vcpu):
            vcpu.status = "idle"

    # Exits

    def ran(self, executed: int, exit: Exit) -> Exit | None:
        """Host: after `executed` instructions of the vCPU that schedule() loaded. None when handled."""
        vcpu = self.current
        if vcpu is None:  # a run of no instructions
            return None
        self.slice_left -= executed
        retired = self.hart.instret
        vcpu.instructions += retired - self._retired  # nothing but the guest runs on this hart
        self._retired = retired
        match exit.reason:
            case ExitReason.BUDGET:
                return None
            case ExitReason.TRAP:
                vcpu.leave()
                try:
                    self._handle(vcpu, exit)
                except EmulatorError as error:
                    vcpu.vm.stop(f"{error}, pc={vcpu.pc:#x}")
            case ExitReason.TRAP_LOOP:
                vcpu.vm.stop(f"{LOOP}, pc={vcpu.pc:#x}")
            case ExitReason.IDLE:  # a WFI that did not exit, because somebody cleared hstatus.VTW
                self.wait(vcpu)
            case _:
                return exit
        if vcpu.status == "ready" and not vcpu.inside:
            vcpu.enter()
        return None

    def _handle(self, vcpu: Vcpu, exit: Exit) -> None:
        vm, hart = vcpu.vm, self.hart
        if exit.kind == Mode.M:
            vm.stop(f"a trap into M-mode, cause {hart.csr('mcause'):#x}, from {hart.csr('mepc'):#x}: medeleg hides it")
            return
        if vcpu.stuck > STUCK:
            vm.stop(f"{LOOP}, pc={vcpu.pc:#x}")
            return
        cause = hart.csr("scause")
        if cause & INTERRUPT:
            return  # the host's own; it has none enabled
        name = csrs.kvm_name(cause, False)
        vm.exits[name] += 1
        vm.stats["exits"] += 1
        if cause == ECALL_VS:
            pc = vcpu.pc
            vm.stats["ecall_exit_stat"] += 1
            vcpu.pc = pc + 4
            called = sbi.call(vcpu)
            vm.calls[called] += 1
            vm.record(vcpu, name, cause, pc, 0, called)
        elif cause == VIRTUAL_INSTRUCTION:
            self._virtual_instruction(vcpu, name, hart.csr("stval"))
        elif cause in NEEDED:
            self._guest_page_fault(vcpu, name, cause)
        elif cause in OWN_TRAPS:
            vm.stats[REDIRECT_STATS.get(cause, "redirected")] += 1
            if cause in REDIRECT_EVENTS:
                vcpu.pmu.count(REDIRECT_EVENTS[cause])
            vm.record(vcpu, name, cause, vcpu.pc, 0, "redirected to the guest")
            vcpu.inject(cause, hart.csr("stval"))
        else:
            vm.record(vcpu, name, cause, vcpu.pc, 0, "no handler")
            vm.stop(f"trap with cause {cause}, which no guest can raise, pc={vcpu.pc:#x}")

    def _virtual_instruction(self, vcpu: Vcpu, name: str, word: int) -> None:
        vm, pc = vcpu.vm, vcpu.pc
        if word == WFI and vcpu.mode is Mode.VS:
            vm.stats["wfi_exit_stat"] += 1
            vcpu.pc = pc + 4
            self.wait(vcpu)
            vm.record(vcpu, name, VIRTUAL_INSTRUCTION, pc, 0, "wfi")
        elif (counter := self._counter_read(vcpu, word)) is not None:
            vm.stats["csr_exit_kernel"] += 1
            if rd := word >> 7 & 31:
                vcpu.x[rd] = vcpu.counters.read(counter)
            vcpu.pc = pc + 4
            vm.record(vcpu, name, VIRTUAL_INSTRUCTION, pc, 0, csrs.BY_NUMBER[word >> 20].name)
        else:
            # What the guest lacks, seen from inside, is no virtual but an illegal instruction.
            vm.stats["instr_illegal_exits"] += 1
            vcpu.pmu.count(pmu.ILLEGAL_INSN)
            vm.record(vcpu, name, VIRTUAL_INSTRUCTION, pc, 0, "illegal instruction to the guest")
            vcpu.inject(ILLEGAL_INSTRUCTION, word)

    @staticmethod
    def _counter_read(vcpu: Vcpu, word: int) -> int | None:
        """Which counter this reads, if the guest's mode may ("Counter-Enable (scounteren) Register")."""
        counter = COUNTER_READS.get(word >> 20) if word & CSRRS_MASK == CSRRS_X0 else None
        may = counter is not None and (vcpu.mode is Mode.VS or vcpu.get_reg("scounteren") >> counter & 1)
        return counter if may else None

    def _guest_page_fault(self, vcpu: Vcpu, name: str, cause: int) -> None:
        """Manual: "Guest-Page Faults". htval is the guest-physical address shifted right by 2."""
        vm, hart, pc = vcpu.vm, self.hart, vcpu.pc
        htinst = hart.csr("htinst")
        implicit = htinst in csrs.PSEUDO_INSTRUCTIONS
        gpa = hart.csr("htval") << 2 | (0 if implicit else hart.csr("stval") & 3)
        # The walk reads a VS-stage entry, or writes its A or D, whatever the access was that needed it.
        wanted = (STORE_GUEST if htinst & 0x20 else LOAD_GUEST) if implicit else cause
        if vm.has_memory(gpa, 1):
            detail = "mapped" if vm.fault(gpa, wanted == STORE_GUEST) else self._refault(vcpu, gpa, wanted)
        elif implicit:
            detail = "page tables outside of memory"
            vm.stop(f"its own page table entry at guest-physical {gpa:#x}: no memory slot there, pc={pc:#x}")
        elif cause == FETCH_GUEST:
            detail = "no memory"
            vm.stop(f"fetch from {gpa:#x}: no memory slot there, pc={pc:#x}")
        else:
            detail = self._device_access(vcpu, gpa, cause)
        vm.record(vcpu, name, cause, pc, gpa, detail)

    def _refault(self, vcpu: Vcpu, gpa: int, cause: int) -> str:
        """A fault on a page that is mapped: a stale translation at best."""
        found = vcpu.vm.translate(gpa)
        assert found is not None
        leaf = found[1]
        missing = (NEEDED[cause] | U | A) & ~leaf.pte
        if missing or vcpu.stuck > REFAULTS:
            lacks = " ".join(letter for bit, letter in enumerate("VRWXUGAD") if missing >> bit & 1)
            why = f"lacks {lacks}" if lacks else "allows it, yet the hart refuses: reserved bits, or what it points to"
            entry = f"the G-stage entry {leaf.pte:#x} at {leaf.address:#x}"
            vcpu.vm.stop(f"{VERBS[cause]} at {gpa:#x}: {entry} {why}, pc={vcpu.pc:#x}")
            return "refused"
        self.fence()
        return "fenced"

    def _device_access(self, vcpu: Vcpu, gpa: int, cause: int) -> str:
        """Carry out a load or store on the VM's bus; returns what it was, for the record."""
        vm, pc = vcpu.vm, vcpu.pc
        # htinst might save the look at the instruction, but it may always be zero.
        access = mmio.decode(self._instruction(vcpu))
        where = f"to {gpa:#x}" if cause == STORE_GUEST else f"from {gpa:#x}"
        if access is None or access.store != (cause == STORE_GUEST):
            kind = "an instruction that is no integer load or store"
            vm.stop(f"{VERBS[cause]} {where} by {kind}: that cannot be emulated, pc={pc:#x}")
            return "not emulated"
        what = f"{VERBS[cause]} of {access.size} bytes {where}"
        # A misaligned access may begin in a page of memory and fault in the next one.
        if self.hart.csr("stval") != (vcpu.x[access.base] + access.displacement) & MASK64:
            vm.stop(f"{what}: it reaches from memory to where there is none, pc={pc:#x}")
            return "not emulated"
        if access.store:
            value = vcpu.x[access.register] & ((1 << 8 * access.size) - 1)
            answered = vm.bus.write(gpa, access.size, value)
        else:
            read = vm.bus.read(gpa, access.size)
            answered, value = read is not None, read or 0
            if answered:
                vcpu.set_reg(f"x{access.register}", access.extend(value))
        if not answered:
            vm.stop(f"{what}: no memory slot or device there, pc={pc:#x}")
            return "no device"
        vm.stats["mmio_exit_user"] += 1
        vcpu.pc = pc + access.length
        device = vm.bus.find(gpa)
        return f"{device[1].name if device else '?'} {access.name} {value:#x}"

    def _instruction(self, vcpu: Vcpu) -> int:
        """The instruction at pc, which was just executed: its page is mapped, the next one need not be."""
        first = self.read_virtual(vcpu, vcpu.pc, 2 if vcpu.pc % PAGE == PAGE - 2 else 4, Access.FETCH)
        word = int.from_bytes(first, "little")
        if word & 3 == 3 and len(first) == 2:
            word |= int.from_bytes(self.read_virtual(vcpu, vcpu.pc + 2, 2, Access.FETCH), "little") << 16
        return word

    def read_virtual(self, vcpu: Vcpu, address: int, length: int, access: Access = Access.LOAD) -> bytes:
        """Memory at a virtual address of the loaded vCPU, in its mode. Raises TranslationError."""
        data = b""
        while len(data) < length:
            at = (address + len(data)) & ((1 << 64) - 1)
            size = min(length - len(data), PAGE - at % PAGE)
            walk = self.hart.walk(at, access, vcpu.mode)
            # Two stages may need as many pages mapped first as the VS-stage walk reads, and the last one.
            for _ in range(8):
                if walk.physical is not None or walk.cause not in NEEDED:
                    break
                gpa = walk.tval2 << 2
                if not vcpu.vm.has_memory(gpa, 1) or not vcpu.vm.fault(gpa):
                    break
                walk = self.hart.walk(at, access, vcpu.mode)
            if walk.physical is None:
                raise TranslationError(f"the guest's address {at:#x} does not translate")
            data += self.memory.read(walk.physical, size)
        return data

    # Snapshots

    def state(self) -> dict[str, Any]:
        """Host: the VMs and whose turn it is, as plain values."""
        return {
            "vms": [vm.state() for vm in self.vms],
            "free": self.allocator.state(),
            "time_slice": self.time_slice,
            "slice_left": self.slice_left,
            "cursor": self._cursor,
            "current": self.current is not None,
        }

    def restore(self, state: object) -> None:
        """Take over a saved state; the machine's harts and memory are restored by the machine. Raises StateError."""
        match state:
            case {
                "vms": list(vms), "free": free, "time_slice": int(time_slice), "slice_left": int(slice_left),
                "cursor": int(cursor), "current": bool(current),
            } if 0 < time_slice < 1 << 63 and slice_left <= time_slice:  # fmt: skip
                pass
            case _:
                raise StateError("saved hypervisor: a field is missing or of the wrong kind")
        self.allocator.restore(free)
        self.vms = []
        self.current = None
        for each in vms:
            self.vms.append(Vm.from_state(self, each))
        vcpus = list(self._vcpus())
        loaded = [at for at, vcpu in enumerate(vcpus) if vcpu.hart is not None]
        if loaded != ([cursor] if current else []) or not -1 <= cursor < max(len(vcpus), 1):
            raise StateError("saved hypervisor: the vCPU that is loaded and the scheduler's position disagree")
        names, vmids = {vm.name for vm in self.vms}, {vm.vmid for vm in self.vms}
        if len(names) < len(self.vms) or len(vmids) < len(self.vms):
            raise StateError("saved hypervisor: two VMs with one name or VMID")
        self.current = vcpus[cursor] if current else None
        self.time_slice, self.slice_left, self._cursor = time_slice, slice_left, cursor

    @classmethod
    def from_state(cls, machine: Machine, state: object) -> Hypervisor:
        """For a machine whose harts are restored already; its memory may follow. Raises StateError."""
        self = cls.__new__(cls)
        self._attach(machine, SLICE)
        self.restore(state)
        return self
