"""`rvtui monitor` as a process: scripts, pipes, terminals, and the reports that the application shows."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import FLOOD, SLEEP, SPIN, failed, opened, run

from rvtui.commands.registry import CommandError
from rvtui.monitor import prompt
from rvtui.monitor.script import of_command, read_script
from rvtui.plaintext import LONGEST, LiveText, PlainText, lines_of

Guest = Callable[[bytes], Path]
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()=>][0B]?|\x1b\][^\x07]*\x07")


# Scripts.


def test_commands_are_carried_out_in_order_and_the_machine_stands_between_them() -> None:
    Path("one.rv").write_text("# a comment\n\nuntil main\n  set a0=7\n")
    done = run("monitor", "-c", "print 1", "-x", "one.rv", "-c", "print a0\nprint 3", "hello")
    assert done.returncode == 0 and not done.stderr
    lines = done.stdout.decode().split("\n")
    assert lines[0] == "1 = 0x1 = 1"
    assert lines[1].startswith("reached main at instruction ") and "<main>" in lines[1]
    assert lines[2] == "    hello.c:29  {" and lines[3].startswith((" =>", "*=>"))
    assert lines[4:7] == ["a0 = 0x7", "a0 = 0x7 = 7", "3 = 0x3 = 3"]


def test_a_script_ends_at_its_first_error_with_where_and_what() -> None:
    Path("bad.rv").write_text("print 1\n\n# two lines on\nfrobnicate\nprint 2\n")
    done = run("monitor", "-x", "bad.rv", "-c", "print 3", "hello")
    assert done.returncode == 2
    assert done.stdout.decode() == "1 = 0x1 = 1\n"
    assert done.stderr.decode().startswith("rvtui: bad.rv:4: no command 'frobnicate'")
    assert done.stderr.count(b"\n") == 1
    said = failed("monitor", "-c", "x 0xffffffff00000000", "hello")
    assert said.startswith("-c x 0xffffffff00000000: 0xffffffff00000000 does")


def test_guests_print_line_by_line_after_their_names() -> None:
    done = run("monitor", "-c", "run", "hello", "exits")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert any(line.startswith("hello | ") for line in lines)
    assert any(line.startswith("exits | ") for line in lines)
    assert lines[-1].split(" at instruction ")[0] != lines[-1]


def test_a_run_ends_where_everything_waits(guest: Guest) -> None:
    done = run("monitor", "-c", "run", guest(SLEEP))
    assert done.returncode == 0 and done.stdout.startswith(b"idle: every hart waits and no timer is set at instr")


def test_what_is_typed_is_answered() -> None:
    done = run("monitor", "-c", "run 60000", "-c", "type quiet", "-c", "run 60000", "echo")
    assert "echo |   TEIUQ" in done.stdout.decode()


def test_json_is_a_line_for_each_command() -> None:
    done = run("monitor", "--json", "-c", "print 1", "-c", "x/2gx main", "-c", "run 5000", "-c", "run", "-c", "quit",
               "-c", "print 2", "hello")  # fmt: skip
    assert done.returncode == 0 and not done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["command"] for row in rows] == ["print 1", "x/2gx main", "run 5000", "run", "quit"]
    assert all(row["ok"] for row in rows)
    assert rows[0] == {"command": "print 1", "ok": True, "data": {"value": "0x1", "signed": 1, "symbol": None}}
    assert len(rows[1]["data"]["items"]) == 2 and rows[1]["data"]["items"][0].startswith("0x")
    stop = rows[2]["stop"]
    assert (stop["reason"], stop["executed"], stop["finished"]) == ("ran 5,000 instructions", 5000, False)
    assert rows[3]["stop"]["finished"] and "hello" in (stop["console"]["hello"] + rows[3]["stop"]["console"]["hello"])
    bad = run("monitor", "--json", "-c", "print nothing_such", "hello")
    assert bad.returncode == 2
    (row,) = map(json.loads, bad.stdout.splitlines())
    assert (row["ok"], row["error"].split(":")[0]) == (False, "unknown name 'nothing_such'")


def test_the_same_lines_give_the_same_json() -> None:
    lines = ("run 40000", "registers all", "run 123456", "vms")
    line = ["monitor", "--json", *(word for each in lines for word in ("-c", each)), "hello", "ticker"]
    first = run(*line).stdout
    assert len(first.splitlines()) == 4 and run(*line).stdout == first


def test_lines_come_from_a_pipe() -> None:
    done = run("monitor", "hello", input=b"print 1\n\n# nothing\nprint nothing_such\nprint 2\nquit\nprint 3\n")
    assert done.stdout.decode() == "1 = 0x1 = 1\n2 = 0x2 = 2\n"
    assert "unknown name" in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert done.returncode == 2
    assert run("monitor", "hello", input=b"print 1").returncode == 0
    assert run("monitor", "-x", "-", "hello", input=b"print 5").stdout == b"5 = 0x5 = 5\n"


def test_the_machine_may_be_a_saved_one() -> None:
    run("monitor", "-c", "run 7777", "-c", "save here.snap", "hello")
    for machine, key, value in (
        (["--snapshot", "here.snap"], "executed", 7777),
        (["--instructions", "55", "hello"], "executed", 55),
        (["--bare", "tiny-hypervisor"], "mode", "M"),
    ):
        assert json.loads(run("monitor", "--json", "-c", "status", *machine).stdout)["data"][key] == value


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["monitor"], "nothing to run"),
        (["monitor", "-x", "missing.rv", "hello"], "missing.rv: cannot be read"),
        (["monitor", "-x", ".", "hello"], "a directory, not a file of commands"),
        (["monitor", "-x", "binary", "hello"], "binary:2: not UTF-8"),
        (["monitor", "-x", "long", "hello"], "more than 1 MiB"),
        (["monitor", "--snapshot", "missing.snap"], "missing.snap"),
        (["monitor", "--snapshot", "missing.snap", "hello"], "leave out what else"),
        (["monitor", "--headless", "hello"], "unrecognized arguments: --headless"),
        (["monitor", "-c"], "expected one argument"),
        (["monitor", "-c", "fill main", "hello"], "-c fill main: fill needs LENGTH"),
    ],
)
def test_what_the_user_gets_wrong(line: list[str], says: str) -> None:
    Path("binary").write_bytes(b"print 1\n\xff\xfe\n")
    Path("long").write_bytes(b"#" * (1 << 20) + b"\n")
    assert says in failed(*line)


def test_the_reference_is_printed() -> None:
    assert run("commands").stdout.startswith(b"# Commands\n")


def test_scripts_have_comments_and_places() -> None:
    Path("s.rv").write_text("a\n # no\n\n b c \n")
    assert [(line.text, line.where) for line in read_script("s.rv")] == [("a", "s.rv:1"), ("b c", "s.rv:4")]
    assert [line.text for line in of_command("x\n#y\n z")] == ["x", "z"]


# Interrupts.


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "rvtui", *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_an_interrupt_stops_the_machine_and_leaves_it_whole(
    started: Callable[..., subprocess.Popen[bytes]], guest: Guest
) -> None:
    process = started("monitor", "--json", guest(SPIN))
    assert process.stdin and process.stdout
    process.stdin.write(b"print 1\nrun\nstep\nstatus\n")
    process.stdin.flush()
    process.stdout.readline()  # it is ready, and runs next
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stop = json.loads(process.stdout.readline())["stop"]
    assert stop["reason"] == "paused" and stop["executed"] > 1000 and not stop["finished"]
    assert json.loads(process.stdout.readline())["stop"]["executed"] == stop["executed"] + 1
    assert json.loads(process.stdout.readline())["data"]["executed"] == stop["executed"] + 1


def test_an_interrupt_ends_a_script(started: Callable[..., subprocess.Popen[bytes]], guest: Guest) -> None:
    process = started("monitor", "-c", "print 1", "-c", "run", "-c", "print 2", guest(SPIN))
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and b"paused at instruction" in out and b"2 = 0x2" not in out


def test_a_flood_of_output_is_bounded_and_can_be_stopped(
    started: Callable[..., subprocess.Popen[bytes]], guest: Guest
) -> None:
    process = started("monitor", "--json", "-c", "print 1", "-c", "run 600000", guest(FLOOD))
    out, _ = process.communicate(timeout=60)
    text = json.loads(out.splitlines()[1])["stop"]["console"]["guest"]
    assert process.returncode == 0 and set(text) == {"x"} and len(text) <= 256 << 10


# What guests print.


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\r\ntwo\ntail", ["one", "two", "tail"]),
        (b"10%\r50%\r100%\n", ["100%"]),
        (b"kept\r\r\n", ["kept"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b(Bplain\n", ["red plain"]),
        (b"\x1b]52;c;ZXZpbA==\x1b\\a\n", ["a"]),
        (b"\x1bP+q544e\x1b\\b\x1b[6n\n", ["b"]),
        (b"abc\b\bX\n", ["aX"]),
        (b"a\tb\n", ["a       b"]),
        ("grün \u202e \u0301 \x9b31m\n".encode(), ["grün · · ·31m"]),
        (b"\xff\xfe\x00\x07\n", ["·" * 4]),
        (b"\x1b[999999999", []),
        (b"\x1b", []),
    ],
)
def test_output_becomes_plain_lines(data: bytes, lines: list[str]) -> None:
    text = lines_of(data)
    assert [line.replace("\ufffd", "·") for line in text] == lines
    piecewise = PlainText()
    found = [line for byte in data for line in piecewise.feed(bytes([byte]))]
    assert [*found, piecewise.line] == [*text, ""] or [*found, piecewise.line] == text


def test_hostile_output_takes_no_time_and_no_memory() -> None:
    for data in (b"\r" * 300_000, b"\x1b]" * 150_000, b"\x1b[" * 150_000, b"\x1b" * 300_000, b"x" * 300_000,
                 b"\x1b]" + b"y" * 300_000, b"\b\t" * 150_000):  # fmt: skip
        started = time.process_time()
        text = PlainText()
        longest = max((len(line) for line in [*text.feed(data), text.line]), default=0)
        assert longest <= LONGEST and len(text._held) <= LONGEST
        assert not any(each < " " for line in [text.line] for each in line)
        LiveText().feed(data)
        assert time.process_time() - started < 5


def test_live_output_keeps_what_is_harmless() -> None:
    live = LiveText()
    assert live.feed(b"\x1b[1;31mred\x1b[0m\r\n\x1b[2J\x1b[10;4H") == "\x1b[1;31mred\x1b[0m\r\n\x1b[2J\x1b[10;4H"
    assert live.feed(b"\x1b[6n\x1b[c\x1b]52;c;eA==\x07\x1b[?1049h\x1bc\x1b[8;200;200t\xc2\x9b6n") == "·6n"
    assert live.feed(b"a\x1b[3") + live.feed(b"1mb") == "a\x1b[31mb"


# The prompt.


def test_lines_are_highlighted() -> None:
    assert prompt.spans("x/4wx 0x10")[0] == ("class:command", "x/4wx")
    assert ("class:number", "0x10") in prompt.spans("x/4wx 0x10")
    assert prompt.spans("frobnicate 1")[0][0] == "class:unknown"
    assert prompt.spans("# no")[0][0] == "class:comment"
    assert ("class:string", '"a b"') in prompt.spans('search "a b"')
    for line in ("", " ", "x", "info s", "'", '"', "x/ "):
        assert "".join(text for _, text in prompt.spans(line)) == line


class Terminal:
    """`rvtui` on a pseudo terminal."""

    def __init__(self, *arguments: str | Path, term: str = "xterm-256color", **environment: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if not self.pid:
            os.environ.update(TERM=term, COLUMNS="100", LINES="30", **environment)
            os.execv(sys.executable, [sys.executable, "-m", "rvtui", *map(str, arguments)])
        self.output = b""

    def text(self) -> str:
        return ESCAPES.sub(b"", self.output).decode(errors="replace")

    def wait(self, true: Callable[[str], object], timeout: float = 40) -> str:
        deadline = time.monotonic() + timeout
        while not true(self.text()):
            assert time.monotonic() < deadline, self.text()
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    data = os.read(self.descriptor, 65536)
                except OSError:
                    break
                self.output += data
                self.type("\x1b[5;1R" * data.count(b"\x1b[6n"))  # where its cursor is, as terminals do
        return self.text()

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def end(self) -> int:
        """The exit code."""
        while True:
            try:
                if not os.read(self.descriptor, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str | Path, **more: str) -> Terminal:
        opened.append(Terminal(*arguments, XDG_STATE_HOME=str(tmp_path / "state"), **more))
        return opened[-1]

    yield start
    for each in opened:
        try:
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_the_prompt_completes_keeps_history_and_says_where_the_hart_is(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    screen = terminal("monitor", "hello")
    screen.wait(lambda text: "rvtui>" in text and "hello VS 0x80000000" in text)
    screen.type("unti\t")
    screen.wait(lambda text: "until" in text)
    screen.type(" mai\t")
    screen.wait(lambda text: "main" in text)
    screen.type("\r")
    screen.wait(lambda text: "reached main at instruction" in text)
    screen.wait(lambda text: "<main>  " in text)
    screen.type("regis")
    screen.type("\x03")
    screen.type("nonsense\r")
    screen.wait(lambda text: "no command 'nonsense'" in text)
    screen.type("print 40+2\r")
    screen.wait(lambda text: "= 0x2a = 42" in text)
    screen.wait(lambda text: "rvtui>" in text.rpartition("= 0x2a = 42")[2])
    screen.type("\x12prin\r\r")  # searched backwards, taken, entered
    screen.wait(lambda text: text.count("= 0x2a = 42") == 2 and "rvtui>" in text.rpartition("= 0x2a = 42")[2])
    screen.type("si\r")
    screen.wait(lambda text: text.count("stepped at") == 1 and "rvtui>" in text.rpartition("stepped at")[2])
    screen.type("\r")
    screen.wait(lambda text: text.count("stepped at") == 2 and "rvtui>" in text.rpartition("stepped at")[2])
    screen.type("\x04")
    assert screen.end() == 0
    history = (tmp_path / "state" / "rvtui" / "history").read_text()
    assert "+print 40+2" in history


def test_an_interrupt_comes_back_to_the_prompt(terminal: Callable[..., Terminal], guest: Guest) -> None:
    screen = terminal("monitor", guest(SPIN))
    screen.wait(lambda text: "rvtui>" in text)
    screen.type("run\r")
    time.sleep(0.7)
    screen.type("\x03")
    screen.wait(lambda text: "paused at instruction" in text)
    screen.type("quit\r")
    assert screen.end() == 0


def test_the_keyboard_goes_to_a_guest_and_comes_back(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("monitor", "echo")
    screen.wait(lambda text: "rvtui>" in text)
    screen.type("attach\r")
    screen.wait(lambda text: "Ctrl-] takes them back" in text and "echo>" in text)
    screen.type("\x7fquick 12\r")
    screen.wait(lambda text: "21 KCIUQ" in text)
    screen.type("\x1d")
    screen.wait(lambda text: "paused at instruction" in text)
    screen.type("print 6*7\r")
    screen.wait(lambda text: "= 0x2a = 42" in text)
    screen.type("quit\r")
    assert screen.end() == 0


def test_a_dumb_terminal_gets_plain_lines(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("monitor", "hello", term="dumb")
    screen.wait(lambda text: "rvtui> " in text)
    screen.type("registers\n")
    screen.wait(lambda text: "in VS" in text)
    assert b"\x1b" not in screen.output
    screen.type("\x04")
    assert screen.end() == 0


def test_colour_is_for_terminals_that_have_it(terminal: Callable[..., Terminal]) -> None:
    coloured = terminal("monitor", "-c", "until main", "hello")
    coloured.wait(lambda text: "reached main" in text)
    plain = terminal("monitor", "-c", "until main", "hello", NO_COLOR="1")
    plain.wait(lambda text: "=>" in text)
    assert coloured.end() == plain.end() == 0
    assert b"\x1b[36m<main>" in coloured.output and b"\x1b" not in plain.output
    assert b"\x1b" not in run("monitor", "-c", "until main", "hello").stdout


# The application.


async def test_an_answer_of_many_lines_opens_over_the_panes() -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        await desk.press("colon")
        await desk.type("registers")
        await desk.press("enter")
        await desk.shows("Escape closes")
        assert "zero" in desk.text() and "in VS" in desk.text()
        await desk.press("slash")
        await desk.type("s11")
        await desk.press("enter")
        await desk.shows("/s11")
        await desk.press("escape")
        await desk.until(lambda: "Escape closes" not in desk.text(), "it closes")
        desk.application.carry_out("print 1+1")
        await desk.until(lambda: "1+1 = 0x2 = 2" in desk.application._keys.message, "one line stays below")


async def test_a_long_answer_is_scrolled_and_searched() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        desk.application.carry_out("csr")
        await desk.shows("Escape closes")
        report = desk.application.screen.query_one("#report")
        assert len(report.lines) > 100 and report.top == 0
        await desk.press("slash")
        await desk.type("vstimecmp")
        await desk.press("enter")
        await desk.until(lambda: "vstimecmp" in desk.text(), "found")
        first = report._found_row
        await desk.press("n")
        second = report._found_row
        assert first is not None and second is not None
        assert "vstimecmp" in "".join(text for text, _ in report.lines[second])
        await desk.press("end")
        assert report.top == len(report.lines) - report.rows
        await desk.press("slash")
        await desk.type("nowhere to be found")
        await desk.press("escape")
        assert "Escape closes" in desk.text(), "Escape leaves the search first"
        await desk.press("q")
        await desk.until(lambda: "Escape closes" not in desk.text(), "it closes")


async def test_the_command_bar_completes_what_the_line_monitor_does() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        assert "x/4wx main" in desk.application._complete("x/4wx mai")
        assert issubclass(CommandError, Exception)
