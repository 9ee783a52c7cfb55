"""Memory by address: commands over ranges, the pane of memory, and expressions that are shown at stops."""

from __future__ import annotations

import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, commanded
from desk import NOP, RAM, Desk, elf, jump, opened, with_page_features

from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import machines
from rvtui.commands.memory import DUMPED
from rvtui.keeping import program_key
from rvtui.monitor.script import Line
from rvtui.monitor.shell import Monitor
from rvtui.session import Session
from rvtui.spaces import Place, Trail
from rvtui.stops import MOST_SHOWN, Book
from rvtui.subjects import Subject, hart_of

SCRATCH = 0x8010_0000
"""Guest-physical memory that no bundled guest uses."""
SIZES = ((80, 24), (200, 50))


def memory(bench: Bench, address: int, length: int) -> bytes:
    return bench.ask(lambda machine: machine.host.vms[0].memory.read(address, length))


def put(bench: Bench, address: int, data: bytes) -> None:
    bench.ask(lambda machine: machine.host.vms[0].memory.write(address, data))


# Ranges with parts that are no memory.


def _trail(bench: Bench, address: int) -> Trail:
    return bench.ask(lambda machine: Place(machine, Subject(), "va", address).trail())


def test_a_range_is_parted_where_it_leads_elsewhere(translated: Bench) -> None:
    """What a part says of its first byte holds of all of it, and memory is not hidden by what is beside it."""
    hart = translated.machine.harts[0]
    for entry, leaf in ((0x5_0000 + 8 * 4, 0xCF), (0x4_5000 + 8 * 2, 0xDF)):  # behind parts that lead nowhere
        translated.ask(lambda m, entry=entry, leaf=leaf: m.memory.write_int(RAM + entry, 8, RAM >> 2 | leaf))

    def look(machine: Machine) -> int:
        place = Place(machine, Subject(), "va", 0)
        count = 0
        for start, length in ((0, 1 << 40), (0x4000_0000 - 64, 0x3_0000), (RAM + 0x20_0000 - 64, 0x1000)):
            for at, trail in place.at(start).trails(length):
                count += 1
                for offset in {0, trail.size // 2, trail.size - 1}:
                    walk = hart.walk(start + at + offset, Access.LOAD)
                    expected = None if trail.piece is None else trail.piece.address + offset
                    assert walk.physical == expected, hex(start + at + offset)
        return count

    assert translated.ask(look) < 3000, "a TiB of nothing is no TiB of pages"
    for start, end in ((0xC000_0000, 1 << 32), (RAM + 0x20_0000, RAM + 0x40_0000)):
        trail = _trail(translated, start + 8)
        assert trail.piece is None and trail.size == end - start - 8
        assert _trail(translated, end).piece is not None


def test_a_range_beyond_the_width_of_addresses_is_one_step(translated: Bench) -> None:
    steps = translated.ask(lambda m: list(Place(m, Subject(), "va", 1 << 40).trails((1 << 64) - (1 << 40))))
    assert len(steps) < 1000 and steps[0][1].size == (1 << 64) - (1 << 38) - (1 << 40)


def test_what_pmp_refuses_a_debugger_reads_and_says_so() -> None:
    machine = Machine(memory=4 << 20)
    hart = machine.harts[0]
    for number, end in enumerate((RAM + 0x1000, RAM + 0x1010, (1 << 56) - 4)):  # 16 bytes of a page
        hart.set_csr(f"pmpaddr{number}", end >> 2)
    hart.set_csr("pmpcfg0", 0x0F | 0x08 << 8 | 0x0F << 16)
    hart.mode = Mode.HS
    machine.memory.write(RAM + 0xFF8, bytes(range(1, 41)))
    with commanded(machine) as bench:
        assert bench.ask(lambda m: hart.walk(RAM + 0x1008).physical) is None
        assert bench.data(f"hexdump {RAM + 0xFF8:#x} 40")["parts"][0]["bytes"] == bytes(range(1, 41)).hex()
        notes = [bench.data(f"memory {RAM + 0x1000 + at:#x}")["note"] for at in (-1, 0, 15, 16)]
        assert notes[0] is notes[3] is None and all("PMP entry 1 (---" in note for note in notes[1:3])
        assert "no memory there" in bench.fails("x 0x10")


def test_examining_goes_as_far_as_memory_does(bench: Bench) -> None:
    end = RAM + (32 << 20)
    put(bench, end - 8, struct.pack("<Q", 0x1234))
    found = bench.data(f"x/4gx gpa:{end - 8:#x}")
    assert found["items"] == ["0x1234"] and "no memory there" in found["missing"]
    assert bench.say(f"x/4gx gpa:{end - 8:#x}").split("\n")[1] == f"gpa:{end:#x}:  hello has no memory there"
    assert bench.data(f"x/2wx gpa:{end - 8:#x}")["missing"] is None
    assert "no memory there" in bench.fails(f"x/gx gpa:{end - 4:#x}"), "not one whole item"


def test_a_hex_dump_has_text_and_says_what_is_missing(bench: Bench) -> None:
    put(bench, RAM, b"Hello\x00\x1b[31m<world>~\x7f\x80")
    before = bench.ask(Machine.state_hash)
    lines = bench.say("hexdump gpa:0x7fffffe0 64").split("\n")
    assert lines[0] == "gpa:0x7fffffe0..0x7fffffff:  hello has no memory there"
    assert lines[1] == "gpa:0x80000000:  48 65 6c 6c 6f 00 1b 5b  33 31 6d 3c 77 6f 72 6c  Hello..[31m<worl"
    assert lines[2].split("  ")[1] == "64 3e 7e 7f 80 " + " ".join(f"{b:02x}" for b in memory(bench, RAM + 21, 3))
    parts = bench.data("hexdump gpa:0xffffff0 32")["parts"]
    assert [part["why"] for part in parts] == ["hello has no memory there", "device uart of hello"]
    assert [part["size"] for part in parts] == [16, 16]
    virtual = bench.data("hexdump 0xffffff0 32")["parts"]
    assert "G-stage level 2" in virtual[0]["why"] and virtual[1]["why"] == "device uart of hello"
    bench.give("hexdump gpa:0xffffff0 32")
    assert bench.data("hexdump")["address"] == "0x10000010", "it goes on"
    assert "at most 64 KiB" in bench.fails(f"hexdump main {DUMPED + 1}")
    assert bench.ask(Machine.state_hash) == before, "the UART was not read"


def test_searching_with_wildcards_and_steps(bench: Bench) -> None:
    put(bench, SCRATCH, bytes.fromhex("13aa0b5b" "13ab0b5d" "ff13aa0b" "5b000000"))
    where = f"gpa:{SCRATCH:#x} 64"

    def hits(line: str) -> list[int]:
        return [int(each["address"], 16) - SCRATCH for each in bench.data(line)["found"]]

    assert hits(f"search hex:13a?0b5? {where}") == [0, 4, 9]
    assert hits(f"search hex:13??0b5b {where}") == [0, 9]
    assert hits(f"search hex:?3a?0b5b {where} 4") == [0]
    assert hits(f"search hex:5b {where}") == [3, 12], "a [ is a byte like others"
    assert hits(f"search/b 0 {where} 16") == [16, 32, 48]
    chunk = 1 << 20
    put(bench, SCRATCH + chunk - 2, b"\xde\xad\xbe\xef")  # across what is read at once
    assert hits(f"search hex:dead??ef gpa:{SCRATCH:#x} 2M") == [chunk - 2]
    assert "pairs of hexadecimal digits" in bench.fails("search hex:1?2")
    assert "is 0" in bench.fails(f"search 1 {where} 0")


def test_what_a_search_passes_over_is_named_by_range(bench: Bench) -> None:
    answer = bench.give('search "no such" gpa:0xfff0000 2M')
    assert answer.lines[0] == "nowhere in 2,097,152 bytes"
    assert any("device uart of hello" in line and "0x10000000.." in line for line in answer.lines)
    found = answer.data["missing"]
    assert sum(gap["size"] for gap in found) == 2 << 20 and int(found[0]["address"], 16) == 0xFFF_0000


def test_comparing_where_one_side_ends(bench: Bench) -> None:
    put(bench, RAM + 16, b"\xf7")
    end = RAM + (32 << 20)
    put(bench, end - 32, bytearray(memory(bench, RAM, 32)))
    put(bench, end - 1, b"\x77")
    answer = bench.give(f"mcompare gpa:{end - 32:#x} gpa:{RAM:#x} 64")
    same = memory(bench, RAM + 31, 1) == b"\x77"
    assert answer.data["length"] == 32 and answer.data["different"] == (0 if same else 1)
    assert answer.lines[-1] == f"not compared: gpa:{end:#x}..{end + 31:#x} (32 bytes): hello has no memory there"
    assert "no memory there" in bench.fails(f"compare gpa:{end:#x} gpa:{RAM:#x} 64")


def test_copying_also_over_itself(bench: Bench) -> None:
    data = bytes(range(256)) * 33
    put(bench, SCRATCH, data)
    assert bench.say(f"copy gpa:{SCRATCH:#x} gpa:{SCRATCH + 1:#x} {len(data)}").startswith("8,448 bytes copied")
    assert memory(bench, SCRATCH, len(data) + 1) == data[:1] + data
    pa = bench.ask(lambda machine: machine.host.vms[0].memory.physical(SCRATCH))
    put(bench, SCRATCH, data)
    bench.give(f"copy pa:{pa + 16:#x} gpa:{SCRATCH:#x} {len(data) - 16}")  # the same memory, by another name
    assert memory(bench, SCRATCH, len(data) - 16) == data[16:]
    end = RAM + (32 << 20)
    before = memory(bench, end - 8, 8)
    assert "8 of 16 bytes are no memory" in bench.fails(f"copy gpa:{SCRATCH:#x} gpa:{end - 8:#x} 16")
    assert memory(bench, end - 8, 8) == before
    assert "at most 256 MiB" in bench.fails(f"copy gpa:{SCRATCH:#x} gpa:{RAM:#x} 257M")


def test_a_file_with_holes_on_request(bench: Bench) -> None:
    put(bench, RAM, b"begin")
    line = "dump h.bin gpa:0x7ffff000 8k"
    assert "4,096 of 8,192 bytes are no memory: gpa:0x7ffff000..0x7fffffff" in bench.fails(line)
    assert not Path("h.bin").exists()
    answer = bench.give(f"{line} holes")
    assert Path("h.bin").read_bytes() == bytes(4096) + memory(bench, RAM, 4096)
    assert answer.lines[1].startswith("zeros in it: gpa:0x7ffff000..0x7fffffff")
    assert "is there already" in bench.fails(f"{line} holes")
    bench.give(f"{line.replace('8k', '6k')} replace holes")
    assert Path("h.bin").stat().st_size == 6144
    assert "no memory there" in bench.fails("dump none.bin gpa:0x1000 4k holes") and not Path("none.bin").exists()


def test_the_bytes_at_an_address_in_expressions(bench: Bench) -> None:
    put(bench, SCRATCH, struct.pack("<QQ", SCRATCH + 8, 0xABCD))
    assert bench.data(f"print *{SCRATCH:#x}")["value"] == hex(SCRATCH + 8)
    assert bench.data(f"print **{SCRATCH:#x} + 1")["value"] == "0xabce"
    assert bench.data(f"print 2 * (*({SCRATCH:#x} + 8))")["value"] == hex(2 * 0xABCD)
    assert "in device uart" in bench.fails("print *0x10000000")
    assert "write a * (*b)" in bench.fails("print 2**60")
    bench.give("until main")
    for wanted in (1, 0xABCD):  # in memory that the hypervisor has not mapped yet
        bench.give(f"tbreak main+2 if *{SCRATCH + 8:#x} == {wanted}")
    bench.give("run 100")
    assert [stop.number for stop in bench.machine.stops] == [1] and bench.session.reason.startswith("stop 2: ")


def test_memory_as_text_says_the_way_and_the_rights(translated: Bench) -> None:
    walk = translated.ask(lambda machine: machine.harts[0].walk(0x4000_3008))
    translated.ask(lambda machine: machine.memory.write(walk.physical, b"found it"))
    answer = translated.give("memory 0x40003008")
    way = {"va": "0x40003008", "gpa": hex(walk.guest_physical), "pa": hex(walk.physical)}
    assert answer.data["way"] == way and answer.data["rights"].keys() == {"VS", "G"}
    assert "66 6f 75 6e 64 20 69 74" in answer.lines[1] and "found it" in answer.lines[1]
    assert answer.data["rights"]["VS"].startswith("rwx") and "64 KiB" in answer.data["rights"]["VS"]
    lost = translated.give("memory 0xc0000000")
    assert "G-stage level" in lost.lines[0] and lost.data["why"].startswith("0xc0000000 does not translate")
    assert translated.data("memory 0x40003008 gpa")["space"] == "gpa"
    assert "after ADDRESS may stand" in translated.fails("memory 0 va pa")
    assert "after ADDRESS may stand" in translated.fails("memory 0 vaddr")


def test_finding_the_next_place(bench: Bench) -> None:
    put(bench, SCRATCH + 100, b"needle")
    put(bench, SCRATCH + 300, b"needle")
    assert bench.data(f'memfind gpa:{SCRATCH:#x} "needle"')["address"] == hex(SCRATCH + 100)
    assert bench.data(f'memfind gpa:{SCRATCH + 101:#x} "needle"')["address"] == hex(SCRATCH + 300)
    assert "is nowhere in" in bench.fails(f'memfind gpa:{SCRATCH + 301:#x} "needle"')


# Expressions at stops.


def monitor_lines(machine: Machine, lines: list[str], *, as_json: bool = False) -> list[str]:
    session = Session(machine, pace=False)
    session.start()
    try:
        monitor = Monitor(session, as_json=as_json)
        monitor._out = out = io.StringIO()  # type: ignore[assignment]
        for line in lines:
            assert monitor.carry_out(Line(line, "")), line
        return out.getvalue().split("\n")
    finally:
        session.close()


def test_expressions_are_said_after_each_stop() -> None:
    lines = ["display/x sp", "display/2i pc", "display/2wx sp-8", "display nowhere", "until main", "step"]
    said = monitor_lines(machines.with_guests(["hello"]), lines)
    last = said[max(index for index, line in enumerate(said) if line.startswith("stepped")) :]
    sp = [line for line in said if line.startswith("1: /x sp = ")]
    assert len(sp) == 3 and sp[0].endswith(" 0x0") and sp[1] != sp[2], "as it was set, at main, behind the step"
    assert "2: x/2i pc" in last and last[last.index("2: x/2i pc") + 1].startswith("   => ")
    assert re.fullmatch(r"  0x\w+( <\S+>)?:  0x\w{8}  0x\w{8}", last[last.index("3: x/2wx sp-8") + 1])
    assert any(line.startswith("4: nowhere: unknown name 'nowhere'") for line in last)
    (stop,) = [
        json.loads(line)["stop"]
        for line in monitor_lines(machines.with_guests(["hello"]), ["display sp", "until main"], as_json=True)
        if '"stop"' in line
    ]
    assert stop["displays"][0]["expression"] == "sp" and int(stop["displays"][0]["value"], 16) > RAM


def test_expressions_are_set_listed_and_removed(bench: Bench) -> None:
    assert bench.say("display") == "nothing is shown at stops: display EXPRESSION"
    bench.give("until main")
    sp = bench.ask(lambda machine: hart_of(machine, bench.session.subject).x[2])
    assert bench.say("display/d sp") == f"1: /d sp = {sp}"
    assert bench.say("watch-expression ticker:sp") == "2: ticker:sp = 0x0 = 0"
    assert bench.say("display").split("\n") == [f"1: /d sp = {sp}", "2: ticker:sp = 0x0 = 0"]
    assert bench.say("undisplay 1") == "expression 1 not shown any more"
    assert bench.say("display/wx sp").startswith("3: x/wx sp\n"), "numbers are not used again"
    assert "no expression 1: there is 2, 3" in bench.fails("undisplay 1")
    assert bench.say("undisplay") == "expressions 2, 3 not shown any more"
    assert "one of x d u" in bench.fails("display/xd sp") and "at most 64 items" in bench.fails("display/65wx sp")
    for _ in range(MOST_SHOWN):
        bench.give("display sp")
    assert "are shown already" in bench.fails("display sp")
    bench.give("undisplay")
    bench.give("display/8gx main")
    bench.give("x/1gx sp")
    bench.give("display")
    assert bench.data("x")["address"] == hex(sp + 8), "x goes on from where the user looked"


def program(path: Path) -> Machine:
    path.write_bytes(elf([NOP, jump(-4)], symbols={"main": RAM}))
    return machines.bare(str(path), memory=16 << 20, harts=1, dtb=None, network=False)[0]


def test_expressions_are_kept_by_program(tmp_path: Path) -> None:
    book = Book(program(tmp_path / "one.elf"))
    book.open(tmp_path)
    book.show("", "main+8")
    book.show("4wx", "sp")
    book.hide([1])
    again = Book(program(tmp_path / "copy.elf"))
    again.open(tmp_path)
    assert [(each.form, each.text) for each in again.displays] == [("4wx", "sp")] and not again.stops
    again.set(Subject(), "break main")
    third = Book(program(tmp_path / "copy.elf"))
    third.open(tmp_path)
    assert third.displays and len(third.stops) == 1
    third.hide([each.number for each in third.displays])
    third.remove(third.stops[0])
    assert not list((tmp_path / "stops").iterdir())


@pytest.mark.parametrize(
    ("displays", "good"),
    [
        (None, True), ([{"form": "x", "text": "sp"}], True), ("sp", False), ([{"form": 1, "text": "sp"}], False),
        ([{"text": "sp"}], False), ([{"form": "x" * 99, "text": "sp"}], False), 
        ([{"form": "", "text": "s" * 2000}], False),
        ([{"form": "", "text": "sp"}] * (MOST_SHOWN + 1), False),
    ],
)  # fmt: skip
def test_files_with_and_without_expressions(tmp_path: Path, displays: Any, good: bool) -> None:
    """Those of before this existed are read; damaged ones are told, and neither half of them is taken."""
    machine = program(tmp_path / "one.elf")
    entry = {"text": "break main", "condition": "", "home": "", "enabled": True, "ignore": 0}
    whole = {"format": 1, "stops": [entry]} | ({} if displays is None else {"displays": displays})
    file = tmp_path / "stops" / f"{program_key(machine)}.json"
    file.parent.mkdir()
    file.write_text(json.dumps(whole))
    book = Book(machine)
    book.open(tmp_path)
    assert len(book.stops) == good and bool(machine.warnings) is not good
    assert len(book.displays) == (len(displays) if good and displays else 0)


# The pane of memory.


async def at_main(desk: Desk, keys: tuple[str, ...] = ("X", "z")) -> None:
    await tell(desk, "until main")
    await desk.until(lambda: not desk.session.running and "reached" in desk.session.view.reason)
    await desk.press(*keys)
    await desk.settled()


async def tell(desk: Desk, line: str) -> None:
    """A command, done."""
    before = desk.session.view.sequence
    desk.application.carry_out(line)
    await desk.until(lambda: desk.session.view.sequence > before, line)
    await desk.settled()


async def look(desk: Desk, line: str) -> None:
    """Go somewhere in the pane, and wait until it is there."""
    text = desk.pane("memory").look
    await tell(desk, f"memory {line}")
    await desk.until(lambda: desk.pane("memory").look is not text, "the new address")
    await shown(desk)


async def shown(desk: Desk) -> None:
    """The pane shows the window that it wants."""

    def true() -> bool:
        pane = desk.pane("memory")
        return pane.seen is not None and pane.seen.asked == pane._asked and pane.seen.top == pane._top

    await desk.until(true, "the window")
    await desk.settled()


def rows(desk: Desk) -> list[tuple[int, str]]:
    """Address and the rest of each row."""
    found = [re.match(r"[●○ ] ([0-9a-f]{8,16})  (.*)", line) for line in desk.lines("memory")]
    return [(int(match[1], 16), match[2]) for match in found if match]


def bytes_of(desk: Desk) -> dict[int, bytes]:
    """The bytes that are on screen, by row."""
    return {
        at: bytes.fromhex(re.match(r"(?:[0-9a-f]{2}[ *]+)+", text)[0].replace("*", " "))  # type: ignore[index]
        for at, text in rows(desk)
        if re.match(r"[0-9a-f]{2}[ *]", text)
    }


@pytest.mark.parametrize("size", SIZES)
async def test_the_pane_shows_what_is_there(size: tuple[int, int]) -> None:
    async with opened(["hello"], size, running=False) as desk:
        await at_main(desk)
        hash_before = desk.state_hash()
        await look(desk, "main")
        main = desk.machine.host.vms[0].symbols.find("main")
        per = 32 if size[0] == 200 else 16
        found = bytes_of(desk)
        assert len(found) == size[1] - 6 and min(found) == main & -per
        for at, data in found.items():
            assert data == desk.machine.host.vms[0].memory.read(at, per), hex(at)
        walk = desk.ask(lambda machine: hart_of(machine, desk.session.subject).walk(main))
        head = desk.lines("memory")[0]
        assert head == f"va {main:x} → gpa {walk.guest_physical:x} → pa {walk.physical:x}"
        assert all(word in desk.lines("memory")[1] for word in ("ram  ", "main  ", "G r"))
        data = desk.machine.host.vms[0].memory.read(main & -per, per)
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
        assert rows(desk)[0][1].endswith(text)
        await look(desk, "0x10000000")
        assert "device uart of hello" in rows(desk)[0][1] and not bytes_of(desk)
        assert desk.lines("memory")[1].startswith("device uart")
        await desk.press("v", "v", "p", "down", "pagedown")
        assert desk.state_hash() == hash_before, "looking changed something"


async def test_a_page_that_does_not_translate_hides_no_neighbour() -> None:
    async with opened(with_page_features(), (80, 24), running=False) as desk:
        await desk.press("X", "z")
        desk.machine.memory.write(RAM + 0x1F_FFE0, b"the last bytes before the end..!")
        await look(desk, "0x801fffe0")
        text = dict(rows(desk))
        assert text[0x801F_FFE0].endswith("the last bytes b") and text[0x801F_FFF0].endswith("efore the end..!")
        assert text[0x8020_0000].startswith("G-stage level 1: V=0"), text
        assert set(list(text.values())[3:]) == {" ·"}
        await look(desk, "0x100000000")
        assert "VS-stage level 2: V=0" in rows(desk)[0][1]


async def test_words_and_pointers() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        vm = desk.machine.host.vms[0]
        main = vm.symbols.find("main")
        vm.memory.write(SCRATCH, struct.pack("<QQ", main + 4, 0x1122334455667788))
        await look(desk, f"gpa:{SCRATCH:#x}")
        await desk.press("v")
        words = {}
        for view in ("8 bit", "16 bit", "32 bit", "64 bit"):
            await desk.until(lambda view=view: desk.pane("memory").view == view)
            await shown(desk)
            words[view] = rows(desk)[0][1].split()
            await desk.press("v")
        data = vm.memory.read(SCRATCH, 16)
        for view, size in (("8 bit", 1), ("16 bit", 2), ("32 bit", 4), ("64 bit", 8)):
            expected = [int.from_bytes(data[at : at + size], "little") for at in range(0, 16, size)]
            assert [int(each, 16) for each in words[view]] == expected, view
        await shown(desk)
        assert rows(desk)[0] == (SCRATCH, f"{main + 4:016x}  → main+0x4")
        await desk.press("v")
        assert desk.pane("memory").view == "bytes"


async def test_one_byte_by_its_three_addresses() -> None:
    async with opened(with_page_features(), (80, 24), running=False) as desk:
        await desk.press("X", "z")
        desk.machine.harts[0].x[2] = sp = 0x4000_3008
        walk = desk.ask(lambda machine: machine.harts[0].walk(sp))
        desk.ask(lambda machine: machine.memory.write(walk.physical, b"here"))
        assert len({sp, walk.guest_physical, walk.physical}) == 3
        await look(desk, "sp")
        seen = [bytes_of(desk)[sp & -16]]
        assert b"here" in seen[0]
        for space, address in (("gpa", walk.guest_physical), ("pa", walk.physical), ("va", sp)):
            await desk.press("p")
            await desk.until(lambda space=space: desk.pane("memory").seen.place.space == space, space)
            await shown(desk)
            assert desk.pane("memory").at == address
            assert desk.lines("memory")[0].startswith(f"{space} {address:x}")
            seen.append(bytes_of(desk)[address & -16])
        assert len(set(seen)) == 1


async def test_pointers_are_followed_and_backspace_returns() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        vm = desk.machine.host.vms[0]
        vm.memory.write(SCRATCH, struct.pack("<QQ", 7, SCRATCH + 0x5008))
        await look(desk, f"{SCRATCH:#x}")
        await desk.press("down", "up", *["right"] * 11, "enter")
        await desk.until(lambda: desk.pane("memory").at == SCRATCH + 0x5008)
        await shown(desk)
        assert rows(desk)[0][0] == SCRATCH + 0x5000
        await desk.press("pagedown", "pagedown", "backspace")
        await desk.until(lambda: desk.pane("memory").at == SCRATCH + 11)
        await shown(desk)
        assert rows(desk)[0][0] == SCRATCH
        await desk.press("a")
        await desk.type("sp+16")
        await desk.press("enter")
        sp = desk.ask(lambda machine: hart_of(machine, desk.session.subject).x[2])
        await desk.until(lambda: desk.pane("memory").at == sp + 16)
        await desk.press("pagedown", "home")
        assert desk.pane("memory").at == sp + 16


async def test_it_stays_at_an_expression_and_marks_what_changed() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        await look(desk, "sp follow")
        pane = desk.pane("memory")
        sp = pane.at
        await desk.press("pagedown", "pagedown")
        await shown(desk)
        assert rows(desk)[0][0] > sp
        assert not any("*" in text for _, text in rows(desk))
        await desk.press("s")  # addi sp, sp, -48
        await desk.until(lambda: pane.at == sp - 48, "the pane follows sp")
        await shown(desk)
        assert rows(desk)[0][0] == sp - 48 & -16
        for _ in range(4):
            await tell(desk, "step")
            # The instruction stores a register, or does not: what is marked is what differs from before the step.
        vm = desk.machine.host.vms[0]
        before = {at: vm.memory.read(at, 16) for at, _ in rows(desk)}
        await tell(desk, "step")
        await shown(desk)
        marked = {
            at + index
            for at, text in rows(desk)
            for index, mark in enumerate(re.findall(r"[0-9a-f]{2}([ *])", text[:50]))
            if mark == "*"
        }
        now = {at: vm.memory.read(at, 16) for at in before}
        differs = {at + i for at in before for i in range(16) if before[at][i] != now[at][i]}
        assert marked == differs
        await desk.press("o")
        await tell(desk, "set sp=sp+64")
        assert pane.at == sp - 48, "no longer"


async def test_a_store_of_the_guest_is_marked_until_the_next_stop() -> None:
    machine = Machine(memory=4 << 20)
    words = [0x00000297, 0x10028293, 0x00100313, 0x00628023, NOP, NOP]  # t0 = pc + 0x100; t1 = 1; sb t1, 0(t0)
    machine.memory.write(RAM, b"".join(word.to_bytes(4, "little") for word in words))
    machine.harts[0].pc = RAM
    async with opened(machine, (80, 24), running=False) as desk:
        await desk.press("X", "z")
        await look(desk, f"{RAM + 0x100:#x}")
        marks = []
        for _ in range(5):
            await tell(desk, "step")
            marks.append([at for at, text in rows(desk) if "*" in text])
        assert marks == [[], [], [], [RAM + 0x100], []]
        assert rows(desk)[0][1].startswith("01 00")


async def test_writing_by_keys() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        vm = desk.machine.host.vms[0]
        vm.memory.write(SCRATCH, bytes(range(0x40, 0x60)))
        await look(desk, f"gpa:{SCRATCH:#x}")
        executed = desk.machine.executed
        await desk.press("i", *"dEad")
        await desk.until(lambda: vm.memory.read(SCRATCH, 3) == b"\xde\xad\x42")
        await desk.press("tab", *"sq", "?", "space", "escape")
        await desk.until(lambda: vm.memory.read(SCRATCH, 7) == b"\xde\xadsq? F", "what was typed is text")
        assert desk.machine.executed == executed and "Help" not in desk.text() and desk.application.is_running
        await desk.press("i", "Z", "backspace", "t", "escape")
        await desk.settled()
        assert vm.memory.read(SCRATCH + 6, 2) == b"t" + b"G", "the Z was taken back, t is text"
        await desk.press("t", "i", "f", "backspace", "1", "left", "f", "enter", "enter")
        await desk.settled()
        assert not desk.pane("memory").editing
        data = vm.memory.read(SCRATCH + 6, 4)
        assert data == b"\x0fGHI", "digits that were left are dropped, one that is entered is a value"
        await look(desk, "0x10000000")
        await desk.press("i")
        assert not desk.pane("memory").editing and "no memory to write" in desk.text()


async def test_writing_words() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        vm = desk.machine.host.vms[0]
        await look(desk, f"gpa:{SCRATCH:#x}")
        await desk.press("v", "v", "v", "i", *"12345678", *"9a", "enter")
        await desk.until(lambda: vm.memory.read(SCRATCH, 9) == struct.pack("<II", 0x12345678, 0x9A) + b"\0")
        await desk.press("backspace", "escape")
        await desk.until(lambda: vm.memory.read(SCRATCH + 4, 4) == bytes(4))


async def test_searching_in_the_pane_goes_from_one_to_the_next() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        vm = desk.machine.host.vms[0]
        for offset in (0x333, 0x9999):
            vm.memory.write(SCRATCH + offset, b"needle")
        await look(desk, f"gpa:{SCRATCH:#x}")
        await desk.press("slash")
        await desk.press("quotation_mark")
        await desk.type("needle")
        await desk.press("quotation_mark", "enter")
        await desk.until(lambda: desk.pane("memory").at == SCRATCH + 0x333)
        await desk.press("slash", "enter")
        await desk.until(lambda: desk.pane("memory").at == SCRATCH + 0x9999)
        await desk.press("slash", "enter")
        await desk.shows("is nowhere in")


async def test_a_watch_is_set_shown_in_every_space_and_removed() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        await look(desk, f"{SCRATCH + 0x18:#x}")
        await desk.press("right", "y")
        await desk.until(lambda: len(desk.machine.stops) == 1)
        (stop,) = desk.machine.stops
        assert (stop.what.address, stop.what.length) == (SCRATCH + 0x18, 8)
        await desk.until(lambda: "watched ● 1" in desk.lines("memory")[1])
        signs = {line[2:10]: line[0] for line in desk.lines("memory")[2:]}
        assert signs[f"{SCRATCH + 0x10:08x}"] == "●" and signs[f"{SCRATCH + 0x20:08x}"] == " "
        await desk.press("y")
        await desk.until(lambda: not len(desk.machine.stops))
        pa = desk.machine.host.vms[0].memory.physical(SCRATCH)
        await tell(desk, f"watch pa:{pa + 0x20:#x} for 4")
        await desk.until(lambda: any(line.startswith("●") for line in desk.lines("memory")))
        assert [line[2:10] for line in desk.lines("memory") if line[0] == "●"] == [f"{SCRATCH + 0x20:08x}"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("3", "down", "down", "down"), "sp"), (("5", "down"), "0x80000"), (("6", "down"), "gpa:0x8"),
        (("M", "down"), "gpa:0x8"), (("7",), "0x80000"), (("4", "down", "down"), "h"),
    ],
)  # fmt: skip
async def test_other_panes_bring_their_address(keys: tuple[str, ...], text: str) -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        await at_main(desk, keys)
        if "M" in keys:
            await desk.until(lambda: desk.pane("map").selected is not None)
        here = desk.application.focused.place_here()  # type: ignore[union-attr]
        assert here.startswith(text)
        await desk.press("p")
        await desk.until(lambda: desk.pane("memory").display and desk.pane("memory").look.text == here)
        assert desk.application.focused is desk.pane("memory")


async def test_registers_have_a_cursor() -> None:
    async with opened(["hello"], (120, 40), running=False) as desk:
        await at_main(desk, ("3",))
        pane = desk.pane("registers")
        assert pane.selected == "pc"
        await desk.press("down", "down", "down", "right")
        assert pane.selected == "s2", "x2 is in the third row of two columns of sixteen"
        await desk.press("left", "up", "e")
        await desk.type("0x123")
        await desk.press("enter")
        await desk.until(lambda: desk.ask(lambda m: hart_of(m, desk.session.subject).x[1]) == 0x123)
        await desk.press("v")
        assert pane.selected == "ft1"


async def test_the_pane_of_watches() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk, ("E",))
        assert "none: a asks" in desk.lines("watches")[0]
        await desk.press("a")
        await desk.type("sp")
        await desk.press("enter")
        await desk.until(lambda: "sp" in desk.lines("watches")[0])
        for line in ("display/2wx sp-8", "display nowhere"):
            await tell(desk, line)
        await desk.until(lambda: len(desk.lines("watches")) == 3)
        sp = desk.ask(lambda machine: hart_of(machine, desk.session.subject).x[2])
        first, second, third = desk.lines("watches")
        assert f"{sp:#x} = {sp}" in first and "*" not in first and "x/2wx sp-8" in second
        assert "unknown name 'nowhere'" in third
        await tell(desk, "step")  # addi sp, sp, -48
        first, second, third = desk.lines("watches")
        assert f"* {sp - 48:#x}" in first and "*" in second and "*" not in third
        await desk.press("home", "enter")
        await desk.until(lambda: desk.pane("memory").at == sp - 48)
        await desk.press("E", "x")
        await desk.until(lambda: len(desk.lines("watches")) == 2)
        assert [each.number for each in desk.session.book.displays] == [2, 3]


async def test_every_size_of_the_pane_draws() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk, ("X",))
        for size in ((80, 24), (120, 34), (90, 60), (200, 50), (132, 24)):
            await desk.pilot.resize_terminal(*size)
            await shown(desk)
            pane = desk.pane("memory")
            assert len(rows(desk)) == pane.rows - pane._head and pane.display
            assert all(len(line) <= pane.columns for line in desk.lines("memory")[2:])


async def test_the_ends_of_the_address_space() -> None:
    async with opened(["hello"], (80, 24), running=False) as desk:
        await at_main(desk)
        await look(desk, "pa:8")
        await desk.press("up", "pageup", "left")
        await shown(desk)
        assert rows(desk)[0][0] == 0 and desk.pane("memory").at == 0
        await look(desk, "pa:-8")
        await desk.press("pagedown", "down", "end", "right")
        await shown(desk)
        assert rows(desk)[-1][0] == (1 << 64) - desk.pane("memory")._per() and desk.pane("memory").at == (1 << 64) - 1
        await desk.press("enter", "y", "i", "v", "o")
        await desk.settled()
        assert "internal error" not in desk.text()
