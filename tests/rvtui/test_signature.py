"""`rvtui run --bare --signature` and what else the programs of conformance suites use: HTIF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk import RAM, elf, failed, jump, li, run

Guest = Callable[..., Path]

AUIPC_T0, T0, A0 = 0x00000297, 5, 10
TOHOST, FROMHOST, BLOCK, TEXT, DATA = 0x200, 0x208, 0x240, 0x280, 0x300


def store(register: int, offset: int, width: int = 3) -> int:
    """sd (width 3), sw (2) or sb (0) of `register` to offset(t0)."""
    return (offset >> 5) << 25 | register << 20 | T0 << 15 | width << 12 | (offset & 31) << 7 | 0x23


def program(words: list[int], data: bytes = b"", *, size: int = 0x340, **symbols: int) -> bytes:
    """t0 holds the start of RAM; `data` stands at DATA; then `words`."""
    code = b"".join(word.to_bytes(4, "little") for word in [AUIPC_T0, *words])
    image = code.ljust(DATA, b"\0") + data
    image = image.ljust(size, b"\0")
    words = [int.from_bytes(image[at : at + 4], "little") for at in range(0, len(image), 4)]
    places = {"tohost": TOHOST, "fromhost": FROMHOST} | symbols
    return elf(words, symbols={name: RAM + offset for name, offset in places.items()})


def end(code: int = 0) -> list[int]:
    return [li(A0, code << 1 | 1), store(A0, TOHOST), jump(0)]


def test_words_of_four_bytes_with_the_most_significant_digit_first(guest: Guest, tmp_path: Path) -> None:
    # The second word is what the guest makes of it: the signature is taken at the end.
    image = program(
        [li(A0, 0x7BC), store(A0, DATA + 4, 2), *end()],
        bytes(range(0xA0, 0xA8)) + b"\xff\0\0\0",
        begin_signature=DATA,
        end_signature=DATA + 12,
    )
    done = run("run", "--bare", guest(image), "--headless", "--signature", "sig")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "sig").read_bytes() == b"a3a2a1a0\n000007bc\n000000ff\n"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (1, "00 11 22 33 44 55 66 77 88 99 aa bb cc dd"),
        (8, "7766554433221100 0000ddccbbaa9988"),
        (16, "0000ddccbbaa99887766554433221100"),
    ],
)
def test_granularity_and_the_partial_last_line(guest: Guest, tmp_path: Path, width: int, lines: str) -> None:
    data = bytes(range(0, 16 * 17, 17))
    image = program(end(), data, begin_signature=DATA, end_signature=DATA + 14)
    done = run("run", "--bare", guest(image), "--headless", "--signature", "sig", "--signature-granularity", str(width))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sig").read_text().split("\n") == [*lines.split(" "), ""]


def test_a_failing_guest_has_a_signature_and_a_stopped_one_has_none(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "sig").write_text("of before")
    symbols = {"begin_signature": DATA, "end_signature": DATA + 4}
    path = guest(program([jump(0)], b"abcd", **symbols))
    failed("run", "--bare", path, "--headless", "--instructions", "1000", "--signature", "sig", code=3)
    assert (tmp_path / "sig").read_text() == "of before"
    path = guest(program(end(9), b"abcd", **symbols))
    failed("run", "--bare", path, "--headless", "--signature", "sig", code=9)
    assert (tmp_path / "sig").read_text() == "64636261\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["guest.elf", "sig"]


def test_symbols_are_where_the_program_is_loaded(guest: Guest, tmp_path: Path) -> None:
    # Linked for an address that is no RAM, loaded to the start of RAM.
    base = 0x4000_0000
    words = [AUIPC_T0, *end()]
    words += [0] * (DATA // 4 - len(words)) + [0x600DF00D]
    places = {"tohost": TOHOST, "begin_signature": DATA, "end_signature": DATA + 4}
    image = elf(words, base=base, physical=RAM, symbols={name: base + offset for name, offset in places.items()})
    done = run("run", "--bare", guest(image), "--headless", "--signature", "sig")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sig").read_text() == "600df00d\n"


def test_to_standard_output(guest: Guest) -> None:
    image = program(end(), b"abcd", begin_signature=DATA, end_signature=DATA + 4)
    done = run("run", "--bare", guest(image), "--headless", "--signature", "/dev/stdout")
    assert (done.returncode, done.stdout) == (0, b"64636261\n"), done.stderr


def test_what_the_user_got_wrong(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    good = guest(program([jump(0)], begin_signature=DATA, end_signature=DATA + 4), "good")
    none = guest(program([jump(0)], begin_signature=DATA), "none")
    empty = guest(program([jump(0)], begin_signature=DATA, end_signature=DATA), "empty")
    far = guest(program([jump(0)], begin_signature=DATA, end_signature=1 << 40), "far")
    bare = ("run", "--headless", "--bare")
    assert "end_signature" in failed(*bare, none, "--signature", "sig")
    assert "not behind" in failed(*bare, empty, "--signature", "sig")
    assert "RAM" in failed(*bare, far, "--signature", "sig")
    assert "no directory" in failed(*bare, good, "--signature", "nowhere/sig")
    assert "directory" in failed(*bare, good, "--signature", "folder")
    assert "--headless" in failed("run", "--bare", good, "--signature", "sig")
    assert "--bare" in failed("run", "--headless", "hello", "--signature", "sig")
    for wrong in ("0", "3", "128", "four", "-4"):
        text = failed(*bare, good, "--signature", "sig", f"--signature-granularity={wrong}")
        assert "power of two" in text
    assert "--signature" in failed(*bare, good, "--signature-granularity", "8")
    assert not (tmp_path / "sig").exists()


def test_htif_writes_characters_and_blocks(guest: Guest) -> None:
    # Device 1, command 1 is putchar; device 0 takes the address of a block: number 64 (write), 1, address, length.
    putchar = [li(A0, 0x101), 0x03051513, 0x04156513, store(A0, TOHOST)]  # slli a0, a0, 48; ori a0, a0, 'A'
    block = [
        li(A0, 64), store(A0, BLOCK), li(A0, 1), store(A0, BLOCK + 8), 0x28028513, store(A0, BLOCK + 16),
        li(A0, 3), store(A0, BLOCK + 24), 0x24028513, store(A0, TOHOST),
    ]  # fmt: skip
    # The result, 3, becomes the exit code: ld a0, BLOCK(t0); slli a0, a0, 1; ori a0, a0, 1.
    result = [0x2402B503, 0x00151513, 0x00156513, store(A0, TOHOST), jump(0)]
    text = [li(A0, 0x30), store(A0, TEXT, 0), store(A0, TEXT + 1, 0), li(A0, 10), store(A0, TEXT + 2, 0)]
    done = run("run", "--bare", guest(program(putchar + text + block + result)), "--headless")
    assert done.stdout == b"A00\n"
    assert done.returncode == 3
