"""A virtual CPU: the registers of a guest's hart, in a real hart while it is loaded there and kept here otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from emulator import sbi
from emulator.devices.fields import Bits, Number, Numbers, Shape, Stateful
from emulator.errors import ConfigurationError, StateError
from emulator.hart import Hart, Mode, Registers
from emulator.isa import csrs
from emulator.pmu import CODE, CYCLE, INSTRET, Pmu

if TYPE_CHECKING:
    from emulator.vmm.vm import Vm

MASK64 = (1 << 64) - 1
NEVER = MASK64

# hvip, hip and hie number the VS interrupts 2, 6, 10; vsip and vsie see them as 1, 5, 9.
VSSI, VSTI, VSEI = 2, 6, 10
VS_INTERRUPTS = 1 << VSSI | 1 << VSTI | 1 << VSEI

SSTATUS_SIE, SSTATUS_SPIE, SSTATUS_SPP = 1 << 1, 1 << 5, 1 << 8
SSTATUS_FS_INITIAL = 1 << 13
HSTATUS_SPV, HSTATUS_SPVP, HSTATUS_VTW = 1 << 7, 1 << 8, 1 << 21

# What a world switch exchanges. scounteren and senvcfg have no VS twin, so the guest owns the real ones while it runs;
# sstatus and hstatus are HS-mode's own, but hold FS, SPP and SPVP of this guest.
CSRS = (
    "sstatus", "hstatus", "scounteren", "senvcfg", "vsstatus", "vsie", "vstvec", "vsscratch", "vsepc", "vscause",
    "vstval", "hvip", "vsatp", "htimedelta", "vstimecmp", "fcsr",
)  # fmt: skip
NUMBERS = {name: csrs.BY_NAME[name].number for name in CSRS}
FAR = 1 << 62
"""Instructions: more than any slice."""
RESET = {
    "sstatus": SSTATUS_SPP | SSTATUS_SPIE | SSTATUS_FS_INITIAL,
    "hstatus": HSTATUS_VTW | HSTATUS_SPV | HSTATUS_SPVP | 2 << 32,  # VSXL: 64
    "scounteren": 7,
    "vsstatus": 2 << 32,  # UXL: 64
    "vstimecmp": NEVER,
}

STATES = ("ready", "idle", "stopped", "ended")

REGISTERS = {
    **{f"x{index}": ("x", index) for index in range(32)},
    **{f"f{index}": ("f", index) for index in range(32)},
    **{name: (name, 0) for name in ("pc", "mode", *CSRS)},
}


class GuestCounters(Stateful):
    """Cycles and instructions of a vCPU, which are the same: those that it executed. Its reads of them are exits, so
    that they need no place in the hart, and cannot tell when they overflow."""

    name = "counters of a vCPU"
    counters: tuple[int, ...] = (CYCLE, INSTRET)
    EVENTS: Final = {CYCLE: CODE["CYCLES"], INSTRET: CODE["INSTRUCTIONS"]}
    fields: Mapping[str, Shape] = {"bases": Numbers(3, Number(MASK64)), "running": Bits(1 << CYCLE | 1 << INSTRET)}

    def __init__(self, vcpu: Vcpu) -> None:
        self.vcpu = vcpu
        self.bases = [0, 0, 0]
        """What is to be added; of one that stands still, its value."""
        self.running = 1 << CYCLE | 1 << INSTRET

    def serves(self, counter: int, event: int) -> bool:
        return event == self.EVENTS[counter]

    def configure(self, counter: int, event: int, inhibit: int) -> None:
        """Filters are hints."""

    def release(self, counter: int) -> None:
        self.start(counter)

    def read(self, counter: int) -> int:
        counted = self.vcpu.instructions if self.running >> counter & 1 else 0
        return counted + self.bases[counter] & MASK64

    def set(self, counter: int, value: int) -> None:
        counted = self.vcpu.instructions if self.running >> counter & 1 else 0
        self.bases[counter] = value - counted & MASK64

    def start(self, counter: int) -> None:
        self._run(counter, 1)

    def stop(self, counter: int) -> None:
        self._run(counter, 0)

    def _run(self, counter: int, level: int) -> None:
        value = self.read(counter)
        self.running = self.running & ~(1 << counter) | level << counter
        self.set(counter, value)


class Vcpu:
    """Registers have the names x0..x31, f0..f31 (raw 64-bit patterns), pc, mode (3 VS, 4 VU), and those of CSRS.

    The guest's own view of its CSRs is in the vs ones: its satp is vsatp.
    """

    registers = tuple(REGISTERS)

    def __init__(self, vm: Vm, index: int) -> None:
        self.vm = vm
        self.index = index
        self.status = "stopped"
        """"ready", "idle" (waits for an interrupt), "stopped" (until HSM starts it) or "ended"."""
        self.suspended = False
        """Idle by HSM's hart_suspend, not by WFI."""
        self.instructions = 0
        """Retired in VS- and VU-mode."""
        self.stuck = 0
        """Exits since an instruction retired before one."""
        self.marked = 0
        """`instructions` at the last exit."""
        self.counters = GuestCounters(self)
        self.pmu = Pmu(self.counters)
        self.hart: Hart | None = None
        """The hart that holds the registers now."""
        self.inside = False
        """The hart executes this guest, rather than standing in HS-mode after an exit."""
        self._pc = 0
        self._mode = Mode.VS
        self._x = [0] * 32
        self._f = [0] * 32
        self._csrs = dict.fromkeys(CSRS, 0)
        self._numbers = {name: number for name, number in NUMBERS.items() if vm.hypervisor.hart.has_csr(number)}
        """Of the registers that the hart has; the others are kept here always: without Sstc the guest's timer."""

    def __repr__(self) -> str:
        return f"<Vcpu {self.vm.name}/{self.index} {self.state}>"

    @property
    def state(self) -> str:
        """"running" when it is the one that the hart executes, else as `status`."""
        running = self.status == "ready" and self.vm.hypervisor.current is self
        return "running" if running else self.status

    # Registers

    @property
    def pc(self) -> int:
        """Address of its next instruction, wherever its registers are now."""
        return self.hart.pc if self.hart is not None and self.inside else self._pc

    @pc.setter
    def pc(self, value: int) -> None:
        self._pc = value & MASK64
        if self.hart is not None and self.inside:
            self.hart.pc = self._pc

    @property
    def mode(self) -> Mode:
        """VS or VU."""
        return self.hart.mode if self.hart is not None and self.inside else self._mode

    @mode.setter
    def mode(self, value: int) -> None:
        if value not in (Mode.VS, Mode.VU):
            raise ConfigurationError(f"vCPU mode {value}: a guest is in mode 3 (VS) or 4 (VU)")
        if self.hart is not None and self.inside:
            self.hart.mode = Mode(value)
        self._mode = Mode(value)

    @property
    def x(self) -> Registers | list[int]:
        """The integer registers; what is written must be 0..2^64-1, and not to x0."""
        return self.hart.x if self.hart else self._x

    @property
    def f(self) -> Registers | list[int]:
        """The floating-point registers, as raw 64-bit patterns."""
        return self.hart.f if self.hart else self._f

    def get_reg(self, name: str) -> int:
        """Raises ConfigurationError for a name that is not in `registers`."""
        if name in self._csrs:
            return self.hart.csr(name) if self.hart and name in self._numbers else self._csrs[name]
        match self._register(name):
            case "x", index:
                return self.x[index]
            case "f", index:
                return self.f[index]
            case "pc", _:
                return self.pc
        return int(self.mode)

    def set_reg(self, name: str, value: int) -> None:
        """`value` is taken modulo 2^64; CSRs make it legal when they next meet the hart."""
        value &= MASK64
        match self._register(name):
            case "x", 0:
                pass
            case "x", index:
                self.x[index] = value
            case "f", index:
                self.f[index] = value
            case "pc", _:
                self.pc = value
            case "mode", _:
                self.mode = Mode(value) if value in (3, 4) else value
            case _ if self.hart and name in self._numbers:
                self.hart.set_csr(name, value)
            case _:
                self._csrs[name] = value

    def _register(self, name: str) -> tuple[str, int]:
        try:
            return REGISTERS[name]
        except KeyError:
            raise ConfigurationError(f"vCPU {self.vm.name}/{self.index} has no register {name!r}") from None

    def reset(self, pc: int, opaque: int = 0) -> None:
        """As SBI says a hart starts: S-mode, paging and interrupts off, a0 = hart id, a1 = `opaque`."""
        for name in self.registers:
            if name not in ("pc", "mode"):
                self.set_reg(name, RESET.get(name, 0))
        self.set_reg("htimedelta", self.vm.time_delta)
        self.resume_at(pc, opaque)
        self.status, self.suspended, self.stuck = "ready", False, 0
        self.counters = self.pmu.hardware = GuestCounters(self)
        self.pmu.reset()

    # What SBI asks of a hart (emulator.sbi.Caller)

    @property
    def domain(self) -> Vm:
        """For SBI: whose harts it can reach, its VM."""
        return self.vm

    @property
    def hsm_state(self) -> int:
        """As SBI HSM numbers states ("Hart State Management Extension")."""
        return sbi.STOPPED if self.status == "stopped" else sbi.SUSPENDED if self.suspended else sbi.STARTED

    def set_timer(self, time: int) -> None:
        """SBI TIME: the timer interrupt comes when `time` has come to this many ticks."""
        self.set_reg("vstimecmp", time)
        self.until_timer()

    def until_timer(self) -> int:
        """How many instructions may run before this must be asked again. Without Sstc no hart compares time and
        vstimecmp: then it is done here, and hvip.VSTIP says what came of it."""
        if "vstimecmp" in self._numbers:
            return FAR
        compare, now = self.get_reg("vstimecmp"), self.time
        self.interrupt(VSTI, now >= compare)
        hart = self.vm.hypervisor.hart
        if now >= compare or compare - now >= 1 << 52:
            return FAR
        return hart.clock_at_time(hart.time + compare - now) - hart.clock

    def set_software_interrupt(self, level: bool) -> None:
        """SBI IPI: raise or lower VSSI."""
        self.interrupt(VSSI, level)

    def start(self, pc: int, opaque: int) -> None:
        """SBI HSM: run from `pc` on, with `opaque` in a1."""
        self.reset(pc, opaque)

    def resume_at(self, pc: int, opaque: int) -> None:
        """SBI HSM: after a non-retentive suspend, at `pc` with `opaque` in a1."""
        self.set_reg("vsatp", 0)
        self.set_reg("vsstatus", self.get_reg("vsstatus") & ~SSTATUS_SIE)
        self.mode = Mode.VS
        self.pc = pc
        self.set_reg("x10", self.index)
        self.set_reg("x11", opaque)

    def stop(self) -> None:
        """SBI HSM: stand still until somebody starts it."""
        self.status = "stopped"
        if all(each.status == "stopped" for each in self.vm.vcpus):
            self.vm.stop("its last running vCPU stopped itself by SBI hart_stop: nothing can start one again")

    def suspend(self) -> None:
        """SBI HSM: wait until an interrupt wakes it."""
        self.vm.hypervisor.wait(self)
        self.suspended = self.status == "idle"

    def read_virtual(self, address: int, length: int) -> bytes:
        """Memory at a virtual address, in its mode; it must be the one on the hart. TranslationError."""
        return self.vm.hypervisor.read_virtual(self, address, length)

    # World switch

    def load(self, hart: Hart) -> None:
        """Put the registers into `hart`, which is in HS-mode; follow with enter()."""
        hart.set_csr("vsatp", 0)  # no walk may mix this guest's vsatp with another's hgatp
        hart.set_csr("hgatp", self.vm.hgatp)
        for name, number in self._numbers.items():
            hart.set_csr(number, self._csrs[name])
        hart.x.load(self._x)
        hart.f.load(self._f)
        self.hart = hart

    def save(self) -> None:
        """Take the registers out of the hart."""
        hart = self.hart
        assert hart is not None
        if self.inside:
            self._pc, self._mode = hart.pc, hart.mode
        self._x, self._f = list(hart.x), list(hart.f)
        self._csrs |= {name: hart.csr(number) for name, number in self._numbers.items()}
        if self.inside:
            hart.mode = Mode.HS
        self.hart, self.inside = None, False

    def enter(self) -> None:
        """What SRET does on the way into the guest."""
        hart = self.hart
        assert hart is not None
        hart.set_csr("sepc", self._pc)
        hart.pc = self._pc
        hart.mode = self._mode
        self.inside = True

    def leave(self) -> None:
        """After a trap into HS-mode: note where the guest stands. Manual: "Trap Entry"."""
        self.stuck = self.stuck + 1 if self.instructions == self.marked else 0
        self.marked = self.instructions
        hart = self.hart
        assert hart is not None
        self.inside = False
        self._pc = hart.csr("sepc")
        self._mode = Mode.VS if hart.csr("sstatus") & SSTATUS_SPP else Mode.VU

    # Traps and interrupts

    def inject(self, cause: int, value: int) -> None:
        """Redirect an exception into the guest's VS-mode, as if it had been delegated there."""
        status = self.get_reg("vsstatus") & ~(SSTATUS_SPP | SSTATUS_SPIE)
        if self.mode is Mode.VS:
            status |= SSTATUS_SPP
        if status & SSTATUS_SIE:
            status |= SSTATUS_SPIE
        self.set_reg("vsstatus", status & ~SSTATUS_SIE)
        self.set_reg("vsepc", self.pc)
        self.set_reg("vscause", cause)
        self.set_reg("vstval", value)
        self.mode = Mode.VS
        self.pc = self.get_reg("vstvec") & ~3

    def interrupt(self, bit: int, level: bool = True) -> None:
        """Raise or lower VSSI, VSTI or VSEI in hvip."""
        pending = self.get_reg("hvip")
        self.set_reg("hvip", pending | 1 << bit if level else pending & ~(1 << bit))

    def wire(self, bit: int, level: bool) -> None:
        """An interrupt controller drives SEIP, by its bit of mip: VSEI for the guest."""
        if bit == VSEI - 1:
            self.interrupt(VSEI, level)

    @property
    def time(self) -> int:
        """What the guest reads from `time`."""
        return (self.vm.hypervisor.hart.time + self.get_reg("htimedelta")) & MASK64

    def has_interrupt(self) -> bool:
        """Whether WFI would return: an interrupt that vsie enables is pending, whatever vsstatus.SIE says."""
        pending = self.get_reg("hvip")
        if self.time >= self.get_reg("vstimecmp"):
            pending |= 1 << VSTI
        return bool((pending & VS_INTERRUPTS) >> 1 & self.get_reg("vsie"))

    def ticks_to_timer(self) -> int | None:
        """Ticks of `time` until the guest's timer interrupt would wake it; None when it is off or beyond all reach."""
        compare, now = self.get_reg("vstimecmp"), self.time
        if not self.get_reg("vsie") >> (VSTI - 1) & 1 or compare - now >= 1 << 52:
            return None
        return max(compare - now, 0)

    # Snapshots

    def snapshot(self) -> dict[str, Any]:
        """Its whole state as plain values; without registers where they are on the hart."""
        kept = {"x": self._x, "f": self._f, "csrs": [self._csrs[name] for name in CSRS]}
        return {
            "status": self.status,
            "suspended": self.suspended,
            "instructions": self.instructions,
            "stuck": self.stuck,
            "marked": self.marked,
            "pc": self.pc,
            "mode": int(self.mode),
            "counters": self.counters.state(),
            "pmu": self.pmu.state(),
            "registers": None if self.hart else {name: list(values) for name, values in kept.items()},
            **({} if "vstimecmp" in self._numbers else {"timer": self._csrs["vstimecmp"]}),
        }

    def restore(self, state: object, hart: Hart) -> None:
        """`hart` holds the registers of the vCPU whose state has none. Raises StateError."""
        where = f"saved vCPU {self.vm.name}/{self.index}"
        match state:
            case {
                "status": str(status), "suspended": bool(suspended), "instructions": int(instructions),
                "stuck": int(stuck), "marked": int(marked), "pc": int(pc), "mode": (3 | 4) as mode,
                "counters": counters, "pmu": pmu, "registers": registers,
            } if status in STATES:  # fmt: skip
                pass
            case _:
                raise StateError(f"{where}: a field is missing or of the wrong kind")
        match registers:
            case None:
                self.hart, self.inside = hart, hart.mode.virtual
            case {"x": list(x), "f": list(f), "csrs": list(csrs)}:
                if not all(fits(v, n) for v, n in ((x, 32), (f, 32), (csrs, len(CSRS)))):
                    raise StateError(f"{where}: registers must be 64-bit numbers, as many as there are")
                self.hart, self._x, self._f = None, list(x), list(f)
                self._csrs = dict(zip(CSRS, csrs, strict=True))
            case _:
                raise StateError(f"{where}: its registers are damaged")
        if "vstimecmp" not in self._numbers:
            match state:
                case {"timer": int(timer)} if fits([timer], 1):
                    self._csrs["vstimecmp"] = timer
                case _:
                    raise StateError(f"{where}: its timer is damaged")
        self.status, self.suspended = status, suspended
        self.instructions, self.stuck, self.marked = instructions, stuck, marked
        self._pc, self._mode = pc & MASK64, Mode(mode)
        self.counters.restore(counters)
        self.pmu.restore(pmu)


def fits(values: list[Any], count: int) -> bool:
    """Whether these are `count` 64-bit numbers."""
    return len(values) == count and all(isinstance(value, int) and 0 <= value <= MASK64 for value in values)
