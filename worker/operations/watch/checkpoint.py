"""How far the watch has come, and who watches: one document in MongoDB.

MongoDB's clock decides when a lease has ended, so the clocks of watchers need not agree. Each time
that the lease is taken its fence is one higher, and whatever is saved names the fence: a watcher
that was stopped and goes on later can no longer change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import pymongo
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from worker.core.errors import MediaError
from worker.database.mongo import RawDocument, mongo_errors

COLLECTION = "atproto_watch"
_ID = "position"
_RELEASED = 3.0  # seconds
Token = Mapping[str, object]


class WatchLeaseLostError(MediaError):
    """Another watcher has the lease now."""

    step = "watch"
    code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the watch stands.

    All up to `token` was enqueued, at `saved_at`; the last change of a document was saved at
    `last_event_at`, and enqueued `lag` seconds later. `must_sweep` tells that changes before
    `token` may be unknown. `trouble` is what the watcher waits for. `unknown` counts deleted
    documents whose owner nobody knows.
    """

    fence: int
    holder: str | None
    until: datetime | None
    token: Token | None
    must_sweep: bool
    saved_at: datetime | None
    last_event_at: datetime | None
    lag: float
    enqueued: int
    unknown: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class CheckpointUpdate:
    """What was enqueued since the position was last saved: how much, how late (seconds)."""

    token: Token | None
    last_event_at: datetime | None = None
    enqueued: int = 0
    unknown: int = 0


def read_checkpoint(database: Database[RawDocument]) -> Checkpoint | None:
    """Return where the watch stands, None if there never was one; raises StoreUnavailableError."""
    with mongo_errors():
        raw = database[COLLECTION].find_one({"_id": _ID})
    return _parse(raw) if raw else None


class CheckpointStore:
    """The position as one watcher sees it, which `holder` names; its lease lasts `lease` seconds.

    Raises StoreUnavailableError, and OvertakenError where another one has taken over.
    """

    def __init__(self, database: Database[RawDocument], holder: str, lease: float) -> None:
        self._collection = database[COLLECTION]
        self._holder = holder
        self.lease = lease
        self._fence = 0

    def acquire(self) -> Checkpoint | None:
        """Take the lease and return the position; None while another watcher has it."""
        free: RawDocument = {"$lte": [{"$ifNull": ["$until", None]}, "$$NOW"]}
        match = {"_id": _ID, "$or": [{"$expr": free}, {"holder": self._holder}]}
        fence = {"$add": [{"$ifNull": ["$fence", 0]}, 1]}
        with mongo_errors():
            self._ensure()
            raw = self._collection.find_one_and_update(
                match,
                [{"$set": {"holder": self._holder, "fence": fence, **self._renewed_lease()}}],
                return_document=ReturnDocument.AFTER,
            )
        if raw is None:
            return None
        position = _parse(raw)
        self._fence = position.fence
        return position

    def holder(self) -> str | None:
        """Return who has the lease."""
        with mongo_errors():
            raw = self._collection.find_one({"_id": _ID}, {"holder": 1})
        return cast("str | None", raw.get("holder")) if raw else None

    def save(self, step: CheckpointUpdate) -> None:
        """Keep that all up to a token was enqueued, and renew the lease."""
        changes: RawDocument = {
            "token": {"$literal": step.token},
            "savedAt": "$$NOW",
            "trouble": None,
            "enqueued": {"$add": [{"$ifNull": ["$enqueued", 0]}, step.enqueued]},
            "unknown": {"$add": [{"$ifNull": ["$unknown", 0]}, step.unknown]},
        }
        if step.last_event_at:
            late = {"$divide": [{"$subtract": ["$$NOW", step.last_event_at]}, 1000]}
            changes |= {"lastEventAt": step.last_event_at, "lag": late}
        self._write(changes)

    def renew(self, trouble: str | None) -> None:
        """Renew the lease of a watcher that waits for something, and say for what."""
        self._write({"trouble": trouble})

    def mark_lost(self, why: str) -> None:
        """Forget the token, because it leads nowhere any more; a sweep has to follow."""
        lost = {"at": "$$NOW", "why": {"$literal": why}}
        self._write({"token": None, "mustSweep": True, "lost": lost})

    def mark_swept(self) -> None:
        """Note that the sweep after a lost position is under way."""
        self._write({"mustSweep": False})

    def release(self) -> None:
        """Give the lease back, if it is still this watcher's; takes a few seconds at most."""
        mine = {"_id": _ID, "fence": self._fence, "holder": self._holder}
        with mongo_errors(), pymongo.timeout(_RELEASED):
            self._collection.update_one(mine, {"$unset": {"holder": "", "until": ""}})

    def _write(self, changes: RawDocument) -> None:
        mine = {"_id": _ID, "fence": self._fence, "holder": self._holder}
        with mongo_errors():
            written = self._collection.update_one(mine, [{"$set": changes | self._renewed_lease()}])
        if written.matched_count == 0:
            raise WatchLeaseLostError("another watcher has taken over")

    def _renewed_lease(self) -> RawDocument:
        return {"until": {"$add": ["$$NOW", round(self.lease * 1000)]}}

    def _ensure(self) -> None:
        if self._collection.find_one({"_id": _ID}, {"_id": 1}) is None:
            try:
                self._collection.insert_one({"_id": _ID})
            except DuplicateKeyError:
                return  # another watcher was faster


def _parse(raw: RawDocument) -> Checkpoint:
    token = raw.get("token")
    return Checkpoint(
        fence=cast("int", raw.get("fence", 0)),
        holder=cast("str | None", raw.get("holder")),
        until=cast("datetime | None", raw.get("until")),
        token=token if isinstance(token, dict) else None,
        must_sweep=raw.get("mustSweep") is True,
        saved_at=cast("datetime | None", raw.get("savedAt")),
        last_event_at=cast("datetime | None", raw.get("lastEventAt")),
        lag=cast("float", raw.get("lag", 0.0)),
        enqueued=cast("int", raw.get("enqueued", 0)),
        unknown=cast("int", raw.get("unknown", 0)),
        trouble=cast("str | None", raw.get("trouble")),
    )
