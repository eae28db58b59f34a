"""Records of our four types against their lexicons: fields, limits, blobs."""

from __future__ import annotations

import contextlib
import pickle

import pytest

from tests.unit.lexicon_samples import (
    BLOB_CID,
    FAMILY,
    KIDLISP,
    LEXICONS,
    MOOD,
    PAINTING,
    PIECE,
    SAMPLES,
    Record,
    drop,
    field_of,
    put,
    refusal,
)
from tests.unit.test_lexicon_documents import REQUIRED
from worker.core.cid import cid_of_record
from worker.core.errors import PermanentError

MIB = 1024 * 1024
CID_VERSION_0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"


def url(length: int) -> str:
    """Return a URL of `length` characters."""
    return "https://aesthetic.computer/".ljust(length, "x")


VALID = {
    "painting without its optional fields": drop(
        drop(drop(PAINTING, "thumbnail"), "recordingUrl"), "acUrl"
    ),
    "piece without its optional fields": drop(drop(drop(PIECE, "code"), "source"), "acUrl"),
    "kidlisp without its permalink": drop(KIDLISP, "acUrl"),
    "painting URL of 512 bytes": put(PAINTING, "imageUrl", url(512)),
    "mood of 5,000 ASCII characters": put(MOOD, "mood", "x" * 5000),
    "mood of 5,000 bytes in 1,250 emoji": put(MOOD, "mood", "\N{SWIMMER}" * 1250),
    "mood of 277 family emoji in 4,986 bytes": put(MOOD, "mood", FAMILY * 277),
    "mood of no text": put(MOOD, "mood", ""),
    "mood with a line break and NUL": put(MOOD, "mood", "a\nb\0c"),
    "mood of the last Unicode character": put(MOOD, "mood", "\U0010ffff"),
    "ref that is no ObjectId": put(MOOD, "ref", "mood:jeffrey/2024-01-01"),
    "thumbnail of 1 MiB": put(PAINTING, "thumbnail.size", MIB),
    "thumbnail of one byte": put(PAINTING, "thumbnail.size", 1),
    "JPEG thumbnail": put(PAINTING, "thumbnail.mimeType", "image/jpeg"),
    "JavaScript source": put(PIECE, "source.mimeType", "application/javascript"),
    "KidLisp source": put(PIECE, "source.mimeType", "text/x-kidlisp"),
    "source of unknown type": put(PIECE, "source.mimeType", "application/octet-stream"),
    "source that looks like an image": put(PIECE, "source.mimeType", "image/bmp"),
    "mood without the copy of its text": drop(MOOD, "text"),
    "mood of a document with a long id": put(MOOD, "ref", "x" * 600),
    "painting of a document with an id of 24 bytes": put(PAINTING, "ref", "é" * 12),
    "kidlisp of 50,000 bytes in 25,000 letters": put(KIDLISP, "source", "é" * 25_000),
}

SPOILT_FIELDS: dict[str, tuple[Record, str, object]] = {
    "$type null": (MOOD, "$type", None),
    "$type of another record": (MOOD, "$type", PIECE["$type"]),
    "$type with #main": (MOOD, "$type", "computer.aesthetic.mood#main"),
    "$type in other capitals": (MOOD, "$type", "computer.aesthetic.Mood"),
    "$type a list": (MOOD, "$type", ["computer.aesthetic.mood"]),
    "painting slug of 64 two-byte letters and one more": (PAINTING, "slug", "é" * 64 + "x"),
    "image URL of 513 bytes": (PAINTING, "imageUrl", url(513)),
    "mood of 5,001 ASCII characters": (MOOD, "mood", "x" * 5001),
    "mood of 1,250 emoji and one byte": (MOOD, "mood", "\N{SWIMMER}" * 1250 + "x"),
    "mood of 278 family emoji in 5,004 bytes": (MOOD, "mood", FAMILY * 278),
    "mood a number": (MOOD, "mood", 3),
    "mood true": (MOOD, "mood", True),
    "mood a list": (MOOD, "mood", ["calm"]),
    "mood an object": (MOOD, "mood", {"en": "calm"}),
    "mood null": (MOOD, "mood", None),
    "optional field null": (PAINTING, "recordingUrl", None),
    "undeclared field": (MOOD, "hits", 3),
    "undeclared field null": (MOOD, "hits", None),
    "undeclared $ field": (MOOD, "$extra", "x"),
    "field of another type": (MOOD, "slug", "x"),
    "field in other capitals": (MOOD, "Mood", "x"),
}

SPOILT_BLOBS: dict[str, tuple[Record, str, object]] = {
    "blob null": (PAINTING, "thumbnail", None),
    "blob a CID": (PAINTING, "thumbnail", BLOB_CID),
    "blob a list": (PAINTING, "thumbnail", []),
    "blob $type wrong": (PAINTING, "thumbnail.$type", "image"),
    "blob with a field too many": (PAINTING, "thumbnail.alt", "x"),
    "blob ref a string": (PAINTING, "thumbnail.ref", BLOB_CID),
    "blob ref null": (PAINTING, "thumbnail.ref", None),
    "blob ref with a key too many": (PAINTING, "thumbnail.ref.x", 1),
    "blob CID a number": (PAINTING, "thumbnail.ref.$link", 7),
    "blob CID of a record": (PAINTING, "thumbnail.ref.$link", cid_of_record({})),
    "blob CID of version 0": (PAINTING, "thumbnail.ref.$link", CID_VERSION_0),
    "blob CID not ASCII": (PAINTING, "thumbnail.ref.$link", "\N{SWIMMER}" * 15),
    "blob size 0": (PAINTING, "thumbnail.size", 0),
    "blob size negative": (PAINTING, "thumbnail.size", -1),
    "blob size true": (PAINTING, "thumbnail.size", True),
    "blob size a string": (PAINTING, "thumbnail.size", "20480"),
    "blob size a float": (PAINTING, "thumbnail.size", 20480.0),
    "thumbnail of 1 MiB and a byte": (PAINTING, "thumbnail.size", MIB + 1),
    "blob mimeType empty": (PAINTING, "thumbnail.mimeType", ""),
    "blob mimeType false": (PAINTING, "thumbnail.mimeType", False),
    "GIF thumbnail": (PAINTING, "thumbnail.mimeType", "image/gif"),
    "source of no type": (PIECE, "source.mimeType", "text"),
}
SPOILT = SPOILT_FIELDS | SPOILT_BLOBS

REQUIRED_PARTS = [
    *((nsid, field) for nsid in SAMPLES for field in ("$type", *sorted(REQUIRED[nsid]))),
    *((PAINTING["$type"], f"thumbnail.{part}") for part in ("$type", "ref", "mimeType", "size")),
    (PAINTING["$type"], "thumbnail.ref.$link"),
]


@pytest.mark.parametrize("nsid", SAMPLES)
def test_a_full_record_is_valid(nsid: str) -> None:
    """The samples that the other probes spoil are valid."""
    LEXICONS.validate(nsid, SAMPLES[nsid])


@pytest.mark.parametrize("record", VALID.values(), ids=VALID.keys())
def test_optional_fields_may_be_missing_and_limits_may_be_reached(record: Record) -> None:
    """Whatever the lexicon allows passes, up to the last byte."""
    LEXICONS.validate(record["$type"], record)


@pytest.mark.parametrize(("nsid", "field"), REQUIRED_PARTS)
def test_a_required_field_may_not_be_missing(nsid: str, field: str) -> None:
    """A record without a required field, or part of a blob, is refused; the field is named."""
    assert field_of(refusal(nsid, drop(SAMPLES[nsid], field), "is required")) == field


@pytest.mark.parametrize(("sample", "field", "value"), SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_field_is_refused_by_name(sample: Record, field: str, value: object) -> None:
    """Every broken rule is found and blamed on the field that breaks it."""
    assert field_of(refusal(sample["$type"], put(sample, field, value))) == field


def test_a_blob_in_the_legacy_form_is_refused() -> None:
    """Blobs as they were written before 2023 have no $type and must not be written any more."""
    legacy = put(PAINTING, "thumbnail", {"cid": BLOB_CID, "mimeType": "image/png"})
    assert field_of(refusal(PAINTING["$type"], legacy)) == "thumbnail.$type"


def test_a_type_without_a_lexicon_is_refused() -> None:
    """An unknown NSID is not a reason to skip validation."""
    nsid = "computer.aesthetic.tape"
    assert field_of(refusal(nsid, {**MOOD, "$type": nsid}, "has no lexicon")) == "$type"


def test_a_violation_says_what_a_person_needs_and_no_more() -> None:
    """The error is permanent and names type, field and rule, with an excerpt of the value."""
    error = refusal(PAINTING["$type"], put(PAINTING, "imageUrl", "private thoughts " * 30))
    told = "computer.aesthetic.painting: imageUrl is not a valid uri, got 'private"
    assert error.message.startswith(told)
    assert len(error.message) < 150


@pytest.mark.parametrize(
    ("sample", "field", "limit"),
    [
        *((MOOD, "mood", 5000), (MOOD, "text", 5000)),
        *((KIDLISP, "source", 50_000), (KIDLISP, "code", 10)),
        *((PAINTING, "code", 10), (PAINTING, "slug", 128)),
        *((PIECE, "slug", 100), (PIECE, "code", 32)),
    ],
)
def test_a_text_over_its_limit_is_refused_with_its_size_in_bytes(
    sample: Record, field: str, limit: int
) -> None:
    """Characters are not bytes: the platform counts the former, the lexicons the latter."""
    nsid = sample["$type"]
    LEXICONS.validate(nsid, put(sample, field, "é" * (limit // 2)))
    error = refusal(nsid, put(sample, field, "é" * (limit // 2 + 1)))
    told = f"{nsid}: {field} has {limit + 2} bytes in UTF-8, and may have {limit} at most"
    assert error.message == told


@pytest.mark.parametrize("sample", [PAINTING, PIECE, KIDLISP])
def test_an_id_over_the_limit_of_ref_is_refused_with_what_to_do(sample: Record) -> None:
    """The field of the document is named, as well as that of the record."""
    error = refusal(sample["$type"], put(sample, "ref", "x" * 25))
    assert error.message.endswith(
        "ref has 25 bytes in UTF-8, and may have 24 at most; it is the document's _id: "
        "save the document with a shorter _id"
    )


def test_a_violation_survives_pickling() -> None:
    """A worker's child process can hand the error to its parent."""
    error = refusal(MOOD["$type"], {})
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.step, copy.code, copy.message) == (error.step, error.code, error.message)


def test_validation_leaves_the_record_as_it_was() -> None:
    """Validating is a look, not a touch, whether it ends well or not."""
    for value in ("calm", "x" * 5001):
        record = put(MOOD, "mood", value)
        with contextlib.suppress(PermanentError):
            LEXICONS.validate(MOOD["$type"], record)
        assert record == put(MOOD, "mood", value)
