"""The registers between driver and device (virtio 1.2, "Virtio Over MMIO", version 2; names are the specification's).

A notification is served while the guest waits at its store, so that everything is done at the next instruction and
nothing depends on the host's speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final

from emulator.bus import Device
from emulator.devices.fields import Bits, Number, Shape, Shown, Text, flags, register
from emulator.devices.virtio.function import VERSION_1, Function
from emulator.devices.virtio.queue import Broken, Queue, Ring, Space
from emulator.devicetree import Node, Tree, quads
from emulator.errors import ConfigurationError, StateError

MAGIC, VERSION, VENDOR = 0x7472_6976, 2, 0x554D_4551
"""Vendor: QEMU's, as drivers look for it."""


class Register(IntEnum):
    """Offsets ("MMIO Device Register Layout")."""

    MAGIC_VALUE = 0x000
    VERSION = 0x004
    DEVICE_ID = 0x008
    VENDOR_ID = 0x00C
    DEVICE_FEATURES = 0x010
    DEVICE_FEATURES_SEL = 0x014
    DRIVER_FEATURES = 0x020
    DRIVER_FEATURES_SEL = 0x024
    QUEUE_SEL = 0x030
    QUEUE_NUM_MAX = 0x034
    QUEUE_NUM = 0x038
    QUEUE_READY = 0x044
    QUEUE_NOTIFY = 0x050
    INTERRUPT_STATUS = 0x060
    INTERRUPT_ACK = 0x064
    STATUS = 0x070
    QUEUE_DESC = 0x080
    QUEUE_DRIVER = 0x090
    QUEUE_DEVICE = 0x0A0
    SHM_LEN = 0x0B0
    SHM_BASE = 0x0B8
    CONFIG = 0x100


R = Register
ADDRESSES: Final[dict[int, str]] = {R.QUEUE_DESC: "descriptors", R.QUEUE_DRIVER: "available", R.QUEUE_DEVICE: "used"}
"""64-bit registers in two halves, the low one first."""

DRIVER_OK, FEATURES_OK, NEEDS_RESET = 4, 8, 64
USED_BUFFER, CONFIGURATION_CHANGE = 1, 2
"""Bits of InterruptStatus."""
INDIRECT_DESC, EVENT_IDX = 1 << 28, 1 << 29
STATUS: Final = flags("acknowledge", "driver", "driver ok", "features ok", "", "", "needs reset", "failed")
""""Device Status Field"."""
INTERRUPTS: Final = flags("used buffer", "configuration change")
FEATURES: Final = flags("indirect descriptors", "event index", "", "", "version 1", low=28)
""""Reserved Feature Bits", as far as they are offered."""
_WORD: Final = 0xFFFF_FFFF


class Transport(Device):
    """A slot for a function. Without one it has device ID 0, which drivers pass over.

    `problem` says why the device asked for a reset, "" when it did not.
    """

    def __init__(self, memory: Space, irq: int = 0, name: str = "virtio0") -> None:
        super().__init__()
        self.memory, self.irq, self.name = memory, irq, name
        self.function: Function | None = None
        self.wrote: Callable[[], None] = lambda: None
        """Called after the device wrote memory; the machine sets it."""
        self.queues: list[Queue] = []
        self._power_on()

    def attach(self, function: Function) -> None:
        """Put a function behind the transport. ConfigurationError where there is one."""
        if self.function is not None:
            raise ConfigurationError(f"{self.name} is a {self.function.kind} already")
        self.function = function
        function.wake = self._serve
        function.accepted = lambda: self.driver_features
        function.running = lambda: self.running
        function.name = f"{self.name} ({function.kind})"
        self.queues = self._new_queues()
        self.fields: Mapping[str, Shape] = {
            "status": Bits(0xFF, STATUS),
            "interrupts": Bits(USED_BUFFER | CONFIGURATION_CHANGE, INTERRUPTS),
            "driver_features": Bits((1 << 64) - 1),
            "device_features_sel": Number(_WORD),
            "driver_features_sel": Number(_WORD),
            "queue_sel": Number(_WORD),
            "problem": Text(200),
        }

    def _new_queues(self) -> list[Queue]:
        sizes = self.function.queues if self.function else ()
        return [Queue(f"{self.name} queue {number}", most) for number, most in enumerate(sizes)]

    def _power_on(self) -> None:
        self.status = self.interrupts = self.driver_features = 0
        self.device_features_sel = self.driver_features_sel = self.queue_sel = 0
        self.problem = ""
        for queue in self.queues:
            queue.reset()

    def reset(self) -> None:
        self._power_on()
        if self.function is not None:
            self.function.reset()
        self.refresh()

    @property
    def offered(self) -> int:
        return VERSION_1 | INDIRECT_DESC | EVENT_IDX | self.function.features if self.function else 0

    @property
    def running(self) -> bool:
        return self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK

    @property
    def _queue(self) -> Queue | None:
        return self.queues[self.queue_sel] if self.queue_sel < len(self.queues) else None

    # --- registers ---

    def read(self, offset: int, size: int) -> int:
        if offset >= R.CONFIG:
            return self.function.read(offset - R.CONFIG, size) if self.function else 0
        if size != 4:
            return 0  # "MUST only use 32 bit wide and aligned reads and writes to access the control registers"
        if self.function is None and offset > R.VENDOR_ID:
            return 0
        queue = self._queue
        match offset:
            case R.MAGIC_VALUE:
                return MAGIC
            case R.VERSION:
                return VERSION
            case R.DEVICE_ID:
                return self.function.device_id if self.function else 0
            case R.VENDOR_ID:
                return VENDOR
            case R.DEVICE_FEATURES:
                return self._half(self.offered, self.device_features_sel)
            case R.QUEUE_NUM_MAX:
                return queue.most if queue else 0
            case R.QUEUE_READY:
                return int(queue.ready) if queue else 0
            case R.INTERRUPT_STATUS:
                return self.interrupts
            case R.STATUS:
                return self.status
            case _ if R.SHM_LEN <= offset < R.SHM_BASE + 8:
                return _WORD  # "if the region does not exist, reading from these registers returns -1"
        return 0

    @staticmethod
    def _half(features: int, select: int) -> int:
        return features >> 32 * select & _WORD if select < 2 else 0

    def write(self, offset: int, size: int, value: int) -> None:
        if self.function is None:
            return
        if offset >= R.CONFIG:
            return self.function.write(offset - R.CONFIG, size, value)
        if size != 4:
            return
        match offset:
            case R.DEVICE_FEATURES_SEL:
                self.device_features_sel = value
            case R.DRIVER_FEATURES:
                # "the device SHOULD NOT accept" others once FEATURES_OK is set.
                if self.driver_features_sel < 2 and not self.status & FEATURES_OK:
                    shift = 32 * self.driver_features_sel
                    self.driver_features = self.driver_features & ~(_WORD << shift) | value << shift
            case R.DRIVER_FEATURES_SEL:
                self.driver_features_sel = value
            case R.QUEUE_SEL:
                self.queue_sel = value
            case R.QUEUE_NOTIFY:
                self._serve(value)
            case R.INTERRUPT_ACK:
                self.interrupts &= ~value
                self.refresh()
            case R.STATUS:
                self._set_status(value)
            case _:
                self._set_up(offset, value)

    def _set_status(self, value: int) -> None:
        if not value:
            return self.reset()
        before = self.status
        value = value & ~NEEDS_RESET & 0xFF | before
        # "Reserved Feature Bits": a device may refuse drivers without VERSION_1. QEMU does not, nor those that leave
        # out FEATURES_OK, and small kernels rely on it.
        if self.driver_features & ~self.offered and not before & FEATURES_OK:
            value &= ~(FEATURES_OK | DRIVER_OK)
        self.status = value
        if value & ~before & DRIVER_OK:
            if value & NEEDS_RESET:
                self.interrupts |= CONFIGURATION_CHANGE
                self.refresh()
            for number in range(len(self.queues)):
                self._serve(number)

    def _set_up(self, offset: int, value: int) -> None:
        """Registers of the selected queue. While it is ready it stands still."""
        queue = self._queue
        if queue is None:
            return
        if offset == R.QUEUE_READY:
            if not value & 1:
                queue.ready = False
            elif not queue.ready:
                queue.seen = queue.done = 0
                queue.ready = True
                self._look(queue)
        elif not queue.ready:
            if offset == R.QUEUE_NUM:
                queue.size = value
            elif name := ADDRESSES.get(offset & ~4):
                shift = 32 if offset & 4 else 0
                setattr(queue, name, getattr(queue, name) & ~(_WORD << shift) | value << shift)

    # --- queues ---

    def _ring(self, queue: Queue) -> Ring:
        accepted = self.driver_features
        indirect, events = bool(accepted & INDIRECT_DESC), bool(accepted & EVENT_IDX)
        return Ring(self.memory, queue, indirect=indirect, events=events)

    def _look(self, queue: Queue) -> None:
        """Say at once that a queue cannot work."""
        try:
            self._ring(queue)
        except Broken as error:
            self._fail(queue, error)

    def _serve(self, number: int) -> None:
        """Carry out what waits in a queue: at most as many chains as it has entries."""
        if self.function is None or not self.running or number >= len(self.queues) or not self.queues[number].ready:
            return
        queue = self.queues[number]
        try:
            ring = self._ring(queue)
            ring.begin()
            while ring.waiting:
                chain = ring.peek()
                written = self.function.serve(number, chain)
                if written is None:
                    break
                ring.take(chain, written)
            if ring.finish():
                self.interrupts |= USED_BUFFER
        except Broken as error:
            self._fail(queue, error)
        self.wrote()
        self.refresh()

    def _fail(self, queue: Queue, error: Broken) -> None:
        """The device needs a reset, and tells a driver that runs ("Device Status Field")."""
        self.problem = f"{queue.name}: {error}"[:200]
        self.status |= NEEDS_RESET
        if self.status & DRIVER_OK:
            self.interrupts |= CONFIGURATION_CHANGE
        self.refresh()

    # --- state and description ---

    def refresh(self) -> None:
        self.interrupt(bool(self.interrupts))

    def state(self) -> dict[str, Any]:
        if self.function is None:
            return {}
        inner = {"queues": [queue.state() for queue in self.queues], "function": self.function.state()}
        return super().state() | inner

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.function is None or not isinstance(state, Mapping):
            return super().restore(state)
        rows, inner = state.get("queues"), state.get("function")
        if not isinstance(rows, (list, tuple)) or len(rows) != len(self.queues) or not isinstance(inner, Mapping):
            raise StateError(f"saved state of {self.name}: it must have {len(self.queues)} queues and a function")
        queues = self._new_queues()
        for queue, row in zip(queues, rows, strict=True):
            queue.restore(row)
        before = self.function.state()
        self.function.restore(inner)
        try:
            super().restore({name: value for name, value in state.items() if name not in ("queues", "function")})
        except StateError:
            self.function.restore(before)
            raise
        self.queues = queues

    def shown(self) -> tuple[Shown, ...]:
        """The registers by the specification's names, then each queue, and what is behind the transport."""
        function = self.function
        if function is None:
            return (Shown("DeviceID", 0, "empty: drivers pass over it"),)
        rows = [
            Shown("DeviceID", function.device_id, f"{function.kind} {function.about()}".strip()),
            register("Status", self.status, STATUS, "" if self.status else "reset", bits=8),
            register("InterruptStatus", self.interrupts, INTERRUPTS, bits=8),
            register("DeviceFeatures", self.offered, (*function.names, *FEATURES), bits=64),
            register("DriverFeatures", self.driver_features, (*function.names, *FEATURES), bits=64),
            Shown("QueueSel", self.queue_sel),
        ]
        if self.problem:
            rows.append(Shown("problem", words=self.problem))
        queues = tuple(
            Shown(f"queue {number}", words=self._queue_words(queue), rows=queue.shown() if queue.ready else ())
            for number, queue in enumerate(self.queues)
        )
        return (*rows, Shown("queues", words=str(len(queues)), rows=queues), *function.shown())

    def _queue_words(self, queue: Queue) -> str:
        """How far driver and device have come: indices as they stand in guest memory."""
        if not queue.ready:
            return f"not ready, at most {queue.most} entries"
        taken = f"{queue.seen - queue.done & 0xFFFF} in flight, {queue.done} returned"
        if self.memory.find(queue.available, 4) is None:
            return f"{queue.size} entries, {taken}; its available ring is not in memory"
        offered = self.memory.read_int(queue.available + 2, 2)
        return f"{queue.size} entries, {offered - queue.seen & 0xFFFF} offered and not taken, {taken}"

    def describe(self, tree: Tree, base: int) -> None:
        tree.soc.add(Node(f"virtio_mmio@{base:x}", {
            "compatible": "virtio,mmio", "reg": quads(base, self.size), **tree.interrupt(self.irq),
        }))  # fmt: skip
