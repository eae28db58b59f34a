"""What a new version of a lexicon breaks: every rule of the specification, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.lexicon_samples import FIELDS, LEXICONS, MOOD, absolute, drop, lexicon, put
from worker.media.validation.compatibility import OLD_READERS, OLD_RECORDS, breaking_changes
from worker.media.validation.files import OWN_FOLDER, save_published
from worker.operations.lexicons.check import check, load_copies

PROPERTIES = {
    "name": {"type": "string", "maxLength": 10, "minLength": 2},
    "note": {"type": "string", "enum": ["a", "b"]},
    "when": {"type": "string", "format": "datetime"},
    "size": {"type": "integer", "minimum": 1, "maximum": 9},
    "file": {"type": "blob", "accept": ["image/png"], "maxSize": 100},
    "tags": {"type": "array", "maxLength": 3, "items": {"type": "string"}},
    "kind": {"type": "union", "refs": ["#colour"]},
    "only": {"type": "union", "refs": ["#colour"], "closed": True},
    "colour": {"type": "ref", "ref": "#colour"},
}
COLOUR = {"type": "object", "properties": {"red": {"type": "integer"}}}
BASE = lexicon(
    "com.example.thing", PROPERTIES, {"colour": COLOUR}, required=["name"], nullable=["note"]
)
RECORD = "defs.main.record"
NEITHER = "neither version"


class Change(NamedTuple):
    """A change that breaks someone: a path, its new value, who breaks, and the reported place.

    A path that begins with a dot is one of a field. The place is the path, if it is empty.
    """

    path: str
    value: object
    why: str
    place: str = ""


BROKEN = {
    "a required field is added": Change(
        f"{RECORD}.required", ["name", "size"], OLD_RECORDS, ".size"
    ),
    "a required field is optional": Change(f"{RECORD}.required", [], OLD_READERS, ".name"),
    "a null is refused": Change(f"{RECORD}.nullable", [], OLD_RECORDS, ".note"),
    "a null is allowed": Change(f"{RECORD}.nullable", ["note", "name"], OLD_READERS, ".name"),
    "a limit is lowered": Change(".name.maxLength", 5, OLD_RECORDS),
    "a limit is raised": Change(".name.maxLength", 50, OLD_READERS),
    "a least length is raised": Change(".name.minLength", 3, OLD_RECORDS),
    "a least length is lowered": Change(".name.minLength", 1, OLD_READERS),
    "a minimum is raised": Change(".size.minimum", 2, OLD_RECORDS),
    "a maximum is lowered": Change(".size.maximum", 8, OLD_RECORDS),
    "a limit is added": Change(".note.maxLength", 9, OLD_RECORDS),
    "graphemes are limited": Change(".name.maxGraphemes", 9, OLD_RECORDS),
    "an enumeration shrinks": Change(".note.enum", ["a"], OLD_RECORDS),
    "an enumeration grows": Change(".note.enum", ["a", "b", "c"], OLD_READERS),
    "an enumeration is added": Change(".name.enum", ["a"], OLD_RECORDS),
    "a constant is added": Change(".name.const", "a", OLD_RECORDS),
    "a format is added": Change(".name.format", "uri", OLD_RECORDS),
    "a format is another": Change(".when.format", "uri", NEITHER),
    "a blob is to be smaller": Change(".file.maxSize", 9, OLD_RECORDS),
    "a blob takes other types": Change(".file.accept", ["image/gif"], NEITHER),
    "a blob takes more types": Change(".file.accept", ["image/*"], OLD_READERS),
    "an array is to be shorter": Change(".tags.maxLength", 2, OLD_RECORDS),
    "an array holds something else": Change(".tags.items.type", "integer", NEITHER),
    "a type is another": Change(".name.type", "bytes", NEITHER),
    "a reference leads elsewhere": Change(".colour.ref", "#other", NEITHER),
    "a union is closed": Change(".kind.closed", value=True, why=OLD_RECORDS),
    "a union is opened": Change(".only.closed", value=False, why=OLD_READERS),
    "a closed union is another": Change(".only.refs", ["#colour", "#x"], OLD_READERS),
    "an inner field is limited": Change("defs.colour.properties.red.maximum", 255, OLD_RECORDS),
    "the key is of another kind": Change("defs.main.key", "any", NEITHER),
}
HARMLESS: dict[str, tuple[str, object]] = {
    "an optional field is added": (".extra", {"type": "string"}),
    "a description is another": ("defs.main.description", "what it is"),
    "known values are added": (".name.knownValues", ["x"]),
    "an open union names one more type": (".kind.refs", ["#colour", "#new"]),
    "a definition is added": ("defs.new", {"type": "token"}),
    "required is in another order": (f"{RECORD}.required", ["name"]),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_breaking_change_is_found_with_its_place(change: Change) -> None:
    """It breaks old records under the new version, or new records under the old one."""
    (found,) = breaking_changes(BASE, put(BASE, absolute(change.path), change.value))
    assert found.path == absolute(change.place or change.path)
    assert found.why.startswith(change.why)
    assert found.was != found.now


@pytest.mark.parametrize(("path", "value"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_the_specification_allows_is_no_finding(path: str, value: object) -> None:
    """A lexicon may grow."""
    assert breaking_changes(BASE, put(BASE, absolute(path), value)) == []


def test_a_required_field_that_is_gone_or_renamed_is_found() -> None:
    """A renamed field is one that is gone, and a new one."""
    renamed = put(drop(BASE, absolute(".name")), absolute(".title"), PROPERTIES["name"])
    document = put(renamed, f"{RECORD}.required", ["title"])
    found = {each.path: (each.was, each.now) for each in breaking_changes(BASE, document)}
    assert found == {
        f"{FIELDS}.name": ("required", None),
        f"{FIELDS}.title": (None, "required"),
    }


def test_a_definition_that_is_gone_is_found() -> None:
    """Others may refer to it."""
    found = breaking_changes(BASE, drop(BASE, "defs.colour"))
    assert [each.path for each in found] == ["defs.colour"]


def test_our_lexicons_are_compatible_with_what_was_published() -> None:
    """Whoever changes a lexicon is told here; every one of ours was published."""
    checked = list(check(OWN_FOLDER))
    assert len(checked) == 4
    assert not [finding for each in checked for finding in each.findings]
    assert all(each.against for each in checked)


def test_a_lexicon_that_was_published_must_stay(tmp_path: Path) -> None:
    """Records name it."""
    save_published(tmp_path, LEXICONS.document(MOOD["$type"]))
    save_published(tmp_path / "published", {**BASE})
    found = {each.nsid: each.findings for each in check(tmp_path)}
    assert found["computer.aesthetic.mood"] == ()
    (lost,) = found["com.example.thing"]
    assert "bring it back" in lost.why


def test_an_invalid_lexicon_hides_no_other(tmp_path: Path) -> None:
    """Each is looked at by itself; what is wrong is named with its place."""
    save_published(tmp_path, LEXICONS.document(MOOD["$type"]))
    save_published(tmp_path, {**BASE, "colour": "red"})
    checked = {each.nsid: each.findings for each in check(tmp_path)}
    assert checked["computer.aesthetic.mood"] == ()
    assert len(checked["com.example.thing"]) == 1
    assert load_copies(tmp_path).documents == {}
