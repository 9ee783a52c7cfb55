"""Commands given to a machine without a screen."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from desk import with_page_features

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import commands, machines
from rvtui.session import Session
from rvtui.subjects import by_name


class NoScreen:
    """Keeps what commands ask of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.on_progress: Callable[[], None] = lambda: None

    def goto(self, pane: str) -> None:
        self.asked.append(("goto", pane))

    def walk(self, address: int, access: Access, mode: Mode | None) -> None:
        self.asked.append(("walk", address, access, mode))

    def zoom(self) -> None:
        self.asked.append(("zoom",))

    def help(self) -> None:
        self.asked.append(("help",))

    def quit(self, code: int | None) -> None:
        self.asked.append(("quit",))

    def progress(self, text: str) -> None:
        self.asked.append(("progress", text))
        self.on_progress()


class Bench:
    """A session that stands still between commands."""

    def __init__(self, machine: Machine) -> None:
        self.session = Session(machine, pace=False)
        self.session.ends_idle = True
        self.session.subscribe("names", lambda machine, subject: tuple(by_name(machine)))
        self._stood = threading.Event()
        self.session.on_view = self._stood.set
        self.session.start()
        self.screen = NoScreen()
        self.context = commands.Context(self.session, self.screen, follow=self._follow)
        self._followed: list[tuple[str, str]] = []

    @property
    def machine(self) -> Machine:
        return self.session.machine

    def give(self, line: str) -> Any:
        """The answer, once the machine stands still again."""
        answer = commands.invoke(self.context, line).result(30)
        deadline = time.monotonic() + 60
        while self.session.running:
            assert time.monotonic() < deadline, f"{line} does not end"
            self._stood.wait(0.5)
            self._stood.clear()
        followed, self._followed = self._followed, []
        for each, _ in followed:
            self.give(each)
        return answer

    def _follow(self, lines: Iterable[tuple[str, str]]) -> None:
        self._followed = list(lines)

    def say(self, line: str) -> str:
        return str(self.give(line))

    def data(self, line: str) -> Any:
        return self.give(line).data

    def fails(self, line: str) -> str:
        """The error, which is one line."""
        try:
            answer = self.give(line)
        except EmulatorError as error:
            assert "\n" not in str(error) and str(error)
            return str(error)
        raise AssertionError(f"{line}: no error but {answer}")

    def ask(self, question: Callable[[Machine], Any]) -> Any:
        return self.session.call(question).result(30)


@contextlib.contextmanager
def commanded(guests: list[str] | Machine) -> Iterator[Bench]:
    bench = Bench(guests if isinstance(guests, Machine) else machines.with_guests(guests))
    try:
        yield bench
    finally:
        bench.session.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with commanded(["hello", "ticker"]) as found:
        yield found


@pytest.fixture
def translated() -> Iterator[Bench]:
    with commanded(with_page_features()) as found:
        yield found
