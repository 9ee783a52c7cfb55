"""The fixtures of these tests; what they stand on is in desk.py."""

from __future__ import annotations

from desk import _elsewhere, guest

__all__ = ["_elsewhere", "guest"]
