"""Adopt the blobs of records that exist in a repo, but not in the states of their documents.

Older programs wrote such records, with thumbnails of their own. Their blob references are used as
they are, so that a current record is not written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from worker.core.documents import BlobState, SyncState
from worker.media.validation import BlobRule, Violation, check_blob

Blobs = Mapping[str, BlobState]


def is_legacy(state: SyncState) -> bool:
    """Return whether the state names a record that no run has read or written.

    An older program has saved the record key, without the repo and the CID.
    """
    is_unread = state.repo is None and state.cid is None and state.synced_at is None
    return state.rkey is not None and is_unread


def is_adopted(state: SyncState) -> bool:
    """Return whether a record to save in the state is one of an older program.

    A state with a CID and without `adopted` has a record that a run wrote. If another program has
    replaced that record, it must be complete again.
    """
    return state.cid is None or state.adopted


def adopted_cid(blob: BlobState) -> str | None:
    """Return the CID of a blob that is adopted and has no source yet; None for other blobs."""
    return blob.cid if blob.source is None else None


def adopt_blobs(
    record: Mapping[str, object], rules: Mapping[str, BlobRule], known: Blobs
) -> dict[str, BlobState]:
    """Add the blob references of `record` to the blobs `known` from a state.

    References that the lexicon does not accept are ignored. A known blob is kept. The next sync
    checks that the PDS has an adopted blob.
    """
    blobs = dict(known)
    for name, rule in rules.items():
        if name not in record or (name in known and known[name].cid):
            continue
        with suppress(Violation):
            check_blob(rule, record[name], name)
            blobs[name] = _blob_state(cast("Mapping[str, object]", record[name]))
    return blobs


def _blob_state(ref: Mapping[str, object]) -> BlobState:
    """Build the state of a valid blob reference; see `BlobState.as_ref`."""
    link = cast("Mapping[str, str]", ref["ref"])["$link"]
    return BlobState(link, cast("str", ref["mimeType"]), cast("int", ref["size"]))
