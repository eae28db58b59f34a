"""Finding items by what a person has at hand: an id, an rkey, an at:// URI, a code or a slug."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from worker.core.documents import DocumentId, ItemRef
from worker.core.ids import InvalidIdError, known_id, parse_id
from worker.core.records import RecordKey
from worker.database.mongo import RawDocument, translated
from worker.database.store import Store
from worker.media import MediaType

_MOST = 20
_NAMES = ("code", "slug")
_URI_PARTS = 3


class Search:
    """Looks for items of all these types, by indexes alone.

    By code or slug only where the platform has an index on it: none of ours is, and a collection
    is not gone through. All methods raise StoreUnavailableError.
    """

    def __init__(self, store: Store, kinds: Sequence[MediaType]) -> None:
        self._store = store
        self._kinds = kinds

    def find(self, text: str) -> list[ItemRef]:
        """Return the items that a text may mean, each once, so many at most."""
        found = self._by_uri(text) if text.startswith("at://") else self._by_name(text)
        return list(dict.fromkeys(found))[:_MOST]

    def _by_uri(self, uri: str) -> Iterator[ItemRef]:
        if uri.count("/") != _URI_PARTS + 1:
            return
        key = RecordKey.parse(uri)
        for kind in self._kinds:
            if kind.nsid == key.collection:
                document = self._store.holder_of(kind, key.repo, key.rkey)
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
            for name in ("atproto.rkey", *self._indexed(kind)):
                yield from self._with(kind, {name: text})

    def _indexed(self, kind: MediaType) -> list[str]:
        """Return by which of the names that people give an item there is an index."""
        with translated():
            indexes = self._store.collection(kind).list_indexes()
            usable = [index for index in indexes if "partialFilterExpression" not in index]
        first = {next(iter(cast("Mapping[str, object]", index["key"]))) for index in usable}
        return [name for name in _NAMES if name in first]

    def _with(self, kind: MediaType, match: RawDocument) -> Iterator[ItemRef]:
        with translated():
            raws = list(self._store.collection(kind).find(match, {"_id": 1}).limit(_MOST))
        for raw in raws:
            if known_id(raw["_id"]) is not None:
                yield ItemRef(kind.name, cast("DocumentId", known_id(raw["_id"])))
