"""Ready images: a kernel with KVM, an initramfs and firmware, made from Debian's packages and kept in a cache.

`recipes` says what there is, `apt` fetches packages by the system's package client, `packages` and `initramfs` take
them apart and put an image together, `cache` keeps it, `command` is `rvtui images`.
"""

from __future__ import annotations

from emulator.errors import EmulatorError


class ImageError(EmulatorError):
    """An image cannot be fetched, built or trusted. `str()` is one line that says what to do."""
