"""Plain values: what a machine's state is made of, and their msgpack encoding.

None, bool, int of -2**63 .. 2**64-1, str, bytes, list, and dict with str keys; containers nested at most 32 deep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

_LEAVES = frozenset({type(None), bool, int, str, bytes})
_CONTAINERS = frozenset({list, dict})
_DEEPEST = 32
MOST = 1 << 20

Trail = tuple[Any, Any] | None
"""How a value is reached: (trail of its container, key or index)."""


def pack(value: Any, name: str) -> bytes:
    """`value` as one msgpack object. Raises ValueError, naming by `name` and path the first part that is not plain."""
    if wrong := _not_plain(value, name):
        raise ValueError(wrong)
    # Bytes of a file name that are no UTF-8 are surrogates in Python; they stand in the file as they were.
    return msgpack.packb(value, strict_types=True, unicode_errors="surrogateescape")  # type: ignore[no-any-return]


def unpack(data: bytes, name: str, most: int = MOST) -> Any:
    """The one msgpack object in `data`, not to be trusted. Raises ValueError: what is wrong where, `name` in front.

    `most`: containers in it, and items in each, that are accepted; bounds what decoding allocates.
    """
    count = 0

    def counted(container: list[Any]) -> list[Any]:
        nonlocal count
        count += 1
        if count > most:
            raise ValueError(f"more than {most} lists and maps")
        return container

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        counted([])
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a map with the same key twice")
        return result

    longest = min(most, len(data))
    try:
        value = msgpack.unpackb(
            data,
            unicode_errors="surrogateescape",
            strict_map_key=True,
            list_hook=counted,
            object_pairs_hook=mapping,
            max_array_len=longest,
            max_map_len=longest,
            max_ext_len=0,
        )
    except msgpack.ExtraData:
        raise ValueError(f"{name} does not decode (more than one object)") from None
    except (ValueError, TypeError, MemoryError, msgpack.UnpackException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} does not decode ({reason})") from None
    if wrong := _not_plain(value, name):
        raise ValueError(wrong)
    return value


def first_difference(one: Any, other: Any, name: str) -> str | None:
    """Where two plain values first differ, as "harts[0].pc"; None when they are equal, types included."""
    found = _difference(one, other, None)
    return None if found is None else _place(name, found[0])


def _difference(one: Any, other: Any, trail: Trail) -> tuple[Trail] | None:
    if type(one) is not type(other):
        return (trail,)
    pairs: list[tuple[Any, Any, Any]]
    if type(one) is dict:
        if missing := [key for key in one if key not in other] or [key for key in other if key not in one]:
            return ((trail, missing[0]),)
        pairs = [(key, part, other[key]) for key, part in one.items()]
    elif type(one) is list:
        if len(one) != len(other):
            return (trail,)
        pairs = [(index, part, other[index]) for index, part in enumerate(one)]
    else:
        return None if one == other else (trail,)
    for key, part, counterpart in pairs:
        if found := _difference(part, counterpart, (trail, key)):
            return found
    return None


def _not_plain(value: Any, name: str) -> str | None:
    """What in `value` is not plain, or None."""
    if wrong := _wrong_leaves([value]):
        return f"{name} is {wrong[1]}"
    todo: list[tuple[Any, Trail, int]] = [(value, None, 1)] if type(value) in _CONTAINERS else []
    while todo:
        container, trail, depth = todo.pop()
        if depth > _DEEPEST:
            return f"{_place(name, trail)} is nested deeper than {_DEEPEST}"
        keys: Sequence[Any] = range(len(container))
        parts: list[Any] = container
        if type(container) is dict:
            if not set(map(type, container)) <= {str}:
                bad = next(key for key in container if type(key) is not str)
                return f"a key in {_place(name, trail)} is {type(bad).__name__}, not str"
            keys, parts = list(container), list(container.values())
        if wrong := _wrong_leaves(parts):
            return f"{_place(name, (trail, keys[wrong[0]]))} is {wrong[1]}"
        todo += [(part, (trail, keys[i]), depth + 1) for i, part in enumerate(parts) if type(part) in _CONTAINERS]
    return None


def _wrong_leaves(parts: list[Any]) -> tuple[int, str] | None:
    """(index, what it is) of the first part that is neither a container nor a plain leaf."""
    kinds = set(map(type, parts))
    if strange := kinds - _LEAVES - _CONTAINERS:
        index = next(index for index, part in enumerate(parts) if type(part) in strange)
        return index, f"{type(parts[index]).__name__}, which cannot be saved"
    if int in kinds:
        for index, part in enumerate(parts):
            if type(part) is int and not -(1 << 63) <= part < 1 << 64:
                return index, "wider than 64 bits"
    return None


def _place(name: str, trail: Trail) -> str:
    """A trail as text: harts[0].pc, on one line whatever the keys hold."""
    parts: list[str] = []
    while trail is not None:
        trail, key = trail
        if type(key) is int:
            parts.append(f"[{key}]")
        else:
            text = key if key.isprintable() else ascii(key)
            parts.append("." + (text if len(text) <= 40 else text[:40] + "..."))
    return name + "".join(reversed(parts))
