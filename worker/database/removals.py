"""Save the pending removals of records after their documents were deleted.

A deleted document cannot hold the state of a failed removal. Failed removals are therefore saved
in a separate collection, and the sweep enqueues them until they succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.core.clock import now
from worker.core.errors import MediaError
from worker.database.mongo import RawDocument, mongo_errors

COLLECTION = "atproto_removals"
INDEXES = (IndexModel([("retryAt", ASCENDING)], name="due"),)


@dataclass(frozen=True, slots=True)
class Removal:
    """A record to delete, identified by its rkey, or by the document id in its `ref`."""

    type: str
    user: str
    id: str | int | None = None
    rkey: str | None = None

    @property
    def key(self) -> str:
        return f"{self.type}:{self.user}:{self.rkey or ''}:{self.id or ''}"


class Removals:
    """Saves removals that have failed, or that a producer has noted."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._collection = database[COLLECTION]

    def save(self, note: RawDocument) -> None:
        """Save the note of a deleted document, created by `tasks.removal_note`."""
        with mongo_errors():
            self._collection.replace_one({"_id": note["_id"]}, note, upsert=True)

    def attempts(self, removal: Removal) -> int:
        with mongo_errors():
            saved = self._collection.find_one({"_id": removal.key}, {"attempts": 1})
        return cast("int", saved["attempts"]) if saved else 0

    def postpone(
        self, removal: Removal, error: MediaError, attempts: int, retry_at: datetime | None
    ) -> None:
        """Save a failed removal and its `attempts`; due at `retry_at` (None: never)."""
        failure = {"step": error.step, "code": error.code, "message": error.message}
        state = {"attempts": attempts, "retryAt": retry_at, "error": failure}
        changes = {**asdict(removal), **state}
        with mongo_errors():
            self._collection.update_one({"_id": removal.key}, {"$set": changes}, upsert=True)

    def delete(self, removal: Removal) -> None:
        with mongo_errors():
            self._collection.delete_one({"_id": removal.key})

    def due(self, limit: int, postponed_to: datetime) -> Iterator[Removal]:
        """Yield due removals, at most `limit`; set each to be due at `postponed_to`."""
        for _ in range(limit):
            with mongo_errors():
                raw: dict[str, Any] | None = self._collection.find_one_and_update(
                    {"retryAt": {"$lte": now()}}, {"$set": {"retryAt": postponed_to}}
                )
            if raw is None:
                return
            yield Removal(raw["type"], raw["user"], raw["id"], raw["rkey"])
