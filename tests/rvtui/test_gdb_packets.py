"""Packets of the remote serial protocol, and the description that GDB is given; no machine runs."""

from __future__ import annotations

import xml.etree.ElementTree as Tree

import pytest

from emulator.isa import csrs
from emulator.machine import Machine
from rvtui.gdb.description import describe
from rvtui.gdb.packets import ALL, ANY, PACKET_SIZE, Decoder, Id, Item, Refusal, Sign, escape, packet, piece, unescape


def items(*chunks: bytes) -> list[Item]:
    decoder = Decoder()
    return [each for chunk in chunks for each in decoder.feed(chunk)]


# The checksum is the sum of the bytes between $ and #, modulo 256, in two digits ("Overview").
STREAM = b"+$g#67xx\x03-$m80000000,4#55$#00$X0,1:}\x03#9f"
MEANING = [
    Sign.ACK, b"g", Sign.INTERRUPT, Sign.NAK, b"m80000000,4", b"", b"X0,1:#",
]  # fmt: skip


def test_a_stream_is_cut_into_the_same_packets_wherever_it_is_cut_itself() -> None:
    assert items(STREAM) == MEANING
    assert items(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == MEANING
    for at in range(len(STREAM)):
        assert items(STREAM[:at], STREAM[at:]) == MEANING


@pytest.mark.parametrize("bad", [b"$g#68", b"$g#6x", b"$g#  ", b"$" + b"g" * (PACKET_SIZE + 1) + b"#00"])
def test_a_packet_that_is_wrong_is_bad_and_the_next_one_is_not(bad: bytes) -> None:
    assert items(bad + b"$?#3f") == [Sign.BAD, b"?"]


def test_a_packet_that_never_ends_is_not_kept() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert decoder.feed(b"$" + b"a" * PACKET_SIZE) == []
        assert len(decoder._body or b"") <= PACKET_SIZE
    for _ in range(100):
        assert decoder.feed(b"a" * PACKET_SIZE) == []
        assert len(decoder._body or b"") <= PACKET_SIZE
    assert decoder.feed(b"#00$?#3f") == [Sign.BAD, b"?"]


def test_a_packet_that_was_cut_off_by_the_next_one_is_forgotten() -> None:
    assert items(b"$m8000$?#3f") == [b"?"]


def test_binary_data_passes_the_frame() -> None:
    every = bytes(range(256)) * 2
    assert unescape(escape(every)) == every
    assert not set(escape(every)) & set(b"#$*")
    assert items(packet(escape(every))) == [every]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", (ANY, 1)), ("-1", (ANY, ALL)), ("0", (ANY, ANY)), ("p1.2", (1, 2)), ("pa", (10, ALL)), ("p1.-1", (1, ALL)),
     ("p-1.-1", (ALL, ALL)), ("p0.0", (ANY, ANY))],
)  # fmt: skip
def test_threads_are_named_in_every_form(text: str, expected: tuple[int, int]) -> None:
    found = Id.parse(text)
    assert (found.process, found.thread) == expected


@pytest.mark.parametrize("text", ["", "x", "p", "p1.", "p.1", "-2", "1.1", "p1.2.3", "f" * 9, "1 ", "+1", "0x1", "1_0"])
def test_what_is_no_thread_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        Id.parse(text)


def test_a_long_text_is_handed_out_in_pieces() -> None:
    text = "".join(f"<{n}>#$}}*" for n in range(5000))
    found, at = "", 0
    while True:
        answer = piece(text, f"{at:x},1000")
        part = unescape(answer[1:]).decode()
        found, at = found + part, at + len(part)
        if answer[:1] == b"l":
            break
        assert answer[:1] == b"m" and len(part) == 0x1000
    assert found == text
    assert piece(text, "ffffffff,10") == b"l"
    assert piece("short", "0,ffffffffffffffff") == b"lshort"
    assert len(packet(piece(text, "0,ffffffffffffffff"))) <= PACKET_SIZE
    for wrong in ("", "1", "x,1", "1,", ",1"):
        with pytest.raises(Refusal):
            piece(text, wrong)


# Description. Numbers are those of GDB's own table: x0 0, pc 32, f0 33, the CSRs from 65 on, priv 4161.


def registers(machine: Machine) -> dict[str, dict[str, dict[str, str]]]:
    root = Tree.fromstring(describe(machine).xml)
    assert root.findtext("architecture") == "riscv:rv64"
    return {
        str(feature.get("name")).removeprefix("org.gnu.gdb.riscv."): {
            str(each.get("name")): dict(each.attrib) for each in feature.iter("reg")
        }
        for feature in root.iter("feature")
    }


def test_the_description_has_every_register_of_the_hart_by_its_number() -> None:
    machine = Machine(memory=1 << 20)
    found = registers(machine)
    numbers = {part: {name: int(each["regnum"]) for name, each in rows.items()} for part, rows in found.items()}
    assert [numbers["cpu"][name] for name in ("zero", "ra", "sp", "s0", "a0", "t6", "pc")] == [0, 1, 2, 8, 10, 31, 32]
    assert [numbers["fpu"][name] for name in ("ft0", "fa0", "ft11", "frm", "fcsr")] == [33, 43, 64, 67, 68]
    # mstatus 0x300, hgatp 0x680, vsatp 0x280, cycle 0xC00: "CSR Listing".
    for name, number in (("mstatus", 0x300), ("hgatp", 0x680), ("vsatp", 0x280), ("cycle", 0xC00)):
        assert numbers["csr"][name] == 65 + number
    assert numbers["virtual"] == {"priv": 4161, "virt": 4162}
    there = {csr.name for csr in csrs.CSRS if machine.harts[0].has_csr(csr.number)}
    assert set(numbers["csr"]) | {"fflags", "frm", "fcsr"} == there
    every = [number for rows in numbers.values() for number in rows.values()]
    assert len(every) == len(set(every))


def test_fields_of_csrs_are_named_where_they_are() -> None:
    text = describe(Machine(memory=1 << 20)).xml
    # "Hypervisor Guest Address Translation and Protection (hgatp) Register": PPN 43:0, VMID 57:44, MODE 63:60.
    row = next(line for line in text.splitlines() if 'id="hgatp_fields"' in line)
    for name, low, high in (("PPN", 0, 43), ("VMID", 44, 57), ("MODE", 60, 63)):
        assert f'<field name="{name}" start="{low}" end="{high}"/>' in row


def test_the_description_leaves_out_what_the_hart_lacks() -> None:
    found = registers(Machine(memory=1 << 20, isa="rv64ima_zicsr"))
    assert set(found) == {"cpu", "csr", "virtual"}
    assert "hgatp" not in found["csr"] and "fcsr" not in found["csr"] and "satp" in found["csr"]
    single = registers(Machine(memory=1 << 20, isa="rv64imaf_zicsr"))
    assert single["fpu"]["fa0"]["bitsize"] == "32"
