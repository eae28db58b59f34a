"""The rules of leases: when a document can be claimed, and the update of a claim.

The filter of a claim contains the values that were read, including an expired or malformed lease.
Therefore only one of several simultaneous claims succeeds.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime

from worker.core.clock import after, now
from worker.core.documents import Lease, MediaDocument, Status, SyncState
from worker.database.mongo import RawDocument
from worker.database.state import mapping, repo_fields

_WATCHED = ("attemptedAt", "lease", "rkey", "strays", "remake")
MALFORMED_STATE: RawDocument = {
    "$expr": {"$not": {"$in": [{"$type": "$atproto"}, ["missing", "object"]]}}
}
"""Matches documents with an `atproto` that is not an object, such as null, from older programs."""

_NO_UTF8 = "\ufffd"
_REMOVAL_STEPS = frozenset({"read", "remove", "session"})  # of the calls that remove a record
_EARLY = 1.0  # seconds before its time that an item may be claimed
_LONGEST = 2 * 86_400.0  # seconds; runs take less, and a PDS is asked again after a day at most

Update = dict[str, dict[str, object]]


def new_lease(holder: str, seconds: float) -> Lease:
    """Create a lease with a new token, from now for `seconds`."""
    return Lease(secrets.token_hex(8), holder, after(seconds))


def message_of(holder: str) -> str:
    """Return the message id in a holder, such as `2/message` for a second retry."""
    return holder.rpartition("/")[2]


def is_held(document: MediaDocument, *, holder: str) -> bool:
    """Return whether a run of another message holds a lease that has not expired.

    A lease that ends later than that of any run is not one of ours.
    """
    lease = document.state.lease
    if lease is None or not now() < lease.until <= after(_LONGEST):
        return False
    return message_of(lease.holder) != message_of(holder)


def not_held() -> RawDocument:
    """Build a filter for documents without a lease that a run may have; see `is_held`."""
    held = {"$gt": now(), "$lte": after(_LONGEST)}
    return {"$nor": [{"atproto.lease.until": held}]}


def held_expression() -> RawDocument:
    """Build an expression for whether a run may have the document; see `not_held`."""
    until = "$atproto.lease.until"
    return {"$and": [{"$gt": [until, now()]}, {"$lte": [until, after(_LONGEST)]}]}


def not_before(document: MediaDocument, *, only_if_due: bool) -> datetime | None:
    """Return the earliest time for a claim, or None if it is allowed now.

    The PDS may have asked to wait. With `only_if_due`, the item must also be due for a retry.
    Returns None if the document has a lease: `is_held` has checked it before.
    """
    state = document.state
    if state.lease is not None:
        return None
    times = [_held_until(document), state.retry_at if only_if_due else None]
    return max((time for time in times if time and time > after(_EARLY)), default=None)


def _held_until(document: MediaDocument) -> datetime | None:
    """Return the time until which the PDS asked to wait, or None.

    A time later than any that a run saves is ignored. The removal of a hidden item does not wait
    for the upload or the write of a record.
    """
    held, error = document.state.held_until, document.state.error
    if held is None or held > after(_LONGEST):
        return None
    if document.hidden and error and error.step not in _REMOVAL_STEPS:
        return None
    return held


def unchanged_since(raw: RawDocument) -> RawDocument:
    """Build a filter for a document whose state was not changed since it was read.

    Compares the fields that other runs and operations change, and that a claim does not read again.
    """
    values = mapping(raw.get("atproto"))
    return {
        "_id": raw["_id"],
        **{f"atproto.{name}": _as_was(values.get(name)) for name in _WATCHED},
    }


def _as_was(value: object) -> RawDocument:
    """Build a condition for a value that has not changed since it was read.

    Text that is not UTF-8 cannot be compared. The condition then rejects dates, as set by a claim.
    """
    if _NO_UTF8 in str(value):
        return {"$ne": None, "$not": {"$type": "date"}}
    return {"$eq": value}


def held_by(document: MediaDocument) -> RawDocument:
    """Build a filter for a document that still has the lease of this run."""
    lease = document.state.lease
    return {"_id": document.ref.id, "atproto.lease.token": lease.token if lease else ""}


def state_after_claim(
    document: MediaDocument, lease: Lease, repo: str | None = None, rkey: str | None = None
) -> SyncState:
    """Build the state to save with a claim; with `rkey`, it reserves that key."""
    state = document.state
    is_first = state.error is None or state.fingerprint != document.fingerprint
    return state._replace(
        repo=repo if rkey else state.repo,
        rkey=rkey or state.rkey,
        adopted=state.adopted and not document.is_edited,
        lease=lease,
        status=state.status or Status.PENDING,
        attempts=1 if is_first else state.attempts + 1,
        lost=_count_lost(document, lease.holder),
        attempted_at=now(),
        # If this run dies, the sweep enqueues the item at this time.
        retry_at=lease.until,
        fingerprint=document.fingerprint,
    )


def claim_update(state: SyncState, lease: Mapping[str, object]) -> Update:
    """Build the update of a claim, with the record key that `state` reserves.

    `lease` is the lease as saved in MongoDB.
    """
    unset = ["again"] if state.adopted else ["again", "adopted"]
    key = {**repo_fields(state.repo), "rkey": state.rkey} if state.repo and state.rkey else {}
    return {
        "$set": {
            **{f"atproto.{name}": value for name, value in key.items()},
            "atproto.lease": lease,
            "atproto.status": str(state.status),
            "atproto.attempts": state.attempts,
            "atproto.lost": state.lost,
            "atproto.attemptedAt": state.attempted_at,
            "atproto.retryAt": state.retry_at,
            "atproto.fingerprint": state.fingerprint,
        },
        "$unset": {f"atproto.{name}": "" for name in unset},
    }


def _count_lost(document: MediaDocument, holder: str) -> int:
    before, lost = document.state.lease, document.state.lost
    if document.state.fingerprint != document.fingerprint:
        return 0
    if before is None:
        return lost
    # The existing lease was not released, so its run has died. An exception is an earlier try of
    # the same message: that run sent the retry, but could not release its lease in MongoDB.
    is_earlier_try = before.holder != holder and message_of(before.holder) == message_of(holder)
    return lost if is_earlier_try else lost + 1
