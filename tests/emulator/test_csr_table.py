"""The CSR table against the manual, and the C that is generated from it against the table."""

from __future__ import annotations

import re

import pytest

from emulator.hart import generate_csrs
from emulator.isa import csrs, features
from emulator.isa.csrs import BY_NAME, BY_NUMBER, CSRS, Kind
from emulator.isa.selection import MAX

# Chapter "Control and Status Registers", tables "Currently allocated RISC-V ... CSR addresses".
NUMBERS = {
    "fflags": 0x001, "frm": 0x002, "fcsr": 0x003,
    "cycle": 0xC00, "time": 0xC01, "instret": 0xC02, "hpmcounter3": 0xC03, "hpmcounter31": 0xC1F,
    "sstatus": 0x100, "sie": 0x104, "stvec": 0x105, "scounteren": 0x106, "senvcfg": 0x10A,
    "sscratch": 0x140, "sepc": 0x141, "scause": 0x142, "stval": 0x143, "sip": 0x144, "stimecmp": 0x14D, "satp": 0x180,
    "hstatus": 0x600, "hedeleg": 0x602, "hideleg": 0x603, "hie": 0x604, "htimedelta": 0x605, "hcounteren": 0x606,
    "hgeie": 0x607, "henvcfg": 0x60A, "htval": 0x643, "hip": 0x644, "hvip": 0x645, "htinst": 0x64A, "hgatp": 0x680,
    "hgeip": 0xE12, "hstateen0": 0x60C, "hstateen3": 0x60F, "sstateen0": 0x10C, "sstateen3": 0x10F,
    "mstateen0": 0x30C, "mstateen3": 0x30F, "scountovf": 0xDA0, "mcyclecfg": 0x321, "minstretcfg": 0x322,
    "vsstatus": 0x200, "vsie": 0x204, "vstvec": 0x205, "vsscratch": 0x240, "vsepc": 0x241, "vscause": 0x242,
    "vstval": 0x243, "vsip": 0x244, "vstimecmp": 0x24D, "vsatp": 0x280,
    "mvendorid": 0xF11, "marchid": 0xF12, "mimpid": 0xF13, "mhartid": 0xF14, "mconfigptr": 0xF15,
    "mstatus": 0x300, "misa": 0x301, "medeleg": 0x302, "mideleg": 0x303, "mie": 0x304, "mtvec": 0x305,
    "mcounteren": 0x306, "menvcfg": 0x30A, "mcountinhibit": 0x320, "mhpmevent3": 0x323, "mhpmevent31": 0x33F,
    "mscratch": 0x340, "mepc": 0x341, "mcause": 0x342, "mtval": 0x343, "mip": 0x344, "mtinst": 0x34A, "mtval2": 0x34B,
    "pmpcfg0": 0x3A0, "pmpcfg2": 0x3A2, "pmpcfg14": 0x3AE, "pmpaddr0": 0x3B0, "pmpaddr63": 0x3EF,
    "mcycle": 0xB00, "minstret": 0xB02, "mhpmcounter3": 0xB03, "mhpmcounter31": 0xB1F,
    "tselect": 0x7A0, "tdata1": 0x7A1, "tdata2": 0x7A2, "tdata3": 0x7A3, "tinfo": 0x7A4, "tcontrol": 0x7A5,
}

# Positions that the manual's figures give: (register, field, low bit, width).
POSITIONS = [
    ("mstatus", "SIE", 1, 1), ("mstatus", "MIE", 3, 1), ("mstatus", "SPP", 8, 1), ("mstatus", "MPP", 11, 2),
    ("mstatus", "FS", 13, 2), ("mstatus", "MPRV", 17, 1), ("mstatus", "TVM", 20, 1), ("mstatus", "TW", 21, 1),
    ("mstatus", "TSR", 22, 1), ("mstatus", "UXL", 32, 2), ("mstatus", "SXL", 34, 2), ("mstatus", "GVA", 38, 1),
    ("mstatus", "MPV", 39, 1), ("mstatus", "SD", 63, 1),
    ("hstatus", "GVA", 6, 1), ("hstatus", "SPV", 7, 1), ("hstatus", "SPVP", 8, 1), ("hstatus", "HU", 9, 1),
    ("hstatus", "VGEIN", 12, 6), ("hstatus", "VTVM", 20, 1), ("hstatus", "VTW", 21, 1), ("hstatus", "VTSR", 22, 1),
    ("hstatus", "VSXL", 32, 2), ("hstatus", "HUPMM", 48, 2),
    ("hgatp", "MODE", 60, 4), ("hgatp", "VMID", 44, 14), ("hgatp", "PPN", 0, 44),
    ("satp", "MODE", 60, 4), ("satp", "ASID", 44, 16), ("satp", "PPN", 0, 44),
    ("henvcfg", "STCE", 63, 1), ("henvcfg", "PBMTE", 62, 1), ("henvcfg", "ADUE", 61, 1), ("menvcfg", "FIOM", 0, 1),
    ("mip", "MSIP", 3, 1), ("mip", "MTIP", 7, 1), ("mip", "MEIP", 11, 1), ("mip", "VSSIP", 2, 1),
    ("hie", "VSTIE", 6, 1), ("hvip", "VSEIP", 10, 1), ("hip", "SGEIP", 12, 1), ("vsip", "SEIP", 9, 1),
    ("mstateen0", "SE0", 63, 1), ("mstateen0", "ENVCFG", 62, 1), ("hstateen0", "ENVCFG", 62, 1),
    ("hstateen2", "SE2", 63, 1), ("mhpmevent3", "OF", 63, 1), ("mhpmevent31", "VUINH", 58, 1),
    ("minstretcfg", "MINH", 62, 1), ("mcyclecfg", "VSINH", 59, 1), ("vsip", "LCOFIP", 13, 1), ("sie", "LCOFIE", 13, 1),
    ("fcsr", "FRM", 5, 3), ("frm", "FRM", 0, 3), ("mcounteren", "TM", 1, 1), ("misa", "H", 7, 1),
]


def fields_of(name: str, value: int) -> dict[str, tuple[int, str]]:
    return {field.name: (bits, meaning) for field, bits, meaning in BY_NAME[name].decode(value)}


def test_numbers_are_those_of_the_manual() -> None:
    assert {name: BY_NAME[name].number for name in NUMBERS} == NUMBERS


def test_arrays_of_registers_are_complete() -> None:
    for i in range(3, 32):
        assert BY_NAME[f"hpmcounter{i}"].number == 0xC00 + i
        assert BY_NAME[f"mhpmcounter{i}"].number == 0xB00 + i
        assert BY_NAME[f"mhpmevent{i}"].number == 0x320 + i
    for i in range(64):
        assert BY_NAME[f"pmpaddr{i}"].number == 0x3B0 + i
    assert [n for n in range(0x3A0, 0x3B0) if n in BY_NUMBER] == list(range(0x3A0, 0x3B0, 2))


@pytest.mark.parametrize("name", ["mstatush", "medelegh", "cycleh", "henvcfgh", "htimedeltah", "vstimecmph"])
def test_what_rv64_and_this_hart_lack_is_not_there(name: str) -> None:
    assert name not in BY_NAME


@pytest.mark.parametrize(("register", "field", "low", "width"), POSITIONS)
def test_fields_lie_where_the_manual_draws_them(register: str, field: str, low: int, width: int) -> None:
    found = BY_NAME[register].field(field)
    assert (found.low, found.width) == (low, width)


@pytest.mark.parametrize("csr", CSRS, ids=lambda csr: csr.name)
def test_fields_do_not_overlap_and_fit(csr: csrs.Csr) -> None:
    seen = 0
    for field in csr.fields:
        assert field.high < csrs.XLEN
        assert not seen & field.mask, field.name
        seen |= field.mask
    assert seen == csr.mask != 0
    assert csr.write_mask & ~csr.mask == 0
    names = [field.name for field in csr.fields]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("csr", CSRS, ids=lambda csr: csr.name)
def test_rows_are_consistent(csr: csrs.Csr) -> None:
    assert csr.read_only == (csr.number >= 0xC00)
    if csr.read_only:
        assert csr.write_mask == 0
    for field in csr.fields:
        if field.kind is Kind.LEGAL:
            assert field.legal
            assert all(0 <= value < 1 << field.width for value in field.legal)
            assert field.value in field.legal, "the reset value must be legal"
            if field.values is not None:
                assert set(field.legal) <= set(field.values)
        if not features.holds(field.extension or "", MAX.names) and field.kind is Kind.FIXED:
            assert field.value == 0, "what is not implemented reads 0"
    if csr.view is not None:
        assert csr.storage is None
        base = BY_NAME[csr.view.of]
        assert base.storage is not None
        assert csr.view.place(csr.mask) & ~base.mask == 0
    elif csr.write_mask:
        assert csr.storage is not None


@pytest.mark.parametrize("csr", [csr for csr in CSRS if csr.view and not csr.view.shift], ids=lambda csr: csr.name)
def test_views_show_the_fields_of_their_base(csr: csrs.Csr) -> None:
    assert csr.view is not None
    base = {field.name: (field.low, field.width, field.values) for field in BY_NAME[csr.view.of].fields}
    for field in csr.fields:
        assert base[field.name] == (field.low, field.width, field.values)


def test_every_supervisor_register_with_a_twin_has_the_same_layout() -> None:
    twins = {csr.name: csr.v_alias for csr in CSRS if csr.v_alias}
    assert set(twins) == {
        "sstatus", "sie", "stvec", "sscratch", "sepc", "scause", "stval", "sip", "stimecmp", "satp",
    }
    for name in twins:
        csr = BY_NAME[name]
        twin = csr.twin
        assert twin is not None and twin.name == "v" + name and twin.twin is csr
        assert twin.number == csr.number + 0x100
        assert [(f.name, f.low, f.width, f.kind) for f in csr.fields] == [
            (f.name, f.low, f.width, f.kind) for f in twin.fields
        ]
    for name in ("scounteren", "senvcfg", "hstatus", "mstatus"):
        assert BY_NAME[name].twin is None


def test_groups_hold_every_register_once_in_order() -> None:
    assert [csr for group in csrs.GROUPS.values() for csr in group] == list(CSRS)
    assert next(iter(csrs.GROUPS)) == "machine information"
    assert {csr.name for csr in csrs.GROUPS["hypervisor trap setup"]} == {
        "hstatus", "hedeleg", "hideleg", "hie", "hcounteren", "hgeie",
    }


def test_lowest_privilege_follows_from_the_number() -> None:
    privilege = {name: BY_NAME[name].privilege for name in ("cycle", "sstatus", "hgatp", "vsatp", "hgeip", "mstatus")}
    assert privilege == {"cycle": "U", "sstatus": "S", "hgatp": "H", "vsatp": "H", "hgeip": "H", "mstatus": "M"}


# Section "Hypervisor Trap Delegation Registers", table of bits that must be writable or read-only zero.
def test_hedeleg_bits() -> None:
    must_be_writable = {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 18, 19}
    must_be_zero = {9, 10, 11, 16, 20, 21, 22, 23}
    mask = BY_NAME["hedeleg"].write_mask
    assert all(mask >> bit & 1 for bit in must_be_writable)
    assert not any(mask >> bit & 1 for bit in must_be_zero)
    assert BY_NAME["hedeleg"].reset == 0


def test_delegation_of_interrupts() -> None:
    assert BY_NAME["hideleg"].write_mask == 1 << 13 | 1 << 10 | 1 << 6 | 1 << 2, "13: Shlcofideleg"
    assert BY_NAME["mideleg"].write_mask == 1 << 13 | 1 << 9 | 1 << 5 | 1 << 1
    assert BY_NAME["mideleg"].reset == 1 << 10 | 1 << 6 | 1 << 2, "read-only one with the H extension"
    assert BY_NAME["medeleg"].write_mask & (1 << 11 | 1 << 16) == 0


def test_misa_names_the_extensions() -> None:
    value = BY_NAME["misa"].reset
    assert value >> 62 == 2
    assert {chr(65 + bit) for bit in range(26) if value >> bit & 1} == set("ABCDFHIMSU")
    assert BY_NAME["misa"].write_mask == 0


def test_decode_mstatus() -> None:
    found = fields_of("mstatus", 0x8000_00CA_0000_7900)
    assert found["SD"] == (1, "on")
    assert found["MPV"] == (1, "on")
    assert found["GVA"] == (1, "on")
    assert found["SXL"] == (2, "64") and found["UXL"] == (2, "64")
    assert found["FS"] == (3, "Dirty")
    assert found["MPP"] == (3, "M")
    assert found["SPP"] == (1, "S")
    assert found["MIE"] == (0, "off")


def test_decode_puts_the_most_significant_field_first() -> None:
    lows = [field.low for field, _, _ in BY_NAME["hstatus"].decode(0)]
    assert lows == sorted(lows, reverse=True)


def test_decode_translation_registers() -> None:
    assert fields_of("satp", 8 << 60 | 5 << 44 | 0x80200) == {
        "MODE": (8, "Sv39"), "ASID": (5, "5"), "PPN": (0x80200, "0x80200000"),
    }
    assert fields_of("hgatp", 9 << 60 | 3 << 44 | 0x80204) == {
        "MODE": (9, "Sv48x4"), "VMID": (3, "3"), "PPN": (0x80204, "0x80204000"),
    }
    assert fields_of("hgatp", 11 << 60)["MODE"] == (11, "reserved")


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (1 << 63 | 9, "supervisor external interrupt"),
        (9, "environment call from HS"),
        (23, "store/AMO guest-page fault"),
        (1 << 63 | 10, "virtual supervisor external interrupt"),
        (14, "reserved exception 14"),
        (24, "custom exception 24"),
        (1 << 63 | 17, "platform interrupt 17"),
    ],
)
def test_decode_cause(value: int, meaning: str) -> None:
    assert fields_of("scause", value)["CODE"][1] == meaning


def test_decode_protection() -> None:
    found = fields_of("pmpcfg0", 0x9F | 0x08 << 8 | 0x00 << 16)
    assert found["PMP0CFG"] == (0x9F, "NAPOT RWX locked")
    assert found["PMP1CFG"] == (0x08, "TOR ---")
    assert found["PMP2CFG"] == (0, "off")


def test_field_insert_and_extract_are_inverse() -> None:
    field = BY_NAME["hgatp"].field("VMID")
    register = field.insert((1 << 64) - 1, 0x1234)
    assert field.extract(register) == 0x1234
    assert register | field.mask == (1 << 64) - 1
    assert field.insert(register, 1 << 14) == register & ~field.mask, "cut to the width"


def test_g_stage_root_is_aligned_to_16_kib() -> None:
    assert BY_NAME["hgatp"].write_mask & 3 == 0
    assert BY_NAME["hgatp"].write_mask == 0xF3FF_FFFF_FFFF_FFFC
    assert BY_NAME["satp"].write_mask == (1 << 64) - 1


# --- Versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("hstatus", "h0.3", ("hstatus", 0xA00)),
        ("hstatus", "h0.4", ("hstatus", 0x600)),
        ("hideleg", "h0.2", ("hideleg", 0xA03)),
        ("hgatp", "h0.3", ("hgatp", 0xA80)),
        ("hgatp", "h0.6.1", ("hgatp", 0x680)),
        ("hvip", "h0.5", None),
        ("hvip", "h0.6", ("hvip", 0x645)),
        ("hgeip", "h0.5+", ("hgeip", 0xE07)),
        ("hgeip", "h0.6", ("hgeip", 0xE12)),
        ("hcounteren", "h0.3", None),
        ("htval", "h0.1", ("hvtval", None)),
        ("htval", "h0.3", None),
        ("htval", "h0.5", ("htval", 0x643)),
        ("mtval2", "h0.1", ("mvtval", None)),
        ("henvcfg", "h0.6.1", None),
        ("henvcfg", "h1.0", ("henvcfg", 0x60A)),
        ("vsstatus", "h0.3", ("bsstatus", 0x200)),
        ("vsstatus", "h0.4", ("vsstatus", 0x200)),
        ("vsatp", "h0.2", ("bsatp", 0x280)),
        ("satp", "1.9.1", ("sptbr", 0x180)),
        ("satp", "1.10", ("satp", 0x180)),
        ("mtval", "1.9.1", ("mbadaddr", 0x343)),
        ("mcounteren", "1.9.1", None),
        ("mcounteren", "1.10", ("mcounteren", 0x306)),
        ("mcountinhibit", "1.10", None),
        ("mcountinhibit", "1.11", ("mcountinhibit", 0x320)),
        ("menvcfg", "1.11", None),
        ("menvcfg", "1.12", ("menvcfg", 0x30A)),
        ("pmpcfg0", "1.9.1", None),
        ("hgatp", "1.11", None),
        ("hgatp", "1.13", ("hgatp", 0x680)),
    ],
)
def test_versions(name: str, version: str, expected: tuple[str, int | None] | None) -> None:
    assert BY_NAME[name].in_version(version) == expected


def test_a_number_means_one_register_in_any_version() -> None:
    for version in csrs.VERSIONS:
        numbers = [number for _, number, _ in csrs.present_in(version) if number is not None]
        assert len(set(numbers)) == len(numbers), version


def test_numbers_of_counter_enables_were_given_to_counter_setup() -> None:
    def holder(version: str, wanted: int = 0x320) -> str | None:
        return next((name for name, number, _ in csrs.present_in(version) if number == wanted), None)

    assert [holder(version) for version in csrs.PRIVILEGED_VERSIONS] == [
        "mucounteren", None, "mcountinhibit", "mcountinhibit", "mcountinhibit",
    ]
    assert [holder(version, 0x321) for version in ("1.9.1", "1.10", "1.13")] == ["mscounteren", None, "mcyclecfg"]


@pytest.mark.parametrize(
    ("version", "layout"),
    [
        ("h0.1", {"STL": 9, "SPV": 10, "SPRV": 17, "VTVM": 20, "VTW": 21, "VTSR": 22}),
        ("h0.3", {"SPRV": 0, "STL": 6, "SPV": 7, "SP2P": 8, "SP2V": 9, "VTVM": 20, "VTSR": 22}),
        ("h0.6", {"VSBE": 5, "GVA": 6, "SPV": 7, "SPVP": 8, "HU": 9, "VGEIN": 12, "VTVM": 20, "VTSR": 22, "VSXL": 32}),
    ],
)
def test_hstatus_of_drafts(version: str, layout: dict[str, int]) -> None:
    assert {field.name: field.low for field in BY_NAME["hstatus"].fields_in(version)} == layout


def test_mstatus_of_drafts() -> None:
    def low(version: str, name: str) -> int | None:
        return next((field.low for field in BY_NAME["mstatus"].fields_in(version) if field.name == name), None)

    assert [low(v, "MPV") for v in ("h0.1", "h0.2", "h0.3", "h0.5", "h1.0")] == [10, 10, 39, 39, 39]
    assert [low(v, "MTL") for v in ("h0.2", "h0.4+", "h0.5", "h1.0")] == [9, 38, None, None]
    assert [low(v, "GVA") for v in ("h0.5", "h0.6", "h1.0")] == [None, 38, 38]


@pytest.mark.parametrize("name", sorted(csrs.FORMER_FIELDS))
def test_former_layouts_do_not_overlap(name: str) -> None:
    for version, fields in csrs.FORMER_FIELDS[name].items():
        assert version in csrs.VERSIONS
        assert BY_NAME[name].in_version(version) is not None
        seen = 0
        for field in fields:
            assert not seen & field.mask, (version, field.name)
            seen |= field.mask


# --- The generated C --------------------------------------------------------------------------------------------------


def defines() -> dict[str, str]:
    rows = re.findall(r"^#define (\w+) +(.+)$", generate_csrs.csr_defs_h(), re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows), "every name once"
    return dict(rows)


def number(text: str) -> int:
    return int(text.removeprefix("UINT64_C(").removesuffix(")"), 0)


def test_defined_masks_are_the_tables() -> None:
    names = defines()
    for csr in CSRS:
        assert number(names[f"CSR_{csr.name.upper()}"]) == csr.number
        for field in csr.fields:
            assert number(names[f"{csr.name.upper()}_{field.name}"]) == field.mask
            assert number(names[f"{csr.name.upper()}_{field.name}_SHIFT"]) == field.low
    assert number(names["HSTATUS_SPV"]) == 1 << 7
    assert number(names["MSTATUS_MPP"]) == 3 << 11
    assert number(names["EXCEPTION_LOAD_GUEST_PAGE"]) == 21
    assert number(names["INTERRUPT_VSTI"]) == 6
    assert number(names["HGATP_MODE_SV39X4"]) == 8
    assert number(names["HENVCFG_GATED"]) == 1 << 63 | 1 << 62 | 1 << 61 | 1 << 59


def test_state_has_a_member_for_everything_stored() -> None:
    text = generate_csrs.csr_state_h()
    between = text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]
    assert "#" not in between, "cffi's parser knows no preprocessor"
    members = re.findall(r"^    (\w+) (\w+)(?:\[(\d+)\])?;$", between, re.MULTILINE)
    assert members == [(s.type, s.name, str(s.count) if s.count else "") for s in csrs.STORAGE]
    assert {csr.storage for csr in CSRS if csr.storage} == {name for _, name, _ in members}


def test_table_has_an_entry_for_every_register() -> None:
    text = generate_csrs.csr_table_c()
    entries = re.findall(
        r"^    \{(\w+), (\w+), (\w+), (0x\w+), CSR_GUARD_(\w+)\}, /\* (\w+) \*/$", text, re.MULTILINE
    )
    assert [entry[-1] for entry in entries] == [csr.name for csr in CSRS]
    index = {int(n, 0): int(place) for n, place in re.findall(r"^    \[(0x\w+)\] = (\d+),$", text, re.MULTILINE)}
    assert {n: CSRS[place - 1].number for n, place in index.items()} == {csr.number: csr.number for csr in CSRS}
    for (_, write, after, twin, guard, _), csr in zip(entries, CSRS, strict=True):
        assert int(twin, 0) == (csr.twin.number if csr.v_alias and csr.twin else 0)
        assert guard == (csr.guard or "none").upper()
        assert (write == "write_nothing") == (csr.write_mask == 0)
        if csr.name in ("sstatus", "vsstatus", "satp", "vsatp", "hgatp", "hstatus", "mstatus"):
            assert after == "hart_context_changed"
    defined = set(re.findall(r"^static \w+ (\w+)\(", text, re.MULTILINE))
    primitives = {name for csr in CSRS for name in (csr.read, csr.write) if name}
    assert {name for entry in entries for name in entry[:2]} <= defined | primitives


def test_reset_sets_what_is_not_zero() -> None:
    text = generate_csrs.csr_table_c().split("void csr_reset")[1]
    values = {name: number(value) for name, value in re.findall(r"h->csr\.(\w+) = (UINT64_C\(\w+\));", text)}
    assert values == {
        "mstatus": 2 << 34 | 2 << 32,
        "mideleg": 1 << 10 | 1 << 6 | 1 << 2,
        "stimecmp": (1 << 64) - 1,
        "hstatus": 2 << 32,
        "vsstatus": 2 << 32,
        "vstimecmp": (1 << 64) - 1,
    }


def test_generation_is_deterministic() -> None:
    assert generate_csrs.files() == generate_csrs.files()
