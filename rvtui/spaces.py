"""Address spaces of a machine and of the guests in it: which bytes an address stands for, and who has them.

`va` is translated as the hart would in its present mode, by its own walker; what that mode may not touch (a user's page
for S-mode, code for a store, what PMP refuses) a debugger may. `gpa` is what the G-stage takes: a guest's physical
addresses. `pa` is the machine's own. Devices are none of them: reading a register may change what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from emulator.errors import TranslationError
from emulator.hart import Access, Hart, Mode, Walk
from emulator.hart.hart import Refused, WalkResult
from emulator.machine import Machine
from emulator.verdict import culprit, reason
from rvtui.subjects import (
    PAGE,
    WORD,
    GuestFace,
    Subject,
    borrowed,
    hart_index,
    selected_guest,
    selected_vcpu,
    standing,
    walker_of,
)

NAMES: Final = {
    "va": "virtual addresses, as the hart sees them in its mode",
    "gpa": "guest-physical addresses",
    "pa": "physical addresses of the machine",
}
_OTHER: Final = {Mode.VS: Mode.VU, Mode.VU: Mode.VS, Mode.HS: Mode.U, Mode.U: Mode.HS}


class Piece(NamedTuple):
    """`size` bytes from an address on lie together: at `address` of `memory`."""

    memory: Any
    address: int
    size: int


@dataclass(frozen=True)
class Trail:
    """What an address leads to: memory, or why to none. The same holds of `size` bytes from it on."""

    size: int
    piece: Piece | None = None
    walk: Walk | None = None
    """Of a virtual address or a guest-physical one, through what translates those."""
    guest_physical: int | None = None
    physical: int | None = None
    device: str = ""
    """The device that answers there. Its registers are never read by looking."""
    why: str = ""
    """Why there is no memory, as a sentence with the address."""
    brief: str = ""
    """The same in a few words, without the address."""
    note: str = ""
    """Why the mode may not touch memory that is there: what a PMP entry says."""


@dataclass(frozen=True)
class Place:
    """An address in one of the spaces, of the hart or guest `subject`; `owner` is how the user called that, or ""."""

    machine: Machine
    subject: Subject
    space: str
    address: int
    owner: str = ""

    def at(self, offset: int) -> Place:
        return replace(self, address=(self.address + offset) & WORD)

    def spelt(self, address: int | None = None) -> str:
        """As it could be typed."""
        space = "" if self.space == "va" else f"{self.space}:"
        owner = f"{self.owner.replace(' ', '')}:" if self.owner else ""
        return f"{owner}{space}{self.address if address is None else address:#x}"

    def trail(self, store: bool = False) -> Trail:
        """Where the byte is, or why it is nowhere, and how far that goes on."""
        if self.space == "pa":
            return self._physical(self.address, WORD)
        return self._virtual(store) if self.space == "va" else self._guest_physical(store)

    def trails(self, length: int, store: bool = False) -> Iterator[tuple[int, Trail]]:
        """All of `length` bytes, memory or not: where each part begins, from here, and where it leads. A part that goes
        past the end is cut."""
        done = 0
        while done < length:
            found = self.at(done).trail(store)
            size = max(1, min(found.size, length - done))
            piece = found.piece and found.piece._replace(size=size)
            yield done, replace(found, size=size, piece=piece)
            done += size

    def piece(self, store: bool = False) -> Piece:
        """Where the byte is, and how many follow it there. TranslationError says why there is no memory."""
        found = self.trail(store)
        if found.piece is None:
            raise TranslationError(found.why)
        return found.piece

    def pieces(self, length: int, store: bool = False) -> Iterator[Piece]:
        """All of `length` bytes, one after another. TranslationError where they end."""
        done = 0
        while done < length:
            memory, address, size = self.at(done).piece(store)
            size = min(size, length - done)
            yield Piece(memory, address, size)
            done += size

    def read(self, length: int) -> bytes:
        """TranslationError where not all of it is memory."""
        return b"".join(memory.read(address, size) for memory, address, size in self.pieces(length))

    def write(self, data: bytes) -> None:
        """All or nothing. TranslationError where not all of it is memory."""
        done = 0
        for memory, address, size in list(self.pieces(len(data), True)):
            memory.write(address, data[done : done + size])
            done += size
        self.machine.device_wrote()  # for harts it is as if a device had

    # The three spaces.

    def _physical(self, address: int, most: int, walk: Walk | None = None, gpa: int | None = None) -> Trail:
        memory, bus = self.machine.memory, self.machine.bus
        region = memory.find(address)
        if region is not None:
            size = min(most, region.end - address)
            return Trail(size, Piece(memory, address, size), walk, gpa, address)
        through = "" if self.space == "pa" else f"{self.spelt()} is physical {address:#x}, "
        regions = [(each.base, each.end) for each in memory.regions]
        size = _until(address, [*regions, *_ranges(bus)], most)
        found = bus.find(address)
        if found is not None:
            name = found[1].name
            why = f"{through or f'{self.spelt()} is '}in device {name}{_NO_MEMORY}"
            return Trail(size, None, walk, gpa, address, name, why, f"device {name}")
        have = ", ".join(f"{region.name} {region.base:#x}..{region.end:#x}" for region in memory.regions)
        why = f"{through or f'{self.spelt()}: '}no memory there; there is {have}"
        return Trail(size, None, walk, gpa, address, why=why, brief="no memory there")

    def _of_vm(self, vm: Any, gpa: int, most: int, walk: Walk | None) -> Trail | None:
        """In a memory slot or a device of a VM, which the hypervisor need not have mapped."""
        slot = vm.memory.find(gpa)
        if slot is not None:
            size = min(most, slot.end - gpa)
            return Trail(size, Piece(vm.memory, gpa, size), walk, gpa, slot.physical + gpa - slot.gpa)
        found = vm.bus.find(gpa)
        if found is None:
            return None
        through = f"{self.spelt()} is " if self.space == "gpa" else f"{self.spelt()} is guest-physical {gpa:#x}, "
        name = f"{found[1].name} of {vm.name}"
        why = f"{through}in device {name}{_NO_MEMORY}"
        return Trail(_until(gpa, _claimed(vm), most), None, walk, gpa, None, found[1].name, why, f"device {name}")

    def _guest_physical(self, store: bool) -> Trail:
        vm, _ = selected_vcpu(self.machine, self.subject)
        guest = selected_guest(self.machine, self.subject)
        hart = self.machine.harts[hart_index(self.machine, self.subject)]
        hgatp = vm.hgatp if vm is not None else hart.hgatp if guest is None else guest.hgatp
        if not hgatp >> 60:
            why = f"there is no guest here: hgatp of hart {hart.index} is Bare"
            return Trail(WORD - self.address + 1, why=f"{self.spelt()}: {why}", brief=why)
        with standing(self.machine, self.subject) as (worn, _), borrowed(worn, {"hgatp": hgatp}):
            walks = [worn.walk(self.address, access, Mode.VU) for access in _tried(store)]
            if vm is None:
                return self._walked(walks, worn)
        found = self._of_vm(vm, self.address, WORD, walks[0])
        if found is not None:
            return found
        have = ", ".join(f"{slot.gpa:#x}..{slot.end:#x}" for slot in vm.slots)
        why = f"{self.spelt()}: {vm.name} has no memory there; it has {have}"
        size = _until(self.address, _claimed(vm), WORD)
        return Trail(size, None, walks[0], self.address, why=why, brief=f"{vm.name} has no memory there")

    def _virtual(self, store: bool) -> Trail:
        face = walker_of(self.machine, self.subject)
        if isinstance(face, GuestFace) and not face.whole:
            why = (
                f"{face.guest.name} is on no hart, and where its vsatp is nobody knows: use {self.owner or 'gpa'}"
                f"{':gpa' if self.owner else ''}:ADDRESS"
            )
            return Trail(WORD - self.address + 1, why=why, brief=f"{face.guest.name} is on no hart: only gpa is known")
        # As the hart's own access first: that one says why not.
        modes = [face.mode if isinstance(face, GuestFace) else None]
        if face.mode in _OTHER:
            modes.append(_OTHER[face.mode])
        vm, _ = selected_vcpu(self.machine, self.subject)
        walks = []
        for mode in modes:
            for access in _tried(store):
                walk = face.walk(self.address, access, mode)
                walks.append(walk)
                gpa = walk.guest_physical
                if walk.physical is None and vm is not None:
                    gpa = face.missing(walk)
                if vm is not None and gpa is not None and vm.memory.find(gpa) is not None:
                    return self._of_vm(vm, gpa, _rest(walk), walk) or Trail(1)
                if walk.physical is not None:
                    return self._walked([walk], face)
        if vm is not None and (gpa := face.missing(walks[0])) is not None:
            if (found := self._of_vm(vm, gpa, _rest(walks[0]), walks[0])) is not None:
                return found
            failed = self._walked(walks[:1], face)
            return replace(failed, size=_until(gpa, _claimed(vm), failed.size), guest_physical=gpa)
        return self._walked(walks[:1], face)

    def _walked(self, walks: list[Walk], face: Any) -> Trail:
        """The first walk that leads somewhere; else why the first does not."""
        for walk in walks:
            if walk.physical is not None:
                gpa = walk.guest_physical if any(step.stage for step in walk.steps) else None
                return self._physical(walk.physical, _rest(walk), walk, gpa)
        walk = walks[0]
        if culprit(walk) is None and walk.reached is not None:
            gpa = walk.guest_physical if any(step.stage for step in walk.steps) else None
            note = _brief(walk, face) if walk.refused not in (None, Refused.NO_MEMORY) else ""
            return replace(self._physical(walk.reached, _rest(walk), walk, gpa), note=note)
        why = f"{self.spelt()} does not translate: {walk.explain.partition(': ')[2]}"
        last = walk.steps[-1] if walk.steps else None
        gpa = last.input if last is not None and last.stage and last.nested is None else None
        return Trail(_hole(walk), None, walk, gpa, why=why, brief=_brief(walk, face))


_NO_MEMORY: Final = ", whose registers are no memory: `devices` shows what it holds"


def _hole(walk: Walk) -> int:
    """Bytes from the address of a walk on that fail at the same entry; fewer where that is not easily known."""
    bad = culprit(walk)
    if bad is None:
        return PAGE - walk.address % PAGE
    step = walk.steps[bad]
    if step.result is WalkResult.RANGE and not step.stage:
        return max(1, (1 << 64) - (1 << 12 + 9 * step.level + 8) - walk.address)
    if step.nested is not None:  # the G-stage maps no part of a page: all of the table is away, but not the root's
        whole = step.result is not WalkResult.ACCESS and step.nested < (walk.world.first >> 60) - 6
        return _left(walk.address, 12 + 9 * (step.nested + whole))
    if not step.stage:
        return _left(walk.address, 12 + 9 * step.level)
    leaf = next((each for each in reversed(walk.steps) if not each.stage), None)
    sizes = [_left(step.input, 12 + 9 * step.level) if step.result is not WalkResult.RANGE else PAGE]
    return min([*sizes, *([_left(walk.address, 12 + 9 * leaf.level)] if leaf is not None else [])])


def _tried(store: bool) -> tuple[Access, ...]:
    return (Access.STORE, Access.LOAD, Access.FETCH) if store else (Access.LOAD, Access.FETCH)


def _left(address: int, bits: int) -> int:
    """Bytes from an address to the end of what is 2**bits wide."""
    return (1 << bits) - (address & (1 << bits) - 1)


def _rest(walk: Walk) -> int:
    """Bytes from the address on to the end of its page: the smaller one of both stages, all there is where neither
    translates."""
    leaves = [step for step in walk.steps if step.result is WalkResult.LEAF and step.nested is None]
    bits = walk.page_bits if walk.physical is not None else min((12 + 9 * step.level for step in leaves), default=64)
    return _left(walk.address, bits or 12)


def _ranges(bus: Any) -> list[tuple[int, int]]:
    return [(base, base + size) for base, size in bus.ranges]


def _claimed(vm: Any) -> list[tuple[int, int]]:
    """Guest-physical ranges in which a VM has memory or a device."""
    return [*((slot.gpa, slot.end) for slot in vm.slots), *_ranges(vm.bus)]


def _until(address: int, ranges: list[tuple[int, int]], most: int) -> int:
    """Bytes from an address to the next edge of a range, at most `most`."""
    edges = [edge for each in ranges for edge in each if edge > address]
    return min([most, *(edge - address for edge in edges)])


def _brief(walk: Walk, face: Any) -> str:
    bad, hart = culprit(walk), face if isinstance(face, Hart) else face.hart
    verdict = reason(walk, hart)
    text = verdict.text if verdict is not None else ""
    if bad is None:
        return text
    step = walk.steps[bad]
    stage = "G-stage" if step.stage else "VS-stage" if walk.world.mode.virtual else "satp"
    for_ = f" for the VS-stage's level {step.nested}" if step.nested is not None else ""
    return f"{stage} level {step.level}{for_}: {text}"
