"""The line monitor: commands in, answers out, on a terminal, in a pipe, from scripts."""

from rvtui.monitor.script import Script, read_script
from rvtui.monitor.shell import Monitor, run

__all__ = ["Monitor", "Script", "read_script", "run"]
