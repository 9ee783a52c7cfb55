"""DWARF expressions: where a variable is, and how registers are recovered (2.5 "DWARF Expressions")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from emulator.dwarf.reader import Cursor, DwarfError, checked

WORD: Final = (1 << 64) - 1
STEPS: Final = 1000
"""Operations of one expression: they can jump backwards."""
DEEPEST: Final = 128


@dataclass(frozen=True)
class Location:
    """Where a value is: in "memory" at `number`, in "register" `number`; or it is known: the "value" `number`, or
    `data`."""

    kind: str
    number: int = 0
    data: bytes = b""


@dataclass(frozen=True)
class Machine:
    """What an expression may ask for. `register` raises DwarfError for one whose value is not known."""

    register: Callable[[int], int]
    read: Callable[[int, int], bytes]
    cfa: Callable[[], int] | None = None
    frame_base: Callable[[], int] | None = None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def evaluate(
    data: bytes, machine: Machine, first: int | None = None, address: Callable[[int], int] | None = None
) -> Location:
    """The location that an expression says; `first` is on the stack when it begins, `address` gives those of
    .debug_addr by their index. DwarfError for what has none."""
    with checked("a DWARF expression"):
        return _evaluate(data, machine, first, address)


def value_of(data: bytes, machine: Machine, first: int | None = None) -> int:
    """The number on top of the stack at the end."""
    found = evaluate(data, machine, first)
    if found.kind == "register":
        return machine.register(found.number)
    if found.kind == "data":
        raise DwarfError("a DWARF expression gives bytes where a number is needed")
    return found.number


def _evaluate(
    data: bytes, machine: Machine, first: int | None, address: Callable[[int], int] | None
) -> Location:
    cursor, stack, kind = Cursor(data), [] if first is None else [first], "memory"
    for _ in range(STEPS):
        if cursor.at >= len(data):
            break
        if len(stack) > DEEPEST:
            raise DwarfError("a DWARF expression piles up too much")
        op = cursor.u8()
        if 0x30 <= op <= 0x4F:
            stack.append(op - 0x30)
        elif 0x50 <= op <= 0x6F or op == 0x90:
            number = cursor.uleb() if op == 0x90 else op - 0x50
            if cursor.at < len(data):
                raise DwarfError("it is in several pieces")
            return Location("register", number)
        elif 0x70 <= op <= 0x8F or op == 0x92:
            number = cursor.uleb() if op == 0x92 else op - 0x70
            stack.append(machine.register(number) + cursor.sleb() & WORD)
        elif op in _CONSTANTS:
            size, signed = _CONSTANTS[op]
            stack.append(int.from_bytes(cursor.take(size), "little", signed=signed) & WORD)
        elif op in _BINARY:
            two, one = stack.pop(), stack.pop()
            if op in (0x1B, 0x1D) and not two:
                raise DwarfError("a DWARF expression divides by zero")
            stack.append(_BINARY[op](one, two) & WORD)
        else:
            match op:
                case 0x06:
                    stack.append(int.from_bytes(machine.read(stack.pop(), 8), "little"))
                case 0x94:
                    size = cursor.u8()
                    stack.append(int.from_bytes(machine.read(stack.pop(), min(size, 8)), "little"))
                case 0x10:
                    stack.append(cursor.uleb())
                case 0x11:
                    stack.append(cursor.sleb() & WORD)
                case 0x12:
                    stack.append(stack[-1])
                case 0x13:
                    stack.pop()
                case 0x14:
                    stack.append(stack[-2])
                case 0x15:
                    stack.append(stack[-1 - cursor.u8()])
                case 0x16:
                    stack[-1], stack[-2] = stack[-2], stack[-1]
                case 0x17:
                    stack[-1], stack[-2], stack[-3] = stack[-2], stack[-3], stack[-1]
                case 0x19:
                    stack.append(abs(_signed(stack.pop())))
                case 0x1F:
                    stack.append(-stack.pop() & WORD)
                case 0x20:
                    stack.append(~stack.pop() & WORD)
                case 0x23:
                    stack.append(stack.pop() + cursor.uleb() & WORD)
                case 0x28 | 0x2F:
                    by = int.from_bytes(cursor.take(2), "little", signed=True)
                    if op == 0x2F or stack.pop():
                        cursor.at += by
                        if not 0 <= cursor.at <= len(data):
                            raise DwarfError("a DWARF expression jumps out of itself")
                case 0x91:
                    if machine.frame_base is None:
                        raise DwarfError("its function has no frame base")
                    stack.append(machine.frame_base() + cursor.sleb() & WORD)
                case 0x9C:
                    if machine.cfa is None:
                        raise DwarfError("its frame is not known")
                    stack.append(machine.cfa())
                case 0x96 | 0xF0:
                    pass
                case 0xA1 | 0xA2 | 0xFB | 0xFC if address is not None:
                    stack.append(address(cursor.uleb()))
                case 0x9E:
                    return Location("data", data=cursor.take(cursor.uleb()))
                case 0x9F:
                    kind = "value"
                case 0xA3 | 0xF3:
                    raise DwarfError("it is optimized out: only its value at the function's entry is described")
                case 0x93 | 0x9D:
                    raise DwarfError("it is in several pieces")
                case _:
                    raise DwarfError(f"its location has operation {op:#x}, which is not known here")
    else:
        raise DwarfError("a DWARF expression does not end")
    if not stack:
        raise DwarfError("it is optimized out")
    return Location(kind, stack[-1])


_CONSTANTS: Final = {
    0x03: (8, False), 0x08: (1, False), 0x09: (1, True), 0x0A: (2, False), 0x0B: (2, True), 0x0C: (4, False),
    0x0D: (4, True), 0x0E: (8, False), 0x0F: (8, True),
}  # fmt: skip
_BINARY: Final[dict[int, Callable[[int, int], int]]] = {
    0x1A: lambda a, b: a & b,
    0x1B: lambda a, b: abs(_signed(a)) // abs(_signed(b)) * (1 if (a ^ b) >> 63 == 0 else -1),
    0x1C: lambda a, b: a - b,
    0x1D: lambda a, b: a % b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,
    0x25: lambda a, b: a >> b if b < 64 else 0,
    0x26: lambda a, b: _signed(a) >> min(b, 63),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}
