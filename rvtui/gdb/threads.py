"""Harts and virtual CPUs as GDB's threads, worlds as its processes.

A VM of the built-in hypervisor is a process, its virtual CPUs are the threads: VMs have nothing in common, so GDB keeps
symbols and breakpoints apart for each. The bare machine is one process, its harts are the threads, whoever they run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulator.hart import Exit
from emulator.machine import Machine
from emulator.worlds import identity
from rvtui.subjects import Subject, hart_of, selected_vcpu, subjects, virtual_machines


@dataclass(frozen=True)
class Thread:
    """`process` and `number` count from 1; `number` is never used twice in a machine."""

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


def threads_of(machine: Machine) -> list[Thread]:
    """By number."""
    vms = virtual_machines(machine)
    if not vms:
        return [Thread(1, hart.index + 1, f"hart {hart.index}", Subject(hart.index)) for hart in machine.harts]
    return [
        Thread(1 + (each.vm or 0), 1 + place, f"{vms[each.vm or 0].name}/{each.vcpu}", each)
        for place, each in enumerate(subjects(machine))
    ]


def stopped(machine: Machine, exit: Exit | None) -> Thread:
    """Whose doing `exit` was; without one, who would run next."""
    every = threads_of(machine)
    current = getattr(machine.host, "current", None)
    if virtual_machines(machine):
        return next((each for each in every if selected_vcpu(machine, each.subject)[1] is current), every[0])
    return every[machine.turn if exit is None else exit.hart]
