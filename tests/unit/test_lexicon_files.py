"""Loading lexicons: what a folder must look like, and how a bad file is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.lexicon_samples import absolute, lexicon, put
from worker.media.validation import LexiconFileError, load_lexicons

NSID = "com.example.thing"
PROPERTIES = {
    "name": {"type": "string", "maxLength": 10},
    "file": {"type": "blob", "accept": ["image/*"]},
    "tags": {"type": "array", "items": {"type": "string"}},
}
GOOD = lexicon(NSID, PROPERTIES, {}, required=["name"])

RECORD = "defs.main.record"
# The place of a fault, the value there, and the message, or what it says after the place.
BAD: dict[str, tuple[str, object, str]] = {
    "another version of the language": ("lexicon", 2, " should be 1"),
    "version true": ("lexicon", True, " should be 1"),
    "another id than the path": ("id", "com.example.other", " should be 'com.example.thing'"),
    "no definitions": ("defs", None, " should be an object"),
    "no main definition": ("defs", {"other": {}}, ".main should be an object"),
    "a query": ("defs.main.type", "query", " should be 'record'"),
    "another kind of key": ("defs.main.key", "any", " should be 'tid'"),
    "no record": (RECORD, None, " should be an object"),
    "a record that is no object": (f"{RECORD}.type", "array", f"{RECORD}.items is required"),
    "a record that is a string": (RECORD, {"type": "string"}, ".type should be 'object'"),
    "a record without properties": (RECORD, {"type": "object"}, ".properties is required"),
    "a required field that is not defined": (f"{RECORD}.required", ["title"], " names 'title'"),
    "a nullable field that is not defined": (f"{RECORD}.nullable", ["title"], " names 'title'"),
    "required not a list": (f"{RECORD}.required", "name", " should be a list"),
    "a reserved name": (".$type", {"type": "string"}, " is a reserved"),
    "a field that is no object": (".name", "string", " should be an object"),
    "a field without a type": (".name", {}, ".type should be one of"),
    "a type that is a list": (".name.type", [], " should be one of"),
    "a reference to nothing": (
        ".name",
        {"type": "ref", "ref": "#thing"},
        ".ref should be # and a name in defs, got '#thing'",
    ),
    "a reference to another document": (
        ".name",
        {"type": "ref", "ref": "com.atproto.repo.strongRef"},
        ".ref should be # and a name in defs",
    ),
    "a reference to the record itself": (
        ".name",
        {"type": "ref", "ref": "#main"},
        "defs.main.type should be one of",
    ),
    "an object without a name": (
        ".name",
        {"type": "object", "properties": {}},
        " is an object, which needs a definition of its own",
    ),
    "an unknown field": (".name", {"type": "unknown"}, ".type should be"),
    "a misspelt limit": (".name.maxlength", 10, " is a keyword"),
    "a limit of another type": (".name.minimum", 1, " is a keyword"),
    "a limit in a string": (".name.maxLength", "10", " should be"),
    "a limit of 0": (".name.maxLength", 0, " should be"),
    "a limit that is true": (".name.maxLength", True, " should"),
    "a float": (".name.maxLength", 1.5, " should be a whole"),
    "an unknown format": (".name.format", "email", " should be"),
    "an empty enumeration": (".name.enum", [], " should be a list"),
    "an enumeration of numbers": (".name.enum", [1], " should be"),
    "an empty enumeration of numbers": (
        ".name",
        {"type": "integer", "enum": []},
        ".enum should be a list of integers",
    ),
    "an enumeration of numbers in a string": (
        ".name",
        {"type": "integer", "enum": "12"},
        ".enum should be a list of integers",
    ),
    "an array without items": (".tags", {"type": "array"}, ".items is"),
    "blobs in an array": (".tags.items", {"type": "blob"}, " is a blob, which only the record"),
    "no accepted type": (".file.accept", [], " should be a list"),
    "an unknown key of the document": ("revision", 3, " is a keyword"),
    "an unknown key of the record": ("defs.main.keys", "tid", " is a keyword"),
    "a misspelt limit where nothing refers to": (
        "defs.spare",
        {"type": "string", "maxlength": 3},
        ".maxlength is a keyword",
    ),
    "a limited token": ("defs.red", {"type": "token", "maxLength": 3}, ".maxLength is a keyword"),
    "bounds that nothing can meet": (".name.minLength", 11, " is above maxLength"),
    "a bare wildcard": (".file.accept", ["*"], " should be a list"),
    "a partial wildcard": (".file.accept", ["text/ht*"], " should"),
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
    token = {"type": "token", "description": "A colour."}
    save(folder / "thing.json", put(GOOD, "defs.red", token))
    assert NSID in load_lexicons(tmp_path).nsids


@pytest.mark.parametrize(("path", "value", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_document_is_reported_with_file_place_and_fault(
    tmp_path: Path, folder: Path, path: str, value: object, message: str
) -> None:
    """Nothing that would weaken validation is passed over in silence."""
    file = save(folder / "thing.json", put(GOOD, absolute(path), value))
    said = f"{absolute(path)}{message}" if message[0] in " ." else message
    with pytest.raises(LexiconFileError) as error:
        load_lexicons(tmp_path)
    assert error.value.path == file
    assert str(error.value).startswith(f"lexicon {file}: {said}")


def test_references_may_not_run_in_circles(tmp_path: Path, folder: Path) -> None:
    """A definition that holds itself has no end."""
    ref = {"type": "ref", "ref": "#tree"}
    tree = {"type": "object", "properties": {"branch": ref}}
    save(folder / "thing.json", lexicon(NSID, {"tree": ref}, {"tree": tree}))
    with pytest.raises(LexiconFileError, match=r"branch\.ref leads back to '#tree'"):
        load_lexicons(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((bad, "not JSON") for bad in (b"", b"{", b"\xff", b"[1,]")),
        (b"[{}]", "document should be an object"),
    ],
)
def test_a_file_that_is_no_json_object_is_named(
    tmp_path: Path, folder: Path, content: bytes, message: str
) -> None:
    """The parser's own words follow the name of the file."""
    file = folder / "thing.json"
    file.write_bytes(content)
    with pytest.raises(LexiconFileError, match=message) as error:
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


def test_a_type_cannot_be_defined_twice(tmp_path: Path, folder: Path) -> None:
    """The same NSID in two folders is an accident, not an override."""
    save(folder / "thing.json", GOOD)
    with pytest.raises(LexiconFileError, match="taken by another file"):
        load_lexicons(tmp_path, tmp_path)


def test_a_folder_without_lexicons_is_refused(tmp_path: Path) -> None:
    """A wrong path would otherwise go unnoticed until a record of that type comes along."""
    with pytest.raises(LexiconFileError, match=r"no \*\.json file"):
        load_lexicons(tmp_path / "nowhere")
