"""What may stand in a saved state: shapes that check values which come from outside, and say what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emulator.errors import StateError


class Shape(Protocol):
    """A kind of saved value. `take` returns a copy of a good value and raises ValueError, naming what it wants."""

    def take(self, value: Any) -> Any: ...


@dataclass(frozen=True)
class Part:
    """Bits of a register, from `low` on, by the data sheet's name. `values`: what each value means, "" nothing worth a
    word; without them a part that is not 0 is told by its name."""

    name: str
    low: int
    width: int = 1
    values: Mapping[int, str] | None = None

    def of(self, value: int) -> int:
        return value >> self.low & ((1 << self.width) - 1)


Parts = tuple[Part, ...]


def flags(*names: str, low: int = 0) -> Parts:
    """Single bits, ascending from bit `low`; "" for one without a name."""
    return tuple(Part(name, low + bit) for bit, name in enumerate(names) if name)


def in_words(value: int, parts: Parts) -> str:
    """What a register's value means: "8 bits, no parity, DLAB"; "" where there is nothing to say."""
    words = []
    for part in parts:
        bits = part.of(value)
        if part.values is not None:
            words.append(part.values.get(bits, f"{part.name} {bits:#x}"))
        elif bits:
            words.append(part.name if part.width == 1 else f"{part.name} {bits:#x}")
    return ", ".join(filter(None, words))


@dataclass(frozen=True)
class Shown:
    """A register or a piece of a device's state, for people and programs: `value` is what is in it, None where it is no
    number; `words` what that means, one line; `parts` the bits that have a name; `rows` what belongs to it."""

    name: str
    value: int | None = None
    words: str = ""
    parts: Parts = ()
    rows: tuple[Shown, ...] = ()
    bits: int = 32
    """How wide `value` is."""


def register(name: str, value: int, parts: Parts = (), words: str = "", bits: int = 32) -> Shown:
    """A register, decoded by its parts; `words` go before."""
    return Shown(name, value, ", ".join(filter(None, (words, in_words(value, parts)))), parts, bits=bits)


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
    """An integer with no bit set outside of `mask`; what `parts` of it mean."""

    mask: int
    parts: Parts = ()

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

    def shown(self) -> tuple[Shown, ...]:
        """What it holds, register by register. Looking changes nothing, as no guest's read would."""
        return tuple(_shown(name, shape, getattr(self, name)) for name, shape in self.fields.items())

    def refresh(self) -> None:
        """Bring whatever depends on the state (interrupt wires) up to date, changing no state."""


def text_of(data: bytes | bytearray, most: int = 64) -> str:
    """Bytes as a text in quotes: 3 bytes: "a\\r\\n"."""
    quoted = ascii(bytes(data[:most]).decode("latin-1"))
    return f"{len(data)} byte{'s' * (len(data) != 1)}" + (f": {quoted}" + "..." * (len(data) > most) if data else "")


def _shown(name: str, shape: Shape, value: Any) -> Shown:
    match shape:
        case Bits(mask, parts):
            return register(name, value, parts, bits=mask.bit_length())
        case Number(maximum):
            return Shown(name, value, bits=maximum.bit_length())
        case Flag():
            return Shown(name, int(value), "yes" if value else "no", bits=1)
        case Numbers():
            return Shown(name, words=" ".join(f"{each:#x}" if each > 9 else str(each) for each in value))
        case Octets() | Exactly():
            return Shown(name, words=text_of(value))
        case Text():
            return Shown(name, words=str(value))
    return Shown(name, words=f"{len(value)} entries")


def _plain(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    return list(value) if isinstance(value, list) else value
