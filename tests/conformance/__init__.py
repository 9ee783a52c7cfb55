"""The H extension as a list of rules, each tried on the hart.

`python -m tests.conformance` writes the fidelity page.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The bare machine and the assembler of the emulator's tests are this suite's too.
_HELPERS = str(Path(__file__).resolve().parents[1] / "emulator")
if _HELPERS not in sys.path:
    sys.path.insert(0, _HELPERS)
