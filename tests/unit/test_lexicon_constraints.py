"""The parts of the lexicon language that our own types do not use yet, on a lexicon for tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.lexicon_samples import FAMILY, field_of, lexicon, refusal
from worker.media.validation import Lexicons, load_lexicons

NSID = "com.example.probe"
FLAG = "\N{REGIONAL INDICATOR SYMBOL LETTER I}\N{REGIONAL INDICATOR SYMBOL LETTER T}"
PROPERTIES = {
    "count": {"type": "integer", "minimum": 1, "maximum": 10},
    "plain": {"type": "integer"},
    "choice": {"type": "integer", "enum": [0, 7]},
    "flag": {"type": "boolean"},
    "title": {"type": "string", "minGraphemes": 2, "maxGraphemes": 4},
    "bytes": {"type": "string", "minLength": 2, "maxLength": 4},
    "colour": {"type": "string", "enum": ["red", "blue"]},
    "hint": {"type": "string", "knownValues": ["red", "blue"]},
    "note": {"type": "string"},
    "tags": {
        "type": "array",
        "minLength": 1,
        "maxLength": 3,
        "items": {"type": "string", "maxLength": 8},
    },
    "dates": {"type": "array", "items": {"type": "string", "format": "datetime"}},
    "size": {"type": "ref", "ref": "#size"},
    "frames": {"type": "array", "items": {"type": "ref", "ref": "#frame"}},
    "name": {"type": "ref", "ref": "#name"},
    "file": {"type": "blob"},
    "image": {"type": "blob", "accept": ["image/*"]},
    "did": {"type": "string", "format": "did"},
    "handle": {"type": "string", "format": "handle"},
    "nsid": {"type": "string", "format": "nsid"},
    "atUri": {"type": "string", "format": "at-uri"},
    "tid": {"type": "string", "format": "tid"},
    "key": {"type": "string", "format": "record-key"},
    "language": {"type": "string", "format": "language"},
}
DEFS = {
    "size": {
        "type": "object",
        "required": ["width"],
        "nullable": ["height"],
        "properties": {
            "width": {"type": "integer", "minimum": 1},
            "height": {"type": "integer"},
            "unit": {"type": "ref", "ref": "#unit"},
        },
    },
    "unit": {"type": "object", "properties": {"name": {"type": "ref", "ref": "#name"}}},
    "frame": {"type": "object", "properties": {"url": {"type": "string", "format": "uri"}}},
    "name": {"type": "string", "maxLength": 8},
}
GIF = {
    "$type": "blob",
    "ref": {"$link": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
    "mimeType": "image/gif",
    "size": 2**53 - 1,
}

GOOD: dict[str, tuple[str, object]] = {
    "lowest number": ("count", 1),
    "highest number": ("count", 10),
    "largest integer": ("plain", 2**53 - 1),
    "smallest integer": ("plain", -(2**53) + 1),
    "number of an enumeration": ("choice", 7),
    "zero of an enumeration": ("choice", 0),
    "false": ("flag", False),
    "2 flags are 2 graphemes": ("title", FLAG * 2),
    "4 families are 4 graphemes": ("title", FAMILY * 4),
    "2 letters with 3 accents each": ("title", "a\u0301\u0302\u0303" * 2),
    "4 bytes in one emoji": ("bytes", "\N{ARTIST PALETTE}"),
    "string of an enumeration": ("colour", "blue"),
    "string that is not among the known values": ("hint", "green"),
    "null where it is allowed": ("note", None),
    "one tag": ("tags", ["a"]),
    "three tags of 8 bytes": ("tags", ["12345678"] * 3),
    "list of dates": ("dates", ["2024-01-01T00:00:00Z"]),
    "empty list": ("dates", []),
    "nested object": ("size", {"width": 1, "height": None, "unit": {"name": "px"}}),
    "objects in a list": ("frames", [{}, {"url": "https://example.com"}]),
    "string defined elsewhere": ("name", "12345678"),
    "blob of any type and size": ("file", GIF | {"mimeType": "application/x-thing"}),
    "blob of a family of types": ("image", GIF),
    "DID": ("did", "did:web:example.com"),
    "handle": ("handle", "jeffrey.example.com"),
    "NSID": ("nsid", "com.example.thing"),
    "AT URI": ("atUri", "at://did:plc:abc/com.example.thing/3jzfcijpj2z2a"),
    "TID": ("tid", "3jzfcijpj2z2a"),
    "TID that the library does not know as one": ("tid", "jzfcijpj2z2a3"),
    "record key": ("key", "self"),
    "language": ("language", "pt-BR"),
}
BAD: dict[str, tuple[str, object, str]] = {
    "number too low": ("count", 0, "count"),
    "number too high": ("count", 11, "count"),
    "true for a number": ("plain", True, "plain"),
    "text for a number": ("plain", "1", "plain"),
    "number not in the enumeration": ("choice", 8, "choice"),
    "false for zero": ("choice", False, "choice"),
    "1 for true": ("flag", 1, "flag"),
    "text for true": ("flag", "true", "flag"),
    "one family is one grapheme": ("title", FAMILY, "title"),
    "5 graphemes": ("title", FLAG * 5, "title"),
    "one byte": ("bytes", "a", "bytes"),
    "5 bytes in 2 characters": ("bytes", "\N{ARTIST PALETTE}a", "bytes"),
    "string not in the enumeration": ("colour", "green", "colour"),
    "null where it is not allowed": ("hint", None, "hint"),
    "no tags": ("tags", [], "tags"),
    "four tags": ("tags", ["a"] * 4, "tags"),
    "tags in a string": ("tags", "a", "tags"),
    "tags in an object": ("tags", {"0": "a"}, "tags"),
    "number among the tags": ("tags", ["a", 2], "tags[1]"),
    "null among the tags": ("tags", ["a", None], "tags[1]"),
    "third tag too long": ("tags", ["a", "b", "123456789"], "tags[2]"),
    "bad date in a list": ("dates", ["2024-01-01T00:00:00Z", "soon"], "dates[1]"),
    "object without its required field": ("size", {}, "size.width"),
    "object with an undeclared field": ("size", {"width": 1, "depth": 1}, "size.depth"),
    "object with a $type": ("size", {"width": 1, "$type": "x"}, "size.$type"),
    "number too low in an object": ("size", {"width": 0}, "size.width"),
    "null in an object": ("size", {"width": None}, "size.width"),
    "text in an object in an object": ("size", {"width": 1, "unit": {"name": 1}}, "size.unit.name"),
    "text too long in that object": (
        "size",
        {"width": 1, "unit": {"name": "x" * 9}},
        "size.unit.name",
    ),
    "string defined elsewhere too long": ("name", "123456789", "name"),
    "object a list": ("size", [1], "size"),
    "object a string": ("size", "1x1", "size"),
    "bad URL in an object in a list": ("frames", [{}, {"url": "x"}], "frames[1].url"),
    "string among objects": ("frames", ["x"], "frames[0]"),
    "blob of another family": ("image", GIF | {"mimeType": "video/mp4"}, "image.mimeType"),
    "bad DID": ("did", "plc:abc", "did"),
    "bad handle": ("handle", "jeffrey", "handle"),
    "bad NSID": ("nsid", "thing", "nsid"),
    "bad AT URI": ("atUri", "https://example.com", "atUri"),
    "bad TID": ("tid", "000", "tid"),
    "TID whose first character is too high": ("tid", "kjzfcijpj2z2a", "tid"),
    "bad record key": ("key", ".", "key"),
    "bad record key of two characters": ("key", "..", "key"),
    "bad language": ("language", "123", "language"),
}


@pytest.fixture(scope="module")
def lexicons(tmp_path_factory: pytest.TempPathFactory) -> Lexicons:
    """Load our lexicons and the one for tests, which lives elsewhere."""
    root = tmp_path_factory.mktemp("lexicons")
    folder = root / "com" / "example"
    folder.mkdir(parents=True)
    document = lexicon(NSID, PROPERTIES, DEFS, nullable=["note"])
    (folder / "probe.json").write_text(json.dumps(document))
    return load_lexicons(Path(root))


@pytest.mark.parametrize(("field", "value"), GOOD.values(), ids=GOOD.keys())
def test_what_a_constraint_allows_passes(lexicons: Lexicons, field: str, value: object) -> None:
    """Each kind of field and constraint has values that it lets through."""
    lexicons.validate(NSID, {"$type": NSID, field: value})


@pytest.mark.parametrize(("field", "value", "path"), BAD.values(), ids=BAD.keys())
def test_what_a_constraint_forbids_is_refused_where_it_is(
    lexicons: Lexicons, field: str, value: object, path: str
) -> None:
    """The path leads to the innermost value that breaks a rule."""
    record = {"$type": NSID, field: value}
    assert field_of(refusal(NSID, record, lexicons=lexicons)) == path


def test_the_reason_quotes_a_bad_format_only_once(lexicons: Lexicons) -> None:
    """A long hostile value does not reach the message through the library's own text."""
    record = {"$type": NSID, "did": "`: " + "x" * 5000}
    error = refusal(NSID, record, "is invalid for format did", lexicons)
    assert len(error.message) < 250
