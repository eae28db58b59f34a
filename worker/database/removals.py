"""Removing records whose documents are gone from MongoDB altogether.

There is no document left to keep a failure on, so a removal that cannot be done now is kept in
a collection of its own until the sweep has seen it through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.core.clock import now
from worker.core.errors import MediaError
from worker.database.mongo import RawDocument, mongo_errors

COLLECTION = "atproto_removals"
INDEXES = (IndexModel([("retryAt", ASCENDING)], name="due"),)


@dataclass(frozen=True, slots=True)
class Removal:
    """A record to remove from a user's repo: by the id it names in `ref`, or by its rkey."""

    type: str
    user: str
    id: str | int | None = None
    rkey: str | None = None

    @property
    def key(self) -> str:
        """Return the name under which this removal is kept."""
        return f"{self.type}:{self.user}:{self.rkey or ''}:{self.id or ''}"


class Removals:
    """Removals that could not be done at once."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._collection = database[COLLECTION]

    def save(self, note: RawDocument) -> None:
        """Keep what a producer noted (`tasks.removal_note`) of a document that is gone."""
        with mongo_errors():
            self._collection.replace_one({"_id": note["_id"]}, note, upsert=True)

    def attempts(self, removal: Removal) -> int:
        """Return how often a removal has failed."""
        with mongo_errors():
            kept = self._collection.find_one({"_id": removal.key}, {"attempts": 1})
        return cast("int", kept["attempts"]) if kept else 0

    def postpone(
        self, removal: Removal, error: MediaError, attempts: int, retry_at: datetime | None
    ) -> None:
        """Keep a removal that has failed so often, until `retry_at`; for ever when that is None."""
        kept = {"type": removal.type, "user": removal.user}
        kept |= {"id": removal.id, "rkey": removal.rkey}  # type: ignore[dict-item]
        told = {"step": error.step, "code": error.code, "message": error.message}
        changes = {**kept, "attempts": attempts, "retryAt": retry_at, "error": told}
        with mongo_errors():
            self._collection.update_one({"_id": removal.key}, {"$set": changes}, upsert=True)

    def delete(self, removal: Removal) -> None:
        """Forget a removal that was seen through."""
        with mongo_errors():
            self._collection.delete_one({"_id": removal.key})

    def due(self, limit: int, postponed_to: datetime) -> Iterator[Removal]:
        """Go through removals whose time has come, moving each on so that it comes once."""
        for _ in range(limit):
            with mongo_errors():
                raw = self._collection.find_one_and_update(
                    {"retryAt": {"$lte": now()}}, {"$set": {"retryAt": postponed_to}}
                )
            if raw is None:
                return
            yield Removal(
                type=cast("str", raw["type"]),
                user=cast("str", raw["user"]),
                id=cast("str | int | None", raw["id"]),
                rkey=cast("str | None", raw["rkey"]),
            )
