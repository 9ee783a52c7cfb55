"""Scripts that drive a machine: what they wait for, check, say, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench, commanded
from desk import ECALL, FLOOD, SLEEP, elf, failed, jump, li, lui, opened, run

from rvtui import commands
from rvtui.commands import CheckError
from rvtui.commands.registry import DEEPEST

Guest = Callable[[bytes], Path]


def printing(text: str) -> bytes:
    """A guest that prints by SBI's legacy call, and then loops."""
    return elf([li(17, 1), *(word for each in text.encode() for word in (li(10, each), ECALL)), jump(0)])


def printed(bench: Bench) -> bytes:
    return bytes(bench.machine.host.vms[0].console.output)


@pytest.fixture
def echo() -> Iterator[Bench]:
    with commanded(["echo"]) as found:
        yield found


# Expecting.


def test_a_conversation_with_a_guest(echo: Bench) -> None:
    assert 'echo printed "echo> "' in echo.say('expect "echo> "')
    at = echo.machine.executed
    assert echo.say(r'send echo "abc\r"') == r"4 bytes for echo: abc\r"
    assert echo.machine.executed == at, "it reads when it runs"
    echo.give("expect CBA")
    between = echo.machine.executed
    found = echo.data("expect echo>")
    assert found == {"console": "echo", "text": "echo>", "instructions": echo.machine.executed - between}


def test_a_run_stops_at_the_instruction_that_prints_the_last_byte(guest: Guest) -> None:
    with commanded([str(guest(printing("abcdef")))]) as bench:
        first = bench.data("expect abc")["instructions"]
        assert first == bench.machine.executed
        assert printed(bench) == b"abc"
        bench.give("expect f")
        assert printed(bench) == b"abcdef"
    with commanded([str(guest(printing("abcdef")))]) as bench:
        bench.give(f"run {first - 1}")
        assert printed(bench) == b"ab"


def test_what_was_printed_before_counts_once(guest: Guest) -> None:
    with commanded([str(guest(printing("one two one")))]) as bench:
        bench.give("run 1000")
        at = bench.machine.executed
        assert bench.data("expect one")["instructions"] == 0
        assert bench.data("expect one")["instructions"] == 0
        assert bench.machine.executed == at
        assert "not printed within 100 instructions; printed instead: nothing" in bench.fails("expect one within 100")


def test_a_text_may_have_begun_before(guest: Guest) -> None:
    with commanded([str(guest(printing("login:")))]) as bench:
        while printed(bench) != b"log":
            bench.give("run 1")
        bench.give("expect login: within 100")
        assert printed(bench) == b"login:"


def test_a_failure_says_what_was_printed_instead(echo: Bench) -> None:
    said = echo.fails('expect "no such\\n" in echo within 20k')
    assert said.startswith('expect "no such\\n": not printed within 20,000 instructions; printed instead: "echo: type')
    assert echo.machine.executed == 20_000
    with pytest.raises(CheckError):
        echo.give("expect nothing within 1")


def test_what_ends_a_machine_ends_the_wait(guest: Guest) -> None:
    with commanded([str(guest(SLEEP))]) as bench:
        assert bench.fails("expect x").startswith('expect "x": not printed: idle: every hart waits')
    with commanded(["hello"]) as bench:
        bench.give("break main")
        assert bench.fails("expect nothing").startswith('expect "nothing": not printed: stop 1')
    with commanded(["hello"]) as bench:
        assert "not printed: hello: shut down (exit code 0); printed instead: ..." in bench.fails("expect nothing")
        assert "the machine cannot go on" in bench.fails("expect nothing")


def test_a_console_may_be_named() -> None:
    with commanded(["hello", "ticker"]) as bench:
        assert bench.data("expect ticker in ticker")["console"] == "ticker"
        assert bench.data("expect guest")["console"] in ("hello", "ticker")
        assert "no console 'nobody': there is hello, ticker" in bench.fails("expect x in nobody")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("expect", "expect needs TEXT"),
        ('expect ""', "a text of 0 bytes: 1 to 256"),
        ("expect " + "x" * 257, "a text of 257 bytes"),
        ('expect "x" soon', "'soon': after the text only `in CONSOLE` and `within N`"),
        ("expect x within none", "count 'none': a whole number"),
        ("expect x within 0", "a whole number from 1"),
        (r"expect \q", "escapes are"),
        ("send echo", "send needs TEXT"),
        ("send nobody x", "no console 'nobody': there is echo"),
        ('send echo "x" y', "nothing may stand behind the text"),
        ("assert", "assert needs EXPRESSION"),
        ("assert 1 +", "ends too early"),
        ("repeat 3", "repeat needs COMMAND"),
        ("repeat 0 step", "a whole number from 1"),
        ("repeat 2M step", "at most 1,000,000"),
        ("repeat 2 frobnicate", "no command 'frobnicate'"),
        ("quit 256", "0 to 255"),
        ("set $nope", "write NAME=VALUE"),
        ("print $nope", "unknown name 'nope'"),
        ("echo $nope", "unknown name 'nope'"),
        ("source missing.rv", "missing.rv: cannot be read"),
        ("source -", "source takes a file"),
    ],
)
def test_what_the_user_gets_wrong(echo: Bench, line: str, says: str) -> None:
    assert says in echo.fails(line)
    assert echo.machine.executed == 0


# Checking and saying.


def test_an_assertion_says_both_sides(echo: Bench) -> None:
    echo.give("set a0=5")
    assert echo.say("assert a0 == 5") == "a0 == 5: so it is: 0x5 == 0x5"
    assert echo.say("assert a0") == "a0: so it is: 0x5"
    assert echo.fails("assert a0 == 2+1") == "assert a0 == 2+1: it is not so: 0x5 == 0x3"
    assert echo.fails("assert a0 > 4 && a0 < 5") == "assert a0 > 4 && a0 < 5: it is not so: 0x5 > 0x4, 0x5 < 0x5"
    assert echo.fails("assert zero") == "assert zero: it is not so"
    with pytest.raises(CheckError):
        echo.give("assert 0")
    with pytest.raises(commands.CommandError) as wrong:
        echo.give("assert nothing_such")
    assert not isinstance(wrong.value, CheckError)


def test_variables(echo: Bench) -> None:
    assert echo.say("set $n = 2k + 1") == "$n = 0x801"
    echo.give("set $n=$n*2")
    assert echo.data("print $n")["value"] == "0x1002"
    before = echo.data("registers x")["registers"]
    echo.give("set $count=7")
    assert echo.data("registers x")["registers"] == before
    echo.give("set $a0=9")  # as ever: the register
    assert echo.data("print a0")["value"] == "0x9" and "a0" not in echo.context.variables
    assert echo.say("echo n is $n, a0 $a0, $hgatp.MODE, $((1 + 2) * 3) costs $$5 and 5$") == (
        "n is 0x1002, a0 0x9, 0x8, 0x9 costs $5 and 5$"
    )
    assert echo.say("echo") == ""


# Scripts as processes.


def test_a_failed_check_is_1_and_a_mistake_2() -> None:
    lines = ("# what must hold", "until main", "assert pc == main", "", "assert hgatp.MODE == 9", "echo not reached")
    Path("check.rv").write_text("\n".join(lines))
    said = failed("run", "--headless", "-x", "check.rv", "hello", code=1)
    assert said == "check.rv:5: assert hgatp.MODE == 9: it is not so: 0x8 == 0x9"
    assert failed("monitor", "-x", "check.rv", "hello", code=1) == said
    Path("wrong.rv").write_text("until main\nassert hgatp.NODE == 9\n")
    assert failed("run", "--headless", "-x", "wrong.rv", "hello").startswith("wrong.rv:2: hgatp has no field 'NODE'")
    piped = run("monitor", "hello", input=b"assert 0\n")
    assert piped.returncode == 1
    assert run("monitor", "hello", input=b"assert 0\nfrobnicate\nassert 0\n").returncode == 2


def test_scripts_within_scripts_say_where() -> None:
    Path("outer.rv").write_text("echo out\nsource inner.rv\necho back\n")
    Path("inner.rv").write_text("\nrepeat 2 echo in\n# no\nrepeat 3 assert $n > 0\n")
    done = run("run", "--headless", "-c", "set $n=1", "-x", "outer.rv", "hello")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line for line in done.stdout.decode().splitlines() if "$" not in line] == ["out", "in", "in", "back"]
    assert done.stdout.count(b"so it is") == 3
    done = run("run", "--headless", "-c", "set $n=0", "-x", "outer.rv", "hello")
    assert done.returncode == 1 and b"back" not in done.stdout
    assert done.stderr.decode() == "rvtui: inner.rv:4: assert $n > 0: it is not so: 0x0 > 0x0\n"


def test_a_script_that_calls_itself_ends() -> None:
    Path("self.rv").write_text("source self.rv\n")
    assert failed("monitor", "-x", "self.rv", "hello") == f"self.rv:1: scripts within scripts: at most {DEEPEST} deep"


def test_quit_says_the_code_and_ends_all() -> None:
    Path("quit.rv").write_text("repeat 5 source more.rv\n")
    Path("more.rv").write_text("echo once\nquit 7\n")
    for command in (["monitor"], ["run", "--headless"]):
        done = run(*command, "-x", "quit.rv", "-c", "echo never", "hello")
        assert (done.returncode, done.stdout, done.stderr) == (7, b"once\n", b"")


def test_the_guests_code_counts_where_it_has_ended(guest: Guest) -> None:
    # sbi_system_reset(shutdown, system failure): EID 0x53525354, FID 0.
    addi = 0x354 << 20 | 17 << 15 | 17 << 7 | 0x13
    path = guest(elf([li(10, 0), li(11, 1), lui(17, 0x53525), addi, li(16, 0), ECALL]))
    assert run("run", "--headless", path).returncode == 1
    assert run("run", "--headless", "-c", "run", path).returncode == 1
    assert run("run", "--headless", "-c", "run", "-c", "quit", path).returncode == 0
    assert run("monitor", "-c", "run", path).returncode == 0


def test_json_without_a_script_is_the_run() -> None:
    done = run("run", "--headless", "--json", "hello")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, row["command"], row["stop"]["finished"]) == (0, "run", True)
    assert row["stop"]["console"]["hello"].startswith("hello from a guest")
    done = run("run", "--headless", "--json", "--instructions", "777", "hello")
    assert done.returncode == 3 and json.loads(done.stdout)["stop"]["executed"] == 777
    done = run("run", "--headless", "--json", "-c", "assert 0", "hello")
    assert done.returncode == 1
    row = json.loads(done.stdout)
    assert (row["ok"], row["check"], row["error"]) == (False, True, "assert 0: it is not so")
    done = run("run", "--headless", "--json", "-c", 'expect "x" within 5', "hello")
    row = json.loads(done.stdout)
    assert row["stop"]["executed"] == 5 and row["check"]


def test_a_script_saves_and_goes_on_from_a_snapshot() -> None:
    done = run("run", "--headless", "-c", "run 5000", "--save", "here.snap", "hello")
    assert done.returncode == 0
    done = run("snapshot", "restore", "here.snap", "--headless", "-c", "expect hello", "-c", "status")
    assert done.returncode == 0 and b"hello printed" in done.stdout
    assert run("run", "--headless", "-c", "assert 0", "--save", "no.snap", "hello").returncode == 1
    assert not Path("no.snap").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["run", "-c", "print 1", "hello"], "-c and -x: with --headless"),
        (["run", "--json", "hello"], "--json: with --headless"),
        (["run", "--headless", "-c", "run", "--gdb", "0", "hello"], "a debugger or a script drives the machine"),
        (["run", "--headless", "-x", "missing.rv", "hello"], "missing.rv: cannot be read"),
    ],
)
def test_options_that_do_not_go_together(line: list[str], says: str) -> None:
    assert says in failed(*line)


def test_a_flood_is_no_obstacle(guest: Guest) -> None:
    with commanded([str(guest(FLOOD))]) as bench:
        assert "printed instead: ..." in bench.fails("expect y within 300k")


# In the application.


async def test_scripts_run_in_the_application_too() -> None:
    Path("steps.rv").write_text("until main\nset $n=pc\nrepeat 3 step\nassert pc == $n\n")
    async with opened(["hello"], running=False) as desk:
        desk.application.carry_out("source steps.rv")
        await desk.shows("steps.rv:4: assert pc == $n: it is not so: 0x")
        vcpu = desk.machine.host.vms[0].vcpus[0]
        at = desk.ask(lambda machine: vcpu.instructions)
        desk.application.carry_out("repeat 2 step")
        await desk.until(lambda: vcpu.instructions == at + 2)
        desk.application.carry_out("repeat 3 repeat 2 step 5")
        await desk.until(lambda: vcpu.instructions == at + 2 + 30)
