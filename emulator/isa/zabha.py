"""Zabha Extension for Byte and Halfword Atomic Memory Operations: those of Zaamo and Zacas, narrower."""

from __future__ import annotations

from . import a, zacas

EXTENSION = "Zabha"

for _suffix, _funct3, _bits in (("b", "000", 8), ("h", "001", 16)):
    for _name, (_funct5, _change) in a.CHANGES.items():
        a.describe(_name, _funct5, _change, _suffix, _funct3, _bits, EXTENSION, EXTENSION)
    zacas.describe(_suffix, _funct3, _bits, EXTENSION, "Zacas Zabha")
