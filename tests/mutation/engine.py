"""Compile a mutant, link it into a hart of its own, and let the conformance suite run on it."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import mmap
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

from .source import HART, Mutant, Source
from .table import FILE, TableMutant
from .table import text as table_text
from .variants import CHOSEN, DEFINITION, broken, source_text

AnyMutant = Mutant | TableMutant
ROOT = HART.parents[1]
GENERATED = ROOT / "build" / "native"
CASE_LIMIT = 6.0
"""Seconds of computing that one case may take; none needs a twentieth of it."""

BESIDE = tuple(
    f"tests/emulator/test_{area}.py"
    for area in (
        "csr_rules", "counters", "hart_traps", "guest_interrupts", "stateen", "hart_page_features", "hart_translation",
        "hart_extensions", "hart_engine",
    )
)  # fmt: skip
"""Tests that may notice what the conformance suite does not."""

KILLED, SURVIVED, EQUAL, STILLBORN = "killed", "survived", "equal", "stillborn"
"""What became of a mutant. EQUAL: the compiler makes of it what it makes of the original; STILLBORN: it does not
compile."""


@dataclass
class Verdict:
    verdict: str
    killer: str = ""
    """The case that noticed."""
    how: str = ""
    seconds: float = 0.0


def flags() -> list[str]:
    """As the extension module itself is compiled."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        module = tomllib.load(file)["tool"]["setuptools"]["ext-modules"][0]
    include = [f"-I{ROOT / directory}" for directory in module["include-dirs"]]
    return ["-fPIC", *module["extra-compile-args"], *include, f"-I{sysconfig.get_paths()['include']}"]


def sources() -> list[Path]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        module = tomllib.load(file)["tool"]["setuptools"]["ext-modules"][0]
    return [ROOT / source for source in module["sources"]]


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


def compile_file(source: Path, target: Path) -> str:
    """What the compiler complains of; nothing when it compiles."""
    command = [*compiler(), *flags(), "-w", "-fmax-errors=0", "-c", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr or "fails" if done.returncode else ""


def link(objects: Iterable[Path], target: Path) -> None:
    subprocess.run([*compiler(), "-shared", *map(str, objects), "-o", str(target)], capture_output=True, check=True)


def load_native(path: str) -> None:
    """Let `emulator` use this extension module, whatever it uses so far."""
    name = "emulator.hart._native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for user in ("emulator.hart.hart", "emulator.machine"):
        if user in sys.modules:
            vars(sys.modules[user]).update(ffi=module.ffi, lib=module.lib)


class Bench:
    """Where objects of the unchanged files lie, and what one worker builds beside them."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def prepare(self) -> None:
        """Compile every file as it is."""
        assert (GENERATED / "_native.c").exists(), "build the project first: the generated C is missing"
        started = []
        for source in sources():
            # The interpreter is the same in every mutant, and takes half a minute to optimize.
            plain = ["-O0"] if source.name == "interpret.c" else []
            command = [*compiler(), *flags(), *plain, "-w", "-c", str(source), "-o", str(self.object(source.name))]
            started.append(subprocess.Popen(command))
        assert not any(process.wait() for process in started), "the hart does not compile"

    def object(self, name: str) -> Path:
        return self.place / f"{name}.o"

    def build(self, file: str, text: str | None) -> tuple[Path | None, str]:
        """The extension module with `file` changed, and a digest of the changed object. None: it does not compile."""
        own = self.place / f"worker{os.getpid()}"
        own.mkdir(exist_ok=True)
        target = own / "_native.abi3.so"
        changed, digest = self.object(file), ""
        if text is not None:
            source, changed = own / file, own / f"{file}.o"
            source.write_text(text)
            if compile_file(source, changed):
                return None, ""
            digest = hashlib.sha256(changed.read_bytes()).hexdigest()
        link([changed if path.name == file else self.object(path.name) for path in sources()], target)
        return target, digest


@cache
def _source(file: str) -> Source:
    return Source(HART / file)


def mutated(mutant: AnyMutant) -> str:
    if isinstance(mutant, Mutant):
        return _source(mutant.file).changed(mutant)
    if mutant.file == FILE:
        return table_text(mutant)
    later, earlier = mutant.change.split(" before ")
    names = [f"INTERRUPT_{name}" for name in _priorities(later, earlier)]
    return _source(mutant.file).text.replace("{INTERRUPT_PRIORITY}", "{" + ", ".join(names) + "}")


def _priorities(later: str, earlier: str) -> list[str]:
    from emulator.isa.csrs import INTERRUPT_PRIORITY

    swap = {later: earlier, earlier: later}
    return [swap.get(name, name) for name in INTERRUPT_PRIORITY]


# --- in a process that is thrown away ---------------------------------------------------------------------------------


def _ordered(first: Sequence[str], most: int | None) -> list[tuple[str, Callable[[], None]]]:
    """Cases as calls: those named first, then one of each rule, another of each rule, and so on; `most` of a rule."""
    from tests.conformance.suite import rules

    every: list[tuple[int, int, str, Callable[[], None]]] = []
    rank = {name: n for n, name in enumerate(first)}
    for rule in rules():
        apart = -(-len(rule.cases) // most) if most else 1
        for place, (case, arguments) in enumerate(rule.cases.items()):
            name = f"{rule.id}[{case}]"
            if name in rank or not place % apart:
                every.append((rank.get(name, len(rank)), place, name, partial(rule.check, **arguments)))
    every.sort(key=lambda each: each[:2])
    return [each[2:] for each in every]


def _trial(native: str, chosen: int, first: Sequence[str], most: int | None, output: int, progress: mmap.mmap) -> None:
    """Run the suite up to the first case that fails. Never comes back."""
    killer, how = "", ""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        if chosen:
            ctypes.c_int.in_dll(ctypes.CDLL(native), CHOSEN).value = chosen
        else:
            load_native(native)
        for name, call in _ordered(first, most):
            progress[:256] = name.encode()[:256].ljust(256)
            signal.setitimer(signal.ITIMER_PROF, CASE_LIMIT)
            try:
                call()
            except BaseException as error:
                killer, how = name, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200]
                break
    except BaseException as error:
        killer, how = "import", f"{type(error).__name__}: {error}"[:200]
    os.write(output, json.dumps([killer, how]).encode())
    os._exit(0)


def try_native(native: str, first: Sequence[str], most: int | None = None, chosen: int = 0) -> tuple[str, str]:
    """(case that noticed, how), both empty when none did. `chosen`: a mutant of the module that is loaded already."""
    progress = mmap.mmap(-1, 256)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _trial(native, chosen, first, most, writer, progress)
    os.close(writer)
    answer = b""
    ready, _, _ = select.select([reader], [], [], 600)
    if ready:
        answer = os.read(reader, 4096)
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    at = progress[:256].decode(errors="replace").strip()
    if answer:
        killer, how = json.loads(answer)
        return str(killer), str(how)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return at or "import", "hangs" if ended in (0, signal.SIGPROF, signal.SIGKILL) else f"signal {ended}"


def try_tests(native: str) -> tuple[str, str]:
    """The same by the emulator's own tests of these areas."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.mutation.preload",
    ]
    try:
        done = subprocess.run(
            [*command, *BESIDE], cwd=ROOT, env=os.environ | {"MUTATION_NATIVE": native}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "tests/emulator", "hangs"
    failed = [line.split(" ", 2)[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return (failed[0] if failed else "tests/emulator", "fails") if done.returncode else ("", "")


# --- in a worker ----------------------------------------------------------------------------------------------------


def _warm_up(native: str) -> None:
    """Import everything and assemble the usual programs once, before processes fork from this one."""
    load_native(native)
    from tests.conformance.suite import rules

    for rule in rules():
        rule.check(**next(iter(rule.cases.values())))


def _attempt(
    place: str, native: str, number: int, mutant: AnyMutant | None, first: Sequence[str], most: int | None, beside: bool
) -> Verdict:
    """Try mutant `number` of the module `native`, or a mutant of the table, which is compiled by itself."""
    start = time.monotonic()
    bench, digest = Bench(Path(place)), ""
    if isinstance(mutant, TableMutant):
        built, digest = bench.build(mutant.file, mutated(mutant))
        if built is None:
            return Verdict(STILLBORN)
        if digest == (bench.place / f"{mutant.file}.digest").read_text():
            return Verdict(EQUAL)
        killer, how = try_native(str(built), first, most)
    else:
        killer, how = try_native(native, first, most, number)
    if not killer and mutant is not None:
        if not digest:
            built, digest = bench.build(mutant.file, mutated(mutant))
            if digest == (bench.place / f"{mutant.file}.digest").read_text():
                return Verdict(EQUAL, seconds=time.monotonic() - start)
        if beside:
            killer, how = try_tests(str(built))
    return Verdict(KILLED if killer else SURVIVED, killer, how, time.monotonic() - start)


class Killers:
    """Which cases killed mutants of a function: they go first on the next one."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, int]] = {}

    def add(self, file: str, function: str, killer: str) -> None:
        for key in ((file, function), (file, ""), ("", "")):
            counts = self._counts.setdefault(key, {})
            counts[killer] = counts.get(killer, 0) + 1

    def order(self, file: str, function: str) -> list[str]:
        found: dict[str, None] = {}
        for key, most in (((file, function), 40), ((file, ""), 30), (("", ""), 30)):
            counts = self._counts.get(key, {})
            found.update(dict.fromkeys(sorted(counts, key=lambda name: -counts[name])[:most]))
        return list(found)


class Engine:
    """Tries `mutants`, at most `jobs` at a time; of each rule at most `most` cases. `first`: cases to begin with;
    `known`: the case that killed a mutant before, by its file, function and change: it is tried before all others."""

    def __init__(
        self,
        mutants: Sequence[AnyMutant],
        jobs: int = 2,
        *,
        most: int | None = None,
        beside: bool = False,
        first: Sequence[str] = (),
        known: Mapping[tuple[str, str, str], str] | None = None,
    ) -> None:
        self.mutants, self.jobs, self.most, self.beside, self.first = mutants, jobs, most, beside, first
        self.known = known or {}
        self.killers = Killers()
        self.place = Path(tempfile.mkdtemp(prefix="mutation-"))
        self.bench = Bench(self.place)
        self.bench.prepare()
        self.stillborn: set[int] = set()
        for file in {mutant.file for mutant in mutants}:
            text = table_text(None) if file == FILE else _source(file).text
            (self.place / f"{file}.digest").write_text(self.bench.build(file, text)[1])
        self.native = str(self._link())
        self._pool = ProcessPoolExecutor(jobs, get_context("fork"), _warm_up, (self.native,))

    def _link(self) -> Path:
        """The extension module with all mutants of C built in, numbered by their places in `mutants`, from 1."""
        objects = []
        for path in sources():
            inside = [(n, m) for n, m in enumerate(self.mutants, 1) if isinstance(m, Mutant) and m.file == path.name]
            objects.append(self._with_variants(path.name, inside) if inside else self.bench.object(path.name))
        chosen = self.place / "chosen.c"
        chosen.write_text(DEFINITION)
        assert not compile_file(chosen, chosen.with_suffix(".o"))
        target = self.place / "_native.abi3.so"
        link([*objects, chosen.with_suffix(".o")], target)
        return target

    def _with_variants(self, file: str, inside: list[tuple[int, Mutant]]) -> Path:
        source, target = self.place / f"variants_{file}", self.place / f"variants_{file}.o"
        while True:
            inside = [(number, mutant) for number, mutant in inside if number not in self.stillborn]
            source.write_text(source_text(_source(file), inside))
            messages = compile_file(source, target)
            if not messages:
                return target
            dead = broken(messages)
            assert dead, messages
            self.stillborn |= dead

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def _submit(self, number: int, mutant: AnyMutant | None) -> Future[Verdict]:
        first = [*self.killers.order(mutant.file, mutant.function), *self.first] if mutant else []
        if mutant and (killer := self.known.get((mutant.file, mutant.function, mutant.change))):
            first = [killer, *first]
        # The control is chosen too: as a number that no mutant has.
        number = number or len(self.mutants) + 1
        return self._pool.submit(_attempt, str(self.place), self.native, number, mutant, first, self.most, self.beside)

    def control(self) -> Verdict:
        """The hart as it is."""
        return self._submit(0, None).result()

    def run(self) -> Iterable[tuple[AnyMutant, Verdict]]:
        waiting = list(enumerate(self.mutants, 1))[::-1]
        under: dict[Future[Verdict], AnyMutant] = {}
        while waiting or under:
            while waiting and len(under) < self.jobs:
                number, mutant = waiting.pop()
                if number in self.stillborn:
                    yield mutant, Verdict(STILLBORN)
                else:
                    under[self._submit(number, mutant)] = mutant
            for done in wait(under, return_when=FIRST_COMPLETED).done:
                mutant, verdict = under.pop(done), done.result()
                if verdict.verdict == KILLED and not verdict.killer.startswith("tests/"):
                    self.killers.add(mutant.file, mutant.function, verdict.killer)
                yield mutant, verdict
