"""The pages in rvtui/docs: their examples run and print what stands there, and `rvtui docs` shows them."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import failed, run

import emulator
import rvtui
import snapshots

DOCS = Path(rvtui.__file__).parent / "docs"
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """(kind, name, text) of each fenced block."""
    for found in FENCE.finditer((DOCS / page).read_text()):
        yield found[1], found[2] or "", found[3]


def test_what_the_api_page_prints() -> None:
    names: dict[str, Any] = {}
    printed, ran = "", 0
    for kind, _, text in blocks("api.md"):
        if kind == "python":
            assert not printed, f"nothing says what is printed: {printed!r}"
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, f"api.md, example {ran + 1}", "exec"), names)
            printed = out.getvalue()
            ran += 1
        else:
            assert kind == "text"
            assert printed == text, f"example {ran}"
            printed = ""
    assert ran >= 12 and not printed


def test_what_the_page_of_scripts_prints() -> None:
    code, ran = 0, 0
    expected: list[str] = []
    said: list[str] = []
    for kind, name, text in blocks("scripts.md"):
        if kind == "rv":
            Path(name).write_text(text)
            continue
        assert kind == "console"
        for line in [*text.splitlines(), "$ echo $?"]:
            if not line.startswith("$ "):
                expected.append(line)
                continue
            assert expected == said, line
            expected = []
            if line == "$ echo $?":
                said = [str(code)]
                continue
            command, _, file = line[2:].partition(" > ")
            done = run(*shlex.split(command)[1:])
            code = done.returncode
            shown = done.stderr if file else done.stdout + done.stderr
            said = shown.decode().splitlines()
            ran += 1
    assert ran == 4


def test_every_script_in_the_pages_has_commands_that_there_are() -> None:
    from rvtui import commands

    for kind, _, text in blocks("scripts.md"):
        if kind == "rv":
            for line in text.splitlines():
                if line.strip() and not line.startswith("#"):
                    commands.parse(line)


# `rvtui docs`.


def test_pages_are_listed_and_printed() -> None:
    listed = run("docs").stdout.decode()
    for page in ("api", "commands", "scripts", "fidelity"):
        assert re.search(rf"^{page} ", listed, re.MULTILINE), page
    for page in ("api", "commands", "scripts"):
        assert run("docs", page).stdout.decode() == (DOCS / f"{page}.md").read_text()
    assert run("docs", "schema").stdout.decode() == (DOCS / "commands.schema.json").read_text()
    assert b"hgatp" in run("docs", "fidelity").stdout
    assert run("docs", "scr").stdout == run("docs", "scripts").stdout
    assert "no page 'nothing': there is api" in failed("docs", "nothing")


# What `pydoc` says.


def public(module: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, class or None, object) of all that a package offers, and of the members of its classes."""
    for name in module.__all__:
        found = getattr(module, name)
        yield f"{module.__name__}.{name}", None, found
        for member, value in vars(found).items() if inspect.isclass(found) else ():
            if not member.startswith("_"):
                yield f"{module.__name__}.{name}.{member}", found, value


PUBLIC = [each for module in (emulator, snapshots) for each in public(module)]


def function_of(value: Any) -> Any:
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


@pytest.mark.parametrize("module", [emulator, snapshots])
def test_every_public_name_says_what_it_is(module: Any) -> None:
    silent = []
    for name, owner, value in public(module):
        found = function_of(value)
        if inspect.isfunction(found) or inspect.isclass(found):
            own = found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__
            inherited = owner is not None and any(getattr(base, found.__name__, None) for base in owner.__mro__[1:])
            if not (own or "").strip() and not inherited:
                silent.append(name)
    assert not silent, silent


@pytest.mark.parametrize("module", [emulator, snapshots])
def test_every_public_name_has_types(module: Any) -> None:
    bare = []
    for name, _, value in public(module):
        found = function_of(value)
        if inspect.isfunction(found):
            signature = inspect.signature(found)
            parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
            if signature.return_annotation is inspect.Signature.empty or any(
                each.annotation is inspect.Parameter.empty for each in parameters
            ):
                bare.append(name)
    assert not bare, bare
