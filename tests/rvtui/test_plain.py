"""Plain mode: all that panes show, in lines of words, for those who do not see where and in which colour it stands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import commanded
from desk import FLOOD, failed, run, with_page_features
from test_monitor import Terminal, terminal

from rvtui import machines, monitor, panes, spoken
from rvtui.commands.registry import Told
from rvtui.monitor.script import of_command
from rvtui.session import Session

__all__ = ["terminal"]
Guest = Callable[[bytes], Path]
EVERY = [pane.NAME for pane in panes.every() if pane.NAME != "console2"]


def said(*commands: str, guests: tuple[str, ...] = ("hello", "ticker"), as_json: bool = False) -> list[str]:
    """As `rvtui monitor --plain -c ...` prints it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        scripts = [of_command(command) for command in commands]
        assert not monitor.run(machines.with_guests(list(guests)), scripts, as_json=as_json, plain=not as_json)
    return out.getvalue().splitlines()


def objects(*commands: str, guests: tuple[str, ...] = ("hello", "ticker")) -> list[dict[str, Any]]:
    """The same for programs."""
    return [json.loads(line) for line in said(*commands, guests=guests, as_json=True)]


# Words.


@pytest.mark.parametrize(
    ("drawn", "told"),
    [
        ("  ✗ load guest-page fault   12 reads", "failed: load guest-page fault, 12 reads"),
        ("│ ├─ a → b", "a to b"),
        ("sp   0000000080002010  main", "sp, 0x80002010, main"),
        ("0000000000000000", "0x0"),
        ("x = 0x0000000000000010", "x = 0x10"),
        ("pa:0000000080000000-00000000801fffff  2 MiB", "pa:0x80000000-0x801fffff, 2 MiB"),
        (" => 0x80000010:  4501  li  a0, 0", "next: 0x80000010: 4501, li, a0, 0"),
        ("hello: ▁▂▃▄▅▆▇█ 5", "hello: 5"),
        ("VS>HS  trap", "VS to HS, trap"),
        ("a > b", "a > b"),
        ("⣿⣿ braille", "braille"),
        ("", ""),
        ("§ Trap Entry", "section Trap Entry"),
    ],
)
def test_lines_become_words(drawn: str, told: str) -> None:
    assert spoken.linear(drawn) == told


def test_rows_of_tables_have_the_names_of_their_columns() -> None:
    heads = ["", "name", "clock", "mode", "irq"]
    assert spoken.row(heads, ["*", "hello", "12", "VS", "-"]) == "selected, hello, mode VS, clock 12"


def test_a_line_is_still_a_line() -> None:
    line = Told("drawn", "told")
    assert line == "drawn" and line.said == "told" and json.dumps(line) == '"drawn"'


def test_what_a_pane_shows_is_told_without_signs() -> None:
    for line in said("run 100", "break main", *(f"show {name}" for name in EVERY)):
        assert line.isascii() and line.isprintable(), line
        assert "  " not in line and line == line.strip(), line
        assert not re.search(r"\b0{5}[0-9a-f]+\b", line), line


def test_registers_are_names_and_values() -> None:
    lines = said("run 100", "show registers")
    found = objects("run 100", "registers")[1]["data"]["registers"]
    told = dict(line.split(": ", 1) for line in lines if re.match(r"[a-z]\w*: ", line))
    for name, value in found.items():
        assert int(told[name].split(",")[0], 0) == int(value, 0), name


def test_a_walk_is_numbered_sentences_with_its_end_first() -> None:
    with commanded(with_page_features()) as bench:
        answer = bench.give("walk 0x40000000 load VS")
        first = answer.lines[0]
        lines = first.said.split("\n")
        assert lines[0].startswith("load of 0x40000000 in VS leads to physical 0x80020000, 64 KiB page, NC")
        assert [line.split(".")[0] for line in lines[1:]] == [str(n + 1) for n in range(len(answer.data["steps"]))]
        for line, step in zip(lines[1:], answer.data["steps"], strict=True):
            stage = "G-stage" if step["stage"] == "G" else "VS-stage"
            assert f"{stage} level {step['level']}" in line and step["pte"] in line and step["pte_address"] in line
            assert (f"for the VS-stage entry of level {step['for_level']}" in line) == (step["for_level"] is not None)
        assert all(not line.said for line in answer.lines[1:]), "the diagram is not read out as well"
        failing = bench.give("walk 0xC0000000 load VS").lines[0].said.split("\n")
        assert "fails: load guest-page fault, cause 21" in failing[0]
        assert failing[1].startswith("Because: ") and failing[2].startswith("The trap: taken in")
        assert sum("it fails here" in line for line in failing) == 1


def test_interrupts_and_worlds_are_sentences() -> None:
    lines = said("run 20k", "show interrupts", guests=("ticker",))
    board = objects("run 20k", "interrupts", guests=("ticker",))[1]["data"]["interrupts"]
    for row in board:
        line = next(line for line in lines if line.startswith(f"{row['name']}: "))
        assert (": pending" in line) == row["pending"] and ("not enabled by" in line) != row["enabled"]
        assert f"for {row['level']}" in line
    lines = said("run 20k", "show worlds", guests=("ticker",))
    now = objects("run 20k", "worlds", guests=("ticker",))[1]["data"]
    for way in now["transitions"]:
        begins = f"{way['from']} to {way['to']}: {way['by']}, {way['times']:,} time"
        assert any(line.startswith(begins) for line in lines), begins


def test_nothing_is_said_twice() -> None:
    lines = said("run 100", "why", "show walk")
    assert len(lines) == len(set(lines))
    assert sum("taken in HS because" in line for line in lines) == 1


# Stops.


def test_what_changed_is_said_at_each_stop() -> None:
    lines = said("until main", "step 2", guests=("hello",))
    found = objects("until main", "registers", "step 2", "registers", guests=("hello",))
    before, after = (each["data"]["registers"] for each in found if each["data"])
    changed = [name for name in before if before[name] != after[name] and name != "pc"]
    told = [line for line in lines if line.startswith("Changed: ")][-1]
    assert [part.split()[0] for part in told.removeprefix("Changed: ").split(", ")] == changed
    for name in changed:
        assert f"{name} {after[name]}" in told
    stops = [line for line in lines if line.startswith("Stopped: ")]
    assert [line.split(".")[0] for line in stops] == ["Stopped: reached main", "Stopped: stepped 2"]


def test_many_changes_are_counted_and_none_is_silence() -> None:
    lines = said("run 300", "select ticker", "run 1", guests=("hello", "ticker"))
    told = [line for line in lines if line.startswith("Changed: ")]
    assert len(told) == 1, "another VM's registers are no change"
    assert re.search(r", and \d+ more$", told[0])


def test_a_guest_that_ends_is_announced() -> None:
    lines = said("run 60k")
    assert "hello ended: shut down (code 0)" in lines
    assert "hello: hello from a guest, through the SBI console" in lines, "each line after the VM's name"


def test_what_a_guest_printed_stays_as_it_was() -> None:
    lines = said("run 60k", "console hello 100")
    assert "  mode         supervisor: it owns sstatus (200000000), and cannot tell S from VS" in lines


# How it is asked for.


def test_run_may_be_plain() -> None:
    done = run("run", "--plain", "hello", input=b"show vms\nquit\n")
    text = done.stdout.decode()
    assert done.returncode == 0 and text.startswith("Running.\nhello: hello from a guest")
    assert "Stopped: hello: shut down (exit code 0)" in text and "selected, hello, state ended" in text
    done = run("run", "--plain", "--paused", "hello", input=b"status\n")
    assert done.stdout.startswith(b"stopped: ready; hello VS 0x80000000 <_start>")


def test_the_environment_asks_for_it_everywhere(tmp_path: Path) -> None:
    always = {**os.environ, "RVTUI_PLAIN": "1"}
    done = run("run", "--paused", "hello", input=b"step\nsave x.snap\n", env=always)
    assert done.returncode == 0 and b"Stopped: stepped" in done.stdout
    assert b"hello VS" in run("snapshot", "restore", "x.snap", input=b"status\n", env=always).stdout
    assert b'"ok": true' in run("monitor", "--json", "-c", "step", "hello", env=always).stdout
    assert run("run", "--headless", "hello", env=always).stdout.startswith(b"hello from a guest")
    assert "needs a terminal" in failed("run", "hello", env={**always, "RVTUI_PLAIN": "0"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["monitor", "--plain", "--json", "hello"], "one of them"),
        (["run", "--plain", "--headless", "hello"], "without --plain"),
        (["run", "--plain", "--gdb", "0", "hello"], "not --plain"),
        (["run", "--plain", "--save", "x", "hello"], "--save needs --headless"),
    ],
)
def test_what_does_not_go_with_it(line: list[str], says: str) -> None:
    assert says in failed(*line)


def test_panes_are_told_instead_of_shown() -> None:
    done = run("monitor", "--plain", "-c", "goto walk", "hello")
    assert done.returncode == 2 and b"show PANE" in done.stderr


# On a terminal.


def test_nothing_moves_on_the_terminal(terminal: Callable[..., Terminal]) -> None:
    """History, completion and all: what is sent are lines, and what is typed."""
    screen = terminal("run", "--plain", "echo")
    screen.wait(lambda text: "echo: echo> " in text)
    assert screen.text().startswith("Running. Control-C stops")
    screen.type("\x03")
    screen.wait(lambda text: "Stopped: paused" in text and text.endswith("rvtui> "))
    screen.type("atta\t echo\r")
    screen.wait(lambda text: "right bracket takes them back" in text)
    screen.type("abc\r")
    screen.wait(lambda text: "CBA" in text)
    screen.type("\x1d")
    screen.wait(lambda text: text.count("Stopped: paused") == 2 and text.endswith("rvtui> "))
    screen.type("status\r")
    screen.wait(lambda text: "stopped: paused; echo" in text)
    screen.type("quit\r")
    assert screen.end() == 0
    assert b"\x1b" not in screen.output
    assert screen.output.isascii()


def test_a_dumb_terminal_is_spoken_to_plainly(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("run", "--paused", "hello", term="dumb")
    screen.wait(lambda text: text.endswith("rvtui> "))
    screen.type("run\n")
    screen.wait(lambda text: "hello ended" in text)
    screen.type("quit\n")
    assert screen.end() == 0
    assert b"\x1b" not in screen.output


def test_a_flood_elsewhere_does_not_hold_up_who_types(terminal: Callable[..., Terminal], guest: Guest) -> None:
    screen = terminal("run", "--plain", "--paused", "echo", guest(FLOOD, "flood.elf"))
    screen.wait(lambda text: text.endswith("rvtui> "))
    screen.type("attach echo\r")
    screen.wait(lambda text: "echo> " in text)
    screen.type("abc\r")
    screen.wait(lambda text: "CBA" in text)
    screen.type("\x1d")
    screen.wait(lambda text: "Stopped: paused" in text)
    screen.type("quit\r")
    screen.end()


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = monitor.Monitor(Session(machines.with_guests(["hello"])), plain=True)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for step in range(100):
        now[0] += 0.25
        told.progress(f"saving: {step}%")
    assert capsys.readouterr().err.splitlines() == ["saving: 21%", "saving: 42%", "saving: 63%", "saving: 84%"]
