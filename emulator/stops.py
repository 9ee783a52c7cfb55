"""Stops: what a machine is to stand still for, beside the plain breakpoints and watches that `Machine` has too.

`machine.stops.add(Stop(At(address)))` and the like; `Machine.run` then comes back with BREAKPOINT, WATCHPOINT or EVENT,
and `Exit.hits` says for which of them and what happened. A breakpoint stands before its instruction; all else behind:
behind the instruction that touched the memory or the CSR, or that returned, and after a trap at the first instruction
of the handler. Where the caller plays a mode (`Machine.host`), a trap into it counts when it has been dealt with.

The native harts look for all of this where it is carried out anyway; what they come back for without need, because of
a condition, goes on here. Nothing of it is part of the machine's state, and nothing of it changes what a guest does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigurationError, EmulatorError
from .hart._native import ffi, lib
from .hart.hart import Exit, ExitReason, Mode
from .isa import csrs

if TYPE_CHECKING:
    from .machine import Machine

WORD: Final = (1 << 64) - 1
READ, WRITE = 1, 2
ALL_MODES: Final = frozenset(Mode)
HOST_MODES: Final = frozenset({Mode.M, Mode.HS, Mode.U})
GUEST_MODES: Final = frozenset({Mode.VS, Mode.VU})
MOST_BREAKPOINTS, MOST_WATCHES, LONGEST_TEXT = 256, 64, 256
KEPT_BYTES: Final = 64
"""Of what an access found, at most; no access is longer."""
EVERY_CAUSE: Final = WORD


@dataclass(frozen=True)
class Scope:
    """Worlds: these modes, and if `mask` is not 0, with V=1 only, where hgatp & mask is `hgatp`."""

    modes: frozenset[Mode] = ALL_MODES
    hgatp: int = 0
    mask: int = 0

    def holds(self, mode: Mode, hgatp: int) -> bool:
        return mode in self.modes and self.of_guest(mode, hgatp)

    def of_guest(self, mode: Mode, hgatp: int) -> bool:
        return not self.mask or (mode.virtual and hgatp & self.mask == self.hgatp)

    @property
    def bits(self) -> int:
        return sum(1 << mode for mode in self.modes)


ANYWHERE: Final = Scope()


class Space(IntEnum):
    """What the addresses of a watch are."""

    PHYSICAL = 0
    VIRTUAL = 1
    GUEST = 2


@dataclass(frozen=True)
class At:
    """The instruction at a virtual address, before it runs."""

    address: int
    scope: Scope = ANYWHERE


@dataclass(frozen=True)
class Touch:
    """Loads and stores (`kinds` READ, WRITE or both) of RAM in [address, address + length), by instructions: neither
    page-table walks nor devices. A virtual or guest-physical address is compared as the access is made, so that it need
    not be mapped yet. The scope is about whose access it is: of HLV, HSV and with MPRV not the hart's.

    `changed`: only where a store leaves other bytes than were there; `equals`: where the range, of at most 8 bytes,
    then holds this number.
    """

    address: int
    length: int = 8
    kinds: int = WRITE
    space: Space = Space.VIRTUAL
    scope: Scope = ANYWHERE
    changed: bool = False
    equals: int | None = None


@dataclass(frozen=True)
class CsrAccess:
    """CSR instructions that read or write (`kinds`) the register `name`, itself or as seen through another, as mstatus
    is through sstatus. With V=1 the supervisor's registers are the vs ones: "Hypervisor and Virtual Supervisor CSRs".

    `changed`: only such writes as leave another value.
    """

    name: str
    kinds: int = WRITE
    changed: bool = False
    scope: Scope = ANYWHERE


@dataclass(frozen=True)
class Trap:
    """A trap taken: causes as bits by code, the modes it comes from and goes to. The scope is where it comes from."""

    exceptions: int = EVERY_CAUSE
    interrupts: int = EVERY_CAUSE
    origins: frozenset[Mode] = ALL_MODES
    targets: frozenset[Mode] = ALL_MODES
    scope: Scope = ANYWHERE


@dataclass(frozen=True)
class Change:
    """A change of mode, by trap, by return, or by the hypervisor that the caller plays: (from, to). The scope names a
    guest that is entered or left, or within which it happens."""

    pairs: frozenset[tuple[Mode, Mode]]
    scope: Scope = ANYWHERE


@dataclass(frozen=True)
class Printed:
    """A console has printed `text`, as a whole since the stop was set. `console`: its name; "": any."""

    text: bytes
    console: str = ""


Wanted = At | Touch | CsrAccess | Trap | Change | Printed


@dataclass(frozen=True)
class Touched:
    """An access to a watched range. `old`: the bytes there before it."""

    address: int
    guest_physical: int
    physical: int
    size: int
    kinds: int
    mode: Mode
    old: bytes


@dataclass(frozen=True)
class Seen:
    """What happened during one instruction or trap, of what is looked for."""

    hart: int
    pc: int
    """Of the instruction, or of the one that an interrupt came before."""
    hgatp: int
    hgatp_after: int
    origin: Mode
    target: Mode
    trap: bool = False
    cause: int = 0
    """As in xcause."""
    tval: int = 0
    changes: frozenset[tuple[Mode, Mode]] = frozenset()
    csr: str = ""
    csr_kinds: int = 0
    old: int = 0
    value: int = 0
    touches: tuple[Touched, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A stop that was reached."""

    stop: Stop
    hart: int
    pc: int
    """As in `Seen`."""
    mode: Mode
    """In which it happened."""
    seen: Seen | None = None
    touched: Touched | None = None
    old: int | None = None
    """Of the watched range or CSR, before; None where there is no such thing."""
    value: int | None = None
    console: str = ""
    trouble: str = ""
    """Why the condition has no value. Then the stop counts."""


Condition = Callable[["Machine", Hit], bool]


@dataclass(eq=False)
class Stop:
    """`condition` must hold for it to count as reached; of those times, the next `ignore` do not end the run.

    `number` is given by `Stops.add`; 0 is for those that whoever runs the machine sets for himself.
    """

    what: Wanted | None
    """None: nothing yet; it is then never reached."""
    number: int = 0
    condition: Condition | None = None
    ignore: int = 0
    temporary: bool = False
    enabled: bool = True
    hits: int = 0
    note: Any = field(default=None, repr=False)
    """The owner's."""


class Places:
    """The breakpoints in the native harts, which have each once, however many ask for it."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._count: Counter[tuple[int, Scope]] = Counter()

    def put(self, address: int, scope: Scope = ANYWHERE) -> None:
        """ConfigurationError where all are in use."""
        key = address & WORD, scope
        if not self._count[key] and self._set(*key, 1):
            raise ConfigurationError(f"there are {MOST_BREAKPOINTS} breakpoints already: delete one first")
        self._count[key] += 1

    def take(self, address: int, scope: Scope = ANYWHERE) -> None:
        key = address & WORD, scope
        self._count[key] -= 1
        if self._count[key] <= 0:
            del self._count[key]
            self._set(*key, 0)

    def _set(self, address: int, scope: Scope, on: int) -> int:
        return int(lib.machine_breakpoint_in(self._native, address, _native_scope(scope), on))


class Breakpoints:
    """Virtual addresses where execution stops, in any mode. At most 256: ConfigurationError beyond."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._addresses: set[int] = set()

    def add(self, address: int) -> None:
        address &= WORD
        if address not in self._addresses:
            self._places.put(address)
        self._addresses.add(address)

    def discard(self, address: int) -> None:
        if address in self._addresses:
            self._places.take(address)
            self._addresses.discard(address)

    def __contains__(self, address: object) -> bool:
        return address in self._addresses

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._addresses))

    def __len__(self) -> int:
        return len(self._addresses)


class Stops:
    """The stops of one machine, in the order in which they were added."""

    def __init__(self, machine: Machine, native: Any, places: Places) -> None:
        self._machine, self._native, self._places = machine, native, places
        self._stops: list[Stop] = []
        self._last = 0
        """The highest number ever given."""
        self._breaks: set[tuple[int, Scope]] = set()
        self._watches: dict[tuple[int, int, Space, Scope], int] = {}
        self._seen = ffi.new("stop_seen *")
        self._listening: list[Any] = []
        self._heard: set[tuple[Stop, str]] = set()
        self._tails: dict[tuple[Stop, str], bytes] = {}
        self.looking = False
        """Whether any is for more than an address."""
        self.renewed: Callable[[], None] = lambda: None
        """Called when the machine has been reset, before its first instruction: names may mean something else now."""

    def __iter__(self) -> Iterator[Stop]:
        return iter(list(self._stops))

    def __len__(self) -> int:
        return len(self._stops)

    def find(self, number: int) -> Stop | None:
        return next((stop for stop in self._stops if number and stop.number == number), None)

    def at(self, address: int, mode: Mode, hgatp: int) -> list[Stop]:
        """The breakpoints that are enabled at an address of a world."""
        return [
            stop
            for stop in self._stops
            if stop.enabled and isinstance(stop.what, At) and stop.what.address & WORD == address
            and stop.what.scope.holds(mode, hgatp)
        ]  # fmt: skip

    def add(self, stop: Stop, *, hidden: bool = False) -> Stop:
        """Set a stop; unless `hidden`, it gets the next number if it has none. ConfigurationError where it cannot be,
        and then nothing has changed."""
        self.check(stop.what)
        if not hidden and not stop.number:
            stop.number = self._last + 1
        self._stops.append(stop)
        try:
            self.arm()
        except ConfigurationError:
            self.remove(stop)
            raise
        self._last = max(self._last, stop.number)
        return stop

    def hear(self, stop: Stop, console: str, data: bytes) -> None:
        """What a console printed just before a stop for `Printed` was set: the text may begin in it."""
        assert isinstance(stop.what, Printed)
        self._tails[stop, console] = data[-(len(stop.what.text) - 1) :] if len(stop.what.text) > 1 else b""

    def remove(self, stop: Stop) -> None:
        if stop in self._stops:
            self._stops.remove(stop)
            self.arm()

    def check(self, what: Wanted | None) -> None:
        """ConfigurationError for what this machine cannot have."""
        if isinstance(what, Touch):
            if not 1 <= what.length <= 1 << 32:
                raise ConfigurationError(f"a watch of {what.length} bytes: 1 to 4G are possible")
            if what.equals is not None and what.length > 8:
                raise ConfigurationError(f"a watch of {what.length} bytes equals no number: at most 8 bytes do")
            if what.space is Space.PHYSICAL and self._machine.memory.find(what.address, what.length) is None:
                raise ConfigurationError(f"cannot watch {what.length} bytes at physical {what.address:#x}: not RAM")
        if isinstance(what, CsrAccess) and not self._machine.harts[0].has_csr(what.name):
            raise ConfigurationError(f"there is no CSR {what.name} on this hart")
        if isinstance(what, Printed) and not 1 <= len(what.text) <= LONGEST_TEXT:
            raise ConfigurationError(f"text of {len(what.text)} bytes: 1 to {LONGEST_TEXT} can be waited for")

    def arm(self) -> None:
        """Bring the harts in line with the stops: call it when one has been changed. ConfigurationError where there are
        too many; call it again when there are fewer."""
        enabled = [stop for stop in self._stops if stop.enabled]
        self.looking = any(not isinstance(stop.what, At | None) for stop in enabled)
        breaks = {(stop.what.address, stop.what.scope) for stop in enabled if isinstance(stop.what, At)}
        for address, scope in self._breaks - breaks:
            self._breaks.discard((address, scope))
            self._places.take(address, scope)
        self._arm_watches([stop.what for stop in enabled if isinstance(stop.what, Touch)])
        self._look_for(stop.what for stop in enabled)
        self._listen([stop for stop in enabled if isinstance(stop.what, Printed)])
        for address, scope in breaks - self._breaks:
            self._places.put(address, scope)
            self._breaks.add((address, scope))

    def _arm_watches(self, wanted: list[Touch]) -> None:
        watches: Counter[tuple[int, int, Space, Scope]] = Counter()
        for each in wanted:
            watches[each.address & WORD, each.length, each.space, each.scope] |= each.kinds
        for key in [key for key, kinds in self._watches.items() if watches[key] != kinds]:
            lib.machine_watch_in(self._native, _native_watch(key, self._watches.pop(key)), 0)
        for key, kinds in watches.items():
            if kinds and key not in self._watches:
                if lib.machine_watch_in(self._native, _native_watch(key, kinds), 1):
                    raise ConfigurationError(f"there are {MOST_WATCHES} watches already: delete one first")
                self._watches[key] = kinds

    def _look_for(self, wanted: Iterable[Wanted | None]) -> None:
        looked = ffi.new("stop_filter *")
        for what in wanted:
            match what:
                case CsrAccess():
                    for number in family(what.name):
                        for bits, kind in ((looked.csr_reads, READ), (looked.csr_writes, WRITE)):
                            if what.kinds & kind:
                                bits[number >> 6] |= 1 << (number & 63)
                case Trap():
                    for mode in what.origins:
                        looked.traps[mode][0] |= what.exceptions & WORD
                        looked.traps[mode][1] |= what.interrupts & WORD
                case Change():
                    for origin, target in what.pairs:
                        looked.changes |= 1 << (5 * origin + target)
                case _:
                    pass
        lib.machine_look_for(self._native, looked)

    def _listen(self, stops: list[Stop]) -> None:
        for console in self._listening:
            console.heard = None
        self._listening = []
        self._heard.clear()
        self._tails = {key: tail for key, tail in self._tails.items() if key[0] in stops}
        if not stops:
            return
        for console in self._consoles():
            console.heard = self._listener(stops, console.name)
            self._listening.append(console)

    def _consoles(self) -> list[Any]:
        return [self._machine.console, *(vm.console for vm in getattr(self._machine.host, "vms", ()))]

    def _listener(self, stops: list[Stop], console: str) -> Callable[[bytes], None]:
        def heard(data: bytes) -> None:
            for stop in stops:
                what = stop.what
                assert isinstance(what, Printed)
                if what.console and what.console != console:
                    continue
                text = self._tails.get((stop, console), b"") + data
                at = text.rfind(what.text)
                if at >= 0:
                    self._heard.add((stop, console))
                    text = text[at + len(what.text) :]
                self._tails[stop, console] = text[-(len(what.text) - 1) :] if len(what.text) > 1 else b""

        return heard

    @property
    def heard(self) -> bool:
        """A console has printed what somebody waits for."""
        return bool(self._heard)

    def renew(self) -> None:
        """The machine was reset: its consoles may be others."""
        self.renewed()
        self.arm()

    # --- what happened ---

    def judge(self, exit: Exit) -> tuple[Hit, ...]:
        """Which stops an exit of the harts, and what was seen besides, end the run for; all that are reached count."""
        seen = self._take() if self.looking else None
        heard, self._heard = self._heard, set()
        if seen is None and not heard and exit.reason is not ExitReason.BREAKPOINT:
            return ()
        hits = []
        for stop in list(self._stops):
            hit = self._match(stop, exit, seen, heard) if stop.enabled else None
            if hit is not None:
                hit = self._counted(hit)
            if hit is not None:
                hits.append(hit)
        if gone := [hit.stop for hit in hits if hit.stop.temporary]:
            self._stops = [stop for stop in self._stops if stop not in gone]
            self.arm()
        return tuple(hits)

    def _take(self) -> Seen | None:
        s = self._seen
        return _seen(s) if lib.machine_seen(self._native, s) else None

    def _counted(self, hit: Hit) -> Hit | None:
        stop = hit.stop
        if stop.condition is not None:
            try:
                if not stop.condition(self._machine, hit):
                    return None
            except EmulatorError as error:
                hit = Hit(**{**vars(hit), "trouble": str(error)})
        stop.hits += 1
        if stop.ignore:
            stop.ignore -= 1
            return None
        return hit

    def _match(self, stop: Stop, exit: Exit, seen: Seen | None, heard: set[tuple[Stop, str]]) -> Hit | None:
        what = stop.what
        hart = self._machine.harts[exit.hart]
        if isinstance(what, At):
            here = exit.reason is ExitReason.BREAKPOINT and exit.address == what.address & WORD
            here = here and what.scope.holds(hart.mode, hart.hgatp)
            return Hit(stop, exit.hart, exit.address, hart.mode) if here else None
        if isinstance(what, Printed):
            console = next((console for each, console in heard if each is stop), None)
            return None if console is None else Hit(stop, exit.hart, hart.pc, hart.mode, console=console)
        if seen is None or what is None:
            return None
        match what:
            case Touch():
                return self._touched(stop, what, seen)
            case CsrAccess():
                return self._accessed(stop, what, seen)
            case Trap():
                bits = what.interrupts if seen.cause >> 63 else what.exceptions
                good = seen.trap and bits >> (seen.cause & 63) & 1
                good = good and seen.origin in what.origins and seen.target in what.targets
                good = good and what.scope.holds(seen.origin, seen.hgatp)
            case Change():
                good = any(
                    what.scope.of_guest(origin, seen.hgatp) or what.scope.of_guest(target, seen.hgatp_after)
                    for origin, target in what.pairs & seen.changes
                )
        return Hit(stop, seen.hart, seen.pc, seen.origin, seen) if good else None

    @staticmethod
    def _accessed(stop: Stop, what: CsrAccess, seen: Seen) -> Hit | None:
        kinds = what.kinds & seen.csr_kinds
        if not kinds or csrs.BY_NAME[seen.csr].number not in family(what.name):
            return None
        if not what.scope.holds(seen.origin, seen.hgatp) or (what.changed and seen.old == seen.value):
            return None
        value = seen.value if kinds & WRITE else seen.old
        return Hit(stop, seen.hart, seen.pc, seen.origin, seen, None, seen.old, value)

    def _touched(self, stop: Stop, what: Touch, seen: Seen) -> Hit | None:
        for touch in seen.touches:
            at = (touch.physical, touch.address, touch.guest_physical)[what.space]
            behind, before = (what.address - at) & WORD, (at - what.address) & WORD
            if not what.kinds & touch.kinds or not (behind < touch.size or before < what.length):
                continue
            if not what.scope.holds(touch.mode, seen.hgatp):
                continue
            # The whole range where it is short and in the same page, else what was touched of it.
            start = touch.physical + behind if behind < touch.size else touch.physical - before
            length = what.length
            if length > 8 or start >> 12 != touch.physical >> 12 or (start & 4095) + length > 4096:
                start = max(start, touch.physical)
                length = min(start + length, touch.physical + touch.size) - start
            new = self._machine.memory.read(start, length)
            offset = start - touch.physical
            old = bytearray(new)
            for i in range(length):
                if 0 <= offset + i < len(touch.old):
                    old[i] = touch.old[offset + i]
            value = int.from_bytes(new, "little")
            if what.changed and old == new:
                continue
            if what.equals is not None and value != what.equals:
                continue
            short = length <= 8
            was = int.from_bytes(old, "little")
            return Hit(
                stop, seen.hart, seen.pc, touch.mode, seen, touch, was if short else None, value if short else None
            )
        return None


def family(name: str) -> frozenset[int]:
    """Numbers of the CSR and of those through which it is seen."""
    found = {csrs.BY_NAME[name].number}
    for csr in csrs.CSRS:
        each = csr
        while each.view is not None:
            each = csrs.BY_NAME[each.view.of]
            if each.name == name:
                found.add(csr.number)
    return frozenset(found)


def _native_scope(scope: Scope) -> Any:
    return ffi.new("stop_scope *", {"modes": scope.bits, "hgatp": scope.hgatp & WORD, "mask": scope.mask & WORD})


def _native_watch(key: tuple[int, int, Space, Scope], kinds: int) -> Any:
    address, length, space, scope = key
    fields = {"address": address, "length": length, "space": space, "kinds": kinds, "noted": 1}
    return ffi.new("stop_watch *", {**fields, "scope": _native_scope(scope)[0]})


def _seen(s: Any) -> Seen:
    touches = tuple(
        Touched(
            int(t.address), int(t.guest_physical), int(t.physical), int(t.size), int(t.kinds), Mode(t.mode),
            bytes(ffi.buffer(t.old))[: min(t.size, KEPT_BYTES)],
        )
        for t in s.touch[0 : s.touches]
    )  # fmt: skip
    changes = frozenset((a, b) for a in Mode for b in Mode if s.changes >> (5 * a + b) & 1)
    csr = bool(s.kinds & (lib.SEEN_CSR_READ | lib.SEEN_CSR_WRITE))
    kinds = READ * bool(s.kinds & lib.SEEN_CSR_READ) | WRITE * bool(s.kinds & lib.SEEN_CSR_WRITE)
    return Seen(
        int(s.hart), int(s.pc), int(s.hgatp), int(s.hgatp_after), Mode(s.origin), Mode(s.target),
        bool(s.kinds & lib.SEEN_TRAP), int(s.cause), int(s.tval), changes,
        csrs.BY_NUMBER[s.csr].name if csr else "", kinds, int(s.old), int(s.value), touches,
    )  # fmt: skip
