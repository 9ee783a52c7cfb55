"""Address spaces of a machine and of the guests in it: which bytes an address stands for, and who has them.

`va` is translated as the hart would in its present mode, by its own walker; what that mode may not touch (a user's page
for S-mode, code for a store) a debugger may. `gpa` is what the G-stage takes: a guest's physical addresses. `pa` is the
machine's own. Devices are none of them: reading a register may change what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from emulator.errors import TranslationError
from emulator.hart import Access, Mode, Walk
from emulator.machine import Machine
from rvtui.subjects import (
    PAGE,
    WORD,
    GuestFace,
    Subject,
    borrowed,
    hart_index,
    selected_guest,
    selected_vcpu,
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

    def piece(self, store: bool = False) -> Piece:
        """Where the byte is, and how many follow it there. TranslationError says why there is no memory."""
        if self.space == "pa":
            return self._physical(self.address, WORD)
        return self._virtual(store) if self.space == "va" else self._guest_physical(store)

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

    def _physical(self, address: int, most: int) -> Piece:
        memory = self.machine.memory
        region = memory.find(address)
        if region is not None:
            return Piece(memory, address, min(most, region.end - address))
        through = "" if self.space == "pa" else f"{self.spelt()} is physical {address:#x}, "
        found = self.machine.bus.find(address)
        if found is not None:
            raise _device(f"{through or f'{self.spelt()} is '}in device {found[1].name}")
        have = ", ".join(f"{region.name} {region.base:#x}..{region.end:#x}" for region in memory.regions)
        raise TranslationError(f"{through or f'{self.spelt()}: '}no memory there; there is {have}")

    def _slot(self, vm: Any, gpa: int, most: int) -> Piece | None:
        slot = vm.memory.find(gpa)
        return None if slot is None else Piece(vm.memory, gpa, min(most, slot.end - gpa))

    def _guest_physical(self, store: bool) -> Piece:
        vm, _ = selected_vcpu(self.machine, self.subject)
        if vm is not None:
            if (piece := self._slot(vm, self.address, WORD)) is not None:
                return piece
            found = vm.bus.find(self.address)
            if found is not None:
                raise _device(f"{self.spelt()} is in device {found[1].name} of {vm.name}")
            have = ", ".join(f"{slot.gpa:#x}..{slot.end:#x}" for slot in vm.slots)
            raise TranslationError(f"{self.spelt()}: {vm.name} has no memory there; it has {have}")
        guest = selected_guest(self.machine, self.subject)
        hart = self.machine.harts[hart_index(self.machine, self.subject)]
        hgatp = hart.hgatp if guest is None else guest.hgatp
        if not hgatp >> 60:
            raise TranslationError(f"{self.spelt()}: there is no guest here: hgatp of hart {hart.index} is Bare")
        with borrowed(hart, {"hgatp": hgatp}):
            walks = [hart.walk(self.address, access, Mode.VU) for access in _tried(store)]
        return self._walked(walks)

    def _virtual(self, store: bool) -> Piece:
        face = walker_of(self.machine, self.subject)
        if isinstance(face, GuestFace) and not face.whole:
            raise TranslationError(
                f"{face.guest.name} is on no hart, and where its vsatp is nobody knows: use {self.owner or 'gpa'}"
                f"{':gpa' if self.owner else ''}:ADDRESS"
            )
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
                if vm is not None and gpa is not None and (piece := self._slot(vm, gpa, _rest(walk))) is not None:
                    return piece
                if walk.physical is not None:
                    return self._walked([walk])
        if vm is not None and (gpa := face.missing(walks[0])) is not None and (found := vm.bus.find(gpa)) is not None:
            raise _device(f"{self.spelt()} is guest-physical {gpa:#x}, in device {found[1].name} of {vm.name}")
        return self._walked(walks[:1])

    def _walked(self, walks: list[Walk]) -> Piece:
        for walk in walks:
            if walk.physical is not None:
                return self._physical(walk.physical, _rest(walk))
        why = walks[0].explain.partition(": ")[2]
        raise TranslationError(f"{self.spelt()} does not translate: {why}")


def _tried(store: bool) -> tuple[Access, ...]:
    return (Access.STORE, Access.LOAD, Access.FETCH) if store else (Access.LOAD, Access.FETCH)


def _rest(walk: Walk) -> int:
    """Bytes from the address on to the end of its page."""
    page = 1 << walk.page_bits if walk.physical is not None and walk.page_bits else PAGE
    return page - walk.address % page


def _device(where: str) -> TranslationError:
    return TranslationError(f"{where}, whose registers are no memory: `devices` shows what it holds")
