"""Steps both sides and compares after every step.

A step is one instruction retired or one trap taken. Compared are pc, mode, x and f after every step; the CSRs after
every `stride` steps; memory at the end. A difference found late is looked for again from the start, with CSRs after
every step. At last the same program runs on this hart alone, in one go and in pieces, as blocks of decoded code and not
instruction by instruction, and must end in the state that stepping ended in.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emulator.isa import ISA, csrs

from . import allowed
from .ours import HartSide, MachineSide, Ours
from .spike import FAR_CLINT, MCYCLE, PAGE, RAM_BASE, Spike
from .text import disassemble

MODE_NAMES = {0: "U", 1: "HS", 3: "M", 4: "VU", 5: "VS"}
COMPARED: tuple[int, ...] = tuple(
    csr.number for csr in csrs.CSRS
    if csr.number not in allowed.UNCOMPARED_CSRS and csr.name not in allowed.ALIKE
    and not csr.name.startswith(("hpm", "pmpaddr"))
    and csr.name not in ("cycle", "instret", "fflags", "frm")
) + tuple(csrs.BY_NAME[f"pmpaddr{i}"].number for i in range(csrs.PMP_ENTRIES))  # fmt: skip
_NAMES = [csrs.BY_NUMBER[number].name for number in COMPARED]
_MASKS = [~allowed.IGNORED.get(number, 0) for number in COMPARED]
MCOUNTINHIBIT = csrs.BY_NAME["mcountinhibit"].number
_STUCK = 6
"""That many steps without an instruction retired: a trap loop, and the end of the program."""
Registers = tuple[int, int, list[int], list[int]]


@dataclass(frozen=True)
class Difference:
    name: str
    ours: int
    spike: int

    def __str__(self) -> str:
        return f"{self.name}: ours {self.ours:#x}, Spike {self.spike:#x}"


@dataclass(frozen=True)
class Context:
    """What a rule may ask about the step that made the difference: where it began, and this hart after it."""

    ours: HartSide
    pc: int
    mode: int
    x: list[int]
    word: int | None

    @property
    def crosses_page(self) -> bool:
        """The instruction is a load or store over the end of a page."""
        access = data_access(self.word, self.x) if self.word is not None else None
        return access is not None and access[0] % PAGE + access[1] > PAGE

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
    registry = ISA
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


def data_access(word: int, x: list[int]) -> tuple[int, int, bool] | None:
    """(address, bytes, is it a store) of a load, store, HLV or HSV; None for others, AMOs among them."""
    word = expand(word)
    opcode, funct3, base = word & 0x7F, word >> 12 & 7, x[word >> 15 & 31]
    if opcode in (0x03, 0x07):
        immediate, size, store = word >> 20, 1 << (funct3 & 3), False
    elif opcode in (0x23, 0x27):
        immediate, size, store = word >> 25 << 5 | word >> 7 & 31, 1 << (funct3 & 3), True
    elif opcode == 0x73 and funct3 == 4:
        immediate, size, store = 0, 1 << (word >> 26 & 3), bool(word >> 25 & 1)
    else:
        return None
    return base + (immediate ^ 0x800) - 0x800 & (1 << 64) - 1, size, store


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

    @property
    def agrees(self) -> bool:
        return not self.differences

    def describe(self) -> str:
        """Where the two part, and what differs."""
        head = f"step {self.steps}, pc {self.pc:#x} in {MODE_NAMES.get(self.mode, '?')}"
        if self.word is not None:
            head += f", {self.word:08x} {disassemble(self.word)}"
        return head + "".join(f"\n    {difference}" for difference in self.differences)


class Pair:
    """Both sides in the same state, to be stepped together."""

    def __init__(self, ours: HartSide, spike: Spike, memory: int) -> None:
        self.ours, self.spike, self.memory = ours, spike, memory

    def go(self, steps: int, stride: int = 1) -> Outcome:
        """Step until something differs, the program ends, or `steps` are made; memory is compared in the end."""
        ours, spike = self.ours, self.spike
        outcome = Outcome()
        now, mode, x, f = ours.registers()
        wires = ours.wires
        spike.set_wires(wires[0])
        spike.set_timer(wires[1])
        stuck = 0
        for outcome.steps in range(1, steps + 1):
            was, was_mode, was_x = now, mode, x
            ending = ours.step()
            if ours.slept:
                spike.set_time(ours.step_time)
            spike.step(1)
            # Every time, because Spike looks at its timers only when the clock is set.
            spike.set_time(ours.time)
            if ours.idled:
                # "Machine Counters and Timers": whether cycles pass in WFI is the hart's own business; here they do.
                inhibited, cycles = spike.csrs((MCOUNTINHIBIT, MCYCLE))
                if not inhibited & 1:
                    spike.set_counter(MCYCLE, cycles + ours.idled & (1 << 64) - 1)
            if ours.wires != wires:
                wires = ours.wires
                spike.set_wires(wires[0])
                spike.set_timer(wires[1])
            for address, data in ours.host_writes():
                spike.write(address, data)
            now, mode, x, f = ours.registers()
            theirs = spike.registers()
            # After a trap too, while its instruction is known: mtinst and htinst tell of it.
            if (
                (now, mode, x, f) != theirs or outcome.steps % stride == 0 or ending or not ours.retired
            ) and not self._compare(outcome, Context(ours, was, was_mode, was_x, None), (now, mode, x, f), theirs):
                return outcome
            if outcome.ending:
                return outcome
            if ending:
                outcome.ending = ending
                break
            if not ours.retired and self._partly_done(outcome, Context(ours, was, was_mode, was_x, None)):
                return outcome
            stuck = 0 if ours.retired else stuck + 1
            if stuck >= _STUCK:
                outcome.ending = "trap loop"
                break
        self._compare_memory(outcome)
        return outcome

    def _compare_memory(self, outcome: Outcome) -> None:
        for start in self.ours.pages():
            mine, theirs = self.ours.read(start, PAGE), self.spike.read(start, PAGE)
            for at in range(0, PAGE, 8) if mine != theirs else ():
                if mine[at : at + 8] != theirs[at : at + 8]:
                    a, b = (int.from_bytes(data[at : at + 8], "little") for data in (mine, theirs))
                    outcome.differences.append(Difference(f"memory {start + at:#x}", a, b))

    def _compare(self, outcome: Outcome, at: Context, mine: Registers, theirs: Registers) -> bool:
        """Everything but memory; False when a difference is not allowed."""
        ours, spike = self.ours, self.spike
        mine_csrs, their_csrs = ours.csrs(COMPARED), spike.csrs(COMPARED)
        if mine == theirs and mine_csrs == their_csrs:
            return True
        differences = [
            Difference(name, a, b) for name, a, b in zip(("pc", "mode"), mine[:2], theirs[:2], strict=True) if a != b
        ]
        for prefix, file_a, file_b in (("x", mine[2], theirs[2]), ("f", mine[3], theirs[3])):
            differences += [
                Difference(f"{prefix}{i}", a, b) for i, (a, b) in enumerate(zip(file_a, file_b, strict=True)) if a != b
            ]
        differences += [
            Difference(name, a, b)
            for name, mask, a, b in zip(_NAMES, _MASKS, mine_csrs, their_csrs, strict=True)
            if (a ^ b) & mask
        ]
        if not differences:
            return True
        context = Context(ours, at.pc, at.mode, at.x, ours.fetch(at.pc, at.mode))
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
        outcome.pc, outcome.mode, outcome.word = at.pc, at.mode, context.word
        outcome.differences = left
        return not left

    def _partly_done(self, outcome: Outcome, at: Context) -> bool:
        """After a trap: an access over the end of a page may have done its part in one of them. True: memory differs in
        another way."""
        context = replace(at, word=self.ours.fetch(at.pc, at.mode))
        if not context.crosses_page or self.memory > 16 << 20:
            return False
        for page in range(RAM_BASE, RAM_BASE + self.memory, PAGE):
            mine, theirs = self.ours.read(page, PAGE), self.spike.read(page, PAGE)
            for offset in range(0, PAGE, 8) if mine != theirs else ():
                a, b = (int.from_bytes(data[offset : offset + 8], "little") for data in (mine, theirs))
                if a == b:
                    continue
                rule = allowed.decide_memory(offset, a, b)
                if rule is None:
                    outcome.pc, outcome.mode, outcome.word = context.pc, context.mode, context.word
                    outcome.differences = [Difference(f"memory {page + offset:#x}", a, b)]
                    return True
                self.spike.write(page + offset, mine[offset : offset + 8])
                outcome.notes[rule.title] = outcome.notes.get(rule.title, 0) + 1
        return False

    def _adopt(self, difference: Difference) -> None:
        """Give Spike this hart's value."""
        name, value = difference.name, difference.ours
        if name in csrs.BY_NAME:
            if name in ("mcycle", "minstret"):
                self.spike.set_counter(csrs.BY_NAME[name].number, value)
                return
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


class Lockstep:
    """Runs programs that need only RAM, one after the other on the same pair."""

    def __init__(self, memory: int = 4 << 20) -> None:
        self._ours = Ours(memory)
        self._spike = Spike(memory, clint=FAR_CLINT)
        self._pair = Pair(self._ours, self._spike, memory)
        self._again = Ours(memory)

    def run(self, image: Mapping[int, bytes], pc: int = RAM_BASE, steps: int = 2000, stride: int = 1) -> Outcome:
        """From reset at `pc`, with `image` (address to bytes) in memory."""
        self._ours.reset(pc)
        self._spike.reset(pc)
        for address, data in image.items():
            self._ours.write(address, data)
            self._spike.write(address, data)
        outcome = self._pair.go(steps, stride)
        if outcome.differences and stride > 1:
            return self.run(image, pc, outcome.steps, 1)
        for name, sizes in (("in one go", (1 << 40,)), ("in pieces", (3, 17, 64, 5, 250, 2))):
            if outcome.agrees:
                outcome.differences = self._run_again(name, sizes, image, pc)
        return outcome

    def _run_again(self, how: str, sizes: tuple[int, ...], image: Mapping[int, bytes], pc: int) -> list[Difference]:
        """What a run in pieces of other sizes does differently. `spike` of a difference is what stepping led to."""
        stepped, other = self._ours, self._again
        other.reset(pc)
        for address, data in image.items():
            other.write(address, data)
        for size in itertools.cycle(sizes):
            if other.executed >= stepped.executed or not other.run(min(size, stepped.executed - other.executed)):
                break
        differences = []

        def compare(name: str, a: int, b: int) -> None:
            if a != b:
                differences.append(Difference(f"{how}, {name}", a, b))

        a_pc, a_mode, a_x, a_f = other.registers()
        b_pc, b_mode, b_x, b_f = stepped.registers()
        compare("pc", a_pc, b_pc)
        compare("mode", a_mode, b_mode)
        for prefix, file_a, file_b in (("x", a_x, b_x), ("f", a_f, b_f)):
            for i, (a, b) in enumerate(zip(file_a, file_b, strict=True)):
                compare(f"{prefix}{i}", a, b)
        for name, a, b in zip(_NAMES, other.csrs(COMPARED), stepped.csrs(COMPARED), strict=True):
            compare(name, a, b)
        a_traps, b_traps = other.traps(), stepped.traps()
        for key in a_traps.keys() | b_traps.keys():
            compare(f"traps of mode {key[0]} by cause {key[1]}", a_traps.get(key, 0), b_traps.get(key, 0))
        for page in stepped.pages():
            if other.read(page, PAGE) != stepped.read(page, PAGE):
                compare(f"memory {page:#x}", 1, 0)
        return differences

    def replace_spike(self, spike: Spike) -> None:
        """Compare with another configuration of Spike."""
        self._spike = self._pair.spike = spike

    def registers(self) -> Registers:
        """This hart's, after the last run."""
        return self._ours.registers()

    def traps(self) -> dict[tuple[int, int], int]:
        """The traps of the last run: see `HartSide.traps`."""
        return self._ours.traps()


def run_elf(elf: str | os.PathLike[str], steps: int, stride: int = 64, memory: int = 128 << 20) -> Outcome:
    """A bare program in a whole machine, and on Spike with the devices answering as the machine's did."""
    ours = MachineSide(elf, memory)
    spike = Spike(memory, clint=FAR_CLINT, devices=ours.machine.bus.ranges, access=ours.access)
    pc, _, x, _ = ours.registers()
    spike.reset(pc, zero=False)
    for i, value in enumerate(x):
        spike.set_x(i, value)
    for page in ours.pages():
        spike.write(page, ours.read(page, PAGE))
    outcome = Pair(ours, spike, memory).go(steps, stride)
    if outcome.differences and stride > 1:
        return run_elf(elf, outcome.steps, 1, memory)
    return outcome
