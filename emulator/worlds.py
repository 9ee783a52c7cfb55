"""Guests of whatever hypervisor runs in the machine, as the harts see them: by hgatp.

A guest is known by where its G-stage is: MODE and PPN of hgatp ("Hypervisor Guest Address Translation and Protection
(hgatp) Register"). Its VMID is a name for the time being: hypervisors give VMIDs away anew, KVM once it has used all.
What several harts have counted of one guest is added up; a virtual CPU is nothing that hgatp tells apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from emulator.hart.hart import ExitCount, GuestCount, Hart, Mode
from emulator.isa import csrs

if TYPE_CHECKING:
    from emulator.machine import Machine

VMID = csrs.BY_NAME["hgatp"].field("VMID")
PPN = csrs.BY_NAME["hgatp"].field("PPN")
MODE = csrs.BY_NAME["hgatp"].field("MODE")
GUEST_PAGE_FAULTS = (20, 21, 23)


class GuestExit(NamedTuple):
    """One exit. `clock` is the hart's, in instructions; `name` as in KVM's statistics; `address` is guest-physical.

    `vcpu`: the virtual CPU, or where the machine's own hypervisor knows them alone, the hart.
    """

    clock: int
    vcpu: int
    name: str
    cause: int
    pc: int
    address: int
    detail: str


def identity(hgatp: int) -> int:
    """What of hgatp tells guests apart: MODE and PPN, in place."""
    return hgatp & ~VMID.mask


def vmid_of(hgatp: int) -> int:
    return VMID.extract(hgatp)


def root_of(hgatp: int) -> int:
    """Physical address of the G-stage's root table; 0 where there is none."""
    return PPN.extract(hgatp) << 12


@dataclass(frozen=True)
class Guest:
    """A guest of the hypervisor inside the machine, at one moment. What `emulator.vmm.Vm` has too is named as there."""

    name: str
    """By its VMID, and where that does not tell it from another guest, by its root too."""
    hgatp: int
    """As it was last entered with."""
    entries: int
    retired: tuple[int, int]
    """Instructions in VS and in VU."""
    served: tuple[int, int, int]
    """Instructions in M, HS and U that followed its exits, on the same hart, until a guest was entered there: those of
    firmware and of its hypervisor."""
    share: float
    """Of all instructions that the machine has retired, 0 to 1."""
    seen: int
    """Clock of the last entry or exit."""
    exit_counts: tuple[ExitCount, ...]
    """The most frequent first."""
    last_exit: GuestExit | None
    harts: tuple[int, ...]
    """Which run it now."""
    loaded: tuple[int, ...]
    """Whose hgatp names it now."""
    hart: int
    """To look at: one that runs it, or else has it loaded, or else ran it last."""
    pc: int
    """There, in the guest, or where its last exit there left it."""
    mode: Mode
    """The same."""

    @property
    def identity(self) -> int:
        """What tells guests apart: MODE and PPN of hgatp, in place."""
        return identity(self.hgatp)

    @property
    def vmid(self) -> int:
        """The VMID field of hgatp."""
        return vmid_of(self.hgatp)

    @property
    def root(self) -> int:
        """Physical address."""
        return root_of(self.hgatp)

    @property
    def instructions(self) -> int:
        """Retired in its VS- and VU-mode, over all harts."""
        return sum(self.retired)

    @property
    def exits(self) -> Counter[str]:
        """By KVM's names; into M-mode, which KVM does not see, as "IRQ_M_TIMER (to M)"."""
        return Counter({name_of(each): each.count for each in self.exit_counts})

    @property
    def status(self) -> str:
        """ "running" (in the guest), "exited" (its hypervisor deals with an exit) or "away" (no hart has it loaded)."""
        return "running" if self.harts else "exited" if self.loaded else "away"


def name_of(exit: ExitCount) -> str:
    return exit.name + " (to M)" * (exit.to_mode is Mode.M)


def guests_of(machine: Machine) -> list[Guest]:
    """The guests that ran on the machine's harts, of each at most the 16 seen last; by VMID."""
    found: dict[int, list[tuple[Hart, GuestCount]]] = {}
    for hart in machine.harts:
        for count in hart.guests():
            found.setdefault(identity(count.hgatp), []).append((hart, count))
    now = {hart.index: identity(hart.hgatp) for hart in machine.harts}
    total = sum(hart.instret for hart in machine.harts)
    guests = [
        _merged(counts, tuple(index for index, known in now.items() if known == which), total)
        for which, counts in found.items()
    ]
    guests.sort(key=lambda guest: (guest.vmid, guest.identity))
    for place in (root_of, identity):
        named = Counter(guest.name for guest in guests)
        guests = [g if named[g.name] == 1 else replace(g, name=f"VMID {g.vmid} @{place(g.hgatp):x}") for g in guests]
    return guests


def _merged(counts: list[tuple[Hart, GuestCount]], loaded: tuple[int, ...], total: int) -> Guest:
    last = max((count for _, count in counts), key=lambda count: count.seen)
    hart, here = max(counts, key=lambda pair: (pair[1].inside, pair[0].index in loaded, pair[1].seen))
    left = [pair for pair in counts if pair[1].exits]
    vs, vu = (sum(count.retired[part] for _, count in counts) for part in (0, 1))
    served = [sum(count.served[part] for _, count in counts) for part in (0, 1, 2)]
    return Guest(
        name=f"VMID {vmid_of(last.hgatp)}",
        hgatp=last.hgatp,
        entries=sum(count.entries for _, count in counts),
        retired=(vs, vu),
        served=(served[0], served[1], served[2]),
        share=(vs + vu) / total if total else 0.0,
        seen=last.seen,
        exit_counts=_added(each for _, count in counts for each in count.exits),
        last_exit=_exit(*max(left, key=lambda pair: pair[1].clock)) if left else None,
        harts=tuple(hart.index for hart, count in counts if count.inside),
        loaded=loaded,
        hart=hart.index,
        pc=hart.pc if here.inside else here.pc,
        mode=hart.mode if here.inside else here.from_mode if here.exits else Mode.VS,
    )


def _added(exits: Iterable[ExitCount]) -> tuple[ExitCount, ...]:
    table: dict[tuple[int, bool, Mode], ExitCount] = {}
    for each in exits:
        key = each.cause, each.interrupt, each.to_mode
        table[key] = table[key].plus(each) if key in table else each
    return tuple(sorted(table.values(), key=lambda each: (-each.count, each.name)))


def _exit(hart: Hart, count: GuestCount) -> GuestExit:
    code, interrupt = count.cause & (1 << 63) - 1, bool(count.cause >> 63)
    address = 0
    if not interrupt and code in GUEST_PAGE_FAULTS:
        # htval leaves out two bits, which are those of stval, unless the address is that of a page-table entry.
        address = count.tval2 << 2 | (0 if count.tinst in csrs.PSEUDO_INSTRUCTIONS else count.tval & 3)
    detail = f"value {count.tval:#x}" if count.tval else ""
    return GuestExit(count.clock, hart.index, csrs.kvm_name(code, interrupt), code, count.pc, address, detail)
