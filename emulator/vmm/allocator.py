"""Which parts of the machine's memory are free: first fit, lowest address first, so that it is deterministic."""

from __future__ import annotations

from emulator.errors import ConfigurationError, StateError

PAGE = 4096


def aligned(value: int, alignment: int) -> int:
    """`value` rounded up to a multiple of `alignment`."""
    return -(-value // alignment) * alignment


class Allocator:
    """Free ranges of [base, base+size), in bytes, multiples of 4 KiB, sorted and never adjacent."""

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.size = size
        self._free: list[tuple[int, int]] = [(base, base + size)]

    @property
    def free_bytes(self) -> int:
        return sum(end - start for start, end in self._free)

    def allocate(self, size: int, alignment: int = PAGE, like: int = 0) -> int:
        """The lowest free address that is congruent to `like` modulo `alignment`.

        Raises ConfigurationError when no free range is long enough.
        """
        size = aligned(size, PAGE)
        for index, (start, end) in enumerate(self._free):
            found = start + (like - start) % alignment
            if found + size <= end:
                pieces = [(start, found), (found + size, end)]
                self._free[index : index + 1] = [piece for piece in pieces if piece[0] < piece[1]]
                return found
        raise ConfigurationError(
            f"no {size:#x} bytes in one piece left in the machine's memory ({self.free_bytes:#x} of {self.size:#x} "
            "free): give the machine more memory, or its VMs less"
        )

    def free(self, start: int, size: int) -> None:
        """Give back a range that allocate() returned."""
        end = start + aligned(size, PAGE)
        merged: list[tuple[int, int]] = []
        for low, high in sorted([*self._free, (start, end)]):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self._free = merged

    def state(self) -> list[list[int]]:
        return [list(piece) for piece in self._free]

    def restore(self, state: object) -> None:
        """Raises StateError unless `state` is sorted, disjoint ranges of whole pages inside the memory."""
        free: list[tuple[int, int]] = []
        last = self.base - 1
        for piece in state if isinstance(state, list) else [None]:
            match piece:
                case [int(start), int(end)] if last < start < end <= self.base + self.size and not (start | end) % PAGE:
                    free.append((start, end))
                    last = end
                case _:
                    raise StateError(f"saved free memory: {piece!r} is no range of pages of this machine, in order")
        self._free = free
