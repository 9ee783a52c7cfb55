"""The stub for GDB, by a client that speaks the protocol of GDB's manual."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from debugger import RAM, SECONDS, Client, counting, le, served, words
from desk import NOP, SLEEP, WFI, Desk, elf, failed, jump, opened, with_page_features

import snapshots
from emulator.errors import ConfigurationError
from emulator.hart import ExitReason, Mode
from emulator.machine import Machine
from rvtui import machines
from rvtui.gdb import Listener, stub
from rvtui.gdb.description import describe

PRIV, VIRT = 4161, 4162
COUNT, STORE, LOAD, LOOP = (RAM + 4 * at for at in range(4))
"""The instructions of `counting`."""
CELL = RAM + 0x1000

# Coming and going.


def test_gdb_is_told_what_it_may_ask() -> None:
    with served(counting()) as bench:
        client = bench.client(features="multiprocess+;swbreak+")
        assert {"QStartNoAckMode+", "qXfer:features:read+", "swbreak+", "multiprocess+"} <= {*client.features}
        size = next(each for each in client.features if each.startswith("PacketSize="))
        assert int(size.partition("=")[2], 16) >= 0x1000
        assert client.ask("vCont?").split(";")[1:] == ["c", "C", "s", "S", "r"]
        assert client.ask("vMustReplyEmpty") == client.ask("qUnknown:1") == client.ask("~") == ""
        assert client.ask("qAttached") == "1"
        assert "multiprocess+" not in bench.client(features="") .features


@pytest.mark.parametrize("running", [True, False])
def test_the_machine_stands_for_a_debugger_and_then_does_what_it_did(running: bool) -> None:
    with served(counting(), running=running) as bench:
        client = bench.client()
        assert bench.session.running is running  # a connection alone stops nothing
        assert client.attach()["thread"] == "1"
        assert not bench.session.running
        client.ok("D")
        assert bench.ask(lambda machine: bench.session.running) is running


def test_a_machine_that_the_debugger_let_run_goes_on_when_it_leaves() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z0,{LOOP:x},4")
        assert client.go()["pc"] == hex(LOOP)
        client.ok("D")
        assert bench.ask(lambda machine: (bench.session.running, list(machine.breakpoints))) == (True, [])


def test_a_debugger_that_is_lost_leaves_the_machine_as_it_is() -> None:
    with served(counting(), running=True) as bench:
        client = bench.attached()
        client.ok(f"Z1,{LOOP:x},4")
        client.go()
        client.close()
        bench.settled()
        assert not bench.session.running and bench.server.abandoned
        assert bench.ask(lambda machine: list(machine.breakpoints)) == []
        again = bench.attached()
        again.send("vCont;c")
        again.close()
        bench.settled()
        assert bench.session.running
        last = bench.attached()
        last.ok("D")
        assert bench.ask(lambda machine: bench.session.running)


def test_what_a_lost_debugger_stopped_the_next_one_sets_going_as_it_leaves() -> None:
    with served(counting(), running=True) as bench:
        client = bench.attached()
        client.send("vCont;c")
        client.socket.sendall(b"\x03")
        client.receive()
        client.close()
        bench.settled()
        assert not bench.session.running
        client = bench.client()
        client.ok("D")  # without having asked how it stands
        assert bench.ask(lambda machine: (bench.session.running, bench.server.abandoned)) == (True, False)


def test_only_one_debugger_at_a_time_and_the_second_is_told() -> None:
    with served(counting()) as bench:
        first = bench.attached()
        second = Client(bench.server.listener.port, features="")
        assert second.byte() == b"+"
        assert "another debugger is connected" in second.receive()
        with pytest.raises(EOFError):
            second.byte()
        second.close()
        assert words(first.ask("g").encode())[32] == RAM
        first.close()
        bench.settled()
        assert bench.attached().register(32) == RAM


# Registers and memory.


def test_registers_are_read_and_written_all_at_once_and_one_by_one() -> None:
    with served(counting()) as bench:
        client, hart = bench.attached(), bench.machine.harts[0]
        values = [0, *(0x1111_1111_1111_1111 * (n % 15) + n for n in range(1, 32)), RAM + 8]
        client.ok("G" + "".join(map(le, values)))
        assert [*hart.x, hart.pc] == values == words(client.ask("g").encode())
        client.ok(f"P5={le(0xABC)}")
        assert (hart.x[5], client.register(5)) == (0xABC, 0xABC)
        client.ok(f"P{33 + 10:x}={le(0x3FF8_0000_0000_0000)}")  # fa0
        assert hart.f[10] == 0x3FF8_0000_0000_0000
        client.ok(f"P{65 + 0x340:x}={le(0x1234)}")  # mscratch
        assert hart.csr("mscratch") == 0x1234 == client.register(65 + 0x340)
        client.ok(f"P0={le(7)}")
        assert client.register(0) == 0
        hart.set_csr("fcsr", 0x5F)
        assert client.ask(f"p{65 + 3:x}") == le(0x5F, 4)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("P5=00", "8 bytes, not 1"), ("P5", "8 bytes, not 0"), ("p10000", "no register"), ("px", "no hexadecimal"),
        ("G00", "1 bytes"), ("G" + "00" * 8 * 34, "272 bytes"), ("Gzz", "hexadecimal"),
        (f"P{65 + 0xF14:x}={le(1)}", "read-only"), (f"P{PRIV:x}={le(2)}", "priv is 0, 1 or 3"),
        (f"P{VIRT:x}={le(1)}", "not with 3"), ("m10", "ADDRESS,LENGTH"), ("m0,10", "refused by PMP, or nothing"),
        ("m80000000,", "no hexadecimal"), ("M80000000,2:00", "1 bytes of data for 2"), ("X80000000,3:ab", "2 bytes"),
        ("M80000000,2", "ADDRESS,LENGTH"), ("m10000000,1", "no memory"), ("Mfffffffff,1:00", "nothing"),
        ("Z7,0,4", "kind"), ("Z2,80000000,0", "0 bytes"), ("Z2,80000000,ffffffff", "1 to 4096"),
        ("Z2,0,8", "nothing"), ("Z0", "hexadecimal"), ("Z0,", "hexadecimal"), ("Hg9", "no such thread"),
        ("T9", "no such thread"), ("vCont", "nothing to do"), ("vCont;x", "no action"), ("vCont;s:9", "no such thread"),
        ("vCont;r1:1", "hexadecimal"), ("vAttach;7", "no process 7"), ("qXfer:features:read:x.xml:0,10", "target.xml"),
        ("qXfer:features:read:target.xml:0", "OFFSET,LENGTH"), ("qRcmd,zz", "hexadecimal"), ("cx", "hexadecimal"),
        ("D;x", "hexadecimal"), ("qThreadExtraInfo,9", "no such thread"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_the_reason_and_changes_nothing(question: str, why: str) -> None:
    with served(counting()) as bench:
        client = bench.attached()
        before = bench.state_hash()
        answer = client.ask(question)
        assert answer.startswith("E.") and why in answer, answer
        assert bench.state_hash() == before
        plain = bench.session.debugger
        assert plain is not None and client.register(32) == RAM


def test_a_debugger_that_knows_no_messages_gets_a_number() -> None:
    with served(counting()) as bench:
        assert bench.client(features="swbreak+").ask("p10000") == "E01"


def test_memory_is_that_of_the_thread_that_was_chosen() -> None:
    """In VS-mode 0x4000_0000 is guest-physical 0x1000_0000, and that is RAM + 0x2_0000: where N=1, the low four bits of
    PPN are those of the page ("Svnapot")."""
    machine = with_page_features()
    machine.memory.write(RAM + 0x2_0010, b"through two stages")
    with served(machine) as bench:
        client = bench.attached()
        assert client.read(0x4000_0010, 18) == b"through two stages"
        client.ok("M40000010,4:" + b"THRO".hex())
        client.ok(b"X40000014,3:" + b"}\x03}\x04}\x0a")
        assert machine.memory.read(RAM + 0x2_0010, 8) == b"THRO#$* "
        # As much as there is: the sixteen pages end at 0x4001_0000.
        assert len(client.read(0x4000_F000, 0x1800)) == 0x1000
        assert "physical" in client.monitor("space physical")
        assert client.read(RAM + 0x2_0010, 4) == b"THRO"
        client.monitor("space guest-physical")
        assert client.read(0x1000_0010, 4) == b"THRO"
        assert "virtual" in client.monitor("space virtual")
        assert client.read(0x4000_0010, 4) == b"THRO"
        assert "one of virtual, physical" in client.ask("qRcmd," + b"space other".hex())


def test_memory_of_a_page_that_the_mode_may_not_touch_is_read_all_the_same() -> None:
    """A user page, from the supervisor without SUM; a debugger is not the program."""
    machine = with_page_features()
    leaf = RAM + 0x5_2000
    machine.memory.write_int(leaf, 8, machine.memory.read_int(leaf, 8) | 1 << 4)
    machine.memory.write(RAM + 0x2_0010, b"user")
    machine.harts[0].flush_translation()
    with served(machine) as bench:
        assert bench.attached().read(0x4000_0010, 4) == b"user"


# Stops.


@pytest.mark.parametrize(("kind", "name"), [(0, "swbreak"), (1, "hwbreak")])
def test_a_breakpoint_stops_before_its_instruction_and_patches_nothing(kind: int, name: str) -> None:
    with served(counting()) as bench:
        client = bench.attached()
        code = client.read(RAM, 16)
        client.ok(f"Z{kind},{LOAD:x},4")
        assert client.read(RAM, 16) == code
        stop = client.go()
        assert (stop["signal"], stop["pc"], stop["thread"], name in stop) == ("05", hex(LOAD), "1", True)
        assert bench.machine.harts[0].x[5] == 1
        # As GDB goes on from one: without it for a step.
        client.ok(f"z{kind},{LOAD:x},4")
        assert client.go("vCont;s:1")["pc"] == hex(LOOP)
        client.ok(f"Z{kind},{LOAD:x},4")
        client.go()
        assert bench.machine.harts[0].x[5] == 2
        client.ok(f"z{kind},{LOAD:x},4")
        client.ok(f"z{kind},{LOAD:x},4")
        client.ok(f"Z0,{LOOP:x},4")
        assert client.go()["pc"] == hex(LOOP)


def test_a_breakpoint_where_pc_was_put_stops_at_once() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"P20={le(LOAD)}")
        client.ok(f"Z0,{LOAD:x},4")
        assert (client.go()["pc"], bench.machine.harts[0].x[5]) == (hex(LOAD), 0)


def test_breakpoints_of_the_user_stay_and_stop_gdb_too() -> None:
    with served(counting()) as bench:
        bench.session.toggle_breakpoint(LOAD).result(SECONDS)
        client = bench.attached()
        client.ok(f"Z0,{LOAD:x},4")
        client.ok(f"z0,{LOAD:x},4")
        stop = client.go()
        assert (stop["pc"], "swbreak" in stop) == (hex(LOAD), False)
        assert client.go()["pc"] == hex(LOAD)  # goes on from one that GDB does not know of
        assert bench.machine.harts[0].x[5] == 2
        client.ok("D")
        assert bench.ask(lambda machine: [stop.what.address for stop in machine.stops]) == [LOAD]  # type: ignore[union-attr]


def test_a_breakpoint_that_was_there_before_gdb_stays() -> None:
    with served(counting()) as bench:
        bench.ask(lambda machine: machine.breakpoints.add(LOAD))
        client = bench.attached()
        client.ok(f"Z0,{LOAD:x},4")
        client.ok(f"z0,{LOAD:x},4")
        assert bench.ask(lambda machine: list(machine.breakpoints)) == [LOAD]
        client.ok(f"Z0,{LOAD:x},4")
        client.ok("D")
        assert bench.ask(lambda machine: list(machine.breakpoints)) == [LOAD]


def test_what_the_user_removes_is_the_users_alone() -> None:
    """GDB believes its breakpoints to be set until it takes them away."""
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z0,{LOAD:x},4")
        listed = client.monitor("stops")
        assert f"{LOAD:#x}: GDB's" in listed
        assert "but GDB's" in client.monitor(f"delete {LOAD:#x}")
        client.monitor("delete")
        assert bench.session.toggle_breakpoint(LOAD).result(SECONDS)  # one of the user's as well
        assert not bench.session.toggle_breakpoint(LOAD).result(SECONDS)
        assert "swbreak" in client.go()
        # One that was there before: removed, it stays for GDB, and goes with GDB's.
        bench.ask(lambda machine: machine.breakpoints.add(LOOP))
        client.ok(f"Z0,{LOOP:x},4")
        assert "removed" in client.monitor(f"delete {LOOP:#x}")
        assert "swbreak" in client.go("vCont;c")
        client.ok(f"z0,{LOOP:x},4")
        client.ok(f"z0,{LOAD:x},4")
        assert bench.ask(lambda machine: list(machine.breakpoints)) == []


@pytest.mark.parametrize(
    ("kind", "address", "said", "behind"),
    [(2, CELL, "watch", LOAD), (3, CELL + 8, "rwatch", LOOP), (4, CELL, "awatch", LOAD), (4, CELL + 8, "awatch", LOOP)],
)
def test_watchpoints_stop_behind_what_touches_and_say_where(kind: int, address: int, said: str, behind: int) -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z{kind},{address:x},8")
        stop = client.go()
        assert (stop["pc"], int(stop[said], 16), stop["signal"]) == (hex(behind), address, "05")
        client.ok(f"z{kind},{address:x},8")
        client.ok(f"Z0,{LOOP:x},4")
        assert "swbreak" in client.go()
        assert bench.ask(lambda machine: machine.watches) == []


def test_a_watchpoint_of_writes_does_not_mind_reads_and_the_other_way_round() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z2,{CELL + 8:x},8")
        client.ok(f"Z3,{CELL:x},8")
        client.ok(f"Z0,{LOOP:x},4")
        assert "swbreak" in client.go()


def test_of_two_watchpoints_the_one_whose_kind_of_access_it_was_is_told() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z3,{CELL:x},8")
        client.ok(f"Z2,{CELL:x},8")
        stop = client.go()
        assert "watch" in stop and "rwatch" not in stop
        client.ok(f"z2,{CELL:x},8")
        client.ok(f"Z2,{CELL + 8:x},8")
        client.ok(f"Z3,{CELL + 8:x},8")
        stop = client.go()
        assert "rwatch" in stop and "watch" not in stop


def test_a_watchpoint_is_at_the_address_that_the_program_uses() -> None:
    machine = with_page_features()  # ld a1, 8(a0), in VS-mode
    machine.harts[0].x[10] = 0x4000_0020
    with served(machine) as bench:
        client = bench.attached()
        client.ok("Z3,40000029,2")
        assert bench.ask(lambda machine: machine.watches) == [(RAM + 0x2_0029, 2, 1)]
        assert int(client.go()["rwatch"], 16) == 0x4000_0029


def test_watches_of_the_user_are_as_they_were() -> None:
    with served(counting()) as bench:
        bench.ask(lambda machine: machine.watch(CELL, 8, 1))
        client = bench.attached()
        client.ok(f"Z2,{CELL:x},8")
        client.ok(f"Z4,{CELL:x},8")
        assert bench.ask(lambda machine: machine.watches) == [(CELL, 8, 3)]
        client.ok(f"z4,{CELL:x},8")
        client.ok("D")
        assert bench.ask(lambda machine: machine.watches) == [(CELL, 8, 1)]


def test_too_many_are_refused() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        answers = [client.ask(f"Z0,{RAM + 0x2000 + 2 * n:x},4") for n in range(257)]
        assert answers[:256] == ["OK"] * 256 and "256 breakpoints" in answers[256]
        answers = [client.ask(f"Z2,{CELL + n:x},1") for n in range(65)]
        assert answers[:64] == ["OK"] * 64 and "64 watches" in answers[64]
        client.ok("D")
        assert bench.ask(lambda machine: (list(machine.breakpoints), machine.watches)) == ([], [])


def test_steps_are_one_instruction_and_ranges_end_behind_them() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        for how in ("s", "vCont;s", "vCont;S05:1", "vCont;s:1;c"):
            before = bench.machine.executed
            assert client.go(how)["signal"] == "05"
            assert bench.machine.executed == before + 1
        assert client.go(f"vCont;r{COUNT:x},{LOOP:x}:1")["pc"] == hex(LOOP)
        # A loop that never leaves its range comes back all the same; a breakpoint inside ends it.
        assert client.go(f"vCont;r{COUNT:x},{LOOP + 4:x}:1")["signal"] == "05"
        client.ok(f"P20={le(COUNT)}")
        client.ok(f"Z0,{LOAD:x},4")
        assert client.go(f"vCont;r{COUNT:x},{LOOP + 4:x}:1")["pc"] == hex(LOAD)


def test_old_ways_to_resume() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.ok(f"Z0,{LOAD:x},4")
        assert client.go(f"c{COUNT:x}")["pc"] == hex(LOAD)
        assert client.go(f"s{COUNT:x}")["pc"] == hex(STORE)
        assert client.go(f"S05;{COUNT:x}")["pc"] == hex(STORE)
        assert client.go("C02")["pc"] == hex(LOAD)


def test_control_c_stops_and_when_nothing_runs_means_nothing() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.socket.sendall(b"\x03\x03")
        client.send("vCont;c")
        client.socket.sendall(b"\x03")
        stop = client.stop()
        assert (stop["kind"], stop["signal"], stop["text"]) == ("T", "02", "")
        assert not bench.session.running


# Threads.


def test_harts_are_threads_and_each_is_stepped_alone() -> None:
    with served(counting(harts=3)) as bench:
        client, machine = bench.attached(), bench.machine
        assert client.ask("qfThreadInfo") == "m1,2,3" and client.ask("qsThreadInfo") == "l"
        listed = client.ask("qXfer:threads:read::0,1000")
        assert '<thread id="2" core="1" name="hart 1">M</thread>' in listed
        assert bytes.fromhex(client.ask("qThreadExtraInfo,3")).decode() == "hart 2: M"
        for number in (2, 3, 1, 2):
            progress = machine.harts[number - 1].instret
            assert client.go(f"vCont;s:{number}")["thread"] == str(number)
            assert machine.harts[number - 1].instret == progress + 1
        client.ok("Hg3")
        assert words(client.ask("g").encode())[10] == CELL + 0x200
        client.ok("Hg1")
        assert words(client.ask("g").encode())[10] == CELL


def test_a_breakpoint_says_which_hart_has_come_to_it() -> None:
    machine = counting(harts=2)
    machine.memory.write_int(RAM + 0x100, 4, WFI)
    machine.harts[0].pc = RAM + 0x100
    with served(machine) as bench:
        client = bench.attached()
        client.ok(f"Z0,{LOAD:x},4")
        stop = client.go()
        assert (stop["thread"], stop["pc"]) == ("2", hex(LOAD))
        assert client.register(10) == CELL + 0x100  # the thread that stopped is the chosen one
        # Hart 0 waits, so that a step of it never ends: the other one runs on meanwhile, to its breakpoint.
        assert machine.harts[0].waiting
        stop = client.go("vCont;s:1;c")
        assert (stop["thread"], stop["pc"], "swbreak" in stop) == ("2", hex(LOAD), True)
        assert machine.harts[1].x[5] == 2


def vms(*names: str) -> Machine:
    return machines.with_guests(list(names))


def test_virtual_cpus_are_threads_of_one_process() -> None:
    with served(vms("hello", "pages")) as bench:
        client = bench.attached(features="multiprocess+;error-message+")
        assert client.ask("qfThreadInfo") == "mp1.1,p1.2"
        listed = client.ask("qXfer:threads:read::0,1000")
        assert '<thread id="p1.2" core="0" name="pages/0">VS, VM pages, ready</thread>' in listed
        assert client.ask("qC") == "QCp1.1"
        client.ok("Hgp1.2")
        assert client.register(32) == RAM
        client.ok(f"P5={le(99)}")
        assert bench.ask(lambda machine: [vm.vcpus[0].get_reg("x5") for vm in machine.host.vms]) == [0, 99]
        plain = vms("hello", "pages")
    with served(plain) as bench:
        assert bench.attached().ask("qfThreadInfo") == "m1,2"


def test_a_vm_that_gdb_attaches_to_has_breakpoints_and_memory_of_its_own() -> None:
    """Both guests begin at 0x8000_0000, and step through the same addresses there."""
    with served(vms("hello", "pages")) as bench:
        client = bench.attached(features="multiprocess+;error-message+")
        assert client.stop_of(client.ask("vAttach;3"))["thread"] == "p3.2"
        assert client.ask("qfThreadInfo") == "mp1.1,p3.2"
        client.ok("Hgp3.2")
        client.ok(f"Z0,{RAM + 4:x},4")
        stop = client.go()
        assert (stop["thread"], stop["pc"]) == ("p3.2", hex(RAM + 4))
        hello, pages = bench.ask(lambda machine: [vm.vcpus[0].instructions for vm in machine.host.vms])
        assert hello > 1 and pages == 1
        client.ok(f"z0,{RAM + 4:x},4")
        client.ok("Hgp3.2")
        client.ok("M80000000,4:01020304")
        assert client.read(RAM, 4) == b"\1\2\3\4"
        client.ok("Hgp1.1")
        assert client.read(RAM, 4) != b"\1\2\3\4"
        client.ok("D;3")
        assert client.ask("qfThreadInfo") == "mp1.1,p1.2"  # one of the machine's again
        client.ok("D;1")
        assert client.ask("qfThreadInfo") == "l"
        assert client.ask("vAttach;1").startswith("T05")


def test_a_breakpoint_may_be_for_one_world() -> None:
    """The same loop, at the same address, in M-mode and as a guest: the fixture maps RAM to itself."""
    machine = with_page_features()
    for at in range(3):
        machine.memory.write_int(RAM + 4 * at, 4, NOP)
    machine.memory.write_int(RAM + 12, 4, jump(-12))
    with served(machine) as bench:
        client = bench.attached()
        guest, host = RAM + 4, RAM + 8
        assert "stops in guest" in client.monitor(f"world guest {guest:#x}")
        client.monitor("world host")
        for address in (guest, host):
            client.ok(f"Z0,{address:x},4")
        assert client.go()["pc"] == hex(guest)
        assert client.go("vCont;s")["pc"] == hex(host)
        assert client.go()["pc"] == hex(guest)  # past the other one
        client.ok(f"P{VIRT:x}={le(0)}")
        client.ok(f"P{PRIV:x}={le(3)}")
        assert bench.machine.harts[0].mode is Mode.M
        assert client.go()["pc"] == hex(host)
        client.go("vCont;s")
        assert client.go()["pc"] == hex(host)
        # GDB takes its breakpoints away at each stop: the world of each stays.
        client.ok(f"z0,{guest:x},4")
        client.ok(f"Z0,{guest:x},4")
        client.go("vCont;s")
        assert client.go()["pc"] == hex(host)
        listed = client.monitor("world")
        assert f"{guest:#x} guest" in listed and f"{host:#x} host" in listed
        client.monitor(f"world any {guest:#x}")
        client.go("vCont;s")
        assert client.go()["pc"] == hex(guest)
        assert "no world 'nowhere'" in client.ask("qRcmd," + b"world nowhere".hex())


def test_what_one_debugger_has_said_is_nothing_to_the_next() -> None:
    with served(counting()) as bench:
        client = bench.attached()
        client.monitor("world guest")
        client.monitor(f"world host {LOAD:#x}")
        client.monitor("space physical")
        client.close()
        client = bench.next_client()
        assert client.monitor("world") == "new breakpoints stop in any; there is any, host, guest\n"
        assert "virtual" in client.monitor("space")


def test_what_was_attached_to_is_forgotten_with_the_debugger() -> None:
    with served(vms("hello", "pages")) as bench:
        client = bench.attached(features="multiprocess+;error-message+")
        client.ask("vAttach;3")
        client.close()
        bench.settled()
        client = bench.attached(features="multiprocess+;error-message+")
        assert client.ask("qfThreadInfo") == "mp1.1,p1.2"


def test_a_vm_is_a_world_by_its_name() -> None:
    with served(vms("hello", "pages")) as bench:
        client = bench.attached()
        client.monitor("world pages")
        client.ok(f"Z0,{RAM + 4:x},4")
        assert client.go()["thread"] == "2"
        assert bench.ask(lambda machine: machine.host.vms[0].vcpus[0].instructions) > 1


# Commands.


def test_commands_of_rvtui_are_carried_out_about_the_chosen_thread() -> None:
    with served(counting(harts=2)) as bench:
        client, machine = bench.attached(), bench.machine
        client.ok("Hg2")
        assert f"a0 = {CELL + 0x100:#x}" in client.monitor("print a0")
        assert "t0 = 0x7" in client.monitor("set t0=7")
        assert (machine.harts[0].x[5], machine.harts[1].x[5]) == (0, 7)
        assert client.register(5) == 7
        assert bench.session.subject.hart == 0  # the application looks where it did
        client.monitor("select 1")
        assert bench.session.subject.hart == 1
        assert "physical 0x80000000" in client.monitor(f"walk {RAM:#x}")
        listed = client.monitor("help")
        for word in ("walk ADDRESS", "space [virtual", "save FILE", "world "):
            assert word in listed
        assert "for example" in client.monitor("help walk")
        assert "no command 'nonsense'" in client.ask("qRcmd," + b"nonsense".hex())
        assert "print needs" in client.ask("qRcmd," + b"print".hex())
        assert "no panes here" in client.monitor("goto csrs")
        for word, own in (("run", "continue"), ("step", "stepi"), ("c", "continue"), ("finish", "finish"),
                          ("expect x", "continue"), ("pause", "Ctrl-C")):  # fmt: skip
            assert f"is GDB's own here: {own}" in client.ask("qRcmd," + word.encode().hex())
            assert f"\n  {word.split()[0]} " not in listed
        assert "space [virtual|physical|guest-physical]: what" in client.monitor("help space")
        assert client.monitor("") == listed
        assert machine.executed == 0


def test_what_is_saved_has_nothing_of_the_debugger(tmp_path: Path) -> None:
    with served(counting()) as bench:
        bench.ask(lambda machine: machine.breakpoints.add(LOOP))
        before = bench.state_hash()
        client = bench.attached()
        for point in (f"Z0,{LOAD:x},4", f"Z1,{LOOP:x},4", f"Z2,{CELL:x},8"):
            client.ok(point)
        def set_there(machine: Machine) -> tuple[list[int], list[tuple[int, int, int]]]:
            return list(machine.breakpoints), machine.watches

        there = bench.ask(set_there)
        assert there == ([LOAD, LOOP], [(CELL, 8, 2)])
        assert "saved" in client.monitor("save with.snap")
        assert snapshots.load("with.snap").state_hash() == before
        assert bench.ask(set_there) == there
        assert client.go()["pc"] == hex(LOAD)  # and they are set still
        assert "restored" in client.monitor("restore with.snap")
        assert client.register(32) == RAM
        assert bench.ask(set_there) == there
        assert client.go()["pc"] == hex(LOAD)


# Nothing of it is in the machine.


def debugged(machine: Machine, limit: int, places: list[int]) -> str:
    """Its state at instruction `limit`, after all that a debugger does and does not change by it; `places` are run
    through in this order, about."""
    with served(machine, limit=limit) as bench:
        client = bench.attached(features="multiprocess+")
        threads = client.ask("qfThreadInfo")[1:].split(",")
        for thread in threads:
            client.ok(f"Hg{thread}")
            for number in describe(machine).registers:
                client.ask(f"p{number:x}")
            client.read(RAM, 0x2000)
        for place in places:
            client.ok(f"Z0,{place:x},4")
            client.ok(f"Z2,{CELL:x},8")
            client.go()
            client.ok(f"z0,{place:x},4")
            client.ok(f"z2,{CELL:x},8")
            if bench.machine.executed > limit - 10_000:
                break
            for thread in threads:
                client.go(f"vCont;s:{thread}")
                client.ok(f"Hg{thread}")
                client.read(client.register(32), 64)
            client.go(f"vCont;r{RAM:x},{RAM + 0x2000:x}:{threads[0]}")
            client.monitor("print pc")
        client.ok("D")
        client.close()
        bench.settled()
        while bench.session.running:
            time.sleep(0.01)
        assert bench.machine.executed == limit
        return bench.state_hash()


@pytest.mark.parametrize("make", [lambda: vms("ticker", "hello"), lambda: counting(harts=2)], ids=["VMs", "harts"])
def test_the_machine_is_the_same_with_and_without_a_debugger(
    make: Callable[[], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub, "RANGE_STEPS", 200)
    limit, alone = 700_000, make()
    places = []
    while alone.executed < limit:
        assert alone.run(70_000).reason is ExitReason.BUDGET
        places.append(alone.harts[alone.turn].pc)
    assert debugged(make(), limit, places) == alone.state_hash()


# What comes over a socket.


def test_wrong_checksums_are_asked_for_again_and_answers_repeated() -> None:
    with served(counting()) as bench:
        client = bench.client()
        client.socket.sendall(b"$p20#00")
        assert client.byte() == b"-"
        client.socket.sendall(b"$p20#d2")
        assert client.byte() == b"+"
        first = client.receive()
        client.socket.sendall(b"-")
        assert client.receive() == first == le(RAM)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 64, b"$" * 5000, b"#" * 5000, b"$m0,4", b"$m0,4#",
        b"$m0,4#5", b"}" * 4096, b"$X80000000,ffffffffffffffff:}#00", b"$" + b"9" * 300_000, b"\x03" * 10_000,
        b"$vCont;c#a8", b"$vCont;c#a8\x03\x03$g#67$m80000000,ff", b"-" * 1000, b"+" * 100_000, b"\xff\xfe" * 1000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("running", [True, False])
def test_rubbish_and_broken_connections_lose_nothing(rubbish: bytes, running: bool) -> None:
    with served(counting(), running=running) as bench:
        for hard in (True, False):
            raw = socket.create_connection(("127.0.0.1", bench.server.listener.port), timeout=SECONDS)
            if hard:  # a reset in place of an end
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.sendall(rubbish)
            raw.close()
        client = bench.next_client()
        code = bench.ask(lambda machine: machine.memory.read(RAM, 16))
        assert (client.read(RAM, 16), bench.machine.harts[0].csr("mcause")) == (code, 0)
        client.ok("D")
        assert bench.ask(lambda machine: list(machine.breakpoints)) == []
        if running:
            assert bench.session.running


def test_a_client_that_never_reads_costs_little_and_holds_up_nobody() -> None:
    with served(counting(), running=True) as bench:
        client = bench.client()
        client.quick()
        client.socket.setblocking(False)
        asked = b"$m80000000,2000#" + b"%02x" % (sum(b"m80000000,2000") % 256)
        sent = 0
        for _ in range(200):
            try:
                sent += client.socket.send(asked * 1000)
            except BlockingIOError:
                bench.ask(lambda machine: None)
        assert sent > 1 << 16
        assert len(bench.server._out) <= 0x4100 and len(bench.server._items) <= 4096
        assert bench.session.running
        other = Client(bench.server.listener.port, features="")
        assert other.byte() == b"+" and "another debugger" in other.receive()
        other.close()
        client.close()
        bench.settled()
        assert bench.client().register(0) == 0


# Beside the application.


async def test_the_application_and_gdb_see_each_others_stops() -> None:
    import asyncio

    from rvtui.gdb import serving

    async with opened(counting(), running=False) as desk:
        with serving(desk.session, Listener("0"), runs=False) as server:
            assert server is not None
            await asyncio.to_thread(both_sides, desk, server.listener.port)
            await desk.shows("breakpoint at 0x80000008")
            client = await asyncio.to_thread(Client, server.listener.port)
            try:
                await asyncio.to_thread(client.attach)
                client.send("vCont;c")
                await desk.until(lambda: desk.session.running, "the machine runs")
                await desk.press("r")
                stop = await asyncio.to_thread(client.stop)
                assert (stop["signal"], stop["text"]) == ("02", "rvtui: paused\n")
                # The user lets it run: GDB cannot be told, and its next resume only waits with him.
                await desk.press("r")
                await desk.until(lambda: desk.session.running, "the machine runs")
                client.send("vCont;c")
                await desk.press("r")
                assert (await asyncio.to_thread(client.stop))["signal"] == "02"
                # The same by a step of the user's.
                client.send("vCont;c")
                await desk.until(lambda: desk.session.running, "the machine runs")
                await desk.press("s")
                assert (await asyncio.to_thread(client.stop))["kind"] == "T"
            finally:
                await asyncio.to_thread(client.close)


def both_sides(desk: Desk, port: int) -> None:
    client = Client(port)
    client.attach()
    client.ok(f"Z0,{LOAD:x},4")
    assert client.go()["pc"] == hex(LOAD)
    client.close()


# The command line.


class Process:
    """`rvtui run --headless --gdb 0 ...`, and where it listens."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rvtui", "run", "--headless", "--gdb", "0", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        assert line.startswith("rvtui: GDB: target remote 127.0.0.1:"), line
        self.port = int(line.rpartition(":")[2])

    def end(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), error.decode()


def test_a_guest_runs_under_gdb_to_its_end() -> None:
    process = Process("--paused", "hello")
    client = Client(process.port, features="multiprocess+")
    client.attach()
    client.ok(f"Z0,{RAM + 4:x},4")
    assert client.go()["pc"] == hex(RAM + 4)
    client.ok(f"z0,{RAM + 4:x},4")
    client.send("vCont;c")
    assert client.receive() == "W00;process:1"
    client.close()
    code, out, error = process.end()
    assert (code, error) == (0, "") and "hello from a guest" in out


def test_without_a_debugger_it_runs_as_ever_and_after_one_it_goes_on(tmp_path: Path) -> None:
    assert Process("hello").end()[0] == 0
    process = Process("--paused", "hello")
    client = Client(process.port)
    client.attach()
    client.go("vCont;s")
    client.ok("D")
    client.close()
    assert process.end()[0] == 0


def test_kill_ends_rvtui() -> None:
    process = Process("--paused", "hello")
    client = Client(process.port)
    client.attach()
    client.ok("vKill;1")
    code, out, error = process.end()
    assert (code, out) == (3, "") and "ended by the debugger" in error


def test_the_limit_of_instructions_is_kept(tmp_path: Path) -> None:
    process = Process("--instructions", "1000", "--save", tmp_path / "at.snap", "hello")
    assert process.end()[0] == 0
    assert snapshots.load(tmp_path / "at.snap").executed == 1000


def test_gdb_is_told_of_the_code_that_a_guest_ends_with(tmp_path: Path) -> None:
    program = tmp_path / "five.elf"
    # lui t0, 0x100; lui t1, 0x50; addi... the finisher takes 0x5_3333: fail, with code 5.
    program.write_bytes(elf([0x0010_02B7, 0x0005_3337, 0x3333_0313, 0x0062_A023, jump(0)]))
    process = Process("--paused", "--bare", program)
    client = Client(process.port)
    client.attach()
    client.send("c")
    assert client.receive() == "W05"
    client.close()
    assert process.end()[0] == 5


def test_a_deadlock_is_shown_to_who_is_there_and_else_ends_the_run(tmp_path: Path) -> None:
    program = tmp_path / "sleep.elf"
    program.write_bytes(SLEEP)
    code, _, error = Process("--bare", program).end()
    assert code == 3 and "deadlock" in error
    process = Process("--paused", "--bare", program)
    client = Client(process.port)
    client.attach()
    assert "deadlock" in client.go()["text"]
    assert client.register(32) == RAM + 4
    client.ok("D")
    client.close()
    code, _, error = process.end()
    assert code == 3 and "deadlock" in error


@pytest.mark.parametrize(
    ("text", "why"),
    [("x", "write PORT"), ("1.2.3.4.5:x", "write PORT"), ("65536", "up to 65535"), ("", "write PORT"),
     ("99999999999", "up to 65535"), ("203.0.113.1:1", "cannot listen")],
)  # fmt: skip
def test_where_nobody_can_listen_is_said(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Listener(text)


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    taken = Listener("0")
    assert "cannot listen there" in failed("run", "--headless", "--gdb", taken.port, "hello")
    taken.socket.close()


def test_only_this_computer_is_served_unless_told() -> None:
    for text, host in (("0", "127.0.0.1"), (":0", "127.0.0.1"), ("localhost:0", "127.0.0.1"), ("0.0.0.0:0", "0.0.0.0")):
        listener = Listener(text)
        assert listener.socket.getsockname()[0] == host
        listener.socket.close()
