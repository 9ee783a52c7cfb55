"""Device trees: the blob against the format's specification, the machine against what guests look for."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.bus import Bus, Device
from emulator.console import Console
from emulator.devices.aclint import Aclint
from emulator.devices.finisher import Finisher
from emulator.devices.plic import Plic
from emulator.devices.rtc import Rtc
from emulator.devices.uart import Uart
from emulator.devicetree import (
    DEPTH_LIMIT,
    ISA_LIMIT,
    SILENT,
    Node,
    Tree,
    Value,
    encode,
    flatten,
    isa_extensions,
    machine_tree,
    parse,
    quads,
    reservations,
    with_room,
)
from emulator.errors import ConfigurationError, LoadError
from emulator.isa import ISA, csrs

RAM = 0x8000_0000


class FakeHart:
    mtimecmp = 0

    def wire(self, bit: int, level: bool) -> None: ...


def machine(harts: int = 2, bootargs: str = "", initrd: tuple[int, int] | None = None) -> Node:
    bus = Bus()
    fakes = [FakeHart() for _ in range(harts)]
    bus.add(0x10_0000, Finisher(lambda code, message: None))
    bus.add(0x10_1000, Rtc(lambda: 0))
    bus.add(0x200_0000, Aclint(fakes, lambda: 0, lambda ticks: None))
    bus.add(0xC00_0000, Plic(fakes))
    bus.add(0x1000_0000, Uart(Console()))
    return machine_tree(bus, [(RAM, 1 << 30)], harts=harts, bootargs=bootargs, initrd=initrd)


Token = int | bytes


def by_hand(*tokens: Token, strings: bytes = b"", **header: int) -> bytes:
    """A blob put together from cells and padded bytes; `header`: fields to set otherwise."""
    body = b"".join(
        struct.pack(">I", token) if isinstance(token, int) else token + bytes(-len(token) % 4) for token in tokens
    )
    fields = {
        "magic": 0xD00DFEED, "total": 56 + len(body) + len(strings), "structure": 56, "names": 56 + len(body),
        "reserved": 40, "version": 17, "compatible": 16, "boot": 0, "strings_size": len(strings), "size": len(body),
        **header,
    }  # fmt: skip
    return struct.pack(">10I", *fields.values()) + bytes(16) + body + strings


def repeat(tokens: list[Token], times: int) -> list[Token]:
    return tokens * times


SMALL = by_hand(
    1, b"\0",
    3, 4, 0, b"\0\0\0\2",
    3, 0, 6, b"",
    1, b"node@10\0",
    3, 8, 13, b"one\0two\0",
    3, 3, 0, b"abc",
    2, 2, 9,
    strings=b"cells\0ranges\0compatible\0",
)  # fmt: skip


def test_a_small_tree_byte_for_byte() -> None:
    root = Node("", {"cells": 2, "ranges": True})
    root.add(Node("node@10", {"compatible": ["one", "two"], "cells": b"abc"}))
    assert flatten(root) == SMALL


def test_a_small_blob_read_back() -> None:
    root = parse(SMALL)
    assert root.name == "" and root.properties == {"cells": b"\0\0\0\2", "ranges": b""}
    (node,) = root.children
    assert node.name == "node@10" and node.strings("compatible") == ["one", "two"] and node.raw("cells") == b"abc"
    assert node.properties == {"compatible": b"one\0two\0", "cells": b"abc"}
    with pytest.raises(ConfigurationError, match="cells is 3 bytes"):
        node.cells("cells")
    with pytest.raises(ConfigurationError, match="node@10 has no property reg"):
        node.raw("reg")


def test_nops_and_reservations() -> None:
    blob = by_hand(4, 1, b"\0", 4, 3, 4, 0, b"\0\0\0\1", 4, 2, 4, 9, strings=b"a\0")
    assert parse(blob).properties == {"a": b"\0\0\0\1"}
    reserved = flatten(Node(""), [(RAM, 0x4_0000)], boot_hart=3)
    offset, boot = struct.unpack_from(">I", reserved, 16)[0], struct.unpack_from(">I", reserved, 28)[0]
    assert struct.unpack_from(">4Q", reserved, offset) == (RAM, 0x4_0000, 0, 0) and boot == 3
    assert parse(reserved).name == ""


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0x1234, b"\0\0\x12\x34"),
        (True, b""),
        ("text", b"text\0"),
        (b"\1\2", b"\1\2"),
        ([1, 2], b"\0\0\0\1\0\0\0\2"),
        (["a", "bc"], b"a\0bc\0"),
        (quads(0x1_0000_0002), b"\0\0\0\1\0\0\0\2"),
        ([], b""),
    ],
)
def test_property_values(value: Value, wanted: bytes) -> None:
    assert encode(value) == wanted


@pytest.mark.parametrize("value", [-1, 1 << 32, False, "a\0b", [1 << 32], ["a\0"], None, 1.5, [None], [True]])
def test_values_that_are_none(value: Value) -> None:
    with pytest.raises(ConfigurationError, match="/n: p cannot be"):
        flatten(tree_with(value))


def tree_with(value: Value) -> Node:
    root = Node("")
    root.add(Node("n", {"p": value}))
    return root


def structure(blob: bytes) -> tuple[list[str], int]:
    """An independent check of the format's rules: all paths, and how many properties there are."""
    magic, total, at, strings, reserved, version, compatible, _, strings_size, size = struct.unpack_from(">10I", blob)
    assert (magic, version, compatible, total) == (0xD00DFEED, 17, 16, len(blob))
    assert reserved % 8 == 0 and at % 4 == 0
    assert 40 <= reserved < at and at + size == strings and strings + strings_size == total
    assert blob[at - 16 : at] == bytes(16), "the reservations end with a pair of zeros"
    paths, path, properties, end, done = [], [], 0, at + size, False
    while at < end:
        (token,) = struct.unpack_from(">I", blob, at)
        at += 4
        if token == 1:
            name = blob[at : blob.index(0, at)].decode()
            path.append(name)
            paths.append("/".join(path) or "/")
            at += len(name) + 4 & ~3
            allowed = True
        elif token == 3:
            assert allowed, "properties come before subnodes"
            length, offset = struct.unpack_from(">II", blob, at)
            name = blob[strings + offset : blob.index(0, strings + offset)].decode()
            assert 0 < len(name) <= 31 and offset < strings_size
            at += 8 + (length + 3 & ~3)
            properties += 1
        elif token == 2:
            path.pop()
            allowed = False
        else:
            assert token == 9 and at == end and not path
            done = True
    assert done and len(set(paths)) == len(paths)
    return paths, properties


def test_the_machines_blob_follows_the_format() -> None:
    tree = machine(3, "console=ttyS0", (RAM + 0x800_0000, RAM + 0x900_0000))
    paths, properties = structure(flatten(tree))
    assert paths[0] == "/" and "/cpus/cpu@2/interrupt-controller" in paths and "/soc/serial@10000000" in paths
    assert properties == sum(len(node.properties) for node in tree.walk())
    assert flatten(parse(flatten(tree))) == flatten(tree)


def test_what_guests_look_for() -> None:
    root = parse(flatten(machine(2, "console=ttyS0 earlycon=sbi", (RAM + 0x800_0000, RAM + 0x812_3456))))

    def at(path: str) -> Node:
        node = root.find(path)
        assert node is not None, path
        return node

    assert root.cells("#address-cells") == root.cells("#size-cells") == [2]
    assert at("memory").cells("reg") == [0, RAM, 0, 1 << 30] and at("memory").strings("device_type") == ["memory"]
    chosen = at("chosen")
    assert chosen.strings("bootargs") == ["console=ttyS0 earlycon=sbi"]
    assert chosen.cells("linux,initrd-start") == [0, RAM + 0x800_0000]
    assert chosen.cells("linux,initrd-end") == [0, RAM + 0x812_3456]
    assert at(chosen.strings("stdout-path")[0]).strings("compatible") == ["ns16550a"]
    assert at("cpus").cells("timebase-frequency") == [10_000_000]
    cpu = at("cpus/cpu@1")
    assert cpu.cells("reg") == [1] and cpu.strings("mmu-type") == ["riscv,sv57"]
    assert "h" in cpu.strings("riscv,isa")[0].split("_")[0] and cpu.strings("riscv,isa-base") == ["rv64i"]
    assert {"i", "m", "a", "f", "d", "c", "h", "zicsr", "sstc"} <= set(cpu.strings("riscv,isa-extensions"))
    harts = [at(f"cpus/cpu@{n}/interrupt-controller").cells("phandle")[0] for n in range(2)]
    wires = [cell for hart in harts for cell in (hart, 11, hart, 9)]
    assert at("soc/plic").cells("interrupts-extended") == wires and at("soc/plic").cells("riscv,ndev") == [95]
    wires = [cell for hart in harts for cell in (hart, 3, hart, 7)]
    assert at("soc/clint").cells("interrupts-extended") == wires
    plic = at("soc/plic").cells("phandle")
    for path, base, source in [("soc/serial", 0x1000_0000, 10), ("soc/rtc", 0x10_1000, 11)]:
        assert at(path).cells("reg")[1] == base and at(path).cells("interrupts") == [source]
        assert at(path).cells("interrupt-parent") == plic
    for path, value in [("poweroff", 0x5555), ("reboot", 0x7777)]:
        assert at(path).cells("regmap") == at("soc/test@100000").cells("phandle")
        assert at(path).cells("value") == [value] and at(path).strings("compatible") == [f"syscon-{path}"]
    handles = [node.cells("phandle")[0] for node in root.walk() if "phandle" in node.properties]
    assert len(set(handles)) == len(handles) == 6
    assert root.find("soc/nothing") is None and root.find("/") is root


def test_bad_descriptions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="bootargs cannot be"):
        flatten(machine(bootargs="a\0b"))
    for isa in ("", "rv32imac", "rv64", "rv64i zba", "rv64i\0"):
        with pytest.raises(ConfigurationError, match="no ISA string"):
            machine_tree([], [], isa=isa)

    class NeedsPlic(Device):
        def describe(self, tree: Tree, base: int) -> None:
            tree.soc.add(Node("x", tree.interrupt(5)))

    with pytest.raises(ConfigurationError, match="refers to plic, which this machine lacks"):
        machine_tree([(0, NeedsPlic())], [])


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "magic"),
        (b"\xd0\x0d\xfe\xed", "magic"),
        (by_hand(9, magic=1), "magic"),
        (by_hand(1, b"\0", 2, 9, version=15), "version 15"),
        (by_hand(1, b"\0", 2, 9, compatible=18), "compatible with 18"),
        (by_hand(1, b"\0", 2, 9, total=39), "size is given as 39"),
        (by_hand(1, b"\0", 2, 9, total=1000), "size is given as 1000"),
        (by_hand(1, b"\0", 2, 9, structure=57), "lie outside"),
        (by_hand(1, b"\0", 2, 9, size=1000), "lie outside"),
        (by_hand(1, b"\0", 2, 9, names=0xFFFF_FFFF), "lie outside"),
        (by_hand(1, b"\0", 2), "too early"),
        (by_hand(1, b"\0", 9), "token 9 has no place"),
        (by_hand(1, b"\0", 2, 2, 9), "token 2 has no place"),
        (by_hand(1, b"\0", 2, 1, b"\0", 2, 9), "token 1 has no place"),
        (by_hand(9), "token 9 has no place"),
        (by_hand(3, 0, 0, 9, strings=b"a\0"), "token 3 has no place"),
        (by_hand(5), "token 5 has no place"),
        (by_hand(1, b"abcd"), "does not end"),
        (by_hand(1, b"a" * 300 + b"\0", 2, 9), "does not end, or has more"),
        (by_hand(1, b"a\x1b\0", 2, 9), "is no name"),
        (by_hand(1, b"a\xff\0", 2, 9), "is no name"),
        (by_hand(1, b"\0", 3, 0xFFFF_FFFF, 0, 2, 9, strings=b"a\0"), "too early"),
        (by_hand(1, b"\0", 3, 0, 7, 2, 9, strings=b"a\0"), "outside of the strings"),
        (by_hand(1, b"\0", 3, 0, 0, 2, 9, strings=b"a"), "does not end"),
        (by_hand(1, b"\0", 3, 0, 0, 3, 0, 0, 2, 9, strings=b"a\0"), "twice"),
        (by_hand(*repeat([1, b"\0"], DEPTH_LIMIT + 1)), "token 1 has no place"),
    ],
)
def test_bad_blobs_are_refused(blob: bytes, words: str) -> None:
    with pytest.raises(LoadError) as error:
        parse(blob, "board.dtb")
    assert str(error.value).startswith("board.dtb: at byte ") and words in str(error.value)
    assert "\n" not in str(error.value)


def test_large_hostile_blobs_are_read_in_bounded_time() -> None:
    start = time.perf_counter()
    nodes = by_hand(1, b"\0", *repeat([1, b"a" * 250 + b"\0", 2], 10_000), 2, 9)
    assert len(parse(nodes).children) == 10_000
    tail = by_hand(1, b"\0", *repeat([3, 0, 0], 100_000), 2, 9, strings=b"a" * (1 << 20))
    with pytest.raises(LoadError):
        parse(tail)
    assert time.perf_counter() - start < 5


MACHINE = flatten(machine())


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(MACHINE) - 1), st.sampled_from([0, 1, 2, 3, 4, 9]) | st.integers(0, 255)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, len(MACHINE)),
)
def test_any_damage_is_refused_or_read(damage: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(MACHINE)
    for at, value in damage:
        data[at] = value
    for version in (bytes(data), bytes(data[:cut])):
        try:
            tree = parse(version)
            assert parse(flatten(tree)).name == tree.name
        except LoadError as error:
            assert "\n" not in str(error)


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789,._+-#", min_size=1, max_size=12)
data = st.binary(max_size=20)


def nodes(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    def make(name: str, properties: dict[str, bytes], below: list[Node]) -> Node:
        node = Node(name, properties)
        node.children = below
        return node

    return st.builds(make, names, st.dictionaries(names, data, max_size=4), children)


def plain(node: Node) -> object:
    return node.name, node.properties, [plain(child) for child in node.children]


@settings(deadline=None)
@given(st.recursive(nodes(st.just([])), lambda below: nodes(st.lists(below, max_size=3)), max_leaves=12))
def test_any_tree_round_trips(tree: Node) -> None:
    assert plain(parse(flatten(tree))) == plain(tree)


def test_the_old_isa_string_is_short_and_names_all_that_can_be_used() -> None:
    cpu = parse(flatten(machine())).find("cpus/cpu@0")
    assert cpu is not None
    old, new = cpu.strings("riscv,isa")[0], cpu.strings("riscv,isa-extensions")
    assert len(old) <= ISA_LIMIT < 512, "U-Boot 2023.01 has a buffer of 512 bytes for it"
    left_out = set(new) - set(isa_extensions(old))
    assert left_out == SILENT & set(new) and set(isa_extensions(old)) <= set(new)
    executed = {i.extension.lower() for i in (*ISA.instructions.values(), *ISA.compressed.values())}
    assert not executed & SILENT and "zicboz" in executed
    assert not SILENT & {f.extension.lower() for csr in csrs.BY_NAME.values() for f in csr.fields if f.extension}


def test_room_at_the_end_of_a_blob() -> None:
    blob = flatten(machine(), [(RAM, 4096)])
    roomy = with_room(blob + b"trailing", 100)
    assert len(roomy) == len(blob) + 100 == int.from_bytes(roomy[4:8], "big")
    assert flatten(parse(roomy), reservations(roomy)) == blob and roomy[-100:] == bytes(100)
