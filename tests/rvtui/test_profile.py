"""Profiles: what is counted, against what the program is known to do; and that nothing changes by it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import ECALL, FLOOD, RAM, SPIN, elf, failed, jump, li, lui, opened, run

import snapshots
from emulator.hart import ExitReason, Mode
from emulator.loader import Symbol, Symbols, parse_elf
from emulator.machine import Machine
from rvtui import machines, profile
from rvtui.profile import Profile, profiling

Guest = Callable[..., Path]


def unless_equal(a: int, b: int, offset: int) -> int:
    """bne."""
    bits = offset & 0x1FFF
    return (
        (bits >> 12 & 1) << 31 | (bits >> 5 & 0x3F) << 25 | b << 20 | a << 15 | 1 << 12
        | (bits >> 1 & 15) << 8 | (bits >> 11 & 1) << 7 | 0x63
    )  # fmt: skip


def turns(pages: int) -> list[int]:
    """A loop of `pages` times 4096 turns, of two instructions each."""
    return [lui(5, pages), 0xFFF2_8293, unless_equal(5, 0, -4)]


WRITES = 7
WORK = elf(
    [*turns(30), *turns(10), lui(6, 0x10000), *[li(7, 65), 0x0073_0023] * WRITES, *[li(17, 5), ECALL] * 3,
     lui(5, 0x100), lui(6, 0x5), 0x5553_0313, 0x0062_A023, jump(0)],
    symbols={"long": RAM, "short": RAM + 12, "rest": RAM + 24},
)  # fmt: skip
"""Loops of 30 and 10 parts; writes to the UART at 0x1000_0000; then three ECALLs to where mtvec points, and the end."""


def work() -> Machine:
    """`WORK` in M-mode; traps go on behind the ECALL, by a handler in RAM."""
    machine = Machine(memory=4 << 20)
    machine.load(parse_elf(WORK, "work"))
    handler = (0x3410_2E73, 0x004E_0E13, 0x341E_1073, 0x3020_0073)  # mepc += 4, by t3; mret
    machine.memory.write(RAM + 0x1000, b"".join(word.to_bytes(4, "little") for word in handler))
    machine.boot(RAM)
    machine.harts[0].set_csr("mtvec", RAM + 0x1000)
    return machine


def finish(machine: Machine, chunk: int) -> None:
    while machine.run(chunk).reason is ExitReason.BUDGET:
        pass


def profiled(machine: Machine, chunk: int = 1 << 40, symbols: Symbols | None = None) -> dict[str, Any]:
    of = Profile(machine, symbols)
    finish(machine, chunk)
    of.end()
    return of.told()


def test_what_a_program_does_is_counted() -> None:
    told = profiled(work())
    # ECALL itself does not retire; the handler has four instructions.
    retired = (1 + 2 * 30 * 4096) + (1 + 2 * 10 * 4096) + 1 + 2 * WRITES + 3 * (1 + 4) + 4
    assert told["retired"] == {"M": retired, "HS": 0, "U": 0, "VS": 0, "VU": 0}
    assert told["executed"] == retired + 3
    (trap,) = told["traps"]
    assert trap == {"mode": "M", "cause": 11, "interrupt": False, "name": trap["name"], "count": 3}
    assert told["devices"] == [
        {"name": "uart", "reads": 0, "writes": WRITES},
        {"name": "finisher", "reads": 0, "writes": 1},
    ]
    assert told["exits"] == {"halted": 1}
    steps = {row["symbol"]: row["steps"] for row in told["symbols"]}
    assert abs(steps["long"] / sum(steps.values()) - 3 / 4) < 0.02
    assert abs(steps["short"] / sum(steps.values()) - 1 / 4) < 0.02
    assert 0 <= told["executed"] - sum(steps.values()) < 2 * told["executed"] // profile.PART + profile.LEAST
    wall = told["wall"]
    parts = [wall["native"], wall["host"], wall["loop"], wall["outside"], *wall["devices"].values()]
    assert all(part >= 0 for part in parts) and abs(sum(parts) - wall["all"]) < 1e-6


def bundled(names: list[str]) -> Machine:
    return machines.with_guests(names, vcpus=2)


def bare() -> Machine:
    return machines.bare("tiny-hypervisor", memory=128 << 20, harts=2, dtb=None)[0]


@pytest.mark.parametrize("make", [work, lambda: bundled(["exits", "pages"]), bare])
def test_the_machine_is_the_same_and_so_is_the_profile(make: Callable[[], Machine]) -> None:
    plain, whole, cut = make(), make(), make()
    limit = 3_000_000
    for machine in (plain, whole, cut):
        machine.run(777)
        machine.run(1 << 40, machine.reached + 5_555)
    profiles = Profile(whole), Profile(cut)
    start, until = plain.executed, plain.reached + 1_234_567
    plain.run(limit, until)
    whole.run(limit, until)
    while cut.executed < min(start + limit, whole.executed) and cut.halted is None:
        cut.run(min(4_321, start + limit - cut.executed), until)
    told = []
    for of in profiles:
        of.end()
        told.append({name: value for name, value in of.told().items() if name not in ("wall", "exits")})
    assert told[0] == told[1]
    assert told[0]["samples"] > 50
    assert plain.state_hash() == whole.state_hash() == cut.state_hash()


def test_a_profile_leaves_nothing_behind() -> None:
    machine = bundled(["hello"])
    owners = (machine, machine.host, *(device for _, device in machine.bus), *(d for _, d in machine.host.vms[0].bus))  # type: ignore[union-attr]
    before = [{name for name, value in vars(each).items() if callable(value)} for each in owners]
    enter = machine.enter
    of = Profile(machine)
    assert machine.enter is not enter and "run" in vars(machine)
    of.end()
    assert [{name for name, value in vars(each).items() if callable(value)} for each in owners] == before
    assert machine.enter is enter


def test_guests_have_their_names_exits_and_calls() -> None:
    machine = bundled(["exits"])
    vm = machine.host.vms[0]  # type: ignore[union-attr]
    told = profiled(machine)
    (guest,) = told["guests"]
    assert guest["name"] == "exits" and guest["instructions"] == vm.instructions > 0
    assert guest["exits"] == dict(vm.exits) and guest["sbi"] == dict(vm.calls)
    assert told["entries"] >= sum(vm.exits.values())
    assert {(row["mode"], row["guest"]) for row in told["symbols"]} <= {("VS", "exits"), ("VU", "exits")}
    assert {row["symbol"] for row in told["symbols"]} & {"print", "put"}
    assert [row["name"] for row in told["devices"]] == ["exits: uart"]


def test_guests_that_a_hypervisor_inside_runs_have_their_vmid() -> None:
    machine = bare()
    of = Profile(machine, Symbols([Symbol(RAM, 1 << 30, "everything")]))
    machine.run(2_000_000)
    of.end()
    told = of.told()
    assert [(g["name"], g["instructions"], g["exits"]) for g in told["guests"]] == [
        (guest.name, guest.instructions, dict(guest.exits)) for guest in machine.guests
    ]
    assert told["entries"] == sum(guest.entries for guest in machine.guests) > 10
    rows = {(row["mode"], row["guest"], row["symbol"]) for row in told["symbols"]}
    assert ("VS", "VMID 1", "everything") in rows
    assert all((guest is not None) == mode.startswith("V") for mode, guest, _ in rows)
    # Its own ELF file counts first.
    assert any(mode in ("M", "HS") and symbol != "everything" for mode, _, symbol in rows)


def test_names_that_a_guest_could_make_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MOST_NAMES", 1)
    told = profiled(work())
    assert {row["symbol"] for row in told["symbols"]} == {"long", profile.OTHERS}


def test_addresses_without_a_name_stand_for_their_page() -> None:
    machine = work()
    machine.symbols = Symbols()
    assert {row["symbol"] for row in profiled(machine)["symbols"]} == {"0x80000000..0x80000fff"}


def test_a_profile_begins_where_it_begins() -> None:
    machine = work()
    machine.run(4096)
    told = profiled(machine)
    assert told["executed"] == machine.executed - 4096
    assert told["retired"]["M"] == machine.harts[0].retired[Mode.M] - 4096


def test_each_form(guest: Guest, tmp_path: Path) -> None:
    machine = work()
    machine.symbols = Symbols([Symbol(RAM, 12, "a;b\n c"), Symbol(RAM + 12, 12, "plain")])
    of = Profile(machine)
    finish(machine, 1 << 40)
    of.end()
    told = of.told()
    assert json.loads(profile.as_json(told)) == told
    lines = profile.folded(told).splitlines()
    assert all(re.fullmatch(r"\S+ [1-9]\d*", line) for line in lines)
    stacks = dict(line.split(" ") for line in lines)
    assert int(stacks["M;plain"]) == {row["symbol"]: row["steps"] for row in told["symbols"]}["plain"]
    assert len([stack for stack in stacks if stack.count(";") == 1]) == len(lines)
    text = profile.table(told)
    assert f"{told['retired']['M']:,} instructions retired" in text
    assert re.search(r"3 +100\.0% +M environment call", text)
    assert f"uart ({WRITES})" in text


@pytest.mark.parametrize("name", ["p.json", "p.folded", "p.txt", "-"])
def test_from_the_command_line(guest: Guest, tmp_path: Path, name: str) -> None:
    done = run("run", "--headless", "--profile", name, "hello")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode() if name == "-" else (tmp_path / name).read_text()
    assert "hello" in text
    if name == "p.json":
        assert json.loads(text)["guests"][0]["name"] == "hello"
    elif name == "p.folded":
        assert all(line.startswith("V") for line in text.splitlines())
    else:
        assert "instructions by mode" in text


def test_symbols_come_from_maps_and_elf_files(guest: Guest, tmp_path: Path) -> None:
    raw = guest(b"".join(word.to_bytes(4, "little") for word in [*turns(9), lui(5, 0x100), lui(6, 0x5), 0x5553_0313,
                                                                0x0062_A023, jump(0)]), "raw.bin")  # fmt: skip
    Path("System.map").write_text("80000000 T looping\n80001000 T after\n")
    other = guest(elf([0], symbols={"never": RAM}), "other.elf")
    run("run", "--headless", "--bare", raw, "--profile", "p.json", "--symbols", f"System.map,{other}")
    assert [row["symbol"] for row in json.loads(Path("p.json").read_text())["symbols"]] == ["looping"]
    run("run", "--headless", "--bare", raw, "--profile", "p.json", "--symbols", other)
    assert [row["symbol"] for row in json.loads(Path("p.json").read_text())["symbols"]] == ["never"]


def test_what_the_user_gets_wrong_is_said_before_the_run(guest: Guest) -> None:
    spin = guest(SPIN)  # would never end
    assert "no directory" in failed("run", "--headless", "--bare", spin, "--profile", "there/is/none.json")
    assert "x: No such file" in failed("run", "--headless", "--bare", spin, "--symbols", "x")
    assert "nothing.map" in failed("run", "--headless", "--bare", spin, "--profile", "p", "--symbols", "nothing.map")


def test_interrupting_writes_what_there_is(guest: Guest, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rvtui", "run", "--headless", str(guest(FLOOD)), "--profile", "p.json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None and process.stdout.read(1) == b"x"  # it runs
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(30) == 130
        finally:
            process.kill()
    assert json.loads((tmp_path / "p.json").read_text())["executed"] > 0


def test_a_restored_machine_is_profiled_from_there(tmp_path: Path) -> None:
    machine = work()
    machine.run(100_000)
    snapshots.save(machine, tmp_path / "s.rvtui")
    run("snapshot", "restore", "--headless", "s.rvtui", "--profile", "p.json")
    finish(machine, 1 << 40)
    assert json.loads((tmp_path / "p.json").read_text())["executed"] == machine.executed - 100_000


async def test_the_application_is_profiled_too(tmp_path: Path) -> None:
    machine = machines.with_guests(["ticker"])
    with profiling(machine, str(tmp_path / "p.json")):
        async with opened(machine) as desk:
            await desk.until(lambda: machine.executed > 100_000, "the guest runs")
    told = json.loads((tmp_path / "p.json").read_text())
    assert told["samples"] > 0 and told["guests"][0]["name"] == "ticker"
