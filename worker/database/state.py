"""Convert the `atproto` field of a document to a SyncState and back.

Parsing is lenient: values with a wrong type, for example of older programs, are ignored, so that
the item can still be published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from enum import Enum
from itertools import islice

from bson import DBRef

from worker.core.documents import BlobState, Failure, Lease, Status, SyncState
from worker.core.fields import is_text
from worker.core.record_keys import is_rkey
from worker.core.records import is_record_uri

_MAX_STRAYS = 20  # a run reads each of these records
_MAX_NUMBER = 2**53
_STATUSES: Mapping[str | None, Status] = {status.value: status for status in Status}


class ResetMode(Enum):
    """Whether a reset keeps the record key, for a restore (WIPED), or nothing."""

    WIPED = "wiped"
    FORGOTTEN = "forgotten"

    def is_done(self, state: SyncState) -> bool:
        """Return whether a state has already been reset in this mode."""
        if self is ResetMode.FORGOTTEN:
            return (state.status, state.reason) == (Status.REMOVED, self.value)
        return state.status is Status.REMOVED and state.uri is None and state.cid is None


RESET_REASONS = frozenset(mode.value for mode in ResetMode)
"""The values of `reason` in states that were reset."""


def parse_state(raw: object) -> SyncState:
    """Parse an `atproto` field. Older programs saved only an `rkey`."""
    get = mapping(raw).get
    rkey, error = _text(get("rkey")), _failure(get("error"))
    return SyncState(
        status=_STATUSES.get(_text(get("status"))),
        reason=_text(get("reason")),
        repo=_text(get("repo")),
        rkey=rkey if rkey and is_rkey(rkey) else None,
        uri=_text(get("uri")),
        cid=_text(get("cid")),
        adopted=get("adopted") is True,
        blobs={name: _blob(value) for name, value in mapping(get("blobs")).items()},
        links={name: _text(value) for name, value in mapping(get("links")).items()},
        fingerprint=_text(get("fingerprint")),
        attempts=_number(get("attempts")),
        lost=_number(get("lost")),
        attempted_at=_moment(get("attemptedAt")),
        synced_at=_moment(get("syncedAt")),
        published_at=_moment(get("publishedAt")),
        retry_at=_moment(get("retryAt")),
        held_until=_moment(get("heldUntil")),
        error=error,
        failing_since=_moment(get("failingSince")) or error.at if error else None,
        lease=_lease(get("lease")),
        strays=_uris(get("strays")),
        remake=get("remake") is True,
    )


def dump_state(state: SyncState) -> dict[str, object]:
    """Convert a state, except lease, strays and `remake`, to fields; None: to unset.

    Without a repo there is no field `did`, so that the one of an older program is kept.
    """
    return {
        "status": state.status.value if state.status else None,
        "reason": state.reason,
        **repo_fields(state.repo),
        "rkey": state.rkey,
        "uri": state.uri,
        "cid": state.cid,
        "adopted": state.adopted or None,
        "blobs": dump_blobs(state.blobs),
        "links": dict(state.links) or None,
        "fingerprint": state.fingerprint,
        "attempts": state.attempts,
        "lost": state.lost or None,
        "attemptedAt": state.attempted_at,
        "syncedAt": state.synced_at,
        "publishedAt": state.published_at,
        "retryAt": state.retry_at,
        "heldUntil": state.held_until,
        "error": _dump_failure(state.error),
        "failingSince": state.failing_since if state.error else None,
    }


def repo_fields(repo: str | None) -> dict[str, object]:
    """Return the fields for a repo's DID: `repo`, and `did`, which other programs read."""
    return {"repo": repo, "did": repo} if repo else {"repo": None}


def dump_blobs(blobs: Mapping[str, BlobState]) -> dict[str, object] | None:
    """Convert the states of blobs to fields; return None if there are none."""
    return {name: _dump_blob(blob) for name, blob in blobs.items()} or None


def _dump_blob(blob: BlobState) -> dict[str, object]:
    known = {
        "status": blob.status,
        "cid": blob.cid,
        "mimeType": blob.mime_type or None,
        "size": blob.size or None,
        "key": blob.key,
        "source": blob.source,
        "error": _dump_failure(blob.error),
    }
    return {name: value for name, value in known.items() if value is not None}


def _dump_failure(failure: Failure | None) -> dict[str, object] | None:
    return asdict(failure) if failure else None


def mapping(raw: object) -> dict[str, object]:
    """Return an embedded document or DBRef as a dict; empty for other values."""
    if isinstance(raw, DBRef):
        return dict(raw.as_doc())
    return raw if isinstance(raw, dict) else {}


def _uris(raw: object) -> tuple[str, ...]:
    texts = map(_text, raw if isinstance(raw, list) else ())
    return tuple(islice((text for text in texts if text and is_record_uri(text)), _MAX_STRAYS))


def _text(raw: object) -> str | None:
    return raw if is_text(raw) else None


def _number(raw: object) -> int:
    # Ignore out-of-range integers of other programs: an increment would overflow BSON.
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < _MAX_NUMBER:
        return raw
    return 0


def _moment(raw: object) -> datetime | None:
    if not isinstance(raw, datetime):
        return None
    return raw.replace(tzinfo=UTC) if raw.tzinfo is None else raw


def _failure(raw: object) -> Failure | None:
    get = mapping(raw).get
    at = _moment(get("at"))
    if at is None:
        return None
    return Failure(
        step=_text(get("step")) or "",
        code=_text(get("code")) or "",
        message=_text(get("message")) or "",
        permanent=get("permanent") is True,
        at=at,
    )


def _blob(raw: object) -> BlobState:
    get = mapping(raw).get
    return BlobState(
        cid=_text(get("cid")),
        mime_type=_text(get("mimeType")) or "",
        size=_number(get("size")),
        source=_text(get("source")),
        error=_failure(get("error")),
        key=_text(get("key")),
    )


def _lease(raw: object) -> Lease | None:
    get = mapping(raw).get
    until = _moment(get("until"))
    if until is None:
        return None
    return Lease(_text(get("token")) or "", _text(get("holder")) or "", until)
