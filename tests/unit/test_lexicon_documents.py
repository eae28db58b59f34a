"""The lexicons we ship: the platform's fields and limits, and what is asked of blobs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.lexicon_samples import (
    KIDLISP,
    LEXICONS,
    MOOD,
    PAINTING,
    PIECE,
    SAMPLES,
    fields_of,
    required_of,
)
from worker.core.errors import PermanentError
from worker.media.validation import BlobRule
from worker.media.validation.compatibility import breaking_changes
from worker.media.validation.files import OWN_FOLDER
from worker.operations.lexicons.check import check, load_copies
from worker.operations.lexicons.published import FolderSource

FIELDS = {
    PAINTING["$type"]: {"slug": 128, "code": 10, "imageUrl": 512, "recordingUrl": 512, "acUrl": 512}
    | {"thumbnail": 1_048_576, "when": None, "ref": 24},
    MOOD["$type"]: {"mood": 5000, "text": 5000, "when": None, "ref": None},
    PIECE["$type"]: {"slug": 100, "code": 32, "source": 1_048_576, "acUrl": 512}
    | {"when": None, "ref": 24},
    KIDLISP["$type"]: {"code": 10, "source": 50_000, "acUrl": 512, "when": None, "ref": 24},
}
REQUIRED = {
    PAINTING["$type"]: {"slug", "code", "imageUrl", "when", "ref"},
    MOOD["$type"]: {"mood", "when", "ref"},
    PIECE["$type"]: {"slug", "when", "ref"},
    KIDLISP["$type"]: {"code", "source", "when", "ref"},
}
ADDITIONS = {
    PAINTING["$type"]: {"acUrl": {"type": "string", "format": "uri", "maxLength": 512}},
    MOOD["$type"]: {"text": {"type": "string", "maxLength": 5000}},
    PIECE["$type"]: {
        "acUrl": {"type": "string", "format": "uri", "maxLength": 512},
        "code": {"type": "string", "maxLength": 32},
        "source": {"type": "blob", "accept": ["*/*"], "maxSize": 1_048_576},
    },
    KIDLISP["$type"]: {"acUrl": {"type": "string", "format": "uri", "maxLength": 512}},
}
PUBLISHED = load_copies(OWN_FOLDER)


def test_there_is_a_lexicon_for_each_media_type() -> None:
    """Four types are published."""
    assert set(LEXICONS.nsids) == set(SAMPLES)


@pytest.mark.parametrize("nsid", SAMPLES)
def test_the_limits_are_the_platforms(nsid: str) -> None:
    """Each field has the limit that the platform published for it, in bytes."""
    fields = fields_of(LEXICONS.document(nsid))
    limits = {name: part.get("maxLength", part.get("maxSize")) for name, part in fields.items()}
    assert limits == FIELDS[nsid]


@pytest.mark.parametrize("nsid", SAMPLES)
def test_what_a_builder_can_ask_agrees_with_the_document(nsid: str) -> None:
    """The names of all fields and of the required ones can be had without reading JSON."""
    assert set(LEXICONS.properties(nsid)) == FIELDS[nsid].keys()
    assert required_of(nsid) == REQUIRED[nsid]


@pytest.mark.parametrize("nsid", SAMPLES)
def test_the_published_lexicon_and_ours_differ_by_our_optional_additions(nsid: str) -> None:
    """Nothing that is published is changed, required or taken out."""
    ours, published = (constraints(each) for each in (LEXICONS.document(nsid), document(nsid)))
    added = ours["properties"].keys() - published["properties"].keys()
    assert {name: ours["properties"].pop(name) for name in added} == ADDITIONS[nsid]
    assert ours == published
    assert breaking_changes(document(nsid), LEXICONS.document(nsid)) == []


@pytest.mark.parametrize("against", [None, PUBLISHED], ids=["by default", "--against"])
def test_the_lexicons_are_compatible_with_the_published_ones(against: FolderSource | None) -> None:
    """`lexicons check` finds all four, and nothing to report."""
    checked = {each.nsid: each for each in check(OWN_FOLDER, against)}
    assert checked.keys() == SAMPLES.keys() == PUBLISHED.documents.keys()
    assert not any(each.findings for each in checked.values())
    assert all(each.against for each in checked.values())


def document(nsid: str) -> Any:
    """Return the copy of a published lexicon."""
    return PUBLISHED.documents[nsid]


def constraints(lexicon: Any) -> Any:
    """Return the definition of a lexicon's record without its descriptions."""
    record = copy.deepcopy(lexicon["defs"]["main"]["record"])
    for part in record["properties"].values():
        del part["description"]
    return {**record, "key": lexicon["defs"]["main"]["key"], "required": set(record["required"])}


@pytest.mark.parametrize("nsid", SAMPLES)
def test_dates_and_urls_have_their_format(nsid: str) -> None:
    """Every `when` is a datetime and every field called a URL is a URI."""
    for name, part in fields_of(LEXICONS.document(nsid)).items():
        expected = "datetime" if name == "when" else "uri" if name.endswith("Url") else None
        assert part.get("format") == expected


@pytest.mark.parametrize("nsid", SAMPLES)
def test_every_record_and_field_is_described(nsid: str) -> None:
    """A stranger who reads the lexicon learns what each field holds."""
    document: Any = LEXICONS.document(nsid)
    assert document["defs"]["main"]["description"].endswith(".")
    assert all(part["description"].endswith(".") for part in fields_of(document).values())


def test_blob_rules_name_the_blob_fields() -> None:
    """Only paintings and pieces have a blob, each at most 1 MiB."""
    thumbnail = BlobRule(accept=("image/png", "image/jpeg"), max_size=1_048_576)
    assert LEXICONS.blob_rules(PAINTING["$type"]) == {"thumbnail": thumbnail}
    assert LEXICONS.blob_rules(PIECE["$type"])["source"].max_size == 1_048_576
    assert LEXICONS.blob_rules(MOOD["$type"]) == {}
    assert LEXICONS.blob_rules(KIDLISP["$type"]) == {}


@pytest.mark.parametrize(
    ("accept", "mime_type", "verdict"),
    [
        ((), "image/png", True),
        ((), "image", False),
        (("*/*",), "application/x-thing", True),
        (("image/*",), "image/svg+xml", True),
        (("image/*",), "imagery/png", False),
        (("image/*",), "image/", False),
        (("image/*",), "image/*", False),
        (("image/png",), "image/png", True),
        (("image/png",), "image/pngx", False),
        (("image/png",), "IMAGE/PNG", False),
        (("image/png",), "image/png; q=1", False),
        (("image/png", "text/*"), "text/plain", True),
        (("image/png", "text/*"), "textual/plain", False),
        (("image/png", "text/*"), "text/plain; charset=utf-8", False),
    ],
)
def test_a_blob_rule_accepts_by_type_or_family(
    accept: tuple[str, ...], mime_type: str, *, verdict: bool
) -> None:
    """A pattern stands for a whole family, and what is no MIME type is never accepted."""
    assert BlobRule(accept).accepts(mime_type) is verdict


def test_a_document_is_the_callers_to_change() -> None:
    """Changing a document that was handed out changes no lexicon."""
    fields_of(LEXICONS.document(MOOD["$type"])).clear()
    LEXICONS.document(MOOD["$type"])["defs"] = {}
    assert fields_of(LEXICONS.document(MOOD["$type"]))
    LEXICONS.validate(MOOD["$type"], MOOD)


@pytest.mark.parametrize("ask", ["blob_rules", "properties", "document"])
def test_nothing_is_known_of_an_unknown_type(ask: str) -> None:
    """Every question about a type without a lexicon gets the same answer."""
    with pytest.raises(PermanentError, match=r"com\.example\.none: \$type has no lexicon"):
        getattr(LEXICONS, ask)("com.example.none")
