"""Guests of a hypervisor inside the bare machine: rows, exits, tables, walks and world switches, as keys show them."""

from __future__ import annotations

import pytest
from desk import Desk, opened

from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import machines
from rvtui.commands import complete
from rvtui.subjects import Subject, hart_of, inner_guests, subjects, walker_of

SIZES = [(80, 24), (200, 50)]
BOTH = 3_000_000
"""Steps of tiny-hypervisor after which both guests have run."""


def tiny(steps: int) -> Machine:
    machine, _, _ = machines.bare("tiny-hypervisor", memory=64 << 20, harts=1, dtb=None)
    machine.run(steps)
    return machine


async def zoomed(desk: Desk, key: str) -> str:
    await desk.press(key)
    if desk.application._zoomed is None:
        await desk.press("z")
    await desk.settled()
    return desk.text()


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_each_guest_has_a_row(size: tuple[int, int]) -> None:
    machine = tiny(BOTH)
    async with opened(machine, size, running=False) as desk:
        await desk.settled()
        rows = desk.lines("vms")
        assert rows[0].split()[:2] == ["hart,", "guest"]
        for guest in inner_guests(machine):
            (row,) = (row for row in rows if guest.name in row and guest.name in row[:14])
            assert f"{guest.share:.0%}" in row and f" {sum(guest.exits.values())} " in row
            assert {"running": "‖ paused", "exited": "◂ exited", "away": "· away"}[guest.status] in row
            assert guest.mode.label in row
            assert guest.name in "\n".join(desk.screen()[:8]), "where it is seen"
        assert sum(row.strip("▸ ").startswith("hart 0") for row in rows) == 2
        await desk.press("space")
        await desk.until(lambda: desk.session.view.finished, timeout=60)
        await desk.shows("out ") if size[0] > 80 else None


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_panes_follow_the_guest_that_is_chosen(size: tuple[int, int]) -> None:
    machine = tiny(BOTH)
    async with opened(machine, size, running=False) as desk:
        await desk.settled()
        one, two = inner_guests(machine)
        for guest, other in ((two, one), (one, two)):
            row = next(n for n, line in enumerate(desk.lines("vms")) if guest.name in line[:14])
            await desk.press("1", "home", *["down"] * row, "enter")
            await desk.settled()
            assert desk.session.subject == Subject(guest=guest.identity)
            assert guest.name in desk.screen()[0]
            text = await zoomed(desk, "8")
            assert text.index(guest.name) < text.index(f"{other.name}  ")
            for exit in guest.exit_counts:
                (line,) = (line for line in desk.lines("exits")[: 3 + len(guest.exit_counts)] if exit.name in line)
                assert f" {exit.to_mode.label} " in line and f" {exit.count} " in line
            assert any("time%" in line for line in desk.lines("exits")[:3])
            assert any(f"pc {guest.last_exit.pc:#x}" in line for line in desk.lines("exits"))
            await zoomed(desk, "6")
            first, *_ = desk.lines("gstage")
            assert f"{guest.name}  Sv39x4  root {guest.root:#x}" in first
            assert any(other.name in line for line in desk.lines("gstage")[1:])
            await zoomed(desk, "7")
            if guest.loaded:
                assert f"of pc of {guest.name}" in desk.text()
                assert desk.lines("walk")[0].split() == [f"{guest.pc:#x}", "fetch", "in", guest.mode.label]
                assert any("✓ physical" in line for line in desk.lines("walk"))
            else:
                assert f"{guest.name} is on no hart: walk a guest-physical ADDRESS" in desk.text()
            desk.application.show_walk(0x8000_0123, Access.LOAD, None)
            await desk.settled()
            assert any("✓ physical" in line for line in desk.lines("walk")), "guest-physical where it is on no hart"
            desk.pane("walk").ask(None)
            await desk.press("z")


def finished(machine: Machine) -> Machine:
    machine.run(100_000_000)
    return machine


async def test_a_walk_of_a_guest_that_is_away_is_its_own() -> None:
    """Its tables and not those of the guest that is on the hart, whose registers stay."""
    machine = finished(tiny(1))
    away, loaded = inner_guests(machine)
    assert not away.loaded and loaded.loaded
    before = machine.state_hash()
    for guest in (away, loaded):
        walk = walker_of(machine, Subject(guest=guest.identity)).walk(0x8000_0000, Access.FETCH)
        assert walk.steps[0].pte_physical == guest.root + 8 * 2
        assert walk.physical is not None and walk.physical != 0x8000_0000
    assert machine.state_hash() == before


async def test_looking_at_guests_changes_nothing() -> None:
    machine = finished(tiny(1))
    async with opened(machine, (200, 50), running=False) as desk:
        await desk.settled()
        before = desk.state_hash()
        for key in "456789":
            for subject in subjects(machine):
                desk.session.select(subject)
                await desk.press(key)
                await desk.settled()
                desk.application.show_walk(0x8000_0000, Access.STORE, Mode.VU)
                await desk.settled()
        assert desk.state_hash() == before


async def test_brackets_and_the_command_reach_guests() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (80, 24), running=False) as desk:
        await desk.settled()
        seen = []
        for _ in range(4):
            seen.append(desk.session.subject)
            await desk.press("right_square_bracket")
            await desk.settled()
        one, two = (Subject(guest=guest.identity) for guest in inner_guests(machine))
        assert seen == [Subject(0), one, two, Subject(0)]
        for name, subject in (("VMID 2", two), ("vmid1", one), ("0", Subject(0)), ("hart0", Subject(0))):
            desk.application.carry_out(f"select {name}")
            await desk.until(lambda subject=subject: desk.session.subject == subject, name)
        for typed in ("select V", "select VMID "):
            assert complete(desk.application._commanding, typed) == ["select VMID 1", "select VMID 2"]
        desk.application.carry_out("select VMID 3")
        await desk.shows("there is 0, VMID 1, VMID 2")


async def test_a_guest_that_is_forgotten_leaves_the_hart_to_look_at() -> None:
    machine = tiny(BOTH)
    async with opened(machine, (80, 24), running=False) as desk:
        desk.session.select(Subject(guest=1 << 60))
        await desk.settled()
        for key in "3456789":
            await desk.press(key)
            await desk.settled()
        assert hart_of(machine, desk.session.subject) is machine.harts[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_world_switches_stand_among_the_events(size: tuple[int, int]) -> None:
    machine = tiny(BOTH)
    async with opened(machine, size, running=False) as desk:
        await zoomed(desk, "9")
        lines = desk.lines("events")
        assert any("▸ return    HS→VS enter VMID 1" in line for line in lines)
        assert any("◂ interrupt VS→HS leave VMID 1 (supervisor timer interrupt)" in line for line in lines)
        assert any("◂ trap      VS→HS leave VMID 2 (environment call from VS)" in line for line in lines)
        assert sum("▸" in line for line in lines) - sum("◂" in line for line in lines) in (-1, 0, 1)


async def test_the_machine_without_guests_has_none() -> None:
    machine = tiny(1000)
    async with opened(machine, (80, 24), running=False) as desk:
        await desk.settled()
        assert desk.lines("vms")[0].split()[0] == "hart" and len(desk.lines("vms")) == 3
        await desk.press("6")
        await desk.settled()
        assert "no guest runs with a G-stage" in desk.text()


async def test_another_guest_gets_a_row_while_it_runs() -> None:
    machine = tiny(1000)
    async with opened(machine, (120, 40)) as desk:
        await desk.until(lambda: any("VMID 2" in line[:14] for line in desk.lines("vms")), "a row", 30)
        await desk.until(lambda: len(desk.lines("vms")) == 5 and desk.pane("vms").rows >= 5, "room for it")
