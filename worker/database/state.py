"""The `atproto` field of a document, to and from a SyncState.

Reading is lenient: what older programs left there, or what is not of its type, counts as absent,
so that no stray value keeps an item from being published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeGuard

from bson import DBRef

from worker.core.documents import BlobState, Failure, Lease, Status, SyncState
from worker.core.fields import is_text
from worker.core.record_keys import is_rkey

_URI = re.compile(r"at://[^/\s]+/[^/\s]+/[^/\s]+")
_MAX_NUMBER = 2**53
_STATUSES = {status.value: status for status in Status}


class ResetMode(Enum):
    """What a state that was reset keeps: the key of its record, for a restore, or nothing."""

    WIPED = "wiped"
    FORGOTTEN = "forgotten"

    def is_done(self, state: SyncState) -> bool:
        """Tell whether a state was reset."""
        if self is ResetMode.FORGOTTEN:
            return (state.status, state.reason) == (Status.REMOVED, self.value)
        return state.status is Status.REMOVED and state.uri is None and state.cid is None


def parse_state(raw: object) -> SyncState:
    """Read a document's `atproto` field; a legacy one has an `rkey` alone."""
    values = mapping(raw)
    read = {name: reader(values[key]) for key, (name, reader) in _READERS.items() if key in values}
    return SyncState(**read)


def dump_state(state: SyncState) -> dict[str, object]:
    """Return a state as it is kept in MongoDB, lease and strays apart; None means: none."""
    return {
        "status": state.status.value if state.status else None,
        "reason": state.reason,
        "repo": state.repo,
        "rkey": state.rkey,
        "uri": state.uri,
        "cid": state.cid,
        "blobs": {name: _dump_blob(blob) for name, blob in state.blobs.items()} or None,
        "links": dict(state.links) or None,
        "fingerprint": state.fingerprint,
        "attempts": state.attempts,
        "lost": state.lost or None,
        "attemptedAt": state.attempted_at,
        "syncedAt": state.synced_at,
        "retryAt": state.retry_at,
        "heldUntil": state.held_until,
        "error": _dump_failure(state.error),
    }


def _dump_blob(blob: BlobState) -> dict[str, object]:
    known = {
        "status": blob.status,
        "cid": blob.cid,
        "mimeType": blob.mime_type or None,
        "size": blob.size or None,
        "source": blob.source,
        "error": _dump_failure(blob.error),
    }
    return {name: value for name, value in known.items() if value is not None}


def _dump_failure(failure: Failure | None) -> dict[str, object] | None:
    if failure is None:
        return None
    return {
        "step": failure.step,
        "code": failure.code,
        "message": failure.message,
        "permanent": failure.permanent,
        "at": failure.at,
    }


def _rkey(raw: object) -> str | None:
    return raw if is_text(raw) and is_rkey(raw) else None


def _blobs(raw: object) -> dict[str, BlobState]:
    return {name: _blob(value) for name, value in mapping(raw).items()}


def _links(raw: object) -> dict[str, bool]:
    return {name: value is True for name, value in mapping(raw).items()}


def mapping(raw: object) -> dict[str, object]:
    """Return the fields of what is a document in MongoDB; the driver knows two kinds of them."""
    if isinstance(raw, DBRef):
        return dict(raw.as_doc())
    return raw if isinstance(raw, dict) else {}


def _uris(raw: object) -> tuple[str, ...]:
    return tuple(filter(_is_uri, raw)) if isinstance(raw, list) else ()


def _text(raw: object) -> str | None:
    return raw if is_text(raw) else None


def _is_uri(raw: object) -> TypeGuard[str]:
    return is_text(raw) and _URI.fullmatch(raw) is not None


def _number(raw: object) -> int:
    # Of what is not ours: one more than the largest that there is could not be kept.
    is_ours = isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < _MAX_NUMBER
    return raw if isinstance(raw, int) and is_ours else 0


def _moment(raw: object) -> datetime | None:
    if not isinstance(raw, datetime):
        return None
    return raw.replace(tzinfo=UTC) if raw.tzinfo is None else raw


def _status(raw: object) -> Status | None:
    return _STATUSES.get(raw) if is_text(raw) else None


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
    )


def _lease(raw: object) -> Lease | None:
    get = mapping(raw).get
    until = _moment(get("until"))
    if until is None:
        return None
    return Lease(_text(get("token")) or "", _text(get("holder")) or "", until)


_READERS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "status": ("status", _status),
    "reason": ("reason", _text),
    "repo": ("repo", _text),
    "rkey": ("rkey", _rkey),
    "uri": ("uri", _text),
    "cid": ("cid", _text),
    "blobs": ("blobs", _blobs),
    "links": ("links", _links),
    "fingerprint": ("fingerprint", _text),
    "attempts": ("attempts", _number),
    "lost": ("lost", _number),
    "attemptedAt": ("attempted_at", _moment),
    "syncedAt": ("synced_at", _moment),
    "retryAt": ("retry_at", _moment),
    "heldUntil": ("held_until", _moment),
    "error": ("error", _failure),
    "lease": ("lease", _lease),
    "strays": ("strays", _uris),
}
