"""Linux on the bare machine with a shell that is asked by its console, and Linux under KVM in it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import commands, machines
from rvtui.images.initramfs import archive
from rvtui.images.packages import File
from rvtui.session import Session

CHUNK = 1_000_000
"""Instructions between two looks at the console."""
MARK = "@@"

HOST_INIT = r"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /tmp /bin
$b --install -s /bin
export PATH=/bin:/sbin:/usr/bin HOME=/ LD_LIBRARY_PATH=/usr/lib/riscv64-linux-gnu:/lib/riscv64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
[ -c /dev/ttyS0 ] || mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
modprobe kvm 2>/dev/null
mount -t tracefs trace /sys/kernel/tracing 2>/dev/null
[ -c /dev/kvm ] || mknod /dev/kvm c 10 $(grep -w kvm /proc/misc | sed 's/[^0-9]//g')
echo 0 > /proc/sys/kernel/kptr_restrict
dmesg -n 1
stty -echo
echo "@""@ready"
while read -r line; do eval "$line"; done
"""

GUEST_INIT = r"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /tmp
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
$b dmesg -n 1
say() { echo "@@begin $1"; eval "$2"; echo "@@end $1"; }
say cpuinfo "$b cat /proc/cpuinfo"
say iomem "$b cat /proc/iomem"
say vmallocinfo "$b cat /proc/vmallocinfo"
say kallsyms "$b grep -m 3 -E ' (_text|handle_exception|show_interrupts)$' /proc/kallsyms"
for i in 1 2 3 4 5; do $b usleep 20000; done
$b sh -c 'while :; do :; done' &
p=$!
$b usleep 50000
say maps "$b cat /proc/$p/maps"
$b cat /proc/$p/maps > /tmp/maps
while read -r range rest; do
    first=$((0x${range%-*} / 4096)); last=$((0x${range#*-} / 4096))
    words="$b dd if=/proc/$p/pagemap bs=8 skip=$first count=$((last - first))"
    say "pagemap $first" "$words 2>/dev/null | $b gzip | $b base64"
done < /tmp/maps
echo "@@spin"
wait
"""


class Screen:
    """Commands want one."""

    def goto(self, pane: str) -> None: ...
    def walk(self, address: int, access: Access, mode: Mode | None) -> None: ...
    def zoom(self) -> None: ...
    def help(self) -> None: ...
    def quit(self, code: int | None) -> None: ...
    def progress(self, text: str) -> None: ...


class Linux:
    """A machine that stands still between questions."""

    def __init__(
        self, kernel: Path, initrd: Path, *, firmware: str | None, memory: int, harts: int, folder: Path, busybox: str,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.tell = tell
        self.console = ""
        self.stopped: Callable[[str], None] = lambda reason: None
        """Called where the machine stops by itself; it goes on afterwards."""
        data = initrd.read_bytes()
        guest = {
            "init": File(0o755, GUEST_INIT.encode()),
            "bin/busybox": File(0o755, file_of(data, busybox)),
        }
        ours = archive({"init": File(0o755, HOST_INIT.encode()), "guest/truth": File(0o644, archive(guest))})
        both = folder / "initrd"
        both.write_bytes(data + bytes(-len(data) % 4) + ours)
        machine, _, _ = machines.bare(
            firmware, memory=memory, harts=harts, dtb=None, kernel=str(kernel), initrd=str(both),
            append="console=ttyS0 earlycon=sbi rdinit=/init nokaslr no_hash_pointers", reboot=False,
        )  # fmt: skip
        self.session = Session(machine, pace=False)
        self.context = commands.Context(self.session, Screen())
        self.session.start()
        self._asked = 0
        self.sent = 0
        """Bytes typed."""

    @property
    def machine(self) -> Machine:
        return self.session.machine

    def close(self) -> None:
        self.session.close()

    def look(self, question: Callable[[Machine], Any]) -> Any:
        """Something of the machine, read where it may be."""
        return self.session.call(question).result(60)

    def command(self, line: str) -> Any:
        """What a command answers, as JSON has it."""
        answer: Any = commands.invoke(self.context, line).result(60)
        return getattr(answer, "data", answer)

    def run(self, most: int = CHUNK) -> None:
        """For so many instructions, or until it stops by itself."""
        self.session.run(most).result(60)
        while self.session.running:
            with self.session._condition:
                self.session._condition.wait(0.02)
            self._drain()
        self._drain()
        if self.session.finished:
            raise SystemExit(f"the machine ended: {self.session.reason}\n{self.console[-2000:]}")
        if not self.session.reason.startswith("ran "):
            self.stopped(self.session.reason)

    def _drain(self) -> None:
        while data := self.session.drain(0, 1 << 16):
            self.console += data.decode(errors="replace").replace("\r", "")

    def until(self, text: str, most: int) -> int:
        """Run until the console shows `text`; where it stands there. SystemExit after `most` instructions."""
        begun, looked = self.machine.executed, max(0, len(self.console) - len(text))
        while (at := self.console.find(text, looked)) < 0:
            if self.machine.executed - begun > most:
                raise SystemExit(f"{text!r} did not come in {most:,} instructions:\n{self.console[-2000:]}")
            looked = max(0, len(self.console) - len(text))
            self.run()
        return at

    def seek(self, mode: Mode) -> int:
        """Run until a hart is in a mode where the machine stands still; which."""
        for _ in range(3000):
            found = self.look(lambda machine: [hart.index for hart in machine.harts if hart.mode is mode])
            if found:
                return int(found[0])
            self.run(20_011)
        raise SystemExit(f"no hart is seen in {mode.label}-mode")

    def boot(self, most: int) -> None:
        self.until(f"{MARK}ready\n", most)

    def type(self, line: str) -> None:
        data = (line + "\n").encode()
        self.sent += len(data)
        self.session.send(0, data)

    def ask(self, line: str, most: int = 30_000_000_000) -> str:
        """What a line of shell prints. The shell waits for the next one afterwards, and sleeps."""
        self._asked += 1
        ends = f"{MARK}end {self._asked}\n"
        begun = len(self.console)
        self.type(f'{line}; echo "@""@end {self._asked}"')
        self.until(ends, most)
        self.run()  # into the sleep
        return self.console[begun : self.console.rindex(ends)]


def file_of(data: bytes, name: str) -> bytes:
    """A file of a cpio archive ("newc"), compressed or not. SystemExit where it has none of that name."""
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    at = 0
    while data[at : at + 6] == b"070701":
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, length = fields[6], fields[11]
        found = data[at + 110 : at + 109 + length].decode(errors="replace")
        begins = at + 110 + length + (-(110 + length) % 4)
        if found.removeprefix("./") == name.lstrip("/"):
            return data[begins : begins + size]
        if found == "TRAILER!!!":
            break
        at = begins + size + (-size % 4)
    raise SystemExit(f"the initrd has no {name}: say --busybox")


def blocks(log: str) -> dict[str, str]:
    """What stands between the marks of the guest's init, by name."""
    return {
        found[1]: found[2]
        for found in re.finditer(rf"^{MARK}begin ([^\n]*)\n(.*?)^{MARK}end \1$", log, re.MULTILINE | re.DOTALL)
    }
