"""Booting: firmware, kernel, initrd and device tree meet in memory, and a kernel finds all that it was given.

The kernel here has the header of an arch/riscv Linux image ("Boot image header in RISC-V Linux"); it walks the device
tree that a1 points to and prints, by SBI: hart number, bootargs, initrd.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from assembler import assemble

from emulator.boot import Initrd, boot, check_tree, kernel_place
from emulator.devicetree import Node, flatten, parse, reservations
from emulator.errors import LoadError
from emulator.firmware import Firmware
from emulator.hart import ExitReason, Mode
from emulator.loader import Image, Segment, read_image
from emulator.machine import MIB, Machine
from emulator.vmm import Hypervisor

BASE = 0x8000_0000
SECOND = BASE + 2 * MIB
Packer = Callable[[bytes], bytes]
MAGIC_DYNAMIC = 0x4942534F  # "OSBI"

# In `kernel` the header is 64 bytes; s0 hart, s1 tree, s2 structure, s3 strings, s4 and s5 the initrd.
KERNEL = """
    j start
    nop
    .dword 0x200000
    .dword 0x300000
    .dword 0
    .word 2
    .word 0
    .dword 0
    .byte 0x52, 0x49, 0x53, 0x43, 0x56, 0, 0, 0
    .byte 0x52, 0x53, 0x43, 5
    .word 0
start:
    mv s0, a0; mv s1, a1; li s4, 0; li s5, 0
    addi a0, s0, 48; jal ra, put
    li a0, 124; jal ra, put
    lwu s2, 8(s1); rev8 s2, s2; srli s2, s2, 32; add s2, s2, s1
    lwu s3, 12(s1); rev8 s3, s3; srli s3, s3, 32; add s3, s3, s1
next:
    lwu t0, 0(s2); rev8 t0, t0; srli t0, t0, 32; addi s2, s2, 4
    li t1, 1; beq t0, t1, begin
    li t1, 3; beq t0, t1, property
    li t1, 9; bne t0, t1, next
    li a0, 124; jal ra, put
initrd:
    bgeu s4, s5, off
    lbu a0, 0(s4); jal ra, put
    addi s4, s4, 1; j initrd
off:
    li a7, 8; ecall
    j off
begin:
    lbu t0, 0(s2); addi s2, s2, 1; bnez t0, begin
    addi s2, s2, 3; andi s2, s2, -4; j next
property:
    lwu s6, 0(s2); rev8 s6, s6; srli s6, s6, 32
    lwu s7, 4(s2); rev8 s7, s7; srli s7, s7, 32; add s7, s7, s3
    addi s8, s2, 8; add s2, s8, s6; addi s2, s2, 3; andi s2, s2, -4
    la t1, names
    ld t0, 0(s7); ld t2, 0(t1); beq t0, t2, arguments
    ld t2, 24(t1); bne t0, t2, next                           # a short name may end where memory does
    ld t0, 10(s7); ld t2, 8(t1); bne t0, t2, not_start
    ld s4, 0(s8); rev8 s4, s4
not_start:
    slli t0, t0, 8; ld t2, 16(t1); slli t2, t2, 8; bne t0, t2, next
    ld s5, 0(s8); rev8 s5, s5; j next
arguments:
    lbu a0, 0(s8); beqz a0, next
    jal ra, put
    addi s8, s8, 1; j arguments
put:
    li a7, 1; ecall
    ret
    .align 8
names:
    .byte 0x62, 0x6f, 0x6f, 0x74, 0x61, 0x72, 0x67, 0x73     # bootargs
    .byte 0x72, 0x64, 0x2d, 0x73, 0x74, 0x61, 0x72, 0x74     # rd-start, of linux,initrd-start
    .byte 0x72, 0x64, 0x2d, 0x65, 0x6e, 0x64, 0, 0           # rd-end
    .byte 0x6c, 0x69, 0x6e, 0x75, 0x78, 0x2c, 0x69, 0x6e     # linux,in
"""

# As OpenSBI, for hart 0: S-mode where fw_dynamic_info says, or at 2 MiB; calls 1 and 8 for the console and the end.
FIRMWARE = """
park:
    bnez a0, park
    la t0, trap; csrw mtvec, t0
    li t0, -1; csrw pmpaddr0, t0
    li t0, 31; csrw pmpcfg0, t0
    {following}
    csrw mepc, t0
    li t1, 1; slli t1, t1, 11; csrw mstatus, t1
    mret
    .align 4
trap:
    li t5, 8; bne a7, t5, print
    li t5, 0x100000; li t6, 0x5555; sw t6, 0(t5)
print:
    li t5, 0x10000000; sb a0, 0(t5)
    csrr t5, mepc; addi t5, t5, 4; csrw mepc, t5
    mret
"""
DYNAMIC = f"""
    ld t0, 16(a2)
    ld t1, 0(a2); li t2, {MAGIC_DYNAMIC}; bne t1, t2, wrong
    ld t1, 24(a2); li t2, 1; beq t1, t2, right
wrong:
    j wrong
right:
"""
JUMP = f"li t0, {SECOND}"


def raw(name: str, at: int, code: bytes, size: int = 0) -> Image:
    return Image(name, "raw", at, [Segment(at, at, memoryview(code), max(size, len(code)), 7)])


def firmware(following: str) -> Image:
    return raw("firmware", BASE, assemble(BASE, FIRMWARE.format(following=following)).code)


def zboot(kernel: bytes) -> bytes:
    """As CONFIG_EFI_ZBOOT packs it."""
    packed = gzip.compress(kernel)
    return struct.pack("<2s2x4sII8x32s8x", b"MZ", b"zimg", 64, len(packed), b"gzip") + packed


def kernel_code() -> bytes:
    return assemble(SECOND, KERNEL).code


@pytest.fixture
def file(tmp_path) -> Callable[[bytes], str]:  # type: ignore[no-untyped-def]
    def write(data: bytes) -> str:
        (tmp_path / "Image").write_bytes(data)
        return str(tmp_path / "Image")

    return write


def ended(machine: Machine, budget: int = 2_000_000) -> str:
    """What it printed on the way to a power off."""
    exit = machine.run(budget)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0), (exit, bytes(machine.console.output))
    return bytes(machine.console.output).decode()


def chosen(blob: bytes) -> Node:
    found = parse(blob).find("chosen")
    assert found is not None
    return found


def initrd_range(blob: bytes) -> tuple[int, int]:
    start, end = (int.from_bytes(chosen(blob).raw(f"linux,initrd-{name}"), "big") for name in ("start", "end"))
    return start, end


@pytest.mark.parametrize("following", [None, DYNAMIC, JUMP], ids=["built-in", "dynamic", "jump"])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, zboot], ids=["flat", "gzip", "zboot"])
def test_a_kernel_finds_what_it_was_given(file: Callable[[bytes], str], following: str | None, packed: Packer) -> None:
    machine = Machine(memory=128 * MIB, harts=2)
    first = None if following is None else firmware(following)
    kernel = read_image(file(packed(kernel_code())), kernel_place(machine, first))
    boot(machine, first, kernel, initrd=Initrd("initrd", b"the initrd"), append="console=ttyS0 quiet")
    assert ended(machine) == "0|console=ttyS0 quiet|the initrd"


def test_a_guest_of_the_hypervisor_finds_the_same(file: Callable[[bytes], str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "initrd").write_bytes(b"of a guest")
    machine = Machine(memory=64 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("vm", 16 * MIB)
    vm.load(file(kernel_code()), "some words", tmp_path / "initrd")
    exit = machine.run(3_000_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0)
    assert bytes(vm.console.output) == b"0|some words|of a guest"


@pytest.mark.parametrize("size", [16 * MIB - 5 * MIB, 16 * MIB - 200_000, 17 * MIB])
def test_a_guests_kernel_initrd_and_tree_do_not_overlap(size: int) -> None:
    machine = Machine(memory=64 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("vm", 16 * MIB)
    kernel = raw("kernel", SECOND, kernel_code(), 4 * MIB)
    with pytest.raises(LoadError, match=r"more memory|outside the memory"):
        vm.start(kernel, "", bytes(size))
    vm.start(kernel, "", bytes(9 * MIB))


def test_everything_has_a_place_of_its_own() -> None:
    """As QEMU's virt does: the initrd half of RAM behind the kernel, at most 512 MiB; the tree at the end, in 3 GiB."""
    for memory, initrd_at, tree_below in (
        (128 * MIB, SECOND + 64 * MIB, BASE + 128 * MIB),
        (1024 * MIB, SECOND + 512 * MIB, 3 << 30),
        (4096 * MIB, SECOND + 512 * MIB, 3 << 30),
    ):
        machine = Machine(memory=memory)
        blob = boot(machine, firmware(DYNAMIC), raw("kernel", SECOND, b"kern"), initrd=Initrd("i", b"x" * 5000))
        assert initrd_range(blob) == (initrd_at, initrd_at + 5000)
        assert machine.memory.read(initrd_at, 5000) == b"x" * 5000
        tree = machine.harts[0].x[11]
        assert tree_below - 4 * MIB <= tree < tree_below and tree % 8 == 0
        assert machine.memory.read(tree, len(blob)) == blob
        info = struct.unpack("<6Q", machine.memory.read(machine.harts[0].x[12], 48))
        assert info == (MAGIC_DYNAMIC, 2, SECOND, 1, 0, 0)


@pytest.mark.parametrize("size", [1, 3 * MIB, 9 * MIB + 123, 11 * MIB])
def test_a_large_initrd_moves_down_but_never_onto_the_kernel(size: int) -> None:
    machine = Machine(memory=16 * MIB)
    kernel = raw("kernel", SECOND, kernel_code(), MIB)
    blob = boot(machine, firmware(DYNAMIC), kernel, initrd=Initrd("initrd", b"\xaa" * size))
    start, end = initrd_range(blob)
    tree = machine.harts[0].x[11]
    places = sorted([(SECOND, SECOND + MIB), (start, end), (tree, tree + len(blob))])
    assert all(low[1] <= high[0] for low, high in pairwise(places)) and places[-1][1] <= BASE + 16 * MIB
    assert start % 4096 == 0 and end - start == size
    assert machine.memory.read(start, size) == b"\xaa" * size
    assert machine.memory.read(SECOND, len(kernel_code())) == kernel_code()


def test_what_does_not_fit_is_refused_and_nothing_is_written() -> None:
    for kernel, initrd, match in (
        (raw("kernel", SECOND, b"k", 15 * MIB), None, "kernel: the kernel needs"),
        (raw("kernel", SECOND, b"k", 13 * MIB + 1), None, "overlap"),
        (raw("kernel", BASE, b"k" * 8), None, "kernel and firmware overlap"),
        (raw("kernel", SECOND, b"k"), Initrd("i", bytes(17 * MIB)), "larger than RAM"),
        (raw("kernel", SECOND, b"k", 8 * MIB), Initrd("i", bytes(5 * MIB)), "does not fit between"),
    ):
        machine = Machine(memory=16 * MIB)
        with pytest.raises(LoadError, match=match):
            boot(machine, firmware(DYNAMIC), kernel, initrd=initrd)
        assert not any(machine.memory.pages_nonzero())


def test_a_kernel_that_is_linked_low_is_moved_behind_the_firmware() -> None:
    """vmlinux names 0 as its physical address; it is position-independent."""
    machine = Machine(memory=64 * MIB)
    code = kernel_code()
    kernel = Image("vmlinux", "elf", 0, [Segment(0, 0, memoryview(code), len(code), 7)])
    boot(machine, None, kernel, append="moved")
    assert machine.harts[0].pc == SECOND
    assert ended(machine) == "0|moved|"


def test_a_large_firmware_has_the_kernel_behind_it() -> None:
    machine = Machine(memory=64 * MIB)
    large = firmware(DYNAMIC)
    large = replace(large, segments=[large.segments[0]._replace(size=3 * MIB)])
    at = kernel_place(machine, large)
    assert at == BASE + 4 * MIB
    boot(machine, large, raw("kernel", at, assemble(at, KERNEL).code), append="further up")
    assert ended(machine) == "0|further up|"


# The user's own device tree


def own_tree(**more: object) -> Node:
    root = Node("", {"#address-cells": 2, "#size-cells": 2, **more})  # type: ignore[arg-type]
    root.add(Node("memory@80000000", {"device_type": "memory", "reg": [0, BASE, 0, 16 * MIB]}))
    cpus = root.add(Node("cpus", {"#address-cells": 1, "#size-cells": 0}))
    cpus.add(Node("cpu@0", {"device_type": "cpu", "reg": 0, "status": "okay"}))
    return root


def test_a_given_tree_is_handed_over_as_it_is_or_with_chosen_added() -> None:
    machine = Machine(memory=64 * MIB)
    given = flatten(own_tree(model="mine"), [(BASE, 0x1000)])
    kernel = raw("kernel", SECOND, kernel_code())
    assert boot(machine, firmware(DYNAMIC), kernel, tree=given) == given
    blob = boot(machine, firmware(DYNAMIC), kernel, tree=given, append="words", initrd=Initrd("i", b"data"))
    assert parse(blob).strings("model") == ["mine"] and reservations(blob) == [(BASE, 0x1000)]
    assert ended(machine) == "0|words|data"


def test_what_is_handed_over_lies_in_the_memory_that_the_tree_tells_of() -> None:
    """Here in less than there is: two nodes of 8 MiB of 64."""
    root = own_tree()
    root.children[0].properties["reg"] = [0, BASE, 0, 8 * MIB]
    root.add(Node("memory@80800000", {"device_type": "memory", "reg": [0, BASE + 8 * MIB, 0, 8 * MIB]}))
    root.add(Node("memory@82000000", {"device_type": "memory", "reg": [0, BASE + 32 * MIB, 0, 8 * MIB]}))
    machine = Machine(memory=64 * MIB)
    kernel = raw("kernel", SECOND, kernel_code())
    blob = boot(machine, None, kernel, tree=flatten(root), append="here", initrd=Initrd("i", bytes(3 * MIB)))
    assert initrd_range(blob) == (SECOND + 8 * MIB, SECOND + 11 * MIB)
    assert BASE + 14 * MIB <= machine.harts[0].x[11] < BASE + 16 * MIB
    with pytest.raises(LoadError, match="kernel: the kernel needs"):
        boot(machine, None, raw("kernel", SECOND, kernel_code(), 15 * MIB), tree=flatten(root))


def test_the_command_line_takes_the_place_of_the_trees() -> None:
    root = own_tree()
    root.add(Node("chosen", {"bootargs": "old", "stdout-path": "/soc"}))
    machine = Machine(memory=64 * MIB)
    blob = boot(machine, None, raw("kernel", SECOND, kernel_code()), tree=flatten(root), append="new")
    assert chosen(blob).strings("bootargs") == ["new"] and chosen(blob).strings("stdout-path") == ["/soc"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda root: root.children.pop(0), "has no memory"),
        (lambda root: root.children[0].properties.update(reg=[0, BASE, 0, 0]), "has no memory"),
        (lambda root: root.children[0].properties.update(reg=[0, BASE, 0, 65 * MIB]), "but RAM is"),
        (lambda root: root.children[0].properties.update(reg=[0, BASE - 4096, 0, MIB]), "but RAM is"),
        (lambda root: root.children[0].properties.update(reg=[1, BASE, 0, MIB]), "but RAM is"),
        (lambda root: root.children[0].properties.update(reg=[0, BASE + 4 * MIB, 0, MIB]), "no memory before"),
        (lambda root: root.children.pop(1), "has no cpu"),
        (lambda root: root.children[1].children[0].properties.update(status="disabled"), "has no cpu"),
        (lambda root: root.children[1].children[0].properties.update(reg=3), "has cpu 3"),
        (lambda root: root.children[1].add(Node("cpu@1", {"device_type": "cpu", "reg": 1})), "has cpu 1, but the"),
        (lambda root: root.properties.update({"#address-cells": 0}), "mine: .* does not fit its parent's"),
    ],
)
def test_a_tree_that_contradicts_the_machine_is_refused(change: Callable[[Node], object], match: str) -> None:
    machine = Machine(memory=64 * MIB)
    root = own_tree()
    check_tree(root, machine, "mine")
    change(root)
    with pytest.raises(LoadError, match=match):
        boot(machine, None, raw("kernel", SECOND, kernel_code()), tree=flatten(root), tree_name="mine")


def test_widths_of_reg_are_those_that_the_parent_states() -> None:
    root = own_tree(**{"#address-cells": 1, "#size-cells": 1})
    root.children[0].properties["reg"] = [BASE, 64 * MIB]
    check_tree(root, Machine(memory=64 * MIB), "mine")
    with pytest.raises(LoadError, match="but RAM is"):
        check_tree(root, Machine(memory=63 * MIB), "mine")


# The built-in firmware


def test_the_built_in_firmware_starts_one_hart_in_s_mode() -> None:
    machine = Machine(memory=64 * MIB, harts=3)
    boot(machine, None, raw("kernel", SECOND, kernel_code()))
    assert isinstance(machine.host, Firmware)
    assert [hart.halted for hart in machine.harts] == [False, True, True]
    first = machine.harts[0]
    assert (first.mode, first.pc, first.x[10], first.csr("satp")) == (Mode.HS, SECOND, 0, 0)


# S-mode ends the machine through a page that has neither A nor D, as kernels for QEMU's virt have them; the handler of
# a page fault ends it with 13.
UNTOUCHED = f"""
    la t0, fault; csrw stvec, t0
    li t0, -1; csrw medeleg, t0; csrw pmpaddr0, t0
    li t0, 31; csrw pmpcfg0, t0
    la t0, supervisor; csrw mepc, t0
    li t1, 1; slli t1, t1, 11; csrw mstatus, t1
    mret
supervisor:
    la t0, root
    li t1, {BASE >> 2 | 0xCF:#x}; sd t1, 16(t0)      # D, A, X, W, R, V
    li t1, 7; sd t1, 0(t0)                           # devices: W, R, V
    srli t0, t0, 12; li t1, 8; slli t1, t1, 60; or t0, t0, t1
    csrw satp, t0
    sfence.vma
    li t1, 0x5555
    j end
    .align 4
fault:
    csrw satp, zero
    li t1, 0xD3333
end:
    li t0, 0x100000; sw t1, 0(t0)
    j end
    .align 4096
root:
    .dword 0
"""


@pytest.mark.parametrize("htif", [False, True])
def test_firmware_finds_hardware_that_sets_a_and_d_but_programs_for_spike_do_not(htif: bool) -> None:
    machine = Machine()
    image = raw("bare", BASE, assemble(BASE, UNTOUCHED).code, 0x3000)
    boot(machine, replace(image, tohost=BASE + 0x2800) if htif else image)
    assert machine.run(1000).code == (13 if htif else 0)


def test_the_built_in_firmware_leaves_updating_off_and_room_in_the_tree() -> None:
    machine = Machine()
    blob = boot(machine, None, raw("kernel", SECOND, kernel_code()), append="x")
    assert machine.harts[0].csr("menvcfg") >> 61 & 1 == 0
    end = int.from_bytes(blob[12:16], "big") + int.from_bytes(blob[32:36], "big")
    assert len(blob) - end >= 1024 and parse(blob).find("chosen") is not None
    assert machine.memory.read(machine.harts[0].x[11], len(blob)) == blob
