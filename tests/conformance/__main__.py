"""Try every rule on the hart and write the fidelity page.

python -m tests.conformance [WORD]      only rules whose id contains WORD, and no page
"""

from __future__ import annotations

import sys

from .page import PATH, write
from .suite import rules


def main(words: list[str]) -> int:
    wanted = [rule for rule in rules() if all(word in rule.id for word in words)]
    broken = {rule.id: rule.run() for rule in wanted}
    for lines in broken.values():
        print(*lines, sep="\n", end="\n" if lines else "")
    failed = sum(bool(lines) for lines in broken.values())
    print(f"{len(wanted)} rules, {sum(len(rule.cases) for rule in wanted)} cases: {failed} broken")
    if not words:
        write({id: not lines for id, lines in broken.items()})
        print(f"wrote {PATH.relative_to(PATH.parents[2])}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
