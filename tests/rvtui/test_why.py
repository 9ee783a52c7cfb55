"""Why did it trap, interrupts, worlds: what these panes and commands say of guests that trap in every pair of modes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from desk import RAM, Desk, opened, with_page_features

from emulator.devices.plic import CONTEXT, ENABLE
from emulator.hart import Access, Mode
from emulator.isa import csrs
from emulator.machine import Machine
from rvtui import commands, machines
from rvtui.commands import CommandError
from rvtui.subjects import Subject, inner_guests

sys.path.append(str(Path(__file__).resolve().parents[1] / "emulator"))

from rig import HANDLER, ONES, SIE, Rig

SIZES = [(80, 24), (200, 50)]
M, HS, U, VS, VU = Mode
CALLS = {M: 11, HS: 9, U: 8, VS: 10, VU: 8}
NAMES = {
    2: "illegal instruction", 8: "environment call from U or VU", 9: "environment call from HS",
    10: "environment call from VS", 11: "environment call from M",
}  # fmt: skip
PAIRS = [
    # origin, target, cause, medeleg, hedeleg: every pair that section "Trap Entry" allows
    (M, M, 11, 1, 1), (HS, M, 9, 0, 0), (HS, HS, 9, 1, 0), (U, M, 8, 0, 1), (U, HS, 8, 1, 1), (VS, M, 10, 0, 0),
    (VS, HS, 10, 1, 0), (VS, VS, 2, 1, 1), (VU, M, 8, 0, 1), (VU, HS, 8, 1, 0), (VU, VS, 8, 1, 1),
]  # fmt: skip


def traps_in_all_pairs(before: int = 0) -> Machine:
    """One trap from each mode to each that can take it, one behind the other; each at an address of its own. There are
    calls from U to M `before`."""
    rig = Rig("ecall")
    for at in range(before):
        rig.write(RAM + 0x1000 + 16 * at, "ecall")
        rig.hart.mode, rig.hart.pc = U, RAM + 0x1000 + 16 * at
        rig.run(1)
    for at, (origin, target, cause, medeleg, hedeleg) in enumerate(PAIRS):
        rig.write(RAM + 16 * at, "ecall" if cause != 2 else ".word 0xffffffff")
        rig.set(medeleg=medeleg << cause, hedeleg=hedeleg << cause)
        rig.hart.mode, rig.hart.pc = origin, RAM + 16 * at
        rig.run(1)
        assert rig.hart.mode is target
    return rig.machine


async def zoomed(desk: Desk, key: str) -> None:
    await desk.press(key)
    if desk.application._zoomed is None:
        await desk.press("z")
    await desk.settled()


def answer(desk: Desk, line: str) -> Any:
    return commands.invoke(desk.application._commanding, line).result(20)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_each_trap_tells_its_way(size: tuple[int, int]) -> None:
    machine = traps_in_all_pairs()
    async with opened(machine, size, running=False) as desk:
        await zoomed(desk, "T")
        rows = desk.lines("traps")
        assert len(rows) == len(PAIRS)
        for at, (row, pair) in enumerate(zip(rows, reversed(PAIRS), strict=True)):
            origin, target, cause, medeleg, hedeleg = pair
            assert row.startswith("▸") and f"{origin.label:>2}→{target.label:<2}" in row
            assert NAMES[cause] in row and f"{RAM + 16 * (len(PAIRS) - 1 - at):x}" in row
            await desk.press("home", *["down"] * at, "enter")
            await desk.settled()
            lines = desk.lines("traps")
            inside = lines[at + 1 : at + 1 + len(lines) - len(rows)]
            text = "\n".join(inside)
            assert f"{NAMES[cause]} (exception {cause})  at {RAM + 16 * (len(PAIRS) - 1 - at):#x}" in inside[0]
            asked = [line.split()[2] for line in inside if "edeleg." in line.split()[2:3].__str__()]
            if origin is M:
                assert asked == [f"medeleg.{cause}"] and "M-mode delegates no trap of its own" in text
            elif not medeleg:
                assert asked == [f"medeleg.{cause}=0"] and f"taken in M because medeleg.{cause}=0" in text
            elif not origin.virtual:
                assert asked == [f"medeleg.{cause}=1", f"hedeleg.{cause}"] and "not asked: V=0" in text
            else:
                assert asked == [f"medeleg.{cause}=1", f"hedeleg.{cause}={hedeleg}"]
                assert f"taken in {target.label} because hedeleg.{cause}={hedeleg}" in text
            assert any("▼" in line and f"{target.label} " in line and "handler" in line for line in inside)
            prefix = {M: "m", HS: "s", VS: "vs"}[target]
            (found,) = (line for line in inside if line.split()[0] == f"{prefix}cause")
            assert found.split()[1] == f"{cause:016x}"
            if target is HS:
                (found,) = (line for line in inside if line.split()[0] == "hstatus.SPV")
                assert f"→ {int(origin.virtual)}" in found
            if size[0] > 112:
                assert "§ Trap Entry" in text or "§ Privilege and Global Interrupt-Enable Stack" in text
            await desk.press("enter")
        await desk.press("home")


async def test_in_a_tall_pane_the_selected_trap_stands_below_and_a_click_selects() -> None:
    async with opened(traps_in_all_pairs(60), (200, 50), running=False) as desk:
        await zoomed(desk, "T")
        pane = desk.pane("traps")
        assert "taken in VS because hedeleg.8=1" in desk.text(), "the newest"
        assert any(line.startswith("─") for line in ("".join(t for t, _ in row) for row in pane.pinned))
        await desk.press("down", "down")
        await desk.settled()
        assert "taken in M because medeleg.8=0" in desk.text()
        await desk.pilot.click(pane, offset=(10, 1 + 4))
        await desk.settled()
        assert pane.cursor == 4 and "taken in HS because hedeleg.10=0" in desk.text()
        await desk.pilot.click(pane, offset=(10, 1 + 4), times=2)
        await desk.settled()
        assert any(line.startswith("▾") for line in desk.lines("traps")), "twice: it opens"
        await desk.press("home")
        await desk.settled()
        assert pane.pinned and pane.rows < 43 < len(pane.lines)
        await desk.pilot.click(pane, offset=(10, 1 + 43))
        assert pane.cursor == 0, "what stands below is no row of the list"
        await desk.press("end")
        await desk.settled()
        assert pane.cursor == len(pane.lines) - 1 == pane.top + pane.rows - 1, "the list ends above it"


async def test_equal_traps_are_one_row_and_the_selected_one_stays_selected() -> None:
    rig = Rig("loop: ecall\n ecall\n j loop", mode=U)
    rig.write(HANDLER, "csrr t0, mepc\n addi t0, t0, 4\n csrw mepc, t0\n mret")
    rig.run(11 * 5)
    async with opened(rig.machine, (120, 40), running=False) as desk:
        await zoomed(desk, "T")
        rows = desk.lines("traps")
        assert len(rows) == 2 and all("x5" in row.split() for row in rows)
        assert f"{RAM + 4:x}" in rows[0] and f"{RAM:x}" in rows[1].split()
        await desk.press("down")
        desk.session.step(1).result(5)
        await desk.settled()
        rows = desk.lines("traps")
        assert f"{RAM:x}" in rows[0].split() and "x6" in rows[0].split(), "the older is the newest now"
        assert desk.pane("traps").selected.trap.pc == RAM


async def test_w_walks_the_address_that_failed() -> None:
    machine = with_page_features()
    machine.harts[0].x[10] = 0xC000_0000 - 8  # ld a1, 8(a0)
    machine.run(1)
    async with opened(machine, (120, 40), running=False) as desk:
        await zoomed(desk, "T")
        assert "load guest-page fault" in desk.lines("traps")[0]
        await desk.press("w")
        await desk.settled()
        walk = desk.pane("walk")
        assert walk.has_focus and (walk.address, walk.access, walk.mode) == (0xC000_0000, Access.LOAD, VS)
        assert any("✗ load guest-page fault (21)" in line for line in desk.lines("walk"))
        (guest,) = desk.ask(inner_guests)
        assert desk.session.subject == Subject(guest=guest.identity), "whose address it is"
        desk.application.carry_out(f"set pc={RAM + 0x100:#x}")
        desk.ask(lambda machine: machine.memory.write_int(RAM + 0x100, 4, 0x73))
        desk.session.step(1).result(5)
        await desk.press("T")
        await desk.settled()
        assert "environment call" in desk.lines("traps")[0]
        await desk.press("w")
        await desk.settled()
        assert (walk.has_focus, walk.address) == (True, 0xC000_0000), "a call: the last fault's address, then"


async def test_w_asks_where_no_address_failed() -> None:
    async with opened(traps_in_all_pairs(), (120, 40), running=False) as desk:
        await zoomed(desk, "T")
        await desk.press("w")
        assert desk.application._asking.display
        await desk.press("escape")


async def test_the_guest_that_faulted_is_named_and_faults_stand_alone() -> None:
    async with opened(["ticker", "faulty"], (80, 24), running=False) as desk:
        desk.session.run(100_000)
        await desk.until(lambda: desk.session.stops)
        await zoomed(desk, "T")
        assert len({row.split()[3] for row in desk.lines("traps")}) > 1
        await desk.press("l")
        rows = desk.lines("traps")
        (own,) = (row for row in rows if "VS→VS" in row)
        assert "faulty" in own and "store/AMO page fault" in own and "0x140000010" in own
        assert all("fault" in row for row in rows) and any("ticker" in row for row in rows)
        assert "faults" in desk.screen()[1]
        await desk.press("right_square_bracket", "o")
        await desk.settled()
        assert all("faulty" in row for row in desk.lines("traps"))
        await desk.press("l", "o")
        assert any("environment call" in row for row in desk.lines("traps"))


async def test_without_traps_it_says_so() -> None:
    async with opened(Machine(memory=4 << 20), (80, 24), running=False) as desk:
        await zoomed(desk, "T")
        assert desk.lines("traps") == ["no trap yet"]
        assert answer(desk, "traps").lines == ("no trap yet",)
        with pytest.raises(CommandError, match="no trap yet"):
            answer(desk, "why")
        await desk.press("enter", "down", "w", "escape")
        await zoomed(desk, "W")
        assert any("no mode was left yet" in line for line in desk.lines("worlds"))


def with_interrupts() -> Machine:
    """In HS with SIE off: STI and VSTI wait, and the PLIC holds back the UART."""
    rig = Rig("nop", mideleg=ONES, hideleg=ONES, mie=ONES, hvip=1 << 6, mip=1 << 5)
    plic = rig.machine.plic
    plic.write(4 * 10, 4, 1)
    plic.write(ENABLE + 0x80, 4, 1 << 10)
    plic.write(CONTEXT + 0x1000, 4, 3)
    plic.set_source(10, True)
    rig.hart.mtimecmp = 1234
    rig.hart.mode = HS
    return rig.machine


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_interrupts_and_their_verdicts(size: tuple[int, int]) -> None:
    machine = with_interrupts()
    async with opened(machine, size, running=False) as desk:
        await zoomed(desk, "I")

        def row(name: str) -> str:
            return next(line for line in desk.lines("interrupts") if line[1:].startswith(name))

        assert "none is taken; 2 pending" in desk.lines("interrupts")[0]
        assert row("STI").split()[1:6] == ["5", "1", "1", "1", "0"] and "✗ not taken: sstatus.SIE=0 in HS" in row("STI")
        assert "✗ not taken: hideleg.6=1 so it is VS's, and V=0" in row("VSTI")
        assert "masked by PLIC threshold 3 >= priority 1" in desk.text()
        assert row("SEI").split()[2] == "0"
        assert "mtimecmp in 1,234 ticks" in row("MTI")
        at = desk.lines("interrupts").index(row("VSTI"))
        await desk.press("home", *["down"] * at, "enter")
        await desk.settled()
        opened_lines = desk.lines("interrupts")[at + 1 : at + 6]
        assert any("● hvip.VSTIP=1" in line for line in opened_lines)
        assert any("mideleg.6=1, hideleg.6=1: VS takes it" in line for line in opened_lines)
        assert any("which VS sees as STI (5)" in line for line in opened_lines)
        await desk.press("enter")
        await desk.settled()
        assert not any("hvip.VSTIP=1" in line for line in desk.lines("interrupts"))
        desk.application.carry_out("set sstatus=sstatus|2")
        await desk.until(lambda: "▶ taken next, in HS" in row("STI"), "taken next")
        assert "▶ STI taken next, in HS" in desk.lines("interrupts")[0]
        desk.session.step(1).result(5)
        await desk.press("T")
        await desk.settled()
        assert "supervisor timer interrupt" in desk.lines("traps")[0] and "HS→HS" in desk.lines("traps")[0]


async def test_the_vm_that_is_not_on_the_hart_is_named_and_its_plic_shown() -> None:
    async with opened(["echo", "ticker"], (120, 40)) as desk:
        await desk.shows("echo>")
        await desk.pause()
        await zoomed(desk, "I")
        current = desk.ask(lambda machine: machine.host.current)
        for _ in range(2):
            name = desk.machine.host.vms[desk.session.subject.vm].name
            away = current is None or current.vm.name != name
            loaded = desk.ask(lambda m: m.host.vms[desk.session.subject.vm].vcpus[0].hart is not None)
            assert (f"{name} is not on the hart" in desk.text()) == (not loaded), (name, away)
            await desk.press("right_square_bracket")
            await desk.settled()
        before = desk.state_hash()
        for key in ("T", "I", "W"):
            await zoomed(desk, key)
            await desk.press("down", "enter", "down", "enter")
            await desk.settled()
        assert desk.state_hash() == before, "looking changes nothing"


def moved() -> Machine:
    """ecall from VU to VS and back, an ecall from VS to M, which returns to HS."""
    rig = Rig("ecall", medeleg=1 << 8, hedeleg=1 << 8, mode=VU)
    rig.write(HANDLER + 0x2000, "sret")
    rig.write(RAM + 0x100, "ecall")
    rig.run(2)
    assert rig.hart.mode is VU
    rig.hart.mode, rig.hart.pc = VS, RAM + 0x100
    rig.write(HANDLER, "mret")
    rig.run(1)
    rig.set(mstatus=1 << 11, mepc=RAM + 0x200)
    rig.write(RAM + 0x200, "nop")
    rig.run(1)
    assert rig.hart.mode is HS
    return rig.machine


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_worlds_show_the_ways_between_modes(size: tuple[int, int]) -> None:
    async with opened(moved(), size, running=False) as desk:
        await zoomed(desk, "W")
        if size[0] == 80:
            await desk.press("z")
            await desk.settled()
            assert not any("ecall" in line for line in desk.lines("worlds")), "folded where there is no room"
            await desk.press("home", "down", "enter")
            await desk.settled()
        lines = desk.lines("worlds")
        assert "▶HS" in lines[0] and "▶HS" in lines[2] and "since the start" in lines[1]
        ways = {"".join(line.split()[:-2]): line for line in lines if any(w in line for w in ("ecall", "sret", "mret"))}
        assert len(ways) == 4
        (call,) = (line for line in ways.values() if "ecall 1" in line and "◀" in line and "M" not in line[:2]
                   and line.index("◀") > 20)  # fmt: skip
        assert call.count("◀") == 1 and call.index("◀") < call.index("┤") and "┼" not in call, "VU to VS: neighbours"
        (down,) = (line for line in ways.values() if "ecall 1" in line and line is not call)
        assert down.index("◀") == 3 and down.count("┼") == 2, "VS to M: past HS and U"
        (back,) = (line for line in ways.values() if "sret 1" in line)
        assert back.index("├") < back.index("▶")
        (out,) = (line for line in ways.values() if "mret 1" in line)
        assert out.index("├") == 3 and "┼" not in out, "M to HS: neighbours"
        await desk.press("x")
        await desk.settled()
        lines = desk.lines("worlds")
        assert "0 since instruction" in lines[1] and any("no mode was left yet" in line for line in lines)
        await desk.press("home", "enter")
        await desk.settled()
        assert not any("no mode was left yet" in line for line in desk.lines("worlds")), "folded"


@pytest.mark.parametrize("mode", [HS, VS], ids=lambda mode: mode.label)
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_worlds_show_both_banks_and_which_is_reached(size: tuple[int, int], mode: Mode) -> None:
    rig = Rig("nop", sscratch=0x1111, vsscratch=0x2222, mscratch=0x3333, vsstatus=SIE, mode=mode)
    async with opened(rig.machine, size, running=False) as desk:
        await zoomed(desk, "W")
        lines = desk.lines("worlds")
        (head,) = (line for line in lines if "bank" in line)
        assert ("▶ VS bank" in head) == (mode is VS) and ("▶ HS bank" in head) == (mode is HS)
        (row,) = (line for line in lines if line.startswith("sscratch"))
        assert "≠" in row and [int(word, 16) for word in row.split() if len(word) == 16] == [0x1111, 0x2222, 0x3333]
        marked = row.split("▸")[1].split()[0]
        assert int(marked, 16) == (0x2222 if mode is VS else 0x1111)
        (row,) = (line for line in lines if line.startswith("stvec"))
        assert [int(word, 16) for word in row.split() if len(word) == 16] == [
            rig.csr(name) for name in ("stvec", "vstvec", "mtvec")
        ]
        (row,) = (line for line in lines if line.startswith("sepc"))
        assert "≠" not in row
        at = next(at for at, line in enumerate(lines) if line.startswith("sstatus"))
        await desk.press("home", *["down"] * at, "enter")
        await desk.settled()
        (field,) = (line for line in desk.lines("worlds") if line.split()[:1] == ["SIE"])
        assert field.split()[1:4] == ["≠", "off", "on"]
        assert csrs.BY_NAME["sstatus"].field("SIE").doc[:20] in field


async def test_commands_tell_the_same() -> None:
    machine = traps_in_all_pairs()
    async with opened(machine, (80, 24), running=False) as desk:
        await desk.settled()
        report = answer(desk, "traps 3")
        assert len(report.lines) == 3 and "VU to VS  environment call from U or VU" in report.lines[0]
        assert [trap["to"] for trap in report.data] == ["VS", "HS", "M"]
        report = answer(desk, "why")
        assert "taken in VS because hedeleg.8=1" in report.lines[0]
        assert any(line.split()[:1] == ["vscause"] for line in report.lines)
        assert any("§ Hypervisor Trap Delegation (hedeleg and hideleg) Registers" in line for line in report.lines)
        assert report.data["reason"] == "taken in VS because hedeleg.8=1" and report.data["cause"] == 8
        assert [(stop["asked"], stop["value"]) for stop in report.data["route"]] == [
            ("medeleg.8", "0x1"), ("hedeleg.8", "0x1"),
        ]
        report = answer(desk, "interrupts")
        assert {row["name"] for row in report.data["interrupts"]} >= {"MEI", "STI", "VSEI", "LCOFI"}
        assert "in VS" in report.lines[0]
        report = answer(desk, "worlds")
        assert report.data["v"] == 1
        assert {"from": "VU", "to": "VS", "by": "ecall", "times": 1} in report.data["transitions"]
        assert next(row for row in report.data["banks"] if row["name"] == "sepc")["reaches"] == "vsepc"
        for line in ("traps", "why", "interrupts", "worlds"):
            json.dumps(answer(desk, line).data)
        with pytest.raises(CommandError, match="count 'no'"):
            answer(desk, "traps no")
        desk.application.carry_out("why")
        await desk.shows("environment call from U or VU at 0x800000a0")


async def test_names_stand_at_addresses() -> None:
    machine, _, _ = machines.bare("tiny-hypervisor", memory=64 << 20, harts=1, dtb=None)
    machine.run(3_000_000)
    async with opened(machine, (200, 50), running=False) as desk:
        await zoomed(desk, "T")
        text = "\n".join(desk.lines("traps"))
        assert "set_host_timer" in text and "virtual instruction" in text and "wfi" in text


async def test_a_hart_without_h_has_one_world() -> None:
    machine = Machine(memory=4 << 20, isa="rv64gc")
    machine.memory.write_int(RAM, 4, 0x73)
    machine.harts[0].pc = RAM
    machine.run(1)
    async with opened(machine, (80, 24), running=False) as desk:
        for key in ("I", "W", "T"):
            await zoomed(desk, key)
            await desk.press("enter")
            await desk.settled()
        lines = desk.lines("traps")
        assert any(line.split()[:1] == ["mcause"] for line in lines)
        assert not any(word in "\n".join(lines) for word in ("hstatus", "htval", "mtval2", "mtinst", "MPV", "GVA"))
        worlds = desk.lines("worlds")
        assert any("▶ HS bank" in line for line in worlds) and not any("≠" in line for line in worlds)
