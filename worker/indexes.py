"""All indexes of the database: what there should be, and making what is not there yet.

Each is defined beside the queries that need it; this is where they come together, for a worker
that starts and for `media-atproto init`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import pymongo
from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from worker import accounts, backlog, removal, thumbnail_cache
from worker.errors import PermanentError
from worker.media import MEDIA_TYPES
from worker.mongo import RawDocument, translated

_BUILD_SECONDS = 6 * 3600  # a build goes through its collection, however large that is
_IN_THE_WAY = {85, 86}  # IndexOptionsConflict, IndexKeySpecsConflict
_FLAGS = ("unique", "sparse", "hidden")
_VALUES = ("partialFilterExpression", "expireAfterSeconds")


class IndexRefusedError(PermanentError):
    """An index cannot be made: something of its name, or in the documents, is in its way."""

    step, code = "store", "index_refused"


class Standing(StrEnum):
    """How an index that there should be stands now."""

    CREATED = "created"
    THERE = "already there"
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
class Made:
    """What became of a definition; `detail` says where another index serves, or what to do."""

    definition: Definition
    standing: Standing
    detail: str = ""


def definitions() -> list[Definition]:
    """Return every index that the store, the sweep, the caches and the commands need."""
    media = {kind.collection: backlog.INDEXES for kind in MEDIA_TYPES.values()}
    rest = {
        **accounts.INDEXES,
        removal.COLLECTION: removal.INDEXES,
        thumbnail_cache.COLLECTION: thumbnail_cache.INDEXES,
    }
    every: Mapping[str, Sequence[IndexModel]] = {**media, **rest}
    return [Definition(name, model) for name, models in every.items() for model in models]


def create(database: Database[RawDocument]) -> Iterator[Made]:
    """Make the indexes that are not there yet, telling of each; safe to repeat and interrupt.

    Documents can be read and written meanwhile. What is refused keeps no other from being made.
    Raises StoreUnavailableError.
    """
    for definition in definitions():
        yield _make(database[definition.collection], definition)


def survey(database: Database[RawDocument]) -> Iterator[Made]:
    """Say how each index stands, changing nothing.

    Only what can be told without going through documents: two that claim one record show when
    the index is made. Raises StoreUnavailableError.
    """
    for definition in definitions():
        there = _there(database[definition.collection])
        found = _look(definition, there)
        yield found or Made(definition, Standing.MISSING)


def ensure(database: Database[RawDocument]) -> None:
    """Make the indexes that are not there yet.

    Raises IndexRefusedError naming those that cannot be, once all others are made, and
    StoreUnavailableError.
    """
    refused = [made.detail for made in create(database) if made.standing is Standing.REFUSED]
    if refused:
        raise IndexRefusedError("; ".join(refused))


def _make(collection: Collection[RawDocument], definition: Definition) -> Made:
    there = _there(collection)
    if found := _look(definition, there):
        return found
    fault = _build(collection, definition, there)
    return Made(definition, Standing.REFUSED if fault else Standing.CREATED, fault)


def _there(collection: Collection[RawDocument]) -> list[Mapping[str, object]]:
    with translated():
        return list(collection.list_indexes())


def _look(definition: Definition, there: Sequence[Mapping[str, object]]) -> Made | None:
    """Return how an index stands among those of its collection; None if it has to be made."""
    wanted = _essence(definition.model.document)
    same = [str(index["name"]) for index in there if _essence(index) == wanted]
    if same:
        detail = "" if definition.name in same else f"as {same[0]}"
        return Made(definition, Standing.THERE, detail)
    fault = _conflict(definition, there, "name")
    return Made(definition, Standing.REFUSED, fault) if fault else None


def _build(
    collection: Collection[RawDocument],
    definition: Definition,
    there: Sequence[Mapping[str, object]],
) -> str:
    """Build an index; return what is in its way, with what to do, or an empty text."""
    with translated(), pymongo.timeout(_BUILD_SECONDS):
        try:
            collection.create_indexes([definition.model])
        except DuplicateKeyError as error:
            return _duplicate(definition, error)
        except OperationFailure as error:
            fault = _conflict(definition, there, "key") if error.code in _IN_THE_WAY else ""
            if not fault:
                raise
            return fault
    return ""


def _conflict(definition: Definition, there: Sequence[Mapping[str, object]], by: str) -> str:
    """Say which other index has the same name, or the same key, and what to do."""
    where, wanted = definition.collection, definition.model.document
    other = next((index for index in there if index[by] == wanted[by]), None)
    if other is None:
        return ""
    return (
        f"{where} has another index {other['name']}: {_told(other)}. "
        f"{definition.name} should be: {_told(wanted)}. If nothing else needs the other one, "
        f'drop it with db.getCollection("{where}").dropIndex("{other["name"]}"), '
        "then run media-atproto init again"
    )


def _duplicate(definition: Definition, error: DuplicateKeyError) -> str:
    return (
        f"{definition.collection} has several documents with {(error.details or {})['keyValue']}, "
        f"and {definition.name} allows one: unset these fields on those that do not belong there, "
        "then run media-atproto init again"
    )


def _told(index: Mapping[str, object]) -> str:
    """Return what makes an index what it is, in words."""
    key = ", ".join(f"{name} {way}" for name, way in _key(index))
    rest = [name for name in _FLAGS if index.get(name)]
    rest += [f"{name} {index[name]}" for name in _VALUES if name in index]
    return "; ".join([f"({key})", *rest])


def _essence(index: Mapping[str, object]) -> object:
    """Return what makes an index what it is, its name apart, to compare two by."""
    flags = [bool(index.get(name)) for name in _FLAGS]
    return _key(index), flags, [index.get(name) for name in _VALUES]


def _key(index: Mapping[str, object]) -> list[tuple[str, object]]:
    return list(cast("Mapping[str, object]", index["key"]).items())
