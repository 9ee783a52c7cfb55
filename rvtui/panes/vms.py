"""VMs and harts: who runs, in which mode, how fast, and why one stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from emulator.machine import Machine
from emulator.worlds import Guest
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject, by_name, hart_of, inner_guests, out_for, subjects, symbols_of, virtual_machines
from rvtui.text import MODE_NAMES, Line, clean, count, fit, guest_time, spark

HISTORY = 60
SAMPLE_SECONDS = 0.25

STATES = {
    "running": ("▶", "good"),
    "ready": ("·", "label"),
    "idle": ("z", "dim"),
    "exited": ("◂", "label"),
    "away": ("·", "dim"),
    "stopped": ("■", "warn"),
    "ended": ("■", "dim"),
}


@dataclass(frozen=True)
class Runner:
    """A row: a virtual CPU, or a hart of a bare machine, or a guest of the hypervisor there."""

    subject: Subject
    name: str
    state: str
    mode: int
    instructions: int
    exits: int
    last_exit: str
    """Name of the last exit; on a bare machine the VMID in hgatp."""
    note: str
    pc: int
    symbol: str
    share: float | None = None
    """Of all instructions, 0 to 1; of guests."""
    out: str = ""
    """For how long a guest has not run, where that is long."""


@dataclass(frozen=True)
class HartLine:
    index: int
    mode: int
    waiting: bool
    halted: bool
    retired: tuple[int, ...]
    vmid: int | None
    traps: int


@dataclass(frozen=True)
class Overview:
    runners: tuple[Runner, ...]
    harts: tuple[HartLine, ...]
    names: tuple[str, ...]
    """That can be selected."""

    @property
    def height(self) -> int:
        """Rows that the pane wants, its border among them."""
        return 3 + len(self.runners) + len(self.harts)

    def runner(self, subject: Subject) -> Runner | None:
        """The row of what is looked at."""
        return next((runner for runner in self.runners if runner.subject == subject), None)


def read_overview(machine: Machine, _: Subject) -> Overview:
    harts = []
    for hart in machine.harts:
        hgatp = hart.hgatp
        retired = hart.retired
        harts.append(
            HartLine(
                index=hart.index,
                mode=int(hart.mode),
                waiting=bool(hart.waiting),
                halted=bool(hart.halted),
                retired=tuple(retired[mode] for mode in retired),
                vmid=hgatp >> 44 & 0x3FFF if hgatp >> 60 else None,
                traps=sum(times for *_, times in hart.traps()),
            )
        )
    vms = virtual_machines(machine)
    runners = []
    guests = {guest.identity: guest for guest in inner_guests(machine)}
    for subject in subjects(machine):
        if subject.guest is not None:
            guest = guests[subject.guest]
            runners.append(_guest_row(machine, subject, guest))
            continue
        face = hart_of(machine, subject)
        pc = face.pc
        symbol = symbols_of(machine, subject).lookup(pc) or ""
        if subject.vm is not None:
            vm = vms[subject.vm]
            vcpu = vm.vcpus[subject.vcpu]
            runners.append(
                Runner(
                    subject,
                    vm.name + (f".{vcpu.index}" if len(vm.vcpus) > 1 else ""),
                    vcpu.state,
                    int(vcpu.mode),
                    vcpu.instructions,
                    sum(vm.exits.values()),
                    vm.last_exit.name if vm.last_exit else "",
                    vm.message + (f" (code {vm.exit_code})" if vm.exit_code is not None else ""),
                    pc,
                    symbol,
                )
            )
        else:
            line = harts[subject.hart]
            state = "stopped" if line.halted else "idle" if line.waiting else "running"
            total = sum(line.retired)
            inside = f"VMID {line.vmid}" if line.vmid is not None else ""
            runners.append(
                Runner(subject, f"hart {subject.hart}", state, line.mode, total, line.traps, inside, "", pc, symbol)
            )
    return Overview(tuple(runners), tuple(harts), tuple(by_name(machine)))


def _guest_row(machine: Machine, subject: Subject, guest: Guest) -> Runner:
    return Runner(
        subject, guest.name, guest.status, int(guest.mode), guest.instructions, sum(guest.exits.values()),
        guest.last_exit.name if guest.last_exit else "", "", guest.pc, "", guest.share,
        out_for(machine, guest),
    )  # fmt: skip


class VmsPane(Pane):
    NAME = "vms"
    TITLE = "VMs and harts"
    KEY = "1"
    TOLD_BY = "vms"
    CURSOR = True
    HELP = (
        "One row per virtual CPU (or per hart of a bare machine): state, mode, instructions, speed over the last"
        " seconds, exits to the hypervisor (or traps), and where it stands. On a bare machine also one per guest that"
        " the hypervisor inside has run, known by where hgatp points and named by its VMID, with its share of all"
        " instructions: running, exited (hgatp is its own, the hypervisor runs) or away (on no hart). Below, each hart"
        " with its instructions by mode. Enter selects the row that all other panes look at; [ and ] do so from"
        " anywhere."
    )

    def __init__(self) -> None:
        super().__init__()
        self._history: dict[str, deque[float]] = {}
        self._counts: dict[str, int] = {}
        self._sampled: float | None = None
        self._runners: tuple[Runner, ...] = ()

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"overview": (read_overview, 0.1)}

    def sample(self, view: View, now: float) -> None:
        """Take a point of each row's speed; called for each view, draws nothing."""
        overview = view.get("overview")
        if not isinstance(overview, Overview):
            return
        if self._sampled is not None and now - self._sampled < SAMPLE_SECONDS:
            return
        passed = now - self._sampled if self._sampled is not None else 0.0
        self._sampled = now
        for runner in overview.runners:
            before = self._counts.get(runner.name)
            self._counts[runner.name] = runner.instructions
            if before is not None and passed > 0 and view.running:
                rate = max(0, runner.instructions - before) / passed
                self._history.setdefault(runner.name, deque(maxlen=HISTORY)).append(rate)

    def forget(self) -> None:
        """Another machine: no history."""
        self._history.clear()
        self._counts.clear()
        self._sampled = None

    def draw(self, view: View) -> list[Line] | None:
        overview = view.get("overview")
        if not isinstance(overview, Overview):
            return None
        if not self._runners:
            self.cursor = 1
        self._runners = overview.runners
        width = self.columns
        bare = view.subject.vm is None
        sparks = max(10, min(HISTORY, width - 100)) if width >= 70 else 0
        names = max([8, *(len(runner.name) for runner in overview.runners)])
        names = min(names, 18)
        what = "VM" if not bare else "hart" if len(overview.runners) == len(overview.harts) else "hart, guest"
        names = max(names, len(what))
        head = f"  {fit(what, names)} {'state':<9} {'mode':<4} {'instr':>6} {'per s':>6} "
        head += " " * sparks + f" {'traps' if bare else 'exits':>6}  where"
        lines: list[Line] = [((fit(head, width), "dim"),)]
        for runner in overview.runners:
            lines.append(self._runner_line(runner, view, names, sparks, width))
        for hart in overview.harts:
            lines.append(self._hart_line(hart, view))
        return lines

    def _runner_line(self, runner: Runner, view: View, names: int, sparks: int, width: int) -> Line:
        state = runner.state
        mark, style = STATES.get(state, ("?", "warn"))
        if not view.running and state == "running":
            mark, style, state = "‖", "warn", "paused"
        mode = MODE_NAMES[runner.mode]
        history = self._history.get(runner.name, ())
        rate = history[-1] if history and view.running else 0.0
        selected = runner.subject == view.subject
        where = runner.note or f"{runner.pc:x} {clean(runner.symbol)}"
        if runner.share is not None:
            where = "  ".join(filter(None, (f"{runner.share:>4.0%}", runner.out, runner.last_exit, where)))
        elif runner.last_exit and not runner.note:
            where += f"  ◂ {runner.last_exit}"
        return (
            ("▸ " if selected else "  ", "accent bold"),
            (f"{fit(clean(runner.name), names)} ", "bold" if selected else ""),
            (f"{mark} {state:<8}", style),
            (f"{mode:<4} ", mode),
            (f"{count(runner.instructions):>6} ", ""),
            (f"{count(rate):>6} ", "" if rate else "dim"),
            (spark(list(history), sparks), "accent"),
            (f" {count(runner.exits):>6}  ", ""),
            (clean(where, 100), "warn" if runner.note and runner.state in ("stopped", "ended") else "label"),
        )

    def _hart_line(self, hart: HartLine, view: View) -> Line:
        total = sum(hart.retired) or 1
        state = "halted" if hart.halted else "waits in WFI" if hart.waiting else ""
        spans = [("  ", ""), (f"hart {hart.index} ", "label"), (f"{MODE_NAMES[hart.mode]:<3}", MODE_NAMES[hart.mode])]
        for mode, retired in zip(MODE_NAMES, hart.retired, strict=False):
            share = retired * 100 / total
            text = f"{share:.0f}%" if retired and share >= 0.5 else "<1%" if retired else "-"
            spans += [
                (f"  {mode} ", mode if retired else "faint"),
                (f"{count(retired)} {text}" if retired else "-", "label" if retired else "faint"),
            ]
        spans.append((f"   {guest_time(view.clock)}" + (f"   {state}" if state else ""), "dim"))
        return tuple(spans)

    @property
    def subjects(self) -> list[Subject]:
        """What the rows below the first stand for."""
        return [runner.subject for runner in self._runners]

    def clicked(self, x: int, row: int, times: int) -> None:
        super().clicked(x, row, 2)  # one click selects

    def choose(self, row: int) -> None:
        if 1 <= row <= len(self._runners):
            self.application.session.select(self._runners[row - 1].subject)
