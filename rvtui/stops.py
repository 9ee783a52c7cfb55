"""The user's stops: from text, as commands have it, to what the machine is to look for, and back to words.

A stop is known by the line that sets it ("break main in hello if a0 == 3"). So it can be set again where names mean
something else than before: after a reset, in a machine that was restored, and, from a file of its program, next time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from emulator import worlds
from emulator.errors import ConfigurationError, EmulatorError
from emulator.hart import Access, Exit, Mode
from emulator.isa import csrs
from emulator.machine import Machine
from emulator.stops import (
    ALL_MODES,
    ANYWHERE,
    EVERY_CAUSE,
    GUEST_MODES,
    HOST_MODES,
    READ,
    WRITE,
    At,
    Change,
    Condition,
    CsrAccess,
    Hit,
    Printed,
    Scope,
    Space,
    Stop,
    Touch,
    Trap,
    Wanted,
)
from rvtui.expressions import ExpressionError, evaluate, register_number
from rvtui.keeping import Keeper
from rvtui.sources import called
from rvtui.spaces import Place
from rvtui.subjects import Subject, hart_of, inner_guests, names_of, selected_guest, selected_vcpu, virtual_machines
from rvtui.text import clean

FORMAT: Final = 1
MOST_KEPT, LONGEST_LINE = 512, 1000
MOST_SHOWN: Final = 64
SPACES: Final = {"va": Space.VIRTUAL, "gpa": Space.GUEST, "pa": Space.PHYSICAL}
WATCHES: Final = {"watch": WRITE, "rwatch": READ, "awatch": READ | WRITE}
ACCESSES: Final = {"write": WRITE, "read": READ, "access": READ | WRITE}
VERBS: Final = {READ: "read", WRITE: "written", READ | WRITE: "touched"}
EVENTS: Final = ("trap", "exit", "csr", "mode", "console")
HIT_VALUES: Final = ("new", "old", "cause", "tval", "address", "hits")
"""Names that a condition has beside those of `print`, with a $ before them."""
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "break": ("in",),
    "watch": ("for", "changed", "equals", "in"),
    "trap": ("from", "to", "in"),
    "exit": ("to", "in"),
    "csr": ("in",),
    "mode": ("from", "to", "in"),
    "console": ("in",),
}
"""What may stand behind the first part, by kind."""
_GROUPS: Final = {
    "exception": (EVERY_CAUSE, 0),
    "interrupt": (0, EVERY_CAUSE),
    "page-fault": (1 << 12 | 1 << 13 | 1 << 15, 0),
    "guest-page-fault": (1 << 20 | 1 << 21 | 1 << 23, 0),
    "ecall": (0xF << 8, 0),
}
"""Causes that belong together, as bits of exceptions and of interrupts."""
_MODE_WORDS: Final = {mode.name.lower(): frozenset({mode}) for mode in Mode} | {
    "host": HOST_MODES,
    "guest": GUEST_MODES,
    "any": ALL_MODES,
}


class StopError(EmulatorError):
    """A stop that cannot be understood, or not here."""


@dataclass
class Note:
    """What the book knows of a stop besides."""

    text: str
    """The line that sets it, without its condition."""
    condition: str = ""
    home: str = ""
    """The VM whose symbols names are looked up in; "": the machine's."""
    trouble: str = ""
    """Why it waits: what its names mean is not known here."""


@dataclass(frozen=True)
class Display:
    """An expression that is shown at each stop, in a /FORMAT."""

    number: int
    form: str
    text: str


@dataclass(frozen=True)
class Row:
    """A stop as lists show it."""

    number: int
    kind: str
    where: str
    condition: str
    enabled: bool
    temporary: bool
    hits: int
    ignore: int
    remark: str
    """ "never hit", and why it may not be."""

    @property
    def mark(self) -> str:
        return "○" if not self.enabled else "◆" if self.condition else "●"

    @property
    def text(self) -> str:
        condition = f" if {self.condition}" if self.condition else ""
        return f"{self.number:>3} {self.mark} {self.kind:<8} {self.where}{condition}: {self.remark}"

    @property
    def data(self) -> dict[str, Any]:
        return {**vars(self)}


# --- names and worlds ---


def resolver(machine: Machine, subject: Subject, transient: list[str] | None = None) -> Callable[[str], int | None]:
    """What names mean as `print` has it; those whose value is of the moment are added to `transient`."""
    face = hart_of(machine, subject)

    def resolve(name: str) -> int | None:
        if ":" in name:
            return names_of(machine, subject).find(name)
        plain = name.removeprefix("$")
        number = register_number(name)
        value: int | None
        if number is not None:
            value = int(face.x[number])
        elif plain == "pc":
            value = int(face.pc)
        elif plain.lower() in csrs.BY_NAME:
            value = int(face.csr(plain.lower()))
        else:
            return names_of(machine, subject).find(plain)
        if transient is not None:
            transient.append(name)
        return value

    return resolve


def home_of(machine: Machine, subject: Subject) -> str:
    vm, _ = selected_vcpu(machine, subject)
    return "" if vm is None else str(vm.name)


def subject_of(machine: Machine, home: str) -> Subject:
    """To look at names of a VM, by its name. StopError where there is none."""
    if not home:
        return Subject()
    for index, vm in enumerate(virtual_machines(machine)):
        if vm.name == home:
            return Subject(0, index)
    raise StopError(f"there is no VM {home} here")


def guest_scope(hgatp: int) -> Scope:
    """A guest by where its G-stage is, whatever its VMID."""
    mask = worlds.MODE.mask | worlds.PPN.mask
    return Scope(GUEST_MODES, hgatp & mask, mask)


def vmid_scope(vmid: int) -> Scope:
    return Scope(GUEST_MODES, vmid << worlds.VMID.low, worlds.VMID.mask)


def world_name(machine: Machine, mode: Mode, hgatp: int) -> str:
    """ "VS of hello", "VU of VMID 1", "HS"."""
    if not mode.virtual:
        return mode.name
    for vm in virtual_machines(machine):
        if worlds.identity(vm.hgatp) == worlds.identity(hgatp):
            return f"{mode.name} of {vm.name}"
    return f"{mode.name} of VMID {worlds.vmid_of(hgatp)}"


def parse_scope(machine: Machine, text: str) -> tuple[Scope, str | None]:
    """Of "VS,hello" and the like; and the name of the VM, if one is named."""
    modes: frozenset[Mode] = frozenset()
    guest: Scope | None = None
    home = None
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word.lower() in _MODE_WORDS:
            modes |= _MODE_WORDS[word.lower()]
            continue
        if guest is not None:
            raise StopError(f"{text!r}: one VM or guest at most")
        found = {vm.name: vm for vm in virtual_machines(machine)}
        inner = {each.name.lower(): each for each in inner_guests(machine)}
        if word in found:
            guest, home = guest_scope(found[word].hgatp), word
        elif match := re.fullmatch(r"vmid[ =]?(\d+)", word.lower()):
            if int(match[1]) > worlds.VMID.mask >> worlds.VMID.low:
                raise StopError(f"{word!r}: VMIDs are 0 to {worlds.VMID.mask >> worlds.VMID.low}")
            guest = vmid_scope(int(match[1]))
        elif word.lower() in inner:
            guest = guest_scope(inner[word.lower()].hgatp)
        elif match := re.fullmatch(r"hgatp=(.+)", word.lower()):
            guest = Scope(GUEST_MODES, evaluate(match[1], lambda name: None), (1 << 64) - 1)
        else:
            names = ", ".join([*_MODE_NAMES, *found, *(each.name for each in inner.values())])
            raise StopError(f"no mode, VM or guest is called {word!r}: there is {names}, VMID N, hgatp=VALUE")
    if guest is None:
        return Scope(modes or ALL_MODES), home
    if modes and not modes & GUEST_MODES:
        raise StopError(f"{text!r}: a guest is in VS or VU")
    return replace(guest, modes=(modes & GUEST_MODES) or GUEST_MODES), home


_MODE_NAMES: Final = (*(mode.name for mode in Mode), "host", "guest", "any")


def parse_modes(text: str) -> frozenset[Mode]:
    modes: frozenset[Mode] = frozenset()
    for word in text.replace(",", " ").lower().split():
        if word not in _MODE_WORDS:
            raise StopError(f"mode {word!r}: one of {', '.join(_MODE_NAMES)}")
        modes |= _MODE_WORDS[word]
    return modes or ALL_MODES


def cause_names() -> list[str]:
    """As stops take them; the manual's long ones work too."""
    return [*_GROUPS, *(row[0] for table in (csrs.EXCEPTIONS, csrs.INTERRUPTS) for row in table.values())]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def parse_causes(text: str) -> tuple[int, int]:
    """Bits of exceptions and of interrupts: of "13", "load page fault", "STI", "interrupt 5", "page-fault, ecall"."""
    exceptions = interrupts = 0
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = part.lower()
        if name in _GROUPS:
            more = _GROUPS[name]
        elif match := re.fullmatch(r"(interrupt\s+)?(0x[0-9a-f]+|\d+)", name):
            code = int(match[2], 0)
            if code >> 63:
                match, code = re.match("(.)", "i"), code & ~(1 << 63)
            if code > 63:
                raise StopError(f"cause {part}: codes are 0 to 63")
            more = (0, 1 << code) if match is not None and match[1] else (1 << code, 0)
        else:
            wanted = _plain(part)
            found = [
                (1 << code, 0) if table is csrs.EXCEPTIONS else (0, 1 << code)
                for table in (csrs.EXCEPTIONS, csrs.INTERRUPTS)
                for code, row in table.items()
                if wanted in map(_plain, row)
            ]
            if not found:
                raise StopError(f"no cause {part!r}: {', '.join(cause_names())}, or a number")
            more = found[0]
        exceptions, interrupts = exceptions | more[0], interrupts | more[1]
    return (exceptions, interrupts) if exceptions or interrupts else (EVERY_CAUSE, EVERY_CAUSE)


# --- from text ---


@dataclass(frozen=True)
class Plan:
    """What a line asks for. `text` says the same wherever it is read: without the moment's values."""

    what: Wanted
    text: str
    home: str


def _split(text: str) -> list[str]:
    """Words; what stands in quotes is one."""
    return re.findall(r"(?:\"[^\"]*\"|'[^']*')\S*|\S+", text)


def _sections(text: str, words: Iterable[str], bare: bool) -> tuple[str, dict[str, str]]:
    """The first part of a line, and those that begin with one of `words`. `bare`: there may be no first part."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for word in _split(text):
        if word.lower() in words and (current or parts[""] or bare):
            current = word.lower()
            if current in parts:
                raise StopError(f"{text!r}: {current} is there twice")
            parts[current] = []
        else:
            parts[current].append(word)
    return " ".join(parts.pop("")), {word: " ".join(rest) for word, rest in parts.items()}


def split_condition(text: str) -> tuple[str, str]:
    """A line and what stands behind its "if"."""
    words = _split(text)
    at = next((index for index, word in enumerate(words) if word.lower() == "if"), len(words))
    if at == len(words) - 1:
        raise StopError("if what? an expression, as in: if a0 == 3")
    return " ".join(words[:at]), " ".join(words[at + 1 :])


def parse(machine: Machine, subject: Subject, line: str) -> Plan:
    """A line such as "watch counter for 4 changed in hello", without its condition. Without `in` it is about the VM or
    the guest that is looked at. StopError, ExpressionError or ConfigurationError where it cannot be understood."""
    kind, _, rest = line.strip().partition(" ")
    words = _WORDS.get("watch" if kind in WATCHES else kind)
    if words is None:
        raise StopError(f"no kind of stop is called {kind!r}")
    first, more = _sections(rest, words, kind in ("trap", "exit", "mode"))
    home = home_of(machine, subject)
    guest = selected_guest(machine, subject)
    if "in" in more and kind != "console":
        scope, named = parse_scope(machine, more["in"])
        where = f" in {more['in']}"
        if named is not None and named != home:
            home, subject = named, subject_of(machine, named)
    elif home:
        scope, where = guest_scope(virtual_machines(machine)[subject.vm or 0].hgatp), f" in {home}"
    elif guest is not None:
        scope, where = vmid_scope(guest.vmid), f" in VMID {guest.vmid}"
    else:
        scope, where = ANYWHERE, ""
    if kind in WATCHES:
        return Plan(*_watch(machine, subject, kind, first, more, scope, where), home)
    ends = "".join(f" {word} {more[word]}" for word in ("from", "to") if word in more)
    match kind:
        case "break":
            address, text = _address(machine, subject, first)
            return Plan(At(address, scope), f"break {text}{where}", home)
        case "trap":
            causes = parse_causes(first)
            origins, targets = (parse_modes(more.get(word, "")) for word in ("from", "to"))
            return Plan(Trap(*causes, origins, targets, scope), f"trap {first}{ends}{where}".replace("  ", " "), home)
        case "exit":
            causes = parse_causes(first)
            targets = parse_modes(more["to"]) & HOST_MODES if "to" in more else HOST_MODES
            if not targets:
                raise StopError(f"exits to {more['to']}: a guest is left for M or HS")
            text = f"exit {first}{ends}{where}".replace("  ", " ")
            return Plan(Trap(*causes, GUEST_MODES, targets, scope), text, home)
        case "csr":
            return Plan(*_csr(machine, subject, first, scope, where), home)
        case "mode":
            text = f"mode {first}{ends}{where}".replace("  ", " ")
            return Plan(Change(_pairs(first, more), scope), text, home)
        case _:
            return Plan(_printed(machine, subject, first, more), line.strip(), home)


def _address(machine: Machine, subject: Subject, text: str) -> tuple[int, str]:
    """The value of an expression, and it as text that stays true."""
    if not text:
        raise StopError("where? a number, symbol or expression")
    transient: list[str] = []
    value = evaluate(text, resolver(machine, subject, transient))
    return value, f"{value:#x}" if transient else text


def _watch(
    machine: Machine, subject: Subject, kind: str, first: str, more: Mapping[str, str], scope: Scope, where: str
) -> tuple[Touch, str]:
    prefix, colon, rest = first.partition(":")
    if colon and prefix.lower() not in SPACES:
        raise StopError(f"{prefix}: addresses are {', '.join(f'{each}:' for each in SPACES)} or virtual ones without")
    space = SPACES[prefix.lower()] if colon else Space.VIRTUAL
    place, comma, length = (rest if colon else first).partition(",")
    if comma and "for" in more:
        raise StopError(f"{first!r}: one length is enough")
    length = length if comma else more.get("for", "8")
    address, text = _address(machine, subject, place.strip())
    size, _ = _address(machine, subject, length.strip().removesuffix("bytes").strip())
    if more.get("changed"):
        raise StopError(f"changed {more['changed']!r}: nothing stands behind it; for a value: equals VALUE")
    equals = _address(machine, subject, more["equals"])[0] if "equals" in more else None
    if equals is not None and size < 8:
        equals &= (1 << 8 * size) - 1
    changed = "changed" in more
    if changed and not WATCHES[kind] & WRITE:
        raise StopError("changed: only what is written changes: watch or awatch")
    if space is Space.PHYSICAL and "in" not in more:
        scope, where = ANYWHERE, " in any"
    what = Touch(address, size, WATCHES[kind], space, scope, changed, equals)
    space_text = "" if space is Space.VIRTUAL else f"{prefix.lower()}:"
    tail = " changed" * changed + ("" if equals is None else f" equals {equals:#x}")
    return what, f"{kind} {space_text}{text} for {size}{tail}{where}"


def _csr(machine: Machine, subject: Subject, text: str, scope: Scope, where: str) -> tuple[CsrAccess, str]:
    words = text.lower().split()
    if not words:
        raise StopError("which CSR? as in: catch csr satp")
    name, kinds, changed = words[0].removeprefix("$"), 0, False
    for word in words[1:]:
        if word in ACCESSES:
            kinds |= ACCESSES[word]
        elif word == "changed":
            changed = True
        else:
            raise StopError(f"{word!r}: a CSR is caught by {', '.join(ACCESSES)}, changed")
    if name not in csrs.BY_NAME:
        raise StopError(f"there is no CSR {name!r}")
    # A guest's own name for it is that of the register that it stands for.
    inside = scope.modes <= GUEST_MODES or (scope is ANYWHERE and hart_of(machine, subject).mode.virtual)
    name = csrs.BY_NAME[name].v_alias or name if inside else name
    what = CsrAccess(name, kinds or WRITE, changed, scope)
    how = next(word for word, each in ACCESSES.items() if each == what.kinds)
    return what, f"csr {name} {how}{' changed' * changed}{where}"


def _pairs(first: str, more: Mapping[str, str]) -> frozenset[tuple[Mode, Mode]]:
    """Which changes "enter", "leave", "VS", or from and to mean."""
    word = first.strip().lower()
    origins, targets = (parse_modes(more.get(each, "")) for each in ("from", "to"))
    every = {(a, b) for a in origins for b in targets if a is not b}
    if word in ("enter", "leave"):
        every = {(a, b) for a, b in every if (b if word == "enter" else a).virtual and a.virtual != b.virtual}
    elif word == "switch":
        every = {(a, b) for a, b in every if a.virtual != b.virtual}
    elif word:
        into = parse_modes(word)
        every = {(a, b) for a, b in every if b in into}
    if not every:
        raise StopError(f"no change of mode is {word or 'like that'}")
    return frozenset(every)


def _printed(machine: Machine, subject: Subject, first: str, more: Mapping[str, str]) -> Printed:
    text = first
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if not text:
        raise StopError("which text? as in: catch console \"login:\"")
    console = more.get("in", home_of(machine, subject))
    names = [vm.name for vm in virtual_machines(machine)] or [machine.console.name]
    if console.lower() == "any":
        console = ""
    if console and console not in names:
        raise StopError(f"no console is called {console!r}: there is {', '.join(names)}")
    return Printed(text.encode(), console)


def condition_of(text: str, home: str) -> Condition:
    """What says whether an expression, over the hart that was stopped, is not 0."""

    def holds(machine: Machine, hit: Hit) -> bool:
        return evaluate(text, _hit_resolver(machine, hit, home), _hit_memory(machine, hit, home)) != 0

    return holds


def _hit_resolver(machine: Machine, hit: Hit, home: str) -> Callable[[str], int | None]:
    seen = hit.seen
    values = {
        "$new": hit.value,
        "$old": hit.old,
        "$cause": seen.cause if seen else None,
        "$tval": seen.tval if seen else None,
        "$address": hit.touched.address if hit.touched else hit.pc,
        "$hits": hit.stop.hits,
    }
    hart = machine.harts[hit.hart]
    names = names_of(machine, subject_of(machine, home))

    def resolve(name: str) -> int | None:
        if ":" in name:
            return names.find(name)
        if name in values:
            return values[name] or 0
        plain = name.removeprefix("$")
        number = register_number(name)
        if number is not None:
            return int(hart.x[number])
        if plain == "pc":
            return hart.pc
        if plain.lower() in csrs.BY_NAME:
            return hart.csr(plain.lower())
        return names.find(plain)

    return resolve


def _hit_memory(machine: Machine, hit: Hit, home: str) -> Callable[[int], int]:
    """What * means in a condition: what is in memory for the hart that was stopped, or the VM."""
    subject = subject_of(machine, home) if home else Subject(hit.hart)
    return lambda at: int.from_bytes(Place(machine, subject, "va", at).read(8), "little")


# --- to words ---


def causes_text(exceptions: int, interrupts: int) -> str:
    for name, bits in _GROUPS.items():
        if (exceptions, interrupts) == bits:
            return name
    if (exceptions, interrupts) == (EVERY_CAUSE, EVERY_CAUSE):
        return "any"
    named = [csrs.cause_name(code, False) for code in range(64) if exceptions >> code & 1 and exceptions != EVERY_CAUSE]
    named += [csrs.cause_name(code, True) for code in range(64) if interrupts >> code & 1 and interrupts != EVERY_CAUSE]
    named += ["exception"] * (exceptions == EVERY_CAUSE) + ["interrupt"] * (interrupts == EVERY_CAUSE)
    return ", ".join(named)


def _symbol(machine: Machine, home: str, address: int) -> str:
    try:
        return called(names_of(machine, subject_of(machine, home)), address)
    except StopError:
        return ""


def row_of(machine: Machine, stop: Stop) -> Row:
    """A stop for lists. On the worker only."""
    note = stop.note if isinstance(stop.note, Note) else Note("")
    what = stop.what
    kind, _, rest = note.text.partition(" ")
    where = rest
    if isinstance(what, At | Touch):
        expression, _, tail = rest.partition(" in ") if isinstance(what, At) else rest.partition(" for ")
        at = f"{what.address:#x}{_symbol(machine, note.home, what.address)}"
        head, colon, _ = expression.partition(":")
        where = f"{head}:{at}" if colon and head.lower() in SPACES else at
        where += f" in {tail}" if tail and isinstance(what, At) else f" for {tail}" if tail else ""
    elif isinstance(what, Trap):
        where = causes_text(what.exceptions, what.interrupts) + rest[len(rest.partition(" in ")[0]) :]
        for word, modes, usual in (("from", what.origins, GUEST_MODES), ("to", what.targets, HOST_MODES)):
            if modes not in (ALL_MODES, usual if kind == "exit" else ALL_MODES):
                where += f" {word} {', '.join(mode.name for mode in sorted(modes))}"
    return Row(
        stop.number, kind, clean(where, 120), note.condition, stop.enabled, stop.temporary, stop.hits, stop.ignore,
        clean(_remark(machine, stop, note), 200),
    )  # fmt: skip


def _remark(machine: Machine, stop: Stop, note: Note) -> str:
    words = []
    if note.trouble:
        words.append(f"waits: {note.trouble}")
    words.append(f"hit {stop.hits} time{'s' * (stop.hits != 1)}" if stop.hits else "never hit")
    if stop.ignore:
        words.append(f"passes the next {stop.ignore}")
    if stop.temporary:
        words.append("once")
    if not stop.hits and (why := _unmapped(machine, stop, note)):
        words.append(why)
    return ", ".join(words)


def _unmapped(machine: Machine, stop: Stop, note: Note) -> str:
    """Why an address cannot be touched as things are, or ""."""
    what = stop.what
    if not isinstance(what, At | Touch):
        return ""
    try:
        subject = subject_of(machine, note.home)
    except StopError:
        return ""
    if isinstance(what, Touch) and what.space is Space.PHYSICAL:
        return ""
    vm, _ = selected_vcpu(machine, subject)
    if isinstance(what, Touch) and what.space is Space.GUEST:
        if vm is not None and not vm.has_memory(what.address, 1):
            return f"{vm.name} has no memory there"
        return ""
    access = Access.FETCH if isinstance(what, At) else Access.STORE if what.kinds == WRITE else Access.LOAD
    face = hart_of(machine, subject)
    if what.scope.mask and vm is None and not what.scope.holds(face.mode, face.hgatp):
        return ""  # another world's tables
    try:
        walk = face.walk(what.address, access)
    except EmulatorError:
        return ""
    if walk.cause is None or (vm is not None and walk.cause in worlds.GUEST_PAGE_FAULTS):
        return ""
    return f"nothing maps it now ({csrs.cause_name(walk.cause, False)})"


def tell(machine: Machine, hit: Hit) -> str:
    """One line: what stopped, where, and in which world."""
    stop, seen = hit.stop, hit.seen
    note = stop.note if isinstance(stop.note, Note) else Note("")
    hart = machine.harts[hit.hart]
    hgatp = seen.hgatp if seen else hart.hgatp
    world = world_name(machine, hit.mode, hgatp)
    if len(machine.harts) > 1 and not virtual_machines(machine):
        world += f", hart {hit.hart}"
    at = f"{hit.pc:#x}{_name_of(machine, hit.mode, hgatp, hit.pc)}"
    match stop.what:
        case At():
            text = f"breakpoint at {at}, {world}"
        case Touch() as what:
            touched = hit.touched
            assert touched is not None
            verb = VERBS[what.kinds & touched.kinds]
            if hit.value is None:
                values = f"{touched.size} bytes"
            else:
                written = what.kinds & touched.kinds & WRITE
                values = f"{hit.old:#x} -> {hit.value:#x}" if written else f"{hit.value:#x}"
            name = _symbol(machine, note.home, what.address)
            text = f"{verb} {what.address:#x}{name}: {values}; {world}, by {at}"
        case CsrAccess():
            assert seen is not None
            change = f"{hit.old:#x} -> {hit.value:#x}" if seen.csr_kinds & WRITE else f"read {hit.old:#x}"
            text = f"{seen.csr} {change}; {world}, by {at}"
        case Trap():
            assert seen is not None
            name = csrs.cause_name(seen.cause & (1 << 63) - 1, bool(seen.cause >> 63))
            value = f", value {seen.tval:#x}" if seen.tval else ""
            text = f"{name}, {world} to {seen.target.name}, at {at}{value}"
        case Change():
            assert seen is not None
            changes = ", ".join(f"{a.name} to {b.name}" for a, b in sorted(seen.changes))
            guest = [mode for pair in seen.changes for mode in pair if mode.virtual]
            of = world_name(machine, guest[0], seen.hgatp_after).partition(" of ")[2] if guest else ""
            text = f"{changes}{f' of {of}' if of else ''}, at {at}"
        case Printed() as what:
            text = f"{hit.console} printed {what.text.decode(errors='replace')!r}; {world}, at {at}"
    if hit.trouble:
        text += f" (its condition has no value: {hit.trouble})"
    return f"stop {stop.number}: {text}" if stop.number else text


def _name_of(machine: Machine, mode: Mode, hgatp: int, pc: int) -> str:
    if not mode.virtual:
        return called(machine.symbols, pc)
    same = (vm for vm in virtual_machines(machine) if worlds.identity(vm.hgatp) == worlds.identity(hgatp))
    return next((called(vm.symbols, pc) for vm in same), "")


def told(machine: Machine, exit: Exit) -> str:
    """The same for all of the user's stops that an exit is for; "" where it is for none."""
    return "; ".join(tell(machine, hit) for hit in exit.hits if hit.stop.number)


# --- what panes show ---


def set_in(machine: Machine) -> list[Stop]:
    """The user's stops in a machine."""
    return [stop for stop in machine.stops if stop.number]


def rows(machine: Machine) -> tuple[Row, ...]:
    return tuple(row_of(machine, stop) for stop in set_in(machine))


def breaks(machine: Machine, subject: Subject) -> dict[int, list[Stop]]:
    """Breakpoints by address, that could be reached in the VM or hart that is looked at."""
    vm, _ = selected_vcpu(machine, subject)
    found: dict[int, list[Stop]] = {}
    for stop in set_in(machine):
        if isinstance(stop.what, At) and (vm is None or stop.what.scope.of_guest(Mode.VS, vm.hgatp)):
            found.setdefault(stop.what.address, []).append(stop)
    return found


def mark_of(stop: Stop) -> str:
    return "○" if not stop.enabled else "◆" if stop.condition is not None else "●"


def marks(machine: Machine, subject: Subject) -> dict[int, str]:
    """The sign of each address with a breakpoint: of several the one that does most."""
    found = {at: min(map(mark_of, stops), key="●◆○".index) for at, stops in breaks(machine, subject).items()}
    return found | dict.fromkeys(machine.breakpoints, "●")


# --- the book ---


class Book:
    """The stops that the user set, of the machine that a session runs now, and the expressions that are shown at them.
    On the session's worker only."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._keeper: Keeper | None = None
        self.displays: tuple[Display, ...] = ()
        """Ascending by number."""
        self._shown = 0
        machine.stops.renewed = self._resolve

    @property
    def stops(self) -> list[Stop]:
        return set_in(self.machine)

    def find(self, number: int) -> Stop:
        stop = self.machine.stops.find(number)
        if stop is None:
            numbers = ", ".join(str(each.number) for each in self.stops)
            raise StopError(f"no stop {number}: there is {numbers}" if numbers else f"no stop {number}: none is set")
        return stop

    def set(self, subject: Subject, line: str, *, temporary: bool = False) -> Stop:
        """Set what a line asks for ("break main if a0 == 3"). StopError or the like, and nothing set, if it cannot."""
        line, condition = split_condition(line)
        plan = parse(self.machine, subject, line)
        if condition:
            self._check_condition(plan.what, condition, plan.home)
        stop = Stop(plan.what, temporary=temporary, note=Note(plan.text, condition, plan.home))
        stop.condition = condition_of(condition, plan.home) if condition else None
        self.machine.stops.add(stop)
        self.changed()
        return stop

    def toggle(self, subject: Subject, line: str) -> tuple[Stop, bool]:
        """Remove the stop without a condition that the line would set, if there is one, else set it; True: it is set.
        Raises what `set` does."""
        text = parse(self.machine, subject, line).text
        for stop in self.stops:
            if isinstance(stop.note, Note) and (stop.note.text, stop.note.condition) == (text, ""):
                self.remove(stop)
                return stop, False
        return self.set(subject, line), True

    def _check_condition(self, what: Wanted | None, text: str, home: str) -> None:
        hart = self.machine.harts[0]
        hit = Hit(Stop(what), 0, hart.pc, hart.mode)
        try:
            evaluate(text, _hit_resolver(self.machine, hit, home), lambda at: 1)
        except ExpressionError as error:
            if not str(error).startswith("division by zero"):
                raise

    def set_condition(self, stop: Stop, text: str) -> None:
        """"" takes it away."""
        note = stop.note
        if text:
            self._check_condition(stop.what, text, note.home)
        note.condition = text
        stop.condition = condition_of(text, note.home) if text else None
        self.changed()

    def enable(self, stop: Stop, on: bool) -> None:
        stop.enabled = on
        self.machine.stops.arm()
        self.changed()

    def remove(self, stop: Stop) -> None:
        self.machine.stops.remove(stop)
        self.changed()

    def move(self, machine: Machine) -> None:
        """Go on with another machine, as after a restore: the stops go along, with their numbers and counts."""
        kept = self.stops
        for stop in list(self.machine.stops):
            self.machine.stops.remove(stop)
        self.machine = machine
        machine.stops.renewed = self._resolve
        for stop in kept:
            stop.what = None
            machine.stops.add(stop)
        self._resolve()

    def _resolve(self) -> None:
        """Ask anew what the names in all stops mean."""
        for stop in self.stops:
            note = stop.note
            stop.what = None
            try:
                plan = parse(self.machine, subject_of(self.machine, note.home), note.text)
                self.machine.stops.check(plan.what)
            except EmulatorError as error:
                note.trouble = str(error)
            else:
                stop.what, note.trouble = plan.what, ""
        self._arm()

    def _arm(self) -> None:
        """As many as there is room for; the others wait."""
        while True:
            try:
                self.machine.stops.arm()
                return
            except ConfigurationError as error:
                stop = next(each for each in reversed(self.stops) if each.what is not None)
                stop.what, stop.note.trouble = None, str(error)

    # --- expressions that are shown ---

    def show(self, form: str, text: str) -> Display:
        """StopError where there are too many."""
        if len(self.displays) >= MOST_SHOWN:
            raise StopError(f"{MOST_SHOWN} expressions are shown already: undisplay some")
        if len(text) > LONGEST_LINE:
            raise StopError(f"expression of {len(text):,} characters: at most {LONGEST_LINE:,}")
        self._shown += 1
        display = Display(self._shown, form, text)
        self.displays = (*self.displays, display)
        self.changed()
        return display

    def hide(self, numbers: Iterable[int]) -> None:
        gone = set(numbers)
        self.displays = tuple(each for each in self.displays if each.number not in gone)
        self.changed()

    # --- the file ---

    def open(self, folder: Path | None = None) -> None:
        """Set what the file of this program says, and keep it there from now on. A file that cannot be read is told in
        the machine's warnings; it is put aside before another is written."""
        self._keeper = Keeper.of_program("stops", self.machine, folder)
        if self._keeper is None:
            return
        try:
            entries, displays = _entries(self._keeper.read())
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._keeper.broken = True
            self.machine.warnings.append(f"{self._keeper.path}: stops of before are not set: {clean(str(why), 120)}")
            return
        for text, condition, home, enabled, ignore in entries:
            stop = Stop(None, enabled=enabled, ignore=ignore, note=Note(text, condition, home))
            stop.condition = condition_of(condition, home) if condition else None
            self.machine.stops.add(stop)
        self.displays = tuple(Display(number, *each) for number, each in enumerate(displays, self._shown + 1))
        self._shown += len(displays)
        self._resolve()

    def changed(self) -> None:
        """Write the file, if there is one."""
        if self._keeper is None:
            return
        kept = [stop for stop in self.stops if not stop.temporary][:MOST_KEPT]
        entries = [
            {
                "text": stop.note.text, "condition": stop.note.condition, "home": stop.note.home,
                "enabled": stop.enabled, "ignore": stop.ignore,
            }
            for stop in kept
        ]  # fmt: skip
        displays = [{"form": each.form, "text": each.text} for each in self.displays]
        try:
            whole = {"format": FORMAT, "stops": entries, "displays": displays}
            self._keeper.write(whole if entries or displays else None)
        except (OSError, ConfigurationError) as error:
            self.machine.warnings.append(f"stops are not kept for next time: {clean(str(error), 160)}")
            self._keeper = None


def _entries(whole: Any) -> tuple[list[tuple[str, str, str, bool, int]], list[tuple[str, str]]]:
    """What the file of a program holds, stops and expressions, of which older ones have none; nothing where there is no
    file. ValueError that says what is wrong."""
    if whole is None:
        return [], []
    match whole:
        case {"format": 1, "stops": list(entries)} if len(entries) <= MOST_KEPT:
            pass
        case {"format": int(number)} if number != FORMAT:
            raise ValueError(f"format {number} is not one that this version reads")
        case _:
            raise ValueError("it is no list of stops")
    found = []
    for entry in entries:
        match entry:
            case {
                "text": str(text), "condition": str(condition), "home": str(home), "enabled": bool(enabled),
                "ignore": int(ignore),
            } if max(map(len, (text, condition, home))) <= LONGEST_LINE and 0 <= ignore < 1 << 63:  # fmt: skip
                found.append((text, condition, home, enabled, int(ignore)))
            case _:
                raise ValueError(f"stop {len(found) + 1} in it is damaged")
    shown = []
    match whole.get("displays", []):
        case list(displays) if len(displays) <= MOST_SHOWN:
            for entry in displays:
                match entry:
                    case {"form": str(form), "text": str(text)} if len(form) <= 20 and len(text) <= LONGEST_LINE:
                        shown.append((form, text))
                    case _:
                        raise ValueError(f"expression {len(shown) + 1} in it is damaged")
        case _:
            raise ValueError("its expressions are no list")
    return found, shown
