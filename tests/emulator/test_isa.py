"""The descriptions of instructions: encodings, the disassembler and the explaining sentences.

Encodings are checked against themselves (both directions), against Capstone where it knows the extension, against words
that GNU as made of others, and against LLVM's assembler for the rest.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import capstone
import pytest
from assembler import AssemblyError, assemble, encode, float_operands
from elftools.elf.elffile import ELFFile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emulator.isa import ABI_NAMES, FLOAT_NAMES, ISA, csrs, decode, decoder
from emulator.isa.description import SIGNED, Compressed, Instruction

FORMS: list[Instruction | Compressed] = [*ISA.instructions.values(), *ISA.compressed.values()]
BY_NAME = {form.name: form for form in FORMS}
ONES = (1 << 64) - 1

forms = st.sampled_from(FORMS)


@st.composite
def words(draw: st.DrawFn, among: list[Instruction | Compressed] | None = None) -> tuple[Instruction | Compressed, int]:
    """A form and a word of it that is not reserved."""
    form = draw(st.sampled_from(among or FORMS))
    filler = draw(st.integers(0, (1 << 8 * form.layout.length) - 1))
    word = form.layout.match | filler & ~form.layout.mask
    values = form.layout.extract(word)
    assume(not any(values[name] in bad for name, bad in form.never.items()))
    return form, word


@given(words())
def test_a_word_survives_extraction_and_insertion(case: tuple[Instruction | Compressed, int]) -> None:
    form, word = case
    assert form.layout.insert(form.layout.extract(word)) == word


@given(st.data(), forms)
def test_operands_survive_insertion_and_extraction(data: st.DataObject, form: Instruction | Compressed) -> None:
    values = {}
    for name, width in form.layout.operands.items():
        carried = sum(((1 << p.width) - 1) << p.at for p in form.layout.pieces if p.name == name)
        value = data.draw(st.integers(0, (1 << width) - 1)) & carried
        if name == SIGNED and value >> (width - 1):
            value -= 1 << width
        values[name.rstrip("'")] = value + (8 if name.endswith("'") else 0)
    word = form.layout.insert(values)
    assert word & form.layout.mask == form.layout.match
    assert form.layout.extract(word) == values


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("addi", {"rd": 32}),
        ("addi", {"imm": 2048}),
        ("addi", {"imm": -2049}),
        ("beq", {"imm": 3}),
        ("beq", {"imm": 4096}),
        ("jal", {"imm": 1 << 20}),
        ("lui", {"imm": 1}),
        ("slliw", {"shamt": 32}),
        ("c.lw", {"rd": 8, "rs1": 16}),
        ("c.lw", {"rd": 7, "rs1": 8}),
        ("c.ld", {"rd": 8, "rs1": 8, "uimm": 4}),
        ("c.addi16sp", {"imm": 8}),
    ],
)
def test_what_does_not_fit_is_refused(name: str, values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(name, **({"rd": 8, "rs1": 8} | values if name.startswith("c.") else values))


def test_patterns_overlap_only_where_one_is_a_case_of_the_other() -> None:
    for one, other in combinations(FORMS, 2):
        a, b = one.layout, other.layout
        if a.length != b.length or (a.mask & b.mask) & (a.match ^ b.match):
            continue
        narrow, wide = (a, b) if a.mask.bit_count() > b.mask.bit_count() else (b, a)
        assert narrow.mask & wide.mask == wide.mask and narrow.mask != wide.mask, (one.name, other.name)


def test_the_narrower_of_two_patterns_decodes() -> None:
    for word, name in (
        (0x9002, "ebreak"),
        (0x9282, "jalr"),
        (0x9286, "add"),
        (0x8282, "jalr"),
        (0x8286, "add"),
        (0x0001, "addi"),
    ):
        found = decode(word)
        assert found is not None and found.name == name
    stack = decode(0x6125)  # c.addi16sp 96, not c.lui sp
    assert stack is not None and stack.text == "addi sp, sp, 96"
    zext = decode(0x0805_853B)
    assert zext is not None and zext.name == "add.uw"


@given(words())
def test_every_word_of_a_form_decodes_to_it_or_to_a_narrower_one(case: tuple[Instruction | Compressed, int]) -> None:
    form, word = case
    found = decode(word)
    assert found is not None and found.length == form.layout.length
    chosen = found.compressed or found.instruction
    assert chosen is form or chosen.layout.mask.bit_count() > form.layout.mask.bit_count()


@pytest.mark.parametrize(
    "word",
    [
        0x0000,  # defined illegal
        0x0000_0000,
        0xFFFF_FFFF,
        0x8002,  # c.jr with rs1=0
        0x6101,  # c.addi16sp 0
        0x6001,  # c.lui zero, 0
        0x6801,  # c.lui a6, 0: no c.mop.16
        0x6201,  # c.lui tp, 0: no c.mop.4
        0x2001,  # c.addiw with rd=0
        0x4002,  # c.lwsp with rd=0
        0x6002,  # c.ldsp with rd=0
        0x0004,  # c.addi4spn s1, 0
        0x8C40,  # quadrant 0, 100 011 with bit 6 set: nothing of Zcb
        0x9000,  # quadrant 0, 100 100
        0x9C79,  # quadrant 1, 100 1 11 .. 11 110: nothing of Zcb
        0x0001200F | 1 << 7,  # cbo.inval with rd
        0x0031200F,  # no cache-block operation has number 3
        0x28C5_C5AF,  # amocas.q a1, a2, (a1)
        0xC285_8053,  # fcvtmod.w.d with rne
        0x8060_C073,  # system, funct3 100: no HLV and no may-be-operation
    ],
)
def test_reserved_words_do_not_decode(word: int) -> None:
    assert decode(word) is None


@pytest.mark.parametrize("rm", [5, 6])
def test_reserved_rounding_modes_do_not_decode(rm: int) -> None:
    assert decode(0x02C5_8553 | rm << 12) is None  # fadd.d fa0, fa1, fa2


def test_the_upper_half_of_a_word_behind_a_short_instruction_is_ignored() -> None:
    found = decode(0xDEAD_0505)
    assert found is not None and found.length == 2 and found.word == 0x0505 and found.text == "addi a0, a0, 1"


# --- against others ---

ABSENT_FROM_CAPSTONE = {
    "Zba", "Zbb", "Zbs", "H", "Svinval", "Zbc", "Zbkb", "Zbkx", "Zicond", "Zimop", "Zcmop", "Zcb", "Zihintpause",
    "Zihintntl", "Zicbop", "Zicbom", "Zicboz", "Zawrs", "Zacas", "Zabha", "Zfh", "Zfhmin", "Zfa", "Zkne", "Zknd",
    "Zknh", "Zksed", "Zksh",
}  # fmt: skip
TWO_ADDRESS = {
    "c.addi",
    "c.addi16sp",
    "c.addiw",
    "c.srli",
    "c.srai",
    "c.slli",
    "c.andi",
    "c.sub",
    "c.xor",
    "c.or",
    "c.and",
    "c.subw",
    "c.addw",
    "c.add",
}
SHORT_NAMES = {
    "addi16sp": "addi",
    "addi4spn": "addi",
    "ldsp": "ld",
    "lwsp": "lw",
    "fldsp": "fld",
    "sdsp": "sd",
    "swsp": "sw",
    "fsdsp": "fsd",
}
#: Capstone 5 rejects bits that the manual tells implementations to ignore.
IGNORED = {
    "fence": {"fm": 0, "rs1": 0, "rd": 0},
    "fence.i": {"imm": 0, "rs1": 0, "rd": 0},
    "fcvt.d.w": {"rm": 0},
    "fcvt.d.wu": {"rm": 0},
    "fcvt.d.s": {"rm": 0},
}
KNOWN = [form for form in FORMS if form.extension not in ABSENT_FROM_CAPSTONE]


def tokens(mnemonic: str, operands: str) -> tuple[str, list[str]]:
    """Mnemonic and operands in one spelling: numbers in decimal, the register of an address behind its offset."""
    parts = [p for p in re.split(r"[\s,()]+", operands) if p and p != "dyn"]
    parts = [p.removeprefix(".").removeprefix("+") for p in parts]
    parts = [str(int(p, 0)) if re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", p) else p for p in parts]
    if mnemonic == "jalr" and len(parts) == 3 and re.fullmatch(r"-?\d+", parts[1]):
        parts[1:] = parts[:0:-1]
    return mnemonic, parts


@settings(max_examples=2000)
@given(words(KNOWN))
def test_disassembly_agrees_with_capstone(case: tuple[Instruction | Compressed, int]) -> None:
    form, word = case
    engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC)
    if form.name == "fence":
        assume(form.layout.extract(word)["pred"] and form.layout.extract(word)["succ"])
    if form.name in IGNORED:
        word = form.layout.insert(form.layout.extract(word) | IGNORED[form.name])
    ours = decode(word)
    # Hints that are another extension's instructions.
    assume(ours is None or ours.instruction.extension not in ABSENT_FROM_CAPSTONE)
    theirs = next(engine.disasm_lite(word.to_bytes(form.layout.length, "little"), 0), None)
    assert ours is not None
    if theirs is None and (form.name.startswith("c.") or "imm" in form.layout.operands):
        # Hints (rd=0, shamt=0) are instructions that do nothing visible; Capstone 5 does not know them.
        assert any(value == 0 for value in ours.operands.values())
        return
    assert theirs is not None, ours.text
    name, operands = tokens(theirs[2], theirs[3])
    if name.startswith("c."):
        if name in TWO_ADDRESS:
            operands = [operands[0], *operands]
        name = SHORT_NAMES.get(name[2:], name[2:])
    expected = tokens(*ours.text.partition(" ")[::2])
    if form.name in IGNORED and expected[1][-1:] == ["rne"]:
        expected[1].pop()
    # Hints have other names for some, and our `mv` stands for one more instruction.
    assume(ours.operands.get("rd") != 0 or ours.ends_block)
    assume(form.name != "add" or ours.operands["rs1"])
    # With zeros on both sides two pseudo-instructions fit.
    assume(
        form.name not in ("add", "addi", "blt", "bge", "slt") or any(ours.operands.get(key) for key in ("rs1", "rs2"))
    )
    if form.name in TWO_ADDRESS:
        assume(ours.operands.get("imm", 1) and ours.operands.get("shamt", 1))
    if (name, operands) == ("jr", ["ra"]):
        name, operands = "ret", []
    if form.name == "sfence.vma" and expected[1][-1:] == ["zero"]:
        expected[1].pop()
    if "csr" in ours.operands:
        # Its list of names is not at issue, nor its pseudo-instructions for user-level registers.
        assume(ours.operands["csr"] >> 8 & 3)
        at = 0 if len(operands) == 2 and not name.startswith("csrr") else 1
        del operands[at], expected[1][at]
    assert (name, operands) == expected


# What GNU as 2.40 makes of these with -march=rv64gc_zba_zbb_zbs_h_svinval.
WORDS = {
    "add.uw a0,a1,a2": 0x08C5853B,
    "zext.w a0,a1": 0x0805853B,
    "slli.uw a0,a1,33": 0x0A15951B,
    "sh1add a0,a1,a2": 0x20C5A533,
    "sh2add a0,a1,a2": 0x20C5C533,
    "sh3add a0,a1,a2": 0x20C5E533,
    "sh1add.uw a0,a1,a2": 0x20C5A53B,
    "sh2add.uw a0,a1,a2": 0x20C5C53B,
    "sh3add.uw a0,a1,a2": 0x20C5E53B,
    "andn a0,a1,a2": 0x40C5F533,
    "orn a0,a1,a2": 0x40C5E533,
    "xnor a0,a1,a2": 0x40C5C533,
    "clz a0,a1": 0x60059513,
    "ctz a0,a1": 0x60159513,
    "cpop a0,a1": 0x60259513,
    "clzw a0,a1": 0x6005951B,
    "ctzw a0,a1": 0x6015951B,
    "cpopw a0,a1": 0x6025951B,
    "max a0,a1,a2": 0x0AC5E533,
    "maxu a0,a1,a2": 0x0AC5F533,
    "min a0,a1,a2": 0x0AC5C533,
    "minu a0,a1,a2": 0x0AC5D533,
    "sext.b a0,a1": 0x60459513,
    "sext.h a0,a1": 0x60559513,
    "zext.h a0,a1": 0x0805C53B,
    "rol a0,a1,a2": 0x60C59533,
    "ror a0,a1,a2": 0x60C5D533,
    "rori a0,a1,33": 0x6215D513,
    "rolw a0,a1,a2": 0x60C5953B,
    "rorw a0,a1,a2": 0x60C5D53B,
    "roriw a0,a1,17": 0x6115D51B,
    "orc.b a0,a1": 0x2875D513,
    "rev8 a0,a1": 0x6B85D513,
    "bclr a0,a1,a2": 0x48C59533,
    "bext a0,a1,a2": 0x48C5D533,
    "binv a0,a1,a2": 0x68C59533,
    "bset a0,a1,a2": 0x28C59533,
    "bclri a0,a1,33": 0x4A159513,
    "bexti a0,a1,33": 0x4A15D513,
    "binvi a0,a1,33": 0x6A159513,
    "bseti a0,a1,33": 0x2A159513,
    "hlv.b a0,(a1)": 0x6005C573,
    "hlv.bu a0,(a1)": 0x6015C573,
    "hlv.h a0,(a1)": 0x6405C573,
    "hlv.hu a0,(a1)": 0x6415C573,
    "hlvx.hu a0,(a1)": 0x6435C573,
    "hlv.w a0,(a1)": 0x6805C573,
    "hlv.wu a0,(a1)": 0x6815C573,
    "hlvx.wu a0,(a1)": 0x6835C573,
    "hlv.d a0,(a1)": 0x6C05C573,
    "hsv.b a0,(a1)": 0x62A5C073,
    "hsv.h a0,(a1)": 0x66A5C073,
    "hsv.w a0,(a1)": 0x6AA5C073,
    "hsv.d a0,(a1)": 0x6EA5C073,
    "hfence.vvma a0,a1": 0x22B50073,
    "hfence.gvma a0,a1": 0x62B50073,
    "hinval.vvma a0,a1": 0x26B50073,
    "hinval.gvma a0,a1": 0x66B50073,
    "sinval.vma a0,a1": 0x16B50073,
    "sfence.w.inval": 0x18000073,
    "sfence.inval.ir": 0x18100073,
}


@pytest.mark.parametrize(("text", "word"), WORDS.items())
def test_extensions_agree_with_gnu_as(text: str, word: int) -> None:
    assert assemble(0, text).code == word.to_bytes(4, "little")
    found = decode(word)
    assert found is not None and found.text.replace(", ", ",") == text


ASSEMBLED_BY_LLVM = {
    "Zbc", "Zbkb", "Zbkx", "Zicond", "Zimop", "Zcmop", "Zcb", "Zihintpause", "Zihintntl", "Zicbop", "Zicbom", "Zicboz",
    "Zawrs", "Zacas", "Zabha", "Zfh", "Zfhmin", "Zfa", "Zkne", "Zknd",
    "Zknh", "Zksed", "Zksh",
}  # fmt: skip


def short_text(form: Compressed, word: int) -> str:
    """A 16-bit form in its own syntax."""
    values, floats = form.layout.extract(word), float_operands(form)

    def operand(match: re.Match[str]) -> str:
        name = match[0]
        return str(values[name]) if name == "uimm" else (FLOAT_NAMES if name in floats else ABI_NAMES)[values[name]]

    name, _, rest = form.syntax.partition(" ")
    return f"{name} {re.sub(r'[a-z]+[0-9]?', operand, rest)}"


def test_encodings_agree_with_the_assembler_of_llvm(tmp_path: Path) -> None:
    """What the disassembler writes of random words, assembled by LLVM (in ziglang), gives the same words."""
    generator = random.Random(1)
    lines, wanted, names = [], b"", set()
    for form in FORMS:
        for _ in range(12 if form.extension in ASSEMBLED_BY_LLVM else 0):
            word = form.layout.match | generator.getrandbits(8 * form.layout.length) & ~form.layout.mask
            found = decode(word)
            if found is None or (found.compressed or found.instruction) is not form:
                continue
            names.add(form.name)
            lines.append(short_text(form, word) if isinstance(form, Compressed) else found.text)
            wanted += word.to_bytes(form.layout.length, "little")
    assert names == {form.name for form in FORMS if form.extension in ASSEMBLED_BY_LLVM}
    arch = ", ".join(f"+{name.lower()}" for name in sorted(ASSEMBLED_BY_LLVM | {"D", "C", "M", "A", "Zba", "Zbb"}))
    source, made = tmp_path / "words.s", tmp_path / "words.o"
    source.write_text("\n".join([".option norelax", f".option arch, {arch}", *lines, ""]))
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "riscv64-freestanding",
        "-c",
        str(source),
        "-o",
        str(made),
    ]
    subprocess.run(command, check=True)
    with made.open("rb") as file:
        code = ELFFile(file).get_section_by_name(".text").data()
    at = 0
    for line in lines:
        length = 4 if wanted[at] & 3 == 3 else 2
        assert code[at : at + length] == wanted[at : at + length], line
        at += length
    assert code == wanted


def test_capstone_gnu_as_or_llvm_knows_every_form() -> None:
    covered = {text.split()[0] for text in WORDS}
    missing = {form.name for form in FORMS if form.extension in ABSENT_FROM_CAPSTONE - ASSEMBLED_BY_LLVM} - covered
    assert not missing


# --- text ---


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0x0000_0013, "nop"),
        (0x0055_0513, "addi a0, a0, 5"),
        (0x0050_0513, "li a0, 5"),
        (0x0005_8513, "mv a0, a1"),
        (0xFFF5_C513, "not a0, a1"),
        (0x40B0_0533, "neg a0, a1"),
        (0x0015_B513, "seqz a0, a1"),
        (0x00B0_3533, "snez a0, a1"),
        (0x0005_851B, "sext.w a0, a1"),
        (0x0000_8067, "ret"),
        (0x0005_8067, "jr a1"),
        (0x0005_80E7, "jalr a1"),
        (0x00C5_8067, "jalr zero, 12(a1)"),
        (0x0000_006F, "j .+0"),
        (0xFFDF_F0EF, "jal .-4"),
        (0x0005_0463, "beqz a0, .+8"),
        (0x00A0_5463, "blez a0, .+8"),
        (0x00A0_4463, "bgtz a0, .+8"),
        (0x0FF0_000F, "fence"),
        (0x0310_000F, "fence rw, w"),
        (0x1200_0073, "sfence.vma"),
        (0x12B5_0073, "sfence.vma a0, a1"),
        (0x3000_2573, "csrr a0, mstatus"),
        (0x6805_1073, "csrw hgatp, a0"),
        (0x1002_F073, "csrci sstatus, 5"),
        (0x7C00_2573, "csrr a0, 0x7c0"),
        (0x22B5_8553, "fmv.d fa0, fa1"),
        (0x0C05_A52F, "amoswap.w.aq a0, zero, (a1)"),
        (0x1605_B52F, "lr.d.aqrl a0, (a1)"),
    ],
)
def test_text(word: int, text: str) -> None:
    found = decode(word)
    assert found is not None and found.text == text


def test_jump_targets_are_absolute_where_pc_is_known() -> None:
    found = decode(0xFE05_1EE3)  # bnez a0, .-4
    assert found is not None and found.target_offset == -4
    assert found.assembly(0x8000_0010) == "bnez a0, 0x8000000c"
    assert found.assembly(0x8000_0010, lambda at: "loop" if at == 0x8000_000C else None) == "bnez a0, loop"
    assert found.assembly(0, lambda at: None) == "bnez a0, 0xfffffffffffffffc"


@pytest.mark.parametrize(
    ("text", "call", "ends"),
    [
        ("jal ra, 0", True, True),
        ("jalr ra, 0(a0)", True, True),
        ("jal t0, 0", True, True),
        ("jal zero, 0", False, True),
        ("beq a0, a1, 0", False, True),
        ("add ra, a0, a1", False, False),
        ("c.jalr a0", True, True),
        ("ecall", False, True),
        ("ld ra, 0(sp)", False, False),
    ],
)
def test_calls_and_ends_of_blocks(text: str, call: bool, ends: bool) -> None:
    found = decode(int.from_bytes(assemble(0, text).code, "little"))
    assert found is not None and (found.is_call, found.ends_block) == (call, ends)


@dataclass
class Values:
    """Register values, as an explanation asks for them."""

    pc: int = 0x8000_0000
    x: list[int] = field(default_factory=lambda: [0] * 32)
    f: list[int] = field(default_factory=lambda: [0] * 32)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("addi t0, a0, 5", "t0 = 100 + 5 = 105"),
        ("sub t0, a0, a1", "t0 = 100 - 7 = 93"),
        ("addi t0, zero, -1", "t0 = 0 + -1 = -1"),
        ("slt t0, a1, a0", "t0 = 7 <s 100 = 1"),
        ("sd a1, 8(a0)", "mem64[0x6c] = 7"),
        ("beq a0, a1, 0x80000008", "pc = 0x80000008 if 100 == 7, not taken"),
        ("bne a0, a1, 0x80000008", "pc = 0x80000008 if 100 != 7, taken"),
        ("jal ra, 0x80000010", "ra = 0x80000004; pc = 0x80000010"),
        ("jalr zero, 4(a0)", "pc = 0x68"),
        ("c.add a0, a1", "a0 = 100 + 7 = 107"),
        ("fence", "no effect"),
        ("mret", "return by mepc to the mode in MPP and MPV"),
    ],
)
def test_sentences(text: str, sentence: str) -> None:
    values = Values()
    values.x[10], values.x[11] = 100, 7
    found = decode(int.from_bytes(assemble(0x8000_0000, text).code, "little"))
    assert found is not None and found.explain(values) == sentence


@given(words())
def test_every_word_has_text_and_a_sentence(case: tuple[Instruction | Compressed, int]) -> None:
    _, word = case
    found = decode(word)
    assert found is not None
    assert found.text and "\n" not in found.text and "None" not in found.text
    sentence = found.explain(Values())
    assert sentence and "\n" not in sentence and "?" not in sentence


@given(words([form for form in FORMS if isinstance(form, Instruction)]))
def test_the_assembler_reads_what_the_disassembler_writes(case: tuple[Instruction | Compressed, int]) -> None:
    form, word = case
    found = decode(word)
    assert found is not None
    if form.name in ("fence", "fence.i"):  # bits that are to be ignored have no spelling
        return
    code = assemble(0x8000_0000, found.assembly(0x8000_0000)).code
    again = decode(int.from_bytes(code, "little"))
    assert again is not None
    if found.name != "add":  # `mv` stands for two instructions
        assert (again.name, again.operands) == (found.name, found.operands)


def test_the_assembler_refuses_nonsense() -> None:
    for line in (
        "frobnicate a0",
        "addi a0, a0",
        "addi a0, q7, 1",
        "beq a0, a1, nowhere",
        "addi a0, a0, 5000",
        "lw a0, a1",
    ):
        with pytest.raises(AssemblyError):
            assemble(0, line)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "nothing said"),
        (0x0000_3503, "transformed ld a0"),
        (0x0001_B503, "transformed ld a0, at byte 3 of the access"),
        (0x0000_3501, "transformed ld a0, 16-bit form"),
        (0x00C0_3023, "transformed sd a2"),
        (0x08C0_252F, "transformed amoswap.w a0, a2"),
        (0x0040_200F, "transformed cbo.zero"),
        (0x6400_4573, "transformed hlv.h a0"),
        (0x3000, "read of a VS-stage page-table entry"),
        (0x3020, "write of a VS-stage page-table entry (A or D)"),
        (0xFFFF_FFFF, "0xffffffff, no transformed instruction"),
        (1 << 32 | 0x3503, "0x100003503, no transformed instruction"),
    ],
)
@pytest.mark.parametrize("name", ["mtinst", "htinst"])
def test_what_a_trap_says_of_its_instruction(name: str, value: int, said: str) -> None:
    """ "Transformed Instruction or Pseudoinstruction for mtinst or htinst"."""
    assert [meaning for _, _, meaning in csrs.BY_NAME[name].decode(value)] == [said]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cbo.zero (a0)", "zero the cache block of 10"),
        ("cbo.flush (a0)", "write back the cache block of 10"),
        ("hsv.w a1, (a0)", "guest's mem32[10] = 11"),
        ("sfence.vma zero, zero", "forget first-stage translations of all addresses, every ASID"),
        ("hfence.vvma a0, zero", "forget VS-stage translations of address 10, every ASID"),
        ("hfence.gvma zero, a1", "forget G-stage translations of all addresses, VMID 11"),
        ("amocas.q a2, a4, (a0)", "mem128[10] = the pair x14 if it equals the pair x12, which gets what was there"),
        ("wrs.nto", "wait until the reservation is lost, or for an interrupt"),
    ],
)
def test_what_the_hart_does_of_itself_is_said_in_words(text: str, sentence: str) -> None:
    class Values:
        pc, x, f = 0x8000_0000, range(32), range(32)

    found = decode(int.from_bytes(assemble(0x8000_0000, text).code, "little"))
    assert found is not None and found.explain(Values()) == sentence


def test_every_primitive_is_said_in_words() -> None:
    silent = {"csr_write", "csr_set", "csr_clear"}
    for insn in ISA.instructions.values():
        for effect in insn.effects:
            if effect.kind == "do" and str(effect.args[0]) not in silent:
                assert str(effect.args[0]) in {*decoder._PRIMITIVES, *decoder._FENCES}, insn.name
