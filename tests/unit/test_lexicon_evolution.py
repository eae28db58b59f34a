"""What a new version of a lexicon breaks: every rule of the specification, in both directions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_lexicon_files import setting
from worker.authority.checking import check, copies_in
from worker.lexicon.evolution import OLD_READERS, OLD_RECORDS, breaks
from worker.lexicon.files import OWN_FOLDER, save_published

FIELDS = "defs.main.record.properties"
BASE: dict[str, Any] = {
    "lexicon": 1,
    "id": "com.example.thing",
    "defs": {
        "main": {
            "type": "record",
            "key": "tid",
            "record": {
                "type": "object",
                "required": ["name"],
                "nullable": ["note"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10, "minLength": 2},
                    "note": {"type": "string", "enum": ["a", "b"]},
                    "when": {"type": "string", "format": "datetime"},
                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                    "file": {"type": "blob", "accept": ["image/png"], "maxSize": 100},
                    "tags": {"type": "array", "maxLength": 3, "items": {"type": "string"}},
                    "kind": {"type": "union", "refs": ["#colour"]},
                    "only": {"type": "union", "refs": ["#colour"], "closed": True},
                    "colour": {"type": "ref", "ref": "#colour"},
                },
            },
        },
        "colour": {"type": "object", "properties": {"red": {"type": "integer"}}},
    },
}
_NOTE = f"{FIELDS}.note"
BROKEN: dict[str, tuple[str, object, str, str]] = {
    "a required field is added": (
        "defs.main.record.required",
        ["name", "size"],
        f"{FIELDS}.size",
        OLD_RECORDS,
    ),
    "a required field is optional": (
        "defs.main.record.required",
        [],
        f"{FIELDS}.name",
        OLD_READERS,
    ),
    "a null is refused": ("defs.main.record.nullable", [], _NOTE, OLD_RECORDS),
    "a null is allowed": (
        "defs.main.record.nullable",
        ["note", "name"],
        f"{FIELDS}.name",
        OLD_READERS,
    ),
    "a limit is lowered": (f"{FIELDS}.name.maxLength", 5, f"{FIELDS}.name.maxLength", OLD_RECORDS),
    "a limit is raised": (f"{FIELDS}.name.maxLength", 50, f"{FIELDS}.name.maxLength", OLD_READERS),
    "a least length is raised": (
        f"{FIELDS}.name.minLength",
        3,
        f"{FIELDS}.name.minLength",
        OLD_RECORDS,
    ),
    "a least length is lowered": (
        f"{FIELDS}.name.minLength",
        1,
        f"{FIELDS}.name.minLength",
        OLD_READERS,
    ),
    "a minimum is raised": (f"{FIELDS}.size.minimum", 2, f"{FIELDS}.size.minimum", OLD_RECORDS),
    "a maximum is lowered": (f"{FIELDS}.size.maximum", 8, f"{FIELDS}.size.maximum", OLD_RECORDS),
    "a limit is added": (f"{FIELDS}.note.maxLength", 9, f"{FIELDS}.note.maxLength", OLD_RECORDS),
    "graphemes are limited": (
        f"{FIELDS}.name.maxGraphemes",
        9,
        f"{FIELDS}.name.maxGraphemes",
        OLD_RECORDS,
    ),
    "an enumeration shrinks": (f"{FIELDS}.note.enum", ["a"], f"{_NOTE}.enum", OLD_RECORDS),
    "an enumeration grows": (f"{FIELDS}.note.enum", ["a", "b", "c"], f"{_NOTE}.enum", OLD_READERS),
    "an enumeration is added": (f"{FIELDS}.name.enum", ["a"], f"{FIELDS}.name.enum", OLD_RECORDS),
    "a constant is added": (f"{FIELDS}.name.const", "a", f"{FIELDS}.name.const", OLD_RECORDS),
    "a format is added": (f"{FIELDS}.name.format", "uri", f"{FIELDS}.name.format", OLD_RECORDS),
    "a format is another": (
        f"{FIELDS}.when.format",
        "uri",
        f"{FIELDS}.when.format",
        "neither version",
    ),
    "a blob is to be smaller": (f"{FIELDS}.file.maxSize", 9, f"{FIELDS}.file.maxSize", OLD_RECORDS),
    "a blob takes other types": (
        f"{FIELDS}.file.accept",
        ["image/gif"],
        f"{FIELDS}.file.accept",
        "neither version",
    ),
    "a blob takes more types": (
        f"{FIELDS}.file.accept",
        ["image/*"],
        f"{FIELDS}.file.accept",
        OLD_READERS,
    ),
    "an array is to be shorter": (
        f"{FIELDS}.tags.maxLength",
        2,
        f"{FIELDS}.tags.maxLength",
        OLD_RECORDS,
    ),
    "an array holds something else": (
        f"{FIELDS}.tags.items.type",
        "integer",
        f"{FIELDS}.tags.items.type",
        "neither version",
    ),
    "a type is another": (f"{FIELDS}.name.type", "bytes", f"{FIELDS}.name.type", "neither version"),
    "a reference leads elsewhere": (
        f"{FIELDS}.colour.ref",
        "#other",
        f"{FIELDS}.colour.ref",
        "neither version",
    ),
    "a union is closed": (f"{FIELDS}.kind.closed", True, f"{FIELDS}.kind.closed", OLD_RECORDS),
    "a union is opened": (f"{FIELDS}.only.closed", False, f"{FIELDS}.only.closed", OLD_READERS),
    "a closed union is another": (
        f"{FIELDS}.only.refs",
        ["#colour", "#x"],
        f"{FIELDS}.only.refs",
        OLD_READERS,
    ),
    "an inner definition's field is limited": (
        "defs.colour.properties.red.maximum",
        255,
        "defs.colour.properties.red.maximum",
        OLD_RECORDS,
    ),
    "the key is of another kind": ("defs.main.key", "any", "defs.main.key", "neither version"),
}
HARMLESS: dict[str, tuple[str, object]] = {
    "an optional field is added": (f"{FIELDS}.extra", {"type": "string"}),
    "a description is another": ("defs.main.description", "what it is"),
    "known values are added": (f"{FIELDS}.name.knownValues", ["x"]),
    "an open union names one more type": (f"{FIELDS}.kind.refs", ["#colour", "#new"]),
    "a definition is added": ("defs.new", {"type": "token"}),
    "required is in another order": ("defs.main.record.required", ["name"]),
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the lexicon with another value somewhere."""
    document = copy.deepcopy(BASE)
    setting(path, value)(document)
    return document


@pytest.mark.parametrize(("path", "value", "place", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_somebody_is_found_with_its_place(
    path: str, value: object, place: str, why: str
) -> None:
    """Old records under the new version, or new records under the old one."""
    (found,) = breaks(BASE, changed(path, value))
    assert found.path == place
    assert found.why.startswith(why)
    assert found.was != found.now


@pytest.mark.parametrize(("path", "value"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_the_specification_allows_is_no_finding(path: str, value: object) -> None:
    """A lexicon may grow."""
    assert breaks(BASE, changed(path, value)) == []


def test_a_required_field_that_is_gone_or_renamed_is_found() -> None:
    """A renamed field is one that is gone, and a new one."""
    document = copy.deepcopy(BASE)
    record = document["defs"]["main"]["record"]
    record["properties"]["title"] = record["properties"].pop("name")
    record["required"] = ["title"]
    found = {each.path: (each.was, each.now) for each in breaks(BASE, document)}
    assert found == {
        f"{FIELDS}.name": ("required", None),
        f"{FIELDS}.title": (None, "required"),
    }


def test_a_definition_that_is_gone_is_found() -> None:
    """Others may refer to it."""
    document = copy.deepcopy(BASE)
    del document["defs"]["colour"]
    assert [each.path for each in breaks(BASE, document)] == ["defs.colour"]


def test_our_lexicons_are_compatible_with_what_was_published() -> None:
    """Whoever changes a lexicon is told here; every one of ours was published."""
    checked = list(check(OWN_FOLDER))
    assert len(checked) == 4
    assert not [finding for each in checked for finding in each.findings]
    assert all(each.against for each in checked)


def test_a_lexicon_that_was_published_must_stay(tmp_path: Path) -> None:
    """Records name it."""
    mood = json.loads((OWN_FOLDER / "computer/aesthetic/mood.json").read_text())
    save_published(tmp_path, mood)
    save_published(tmp_path / "published", {**BASE})
    found = {each.nsid: each.findings for each in check(tmp_path)}
    assert found["computer.aesthetic.mood"] == ()
    (lost,) = found["com.example.thing"]
    assert "bring it back" in lost.why


def test_an_invalid_lexicon_hides_no_other(tmp_path: Path) -> None:
    """Each is looked at by itself; what is wrong is named with its place."""
    mood = json.loads((OWN_FOLDER / "computer/aesthetic/mood.json").read_text())
    save_published(tmp_path, mood)
    save_published(tmp_path, {**BASE, "colour": "red"})
    checked = {each.nsid: each.findings for each in check(tmp_path)}
    assert checked["computer.aesthetic.mood"] == ()
    assert len(checked["com.example.thing"]) == 1
    assert copies_in(tmp_path).documents == {}
