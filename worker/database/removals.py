"""Save the pending removals of records after their documents were deleted.

A deleted document cannot hold the state of its removal. Removals are therefore saved in a separate
collection until the record is gone, and the sweep enqueues them. Such a note is deleted when the
record is gone, when the document exists again, or by an operator (`media-atproto removals --drop`,
`media-atproto forget`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.database import Database

from worker.core.clock import after, now
from worker.core.errors import MediaError
from worker.core.fields import is_text
from worker.core.ids import candidate_ids
from worker.core.record_keys import is_rkey
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.state import mapping
from worker.media import MEDIA_TYPES

COLLECTION = "atproto_removals"
INDEXES = (IndexModel([("retryAt", ASCENDING)], name="due"),)
_RUN = 300  # seconds until a removal whose run died is due again
_DAY = 86_400

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removal:
    """A record to delete, identified by the document id in its `ref`, or else by its rkey."""

    type: str
    user: str
    id: str | int | None = None
    rkey: str | None = None

    @property
    def key(self) -> str:
        if self.id is None:
            return f"{self.type}:{self.user}:{self.rkey}:"
        return f"{self.type}:{self.user}::{self.id}"


@dataclass(frozen=True, slots=True)
class Progress:
    """The saved state of a removal.

    `rkey` is the key of the record if it is known, `cursor` the key at which a search of the
    collection continues, `pages` the number of pages that it has read, and `since` the time of the
    first attempt.
    """

    attempts: int
    rkey: str | None
    cursor: str | None
    pages: int
    since: datetime


@dataclass(frozen=True, slots=True)
class SavedRemoval:
    """A removal as an operator sees it; `name` is its `_id`.

    It has failed, and is not retried by itself, if `retry_at` is None.
    """

    name: str
    attempts: int
    retry_at: datetime | None
    code: str
    message: str

    @property
    def has_failed(self) -> bool:
        return self.retry_at is None


class Removals:
    """Saves removals that are in progress, have failed, or were noted by a producer."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._collection = database[COLLECTION]

    def save(self, note: RawDocument) -> None:
        """Save the note of a deleted document, created by `tasks.removal_note`."""
        with mongo_errors():
            self._collection.replace_one({"_id": note["_id"]}, note, upsert=True)

    def begin(self, removal: Removal) -> Progress:
        """Save a removal before its first call, so that it is due again if its run dies.

        A failed one begins anew: its document may have been inserted and deleted again since.
        """
        started = now()
        known = {"rkey": removal.rkey} if removal.rkey else {}  # a note may lack it
        named = {name: value for name, value in asdict(removal).items() if name not in known}
        update = {
            "$setOnInsert": {**named, "attempts": 0},
            "$set": {"retryAt": after(_RUN), **known},
            "$min": {"since": started},
        }
        self.withdraw_failed(removal)
        with mongo_errors():
            saved = self._collection.find_one_and_update(
                {"_id": removal.key}, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        return _parse_progress(saved or {}, started)

    def save_search(self, removal: Removal, cursor: str, pages: int) -> None:
        """Save the key at which the search for a record continues, and the pages read so far."""
        position = {"cursor": cursor, "pages": pages}
        with mongo_errors():
            self._collection.update_one({"_id": removal.key}, {"$set": position})

    def postpone(
        self, removal: Removal, error: MediaError, attempts: int, retry_at: datetime | None
    ) -> None:
        """Save a failed removal and its `attempts`; due at `retry_at` (None: never)."""
        failure = {"step": error.step, "code": error.code, "message": error.message}
        state = {"attempts": attempts, "retryAt": retry_at, "error": failure}
        update = {"$set": state, "$setOnInsert": asdict(removal)}
        with mongo_errors():
            self._collection.update_one({"_id": removal.key}, update, upsert=True)

    def delete(self, removal: Removal) -> None:
        with mongo_errors():
            self._collection.delete_one({"_id": removal.key})

    def sample_failed(self, limit: int) -> list[Removal]:
        """Return up to `limit` failed removals, chosen at random."""
        stages: list[RawDocument] = [{"$match": {"retryAt": None}}, {"$sample": {"size": limit}}]
        with mongo_errors():
            found = map(_parse_removal, self._collection.aggregate(stages))
            return [removal for removal in found if removal]

    def withdraw_failed(self, removal: Removal) -> None:
        """Delete a removal that has failed, unless a run has begun it again."""
        with mongo_errors():
            self._collection.delete_one({"_id": removal.key, "retryAt": None})

    def all(self) -> Iterator[SavedRemoval]:
        """Yield all saved removals, failed ones first."""
        with mongo_errors():
            for raw in self._collection.find({}).sort("retryAt", ASCENDING):
                yield _parse_saved(raw)

    def exists(self, name: str) -> bool:
        """Return whether a removal with this name is saved."""
        with mongo_errors():
            return self._collection.find_one({"_id": name}, {"_id": 1}) is not None

    def retry(self, name: str) -> bool:
        """Make a removal due now, with all attempts; return whether it exists."""
        update = {
            "$set": {"attempts": 0, "retryAt": now()},
            "$unset": {"error": "", "cursor": "", "pages": ""},
        }
        with mongo_errors():
            return self._collection.update_one({"_id": name}, update).matched_count == 1

    def drop(self, name: str) -> bool:
        """Delete a removal, whose record stays; return whether it existed."""
        with mongo_errors():
            return self._collection.delete_one({"_id": name}).deleted_count == 1

    def due(self) -> Iterator[Removal]:
        """Yield due removals, the longest due first.

        A note that is not valid is logged, and read again after a day.
        """
        due = {"retryAt": {"$lte": now()}}
        with mongo_errors():
            for raw in self._collection.find(due).sort("retryAt", ASCENDING):
                if removal := _parse_removal(raw):
                    yield removal
                else:
                    self._set_aside(raw)

    def mark(self, removals: Sequence[Removal], again: datetime) -> None:
        """Set `retryAt` of enqueued removals to `again`, unless a run has begun them since."""
        match = {"_id": {"$in": [each.key for each in removals]}, "retryAt": {"$lte": now()}}
        with mongo_errors():
            self._collection.update_many(match, {"$set": {"retryAt": again}})

    def _set_aside(self, raw: RawDocument) -> None:
        log.warning("the removal note %.200a is not valid: see docs/producers.md", raw["_id"])
        aside = {"retryAt": after(_DAY), "error": {"code": "invalid_note"}}
        with mongo_errors():
            self._collection.update_one({"_id": {"$eq": raw["_id"]}}, {"$set": aside})


def retry_interval(progress: Progress) -> timedelta:
    """Return an interval that doubles with each retry, from a minute to a day."""
    return min(max(now() - progress.since, timedelta(minutes=1)), timedelta(seconds=_DAY))


def _parse_removal(raw: Mapping[str, object]) -> Removal | None:
    """Return the removal of a note, or None if the note is not valid."""
    kind, user, item, rkey = (raw.get(name) for name in ("type", "user", "id", "rkey"))
    if not is_text(kind) or kind not in MEDIA_TYPES or not is_text(user):
        return None
    rkey = rkey if is_text(rkey) and is_rkey(rkey) else None
    if candidate_ids(item) and isinstance(item, str | int):
        removal = Removal(kind, user, item, rkey)
    else:
        removal = Removal(kind, user, None, rkey)
    return removal if removal.key == raw["_id"] else None


def _parse_saved(raw: Mapping[str, object]) -> SavedRemoval:
    retry_at, attempts = raw.get("retryAt"), raw.get("attempts")
    error = mapping(raw.get("error"))
    return SavedRemoval(
        name=str(raw["_id"]),
        attempts=attempts if isinstance(attempts, int) else 0,
        retry_at=retry_at if isinstance(retry_at, datetime) else None,
        code=str(error.get("code", "")),
        message=str(error.get("message", "")),
    )


def _parse_progress(raw: Mapping[str, object], started: datetime) -> Progress:
    fields = ("attempts", "rkey", "cursor", "pages", "since")
    attempts, rkey, cursor, pages, since = map(raw.get, fields)
    return Progress(
        attempts if isinstance(attempts, int) else 0,
        rkey if is_text(rkey) and is_rkey(rkey) else None,
        cursor if is_text(cursor) else None,
        pages if isinstance(pages, int) else 0,
        since if isinstance(since, datetime) else started,
    )
