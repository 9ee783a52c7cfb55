"""`rvtui isa`: the reference of what the harts implement."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from desk import failed, run

from emulator.isa import ISA, csrs, profiles, sentence
from emulator.isa.extensions import BY_NAME, EXTENSIONS
from emulator.isa.profiles import PROFILES, extension
from rvtui import isa

MODES = {"M-mode", "S"}
"""What trap returns and the like have in place of an extension."""


def answer(*names: str) -> Any:
    done = run("isa", "--json", *names)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_profiles_are_those_of_the_manual() -> None:
    # How many options there are is said in words: "RVA20U64 has one optional extension", "RVA22U64 has four profile
    # options", "four unprivileged options ... and eight privileged options".
    counts = {name: (len(profile.mandatory), len(profile.optional)) for name, profile in PROFILES.items()}
    assert counts["RVA20U64"] == (13, 1) and counts["RVA20S64"] == (13 + 1 + 7, 3)
    assert counts["RVA22U64"] == (22, 4) and counts["RVA22S64"] == (22 + 1 + 10, 4 + 8)
    assert counts["RVA23U64"] == (22 + 12, 2 + 5 + 8) and counts["RVA23S64"] == (34 + 1 + 16, 15 + 8)
    for profile in PROFILES.values():
        named = [*profile.mandatory, *profile.optional]
        assert len(set(named)) == len(named), profile.name
        assert [extension(name).name for name in named] == named
    for year in ("20", "22", "23"):
        assert set(PROFILES[f"RVA{year}U64"].mandatory) < set(PROFILES[f"RVA{year}S64"].mandatory)
    for mode in "US":
        steps = [set(PROFILES[f"RVA{year}{mode}64"].mandatory) for year in ("20", "22", "23")]
        replaced = {"Za128rs", "Ss1p11", "Ss1p12"}
        assert steps[0] - replaced <= steps[1] and steps[1] - replaced <= steps[2]


def test_implemented_is_what_has_instructions() -> None:
    described = {insn.extension for insn in (*ISA.instructions.values(), *ISA.compressed.values())} - MODES
    assert {name for name in described if not BY_NAME[name].implemented} == set()
    assert "V" in {each.name for each in EXTENSIONS if not each.implemented}
    assert {"Sv39", "Sv48", "Sv57", "Svbare"} <= {
        each for p in PROFILES.values() for each in (*p.mandatory, *p.optional)
    }
    assert not set(profiles._PARTS) & set(BY_NAME), "described twice"
    assert not extension("Sdtrig").implemented and extension("Sv57").implemented


def test_overview_names_everything_and_says_what_is_missing() -> None:
    done = run("isa")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert not any("\x1b" in line for line in lines)
    for profile in PROFILES.values():
        (at,) = (i for i, line in enumerate(lines) if line.startswith(profile.name))
        shown = lines[at] + (lines[at + 1] if lines[at + 1].startswith(" ") else "")
        assert ("✗" in shown) == bool(profile.missing)
        assert shown.split()[8:] == list(profile.missing)
    rows = {line.split()[1]: line for line in lines if line[:2] in ("✓ ", "✗ ")}
    assert rows["V"].split()[:8] == ["✗", "V", "·", "·", "○", "○", "●", "●"]
    assert rows["Zifencei"].split()[:8] == ["✓", "Zifencei", "·", "●", "·", "●", "·", "●"]
    assert set(rows) >= {each.name for each in EXTENSIONS} | {"Sv39", "Ss1p13", "Supm", "Zvkng"}


def test_every_name_has_a_page_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rva23 = PROFILES["RVA23S64"]
    names = [*PROFILES, *rva23.mandatory, *rva23.optional, *BY_NAME, *ISA.instructions, *ISA.compressed, *csrs.BY_NAME]
    isa.main([])
    for name in names:
        isa.main([name])
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if len(line) > isa.WIDTH] == []
    assert len(shown) > 4 * len(names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("addw", "x[rd] = sext(x[rs1] + x[rs2], 32)"),
        ("ld", "x[rd] = mem64[x[rs1] + imm]"),
        ("sd", "mem64[x[rs1] + imm] = x[rs2]"),
        ("blt", "pc = pc + imm if x[rs1] <s x[rs2]"),
        ("jal", "x[rd] = (pc after it); pc = pc + imm"),
        ("csrrs", "x[rd] = csr; csr |= x[rs1]"),
        ("hsv.w", "guest_store(x[rs1], x[rs2], 32)"),
        ("fence", "no effect"),
    ],
)
def test_sentences_by_the_names_of_operands(name: str, text: str) -> None:
    assert sentence(ISA.instructions[name]) == text


def test_an_instruction() -> None:
    (insn,) = answer("HLV.WU")["instructions"]
    # Hypervisor Instructions: HLV.WU is 0110100 00001 rs1 100 rd SYSTEM.
    assert (insn["match"], insn["mask"], insn["length"]) == (0x68104073, 0xFFF0707F, 4)
    assert insn["extension"] == "H" and insn["source"].startswith("H Extension")
    (short,) = answer("c.addi16sp")["instructions"]
    assert short["length"] == 2 and short["expands_to"].startswith("addi with rd = 2")
    (by_alias,) = answer("zext.w")["instructions"]
    assert by_alias["name"] == "add.uw" and by_alias["aliases"] == ["zext.w rd, rs1"]
    page = run("isa", "hlv.wu").stdout.decode()
    assert "0110100 00001 rs1 100 rd 1110011" in page and "0x68104073 under the mask 0xfff0707f" in page


def test_a_csr_by_name_and_by_number() -> None:
    (csr,) = answer("vsstatus")["csrs"]
    assert csr == answer("0x200")["csrs"][0]
    assert (csr["number"], csr["privilege"], csr["vs_twin"], csr["read_only"]) == (0x200, "H", "sstatus", False)
    assert {"name": "bsstatus", "number": 0x200, "versions": ["h0.2", "h0.3"]} in csr["former"]
    (spp,) = (field for field in csr["fields"] if field["name"] == "SPP")
    assert (spp["low"], spp["width"], spp["values"]) == (8, 1, {"0": "U", "1": "S"})
    page = run("isa", "sstatus").stdout.decode()
    assert "vsstatus (0x200), which takes its place while V=1" in page
    assert "read-only" in run("isa", "cycle").stdout.decode().splitlines()[1]


def test_an_extension_names_what_it_brings() -> None:
    (zba,) = answer("zba")["extensions"]
    assert {"add.uw", "sh1add", "sh3add.uw", "slli.uw"} <= set(zba["instructions"]) and zba["implemented"] is True
    page = run("isa", "sstc").stdout.decode()
    assert "stimecmp, vstimecmp" in page and "menvcfg.STCE" in page and "RVA23S64" in page


def test_differences_of_versions() -> None:
    found = answer("diff", "h0.6", "h0.6.1")
    assert found["changed"] == [
        {"name": "hstatus", "what": ["field VTW (bits 21) is new: WFI in VS-mode: virtual instruction"]}
    ]
    back = answer("diff", "1.12", "1.11")
    assert {"name": "hstatus", "number": 0x600, "doc": "hypervisor status"} in back["removed"] and not back["added"]
    assert "+ mtinst" in run("isa", "diff", "h0.4", "h0.5").stdout.decode()


def test_json_has_the_keys_that_are_promised() -> None:
    assert set(answer()) == {"isa", "profiles", "extensions"}
    assert set(answer("diff", "1.10", "1.11")) == {"from", "to", "added", "removed", "changed"}
    found = answer("hstatus") | {"instructions": answer("add")["instructions"]}
    assert {key: sorted(rows[0]) if rows else [] for key, rows in found.items()} == {
        "profiles": [],
        "extensions": [],
        "instructions": ["aliases", "does", "expands_to", "extension", "length", "mask", "match", "name", "pattern",
                         "source", "syntax"],
        "csrs": ["doc", "extension", "fields", "former", "h_since", "name", "number", "privilege", "read_only", "since",
                 "vs_twin"],
    }  # fmt: skip
    assert sorted(answer("RVA23U64")["profiles"][0]) == ["mandatory", "missing", "name", "optional", "privileged"]
    assert sorted(answer("V")["extensions"][0]) == ["implemented", "instructions", "meaning", "name", "version"]


def test_what_the_user_got_wrong() -> None:
    assert "near to it: hstatus" in failed("isa", "hstatu")
    assert "nothing" in failed("isa", "nothing")
    assert "h1.0" in failed("isa", "diff", "h0.6", "h7")
    assert "two" in failed("isa", "diff", "h0.6")
    assert "two versions" in failed("isa", "diff", "1.11", "h0.6")
    assert "one name" in failed("isa", "add", "sub")


def test_colour_is_for_terminals_and_marks_for_everybody() -> None:
    assert b"\x1b[31m\xe2\x9c\x97\x1b[0m V " in _at_terminal({})
    assert b"\x1b" not in _at_terminal({"NO_COLOR": "1"}) and b"\x1b" not in _at_terminal({"TERM": "dumb"})
    plain = run("isa", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert plain.returncode == 0, plain.stderr
    assert b"- V            .   .   o   o   M   M " in plain.stdout


def _at_terminal(more: dict[str, str]) -> bytes:
    master, slave = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"} | more
    process = subprocess.Popen([sys.executable, "-m", "rvtui", "isa"], stdout=slave, stdin=slave, env=environment)
    os.close(slave)
    output = b""
    try:
        while data := os.read(master, 65536):
            output += data
    except OSError:  # the other side is closed
        pass
    os.close(master)
    assert process.wait(60) == 0
    return output
