"""What the hart notes of the traps it takes, and what is made of it: the way, the reason, what each CSR received."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import pytest
from rig import (
    BASE,
    DATA,
    ECALL_M,
    ECALL_S,
    ECALL_U,
    ECALL_VS,
    HANDLER,
    HS,
    LEAF,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    MPRV,
    ONES,
    SPVP,
    TABLES,
    USER,
    VS,
    VU,
    M,
    Rig,
    Tables,
    U,
)

from emulator import traps
from emulator.hart import Access, Move
from emulator.isa import csrs
from emulator.machine import Machine

MODES = (M, HS, U, VS, VU)
ECALL = {M: ECALL_M, HS: ECALL_S, U: ECALL_U, VS: ECALL_VS, VU: ECALL_U}
ILLEGAL = ".word 0xffffffff"


def named(rig: Rig, name: str) -> int:
    """The value of "sepc", of the field "sstatus.SPP", or of the bit "medeleg.9"."""
    register, _, field = name.partition(".")
    value = rig.csr(register)
    if not field:
        return value
    return value >> int(field) & 1 if field.isdigit() else csrs.BY_NAME[register].field(field).extract(value)


def every_change(target: object) -> set[str]:
    """Section "Trap Entry": what is written, by target mode."""
    return {
        M: {"mepc", "mcause", "mtval", "mtval2", "mtinst",
            "mstatus.MPP", "mstatus.MPV", "mstatus.GVA", "mstatus.MPIE", "mstatus.MIE"},
        HS: {"sepc", "scause", "stval", "htval", "htinst", "hstatus.SPV", "hstatus.SPVP", "hstatus.GVA",
             "sstatus.SPP", "sstatus.SPIE", "sstatus.SIE"},
        VS: {"vsepc", "vscause", "vstval", "vsstatus.SPP", "vsstatus.SPIE", "vsstatus.SIE"},
    }[target]  # fmt: skip


@pytest.mark.parametrize("text", ["ecall", ILLEGAL, "ld a0, 8(a1)", "ebreak"])
def test_what_is_noted_is_what_the_registers_say(text: str) -> None:
    """From every mode, with every delegation, over registers full of ones and of zeros."""
    for origin in MODES:
        for medeleg, hedeleg, fill in ((m, h, f) for m in (0, ONES) for h in (0, ONES) for f in (0, ONES)):
            rig = Rig(text, medeleg=medeleg, hedeleg=hedeleg, mstatus=fill & ~MPRV, hstatus=fill, vsstatus=fill)
            rig.set(**dict.fromkeys(("mtval2", "htval", "mtinst", "htinst", "stval", "vstval"), fill))
            rig.put(a1=0x5000_0000)
            rig.hart.mode = origin
            before = {name: named(rig, name) for target in (M, HS, VS) for name in every_change(target)}
            bits = {name: rig.csr(name) for name in ("medeleg", "hedeleg")}
            rig.run(1)
            (trap,) = rig.hart.trap_log()
            target, cause, tval = rig.trap()
            assert (trap.from_mode, trap.to_mode, trap.pc, trap.clock) == (origin, target, BASE, rig.hart.clock)
            assert (trap.cause, trap.interrupt, trap.tval) == (cause, False, tval)
            assert trap.entry.handler == rig.hart.pc
            changes = traps.changes(trap)
            assert {change.name for change in changes} == every_change(target)
            for change in changes:
                assert change.after == named(rig, change.name), change
                assert change.before == (before[change.name] if change.field else None), change
                if change.name == "hstatus.SPVP":
                    assert change.rule.startswith("kept") == (not origin.virtual)
            for stop in traps.route(trap):
                register, bit = stop.what.split(".")
                assert stop.value in (None, bits[register] >> int(bit) & 1), stop
            check_reason(trap, origin, target, bits["medeleg"] >> cause & 1, bits["hedeleg"] >> cause & 1)


def check_reason(trap: object, origin: object, target: object, first: int, second: int) -> None:
    """"Trap Entry" again, in words: the last bit that was asked decides."""
    cause = trap.cause
    if origin is M:
        wanted = "taken in M because M-mode delegates no trap of its own"
    elif not first:
        wanted = f"taken in M because medeleg.{cause}=0"
    elif not origin.virtual:
        wanted = f"taken in HS because medeleg.{cause}=1, and V=0"
    else:
        wanted = f"taken in {'VS' if second else 'HS'} because hedeleg.{cause}={second}"
    assert traps.reason(trap) == wanted
    assert wanted.startswith(f"taken in {target.label} ")


def test_an_interrupt_goes_by_its_bit_and_is_seen_under_its_code() -> None:
    """VSTI, bit 6, is STI, 5, to VS-mode; kept by HS-mode it stays VSTI."""
    for hideleg, origin, target, code in ((0x444, VS, VS, 5), (0x444, VU, VS, 5), (0, VS, HS, 6), (0, U, HS, 6)):
        rig = Rig("nop", hideleg=hideleg, mie=ONES, vsstatus=2, hvip=1 << 6, mode=origin)
        rig.run(1)
        (trap,) = rig.hart.trap_log()
        assert (trap.interrupt, trap.cause, trap.to_mode, trap.tval) == (True, code, target, 0)
        asked = {stop.what: stop.value for stop in traps.route(trap)}
        assert asked["mip.6"] == asked["mie.6"] == asked["mideleg.6"] == 1
        assert asked.get("hideleg.6") == (hideleg >> 6 & 1 if origin.virtual else None)
        assert asked.get("vsstatus.SIE") == (1 if origin is VS and target is VS else None)
        after = {change.name: change.after for change in traps.changes(trap)}
        assert after["vscause" if target is VS else "scause"] == 1 << 63 | code
        assert (f"hideleg.6={hideleg >> 6 & 1}" if origin.virtual else "mideleg.6=1, and V=0") in traps.reason(trap)


def test_a_guest_page_fault_tells_its_address_twice_and_the_instruction() -> None:
    rig = Rig("ld a0, 0x123(a1)", medeleg=ONES)
    tables = Tables(rig, guest=True)
    tables.map(BASE, BASE, LEAF | USER)
    rig.set(hgatp=tables.atp | 7 << 44)
    rig.put(a1=0x1234_5000)
    rig.hart.mode = VS
    rig.run(1)
    (trap,) = rig.hart.trap_log()
    assert (trap.cause, trap.tval, trap.vmid) == (LOAD_GUEST, 0x1234_5123, 7)
    assert traps.guest_physical(trap) == 0x1234_5123
    assert traps.access_of(trap) == (0x1234_5123, Access.LOAD, VS)
    told = {change.name: (change.after, change.meaning) for change in traps.changes(trap)}
    assert told["htval"] == (0x1234_5123 >> 2, "gpa 0x12345123")
    assert told["htinst"][0] == rig.csr("htinst") and told["htinst"][1].startswith("transformed ld a0")


def test_the_access_that_failed_has_the_mode_that_it_acted_as() -> None:
    load = "ld a0, 0(a1)"
    cases = [
        (Rig(load, mode=U), U, U, Access.LOAD, {}),
        (Rig("sd a0, 0(a1)", mode=U), U, U, Access.STORE, {}),
        (Rig("jr a1", mode=U), U, U, Access.FETCH, {}),
        (Rig(load, mode=M), M, U, Access.LOAD, {"mstatus": MPRV}),
        (Rig(load, mode=M), M, VU, Access.LOAD, {"mstatus": MPRV | 1 << 39}),
        (Rig("hlv.d a0, (a1)", mode=HS), HS, VS, Access.LOAD, {"hstatus": SPVP}),
        (Rig("hlv.d a0, (a1)", mode=HS), HS, VU, Access.LOAD, {"hstatus": 0}),
    ]
    for rig, origin, mode, access, more in cases:
        tables = Tables(rig)
        tables.map(BASE, BASE, LEAF if origin is HS else LEAF | USER)
        rig.set(satp=tables.atp, vsatp=tables.atp, **more)
        rig.put(a1=0x1234_5678)
        rig.run(2 if access is Access.FETCH else 1)
        trap = rig.hart.trap_log()[-1]
        assert trap.from_mode is origin
        assert traps.access_of(trap) == (0x1234_5678, access, mode), (origin, mode)
    assert traps.access_of(_trapped("ecall")) is None and traps.access_of(_trapped(ILLEGAL)) is None


def _trapped(text: str) -> object:
    rig = Rig(text)
    rig.run(1)
    return rig.hart.trap_log()[-1]


def test_values_are_decoded() -> None:
    assert traps.value_meaning(_trapped("csrrw a0, 0x123, a1")).startswith("csrrw a0, 0x123, a1")
    assert traps.value_meaning(_trapped("ebreak")) == "address of the breakpoint"
    assert _trapped("ebreak").tval == BASE
    load = _trapped("ld a0, 0(zero)")
    assert (load.cause, traps.value_meaning(load)) == (LOAD_ACCESS, "address of the load")
    assert LOAD_PAGE in traps.ACCESSES and ECALL_M not in traps.ACCESSES


def test_without_the_h_extension_nothing_is_told_of_it() -> None:
    rig = Rig("ecall", medeleg=ONES, mode=U, isa="max,h=off")
    rig.run(1)
    (trap,) = rig.hart.trap_log()
    names = {change.name for change in traps.changes(trap, hypervisor=False)}
    assert names == {"sepc", "scause", "stval", "sstatus.SPP", "sstatus.SPIE", "sstatus.SIE"}
    assert not any(change.register.startswith("h") for change in traps.changes(trap, hypervisor=False))


BACK = "csrr t0, mepc\n addi t0, t0, 4\n csrw mepc, t0\n mret"


def test_the_log_keeps_the_last_256() -> None:
    rig = Rig("loop: ecall\n j loop", mode=U)
    rig.write(HANDLER, BACK)
    rig.run(6 * 300)
    log = rig.hart.trap_log()
    assert len(log) == 256 and rig.hart.event_count == 601, "the first event is the mode that was set"
    assert [trap.number for trap in log] == list(range(601 - 2 * 256, 601, 2))
    assert [trap.number for trap in rig.hart.trap_log(3)] == [595, 597, 599]
    assert all(b.clock - a.clock == 6 - 1 for a, b in pairwise(log))


def test_moves_are_counted_by_what_they_were() -> None:
    rig = Rig("ecall\n .word 0xffffffff\n ecall", mode=U)
    rig.write(HANDLER, BACK)
    rig.run(2 * 5 + 1)
    assert rig.hart.moves == {(M, U, Move.SET): 1, (U, M, Move.CALL): 2, (U, M, Move.TRAP): 1, (M, U, Move.MRET): 2}
    for mode, register, to, move, text in (
        (HS, "sepc", U, Move.SRET, "sret"),
        (VS, "vsepc", VU, Move.SRET, "sret"),
        (M, "mepc", U, Move.MRET, "mret"),
        (M, "sepc", U, Move.SRET, "sret"),
    ):
        rig = Rig(text, **{register: DATA}, mode=mode)
        rig.run(1)
        assert rig.hart.moves[mode, to, move] == 1
    rig = Rig("nop", mie=ONES, mip=2, mode=HS)
    rig.run(1)
    assert rig.hart.moves[HS, M, Move.INTERRUPT] == 1
    rig.hart.mode = M
    assert rig.hart.moves[M, HS, Move.SET] == 1, "a mode that is set to what it is was not left"


def test_counts_are_saved_and_what_was_noted_is_not() -> None:
    rig = Rig("loop: ecall\n j loop", mode=U)
    rig.write(HANDLER, BACK)
    rig.run(100)
    before = rig.machine.state_hash()
    log, moves = rig.hart.trap_log(), rig.hart.moves
    assert rig.machine.state_hash() == before, "looking changes nothing"
    other = Machine.from_state(rig.machine.state())
    hart = other.harts[0]
    assert hart.moves == moves
    again = hart.trap_log()
    assert [(t.number, t.clock, t.pc, t.cause, t.from_mode, t.to_mode) for t in again] == [
        (t.number, t.clock, t.pc, t.cause, t.from_mode, t.to_mode) for t in log
    ]
    assert all(trap.entry is None for trap in again)
    assert not traps.route(again[0]) and not traps.changes(again[0]) and "snapshot" in traps.reason(again[0])
    for region in rig.machine.memory.regions:
        for page in rig.machine.touched_pages(region):
            at = region.base + page * 4096
            other.memory.write(at, rig.machine.memory.read(at, 4096))
    assert other.state_hash() == before
    other.run(50)
    rig.run(50)
    assert other.state_hash() == rig.machine.state_hash()
    assert [t.entry is None for t in hart.trap_log()].count(False) == len(rig.hart.trap_log()) - len(log)


def test_a_reset_forgets_what_was_noted() -> None:
    rig = Rig("ecall")
    rig.run(1)
    assert rig.hart.trap_log() and rig.hart.moves
    rig.hart.reset(BASE)
    assert rig.hart.trap_log() == [] and rig.hart.moves == {}


def test_reasons_name_bits_as_they_were_not_as_they_are() -> None:
    random = Random(1)
    for _ in range(40):
        origin = random.choice((HS, U, VS, VU))
        cause = ECALL[origin]
        rig = Rig("ecall", medeleg=random.choice((0, 1 << cause)), hedeleg=random.choice((0, 1 << cause)), mode=origin)
        values = {name: rig.csr(name) >> cause & 1 for name in ("medeleg", "hedeleg")}
        rig.run(1)
        rig.set(medeleg=~rig.csr("medeleg") & ONES, hedeleg=~rig.csr("hedeleg") & ONES)
        said = traps.reason(rig.hart.trap_log()[-1])
        ((name, bit, value),) = re.findall(r"(\w+deleg)\.(\d+)=(\d)", said)
        assert (int(bit), int(value)) == (cause, values[name])


def test_faults_are_remembered_when_other_traps_have_pushed_them_out() -> None:
    rig = Rig("ld a0, 0(a1)\nloop: ecall\nj loop", mode=HS, medeleg=1 << 13)
    rig.put(a1=0xDEAD_0000_0000_0008)
    rig.set(satp=8 << 60 | TABLES >> 12)
    rig.hart.mode = M
    rig.set(mstatus=1 << 17 | 1 << 11)  # MPRV: as HS-mode
    rig.run(1)
    (fault,) = rig.hart.fault_log()
    assert (fault.cause, fault.tval, fault.from_mode, fault.to_mode) == (13, 0xDEAD_0000_0000_0008, M, M)
    assert rig.hart.trap_log()[-1] == fault
    rig.set(mstatus=0)
    for _ in range(300):
        rig.hart.mode, rig.hart.pc = M, BASE + 4
        rig.run(1)
    assert fault not in rig.hart.trap_log() and rig.hart.fault_log() == [fault]
