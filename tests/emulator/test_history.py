"""What a hart did when: the record of its run, and what its last events tell, against the machine stepped by hand."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rig import BASE, HANDLER, HS, LEAF, MIE, SPP, SPV, SPVP, USER, VS, VU, M, Rig, Tables, U

import snapshots
from emulator import guests, history
from emulator.errors import ConfigurationError, StateError
from emulator.hart import Access, EventKind, Hart, Mode, Move
from emulator.machine import Machine
from emulator.vmm import Hypervisor
from emulator.worlds import identity

GUEST = BASE + 0x2000
Label = tuple[Mode, int] | str
"""What a hart does during one instruction of its clock: (mode, and with V=1 the identity of its guest) or "asleep"."""


def tiny() -> Machine:
    machine = Machine(memory=64 << 20)
    machine.boot(machine.load_elf(guests.path("tiny-hypervisor")).entry)
    return machine


def under_vmm(*names: str) -> Machine:
    machine = Machine(memory=64 << 20)
    machine.host = hypervisor = Hypervisor(machine)
    for name in names:
        hypervisor.create_vm(name, memory=8 << 20).load_elf(guests.path(name))
    return machine


def two_worlds(waits: bool = False) -> Rig:
    """A host that enters two guests in turn, whose VMID is the same; each calls from its VU into its VS and leaves. A
    timer enters M every thousand instructions, and with `waits` the host sleeps until then."""
    rig = Rig(mode=HS, medeleg=(1 << 64) - 1, hedeleg=1 << 8, mie=1 << 7)
    roots = []
    for number in range(2):
        tables = Tables(rig, guest=True, at=BASE + 0x4_0000 + 0x8000 * number)
        tables.map(BASE, BASE, LEAF | USER, 2)
        roots.append(tables.atp)
    switch = "mv s5, s0; mv s0, s1; mv s1, s5; sret"
    rig.write(BASE, f"csrw hgatp, s0; csrw sepc, s2; csrw hstatus, s3; csrw sstatus, s4; {switch}")
    rig.write(HANDLER + 0x1000, f"{'wfi' if waits else 'nop'}; jr s6")
    rig.write(HANDLER + 0x2000, "nop; nop; ecall")  # into the host
    rig.write(GUEST, "nop; nop; nop; ecall")  # into the guest's own kernel
    rig.write(HANDLER, "nop; csrw mie, zero; nop; csrw mie, t6; sd t5, 0(t4); add t5, t5, t3; mret")
    rig.put(s0=roots[0], s1=roots[1], s2=GUEST, s3=SPV | SPVP, s4=0, s6=BASE, t6=1 << 7, t3=10, t4=0x200_4000, t5=20)
    rig.hart.mtimecmp = 10
    rig.set(mstatus=rig.csr("mstatus") | MIE)
    return rig


def stepped(machine: Machine, steps: int) -> tuple[list[Label], Counter[EventKind], int]:
    """Step by step: what each instruction of the clock was, how many events of each kind there were, and exits."""
    hart = machine.harts[0]
    labels: list[Label] = []
    kinds: Counter[EventKind] = Counter()
    exits = 0
    for _ in range(steps):
        mode, clock, idle, happened = hart.mode, hart.clock, hart.idle, hart.event_count
        guest = identity(hart.hgatp) if mode.virtual else 0
        machine.step()
        slept = hart.idle - idle
        labels += [(mode, guest)] * (hart.clock - clock - slept) + ["asleep"] * slept  # behind WFI
        for trap in hart.trap_log(1) if hart.event_count > happened else ():
            if trap.number == happened:
                kinds[EventKind.INTERRUPT if trap.interrupt else EventKind.TRAP] += 1
                exits += mode.virtual and not hart.mode.virtual
    return labels, kinds, exits


def told(picture: history.Picture, cell: int) -> dict[Label, int]:
    """Of one cell what there was more than nothing of."""
    found: dict[Label, int] = {(mode, 0): picture.retired[mode][cell] for mode in (M, HS, U)}
    for guest in picture.guests:
        found[VS, guest.identity] = guest.vs[cell]
        found[VU, guest.identity] = guest.vu[cell]
    found["asleep"] = picture.asleep[cell]
    return {label: n for label, n in found.items() if n}


def same(picture: history.Picture, labels: list[Label]) -> None:
    """Each cell of the picture is what the steps said."""
    one = 1 << picture.shift
    for cell in range(picture.exact, picture.cells):
        at = (picture.first + cell) << picture.shift
        assert told(picture, cell) == dict(Counter(labels[at : at + one])), (picture.shift, picture.first + cell)


@pytest.mark.parametrize("waits", [False, True])
def test_each_cell_is_what_single_steps_say(waits: bool) -> None:
    machine = two_worlds(waits).machine
    hart = machine.harts[0]
    labels, kinds, exits = stepped(machine, 6000)
    assert len(labels) == hart.clock and len({each for each in labels if each[0] in (VS, VU)}) == 4
    assert ("asleep" in labels) is waits and kinds[EventKind.INTERRUPT] >= 2 and exits > 20
    resolution = hart.survey(0, 1, 0).resolution
    assert 1 << resolution >= hart.clock / 2048 > (1 << resolution) / 2
    for shift in range(resolution, hart.clock.bit_length() + 1):
        same(picture := history.read(hart, 0, (hart.clock >> shift) + 1, shift), labels)
        assert picture.exact == 0 and sum(picture.exits) == exits
        assert {kind: sum(picture.events[kind]) for kind in kinds} == kinds
    first = hart.clock - 2600
    near = history.read(hart, first, 2500, 0)
    assert resolution > 0 and near.exact == max(0, hart.events_from - first) < 600
    same(near, labels)
    assert sum(near.events[EventKind.TRAP]) and sum(near.exits)


def test_cells_that_are_finer_than_all_that_is_known_stand_for_their_stretch() -> None:
    machine = two_worlds().machine
    hart = machine.harts[0]
    labels, *_ = stepped(machine, 9000)
    assert hart.event_count > 1024 and hart.events_from > 200
    picture = history.read(hart, 64, 64, 0)
    assert picture.exact == 64 and picture.resolution > 1
    for cell in range(64):
        row = (64 + cell) >> picture.resolution << picture.resolution
        assert told(picture, cell) == dict(Counter(labels[row : row + (1 << picture.resolution)]))
    edge = history.read(hart, hart.events_from - 10, 20, 0)
    assert edge.exact == 10 and edge.known == hart.events_from
    same(edge, labels)


def test_the_whole_run_adds_up_to_what_the_hart_counts() -> None:
    for machine in (tiny(), under_vmm("exits", "ticker")):
        machine.run(900_000)
        (hart,) = machine.harts
        for shift in (4, hart.clock.bit_length() - 6, 62):
            if shift < hart.survey(0, 1, 0).resolution:
                continue
            picture = history.read(hart, 0, (hart.clock >> shift) + 1, shift)
            assert {mode: sum(values) for mode, values in picture.retired.items()} == hart.retired
            assert sum(picture.asleep) == hart.idle
            assert all(picture.awake(cell) + picture.asleep[cell] == 1 << shift for cell in range(picture.cells - 1))
            traps = hart.traps()
            assert sum(picture.events[EventKind.TRAP]) == sum(n for *_, interrupt, n in traps if not interrupt) > 0
            assert sum(picture.events[EventKind.INTERRUPT]) == sum(n for *_, interrupt, n in traps if interrupt)
            assert {guest.identity: (sum(guest.vs), sum(guest.vu), sum(guest.exits)) for guest in picture.guests} == {
                guest.identity: (*guest.retired, sum(guest.exits.values())) for guest in machine.guests
            }
            assert sum(sum(values) for values in picture.events.values()) == hart.event_count
    assert hart.idle, "the second slept"


@pytest.mark.parametrize("make", [tiny, lambda: under_vmm("exits", "ticker")], ids=["tiny", "vmm"])
def test_who_looks_and_where_a_run_is_cut_change_nothing(make: Callable[[], Machine], tmp_path: Path) -> None:
    whole, looked, cut = make(), make(), make()
    whole.run(400_000)
    left = 400_000
    for at in range(10**6):
        step = min(left, (1, 7, 100, 997, 3001, 40_000)[at % 6])
        looked.run(step)
        left -= step
        hart = looked.harts[0]
        history.read(hart, 0, 64, at % 30)
        history.seek(hart, hart.clock // 2, -1)
        assert hart.retired
        walk = hart.walk(0x1000, Access.STORE, VS)
        assert hart.trap_of(walk) is not None, "tried on a copy"
        if not left:
            break
    assert looked.state_hash() == whole.state_hash()
    cut.run(123_457)
    snapshots.save(cut, tmp_path / "cut")
    cut = snapshots.load(tmp_path / "cut")
    cut.run(400_000 - 123_457)
    assert cut.state_hash() == whole.state_hash()
    assert history.read(cut.harts[0], 0, 99, 13) == history.read(whole.harts[0], 0, 99, 13)
    assert cut.harts[0].state()["history"][2], "it is part of the state"


def test_events_tell_guests_apart_that_share_a_vmid() -> None:
    machine = two_worlds().machine
    machine.run(3000)
    hart = machine.harts[0]
    entries = [event for event in hart.events(1024) if event.entry and event.from_mode is HS]
    assert len(entries) > 20 and len({event.vmid for event in entries}) == 1
    assert len({event.guest for event in entries}) == 2
    assert all(one.guest != other.guest for one, other in pairwise(entries))
    hosts = [event for event in hart.events(1024) if not (event.from_mode.virtual or event.to_mode.virtual)]
    assert hosts and all(event.guest is None for event in hosts)
    moves = [Move(event.cause) for event in hart.events(1024) if event.kind is EventKind.RETURN]
    assert set(moves) == {Move.SET, Move.MRET, Move.SRET} and moves.index(Move.SET) == 0 and moves.count(Move.SET) == 1


def test_a_guest_that_gives_way_leaves_its_time_before_the_others_first_entry() -> None:
    rig = Rig("loop: csrw hgatp, s0; csrw sepc, s2; csrw hstatus, s3; sret", mode=HS, medeleg=(1 << 64) - 1)
    rig.write(HANDLER + 0x1000, "jr s6")
    rig.write(GUEST, "nop; ecall")
    tables = Tables(rig, guest=True)
    tables.map(BASE, BASE, LEAF | USER, 2)
    rig.put(s2=GUEST, s3=SPV | SPVP, s6=BASE)
    rig.set(sstatus=SPP)
    roots = []
    for number in range(18):
        root = rig.csr("hgatp")
        copy = BASE + 0x10_0000 + 0x4000 * number
        rig.machine.memory.write(copy, rig.machine.memory.read((tables.atp & (1 << 44) - 1) << 12, 0x4000))
        root = 8 << 60 | copy >> 12
        roots.append(root)
        rig.put(s0=root)
        rig.run(4 + 1 + 1 + 1)
    hart = rig.hart
    survey = hart.survey(0, hart.clock + 1, 0)
    assert survey.resolution == 0
    starts = {identity(guest.hgatp): guest.since for guest in survey.guests}
    assert set(starts) == set(roots[2:]) and hart.guests_lost == 2
    assert [starts[root] for root in roots[2:]] == [6 * number + 4 for number in range(2, 18)]
    for guest in survey.guests:
        assert guest.vs[guest.since :].count(1) == 1 and sum(guest.exits[guest.since :]) == 1
    events = [event for event in hart.events(1024) if event.entry]
    assert [event.guest for event in events] == [None, None, *roots[2:]], "the first two are not known any more"


def test_a_long_sleep_takes_no_time_and_keeps_what_was() -> None:
    machine = tiny()
    machine.run(100_000)
    hart = machine.harts[0]
    before = hart.retired
    machine.sleep(1 << 61)
    survey = hart.survey(0, 64, 62)
    assert survey.resolution == 51 and survey.asleep[0] == hart.idle == (1 << 61) - 100_000 + sum(
        n for *_, n in hart.traps()
    )
    assert {mode: values[0] for mode, values in survey.retired.items()} == {mode: before[mode] for mode in (M, HS, U)}
    picture = history.read(hart, 0, 64, 55)
    assert sum(sum(values) for values in picture.retired.values()) == sum(before.values())


def test_several_harts_have_the_same_time() -> None:
    rig = Rig("loop: j loop", harts=3)
    rig.machine.harts[1].waiting = True
    rig.machine.harts[2].halted = True
    rig.machine.run(5000)
    for hart in rig.machine.harts:
        picture = history.read(hart, 0, (hart.clock >> 8) + 1, 8)
        retired, asleep = sum(picture.retired[M]), sum(picture.asleep)
        assert (retired, asleep) == (hart.instret, hart.idle) and retired + asleep == hart.clock
        assert bool(retired) is (hart.index == 0) and bool(asleep) is (hart.index != 0)


def test_a_reset_begins_anew() -> None:
    machine = tiny()
    machine.run(50_000)
    hart = machine.harts[0]
    hart.reset(BASE)
    survey = hart.survey(0, 8, 62)
    assert survey.resolution == 0 and not any(values[0] for values in (*survey.retired.values(), survey.asleep))
    assert not survey.guests and hart.events(1024) == []
    machine.run(3)
    assert history.read(hart, 0, 4, 0).retired[M] == (1, 1, 1, 0)


def test_seeking_events() -> None:
    machine = two_worlds().machine
    machine.run(1200)
    hart: Hart = machine.harts[0]
    events = hart.events(1024)
    assert len(events) < 1024, "all are known"
    for kind in ("", "leave", "interrupt"):
        clocks = sorted({event.clock for event in events if not kind or history.KINDS[kind](event)})
        walked: list[int] = []
        at: int | None = -1
        while (at := history.seek(hart, at, 1, kind)) is not None:
            walked.append(at)
        assert walked == clocks, kind
        back: list[int] = []
        at = hart.clock + 1
        while (at := history.seek(hart, at, -1, kind)) is not None:
            back.append(at)
        assert back == clocks[::-1], kind
    assert history.seek(hart, 0, 1, "fence") is None


def test_seeking_beyond_the_events_that_are_known_goes_by_the_record() -> None:
    machine = two_worlds().machine
    machine.run(20_000)
    hart = machine.harts[0]
    known = hart.events_from
    assert known > 1000
    resolution = hart.survey(0, 1, 0).resolution
    survey = hart.survey(0, (hart.clock >> resolution) + 1, resolution)
    rows = [at for at, n in enumerate(survey.events[EventKind.INTERRUPT]) if n and (at + 1) << resolution <= known]
    assert rows
    found = history.seek(hart, 0, 1, "interrupt")
    assert found is not None and found >> resolution == rows[0]
    found = history.seek(hart, rows[-1] + 1 << resolution, -1, "interrupt")
    assert found is not None and found >> resolution == rows[-1]


@pytest.mark.parametrize(("first", "cells", "shift"), [(-1, 8, 0), (0, 0, 0), (0, 8, 63), (0, 8, -1), (1 << 63, 8, 0)])
def test_surveys_that_cannot_be(first: int, cells: int, shift: int) -> None:
    hart = Machine(memory=1 << 20).harts[0]
    with pytest.raises(ConfigurationError, match="no survey of"):
        hart.survey(first, cells, shift)
    assert hart.survey((1 << 63) - 1, 8, 62).asleep == (0,) * 8


def _change(index: int, value: Any) -> Callable[[list[Any]], Any]:
    def change(saved: list[Any]) -> Any:
        saved[index] = value
        return saved

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: [], lambda saved: None, lambda saved: saved[:2], _change(0, 63), _change(0, -1), _change(0, 3),
        _change(1, 0), _change(1, 2049), _change(1, 1 << 40), _change(2, [[0, b"short"]]), _change(2, [[58, None]]),
        _change(2, [["0", None]]), _change(2, [[0]]), _change(2, 7), _change(2, [[0, "text"]]),
    ],
)  # fmt: skip
def test_a_damaged_history_is_refused(change: Any) -> None:
    machine = tiny()
    machine.run(30_000)
    hart = machine.harts[0]
    state, before = hart.state(), hart.state()
    used = state["history"][1]
    changed = change([*state["history"][:2], [[i, bytes(column)] for i, column in state["history"][2]]])
    if isinstance(changed, list) and len(changed) == 3 and isinstance(changed[2], list):
        for row in changed[2]:
            if row[1:] == [None]:
                row[1] = struct.pack(f"<{used}Q", *[1] * used)
    state["history"] = changed
    with pytest.raises(StateError, match="hart 0"):
        hart.restore(state)
    assert hart.state() == before
