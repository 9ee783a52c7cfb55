"""The stub for GDB: `--gdb [HOST]:PORT`.

packets (bytes), description (registers), threads, points (where to stop), memory, stub (questions and answers), monitor
(commands), server (the socket). All of it stands on a `Session`; nothing of it is part of the machine.
"""

from rvtui.gdb.server import Listener, Server, serving

__all__ = ["Listener", "Server", "serving"]
