"""What arguments mean: expressions, counts, places in memory, names of what is looked at. On the worker only."""

from __future__ import annotations

import difflib
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path

from emulator.dwarf import DwarfError
from emulator.hart import Access, Mode
from emulator.isa import ABI_NAMES, FLOAT_NAMES, csrs
from emulator.loader import Symbols
from rvtui.commands.registry import COMMANDS, Argument, Candidate, CommandError, Context, kind
from rvtui.expressions import evaluate, register_number
from rvtui.frames import FrameError, Level, backtrace, variables_of
from rvtui.session import Session
from rvtui.spaces import NAMES as SPACES
from rvtui.spaces import Place
from rvtui.subjects import Subject, by_name, hart_of, names_of, symbols_of

ADDRESS = Argument("ADDRESS", "expression", "a number, symbol, register or expression")
PLACE = Argument("ADDRESS", "place", "an address: main, sp+8; of another space or VM: gpa:0x80000000, ticker:pa:0")
LENGTH = Argument("LENGTH", "expression", "how many bytes: 64, 4k, 2M, end-start")
FILE = Argument("FILE", "path", "a file name")
OFFERED = 200
"""Symbols that completion offers at most."""
_SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}


def value_of(
    context: Context, text: str, subject: Subject | None = None, compared: list[tuple[int, str, int]] | None = None
) -> int:
    """Evaluate over a hart's registers, CSRs and their fields, variables, symbols and memory; on the worker only.
    `compared`: see `evaluate`."""
    machine = context.session.machine
    subject = context.session.subject if subject is None else subject
    hart = hart_of(machine, subject)

    def resolve(name: str) -> int | None:
        if ":" in name:
            return names_of(machine, subject).find(name)
        number = register_number(name)
        if number is not None:
            return register_of(context, number, subject)
        variable = context.variables.get(name[1:]) if name.startswith("$") else None
        name = name.removeprefix("$")
        lower = name.lower()
        if variable is not None:
            return variable
        if lower == "pc":
            return int(level.pc if (level := level_of(context.session, subject)) else hart.pc)
        if lower in csrs.BY_NAME:
            return int(hart.csr(lower))
        if lower in FLOAT_NAMES:
            return int(hart.f[FLOAT_NAMES.index(lower)])
        csr, dot, field = name.partition(".")
        if dot and csr.lower() in csrs.BY_NAME:
            return field_of(csr.lower(), field).extract(hart.csr(csr.lower()))
        found = names_of(machine, subject).find(name)
        if found is None:
            found = local_of(context, name, subject)
        if found is None:
            hint = _hint(context, name)
            raise CommandError(f"unknown name {name!r}: no register, CSR or symbol is called that{hint}")
        return found

    def memory(address: int) -> int:
        return int.from_bytes(Place(machine, subject, "va", address).read(8), "little")

    return evaluate(text, resolve, memory, compared)


def _hint(context: Context, name: str) -> str:
    known = names_of(context.session.machine, context.session.subject)
    near = difflib.get_close_matches(name, [*ABI_NAMES, *csrs.BY_NAME, *_sorted_names(known)[:5000]], 1, 0.75)
    return f"; did you mean {near[0]!r}?" if near else ""


def field_of(csr: str, name: str) -> csrs.Field:
    """A field by its name, in any case. CommandError, which says which there are."""
    fields = csrs.BY_NAME[csr].fields
    for field in fields:
        if field.name.lower() == name.lower():
            return field
    raise CommandError(f"{csr} has no field {name!r}: there is {', '.join(field.name for field in fields)}")


def number_of(text: str, most: int = (1 << 63) - 1) -> int:
    """A whole number from 1; k, M and G are thousands here, as for --instructions."""
    digits = text.replace("_", "").replace(",", "")
    factor = 1 if digits[:2].lower() == "0x" else {"k": 10**3, "m": 10**6, "g": 10**9}.get(digits[-1:].lower(), 1)
    try:
        value = int(digits[:-1] if factor > 1 else digits, 0) * factor
    except ValueError:
        value = 0
    if value < 1:
        raise CommandError(f"count {text!r}: a whole number from 1")
    if value > most:
        raise CommandError(f"count {text}: at most {most:,}")
    return value


def count_of(text: str) -> int:
    return number_of(text)


def length_of(context: Context, text: str) -> int:
    """Bytes, at least one."""
    value = value_of(context, text)
    if not value:
        raise CommandError(f"length {text!r} is 0: there is nothing to do")
    return value


def size_of(form: str, default: int) -> int:
    """Bytes, by GDB's letter: b 1, h 2, w 4, g 8."""
    if not form:
        return default
    if form not in _SIZES:
        raise CommandError(f"/{form}: a size is one of b (1 byte), h (2), w (4), g (8)")
    return _SIZES[form]


def subject_named(context: Context, name: str) -> tuple[str, Subject]:
    """What is called `name`, however it is spelt: a VM, a hart's number, a guest inside. CommandError."""
    known = by_name(context.session.machine)
    spelt = {each.lower().replace(" ", ""): each for each in known}
    found = name if name in known else spelt.get(name.lower().replace(" ", "").removeprefix("hart"))
    if found is None:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CommandError(f"nothing is called {name!r}: {hint}there is {', '.join(known)}")
    return found, known[found]


def place_of(context: Context, text: str, space: str = "va") -> Place:
    """[NAME:][va:|gpa:|pa:]EXPRESSION: a place in an address space, of what is looked at or of what has that name."""
    *parts, expression = text.split(":")
    if parts and _is_line(context, parts[-1].strip(), expression):
        expression = f"{parts.pop()}:{expression}"
    if parts and parts[-1].strip().lower() in SPACES:
        space = parts.pop().strip().lower()
    if len(parts) > 1:
        raise CommandError(f"{text!r}: write NAME:SPACE:ADDRESS, as in ticker:gpa:0x80000000")
    subject = context.session.subject
    owner = ""
    if parts:
        try:
            owner, subject = subject_named(context, parts[0].strip())
        except CommandError as error:
            raise CommandError(f"{error}; spaces are {', '.join(SPACES)}") from None
    return Place(context.session.machine, subject, space, value_of(context, expression, subject), owner)


def _is_line(context: Context, head: str, rest: str) -> bool:
    """Whether "HEAD:REST" is FILE:LINE, and not an address in the space or VM HEAD."""
    if not re.match(r"\s*\d+(@\d+)?\s*($|[-+*/%&|^)<>])", rest) or head.lower() in SPACES:
        return False
    return "." in head or (
        head not in by_name(context.session.machine)
        and names_of(context.session.machine, context.session.subject).find(head) is not None
    )


def symbol(context: Context, address: int) -> str | None:
    return names_of(context.session.machine, context.session.subject).lookup(address)


def where(context: Context, address: int) -> str:
    name = symbol(context, address)
    return f"{address:#x}" + (f" <{name}>" if name else "")


def level_of(session: Session, subject: Subject | None = None) -> Level | None:
    """The frame that `frame` has chosen, while the machine has not gone on; None for the innermost."""
    machine = session.machine
    if session.level is None or (subject is not None and subject != session.subject):
        return None
    moment, number = session.level
    if moment != moment_of(session):
        session.level = None
        return None
    face, symbols = hart_of(machine, session.subject), symbols_of(machine, session.subject)
    levels, _ = backtrace(face, symbols, number + 1)
    return levels[number] if number < len(levels) else None


def moment_of(session: Session) -> tuple[object, ...]:
    """Equal as long as frames stay what they are."""
    face = hart_of(session.machine, session.subject)
    return session.subject, session.machine.executed, session.stops, face.pc


def local_of(context: Context, name: str, subject: Subject) -> int | None:
    """The value of a local variable of the frame that is looked at, where that is a number or pointer."""
    session = context.session
    face, symbols = hart_of(session.machine, subject), symbols_of(session.machine, subject)
    if not symbols.sources:
        return None
    level = level_of(session, subject) or backtrace(face, symbols, 1)[0][0]
    try:
        every = variables_of(face, symbols, level)
        variable = every.named(name)
        return None if variable is None else every.number(every.value(variable))
    except FrameError:
        return None
    except DwarfError as error:
        raise CommandError(f"{name}: {error}") from None


def register_of(context: Context, number: int, subject: Subject | None = None) -> int:
    """x0 to x31, of the frame that is looked at. CommandError where it is not known there."""
    level = level_of(context.session, subject)
    if level is None:
        subject = context.session.subject if subject is None else subject
        return int(hart_of(context.session.machine, subject).x[number])
    if number and number not in level.registers:
        raise CommandError(f"{ABI_NAMES[number]} is not known in frame {level.number}: what it called need not keep it")
    return level.registers[number] if number else 0


def label(context: Context, place: Place, address: int) -> str:
    """An address of a place's space as it could be typed, and what it is called: names are of virtual addresses."""
    known = symbols_of(context.session.machine, place.subject).lookup(address) if place.space == "va" else None
    return place.spelt(address) + (f" <{known}>" if known else "")


def access_of(text: str) -> Access:
    try:
        return Access[text.upper()]
    except KeyError:
        raise CommandError(f"access {text!r}: one of fetch, load, store, hlvx") from None


def mode_of(text: str) -> Mode | None:
    """None for ""."""
    if not text:
        return None
    try:
        return Mode[text.upper()]
    except KeyError:
        raise CommandError(f"mode {text!r}: one of M, HS, U, VS, VU") from None


def progress(context: Context, text: str) -> Callable[[int, int], None]:
    """Tells the screen how far a long command is, ten times a second at most, and ends it where that is wanted."""
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        context.check()
        now = time.monotonic()
        if now - told > 0.1:
            told = now
            context.screen.progress(f"{text}: {done * 100 // max(1, total)}%")

    return tell


# What completion offers.

_NAME = re.compile(r"[\w.$@]*$")
_names: tuple[Symbols | None, list[str]] = (None, [])


def _sorted_names(symbols: Symbols) -> list[str]:
    """All names, sorted; remembered, as a kernel has a hundred thousand and every key asks."""
    global _names
    if _names[0] is not symbols:
        _names = (symbols, symbols.names)
    return _names[1]


def symbol_names(context: Context, stem: str) -> Iterator[Candidate]:
    symbols = names_of(context.session.machine, context.session.subject)
    names = _sorted_names(symbols)
    at = bisect_left(names, stem)
    for name in names[at : at + OFFERED]:
        if name.startswith(stem):
            yield Candidate(name, f"{symbols.find(name) or 0:#x}")


def _registers() -> Iterator[Candidate]:
    yield Candidate("pc", "program counter")
    yield from (Candidate(name, f"x{number}") for number, name in enumerate(ABI_NAMES))


@kind("expression")
def _expression(context: Context, stem: str) -> Iterator[Candidate]:
    match = _NAME.search(stem)
    start = match.start() if match else len(stem)
    head, stem = stem[:start], stem[start:]
    head, stem = (head + "$", stem[1:]) if stem.startswith("$") else (head, stem)
    csr, dot, _ = stem.partition(".")
    if dot and csr in csrs.BY_NAME:
        yield from (Candidate(f"{head}{csr}.{each.name}", each.doc) for each in csrs.BY_NAME[csr].fields)
        return
    yield from (Candidate(head + name, help) for name, help in _registers())
    yield from (Candidate(head + name, each.doc) for name, each in csrs.BY_NAME.items())
    if stem:
        yield from (Candidate(head + name, help) for name, help in symbol_names(context, stem))


@kind("place")
def _place(context: Context, stem: str) -> Iterator[Candidate]:
    head, colon, rest = stem.rpartition(":")
    head += colon
    if head.strip(": ").rpartition(":")[2] not in SPACES:
        yield from (Candidate(f"{head}{space}:", help) for space, help in SPACES.items())
    if not head:
        yield from (Candidate(f"{name}:", "its addresses") for name, _ in _vm(context, ""))
    yield from (Candidate(head + text, help) for text, help in _expression(context, rest))


@kind("assignment")
def _assignment(context: Context, stem: str) -> Iterator[Candidate]:
    name, equals, value = stem.partition("=")
    if equals:
        csr, _, field = name.partition(".")
        for each in csrs.BY_NAME[csr].fields if csr in csrs.BY_NAME else ():
            if each.name == field and each.values:
                yield from (Candidate(f"{name}={text}", str(bits)) for bits, text in each.values.items())
        yield from (Candidate(f"{name}={text}", help) for text, help in _expression(context, value))
        return
    csr, dot, _ = name.partition(".")
    if dot and csr in csrs.BY_NAME:
        yield from (Candidate(f"{csr}.{each.name}=", each.doc) for each in csrs.BY_NAME[csr].fields)
        return
    yield from (Candidate(f"{name}=", help) for name, help in _registers())
    yield from (Candidate(f"{name}=", "") for name in FLOAT_NAMES)
    yield from (Candidate(f"{name}=", each.doc) for name, each in csrs.BY_NAME.items())


@kind("pane")
def _pane(context: Context, stem: str) -> Iterator[Candidate]:
    return map(Candidate, context.panes)


@kind("vm")
def _vm(context: Context, stem: str) -> Iterator[Candidate]:
    # The machine may be running: what was seen of it.
    overview = context.session.view.get("overview")
    return map(Candidate, getattr(overview, "names", None) or context.session.view.get("names") or ())


@kind("console")
def _console(context: Context, stem: str) -> Iterator[Candidate]:
    return map(Candidate, context.session.view.consoles)


@kind("access")
def _access(context: Context, stem: str) -> Iterator[Candidate]:
    return (Candidate(access.name.lower()) for access in Access)


@kind("mode")
def _mode(context: Context, stem: str) -> Iterator[Candidate]:
    return (Candidate(mode.name) for mode in Mode)


@kind("command")
def _command(context: Context, stem: str) -> Iterator[Candidate]:
    return (Candidate(name, each.help) for name, each in sorted(COMMANDS.items()))


@kind("symbol")
def _symbol(context: Context, stem: str) -> Iterator[Candidate]:
    return symbol_names(context, stem)


@kind("path")
def _path(context: Context, stem: str) -> Iterator[Candidate]:
    path = Path(stem or ".")
    folder = path if stem.endswith("/") or not stem else path.parent
    try:
        entries = sorted(folder.iterdir())[:200]
    except (OSError, ValueError):
        return
    for entry in entries:
        yield Candidate(("" if not stem.startswith("./") else "./") + str(entry) + "/" * entry.is_dir())
