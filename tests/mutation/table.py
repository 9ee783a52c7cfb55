"""Mutants of the CSR table: the C that would be generated if one register were described otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emulator.hart import generate_csrs
from emulator.isa.csrs import CSRS, INTERRUPT_PRIORITY, Csr, Field, Kind

FILE = "csr_table.c"


@dataclass(frozen=True)
class TableMutant:
    function: str
    """The register."""
    change: str
    csr: Csr
    file: str = FILE
    line: int = 0
    before: str = ""


def _arrays_once(csr: Csr) -> bool:
    """Of registers that are many alike, the first and the last."""
    for stem, last in (("mhpmcounter", 31), ("mhpmevent", 31), ("hpmcounter", 31), ("pmpaddr", 63), ("pmpcfg", 14)):
        if csr.name.startswith(stem) and csr.name[len(stem) :].isdigit():
            return int(csr.name[len(stem) :]) in (0, 3, 15, last)
    return True


def _field_changes(csr: Csr, field: Field) -> Iterator[tuple[str, Field]]:
    if field.kind is Kind.RW:
        yield "read-only", replace(field, kind=Kind.FIXED, value=0)
        if field.width > 1:
            yield "lowest bit read-only", replace(field, align=field.align + 1)
            yield "highest bit missing", replace(field, width=field.width - 1)
    if field.kind is Kind.FIXED:  # and whatever it is part of
        yield "writable", replace(field, kind=Kind.RW, extension=None)
        yield f"value {field.value ^ 1}", replace(field, value=field.value ^ 1, extension=None)
    if field.kind is Kind.LIVE:
        yield "writable", replace(field, kind=Kind.RW)
        yield "missing", replace(field, width=0)
    if field.kind is Kind.SUMMARY:
        yield "not derived", replace(field, kind=Kind.LIVE)
        yield "writable", replace(field, kind=Kind.RW)
    if field.kind is Kind.LEGAL:
        yield "any value", replace(field, kind=Kind.RW)
        yield "read-only", replace(field, kind=Kind.FIXED)
        if field.limit is None and field.width < 8:
            illegal = [value for value in range(1 << field.width) if value not in field.legal]
            for value in illegal[:1] + illegal[-1:]:
                yield f"{value} is legal", replace(field, legal=(*field.legal, value))
            for value in field.legal:
                yield f"{value} is not legal", replace(field, legal=tuple(v for v in field.legal if v != value))
        if field.limit is not None:
            yield "no limit", replace(field, limit=None)
        yield ("no veto" if field.veto else "veto"), replace(field, veto=not field.veto)
    if field.align:
        yield "lowest bit writable", replace(field, align=field.align - 1)
    if field.value and field.kind is Kind.RW:
        yield "other value at reset", replace(field, value=0)


def _changes(csr: Csr) -> Iterator[tuple[str, Csr]]:
    for field in csr.fields:
        for words, changed in _field_changes(csr, field):
            yield f"{field.name}: {words}", replace(csr, fields=tuple(changed if f is field else f for f in csr.fields))
    for name in ("guard", "gate", "v_alias", "after"):
        if getattr(csr, name) is not None:
            yield f"no {name}", replace(csr, **{name: None})
    if csr.view is not None:
        for gate in csr.view.gates:
            left = tuple(other for other in csr.view.gates if other != gate)
            yield f"not gated by {gate}", replace(csr, view=replace(csr.view, gates=left))
        if csr.view.unmoved:
            yield "all bits move", replace(csr, view=replace(csr.view, unmoved=0))
        if csr.view.shift:
            yield "shift", replace(csr, view=replace(csr.view, shift=csr.view.shift - 1))


def mutants() -> Iterator[TableMutant]:
    for csr in CSRS:
        if _arrays_once(csr):
            for change, changed in _changes(csr):
                yield TableMutant(csr.name, change, changed)
    for i in range(len(INTERRUPT_PRIORITY) - 1):
        yield TableMutant(
            "INTERRUPT_PRIORITY", f"{INTERRUPT_PRIORITY[i + 1]} before {INTERRUPT_PRIORITY[i]}", CSRS[0], "csr.c"
        )


def text(mutant: TableMutant | None) -> str:
    """csr_table.c with the mutant's register in place of the real one."""
    if mutant is None:
        return generate_csrs.csr_table_c()
    kept = generate_csrs.CSRS, generate_csrs.BY_NAME
    try:
        generate_csrs.CSRS = tuple(mutant.csr if csr.name == mutant.function else csr for csr in CSRS)
        generate_csrs.BY_NAME = {csr.name: csr for csr in generate_csrs.CSRS}
        return generate_csrs.csr_table_c()
    finally:
        generate_csrs.CSRS, generate_csrs.BY_NAME = kept
