"""Counters as guests see them."""

from __future__ import annotations

from rig import BASE, HS, ONES, VS, VU, M, Rig, U

from emulator.hart import Mode

from .suite import grid, rule

MODES = (M, HS, U, VS, VU)
MONITOR = "Hardware Performance Monitor"


def rig_for(mode: Mode, text: str, **csrs: int) -> Rig:
    rig = Rig(text, mcounteren=7, hcounteren=7, scounteren=7, **csrs)
    rig.hart.mode = mode
    return rig


@rule(
    "counter.shadow",
    "cycle and instret read mcycle and minstret in every mode, the guest's too",
    section=MONITOR,
    cases=grid(mode=MODES, start=(0, 12345, 1 << 40, ONES)),
)
def _(mode: Mode, start: int) -> None:
    rig = rig_for(mode, "nop\ncsrr a0, instret\nnop\ncsrr a1, instret\ncsrr a2, cycle", mcycle=start, minstret=start)
    rig.run(5)
    # A read counts the instructions before it.
    assert (rig.x("a0"), rig.x("a1")) == (start + 1 & ONES, start + 3 & ONES)
    assert rig.x("a2") - start & ONES >= 4
    assert (rig.csr("minstret"), rig.csr("mcycle") - start & ONES >= 5) == (start + 5 & ONES, True)


@rule(
    "counter.write",
    "A write of minstret takes effect behind the instruction that writes it",
    section=MONITOR,
    cases=grid(value=(0, 100, ONES)),
)
def _(value: int) -> None:
    rig = rig_for(M, "csrw minstret, a0\ncsrr a1, minstret")
    rig.put(a0=value)
    rig.run(2)
    assert rig.x("a1") == value


@rule(
    "counter.trap",
    "An instruction that traps does not count as retired, an environment call neither",
    section=MONITOR,
    cases=grid(mode=MODES, text=("ecall", "ebreak", ".word 0xffffffff")),
)
def _(mode: Mode, text: str) -> None:
    rig = rig_for(mode, f"nop\n{text}")
    rig.run(2)
    assert rig.trap() is not None
    assert rig.csr("minstret") == 1


@rule(
    "counter.inhibit",
    "mcountinhibit stops cycle and instret, each by its bit, and keeps their values",
    section="Machine Counter-Inhibit (mcountinhibit) Register",
    cases=grid(mode=(M, HS, VS), bits=(0, 1, 4, 5)),
)
def _(mode: Mode, bits: int) -> None:
    rig = rig_for(mode, "nop\nnop\nnop\nnop", mcycle=1000, minstret=2000)
    rig.set(mcountinhibit=bits)
    before = rig.csr("mcycle"), rig.csr("minstret")
    rig.run(4)
    after = rig.csr("mcycle"), rig.csr("minstret")
    assert after == (before[0] + (0 if bits & 1 else 4), before[1] + (0 if bits & 4 else 4))
    rig.set(mcountinhibit=0)
    assert (rig.csr("mcycle"), rig.csr("minstret")) == after


@rule(
    "counter.time.inhibit",
    "time cannot be inhibited: bit 1 of mcountinhibit is read-only zero",
    section="Machine Counter-Inhibit (mcountinhibit) Register",
)
def _() -> None:
    rig = rig_for(M, "csrw mcountinhibit, a0")
    rig.put(a0=ONES)
    rig.run(1)
    assert rig.csr("mcountinhibit") & 0b111 == 0b101
    assert rig.hart.pc == BASE + 4


@rule(
    "counter.hpm",
    "hpmcounters and their events that count nothing read zero, where they are not withheld",
    section=MONITOR,
)
def _() -> None:
    rig = Rig()
    for n in range(3, 32):
        assert rig.csr(f"mhpmevent{n}") == 0
        assert rig.csr(f"mhpmcounter{n}") == 0 == rig.csr(f"hpmcounter{n}")
