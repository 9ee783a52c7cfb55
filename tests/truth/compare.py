"""What is compared: each check asks the kernel, asks rvtui's commands, and says whether they agree."""

from __future__ import annotations

import base64
import gzip
import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from emulator.addressspace import Run, Tables, finish
from emulator.hart import Mode, Move
from emulator.isa import csrs
from emulator.machine import Machine
from emulator.worlds import GUEST_PAGE_FAULTS, Guest
from rvtui.frames import frame_of
from rvtui.subjects import Subject, spaces_of
from tests.truth.linux import MARK, Linux, blocks

PAGE = 4096
PRESENT, PFN = 1 << 63, (1 << 55) - 1
"""Of an entry in /proc/PID/pagemap ("pagemap, from the userspace perspective" in the kernel's documentation)."""
PGTABLE = 1 << 26
"""Of an entry in /proc/kpageflags: KPF_PGTABLE."""
KERNEL = 1 << 63


@dataclass(frozen=True)
class Verdict:
    what: str
    kernel: str
    ours: str
    right: bool


def number(text: str, name: str) -> int:
    """A number behind a name at the start of a line."""
    found = re.search(rf"^\s*{re.escape(name)}\s*:?\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no {name} in:\n{text[:500]}")
    return int(found[1])


# --- the whole machine ---


def cpuinfo(linux: Linux, text: str, who: str, ours: str, mmu: str) -> Iterator[Verdict]:
    """The kernel lists those extensions that it knows; a guest has those that KVM lets it have."""
    isa = re.search(r"^isa\s*:\s*(\S+)", text, re.MULTILINE)
    said = _extensions(isa[1] if isa else "")
    known = _extensions(ours)
    extra = sorted(said - known)
    lacks = f", not {' '.join(extra)}" if extra else ""
    yield Verdict(f"isa string of {who}", f"{len(said)} extensions", f"{len(known)}{lacks}", bool(said) and not extra)
    mode = re.search(r"^mmu\s*:\s*(\S+)", text, re.MULTILINE)
    if mmu:
        yield Verdict(f"widest translation of {who}", mode[1] if mode else "", mmu, bool(mode) and mode[1] in mmu)


def _extensions(isa: str) -> set[str]:
    head, *rest = isa.lower().split("_")
    return set(head.removeprefix("rv64")) | set(rest)


def memory(linux: Linux) -> Iterator[Verdict]:
    """/proc/iomem against `memory-map` and `devices`."""
    rows = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : (.*)$", linux.ask("cat /proc/iomem"), re.MULTILINE)
    ranges = linux.command("memory-map")["ranges"]
    ram = {(int(each["start"], 16), each["size"]) for each in ranges if each["what"] == "ram"}
    found = {(int(a, 16), int(b, 16) + 1 - int(a, 16)) for a, b, name in rows if name == "System RAM"}
    yield Verdict("System RAM", _ranges(found), _ranges(ram), found == ram)
    devices = [(int(each["base"], 16), each["size"], each["name"]) for each in linux.command("devices")["devices"]]
    for start, end, name in rows:
        if name == "System RAM":
            continue
        first, last = int(start, 16), int(end, 16)
        home = [each for base, size, each in devices if base <= first and last < base + size]
        yield Verdict(f"iomem {name[:30]}", f"{first:x}-{last:x}", ", ".join(home) or "no device", len(home) == 1)


def _ranges(found: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{start:x}+{size:x}" for start, size in sorted(found))


def serial(linux: Linux) -> Iterator[Verdict]:
    """Characters that the driver received are those that were typed."""
    said = linux.ask("cat /proc/tty/driver/serial")
    received = re.search(r"rx:(\d+)", said)
    yield Verdict("serial driver: received", received[1] if received else "", str(linux.sent),
                  bool(received) and int(received[1]) == linux.sent)  # fmt: skip


def symbols(linux: Linux) -> dict[str, int]:
    text = linux.ask("grep -m 4 -E ' (_text|show_interrupts|show_stack|handle_exception)$' /proc/kallsyms")
    return {name: int(at, 16) for at, name in re.findall(r"^([0-9a-f]{16}) \w (\w+)$", text, re.MULTILINE)}


def handlers(linux: Linux, known: Mapping[str, int]) -> Iterator[Verdict]:
    """stvec, and where the last traps into HS were handled, are the kernel's entries."""
    entry = known["handle_exception"]
    stvec = linux.look(lambda machine: machine.harts[0].csr("stvec"))
    yield Verdict("stvec is handle_exception", hex(entry), hex(stvec), stvec == entry)
    traps = linux.look(lambda machine: [each for each in machine.harts[0].trap_log() if each.entry is not None])
    for mode, name in ((Mode.HS, "from HS or U"), (Mode.VS, "of the guest's own")):
        taken = {each.entry.handler & ~3 for each in traps if each.to_mode is mode and (
            mode is Mode.VS or not each.from_mode.virtual)}  # fmt: skip
        if taken:
            text = ", ".join(map(hex, sorted(taken)))
            yield Verdict(f"traps {name} arrive at handle_exception", hex(entry), text, taken == {entry})


def kernel_mappings(
    linux: Linux, text: str, iomem: str, known: Mapping[str, int], who: str, satp: str
) -> Iterator[Verdict]:
    """/proc/vmallocinfo's `phys=` and the place of the kernel's text in /proc/iomem, against `map`."""
    leaves = linux.look(lambda machine: _leaves(machine, linux.session.subject, satp))
    rows = re.findall(r"^0x([0-9a-f]+)-0x([0-9a-f]+)\s+(\d+) .*phys=0x([0-9a-f]+)", text, re.MULTILINE)
    wrong = []
    for start, _, size, physical in rows:
        for offset in range(0, int(size) - PAGE, PAGE):  # the last page is a guard
            if leaves.at(int(start, 16) + offset) != int(physical, 16) + offset:
                wrong.append(f"{int(start, 16) + offset:x} is {leaves.at(int(start, 16) + offset) or 0:x}")
                break
    yield Verdict(f"ioremaps of {who}", f"{len(rows)} of vmallocinfo", wrong[0] if wrong else f"{len(rows)} in {satp}",
                  bool(rows) and not wrong)  # fmt: skip
    code = re.search(r"([0-9a-f]+)-[0-9a-f]+ : Kernel code", iomem)
    if code is not None and "_text" in known:
        at = leaves.at(known["_text"])
        yield Verdict(f"_text of {who}", code[1], f"{at or 0:x}", at == int(code[1], 16))


class Leaves:
    """Where each page of a map leads."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = sorted((run for run in runs if run.output is not None), key=lambda run: run.start)
        self._starts = [run.start for run in self.runs]

    def at(self, address: int) -> int | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.runs[index].start + self.runs[index].length:
            return None
        run = self.runs[index]
        return None if run.output is None else run.output + address - run.start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for run in self.runs:
            for offset in range(0, run.length, PAGE):
                yield run.start + offset, (run.output or 0) + offset


def _leaves(machine: Machine, subject: Subject, stage: str) -> Leaves:
    """As the map pane reads them."""
    found = finish(Tables(machine.memory).read_stage(spaces_of(machine, subject), stage))
    return Leaves(found.runs)


# --- processes ---


def dump(command: str) -> str:
    """Binary data through a console."""
    return f"{command} 2>/dev/null | gzip | base64"


def words(text: str) -> tuple[int, ...]:
    """What `dump` printed, as 64-bit words."""
    data = gzip.decompress(base64.b64decode("".join(text.split())))
    return struct.unpack(f"<{len(data) // 8}Q", data[: len(data) & -8])


def pagemap(linux: Linux, pid: str, start: int, end: int) -> dict[int, int]:
    """Pages of a process in a range, by their address: where they are."""
    text = linux.ask(dump(f"dd if=/proc/{pid}/pagemap bs=8 skip={start // PAGE} count={(end - start) // PAGE}"))
    return {start + n * PAGE: (word & PFN) * PAGE for n, word in enumerate(words(text)) if word & PRESENT}


def maps(text: str) -> list[tuple[int, int, str]]:
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$", text, re.MULTILINE)
    return [(int(a, 16), int(b, 16), name) for a, b, _, name in found]


def process(linux: Linux) -> Iterator[Verdict]:
    """A process that does nothing but run in U-mode, against satp's map; its page tables by /proc/kpageflags."""
    pid = linux.ask("{ sh -c 'while :; do :; done' & }; usleep 50000; echo $!").strip()
    areas = [area for area in maps(linux.ask(f"cat /proc/{pid}/maps")) if area[2] != "[vvar]"]
    said: dict[int, int] = {}
    for start, end, _ in areas:
        said |= pagemap(linux, pid, start, end)
    hart = linux.seek(Mode.U)
    runs = linux.look(lambda machine: _leaves(machine, Subject(hart), "satp"))
    tables = linux.look(lambda machine: _tables_of_user(machine, hart))
    ours = {at: physical for at, physical in runs if any(a <= at < b for a, b, _ in areas)}
    linux.ask(f"kill -STOP {pid}")
    alike = sum(ours.get(at) == physical for at, physical in said.items())
    text = f"{alike} alike, {len(ours.keys() - said.keys())} more"
    yield Verdict("pages of a process (pagemap)", f"{len(said)}", text, bool(said) and said == ours)
    flags = [words(linux.ask(dump(f"dd if=/proc/kpageflags bs=8 skip={at // PAGE} count=1")))[0] for at in tables[:12]]
    linux.ask(f"kill -KILL {pid}")
    good = sum(bool(each & PGTABLE) for each in flags)
    yield Verdict("its page tables (kpageflags)", f"{good} of {len(flags)} are tables", f"{len(tables)} tables read",
                  bool(flags) and good == len(flags))  # fmt: skip


def _tables_of_user(machine: Machine, index: int) -> list[int]:
    """Physical addresses of tables that map user pages, by the walks' steps: those that the kernel marks as such, which
    leaves out the root and Sv57's second level."""
    hart = machine.harts[index]
    found: dict[int, None] = {}
    for at, _ in _leaves(machine, Subject(index), "satp"):
        if at >= KERNEL or len(found) > 40:
            break
        for step in hart.walk(at, mode=Mode.U).steps:
            if step.level <= 2:
                found[step.pte_physical & -PAGE] = None
    return list(found)


# --- interrupts ---


TIMER = 5


def _timers(machine: Machine) -> int:
    """Supervisor timer interrupts taken in HS and U. One that ends a guest's turn stays pending: KVM goes back to
    HS-mode and has it taken there once more."""
    return sum(
        n for hart in machine.harts for origin, cause, interrupt, n in hart.traps()
        if interrupt and cause == TIMER and not origin.virtual
    )  # fmt: skip


def _interrupts(machine: Machine) -> int:
    """All that were taken there."""
    return sum(n for hart in machine.harts for (origin, to, by), n in hart.moves.items()
               if to is Mode.HS and not origin.virtual and by is Move.INTERRUPT)  # fmt: skip


def interrupts(linux: Linux, known: Mapping[str, int]) -> Iterator[Verdict]:
    """/proc/interrupts, while the kernel prints it, against interrupts that were taken: each of the timer's is one; an
    external one may find several sources."""
    counts: list[tuple[int, int]] = []

    def stopped(reason: str) -> None:
        if f"{known['show_interrupts']:#x}" in reason:
            counts.append(linux.look(lambda machine: (_timers(machine), _interrupts(machine))))

    linux.stopped = stopped
    linux.command(f"break {known['show_interrupts']:#x} in HS")
    text = linux.ask("cat /proc/interrupts")
    linux.command("delete")
    linux.stopped = lambda reason: None
    rows = [
        (label, sum(map(int, numbers.split())), name)
        for label, numbers, name in re.findall(r"^ *(\w+):((?: +\d+)+) +(.*)$", text, re.MULTILINE)
    ]
    timer = sum(n for _, n, name in rows if "riscv-timer" in name)
    other = sum(n for label, n, name in rows if "PLIC" in name or label.startswith("IPI"))
    if not counts:
        yield Verdict("/proc/interrupts", "printed", "the breakpoint at show_interrupts was not hit", False)
        return
    (low, all_low), (high, all_high) = counts[0], counts[-1]
    yield Verdict("timer in /proc/interrupts", str(timer), f"{low} to {high}", low <= timer <= high)
    yield Verdict("others in /proc/interrupts", f"{other} sources", f"{all_low - low} interrupts",
                  0 < all_high - high <= other)  # fmt: skip


# --- KVM ---

STATS = ("exits", "ecall_exit_stat", "wfi_exit_stat", "mmio_exit_user", "mmio_exit_kernel", "csr_exit_user",
         "csr_exit_kernel", "signal_exits")  # fmt: skip


def start_guest(linux: Linux, command: str) -> str:
    """Start it, wait until its own init has said all and spins, and have its process stand still; its pid."""
    linux.ask(f"{{ {command} > /tmp/guest.log 2>&1 & }}")
    for _ in range(400):
        if "spin" in linux.ask("usleep 200000; grep -a spin /tmp/guest.log | tail -n 1"):
            break
    else:
        raise SystemExit("the guest does not come up:\n" + linux.ask("tail -n 20 /tmp/guest.log"))
    pid = linux.ask("kill -STOP $!; echo $!").strip()
    linux.ask("usleep 20000")
    return pid


def guest_log(linux: Linux) -> dict[str, str]:
    log = linux.ask("grep -a '' /tmp/guest.log", 8_000_000_000).replace("\r", "")
    return blocks(log) | {"interrupts": "\n".join(re.findall(rf"^{MARK}interrupts (.*)$", log, re.MULTILINE))}


def stats(linux: Linux) -> dict[str, int]:
    text = linux.ask(f"cd /sys/kernel/debug/kvm; grep . {' '.join(STATS)}; cd /")
    return {name: int(value) for name, value in re.findall(r"^(\w+):(\d+)$", text, re.MULTILINE)}


def exits(linux: Linux, before: Mapping[str, int] | None, when: str) -> Iterator[Verdict]:
    """KVM's debugfs counters against `exits`, while no virtual CPU runs. Exits into M-mode are none of KVM's."""
    said = stats(linux)
    base = before or {}
    (table,) = (each for each in linux.command("exits")["tables"] if each["kind"] == "guest")
    rows = {row["name"]: row["count"] for row in table["exits"] if row["mode"] == "HS"}
    faults = sum(row["count"] for row in table["exits"] if row["cause"] in GUEST_PAGE_FAULTS and not row["interrupt"])
    counted = {name: said[name] - base.get(name, 0) for name in said}

    def same(name: str, kernel: int, ours: int) -> Verdict:
        return Verdict(f"KVM's {name}{when}", f"{kernel:,}", f"{ours:,}", kernel == ours)

    yield same("exits", counted["exits"], sum(rows.values()))
    calls, forwarded = rows.get("EXC_SUPERVISOR_SYSCALL", 0), counted["ecall_exit_stat"]
    yield Verdict(f"KVM's ecall_exit_stat{when}", f"{forwarded:,} to the VMM", f"{calls:,} calls", forwarded <= calls)
    virtual = sum(counted[name] for name in ("wfi_exit_stat", "csr_exit_user", "csr_exit_kernel"))
    yield same("wfi_exit_stat, csr_exit_*", virtual, rows.get("EXC_VIRTUAL_INST_FAULT", 0))
    mmio = counted["mmio_exit_user"] + counted["mmio_exit_kernel"]
    yield Verdict(f"KVM's mmio_exit_*{when}", f"{mmio:,}", f"at most {faults:,} guest-page faults", mmio <= faults)


TRACING = "/sys/kernel/tracing"
CAUSES = (2, 10, 20, 21, 22, 23, 1 << 63 | 5, 1 << 63 | 9)
"""Values of scause that guests exit with."""


def has_trace(linux: Linux) -> bool:
    return "there" in linux.ask(f"[ -d {TRACING}/events/kvm/kvm_exit ] && echo there")


def trace(linux: Linux) -> None:
    """Have the kernel trace exits before any guest runs, those by each cause in a buffer of its own."""
    for cause in CAUSES:
        at = f"{TRACING}/instances/{cause:x}"
        linux.ask(
            f"mkdir {at}; echo 8 > {at}/buffer_size_kb; echo 'scause == {cause:#x}' > {at}/events/kvm/kvm_exit/filter;"
            f" echo 1 > {at}/events/kvm/kvm_exit/enable"
        )


def traced(linux: Linux) -> Iterator[Verdict]:
    """How often kvm_exit was traced, by scause, against the rows of `exits`."""
    (table,) = (each for each in linux.command("exits")["tables"] if each["kind"] == "guest")
    ours = {row["cause"] | row["interrupt"] << 63: row for row in table["exits"] if row["mode"] == "HS"}
    for cause in sorted(ours.keys() | set(CAUSES)):
        row = ours.get(cause, {"name": csrs.kvm_name(cause & 63, bool(cause >> 63)), "count": 0})
        text = linux.ask(f"cat {TRACING}/instances/{cause:x}/per_cpu/cpu*/stats") if cause in CAUSES else ""
        hits = sum(int(n) for n in re.findall(r"^(?:entries|overrun): (\d+)", text, re.MULTILINE))
        if hits or row["count"]:
            yield Verdict(f"trace of {row['name']}", f"{hits:,}", f"{row['count']:,}", hits == row["count"])


def last(linux: Linux) -> Iterator[Verdict]:
    """The last kvm_exit that was traced, with what the CSRs held then, against the guest's last exit."""
    text = linux.ask(f"for i in {TRACING}/instances/*; do tail -n 1 $i/trace; done")
    said = re.findall(
        r"([0-9.]+): kvm_exit: SEPC:(0x\w+), SCAUSE:(0x\w+), STVAL:(0x\w+), HTVAL:(0x\w+), HTINST:(0x\w+)", text
    )
    if not said:
        yield Verdict("the last kvm_exit", "nothing is traced", "", False)
        return
    _, *values = max(said, key=lambda each: float(each[0]))
    pc, cause, stval, htval, _ = (int(each, 16) for each in values)
    exit = linux.look(lambda machine: max(machine.guests, key=lambda each: each.seen)).last_exit
    fault = not cause >> 63 and cause in GUEST_PAGE_FAULTS
    kernel = (csrs.kvm_name(cause & 63, bool(cause >> 63)), pc, htval << 2 | stval & 3 if fault else 0)
    ours = (exit.name, exit.pc, exit.address)
    yield Verdict("the last kvm_exit", f"{kernel[0]} at {pc:#x}", f"{exit.name} at {exit.pc:#x}", kernel == ours)


def times(linux: Linux, pid: str) -> Iterator[Verdict]:
    """The time from kvm_exit to kvm_entry in the kernel's trace, as `perf kvm stat` takes it, against what `exits` has:
    from the trap to the return. That is some thousand instructions more, as KVM has pending interrupts taken before it
    traces the exit. The exit before the reset may be among those that returned, after a long stop."""
    linux.ask(f"for i in {TRACING}/instances/*; do echo 0 > $i/events/kvm/kvm_exit/enable; done")
    linux.ask(f"for e in exit entry; do echo 1 > {TRACING}/events/kvm/kvm_$e/enable; done")
    linux.command("exits reset")
    linux.ask(f"kill -CONT {pid}; usleep 150000; kill -STOP {pid}; usleep 20000")
    (table,) = (each for each in linux.command("exits")["tables"] if each["kind"] == "guest")
    linux.command("exits all")
    text = linux.ask(f"grep -E 'kvm_(exit|entry)' {TRACING}/trace; for e in exit entry; do"
                     f" echo 0 > {TRACING}/events/kvm/kvm_$e/enable; done")  # fmt: skip
    found = re.findall(r"([0-9]+\.[0-9]{6}): kvm_(exit|entry):", text)
    spent = [
        float(after[0]) - float(before[0])
        for before, after in pairwise(found)
        if (before[1], after[1]) == ("exit", "entry")
    ]
    rows = [row for row in table["exits"] if row["mode"] == "HS"]
    returns, ours = sum(row["returns"] for row in rows), sum(row["time"] for row in rows) / 1000
    if returns == len(spent) + 1:
        returns, ours = returns - 1, ours - max(row["max"] or 0 for row in rows) / 1000
    kernel = sum(spent) * 1e6
    yield Verdict("returns, kvm_exit to kvm_entry", f"{len(spent)}", f"{returns}", len(spent) == returns > 0)
    near = kernel <= ours <= kernel + 10 * returns
    yield Verdict("time until the guest went on", f"{kernel:,.0f} us", f"{ours:,.0f} us", near)


def frames(linux: Linux, known: Mapping[str, int]) -> Iterator[Verdict]:
    """Where a function of the kernel returns to: by its own backtrace, and by what `finish` goes by."""
    ours: list[int] = []

    def stopped(reason: str) -> None:
        if f"{known['show_stack']:#x}" in reason:
            here = linux.look(lambda machine: [hart for hart in machine.harts if hart.pc == known["show_stack"]])
            ours.extend(linux.look(lambda machine: [frame_of(hart, machine.symbols).returns for hart in here]))

    linux.stopped = stopped
    linux.command(f"break {known['show_stack']:#x} in HS")
    text = linux.ask("echo 1 > /proc/sys/kernel/sysrq; echo l > /proc/sysrq-trigger; dmesg | tail -n 30 | grep '<ffff'")
    linux.command("delete")
    linux.stopped = lambda reason: None
    said = [int(at, 16) for at in re.findall(r"<([0-9a-f]{16})>", text)]
    # The first are inside dump_backtrace and show_stack.
    shown = f"{ours[0]:#x}" if ours else "not stopped"
    right = bool(ours) and ours[0] in said[2:3]
    yield Verdict("where show_stack returns to", ", ".join(map(hex, said[2:3])), shown, right)


def slots(linux: Linux, pid: str, mebibytes: int, gpa: int = 0x8000_0000) -> tuple[dict[int, int], list[Verdict]]:
    """The memory slot, by /proc/PID/pagemap of the process that has it, against the G-stage; and where each
    guest-physical page is."""
    size = mebibytes << 20
    areas = [area for area in maps(linux.ask(f"cat /proc/{pid}/maps")) if area[1] - area[0] >= size]
    start, end, _ = min(areas, key=lambda area: area[1] - area[0])
    said = pagemap(linux, pid, start, end)
    guest: Guest = linux.look(lambda machine: max(machine.guests, key=lambda each: each.seen))
    subject = Subject(guest=guest.identity)
    ours = dict(linux.look(lambda machine: _leaves(machine, subject, "hgatp")))
    inside = {at: to for at, to in ours.items() if gpa <= at < gpa + size}
    # Areas that stand beside each other are one in /proc/PID/maps: where the slot begins, most pages agree.
    places = sorted({start, end - size})
    best = max(places, key=lambda base: sum(said.get(base + at - gpa) == to for at, to in inside.items()))
    wrong = [at for at, to in inside.items() if said.get(best + at - gpa) != to]
    outside = [at for at in ours if at not in inside]
    verdict = Verdict(
        "the memory slot (pagemap of the VMM)", f"{len(said):,} pages",
        f"{len(inside):,} in hgatp, {len(wrong)} elsewhere, {len(outside)} outside the slot",
        bool(inside) and not wrong and not outside,
    )  # fmt: skip
    return {gpa + at - best: to for at, to in said.items()}, [verdict]


def guest_process(linux: Linux, log: Mapping[str, str], places: Mapping[int, int], pid: str) -> Iterator[Verdict]:
    """The guest's own page tables, while it runs in VU-mode: its pagemap and then its VMM's, against the map of both
    stages."""
    linux.ask(f"kill -CONT {pid}; usleep 30000")
    hart = linux.seek(Mode.VU)
    guest: Guest = linux.look(lambda machine: max(machine.guests, key=lambda each: each.seen))
    subject = Subject(guest=guest.identity)
    linux.session.select(subject)
    said: dict[int, int] = {}
    for name, text in log.items():
        if name.startswith("pagemap "):
            first = int(name.split()[1]) * PAGE
            said |= {first + n * PAGE: (w & PFN) * PAGE for n, w in enumerate(words(text)) if w & PRESENT}
    areas = [area for area in maps(log["maps"]) if area[2] != "[vvar]"]
    said = {at: to for at, to in said.items() if any(a <= at < b for a, b, _ in areas)}
    one = dict(linux.look(lambda machine: _leaves(machine, subject, "vsatp")))
    both = dict(linux.look(lambda machine: _leaves(machine, subject, "merged")))
    moved = [at for at, gpa in said.items() if one.get(at, gpa) != gpa]
    lost = [at for at in said if at not in one]
    yield Verdict("pages of the guest's process", f"{len(said)}", f"{len(moved)} elsewhere, {len(lost)} not in vsatp",
                  bool(said) and not moved and not lost)  # fmt: skip
    wrong = [at for at, gpa in said.items() if at in both and both[at] != places.get(gpa)]
    there = [at for at in said if at in both]
    yield Verdict("the same through both stages", f"{len(there)}", f"{len(wrong)} elsewhere", bool(there) and not wrong)
    walks = linux.look(lambda machine: {at: machine.harts[hart].walk(at, mode=Mode.VU).physical for at in there})
    wrong = [at for at in there if walks[at] != places.get(said[at])]
    yield Verdict("the same by the hart's walks", f"{len(there)}", f"{len(wrong)} elsewhere", bool(there) and not wrong)
    known = {name: int(at, 16) for at, name in re.findall(r"^([0-9a-f]{16}) \w (\w+)$", log["kallsyms"], re.MULTILINE)}
    yield from kernel_mappings(linux, log["vmallocinfo"], log["iomem"], known, "the guest", "vsatp")
    vstvec = linux.look(lambda machine: machine.harts[hart].csr("vstvec"))
    yield Verdict("vstvec is its handle_exception", hex(known["handle_exception"]), hex(vstvec),
                  vstvec == known["handle_exception"])  # fmt: skip


def guest_time(linux: Linux, pid: str) -> Iterator[Verdict]:
    """The guest's time by /proc/PID/stat, in ticks of 10 ms, and by instructions."""

    def sample() -> tuple[int, int]:
        fields = linux.ask(f"cat /proc/{pid}/stat").rsplit(")", 1)[1].split()
        guest: Any = linux.look(lambda machine: max(machine.guests, key=lambda each: each.seen))
        return int(fields[40]), guest.instructions

    before = sample()
    linux.ask(f"kill -CONT {pid}; usleep 500000; kill -STOP {pid}; usleep 20000")
    after = sample()
    ticks, ours = after[0] - before[0], (after[1] - before[1]) / 1e7
    yield Verdict("guest time in /proc/PID/stat", f"{ticks} ticks of 10 ms", f"{ours:.1f}", abs(ticks - ours) <= 5)
