"""The user's stops: what their lines mean, what they say, how they last, and the keys for them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desk import RAM, elf, opened

sys.path.append(str(Path(__file__).resolve().parents[1] / "emulator"))
from assembler import assemble

import snapshots
from emulator.errors import EmulatorError
from emulator.hart import Mode
from emulator.loader import Symbol, Symbols
from emulator.machine import Machine
from emulator.stops import At, Change, CsrAccess, Printed, Scope, Space, Touch, Trap
from rvtui import commands, machines, stops
from rvtui.frames import FrameError, frame_of
from rvtui.keeping import program_key
from rvtui.session import Session
from rvtui.stops import Book
from rvtui.subjects import Subject, hart_of

M, HS, U, VS, VU = Mode
HELLO = Subject(0, 0)
LOAD_PAGE, LOAD_GUEST = 13, 21


@pytest.fixture(scope="module")
def hello() -> Machine:
    """Two VMs, of which nobody runs an instruction here."""
    return machines.with_guests(["hello", "ticker"], memory=8 << 20)


@pytest.fixture
def book(hello: Machine) -> Iterator[Book]:
    yield Book(hello)
    for stop in list(hello.stops):
        hello.stops.remove(stop)


def guest(machine: Machine, index: int = 0, modes: frozenset[Mode] = frozenset({VS, VU})) -> Scope:
    """MODE and PPN of hgatp, not VMID: bits 63..60 and 43..0."""
    mask = 0xF << 60 | (1 << 44) - 1
    return Scope(modes, machine.host.vms[index].hgatp & mask, mask)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "text", "what"),
    [
        ("break 0x80000010", "break 0x80000010 in hello", lambda m: At(RAM + 16, guest(m))),
        ("break pc", "break 0x80000000 in hello", lambda m: At(RAM, guest(m))),
        ("break 16 in any", "break 16 in any", lambda m: At(16)),
        ("break 16 in HS, U", "break 16 in HS, U", lambda m: At(16, Scope(frozenset({HS, U})))),
        ("break 16 in ticker", "break 16 in ticker", lambda m: At(16, guest(m, 1))),
        ("break 16 in VU,ticker", "break 16 in VU,ticker", lambda m: At(16, guest(m, 1, frozenset({VU})))),
        (
            "break 16 in VMID 3",
            "break 16 in VMID 3",
            lambda m: At(16, Scope(frozenset({VS, VU}), 3 << 44, 0x3FFF << 44)),
        ),
        ("watch 0x100", "watch 0x100 for 8 in hello", lambda m: Touch(0x100, scope=guest(m))),
        (
            "awatch gpa:0x100, 4 changed equals -1 in any",
            "awatch gpa:0x100 for 4 changed equals 0xffffffff in any",
            lambda m: Touch(0x100, 4, 3, Space.GUEST, changed=True, equals=0xFFFF_FFFF),
        ),
        (
            "rwatch pa:0x80000000 for 2",
            "rwatch pa:0x80000000 for 2 in any",
            lambda m: Touch(RAM, 2, 1, Space.PHYSICAL),
        ),
        ("csr satp", "csr vsatp write in hello", lambda m: CsrAccess("vsatp", 2, False, guest(m))),
        (
            "csr satp in VU, VS",
            "csr vsatp write in VU, VS",
            lambda m: CsrAccess("vsatp", 2, False, Scope(frozenset({VS, VU}))),
        ),
        ("csr satp in HS", "csr satp write in HS", lambda m: CsrAccess("satp", 2, False, Scope(frozenset({HS})))),
        ("csr hgatp access changed in any", "csr hgatp access changed in any", lambda m: CsrAccess("hgatp", 3, True)),
        ("trap", "trap in hello", lambda m: Trap(scope=guest(m))),
        (
            "trap load page fault, 2 from VU to VS in any",
            "trap load page fault, 2 from VU to VS in any",
            lambda m: Trap(1 << LOAD_PAGE | 1 << 2, 0, frozenset({VU}), frozenset({VS})),
        ),
        ("trap VSTI, interrupt 9 in any", "trap VSTI, interrupt 9 in any", lambda m: Trap(0, 1 << 6 | 1 << 9)),
        (
            "exit EXC_LOAD_GUEST_PAGE_FAULT",
            "exit EXC_LOAD_GUEST_PAGE_FAULT in hello",
            lambda m: Trap(1 << LOAD_GUEST, 0, frozenset({VS, VU}), frozenset({M, HS, U}), guest(m)),
        ),
        (
            "mode enter in any",
            "mode enter in any",
            lambda m: Change(frozenset((a, b) for a in (M, HS, U) for b in (VS, VU))),
        ),
        ("mode from U to HS in any", "mode from U to HS in any", lambda m: Change(frozenset({(U, HS)}))),
        ("mode M in any", "mode M in any", lambda m: Change(frozenset((a, M) for a in (HS, U, VS, VU)))),
        ('console "a in b" in ticker', 'console "a in b" in ticker', lambda m: Printed(b"a in b", "ticker")),
    ],
)
def test_what_a_line_means(book: Book, line: str, text: str, what: Any) -> None:
    stop = book.set(HELLO, line)
    assert stop.what == what(book.machine)
    assert stop.note.text == text
    assert book.set(HELLO, stop.note.text).what == stop.what, "the line that is kept means the same"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("break", "where?"),
        ("break nosuch", "unknown name 'nosuch'"),
        ("break 1 in nobody", "no mode, VM or guest is called 'nobody'"),
        ("break 1 in hello,ticker", "one VM or guest at most"),
        ("break 1 in M,hello", "a guest is in VS or VU"),
        ("break 1 in VMID 99999", "VMIDs are 0 to"),
        ("break 1 if", "if what?"),
        ("break 1 if nosuch", "unknown name"),
        ("break 1 if (", "ends too early"),
        ("watch xa:1", "xa: addresses are va:, gpa:, pa:"),
        ("watch 1, 0", "1 to 4G"),
        ("watch 1, 16 equals 3", "at most 8 bytes"),
        ("watch 1, 4 for 8", "one length"),
        ("watch 1 changed 5", "equals VALUE"),
        ("rwatch 1 changed", "only what is written changes"),
        ("watch pa:0x10000000", "not RAM"),
        ("watch 1 in hello in ticker", "there twice"),
        ("csr", "which CSR?"),
        ("csr nosuch", "no CSR 'nosuch'"),
        ("csr satp loudly", "'loudly'"),
        ("trap nonsense", "no cause 'nonsense'"),
        ("trap 64", "codes are 0 to 63"),
        ("trap from X", "mode 'x'"),
        ("exit to VS", "left for M or HS"),
        ("mode M from M to M", "no change of mode"),
        ("console", "which text?"),
        ('console "x" in nobody', "no console is called 'nobody'"),
        ("frob 1", "no kind of stop"),
    ],
)
def test_what_a_line_cannot_mean(book: Book, line: str, says: str) -> None:
    with pytest.raises(EmulatorError) as error:
        book.set(HELLO, line)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not book.stops


def test_lists_say_what_was_never_hit_and_why(book: Book) -> None:
    main = book.machine.host.vms[0].symbols.find("main")  # type: ignore[union-attr]
    lines = ("break main if a0 == 3", "watch gpa:0x100", "trap page-fault in any")
    once, _, last = (book.set(HELLO, line) for line in lines)
    book.enable(last, False)
    last.hits, once.ignore = 2, 5
    first, second, third = stops.rows(book.machine)
    assert first.where == f"{main:#x} <main> hello.c:29 in hello" and first.condition == "a0 == 3"
    assert first.remark == "never hit, passes the next 5" and first.mark == "◆"
    assert second.remark == "never hit, hello has no memory there" and second.mark == "●"
    assert third.where == "page-fault in any" and third.remark == "hit 2 times" and third.mark == "○"


# --- a bare machine of our own ---

WORK = """
        li   sp, 0x80100000
        la   s4, counter
loop:   addi a0, a0, 1
        jal  ra, outer
        j    loop
outer:  addi sp, sp, -32
        sd   ra, 24(sp)
        beqz a0, early
        jal  ra, leaf
        jal  ra, leaf
early:  ld   ra, 24(sp)
        addi sp, sp, 32
        ret
leaf:   sd   a0, 0(s4)
        csrw mscratch, a0
        ret
counter: .dword 0
"""


def bare(path: Path, text: str = WORK, base: int = RAM) -> Machine:
    program = assemble(base, text)
    code = program.code.ljust(-(-len(program.code) // 4) * 4, b"\0")
    words = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    path.write_bytes(elf(words, base=base, symbols=program.labels))
    return machines.bare(str(path), memory=16 << 20, harts=1, dtb=None, network=False)[0]


class Line:
    """A session and its commands."""

    def __init__(self, machine: Machine) -> None:
        self.session = Session(machine, pace=False)
        self.context = commands.Context(self.session, SimpleNamespace())  # type: ignore[arg-type]
        self.session.start()

    def say(self, text: str) -> str:
        answer = commands.invoke(self.context, text).result(30)
        return str(answer)

    def run(self, text: str = "run") -> str:
        """What stopped it."""
        self.say(text)
        return self.stopped()

    def stopped(self) -> str:
        """Wait for it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not self.session.call(lambda machine: self.session.running).result(30):
                return self.session.call(lambda machine: self.session._reason).result(30)
            time.sleep(0.005)
        raise AssertionError("it did not stop")

    @property
    def pc(self) -> int:
        return self.session.call(lambda machine: hart_of(machine, self.session.subject).pc).result(30)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(bare(tmp_path / "work.elf"))
    yield made
    made.session.close()


def label(name: str, text: str = WORK) -> int:
    return assemble(RAM, text)[name]


def test_one_line_says_what_stopped(line: Line) -> None:
    leaf, counter = label("leaf"), label("counter")
    line.say("break leaf")
    assert line.run() == f"stop 1: breakpoint at {leaf:#x} <leaf>, M"
    line.say("watch counter")
    assert line.run() == f"stop 2: written {counter:#x} <counter>: 0x0 -> 0x1; M, by {leaf:#x} <leaf>"
    line.say("catch csr mscratch")
    assert line.run() == f"stop 3: mscratch 0x0 -> 0x1; M, by {leaf + 4:#x} <leaf+0x4>"
    line.say("disable 2,3")
    line.say("condition 1 a0 == 5 && $hits < 100")
    assert line.run().startswith("stop 1") and line.session.machine.harts[0].x[10] == 5
    line.say("ignore 1 1")
    line.say("condition 1")
    assert line.run().startswith("stop 1") and line.session.machine.harts[0].x[10] == 6
    listed = line.say("stops").split("\n")
    assert listed[0] == "3 stops" and listed[1].endswith("hit 4 times") and "○" in listed[2]
    assert line.say("delete 1") == "stop 1 removed"
    assert line.say("delete") == "stops 2, 3 removed" and line.say("stops").startswith("no breakpoints")


def test_traps_and_the_handlers(tmp_path: Path) -> None:
    made = Line(bare(tmp_path / "trap.elf", "la t0, trap; csrw mtvec, t0\nhere: ecall\n.align 4\ntrap: j trap"))
    made.say("catch trap ecall")
    here = label("here", "la t0, trap; csrw mtvec, t0\nhere: ecall\n.align 4\ntrap: j trap")
    assert made.run() == f"stop 1: environment call from M, M to M, at {here:#x} <here>"
    assert made.pc == label("trap", "la t0, trap; csrw mtvec, t0\nhere: ecall\n.align 4\ntrap: j trap")
    made.session.close()


@pytest.mark.parametrize(("where", "back"), [("outer", "loop"), ("leaf", "outer"), ("early", "loop")])
def test_finish(line: Line, where: str, back: str) -> None:
    line.say(f"tbreak {where}")
    line.run()
    stack = {"outer": 0x80100000, "leaf": 0x80100000 - 32, "early": 0x80100000}[where]
    said = line.say("finish")
    assert "returns to" in said and "by ra" in said
    reason = line.stopped()
    offset = {"outer": 8, "leaf": 16, "early": 8}[where]
    assert line.pc == label(back) + offset and f"has returned to {line.pc:#x}" in reason
    assert line.session.machine.harts[0].x[2] == stack


def test_steps_stop_at_breakpoints_and_events(line: Line) -> None:
    line.say("break outer")
    assert line.run("step 10").startswith("stop 1") and line.pc == label("outer")
    line.say("catch csr mscratch")
    assert "stop 2: mscratch" in line.run("step 100") and line.pc == label("leaf") + 8


def test_until_goes_past_a_loop(tmp_path: Path) -> None:
    made = Line(bare(tmp_path / "loop.elf", "li a0, 50\nloop: addi a0, a0, -1\nback: bnez a0, loop\nend: j end"))
    made.run("until back")
    assert made.run("until") == "past the loop" and made.session.machine.harts[0].x[10] == 0
    made.session.close()


SAVED, CALLER = "f: addi sp, sp, -16\nsd ra, 8(sp)", RAM + 0x204


@pytest.mark.parametrize(
    ("text", "at", "frame"),
    [
        ("f: nop\nret", 0, (CALLER, 0, "at its entry")),
        ("f: nop\nhere: ret", 1, (CALLER, 0, "not stored")),
        (f"{SAVED}\nhere: nop", 2, (0xAAAA, 16, "prologue")),
        (f"{SAVED}\naddi sp, sp, -16\nhere: nop", 3, (0xBBBB, 32, "prologue")),
        (f"{SAVED}\nld ra, 8(sp)\naddi sp, sp, 16\nret\nhere: nop", 5, (0xAAAA, 16, "prologue")),
        (f"{SAVED}\nld ra, 8(sp)\naddi sp, sp, 16\nhere: ret", 4, (CALLER, 0, "not stored")),
    ],
)
@pytest.mark.parametrize("certain", [False, True])
def test_frames_by_what_the_function_did(text: str, at: int, frame: tuple[int, int, str], certain: bool) -> None:
    program = assemble(RAM, text)
    machine = Machine(memory=1 << 20)
    machine.memory.write(RAM, program.code)
    hart = machine.harts[0]
    stack = RAM + 0x8000
    machine.memory.write(RAM + 0x200, assemble(RAM + 0x200, f"jal ra, {RAM}").code)
    hart.x[1], hart.x[2], hart.pc = CALLER, stack, RAM + 4 * at
    machine.memory.write_int(stack + 8, 8, 0xAAAA)
    machine.memory.write_int(stack + 24, 8, 0xBBBB)
    found = frame_of(hart, Symbols([Symbol(RAM, len(program.code), "f", certain)]))
    assert (found.returns, found.stack) == (frame[0], stack + frame[1]) and frame[2] in found.how


def test_frames_without_symbols() -> None:
    machine = Machine(memory=1 << 20)
    hart = machine.harts[0]
    machine.memory.write(RAM, assemble(RAM, "jal ra, 0x80000100").code)
    hart.pc, hart.x[2] = RAM + 0x200, RAM + 0x8000
    with pytest.raises(FrameError):
        frame_of(hart, Symbols())
    hart.x[1] = RAM + 4
    assert frame_of(hart, Symbols()).how == "by ra, which points behind a call"
    hart.x[8] = RAM + 0x8010
    machine.memory.write_int(RAM + 0x8008, 8, RAM + 4)
    hart.x[1] = 0
    found = frame_of(hart, Symbols())
    assert (found.returns, found.stack, found.how) == (RAM + 4, RAM + 0x8010, "by the frame pointer s0")


@pytest.mark.parametrize("call", ["nop\njal ra, 0x80000100", "auipc ra, 0\njalr ra, 0x100(ra)"])
@pytest.mark.parametrize(("at", "returns"), [(0, RAM + 8), (1, RAM + 8), (2, 0xAAAA)])
def test_a_prologue_without_symbols_is_found_by_the_call(call: str, at: int, returns: int) -> None:
    """s0 is still the caller's, and would tell where that returns to."""
    machine = Machine(memory=1 << 20)
    hart = machine.harts[0]
    machine.memory.write(RAM, assemble(RAM, call).code)
    machine.memory.write(RAM + 0x100, assemble(RAM + 0x100, "addi sp, sp, -16\nsd ra, 8(sp)\nhere: nop").code)
    stack = RAM + 0x8000
    machine.memory.write_int(stack - 8, 8, 0xAAAA)
    machine.memory.write_int(stack + 0x10 - 8, 8, RAM + 8)
    hart.pc, hart.x[1], hart.x[2], hart.x[8] = RAM + 0x100 + 4 * at, RAM + 8, stack - 16 * (at > 0), stack + 0x10
    found = frame_of(hart, Symbols())
    assert (found.returns, found.stack) == (returns, stack) and "frame pointer" not in found.how


# --- kept ---


def test_stops_go_along_with_a_restore(line: Line, tmp_path: Path) -> None:
    line.say("break leaf if a0 > 2")
    line.run()
    before = line.session.machine
    line.session.call(lambda machine: snapshots.save(machine, tmp_path / "a.snap")).result(30)
    line.say(f"restore {tmp_path / 'a.snap'}")
    line.session.call(lambda machine: None).result(30)
    assert line.session.machine is not before and not len(before.stops)
    assert line.run().startswith("stop 1") and line.session.machine.harts[0].x[10] == 3
    assert line.say("stops").split("\n")[1].endswith("hit 2 times")


def kept(folder: Path) -> list[Path]:
    return sorted(each for each in (folder / "stops").glob("*"))


def test_stops_are_kept_by_program(tmp_path: Path) -> None:
    book = Book(bare(tmp_path / "one.elf"))
    book.open(tmp_path / "state")
    assert not kept(tmp_path / "state") if (tmp_path / "state").exists() else True
    book.set(Subject(), "break leaf if a0 == 3")
    book.set(Subject(), "watch sp, 4")
    book.set(Subject(), "break outer", temporary=True)
    book.enable(book.find(2), False)
    book.find(1).ignore = 7
    book.changed()
    (file,) = kept(tmp_path / "state")
    saved = json.loads(file.read_text())
    assert [each["text"] for each in saved["stops"]] == ["break leaf", "watch 0x0 for 4"]

    again = Book(bare(tmp_path / "copy.elf"))
    again.open(tmp_path / "state")
    first, second = again.stops
    assert first.what == At(label("leaf")) and first.note.condition == "a0 == 3" and first.ignore == 7
    assert first.condition is not None and not second.enabled
    other = Book(bare(tmp_path / "other.elf", WORK.replace("leaf:", "leaf: nop;")))
    other.open(tmp_path / "state")
    assert not other.stops
    again.remove(first)
    again.remove(second)
    assert not kept(tmp_path / "state")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"format": 2, "stops": []}', '{"format": 1, "stops": [{}]}', "\xff", "[" * 100_000,
        '{"format": 1, "stops": [{"text": 1, "condition": "", "home": "", "enabled": true, "ignore": 0}]}',
        '{"format": 1, "stops": [{"text": "break 1", "condition": "", "home": "", "enabled": true, "ignore": -1}]}',
    ],
)  # fmt: skip
def test_a_broken_file_is_told_and_not_lost(tmp_path: Path, text: str) -> None:
    machine = bare(tmp_path / "one.elf")
    book = Book(machine)
    file = tmp_path / "stops" / f"{program_key(machine)}.json"
    file.parent.mkdir()
    file.write_text(text, encoding="latin-1")
    book.open(tmp_path)
    (warning,) = machine.warnings
    assert str(file) in warning and "not set" in warning and "\n" not in warning and not book.stops
    assert file.read_text(encoding="latin-1") == text
    book.set(Subject(), "break leaf")
    aside, written = kept(tmp_path)
    assert aside.read_text(encoding="latin-1") == text and "break leaf" in written.read_text()


def test_names_that_mean_nothing_here_wait(tmp_path: Path) -> None:
    machine = bare(tmp_path / "one.elf")
    book = Book(machine)
    file = tmp_path / "stops" / f"{program_key(machine)}.json"
    file.parent.mkdir()
    entry = {"text": "break later", "condition": "", "home": "", "enabled": True, "ignore": 0}
    file.write_text(json.dumps({"format": 1, "stops": [entry, {**entry, "text": "break 4", "home": "gone"}]}))
    book.open(tmp_path)
    first, second = stops.rows(machine)
    assert first.remark.startswith("waits: unknown name 'later'") and "there is no VM gone" in second.remark
    machine.symbols = machine.symbols | Symbols([Symbol(RAM + 8, 4, "later", True)])
    machine.stops.renew()
    assert book.find(1).what == At(RAM + 8) and book.find(2).what is None


# --- the application ---


async def test_marks_in_the_disassembly_and_the_list() -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        for text in ("break pc", "break pc+4 if a0 == 99", "break pc+8", "disable 3", "watch sp"):
            desk.application.carry_out(text)
        await desk.until(lambda: len(desk.machine.stops) == 4)
        await desk.press("5")
        await desk.settled()
        pc = desk.machine.host.vms[0].vcpus[0].pc
        signs = [line[0] for line in desk.lines("code") if line[0] in "●◆○"]
        assert signs == ["●", "◆", "○"] and f"●▶ {pc:>10x}" in " ".join(desk.lines("code"))
        await desk.press("B")
        await desk.settled()
        rows = desk.lines("stops")
        assert len(rows) == 4 and "●" in rows[0] and "◆" in rows[1] and "if a0 == 99" in rows[1] and "○" in rows[2]
        assert all("never hit" in row for row in rows)
        await desk.press("enter")
        await desk.until(lambda: not desk.machine.stops.find(1).enabled)
        await desk.press("down", "x")
        await desk.until(lambda: desk.machine.stops.find(2) is None)


async def test_the_list_by_mouse() -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        for text in ("break pc", "break pc+4"):
            desk.application.carry_out(text)
        await desk.until(lambda: len(desk.machine.stops) == 2)
        await desk.press("B")
        await desk.settled()
        await desk.pilot.click("#stops", offset=(9, 2))
        await desk.until(lambda: not desk.machine.stops.find(2).enabled)
        await desk.pilot.click("#stops", offset=(3, 1))
        await desk.until(lambda: desk.machine.stops.find(1) is None)


async def test_a_stop_is_told_on_top_and_finish_has_a_key() -> None:
    async with opened(["hello"], running=False) as desk:
        desk.application.carry_out("catch exit in hello")
        await desk.until(lambda: len(desk.machine.stops) == 1)
        await desk.press("space")
        await desk.until(lambda: "stop 1:" in desk.screen()[0])
        assert "guest-page fault" in desk.screen()[0]
        desk.application.carry_out("delete 1")
        desk.application.carry_out("tbreak print")
        await desk.until(lambda: [each.number for each in desk.machine.stops] == [2])
        await desk.press("space")
        await desk.until(lambda: "breakpoint at" in desk.screen()[0] and not len(desk.machine.stops))
        ra = hart_of(desk.machine, desk.session.subject).x[1]
        await desk.press("F")
        await desk.until(lambda: "has returned" in desk.screen()[0])
        assert hart_of(desk.machine, desk.session.subject).pc == ra


async def test_completion_offers_symbols_worlds_and_causes() -> None:
    async with opened(["hello"], running=False) as desk:
        await desk.settled()
        complete = desk.application._complete
        assert "break main" in complete("break mai")
        assert "break main in VS" in complete("break main in V")
        assert "break main in hello" in complete("break main in h")
        assert "catch trap LOAD_PAGE" in complete("catch trap LOAD_P")
        assert "catch csr vsatp" in complete("catch csr vsa")
        desk.application.carry_out("break main")
        await desk.until(lambda: len(desk.machine.stops) == 1)
        assert complete("delete ") == ["delete 1"]


async def test_b_stops_for_what_is_under_the_cursor_and_again_no_more() -> None:
    async with opened(["ticker", "faulty"], (120, 40), running=False) as desk:
        desk.session.run(100_000)
        await desk.until(lambda: desk.session.stops)

        async def toggled(*keys: str) -> str:
            await desk.press(*keys)
            await desk.settled()
            (text,) = desk.ask(lambda machine: [stop.note.text for stop in desk.session.book.stops])
            return str(text)

        async def gone() -> None:
            await desk.press("b")
            await desk.settled()
            assert desk.ask(lambda machine: desk.session.book.stops) == []

        assert await toggled("T", "l", "b") == "trap 15 from VS to VS in faulty"
        await desk.press("space")
        await desk.until(lambda: desk.session.stops == 2)
        assert "store/AMO page fault, VS of faulty to VS" in desk.session.reason
        await gone()
        assert await toggled("W", "b") == "mode switch in any"
        await gone()
        await desk.press("I")
        await desk.press(*["down"] * next(at for at, row in enumerate(desk.lines("interrupts")) if "VSTI" in row))
        assert await toggled("b") == "trap interrupt 6, interrupt 5 in any"
        await gone()
        await desk.press("4")
        pane = desk.pane("csrs")
        await desk.press(*["down"] * next(at for at, row in enumerate(desk.lines("csrs")) if "hgatp" in row))
        assert pane.selected == "hgatp"
        assert await toggled("b") == "csr hgatp write in ticker"
        await gone()
        await desk.press("6", "home")
        leaf = next(at for at, row in enumerate(desk.lines("gstage")) if "spans" not in row and "→" in row)
        await desk.press(*["down"] * leaf)
        assert (await toggled("b")).startswith("awatch gpa:0x80000000 for 12288")
        await gone()
