"""The interrupt controller, against the RISC-V PLIC specification 1.0.0 (sections by name)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.bus import Bus
from emulator.devices.plic import Plic
from emulator.errors import StateError

BASE = 0xC00_0000
M0, S0, M1, S1 = range(4)


class FakeHart:
    def __init__(self) -> None:
        self.lines: dict[int, bool] = {}

    def wire(self, bit: int, level: bool) -> None:
        self.lines[bit] = level


class Board:
    """A PLIC for two harts, with its memory map spelled out once more."""

    def __init__(self) -> None:
        self.harts = [FakeHart(), FakeHart()]
        self.plic = Plic(self.harts)
        self.bus = Bus()
        self.bus.add(BASE, self.plic)

    def read(self, offset: int) -> int:
        value = self.bus.read(BASE + offset, 4)
        assert value is not None
        return value

    def write(self, offset: int, value: int) -> None:
        assert self.bus.write(BASE + offset, 4, value)

    def setup(self, source: int, priority: int, *contexts: int) -> None:
        self.write(4 * source, priority)
        for context in contexts:
            at = 0x2000 + 0x80 * context + source // 32 * 4
            self.write(at, self.read(at) | 1 << source % 32)

    def pending(self, source: int) -> bool:
        return bool(self.read(0x1000 + source // 32 * 4) >> source % 32 & 1)

    def threshold(self, context: int, value: int) -> None:
        self.write(0x20_0000 + 0x1000 * context, value)

    def claim(self, context: int) -> int:
        return self.read(0x20_0004 + 0x1000 * context)

    def complete(self, context: int, source: int) -> None:
        self.write(0x20_0004 + 0x1000 * context, source)

    def raised(self, context: int) -> bool:
        return self.harts[context // 2].lines.get(9 if context % 2 else 11, False)


@pytest.fixture
def board() -> Board:
    return Board()


def test_an_interrupt_from_wire_to_completion(board: Board) -> None:
    board.setup(10, 1, S0)
    board.plic.set_source(10, True)
    assert board.pending(10) and board.raised(S0)
    assert not board.raised(M0) and not board.raised(S1)
    assert board.claim(S0) == 10
    assert not board.pending(10) and not board.raised(S0)
    assert board.claim(S0) == 0
    board.plic.set_source(10, False)
    board.complete(S0, 10)
    assert not board.pending(10) and not board.raised(S0)


def test_contexts_are_m_then_s_of_each_hart(board: Board) -> None:
    for context in range(4):
        board.setup(context + 1, 1, context)
        board.plic.set_source(context + 1, True)
    assert [hart.lines for hart in board.harts] == [{11: True, 9: True}] * 2
    assert [board.claim(context) for context in range(4)] == [1, 2, 3, 4]
    assert [hart.lines for hart in board.harts] == [{11: False, 9: False}] * 2


def test_gateway_no_second_request_before_completion(board: Board) -> None:
    board.setup(3, 1, S0)
    board.plic.set_source(3, True)
    assert board.claim(S0) == 3
    board.plic.set_source(3, False)
    board.plic.set_source(3, True)
    assert not board.pending(3), "Interrupt Gateways: the previous one is still being served"
    board.complete(S0, 3)
    assert board.pending(3) and board.raised(S0), "still asserted on completion: a new request"


def test_gateway_a_request_is_not_retracted(board: Board) -> None:
    board.setup(3, 1, S0)
    board.plic.set_source(3, True)
    board.plic.set_source(3, False)
    assert board.pending(3) and board.raised(S0)
    assert board.claim(S0) == 3
    board.complete(S0, 3)
    assert not board.pending(3)


def test_pending_is_kept_for_a_source_that_is_enabled_later(board: Board) -> None:
    board.plic.set_source(95, True)
    assert board.pending(95) and board.claim(S0) == 0
    board.setup(95, 1)
    assert not board.raised(S0)
    board.setup(95, 1, S0)
    assert board.raised(S0) and board.claim(S0) == 95


def test_priorities_and_ties(board: Board) -> None:
    for source, priority in [(40, 2), (5, 1), (33, 7), (34, 7), (6, 2)]:
        board.setup(source, priority, M0)
        board.plic.set_source(source, True)
    assert [board.claim(M0) for _ in range(6)] == [33, 34, 6, 40, 5, 0]


def test_priority_zero_never_interrupts(board: Board) -> None:
    board.setup(7, 0, M0)
    board.plic.set_source(7, True)
    assert board.pending(7) and not board.raised(M0) and board.claim(M0) == 0
    board.setup(7, 1)
    assert board.raised(M0)


@pytest.mark.parametrize(("threshold", "raised"), [(0, True), (2, True), (3, False), (7, False)])
def test_threshold_masks_notifications_but_not_claims(board: Board, threshold: int, raised: bool) -> None:
    board.setup(8, 3, S1)
    board.plic.set_source(8, True)
    board.threshold(S1, threshold)
    assert board.raised(S1) is raised
    assert board.claim(S1) == 8, "Interrupt Claim Process: not affected by the threshold"


def test_one_source_two_targets_only_one_claims_it(board: Board) -> None:
    board.setup(9, 1, S0, S1)
    board.plic.set_source(9, True)
    assert board.raised(S0) and board.raised(S1)
    assert board.claim(S1) == 9
    assert not board.raised(S0) and board.claim(S0) == 0


def test_completion_by_a_context_that_has_it_not_enabled_is_ignored(board: Board) -> None:
    board.setup(9, 1, S0)
    board.plic.set_source(9, True)
    assert board.claim(S0) == 9
    for nonsense in (0, 96, 1000, 0xFFFF_FFFF):
        board.complete(S0, nonsense)
    board.complete(S1, 9)
    assert not board.pending(9)
    board.complete(S0, 9)
    assert board.pending(9)


def test_registers_read_back_within_their_bits(board: Board) -> None:
    for source in (1, 95):
        board.write(4 * source, 0xFFFF_FFFF)
        assert board.read(4 * source) == 7
    board.write(0, 7)
    board.write(4 * 96, 7)
    assert board.read(0) == 0 and board.read(4 * 96) == 0
    for word, wanted in enumerate([0xFFFF_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF, 0]):
        board.write(0x2080 + 4 * word, 0xFFFF_FFFF)
        assert board.read(0x2080 + 4 * word) == wanted
        assert board.read(0x2000 + 4 * word) == 0
    board.threshold(S1, 0xFFFF_FFFF)
    assert board.read(0x20_3000) == 7
    board.write(0x1000, 0xFFFF_FFFF)
    assert board.read(0x1000) == 0, "pending bits are not for software to set"
    board.threshold(4, 7)
    assert board.read(0x20_4000) == 0, "there is no third hart"


def test_sources_that_do_not_exist_do_nothing(board: Board) -> None:
    for source in (0, 96, -1, 1000):
        board.plic.set_source(source, True)
    assert board.plic.state()["pending"] == 0 and board.plic.state()["levels"] == 0


def test_reset_keeps_the_wires_of_devices(board: Board) -> None:
    board.setup(10, 1, S0)
    board.plic.set_source(10, True)
    board.claim(S0)
    board.plic.reset()
    assert not board.raised(S0) and board.read(4 * 10) == 0
    board.setup(10, 1, S0)
    assert board.claim(S0) == 10


def test_a_damaged_state_is_refused(board: Board) -> None:
    state = board.plic.state()
    bad: dict[str, list[Any]] = {
        "pending": [1, 1 << 96],
        "enables": [[0, 0], [1, 0, 0, 0]],
        "priority": [[8] * 96],
        "threshold": [None],
    }
    for name, values in bad.items():
        for value in values:
            with pytest.raises(StateError, match=name):
                board.plic.restore({**state, name: value})


offsets = st.one_of(
    st.integers(0, 0x5F_FFFF),
    st.integers(0, 96).map(lambda n: 4 * n),
    st.integers(0, 0x20).map(lambda n: 0x2000 + 0x10 * n),
    st.integers(0, 8).map(lambda n: 0x20_0000 + 0x800 * n),
    st.integers(0, 8).map(lambda n: 0x20_0004 + 0x800 * n),
)
steps = st.lists(st.tuples(st.sampled_from("rws"), offsets, st.integers(0, 1 << 32), st.booleans()), max_size=60)


@settings(deadline=None)
@given(steps)
def test_any_guest_is_survived_and_saved_exactly(steps: list[tuple[str, int, int, bool]]) -> None:
    one, two = Board(), Board()

    def act(board: Board, step: tuple[str, int, int, bool]) -> object:
        kind, offset, value, level = step
        if kind == "s":
            board.plic.set_source(value % 97, level)
            return None
        offset = min(offset, 0x60_0000 - 8)
        return board.bus.read(BASE + offset, 8) if kind == "r" else board.bus.write(BASE + offset, 8, value)

    for step in steps[: len(steps) // 2]:
        act(one, step)
    two.plic.restore(one.plic.state())
    for step in steps[len(steps) // 2 :]:
        assert act(one, step) == act(two, step)
    assert one.plic.state() == two.plic.state()
    assert all(one.raised(context) == two.raised(context) for context in range(4))


def test_a_line_that_stays_up_asks_again_but_for_the_uarts_which_wants_an_edge(board: Board) -> None:
    for source, again in ((9, True), (10, False)):
        board.setup(source, 1, S0)
        board.plic.set_source(source, True)
        assert board.claim(S0) == source
        board.complete(S0, source)
        assert board.raised(S0) is again and board.pending(source) is again
        board.plic.set_source(source, False)
        if again:
            assert board.claim(S0) == source
            board.complete(S0, source)
        assert not board.raised(S0)
        board.plic.set_source(source, True)
        assert board.claim(S0) == source
        board.plic.set_source(source, False)
        board.complete(S0, source)


def test_an_edge_before_completion_is_kept_and_not_claimed_twice(board: Board) -> None:
    board.setup(10, 1, S0, M0)
    board.plic.set_source(10, True)
    assert board.claim(S0) == 10
    board.plic.set_source(10, False)
    board.plic.set_source(10, True)
    assert board.pending(10) and not board.raised(S0) and board.claim(M0) == 0
    board.complete(S0, 10)
    assert board.raised(S0) and board.claim(S0) == 10 and board.claim(S0) == 0
