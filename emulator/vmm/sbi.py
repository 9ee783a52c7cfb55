"""The supervisor binary interface that a guest calls by ECALL from VS-mode.

RISC-V SBI specification 2.0: base, TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy calls. The hypervisor has stepped
over the ECALL before a call is carried out, so a call that does not return leaves the vCPU in another state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.errors import EmulatorError
from emulator.vmm.vcpu import MASK64, VSSI, Vcpu

if TYPE_CHECKING:
    from emulator.vmm.vm import Vm

SPEC_VERSION = 2 << 24 | 0
IMPLEMENTATION_ID = 0x72767475  # "rvtu": none of the registered numbers
IMPLEMENTATION_VERSION = 1 << 16

A0, A1 = 10, 11

SUCCESS = 0
FAILED = -1
NOT_SUPPORTED = -2
INVALID_PARAM = -3
INVALID_ADDRESS = -5
ALREADY_AVAILABLE = -6

STARTED, STOPPED, SUSPENDED = 0, 1, 4
SHUTDOWN, COLD_REBOOT, WARM_REBOOT = 0, 1, 2
# SRST reasons from here on are free for implementations: the low byte is taken for the guest's exit code.
OWN_REASONS = 0xE000_0000

LONGEST_WRITE = 64 << 10
"""Bytes that one DBCN call moves at most; the call may move less than was asked for, and says how much."""

Result = tuple[int, int] | None
"""(error, value), or None when the guest does not go on behind the call."""
Arguments = list[int]
"""a0 to a5."""
Handler = Callable[[Vcpu, Arguments], Result]


class CallError(Exception):
    """A call fails with this error code."""

    def __init__(self, error: int) -> None:
        self.error = error


def call(vcpu: Vcpu) -> str:
    """Carry out the call in a0..a7; returns its name, for the statistics."""
    *arguments, function, extension = vcpu.x[10:18]
    if extension in LEGACY:
        name, legacy = LEGACY[extension]
        value = legacy(vcpu, arguments)
        if value is not None:
            vcpu.x[A0] = value & MASK64
        return f"legacy.{name}"
    group, functions = EXTENSIONS.get(extension, (f"{extension:#x}", {}))
    name, handler = functions.get(function, (f"{function:#x}", not_supported))
    try:
        result = handler(vcpu, arguments)
    except CallError as error:
        result = error.error, 0
    if result is not None:
        vcpu.x[A0], vcpu.x[A1] = result[0] & MASK64, result[1]
    return f"{group}.{name}"


def not_supported(vcpu: Vcpu, a: Arguments) -> Result:
    return NOT_SUPPORTED, 0


def target(vm: Vm, hart: int) -> Vcpu:
    if hart >= len(vm.vcpus):
        raise CallError(INVALID_PARAM)
    return vm.vcpus[hart]


def targets(vm: Vm, mask: int, base: int) -> list[Vcpu]:
    """The harts that SBI's (hart_mask, hart_mask_base) names."""
    if base == MASK64:
        return list(vm.vcpus)
    return [target(vm, base + bit) for bit in range(mask.bit_length()) if mask >> bit & 1]


def span(vm: Vm, a: Arguments) -> tuple[int, int]:
    """The guest-physical buffer (length, low, high) of a DBCN call, cut to what one call moves."""
    length, low, high = a[0], a[1], a[2]
    length = min(length, LONGEST_WRITE)
    if high or not vm.has_memory(low, length):
        raise CallError(INVALID_PARAM)
    return low, length


# Base


def probe(vcpu: Vcpu, a: Arguments) -> Result:
    return SUCCESS, int(a[0] in EXTENSIONS or a[0] in LEGACY)


def machine_csr(name: str) -> Handler:
    return lambda vcpu, a: (SUCCESS, vcpu.vm.hypervisor.hart.csr(name))


# TIME, IPI, RFENCE


def set_timer(vcpu: Vcpu, a: Arguments) -> Result:
    vcpu.set_reg("vstimecmp", a[0])
    return SUCCESS, 0


def send_ipi(vcpu: Vcpu, a: Arguments) -> Result:
    for each in targets(vcpu.vm, a[0], a[1]):
        each.interrupt(VSSI)
    return SUCCESS, 0


def remote_fence(vcpu: Vcpu, a: Arguments) -> Result:
    targets(vcpu.vm, a[0], a[1])
    # All vCPUs share one hart: one fence of everything serves each kind and range.
    vcpu.vm.hypervisor.fence()
    return SUCCESS, 0


# HSM


def hart_start(vcpu: Vcpu, a: Arguments) -> Result:
    other = target(vcpu.vm, a[0])
    if other.status != "stopped":
        return ALREADY_AVAILABLE, 0
    if not vcpu.vm.has_memory(a[1], 2) or a[1] & 1:
        return INVALID_ADDRESS, 0
    other.reset(a[1], a[2])
    return SUCCESS, 0


def hart_stop(vcpu: Vcpu, a: Arguments) -> Result:
    vcpu.status = "stopped"
    if all(each.status == "stopped" for each in vcpu.vm.vcpus):
        vcpu.vm.stop("its last running vCPU stopped itself by SBI hart_stop: nothing can start one again")
    return None


def hart_status(vcpu: Vcpu, a: Arguments) -> Result:
    other = target(vcpu.vm, a[0])
    return SUCCESS, STOPPED if other.status == "stopped" else SUSPENDED if other.suspended else STARTED


def hart_suspend(vcpu: Vcpu, a: Arguments) -> Result:
    """Only the default retentive suspend, which is a WFI that says so."""
    kind = a[0] & 0xFFFF_FFFF
    if kind:
        return (NOT_SUPPORTED if kind == 0x8000_0000 or kind & 0x7FFF_FFFF >= 0x1000_0000 else INVALID_PARAM), 0
    vcpu.vm.hypervisor.wait(vcpu)
    vcpu.suspended = vcpu.status == "idle"
    return SUCCESS, 0


# SRST


def system_reset(vcpu: Vcpu, a: Arguments) -> Result:
    kind, reason = a[0] & 0xFFFF_FFFF, a[1] & 0xFFFF_FFFF
    if not (kind <= WARM_REBOOT or kind >= 0xF000_0000) or not (reason <= 1 or reason >= OWN_REASONS):
        return INVALID_PARAM, 0
    if kind > WARM_REBOOT:
        return NOT_SUPPORTED, 0
    code = reason if reason <= 1 else reason & 0xFF
    vcpu.vm.end(code, "shut down" if kind == SHUTDOWN else "asked for a reboot: start it anew")
    return None


# DBCN and the legacy console


def console_write(vcpu: Vcpu, a: Arguments) -> Result:
    address, length = span(vcpu.vm, a)
    vcpu.vm.console.write(vcpu.vm.read(address, length))
    return SUCCESS, length


def console_read(vcpu: Vcpu, a: Arguments) -> Result:
    address, length = span(vcpu.vm, a)
    data = vcpu.vm.receive(length)
    vcpu.vm.write(address, data)
    return SUCCESS, len(data)


def console_write_byte(vcpu: Vcpu, a: Arguments) -> Result:
    vcpu.vm.console.write(bytes([a[0] & 0xFF]))
    return SUCCESS, 0


def legacy_timer(vcpu: Vcpu, a: Arguments) -> int | None:
    set_timer(vcpu, a)
    return SUCCESS


def legacy_putchar(vcpu: Vcpu, a: Arguments) -> int | None:
    console_write_byte(vcpu, a)
    return SUCCESS


def legacy_getchar(vcpu: Vcpu, a: Arguments) -> int | None:
    data = vcpu.vm.receive(1)
    return data[0] if data else -1


def legacy_clear_ipi(vcpu: Vcpu, a: Arguments) -> int | None:
    vcpu.interrupt(VSSI, False)
    return SUCCESS


def legacy_to_harts(new: Handler) -> Callable[[Vcpu, Arguments], int | None]:
    """These point to the hart mask by a virtual address of the guest; 0 means all harts."""

    def handler(vcpu: Vcpu, a: Arguments) -> int | None:
        try:
            mask = int.from_bytes(vcpu.vm.hypervisor.read_virtual(vcpu, a[0], 8), "little") if a[0] else 0
            new(vcpu, [mask, 0] if a[0] else [0, MASK64])
        except CallError as error:
            return error.error
        except EmulatorError:
            return INVALID_ADDRESS
        return SUCCESS

    return handler


def legacy_shutdown(vcpu: Vcpu, a: Arguments) -> int | None:
    vcpu.vm.end(0, "shut down")
    return None


LEGACY: dict[int, tuple[str, Callable[[Vcpu, Arguments], int | None]]] = {
    0: ("set_timer", legacy_timer),
    1: ("console_putchar", legacy_putchar),
    2: ("console_getchar", legacy_getchar),
    3: ("clear_ipi", legacy_clear_ipi),
    4: ("send_ipi", legacy_to_harts(send_ipi)),
    5: ("remote_fence_i", legacy_to_harts(remote_fence)),
    6: ("remote_sfence_vma", legacy_to_harts(remote_fence)),
    7: ("remote_sfence_vma_asid", legacy_to_harts(remote_fence)),
    8: ("shutdown", legacy_shutdown),
}

EXTENSIONS: dict[int, tuple[str, dict[int, tuple[str, Handler]]]] = {
    0x10: (
        "base",
        {
            0: ("get_spec_version", lambda vcpu, a: (SUCCESS, SPEC_VERSION)),
            1: ("get_impl_id", lambda vcpu, a: (SUCCESS, IMPLEMENTATION_ID)),
            2: ("get_impl_version", lambda vcpu, a: (SUCCESS, IMPLEMENTATION_VERSION)),
            3: ("probe_extension", probe),
            4: ("get_mvendorid", machine_csr("mvendorid")),
            5: ("get_marchid", machine_csr("marchid")),
            6: ("get_mimpid", machine_csr("mimpid")),
        },
    ),
    0x54494D45: ("time", {0: ("set_timer", set_timer)}),
    0x735049: ("ipi", {0: ("send_ipi", send_ipi)}),
    0x52464E43: (
        "rfence",  # the HFENCE calls, 3 to 6, are for guests that have the H extension: not supported
        {
            0: ("remote_fence_i", remote_fence),
            1: ("remote_sfence_vma", remote_fence),
            2: ("remote_sfence_vma_asid", remote_fence),
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
    0x4442434E: (
        "dbcn",
        {
            0: ("console_write", console_write),
            1: ("console_read", console_read),
            2: ("console_write_byte", console_write_byte),
        },
    ),
}
