"""`rvtui isa`: what the hart implements, and what one extension, instruction or CSR is.

With --json every answer is one object, whose keys only ever grow in number:

    rvtui isa             {"isa", "profiles": [PROFILE], "extensions": [EXTENSION]}
    rvtui isa NAME        {"profiles", "extensions", "instructions", "csrs"}: all that bear the name, each a list
    rvtui isa SET         {"isa", "mmu", "name", "extensions": names, "off": names}: of what `run --isa SET` takes
    rvtui isa diff A B    {"from", "to", "added": [NAMED], "removed": [NAMED], "changed": [CHANGE]}

    PROFILE      name, privileged (version or null), mandatory, optional, missing: lists of names
    EXTENSION    name, version, meaning, implemented, instructions: names
    INSTRUCTION  name, syntax, pattern, length, mask, match, extension, does, expands_to (or null), aliases, source
    CSR          name, number, doc, privilege, read_only, extension (or null), since, h_since (or null), former: [{name,
                 number, versions}], vs_twin (or null), fields: [{name, low, width, kind, doc, values, extension}]
    NAMED        name, number (or null), doc
    CHANGE       name, what: one line a change
"""

from __future__ import annotations

import difflib
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from emulator.errors import ConfigurationError
from emulator.isa import ISA, Isa, csrs, sentence
from emulator.isa.csrs import Csr, Field
from emulator.isa.description import Compressed, Instruction
from emulator.isa.extensions import EXTENSIONS, Extension, isa_string
from emulator.isa.features import named, said
from emulator.isa.profiles import PROFILES, Profile, extension
from rvtui.colour import colours

WIDTH: Final = 80
_SHORT: Final = {name: f"{name[5]}{name[3:5]}" for name in PROFILES}  # U20, S20 and so on
_PRIVILEGE: Final = {"U": "any mode", "S": "S-mode and above", "H": "HS- and M-mode", "M": "M-mode"}
_RED, _GREEN, _BOLD, _FAINT = "31", "32", "1", "2"


class _Page:
    """Lines for people: colours on a terminal that has them, marks everywhere."""

    def __init__(self) -> None:
        out = sys.stdout
        self.colours = colours(out)
        self.lines: list[str] = []
        try:
            "✓✗●○·".encode(out.encoding or "ascii")
            self.marks, self.cells = {True: "✓", False: "✗"}, ("●", "○", "·")
        except (UnicodeEncodeError, LookupError):
            self.marks, self.cells = {True: "+", False: "-"}, ("M", "o", ".")

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and text.strip() else text

    def mark(self, good: bool, needed: bool = True) -> str:
        return self.paint(self.marks[good], _GREEN if good else _RED if needed else _FAINT)

    def add(self, text: str = "") -> None:
        self.lines.append(text.rstrip())

    def title(self, text: str) -> None:
        self.add(self.paint(text, _BOLD))

    def wrapped(self, lead: str, text: str, width: int = 0) -> None:
        """`text` behind `lead`, which is `width` columns wide (by default its length), and under itself."""
        width = width or len(lead)
        for line in textwrap.wrap(text, WIDTH - width, break_on_hyphens=False) or [""]:
            self.add(lead + line)
            lead = " " * width

    def row(self, key: str, text: str) -> None:
        self.wrapped(f"  {self.paint(key.ljust(10), _FAINT)}  ", text, 14)

    def __str__(self) -> str:
        return "\n".join(self.lines)


def main(names: Sequence[str], *, as_json: bool = False) -> int:
    """Carry out the command. ConfigurationError for a name that nothing has."""
    page = _Page()
    match list(names):
        case []:
            answer = _overview(page)
        case ["diff", old, new]:
            answer = _diff(page, _version(old), _version(new))
        case ["diff", *_]:
            raise ConfigurationError(f"isa diff A B: two of {', '.join(csrs.VERSIONS)}")
        case [name] if "," in name or name.lower().startswith("rv64") or name.lower() == "max":
            answer = _set(page, Isa.parse(name))
        case [name]:
            answer = _lookup(page, name)
        case _:
            raise ConfigurationError("isa: one name at a time")
    print(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else page, flush=True)
    return 0


# --- the whole ---


def _overview(page: _Page) -> dict[str, Any]:
    page.title("What the hart implements")
    for line in textwrap.wrap(isa_string().replace("_", " _"), WIDTH - 2):
        page.add("  " + line.replace(" _", "_"))
    page.add()
    page.title("Profile    mandatory  optional  missing")
    for profile in PROFILES.values():
        here = [sum(extension(name).implemented for name in names) for names in (profile.mandatory, profile.optional)]
        counts = f"{here[0]:2} of {len(profile.mandatory):2}   {here[1]:2} of {len(profile.optional):2}"
        page.wrapped(f"{profile.name} {page.mark(not profile.missing)} {counts}  ", " ".join(profile.missing), 32)
    page.add()
    full, open_, _ = page.cells
    page.add(f"Below: {full} mandatory in a profile, {open_} an option of it. `rvtui isa NAME` says more.")
    page.add()
    page.title("  " + "extension".ljust(13) + " ".join(_SHORT.values()) + "  meaning")
    for each in _all():
        _matrix_row(page, each)
    return {
        "isa": isa_string(),
        "profiles": [_profile_data(profile) for profile in PROFILES.values()],
        "extensions": [_extension_data(each) for each in _all()],
    }


def _all() -> Iterator[Extension]:
    """Everything with a name: the extensions, then what only profiles name."""
    yield from EXTENSIONS
    known = {each.name for each in EXTENSIONS}
    for name in dict.fromkeys(name for p in PROFILES.values() for name in (*p.mandatory, *p.optional)):
        if name not in known:
            yield extension(name)


def _forms() -> Iterator[Instruction | Compressed]:
    """Every instruction, 16-bit forms too."""
    yield from ISA.instructions.values()
    yield from ISA.compressed.values()


def _matrix_row(page: _Page, each: Extension) -> None:
    full, open_, none = page.cells
    cells, needed = [], False
    for profile in PROFILES.values():
        mandatory = each.name in profile.mandatory
        needed |= mandatory
        cells.append((full if mandatory else open_ if each.name in profile.optional else none).ljust(3))
    text = " ".join(cells)
    page.wrapped(f"{page.mark(each.implemented, needed)} {each.name:<13}{text}  ", each.meaning, 2 + 13 + len(text) + 2)


# --- a set, as --isa names it ---


def _set(page: _Page, isa: Isa) -> dict[str, Any]:
    page.title("What harts with this name implement")
    for line in textwrap.wrap(isa.string.replace("_", " _"), WIDTH - 2):
        page.add("  " + line.replace(" _", "_"))
    page.add()
    page.row("mmu-type", isa.mmu)
    page.row("off", ", ".join(isa.missing) or "nothing")
    return {
        "isa": isa.string,
        "mmu": isa.mmu,
        "name": str(isa),
        "extensions": list(isa.names_in_order),
        "off": list(isa.missing),
    }


# --- one name ---


def _lookup(page: _Page, name: str) -> dict[str, Any]:
    wanted = name.lower()
    profiles = [profile for profile in PROFILES.values() if profile.name.lower() == wanted]
    extensions = [each for each in _all() if each.name.lower() == wanted]
    instructions = [each for each in _forms() if each.name == wanted]
    instructions += [
        each for each in ISA.instructions.values() if wanted in {alias.split()[0] for alias, _ in each.aliases}
    ]
    registers = [csr for csr in csrs.CSRS if csr.name == wanted or _is_number(wanted, csr.number)]
    if not (profiles or extensions or instructions or registers):
        raise ConfigurationError(f"{name}: no extension, instruction, CSR or profile has this name{_near(wanted)}")
    for profile in profiles:
        _show_profile(page, profile)
    for each in extensions:
        _show_extension(page, each)
    for insn in instructions:
        _show_instruction(page, insn)
    for csr in registers:
        _show_csr(page, csr)
    return {
        "profiles": [_profile_data(profile) for profile in profiles],
        "extensions": [_extension_data(each) for each in extensions],
        "instructions": [_instruction_data(insn) for insn in instructions],
        "csrs": [_csr_data(csr) for csr in registers],
    }


def _is_number(text: str, number: int) -> bool:
    try:
        return int(text, 16 if text.startswith("0x") else 10) == number
    except ValueError:
        return False


def _near(wanted: str) -> str:
    names = [*PROFILES, *(each.name for each in _all()), *ISA.instructions, *ISA.compressed, *csrs.BY_NAME]
    found = difflib.get_close_matches(wanted, [name.lower() for name in names], 3)
    return f"; near to it: {', '.join(found)}" if found else ""


def _section(page: _Page, title: str) -> None:
    if page.lines:
        page.add()
    for line in textwrap.wrap(title, WIDTH):
        page.title(line)


def _show_profile(page: _Page, profile: Profile) -> None:
    based = f", based on privileged architecture {profile.privileged}" if profile.privileged else ""
    _section(page, f"{profile.name}: application processors, 64 bits{based}")
    for title, names in (("mandatory", profile.mandatory), ("optional", profile.optional)):
        here = sum(extension(name).implemented for name in names)
        page.add()
        page.add(page.paint(f"{title}: {here} of {len(names)}", _FAINT))
        for each in map(extension, names):
            mark = page.mark(each.implemented, title == "mandatory")
            page.wrapped(f"{mark} {each.name:<13}", each.meaning, 15)


def _show_extension(page: _Page, each: Extension) -> None:
    _section(page, f"{each.name}, version {each.version}: {each.meaning}")
    page.row("here", f"{page.marks[each.implemented]} {'yes' if each.implemented else 'no'}")
    for key, attribute in (("mandatory", "mandatory"), ("optional", "optional")):
        found = [profile.name for profile in PROFILES.values() if each.name in getattr(profile, attribute)]
        if found:
            page.row(key, ", ".join(found))
    instructions = _instructions_of(each)
    if instructions:
        page.row("adds", ", ".join(instructions))
    registers = [csr.name for csr in csrs.CSRS if each.name in named(csr.extension)]
    if registers:
        page.row("CSRs", ", ".join(registers))
    fields = [
        f"{csr.name}.{field.name}"
        for csr in csrs.CSRS
        for field in csr.fields
        if each.name in named(field.extension) and each.name not in named(csr.extension)
    ]
    if fields:
        page.row("fields", ", ".join(fields))


def _instructions_of(each: Extension) -> list[str]:
    return [insn.name for insn in _forms() if insn.extension == each.name]


def _show_instruction(page: _Page, insn: Instruction | Compressed) -> None:
    _section(page, insn.syntax)
    page.row("pattern", insn.pattern)
    digits = insn.layout.length * 2
    page.row("word", f"{insn.layout.match:#0{digits + 2}x} under the mask {insn.layout.mask:#0{digits + 2}x}")
    if isinstance(insn, Compressed):
        page.row("short for", _expansion(insn))
    page.row("does", sentence(_target(insn)))
    for alias, conditions in _aliases(insn):
        page.row("alias", f"{alias}, when {conditions}")
    for operand, values in insn.never.items():
        page.row("reserved", f"{operand} = {', '.join(map(str, values))}")
    page.row("extension", _extension_text(insn.extension))
    page.row("manual", _source(insn))
    doc = insn.doc if isinstance(insn, Instruction) else ""
    if doc:
        page.row("note", " ".join(doc.split()))


def _extension_text(name: str) -> str:
    """Trap returns and the like are of a mode, not of an extension."""
    meaning = next((each.meaning for each in _all() if each.name == name), "")
    if not meaning and len(named(name)) > 1:
        return said(name)
    return f"{name}: {meaning}" if meaning else f"none: {name.removesuffix('-mode')}-mode's own"


def _target(insn: Instruction | Compressed) -> Instruction:
    return insn if isinstance(insn, Instruction) else ISA.instructions[insn.target]


def _expansion(insn: Compressed) -> str:
    given = ", ".join(f"{key} = {value}" for key, value in insn.arguments.items())
    return f"{insn.target}{' with ' + given if given else ''}"


def _aliases(insn: Instruction | Compressed) -> Iterator[tuple[str, str]]:
    if isinstance(insn, Instruction):
        for alias, conditions in insn.aliases:
            yield alias, " and ".join(f"{operand} = {value}" for operand, value in conditions.items())


def _source(insn: Instruction | Compressed) -> str:
    """The chapter, as the module of descriptions names it. A 16-bit form has that of its extension."""
    if isinstance(insn, Instruction):
        return insn.source
    return next((each.source for each in ISA.instructions.values() if each.extension == insn.extension), _COMPRESSED)


_COMPRESSED: Final = "C Extension for Compressed Instructions"


def _show_csr(page: _Page, csr: Csr) -> None:
    _section(page, f"{csr.name}, CSR {csr.number:#05x}: {csr.doc}")
    page.row("access", f"{_PRIVILEGE[csr.privilege]}, {'read-only' if csr.read_only else 'read and write'}")
    if csr.extension:
        page.row("extension", _extension_text(csr.extension))
    page.row("since", _since(csr))
    for former in csr.former:
        number = "no number" if former.number is None else f"{former.number:#05x}"
        page.row("was", f"{former.name}, {number}, in {', '.join(former.versions)}")
    twin = csr.twin
    if twin is not None:
        if csr.v_alias:
            page.row("VS twin", f"{twin.name} ({twin.number:#05x}), which takes its place while V=1")
        else:
            page.row("VS twin", f"of {twin.name} ({twin.number:#05x}), whose place it takes while V=1")
    page.row("writable", f"{csr.write_mask:#018x}")
    if csr.fields:
        page.add()
        page.add(page.paint("  bits   field     what", _FAINT))
    for field in sorted(csr.fields, key=lambda field: -field.low):
        page.wrapped(f"  {_bits(field):<6} {field.name:<9} ", _field_text(field), 19)


def _since(csr: Csr) -> str:
    text = f"privileged architecture {csr.since}"
    if csr.removed:
        text += f", removed in {csr.removed}"
    return text + (f"; H extension {csr.h_since}" if csr.h_since else "")


def _bits(field: Field) -> str:
    return str(field.low) if field.width == 1 else f"{field.high}:{field.low}"


def _field_text(field: Field) -> str:
    text = field.doc
    if field.values:
        text += f" ({', '.join(f'{value} {name}' for value, name in field.values.items())})"
    if field.kind.value != "read/write":
        value = f" {field.meaning(field.value)}" if field.kind.name == "FIXED" and field.width < 64 else ""
        text += f"; {field.kind.value}{value}"
    if field.without:
        text += f"; only without {field.without}"
    return text + (f"; {said(field.extension)}" if field.extension else "")


# --- versions ---


def _version(text: str) -> str:
    if text not in csrs.VERSIONS:
        raise ConfigurationError(f"isa diff: no version {text!r}; there are {', '.join(csrs.VERSIONS)}")
    return text


def _diff(page: _Page, old: str, new: str) -> dict[str, Any]:
    if (old in csrs.PRIVILEGED_VERSIONS) != (new in csrs.PRIVILEGED_VERSIONS):
        raise ConfigurationError("isa diff: two versions of the privileged architecture, or two of the H extension")
    sides = [{csr.name: (name, number, csr) for name, number, csr in csrs.present_in(each)} for each in (old, new)]
    before, after = sides
    added = [after[name] for name in after if name not in before]
    removed = [before[name] for name in before if name not in after]
    changed = [
        (after[name][0], what)
        for name in after
        if name in before
        for what in [list(_changes(before[name], after[name], old, new))]
        if what
    ]
    page.title(f"CSRs, from {old} to {new}")
    for mark, rows, colour in (("+", added, _GREEN), ("-", removed, _RED)):
        for name, number, csr in rows:
            page.wrapped(f"{page.paint(mark, colour)} {name:<15} {_number(number):<7} ", csr.doc, 26)
    for name, what in changed:
        for line in what:
            page.wrapped(f"{page.paint('~', _BOLD)} {name:<15} ", line, 18)
    if not (added or removed or changed):
        page.add("  no difference that the table knows")
    return {
        "from": old,
        "to": new,
        "added": [{"name": name, "number": number, "doc": csr.doc} for name, number, csr in added],
        "removed": [{"name": name, "number": number, "doc": csr.doc} for name, number, csr in removed],
        "changed": [{"name": name, "what": what} for name, what in changed],
    }


def _number(number: int | None) -> str:
    return "none" if number is None else f"{number:#05x}"


def _changes(
    before: tuple[str, int | None, Csr], after: tuple[str, int | None, Csr], old: str, new: str
) -> Iterator[str]:
    if before[0] != after[0]:
        yield f"was called {before[0]}"
    if before[1] != after[1]:
        yield f"number {_number(before[1])}, now {_number(after[1])}"
    left, right = (
        # Fields of later extensions belong to no version of the architecture.
        {field.name: field for field in after[2].fields_in(each) if not field.later}
        for each in (old, new)
    )
    for name in dict.fromkeys((*left, *right)):
        if name not in right:
            yield f"field {name} (bits {_bits(left[name])}) is gone"
        elif name not in left:
            yield f"field {name} (bits {_bits(right[name])}) is new: {right[name].doc}"
        elif _bits(left[name]) != _bits(right[name]):
            yield f"field {name} moved from bits {_bits(left[name])} to {_bits(right[name])}"


# --- data ---


def _profile_data(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "privileged": profile.privileged,
        "mandatory": list(profile.mandatory),
        "optional": list(profile.optional),
        "missing": list(profile.missing),
    }


def _extension_data(each: Extension) -> dict[str, Any]:
    return {
        "name": each.name,
        "version": each.version,
        "meaning": each.meaning,
        "implemented": each.implemented,
        "instructions": _instructions_of(each),
    }


def _instruction_data(insn: Instruction | Compressed) -> dict[str, Any]:
    return {
        "name": insn.name,
        "syntax": insn.syntax,
        "pattern": insn.pattern,
        "length": insn.layout.length,
        "mask": insn.layout.mask,
        "match": insn.layout.match,
        "extension": insn.extension,
        "does": sentence(_target(insn)),
        "expands_to": _expansion(insn) if isinstance(insn, Compressed) else None,
        "aliases": [alias for alias, _ in _aliases(insn)],
        "source": _source(insn),
    }


def _csr_data(csr: Csr) -> dict[str, Any]:
    twin = csr.twin
    return {
        "name": csr.name,
        "number": csr.number,
        "doc": csr.doc,
        "privilege": csr.privilege,
        "read_only": csr.read_only,
        "extension": next(iter(named(csr.extension)), None),
        "since": csr.since,
        "h_since": csr.h_since,
        "former": [{"name": each.name, "number": each.number, "versions": list(each.versions)} for each in csr.former],
        "vs_twin": None if twin is None else twin.name,
        "fields": [_field_data(field) for field in _ordered(csr.fields)],
    }


def _ordered(fields: Iterable[Field]) -> list[Field]:
    return sorted(fields, key=lambda field: field.low)


def _field_data(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "low": field.low,
        "width": field.width,
        "kind": field.kind.value,
        "doc": field.doc,
        "values": None if field.values is None else {str(value): name for value, name in field.values.items()},
        "extension": next(iter(named(field.extension)), None),
    }
