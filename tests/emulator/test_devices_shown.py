"""What devices say of themselves: registers in the words of their specifications, and nothing changes by looking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from test_devices_virtio import Board, Drive

from emulator import Hypervisor, Machine
from emulator.bus import Bus
from emulator.console import Console
from emulator.devices.fields import Bits, Flag, Number, Part, Shape, Shown, flags, in_words
from emulator.devices.flash import Flash
from emulator.devices.plic import Plic
from emulator.devices.rtc import Rtc
from emulator.devices.uart import Uart

RAM = 0x8000_0000
JUMP_HERE = 0x6F


def found(rows: tuple[Shown, ...], *names: str) -> Shown:
    for name in names:
        each = next(each for each in rows if each.name == name)
        rows = each.rows
    return each


def all_rows(rows: tuple[Shown, ...]) -> list[Shown]:
    return [each for row in rows for each in (row, *all_rows(row.rows))]


def test_bits_are_told_by_their_names_and_values() -> None:
    parts = (*flags("first", "", "third"), Part("speed", 4, 2, {0: "slow", 3: "fast"}), Part("level", 6, 2))
    assert in_words(0, parts) == "slow"
    assert in_words(0b10_11_0101, parts) == "first, third, fast, level 0x2"
    assert in_words(0b01_0000, parts) == "speed 0x1"


# The UART (PC16550D data sheet, "Line Control Register" and the others).


@pytest.fixture
def uart() -> Uart:
    return Uart(Console())


@pytest.mark.parametrize(
    ("lcr", "words"),
    [
        (0x03, "8 data bits, no parity, 1 stop bit"),
        (0x9F, "8 data bits, even parity, 2 stop bits, DLAB: divisor at 0 and 1"),
        (0x0A, "7 data bits, odd parity, 1 stop bit"),
        (0x68, "5 data bits, parity 1, 1 stop bit, break"),
    ],
)
def test_the_line_control_register(uart: Uart, lcr: int, words: str) -> None:
    uart.write(3, 1, lcr)
    shown = found(uart.shown(), "LCR")
    assert (shown.value, shown.words) == (lcr, words)


def test_a_divisor_is_a_speed(uart: Uart) -> None:
    for offset, value in ((3, 0x80), (0, 2), (1, 0), (3, 3)):
        uart.write(offset, 1, value)
    assert found(uart.shown(), "divisor").words.startswith("115,200 baud")  # 3,686,400 / 16 / 2


def test_looking_takes_nothing_from_the_fifo_and_clears_nothing(uart: Uart) -> None:
    uart.write(2, 1, 0x81)  # FIFO on, interrupt from 8 bytes
    uart.write(1, 1, 0x01)
    uart.console.feed(b"ab\r")
    before = uart.state(), bytes(uart.console.input)
    shown = uart.shown()
    assert found(shown, "RBR").words == "3 of 16 in the FIFO, 3 bytes: 'ab\\r'"
    assert found(shown, "IIR").words == "received data, below the trigger, FIFO on"
    assert found(shown, "FCR").words == "FIFO on, interrupt at 8 bytes"
    assert "data ready" in found(shown, "LSR").words
    assert (uart.state(), bytes(uart.console.input)) == before
    assert uart.read(0, 1) == ord("a")


def test_registers_are_what_a_guest_would_read(uart: Uart) -> None:
    for step in range(8):
        uart.write(1, 1, 0x0F)
        uart.write(4, 1, 0x1F if step & 1 else 0x0B)
        uart.console.feed(b"x")
        uart.write(0, 1, 0x41)
        shown = uart.shown()
        for name, offset in (("IER", 1), ("IIR", 2), ("LCR", 3), ("MCR", 4), ("LSR", 5), ("MSR", 6), ("SCR", 7)):
            again = Uart(Console())
            again.restore(uart.state())
            again.console.feed(bytes(uart.console.input))
            assert found(shown, name).value == again.read(offset, 1), (step, name)


# The PLIC.


class _Hart:
    def wire(self, bit: int, level: bool) -> None: ...


def test_the_plic_by_context() -> None:
    plic = Plic([_Hart(), _Hart()])
    bus = Bus()
    bus.add(0, plic)
    for offset, value in ((4 * 10, 3), (4 * 11, 1), (0x2080, 1 << 10 | 1 << 11), (0x2180, 1 << 11), (0x20_3000, 1)):
        bus.write(offset, 4, value)
    plic.set_source(1, True)
    plic.set_source(11, True)
    plic.set_source(10, True)
    shown = plic.shown()
    assert found(shown, "contexts", "hart 0 S").words == "threshold 0, enables 10, 11; notifies: source 10"
    assert found(shown, "contexts", "hart 1 S").words == "threshold 1, enables 11; source 11 is masked by the threshold"
    assert found(shown, "contexts", "hart 1 M").words == "threshold 0, enables none; nothing to notify of"
    assert found(shown, "pending").words == "1, 10, 11"
    assert found(shown, "sources", "source 10").words == "priority 3, level high, pending, enabled for hart 0 S"
    assert found(shown, "sources", "source 1").words == "priority 0, level high, pending, enabled nowhere"
    assert bus.read(0x20_1004, 4) == 10
    assert "claimed, not completed" in found(plic.shown(), "sources", "source 10").words
    assert found(plic.shown(), "claimed").value == 1 << 10


# Time.


def test_instructions_until_the_timer_are_exact() -> None:
    machine = Machine(memory=4 << 20)
    machine.memory.write_int(RAM, 4, JUMP_HERE)
    machine.boot(RAM)
    machine.run(12_345)
    hart = machine.harts[0]
    hart.mtimecmp = hart.time + 7
    left = machine.until_timer(0)
    words = found(machine.aclint.shown(), "mtimecmp 0").words
    assert words == f"in 7 ticks, {left:,} instructions" and 600 < left <= 700
    machine.run(left - 1)
    assert not hart.csr("mip") >> 7 & 1
    machine.run(1)
    assert hart.csr("mip") >> 7 & 1
    assert found(machine.aclint.shown(), "mtimecmp 0").words == "due for 0 ticks: MTIP is set"
    assert machine.until_timer(0) == 0
    hart.mtimecmp = (1 << 64) - 1
    assert found(machine.aclint.shown(), "mtimecmp 0").words == "never"


def test_the_clock_and_its_alarm() -> None:
    rtc = Rtc(lambda: 10_000_000)  # a second at 10 MHz
    assert found(rtc.shown(), "TIME").words == "2024-01-01 00:00:01.000 UTC"
    assert found(rtc.shown(), "ALARM").words == "none set"
    at = rtc.now + 5 * 10**9
    rtc.write(0x0C, 4, at >> 32)
    rtc.write(0x08, 4, at & 0xFFFF_FFFF)
    assert found(rtc.shown(), "ALARM").words == "2024-01-01 00:00:06.000 UTC, in 50,000,000 ticks"
    rtc.set((1 << 64) - 1)
    assert found(rtc.shown(), "TIME").words.endswith(" UTC")


# Virtio.


def test_a_transport_and_its_queues(tmp_path: Any) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(4096))
    board = Board(Drive(path, "ro"))
    assert found(board.transport.shown(), "Status").words == "reset"
    board.start()
    shown = board.transport.shown()
    assert found(shown, "Status").words == "acknowledge, driver, driver ok, features ok"
    assert "read-only" in found(shown, "DeviceFeatures").words and "version 1" in found(shown, "DriverFeatures").words
    assert found(shown, "DeviceID").words == f"block {path}, 8 sectors, read-only"
    queue = found(shown, "queues", "queue 0")
    assert queue.words == "8 entries, 0 offered and not taken, 0 in flight, 0 returned"
    assert found(queue.rows, "descriptors").value == RAM + 0x1000
    board.memory.write_int(RAM + 0x2002, 2, 3)  # the driver's index, without a notification
    before = board.transport.state()
    assert "3 offered and not taken" in found(board.transport.shown(), "queues", "queue 0").words
    assert board.transport.state() == before
    board.transport.queues[0].available = 0xDEAD_0000_0000
    assert "not in memory" in found(board.transport.shown(), "queues", "queue 0").words
    assert found(Board().transport.shown(), "DeviceID").words.startswith("empty")


def test_flash_says_what_reads_find() -> None:
    machine = Machine(memory=4 << 20, flash=[Flash()])
    bank, _ = machine.flash
    assert found(bank.shown(), "reads find").words == "array"
    machine.bus.write(bank.base, 4, 0x0070_0070)
    assert found(bank.shown(), "reads find").words == "status"
    assert found(bank.shown(), "status").words == "ready"
    machine.bus.write(bank.base, 4, 0x0020_0020)
    assert found(bank.shown(), "command").words == "erase"


# All.


def test_looking_at_any_device_changes_nothing() -> None:
    from emulator.guests import path

    machine = Machine(memory=64 << 20, flash=[Flash()])
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("echo", memory=32 << 20)
    vm.load_elf(path("echo"))
    vm.console.feed(b"word\r")
    machine.run(30_000)
    before = machine.state_hash()
    for bus in (machine.bus, vm.bus):
        for _, device in bus:
            counts = device.reads, device.writes
            rows = all_rows(device.shown())
            assert (rows and device.title) or device.name.startswith("virtio")
            assert all(row.value is None or 0 <= row.value < 1 << row.bits for row in rows), device.name
            assert all("\n" not in row.words for row in rows)
            assert (device.reads, device.writes) == counts
    assert machine.state_hash() == before


def test_accesses_are_counted() -> None:
    machine = Machine(memory=4 << 20)
    for _ in range(3):
        machine.bus.read(0x1000_0005, 1)
    machine.bus.write(0x1000_0000, 1, 65)
    machine.bus.read(0x1000_0100, 1)  # nobody
    assert (machine.uart.reads, machine.uart.writes) == (3, 1)


def test_what_has_no_words_of_its_own_is_shown_by_its_shapes() -> None:
    from emulator.devices.fields import Stateful

    class Thing(Stateful):
        fields: Mapping[str, Shape] = {"mask": Bits(0xF, flags("on")), "level": Number(0xFFFF), "ready": Flag()}
        mask, level, ready = 1, 77, True

    assert [(row.name, row.value, row.words) for row in Thing().shown()] == [
        ("mask", 1, "on"), ("level", 77, ""), ("ready", 1, "yes"),
    ]  # fmt: skip
