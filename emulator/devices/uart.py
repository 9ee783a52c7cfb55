"""The 16550A serial port (PC16550D data sheet; names of registers and bits are the data sheet's).

Deterministic: no baud rate. A byte written is on the console at once, so that the transmitter is always empty, and
the receiver's timeout has passed as soon as bytes wait below the trigger level. Receive and overrun behave as the data
sheet says; what waits at the console enters the FIFO when the guest looks or has asked for interrupts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emulator.bus import Device
from emulator.console import Console
from emulator.devices.fields import Bits, Flag, Octets, Part, Shape, Shown, flags, register, text_of
from emulator.devicetree import Node, Tree, quads

FIFO: Final = 16
TRIGGERS: Final = (1, 4, 8, 14)
IER_RDI, IER_THRI, IER_RLSI, IER_MSI = 1, 2, 4, 8
FCR_ENABLE, FCR_CLEAR_RX = 1, 2
LCR_DLAB, MCR_LOOP = 0x80, 0x10
LSR_DR, LSR_OE, LSR_THRE, LSR_TEMT = 1, 2, 0x20, 0x40
IIR_MSI, IIR_NONE, IIR_THRI, IIR_RDI, IIR_RLSI, IIR_TIMEOUT = 0, 1, 2, 4, 6, 12
# Modem inputs: CTS, DSR, DCD; RI is off.
CONNECTED: Final = 0xB0

ACTIVE: Final = (0, 1, 2)
"""RBR and THR, IER, IIR and FCR: after an access to them an interrupt that is left makes a new edge, so that none is
lost between them and the completion at the interrupt controller."""

_LCR: Final = (
    Part("word length", 0, 2, {bits: f"{5 + bits} data bits" for bits in range(4)}),
    Part("parity", 3, 3, {0: "no parity", 1: "odd parity", 3: "even parity", 5: "parity 1", 7: "parity 0",
                          2: "no parity", 4: "no parity", 6: "no parity"}),
    Part("stop bits", 2, 1, {0: "1 stop bit", 1: "2 stop bits"}),
    Part("break", 6),
    Part("DLAB: divisor at 0 and 1", 7),
)  # fmt: skip
_IER: Final = flags("received data", "transmitter empty", "receiver line status", "modem status")
_FCR: Final = (
    Part("FIFO", 0, 1, {0: "FIFO off", 1: "FIFO on"}),
    Part("DMA mode", 3),
    Part("trigger", 6, 2, {bits: f"interrupt at {most} byte{'s' * (most > 1)}" for bits, most in enumerate(TRIGGERS)}),
)
_MCR: Final = flags("DTR", "RTS", "OUT1", "OUT2", "loopback")
_DELTA: Final = flags("delta CTS", "delta DSR", "trailing RI", "delta DCD")
_LSR: Final = flags("data ready", "overrun", "parity error", "framing error", "break", "THR empty", "transmitter empty")
_MSR: Final = (*_DELTA, *flags("CTS", "DSR", "RI", "DCD", low=4))
_CAUSES: Final = {
    IIR_NONE: "no interrupt", IIR_MSI: "modem status", IIR_THRI: "transmitter empty", IIR_RDI: "received data",
    IIR_RLSI: "receiver line status", IIR_TIMEOUT: "received data, below the trigger",
}  # fmt: skip
_IIR: Final = (Part("cause", 0, 4, _CAUSES), Part("FIFO", 6, 2, {0: "FIFO off", 3: "FIFO on"}))
REGISTERS: Final = {
    "ier": Bits(0x0F, _IER), "fcr": Bits(0xC9, _FCR), "lcr": Bits(0xFF, _LCR), "mcr": Bits(0x1F, _MCR),
    "scr": Bits(0xFF), "dll": Bits(0xFF), "dlm": Bits(0xFF), "delta": Bits(0x0F, _DELTA),
}  # fmt: skip


class Uart(Device):
    """A 16550A on a console. Only the addressed register takes part in a wide access, as in QEMU."""

    title = "16550A serial port"
    size = 0x100
    fields: Mapping[str, Shape] = {
        **REGISTERS,
        "rx": Octets(FIFO),
        "overrun": Flag(),
        "thr_empty": Flag(),
    }

    def __init__(self, console: Console, irq: int = 10, name: str = "uart", clock: int = 3_686_400) -> None:
        """`irq` is the PLIC source, `clock` the input clock in Hz that the device tree states."""
        super().__init__()
        self.name, self.irq, self.clock, self.console = name, irq, clock, console
        self._level = False
        self._power_on()
        console.arrived = self._update

    def _power_on(self) -> None:
        self.ier = self.fcr = self.lcr = self.mcr = self.scr = self.dlm = self.delta = 0
        self.dll = 12
        self.rx = bytearray()
        self.overrun = self.thr_empty = False

    def reset(self) -> None:
        self._power_on()
        self.refresh()

    def read(self, offset: int, size: int) -> int:
        self._receive()
        value = self._read(offset)
        self._update(offset in ACTIVE)
        return value

    def _read(self, offset: int) -> int:
        if self.lcr & LCR_DLAB and offset < 2:
            return (self.dll, self.dlm)[offset]
        match offset:
            case 0:  # RBR
                return self.rx.pop(0) if self.rx else 0
            case 1:
                return self.ier
            case 2:  # IIR: reading it takes back "transmitter empty", if that is what it reports
                cause = self._cause()
                if cause == IIR_THRI:
                    self.thr_empty = False
                return cause | (0xC0 if self.fcr & FCR_ENABLE else 0)
            case 3:
                return self.lcr
            case 4:
                return self.mcr
            case 5:  # LSR: reading it clears the overrun
                value = LSR_THRE | LSR_TEMT | (LSR_DR if self.rx else 0) | (LSR_OE if self.overrun else 0)
                self.overrun = False
                return value
            case 6:  # MSR: reading it clears the changes
                value = self._modem() | self.delta
                self.delta = 0
                return value
            case 7:
                return self.scr
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        value &= 0xFF
        match offset:
            case 0 if self.lcr & LCR_DLAB:
                self.dll = value
            case 1 if self.lcr & LCR_DLAB:
                self.dlm = value
            case 0:  # THR
                self.thr_empty = True
                if self.mcr & MCR_LOOP:
                    self._loop(value)
                else:
                    self.console.write(bytes((value,)))
            case 1:
                # Enabling the interrupt raises it, the transmitter being empty, even if IIR was read before.
                if (self.ier ^ value) & IER_THRI:
                    self.thr_empty = bool(value & IER_THRI)
                self.ier = value & 0x0F
            case 2:  # FCR: turning FIFOs on or off clears them; nothing else is taken while they are off
                if (self.fcr ^ value) & FCR_ENABLE or value & (FCR_ENABLE | FCR_CLEAR_RX) == FCR_ENABLE | FCR_CLEAR_RX:
                    self.rx.clear()
                self.fcr = value & 0xC9 if value & FCR_ENABLE else 0
            case 3:
                self.lcr = value
            case 4:
                before = self._modem()
                self.mcr = value & 0x1F
                after = self._modem()
                self.delta |= ((before ^ after) >> 4 & 0x0B) | ((before & ~after) >> 4 & 0x04)  # RI: trailing edge
            case 7:
                self.scr = value
        self._update(offset in ACTIVE)

    def refresh(self) -> None:
        self._level = self._cause() != IIR_NONE
        self.interrupt(self._level)

    def shown(self) -> tuple[Shown, ...]:
        """By the names of the data sheet. What waits at the console is no longer, or not yet, in the FIFO."""
        lsr = LSR_THRE | LSR_TEMT | (LSR_DR if self.rx else 0) | (LSR_OE if self.overrun else 0)
        iir = self._cause() | (0xC0 if self.fcr & FCR_ENABLE else 0)
        divisor = self.dlm << 8 | self.dll
        baud = f"{self.clock // (16 * divisor):,} baud, by the clock of the device tree" if divisor else "no baud rate"
        waiting = self.console.input
        return (
            Shown("RBR", words=f"{len(self.rx)} of {self._depth()} in the FIFO, {text_of(self.rx)}", bits=8),
            register("IER", self.ier, _IER, bits=8),
            register("IIR", iir, _IIR, bits=8),
            register("FCR", self.fcr, _FCR, bits=8),
            register("LCR", self.lcr, _LCR, bits=8),
            register("MCR", self.mcr, _MCR, bits=8),
            register("LSR", lsr, _LSR, bits=8),
            register("MSR", self._modem() | self.delta, _MSR, bits=8),
            Shown("SCR", self.scr, bits=8),
            Shown("divisor", divisor, baud, bits=16),
            Shown("console", words=f"{self.console.written:,} bytes printed, {text_of(waiting)} not read yet"),
        )

    def describe(self, tree: Tree, base: int) -> None:
        node = tree.soc.add(Node(f"serial@{base:x}", {
            "compatible": "ns16550a", "reg": quads(base, self.size), "clock-frequency": self.clock,
            **tree.interrupt(self.irq),
        }))  # fmt: skip
        tree.chosen.properties.setdefault("stdout-path", f"/soc/{node.name}")

    def _modem(self) -> int:
        """The modem inputs, MSR bits 7..4; in loopback they are the modem outputs: RTS, DTR, OUT1, OUT2."""
        if not self.mcr & MCR_LOOP:
            return CONNECTED
        return (self.mcr & 2) << 3 | (self.mcr & 1) << 5 | (self.mcr & 0x0C) << 4

    def _cause(self) -> int:
        """IIR bits 3..0: the most urgent interrupt (data sheet, "Interrupt Control Functions")."""
        if self.ier & IER_RLSI and self.overrun:
            return IIR_RLSI
        if self.ier & IER_RDI and self.rx:
            full = not self.fcr & FCR_ENABLE or len(self.rx) >= TRIGGERS[self.fcr >> 6]
            return IIR_RDI if full else IIR_TIMEOUT
        if self.ier & IER_THRI and self.thr_empty:
            return IIR_THRI
        return IIR_MSI if self.ier & IER_MSI and self.delta else IIR_NONE

    def _depth(self) -> int:
        return FIFO if self.fcr & FCR_ENABLE else 1

    def _receive(self) -> None:
        """Let waiting input in. In loopback the line is cut."""
        while not self.mcr & MCR_LOOP and len(self.rx) < self._depth():
            byte = self.console.get()
            if byte is None:
                return
            self.rx.append(byte)

    def _loop(self, byte: int) -> None:
        """A byte comes back in loopback. A full FIFO keeps what it has; the lone RBR takes the new one."""
        if len(self.rx) >= self._depth():
            self.overrun = True
            if self.fcr & FCR_ENABLE:
                return
            self.rx.clear()
        self.rx.append(byte)

    def _update(self, anew: bool = True) -> None:
        """Drive the wire; `anew`: what is still there makes an edge again."""
        if self.ier & IER_RDI:
            self._receive()
        level = self._cause() != IIR_NONE
        if anew and level and self._level:
            self.interrupt(False)
        if (anew and level) or level != self._level:
            self._level = level
            self.interrupt(level)
