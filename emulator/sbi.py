"""The supervisor binary interface: calls that S-mode makes by ECALL, of the built-in hypervisor or firmware.

RISC-V SBI specification 2.0: base, TIME, IPI, RFENCE, HSM, SRST, PMU, DBCN and the legacy calls. Each is described here
once; who answers is a Domain: a VM, or the machine under the built-in firmware. It has stepped over the ECALL before a
call is carried out, so a call that does not return leaves the caller in another state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from emulator import pmu
from emulator.console import Console
from emulator.errors import EmulatorError
from emulator.sbi_errors import (
    ALREADY_AVAILABLE,
    INVALID_ADDRESS,
    INVALID_PARAM,
    NOT_SUPPORTED,
    SUCCESS,
    CallError,
)

MASK64 = (1 << 64) - 1

SPEC_VERSION = 2 << 24 | 0
IMPLEMENTATION_ID = 0x72767475  # "rvtu": none of the registered numbers
IMPLEMENTATION_VERSION = 1 << 16

A0, A1 = 10, 11

STARTED, STOPPED, SUSPENDED = 0, 1, 4
SHUTDOWN, COLD_REBOOT, WARM_REBOOT = 0, 1, 2
# SRST reasons from here on are free for implementations: the low byte is taken for the guest's exit code.
OWN_REASONS = 0xE000_0000

LONGEST_WRITE = 64 << 10
"""Bytes that one DBCN call moves at most; the call may move less than was asked for, and says how much."""


class Caller(Protocol):
    """A hart as SBI knows it: a virtual CPU, or a hart of the machine."""

    index: int
    pmu: pmu.Pmu

    @property
    def x(self) -> Any:
        """The integer registers."""
        ...

    @property
    def domain(self) -> Domain: ...
    @property
    def hsm_state(self) -> int:
        """STARTED, STOPPED or SUSPENDED."""
        ...

    def set_timer(self, time: int) -> None:
        """The supervisor timer interrupt is pending from `time` on, and not before."""
        ...

    def set_software_interrupt(self, level: bool) -> None: ...
    def start(self, pc: int, opaque: int) -> None:
        """As SBI says a hart starts: S-mode, paging and interrupts off, a0 = hart id, a1 = `opaque`."""
        ...

    def resume_at(self, pc: int, opaque: int) -> None:
        """As a suspended hart resumes that kept no registers: as `start`, but interrupts that were enabled stay so."""
        ...

    def stop(self) -> None: ...
    def suspend(self) -> None:
        """Wait as WFI does, registers kept."""
        ...

    def read_virtual(self, address: int, length: int) -> bytes:
        """Memory as the caller sees it. An EmulatorError where it sees none."""
        ...


class Domain(Protocol):
    """What answers calls: harts, memory and a console that belong together."""

    hypervisor_extension: bool
    """Whether callers have it, and so the HFENCE calls."""

    @property
    def callers(self) -> Sequence[Caller]: ...
    @property
    def console(self) -> Console: ...
    def machine_csr(self, name: str) -> int: ...
    def fence(self, targets: Sequence[Caller]) -> None:
        """Forget all translations and decoded instructions of these."""
        ...

    def has_memory(self, address: int, length: int, /) -> bool: ...
    def read(self, address: int, length: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> None: ...
    def receive(self, limit: int) -> bytes:
        """At most `limit` bytes of console input."""
        ...

    def end(self, code: int, message: str) -> None:
        """The caller shut all down."""
        ...

    def reboot(self, code: int) -> None:
        """The caller asked for a start from the beginning; `code` is that of an end, where there is none."""
        ...


Result = tuple[int, int] | None
"""(error, value), or None when the guest does not go on behind the call."""
Arguments = list[int]
"""a0 to a5."""
Handler = Callable[[Caller, Arguments], Result]
LegacyHandler = Callable[[Caller, Arguments], int | None]


def call(hart: Caller) -> str:
    """Carry out the call in a0..a7; returns its name, for the statistics."""
    *arguments, function, extension = hart.x[10:18]
    if extension in LEGACY:
        name, legacy = LEGACY[extension]
        value = legacy(hart, arguments)
        if value is not None:
            hart.x[A0] = value & MASK64
        return f"legacy.{name}"
    group, functions = EXTENSIONS.get(extension, (f"{extension:#x}", {}))
    name, handler = functions.get(function, (f"{function:#x}", not_supported))
    try:
        result = handler(hart, arguments)
    except CallError as error:
        result = error.error, 0
    if result is not None:
        hart.x[A0], hart.x[A1] = result[0] & MASK64, result[1]
    return f"{group}.{name}"


def not_supported(hart: Caller, a: Arguments) -> Result:
    return NOT_SUPPORTED, 0


def target(domain: Domain, index: int) -> Caller:
    if index >= len(domain.callers):
        raise CallError(INVALID_PARAM)
    return domain.callers[index]


def targets(domain: Domain, mask: int, base: int) -> list[Caller]:
    """The harts that SBI's (hart_mask, hart_mask_base) names."""
    if base == MASK64:
        return list(domain.callers)
    return [target(domain, base + bit) for bit in range(mask.bit_length()) if mask >> bit & 1]


def span(domain: Domain, a: Arguments) -> tuple[int, int]:
    """The physical buffer (length, low, high) of a DBCN call, cut to what one call moves."""
    length, low, high = a[0], a[1], a[2]
    length = min(length, LONGEST_WRITE)
    if high or not domain.has_memory(low, length):
        raise CallError(INVALID_PARAM)
    return low, length


# Base


def probe(hart: Caller, a: Arguments) -> Result:
    return SUCCESS, int(a[0] in EXTENSIONS or a[0] in LEGACY)


def machine_csr(name: str) -> Handler:
    return lambda hart, a: (SUCCESS, hart.domain.machine_csr(name))


# TIME, IPI, RFENCE


def set_timer(hart: Caller, a: Arguments) -> Result:
    hart.set_timer(a[0])
    hart.pmu.count(pmu.SET_TIMER)
    return SUCCESS, 0


def sent(hart: Caller, others: Sequence[Caller], event: int) -> None:
    """Count what goes to other harts, and there what came; the event of that is the next one."""
    for each in others:
        if each is not hart:
            hart.pmu.count(event)
            each.pmu.count(event + 1)


def send_ipi(hart: Caller, a: Arguments) -> Result:
    others = targets(hart.domain, a[0], a[1])
    for each in others:
        each.set_software_interrupt(True)
    sent(hart, others, pmu.IPI_SENT)
    return SUCCESS, 0


def remote_fence(event: int) -> Handler:
    def handler(hart: Caller, a: Arguments) -> Result:
        # To forget more than was asked for is allowed: one fence of everything serves each kind and range.
        others = targets(hart.domain, a[0], a[1])
        hart.domain.fence(others)
        sent(hart, others, event)
        return SUCCESS, 0

    return handler


def remote_hypervisor_fence(event: int) -> Handler:
    fence = remote_fence(event)
    return lambda hart, a: fence(hart, a) if hart.domain.hypervisor_extension else (NOT_SUPPORTED, 0)


# HSM


def hart_start(hart: Caller, a: Arguments) -> Result:
    other = target(hart.domain, a[0])
    if other.hsm_state != STOPPED:
        return ALREADY_AVAILABLE, 0
    if not hart.domain.has_memory(a[1], 2) or a[1] & 1:
        return INVALID_ADDRESS, 0
    other.start(a[1], a[2])
    return SUCCESS, 0


def hart_stop(hart: Caller, a: Arguments) -> Result:
    hart.stop()
    return None


def hart_status(hart: Caller, a: Arguments) -> Result:
    return SUCCESS, target(hart.domain, a[0]).hsm_state


def hart_suspend(hart: Caller, a: Arguments) -> Result:
    """Both default kinds are a WFI that says so; one goes on behind the call, the other at an address of its own."""
    kind = a[0] & 0xFFFF_FFFF
    if kind & 0x7FFF_FFFF:
        return (NOT_SUPPORTED if kind & 0x7FFF_FFFF >= 0x1000_0000 else INVALID_PARAM), 0
    if kind:
        if not hart.domain.has_memory(a[1], 2) or a[1] & 1:
            return INVALID_ADDRESS, 0
        hart.resume_at(a[1], a[2])
    hart.suspend()
    return None if kind else (SUCCESS, 0)


# SRST


def system_reset(hart: Caller, a: Arguments) -> Result:
    kind, reason = a[0] & 0xFFFF_FFFF, a[1] & 0xFFFF_FFFF
    if not (kind <= WARM_REBOOT or kind >= 0xF000_0000) or not (reason <= 1 or reason >= OWN_REASONS):
        return INVALID_PARAM, 0
    if kind > WARM_REBOOT:
        return NOT_SUPPORTED, 0
    code = reason if reason <= 1 else reason & 0xFF
    if kind == SHUTDOWN:
        hart.domain.end(code, "shut down")
    else:
        hart.domain.reboot(code)
    return None


# PMU


def counter_information(hart: Caller, a: Arguments) -> Result:
    return SUCCESS, hart.pmu.information(a[0])


def counter_match(hart: Caller, a: Arguments) -> Result:
    return SUCCESS, hart.pmu.match(*a[:5])


def counter_start(hart: Caller, a: Arguments) -> Result:
    hart.pmu.start(*a[:4])
    return SUCCESS, 0


def counter_stop(hart: Caller, a: Arguments) -> Result:
    hart.pmu.stop(*a[:3])
    return SUCCESS, 0


def counter_read(hart: Caller, a: Arguments) -> Result:
    return SUCCESS, hart.pmu.read(a[0])


def counter_read_high(hart: Caller, a: Arguments) -> Result:
    hart.pmu.read(a[0])
    return SUCCESS, 0


# DBCN and the legacy console


def console_write(hart: Caller, a: Arguments) -> Result:
    address, length = span(hart.domain, a)
    hart.domain.console.write(hart.domain.read(address, length))
    return SUCCESS, length


def console_read(hart: Caller, a: Arguments) -> Result:
    address, length = span(hart.domain, a)
    data = hart.domain.receive(length)
    hart.domain.write(address, data)
    return SUCCESS, len(data)


def console_write_byte(hart: Caller, a: Arguments) -> Result:
    hart.domain.console.write(bytes([a[0] & 0xFF]))
    return SUCCESS, 0


def legacy_timer(hart: Caller, a: Arguments) -> int | None:
    set_timer(hart, a)
    return SUCCESS


def legacy_putchar(hart: Caller, a: Arguments) -> int | None:
    console_write_byte(hart, a)
    return SUCCESS


def legacy_getchar(hart: Caller, a: Arguments) -> int | None:
    data = hart.domain.receive(1)
    return data[0] if data else -1


def legacy_clear_ipi(hart: Caller, a: Arguments) -> int | None:
    hart.set_software_interrupt(False)
    return SUCCESS


def legacy_to_harts(new: Handler) -> LegacyHandler:
    """These point to the hart mask by a virtual address of the caller; 0 means all harts."""

    def handler(hart: Caller, a: Arguments) -> int | None:
        try:
            mask = int.from_bytes(hart.read_virtual(a[0], 8), "little") if a[0] else 0
            new(hart, [mask, 0] if a[0] else [0, MASK64])
        except CallError as error:
            return error.error
        except EmulatorError:
            return INVALID_ADDRESS
        return SUCCESS

    return handler


def legacy_shutdown(hart: Caller, a: Arguments) -> int | None:
    hart.domain.end(0, "shut down")
    return None


LEGACY: dict[int, tuple[str, LegacyHandler]] = {
    0: ("set_timer", legacy_timer),
    1: ("console_putchar", legacy_putchar),
    2: ("console_getchar", legacy_getchar),
    3: ("clear_ipi", legacy_clear_ipi),
    4: ("send_ipi", legacy_to_harts(send_ipi)),
    5: ("remote_fence_i", legacy_to_harts(remote_fence(pmu.FENCE_I))),
    6: ("remote_sfence_vma", legacy_to_harts(remote_fence(pmu.SFENCE_VMA))),
    7: ("remote_sfence_vma_asid", legacy_to_harts(remote_fence(pmu.SFENCE_VMA_ASID))),
    8: ("shutdown", legacy_shutdown),
}

EXTENSIONS: dict[int, tuple[str, dict[int, tuple[str, Handler]]]] = {
    0x10: (
        "base",
        {
            0: ("get_spec_version", lambda hart, a: (SUCCESS, SPEC_VERSION)),
            1: ("get_impl_id", lambda hart, a: (SUCCESS, IMPLEMENTATION_ID)),
            2: ("get_impl_version", lambda hart, a: (SUCCESS, IMPLEMENTATION_VERSION)),
            3: ("probe_extension", probe),
            4: ("get_mvendorid", machine_csr("mvendorid")),
            5: ("get_marchid", machine_csr("marchid")),
            6: ("get_mimpid", machine_csr("mimpid")),
        },
    ),
    0x54494D45: ("time", {0: ("set_timer", set_timer)}),
    0x735049: ("ipi", {0: ("send_ipi", send_ipi)}),
    0x52464E43: (
        "rfence",
        {
            0: ("remote_fence_i", remote_fence(pmu.FENCE_I)),
            1: ("remote_sfence_vma", remote_fence(pmu.SFENCE_VMA)),
            2: ("remote_sfence_vma_asid", remote_fence(pmu.SFENCE_VMA_ASID)),
            3: ("remote_hfence_gvma_vmid", remote_hypervisor_fence(pmu.HFENCE_GVMA_VMID)),
            4: ("remote_hfence_gvma", remote_hypervisor_fence(pmu.HFENCE_GVMA)),
            5: ("remote_hfence_vvma_asid", remote_hypervisor_fence(pmu.HFENCE_VVMA_ASID)),
            6: ("remote_hfence_vvma", remote_hypervisor_fence(pmu.HFENCE_VVMA)),
        },
    ),
    0x48534D: (
        "hsm",
        {
            0: ("hart_start", hart_start),
            1: ("hart_stop", hart_stop),
            2: ("hart_get_status", hart_status),
            3: ("hart_suspend", hart_suspend),
        },
    ),
    0x53525354: ("srst", {0: ("system_reset", system_reset)}),
    0x504D55: (
        "pmu",
        {
            0: ("num_counters", lambda hart, a: (SUCCESS, hart.pmu.size)),
            1: ("counter_get_info", counter_information),
            2: ("counter_config_matching", counter_match),
            3: ("counter_start", counter_start),
            4: ("counter_stop", counter_stop),
            5: ("counter_fw_read", counter_read),
            6: ("counter_fw_read_hi", counter_read_high),
            7: ("snapshot_set_shmem", not_supported),
        },
    ),
    0x4442434E: (
        "dbcn",
        {
            0: ("console_write", console_write),
            1: ("console_read", console_read),
            2: ("console_write_byte", console_write_byte),
        },
    ),
}
