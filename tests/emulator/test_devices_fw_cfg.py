"""fw_cfg: programs that read its items by registers and by DMA, as QEMU's documentation has them do."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from assembler import assemble
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.boot import Recipe
from emulator.devices.flash import Flash
from emulator.devicetree import parse
from emulator.errors import ConfigurationError, LoadError, StateError
from emulator.hart import ExitReason
from emulator.machine import MIB, Machine
from snapshots.snapshot import capture, restore

BASE, RAM, REQUEST, ROOM = 0x1010_0000, 0x8000_0000, 0x8002_0000, 0x8003_0000
FLASH = 0x2000_0000
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16
POWER_OFF = "li t0, 0x100000; li t1, 0x5555; sw t1, 0(t0)\nend: j end"


def swap(value: int, size: int) -> int:
    return int.from_bytes(value.to_bytes(size, "big"), "little")


class Guest:
    """What a driver does, from the outside."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine(memory=4 * MIB)

    def stream(self, key: int, length: int) -> bytes:
        self.machine.bus.write(BASE + 8, 2, swap(key, 2))
        return bytes(self.machine.bus.read(BASE, 1) or 0 for _ in range(length))

    def dma(self, control: int, length: int, address: int = ROOM, at: int = REQUEST) -> int:
        """Returns what the device leaves in the request."""
        self.machine.memory.write(at, struct.pack(">IIQ", control, length, address))
        self.machine.bus.write(BASE + 16, 8, swap(at, 8))
        return int.from_bytes(self.machine.memory.read(at, 4), "big")

    def item(self, key: int, length: int) -> bytes:
        self.machine.memory.fill(ROOM, length + 1, 0xEE)
        assert self.dma(key << 16 | SELECT | READ, length) == 0
        assert self.machine.memory.read(ROOM + length, 1) == b"\xee"
        return self.machine.memory.read(ROOM, length)

    def number(self, key: int) -> int:
        return int.from_bytes(self.item(key, 4), "little")

    def files(self) -> dict[str, tuple[int, int]]:
        """(key, size) by name."""
        count = int.from_bytes(self.item(0x19, 4), "big")
        rows = struct.iter_unpack(">IHH56s", self.item(0x19, 4 + 64 * count)[4:])
        return {name.rstrip(b"\0").decode(): (key, size) for size, key, _, name in rows}


def test_a_program_reads_by_register_and_by_dma() -> None:
    machine = Machine(memory=4 * MIB, harts=2)
    machine.memory.write(REQUEST, struct.pack(">IIQ", 0x01 << 16 | SELECT | READ, 4, ROOM))
    machine.memory.write(RAM, assemble(RAM, f"""
    park: bnez a0, park
        li s0, {BASE}; ld s1, 16(s0); lw s2, 20(s0)
        sh zero, 8(s0); lw s3, 0(s0); lbu s4, 0(s0)
        li t0, {0x0500}; sh t0, 8(s0); lhu s5, 0(s0)
        li t0, {swap(REQUEST, 8)}; srli t1, t0, 32; sw t0, 16(s0); sw t1, 20(s0)
        li t1, {ROOM}; lwu s6, 0(t1); li t1, {REQUEST}; lwu s7, 0(t1)
        {POWER_OFF}
    """).code)  # fmt: skip
    for hart in machine.harts:
        hart.reset(RAM)
        hart.x[10] = hart.index
    assert machine.run(1000).reason is ExitReason.HALTED
    x = machine.harts[0].x
    assert x[9].to_bytes(8, "little") == b"QEMU CFG" and x[18].to_bytes(8, "little")[:4] == b" CFG"
    assert x[19].to_bytes(4, "little") == b"QEMU" and x[20] == 0
    assert (x[21], x[22], x[23]) == (2, 0b11, 0)  # harts; registers and DMA; done


def test_a_stream_goes_on_and_ends_in_zeros() -> None:
    guest = Guest()
    assert guest.stream(0, 6) == b"QEMU\0\0"
    assert guest.stream(0x4000, 2) == b"QE"
    assert guest.machine.bus.read(BASE, 8) == int.from_bytes(b"MU", "little")
    assert guest.stream(0x7777, 3) == bytes(3)
    assert guest.item(0, 6) == b"QEMU\0\0"


def test_dma_selects_skips_and_reads_in_steps() -> None:
    guest = Guest()
    assert guest.dma(SELECT, 9) == guest.dma(SKIP, 2) == guest.dma(READ, 1) == 0
    assert guest.machine.memory.read(ROOM, 2) == b"M\0"
    assert guest.dma(SKIP, 0xFFFF_FFFF) == 0
    assert guest.machine.bus.read(BASE, 1) == 0
    assert guest.dma(0, 5) == 0


@pytest.mark.parametrize(
    ("control", "length", "address"),
    [
        (WRITE, 4, ROOM), (READ, 4, RAM + 4 * MIB - 2), (READ, 4, 0x1000), (READ, 0xFFFF_FFFF, RAM),
        (READ, 4, 0xFFFF_FFFF_FFFF_FFFF), (READ, 4, FLASH),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_fail(control: int, length: int, address: int) -> None:
    machine = Machine(memory=4 * MIB, flash=[Flash()])
    before = machine.memory.read(RAM, 64), machine.memory.read(FLASH, 8)
    assert Guest(machine).dma(SELECT | control, length, address) == ERROR
    assert (machine.memory.read(RAM, 64), machine.memory.read(FLASH, 8)) == before


@pytest.mark.parametrize("at", [0, FLASH, RAM + 4 * MIB - 8, BASE, (1 << 64) - 1])
def test_requests_that_are_nowhere_are_passed_over(at: int) -> None:
    machine = Machine(memory=4 * MIB, flash=[Flash()])
    state = machine.state_hash()
    machine.bus.write(BASE + 16, 8, swap(at, 8))
    assert machine.state_hash() == state


def test_dma_ends_reservations() -> None:
    machine = Machine(memory=4 * MIB)
    hart = machine.harts[0]
    hart.reset(RAM)
    machine.memory.write(REQUEST, struct.pack(">IIQ", SELECT | READ, 4, ROOM))
    machine.memory.write(RAM, assemble(RAM, f"""
        li s0, {BASE}; li t0, {swap(REQUEST, 8)}; li a0, {ROOM}
        lr.w t1, (a0); sd t0, 16(s0); sc.w a1, t1, (a0)
        {POWER_OFF}
    """).code)  # fmt: skip
    machine.run(1000)
    assert hart.x[11] == 1 and machine.memory.read(ROOM, 4) == b"QEMU"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def to(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return to


def test_files_are_listed_by_name(write: Callable[[str, bytes], Path]) -> None:
    guest = Guest()
    for name, data in (("opt/b", b"second"), ("bootorder", b"first\0"), ("opt/a", b"third")):
        guest.machine.fw_cfg.add_file(f"{name}={write('f' + name[-1], data)}")
    assert guest.files() == {"bootorder": (0x20, 6), "opt/a": (0x21, 5), "opt/b": (0x22, 6)}
    assert guest.item(0x22, 7) == b"second\0" and guest.stream(0x21, 5) == b"third"


def booted(write: Callable[[str, bytes], Path], kernel: bytes = b"MZ any EFI program") -> Machine:
    code = write("code.fd", assemble(FLASH, POWER_OFF).code)
    machine = Machine(memory=64 * MIB, flash=[Flash(code)])
    recipe = Recipe("console=ttyS0", kernel=write("kernel.efi", kernel), initrd=write("initrd", b"cpio"))
    recipe.start(machine)
    machine.recipe = recipe
    return machine


def test_firmware_in_flash_finds_the_kernel(write: Callable[[str, bytes], Path]) -> None:
    """As on QEMU: a compressed one unfolded, the command line with its end, and nothing of it in memory."""
    kernel = b"MZ any EFI program"
    for given_as in (kernel, gzip.compress(kernel)):
        machine = booted(write, given_as)
        guest = Guest(machine)
        assert guest.number(0x08) == len(kernel) and guest.item(0x11, len(kernel)) == kernel
        assert guest.number(0x0B) == 4 and guest.item(0x12, 5) == b"cpio\0"
        assert guest.number(0x14) == 14 and guest.item(0x15, 14) == b"console=ttyS0\0"
        tree = parse(machine.memory.read(machine.harts[0].x[11], 64 << 10))
        chosen = tree.find("chosen")
        assert chosen is not None and chosen.strings("bootargs") == ["console=ttyS0"]
        assert "linux,initrd-start" not in chosen.properties
        assert guest.files() == {} and not any(machine.memory.search(b"any EFI", RAM + 2 * MIB))


def test_a_saved_machine_goes_on_in_the_middle_of_an_item(write: Callable[[str, bytes], Path]) -> None:
    machine = booted(write, b"0123456789")
    guest = Guest(machine)
    assert guest.stream(0x11, 4) == b"0123"
    machine.bus.write(BASE + 16, 4, swap(1, 4))
    again = restore(capture(machine))
    assert again.state_hash() == machine.state_hash()
    assert again.bus.read(BASE, 4) == int.from_bytes(b"4567", "little")
    assert again.warnings == []


def test_files_must_still_be_what_they_were(write: Callable[[str, bytes], Path]) -> None:
    saved = capture(booted(write, b"0123456789"))
    write("kernel.efi", b"9876543210")
    again = restore(saved)
    guest = Guest(again)
    assert guest.number(0x08) == 10 and guest.item(0x11, 10) == bytes(10) == guest.item(0x11, 10)
    assert len(again.warnings) == 1 and "kernel.efi: it is not the file" in again.warnings[0]
    (write("initrd", b"cpio")).unlink()
    assert guest.item(0x12, 4) == bytes(4)
    assert "initrd: No such file" in again.warnings[1]
    with pytest.raises(LoadError, match="not the file that the machine was booted from"):
        assert again.recipe is not None
        again.recipe.start(again)


def test_names_and_limits(write: Callable[[str, bytes], Path]) -> None:
    device = Machine(memory=4 * MIB).fw_cfg
    path = write("f", b"x")
    for text in ("", "name", f"={path}", "name=", f"{'n' * 56}={path}", f"n\xf6={path}", f"n\n={path}"):
        with pytest.raises(ConfigurationError, match="it is NAME=FILE"):
            device.add_file(text)
    with pytest.raises(LoadError, match="No such file"):
        device.add_file(f"name={path}.not")
    for n in range(32):
        device.add_file(f"n{n}={path}")
        if n == 3:
            with pytest.raises(ConfigurationError, match="of this name"):
                device.add_file(f"n3={path}")
    with pytest.raises(ConfigurationError, match="so many files"):
        device.add_file(f"more={path}")
    with pytest.raises(ConfigurationError, match="65537 bytes"):
        device.put(0x15, bytes(65537))


@pytest.mark.parametrize(
    "row",
    [
        [0, 4, b"QEMU", "", ""], [0, 5, b"QEMU", "", "", ""], [0, 4, None, "", "", ""], [0x4000, 0, b"", "", "", ""],
        [0, -1, b"", "", "", ""], [0, 1 << 31, None, "", "/f", ""], [0, 0, b"", "n" * 56, "", ""],
        [0, 0, "", "", "", ""], 7,
    ],
    ids=str,
)  # fmt: skip
def test_damaged_states_are_refused(row: object) -> None:
    device = Machine(memory=4 * MIB).fw_cfg
    with pytest.raises(StateError, match="fw_cfg: items must be"):
        device.restore(device.state() | {"items": [row]})
    good = [3, 0, b"", "", "", ""]
    with pytest.raises(StateError, match="ascending"):
        device.restore(device.state() | {"items": [good, good]})


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_access_breaks_it(data: st.DataObject) -> None:
    guest = _GUEST
    for _ in range(data.draw(st.integers(1, 8))):
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        at = data.draw(st.integers(0, 24 // size - 1)) * size
        assert guest.machine.bus.read(BASE + at, size) is not None
        assert guest.machine.bus.write(BASE + at, size, data.draw(st.integers(0, (1 << 64) - 1)))
        guest.dma(data.draw(st.integers(0, 0xFFFF_FFFF)), data.draw(st.integers(0, 0x10_0000)))
    restore(capture(guest.machine))


_GUEST = Guest()


def test_the_device_tree_names_it() -> None:
    node = parse(Machine(memory=4 * MIB).device_tree()).find("fw-cfg@10100000")
    assert node is not None and node.strings("compatible") == ["qemu,fw-cfg-mmio"]
    assert node.cells("reg") == [0, BASE, 0, 0x18] and "dma-coherent" in node.properties
