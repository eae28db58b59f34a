"""The `atproto` field of a document, to and from a SyncState.

Reading is lenient: what older programs left there, or what is not of its type, counts as absent,
so that no stray value keeps an item from being published.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

from worker.documents import BlobState, Failure, Lease, Status, SyncState
from worker.rkey import is_rkey

T = TypeVar("T")

_STATUSES = {status.value: status for status in Status}


def parse_state(raw: object) -> SyncState:
    """Read a document's `atproto` field; a legacy one has an `rkey` alone."""
    values = _mapping(raw)
    rkey = _get(values, "rkey", str)
    return SyncState(
        status=_status(values.get("status")),
        reason=_get(values, "reason", str),
        repo=_get(values, "repo", str),
        rkey=rkey if rkey and is_rkey(rkey) else None,
        uri=_get(values, "uri", str),
        cid=_get(values, "cid", str),
        blobs={name: _blob(value) for name, value in _mapping(values.get("blobs")).items()},
        links={name: value is True for name, value in _mapping(values.get("links")).items()},
        fingerprint=_get(values, "fingerprint", str),
        attempts=_get(values, "attempts", int) or 0,
        lost=_get(values, "lost", int) or 0,
        attempted_at=_moment(values.get("attemptedAt")),
        synced_at=_moment(values.get("syncedAt")),
        retry_at=_moment(values.get("retryAt")),
        held_until=_moment(values.get("heldUntil")),
        error=_failure(values.get("error")),
        lease=_lease(values.get("lease")),
        strays=_texts(values.get("strays")),
    )


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


def _mapping(raw: object) -> Mapping[str, object]:
    return raw if isinstance(raw, Mapping) else {}


def _texts(raw: object) -> tuple[str, ...]:
    return tuple(item for item in raw if isinstance(item, str)) if isinstance(raw, list) else ()


def _get(values: Mapping[str, object], name: str, kind: type[T]) -> T | None:
    value = values.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _moment(raw: object) -> datetime | None:
    if not isinstance(raw, datetime):
        return None
    return raw.replace(tzinfo=UTC) if raw.tzinfo is None else raw


def _status(raw: object) -> Status | None:
    return _STATUSES.get(raw) if isinstance(raw, str) else None


def _failure(raw: object) -> Failure | None:
    values = _mapping(raw)
    at = _moment(values.get("at"))
    if at is None:
        return None
    return Failure(
        step=_get(values, "step", str) or "",
        code=_get(values, "code", str) or "",
        message=_get(values, "message", str) or "",
        permanent=values.get("permanent") is True,
        at=at,
    )


def _blob(raw: object) -> BlobState:
    values = _mapping(raw)
    return BlobState(
        cid=_get(values, "cid", str),
        mime_type=_get(values, "mimeType", str) or "",
        size=_get(values, "size", int) or 0,
        source=_get(values, "source", str),
        error=_failure(values.get("error")),
    )


def _lease(raw: object) -> Lease | None:
    values = _mapping(raw)
    until = _moment(values.get("until"))
    if until is None:
        return None
    token, holder = _get(values, "token", str), _get(values, "holder", str)
    return Lease(token or "", holder or "", until)
