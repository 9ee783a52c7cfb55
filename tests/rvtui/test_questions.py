"""What hypervisor developers ask, and how many keys the answer takes: none above five, most one or two.

The questions and their keys are those of rvtui/docs/questions.md. Each is asked of a machine that stands still, in the
application at 120x40, by keys alone; what must be on screen then is written from the guests' sources and the manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from desk import Desk, opened

from emulator.hart import ExitReason
from emulator.machine import Machine
from rvtui import machines

LEDGER = 0x1_4000_0010
"""Where the guest `faulty` wants to write."""


def guests() -> Machine:
    """ticker, faulty and echo under the built-in hypervisor, after a second; ticker is looked at."""
    machine = machines.with_guests(["ticker", "faulty", "echo"])
    assert machine.run(60_000).reason is ExitReason.BUDGET
    return machine


def inside() -> Machine:
    """The small hypervisor on the bare machine, while its two guests live."""
    machine = machines.bare(
        "tiny-hypervisor", memory=64 << 20, harts=1, dtb=None, kernel=None, initrd=None, append="", drives=(),
        network=True, shares=(), reboot=True, isa="max", flash=(), fw_cfg=(),
    )[0]  # fmt: skip
    assert machine.run(5_000_000).reason is ExitReason.BUDGET
    return machine


@dataclass(frozen=True)
class Question:
    asks: str
    keys: tuple[str, ...]
    shows: str
    """A regular expression that is found in what stands on screen."""
    scene: Callable[[], Machine] = guests
    writes: str = ""
    """A file that the keys write."""


PAGE = Path(__file__).resolve().parents[2] / "rvtui" / "docs" / "questions.md"
KEYS = {
    asks: tuple(re.findall(r"`(\S+)`", keys))
    for asks, keys in re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    if asks != "question"
}
"""What the page tells people."""


def ask(asks: str, shows: str, scene: Callable[[], Machine] = guests, writes: str = "") -> Question:
    return Question(asks, KEYS[asks], shows, scene, writes)


QUESTIONS = (
    # The guests, and the machine.
    ask("Which guests are there, what does each do, and where?", r"ticker .*\n.*faulty .*idle .*sleep_a_second"),
    ask("Why does the machine stand still?", r"stopped|ready"),
    ask("How many instructions did it run, and how long is that in its own time?", r"60,000 instr +\d+\.\d+ s"),
    ask("Who runs on the bare machine, under which VMID?", r"VMID 1\b.*\n.*VMID 2\b", inside),
    ask("What did the other guest print last?", r"again every second"),
    ask("How do I find out more?", r"Help"),
    # Where it stands.
    ask("Which instruction is next, and what will it do?", r"▶ +[0-9a-f]{8} .*\n(?s:.*)pc = |▶ +[0-9a-f]{8} "),
    ask("What is in the registers?", r"sp +[0-9a-f]{16}"),
    ask("Which registers did the last instruction change?", r"pc +[0-9a-f]{16}\*"),
    ask("Through which functions did it come here?", r"#1 "),
    ask("Which line of the source is that?", r"ticker\.c|guest\.h|print\.c|console\.c|trap\.S"),
    # CSRs, and the two worlds.
    ask("What is in hgatp, and which VMID is that?", r"hgatp .*Sv39x4 VMID=1"),
    ask("What does each field of hstatus mean?", r"SPVP"),
    ask("Which register does sstatus name now?", r"names reach .*▶ VS bank"),
    ask("How often was each way between the modes taken?", r"Transitions +\d"),
    # Translation.
    ask("Where does pc lead, through both stages?", r"✓ physical 0x"),
    ask("Which entries does that take, and what does each bit of one say?", r"V=1 valid"),
    ask("What does this guest see where: its guest-physical pages and ours?", r"0x80000000 → 0x8\w+ +rwx u-ad"),
    ask("Which virtual address is at which physical one, both stages together?", r"80000000 +12 KiB → +8\w+"),
    ask("Is the page there for this access in that mode?", r"store in VS"),
    # Traps.
    ask("Which guest faulted, and on which address?", r"VS→VS faulty store/AMO page fault .*0x140000010"),
    ask("Because of which bit of which entry?", r"W=0: not writable"),
    ask("What would set it right?", r"pte 0x140000010 store VS vs0 .*\+w"),
    ask("Who took the last trap, and by which bit of which register?", r"taken in HS because \w+"),
    ask("What did that trap write to which CSR, by which rule?", r"sepc +[0-9a-f]{16}"),
    ask("What happened last, in order?", r"enter ticker"),
    ask("Why did the guest leave for its hypervisor, how often?", r"EXC_SUPERVISOR_SYSCALL +\d+"),
    # Interrupts, time, devices.
    ask("Why is this interrupt not taken?", r"VSTI .*(not pending|vstimecmp in [\d,]+ t)"),
    ask("When does the guest's timer fire?", r"VSTI .*vstimecmp in [\d,]+ t"),
    ask("Who had the hart when?", r"VS"),
    ask("Which devices does it have, and in which state are they?", r"uart"),
    # Memory.
    ask("What is in the guest's memory around its stack?", r"[0-9a-f]{2} [0-9a-f]{2} "),
    # Stops.
    ask("Stop when a guest faults like that again", r"stop 1: trap 15 from VS to VS in faulty"),
    ask("Stop when the worlds are switched", r"stop 1: mode switch"),
    ask("Stop here the next time", r"breakpoint at 0x\w+ set"),
    ask("Which stops are there, and how often were they hit?", r"none: b in the disassembly"),
    ask("Where does this function return to? Run until it does", r"returns? to|returned"),
    # Keeping, comparing.
    ask("Keep the machine as it is", r"saved", writes="machine.snap"),
    ask("Which states were kept, and what differs from now?", r"[Ss]napshots"),
    ask("Keep a picture of this pane", r"\.svg", writes="*.svg"),
    ask("Which commands are there for memory?", r"(?s)Help.*mem"),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asks)
async def test_the_answer_is_keys_away(question: Question) -> None:
    async with opened(question.scene(), (120, 40), running=False) as desk:
        await _pressed(desk, question)
        await desk.until(lambda: re.search(question.shows, desk.text()), f"{question.asks}: {question.shows}")
        if question.writes:
            await desk.until(lambda: list(Path.cwd().glob(question.writes)), question.writes)


async def _pressed(desk: Desk, question: Question) -> None:
    names = {":": "colon", "?": "question_mark", "]": "right_square_bracket", "Enter": "enter", "/": "slash"}
    for key in question.keys:
        await desk.press(names.get(key, key))
        await desk.settled()


def test_there_are_forty_none_takes_more_than_five_keys_and_most_one_or_two() -> None:
    counts = [len(question.keys) for question in QUESTIONS]
    assert len(counts) >= 40 and max(counts) <= 5
    assert sum(count <= 2 for count in counts) >= 30
    assert [question.asks for question in QUESTIONS] == list(KEYS)
