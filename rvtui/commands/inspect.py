"""Values, registers and CSRs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

from emulator.errors import EmulatorError
from emulator.isa import ABI_NAMES, FLOAT_NAMES, csrs
from emulator.isa.csrs import Csr
from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, Told, command, kind
from rvtui.commands.values import field_of
from rvtui.expressions import register_number
from rvtui.subjects import hart_of, symbols_of
from rvtui.text import clean, csr_summary

GROUPS = {
    "x": "the integer registers, pc and mode",
    "f": "the floating-point registers, as raw bits",
    "all": "both, and all CSRs",
    **dict.fromkeys(dict.fromkeys(each.group.split()[0] for each in csrs.CSRS), "CSRs"),
}
"""Groups of registers by name, and what is in them."""


@kind("register-group")
def _groups(context: Context, stem: str) -> Iterator[Candidate]:
    yield from (Candidate(name, help) for name, help in GROUPS.items())
    yield from (Candidate(name, f"x{number}") for number, name in enumerate(ABI_NAMES))
    yield from (Candidate(name) for name in FLOAT_NAMES)
    yield from (Candidate(name, each.doc) for name, each in csrs.BY_NAME.items())


@command(
    "registers",
    "the registers, a group of them, or some by name",
    Argument("GROUP", "register-group", f"{', '.join(GROUPS)}; or names of registers and CSRs", True),
    example="registers\nregisters hypervisor\nregisters sp ra pc",
    aliases=("regs", "info registers"),
)
def _registers(context: Context, group: str = "x") -> Report:
    words = group.replace(",", " ").split() or ["x"]
    rows: list[tuple[str, int, str]] = []
    face = hart_of(context.session.machine, context.session.subject)
    symbols = symbols_of(context.session.machine, context.session.subject)

    def named(value: int) -> str:
        return symbols.lookup(value) or "" if value > 4095 else ""

    for word in words:
        word = word.lower().removeprefix("$")
        if word in ("x", "all"):
            rows.append(("pc", face.pc, named(face.pc)))
            rows += [(name, face.x[number], named(face.x[number])) for number, name in enumerate(ABI_NAMES)]
        if word in ("f", "all"):
            rows += [(name, face.f[number], "") for number, name in enumerate(FLOAT_NAMES)]
        if word in GROUPS:
            if word not in ("x", "f"):
                rows += [(each.name, value, csr_summary(each, value)) for each, value in _values(face, word)]
        elif (number := register_number(word)) is not None:
            rows.append((ABI_NAMES[number], face.x[number], named(face.x[number])))
        elif word == "pc":
            rows.append(("pc", face.pc, named(face.pc)))
        elif word in FLOAT_NAMES:
            rows.append((word, face.f[FLOAT_NAMES.index(word)], ""))
        elif word in csrs.BY_NAME:
            value = face.csr(word)
            rows.append((word, value, csr_summary(csrs.BY_NAME[word], value)))
        else:
            raise CommandError(f"no register or group {word!r}: groups are {', '.join(GROUPS)}")
    mode = face.mode.label
    width = max(len(name) for name, _, _ in rows)
    lines = [_line(name, value, text, width) for name, value, text in rows]
    data: dict[str, Any] = {name: hex(value) for name, value, _ in rows}
    if words[0] in ("x", "all"):
        lines[0] = Told(f"{lines[0]}  in {mode}", f"{lines[0].said}, in {mode}")
    return Report(tuple(lines), {"mode": mode, "registers": data})


def _line(name: str, value: int, text: str, width: int) -> Told:
    text = clean(text, 120)
    said = f"{name}: {f'{value:#x}' if value else 0}" + (f", {text}" if text else "")
    return Told(f"{name:<{width}}  {value:016x}  {text}".rstrip(), said)


def _values(face: Any, group: str) -> Iterator[tuple[Csr, int]]:
    """The CSRs of a group that the hart has."""
    for each in csrs.CSRS:
        if group in ("all", each.group.split()[0]):
            try:
                yield each, face.csr(each.name)
            except EmulatorError:
                continue


@kind("csr")
def _csr_names(context: Context, stem: str) -> Iterator[Candidate]:
    name, dot, _ = stem.partition(".")
    if dot and name in csrs.BY_NAME:
        yield from (Candidate(f"{name}.{each.name}", each.doc) for each in csrs.BY_NAME[name].fields)
    else:
        yield from (Candidate(name, each.doc) for name, each in csrs.BY_NAME.items())


@command(
    "csr",
    "a CSR with its fields, one field, or all with a name like a pattern",
    Argument("NAME[.FIELD]", "csr", "vsstatus, vsstatus.SUM, 0x200, vs*; all if not given", True),
    example="csr vsstatus\ncsr hgatp.VMID\ncsr vs*",
    aliases=("info csr",),
)
def _csr(context: Context, name: str = "*") -> Report:
    face = hart_of(context.session.machine, context.session.subject)
    name = name.removeprefix("$")
    if name.lower().startswith("0x") or name.isdecimal():
        try:
            known = csrs.BY_NUMBER.get(int(name, 0))
        except ValueError:
            known = None
        if known is None:
            raise CommandError(f"no CSR has the number {name}")
        name = known.name
    register, dot, part = name.partition(".")
    register = register.lower()
    if dot:
        if register not in csrs.BY_NAME:
            raise CommandError(f"no CSR {register!r}{_near(register)}")
        field = field_of(register, part)
        value = face.csr(register)
        bits = field.extract(value)
        meaning = field.meaning(bits, value)
        said = f"{register}.{field.name} = {bits:#x}" + (f" ({meaning})" if meaning != hex(bits) else "")
        return Report((f"{said}: {field.doc}",), {
            "csr": register, "field": field.name, "value": hex(bits), "meaning": meaning, "low": field.low,
            "width": field.width, "doc": field.doc,
        })  # fmt: skip
    if register in csrs.BY_NAME:
        return _fields(csrs.BY_NAME[register], face.csr(register))
    whole = register if any(each in register for each in "*?[") else f"*{register}*"
    rows = [(each, value) for each, value in _values(face, "all") if fnmatch.fnmatchcase(each.name, whole)]
    if not rows:
        raise CommandError(f"no CSR {register!r}{_near(register)}")
    width = max(len(each.name) for each, _ in rows)
    lines = [_line(each.name, value, csr_summary(each, value), width) for each, value in rows]
    return Report(tuple(lines), {"csrs": {each.name: hex(value) for each, value in rows}})


def _near(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, csrs.BY_NAME, 1)
    return f", did you mean {near[0]!r}?" if near else "; csr lists all"


def _fields(csr: Csr, value: int) -> Report:
    names = max(len(field.name) for field in csr.fields) if csr.fields else 0
    lines = [f"{csr.name} ({csr.number:#05x}) = {value:#018x}  {csr.doc}"]
    data = []
    for field, bits, meaning in csr.decode(value):
        where = f"{field.high}:{field.low}" if field.width > 1 else str(field.low)
        number = f"{bits:#x}" if field.width > 3 else str(bits)
        text = "" if meaning in (number, "on", "off") else meaning
        shown = f"{number} {text}" if text and field.values else text or number
        lines.append(
            Told(
                f"  {where:>6}  {field.name:<{names}}  {shown:<20}  {field.doc}".rstrip(),
                f"{field.name}: {shown}. {field.doc}, bit{'s' if field.width > 1 else ''} {where}",
            )
        )
        data.append({"name": field.name, "low": field.low, "width": field.width, "value": hex(bits),
                     "meaning": meaning})  # fmt: skip
    return Report(tuple(lines), {"csr": csr.name, "number": hex(csr.number), "value": hex(value), "fields": data})
