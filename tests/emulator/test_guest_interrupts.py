"""Guest external interrupts: a machine whose harts have some.

Sections "Hypervisor Guest External Interrupt Registers (hgeip and hgeie)", "Hypervisor Status Register" (VGEIN),
"Machine Interrupt Delegation Register" of the hypervisor chapter.
"""

from __future__ import annotations

import pytest
from rig import BASE, HS, INTERRUPT, ONES, SIE, VS, VU, M, Rig, U

from emulator.errors import ConfigurationError, StateError
from emulator.hart import ExitReason, Mode
from emulator.machine import Machine

SGEI, VSEI = 1 << 12, 1 << 10
VGEIN = 63 << 12


@pytest.mark.parametrize("count", [0, 1, 5, 63])
def test_registers_are_as_wide_as_the_machine_says(count: int) -> None:
    rig = Rig(guest_interrupts=count)
    bits = sum(1 << i for i in range(1, count + 1))
    rig.set(hgeie=ONES)
    assert rig.csr("hgeie") == bits
    for number in range(1, count + 1):
        rig.hart.guest_wire(number, True)
    assert rig.csr("hgeip") == bits
    legal = [n for n in range(64) if _vgein(rig, n) == n]
    assert legal == list(range(count + 1))
    assert rig.csr("mideleg") & SGEI == (SGEI if count else 0)
    rig.set(mideleg=0, mie=ONES, hideleg=ONES)
    assert rig.csr("mideleg") & SGEI == (SGEI if count else 0), "read-only one where there are any"
    assert rig.csr("mie") & SGEI == rig.csr("hie") & SGEI == (SGEI if count else 0)
    assert not rig.csr("hideleg") & SGEI


def _vgein(rig: Rig, value: int) -> int:
    rig.set(hstatus=value << 12)
    return (rig.csr("hstatus") & VGEIN) >> 12


def test_a_refused_vgein_leaves_the_other_fields_to_be_written() -> None:
    rig = Rig(guest_interrupts=3, hstatus=2 << 12)
    rig.set(hstatus=4 << 12 | 1 << 21)
    assert rig.csr("hstatus") & (VGEIN | 1 << 21) == 2 << 12 | 1 << 21


def test_wires_that_are_not_there() -> None:
    rig = Rig(guest_interrupts=4)
    for number in (0, 5, 64, -1):
        with pytest.raises(ConfigurationError, match="guest external interrupt"):
            rig.hart.guest_wire(number, True)
    with pytest.raises(ConfigurationError, match="0 to 63"):
        Machine(memory=1 << 20, guest_interrupts=64)


def test_sgeip_is_hgeip_and_hgeie() -> None:
    rig = Rig(guest_interrupts=4, hgeie=1 << 3)
    rig.hart.guest_wire(2, True)
    assert not rig.csr("hip") & SGEI
    rig.hart.guest_wire(3, True)
    assert rig.csr("hip") & SGEI and rig.csr("mip") & SGEI
    rig.set(hip=0, mip=0)
    assert rig.csr("hip") & SGEI, "read-only"
    rig.hart.guest_wire(3, False)
    assert not rig.csr("hip") & SGEI


def test_vseip_is_the_bit_of_hgeip_that_vgein_selects() -> None:
    rig = Rig(guest_interrupts=4, hstatus=2 << 12, hideleg=VSEI, hgeie=0)
    rig.hart.guest_wire(2, True)
    assert rig.csr("hip") == VSEI and rig.csr("vsip") == 1 << 9
    assert rig.csr("hvip") == 0, "hvip shows what the hypervisor wrote only"
    rig.set(hstatus=3 << 12)
    assert rig.csr("hip") == rig.csr("vsip") == 0
    rig.set(hstatus=0)
    rig.hart._h.guest_lines |= 1
    assert rig.csr("hip") == 0, "VGEIN 0 selects none"


# (what, mode, CSRs, wires, the interrupt that is taken)
TAKEN = [
    ("SGEI in HS", HS, {"mstatus": SIE, "hgeie": 2}, [1], (12, HS)),
    ("SGEI in HS without SIE", HS, {"mstatus": 0, "hgeie": 2}, [1], None),
    ("SGEI in U", U, {"mstatus": 0, "hgeie": 2}, [1], (12, HS)),
    ("SGEI in VS whatever SIE", VS, {"mstatus": 0, "hgeie": 2}, [1], (12, HS)),
    ("SGEI never in M", M, {"mstatus": SIE | 1 << 3, "hgeie": 2}, [1], None),
    ("SGEI not enabled", VU, {"hgeie": 2, "mie": ONES & ~(SGEI | 1 << 7)}, [1], None),
    ("STI before SGEI", VS, {"hgeie": 2, "mideleg": ONES, "mip": 1 << 5}, [1], (5, HS)),
    ("SGEI before VSEI", VS, {"hgeie": 2, "hvip": VSEI}, [1], (12, HS)),
    ("VSEI by VGEIN, not delegated", VS, {"hstatus": 1 << 12}, [1], (10, HS)),
    ("VSEI by VGEIN, delegated", VS, {"hstatus": 1 << 12, "hideleg": VSEI, "vsstatus": SIE}, [1], (9, VS)),
    ("VSEI by VGEIN, delegated, SIE off", VS, {"hstatus": 1 << 12, "hideleg": VSEI, "vsstatus": 0}, [1], None),
    ("VSEI by VGEIN, delegated, in VU", VU, {"hstatus": 1 << 12, "hideleg": VSEI, "vsstatus": 0}, [1], (9, VS)),
    ("VSEI by VGEIN, delegated, in HS", HS, {"hstatus": 1 << 12, "hideleg": VSEI, "mstatus": SIE}, [1], None),
    ("another guest's interrupt", VU, {"hstatus": 1 << 12, "hideleg": VSEI}, [2], None),
]


@pytest.mark.parametrize(("what", "mode", "csrs", "wires", "expected"), TAKEN, ids=[row[0] for row in TAKEN])
def test_which_interrupt_is_taken(
    what: str, mode: Mode, csrs: dict[str, int], wires: list[int], expected: tuple[int, Mode] | None
) -> None:
    rig = Rig("nop", guest_interrupts=2, mode=mode, **{"mie": ONES & ~(1 << 7)} | csrs)
    for number in wires:
        rig.hart.guest_wire(number, True)
    assert rig.hart.next_interrupt() == expected
    rig.run()
    trap = rig.trap()
    assert (None if trap is None else (trap[1], trap[0])) == (
        None if expected is None else (INTERRUPT | expected[0], expected[1])
    )


@pytest.mark.parametrize(
    "csrs", [{"hgeie": 1 << 2, "mie": SGEI}, {"hstatus": 2 << 12, "mie": VSEI, "hideleg": VSEI}], ids=["SGEI", "VSEI"]
)
def test_wfi_wakes(csrs: dict[str, int]) -> None:
    rig = Rig("wfi; nop", guest_interrupts=2, mode=HS, mstatus=0, **csrs)
    assert rig.run(10).reason is ExitReason.IDLE
    rig.hart.guest_wire(1, True)
    assert rig.run(10).reason is ExitReason.IDLE, "not this one"
    rig.hart.guest_wire(2, True)
    assert rig.run(1).reason is ExitReason.BUDGET
    assert rig.hart.pc == BASE + 8 and not rig.hart.waiting


def test_they_belong_to_the_machine_and_outlast_a_reset_and_a_snapshot() -> None:
    rig = Rig(guest_interrupts=7, hgeie=ONES, hstatus=7 << 12, mie=SGEI)
    rig.hart.guest_wire(7, True)
    again = Machine.from_state(rig.machine.state())
    hart = again.harts[0]
    assert again.guest_interrupts == 7
    assert (hart.csr("hgeip"), hart.csr("hgeie")) == (1 << 7, 0xFE)
    assert hart.csr("hip") & (SGEI | VSEI) == SGEI | VSEI
    hart.reset(BASE)
    assert hart.csr("mideleg") & SGEI
    hart.set_csr("hgeie", ONES)
    assert hart.csr("hgeie") == 0xFE


def test_a_damaged_snapshot_cannot_have_more_than_its_machine() -> None:
    state = Rig(guest_interrupts=7, hgeie=ONES, hstatus=7 << 12, mie=SGEI).machine.state()
    state["config"]["guest_interrupts"] = 0
    hart = Machine.from_state(state).harts[0]
    assert hart.csr("hgeie") == hart.csr("mie") & SGEI == hart.csr("mideleg") & SGEI == hart.csr("hstatus") & VGEIN == 0
    state["config"]["guest_interrupts"] = 99
    with pytest.raises(StateError):
        Machine.from_state(state)
