"""Random programs, the same for the same seed.

Phase "user": the unprivileged instructions in one mode, over operands from the edges. Phase "privileged": besides,
CSRs, mode changes, delegation, interrupts, PMP, both stages of translation with damaged tables, fences, HLV and HSV.
Phase "translation": loads and stores above all, through both stages, with everything that bears on them changing.

Instructions come from the descriptions in `emulator.isa`, so a new one is tried without a change here.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import cache

from emulator.isa import ISA, csrs
from emulator.isa.description import Compressed, Instruction

from . import allowed
from .program import (
    BASE,
    CHANGE_ENTRY,
    DATA,
    DATA_SIZE,
    HS_HANDLER,
    JUNK,
    JUNK_SIZE,
    M_HANDLER,
    MODES,
    MPP,
    MPRV,
    MPV,
    TABLE_PAGES,
    TABLES,
    USER,
    VS_HANDLER,
    Jump,
    Program,
    Unit,
    csr_number,
    csrr,
    csrw,
    encode,
    li,
)

M64 = (1 << 64) - 1
PAGE = 4096
POINTERS = (2, 8, 9, 18, 19)
"""Registers that hold addresses of data; nothing else is written to them."""
SCRATCH = (5, 6, 7, 10, 11)
V, R, W, X, U, G, A, D = (1 << i for i in range(8))

INTEGERS = (
    0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
    1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, M64, M64 - 1, -128 & M64, -(1 << 31) & M64, 0x5555_5555_5555_5555,
    0x0123_4567_89AB_CDEF,
)  # fmt: skip
SINGLES = (
    0, 0x8000_0000, 0x3F80_0000, 0xBF80_0000, 0x0000_0001, 0x8000_0001, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF,
    0xFF7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0xFFC0_0000, 0x7F80_0001, 0x7FFF_FFFF, 0x4F00_0000,
    0xCF00_0000, 0x4F80_0000, 0x5F00_0000, 0x5F80_0000, 0x3F00_0000, 0x3FC0_0000, 0x4020_0000, 0x3EFF_FFFF,
)  # fmt: skip
DOUBLES = (
    0, 1 << 63, 0x3FF0 << 48, 0xBFF0 << 48, 1, (1 << 63) | 1, (1 << 52) - 1, 1 << 52, 0x7FEF_FFFF_FFFF_FFFF,
    0xFFEF_FFFF_FFFF_FFFF, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0_0000_0000_0001, M64 >> 1,
    0x41E0 << 48, 0xC1E0 << 48, 0x41F0 << 48, 0x43E0 << 48, 0xC3E0 << 48, 0x43F0 << 48, 0x3FE0 << 48, 0x3FF8 << 48,
    0x4004 << 48, 0x47EF_FFFF_E000_0000, 0x47EF_FFFF_F000_0000, 0x3810 << 48, 0x36A0 << 48, 0x3690 << 48,
    0x380F_FFFF_FFFF_FFFF,
)  # fmt: skip


def integer(rng: random.Random) -> int:
    choice = rng.random()
    if choice < 0.45:
        return rng.choice(INTEGERS)
    if choice < 0.7:
        return rng.getrandbits(64)
    if choice < 0.85:
        return (1 << rng.randrange(64)) + rng.randrange(-2, 3) & M64
    return rng.randrange(-70, 70) & M64


def floating(rng: random.Random) -> int:
    choice = rng.random()
    if choice < 0.3:
        return rng.choice(DOUBLES)
    if choice < 0.6:
        return 0xFFFF_FFFF << 32 | rng.choice(SINGLES)
    if choice < 0.75:
        return 0xFFFF_FFFF << 32 | rng.getrandbits(32)
    if choice < 0.95:
        # Exponents near each other, so that sums cancel and products stay finite.
        return rng.getrandbits(1) << 63 | (0x3FF + rng.randrange(-60, 60)) << 52 | rng.getrandbits(52)
    return rng.getrandbits(64)


@cache
def _instructions() -> dict[str, list[Instruction | Compressed]]:
    """The descriptions by what surroundings they need."""
    registry = ISA
    kinds: dict[str, list[Instruction | Compressed]]
    kinds = {"plain": [], "memory": [], "guest": [], "branch": [], "fence": []}
    for i in registry.instructions.values():
        effects = {effect.kind for effect in i.effects}
        if i.name.startswith(("hlv", "hsv")):
            kinds["guest"].append(i)
        elif "(rs1)" in i.syntax and i.name != "jalr":
            kinds["memory"].append(i)
        elif i.name in ("jal", "jalr"):
            continue
        elif "jump" in effects:
            kinds["branch"].append(i)
        elif effects <= {"x", "f"}:
            kinds["plain"].append(i)
        elif "fence" in i.name or "inval" in i.name:
            kinds["fence"].append(i)
    for c in registry.compressed.values():
        target = registry.instructions[c.target]
        if "imm" in c.layout.operands and target.name in ("jal", "beq", "bne"):
            kinds["branch"].append(c)
        elif "(rs1)" in target.syntax and target.name != "jalr":
            kinds["memory"].append(c)
        elif {effect.kind for effect in target.effects} <= {"x", "f"}:
            kinds["plain"].append(c)
    return kinds


@cache
def _writes_x(name: str) -> bool:
    registry = ISA
    target = registry.compressed[name].target if name in registry.compressed else name
    return any(effect.kind == "x" for effect in registry.instructions[target].effects)


class _Tables:
    """Page tables of both stages, damaged here and there."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.words: dict[int, list[int]] = {}
        self.free = TABLES
        self.below: dict[tuple[int, int], int] = {}
        self.high: list[int] = []
        """Virtual addresses of windows onto the data, beside BASE and USER."""
        self.entries: list[int] = []
        """Offsets of entries worth changing while the program runs."""

    def _pages(self, count: int) -> int:
        at = self.free + (-self.free % (count * PAGE))
        if at + count * PAGE > TABLES + TABLE_PAGES * PAGE:
            raise MemoryError
        self.free = at + count * PAGE
        for i in range(count):
            self.words[at + i * PAGE] = [0] * 512
        return at

    def _set(self, table: int, index: int, entry: int) -> None:
        page = table + index // 512 * PAGE
        self.words[page][index % 512] = entry
        self.entries.append(page + index % 512 * 8)

    def build(self, mode: int, guest: bool) -> int:
        """A table for satp or vsatp, or for hgatp (`guest`) in MODE `mode`; the offset of its root."""
        rng = self.rng
        levels = mode - 5
        root = self._pages(4 if guest else 1)
        bits = 12 + 9 * levels + (2 if guest else 0)
        windows = [(BASE, U if guest else 0), (USER, U)]
        if guest:
            high = rng.randrange(4, 1 << bits - 30) << 30
        else:
            high = rng.randrange(4, 1 << bits - 31) << 30
            if rng.random() < 0.5:
                high = -high & M64
        windows.append((high, U if guest or rng.random() < 0.5 else 0))
        self.high.append(high)
        for start, user in windows:
            self._window(root, levels, start & ((1 << bits) - 1), user, guest)
        return root

    def _window(self, root: int, levels: int, start: int, user: int, guest: bool) -> None:
        """2 MiB from `start` onto BASE."""
        rng = self.rng
        leaf = rng.choices((0, 1, 2), (6, 2, 1))[0]
        table = root
        usual = V | R | W | X | A | D | user
        for level in range(levels - 1, leaf, -1):
            index = start >> 12 + 9 * level & (2047 if guest and level == levels - 1 else 511)
            page = table + index // 512 * PAGE
            entry = self.words[page][index % 512]
            if (table, index) in self.below:
                table = self.below[table, index]
                continue
            below = self.below[table, index] = self._pages(1)
            entry = (BASE + below) >> 12 << 10 | V
            if rng.random() < (0.01 if start in (BASE, USER) else 0.1):
                entry ^= rng.choice((A, D, U, G, V, 1 << 54, 1 << 58, 1 << 61, 1 << 63, R, W, X))
            self._set(table, index, entry)
            table = below
        index = start >> 12 + 9 * leaf & (2047 if guest and leaf == levels - 1 else 511)
        if leaf:
            target = BASE if leaf == 1 else BASE & -(1 << 30)
            entry = target >> 12 << 10 | usual
            if rng.random() < (0.03 if start in (BASE, USER) else 0.5):
                entry = self._damage(entry, leaf)
            self._set(table, index, entry)
            return
        for i in range(512):
            offset = i * PAGE
            entry = (BASE + offset) >> 12 << 10 | usual
            if DATA <= offset < DATA + DATA_SIZE:
                if rng.random() < 0.5:
                    entry = self._damage(entry, 0)
                elif rng.random() < 0.3:
                    entry &= ~rng.choice((A, D, A | D, R | W, W, X))
                self._set(table, i, entry)
            elif TABLES <= offset < DATA:
                # In the G-stage these hold the tables of the VS-stage, which the walk reads and updates.
                if start == USER and not guest:
                    continue
                if guest and rng.random() < 0.3:
                    entry &= ~rng.choice((R, W, X, R | W, W | X, A, D, A | D, W | D, R | W | X))
                if guest:
                    self._set(table, i, entry)
                else:
                    self.words[table][i] = entry
            elif offset < 0x20000:
                if rng.random() < 0.01 and offset not in (0x1000, 0x8000):
                    entry = self._damage(entry, 0)
                self.words[table][i] = entry
            elif offset < 0x100000:
                self.words[table][i] = entry

    def _damage(self, entry: int, level: int) -> int:
        rng = self.rng
        choice = rng.random()
        if choice < 0.6:
            for _ in range(rng.randrange(1, 4)):
                entry ^= rng.choice((V, R, W, W, X, U, U, G, A, A, D, D, 1 << 8, 1 << 9))
        elif choice < 0.75:
            entry &= ~(A | D)
        elif choice < 0.79:
            entry ^= 1 << rng.randrange(54, 64)
        elif choice < 0.82:
            entry ^= rng.randrange(1, 4) << 61
        elif choice < 0.85:
            # Svnapot, in the form there is, or nearly.
            entry = entry & ~(0xF << 10) | rng.choice((8, 8, 8, rng.randrange(16))) << 10 | 1 << 63
        elif choice < 0.9 and level:
            entry |= 1 << rng.randrange(10, 10 + 9 * level)
        else:
            page = BASE + DATA + rng.randrange(DATA_SIZE)
            # No memory, or an address that the G-stage is too narrow for.
            page = rng.choice((page, 0x5_0000_0000, BASE + (256 << 20), page | 1 << rng.choice((41, 41, 42, 50, 55))))
            entry = page >> 12 << 10 | entry & 0x3FF
        return entry & M64

    def memory(self) -> dict[int, bytes]:
        return {offset: struct.pack("<512Q", *words) for offset, words in self.words.items()}


class Generator:
    """Makes one program."""

    def __init__(self, seed: int, phase: str = "privileged", units: int = 400) -> None:
        self.rng = random.Random(f"{phase} {seed}")
        self.seed, self.phase, self.count = seed, phase, units
        self.tables = _Tables(self.rng)
        self.roots: dict[str, list[int]] = {"satp": [0], "vsatp": [0], "hgatp": [0]}
        """Values for the registers."""

    def program(self) -> Program:
        rng = self.rng
        privileged = self.phase != "user"
        if privileged:
            for name in ("satp", "vsatp", "hgatp", "satp", "vsatp", "hgatp"):
                mode = rng.choice((8, 8, 9, 10))
                try:
                    root = self.tables.build(mode, name == "hgatp")
                except MemoryError:
                    break
                identifier = rng.randrange(4) << 44
                self.roots[name].append(mode << 60 | identifier | (BASE + root) >> 12)
        self.choices = self._kinds(privileged)
        weights = [weight for _, weight in self.choices]
        kinds = [kind for kind, _ in self.choices]
        units: list[Unit] = []
        while len(units) < self.count:
            self.identity = len(units) + 1
            items = rng.choices(kinds, weights)[0]()
            if self.wanted_mode:
                # ECALL, and the handler goes on in that mode unless the call is delegated.
                units.append(Unit(len(units), (encode("ecall"),), self.wanted_mode))
            mode = 0
            if privileged and (rng.random() < 0.06 or self.switches):
                mode = rng.choices(range(1, len(MODES)), (2, 2, 2, 3, 4))[0]
            self.switches, self.wanted_mode = False, 0
            units.append(Unit(len(units), tuple(items), mode))
        memory = self.tables.memory()
        memory[JUNK] = self._junk()
        memory[DATA] = rng.randbytes(DATA_SIZE)
        x = [integer(rng) for _ in range(32)]
        for register in POINTERS:
            x[register] = self.pointer()
        start = rng.randrange(1, len(MODES)) if privileged else rng.choice((1, 2, 3, 3))
        return Program(
            tuple(units), tuple(self._first_csrs(privileged)), tuple(x), tuple(floating(rng) for _ in range(32)),
            memory, start, f"{self.phase} seed {self.seed}",
        )  # fmt: skip

    switches = False
    """The unit just made ends in a trap that should continue in another mode."""

    wanted_mode = 0
    """The unit just made should begin in that mode, an index of MODES."""

    def _kinds(self, privileged: bool) -> list[tuple[Callable[[], list[bytes | Jump]], int]]:
        kinds = [
            (self.plain, 40), (self.memory, 18), (self.branch, 6), (self.jump, 3), (self.set_pointer, 4),
            (self.set_register, 4), (self.reserve, 2), (self.float_csr, 2), (self.counter, 1), (self.trap, 1),
            (self.random_word, 1),
        ]  # fmt: skip
        if self.phase == "translation":
            return [
                (self.memory, 40), (self.set_pointer, 25), (self.guest, 24), (self.table_entry, 14),
                (self.translate, 3), (self.status, 8), (self.machine_as, 6), (self.switch, 6), (self.plain, 8),
                (self.reserve, 4), (self.mret, 3), (self.sret, 2), (self.fence, 2), (self.pmp, 2), (self.jump, 1),
                (self.junk, 1),
            ]  # fmt: skip
        if privileged:
            kinds = [(kind, max(1, weight // 2)) for kind, weight in kinds] + [
                (self.csr, 24), (self.guarded, 6), (self.csr_any, 4), (self.switch, 8), (self.mret, 3),
                (self.sret, 3),
                (self.guest, 8), (self.fence, 2), (self.table_entry, 4), (self.translate, 4), (self.interrupt, 7),
                (self.wait, 1), (self.junk, 1), (self.pmp, 2), (self.status, 2), (self.machine_as, 2),
            ]  # fmt: skip
        return kinds

    # --- Operands

    def destination(self) -> int:
        while True:
            register = self.rng.randrange(32)
            if register not in POINTERS:
                return register

    def pointer(self) -> int:
        """An address worth a load or store."""
        rng = self.rng
        choice = rng.random()
        edge = rng.choice((0, 0, 8, 64, 2040, 4088, 4092, 4095, 4080, rng.randrange(PAGE), rng.randrange(PAGE) & -8))
        offset = DATA + PAGE + rng.randrange(DATA_SIZE // PAGE - 2) * PAGE + edge
        if self.phase == "user" or choice < 0.35:
            return BASE + offset
        if choice < 0.6:
            return USER + offset
        if choice < 0.85 and self.tables.high:
            return rng.choice(self.tables.high) + offset & M64
        if choice < 0.9:
            return BASE + rng.randrange(0x20000)
        if choice < 0.95:
            return rng.choice((0x5_0000_0000, BASE + (256 << 20), BASE + (16 << 20) - 4)) + edge
        return 1 << rng.choice((38, 39, 41, 47, 48, 50, 56, 57, 59, 63)) | rng.choice((BASE, USER)) + offset

    def operands(self, i: Instruction | Compressed) -> dict[str, int]:
        """Random operands, none of them reserved, and no write to a pointer register."""
        rng = self.rng
        while True:
            values: dict[str, int] = {}
            for name, width in i.layout.operands.items():
                plain = name.rstrip("'")
                if plain == "imm":
                    carried = sum(((1 << p.width) - 1) << p.at for p in i.layout.pieces if p.name == name)
                    value = rng.getrandbits(width) & carried
                    if value >> width - 1:
                        value -= 1 << width
                elif plain == "uimm":
                    carried = sum(((1 << p.width) - 1) << p.at for p in i.layout.pieces if p.name == name)
                    value = rng.getrandbits(width) & carried
                elif plain == "rm":
                    value = rng.choice((0, 1, 2, 3, 4, 7, 7))
                elif name.endswith("'"):
                    value = 8 + rng.randrange(8)
                else:
                    value = rng.getrandbits(width)
                values[plain] = value
            if any(values.get(name) in bad for name, bad in i.never.items()):
                continue
            if "rd" in values and values["rd"] in POINTERS and _writes_x(i.name):
                continue
            if i.name == "c.addi16sp":
                continue
            return values

    # --- Units

    def plain(self) -> list[bytes | Jump]:
        while True:
            i = self.rng.choice(_instructions()["plain"])
            if i.name != "c.addi16sp":
                return [encode(i.name, **self.operands(i))]

    def memory(self) -> list[bytes | Jump]:
        rng = self.rng
        i = rng.choice(_instructions()["memory"])
        values = self.operands(i)
        if "rs1'" in i.layout.operands:
            values["rs1"] = rng.choice((8, 9))
        elif "rs1" in values:
            values["rs1"] = rng.choice(POINTERS)
        if "imm" in values and rng.random() < 0.7:
            values["imm"] = rng.choice((0, 8, -8, 16, 1, 2, 4, 3, -1))
        aligned = []
        if i.extension == "A" and rng.random() < 0.998:
            aligned = [encode("andi", rd=values["rs1"], rs1=values["rs1"], imm=-8)]
        return [*aligned, encode(i.name, **values)]

    def branch(self) -> list[bytes | Jump]:
        i = self.rng.choice(_instructions()["branch"])
        values = self.operands(i)
        values.pop("imm")
        return [Jump(i.name, tuple(values.items()), self.identity + self.rng.randrange(1, 6))]

    def jump(self) -> list[bytes | Jump]:
        rng = self.rng
        target = self.identity + rng.randrange(1, 8)
        rd = rng.choice((0, 1, 5, self.destination()))
        if rng.random() < 0.5:
            return [Jump("jal", (("rd", rd),), target)]
        via = rng.choice(SCRATCH)
        offset = rng.choice((0, 0, 0, 1))
        return [Jump("la", (("rd", via),), target), encode("jalr", rd=rd, rs1=via, imm=offset)]

    def set_pointer(self) -> list[bytes | Jump]:
        pointer = self.pointer()
        if self.phase != "user" and self.rng.random() < 0.15:
            pointer ^= self.rng.getrandbits(self.rng.choice((7, 7, 16, 17))) << 64 - 17 & M64  # a tag, perhaps masked
        return [li(self.rng.choice(POINTERS), pointer)]

    def set_register(self) -> list[bytes | Jump]:
        rng = self.rng
        if rng.random() < 0.6:
            return [li(self.destination(), integer(rng))]
        via = rng.choice(SCRATCH)
        move = encode("fmv.d.x", rd=rng.randrange(32), rs1=via)
        return [li(via, floating(rng)), move]

    def reserve(self) -> list[bytes | Jump]:
        """LR and SC, with little between them, sometimes at another address or of another width."""
        rng = self.rng
        base, other = rng.choice(POINTERS), rng.choice(POINTERS)
        size = rng.choice("wd")
        items: list[bytes | Jump] = [encode("andi", rd=r, rs1=r, imm=-8) for r in (base, other)]
        if rng.random() < 0.9:
            items.append(encode(f"lr.{size}", rd=self.destination(), rs1=base))
        for _ in range(rng.randrange(3)):
            items += self.plain()
        if rng.random() < 0.1:
            size, base = rng.choice("wd"), other
        items.append(encode(f"sc.{size}", rd=self.destination(), rs1=base, rs2=rng.randrange(32)))
        if rng.random() < 0.2:
            items.append(encode(f"sc.{size}", rd=self.destination(), rs1=base, rs2=rng.randrange(32)))
        return items

    def float_csr(self) -> list[bytes | Jump]:
        rng = self.rng
        number = csr_number(rng.choice(("fflags", "frm", "fcsr")))
        if rng.random() < 0.5:
            name = rng.choice(("csrrwi", "csrrsi", "csrrci"))
            return [encode(name, rd=self.destination(), csr=number, uimm=rng.randrange(32))]
        name = rng.choice(("csrrw", "csrrs", "csrrc"))
        return [encode(name, rd=self.destination(), csr=number, rs1=rng.choice((0, rng.randrange(32))))]

    def counter(self) -> list[bytes | Jump]:
        name = self.rng.choice(("cycle", "time", "instret"))
        return [csrr(name, self.destination())]

    def trap(self) -> list[bytes | Jump]:
        return [encode(self.rng.choice(("ecall", "ebreak", "c.ebreak")))]

    def random_word(self) -> list[bytes | Jump]:
        """Mostly illegal."""
        return [self._word()]

    def _word(self) -> bytes:
        rng = self.rng
        while True:
            choice = rng.random()
            word = rng.getrandbits(32)
            if choice < 0.3:
                word &= 0xFFFF
                if word & 3 == 3:
                    continue
                data = struct.pack("<H", word)
            else:
                word |= 3
                if choice < 0.7:
                    word = word & ~0x7F | rng.choice((0x33, 0x3B, 0x13, 0x1B, 0x53, 0x43, 0x2F, 0x73, 0x0F, 0x03, 0x23))
                if word & 0x1F == 0x1F:
                    continue
                data = struct.pack("<I", word)
            if not allowed.never_generate(word):
                return data

    def _junk(self) -> bytes:
        rng = self.rng
        out = b""
        while len(out) < JUNK_SIZE - 4:
            out += self._word() if rng.random() < 0.5 else b"".join(p for p in self.plain() if isinstance(p, bytes))
        return out[: JUNK_SIZE - 4]

    # --- Privileged units

    def junk(self) -> list[bytes | Jump]:
        rng = self.rng
        via = rng.choice(SCRATCH)
        window = rng.choice((BASE, USER))
        return [li(via, window + JUNK + rng.randrange(JUNK_SIZE) & -2), encode("jalr", rd=1, rs1=via, imm=0)]

    def _value(self, name: str) -> int:
        """Something worth writing to a CSR."""
        rng = self.rng
        if name in self.roots:
            value = rng.choice(self.roots[name])
            if rng.random() < 0.1:
                value ^= 1 << rng.randrange(44, 60)
            return value
        if name == "mtvec":
            return M_HANDLER | rng.randrange(2)
        if name in ("stvec", "vstvec"):
            return (HS_HANDLER if name == "stvec" else VS_HANDLER) | rng.randrange(2)
        if name in ("stimecmp", "vstimecmp"):
            return rng.choice((0, rng.randrange(60), rng.randrange(60), M64, rng.getrandbits(64)))
        if name in ("mcycle", "minstret"):
            return rng.choice((0, M64, integer(rng)))
        if name == "htimedelta":
            return rng.choice((0, 1, M64, rng.getrandbits(64), rng.randrange(100)))
        value = rng.choice((rng.getrandbits(64), rng.getrandbits(64) & rng.getrandbits(64), 0, M64, integer(rng)))
        if name == "mstatus":
            if rng.random() < 0.9:
                value &= ~MPRV
            if rng.random() < 0.8:
                value |= rng.choice((1, 2, 3)) << 13
        elif name in ("sstatus", "vsstatus") and rng.random() < 0.8:
            value |= rng.choice((1, 2, 3)) << 13
        elif name in ("menvcfg", "henvcfg") and rng.random() < 0.7:
            value |= 1 << 63
        elif name in ("mcounteren", "hcounteren", "scounteren") and rng.random() < 0.5:
            value |= 7
        return value

    def _active(self, name: str) -> int:
        """A value for satp, vsatp or hgatp; seldom Bare in the phase about translation."""
        roots = self.roots[name]
        if self.phase == "translation" and len(roots) > 1 and self.rng.random() < 0.85:
            roots = roots[1:]
        return self.rng.choice(roots)

    def _first_csrs(self, privileged: bool) -> list[tuple[str, int]]:
        rng = self.rng
        if not privileged:
            return [("mcounteren", 7), ("scounteren", 7), ("mstatus", rng.choice((1, 2, 3)) << 13)]
        first = [
            ("medeleg", rng.choice((0, rng.getrandbits(24), rng.getrandbits(24)))),
            ("mideleg", rng.choice((0, 0x222, 0x2222))),
            ("hedeleg", rng.choice((0, rng.getrandbits(24)))),
            ("hideleg", rng.choice((0, 0x444, rng.getrandbits(12)))),
            ("mcounteren", rng.choice((7, M64, rng.getrandbits(32)))),
            ("hcounteren", rng.choice((7, M64, rng.getrandbits(32)))),
            ("scounteren", rng.choice((7, M64, rng.getrandbits(32)))),
            *((f"{level}stateen{i}", rng.choice((0, M64, 3 << 62, 1 << 63))) for level in "mh" for i in range(4)),
            ("minstretcfg", rng.choice((0, 0, rng.getrandbits(5) << 58))),
            ("mcyclecfg", rng.choice((0, 0, rng.getrandbits(5) << 58))),
            ("menvcfg", rng.choice((0, 1 << 63, rng.randrange(8) << 61)) | self._masking()),
            ("henvcfg", rng.choice((0, 1 << 63, rng.randrange(8) << 61)) | self._masking()),
            ("senvcfg", self._masking()),
            ("mseccfg", self._masking()),
            ("htimedelta", rng.choice((0, rng.getrandbits(64), rng.randrange(100)))),
            ("vsstatus", rng.choice((1, 2, 3)) << 13 | (rng.getrandbits(2) << 18)),
            ("mstatus", rng.choice((1, 2, 3)) << 13 | (rng.getrandbits(2) << 18)),
            ("hstatus", rng.getrandbits(3) << 7 | rng.choice((0, 0, 1, 2, 4)) << 20 | self._masking() << 16),
            ("satp", self._active("satp")),
            ("vsatp", self._active("vsatp")),
            ("hgatp", self._active("hgatp")),
            ("mie", rng.choice((0, 0xFFF, 0x2FFF))),
        ]
        return [(name, value & ~allowed.AVOID.get(name, 0)) for name, value in first]

    def _masking(self) -> int:
        """A value of PMM in its place."""
        return self.rng.choice((0, 0, 0, 2, 3)) << 32

    def csr(self) -> list[bytes | Jump]:
        """A CSR instruction on a register of this hart."""
        rng = self.rng
        name = rng.choice(_csr_names())
        number = csr_number(name)
        via = rng.choice(SCRATCH)
        items: list[bytes | Jump] = []
        rd = rng.choice((0, self.destination()))
        if rng.random() < 0.3:
            items.append(encode("csrrs", rd=rd, csr=number, rs1=0))
        elif rng.random() < 0.12 and name not in ("mtvec", "satp", "vsatp", "hgatp") and not name.startswith("pmp"):
            op = rng.choice(("csrrwi", "csrrsi", "csrrci"))
            items.append(encode(op, rd=rd, csr=number, uimm=rng.randrange(32) & ~allowed.AVOID.get(name, 0)))
        else:
            op = rng.choice(("csrrw", "csrrw", "csrrs", "csrrc"))
            if name in ("mtvec", "satp", "vsatp", "hgatp") or name.startswith("pmp"):
                op = "csrrw"
            if name.startswith("pmp"):
                return self.pmp()
            items.append(li(via, self._value(name) & ~allowed.AVOID.get(name, 0)))
            items.append(encode(op, rd=rd, csr=number, rs1=via))
        if name in ("satp", "vsatp", "hgatp", "menvcfg", "henvcfg"):
            items += self._fences()
        return items

    def guarded(self) -> list[bytes | Jump]:
        """A CSR whose access depends on more than the mode, from a mode where that decides."""
        rng = self.rng
        self.wanted_mode = rng.choice((0, *(MODES.index(mode) for mode in ("U", "HS", "VU", "VS", "VS"))))
        name = rng.choice((
            "stimecmp", "stimecmp", "vstimecmp", "time", "cycle", "instret", "satp", "hgatp", "fcsr", "vsatp",
            "sstatus", "sip", "sie", "scounteren", "senvcfg", "senvcfg", "henvcfg", "sstateen0", "sstateen2",
            "hstateen0", "hstateen1", "scountovf", "hpmcounter3", "hpmcounter31",
        ))  # fmt: skip
        items: list[bytes | Jump] = [encode("csrrs", rd=self.destination(), csr=csr_number(name), rs1=0)]
        if name.endswith("stimecmp"):
            items += [li(5, self._value(name)), csrw(name, 5)]
        return items

    def csr_any(self) -> list[bytes | Jump]:
        """A read, or an access that changes nothing, of a number that may not exist; or a write of a read-only one."""
        rng = self.rng
        while True:
            number = rng.choice((rng.randrange(4096), rng.choice(tuple(csrs.BY_NUMBER))))
            if number not in allowed.UNCOMPARED_CSRS:
                break
        rd = self.destination()
        if number >> 10 == 3 and rng.random() < 0.5:
            return [encode("csrrw", rd=rd, csr=number, rs1=rng.randrange(32))]
        return [encode(rng.choice(("csrrs", "csrrc")), rd=rd, csr=number, rs1=0)]

    def switch(self) -> list[bytes | Jump]:
        """Into another mode, by way of the M-mode handler unless delegated."""
        self.switches = True
        return [encode(self.rng.choice(("ecall", "ecall", "ebreak", "c.ebreak")))]

    def _return(self, name: str, fields: list[tuple[str, int, int]], user: bool) -> list[bytes | Jump]:
        rng = self.rng
        via, mask = 5, 6
        items: list[bytes | Jump] = [Jump("la", (("rd", via),), self.identity + rng.randrange(1, 4))]
        if rng.random() < (0.85 if user else 0.1):
            items += [li(mask, BASE ^ USER), encode("xor", rd=via, rs1=via, rs2=mask)]
        items.append(csrw("mepc" if name == "mret" else "sepc", via))
        for csr, bits, value in fields:
            items += [li(via, bits), encode("csrrc", csr=csr_number(csr), rs1=via)]
            items += [li(via, value), encode("csrrs", csr=csr_number(csr), rs1=via)]
        return [*items, encode(name)]

    def mret(self) -> list[bytes | Jump]:
        value = self.rng.choice((0, 1 << 11, 3 << 11)) | self.rng.choice((0, MPV)) | self.rng.choice((0, 0, 0, MPRV))
        return self._return("mret", [("mstatus", MPP | MPV, value)], value & MPP == 0)

    def sret(self) -> list[bytes | Jump]:
        rng = self.rng
        previous = rng.choice((0, 1 << 8))
        fields = [("sstatus", 1 << 8, previous)]
        if rng.random() < 0.7:
            fields.insert(0, ("hstatus", 1 << 7, rng.choice((0, 1 << 7))))
        return self._return("sret", fields, not previous)

    def guest(self) -> list[bytes | Jump]:
        rng = self.rng
        i = rng.choice(_instructions()["guest"])
        values = self.operands(i)
        values["rs1"] = rng.choice(POINTERS)
        items: list[bytes | Jump] = []
        if rng.random() < 0.5:
            items.append(li(values["rs1"], self.pointer()))
        return [*items, encode(i.name, **values)]

    def _fences(self) -> list[bytes | Jump]:
        return [encode("sfence.vma"), encode("hfence.vvma"), encode("hfence.gvma")]

    def fence(self) -> list[bytes | Jump]:
        """Any fence, of any scope; whatever changes a table also fences over everything."""
        i = self.rng.choice(_instructions()["fence"])
        return [encode(i.name, **self.operands(i))]

    def table_entry(self) -> list[bytes | Jump]:
        """Have the M-mode handler change a page-table entry and fence: a mode that may not fence may not either."""
        rng = self.rng
        if not self.tables.entries:
            return self.plain()
        entry = rng.choice(self.tables.entries)
        bit = rng.choice((V, R, W, X, U, G, A, D, A, D, A | D, W | D, 1 << rng.randrange(10, 64)))
        call = [li(5, BASE + entry), li(6, bit), li(17, CHANGE_ENTRY), encode("ecall")]
        return [*call, encode("addi", rd=17, rs1=0, imm=0), encode("addi", rd=5, rs1=0, imm=0)]

    def translate(self) -> list[bytes | Jump]:
        """Choose a table for one stage."""
        rng = self.rng
        name = rng.choice(("satp", "vsatp", "hgatp"))
        return [li(5, self._active(name)), csrw(name, 5), *self._fences()]

    def status(self) -> list[bytes | Jump]:
        """Change what decides whether an access is allowed: SUM, MXR, SPVP, HU, ADUE, STCE."""
        rng = self.rng
        name, bits = rng.choice((
            ("mstatus", 3 << 18), ("sstatus", 3 << 18), ("vsstatus", 3 << 18), ("hstatus", 3 << 8),
            ("menvcfg", 7 << 61 | 3 << 32), ("henvcfg", 7 << 61 | 3 << 32), ("senvcfg", 3 << 32), ("mseccfg", 3 << 32),
            ("hstatus", 3 << 48),
        ))  # fmt: skip
        self.wanted_mode = rng.choice((0, MODES.index("M"), MODES.index("HS")))
        items: list[bytes | Jump] = [li(5, rng.getrandbits(64) & bits)]
        items.append(encode(rng.choice(("csrrs", "csrrc")), csr=csr_number(name), rs1=5))
        return items + (self._fences() if "envcfg" in name else [])

    def machine_as(self) -> list[bytes | Jump]:
        """Accesses of M-mode as another mode, by MPRV."""
        rng = self.rng
        self.wanted_mode = MODES.index("M")
        items: list[bytes | Jump] = [li(5, MPP | MPV), encode("csrrc", csr=csr_number("mstatus"), rs1=5)]
        value = MPRV | rng.choice((0, 1 << 11, 3 << 11)) | rng.choice((0, MPV))
        items += [li(5, value), encode("csrrs", csr=csr_number("mstatus"), rs1=5)]
        for _ in range(rng.randrange(1, 4)):
            items += self.set_pointer() + self.memory()
        return [*items, li(5, MPRV), encode("csrrc", csr=csr_number("mstatus"), rs1=5)]

    def interrupt(self) -> list[bytes | Jump]:
        """Make something pending and enabled, and perhaps return to where it is taken."""
        rng = self.rng
        items: list[bytes | Jump] = []

        def put(op: str, name: str, value: int) -> None:
            items.extend([li(5, value), encode(op, csr=csr_number(name), rs1=5)])

        anything = rng.getrandbits(14) & ~(1 << 12)
        bits = rng.choice((1 << rng.choice((1, 5, 9, 13)), 1 << rng.choice((2, 6, 10)), anything))
        if rng.random() < 0.7:
            self.wanted_mode = MODES.index("M")
            if rng.random() < 0.3:
                put("csrrw", "mideleg", rng.choice((0, 0x222, 0x2222, rng.getrandbits(10))))
                put("csrrw", "hideleg", rng.choice((0, 0x444, rng.getrandbits(11))))
            if rng.random() < 0.2:
                put("csrrs", "menvcfg", 1 << 63)
                put("csrrs", "henvcfg", 1 << 63)
                put("csrrw", rng.choice(("stimecmp", "vstimecmp")), rng.choice((0, rng.randrange(20), M64)))
            put("csrrs", "hvip" if bits & 0x444 else "mip", bits)
            put("csrrw", "mie", rng.choice((bits, 0x2FFF)))
            put(rng.choice(("csrrs", "csrrc")), "mstatus", rng.choice((1 << 3, 1 << 1, 1 << 3 | 1 << 1)))
            put("csrrs", "vsstatus", rng.choice((0, 1 << 1)))
            return items + (self.mret() if rng.random() < 0.7 else [])
        self.wanted_mode = MODES.index(rng.choice(("HS", "HS", "VS")))
        put("csrrs", rng.choice(("sip", "hvip", "hip", "vsip")), bits)
        put("csrrw", rng.choice(("sie", "hie", "vsie")), rng.choice((bits, 0x2FFF)))
        put("csrrs", "sstatus", 1 << 1)
        return items + (self.sret() if rng.random() < 0.5 else [])

    def wait(self) -> list[bytes | Jump]:
        """WFI with something pending, in M-mode and HS-mode at least."""
        rng = self.rng
        level = rng.choice("mmsh")
        pending = csr_number("hvip" if level == "h" else level + "ip")
        items = [li(5, 0x444 if level == "h" else 0x222), encode("csrrs", csr=pending, rs1=5)]
        return [*items, csrw(f"{level}ie", 5), encode("wfi")]

    def pmp(self) -> list[bytes | Jump]:
        """An entry between the first, which locks the code, and the last two, which lock the data and open the rest."""
        rng = self.rng
        entry = rng.randrange(2, 14)
        choice = rng.random()
        self.wanted_mode = rng.choice((0, MODES.index("M")))
        if choice < 0.1:
            # A locked range within the data, and an attempt to move its bounds.
            items: list[bytes | Jump] = []
            bounds = sorted(BASE + DATA + rng.randrange(DATA_SIZE) for _ in range(2))
            for at, bound in zip((entry - 1, entry), bounds, strict=True):
                items += [li(5, bound >> 2), csrw(f"pmpaddr{at}", 5)]
            items += [li(5, (0x88 | rng.getrandbits(3)) << entry % 8 * 8)]
            items.append(encode("csrrs", csr=csr_number(f"pmpcfg{entry // 8 * 2}"), rs1=5))
            return [*items, csrw(f"pmpaddr{entry - rng.randrange(2)}", 5), *self._fences()]
        if choice < 0.6:
            size = 1 << rng.randrange(2, 15)
            at = rng.choice((BASE + DATA + rng.randrange(DATA_SIZE), BASE + rng.randrange(1 << 21))) & -size
            value = at >> 2 | (size >> 3) - 1 if size > 4 and rng.random() < 0.7 else at >> 2
            return [li(5, value & M64), csrw(f"pmpaddr{entry}", 5), *self._fences()]
        value = sum(rng.choice((0, 0, rng.getrandbits(5))) << 8 * i for i in range(8))
        name = rng.choice(("pmpcfg0", "pmpcfg2"))
        if name == "pmpcfg2":
            value = value & ~(0xFF << 56) | 0x1F << 56
        return [li(5, value), csrw(name, 5), *self._fences()]


@cache
def _csr_names() -> tuple[str, ...]:
    """CSRs that both sides have, the ones worth most several times."""
    names = [
        csr.name for csr in csrs.CSRS
        if csr.number not in allowed.UNCOMPARED_CSRS and csr.name not in allowed.ALIKE
        and not csr.name.startswith("pmp") and csr.name != "misa"
    ]  # fmt: skip
    often = [name for name in names if csrs.BY_NAME[name].group not in ("machine information", "counters", "debug")]
    return tuple(names + often * 3)


def generate(seed: int, phase: str = "privileged", units: int = 400) -> Program:
    """The program of a seed: phase "user", "privileged" or "translation"."""
    return Generator(seed, phase, units).program()
