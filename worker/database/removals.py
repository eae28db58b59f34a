"""Removing records whose documents are gone from MongoDB altogether.

There is no document left to keep a failure on, so a removal that cannot be done now is kept in
a collection of its own until the sweep has seen it through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from bson import ObjectId
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, Failure, Status
from worker.core.errors import MediaError, PermanentError, WaitError
from worker.core.record_keys import tid_for
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument, translated
from worker.media import MediaType
from worker.pds.repo import Repo
from worker.sync.retry import retry_time

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

    def keep(self, note: RawDocument) -> None:
        """Keep what a producer noted (`tasks.removal_note`) of a document that is gone."""
        with translated():
            self._collection.replace_one({"_id": note["_id"]}, note, upsert=True)

    def attempts(self, removal: Removal) -> int:
        """Return how often a removal has failed."""
        with translated():
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
        with translated():
            self._collection.update_one({"_id": removal.key}, {"$set": changes}, upsert=True)

    def done(self, removal: Removal) -> None:
        """Forget a removal that was seen through."""
        with translated():
            self._collection.delete_one({"_id": removal.key})

    def due(self, limit: int, postponed_to: datetime) -> Iterator[Removal]:
        """Go through removals whose time has come, moving each on so that it comes once."""
        for _ in range(limit):
            with translated():
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


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a removal: done, put off until `retry_at`, given up, or nothing to do.

    `found` is False when not even the user is known whose record it would have been.
    """

    detail: str
    status: Status | None = None
    retry_at: datetime | None = None
    error: Failure | None = None
    did: str | None = None
    attempts: int = 0
    found: bool = True


class Remover:
    """Removes records of documents that are no longer there."""

    def __init__(
        self,
        accounts: Accounts,
        removals: Removals,
        open_repo: Callable[[Account], Repo],
        retry: RetrySettings,
    ) -> None:
        self._accounts = accounts
        self._removals = removals
        self._open_repo = open_repo
        self._retry = retry

    def remove_all_of(self, kind: MediaType, ids: Sequence[DocumentId], user: str | None) -> Report:
        """Remove every record of a user that names one of these ids."""
        if user is None:
            message = "there is no such document; give its user to remove a record left behind"
            return Report(message, found=False)
        removal = _removal_of(kind, ids, user)
        return self._see_through(removal, kind, lambda repo: _records_of(repo, kind, ids))

    def withdraw(self, kind: MediaType, ids: Sequence[DocumentId], user: str) -> None:
        """Forget a removal, should one be kept, because the document is there after all."""
        self._removals.done(_removal_of(kind, ids, user))

    def remove_one(self, kind: MediaType, user: str, rkey: str) -> Report:
        """Remove one record of a user by its rkey."""
        removal = Removal(kind.name, user, rkey=rkey)
        return self._see_through(removal, kind, lambda repo: [repo.key(kind.nsid, rkey)])

    def _see_through(
        self,
        removal: Removal,
        kind: MediaType,
        find: Callable[[Repo], list[RecordKey]],
    ) -> Report:
        account = self._accounts.find(removal.user)
        if account is None:
            self._removals.done(removal)
            return Report(f"{removal.user} has no account: there is no {kind.name} to remove")
        repo = self._open_repo(account)
        try:
            keys = find(repo)
            for key in keys:
                repo.delete(key)
        except MediaError as error:
            return self._postponed(removal, error, account.did)
        self._removals.done(removal)
        removed = ", ".join(key.uri for key in keys) or "nothing"
        return Report(f"no document; removed {removed}", Status.REMOVED)

    def _postponed(self, removal: Removal, error: MediaError, did: str) -> Report:
        attempts = self._removals.attempts(removal) + 1
        retry_at = self._retry_at(error, attempts)
        self._removals.postpone(removal, error, attempts, retry_at)
        status = Status.PENDING if retry_at else Status.FAILED
        detail = f"could not be removed: {error.message}"
        return Report(detail, status, retry_at, Failure.of(error, now()), did, attempts)

    def _retry_at(self, error: MediaError, attempts: int) -> datetime | None:
        if isinstance(error, WaitError):
            return error.until
        if isinstance(error, PermanentError):
            return None
        return retry_time(attempts, self._retry, now())


def _removal_of(kind: MediaType, ids: Sequence[DocumentId], user: str) -> Removal:
    first = ids[0]
    return Removal(kind.name, user, id=first if isinstance(first, int) else str(first))


def _records_of(repo: Repo, kind: MediaType, ids: Sequence[DocumentId]) -> list[RecordKey]:
    """Return the keys of the records that name one of the ids in `ref`."""
    refs = {str(candidate) for candidate in ids}
    if isinstance(ids[0], ObjectId):
        # Our own records are where their ids lead to; only those of others need a search.
        derived = repo.key(kind.nsid, tid_for(ids[0], now()))
        record = repo.get(derived)
        if record and record.value.get("ref") in refs:
            return [derived]
    return [
        repo.key(kind.nsid, record.rkey)
        for record in repo.records(kind.nsid)
        if record.value.get("ref") in refs
    ]
