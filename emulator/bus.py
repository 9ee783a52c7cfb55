"""The bus: which device answers at which physical address, and in which sizes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from emulator.devices.fields import Stateful
from emulator.errors import ConfigurationError, EmulatorError
from emulator.memory import ADDRESS_BITS

if TYPE_CHECKING:
    from emulator.devicetree import Tree


class DeviceError(EmulatorError):
    """A device failed at an access: a fault of the device's program, not of the guest."""


class Device(Stateful):
    """A device on the bus.

    Guests are hostile: `read` and `write` are total. They take every offset below `size` at every width in
    `widths` (bytes), raise nothing, and answer reads of what is not there with 0.
    """

    name = "device"
    title = ""
    """What it is, in a few words."""
    size = 0x1000
    """Bytes of address space."""
    widths: tuple[int, ...] = (1, 2, 4, 8)
    """Access sizes that `read` and `write` take, aligned; the bus makes these of all others."""
    irq = 0
    """Source number at the PLIC, 0 for none."""

    def __init__(self) -> None:
        self.interrupt: Callable[[bool], None] = lambda level: None
        self.reads = self.writes = 0
        """Accesses by the bus since the device was made; no part of its state."""

    def read(self, offset: int, size: int) -> int:
        """The `size` bytes at `offset`, as an unsigned little-endian number."""
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Write the `size` bytes of `value` at `offset`."""

    def reset(self) -> None:
        """Back to the state at power-on, interrupt wires included."""

    def describe(self, tree: Tree, base: int) -> None:
        """Add the nodes that tell a guest of this device, at address `base`, to the device tree."""


class Bus:
    """Devices by address. Accesses are 1, 2, 4 or 8 bytes; values are unsigned and little-endian."""

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._devices: list[Device] = []

    def __iter__(self) -> Iterator[tuple[int, Device]]:
        """(base, device), ascending by base."""
        return iter(zip(self._bases, self._devices, strict=True))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """(base, size in bytes) of all devices, ascending."""
        return [(base, device.size) for base, device in self]

    def add(self, base: int, device: Device) -> None:
        """Place a device. ConfigurationError if its range overlaps another's, or its name is taken."""
        end = base + device.size
        if base < 0 or device.size <= 0 or end > 1 << ADDRESS_BITS:
            raise ConfigurationError(f"device {device.name} at {base:#x}..{end:#x}: not a range of physical addresses")
        for other_base, other in self:
            if other.name == device.name:
                raise ConfigurationError(f"there is a device {device.name} at {other_base:#x} already")
            if base < other_base + other.size and other_base < end:
                raise ConfigurationError(
                    f"device {device.name} at {base:#x}..{end:#x} overlaps {other.name} at "
                    f"{other_base:#x}..{other_base + other.size:#x}"
                )
        index = bisect_right(self._bases, base)
        self._bases.insert(index, base)
        self._devices.insert(index, device)

    def find(self, address: int) -> tuple[int, Device] | None:
        """The device whose range holds `address`, and its base; None if no device claims it."""
        index = bisect_right(self._bases, address) - 1
        if index < 0 or address >= self._bases[index] + self._devices[index].size:
            return None
        return self._bases[index], self._devices[index]

    def read(self, address: int, size: int) -> int | None:
        """Read; None where no device claims the whole access."""
        found = self.find(address)
        if found is None or address + size > found[0] + found[1].size:
            return None
        base, device = found
        offset = address - base
        device.reads += 1
        try:
            if size in device.widths and not offset % size:
                return device.read(offset, size) & ((1 << 8 * size) - 1)
            value = 0
            for at, width, shift, inside in _pieces(device, offset, size):
                whole = device.read(at, width) & ((1 << 8 * width) - 1)
                value |= whole >> 8 * inside << shift
            return value & ((1 << 8 * size) - 1)
        except Exception as error:
            raise _failure(device, "read", address, size, error) from error

    def write(self, address: int, size: int, value: int) -> bool:
        """Write; False where no device claims the whole access. A write narrower than the device's registers is
        dropped, as it would have to invent the rest of the register."""
        found = self.find(address)
        if found is None or address + size > found[0] + found[1].size:
            return False
        base, device = found
        offset = address - base
        device.writes += 1
        value &= (1 << 8 * size) - 1
        try:
            if size in device.widths and not offset % size:
                device.write(offset, size, value)
                return True
            for at, width, shift, inside in _pieces(device, offset, size):
                if not inside and shift + 8 * width <= 8 * size:
                    device.write(at, width, value >> shift & ((1 << 8 * width) - 1))
            return True
        except Exception as error:
            raise _failure(device, "write", address, size, error) from error


def _pieces(device: Device, offset: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """The accesses that stand for one which the device does not take: (offset, width, bit position of its first
    wanted byte in the value, bytes of it before the wanted ones)."""
    at, end = offset, offset + size
    narrowest = min(device.widths)
    while at < end:
        fitting = [w for w in device.widths if not at % w and at + w <= end]
        width = max(fitting, default=narrowest)
        inside = at % width
        yield at - inside, width, 8 * (at - offset), inside
        at += width - inside


def _failure(device: Device, what: str, address: int, size: int, error: Exception) -> EmulatorError:
    if isinstance(error, EmulatorError):
        return error
    kind = f"{type(error).__name__}: {error}".splitlines()[0]
    return DeviceError(f"device {device.name}: {what} of {size} bytes at {address:#x} failed ({kind}); please report")
