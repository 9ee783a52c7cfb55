"""Memory as a debugger sees it: by the translation of a thread, whatever its permissions say. On the worker only."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from emulator.errors import EmulatorError, TranslationError
from emulator.hart import Access, Mode, Walk
from emulator.machine import Machine
from rvtui.gdb.points import Range
from rvtui.gdb.threads import Thread
from rvtui.subjects import borrowed, selected_vcpu

PAGE = 4096
WORD = (1 << 64) - 1


class Space(Enum):
    """What the addresses of memory packets are."""

    VIRTUAL = "virtual"
    PHYSICAL = "physical"
    GUEST = "guest-physical"


def _walks(face: Any, address: int) -> Iterator[Walk]:
    """As the thread's mode would, and where that is refused: to execute, and from the other privilege, since no
    debugger should have to set SUM or MXR."""
    mode = face.mode
    other = {Mode.HS: Mode.U, Mode.U: Mode.HS, Mode.VS: Mode.VU, Mode.VU: Mode.VS}.get(mode)
    for each in (mode,) if other is None else (mode, other):
        for access in (Access.LOAD, Access.FETCH):
            yield face.walk(address, access, each)


def _find(machine: Machine, thread: Thread, space: Space, address: int) -> int:
    """The physical address. Raises EmulatorError."""
    if space is Space.PHYSICAL:
        return address
    vm, vcpu = selected_vcpu(machine, thread.subject)
    face = thread.face(machine)
    if space is Space.GUEST:
        if vm is not None:
            return int(vm.memory.physical(address))
        hart = machine.harts[thread.subject.hart]
        if not hart.hgatp:
            raise TranslationError("no guest is loaded on this hart: hgatp is 0")
        with borrowed(hart, {"hgatp": hart.hgatp}):
            walks = [hart.walk(address, Access.LOAD, Mode.VS)]
    else:
        walks = list(_walks(face, address))
    for walk in walks:
        if walk.physical is not None:
            return walk.physical
    for walk in walks if vcpu is not None else ():
        gpa = face.unmapped(walk)
        if gpa is not None:
            return int(vm.memory.physical(gpa))
    raise TranslationError(walks[0].explain)


def pieces(machine: Machine, thread: Thread, space: Space, address: int, length: int) -> Iterator[Range]:
    """Where it is in physical memory, page by page. Raises EmulatorError where there is none."""
    while length > 0:
        size = min(length, PAGE - address % PAGE)
        physical = _find(machine, thread, space, address & WORD)
        if machine.memory.find(physical, size) is None:
            raise TranslationError(f"{address:#x} is physical {physical:#x}, where there is no memory")
        yield physical, size
        address, length = (address + size) & WORD, length - size


def read(machine: Machine, thread: Thread, space: Space, address: int, length: int) -> bytes:
    """As much as there is from `address` on. Raises EmulatorError where that is nothing."""
    found = b""
    try:
        for at, size in pieces(machine, thread, space, address, length):
            found += machine.memory.read(at, size)
    except EmulatorError:
        if not found:
            raise
    return found


def write(machine: Machine, thread: Thread, space: Space, address: int, data: bytes) -> None:
    """All or nothing. Raises EmulatorError."""
    vm, _ = selected_vcpu(machine, thread.subject)
    done = 0
    for at, size in list(pieces(machine, thread, space, address, len(data))):
        part = data[done : done + size]
        slot = None if vm is None else next((s for s in vm.memory.slots if 0 <= at - s.physical < s.end - s.gpa), None)
        if slot is None:
            machine.memory.write(at, part)
        else:
            vm.memory.write(slot.gpa + at - slot.physical, part)  # the VM's log of what was written hears of it
        done += size
