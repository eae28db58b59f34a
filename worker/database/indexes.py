"""Check and create the required indexes, which are defined in other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import cast

import pymongo
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from worker.core.errors import PermanentError
from worker.database import accounts, backlog, removals
from worker.database import thumbnail_cache as thumbnails
from worker.database.mongo import DUPLICATE_KEY, RawDocument, StoreUnavailableError, mongo_errors
from worker.media import MEDIA_TYPES, MediaType

_BUILD_SECONDS = 6 * 3600  # a build reads the whole collection
_REFUSALS = {85, 86, DUPLICATE_KEY}  # IndexOptionsConflict, IndexKeySpecsConflict
_FLAGS = ("unique", "sparse", "hidden")
_VALUES = ("partialFilterExpression", "expireAfterSeconds")


@contextmanager
def require_index() -> Iterator[None]:
    """Translate errors like `mongo_errors`; a missing index is a PermanentError."""
    try:
        with mongo_errors():
            yield
    except StoreUnavailableError as error:
        cause = error.__cause__
        if isinstance(cause, OperationFailure) and "hint provided does not" in str(cause):
            message = "an index is missing in MongoDB: run media-atproto init"
            raise PermanentError(message, step="store", code="index_missing") from error
        raise


class IndexStatus(StrEnum):
    """The status of a required index."""

    CREATED = "created"
    EXISTS = "already there"
    MISSING = "missing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Definition:
    """A required index and the name of its collection.

    Any index that supports lookups by the field `lookup` replaces it.
    """

    collection: str
    model: IndexModel
    lookup: str | None = None

    @property
    def name(self) -> str:
        return str(self.model.document["name"])


@dataclass(frozen=True, slots=True)
class IndexResult:
    """The status of an index. `detail` names an equal index or explains a conflict."""

    definition: Definition
    status: IndexStatus
    detail: str = ""


def definitions() -> list[Definition]:
    """Return all required indexes."""
    media = [each for kind in MEDIA_TYPES.values() for each in _media_definitions(kind)]
    rest: Mapping[str, Sequence[IndexModel]] = {
        **accounts.INDEXES,
        removals.COLLECTION: removals.INDEXES,
        thumbnails.COLLECTION: thumbnails.INDEXES,
    }
    return media + [Definition(name, model) for name, models in rest.items() for model in models]


def _media_definitions(kind: MediaType) -> Iterator[Definition]:
    for model in backlog.INDEXES:
        yield Definition(kind.collection, model)
    for field in backlog.LOOKUP_FIELDS:
        if field in kind.fields:
            yield Definition(kind.collection, backlog.lookup_index(field), field)


def list_lookup_indexes(collection: Collection[RawDocument]) -> Mapping[str, str]:
    """Return the names of the indexes that support lookups by a field, by field.

    Raises the errors of the driver.
    """
    return _by_looked_up_field(collection.list_indexes())


def _by_looked_up_field(indexes: Iterable[Mapping[str, object]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for index in indexes:
        field, order = _key(index)[0]
        where = index.get("partialFilterExpression")
        is_usable = not index.get("hidden") and "collation" not in index and order in {1, -1}
        if is_usable and (where is None or where == {field: {"$exists": True}}):
            found.setdefault(field, str(index["name"]))
    return found


def create(database: Database[RawDocument]) -> Iterator[IndexResult]:
    """Create the missing indexes, and yield the result of each required index.

    The call is safe to repeat and to interrupt. It sends one `listIndexes` per collection, and one
    `createIndexes` if an index is missing. Documents can be read and written meanwhile. If MongoDB
    refuses an index, the others are still created. Raises StoreUnavailableError.
    """
    for name, group in groupby(definitions(), attrgetter("collection")):
        collection, wanted = database[name], list(group)
        existing = _existing(collection)
        found = [_check(definition, existing) for definition in wanted]
        missing = [each for each, result in zip(wanted, found, strict=True) if not result]
        built = _build(collection, missing, existing)
        yield from (result or next(built) for result in found)


def inspect(database: Database[RawDocument]) -> Iterator[IndexResult]:
    """Yield the status of each required index, without changing anything.

    Does not find duplicates that prevent a unique index. Raises StoreUnavailableError.
    """
    for name, group in groupby(definitions(), attrgetter("collection")):
        existing = _existing(database[name])
        for definition in group:
            yield _check(definition, existing) or IndexResult(definition, IndexStatus.MISSING)


def ensure(database: Database[RawDocument]) -> None:
    """Create missing indexes; raises StoreUnavailableError, PermanentError (refused)."""
    refused = [each.detail for each in create(database) if each.status is IndexStatus.REFUSED]
    if refused:
        raise PermanentError("; ".join(refused), step="store", code="index_refused")


def _existing(collection: Collection[RawDocument]) -> list[Mapping[str, object]]:
    with mongo_errors():
        return list(collection.list_indexes())


def _check(definition: Definition, existing: Sequence[Mapping[str, object]]) -> IndexResult | None:
    """Compare an index with the existing ones; return None if it must be created."""
    wanted = _comparable(definition.model.document)
    same = [str(index["name"]) for index in existing if _comparable(index) == wanted]
    if same:
        detail = "" if definition.name in same else f"as {same[0]}"
        return IndexResult(definition, IndexStatus.EXISTS, detail)
    if definition.lookup and (other := _by_looked_up_field(existing).get(definition.lookup)):
        return IndexResult(definition, IndexStatus.EXISTS, f"as {other}")
    fault = _conflict(definition, existing, "name")
    return IndexResult(definition, IndexStatus.REFUSED, fault) if fault else None


def _build(
    collection: Collection[RawDocument],
    missing: Sequence[Definition],
    existing: Sequence[Mapping[str, object]],
) -> Iterator[IndexResult]:
    """Create the missing indexes of a collection; yield their results in order.

    One command creates all. If MongoDB refuses one, it creates none: each is then sent alone.
    """
    refused = _create(collection, missing) if missing else None
    for definition in missing:
        error = _create(collection, [definition]) if refused and len(missing) > 1 else refused
        fault = _explain(definition, existing, error) if error else ""
        yield IndexResult(definition, IndexStatus.REFUSED if fault else IndexStatus.CREATED, fault)


def _create(
    collection: Collection[RawDocument], wanted: Sequence[Definition]
) -> OperationFailure | None:
    """Create indexes with one command; return the error if MongoDB refuses one."""
    with mongo_errors(), pymongo.timeout(_BUILD_SECONDS):
        try:
            collection.create_indexes([definition.model for definition in wanted])
        except OperationFailure as error:
            if error.code not in _REFUSALS:
                raise
            return error
    return None


def _explain(
    definition: Definition, existing: Sequence[Mapping[str, object]], error: OperationFailure
) -> str:
    if isinstance(error, DuplicateKeyError):
        fields = (error.details or {})["keyValue"]
        return (
            f"{definition.collection} has several documents with {fields}, and {definition.name} "
            "allows one: unset these fields on those that do not belong there, "
            "then run media-atproto init again"
        )
    fault = _conflict(definition, existing, "key")
    if not fault:
        with mongo_errors():
            raise error
    return fault


def _conflict(definition: Definition, existing: Sequence[Mapping[str, object]], by: str) -> str:
    """Describe an existing index with the same name or key (`by`), and the fix."""
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


def _describe(index: Mapping[str, object]) -> str:
    """Describe the key and options of an index."""
    key = ", ".join(f"{name} {way}" for name, way in _key(index))
    rest = [name for name in _FLAGS if index.get(name)]
    rest += [f"{name} {index[name]}" for name in _VALUES if name in index]
    return "; ".join([f"({key})", *rest])


def _comparable(index: Mapping[str, object]) -> object:
    """Return the key and options of an index, for comparisons."""
    flags = [bool(index.get(name)) for name in _FLAGS]
    return _key(index), flags, [index.get(name) for name in _VALUES]


def _key(index: Mapping[str, object]) -> list[tuple[str, object]]:
    return list(cast("Mapping[str, object]", index["key"]).items())
