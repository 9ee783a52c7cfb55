"""What a machine's harts implement: `Isa`, and how it is named.

A name is a base and changes: `rv64gch`, `rv64imafdch_zicsr_zba_sstc`, `rva22s64,h=on,sv48=off`, `max,sstc=off`.

- `max`: everything that the hart can do. `rv64` is the same.
- An ISA string ("ISA Extension Naming Conventions"): the extensions that it names and those that they depend on, with
  the counters Zicntr and Zihpm and all translation modes, which no such string was used to name.
- A profile (RVA20S64, RVA22S64, RVA23S64): its mandatory extensions, as far as the hart has them.

Changes follow from left to right. What is switched on brings what it needs. What is switched off takes along what needs
it, unless that was asked for by name. How the hart works (Sstvala, Zkt and so on) is not switched.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from emulator.errors import ConfigurationError

from .extensions import BY_NAME, EXTENSIONS, TRANSLATION, Extension, isa_string
from .features import words
from .profiles import PROFILES

_KNOWN: Final = {each.name.lower(): each for each in (*EXTENSIONS, *TRANSLATION)}
_HERE: Final = {each.name: each for each in _KNOWN.values() if each.implemented}
_GENERAL: Final = ("I", "M", "A", "F", "D", "Zicsr", "Zifencei")
"""What the letter G stands for."""
_MODES: Final = {"s": "S-mode", "u": "U-mode"}
"""Letters of privilege modes, which misa has and ISA strings had."""
_UNSPOKEN: Final = ("Zicntr", "Zihpm", *(each.name for each in TRANSLATION))
"""Part of every ISA string."""
_PROFILES: Final = {name.lower(): profile for name, profile in PROFILES.items() if profile.privileged}
_SWITCH: Final = {"on": True, "true": True, "off": False, "false": False}
LENGTH_LIMIT: Final = 4096
"""Characters of a name."""


@dataclass(frozen=True)
class Isa:
    """A set of extensions that is complete in itself: each has what it needs."""

    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Isa:
        """Raises ConfigurationError: an unknown name, a contradiction, or what cannot be switched."""
        return _Choice(text).isa()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __str__(self) -> str:
        """A name of this set: `parse` gives it back."""
        return ",".join([self.string, *(f"{name.lower()}=off" for name in _UNSPOKEN if name not in self.names)])

    @property
    def string(self) -> str:
        """What the device tree calls "riscv,isa"."""
        return isa_string(name for name in self.names if name in BY_NAME)

    @property
    def mmu(self) -> str:
        """What the device tree calls "mmu-type"."""
        return f"riscv,{next((each.name.lower() for each in reversed(TRANSLATION) if each.name in self), 'none')}"

    @property
    def missing(self) -> tuple[str, ...]:
        """What the hart could do beyond."""
        return tuple(name for name in MAX.names_in_order if name not in self.names)

    @property
    def names_in_order(self) -> tuple[str, ...]:
        return tuple(name for name in _HERE if name in self.names)

    @property
    def features(self) -> list[int]:
        """For the native hart: a bit per feature, in 64-bit words."""
        return words(self.names)

    def without(self, name: str) -> Isa:
        """The set less one extension, and what needs it."""
        return Isa(_complete(self.names - {name}))


def _requirements(name: str, names: frozenset[str] | set[str]) -> Iterator[str]:
    each = _HERE[name]
    yield from f"{each.needs} {each.parts} {each.implies}".split()
    # "C Extension": Zca, and Zcd where D is present.
    if name == "C" and "D" in names:
        yield "Zcd"


def _drop(names: set[str], kept: Collection[str] = ()) -> None:
    """What lacks something."""
    while lost := {name for name in names if any(need not in names for need in _requirements(name, names))} - {*kept}:
        names -= lost


def _complete(names: Iterable[str]) -> frozenset[str]:
    """Less what lacks something; with totals of parts that are all there, and how the hart works."""
    found = set(names)
    _drop(found)
    before: set[str] = set()
    while before != found:
        before = set(found)
        for name, each in _HERE.items():
            if (each.fixed or each.total) and all(need in found for need in _requirements(name, found)):
                found.add(name)
    return frozenset(found)


MAX: Final = Isa(_complete(_HERE))


class _Choice:
    """A name on its way to a set."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.asked: dict[str, bool] = {}
        """What was switched by name."""
        if len(text) > LENGTH_LIMIT:
            raise self.wrong(f"a name of more than {LENGTH_LIMIT} characters")
        base, *changes = text.strip().lower().split(",")
        self._base(base)
        for change in changes:
            self._change(change.strip())

    def wrong(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"isa {self.text[:60]!r}: {why}")

    def isa(self) -> Isa:
        for name in self.asked:
            for need in _requirements(name, self.names) if name in self.names else ():
                if need not in self.names:
                    raise self.wrong(f"{name} needs {need}, which is off")
        return Isa(_complete(self.names))

    def _base(self, base: str) -> None:
        if base in ("max", "rv64"):
            self.names |= MAX.names
        elif base in _PROFILES:
            for name in _PROFILES[base].mandatory:
                if name in _HERE:
                    self._on(name)
        elif base.startswith("rv64"):
            self._string(base)
        elif base.startswith(("rv32", "rv128")):
            raise self.wrong("these harts have 64 bits: names begin with rv64, as rv64gch does")
        elif base.upper() in PROFILES:
            raise self.wrong(f"{base} is a profile of user mode; these harts have S-mode too, as {base[:5]}s64 says")
        else:
            raise self.wrong(f"unknown base {base[:20]!r}{_near(base, ['max', 'rv64gch', *_PROFILES])}")

    def _string(self, base: str) -> None:
        letters, *names = base.removeprefix("rv64").split("_")
        if not letters.startswith(("i", "g")):
            raise self.wrong("an ISA string begins with rv64i or rv64g")
        for name in _UNSPOKEN:
            self._on(name)
        for letter in letters:
            if letter == "g":
                for name in _GENERAL:
                    self._on(name)
            else:
                self._by_name(letter, True, where="; names of more than a letter stand behind _")
        for name in filter(None, names):
            self._by_name(name, True)

    def _change(self, change: str) -> None:
        name, _, word = change.partition("=")
        if word not in _SWITCH:
            raise self.wrong(f"{change[:30]!r} is no change: write {name[:20] or 'zba'}=on or =off")
        self._by_name(name, _SWITCH[word])

    def _by_name(self, name: str, on: bool, where: str = "") -> None:
        if name in _MODES:
            if not on:
                raise self.wrong(f"{name} cannot be switched off: these harts always have {_MODES[name]}")
            return
        each = _KNOWN.get(name)
        if each is None:
            raise self.wrong(f"no extension {name[:20]!r}{where or _near(name, _KNOWN)}")
        if on and not each.implemented:
            raise self.wrong(f"these harts do not have {each.name} ({each.meaning})")
        if not each.implemented:
            return
        if on:
            self.asked[each.name] = True
            self._on(each.name)
        else:
            self._off(each)

    def _on(self, name: str) -> None:
        """With all that it needs, but for what was switched off before."""
        if self.asked.get(name) is False:
            return
        self.names.add(name)
        for need in _requirements(name, self.names):
            self._on(need)
        if name == "D" and "C" in self.names and "Zcd" not in self.names:
            self._on("Zcd")

    def _off(self, each: Extension) -> None:
        """With its parts, unless they are another's too, and with what needs any of them and was not asked for."""
        parts = [_HERE[part] for part in each.parts.split()]
        if each.fixed:
            raise self.wrong(f"{each.name} cannot be switched off: it is how these harts work ({each.meaning})")
        if any(part.fixed for part in parts):
            raise self.wrong(f"{each.name} is nothing but {each.parts.replace(' ', ', ')}: switch one of these")
        self.asked[each.name] = False
        self.names.discard(each.name)
        kept = {part for name in self.names for part in _HERE[name].parts.split()}
        self.names -= {part.name for part in parts} - kept
        _drop(self.names, {name for name, on in self.asked.items() if on})


def _near(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, names, 3)
    return f"; near to it: {', '.join(found)}" if found else ""
