"""Values, registers and CSRs."""

from __future__ import annotations

import difflib
import re

from emulator.isa import ABI_NAMES, FLOAT_NAMES, csrs
from rvtui.commands.formats import shown
from rvtui.commands.registry import Argument, CommandError, Context, Report, command
from rvtui.commands.values import ADDRESS, field_of, symbol, value_of
from rvtui.expressions import register_number
from rvtui.subjects import hart_of


@command(
    "print",
    "the value of an expression",
    Argument("FORMAT", "format", "x hexadecimal, d signed, u unsigned, o octal, t binary, c, a address, z", True),
    ADDRESS,
    example="print/x sstatus.SUM",
    aliases=("p", "inspect", "output"),
)
def _print(context: Context, form: str, expression: str) -> Report:
    value = value_of(context, expression)
    signed = value - (1 << 64) if value >> 63 else value
    name = symbol(context, value)
    if form:
        if form not in "xduotcaz" or len(form) > 1:
            raise CommandError(f"/{form}: a format of print is one of x, d, u, o, t, c, a, z")
        text = shown(form, value, 8) + (f" <{name}>" if name and form == "a" else "")
    else:
        text = f"{value:#x} = {signed}" + (f" <{name}>" if name else "")
    return Report((f"{expression} = {text}",), {"value": hex(value), "signed": signed, "symbol": name})


@command(
    "set",
    "write a register, pc, CSR, or a field of one; or a script's variable",
    Argument("NAME=VALUE", "assignment", "what to write, and an expression, or what a field's value is called"),
    example="set a0=sp+8\nset vsstatus.SUM=1\nset fa0=0x3ff0000000000000\nset $before=sp",
    changes=True,
)
def _set(context: Context, assignment: str) -> str:
    name, equals, text = assignment.partition("=")
    if (variable := variable_of(name)) and equals:
        context.variables[variable] = value = value_of(context, text)
        return f"${variable} = {value:#x}"
    name = name.strip().removeprefix("$")
    csr, dot, part = name.partition(".")
    csr = csr.lower()
    name = f"{csr}{dot}{part}"
    if not equals or not name:
        raise CommandError(f"{assignment!r}: write NAME=VALUE, as in a0=0x10, sstatus.SUM=1 or sstatus=sstatus|2")
    if dot and csr in csrs.BY_NAME:
        return _set_field(context, csr, field_of(csr, part), text.strip())
    value = value_of(context, text)
    hart = hart_of(context.session.machine, context.session.subject)
    number = register_number(name)
    if number == 0:
        raise CommandError("zero is always 0: it cannot be set")
    if number is not None:
        hart.x[number] = value
        return f"{name} = {value:#x}"
    if name == "pc":
        if value & 1:
            raise CommandError(f"pc {value:#x} is odd: instructions start at even addresses")
        hart.pc = value
        return f"pc = {value:#x}"
    if name in FLOAT_NAMES:
        hart.f[FLOAT_NAMES.index(name)] = value
        return f"{name} = {value:#x}"
    if name not in csrs.BY_NAME:
        near = difflib.get_close_matches(name, ["pc", *ABI_NAMES, *FLOAT_NAMES, *csrs.BY_NAME], 1)
        raise CommandError(f"no register or CSR {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    hart.set_csr(name, value)
    stored = hart.csr(name)
    return f"{name} = {stored:#x}" + ("" if stored == value else f" (of {value:#x}: the rest is not writable)")


def variable_of(name: str) -> str:
    """Whose name it is, where a script's variable is named: $ before a name that no register has. Else ""."""
    found = re.fullmatch(r"\s*\$([A-Za-z_]\w*)\s*", name)
    if found is None:
        return ""
    word = found[1].lower()
    taken = word == "pc" or register_number(word) is not None or word in csrs.BY_NAME or word in FLOAT_NAMES
    return "" if taken else found[1]


def _set_field(context: Context, csr: str, field: csrs.Field, text: str) -> str:
    hart = hart_of(context.session.machine, context.session.subject)
    meanings = {meaning.lower(): bits for bits, meaning in (field.values or {}).items()}
    bits = meanings.get(text.lower())
    value = value_of(context, text) if bits is None else bits
    if value >> field.width:
        raise CommandError(f"{csr}.{field.name} has {field.width} bits: {value:#x} does not fit")
    before = hart.csr(csr)
    hart.set_csr(csr, field.insert(before, value))
    now = hart.csr(csr)
    stored = field.extract(now)
    meaning = field.meaning(stored, now)
    said = f"{csr}.{field.name} = {stored:#x}" + (f" ({meaning})" if meaning not in (hex(stored), str(stored)) else "")
    if stored != value:
        why = "it is read-only" if not field.switched_mask else "no other value is legal now"
        return f"{said}: not {value:#x}, {why}"
    return said + f", {csr} = {now:#x}"
