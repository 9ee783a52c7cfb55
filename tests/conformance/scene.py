"""A hart in a mode, with tables of both stages: one access at a time, compared with the model."""

from __future__ import annotations

from dataclasses import dataclass

from rig import (
    ADUE,
    BASE,
    DATA,
    FETCH,
    GVA,
    HS,
    LEAF,
    LOAD,
    MPP,
    MPRV,
    MPV,
    MXR,
    ONES,
    SPVP,
    STORE,
    SUM,
    TABLES,
    TEXT,
    USER,
    VS,
    VU,
    M,
    Rig,
    Tables,
    U,
    transformed,
)

from emulator.hart import Mode

from .walker import Fault, Walker

MODES = (M, HS, U, VS, VU)
PAGED = (HS, U, VS, VU)
ACCESSES = (FETCH, LOAD, STORE)
LEVELS = {"Bare": 0, "Sv39": 3, "Sv48": 4, "Sv57": 5}
GUEST_LEVELS = {"Bare": 0, "Sv39x4": 3, "Sv48x4": 4, "Sv57x4": 5}
GUEST_TABLES = TABLES + 0x8_0000
MEMORY = 4 << 20
VALUE = 0x0123_4567_89AB_0001
"""What loads find. It begins with c.nop."""
STORED = 0x1122_3344_5566_7788
PAGE = DATA + 0x9000
"""A page of data; its number would be no size of a NAPOT page."""
ADDRESS = 0x12_3456_7000
"""A virtual address, canonical in every mode: its page is what tests map."""
GPA = 0x1_2345_6000
"""A guest-physical address, beyond RAM: the page between the stages."""
NOWHERE = 0x7000_0000
"""An address that nothing answers."""

KIND = {"lr": LOAD, "sc": STORE, "amo": STORE, "hlv": LOAD, "hlvx": LOAD, "hsv": STORE}
"""What an access is to translation, where its name does not say it."""


@dataclass(frozen=True)
class Outcome:
    """What an access did: its exception and what that left for the handler in M-mode, or cause None."""

    cause: int | None = None
    tval: int = 0
    tval2: int = 0
    tinst: int = 0
    gva: bool = False
    mpv: bool = False
    value: int | None = None


class Scene:
    """`mode` runs code that lies in a page of its own; everything traps to M-mode.

    `levels` and `guest_levels` are those of the stages, 0 for Bare. A hypervisor (M, HS, U) that accesses its guest's
    memory has `guest=True`: then the tables are the guest's, and its own code runs untranslated.
    """

    def __init__(
        self, mode: Mode, levels: int = 3, guest_levels: int = 3, *, guest: bool = False, identity: int = 1, **csrs: int
    ) -> None:
        self.rig = Rig(memory=MEMORY)
        self.mode, self.guest = mode, guest
        virtual = mode.virtual or guest
        self.first = Tables(self.rig, levels or 3)
        self.second = Tables(self.rig, guest_levels or 3, guest=True, at=GUEST_TABLES)
        if levels and not guest:
            self.first.map(BASE, BASE, LEAF | (0 if mode.privilege else USER))
        if virtual and guest_levels:
            self.show_ram(identity)
        if levels:
            self.rig.set(**{"vsatp" if virtual else "satp": self.first.atp})
        if virtual and guest_levels:
            self.rig.set(hgatp=self.second.atp)
        self.rig.set(**csrs)
        self.rig.store(PAGE, VALUE)

    def show_ram(self, level: int = 1, flags: int = LEAF | USER) -> None:
        """Guest-physical RAM is physical RAM, by pages of `level`."""
        size = 1 << 12 + 9 * level
        for at in range(BASE & -size, BASE + MEMORY, size):
            self.second.map(at, at, flags, level)

    def attempt(self, kind: str, address: int) -> Outcome:
        """Carry out one access."""
        return self.execute(TEXT[kind], address, steps=2 if kind == FETCH else 1)

    def execute(self, text: str, address: int = 0, *, steps: int = 1, at: int = BASE) -> Outcome:
        """Instructions with a1 = `address` and a2 = STORED; a0 is the outcome's value."""
        rig = self.rig
        rig.write(at, text)
        rig.hart.pc, rig.hart.mode = at, self.mode
        if self.mode is not M:
            rig.set(mstatus=rig.csr("mstatus") & ~(MPP | MPV | GVA | MPRV))
        rig.set(mcause=0, mtval=ONES, mtval2=ONES, mtinst=ONES)
        rig.put(a0=0, a1=address, a2=STORED)
        rig.run(steps)
        if rig.trap() is None:
            return Outcome(value=rig.x("a0"))
        status = rig.csr("mstatus")
        names = ("mcause", "mtval", "mtval2", "mtinst")
        return Outcome(*(rig.csr(name) for name in names), bool(status & GVA), bool(status & MPV))

    def walker(self) -> Walker:
        rig = self.rig
        mstatus, vsstatus = rig.csr("mstatus"), rig.csr("vsstatus")
        menvcfg, henvcfg = rig.csr("menvcfg"), rig.csr("henvcfg")
        return Walker(
            load=rig.load,
            exists=lambda at, kind: BASE <= at <= BASE + MEMORY - 8,
            satp=rig.csr("satp"), vsatp=rig.csr("vsatp"), hgatp=rig.csr("hgatp"),
            sum=bool(mstatus & SUM), mxr=bool(mstatus & MXR),
            vs_sum=bool(vsstatus & SUM), vs_mxr=bool(vsstatus & MXR),
            adue=bool(menvcfg & ADUE), vs_adue=bool(menvcfg & henvcfg & ADUE),
        )  # fmt: skip

    def tables(self) -> bytes:
        read = self.rig.machine.memory.read
        return read(self.first.root, self.first.next - self.first.root) + read(
            self.second.root, self.second.next - self.second.root
        )

    def expected(self, kind: str, address: int) -> tuple[Fault | int, Walker]:
        """By the model: the fault, or the physical address; and the walker, which knows what is written."""
        walker = self.walker()
        privilege, virtual = self.mode.privilege, self.mode.virtual
        if kind.startswith("h"):
            privilege, virtual = int(bool(self.rig.csr("hstatus") & SPVP)), True
        elif self.mode is M and kind != FETCH and (status := self.rig.csr("mstatus")) & MPRV:
            privilege = status >> 11 & 3
            virtual = privilege != 3 and bool(status & MPV)
        access = KIND.get(kind, kind)
        try:
            physical = walker.translate(address, access, privilege, virtual, kind == "hlvx")
            if not walker.exists(physical, access):
                raise Fault({FETCH: 1, LOAD: 5, STORE: 7}[access])
        except Fault as fault:
            return fault, walker
        return physical, walker

    def check(self, kind: str, address: int) -> Outcome:
        """The access does what the model says: exception, its values, memory, and the entries of the tables."""
        rig = self.rig
        rig.hart.flush_translation()
        expected, walker = self.expected(kind, address)
        spread = (self.first.root, self.first.next), (self.second.root, self.second.next)
        before = {base: bytearray(rig.machine.memory.read(base, end - base)) for base, end in spread}
        virtual = kind.startswith("h") or self.mode.virtual
        if self.mode is M and not virtual and kind != FETCH:
            virtual = rig.csr("mstatus") & (MPRV | MPV) == MPRV | MPV and (rig.csr("mstatus") & MPP) != MPP
        word = None if isinstance(expected, Fault) else rig.load(expected)
        found = self.attempt(kind, address)
        for at, entry in walker.written.items():
            base = max(root for root, _ in spread if root <= at)
            before[base][at - base : at - base + 8] = entry.to_bytes(8, "little")
        for base, end in spread:
            assert rig.machine.memory.read(base, end - base) == before[base], "entries of the tables"
        if isinstance(expected, Fault):
            assert (found.cause, found.tval) == (expected.cause, address)
            assert found.tval2 == expected.gpa >> 2
            # A hart may write 0 where it is no pseudoinstruction; this one always says what the access was.
            assert found.tinst == (expected.pseudo or self.tinst(kind)), f"mtinst {found.tinst:#x}"
            assert (found.gva, found.mpv) == (virtual, self.mode.virtual)
        else:
            assert found.cause is None, f"cause {found.cause}"
            if kind in (LOAD, "lr", "amo", "hlv"):
                assert found.value == word
            elif kind == "hlvx":
                assert word is not None and found.value == word & 0xFFFF_FFFF
            if kind in (STORE, "amo", "hsv"):
                assert rig.load(expected) == STORED
                rig.store(expected, VALUE)
        return found

    def tinst(self, kind: str) -> int:
        return 0 if kind == FETCH else transformed(self.rig.load(BASE, 4))


def guest_entry(scene: Scene, flags: int, gpa: int = GPA) -> tuple[int, int, int]:
    """Move the guest's last-level table for ADDRESS to guest-physical `gpa`, mapped there with `flags`.

    (Physical address of its entry, the entry's guest-physical address, physical address of the G-stage entry.)"""
    entry = scene.first.slot(ADDRESS)
    scene.rig.store(scene.first.slot(ADDRESS, 1), gpa >> 12 << 10 | 1)
    slot = scene.second.map(gpa, entry & ~0xFFF, flags)
    return entry, gpa | entry & 0xFFF, slot
