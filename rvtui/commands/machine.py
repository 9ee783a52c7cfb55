"""The machine, its harts, guests and devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, Told, command, kind
from rvtui.devices import bus_of, data_of, lines_of, read_devices
from rvtui.spoken import row as spoken_row
from rvtui.subjects import hart_of, selected_vcpu, symbols_of, virtual_machines
from rvtui.text import MODE_NAMES, clean, guest_time, size

PLAIN = 1024
"""Bytes, or items of a list, that data has of a device's state."""


def place_text(context: Context) -> str:
    """Where what is looked at stands: "hello VS 0x80000010 <main+0x10>"."""
    machine, subject = context.session.machine, context.session.subject
    face = hart_of(machine, subject)
    vm, _ = selected_vcpu(machine, subject)
    name = symbols_of(machine, subject).lookup(face.pc)
    who = vm.name if vm is not None else f"hart {face.index}"
    return f"{clean(who, 30)} {face.mode.label} {face.pc:#x}" + (f" <{clean(name, 60)}>" if name else "")


@command("status", "whether the machine runs, why not, and where it stands", aliases=("info status",))
def _status(context: Context) -> Report:
    session = context.session
    machine, running, reason = session.machine, session.running, session.reason
    face = hart_of(machine, session.subject)
    head = "running" if running else f"stopped: {reason}"
    text = f"{head}; {place_text(context)}; {machine.executed:,} instructions, {guest_time(machine.clock)}"
    return Report((text,), {
        "running": running, "reason": reason, "executed": machine.executed, "clock": machine.clock,
        "pc": hex(face.pc), "mode": face.mode.label,
    })  # fmt: skip


@command(
    "vms",
    "VMs, or on the bare machine harts and the guests inside: state, mode, instructions, exits",
    aliases=("info vms", "info guests", "info threads"),
)
def _vms(context: Context) -> Report:
    from rvtui.panes.vms import read_overview

    overview = read_overview(context.session.machine, context.session.subject)
    rows = [["", "name", "state", "mode", "instructions", "exits", "where"]]
    data = []
    for each in overview.runners:
        mark = "*" if each.subject == context.session.subject else ""
        where = each.note or f"{each.pc:#x}" + (f" <{each.symbol}>" if each.symbol else "")
        state, mode = each.state, MODE_NAMES[each.mode]
        last = f"  {each.last_exit}" if each.last_exit else ""
        rows.append([mark, each.name, state, mode, f"{each.instructions:,}", f"{each.exits:,}", where + last])
        data.append({
            "name": each.name, "state": state, "mode": mode, "instructions": each.instructions, "exits": each.exits,
            "last_exit": each.last_exit or None, "pc": hex(each.pc), "symbol": each.symbol or None,
            "note": each.note or None, "selected": bool(mark),
        })  # fmt: skip
    return Report(table(rows, right={4, 5}), {"vms": data})


@command("harts", "the harts: mode, what they retired in each mode, traps", aliases=("info harts", "info cpus"))
def _harts(context: Context) -> Report:
    rows = [["hart", "mode", "state", "pc", *MODE_NAMES, "traps", "VMID"]]
    data = []
    for hart in context.session.machine.harts:
        retired = {mode.label: times for mode, times in hart.retired.items()}
        state = "halted" if hart.halted else "waiting" if hart.waiting else "ready"
        traps = sum(times for *_, times in hart.traps())
        vmid = hart.hgatp >> 44 & 0x3FFF if hart.hgatp >> 60 else None
        rows.append([
            str(hart.index), hart.mode.label, state, f"{hart.pc:#x}", *(f"{times:,}" for times in retired.values()),
            f"{traps:,}", "-" if vmid is None else str(vmid),
        ])  # fmt: skip
        data.append({
            "hart": hart.index, "mode": hart.mode.label, "state": state, "pc": hex(hart.pc), "retired": retired,
            "traps": traps, "vmid": vmid, "clock": hart.clock,
        })  # fmt: skip
    return Report(table(rows, right={4, 5, 6, 7, 8, 9, 10}), {"harts": data})


@command(
    "memory-map",
    "which physical and guest-physical addresses are memory and devices",
    aliases=("mtree", "info mtree", "info files"),
)
def _memory_map(context: Context) -> Report:
    machine = context.session.machine
    lines = ["machine, pa:"]
    data: list[dict[str, Any]] = []

    def add(owner: str, space: str, start: int, length: int, what: str, physical: int | None = None) -> None:
        at = f"  at pa:{physical:#x}" if physical is not None else ""
        lines.append(f"  {start:016x}-{start + length - 1:016x}  {size(length):>9}  {what}{at}")
        data.append({"of": owner, "space": space, "start": hex(start), "size": length, "what": what,
                     "physical": None if physical is None else hex(physical)})  # fmt: skip

    ranges = [(base, device.size, device.name) for base, device in machine.bus]
    ranges += [(region.base, region.size, region.name) for region in machine.memory.regions]
    for base, length, what in sorted(ranges):
        add("machine", "pa", base, length, what)
    for vm in virtual_machines(machine):
        lines.append(f"{clean(vm.name, 40)}, gpa:")
        own: list[tuple[int, int, str, int | None]] = [
            (base, device.size, device.name, None) for base, device in vm.bus
        ]
        own += [(slot.gpa, slot.size, "ram", slot.physical) for slot in vm.slots]
        for gpa, length, what, physical in sorted(own, key=lambda row: row[0]):
            add(vm.name, "gpa", gpa, length, what, physical)
    return Report(tuple(lines), {"ranges": data})


@kind("device")
def _devices_of(context: Context, stem: str) -> Iterator[Candidate]:
    _, bus, _ = bus_of(context.session.machine, context.session.subject)
    return (Candidate(device.name, f"at {base:#x}") for base, device in bus)


@command(
    "devices",
    "the devices of what is looked at; the registers of one in words",
    Argument("NAME", "device", "a device: uart, plic, virtio0", True),
    example="devices\ndevices uart",
    aliases=("info qtree", "info pic", "info irq", "info devices"),
)
def _devices(context: Context, name: str = "") -> Report:
    machine, subject = context.session.machine, context.session.subject
    found = read_devices(machine, subject, (name,))
    owner = clean(found.owner, 40)
    data = [
        {"name": each.name, "base": hex(each.base), "size": each.size, "irq": each.irq or None, "level": each.level,
         "reads": each.reads, "writes": each.writes, "what": each.what}
        for each in found.devices
    ]  # fmt: skip
    if not name:
        rows = [["device", "from", "to", "irq", "level", "reads", "writes", "what"]]
        for each in found.devices:
            level = "-" if each.level is None else "high" if each.level else "low"
            rows.append([each.name, f"{each.base:#x}", f"{each.base + each.size - 1:#x}", str(each.irq or "-"), level,
                         f"{each.reads:,}", f"{each.writes:,}", each.what])  # fmt: skip
        return Report((f"devices of {owner}:", *table(rows, right={1, 2, 3, 5, 6})), {"devices": data})
    for each, row in zip(found.devices, data, strict=True):
        if each.name == name:
            line = "no interrupt" if each.level is None else f"irq {each.irq} {'high' if each.level else 'low'}"
            head = f"{name} of {owner} at {each.base:#x}: {each.what}; {line}"
            counts = f"  read {each.reads:,} times, written {each.writes:,} times by guests"
            device = next(device for _, device in bus_of(machine, subject)[1] if device.name == name)
            more = {"registers": data_of(each.shown), "state": _plain(device.state())}
            return Report((head, counts, *lines_of(each.shown)), row | more)
    known = ", ".join(each.name for each in found.devices)
    raise CommandError(f"{found.owner} has no device {name!r}: there is {known}")


def _plain(value: Any) -> Any:
    """As JSON can say it: bytes as hexadecimal digits, numbers as what they are, contents. A disk's changes may be
    large: of texts and lists the first `PLAIN`."""
    match value:
        case bool():
            return value
        case int():
            return hex(value)
        case bytes() | bytearray():
            return bytes(value[:PLAIN]).hex()
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value[:PLAIN]]
    return value


def table(rows: list[list[str]], right: set[int] | None = None, *, head: bool = True) -> tuple[str, ...]:
    """Columns under each other, those in `right` to the right. `head`: the first row names them, and so do those who
    read it out."""
    right = right or set()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    heads = rows[0] if rows and head else [""] * len(widths)
    lines = []
    for index, row in enumerate(rows):
        cells = [
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        said = "" if head and not index else spoken_row(heads, row)
        lines.append(Told("  ".join(cells).rstrip(), said))
    return tuple(lines)
