"""Tiny programs made here, the command line as a process, and the application under Textual's pilot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emulator.hart import Mode
from emulator.machine import Machine
from rvtui import machines
from rvtui.application import Application
from rvtui.panes.base import Pane
from rvtui.session import Session

T = TypeVar("T")
RAM = 0x8000_0000

# A shell starts background jobs with SIGINT ignored, and they pass that on: the programs under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Instructions that the small programs are made of.
ECALL, EBREAK, WFI, NOP = 0x00000073, 0x00100073, 0x10500073, 0x00000013


def li(register: int, value: int) -> int:
    """addi register, zero, value."""
    return (value & 0xFFF) << 20 | register << 7 | 0x13


def lui(register: int, value: int) -> int:
    return (value & 0xFFFFF) << 12 | register << 7 | 0x37


def jump(offset: int) -> int:
    """jal zero, offset."""
    bits = offset & 0x1FFFFF
    word = (bits >> 20 & 1) << 31 | (bits >> 1 & 0x3FF) << 21 | (bits >> 11 & 1) << 20 | (bits >> 12 & 0xFF) << 12
    return word | 0x6F


def elf(
    words: Iterable[int],
    *,
    base: int = RAM,
    entry: int | None = None,
    machine: int = 243,
    bits: int = 2,
    size: int | None = None,
    physical: int | None = None,
    symbols: Mapping[str, int] | None = None,
) -> bytes:
    """A RISC-V ELF file with one segment and labels; the other keyword arguments make it wrong."""
    code = b"".join(word.to_bytes(4, "little") for word in words)
    header = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    sections, tail = _sections(0x1000 + len(code), symbols) if symbols else (0, b"")
    header += struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, base if entry is None else entry, 64, sections, 0, 64, 56, 1, 64,
        3 if symbols else 0, 0,
    )  # fmt: skip
    program = struct.pack(
        "<IIQQQQQQ", 1, 7, 0x1000, base, base if physical is None else physical, len(code),
        len(code) if size is None else size, 0x1000,
    )  # fmt: skip
    return (header + program).ljust(0x1000, b"\0") + code + tail


def _sections(at: int, symbols: Mapping[str, int]) -> tuple[int, bytes]:
    """A symbol table, its names, and the section headers, to stand from offset `at` on; and where the headers are."""
    names, entries = b"\0", bytes(24)
    for name, value in symbols.items():
        entries += struct.pack("<IBBHQQ", len(names), 0x10, 0, 1, value, 0)
        names += name.encode() + b"\0"
    headers = bytes(64)
    for kind, offset, length, link, each in (
        (2, at, len(entries), 2, 24),
        (3, at + len(entries), len(names), 0, 0),
    ):
        headers += struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, offset, length, link, 0, 8, each)
    return at + len(entries) + len(names), entries + names + headers


FLOOD = elf([li(17, 1), li(10, ord("x")), ECALL, jump(-8)])
"""Prints without end, by SBI's legacy call."""
SPIN = elf([li(5, 0), 0x00128293, jump(-4)])
"""Counts in t0 for ever."""
SLEEP = elf([WFI, jump(-4)])
"""Waits with nothing to wake it."""


def with_page_features(*, types: bool = True) -> Machine:
    """A bare machine in VS-mode. 0x4000_0000 on is 64 KiB by N in both stages, NC by the first; guest-physical
    0x1002_0000 on is two such ranges of I/O; the entry for 0xC000_0000 points where the G-stage maps nothing."""
    N, NC, IO = 1 << 63, 1 << 61, 2 << 61
    machine = Machine(memory=4 << 20)
    hart = machine.harts[0]

    def entry(table: int, index: int, to: int, flags: int) -> None:
        machine.memory.write_int(RAM + table + 8 * index, 8, to >> 12 << 10 | flags)

    entry(0x4_0000, 0, RAM + 0x4_4000, 1)  # the G-stage, 0x8000_0000 to itself
    entry(0x4_0000, 2, RAM + 0x4_5000, 1)
    entry(0x4_5000, 0, RAM, 0xDF)
    entry(0x4_4000, 128, RAM + 0x4_6000, 1)
    for page in range(16):
        entry(0x4_6000, page, RAM + 0x2_8000, 0xDF | N)
        entry(0x4_6000, 32 + page, RAM + 0x8_8000, 0xDF | N | IO)
        entry(0x4_6000, 48 + page, RAM + 0x9_8000, 0xDF | N | IO)
    entry(0x4_6000, 64, RAM, 0xDF | 3 << 61)  # reserved
    entry(0x4_6000, 65, RAM, 0xDF | N)  # no range that there is
    entry(0x5_0000, 1, RAM + 0x5_1000, 1)  # the VS-stage
    entry(0x5_0000, 2, RAM, 0xCF)
    entry(0x5_0000, 3, 0x2000_0000, 1)
    entry(0x5_1000, 0, RAM + 0x5_2000, 1)
    for page in range(16):
        entry(0x5_2000, page, 0x1000_8000, 0xCF | N | NC)
    machine.memory.write_int(RAM, 4, 0x0085_3583)  # ld a1, 8(a0)
    hart.set_csr("pmpaddr0", (1 << 64) - 1)
    hart.set_csr("pmpcfg0", 0x1F)
    hart.set_csr("medeleg", (1 << 64) - 1)
    hart.set_csr("menvcfg", types << 62)
    hart.set_csr("henvcfg", types << 62)
    hart.set_csr("hgatp", 8 << 60 | 5 << 44 | RAM + 0x4_0000 >> 12)
    hart.set_csr("vsatp", 8 << 60 | RAM + 0x5_0000 >> 12)
    hart.mode, hart.pc = Mode.VS, RAM
    return machine


def run(
    *arguments: str | Path, input: bytes | None = b"", timeout: float = 60, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    """`rvtui` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "rvtui", *map(str, arguments)], input=input, capture_output=True, timeout=timeout, **more
    )


def failed(*arguments: str | Path, code: int = 2, **more: Any) -> str:
    """Runs what must fail; returns the one line on standard error."""
    done = run(*arguments, **more)
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert text.count("\n") == 1 and text.startswith("rvtui: "), text
    return text[len("rvtui: ") : -1]


@pytest.fixture
def guest(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a program to a file."""

    def write(data: bytes, name: str = "guest.elf") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


class Desk:
    """The application on a machine, and what a test does with it."""

    def __init__(self, application: Application, pilot: Any, session: Session) -> None:
        self.application, self.pilot, self.session = application, pilot, session

    @property
    def machine(self) -> Machine:
        return self.session.machine

    def screen(self) -> list[str]:
        """What stands on the terminal, row by row."""
        strips = self.application.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def text(self) -> str:
        return "\n".join(self.screen())

    def pane(self, name: str) -> Any:
        return self.application.query_one(f"#{name}", Pane)

    def lines(self, name: str) -> list[str]:
        """The rows of a pane, also those scrolled away."""
        return ["".join(text for text, _ in line) for line in self.pane(name).lines]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Printable text into whatever has the focus."""
        names = {
            " ": "space",
            "=": "equals_sign",
            "+": "plus",
            "-": "minus",
            ".": "full_stop",
            "/": "slash",
            "_": "underscore",
        }
        await self.press(*[names.get(each, each) for each in text])

    async def until(self, true: Callable[[], Any], what: str = "", timeout: float = 15) -> None:
        deadline = time.monotonic() + timeout
        while not true():
            assert time.monotonic() < deadline, f"{what or 'condition'} did not come true\n{self.text()}"
            await asyncio.sleep(0.02)
            await self.pilot.pause()

    async def shows(self, text: str, timeout: float = 15) -> None:
        await self.until(lambda: text in self.text(), repr(text), timeout)

    async def pause(self) -> None:
        """Stop the machine, and wait until the screen shows it stopped."""
        self.session.pause().result(5)
        await self.settled()

    def ask(self, question: Callable[[Machine], T]) -> T:
        """Asked of the machine by the worker, between what else it reads: a look at a virtual CPU that is away borrows
        its hart, so that two looks at once would put back each other's registers."""
        return self.session.call(question).result(20)

    def state_hash(self) -> str:
        return self.ask(Machine.state_hash)

    async def settled(self) -> None:
        """The screen shows the latest view of a machine that stands still."""
        await asyncio.to_thread(lambda: self.session.call(lambda machine: None).result(5))
        sequence = self.session.view.sequence
        await self.until(lambda: self.session.view.sequence > sequence or not self.session._dirty, "a view")
        await self.until(lambda: self.application._sequence == self.session.view.sequence, "the view on screen")
        await self.pilot.pause()


@contextlib.asynccontextmanager
async def opened(
    guests: list[str] | Machine, size: tuple[int, int] = (120, 40), *, running: bool = True, **more: Any
) -> AsyncIterator[Desk]:
    """The application on these guests under the built-in hypervisor, or on a machine. `more` is for Application."""
    machine = guests if isinstance(guests, Machine) else machines.with_guests(guests)
    session = Session(machine)
    session.start(run=running)
    application = Application(session, title="test", **more)
    try:
        async with application.run_test(size=size) as pilot:
            desk = Desk(application, pilot, session)
            yield desk
            for pane in application.query(Pane):
                shown = "\n".join(desk.lines(pane.NAME))
                assert "internal error" not in shown, shown
    finally:
        session.close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that tests write by relative names land in a folder of their own, and so does what is kept of programs; the
    packages are found all the same."""
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / f".{name.lower()}"))
