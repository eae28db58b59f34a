"""SECURITY.md lists every Redis key that the code uses."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_IN_SESSIONS = re.compile(r'_key\("([a-z]+)"')  # media-atproto:{what}:...
_LITERAL = re.compile(r"media-atproto:([a-z-]+)")


def test_every_key_in_the_code_is_in_the_table() -> None:
    """With the module that owns it."""
    section = (ROOT / "SECURITY.md").read_text().split("\n## Redis keys\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    listed = {word for row in rows for word in _LITERAL.findall(row.split("|")[1])}
    sessions = (ROOT / "worker/pds/sessions.py").read_text()
    sources = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "worker").rglob("*.lua")]
    used = {word for path in sources for word in _LITERAL.findall(path.read_text())}
    used |= set(_IN_SESSIONS.findall(sessions))
    assert used - listed == set()
    for kombu in ("unacked", "unacked_index", "unacked_mutex", "_kombu.binding."):
        assert f"`{kombu}" in section
