"""Try every rule on the hart and write the fidelity page.

python -m tests.conformance            all rules; writes the page
python -m tests.conformance WORD...    only rules that have every WORD in their id
python -m tests.conformance -x         no page; ends with the first rule that is broken
"""

from __future__ import annotations

import sys

from .page import PATH, write
from .suite import rules


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if word != "-x"]
    wanted = [rule for rule in rules() if all(word in rule.id for word in words)]
    verdicts = {}
    for rule in wanted:
        broken = rule.run(first="-x" in arguments)
        verdicts[rule.id] = not broken
        for line in broken:
            print(line)
        if broken and "-x" in arguments:
            return 1
    failed = len(wanted) - sum(verdicts.values())
    print(f"{len(wanted)} rules, {sum(len(rule.cases) for rule in wanted)} cases: {failed} broken")
    if not arguments:
        write(verdicts)
        print(f"wrote {PATH.relative_to(PATH.parents[2])}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
