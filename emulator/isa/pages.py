"""Page-table entries: what their bits are called, and which range a leaf maps.

Manual: "Sv39: Page-Based 39-bit Virtual-Memory System", "Svnapot Extension for NAPOT Translation Contiguity", "Svpbmt
Extension for Page-Based Memory Types". What an access may do is the hart's to say (`emulator/hart/mmu.c`).
"""

from __future__ import annotations

from emulator.errors import EmulatorError

V, R, W, X, U, G, A, D = (1 << bit for bit in range(8))
N = 1 << 63
PBMT = 3 << 61
RESERVED = 0x7F << 54
PPN = (1 << 54) - (1 << 10)
LEAF = R | W | X
FLAGS = "VRWXUGAD"
"""From bit 0 on."""
MEMORY_TYPES = {0: "PMA", 1: "NC", 2: "IO", 3: "reserved"}
NAPOT_BITS = 16
"""log2 of the only range that N may give: 64 KiB."""


def flags(pte: int) -> str:
    """Bits 7 to 0, those that are clear as dashes: "DA-UXWRV"."""
    return "".join(name if pte >> bit & 1 else "-" for bit, name in enumerate(FLAGS))[::-1]


def high_flags(pte: int) -> str:
    """Bits 63 to 61, where they say something: "N", "NC", "N IO"."""
    kind = pte >> 61 & 3
    return " ".join([*(["N"] if pte & N else []), *([MEMORY_TYPES[kind]] if kind else [])])


def bits(pte: int, level: int) -> int:
    """log2 of the size of what a leaf maps."""
    return NAPOT_BITS if pte & N else 12 + 9 * level


def physical(pte: int, address: int) -> int:
    """Where the entry points: a table, or what the leaf maps at the page of `address` that this entry stands for."""
    at = (pte & PPN) << 2
    if not pte & N:
        return at
    inside = (1 << NAPOT_BITS) - 1
    return at & ~inside | address & inside


def kind(pte: int, level: int, types: bool = True) -> str:
    """ "pointer", "leaf", or "invalid" for what every hart refuses whatever the access. `types`: PBMTE is 1."""
    if not pte & V or pte & (R | W) == W or pte & RESERVED:
        return "invalid"
    if not pte & LEAF:
        return "pointer" if level and not pte & (A | D | U | N | PBMT) else "invalid"
    if pte & PBMT and (not types or pte & PBMT == PBMT):
        return "invalid"
    if pte & N:
        return "leaf" if not level and pte >> 10 & 15 == 8 else "invalid"
    return "invalid" if pte >> 10 & (1 << 9 * level) - 1 else "leaf"


class EditError(EmulatorError):
    """A change of an entry that cannot be understood."""


def changed(pte: int, change: str) -> int:
    """`pte` with some bits set, some cleared, and another memory type: "+w", "-x+ad", "+n", "nc", "pma".

    Raises EditError.
    """
    text = change.strip().lower()
    types = {name.lower(): kind for kind, name in MEMORY_TYPES.items() if kind < 3}
    if text in types:
        return pte & ~PBMT | types[text] << 61
    names = {name.lower(): 1 << bit for bit, name in enumerate(FLAGS)} | {"n": N}
    sign = ""
    for letter in text:
        if letter in "+-":
            sign = letter
        elif letter in names and sign:
            pte = pte | names[letter] if sign == "+" else pte & ~names[letter]
        else:
            break
    else:
        if sign and text[-1] not in "+-":
            return pte
    raise EditError(f"change {change!r}: write +w, -x+ad (of {FLAGS} and N), or {', '.join(types)}")


def change_text(bits: int, pte: int) -> str:
    """As `changed` takes it: what turns `bits` of `pte` round; "" where it has no word for one."""
    if bits & PBMT:
        return "pma"
    names = {1 << bit: name.lower() for bit, name in enumerate(FLAGS)} | {N: "n"}
    if bits & ~sum(names):
        return ""
    return "".join(("-" if pte & bit else "+") + name for bit, name in names.items() if bits & bit)
