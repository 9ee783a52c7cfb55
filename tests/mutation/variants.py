"""One C file that holds many mutants at once: a copy of its function for each, and a choice between them while it runs.

So a file is compiled once, and a process becomes a mutant by setting `mutation_chosen`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from .source import Mutant, Source

CHOSEN = "mutation_chosen"
DEFINITION = f'__attribute__((visibility("default"))) int {CHOSEN};\n'
_ERROR = re.compile(r"^mutant(\d+):\d+(?::\d+)?: error", re.MULTILINE)


def source_text(source: Source, mutants: Iterable[tuple[int, Mutant]]) -> str:
    """The text of the file with numbered mutants built in."""
    by_function: dict[str, list[tuple[int, Mutant]]] = defaultdict(list)
    for number, mutant in mutants:
        by_function[mutant.function].append((number, mutant))
    parts, done = [f"extern int {CHOSEN};\n"], 0
    for name, opening, closing in source.functions:
        if name not in by_function:
            continue
        head = source.pair[opening - 1] - 1  # the name
        first = head
        while source.tokens[first - 1].text not in (";", "}") and first > 0:
            first -= 1
        start, end = source.tokens[first].start, source.tokens[closing].end
        at, body = source.tokens[head], source.tokens[opening].start
        parts.append(source.text[done:start])
        signature = source.text[start : at.start], source.text[at.end : body]
        result = " ".join(word for word in signature[0].split() if word not in ("static", "inline"))
        static = "" if "static" in signature[0].split() else "static "
        parts.append(f"{signature[0]}{name}{signature[1]};\n")
        for number, mutant in [(0, None), *by_function[name]]:
            text = source.text[body:end]
            if mutant is not None:
                text = text[: mutant.start - body] + mutant.text + text[mutant.end - body :]
            head_text = f"{static}{signature[0]}{name}__{number}{signature[1]}"
            parts.append(f'\n#line 1 "mutant{number}"\n{head_text}{text}\n')
        arguments = ", ".join(_parameters(source, head + 1, opening - 1))
        give = "" if result == "void" else "return "
        choices = "".join(
            f"    case {number}: {give}{name}__{number}({arguments}); break;\n" for number, _ in by_function[name]
        )
        parts.append(
            f'\n#line 1 "choice"\n{signature[0]}{name}{signature[1]}{{\n    switch ({CHOSEN}) {{\n{choices}'
            f"    default: {give}{name}__0({arguments}); break;\n    }}\n}}\n"
        )
        done = end
    return "".join(parts) + source.text[done:]


def _parameters(source: Source, opening: int, closing: int) -> list[str]:
    names, last = [], ""
    for i in range(opening + 1, closing + 1):
        token = source.tokens[i]
        if token.text in (",", ")"):
            if last and last != "void":
                names.append(last)
            last = ""
        elif token.kind == "name":
            last = token.text
    return names


def broken(messages: str) -> set[int]:
    """Mutants that do not compile, by what the compiler says."""
    return {int(number) for number in _ERROR.findall(messages)}
