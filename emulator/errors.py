"""Errors meant for people: one line that says what was wrong, where, and what to do."""

from __future__ import annotations


class EmulatorError(Exception):
    """Base of everything that a user of the emulator may have caused. `str()` is one line."""


class ConfigurationError(EmulatorError):
    """A machine, register or option was named that does not exist, or a value that it cannot take."""


class LoadError(EmulatorError):
    """A file could not be loaded into memory."""


class StateError(EmulatorError):
    """A saved state does not fit this machine or is damaged."""


class TranslationError(EmulatorError):
    """An address does not translate, or leads to no memory."""
