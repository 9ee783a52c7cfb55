"""The system's package client, apt, with folders of its own: no root, nothing of the system's is touched.

apt resumes broken downloads and checks every package against Debian's signed lists. Sources: apt.conf(5),
sources.list(5), apt-get(8), and "progress reporting" of apt's own documentation for the status descriptor.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rvtui.images import ImageError
from rvtui.images.recipes import ARCHITECTURE, SUITE
from rvtui.text import clean

MIRROR: Final = "http://deb.debian.org/debian"
KEYRINGS: Final = tuple(
    Path(f"/usr/share/keyrings/debian-archive-keyring.{ending}") for ending in ("gpg", "pgp", "asc")
)
_CONFIGURATION: Final = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Get::Assume-Yes "true";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Dir::State "{folder}";
Dir::State::lists "lists/";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
Dir::Cache::archives "archives/";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""
_URI: Final = re.compile(r"'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})")
_STATUS: Final = re.compile(rb"(?:dl|pm)status:[^:]*:([0-9.]+):")
_OUTPUT_LIMIT: Final = 16 << 20
PATIENCE: Final = 5
"""Seconds that apt has to end when asked to."""
Progress = Callable[[str, float], None]
"""Is told what goes on, and how much of it is done, 0 to 1."""


class Package(NamedTuple):
    name: str
    version: str
    section: str
    depends: tuple[str, ...]
    """The first of each alternative."""


class Archive(NamedTuple):
    """A package's file as it is downloaded; `size` in bytes, `sha256` as the signed list says."""

    file: str
    size: int
    sha256: str
    package: Package


class Apt:
    """`folder` is its own. Raises ImageError where the system has no apt or no key of Debian's."""

    def __init__(self, folder: Path, mirror: str | None, progress: Progress) -> None:
        self.folder, self._progress = folder, progress
        tools = {name: shutil.which(name) for name in ("apt-get", "apt-cache")}
        if None in tools.values():
            raise ImageError(
                "images are made of Debian's packages by apt-get, which this system does not have: get them on Debian"
                " or Ubuntu, or in a container, and copy the cache (rvtui images list names it) here"
            )
        self._tools = {name: str(path) for name, path in tools.items()}
        keyring = next((path for path in KEYRINGS if path.exists()), None)
        if keyring is None:
            raise ImageError(f"Debian's keys ({KEYRINGS[0]}) are missing: apt install debian-archive-keyring")
        if not str(folder).isprintable() or '"' in str(folder):
            raise ImageError(f"apt cannot work in {str(folder)!r}: set XDG_CACHE_HOME to a plainer path")
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        text = _CONFIGURATION.format(folder=folder, architecture=ARCHITECTURE)
        if os.geteuid() == 0:  # apt's own user may not enter a home
            text += 'APT::Sandbox::User "root";\n'
        (folder / "apt.conf").write_text(text)
        self.mirror = mirror or self._system_mirror()
        if not re.fullmatch(r"(https?|file|copy):[!-~]+", self.mirror) or set(self.mirror) & set("[]\"'"):
            raise ImageError(f"--mirror {clean(self.mirror)}: write it as {MIRROR}")
        options = f"arch={ARCHITECTURE} lang=none target=Packages signed-by={keyring}"
        (folder / "sources.list").write_text(f"deb [{options}] {self.mirror} {SUITE} main\n")

    def _system_mirror(self) -> str:
        """The one that the system's own lists name for Debian, else Debian's own."""
        with contextlib.suppress(ImageError):
            text = self._call("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", own=False)
            for line in text.splitlines():
                if line.startswith("http") and line.rstrip("/").endswith("/debian"):
                    return line.rstrip("/")
        return MIRROR

    def update(self) -> None:
        """Fetch the lists of packages. Raises ImageError; those from before stay."""
        self._call("apt-get", "update", "-q", what="package lists")

    def closure(self, names: Iterable[str], follow: Callable[[Package], bool]) -> list[Package]:
        """The packages `names`, and of what they depend on, directly or not, those to `follow`. ImageError where one of
        `names` is not there."""
        wanted = list(names)
        found = self._show(wanted)
        if missing := [name for name in wanted if name not in found]:
            raise ImageError(f"{self.mirror} has no package {missing[0]} for {ARCHITECTURE} in {SUITE}")
        layer = dict(found)
        seen = set(found)
        while layer:
            names = {each for package in layer.values() for each in package.depends} - seen
            seen |= names
            layer = {name: each for name, each in self._show(sorted(names)).items() if follow(each)} if names else {}
            found |= layer
        return [found[name] for name in sorted(found)]

    def _show(self, names: Sequence[str]) -> dict[str, Package]:
        """By name; those that do not exist are left out."""
        text = self._call("apt-cache", "show", "--no-all-versions", *names, good=(0, 100))
        found = {}
        for stanza in re.split(r"\n\n+", text):
            field = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
            if "Package" in field and "Version" in field:
                depends = f"{field.get('Pre-Depends', '')},{field.get('Depends', '')}".split(",")
                needs = tuple(re.split(r"[ |:(]", each.strip())[0] for each in depends if each.strip())
                found[field["Package"]] = Package(field["Package"], field["Version"], field.get("Section", ""), needs)
        return found

    def archives(self, packages: Iterable[Package]) -> list[Archive]:
        """What there is to download."""
        by_name = {package.name: package for package in packages}
        text = self._call("apt-get", "download", "--print-uris", *(_exactly(each) for each in by_name.values()))
        found = []
        for line in text.splitlines():
            if match := _URI.match(line):
                file = match[2]
                package = by_name.get(file.split("_")[0])
                if package is not None and "/" not in file and not file.startswith("."):
                    found.append(Archive(file, int(match[3]), match[4], package))
        if len(found) < len(by_name):
            missing = by_name.keys() - {each.package.name for each in found}
            raise ImageError(f"apt-get does not say where package {min(missing)} is: rvtui images get again")
        return found

    def download(self, archives: Iterable[Archive], to: Path) -> None:
        """Fetch files that are not in `to` yet, or not whole. Raises ImageError; what has come stays there."""
        names = [_exactly(each.package) for each in archives]
        if names:
            self._call("apt-get", "download", "-q", *names, what="packages", where=to)

    def _call(
        self, tool: str, *arguments: str, own: bool = True, what: str = "", where: Path | None = None,
        good: tuple[int, ...] = (0,),
    ) -> str:  # fmt: skip
        """What it prints. `what` is shown as progress; its end, and that of this process, is the tool's too."""
        command = [self._tools[tool]]
        if own:
            command += ["-c", str(self.folder / "apt.conf")]
        environment: Mapping[str, str] = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        read, write = os.pipe()
        if what:
            command += ["-o", f"APT::Status-Fd={write}"]
        command += arguments
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(write,),
                env=environment, cwd=where or self.folder, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.close(read)
            raise ImageError(f"{tool} cannot be started: {error.strerror}") from None
        finally:
            os.close(write)
        try:
            with os.fdopen(read, "rb", buffering=0) as status:
                out, wrong = self._collect(process, status, what)
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        if code not in good:
            raise ImageError(f"{tool} {arguments[0]}: {_reason(wrong + out, code)}")
        return out

    def _collect(self, process: subprocess.Popen[bytes], status: object, what: str) -> tuple[str, str]:
        """Read all three at once, until they end."""
        texts = {"out": bytearray(), "wrong": bytearray(), "status": bytearray()}
        with selectors.DefaultSelector() as selector:
            for name, pipe in (("out", process.stdout), ("wrong", process.stderr), ("status", status)):
                selector.register(pipe, selectors.EVENT_READ, name)  # type: ignore[arg-type]
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 65536)
                    text = texts[key.data]
                    if not data:
                        selector.unregister(key.fileobj)
                    elif len(text) < _OUTPUT_LIMIT:
                        text += data
                    if key.data == "status":
                        for share in _STATUS.findall(bytes(text)):
                            with contextlib.suppress(ValueError):
                                self._progress(what, min(1.0, float(share) / 100))
                        del text[: text.rfind(b"\n") + 1]
        return texts["out"].decode("utf-8", "replace"), texts["wrong"].decode("utf-8", "replace")


def _exactly(package: Package) -> str:
    return f"{package.name}={package.version}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and what it started; apt keeps what has come."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
            return


def _reason(text: str, code: int) -> str:
    """The line that says it best."""
    for mark in ("E: Failed", "W: Failed", "E: ", "Err:", "W: "):
        for line in text.splitlines():
            if line.startswith(mark):
                return clean(line.removeprefix("E: ").removeprefix("W: "), 240)
    return f"ended with code {code}"


def follow(package: Package) -> bool:
    """Dependencies that an image is made of: shared libraries, and the kernel behind the package without a version."""
    return package.section.rpartition("/")[2] == "libs" or package.name.startswith("linux-image-")


def missing(archives: Iterable[Archive], folder: Path) -> Iterator[Archive]:
    """Those whose file is not in `folder`, or has another size."""
    for each in archives:
        try:
            whole = (folder / each.file).stat().st_size == each.size
        except OSError:
            whole = False
        if not whole:
            yield each
