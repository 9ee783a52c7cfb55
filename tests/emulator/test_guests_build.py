"""The bundled guests and the benchmark programs: the files that are shipped, and that their sources build them."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from emulator import guests
from emulator.errors import LoadError
from emulator.guests import build

RAM = 0x8000_0000
SMALLEST_VM = 4 << 20
KEY_SYMBOLS = {
    "hello": {"_start", "main", "uart_write"},
    "pages": {"_start", "main", "trap_vector", "root", "small"},
    "ticker": {"_start", "main", "trap_vector", "ticks"},
    "exits": {"_start", "main", "trap_vector", "first_touches"},
    "echo": {"_start", "main", "read_line"},
    "faulty": {"_start", "main", "trap_vector", "record", "last"},
    "tiny-hypervisor": {"_start", "main", "machine_trap", "enter_guest", "guest_exit", "gstage_page", "handle_exit"},
}


def _benchmark_programs() -> ModuleType:
    file = Path(__file__).parents[1] / "benchmarks" / "programs" / "build.py"
    spec = importlib.util.spec_from_file_location("benchmark_programs", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmarks = _benchmark_programs()
GUEST_FILES = {name: guests.path(name) for name in guests.NAMES}
BENCHMARK_FILES = {name: benchmarks.HERE / "elf" / f"{name}.elf" for name in benchmarks.PROGRAMS}
FILES: Mapping[str, Path] = {**GUEST_FILES, **BENCHMARK_FILES}


def _open(name: str) -> ELFFile:
    return ELFFile(io.BytesIO(FILES[name].read_bytes()))


def _symbols(elf: ELFFile) -> dict[str, Any]:
    table = elf.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection), "the symbols must be kept"
    return {symbol.name: symbol.entry for symbol in table.iter_symbols()}


def test_every_guest_is_described_built_and_shipped() -> None:
    shipped = {file.stem for file in guests.path("hello").parent.iterdir()}
    assert set(guests.NAMES) == set(build.PROGRAMS) == shipped
    assert set(guests.NAMES) > guests.BARE
    assert all(text and "\n" not in text for text in guests.NAMES.values())
    assert all(guests.load(name) == guests.path(name).read_bytes() for name in guests.NAMES)


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_a_small_bare_riscv_executable(name: str) -> None:
    elf = _open(name)
    assert FILES[name].stat().st_size < 32 << 10
    assert (elf.elfclass, elf.little_endian, elf["e_machine"], elf["e_type"]) == (64, True, "EM_RISCV", "ET_EXEC")
    assert elf["e_flags"] & 0b110 == 0, "it must run on a hart without floating point"
    assert elf["e_entry"] == RAM == _symbols(elf)["_start"].st_value
    assert elf.has_dwarf_info() == (name in GUEST_FILES)


@pytest.mark.parametrize("name", GUEST_FILES)
def test_recorded_paths_are_those_in_the_folder_of_sources_alone(name: str) -> None:
    section = _open(name).get_section_by_name(".debug_line_str")
    assert section is not None
    paths = {text.decode() for text in section.data().split(b"\0") if text}
    assert any(path.endswith(".c") for path in paths)
    assert {path for path in paths if path.startswith("/")} <= {"/zig/lib/include"}


@pytest.mark.parametrize("name", FILES)
def test_segments_are_disjoint_placed_in_ram_and_never_writable_code(name: str) -> None:
    segments = sorted(
        (s for s in _open(name).iter_segments() if s["p_type"] == "PT_LOAD"), key=lambda segment: segment["p_paddr"]
    )
    limit = RAM + (SMALLEST_VM if name in GUEST_FILES else 16 << 20)
    end = RAM
    for segment in segments:
        assert segment["p_vaddr"] == segment["p_paddr"] >= end
        assert segment["p_filesz"] <= segment["p_memsz"]
        assert segment["p_flags"] & 3 != 3, "writable and executable"
        end = segment["p_paddr"] + segment["p_memsz"]
    assert segments[0]["p_flags"] & 1, "the entry is executable"
    assert end <= limit


@pytest.mark.parametrize("name", KEY_SYMBOLS)
def test_the_names_that_a_reader_looks_for_are_in_the_symbol_table(name: str) -> None:
    assert KEY_SYMBOLS[name] <= set(_symbols(_open(name)))


@pytest.mark.parametrize("name", BENCHMARK_FILES)
def test_benchmarks_have_htif_words_on_a_page_of_their_own(name: str) -> None:
    elf = _open(name)
    symbols = _symbols(elf)
    for word in ("tohost", "fromhost"):
        assert symbols[word].st_value % 64 == 0
        assert symbols[word].st_size == 8
    page = symbols["tohost"].st_value & ~0xFFF
    assert symbols["fromhost"].st_value & ~0xFFF == page
    for section in elf.iter_sections():
        if section["sh_flags"] & 2 and section["sh_size"] and section.name != ".tohost":
            assert section["sh_addr"] + section["sh_size"] <= page or section["sh_addr"] >= page + 0x1000


@pytest.mark.parametrize("name", ["", "Hello", "../hello", "nothing"])
def test_an_unknown_guest_is_refused_in_one_line_that_lists_the_others(name: str) -> None:
    with pytest.raises(LoadError) as refused:
        guests.load(name)
    assert "hello" in str(refused.value) and "tiny-hypervisor" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(guests, "_DIRECTORY", tmp_path)
    with pytest.raises(LoadError, match=r"hello\.elf.*python -m emulator\.guests\.build"):
        guests.load("hello")


def test_without_the_compiler_the_build_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert build.main(build.PROGRAMS, build.SOURCES, tmp_path, "build", ["hello"]) == 2
    assert capsys.readouterr().err == "build: the compiler is missing: pip install ziglang\n"
    assert not list(tmp_path.iterdir())


def test_a_program_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        build.main(build.PROGRAMS, build.SOURCES, tmp_path, "build", ["nothing"])
    assert refused.value.code == 2
    assert "nothing" in capsys.readouterr().err


if importlib.util.find_spec("ziglang") is not None:

    def _compiler(data: bytes) -> bytes:
        comment = ELFFile(io.BytesIO(data)).get_section_by_name(".comment")
        return comment.data() if comment else b""

    @pytest.mark.parametrize("name", FILES)
    def test_the_sources_build_the_shipped_bytes_wherever_they_are(name: str, tmp_path: Path) -> None:
        program = (build.PROGRAMS | benchmarks.PROGRAMS)[name]
        sources = build.SOURCES if name in GUEST_FILES else benchmarks.HERE
        elsewhere = tmp_path / "a path that must not be in the file"
        shutil.copytree(sources, elsewhere)
        built = build.build(program, elsewhere)
        assert built == build.build(program, sources)
        assert b"a path" not in built and os.fsencode(sources) not in built
        shipped = FILES[name].read_bytes()
        # Another version of the compiler may choose other instructions.
        assert built == shipped or _compiler(built) != _compiler(shipped)

    def test_check_tells_a_stale_file_from_a_fresh_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        def run(*arguments: str) -> int:
            return build.main(build.PROGRAMS, build.SOURCES, tmp_path, "build", [*arguments, "hello"])

        assert run("--check") == 1
        assert run() == 0
        assert run("--check") == 0
        file = tmp_path / "hello.elf"
        file.write_bytes(file.read_bytes()[:-1])
        capsys.readouterr()
        assert run("--check") == 1
        assert str(file) in capsys.readouterr().err
        assert len(list(tmp_path.iterdir())) == 1

    def test_guests_can_be_linked_for_ram_elsewhere() -> None:
        moved = build.build(build.PROGRAMS["hello"], build.SOURCES, 0x8020_0000)
        assert ELFFile(io.BytesIO(moved))["e_entry"] == 0x8020_0000

    def test_an_error_in_a_source_is_reported_in_the_compilers_words(
        capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "broken.c").write_text("int main(void) { return nowhere; }\n")
        programs = {"broken": build.Program(("broken.c",))}
        assert build.main(programs, tmp_path, tmp_path, "build", []) == 2
        assert "nowhere" in capsys.readouterr().err

    @pytest.mark.parametrize("name", BENCHMARK_FILES)
    def test_the_checksum_is_what_this_machine_computes_from_the_same_source(name: str) -> None:
        elf = _open(name)
        address = _symbols(elf)["expected"].st_value
        text = next(s for s in elf.iter_segments() if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"])
        offset = address - text["p_vaddr"]
        assert benchmarks.host_checksum(name) == int.from_bytes(text.data()[offset : offset + 8], "little")
        assert sys.byteorder == "little"
