"""The cache of images: a manifest per image, and files named by what they hold.

A file is written beside and renamed; an image is there when its manifest is, which comes last. So whatever interrupts a
build, each image is whole or not there. The folder may be copied to another computer.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rvtui.folders import cache_folder
from rvtui.images import ImageError
from rvtui.images.arguments import KINDS
from rvtui.images.recipes import RECIPES, recipe

FORMAT: Final = 1
_MANIFEST_LIMIT: Final = 1 << 20
_PART: Final = ".part"


@dataclass(frozen=True)
class Origin:
    """A package that an image is made of. `sha256` of its file."""

    package: str
    version: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Kept:
    """A file of an image: `size` in bytes."""

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    name: str
    recipe: str
    """The digest of the recipe that it was built by."""
    mirror: str
    append: str
    """The kernel's command line."""
    packages: tuple[Origin, ...]
    files: Mapping[str, Kept]
    """By kind."""

    @property
    def size(self) -> int:
        return sum(kept.size for kept in self.files.values())


class Cache:
    """`root` is made when something is put there."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root
        self.files, self.packages = self.root / "files", self.root / "packages"

    def manifest(self, name: str) -> Manifest | None:
        """None where the image is not cached. ImageError for a damaged manifest, and for an image that nobody knows."""
        recipe(name)
        path = self._manifest(name)
        try:
            with path.open("rb") as file:
                text = file.read(_MANIFEST_LIMIT)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}") from None
        try:
            return _parse(json.loads(text), name)
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ImageError(f"image {name} is damaged (its manifest): {_again(name)}") from None

    def _manifest(self, name: str) -> Path:
        return self.root / f"{name}.json"

    def need(self, name: str) -> Manifest:
        """The manifest, every file checked against it. Raises ImageError."""
        found = self.manifest(name)
        if found is None:
            raise ImageError(f"image {name} is not here yet: rvtui images get {name}")
        for kind, kept in found.files.items():
            self._check(name, kind, kept)
        return found

    def _check(self, name: str, kind: str, kept: Kept) -> None:
        try:
            good = _digest(self.files / kept.file) == (kept.size, kept.sha256)
        except OSError as error:
            raise ImageError(f"image {name}: its {kind}: {error.strerror}: {_again(name)}") from None
        if not good:
            raise ImageError(f"image {name} is damaged (its {kind}): {_again(name)}")

    def path(self, name: str, kind: str) -> Path:
        """Where a file of an image is, checked. Raises ImageError."""
        kept = self.need(name).files.get(kind)
        if kept is None:
            raise ImageError(f"image {name} has no {kind}")
        return self.files / kept.file

    def add(self, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Put an image in the place of what there was; `manifest.files` is made here. Raises ImageError."""
        files = {}
        for kind, data in contents.items():
            sha256 = hashlib.sha256(data).hexdigest()
            files[kind] = Kept(f"{sha256[:16]}-{kind}", len(data), sha256)
            self._write(self.files / files[kind].file, data)
        whole = asdict(manifest) | {"files": {kind: asdict(kept) for kind, kept in files.items()}, "format": FORMAT}
        self._write(self._manifest(manifest.name), json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n")
        self.prune()

    def _write(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
        with self.explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with beside.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    beside.unlink()
                raise

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Faults of the disk as ImageErrors."""
        try:
            yield
        except OSError as error:
            where = error.filename or self.root
            hint = ": make room, or set XDG_CACHE_HOME" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise ImageError(f"{where}: {error.strerror or error}{hint}") from None

    def remove(self, name: str) -> int:
        """Forget an image; the bytes freed. ImageError where it is not cached."""
        recipe(name)
        path = self._manifest(name)
        before = self._used(self.files)
        with self.explained():
            if not path.exists():
                raise ImageError(f"image {name} is not here: there is nothing to remove")
            path.unlink()
            self.prune()
        return before - self._used(self.files)

    def clean(self) -> int:
        """Remove what was downloaded and is needed for building only; the bytes freed."""
        import shutil

        places = (self.packages, self.root / "apt")
        freed = sum(self._used(place) for place in places)
        for place in places:
            with self.explained():
                if place.exists():
                    shutil.rmtree(place)
        return freed

    @property
    def downloaded(self) -> int:
        """Bytes of packages that are kept."""
        return self._used(self.packages)

    @staticmethod
    def _used(place: Path) -> int:
        total = 0
        for folder, _, names in os.walk(place):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def prune(self) -> None:
        """Delete files that no image has. Where a manifest is damaged nothing is: it may be read by hand."""
        try:
            manifests = [self.manifest(name) for name in RECIPES]
        except ImageError:
            return
        used = {kept.file for manifest in manifests if manifest is not None for kept in manifest.files.values()}
        for path in [*self.files.glob("*"), *self.files.glob(".*"), *self.root.glob(f".*{_PART}")]:
            if path.name not in used and path.is_file():
                with contextlib.suppress(OSError):
                    path.unlink()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Only one process at a time changes the cache. Raises ImageError."""
        import fcntl

        with self.explained():
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("wb")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ImageError(f"another rvtui is at work in {self.root}: wait until it has ended") from None
            yield


def default_root() -> Path:
    """In the user's folder for caches. ImageError without a home."""
    folder = cache_folder()
    if folder is None:
        raise ImageError("there is no home folder to keep images in: set XDG_CACHE_HOME")
    return folder / "images"


def _again(name: str) -> str:
    return f"rvtui images get {name} makes it anew"


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _parse(told: Any, name: str) -> Manifest:
    """Raises ValueError, LookupError or TypeError for what no manifest says."""
    if told["format"] != FORMAT or told["name"] != name:
        raise ValueError("another format")
    files = {str(kind): Kept(**kept) for kind, kept in told["files"].items()}
    for kind, kept in files.items():
        if kind not in KINDS or kept.file != f"{kept.sha256[:16]}-{kind}" or not kept.sha256.isalnum():
            raise ValueError("a file")
        if not isinstance(kept.size, int) or len(kept.sha256) != 64:
            raise ValueError("a size")
    if "kernel" not in files:
        raise ValueError("no kernel")
    packages = tuple(
        Origin(str(p["package"]), str(p["version"]), int(p["size"]), str(p["sha256"])) for p in told["packages"]
    )
    return Manifest(name, str(told["recipe"]), str(told["mirror"]), str(told["append"]), packages, files)
