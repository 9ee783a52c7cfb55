"""Debian packages, and what is read from the files in them. Sources: deb(5), ar(5), kmod's modinfo keys, the ELF
specification's dynamic section.

Packages come signed, but every size is checked all the same; what is wrong is an ImageError of one line.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import zstandard
from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from rvtui.images import ImageError

FILE_LIMIT: Final = 256 << 20
"""Bytes of a file in a package that is taken."""
_AR: Final = b"!<arch>\n"
_OPEN: Final[dict[str, Callable[[IO[bytes]], Any]]] = {
    "data.tar": lambda file: file,
    "data.tar.xz": lzma.LZMAFile,
    "data.tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    "data.tar.zst": lambda file: zstandard.ZstdDecompressor().stream_reader(file),
}


class File(NamedTuple):
    """A regular file, or where a symbolic link leads."""

    mode: int
    data: bytes
    link: str = ""


class _Member:
    """`size` bytes of a file from where it stands: one member of an archive, to be read once."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise EOFError("it is cut short")
        self._left -= len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def files(package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, File]]:
    """The files in `package` whose path ("usr/bin/x") is `wanted`, in its order. Raises ImageError."""
    try:
        with package.open("rb") as file, tarfile.open(fileobj=_contents(file), mode="r|") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./").strip("/")
                if not wanted(name):
                    continue
                if entry.issym():
                    yield name, File(0o777, b"", entry.linkname)
                elif entry.isreg():
                    if entry.size > FILE_LIMIT:
                        raise ImageError(f"{package.name}: {name} has {entry.size} bytes: too many")
                    source = archive.extractfile(entry)
                    yield name, File(entry.mode & 0o777, b"" if source is None else source.read())
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError, tarfile.TarError) as error:
        raise ImageError(f"{package.name}: the package is damaged ({str(error)[:80]}): get it again") from None


def _contents(file: IO[bytes]) -> Any:
    """The tar file in a .deb."""
    if file.read(len(_AR)) != _AR:
        raise ValueError("no ar archive")
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise ValueError("a damaged ar header")
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
        if name in _OPEN:
            return _OPEN[name](_Member(file, size))  # type: ignore[arg-type]
        file.seek(size + (size & 1), 1)
    raise ValueError(f"no {', '.join(_OPEN)} in it")


def unpacked(name: str, data: bytes) -> bytes:
    """A kernel module as the kernel takes it: `name` says how it is compressed. Raises ImageError."""
    try:
        if name.endswith(".xz"):
            out = lzma.LZMADecompressor().decompress(data, FILE_LIMIT + 1)
        elif name.endswith(".zst"):
            out = zstandard.ZstdDecompressor().stream_reader(data).read(FILE_LIMIT + 1)
        elif name.endswith(".gz"):
            out = zlib.decompressobj(wbits=31).decompress(data, FILE_LIMIT + 1)
        else:
            return data
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise ImageError(f"{name}: damaged: {str(error)[:80]}") from None
    if len(out) > FILE_LIMIT:
        raise ImageError(f"{name}: it unfolds to more than {FILE_LIMIT} bytes")
    return out


def module_name(path: str) -> str:
    """As modprobe knows it: "kvm" of ".../kvm.ko.xz", with - as _; "" if `path` is no module's."""
    name, found, _ = path.rpartition("/")[2].partition(".ko")
    return name.replace("-", "_") if found else ""


def module_info(name: str, data: bytes) -> dict[str, list[str]]:
    """What a module says of itself: its section .modinfo, key by key. Raises ImageError."""
    info: dict[str, list[str]] = {}
    try:
        section = _elf(data).get_section_by_name(".modinfo")
        for text in (b"" if section is None else section.data()).split(b"\0"):
            key, _, value = text.decode("utf-8", "replace").partition("=")
            info.setdefault(key, []).append(value)
    except _ELF_FAULTS as error:
        raise ImageError(f"kernel module {name}: {str(error)[:80]}") from None
    return info


def libraries(name: str, data: bytes) -> tuple[list[str], str]:
    """What the dynamic linker must find before a program or library starts, and the linker itself, "" for none."""
    needed, linker = [], ""
    try:
        for segment in _elf(data).iter_segments():
            if isinstance(segment, DynamicSegment):
                needed += [str(vars(tag)["needed"]) for tag in segment.iter_tags("DT_NEEDED")]
            elif segment["p_type"] == "PT_INTERP":
                linker = segment.get_interp_name()
    except _ELF_FAULTS as error:
        raise ImageError(f"{name}: {str(error)[:80]}") from None
    return needed, linker


_ELF_FAULTS: Final = (ELFError, ValueError, TypeError, LookupError, OverflowError, AttributeError, ArithmeticError)
"""What pyelftools raises for damaged files, as it trusts their offsets."""


def _elf(data: bytes) -> Any:
    return ELFFile(io.BytesIO(data))
