"""The bundled guests: small programs to run in a machine, as ELF files.

All but ``tiny-hypervisor`` are guests of a hypervisor: they start in S-mode (VS-mode in a VM) at 0x8000_0000 with the
hart id in a0 and the device tree's address or 0 in a1, and end through SBI's system reset. ``tiny-hypervisor`` is for
the bare machine: it starts in M-mode at the same address and ends through the test finisher.

``python -m emulator.guests.build`` rebuilds them.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from emulator.errors import LoadError

NAMES = MappingProxyType(
    {
        "hello": "greets through the SBI console and the UART, tells what it sees, and ends",
        "pages": "turns on Sv39 and checks one memory through pages of 4 KiB, 2 MiB and 1 GiB",
        "ticker": "ten timer interrupts a second and one line that lives; never ends",
        "exits": "does once each thing that makes a guest exit, and checks what comes back",
        "echo": "reads lines from the console and answers; type quit to end it",
        "faulty": "has a mistake in its page table, and goes on when it is mended from outside",
        "tiny-hypervisor": "bare machine: a hypervisor in HS-mode that runs two guests of its own",
    }
)
"""Every bundled guest, with what it does in one line."""

BARE = frozenset({"tiny-hypervisor"})
"""Those that boot as firmware on the bare machine, in M-mode; the others run in a VM."""

_DIRECTORY = Path(__file__).parent / "elf"


def path(name: str) -> Path:
    """Where the ELF file of a bundled guest is. Raises `LoadError` for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise LoadError(f"no bundled guest is called {name!r}: there are {', '.join(NAMES)}")
    return _DIRECTORY / f"{name}.elf"


def load(name: str) -> bytes:
    """The ELF file of a bundled guest. Raises `LoadError` for a name that is not in `NAMES`, or when it is missing."""
    file = path(name)
    try:
        return file.read_bytes()
    except OSError as error:
        raise LoadError(f"{file}: {error.strerror}: run python -m emulator.guests.build") from error
