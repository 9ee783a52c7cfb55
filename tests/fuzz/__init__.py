"""Fuzzing of the native hart under sanitizers: see `__main__.py`."""
