"""The bundled guests under the built-in hypervisor, to their ends."""

from __future__ import annotations

import re

import pytest

from emulator import guests
from emulator.hart import ExitReason
from emulator.machine import Machine
from emulator.vmm import Hypervisor, Vm

MIB = 1 << 20


def start(*names: str, memory: int = 128 * MIB) -> Hypervisor:
    machine = Machine(memory=memory)
    hypervisor = Hypervisor(machine)
    machine.host = hypervisor
    for name in names:
        hypervisor.create_vm(name, 16 * MIB).load_elf(guests.path(name))
    return hypervisor


def run(hypervisor: Hypervisor, budget: int = 30_000_000) -> ExitReason:
    return hypervisor.machine.run(budget).reason


def text(vm: Vm) -> str:
    return bytes(vm.console.output).decode()


def check_ended(vm: Vm) -> None:
    assert (vm.status, vm.exit_code, vm.stopped) == ("ended", 0, None), text(vm)


def test_hello_greets_through_both_consoles() -> None:
    hypervisor = start("hello")
    assert run(hypervisor) is ExitReason.HALTED
    (vm,) = hypervisor.vms
    check_ended(vm)
    assert "hello from a guest, through the SBI console" in text(vm)
    assert "UART" in text(vm).partition("SBI console")[2]
    assert vm.calls["dbcn.console_write"] > 0
    assert vm.stats["mmio_exit_user"] > 0


@pytest.mark.parametrize("pages", ["4K", "2M"])
def test_pages_are_all_ok(pages: str) -> None:
    machine = Machine(memory=128 * MIB)
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("pages", 16 * MIB, pages=pages)
    vm.load_elf(guests.path("pages"))
    assert run(hypervisor) is ExitReason.HALTED
    check_ended(vm)
    assert "pages: all OK" in text(vm)
    assert "BAD" not in text(vm)


def test_exits_provokes_every_kind_and_all_are_as_expected() -> None:
    hypervisor = start("exits")
    assert run(hypervisor) is ExitReason.HALTED
    (vm,) = hypervisor.vms
    found = re.search(r"exits: (\d+) of (\d+) as expected", text(vm))
    assert found is not None, text(vm)
    assert found[1] == found[2]
    check_ended(vm)
    assert set(vm.exits) >= {
        "EXC_SUPERVISOR_SYSCALL",
        "EXC_INST_GUEST_PAGE_FAULT",
        "EXC_LOAD_GUEST_PAGE_FAULT",
        "EXC_STORE_GUEST_PAGE_FAULT",
        "EXC_VIRTUAL_INST_FAULT",
    }
    assert sum(vm.exits.values()) == vm.stats["exits"]
    assert vm.stats["ecall_exit_stat"] == sum(vm.calls.values()) == vm.exits["EXC_SUPERVISOR_SYSCALL"]


def test_ticker_lives_by_its_timer() -> None:
    hypervisor = start("ticker")
    assert run(hypervisor, 200_000) is ExitReason.BUDGET
    (vm,) = hypervisor.vms
    seconds = [float(number) for number in re.findall(r"(\d+\.\d) s", text(vm))]
    assert seconds == pytest.approx([tick / 10 for tick in range(len(seconds))])
    assert len(seconds) > 5
    assert hypervisor.machine.clock == pytest.approx(1e9 * seconds[-1], abs=1.1e8)


def test_echo_answers_what_is_typed() -> None:
    hypervisor = start("echo")
    (vm,) = hypervisor.vms
    run(hypervisor, 100_000)
    vm.console.feed(b"abd\x7fc\r")
    run(hypervisor, 1_000_000)
    assert "CBA" in text(vm)
    vm.console.feed(b"quit\r")
    assert run(hypervisor) is ExitReason.HALTED
    check_ended(vm)


def test_faulty_goes_on_once_its_entry_is_mended() -> None:
    hypervisor = start("faulty")
    (vm,) = hypervisor.vms
    run(hypervisor, 50_000)
    assert "cause 15 at 140000010: refused" in text(vm) and not vm.ended
    last = vm.symbols.find("last")
    assert last is not None
    entry = vm.memory.read_int(last, 8)
    assert entry & 0xFF == 0xC3
    vm.memory.write_int(last, 8, entry | 4)
    assert run(hypervisor) is ExitReason.HALTED
    check_ended(vm)
    assert "thank you" in text(vm)


def test_all_of_them_side_by_side() -> None:
    names = ("hello", "pages", "exits", "ticker", "echo")
    hypervisor = start(*names, memory=256 * MIB)
    run(hypervisor, 5_000_000)
    vms = dict(zip(names, hypervisor.vms, strict=True))
    vms["echo"].console.feed(b"quit\r")
    run(hypervisor, 30_000_000)
    assert len({vm.vmid for vm in hypervisor.vms}) == 5
    for name in ("hello", "pages", "exits", "echo"):
        check_ended(vms[name])
    assert "pages: all OK" in text(vms["pages"])
    assert vms["ticker"].status in ("running", "idle")
    assert "0.3 s" in text(vms["ticker"])
    for name, vm in vms.items():
        others = "".join(text(other) for other in hypervisor.vms if other is not vm)
        assert text(vm).splitlines()[0] not in others, name
