"""Records of our four types against their lexicons: fields, limits, blobs."""

from __future__ import annotations

import contextlib
import pickle

import pytest

from tests.unit.lexicon_samples import (
    BLOB_CID,
    KIDLISP,
    MOOD,
    PAINTING,
    PIECE,
    SAMPLES,
    Record,
    drop,
    put,
)
from tests.unit.test_lexicon_documents import REQUIRED
from worker.cid import cid_of_record
from worker.errors import PermanentError
from worker.lexicon import Lexicons, LexiconViolation, load_lexicons

MIB = 1024 * 1024
CID_VERSION_0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
FAMILY = "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}"  # one grapheme, 18 bytes


@pytest.fixture(scope="module")
def lexicons() -> Lexicons:
    """Load the lexicons that are shipped."""
    return load_lexicons()


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
    "mood of 5,000 ASCII characters": put(MOOD, "text", "x" * 5000),
    "mood of 5,000 bytes in 1,250 emoji": put(MOOD, "text", "\N{SWIMMER}" * 1250),
    "mood of 277 family emoji in 4,986 bytes": put(MOOD, "text", FAMILY * 277),
    "mood of no text": put(MOOD, "text", ""),
    "mood with a line break and NUL": put(MOOD, "text", "a\nb\0c"),
    "mood of the last Unicode character": put(MOOD, "text", "\U0010ffff"),
    "ref that is no ObjectId": put(MOOD, "ref", "mood:jeffrey/2024-01-01"),
    "thumbnail of 1 MiB": put(PAINTING, "thumbnail.size", MIB),
    "thumbnail of one byte": put(PAINTING, "thumbnail.size", 1),
    "JPEG thumbnail": put(PAINTING, "thumbnail.mimeType", "image/jpeg"),
    "JavaScript source": put(PIECE, "source.mimeType", "application/javascript"),
    "KidLisp source": put(PIECE, "source.mimeType", "text/x-kidlisp"),
    "source of unknown type": put(PIECE, "source.mimeType", "application/octet-stream"),
}

SPOILT_FIELDS: dict[str, tuple[Record, str, object]] = {
    "$type null": (MOOD, "$type", None),
    "$type of another record": (MOOD, "$type", PIECE["$type"]),
    "$type with #main": (MOOD, "$type", "computer.aesthetic.mood#main"),
    "$type in other capitals": (MOOD, "$type", "computer.aesthetic.Mood"),
    "$type a list": (MOOD, "$type", ["computer.aesthetic.mood"]),
    "painting slug of 64 two-byte letters and one more": (PAINTING, "slug", "é" * 64 + "x"),
    "image URL of 513 bytes": (PAINTING, "imageUrl", url(513)),
    "mood of 5,001 ASCII characters": (MOOD, "text", "x" * 5001),
    "mood of 1,250 emoji and one byte": (MOOD, "text", "\N{SWIMMER}" * 1250 + "x"),
    "mood of 278 family emoji in 5,004 bytes": (MOOD, "text", FAMILY * 278),
    "text a number": (MOOD, "text", 3),
    "text true": (MOOD, "text", True),
    "text a list": (MOOD, "text", ["calm"]),
    "text an object": (MOOD, "text", {"en": "calm"}),
    "text null": (MOOD, "text", None),
    "optional field null": (PAINTING, "recordingUrl", None),
    "undeclared field": (MOOD, "hits", 3),
    "undeclared field null": (MOOD, "hits", None),
    "undeclared $ field": (MOOD, "$extra", "x"),
    "field of another type": (MOOD, "slug", "x"),
    "field in other capitals": (MOOD, "Text", "x"),
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
    "blob CID empty": (PAINTING, "thumbnail.ref.$link", ""),
    "blob CID of a record": (PAINTING, "thumbnail.ref.$link", cid_of_record({})),
    "blob CID of version 0": (PAINTING, "thumbnail.ref.$link", CID_VERSION_0),
    "blob CID in capitals": (PAINTING, "thumbnail.ref.$link", BLOB_CID.upper()),
    "blob CID cut short": (PAINTING, "thumbnail.ref.$link", BLOB_CID[:-1]),
    "blob CID with a letter more": (PAINTING, "thumbnail.ref.$link", BLOB_CID + "a"),
    "blob CID with a space": (PAINTING, "thumbnail.ref.$link", BLOB_CID + " "),
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
    "thumbnail of type image/*": (PAINTING, "thumbnail.mimeType", "image/*"),
    "thumbnail type in capitals": (PAINTING, "thumbnail.mimeType", "IMAGE/PNG"),
    "image as source": (PIECE, "source.mimeType", "image/bmp"),
    "source of type text": (PIECE, "source.mimeType", "text"),
    "source of type text/": (PIECE, "source.mimeType", "text/"),
    "source of type text/*": (PIECE, "source.mimeType", "text/*"),
    "source of type textual/plain": (PIECE, "source.mimeType", "textual/plain"),
    "source type with parameters": (PIECE, "source.mimeType", "text/plain; charset=utf-8"),
}
SPOILT = SPOILT_FIELDS | SPOILT_BLOBS

BLOB_PARTS = ("$type", "ref", "ref.$link", "mimeType", "size")


@pytest.mark.parametrize("nsid", SAMPLES)
def test_a_full_record_is_valid(lexicons: Lexicons, nsid: str) -> None:
    """The samples that the other probes spoil are valid."""
    lexicons.validate(nsid, SAMPLES[nsid])


@pytest.mark.parametrize("record", VALID.values(), ids=VALID.keys())
def test_optional_fields_may_be_missing_and_limits_may_be_reached(
    lexicons: Lexicons, record: Record
) -> None:
    """Whatever the lexicon allows passes, up to the last byte."""
    lexicons.validate(record["$type"], record)


@pytest.mark.parametrize(
    ("nsid", "field"),
    [(nsid, field) for nsid in SAMPLES for field in ("$type", *sorted(REQUIRED[nsid]))],
)
def test_a_required_field_may_not_be_missing(lexicons: Lexicons, nsid: str, field: str) -> None:
    """A record without a required field is refused, and the field is named."""
    with pytest.raises(LexiconViolation, match="is required") as refusal:
        lexicons.validate(nsid, drop(SAMPLES[nsid], field))
    assert refusal.value.field == field


@pytest.mark.parametrize("part", BLOB_PARTS)
def test_no_part_of_a_blob_may_be_missing(lexicons: Lexicons, part: str) -> None:
    """A blob reference needs its type, its CID, its MIME type and its size."""
    field = f"thumbnail.{part}"
    with pytest.raises(LexiconViolation, match="is required") as refusal:
        lexicons.validate(PAINTING["$type"], drop(PAINTING, field))
    assert refusal.value.field == field


@pytest.mark.parametrize(("sample", "field", "value"), SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_field_is_refused_by_name(
    lexicons: Lexicons, sample: Record, field: str, value: object
) -> None:
    """Every broken rule is found and blamed on the field that breaks it."""
    with pytest.raises(LexiconViolation) as refusal:
        lexicons.validate(sample["$type"], put(sample, field, value))
    assert refusal.value.field == field


def test_a_blob_in_the_legacy_form_is_refused(lexicons: Lexicons) -> None:
    """Blobs as they were written before 2023 have no $type and must not be written any more."""
    legacy = put(PAINTING, "thumbnail", {"cid": BLOB_CID, "mimeType": "image/png"})
    with pytest.raises(LexiconViolation) as refusal:
        lexicons.validate(PAINTING["$type"], legacy)
    assert refusal.value.field == "thumbnail.$type"


def test_a_type_without_a_lexicon_is_refused(lexicons: Lexicons) -> None:
    """An unknown NSID is not a reason to skip validation."""
    with pytest.raises(LexiconViolation, match="has no lexicon") as refusal:
        lexicons.validate("computer.aesthetic.tape", {**MOOD, "$type": "computer.aesthetic.tape"})
    assert refusal.value.field == "$type"


def test_a_violation_says_what_a_person_needs_and_no_more(lexicons: Lexicons) -> None:
    """The error is permanent and names type, field and rule, with an excerpt of the value."""
    text = "private thoughts " * 300
    with pytest.raises(PermanentError) as refusal:
        lexicons.validate(MOOD["$type"], put(MOOD, "text", text))
    error = refusal.value
    assert (error.step, error.code) == ("validate", "lexicon_violation")
    assert error.message.startswith("computer.aesthetic.mood: text is longer (5100)")
    assert len(error.message) < 150


def test_a_violation_survives_pickling(lexicons: Lexicons) -> None:
    """A worker's child process can hand the error to its parent."""
    with pytest.raises(LexiconViolation) as refusal:
        lexicons.validate(MOOD["$type"], {})
    copy = pickle.loads(pickle.dumps(refusal.value))
    assert (copy.field, copy.message) == (refusal.value.field, refusal.value.message)


def test_validation_leaves_the_record_as_it_was(lexicons: Lexicons) -> None:
    """Validating is a look, not a touch, whether it ends well or not."""
    for value in ("calm", "x" * 5001):
        record = put(MOOD, "text", value)
        with contextlib.suppress(LexiconViolation):
            lexicons.validate(MOOD["$type"], record)
        assert record == put(MOOD, "text", value)
