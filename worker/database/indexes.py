"""All indexes of the database: what there should be, and making what is not there yet.

Each is defined beside the queries that need it; this is where they come together, for a worker
that starts and for `media-atproto init`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import pymongo
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from worker.core.errors import PermanentError
from worker.database import accounts, backlog, removals
from worker.database import thumbnail_cache as thumbnails
from worker.database.mongo import RawDocument, StoreUnavailableError, mongo_errors
from worker.media import MEDIA_TYPES

_BUILD_SECONDS = 6 * 3600  # a build goes through its collection, however large that is
_IN_THE_WAY = {85, 86}  # IndexOptionsConflict, IndexKeySpecsConflict
_DUPLICATE_KEY = 11000
_FLAGS = ("unique", "sparse", "hidden")
_VALUES = ("partialFilterExpression", "expireAfterSeconds")


class IndexRefusedError(PermanentError):
    """An index cannot be made: something of its name, or in the documents, is in its way."""

    step, code = "store", "index_refused"


class IndexMissingError(PermanentError):
    """An index is not there, and without it a query would go through a whole collection."""

    step, code = "store", "index_missing"


@contextmanager
def require_index() -> Iterator[None]:
    """Turn the driver's errors into ours; IndexMissingError for a hint that leads nowhere."""
    try:
        with mongo_errors():
            yield
    except StoreUnavailableError as error:
        cause = error.__cause__
        if isinstance(cause, OperationFailure) and "hint provided does not" in str(cause):
            message = "an index is missing in MongoDB: run media-atproto init"
            raise IndexMissingError(message) from error
        raise


class IndexStatus(StrEnum):
    """How an index that there should be stands now."""

    CREATED = "created"
    EXISTS = "already there"
    MISSING = "missing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Definition:
    """An index that there should be, and the collection it is of."""

    collection: str
    model: IndexModel

    @property
    def name(self) -> str:
        """Return the index's name."""
        return str(self.model.document["name"])


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What became of a definition; `detail` says where another index serves, or what to do."""

    definition: Definition
    status: IndexStatus
    detail: str = ""


def definitions() -> list[Definition]:
    """Return every index that the store, the sweep, the caches and the commands need."""
    media = {kind.collection: backlog.INDEXES for kind in MEDIA_TYPES.values()}
    rest = {
        **accounts.INDEXES,
        removals.COLLECTION: removals.INDEXES,
        thumbnails.COLLECTION: thumbnails.INDEXES,
    }
    every: Mapping[str, Sequence[IndexModel]] = {**media, **rest}
    return [Definition(name, model) for name, models in every.items() for model in models]


def create(database: Database[RawDocument]) -> Iterator[IndexResult]:
    """Create the missing indexes and report each; safe to repeat and to interrupt.

    Sends one `listIndexes` and, if any is missing, one `createIndexes` per collection. Documents
    can be read and written meanwhile. An index that is refused does not keep the others from
    being created. Raises StoreUnavailableError.
    """
    for name, wanted in _by_collection().items():
        collection = database[name]
        existing = _existing(collection)
        found = [_look(definition, existing) for definition in wanted]
        missing = [each for each, made in zip(wanted, found, strict=True) if not made]
        built = _build(collection, missing, existing)
        yield from (made or next(built) for made in found)


def inspect(database: Database[RawDocument]) -> Iterator[IndexResult]:
    """Report how each index stands, without changing anything.

    Reads no documents: two that claim one record are only found when the index is created.
    Raises StoreUnavailableError.
    """
    for name, wanted in _by_collection().items():
        existing = _existing(database[name])
        for definition in wanted:
            yield _look(definition, existing) or IndexResult(definition, IndexStatus.MISSING)


def ensure(database: Database[RawDocument]) -> None:
    """Make the indexes that are not there yet.

    Raises IndexRefusedError naming those that cannot be, once all others are made, and
    StoreUnavailableError.
    """
    refused = [made.detail for made in create(database) if made.status is IndexStatus.REFUSED]
    if refused:
        raise IndexRefusedError("; ".join(refused))


def _by_collection() -> dict[str, list[Definition]]:
    wanted: dict[str, list[Definition]] = {}
    for definition in definitions():
        wanted.setdefault(definition.collection, []).append(definition)
    return wanted


def _existing(collection: Collection[RawDocument]) -> list[Mapping[str, object]]:
    with mongo_errors():
        return list(collection.list_indexes())


def _look(definition: Definition, existing: Sequence[Mapping[str, object]]) -> IndexResult | None:
    """Return how an index stands among those of its collection; None if it has to be made."""
    wanted = _comparable(definition.model.document)
    same = [str(index["name"]) for index in existing if _comparable(index) == wanted]
    if same:
        detail = "" if definition.name in same else f"as {same[0]}"
        return IndexResult(definition, IndexStatus.EXISTS, detail)
    fault = _conflict(definition, existing, "name")
    return IndexResult(definition, IndexStatus.REFUSED, fault) if fault else None


def _build(
    collection: Collection[RawDocument],
    missing: Sequence[Definition],
    existing: Sequence[Mapping[str, object]],
) -> Iterator[IndexResult]:
    """Build the missing indexes of a collection; report them in the same order.

    One command builds all of them. MongoDB builds none if it refuses one, so then each is built
    alone.
    """
    together = len(missing) > 1 and _build_all(collection, missing)
    for definition in missing:
        fault = "" if together else _build_one(collection, definition, existing)
        yield IndexResult(definition, IndexStatus.REFUSED if fault else IndexStatus.CREATED, fault)


def _build_all(collection: Collection[RawDocument], missing: Sequence[Definition]) -> bool:
    """Build indexes with one command; return False if MongoDB refuses one of them."""
    with mongo_errors(), pymongo.timeout(_BUILD_SECONDS):
        try:
            collection.create_indexes([definition.model for definition in missing])
        except OperationFailure as error:
            if error.code not in {*_IN_THE_WAY, _DUPLICATE_KEY}:
                raise
            return False
    return True


def _build_one(
    collection: Collection[RawDocument],
    definition: Definition,
    existing: Sequence[Mapping[str, object]],
) -> str:
    """Build an index; return what is in its way, with what to do, or an empty text."""
    with mongo_errors(), pymongo.timeout(_BUILD_SECONDS):
        try:
            collection.create_indexes([definition.model])
        except DuplicateKeyError as error:
            return _duplicate(definition, error)
        except OperationFailure as error:
            fault = _conflict(definition, existing, "key") if error.code in _IN_THE_WAY else ""
            if not fault:
                raise
            return fault
    return ""


def _conflict(definition: Definition, existing: Sequence[Mapping[str, object]], by: str) -> str:
    """Say which other index has the same name, or the same key, and what to do."""
    where, wanted = definition.collection, definition.model.document
    other = next((index for index in existing if index[by] == wanted[by]), None)
    if other is None:
        return ""
    return (
        f"{where} has another index {other['name']}: {_describe(other)}. "
        f"{definition.name} should be: {_describe(wanted)}. If nothing else needs the other one, "
        f'drop it with db.getCollection("{where}").dropIndex("{other["name"]}"), '
        "then run media-atproto init again"
    )


def _duplicate(definition: Definition, error: DuplicateKeyError) -> str:
    return (
        f"{definition.collection} has several documents with {(error.details or {})['keyValue']}, "
        f"and {definition.name} allows one: unset these fields on those that do not belong there, "
        "then run media-atproto init again"
    )


def _describe(index: Mapping[str, object]) -> str:
    """Return what makes an index what it is, in words."""
    key = ", ".join(f"{name} {way}" for name, way in _key(index))
    rest = [name for name in _FLAGS if index.get(name)]
    rest += [f"{name} {index[name]}" for name in _VALUES if name in index]
    return "; ".join([f"({key})", *rest])


def _comparable(index: Mapping[str, object]) -> object:
    """Return what makes an index what it is, its name apart, to compare two by."""
    flags = [bool(index.get(name)) for name in _FLAGS]
    return _key(index), flags, [index.get(name) for name in _VALUES]


def _key(index: Mapping[str, object]) -> list[tuple[str, object]]:
    return list(cast("Mapping[str, object]", index["key"]).items())
