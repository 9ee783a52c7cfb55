"""Compare what rvtui says of Linux and its KVM guest with what the two kernels say.

python -m tests.truth --kernel Image --initrd initramfs.cpio.gz [--firmware F] [--guest COMMAND] [--json FILE]
python -m tests.truth --image debian-kvm

The initrd needs busybox, and for the guest a program that runs a kernel under KVM with the initrd /guest/truth, which
is ours. Exit status 1: something disagrees.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rvtui.images.cache import Cache
from tests.truth import compare
from tests.truth.compare import Verdict
from tests.truth.linux import Linux

APPEND = "console=ttyS0 panic=-1 nokaslr no_hash_pointers rdinit=/init"
GUESTS = {
    "kvmini": f"kvmini -m {{memory}} -s {{cpus}} -i /guest/truth -c '{APPEND}' /guest/Image < /dev/null",
    "qemu": "qemu-system-riscv64 -M virt -accel kvm -cpu host -m {memory} -smp {cpus} -bios none -nodefaults"
    " -display none -no-reboot -serial stdio -kernel /guest/kernel -initrd /guest/truth"
    f" -append '{APPEND}' < /dev/null",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernel", type=Path)
    parser.add_argument("--initrd", type=Path)
    parser.add_argument("--image", help="one of `rvtui images`, with QEMU inside")
    parser.add_argument("--firmware", help="if not given, the built-in one")
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    parser.add_argument("--harts", type=int, default=1)
    parser.add_argument("--busybox", default="bin/busybox", help="where it is in the initrd")
    parser.add_argument("--guest", help="what runs a guest: kvmini, qemu, or a command; {memory} stands for its MiB")
    parser.add_argument("--guest-memory", type=int, help="MiB")
    parser.add_argument("--guest-cpus", type=int, default=1)
    parser.add_argument("--no-guest", action="store_true")
    parser.add_argument("--json", type=Path, help="write the table there too")
    options = parser.parse_args(arguments)
    if options.image is not None:
        options.kernel, options.initrd = (Cache().path(options.image, kind) for kind in ("kernel", "initrd"))
    if options.kernel is None or options.initrd is None:
        parser.error("--kernel and --initrd, or --image")
    command = options.guest or ("qemu" if options.image else "kvmini")
    guest_memory = options.guest_memory or (256 if command == "qemu" else 64)
    command = GUESTS.get(command, command)
    found: list[Verdict] = []
    begun = time.monotonic()

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text:<79}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        linux = Linux(
            options.kernel, options.initrd, firmware=options.firmware, memory=options.memory << 20,
            harts=options.harts, folder=Path(folder), busybox=options.busybox, tell=tell,
        )  # fmt: skip
        try:
            guest = "" if options.no_guest else command.replace("{memory}", str(guest_memory)).replace(
                "{cpus}", str(options.guest_cpus)
            )
            for check in checks(linux, guest, guest_memory):
                for verdict in check():
                    found.append(verdict)
                    tell(verdict.what)
        finally:
            linux.close()
        executed = linux.machine.executed
    tell("")
    print_table(found)
    wrong = [each for each in found if not each.right]
    print(f"{len(found)} compared, {len(wrong)} disagree; {executed:,} instructions, {time.monotonic() - begun:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps([vars(each) for each in found], indent=1) + "\n")
    return int(bool(wrong))


def checks(linux: Linux, guest: str, mebibytes: int) -> Iterator[Callable[[], Iterable[Verdict]]]:
    linux.boot(20_000_000_000)
    isa = linux.machine.isa
    text = linux.ask("cat /proc/cpuinfo")
    yield lambda: compare.cpuinfo(linux, text, "the host", isa.string, isa.mmu)
    yield lambda: compare.memory(linux)
    known = compare.symbols(linux)
    yield lambda: compare.handlers(linux, known)
    yield lambda: compare.kernel_mappings(
        linux, linux.ask("cat /proc/vmallocinfo"), linux.ask("cat /proc/iomem"), known, "the host", "satp"
    )
    yield lambda: compare.process(linux)
    yield lambda: compare.interrupts(linux, known)
    yield lambda: compare.serial(linux)
    if not guest:
        return
    traces = compare.has_trace(linux)
    if "there" in linux.ask("[ -e /proc/sysrq-trigger ] && echo there"):
        yield lambda: compare.frames(linux, known)
    if traces:
        compare.trace(linux)
    pid = compare.start_guest(linux, guest)
    yield lambda: compare.exits(linux, None, "")
    if traces:
        yield lambda: compare.traced(linux)
        yield lambda: compare.last(linux)
        yield lambda: compare.times(linux, pid)
    places, verdicts = compare.slots(linux, pid, mebibytes)
    yield lambda: verdicts
    log = compare.guest_log(linux)
    yield lambda: compare.cpuinfo(linux, log["cpuinfo"], "the guest", isa.string, "")
    yield lambda: compare.handlers(linux, known)
    yield lambda: compare.guest_time(linux, pid)
    before = compare.stats(linux)
    linux.command("exits reset")
    yield lambda: compare.guest_process(linux, log, places, pid)
    linux.ask(f"kill -STOP {pid}; usleep 20000")
    yield lambda: compare.exits(linux, before, " since a reset")
    yield lambda: compare.interrupts(linux, known)
    yield lambda: compare.serial(linux)


def print_table(found: list[Verdict]) -> None:
    rows = [("what", "the kernel says", "rvtui says", "verdict")]
    rows += [(each.what, each.kernel, each.ours, "agree" if each.right else "DISAGREE") for each in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
