"""Whatever a document holds, its draft is a valid record or its fault is named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.documents import Account, BlobState, ItemRef, MediaDocument, SyncState
from worker.fields import FieldError, Fields
from worker.lexicon import LexiconViolation, load_lexicons
from worker.media import MEDIA_TYPES, Site
from worker.parts import Parts
from worker.secrets import Secret

LEXICONS = load_lexicons()
SITE = Site("https://aesthetic.computer", "users", "guests")
BLOBS = {
    "thumbnail": BlobState(
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "image/png", 900
    ),
    "source": BlobState(
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "text/javascript", 900
    ),
}

# Fields of a record that are made from other fields of a document.
FROM = {"imageUrl": "code", "acUrl": "code", "recordingUrl": "code"}

short = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10).filter(
    lambda text: len(text.encode()) <= 10
)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
screen_names = st.none() | st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=4),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    moments,
)


def full_record(
    type_name: str, fields: dict[str, object], screen_name: str | None, *, guest: bool
) -> dict[str, object]:
    """Build a record as it is published, every wish granted, and validate it."""
    kind = MEDIA_TYPES[type_name]
    document = MediaDocument(
        ref=ItemRef(type_name, ObjectId()),
        owner="art-guest" if guest else "auth0|1",
        is_guest=guest,
        gone=None,
        fields=Fields(fields),
        state=SyncState(),
    )
    account = Account("auth0|1", "did:plc:a", "ada.test", Secret("x"), screen_name)
    draft = kind.draft(document, account, SITE)
    blobs = {name: BLOBS[name] for name in draft.blobs}
    record = Parts(blobs, dict.fromkeys(draft.links, True), ()).complete(draft)
    LEXICONS.validate(kind.nsid, record)
    return dict(record)


def outcome_of(type_name: str, fields: dict[str, object]) -> object:
    """Return the NSID of the record that is made, or the name of the document's faulty field."""
    try:
        return full_record(type_name, fields, "ada", guest=False)["$type"]
    except FieldError as refused:
        return refused.field
    except LexiconViolation as refused:
        return FROM.get(refused.field, refused.field)


@pytest.mark.parametrize("type_name", sorted(MEDIA_TYPES))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_draft_of_a_good_document_is_a_valid_record(
    type_name: str, data: st.DataObject
) -> None:
    """Any texts within the limits, any date, user or guest, with and without a handle."""
    names = set(MEDIA_TYPES[type_name].fields) - {"when"}
    fields: dict[str, object] = {name: data.draw(short, name) for name in names}
    fields["when"] = data.draw(moments, "when")
    record = full_record(
        type_name,
        fields,
        data.draw(screen_names, "screen name"),
        guest=data.draw(st.booleans(), "guest"),
    )
    assert LEXICONS.required(MEDIA_TYPES[type_name].nsid) <= record.keys()


@pytest.mark.parametrize("type_name", sorted(MEDIA_TYPES))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_document_at_all_is_published_right_or_refused_by_field(
    type_name: str, data: st.DataObject
) -> None:
    """Whatever is in MongoDB, nothing but a valid record or a named field comes out."""
    names = MEDIA_TYPES[type_name].fields
    fields = {name: data.draw(anything, name) for name in names}
    assert outcome_of(type_name, fields) in {MEDIA_TYPES[type_name].nsid, *names}
