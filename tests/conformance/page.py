"""The fidelity page: what rvtui/docs/fidelity.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .rows import ROWS, WITHOUT_RULE
from .suite import rules

PATH = Path(__file__).resolve().parents[2] / "rvtui" / "docs" / "fidelity.json"


def outline() -> dict[str, Any]:
    """The page without verdicts."""
    return {
        "format": 1,
        "rules": [
            {
                "id": rule.id,
                "sentence": rule.sentence,
                "section": rule.section,
                "rows": list(rule.rows),
                "cases": len(rule.cases),
            }
            for rule in rules()
        ],
        "rows": [
            {"row": row, "title": title, "without": WITHOUT_RULE.get(row, "")} for row, title in sorted(ROWS.items())
        ],
    }


def write(verdicts: dict[str, bool]) -> None:
    page = outline()
    for each in page["rules"]:
        each["verdict"] = "holds" if verdicts[each["id"]] else "broken"
    PATH.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n")
