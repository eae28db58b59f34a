"""docs/your-data.md names every collection, field and limit that the engine reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from worker.core.settings.profiles import PROFILES
from worker.database import account_changes, accounts, backlog, removals, thumbnail_cache
from worker.media import OWN_TYPES, MediaType
from worker.media.base import HIDDEN_BY
from worker.media.lexicons import type_lexicons
from worker.operations.watch import checkpoint

PAGE = (Path(__file__).parents[2] / "docs/your-data.md").read_text()


def section(title: str) -> str:
    """Return the text of a section."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return str(found)


def rows(text: str) -> set[str]:
    """Return the names in the first column of all tables of a text."""
    cells = re.findall(r"^\| ([^|]+) \|", text, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


SECTIONS = {
    "painting": "Paintings",
    "mood": "Moods",
    "piece": "Pieces",
    "kidlisp": "KidLisp programs",
}


@pytest.mark.parametrize("kind", OWN_TYPES, ids=lambda kind: kind.name)
def test_section_of_a_type_has_all_its_fields(kind: MediaType) -> None:
    """And its collection, its name and its record; `when` is a field of all types."""
    text = section(SECTIONS[kind.name])
    assert rows(text) >= {*kind.fields} - {"when"}
    head = f"Collection `{kind.collection}`, type `{kind.name}`, record `{kind.nsid}`."
    assert head in text


def test_fields_of_all_types_are_complete() -> None:
    """A hiding rule is one of them."""
    hiding = {rule.field for rule in HIDDEN_BY}
    assert rows(section("Fields of all types")) == {"_id", "when", "user", "atproto", *hiding}


@pytest.mark.parametrize("kind", OWN_TYPES, ids=lambda kind: kind.name)
def test_limits_are_those_of_the_lexicons(kind: MediaType) -> None:
    """In bytes, as the lexicons count."""
    document: Any = type_lexicons().document(kind.nsid)
    properties = document["defs"]["main"]["record"]["properties"]
    row = re.compile(r"^\| `(\w+)` \| text, ([\d,]+) bytes", re.M)
    limits = row.findall(section(SECTIONS[kind.name]))
    assert limits
    for field, limit in limits:
        assert properties[field]["maxLength"] == int(limit.replace(",", ""))


def test_every_collection_is_named() -> None:
    """Those that are read, and those that are written."""
    read = {*accounts.INDEXES, *(kind.collection for kind in OWN_TYPES)}
    assert rows(section("What is read")) == read
    modules = (account_changes, removals, thumbnail_cache, checkpoint)
    for name in (backlog.CURSORS, *(module.COLLECTION for module in modules)):
        assert f"`{name}`" in section("What is read")


def test_the_site_of_the_profile_is_named() -> None:
    """A reader with another site must know where links lead by default."""
    (profile,) = PROFILES.values()
    assert profile.settings["SITE_URL"] in section("Other platforms")


def test_readme_has_the_commands_of_the_page() -> None:
    """Those of the page are executed by tests/system/test_first_hour.py."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.M | re.S)
    for block in blocks:
        if "stack --user" in block or "save.py" in block:
            assert block in PAGE
