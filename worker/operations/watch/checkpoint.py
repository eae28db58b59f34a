"""Save the position of the watch: one document in MongoDB for all watchers.

The update replaces a saved token only by a later one, so a watcher that is slow or was suspended
never moves the position back. Resume tokens can be compared as text:
https://www.mongodb.com/docs/v8.0/reference/method/Mongo.watch/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from worker.database.mongo import RawDocument, mongo_errors

COLLECTION = "atproto_watch"
_ID = "position"
Token = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The saved position.

    All changes up to `token` were on the queue at `saved_at`. The last change was made at
    `last_event_at`, and enqueued `lag` seconds later. `must_sweep` is set if changes before
    `token` may have been missed, for the reason in `lost`. `trouble` is the code of the error
    that a watcher is retrying. `unknown` counts changes for which no message could be sent.
    """

    token: Token | None = None
    must_sweep: bool = False
    lost: Mapping[str, object] | None = None
    saved_at: datetime | None = None
    last_event_at: datetime | None = None
    lag: float = 0.0
    enqueued: int = 0
    unknown: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointUpdate:
    """A token, and counts of what was enqueued since the previous one.

    `lost` is the reason if changes before the token may have been missed and a sweep is needed.
    """

    token: Token
    last_event_at: datetime | None = None
    enqueued: int = 0
    unknown: int = 0
    lost: str | None = None


def read_checkpoint(database: Database[RawDocument]) -> Checkpoint | None:
    """Return the saved position, or None; raises StoreUnavailableError."""
    with mongo_errors():
        raw = database[COLLECTION].find_one({"_id": _ID})
    return _parse(raw) if raw else None


class CheckpointStore:
    """Saves the position. All methods raise StoreUnavailableError."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._collection = database[COLLECTION]

    def start(self, token: Token) -> bool:
        """Save the token of a new stream, unless one is saved; return whether it was."""
        return self._update({"token._data": None}, _changes(CheckpointUpdate(token)))

    def save(self, update: CheckpointUpdate) -> bool:
        """Save a token, unless a later one is saved; return whether it was saved."""
        not_later: RawDocument = {"token._data": {"$not": {"$gt": update.token["_data"]}}}
        return self._update(not_later, _changes(update))

    def mark_lost(self, token: Token | None, why: str) -> bool:
        """Delete an unusable token, if it is still saved; return whether it was deleted."""
        return self._update({"token": token}, {"token": None, **_loss(why)})

    def mark_swept(self, lost: Mapping[str, object] | None) -> None:
        """Save that the sweep after a loss was requested, unless another loss followed."""
        self._update({"lost": lost}, {"mustSweep": False})

    def save_trouble(self, code: str) -> None:
        """Save the error that a watcher is retrying; the next saved token clears it."""
        self._update({}, {"trouble": code})

    def _update(self, match: RawDocument, changes: RawDocument) -> bool:
        """Update the document if it matches or is missing; return whether it was updated."""
        try:
            with mongo_errors():
                self._collection.update_one({"_id": _ID, **match}, [{"$set": changes}], upsert=True)
        except DuplicateKeyError:
            return False  # it exists and does not match
        return True


def _changes(update: CheckpointUpdate) -> RawDocument:
    changes: RawDocument = {
        "token": {"$literal": update.token},
        "savedAt": "$$NOW",
        "trouble": None,
        "enqueued": {"$add": [{"$ifNull": ["$enqueued", 0]}, update.enqueued]},
        "unknown": {"$add": [{"$ifNull": ["$unknown", 0]}, update.unknown]},
    }
    if update.last_event_at:
        late = {"$divide": [{"$subtract": ["$$NOW", update.last_event_at]}, 1000]}
        changes |= {"lastEventAt": update.last_event_at, "lag": late}
    return changes | (_loss(update.lost) if update.lost else {})


def _loss(why: str) -> RawDocument:
    return {"mustSweep": True, "lost": {"at": "$$NOW", "why": {"$literal": why}}}


def _parse(raw: RawDocument) -> Checkpoint:
    token = raw.get("token")
    return Checkpoint(
        token=token if isinstance(token, dict) else None,
        must_sweep=raw.get("mustSweep") is True,
        lost=cast("Mapping[str, object] | None", raw.get("lost")),
        saved_at=cast("datetime | None", raw.get("savedAt")),
        last_event_at=cast("datetime | None", raw.get("lastEventAt")),
        lag=cast("float", raw.get("lag", 0.0)),
        enqueued=cast("int", raw.get("enqueued", 0)),
        unknown=cast("int", raw.get("unknown", 0)),
        trouble=cast("str | None", raw.get("trouble")),
    )
