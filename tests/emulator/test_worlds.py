"""Guests of a hypervisor inside the machine: known by hgatp, with their instructions, entries and exits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from assembler import assemble
from rig import (
    BASE,
    DATA,
    ECALL_VS,
    EVERYTHING,
    HANDLER,
    HS,
    LEAF,
    LOAD_GUEST,
    SPP,
    SPV,
    SPVP,
    TABLES,
    USER,
    VS,
    VU,
    M,
    Rig,
    Tables,
    V,
)

import snapshots
from emulator import guests
from emulator.errors import StateError
from emulator.hart import Event, EventKind, ExitCount, Mode
from emulator.isa import csrs
from emulator.machine import Machine
from emulator.vmm import Hypervisor
from emulator.worlds import Guest, guests_of

GUEST = BASE + 0x2000
# Four instructions: the ecall is stepped over, and the guest entered again.
HANDLER_TEXT = "csrr t0, sepc; addi t0, t0, 4; csrw sepc, t0; sret"


def hypervisor(text: str, **csrs: int) -> Rig:
    """A host in HS-mode that does nothing but step over what a guest exits with; `text` is the guest."""
    rig = Rig("sret", mode=HS, medeleg=EVERYTHING, **csrs)
    rig.write(HANDLER + 0x1000, HANDLER_TEXT)
    rig.write(GUEST, text)
    return rig


def gstage(rig: Rig, number: int = 0) -> int:
    """hgatp of tables that map the first gigabyte of memory to itself; VMID 0."""
    tables = Tables(rig, guest=True, at=TABLES + 0x8000 * number)
    tables.map(BASE, BASE, LEAF | USER, 2)
    return tables.atp


def enter(rig: Rig, hgatp: int, pc: int = GUEST, privilege: int = SPP) -> None:
    """The next instruction enters a guest at `pc`."""
    rig.set(hgatp=hgatp, sepc=pc, hstatus=rig.csr("hstatus") | SPV | SPVP, sstatus=privilege)
    rig.hart.mode, rig.hart.pc = HS, BASE


def only(machine: Machine) -> Guest:
    (guest,) = machine.guests
    return guest


def test_instructions_entries_and_exits_of_one_guest() -> None:
    rig = hypervisor("nop; nop; ecall; nop; ecall; nop")
    enter(rig, gstage(rig) | 7 << 44)
    rig.run(1)
    guest = only(rig.machine)
    assert (guest.name, guest.vmid, guest.root, guest.entries, guest.retired) == ("VMID 7", 7, TABLES, 1, (0, 0))
    assert guest.harts == guest.loaded == (0,) and guest.status == "running" and guest.last_exit is None
    assert (guest.pc, guest.mode) == (GUEST, VS)

    rig.run(3)  # two nops, and the trap
    guest = only(rig.machine)
    assert guest.retired == (2, 0) and guest.status == "exited" and guest.loaded == (0,) and not guest.harts
    assert (guest.pc, guest.mode) == (GUEST + 8, VS)
    (ecall,) = guest.exit_counts
    assert (ecall.count, ecall.returns, ecall.spent) == (1, 0, 0)

    rig.write(HANDLER + 0x1000, "nop; nop; nop; " + HANDLER_TEXT)
    rig.run(7 + 1 + 1)  # back, another nop, the second ecall
    rig.write(HANDLER + 0x1000, HANDLER_TEXT)
    rig.run(4 + 1)
    guest = only(rig.machine)
    assert guest.retired == (4, 0) and guest.entries == 3
    (ecall,) = guest.exit_counts
    assert (ecall.name, ecall.to_mode, ecall.count, ecall.returns) == ("EXC_SUPERVISOR_SYSCALL", HS, 2, 2)
    assert (ecall.least, ecall.most, ecall.spent, ecall.mean) == (4, 7, 11, 5.5)
    assert guest.instructions == rig.hart.retired[VS] and guest.share == 4 / rig.hart.instret
    last = guest.last_exit
    assert last is not None and (last.pc, last.cause, last.address) == (GUEST + 16, ECALL_VS, 0)
    assert last.clock == rig.hart.clock - 5


def test_user_mode_of_a_guest_and_traps_inside_it() -> None:
    """A trap that the guest takes itself is no exit."""
    rig = hypervisor("nop; ecall", hedeleg=1 << 8)
    rig.write(HANDLER + 0x2000, "nop; nop; nop; ecall")
    enter(rig, gstage(rig), privilege=0)
    rig.run(1 + 1 + 1 + 3)
    guest = only(rig.machine)
    assert guest.retired == (3, 1) and guest.entries == 1 and not guest.exits
    rig.run(1)
    guest = only(rig.machine)
    assert guest.exits == {"EXC_SUPERVISOR_SYSCALL": 1} and guest.mode is VS
    enter(rig, rig.csr("hgatp"), privilege=0)
    rig.set(hedeleg=0)
    rig.run(1 + 1 + 1)
    guest = only(rig.machine)
    assert guest.exits == {"EXC_SUPERVISOR_SYSCALL": 1, "EXC_SYSCALL": 1} and guest.mode is VU


def test_exits_into_m_mode_are_told_apart() -> None:
    """KVM does not see what firmware deals with, and counts by the same cause what firmware hands on."""
    rig = hypervisor("ecall")
    rig.write(HANDLER, "csrr t0, mepc; mret")
    hgatp = gstage(rig)
    rig.set(medeleg=0)
    enter(rig, hgatp)
    rig.run(1 + 1 + 2)
    rig.set(medeleg=EVERYTHING)
    rig.run(1)
    guest = only(rig.machine)
    assert {(each.name, each.to_mode): (each.count, each.spent) for each in guest.exit_counts} == {
        ("EXC_SUPERVISOR_SYSCALL", M): (1, 2),
        ("EXC_SUPERVISOR_SYSCALL", HS): (1, 0),
    }
    assert guest.exits == {"EXC_SUPERVISOR_SYSCALL (to M)": 1, "EXC_SUPERVISOR_SYSCALL": 1}


def test_interrupts_are_exits() -> None:
    rig = hypervisor("nop; nop", hie=0, mideleg=1 << 5, sie=1 << 5, stimecmp=EVERYTHING, menvcfg=1 << 63)
    enter(rig, gstage(rig))
    rig.run(2)
    rig.set(stimecmp=0)
    rig.run(1)
    guest = only(rig.machine)
    assert guest.exits == {"IRQ_S_TIMER": 1} and guest.retired == (1, 0)
    assert guest.last_exit is not None and (guest.last_exit.name, guest.last_exit.cause) == ("IRQ_S_TIMER", 5)


def test_the_guest_physical_address_of_the_last_exit() -> None:
    rig = hypervisor("lbu a0, 0(a1)")
    hgatp = gstage(rig)
    rig.put(a1=0x1234_5677)
    enter(rig, hgatp)
    rig.run(2)
    last = only(rig.machine).last_exit
    assert last is not None and (last.cause, last.address) == (LOAD_GUEST, 0x1234_5677)
    assert last.detail == "value 0x12345677"
    # Now a page-table entry of the guest is where there is nothing: the low bits of stval are not its address's.
    table = Tables(rig, at=DATA)
    table.map(BASE, BASE, LEAF, 2)
    rig.set(vsatp=table.atp)
    rig.store(DATA, (0x7000_0000 >> 12) << 10 | V)
    enter(rig, hgatp)
    rig.run(2)
    last = only(rig.machine).last_exit
    assert last is not None and last.address == 0x7000_0000 + (0x1234_5677 >> 21 & 511) * 8


def test_the_vmid_is_a_name_and_the_root_the_guest() -> None:
    rig = hypervisor("ecall")
    one, two = gstage(rig), gstage(rig, 1)
    for hgatp in (one | 1 << 44, two | 2 << 44, one | 3 << 44):
        enter(rig, hgatp)
        rig.run(2)
    rig.set(hgatp=0)
    first, second = rig.machine.guests
    assert [(guest.name, guest.root, guest.entries, guest.status) for guest in (first, second)] == [
        ("VMID 2", TABLES + 0x8000, 1, "away"),
        ("VMID 3", TABLES, 2, "away"),
    ]
    assert len(rig.hart.guests()) == 2
    # Without VMIDs the root tells them apart, and two modes with one root are two guests.
    enter(rig, two)
    rig.run(2)
    enter(rig, one)
    rig.run(2)
    assert [guest.name for guest in rig.machine.guests] == [f"VMID 0 @{TABLES:x}", f"VMID 0 @{TABLES + 0x8000:x}"]
    enter(rig, one | 1 << 60)
    rig.run(1)
    assert len({guest.name for guest in rig.machine.guests}) == 3


def test_sleep_is_time_and_nobodys_instructions() -> None:
    rig = hypervisor("nop; ecall; nop")
    rig.machine.sleep(1000)
    enter(rig, gstage(rig))
    rig.run(1)
    assert only(rig.machine).seen == rig.hart.clock == 1001
    rig.run(2)
    assert only(rig.machine).seen == rig.hart.clock == 1002
    rig.machine.sleep(5000)
    rig.run(4)
    guest = only(rig.machine)
    assert guest.seen == rig.hart.clock == 5004
    assert (guest.exit_counts[0].spent, guest.served, guest.share) == (3998 + 4, (0, 4, 0), 1 / 6)


def test_what_follows_an_exit_is_of_the_guest_that_was_left() -> None:
    """In M, HS and U, until any guest is entered; what a debugger makes of the mode follows no exit."""
    rig = hypervisor("ecall; ecall; nop; nop")
    rig.write(HANDLER, "csrr t0, mepc; addi t0, t0, 4; csrw mepc, t0; nop; mret")
    one, two = gstage(rig), gstage(rig, 1)
    rig.set(medeleg=0)
    enter(rig, one)
    rig.run(1 + 1 + 5)
    assert only(rig.machine).served == (5, 0, 0)
    rig.set(medeleg=EVERYTHING)
    rig.run(1)
    enter(rig, two)  # instead of going on with the first
    assert only(rig.machine).served == (5, 0, 0), "not before a guest is entered"
    rig.run(1 + 1 + 4)
    first, second = (next(g for g in rig.machine.guests if g.hgatp == hgatp) for hgatp in (one, two))
    assert (first.served, second.served) == ((5, 1, 0), (0, 4, 0))
    rig.hart.mode = HS
    rig.hart.mode = VS
    rig.set(hgatp=one)
    rig.hart.mode = HS
    rig.hart.mode = VS
    again = {guest.hgatp: guest.served for guest in rig.machine.guests}
    assert again == {one: first.served, two: second.served}
    assert sum(first.served + second.served + first.retired + second.retired) <= rig.hart.instret


def test_what_leaves_without_a_trap_is_no_exit_and_comes_back_from_none() -> None:
    rig = hypervisor("ecall; nop; nop")
    enter(rig, gstage(rig))
    rig.run(2 + 4 + 1)
    rig.hart.mode = HS
    rig.machine.sleep(100)
    rig.hart.mode = VS
    guest = only(rig.machine)
    assert (guest.entries, guest.exits["EXC_SUPERVISOR_SYSCALL"], guest.exit_counts[0].returns) == (3, 1, 1)


def test_guests_at_the_beginning_of_time() -> None:
    rig = hypervisor("nop")
    roots = [gstage(rig, number) | number + 1 << 44 for number in range(3)]
    for hgatp in roots:
        rig.set(hgatp=hgatp)
        rig.hart.mode = VS
        rig.hart.mode = HS
    assert [guest.vmid for guest in rig.machine.guests] == [1, 2, 3] and rig.hart.clock == 0


def test_a_guest_without_g_stage() -> None:
    rig = hypervisor("nop; ecall")
    enter(rig, 0)
    rig.run(3)
    guest = only(rig.machine)
    assert (guest.root, guest.retired, guest.exits) == (0, (1, 0), {"EXC_SUPERVISOR_SYSCALL": 1})


def test_of_too_many_guests_those_seen_last_are_kept() -> None:
    rig = hypervisor("ecall")
    roots = [gstage(rig, number) | number << 44 for number in range(20)]
    for hgatp in (*roots[:16], roots[0], *roots[16:]):
        enter(rig, hgatp)
        rig.run(2)
    assert [guest.vmid for guest in rig.machine.guests] == [0, *range(5, 20)]
    assert rig.hart.guests_lost == 4
    assert rig.machine.guests[0].entries == 2
    enter(rig, roots[3])
    rig.run(2)
    assert 3 in [guest.vmid for guest in rig.machine.guests] and rig.hart.guests_lost == 5
    assert next(guest.entries for guest in rig.machine.guests if guest.vmid == 3) == 1, "it begins anew"


def test_one_guest_on_two_harts() -> None:
    rig = Rig("sret", harts=2, mode=HS)
    rig.write(HANDLER + 0x1000, "self: j self")
    rig.write(GUEST, "nop; nop; ecall")
    rig.write(GUEST + 0x100, "nop; self: j self")
    hgatp = gstage(rig) | 4 << 44
    for index, hart in enumerate(rig.machine.harts):
        values = {"medeleg": EVERYTHING, "hgatp": hgatp, "sepc": GUEST + 0x100 * index, "hstatus": SPV | SPVP}
        for name, value in values.items():
            hart.set_csr(name, value)
        hart.mode, hart.pc = HS, BASE
        hart.set_csr("sstatus", SPP)
    rig.machine.run(5000)
    guest = only(rig.machine)
    assert (guest.entries, guest.exits, guest.loaded) == (2, {"EXC_SUPERVISOR_SYSCALL": 1}, (0, 1))
    assert guest.harts == (1,) and guest.hart == 1 and guest.status == "running"
    assert guest.retired == (sum(hart.retired[VS] for hart in rig.machine.harts), 0)
    assert guest.last_exit is not None and guest.last_exit.vcpu == 0
    rig.machine.harts[0].pc, rig.machine.harts[0].mode = BASE, HS
    rig.machine.run(5000)
    guest = only(rig.machine)
    ecall = guest.exit_counts[0]
    assert guest.entries == 3 and ecall.count == 2 and ecall.returns == 1


def test_counts_of_several_harts_add_up() -> None:
    one = ExitCount(10, False, HS, count=3, returns=2, spent=30, least=10, most=20)
    other = replace(one, count=1, returns=1, spent=5, least=5, most=5)
    never = replace(one, count=1, returns=0, spent=0, least=0, most=0)
    assert one.plus(other) == replace(one, count=4, returns=3, spent=35, least=5)
    assert one.plus(never) == never.plus(one) == replace(one, count=4)


def tiny() -> Machine:
    machine = Machine(memory=64 << 20)
    machine.boot(machine.load_elf(guests.path("tiny-hypervisor")).entry)
    return machine


def test_exits_are_those_that_a_hypervisor_counts_itself() -> None:
    machine = tiny()
    machine.run(100_000_000)
    text = machine.console.take().decode().replace("\r", "")
    table = dict(re.findall(r"^(\S[\w -]+?)  +(\d+ +\d+)$", text, re.MULTILINE))
    for index, guest in enumerate(machine.guests):
        assert (guest.name, guest.vmid) == (f"VMID {index + 1}", index + 1)
        said = {what: int(counts.split()[index]) for what, counts in table.items()}
        exits = guest.exits
        assert exits["EXC_SUPERVISOR_SYSCALL"] == said["SBI call"] > 0
        faults = ("EXC_INST_GUEST_PAGE_FAULT", "EXC_LOAD_GUEST_PAGE_FAULT", "EXC_STORE_GUEST_PAGE_FAULT")
        assert sum(exits[name] for name in faults) == said["guest-page fault"] > 0
        assert exits["EXC_VIRTUAL_INST_FAULT"] == said["WFI"] + said["virtual instruction"] > 0
        assert exits["IRQ_S_TIMER"] == said["timer interrupt"]
        assert guest.entries == sum(exits.values())
        assert all(each.least * each.returns <= each.spent <= each.most * each.returns for each in guest.exit_counts)
    assert sum(guest.retired[0] for guest in machine.guests) == machine.harts[0].retired[VS]


@pytest.mark.parametrize("cut", [70_000, 250_001, 3_000_000])
def test_counts_go_on_after_a_restore(cut: int, tmp_path: Any) -> None:
    whole, parts = tiny(), tiny()
    whole.run(cut + 2_000_000)
    parts.run(cut)
    snapshots.save(parts, tmp_path / "cut")
    parts = snapshots.load(tmp_path / "cut")
    parts.run(2_000_000)
    assert parts.guests == whole.guests and parts.guests[0].entries > 1
    assert parts.state_hash() == whole.state_hash()


def damaged(change: Any) -> None:
    """A hart refuses a state whose guests are no guests, and stays as it was."""
    rig = hypervisor("ecall")
    enter(rig, gstage(rig))
    rig.run(2)
    before, state = rig.hart.state(), rig.hart.state()
    change(state)
    with pytest.raises(StateError, match="hart 0"):
        rig.hart.restore(state)
    assert rig.hart.state() == before


@pytest.mark.parametrize("junk", [[[16, b""]], [[-1, None]], [["0", None]], [[0]], 7, [[0, b"short"]], [[0, "text"]]])
def test_saved_guests_that_do_not_fit(junk: Any) -> None:
    def change(state: dict[str, Any]) -> None:
        packed = state["guests"][0][1]
        state["guests"] = [[*row[:1], packed] if row[1:] == [None] else row for row in junk] if junk != 7 else 7

    damaged(change)


@pytest.mark.parametrize(
    ("at", "size", "value"), [(8, 8, 0), (144, 4, 129), (148, 1, 5)], ids=["empty", "away", "mode"]
)
def test_saved_guests_with_impossible_fields(at: int, size: int, value: int) -> None:
    def change(state: dict[str, Any]) -> None:
        packed = bytearray(state["guests"][0][1])
        packed[at : at + size] = value.to_bytes(size, "little")
        state["guests"][0][1] = bytes(packed)

    damaged(change)


def test_a_saved_hart_that_runs_no_guest_of_its_table() -> None:
    damaged(lambda state: state.update(guest=16))


def test_world_switches_are_events() -> None:
    rig = hypervisor("lbu a0, 0(a1); nop")
    rig.put(a1=0x1000)
    hgatp = gstage(rig) | 9 << 44
    enter(rig, hgatp)
    rig.run(2)
    switches = [event for event in rig.hart.events() if event.world_switch]
    assert [event.text for event in switches] == ["enter VMID 9", "leave VMID 9 (load guest-page fault)"]
    assert [event.kind for event in switches] == [EventKind.RETURN, EventKind.TRAP]
    rig.set(hgatp=0)
    rig.hart.mode = VS
    rig.hart.mode = HS
    assert [event.text for event in rig.hart.events(2)] == ["enter VMID 0", "leave VMID 0"]
    inside = Event(0, EventKind.INTERRUPT, 0, 0, 5, Mode.VU, Mode.VS, 1)
    assert not inside.world_switch and inside.text == "supervisor timer interrupt, VU to VS"
    assert replace(inside, to_mode=HS).text == "leave VMID 1 (supervisor timer interrupt)"


def test_vms_of_the_built_in_hypervisor_are_guests_too() -> None:
    machine = Machine(memory=64 << 20)
    machine.host = host = Hypervisor(machine)
    for name in ("hello", "exits"):
        host.create_vm(name, memory=4 << 20).load_elf(guests.path(name))
    machine.run(100_000_000)
    found = guests_of(machine)
    assert [(guest.vmid, guest.root) for guest in found] == [(vm.vmid, vm.tables.root) for vm in host.vms]
    for guest, vm in zip(found, host.vms, strict=True):
        assert guest.instructions == vm.instructions and guest.exits == vm.exits


@pytest.mark.parametrize(
    ("code", "interrupt", "name"),
    [
        # Linux, tools/perf, of riscv: what `perf kvm stat` prints
        (2, False, "EXC_INST_ILLEGAL"), (10, False, "EXC_SUPERVISOR_SYSCALL"), (20, False, "EXC_INST_GUEST_PAGE_FAULT"),
        (21, False, "EXC_LOAD_GUEST_PAGE_FAULT"), (22, False, "EXC_VIRTUAL_INST_FAULT"),
        (23, False, "EXC_STORE_GUEST_PAGE_FAULT"), (1, True, "IRQ_S_SOFT"), (5, True, "IRQ_S_TIMER"),
        (7, True, "IRQ_M_TIMER"), (9, True, "IRQ_S_EXT"), (12, True, "IRQ_S_GEXT"), (13, True, "IRQ_PMU_OVF"),
        (14, False, "EXC_14"), (40, True, "IRQ_40"),
    ],
)  # fmt: skip
def test_kvms_names(code: int, interrupt: bool, name: str) -> None:
    assert csrs.kvm_name(code, interrupt) == name


def test_kvms_names_are_of_one_form_and_each_once() -> None:
    names = [row[2] for table in (csrs.EXCEPTIONS, csrs.INTERRUPTS) for row in table.values()]
    assert len(set(names)) == len(names) and all(re.fullmatch("(EXC|IRQ)_[A-Z_0-9]+", name) for name in names)
    assert all(row[2].startswith("EXC") for row in csrs.EXCEPTIONS.values())


def test_the_program_is_what_the_counts_assume() -> None:
    assert len(assemble(HANDLER, HANDLER_TEXT).code) == 16
