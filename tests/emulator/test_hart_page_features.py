"""What page-table entries and addresses may say beyond plain pages: Svnapot, Svpbmt, pointer masking; PMP with Smepmp;
what a fault tells of its instruction; and what the lookaside keeps.

Sections of the privileged manual: "Svnapot", "Svpbmt", "Pointer Masking Extensions", "Smepmp Physical Memory Protection
Rules", "Transformed Instruction or Pseudoinstruction for mtinst or htinst", "Memory-Management Fences".
"""

from __future__ import annotations

from itertools import product

import pytest
from rig import (
    ADUE,
    BASE,
    DATA,
    FETCH,
    FETCH_ACCESS,
    HS,
    HU,
    LEAF,
    LOAD,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    MPRV,
    MXR,
    ONES,
    SPVP,
    STORE,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    USER,
    VS,
    VU,
    A,
    D,
    M,
    R,
    Rig,
    U,
    V,
    W,
    X,
    tinst,
)
from test_hart_translation import ACCESSES, ADDRESS, GUEST_FAULT, PAGE, PAGE_FAULT, VALUE, World

from emulator.hart import Access, Mode, WalkResult
from emulator.machine import Machine

N, PBMT, PBMTE = 1 << 63, 61, 1 << 62
PMM = 32
GPA = 0x1_0000_0000


# --- Svnapot ---


def test_64_kib_of_the_first_stage() -> None:
    """The low four bits of the page number come from the address, whichever of the sixteen entries is read."""
    world = World(HS)
    frame = DATA + 0x8000 & ~0xFFFF
    for page in range(16):
        world.first.map((ADDRESS & ~0xFFFF) + page * 0x1000, frame + 0x8000, LEAF | N)
        world.rig.store(frame + page * 0x1000 + 8, 1000 + page)
    for page in range(16):
        address = (ADDRESS & ~0xFFFF) + page * 0x1000 + 8
        assert world.reach(LOAD, address) is None
        assert world.rig.x("a0") == 1000 + page
        assert world.rig.hart.walk(address, Access.LOAD).page_bits == 16


def test_64_kib_of_the_g_stage() -> None:
    world = World(VS)
    frame = DATA + 0x8000 & ~0xFFFF
    world.first.map(ADDRESS, GPA + 0x5000, LEAF)
    world.second.map(GPA + 0x5000, frame + 0x8000, LEAF | USER | N)
    world.rig.store(frame + 0x5000 + 16, 77)
    assert world.reach(LOAD, ADDRESS + 16) is None
    assert world.rig.x("a0") == 77


@pytest.mark.parametrize("low", [n for n in range(16) if n != 8])
def test_other_sizes_are_reserved_and_fault_before_a_is_set(low: int) -> None:
    for mode in (HS, VS):
        world = World(mode, menvcfg=ADUE, henvcfg=ADUE)
        slot = world.first.map(ADDRESS, (DATA & ~0xFFFF) + low * 0x1000, (LEAF | N) & ~(A | D))
        for kind in ACCESSES:
            assert world.reach(kind, ADDRESS) == (PAGE_FAULT[kind], ADDRESS)
        assert not world.rig.load(slot) & (A | D)
        assert world.rig.hart.walk(ADDRESS, Access.LOAD, mode).steps[-1].result is WalkResult.RESERVED


@pytest.mark.parametrize("level", [1, 2])
def test_superpages_have_no_napot_form(level: int) -> None:
    world = World(HS)
    world.first.map(ADDRESS, 0x8 << 12 + 9 * level, LEAF | N, level)
    assert world.reach(LOAD, ADDRESS) == (LOAD_PAGE, ADDRESS)


def test_a_reserved_napot_form_of_the_g_stage_is_a_guest_page_fault() -> None:
    world = World(VS)
    world.first.map(ADDRESS, GPA, LEAF)
    world.second.map(GPA, PAGE + 0x1000, LEAF | USER | N)
    assert world.reach(STORE, ADDRESS) == (STORE_GUEST, ADDRESS)


# --- Svpbmt ---


@pytest.mark.parametrize(("kind", "pbmt"), list(product(ACCESSES, range(4))))
@pytest.mark.parametrize("on", [False, True])
def test_memory_types_of_the_single_stage(kind: str, pbmt: int, on: bool) -> None:
    """0 is always good; NC and IO with menvcfg.PBMTE; 3 never."""
    world = World(HS, menvcfg=PBMTE if on else 0)
    world.first.map(ADDRESS, PAGE, LEAF | pbmt << PBMT)
    good = pbmt == 0 or (on and pbmt < 3)
    assert world.reach(kind, ADDRESS) == (None if good else (PAGE_FAULT[kind], ADDRESS))


@pytest.mark.parametrize(("menvcfg", "henvcfg"), [(0, 0), (PBMTE, 0), (PBMTE, PBMTE)])
@pytest.mark.parametrize(("first", "second"), list(product(range(4), range(4))))
def test_memory_types_of_two_stages(menvcfg: int, henvcfg: int, first: int, second: int) -> None:
    """henvcfg rules the VS-stage, menvcfg the G-stage."""
    world = World(VS, menvcfg=menvcfg)
    world.rig.set(henvcfg=henvcfg)
    world.first.map(ADDRESS, GPA, LEAF | first << PBMT)
    world.second.map(GPA, PAGE, LEAF | USER | second << PBMT)
    expected = None
    if first == 3 or (first and not henvcfg):
        expected = (LOAD_PAGE, ADDRESS)
    elif second == 3 or (second and not menvcfg):
        expected = (LOAD_GUEST, ADDRESS)
    assert world.reach(LOAD, ADDRESS) == expected


@pytest.mark.parametrize("level", [1, 2])
def test_pointers_have_no_memory_type(level: int) -> None:
    world = World(HS, menvcfg=PBMTE)
    world.first.map(ADDRESS, PAGE, LEAF)
    slot = world.first.slot(ADDRESS, level)
    world.rig.store(slot, world.rig.load(slot) | 1 << PBMT)
    assert world.reach(LOAD, ADDRESS) == (LOAD_PAGE, ADDRESS)


# --- pointer masking ---

LENGTHS = {0: 0, 2: 7, 3: 16}
CONTROL = {HS: "menvcfg", U: "senvcfg", VS: "henvcfg", VU: "senvcfg"}


def tagged(address: int, length: int) -> int:
    """`address` with its upper bits the wrong way round."""
    return address ^ (ONES << 64 - length & ONES)


@pytest.mark.parametrize(("mode", "pmm"), list(product((HS, U, VS, VU), LENGTHS)))
@pytest.mark.parametrize("upper", [False, True])
def test_masked_pointers(mode: Mode, pmm: int, upper: bool) -> None:
    """The mode's own control; all others are set the other way."""
    others = dict.fromkeys(("menvcfg", "henvcfg", "senvcfg", "mseccfg"), (0 if pmm else 3) << PMM)
    world = World(mode, **others | {CONTROL[mode]: pmm << PMM})
    address = ADDRESS | (ONES << 39 & ONES if upper else 0)
    if upper:
        address |= 1 << 38
    world.first.map(address, PAGE, LEAF | (0 if mode.privilege else USER))
    for length in (7, 16):
        good = LENGTHS[pmm] >= length
        given = tagged(address, length)
        for kind in (LOAD, STORE, "lr", "amo"):
            # Hardware writes the masked address to xtval.
            found = world.reach(kind, given)
            if good:
                assert found is None
            else:
                low = 64 - LENGTHS[pmm]
                seen = given & (1 << low) - 1
                if LENGTHS[pmm]:
                    seen |= (ONES << low & ONES) if given >> low - 1 & 1 else 0
                else:
                    seen = given
                assert found == (LOAD_PAGE if kind in (LOAD, "lr") else STORE_PAGE, seen)


def test_fetches_are_never_masked() -> None:
    world = World(HS, menvcfg=3 << PMM)
    world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(FETCH, tagged(ADDRESS, 7)) == (PAGE_FAULT[FETCH], tagged(ADDRESS, 7))


@pytest.mark.parametrize(("mode", "status"), [(HS, "mstatus"), (VS, "vsstatus"), (VS, "mstatus")])
def test_mxr_switches_masking_off(mode: Mode, status: str) -> None:
    world = World(mode, **{CONTROL[mode]: 2 << PMM})
    world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(LOAD, tagged(ADDRESS, 7)) is None
    world.rig.set(**{status: MXR})
    assert world.reach(LOAD, tagged(ADDRESS, 7)) == (LOAD_PAGE, tagged(ADDRESS, 7))


def test_physical_addresses_are_zero_extended() -> None:
    """M-mode, and Bare: bit 47 of the address is not copied upward."""
    rig = Rig("ld a0, 0(a1)", mseccfg=3 << PMM)
    rig.store(DATA, VALUE)
    rig.put(a1=0xABCD << 48 | DATA)
    rig.run(1)
    assert rig.x("a0") == VALUE
    rig = Rig("ld a0, 0(a1)", mseccfg=3 << PMM)
    rig.put(a1=0xABCD_8000_0000_0000)
    rig.run(1)
    assert rig.trap() == (M, LOAD_ACCESS, 0x8000_0000_0000)
    rig = Rig("ld a0, 0(a1)", mode=HS, menvcfg=2 << PMM)
    rig.put(a1=0xFF00_0000_0000_0000 | DATA)
    rig.run(1)
    assert rig.trap() == (M, LOAD_ACCESS, 0x0100_0000_0000_0000 | DATA)


def test_a_bare_guests_pointer_is_guest_physical() -> None:
    """With vsatp Bare the upper bits become 0, not copies; without masking they would not fit Sv39x4."""
    world = World(VS, henvcfg=2 << PMM)
    world.rig.set(vsatp=0)
    assert world.reach(LOAD, 0x7F << 57 | PAGE) is None
    world.rig.set(henvcfg=0)
    world.rig.hart.flush_translation()
    assert world.reach(LOAD, 0x7F << 57 | PAGE) == (LOAD_GUEST, 0x7F << 57 | PAGE)


def test_mprv_masks_as_the_mode_that_it_names() -> None:
    for pmm in (0, 2):
        world = World(HS, menvcfg=pmm << PMM, mseccfg=(2 - pmm) << PMM)
        world.mode = M
        world.first.map(ADDRESS, PAGE, LEAF)
        world.rig.set(mstatus=MPRV | 1 << 11)
        assert world.reach(LOAD, tagged(ADDRESS, 7)) == (None if pmm else (LOAD_PAGE, tagged(ADDRESS, 7)))


@pytest.mark.parametrize(
    ("mode", "spvp", "control"),
    [(HS, 0, "senvcfg"), (HS, SPVP, "henvcfg"), (U, 0, "hupmm"), (U, SPVP, "henvcfg"), (M, 0, "senvcfg")],
)
def test_guest_accesses_are_masked_as_though_in_the_guest(mode: Mode, spvp: int, control: str) -> None:
    """HLVX never is ("Hypervisor Virtual-Machine Load and Store Instructions"); U-mode has hstatus.HUPMM for VU."""
    for masked in (False, True):
        world = World(VS, code=False)
        world.mode = mode
        world.first.map(ADDRESS, PAGE, LEAF | (0 if spvp else USER))
        settings = dict.fromkeys(("senvcfg", "henvcfg", "menvcfg", "mseccfg"), 0 if masked else 3 << PMM)
        hupmm = 0 if masked else 3
        if control == "hupmm":
            hupmm = 2 if masked else 0
        else:
            settings[control] = 2 << PMM if masked else 0
        world.rig.set(hstatus=spvp | HU | hupmm << 48, **settings)
        expected = None if masked else (LOAD_PAGE, tagged(ADDRESS, 7))
        assert world.reach("hlv", tagged(ADDRESS, 7)) == expected
        assert world.reach("hsv", tagged(ADDRESS, 7)) == (None if masked else (STORE_PAGE, tagged(ADDRESS, 7)))
        assert world.reach("hlvx", tagged(ADDRESS, 7)) == (LOAD_PAGE, tagged(ADDRESS, 7))


def test_a_mask_that_changes_takes_effect_at_once() -> None:
    """Pointers with tags have lookaside entries of their own, which must not outlive the setting."""
    world = World(HS, menvcfg=2 << PMM)
    world.first.map(ADDRESS, PAGE, LEAF)
    for _ in range(2):
        assert world.reach(LOAD, tagged(ADDRESS, 7)) is None
        assert world.reach(LOAD, ADDRESS) is None
        world.rig.set(menvcfg=0)
        assert world.reach(LOAD, tagged(ADDRESS, 7)) == (LOAD_PAGE, tagged(ADDRESS, 7))
        world.rig.set(menvcfg=2 << PMM)


def test_a_fence_reaches_the_entries_of_tagged_pointers() -> None:
    world = World(HS, menvcfg=2 << PMM)
    slot = world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(LOAD, tagged(ADDRESS, 7)) is None
    world.rig.store(slot, 0)
    world.rig.write(BASE, "sfence.vma a1, zero\nld a0, 0(a2)")
    world.rig.hart.pc, world.rig.hart.mode = BASE, HS
    world.rig.put(a1=ADDRESS, a2=tagged(ADDRESS, 7))
    world.rig.run(2)
    assert world.rig.trap() == (M, LOAD_PAGE, ADDRESS)


# --- Smepmp ---

PMP_L, NAPOT = 128, 3 << 3
MML, MMWP, RLB = 1, 2, 4
# The table of "Smepmp Physical Memory Protection Rules": LRWX to what M-mode may, and what S and U may.
TABLE = {
    0b0000: ("", ""), 0b0001: ("", "x"), 0b0010: ("rw", "r"), 0b0011: ("rw", "rw"),
    0b0100: ("", "r"), 0b0101: ("", "rx"), 0b0110: ("", "rw"), 0b0111: ("", "rwx"),
    0b1000: ("", ""), 0b1001: ("x", ""), 0b1010: ("x", "x"), 0b1011: ("rx", "x"),
    0b1100: ("r", ""), 0b1101: ("rx", ""), 0b1110: ("rw", ""), 0b1111: ("r", "r"),
}  # fmt: skip
ACCESS_FAULT = {FETCH: FETCH_ACCESS, LOAD: LOAD_ACCESS, STORE: STORE_ACCESS}


def entry(lrwx: int) -> int:
    """The byte of pmpcfg, NAPOT."""
    bits = lrwx & 8 and PMP_L, lrwx & 4 and 1, lrwx & 2 and 2, lrwx & 1 and 4
    return NAPOT | sum(bits)


@pytest.mark.parametrize(("lrwx", "kind"), list(product(range(16), ACCESSES)))
def test_rights_under_machine_mode_lockdown(lrwx: int, kind: str) -> None:
    for mode, allowed in zip((M, HS, U), (TABLE[lrwx][0], TABLE[lrwx][1], TABLE[lrwx][1]), strict=True):
        world = World(HS, code=False)
        rig = world.rig
        rig.set(satp=0, pmpaddr1=(BASE | 0x7FFF) >> 2, pmpaddr0=(PAGE | 0x7FF) >> 2, mseccfg=RLB)
        rig.set(mseccfg=MML | RLB)
        # The code is executable in the mode that runs it; what reads and writes here is the tested page only.
        code = entry(0b1101) if mode is M else entry(0b0101)
        rig.set(pmpcfg0=code << 8 | entry(lrwx))
        world.mode = mode
        rig.write(BASE, {FETCH: "jr a1", LOAD: "ld a0, 0(a1)", STORE: "sd a2, 0(a1)"}[kind])
        rig.hart.pc, rig.hart.mode = BASE, mode
        rig.put(a1=PAGE, a2=VALUE)
        rig.run(2 if kind == FETCH else 1)
        good = {FETCH: "x", LOAD: "r", STORE: "w"}[kind] in allowed
        if good:
            assert rig.hart.pc == (PAGE + 2 if kind == FETCH else BASE + 4), (mode, allowed)
        else:
            # The handler of M-mode may not be executed either; the trap itself is what counts.
            assert (rig.csr("mcause"), rig.csr("mtval")) == (ACCESS_FAULT[kind], PAGE), (mode, allowed)


@pytest.mark.parametrize(("mseccfg", "allowed"), [(0, "rwx"), (MML, "rw"), (MMWP, ""), (MML | MMWP, "")])
def test_machine_mode_where_no_entry_matches(mseccfg: int, allowed: str) -> None:
    for kind, letter in zip(ACCESSES, "xrw", strict=True):
        world = World(HS, code=False)
        rig = world.rig
        rig.set(satp=0, pmpaddr0=(BASE | 0x7FFF) >> 2, mseccfg=RLB)
        rig.set(pmpcfg0=entry(0b1101))
        rig.set(mseccfg=mseccfg | RLB)
        world.mode = M
        rig.write(BASE, {FETCH: "jr a1", LOAD: "ld a0, 0(a1)", STORE: "sd a2, 0(a1)"}[kind])
        rig.hart.pc = BASE
        rig.put(a1=PAGE, a2=VALUE)
        rig.run(2 if kind == FETCH else 1)
        if letter in allowed:
            assert rig.hart.pc == (PAGE + 2 if kind == FETCH else BASE + 4)
        else:
            assert (rig.csr("mcause"), rig.csr("mtval")) == (ACCESS_FAULT[kind], PAGE)


def test_lockdown_and_allowlist_stay() -> None:
    rig = Rig(mseccfg=MML | MMWP)
    rig.set(mseccfg=0)
    assert rig.csr("mseccfg") == MML | MMWP


def test_rule_locking_bypass() -> None:
    """With RLB locked entries can be written; once it is 0 and an entry is locked it stays 0."""
    rig = Rig(mseccfg=RLB)
    rig.set(pmpcfg2=entry(0b1100), pmpaddr8=1)
    rig.set(pmpcfg2=entry(0b1110), pmpaddr8=2)
    assert (rig.csr("pmpcfg2"), rig.csr("pmpaddr8")) == (entry(0b1110), 2)
    rig.set(mseccfg=RLB)
    assert rig.csr("mseccfg") == RLB
    rig.set(mseccfg=0)
    rig.set(mseccfg=RLB)
    assert rig.csr("mseccfg") == 0
    rig.set(pmpcfg2=0, pmpaddr8=3)
    assert (rig.csr("pmpcfg2"), rig.csr("pmpaddr8")) == (entry(0b1110), 2)


@pytest.mark.parametrize("lrwx", range(16))
def test_lockdown_admits_no_new_code_of_machine_mode(lrwx: int) -> None:
    """Entries that let M-mode execute cannot be added; the write of that entry is ignored, but with RLB."""
    for rlb in (0, RLB):
        rig = Rig(mseccfg=MML | rlb)
        rig.set(pmpcfg2=entry(lrwx))
        refused = "x" in TABLE[lrwx][0] and not rlb
        assert rig.csr("pmpcfg2") == (0 if refused else entry(lrwx))


# --- what a fault tells of its instruction ---

MEMORY = [
    "lb a3, 5(a1)", "lbu a3, 5(a1)", "lh a3, 6(a1)", "lhu a3, 6(a1)", "lw a3, 4(a1)", "lwu a3, 4(a1)", "ld a3, 8(a1)",
    "flw fa3, 4(a1)", "fld fa3, 8(a1)", "sb a4, 5(a1)", "sh a4, 6(a1)", "sw a4, 4(a1)", "sd a4, 8(a1)",
    "fsw fa4, 4(a1)", "fsd fa4, 8(a1)", "lr.w a3, (a1)", "lr.d.aq a3, (a1)", "sc.w a3, a4, (a1)",
    "sc.d.rl a3, a4, (a1)", "amoadd.w a3, a4, (a1)", "amomaxu.d.aqrl a3, a4, (a1)",
]  # fmt: skip


@pytest.mark.parametrize("text", MEMORY)
def test_transformed_instructions_of_guest_page_faults(text: str) -> None:
    world = World(VS, mstatus=3 << 13, vsstatus=3 << 13)
    world.first.map(ADDRESS, GPA, LEAF)
    world.rig.write(BASE, text)
    world.rig.hart.pc, world.rig.hart.mode = BASE, VS
    world.rig.put(a1=ADDRESS)
    world.rig.run(1)
    trap = world.rig.trap()
    assert trap is not None and trap[1] in (LOAD_GUEST, STORE_GUEST)
    assert world.rig.csr("mtinst") == tinst(text) != 0


@pytest.mark.parametrize("text", ["hlv.b a3, (a1)", "hlv.wu a3, (a1)", "hlvx.hu a3, (a1)", "hsv.d a4, (a1)"])
def test_transformed_guest_accesses(text: str) -> None:
    world = World(VS, code=False)
    world.first.map(ADDRESS, GPA, LEAF | USER)
    rig = world.rig
    rig.write(BASE, text)
    rig.hart.pc, rig.hart.mode = BASE, HS
    rig.set(medeleg=ONES)
    rig.put(a1=ADDRESS)
    rig.run(1)
    assert rig.trap() == (HS, STORE_GUEST if text.startswith("hsv") else LOAD_GUEST, ADDRESS)
    assert rig.csr("htinst") == tinst(text) != 0


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("c.lw a3, 4(a1)", "lw a3, 0(a1)"), ("c.ld a3, 8(a1)", "ld a3, 0(a1)"), ("c.sw a4, 4(a1)", "sw a4, 0(a1)"),
        ("c.sd a4, 8(a1)", "sd a4, 0(a1)"), ("c.fld fa3, 8(a1)", "fld fa3, 0(a1)"),
        ("c.fsd fa4, 8(a1)", "fsd fa4, 0(a1)"), ("c.lwsp a3, 4", "lw a3, 0(sp)"), ("c.ldsp a3, 8", "ld a3, 0(sp)"),
        ("c.swsp a4, 4", "sw a4, 0(sp)"), ("c.sdsp a4, 8", "sd a4, 0(sp)"), ("c.fldsp fa3, 8", "fld fa3, 0(sp)"),
        ("c.fsdsp fa4, 8", "fsd fa4, 0(sp)"),
    ],
)  # fmt: skip
def test_compressed_instructions_are_expanded_and_marked(short: str, full: str) -> None:
    """Bit 1 is 0."""
    world = World(VS, mstatus=3 << 13, vsstatus=3 << 13)
    world.rig.write(BASE, short)
    world.rig.hart.pc, world.rig.hart.mode = BASE, VS
    world.rig.put(a1=ADDRESS, sp=ADDRESS)
    world.rig.run(1)
    trap = world.rig.trap()
    assert trap is not None and trap[1] in (LOAD_PAGE, STORE_PAGE)
    assert world.rig.csr("mtinst") == tinst(full) & ~2


@pytest.mark.parametrize(("text", "before"), [("ld a0, 0(a1)", 3), ("sw a2, 0(a1)", 1), ("lhu a0, 0(a1)", 1)])
def test_the_offset_of_a_misaligned_access_that_reaches_a_bad_page(text: str, before: int) -> None:
    world = World(VS)
    world.first.map(ADDRESS, PAGE, LEAF)
    world.first.map(ADDRESS + 0x1000, GPA, LEAF)
    rig = world.rig
    rig.write(BASE, text)
    rig.hart.pc, rig.hart.mode = BASE, VS
    rig.put(a1=ADDRESS + 0x1000 - before)
    rig.run(1)
    store = text.startswith("s")
    assert rig.trap() == (M, STORE_GUEST if store else LOAD_GUEST, ADDRESS + 0x1000)
    assert (rig.csr("mtinst"), rig.csr("mtval2")) == (tinst(text, before), GPA >> 2)


@pytest.mark.parametrize("text", ["jr a1", "ecall", "ebreak", ".word 0xffffffff", "csrr a0, hgatp", "hlv.w a0, (a1)"])
def test_other_exceptions_tell_nothing(text: str) -> None:
    world = World(VS)
    rig = world.rig
    rig.set(mtinst=ONES)
    rig.write(BASE, text)
    rig.hart.pc, rig.hart.mode = BASE, VS
    rig.put(a1=ADDRESS)
    rig.run(2 if text == "jr a1" else 1)
    assert rig.hart.mode is M and rig.csr("mtinst") == 0


# --- what the lookaside keeps ---


@pytest.mark.parametrize("mode", [HS, VS])
@pytest.mark.parametrize("kind", [LOAD, STORE])
def test_a_translation_lasts_until_a_fence_and_is_saved(mode: Mode, kind: str) -> None:
    """A guest that forgets its fence finds the old page, on a restored machine too."""
    world = World(mode)
    slot = world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(kind, ADDRESS) is None
    world.rig.store(slot, 0)
    machine = world.rig.machine
    world.rig.hart.pc = BASE
    again = Machine.from_state(machine.state())
    for page in machine.memory.pages_nonzero():
        again.memory.write(page, machine.memory.read(page, 4096))
    assert again.state_hash() == machine.state_hash()
    for each in (machine, again):
        each.run(1)
        assert each.harts[0].pc == BASE + 4
    assert again.state_hash() == machine.state_hash()
    for each in (machine, again):
        each.harts[0].flush_translation()
        each.harts[0].pc = BASE
        each.run(1)
        assert each.harts[0].csr("mcause") == {LOAD: LOAD_PAGE, STORE: STORE_PAGE}[kind]
    assert again.state_hash() == machine.state_hash()


def test_debugging_forgets_no_translation() -> None:
    """Breakpoints and watches throw away what is quick, not what is known."""
    world = World(HS)
    slot = world.first.map(ADDRESS, PAGE, LEAF)
    assert world.reach(LOAD, ADDRESS) is None
    world.rig.store(slot, 0)
    machine = world.rig.machine
    machine.breakpoints.add(BASE + 0x800)
    machine.watch(PAGE + 64, 8, 3)
    assert world.reach(LOAD, ADDRESS) is None


@pytest.mark.parametrize("kind", ACCESSES)
def test_a_g_stage_translation_lasts_until_hfence(kind: str) -> None:
    world = World(VS)
    world.first.map(ADDRESS, GPA, LEAF)
    slot = world.second.map(GPA, PAGE, LEAF | USER)
    assert world.reach(kind, ADDRESS) is None
    world.rig.store(slot, 0)
    assert world.reach(kind, ADDRESS) is None
    world.rig.write(BASE, "hfence.gvma zero, zero")
    world.rig.hart.pc, world.rig.hart.mode = BASE, HS
    world.rig.run(1)
    assert world.reach(kind, ADDRESS) == (GUEST_FAULT[kind], ADDRESS)


def test_flags_of_napot_pages_are_checked_as_ever() -> None:
    world = World(HS)
    for flags, kind in ((V | R | A, STORE), (V | X | A, LOAD), (V | R | W | A | D, FETCH), (V | R | W | A, STORE)):
        world.first.map(ADDRESS, PAGE & ~0xFFFF | 0x8000, flags | N)
        world.rig.hart.flush_translation()
        assert world.reach(kind, ADDRESS) == (PAGE_FAULT[kind], ADDRESS)


def test_guest_accesses_keep_their_translations_until_a_fence() -> None:
    """HLV as loads do; HLVX, which needs another right, has its own."""
    world = World(VS, code=False)
    world.mode = HS
    slot = world.first.map(ADDRESS, PAGE, LEAF | USER)
    assert world.reach("hlv", ADDRESS) is None
    world.rig.store(slot, 0)
    assert world.reach("hlv", ADDRESS) is None
    assert world.reach("hlvx", ADDRESS) == (LOAD_PAGE, ADDRESS)
    assert world.reach("hsv", ADDRESS) == (STORE_PAGE, ADDRESS)
    world.rig.write(BASE, "hfence.vvma zero, zero")
    world.rig.hart.pc, world.rig.hart.mode = BASE, HS
    world.rig.run(1)
    assert world.reach("hlv", ADDRESS) == (LOAD_PAGE, ADDRESS)


def test_hlvx_does_not_borrow_what_hlv_may_read() -> None:
    world = World(VS, code=False)
    world.mode = HS
    world.first.map(ADDRESS, PAGE, V | R | USER | A)
    assert world.reach("hlv", ADDRESS) is None
    assert world.reach("hlvx", ADDRESS) == (LOAD_PAGE, ADDRESS)
    world.first.map(ADDRESS + 0x1000, PAGE, V | X | USER | A)
    assert world.reach("hlvx", ADDRESS + 0x1000) is None
    assert world.reach("hlv", ADDRESS + 0x1000) == (LOAD_PAGE, ADDRESS + 0x1000)
