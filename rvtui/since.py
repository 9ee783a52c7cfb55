"""What is other than it was when the machine last stood still."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from rvtui.session import View

Key = TypeVar("Key")
Value = TypeVar("Value")

KEPT = 1 << 16
"""Things that are remembered at most."""


class Since(Generic[Key, Value]):
    """Remembers, view by view, what things are, so that each is compared with the stop before: that of the machine's
    last run or step. What is seen for the first time is compared with that."""

    def __init__(self) -> None:
        self.before: dict[Key, Value] = {}
        self._stood: dict[Key, Value] = {}
        self._moving = False
        self._executed = -1
        self._of: object = None

    def see(self, view: View, of: object, things: Iterable[tuple[Key, Value]]) -> None:
        """What there is in a view. Where `of` is another than before nothing is remembered."""
        if of != self._of or len(self._stood) > KEPT:
            self._of, self.before, self._stood, self._moving = of, {}, {}, False
            self._executed = view.executed
        if view.executed != self._executed and not self._moving:
            self.before, self._moving = dict(self._stood), True
        if not view.running:
            self._executed, self._moving = view.executed, False
        for key, value in things:
            self.before.setdefault(key, value)
            if not view.running:
                self._stood[key] = value
