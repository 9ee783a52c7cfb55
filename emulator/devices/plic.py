"""The platform-level interrupt controller (RISC-V PLIC specification 1.0.0), laid out as in QEMU's virt machine:
two contexts per hart, M-mode then S-mode; in a VM there is only S-mode. Sources are level-triggered, but for the UART:
there kernels leave "transmitter empty" as it is, and do not expect it again before they write (xv6 does)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from emulator.bus import Device
from emulator.devices.fields import Bits, Number, Numbers, Shown
from emulator.devicetree import Node, Tree, quads

SOURCES: Final = 96
"""Source numbers, 0 included, which stands for none."""
TOP_PRIORITY: Final = 7
EDGES: Final = 1 << 10
"""Sources that are triggered by edges: the UART's."""
LINES: Final = (11, 9)
"""mip bits of a hart's contexts: MEIP, SEIP."""
PENDING, ENABLE, ENABLE_STRIDE, CONTEXT, CONTEXT_STRIDE = 0x1000, 0x2000, 0x80, 0x20_0000, 0x1000
_ALL: Final = (1 << SOURCES) - 2


def _listed(sources: int) -> str:
    return ", ".join(str(source) for source in range(SOURCES) if sources >> source & 1) or "none"


@dataclass(frozen=True)
class Request:
    """A source that wants attention, as one context sees it. `masked`: why it does not notify the context; or ""."""

    source: int
    priority: int
    threshold: int
    masked: str


class InterruptHart(Protocol):
    def wire(self, bit: int, level: bool) -> None: ...


class Plic(Device):
    """Bit n of `pending`, `levels`, `claimed` and `enables[context]` stands for source n. Registers are 4 bytes."""

    title = "PLIC: interrupts of devices to harts"
    size = 0x60_0000
    widths = (4,)

    def __init__(
        self, harts: Sequence[InterruptHart], name: str = "plic", lines: Sequence[int] = LINES
    ) -> None:
        """`lines` are the mip bits of each hart's contexts."""
        super().__init__()
        self.name, self.harts, self.lines = name, harts, lines
        contexts = len(lines) * len(harts)
        self.fields = {
            "priority": Numbers(SOURCES, Number(TOP_PRIORITY)),
            "pending": Bits(_ALL),
            "levels": Bits(_ALL),
            "claimed": Bits(_ALL),
            "enables": Numbers(contexts, Bits(_ALL)),
            "threshold": Numbers(contexts, Number(TOP_PRIORITY)),
        }
        self._wires = [False] * contexts
        self._power_on()

    def _power_on(self) -> None:
        self.priority = [0] * SOURCES
        self.pending = self.claimed = self.levels = 0
        self.enables = [0] * len(self._wires)
        self.threshold = [0] * len(self._wires)

    def reset(self) -> None:
        """Sources keep the level that their devices drive."""
        levels = self.levels
        self._power_on()
        self.levels = levels
        self.pending = levels & EDGES
        self._forward()
        self.refresh()

    def set_source(self, source: int, level: bool) -> None:
        """A device drives its wire: `source` 1..95; others are ignored."""
        bit = 1 << source & _ALL if 0 < source < SOURCES else 0
        if level:
            # "the gateway ... converts the first matching signal edge"; it keeps one that comes before completion.
            self.pending |= bit & EDGES & ~self.levels
        self.levels = self.levels | bit if level else self.levels & ~bit
        self._forward()
        self._update()

    def read(self, offset: int, size: int) -> int:
        word = offset // 4
        if offset < PENDING:
            return self.priority[word] if word < SOURCES else 0
        if offset < ENABLE:
            return self.pending >> 8 * (offset - PENDING) & 0xFFFF_FFFF
        if offset < CONTEXT:
            context, at = divmod(offset - ENABLE, ENABLE_STRIDE)
            return self.enables[context] >> 8 * at & 0xFFFF_FFFF if context < len(self.enables) else 0
        context, at = divmod(offset - CONTEXT, CONTEXT_STRIDE)
        if context >= len(self.enables) or at > 4:
            return 0
        return self.threshold[context] if at == 0 else self._claim(context)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset < PENDING:
            if 0 < offset // 4 < SOURCES:
                self.priority[offset // 4] = value & TOP_PRIORITY
        elif ENABLE <= offset < CONTEXT:
            context, at = divmod(offset - ENABLE, ENABLE_STRIDE)
            if context < len(self.enables):
                kept = self.enables[context] & ~(0xFFFF_FFFF << 8 * at)
                self.enables[context] = (kept | value << 8 * at) & _ALL
        elif offset >= CONTEXT:
            context, at = divmod(offset - CONTEXT, CONTEXT_STRIDE)
            if context < len(self.enables) and at == 0:
                self.threshold[context] = value & TOP_PRIORITY
            elif context < len(self.enables) and at == 4:
                self._complete(context, value)
        self._update()

    def refresh(self) -> None:
        for context in range(len(self._wires)):
            self._drive(context, self._notifies(context))

    def requests(self, context: int) -> list[Request]:
        """Sources that are pending, or claimed and not completed, by number: what becomes of each at a context."""
        wanted, found = self.pending | self.claimed, []
        candidates, best = self._candidates(context), self._best(context)
        while wanted:
            source = (wanted & -wanted).bit_length() - 1
            wanted &= wanted - 1
            masked = self._masked(context, source, bool(candidates >> source & 1), best)
            found.append(Request(source, self.priority[source], self.threshold[context], masked))
        return found

    def _masked(self, context: int, source: int, candidate: bool, best: int) -> str:
        priority = self.priority[source]
        if not candidate:
            claimed = self.claimed >> source & 1
            return "claimed, and not completed yet" if claimed else "not enabled for this context"
        if not priority:
            return "priority 0: never"
        if priority <= self.threshold[context]:
            return f"masked by PLIC threshold {self.threshold[context]} >= priority {priority}"
        return "" if source == best else f"behind source {best}"

    def shown(self) -> tuple[Shown, ...]:
        """Sources that have a priority, a request or a level; then each context, with what it gets to see."""
        rows = []
        for source in range(1, SOURCES):
            priority, bit = self.priority[source], 1 << source
            words = [word for word, bits in (("level high", self.levels), ("pending", self.pending),
                                             ("claimed, not completed", self.claimed)) if bits & bit]  # fmt: skip
            by = [self.context_name(each) for each, enabled in enumerate(self.enables) if enabled & bit]
            if priority or words or by:
                words.append(f"enabled for {', '.join(by)}" if by else "enabled nowhere")
                words.insert(0, f"priority {priority}")
                rows.append(Shown(f"source {source}", priority, ", ".join(words), bits=3))
        contexts = []
        for context, enabled in enumerate(self.enables):
            best = self._best(context)
            if self._notifies(context):
                says = f"notifies: source {best}"
            else:
                says = f"source {best} is masked by the threshold" if best else "nothing to notify of"
            words_ = f"threshold {self.threshold[context]}, enables {_listed(enabled)}; {says}"
            contexts.append(Shown(self.context_name(context), self.threshold[context], words_, bits=3))
        return (
            Shown("pending", self.pending, _listed(self.pending), bits=SOURCES),
            Shown("claimed", self.claimed, _listed(self.claimed), bits=SOURCES),
            Shown("sources", words=f"{len(rows)} in use", rows=tuple(rows)),
            Shown("contexts", words=str(len(contexts)), rows=tuple(contexts)),
        )

    def context_name(self, context: int) -> str:
        """ "hart 0 S"."""
        hart, line = divmod(context, len(self.lines))
        return f"hart {hart} {'M' if self.lines[line] == LINES[0] else 'S'}"

    def describe(self, tree: Tree, base: int) -> None:
        tree.soc.add(Node(f"plic@{base:x}", {
            "compatible": ["sifive,plic-1.0.0", "riscv,plic0"], "reg": quads(base, self.size),
            "interrupt-controller": True, "#interrupt-cells": 1, "#address-cells": 0, "riscv,ndev": SOURCES - 1,
            "interrupts-extended": tree.hart_interrupts(*self.lines), "phandle": tree.phandle("plic"),
        }))  # fmt: skip

    def _forward(self) -> None:
        """"Interrupt Gateways": a high level becomes one request, and no other before completion. A request is not
        taken back when the level falls."""
        self.pending |= self.levels & ~self.claimed & ~EDGES

    def _candidates(self, context: int) -> int:
        return self.pending & ~self.claimed & self.enables[context]

    def _best(self, context: int) -> int:
        """The pending and enabled source of highest priority, lowest number among equals; 0 if there is none.
        Priority 0 means never."""
        left, best, top = self._candidates(context), 0, 0
        while left:
            source = (left & -left).bit_length() - 1
            left &= left - 1
            if self.priority[source] > top:
                best, top = source, self.priority[source]
        return best

    def _notifies(self, context: int) -> bool:
        return self.priority[self._best(context)] > self.threshold[context]

    def _claim(self, context: int) -> int:
        """"Interrupt Claim Process": not affected by the threshold."""
        source = self._best(context)
        if source:
            self.pending &= ~(1 << source)
            self.claimed |= 1 << source
            self._update()
        return source

    def _complete(self, context: int, source: int) -> None:
        """"Interrupt Completion": ignored for a source that is not enabled for the context."""
        if source < SOURCES and self.enables[context] >> source & 1:
            self.claimed &= ~(1 << source)
            self._forward()

    def _update(self) -> None:
        for context, driven in enumerate(self._wires):
            level = self._notifies(context)
            if level != driven:
                self._drive(context, level)

    def _drive(self, context: int, level: bool) -> None:
        self._wires[context] = level
        hart, line = divmod(context, len(self.lines))
        self.harts[hart].wire(self.lines[line], level)
