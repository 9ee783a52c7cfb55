"""The machine: memory, harts and devices on a bus, laid out as QEMU's `virt` machine.

`Machine.run` is the one loop: the native harts run until they need somebody, and this is the somebody. It completes
device accesses, carries out HTIF commands, and hands traps to the built-in hypervisor where there is one.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import loader
from .bus import Bus, Device
from .console import Console
from .devices.aclint import Aclint
from .devices.finisher import Finisher
from .devices.flash import Flash, banks
from .devices.fw_cfg import FwCfg
from .devices.htif import Htif
from .devices.network import Hub
from .devices.plic import Plic
from .devices.rtc import Rtc
from .devices.uart import Uart
from .devices.virtio import VIRTIO_SLOTS, Drive, Entropy, Function, Network, Shared, Slots, Transport
from .devicetree import flatten, machine_tree
from .errors import ConfigurationError, EmulatorError, LoadError, StateError
from .hart._native import ffi, lib
from .hart.hart import Exit, ExitReason, Hart, Mode
from .isa import MAX, Isa
from .isa.csrs import MAX_GEILEN
from .loader import Image, Symbols
from .memory import Memory, Region
from .stops import Breakpoints, Places, Printed, Stop, Stops
from .worlds import Guest, guests_of

if TYPE_CHECKING:
    from .boot import Recipe

MIB: Final = 1 << 20
RAM_BASE: Final = 0x8000_0000
FINISHER, RTC, ACLINT, PLIC, UART = 0x10_0000, 0x10_1000, 0x200_0000, 0xC00_0000, 0x1000_0000
FW_CFG: Final = 0x1010_0000
TIMEBASE: Final = 10_000_000
"""Ticks of `time` in a nominal second."""
INSTRUCTIONS_PER_TICK: Final = 100
"""So that an instruction counts as a nanosecond."""
MOST_TURNS: Final = 100_000
"""Steps of other harts after which stepping one hart gives up: it waits, or is halted."""
TOUCHED: Final = 8
"""Flag of a page that was ever written, by harts or by the host."""
_TOUCHED: Final = re.compile(b"[%s]" % re.escape(bytes(flags for flags in range(256) if flags & TOUCHED)))
RESET_FAILED: Final = 3
"""Exit code of a machine that was to boot again and cannot."""
CLOCK_LIMIT: Final = (1 << 64) - 1
_DYNAMIC: Final = struct.Struct("<6Q")


class Host(Protocol):
    """Who plays the modes in a hart's `host_modes`: the built-in hypervisor or firmware.

    `schedule` chooses what runs next, and for how many instructions at most; 0 when nothing can, or all sleep at
    clock `until`, which it lets time pass to. `ran` is told how it went; it returns None where it has dealt with the
    exit, or an Exit for the caller of `Machine.run`.
    """

    def schedule(self, remaining: int, until: int) -> int:
        """How many instructions may run now, of at most `remaining` and not past clock `until`; 0: nothing can."""
        ...
    def ran(self, executed: int, exit: Exit) -> Exit | None:
        """Called after `executed` instructions: deals with `exit`; None where the run goes on, else how it ends."""
        ...
    @property
    def finished(self) -> Exit | None:
        """Why nothing runs any more, when all that ran has ended."""
        ...

    def state(self) -> dict[str, Any]:
        """All that decides what it does next, as plain values."""
        ...
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave. StateError where it does not fit."""
        ...


class Machine:
    """A whole machine. Everything in it is deterministic in retired instructions.

    `memory` is the size of RAM in bytes, a multiple of 4096 between 1 MiB and 256 GiB; `harts` 1 to 8;
    `isa` what the harts implement, an `Isa` or its name (emulator/isa/selection.py);
    `guest_interrupts` how many guest external interrupts each hart has (GEILEN), 0 to 63; `drives` become virtio block
    devices from the first transport on; `entropy` the seed of a virtio entropy device on the last one, None for none;
    `network` whether there is a network device, on the one before. `hub` is the network, which VMs share. `flash`: what
    is in the banks of flash, at most two; without any there is no flash.
    """

    def __init__(
        self, *, memory: int = 128 * MIB, harts: int = 1, ram_base: int = RAM_BASE, isa: str | Isa = MAX,
        guest_interrupts: int = 0, drives: Iterable[Drive] = (), entropy: int | None = None,
        network: bool = False, flash: Iterable[Flash] = (),
    ) -> None:  # fmt: skip
        if not 1 <= harts <= 8:
            raise ConfigurationError(f"a machine has 1 to 8 harts, not {harts}")
        if not MIB <= memory <= 256 << 30 or memory & 4095:
            raise ConfigurationError(f"memory of {memory} bytes: it must be 1M to 256G, a multiple of 4K")
        if not 0 <= guest_interrupts <= MAX_GEILEN:
            raise ConfigurationError(f"a hart has 0 to {MAX_GEILEN} guest external interrupts, not {guest_interrupts}")
        self.isa = isa if isinstance(isa, Isa) else Isa.parse(isa)
        if guest_interrupts and "H" not in self.isa:
            raise ConfigurationError("guest external interrupts need the H extension, which is off")
        self.ram_base, self.guest_interrupts = ram_base, guest_interrupts
        native = lib.machine_new(harts)
        if native == ffi.NULL:
            raise ConfigurationError("this computer has no memory left for a machine")
        self._native = ffi.gc(native, lib.machine_free)
        self.enter: Callable[..., object] = lib.machine_run
        """The native run. Who measures puts something before it."""
        lib.machine_set_features(native, self.isa.features)
        lib.machine_set_guest_interrupts(native, guest_interrupts)
        ram = Region("ram", ram_base, memory)
        self.flash = banks(flash)
        self.memory = Memory([ram, *(bank.region() for bank in self.flash)])
        self._buffers = []
        for region in self.memory.regions:
            buffer = ffi.from_buffer(region.buffer)
            self._buffers.append(buffer)
            if lib.machine_add_region(self._native, region.base, region.size, buffer, int(region.writable)):
                raise ConfigurationError(f"{region!r} cannot be given to the harts")
        self.memory.changed = lambda address, length: lib.machine_memory_changed(self._native, address, length)
        self.harts = [
            Hart(lib.machine_hart(self._native, i), self._native, self.memory, self.isa) for i in range(harts)
        ]
        self.symbols = Symbols()
        self.image: str = ""
        self.programs: list[str] = []
        """Digests of the files that its VMs were made to run, for who keeps notes about them."""
        self.executed = 0
        self.halted: tuple[int, str] | None = None
        self.host: Host | None = None
        self.htif: Htif | None = None
        self.recipe: Recipe | None = None
        """What a reset boots again; without it the machine ends there."""
        self.resets = 0
        self._restarting = False
        places = Places(self._native)
        self.breakpoints = Breakpoints(places)
        self.stops = Stops(self, self._native, places)
        """No part of the machine's state, as `breakpoints` and `watches` are."""
        self._watches: dict[tuple[int, int], int] = {}
        self._exit = ffi.new("hart_exit *")
        self.console = Console("console")
        self.console.now = self.moment
        self.bus = Bus()
        self.warnings: list[str] = []
        """What the user should know and no guest can say: a drive whose file has changed, or is full."""
        self.hub = Hub(self.facts)
        self.shared = Shared(self.hub, self.warnings.append)
        self._add_devices()
        for bank in self.flash:
            bank.warn = self.warnings.append
            bank.connect(self.memory, partial(lib.machine_hide_region, native, bank.base))
        if network:
            self.attach(Network(), VIRTIO_SLOTS - 2)
        if entropy is not None:
            self.attach(Entropy(entropy), VIRTIO_SLOTS - 1)
        for drive in drives:
            self.attach(drive)

    def _add_devices(self) -> None:
        self.plic = Plic(self.harts)
        self.aclint = Aclint(self.harts, lambda: self.time, self.set_time)
        self.aclint.until = self.until_timer
        self.rtc = Rtc(lambda: self.time)
        self.uart = Uart(self.console)
        self.fw_cfg = FwCfg(self.memory, len(self.harts), self.device_wrote, self.warnings.append)
        for base, device in (
            (FINISHER, Finisher(self.halt, self.restart)),
            (RTC, self.rtc),
            (ACLINT, self.aclint),
            (PLIC, self.plic),
            (UART, self.uart),
            (FW_CFG, self.fw_cfg),
        ):
            self.add_device(base, device)
        self.virtio = Slots(self.shared, self.memory, self.device_wrote)
        self.virtio.place(self.add_device)
        for bank in self.flash:
            self.add_device(bank.base, bank)
        self.devices: dict[str, Device] = {device.name: device for _, device in self.bus}

    def add_device(self, base: int, device: Device) -> None:
        """Place a device on the bus; its interrupt goes to the PLIC."""
        self.bus.add(base, device)
        if lib.machine_add_device(self._native, base, device.size):
            raise ConfigurationError("there are 64 devices already")
        if device.irq:
            source = device.irq
            device.interrupt = lambda level: self.plic.set_source(source, level)

    def device_wrote(self) -> None:
        """A device wrote memory: SC fails after that ("Zalrsc")."""
        for hart in self.harts:
            hart.lose_reservation()

    def attach(self, function: Function, slot: int | None = None) -> Transport:
        """Put a virtio device behind transport number `slot`, or the first that is free; before the machine runs."""
        return self.virtio.attach(function, slot)

    def expect(self, text: str | bytes, most: int, console: str = "") -> Exit:
        """Run until a console prints `text` (1 to 256 bytes) from now on, or for `most` steps: `Exit.hits` is empty
        where it has not. `console`: the name of a VM, "console" for the machine's own; "": any. Whatever else ends a
        run ends this one. ConfigurationError for a text that cannot be waited for."""
        stop = Stop(Printed(text.encode() if isinstance(text, str) else text, console))
        self.stops.add(stop, hidden=True)
        try:
            return self.run(most)
        finally:
            self.stops.remove(stop)

    def add_drive(self, path: str | os.PathLike[str], *, readonly: bool = False, writable: bool = False) -> Drive:
        """A disk on a file. Unless `writable` the file is only read, and changes are part of the machine's state."""
        if readonly and writable:
            raise ConfigurationError(f"drive {path}: read-only or writable, not both")
        drive = Drive(path, "ro" if readonly else "rw" if writable else "copy")
        self.attach(drive)
        return drive

    @property
    def ram_size(self) -> int:
        """Bytes."""
        return sum(region.size for region in self.memory.regions if region.writable)

    def facts(self) -> str:
        """What the page at 10.0.2.2 says: the machine as it is, by what decides of it alone."""
        rows = [
            ("isa", self.isa),
            ("harts", str(len(self.harts))),
            ("memory", f"{self.ram_size >> 20} MiB"),
            ("clock", f"{self.clock} instructions"),
            ("time", f"{self.time} ticks of {TIMEBASE} Hz"),
        ]
        rows += ((f"vm {vm.name}", f"{vm.instructions} instructions") for vm in getattr(self.host, "vms", ()))
        for port in self.hub.ports.values():
            rows.append((f"port {port.name}", ", ".join(f"{name} {getattr(port, name)}" for name in port.fields)))
        return "rvtui\n" + "".join(f"{name}: {value}\n" for name, value in rows)

    # --- time ---

    @property
    def clock(self) -> int:
        """The furthest hart's clock: instructions run or slept."""
        return max(hart.clock for hart in self.harts)

    def moment(self) -> int:
        """The clock of the hart whose turn it is: when what it does now happens."""
        return self.harts[self.turn].clock

    @property
    def reached(self) -> int:
        """The clock that the machine as a whole has reached: of several harts, where their round began. Only there does
        anything happen by the clock, so that cutting a run in pieces changes nothing."""
        return self.harts[0].clock if len(self.harts) == 1 else self._schedule()[0]

    def _clock_at(self, time: int) -> int:
        """The first clock at which the `time` counter of the hart whose turn it is has come from now to `time`."""
        _, turn, _, ticks, _ = self._schedule()
        hart = self.harts[turn]
        return min((hart.clock // ticks + max(0, time - hart.time)) * ticks, CLOCK_LIMIT)

    def until_timer(self, hart: int) -> int:
        """Instructions of a hart's clock, run or slept, until its `time` has come to its mtimecmp; 0 where it has."""
        face, ticks = self.harts[hart], self._schedule()[3]
        left = face.mtimecmp - face.time
        return max(0, (face.clock // ticks + left) * ticks - face.clock) if left > 0 else 0

    @property
    def turn(self) -> int:
        """Which hart goes on first."""
        return self._schedule()[1]

    @property
    def time(self) -> int:
        """The `time` counter of the hart whose turn it is, in ticks of 100 instructions."""
        return self.harts[int(self._schedule()[1])].time

    def set_time(self, time: int) -> None:
        """Write mtime."""
        now = self.harts[int(self._schedule()[1])].clock // INSTRUCTIONS_PER_TICK
        lib.machine_set_time(self._native, INSTRUCTIONS_PER_TICK, (time - now) & CLOCK_LIMIT)

    def sleep(self, until: int) -> None:
        """Let time pass, for all harts, until clock `until`."""
        lib.machine_sleep(self._native, until)

    def _schedule(self) -> list[int]:
        values = ffi.new("uint64_t[5]")
        lib.machine_schedule(self._native, values)
        return list(ffi.unpack(values, 5))

    @property
    def guests(self) -> list[Guest]:
        """Guests that ran on the harts, those of the built-in hypervisor and of any other; see `emulator.worlds`."""
        return guests_of(self)

    # --- loading ---

    def load(self, image: Image) -> Image:
        """Place a program; its symbols are added. LoadError when it does not fit into memory."""
        loader.place(image, self.memory)
        self.symbols = self.symbols | image.symbols
        self.image = image.name
        if image.tohost is not None:
            self._attach_htif(image.tohost, image.fromhost)
        return image

    def load_elf(self, path: str | os.PathLike[str]) -> Image:
        """Place an ELF file at its physical addresses; its symbols are added. LoadError."""
        return self.load(loader.read_elf(path))

    def load_raw(self, path: str | os.PathLike[str], address: int) -> Image:
        """Place the bytes of a file at a physical address. LoadError."""
        return self.load(loader.read_raw(path, address))

    def _attach_htif(self, tohost: int, fromhost: int | None) -> None:
        if self.memory.find(tohost, 8) is None or tohost & 7:
            raise LoadError(f"symbol tohost is at {tohost:#x}, where there is no aligned RAM")
        if self.htif is not None and self.htif.tohost != tohost:
            lib.machine_watch(self._native, self.htif.tohost, 8, 0)
        self.htif = Htif(tohost, fromhost, self.console, self.halt)
        lib.machine_watch(self._native, tohost, 8, 2)

    def tree_place(self, length: int, end: int | None = None) -> int:
        """Where `boot` puts a device tree of so many bytes: near the end of RAM, or of what is used of it, but below
        3 GiB, as QEMU does. LoadError where it is too large."""
        ram = self.memory.regions[-1]
        end = ram.end if end is None else end
        size = end - ram.base
        if length > size // 2:
            raise LoadError(f"the device tree of {length} bytes does not fit into RAM of {size} bytes")
        top = min(end, 3 << 30) if ram.base < 3 << 30 else end
        room = 2 * MIB if size >= 8 * MIB else 64 << 10
        return (top - length - _DYNAMIC.size - 8) // room * room

    def boot(
        self, entry: int, tree: bytes | None = None, following: int | None = None, end: int | None = None
    ) -> None:
        """Reset all harts to `entry` as firmware expects: a0 = hart number, a1 = address of the device tree, a2 =
        address of OpenSBI's fw_dynamic_info (magic, version, next address and mode, options, boot hart), which names
        S-mode at `following`, else at 2 MiB into RAM, as the next stage.

        `tree` is a flattened device tree; by default the machine's own is made. `tree_place` says where it goes, who
        uses RAM up to `end` only.
        """
        blob = self.device_tree() if tree is None else tree
        dynamic = _DYNAMIC.pack(0x4942534F, 2, self.ram_base + 2 * MIB if following is None else following, 1, 0, 0)
        at = self.tree_place(len(blob), end)
        info = at + -(-len(blob) // 8) * 8
        self.memory.write(at, blob)
        self.memory.write(info, dynamic)
        for hart in self.harts:
            hart.reset(entry)
            hart.x[10], hart.x[11], hart.x[12] = hart.index, at, info

    def device_tree(self, bootargs: str = "") -> bytes:
        """The flattened device tree that describes this machine."""
        ram = [(region.base, region.size) for region in self.memory.regions if region.writable]
        return flatten(
            machine_tree(
                self.bus, ram, harts=len(self.harts), isa=self.isa.string, mmu=self.isa.mmu, timebase=TIMEBASE,
                bootargs=bootargs,
            )
        )  # fmt: skip

    # --- running ---

    def halt(self, code: int, message: str) -> None:
        """A device or the host ends the machine; the next run() reports it."""
        if self.halted is None:
            self.halted = (code, message)

    def restart(self) -> None:
        """A device or the host asks for a reset: before the next instruction all is as it was booted, but for disks,
        the real-time clock and what was typed. Without a recipe the machine ends."""
        if self.recipe is None:
            self.halt(0, "the guest asked for a reset")
        else:
            self._restarting = True

    def _restart(self) -> None:
        assert self.recipe is not None
        self._restarting = False
        self.resets += 1
        now = self.rtc.now
        for region in self.memory.regions:
            for page in list(self.touched_pages(region)) if region.writable else ():
                self.memory.fill(region.base + page * 4096, 4096)
        if self.htif is not None:
            lib.machine_watch(self._native, self.htif.tohost, 8, 0)
        self.htif, self.host, self.symbols = None, None, Symbols()
        for hart in self.harts:
            hart.reset(0)
        lib.machine_set_schedule(self._native, [0, 0, *self._schedule()[2:4], 0])
        for device in (*self.devices.values(), self.plic):  # again: the wires fell only after it
            device.reset()
        self.rtc.set(now)
        try:
            self.recipe.start(self)
        except EmulatorError as error:
            self.halt(RESET_FAILED, f"the guest asked for a reset, which cannot be: {error}")
        self.stops.renew()

    def stop(self) -> None:
        """Ask a run in progress, from any thread, to come back with STOPPED soon."""
        lib.machine_stop(self._native)

    def step(self, hart: int | None = None) -> Exit:
        """One step, breakpoints or not: of the hart whose turn it is, or until hart number `hart` has made one."""
        wanted = None if hart is None else self.harts[hart]
        start = None if wanted is None else wanted.progress
        for _ in range(1 if wanted is None else MOST_TURNS):
            lib.machine_skip_breakpoint(self._native)
            exit = self.run(1)
            if exit.reason is not ExitReason.BUDGET or wanted is None or wanted.progress != start:
                break
        return exit

    def resume(self, budget: int, until: int = CLOCK_LIMIT) -> Exit:
        """As `run`, going on from a breakpoint that stands at pc."""
        lib.machine_skip_breakpoint(self._native)
        return self.run(budget, until)

    def run(self, budget: int, until: int = CLOCK_LIMIT) -> Exit:
        """Run at most `budget` steps (instructions retired plus traps taken), and not past clock `until`.

        Device accesses and what the host answers for are dealt with here. Comes back for BUDGET, BREAKPOINT,
        WATCHPOINT, EVENT (other `stops`), IDLE (all wait, and no timer is set), STOPPED, TRAP_LOOP and HALTED.
        """
        granted = budget
        out = self._exit
        if self.htif is not None and self.htif.reading and self.console.input:
            self.htif.poke(self.memory)  # input has come for a getchar that waits
        while True:
            if self._restarting:
                self._restart()
            if self.halted is not None:
                over = Exit(ExitReason.HALTED, code=self.halted[0], message=self.halted[1])
                return self._done(over, granted - budget)
            limit = until
            if (due := self.rtc.due()) is not None:
                alarm = self._clock_at(due)
                if alarm <= self.reached:
                    self.rtc.tick()
                    continue
                limit = min(until, alarm)
            grant = budget
            if self.host is not None and budget:
                grant = min(budget, self.host.schedule(budget, limit))
                if self.stops.looking and (stood := self._stand(None, Exit(ExitReason.BUDGET))) is not None:
                    return self._done(stood, granted - budget)
                if not grant and self.reached >= limit:
                    if limit < until:
                        continue  # for the clock's alarm
                    return self._done(Exit(ExitReason.BUDGET), granted - budget)
                if not grant:
                    return self._done(self.host.finished or Exit(ExitReason.IDLE), granted - budget)
            self.enter(self._native, grant, limit, out)
            executed = int(out.executed)
            budget -= executed
            self.executed += executed
            reason = ExitReason(out.reason)
            if reason in (ExitReason.MMIO_READ, ExitReason.MMIO_WRITE):
                self._device_access(out)
                if self.halted is not None or self._restarting or self.stops.heard:
                    budget -= self._finish_access()
                if self.stops.heard:
                    printed = Exit(ExitReason.EVENT, int(out.hart))
                    if self.halted is None and (stood := self._stand(None, printed)) is not None:
                        return self._done(stood, granted - budget)
                continue
            exit = Exit(
                reason, int(out.hart), int(out.address), int(out.value), int(out.size), int(out.kind), int(out.cause),
                executed,
            )  # fmt: skip
            if reason is ExitReason.WATCHPOINT and self._is_htif(exit) and self.htif is not None:
                self.htif.poke(self.memory)
                if not self._watched(exit) and not self.stops.looking:
                    continue
            if reason is ExitReason.IDLE:
                return self._done(exit, granted - budget)  # a host's guests idle by trapping: here all harts are halted
            answer = None if reason is ExitReason.BUDGET else exit
            if self.host is not None:
                answer = self.host.ran(executed, exit)
            if len(self.stops):
                answer = self._stand(answer, exit)
            if answer is None and (reason is not ExitReason.BUDGET or (budget and self.reached < until)):
                continue
            return self._done(answer or exit, granted - budget)

    def _stand(self, answer: Exit | None, exit: Exit) -> Exit | None:
        """What an `exit` of the harts, which would end the run with `answer`, comes to by the stops: an answer that
        says which are reached, or None to go on."""
        hits = self.stops.judge(exit)
        match exit.reason:
            case ExitReason.BREAKPOINT if not hits and exit.address not in self.breakpoints:
                lib.machine_skip_breakpoint(self._native)
                return None
            case ExitReason.WATCHPOINT if not hits and not self._watched(exit):
                return None
            case ExitReason.EVENT if not hits:
                return None
        if answer is None and hits:
            answer = exit if exit.reason is ExitReason.EVENT else Exit(ExitReason.EVENT, hits[0].hart)
        return answer if answer is None else replace(answer, hits=hits)

    @staticmethod
    def _done(exit: Exit, executed: int) -> Exit:
        return replace(exit, executed=executed)

    def _device_access(self, out: Any) -> None:
        address, size = int(out.address), int(out.size)
        value = 0
        if out.reason == ExitReason.MMIO_READ:
            value = self.bus.read(address, size) or 0
        else:
            self.bus.write(address, size, int(out.value))
        lib.machine_complete(self._native, value)

    def _finish_access(self) -> int:
        """The access that ended the machine is an instruction too: let it retire, so that the state is whole. Returns
        how many instructions that took."""
        lib.machine_run(self._native, 1, CLOCK_LIMIT, self._exit)
        self.executed += (executed := int(self._exit.executed))
        return executed

    # --- watching ---

    def watch(self, address: int, length: int, kinds: int) -> None:
        """Stop behind instructions that touch [address, address+length) of RAM: kinds 1 read, 2 write, 3 both, 0 none.

        ConfigurationError where there is no RAM, or beyond 64 ranges.
        """
        if lib.machine_watch(self._native, address, length, kinds | self._htif_kind(address, length)):
            raise ConfigurationError(f"cannot watch {length} bytes at {address:#x}: not RAM, or 64 watches are set")
        if kinds:
            self._watches[address, length] = kinds
        else:
            self._watches.pop((address, length), None)

    @property
    def watches(self) -> list[tuple[int, int, int]]:
        """(address, length, kinds), ascending."""
        return sorted((*where, kinds) for where, kinds in self._watches.items())

    def _htif_kind(self, address: int, length: int) -> int:
        return 2 if self.htif is not None and (address, length) == (self.htif.tohost, 8) else 0

    def _is_htif(self, exit: Exit) -> bool:
        near = self.htif is not None and self.htif.tohost - 8 < exit.address < self.htif.tohost + 8
        return near and bool(exit.kind & 2)

    def _watched(self, exit: Exit) -> bool:
        return any(
            kinds & exit.kind and exit.address < address + length and address < exit.address + exit.size
            for address, length, kinds in self.watches
        )

    # --- state ---

    def touched_pages(self, region: Region) -> Iterable[int]:
        """Indexes of the pages of a region that were ever written, ascending."""
        flags = lib.machine_page_flags(self._native, region.base)
        written = bytes(ffi.buffer(flags, region.size >> 12))
        return [found.start() for found in _TOUCHED.finditer(written)]

    def state(self) -> dict[str, Any]:
        """Everything but the contents of memory, as plain values; `from_state` makes the machine again."""
        return {
            "config": {
                "memory": self.ram_size,
                "harts": len(self.harts),
                "ram_base": self.ram_base,
                "isa": str(self.isa),
                "guest_interrupts": self.guest_interrupts,
                "virtio": self.virtio.configuration(),
                "flash": [bank.configuration() for bank in self.flash],
            },
            "boot": None if self.recipe is None else self.recipe.state(),
            "resets": self.resets,
            "image": self.image,
            "programs": list(self.programs),
            "executed": self.executed,
            "halted": None if self.halted is None else list(self.halted),
            "schedule": self._schedule(),
            "harts": [hart.state() for hart in self.harts],
            "devices": {name: device.state() for name, device in self.devices.items()},
            "console": self.console.state(),
            "htif": None if self.htif is None else [self.htif.tohost, self.htif.fromhost, self.htif.state()],
            "breakpoints": list(self.breakpoints),
            "watches": [list(watch) for watch in self.watches],
            "symbols": [list(symbol) for symbol in self.symbols],
            "host": None if self.host is None else self.host.state(),
            "network": self.hub.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Machine:
        """A machine in this state, with empty memory. StateError where the state is not one of a machine's."""
        try:
            config = state["config"]
            machine = cls(
                memory=int(config["memory"]), harts=int(config["harts"]), ram_base=int(config["ram_base"]),
                isa=str(config["isa"]), guest_interrupts=int(config["guest_interrupts"]),
                flash=[Flash(*row or (), trusted=False) for row in config["flash"]],
            )  # fmt: skip
            machine.virtio.attach_again(config["virtio"])
            machine._restore(state)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise StateError(f"saved state of the machine: {type(error).__name__} at {str(error)[:80]}") from None
        except (ConfigurationError, LoadError) as error:
            raise StateError(f"saved state of the machine: {error}") from None
        return machine

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.image = str(state["image"])
        self.programs = [str(digest) for digest in state.get("programs", ())]
        self.executed = int(state["executed"])
        if self.executed < 0:
            raise StateError("saved state of the machine: it has executed less than nothing")
        if (recipe := state["boot"]) is not None:
            from .boot import Recipe

            self.recipe = Recipe.from_state(recipe)
        self.resets = int(state["resets"])
        halted = state["halted"]
        self.halted = None if halted is None else (int(halted[0]), str(halted[1]))
        self.symbols = Symbols(loader.Symbol(int(a), int(s), str(n), bool(f)) for a, s, n, f in state["symbols"])
        if len(state["harts"]) != len(self.harts) or set(state["devices"]) != set(self.devices):
            raise StateError("saved state of the machine: its harts or devices are others")
        for hart, saved in zip(self.harts, state["harts"], strict=True):
            hart.restore(saved)
        schedule = [int(v) for v in state["schedule"]]
        if len(schedule) != 5 or not 0 < schedule[2] <= 1 << 32 or not schedule[3] or schedule[1] >= len(self.harts):
            raise StateError("saved state of the machine: its schedule is damaged")
        start, _, quantum, _, _ = schedule
        if len(self.harts) > 1 and not all(start <= hart.clock <= start + quantum for hart in self.harts):
            raise StateError("saved state of the machine: the clocks of its harts do not fit its schedule")
        lib.machine_set_schedule(self._native, schedule)
        self.console.restore(state["console"])
        for name, device in self.devices.items():
            device.restore(state["devices"][name])
        if state["htif"] is not None:
            tohost, fromhost, saved = state["htif"]
            self._attach_htif(int(tohost), None if fromhost is None else int(fromhost))
            if self.htif is not None:
                self.htif.restore(saved)
        for address in state["breakpoints"]:
            self.breakpoints.add(int(address))
        for address, length, kinds in state["watches"]:
            self.watch(int(address), int(length), int(kinds))
        if (host := state["host"]) is not None:
            from .firmware import Firmware
            from .vmm import Hypervisor

            self.host = (Firmware if "firmware" in host else Hypervisor).from_state(self, host)
        self.hub.restore(state["network"])

    def state_hash(self) -> str:
        """SHA-256 over the whole state and all memory that is not zero: equal for equal machines, in any process."""
        digest = hashlib.sha256()
        _feed(self.state(), digest.update)
        for region in self.memory.regions:
            view = memoryview(region.buffer)
            for page in region.pages_nonzero(self.touched_pages(region)):
                digest.update((region.base + page * 4096).to_bytes(8, "little"))
                digest.update(view[page * 4096 : page * 4096 + 4096])
            view.release()
        return digest.hexdigest()


def _feed(value: Any, update: Callable[[bytes], None]) -> None:
    """A canonical byte form: type letter, length, content."""
    match value:
        case None | bool():
            update(b"n" if value is None else b"t" if value else b"f")
        case int():
            update(b"i%d;" % value)
        case str() | bytes() | bytearray():
            data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            update(b"s%d;" % len(data))
            update(bytes(data))
        case Mapping():
            update(b"m%d;" % len(value))
            for key in sorted(value):
                _feed(key, update)
                _feed(value[key], update)
        case _:
            update(b"l%d;" % len(value))
            for item in value:
                _feed(item, update)


__all__ = ["Exit", "ExitReason", "Host", "Machine", "Mode"]
