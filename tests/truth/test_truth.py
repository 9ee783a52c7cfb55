"""What the comparison reads of the kernel's answers; the comparison itself needs a Linux: python -m tests.truth."""

from __future__ import annotations

import base64
import gzip
import struct

import pytest

from emulator.addressspace import Run
from rvtui.images.initramfs import archive
from rvtui.images.packages import File
from tests.truth.compare import Leaves, maps, words
from tests.truth.linux import blocks, file_of


def test_files_are_taken_out_of_an_initrd() -> None:
    data = archive({"bin/busybox": File(0o755, b"shell"), "init": File(0o755, b"#!")})
    assert file_of(data, "bin/busybox") == file_of(gzip.compress(data), "/bin/busybox") == b"shell"
    with pytest.raises(SystemExit, match="no bin/none"):
        file_of(data, "bin/none")


def test_answers_are_parted_by_their_marks() -> None:
    log = "noise\n@@begin iomem\n80000000-83ffffff : System RAM\n@@end iomem\n@@begin maps\n@@end maps\n@@begin cut\nx"
    assert blocks(log) == {"iomem": "80000000-83ffffff : System RAM\n", "maps": ""}


def test_binary_words_come_through_the_console() -> None:
    text = base64.encodebytes(gzip.compress(struct.pack("<3Q", 1 << 63 | 5, 0, 7))).decode()
    assert words(text) == (1 << 63 | 5, 0, 7)
    areas = "00010000-00191000 r-xp 00000000 00:02 10    /bin/busybox\n7fff0000-7fff2000 rw-p 00000000 00:00 0 \n"
    assert maps(areas) == [(0x10000, 0x191000, "/bin/busybox"), (0x7FFF_0000, 0x7FFF_2000, "")]


def test_pages_of_a_map() -> None:
    runs = [Run(0x3000, 0x9000, 0x2000, 2, 0x1000, 2), Run(0x1000, 0x5000, 0x1000, 2, 0x1000, 1)]
    leaves = Leaves(runs)
    assert [leaves.at(at) for at in (0xFFF, 0x1000, 0x1FFF, 0x2000, 0x4008, 0x5000)] == [
        None, 0x5000, 0x5FFF, None, 0xA008, None,
    ]  # fmt: skip
    assert dict(leaves) == {0x1000: 0x5000, 0x3000: 0x9000, 0x4000: 0xA000}
