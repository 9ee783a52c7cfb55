"""Builds the bundled guests from their sources: ``python -m emulator.guests.build [--check] [NAME...]``.

The compiler and linker are Zig's, from PyPI (``pip install ziglang``), because they build for RISC-V wherever Python
runs. The same version gives the same bytes: the files carry no times and no paths but those from the sources' folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
EXTENSIONS = ("m", "a", "c", "zicsr", "zifencei")

_COMPILE = (
    "-target", "riscv64-freestanding-none", "-mabi=lp64", "-mcmodel=medany", "-mno-relax", "-std=gnu11",
    "-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-stack-protector", "-fno-sanitize=all", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-Wall", "-Wextra", "-Werror", "-c",
)  # fmt: skip
_NO_DEBUG, _DEBUG = ("-g0",), ("-g", "-gdwarf-5", "-ffile-compilation-dir=.")
_LINK = ("--nmagic", "--discard-locals", "-z", "noexecstack", "--build-id=none", "--fatal-warnings")


class BuildError(Exception):
    """A tool is missing or failed; the message is for people."""


@dataclass(frozen=True)
class Program:
    """What to compile and link. Sources are relative to the directory that `build` is given."""

    sources: tuple[str, ...]
    script: str = "common/guest.ld"
    extensions: tuple[str, ...] = EXTENSIONS
    optimize: tuple[str, ...] = ("-Os", "-finline-hint-functions")
    """By default small, and only what says `inline` is inlined, so that a monitor finds every function."""
    debug: bool = False
    """With source lines, variables and call frame information, compressed."""
    embeds: tuple[tuple[str, Program], ...] = ()
    """Programs that become flat images, which an assembly source takes in with ``.incbin "name.bin"``."""


_GUEST = ("common/start.S", "common/print.c", "common/console.c")
_TRAPPING = (*_GUEST, "common/trap.S")
_HYPERVISOR = ("start.S", "world_switch.S", "main.c", "exits.c", "gstage.c", "images.S")

PROGRAMS = {
    "hello": Program((*_GUEST, "hello.c"), debug=True),
    "pages": Program((*_TRAPPING, "pages.c"), debug=True),
    "ticker": Program((*_TRAPPING, "ticker.c"), debug=True),
    "exits": Program((*_TRAPPING, "exits.c"), extensions=(*EXTENSIONS, "h"), debug=True),
    "echo": Program((*_GUEST, "echo.c"), debug=True),
    "faulty": Program((*_TRAPPING, "faulty.c"), debug=True),
    "tiny-hypervisor": Program(
        ("common/print.c", *(f"tiny_hypervisor/{source}" for source in _HYPERVISOR)),
        script="tiny_hypervisor/tiny_hypervisor.ld",
        debug=True,
        extensions=(*EXTENSIONS, "h"),
        embeds=(
            ("guest_a", Program((*_TRAPPING, "tiny_hypervisor/guest_a.c"))),
            ("guest_b", Program((*_GUEST, "tiny_hypervisor/guest_b.c"))),
        ),
    ),
}


def _run(tool: str, arguments: Iterable[str | Path], directory: Path, scratch: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("the compiler is missing: pip install ziglang")
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "cache"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", tool, *map(str, arguments)],
        cwd=directory, env=os.environ | caches, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(done.stderr.strip() or f"zig {tool} failed with code {done.returncode}")


def _unnamed() -> str:
    """The compiler's own headers are called the same wherever it is installed."""
    found = importlib.util.find_spec("ziglang")
    return f"-ffile-prefix-map={Path(found.origin).parent if found and found.origin else ''}=/zig"


def build(program: Program, directory: Path, base: int | None = None, *, flat: bool = False) -> bytes:
    """The linked ELF file, or with `flat` its memory image; `base` is where RAM begins, if not at 0x8000_0000.

    `directory` holds the sources. Raises `BuildError` with the compiler's own words.
    """
    with tempfile.TemporaryDirectory(prefix="guest-") as name:
        scratch = Path(name)
        for image, embedded in program.embeds:
            (scratch / f"{image}.bin").write_bytes(build(embedded, directory, flat=True))
        cpu = "-mcpu=generic_rv64" + "".join(f"+{extension}" for extension in program.extensions)
        debug = (*_DEBUG, _unnamed()) if program.debug and not flat else _NO_DEBUG
        objects = []
        for number, source in enumerate(program.sources):
            objects.append(scratch / f"{number}.o")
            _run(
                "cc", [*_COMPILE, *debug, *program.optimize, cpu, "-I", scratch, "-o", objects[-1], source], directory,
                scratch,
            )  # fmt: skip
        placed = [] if base is None else [f"--defsym=ram_base={base:#x}"]
        form = ["--oformat=binary"] if flat else ["--compress-debug-sections=zlib"] if program.debug else []
        output = scratch / "linked"
        _run("ld.lld", [*_LINK, *placed, *form, "-T", program.script, "-o", output, *objects], directory, scratch)
        return output.read_bytes()


def main(
    programs: dict[str, Program], sources: Path, built: Path, command: str, arguments: Sequence[str] | None = None
) -> int:
    """Builds `programs` into the directory `built`, or with ``--check`` compares. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=command, description="Build the programs with Zig's C compiler.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(programs)}")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    parser.add_argument("--base", type=lambda text: int(text, 0), metavar="ADDRESS", help="where RAM begins")
    parser.add_argument("--into", type=Path, default=built, metavar="DIRECTORY", help="where the ELF files go")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in programs:
            parser.error(f"no program is called {name!r}: there are {', '.join(programs)}")

    differing = []
    try:
        for name in options.names or programs:
            elf = build(programs[name], sources, options.base)
            file = options.into / f"{name}.elf"
            if options.check:
                if not file.exists() or file.read_bytes() != elf:
                    differing.append(str(file))
            else:
                options.into.mkdir(parents=True, exist_ok=True)
                file.write_bytes(elf)
                print(f"{file}: {len(elf)} bytes")
    except (BuildError, OSError) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    for path in differing:
        print(f"{path}: differs from what its sources build", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(PROGRAMS, SOURCES, SOURCES / "elf", "python -m emulator.guests.build"))
