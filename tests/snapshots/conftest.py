"""A small machine with the surface that snapshots needs of the real one, so that every bit of its state is in reach."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import snapshots
from emulator.errors import StateError
from emulator.memory import Memory, Region

PAGE = 4096
RAM = 0x8000_0000
MASK = (1 << 64) - 1


class SmallMachine:
    """Each instruction steps a generator and stores one number somewhere in memory."""

    def __init__(self, memory: int = 64 * PAGE, seed: int = 1) -> None:
        self.memory = Memory([Region("rom", 0x1000, PAGE, writable=False), Region("ram", RAM, memory)])
        self.memory.changed = self._changed
        self._touched: dict[int, set[int]] = {region.base: set() for region in self.memory.regions}
        self.harts = [{"x": [0, seed], "events": [], "waiting": False, "name": None}]
        self.devices = {"uart": {"fifo": b"", "baud": 115200}, "finisher": {}}
        self.clock = self.executed = 0
        self.host = SimpleNamespace(vms=[SimpleNamespace(name="one"), SimpleNamespace(name="zwei\u00e4")])
        self.extra: dict[str, Any] = {}

    def _changed(self, address: int, length: int) -> None:
        region = self.memory.find(address)
        assert region is not None
        first, last = (address - region.base) // PAGE, (address + length - 1 - region.base) // PAGE
        self._touched[region.base].update(range(first, last + 1))

    def touched_pages(self, region: Region) -> Iterable[int]:
        return self._touched[region.base]

    def run(self, count: int) -> None:
        x, size = self.harts[0]["x"], self.memory.regions[1].size
        for _ in range(count):
            x[1] = (x[1] * 6364136223846793005 + 1442695040888963407) & MASK
            self.memory.write_int(RAM + (x[1] >> 16) % size // 8 * 8, 8, x[1])
            self.clock += 1
            self.executed += 1
        self.devices["uart"]["fifo"] = bytes([x[1] & 0xFF]) * 3

    def state(self) -> dict[str, Any]:
        return {
            "memory": self.memory.regions[1].size,
            "clock": self.clock,
            "executed": self.executed,
            "harts": self.harts,
            "devices": self.devices,
            **self.extra,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SmallMachine:
        if state["memory"] > 1 << 40:
            raise StateError(f"memory of {state['memory']} bytes is too much; use less")
        machine = cls(state.pop("memory"))
        machine.clock, machine.executed = state.pop("clock") & MASK, state.pop("executed") & MASK
        machine.harts, machine.devices = state.pop("harts"), state.pop("devices")
        machine.extra = state
        return machine

    def state_hash(self) -> str:
        sha = hashlib.sha256(json.dumps(self.state(), default=lambda data: data.hex()).encode())
        for region in self.memory.regions:
            sha.update(region.buffer[:])
        return sha.hexdigest()


@pytest.fixture
def new() -> type[SmallMachine]:
    return SmallMachine


@pytest.fixture
def load(new: type[SmallMachine]) -> Any:
    """snapshots.load, building SmallMachines."""

    def loading(path: Any, *arguments: Any, **options: Any) -> SmallMachine:
        machine: SmallMachine = snapshots.load(path, *arguments, builder=new.from_state, **options)
        return machine

    return loading


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[Path, SmallMachine]]:
    """A file of a few hundred bytes, and the machine in it."""
    machine = SmallMachine()
    machine.memory.write(0x1000, b"rom")
    machine.run(2)
    path = tmp_path / "small.rvs"
    snapshots.save(machine, path, note="two")
    yield path, machine
