"""The command line. Imports what a command needs only when that command runs: `--version` must not wait for Textual."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

from emulator.errors import EmulatorError
from rvtui import colour

if TYPE_CHECKING:
    from rvtui.gdb import Listener
    from rvtui.monitor import Script

USER_ERROR = 2
STOPPED = 3
INTERRUPTED = 130
PIPE_CLOSED = 141

_LATER = {
    "replay": "replaying a recording",
    "compare": "comparing versions of the H extension",
    "lint": "checking an ELF",
    "bench": "the benchmark",
    "lesson": "lessons",
    "serve": "serving over a network",
    "share": "sharing a session",
    "watch": "watching a shared session",
}
_ISA_EXAMPLES = """\
examples:
  rvtui isa                    every extension, and which profiles want it
  rvtui isa RVA23S64           one profile: mandatory, optional, missing
  rvtui isa hlv.w              an instruction: pattern, meaning, chapter
  rvtui isa vsstatus           a CSR: number, privilege, fields, history
  rvtui isa rva22s64,h=on      what harts have under `run --isa rva22s64,h=on`
  rvtui isa diff h0.6 h1.0     what changed between two versions
"""
_LATER_SNAPSHOT = ("list", "tree", "diff", "delete", "prune", "export", "import")
_LATER_OPTIONS = {
    "--h-version": "V",
    "--priv-version": "V",
    "--record": "FILE",
}


_THE_GUEST = ""
"""What --bare stands for where no file follows it: `--bare --headless FILE`."""


class UsageError(EmulatorError):
    """The command line does not make sense."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class _Later(argparse.Action):
    """An option of the design that does nothing yet."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        option = self.option_strings[0]
        raise UsageError(f"{option}: not available yet")


class _Colour(argparse.Action):
    """Holds from here on, wherever on the line it stands."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, value: Any, option: Any = None
    ) -> None:
        colour.choose(value)


def _plain_option(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--plain", action="store_const", const=True,
        help="lines of words instead of a screen, for screen readers and dumb terminals (also RVTUI_PLAIN=1)",
    )  # fmt: skip


def _plainly(options: argparse.Namespace) -> bool:
    """Whether words are wanted instead of panes: said so, or the terminal knows nothing else."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return bool(options.plain) or _plain_always() or (terminal and colour.dumb())


def _plain_always() -> bool:
    return os.environ.get("RVTUI_PLAIN", "0") not in ("", "0")


def _colour_option(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--color", "--colour", action=_Colour, choices=colour.WHEN, default=argparse.SUPPRESS,
        help="colours: auto (default: on terminals that have them, without NO_COLOR), always, or never",
    )  # fmt: skip


class _Version(argparse.Action):
    """Loads the hart only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from emulator.hart import compiler

        print(f"rvtui {version()}, hart compiled by {compiler()}")
        parser.exit()


def size(text: str) -> int:
    """Bytes from 64M, 1G, 512K; a plain number is MiB, as for QEMU's -m."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    digits = text.strip().upper().removesuffix("IB").removesuffix("B")
    shift = 20
    if digits and digits[-1] in units:
        shift = units[digits[-1]]
        digits = digits[:-1]
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 9 or int(digits) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 64M or 1G")
    return int(digits) << shift


def number(text: str) -> int:
    """A whole number from 1, with _ and k, M, G allowed."""
    digits = text.replace("_", "").replace(",", "")
    factor = {"k": 10**3, "M": 10**6, "G": 10**9}.get(digits[-1:], 1)
    if factor > 1:
        digits = digits[:-1]
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 19 or not 0 < int(digits) * factor < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(digits) * factor


def count(most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to {most}")
        return int(text)

    return convert


def power_of_two(most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if text not in {str(1 << bit) for bit in range(most.bit_length())}:
            raise argparse.ArgumentTypeError(f"{text!r}: a power of two from 1 to {most}")
        return int(text)

    return convert


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="rvtui",
        description="A monitor for RISC-V guest virtual machines. Without a command it opens the demonstration.",
        epilog="Exit codes: 0 done; the guest's own; 1 a script's check failed; 2 what the user got wrong;"
        " 3 the guest was stopped.",
        allow_abbrev=False,
    )
    _colour_option(top)
    _look_options(top)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version, and what compiled the hart")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="run guests", allow_abbrev=False, description=(
        "Run each GUEST (an ELF file, a Linux image, or the name of a bundled one) as a VM of the built-in hypervisor,"
        " or firmware and a kernel on the bare machine."
    ))  # fmt: skip
    _machine_options(run)
    run.add_argument("--dump-dtb", metavar="FILE", help="write the machine's device tree to FILE and end")
    run.add_argument(
        "--signature", metavar="FILE", help="when the guest ends: what is from begin_signature to end_signature, in hex"
    )
    run.add_argument(
        "--signature-granularity", type=power_of_two(64), metavar="N", help="bytes in a line of it: 4 (default), 8, 16"
    )
    run.add_argument("--jit", choices=("auto", "on", "off"), default="auto", help="the translator (not available yet)")
    run.add_argument(
        "--paused", action="store_true",
        help="open the application with the machine standing still; without a screen, for --gdb to let it run",
    )  # fmt: skip
    _run_options(run)
    _plain_option(run)
    for option, metavar in _LATER_OPTIONS.items():
        run.add_argument(option, metavar=metavar, action=_Later, help=argparse.SUPPRESS)
    _monitor_options(commands)
    _more_commands(commands)
    return top


def _monitor_options(commands: argparse._SubParsersAction[_Parser]) -> None:
    monitor = commands.add_parser(
        "monitor", help="the line monitor", allow_abbrev=False,
        description="Commands on a machine: on a terminal, from a pipe, from scripts. The same machines as for run.",
        epilog="`rvtui commands` says which commands there are, and what --json prints.",
    )  # fmt: skip
    _script_options(monitor, "carry out COMMAND; in order with -x, then end")
    monitor.add_argument("-i", "--interactive", action="store_true", help="stay after -c and -x")
    monitor.add_argument("--json", action="store_true", help="a line of JSON for each command")
    _plain_option(monitor)
    monitor.add_argument("--snapshot", metavar="FILE", help="the machine that was saved there")
    monitor.add_argument("--instructions", type=number, metavar="N", help="run so many before the first command")
    _machine_options(monitor)
    _source_options(monitor)
    run_only = ("dump_dtb", "signature", "signature_granularity", "profile", "save")
    monitor.set_defaults(jit="auto", headless=False, paused=True, **dict.fromkeys(run_only))
    commands.add_parser(
        "commands", help="the reference of all commands", description="Prints the reference of all commands."
    )
    text = "Prints a page of the manual, or says which there are."
    docs = commands.add_parser("docs", help="pages of the manual", description=text)
    docs.add_argument("page", nargs="?", metavar="PAGE", help="api, commands, scripts, ...")
    config = commands.add_parser(
        "config", help="keys, colours and layouts that count, and where each comes from", allow_abbrev=False,
        description="Prints the settings and keys that count, with where each comes from, as a config file; exit code 2"
        " if something in the file is wrong.",
    )  # fmt: skip
    config.add_argument("--example", action="store_true", help="a config file to begin with: all is commented out")
    _look_options(config, fresh=False)


def _script_options(to: argparse.ArgumentParser, help: str) -> None:
    to.add_argument("-c", dest="scripts", action=_Script, metavar="COMMAND", help=help)
    to.add_argument("-x", dest="scripts", action=_Script, metavar="FILE", help="the commands in FILE, or -")


class _Script(argparse.Action):
    """-c and -x in the order in which they stand."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, value: Any, option: Any = None
    ) -> None:
        options.scripts = [*(options.scripts or ()), (option, value)]


def _machine_options(run: argparse.ArgumentParser) -> None:
    """What machine there is to be."""
    _colour_option(run)
    run.add_argument(
        "guests", nargs="*", metavar="GUEST", help="ELF file, Linux image, or a bundled guest: hello, pages, ..."
    )
    run.add_argument(
        "--bare",
        nargs="?",
        const=_THE_GUEST,
        metavar="FIRMWARE",
        help="boot FIRMWARE, or GUEST (ELF, kernel or raw image), in M-mode, no hypervisor of ours",
    )
    run.add_argument(
        "--kernel", metavar="FILE",
        help="what firmware starts in S-mode: Linux image (gzipped too), ELF or raw; our own firmware if there is none",
    )
    run.add_argument(
        "--image", metavar="NAME", help="the bare machine with kernel, initrd and command line of a cached image"
    )
    run.add_argument("--initrd", metavar="FILE", help="the kernel's initramfs")
    run.add_argument("--append", metavar="TEXT", help="the kernel's command line")
    run.add_argument(
        "--memory", "-m", type=size, metavar="SIZE",
        help="RAM of the bare machine (else 2G, of which only what is used costs), or of each VM (else 32M)",
    )
    run.add_argument("--harts", type=count(64), metavar="N", help="harts of the bare machine")
    run.add_argument("--vcpus", type=count(64), metavar="N", help="virtual CPUs of each VM")
    run.add_argument("--dtb", metavar="FILE", help="the device tree to hand to the firmware instead of our own")
    run.add_argument(
        "--drive", action="append", metavar="F[,ro|,rw][,vm=N]",
        help="a disk; changes to F stay in memory, unless ,rw lets them into the file; of all VMs, or of guest N",
    )  # fmt: skip
    run.add_argument(
        "--flash", "--pflash", action="append", metavar="F[,ro|,rw]",
        help="a bank of the bare machine's flash, where firmware goes on in S-mode: UEFI; twice for code and variables;"
        " changes to F stay in memory, unless ,rw lets them into the file",
    )  # fmt: skip
    run.add_argument(
        "--fw-cfg", action="append", metavar="NAME=FILE", help="a file that the bare machine's firmware finds in fw_cfg"
    )
    run.add_argument(
        "--network", choices=("hub", "off"), default="hub",
        help="hub (default): a network card for the machine, or each VM, on one hub with a small host at 10.0.2.2",
    )  # fmt: skip
    run.add_argument(
        "--share", action="append", metavar="DIR[,rw][,tag=NAME]",
        help="a folder that guests may mount (mount -t 9p share /mnt); read-only, unless ,rw",
    )  # fmt: skip
    run.add_argument(
        "--no-reboot", action="store_const", const=True,
        help="a bare machine that asks for a reset ends; else it boots again",
    )  # fmt: skip
    run.add_argument(
        "--isa", metavar="NAME", default="max",
        help="what the harts implement: rv64gch, rva22s64 and so on, max (the default), then changes: ,sstc=off,zba=on",
    )


def _more_commands(commands: argparse._SubParsersAction[_Parser]) -> None:
    snapshot = commands.add_parser("snapshot", help="saved machines", allow_abbrev=False, description="Saved machines.")
    parts = snapshot.add_subparsers(dest="part", metavar="ACTION", parser_class=_Parser)
    for name, text in (("info", "what a snapshot says of itself"), ("verify", "check every byte of it")):
        part = parts.add_parser(name, help=text, description=text, allow_abbrev=False)
        part.add_argument("file", metavar="FILE")
    restore = parts.add_parser(
        "restore", help="go on from a snapshot", description="Go on from a snapshot.", allow_abbrev=False
    )
    restore.add_argument("file", metavar="FILE")
    _colour_option(restore)
    restore.add_argument("--run", action="store_true", help="in the application: run at once")
    _run_options(restore)
    _plain_option(restore)
    save = parts.add_parser("save", help="run guests without a screen, then save", allow_abbrev=False)
    save.add_argument("file", metavar="FILE")
    save.add_argument("guests", nargs="+", metavar="GUEST")
    save.add_argument("--instructions", type=number, metavar="N", required=True, help="how many to run before")
    isa = commands.add_parser(
        "isa", help="what the harts implement", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_ISA_EXAMPLES,
        description="What the harts implement, by profile; or one extension, instruction or CSR.",
    )  # fmt: skip
    isa.add_argument(
        "names", nargs="*", metavar="NAME",
        help="V, sh1add.uw, hstatus, 0x600, RVA23S64; a set as for run --isa; or diff A B",
    )  # fmt: skip
    _colour_option(isa)
    isa.add_argument("--json", action="store_true", help="one JSON object; what is in it: pydoc rvtui.isa")
    for name in _LATER_SNAPSHOT:
        later = parts.add_parser(name, help="not available yet", add_help=False)
        later.add_argument("rest", nargs=argparse.REMAINDER)
    conformance = commands.add_parser(
        "conformance",
        help="the rules of the H extension that this hart keeps",
        allow_abbrev=False,
        description="Every rule of the conformance suite, by section of the manual, and whether the hart keeps it.",
    )
    conformance.add_argument("words", nargs="*", metavar="WORD", help="only rules with this in id, sentence or section")
    conformance.add_argument("--rows", action="store_true", help="what implementations got wrong, and the rules for it")
    conformance.add_argument("--json", action="store_true", help="the data, for programs")
    from rvtui.images import arguments as images

    text = "kernels with KVM, made of Debian's packages"
    ready = commands.add_parser("images", help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    images.arguments(ready.add_subparsers(dest="part", metavar="ACTION", parser_class=_Parser))
    for name, text in _LATER.items():
        later = commands.add_parser(name, help=f"{text} (not available yet)", add_help=False)
        later.add_argument("rest", nargs=argparse.REMAINDER)


def _look_options(to: argparse.ArgumentParser, *, fresh: bool = True) -> None:
    """Of the application; they may stand before and behind the command."""
    to.add_argument(
        "--config", metavar="FILE", default=argparse.SUPPRESS,
        help="keys, colours, layouts; else ~/.config/rvtui/config.toml (rvtui config --example)",
    )  # fmt: skip
    if fresh:
        to.add_argument(
            "--fresh", action="store_true", default=argparse.SUPPRESS,
            help="without the stops, layout and choices that are kept of this program, which stay as they are",
        )  # fmt: skip


def _run_options(to: argparse.ArgumentParser) -> None:
    _look_options(to)
    to.add_argument("--headless", action="store_true", help="no screen: consoles go to standard output")
    _script_options(to, "with --headless: carry out COMMAND; these and -x in order drive the machine, then it ends")
    to.add_argument(
        "--json", action="store_true", help="with --headless: a line of JSON for each command; without any, for run"
    )
    to.add_argument("--instructions", type=number, metavar="N", help="stop after N instructions")
    to.add_argument("--save", metavar="FILE", help="with --headless: save the machine where it stopped")
    to.add_argument(
        "--profile", metavar="FILE",
        help="where instructions and time went: FILE.json, FILE.folded (for flame graphs), any other or - for a table",
    )  # fmt: skip
    to.add_argument(
        "--gdb", metavar="[HOST:]PORT", help="serve GDB there (target remote :PORT); without HOST on this computer only"
    )
    _source_options(to)


def _source_options(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--symbols", metavar="F[,F]", action="append",
        help="more names of addresses, and source lines: ELF files or System.maps; for one VM alone: F,vm=2",
    )  # fmt: skip
    to.add_argument(
        "--source-path", metavar="DIR", action="append",
        help="where sources are; FROM=TO: where those are now that were compiled in FROM",
    )  # fmt: skip


def version() -> str:
    try:
        return metadata.version("rvtui")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code. What the user got wrong is one line on standard error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except EmulatorError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except MemoryError:
        return _complain("not enough memory for this machine; use a smaller --memory")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else "standard output: " if error.errno == errno.ENOSPC else ""
        return _complain(f"{where}{error.strerror or error}")


def _complain(text: str) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(f"rvtui: {' '.join(text.split())}", file=sys.stderr, flush=True)
    _drop_output()
    return USER_ERROR


def _drop_output() -> None:
    """Nobody reads our output any more: keep the interpreter's last flush from complaining."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(null, stream.fileno())


def _main(arguments: list[str]) -> int:
    if arguments and arguments[0] in _LATER:
        return _complain(f"{arguments[0]}: not available yet")
    colour.choose("auto")
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:  # --help and --version
        sys.stdout.flush()
        return int(end.code or 0)
    match options.command:
        case None:
            return _demonstration(options)
        case "run":
            return _run(options)
        case "monitor":
            return _monitor(options)
        case "commands":
            from rvtui.commands import reference

            print(reference.markdown(), end="")
            return 0
        case "docs":
            return _docs(options.page)
        case "config":
            return _config(options)
        case "snapshot":
            return _snapshot(options)
        case "isa":
            from rvtui import isa

            return isa.main(options.names, as_json=options.json)
        case "conformance":
            return _conformance(options)
        case "images":
            from rvtui.images import command

            return command.main(options)
    raise AssertionError(options.command)


def _demonstration(options: argparse.Namespace) -> int:
    plain = _plainly(argparse.Namespace(plain=False))
    if not plain:
        _need_terminal()
    from rvtui import machines

    machine = machines.with_guests(["echo", "ticker"])
    return _told(machine, start=True) if plain else _open(machine, options, "demonstration")


def _told(machine: object, *, start: bool, path: str = "", folders: Sequence[str] = ()) -> int:
    """Lines instead of panes."""
    from rvtui import monitor

    return monitor.run(machine, plain=True, start=start, path=path, folders=folders)  # type: ignore[arg-type]


def _config(options: argparse.Namespace) -> int:
    from rvtui import configuration

    if options.example:
        print("\n".join(configuration.example()))
        return 0
    settings = configuration.load(getattr(options, "config", None))
    if settings.file is not None:
        print(f"# {settings.file}" + ("" if settings.file.exists() else ", which is not there: all is as it comes"))
    print("\n".join(configuration.effective(settings)))
    if settings.problems:
        print("\n".join(f"# wrong: {problem}" for problem in settings.problems))
        raise UsageError(settings.told)
    return 0


def _run(options: argparse.Namespace) -> int:
    from rvtui import machines

    if options.signature is not None and not options.headless:
        raise UsageError("--signature needs --headless: it is written when the guest ends")
    if options.signature_granularity is not None and options.signature is None:
        raise UsageError("--signature-granularity needs --signature")
    if options.headless and options.plain:
        raise UsageError("--headless prints plainly already: without --plain")
    if options.jit == "on":
        raise UsageError("--jit on: not available yet")
    if options.image is not None:
        _take_image(options)
    if options.bare is not None:
        if options.bare is _THE_GUEST:
            options.bare = options.guests.pop(0) if options.guests else ""
        if not (options.bare or options.kernel or options.flash) and options.dump_dtb is None:
            bundled = machines.bundled(bare=True)
            raise UsageError(f"--bare: name a firmware, or the bundled {bundled}, or a --kernel, or --flash")
        if options.guests:
            raise UsageError(f"--bare boots one firmware: what is {options.guests[0]!r} for?")
        if options.vcpus is not None:
            raise UsageError("--vcpus is for VMs; the bare machine has --harts")
        for option in ("--initrd", "--append"):
            if options.kernel is None and getattr(options, option[2:]) is not None:
                raise UsageError(f"{option} is for a kernel: name it with --kernel")
        machine, tree, image = machines.bare(
            options.bare or None, memory=options.memory or 2 << 30, harts=options.harts or 1, dtb=options.dtb,
            kernel=options.kernel, initrd=options.initrd, append=options.append or "", drives=options.drive or (),
            network=options.network == "hub", shares=options.share or (), reboot=not options.no_reboot,
            isa=options.isa, flash=options.flash or (), fw_cfg=options.fw_cfg or (),
        )  # fmt: skip
        title = options.bare or options.image or options.kernel or (options.flash or ["nothing"])[0]
        if options.dump_dtb is not None:
            machines.write_file(options.dump_dtb, tree)
            return 0
        if options.signature is not None:
            from rvtui.signature import WORD, Signature

            width = options.signature_granularity or WORD
            if image is None:
                raise UsageError("--signature needs a program to run")
            options.signature = Signature.of(options.signature, image, machine.memory, width)
    else:
        bare = "--harts --dtb --dump-dtb --signature --kernel --no-reboot --flash --fw-cfg"
        for option in bare.split():
            value = getattr(options, option[2:].replace("-", "_"))
            if value is not None:
                raise UsageError(f"{option} is for the bare machine: use it with --bare")
        if not options.guests:
            raise UsageError(f"nothing to run: name an ELF file or a bundled guest ({machines.bundled()})")
        machine = machines.with_guests(
            options.guests, memory=options.memory or machines.VM_MEMORY, vcpus=options.vcpus or 1,
            initrd=options.initrd, append=options.append or "", drives=options.drive or (),
            shares=options.share or (), network=options.network == "hub", isa=options.isa,
        )  # fmt: skip
        title = " ".join(options.guests)
    return _go(machine, options, title, start=not options.paused)


def _monitor(options: argparse.Namespace) -> int:
    if options.snapshot is None:
        return _run(options)
    for option in ("guests", "bare", "kernel", "image"):
        if getattr(options, option):
            raise UsageError("--snapshot is the whole machine: leave out what else to run")
    import snapshots
    from rvtui import machines

    machine = snapshots.load(options.snapshot)
    machines.add_symbols(machine, options.symbols or ())
    return _prompted(machine, options, path=options.snapshot)


def _prompted(machine: object, options: argparse.Namespace, path: str = "") -> int:
    """The line monitor on a machine."""
    from rvtui import headless, monitor

    scripts = _scripts(options)
    if options.plain and options.json:
        raise UsageError("--plain is for people, --json for programs: one of them")
    plain = not options.json and (bool(options.plain) or _plain_always())
    if options.instructions is not None:
        headless.advance(machine, options.instructions)  # type: ignore[arg-type]
    return monitor.run(
        machine, scripts, as_json=options.json, interactive=options.interactive, path=path,  # type: ignore[arg-type]
        folders=options.source_path or (), plain=plain,
    )  # fmt: skip


def _scripts(options: argparse.Namespace) -> list[Script]:
    """What -c and -x say."""
    from rvtui import monitor
    from rvtui.monitor.script import of_command

    given = options.scripts or ()
    return [of_command(text) if option == "-c" else monitor.read_script(text) for option, text in given]


def _go(machine: object, options: argparse.Namespace, title: str, *, start: bool, path: str = "") -> int:
    """On the screen or without, profiled if asked for."""
    from rvtui import machines

    symbols = machines.add_symbols(machine, options.symbols or ())  # type: ignore[arg-type]
    if options.command == "monitor":
        return _prompted(machine, options)
    from rvtui.profile import profiling

    for option in ("-c and -x", "--json"):
        if (options.json if option == "--json" else options.scripts) and not options.headless:
            raise UsageError(f"{option}: with --headless; `rvtui monitor` takes scripts too")
    gdb = None
    if options.gdb is not None:
        if options.scripts or options.json:
            raise UsageError("--gdb: a debugger or a script drives the machine, not both")
        from rvtui.gdb import Listener

        gdb = Listener(options.gdb)
    with profiling(machine, options.profile, symbols):  # type: ignore[arg-type]
        if options.headless:
            return _headless(machine, options, gdb, start=start)
        return _open_after(machine, options, title, gdb, start=start, path=path)


def _take_image(options: argparse.Namespace) -> None:
    """`--image NAME` stands for `--bare --kernel F --initrd F --append TEXT`; what is given besides comes on top."""
    from rvtui.images.cache import Cache

    if options.kernel is not None:
        raise UsageError("--image brings its kernel: leave out --kernel, or take single files (rvtui images path)")
    cache = Cache()
    image = cache.need(options.image)
    files = {kind: str(cache.files / kept.file) for kind, kept in image.files.items()}
    options.kernel = files["kernel"]
    options.initrd = options.initrd or files.get("initrd")
    options.append = " ".join(filter(None, (image.append, options.append)))
    if options.bare is None:
        options.bare = ""


def _open_after(
    machine: object, options: argparse.Namespace, title: str, gdb: Listener | None, *, start: bool, path: str = ""
) -> int:
    if options.save is not None:
        raise UsageError("--save needs --headless; in the application S saves")
    plain = _plainly(options)
    if plain and gdb is not None:
        raise UsageError("--gdb needs --headless, or the panes: not --plain")
    if not plain:
        _need_terminal()
    if options.instructions is not None:
        from rvtui import headless

        headless.advance(machine, options.instructions)  # type: ignore[arg-type]
        start = False
    folders = options.source_path or ()
    if plain:
        return _told(machine, start=start, path=path, folders=folders)
    return _open(machine, options, title, gdb, start=start, path=path, folders=folders)


def _headless(machine: object, options: argparse.Namespace, gdb: Listener | None, *, start: bool) -> int:
    from rvtui import headless, machines

    if options.save is not None:
        machines.check_writable(options.save)
    signature = getattr(options, "signature", None)
    if options.scripts or options.json:
        return headless.scripted(
            machine, _scripts(options), as_json=options.json, limit=options.instructions, save=options.save,  # type: ignore[arg-type]
            signature=signature,
        )  # fmt: skip
    return headless.run(
        machine, limit=options.instructions, save=options.save, signature=signature, gdb=gdb, start=start  # type: ignore[arg-type]
    )  # fmt: skip


def _snapshot(options: argparse.Namespace) -> int:
    match options.part:
        case None:
            raise UsageError("snapshot: one of info, verify, restore, save (see rvtui snapshot --help)")
        case "info" | "verify":
            import snapshots
            from rvtui import headless

            found = snapshots.info(options.file) if options.part == "info" else snapshots.verify(options.file)
            headless.print_info(options.file, found, verified=options.part == "verify")
            return 0
        case "restore":
            import snapshots

            if not options.headless:
                if options.save is not None:
                    raise UsageError("--save needs --headless; in the application S saves")
                if not _plainly(options):
                    _need_terminal()
            machine = snapshots.load(options.file)
            return _go(machine, options, options.file, start=options.run, path=options.file)
        case "save":
            from rvtui import headless, machines

            machines.check_writable(options.file)
            machine = machines.with_guests(options.guests)
            return headless.run(machine, limit=options.instructions, save=options.file)
        case later:
            return _complain(f"snapshot {later}: not available yet")


def _docs(wanted: str | None) -> int:
    """A page of rvtui/docs, as it stands there; on a terminal laid out."""
    from importlib.resources import files

    folder = files("rvtui") / "docs"
    pages = {entry.name.removesuffix(".md"): entry for entry in folder.iterdir() if entry.name.endswith(".md")}
    titles = {name: entry.read_text("utf-8").partition("\n")[0].lstrip("# ") for name, entry in pages.items()}
    titles |= {"fidelity": "What of the H extension the hart keeps (rvtui conformance)",
               "schema": "What --json prints, as JSON Schema"}  # fmt: skip
    if wanted is None:
        for name in sorted(titles):
            print(f"{name:<9} {titles[name]}")
        return 0
    matches = [name for name in sorted(titles) if name.startswith(wanted)]
    if wanted not in titles and len(matches) != 1:
        raise UsageError(f"no page {wanted!r}: there is {', '.join(sorted(titles))}")
    name = wanted if wanted in titles else matches[0]
    if name == "fidelity":
        from rvtui import conformance

        conformance.show([], rows=False, as_json=False)
    elif name == "schema":
        print((folder / "commands.schema.json").read_text("utf-8"), end="")
    else:
        text = pages[name].read_text("utf-8")
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.markdown import Markdown

            Console().print(Markdown(text))
        else:
            print(text, end="")
    return 0


def _conformance(options: argparse.Namespace) -> int:
    from rvtui import conformance

    if options.rows and (options.words or options.json):
        raise UsageError("--rows lists all rows: it goes with neither WORD nor --json")
    conformance.show(options.words, rows=options.rows, as_json=options.json)
    return 0


def _need_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the application needs a terminal: use --headless to run without one")


def _open(
    machine: object, options: argparse.Namespace, title: str, gdb: Listener | None = None, *, start: bool = True,
    path: str = "", folders: Sequence[str] = (),
) -> int:  # fmt: skip
    from rvtui import application, configuration

    settings = configuration.load(getattr(options, "config", None))

    # The application handles the terminal's own signals; a lost terminal ends it as a closed pipe would.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return application.run(
        machine, title=title, path=path, start=start, gdb=gdb, folders=folders,  # type: ignore[arg-type]
        settings=settings, fresh=getattr(options, "fresh", False),
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
