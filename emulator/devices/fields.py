"""What may stand in a saved state: shapes that check values which come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emulator.errors import StateError


class Shape(Protocol):
    """A kind of saved value. `take` returns a copy of a good value and raises ValueError, naming what it wants."""

    def take(self, value: Any) -> Any: ...


@dataclass(frozen=True)
class Number:
    """An integer 0..maximum."""

    maximum: int

    def take(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value <= self.maximum:
            raise ValueError(f"a number from 0 to {self.maximum:#x}")
        return value


@dataclass(frozen=True)
class Bits:
    """An integer with no bit set outside of `mask`."""

    mask: int

    def take(self, value: Any) -> int:
        if type(value) is not int or value < 0 or value & ~self.mask:
            raise ValueError(f"a number within the bits {self.mask:#x}")
        return value


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def take(self, value: Any) -> bool:
        if type(value) is not bool:
            raise ValueError("true or false")
        return value


@dataclass(frozen=True)
class Text:
    """At most `limit` characters."""

    limit: int

    def take(self, value: Any) -> str:
        if type(value) is not str or len(value) > self.limit:
            raise ValueError(f"text of at most {self.limit} characters")
        return value


@dataclass(frozen=True)
class Numbers:
    """A list of exactly `count` integers, each of shape `each`."""

    count: int
    each: Number | Bits

    def take(self, value: Any) -> list[int]:
        if not isinstance(value, (list, tuple)) or len(value) != self.count:
            raise ValueError(f"a list of {self.count}")
        return [self.each.take(each) for each in value]


@dataclass(frozen=True)
class Octets:
    """At most `limit` bytes, kept as a bytearray and saved as bytes."""

    limit: int

    def take(self, value: Any) -> bytearray:
        if not isinstance(value, (bytes, bytearray)) or len(value) > self.limit:
            raise ValueError(f"at most {self.limit} bytes")
        return bytearray(value)


@dataclass(frozen=True)
class Exactly:
    """`count` bytes."""

    count: int

    def take(self, value: Any) -> bytes:
        if type(value) is not bytes or len(value) != self.count:
            raise ValueError(f"{self.count} bytes")
        return value


class Stateful:
    """An object whose saved state is the attributes named by `fields`."""

    name: str
    fields: Mapping[str, Shape] = {}

    def state(self) -> dict[str, Any]:
        """The complete state as plain ints, bools, lists and bytes: a copy."""
        values = {name: getattr(self, name) for name in self.fields}
        return {name: _plain(value) for name, value in values.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `state()` returned. StateError, and nothing changed, where it does not fit."""
        if not isinstance(state, Mapping):
            raise StateError(f"saved state of {self.name}: it must be a table of names and values")
        if wrong := sorted(map(repr, state.keys() ^ self.fields.keys())):
            raise StateError(f"saved state of {self.name}: missing or unknown: {', '.join(wrong)[:200]}")
        good = {}
        for name, shape in self.fields.items():
            try:
                good[name] = shape.take(state[name])
            except ValueError as error:
                raise StateError(f"saved state of {self.name}: {name} must be {error}") from None
        for name, value in good.items():
            setattr(self, name, value)
        self.refresh()

    def refresh(self) -> None:
        """Bring whatever depends on the state (interrupt wires) up to date, changing no state."""


def _plain(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    return list(value) if isinstance(value, list) else value
