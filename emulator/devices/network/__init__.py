"""A network inside the machine: a learning hub, and a small host on it.

`Hub` joins the network devices of a machine and of all its VMs; `Host` is who else is there, at 10.0.2.2. Everything is
done while the guest that sent a frame waits at its store, so that frames are lost only where a receiver does not take
them, and nothing depends on a clock.
"""

from emulator.devices.network.frames import FRAME_LIMIT, MTU, mac_bytes, mac_text
from emulator.devices.network.host import Host
from emulator.devices.network.hub import Hub, Port

__all__ = ["FRAME_LIMIT", "MTU", "Host", "Hub", "Port", "mac_bytes", "mac_text"]
