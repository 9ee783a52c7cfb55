"""The fixtures of these tests; what they stand on is in desk.py and bench.py."""

from __future__ import annotations

from bench import bench, translated
from desk import _elsewhere, guest

__all__ = ["_elsewhere", "bench", "guest", "translated"]
