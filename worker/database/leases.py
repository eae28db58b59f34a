"""Leases: what it takes to claim a document, and what a claim changes on it. Pure.

A claim is conditional on what was read, an expired or malformed lease included, so of many
claims at once one wins.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from worker.core.clock import after, now
from worker.core.documents import Lease, MediaDocument, Status, SyncState
from worker.database.mongo import RawDocument
from worker.database.state import mapping

MALFORMED_STATE: RawDocument = {
    "$expr": {"$not": {"$in": [{"$type": "$atproto"}, ["missing", "object"]]}}
}
"""Matches documents whose `atproto` cannot hold fields: null and the like, of older programs."""

_NO_UTF8 = "\ufffd"
_EARLY = 1.0  # seconds; what a message may come early

Update = dict[str, dict[str, object]]


def new_lease(holder: str, seconds: float) -> Lease:
    """Return a lease from now on, with a token of its own."""
    return Lease(secrets.token_hex(8), holder, after(seconds))


def message_of(holder: str) -> str:
    """Return the message that a holder serves: `2/message` is what it asked for the second time."""
    return holder.rpartition("/")[2]


def is_held(document: MediaDocument, *, holder: str) -> bool:
    """Tell whether another message's run holds the document."""
    lease = document.state.lease
    if lease is None or lease.until <= now():
        return False
    return message_of(lease.holder) != message_of(holder)


def not_before(document: MediaDocument, *, only_if_due: bool) -> datetime | None:
    """Return the time before which nothing is to be done, None when that is no more.

    A PDS may have asked us to leave the item alone. And with `only_if_due` an item that waits
    is left waiting: another message has tried it meanwhile, and will again.
    """
    state = document.state
    if state.lease is not None:
        return None
    times = [state.held_until, state.retry_at if only_if_due else None]
    return max((time for time in times if time and time > after(_EARLY)), default=None)


def unchanged_since(raw: RawDocument) -> RawDocument:
    """Match a document that nobody has claimed since it was read, whatever its state holds."""
    values = mapping(raw.get("atproto"))
    claim = {f"atproto.{name}": _as_was(values.get(name)) for name in ("attemptedAt", "lease")}
    return {"_id": raw["_id"], **claim}


def _as_was(value: object) -> RawDocument:
    """Match a value that is as it was read.

    Of bytes that are no text the driver tells only that there are some. What is there with such
    is no date: a claim makes it one, so that of many at once still one wins.
    """
    if _NO_UTF8 in str(value):
        return {"$ne": None, "$not": {"$type": "date"}}
    return {"$eq": value}


def held_by(document: MediaDocument) -> RawDocument:
    """Match a document that its run still holds."""
    lease = document.state.lease
    return {"_id": document.ref.id, "atproto.lease.token": lease.token if lease else ""}


def state_after_claim(
    document: MediaDocument, lease: Lease, repo: str | None = None, rkey: str | None = None
) -> SyncState:
    """Return the state that a claim leaves: the lease, one more attempt, the key it reserves."""
    state = document.state
    return replace(
        state,
        repo=repo or state.repo,
        rkey=rkey or state.rkey,
        lease=lease,
        status=state.status or Status.PENDING,
        attempts=1 + (0 if _is_new_content(document) else state.attempts),
        lost=_count_lost(document, lease.holder),
        attempted_at=now(),
        # If this run dies, the sweep finds the document here, whatever its status.
        retry_at=lease.until,
        fingerprint=document.fingerprint,
    )


def claim_update(state: SyncState, lease: Mapping[str, object]) -> Update:
    """Return the changes that a claim with this state makes; its lease comes as MongoDB has it."""
    return {
        "$set": {
            "atproto.lease": lease,
            "atproto.status": str(state.status),
            "atproto.attempts": state.attempts,
            "atproto.lost": state.lost,
            "atproto.attemptedAt": state.attempted_at,
            "atproto.retryAt": state.retry_at,
            "atproto.fingerprint": state.fingerprint,
        },
        "$unset": {"atproto.again": ""},
    }


def _is_new_content(document: MediaDocument) -> bool:
    settled = document.state.error is None
    return settled or document.state.fingerprint != document.fingerprint


def _count_lost(document: MediaDocument, holder: str) -> int:
    before, lost = document.state.lease, document.state.lost
    if document.state.fingerprint != document.fingerprint:
        return 0
    if before is None:
        return lost
    # A lease that is still there was never given back: that run died at work. Unless it asked for
    # this one, which it could do alive alone: then MongoDB did not take the lease back.
    asked = before.holder != holder and message_of(before.holder) == message_of(holder)
    return lost if asked else lost + 1
