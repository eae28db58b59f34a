"""The CIDs that are computed here and those that the PDS computes: the same, for every record.

On this agreement rests the decision that a record is as it should be and needs no write.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lexicon_samples import SAMPLES
from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.records import RecordKey
from worker.pds.client import PdsClient, Session

LARGEST = 2**53 - 1
TEXTS = {
    "ascii": "calm",
    "empty": "",
    "accents, composed and not": "\u00e9 e\u0301",
    "emoji of several code points": "\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3fd",
    "right to left": "\u0639\u0631\u0628\u064a \u202e.",
    "what JSON escapes": '"\\/\b\f\n\r\t\u007f',
    "NUL": "a\0b",
    "line separators": "\u2028\u2029",
    "no characters": "\uffff\ufeff\ue000",
    "last code point": "\U0010ffff",
    "long": "\U0001f3a8" * 5000,
}

# Any code point but surrogates, which no UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
numbers = st.integers(-LARGEST, LARGEST)
raw = st.binary(max_size=40).map(lambda data: {"$bytes": base64.b64encode(data).decode()})
links = st.binary(max_size=40).map(lambda data: {"$link": cid_of_blob(data)})
names = texts.filter(lambda name: not name.startswith("$") and name != "__proto__")
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | raw | links,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def agrees(pds: PdsClient, session: Session, record: Mapping[str, object]) -> bool:
    """Write a record, and compare its CID and what comes back with what was sent."""
    key = RecordKey(session.did, str(record["$type"]), uuid4().hex)
    written = pds.put_record(session.access, key, record, None)
    read = pds.get_record(key)
    ours = cid_of_record(record)
    return read is not None and written.cid == read.cid == ours == cid_of_record(read.value)


def upload(pds: PdsClient, session: Session) -> Mapping[str, object]:
    """Upload a blob; return it as a record refers to it."""
    blob = pds.upload_blob(session.access, uuid4().bytes, "text/javascript")
    link = {"$link": blob.cid}
    return {"$type": "blob", "ref": link, "mimeType": blob.mime_type, "size": blob.size}


@pytest.mark.parametrize("nsid", SAMPLES)
def test_records_of_every_type_agree(pds: PdsClient, session: Session, nsid: str) -> None:
    """Each type's full record, its blobs uploaded before."""
    sample = SAMPLES[nsid]
    blobs = {
        name: upload(pds, session) for name in ("thumbnail", "source") if is_blob(sample, name)
    }
    assert agrees(pds, session, {**sample, **blobs})


def is_blob(record: Mapping[str, object], name: str) -> bool:
    """Tell whether a field of a record is a blob."""
    return isinstance(record.get(name), dict)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts_agree_to_the_byte(pds: PdsClient, session: Session, text: str) -> None:
    """Neither side normalizes, trims or replaces anything."""
    record = {"$type": "computer.aesthetic.mood", "text": text}
    assert agrees(pds, session, record)


@settings(max_examples=60, deadline=None)
@given(record=st.dictionaries(names, values, max_size=5))
def test_anything_the_data_model_can_hold_agrees(
    pds: PdsClient, session: Session, record: dict[str, object]
) -> None:
    """Nested maps and lists, links, bytes, and keys in any script, which CBOR sorts by length."""
    assert agrees(pds, session, {**record, "$type": "computer.aesthetic.any"})
