"""The built-in hypervisor with the real hart: small guests made here, one thing each."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from emulator.devicetree import parse
from emulator.errors import ConfigurationError, EmulatorError, LoadError, StateError
from emulator.hart import Access, Exit, ExitReason, Mode
from emulator.isa import ISA
from emulator.isa.csrs import BY_NAME
from emulator.isa.description import Compressed, Instruction
from emulator.loader import Image, Segment
from emulator.machine import Machine
from emulator.vmm import Hypervisor, Vm
from emulator.vmm.vm import RAM_BASE

MIB = 1 << 20
UART, PLIC = 0x1000_0000, 0xC00_0000
NOWHERE = 0x4000_0000
A0, A1, A2, A6, A7, T0, T1, T2, S0, S1 = 10, 11, 12, 16, 17, 5, 6, 7, 8, 9
BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN = 0x10, 0x54494D45, 0x735049, 0x52464E43, 0x48534D, 0x53525354, 0x4442434E
SUCCESS, NOT_SUPPORTED, INVALID_PARAM, INVALID_ADDRESS, ALREADY_AVAILABLE = 0, -2, -3, -5, -6


@cache
def registry() -> dict[str, Instruction | Compressed]:
    found = ISA
    return {**found.instructions, **found.compressed}


def op(name: str, **operands: int) -> bytes:
    layout = registry()[name].layout
    values = {key.rstrip("'"): 8 if key.endswith("'") else 0 for key in layout.operands} | operands
    return layout.insert(values).to_bytes(layout.length, "little")


def li(rd: int, value: int) -> bytes:
    """A constant, by way of a word behind a jump over it, so that it is always 24 bytes."""
    word = struct.pack("<Q", value & (1 << 64) - 1)
    return op("auipc", rd=rd) + op("jal", rd=0, imm=12) + word + op("ld", rd=rd, rs1=rd, imm=8) + op("addi")


def csrw(name: str, rs1: int) -> bytes:
    return op("csrrw", csr=BY_NAME[name].number, rs1=rs1)


def csrr(name: str, rd: int) -> bytes:
    return op("csrrs", rd=rd, csr=BY_NAME[name].number)


def call(extension: int, function: int = 0, *arguments: int) -> bytes:
    registers = {A7: extension, A6: function, **{A0 + i: value for i, value in enumerate(arguments)}}
    return b"".join(li(rd, value) for rd, value in registers.items()) + op("ecall")


def put(text: str) -> bytes:
    return b"".join(call(1, 0, ord(letter)) for letter in text)


WFI = op("wfi")
SPIN = op("jal", imm=0)
OFF = call(SRST, 0, 0, 0)


def host(memory: int = 64 * MIB, **options: Any) -> Hypervisor:
    machine = Machine(memory=memory, **options)
    machine.host = hypervisor = Hypervisor(machine, time_slice=100_000)
    return hypervisor


def guest(hypervisor: Hypervisor, code: bytes, name: str = "guest", memory: int = 4 * MIB, **options: Any) -> Vm:
    vm = hypervisor.create_vm(name, memory, **options)
    vm.memory.write(RAM_BASE, code)
    vm.boot(RAM_BASE)
    return vm


def run(hypervisor: Hypervisor, budget: int = 1_000_000) -> Exit:
    return hypervisor.machine.run(budget)


def text(vm: Vm) -> str:
    return bytes(vm.console.output).decode()


TIMERS = pytest.mark.parametrize("isa", ["max", "max,sstc=off"])
"""With vstimecmp in the hart, and with the hypervisor's own."""


def ran(code: bytes, budget: int = 1_000_000, isa: str = "max", **options: Any) -> Vm:
    """A VM with `code`, after it ran alone for at most `budget` instructions."""
    hypervisor = host(isa=isa)
    vm = guest(hypervisor, code, **options)
    run(hypervisor, budget)
    return vm


# Entering and leaving


def test_guest_runs_in_vs_mode_under_its_own_tables_and_switches_off() -> None:
    vm = ran(put("hi") + OFF)
    assert (text(vm), vm.exit_code, vm.stopped, vm.status) == ("hi", 0, None, "ended")
    hart = vm.hypervisor.hart
    assert hart.retired[Mode.VS] == vm.instructions > 0
    assert hart.csr("hgatp") == vm.hgatp
    assert vm.exits["EXC_SUPERVISOR_SYSCALL"] == 3
    assert vm.calls == {"legacy.console_putchar": 2, "srst.system_reset": 1}


def test_the_trap_csrs_are_what_a_hypervisor_would_have_seen() -> None:
    hypervisor = host()
    guest(hypervisor, li(T0, NOWHERE) + op("sw", rs1=T0, rs2=T0))
    run(hypervisor)
    hart = hypervisor.hart
    assert hart.csr("scause") == 23
    assert hart.csr("htval") == NOWHERE >> 2
    assert hart.csr("stval") == NOWHERE
    assert hart.csr("sepc") == RAM_BASE + len(li(0, 0))
    assert hart.csr("hstatus") & (1 << 7 | 1 << 8 | 1 << 6) == 1 << 7 | 1 << 8 | 1 << 6  # SPV, SPVP, GVA


def test_machine_ends_with_the_guests_code() -> None:
    for reason, code in ((0, 0), (1, 1), (0xE000_002A, 42)):
        hypervisor = host()
        guest(hypervisor, call(SRST, 0, 0, reason))
        exit = run(hypervisor)
        assert (exit.reason, exit.code) == (ExitReason.HALTED, code)
        assert exit.message == "guest: shut down"


def test_a_guest_starts_as_sbi_says() -> None:
    hypervisor = host()
    vm = guest(hypervisor, SPIN, vcpus=2)
    vm.boot(RAM_BASE, 0x1234)
    run(hypervisor, 10)
    first, second = vm.vcpus
    assert (first.state, second.state) == ("running", "stopped")
    assert (first.mode, first.pc, first.get_reg("x10"), first.get_reg("x11")) == (Mode.VS, RAM_BASE, 0, 0x1234)
    assert first.get_reg("vsatp") == 0 == first.get_reg("vsstatus") & 2
    assert hypervisor.hart.mode is Mode.VS


def test_registers_are_read_and_written_loaded_or_not() -> None:
    hypervisor = host()
    one, two = (guest(hypervisor, SPIN, name).vcpus[0] for name in ("one", "two"))
    run(hypervisor, 10)
    assert one.hart is hypervisor.hart
    assert two.hart is None
    for name in one.registers:
        for vcpu in (one, two):
            if name in ("x0", "mode", "pc", "hstatus", "sstatus", "vsstatus", "hvip", "vsie", "vsatp", "senvcfg"):
                continue
            value = 4 if name in ("scounteren", "vscause", "fcsr") else 0x1234_5678 & ~3
            vcpu.set_reg(name, value)
            assert vcpu.get_reg(name) == value, name
    two.set_reg("mode", 4)
    two.set_reg("pc", RAM_BASE + 64)
    one.set_reg("x0", 5)
    assert (two.mode, two.pc, one.get_reg("x0")) == (Mode.VU, RAM_BASE + 64, 0)
    for wrong in ("x32", "f-1", "pcc", "mepc", "x", ""):
        with pytest.raises(ConfigurationError, match="no register"):
            one.get_reg(wrong)
    with pytest.raises(ConfigurationError, match="3 \\(VS\\)"):
        one.set_reg("mode", 1)


def test_program_command_line_and_initrd_are_placed() -> None:
    kernel = Image("kernel", "raw", RAM_BASE + MIB, [Segment(RAM_BASE + MIB, 0, memoryview(WFI), 4096, 7)])
    hypervisor = host()
    vm = hypervisor.create_vm("vm", 4 * MIB, vcpus=3)
    assert vm.start(kernel, "console=hvc0 quiet", b"initrd!") == RAM_BASE + MIB
    run(hypervisor)
    assert vm.vcpus[0].pc == RAM_BASE + MIB + 4
    at = vm.vcpus[0].get_reg("x11")
    tree = parse(vm.memory.read(at, RAM_BASE + 4 * MIB - at))
    chosen, memory = tree.find("/chosen"), tree.find("/memory@80000000")
    assert chosen is not None
    assert memory is not None
    assert chosen.strings("bootargs") == ["console=hvc0 quiet"]
    assert memory.cells("reg") == [0, RAM_BASE, 0, 4 * MIB]
    start, end = (chosen.cells(f"linux,initrd-{name}") for name in ("start", "end"))
    assert vm.memory.read(start[1], end[1] - start[1]) == b"initrd!"
    assert [tree.find(f"/cpus/cpu@{number}") is not None for number in range(4)] == [True] * 3 + [False]
    isa = tree.find("/cpus/cpu@0")
    assert isa is not None
    assert "h" not in isa.strings("riscv,isa-extensions"), "the guest has no H extension"


def test_program_that_does_not_fit_is_refused() -> None:
    hypervisor = host()
    vm = hypervisor.create_vm("small", MIB)
    for physical, size in ((0x1000, 4), (RAM_BASE + MIB - 2, 4), (RAM_BASE, 2 * MIB)):
        with pytest.raises(LoadError, match="outside the memory of VM small"):
            vm.start(Image("p", "raw", physical, [Segment(physical, 0, memoryview(b"abcd"), size, 7)]))
    with pytest.raises(LoadError, match="initrd"):
        vm.start(Image("p", "raw", RAM_BASE, [Segment(RAM_BASE, 0, memoryview(b"abcd"), 4, 7)]), "", bytes(MIB))
    assert vm.memory.read(RAM_BASE, MIB) == bytes(MIB), "nothing was written"


# Memory


def test_pages_are_mapped_when_they_are_touched_first() -> None:
    page = RAM_BASE + 3 * MIB
    hypervisor = host()
    store = li(T0, page) + op("sd", rs1=T0, rs2=T0, imm=8)
    vm = guest(hypervisor, store + li(T1, page + 4096) + op("ld", rd=T2, rs1=T1) + WFI)
    assert list(vm.tables.leaves()) == []
    run(hypervisor)
    assert [leaf.gpa for leaf in vm.tables.leaves()] == [RAM_BASE, page, page + 4096]
    assert vm.exits == {
        "EXC_INST_GUEST_PAGE_FAULT": 1,
        "EXC_LOAD_GUEST_PAGE_FAULT": 1,
        "EXC_STORE_GUEST_PAGE_FAULT": 1,
        "EXC_VIRTUAL_INST_FAULT": 1,
    }
    physical, leaf = vm.translate(page + 8) or pytest.fail("not mapped")
    assert hypervisor.memory.read(physical, 8) == page.to_bytes(8, "little") == vm.memory.read(page + 8, 8)
    assert leaf.size == 4096
    walk = hypervisor.hart.walk(page + 8, Access.LOAD, Mode.VS)
    assert walk.physical == physical


@pytest.mark.parametrize(
    ("pages", "size", "scheme"), [("2M", 2 * MIB, "Sv48x4"), ("1G", 2 * MIB, "Sv39x4"), ("4K", 4096, "Sv57x4")]
)
def test_large_pages_where_they_fit(pages: str, size: int, scheme: str) -> None:
    vm = ran(put("x") + OFF, pages=pages, scheme=scheme)
    assert {leaf.size for leaf in vm.tables.leaves()} == {size}
    assert text(vm) == "x"


def test_a_gibibyte_page() -> None:
    hypervisor = host(memory=3 << 30)
    vm = guest(hypervisor, put("x") + OFF, memory=1 << 30, pages="1G")
    run(hypervisor)
    assert [leaf.size for leaf in vm.tables.leaves()] == [1 << 30]
    assert vm.exit_code == 0


def test_slots_do_not_overlap_and_fit() -> None:
    hypervisor = host(memory=16 * MIB)
    vm = hypervisor.create_vm("a", 4 * MIB)
    vm.add_slot(0x2_0000_0000, MIB)
    free = hypervisor.allocator.free_bytes
    for gpa, size, message in (
        (RAM_BASE + 4 * MIB - 4096, 8192, "overlaps"),
        (1 << 41, 4096, "41 address bits"),
        (1 << 40, 1 << 30, "in one piece"),
        (RAM_BASE + 1, 4096, "multiples"),
        (UART - 4096, 8192, "covers the device uart"),
        (0, 0, "multiples"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            vm.add_slot(gpa, size)
    with pytest.raises(ConfigurationError, match="give the machine more memory"):
        hypervisor.create_vm("b", 64 * MIB)
    assert hypervisor.allocator.free_bytes == free
    for wrong in ({"name": "a"}, {"name": ""}, {"vcpus": 0}, {"vcpus": 65}, {"pages": "3M"}, {"scheme": "Sv32x4"}):
        with pytest.raises(ConfigurationError):
            hypervisor.create_vm(**{"name": "b", "memory": MIB, **wrong})
    assert hypervisor.allocator.free_bytes == free
    assert [vm.name for vm in hypervisor.vms] == ["a"]


def test_a_destroyed_vm_leaves_nothing_behind() -> None:
    hypervisor = host()
    free = hypervisor.allocator.free_bytes
    one = guest(hypervisor, SPIN, "one")
    two = guest(hypervisor, put("b") + SPIN, "two")
    run(hypervisor, 250_000)
    secret = one.slots[0].physical
    assert any(hypervisor.memory.read(secret, 64))
    hypervisor.destroy_vm(one)
    assert not any(hypervisor.memory.read(secret, 64))
    three = guest(hypervisor, put("c") + OFF, "three")
    assert three.vmid == 1
    run(hypervisor, 500_000)
    assert (text(two), text(three)) == ("b", "c")
    hypervisor.destroy_vm(two)
    hypervisor.destroy_vm(three)
    assert hypervisor.allocator.free_bytes == free
    assert run(hypervisor).reason is ExitReason.IDLE


def test_dirty_log_names_the_pages_written() -> None:
    first, second = RAM_BASE + MIB, RAM_BASE + 2 * MIB
    store = li(T0, first) + op("sd", rs1=T0, rs2=T0)
    load = li(T0, second) + op("ld", rd=T1, rs1=T0)
    hypervisor = host()
    vm = guest(hypervisor, store + load + WFI + store + load + WFI + load + WFI + call(DBCN, 1, 4, second) + WFI)
    (slot,) = vm.slots
    vm.start_dirty_log(slot)
    logs = []
    for _ in range(4):
        run(hypervisor)
        logs.append(vm.dirty_log(slot))
        vm.console.feed(b"abc")
    assert logs == [[first], [first], [], [second]]
    vm.memory.write(first + 4090, b"0123456789")
    assert vm.dirty_log(slot) == [first, first + 4096]
    vm.stop_dirty_log(slot)
    assert all(leaf.flags == "da-uxwrv" for leaf in vm.tables.leaves())
    with pytest.raises(ConfigurationError, match="is off"):
        vm.dirty_log(slot)


# Exits


def test_uart_is_reached_by_mmio_and_interrupts_by_the_plic() -> None:
    handler = 0x200
    plic = li(T0, PLIC + 4 * 10) + li(T1, 1) + op("sw", rs1=T0, rs2=T1)  # priority of source 10
    plic += li(T0, PLIC + 0x2000) + li(T1, 1 << 10) + op("sw", rs1=T0, rs2=T1)  # enabled in context 0
    code = plic + li(T0, UART) + li(T1, ord("U")) + op("sb", rs1=T0, rs2=T1)
    code += op("lbu", rd=S0, rs1=T0, imm=5)  # line status
    code += li(T1, RAM_BASE + handler) + csrw("stvec", T1)
    code += li(T1, 1) + op("sb", rs1=T0, rs2=T1, imm=1)  # interrupt when data is there
    code += li(T1, 1 << 9) + csrw("sie", T1) + op("csrrsi", csr=BY_NAME["sstatus"].number, uimm=2)
    code += WFI + SPIN
    assert len(code) < handler
    code = code.ljust(handler, b"\0") + csrr("scause", S1) + op("lbu", rd=A0, rs1=T0) + li(A7, 1) + op("ecall")
    code += li(T0, PLIC + 0x20_0004) + op("lw", rd=A2, rs1=T0) + OFF  # claim
    hypervisor = host()
    vm = guest(hypervisor, code)
    assert run(hypervisor).reason is ExitReason.IDLE
    assert text(vm) == "U"
    assert vm.vcpus[0].get_reg("x8") == 0x60, "the transmitter is empty, no data"
    assert vm.status == "idle"
    again = copy(hypervisor)
    again.vms[0].console.feed(b"?")
    run(again)
    assert text(again.vms[0]) == "U?", "what the controller was told is part of the state"
    vm.console.feed(b"!")
    run(hypervisor)
    assert text(vm) == "U!"
    assert vm.vcpus[0].get_reg("x9") == 1 << 63 | 9
    assert vm.vcpus[0].get_reg("x12") == 10
    assert vm.stats["mmio_exit_user"] == 7
    assert vm.exit_code == 0
    vm.boot(RAM_BASE)
    assert vm.plic.enables == [0], "a VM starts with its devices as at power-on"


def test_the_guest_may_use_what_its_device_tree_promises() -> None:
    """Cache-block operations and stimecmp need henvcfg as well as menvcfg."""
    where = RAM_BASE + MIB
    code = li(T0, where) + op("sd", rs1=T0, rs2=T0)
    code += b"".join(op(name, rs1=T0) for name in ("cbo.clean", "cbo.flush", "cbo.inval"))
    code += op("ld", rd=S0, rs1=T0) + op("cbo.zero", rs1=T0) + op("ld", rd=S1, rs1=T0) + csrr("stimecmp", T1)
    vm = ran(code + put("x") + OFF)
    assert (text(vm), vm.exit_code) == ("x", 0)
    assert (vm.vcpus[0].get_reg("x8"), vm.vcpus[0].get_reg("x9")) == (where, 0)


def test_every_load_and_store_reaches_the_scratch_register() -> None:
    """Plain, compressed, and by stack pointer: the value and its extension are those of memory."""
    forms: list[tuple[bytes, bytes, int]] = []
    for store, load, sign in (("sb", "lb", 1), ("sb", "lbu", 0), ("sh", "lh", 0), ("sw", "lw", 0), ("sd", "ld", 0)):
        forms.append((op(store, rs1=S0, rs2=S1), op(load, rd=A0, rs1=S0), sign))
    forms.append((op("sw", rs1=S0, rs2=S1), op("lwu", rd=A0, rs1=S0), 0))
    forms.append((op("sh", rs1=S0, rs2=S1), op("lhu", rd=A0, rs1=S0), 0))
    forms.append((op("c.sw", rs1=S0, rs2=S1), op("c.lw", rd=A0, rs1=S0), 0))
    forms.append((op("c.sd", rs1=S0, rs2=S1), op("c.ld", rd=A0, rs1=S0), 0))
    forms.append((op("c.swsp", rs2=S1), op("c.lwsp", rd=A0), 0))
    forms.append((op("c.sdsp", rs2=S1), op("c.ldsp", rd=A0), 0))
    for at, (store, load, sign) in enumerate(forms):
        # Register 3, line control, is a plain byte below bit 7; 7 is the scratch register but not aligned for more.
        address, value = (UART + 7, 0xA5) if at < 2 else (UART + 4, 0x0F)
        code = li(S0, address) + li(2, address) + li(S1, value) + store + load + op("addi") * 2 + WFI
        vm = ran(code)
        assert vm.stopped is None
        assert vm.vcpus[0].get_reg("x10") == (0xFFFF_FFFF_FFFF_FFA5 if sign else value), (store, load)
        assert vm.vcpus[0].pc == RAM_BASE + len(code)


@TIMERS
def test_wfi_sleeps_until_the_timer(isa: str) -> None:
    code = csrr("time", S0) + li(T0, 1 << 5) + csrw("sie", T0) + li(A7, TIME) + li(A6, 0)
    code += op("addi", rd=A0, rs1=S0, imm=2000) + op("ecall") + WFI + csrr("time", S1) + OFF
    vm = ran(code, budget=10_000, isa=isa)
    began, ended = (vm.vcpus[0].get_reg(name) for name in ("x8", "x9"))
    assert began < 10, "the guest's time begins with the VM"
    assert began + 2000 <= ended < began + 2010
    assert vm.hypervisor.hart.idle >= 190_000
    assert vm.stats["wfi_exit_stat"] == 1


def test_wfi_with_nothing_to_wake_it_lets_the_machine_wait_for_input() -> None:
    hypervisor = host()
    vm = guest(hypervisor, WFI + call(2) + op("addi", rd=S0, rs1=A0) + WFI + call(2) + OFF)
    assert run(hypervisor).reason is ExitReason.IDLE
    assert run(hypervisor).reason is ExitReason.IDLE
    vm.console.feed(b"k")
    assert run(hypervisor).reason is ExitReason.IDLE, "the one key wakes it once"
    assert vm.vcpus[0].get_reg("x8") == ord("k")
    vm.console.feed(b"")
    assert run(hypervisor).reason is ExitReason.IDLE
    vm.console.feed(b"l")
    assert run(hypervisor).reason is ExitReason.HALTED


def test_virtual_instructions_become_illegal_ones() -> None:
    handler = 0x100
    instruction = csrr("hstatus", T0)
    code = li(T1, RAM_BASE + handler) + csrw("stvec", T1) + op("csrrsi", csr=BY_NAME["sstatus"].number, uimm=2)
    at = RAM_BASE + len(code)
    code = (code + instruction).ljust(handler, b"\0") + csrr("sstatus", S0) + WFI
    vm = ran(code)
    vcpu = vm.vcpus[0]
    assert vcpu.get_reg("vscause") == 2
    assert vcpu.get_reg("vstval") == int.from_bytes(instruction, "little")
    assert vcpu.get_reg("vsepc") == at
    assert vcpu.get_reg("x8") & 0x122 == 0x120, "SPP and SPIE are set, SIE is clear"
    assert vm.exits["EXC_VIRTUAL_INST_FAULT"] == 2
    assert vm.stats["instr_illegal_exits"] == 1


def test_user_code_of_the_guest_is_redirected_as_from_user_mode() -> None:
    handler, user = 0x100, 0x180
    code = li(T1, RAM_BASE + handler) + csrw("stvec", T1) + li(T1, RAM_BASE + user) + csrw("sepc", T1) + op("sret")
    code = code.ljust(handler, b"\0") + csrr("scause", S1) + csrr("sstatus", S0) + call(1, 0, ord("v")) + WFI
    vm = ran(code.ljust(user, b"\0") + WFI)
    vcpu = vm.vcpus[0]
    assert (vcpu.mode, vcpu.get_reg("x9"), vcpu.get_reg("x8") & 0x100) == (Mode.VS, 2, 0)
    assert vm.instructions == vm.hypervisor.hart.retired[Mode.VS] + vm.hypervisor.hart.retired[Mode.VU]
    assert text(vm) == "v"


# What cannot go on


PAGING = 8 << 60

FATAL = {
    "jump": (li(T0, NOWHERE) + op("jalr", rs1=T0), "fetch from 0x40000000: no memory slot there, pc=0x40000000"),
    "store": (
        li(T0, NOWHERE) + op("sw", rs1=T0, rs2=T0),
        f"store of 4 bytes to 0x40000000: no memory slot or device there, pc={RAM_BASE + 24:#x}",
    ),
    "load": (
        li(T0, NOWHERE + 1) + op("ld", rd=T1, rs1=T0, imm=7),
        f"load of 8 bytes from 0x40000008: no memory slot or device there, pc={RAM_BASE + 24:#x}",
    ),
    "misaligned": (
        li(T0, RAM_BASE + 4 * MIB - 4) + op("sd", rs1=T0, rs2=T0),
        f"store of 8 bytes to {RAM_BASE + 4 * MIB:#x}: it reaches from memory to where there is none, "
        f"pc={RAM_BASE + 24:#x}",
    ),
    "misaligned and nowhere": (
        li(T0, NOWHERE + 1) + op("ld", rd=T1, rs1=T0),
        f"load of 8 bytes from 0x40000001: no memory slot or device there, pc={RAM_BASE + 24:#x}",
    ),
    "beyond": (
        li(T0, 1 << 45) + op("lb", rd=T1, rs1=T0),
        f"load of 1 bytes from {1 << 45:#x}: no memory slot or device there, pc={RAM_BASE + 24:#x}",
    ),
    "atomic": (
        li(T0, UART) + op("amoadd.w", rd=T1, rs1=T0, rs2=T0),
        f"store to 0x10000000 by an instruction that is no integer load or store: that cannot be emulated, "
        f"pc={RAM_BASE + 24:#x}",
    ),
    "tables": (
        li(T0, PAGING | NOWHERE >> 12) + csrw("satp", T0),
        f"its own page table entry at guest-physical {NOWHERE + 16:#x}: no memory slot there, pc={RAM_BASE + 28:#x}",
    ),
    "stopped itself": (
        call(HSM, 1),
        "its last running vCPU stopped itself by SBI hart_stop: nothing can start one again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_fatal_guest_is_stopped_with_the_reason_and_others_run_on(name: str) -> None:
    code, reason = FATAL[name]
    hypervisor = host()
    before = guest(hypervisor, op("addi", rd=S0, rs1=S0, imm=1) + op("jal", imm=-4), "before")
    bad = guest(hypervisor, code, "bad")
    after = guest(hypervisor, put("fine") + OFF, "after")
    run(hypervisor, 400_000)
    assert bad.stopped == reason
    assert bad.status == "stopped"
    assert "\n" not in bad.message
    assert (text(after), after.exit_code) == ("fine", 0)
    assert before.vcpus[0].get_reg("x8") > 100_000
    before.end(0, "enough")
    exit = run(hypervisor)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 3)
    assert exit.message == f"before: enough; bad: {reason}; after: shut down"


def test_trap_loop_stops_the_vm_only() -> None:
    # stvec points to a word that is no instruction: every trap leads to the next one.
    code = (li(T0, RAM_BASE + 0x100) + csrw("stvec", T0) + op("ebreak")).ljust(0x200, b"\0")
    hypervisor = host()
    bad = guest(hypervisor, code, "bad")
    good = guest(hypervisor, put("fine") + OFF, "good")
    exit = run(hypervisor, 10_000_000)
    assert bad.stopped == f"traps follow traps and nothing retires, pc={RAM_BASE + 0x100:#x}"
    assert text(good) == "fine"
    assert exit.reason is ExitReason.HALTED


def test_entry_that_lost_a_permission_is_named() -> None:
    hypervisor = host()
    page = RAM_BASE + MIB
    vm = guest(hypervisor, li(T0, page) + op("sd", rs1=T0, rs2=T0) + WFI + op("ld", rd=T1, rs1=T0))
    run(hypervisor)
    leaf = vm.tables.lookup(page)
    assert leaf is not None
    hypervisor.memory.write(leaf.address, (leaf.pte & ~(1 << 4)).to_bytes(8, "little"))
    hypervisor.fence()
    vm.console.feed(b"go")
    run(hypervisor)
    reason = f"load at {page:#x}: the G-stage entry {leaf.pte & ~16:#x} at {leaf.address:#x} lacks U, pc="
    assert vm.stopped is not None
    assert vm.stopped.startswith(reason)


def test_guest_that_overwrites_its_page_tables_hurts_itself_only() -> None:
    table = RAM_BASE + MIB
    identity = li(T0, table) + li(T1, 0x2000_0000 | 0xCF) + op("sd", rs1=T0, rs2=T1, imm=16)  # 1 GiB at 0x80000000
    identity += li(T2, PAGING | table >> 12) + csrw("satp", T2) + op("sfence.vma") + put("on")
    junk = li(T1, 0x0FFF_FFFF_FFFF_FFFF) + op("sd", rs1=T0, rs2=T1, imm=16) + op("sfence.vma") + put("never")
    hypervisor = host()
    bad = guest(hypervisor, identity + junk, "bad")
    good = guest(hypervisor, put("fine") + OFF, "good")
    run(hypervisor, 10_000_000)
    assert text(bad) == "on"
    assert bad.stopped is not None
    assert text(good) == "fine"


def test_flooded_console_stays_bounded() -> None:
    vm = ran(call(DBCN, 0, 1 << 40, RAM_BASE, 0) + call(DBCN, 0, 65536, RAM_BASE, 0) * 8 + OFF)
    assert vm.exit_code == 0
    assert vm.console.written == 9 * 65536
    assert len(vm.console.output) <= 256 << 10


# SBI


CALLS: list[tuple[tuple[int, ...], tuple[int, int]]] = [
    ((BASE, 0), (SUCCESS, 0x0200_0000)),
    ((BASE, 1), (SUCCESS, 0x7276_7475)),
    ((BASE, 3, TIME), (SUCCESS, 1)),
    ((BASE, 3, 0), (SUCCESS, 1)),
    ((BASE, 3, 9), (SUCCESS, 0)),
    ((BASE, 3, 0x504D55), (SUCCESS, 1)),
    ((BASE, 7), (NOT_SUPPORTED, 0)),
    ((0x504D55, 0), (SUCCESS, 18)),
    ((0x53555350, 0), (NOT_SUPPORTED, 0)),
    (((1 << 64) - 1, 0), (NOT_SUPPORTED, 0)),
    ((TIME, 1), (NOT_SUPPORTED, 0)),
    ((IPI, 0, 1, 2), (INVALID_PARAM, 0)),
    ((IPI, 0, 4, 0), (INVALID_PARAM, 0)),
    ((IPI, 0, 3, 0), (SUCCESS, 0)),
    ((IPI, 0, 0, (1 << 64) - 1), (SUCCESS, 0)),
    ((IPI, 0, (1 << 64) - 1, (1 << 64) - 2), (INVALID_PARAM, 0)),
    ((RFENCE, 0, 1, 0), (SUCCESS, 0)),
    ((RFENCE, 1, 1, 0), (SUCCESS, 0)),
    ((RFENCE, 3, 1, 0), (NOT_SUPPORTED, 0)),
    ((HSM, 0, 0, RAM_BASE), (ALREADY_AVAILABLE, 0)),
    ((HSM, 0, 2, RAM_BASE), (INVALID_PARAM, 0)),
    ((HSM, 0, 1, NOWHERE), (INVALID_ADDRESS, 0)),
    ((HSM, 2, 0), (SUCCESS, 0)),
    ((HSM, 2, 1), (SUCCESS, 1)),
    ((HSM, 2, 2), (INVALID_PARAM, 0)),
    ((HSM, 3, 1), (INVALID_PARAM, 0)),
    ((HSM, 3, 0x9000_0000), (NOT_SUPPORTED, 0)),
    ((HSM, 3, 0x8000_0000, NOWHERE), (INVALID_ADDRESS, 0)),
    ((SRST, 0, 3, 0), (INVALID_PARAM, 0)),
    ((SRST, 0, 0, 2), (INVALID_PARAM, 0)),
    ((SRST, 0, 0xF000_0000, 0), (NOT_SUPPORTED, 0)),
    ((DBCN, 0, 4, NOWHERE, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, RAM_BASE + 4 * MIB - 2, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, RAM_BASE, 1), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, (1 << 64) - 2, 0), (INVALID_PARAM, 0)),
    ((DBCN, 0, 4, RAM_BASE + 4 * MIB - 4, 0), (SUCCESS, 4)),
    ((DBCN, 1, 4, RAM_BASE + MIB, 0), (SUCCESS, 0)),
    ((DBCN, 2, 0x141), (SUCCESS, 0)),
]


@pytest.mark.parametrize(("arguments", "expected"), CALLS)
def test_sbi_answers(arguments: tuple[int, ...], expected: tuple[int, int]) -> None:
    vm = ran(call(*arguments) + WFI, vcpus=2)
    error, value = (vm.vcpus[0].get_reg(name) for name in ("x10", "x11"))
    assert (error - (1 << 64) if error >> 63 else error, value) == expected
    assert vm.stopped is None


def test_legacy_calls_change_a0_only() -> None:
    for number, expected in ((0, 0), (1, 0), (2, -1), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0)):
        vm = ran(call(number, 0, 0, 77) + WFI)
        assert vm.vcpus[0].get_reg("x10") == expected & (1 << 64) - 1
        assert vm.vcpus[0].get_reg("x11") == 77
    assert ran(call(8)).exit_code == 0


def test_legacy_ipi_reads_its_mask_by_virtual_address() -> None:
    """Also where the page of the mask was never touched."""
    mask = RAM_BASE + 2 * MIB + 8
    hypervisor = host()
    vm = guest(hypervisor, call(4, 0, mask) + WFI, vcpus=2)
    vm.memory.write(mask, b"\x01")
    run(hypervisor)
    assert vm.vcpus[0].get_reg("x10") == 0
    assert vm.vcpus[0].get_reg("hvip") == 4
    vm = ran(call(4, 0, NOWHERE) + WFI)
    assert vm.vcpus[0].get_reg("x10") == INVALID_ADDRESS & (1 << 64) - 1


def test_debug_console_moves_bytes_across_pages() -> None:
    message = bytes(range(32, 127)) * 50
    where = RAM_BASE + MIB + 4000
    hypervisor = host()
    vm = guest(hypervisor, call(DBCN, 1, 6000, where, 0) + call(DBCN, 0, len(message), where, 0) + OFF)
    vm.console.feed(message)
    run(hypervisor)
    assert bytes(vm.console.output) == message
    assert vm.memory.read(where, len(message)) == message


def test_hsm_starts_a_second_vcpu_and_ipis_wake_the_first() -> None:
    second = 0x400
    code = li(T0, 2) + csrw("sie", T0) + call(HSM, 0, 1, RAM_BASE + second, 0xBEE) + WFI + put("a") + OFF
    assert len(code) <= second
    code = code.ljust(second, b"\0") + op("addi", rd=S0, rs1=A0) + op("addi", rd=S1, rs1=A1) + put("b")
    code += call(HSM, 2, 0) + op("addi", rd=T2, rs1=A1) + call(IPI, 0, 1, 0) + call(HSM, 1)
    hypervisor = host()
    vm = guest(hypervisor, code, vcpus=2)
    exit = run(hypervisor)
    assert text(vm) == "ba"
    assert [vm.vcpus[1].get_reg(name) for name in ("x8", "x9", "x7")] == [1, 0xBEE, 0]
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0)


def test_suspended_vcpu_says_so() -> None:
    second = 0x400
    code = li(T0, 2) + csrw("sie", T0) + call(HSM, 0, 1, RAM_BASE + second) + call(HSM, 3, 0) + put("a") + OFF
    code = code.ljust(second, b"\0") + call(HSM, 2, 0) + op("addi", rd=T2, rs1=A1) + call(IPI, 0, 1, 0) + WFI
    hypervisor = host()
    vm = guest(hypervisor, code, vcpus=2)
    run(hypervisor)
    assert vm.vcpus[1].get_reg("x7") == 4
    assert text(vm) == "a"


def test_a_vcpu_that_suspends_without_its_registers_resumes_where_it_said() -> None:
    second, back, table = 0x400, 0x800, RAM_BASE + MIB
    code = li(T0, table) + li(T1, 0x2000_0000 | 0xCF) + op("sd", rs1=T0, rs2=T1, imm=16)
    code += li(T0, PAGING | table >> 12) + csrw("satp", T0) + li(T0, 2) + csrw("sie", T0) + csrw("sstatus", T0)
    code += call(HSM, 0, 1, RAM_BASE + second) + call(HSM, 3, 0x8000_0000, RAM_BASE + back, 0xBEE) + put("x") + SPIN
    code = code.ljust(second, b"\0") + call(HSM, 2, 0) + op("addi", rd=T2, rs1=A1) + call(IPI, 0, 1, 0) + WFI
    code = code.ljust(back, b"\0") + op("addi", rd=S0, rs1=A0) + op("addi", rd=S1, rs1=A1)
    code += csrr("satp", T1) + csrr("sstatus", T2) + put("a") + OFF
    hypervisor = host()
    vm = guest(hypervisor, code, vcpus=2)
    run(hypervisor)
    assert text(vm) == "a" and vm.vcpus[1].get_reg("x7") == 4
    first = vm.vcpus[0]
    assert [first.get_reg(name) for name in ("x8", "x9", "x6", "vsie")] == [0, 0xBEE, 0, 2]
    assert not first.get_reg("x7") & 2, "interrupts are off"


def test_two_vcpus_of_one_vm_do_not_share_translations() -> None:
    """Both use ASID 1 with tables of their own, which show one address as two pages."""
    window, tables = 0xC000_0000, RAM_BASE + MIB
    entry, second = 0xCF, 0x400
    start = li(T0, PAGING | 1 << 44 | tables >> 12) + li(T1, 4096 >> 12) + op("mul", rd=T1, rs1=T1, rs2=A0)
    start += op("add", rd=T0, rs1=T0, rs2=T1) + csrw("satp", T0) + li(S0, window)
    forever = op("ld", rd=S1, rs1=S0) + op("jal", imm=-4)
    first = call(HSM, 0, 1, RAM_BASE + second) + li(A0, 0) + start + forever
    hypervisor = host()
    hypervisor.time_slice = 100
    vm = guest(hypervisor, first.ljust(second, b"\0") + start + forever, vcpus=2)
    for vcpu in range(2):
        root, low = tables + 4096 * vcpu, tables + 0x4000 + 4096 * vcpu
        page = RAM_BASE + 2 * MIB + 4096 * vcpu
        vm.memory.write(root + 16, struct.pack("<QQ", RAM_BASE >> 2 | entry, low >> 2 | 1))
        vm.memory.write(low, struct.pack("<Q", low + 0x4000 >> 2 | 1))
        vm.memory.write(low + 0x4000, struct.pack("<Q", page >> 2 | entry))
        vm.memory.write(page, struct.pack("<Q", 1000 + vcpu))
    for _ in range(50):
        run(hypervisor, 97)
    for _ in range(200):
        run(hypervisor, 37)
        values = [vcpu.get_reg("x9") for vcpu in vm.vcpus]
        assert values[0] in (0, 1000)
        assert values[1] in (0, 1001)
    assert values == [1000, 1001]


# Scheduling


def test_slices_are_fair() -> None:
    hypervisor = host()
    vms = [guest(hypervisor, SPIN, name) for name in "abc"]
    run(hypervisor, 900_001)
    assert [vm.instructions for vm in vms] == pytest.approx([300_000] * 3, abs=100)
    hypervisor.time_slice = 1000
    run(hypervisor, 300_000)
    assert max(vm.instructions for vm in vms) - min(vm.instructions for vm in vms) <= 101_000


def test_debugger_may_give_a_vcpu_its_turn() -> None:
    hypervisor = host()
    one, two, three = (guest(hypervisor, code, name) for name, code in (("a", SPIN), ("b", SPIN), ("c", WFI)))
    run(hypervisor, 20)
    hypervisor.give_turn(two.vcpus[0])
    assert (one.vcpus[0].state, two.vcpus[0].state) == ("ready", "running")
    assert two.instructions == 0
    run(hypervisor, 20)
    assert two.instructions == 19, "all but the step that mapped the page"
    run(hypervisor, 300_000)
    assert one.instructions > 90_000
    with pytest.raises(ConfigurationError, match="it is idle"):
        hypervisor.give_turn(three.vcpus[0])


@TIMERS
def test_idle_vcpu_is_woken_by_its_timer_while_another_spins(isa: str) -> None:
    hypervisor = host(isa=isa)
    guest(hypervisor, SPIN, "spin")
    code = li(T0, 1 << 5) + csrw("sie", T0) + call(TIME, 0, 10_000) + WFI + csrr("time", S0) + OFF
    sleeper = guest(hypervisor, code, "sleep")
    run(hypervisor, 3_000_000)
    assert sleeper.exit_code == 0
    late = sleeper.vcpus[0].get_reg("x8") - 10_000
    assert 0 <= late <= 2 * hypervisor.time_slice // 100, "at most what others may run before it"
    assert hypervisor.hart.idle == 0


@TIMERS
def test_a_timer_that_was_set_for_never_does_not_count(isa: str) -> None:
    hypervisor = host(isa=isa)
    vm = guest(hypervisor, li(T0, 1 << 5) + csrw("sie", T0) + call(TIME, 0, (1 << 64) - 1) + WFI)
    assert run(hypervisor).reason is ExitReason.IDLE
    assert vm.status == "idle"
    assert hypervisor.machine.clock < 100_000


def test_breakpoints_in_a_guest_come_back() -> None:
    hypervisor = host()
    vm = guest(hypervisor, op("addi", rd=S0, rs1=S0, imm=1) + op("jal", imm=-4))
    hypervisor.machine.breakpoints.add(RAM_BASE + 4)
    run(hypervisor)
    for count in (2, 3, 4):
        exit = hypervisor.machine.resume(1_000_000)
        assert (exit.reason, exit.address) == (ExitReason.BREAKPOINT, RAM_BASE + 4)
        assert vm.vcpus[0].get_reg("x8") == count


def test_single_steps_stay_in_the_guest() -> None:
    hypervisor = host()
    vm = guest(hypervisor, li(A7, 1) + li(A0, ord("s")) + op("ecall") + SPIN)
    places = []
    for _ in range(13):
        run(hypervisor, 1)
        places.append((hypervisor.hart.mode, hypervisor.hart.pc - RAM_BASE))
    assert {mode for mode, _ in places} == {Mode.VS}
    assert places[0] == (Mode.VS, 0), "the first fetch of a page faults and is mapped"
    assert places[-1] == (Mode.VS, 52)
    assert text(vm) == "s"


@pytest.mark.parametrize("seed", range(40))
def test_guests_of_random_instructions_only_hurt_themselves(seed: int) -> None:
    numbers = random.Random(seed)
    names = sorted(registry())
    interesting = (RAM_BASE + MIB, UART, HSM, DBCN, BASE, TIME, IPI, RFENCE, 1, 4, 1 << 63)

    def instruction() -> bytes:
        if numbers.random() < 0.15:
            return op("ecall")
        layout = registry()[numbers.choice(names)].layout
        return (numbers.getrandbits(32) & ~layout.mask | layout.match).to_bytes(4, "little")[: layout.length]

    hypervisor = host(memory=32 * MIB)
    for name in ("one", "two"):
        registers = b"".join(li(index, numbers.choice(interesting)) for index in range(1, 32))
        wild = guest(hypervisor, registers + b"".join(instruction() for _ in range(200)), name, vcpus=2)
        wild.console.feed(b"input")
    good = guest(hypervisor, put("fine") + OFF, "good")
    run(hypervisor, 300_000)
    assert (text(good), good.exit_code) == ("fine", 0)
    for vm in hypervisor.vms:
        assert vm.stopped is None or ("\n" not in vm.stopped and vm.stopped)


# Determinism and snapshots


BUSY = b"".join(
    [
        li(T0, RAM_BASE + 0x400) + csrw("stvec", T0) + li(T0, 1 << 5) + csrw("sie", T0),
        op("csrrsi", csr=BY_NAME["sstatus"].number, uimm=2),
        csrr("time", A0) + op("addi", rd=A0, rs1=A0, imm=100) + li(A7, TIME) + li(A6, 0) + op("ecall"),
        li(S0, RAM_BASE + MIB) + op("slli", rd=T1, rs1=S1, shamt=55) + op("srli", rd=T1, rs1=T1, shamt=44),
        op("add", rd=T1, rs1=T1, rs2=S0) + op("sd", rs1=T1, rs2=S1) + op("addi", rd=S1, rs1=S1, imm=1),
        op("jal", imm=-20),
    ]
).ljust(0x400, b"\0") + b"".join(
    [
        call(1, 0, ord("t")),
        csrr("time", A0) + op("addi", rd=A0, rs1=A0, imm=777) + li(A7, TIME) + li(A6, 0) + op("ecall"),
        call(BASE, 3, DBCN) + op("sret"),
    ]
)


def busy(isa: str = "max") -> Hypervisor:
    hypervisor = host(memory=32 * MIB, isa=isa)
    guest(hypervisor, BUSY, "one")
    guest(hypervisor, BUSY, "two", vcpus=2)
    echo = WFI + call(2) + li(A7, 1) + op("ecall")
    guest(hypervisor, echo + op("jal", imm=-len(echo)), "three")
    return hypervisor


def copy(hypervisor: Hypervisor) -> Hypervisor:
    """The same machine again, built from its state and memory as a snapshot is."""
    machine = hypervisor.machine
    again = Machine.from_state(machine.state())
    for region in machine.memory.regions:
        if region.writable:
            for page in region.pages_nonzero():
                at = region.base + 4096 * page
                again.memory.write(at, machine.memory.read(at, 4096))
    assert isinstance(again.host, Hypervisor)
    return again.host


@TIMERS
def test_a_timer_interrupts_what_runs_when_it_is_due(isa: str) -> None:
    """Not before, and at most a tick late: 100 instructions. Setting it anew takes the interrupt back."""
    handler = csrr("time", S0) + csrr("scause", S1) + call(TIME, 0, 1 << 62) + csrr("sip", T2) + OFF
    code = li(T0, RAM_BASE + 0x200) + csrw("stvec", T0) + li(T0, 1 << 5) + csrw("sie", T0) + call(TIME, 0, 700)
    code += op("csrrsi", csr=BY_NAME["sstatus"].number, uimm=2) + SPIN
    vm = ran(code.ljust(0x200, b"\0") + handler, isa=isa)
    due, cause, pending = (vm.vcpus[0].get_reg(name) for name in ("x8", "x9", "x7"))
    assert vm.exit_code == 0 and 700 <= due <= 701
    assert (cause, pending & 1 << 5) == (1 << 63 | 5, 0)


@TIMERS
def test_two_runs_are_equal_bit_for_bit_however_they_are_cut(isa: str) -> None:
    whole, parts = busy(isa), busy(isa)
    numbers = random.Random(7)
    for _ in range(12):
        steps = numbers.randrange(1, 120_000)
        run(whole, steps)
        while steps:
            part = min(steps, numbers.randrange(1, 50_000))
            run(parts, part)
            steps -= part
        assert whole.machine.state_hash() == parts.machine.state_hash()
        for each in (whole, parts):
            each.vms[2].console.feed(b"x")
    assert all(vm.events for vm in whole.vms)


@TIMERS
def test_a_restored_machine_continues_bit_for_bit(isa: str) -> None:
    numbers = random.Random(11)
    straight = busy(isa)
    hopping = busy(isa)
    for _ in range(8):
        steps = numbers.randrange(1, 90_000)
        run(straight, steps)
        run(hopping, steps)
        hopping = copy(hopping)
        assert hopping.machine.state_hash() == straight.machine.state_hash()
        for each in (straight, hopping):
            each.vms[2].console.feed(b"yz")
    assert text(hopping.vms[0]) == text(straight.vms[0]) != ""
    assert text(hopping.vms[2]) == text(straight.vms[2]) != ""


def damaged(state: Any) -> Iterator[Any]:
    """Each with one value replaced, at any depth."""
    if isinstance(state, dict):
        for key in state:
            yield {other: value for other, value in state.items() if other != key}
            for value in damaged(state[key]):
                yield {**state, key: value}
    elif isinstance(state, list):
        yield [*state, None]
        for at in range(min(len(state), 3)):
            for value in damaged(state[at]):
                yield [*state[:at], value, *state[at + 1 :]]
    else:
        wrong = (None, -1, 1 << 70, "x", [], {})
        yield from (value for value in wrong if type(value) is not type(state) or value != state)


@TIMERS
def test_damaged_states_are_refused_in_one_line_or_harmless(isa: str) -> None:
    hypervisor = busy(isa)
    run(hypervisor, 200_000)
    good = hypervisor.state()
    refused = 0
    for bad in damaged(good):
        again = copy(hypervisor)
        try:
            again.restore(bad)
        except StateError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            try:
                run(again, 1000)
            except EmulatorError as error:
                assert "\n" not in str(error)
        if refused > 300:
            break
    assert refused > 100
