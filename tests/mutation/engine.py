"""Compile a mutant, link it into a hart of its own, and let the conformance suite run on it."""

from __future__ import annotations

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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

from .source import HART, Mutant, Source
from .table import FILE, TableMutant
from .table import text as table_text

ROOT = HART.parents[1]
GENERATED = ROOT / "build" / "native"
CASE_LIMIT = 2.0
"""Seconds of computing that one case may take; none needs a twentieth of it."""

BESIDE = tuple(
    f"tests/emulator/test_{area}.py"
    for area in (
        "csr_rules", "counters", "hart_traps", "guest_interrupts", "stateen", "hart_page_features", "hart_translation",
        "hart_extensions", "hart_engine",
    )
)  # fmt: skip
"""Tests that may notice what the conformance suite does not."""

KILLED, SURVIVED, EQUAL, SAME, STILLBORN = "killed", "survived", "equal", "same", "stillborn"
"""What became of a mutant. EQUAL: the compiler made what it makes of the original; SAME: what another mutant gave;
STILLBORN: it does not compile."""


@dataclass
class Verdict:
    verdict: str
    killer: str = ""
    """The case that noticed."""
    how: str = ""
    seconds: float = 0.0
    digest: str = ""


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


def compile_file(source: Path, target: Path) -> bool:
    command = [*compiler(), *flags(), "-w", "-DPy_LIMITED_API=0x030b0000", "-c", str(source), "-o", str(target)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


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

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.object(name).read_bytes()).hexdigest()

    def build(self, file: str, text: str | None) -> tuple[Path | None, str]:
        """The extension module with `file` changed, and a digest of the changed object. None: it does not compile."""
        own = self.place / f"worker{os.getpid()}"
        own.mkdir(exist_ok=True)
        target = own / "_native.abi3.so"
        changed, digest = self.object(file), ""
        if text is not None:
            source, changed = own / file, own / f"{file}.o"
            source.write_text(text)
            if not compile_file(source, changed):
                return None, ""
            digest = hashlib.sha256(changed.read_bytes()).hexdigest()
        link([changed if path.name == file else self.object(path.name) for path in sources()], target)
        return target, digest


@cache
def _source(file: str) -> Source:
    return Source(HART / file)


def mutated(mutant: Mutant | TableMutant) -> str:
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


# --- in a process that is thrown away -----------------------------------------------------------------------------------


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


def _trial(native: str, first: Sequence[str], most: int | None, output: int, progress: mmap.mmap) -> None:
    """Run the suite up to the first case that fails. Never comes back."""
    killer, how = "", ""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
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


def try_native(native: str, first: Sequence[str], most: int | None = None) -> tuple[str, str]:
    """(case that noticed, how), both empty when none did."""
    progress = mmap.mmap(-1, 256)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _trial(native, first, most, writer, progress)
    os.close(writer)
    answer = b""
    ready, _, _ = select.select([reader], [], [], 300)
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
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "-p", "tests.mutation.preload"]
    try:
        done = subprocess.run(
            [*command, *BESIDE], cwd=ROOT, env=os.environ | {"MUTATION_NATIVE": native}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "tests/emulator", "hangs"
    failed = [line.split(" ", 2)[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return (failed[0] if failed else "tests/emulator", "fails") if done.returncode else ("", "")


# --- in a worker ------------------------------------------------------------------------------------------------------


def _warm_up(native: str) -> None:
    """Import everything and assemble the usual programs once, before processes fork from this one."""
    load_native(native)
    from tests.conformance.suite import rules

    for rule in rules():
        rule.check(**next(iter(rule.cases.values())))


def _attempt(
    place: str,
    mutant: Mutant | TableMutant | None,
    first: Sequence[str] = (),
    known: frozenset[str] = frozenset(),
    most: int | None = None,
    beside: bool = False,
) -> Verdict:
    start = time.monotonic()
    bench = Bench(Path(place))
    if mutant is None:
        native, digest = bench.build("mmu.c", None)
    else:
        native, digest = bench.build(mutant.file, mutated(mutant))
    if native is None:
        return Verdict(STILLBORN)
    if digest in known:
        return Verdict(SAME, digest=digest)
    killer, how = try_native(str(native), first, most)
    if not killer and beside:
        killer, how = try_tests(str(native))
    return Verdict(KILLED if killer else SURVIVED, killer, how, time.monotonic() - start, digest)


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
    """Tries mutants, at most `jobs` at a time."""

    def __init__(self, jobs: int = 2, *, most: int | None = None, beside: bool = False) -> None:
        self.jobs, self.most, self.beside = jobs, most, beside
        self.killers = Killers()
        self.place = Path(tempfile.mkdtemp(prefix="mutation-"))
        self.bench = Bench(self.place)
        self.bench.prepare()
        original, _ = self.bench.build("mmu.c", None)
        assert original is not None
        self._pool = ProcessPoolExecutor(jobs, get_context("fork"), _warm_up, (str(original),))
        self._digests: dict[str, str] = {}
        """What an object of this digest is: an unchanged file, or a mutant."""
        for path in sources():
            self._digests[self.compiled(path.name)] = EQUAL

    def compiled(self, name: str) -> str:
        """The digest that an unchanged file has where mutants are compiled."""
        source = next(path for path in sources() if path.name == name)
        if name not in {"mmu.c", "system.c", "csr.c", "counters.c", "machine.c", FILE}:
            return self.bench.digest(name)
        text = table_text(None) if name == FILE else source.read_text()
        return self.bench.build(name, text)[1]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def control(self) -> Verdict:
        """The hart as it is."""
        return self._pool.submit(_attempt, str(self.place), None).result()

    def run(self, mutants: Sequence[Mutant | TableMutant]) -> Iterable[tuple[Mutant | TableMutant, Verdict]]:
        waiting = list(reversed(mutants))
        under: dict[Future[Verdict], Mutant | TableMutant] = {}
        while waiting or under:
            while waiting and len(under) < self.jobs:
                mutant = waiting.pop()
                first = self.killers.order(mutant.file, mutant.function)
                known = frozenset(self._digests)
                under[self._pool.submit(_attempt, str(self.place), mutant, first, known, self.most, self.beside)] = mutant
            for done in wait(under, return_when=FIRST_COMPLETED).done:
                mutant, verdict = under.pop(done), done.result()
                if verdict.verdict == SAME and self._digests[verdict.digest] == EQUAL:
                    verdict.verdict = EQUAL
                elif verdict.verdict == SAME:
                    verdict.killer = self._digests[verdict.digest]
                elif verdict.digest:
                    self._digests[verdict.digest] = f"{mutant.function}: {mutant.change}"
                if verdict.verdict == KILLED and not verdict.killer.startswith("tests/"):
                    self.killers.add(mutant.file, mutant.function, verdict.killer)
                yield mutant, verdict
