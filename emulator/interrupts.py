"""Why an interrupt is taken, or not: for each, what makes it pending, who may take it, and one verdict in words.

What decides comes from the hart itself (`Hart.interrupts`), by the very functions that it takes interrupts with; here
it gets names. Sections "Machine Interrupt (mip and mie) Registers", "Hypervisor Interrupt (hvip, hip, and hie)
Registers" and "Trap Entry"; the PLIC's are those of its own specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from emulator.devices.aclint import NEVER, Aclint
from emulator.devices.plic import LINES, Plic
from emulator.hart import Hart, Interrupts, Mode
from emulator.isa import csrs

if TYPE_CHECKING:
    from emulator.machine import Machine
    from emulator.vmm import Vcpu

_NAMES: Final = {name: code for code, (name, _, _) in csrs.INTERRUPTS.items()}
SSI, VSSI, MSI, STI, VSTI, MTI, SEI, VSEI, MEI, SGEI, LCOFI = (
    _NAMES[name] for name in ("SSI", "VSSI", "MSI", "STI", "VSTI", "MTI", "SEI", "VSEI", "MEI", "SGEI", "LCOFI")
)
ORDER: Final = tuple(_NAMES[name] for name in csrs.INTERRUPT_PRIORITY)
"""Bits of mip by priority, the highest first."""
_SUPERVISOR: Final = (SSI, STI, SEI, LCOFI)
MASK64: Final = (1 << 64) - 1


class Verdict(Enum):
    TAKEN = "taken next"
    BEHIND = "another comes first"
    CLOSED = "the mode does not take it now"
    DISABLED = "not enabled"
    IDLE = "not pending"


@dataclass(frozen=True)
class Source:
    """What can make an interrupt pending. `active`: it does; else `text` says why not, or when."""

    active: bool
    text: str
    blocked: bool = False
    """Somebody asks for it, and is held back."""
    ticks: int | None = None
    """Until it does, or since it did (negative), in ticks of `time`."""


@dataclass(frozen=True)
class Standing:
    """One interrupt. `code` is its bit in mip, `seen` what xcause would say in `level`, the mode whose it is by the
    delegation registers."""

    code: int
    name: str
    seen: int
    pending: bool
    sources: tuple[Source, ...]
    enabled: bool
    enable: str
    """The bit that enables it, as the mode whose it is names it: sie.STIE."""
    delegated: tuple[int, int]
    """Its bits in mideleg and hideleg."""
    level: Mode
    open: bool
    """That level interrupts the present mode."""
    gate: str
    """Why, or why not."""
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Controller:
    """A PLIC's context that drives bit `code` of mip, and what its sources are called."""

    code: int
    plic: Plic
    context: int
    names: dict[int, str]


def controllers_of(machine: Machine, hart: Hart, vcpu: Vcpu | None = None) -> list[Controller]:
    """The machine's PLIC, and that of a VM of the built-in hypervisor, which drives hvip.VSEIP."""
    names = _sources(device for _, device in machine.bus)
    first = hart.index * len(LINES)
    found = [Controller(line, machine.plic, first + at, names) for at, line in enumerate(LINES)]
    if vcpu is not None:
        found.append(Controller(VSEI, vcpu.vm.plic, vcpu.index, _sources(device for _, device in vcpu.vm.bus)))
    return found


def _sources(devices: Iterable[object]) -> dict[int, str]:
    return {device.irq: device.name for device in devices if getattr(device, "irq", 0)}  # type: ignore[attr-defined]


def standings(machine: Machine, hart: Hart, vcpu: Vcpu | None = None) -> tuple[Standing, ...]:
    """All interrupts that the hart has, by priority. `vcpu`: the virtual CPU that it holds, if any."""
    now, controllers = hart.interrupts(), controllers_of(machine, hart, vcpu)
    codes = [code for code in ORDER if _exists(hart, code, machine.guest_interrupts)]
    return tuple(_standing(machine, hart, now, code, controllers) for code in codes)


def _exists(hart: Hart, code: int, guests: int) -> bool:
    field = next(field for field in csrs.BY_NAME["mie"].fields if field.low == code)
    return (field.extension is None or field.extension in hart.isa) and (code != SGEI or guests > 0)


def _standing(machine: Machine, hart: Hart, now: Interrupts, code: int, controllers: list[Controller]) -> Standing:
    level = next(mode for mode, bits in now.levels.items() if bits >> code & 1)
    seen = code - 1 if level is Mode.VS and code != LCOFI else code
    pending, enabled = bool(now.pending >> code & 1), bool(now.enabled >> code & 1)
    sources = tuple(_SOURCES[code](machine, hart, now, controllers))
    enable, gate = _enable(code, seen, level), _gate(hart, level)
    open = level in now.opened
    delegated = (1 - (now.levels[Mode.M] >> code & 1), now.levels[Mode.VS] >> code & 1)
    verdict = _verdict(now, code, pending, enabled, open)
    text = _words(now, code, seen, level, verdict, sources, enable, _closed(hart, code, level))
    return Standing(code, csrs.INTERRUPTS[code][0], seen, pending, sources, enabled, enable, delegated, level, open,
                    gate, verdict, text)  # fmt: skip


def _verdict(now: Interrupts, code: int, pending: bool, enabled: bool, open: bool) -> Verdict:
    if now.next is not None and now.next[0] == code:
        return Verdict.TAKEN
    if not pending:
        return Verdict.IDLE
    if not enabled:
        return Verdict.DISABLED
    return Verdict.BEHIND if open else Verdict.CLOSED


def _words(
    now: Interrupts, code: int, seen: int, level: Mode, verdict: Verdict, sources: tuple[Source, ...], enable: str,
    closed: str,
) -> str:  # fmt: skip
    match verdict:
        case Verdict.TAKEN:
            other = f" as {csrs.INTERRUPTS[seen][0]}" if seen != code else ""
            return f"taken next, in {level.label}{other}"
        case Verdict.DISABLED:
            return f"not taken: {enable}=0"
        case Verdict.CLOSED:
            return f"not taken: {closed}"
        case Verdict.BEHIND:
            assert now.next is not None
            first, _, mode = now.next
            why = "has priority" if mode is level else f"is {mode.label}'s, which comes first"
            return f"not taken yet: {csrs.INTERRUPTS[first][0]} {why}"
    held = next((source.text for source in sources if source.blocked), "")
    return held or next((source.text for source in sources if source.ticks is not None), "not pending")


def _enable(code: int, seen: int, level: Mode) -> str:
    """The bit of mie under the name that the level has for it."""
    register = {Mode.M: "mie", Mode.HS: "sie" if code in _SUPERVISOR else "hie", Mode.VS: "vsie"}[level]
    return f"{register}.{csrs.INTERRUPTS[seen][0][:-1]}IE"


def _gate(hart: Hart, level: Mode) -> str:
    """What makes the level interrupt the present mode, or keeps it from it."""
    mode = hart.mode
    if mode is level:
        return f"{GATES[level]}={_enabled_in(hart, level)}"
    if level is Mode.VS and not mode.virtual:
        return "V=0"
    return f"always in {mode.label}" if mode is not Mode.M else "never in M"


GATES: Final = {Mode.M: "mstatus.MIE", Mode.HS: "sstatus.SIE", Mode.VS: "vsstatus.SIE"}
"""Global enable of each level, which counts in its own mode only."""


def _enabled_in(hart: Hart, level: Mode) -> int:
    register, field = GATES[level].split(".")
    return csrs.BY_NAME[register].field(field).extract(hart.csr(register))


def _closed(hart: Hart, code: int, level: Mode) -> str:
    mode = hart.mode
    if mode is level:
        return f"{GATES[level]}={_enabled_in(hart, level)} in {mode.label}"
    register = "hideleg" if level is Mode.VS else "mideleg"
    why = "V=0" if level is Mode.VS else "M-mode runs"
    return f"{register}.{code}=1 so it is {level.label}'s, and {why}"


# --- What makes them pending ------------------------------------------------------------------------------------------

_Finder = Callable[["Machine", Hart, Interrupts, list[Controller]], Iterator[Source]]


def _bit(now: int, code: int, text: str) -> Iterator[Source]:
    """A bit that is written: of interest only while it is set."""
    if now >> code & 1:
        yield Source(True, text)


def _wire(code: int, controllers: list[Controller], active: bool, other: str = "") -> Iterator[Source]:
    """Sources of the PLIC that drives the bit; `other`: what to say where it is driven, and by none of these."""
    alone = active
    for controller in controllers:
        if controller.code != code:
            continue
        for request in controller.plic.requests(controller.context):
            name = controller.names.get(request.source, "")
            if request.masked:
                who = f"PLIC source {request.source}{f', {name}' if name else ''}"
                yield Source(False, f"{request.masked} ({who})", blocked=True)
            else:
                alone = False
                who = f"PLIC source {request.source}{f' ({name})' if name else ''}"
                yield Source(active, f"{who}: priority {request.priority} > threshold {request.threshold}")
    if alone and other:
        yield Source(True, other)


def _timer(now: Interrupts, code: int, name: str, ticks: int | None) -> Iterator[Source]:
    active = bool(now.timers >> code & 1)
    if ticks is None:
        yield Source(active, f"{name}: never")
    elif active:
        yield Source(True, f"{name} reached {-ticks:,} ticks ago" if ticks else f"{name} reached now", ticks=ticks)
    else:
        yield Source(False, f"{name} in {ticks:,} ticks", ticks=ticks)


def _left(compare: int, time: int) -> int | None:
    return None if compare == NEVER else compare - time


def _mei(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _wire(MEI, controllers, bool(now.wired >> MEI & 1), "its wire")


def _msi(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    aclint = machine.devices.get("aclint")
    set_there = isinstance(aclint, Aclint) and aclint.msip[hart.index]
    yield from _bit(now.wired, MSI, f"ACLINT msip{hart.index}=1" if set_there else "its wire")


def _mti(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _timer(now, MTI, "mtimecmp", _left(hart.mtimecmp, hart.time))


def _sei(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.stored, SEI, "mip.SEIP, which M-mode has written")
    yield from _wire(SEI, controllers, bool(now.wired >> SEI & 1), "its wire")


def _ssi(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.stored, SSI, "mip.SSIP=1")


def _sti(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.stored, STI, "mip.STIP, which M-mode has written")
    if hart.has_csr("stimecmp") and _stce(hart, "menvcfg"):
        yield from _timer(now, STI, "stimecmp", _left(hart.csr("stimecmp"), hart.time))


def _stce(hart: Hart, register: str) -> bool:
    return bool(csrs.BY_NAME[register].field("STCE").extract(hart.csr(register)))


def _sgei(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    pending, enabled = hart.csr("hgeip"), hart.csr("hgeie")
    for number in range(1, 64):
        if pending >> number & 1:
            on = bool(enabled >> number & 1)
            yield Source(on, f"hgeip.{number}=1, hgeie.{number}={int(on)}", blocked=not on)


def _vsei(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.injected, VSEI, "hvip.VSEIP=1")
    number = csrs.BY_NAME["hstatus"].field("VGEIN").extract(hart.csr("hstatus"))
    yield from _bit(now.guests, VSEI, f"hgeip.{number}=1, and hstatus.VGEIN={number}")
    yield from _wire(VSEI, controllers, bool(now.injected >> VSEI & 1))


def _vssi(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.injected, VSSI, "hvip.VSSIP=1")


def _vsti(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    yield from _bit(now.injected, VSTI, "hvip.VSTIP=1")
    if hart.has_csr("vstimecmp") and _stce(hart, "henvcfg"):
        guest = hart.time + hart.csr("htimedelta") & MASK64
        yield from _timer(now, VSTI, "vstimecmp", _left(hart.csr("vstimecmp"), guest))


def _lcofi(machine: Machine, hart: Hart, now: Interrupts, controllers: list[Controller]) -> Iterator[Source]:
    over = [str(n) for n in range(3, 32) if hart.csr("scountovf") >> n & 1]
    said = f"mip.LCOFIP=1, counters overflowed: {', '.join(over)}" if over else "mip.LCOFIP=1"
    yield from _bit(now.stored, LCOFI, said)


_SOURCES: dict[int, _Finder] = {
    MEI: _mei, MSI: _msi, MTI: _mti, SEI: _sei, SSI: _ssi, STI: _sti, SGEI: _sgei, VSEI: _vsei, VSSI: _vssi,
    VSTI: _vsti, LCOFI: _lcofi,
}  # fmt: skip
