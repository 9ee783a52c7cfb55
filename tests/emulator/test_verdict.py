"""Why a walk fails, in words: each reason by tables that bring it about; and the trap as the hart then takes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.errors import ConfigurationError
from emulator.hart import Access, Mode, Refused, WalkResult
from emulator.isa import csrs
from emulator.isa.pages import LEAF as RWX
from emulator.isa.pages import PBMT, PPN, A, D, G, N, R, U, V, W, X
from emulator.verdict import bits_of, culprit, reason, route
from tests.emulator.tables import GUEST, LEAF, MEMORY, RAM, Scene

AT = 0x4000_0000
MXR, SUM = 1 << 19, 1 << 18
ADUE, PBMTE = 1 << 61, 1 << 62
FETCH, LOAD, STORE, HLVX = Access

Setup = Callable[[Scene], object]

FIRST: list[tuple[str, Setup, Access, Mode, int, str]] = [
    # what it is called, what is done, access, mode, bits to blame, how the reason begins
    ("invalid", lambda s: s.first.map(AT, RAM, LEAF & ~V), LOAD, Mode.VS, V, "V=0"),
    ("write only", lambda s: s.first.map(AT, RAM, LEAF & ~R), STORE, Mode.VS, R | W, "W=1 without R=1"),
    ("reserved bits", lambda s: s.first.map(AT, RAM, LEAF | 1 << 57), LOAD, Mode.VS, 1 << 57, "reserved bits 60:54"),
    ("pointer with A", lambda s: s.first.map(AT, RAM, V | A, 1), LOAD, Mode.VS, A, "a pointer with A set"),
    ("pointer with N", lambda s: s.first.map(AT, RAM, V | N, 1), LOAD, Mode.VS, N, "a pointer with N set"),
    ("PBMT 3", lambda s: s.first.map(AT, RAM, LEAF | PBMT), LOAD, Mode.VS, PBMT, "PBMT=3"),
    ("PBMT off", lambda s: s.first.map(AT, RAM, LEAF | 1 << 61), LOAD, Mode.VS, 1 << 61, "PBMT=NC, and henvcfg.PBMTE"),
    ("N above", lambda s: s.first.map(AT, RAM, LEAF | N, 1), LOAD, Mode.VS, N, "N=1 above level 0"),
    ("N of 32 KiB", lambda s: s.first.map(AT, RAM + 0x4000, LEAF | N), LOAD, Mode.VS, N | 15 << 10, "N=1, and PPN["),
    ("not readable", lambda s: s.first.map(AT, RAM, V | X | A), LOAD, Mode.VS, R, "R=0: not readable, only executable"),
    ("not writable", lambda s: s.first.map(AT, RAM, LEAF & ~W), STORE, Mode.VS, W, "W=0"),
    ("not executable", lambda s: s.first.map(AT, RAM, LEAF & ~X), FETCH, Mode.VS, X, "X=0"),
    ("HLVX", lambda s: s.first.map(AT, RAM, LEAF & ~X), HLVX, Mode.VS, X, "X=0: not executable, as HLVX needs"),
    ("SUM", lambda s: s.first.map(AT, RAM, LEAF | U), LOAD, Mode.VS, U, "U=1, but the mode is S and vsstatus.SUM=0"),
    ("fetch of U", lambda s: s.first.map(AT, RAM, LEAF | U), FETCH, Mode.VS, U, "U=1: supervisor mode never executes"),
    ("user", lambda s: s.first.map(AT, RAM), LOAD, Mode.VU, U, "U=0: a supervisor page"),
    ("misaligned", lambda s: s.first.map(AT, RAM + 0x3000, LEAF, 1), LOAD, Mode.VS, 3 << 10, "misaligned superpage: a"),
    ("A", lambda s: s.first.map(AT, RAM, LEAF & ~A), LOAD, Mode.VS, A, "A=0, and henvcfg.ADUE=0"),
    ("D", lambda s: s.first.map(AT, RAM, LEAF & ~D), STORE, Mode.VS, D, "D=0 on a store, and henvcfg.ADUE=0"),
    ("too deep", lambda s: s.first.map(AT, RAM, V), LOAD, Mode.VS, RWX, "R=W=X=0 at level 0"),
    ("G-stage U", lambda s: s.guest.map(0, RAM, LEAF), LOAD, Mode.VS, U, "U=0: the G-stage takes every access"),
    ("G-stage W", lambda s: s.guest.map(0, RAM, GUEST & ~W), STORE, Mode.VS, W, "W=0"),
    ("G-stage A", lambda s: s.guest.map(0, RAM, GUEST & ~A), LOAD, Mode.VS, A, "A=0, and menvcfg.ADUE=0"),
    ("G-stage PBMT", lambda s: s.guest.map(0, RAM, GUEST | 2 << 61), LOAD, Mode.VS, 2 << 61, "PBMT=IO, and menvcfg.P"),
    ("G-stage hole", lambda s: None, LOAD, Mode.VS, V, "V=0"),
]  # fmt: skip


def under(scene: Scene, setup: Setup, name: str) -> None:
    if name.startswith("G-stage"):
        scene.first.map(AT, 0)
    setup(scene)


@pytest.mark.parametrize(("name", "setup", "access", "mode", "bits", "text"), FIRST, ids=[case[0] for case in FIRST])
def test_the_bit_to_blame(name: str, setup: Setup, access: Access, mode: Mode, bits: int, text: str) -> None:
    scene = Scene()
    under(scene, setup, name)
    before = scene.machine.state_hash()
    walk = scene.hart.walk(AT, access, mode)
    found = reason(walk, scene.hart)
    assert found is not None and found.text.startswith(text), found
    assert found.bits == bits
    assert culprit(walk) == len(walk.steps) - 1
    assert scene.machine.state_hash() == before
    blamed = [name for name, _, mask in bits_of(walk.steps[-1]) if mask & found.bits]
    assert blamed, "the bits to blame are among those that are told"


@pytest.mark.parametrize("name", [case[0] for case in FIRST if case[0] in ("not readable", "SUM")])
def test_the_bit_that_is_asked_for_opens_it(name: str) -> None:
    """SUM and MXR as if the hart had them otherwise, without touching it."""
    scene = Scene()
    next(case[1] for case in FIRST if case[0] == name)(scene)
    assert scene.hart.walk(AT, LOAD, Mode.VS).cause == 13
    walk = scene.hart.walk(AT, LOAD, Mode.VS, **{"SUM": {"sum": True}, "not readable": {"mxr": True}}[name])
    assert walk.physical == RAM and (walk.world.sum, walk.world.mxr) == (name == "SUM", name != "SUM")
    assert not scene.hart.csr("vsstatus") & (SUM | MXR)


def test_what_the_hart_has_is_closed_by_asking() -> None:
    scene = Scene()
    scene.first.map(AT, RAM, LEAF | U)
    scene.hart.set_csr("vsstatus", SUM)
    assert scene.hart.walk(AT, LOAD, Mode.VS).physical == RAM
    assert scene.hart.walk(AT, LOAD, Mode.VS, sum=False).cause == 13


def test_mxr_of_the_host_counts_in_both_stages_the_guests_in_one() -> None:
    """ "Hypervisor Status Register": MXR of sstatus is for both stages, that of vsstatus for the first."""
    scene = Scene()
    scene.first.map(AT, 0)
    scene.guest.map(0, RAM, V | X | U | A)
    assert scene.hart.walk(AT, LOAD, Mode.VS, mxr=True).cause == 21
    walk = scene.hart.walk(AT, LOAD, Mode.VS, gmxr=True)
    assert walk.physical == RAM and walk.world.mxr and walk.world.gmxr
    fault = scene.hart.walk(AT, LOAD, Mode.VS)
    assert (found := reason(fault)) is not None and "sstatus.MXR=0" in found.text


def test_each_stage_has_its_own_memory_types() -> None:
    """PBMTE of menvcfg rules the G-stage: there NC is no fault where henvcfg has it off, and N is to blame."""
    scene = Scene()
    scene.hart.set_csr("menvcfg", PBMTE)
    scene.first.map(AT, 0)
    scene.guest.map(0, RAM, GUEST | 1 << 61 | N)
    found = reason(scene.hart.walk(AT, LOAD, Mode.VS))
    assert found is not None and found.bits == N | 15 << 10
    scene.first.map(AT, 0, LEAF | 1 << 61)
    found = reason(scene.hart.walk(AT, LOAD, Mode.VS))
    assert found is not None and found.text.startswith("PBMT=NC, and henvcfg.PBMTE=0")


def test_mxr_does_not_count_for_entries() -> None:
    """The VS-stage's own reads are implicit: an execute-only page cannot hold its tables, whatever MXR says."""
    scene = Scene()
    scene.first.map(AT, RAM)
    scene.guest.map(RAM, RAM, GUEST & ~(R | W), 1, MEMORY)
    walk = scene.hart.walk(AT, LOAD, Mode.VS, gmxr=True)
    found = reason(walk)
    assert walk.cause == 21 and walk.tinst == 0x3000 and found is not None
    assert "VS-stage entry" in found.text and "MXR does not count" in found.text


@pytest.mark.parametrize(("glevels", "bits", "name"), [(3, 41, "Sv39x4"), (4, 50, "Sv48x4"), (5, 59, "Sv57x4")])
def test_guest_physical_addresses_too_wide(glevels: int, bits: int, name: str) -> None:
    scene = Scene(5, glevels)
    scene.hart.set_csr("vsatp", 0)
    walk = scene.hart.walk(1 << bits, LOAD, Mode.VS)
    found = reason(walk)
    assert found is not None and found.bits == 0 and walk.reads == 0
    assert f"has bits above {bits - 1}: {name} translates {bits}" in found.text
    assert scene.hart.walk((1 << bits) - 8, LOAD, Mode.VS).steps[-1].result is WalkResult.INVALID


@pytest.mark.parametrize(("levels", "bits", "name"), [(3, 39, "Sv39"), (4, 48, "Sv48"), (5, 57, "Sv57")])
def test_addresses_that_are_not_canonical(levels: int, bits: int, name: str) -> None:
    scene = Scene(levels)
    found = reason(scene.hart.walk(1 << bits - 1, FETCH, Mode.VS))
    assert found is not None and f"not copies of bit {bits - 1}: no {name} address" in found.text


def test_the_pmp_entry_that_refuses() -> None:
    scene = Scene(glevels=None)
    scene.first.map(AT, RAM)
    scene.first.map(AT + 0x1000, RAM + 0x1000)
    scene.hart.set_csr("pmpaddr3", RAM + 0x1000 >> 2 | 0x1FF)
    scene.hart.set_csr("pmpcfg0", 0x19 << 24)  # r--
    assert scene.hart.walk(AT + 0x1000, LOAD).physical == RAM + 0x1000
    walk = scene.hart.walk(AT + 0x1008, STORE)
    assert (walk.cause, walk.refused, walk.physical, walk.reached) == (7, 3, None, RAM + 0x1008)
    found = reason(walk, scene.hart)
    assert found is not None and found.text.startswith("PMP entry 3 (r--,")
    assert f"does not grant W of physical {RAM + 0x1008:#x}" in found.text
    assert scene.hart.walk(AT, STORE).physical == RAM


def test_an_entry_that_pmp_hides() -> None:
    scene = Scene(glevels=None)
    entry = scene.first.map(AT, RAM)
    scene.hart.set_csr("pmpaddr1", (entry & ~4095) >> 2 | 0x1FF)
    scene.hart.set_csr("pmpcfg0", 0x18 << 8)
    walk = scene.hart.walk(AT, LOAD)
    found = reason(walk, scene.hart)
    assert walk.refused == 1 and walk.steps[-1].unread and walk.reads == len(walk.steps) - 1
    assert found is not None and f"does not grant R of the entry at physical {entry:#x}" in found.text


def test_an_entry_that_may_not_be_updated() -> None:
    scene = Scene(glevels=None)
    entry = scene.first.map(AT, RAM, LEAF & ~A)
    scene.hart.set_csr("menvcfg", ADUE)
    assert scene.hart.walk(AT, LOAD).physical == RAM
    scene.hart.set_csr("pmpaddr1", (entry & ~4095) >> 2 | 0x1FF)
    scene.hart.set_csr("pmpcfg0", 0x19 << 8)
    walk = scene.hart.walk(AT, LOAD)
    found = reason(walk, scene.hart)
    assert walk.refused == 1 and not walk.steps[-1].unread
    assert found is not None and "does not grant W of the entry, to set A and D in it" in found.text


def test_no_pmp_entry_matches_and_no_memory_there() -> None:
    scene = Scene(glevels=None)
    scene.first.map(AT, 0x5000)
    walk = scene.hart.walk(AT, LOAD)
    assert walk.cause == 5 and walk.refused == Refused.NO_MEMORY
    assert (found := reason(walk)) is not None and found.text == "there is no memory at physical 0x5000"
    scene.first.map(AT, RAM)
    scene.hart.set_csr("pmpcfg2", 0)
    walk = scene.hart.walk(AT, LOAD)
    assert walk.refused == Refused.NO_ENTRY
    assert (found := reason(walk)) is not None and "PMP: no entry matches" in found.text


def test_devices_are_there_but_not_for_fetches_or_hlvx() -> None:
    scene = Scene()
    scene.first.map(AT, RAM)
    scene.guest.map(0x1000_0000, 0x1000_0000, GUEST)
    scene.hart.set_csr("vsatp", 0)
    assert scene.hart.walk(0x1000_0000, LOAD, Mode.VS).physical == 0x1000_0000
    assert scene.hart.walk(0x1000_0000, FETCH, Mode.VS).refused == Refused.NO_MEMORY
    assert scene.hart.walk(0x1000_0000, HLVX, Mode.VS).refused == Refused.NO_MEMORY


def test_reads_are_those_of_the_manual() -> None:
    """Sv39 over Sv39x4 by leaves of 4 KiB: each of four addresses takes three reads, and three entries one each."""
    scene = Scene()
    scene.first.map(AT, 0)
    scene.guest.map(0, RAM, GUEST)
    tables = {step.pte_physical & ~4095 for step in scene.hart.walk(AT, LOAD, Mode.VS).steps if not step.stage}
    assert scene.hart.walk(AT, LOAD, Mode.VS).reads == 3 * 2 + 3 + 3, "the tables lie in pages of 2 MiB"
    scene.memory.write_int(scene.guest.place(RAM, 1), 8, 0)
    for table in tables:
        scene.guest.map(table, table, GUEST)
    assert scene.hart.walk(AT, LOAD, Mode.VS).reads == 15


def test_hlvx_is_for_guests() -> None:
    with pytest.raises(ConfigurationError, match="HLVX is for VS and VU, not for HS"):
        Scene().hart.walk(0, HLVX, Mode.HS)
    with pytest.raises(ConfigurationError, match="H extension is off"):
        Scene(glevels=None, isa="max,h=off").hart.walk(0, HLVX)


def test_hlvx_needs_x_and_not_r() -> None:
    scene = Scene()
    scene.first.map(AT, RAM, V | X | A)
    assert scene.hart.walk(AT, LOAD, Mode.VS).cause == 13
    walk = scene.hart.walk(AT, HLVX, Mode.VS)
    assert walk.physical == RAM and walk.access is HLVX


# --- the trap

TRAPS = [
    # delegated to, medeleg and hedeleg of the cause, the mode the access is made in
    (Mode.M, False, False, Mode.VS),
    (Mode.M, False, True, Mode.VU),
    (Mode.HS, True, False, Mode.VS),
    (Mode.HS, True, False, Mode.VU),
    (Mode.VS, True, True, Mode.VS),
    (Mode.VS, True, True, Mode.VU),
]


@pytest.mark.parametrize(("to", "medeleg", "hedeleg", "origin"), TRAPS, ids=str)
def test_the_trap_is_what_the_hart_then_does(to: Mode, medeleg: bool, hedeleg: bool, origin: Mode) -> None:
    """A load is looked at, then carried out: every CSR that it writes is the one that was foretold."""
    scene = Scene()
    hart = scene.hart
    scene.first.map(AT, 0, LEAF | (U if origin is Mode.VU else 0))
    code = RAM + 0x8000
    scene.first.map(0, code, V | R | X | A | (U if origin is Mode.VU else 0))
    scene.first.map(AT + 0x1000, 0, LEAF & ~V)
    scene.memory.write_int(code, 4, 0x0005_3583)  # ld a1, 0(a0)
    hart.set_csr("medeleg", medeleg << 13)
    hart.set_csr("hedeleg", hedeleg << 13)
    for name, at in (("mtvec", 0x100), ("stvec", 0x200), ("vstvec", 0x300)):
        hart.set_csr(name, RAM + at)
    hart.set_csr("mstatus", hart.csr("mstatus") | 1 << 1 | 1 << 3)
    hart.mode, hart.pc, hart.x[10] = origin, 0, AT + 0x1008
    before = scene.machine.state_hash()
    walk = hart.walk(AT + 0x1008, LOAD)
    trap = hart.trap_of(walk)
    assert scene.machine.state_hash() == before
    assert trap is not None and (trap.cause, trap.origin, trap.mode) == (13, origin, to)
    assert (trap.medeleg, trap.hedeleg) == (medeleg, hedeleg)
    assert route(trap).startswith(f"taken in {to.label}: medeleg.13={int(medeleg)}")
    names = {name: csrs.BY_NAME[name] for name in trap.csrs}
    assert set(names) == set(trap.csrs)
    scene.machine.run(1)
    assert hart.mode is to and hart.pc == trap.pc
    for name, (_, after) in trap.csrs.items():
        if name.endswith("tinst"):
            continue  # of the instruction, which a look does not know
        seen = hart.csr(name) if name != "sstatus" else hart.csr("mstatus")
        assert seen == after, name


def test_a_guest_page_fault_says_where() -> None:
    scene = Scene()
    scene.first.map(AT, 0x7000)
    trap = scene.hart.trap_of(scene.hart.walk(AT + 4, STORE, Mode.VS))
    assert trap is not None and trap.mode is Mode.HS and trap.cause == 23
    assert trap.csrs["htval"][1] << 2 == 0x7004 and trap.csrs["stval"][1] == AT + 4
    hstatus = csrs.BY_NAME["hstatus"]
    assert [hstatus.field(bit).extract(trap.csrs["hstatus"][1]) for bit in ("GVA", "SPV", "SPVP")] == [1, 1, 1]


def test_hlvx_traps_from_the_hypervisor() -> None:
    """Its trap comes from V=0 with a guest's address: GVA=1, SPV=0."""
    scene = Scene()
    trap = scene.hart.trap_of(scene.hart.walk(AT, HLVX, Mode.VS))
    assert trap is not None and trap.origin is Mode.HS and trap.mode is Mode.HS
    hstatus = csrs.BY_NAME["hstatus"]
    assert [hstatus.field(bit).extract(trap.csrs["hstatus"][1]) for bit in ("GVA", "SPV")] == [1, 0]


def test_mprv_traps_from_machine_mode() -> None:
    scene = Scene()
    hart = scene.hart
    hart.mode = Mode.M
    hart.set_csr("mstatus", 1 << 17 | 1 << 11 | 1 << 39)  # MPRV, MPP=S, MPV
    walk = hart.walk(AT, LOAD)
    trap = hart.trap_of(walk)
    assert walk.world.mode is Mode.VS and trap is not None and (trap.origin, trap.mode) == (Mode.M, Mode.M)
    assert route(trap) == "taken in M: the access is M-mode's"


def test_a_good_walk_has_no_reason_and_no_trap() -> None:
    scene = Scene()
    scene.first.map(AT, RAM, LEAF | G)
    walk = scene.hart.walk(AT, LOAD, Mode.VS)
    assert reason(walk) is None and scene.hart.trap_of(walk) is None and culprit(walk) is None
    (leaf,) = (step for step in walk.steps if not step.stage and step.result is WalkResult.LEAF)
    assert ("G=1", "in all address spaces", G) in bits_of(leaf)
    assert (f"PPN={RAM >> 12:#x}", f"{RAM:#x}", PPN) in bits_of(leaf)
