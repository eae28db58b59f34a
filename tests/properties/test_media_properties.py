"""Every document whose fields are right makes a valid record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lexicon_samples import required_of
from worker.core.documents import Account, BlobState, ItemRef, MediaDocument, SyncState
from worker.core.fields import Fields
from worker.core.secrets import Secret
from worker.media import MEDIA_TYPES, SiteUrls
from worker.media.validation import load_lexicons
from worker.sync.attachments import Attachments

LEXICONS = load_lexicons()
SITE = SiteUrls("https://aesthetic.computer", "users", "guests")
BLOBS = {
    "thumbnail": BlobState(
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "image/png", 900
    ),
    "source": BlobState(
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "text/javascript", 900
    ),
}

short = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10).filter(
    lambda text: len(text.encode()) <= 10
)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
screen_names = st.none() | st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)


def full_record(
    type_name: str, fields: dict[str, object], screen_name: str | None, *, guest: bool
) -> dict[str, object]:
    """Build a record as it is published, every wish granted, and validate it."""
    kind = MEDIA_TYPES[type_name]
    document = MediaDocument(
        ref=ItemRef(type_name, ObjectId()),
        owner="art-guest" if guest else "auth0|1",
        is_guest=guest,
        hidden=None,
        fields=Fields(fields),
        state=SyncState(),
    )
    account = Account("auth0|1", "did:plc:a", "ada.test", Secret("x"), screen_name)
    draft = kind.draft(document, account, SITE)
    blobs = {name: BLOBS[name] for name in draft.blobs}
    record = Attachments(blobs, dict.fromkeys(draft.links, "key"), ()).complete(draft)
    LEXICONS.validate(kind.nsid, record)
    return dict(record)


@pytest.mark.parametrize("type_name", sorted(MEDIA_TYPES))
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
    assert required_of(MEDIA_TYPES[type_name].nsid) <= record.keys()
