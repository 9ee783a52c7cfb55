"""Harts and virtual CPUs as GDB's threads.

Process 1 is the machine: its harts, whoever they run, or the virtual CPUs of the built-in hypervisor. A VM that GDB
attaches to is a process of its own from then on, so that GDB keeps symbols and breakpoints apart; the first VM is
number 2. That is not done unasked: GDB wants a description for each inferior that it attaches to, and for no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from emulator.hart import Exit
from emulator.machine import Machine
from emulator.worlds import identity
from rvtui.subjects import Subject, hart_of, selected_vcpu, subjects, virtual_machines

MACHINE = 1
"""The process that is not a VM."""


@dataclass(frozen=True)
class Thread:
    """`number` counts from 1, and is never used twice in a machine."""

    process: int
    number: int
    name: str
    subject: Subject

    def face(self, machine: Machine) -> Any:
        """The hart, or the virtual CPU as one."""
        return hart_of(machine, self.subject)

    def what(self, machine: Machine) -> str:
        """Mode and world, or why it does not run: VS, VMID 1."""
        vm, vcpu = selected_vcpu(machine, self.subject)
        if vcpu is not None:
            return f"{vcpu.mode.label}, VM {vm.name}, {vcpu.state}"
        hart = machine.harts[self.subject.hart]
        said = [hart.mode.label]
        if hart.mode.virtual:
            root = identity(hart.hgatp)
            said += [guest.name for guest in machine.guests if guest.identity == root]
        if hart.halted:
            said.append("halted")
        elif hart.waiting:
            said.append("waits")
        return ", ".join(said)


def process_of(vm: int, apart: Collection[int]) -> int:
    """Of a VM by position, where the processes `apart` are attached to."""
    return number if (number := MACHINE + 1 + vm) in apart else MACHINE


def threads_of(machine: Machine, apart: Collection[int] = ()) -> list[Thread]:
    """By number."""
    vms = virtual_machines(machine)
    if not vms:
        return [Thread(MACHINE, hart.index + 1, f"hart {hart.index}", Subject(hart.index)) for hart in machine.harts]
    return [
        Thread(process_of(each.vm or 0, apart), 1 + place, f"{vms[each.vm or 0].name}/{each.vcpu}", each)
        for place, each in enumerate(subjects(machine))
    ]


def stopped(machine: Machine, exit: Exit | None, apart: Collection[int] = ()) -> Thread:
    """Whose doing `exit` was; without one, who would run next."""
    every = threads_of(machine, apart)
    current = getattr(machine.host, "current", None)
    if virtual_machines(machine):
        return next((each for each in every if selected_vcpu(machine, each.subject)[1] is current), every[0])
    return every[machine.turn if exit is None else exit.hart]
