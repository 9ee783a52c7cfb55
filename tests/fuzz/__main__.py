"""Build the native hart with sanitizers and let `fuzz_hart.c` at it.

    python -m tests.fuzz --seconds 300                  both variants, half of the time each
    python -m tests.fuzz --variant small --seed 17 --count 1 --verbose

Variant `small` has tiny tables for decoded code, lookasides and contexts, so that they overflow all the time; `real` is
the hart as it is. `--checks none` needs no sanitizers: what the fuzzer itself looks at remains, at full speed.
Programs are kept in build/fuzz, and made again when their sources change.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from emulator.hart.generate import generate
from emulator.isa import ISA, csrs
from emulator.isa.csrs import Csr, Field, Kind
from emulator.isa.description import Compressed, Instruction

ROOT = Path(__file__).resolve().parents[2]
HART = ROOT / "emulator" / "hart"
HARNESS = Path(__file__).with_name("fuzz_hart.c")
BUILD = ROOT / "build" / "fuzz"
BASE = ("-std=c11", "-O1", "-g", "-fno-strict-aliasing")
CHECKS: dict[str, tuple[str, ...]] = {
    "full": ("-fsanitize=address,undefined", "-fno-sanitize-recover"),
    # The interpreter under all checks takes a minute to compile. These are the ones that the address sanitizer lacks.
    "quick": (
        "-fsanitize=address,shift,signed-integer-overflow,integer-divide-by-zero,bounds,bool,enum",
        "-fno-sanitize-recover",
    ),
    "none": (),
}
VARIANTS: dict[str, dict[str, str]] = {
    "real": {},
    "small": {"JUMPS": "16", "ARENA_UNITS": "1 << 12", "CODE_PAGES": "12", "TLB_SIZE": "8", "CONTEXTS": "16"},
}
SETTINGS = {
    "ASAN_OPTIONS": "quarantine_size_mb=32:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


class BuildError(Exception):
    """What cannot be built, and why, in one line."""


# --- what the harness knows of the instruction set ------------------------------------------------------------------


def _encodings() -> Iterator[str]:
    forms: list[Instruction | Compressed] = [*ISA.instructions.values(), *ISA.compressed.values()]
    for form in forms:
        common = int(isinstance(form, Instruction) and form.common)
        yield f"{{{form.layout.match:#x}u, {form.layout.mask:#x}u, {form.layout.length}, {common}}}"


def _bitmap(values: tuple[int, ...]) -> str:
    return f"{sum(1 << value for value in values):#x}u"


def _checked_fields() -> Iterator[str]:
    for csr in csrs.CSRS:
        for field in csr.fields:
            if field.kind is Kind.FIXED:
                yield f"{{{csr.number:#x}, {field.low}, {field.width}, 1, {field.value:#x}u}}"
            elif field.kind is Kind.LEGAL:
                yield f"{{{csr.number:#x}, {field.low}, {field.width}, 0, {_bitmap(field.legal)}}}"


def _stored_field(csr: Csr, field: Field) -> str:
    member = next(member for member in csrs.STORAGE if member.name == csr.storage)
    size = 1 if member.type == "uint8_t" else 8
    index = (csr.slot or 0) + field.low // (8 * size)
    place = f"offsetof(csr_state, {member.name}) + {index * size}"
    translation = int(csr.name in ("satp", "vsatp", "hgatp"))
    legal = _bitmap(field.legal) if field.kind is Kind.LEGAL else "0"
    return f"{{{place}, {size}, {field.low % (8 * size)}, {field.width}, {field.align}, {translation}, {legal}}}"


def _stored_fields() -> Iterator[str]:
    for csr in csrs.CSRS:
        if csr.storage is not None:
            yield from (_stored_field(csr, field) for field in csr.fields if field.kind in (Kind.RW, Kind.LEGAL))


def tables_h() -> str:
    """The header `fuzz_tables.h`: instruction encodings, and what values CSRs may have."""
    parts = ["#include <stddef.h>", "#include <stdint.h>", '#include "csr_state.h"']
    for name, members, rows in (
        ("encoding", "uint32_t match, mask, length, common;", _encodings()),
        ("csr_rule", "uint32_t number; uint64_t mask;", (f"{{{c.number:#x}, {c.mask:#x}u}}" for c in csrs.CSRS)),
        ("csr_field", "uint32_t number; uint8_t low, width, fixed; uint64_t value;", _checked_fields()),
        (
            "stored_field",
            "uint32_t offset; uint8_t bytes, low, width, align, translation; uint64_t legal;",
            _stored_fields(),
        ),
    ):  # fmt: skip
        parts.append(f"typedef struct {name} {{ {members} }} {name};")
        parts.append(f"static const {name} {name}s[] = {{\n    " + ",\n    ".join(rows) + "\n};")
    return "\n".join(parts) + "\n"


# --- building ---------------------------------------------------------------------------------------------------------


def compiler() -> list[str]:
    """The command of a C compiler: $CC, or cc. BuildError where there is none."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if not command or shutil.which(command[0]) is None:
        raise BuildError(f"no C compiler `{' '.join(command)}`: install one, or name one in CC")
    return command


def check_sanitizers(command: list[str], flags: tuple[str, ...], directory: Path) -> None:
    """BuildError where the compiler cannot make programs with the sanitizers in `flags`."""
    source, program = directory / "probe.c", directory / "probe"
    source.write_text("int main(void) { return 0; }\n")
    made = subprocess.run([*command, *BASE, *flags, source, "-o", program], capture_output=True, text=True, check=False)
    if made.returncode or subprocess.run([program], capture_output=True, check=False).returncode:
        reason = (made.stderr.strip().splitlines() or ["its programs do not run"])[-1]
        raise BuildError(f"`{' '.join(command)}` has no sanitizers ({reason}): use another CC, or --checks none")


def prepare(variant: str, directory: Path) -> list[Path]:
    """Lay out all sources of a variant in one directory; returns those to compile."""
    generate(directory)
    found = dict.fromkeys(VARIANTS[variant], 0)
    for path in (*HART.glob("*.c"), *HART.glob("*.h")):
        text = path.read_text()
        if path.name in ("internal.h", "state.h"):
            for name, value in VARIANTS[variant].items():
                text, count = re.subn(rf"\b{name} = [^,}}]+", f"{name} = {value} ", text)
                found[name] += count
        (directory / path.name).write_text(text)
    for name, count in found.items():
        if count != 1:
            raise BuildError(f"{name} is not there to be made small; adapt VARIANTS in {__file__}")
    (directory / "fuzz_tables.h").write_text(tables_h())
    shutil.copyfile(HARNESS, directory / HARNESS.name)
    return sorted(path for path in directory.glob("*.c") if path.name != "probe.c")


def build(variant: str, checks: str = "full", directory: Path | None = None) -> Path:
    """The fuzzer of a variant, as a program. BuildError where it cannot be made."""
    command = compiler()
    directory = directory or BUILD / f"{variant}-{checks}"
    directory.mkdir(parents=True, exist_ok=True)
    check_sanitizers(command, CHECKS[checks], directory)
    sources = prepare(variant, directory)
    flags = [*command, *BASE, *CHECKS[checks]]
    shared = [*sorted(directory.glob("*.h")), *sorted(directory.glob("*.inc"))]
    common = " ".join(flags) + "".join(path.read_text() for path in shared)
    jobs: list[tuple[Path, Path, subprocess.Popen[str]]] = []
    objects = []
    for source in sources:
        digest = hashlib.sha256((common + source.read_text()).encode()).hexdigest()[:16]
        target = directory / f"{source.stem}-{digest}.o"
        objects.append(target)
        if not target.exists():
            for old in directory.glob(f"{source.stem}-*.o"):
                old.unlink(missing_ok=True)
            part = target.with_suffix(f".{os.getpid()}")
            arguments = [*flags, "-I", str(directory), "-c", str(source), "-o", str(part)]
            jobs.append((part, target, subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)))
    failed = ""
    for part, target, process in jobs:
        _, errors = process.communicate()
        if process.returncode:
            failed = f"{target.name} cannot be compiled:\n{errors}"
        else:
            part.rename(target)
    if failed:
        raise BuildError(failed)
    together = hashlib.sha256(" ".join(path.name for path in objects).encode()).hexdigest()[:16]
    program = directory / f"fuzz_hart-{together}"
    if not program.exists():
        part = program.with_suffix(f".{os.getpid()}")
        made = subprocess.run([*flags, *objects, "-o", part, "-lm"], capture_output=True, text=True, check=False)
        if made.returncode:
            raise BuildError(f"the fuzzer does not link:\n{made.stderr}")
        for old in directory.glob("fuzz_hart-*"):
            if old.suffix == "" and old != program:
                old.unlink(missing_ok=True)
        part.rename(program)
    return program


# --- running ---


def run(
    program: Path, seed: int, count: int, seconds: int, *options: str, stdout: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Cases from `seed` on, until `count` are done or `seconds` have passed. `stdout` as for subprocess.run."""
    command = [str(program), str(seed), str(count), str(seconds), *options]
    environment = os.environ | SETTINGS
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def fuzz(variant: str, checks: str, seed: int, count: int, seconds: int, verbose: bool) -> bool:
    """Build and run one variant, its output going to ours; did it pass?"""
    program = build(variant, checks)
    print(f"variant {variant}, checks {checks}, from seed {seed}", flush=True)
    done = run(program, seed, count, seconds, *(["v"] if verbose else []))
    sys.stderr.write(done.stderr)
    if done.returncode == 0:
        return True
    failed = re.search(r"fuzz: failed at seed (\d+)", done.stderr)
    if failed:
        again = f"--variant {variant} --checks {checks} --seed {failed[1]} --count 1 --verbose"
        print(f"FAILED: to see it again: python -m tests.fuzz {again}", flush=True)
    else:
        print(f"FAILED: ended with status {done.returncode} at an unknown seed: run with --verbose", flush=True)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the native hart under sanitizers.")
    parser.add_argument("--seconds", type=int, default=300, help="stop after so long, both variants together")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--count", type=int, default=1 << 62, help="at most so many cases of each variant")
    parser.add_argument("--variant", choices=VARIANTS, help="one variant only")
    parser.add_argument("--checks", choices=CHECKS, default="full", help="which sanitizers; quick compiles in seconds")
    parser.add_argument("--verbose", action="store_true", help="tell what each case does")
    given = parser.parse_args()
    chosen = [given.variant] if given.variant else list(VARIANTS)
    try:
        results = [
            fuzz(variant, given.checks, given.seed, given.count, given.seconds // len(chosen), given.verbose)
            for variant in chosen
        ]
    except BuildError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 2
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
