"""Smstateen and Ssstateen: which levels may reach what, by the state-enable registers above them.

Sections named are those of the privileged manual, chapter "Smstateen and Ssstateen Extensions".
"""

from __future__ import annotations

import pytest
from test_csr_rules import HS, ILLEGAL, ONES, VIRTUAL, VS, VU, M, Rig, U

from emulator import Hypervisor, Machine
from emulator.hart import Mode

SE, ENVCFG = 1 << 63, 1 << 62
OPEN = {f"{level}stateen{i}": ONES for level in "mh" for i in range(4)}


def test_everything_is_closed_after_reset() -> None:
    """ "On reset, all writable mstateen bits are initialized by the hardware to zeros." """
    hart = Machine(memory=1 << 20).harts[0]
    assert not any(hart.csr(f"{level}stateen{i}") for level in "mhs" for i in range(4))
    hart.set_csr("mstateen0", ONES)
    hart.reset(0x8000_0000)
    assert hart.csr("mstateen0") == 0


@pytest.mark.parametrize("index", range(4))
def test_only_bits_of_what_this_hart_has_can_be_set(index: int) -> None:
    rig = Rig(**OPEN)
    expected = SE | ENVCFG if index == 0 else SE
    assert rig.csr(f"mstateen{index}") == rig.csr(f"hstateen{index}") == expected
    assert rig.write(M, f"sstateen{index}", ONES) is None
    assert rig.csr(f"sstateen{index}") == 0


@pytest.mark.parametrize("index", range(4))
def test_hstateen_has_only_what_mstateen_grants(index: int) -> None:
    """ "For every bit in an mstateen CSR that is zero, the same bit appears as read-only zero in hstateen." """
    rig = Rig(mstateen0=0, hstateen0=0)
    name = f"hstateen{index}"
    rig.set(**{name: ONES})
    assert rig.csr(name) == 0
    rig.set(**{f"mstateen{index}": SE})
    assert rig.csr(name) == 0, "the refused write is not kept"
    rig.set(**{name: ONES})
    assert rig.csr(name) == SE
    rig.set(**{f"mstateen{index}": ENVCFG})
    assert rig.csr(name) == 0
    others = [rig.csr(f"hstateen{i}") for i in range(4) if i != index]
    assert others == [0, 0, 0]


# (what, mode, register, expected, state enables that differ from all being open)
CASES = [
    ("senvcfg in HS", HS, "senvcfg", None, {"hstateen0": 0}),
    ("senvcfg, M closes it, in M", M, "senvcfg", None, {"mstateen0": 0}),
    ("senvcfg, M closes it, in HS", HS, "senvcfg", ILLEGAL, {"mstateen0": SE}),
    ("senvcfg in U", U, "senvcfg", ILLEGAL, {}),
    ("senvcfg in VS", VS, "senvcfg", None, {}),
    ("senvcfg, H closes it, in VS", VS, "senvcfg", VIRTUAL, {"hstateen0": SE}),
    ("senvcfg, M closes it, in VS", VS, "senvcfg", ILLEGAL, {"mstateen0": SE}),
    ("senvcfg in VU", VU, "senvcfg", VIRTUAL, {}),
    ("senvcfg, M closes it, in VU", VU, "senvcfg", ILLEGAL, {"mstateen0": SE}),
    ("henvcfg in HS", HS, "henvcfg", None, {"hstateen0": 0}),
    ("henvcfg, M closes it, in HS", HS, "henvcfg", ILLEGAL, {"mstateen0": SE}),
    ("henvcfg in VS", VS, "henvcfg", VIRTUAL, {}),
    ("henvcfg, M closes it, in VS", VS, "henvcfg", ILLEGAL, {"mstateen0": SE}),
    ("menvcfg is M-mode's own", M, "menvcfg", None, {"mstateen0": 0}),
    ("scounteren is not guarded", HS, "scounteren", None, {"mstateen0": 0}),
    *(
        row
        for i in range(4)
        for row in (
            (f"sstateen{i} in HS", HS, f"sstateen{i}", None, {f"hstateen{i}": 0}),
            (f"sstateen{i}, M closes it, in M", M, f"sstateen{i}", None, {f"mstateen{i}": 0}),
            (f"sstateen{i}, M closes it, in HS", HS, f"sstateen{i}", ILLEGAL, {f"mstateen{i}": ~SE & ONES}),
            (f"sstateen{i}, M closes others, in HS", HS, f"sstateen{i}", None, {f"mstateen{i ^ 1}": 0}),
            (f"sstateen{i} in U", U, f"sstateen{i}", ILLEGAL, {}),
            (f"sstateen{i} in VS", VS, f"sstateen{i}", None, {}),
            (f"sstateen{i}, H closes it, in VS", VS, f"sstateen{i}", VIRTUAL, {f"hstateen{i}": ~SE & ONES}),
            (f"sstateen{i}, M closes it, in VS", VS, f"sstateen{i}", ILLEGAL, {f"mstateen{i}": ~SE & ONES}),
            (f"sstateen{i} in VU", VU, f"sstateen{i}", VIRTUAL, {}),
            (f"hstateen{i} in HS", HS, f"hstateen{i}", None, {}),
            (f"hstateen{i}, M closes it, in HS", HS, f"hstateen{i}", ILLEGAL, {f"mstateen{i}": ~SE & ONES}),
            (f"hstateen{i} in VS", VS, f"hstateen{i}", VIRTUAL, {}),
            (f"hstateen{i}, M closes it, in VS", VS, f"hstateen{i}", ILLEGAL, {f"mstateen{i}": ~SE & ONES}),
            (f"mstateen{i} in HS", HS, f"mstateen{i}", ILLEGAL, {}),
        )
    ),
]


@pytest.mark.parametrize("access", ["r", "w"])
@pytest.mark.parametrize(("what", "mode", "name", "expected", "csrs"), CASES, ids=[row[0] for row in CASES])
def test_access(what: str, mode: Mode, name: str, expected: int | None, csrs: dict[str, int], access: str) -> None:
    rig = Rig(**OPEN | csrs)
    before = rig.csr(name)
    assert (rig.read(mode, name) if access == "r" else rig.write(mode, name, before ^ 1)) == expected
    if expected is not None:
        assert rig.csr(name) == before


@pytest.mark.parametrize("number", [0x31C, 0x31F, 0x61C, 0x61F, 0x11C, 0x38C])
@pytest.mark.parametrize("mode", [M, HS, VS])
def test_there_are_no_high_halves(number: int, mode: Mode) -> None:
    assert Rig(**OPEN).instruction(mode, number, 2, 5, 0) == ILLEGAL


def test_the_built_in_hypervisor_opens_what_firmware_opens() -> None:
    machine = Machine(memory=64 << 20)
    machine.host = Hypervisor(machine)
    hart = machine.harts[0]
    assert hart.csr("mstateen0") == hart.csr("hstateen0") == SE | ENVCFG
    assert {hart.csr(f"{level}stateen{i}") for level in "mh" for i in (1, 2, 3)} == {SE}
