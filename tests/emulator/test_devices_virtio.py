"""Virtio, against version 1.2 of its specification (sections by name): a driver by hand, and hostile ones."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from assembler import assemble
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import BASE, DATA, Rig

import snapshots
from emulator.bus import Bus
from emulator.console import OUTPUT_LIMIT
from emulator.devices.virtio import Drive, Entropy, Function, Transport, VirtioConsole, block
from emulator.devicetree import parse
from emulator.errors import ConfigurationError, StateError
from emulator.machine import Machine
from emulator.memory import Memory, Region

RAM, ROM = 0x8000_0000, 0x1000
TABLE, AVAILABLE, USED, BUFFERS = RAM + 0x1000, RAM + 0x2000, RAM + 0x3000, RAM + 0x10000
NEXT, WRITE, INDIRECT = 1, 2, 4
VERSION_1, EVENTS, INDIRECTS = 1 << 32, 1 << 29, 1 << 28
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
STATUS, NOTIFY, READY, INTERRUPTS, ACK = 0x70, 0x50, 0x44, 0x60, 0x64


class Board:
    """A transport with 1 MiB of memory, and a driver for it that knows the layout from the specification."""

    def __init__(
        self, function: Function | None = None, features: int = VERSION_1 | INDIRECTS, size: int = 8, ram: int = 1 << 20
    ) -> None:
        self.memory = Memory([Region("ram", RAM, ram), Region("rom", ROM, 0x1000, writable=False)])
        self.transport = Transport(self.memory, irq=1)
        if function is not None:
            self.transport.attach(function)
        self.levels: list[bool] = []
        self.transport.interrupt = self.levels.append
        self.bus = Bus()
        self.bus.add(0, self.transport)
        self.size, self.features, self.offered, self.returned = size, features, 0, 0

    def __getitem__(self, register: int) -> int:
        value = self.bus.read(register, 4)
        assert value is not None
        return value

    def __setitem__(self, register: int, value: int) -> None:
        assert self.bus.write(register, 4, value)

    @property
    def level(self) -> bool:
        return bool(self.levels) and self.levels[-1]

    def negotiate(self) -> None:
        """ "Device Initialization"."""
        self[STATUS] = 0
        self[STATUS] = ACKNOWLEDGE
        self[STATUS] = ACKNOWLEDGE | DRIVER
        for half in (0, 1):
            self[0x24], self[0x20] = half, self.features >> 32 * half & 0xFFFF_FFFF
        self[STATUS] = ACKNOWLEDGE | DRIVER | FEATURES_OK

    def place(self, queue: int = 0, table: int = TABLE, available: int = AVAILABLE, used: int = USED) -> None:
        self[0x30], self[0x38] = queue, self.size
        for register, address in ((0x80, table), (0x90, available), (0xA0, used)):
            self[register], self[register + 4] = address & 0xFFFF_FFFF, address >> 32
        self[READY] = 1

    def start(self, queue: int = 0) -> Board:
        self.negotiate()
        assert self[STATUS] & FEATURES_OK
        self.place(queue)
        self[STATUS] = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
        return self

    def describe(self, *rows: tuple[int, int, int, int], table: int = TABLE, at: int = 0) -> None:
        """Descriptors: (address, length, flags, next)."""
        for number, row in enumerate(rows, at):
            self.memory.write(table + 16 * number, struct.pack("<QIHH", *row))

    def offer(self, head: int = 0) -> None:
        self.memory.write_int(AVAILABLE + 4 + 2 * (self.offered % self.size), 2, head)
        self.offered += 1
        self.memory.write_int(AVAILABLE + 2, 2, self.offered & 0xFFFF)

    def send(self, *rows: tuple[int, int, int, int], queue: int = 0) -> tuple[int, int] | None:
        """Offer one chain from descriptor 0 on. (head, bytes written) as the used ring has them; None if not used."""
        self.describe(*rows)
        self.offer()
        self[NOTIFY] = queue
        return self.used()

    def used(self) -> tuple[int, int] | None:
        if self.memory.read_int(USED + 2, 2) == self.returned & 0xFFFF:
            return None
        at = USED + 4 + 8 * (self.returned % self.size)
        self.returned += 1
        return self.memory.read_int(at, 4), self.memory.read_int(at + 4, 4)

    @property
    def problem(self) -> str:
        """Why it needs a reset; the guest sees that it does."""
        assert bool(self[STATUS] & NEEDS_RESET) == bool(self.transport.problem)
        return self.transport.problem


# --- registers ---


def test_an_unused_transport_is_passed_over() -> None:
    board = Board()
    assert (board[0], board[4], board[8]) == (0x74726976, 2, 0)
    for register in range(0, 0x1000, 4):
        board[register] = 0xFFFF_FFFF
    assert all(board[register] == 0 for register in range(0x10, 0x1000, 4))
    assert board.transport.state() == {} and not board.level
    board.transport.restore({})


@pytest.mark.parametrize(
    ("function", "device", "queues"), [(Entropy, 4, [128]), (VirtioConsole, 3, [64, 64])], ids=["entropy", "console"]
)
def test_identification_and_features(function: type[Function], device: int, queues: list[int]) -> None:
    board = Board(function())
    assert (board[0], board[4], board[8]) == (0x74726976, 2, device)
    board[0x14] = 1
    assert board[0x10] & 1, "VIRTIO_F_VERSION_1"
    board[0x14] = 2
    assert board[0x10] == 0
    board[0x14] = 0
    assert board[0x10] & (INDIRECTS | EVENTS) == INDIRECTS | EVENTS
    for number, most in enumerate([*queues, 0]):
        board[0x30] = number
        assert board[0x34] == most and board[READY] == 0
    board[0x30] = 0xFFFF_FFFF
    board[READY] = 1
    assert board[0x34] == 0 and board[READY] == 0
    assert [board[at] for at in range(0xB0, 0xC0, 4)] == [0xFFFF_FFFF] * 4, "there is no shared memory"


@pytest.mark.parametrize("features", [1 << 24, VERSION_1 | 1 << 34, VERSION_1 | 1 << 33, VERSION_1 | 1 << 63])
def test_features_that_are_not_offered_are_refused(features: int) -> None:
    board = Board(Entropy(), features)
    board.negotiate()
    assert board[STATUS] == ACKNOWLEDGE | DRIVER
    board.place()
    board[STATUS] = 15
    assert not board[STATUS] & DRIVER_OK
    assert board.send((BUFFERS, 8, WRITE, 0)) is None


def test_drivers_that_leave_out_steps_as_qemu_allows() -> None:
    board = Board(Entropy(), features=0).start()
    assert board.send((BUFFERS, 8, WRITE, 0)) == (0, 8)
    board = Board(Entropy())
    board.place()
    board[STATUS] = ACKNOWLEDGE | DRIVER | DRIVER_OK
    assert board[STATUS] == 7 and board.send((BUFFERS, 8, WRITE, 0)) == (0, 8)


def test_features_stand_once_accepted() -> None:
    board = Board(Entropy())
    board.negotiate()
    before = board.transport.driver_features
    board[0x24], board[0x20] = 0, 0xFFFF_FFFF
    assert board.transport.driver_features == before


def test_control_registers_are_four_bytes_wide() -> None:
    board = Board(Entropy()).start()
    assert board.bus.read(0, 1) == board.bus.read(0, 2) == board.bus.read(0, 8) == 0
    for size in (1, 2, 8):
        board.bus.write(STATUS, size, 0)
    assert board[STATUS] == 15


def test_a_queue_that_is_ready_stands_still() -> None:
    board = Board(Entropy()).start()
    before = board.transport.state()
    board[0x38] = 4
    for register in (0x80, 0x84, 0x90, 0x94, 0xA0, 0xA4):
        board[register] = 0
    assert board.transport.state() == before and board[READY] == 1
    board[READY] = 0
    assert board[READY] == 0 and board.send((BUFFERS, 8, WRITE, 0)) is None


def test_reset() -> None:
    board = Board(Entropy()).start()
    fresh = Board(Entropy()).transport.state()
    board.send((BUFFERS, 8, WRITE, 0))
    assert board.level and board[INTERRUPTS] == 1
    board[STATUS] = 0
    assert board[STATUS] == 0 and not board.level and board[INTERRUPTS] == 0 and board[READY] == 0
    assert board.transport.state() | {"function": 0} == fresh | {"function": 0}


def test_nothing_is_used_before_driver_ok_and_what_waits_then_is() -> None:
    board = Board(Entropy())
    board.negotiate()
    board.place()
    assert board.send((BUFFERS, 8, WRITE, 0)) is None
    board[STATUS] = 15
    assert board.used() == (0, 8) and board.level


# --- queues ---


def test_interrupts_are_acknowledged() -> None:
    board = Board(Entropy()).start()
    board.send((BUFFERS, 8, WRITE, 0))
    board[ACK] = 2
    assert board.level and board[INTERRUPTS] == 1
    board[ACK] = 1
    assert not board.level and board[INTERRUPTS] == 0


def test_the_ring_wraps_and_so_do_its_indexes() -> None:
    board = Board(Entropy(), size=4).start()
    board.describe(*[(BUFFERS + 64 * n, n + 1, WRITE, 0) for n in range(4)])
    for turn in range(0x10010):
        board.offer(turn % 4)
        if turn % 3 == 2:
            board[NOTIFY] = 0
            for n in (turn - 2, turn - 1, turn):
                assert board.used() == (n % 4, n % 4 + 1)
    assert board.problem == ""
    before = board.transport.state()
    board.transport.restore(before)
    assert board.transport.state() == before


def test_a_queue_that_is_set_up_again_begins_anew() -> None:
    board = Board(Entropy()).start()
    board.send((BUFFERS, 8, WRITE, 0))
    board[READY] = 0
    board.offered = board.returned = 0
    board.memory.write(AVAILABLE, bytes(32))
    board.memory.write(USED, bytes(128))
    board.place()
    assert board.send((BUFFERS, 9, WRITE, 0)) == (0, 9)


def test_no_interrupt_flag() -> None:
    board = Board(Entropy()).start()
    board.memory.write_int(AVAILABLE, 2, 1)
    assert board.send((BUFFERS, 8, WRITE, 0)) == (0, 8) and not board.level
    board.memory.write_int(AVAILABLE, 2, 0)
    assert board.send((BUFFERS, 8, WRITE, 0)) == (0, 8) and board.level


@pytest.mark.parametrize("start", [0, 0xFFFE])
def test_interrupts_by_index(start: int) -> None:
    """ "Used Buffer Notification Suppression": when the index passes used_event; avail_event says all was seen."""
    board = Board(Entropy(), VERSION_1 | EVENTS, size=4).start()
    board.memory.write_int(AVAILABLE, 2, 1)  # the flag counts for nothing now
    queue = board.transport.queues[0]
    queue.seen = queue.done = board.offered = start
    raised = []
    for number in range(6):
        board.memory.write_int(AVAILABLE + 4 + 2 * 4, 2, start + 3 & 0xFFFF)
        board.describe((BUFFERS, 8, WRITE, 0))
        board.offer()
        board[NOTIFY] = 0
        raised.append(board[INTERRUPTS])
        board[ACK] = 1
        assert board.memory.read_int(USED + 4 + 8 * 4, 2) == start + number + 1 & 0xFFFF
    assert raised == [0, 0, 0, 1, 0, 0]


def test_several_at_once_are_one_interrupt_if_the_event_is_among_them() -> None:
    for event, wanted in [(0, 1), (2, 1), (3, 0), (0xFFFF, 0)]:
        board = Board(Entropy(), VERSION_1 | EVENTS).start()
        board.describe((BUFFERS, 8, WRITE, 0))
        board.memory.write_int(AVAILABLE + 4 + 2 * 8, 2, event)
        for _ in range(3):
            board.offer()
        board[NOTIFY] = 0
        assert board[INTERRUPTS] == wanted, event


def test_chains_and_indirect_tables_are_one_stream() -> None:
    whole = Board(Entropy()).start()
    whole.send((BUFFERS, 100, WRITE, 0))
    wanted = whole.memory.read(BUFFERS, 100)
    assert len(set(wanted)) > 50
    cut = Board(Entropy()).start()
    parts = [(BUFFERS, 33, WRITE | NEXT, 1), (BUFFERS + 33, 0, WRITE | NEXT, 2), (BUFFERS + 33, 67, WRITE, 0)]
    assert cut.send(*parts) == (0, 100)
    assert cut.memory.read(BUFFERS, 100) == wanted
    # A normal descriptor, then a table of more entries than the ring has.
    table = BUFFERS + 0x1000
    wide = Board(Entropy()).start()
    wide.describe(*[(BUFFERS + 10 + n, 1, WRITE | (NEXT if n < 89 else 0), n + 1) for n in range(90)], table=table)
    assert wide.send((BUFFERS, 10, WRITE | NEXT, 1), (table, 16 * 90, INDIRECT | WRITE, 0)) == (0, 100)
    assert wide.memory.read(BUFFERS, 100) == wanted and not wide.problem


HOSTILE = {
    "loop": [(BUFFERS, 1, WRITE | NEXT, 1), (BUFFERS, 1, WRITE | NEXT, 0)],
    "own loop": [(BUFFERS, 1, WRITE | NEXT, 0)],
    "leads to 8": [(BUFFERS, 1, WRITE | NEXT, 8)],
    "leads to 65535": [(BUFFERS, 1, WRITE | NEXT, 0xFFFF)],
    "not memory": [(0xDEAD_0000, 1, WRITE, 0)],
    "1048577 bytes, is not memory": [(RAM, (1 << 20) + 1, WRITE, 0)],
    "is not memory": [((1 << 64) - 8, 16, WRITE, 0)],
    "read-only": [(ROM, 16, WRITE, 0)],
    "follows one for writing": [(BUFFERS, 1, WRITE | NEXT, 1), (BUFFERS, 1, 0, 0)],
    "stands in one itself": [(TABLE, 128, INDIRECT, 0)],
    "with NEXT": [(BUFFERS, 16, INDIRECT | NEXT, 1), (BUFFERS, 1, WRITE, 0)],
    "table of 17 bytes": [(BUFFERS, 17, INDIRECT, 0)],
    "table of 0 bytes": [(BUFFERS, 0, INDIRECT, 0)],
    "table of 2064 bytes": [(BUFFERS, 129 * 16, INDIRECT, 0)],
    "indirect table at 0xdead0000, 16 bytes, is not memory": [(0xDEAD_0000, 16, INDIRECT, 0)],
}


@pytest.mark.parametrize(("words", "rows"), HOSTILE.items(), ids=list(HOSTILE))
def test_what_breaks_the_rules_needs_a_reset(words: str, rows: list[tuple[int, int, int, int]]) -> None:
    board = Board(Entropy()).start()
    assert board.send(*rows) is None
    assert words.replace("own loop", "loop") in board.problem and "queue 0" in board.problem
    assert board[INTERRUPTS] == 2 and board.level, "a configuration change"
    board[STATUS] = 15
    assert board[STATUS] & NEEDS_RESET, "only a reset helps"
    assert board.send((BUFFERS, 8, WRITE, 0)) is None
    board[STATUS] = 0
    assert not board.level and board.problem == ""
    board.offered = board.returned = 0
    board.memory.write(AVAILABLE, bytes(32))
    board.memory.write(USED, bytes(128))
    assert board.start().send((BUFFERS, 8, WRITE, 0)) == (0, 8) and board.problem == ""


def test_a_loop_is_noticed_when_it_is_longer_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(Entropy()).start()
    board.describe((BUFFERS, 1, WRITE | NEXT, 0))
    board.offer()
    read, places = board.memory.read, []
    monkeypatch.setattr(board.memory, "read", lambda address, length: places.append(address) or read(address, length))
    board[NOTIFY] = 0
    assert board.problem and places.count(TABLE) == 8


def test_a_ring_with_event_indexes_is_longer() -> None:
    end = RAM + (1 << 20)
    for features, words in [(0, ""), (EVENTS, "not memory")]:
        for where in ({"available": end - 4 - 2 * 8}, {"used": end - 4 - 8 * 8}):
            board = Board(Entropy(), VERSION_1 | features)
            board.negotiate()
            board.place(**where)
            assert words in board.problem and bool(words) == bool(board.problem)


def test_indirect_tables_must_be_negotiated() -> None:
    board = Board(Entropy(), VERSION_1).start()
    board.describe((BUFFERS + 64, 8, WRITE, 0), table=BUFFERS)
    assert board.send((BUFFERS, 16, INDIRECT, 0)) is None
    assert "not negotiated" in board.problem


def test_indexes_that_lie() -> None:
    board = Board(Entropy()).start()
    board.memory.write_int(AVAILABLE + 2, 2, 9)
    board[NOTIFY] = 0
    assert "available index is 9 ahead" in board.problem
    board = Board(Entropy()).start()
    board.offer(8)
    board[NOTIFY] = 0
    assert "names descriptor 8 of 8" in board.problem
    board[NOTIFY] = 1
    board[NOTIFY] = 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"table": TABLE + 8}, "multiple of 16"),
        ({"available": AVAILABLE + 1}, "multiple of 2"),
        ({"used": USED + 2}, "multiple of 4"),
        ({"table": RAM + (1 << 20) - 64}, "descriptor table at 0x800fffc0, 128 bytes, is not memory"),
        ({"available": 0}, "available ring at 0x0"),
        ({"used": ROM}, "read-only"),
        ({"used": (1 << 64) - 4}, "not memory"),
        ({"size": 0}, "size is 0"),
        ({"size": 3}, "size is 3"),
        ({"size": 256}, "size is 256"),
        ({"size": 1 << 31}, "size is"),
    ],
)
def test_queues_in_impossible_places(where: dict[str, int], words: str) -> None:
    board = Board(Entropy())
    board.negotiate()
    board.size = where.pop("size", board.size)
    board.place(**where)
    assert words in board.problem and not board.level
    board[STATUS] = 15
    assert board.level and board[INTERRUPTS] == 2


def test_one_notification_is_bounded_work() -> None:
    board = Board(Entropy(), size=128).start()
    board.describe(*[(RAM, 1 << 20, WRITE | (NEXT if n < 127 else 0), n + 1) for n in range(128)], table=TABLE)
    # Answers go over the whole ring, too: the device looks at it once.
    board.describe(*[(BUFFERS, 1 << 16, WRITE | (NEXT if n < 127 else 0), n + 1) for n in range(128)])
    for _ in range(128):
        board.offer(0)
    start = time.perf_counter()
    board[NOTIFY] = 0
    assert time.perf_counter() - start < 5
    assert board.used() == (0, 4096)


places = st.sampled_from(
    [RAM, TABLE, TABLE + 16, AVAILABLE, USED, BUFFERS, RAM + (1 << 20) - 8, ROM, 0, (1 << 64) - 16]
)
rows = st.tuples(
    places | st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 16, 17, 48, 512, 4096, 1 << 20, (1 << 32) - 1]),
    st.sampled_from([0, 1, 2, 3, 4, 5, 7]) | st.integers(0, 0xFFFF),
    st.integers(0, 9) | st.integers(0, 0xFFFF),
)
registers = st.tuples(st.integers(0, 0x120).map(lambda n: 4 * n % 0x130), st.integers(0, (1 << 32) - 1))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.lists(rows, min_size=1, max_size=8)),
        st.tuples(st.just("offer"), st.integers(0, 9)),
        st.tuples(st.just("index"), st.integers(0, 0xFFFF)),
        st.tuples(st.just("notify"), st.integers(0, 2)),
        st.tuples(st.just("register"), registers),
        st.tuples(st.just("restart"), st.integers(0, 1)),
        st.tuples(st.just("feed"), st.binary(max_size=20)),
    ),
    max_size=30,
)


def play(board: Board, what: str, value: Any) -> None:
    match what:
        case "rows":
            board.describe(*value)
        case "offer":
            board.offer(value)
        case "index":
            board.memory.write_int(AVAILABLE + 2, 2, value)
        case "notify":
            board[NOTIFY] = value
        case "register":
            board[value[0]] = value[1]
        case "restart":
            board.start(value)
        case "feed" if isinstance(board.transport.function, VirtioConsole):
            board.transport.function.console.feed(value)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sectors, each filled with its number from 1."""
    path = tmp_path_factory.mktemp("virtio") / "disk.img"
    path.write_bytes(b"".join(bytes([n]) * 512 for n in range(1, 9)))
    return path


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(["entropy", "console", "block"]), steps=steps, features=st.sampled_from([0, EVENTS]))
def test_any_driver_is_survived_and_saved_exactly(
    image: Path, kind: str, steps: list[tuple[str, Any]], features: int
) -> None:
    def board() -> Board:
        function = {"entropy": Entropy, "console": VirtioConsole, "block": lambda: Drive(image)}[kind]()
        return Board(function, VERSION_1 | INDIRECTS | features)

    one, two = board().start(), board()
    for step in steps[: len(steps) // 2]:
        play(one, *step)
    two.transport.restore(one.transport.state())
    for region in one.memory.regions:
        two.memory.write(region.base, one.memory.read(region.base, region.size))
    two.offered = one.offered
    for step in steps[len(steps) // 2 :]:
        play(one, *step)
        play(two, *step)
        assert one.transport.state() == two.transport.state()
        assert one.level == bool(one[INTERRUPTS]) == two.level
        assert bool(one[STATUS] & NEEDS_RESET) == bool(one.transport.problem)
    assert one.memory.read(RAM, 1 << 20) == two.memory.read(RAM, 1 << 20)
    assert one.memory.read(ROM, 0x1000) == bytes(0x1000)


# --- entropy ---


def test_entropy_is_the_seeds_and_never_the_same_twice() -> None:
    def draw(seed: int) -> list[bytes]:
        board = Board(Entropy(seed)).start()
        found = []
        for length in (64, 64, 1, 10_000):
            used = board.send((BUFFERS, length, WRITE, 0))
            assert used == (0, min(length, 4096))
            found.append(board.memory.read(BUFFERS, used[1]))
        return found

    assert draw(7) == draw(7) and draw(7) != draw(8)
    first, second, *_ = draw(7)
    assert first != second and len(set(first + second)) > 80
    with pytest.raises(ConfigurationError, match="seed"):
        Entropy(-1)


# --- block ---

HEADER, STATUS_AT = BUFFERS, BUFFERS + 0x100
PAYLOAD = BUFFERS + 0x1000


class Disk(Board):
    def __init__(self, drive: Drive, ram: int = 1 << 20) -> None:
        super().__init__(drive, ram=ram)
        self.drive = drive
        self.start()

    def request(self, kind: int, sector: int, length: int, data: bytes | None = None) -> tuple[int, int, bytes]:
        """(status, bytes written as the used ring has them, data)."""
        self.memory.write(HEADER, struct.pack("<IIQ", kind, 0, sector))
        self.memory.write_int(STATUS_AT, 1, 0xEE)
        if data is not None:
            self.memory.write(PAYLOAD, data)
        used = self.send(
            (HEADER, 16, NEXT, 1), (PAYLOAD, length, NEXT | (WRITE if data is None else 0), 2), (STATUS_AT, 1, WRITE, 0)
        )  # fmt: skip
        assert used is not None and used[0] == 0, self.problem
        return self.memory.read_int(STATUS_AT, 1), used[1], self.memory.read(PAYLOAD, length)


def test_a_disk_is_read(image: Path) -> None:
    disk = Disk(Drive(image))
    assert disk[8] == 2 and disk.bus.read(0x100, 8) == 8, "capacity in sectors"
    assert disk[0x108] == 65536 and disk[0x10C] == 126 and disk[0x114] == 512
    assert disk.request(0, 2, 1024) == (0, 1025, bytes([3]) * 512 + bytes([4]) * 512)
    assert disk.request(0, 7, 512) == (0, 513, bytes([8]) * 512)


def test_requests_may_be_cut_anywhere(image: Path) -> None:
    disk = Disk(Drive(image))
    disk.memory.write(HEADER, struct.pack("<IIQ", 0, 0, 1))
    used = disk.send(
        (HEADER, 5, NEXT, 1), (HEADER + 5, 11, NEXT, 2),
        (PAYLOAD, 100, WRITE | NEXT, 3), (PAYLOAD + 100, 413, WRITE, 0),
    )  # fmt: skip
    assert used == (0, 513) and disk.memory.read(PAYLOAD, 513) == bytes([2]) * 512 + b"\0"


@pytest.mark.parametrize(
    ("kind", "sector", "length", "status"),
    [
        (0, 8, 512, 1), (0, 7, 1024, 1), (0, (1 << 64) - 1, 512, 1), (0, 0, 100, 1), (0, 0, 511, 1), (0, 0, 0, 0),
        (4, 0, 0, 0), (8, 0, 19, 1), (2, 0, 512, 2), (11, 0, 512, 2), (0xFFFF_FFFF, 0, 512, 2),
    ],
)  # fmt: skip
def test_requests_that_cannot_be(image: Path, kind: int, sector: int, length: int, status: int) -> None:
    disk = Disk(Drive(image))
    assert disk.request(kind, sector, length)[0] == status
    assert disk.problem == "" and disk.request(0, 0, 512)[0] == 0


def test_a_file_in_one_request_and_the_largest_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    size = 9 << 20
    contents = b"".join(n.to_bytes(8, "little") for n in range(size // 8))
    path.write_bytes(contents)
    disk = Disk(Drive(path), ram=size + (1 << 20))
    disk.memory.write(HEADER, struct.pack("<IIQ", 0, 0, 1))
    rows = (HEADER, 16, NEXT, 1), (PAYLOAD, size - 512, NEXT | WRITE, 2), (STATUS_AT, 1, WRITE, 0)
    assert disk.send(*rows) == (0, size - 511)
    assert disk.memory.read(PAYLOAD, size - 512) == contents[512:] and disk.memory.read_int(STATUS_AT, 1) == 0

    disk.memory.write(HEADER, struct.pack("<IIQ", 1, 0, 0))
    rows = (HEADER, 16, NEXT, 1), (PAYLOAD, size - 512, NEXT, 2), (STATUS_AT, 1, WRITE, 0)
    assert disk.send(*rows) == (0, 1) and disk.drive.read_bytes(0, size) == contents[512:] + contents[-512:]
    monkeypatch.setattr(block, "REQUEST_LIMIT", size - 1024)
    assert disk.request(0, 0, size - 1024)[0] == 0 and disk.request(0, 0, size - 512)[0] == 1


@pytest.mark.parametrize("rows", [[(HEADER, 15, NEXT, 1), (STATUS_AT, 1, WRITE, 0)], [(HEADER, 16, 0, 0)]])
def test_requests_without_header_or_status(image: Path, rows: list[tuple[int, int, int, int]]) -> None:
    disk = Disk(Drive(image))
    assert disk.send(*rows) is None and "header and a status" in disk.problem


def test_its_name(image: Path) -> None:
    assert Disk(Drive(image)).request(8, 0, 20) == (0, 21, b"disk.img".ljust(20, b"\0"))


def test_writes_stay_in_memory(image: Path) -> None:
    before = image.read_bytes(), image.stat().st_mtime_ns
    disk = Disk(Drive(image))
    assert disk.request(1, 1, 1024, b"a" * 1024)[:2] == (0, 1)
    assert disk.request(1, 7, 512, b"z" * 512)[:2] == (0, 1)
    assert disk.request(1, 8, 512, b"z" * 512)[0] == 1
    assert disk.request(4, 0, 0)[0] == 0
    wanted = bytearray(before[0])
    wanted[512:1536], wanted[3584:] = b"a" * 1024, b"z" * 512
    assert disk.request(0, 0, 4096)[2] == wanted
    assert disk.request(0, 2, 1024)[2] == wanted[1024:2048]
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
    assert Disk(Drive(image)).request(0, 0, 4096)[2] == before[0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(1, 20), st.integers(0, 255)), max_size=12), st.booleans())
def test_a_disk_keeps_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int, int]], writable: bool
) -> None:
    path = tmp_path_factory.mktemp("disk") / "d"
    model = bytearray(bytes(range(256)) * 80)
    path.write_bytes(model)
    disk = Disk(Drive(path, "rw" if writable else "copy"))
    for sector, count, byte in writes:
        data = bytes([byte]) * (512 * count)
        if disk.request(1, sector, len(data), data)[0] == 0:
            model[512 * sector : 512 * (sector + count)] = data
        else:
            assert sector + count > 40
    assert disk.request(0, 0, len(model))[2] == model
    assert (path.read_bytes() == model) if writable else not writes or path.read_bytes() == bytes(range(256)) * 80


def test_read_only(image: Path) -> None:
    disk = Disk(Drive(image, "ro"))
    disk[0x14] = 0
    assert disk[0x10] >> 5 & 1, "VIRTIO_BLK_F_RO"
    assert disk.request(1, 0, 512, bytes(512))[0] == 1
    assert disk.request(0, 0, 512)[2] == bytes([1]) * 512
    plain = Disk(Drive(image))
    plain[0x14] = 0
    assert not plain[0x10] >> 5 & 1


def test_a_file_that_is_no_whole_sectors(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"x" * 700)
    disk = Disk(Drive(path))
    assert disk.bus.read(0x100, 8) == 2
    assert disk.request(0, 0, 1024)[2] == b"x" * 700 + bytes(324)
    with pytest.raises(ConfigurationError, match="no whole sectors"):
        Drive(path, "rw")


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(8192))
    disk = Disk(Drive(path))
    warnings: list[str] = []
    disk.drive.warn = warnings.append
    os.truncate(path, 512)
    assert disk.request(0, 0, 512)[0] == 0
    assert [disk.request(0, 0, 1024)[0] for _ in range(3)] == [1, 1, 1]
    assert len(warnings) == 1 and "became shorter" in warnings[0]
    assert disk.problem == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a system with limits on files")
def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(4096))
    disk = Disk(Drive(path, "rw"))
    warnings: list[str] = []
    disk.drive.warn = warnings.append

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert disk.request(1, 0, 512, b"y" * 512)[0] == 1
    assert "no space left" in warnings[0]


def test_flush_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(4096))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for mode, times in (("rw", 1), ("copy", 0), ("ro", 0)):
        synced.clear()
        assert Disk(Drive(path, mode)).request(4, 0, 0)[0] == 0 and len(synced) == times


def test_changes_in_memory_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.devices.virtio.block.MOST_BLOCKS", 2)
    path = tmp_path / "d"
    path.write_bytes(bytes(4 * 4096))
    disk = Disk(Drive(path))
    assert [disk.request(1, 8 * n, 512, b"x" * 512)[0] for n in (0, 1, 2, 1)] == [0, 0, 1, 0]
    assert disk.request(0, 16, 512)[2] == bytes(512)


def test_equal_runs_with_a_writable_disk_are_equal(tmp_path: Path) -> None:
    states = []
    for stamp in (1, 2):
        path = tmp_path / "d"
        path.write_bytes(bytes(4096))
        os.utime(path, ns=(stamp, stamp))
        disk = Disk(Drive(path, "rw"))
        disk.request(1, 0, 512, b"x" * 512)
        states.append(disk.transport.state())
    assert states[0] == states[1]


def test_drives_that_cannot_be(tmp_path: Path, image: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in [("no", "no such file"), ("", "not a regular"), ("pipe", "not a regular"), ("empty", "empty")]:
        with pytest.raises(ConfigurationError, match=words) as error:
            Drive(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="not both"):
        Machine(memory=1 << 20).add_drive(image, readonly=True, writable=True)
    with pytest.raises(ConfigurationError, match="mode"):
        Drive(image, "rwx")


def test_files_that_may_not_be_read_or_written(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_RDWR or "secret" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest, **more)

    (secret := image.parent / "secret").write_bytes(bytes(512))
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigurationError, match="cannot be opened for writing: permission denied"):
        Drive(image, "rw")
    with pytest.raises(ConfigurationError, match="secret: cannot be read: permission denied"):
        Drive(secret)
    assert Disk(Drive(image)).request(0, 0, 512)[0] == 0


def test_as_the_command_line_has_them(image: Path, tmp_path: Path) -> None:
    assert [Drive.parse(f"{image}{mode}").mode for mode in ("", ",ro", ",rw")] == ["copy", "ro", "rw"]
    comma = tmp_path / "a,b"
    comma.write_bytes(bytes(512))
    assert Drive.parse(str(comma)).path == str(comma)
    with pytest.raises(ConfigurationError, match="name a file"):
        Drive.parse(",ro")


# --- console ---


def test_console_output() -> None:
    console = VirtioConsole()
    board = Board(console).start(1)
    board.memory.write(BUFFERS, b"hello, world")
    assert board.send((BUFFERS, 5, NEXT, 1), (BUFFERS + 5, 7, 0, 0), queue=1) == (0, 0)
    assert console.console.take() == b"hello, world"
    board.bus.write(0x108, 4, ord("!"))
    assert console.console.take() == b"!"
    board.memory.fill(BUFFERS, 0x80000, ord("x"))
    board.send((BUFFERS, 0x80000, NEXT, 1), (RAM + 0x90000, 4, 0, 0), queue=1)
    assert console.console.take() == b"x" * (OUTPUT_LIMIT - 4) + bytes(4), "no more than a console keeps"


def test_console_input_waits_for_buffers_and_buffers_for_input() -> None:
    console = VirtioConsole()
    board = Board(console).start(0)
    assert board.send((BUFFERS, 4, WRITE, 0)) is None and not board.level
    console.console.feed(b"abcdefg")
    assert board.used() == (0, 4) and board.level and board.memory.read(BUFFERS, 4) == b"abcd"
    assert board.used() is None and bytes(console.console.input) == b"efg"
    assert board.send((BUFFERS, 4, WRITE, 0)) == (0, 3) and board.memory.read(BUFFERS, 3) == b"efg"
    board[STATUS] = 0
    console.console.feed(b"later")
    assert board.used() is None and bytes(console.console.input) == b"later"


# --- in the machine ---

GUEST = """
        li    s0, 0x10001000
        li    t0, 1
        sw    t0, 0x70(s0)
        li    t0, 3
        sw    t0, 0x70(s0)
        li    t0, 1
        sw    t0, 0x24(s0)
        sw    t0, 0x20(s0)        # VERSION_1
        li    t0, 11
        sw    t0, 0x70(s0)
        sw    zero, 0x30(s0)
        li    t0, 8
        sw    t0, 0x38(s0)
        li    t0, data
        sw    t0, 0x80(s0)
        sw    zero, 0x84(s0)
        addi  t1, t0, 0x100
        sw    t1, 0x90(s0)
        sw    zero, 0x94(s0)
        addi  t1, t0, 0x200
        sw    t1, 0xa0(s0)
        sw    zero, 0xa4(s0)
        li    t0, 1
        sw    t0, 0x44(s0)
        li    t0, 15
        sw    t0, 0x70(s0)
        li    t1, 0xc000000       # PLIC: source 1, context 0
        li    t0, 1
        sw    t0, 4(t1)
        li    t1, 0xc002000
        li    t0, 2
        sw    t0, 0(t1)
        li    t0, 0x800
        csrw  mie, t0
ready:  li    t0, data
        li    t1, 1
        sh    t1, 0x102(t0)
        lr.d  t2, (t0)
        sw    zero, 0x50(s0)      # notify
        sc.d  s3, t2, (t0)
        wfi
        li    t1, 0xc200004
        lw    s1, 0(t1)           # claim
        li    t0, data
        lwu   s2, 0x400(t0)       # what was read
done:   j     done
"""


def guest(path: Path, harts: int = 1) -> Rig:
    """A machine on which a program reads sector 3 of a drive to DATA + 0x400."""
    rig = Rig(harts=harts)
    rig.machine.add_drive(path)
    rig.program = rig.write(BASE, GUEST, data=DATA)
    for n, row in enumerate(
        [(DATA + 0x300, 16, NEXT, 1), (DATA + 0x400, 512, NEXT | WRITE, 2), (DATA + 0x600, 1, 2, 0)]
    ):
        rig.machine.memory.write(DATA + 16 * n, struct.pack("<QIHH", *row))
    rig.machine.memory.write(DATA + 0x300, struct.pack("<IIQ", 0, 0, 3))
    return rig


def test_a_guest_reads_a_sector(image: Path) -> None:
    rig = guest(image)
    rig.reach("done")
    assert rig.x("s2") == 0x04040404 and rig.x("s1") == 1, "the interrupt came through source 1"
    assert rig.load(DATA + 0x202, 2) == 1 and rig.load(DATA + 0x600, 1) == 0
    assert rig.x("s3") == 1, "zalrsc: SC fails after a write from some other device"


def test_code_that_a_device_overwrites_is_fetched_anew(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(bytes(3 * 512) + assemble(DATA + 0x400, "li a0, 2; ret").code.ljust(512, b"\0"))
    rig = guest(path)
    rig.write(DATA + 0x400, "li a0, 1; ret")
    call = rig.write(BASE + 0x800, "call: jalr ra, 0(a1); stop: j stop")
    rig.put(a1=DATA + 0x400)
    rig.hart.pc = call["call"]
    rig.reach(call["stop"])
    assert rig.x("a0") == 1
    rig.hart.pc = BASE
    rig.reach("done")
    rig.hart.pc = call["call"]
    rig.reach(call["stop"])
    assert rig.x("a0") == 2


def test_a_snapshot_anywhere_in_between(image: Path, tmp_path: Path) -> None:
    rig = guest(image)
    rig.machine.run(200)
    wanted = rig.machine.state_hash()
    for steps in range(0, 90, 7):
        machine = guest(image).machine
        machine.run(steps)
        snapshots.save(machine, tmp_path / "s")
        before = machine.state_hash()
        again = snapshots.load(tmp_path / "s")
        assert again.state_hash() == before and again.warnings == []
        again.run(200 - steps)
        assert again.state_hash() == wanted, steps


def driven(machine: Machine) -> Disk:
    """A driver by hand for the first transport of a machine."""
    disk = Disk.__new__(Disk)
    Board.__init__(disk)
    disk.transport, disk.memory = machine.virtio[0], machine.memory
    disk.bus = Bus()
    disk.bus.add(0, disk.transport)
    return disk


def test_the_overlay_and_the_generator_are_in_the_snapshot(image: Path, tmp_path: Path) -> None:
    machine = Machine(memory=1 << 20, entropy=5)
    machine.add_drive(image)
    machine.attach(VirtioConsole(), 3)
    disk = driven(machine)
    disk.start()
    assert disk.request(1, 2, 512, b"q" * 512)[0] == 0
    snapshots.save(machine, tmp_path / "s")
    again = snapshots.load(tmp_path / "s")
    assert again.state_hash() == machine.state_hash()
    for m in (machine, again):
        d = driven(m)
        d.offered = d.returned = 1
        assert d.request(0, 1, 1024)[2] == bytes([2]) * 512 + b"q" * 512
        m.console.feed(b"")
    assert again.state_hash() == machine.state_hash()
    assert image.read_bytes()[1024:1536] == bytes([3]) * 512


def test_a_file_that_is_another_when_a_snapshot_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(4096))
    os.utime(path, ns=(10**18, 10**18))
    machine = Machine(memory=1 << 20)
    machine.add_drive(path)
    state = machine.state()
    assert Machine.from_state(state).warnings == []
    for act, words in [
        (lambda: os.utime(path, ns=(10**18, 10**18 + 1)), "time of change"),
        (lambda: path.write_bytes(b"x" * 4096), "contents"),
        (lambda: path.write_bytes(bytes(8192)), "size"),
    ]:
        act()
        again = Machine.from_state(state)
        assert len(again.warnings) == 1 and words in again.warnings[0]
        assert again.state() == state, "what it was is remembered"
    path.unlink()
    with pytest.raises(StateError, match=r"drive .*/d: cannot be read: no such file"):
        Machine.from_state(state)


def test_a_snapshot_does_not_open_files_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(bytes(4096))
    machine = Machine(memory=1 << 20)
    machine.add_drive(path, writable=True)
    first = driven(machine)
    first.start()
    assert first.request(1, 0, 512, b"1" * 512)[0] == 0 and path.read_bytes()[:512] == b"1" * 512
    again = Machine.from_state(machine.state())
    assert again.state() == machine.state() and "was writable" in again.warnings[0]
    second = driven(again)
    second.start()
    assert second.request(1, 0, 512, b"2" * 512)[0] == 0 and second.request(0, 0, 512)[2] == b"2" * 512
    assert path.read_bytes()[:512] == b"1" * 512
    state = machine.state()
    state["config"]["virtio"][0]["trusted"] = True
    third = driven(Machine.from_state(state))
    third.start()
    assert third.request(1, 0, 512, b"3" * 512)[0] == 0 and path.read_bytes()[:512] == b"1" * 512


def test_damaged_states_are_refused(image: Path) -> None:
    machine = Machine(memory=1 << 20, entropy=1)
    machine.add_drive(image)
    machine.attach(VirtioConsole())

    def config(value: Any) -> Any:
        def change(state: dict[str, Any]) -> None:
            state["config"]["virtio"] = value

        return change

    def device(*path: Any, value: Any) -> Any:
        def change(state: dict[str, Any]) -> None:
            inner = state["devices"]["virtio0"]
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value

        return change

    rest = [None] * 7
    for change in [
        config(None), config([]), config([None] * 8), config([{"kind": "teapot"}, *rest]), config([{}, *rest]),
        config([3, *rest]), config([{"kind": "block"}, *rest]), config([{"kind": "entropy", "seed": -1}, *rest]),
        config([{"kind": "block", "path": 3, "mode": "ro"}, *rest]),
        config([{"kind": "block", "path": "/\0", "mode": "ro"}, *rest]),
        config([{"kind": "block", "path": "/dev/zero", "mode": "ro"}, *rest]),
        device("status", value=256), device("status", value="x"), device("queues", value=[]),
        device("queues", value=None),
        device("queues", 0, "size", value=-1), device("queues", 0, value={}), device("problem", value=b"x"),
        device("function", value=None), device("function", "overlay", value=[[0, b"x"]]),
        device("function", "overlay", value=[[1, bytes(4096)], [1, bytes(4096)]]),
        device("function", "overlay", value=[3]),
        device("function", "identity", value=[]), device("function", "identity", value=[1, -1, "x" * 64]),
        device("nonsense", value=1),
    ]:  # fmt: skip
        state = machine.state()
        change(state)
        with pytest.raises(StateError) as error:
            Machine.from_state(state)
        assert "\n" not in str(error.value)


def test_a_damaged_state_changes_nothing(image: Path) -> None:
    board = Board(Drive(image))
    before = board.transport.state()
    for damage in ({"status": -1}, {"queues": [{}]}, {"function": {}}):
        with pytest.raises(StateError):
            board.transport.restore({**before, "function": {"overlay": [], "identity": [1, 1, "a" * 64]}, **damage})
        assert board.transport.state() == before


def test_transports_of_the_machine(image: Path) -> None:
    machine = Machine(memory=1 << 20, entropy=0)
    for _ in range(7):
        machine.add_drive(image)
    with pytest.raises(ConfigurationError, match="8 virtio devices already"):
        machine.add_drive(image)
    with pytest.raises(ConfigurationError, match="virtio7 is a entropy already"):
        machine.attach(Entropy(), 7)
    assert [machine.bus.read(0x1000_1008 + 0x1000 * n, 4) for n in range(8)] == [2] * 7 + [4]
    soc = parse(machine.device_tree()).find("soc")
    assert soc is not None
    plic = soc.find("plic")
    assert plic is not None
    for n in range(8):
        node = soc.find(f"virtio_mmio@1000{n + 1}000")
        assert node is not None and node.strings("compatible") == ["virtio,mmio"]
        assert node.cells("reg") == [0, 0x1000_1000 + 0x1000 * n, 0, 0x1000] and node.cells("interrupts") == [n + 1]
        assert node.cells("interrupt-parent") == plic.cells("phandle")


def test_one_file_for_two_drives_if_neither_writes(image: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(image)
    Machine(memory=1 << 20, drives=[Drive(image), Drive(link, "ro")])
    for modes in (("rw", "ro"), ("copy", "rw"), ("rw", "rw")):
        with pytest.raises(ConfigurationError, match="same file as another"):
            Machine(memory=1 << 20, drives=[Drive(image, modes[0]), Drive(link, modes[1])])
