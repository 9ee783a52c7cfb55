"""What is switched off is off: names of sets of extensions, and harts that lack what is not in them.

Expectations are the manuals': "ISA Extension Naming Conventions", the volume of profiles, each extension's chapter.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from assembler import encode
from rig import (
    BASE,
    DATA,
    FS,
    GVA,
    HANDLER,
    HS,
    ILLEGAL,
    LEAF,
    LOAD_PAGE,
    MPP,
    MPV,
    ONES,
    VIRTUAL,
    VS,
    M,
    Rig,
    Tables,
    U,
    V,
    W,
    word_of,
)  # fmt: skip
from rig import R as READ

from emulator.devicetree import parse
from emulator.errors import ConfigurationError, StateError
from emulator.hart import Mode
from emulator.isa import ISA, MAX, Isa, csrs
from emulator.isa.description import Compressed, Instruction
from emulator.isa.extensions import EXTENSIONS, TRANSLATION
from emulator.isa.features import FEATURES, NUMBERS, holds, named, of_csr, of_form, optional_bits
from emulator.isa.profiles import PROFILES, extension
from emulator.machine import Machine
from emulator.vmm import Hypervisor

FORMS: list[Instruction | Compressed] = [*ISA.instructions.values(), *ISA.compressed.values()]
HINTS = {"Zihintpause", "Zihintntl", "Zicbop"}
"""Without the extension the same words are instructions that do nothing."""
SWITCHES = [each.name for each in (*EXTENSIONS, *TRANSLATION) if each.implemented and not each.fixed]


# --- names ---


@pytest.mark.parametrize(
    ("name", "on", "off"),
    [
        ("max", "I M A F D C B H Sstc Sv57 Smepmp", "V Zkr"),
        ("rv64", "Sstc Zba", ""),
        ("RV64GCH", "M A F D C H Zicsr Zifencei Zca Zcd Zaamo Zalrsc Sv57 Zicntr", "B Zba Sstc Zfh"),
        ("rv64gc_h", "H", "B"),
        ("rv64imafdch_zicsr_zba_sstc", "H Zba Sstc", "Zbb B Zifencei"),
        ("rv64id", "D F Zicsr", "M C Zcd"),  # RV32ID is RV32IFD
        ("rv64imac", "Zca", "F Zcd"),
        ("rv64iafd_zca", "Zca D", "C Zcd"),
        ("rv64i_zmmul", "Zmmul", "M"),
        ("rv64i_zaamo_zalrsc", "A", "M"),
        ("rv64i_zba_zbb_zbs", "B", "Zbc"),
        ("rv64i_zfh", "Zfh Zfhmin F", "D"),
        ("rv64i_smstateen", "Ssstateen", "H"),
        ("rv64isu", "", "M"),
        ("rva20s64", "D C Sv39 Zicntr", "Sv48 Zba Svpbmt H Zihpm"),
        ("rva22s64", "B Zicbom Svpbmt Svinval Zihpm Zfhmin", "H Sstc Svnapot Sv48 Zfh"),
        ("rva23s64", "H Sha Sstc Svnapot Zcb Zfa Ssnpm", "V Sv48 Svadu Zacas"),
        ("rva22s64,h=on,sstc=on", "H Sstc Shgatpa", "Sha"),
        ("rva22s64,sv48=off", "Sv39", "Sv48"),
        ("max,sv48=off", "Sv39", "Sv48 Sv57"),
        ("max,sv39=off", "H", "Sv39 Sv48 Sv57 Svpbmt Svnapot"),
        ("max,h=off", "Ssstateen", "H Sha Shgatpa Shlcofideleg"),
        ("max,f=off", "Zca C", "F D Zcd Zfa Zfh Zfhmin"),
        ("max,d=off", "F Zfh C Zfa", "D Zcd"),
        ("max,zcd=off", "D Zca", "C Zcd"),
        ("max,c=off", "D", "C Zca Zcd Zcb Zcmop"),
        ("max,m=off,zmmul=on", "Zmmul", "M"),
        ("max,a=off", "", "Zaamo Zalrsc Zacas Zabha Zawrs Ziccamoa Za64rs"),
        ("max,zba=off", "Zbb Zbs", "Zba B"),
        ("max,zkn=off", "Zks Zbkb", "Zkn Zkne"),
        ("max,zkn=off,zks=off", "", "Zbkb Zksh"),
        ("max,sstc=off,sstc=on", "Sstc", ""),
        ("max,c=off,c=on", "C Zca Zcd", ""),
        ("max,c=off,zcb=on", "Zcb Zca D", "C Zcd"),
        ("max,zfh=off", "Zfhmin", "Zfh"),
        ("max,v=off", "M", "V"),
    ],
)  # fmt: skip
def test_names_of_sets(name: str, on: str, off: str) -> None:
    isa = Isa.parse(name)
    assert [each for each in on.split() if each not in isa] == [] == [each for each in off.split() if each in isa]
    assert Isa.parse(str(isa)) == isa, "its own name is a name of it"


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "Sha"])  # which is the sum of others
def test_every_switch_gives_a_set_that_is_complete(name: str) -> None:
    isa = Isa.parse(f"max,{name}=off")
    assert name not in isa and "I" in isa
    for each in isa.names:
        assert all(need in isa for need in extension(each).needs.split()), each
    assert Isa.parse(str(isa)) == isa == Isa.parse(str(isa).upper())
    assert Isa.parse(f"max,{name}=off,{name}=on").names >= {name}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "unknown base"),
        ("rv64gch,", "no change"),
        ("rva24s64", "near to it: rva"),
        ("rva22u64", "rva22s64"),
        ("rv32gc", "64 bits"),
        ("rv64mac", "begins with rv64i"),
        ("rv64gcx", "no extension 'x'"),
        ("rv64gczba", "behind _"),
        ("rv64gc_zbaa", "near to it: zba"),
        ("max,sstcc=off", "near to it: sstc"),
        ("max,zba=maybe", "zba=on or =off"),
        ("max,zba", "zba=on or =off"),
        ("max,v=on", "do not have V (vectors)"),
        ("rv64gcv", "do not have V"),
        ("rv64gc,f=off,d=on", "D needs F, which is off"),
        ("rv64imafdc,f=off", "D needs F, which is off"),
        ("max,sv48=off,sv57=on", "Sv57 needs Sv48, which is off"),
        ("max,zca=off,zcb=on", "Zcb needs Zca, which is off"),
        ("max,h=off,shlcofideleg=on", "Shlcofideleg needs H, which is off"),
        ("max,s=off", "always have S-mode"),
        ("max,u=off", "always have U-mode"),
        ("max,i=off", "I cannot be switched off"),
        ("max,zicsr=off", "Zicsr cannot be switched off"),
        ("max,zkt=off", "Zkt cannot be switched off"),
        ("max,svade=off", "Svade cannot be switched off"),
        ("max,sha=off", "switch one of these"),
        ("rv64i" + "_zba" * 2000, "more than"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_name_is_said_in_a_line(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Isa.parse(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_line_refuses_and_takes_names() -> None:
    def run(*arguments: str) -> Any:
        return subprocess.run([sys.executable, "-m", "rvtui", *arguments], capture_output=True, text=True, check=False)

    wrong = run("run", "--headless", "--isa", "max,sstcc=off", "hello")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "sstc" in wrong.stderr
    lacking = run("run", "--headless", "--isa", "rv64gc", "hello")
    assert lacking.returncode == 2 and "H extension" in lacking.stderr
    good = run("run", "--headless", "--isa", "rva22s64,h=on", "hello")
    assert good.returncode == 0 and "hello from a guest" in good.stdout
    shown = run("isa", "rva22s64,h=on")
    assert shown.returncode == 0 and "riscv,sv39" in shown.stdout and "Sstc" in shown.stdout


# --- instructions ---


@cache
def bench(isa: str) -> Rig:
    """A machine to try words on."""
    return Rig(isa=isa)


def outcome(isa: str, word: int) -> tuple[Mode, int, int] | None:
    """The trap that a word raises in M-mode, with all that could forbid it set to permit it."""
    rig = bench(isa)
    rig.hart.reset(BASE)
    rig.set(mtvec=HANDLER, mstatus=FS)
    rig.machine.memory.write(BASE, word.to_bytes(4, "little"))
    for number in range(1, 32):
        rig.hart.x[number] = DATA
    rig.run(1)
    return rig.trap()


def operands(form: Instruction | Compressed) -> dict[str, int]:
    """Some that make it legal: registers are even, so that pairs can be meant, and rd differs from its neighbours."""
    chosen = {}
    for name in form.layout.operands:
        name = name.rstrip("'")
        chosen[name] = {"rd": 10, "rs1": 12, "rs2": 14, "rm": 1, "csr": 0x340}.get(name, 0)
        if name in ("imm", "uimm", "shamt") and 0 in form.never.get(name, ()):
            chosen[name] = 16 if form.name != "c.lui" else 1 << 12
    return chosen


def words_of(form: Instruction | Compressed) -> int:
    return form.layout.insert(operands(form))


@pytest.mark.parametrize("name", sorted({name for form in FORMS for name in named(of_form(form)) if name in SWITCHES}))
def test_instructions_need_their_extension(name: str) -> None:
    """Every instruction, by its description: legal with everything, and not without what it needs."""
    isa = f"max,{name}=off"
    without = Isa.parse(isa)
    tried = 0
    for form in FORMS:
        if name not in named(of_form(form)):
            continue
        word = words_of(form)
        there = outcome("max", word)
        assert there is None or there[1] != ILLEGAL, form.name
        gone = not holds(of_form(form), without.names)
        gone &= form.extension not in HINTS or (form.layout.length == 2 and "Zca" not in without)
        gone &= form.name != "zext.h"  # which is packw then
        here = outcome(isa, word)
        assert here == ((M, ILLEGAL, word) if gone else there), form.name
        tried += 1
    assert tried


SAMPLES = {
    # By extension: what it brings, and what stays when it goes.
    "M": (["mul a0, a1, a2", "div a0, a1, a2", "remuw a0, a1, a2"], ["add a0, a1, a2"]),
    "A": (["amoadd.w a0, a1, (a2)", "lr.d a0, (a1)", "amocas.w a0, a1, (a2)", "wrs.sto"], []),
    "Zaamo": (["amoswap.d a0, a1, (a2)", "amoadd.b a0, a1, (a2)"], ["lr.w a0, (a1)"]),
    "Zalrsc": (["lr.w a0, (a1)", "wrs.nto"], ["amoswap.d a0, a1, (a2)"]),
    "F": (["fadd.s fa0, fa1, fa2", "fld fa0, 0(a1)", "flw fa0, 0(a1)", "fli.s fa0, 1.0"], []),
    "D": (["fadd.d fa0, fa1, fa2", "fld fa0, 0(a1)", "fcvt.d.h fa0, fa1", "fli.d fa0, 1.0"], ["fli.s fa0, 1.0"]),
    "H": (["hlv.w a0, (a1)", "hsv.d a0, (a1)", "hfence.gvma a0, a1", "hinval.vvma a0, a1"], ["sinval.vma a0, a1"]),
    "Zifencei": (["fence.i"], []),
    "Zba": (["sh1add a0, a1, a2", "add.uw a0, a1, a2"], ["clz a0, a1"]),
    "Zbb": (["clz a0, a1", "max a0, a1, a2", "sext.b a0, a1"], ["rol a0, a1, a2", "zext.h a0, a1"]),
    "Zbkb": (["pack a0, a1, a2", "brev8 a0, a1"], ["rol a0, a1, a2", "zext.h a0, a1"]),
    "Zbc": (["clmulr a0, a1, a2"], ["clmul a0, a1, a2"]),
    "Zbkx": (["xperm4 a0, a1, a2"], []),
    "Zbs": (["bset a0, a1, a2", "bexti a0, a1, 3"], []),
    "Zkne": (["aes64es a0, a1, a2"], ["aes64ks2 a0, a1, a2"]),
    "Zknd": (["aes64dsm a0, a1, a2"], ["aes64ks2 a0, a1, a2"]),
    "Zknh": (["sha256sum0 a0, a1"], []),
    "Zksed": (["sm4ks a0, a1, a2, 1"], []),
    "Zksh": (["sm3p0 a0, a1"], []),
    "Zicond": (["czero.eqz a0, a1, a2"], []),
    "Zimop": (["mop.r.3 a0, a1", "mop.rr.1 a0, a1, a2"], []),
    "Zacas": (["amocas.d a0, a2, (a4)", "amocas.b a0, a1, (a2)"], ["amoadd.b a0, a1, (a2)"]),
    "Zabha": (["amoadd.h a0, a1, (a2)", "amocas.b a0, a1, (a2)"], ["amocas.d a0, a2, (a4)"]),
    "Zawrs": (["wrs.nto"], ["lr.w a0, (a1)"]),
    "Zfa": (["fli.s fa0, 1.0", "fround.d fa0, fa1"], ["fadd.h fa0, fa1, fa2"]),
    "Zfh": (["fadd.h fa0, fa1, fa2", "fli.h fa0, 1.0"], ["flh fa0, 0(a1)", "fcvt.s.h fa0, fa1"]),
    "Zfhmin": (["flh fa0, 0(a1)", "fcvt.s.h fa0, fa1", "fadd.h fa0, fa1, fa2"], ["fadd.s fa0, fa1, fa2"]),
    "Zicbom": (["cbo.clean (a1)", "cbo.inval (a1)"], ["cbo.zero (a1)"]),
    "Zicboz": (["cbo.zero (a1)"], ["cbo.flush (a1)"]),
    "Zicbop": ([], ["prefetch.r 0(a1)"]),
    "Zihintpause": ([], ["pause"]),
    "Zihintntl": ([], ["ntl.p1"]),
    "Svinval": (["sinval.vma a0, a1", "sfence.w.inval", "hinval.gvma a0, a1"],
                ["sfence.vma a0, a1", "hfence.gvma a0, a1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_what_an_extension_takes_along(name: str) -> None:
    isa = f"max,{name}=off"
    taken, left = SAMPLES[name]
    for text in taken:
        word = word_of(text)
        there = outcome("max", word)
        assert there is None or there[1] != ILLEGAL, text
        assert outcome(isa, word) == (M, ILLEGAL, word), text
    for text in left:
        assert outcome(isa, word_of(text)) is None, text


def test_zext_h_is_packw_where_zbb_is_off() -> None:
    """And computes the same; with both off it is illegal."""
    for isa in ("max", "max,zbb=off", "max,zbkb=off"):
        rig = Rig("zext.h a0, a1", isa=isa)
        rig.put(a1=0x1_2345)
        rig.run(1)
        assert rig.x("a0") == 0x2345
    assert outcome("max,zbb=off,zbkb=off", word_of("zext.h a0, a1")) is not None


@pytest.mark.parametrize("mode", [HS, U, VS])
def test_illegal_for_lack_of_an_extension_is_never_virtual(mode: Mode) -> None:
    for text in ("hlv.w a0, (a1)", "csrr a0, stimecmp", "csrr a0, vsstatus"):
        if mode is VS and text != "csrr a0, stimecmp":
            continue
        rig = Rig(text, mode=mode, isa="max,sstc=off" if mode is VS else "max,h=off,sstc=off")
        rig.run(1)
        assert rig.trap() == (M, ILLEGAL, word_of(text))


# --- without instructions of 16 bits ---


def test_words_of_16_bits_are_illegal_without_c() -> None:
    rig = Rig("nop", isa="max,c=off")
    rig.machine.memory.write_int(BASE, 2, encode("c.li", rd=10, imm=1))
    rig.run(1)
    assert rig.trap() == (M, ILLEGAL, encode("c.li", rd=10, imm=1))
    assert not rig.csr("misa") & 1 << 2


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("mode", [M, HS, VS])
@pytest.mark.parametrize(
    ("name", "given", "offset"),
    [
        ("jal", {"rd": 1, "imm": 6}, 6),
        ("jal", {"rd": 0, "imm": -(1 << 20) + 2}, -(1 << 20) + 2),
        ("jalr", {"rd": 1, "rs1": 11, "imm": 2}, None),
        ("jalr", {"rd": 1, "rs1": 13, "imm": 1}, None),
        ("beq", {"rs1": 0, "rs2": 0, "imm": 10}, 10),
        ("bne", {"rs1": 11, "rs2": 0, "imm": -2}, -2),
        ("bgeu", {"rs1": 11, "rs2": 0, "imm": 4094}, 4094),
    ],
)
def test_a_jump_to_between_two_instructions(
    name: str, given: dict[str, int], offset: int | None, mode: Mode, warm: int
) -> None:
    """IALIGN is 32: the jump itself raises the exception, with its target in xtval, and writes no register. Chapter
    "RV32I Base Integer Instruction Set", section "Control Transfer Instructions"."""
    rig = Rig("nop\n" * warm, mode=mode, isa="max,c=off")
    at = BASE + 4 * warm
    rig.machine.memory.write_int(at, 4, encode(name, **given))
    rig.put(a1=BASE + 0x100, a3=BASE + 0x102, ra=77)
    rig.run(warm + 1)
    target = BASE + 0x102 if offset is None else at + offset
    assert rig.trap() == (M, 0, target)
    assert (rig.csr("mepc"), rig.x("ra")) == (at, 77)
    assert bool(rig.csr("mstatus") & GVA) == (mode is VS)
    assert rig.hart.instret == warm


def test_jumps_that_are_aligned_or_not_taken_go_on_without_c() -> None:
    rig = Rig(
        """
        nop
        jal ra, on
        nop
    on: jalr s0, 0(a2)
        nop
    to: addi a0, a0, 1
        bne a0, a3, to
        j to
        """,
        isa="max,c=off",
    )
    rig.machine.memory.write_int(BASE, 4, encode("beq", rs1=11, rs2=0, imm=6))
    rig.put(a1=1, a2=rig.program["to"], a3=3)
    rig.run(3 + 6 + 2)
    assert (rig.x("a0"), rig.x("ra"), rig.x("s0")) == (4, BASE + 8, BASE + 16)
    assert rig.trap() is None


def test_what_follows_from_ialign_in_csrs() -> None:
    """xepc has two low bits that are zero, and the exception can be delegated."""
    for isa, low, delegable in (("max", 0xE, 0), ("max,c=off", 0xC, 1)):
        rig = Rig(isa=isa)
        rig.set(mepc=0xF, sepc=0xF, vsepc=0xF, medeleg=1, hedeleg=1)
        assert [rig.csr(name) for name in ("mepc", "sepc", "vsepc")] == [low] * 3
        assert [rig.csr(name) for name in ("medeleg", "hedeleg")] == [delegable] * 2
        rig.hart.pc = BASE + 2
        assert rig.hart.pc == BASE + 2 * (isa == "max")


# --- CSRs ---

REGISTERS = {
    "H": "hstatus hedeleg hideleg hie hip hvip htval htinst hgatp henvcfg hcounteren htimedelta hgeie hgeip vsstatus"
         " vsie vsip vstvec vsscratch vsepc vscause vstval vsatp vstimecmp mtinst mtval2 hstateen0 hstateen3",
    "F": "fflags frm fcsr",
    "Sstc": "stimecmp vstimecmp",
    "Sscofpmf": "scountovf",
    "Smcntrpmf": "mcyclecfg minstretcfg",
    "Smstateen": "mstateen0 mstateen1 mstateen2 mstateen3",
    "Ssstateen": "mstateen0 sstateen0 sstateen3 hstateen0 hstateen2",
    "Zicntr": "cycle time instret",
    "Zihpm": "hpmcounter3 hpmcounter31",
}  # fmt: skip
BITS = {
    "H": {"mstatus": GVA | MPV, "mideleg": 1 << 2 | 1 << 6 | 1 << 10, "mie": 1 << 2 | 1 << 6 | 1 << 10,
          "medeleg": 1 << 10 | 0xF << 20, "misa": 1 << 7, "mip": 1 << 2},
    "F": {"mstatus": FS, "sstatus": FS, "vsstatus": FS, "misa": 1 << 5 | 1 << 3},
    "D": {"misa": 1 << 3},
    "C": {"misa": 1 << 2},
    "A": {"misa": 1 << 0},
    "M": {"misa": 1 << 12},
    "Zbs": {"misa": 1 << 1},
    "Sstc": {"menvcfg": 1 << 63, "henvcfg": 1 << 63},
    "Svpbmt": {"menvcfg": 1 << 62, "henvcfg": 1 << 62},
    "Svadu": {"menvcfg": 1 << 61, "henvcfg": 1 << 61},
    "Zicbom": dict.fromkeys(("menvcfg", "henvcfg", "senvcfg"), 7 << 4),
    "Zicboz": dict.fromkeys(("menvcfg", "henvcfg", "senvcfg"), 1 << 7),
    "Ssnpm": {"senvcfg": 3 << 32, "henvcfg": 3 << 32, "hstatus": 3 << 48},
    "Smnpm": {"menvcfg": 3 << 32},
    "Smmpm": {"mseccfg": 3 << 32},
    "Smepmp": {"mseccfg": 7},
    "Sscofpmf": {"mip": 1 << 13, "mie": 1 << 13, "mideleg": 1 << 13, "hideleg": 1 << 13, "mhpmevent3": 0x3F << 58,
                 "sie": 1 << 13, "sip": 1 << 13, "vsie": 1 << 13, "vsip": 1 << 13},
    "Shlcofideleg": {"hideleg": 1 << 13},
    "Zicntr": {"mcounteren": 7, "scounteren": 7, "hcounteren": 7},
    "Zihpm": {"mcounteren": 0xFFFF_FFF8, "hcounteren": 0xFFFF_FFF8},
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTERS)
def test_registers_of_what_is_off_are_not_there(name: str) -> None:
    isa = f"max,{name}=off"
    for csr in REGISTERS[name].split():
        word = word_of(f"csrrs a0, {csr}, x0")
        assert outcome("max", word) is None, csr
        assert outcome(isa, word) == (M, ILLEGAL, word), csr
        assert bench("max").hart.has_csr(csr) and not bench(isa).hart.has_csr(csr)
        with pytest.raises(ConfigurationError, match=csr):
            bench(isa).hart.csr(csr)
        with pytest.raises(ConfigurationError, match=csr):
            bench(isa).hart.set_csr(csr, 0)


def written(isa: str, csr: str) -> tuple[int, int]:
    """What sticks of all ones, as a program reads it and as it is seen from outside. MML and MMWP would end it."""
    ones = ONES & ~3 if csr == "mseccfg" else ONES
    rig = Rig(f"csrrw x0, {csr}, a1\ncsrrs a0, {csr}, x0", isa=isa)
    rig.hart.set_csrs({"mideleg": ONES, "hideleg": ONES, "menvcfg": ONES})
    rig.put(a1=ones)
    rig.run(2)
    assert rig.trap() is None
    stored = rig.csr(csr)
    rig.set(**{csr: ones})
    assert rig.csr(csr) == stored
    return rig.x("a0"), stored


@pytest.mark.parametrize("name", BITS)
def test_bits_of_what_is_off_are_read_only_zero(name: str) -> None:
    isa = f"max,{name}=off"
    for csr, bits in BITS[name].items():
        if not bench(isa).hart.has_csr(csr):
            continue
        assert all(value & bits for value in written("max", csr)), f"{csr}: nothing to compare with"
        assert not any(value & bits for value in written(isa, csr)), csr


def test_every_optional_bit_and_register_of_the_table_goes() -> None:
    """By the descriptions: with a feature off, no bit that needs it can be set, nor is there after reset."""
    for name in SWITCHES:
        if name == "Sha":
            continue
        rig = bench(f"max,{name}=off")
        names = Isa.parse(f"max,{name}=off").names
        rig.hart.reset(BASE)
        for csr in csrs.CSRS:
            assert rig.hart.has_csr(csr.name) == holds(of_csr(csr), names), (name, csr.name)
            absent = sum(bits for feature, bits in optional_bits(csr) if not holds(feature, names))
            if absent and rig.hart.has_csr(csr.name):
                assert rig.csr(csr.name) & absent == 0, (name, csr.name)
                if not csr.read_only:
                    rig.hart.set_csr(csr.name, ONES)
                assert rig.csr(csr.name) & absent == 0, (name, csr.name)


def test_mseccfg_is_there_for_either_of_two() -> None:
    word = word_of("csrrs a0, mseccfg, x0")
    assert [outcome(isa, word) is None for isa in ("max", "max,smepmp=off", "max,smmpm=off")] == [True] * 3
    assert outcome("max,smepmp=off,smmpm=off", word) == (M, ILLEGAL, word)


def test_without_state_enables_nothing_is_withheld() -> None:
    """senvcfg, which mstateen0.ENVCFG and hstateen0.ENVCFG would guard, 0 after reset."""
    for isa, mode, cause in (
        ("max", HS, ILLEGAL), ("max,smstateen=off", HS, None), ("max,ssstateen=off", HS, None),
        ("max", VS, ILLEGAL), ("max,smstateen=off", VS, VIRTUAL), ("max,ssstateen=off", VS, None),
    ):  # fmt: skip
        rig = Rig("csrr a0, senvcfg", mode=mode, isa=isa)
        rig.run(1)
        found = rig.trap()
        assert (found and found[1]) == cause, (isa, mode)


def test_counters_do_not_request_interrupts_without_sscofpmf() -> None:
    for isa, pending in (("max", 1 << 13), ("max,sscofpmf=off", 0)):
        rig = Rig("nop\nnop\nnop\nnop", isa=isa, mhpmevent3=csrs_event("INSTRUCTIONS"), mhpmcounter3=ONES - 1)
        rig.run(4)
        assert rig.csr("mip") & 1 << 13 == pending
        assert rig.csr("mhpmevent3") >> 63 == bool(pending)
        assert rig.csr("mhpmcounter3") == 2, "they count on"
        assert Machine.from_state(rig.machine.state()).state() == rig.machine.state(), "and leave nothing behind"


def csrs_event(name: str) -> int:
    return next(number for number, (each, _) in csrs.EVENTS.items() if each == name)


def test_without_h_there_is_no_virtual_mode() -> None:
    rig = Rig("mret", isa="max,h=off", mstatus=MPV | 1 << 11, mepc=DATA)
    rig.run(1)
    assert (rig.hart.mode, rig.hart.pc) == (HS, DATA)
    for mode in (Mode.VS, Mode.VU):
        with pytest.raises(ConfigurationError, match="H extension is off"):
            rig.hart.mode = mode
        with pytest.raises(ConfigurationError, match="H extension is off"):
            rig.hart.walk(BASE, mode=mode)
    with pytest.raises(ConfigurationError, match="H extension"):
        Hypervisor(Machine(isa="max,h=off"))
    with pytest.raises(ConfigurationError, match="H extension"):
        Machine(isa="max,h=off", guest_interrupts=3)
    assert MPP & rig.csr("mstatus") == 0


# --- translation ---


@pytest.mark.parametrize(
    ("isa", "modes"),
    [("max", {0, 8, 9, 10}), ("max,sv57=off", {0, 8, 9}), ("max,sv48=off", {0, 8}), ("max,sv39=off", {0})],
)  # fmt: skip
def test_modes_that_are_off_do_not_stick(isa: str, modes: set[int]) -> None:
    """satp and vsatp keep all they had, hgatp the mode only: it is WARL field by field ("hgatp")."""
    for name in ("satp", "vsatp", "hgatp"):
        rig, stuck = Rig(isa=isa), set()
        for mode in range(16):
            rig.set(**{name: 0})
            rig.set(**{name: mode << 60 | 4})
            if rig.csr(name) >> 60 == mode:
                stuck.add(mode)
                assert rig.csr(name) & 0xFF == 4
            elif name != "hgatp":
                assert rig.csr(name) == 0
        assert stuck == modes, name


@pytest.mark.parametrize(
    ("off", "flags", "setup", "cause"),
    [
        ("svnapot", LEAF | 1 << 63 | 8 << 10, 0, LOAD_PAGE),
        ("svpbmt", LEAF | 1 << 61, 1 << 62, LOAD_PAGE),
        ("svadu", V | READ | W, 1 << 61, LOAD_PAGE),
    ],
)
def test_what_page_tables_may_not_say_then(off: str, flags: int, setup: int, cause: int) -> None:
    """Reserved bits fault; without Svadu A is software's."""
    for isa, expected in (("max", None), (f"max,{off}=off", cause)):
        rig = Rig("ld a0, 0(a1)", mode=M, isa=isa, menvcfg=setup)
        tables = Tables(rig)
        tables.map(BASE, BASE, LEAF)
        tables.map(0x4000_0000, DATA & ~0xFFFF, flags)
        rig.set(satp=tables.atp)
        rig.hart.mode = HS
        rig.put(a1=0x4000_0000)
        rig.run(1)
        found = rig.trap()
        assert (found and found[1]) == expected, isa


def test_a_vm_needs_a_mode_that_the_harts_have() -> None:
    hypervisor = Hypervisor(Machine(isa="max,sv48=off"))
    with pytest.raises(ConfigurationError, match="Sv48x4"):
        hypervisor.create_vm("guest", 4 << 20, scheme="Sv48x4")
    hypervisor.create_vm("guest", 4 << 20)


# --- what others are told ---


@pytest.mark.parametrize(("isa", "mmu"), [("max", "sv57"), ("max,sv57=off", "sv48"), ("rva22s64", "sv39")])
def test_the_device_tree_says_what_is_there(isa: str, mmu: str) -> None:
    machine = Machine(isa=isa)
    cpu = parse(machine.device_tree(), "tree").find("cpus/cpu@0")
    assert cpu is not None
    names = cpu.strings("riscv,isa-extensions")
    assert cpu.strings("mmu-type") == [f"riscv,{mmu}"]
    assert ("sstc" in names, "h" in names) == (isa != "rva22s64",) * 2
    assert {name for name in names if len(name) > 1} == {
        e.name.lower() for e in EXTENSIONS if e.name in machine.isa and len(e.name) > 1
    }


def test_block_sizes_are_told_only_with_their_extension() -> None:
    for isa, told in (("max", True), ("rv64gc", False)):
        cpu = parse(Machine(isa=isa).device_tree(), "tree").find("cpus/cpu@0")
        assert cpu is not None
        for name in ("cbom", "cboz", "cbop"):
            assert (f"riscv,{name}-block-size" in cpu.properties) == told


def test_a_guests_tree_has_what_the_harts_have_but_h() -> None:
    hypervisor = Hypervisor(Machine(isa="rva23s64"))
    cpu = parse(hypervisor.create_vm("guest", 4 << 20).device_tree(), "tree").find("cpus/cpu@0")
    assert cpu is not None
    names = set(cpu.strings("riscv,isa-extensions"))
    assert {"i", "zcb", "sstc"} <= names and not names & {"h", "sha", "shgatpa"}
    assert cpu.strings("mmu-type") == ["riscv,sv39"]


def test_a_saved_machine_keeps_its_set() -> None:
    machine = Machine(memory=1 << 20, isa="rva22s64,h=on,zihpm=off")
    again = Machine.from_state(machine.state())
    assert again.isa == machine.isa and again.state_hash() == machine.state_hash()
    assert not again.harts[0].has_csr("hpmcounter3")


@pytest.mark.parametrize(
    ("isa", "change"),
    [("max,h=off", {"v": 1, "prv": 1}), ("max,c=off", {"pc": BASE + 2})],
)
def test_a_saved_state_that_the_set_cannot_be_in_is_refused(isa: str, change: dict[str, int]) -> None:
    state = Machine(memory=1 << 20, isa=isa).state()
    state["harts"][0] |= change
    with pytest.raises(StateError):
        Machine.from_state(state)


def test_saved_bits_of_what_is_off_do_not_come_in() -> None:
    state = Machine(memory=1 << 20, isa="max,h=off,f=off,sstc=off").state()
    stored = state["harts"][0]["csr"]
    stored.update(mstatus=ONES, mideleg=ONES, menvcfg=ONES, hgatp=8 << 60, hstatus=1 << 7, fcsr=7, hvip=4)
    hart = Machine.from_state(state).harts[0]
    kept = hart.state()["csr"]
    assert kept["mstatus"] & (MPV | GVA | FS) == 0 and kept["menvcfg"] >> 63 == 0
    assert kept["hgatp"] == kept["hvip"] == kept["fcsr"] == kept["hstatus"] & 1 << 7 == 0
    assert kept["mideleg"] & (1 << 2 | 1 << 6 | 1 << 10 | 1 << 12) == 0


def test_an_unknown_set_in_a_saved_machine_is_refused() -> None:
    state = Machine(memory=1 << 20).state()
    for isa in ("rv128i", "rv64iq", "max,zkt=off", 7):
        state["config"]["isa"] = isa
        with pytest.raises(StateError):
            Machine.from_state(state)


# --- the descriptions themselves ---


def test_features_are_extensions_of_the_hart() -> None:
    names = {word.lstrip("!") for feature in FEATURES for word in feature.replace("|", " ").split()}
    assert names <= MAX.names | {"I"}
    assert len(NUMBERS) == len(FEATURES) < 256, "a feature's number is a byte"
    modes = {feature for feature, _ in csrs.BY_NAME["satp"].field("MODE").legal_with}
    assert modes == {each.name for each in TRANSLATION}


def test_profiles_are_what_their_names_give() -> None:
    for name, profile in PROFILES.items():
        if profile.privileged:
            isa = Isa.parse(name)
            here = {each.name for each in map(extension, profile.mandatory) if each.name in MAX}
            assert here <= isa.names
            brought = {each for o in isa.names for each in f"{extension(o).parts} {extension(o).implies}".split()}
            more = {each for each in isa.names - here - brought - {"Zcd"} if not extension(each).fixed}
            assert not more, "and nothing else"
