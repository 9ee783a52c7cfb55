"""Exits as perf kvm stat prints them: the command and the pane; counted anew, frozen, sorted, written to files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, commanded
from desk import Desk, opened

from emulator import guests
from emulator.hart import Mode
from emulator.machine import Machine
from rvtui import exits, machines
from rvtui.exits import Row, Table, Tables
from rvtui.subjects import Subject

BOTH = 1_500_000
"""Instructions after which both guests of the tiny hypervisor have run."""
SIZES = [(80, 24), (200, 50)]


def tiny(instructions: int = 0) -> Machine:
    machine = Machine(memory=64 << 20)
    machine.boot(machine.load_elf(guests.path("tiny-hypervisor")).entry)
    if instructions:
        machine.run(instructions)
    return machine


@pytest.fixture
def bare() -> Iterator[Bench]:
    with commanded(tiny()) as found:
        yield found


@pytest.fixture
def bench() -> Iterator[Bench]:
    with commanded(["ticker", "exits"]) as found:
        yield found


def tables(bench: Bench, line: str = "exits") -> dict[str, Any]:
    return {each["of"]: each for each in bench.data(line)["tables"]}


def counts(table: Any) -> dict[tuple[str, str | None], int]:
    return {(row["name"], row["mode"]): row["count"] for row in table["exits"]}


# What is counted.


def test_the_tiny_hypervisor_counts_the_same(bare: Bench) -> None:
    """It prints a table of its own when its guests have ended: interrupts by name among the exits."""
    bare.give("run")
    text = bare.machine.console.output.decode().replace("\r", "")
    said = {what: [int(n) for n in two.split()] for what, two in re.findall(r"^(\w[\w -]+?)  +(\d+ +\d+)$", text, re.M)}
    found = tables(bare)
    for index, name in enumerate(("VMID 1", "VMID 2")):
        into = {what: n for (what, mode), n in counts(found[name]).items() if mode == "HS"}
        assert into["EXC_SUPERVISOR_SYSCALL"] == said["SBI call"][index] > 0
        assert into.get("IRQ_S_TIMER", 0) == said["timer interrupt"][index]
        assert into["EXC_VIRTUAL_INST_FAULT"] == said["WFI"][index] + said["virtual instruction"][index] > 0
        faults = sum(n for what, n in into.items() if what.endswith("GUEST_PAGE_FAULT"))
        assert faults == said["guest-page fault"][index] > 0
    assert sum(said["timer interrupt"]) > 0 < counts(found["VMID 1"])["IRQ_M_TIMER", "M"]


def test_instructions_are_where_they_were_retired(bare: Bench) -> None:
    bare.give(f"run {BOTH}")
    found = tables(bare)
    retired = bare.machine.harts[0].retired
    assert found["hart 0"]["instructions"] == {
        "guest": retired[Mode.VS] + retired[Mode.VU], "hypervisor": retired[Mode.HS] + retired[Mode.U],
        "firmware": retired[Mode.M],
    }  # fmt: skip
    inside = [found["VMID 1"]["instructions"], found["VMID 2"]["instructions"]]
    assert sum(each["guest"] for each in inside) == found["hart 0"]["instructions"]["guest"]
    for part in ("hypervisor", "firmware"):
        assert 0 < sum(each[part] for each in inside) < found["hart 0"]["instructions"][part]


def test_vms_have_the_columns_too(bench: Bench) -> None:
    """The built-in hypervisor takes no instructions: what time passes is sleep, and other VMs'."""
    bench.give("run 300000")
    found = tables(bench)
    vm, other = bench.machine.host.vms
    assert counts(found["ticker"]) == {(name, None): n for name, n in vm.exits.items()}
    rows = {row["name"]: row for row in found["ticker"]["exits"]}
    assert rows["EXC_SUPERVISOR_SYSCALL"]["max"] == 0
    wfi = rows["EXC_VIRTUAL_INST_FAULT"]
    assert wfi["min"] <= wfi["mean"] <= wfi["max"] and wfi["mean"] == wfi["time"] / wfi["returns"] > 0
    assert wfi["time_share"] == 1.0 and sum(row["share"] for row in rows.values()) == pytest.approx(1, abs=1e-5)
    assert found["ticker"]["instructions"] == {"guest": vm.instructions, "hypervisor": 0, "firmware": 0}
    assert found["exits"]["instructions"]["guest"] == other.instructions
    assert found["hart 0"]["kind"] == "hart" and found["hart 0"]["time"] == 0
    lines = bench.say("exits ticker").split("\n")
    assert lines[2].split() == ["samples", "%", "time%", "min", "max", "mean"]
    assert any(line.split()[:2] == ["EXC_VIRTUAL_INST_FAULT", f"{wfi['count']:,}"] for line in lines)


def test_a_vm_that_the_hart_has_forgotten_keeps_its_counts() -> None:
    """The hart knows 16 guests."""
    names = ["hello"] * 18
    with commanded(machines.with_guests(names, memory=4 << 20)) as bench:
        bench.give("run")
        found = tables(bench)
        vms = bench.machine.host.vms
        assert len(vms) == 18 and bench.machine.harts[0].guests_lost == 2
        for vm in vms:
            assert counts(found[vm.name]) == {(name, None): n for name, n in vm.exits.items()}


# Since a moment.


def test_a_reset_is_the_viewers(bare: Bench) -> None:
    bare.give(f"run {BOTH}")
    before, state = tables(bare), bare.ask(Machine.state_hash)
    assert "exits count from" in bare.say("exits reset")
    assert bare.ask(Machine.state_hash) == state
    assert all(not each["total"] and not sum(each["instructions"].values()) for each in tables(bare).values())
    bare.give("run 1000000")
    since = tables(bare)
    assert "since" in bare.say("exits").split("\n")[0]
    bare.say("exits all")
    after = tables(bare)
    for name, table in after.items():
        old = counts(before[name])
        wanted = {key: n - old.get(key, 0) for key, n in counts(table).items()}
        assert counts(since[name]) == {key: n for key, n in wanted.items() if n}
        for part, number in table["instructions"].items():
            assert since[name]["instructions"][part] == number - before[name]["instructions"][part]
        assert since[name]["time"] == table["time"] - before[name]["time"]


def test_a_reset_outlives_a_restore_and_waits_for_its_time(bare: Bench) -> None:
    bare.give("run 1000000")
    bare.give("save early")
    whole = tables(bare)
    bare.give("run 1000000")
    bare.give("save late")
    bare.give("exits reset")
    bare.give("restore early")
    assert tables(bare) == whole, "counted from the start: the moment has not come yet"
    bare.give("restore late")
    assert not tables(bare)["VMID 1"]["total"]
    bare.give("run 1000000")
    assert 0 < tables(bare)["VMID 1"]["total"] < 20


def test_another_program_is_counted_from_its_start(bare: Bench) -> None:
    bare.give("run 1000000")
    bare.give("exits reset")
    other = machines.with_guests(["exits"])
    other.run(2_000_000)
    bare.session.replace(other).result(5)
    assert tables(bare)["exits"]["total"] == sum(other.host.vms[0].exits.values())


def row(**more: Any) -> Row:
    return replace(Row("EXC_SYSCALL", 8, False, "HS", 5, 5, 50, 4, 20), **more)


def moment(clock: int, *rows: Row) -> Tables:
    return Tables(clock, (Table("VMID 1", "guest", Subject(guest=8 << 60), 8 << 60, rows, (1, 2, 3)),))


@pytest.mark.parametrize(
    ("later", "least", "most"),
    [
        (row(times=7, returns=7, time=70), None, None),  # two more, between the extremes
        (row(times=6, returns=6, time=60), 10, 10),  # one more: it is all three
        (row(times=7, returns=7, time=70, least=3), 3, None),
        (row(times=7, returns=7, time=90, most=36), None, 36),
    ],
)
def test_least_and_most_since_a_moment_are_known_where_they_are_new(later: Row, least: Any, most: Any) -> None:
    (left,) = exits.since(moment(20, later), moment(10, row())).tables[0].rows
    assert (left.least, left.most) == (least, most)
    assert (left.times, left.returns, left.time) == (later.times - 5, later.returns - 5, later.time - 50)


def test_a_machine_that_counted_less_is_not_subtracted_from() -> None:
    less = moment(20, row(times=4, returns=4))
    assert exits.since(less, moment(10, row())) == less
    first = moment(20, row(), row(cause=9))
    assert [each.cause for each in exits.since(first, moment(10, row())).tables[0].rows] == [9]


# Order, files, mistakes.


@pytest.mark.parametrize("column", ["samples", "time", "min", "max", "mean"])
def test_rows_are_sorted_by_any_column(bare: Bench, column: str) -> None:
    bare.give(f"run {BOTH}")
    key = {"samples": "count"}.get(column, column)
    rows = tables(bare, f"exits by {column}")["VMID 1"]["exits"]
    numbers = [-1 if each[key] is None else each[key] for each in rows]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 2
    names = [each["name"] for each in tables(bare, "exits VMID 1 by name")["VMID 1"]["exits"]]
    assert names == sorted(names) != [each["name"] for each in rows]


def test_files_have_all_of_it(bare: Bench) -> None:
    bare.give(f"run {BOTH}")
    told = bare.data("exits")
    total = sum(len(table["exits"]) for table in told["tables"])
    assert bare.say("exits --csv 'a b.csv'") == f"wrote {total} rows to a b.csv"
    with Path("a b.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == total
    first, wanted = rows[0], told["tables"][0]["exits"][0]
    assert first["of"] == told["tables"][0]["of"] and first["kind"] == told["tables"][0]["kind"]
    assert {name: first[name] for name in ("name", "cause", "count", "time", "min")} == {
        name: str(wanted[name]) for name in ("name", "cause", "count", "time", "min")
    }
    assert {each["interrupt"] for each in rows} == {"0", "1"}
    assert "is there already" in bare.fails("exits csv 'a b.csv'")
    assert "wrote" in bare.say("exits csv 'a b.csv' replace")
    bare.say("exits VMID 2 json b.json")
    assert json.loads(Path("b.json").read_text())["tables"] == list(tables(bare, "exits VMID 2").values())
    

@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exits by colour", "exits by 'colour': one of samples, name"),
        ("exits by", "exits by what? samples"),
        ("exits csv", "exits csv what? a file's name"),
        ("exits nobody", "nothing is called 'nobody'"),
        ("exits VMID 1 reset", "stand alone"),
        ("exits reset all", "stand alone"),
        ("exits --colour", "'--colour' is none of"),
        ("exits by time VMID 1", "'VMID' is none of"),
        ("exits csv 'a", "No closing quotation"),
        ("exits csv there.csv", "there.csv is there already"),
        ("exits by time replace", "which file?"),
        ("exits csv no/such/folder.csv", "no/such/folder.csv: cannot be written"),
    ],
)
def test_what_is_refused_is_said_in_a_line(bare: Bench, line: str, said: str) -> None:
    bare.give(f"run {BOTH}")
    Path("there.csv").write_text("kept")
    assert said in bare.fails(line)
    assert Path("there.csv").read_text() == "kept"


# The pane.


async def shown(desk: Desk) -> list[str]:
    await desk.press("8")
    if not desk.application._zoomed:
        await desk.press("z")
    await desk.settled()
    return desk.lines("exits")


def line_of(lines: list[str], what: str) -> int:
    return next(at for at, line in enumerate(lines) if what in line)


async def to(desk: Desk, what: str) -> None:
    """The cursor into the first line that has it."""
    await desk.press("home", *["down"] * (line_of(desk.lines("exits"), what) - 1))


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_pane_has_the_columns_and_where_instructions_went(size: tuple[int, int]) -> None:
    machine = tiny(BOTH)
    async with opened(machine, size, running=False) as desk:
        lines = await shown(desk)
        assert lines[0].split()[:8] == ["exit", "in", "▾samples", "%", "time%", "min", "max", "mean"]
        for table in exits.read(machine).tables:
            at = line_of(lines, f"{table.name}  {table.total:,} in all")
            for part, number in zip(exits.PARTS, table.instructions, strict=True):
                said = re.search(rf"{part} (-|\S+%)", lines[at + 1])
                assert said is not None and (said[1] == "-") == (not number)
            found = lines[at + 2 : at + 2 + len(table.rows)]
            for each, line in zip(table.rows, found, strict=True):
                words = line.split()
                assert each.what[:16] in line and f"{each.times:,}" in words and each.mode in words
        assert all(len(line) <= size[0] for line in lines)


async def test_keys_count_anew_and_from_the_start_again() -> None:
    async with opened(tiny(BOTH), (120, 40), running=False) as desk:
        before = await shown(desk)
        await desk.press("c")
        await desk.until(lambda: all("EXC" not in line for line in desk.lines("exits")), "none is counted")
        assert "since" in desk.pane("exits").border_title
        await desk.press("a")
        await desk.until(lambda: desk.lines("exits") == before, "all are counted")


async def test_the_picture_stands_while_the_machine_runs() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (120, 40), running=False) as desk:
        await shown(desk)
        await desk.press("h")
        frozen = desk.lines("exits")
        assert "frozen at" in desk.pane("exits").border_title
        await desk.press("space")
        await desk.until(lambda: desk.session.view.finished, timeout=60)
        await desk.settled()
        assert desk.lines("exits") == frozen
        await desk.press("h")
        await desk.settled()
        total = next(guest for guest in machine.guests if guest.vmid == 1).exits.total()
        assert desk.lines("exits")[line_of(desk.lines("exits"), "VMID 1")].split()[2] == f"{total:,}"


async def test_keys_sort_and_turn_round() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (120, 40), running=False) as desk:
        await shown(desk)
        guest = next(table for table in exits.read(machine).tables if table.name == "VMID 1")

        def names() -> list[str]:
            at = line_of(desk.lines("exits"), "VMID 1")
            return [f"{line.split()[0]} {line.split()[1]}" for line in desk.lines("exits")[at + 2 :][: len(guest.rows)]]

        for column in ("samples", "name", "time", "min", "max", "mean"):
            mark = "exit▾" if column == "name" else f"▾{column}"
            assert mark in desk.lines("exits")[0]
            wanted = [f"{each.what} {each.mode}" for each in exits.ordered(guest.rows, column)]
            assert names() == wanted
            await desk.press("i")
            assert names() == [f"{e.what} {e.mode}" for e in exits.ordered(guest.rows, column, True)] != wanted
            await desk.press("i", "o")
        assert "▾samples" in desk.lines("exits")[0]


async def test_enter_shows_the_last_occurrences() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (120, 40), running=False) as desk:
        await shown(desk)
        await to(desk, "VMID 2")
        await desk.press("enter")
        await desk.settled()
        two = next(guest for guest in machine.guests if guest.vmid == 2)
        assert desk.session.subject == Subject(guest=two.identity), "a name: what is looked at"
        await to(desk, "EXC_VIRTUAL_INST_FAULT")
        await desk.press("enter")
        traps = [
            trap for trap in machine.harts[0].trap_log()
            if trap.vmid == 2 and trap.cause == 22 and not trap.interrupt and trap.to_mode is Mode.HS
        ]  # fmt: skip
        said = f"{traps[-1].clock:,}  VS  pc {traps[-1].pc:#x}"
        await desk.until(lambda: any(said in line for line in desk.lines("exits")), said)
        await desk.press("enter")
        await desk.settled()
        assert not any(said in line for line in desk.lines("exits"))


async def test_a_key_stops_the_machine_at_such_an_exit() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (120, 40), running=False) as desk:
        await shown(desk)
        await to(desk, "EXC_SUPERVISOR_SYSCALL")
        await desk.press("b")
        await desk.until(lambda: any("● EXC_SUPERVISOR_SYSCALL" in line for line in desk.lines("exits")), "its sign")
        assert [stop.number for stop in desk.session.book.stops] == [1]
        taken = machine.guests[0].exits["EXC_SUPERVISOR_SYSCALL"]
        await desk.press("space")
        await desk.until(lambda: "stop 1" in desk.session.view.reason, "the stop")
        one = next(guest for guest in machine.guests if guest.vmid == 1)
        assert one.exits["EXC_SUPERVISOR_SYSCALL"] == taken + 1
        assert one.last_exit is not None and one.last_exit.cause == 10
        await desk.settled()
        await to(desk, "● EXC_SUPERVISOR_SYSCALL")
        await desk.press("b")
        await desk.until(lambda: not any("●" in line for line in desk.lines("exits")), "no sign")
        assert not desk.session.book.stops


async def test_the_sparkline_has_a_point_when_time_has_passed() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (120, 40), running=False) as desk:
        await shown(desk)
        assert "exits/s" not in "".join(desk.lines("exits"))
        one = machine.guests[0]
        before, clock = one.exits.total(), machine.clock
        await desk.press("colon")
        await desk.type("run 1000000")
        await desk.press("enter")
        await desk.until(lambda: desk.session.stops > 1 or "exits/s" in "".join(desk.lines("exits")))
        await desk.settled()
        history = desk.pane("exits")._history["guest", one.identity]
        passed = machine.clock - clock
        assert len(history) >= 1
        if len(history) == 1:
            assert history[0] == (machine.guests[0].exits.total() - before) * 1e9 / passed


async def test_looking_changes_nothing() -> None:
    async with opened(tiny(BOTH), (120, 40), running=False) as desk:
        before = desk.state_hash()
        await shown(desk)
        await to(desk, "EXC_SUPERVISOR_SYSCALL")
        await desk.press("enter", "b", "b", "o", "i", "h", "c", "a")
        await desk.settled()
        assert desk.state_hash() == before
