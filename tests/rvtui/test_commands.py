"""Commands on a machine without a screen: they answer what the machine has, and what they refuse is one line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, commanded
from desk import NOP, RAM, elf, jump

from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, FLOAT_NAMES, csrs
from emulator.machine import Machine
from rvtui import commands
from rvtui.commands import reference
from rvtui.commands.machine import _plain
from rvtui.subjects import hart_of, symbols_of

SCRATCH = 0x8010_0000
"""Guest-physical memory that no bundled guest uses."""


def memory(bench: Bench, address: int, length: int, vm: int = 0) -> bytes:
    """Guest-physical, as the VM has it."""
    return bench.ask(lambda machine: machine.host.vms[vm].memory.read(address, length))


def put(bench: Bench, address: int, data: bytes) -> None:
    bench.ask(lambda machine: machine.host.vms[0].memory.write(address, data))


# Examining.


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("x/2gx gpa:0x80100000", ["gpa:0x80100000:  0x0807060504030201  0xfffefdfcfbfaf9f8"]),
        ("x/1gd gpa:0x80100008", ["gpa:0x80100008:  -283686952306184"]),
        ("x/2wx gpa:0x80100000", ["gpa:0x80100000:  0x04030201  0x08070605"]),
        ("x /2wx gpa:0x80100000", ["gpa:0x80100000:  0x04030201  0x08070605"]),
        ("x/2hu gpa:0x80100000", ["gpa:0x80100000:   513  1027"]),
        ("x/3bt gpa:0x80100000", ["gpa:0x80100000:   1  10  11"]),
        ("x/2bo gpa:0x80100007", ["gpa:0x80100007:   010  0370"]),
        ("x/3c gpa:0x80100010", ["gpa:0x80100010:      104 'h'      105 'i'  -128 '\\x80'"]),
        ("x/s gpa:0x80100010", ['gpa:0x80100010:  "hi\\x80\\x1b"'.replace("\\x1b", "\\e")]),
        ("x/1gf gpa:0x80100018", ["gpa:0x80100018:  -1.5"]),
        ("x/1wf gpa:0x80100020", ["gpa:0x80100020:  0.25"]),
        ("x gpa:0x80100000", ["gpa:0x80100000:  0x04030201"]),
        ("xp/1wx hello:gpa:0x80100000", ["hello:gpa:0x80100000:  0x04030201"]),
    ],
)
def test_examining_has_gdbs_formats(bench: Bench, line: str, shown: list[str]) -> None:
    data = bytes(range(1, 9)) + bytes(range(0xF8, 0x100)) + b"hi\x80\x1b\0\0\0\0" + struct.pack("<df", -1.5, 0.25)
    put(bench, SCRATCH, data)
    assert bench.say(line).split("\n") == shown


def test_lines_of_values_are_as_long_as_gdbs(bench: Bench) -> None:
    for form, per in (("9gx", 2), ("9wx", 4), ("9hx", 8), ("9bx", 8)):
        rows = bench.say(f"x/{form} gpa:{SCRATCH:#x}").split("\n")
        assert [len(row.split(":  ")[1].split()) for row in rows] == [per] * (9 // per) + [9 % per] * bool(9 % per)


def test_a_look_goes_on_where_the_last_one_ended(bench: Bench) -> None:
    put(bench, SCRATCH, struct.pack("<4Q", 1, 2, 3, 4))
    assert "needs an ADDRESS" in bench.fails("x")
    assert bench.data(f"x/2gx gpa:{SCRATCH:#x}")["items"] == ["0x1", "0x2"]
    again = bench.data("x")
    assert (again["items"], again["space"], again["address"]) == (["0x3", "0x4"], "gpa", hex(SCRATCH + 16))
    assert bench.data("x/1wx")["items"] == ["0x0"]


def test_symbols_stand_beside_addresses(bench: Bench) -> None:
    main = bench.machine.host.vms[0].symbols.find("main")
    assert f"{main:#x} <main>:" in bench.say("x/1wx main")
    assert f"{main + 4:#x} <main+0x4>:" in bench.say("x/1wx main+4")
    put(bench, SCRATCH, struct.pack("<Q", main))
    assert f"{main:#x} <main>" in bench.say(f"x/a gpa:{SCRATCH:#x}").split(":  ")[1]


def test_instructions_are_the_hearts_own(bench: Bench) -> None:
    """The listing is what the hart runs: stepping goes from one line to the next where nothing branches."""
    first = bench.data("x/4i pc")["items"]
    assert first[0]["address"] == hex(bench.ask(lambda machine: hart_of(machine, bench.session.subject).pc))
    data = memory(bench, int(first[0]["address"], 16), 16)
    assert data.startswith(bytes.fromhex("".join(each["bytes"] for each in first))[:16])
    text = bench.say("x/2i pc").split("\n")
    assert any(line.lstrip(" *").startswith("=> ") for line in text)
    bench.give("step")
    assert hex(bench.ask(lambda machine: hart_of(machine, bench.session.subject).pc)) == first[1]["address"]
    bench.give(f"break {first[1]['address']}")
    assert any(line.startswith("*=> ") for line in bench.say("x/2i pc").split("\n"))


# Spaces.


def test_three_spaces_lead_to_the_same_bytes() -> None:
    with commanded(["pages"]) as bench:
        bench.give("until main")
        bench.give("run 30000")
        face = bench.ask(lambda machine: hart_of(machine, bench.session.subject))
        assert bench.ask(lambda machine: face.csr("vsatp")) >> 60 == 8, "Sv39 inside the guest"
        sp = bench.ask(lambda machine: face.x[2]) & ~15
        walk = bench.ask(lambda machine: face.walk(sp))
        assert walk.physical is not None and walk.physical != walk.guest_physical
        expected = bench.ask(lambda machine: machine.memory.read(walk.physical, 16))
        items = [hex(each) for each in struct.unpack("<2Q", expected)]
        for address in (f"{sp:#x}", f"gpa:{walk.guest_physical:#x}", f"pa:{walk.physical:#x}", "va:sp&~15"):
            assert bench.data(f"x/2gx {address}")["items"] == items, address


def test_other_vms_by_name(bench: Bench) -> None:
    of_ticker = struct.unpack("<I", memory(bench, RAM, 4, 1))[0]
    of_hello = struct.unpack("<I", memory(bench, RAM, 4, 0))[0]
    assert bench.data("x/1wx ticker:gpa:0x80000000")["items"] == [hex(of_ticker)]
    assert bench.data("x/1wx 0x80000000")["items"] == [hex(of_hello)]
    ticks = bench.machine.host.vms[1].symbols.find("main")
    assert bench.data("x/1wx ticker:main")["address"] == hex(ticks)
    assert "nothing is called 'tickle': did you mean 'ticker'?" in bench.fails("x tickle:0")


def test_what_the_mode_may_not_touch_a_debugger_may(translated: Bench) -> None:
    """0xC0... does not translate; a store finds its way to code; the pages here have U=0 in the first stage."""
    hart = translated.machine.harts[0]
    translated.ask(lambda machine: setattr(hart, "mode", Mode.VU))
    assert translated.ask(lambda machine: hart.walk(0x4000_3008)).physical is None
    at = translated.ask(lambda machine: hart.walk(0x4000_3008, Access.LOAD, Mode.VS)).physical
    translated.ask(lambda machine: machine.memory.write_int(at, 8, 0x1122))
    assert translated.data("x/1gx 0x40003008")["items"] == ["0x1122"]
    translated.give("write/g 0x40003008 0x3344")
    assert translated.ask(lambda machine: machine.memory.read_int(at, 8)) == 0x3344
    entry = RAM + 0x5_2000 + 8 * 3
    translated.ask(lambda machine: machine.memory.write_int(entry, 1, 0xCF & ~4))  # W=0, as code has
    translated.ask(lambda machine: hart.flush_translation())
    assert translated.ask(lambda machine: hart.walk(0x4000_3008, Access.STORE, Mode.VS)).physical is None
    translated.give("write/g 0x40003008 0x5566")
    assert translated.ask(lambda machine: machine.memory.read_int(at, 8)) == 0x5566


def test_an_address_that_does_not_translate_says_which_stage_and_why(translated: Bench) -> None:
    text = translated.fails("x 0xc0000000")
    walk = translated.ask(lambda machine: machine.harts[0].walk(0xC000_0000))
    assert csrs.cause_name(walk.cause, False) in text and "G-stage level" in text and "not valid" in text
    text = translated.fails("x 0x100000000000")
    assert "VS-stage" in text and "beyond the mode's width" in text
    assert "G-stage" in translated.fails("x gpa:0x70000000")
    assert "no memory there; there is ram 0x80000000..0x80400000" in translated.fails("x pa:0x70000000")


def test_devices_are_no_memory(bench: Bench) -> None:
    before = bench.ask(Machine.state_hash)
    for line in ("x 0x10000000", "x gpa:0x10000000", "dump u.bin gpa:0x10000000 4", "write 0x10000000 1"):
        assert "device uart" in bench.fails(line)
    assert "nowhere" in bench.say("search/b 0 0x10000000 4")
    assert "device uart" in bench.fails("x pa:0x10000000")
    assert "device uart of hello" in bench.fails("x gpa:0x10000000")
    assert not Path("u.bin").exists()
    assert bench.ask(Machine.state_hash) == before


def test_guest_physical_addresses_of_a_hart_go_through_its_hgatp(translated: Bench) -> None:
    physical = RAM + 0x2_0000  # where the 64 KiB begin that guest-physical 0x1000_0000 is in
    translated.ask(lambda machine: machine.memory.write_int(physical, 8, 0xABCD))
    assert translated.data("x/1gx gpa:0x10000000")["items"] == ["0xabcd"]
    translated.give("set hgatp=0")
    assert "hgatp of hart 0 is Bare" in translated.fails("x gpa:0x10000000")


# Changing memory.


def test_values_are_written_in_their_size(bench: Bench) -> None:
    put(bench, SCRATCH, b"\xff" * 32)
    assert bench.say(f"write/h gpa:{SCRATCH:#x} 1 0x203 -2") == f"6 bytes written at gpa:{SCRATCH:#x}"
    assert memory(bench, SCRATCH, 8) == b"\x01\x00\x03\x02\xfe\xff\xff\xff"
    bench.give(f"write/b gpa:{SCRATCH:#x} 1 + 1 (2 + 2) 7")
    assert memory(bench, SCRATCH, 4) == b"\x02\x04\x07\x02"
    bench.give(f'write gpa:{SCRATCH:#x} "a\\n\\x00\\"z"')
    assert memory(bench, SCRATCH, 6) == b'a\n\0"z\xff'
    assert "does not fit 1 byte" in bench.fails(f"write/b gpa:{SCRATCH:#x} 256")
    assert memory(bench, SCRATCH, 6) == b'a\n\0"z\xff'


def test_a_write_is_all_or_nothing(bench: Bench) -> None:
    end = RAM + (32 << 20)
    before = memory(bench, end - 8, 8)
    assert "no memory there" in bench.fails(f"write/g gpa:{end - 8:#x} 1 2")
    assert memory(bench, end - 8, 8) == before
    assert "no memory there" in bench.fails(f"fill gpa:{end - 8:#x} 16 1")
    assert memory(bench, end - 8, 8) == before
    Path("long.bin").write_bytes(b"\1" * 16)
    assert "no memory there" in bench.fails(f"load-memory long.bin gpa:{end - 8:#x}")
    assert memory(bench, end - 8, 8) == before


def test_a_write_runs_as_code_and_ends_a_reservation(bench: Bench) -> None:
    bench.give("until main")
    bench.give(f"write/w pc {NOP:#x} {jump(-4):#x}")
    pc = bench.data("status")["pc"]
    bench.give("step")
    assert int(bench.data("status")["pc"], 16) == int(pc, 16) + 4
    bench.give("step")
    assert bench.data("status")["pc"] == pc
    hart = bench.machine.harts[0]
    state = bench.ask(lambda machine: hart.state()) | {"reservation": RAM}
    bench.ask(lambda machine: hart.restore(state))
    bench.give(f"write gpa:{SCRATCH:#x} 1")
    assert bench.ask(lambda machine: hart.state()["reservation"]) == (1 << 64) - 1


def test_writes_are_in_the_dirty_log(bench: Bench) -> None:
    vm = bench.machine.host.vms[0]
    bench.give("until main")
    bench.ask(lambda machine: vm.start_dirty_log(vm.slots[0]))
    for line in (f"write gpa:{SCRATCH:#x} 1", f"fill {SCRATCH + 0x1000:#x} 8 1", "write main 0x13"):
        bench.give(line)
    main = vm.symbols.find("main") & ~4095
    assert bench.ask(lambda machine: vm.dirty_log(vm.slots[0])) == sorted([main, SCRATCH, SCRATCH + 0x1000])


def test_filling_and_comparing(bench: Bench) -> None:
    assert bench.say(f"fill gpa:{SCRATCH:#x} 8k 0xa5") == f"8,192 bytes at gpa:{SCRATCH:#x} are 0xa5"
    assert memory(bench, SCRATCH - 1, 8194) == b"\0" + b"\xa5" * 8192 + b"\0"
    other = SCRATCH + 0x10000
    bench.give(f"fill gpa:{other:#x} 8k 0xa5")
    assert bench.say(f"compare gpa:{SCRATCH:#x} gpa:{other:#x} 8k") == "8,192 bytes are the same"
    put(bench, other + 4097, b"\1\xa5\2")
    found = bench.data(f"compare gpa:{SCRATCH:#x} gpa:{other:#x} 8k")
    assert (found["different"], [row["offset"] for row in found["first"]]) == (2, [4097, 4099])
    text = bench.say(f"compare gpa:{SCRATCH:#x} gpa:{other:#x} 8k")
    assert f"gpa:{SCRATCH + 4097:#x}: 0xa5,  gpa:{other + 4097:#x}: 0x01" in text
    assert "is no byte" in bench.fails(f"fill gpa:{SCRATCH:#x} 4 256")


def test_searching(bench: Bench) -> None:
    needle = b"needle\x01\x02"
    places = [SCRATCH + 5, SCRATCH + (1 << 20) - 3, SCRATCH + 0x200000]  # one of them across what is read at once
    for place in places:
        put(bench, place, needle)
    found = bench.data(r'search "needle\x01\x02"')
    assert [int(each["address"], 16) for each in found["found"]] == places and not found["more"]
    assert found["found"][0]["space"] == "gpa"
    hits = bench.data(f"search hex:{needle.hex()} gpa:{SCRATCH + 6:#x} 2M")["found"]
    assert [int(each["address"], 16) for each in hits] == places[1:2]
    put(bench, SCRATCH + 64, struct.pack("<H", 0xBEE5))
    hits = bench.data(f"search/h 0xbee5 {SCRATCH:#x} 4k")["found"]
    assert [each["address"] for each in hits] == [hex(SCRATCH + 64)]
    assert "nowhere in 4,096 bytes" in bench.say(f'search "no such" gpa:{SCRATCH:#x} 4k')
    many = bench.give(f"search/b 0 gpa:{SCRATCH + 0x300000:#x} 4k")
    assert len(many.data["found"]) == 100 and many.data["more"] and "and more" in many.lines[-1]
    assert "nothing to search for" in bench.fails('search ""')
    assert "pairs of hexadecimal digits" in bench.fails("search hex:1")
    assert "needs LENGTH" in bench.fails("search 1 main")


def test_memory_goes_to_a_file_and_back(bench: Bench) -> None:
    data = bytes(range(256)) * 32
    put(bench, SCRATCH, data)
    bench.give(f'dump "my file.bin" gpa:{SCRATCH:#x} 8k')
    assert Path("my file.bin").read_bytes() == data
    assert "is there already" in bench.fails(f'dump "my file.bin" gpa:{SCRATCH:#x} 4')
    assert Path("my file.bin").read_bytes() == data
    bench.give(f'dump "my file.bin" gpa:{SCRATCH:#x} 4 replace')
    assert Path("my file.bin").read_bytes() == data[:4]
    bench.give(f'load-memory "my file.bin" gpa:{SCRATCH + 100:#x}')
    assert memory(bench, SCRATCH + 99, 6) == data[99:100] + data[:4] + data[104:105]
    assert "only `replace`" in bench.fails(f"dump x.bin gpa:{SCRATCH:#x} 4 now")
    assert "no memory there" in bench.fails(f"dump x.bin gpa:{SCRATCH:#x} 1G")
    assert "cannot be written" in bench.fails(f"dump no/such/x.bin gpa:{SCRATCH:#x} 4")
    assert "cannot be read" in bench.fails(f"load-memory nothing.bin gpa:{SCRATCH:#x}")
    assert "no plain file" in bench.fails(f"load-memory . gpa:{SCRATCH:#x}")
    Path("empty").touch()
    assert "is empty" in bench.fails(f"load-memory empty gpa:{SCRATCH:#x}")
    assert sorted(each.name for each in Path().iterdir()) == ["empty", "my file.bin"]


@pytest.mark.parametrize("line", ['search "not there"', 'memfind pa:0x80000000 "not there"',
                                  "copy pa:0x80000000 pa:0xa0000000 256M", "fill pa:0x80000000 1G 1",
                                  "dump big.bin pa:0x80000000 1G",
                                  "compare pa:0x80000000 pa:0x80000000 1G"])  # fmt: skip
def test_long_commands_show_progress_and_can_be_ended(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000_000))
    monkeypatch.setattr("rvtui.commands.values.time.monotonic", lambda: float(next(clock)))
    with commanded(Machine(memory=1 << 30)) as bench:
        bench.screen.on_progress = bench.context.cancelled.set
        assert bench.fails(line) == "interrupted"
        progress = [each for each in bench.screen.asked if each[0] == "progress"]
        assert len(progress) == 1 and progress[0][1].endswith("%")
        assert not list(Path().iterdir()), "no half of a file is left"
        assert bench.say("print 1") == "1 = 0x1 = 1", "the next one is not ended"


# Registers.


def test_registers_are_the_harts(bench: Bench) -> None:
    bench.give("run 2000")
    face = bench.ask(lambda machine: hart_of(machine, bench.session.subject))
    shown = bench.data("registers")
    expected = {"pc": face.pc, **dict(zip(ABI_NAMES, face.x, strict=True))}
    assert shown == {"mode": face.mode.label, "registers": {name: hex(value) for name, value in expected.items()}}
    floats = bench.data("registers f")["registers"]
    assert floats == {name: hex(value) for name, value in zip(FLOAT_NAMES, face.f, strict=True)}
    some = bench.data("registers sp vsstatus pc")["registers"]
    assert some == {"sp": hex(face.x[2]), "vsstatus": hex(face.csr("vsstatus")), "pc": hex(face.pc)}
    group = bench.data("registers hypervisor")["registers"]
    assert group["hgatp"] == hex(face.csr("hgatp")) and "vsatp" not in group and "sp" not in group
    assert "groups are x, f, all" in bench.fails("registers nothing")


def test_a_csr_is_shown_by_its_fields(bench: Bench) -> None:
    value = bench.ask(lambda machine: hart_of(machine, bench.session.subject).csr("vsstatus"))
    shown = bench.data("csr vsstatus")
    assert shown["value"] == hex(value) and shown["number"] == "0x200"
    assert {each["name"]: int(each["value"], 16) for each in shown["fields"]} == {
        field.name: field.extract(value) for field in csrs.BY_NAME["vsstatus"].fields
    }
    assert bench.data("csr 0x200") == shown
    field = bench.data("csr hgatp.mode")
    assert (field["field"], field["meaning"]) == ("MODE", "Sv39x4")
    assert set(bench.data("csr vs*")["csrs"]) == {name for name in csrs.BY_NAME if name.startswith("vs")}
    assert set(bench.data("csr timecmp")["csrs"]) == {"stimecmp", "vstimecmp"}
    assert "did you mean 'vsstatus'" in bench.fails("csr vsstatu.SUM")
    assert "has no field 'SUN': there is" in bench.fails("csr vsstatus.SUN")


def test_a_field_is_set_alone(bench: Bench) -> None:
    face = bench.ask(lambda machine: hart_of(machine, bench.session.subject))
    before = bench.ask(lambda machine: face.csr("vsstatus"))
    said = bench.say("set vsstatus.SUM=1")
    assert bench.ask(lambda machine: face.csr("vsstatus")) == before | 1 << 18
    assert said == f"vsstatus.SUM = 0x1 (on), vsstatus = {before | 1 << 18:#x}"
    bench.give("set vsstatus.fs=dirty")
    assert bench.ask(lambda machine: face.csr("vsstatus")) >> 13 & 3 == 3
    assert "has 1 bits" in bench.fails("set vsstatus.SUM=2")
    assert "it is read-only" in bench.say("set vsstatus.UXL=3")
    assert bench.say("print vsstatus.FS+1") == "vsstatus.FS+1 = 0x4 = 4"
    bench.give("set fa0=0x3ff8000000000000")
    assert bench.ask(lambda machine: face.f[10]) == 0x3FF8000000000000
    assert "has no field" in bench.fails("print vsstatus.XYZ")


def test_print_has_formats(bench: Bench) -> None:
    for line, text in (
        ("print/x -1", "-1 = 0xffffffffffffffff"), ("p/d -1", "-1 = -1"), ("p/t 5", "5 = 101"), ("p/o 8", "8 = 010"),
        ("p/c 65", "65 = 65 'A'"), ("p/u 1<<63", "1<<63 = 9223372036854775808"), ("p/z 1", "1 = 0x0000000000000001"),
    ):  # fmt: skip
        assert bench.say(line) == text
    main = bench.machine.host.vms[0].symbols.find("main")
    assert bench.say("p/a main") == f"main = {main:#x} <main>"
    assert "one of x, d" in bench.fails("p/q 1")


# What is where.


def test_translation_in_one_line_and_step_by_step(translated: Bench) -> None:
    walk = translated.ask(lambda machine: machine.harts[0].walk(0x4000_3008))
    text = translated.say("translate 0x40003008")
    assert text == (
        f"0x40003008 load in VS: guest-physical {walk.guest_physical:#x}, physical {walk.physical:#x}, 64 KiB page"
    )
    refused = translated.give("translate 0xc0000000 store")
    assert "does not translate: " in refused.lines[0] and "G-stage level" in refused.lines[0]
    assert refused.data["cause"] == 23 and refused.data["physical"] is None
    report = translated.give("walk 0x40003008 load VS")
    assert len(report.data["steps"]) == len(walk.steps)
    assert [step["pte"] for step in report.data["steps"]] == [hex(step.pte) for step in walk.steps]
    assert any(f"physical {walk.physical:#x}" in line for line in report.lines)
    assert translated.data("translate 0x40003008 load M")["guest_physical"] is None


def test_symbols_by_pattern_and_by_address(bench: Bench) -> None:
    names = bench.machine.host.vms[0].symbols
    found = bench.data("symbols ma*n")["symbols"]
    assert [each["name"] for each in found] == ["main"] and found[0]["address"] == hex(names.find("main"))
    part = {each["name"] for each in bench.data("symbols ain")["symbols"]}
    assert part == {name for name in names.names if "ain" in name.lower()}
    assert "no name is like 'nosuchname'" in bench.fails("symbols nosuchname")
    inside = bench.data("symbol main+2")
    assert (inside["name"], inside["offset"]) == ("main", 2)
    assert "belongs to no name" in bench.fails("symbol 0x10")


def test_more_names_come_from_a_file(bench: Bench) -> None:
    Path("System.map").write_text("0000000080100040 T far_away\n80000000 t another_start\n")
    assert bench.data("symbol-file System.map")["new"] == 2
    assert bench.data("print far_away")["value"] == "0x80100040"
    assert bench.data("symbol 0x80000000")["name"] == "_start", "those that were there count first"
    bench.give("select ticker")
    assert "unknown name" in bench.fails("print far_away")
    Path("bad.map").write_text("what is this\n")
    assert "line 1 is not one of a System.map" in bench.fails("symbol-file bad.map")


def test_disassembly_of_a_place_and_around_pc(bench: Bench) -> None:
    bench.give("until main")
    here = bench.data("disassemble")["instructions"]
    assert hex(bench.machine.host.vms[0].symbols.find("main")) in [each["address"] for each in here]
    assert sum("=>" in line for line in bench.say("disassemble").split("\n")) == 1
    five = bench.data("disassemble main 5")["instructions"]
    assert len(five) == 5 and five[0]["symbol"] == "main"
    assert bench.data("x/5i main")["items"] == five
    assert "at most 4,096" in bench.fails("disassemble main 5000")


def test_the_machine_and_its_parts(bench: Bench) -> None:
    bench.give("run 100000")
    vms = bench.machine.host.vms
    assert [(each["name"], each["instructions"]) for each in bench.data("vms")["vms"]] == [
        (vm.name, vm.instructions) for vm in vms
    ]
    assert [each["selected"] for each in bench.data("vms")["vms"]] == [True, False]
    hart = bench.data("harts")["harts"][0]
    assert hart["retired"] == {mode.label: n for mode, n in bench.machine.harts[0].retired.items()}
    exits = bench.data("exits ticker")["tables"]
    assert [table["of"] for table in exits] == ["ticker"]
    assert {row["name"]: row["count"] for row in exits[0]["exits"]} == dict(vms[1].exits)
    events = bench.data("events 7")["events"]
    last = bench.ask(lambda machine: machine.harts[0].events(7))
    assert [each["clock"] for each in events] == [each.clock for each in last]
    ranges = bench.data("memory-map")["ranges"]
    assert {(each["of"], each["start"], each["size"]) for each in ranges if each["what"] == "ram"} == {
        ("machine", hex(RAM), bench.machine.memory.regions[0].size),
        *((vm.name, hex(vm.slots[0].gpa), vm.slots[0].size) for vm in vms),
    }
    status = bench.data("status")
    assert (status["executed"], status["running"]) == (bench.machine.executed, False)


def test_the_state_of_each_device_can_be_read(bench: Bench) -> None:
    bench.give("run 100000")
    bus = bench.machine.host.vms[0].bus
    listed = bench.data("devices")["devices"]
    assert [each["name"] for each in listed] == [device.name for _, device in bus]
    for _, device in bus:
        shown = bench.data(f"devices {device.name}")["state"]
        assert set(shown) == set(device.state())
    bench.ask(lambda machine: setattr(bus.find(0x1000_0000)[1], "rx", bytearray(b"x" * 5000)))
    assert len(bench.data("devices uart")["state"]["rx"]) == 2048 and len(bench.say("devices uart")) < 2000
    assert len(_plain([0] * 5000)) == 1024
    bench.ask(lambda machine: setattr(bus.find(0x1000_0000)[1], "rx", bytearray()))
    uart = bench.data("devices uart")["state"]
    assert uart["lcr"] == hex(bus.find(0x1000_0000)[1].lcr)
    assert "net" in bench.say("devices") and "queue" in bench.say("devices virtio6").lower()
    assert "hello has no device 'vga': there is plic, uart, virtio0" in bench.fails("devices vga")


@pytest.fixture
def echo() -> Iterator[Bench]:
    with commanded(["echo"]) as found:
        found.give("run 60000")
        yield found


def test_what_is_typed_reaches_the_guest_when_it_runs(echo: Bench) -> None:
    assert echo.say("type abc 12") == "7 bytes for echo: abc 12\\r"
    before = echo.data("console")["written"]
    echo.give("run 60000")
    assert "21 CBA" in echo.say("console")
    assert echo.data("console")["written"] > before
    echo.give(r"keys x\x7f\x7fyz\r")
    echo.give("run 60000")
    assert "ZY" in echo.say("console 2") and len(echo.say("console 2").split("\n")) == 2
    assert echo.data("console echo 1")["lines"] == echo.data("console")["lines"][-1:]
    assert "escapes are" in echo.fails(r"keys \q")
    assert "takes 65,536" in echo.fails("keys " + "x" * 66_000)
    assert "needs a terminal" in echo.fails("attach")
    assert "no console 'hello': there is echo" in echo.fails("console hello")


# Running.


def test_run_stops_after_a_count_exactly(bench: Bench) -> None:
    bench.give("run 1000")
    assert bench.machine.executed == 1000 and bench.session.reason == "ran 1,000 instructions"
    bench.give("run 2k")
    bench.give("run 345")
    one = bench.ask(Machine.state_hash)
    with commanded(["hello", "ticker"]) as other:
        other.give("run 3345")
        assert other.machine.executed == 3345 and other.ask(Machine.state_hash) == one
    assert "a whole number from 1" in bench.fails("run 0") and "a whole number" in bench.fails("run many")


def test_what_cannot_go_on_says_so() -> None:
    with commanded(["hello"]) as bench:
        bench.give("run")
        assert bench.session.finished
        for line in ("run", "step", "until main"):
            assert "cannot go on" in bench.fails(line)


# Names and help.


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("info registers", "registers"), ("i registers", "registers"), ("info reg", "registers"),
        ("info mtree", "memory-map"), ("info status", "status"), ("info registers sp", "registers sp"),
        ("info csr vsatp", "csr vsatp"), ("info symbol main", "symbol main"), ("info exits hello", "exits hello"),
        ("p sp", "print sp"), ("p/x sp", "print/x sp"), ("info vms", "vms"), ("info cpus", "harts"),
        ("info qtree", "devices"), ("info breakpoints", "breakpoints"), ("info translate main", "translate main"),
    ],
)  # fmt: skip
def test_fingers_find_what_they_know(bench: Bench, line: str, same: str) -> None:
    assert bench.say(line) == bench.say(same)


def test_step_has_gdbs_names(bench: Bench) -> None:
    for name in ("si", "stepi", "s", "step"):
        before = bench.machine.host.vms[0].vcpus[0].instructions
        bench.give(f"{name} 2")
        assert bench.machine.host.vms[0].vcpus[0].instructions == before + 2, name


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "empty command"), ("frobnicate", "no command 'frobnicate'"), ("regsters", "did you mean 'registers'"),
        ("x/2q 0", "'q' is neither a format"), ("x/0x 0", "from 1 to 4,096"),
        (f"x/{1 << 60} 0", "from 1 to 4,096 items"),
        ("x/wwzzz0 0", "a format is a count"), ("x/b/f 0", "a format is"), ("x/hf 0", "has size w or g"),
        ("print 1/0", "division by zero"), ("print 1 %", "ends too early"), ("print foo_bar", "unknown name 'foo_bar'"),
        ("print maim", "did you mean 'main'"), ("x pa:gpa:0", "nothing is called 'pa'"),
        ("x a:b:va:0", "write NAME:SPACE:ADDRESS"), ("fill main", "needs LENGTH"), ("fill main 0", "there is nothing"),
        ("fill main 2**60", "unexpected '*'"), (f"fill main {1 << 60}", "at most 1,024 GiB"),
        ("write/q main 1", "a size is one of"),
        ("write main", "needs VALUES"), ("registers/x", "takes no /x"), ("info nothing", "no 'info nothing'"),
        ("info s", "type more of it"), ("step x", "a whole number"), ("goto csrs", "no panes here"),
        ("zoom", "no panes here"), ("walk 0 jump", "one of fetch, load, store"), ("walk 0 load Q", "one of M, HS"),
        ("help nothing", "no command 'nothing'"), ("select nobody", "nothing is called 'nobody'"),
        ("csr 0xfff", "no CSR has the number"), ("events 0", "a whole number from 1"),
        ("events 2000", "at most 1,024"), ("events traps fooo", "no kind of event 'fooo'"),
        ("events 5 9..2", "nothing is between"), ("timeline 5 3", "nothing is between"),
        ("timeline x", "a whole number"), ("timeline 9G", "the clock is"),
        ('write main "abc', "no closing"), ("symbols [", "no name is like"), ("set x", "write NAME=VALUE"),
        ("x 1 2 3)", "unexpected"), ('dump "x main 1', "no closing"),
    ],
)  # fmt: skip
def test_what_the_user_gets_wrong_is_one_line(bench: Bench, line: str, says: str) -> None:
    assert says in bench.fails(line)


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("regi", "registers"), ("info mt", "info mtree"), ("registers hyp", "registers hypervisor"),
        ("csr vsstatus.S", "csr vsstatus.SUM"), ("set vsstatus.S", "set vsstatus.SUM="), ("set a", "set a0="),
        ("set hgatp.MODE=S", "set hgatp.MODE=Sv39x4"), ("print hgatp.", "print hgatp.VMID"), ("x/4wx ma", "x/4wx main"),
        ("x gp", "x gpa:"), ("x tick", "x ticker:"), ("x ticker:g", "x ticker:gpa:"), ("x gpa:ma", "x gpa:main"),
        ("print sp+ma", "print sp+main"), ("print $s", "print $sp"), ("select ti", "select ticker"),
        ("walk 0 st", "walk 0 store"),
        ("walk 0 store V", "walk 0 store VU"), ("devices ua", "devices uart"), ("console hel", "console hello"),
        ("help disas", "help disassemble"), ("symbols mai", "symbols main"),
        ("dump f main 4 ", "dump f main 4 replace"),
        ("p/x s", "p/x sstatus"), ("i reg", "i registers"), ("info csr vsat", "info csr vsatp"),
    ],
)  # fmt: skip
def test_every_kind_of_argument_is_completed(bench: Bench, line: str, offers: str) -> None:
    found = commands.complete(bench.context, line)
    assert offers in found and all(each.startswith(line) for each in found)


def test_every_argument_has_a_kind_that_is_known() -> None:
    plain = {"format", "count", "text", "choice"}
    for command in commands.COMMANDS.values():
        for argument in command.arguments:
            assert argument.kind in plain | commands.registry.KINDS.keys(), f"{command.name} {argument.name}"
            assert (argument.kind == "choice") == bool(argument.choices)


def test_words_are_parted_by_blanks_outside_of_quotes_and_brackets() -> None:
    for text, most, words in (
        ("a  b c d", 3, ["a", "b", "c d"]), ("(a + b) c", 2, ["(a + b)", "c"]), ('"a b" c', 2, ['"a b"', "c"]),
        ("mem[a b] 'c d' e", 3, ["mem[a b]", "'c d'", "e"]), ("(a b", 2, ["(a b"]), ("", 3, []),
        ('a "b c', 2, ["a", '"b c']),
        ("a) b", 2, ["a)", "b"]),
    ):  # fmt: skip
        assert commands.registry.split(text, most) == words, text


def test_help_lists_all_and_explains_each(bench: Bench) -> None:
    text = bench.say("help")
    for command in commands.COMMANDS.values():
        assert f"  {command.usage}" in text
        page = bench.say(f"help {command.name}")
        assert page.startswith(f"{command.usage}: {command.help}") and command.example.split("\n")[0] in page
        assert all(argument.help in page for argument in command.arguments)
    assert all(len(line) <= 100 for line in text.split("\n"))


def test_the_reference_page_is_up_to_date() -> None:
    path = Path(reference.__file__).parent.parent / "docs" / "commands.md"
    assert path.read_text() == reference.markdown(), "rvtui commands > rvtui/docs/commands.md"


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_every_example_works_on_the_bundled_guests(name: str) -> None:
    if name in ("goto", "zoom", "attach", "layout", "theme"):
        return  # of a screen
    Path("System.map").write_text("80000000 T _boot_entry\n")
    Path("checks.rv").write_text("step\nassert pc != 0\n")
    with commanded(["hello", "ticker"]) as bench:
        for line in commands.COMMANDS[name].example.split("\n"):
            assert commands.named(line)[0].name in commands.COMMANDS
            answer = bench.give(line)
            if isinstance(answer, commands.Report):
                json.dumps(answer.data)
        assert name in (commands.named(line)[0].name, line.split()[0]), "the last line is of the command itself"


def test_looking_changes_nothing(bench: Bench) -> None:
    bench.give("run 50000")
    before = bench.ask(Machine.state_hash)
    Path("checks.rv").write_text("assert pc != 0\n")
    others = ("repeat", "goto", "zoom", "quit", "save", "overwrite", "break", "delete", "dump", "remove", "snapshots")
    others += ("differs", "up", "down", "value", "layout", "theme", "console-copy", "log")
    bench.give("save here.snap")
    for command in commands.COMMANDS.values():
        for line in command.example.split("\n") if not command.changes and command.name not in others else ():
            if not commands.named(line)[0].changes:
                for vm in ("hello", "ticker"):
                    bench.give(f"select {vm}")
                    bench.give(line.replace("x/8gx sp", "x/8gx main"))
    bench.give("snapshots")
    bench.give("select hello")
    assert bench.say("differs here.snap") == "the same, bit for bit"
    assert bench.ask(Machine.state_hash) == before


def test_hostile_names_are_harmless(guest: Callable[[bytes], Path]) -> None:
    """What a file calls its symbols cannot reach the terminal's ear."""
    path = guest(elf([NOP, jump(-4)], symbols={"evil\x1b]0;x\x07": RAM, "main": RAM + 4}))
    with commanded([str(path)]) as bench:
        for line in ("symbols", "x/2i pc", "registers", "symbol pc", "vms", "status", "disassemble"):
            answer = bench.give(line)
            text = answer if isinstance(answer, str) else "\n".join(answer.lines)
            assert "\x1b" not in text and "\x07" not in text, line


def test_symbols_of_what_is_looked_at(bench: Bench) -> None:
    assert symbols_of(bench.machine, bench.session.subject).find("main")
    items: dict[str, Any] = {}
    for vm in ("hello", "ticker"):
        bench.give(f"select {vm}")
        items[vm] = bench.data("print main")["value"]
    assert items == {vm.name: hex(vm.symbols.find("main")) for vm in bench.machine.host.vms}
