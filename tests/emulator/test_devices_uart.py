"""The 16550A, against the PC16550D data sheet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.bus import Bus
from emulator.console import Console
from emulator.devices.uart import Uart
from emulator.errors import StateError

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7


class Port:
    """A UART with its wires visible."""

    def __init__(self) -> None:
        self.console = Console()
        self.uart = Uart(self.console)
        self.levels: list[bool] = []
        self.uart.interrupt = self.levels.append

    def __getitem__(self, register: int) -> int:
        return self.uart.read(register, 1)

    def __setitem__(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value)

    @property
    def level(self) -> bool:
        return bool(self.levels) and self.levels[-1]


@pytest.fixture
def port() -> Port:
    return Port()


def test_reset_values(port: Port) -> None:
    # Data sheet, table "UART Reset Configuration".
    assert (port[IER], port[IIR], port[LCR], port[MCR], port[LSR]) == (0, 0x01, 0, 0, 0x60)
    assert port[MSR] & 0x0F == 0
    port[IER], port[LCR], port[SCR], port[THR] = 0x0F, 0x1B, 0xAA, 0x41
    assert port.level
    port.uart.reset()
    assert not port.level
    assert (port[IER], port[IIR], port[LCR], port[MCR], port[LSR]) == (0, 0x01, 0, 0, 0x60)


def test_output_reaches_the_console(port: Port) -> None:
    for byte in b"hi\n":
        assert port[LSR] & 0x60 == 0x60
        port[THR] = byte
    assert port.console.take() == b"hi\n"


def test_input_is_received_in_order(port: Port) -> None:
    assert port[LSR] & 1 == 0 and port[RBR] == 0
    port.console.feed(b"ab")
    assert port[LSR] & 1
    assert port[RBR] == ord("a")
    assert port[LSR] & 1
    assert port[RBR] == ord("b")
    assert port[LSR] & 1 == 0


def test_divisor_latch_is_behind_dlab(port: Port) -> None:
    port[IER] = 0x05
    port[LCR] = 0x83
    port[DLL], port[DLM] = 0x34, 0x12
    assert (port[DLL], port[DLM]) == (0x34, 0x12)
    port[LCR] = 0x03
    assert port[IER] == 0x05
    assert port.console.take() == b""


def test_scratch_and_unused_bits(port: Port) -> None:
    port[SCR] = 0x5A
    port[IER] = 0xF0
    port[MCR] = 0xE0
    assert (port[SCR], port[IER], port[MCR]) == (0x5A, 0, 0)
    port[LSR] = port[MSR] = 0xFF
    assert port[LSR] == 0x60


def test_transmitter_empty_interrupt(port: Port) -> None:
    port[IER] = 0x02
    assert port.level and port[IIR] == 0x02
    assert not port.level and port[IIR] == 0x01, "reading IIR takes it back"
    port[THR] = 0x41
    assert port.level, "the byte is gone at once, so the transmitter is empty again"
    port[IER] = 0x00
    assert not port.level
    port[IER] = 0x02
    assert port.level, "enabling it with an empty transmitter raises it"


def test_receive_interrupt_without_fifo(port: Port) -> None:
    port[IER] = 0x01
    assert not port.level
    port.console.feed(b"xy")
    assert port.level and port[IIR] == 0x04
    assert port[RBR] == ord("x")
    assert port.level, "the next byte has arrived"
    assert port[RBR] == ord("y")
    assert not port.level and port[IIR] == 0x01


@pytest.mark.parametrize(("bits", "trigger"), [(0x00, 1), (0x40, 4), (0x80, 8), (0xC0, 14)])
def test_receive_trigger_level_and_timeout(port: Port, bits: int, trigger: int) -> None:
    port[FCR] = bits | 0x01
    port[IER] = 0x01
    port.console.feed(bytes(range(trigger)))
    assert port.level and port[IIR] == 0xC4
    for byte in range(trigger):
        assert port[RBR] == byte
        if byte + 1 < trigger:
            assert port.level and port[IIR] == 0xCC, "fewer bytes than the trigger: character timeout"
    assert not port.level and port[IIR] == 0xC1


def test_fifo_holds_sixteen_and_the_rest_waits(port: Port) -> None:
    port[FCR] = 0x01
    port.console.feed(bytes(range(40)))
    assert port[LSR] & 1
    assert len(port.console.input) == 24
    assert [port[RBR] for _ in range(40)] == list(range(40))
    assert port[LSR] == 0x60, "no overrun: the line waits"


def test_clearing_the_fifo(port: Port) -> None:
    port[FCR] = 0x01
    port.console.feed(b"old")
    assert port[LSR] & 1
    port[FCR] = 0x03
    assert port[LSR] & 1 == 0
    port.console.feed(b"n")
    assert port[RBR] == ord("n")
    port.console.feed(b"gone")
    assert port[LSR] & 1
    port[FCR] = 0x00
    assert port[IIR] & 0xC0 == 0 and port[LSR] & 1 == 0, "turning FIFOs off clears them"


def test_input_waits_at_the_console_until_the_guest_looks(port: Port) -> None:
    port.console.feed(b"a")
    port[FCR] = 0x07
    assert port[RBR] == ord("a")


def test_loopback(port: Port) -> None:
    port[MCR] = 0x10
    port.console.feed(b"outside")
    port[THR] = 0x55
    assert port[LSR] & 1 and port[RBR] == 0x55
    assert port.console.take() == b"" and port[LSR] & 1 == 0
    port[MCR] = 0x00
    assert port[RBR] == ord("o")


def test_loopback_overrun(port: Port) -> None:
    port[MCR], port[FCR], port[IER] = 0x10, 0x01, 0x04
    for byte in range(17):
        port[THR] = byte
    assert port.level and port[IIR] == 0xC6
    assert port[LSR] & 0x03 == 0x03
    assert not port.level and port[LSR] & 0x02 == 0, "reading LSR clears the overrun"
    assert [port[RBR] for _ in range(16)] == list(range(16)), "a full FIFO keeps what it has"
    port[FCR] = 0
    port[THR], port[THR] = 1, 2
    assert port[LSR] & 0x03 == 0x03 and port[RBR] == 2, "without FIFO the new byte replaces the old"


@pytest.mark.parametrize(("mcr", "msr"), [(0x1, 0x20), (0x2, 0x10), (0x4, 0x40), (0x8, 0x80), (0xF, 0xF0), (0x0, 0x00)])
def test_loopback_ties_modem_outputs_to_inputs(port: Port, mcr: int, msr: int) -> None:
    port[MCR] = 0x10 | mcr
    assert port[MSR] & 0xF0 == msr


def test_modem_status_interrupt(port: Port) -> None:
    port[MCR] = 0x14
    assert port[MSR] == 0x40 | 0x0B, "CTS, DSR and DCD fell as the line was cut; RI rose, which is no trailing edge"
    port[IER] = 0x08
    assert not port.level
    port[MCR] = 0x12
    assert port.level and port[IIR] == 0x00
    assert port[MSR] == 0x10 | 0x01 | 0x04, "CTS changed; RI fell"
    assert not port.level and port[IIR] == 0x01 and port[MSR] == 0x10


def test_interrupt_priority(port: Port) -> None:
    port[MCR], port[IER] = 0x10, 0x0F
    port[MSR]  # what cutting the line changed
    port[THR], port[THR] = 1, 2
    port[MCR] = 0x11
    causes = []
    for clear in (LSR, RBR, IIR, MSR):
        causes.append(port[IIR] if clear != IIR else 0x02)
        port[clear]
    assert causes == [0x06, 0x04, 0x02, 0x00]
    assert port[IIR] == 0x01


def test_wide_accesses_touch_only_the_addressed_register(port: Port) -> None:
    bus = Bus()
    bus.add(0x1000_0000, port.uart)
    port[LCR], port[IER] = 0x03, 0x01
    assert bus.write(0x1000_0000, 4, 0x41)
    assert port.console.take() == b"A" and port[LCR] == 0x03 and port[IER] == 0x01
    assert bus.read(0x1000_0003, 1) == 0x03
    assert bus.read(0x1000_0080, 8) == 0 and bus.write(0x1000_00F8, 8, 1)


def test_state_round_trip_drives_the_wire(port: Port) -> None:
    port[FCR], port[IER], port[LCR] = 0x41, 0x03, 0x1B
    port.console.feed(b"abc")
    port[SCR] = 9
    assert port[IIR] == 0xCC
    state = port.uart.state()
    other = Port()
    other.uart.restore(state)
    assert other.uart.state() == state and other.levels == [True]
    assert [other[RBR] for _ in range(3)] == [*b"abc"]
    with pytest.raises(StateError, match="rx"):
        other.uart.restore({**state, "rx": bytes(17)})


accesses = st.lists(
    st.tuples(st.sampled_from("rwf"), st.integers(0, 0xFF), st.sampled_from([1, 2, 4, 8]), st.integers(0, 255)),
    max_size=60,
)


@settings(deadline=None)
@given(accesses)
def test_any_guest_is_survived_and_saved_exactly(steps: list[tuple[str, int, int, int]]) -> None:
    one = Port()
    two = Port()

    def act(port: Port, step: tuple[str, int, int, int]) -> Any:
        kind, offset, size, value = step
        offset = offset if offset > 0xF0 else offset % 8
        if kind == "r":
            return port.uart.read(offset, size)
        if kind == "w":
            return port.uart.write(offset, size, value)
        return port.console.feed(bytes([value]) * (value % 20))

    half = len(steps) // 2
    for step in steps[:half]:
        act(one, step)
    two.uart.restore(one.uart.state())
    two.console.restore(one.console.state())
    for step in steps[half:]:
        assert act(one, step) == act(two, step)
    assert one.uart.state() == two.uart.state() and one.console.state() == two.console.state()
    assert one.level == two.level


def test_what_a_handler_leaves_makes_a_new_edge_when_it_touched_it() -> None:
    console, rises, before = Console(), 0, False
    uart = Uart(console)

    def wire(level: bool) -> None:
        nonlocal rises, before
        rises, before = rises + (level and not before), level

    uart.interrupt = wire
    uart.write(FCR, 1, 1)
    uart.write(IER, 1, 3)
    assert rises == 1
    for _ in range(3):  # as a handler that only looks whether input has come
        assert uart.read(LSR, 1) == 0x60
    assert rises == 1, "transmitter empty is told once"
    uart.write(THR, 1, 0x41)
    assert rises == 2, "and again when it is empty anew"
    assert uart.read(IIR, 1) & 15 == 2 and not before
    console.feed(b"abc")
    assert rises == 3 and before
    assert uart.read(RBR, 1) == 0x61 and rises == 4, "there is more"
    assert uart.read(RBR, 1) == 0x62 and uart.read(RBR, 1) == 0x63
    assert rises == 5 and not before
    saved = uart.state()
    uart.restore(saved)
    assert rises == 5
