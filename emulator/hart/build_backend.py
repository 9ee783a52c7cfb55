"""The PEP 517 backend: setuptools, after the hart's C has been generated and a C compiler is certain.

Without a C compiler the build asks its front end for `ziglang` from PyPI, which is one, and says so.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any, cast

from setuptools import build_meta

ROOT = Path(__file__).resolve().parents[2]
HART = ROOT / "emulator" / "hart"
GENERATED = ROOT / "build" / "native"


def compiler() -> str | None:
    """The C compiler that setuptools would use, if it exists; else another that is on PATH."""
    wanted = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    for command in wanted:
        if command and shutil.which(shlex.split(command)[0]):
            return cast(str, command)
    return None


def declarations(*headers: Path) -> str:
    """What stands between the cffi marks of the headers."""
    texts = []
    for header in headers:
        match = re.search(r"/\* cffi: begin \*/(.*)/\* cffi: end \*/", header.read_text(), re.DOTALL)
        if not match:
            raise SystemExit(f"{header}: the cffi marks are missing")
        texts.append(match[1])
    return "".join(texts)


def prepare() -> None:
    """Generate the C, and point setuptools at a compiler."""
    sys.path.insert(0, str(ROOT))
    try:
        from emulator.hart.generate import generate
    finally:
        sys.path.remove(str(ROOT))
    import cffi

    generate(GENERATED)
    ffi = cffi.FFI()
    ffi.cdef(declarations(GENERATED / "csr_state.h", HART / "state.h", HART / "native.h"))
    ffi.set_source("emulator.hart._native", '#include "native.h"\n')
    ffi.emit_c_code(str(GENERATED / "_native.c"))
    found = compiler()
    if found is None:
        print("rvtui: no C compiler found, building with zig from PyPI (ziglang)", file=sys.stderr, flush=True)
        zig = f"{shlex.quote(sys.executable)} -m ziglang"
        os.environ.update(CC=f"{zig} cc", CXX=f"{zig} c++", AR=f"{zig} ar", LDSHARED=f"{zig} cc -shared")
    elif not os.environ.get("CC"):
        os.environ["CC"] = found


def _requires(settings: Any) -> list[str]:
    if compiler() is None:
        print("rvtui: no C compiler found, asking for zig from PyPI (ziglang)", file=sys.stderr, flush=True)
        return ["ziglang>=0.13"]
    return []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_requires(config_settings)]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_requires(config_settings)]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return cast(list[str], build_meta.get_requires_for_build_sdist(config_settings))


def prepare_metadata_for_build_wheel(directory: str, config_settings: Any = None) -> str:
    return cast(str, build_meta.prepare_metadata_for_build_wheel(directory, config_settings))


def prepare_metadata_for_build_editable(directory: str, config_settings: Any = None) -> str:
    return cast(str, build_meta.prepare_metadata_for_build_editable(directory, config_settings))


def build_wheel(directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    prepare()
    return cast(str, build_meta.build_wheel(directory, config_settings, metadata_directory))


def build_editable(directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    prepare()
    return cast(str, build_meta.build_editable(directory, config_settings, metadata_directory))


def build_sdist(directory: str, config_settings: Any = None) -> str:
    return cast(str, build_meta.build_sdist(directory, config_settings))
