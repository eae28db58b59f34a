"""Save the removals of records whose documents are gone from MongoDB.

There is no document to save a failure on, so a removal that cannot be done now is saved in a
collection of its own, and the sweep enqueues it until it is done.
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
    """A record to delete, named by the id in its `ref` or by its rkey."""

    type: str
    user: str
    id: str | int | None = None
    rkey: str | None = None

    @property
    def key(self) -> str:
        return f"{self.type}:{self.user}:{self.rkey or ''}:{self.id or ''}"


class Removals:
    """The removals that have failed or were noted by a producer."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._collection = database[COLLECTION]

    def save(self, note: RawDocument) -> None:
        """Save the note of a producer (`tasks.removal_note`) about a deleted document."""
        with mongo_errors():
            self._collection.replace_one({"_id": note["_id"]}, note, upsert=True)

    def attempts(self, removal: Removal) -> int:
        with mongo_errors():
            saved = self._collection.find_one({"_id": removal.key}, {"attempts": 1})
        return cast("int", saved["attempts"]) if saved else 0

    def postpone(
        self, removal: Removal, error: MediaError, attempts: int, retry_at: datetime | None
    ) -> None:
        """Save a removal that has failed so often; it is due at `retry_at` (None: never)."""
        failure = {"step": error.step, "code": error.code, "message": error.message}
        state = {"attempts": attempts, "retryAt": retry_at, "error": failure}
        changes = {**asdict(removal), **state}
        with mongo_errors():
            self._collection.update_one({"_id": removal.key}, {"$set": changes}, upsert=True)

    def delete(self, removal: Removal) -> None:
        with mongo_errors():
            self._collection.delete_one({"_id": removal.key})

    def due(self, limit: int, postponed_to: datetime) -> Iterator[Removal]:
        """Yield removals that are due, and postpone each so that it is yielded once."""
        for _ in range(limit):
            with mongo_errors():
                raw: dict[str, Any] | None = self._collection.find_one_and_update(
                    {"retryAt": {"$lte": now()}}, {"$set": {"retryAt": postponed_to}}
                )
            if raw is None:
                return
            yield Removal(raw["type"], raw["user"], raw["id"], raw["rkey"])
