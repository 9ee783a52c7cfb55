"""The command line of `rvtui images`. Imports nothing that takes time: it is there for every command."""

from __future__ import annotations

from typing import Any, Final

KINDS: Final = ("kernel", "initrd", "firmware")
"""Of files of an image."""


def arguments(parts: Any) -> None:
    """Add the actions to what `add_subparsers` returned."""
    text = "what there is"
    each = parts.add_parser("list", help=text, description=text, allow_abbrev=False)
    each.add_argument("--json", action="store_true", help="one JSON object; what is in it: pydoc rvtui.images.command")
    text = "fetch packages and build an image; goes on where it was interrupted"
    each = parts.add_parser("get", help=text, description=text, allow_abbrev=False)
    each.add_argument("name", metavar="NAME")
    each.add_argument("--mirror", metavar="URL", help="where Debian is, else as the system's own lists say")
    each.add_argument("--again", action="store_true", help="make it anew, of the newest packages")
    text = "where a file of an image is"
    each = parts.add_parser("path", help=text, description=text, allow_abbrev=False)
    each.add_argument("name", metavar="NAME")
    each.add_argument("kind", metavar="FILE", nargs="?", choices=KINDS, help=" or ".join(KINDS))
    text = "check every byte of images"
    each = parts.add_parser("verify", help=text, description=text, allow_abbrev=False)
    each.add_argument("names", metavar="NAME", nargs="*")
    text = "delete an image"
    each = parts.add_parser("remove", help=text, description=text, allow_abbrev=False)
    each.add_argument("name", metavar="NAME")
    text = "delete downloaded packages; images stay"
    parts.add_parser("clean", help=text, description=text, allow_abbrev=False)
