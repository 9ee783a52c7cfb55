"""Error codes of SBI calls (RISC-V SBI specification 2.0, "Standard SBI Errors")."""

from __future__ import annotations

SUCCESS = 0
FAILED = -1
NOT_SUPPORTED = -2
INVALID_PARAM = -3
INVALID_ADDRESS = -5
ALREADY_AVAILABLE = -6
ALREADY_STARTED = -7
ALREADY_STOPPED = -8
NO_SHMEM = -9


class CallError(Exception):
    """A call fails with this error code."""

    def __init__(self, error: int) -> None:
        self.error = error
