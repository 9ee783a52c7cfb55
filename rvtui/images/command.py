"""`rvtui images`: what there is, and how it is got, checked and removed.

`--json` prints one object: "cache" (the folder), "downloads" (bytes of packages kept) and "images", each with "name",
"what", "state" ("cached", "older", "damaged", "absent"), "size" (bytes), "packages" ([name, version] each) and "files"
(paths by kind).
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import NamedTuple

from rvtui.colour import dumb
from rvtui.images import ImageError
from rvtui.images.cache import Cache, Manifest
from rvtui.images.recipes import ARCHITECTURE, RECIPES, SUITE, recipe
from rvtui.text import size

MAIN_PACKAGES = ("linux-image-", "busybox", "opensbi", "qemu-")
_STATES = {"cached": "cached", "older": "cached, by an older recipe", "damaged": "DAMAGED", "absent": "not here"}


class Progress:
    """A line on a terminal that is written over; nothing anywhere else."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = ""
        self._terminal = sys.stderr.isatty() and not dumb()

    def __call__(self, what: str, share: float) -> None:
        text = f"{self._name}: {what} {share:4.0%}"
        if self._terminal and text != self._shown:
            self._shown = text
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line empty."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = ""


def main(options: argparse.Namespace) -> int:
    """Runs `rvtui images`; the exit code. Raises ImageError."""
    cache = Cache()
    match options.part:
        case "get":
            _get(cache, options.name, options.mirror, again=options.again)
        case "path":
            _path(cache, options.name, options.kind)
        case "verify":
            for name in options.names or [name for name in RECIPES if _row(cache, name).state != "absent"]:
                cache.need(name)
                print(f"{name}: every byte is as it was written")
        case "remove":
            with cache.working():
                freed = cache.remove(options.name)
            print(f"{options.name}: removed, {size(freed)} freed")
        case "clean":
            with cache.working():
                print(f"downloaded packages removed, {size(cache.clean())} freed")
        case _:
            _list(cache, as_json=getattr(options, "json", False))
    return 0


def _get(cache: Cache, name: str, mirror: str | None, *, again: bool) -> None:
    wanted = recipe(name)
    if not again:
        try:
            have = cache.need(name)
        except ImageError:
            have = None
        if have is not None and have.recipe == wanted.digest:
            print(f"{name}: here already, and whole ({_sources(have)})")
            return
    from rvtui.images.build import get

    progress = Progress(name)

    def note(text: str) -> None:
        progress.end()
        print(f"rvtui: warning: {text}", file=sys.stderr, flush=True)

    try:
        with cache.working():
            made = get(wanted, cache, mirror, progress, note)
    finally:
        progress.end()
    print(f"{name}: {size(made.size)}, of {_sources(made)}\nrun it: rvtui run --image {name}")


def _path(cache: Cache, name: str, kind: str | None) -> None:
    have = cache.need(name)
    if kind is not None and kind not in have.files:
        raise ImageError(f"image {name} has no {kind}")
    for each, kept in have.files.items():
        if kind is None:
            print(f"{each:<9} {cache.files / kept.file}")
        elif each == kind:
            print(cache.files / kept.file)


class _Row(NamedTuple):
    state: str
    manifest: Manifest | None


def _row(cache: Cache, name: str) -> _Row:
    """By sizes only: `verify` reads every byte."""
    try:
        have = cache.manifest(name)
        if have is None:
            return _Row("absent", None)
        if any((cache.files / kept.file).stat().st_size != kept.size for kept in have.files.values()):
            return _Row("damaged", have)
    except (ImageError, OSError):
        return _Row("damaged", None)
    return _Row("cached" if have.recipe == RECIPES[name].digest else "older", have)


def _list(cache: Cache, *, as_json: bool) -> None:
    rows = {name: _row(cache, name) for name in RECIPES}
    if as_json:
        told = {
            "cache": str(cache.root),
            "downloads": cache.downloaded,
            "images": [
                {
                    "name": name,
                    "what": RECIPES[name].what,
                    "state": state,
                    "size": 0 if have is None else have.size,
                    "packages": [] if have is None else [[each.package, each.version] for each in have.packages],
                    "files": {} if have is None else {k: str(cache.files / v.file) for k, v in have.files.items()},
                }
                for name, (state, have) in rows.items()
            ],
        }
        print(json.dumps(told, indent=1))
        return
    for name, (state, have) in rows.items():
        amount = f"{size(have.size)}" if have is not None else f"{RECIPES[name].download >> 20} MiB to fetch"
        print(f"{name:<12} {_STATES[state]}, {amount}\n{'':<12} {RECIPES[name].what}")
        of = _sources(have) if have is not None else f"Debian {SUITE}, {ARCHITECTURE}"
        print(f"{'':<12} of {of}")
    kept = f", with {size(cache.downloaded)} of packages" if cache.downloaded else ""
    print(f"Cache: {cache.root}{kept}.")


def _sources(manifest: Manifest) -> str:
    """The packages that name an image; the rest are what they need."""
    main = [f"{p.package} {p.version}" for p in manifest.packages if p.package.startswith(MAIN_PACKAGES)]
    rest = len(manifest.packages) - len(main)
    return ", ".join(main) + (f" and {rest} that these need" if rest else "")
