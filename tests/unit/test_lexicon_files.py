"""Loading lexicons: what a folder must look like, and how a bad file is reported."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.lexicon import LexiconFileError, load_lexicons

NSID = "com.example.thing"
GOOD: dict[str, Any] = {
    "lexicon": 1,
    "id": NSID,
    "defs": {
        "main": {
            "type": "record",
            "key": "tid",
            "record": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10},
                    "file": {"type": "blob", "accept": ["image/*"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}

Change = Callable[[dict[str, Any]], object]


def setting(path: str, value: object) -> Change:
    """Return a change that sets what is at the dotted `path` of a document."""

    def change(document: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for name in parents:
            document = document[name]
        document[key] = value

    return change


RECORD = "defs.main.record"
FIELDS = f"{RECORD}.properties"
BAD: dict[str, tuple[str, object, str]] = {
    "another version of the language": ("lexicon", 2, "lexicon should be 1"),
    "version true": ("lexicon", True, "lexicon should be 1"),
    "another id than the path": ("id", "com.example.other", "id should be 'com.example.thing'"),
    "no definitions": ("defs", None, "defs should be an object"),
    "no main definition": ("defs", {"other": {}}, "defs.main should be an object"),
    "a query": ("defs.main.type", "query", "defs.main.type should be 'record'"),
    "another kind of key": ("defs.main.key", "any", "defs.main.key should be 'tid'"),
    "no record": ("defs.main.record", None, f"{RECORD} should be an object"),
    "a record that is no object": (f"{RECORD}.type", "array", f"{RECORD}.items is required"),
    "a record that is a string": (RECORD, {"type": "string"}, f"{RECORD}.type should be 'object'"),
    "a record without properties": (RECORD, {"type": "object"}, f"{RECORD}.properties is required"),
    "a required field that is not defined": (
        f"{RECORD}.required",
        ["title"],
        f"{RECORD}.required names 'title'",
    ),
    "a nullable field that is not defined": (
        f"{RECORD}.nullable",
        ["title"],
        f"{RECORD}.nullable names 'title'",
    ),
    "required not a list": (f"{RECORD}.required", "name", f"{RECORD}.required should be a list"),
    "a reserved name": (f"{FIELDS}.$type", {"type": "string"}, f"{FIELDS}.$type is a reserved"),
    "a field that is no object": (f"{FIELDS}.name", "string", f"{FIELDS}.name should be an object"),
    "a field without a type": (f"{FIELDS}.name", {}, f"{FIELDS}.name.type should be one of"),
    "a type that is a list": (f"{FIELDS}.name.type", [], f"{FIELDS}.name.type should be one of"),
    "a reference to nothing": (
        f"{FIELDS}.name",
        {"type": "ref", "ref": "#thing"},
        f"{FIELDS}.name.ref should be # and a name in defs, got '#thing'",
    ),
    "a reference to another document": (
        f"{FIELDS}.name",
        {"type": "ref", "ref": "com.atproto.repo.strongRef"},
        f"{FIELDS}.name.ref should be # and a name in defs",
    ),
    "a reference to the record itself": (
        f"{FIELDS}.name",
        {"type": "ref", "ref": "#main"},
        "defs.main.type should be one of",
    ),
    "an object without a name": (
        f"{FIELDS}.name",
        {"type": "object", "properties": {}},
        f"{FIELDS}.name is an object, which needs a definition of its own",
    ),
    "an unknown field": (f"{FIELDS}.name", {"type": "unknown"}, f"{FIELDS}.name.type should be"),
    "a misspelt limit": (f"{FIELDS}.name.maxlength", 10, f"{FIELDS}.name.maxlength is a keyword"),
    "a limit of another type": (f"{FIELDS}.name.minimum", 1, f"{FIELDS}.name.minimum is a keyword"),
    "a limit in a string": (f"{FIELDS}.name.maxLength", "10", f"{FIELDS}.name.maxLength should be"),
    "a limit of 0": (f"{FIELDS}.name.maxLength", 0, f"{FIELDS}.name.maxLength should be"),
    "a limit that is true": (f"{FIELDS}.name.maxLength", True, f"{FIELDS}.name.maxLength should"),
    "a float": (f"{FIELDS}.name.maxLength", 1.5, f"{FIELDS}.name.maxLength should be a whole"),
    "an unknown format": (f"{FIELDS}.name.format", "email", f"{FIELDS}.name.format should be"),
    "an empty enumeration": (f"{FIELDS}.name.enum", [], f"{FIELDS}.name.enum should be a list"),
    "an enumeration of numbers": (f"{FIELDS}.name.enum", [1], f"{FIELDS}.name.enum should be"),
    "an empty enumeration of numbers": (
        f"{FIELDS}.name",
        {"type": "integer", "enum": []},
        f"{FIELDS}.name.enum should be a list of integers",
    ),
    "an enumeration of numbers in a string": (
        f"{FIELDS}.name",
        {"type": "integer", "enum": "12"},
        f"{FIELDS}.name.enum should be a list of integers",
    ),
    "an array without items": (f"{FIELDS}.tags", {"type": "array"}, f"{FIELDS}.tags.items is"),
    "blobs in an array": (
        f"{FIELDS}.tags.items",
        {"type": "blob"},
        f"{FIELDS}.tags.items is a blob, which only the record itself may hold",
    ),
    "no accepted type": (f"{FIELDS}.file.accept", [], f"{FIELDS}.file.accept should be a list"),
    "an unknown key of the document": ("revision", 3, "revision is a keyword"),
    "an unknown key of the record": ("defs.main.keys", "tid", "defs.main.keys is a keyword"),
    "a misspelt limit where nothing refers to": (
        "defs.spare",
        {"type": "string", "maxlength": 3},
        "defs.spare.maxlength is a keyword",
    ),
    "a token with a limit": (
        "defs.red",
        {"type": "token", "maxLength": 3},
        "defs.red.maxLength is a keyword",
    ),
    "bounds that nothing can meet": (
        f"{FIELDS}.name.minLength",
        11,
        f"{FIELDS}.name.minLength is above maxLength",
    ),
    "a bare wildcard": (f"{FIELDS}.file.accept", ["*"], f"{FIELDS}.file.accept should be a list"),
    "a partial wildcard": (f"{FIELDS}.file.accept", ["text/ht*"], f"{FIELDS}.file.accept should"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder where com.example.* is to be."""
    path = tmp_path / "com" / "example"
    path.mkdir(parents=True)
    return path


def save(path: Path, document: object) -> Path:
    """Write a lexicon document."""
    path.write_text(json.dumps(document))
    return path


def test_further_folders_add_types(tmp_path: Path, folder: Path) -> None:
    """A type may live elsewhere, beside the four that are shipped."""
    save(folder / "thing.json", GOOD)
    lexicons = load_lexicons(tmp_path)
    assert "computer.aesthetic.mood" in lexicons.nsids
    lexicons.validate(NSID, {"$type": NSID, "name": "x"})


def test_other_definitions_in_a_file_do_no_harm(tmp_path: Path, folder: Path) -> None:
    """A lexicon may define tokens for its known values beside the record."""
    document = copy.deepcopy(GOOD)
    document["defs"]["red"] = {"type": "token", "description": "A colour."}
    save(folder / "thing.json", document)
    assert NSID in load_lexicons(tmp_path).nsids


@pytest.mark.parametrize(("path", "value", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_document_is_reported_with_file_place_and_fault(
    tmp_path: Path, folder: Path, path: str, value: object, message: str
) -> None:
    """Nothing that would weaken validation is passed over in silence."""
    document = copy.deepcopy(GOOD)
    setting(path, value)(document)
    file = save(folder / "thing.json", document)
    with pytest.raises(LexiconFileError) as error:
        load_lexicons(tmp_path)
    assert error.value.path == file
    assert str(error.value).startswith(f"lexicon {file}: {message}")


def test_references_may_not_run_in_circles(tmp_path: Path, folder: Path) -> None:
    """A definition that holds itself has no end."""
    document = copy.deepcopy(GOOD)
    ref = {"type": "ref", "ref": "#tree"}
    document["defs"]["tree"] = {"type": "object", "properties": {"branch": ref}}
    document["defs"]["main"]["record"]["properties"]["tree"] = ref
    save(folder / "thing.json", document)
    with pytest.raises(LexiconFileError, match=r"branch\.ref leads back to '#tree'"):
        load_lexicons(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1,]"])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, folder: Path, content: bytes) -> None:
    """The parser's own words follow the name of the file."""
    file = folder / "thing.json"
    file.write_bytes(content)
    with pytest.raises(LexiconFileError, match="not JSON") as error:
        load_lexicons(tmp_path)
    assert error.value.path == file


@pytest.mark.parametrize("name", ["com/thing.json", "com/exa mple/thing.json", "a/b/c_d.json"])
def test_the_path_must_spell_an_nsid(tmp_path: Path, name: str) -> None:
    """An NSID has three segments at least, of letters, digits and hyphens."""
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    save(file, GOOD)
    with pytest.raises(LexiconFileError, match="not an NSID"):
        load_lexicons(tmp_path)


def test_a_document_that_is_a_list_is_refused(tmp_path: Path, folder: Path) -> None:
    """Any JSON may be in the file."""
    save(folder / "thing.json", [GOOD])
    with pytest.raises(LexiconFileError, match="document should be an object"):
        load_lexicons(tmp_path)


def test_a_type_cannot_be_defined_twice(tmp_path: Path, folder: Path) -> None:
    """The same NSID in two folders is an accident, not an override."""
    save(folder / "thing.json", GOOD)
    with pytest.raises(LexiconFileError, match="taken by another file"):
        load_lexicons(tmp_path, tmp_path)


def test_a_folder_without_lexicons_is_refused(tmp_path: Path) -> None:
    """A wrong path would otherwise go unnoticed until a record of that type comes along."""
    with pytest.raises(LexiconFileError, match=r"no \*\.json file"):
        load_lexicons(tmp_path / "nowhere")
