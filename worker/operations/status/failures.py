"""List and search items that failed, as a stream: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from pymongo.database import Database

from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.core.ids import InvalidIdError, as_document_id, parse_id
from worker.core.records import RecordKey
from worker.database.backlog import FAILED, TROUBLE, with_code
from worker.database.indexes import require_index
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.state import parse_state
from worker.database.store import DocumentStore
from worker.media import MediaType

_FIELDS = dict.fromkeys(("user", "atproto.status", "atproto.error", "atproto.attempts"), 1)
_CHUNK = 500  # left to itself, MongoDB sends 16 MB
_MAX_RESULTS = 20
_NAMES = ("code", "slug")
_URI_PARTS = 3


@dataclass(frozen=True, slots=True)
class PageCursor:
    """A place in the list of one type and code: after the item of this status and id."""

    status: Status
    id: DocumentId


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that is failed or partial.

    `owner` is its subject, `handle` the owner's name on the platform, if there is one; `error`
    is None where an older program left nothing that can be read.
    """

    ref: ItemRef
    owner: str
    handle: str | None
    status: Status
    attempts: int
    error: Failure | None


class Failures:
    """The failed items of one database.

    Costs one document read for each item that is told of, 0.06 ms; raises as Overview does.
    """

    def __init__(self, database: Database[RawDocument], store: DocumentStore) -> None:
        self._handles = database["@handles"]
        self._store = store

    def of(
        self, kind: MediaType, code: str | None = None, limit: int | None = None
    ) -> Iterator[FailedItem]:
        """Go through the items of a type: failed ones, then partial ones, by code and by id.

        With a `code` only those that have it as their error's; NO_CODE for those with none.
        """
        if limit == 0:
            return  # to MongoDB, a limit of 0 is none
        match: RawDocument = {"atproto.status": {"$in": list(FAILED)}}
        match |= {} if code is None else with_code(code)
        with require_index():
            found = self._store.collection(kind).find(match, _FIELDS).hint(TROUBLE)
            found = found.batch_size(_CHUNK).limit(limit or 0)
            while chunk := list(islice(found, _CHUNK)):
                yield from self._read(kind, chunk)

    def page(
        self, kind: MediaType, code: str, after: PageCursor | None, length: int
    ) -> list[FailedItem]:
        """Return so many items of a type and code that follow a place: by status, then by id.

        Costs a look at the index keys before the place, and a document read for each item.
        """
        items: list[FailedItem] = []
        for status in FAILED[FAILED.index(after.status) if after else 0 :]:
            left = length - len(items)
            if left:
                last = after.id if after and after.status is status else None
                items += self._read(kind, self._chunk(kind, status, code, last, left))
        return items

    def _chunk(
        self, kind: MediaType, status: Status, code: str, last: DocumentId | None, limit: int
    ) -> Sequence[RawDocument]:
        match: RawDocument = {"atproto.status": status.value, **with_code(code)}
        if last is not None:
            # Not the operator of the same name outside of `$expr`: that finds ids of one type only.
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
            )

    def _handles_of(self, owners: set[str]) -> dict[str, str]:
        with mongo_errors():
            named = self._handles.find({"_id": {"$in": sorted(owners)}}, {"handle": 1})
            return {str(raw["_id"]): str(raw["handle"]) for raw in named if raw.get("handle")}


class Search:
    """Looks for items of all these types, by indexes alone.

    By code or slug only where the platform has an index on it: none of ours is, and a collection
    is not gone through. All methods raise StoreUnavailableError.
    """

    def __init__(self, store: DocumentStore, kinds: Sequence[MediaType]) -> None:
        self._store = store
        self._kinds = kinds

    def find(self, text: str) -> list[ItemRef]:
        """Return the items that a text may mean, each once, so many at most."""
        found = self._by_uri(text) if text.startswith("at://") else self._by_name(text)
        return list(dict.fromkeys(found))[:_MAX_RESULTS]

    def _by_uri(self, uri: str) -> Iterator[ItemRef]:
        if uri.count("/") != _URI_PARTS + 1:
            return
        key = RecordKey.parse(uri)
        for kind in self._kinds:
            if kind.nsid == key.collection:
                document = self._store.find_by_record(kind, key.repo, key.rkey)
                if document:
                    yield document.ref

    def _by_name(self, text: str) -> Iterator[ItemRef]:
        try:
            ids = parse_id(text)
        except InvalidIdError:
            return  # no text that can be sent, or far too long for any name
        for kind in self._kinds:
            document = self._store.find(kind, ids)
            if document:
                yield document.ref
        for kind in self._kinds:
            for name in ("atproto.rkey", *self._find_indexed(kind)):
                yield from self._with(kind, {name: text})

    def _find_indexed(self, kind: MediaType) -> list[str]:
        """Return by which of the names that people give an item there is an index."""
        with mongo_errors():
            indexes = self._store.collection(kind).list_indexes()
            usable = [index for index in indexes if "partialFilterExpression" not in index]
        first = {next(iter(cast("Mapping[str, object]", index["key"]))) for index in usable}
        return [name for name in _NAMES if name in first]

    def _with(self, kind: MediaType, match: RawDocument) -> Iterator[ItemRef]:
        with mongo_errors():
            raws = list(self._store.collection(kind).find(match, {"_id": 1}).limit(_MAX_RESULTS))
        for raw in raws:
            if as_document_id(raw["_id"]) is not None:
                yield ItemRef(kind.name, cast("DocumentId", as_document_id(raw["_id"])))
