"""Debugging information (DWARF 2 to 5): source lines, functions, frames and variables of programs.

Read here and not by pyelftools, as that trusts offsets and counts, and reads more than is asked for: a kernel's
information is hundreds of megabytes, of which a stop needs one unit's.
"""

from __future__ import annotations

from emulator.dwarf.info import DebugInfo, LocationError, Place, Scope, Sources
from emulator.dwarf.lines import Line
from emulator.dwarf.reader import SECTIONS, SHF_COMPRESSED, DwarfError, Piece
from emulator.dwarf.unwind import leave
from emulator.dwarf.variables import Value, Variable, Variables

__all__ = [
    "SECTIONS", "SHF_COMPRESSED", "DebugInfo", "DwarfError", "Line", "LocationError", "Piece", "Place", "Scope",
    "Sources", "Value", "Variable", "Variables", "leave",
]  # fmt: skip
