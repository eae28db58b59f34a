"""List failed items in batches, which bounds the memory, and search for items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import cast

from pymongo.database import Database

from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.core.ids import InvalidIdError, as_document_id, parse_id
from worker.core.records import RecordKey, is_record_uri
from worker.database.accounts import Accounts
from worker.database.backlog import FAILED, TROUBLE, with_code
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, mongo_errors, stream
from worker.database.state import parse_state
from worker.database.store import DocumentStore
from worker.media import MediaType

_OF_STATE = ("status", "error", "failingSince", "attempts")
_FIELDS = dict.fromkeys(("user", *(f"atproto.{name}" for name in _OF_STATE)), 1)
_CHUNK = 500  # documents; by default, MongoDB sends batches of 16 MB
_MAX_RESULTS = 20
_NAMES = ("code", "slug")


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


class Search:
    """Finds items of the media types `kinds` by id, rkey or URI, using indexes only.

    The handle in a URI is that of an account in MongoDB, or a name on the platform. Searches by
    `code` or `slug` only if the platform has created an index on that field. Raises
    StoreUnavailableError.
    """

    def __init__(
        self, store: DocumentStore, accounts: Accounts, kinds: Sequence[MediaType]
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._kinds = kinds

    def find(self, text: str) -> list[ItemRef]:
        """Return up to 20 distinct items with `text` as their id, rkey, name or URI."""
        found = self._by_uri(text) if text.startswith("at://") else self._by_name(text)
        return list(dict.fromkeys(found))[:_MAX_RESULTS]

    def _by_uri(self, uri: str) -> Iterator[ItemRef]:
        if not is_record_uri(uri):
            return
        key = RecordKey.parse(uri)
        kind = next((each for each in self._kinds if each.nsid == key.collection), None)
        did = self._did_of(key.repo)
        document = self._store.find_by_record(kind, did, key.rkey) if kind and did else None
        if document:
            yield document.ref

    def _did_of(self, repo: str) -> str | None:
        """Return the DID in an at:// URI, or that of the handle in it; None if unknown."""
        if repo.startswith("did:"):
            return repo
        account = self._accounts.named(repo.lower())
        return account.did if account else None

    def _by_name(self, text: str) -> Iterator[ItemRef]:
        try:
            ids = parse_id(text)
        except InvalidIdError:
            return  # not a valid text, or too long for a name
        for kind in self._kinds:
            if document := self._store.find(kind, ids):
                yield document.ref
        for kind in self._kinds:
            for name in ("atproto.rkey", *self._find_indexed(kind)):
                yield from self._find_matches(kind, {name: text})

    def _find_indexed(self, kind: MediaType) -> list[str]:
        """Return the fields in `_NAMES` on which the collection has an index."""
        with mongo_errors():
            indexes = self._store.collection(kind).list_indexes()
            usable = [index for index in indexes if "partialFilterExpression" not in index]
        first = {next(iter(cast("Mapping[str, object]", index["key"]))) for index in usable}
        return [name for name in _NAMES if name in first]

    def _find_matches(self, kind: MediaType, match: RawDocument) -> Iterator[ItemRef]:
        with mongo_errors():
            raws = list(self._store.collection(kind).find(match, {"_id": 1}).limit(_MAX_RESULTS))
        for raw in raws:
            document_id = as_document_id(raw["_id"])
            if document_id is not None:
                yield ItemRef(kind.name, document_id)
