"""What GDB is told of the harts: the target description, and its registers by number.

Source: the GDB manual, "Target Descriptions", "RISC-V Features". CSRs come from `emulator.isa.csrs`, all that the hart
has. Numbers are those that GDB itself gives these registers: x0..x31 and pc, f0..f31, CSRs from 65 on, priv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.sax.saxutils import quoteattr

from emulator.errors import ConfigurationError
from emulator.hart import Mode
from emulator.isa import ABI_NAMES, FLOAT_NAMES, Isa, csrs
from emulator.isa.csrs import Csr, Field
from emulator.machine import Machine

PC, FIRST_FLOAT, FIRST_CSR, PRIV, VIRT = 32, 33, 65, 65 + 4096, 65 + 4097
_FLOAT_CSRS = ("fflags", "frm", "fcsr")
_POINTERS = {"ra": "code_ptr", "sp": "data_ptr", "gp": "data_ptr", "tp": "data_ptr", "s0": "data_ptr"}
_DOUBLE = (
    '<union id="riscv_double"><field name="float" type="ieee_single"/><field name="double" type="ieee_double"/></union>'
)


@dataclass(frozen=True)
class Register:
    """`read` and `write` take a hart, or a virtual CPU with a hart's face. `write` may raise EmulatorError."""

    number: int
    name: str
    bits: int
    type: str
    read: Callable[[Any], int]
    write: Callable[[Any, int], None]
    attributes: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bits // 8

    @property
    def xml(self) -> str:
        return (
            f'<reg name={quoteattr(self.name)} bitsize="{self.bits}" type="{self.type}" regnum="{self.number}"'
            f"{self.attributes}/>"
        )


def _integer(index: int) -> Register:
    def write(face: Any, value: int) -> None:
        if index:
            face.x[index] = value

    name = ABI_NAMES[index]
    return Register(index, name, 64, _POINTERS.get(name, "int"), lambda face: int(face.x[index]), write)


def _float(index: int, bits: int) -> Register:
    """A narrow value is the low half of its register, NaN-boxed ("NaN Boxing of Narrower Values")."""
    ones = (1 << 64) - (1 << bits)

    def write(face: Any, value: int) -> None:
        face.f[index] = ones | value

    kind = "riscv_double" if bits == 64 else "ieee_single"
    number = FIRST_FLOAT + index
    return Register(number, FLOAT_NAMES[index], bits, kind, lambda face: int(face.f[index]) & ~ones, write)


def _csr(name: str, bits: int = 64, group: str = ' group="csr"') -> Register:
    def write(face: Any, value: int) -> None:
        face.set_csr(name, value)

    # GDB puts back what it knows after it has called a function in the program: not these.
    more = f'{group} save-restore="no"'
    csr = csrs.BY_NAME[name]
    kind = "code_ptr" if name.endswith("epc") else _layout(csr) if _parts(csr) and bits == 64 else f"uint{bits}"
    return Register(FIRST_CSR + csr.number, name, bits, kind, lambda face: int(face.csr(name)), write, more)


def _layout(csr: Csr) -> str:
    """The name of its type."""
    return f"{csr.name}_fields"


def _parts(csr: Csr) -> tuple[Field, ...]:
    """Its fields, where it is more than one number."""
    return tuple(sorted(csr.fields, key=lambda each: each.low)) if any(each.width < 64 for each in csr.fields) else ()


def _flags(csr: Csr) -> str:
    """ "Target Description Format", flags: GDB shows the fields by name, and computes with the whole."""
    rows = "".join(f'<field name={quoteattr(e.name)} start="{e.low}" end="{e.high}"/>' for e in _parts(csr))
    return f'<flags id="{_layout(csr)}" size="8">{rows}</flags>' if rows else ""


def _set_mode(face: Any, privilege: int, virtual: int) -> None:
    if privilege not in (0, 1, 3) or virtual not in (0, 1) or (virtual and privilege == 3):
        raise ConfigurationError(f"privilege {privilege} with V={virtual}: priv is 0, 1 or 3, virt 0 or 1, not with 3")
    getattr(face, "vcpu", face).mode = Mode.of(privilege, bool(virtual))


def _pc() -> Register:
    def write(face: Any, value: int) -> None:
        face.pc = value

    return Register(PC, "pc", 64, "code_ptr", lambda face: int(face.pc), write)


_MODE = (
    Register(
        PRIV, "priv", 64, "int", lambda face: face.mode.privilege,
        lambda face, value: _set_mode(face, value, face.mode.virtual), ' save-restore="no"',
    ),
    Register(
        VIRT, "virt", 64, "int", lambda face: int(face.mode.virtual),
        lambda face, value: _set_mode(face, face.mode.privilege, value), ' save-restore="no"',
    ),
)  # fmt: skip
"""The mode of "Privilege Modes" (hypervisor chapter), which no register of the hart shows: privilege and V."""


class Description:
    """The registers of a machine's harts, which are all alike."""

    def __init__(self, isa: Isa, names: tuple[str, ...]) -> None:
        """`names`: the CSRs that there are."""
        self.general = (*(_integer(index) for index in range(32)), _pc())
        """What packet g carries, in this order."""
        floats = 64 if "D" in isa else 32 if "F" in isa else 0
        fpu: tuple[Register, ...] = ()
        if floats:
            status = tuple(_csr(name, 32, ' group="float"') for name in _FLOAT_CSRS)
            fpu = (*(_float(index, floats) for index in range(32)), *status)
        rest = tuple(_csr(name) for name in names if name not in _FLOAT_CSRS)
        layouts = "\n".join(filter(None, (_flags(csrs.BY_NAME[each.name]) for each in rest)))
        features = {"cpu": ("", self.general), "fpu": (_DOUBLE * (floats == 64), fpu), "csr": (layouts, rest),
                    "virtual": ("", _MODE)}  # fmt: skip
        self.registers = {each.number: each for _, registers in features.values() for each in registers}
        self.xml = "\n".join(
            [
                '<?xml version="1.0"?>',
                '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
                '<target version="1.0">',
                "<architecture>riscv:rv64</architecture>",
                *(
                    f'<feature name="org.gnu.gdb.riscv.{name}">{types}\n'
                    + "\n".join(register.xml for register in registers)
                    + "\n</feature>"
                    for name, (types, registers) in features.items()
                    if registers
                ),
                "</target>\n",
            ]
        )


@cache
def _described(isa: Isa, names: tuple[str, ...]) -> Description:
    return Description(isa, names)


def describe(machine: Machine) -> Description:
    hart = machine.harts[0]
    return _described(machine.isa, tuple(csr.name for csr in csrs.CSRS if hart.has_csr(csr.number)))
