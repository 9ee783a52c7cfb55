"""Runs one program on both sides and compares after every step.

A step is one instruction retired or one trap taken. Compared are pc, mode, x and f after every step; the CSRs after every
`stride` steps; memory at the end. A difference found late is looked for again from the start, CSRs after every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from emulator.isa import csrs
from emulator.isa.description import load_all

from . import allowed
from .ours import Ours
from .spike import FAR_CLINT, PAGE, RAM_BASE, Spike

MODE_NAMES = {0: "U", 1: "HS", 3: "M", 4: "VU", 5: "VS"}
COMPARED: tuple[int, ...] = tuple(
    csr.number for csr in csrs.CSRS
    if csr.number not in allowed.UNCOMPARED_CSRS and not csr.name.startswith(("mhpm", "pmpaddr"))
    and csr.name not in ("cycle", "instret", "fflags", "frm")
) + tuple(csrs.BY_NAME[f"pmpaddr{i}"].number for i in range(csrs.PMP_ENTRIES))  # fmt: skip
_NAMES = [csrs.BY_NUMBER[number].name for number in COMPARED]
_MASKS = [~allowed.IGNORED.get(number, 0) for number in COMPARED]
_STUCK = 6
"""That many steps without an instruction retired: a trap loop, and the end of the program."""


@dataclass(frozen=True)
class Difference:
    name: str
    ours: int
    spike: int

    def __str__(self) -> str:
        return f"{self.name}: ours {self.ours:#x}, Spike {self.spike:#x}"


class Context:
    """What a rule may ask about the step that made the difference."""

    def __init__(self, ours: Ours, spike: Spike, pc: int, mode: int, x: list[int], word: int | None) -> None:
        self.ours, self.spike, self.pc, self.mode, self.x, self.word = ours, spike, pc, mode, x, word

    def csr(self, name: str) -> int:
        """This hart's value, after the step."""
        return self.ours.csrs([csrs.BY_NAME[name].number])[0]

    def transformed(self) -> set[int]:
        """The values that mtinst or htinst may have for the instruction, by the manual."""
        return transformations(self.word) if self.word is not None else set()


def expand(word: int) -> int:
    """The 32-bit instruction that a compressed one abbreviates; others as they are."""
    if word & 3 == 3:
        return word
    registry = load_all()
    for c in registry.compressed.values():
        if word & c.layout.mask != c.layout.match:
            continue
        fields = c.layout.extract(word)
        if any(fields.get(name) in bad for name, bad in c.never.items()):
            continue
        target = registry.instructions[c.target].layout
        values = {key: fields[value] if isinstance(value, str) else value for key, value in c.arguments.items()}
        return target.insert({key.rstrip("'"): 0 for key in target.operands} | values)
    return word


def transformations(word: int) -> set[int]:
    """ "Transformed Instruction or Pseudoinstruction": loads, stores, AMOs, HLV and HSV, with any address offset."""
    compressed = word & 3 != 3
    word = expand(word)
    opcode, funct3 = word & 0x7F, word >> 12 & 7
    if opcode in (0x03, 0x07):  # loads keep funct3, rd, opcode
        base = word & 0x0000_7FFF
    elif opcode in (0x23, 0x27):  # stores keep rs2, funct3, opcode
        base = word & 0x01F0_707F
    elif opcode == 0x2F or (opcode == 0x73 and funct3 == 4):  # AMOs, HLV, HSV: all but rs1
        base = word & ~(31 << 15)
    else:
        return set()
    if compressed:
        base &= ~2
    return {base | offset << 15 for offset in range(16)}


@dataclass
class Outcome:
    """`differences`: empty when the two agree. `notes`: how often each rule allowed something."""

    steps: int = 0
    ending: str = ""
    differences: list[Difference] = field(default_factory=list)
    pc: int = 0
    mode: int = 0
    word: int | None = None
    notes: dict[str, int] = field(default_factory=dict)
    traps: dict[int, int] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return not self.differences

    def describe(self) -> str:
        from .text import disassemble

        head = f"step {self.steps}, pc {self.pc:#x} in {MODE_NAMES.get(self.mode, '?')}"
        if self.word is not None:
            head += f", {self.word:08x} {disassemble(self.word)}"
        return head + "".join(f"\n    {difference}" for difference in self.differences)


class Lockstep:
    """Both sides. Programs run one after the other on the same pair."""

    def __init__(self, memory: int = 4 << 20) -> None:
        self.memory = memory
        self.spike = Spike(memory, clint=FAR_CLINT)
        self.ours = Ours(memory)

    def run(
        self, image: Mapping[int, bytes], pc: int = RAM_BASE, steps: int = 2000, stride: int = 1,
        compare: Iterable[tuple[int, int]] = (),
    ) -> Outcome:  # fmt: skip
        """`compare`: further ranges (address, length) of memory that the end compares."""
        outcome = self._run(image, pc, steps, stride, compare)
        if outcome.differences and stride > 1:
            return self._run(image, pc, outcome.steps, 1, compare)
        return outcome

    def _run(
        self, image: Mapping[int, bytes], pc: int, steps: int, stride: int, compare: Iterable[tuple[int, int]]
    ) -> Outcome:
        ours, spike = self.ours, self.spike
        ours.reset(pc)
        spike.reset(pc)
        for address, data in image.items():
            ours.write(address, data)
            spike.write(address, data)
        outcome = Outcome()
        now, mode, x, f = ours.registers()
        stuck = 0
        for outcome.steps in range(1, steps + 1):
            was, was_mode, was_x = now, mode, x
            ending = ours.step()
            if ours.slept:
                spike.set_time(ours.step_time)
            spike.step(1)
            # Every time, because Spike looks at its timers only when the clock is set.
            spike.set_time(ours.time)
            now, mode, x, f = ours.registers()
            theirs = spike.registers()
            if (now, mode, x, f) != theirs or outcome.steps % stride == 0 or ending:
                if not self._compare(outcome, was, was_mode, was_x, (now, mode, x, f), theirs):
                    return outcome
            if outcome.ending:
                return outcome
            if ending:
                outcome.ending = ending
                break
            if not ours.retired and self._partial_store(outcome, was, was_mode, was_x):
                return outcome
            stuck = 0 if ours.retired else stuck + 1
            if stuck >= _STUCK:
                outcome.ending = "trap loop"
                break
        for start, length in (*((address, len(data)) for address, data in image.items()), *compare):
            for at in range(start, start + length, PAGE):
                count = min(PAGE, start + length - at)
                mine, other = ours.read(at, count), spike.read(at, count)
                if mine != other:
                    first = next(i for i in range(count) if mine[i] != other[i]) & -8
                    outcome.differences.append(Difference(
                        f"memory {at + first:#x}", int.from_bytes(mine[first : first + 8], "little"),
                        int.from_bytes(other[first : first + 8], "little"),
                    ))  # fmt: skip
        return outcome

    def _compare(
        self, outcome: Outcome, pc: int, mode: int, x: list[int],
        mine: tuple[int, int, list[int], list[int]], theirs: tuple[int, int, list[int], list[int]],
    ) -> bool:  # fmt: skip
        """Everything; False when a difference is not allowed."""
        ours, spike = self.ours, self.spike
        mine_csrs, their_csrs = ours.csrs(COMPARED), spike.csrs(COMPARED)
        if mine == theirs and mine_csrs == their_csrs:
            return True
        differences = []
        for name, a, b in zip(("pc", "mode"), mine[:2], theirs[:2], strict=True):
            if a != b:
                differences.append(Difference(name, a, b))
        for prefix, file_a, file_b in (("x", mine[2], theirs[2]), ("f", mine[3], theirs[3])):
            differences += [
                Difference(f"{prefix}{i}", a, b) for i, (a, b) in enumerate(zip(file_a, file_b, strict=True)) if a != b
            ]
        for name, mask, a, b in zip(_NAMES, _MASKS, mine_csrs, their_csrs, strict=True):
            if (a ^ b) & mask:
                differences.append(Difference(name, a, b))
        if not differences:
            return True
        context = Context(ours, spike, pc, mode, x, ours.fetch(pc, mode))
        left = []
        for difference in differences:
            rule = allowed.decide(difference, context)
            if rule is None:
                left.append(difference)
                continue
            outcome.notes[rule.title] = outcome.notes.get(rule.title, 0) + 1
            if rule.ends:
                outcome.ending = rule.title
                return True
            self._adopt(difference)
        outcome.pc, outcome.mode, outcome.word = pc, mode, context.word
        outcome.differences = left
        return not left

    def _partial_store(self, outcome: Outcome, pc: int, mode: int, x: list[int]) -> bool:
        """After a trap: a store over the end of a page may have written the part that did not fault. True: it wrote
        something else as well."""
        ours, spike = self.ours, self.spike
        word = ours.fetch(pc, mode)
        full = expand(word) if word is not None else 0
        if full & 0x7F not in (0x23, 0x27) and not (full & 0x7F == 0x73 and full >> 12 & 7 == 4):
            return False
        for at in range(RAM_BASE, RAM_BASE + self.memory, PAGE):
            mine, other = ours.read(at, PAGE), spike.read(at, PAGE)
            if mine == other:
                continue
            if mine[: PAGE - 7] != other[: PAGE - 7]:
                first = next(i for i in range(PAGE) if mine[i] != other[i])
                outcome.pc, outcome.mode, outcome.word = pc, mode, word
                outcome.differences = [Difference(f"memory {at + first:#x}", mine[first], other[first])]
                return True
            spike.write(at, mine)
            title = allowed.PARTIAL_STORE.title
            outcome.notes[title] = outcome.notes.get(title, 0) + 1
        return False

    def _adopt(self, difference: Difference) -> None:
        """Give Spike this hart's value."""
        name, value = difference.name, difference.ours
        if name in csrs.BY_NAME:
            if name in ("mip", "sip", "hip", "vsip"):
                self.spike.clear_timers(self.ours.time)
                return
            self.spike.write_csr(csrs.BY_NAME[name].number, value)
        elif name == "pc":
            self.spike.pc = value
        elif name[0] == "x":
            self.spike.set_x(int(name[1:]), value)
        elif name[0] == "f":
            self.spike.set_f(int(name[1:]), value)
