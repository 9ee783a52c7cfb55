"""Counters as guests see them."""

from __future__ import annotations

from rig import BASE, DATA, HS, ONES, VS, VU, M, Rig, U

from emulator.hart import Mode
from emulator.isa.csrs import EVENTS

from .fields import written
from .suite import grid, rule

MODES = (M, HS, U, VS, VU)
MONITOR = "Hardware Performance Monitor"
STOPPED = "Machine Counter-Inhibit (mcountinhibit) Register"
INHIBIT = {M: 1 << 62, HS: 1 << 61, U: 1 << 60, VS: 1 << 59, VU: 1 << 58}
INHIBITED = sum(INHIBIT.values())
EVENT = {name: code for code, (name, _) in EVENTS.items()}
NUMBERS = (3, 4, 17, 31)


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
    "A write of a counter of instructions takes effect behind the instruction that writes it",
    section=MONITOR,
    cases=grid(name=("minstret", "mhpmcounter3", "mhpmcounter31"), value=(0, 100, ONES)),
)
def _(name: str, value: int) -> None:
    rig = rig_for(M, f"nop\ncsrw {name}, a0\ncsrr a1, {name}\ncsrr a2, {name}", mhpmevent3=2, mhpmevent31=2)
    rig.put(a0=value)
    rig.run(4)
    assert (rig.x("a1"), rig.x("a2")) == (value, value + 1 & ONES)


@rule(
    "counter.wait",
    "Counters of cycles count on while the hart waits, those of instructions do not, for it retires none",
    section=MONITOR,
    cases=grid(cycles=("mcycle", "mhpmcounter3", "mhpmcounter30"), instructions=("minstret", "mhpmcounter4")),
)
def _(cycles: str, instructions: str) -> None:
    rig = rig_for(M, f"nop\nwfi\nnop\ncsrr a0, {cycles}\ncsrr a1, {instructions}", mie=1 << 7)
    rig.set(mhpmevent3=EVENT["CYCLES"], mhpmevent4=EVENT["INSTRUCTIONS"], mhpmevent30=EVENT["CYCLES"])
    rig.set(**{cycles: 100, instructions: 200})
    rig.hart.mtimecmp = 10  # in cycle 1000
    rig.run(5)
    assert (rig.x("a0"), rig.x("a1")) == (100 + 1000 + 1, 200 + 4)
    # The same of counters that are stopped and started again, from the cycles and instructions then.
    rig.set(mcountinhibit=ONES)
    rig.set(mcountinhibit=0)
    assert (rig.csr(cycles), rig.csr(instructions)) == (100 + 1003, 200 + 5)


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
    section=STOPPED,
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
    section=STOPPED,
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


@rule(
    "counter.hpm.each",
    "mhpmcounter3 to 31 are counters of 64 bits, each with an event selector and a shadow of its own",
    section=MONITOR,
    cases=grid(mode=MODES),
)
def _(mode: Mode) -> None:
    numbers = range(3, 32)
    counts = {n: n * 0x0101_0101_0101_0101 for n in numbers}
    events = {n: n % len(EVENTS) for n in numbers}
    rig = Rig(mcountinhibit=ONES, mcycle=1, minstret=2, mcounteren=ONES, hcounteren=ONES, scounteren=ONES)
    rig.set(**{f"mhpmcounter{n}": value for n, value in counts.items()})
    rig.set(**{f"mhpmevent{n}": value for n, value in events.items()})
    rig.write(BASE, "\n".join(f"csrr a0, hpmcounter{n}\nsd a0, {8 * n}(a1)" for n in numbers))
    rig.put(a1=DATA)
    rig.hart.mode = mode
    rig.run(2 * len(numbers))
    assert {n: rig.load(DATA + 8 * n) for n in numbers} == counts
    assert {n: rig.csr(f"mhpmcounter{n}") for n in numbers} == counts
    assert {n: rig.csr(f"mhpmevent{n}") for n in numbers} == events
    assert (rig.csr("mcycle"), rig.csr("minstret")) == (1, 2)


ONE = {"CYCLES": 1, "INSTRUCTIONS": 1}
Happening = tuple[Mode, str, dict[str, int], dict[str, int]]
HAPPENS: dict[str, Happening] = {
    # (mode, instruction, CSRs): what happens, and how often
    "nop": (HS, "nop", {}, ONE),
    "ebreak": (U, "ebreak", {}, {"EXCEPTIONS": 1}),
    "ecall": (U, "ecall", {}, {"EXCEPTIONS": 1, "CALLS": 1}),
    "guest's ecall": (VS, "ecall", {}, {"EXCEPTIONS": 1, "CALLS": 1, "EXITS": 1}),
    "illegal": (HS, "csrr a0, mstatus", {}, {"EXCEPTIONS": 1, "REFUSALS": 1}),
    "interrupt": (HS, "nop", {"mie": 2, "mip": 2}, {"INTERRUPTS": 1}),
    "mret": (M, "mret", {"mepc": BASE}, ONE | {"RETURNS": 1}),
    "sret": (VS, "sret", {}, ONE | {"RETURNS": 1}),
    "fence": (HS, "sfence.vma", {}, ONE | {"FENCES": 1}),
    "hgatp": (HS, "csrw hgatp, a0", {}, ONE | {"SWITCHES": 1}),
}


@rule(
    "counter.hpm.event",
    "mhpmevent selects what its counter counts, and 0 is no event; xINH inhibit it in their modes, and in no other",
    section=MONITOR,
    cases=grid(happens=HAPPENS, first=(3, 31 - max(EVENTS)), inhibited=("nowhere", "there", "elsewhere")),
)
def _(happens: Happening, first: int, inhibited: str) -> None:
    mode, text, csrs, counts = happens
    bits = {"nowhere": 0, "there": INHIBIT[mode], "elsewhere": INHIBITED & ~INHIBIT[mode]}[inhibited]
    rig = Rig(text, **csrs)
    rig.set(**{f"mhpmevent{first + code}": code | bits for code in EVENTS})
    rig.set(**{f"mhpmcounter{first + code}": 1000 for code in EVENTS})
    rig.hart.mode = mode
    rig.put(a0=8 << 60)
    rig.run(1)
    found = {name: rig.csr(f"mhpmcounter{first + code}") - 1000 for name, code in EVENT.items()}
    assert found == dict.fromkeys(EVENT, 0) | (counts if inhibited != "there" else {})


@rule(
    "counter.inhibit.hpm",
    "mcountinhibit stops every mhpmcounter by its bit, from the next instruction on; stopped, it keeps its value",
    section=STOPPED,
    cases=grid(number=NUMBERS, other=(5, 30), event=("INSTRUCTIONS", "CYCLES", "FENCES")),
)
def _(number: int, other: int, event: str) -> None:
    it = "sfence.vma\n" if event == "FENCES" else "nop\n"
    rig = Rig(f"{2 * it}csrw mcountinhibit, a0\n{3 * it}csrw mcountinhibit, zero\n{4 * it}")
    rig.set(**{f"mhpmevent{n}": EVENT[event] for n in (number, other)})
    rig.set(**{f"mhpmcounter{n}": 1000 for n in (number, other)})
    rig.put(a0=1 << number)
    rig.run(11)
    written = event != "FENCES"  # the CSR instructions count too
    assert rig.csr(f"mhpmcounter{number}") == 1000 + 2 + 4 + written
    assert rig.csr(f"mhpmcounter{other}") == 1000 + 2 + 3 + 4 + 2 * written


@rule(
    "counter.cfg.fields",
    "mcyclecfg and minstretcfg have MINH, SINH, UINH, VSINH and VUINH, each on its own; all other bits are zero",
    section="Machine Counter Configuration (mcyclecfg, minstretcfg) Registers",
    cases=grid(
        name=("mcyclecfg", "minstretcfg"),
        value={mode.name: bit for mode, bit in INHIBIT.items()} | {"ones": ONES, "zeros": 0},
    ),
)
def _(name: str, value: int) -> None:
    assert written(name, value) == value & INHIBITED
    assert written(name, ONES, value) == value & INHIBITED
    before = {"mcyclecfg": INHIBIT[U], "minstretcfg": INHIBIT[U]}
    rig = Rig(**before)
    rig.set(**{name: value})
    assert {each: rig.csr(each) for each in before} == before | {name: value & INHIBITED}
