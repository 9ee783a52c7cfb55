"""Where a debugger wants the machine to stop. On the session's worker only.

A breakpoint is an address in the list that the machine itself compares with pc: guest memory is never patched. The list
knows no worlds, so a stop in another world than the one that the breakpoint is for is passed over here. A watchpoint is
a range of physical memory, found by the translation that the thread has when GDB sets it, which is at every resume.
Nothing of it is part of the machine's state: what was set is lifted while the machine is saved, and goes with the
debugger; what the user has set at the same place stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from emulator.errors import EmulatorError
from emulator.hart import Exit, ExitReason, Hart
from emulator.machine import Machine
from emulator.worlds import identity
from rvtui.gdb.packets import ANY, Refusal
from rvtui.gdb.threads import MACHINE, process_of
from rvtui.subjects import virtual_machines

SOFTWARE, HARDWARE = 0, 1
KINDS = {2: 2, 3: 1, 4: 3}
"""What Z2, Z3 and Z4 watch: 1 reads, 2 writes."""
SAID = {2: "watch", 3: "rwatch", 4: "awatch"}
MOST = 4096
"""Addresses whose world is remembered, and watchpoints."""

Range = tuple[int, int]
"""Physical address and length in bytes."""


@dataclass(frozen=True)
class World:
    """Whose instructions a breakpoint is for: `virtual` says in which V, None in both; `root` of which guest."""

    name: str
    virtual: bool | None = None
    root: int | None = None

    def holds(self, hart: Hart) -> bool:
        virtual = hart.mode.virtual
        return self.virtual in (None, virtual) and self.root in (None, identity(hart.hgatp) if virtual else -1)


ANYWHERE = World("any")
_GENERAL = {each.name: each for each in (ANYWHERE, World("host", False), World("guest", True))}


def worlds(machine: Machine) -> dict[str, World]:
    """By name: any, host (V=0), guest (V=1), and each guest and VM."""
    found = dict(_GENERAL)
    vms = virtual_machines(machine)
    for name, hgatp in [(each.name, each.hgatp) for each in vms or machine.guests]:
        found[name] = World(name, True, identity(hgatp))
    return found


def named(machine: Machine, name: str) -> World:
    """Raises Refusal, which lists them."""
    known = worlds(machine)
    spelt = {each.lower().replace(" ", ""): each for each in known}
    found = name if name in known else spelt.get(name.lower().replace(" ", ""))
    if found is None:
        raise Refusal(f"no world {name!r}: there is {', '.join(known)}")
    return known[found]


@dataclass
class _Breakpoint:
    own: bool
    """Nobody else had one there."""
    asked: set[tuple[int, int]] = field(default_factory=set)
    """(kind, process) as set."""


@dataclass(frozen=True)
class _Watch:
    kind: int
    address: int
    length: int
    pieces: tuple[Range, ...]


class Points:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.apart: set[int] = set()
        """VMs that are processes of their own."""
        self.world = ANYWHERE
        """Of breakpoints that are set for the first time."""
        self.worlds: dict[int, World] = {}
        """Of every address that ever had a breakpoint: GDB takes them all away at each stop."""
        self.breakpoints: dict[int, _Breakpoint] = {}
        self.watches: dict[tuple[int, int, int, int], _Watch] = {}
        self._before: dict[Range, int] = {}
        """Kinds that the user watches where we do."""

    def forget(self) -> None:
        """What one debugger has said is nothing to the next."""
        self.world = ANYWHERE
        self.worlds.clear()
        self.apart.clear()

    def confine(self, address: int, world: World) -> None:
        self.worlds.pop(address, None)
        self.worlds[address] = world
        while len(self.worlds) > MOST:
            self.worlds.pop(next(iter(self.worlds)))

    # Breakpoints

    def set(self, kind: int, address: int, process: int) -> None:
        """Raises EmulatorError where there are too many."""
        found = self.breakpoints.get(address)
        if found is None:
            found = _Breakpoint(address not in self.machine.breakpoints)
            self.machine.breakpoints.add(address)
            self.breakpoints[address] = found
        if address not in self.worlds:
            self.confine(address, self.world)
        found.asked.add((kind, process))

    def clear(self, kind: int, address: int, process: int) -> None:
        """Also where there is none."""
        found = self.breakpoints.get(address)
        if found is None:
            return
        found.asked.discard((kind, process))
        if not found.asked:
            del self.breakpoints[address]
            if found.own:
                self.machine.breakpoints.discard(address)

    def owns(self, address: int) -> bool:
        """Nobody else has one there."""
        found = self.breakpoints.get(address)
        return found is not None and found.own

    def takes_over(self, address: int) -> bool:
        """Nobody else has one there any more; False where we have none."""
        found = self.breakpoints.get(address)
        if found is not None:
            found.own = True
        return found is not None

    def wants(self, exit: Exit) -> bool:
        """Whether the machine is to stop there, as far as a debugger has a say."""
        found = self.breakpoints.get(exit.address) if exit.reason is ExitReason.BREAKPOINT else None
        return found is None or not found.own or self._hit(exit, found) is not None

    def _hit(self, exit: Exit, found: _Breakpoint) -> int | None:
        """The kind of a breakpoint that is for the world that `exit` was in."""
        hart = self.machine.harts[exit.hart]
        if not self.worlds.get(exit.address, ANYWHERE).holds(hart):
            return None
        here = {ANY, MACHINE}
        for place, vm in enumerate(virtual_machines(self.machine)):
            if identity(vm.hgatp) == identity(hart.hgatp):
                here = {ANY, process_of(place, self.apart)}
        return next((kind for kind, process in sorted(found.asked) if process in here), None)

    # Watchpoints

    def watch(self, kind: int, address: int, length: int, process: int, pieces: tuple[Range, ...]) -> None:
        """Raises EmulatorError where there are too many, or no RAM."""
        key = kind, address, length, process
        if key not in self.watches and len(self.watches) >= MOST:
            raise Refusal("too many watchpoints")
        self.unwatch(*key)
        self.watches[key] = _Watch(kind, address, length, pieces)
        try:
            for each in pieces:
                self._apply(each)
        except EmulatorError:
            self.unwatch(*key)
            raise

    def unwatch(self, kind: int, address: int, length: int, process: int) -> None:
        """Also where there is none."""
        found = self.watches.pop((kind, address, length, process), None)
        for each in () if found is None else found.pieces:
            self._apply(each)

    def _apply(self, where: Range) -> None:
        """Have the machine watch a range as all that is set now asks for."""
        now = next((kinds for *range, kinds in self.machine.watches if tuple(range) == where), 0)
        before = self._before.setdefault(where, now)
        asked = [KINDS[each.kind] for each in self.watches.values() if where in each.pieces]
        kinds = before
        for each in asked:
            kinds |= each
        if not asked:
            del self._before[where]
        if kinds != now:
            self.machine.watch(*where, kinds)

    # All

    def reason(self, exit: Exit | None) -> bytes:
        """What a stop reply says of why, or nothing: swbreak:; watch:ADDRESS; ("Stop Reply Packets")."""
        if exit is not None and exit.reason is ExitReason.BREAKPOINT and (at := self.breakpoints.get(exit.address)):
            kind = self._hit(exit, at)
            return b"" if kind is None else b"hwbreak:;" if kind == HARDWARE else b"swbreak:;"
        if exit is None or exit.reason is not ExitReason.WATCHPOINT:
            return b""
        for each in self.watches.values():
            offset = each.address
            for start, length in each.pieces:
                touched = start < exit.address + exit.size and exit.address < start + length
                if touched and KINDS[each.kind] & exit.kind:
                    place = offset + max(0, exit.address - start)
                    return f"{SAID[each.kind]}:{place:x};".encode()
                offset += length
        return b""

    def remove_all(self, process: int = ANY) -> None:
        """Of one process, or of all."""
        for address, found in list(self.breakpoints.items()):
            for kind, owner in list(found.asked):
                if process in (ANY, owner):
                    self.clear(kind, address, owner)
        for key in list(self.watches):
            if process in (ANY, key[3]):
                self.unwatch(*key)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Without what is set."""
        ours = [address for address, found in self.breakpoints.items() if found.own]
        ranges = {where: kinds for *range, kinds in self.machine.watches if (where := tuple(range)) in self._before}
        for address in ours:
            self.machine.breakpoints.discard(address)
        for where in ranges:
            self.machine.watch(*where, self._before[where])
        try:
            yield
        finally:
            for address in ours:
                self.machine.breakpoints.add(address)
            for where, kinds in ranges.items():
                self.machine.watch(*where, kinds)

    def follow(self, machine: Machine) -> None:
        """The session has another machine now: have there what was set."""
        if machine is self.machine:
            return
        breakpoints, watches = self.breakpoints, self.watches
        self.machine, self.breakpoints, self.watches, self._before = machine, {}, {}, {}
        for address, found in breakpoints.items():
            for kind, process in found.asked:
                self.set(kind, address, process)
        for (kind, address, length, process), each in watches.items():
            with contextlib.suppress(EmulatorError):
                self.watch(kind, address, length, process, each.pieces)
