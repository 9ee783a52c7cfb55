"""Verdicts on interrupts: they agree with what the hart does, and every bit that they name has the value they say."""

from __future__ import annotations

import re
from random import Random

import pytest
from rig import HS, MIE, ONES, SIE, STCE, VS, VU, M, Rig, U

from emulator import Hypervisor
from emulator.devices.plic import CONTEXT, ENABLE, Plic
from emulator.guests import path
from emulator.hart import Mode
from emulator.interrupts import Verdict, standings
from emulator.isa import csrs
from emulator.machine import Machine

MODES = (M, HS, U, VS, VU)
PRIORITY = (11, 3, 7, 9, 1, 5, 12, 10, 2, 6, 13)
"""MEI, MSI, MTI, SEI, SSI, STI, SGEI, VSEI, VSSI, VSTI, LCOFI: "Machine Interrupt (mip and mie) Registers" and
"Hypervisor Interrupt (hvip, hip, and hie) Registers"."""
LEVELS = (M, HS, VS)


def shuffled(random: Random) -> Rig:
    """A hart in any mode, with any interrupts pending by any source, enabled and delegated at random."""
    rig = Rig("nop", guest_interrupts=5)
    hart, pick = rig.hart, lambda: random.choice((0, ONES, random.getrandbits(64), random.getrandbits(64)))
    hart.set_csr("menvcfg", random.choice((0, STCE)))
    for name in ("henvcfg", "mideleg", "hideleg", "mie", "hvip", "hgeie", "mip"):
        hart.set_csr(name, pick() if name != "mip" else random.getrandbits(64) & random.getrandbits(64))
    hart.set_csr("hstatus", random.randrange(6) << 12)
    hart.set_csr("mstatus", random.choice((0, MIE)) | random.choice((0, SIE)))
    hart.set_csr("vsstatus", random.choice((0, SIE)))
    for name in ("stimecmp", "vstimecmp"):
        hart.set_csr(name, random.choice((0, 5, ONES)))
    hart.mtimecmp = random.choice((0, 5, ONES))
    hart.set_csr("htimedelta", random.choice((0, 7, ONES)))
    for bit in (3, 9, 11):
        hart.wire(bit, random.random() < 0.3)
    for number in range(1, 6):
        hart.guest_wire(number, random.random() < 0.2)
    hart.mode = random.choice(MODES)
    return rig


def model(rig: Rig) -> tuple[int, Mode] | None:
    """The bit that is taken, and by whom: section "Trap Entry" and those that it names."""
    mode, ready = rig.hart.mode, rig.csr("mip") & rig.csr("mie")
    m, s, v = rig.csr("mstatus") & MIE, rig.csr("mstatus") & SIE, rig.csr("vsstatus") & SIE
    mideleg, hideleg = rig.csr("mideleg"), rig.csr("hideleg")
    for level, bits, may in (
        (M, ready & ~mideleg, mode is not M or m),
        (HS, ready & mideleg & ~hideleg, mode in (U, VS, VU) or (mode is HS and s)),
        (VS, ready & mideleg & hideleg, mode is VU or (mode is VS and v)),
    ):
        if bits and may:
            return next(code for code in PRIORITY if bits >> code & 1), level
    return None


def said_bits(text: str) -> list[tuple[str, str, int]]:
    return [(register, field, int(value)) for register, field, value in re.findall(r"([a-z]+)\.(\w+)=(\d+)", text)]


def check_named(rig: Rig, text: str) -> int:
    for register, field, value in said_bits(text):
        found = rig.csr(register)
        if field.isdigit():
            assert found >> int(field) & 1 == value, text
        else:
            assert csrs.BY_NAME[register].field(field).extract(found) == value, text
    return len(said_bits(text))


@pytest.mark.parametrize("seed", range(8))
def test_verdicts_agree_with_the_hart_in_any_state(seed: int) -> None:
    random = Random(seed)
    seen, named = set(), 0
    for _ in range(60):
        rig = shuffled(random)
        rows = standings(rig.machine, rig.hart)
        expected, found = model(rig), rig.hart.next_interrupt()
        taken = [row for row in rows if row.verdict is Verdict.TAKEN]
        assert [(row.code, row.level) for row in taken] == ([expected] if expected else [])
        assert [(row.seen, row.level) for row in taken] == ([found] if found else [])
        assert [row.code for row in rows] == list(PRIORITY)
        mip, mie = rig.csr("mip"), rig.csr("mie")
        for row in rows:
            bit = 1 << row.code
            seen.add((row.verdict, row.level))
            assert (row.pending, row.enabled) == (bool(mip & bit), bool(mie & bit)), row
            assert row.pending == any(source.active for source in row.sources), row
            asked = f"{row.enable}={int(row.enabled)} mideleg.{row.code}={row.delegated[0]}"
            named += check_named(rig, f"{row.text} {row.gate} {asked} {' '.join(s.text for s in row.sources)}")
            assert (row.verdict is Verdict.IDLE) == (not row.pending)
            if row.verdict is Verdict.DISABLED:
                assert row.text == f"not taken: {row.enable}=0"
            ready = row.pending and row.enabled
            # Alone it would be taken: only what has priority keeps it back.
            if row.verdict in (Verdict.BEHIND, Verdict.CLOSED):
                rig.set(mie=bit)
                assert (rig.hart.next_interrupt() is not None) == (row.verdict is Verdict.BEHIND), row
                rig.set(mie=mie)
            assert ready == (row.verdict in (Verdict.TAKEN, Verdict.BEHIND, Verdict.CLOSED))
        if expected:
            rig.run(1)
            assert rig.hart.mode is expected[1], "and so it happens"
    assert {verdict for verdict, _ in seen} == set(Verdict) and named > 1000


def verdict(rig: Rig, name: str) -> str:
    return next(row.text for row in standings(rig.machine, rig.hart) if row.name == name)


def test_the_words_of_the_usual_cases() -> None:
    rig = Rig("nop", mideleg=ONES, hideleg=ONES, mie=ONES, hvip=1 << 6, mode=HS)
    assert verdict(rig, "VSTI") == "not taken: hideleg.6=1 so it is VS's, and V=0"
    rig.set(mip=1 << 5)
    assert verdict(rig, "STI") == "not taken: sstatus.SIE=0 in HS"
    rig.set(mstatus=SIE)
    assert verdict(rig, "STI") == "taken next, in HS"
    rig.set(mip=1 << 5 | 1 << 1)
    assert verdict(rig, "STI") == "not taken yet: SSI has priority"
    rig.hart.mode = M
    assert verdict(rig, "SSI") == "not taken: mideleg.1=1 so it is HS's, and M-mode runs"
    rig.hart.mtimecmp = 0
    assert verdict(rig, "MTI") == "not taken: mstatus.MIE=0 in M"
    rig.hart.mode = HS
    assert verdict(rig, "SSI") == "not taken yet: MTI is M's, which comes first"
    rig.set(mie=ONES & ~(1 << 7) & ~(1 << 5) & ~(1 << 1))
    assert (verdict(rig, "MTI"), verdict(rig, "SSI")) == ("not taken: mie.MTIE=0", "not taken: sie.SSIE=0")
    rig.hart.mode = VS
    assert verdict(rig, "VSTI") == "not taken: vsstatus.SIE=0 in VS"
    rig.set(vsstatus=SIE)
    assert verdict(rig, "VSTI") == "taken next, in VS as STI"
    rig.set(hideleg=0)
    rig.set(mie=0)
    assert verdict(rig, "VSTI") == "not taken: hie.VSTIE=0"


def test_timers_tell_the_ticks_that_are_left() -> None:
    rig = Rig("nop", menvcfg=STCE, henvcfg=STCE, stimecmp=1500, htimedelta=100, vstimecmp=1600)
    rig.hart.mtimecmp = 2000
    assert rig.hart.time == 0
    assert verdict(rig, "MTI") == "mtimecmp in 2,000 ticks"
    assert verdict(rig, "STI") == "stimecmp in 1,500 ticks"
    assert verdict(rig, "VSTI") == "vstimecmp in 1,500 ticks", "of the guest's own time"
    rig.hart.mtimecmp = ONES
    (source,) = next(row for row in standings(rig.machine, rig.hart) if row.name == "MTI").sources
    assert (source.text, source.ticks, source.active) == ("mtimecmp: never", None, False)
    rig.machine.run(1, until=1)
    rig.set(stimecmp=0)
    (source,) = next(row for row in standings(rig.machine, rig.hart) if row.name == "STI").sources
    assert source.active and source.text == "stimecmp reached now"


def machine_with_uart_interrupt(priority: int, threshold: int, enabled: bool = True) -> Machine:
    machine = Machine(memory=4 << 20)
    plic = machine.plic
    plic.write(4 * 10, 4, priority)
    plic.write(ENABLE + 0x80, 4, (1 << 10) * enabled)
    plic.write(CONTEXT + 0x1000, 4, threshold)
    plic.set_source(10, True)
    return machine


@pytest.mark.parametrize(
    ("priority", "threshold", "enabled", "text"),
    [
        (1, 3, True, "masked by PLIC threshold 3 >= priority 1 (PLIC source 10, uart)"),
        (3, 3, True, "masked by PLIC threshold 3 >= priority 3 (PLIC source 10, uart)"),
        (0, 0, True, "priority 0: never (PLIC source 10, uart)"),
        (1, 0, False, "not enabled for this context (PLIC source 10, uart)"),
    ],
)
def test_a_source_that_the_plic_holds_back(priority: int, threshold: int, enabled: bool, text: str) -> None:
    machine = machine_with_uart_interrupt(priority, threshold, enabled)
    (row,) = (row for row in standings(machine, machine.harts[0]) if row.name == "SEI")
    assert not row.pending and row.text == text


def test_a_source_that_the_plic_lets_through() -> None:
    machine = machine_with_uart_interrupt(4, 3)
    (row,) = (row for row in standings(machine, machine.harts[0]) if row.name == "SEI")
    (source,) = row.sources
    assert row.pending and source.active
    assert source.text == "PLIC source 10 (uart): priority 4 > threshold 3"
    assert machine.plic.read(CONTEXT + 0x1004, 4) == 10, "claimed"
    (row,) = (row for row in standings(machine, machine.harts[0]) if row.name == "SEI")
    assert not row.pending and row.text == "claimed, and not completed yet (PLIC source 10, uart)"


class Wires:
    def __init__(self) -> None:
        self.up: dict[int, bool] = {}

    def wire(self, bit: int, level: bool) -> None:
        self.up[bit] = level


def test_what_the_plic_says_of_its_sources_is_what_it_does() -> None:
    """Any state: a request that is not masked is the one that the wire stands for, and that a claim gives."""
    random = Random(7)
    notified = 0
    for _ in range(300):
        hart = Wires()
        plic = Plic([hart])
        for source in random.sample(range(1, 96), 12):
            plic.write(4 * source, 4, random.randrange(8))
            plic.set_source(source, random.random() < 0.7)
        for context in range(2):
            for word in range(3):
                plic.write(ENABLE + 0x80 * context + 4 * word, 4, random.getrandbits(32))
            plic.write(CONTEXT + 0x1000 * context, 4, random.randrange(8))
            if random.random() < 0.5:
                plic.read(CONTEXT + 0x1000 * context + 4, 4)
        for context, line in ((0, 11), (1, 9)):
            through = [request for request in plic.requests(context) if not request.masked]
            assert bool(through) == hart.up.get(line, False)
            notified += bool(through)
            for request in through:
                assert request.priority > request.threshold
                assert plic.read(CONTEXT + 0x1000 * context + 4, 4) == request.source
    assert notified > 50


def test_the_plic_of_a_vm_drives_its_vsei() -> None:
    machine = Machine(memory=64 << 20)
    machine.host = hypervisor = Hypervisor(machine)
    vm = hypervisor.create_vm("hello", memory=8 << 20)
    vm.load_elf(path("hello"))
    machine.run(1000)
    vcpu, hart = vm.vcpus[0], machine.harts[0]
    assert vcpu.hart is hart
    vm.plic.write(4 * 10, 4, 2)
    vm.plic.write(ENABLE, 4, 1 << 10)
    vm.plic.write(CONTEXT, 4, 2)
    vm.plic.set_source(10, True)
    rows = {row.name: row for row in standings(machine, hart, vcpu)}
    assert rows["VSEI"].text == "masked by PLIC threshold 2 >= priority 2 (PLIC source 10, uart)"
    vm.plic.write(CONTEXT, 4, 1)
    rows = {row.name: row for row in standings(machine, hart, vcpu)}
    assert rows["VSEI"].pending and [source.text for source in rows["VSEI"].sources] == [
        "hvip.VSEIP=1", "PLIC source 10 (uart): priority 2 > threshold 1",
    ]  # fmt: skip
    assert not rows["SEI"].pending


def test_guest_external_interrupts_come_by_their_number() -> None:
    rig = Rig("nop", guest_interrupts=3, hgeie=0, hstatus=2 << 12)
    rig.hart.guest_wire(2, True)
    rows = {row.name: row for row in standings(rig.machine, rig.hart)}
    assert rows["SGEI"].text == "hgeip.2=1, hgeie.2=0" and not rows["SGEI"].pending
    assert rows["VSEI"].pending and rows["VSEI"].sources[0].text == "hgeip.2=1, and hstatus.VGEIN=2"
    rig.set(hgeie=4)
    rows = {row.name: row for row in standings(rig.machine, rig.hart)}
    assert rows["SGEI"].pending and rows["SGEI"].sources[0].text == "hgeip.2=1, hgeie.2=1"


def test_a_hart_has_rows_for_what_it_has() -> None:
    machine = Machine(memory=4 << 20, isa="rv64gc")
    names = [row.name for row in standings(machine, machine.harts[0])]
    assert names == ["MEI", "MSI", "MTI", "SEI", "SSI", "STI"]
