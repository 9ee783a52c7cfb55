"""What GDB and QEMU call it."""

from __future__ import annotations

from collections.abc import Iterator

from rvtui.commands.registry import Argument, Candidate, CommandError, Context, Report, command, kind, synonym, topics


@kind("topic")
def _topics(context: Context, stem: str) -> Iterator[Candidate]:
    return (Candidate(name, each.help) for name, each in topics("info").items())


@command(
    "info",
    "as in GDB and QEMU: each TOPIC is another command's answer",
    Argument("TOPIC", "topic", "registers, mtree, breakpoints ...; all are listed if not given", True),
    example="info registers",
    aliases=("i",),
)
def _info(context: Context, topic: str = "") -> Report:
    known = topics("info")
    if topic:
        raise CommandError(f"no 'info {topic}': there is {', '.join(known)}")
    width = max(map(len, known))
    lines = tuple(f"info {name:<{width}}  {each.name}: {each.help}" for name, each in known.items())
    return Report(lines, {"topics": {name: each.name for name, each in known.items()}})


for _topic in ("info mem", "info tlb"):
    synonym(_topic, "map")
