"""A hart: the native one, with a Python face. Nothing here is on the path of running instructions."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, cast

from emulator.errors import ConfigurationError, StateError, TranslationError
from emulator.isa import MAX, Isa, csrs
from emulator.isa.features import said
from emulator.memory import Memory

from ._native import ffi, lib

if TYPE_CHECKING:
    from emulator.stops import Hit

WORD: Final = (1 << 64) - 1
NO_RESERVATION: Final = WORD
INTERRUPT: Final = 1 << 63
"""Bit of xcause."""


def compiler() -> str:
    """What compiled the native hart: name and version."""
    return cast(bytes, ffi.string(lib.native_compiler())).decode(errors="replace")


class Mode(IntEnum):
    """Privilege and virtualization mode together ("Privilege Modes" of the hypervisor chapter)."""

    M = 0
    HS = 1
    U = 2
    VS = 3
    VU = 4

    @property
    def label(self) -> str:
        """As people write it: "VS"."""
        return self.name

    @property
    def virtual(self) -> bool:
        """V=1: VS or VU."""
        return self >= Mode.VS

    @property
    def privilege(self) -> int:
        """0 U, 1 S, 3 M."""
        return (3, 1, 0, 1, 0)[self]

    @classmethod
    def of(cls, privilege: int, virtual: bool) -> Mode:
        """The mode of a privilege (0 U, 1 S, 3 M) and V, which in M-mode means nothing."""
        if privilege == 3:
            return cls.M
        if virtual:
            return cls.VS if privilege else cls.VU
        return cls.HS if privilege else cls.U


class Access(IntEnum):
    """What is asked of memory. HLVX: a load that needs execute permission ("Hypervisor Virtual-Machine Load and Store
    Instructions")."""

    FETCH = 0
    LOAD = 1
    STORE = 2
    HLVX = 3


class ExitReason(IntEnum):
    """Why a run ended. All but HALTED come from the native hart."""

    BUDGET = 0
    MMIO_READ = 1
    MMIO_WRITE = 2
    IDLE = 3
    BREAKPOINT = 4
    WATCHPOINT = 5
    TRAP = 6
    STOPPED = 7
    TRAP_LOOP = 8
    HALTED = 9
    EVENT = 10


@dataclass(frozen=True)
class Exit:
    """How a run ended. `executed` counts steps: instructions retired plus traps taken, over all harts. `hits`: the
    stops that it is for (emulator/stops.py)."""

    reason: ExitReason
    hart: int = 0
    address: int = 0
    value: int = 0
    size: int = 0
    kind: int = 0
    cause: int = 0
    executed: int = 0
    code: int | None = None
    message: str = ""
    hits: tuple[Hit, ...] = ()


class WalkResult(IntEnum):
    """What the walker made of one page-table entry."""

    POINTER = 0
    LEAF = 1
    INVALID = 2
    RESERVED = 3
    NO_READ = 4
    NO_WRITE = 5
    NO_EXECUTE = 6
    USER = 7
    SUPERVISOR = 8
    MISALIGNED = 9
    ACCESSED = 10
    DIRTY = 11
    TOO_DEEP = 12
    RANGE = 13
    ACCESS = 14

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS: Final = (
    "points to the next table",
    "leaf",
    "not valid: V=0, or W without R",
    "reserved bits are set",
    "no read permission: R=0",
    "no write permission: W=0",
    "no execute permission: X=0",
    "a user page (U=1): S-mode needs SUM for data and never executes it",
    "not a user page: U=0",
    "misaligned superpage: low PPN bits are not zero",
    "A=0, and hardware does not update it (ADUE=0)",
    "D=0 on a store, and hardware does not update it (ADUE=0)",
    "a pointer at the last level",
    "the address has bits beyond the mode's width",
    "refused by PMP, or no memory there",
)


@dataclass(frozen=True)
class Step:
    """One entry read by a walk. `stage` 0: single stage or VS-stage, 1: G-stage. Addresses in bytes."""

    stage: int
    level: int
    nested: int | None  # G-stage: the VS-stage level whose entry is being located; None for the final address
    result: WalkResult
    input: int
    pte_address: int
    pte_physical: int
    pte: int
    output: int

    @property
    def unread(self) -> bool:
        """It ended before an entry was read: at an address too wide, or at one that is refused."""
        return self.result is WalkResult.RANGE or (self.result is WalkResult.ACCESS and not self.pte)


class Refused(IntEnum):
    """Why memory cannot be reached, where no PMP entry says so."""

    NO_ENTRY = -2  # no PMP entry matches, and the mode is not M
    NO_MEMORY = -3
    READ_ONLY = -4


@dataclass(frozen=True)
class World:
    """On whose behalf a walk was made, and what ruled it, as the hart had it or was told to take it.

    `sum`, `mxr`: of the first stage; `gmxr`: of the G-stage. `first`: satp or vsatp, `second`: hgatp; 0: no such stage.
    `types`, `updates`: PBMTE, and ADUE, of the first stage and of the G-stage.
    """

    mode: Mode = Mode.M
    sum: bool = False
    mxr: bool = False
    gmxr: bool = False
    first: int = 0
    second: int = 0
    types: tuple[bool, bool] = (False, False)
    updates: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Trap:
    """What trap entry would do. `csrs`: by name, before and after, of those that `mode` receives; `pc`: its handler.

    `medeleg`, `hedeleg`: the cause's bit there.
    """

    cause: int
    origin: Mode
    mode: Mode
    csrs: Mapping[str, tuple[int, int]]
    pc: int
    medeleg: bool
    hedeleg: bool


@dataclass(frozen=True)
class Walk:
    """A translation as the hart would make it, without its side effects.

    `refused`: None, or why the last entry or address could not be reached: the number of a PMP entry, or a `Refused`.
    `reached`: the physical address, also where it is refused itself.
    """

    address: int
    access: Access
    steps: tuple[Step, ...]
    physical: int | None
    guest_physical: int | None
    cause: int | None
    tval: int
    tval2: int
    tinst: int
    page_bits: int
    refused: int | None = None
    reached: int | None = None
    world: World = World()
    own: bool = False
    """Of no mode that was asked for: as the hart's next instruction would."""

    @property
    def reads(self) -> int:
        """Page-table entries that it read."""
        return sum(not step.unread for step in self.steps)

    @property
    def explain(self) -> str:
        """One line: where the address leads, or where and why the walk ends."""
        if self.cause is None:
            through = f" (guest-physical {self.guest_physical:#x})" if any(s.stage for s in self.steps) else ""
            return f"{self.address:#x} is physical {self.physical:#x}{through}"
        name = csrs.cause_name(self.cause, False)
        bad = self.steps[-1] if self.steps else None
        if bad is None or bad.result in (WalkResult.LEAF, WalkResult.POINTER):
            return f"{self.address:#x}: {name}: the address is refused by PMP, or nothing is there"
        stage = "G-stage" if bad.stage else "VS-stage or single stage"
        return f"{self.address:#x}: {name}: {stage} level {bad.level}: {bad.result.meaning}"


class EventKind(IntEnum):
    TRAP = 1
    INTERRUPT = 2
    RETURN = 3
    FENCE = 4
    WFI = 5
    HGATP = 6


@dataclass(frozen=True)
class Event:
    """An entry of the hart's ring of the last 1024 events, stamped with its clock.

    `value`: of a trap xtval, of a fence rs1, of a write of hgatp that; of a wait the clock until which it slept, 0
    where it has not slept yet. `cause`: of a trap or interrupt as in xcause, of a return a `Move`.
    """

    clock: int
    kind: EventKind
    pc: int
    value: int
    cause: int
    from_mode: Mode
    to_mode: Mode
    vmid: int  # in hgatp then
    guest: int | None = None
    """With V=1 before or behind it: hgatp of that guest, as it was last entered with, if it is still known."""

    @property
    def behind(self) -> int:
        """The clock behind it: traps are no instructions, all else retires."""
        return self.clock + (self.kind >= EventKind.RETURN and self.cause != Move.SET)

    @property
    def entry(self) -> bool:
        """V became 1."""
        return self.to_mode.virtual and not self.from_mode.virtual

    @property
    def exit(self) -> bool:
        """V became 0."""
        return self.from_mode.virtual and not self.to_mode.virtual

    @property
    def world_switch(self) -> str:
        """ "enter VMID 1", "leave VMID 1 (load guest-page fault)", or "" where V stays as it was."""
        if self.entry:
            return f"enter VMID {self.vmid}"
        if not self.exit:
            return ""
        # A debugger, and the built-in hypervisor, may take V away without a trap.
        trapped = self.kind is not EventKind.RETURN
        why = f" ({csrs.cause_name(self.cause, self.kind is EventKind.INTERRUPT)})" if trapped else ""
        return f"leave VMID {self.vmid}{why}"

    @property
    def text(self) -> str:
        if self.world_switch:
            return self.world_switch
        match self.kind:
            case EventKind.TRAP | EventKind.INTERRUPT:
                name = csrs.cause_name(self.cause, self.kind is EventKind.INTERRUPT)
                return f"{name}, {self.from_mode.label} to {self.to_mode.label}"
            case EventKind.RETURN:
                return f"return to {self.to_mode.label}"
            case EventKind.FENCE:
                return "fence"
            case EventKind.WFI:
                return "wait for interrupt"
            case _:
                return f"hgatp = {self.value:#x}"


EventRow = tuple[int, int, int, int, int, int, int, int, int | None]
"""clock, pc, value, cause, vmid, kind, from_mode, to_mode, guest of an `Event`."""


class Move(IntEnum):
    """By what a hart changes mode."""

    CALL = 0
    TRAP = 1
    INTERRUPT = 2
    MRET = 3
    SRET = 4
    SET = 5
    """The caller: a host that plays a mode, or a debugger."""

    @property
    def label(self) -> str:
        return ("ecall", "trap", "interrupt", "mret", "sret", "set by the host")[self]


@dataclass(frozen=True)
class TrapEntry:
    """What led a trap to its mode, and what its entry wrote. Pairs are of before and after; all values are registers.

    `delegated` is medeleg and hedeleg, of an interrupt mideleg and hideleg; `enabled` and `pending` are mie and mip, of
    an interrupt; `status` is mstatus, or for a trap into VS-mode vsstatus.
    """

    handler: int
    tval2: int
    tinst: int
    delegated: tuple[int, int]
    enabled: int
    pending: int
    status: tuple[int, int]
    hstatus: tuple[int, int]


@dataclass(frozen=True)
class TrapRecord:
    """A trap that was taken. `number` counts the hart's events, `clock` its instructions; `cause` is without the
    interrupt bit, as the mode that took it sees it."""

    number: int
    clock: int
    pc: int
    cause: int
    interrupt: bool
    tval: int
    from_mode: Mode
    to_mode: Mode
    vmid: int  # in hgatp then
    entry: TrapEntry | None
    """None of traps before a snapshot was loaded: only the events of those are known."""

    @property
    def name(self) -> str:
        return csrs.cause_name(self.cause, self.interrupt)


@dataclass(frozen=True)
class Interrupts:
    """Interrupts by the bits of mip, as the hart itself sees them when it decides.

    What makes them pending: `stored` by software, `wired` by an interrupt controller, `injected` by hvip, `guests` by
    hgeip, `timers` by a comparator. `levels`: those that mideleg and hideleg give to M, HS and VS; `opened`: the levels
    that would interrupt the present mode.
    """

    stored: int
    wired: int
    injected: int
    guests: int
    timers: int
    pending: int
    enabled: int
    levels: dict[Mode, int]
    opened: frozenset[Mode]
    next: tuple[int, int, Mode] | None
    """What is taken next: its bit, what xcause says, and the mode that takes it."""


LEVELS: Final = (Mode.M, Mode.HS, Mode.VS)
"""Modes that take traps."""


@dataclass(frozen=True)
class ExitCount:
    """Traps of a guest out of V=1 with one cause into one mode: how often.

    After `returns` of them it was entered again on the same hart, whose clock had moved on by `spent` until then, over
    all of them; `least` and `most` of one. Its host spent that time, other guests, or sleep: as `perf kvm stat` has it.
    """

    cause: int  # without the interrupt bit
    interrupt: bool
    to_mode: Mode
    count: int
    returns: int
    spent: int
    least: int
    most: int

    @property
    def name(self) -> str:
        """As in KVM's statistics."""
        return csrs.kvm_name(self.cause, self.interrupt)

    @property
    def mean(self) -> float:
        return self.spent / self.returns if self.returns else 0.0

    def plus(self, other: ExitCount) -> ExitCount:
        """The same exit on another hart too."""
        least = min((each.least for each in (self, other) if each.returns), default=0)
        return replace(
            self, count=self.count + other.count, returns=self.returns + other.returns, spent=self.spent + other.spent,
            least=least, most=max(self.most, other.most),
        )  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """What a hart did in stretches of its clock of 1 << `shift` instructions, from number `first` on: each value here
    has one number for each.

    Where 1 << `resolution`, the length of what was counted together, is more than that, the numbers are of all of it.
    """

    first: int
    shift: int
    resolution: int
    retired: Mapping[Mode, tuple[int, ...]]
    """Instructions in M, HS and U."""
    asleep: tuple[int, ...]
    events: Mapping[EventKind, tuple[int, ...]]
    guests: tuple[GuestPast, ...]

    @property
    def cells(self) -> int:
        return len(self.asleep)

    @property
    def unit(self) -> int:
        """Of the clock, what the numbers of one cell are about."""
        return 1 << max(self.shift, self.resolution)


@dataclass(frozen=True)
class GuestPast:
    """What one hart knows of the past of one guest. `since`: the clock of its first entry; before that, numbers are of
    another guest, which had its place then."""

    hgatp: int
    since: int
    vs: tuple[int, ...]
    vu: tuple[int, ...]
    exits: tuple[int, ...]


@dataclass(frozen=True)
class GuestCount:
    """What one hart has counted of one guest. `hgatp` as it was last entered with; `seen`: the clock when it last was
    entered or left; `retired` in VS and in VU; `served` in M, HS and U, between its exits and the next entry of any
    guest.

    The others are of its last trap out of V=1, if `exits` has one: `cause` as in xcause.
    """

    hgatp: int
    entries: int
    retired: tuple[int, int]
    served: tuple[int, int, int]
    seen: int
    exits: tuple[ExitCount, ...]
    inside: bool  # the hart runs it
    clock: int
    cause: int
    pc: int
    tval: int
    tval2: int
    tinst: int
    from_mode: Mode


class Registers(Sequence[int]):
    """32 registers as unsigned 64-bit values."""

    def __init__(self, cells: Any, zero: bool):
        self._cells, self._zero = cells, zero

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [int(v) for v in self._cells[0:32]][index]
        if not 0 <= index < 32:
            raise IndexError(index)
        return int(self._cells[index])

    def load(self, values: Sequence[int]) -> None:
        """Set all 32 at once: unsigned 64-bit values."""
        if len(values) != 32:
            raise IndexError(f"{len(values)} values for 32 registers")
        self._cells[0:32] = values
        if self._zero:
            self._cells[0] = 0

    def __setitem__(self, index: int, value: int) -> None:
        if not 0 <= index < 32:
            raise IndexError(index)
        if index or not self._zero:
            self._cells[index] = value & WORD

    def __iter__(self) -> Iterator[int]:
        return iter(ffi.unpack(self._cells, 32))


#: What trap entry writes, by the mode that takes the trap ("Trap Entry").
RECEIVED: Final = {
    Mode.M: ("mcause", "mtval", "mtval2", "mtinst", "mepc", "mstatus"),
    Mode.HS: ("scause", "stval", "htval", "htinst", "sepc", "hstatus", "sstatus"),
    Mode.VS: ("vscause", "vstval", "vsepc", "vsstatus"),
}

#: Plain fields of the native struct that are architectural or counted state, saved and restored as they are.
SAVED: Final = (
    "pc", "clock", "idle", "reservation", "prv", "v", "waiting", "lines", "guest_lines", "mtimecmp", "host_modes",
    "halted", "events", "trap_mark", "trap_run", "guest", "guests_lost",
)  # fmt: skip


_TRAP: Final = struct.Struct("=16QH2BL")
"""hart_trap."""
_EVENT: Final = struct.Struct("=3Q2H4B")
"""hart_event."""
_KINDS: Final = (EventKind.TRAP, *EventKind)
_MODES: Final = tuple(Mode)
_ROWS: Final = int(lib.HISTORY_ROWS)
_NUMBERS: Final = int(ffi.sizeof("history_row")) // 8


def _trap_record(row: tuple[int, ...]) -> TrapRecord:
    (number, clock, epc, cause, tval, tval2, tinst, handler, first, second, enabled, pending, *status, vmid, origin,
     target, _) = row  # fmt: skip
    entry = TrapEntry(
        handler, tval2, tinst, (first, second), enabled, pending, (status[0], status[1]), (status[2], status[3])
    )
    code, interrupt = cause & ~INTERRUPT, bool(cause & INTERRUPT)
    return TrapRecord(number, clock, epc, code, interrupt, tval, Mode(origin), Mode(target), vmid, entry)


def _filled(table: Any, entry: str, mark: int) -> bytes:
    """The entries of a native table whose field `mark` is not 0, each after its place, packed."""
    every = enumerate(struct.iter_unpack(entry, ffi.buffer(table)))
    return b"".join(struct.pack("<L" + entry[1:], place, *fields) for place, fields in every if fields[mark])


def _fill(table: Any, entry: str, packed: bytes) -> None:
    """The reverse of `_filled`, into an empty table. ValueError or struct.error where it does not fit."""
    target = ffi.buffer(table)
    size = struct.calcsize(entry)
    for place, *fields in struct.iter_unpack("<L" + entry[1:], packed):
        if place * size >= len(target):
            raise ValueError("lookaside")
        struct.pack_into(entry, target, place * size, *fields)


class Hart:
    """One hart of a machine. Made by `Machine`, which also owns what lies behind it."""

    def __init__(self, native: Any, machine: Any, memory: Memory, isa: Isa = MAX):
        self._h = native
        self._machine = machine  # keeps the native machine alive
        self._memory = memory
        self.isa = isa
        """What it implements."""
        self._align = 1 if "Zca" in isa else 3
        self._cell = ffi.new("uint64_t *")
        self.index = int(native.index)
        self.x = Registers(native.x, True)
        self.f = Registers(native.f, False)

    # --- registers ---

    @property
    def pc(self) -> int:
        """Address of the next instruction, 64 bits. Written, it loses the low bits that no such address has."""
        return int(self._h.pc)

    @pc.setter
    def pc(self, value: int) -> None:
        self._h.pc = value & WORD & ~self._align

    @property
    def mode(self) -> Mode:
        """Privilege and V. ConfigurationError for a virtual mode without the H extension."""
        return Mode.of(self._h.prv, bool(self._h.v))

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode.virtual and "H" not in self.isa:
            raise ConfigurationError(f"there is no {mode.label}-mode: the H extension is off")
        lib.hart_set_mode(self._h, mode.privilege, int(mode.virtual))

    def csr(self, which: str | int) -> int:
        """The value as M-mode would read it (V=0). ConfigurationError for a CSR that this hart does not have."""
        number = self._number(which)
        value = self._cell
        if lib.hart_csr_read(self._h, number, value):
            name = which if isinstance(which, str) else hex(which)
            raise ConfigurationError(f"there is no CSR {name} on this hart{self._why(number)}")
        return int(value[0])

    @property
    def hgatp(self) -> int:
        """0, that is no G-stage, also where the H extension is off."""
        return int(self._h.csr.hgatp)

    def has_csr(self, which: str | int) -> bool:
        """Is there such a CSR, with what the hart implements?"""
        return not lib.hart_csr_read(self._h, self._number(which), self._cell)

    def set_csrs(self, values: Mapping[str, int]) -> None:
        """Write those that this hart has, in order."""
        for name, value in values.items():
            if self.has_csr(name):
                self.set_csr(name, value)

    def set_pending(self, bits: int, level: bool) -> None:
        """Set or clear bits of mip that software may write; the wires of interrupt controllers take no part."""
        stored = int(self._h.csr.mip) | int(self._h.csr.hvip) & 1 << 2
        self.set_csr("mip", stored | bits if level else stored & ~bits)

    def set_csr(self, which: str | int, value: int) -> None:
        """Write as M-mode would (V=0): WARL fields take legal values only. ConfigurationError when read-only."""
        number = self._number(which)
        if lib.hart_csr_write(self._h, number, value & WORD):
            raise ConfigurationError(f"CSR {which if isinstance(which, str) else hex(which)} is read-only or missing")

    @staticmethod
    def _why(number: int) -> str:
        known = csrs.BY_NUMBER.get(number)
        return f": it needs {said(known.extension)}" if known is not None and known.extension else ""

    @staticmethod
    def _number(which: str | int) -> int:
        if isinstance(which, int):
            return which
        try:
            return int(csrs.BY_NAME[which].number)
        except KeyError:
            raise ConfigurationError(f"there is no CSR named {which!r}; `mstatus`, `hgatp`... are names") from None

    # --- counters ---

    @property
    def clock(self) -> int:
        """Instructions retired plus instructions slept: what `time` is derived from."""
        return int(self._h.clock)

    @property
    def idle(self) -> int:
        """Instructions slept: time passed while the hart waited."""
        return int(self._h.idle)

    @property
    def instret(self) -> int:
        """Instructions retired in all modes: `clock` without `idle`."""
        return int(self._h.clock - self._h.idle)

    @property
    def progress(self) -> int:
        """Grows with every step: instructions retired, and events (traps among them)."""
        return self.instret + self.event_count

    @property
    def time(self) -> int:
        """The `time` counter in ticks (10 MHz: 100 instructions each)."""
        return int(lib.hart_time(self._h))

    @property
    def retired(self) -> dict[Mode, int]:
        """Instructions retired in each mode."""
        lib.hart_settle(self._h)
        return {mode: int(self._h.retired[mode]) for mode in Mode}

    @property
    def misses(self) -> tuple[int, int, int]:
        """Lookaside misses of fetch, load, store: each a walk of the page tables."""
        return int(self._h.misses[0]), int(self._h.misses[1]), int(self._h.misses[2])

    @property
    def table_reads(self) -> int:
        """Page-table entries read by walks."""
        return int(self._h.walk_reads)

    def traps(self) -> list[tuple[Mode, int, bool, int]]:
        """(mode it came from, cause, is it an interrupt, how often), those that ever happened."""
        found = []
        for mode in Mode:
            counts = ffi.unpack(self._h.traps[mode], 128)
            found += [(mode, cause & 63, cause >= 64, int(n)) for cause, n in enumerate(counts) if n]
        return found

    def events(self, most: int = 64) -> list[Event]:
        """The last events, oldest first; at most 1024 are kept."""
        return self.events_between(0, WORD)[-most:] if most > 0 else []

    def events_between(self, start: int, end: int) -> list[Event]:
        """Those of the last 1024 events whose clock is in [start, end), oldest first."""
        return [
            Event(clock, _KINDS[kind], pc, value, cause, _MODES[was], _MODES[now], vmid, guest)
            for clock, pc, value, cause, vmid, kind, was, now, guest in self.event_rows(start, end)
        ]

    def event_rows(self, start: int, end: int, *, before: bool = False) -> list[EventRow]:
        """The same as plain numbers, for who reads many; and the last one `before`."""
        h = self._h
        at = int(h.events) & 1023 if h.events > 1024 else 0
        ring = list(_EVENT.iter_unpack(ffi.buffer(h.ring)))
        ring = (ring[at:] + ring[:at])[: int(h.events)]
        clocks = [row[0] for row in ring]
        first = max(0, bisect_left(clocks, start) - before)
        known = [(int(g.hgatp), int(g.since)) if g.entries else (0, WORD) for g in h.guests]
        return [
            (*row[:8], known[row[8]][0] if (row[6] >= 3 or row[7] >= 3) and row[0] + 1 >= known[row[8]][1] else None)
            for row in ring[first : bisect_left(clocks, end)]
        ]

    @property
    def events_from(self) -> int:
        """The clock from which on all events are known."""
        h = self._h
        return int(h.ring[h.events & 1023].clock) if h.events > 1024 else 0

    def survey(self, first: int, cells: int, shift: int) -> Survey:
        """What the hart did, by stretches of its clock of 1 << shift instructions (shift 0 to 62): `cells` of them,
        from number `first` on. ConfigurationError where that cannot be."""
        if not (0 <= shift <= 62 and 0 <= first < 1 << 63 and 0 < cells <= 1 << 16):
            raise ConfigurationError(f"no survey of {cells} stretches of 2^{shift} instructions from number {first} on")
        h = self._h
        out = ffi.new("uint64_t[]", _NUMBERS * cells)
        lib.hart_survey(h, first, cells, shift, out)

        def column(number: int) -> tuple[int, ...]:
            return tuple(ffi.unpack(out + number * cells, cells))

        named = len(EventKind) + 4
        return Survey(
            first, shift, int(lib.hart_past(h).shift),
            {mode: column(mode) for mode in (Mode.M, Mode.HS, Mode.U)}, column(3),
            {kind: column(3 + kind) for kind in EventKind},
            tuple(
                GuestPast(int(g.hgatp), int(g.since), *(column(named + 3 * place + part) for part in range(3)))
                for place, g in enumerate(h.guests)
                if g.entries
            ),
        )  # fmt: skip

    def trap_log(self, most: int = 256) -> list[TrapRecord]:
        """The last traps, oldest first: at most 256 with all that led to them; before those, after a snapshot was
        loaded, what the ring of events has."""
        h = self._h
        logged = int(h.logged)
        records = self._noted(h.log, logged, most)
        first = records[0].number if logged <= len(h.log) and records else int(h.events) if not logged else 0
        older = []
        if len(records) < most:
            for i in range(max(0, int(h.events) - 1024), first):
                e = h.ring[i & 1023]
                if e.kind in (EventKind.TRAP, EventKind.INTERRUPT):
                    older.append(TrapRecord(
                        i, int(e.clock), int(e.pc), int(e.cause), e.kind == EventKind.INTERRUPT, int(e.value),
                        Mode(e.from_mode), Mode(e.to_mode), int(e.vmid), None,
                    ))  # fmt: skip
        return (older + records)[-most:]

    def fault_log(self) -> list[TrapRecord]:
        """The last accesses that failed and illegal instructions, oldest first, at most 64: also those that calls and
        exits have pushed out of `trap_log`. Guest-page faults, which hypervisors live by, are only there."""
        return self._noted(self._h.faults, int(self._h.faulted), len(self._h.faults))

    @staticmethod
    def _noted(ring: Any, ever: int, most: int) -> list[TrapRecord]:
        """The last of a ring of traps, into which `ever` were written."""
        size = len(ring)
        places = [place % size for place in range(max(0, ever - min(most, size)), ever)]
        rows = list(_TRAP.iter_unpack(ffi.buffer(ring))) if places else []
        return [_trap_record(rows[place]) for place in places]

    @property
    def moves(self) -> dict[tuple[Mode, Mode, Move], int]:
        """How often the hart went from a mode to another, or by a trap or return into the same, and by what."""
        counts = ffi.unpack(ffi.cast("uint64_t *", self._h.moves), 5 * 5 * len(Move))
        places = ((a, b, by) for a in Mode for b in Mode for by in Move)
        return {place: int(n) for place, n in zip(places, counts, strict=True) if n}

    def interrupts(self) -> Interrupts:
        """All that decides which interrupt is taken next, and that one: by what the hart itself decides with."""
        r = ffi.new("interrupt_record *")
        lib.hart_interrupts(self._h, r)
        return Interrupts(
            int(r.stored), int(r.wired), int(r.injected), int(r.guests), int(r.timers), int(r.pending), int(r.enabled),
            {mode: int(bits) for mode, bits in zip(LEVELS, r.level, strict=True)},
            frozenset(mode for mode, open in zip(LEVELS, r.open, strict=True) if open),
            None if r.next < 0 else (int(r.next), int(r.code), Mode(r.mode)),
        )  # fmt: skip

    def guests(self) -> list[GuestCount]:
        """What the hart has counted of each guest that ran here: at most 16, those seen last."""
        h = self._h
        lib.hart_settle(h)
        return [self._guest(g, bool(h.v) and i == h.guest) for i, g in enumerate(h.guests) if g.entries]

    @staticmethod
    def _guest(g: Any, inside: bool) -> GuestCount:
        rows = enumerate(struct.iter_unpack("=5Q", ffi.buffer(g.exits)))
        exits = tuple(
            ExitCount(row & 31, bool(row & 32), Mode.M if row & 64 else Mode.HS, *counts)
            for row, counts in rows
            if counts[0]
        )
        return GuestCount(
            int(g.hgatp), int(g.entries), (int(g.retired[0]), int(g.retired[1])),
            (int(g.served[0]), int(g.served[1]), int(g.served[2])), int(g.seen), exits, inside,
            int(g.clock), int(g.cause), int(g.pc), int(g.tval), int(g.tval2), int(g.tinst), Mode(g.from_mode),
        )  # fmt: skip

    @property
    def guests_lost(self) -> int:
        """Guests that `guests` had, and that gave way to others."""
        return int(self._h.guests_lost)

    @property
    def event_count(self) -> int:
        """Events that ever happened: `events` has the last of them."""
        return int(self._h.events)

    # --- state that others drive ---

    @property
    def waiting(self) -> bool:
        """In WFI."""
        return bool(self._h.waiting)

    @waiting.setter
    def waiting(self, value: bool) -> None:
        self._h.waiting = int(value)

    @property
    def halted(self) -> bool:
        """It does not run until `reset`, as by SBI HSM."""
        return bool(self._h.halted)

    @halted.setter
    def halted(self, value: bool) -> None:
        self._h.halted = int(value)

    @property
    def mtimecmp(self) -> int:
        """In ticks of `time`, 64 bits: MTIP is set from there on (ACLINT, "MTIMER")."""
        return int(self._h.mtimecmp)

    @mtimecmp.setter
    def mtimecmp(self, value: int) -> None:
        self._h.mtimecmp = value & WORD

    @property
    def host_modes(self) -> set[Mode]:
        """Traps into these modes end the run with ExitReason.TRAP, their CSRs written."""
        return {mode for mode in Mode if self._h.host_modes >> mode & 1}

    @host_modes.setter
    def host_modes(self, modes: set[Mode]) -> None:
        self._h.host_modes = sum(1 << mode for mode in modes)

    def wire(self, bit: int, level: bool) -> None:
        """Set an interrupt wire, by its bit of mip."""
        lib.hart_wire(self._h, bit, int(level))

    def guest_wire(self, number: int, level: bool) -> None:
        """Set the wire of a guest external interrupt: a bit of hgeip, 1 to the machine's `guest_interrupts`."""
        if not 1 <= number <= self._h.geilen:
            raise ConfigurationError(f"there is no guest external interrupt {number}: this hart has {self._h.geilen}")
        lib.hart_guest_wire(self._h, number, int(level))

    def flush_translation(self) -> None:
        """As a full HFENCE: page tables were changed in memory."""
        lib.hart_flush(self._h)

    def clock_at_time(self, time: int) -> int:
        """The first clock at which the `time` counter is at least `time` (ticks)."""
        return int(lib.hart_clock_at_time(self._h, time & WORD))

    def next_interrupt(self) -> tuple[int, Mode] | None:
        """What would be taken before the next instruction: the code in xcause, and the mode that takes it."""
        mode = ffi.new("uint32_t *")
        cause = lib.hart_next_interrupt(self._h, mode)
        return None if cause < 0 else (int(cause), Mode(mode[0]))

    # --- memory as the hart sees it ---

    def walk(
        self,
        address: int,
        access: Access = Access.LOAD,
        mode: Mode | None = None,
        *,
        sum: bool | None = None,
        mxr: bool | None = None,
        gmxr: bool | None = None,
    ) -> Walk:
        """Translate as the hart would, by its own walker, changing nothing. `mode`: another than the hart's own.

        `sum`, `mxr`: other bits than those of vsstatus, or with V=0 of mstatus; `gmxr`: than MXR of mstatus, with V=1.
        """
        if (access is Access.HLVX or (mode is not None and mode.virtual)) and "H" not in self.isa:
            raise ConfigurationError(f"there is no {mode.label if mode else 'VS'}-mode: the H extension is off")
        if access is Access.HLVX and mode is not None and not mode.virtual:
            raise ConfigurationError(f"HLVX is for VS and VU, not for {mode.label}")
        query, record = ffi.new("walk_query *"), ffi.new("walk_record *")
        query.address, query.mode = address & WORD, -1 if mode is None else mode
        query.hlvx, query.access = access is Access.HLVX, Access.LOAD if access is Access.HLVX else access
        query.sum, query.mxr, query.gmxr = (-1 if each is None else int(each) for each in (sum, mxr, gmxr))
        cause = lib.hart_look(self._h, query, record)
        steps = tuple(
            Step(
                s.stage, s.level, None if s.nested == 255 else s.nested, WalkResult(s.result), int(s.input),
                int(s.pte_address), int(s.pte_physical), int(s.pte), int(s.output),
            )
            for s in record.steps[0 : record.count]
        )  # fmt: skip
        good = cause < 0
        refused = None if record.refused == lib.REFUSED_NOT else int(record.refused)
        there = good or (refused is not None and not (steps and steps[-1].result is WalkResult.ACCESS))
        return Walk(
            address & WORD, access, steps, int(record.physical) if good else None,
            int(record.guest_physical) if good else None, None if good else int(cause), int(record.tval),
            int(record.tval2), int(record.tinst), int(record.page_bits), refused,
            int(record.physical) if there else None, self._world(record), mode is None,
        )  # fmt: skip

    def _world(self, record: Any) -> World:
        mode = Mode(record.mode)
        own = int(self._h.csr.menvcfg)
        both = int(self._h.csr.henvcfg) if mode.virtual else own, own
        fields = csrs.BY_NAME["menvcfg"].field("PBMTE"), csrs.BY_NAME["menvcfg"].field("ADUE")
        types, updates = ([bool(field.extract(each)) for each in both] for field in fields)
        return World(
            mode, bool(record.sum), bool(record.mxr), bool(record.gmxr), int(record.first), int(record.second),
            (types[0], types[1]), (updates[0], updates[1]),
        )  # fmt: skip

    def trap_of(self, walk: Walk) -> Trap | None:
        """What trap entry would write for the exception that a walk of this hart ends in: by its own trap entry, tried
        on a copy. pc is what it is now. None where the walk ends well.

        The trap is taken from the walk's mode; of HLVX from the hart's, or from HS.
        """
        if walk.cause is None:
            return None
        origin = walk.world.mode
        if walk.access is Access.HLVX:
            origin = Mode.HS if self.mode.virtual else self.mode
        elif walk.world.mode is not self.mode and self.mode is Mode.M and walk.access is not Access.FETCH and walk.own:
            origin = Mode.M  # MPRV: the instruction is M-mode's
        record = ffi.new("walk_record *")
        record.tval, record.tval2, record.tinst, record.mode = walk.tval, walk.tval2, walk.tinst, walk.world.mode
        after, pc = ffi.new("csr_state *"), ffi.new("uint64_t *")
        to = lib.hart_trap_csrs(self._h, origin, walk.cause, record, after, pc)
        if to > Mode.VU:
            raise TranslationError("there is no memory to try the trap on")
        mode = Mode(to)
        names = [name for name in RECEIVED[mode] if self.has_csr(name)]
        before = self._h.csr
        stored = {name: "mstatus" if name == "sstatus" else name for name in names}
        return Trap(
            walk.cause, origin, mode,
            {name: (int(getattr(before, at)), int(getattr(after, at))) for name, at in stored.items()},
            int(pc[0]), self._delegates("medeleg", walk.cause), self._delegates("hedeleg", walk.cause),
        )  # fmt: skip

    def _delegates(self, name: str, cause: int) -> bool:
        return self.has_csr(name) and bool(self.csr(name) >> cause & 1)

    def _pieces(self, address: int, length: int, access: Access, mode: Mode | None) -> Iterator[tuple[int, int]]:
        """(physical address, bytes) of each page piece. TranslationError where one does not lead to memory."""
        while length > 0:
            address &= WORD
            size = min(length, 4096 - (address & 4095))
            walk = self.walk(address, access, mode)
            if walk.physical is None:
                raise TranslationError(walk.explain)
            if self._memory.find(walk.physical, size) is None:
                raise TranslationError(f"{address:#x} is physical {walk.physical:#x}, where there is no memory")
            yield walk.physical, size
            address, length = address + size, length - size

    def read_virtual(self, address: int, length: int, access: Access = Access.LOAD, mode: Mode | None = None) -> bytes:
        """Memory at a virtual address. TranslationError when it does not translate or is not memory."""
        return b"".join(self._memory.read(at, size) for at, size in self._pieces(address, length, access, mode))

    def write_virtual(self, address: int, data: bytes, mode: Mode | None = None) -> None:
        """Write memory at a virtual address, all or nothing. TranslationError as for read_virtual."""
        done = 0
        for at, size in list(self._pieces(address, len(data), Access.STORE, mode)):
            self._memory.write(at, data[done : done + size])
            done += size

    # --- saving ---

    def reset(self, pc: int) -> None:
        """As at power-on ("Reset"): M-mode, at `pc`."""
        lib.hart_reset(self._h, pc)

    def lose_reservation(self) -> None:
        """The next SC fails: "Load-Reserved/Store-Conditional Instructions", a write from some other device."""
        self._h.reservation = WORD

    def state(self) -> dict[str, Any]:
        """Everything that decides what the hart does next, and its counters: plain ints, lists and bytes."""
        h = self._h
        lib.hart_settle(h)
        stored = {}
        for name, field in ffi.typeof("csr_state").fields:
            value = getattr(h.csr, name)
            stored[name] = int(value) if field.type.kind == "primitive" else [int(v) for v in value]
        return {
            "index": self.index,
            "x": list(self.x),
            "f": list(self.f),
            "csr": stored,
            "retired": ffi.unpack(h.retired, 5),
            "traps": bytes(ffi.buffer(h.traps)),
            "moves": bytes(ffi.buffer(h.moves)),
            "ring": bytes(ffi.buffer(h.ring)),
            "misses": ffi.unpack(h.misses, 3),
            "contexts": _filled(h.contexts, "<QQLL", 3),
            "known": _filled(h.known, "<QQ", 0),
            "guests": [[i, bytes(ffi.buffer(h.guests[i : i + 1]))] for i, g in enumerate(h.guests) if g.entries],
            "history": self._history(),
            **{name: int(getattr(h, name)) for name in SAVED},
        }

    def _history(self) -> list[Any]:
        """Shift, rows in use, and those columns of them that are not all 0, each after its number."""
        past = lib.hart_past(self._h)
        used = int(past.used)
        numbers = memoryview(ffi.buffer(past.rows)).cast("Q")
        columns = ((i, numbers[i : used * _NUMBERS : _NUMBERS].tobytes()) for i in range(_NUMBERS))
        empty = bytes(8 * used)
        return [int(past.shift), used, [[i, column] for i, column in columns if column != empty]]

    @staticmethod
    def _past(history: Any, clock: int) -> Any:
        """The reverse, of a hart with that clock. Raises ValueError or TypeError where it does not fit."""
        past = ffi.new("hart_history *")
        past.shift, past.used, columns = history
        if past.shift > 62 or not 0 < past.used <= _ROWS or (clock >> past.shift) + 1 != past.used:
            raise ValueError("history")
        numbers = memoryview(ffi.buffer(past.rows)).cast("Q")
        for i, column in columns:
            if i not in range(_NUMBERS) or len(column) != 8 * past.used:
                raise ValueError("history")
            numbers[i : past.used * _NUMBERS : _NUMBERS] = memoryview(column).cast("Q")
        return past

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state()` gave. StateError, and nothing changed, where it does not fit."""
        h = self._h
        what = f"saved state of hart {self.index}"
        wanted = {
            "index", "x", "f", "csr", "retired", "traps", "moves", "ring", "misses", "contexts", "known", "guests",
            "history", *SAVED,
        }  # fmt: skip
        if not isinstance(state, Mapping) or set(state) != wanted:
            raise StateError(f"{what}: fields are missing or unknown")
        fresh = ffi.new("hart *")
        try:
            for name in SAVED:
                setattr(fresh, name, state[name])
            for name, length in (("x", 32), ("f", 32), ("retired", 5), ("misses", 3)):
                if len(state[name]) != length:
                    raise ValueError(name)
                for i, value in enumerate(state[name]):
                    getattr(fresh, name)[i] = value
            for name, native in (("traps", fresh.traps), ("moves", fresh.moves), ("ring", fresh.ring)):
                if len(state[name]) != ffi.sizeof(native):
                    raise ValueError(name)
                ffi.buffer(native)[:] = state[name]
            _fill(fresh.contexts, "<QQLL", state["contexts"])
            _fill(fresh.known, "<QQ", state["known"])
            for place, packed in state["guests"]:
                if place not in range(len(fresh.guests)) or len(packed) != ffi.sizeof("hart_guest"):
                    raise ValueError("guests")
                ffi.buffer(fresh.guests[place : place + 1])[:] = packed
            fields = dict(ffi.typeof("csr_state").fields)
            if set(state["csr"]) != set(fields):
                raise ValueError("csr")
            for name, value in state["csr"].items():
                if fields[name].type.kind == "primitive":
                    setattr(fresh.csr, name, value)
                elif len(value) != fields[name].type.length:
                    raise ValueError(name)
                else:
                    for i, item in enumerate(value):
                        getattr(fresh.csr, name)[i] = item
            odd = fresh.pc & self._align or fresh.x[0]
            if fresh.prv not in (0, 1, 3) or fresh.v > ("H" in self.isa) or (fresh.prv == 3 and fresh.v) or odd:
                raise ValueError("mode, pc or x0")
            if fresh.idle > fresh.clock or fresh.clock >> 63:
                raise ValueError("clock")
            for *_, kind, origin, target, place in _EVENT.iter_unpack(ffi.buffer(fresh.ring)):
                if kind > len(EventKind) or max(origin, target) > Mode.VU or place >= len(fresh.guests):
                    raise ValueError("events")
            past = self._past(state["history"], fresh.clock)
            if fresh.guest >= len(fresh.guests) or any(
                not each.entries or each.away > len(each.exits) or each.from_mode > 4
                for each in (fresh.guests[place] for place, _ in state["guests"])
            ):
                raise ValueError("guests")
        except (TypeError, ValueError, OverflowError, KeyError, struct.error) as error:
            raise StateError(f"{what}: a value does not fit ({str(error)[:80]})") from None
        fresh.index, fresh.geilen = self.index, h.geilen
        ffi.buffer(h)[:] = ffi.buffer(fresh)
        ffi.memmove(lib.hart_past(h), past, ffi.sizeof("hart_history"))
        lib.hart_refresh(h)
