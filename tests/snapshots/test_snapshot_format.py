"""The file format, by an implementation of its own, and every way in which a file can lie."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snapshots
from snapshots import SnapshotError

PAGE = 4096
RAM = 0x8000_0000
Sections = list[tuple[str, Any]]

examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def take_apart(data: bytes) -> Sections:
    """Name and encoded bytes of each section, from the description of the format alone."""
    offset, length = struct.unpack(">6xQxQ", data[-57:-34])
    assert length == len(data)
    assert (
        data[-57:-34] + data[-34:-32]
        == b"\x94\xa3end\xcf" + offset.to_bytes(8) + b"\xcf" + length.to_bytes(8) + b"\xc4 "
    )
    footer = data[offset:-57]
    assert data[-32:] == sha(footer)
    sections, at = [], 0
    for name, size, digest in msgpack.unpackb(footer)["sections"]:
        assert sha(data[at : at + size]) == digest
        sections.append((name, data[at : at + size]))
        at += size
    assert at == offset
    return sections


def put_together(sections: Sections, footer: Any = None) -> bytes:
    """A file of these sections, with digests that are right. What is not bytes is encoded."""
    encoded = [(name, body if isinstance(body, bytes) else msgpack.packb(body)) for name, body in sections]
    listed = {"sections": [[name, len(body), sha(body)] for name, body in encoded]}
    foot = footer if isinstance(footer, bytes) else msgpack.packb(listed if footer is None else footer)
    start = b"".join(body for _, body in encoded)
    length = (len(start) + len(foot) + 57).to_bytes(8)
    return start + foot + b"\x94\xa3end\xcf" + len(start).to_bytes(8) + b"\xcf" + length + b"\xc4 " + sha(foot)


def refused(data: bytes, path: Path, *calls: Callable[..., Any]) -> str:
    """What verify says of a file with this content; `calls` must refuse it too."""
    path.write_bytes(data)
    texts = []
    for call in (snapshots.verify, *calls):
        with pytest.raises(SnapshotError) as caught:
            call(path)
        text = str(caught.value)
        assert text.isprintable()
        assert text.startswith(f"{path}: ")
        assert len(text) < len(str(path)) + 300
        texts.append(text)
    return texts[0]


@pytest.fixture
def sections(saved: Any) -> dict[str, Any]:
    """The sections of a small file, decoded; "header" and "pages" as they are."""
    return {
        name: body if name in ("header", "pages") else msgpack.unpackb(body)
        for name, body in take_apart(saved[0].read_bytes())
    }


def test_a_second_implementation_reads_the_same(tmp_path: Path, new: Any) -> None:
    machine = new(600 * PAGE)
    machine.memory.write(0x1000, b"rom")
    machine.run(1000)
    machine.memory.write(RAM + 300 * PAGE, b"\x77" * 20 * PAGE)
    snapshots.save(machine, tmp_path / "a", note="n", created=5)
    data = (tmp_path / "a").read_bytes()
    names = [name for name, _ in take_apart(data)]
    bodies = dict(take_apart(data))
    assert names[:5] == ["header", "meta", "machine", "harts", "devices"]
    assert names[5:-1] == ["pages"] * len(names[5:-1])
    assert names[-1] == "memory"
    assert bodies["header"] == bytes.fromhex("c4 10 89 72 76 74 75 69 2d 73 74 61 74 65 0d 0a 1a 0a 92 01 00")
    assert msgpack.unpackb(bodies["meta"]) == {
        "note": "n", "created": 5, "parent": None, "harts": 1, "vms": ["one", "zweiä"], "clock": 1000, "executed": 1000,
    }  # fmt: skip
    state = msgpack.unpackb(bodies["machine"])
    state |= {"harts": msgpack.unpackb(bodies["harts"]), "devices": msgpack.unpackb(bodies["devices"])}
    assert state == machine.state()
    chunks = [msgpack.unpackb(body) for name, body in take_apart(data) if name == "pages"]
    raw = [zstandard.ZstdDecompressor().decompress(chunk) for chunk in chunks]
    assert len(raw) > 1
    assert all(len(chunk) == 256 * PAGE for chunk in raw[:-1])
    contents = [chunk[i : i + PAGE] for chunk in raw for i in range(0, len(chunk), PAGE)]
    memory = msgpack.unpackb(bodies["memory"])
    assert memory["page"] == PAGE
    assert memory["digests"] == b"".join(map(sha, contents))
    assert len(set(contents)) == len(contents)
    assert bytes(PAGE) not in contents
    for described, region in zip(memory["regions"], machine.memory.regions, strict=True):
        assert (described["name"], described["base"], described["size"]) == (region.name, region.base, region.size)
        assert described["writable"] == region.writable
        pages = [bytes(PAGE)] * (region.size // PAGE)
        for first, count, content, step in struct.iter_unpack("<4I", described["runs"]):
            for i in range(count):
                pages[first + i] = contents[content + i * step]
        assert b"".join(pages) == region.buffer[:]


def test_a_file_put_together_elsewhere_loads(saved: Any, load: Any) -> None:
    path, machine = saved
    data = put_together(take_apart(path.read_bytes()))
    assert data == path.read_bytes()
    assert load(path).state_hash() == machine.state_hash()


def test_every_cut_is_noticed(saved: Any, tmp_path: Path, load: Any) -> None:
    data = saved[0].read_bytes()
    for length in range(len(data)):
        text = refused(data[:length], tmp_path / "cut", load, snapshots.info)
        assert "cut short" in text or "empty" in text


def test_every_changed_byte_is_noticed(saved: Any, tmp_path: Path, load: Any) -> None:
    data = saved[0].read_bytes()
    for at in range(len(data)):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= flip
            refused(bytes(changed), tmp_path / "changed", *([load] if flip == 1 else []))


def test_damage_is_located(saved: Any, tmp_path: Path) -> None:
    data = bytearray(saved[0].read_bytes())
    at = 0
    for name, body in take_apart(bytes(data)):
        if name != "header":
            changed = data[:]
            changed[at] ^= 0xFF
            place = f"section '{name}' at bytes {at} to {at + len(body)} does not match its digest"
            assert place in refused(bytes(changed), tmp_path / "changed")
        at += len(body)


def test_appended_bytes_are_noticed(saved: Any, tmp_path: Path) -> None:
    data = saved[0].read_bytes()
    assert "end mark" in refused(data + b"\0", tmp_path / "long")
    assert "bytes long" in refused(data + data, tmp_path / "long")


@examples
@given(content=st.data())
def test_random_damage_to_a_larger_file_is_noticed(tmp_path: Path, new: Any, content: Any) -> None:
    path = tmp_path / "large"
    if not path.exists():
        machine = new(2 << 20)
        machine.run(3000)
        snapshots.save(machine, path)
    data = path.read_bytes()
    at = content.draw(st.integers(0, len(data) - 1))
    length = content.draw(st.sampled_from([0, 1, 2, 8, 57, 500]))
    piece = content.draw(st.binary(max_size=60))
    changed = data[:at] + piece + data[at + length :]
    if changed != data:
        refused(changed, tmp_path / "changed")


def test_another_major_version_is_refused_and_another_minor_is_read(
    saved: Any, sections: dict[str, Any], tmp_path: Path, load: Any
) -> None:
    path = tmp_path / "version"
    for major, said in ((2, "newer than the 1.x read here; update rvtui"), (0, "older")):
        header = sections["header"][:-2] + bytes([major, 3])
        text = refused(put_together(list((sections | {"header": header}).items())), path, load, snapshots.info)
        assert f"version {major}.3, {said}" in text
    # A later minor version adds sections, entries of maps, and parts of a footer entry.
    newer = {"header": sections["header"][:-1] + b"\7", "meta": sections["meta"] | {"mood": "good"}, "thumbnail": b"x"}
    path.write_bytes(put_together(list((sections | newer).items())))
    assert load(path).state_hash() == saved[1].state_hash()
    assert snapshots.verify(path).version == (1, 7)


def test_sections_must_be_there_once(sections: dict[str, Any], tmp_path: Path) -> None:
    items = list(sections.items())
    for name in sections:
        without = [item for item in items if item[0] != name]
        refused(put_together(without), tmp_path / "without")
        refused(put_together([*items, (name, sections[name])]), tmp_path / "twice")
    assert "begin with the header" in refused(
        put_together([("first", sections["header"]), *items]), tmp_path / "turned"
    )


def runs(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def memory_lies() -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    """Name: (changes to the memory section, to its second region, what must be said)."""
    return {
        "no memory so big": ({}, {"size": 1 << 62}, "TiB of memory in one region"),
        "beyond addresses": ({}, {"base": (1 << 64) - PAGE}, "no memory can have"),
        "negative base": ({}, {"base": -PAGE}, "no memory can have"),
        "negative size": ({}, {"size": -PAGE}, "no memory can have"),
        "no size": ({}, {"size": 0}, "no memory can have"),
        "half a page": ({}, {"size": 64 * PAGE + 2048}, "no memory can have"),
        "above the limit": ({}, {"size": 17 << 30}, "17 GiB of guest memory, more than the limit of 16 GiB"),
        "overlapping": ({}, {"base": 0x1000}, "overlap"),
        "size is text": ({}, {"size": "64"}, "is str, not int"),
        "writable is a number": ({}, {"writable": 1}, "is int, not bool"),
        "size is true": ({}, {"size": True}, "is bool, not int"),
        "other pages": ({"page": 8192}, {}, "pages are 8192 bytes"),
        "odd digests": ({"digests": b"x" * 33}, {}, "whole number of digests"),
        "no digests": ({"digests": b""}, {}, "contents that are not there"),
        "many digests": ({"digests": bytes(32 * 300)}, {}, "300 page contents for"),
        "regions is a map": ({"regions": {}}, {}, "is dict, not list"),
        "region is a number": ({"regions": [5]}, {}, "is int, not dict"),
        "odd runs": ({}, {"runs": runs(0, 1, 0)}, "whole number of runs"),
        "run outside": ({}, {"runs": runs(63, 2, 0, 0)}, "leaves the region"),
        "run of nothing": ({}, {"runs": runs(0, 0, 0, 0)}, "leaves the region"),
        "run of everything": ({}, {"runs": runs(0, 0xFFFFFFFF, 0, 0)}, "leaves the region"),
        "runs overlap": ({}, {"runs": runs(0, 2, 0, 0, 1, 1, 0, 0)}, "overlaps another"),
        "runs descend": ({}, {"runs": runs(5, 1, 0, 0, 1, 1, 0, 0)}, "overlaps another"),
        "strange step": ({}, {"runs": runs(0, 1, 0, 2)}, "contents that are not there"),
        "content outside": ({}, {"runs": runs(0, 1, 9, 1)}, "contents that are not there"),
        "zero without parent": ({}, {"runs": runs(0, 1, 0xFFFFFFFF, 0)}, "contents that are not there"),
    }


@pytest.mark.parametrize("name", memory_lies())
def test_lies_about_memory_are_refused(sections: dict[str, Any], tmp_path: Path, load: Any, name: str) -> None:
    whole, region, said = memory_lies()[name]
    memory = sections["memory"]
    memory["regions"][1] |= region
    data = put_together(list((sections | {"memory": memory | whole}).items()))
    assert said in refused(data, tmp_path / "lie", load, snapshots.info)


def test_the_limit_on_memory_can_be_raised_and_lowered(saved: Any, load: Any) -> None:
    path, machine = saved
    assert load(path, limit=65 * PAGE).state_hash() == machine.state_hash()
    with pytest.raises(SnapshotError, match=r"more than the limit of 0\.25 MiB"):
        load(path, limit=64 * PAGE)


def zstd(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def page_lies() -> dict[str, tuple[Any, str]]:
    pages = b"a" * PAGE + b"b" * PAGE + b"c" * PAGE
    # A header that promises 2**60 bytes in one segment, and nothing behind it.
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little")
    return {
        "other contents": (zstd(pages), "page content 0 does not match its digest"),
        "too few": (zstd(pages[:PAGE]), "does not hold 12288 bytes"),
        "too many": (zstd(pages * 50), "does not hold 12288 bytes"),
        "much from little": (zstd(bytes(1 << 28)), "does not hold 12288 bytes"),
        "promises 2**60 bytes": (bomb, "does not hold 12288 bytes"),
        "no size": (zstd(pages, write_content_size=False), "does not hold 12288 bytes"),
        "two frames": (zstd(pages) + zstd(pages), "does not decompress"),
        "something behind": (zstd(pages) + b"x", "does not decompress"),
        "cut frame": (zstd(pages)[:-3], "does not decompress"),
        "nothing": (b"", "does not"),
        "noise": (bytes(range(200)), "does not"),
        "not bytes": ("text", "is str, not bytes"),
        "list": ([zstd(pages)], "is list, not bytes"),
        "megabytes of noise": (bytes(3 << 20), "is longer than the 2 MiB"),
    }


@pytest.mark.parametrize("name", page_lies())
def test_lies_about_pages_are_refused(sections: dict[str, Any], tmp_path: Path, load: Any, name: str) -> None:
    body, said = page_lies()[name]
    text = refused(put_together(list((sections | {"pages": msgpack.packb(body)}).items())), tmp_path / "lie", load)
    assert said in text
    assert "section 'pages' at bytes" in text


def test_the_number_of_chunks_must_fit(sections: dict[str, Any], tmp_path: Path) -> None:
    items = [item for item in sections.items() if item[0] != "pages"]
    assert "0 pages sections where its memory needs 1" in refused(put_together(items), tmp_path / "lie")
    items += [("pages", sections["pages"])] * 2
    assert "2 pages sections where its memory needs 1" in refused(put_together(items), tmp_path / "lie")


def encoded_lies() -> dict[str, bytes]:
    pairs = msgpack.packb("k") + msgpack.packb(1)
    return {
        "nothing behind": b"",
        "two objects": msgpack.packb({}) + msgpack.packb({}),
        "array of 2**32": b"\xdd\xff\xff\xff\xff",
        "nested arrays of 2**32": b"\xdd\xff\xff\xff\xff" * 400,
        "nested arrays of 2**16": b"\xdc\xff\xff" * 900,
        "map of 2**32": b"\xdf\xff\xff\xff\xff",
        "text of 2**32": b"\xdb\xff\xff\xff\xff",
        "bytes of 2**32": b"\xc6\xff\xff\xff\xff",
        "extension of 2**32": b"\xc9\xff\xff\xff\xff\1",
        "extension": msgpack.packb({"x": msgpack.ExtType(5, b"")}),
        "timestamp": b"\x81\xa1x\xd6\xff\0\0\0\0",
        "float": msgpack.packb({"x": 1.5}),
        "number as key": msgpack.packb({5: 5}),
        "bytes as key": msgpack.packb({b"x": 5}),
        "key twice": b"\x82" + pairs + pairs,
        "reserved code": b"\xc1",
        "deep": b"\x81\xa1x" + b"\x91" * 40 + b"\xc0",
        "very deep": b"\x91" * 500_000 + b"\xc0",
        "very deep map": b"\x81\xa1x" * 200_000 + b"\xc0",
        "a million lists": b"\x81\xa1x\xdd\0\x0f\xff\xf0" + b"\x91\x90" * 0xFFFF0,
        "number": b"\5",
        "nil": b"\xc0",
    }


@pytest.mark.parametrize("name", encoded_lies())
def test_lies_in_the_encoding_are_refused(sections: dict[str, Any], tmp_path: Path, load: Any, name: str) -> None:
    lie = encoded_lies()[name]
    for section in ("machine",) if len(lie) > 1 << 20 else ("meta", "machine", "harts", "devices", "memory"):
        refused(put_together(list((sections | {section: lie}).items())), tmp_path / "lie", load)
    refused(put_together(list(sections.items()), footer=lie), tmp_path / "lie", load)


def test_no_lie_takes_much_memory_or_time(sections: dict[str, Any], tmp_path: Path) -> None:
    files = []
    for name, body in encoded_lies().items():
        files.append(put_together(list((sections | {"machine": body}).items())))
        files.append(put_together(list(sections.items()), footer=body))
        assert name
    files += [
        put_together(list((sections | {"pages": msgpack.packb(body)}).items())) for body, _ in page_lies().values()
    ]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.lie").write_bytes(data)
    script = (
        "import resource, sys, snapshots\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        snapshots.verify(path)\n"
        "    except snapshots.SnapshotError as error:\n        print(error)\n"
    )
    paths = [str(path) for path in tmp_path.glob("*.lie")]
    top = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, timeout=60, check=False, cwd=top
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(paths) == len(files)


def meta_lies() -> dict[str, dict[str, Any]]:
    return {
        "note is a number": {"note": 5},
        "long note": {"note": "x" * 65537},
        "created is text": {"created": "now"},
        "created before time": {"created": -1},
        "negative clock": {"clock": -1},
        "harts is true": {"harts": True},
        "vms is text": {"vms": "one"},
        "vms are numbers": {"vms": [1]},
        "parent is text": {"parent": "a"},
        "parent without digest": {"parent": {"name": "a"}},
        "parent with short digest": {"parent": {"name": "a", "digest": b"x"}},
        "parent elsewhere": {"parent": {"name": "../a", "digest": bytes(32)}},
        "parent is its folder": {"parent": {"name": "..", "digest": bytes(32)}},
    }


@pytest.mark.parametrize("name", meta_lies())
def test_lies_in_meta_are_refused(sections: dict[str, Any], tmp_path: Path, load: Any, name: str) -> None:
    sections["meta"] |= meta_lies()[name]
    refused(put_together(list(sections.items())), tmp_path / "lie", load, snapshots.info)


def test_text_in_meta_must_be_utf_8(sections: dict[str, Any], tmp_path: Path) -> None:
    good = msgpack.packb(sections["meta"])
    sections["meta"] = good.replace(b"\xa3two", b"\xa3t\xffo")
    assert sections["meta"] != good
    assert "UTF-8" in refused(put_together(list(sections.items())), tmp_path / "lie", snapshots.info)


def test_a_difference_says_what_is_missing(sections: dict[str, Any], tmp_path: Path, load: Any) -> None:
    sections["meta"]["parent"] = {"name": "base.rvs", "digest": bytes(32)}
    sections["memory"]["regions"][1]["runs"] = runs(0, 1, 0, 1, 3, 9, 0xFFFFFFFF, 0)
    path = tmp_path / "difference"
    path.write_bytes(put_together(list(sections.items())))
    assert snapshots.verify(path).parent == "base.rvs"
    with pytest.raises(
        SnapshotError, match=r"difference to base\.rvs, which is missing; put that snapshot into the same"
    ):
        load(path)
    (tmp_path / "base.rvs").write_bytes(b"")
    with pytest.raises(SnapshotError, match="restoring differences is not available yet"):
        load(path)


def test_lies_in_the_footer_are_refused(sections: dict[str, Any], tmp_path: Path) -> None:
    items = list(sections.items())
    good = put_together(items)
    listed = msgpack.unpackb(good[int.from_bytes(good[-51:-43]) : -57])["sections"]

    def changed(number: int, part: int, value: Any) -> bytes:
        lie = [list(entry) for entry in listed]
        lie[number][part] = value
        return put_together(items, footer={"sections": lie})

    for lie in (
        changed(1, 0, 5),
        changed(1, 0, "x" * 300),
        changed(1, 1, -1),
        changed(1, 1, 0),
        changed(1, 1, 1 << 63),
        changed(1, 1, listed[1][1] + 1),
        changed(1, 1, True),
        changed(1, 2, b""),
        changed(1, 2, None),
        put_together(items, footer={"sections": []}),
        put_together(items, footer={"sections": [[]]}),
        put_together(items, footer={"sections": listed[:-1]}),
        put_together(items, footer={"sections": [*listed, listed[-1]]}),
        put_together(items, footer={"sections": {}}),
        put_together(items, footer={}),
    ):
        assert "footer" in refused(lie, tmp_path / "lie", snapshots.info)


@examples
@given(content=st.data())
def test_fuzzed_sections_are_refused_or_read(
    saved: Any, sections: dict[str, Any], tmp_path: Path, load: Any, content: Any
) -> None:
    name = content.draw(st.sampled_from(["meta", "machine", "harts", "devices", "pages", "memory"]))
    body = bytearray(dict(take_apart(saved[0].read_bytes()))[name])
    for _ in range(content.draw(st.integers(1, 4))):
        body[content.draw(st.integers(0, len(body) - 1))] = content.draw(st.integers(0, 255))
    path = tmp_path / "fuzzed"
    path.write_bytes(put_together(list((sections | {name: bytes(body)}).items())))
    try:
        machine = load(path)
    except SnapshotError as error:
        assert str(error).isprintable()
    else:
        again = tmp_path / "again"
        snapshots.save(machine, again)
        assert load(again).state_hash() == machine.state_hash()


def test_a_file_that_shrinks_while_it_is_read_is_refused(saved: Any, new: Any) -> None:
    path = saved[0]

    def shrink(done: int, total: int) -> None:
        os.truncate(path, 100)

    with pytest.raises(SnapshotError, match="became shorter while it was read"):
        snapshots.load(path, shrink, builder=new.from_state)
