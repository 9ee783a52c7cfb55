"""The application under Textual's pilot: keys pressed, and what stands on the screen."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from desk import FLOOD, NOP, RAM, SPIN, jump, opened, with_page_features
from textual import events

import snapshots
from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES
from emulator.machine import Machine
from rvtui import machines
from rvtui.application import NAMES
from rvtui.panes.console import ConsolePane
from rvtui.panes.csrs import CsrsPane
from rvtui.subjects import Subject, hart_of, subjects

SIZES = [(80, 24), (120, 40), (200, 50)]
DEMONSTRATION = ["echo", "ticker"]


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_demonstration_shows_both_guests_at_work(size: tuple[int, int]) -> None:
    async with opened(DEMONSTRATION, size) as desk:
        await desk.shows("echo: type a line")
        first = desk.machine.host.vms[1].instructions
        await desk.until(lambda: desk.machine.host.vms[1].instructions > first + 1000, "the ticker runs on")
        rows = desk.screen()
        assert len(rows) == size[1] and all(len(row) == size[0] for row in rows)
        assert "rvtui" in rows[0] and ("running" in rows[0] or "idle" in rows[0])
        assert any("echo" in row and "VS" in row for row in rows) and any(
            "ticker" in row and "VS" in row for row in rows
        )
        assert "pause" in rows[-1] and "quit" in rows[-1]
        await desk.press("right_square_bracket")
        await desk.shows("ten timer interrupts")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_pane_can_be_shown_and_zoomed(size: tuple[int, int]) -> None:
    async with opened(DEMONSTRATION, size) as desk:
        await desk.shows("echo>")
        for name in NAMES:
            if name == "console":
                continue
            pane = desk.pane(name)
            await desk.press(pane.KEY)
            assert pane.display and pane.has_focus, name
            await desk.until(
                lambda name=name: any(line.strip() for line in desk.lines(name)), f"{name} shows something"
            )
            assert f"{pane.KEY} {pane.TITLE}" in desk.text()
            await desk.press("z")
            assert pane.size.width >= size[0] - 2 and pane.size.height >= size[1] - 4, name
            await desk.press("z")
            assert pane.size.width <= size[0] - 2


async def test_keys_reach_the_echo_guest_and_ctrl_bracket_leaves() -> None:
    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.shows("echo>")
        await desk.press("2")
        assert isinstance(desk.application.focused, ConsolePane)
        assert "Ctrl-]" in desk.screen()[-1]
        await desk.type("quick 123")
        await desk.press("enter")
        await desk.shows("321 KCIUQ")
        assert desk.session.running, "s, n, q and digits went to the guest"
        await desk.press("tab", "ctrl+p", "escape")
        assert isinstance(desk.application.focused, ConsolePane)
        await desk.press("ctrl+right_square_bracket")
        assert "Ctrl-]" not in desk.screen()[-1] and "Enter types" in desk.text()
        await desk.press("q")
    assert desk.application.return_value == 0


async def test_paste_reaches_the_guest() -> None:
    from textual import events

    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.shows("echo>")
        await desk.press("2")
        desk.application.focused.post_message(events.Paste("pasted\n"))
        await desk.shows("DETSAP")


async def test_scrollback_of_a_console() -> None:
    async with opened(["exits"], (80, 24)) as desk:
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        await desk.press("2")
        assert "what makes a guest leave" not in desk.text()
        for _ in range(10):
            await desk.press("shift+pageup")
        assert "what makes a guest leave" in desk.text()
        assert "lines back" in desk.text()
        for _ in range(10):
            await desk.press("shift+pagedown")
        assert "lines back" not in desk.text()


async def test_run_and_pause() -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.shows("pause")
        await desk.press("space")
        await desk.shows("stopped")
        await desk.settled()
        executed = desk.machine.executed
        await asyncio.sleep(0.2)
        assert desk.machine.executed == executed
        assert f"{executed:,} instr" in desk.screen()[0]
        assert "run" in desk.screen()[-1].split()
        await desk.press("r")
        await desk.until(lambda: desk.machine.executed > executed, "it runs again")


async def test_stopping_takes_less_than_50_ms_as_a_rule(guest: Callable[[bytes], Path]) -> None:
    async with opened([str(guest(SPIN))]) as desk:
        await desk.until(lambda: desk.machine.executed > 10_000_000)
        waits = []
        for _ in range(10):
            desk.session.run().result(5)
            await asyncio.sleep(0.05)
            started = time.monotonic()
            desk.session.pause().result(5)
            waits.append(time.monotonic() - started)
        assert sorted(waits)[5] < 0.05, waits


def csrs_of(machine: Machine, subject: Subject) -> dict[str, int]:
    names = ("hstatus", "hgatp", "hideleg", "vsstatus", "vstvec", "vsatp", "vstimecmp", "sstatus", "vsie")
    return {name: hart_of(machine, subject).csr(name) for name in names}


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_what_is_shown_is_what_the_machine_says(size: tuple[int, int]) -> None:
    async with opened(DEMONSTRATION, size) as desk:
        await desk.shows("echo>")
        await desk.pause()
        for subject in subjects(desk.machine):
            desk.session.select(subject)
            await desk.press("3")
            await desk.settled()
            face = hart_of(desk.machine, subject)
            words = " ".join(desk.lines("registers")).replace("*", " ").split()
            assert words[0] == "pc" and int(words[1], 16) == face.pc
            for number, name in enumerate(ABI_NAMES):
                assert int(words[words.index(name) + 1], 16) == face.x[number], name
            await desk.press("4")
            await desk.settled()
            words = " ".join(desk.lines("csrs")).replace("*", " ").split()
            for name, value in desk.ask(partial(csrs_of, subject=subject)).items():
                assert int(words[words.index(name) + 1], 16) == value, name
            vm = desk.machine.host.vms[subject.vm]
            row = next(line for line in desk.lines("vms") if vm.name in line)
            assert Mode(vm.vcpus[0].mode).label in row and f"{face.pc:x}" in row


async def test_floating_point_registers() -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.pause()
        desk.machine.host.vms[0].vcpus[0].set_reg("f10", 0xFFFF_FFFF_1234_5678)
        await desk.press("3", "v")
        desk.session.subscribe("registers", *desk.pane("registers").readers()["registers"][:1])
        await desk.settled()
        assert any("fa0" in line and "ffffffff12345678" in line for line in desk.lines("registers"))


async def test_looking_changes_nothing() -> None:
    """All panes, all VMs, walks and disassembly of the one that is not on the hart: the state stays bit for bit."""
    async with opened(DEMONSTRATION, (200, 50)) as desk:
        await desk.shows("echo>")
        await desk.pause()
        before = desk.state_hash()
        for key in ("4", "5", "6", "7", "8", "9"):
            for subject in subjects(desk.machine):
                desk.session.select(subject)
                await desk.press(key)
                await desk.settled()
        desk.application.show_walk(0x8000_0000, Access.STORE, Mode.VU)
        await desk.settled()
        assert desk.state_hash() == before


async def test_harts_that_lack_extensions_can_be_looked_at() -> None:
    """What is off is not shown, and nothing asks for it."""
    machine = Machine(memory=4 << 20, isa="max,h=off,f=off,sstc=off")
    machine.memory.write(RAM, b"".join(word.to_bytes(4, "little") for word in (NOP, jump(-4))))
    machine.boot(RAM)
    async with opened(machine, (120, 40), running=False) as desk:
        for name in NAMES:
            if name != "console":
                await desk.press(desk.pane(name).KEY)
                await desk.settled()
        await desk.press("4", "n", "s")
        await desk.until(lambda: machine.executed == 2, "two steps")
        rows = "\n".join(desk.lines("csrs"))
        assert "stvec" in rows and "vstvec" not in rows and "stimecmp" not in rows
        desk.application.carry_out("print hgatp")
        await desk.until(lambda: "it needs H" in desk.application._keys.message, "why not")
        desk.application.carry_out("walk 0x80000000 load VS")
        await desk.shows("there is no VS-mode")


async def test_step_moves_what_is_looked_at() -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.shows("echo>")
        await desk.pause()
        for index in (0, 1):
            desk.session.select(Subject(0, index))
            vcpu = desk.machine.host.vms[index].vcpus[0]
            before = vcpu.instructions
            await desk.press("5", "s")
            await desk.until(lambda vcpu=vcpu, before=before: vcpu.instructions == before + 1, "one instruction")
            await desk.settled()
            assert "stepped" in desk.screen()[0]
            current = next(line for line in desk.lines("code") if "▶" in line)
            assert f"{vcpu.pc:x}" in current


async def test_changed_registers_are_marked() -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.shows("echo>")
        await desk.pause()
        face = hart_of(desk.machine, desk.session.subject)
        before = list(face.x)
        for _ in range(4):
            desk.session.step().result(5)
        await desk.settled()
        # Marks compare with the display before, which may be any of the steps: what did not change at all has none.
        text = " ".join(desk.lines("registers"))
        for number, name in enumerate(ABI_NAMES):
            if face.x[number] == before[number] and before[number] > 0xFFFF:
                assert f"{name:<6}{face.x[number]:016x}*" not in text
        assert "pc" in text and "*" in text


async def test_step_over_returns_behind_the_call() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.settled()
        machine = desk.machine
        face = hart_of(machine, desk.session.subject)
        from rvtui.session import call_return

        for _ in range(300):
            after = call_return(face)
            if after is not None:
                break
            desk.session.step().result(5)
        assert after is not None, "no call in the first 300 instructions"
        stack = face.x[2]
        await desk.press("n")
        await desk.until(lambda: "stepped over" in desk.screen()[0])
        assert face.pc == after and face.x[2] == stack
        assert not len(machine.stops), "the temporary breakpoint is gone"


async def test_breakpoints_at_the_cursor_and_by_command() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.press("5")
        await desk.settled()
        await desk.press("down", "down", "b")
        await desk.until(lambda: len(desk.machine.stops) == 1)
        address = next(iter(desk.machine.stops)).what.address
        assert any("●" in line and f"{address:x}" in line for line in desk.lines("code"))
        await desk.press("space")
        await desk.until(lambda: "breakpoint at" in desk.screen()[0])
        assert hart_of(desk.machine, desk.session.subject).pc == address
        await desk.press("colon")
        await desk.type(f"delete {address:#x}")
        await desk.press("enter")
        await desk.until(lambda: not len(desk.machine.stops))
        await desk.press("space")
        await desk.until(lambda: desk.session.view.finished, "the guest ends")
        assert "ended" in desk.screen()[0]
        await desk.press("space")
        await desk.shows("cannot go on")


async def test_run_to_an_address() -> None:
    async with opened(["hello"], running=False) as desk:
        address = desk.machine.host.vms[0].symbols.find("main")
        assert address
        await desk.press("u")
        await desk.type("main")
        await desk.press("enter")
        await desk.until(lambda: "reached main" in desk.screen()[0])
        assert hart_of(desk.machine, desk.session.subject).pc == address
        assert not len(desk.machine.stops)


async def test_edit_registers_and_csrs() -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.shows("echo>")
        await desk.pause()
        for index in (0, 1):
            desk.session.select(Subject(0, index))
            vcpu = desk.machine.host.vms[index].vcpus[0]
            await desk.press("e")
            await desk.type("a0=0x1234+1")
            await desk.press("enter")
            await desk.until(lambda vcpu=vcpu: vcpu.get_reg("x10") == 0x1235)
            await desk.settled()
            assert any("a0" in line and "1235" in line for line in desk.lines("registers"))
            await desk.press("e")
            await desk.type("vsscratch=a0<<8")
            await desk.press("enter")
            await desk.until(lambda vcpu=vcpu: vcpu.get_reg("vsscratch") == 0x123500)
            await desk.press("e")
            await desk.type("pc=0x80000000")
            await desk.press("enter")
            await desk.until(lambda vcpu=vcpu: vcpu.pc == RAM)


async def test_editing_the_csr_under_the_cursor_keeps_to_its_rules() -> None:
    async with opened(DEMONSTRATION, (200, 50)) as desk:
        await desk.pause()
        await desk.press("4")
        pane = desk.pane("csrs")
        assert isinstance(pane, CsrsPane)
        for _ in range(60):
            if pane.selected == "hedeleg":
                break
            await desk.press("down")
        await desk.press("e")
        assert desk.application.query_one("#prompt").value == "hedeleg="
        await desk.type("-1")
        await desk.press("enter")
        await desk.shows("not writable")
        stored = desk.machine.harts[0].csr("hedeleg")
        assert stored and stored != (1 << 64) - 1
        await desk.press("enter")
        await desk.until(lambda: any("STORE_PAGE" in line and "15" in line for line in desk.lines("csrs")), "fields")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("frobnicate", "no command"),
        ("setp", "did you mean"),
        ("s a0=1", "count"),
        ("step 0", "count"),
        ("step many", "count"),
        ("set a0", "NAME=VALUE"),
        ("set zero=1", "always 0"),
        ("set nosuch=1", "no register or CSR"),
        ("set a0=1/0", "division by zero"),
        ("set pc=1", "odd"),
        ("set mvendorid=1", "read-only"),
        ("break", "needs ADDRESS"),
        ("break nosuch", "unknown name"),
        ("delete 0x4", "no breakpoint"),
        ("walk", "needs ADDRESS"),
        ("walk 0 jump", "fetch, load, store"),
        ("walk 0 load XS", "M, HS, U, VS, VU"),
        ("restore nosuch.snap", "nosuch.snap"),
        ("save nowhere/x.snap", "nowhere/x.snap"),
        ("goto nowhere", "no pane"),
        ("select nobody", "nothing is called"),
        ("pause now", "no arguments"),
        ("print (1", "missing )"),
        ("x" * 300, "no command"),
    ],
)
async def test_bad_commands_are_told_in_the_bar(line: str, says: str) -> None:
    async with opened(["hello"], running=False) as desk:
        before = desk.state_hash()
        desk.application.carry_out(line)
        await desk.until(lambda: desk.application._keys.message, "a message")
        message = desk.application._keys.message
        assert "✗" in message and says in message
        assert desk.state_hash() == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("print 1+1", "0x2 = 2"),
        ("print main", "<main>"),
        ("break main", "breakpoint at"),
        ("breakpoints", "no breakpoints"),
        ("help set", "set NAME=VALUE"),
        ("help", "Escape closes"),
        ("step 5", "stepped 5"),
        ("goto walk", "Walk"),
        ("select hello", "looking at hello"),
    ],
)
async def test_commands(line: str, says: str) -> None:
    async with opened(["hello"], running=False) as desk:
        desk.application.carry_out(line)
        await desk.shows(says)


async def test_every_command_has_help_and_every_example_parses() -> None:
    from rvtui import commands

    for command in commands.COMMANDS.values():
        assert command.help and "\n" not in command.help
        for line in command.example.split("\n"):
            found, _ = commands.parse(line)
        assert found is command or line.split()[0] == command.name


async def test_the_command_bar_completes_and_remembers() -> None:
    async with opened(["hello"], running=False) as desk:
        prompt = desk.application.query_one("#prompt")
        await desk.press("colon")
        await desk.type("brea")
        await desk.press("tab")
        assert prompt.value == "break"
        await desk.press("escape")
        assert not prompt.parent.display
        await desk.press("colon")
        await desk.type("print 7*6")
        await desk.press("enter")
        await desk.shows("= 42")
        await desk.press("colon", "up")
        assert prompt.value == "print 7*6"
        await desk.press("escape")


async def test_the_palette_offers_the_commands() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.press("ctrl+p")
        await desk.shows("stop before the instruction")
        await desk.type("stops")
        await desk.pilot.pause(0.5)
        await desk.press("enter")
        await desk.shows("no breakpoints")


async def test_help_screen() -> None:
    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.press("5", "question_mark")
        await desk.shows("Disassembly (this pane)")
        await desk.press("escape")
        await desk.until(lambda: "this pane" not in desk.text())


async def test_save_and_restore_from_the_application(tmp_path: Path) -> None:
    async with opened(DEMONSTRATION) as desk:
        await desk.shows("echo>")
        await desk.press("2")
        await desk.type("before")
        await desk.press("enter")
        await desk.shows("EROFEB")
        await desk.press("ctrl+right_square_bracket")
        await desk.pause()
        saved = desk.state_hash()
        executed = desk.machine.executed
        await desk.press("S")
        assert desk.application.query_one("#prompt").value == "machine.snap"
        await desk.press("enter")
        await desk.shows("saved machine.snap")
        assert snapshots.verify(tmp_path / "machine.snap").executed == executed
        await desk.press("space")
        await desk.until(lambda: desk.machine.executed > executed)
        await desk.press("L")
        await desk.type("machine.snap")
        await desk.press("enter")
        await desk.shows("restored machine.snap")
        await desk.settled()
        assert desk.machine.executed == executed and desk.state_hash() == saved
        assert f"{executed:,} instr" in desk.screen()[0]
        await desk.shows("EROFEB")
        await desk.press("2")
        await desk.press("ctrl+right_square_bracket", "space", "2")
        await desk.type("after")
        await desk.press("enter")
        await desk.shows("RETFA")


async def test_a_snapshot_holds_no_stops(tmp_path: Path) -> None:
    async with opened(["ticker"]) as desk:
        desk.application.carry_out("break 0x80001ff0")  # nowhere that it comes
        desk.application.carry_out("until 0x80001ffe")
        await desk.until(lambda: len(desk.machine.stops) == 2)
        desk.application.carry_out("save here.snap")
        await desk.shows("saved here.snap")
        restored = snapshots.load(tmp_path / "here.snap")
        assert not len(restored.breakpoints) and not len(restored.stops)
        assert len(desk.machine.stops) == 2


async def test_saving_never_replaces_a_file_unasked(tmp_path: Path) -> None:
    (tmp_path / "kept.snap").write_bytes(b"mine")
    async with opened(["ticker"]) as desk:
        desk.application.carry_out("save kept.snap")
        await desk.shows("overwrite kept.snap")
        assert (tmp_path / "kept.snap").read_bytes() == b"mine"
        desk.application.carry_out("overwrite kept.snap")
        await desk.shows("saved kept.snap")
        assert snapshots.verify(tmp_path / "kept.snap").vms == ("ticker",)


async def test_restoring_rubbish_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.snap").write_bytes(b"rubbish" * 100)
    async with opened(DEMONSTRATION) as desk:
        machine = desk.machine
        desk.application.carry_out("restore bad.snap")
        await desk.shows("bad.snap")
        assert "✗" in desk.application._keys.message
        assert desk.machine is machine and desk.session.running


async def test_keys_that_come_all_at_once_go_where_they_belong(tmp_path: Path) -> None:
    """As a terminal hands over what was typed ahead: a command after its colon, lines after the console's digit."""

    async with opened(DEMONSTRATION, (120, 40)) as desk:
        await desk.shows("echo>")

        def burst(keys: list[str]) -> None:
            for key in keys:
                character = {"colon": ":", "space": " ", "enter": "\r"}.get(key, key if len(key) == 1 else None)
                desk.application.post_message(events.Key(key, character))

        burst(
            ["colon", *"walk", "space", *"0x80000000", "space", *"load", "space", *"VS", "enter", "2", *"abc", "enter"]
        )
        await desk.shows("CBA")
        assert any("0x80000000  load in VS" in line for line in desk.lines("walk"))
        assert desk.session.running and not list(tmp_path.iterdir())
        desk.application.post_message(events.Key("ctrl+right_square_bracket", None))
        burst(["colon"])
        desk.application.post_message(events.Paste("walk 0x80001000 load VS"))
        burst(["enter"])
        await desk.until(lambda: any("0x80001000  load in VS" in line for line in desk.lines("walk")))


async def test_a_walk_that_comes_late_leaves_the_keys_where_the_user_went() -> None:
    async with opened(DEMONSTRATION, (120, 40)) as desk:
        await desk.shows("echo>")
        desk.application.carry_out("walk 0x80000000 load VS")
        desk.application.goto("console")  # before the worker can have answered
        await desk.until(lambda: any("0x80000000  load in VS" in line for line in desk.lines("walk")))
        await desk.settled()
        assert isinstance(desk.application.focused, ConsolePane)


async def test_the_walk_is_the_harts() -> None:
    async with opened(DEMONSTRATION, (120, 40)) as desk:
        await desk.shows("echo>")
        await desk.pause()
        await desk.press("w")
        await desk.type("0x80000000 load VS")
        await desk.press("enter")
        await desk.until(lambda: any("physical" in line for line in desk.lines("walk")))
        walk = desk.ask(lambda machine: hart_of(machine, desk.session.subject).walk(RAM, Access.LOAD, Mode.VS))
        text = "\n".join(desk.lines("walk"))
        assert f"physical {walk.physical:#x}" in text and f"{len(walk.steps)} reads" in text
        for step in walk.steps:
            assert f"[{step.pte_physical:x}] {step.pte:>9x}" in text
        await desk.press("w")
        await desk.type("0x90000000 store VS")
        await desk.press("enter")
        await desk.until(lambda: any("guest-page fault" in line for line in desk.lines("walk")))
        text = "\n".join(desk.lines("walk"))
        walk = desk.ask(lambda machine: hart_of(machine, desk.session.subject).walk(0x9000_0000, Access.STORE, Mode.VS))
        assert walk.cause == 23 and f"gpa {walk.tval2 << 2:#x}" in text and "✗" in text


async def test_a_walk_through_both_stages() -> None:
    machine = machines.with_guests(["pages"])
    vcpu = machine.host.vms[0].vcpus[0]
    for _ in range(3000):
        if vcpu.get_reg("vsatp"):
            break
        machine.run(20)
    assert vcpu.get_reg("vsatp"), "the guest turned paging on"
    async with opened(machine, (120, 40), running=False) as desk:
        desk.application.carry_out("walk pc fetch VS")
        await desk.until(lambda: any("VS-stage entry" in line for line in desk.lines("walk")))
        text = "\n".join(desk.lines("walk"))
        assert "VS L2" in text and "G  L2" in text and "gpa" in text


async def test_a_walk_shows_contiguous_ranges_and_memory_types() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        desk.application.carry_out("walk 0x40003008 load VS")
        await desk.until(lambda: any("physical 0x80023008" in line for line in desk.lines("walk")))
        lines = desk.lines("walk")
        assert any("64 KiB page, NC memory" in line for line in lines)
        assert any("VS L0" in line and "DA--XWRV N NC → 0x10003008" in line for line in lines)
        assert "DA-UXWRV N → 0x80023008" in lines[-1]


async def test_the_tree_shows_contiguous_ranges_and_memory_types() -> None:
    async with opened(with_page_features(), (120, 40), running=False) as desk:
        await desk.press("6")
        await desk.settled()
        text = "\n".join(desk.lines("gstage"))
        assert "0x10000000 → 0x80020000  rwx u-ad N  64 KiB NAPOT\n" in text
        assert "0x10020000 → 0x80080000  rwx u-ad N IO  128 KiB (2 x 64 KiB NAPOT)\n" in text
        assert "0x10040000  invalid entry" in text and "0x10041000  invalid entry" in text
    async with opened(with_page_features(types=False), (120, 40), running=False) as desk:
        await desk.press("6")
        await desk.settled()
        text = "\n".join(desk.lines("gstage"))
        assert "64 KiB NAPOT" in text and "0x10020000  invalid entry" in text, "PBMTE=0 reserves types"


async def test_the_trapping_instruction_is_named() -> None:
    machine = with_page_features()
    hart = machine.harts[0]
    async with opened(machine, (120, 40), running=False) as desk:
        await desk.press("4", "z")
        for address, said in ((0x4001_0000, "transformed ld a1"), (0xC000_0000, "read of a VS-stage page-table entry")):
            hart.x[10], hart.pc, hart.mode = address - 8, RAM, Mode.VS
            await desk.press("s")
            await desk.settled()
            row = next(line for line in desk.lines("csrs") if line.strip().startswith("htinst"))
            assert said in row
        desk.application.carry_out("walk 0xc0000000 load VS")
        await desk.until(lambda: any("htinst 0x3000" in line for line in desk.lines("walk")))
        assert any("read of a VS-stage page-table entry" in line for line in desk.lines("walk"))


async def test_the_tree_is_the_tables() -> None:
    async with opened(DEMONSTRATION, (200, 50)) as desk:
        await desk.shows("echo>")
        await desk.pause()
        await desk.press("6")
        await desk.until(lambda: any("ticker" in line for line in desk.lines("gstage")))
        text = "\n".join(desk.lines("gstage"))
        for vm in desk.machine.host.vms:
            assert f"{vm.name}  VMID {vm.vmid}  Sv39x4  root {vm.tables.root:#x}" in text
            leaves = list(vm.tables.leaves())
            assert f"{leaves[0].gpa:#x} → {leaves[0].physical:#x}" in text
        rows = len(desk.lines("gstage"))
        await desk.press("enter")
        await desk.until(lambda: len(desk.lines("gstage")) < rows, "a closed tree")
        await desk.press("enter")
        await desk.until(lambda: len(desk.lines("gstage")) == rows, "an open tree")


async def test_a_guest_that_overwrites_its_g_stage_is_shown_as_it_is() -> None:
    async with opened(["hello"], running=False) as desk:
        vm = desk.machine.host.vms[0]
        vm.write(RAM, bytes(8))
        entry = vm.tables.children()[0]
        desk.machine.memory.write(entry.address, (0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))
        await desk.press("6")
        await desk.settled()
        assert "root" in "\n".join(desk.lines("gstage"))


async def test_memory_that_is_not_mapped_yet_can_be_seen() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.settled()
        assert any("_start" in line for line in desk.lines("code"))
        before = desk.state_hash()
        seen = desk.ask(lambda machine: hart_of(machine, desk.session.subject).read_virtual(RAM + 4090, 12))
        assert seen == desk.machine.host.vms[0].memory.read(RAM + 4090, 12)
        assert desk.state_hash() == before, "looking mapped nothing"


async def test_exits_have_kvms_names_and_counts() -> None:
    async with opened(["exits"]) as desk:
        await desk.until(lambda: desk.session.view.finished)
        await desk.press("8")
        await desk.until(lambda: desk.lines("exits"))
        text = "\n".join(desk.lines("exits"))
        vm = desk.machine.host.vms[0]
        assert f"{sum(vm.exits.values()):,} in all" in text
        for name, times in vm.exits.items():
            assert any(name in line and f"{times:,}" in line for line in desk.lines("exits")), name


async def test_the_bare_machine_shows_modes_traps_and_events() -> None:
    machine, _, _ = machines.bare("tiny-hypervisor", memory=64 << 20, harts=1, dtb=None)
    async with opened(machine, (120, 40)) as desk:
        await desk.until(lambda: desk.session.view.finished)
        await desk.shows("guest 2 switched itself off")
        await desk.press("9")
        await desk.until(lambda: any("hgatp" in line for line in desk.lines("events")))
        await desk.press("8")
        await desk.until(lambda: any("environment call from VS" in line for line in desk.lines("exits")))
        row = next(line for line in desk.lines("vms") if "M " in line and "%" in line)
        assert "VS" in row and "%" in row


@pytest.mark.parametrize("size", [(40, 10), (1, 1), (79, 24), (80, 23), (5, 60)])
async def test_a_terminal_that_is_too_small(size: tuple[int, int]) -> None:
    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.shows("echo>")
        await desk.pilot.resize_terminal(*size)
        await desk.pilot.pause()
        if size[0] >= 40 and size[1] >= 10:
            await desk.shows(f"terminal too small ({size[0]}x{size[1]})")
            await desk.shows("rvtui needs 80x24")
        await desk.press("s", "5", "colon", "escape", "z", "question_mark", "escape")
        await desk.pilot.resize_terminal(120, 40)
        await desk.shows("VMs and harts")


async def test_starting_too_small() -> None:
    async with opened(DEMONSTRATION, (40, 10)) as desk:
        await desk.shows("rvtui needs 80x24")
        await desk.press("q")


async def test_panes_stand_where_the_plan_says() -> None:
    from textual.geometry import Size

    from rvtui.layout import arrange

    for _ in range(6):
        async with opened(DEMONSTRATION, (140, 30)) as desk:
            await desk.shows("echo>")
            await desk.until(lambda: len(desk.lines("vms")) == 4)
            places = arrange(Size(140, 28), "console", None, 6, 2)
            for name, place in places.items():
                await desk.until(lambda name=name, place=place: desk.pane(name).region == place.translate((0, 1)), name)


async def test_a_resize_storm() -> None:
    async with opened(DEMONSTRATION, (200, 50)) as desk:
        await desk.shows("echo>")
        for step in range(60):
            await desk.pilot.resize_terminal(20 + step * 37 % 230, 5 + step * 17 % 70)
        await desk.pilot.resize_terminal(120, 40)
        await desk.shows("VMs and harts")
        await desk.shows("echo>")
        assert all(len(row) == 120 for row in desk.screen())


async def test_a_guest_that_floods_its_console(guest: Callable[[bytes], Path]) -> None:
    async with opened([str(guest(FLOOD))], (80, 24)) as desk:
        await desk.shows("xxxxxxxxxx")
        started = time.monotonic()
        await desk.press("space")
        await desk.until(lambda: not desk.session.running, timeout=5)
        assert time.monotonic() - started < 2
        assert max(desk.session._pending.values()) < 1 << 20


async def test_a_guest_that_is_stopped_is_told_with_its_reason(guest: Callable[[bytes], Path]) -> None:
    from desk import elf, lui

    broken = guest(elf([lui(5, 0x10), 0x00028067]), "broken.elf")
    async with opened([str(broken), "ticker"], (120, 40)) as desk:
        await desk.until(lambda: desk.machine.host.vms[0].stopped)
        await desk.until(lambda: any("broken" in line and "■" in line for line in desk.lines("vms")))
        before = desk.machine.host.vms[1].instructions
        await desk.until(lambda: desk.machine.host.vms[1].instructions > before, "the other runs on")


async def test_idle_guests_leave_the_host_alone() -> None:
    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.shows("echo>")
        clock, started = desk.machine.clock, time.monotonic()
        used = time.process_time()
        await asyncio.sleep(2)
        passed = time.monotonic() - started
        assert 0 < (desk.machine.clock - clock) / 1e9 / passed < 1.5, "guest time does not run ahead of the wall's"
        assert (time.process_time() - used) / passed < 0.5


async def test_a_fault_of_ours_in_the_machine_is_told_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(["hello"], running=False) as desk:

        def broken(*_: object) -> None:
            raise RuntimeError("out of order")

        monkeypatch.setattr(desk.machine, "resume", broken)
        await desk.press("space")
        await desk.shows("internal error, RuntimeError: out of order")
        await desk.press("5")


async def test_no_colour_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(DEMONSTRATION, (80, 24)) as desk:
        await desk.shows("echo>")
        assert desk.application.no_color
        strips = desk.application.screen._compositor.render_strips()
        colours = {
            segment.style.color for strip in strips for segment in strip if segment.style and segment.style.color
        }
        assert all(not colour.triplet or len(set(colour.triplet)) == 1 for colour in colours), "greys only"


async def test_closing_in_the_middle_of_everything() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async with opened(DEMONSTRATION, (120, 40)) as desk:
            await desk.shows("echo>")
            for _ in range(20):
                desk.session.toggle()
                desk.application.carry_out("step 50")
            await desk.press("q")
    assert not desk.session._thread.is_alive()


async def test_what_the_machine_warns_of_is_said_below() -> None:
    async with opened(["ticker"]) as desk:
        desk.machine.warnings.append("drive d.img: no space left on device; the guest sees errors")
        await desk.shows("✗ drive d.img: no space left on device")
        assert not desk.machine.warnings and desk.session.running
