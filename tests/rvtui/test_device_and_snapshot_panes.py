"""The panes of devices and of snapshots, by keys and by what is on screen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bench import commanded
from desk import Desk, failed, opened, run

import snapshots
from emulator.machine import Machine
from rvtui import commands
from rvtui.panes.devices import DevicesPane
from rvtui.panes.snapshots import SnapshotsPane

# Devices.


def row_of(desk: Desk, pane: str, text: str) -> str:
    return next(line for line in desk.lines(pane) if text in line)


async def choose(desk: Desk, pane: str, text: str) -> None:
    """Enter on the first row with this text."""
    lines = desk.lines(pane)
    index = next(index for index, line in enumerate(lines) if text in line)
    await desk.press(*["up"] * len(lines), *["down"] * (index - desk.pane(pane).HEAD), "enter")


async def test_devices_unfold_into_registers_and_bits() -> None:
    async with opened(["echo", "ticker"], running=False) as desk:
        await desk.press("D")
        await desk.until(lambda: len(desk.lines("devices")) > 3)
        assert desk.pane("devices").has_focus
        assert "10000000-100000ff irq 10" in row_of(desk, "devices", "uart")
        assert "virtio0-5" in row_of(desk, "devices", "empty")
        await choose(desk, "devices", "uart")
        await desk.until(lambda: any("LCR" in line for line in desk.lines("devices")))
        assert "5 data bits, no parity, 1 stop bit" in row_of(desk, "devices", "LCR")
        await choose(desk, "devices", "LCR")
        assert "DLAB" in row_of(desk, "devices", "7 DLAB") and "clear" in row_of(desk, "devices", "7 DLAB")
        desk.ask(lambda machine: machine.host.vms[0].bus.write(0x1000_0003, 1, 0x83))
        await desk.until(lambda: "8 data bits" in row_of(desk, "devices", "LCR"))
        assert "0x83*" in row_of(desk, "devices", "LCR") and "set" in row_of(desk, "devices", "7 DLAB")
        assert "1w" in row_of(desk, "devices", "uart")
        await choose(desk, "devices", "uart")
        assert not any("LCR" in line for line in desk.lines("devices"))


async def test_devices_are_those_of_what_is_looked_at() -> None:
    async with opened(["echo", "ticker"], running=False) as desk:
        await desk.press("D")
        await desk.shows("Devices  of echo")
        await desk.press("right_square_bracket")
        await desk.shows("Devices  of ticker")


async def test_the_controller_of_interrupts_shows_a_level_that_is_high() -> None:
    async with opened(["echo"], running=False) as desk:
        desk.ask(lambda machine: machine.host.vms[0].plic.set_source(10, True))
        await desk.press("D")
        await desk.until(lambda: "irq 10 ▔" in row_of(desk, "devices", "uart"))
        await choose(desk, "devices", "plic")
        await desk.until(lambda: any("pending" in line and "10" in line for line in desk.lines("devices")))


async def test_looking_at_devices_costs_little_and_changes_nothing() -> None:
    async with opened(["echo"], running=False) as desk:
        before = desk.state_hash()
        await desk.press("D")
        for name in ("virtio7", "virtio6", "uart", "plic"):
            await desk.until(lambda name=name: any(name in line for line in desk.lines("devices")))  # type: ignore[misc]
            await choose(desk, "devices", name)
        await desk.until(lambda: any("hart 0 S" in line or "contexts" in line for line in desk.lines("devices")))
        assert desk.state_hash() == before


def test_devices_as_text_and_json() -> None:
    with commanded(["hello"]) as bench:
        bench.give("run")
        data = bench.data("devices")["devices"]
        uart = next(each for each in data if each["name"] == "uart")
        assert uart["base"] == "0x10000000" and uart["writes"] > 10 and uart["level"] in (True, False)
        detail = bench.data("devices uart")
        lcr = next(each for each in detail["registers"] if each["name"] == "LCR")
        assert lcr["value"].startswith("0x") and next(part["name"] for part in lcr["parts"]) == "word length"
        assert "irq 10" in bench.say("devices uart").split("\n")[0]
    machine = Machine(memory=4 << 20)
    with commanded(machine) as bench:
        assert [each["name"] for each in bench.data("devices")["devices"]] == [device.name for _, device in machine.bus]
        assert "mtime " in bench.say("devices aclint")


# Snapshots.


async def test_a_snapshot_is_saved_listed_compared_restored_and_deleted() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.press("H")
        await desk.shows("none here")
        await desk.press("S", "enter")
        await desk.until(lambda: any("machine.snap" in line for line in desk.lines("snapshots")), "the file")
        await desk.shows("instructions, saved")
        row = row_of(desk, "snapshots", "machine.snap")
        assert "here" in row and "hello" in row
        await desk.press("d")
        await desk.shows("differs: nothing")
        await desk.press("s")
        await desk.shows("instructions, not saved")
        await desk.press("d")
        await desk.shows("hart 0: ")
        assert "differs: nothing" not in desk.text()
        before = desk.session.machine
        await desk.press("enter")
        await desk.shows("Enter restores all the same")
        await desk.press("escape")
        assert desk.session.machine is before
        await desk.press("enter", "enter")
        await desk.until(lambda: desk.session.machine is not before)
        await desk.shows("instructions, saved")
        again = desk.session.machine
        await desk.press("enter")  # nothing to lose: at once
        await desk.until(lambda: desk.session.machine is not again)
        await desk.press("x")
        await desk.shows("delete this file?")
        await desk.press("escape")
        assert Path("machine.snap").exists()
        await desk.press("x", "enter")
        await desk.until(lambda: not Path("machine.snap").exists())
        await desk.shows("none here")


async def test_damaged_and_other_files_in_the_folder() -> None:
    Path("notes.txt").write_text("no snapshot")
    Path("dir.snap").mkdir()
    os.mkfifo("pipe.snap")
    with commanded(["hello"]) as bench:
        bench.give("save good.snap")
    data = Path("good.snap").read_bytes()
    Path("bad.snap").write_bytes(data[: len(data) // 2])
    Path("evil\x1b]0;x.snap").write_bytes(data)
    async with opened(["hello"], running=False) as desk:
        await desk.press("H")
        await desk.until(lambda: len(desk.lines("snapshots")) == 1 + 3)
        assert "is damaged" in row_of(desk, "snapshots", "bad.snap") or "cut" in row_of(desk, "snapshots", "bad.snap")
        assert not any("\x1b" in line or "notes" in line for line in desk.lines("snapshots"))


def test_what_is_unsaved(tmp_path: Path) -> None:
    with commanded(["hello"]) as bench:
        assert not bench.session.unsaved
        for line in ("step", "run 10", "set a0=1", "write/b gpa:0x80100000 1", "type x"):
            bench.give("overwrite a.snap")
            assert not bench.session.unsaved
            bench.give("print a0")
            assert not bench.session.unsaved
            bench.give(line)
            assert bench.session.unsaved, line
        bench.give("restore a.snap")
        assert not bench.session.unsaved
        assert bench.session.saved == [str(Path("a.snap").absolute())]


def test_commands_about_snapshots() -> None:
    with commanded(["hello", "ticker"]) as bench:
        assert bench.say("snapshots") == "no snapshots there"
        bench.give("run 3000")
        bench.give("save one.snap")
        assert bench.say("differs one.snap") == "the same, bit for bit"
        assert bench.data("differs one.snap")["same"] is True
        at = bench.machine.host.vms[0].slots[0].physical + 0x10_0000
        bench.give("set a0=0x1234")
        bench.give("write/b gpa:0x80100000 1")
        found = bench.data("differs one.snap")
        assert found["ranges"] == [{"address": hex(at), "size": 4096}] and found["pages"] == 1
        assert found["harts"] == [["a0"]] or found["others"]
        assert "a0" in bench.say("differs one.snap") or "host" in bench.say("differs one.snap")
        (row,) = bench.data("snapshots")["snapshots"]
        assert (row["executed"], row["vms"], row["problem"]) == (3000, ["hello", "ticker"], None)
        Path("keep.txt").write_text("mine")
        assert "is no snapshot" in bench.fails("remove keep.txt") and Path("keep.txt").exists()
        assert "cannot be deleted" in bench.fails("remove gone.snap")
        bench.give("remove one.snap")
        assert not Path("one.snap").exists()
        assert "cannot be listed" in bench.fails("snapshots nowhere")
        assert "no such file" in bench.fails("differs one.snap")
    with commanded(Machine(memory=4 << 20)) as bench:
        bench.give("save bare.snap")
        assert bench.data("snapshots")["snapshots"][0]["harts"] == 1
    with commanded(["hello"]) as bench:
        assert "other memory" in bench.fails("differs bare.snap")


def test_a_long_comparison_is_interruptible(monkeypatch: pytest.MonkeyPatch) -> None:
    from rvtui.commands import values

    monkeypatch.setattr(values.time, "monotonic", iter(range(10**6)).__next__)
    with commanded(["hello"]) as bench:
        bench.give("run 3000")
        bench.give("save one.snap")
        bench.screen.on_progress = bench.context.cancelled.set
        assert bench.fails("differs one.snap") == "interrupted"


def test_a_machine_differs_by_what_was_changed_and_nothing_else() -> None:
    machine = Machine(memory=4 << 20)
    machine.boot(0x8000_0000)
    snapshots.save(machine, "then.snap")
    assert snapshots.difference(machine, "then.snap").same
    machine.harts[0].x[5] = 1
    machine.harts[0].set_csr("sscratch", 7)
    machine.memory.write(0x8000_0FFF, b"ab")
    machine.memory.write(0x8010_0000, bytes(4096))  # zeros where zeros were
    machine.uart.write(7, 1, 3)
    found = snapshots.difference(machine, "then.snap")
    assert (found.pages, found.ranges) == (2, ((0x8000_0000, 8192),))
    assert found.harts == (("sscratch", "x5"),)
    assert found.others == ("uart",)


def test_listing_reads_a_file_again_only_if_it_is_another() -> None:
    machine = Machine(memory=4 << 20)
    snapshots.save(machine, "a.snap", note="first")
    known: dict[str, snapshots.Entry] = {}
    (first,) = snapshots.listing(".", known)
    assert first.info is not None and first.info.note == "first"
    assert snapshots.listing(".", known)[0] is first
    snapshots.save(machine, "a.snap", note="another")
    (second,) = snapshots.listing(".", known)
    assert second.info is not None and second.info.note == "another"


def test_both_panes_have_a_key_of_their_own() -> None:
    assert (DevicesPane.KEY, SnapshotsPane.KEY) == ("D", "H")
    assert {"devices", "snapshots", "differs", "remove"} <= commands.COMMANDS.keys()


def test_removing_by_script_is_a_mistake_where_there_is_nothing() -> None:
    assert "cannot be deleted" in failed("monitor", "-c", "remove none.snap", "hello")
    assert run("monitor", "-c", "save a.snap", "-c", "remove a.snap", "hello").returncode == 0
