"""What the panes look at: a hart, and one of the built-in hypervisor's VMs, or a guest of another that runs inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast, overload

from emulator.addressspace import Space, spaces_of_guest, spaces_of_hart, spaces_of_vcpu
from emulator.errors import ConfigurationError, EmulatorError, TranslationError
from emulator.hart import Access, Hart, Mode, Walk
from emulator.loader import Symbols
from emulator.machine import Machine
from emulator.vmm.vcpu import CSRS as SWITCHED
from emulator.worlds import Guest
from rvtui.text import guest_time

GUEST_PAGE_FAULTS = (20, 21, 23)
PAGE = 4096
WORD = (1 << 64) - 1
LONG_OUT = 10_000_000
"""Instructions after which a guest that does not run may be gone for good: 10 ms."""
DERIVED = ("vsip", "hip", "sip")
"""Registers that show bits of switched ones."""

_NONE = Symbols()


@dataclass(frozen=True)
class Subject:
    """A hart by index, and a VM of the built-in hypervisor by position, if there is one; or a guest of another, by its
    `identity`, wherever it runs."""

    hart: int = 0
    vm: int | None = None
    vcpu: int = 0
    guest: int | None = None

    def same(self, other: Subject) -> bool:
        """Whether both are of one VM, one guest, or one hart."""
        return (self.hart, self.vm, self.guest) == (other.hart, other.vm, other.guest)


def virtual_machines(machine: Machine) -> list[Any]:
    """The VMs of the built-in hypervisor; none on a bare machine."""
    return list(getattr(machine.host, "vms", ()))


def inner_guests(machine: Machine) -> list[Guest]:
    """The guests of a hypervisor inside the machine; none where the built-in one has its VMs. On the session's worker
    only, as all that reads guests."""
    return [] if virtual_machines(machine) else machine.guests


def out_for(machine: Machine, guest: Guest) -> str:
    """ "out 1.21 s": for how long a guest has not run, where that is long; or "". """
    since = machine.clock - guest.seen
    return f"out {guest_time(since)}" if since > LONG_OUT and not guest.harts else ""


def selected_guest(machine: Machine, subject: Subject) -> Guest | None:
    """The guest inside that is looked at; None for all else, and when the harts have forgotten it."""
    if subject.guest is None:
        return None
    return next((guest for guest in inner_guests(machine) if guest.identity == subject.guest), None)


def hart_index(machine: Machine, subject: Subject) -> int:
    """Where to look for the registers: of a guest inside, the hart that runs it or did so last."""
    guest = selected_guest(machine, subject)
    return min(subject.hart, len(machine.harts) - 1) if guest is None else guest.hart


def default_subject(machine: Machine) -> Subject:
    return Subject(0, 0 if virtual_machines(machine) else None)


def subjects(machine: Machine) -> list[Subject]:
    """All that can be selected, in the order in which the VMs pane lists them."""
    vms = virtual_machines(machine)
    if vms:
        return [Subject(0, index, vcpu.index) for index, vm in enumerate(vms) for vcpu in vm.vcpus]
    harts = [Subject(hart.index) for hart in machine.harts]
    return harts + [Subject(guest=guest.identity) for guest in inner_guests(machine)]


def by_name(machine: Machine) -> dict[str, Subject]:
    """What can be selected by name: VMs, or on a bare machine harts by their number and the guests inside."""
    vms = virtual_machines(machine)
    if vms:
        return {vm.name: Subject(0, index) for index, vm in enumerate(vms)}
    harts = {str(hart.index): Subject(hart.index) for hart in machine.harts}
    return harts | {guest.name: Subject(guest=guest.identity) for guest in inner_guests(machine)}


def consoles(machine: Machine) -> list[Any]:
    """Consoles in a fixed order: one per VM, or the bare machine's own."""
    vms = virtual_machines(machine)
    return [vm.console for vm in vms] if vms else [machine.console]


def console_names(machine: Machine) -> tuple[str, ...]:
    vms = virtual_machines(machine)
    return tuple(vm.name for vm in vms) if vms else ("machine",)


def names_of(machine: Machine, subject: Subject) -> Symbols:
    """Where names are looked up: symbols of the VM that is looked at, or of the bare machine's firmware."""
    vm, _ = selected_vcpu(machine, subject)
    return machine.symbols if vm is None else cast(Symbols, vm.symbols)


def symbols_of(machine: Machine, subject: Subject) -> Symbols:
    """What addresses are called. A guest of a hypervisor that we did not load has addresses of its own: no symbols."""
    vm, _ = selected_vcpu(machine, subject)
    if vm is None and machine.harts[hart_index(machine, subject)].mode.virtual:
        return _NONE
    return names_of(machine, subject)


def keep_sources(before: Machine, after: Machine) -> None:
    """A machine that was restored from another's moment has its debugging information: that is no part of a state."""
    owners = {"": before, **{vm.name: vm for vm in virtual_machines(before)}}
    for name, owner in {"": after, **{vm.name: vm for vm in virtual_machines(after)}}.items():
        old = owners.get(name)
        if old is not None and not owner.symbols.sources and old.symbols.same(owner.symbols):
            owner.symbols.sources = old.symbols.sources


def selected_vcpu(machine: Machine, subject: Subject) -> tuple[Any, Any]:
    """(VM, virtual CPU) that is looked at, or (None, None) on a bare machine."""
    vms = virtual_machines(machine)
    if subject.vm is None or subject.vm >= len(vms):
        return None, None
    vm = vms[subject.vm]
    return vm, vm.vcpus[min(subject.vcpu, len(vm.vcpus) - 1)]


def hart_of(machine: Machine, subject: Subject) -> Any:
    """The hart itself, or a virtual CPU with a hart's face; on the session's worker only."""
    _, vcpu = selected_vcpu(machine, subject)
    if vcpu is not None:
        return VcpuFace(machine, vcpu)
    return machine.harts[hart_index(machine, subject)]


def walker_of(machine: Machine, subject: Subject) -> Any:
    """What `hart_of` gives, but of a guest inside its own face, also while its hypervisor runs."""
    guest = selected_guest(machine, subject)
    return hart_of(machine, subject) if guest is None else GuestFace(machine, guest)


@contextmanager
def standing(machine: Machine, subject: Subject) -> Iterator[tuple[Hart, Any]]:
    """The hart with the address translation of what is looked at for the moment, and the face of that."""
    face = walker_of(machine, subject)
    if isinstance(face, Hart):
        yield face, face
        return
    with face.worn():
        yield face.hart, face


def spaces_of(machine: Machine, subject: Subject) -> dict[str, Space]:
    """The stages of what is looked at; of a guest that is away only hgatp, where nobody knows the other."""
    _, vcpu = selected_vcpu(machine, subject)
    if vcpu is not None:
        return spaces_of_vcpu(machine, vcpu)
    guest = selected_guest(machine, subject)
    if guest is not None:
        return spaces_of_guest(machine, guest)
    return spaces_of_hart(machine.harts[hart_index(machine, subject)])


def subject_name(machine: Machine, subject: Subject) -> str:
    """As `select` takes it; of a hart "hart 0"."""
    vm, vcpu = selected_vcpu(machine, subject)
    if vm is not None:
        return str(vm.name) + (f" vCPU {vcpu.index}" if len(vm.vcpus) > 1 else "")
    guest = selected_guest(machine, subject)
    return guest.name if guest is not None else f"hart {hart_index(machine, subject)}"


class GuestFace:
    """How a guest of a hypervisor inside translates addresses, whether a hart runs it or not.

    Where no hart has its hgatp, its vsatp is in its hypervisor's memory, nobody knows where: the G-stage alone is
    walked, and addresses are guest-physical.
    """

    def __init__(self, machine: Machine, guest: Guest) -> None:
        self.guest = guest
        self.hart = machine.harts[guest.hart]

    @property
    def whole(self) -> bool:
        """Both stages are known."""
        return self.guest.hart in self.guest.loaded

    @property
    def pc(self) -> int:
        """Where it is, or where it exited. EmulatorError where that cannot be translated."""
        if not self.whole:
            raise EmulatorError(f"{self.guest.name} is on no hart: walk a guest-physical ADDRESS of it (w)")
        return self.guest.pc

    @property
    def mode(self) -> Mode:
        return self.guest.mode

    def walk(self, address: int, access: Access = Access.LOAD, mode: Mode | None = None) -> Walk:
        mode = self.mode if mode is None else mode
        with self.worn():
            return self.hart.walk(address, access, mode)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Its translation in the hart, put back afterwards."""
        if self.whole:
            yield
            return
        with borrowed(self.hart, {"hgatp": self.guest.hgatp}):
            yield


@contextmanager
def borrowed(hart: Hart, values: Mapping[str, int]) -> Iterator[None]:
    """Other values in the CSRs of a world switch for the moment, vsatp 0 if not among them; put back afterwards."""
    kept = {name: hart.csr(name) for name in ("vsatp", *values)}
    _exchange(hart, values)
    try:
        yield
    finally:
        _exchange(hart, kept)


def _exchange(hart: Hart, values: Mapping[str, int]) -> None:
    hart.set_csr("vsatp", 0)  # no walk may mix one guest's vsatp with another's hgatp
    hart.set_csr("hgatp", values["hgatp"])
    for name, value in values.items():
        hart.set_csr(name, value)


class _Registers(Sequence[int]):
    """x or f of a virtual CPU, wherever they are now."""

    def __init__(self, vcpu: Any, letter: str) -> None:
        self._vcpu = vcpu
        self._letter = letter

    def __len__(self) -> int:
        return 32

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[each] for each in range(32)[index]]
        if not 0 <= index < 32:
            raise IndexError(index)
        return int(self._vcpu.get_reg(f"{self._letter}{index}"))

    def __setitem__(self, index: int, value: int) -> None:
        self._vcpu.set_reg(f"{self._letter}{index}", value)


class VcpuFace:
    """A virtual CPU as panes and commands see a hart.

    While another one occupies the hart, its own registers are those that the hypervisor keeps, and a walk borrows the
    hart's address translation CSRs for the moment.
    """

    def __init__(self, machine: Machine, vcpu: Any) -> None:
        self.vcpu = vcpu
        self.hart = machine.harts[0]
        self.x = _Registers(vcpu, "x")
        self.f = _Registers(vcpu, "f")

    @property
    def loaded(self) -> bool:
        return self.vcpu.hart is not None

    @property
    def index(self) -> int:
        return int(self.vcpu.index)

    @property
    def pc(self) -> int:
        return int(self.vcpu.pc)

    @pc.setter
    def pc(self, value: int) -> None:
        self.vcpu.pc = value

    @property
    def mode(self) -> Mode:
        return Mode(self.vcpu.mode)

    @mode.setter
    def mode(self, value: Mode) -> None:
        self.vcpu.mode = value

    @property
    def hgatp(self) -> int:
        return int(self.hart.hgatp if self.loaded else self.vcpu.vm.hgatp)

    def csr(self, name: str) -> int:
        if not self.loaded:
            if name == "hgatp":
                return self.hgatp
            if name in SWITCHED and self.hart.has_csr(name):
                return int(self.vcpu.get_reg(name))
            if name in DERIVED:
                with self.worn():
                    return int(self.hart.csr(name))
        return int(self.hart.csr(name))

    def set_csr(self, name: str, value: int) -> None:
        if self.loaded or name not in SWITCHED or not self.hart.has_csr(name):
            if not self.loaded and name in ("hgatp", *DERIVED):
                raise ConfigurationError(f"{name} of {self.vcpu.vm.name} can only be set while it is on the hart")
            self.hart.set_csr(name, value)
        else:
            with self.worn():  # for the register's own rules
                self.hart.set_csr(name, value)
                legal = self.hart.csr(name)
            self.vcpu.set_reg(name, legal)

    def walk(self, address: int, access: Access = Access.LOAD, mode: Mode | None = None) -> Any:
        with self.worn():
            return self.hart.walk(address, access, self.mode if mode is None else mode)

    def read_virtual(self, address: int, length: int, access: Access = Access.LOAD, mode: Mode | None = None) -> bytes:
        """As Hart.read_virtual; a page of guest memory that the hypervisor has not mapped yet is read where it is."""
        mode = self.mode if mode is None else mode
        data = b""
        with self.worn():
            while length > 0:
                size = min(length, PAGE - address % PAGE)
                try:
                    data += self.hart.read_virtual(address, size, access, mode)
                except TranslationError:
                    gpa = self.unmapped(self.hart.walk(address, access, mode))
                    if gpa is None:
                        raise
                    data += self.vcpu.vm.memory.read(gpa, size)
                address, length = (address + size) & WORD, length - size
        return data

    def unmapped(self, walk: Walk) -> int | None:
        """As `missing`, where the guest has memory there."""
        gpa = self.missing(walk)
        return gpa if gpa is not None and self.vcpu.vm.has_memory(gpa, 1) else None

    @staticmethod
    def missing(walk: Walk) -> int | None:
        """The guest-physical address where the walk ends, if only the hypervisor's mapping is missing there."""
        if walk.cause not in GUEST_PAGE_FAULTS or (walk.steps and walk.steps[-1].nested is not None):
            return None
        return (walk.tval2 << 2) | (walk.address & 3)

    def next_interrupt(self) -> Any:
        return self.hart.next_interrupt() if self.loaded else None

    @contextmanager
    def worn(self) -> Iterator[None]:
        """This virtual CPU's world switch CSRs in the hart, put back afterwards."""
        if self.loaded:
            yield
            return
        own = {name: self.vcpu.get_reg(name) for name in SWITCHED if self.hart.has_csr(name)}
        with borrowed(self.hart, {"hgatp": self.vcpu.vm.hgatp, **own}):
            yield
