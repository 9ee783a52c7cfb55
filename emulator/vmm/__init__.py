"""The built-in hypervisor: it owns HS-mode of a machine and runs guests in VS-mode under real G-stage tables."""

from __future__ import annotations

from emulator.vmm.gstage import Entry, GStage
from emulator.vmm.hypervisor import Hypervisor
from emulator.vmm.slots import Slot
from emulator.vmm.vcpu import Vcpu
from emulator.vmm.vm import Vm
from emulator.worlds import GuestExit

__all__ = ["Entry", "GStage", "GuestExit", "Hypervisor", "Slot", "Vcpu", "Vm"]
