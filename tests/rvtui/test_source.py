"""Source lines as people work with them: listing, breakpoints and steps by line, frames, and the pane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, commanded
from desk import Desk, failed, opened, run

from emulator.machine import Machine
from rvtui import stops
from rvtui.session import describe
from rvtui.sources import SourceError, SourceFiles

FOLDER = Path(__file__).parents[1] / "emulator" / "dwarf"
SOURCE = (FOLDER / "lines.c").read_text().split("\n")
NAMES = ("v2-O0", "v3-O2", "v4-O2", "v5-O0", "v5-O2", "v5-zlib", "v4-zlib-gnu", "noframes")


def line_of(text: str) -> int:
    """The number of the only line of lines.c that holds a text."""
    (found,) = [number for number, line in enumerate(SOURCE, 1) if text in line]
    return found


def loaded(name: str = "v5-O0") -> Machine:
    machine = Machine(memory=16 << 20)
    image = machine.load_elf(FOLDER / f"{name}.elf")
    machine.boot(image.entry)
    return machine


@pytest.fixture
def bench() -> Iterator[Bench]:
    with commanded(loaded()) as bench:
        bench.session.files.add(f"/source={FOLDER}")
        yield bench


def at(bench: Bench) -> str:
    """The line of pc, and its function."""
    row = bench.data("info line")["lines"][0]
    return f"{row['functions'][-1]['name']} {SOURCE[row['line'] - 1].strip()}"


# --- listing and finding ---


def test_list_shows_where_pc_is_and_goes_on(bench: Bench) -> None:
    bench.give("until main")
    first = line_of("int main(void)") + 1
    lines = bench.say("list").split("\n")
    (here,) = [line for line in lines if "=>" in line]
    assert here.split() == ["=>", str(first), "{"]
    assert f"{first + 1:>5}      long local = 3;" in "\n".join(lines) and len(lines) == 10
    shown = bench.data("list")
    assert shown["lines"][0]["line"] == int(lines[-1].split()[0]) + 1 and shown["found"] == str(FOLDER / "lines.c")
    assert bench.say("list factorial").split("\n")[4].split("  ")[-1] == SOURCE[line_of("long factorial(long n)")]
    rows = bench.data("list lines.h:3,5")["lines"]
    assert [row["line"] for row in rows] == [3, 4, 5] and rows[1]["text"] == "    long y = x * 2;"
    assert bench.data("list 5")["lines"][4]["line"] == 5
    assert [row["line"] for row in bench.data("list lines.c:1,2")["lines"]] == [1, 2]
    assert "beginning of lines.c" in bench.fails("list -")
    assert f"lines.c has {len(SOURCE) - 1} lines" in bench.fails("list lines.c:900")
    assert "stands behind the first" in bench.fails("list lines.c:9,2")


def test_info_line_and_sources(bench: Bench) -> None:
    text = bench.say("info line lines.h:4")
    assert text.count("\n") == 1 and "in leaf > twice (inlined at lines.c:23)" in text and "in other > twice" in text
    assert bench.data("info sources")["files"] == ["/source/lines.c"]
    assert "has no source line" in bench.fails("info line _start")
    assert "no source file is called 'x.c'" in bench.fails("info line x.c:3")
    row = bench.data(f"info line lines.c:{line_of('counter = x;')}")["lines"][0]
    assert int(row["start"], 0) == bench.machine.symbols.find(f"lines.c:{line_of('counter = x;')}")


def test_a_source_that_is_not_found_says_where_it_looked() -> None:
    with commanded(loaded()) as bench:
        bench.give("until main")
        text = bench.fails("list")
        assert "/source/lines.c: not found; looked in /source, ." in text and "`directory FOLDER`" in text
        assert "there is no folder nowhere" in bench.fails("directory nowhere")
        assert str(FOLDER) in bench.say(f"directory {FOLDER}")
        assert "=>" in bench.say("list")


def test_where_files_are_looked_for(tmp_path: Path) -> None:
    for name in ("lib/deep/a.c", "b.c", "moved/x/c.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"// {name}\n\tint x;\n")
    files = SourceFiles()
    files.add(str(tmp_path / "lib"))
    assert files.find("/build/lib/deep/a.c").line(1) == "// lib/deep/a.c"
    assert files.find("../lib/deep/a.c").line(2) == "    int x;"
    assert files.find(str(tmp_path / "b.c")).lines == ("// b.c", "    int x;")
    files.add(f"/build={tmp_path / 'moved'}")
    assert files.find("/build/x/c.c").line(1) == "// moved/x/c.c"
    with pytest.raises(SourceError, match="not found"):
        files.find("/buildings/x/c.c")
    (tmp_path / "b.c").write_text("changed\n")
    assert files.find(str(tmp_path / "b.c")).lines == ("changed",), "a file that has changed is read again"


def test_hostile_sources_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "bad.c"
    path.write_bytes(b"\x1b[2J\xff\xfe" + b"x" * 100_000 + b"\n/* \n never closed '\"")
    text = SourceFiles().find(str(path))
    assert all(line.isprintable() and len(line) <= 400 for line in text.lines) and len(text.lines) == 3
    assert ["".join(span for span, _ in line) for line in text.painted] == list(text.lines)
    with path.open("wb") as file:
        file.truncate(9 << 20)
    with pytest.raises(SourceError, match="too many"):
        SourceFiles().find(str(path))


# --- wherever an address is taken ---


def test_lines_stand_for_addresses(bench: Bench) -> None:
    number = line_of("counter = x;")
    address = bench.machine.symbols.find(f"lines.c:{number}")
    assert address is not None
    for text in (f"lines.c:{number}", f"other:{number}", f"/source/lines.c:{number}", f'"lines.c":{number}'):
        assert bench.say(f"print/x {text}").endswith(hex(address)), text
    assert bench.say(f"print/x lines.c:{number}+4 - 2").endswith(hex(address + 2))
    assert hex(address) in bench.say(f"x/2i lines.c:{number}")
    assert hex(address) in bench.say(f"disassemble other:{number}")
    bench.give(f"until lines.c:{number}")
    assert bench.ask(lambda machine: machine.harts[0].pc) == address and at(bench) == "other counter = x;"


def test_a_breakpoint_at_a_line_goes_along_with_the_program(bench: Bench) -> None:
    number = line_of("sum += leaf")
    assert f"lines.c:{number}" in bench.say(f"break lines.c:{number} if sp > 0")
    bench.give("run")
    assert at(bench) == "middle sum += leaf(i, GREEN);" and f"lines.c:{number}" in bench.session.reason
    (stop,) = bench.session.book.stops
    assert (stop.note.text, stop.note.condition) == (f"break lines.c:{number}", "sp > 0"), "as it was typed"
    assert f"> lines.c:{number}" in bench.say("stops")


def test_a_line_at_several_places_sets_several_breakpoints(bench: Bench) -> None:
    answer = bench.say("break lines.h:4")
    assert answer.count("stop ") == 2 and "<leaf+" in answer and "<other+" in answer
    bench.give("run")
    assert at(bench).startswith("twice ") and "<leaf+" in bench.session.reason
    texts = [stop.note.text for stop in bench.session.book.stops]
    assert texts == ["break lines.h:4@1", "break lines.h:4@2"]
    bench.session.call(lambda machine: bench.session.book._resolve()).result(5)
    assert [row.remark for row in stops.rows(bench.machine)][1] == "never hit"


def test_stops_and_steps_say_their_line(bench: Bench) -> None:
    bench.give("break factorial")
    bench.give("run")
    assert f"<factorial> lines.c:{line_of('long factorial(long n)') + 1}" in bench.session.reason
    number = line_of("p->y = factorial(4);")
    assert f"lines.c:{number}" in bench.say("finish")
    exit = bench.ask(lambda machine: machine.run(100))
    assert f"lines.c:{line_of('long factorial(long n)') + 1}" in describe(bench.machine, exit)


def test_vms_have_lines_of_their_own() -> None:
    with commanded(["hello", "ticker"]) as bench:
        assert "hello.c:29" in bench.say("break hello.c:29") and "in hello" in bench.say("stops")
        assert "ticker.c" in bench.fails("break ticker.c:20")
        assert "> ticker.c:" in bench.say("break ticker.c:20 in ticker")
        bench.give("run")
        assert "hello.c:29" in bench.session.reason


# --- steps ---


@pytest.mark.parametrize("name", ["v5-O0", "noframes", "v2-O0"])
def test_next_passes_calls_and_step_enters_them(name: str) -> None:
    with commanded(loaded(name)) as bench:
        bench.give("until main")
        seen = []
        while "p->x = middle" not in at(bench):
            bench.give("snext")
            seen.append(at(bench))
        assert seen == [
            "main long local = 3;", "main struct point *p = &here;", "main long (*pointer)(long) = other;",
            "main p->x = middle(local);",
        ]  # fmt: skip
        bench.give("snext")
        assert at(bench) == "main p->y = factorial(4);"
        bench.give("sstep")
        assert at(bench) == "factorial if (n < 2)" and "entered lines.c:" in bench.session.reason
        seen = []
        for _ in range(3):  # of this call alone, however often it calls itself
            bench.give("snext")
            seen.append(at(bench))
        assert seen == ["factorial return n * factorial(n - 1);", "factorial }", "main p->y = factorial(4);"]
        assert bench.ask(lambda machine: machine.harts[0].x[10]) == 24, "the outermost call's value"


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_loops_for_long_is_one_step(name: str) -> None:
    with commanded(loaded(name)) as bench:
        bench.give(f"break lines.c:{line_of('while (counter < 100000)')}")
        bench.give("run")
        before = bench.machine.executed
        bench.give("snext")
        assert at(bench) == "main local += pointer(5);"
        assert bench.machine.executed - before > 100_000
        assert not any(stop for stop in bench.machine.stops if not stop.number), "no mark is left"


def test_step_passes_functions_without_lines_and_enters_by_pointers(bench: Bench) -> None:
    bench.give(f"until lines.c:{line_of('local = plain(local);')}")
    bench.give("sstep")
    assert at(bench) == "main while (counter < 100000) counter = counter + 1;"
    bench.give("snext")
    bench.give("sstep")
    assert at(bench) == "other counter = x;"


def test_next_passes_what_is_inlined_and_step_does_not(bench: Bench) -> None:
    bench.give(f"until lines.c:{line_of('return twice(counter)')}")
    bench.give("sstep")
    assert at(bench).startswith("twice ")
    bench.give("snext")
    assert at(bench).startswith("twice "), "the rest of it is its own"
    bench.give(f"until lines.c:{line_of('counter = x;')}")
    bench.give("snext")
    assert at(bench) == "other }", "the line of the call has no code of its own"


def test_a_breakpoint_inside_ends_a_step(bench: Bench) -> None:
    bench.give(f"until lines.c:{line_of('p->x = middle(local);')}")
    bench.give("break leaf")
    bench.give("snext")
    assert "stop 1: breakpoint" in bench.session.reason and at(bench).startswith("leaf ")
    assert not any(stop for stop in bench.machine.stops if not stop.number)


def test_without_lines_steps_by_line_say_so(bench: Bench) -> None:
    bench.give("until _start")
    assert "has no source line" in bench.fails("snext") and "has no source line" in bench.fails("sstep 3")


def test_interrupts_and_other_guests_pass_by_steps() -> None:
    """The ticker is interrupted all the time, and the other guest has its slices."""
    with commanded(["ticker", "echo"]) as bench:
        bench.give("until main")
        seen = set()
        for _ in range(40):
            bench.give("snext")
            row = bench.data("info line")["lines"][0]
            seen.add(row["functions"][0]["name"])
            assert bench.session.subject.vm == 0
        assert seen == {"main"}


def test_steps_change_nothing_but_time() -> None:
    with commanded(loaded()) as one, commanded(loaded()) as other:
        one.give("until main")
        for _ in range(4):
            one.give("snext")
            one.give("sstep")
        executed = one.machine.executed
        other.give(f"run {executed}")
        assert one.ask(Machine.state_hash) == other.ask(Machine.state_hash)


# --- frames ---


@pytest.mark.parametrize("name", NAMES)
def test_backtrace_tells_who_called(name: str) -> None:
    with commanded(loaded(name)) as bench:
        bench.give("tbreak leaf")
        bench.give("run")
        bench.give("backtrace")
        frames = bench.data("backtrace")["frames"]
        names = [frame["functions"][0] if frame["functions"] else "" for frame in frames]
        assert names[:2] == ["leaf", "middle"] and "main" in names
        assert frames[1]["line"] == line_of("sum += leaf(i, GREEN);")
        cfi = "by call frame information"
        assert all((frame["how"] == cfi) == (name != "noframes") for frame in frames[1:3])
        counter = bench.data("backtrace 1")
        assert len(counter["frames"]) == 1 and "there are more" in counter["end"]


def test_recursion_is_unwound_to_its_end(bench: Bench) -> None:
    bench.give(f"until lines.c:{line_of('return 1;')}")
    frames = bench.data("bt")["frames"]
    assert [frame["functions"] for frame in frames[:5]] == [["factorial"]] * 4 + [["main"]]
    assert len({frame["cfa"] for frame in frames[:4]}) == 4
    assert bench.say("frame 3").startswith("#3 ") and "frame 9" in bench.fails("frame 9")


def test_registers_are_those_of_the_frame_that_is_looked_at(bench: Bench) -> None:
    bench.give("until main")
    bench.give("snext")
    sp, s0 = (bench.ask(lambda machine, n=n: machine.harts[0].x[n]) for n in (2, 8))
    bench.give("tbreak leaf")
    bench.give("run")
    assert bench.say("print/x $sp") != f"$sp = {sp:#x}"
    bench.give("frame 2")
    assert bench.say("print/x $sp") == f"$sp = {sp:#x}" and bench.say("print/x $s0") == f"$s0 = {s0:#x}"
    assert bench.say("list").split("\n")[4].startswith(" =>")
    assert f"s0={s0:#x}" in bench.say("info frame") and "a0 is not known in frame 2" in bench.fails("print $a0")
    assert bench.say("down").startswith("#1 ") and bench.say("down").startswith("#0 ")
    assert "frame 0" in bench.fails("down")
    bench.give("up")
    bench.give("step")
    assert bench.say("frame").startswith("#0 "), "what runs is looked at again"


def test_a_stack_that_leads_back_ends(bench: Bench) -> None:
    bench.give("tbreak leaf")
    bench.give("run")

    def spoil(machine: Machine) -> None:
        hart = machine.harts[0]
        hart.x[2] = hart.x[2] & ~15
        hart.x[1] = machine.symbols.find("leaf")  # type: ignore[assignment]

    bench.ask(spoil)
    told = bench.data("backtrace")
    assert len(told["frames"]) == 1 and "no call has been made" in told["end"]


def test_out_of_a_trap_it_goes_on_where_that_was_taken() -> None:
    with commanded(["ticker"]) as bench:
        bench.give("break trap")
        bench.give("run")
        frames = bench.data("backtrace")["frames"]
        assert [frame["functions"] for frame in frames[::2]] == [["trap"], ["main"]]
        assert frames[2]["pc"] == bench.say("print/x vsepc").split(" = ")[1] and "vsepc" in frames[2]["how"]
        bench.give("frame 2")
        row = bench.data("info line")["lines"][0]
        assert int(row["start"], 0) <= int(frames[2]["pc"], 0) < int(row["end"], 0), "not the line before"


# --- variables ---


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_shown_by_their_types(name: str) -> None:
    with commanded(loaded(name)) as bench:
        bench.give("tbreak factorial")
        bench.give("run")
        bench.give("up")
        here = bench.machine.symbols.find("here")
        assert bench.say("value here.name").startswith('here.name = "abc"  [char[8] at ')
        # What lines.c begins with, but for x, which main has set: (0*2+1 + 1*2+1 + 3*2+1) + 3*5.
        want = f'{{x = 26, y = -2, name = "abc", next = {here:#x}, low = 5, high = 9}}'
        assert bench.data("value here") == {
            "name": "here", "value": want, "type": "struct point", "address": hex(here or 0),
        }  # fmt: skip
        assert bench.data("value here.next->next->low")["value"] == "5"
        assert bench.data("value table")["value"] == "{10, 20, 30}" and bench.data("value table[1]")["value"] == "20"
        assert bench.data("value word")["value"] == f"{{whole = {0x11223344}, bytes = {{68 'D', 51 '3', 34 '\"', 17}}}}"
        assert bench.data("value &here.y")["address"] == hex((here or 0) + 8)
        for text, why in (
            ("here.z", "struct point has no member z"), ("table[3]", "no element 3: it has 3"), ("*", "as in C"),
            ("nobody", "no variable 'nobody' here"), ("here.x.y", "int has no members"), ("here!", "cannot read '!'"),
        ):  # fmt: skip
            assert why in bench.fails(f"value {text}"), text


@pytest.mark.parametrize("name", ["v2-O0", "v5-O0"])
def test_locals_and_parameters_of_a_frame(name: str) -> None:
    with commanded(loaded(name)) as bench:
        bench.give(f"until lines.c:{line_of('return 1;')}")
        assert bench.data("info args")["variables"][0]["value"] == "1" and bench.say("print n * 3").endswith("= 3")
        assert bench.say("info locals") == "no local variables here"
        for _ in range(3):
            bench.give("up")
        assert bench.data("info args")["variables"][0]["value"] == "4" and bench.say("print n").endswith("= 4")
        bench.give("up")
        rows = {row["name"]: row for row in bench.data("info locals")["variables"]}
        assert rows["local"]["value"] == "3" and rows["pointer"]["type"].startswith("long")
        assert rows["p"]["value"] == hex(bench.machine.symbols.find("here") or 0)
        assert bench.data("value p->name")["value"] == '"abc"'
        assert "unknown name 'nobody'" in bench.fails("print nobody")
        bench.give("frame 0")
        bench.give(f"until lines.c:{line_of('local = plain(local);')}")
        bench.give("tbreak leaf")
        bench.give("run")
        bench.give("snext")
        assert [row["type"] for row in bench.data("info args")["variables"]][1] == "enum colour"
        assert bench.data("info args")["variables"][1]["value"] == "RED"


def test_what_is_optimized_out_is_said() -> None:
    with commanded(loaded("v5-O2")) as bench:
        bench.give(f"until lines.c:{line_of('p->y = factorial(4);')}")
        rows = {row["name"]: row for row in bench.data("info locals")["variables"]}
        assert rows["pointer"]["value"] is None and "optimized out" in rows["pointer"]["trouble"]
        assert "optimized out" in bench.fails("print pointer") and "optimized out" in bench.fails("value pointer")


# --- the pane ---


async def shown(desk: Desk, *keys: str) -> list[str]:
    await desk.press(*keys)
    await desk.settled()
    await desk.until(lambda: not any("reading" in line for line in desk.lines("source")), "it is read")
    return desk.lines("source")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=str)
async def test_the_pane_follows_pc_and_marks_its_line(size: tuple[int, int]) -> None:
    async with opened(loaded(), size, running=False) as desk:
        desk.session.files.add(f"/source={FOLDER}")
        await desk.press("C")
        assert desk.pane("source").has_focus
        desk.application.carry_out("until main")
        first = line_of("int main(void)") + 1
        await desk.until(lambda: f"▶ {first:>4} {{" in desk.text(), "the line of pc")
        assert f"lines.c:{first}  main" in desk.text()
        await desk.press("n")
        await desk.until(lambda: f"▶ {first + 1:>4}     long local = 3;" in desk.text(), "the next line")
        for _ in range(3):
            await desk.press("n")
            await desk.settled()
        await desk.press("s")
        await desk.until(lambda: "long sum = 0;" in desk.text().split("▶ ")[-1][:40], "the callee")


async def test_keys_of_the_pane_step_by_line_and_elsewhere_by_instruction() -> None:
    async with opened(loaded(), (120, 40), running=False) as desk:
        desk.application.carry_out("until main")
        await desk.press("C")
        await desk.settled()
        before = desk.machine.executed
        await desk.press("n")
        await desk.until(lambda: desk.machine.executed > before + 1, "a line")
        await desk.press("3")
        await desk.settled()
        before = desk.machine.executed
        await desk.press("n")
        await desk.until(lambda: desk.machine.executed > before, "an instruction")
        assert desk.machine.executed == before + 1


async def test_a_breakpoint_at_the_line_under_the_cursor() -> None:
    async with opened(loaded(), (120, 40), running=False) as desk:
        desk.session.files.add(f"/source={FOLDER}")
        desk.application.carry_out("until main")
        await desk.press("C")
        await desk.shows("▶")
        await desk.press("down", "b")
        number = line_of("long local = 3;")
        await desk.until(lambda: f"●  {number:>4} " in desk.text(), "a sign in the margin")
        (stop,) = desk.session.book.stops
        assert desk.machine.symbols.line(stop.what.address).line == number  # type: ignore[union-attr]
        await desk.press("b")
        await desk.until(lambda: not desk.session.book.stops and "●" not in desk.text(), "it is gone")
        await desk.press("down", "enter")
        await desk.until(lambda: desk.pane("code").has_focus, "its instructions")
        want = desk.machine.symbols.find(f"lines.c:{number + 1}")
        await desk.until(lambda: desk.pane("code").selected == want, f"{want:#x} under the cursor")


async def test_the_pane_says_what_it_lacks() -> None:
    machine = loaded()
    async with opened(machine, (120, 40), running=False) as desk:
        desk.application.carry_out("until main")
        await desk.press("C")
        await desk.shows("/source/lines.c: not found; looked in")
        desk.application.carry_out(f"directory {FOLDER}")
        await desk.shows("long local = 3;")
        desk.application.carry_out("until _start")
    machine = Machine(memory=1 << 20)
    async with opened(machine, (120, 40), running=False) as desk:
        await desk.press("C")
        await desk.shows("no debugging information")


async def test_source_lines_between_instructions() -> None:
    async with opened(loaded(), (120, 40), running=False) as desk:
        desk.session.files.add(f"/source={FOLDER}")
        desk.application.carry_out("until main")
        await desk.press("5", "m")
        await desk.shows(f"lines.c:{line_of('long local = 3;')}  long local = 3;")
        assert "▶" in "\n".join(desk.lines("code"))
        for _ in range(30):
            await desk.press("s")
            await desk.settled()
            assert any("▶" in line for line in desk.lines("code")), "pc stays in sight"
        await desk.press("m")
        await desk.until(lambda: not any("lines.c:" in line for line in desk.lines("code")), "without")


async def test_a_machine_that_is_restored_keeps_its_lines(tmp_path: Path) -> None:
    with commanded(loaded()) as bench:
        bench.give("until main")
        bench.give("save here.rvtui")
        bench.give("restore here.rvtui")
        assert bench.machine.symbols.sources and at(bench) == "main {"


# --- the command line ---


def test_symbols_and_sources_from_the_command_line() -> None:
    elf = FOLDER / "v5-O2.elf"
    raw = Path("raw.bin")
    from emulator import loader

    segments = loader.read_elf(elf).segments
    raw.write_bytes(b"".join(bytes(segment.data) for segment in segments[:1]))
    command = ("monitor", "--bare", raw, "-c", "tbreak other", "-c", "run", "-c", "list", "--json")
    done = run(*command, "--symbols", elf, "--source-path", f"/source={FOLDER}")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert "counter = x;" in json.dumps(next(row for row in rows if row.get("command") == "list"))
    assert "there is no folder nowhere" in failed("monitor", "hello", "--source-path", "nowhere")
    assert "takes the number of one guest, 1 to 2" in failed("monitor", "hello", "echo", "--symbols", f"{elf},vm=3")
    assert "nothing.elf" in failed("monitor", "hello", "--symbols", "nothing.elf")
