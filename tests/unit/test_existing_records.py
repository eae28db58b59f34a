"""What is adopted from the records of older programs."""

from __future__ import annotations

import pytest

from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.clock import now
from worker.core.documents import BlobState, SyncState
from worker.media.validation import BlobRule
from worker.sync.existing_records import adopt_blobs, adopted_cid, is_legacy

CID = cid_of_blob(b"thumbnail")
RULES = {"thumbnail": BlobRule(("image/png", "image/jpeg"), 1000), "source": BlobRule()}
ADOPTED = BlobState(CID, "image/png", 9)


def ref(cid: str = CID, mime_type: str = "image/png", size: object = 9) -> dict[str, object]:
    """Return a reference to a blob, as a record has it."""
    return {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime_type, "size": size}


def test_blobs_that_the_lexicon_accepts_are_adopted() -> None:
    """They have no source, and become the same reference again."""
    blobs = adopt_blobs({"slug": "a", "thumbnail": ref()}, RULES, {})
    assert blobs == {"thumbnail": ADOPTED}
    assert blobs["thumbnail"].as_ref() == ref()
    assert adopted_cid(blobs["thumbnail"]) == CID


@pytest.mark.parametrize(
    "value",
    [
        ref(mime_type="image/webp"),
        ref(size=1001),
        ref(size="9"),
        ref(cid=cid_of_record({})),
        {"cid": CID, "mimeType": "image/png"},
        {**ref(), "alt": "a"},
        CID,
        None,
    ],
    ids=["type", "size", "size is text", "CID of a record", "old form", "extra", "text", "null"],
)
def test_other_values_are_not_adopted(value: object) -> None:
    """A record with such a blob is written again."""
    assert adopt_blobs({"thumbnail": value}, RULES, {}) == {}


def test_known_blobs_are_kept() -> None:
    """An upload may be newer than the record; a blob that failed is adopted."""
    known = {"thumbnail": BlobState("bafkrei", "image/png", 5, "version 2")}
    assert adopt_blobs({"thumbnail": ref()}, RULES, known) == known
    assert adopt_blobs({"thumbnail": ref()}, RULES, {"thumbnail": BlobState()}) == {
        "thumbnail": ADOPTED
    }
    assert adopted_cid(known["thumbnail"]) is None
    assert adopted_cid(BlobState()) is None


def test_legacy_state_has_a_key_that_no_run_has_used() -> None:
    """With the repo, the CID or a time of publication, a run has read or written the record."""
    legacy = SyncState(rkey="3k", uri="at://did:plc:a/computer.aesthetic.mood/3k")
    assert is_legacy(SyncState(rkey="3k"))
    assert is_legacy(legacy)
    assert not is_legacy(SyncState())
    assert not is_legacy(SyncState(rkey="3k", repo="did:plc:a"))
    assert not is_legacy(SyncState(rkey="3k", cid="bafyrei"))
    assert not is_legacy(SyncState(rkey="3k", synced_at=now()))
