"""The two stages of translation in Python, from the manual: what an access should do, and what it should leave behind.

Sections "Virtual Address Translation Process", "Two-Stage Address Translation", "Guest Physical Address Translation",
"Guest-Page Faults". No part of the hart is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rig import (
    FETCH,
    FETCH_ACCESS,
    FETCH_GUEST,
    FETCH_PAGE,
    LOAD,
    LOAD_ACCESS,
    LOAD_GUEST,
    LOAD_PAGE,
    STORE,
    STORE_ACCESS,
    STORE_GUEST,
    STORE_PAGE,
    USER,
    A,
    D,
    R,
    V,
    W,
    X,
)

PAGE = {FETCH: FETCH_PAGE, LOAD: LOAD_PAGE, STORE: STORE_PAGE}
GUEST = {FETCH: FETCH_GUEST, LOAD: LOAD_GUEST, STORE: STORE_GUEST}
ACCESS = {FETCH: FETCH_ACCESS, LOAD: LOAD_ACCESS, STORE: STORE_ACCESS}
READ, WRITE = 0x3000, 0x3020
"""Pseudoinstructions for a 64-bit read and write made for VS-stage translation."""
RESERVED_ALWAYS = 0x7F << 54
RESERVED_IN_POINTERS = A | D | USER | 1 << 63 | 3 << 61


class Fault(Exception):
    """What the access raises: cause, guest-physical address (0: none), pseudoinstruction (0: none)."""

    def __init__(self, cause: int, gpa: int = 0, pseudo: int = 0) -> None:
        super().__init__(cause, gpa, pseudo)
        self.cause, self.gpa, self.pseudo = cause, gpa, pseudo


@dataclass
class Walker:
    """Registers as far as translation looks at them, and memory."""

    load: Callable[[int], int]
    """Physical memory, a doubleword."""
    exists: Callable[[int, str], bool]
    """May the supervisor level read, write ("load", "store") or fetch at a physical address?"""
    satp: int = 0
    vsatp: int = 0
    hgatp: int = 0
    sum: bool = False
    mxr: bool = False
    vs_sum: bool = False
    vs_mxr: bool = False
    adue: bool = False
    """menvcfg.ADUE: of one-stage translation and of the G-stage."""
    vs_adue: bool = False
    """henvcfg.ADUE and menvcfg.ADUE: of the VS-stage."""
    written: dict[int, int] = field(default_factory=dict)
    """Entries that were updated, by physical address."""

    def read(self, at: int) -> int:
        return self.written.get(at, self.load(at))

    def translate(self, address: int, access: str, privilege: int, virtual: bool, hlvx: bool = False) -> int:
        """The physical address, or Fault."""
        first = self._first(address, access, privilege, virtual, hlvx)
        return self._second(first, access, access, 0, hlvx) if virtual else first

    def _first(self, address: int, access: str, privilege: int, virtual: bool, hlvx: bool) -> int:
        satp = self.vsatp if virtual else self.satp
        if privilege == 3 or not satp >> 60:
            return address
        levels = (satp >> 60) - 5
        width = 12 + 9 * levels
        if address >> (width - 1) not in (0, (1 << (65 - width)) - 1):
            raise Fault(PAGE[access])
        user_memory = self.vs_sum if virtual else self.sum
        readable = self.mxr or (virtual and self.vs_mxr)

        def allowed(pte: int) -> bool:
            if pte & USER:
                if privilege == 1 and (access == FETCH or not user_memory):
                    return False
            elif privilege == 0:
                return False
            return self._rwx(pte, access, readable, hlvx)

        def locate(at: int, kind: str) -> int:
            return self._second(at, kind, access, READ if kind == LOAD else WRITE, False) if virtual else at

        update = self.vs_adue if virtual else self.adue
        fault = Fault(PAGE[access])
        return self._walk(
            (satp & (1 << 44) - 1) << 12, address, levels, 9, access, access, allowed, update, locate, fault
        )

    def _second(self, gpa: int, kind: str, access: str, pseudo: int, hlvx: bool) -> int:
        """`kind`: what is asked of the entry; `access`: what the fault is reported as."""
        if not self.hgatp >> 60:
            return gpa
        levels = (self.hgatp >> 60) - 5
        fault = Fault(GUEST[access], gpa, pseudo)
        if gpa >> (12 + 9 * levels + 2):
            raise fault

        def allowed(pte: int) -> bool:
            return bool(pte & USER) and self._rwx(pte, kind, self.mxr and not pseudo, hlvx)

        root = (self.hgatp & (1 << 44) - 1) << 12
        return self._walk(root, gpa, levels, 11, kind, access, allowed, self.adue, lambda at, _: at, fault)

    @staticmethod
    def _rwx(pte: int, kind: str, execute_reads: bool, hlvx: bool) -> bool:
        if kind == STORE:
            return bool(pte & W)
        if kind == FETCH or hlvx:
            return bool(pte & X)
        return bool(pte & R or (execute_reads and pte & X))

    def _walk(
        self,
        root: int,
        address: int,
        levels: int,
        root_bits: int,
        kind: str,
        access: str,
        allowed: Callable[[int], bool],
        update: bool,
        locate: Callable[[int, str], int],
        fault: Fault,
    ) -> int:
        table = root
        for level in reversed(range(levels)):
            bits = root_bits if level == levels - 1 else 9
            at = table + (address >> (12 + 9 * level) & (1 << bits) - 1) * 8
            where = locate(at, LOAD)
            if not self.exists(where, LOAD):
                raise Fault(ACCESS[access])
            pte = self.read(where)
            if not pte & V or (pte & W and not pte & R) or pte & RESERVED_ALWAYS or pte >> 61 & 3:
                raise fault
            ppn = pte >> 10 & (1 << 44) - 1
            if not pte & (R | X):
                if pte & RESERVED_IN_POINTERS:
                    raise fault
                table = ppn << 12
                continue
            if pte >> 63:
                raise fault  # these tests use reserved NAPOT encodings only
            if ppn & (1 << 9 * level) - 1 or not allowed(pte):
                raise fault
            needed = A | (D if kind == STORE else 0)
            if needed & ~pte:
                if not update:
                    raise fault
                where = locate(at, STORE)
                if not self.exists(where, STORE):
                    raise Fault(ACCESS[access])
                self.written[where] = self.read(where) | needed
            offset = (1 << 12 + 9 * level) - 1
            return ppn << 12 & ~offset | address & offset
        raise fault
