"""List failed items in batches, which bounds the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import cast

from pymongo.database import Database

from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.database.backlog import FAILED, TROUBLE, with_code
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, mongo_errors, stream
from worker.database.state import parse_state
from worker.database.store import DocumentStore
from worker.media import MediaType

_OF_STATE = ("status", "error", "failingSince", "attempts")
_FIELDS = dict.fromkeys(("user", *(f"atproto.{name}" for name in _OF_STATE)), 1)
_CHUNK = 500  # documents; by default, MongoDB sends batches of 16 MB


@dataclass(frozen=True, slots=True)
class PageCursor:
    """The status and id of the last item on a page; the next page starts after it."""

    status: Status
    id: DocumentId


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A failed or partial item.

    `owner` is the owner's subject, `handle` the owner's name on the platform. `error` is the last
    error, and `since` the time of the first one since the item last had none; both are None if an
    older program saved no readable error.
    """

    ref: ItemRef
    owner: str
    handle: str | None
    status: Status
    attempts: int
    error: Failure | None
    since: datetime | None


class Failures:
    """Lists the failed and partial items of one database.

    Reads one document per item, which takes 0.06 ms. Methods raise StoreUnavailableError, and
    PermanentError for a missing index.
    """

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._handles = database["@handles"]
        self._store = store

    def of(
        self, kind: MediaType, code: str | None = None, limit: int | None = None
    ) -> Iterator[FailedItem]:
        """Yield the failed, then the partial items of a media type, by code and id.

        `code` selects one error code; NO_CODE selects items without a code.
        """
        if limit == 0:
            return  # for MongoDB, a limit of 0 means no limit
        match: RawDocument = {"atproto.status": {"$in": list(FAILED)}}
        match |= {} if code is None else with_code(code)
        with require_index():
            found = self._store.collection(kind).find(match, _FIELDS).hint(TROUBLE)
            rows = stream(partial(found.batch_size(_CHUNK).limit, limit or 0))
            while chunk := list(islice(rows, _CHUNK)):
                yield from self._read(kind, chunk)

    def page(
        self, kind: MediaType, code: str, after: PageCursor | None, length: int
    ) -> list[FailedItem]:
        """Return up to `length` items with the error code `code`, by status and id.

        The page starts after `after`, or at the first item for None. Scans the index keys of the
        previous pages, and reads one document per item.
        """
        items: list[FailedItem] = []
        for status in FAILED[FAILED.index(after.status) if after else 0 :]:
            if remaining := length - len(items):
                last = after.id if after and after.status is status else None
                items += self._read(kind, self._chunk(kind, status, code, last, remaining))
        return items

    def _chunk(
        self, kind: MediaType, status: Status, code: str, last: DocumentId | None, limit: int
    ) -> Sequence[RawDocument]:
        match: RawDocument = {"atproto.status": status.value, **with_code(code)}
        if last is not None:
            # Without `$expr`, `$gt` matches only ids of the same type.
            match["$expr"] = {"$gt": ["$_id", {"$literal": last}]}
        with require_index():
            found = self._store.collection(kind).find(match, _FIELDS).hint(TROUBLE)
            return list(found.sort("_id").limit(limit))

    def _read(self, kind: MediaType, chunk: Iterable[RawDocument]) -> Iterator[FailedItem]:
        owners = [(raw, str(raw.get("user") or self._store.guest_subject)) for raw in chunk]
        handles = self._handles_of({owner for _, owner in owners})
        for raw, owner in owners:
            state = parse_state(raw.get("atproto"))
            yield FailedItem(
                ref=ItemRef(kind.name, cast("DocumentId", raw["_id"])),
                owner=owner,
                handle=handles.get(owner),
                status=state.status or Status.FAILED,
                attempts=state.attempts,
                error=state.error,
                since=state.failing_since,
            )

    def _handles_of(self, owners: set[str]) -> dict[str, str]:
        with mongo_errors():
            named = self._handles.find({"_id": {"$in": sorted(owners)}}, {"handle": 1})
            return {str(raw["_id"]): str(raw["handle"]) for raw in named if raw.get("handle")}
