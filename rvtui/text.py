"""Numbers and names as the panes write them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from emulator.isa.csrs import Csr

Span = tuple[str, str]
"""Text and the names of its styles, as `theme.Paint` knows them."""
Line = tuple[Span, ...]

MODE_NAMES = ("M", "HS", "U", "VS", "VU")
SPARKS = "▁▂▃▄▅▆▇█"


def count(value: float) -> str:
    """At most five characters: 999, 12.3k, 4.56M, 789G."""
    if value < 1000:
        return f"{value:.0f}"
    for unit in "kMGTP":
        value /= 1000
        if value < 999.5:
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f}{unit}"
    return f"{value:.0f}P"


def size(value: int) -> str:
    """Bytes in the largest unit that divides them: 4 KiB, 2 MiB, 512 GiB."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if value >> shift and not value & (1 << shift) - 1:
            return f"{value >> shift} {unit}"
    if value >= 1 << 20:
        return f"{value / (1 << 20):.1f} MiB"
    return f"{value / 1024:.1f} KiB" if value >= 1024 else f"{value} B"


def hex64(value: int, style: str = "", zeros: str = "faint") -> tuple[Span, Span]:
    """Sixteen digits, the leading zeros apart so that they can recede."""
    digits = f"{value:x}"
    return ("0" * (16 - len(digits)), zeros), (digits, style)


def digits(value: int | None) -> str | None:
    """An address or a register's contents as JSON has them: many readers keep no 64 bits of a number."""
    return None if value is None else hex(value)


def guest_time(clock: int) -> str:
    """A clock in instructions as time at one instruction per nanosecond."""
    seconds = clock / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def spark(values: list[float], width: int) -> str:
    """The last `width` values as bars; zero is a blank."""
    values = values[-width:]
    top = max(values, default=0.0)
    if top <= 0:
        return " " * width
    bars = "".join(" " if value <= 0 else SPARKS[min(7, int(value / top * 7.999))] for value in values)
    return bars.rjust(width)


@lru_cache(4096)
def clean(text: str, limit: int = 60) -> str:
    """Text that came out of a guest or its files, safe to put on one line."""
    text = "".join(
        "·" if unicodedata.category(each)[0] in "CZM" and each != " " else each for each in text[: limit + 1]
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"


def line_width(line: Line) -> int:
    return sum(len(text) for text, _ in line)


def fit(text: str, width: int) -> str:
    """Exactly `width` characters, cut with an ellipsis."""
    if width <= 0:
        return ""
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def csr_summary(csr: Csr, value: int) -> str:
    """The fields that are not zero, in brief: "SPV=1 SPVP=S VSXL=64"."""
    if len(csr.fields) == 1 and csr.fields[0].width == 64:
        return csr.fields[0].meaning(value) if value and csr.fields[0].show == "tinst" else ""
    parts = []
    for field, bits, meaning in csr.decode(value):
        if bits:
            parts.append(field.name if field.width == 1 and meaning in ("on", "off") else f"{field.name}={meaning}")
    return " ".join(parts)
