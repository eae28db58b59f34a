"""Thumbnails kept in MongoDB, so that a retry, a repair or a restore makes none twice.

An entry is a pure function of the image's version and the settings: whoever writes it writes
the same bytes, so writers need no lock and losing an entry costs only time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError

from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.errors import TransientError
from worker.files.thumbnail import Thumbnail, ThumbnailSettings

COLLECTION = "atproto_thumbnails"
INDEXES = (IndexModel([("owner", ASCENDING)], name="owner"),)


class ThumbnailCacheUnavailableError(TransientError):
    """MongoDB did not answer, or refused; thumbnails can be made without it."""

    step, code = "thumbnail", "thumbnail_cache_unavailable"


@dataclass(frozen=True, slots=True)
class CachedThumbnail:
    """A thumbnail from the cache, and the CID that it has as a blob."""

    thumbnail: Thumbnail
    cid: str

    @classmethod
    def of(cls, thumbnail: Thumbnail) -> Self:
        """Return a thumbnail with its CID."""
        return cls(thumbnail, cid_of_blob(thumbnail.data))


class Thumbnails(Protocol):
    """Where finished thumbnails are kept, by the identity of their image and the settings."""

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        """Return the thumbnail of a version of an image."""
        ...

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        """Keep a thumbnail for `owner`, and return it with its CID."""
        ...


@dataclass(frozen=True, slots=True)
class NewThumbnail:
    """A thumbnail to be kept: of which version of an image, and whose."""

    identity: str
    owner: str
    cached: CachedThumbnail


class ThumbnailCache:
    """One collection, an entry per version of an image and settings.

    `_id` is a hash of both; `source` is the image's identity, `owner` the subject whose image it
    is, `data` the PNG, `size` its bytes. All methods raise ThumbnailCacheUnavailableError.
    """

    def __init__(self, collection: Collection[dict[str, object]]) -> None:
        self._entries = collection

    def ensure_indexes(self) -> None:
        """Create the index that `forget` needs; does nothing where it exists."""
        with _cache_errors():
            self._entries.create_indexes(list(INDEXES))

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        """Return the thumbnail of a version of an image; a damaged entry is no entry."""
        with _cache_errors():
            entry = self._entries.find_one({"_id": _entry_id(identity, settings)})
        return _parse_entry(entry) if entry else None

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        """Keep a thumbnail for `owner`, replacing what is there, and return it with its CID."""
        new = NewThumbnail(identity, owner, CachedThumbnail.of(thumbnail))
        with _cache_errors():
            self._upsert(_entry_id(identity, settings), _entry(new))
        return new.cached

    def get_many(
        self, identities: Several[str], settings: ThumbnailSettings
    ) -> dict[str, CachedThumbnail]:
        """Return those of many thumbnails that there are, by identity."""
        ids = {_entry_id(identity, settings): identity for identity in identities}
        with _cache_errors():
            entries = list(self._entries.find({"_id": {"$in": list(ids)}}))
        read = ((ids[str(entry["_id"])], _parse_entry(entry)) for entry in entries)
        return {identity: thumbnail for identity, thumbnail in read if thumbnail}

    def put_many(self, new: Sequence[NewThumbnail], settings: ThumbnailSettings) -> None:
        """Keep many thumbnails."""
        if not new:
            return
        writes = [
            UpdateOne(
                {"_id": _entry_id(each.identity, settings)}, {"$set": _entry(each)}, upsert=True
            )
            for each in new
        ]
        with _cache_errors():
            self._entries.bulk_write(writes, ordered=False)

    def forget(self, owner: str) -> int:
        """Delete all thumbnails of an owner and return how many there were."""
        with _cache_errors():
            return self._entries.delete_many({"owner": owner}).deleted_count

    def _upsert(self, entry_id: str, entry: Mapping[str, object]) -> None:
        try:
            self._entries.update_one({"_id": entry_id}, {"$set": entry}, upsert=True)
        except DuplicateKeyError:
            # Another writer inserted the same entry between our look and our insert.
            self._entries.update_one({"_id": entry_id}, {"$set": entry})


def _entry(new: NewThumbnail) -> dict[str, object]:
    return {
        "data": new.cached.thumbnail.data,
        "mimeType": new.cached.thumbnail.mime_type,
        "size": len(new.cached.thumbnail.data),
        "cid": new.cached.cid,
        "source": new.identity,
        "owner": new.owner,
        "createdAt": now(),
    }


def _entry_id(identity: str, settings: ThumbnailSettings) -> str:
    return hashlib.sha256(f"{settings.key}\0{identity}".encode()).hexdigest()


def _parse_entry(entry: Mapping[str, object]) -> CachedThumbnail | None:
    """Return an entry's thumbnail if its bytes are those that were put there."""
    data, mime_type, cid = entry.get("data"), entry.get("mimeType"), entry.get("cid")
    if not isinstance(data, bytes) or not isinstance(mime_type, str):
        return None
    if entry.get("size") != len(data) or cid != cid_of_blob(data):
        return None
    return CachedThumbnail(Thumbnail(data, mime_type), str(cid))


@contextmanager
def _cache_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, without the addresses and documents they may quote."""
    try:
        yield
    except PyMongoError as error:
        raise ThumbnailCacheUnavailableError(
            f"the thumbnail cache in MongoDB did not carry out a call ({type(error).__name__})"
        ) from error
