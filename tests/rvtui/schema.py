"""What each command's data looks like, as JSON Schema: found by carrying out all examples.

`python tests/rvtui/schema.py` writes rvtui/docs/commands.schema.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import Bench, commanded
from desk import with_page_features

from emulator.errors import EmulatorError
from emulator.isa import ABI_NAMES, FLOAT_NAMES, csrs
from emulator.machine import Machine
from rvtui import commands, machines

PAGE = Path(__file__).resolve().parents[2] / "rvtui" / "docs" / "commands.schema.json"
Schema = dict[str, Any]

HEX = re.compile(r"0x[0-9a-f]+")
TABLES = {"registers", "csrs", "state", "topics", "retired"}
"""Keys of objects whose own keys are names that depend on the machine."""
EXACT = 1 << 53
"""Numbers up to here every reader of JSON keeps."""
CONTENTS = {
    "a", "address", "after", "base", "before", "guest_physical", "handler", "hideleg", "hs", "m", "mideleg", "output",
    "pc", "physical", "pte", "pte_address", "start", "tval", "value", "vs",
} | {csr.name for csr in csrs.CSRS} | {"pc", *ABI_NAMES, *FLOAT_NAMES}  # fmt: skip
"""Keys of addresses, and of what registers and memory hold: text, "0x...", or null."""
NUMBERS = {
    "bit", "bits", "cause", "clock", "count", "different", "executed", "exits", "for_level", "hart", "harts",
    "hits", "ignore", "instructions", "irq", "leaves", "length", "level", "low", "more", "names", "new", "number",
    "offset", "page", "pages", "reads", "seen", "signed", "size", "ticks", "times", "total", "traps", "v", "vmid",
    "width", "writes", "written", "asleep", "cell", "cells", "column", "exact_from", "fence", "firmware", "frame",
    "guest", "hypervisor", "interrupt", "line", "max", "min", "resolution", "return", "returns", "since", "start",
    "time", "trap", "vs", "vu", "wfi", "bytes", "height", "hgatp", "M", "HS", "U", "VS", "VU",
}  # fmt: skip
"""Keys of counts, sizes, times and positions: numbers, or null."""


def tiny_hypervisor() -> Machine:
    return machines.bare(
        "tiny-hypervisor", memory=64 << 20, harts=1, dtb=None, kernel=None, initrd=None, append="", drives=(),
        network=True, shares=(), reboot=True, isa="max", flash=(), fw_cfg=(),
    )[0]  # fmt: skip


SCENES: tuple[tuple[Callable[[], list[str] | Machine], tuple[str, ...]], ...] = (
    (lambda: ["hello", "ticker"], ("run 100k",)),
    (tiny_hypervisor, ("run 1M",)),
    (with_page_features, ()),
)
NEW_MACHINE = {"run", "until", "finish", "next", "restore", "expect", "save", "snapshots", "differs", "remove", "x",
               "sstep", "snext"}  # fmt: skip
"""After these the next command has a machine of its own."""
OF_SCREENS = {"goto", "zoom", "layout", "theme", "attach", "quit", "pause", "value"}
"""And what needs a program with variables: no bundled guest has its example."""


MORE = {"info": ("info",), "stops": ("break main if a0 == 3", "watch sp, 8 changed", "catch trap", "stops")}
"""Lines in place of an example that says less than there is."""


def samples() -> Iterator[tuple[str, Any]]:
    """(command, its data) of every example that a machine can carry out, in the present folder."""
    Path("System.map").write_text("80000000 T _boot_entry\n")
    Path("checks.rv").write_text("step\n")
    for make, before in SCENES:
        left = sorted(commands.COMMANDS.keys() - OF_SCREENS)
        while left:
            with commanded(make()) as bench:
                for line in before:
                    bench.give(line)
                while left:
                    name = left.pop(0)
                    for each in Path.cwd().glob("*.snap"):
                        each.unlink()
                    for each in Path.cwd().glob("*.bin"):
                        each.unlink()
                    yield from _of(bench, name)
                    if name in NEW_MACHINE:
                        break


def _of(bench: Bench, name: str) -> Iterator[tuple[str, Any]]:
    with contextlib.suppress(EmulatorError):
        for line in MORE.get(name, ()) or commands.COMMANDS[name].example.split("\n"):
            if commands.named(line)[0].name in OF_SCREENS:
                continue
            answer = commands.invoke(bench.context, line).result(30)
            bench.session.pause().result(30)
            data = answer.data if isinstance(answer, commands.Report) else answer
            yield commands.named(line)[0].name, json.loads(json.dumps(data))


def violations(data: Any, key: str = "", inside: str = "") -> Iterator[str]:
    """Where data breaks the convention of rvtui/docs/commands.md."""
    match data:
        case bool() | None:
            pass
        case int() if inside == "state" or (key in CONTENTS and key not in NUMBERS):
            yield f"{key}: {data} is a number, and ought to be text"
        case int() if key not in NUMBERS:
            yield f"{key}: {data}: whether it is a count or contents nobody has said"
        case int() if abs(data) >= EXACT and key != "signed":
            yield f"{key}: {data} is too large for a number"
        case str() if key in NUMBERS and key not in CONTENTS and HEX.fullmatch(data) and key != "number":
            yield f"{key}: {data} is text, and ought to be a number"
        case str() if key in CONTENTS - {"m", "a", "base"} and inside not in ("topics",) and not HEX.fullmatch(data):
            yield f"{key}: {data!r} is not as addresses and contents are written"
        case dict():
            for name, each in data.items():
                yield from violations(each, name, key if key in TABLES else inside)
        case list():
            for each in data:
                yield from violations(each, key, inside)


def of(data: Any, key: str = "") -> Schema:
    """The schema of one value."""
    match data:
        case None:
            return {"type": "null"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string", "pattern": "^0x[0-9a-f]+$"} if HEX.fullmatch(data) else {"type": "string"}
        case list():
            items: Schema = {}
            for each in data:
                items = merged(items, of(each))
            return {"type": "array", "items": items}
    properties = {name: of(each, name) for name, each in data.items()}
    if key in TABLES:
        values: Schema = {}
        for each in properties.values():
            values = merged(values, each)
        return {"type": "object", "additionalProperties": values}
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def merged(one: Schema, other: Schema) -> Schema:
    """What allows both. {} is no value at all yet."""
    if not one or one == other:
        return other
    if not other:
        return one
    branches = [dict(each) for schema in (one, other) for each in schema.get("anyOf", [schema])]
    found: dict[str, Schema] = {}
    for each in branches:
        kind = each["type"]
        found[kind] = _joined(found[kind], each) if kind in found else each
    rows = [found[kind] for kind in sorted(found)]
    return rows[0] if len(rows) == 1 else {"anyOf": rows}


def _joined(one: Schema, other: Schema) -> Schema:
    """Two of one type."""
    match one["type"]:
        case "string":
            return one if one == other else {"type": "string"}
        case "array":
            return {"type": "array", "items": merged(one["items"], other["items"])}
        case "object" if "additionalProperties" in one or "additionalProperties" in other:
            rest = [each.get("additionalProperties", {}) for each in (one, other)]
            return {"type": "object", "additionalProperties": merged(*rest)}
        case "object":
            names = sorted({*one["properties"], *other["properties"]})
            properties = {
                name: merged(one["properties"].get(name, {}), other["properties"].get(name, {})) for name in names
            }
            required = sorted({*one["required"]} & {*other["required"]})
            return {"type": "object", "properties": properties, "required": required}
    return one


def misfit(data: Any, schema: Schema, where: str = "data") -> str | None:
    """Why data does not fit a schema of the kinds that are made here; None where it does."""
    if not schema:
        return None
    if "anyOf" in schema:
        reasons = [misfit(data, each, where) for each in schema["anyOf"]]
        return None if None in reasons else reasons[-1]
    kinds: dict[str, tuple[type, ...]] = {
        "null": (type(None),), "boolean": (bool,), "integer": (int,), "number": (int, float), "string": (str,),
        "array": (list,), "object": (dict,),
    }  # fmt: skip
    kind = schema["type"]
    if not isinstance(data, kinds[kind]) or (isinstance(data, bool) and kind != "boolean"):
        return f"{where} is {data!r:.60}, no {kind}"
    if kind == "string" and "pattern" in schema and not HEX.fullmatch(data):
        return f"{where} is {data!r:.60}, which is not written as 0x..."
    if kind == "array":
        return next((why for each in data if (why := misfit(each, schema["items"], f"{where}[]"))), None)
    if kind == "object":
        if missing := [name for name in schema.get("required", ()) if name not in data]:
            return f"{where} lacks {', '.join(missing)}"
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for name, each in data.items():
            inner = properties.get(name, rest)
            if inner is None:
                return f"{where}.{name} is not described"
            if why := misfit(each, inner, f"{where}.{name}"):
                return why
    return None


def page() -> str:
    """All of it, as the file has it."""
    # What was described stays: data only grows, and some of it (lines of sources) comes when it has been read.
    known = json.loads(PAGE.read_text())["$defs"] if PAGE.exists() else {}
    found: dict[str, Schema] = {name: each for name, each in known.items() if name in commands.COMMANDS}
    for name, data in samples():
        found[name] = merged(found.get(name, {}), of(data))
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What `data` is in the answers of rvtui monitor --json, by command",
        "$defs": dict(sorted(found.items())),
    }
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        text = page()
    PAGE.write_text(text)
