"""Whatever BSON can hold, in any field: a record that can be published, or a named fault."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from tests.contract.hostile_documents import READ, STATE
from worker.core.cid import cid_of_record
from worker.core.documents import Account, MediaDocument
from worker.core.errors import MediaError
from worker.core.secrets import Secret
from worker.database.leases import claim_update, new_lease, state_after_claim, unchanged_since
from worker.database.store import DocumentStore, state_changes
from worker.media import MEDIA_TYPES, SiteUrls
from worker.media.validation import load_lexicons
from worker.operations.expected import ExpectedRecords

STORE = DocumentStore(MongoClient(connect=False)["none"], "art-guest")
EXPECTED = ExpectedRecords(
    SiteUrls("https://aesthetic.computer", "users", "guests"), load_lexicons()
)
ACCOUNT = Account("auth0|1", "did:plc:a", "ada.test", Secret("x"), "ada")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 9).map(Int64),
    st.floats(),
    texts,
    st.binary(max_size=4),
    st.binary(max_size=4).map(lambda data: Binary(data, 128)),
    texts.map(Code),
    st.just(Regex("a+")),
    st.decimals(allow_nan=False, places=2, min_value=-9, max_value=9).map(Decimal128),
    st.just(Timestamp(1, 1)),
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)),
    st.builds(ObjectId),
    st.just(MinKey()),
    st.just(MaxKey()),
    st.just(DBRef("users", 1)),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=4,
)
states = values | st.fixed_dictionaries({}, optional=dict.fromkeys(STATE.split(), values))


def read(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document as it comes back from MongoDB."""
    return bson.decode(bson.encode(document), READ)


def outcome(type_name: str, document: MediaDocument) -> str:
    """Return the CID of the record that is made of a document, or the words of its fault."""
    kind = MEDIA_TYPES[type_name]
    try:
        if document.fault:
            raise document.fault
        draft = EXPECTED.draft(kind, document, ACCOUNT)
        return cid_of_record(EXPECTED.valid_record(document, draft))
    except MediaError as error:
        return error.message


@pytest.mark.parametrize("type_name", sorted(MEDIA_TYPES))
@given(data=st.data())
def test_any_document_makes_a_record_or_names_its_fault(
    type_name: str, data: st.DataObject
) -> None:
    """Through reading, building, validating and encoding; the fault is in a field that is there."""
    kind = MEDIA_TYPES[type_name]
    good: dict[str, Any] = dict.fromkeys(kind.fields, "abc") | {"when": datetime.now(UTC)}
    bad = data.draw(st.dictionaries(st.sampled_from([*kind.fields, "user"]), values, min_size=1))
    raw = read({"_id": ObjectId(), **good, **bad, "atproto": data.draw(states)})
    said = outcome(type_name, STORE.parse(kind, raw))
    names = {*kind.fields, *EXPECTED.lexicons.properties(kind.nsid), "user"}
    assert said.startswith("bafyrei") or any(name in said for name in names)


@given(states)
def test_any_state_can_be_claimed_and_settled(state: object) -> None:
    """Whatever is read of it, what is written to MongoDB can be."""
    kind = MEDIA_TYPES["mood"]
    raw = read({"_id": ObjectId(), "mood": "m", "when": datetime.now(UTC), "atproto": state})
    document = STORE.parse(kind, raw)
    lease = new_lease("message", 100)
    changed = state_after_claim(document, lease)
    for update in (
        unchanged_since(raw),
        claim_update(changed, {"token": "x"}),
        state_changes(changed),
    ):
        assert bson.encode(update)
    assert changed.attempts > 0
