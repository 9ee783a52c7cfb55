"""The built-in firmware: it plays M-mode of a bare machine, so that a kernel boots in S-mode with nothing else.

A hart that traps into M-mode leaves its run, and the call is answered here. What S-mode finds is what OpenSBI leaves
it, with one difference that it cannot see: OpenSBI takes illegal instructions, misaligned accesses and access faults
first, emulates what a hart lacks and hands on the rest; these harts lack nothing, so all are delegated at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from emulator import sbi
from emulator.errors import StateError
from emulator.hart import Exit, ExitReason, Hart, Mode
from emulator.pmu import HartCounters, Pmu

if TYPE_CHECKING:
    from emulator.console import Console
    from emulator.machine import Machine

ECALL_S: Final = 9
SUPERVISOR_TRAPS: Final = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15})
"""Exceptions that S-mode is to see ("Machine Trap Delegation Registers")."""
HYPERVISOR_TRAPS: Final = frozenset({10, 20, 21, 22, 23})
"""Those of the H extension: calls from VS-mode, guest-page faults, virtual instructions."""
SSIP, STIP, MTIP, SEIP, LCOFIP = 1 << 1, 1 << 5, 1 << 7, 1 << 9, 1 << 13
MACHINE_TIMER: Final = 1 << 63 | 7
STCE, PBMTE, CBZE, CBCFE, CBIE_FLUSH = 1 << 63, 1 << 62, 1 << 7, 1 << 6, 1 << 4
SIE, MIE, MPIE, FS_DIRTY = 1 << 1, 1 << 3, 1 << 7, 3 << 13
MPP_SHIFT, MPP, MPV, MPRV = 11, 3 << 11, 1 << 39, 1 << 17
NEVER: Final = (1 << 64) - 1
DEAD: Final = 3
"""Exit code of a machine that cannot go on."""

SETUP: Final = {
    "medeleg": sum(1 << cause for cause in SUPERVISOR_TRAPS | HYPERVISOR_TRAPS),
    "mideleg": SSIP | STIP | SEIP | LCOFIP,
    "mcounteren": 0xFFFF_FFFF,
    "menvcfg": STCE | PBMTE | CBZE | CBCFE | CBIE_FLUSH,
    "mstateen0": 0x7F << 57,  # all that are defined in the upper half: SE, ENVCFG, those of AIA, context
    "pmpaddr0": (1 << 54) - 1,  # one NAPOT entry over everything: without a match S-mode may touch nothing
    "pmpcfg0": 0x1F,
}
"""How firmware leaves M-mode's registers to any S-mode; the built-in hypervisor begins with them too."""
START: Final = {**SETUP, **HartCounters.SETUP, "mie": 0, "scounteren": 7, "stimecmp": NEVER, "satp": 0, "sie": 0}


class FirmwareHart:
    """A hart as SBI knows it."""

    def __init__(self, firmware: Firmware, hart: Hart) -> None:
        self.domain, self.hart, self.index = firmware, hart, hart.index
        self.suspended = False
        """In hart_suspend, as long as it waits."""
        self.pmu = Pmu(HartCounters(hart))

    @property
    def x(self) -> Any:
        return self.hart.x

    @property
    def hsm_state(self) -> int:
        if self.hart.halted:
            return sbi.STOPPED
        return sbi.SUSPENDED if self.suspended and self.hart.waiting else sbi.STARTED

    def set_timer(self, time: int) -> None:
        """Without Sstc by way of M-mode's own comparator: STIP follows MTIP ("Machine Timer (mtime and mtimecmp)
        Registers")."""
        if "Sstc" in self.hart.isa:
            self.hart.set_csr("stimecmp", time)
            return
        self.hart.mtimecmp = time
        self.hart.set_pending(STIP, False)
        self.hart.set_csr("mie", self.hart.csr("mie") | MTIP)

    def timer_expired(self) -> None:
        self.hart.set_csr("mie", self.hart.csr("mie") & ~MTIP)
        self.hart.set_pending(STIP, True)

    def set_software_interrupt(self, level: bool) -> None:
        # By way of sip: a value written back to mip would keep the SEIP that comes from the interrupt controller.
        pending = self.hart.csr("sip") & ~SSIP
        self.hart.set_csr("sip", pending | SSIP if level else pending)

    def start(self, pc: int, opaque: int) -> None:
        hart = self.hart
        hart.set_csrs(START)
        hart.set_pending(STIP, False)
        hart.host_modes = {Mode.M}
        self.resume_at(pc, opaque)
        hart.halted = hart.waiting = self.suspended = False
        self.pmu.reset()

    def resume_at(self, pc: int, opaque: int) -> None:
        hart = self.hart
        hart.set_csr("satp", 0)
        hart.set_csr("mstatus", hart.csr("mstatus") & ~(SIE | MIE | MPRV) | FS_DIRTY)
        hart.flush_translation()
        hart.x[sbi.A0], hart.x[sbi.A1] = self.index, opaque
        hart.pc = pc
        hart.mode = Mode.HS

    def stop(self) -> None:
        self.hart.halted = True
        self.domain.stopped()

    def suspend(self) -> None:
        self.hart.waiting = self.suspended = True

    def read_virtual(self, address: int, length: int) -> bytes:
        return self.hart.read_virtual(address, length, mode=Mode.HS)


class Firmware:
    """Implements emulator.machine.Host for all harts of `machine`, and emulator.sbi.Domain for who calls.

    Made when the machine has booted into a kernel (pc, a1): hart 0 goes on there in S-mode, the others are stopped.
    """

    def __init__(self, machine: Machine) -> None:
        self._attach(machine)
        for hart in machine.harts[1:]:
            hart.halted = True
        first = self.callers[0]
        first.start(first.hart.pc, first.hart.x[sbi.A1])

    def _attach(self, machine: Machine) -> None:
        self.machine = machine
        self.hypervisor_extension = "H" in machine.isa
        self.callers = [FirmwareHart(self, hart) for hart in machine.harts]
        self.calls: Counter[str] = Counter()
        """SBI calls by name."""

    # Host

    def schedule(self, remaining: int, until: int) -> int:
        return remaining

    def ran(self, executed: int, exit: Exit) -> Exit | None:
        if exit.reason is ExitReason.TRAP:
            self._trap(self.callers[exit.hart])
            return None
        return None if exit.reason is ExitReason.BUDGET else exit

    @property
    def finished(self) -> Exit | None:
        return None

    def _trap(self, caller: FirmwareHart) -> None:
        hart = caller.hart
        cause, pc = hart.csr("mcause"), hart.csr("mepc")
        if cause == MACHINE_TIMER:
            caller.timer_expired()
            _leave_machine_mode(hart, pc)
            return
        if cause != ECALL_S:
            self.machine.halt(DEAD, f"hart {caller.index}: a trap into M-mode, cause {cause:#x}, pc={pc:#x}")
            return
        _leave_machine_mode(hart, pc + 4)
        self.calls[sbi.call(caller)] += 1

    # Domain

    @property
    def console(self) -> Console:
        return self.machine.console

    def machine_csr(self, name: str) -> int:
        return self.machine.harts[0].csr(name)

    def fence(self, targets: Sequence[sbi.Caller]) -> None:
        for each in targets:
            self.machine.harts[each.index].flush_translation()

    def has_memory(self, address: int, length: int) -> bool:
        region = self.machine.memory.find(address, length)
        return region is not None and region.writable

    def read(self, address: int, length: int) -> bytes:
        return self.machine.memory.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        self.machine.memory.write(address, data)

    def receive(self, limit: int) -> bytes:
        data = bytearray()
        while len(data) < limit and (byte := self.console.get()) is not None:
            data.append(byte)
        return bytes(data)

    def end(self, code: int, message: str) -> None:
        self.machine.halt(code, f"the kernel {message}")

    def reboot(self, code: int) -> None:
        if self.machine.recipe is None:
            self.end(code, "asked for a reboot: start it anew")
        else:
            self.machine.restart()

    def stopped(self) -> None:
        if all(hart.halted for hart in self.machine.harts):
            self.machine.halt(DEAD, "the last running hart stopped itself by SBI hart_stop: nothing starts one again")

    # Snapshots

    def state(self) -> dict[str, Any]:
        return {
            "firmware": {
                "suspended": [caller.suspended for caller in self.callers],
                "calls": dict(sorted(self.calls.items())),
                "counters": [caller.pmu.state() for caller in self.callers],
            }
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state; the harts are restored by the machine. Raises StateError."""
        match state:
            case {"firmware": {"suspended": list(suspended), "calls": dict(calls), "counters": list(counters)}} if (
                len(suspended) == len(counters) == len(self.callers)
                and all(isinstance(each, bool) for each in suspended)
                and all(isinstance(name, str) and isinstance(count, int) for name, count in calls.items())
            ):
                pass
            case _:
                raise StateError("saved firmware: a field is missing or of the wrong kind")
        for caller, each, saved in zip(self.callers, suspended, counters, strict=True):
            caller.suspended = each
            caller.pmu.restore(saved)
        self.calls = Counter(calls)

    @classmethod
    def from_state(cls, machine: Machine, state: Mapping[str, Any]) -> Firmware:
        """For a machine whose harts are restored already. Raises StateError."""
        self = cls.__new__(cls)
        self._attach(machine)
        self.restore(state)
        return self


def _leave_machine_mode(hart: Hart, pc: int) -> None:
    """What MRET does ("Trap-Return Instructions")."""
    status = hart.csr("mstatus")
    mode = Mode.of(status >> MPP_SHIFT & 3, bool(status & MPV))
    status = status & ~(MPP | MPV | MIE) | MPIE | (MIE if status & MPIE else 0)
    hart.set_csr("mstatus", status if mode is Mode.M else status & ~MPRV)
    hart.pc = pc
    hart.mode = mode
