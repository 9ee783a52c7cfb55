"""The command line as a process: what it prints, where, and with which code."""

from __future__ import annotations

import gzip
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from desk import ECALL, FLOOD, NOP, RAM, SLEEP, SPIN, elf, failed, jump, li, lui, run, with_page_features

import snapshots
from emulator.devicetree import Node, flatten, parse
from emulator.hart import Exit, ExitReason, Mode
from rvtui import headless, machines
from rvtui.runner import Runner
from rvtui.subjects import virtual_machines as machines_of

Guest = Callable[..., Path]


def test_hello_prints_and_ends_with_zero() -> None:
    done = run("run", "--headless", "hello")
    assert done.returncode == 0
    assert b"hello from a guest, through the SBI console" in done.stdout
    assert b"through the UART" in done.stdout
    assert done.stderr == b""


def test_several_guests_have_their_names_before_each_line() -> None:
    done = run("run", "--headless", "hello", "pages")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert {line.split(" | ")[0].rstrip() for line in lines} == {"hello", "pages"}
    assert "pages | pages: all OK" in lines


def test_one_guest_twice_gets_two_names() -> None:
    done = run("run", "--headless", "hello", "hello")
    assert done.returncode == 0
    assert b"hello-2 | hello from a guest" in done.stdout


def test_input_reaches_the_guest() -> None:
    done = run("run", "--headless", "echo", input=b"abc\rquit\r")
    assert done.returncode == 0, done.stderr
    assert b"CBA" in done.stdout


def test_output_can_be_long_and_binary(guest: Guest) -> None:
    # SBI legacy console: each byte value once, then shutdown.
    words = [li(10, 0), li(17, 1), ECALL, 0x00130313, li(10, 0), li(17, 8), ECALL, jump(0)]
    words = [li(6, 0), li(17, 1), 0x00030513, ECALL, 0x00130313, li(7, 256), 0xFE7348E3 + 0, li(17, 8), ECALL, jump(0)]
    words[6] = _branch_less_than(6, 7, -16)
    done = run("run", "--headless", guest(elf(words)))
    assert done.returncode == 0, done.stderr
    assert done.stdout == bytes(range(256))


def _branch_less_than(a: int, b: int, offset: int) -> int:
    bits = offset & 0x1FFF
    return (
        (bits >> 12 & 1) << 31 | (bits >> 5 & 0x3F) << 25 | b << 20 | a << 15 | 4 << 12
        | (bits >> 1 & 15) << 8 | (bits >> 11 & 1) << 7 | 0x63
    )  # fmt: skip


def test_bare_firmware_ends_through_htif_or_the_finisher(guest: Guest) -> None:
    # Test finisher at 0x100000: 0x3333 with the code in the upper half.
    fail = (7 << 16) | 0x3333
    words = [
        lui(5, 0x100),
        lui(6, (fail + 0x800) >> 12),
        (fail & 0xFFF) << 20 | 6 << 15 | 6 << 7 | 0x13,
        0x0062A023,
        jump(0),
    ]
    done = run("run", "--bare", guest(elf(words)), "--headless")
    assert done.returncode == 7, done.stderr
    assert done.stdout == b""
    assert b"7" in done.stderr


FINISH = (lui(5, 0x100), lui(6, 0x5), 0x5553_0313, 0x0062_A023, jump(0))
"""Writes 0x5555, "pass", to the test finisher at 0x100000."""


@pytest.mark.parametrize("name", ["firmware", "firmware.v2", "raw.bin"])
def test_any_file_that_begins_with_an_instruction_is_a_raw_image(guest: Guest, name: str) -> None:
    code = b"".join(word.to_bytes(4, "little") for word in FINISH)
    done = run("run", "--bare", "--headless", guest(code, name))
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_name_may_say_that_text_is_code(guest: Guest) -> None:
    assert "trap" in failed("run", "--headless", "--bare", guest(b"no code at all", "text.bin"), code=3)


def test_the_firmware_may_stand_behind_the_options() -> None:
    done = run("run", "--bare", "--headless", "tiny-hypervisor")
    assert done.returncode == 0 and b"guest 2 switched itself off" in done.stdout
    assert "name a firmware" in failed("run", "--bare", "--headless")
    assert "hello" in failed("run", "--bare", "--headless", "tiny-hypervisor", "hello")


def test_tiny_hypervisor_on_the_bare_machine() -> None:
    done = run("run", "--bare", "tiny-hypervisor", "--headless")
    assert done.returncode == 0, done.stderr
    assert b"in HS-mode" in done.stdout


def shown_devices() -> bytes:
    """A program that prints the device IDs behind the first and the last two virtio transports."""
    words = []
    for page in (1, 7, 8):
        load, to_digit = 8 << 20 | 5 << 15 | 2 << 12 | 10 << 7 | 3, 48 << 20 | 10 << 15 | 10 << 7 | 0x13
        words += [lui(5, 0x10000 + page), load, to_digit, li(17, 1), ECALL]
    return elf([*words, li(17, 8), ECALL])


@pytest.mark.parametrize(
    ("options", "ids"),
    [([], "014"), (["--drive", "d.img"], "214"), (["--network", "off", "--drive", "d.img,ro"], "204")],
)
def test_devices_of_a_guest_and_of_the_bare_machine(
    options: list[str], ids: str, guest: Guest, tmp_path: Path
) -> None:
    (tmp_path / "d.img").write_bytes(bytes(1024))
    program = guest(shown_devices())
    for line in ([program], ["--bare", "--kernel", program]):
        done = run("run", "--headless", *line, *options)
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, ids, b"")


def test_drives_of_several_guests(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "d.img").write_bytes(bytes(1024))
    names = [guest(shown_devices(), name) for name in ("a", "b", "c")]
    for drives, ids in [(["d.img"], "222"), (["d.img,vm=2"], "020"), (["d.img,rw,vm=3"], "002"),
                        (["d.img,vm=1,ro", "d.img,vm=3"], "202")]:  # fmt: skip
        done = run("run", "--headless", *names, *(word for drive in drives for word in ("--drive", drive)))
        assert done.returncode == 0, done.stderr
        lines = sorted(done.stdout.decode().splitlines())
        assert lines == [f"{name} | {each}14" for name, each in zip("abc", ids, strict=True)]


RESET = (lui(5, 0x100), lui(6, 0x7), 0x7773_0313, 0x0062_A023, jump(0))
"""Writes 0x7777, "reset", to it."""


def test_a_machine_that_asks_for_a_reset_boots_again_unless_told_not_to(guest: Guest) -> None:
    path = guest(b"".join(word.to_bytes(4, "little") for word in RESET), "reset.bin")
    done = run("run", "--bare", path, "--headless", "--no-reboot")
    assert (done.returncode, done.stderr) == (0, b"")
    line = ["run", "--bare", path, "--headless", "--instructions", "1000"]
    assert "stopped after 1,000 instructions" in failed(*line, code=3)


def test_warnings_are_told_while_the_guest_runs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = machines.with_guests(["ticker"])
    chunks = 0

    def run(self: Runner, *_: object, **more: object) -> Exit:
        nonlocal chunks
        chunks += 1
        if chunks == 2:
            raise KeyboardInterrupt
        machine.warnings.append("drive d: no space left on device; the guest sees errors")
        return Exit(ExitReason.BUDGET)

    monkeypatch.setattr(Runner, "run", run)
    with pytest.raises(KeyboardInterrupt):
        headless.run(machine, limit=1000)
    assert "warning: drive d: no space left" in capfd.readouterr().err and not machine.warnings


def test_without_a_screen_nobody_looks_at_breakpoints(capfd: pytest.CaptureFixture[str]) -> None:
    machine = machines.with_guests(["hello"])
    main = machine.host.vms[0].symbols.find("main")  # type: ignore[union-attr]
    assert main is not None
    machine.breakpoints.add(main)
    assert headless.run(machine, limit=10_000_000) == 0
    assert "hello from a guest" in capfd.readouterr().out


def test_a_drive_that_changed_is_told(guest: Guest, tmp_path: Path) -> None:
    disk, saved = tmp_path / "disk.img", tmp_path / "s.rvs"
    disk.write_bytes(bytes(1024))
    line = ["run", "--bare", guest(elf([jump(0)])), "--headless", "--instructions", "100", "--save", str(saved)]
    done = run(*line, "--drive", str(disk), "--drive", f"{disk},ro")
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    disk.write_bytes(b"x" * 1024)
    done = run("snapshot", "restore", str(saved), "--headless", "--instructions", "1")
    assert done.returncode == 3 and done.stderr.count(b"warning: drive") == 2 and b"contents" in done.stderr
    disk.unlink()
    assert "disk.img: cannot be read: no such file" in failed("snapshot", "restore", str(saved), "--headless")


def test_instruction_limit() -> None:
    assert "stopped after 1,000 instructions" in failed("run", "--headless", "--instructions", "1000", "hello", code=3)


def test_deadlock_is_told(guest: Guest) -> None:
    assert "every hart waits" in failed("run", "--headless", guest(SLEEP), code=3)


def test_trap_loop_is_told(guest: Guest) -> None:
    assert "trap" in failed("run", "--bare", guest(elf([0])), "--headless", code=3)


def test_a_guest_that_jumps_to_nowhere_is_stopped(guest: Guest) -> None:
    text = failed("run", "--headless", guest(elf([lui(5, 0x10), 0x00028067])), code=3)
    assert "0x10000" in text and "guest" in text


def test_a_stopped_guest_does_not_stop_the_others(guest: Guest) -> None:
    done = run("run", "--headless", guest(elf([lui(5, 0x10), 0x00028067]), "broken.elf"), "hello")
    assert done.returncode == 3
    assert b"hello  | hello from a guest, through the UART" in done.stdout
    assert b"broken" in done.stderr


def test_save_restore_continues_where_it_stood(tmp_path: Path) -> None:
    whole = run("run", "--headless", "pages").stdout
    first = run("run", "--headless", "--instructions", "20000", "--save", "here.snap", "pages")
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "here.snap").exists()
    second = run("snapshot", "restore", "--headless", "here.snap")
    assert second.returncode == 0, second.stderr
    assert first.stdout + second.stdout == whole


def test_pages_masks_and_counters_go_on_in_another_process() -> None:
    """Through 64 KiB pages of both stages by a tagged pointer, with counters that count and overflow."""
    machine = with_page_features()
    hart = machine.harts[0]
    loop = (0x0085_3583, 0x0015_8593, 0x00B5_3423, jump(-12))  # ld a1, 8(a0); addi a1, a1, 1; sd a1, 8(a0)
    machine.memory.write(RAM, b"".join(word.to_bytes(4, "little") for word in loop))
    hart.set_csr("henvcfg", hart.csr("henvcfg") | 3 << 32)  # PMM: 16 bits are ignored
    hart.set_csr("mhpmcounter3", (1 << 64) - 1000)
    hart.set_csr("mhpmevent3", 2)
    hart.x[10] = 0xABCD << 48 | 0x4000_7000
    snapshots.save(machine, "first")
    for source, target, steps in (("first", "half", 777), ("half", "whole", 1234), ("first", "other", 777 + 1234)):
        done = run("snapshot", "restore", "--headless", "--instructions", str(steps), "--save", target, source)
        assert done.returncode == 0, done.stderr
    whole = snapshots.load("whole")
    hart = whole.harts[0]
    assert hart.mode is Mode.VS and whole.memory.read_int(RAM + 0x2_7008, 8) == 2011 // 4 + 1
    assert hart.csr("mhpmcounter3") == 1011 and hart.csr("mhpmevent3") >> 63
    assert whole.state_hash() == snapshots.load("other").state_hash()
    machine.run(777 + 1234)
    assert whole.state_hash() == machine.state_hash()


def test_snapshot_info_and_verify() -> None:
    assert run("snapshot", "save", "x.snap", "hello", "pages", "--instructions", "5000").returncode == 0
    told = run("snapshot", "info", "x.snap").stdout.decode()
    assert "hello, pages" in told and "5,000 instructions" in told
    assert b"every byte" in run("snapshot", "verify", "x.snap").stdout


def test_dump_dtb() -> None:
    done = run("run", "--bare", "tiny-hypervisor", "--dump-dtb", "m.dtb", "--memory", "64M", "--harts", "2")
    assert done.returncode == 0, done.stderr
    tree = Path("m.dtb").read_bytes()
    assert tree[:4] == b"\xd0\x0d\xfe\xed" and tree.count(b"cpu@") == 2
    line = ["run", "--bare", "tiny-hypervisor", "--headless", "--dtb", "m.dtb", "--memory", "64M"]
    again = run(*line, "--harts", "2")
    assert again.returncode == 0, again.stderr
    assert "m.dtb: the device tree has cpu 1, but the harts are 0 to 0" in failed(*line)


def test_dump_dtb_tells_of_the_kernels_command_line_and_initrd(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(bytes(5000))
    line = ["run", "--bare", "--kernel", "hello", "--memory", "64M", "--dump-dtb", "m.dtb"]
    done = run(*line, "--append", "two words", "--initrd", "initrd")
    assert done.returncode == 0, done.stderr
    chosen = parse(Path("m.dtb").read_bytes()).find("chosen")
    assert chosen is not None and chosen.strings("bootargs") == ["two words"]
    assert chosen.number("linux,initrd-end") - chosen.number("linux,initrd-start") == 5000
    assert run("run", "--bare", "--dump-dtb", "machine.dtb").returncode == 0
    assert parse(Path("machine.dtb").read_bytes()).find("memory@80000000") is not None


def test_a_kernel_boots_with_no_firmware_file() -> None:
    """A guest of a hypervisor needs no more than SBI: it may as well be the kernel of the bare machine."""
    for name, says in (("hello", b"hello from a guest, through the UART"), ("pages", b"pages: all OK")):
        done = run("run", "--bare", "--kernel", name, "--headless")
        assert (done.returncode, done.stderr) == (0, b"")
        assert says in done.stdout


def test_input_reaches_a_kernel_without_firmware() -> None:
    done = run("run", "--bare", "--kernel", "echo", "--headless", input=b"abc\rquit\r")
    assert done.returncode == 0, done.stderr
    assert b"CBA" in done.stdout


def test_a_machine_with_firmware_of_ours_is_saved_and_goes_on() -> None:
    whole = run("run", "--bare", "--kernel", "pages", "--headless").stdout
    first = run("run", "--bare", "--kernel", "pages", "--headless", "--instructions", "20000", "--save", "here.snap")
    second = run("snapshot", "restore", "--headless", "here.snap")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout + second.stdout == whole and b"all OK" in whole


def test_a_vm_is_given_command_line_and_initrd(tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(b"root")
    machine = machines.with_guests(["hello", "pages"], initrd="initrd", append="for both")
    for vm in machines_of(machine):
        at = vm.vcpus[0].get_reg("x11")
        chosen = parse(vm.memory.read(at, vm.slots[0].end - at)).find("chosen")
        assert chosen is not None and chosen.strings("bootargs") == ["for both"]
        assert vm.memory.read(chosen.number("linux,initrd-start"), 4) == b"root"


BAD_LINES = [
    (["frob"], "frob"),
    (["run"], "nothing to run"),
    (["run", "nosuch", "--headless"], "no such file"),
    (["run", "./nosuch.elf", "--headless"], "No such file"),
    (["run", "--headless", "."], "directory"),
    (["run", "--headless", "empty"], "empty"),
    (["run", "--headless", "text"], "neither an ELF"),
    (["run", "--bare", "text", "--headless"], "it is text"),
    (["run", "--bare", "zeros", "--headless"], "begin with an instruction"),
    (["run", "--bare", "disk.img", "--headless"], "qcow2"),
    (["run", "--headless", "disk.img"], "qcow2"),
    (["run", "--bare", "saved", "--headless"], "rvtui snapshot restore"),
    (["run", "--headless", "saved"], "rvtui snapshot restore"),
    (["run", "--headless", "--bare"], "name a firmware"),
    (["run", "--bare", "--headless", "tiny-hypervisor", "hello"], "hello"),
    (["run", "--headless", "cut.elf"], "cut.elf"),
    (["run", "--headless", "cut2.elf"], "cut2.elf"),
    (["run", "--headless", "elf32"], "elf32"),
    (["run", "--headless", "x86"], "x86"),
    (["run", "--headless", "outside"], "outside"),
    (["run", "--headless", "huge"], "huge"),
    (["run", "--headless", "tiny-hypervisor"], "--bare"),
    (["run", "--bare", "hello", "--headless"], "leave out --bare"),
    (["run", "--bare", "tiny-hypervisor", "hello", "--headless"], "hello"),
    (["run", "--harts", "2", "hello", "--headless"], "--harts"),
    (["run", "--dtb", "text", "hello", "--headless"], "--dtb"),
    (["run", "--kernel", "text", "hello", "--headless"], "--kernel is for the bare machine"),
    (["run", "--initrd", "empty", "hello", "--headless"], "empty: the file is empty"),
    (["run", "--initrd", "nosuch", "hello", "--headless"], "nosuch"),
    (["run", "--initrd", "large", "hello", "--headless", "--memory", "4M"], "give it more memory"),
    (["run", "--bare", "tiny-hypervisor", "--initrd", "text", "--headless"], "name it with --kernel"),
    (["run", "--bare", "tiny-hypervisor", "--append", "x", "--headless"], "name it with --kernel"),
    (["run", "--bare", "tiny-hypervisor", "--kernel", "empty", "--headless"], "empty: the file is empty"),
    (["run", "--bare", "tiny-hypervisor", "--kernel", "nosuch", "--headless"], "nosuch"),
    (["run", "--bare", "tiny-hypervisor", "--kernel", "text", "--headless"], "neither an ELF"),
    (["run", "--bare", "--kernel", "x86", "--headless"], "x86: it is for another machine"),
    (["run", "--bare", "--kernel", "arm64", "--headless"], "arm64: it is a Linux kernel for arm64"),
    (["run", "--bare", "--kernel", "arm64.gz", "--headless"], "arm64.gz: it is a Linux kernel for arm64"),
    (["run", "--bare", "--kernel", "bzImage", "--headless"], "bzImage: it is a Linux kernel for x86"),
    (["run", "--bare", "--kernel", "packed", "--headless"], "compressed with zstd"),
    (["run", "--bare", "--kernel", "cut.gz", "--headless"], "cut.gz: the gzip data ends too early"),
    (["run", "arm64", "--headless"], "arm64: it is a Linux kernel for arm64"),
    (["run", "--bare", "--kernel", "large.bin", "--headless", "--memory", "4M"], "give it more memory"),
    (["run", "--bare", "--kernel", "raw.bin", "--initrd", "empty", "--headless"], "empty: the file is empty"),
    (["run", "--bare", "--kernel", "raw.bin", "--initrd", "large", "--headless", "--memory", "4M"], "larger than RAM"),
    (["run", "--bare", "--kernel", "raw.bin", "--initrd", "large", "--headless", "--memory", "8M"], "does not fit"),
    (["run", "--bare", "--kernel", "raw.bin", "--initrd", ".", "--headless"], "directory"),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "no-cpu.dtb", "--headless"], "the device tree has no cpu"),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "far.dtb", "--headless", "--memory", "64M"], "but RAM is"),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "no-memory.dtb", "--headless"], "the device tree has no memory"),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "cpu-5.dtb", "--headless"], "the device tree has cpu 5"),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "cells.dtb", "--headless"], "cells.dtb: "),
    (["run", "--bare", "--kernel", "raw.bin", "--dtb", "empty", "--headless"], "empty: the file is empty"),
    (["run", "--vcpus", "2", "--bare", "tiny-hypervisor", "--headless"], "--vcpus"),
    (["run", "--bare", "tiny-hypervisor", "--dtb", "text", "--headless"], "device tree"),
    (["run", "--bare", "tiny-hypervisor", "--dtb", "nosuch", "--headless"], "nosuch"),
    (["run", "--bare", "tiny-hypervisor", "--harts", "99", "--headless"], "99"),
    (["run", "--bare", "tiny-hypervisor", "--harts", "0", "--headless"], "0"),
    (["run", "--memory", "0", "hello", "--headless"], "size"),
    (["run", "--memory", "-1", "hello", "--headless"], "memory"),
    (["run", "--memory", "1X", "hello", "--headless"], "1X"),
    (["run", "--memory", "999999T", "hello", "--headless"], "memory"),
    (["run", "--instructions", "0", "hello", "--headless"], "'0'"),
    (["run", "--instructions", "many", "hello", "--headless"], "'many'"),
    (["run", "--instructions", "9" * 40, "hello", "--headless"], "whole number"),
    (["run", "--isa", "rv32i", "hello", "--headless"], "rv32i"),
    (["run", "--jit", "on", "hello", "--headless"], "not available yet"),
    (["run", "--nosuch", "hello"], "--nosuch"),
    (["run", "hello"], "terminal"),
    ([], "terminal"),
    (["run", "--headless", "--save", "nowhere/x.snap", "hello"], "nowhere"),
    (["run", "--headless", "--save", ".", "hello"], "directory"),
    (["snapshot"], "info, verify, restore"),
    (["snapshot", "info", "nosuch"], "nosuch"),
    (["snapshot", "info", "text"], "not a snapshot"),
    (["snapshot", "verify", "empty"], "empty"),
    (["snapshot", "info", "."], "directory"),
    (["snapshot", "restore", "--headless", "text"], "not a snapshot"),
    *[([name], f"{name}: not available yet") for name in ("replay", "lint", "bench", "lesson")],
    *[([name, "--any", "thing"], "not available yet") for name in ("compare", "serve", "share", "watch")],
    *[
        (["snapshot", name, "x"], "not available yet")
        for name in ("list", "tree", "diff", "delete", "prune", "export", "import")
    ],
    (["run", "--drive", "no-such.img", "hello", "--headless"], "no-such.img: cannot be read: no such file"),
    (["run", "--drive", "raw.bin,vm=2", "hello", "--headless"], "vm= takes the number of one guest, 1 to 1"),
    (["run", "--drive", "raw.bin,vm=", "hello", "--headless"], "vm= takes"),
    (["run", "--drive", "raw.bin,vm=0", "hello", "--headless"], "vm= takes"),
    (["run", "--drive", "raw.bin,vm=1,vm=1", "hello", "--headless"], "vm= takes"),
    (["run", "--drive", "raw.bin,rw", "hello", "hello", "--headless"], "one VM only may write"),
    (["run", "--drive", "large,rw,vm=1", "--drive", "large,vm=2", "hello", "hello", "--headless"], "same file"),
    (["run", *["--drive", "raw.bin"] * 7, "hello", "--headless"], "there are 8 virtio devices already"),
    (["run", "--bare", "tiny-hypervisor", *["--drive", "raw.bin"] * 7, "--headless"], "8 virtio devices already"),
    (["run", "--network", "on", "hello"], "--network"),
    (["run", "--bare", "tiny-hypervisor", "--drive", "no-such.img", "--headless"], "no-such.img: cannot be read"),
    (["run", "--bare", "tiny-hypervisor", "--drive", "/dev/null,rw", "--headless"], "not a regular file"),
    (["run", "--no-reboot", "hello"], "--no-reboot is for the bare machine"),
    (["run", "--flash", "text", "hello"], "--flash is for the bare machine"),
    (["run", "--fw-cfg", "a=text", "hello"], "--fw-cfg is for the bare machine"),
    (["run", "--bare", "--pflash", "no-such.fd", "--headless"], "flash no-such.fd: No such file"),
    (["run", "--bare", "--flash", "text,rw", "--headless"], "to be written to it must be 33554432, as a bank"),
    (["run", "--bare", *["--flash", "text"] * 3, "--headless"], "there are 2 banks of flash, for 3 files"),
    (["run", "--bare", "--flash", "text", "--fw-cfg", "text", "--headless"], "fw_cfg text: it is NAME=FILE"),
    (["run", "--bare", "--flash", "text", "--kernel", "no-such.efi", "--headless"], "no-such.efi: No such file"),
    (["run", "--share", "nowhere", "hello", "--headless"], "nowhere: cannot be opened: no such"),
    (["run", "--bare", "tiny-hypervisor", "--share", "nowhere", "--headless"], "nowhere: cannot be opened: no such"),
    (["run", "--bare", "tiny-hypervisor", "--share", "text", "--headless"], "text: cannot be opened: not a directory"),
    (["run", "--bare", "tiny-hypervisor", "--share", ".,tag=a/b", "--headless"], "tag 'a/b'"),
    (["run", "--bare", "tiny-hypervisor", "--share", ".", "--share", ".,tag=share", "--headless"], "tag=NAME"),
    *[
        (["run", option, "x", "hello"], f"{option}: not available yet")
        for option in (
            "--record",
        )
    ],
]


def tree(cpus: tuple[int, ...] = (0,), memory: Sequence[int] = (0, RAM, 0, 4 << 20)) -> bytes:
    """A small device tree of harts and memory."""
    root = Node("", {"#address-cells": 2, "#size-cells": 2})
    root.add(Node("memory@80000000", {"device_type": "memory", "reg": list(memory)}))
    parent = root.add(Node("cpus", {"#address-cells": 1, "#size-cells": 0}))
    for number in cpus:
        parent.add(Node(f"cpu@{number}", {"device_type": "cpu", "reg": number}))
    return flatten(root)


@pytest.fixture
def bad_files(tmp_path: Path) -> None:
    good = elf([NOP, jump(0)])
    for name, data in {
        "empty": b"",
        "text": b"this is no program\n",
        "zeros": bytes(4096),
        "disk.img": b"QFI\xfb" + bytes(100),
        "saved": b"\xc4\x10\x89rvtui-state\r\n\x1a\n" + bytes(100),
        "cut.elf": good[:50],
        "cut2.elf": good[:100],
        "elf32": elf([NOP], bits=1),
        "x86": elf([NOP], machine=62),
        "outside": elf([NOP], base=0x1000),
        "huge": elf([NOP], size=1 << 50),
        "arm64": bytes(0x38) + b"ARM\x64" + bytes(64),
        "arm64.gz": gzip.compress(bytes(0x38) + b"ARM\x64" + bytes(64)),
        "cut.gz": gzip.compress(bytes(4096))[:-9],
        "bzImage": bytes(0x202) + b"HdrS" + bytes(64),
        "packed": b"\x28\xb5\x2f\xfd" + bytes(64),
        "raw.bin": NOP.to_bytes(4, "little"),
        "large": bytes(5 << 20),
        "large.bin": bytes(5 << 20),
        "no-cpu.dtb": tree(cpus=()),
        "cpu-5.dtb": tree(cpus=(5,)),
        "far.dtb": tree(memory=[0, RAM, 0, 128 << 20]),
        "no-memory.dtb": tree(memory=[]),
        "cells.dtb": tree(memory=[0, RAM, 0]),
    }.items():
        (tmp_path / name).write_bytes(data)


@pytest.mark.parametrize(
    ("line", "says"), BAD_LINES, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_what_the_user_got_wrong_is_one_line_and_two(line: list[str], says: str, bad_files: None) -> None:
    assert says in failed(*line)


def test_damaged_snapshots(tmp_path: Path) -> None:
    run("snapshot", "save", "good.snap", "hello", "--instructions", "3000")
    good = (tmp_path / "good.snap").read_bytes()
    for cut in (1, 20, len(good) // 2, len(good) - 1):
        (tmp_path / "bad.snap").write_bytes(good[:cut])
        assert "bad.snap" in failed("snapshot", "restore", "--headless", "bad.snap")
    for at in range(0, len(good), len(good) // 8):
        flipped = bytearray(good)
        flipped[at] ^= 0x40
        (tmp_path / "bad.snap").write_bytes(flipped)
        assert "bad.snap" in failed("snapshot", "verify", "bad.snap")


def test_a_failed_save_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    (folder / "old.snap").write_bytes(b"before")
    failed("run", "--headless", "--instructions", "100", "--save", "readonly/nosuch/x.snap", "hello")
    assert [path.name for path in folder.iterdir()] == ["old.snap"]


def test_help_and_version_do_not_load_the_application() -> None:
    code = (
        "import sys, rvtui.cli\n"
        "assert rvtui.cli.main(['--version']) == 0 and rvtui.cli.main(['run', '--help']) == 0\n"
        "assert rvtui.cli.main(['run', '--headless', 'hello']) == 0\n"
        "loaded = {'textual', 'bittty', 'prompt_toolkit'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, input=b"")
    assert done.returncode == 0, done.stderr.decode()


def test_output_that_cannot_be_written_is_told() -> None:
    for command in (["isa"], ["run", "--headless", "hello"], ["conformance"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "rvtui", *command], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE
            )
        assert (done.returncode, done.stderr) == (2, b"rvtui: standard output: No space left on device\n"), command


@pytest.mark.parametrize(("command", "code"), [("--version", 0), ("--help", 0), ("isa Zba", 0), ("nosuch", 2)])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_nobody_listens(command: str, code: int, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m rvtui {command} {closed}"], input=b"", capture_output=True
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_a_closed_pipe_ends_quietly(guest: Guest) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rvtui", "run", "--headless", str(guest(FLOOD))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stderr
    assert process.stdout.read(1000) == b"x" * 1000
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""


def test_interrupt_ends_with_130(guest: Guest) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rvtui", "run", "--headless", str(guest(FLOOD))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


class Terminal:
    """`rvtui` on a pseudo-terminal."""

    def __init__(self, *arguments: str, rows: int = 24, columns: int = 80) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rvtui", *arguments],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )  # fmt: skip

    def read(self, timeout: float = 0.1) -> None:
        if select.select([self.master], [], [], timeout)[0]:
            self.output += os.read(self.master, 65536)

    def wait_for(self, text: bytes, timeout: float = 30) -> float:
        """Seconds from the start until `text` was there."""
        while text not in self.output:
            assert time.monotonic() - self.started < timeout, self.output[-2000:]
            self.read()
        return time.monotonic() - self.started

    def send(self, data: bytes) -> None:
        os.write(self.master, data)

    def end(self, timeout: float = 30) -> int:
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.read(0.05)
        self.read(0.2)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def test_the_demonstration_on_a_terminal_comes_up_and_goes_cleanly() -> None:
    terminal = Terminal()
    try:
        terminal.wait_for(b"ticker")
        terminal.wait_for(b"type a line")
        terminal.send(b"q")
        assert terminal.end() == 0
        assert b"\x1b[?1049l" in terminal.output, "the alternate screen was left"
        assert b"\x1b[?25h" in terminal.output, "the cursor is visible again"
        assert b"Traceback" not in terminal.output
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_termination_restores_the_terminal() -> None:
    terminal = Terminal()
    try:
        terminal.wait_for(b"type a line")
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM
        assert b"\x1b[?1049l" in terminal.output
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_headless_on_a_terminal_passes_keys_and_restores_it() -> None:
    terminal = Terminal("run", "--headless", "echo")
    try:
        terminal.wait_for(b"echo> ")
        terminal.send(b"abc\r")
        terminal.wait_for(b"CBA")
        assert terminal.output.count(b"abc") == 1, "only the guest echoes"
        terminal.send(b"quit\r")
        assert terminal.end() == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_interrupt_key_on_a_headless_terminal_restores_it(guest: Guest) -> None:
    terminal = Terminal("run", "--headless", str(guest(SPIN)))
    try:
        time.sleep(1.0)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert b"Traceback" not in terminal.output
    finally:
        terminal.close()


def test_entry_address_is_where_the_guest_begins(guest: Guest) -> None:
    words = [jump(0), li(17, 8), ECALL, jump(0)]
    done = run("run", "--headless", guest(elf(words, entry=RAM + 4)))
    assert done.returncode == 0, done.stderr
