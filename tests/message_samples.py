"""What docs/producers.md says about messages, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[1] / "docs" / "producers.md").read_text()
SHORT, LONG = (sample.encode() for sample in re.findall(r"```json\n(.*)\n```", _TEXT))
ITEM = "65f0c0ffee65f0c0ffee65f0"


def fields() -> dict[str, bool]:
    """Return every field of the table, and whether it is required."""
    rows = re.findall(r"^\| (`.*`) \| (yes|no) \|", _TEXT, re.MULTILINE)
    return {name: need == "yes" for names, need in rows for name in re.findall(r"`(.*?)`", names)}
