"""Devices as people look at them: of the machine, or of the VM that is looked at. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from emulator.bus import Bus, Device
from emulator.devices.fields import Part, Shown
from emulator.devices.virtio import Transport
from emulator.machine import Machine
from rvtui.subjects import Subject, selected_vcpu
from rvtui.text import clean

LONGEST = 400
"""Characters of a register's meaning."""


@dataclass(frozen=True)
class Seen:
    """A device at one moment. `level`: of its interrupt line, None where it has none; `shown`: its registers, if they
    were asked for."""

    name: str
    base: int
    size: int
    irq: int
    level: bool | None
    reads: int
    writes: int
    what: str
    empty: bool
    """A virtio slot with nothing in it."""
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class Devices:
    owner: str
    """Whose: a VM's name, or "the machine"."""
    devices: tuple[Seen, ...]


def bus_of(machine: Machine, subject: Subject) -> tuple[str, Bus, Any]:
    """Whose devices those of `subject` are, their bus and their interrupt controller."""
    vm, _ = selected_vcpu(machine, subject)
    return ("the machine", machine.bus, machine.plic) if vm is None else (vm.name, vm.bus, vm.plic)


def read_devices(machine: Machine, subject: Subject, wanted: Container[str] = ()) -> Devices:
    """All devices, with the registers of those that are `wanted`."""
    owner, bus, plic = bus_of(machine, subject)
    rows = []
    for base, device in bus:
        level = bool(plic.levels >> device.irq & 1) if device.irq else None
        empty = isinstance(device, Transport) and device.function is None
        shown = device.shown() if device.name in wanted else ()
        rows.append(Seen(device.name, base, device.size, device.irq, level, device.reads, device.writes, brief(device),
                         empty, shown))  # fmt: skip
    return Devices(owner, tuple(rows))


def brief(device: Device) -> str:
    """A line about a device: for virtio what is behind the transport and how far its driver is."""
    if isinstance(device, Transport):
        if device.function is None:
            return "empty"
        status = next(each.words for each in device.shown() if each.name == "Status")
        problem = f": {clean(device.problem, 100)}" if device.problem else ""
        return f"virtio {device.function.kind} ({status}{problem})"
    return clean(device.title, 70)


def number(shown: Shown) -> str:
    """What is in it, as wide as it is; "" where it is no number."""
    return "" if shown.value is None else f"{shown.value:#0{(shown.bits + 3) // 4 + 2}x}"


def bits_of(shown: Shown) -> Iterator[tuple[Part, int, str]]:
    """Each part of a register that has a name, its bits, and what they mean."""
    for part in shown.parts:
        bits = part.of(shown.value or 0)
        yield part, bits, part.values.get(bits, "") if part.values is not None else "set" if bits else "clear"


def lines_of(rows: tuple[Shown, ...], depth: int = 1) -> list[str]:
    """A line for each register, what belongs to it indented."""
    names = max((len(each.name) for each in rows), default=0)
    digits = max((len(number(each)) for each in rows), default=0)
    lines = []
    for each in rows:
        head = f"{'  ' * depth}{clean(each.name):<{names}}  {number(each):>{digits}}"
        lines.append(f"{head}  {clean(each.words, LONGEST)}".rstrip())
        lines += lines_of(each.rows, depth + 1)
    return lines


def data_of(rows: tuple[Shown, ...]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": each.name, "value": None if each.value is None else hex(each.value), "bits": each.bits,
            "words": each.words,
            "parts": [{"name": part.name, "low": part.low, "width": part.width, "value": hex(bits), "meaning": meaning}
                      for part, bits, meaning in bits_of(each)],
            "rows": data_of(each.rows),
        }
        for each in rows
    ]  # fmt: skip
