"""Page tables of any mode, built entry by entry in a machine's memory."""

from __future__ import annotations

from emulator.hart import Mode
from emulator.isa.pages import A, D, R, U, V, W, X
from emulator.machine import Machine

RAM = 0x8000_0000
MEMORY = 8 << 20
ONES = (1 << 64) - 1
LEAF = V | R | W | X | A | D
GUEST = LEAF | U
SIZES = {level: 4096 << 9 * level for level in range(5)}


class Tree:
    """Tables of one stage, taken from `tables` on. `levels`: 3 to 5; `wide`: a G-stage."""

    def __init__(self, scene: Scene, levels: int, wide: bool) -> None:
        self.scene, self.levels, self.wide = scene, levels, wide
        self.root = scene.page(4 if wide else 1)

    def value(self, number: int = 0) -> int:
        """For the register: MODE, VMID or ASID, PPN."""
        return self.levels + 5 << 60 | number << 44 | self.root >> 12

    def place(self, address: int, level: int = 0) -> int:
        """Where the entry for `address` stands, with the pointers down to it."""
        table = self.root
        for at in range(self.levels - 1, -1, -1):
            wide = self.wide and at == self.levels - 1
            entry = table + (address >> 12 + 9 * at & (2047 if wide else 511)) * 8
            if at == level:
                return entry
            pte = self.scene.memory.read_int(entry, 8)
            if not pte:
                pte = self.scene.page() >> 2 | V
                self.scene.memory.write_int(entry, 8, pte)
            table = pte >> 10 << 12
        raise AssertionError(level)

    def map(self, address: int, to: int, flags: int = LEAF, level: int = 0, length: int = 0) -> int:
        """Pages of `level` from `address` on, at least one; returns where the first entry stands."""
        size = SIZES[level]
        first = self.place(address, level)
        for offset in range(0, max(length, size), size):
            self.scene.memory.write_int(self.place(address + offset, level), 8, to + offset >> 12 << 10 | flags)
        return first


class Scene:
    """A bare machine in VS-mode, or HS-mode without G-stage, everything delegated to HS. The G-stage maps RAM to itself
    by pages of 2 MiB."""

    def __init__(self, levels: int = 3, glevels: int | None = 3, isa: str = "max") -> None:
        self.machine = Machine(memory=MEMORY, isa=isa)
        self.memory, self.hart = self.machine.memory, self.machine.harts[0]
        self._next = RAM + (1 << 20)
        self.first = Tree(self, levels, False)
        hart = self.hart
        hart.set_csr("pmpaddr15", ONES)
        hart.set_csr("pmpcfg2", 0x1F << 56)
        hart.set_csr("medeleg", ONES)
        self.second: Tree | None = None
        if glevels is None:
            hart.set_csr("satp", self.first.value())
            hart.mode = Mode.HS
        else:
            self.second = Tree(self, glevels, True)
            self.second.map(RAM, RAM, GUEST, 1, MEMORY)
            hart.set_csr("hgatp", self.second.value(5))
            hart.set_csr("vsatp", self.first.value(9))
            hart.mode = Mode.VS
        hart.pc = RAM

    def page(self, count: int = 1) -> int:
        """Fresh pages, aligned to their own size."""
        at = -(-self._next // (4096 * count)) * 4096 * count
        self._next = at + 4096 * count
        return at

    @property
    def guest(self) -> Tree:
        assert self.second is not None
        return self.second
