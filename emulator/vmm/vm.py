"""A virtual machine: memory slots, G-stage tables, virtual CPUs, devices, and what its exits were."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.bus import Bus
from emulator.console import Console
from emulator.devices.plic import Plic
from emulator.devices.uart import Uart
from emulator.devices.virtio import Function, Slots, Transport
from emulator.devicetree import flatten, machine_tree
from emulator.errors import ConfigurationError, LoadError, StateError
from emulator.isa.pages import D, W
from emulator.loader import Image, Symbol, Symbols, read_elf, read_file, read_image
from emulator.vmm.allocator import PAGE
from emulator.vmm.gstage import MEMORY, Entry, GStage, page_size
from emulator.vmm.slots import GuestMemory, Slot, describe
from emulator.vmm.vcpu import Vcpu
from emulator.worlds import GuestExit

if TYPE_CHECKING:
    from emulator.vmm.hypervisor import Hypervisor

RAM_BASE = 0x8000_0000
PLIC_BASE, UART_BASE, UART_IRQ = 0xC00_0000, 0x1000_0000, 10
SEIP = 9
EVENTS = 256
"""Exits that are remembered one by one."""
MAXIMUM_VCPUS = 64

PAGE_LEVELS = {"4K": 0, "2M": 1, "1G": 2}


class Vm:
    """Made by Hypervisor.create_vm()."""

    def __init__(self, hypervisor: Hypervisor, name: str, vmid: int, pages: str) -> None:
        if pages not in PAGE_LEVELS:
            raise ConfigurationError(f"page size {pages!r}: choose one of {', '.join(PAGE_LEVELS)}")
        self.hypervisor = hypervisor
        self.name = name
        self.vmid = vmid
        self.pages = pages
        """The largest page that the G-stage uses, where slot and alignment allow it: "4K", "2M" or "1G"."""
        self.memory = GuestMemory(hypervisor.memory)
        self.tables: GStage
        self.vcpus: list[Vcpu] = []
        self.plic: Plic
        self.symbols = Symbols()
        self.time_delta = 0
        """htimedelta: what is added to the machine's time, so that the guest's began at 0."""
        self.stopped: str | None = None
        """Why the hypervisor ended it, when the guest did not end by itself."""
        self.exit_code: int | None = None
        self.message = ""
        """How it ended, in words."""
        self.exits: Counter[str] = Counter()
        """Exits by trap, with KVM's names; interrupts of the host and ends of time slices are no exits here."""
        self.stats: Counter[str] = Counter()
        """KVM's vCPU statistics, summed: ecall_exit_stat, wfi_exit_stat, mmio_exit_user, ... The first counts
        all calls, KVM's only those that it hands to user space."""
        self.calls: Counter[str] = Counter()
        """SBI calls by name."""
        self.events: deque[GuestExit] = deque(maxlen=EVENTS)
        self.input_arrived = False
        """Console input came and no vCPU looked yet: one WFI returns for it, enabled interrupts or not."""
        self.console = Console(name)
        self.console.now = hypervisor.machine.moment
        self.uart = Uart(self.console, irq=UART_IRQ)
        self.bus = Bus()
        self.bus.add(UART_BASE, self.uart)
        self.virtio = Slots(hypervisor.machine.shared, self.memory, hypervisor.machine.device_wrote, name)
        self.virtio.place(self.bus.add)

    def add_vcpus(self, count: int) -> None:
        """Once, before it starts: the virtual CPUs, and the interrupt controller before them."""
        self.vcpus = [Vcpu(self, index) for index in range(count)]
        self.plic = Plic(self.vcpus, lines=(SEIP,))
        self.bus.add(PLIC_BASE, self.plic)
        for _, device in self.bus:
            if device.irq:
                device.interrupt = partial(self.plic.set_source, device.irq)
        to_uart = self.console.arrived

        def arrived() -> None:
            self.input_arrived = True
            to_uart()

        self.console.arrived = arrived

    def attach(self, function: Function, slot: int | None = None) -> Transport:
        """Put a virtio device behind transport number `slot`, or the first that is free; before the VM starts.
        ConfigurationError where it cannot stand there."""
        return self.virtio.attach(function, slot)

    def __repr__(self) -> str:
        return f"<Vm {self.name} vmid={self.vmid} {self.status}>"

    @property
    def ended(self) -> bool:
        """No virtual CPU of it will run again."""
        return self.exit_code is not None or self.stopped is not None

    @property
    def status(self) -> str:
        """"running", "idle", "stopped" (by the hypervisor) or "ended" (by itself)."""
        if self.stopped is not None:
            return "stopped"
        if self.exit_code is not None:
            return "ended"
        return "running" if any(vcpu.status == "ready" for vcpu in self.vcpus) else "idle"

    @property
    def instructions(self) -> int:
        """Retired in VS- and VU-mode by all its vCPUs."""
        return sum(vcpu.instructions for vcpu in self.vcpus)

    @property
    def last_exit(self) -> GuestExit | None:
        """The last of `events`, or None."""
        return self.events[-1] if self.events else None

    @property
    def hgatp(self) -> int:
        """The CSR's value while it runs: mode, VMID, root table."""
        return self.tables.hgatp(self.vmid)

    # Starting and ending

    def load_elf(self, path: str | Path) -> int:
        """Load an ELF file and start vCPU 0 at its entry, which is returned. Raises LoadError."""
        return self.start(read_elf(path))

    def load(self, path: str | Path, append: str = "", initrd: str | Path | None = None) -> int:
        """The same for a program in any form that needs no address: ELF or Linux kernel image, compressed or not.

        `append` is its command line; `initrd` a file that is placed in memory for it.
        """
        return self.start(read_image(path, ram=RAM_BASE), append, None if initrd is None else read_file(initrd))

    def start(self, image: Image, append: str = "", initrd: bytes | None = None) -> int:
        """Put `image` into the slots and start vCPU 0 at its entry, which is returned. Raises LoadError.

        a1 points to a device tree near the end of memory, below which the initrd lies.
        """
        for segment in image.segments:
            self._check_fits(image.name, segment.physical, segment.size)
        memory = max(self.slots, key=lambda slot: slot.size)
        place = None if initrd is None else (0, 0)
        tree = self.device_tree(append, place)
        where = (memory.end - len(tree)) & -8
        self._check_fits("device tree", where, len(tree))
        lowest, what = where, "device tree"
        if initrd is not None:
            lowest, what = (where - len(initrd)) & -PAGE, "initrd"
            self._check_fits(what, lowest, len(initrd))
            place = lowest, lowest + len(initrd)
            tree = self.device_tree(append, place)
        if any(lowest < segment.physical + segment.size <= memory.end for segment in image.segments):
            raise LoadError(
                f"{image.name}: it reaches to {image.end:#x}, and the {what} needs memory from {lowest:#x}: give VM"
                f" {self.name} more memory"
            )
        for segment in image.segments:
            self.memory.write(segment.physical, segment.data)
            self.memory.fill(segment.physical + len(segment.data), segment.size - len(segment.data))
        if initrd is not None and place is not None:
            self.memory.write(place[0], initrd)
        self.memory.write(where, tree)
        self.symbols = image.symbols
        self.boot(image.entry, where)
        return image.entry

    def _check_fits(self, what: str, gpa: int, size: int) -> None:
        if not self.has_memory(gpa, size):
            more = ": give it more memory" if size > max(slot.size for slot in self.slots) else ""
            raise LoadError(
                f"{what}: {gpa:#x}..{gpa + size:#x} is outside the memory of VM {self.name} ({describe(self.slots)})"
                f"{more}"
            )

    def device_tree(self, append: str = "", initrd: tuple[int, int] | None = None) -> bytes:
        """What this VM tells its guest of itself: a flattened device tree. `initrd` is [start, end)."""
        # A guest's counters are not the hart's, and cannot interrupt.
        isa = self.hypervisor.machine.isa.without("H").without("Sscofpmf")
        memory = [(slot.gpa, slot.size) for slot in self.slots]
        return flatten(
            machine_tree(
                self.bus, memory, harts=len(self.vcpus), isa=isa.string, mmu=isa.mmu, bootargs=append, initrd=initrd
            )
        )

    def boot(self, pc: int, opaque: int = 0) -> None:
        """Start vCPU 0: pc, a0 = its number, a1 = `opaque` (the device tree's address, or 0)."""
        for _, device in self.bus:
            device.reset()
        self.vcpus[0].reset(pc, opaque)

    def end(self, code: int, message: str) -> None:
        """The guest ended by itself."""
        self.exit_code, self.message = code, message
        for vcpu in self.vcpus:
            vcpu.status = "ended"

    def reboot(self, code: int) -> None:
        """The guest asked for a reset: it ends, with an exit code."""
        self.end(code, "asked for a reboot: start it anew")

    def stop(self, reason: str) -> None:
        """The guest cannot go on. The first reason stays."""
        if not self.ended:
            self.stopped = self.message = reason
            for vcpu in self.vcpus:
                vcpu.status = "ended"

    def record(self, vcpu: Vcpu, name: str, cause: int, pc: int, address: int, detail: str) -> None:
        """Keep an exit in `events`."""
        self.events.append(GuestExit(self.hypervisor.hart.clock, vcpu.index, name, cause, pc, address, detail))

    # Memory

    @property
    def slots(self) -> list[Slot]:
        """Its memory, by guest-physical address (KVM's memory slots)."""
        return self.memory.slots

    def add_slot(self, gpa: int, size: int) -> Slot:
        """Give the guest memory at [gpa, gpa+size), multiples of 4 KiB. Raises ConfigurationError.

        It is reserved in the machine's memory at once, and mapped page by page as the guest touches it.
        """
        if size <= 0 or gpa < 0 or gpa % PAGE or size % PAGE:
            raise ConfigurationError(f"memory slot {gpa:#x}, size {size:#x}: both must be multiples of {PAGE:#x}")
        if gpa + size > 1 << self.tables.scheme.bits:
            raise ConfigurationError(
                f"memory slot {gpa:#x}..{gpa + size:#x} is beyond the {self.tables.scheme.bits} address bits of "
                f"{self.tables.scheme.name}"
            )
        for base, device in self.bus:
            if gpa < base + device.size and base < gpa + size:
                raise ConfigurationError(f"memory slot {gpa:#x}..{gpa + size:#x} covers the device {device.name}")
        slot = Slot(gpa, size, 0)
        self.memory.check(slot)
        slot.physical = self._reserve(gpa, size)
        self.memory.add(slot)
        return slot

    def _reserve(self, gpa: int, size: int) -> int:
        """Memory that is aligned like `gpa`, so that large pages can map it; less aligned where there is none such."""
        allocate = self.hypervisor.allocator.allocate
        for level in range(PAGE_LEVELS[self.pages], 0, -1):
            if page_size(level) <= size:
                with suppress(ConfigurationError):
                    return allocate(size, page_size(level), gpa)
        return allocate(size)

    def has_memory(self, gpa: int, length: int) -> bool:
        """Whether slots hold all `length` bytes from `gpa` on."""
        return self.memory.find(gpa, length) is not None

    def fault(self, gpa: int, write: bool = False) -> bool:
        """Map the page of `gpa`, which a slot holds, or make it writable again. False when nothing was to do."""
        slot = self.memory.find(gpa)
        assert slot is not None
        leaf = self.tables.lookup(gpa)
        page = gpa & -PAGE
        if slot.dirty is None and leaf is None:
            self._map(slot, gpa)
            return True
        if slot.dirty is not None and leaf is None:
            self.tables.map(page, slot.physical + page - slot.gpa, 0, MEMORY if write else MEMORY & ~(W | D))
        elif slot.dirty is not None and leaf is not None and write and not leaf.pte & W:
            self.tables.allow_write(leaf)
            self.hypervisor.fence()
        else:
            return False
        if write:
            slot.touch(page, PAGE)
        return True

    def _map(self, slot: Slot, gpa: int) -> None:
        """The largest page that fits the slot, its place in memory, and what is mapped already."""
        for level in range(PAGE_LEVELS[self.pages], -1, -1):
            size = page_size(level)
            first = gpa & -size
            physical = slot.physical + first - slot.gpa
            fits = slot.gpa <= first and first + size <= slot.end and not physical % size
            if level == 0 or (fits and self.tables.empty(first, level)):
                self.tables.map(first, physical, level)
                return

    def translate(self, gpa: int) -> tuple[int, Entry] | None:
        """The physical address of `gpa` and the leaf that says so; None where the G-stage has no valid leaf."""
        leaf = self.tables.lookup(gpa)
        return None if leaf is None else (leaf.physical + gpa - leaf.gpa, leaf)

    def gstage(self) -> list[Entry]:
        """The non-zero entries of the root table; `tables.children(entry)` goes on below one of them."""
        return self.tables.children()

    def read(self, gpa: int, length: int) -> bytes:
        """As the guest would read: through the G-stage, mapping pages of slots on the way."""
        return b"".join(self.hypervisor.memory.read(at, size) for at, size in self._pieces(gpa, length, False))

    def write(self, gpa: int, data: bytes) -> None:
        """As the guest would write: through the G-stage, mapping pages of slots on the way."""
        done = 0
        for at, size in self._pieces(gpa, len(data), True):
            self.hypervisor.memory.write(at, data[done : done + size])
            done += size

    def _pieces(self, gpa: int, length: int, write: bool) -> list[tuple[int, int]]:
        """(physical address, bytes), page by page."""
        pieces = []
        end = gpa + length
        while gpa < end:
            size = min(PAGE - gpa % PAGE, end - gpa)
            if self.memory.find(gpa) is not None:
                self.fault(gpa, write)
            found = self.translate(gpa)
            if found is None:
                raise ConfigurationError(f"guest-physical {gpa:#x} of {self.name} is not mapped")
            pieces.append((found[0], size))
            gpa += size
        return pieces

    # Dirty log

    def start_dirty_log(self, slot: Slot) -> None:
        """From now on note which pages of `slot` are written. Superpages are mapped anew in pieces of 4 KiB."""
        slot.dirty = set()
        if self.tables.protect(slot.gpa, slot.size):
            self.hypervisor.fence()

    def dirty_log(self, slot: Slot) -> list[int]:
        """Guest-physical pages written since the last call, ascending; the log begins anew."""
        if slot.dirty is None:
            raise ConfigurationError(f"the dirty log of the slot at {slot.gpa:#x} is off")
        pages = sorted(slot.dirty)
        slot.dirty.clear()
        if sum(self.tables.protect(page, PAGE) for page in pages):
            self.hypervisor.fence()
        return pages

    def stop_dirty_log(self, slot: Slot) -> None:
        """Writes to `slot` are no longer noted."""
        slot.dirty = None
        changed = False
        for leaf in list(self.tables.leaves(slot.gpa, slot.size)):
            if not leaf.pte & W:
                self.tables.allow_write(leaf)
                changed = True
        if changed:
            self.hypervisor.fence()

    # What SBI asks of a VM besides (emulator.sbi.Domain)

    hypervisor_extension = False

    @property
    def callers(self) -> list[Vcpu]:
        """For SBI: its virtual CPUs, by number."""
        return self.vcpus

    def machine_csr(self, name: str) -> int:
        """For SBI: mvendorid, marchid and mimpid are those of the hart."""
        return self.hypervisor.hart.csr(name)

    def fence(self, targets: Sequence[object]) -> None:
        """For SBI RFENCE: translations of `targets` are looked up again."""
        self.hypervisor.fence()  # all vCPUs share one hart

    def receive(self, limit: int) -> bytes:
        """At most `limit` bytes of console input."""
        data = bytearray()
        while len(data) < limit and (byte := self.console.get()) is not None:
            data.append(byte)
        if not self.console.input:
            self.input_arrived = False
        return bytes(data)

    # Snapshots

    def state(self) -> dict[str, Any]:
        """All of it as plain values, memory apart."""
        return {
            "name": self.name,
            "vmid": self.vmid,
            "pages": self.pages,
            "slots": [slot.state() for slot in self.slots],
            "tables": self.tables.state(),
            "vcpus": [vcpu.snapshot() for vcpu in self.vcpus],
            "symbols": _pack(self.symbols),
            "time_delta": self.time_delta,
            "stopped": self.stopped,
            "exit_code": self.exit_code,
            "message": self.message,
            "exits": dict(sorted(self.exits.items())),
            "stats": dict(sorted(self.stats.items())),
            "calls": dict(sorted(self.calls.items())),
            "events": [list(event) for event in self.events],
            "input_arrived": self.input_arrived,
            "console": self.console.state(),
            "uart": self.uart.state(),
            "plic": self.plic.state(),
            "virtio": self.virtio.configuration(),
            "transports": [transport.state() for transport in self.virtio],
        }

    @classmethod
    def from_state(cls, hypervisor: Hypervisor, state: object) -> Vm:
        """Raises StateError. A vCPU whose registers are not in the state has them in the hart."""
        match state:
            case {
                "name": str(name), "vmid": int(vmid), "pages": str(pages), "slots": list(slots), "tables": tables,
                "vcpus": list(vcpus), "symbols": symbols, "time_delta": int(time_delta),
                "stopped": (None | str()) as stopped, "exit_code": (None | int()) as exit_code, "message": str(message),
                "exits": dict(exits), "stats": dict(stats), "calls": dict(calls), "events": list(events),
                "input_arrived": bool(input_arrived), "console": dict(console), "uart": dict(uart), "plic": dict(plic),
                "virtio": list(virtio), "transports": list(transports),
            } if pages in PAGE_LEVELS and 0 <= vmid < 1 << 14 and 1 <= len(vcpus) <= MAXIMUM_VCPUS:  # fmt: skip
                pass
            case _:
                raise StateError("saved VM: a field is missing or of the wrong kind")
        self = cls(hypervisor, name, vmid, pages)
        self.tables = GStage.from_state(hypervisor.memory, hypervisor.allocator, tables)
        try:
            for slot in slots:
                self.memory.add(Slot.from_state(slot, hypervisor.allocator))
        except ConfigurationError as error:
            raise StateError(f"saved VM {name}: {error}") from None
        self.symbols = _unpack(symbols, f"saved VM {name}")
        self.time_delta, self.stopped, self.exit_code, self.message = time_delta, stopped, exit_code, message
        self.input_arrived = input_arrived
        for counter, saved in ((self.exits, exits), (self.stats, stats), (self.calls, calls)):
            if not all(isinstance(key, str) and isinstance(count, int) for key, count in saved.items()):
                raise StateError(f"saved VM {name}: its statistics are damaged")
            counter.update(saved)
        for event in events[-EVENTS:]:
            match event:
                case [int(), int(), str(), int(), int(), int(), str()]:
                    self.events.append(GuestExit(*event))
                case _:
                    raise StateError(f"saved VM {name}: its last exits are damaged")
        self.console.restore(console)
        # Before they are wired up: what their wires have done is part of the PLIC's state, and the vCPUs', already.
        self.uart.restore(uart)
        self._restore_virtio(virtio, transports)
        self.add_vcpus(len(vcpus))
        for vcpu, saved_vcpu in zip(self.vcpus, vcpus, strict=True):
            vcpu.restore(saved_vcpu, hypervisor.hart)
        self.plic.restore(plic)
        return self

    def _restore_virtio(self, configuration: list[Any], states: list[Any]) -> None:
        try:
            self.virtio.attach_again(configuration)
        except (LookupError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
            raise StateError(f"saved VM {self.name}: virtio: {str(error)[:200]}") from None
        if len(states) != len(self.virtio):
            raise StateError(f"saved VM {self.name}: it has {len(self.virtio)} virtio transports")
        for transport, state in zip(self.virtio, states, strict=True):
            transport.restore(state)


def _pack(symbols: Symbols) -> dict[str, Any]:
    places = list(symbols)
    shown = {symbol.name for symbol in places}
    others = [[name, symbols.find(name)] for name in symbols.names if name not in shown]
    return {"places": [list(symbol) for symbol in places], "others": others}


def _unpack(state: object, where: str) -> Symbols:
    match state:
        case {"places": list(places), "others": list(others)}:
            pass
        case _:
            raise StateError(f"{where}: its symbols are damaged")
    found, constants = [], []
    for symbol in places:
        match symbol:
            case [int(address), int(size), str(name), bool(function)]:
                found.append(Symbol(address, size, name, function))
            case _:
                raise StateError(f"{where}: a symbol is damaged")
    for symbol in others:
        match symbol:
            case [str(name), int(address)]:
                constants.append(Symbol(address, 0, name))
            case _:
                raise StateError(f"{where}: a symbol is damaged")
    return Symbols(found, constants)
