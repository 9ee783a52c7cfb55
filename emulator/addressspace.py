"""Address spaces as the page tables in memory have them: what is mapped where, by which stage, and from where.

Manual: "Sv39: Page-Based 39-bit Virtual-Memory System" and its wider kin, "Guest Physical Address Translation",
"Two-Stage Address Translation". Tables are read as they stand in memory, past PMP and the lookaside, and nothing is
written: no A, no D. What one access may do is the hart's to say (`Hart.walk`); here is what all entries say together.

Tables are a guest's, and may be made to hurt: they may point to themselves, or share tables so that a few pages have
2^30 leaves. Reading is a generator that yields after each table, so that whoever drives it can stop; it ends by itself
at TABLES tables or RUNS runs, and says so.

    >>> tables = Tables(machine.memory)
    >>> found = finish(tables.read_stage(spaces_of_hart(machine.harts[0]), "merged"))
    >>> [(hex(run.start), hex(run.output)) for run in coalesce(found.runs)]
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeVar, overload

from emulator.errors import ConfigurationError, EmulatorError, TranslationError
from emulator.hart.hart import Hart
from emulator.isa import csrs, pages
from emulator.isa.pages import A, D, R, U
from emulator.memory import PAGE, Memory
from emulator.worlds import Guest, vmid_of

if TYPE_CHECKING:
    from emulator.machine import Machine
    from emulator.vmm.vcpu import Vcpu

T = TypeVar("T")
WORD = (1 << 64) - 1
TABLES = 1 << 17
"""Tables that are read at most: those of 256 GiB in pages of 4 KiB."""
RUNS = 200_000
"""Runs of leaves that are kept at most."""
PROBLEMS = 20
REMEMBERED = 8192
"""Tables of which the content is kept, to know them again: 32 MiB."""
STAGES = ("satp", "vsatp", "hgatp", "merged")
MODES = {0: "Bare", 8: "Sv39", 9: "Sv48", 10: "Sv57"}
_PPN = csrs.BY_NAME["satp"].field("PPN")


@dataclass(frozen=True)
class Space:
    """One stage: its register's name (satp, vsatp, hgatp) and value. `types`: PBMTE is 1 there.

    `through`: the G-stage that the addresses of its tables go through.
    """

    name: str
    value: int
    types: bool = True
    through: Space | None = None

    @property
    def guest(self) -> bool:
        """It is the G-stage: two more bits of address, which are not sign-extended."""
        return self.name == "hgatp"

    @property
    def levels(self) -> int:
        """0: Bare, or a MODE that there is not."""
        mode = self.value >> 60
        return mode - 5 if 8 <= mode <= 10 else 0

    @property
    def mode(self) -> str:
        name = MODES.get(self.value >> 60, "reserved")
        return name + "x4" * (self.guest and bool(self.levels))

    @property
    def bits(self) -> int:
        """Width of the addresses that it translates."""
        return 12 + 9 * self.levels + 2 * self.guest

    @property
    def root(self) -> int:
        """Physical address of the root table; of vsatp guest-physical."""
        return _PPN.extract(self.value) << 12

    @property
    def number(self) -> int:
        """VMID or ASID."""
        return vmid_of(self.value) if self.guest else self.value >> 44 & 0xFFFF

    def canonical(self, address: int) -> int:
        """`address`, of `bits` bits, as software writes it."""
        if self.guest or not address >> (self.bits - 1):
            return address
        return address | WORD & -1 << self.bits


def spaces_of(read: Callable[[str], int | None]) -> dict[str, Space]:
    """The stages that registers name; `read` gives the value of a CSR, or None where there is none."""

    def types(name: str) -> bool:
        return bool(csrs.BY_NAME[name].field("PBMTE").extract(read(name) or 0))

    found = {}
    satp, vsatp, hgatp = (read(name) for name in ("satp", "vsatp", "hgatp"))
    if satp is not None:
        found["satp"] = Space("satp", satp, types("menvcfg"))
    if hgatp is not None:
        found["hgatp"] = Space("hgatp", hgatp, types("menvcfg"))
        if vsatp is not None:
            found["vsatp"] = Space("vsatp", vsatp, types("henvcfg"), found["hgatp"])
    return found


def spaces_of_hart(hart: Hart) -> dict[str, Space]:
    """Of what the hart has in its registers now."""
    return spaces_of(lambda name: hart.csr(name) if hart.has_csr(name) else None)


def spaces_of_vcpu(machine: Machine, vcpu: Vcpu) -> dict[str, Space]:
    """Of a virtual CPU of the built-in hypervisor, whether it has the hart or not."""

    def read(name: str) -> int | None:
        if name == "satp":
            return None
        if name == "vsatp":
            return vcpu.get_reg(name)
        hart = machine.harts[0]
        return vcpu.vm.hgatp if name == "hgatp" else hart.csr(name) if hart.has_csr(name) else None

    return spaces_of(read)


def spaces_of_guest(machine: Machine, guest: Guest) -> dict[str, Space]:
    """Of a guest of whatever hypervisor is inside. Its vsatp is known while a hart has its hgatp: else it is somewhere
    in its hypervisor's memory."""
    hart = machine.harts[guest.hart]

    def read(name: str) -> int | None:
        if name == "satp" or (name == "vsatp" and guest.hart not in guest.loaded):
            return None
        return guest.hgatp if name == "hgatp" else hart.csr(name) if hart.has_csr(name) else None

    return spaces_of(read)


class Run(NamedTuple):
    """Leaves that continue each other alike: [start, start+length) to `output` on, in bytes.

    `bits`: what all leaves have set of V to D, PBMT and N; `mixed`: what some have. `sizes`: the sizes of pages, one
    bit each; in one with N each entry is a page. Through both stages `gpa` is between, `gbits` and `gmixed` are the
    G-stage's, and `output` is None where the G-stage maps nothing.
    """

    start: int
    output: int | None
    length: int
    bits: int
    sizes: int
    leaves: int
    gpa: int | None = None
    gbits: int = 0
    mixed: int = 0
    gmixed: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def page(self) -> int:
        """The smallest of its pages, in bytes."""
        return self.sizes & -self.sizes

    def piece(self, offset: int, length: int) -> Run:
        """A part of it, both multiples of `page`."""
        return self._replace(
            start=self.start + offset,
            output=None if self.output is None else self.output + offset,
            gpa=None if self.gpa is None else self.gpa + offset,
            length=length,
            leaves=max(1, length // self.page),
        )

    def continues(self, other: Run, ignore: int = 0) -> bool:
        """It goes on where `other` ends, on every side; `ignore`: bits that may differ."""
        if self.start != other.start + other.length or (self.bits ^ other.bits | self.gbits ^ other.gbits) & ~ignore:
            return False
        return all(
            mine == (None if its is None else its + other.length)
            for mine, its in ((self.output, other.output), (self.gpa, other.gpa))
        )


@dataclass(frozen=True)
class AddressMap:
    """What one stage maps, or both: runs by rising address, as equal as they can be, which `coalesce` may join.

    `stage`: one of STAGES. `found`: physical addresses of its tables, and the level of each. `problems`: what could not
    be read. Not `complete`: there was more than TABLES or RUNS.
    """

    stage: str
    spaces: tuple[Space, ...]
    runs: tuple[Run, ...]
    found: Mapping[int, int]
    problems: tuple[str, ...] = ()
    complete: bool = True

    @property
    def bare(self) -> bool:
        """Addresses are not translated."""
        return not any(space.levels for space in self.spaces)

    @property
    def leaves(self) -> int:
        return sum(run.leaves for run in self.runs)

    @property
    def mapped(self) -> int:
        """Bytes."""
        return sum(run.length for run in self.runs)

    def at(self, address: int) -> Run | None:
        """The run that holds `address`."""
        index = bisect_right(self.runs, address, key=lambda run: run.start) - 1
        return self.runs[index] if index >= 0 and address < self.runs[index].end else None


Reading = Generator[int, None, AddressMap]
"""Yields the number of tables read so far."""


def finish(reading: Generator[int, None, T], each: Callable[[int], None] = lambda tables: None) -> T:
    """Read to the end at once; `each` is told the number of tables."""
    while True:
        try:
            each(next(reading))
        except StopIteration as stop:
            found: T = stop.value
            return found


_Items = tuple[tuple[int, int, int, int, int], ...]
"""Of a table: offset in bytes, length (0: of a pointer), where it leads, bits, number of entries."""


class Tables:
    """Reads page tables in `memory`. It remembers tables by their content, so that reading again is quick."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: dict[tuple[int, int, int, bool], tuple[bytes, _Items]] = {}

    def read_stage(self, spaces: Mapping[str, Space], stage: str) -> Reading:
        """One of STAGES. ConfigurationError where these spaces lack it."""
        wanted = ("vsatp", "hgatp") if stage == "merged" else (stage,)
        if stage not in STAGES:
            raise ConfigurationError(f"no stage {stage!r}: one of {', '.join(STAGES)}")
        for name in wanted:
            if name not in spaces:
                raise ConfigurationError(f"there is no {name} to look at{_ABSENT.get(name, '')}")
        first = yield from self.read(spaces[wanted[0]])
        if stage != "merged":
            return first
        second = yield from self.read(spaces["hgatp"])
        return (yield from combine(first, second))

    def read(self, space: Space, *, tables: int = TABLES, runs: int = RUNS) -> Reading:
        """One stage. Never raises for what the tables say."""
        found: dict[int, int] = {}
        problems: list[str] = []
        kept: list[Run] = []
        if not space.levels:
            return AddressMap(space.name, (space,), (), found)
        read = 0
        whole = True
        places: dict[int, int] = {}
        stack: list[tuple[int, int, Iterator[tuple[int, int, int, int, int]]]] = []

        def enter(table: int, level: int, base: int) -> None:
            """Begin with a table at an address that `space` gives."""
            nonlocal read
            read += 1
            try:
                at = self._place(space, table, places)
                items = self._items(at, level, 2048 if space.guest and level == space.levels - 1 else 512, space.types)
            except EmulatorError as error:
                if len(problems) < PROBLEMS:
                    problems.append(f"{space.name}: table at {table:#x}, for {space.canonical(base):#x}: {error}")
                return
            found[at] = level
            stack.append((level, base, iter(items)))

        enter(space.root, space.levels - 1, 0)
        while stack:
            level, base, items = stack[-1]
            page = PAGE << 9 * level
            for offset, length, target, bits, entries in items:
                if not length:
                    enter(target, level - 1, base + offset)
                    break
                run = Run(space.canonical(base + offset), target, length, bits, page, entries)
                if kept and kept[-1].sizes == page and run.continues(kept[-1]):
                    last = kept[-1]
                    kept[-1] = last._replace(length=last.length + length, leaves=last.leaves + entries)
                else:
                    kept.append(run)
            else:
                stack.pop()
                continue
            if read >= tables or len(kept) >= runs:
                whole = False
                break
            yield read
        return AddressMap(space.name, (space,), tuple(kept), found, tuple(problems), whole)

    def _place(self, space: Space, table: int, places: dict[int, int]) -> int:
        """The physical address of a table of `space`. TranslationError where the G-stage has none."""
        if space.through is None or not space.through.levels:
            return table
        if table not in places:
            places[table] = self.physical(space.through, table)
        return places[table]

    def physical(self, space: Space, gpa: int) -> int:
        """Where a G-stage has a guest-physical address, for reading. TranslationError where nowhere."""
        if gpa >> space.bits:
            raise TranslationError(f"guest-physical {gpa:#x} has more bits than {space.mode}'s {space.bits}")
        table = space.root
        for level in reversed(range(space.levels)):
            shift = 12 + 9 * level
            pte = self._memory.read_int(table + (gpa >> shift & (2047 if level == space.levels - 1 else 511)) * 8, 8)
            kind = pages.kind(pte, level, space.types)
            table = pages.physical(pte, gpa)
            if kind == "leaf" and pte & U and pte & R:
                inside = (1 << pages.bits(pte, level)) - 1
                return table & ~inside | gpa & inside
            if kind != "pointer":
                break
        raise TranslationError(f"the G-stage maps no page to read at guest-physical {gpa:#x}")

    def _items(self, at: int, level: int, count: int, types: bool) -> _Items:
        data = self._memory.read(at, 8 * count)
        key = (at, level, count, types)
        known = self._known.get(key)
        if known is not None and known[0] == data:
            return known[1]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        items = tuple(_parse(data, level, count, types))
        self._known[key] = data, items
        return items


_ABSENT = {
    "vsatp": ": of a guest that is on no hart its hypervisor keeps it, nobody knows where; hgatp is known",
    "satp": ": a guest's own is vsatp",
    "hgatp": ": the H extension is off",
}


def _parse(data: bytes, level: int, count: int, types: bool) -> Iterator[tuple[int, int, int, int, int]]:
    """The valid entries of a table; leaves that continue each other as one."""
    page = PAGE << 9 * level
    kinds: dict[int, str] = {}
    begin = end = output = bits = entries = 0
    for index, pte in enumerate(struct.unpack(f"<{count}Q", data)):
        if not pte:
            continue
        mine = pte & ~pages.PPN
        if level or pte & pages.N:
            kind = pages.kind(pte, level, types)
        else:  # then the address does not count
            kind = kinds.get(mine) or kinds.setdefault(mine, pages.kind(pte, 0, types))
        if kind == "leaf":
            offset = index * page
            at = pages.physical(pte, offset)
            if entries and offset == end and mine == bits and at == output + end - begin:
                end += page
                entries += 1
                continue
            if entries:
                yield begin, end - begin, output, bits, entries
            begin, end, output, bits, entries = offset, offset + page, at, mine, 1
        elif kind == "pointer":
            if entries:
                yield begin, end - begin, output, bits, entries
                entries = 0
            yield index * page, 0, (pte & pages.PPN) << 2, 0, 0
    if entries:
        yield begin, end - begin, output, bits, entries


def combine(first: AddressMap, second: AddressMap, *, runs: int = RUNS) -> Reading:
    """Both stages: guest-virtual to guest-physical to physical ("Two-Stage Address Translation")."""
    tables = len(first.found) + len(second.found)
    made: list[Run] = []
    whole = True
    if not first.spaces[0].levels:
        pieces: Iterable[Run] = (run._replace(gpa=run.start, bits=0, gbits=run.bits) for run in second.runs)
    elif not second.spaces[0].levels:
        pieces = (run._replace(gpa=run.output) for run in first.runs)
    else:
        pieces = _through(first.runs, second.runs)
    for done, piece in enumerate(pieces):
        last = made[-1] if made else None
        if last is not None and last.sizes == piece.sizes and piece.continues(last):
            made[-1] = last._replace(length=last.length + piece.length, leaves=last.leaves + piece.leaves)
        elif len(made) >= runs:
            whole = False
            break
        else:
            made.append(piece)
        if not done % 256:
            yield tables
    return AddressMap(
        "merged", first.spaces + second.spaces, tuple(made), {**first.found, **second.found},
        first.problems + second.problems, first.complete and second.complete and whole,
    )  # fmt: skip


def _through(first: Sequence[Run], second: Sequence[Run]) -> Iterator[Run]:
    """Each run of `first` in the pieces that `second` makes of it."""
    starts = [run.start for run in second]
    for run in first:
        gpa = at = run.output or 0
        end = gpa + run.length
        index = max(0, bisect_right(starts, gpa) - 1)
        while at < end:
            while index < len(second) and second[index].end <= at:
                index += 1
            below = second[index] if index < len(second) else None
            if below is None or below.start > at:  # a hole
                stop = end if below is None else min(end, below.start)
                piece = run.piece(at - gpa, stop - at)
                yield piece._replace(output=None, gpa=at)
            else:
                stop = min(end, below.end)
                size = min(run.page, below.page)
                yield Run(
                    run.start + at - gpa, (below.output or 0) + at - below.start, stop - at, run.bits, size,
                    (stop - at) // size, at, below.bits,
                )  # fmt: skip
            at = stop


def coalesce(runs: Iterable[Run], ignore: int = A | D) -> list[Run]:
    """Neighbours as one, whatever the size of their pages, where they differ in no bits but those of `ignore`."""
    made: list[Run] = []
    for run in runs:
        last = made[-1] if made else None
        if last is None or not run.continues(last, ignore):
            made.append(run)
            continue
        every, gevery = last.bits & run.bits, last.gbits & run.gbits
        made[-1] = last._replace(
            length=last.length + run.length,
            leaves=last.leaves + run.leaves,
            sizes=last.sizes | run.sizes,
            bits=every,
            gbits=gevery,
            mixed=(last.mixed | run.mixed | last.bits | run.bits) & ~every,
            gmixed=(last.gmixed | run.gmixed | last.gbits | run.gbits) & ~gevery,
        )
    return made


def by_output(runs: Iterable[Run]) -> list[Run]:
    """Sorted by where they lead; those that lead nowhere last."""
    return sorted(runs, key=lambda run: (run.output is None, run.output or 0, run.start))


class Leaves(Sequence[Run]):
    """Each leaf of runs as a run of its own, made when it is asked for."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._ends = list(accumulate(run.leaves for run in runs))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect_right(self._ends, index)
        run = self._runs[place]
        before = self._ends[place - 1] if place else 0
        return run.piece((index - before) * run.page, run.page)

    def find(self, address: int) -> int | None:
        """The index of the leaf that maps `address`."""
        before = 0
        for run, end in zip(self._runs, self._ends, strict=True):
            if run.start <= address < run.end:
                return before + (address - run.start) // run.page
            before = end
        return None


# --- choosing


LETTERS = {letter: 1 << bit for bit, letter in enumerate(pages.FLAGS.lower())} | {"n": pages.N}
_SIZES = {"4k": 12, "2m": 21, "1g": 30, "512g": 39, "256t": 48}
_TYPES = {"nc": 1 << 61, "io": 2 << 61}
FILTERS = "0x80000000, 0x1000-0x2000, 0x1000+0x500, to:RANGE, gpa:RANGE, rw, -x, u, g:rwx, nc, io, 4k, 2m, 1g, hole"


@dataclass(frozen=True)
class Filter:
    """Words that all must hold. `ranges`: of which side (start, output, gpa), from, to."""

    ranges: tuple[tuple[str, int, int], ...] = ()
    have: int = 0
    lack: int = 0
    ghave: int = 0
    glack: int = 0
    sizes: int = 0
    holes: bool = False

    @classmethod
    def parse(cls, text: str) -> Filter:
        """ "0x80000000-0x80200000 rw -x 2m": ConfigurationError for a word that is none of FILTERS."""
        found: dict[str, int] = {"have": 0, "lack": 0, "ghave": 0, "glack": 0, "sizes": 0}
        ranges: list[tuple[str, int, int]] = []
        holes = False
        for word in text.lower().split():
            side, _, rest = word.rpartition(":")
            which = "g" if side == "g" else ""
            minus = rest.startswith("-")
            letters = rest[minus:].lstrip("+")
            if side not in ("", "to", "gpa", "g") or not rest:
                raise ConfigurationError(f"filter {word!r}: {side!r} is no side; words are {FILTERS}")
            if letters in _SIZES and side == "":
                found["sizes"] |= 1 << _SIZES[letters]
            elif letters == "hole":
                holes = True
            elif letters[:1].isdigit():
                low, high = _range(letters, word)
                ranges.append(({"": "start", "to": "output", "gpa": "gpa", "g": "gpa"}[side], low, high))
            elif letters in _TYPES:
                found[which + ("lack" if minus else "have")] |= _TYPES[letters]
            elif letters and side in ("", "g") and not set(letters) - set(LETTERS):
                for letter in letters:
                    found[which + ("lack" if minus else "have")] |= LETTERS[letter]
            else:
                raise ConfigurationError(f"filter {word!r} is none of: {FILTERS}")
        return cls(tuple(ranges), holes=holes, **found)

    def accepts(self, run: Run) -> bool:
        if self.have & ~run.bits or self.lack & (run.bits | run.mixed):
            return False
        if self.ghave & ~run.gbits or self.glack & (run.gbits | run.gmixed):
            return False
        if (self.sizes and not self.sizes & run.sizes) or (self.holes and run.output is not None):
            return False
        for side, low, high in self.ranges:
            at = getattr(run, side)
            if at is None or at >= high or at + run.length <= low:
                return False
        return True


def _range(text: str, word: str) -> tuple[int, int]:
    """A number, FROM-TO or FROM+LENGTH as [low, high)."""
    match = re.fullmatch(r"(0x[0-9a-f_]+|[0-9_]+)(?:([-+])(0x[0-9a-f_]+|[0-9_]+))?", text)
    try:
        low, high = int(match[1], 0) if match else 0, int(match[3], 0) if match and match[2] else 0
    except ValueError:
        match = None
    if match is None:
        raise ConfigurationError(f"range {word!r}: write 0x1000, 0x1000-0x2000 or 0x1000+0x200")
    if not match[2]:
        return low, low + 1
    if match[2] == "+":
        high += low
    if high <= low:
        raise ConfigurationError(f"range {word!r} is empty: its end is not above its beginning")
    return low, high


def holders(runs: Iterable[Run], address: int, length: int = PAGE, side: str = "output") -> list[Run]:
    """Who maps it: the parts of `runs` that lead into [address, address+length), by rising address. `side`: "output",
    or "gpa" for what lies between the stages."""
    found = []
    for run in runs:
        at = run.output if side == "output" else run.gpa
        if at is None or at >= address + length or at + run.length <= address:
            continue
        low, high = max(at, address), min(at + run.length, address + length)
        found.append(run.piece(low - at, high - low))
    return found


# --- comparing


class Change(NamedTuple):
    """[start, start+length): "+" mapped only after, "-" only before, "~" otherwise than before."""

    mark: str
    start: int
    length: int
    before: Run | None
    after: Run | None


def difference(before: Iterable[Run], after: Iterable[Run], ignore: int = A | D) -> list[Change]:
    """What became of a map, by rising address; both are by rising address too. `ignore`: bits that may differ. The size
    of pages is no difference."""
    changes: list[Change] = []
    for start, length, old, new in _side_by_side(before, after):
        if old is not None and new is not None:
            if (old.output, old.gpa) == (new.output, new.gpa) and not (
                (old.bits ^ new.bits | old.gbits ^ new.gbits) & ~ignore
            ):
                continue
            mark = "~"
        else:
            mark = "+" if old is None else "-"
        last = changes[-1] if changes else None
        if (
            last is not None
            and last.mark == mark
            and all(
                (now is None and was is None) or (now is not None and was is not None and now.continues(was, ignore))
                for now, was in ((old, last.before), (new, last.after))
            )
        ):
            changes[-1] = Change(
                mark, last.start, last.length + length, _longer(last.before, length), _longer(last.after, length)
            )
        else:
            changes.append(Change(mark, start, length, old, new))
    return changes


def _longer(run: Run | None, length: int) -> Run | None:
    return None if run is None else run.piece(0, run.length + length)


def _side_by_side(before: Iterable[Run], after: Iterable[Run]) -> Iterator[tuple[int, int, Run | None, Run | None]]:
    """The address range cut at every edge of either: start, length, and the part of each run there."""
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    at = 0
    while old is not None or new is not None:
        at = max(at, min(run.start for run in (old, new) if run is not None))
        end = min(run.end if run.start <= at else run.start for run in (old, new) if run is not None)
        yield (
            at, end - at,
            *(
                run.piece(at - run.start, end - at) if run is not None and run.start <= at else None
                for run in (old, new)
            ),
        )  # type: ignore[misc]  # fmt: skip
        at = end
        if old is not None and old.end <= at:
            old = next(olds, None)
        if new is not None and new.end <= at:
            new = next(news, None)


def letters(bits: int, mixed: int = 0) -> str:
    """ "rwxug-ad" and beyond, those that are clear as dashes, those that only some leaves have as "+"."""
    text = "".join(
        letter if bits >> bit & 1 else "+" if mixed >> bit & 1 else "-"
        for bit, letter in enumerate(pages.FLAGS.lower())
        if bit
    )
    more = pages.high_flags(bits)
    return text + (f" {more}" if more else "")
