"""`--profile FILE`: where instructions and time went.

Everything is counted in retired instructions and the same in every run, but for what stands under "wall". Symbols are
found by looking at pc every so many steps of the machine, by cutting runs there: that changes nothing that the machine
does. A name that ends in .json is a JSON object, .folded the collapsed stacks that flame graphs are drawn of
("mode;guest;symbol steps"), any other and - (standard output) a table.

The JSON object: "format" 1; "executed" (steps: instructions and traps), "retired" (instructions by mode), "idle"
(instructions' worth of time slept); "samples" (how often pc was looked at); "symbols" (rows of "mode", "guest" or null,
"symbol", "steps" that ended there); "traps" (rows of "mode" it came from, "cause", "interrupt", "name", "count");
"exits" to Python by reason, those but that devices and chunks of the run make;
"devices" (rows of "name", "reads", "writes"); "sbi" (calls by name); "entries" into guests, each a world switch there
and one back; "guests" of the built-in hypervisor, or of one inside the machine (rows of "name", "instructions", "exits"
by KVM's names, "sbi" where the built-in one answers); "misses" of the translation lookaside ("fetch", "load", "store")
and "table_reads"; "wall" (seconds: "all", of which "native", "devices" by name, "host" (SBI, hypervisor), "loop"
(between them) and "outside" (consoles, the screen, pacing)).
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from emulator.bus import Bus
from emulator.hart import Exit, ExitReason, Mode
from emulator.isa import csrs
from emulator.loader import Symbols
from emulator.machine import CLOCK_LIMIT, Machine
from rvtui import machines
from rvtui.subjects import virtual_machines
from rvtui.text import clean

FORMAT: Final = 1
LEAST, MOST, PART = 1_009, 1_000_003, 100
"""Steps between two looks at pc: a part of those since the profile began, so that short runs are told of too, and long
ones cost little. Odd, the ends prime, so that loops are not met at the same place each time."""
MOST_NAMES: Final = 65_536
"""Different (mode, guest, symbol) that are kept: a hostile guest could make as many as there are samples."""
OTHERS: Final = "(others)"
ROWS: Final = 30
"""Of each table in the text."""
_CHOSEN_BY_TIME: Final = {ExitReason.BUDGET, ExitReason.STOPPED, ExitReason.MMIO_READ, ExitReason.MMIO_WRITE}
"""Exits that are no news: the caller's own, and those that devices are listed for."""

Key = tuple[str, str | None, str]
"""Mode, guest, symbol."""


@contextmanager
def profiling(machine: Machine, path: str | None, symbols: Symbols | None = None) -> Iterator[None]:
    """Profile what `machine` does in the block, and write it to `path` however the block ends; None for no profile.

    `symbols`: more names. What keeps it from being written is raised before the block."""
    if path is None:
        yield
        return
    if path != "-":
        machines.check_writable(path)
    profile = Profile(machine, symbols)
    try:
        yield
    finally:
        profile.end()
        text = _TEXTS.get(path.rpartition(".")[2], table)(profile.told())
        if path == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            machines.write_file(path, text.encode())


class _Spent:
    """Calls of one kind: seconds in them without what others spent inside, and how many there were."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0


class _Clock:
    """Puts calls on the account of what they are for."""

    def __init__(self) -> None:
        self.accounts: defaultdict[str, _Spent] = defaultdict(_Spent)
        self._inside = [0.0]  # seconds in calls inside the one that runs

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        now, inside, account = time.perf_counter, self._inside, self.accounts[name]

        def run(*arguments: Any) -> Any:
            outer = inside[0]
            inside[0] = 0.0
            start = now()
            try:
                return call(*arguments)
            finally:
                spent = now() - start
                account.seconds += spent - inside[0]
                account.calls += 1
                inside[0] = outer + spent

        return run


class Profile:
    """Counts from now to `end`. The machine is the same as without, but for methods that stand before its own."""

    def __init__(self, machine: Machine, symbols: Symbols | None = None) -> None:
        self.machine = machine
        self.steps: Counter[Key] = Counter()
        """By where they ended."""
        self.samples = 0
        self._first = self._last = machine.executed
        self._next = self._first + LEAST
        self._symbols = symbols or Symbols()
        self._exits: Counter[str] = Counter()
        self._devices: list[str] = []
        self._clock = _Clock()
        self._undo: list[tuple[Any, str, Any]] = []
        self._vms = {vm.vmid: vm for vm in virtual_machines(machine)}
        self._before = self._counts()
        self._started = time.perf_counter()
        self._all = 0.0
        self._attach()

    # --- before and after what the machine does ---

    def _attach(self) -> None:
        machine, clock = self.machine, self._clock
        self._run_machine = machine.run
        self._put(machine, "run", clock.timed("loop", self._run))
        self._put(machine, "enter", clock.timed("native", machine.enter))
        if machine.host is not None:
            for name in ("schedule", "ran") if self._vms else ("ran",):  # firmware chooses nothing
                self._put(machine.host, name, clock.timed("host", getattr(machine.host, name)))
        self._watch("", machine.bus)
        for vm in self._vms.values():
            self._watch(f"{vm.name}: ", vm.bus)

    def _put(self, owner: Any, name: str, call: Callable[..., Any]) -> None:
        self._undo.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, call)

    def _watch(self, prefix: str, bus: Bus) -> None:
        for _, device in bus:
            name = f"{prefix}{device.name}"
            self._devices.append(name)
            for what in ("read", "write"):
                self._put(device, what, self._clock.timed(f"{what} {name}", getattr(device, what)))

    def end(self) -> None:
        """Stop counting; the machine is as it was."""
        if self._undo:
            self._all = time.perf_counter() - self._started
            self._after = self._counts()
            for owner, name, before in self._undo:
                if before is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)
            self._undo.clear()

    def _run(self, budget: int, until: int = CLOCK_LIMIT) -> Exit:
        """`Machine.run`, cut where pc is to be looked at."""
        machine, left = self.machine, budget
        while True:
            most = min(left, self._next - machine.executed)
            exit = self._run_machine(most, until)
            left -= exit.executed
            if machine.executed >= self._next:
                self._sample()
            if exit.reason is not ExitReason.BUDGET or exit.executed < most or not left:
                break
        if exit.reason not in _CHOSEN_BY_TIME:
            self._exits[exit.reason.name.lower()] += 1
        return replace(exit, executed=budget - left)

    def _sample(self) -> None:
        hart = self.machine.harts[self.machine.turn]
        mode, pc = hart.mode, hart.pc
        guest, table = None, self.machine.symbols
        if mode.virtual:
            vmid = hart.csr("hgatp") >> 44 & 0x3FFF
            vm = self._vms.get(vmid)
            guest, table = (f"VMID {vmid}", Symbols()) if vm is None else (vm.name, vm.symbols)
        symbol = table.at(pc) or self._symbols.at(pc)
        key = mode.label, guest, symbol.name if symbol is not None else f"{pc & -4096:#x}..{pc | 4095:#x}"
        if key not in self.steps and len(self.steps) >= MOST_NAMES:
            key = mode.label, None, OTHERS
        now = self.machine.executed
        self.steps[key] += now - self._last
        self.samples += 1
        self._last = now
        self._next = now + min(MOST, max(LEAST, (now - self._first) // PART | 1))

    # --- what came of it ---

    def _counts(self) -> dict[str, Counter[Any]]:
        """What the machine counts by itself, so far."""
        harts, host = self.machine.harts, self.machine.host
        found: dict[str, Counter[Any]] = {
            "plain": Counter(executed=self.machine.executed, idle=sum(hart.idle for hart in harts)),
            "retired": Counter(),
            "traps": Counter(),
            "misses": Counter(),
            "sbi": Counter(getattr(host, "calls", {})),
        }
        for hart in harts:
            found["retired"].update(hart.retired)
            found["traps"].update({(mode, cause, interrupt): n for mode, cause, interrupt, n in hart.traps()})
            found["misses"].update(dict(zip(("fetch", "load", "store"), hart.misses, strict=True)))
            found["misses"]["table_reads"] += hart.table_reads
        inside = self.machine.guests
        found["plain"]["entries"] = sum(guest.entries for guest in inside)
        self._guests: dict[str, Any] = {f"{vmid}": vm for vmid, vm in self._vms.items()}
        if not self._guests:
            self._guests = {f"{guest.identity:#x}": guest for guest in inside}
        for key, guest in self._guests.items():
            found[f"instructions {key}"] = Counter(all=guest.instructions)
            found[f"exits {key}"], found[f"sbi {key}"] = Counter(guest.exits), Counter(getattr(guest, "calls", {}))
        return found

    def told(self) -> dict[str, Any]:
        """As the module says, after `end`."""
        since = {name: counts - self._before.get(name, Counter()) for name, counts in self._after.items()}
        of = self._clock.accounts
        devices = [(name, of[f"read {name}"], of[f"write {name}"]) for name in self._devices]
        devices = sorted((row for row in devices if row[1].calls + row[2].calls), key=_accesses)
        return {
            "format": FORMAT,
            "executed": since["plain"]["executed"],
            "retired": {mode.label: since["retired"][mode] for mode in Mode},
            "idle": since["plain"]["idle"],
            "samples": self.samples,
            "symbols": [
                {"mode": mode, "guest": guest, "symbol": symbol, "steps": n}
                for (mode, guest, symbol), n in sorted(self.steps.items(), key=lambda item: (-item[1], str(item[0])))
            ],
            "traps": [
                {"mode": mode.label, "cause": cause, "interrupt": interrupt,
                 "name": csrs.cause_name(cause, interrupt), "count": n}
                for (mode, cause, interrupt), n in sorted(since["traps"].items(), key=lambda item: (-item[1], item[0]))
            ],
            "exits": _sorted(self._exits),
            "devices": [{"name": name, "reads": r.calls, "writes": w.calls} for name, r, w in devices],
            "sbi": _sorted(since["sbi"]),
            "entries": since["plain"]["entries"],
            "guests": [
                {
                    "name": guest.name,
                    "instructions": since[f"instructions {key}"]["all"],
                    "exits": _sorted(since[f"exits {key}"]),
                    "sbi": _sorted(since[f"sbi {key}"]),
                }
                for key, guest in self._guests.items()
            ],
            "misses": {name: since["misses"][name] for name in ("fetch", "load", "store")},
            "table_reads": since["misses"]["table_reads"],
            "wall": {
                "all": self._all,
                "native": of["native"].seconds,
                "devices": {name: r.seconds + w.seconds for name, r, w in devices},
                "host": of["host"].seconds,
                "loop": of["loop"].seconds,
                "outside": max(0.0, self._all - sum(account.seconds for account in of.values())),
            },
        }  # fmt: skip


def _accesses(row: tuple[str, _Spent, _Spent]) -> tuple[int, str]:
    return -row[1].calls - row[2].calls, row[0]


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda item: (-item[1], item[0])))


def as_json(told: Mapping[str, Any]) -> str:
    return json.dumps(told, indent=1) + "\n"


def folded(told: Mapping[str, Any]) -> str:
    """A line per stack, in steps of the machine; a name has no semicolon and no blank."""
    lines = []
    for row in told["symbols"]:
        frames = [row["mode"], *([row["guest"]] if row["guest"] else []), row["symbol"]]
        stack = ";".join("_".join(clean(frame, 200).replace(";", "_").split()) for frame in frames)
        lines.append(f"{stack} {row['steps']}\n")
    return "".join(lines)


def table(told: Mapping[str, Any]) -> str:
    """For people: each list by size, the largest first, with its share of the whole."""
    retired = told["retired"]
    parts = [
        f"{sum(retired.values()):,} instructions retired, {told['idle']:,} slept, {told['wall']['all']:.2f} s\n",
        _rows("instructions by mode", ((mode, n) for mode, n in retired.items() if n)),
        _rows(
            f"steps by symbol, in {told['samples']:,} samples",
            ((" ".join(filter(None, list(row.values())[:3])), row["steps"]) for row in told["symbols"]),
        ),
        f"{told['entries']:,} entries into guests, as many world switches there and back\n" if told["entries"] else "",
        _rows("traps", ((f"{row['mode']} {row['name']}", row["count"]) for row in told["traps"])),
        _rows(
            "accesses to devices (writes)",
            ((f"{row['name']} ({row['writes']:,})", row["reads"] + row["writes"]) for row in told["devices"]),
        ),
        _rows("SBI calls", told["sbi"].items()),
    ]
    for guest in told["guests"]:
        name = clean(guest["name"])
        parts.append(_rows(f"exits of {name}, in {guest['instructions']:,} instructions", guest["exits"].items()))
        parts.append(_rows(f"SBI calls of {name}", guest["sbi"].items()))
    misses = {**told["misses"], "table entries read": told["table_reads"]}
    parts.append(_rows("translation: lookaside misses", misses.items(), shares=False))
    wall = told["wall"]
    times = {"native": wall["native"], "host (SBI, hypervisor)": wall["host"], "run loop": wall["loop"]}
    times |= {f"device {name}": seconds for name, seconds in wall["devices"].items()} | {"outside": wall["outside"]}
    parts.append(_rows("milliseconds", ((name, round(1000 * s)) for name, s in times.items())))
    return "\n".join(filter(None, parts))


def _rows(title: str, rows: Any, *, shares: bool = True) -> str:
    """ "" without rows."""
    every = sorted(rows, key=lambda row: -row[1]) if shares else list(rows)
    whole = sum(n for _, n in every)
    if not every:
        return ""
    lines = [f"{title}\n"]
    for name, n in every[:ROWS]:
        share = f"{n / whole:7.1%}" if shares and whole else " " * 7
        lines.append(f"{n:>16,} {share}  {clean(name, 100)}\n")
    if rest := every[ROWS:]:
        lines.append(f"{sum(n for _, n in rest):>16,} {'':7}  ({len(rest):,} more)\n")
    return "".join(lines)


_TEXTS: Final = {"json": as_json, "folded": folded}
