"""SiFive's test finisher: a word written to it ends or restarts the machine. Linux reaches it as a syscon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from emulator.bus import Device
from emulator.devices.fields import Shown
from emulator.devicetree import Node, Tree, quads

FAIL, PASS, RESET = 0x3333, 0x5555, 0x7777
EXIT_FAILED: Final = 1
"""Exit code of a failure that names none: never 0."""


class Finisher(Device):
    """A write to offset 0: bits 15..0 say what happens, bits 31..16 are the exit code of a failure."""

    title = "test finisher: ends the machine"
    widths = (2, 4)

    def __init__(
        self,
        halt: Callable[[int, str], None],
        restart: Callable[[], None] | None = None,
        name: str = "finisher",
    ) -> None:
        """`halt(code, message)` ends the machine. Without `restart()`, a reset ends it too, with code 0."""
        super().__init__()
        self.name, self.halt, self.restart = name, halt, restart

    def write(self, offset: int, size: int, value: int) -> None:
        if offset:
            return
        match value & 0xFFFF:
            case 0x5555:
                self.halt(0, "the guest powered off")
            case 0x3333:
                code = value >> 16 or EXIT_FAILED
                self.halt(code, f"the guest reported failure {code}")
            case 0x7777 if self.restart is not None:
                self.restart()
            case 0x7777:
                self.halt(0, "the guest asked for a reset")

    def shown(self) -> tuple[Shown, ...]:
        """It holds nothing: what a write does."""
        reset = "starts anew" if self.restart is not None else "ends the machine"
        words = f"{PASS:#x} powers off, code * 65536 + {FAIL:#x} ends with a code, {RESET:#x} {reset}"
        return (Shown("finish", words=words),)

    def describe(self, tree: Tree, base: int) -> None:
        handle = tree.phandle(self.name)
        tree.soc.add(Node(f"test@{base:x}", {
            "compatible": ["sifive,test1", "sifive,test0", "syscon"], "reg": quads(base, self.size), "phandle": handle,
        }))  # fmt: skip
        for name, value in (("poweroff", PASS), ("reboot", RESET)):
            tree.root.add(Node(name, {
                "compatible": f"syscon-{name}", "regmap": handle, "offset": 0, "value": value,
            }))  # fmt: skip
