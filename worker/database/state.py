"""Convert the `atproto` field of a document to a SyncState and back.

Parsing is lenient: values with a wrong type, for example of older programs, are ignored, so that
the item can still be published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from typing import Any

from bson import DBRef

from worker.core.documents import BlobState, Failure, Lease, Status, SyncState
from worker.core.fields import is_text
from worker.core.record_keys import is_rkey
from worker.core.records import is_record_uri

_MAX_STRAYS = 20  # a run reads each of these records
_MAX_NUMBER = 2**53
_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}


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
    values: dict[str, Any] = {}
    for name, value in mapping(raw).items():
        if known := _PARSERS.get(name):
            field, parse = known
            values[field] = parse(value)
    since, error = values.pop("failing_since", None), values.get("error")
    return SyncState(**values, failing_since=since or error.at if error else None)


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


def dump_lease(lease: Lease) -> dict[str, object]:
    """Convert a lease to fields."""
    return _attributes(lease)


def dump_failure(failure: Failure) -> dict[str, object]:
    """Convert an error to fields."""
    return _attributes(failure)


def _dump_failure(failure: Failure | None) -> dict[str, object] | None:
    return dump_failure(failure) if failure else None


def _attributes(value: Lease | Failure) -> dict[str, object]:
    # `asdict` would copy each date in ten times the time.
    return {name: getattr(value, name) for name in value.__slots__}


def mapping(raw: object) -> dict[str, object]:
    """Return an embedded document or DBRef as a dict; empty for other values."""
    if isinstance(raw, DBRef):
        return dict(raw.as_doc())
    return raw if isinstance(raw, dict) else {}


def _uris(raw: object) -> tuple[str, ...]:
    texts = map(_text, raw if isinstance(raw, list) else ())
    return tuple(islice((text for text in texts if text and is_record_uri(text)), _MAX_STRAYS))


def _status(raw: object) -> Status | None:
    return _STATUSES.get(raw) if is_text(raw) else None


def _rkey(raw: object) -> str | None:
    return raw if is_text(raw) and is_rkey(raw) else None


def _is_true(raw: object) -> bool:
    return raw is True


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


def _blobs(raw: object) -> dict[str, BlobState]:
    return {name: _blob(value) for name, value in mapping(raw).items()}


def _links(raw: object) -> dict[str, str | None]:
    return {name: _text(value) for name, value in mapping(raw).items()}


# The fields of a state: the names in MongoDB and in SyncState, and the parser.
_PARSERS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "status": ("status", _status),
    "reason": ("reason", _text),
    "repo": ("repo", _text),
    "rkey": ("rkey", _rkey),
    "uri": ("uri", _text),
    "cid": ("cid", _text),
    "adopted": ("adopted", _is_true),
    "blobs": ("blobs", _blobs),
    "links": ("links", _links),
    "fingerprint": ("fingerprint", _text),
    "attempts": ("attempts", _number),
    "lost": ("lost", _number),
    "attemptedAt": ("attempted_at", _moment),
    "syncedAt": ("synced_at", _moment),
    "publishedAt": ("published_at", _moment),
    "retryAt": ("retry_at", _moment),
    "heldUntil": ("held_until", _moment),
    "error": ("error", _failure),
    "failingSince": ("failing_since", _moment),
    "lease": ("lease", _lease),
    "strays": ("strays", _uris),
    "remake": ("remake", _is_true),
}
