"""SECURITY.md lists every Redis key, and `doctor` recognizes them as those of this project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.queue.redis_keys import OWN_KEYS, is_own_key

ROOT = Path(__file__).parents[2]
_IN_SESSIONS = re.compile(r'_key\("([a-z]+)"')  # media-atproto:{what}:...
_LITERAL = re.compile(r"media-atproto:([a-z-]+)")


def _section() -> str:
    """Return the section of SECURITY.md about Redis keys."""
    return (ROOT / "SECURITY.md").read_text().split("\n## Redis keys\n")[1].split("\n## ")[0]


def listed_keys() -> list[str]:
    """Return the keys in the table, with their placeholders."""
    rows = [line for line in _section().splitlines() if line.startswith("| `")]
    # A `|` of a key is escaped in a table.
    cells = [re.split(r"(?<!\\)\|", row)[1] for row in rows]
    return [name for cell in cells for name in re.findall(r"`([^`/][^`]*)`", cell)]


def test_every_listed_key_is_recognized() -> None:
    """With a queue for QUEUE; each pattern in the code has a row."""
    samples = {"QUEUE": "live", "d*_f": "d_f", "*": "x"}
    names = listed_keys()
    for placeholder, sample in samples.items():
        names = [name.replace(placeholder, sample) for name in names]
    names = [name for name in names if not name.startswith("\\x")]  # an ending of a key
    assert len(names) > 25
    assert [name for name in names if not is_own_key(name)] == []
    first = {pattern.replace("live", "QUEUE").split("*")[0] for pattern in OWN_KEYS}
    known = "\n".join(listed_keys())
    missing = [start for start in first if re.sub(r"(sweep|bulk)$", "QUEUE", start) not in known]
    assert [each for each in missing if not re.search("\x06|celery|_flower", each)] == []


def test_keys_that_valkey_allows_to_workers_and_flower_are_recognized() -> None:
    """Of the rules in deploy/valkey.acl."""
    rules = (ROOT / "deploy/valkey.acl").read_text().splitlines()
    granted = {
        key
        for rule in rules
        if rule.startswith(("user worker", "user flower"))
        for key in re.findall(r" ~(\S+)", rule)
    }
    samples = {
        "live*": "live",
        "sweep*": "sweep",
        "bulk*": "bulk",
        "_kombu.binding.*": "_kombu.binding.live",
        "_kombu.binding_permanent.*": "_kombu.binding_permanent.bulk",
        "unacked*_flower": "unacked_index_flower",
    }
    names = [samples.get(key, key.replace("*", "x")) for key in granted]
    assert len(names) > 12
    assert [name for name in names if not is_own_key(name)] == []


@pytest.mark.parametrize(
    "name", ["cart:7", "celery", "_kombu.binding.celery", "unacked_other", "live2", "media", ""]
)
def test_keys_of_other_programs_are_not(name: str) -> None:
    """Another Celery application shares the database, for example."""
    assert not is_own_key(name)


def test_every_key_in_the_code_is_in_the_table() -> None:
    """With the module that owns it."""
    section = _section()
    listed = {word for name in listed_keys() for word in _LITERAL.findall(name)}
    sessions = (ROOT / "worker/pds/sessions.py").read_text()
    sources = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "worker").rglob("*.lua")]
    used = {word for path in sources for word in _LITERAL.findall(path.read_text())}
    used |= set(_IN_SESSIONS.findall(sessions))
    assert used - listed == set()
    for kombu in ("unacked", "unacked_index", "unacked_mutex", "_kombu.binding."):
        assert f"`{kombu}" in section
