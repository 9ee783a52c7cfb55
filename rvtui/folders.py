"""Folders of the user, by the XDG base directory specification, which wants absolute paths; None without a home."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """Where what should outlast a run is kept."""
    return _base("XDG_STATE_HOME", ".local/state")


def config_folder() -> Path | None:
    """Where what the user writes himself is."""
    return _base("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path | None:
    """Where what can be made again is kept."""
    return _base("XDG_CACHE_HOME", ".cache")


def _base(variable: str, usual: str) -> Path | None:
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():
        try:
            base = Path.home() / usual
        except RuntimeError:
            return None
    return base / "rvtui"
