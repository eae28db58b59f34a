"""Cache thumbnails in MongoDB, to reuse them in retries and restores.

An entry depends only on the version of the image and the settings. Concurrent writers write the
same bytes, so no lock is needed. A lost entry is created again.

The cache keeps no image for long that no record contains. An entry is deleted with its record, and
when a run has replaced its record by one with another thumbnail. All entries expire 30 days after
they were created, so thumbnails that were never published expire too. Those in records do not stay
longer: an uploaded thumbnail is only needed to restore the records of a wiped account, and a
restore makes expired ones again.

Two records may contain the same thumbnail: the entry is deleted with the first of them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.collection import Collection

from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.errors import TransientError
from worker.database.mongo import RawDocument, bulk_write, long_query, mongo_errors
from worker.files.thumbnail import Thumbnail, ThumbnailSettings

COLLECTION = "atproto_thumbnails"
_LIFETIME = 30 * 86_400  # seconds
INDEXES = (
    IndexModel([("owner", ASCENDING)], name="owner"),
    IndexModel([("cid", ASCENDING)], name="cid"),
    IndexModel([("createdAt", ASCENDING)], name="expiry", expireAfterSeconds=_LIFETIME),
)

log = logging.getLogger(__name__)


class ThumbnailCacheUnavailableError(TransientError):
    """MongoDB did not answer or refused a call of the cache."""

    step, code = "thumbnail", "thumbnail_cache_unavailable"


_cache_errors = partial(mongo_errors, ThumbnailCacheUnavailableError)


@dataclass(frozen=True, slots=True)
class CachedThumbnail:
    """A thumbnail and the CID of its blob."""

    thumbnail: Thumbnail
    cid: str

    @classmethod
    def of(cls, thumbnail: Thumbnail) -> Self:
        return cls(thumbnail, cid_of_blob(thumbnail.data))


class Thumbnails(Protocol):
    """A cache of thumbnails by the identity of the image and the settings."""

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        """Return the thumbnail of an image version (`identity`), or None."""

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        """Save a thumbnail for `owner`, and return it with its CID."""


@dataclass(frozen=True, slots=True)
class NewThumbnail:
    """A thumbnail to save, with the identity of its image, its settings and its owner."""

    identity: str
    settings: ThumbnailSettings
    owner: str
    cached: CachedThumbnail


class ThumbnailCache:
    """Caches thumbnails in a collection, by image version and settings.

    `_id` is a hash of both. `source` is the identity of the image version, `owner` the subject,
    `data` the thumbnail and `size` its number of bytes. If MongoDB is unavailable, thumbnails are
    not found and not saved.
    """

    def __init__(self, collection: Collection[RawDocument]) -> None:
        self._entries = collection

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        """Return the thumbnail of an image version; a damaged entry results in None."""
        return self.get_many([identity], settings).get(identity)

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        """Save a thumbnail for `owner`, and return it with its CID."""
        new = NewThumbnail(identity, settings, owner, CachedThumbnail.of(thumbnail))
        self.put_many([new])
        return new.cached

    def get_many(
        self, identities: Iterable[str], settings: ThumbnailSettings
    ) -> dict[str, CachedThumbnail]:
        ids = {_entry_id(identity, settings): identity for identity in identities}
        try:
            with _cache_errors():
                entries = list(self._entries.find({"_id": {"$in": list(ids)}}))
        except ThumbnailCacheUnavailableError as error:
            log.warning("creating thumbnails without the cache: %s", error.message)
            return {}
        read = ((ids[str(entry["_id"])], _parse_entry(entry)) for entry in entries)
        return {identity: thumbnail for identity, thumbnail in read if thumbnail}

    def put_many(self, new: Sequence[NewThumbnail]) -> None:
        entries = ((_entry_id(each.identity, each.settings), _entry(each)) for each in new)
        writes = [UpdateOne({"_id": key}, {"$set": entry}, upsert=True) for key, entry in entries]
        try:
            with _cache_errors():
                bulk_write(self._entries, writes)
        except ThumbnailCacheUnavailableError as error:
            log.warning("%d thumbnails not cached: %s", len(new), error.message)

    def discard(self, cids: Iterable[str]) -> None:
        """Delete the thumbnails with these CIDs; raises ThumbnailCacheUnavailableError."""
        if wanted := list(cids):
            with _cache_errors():
                self._entries.delete_many({"cid": {"$in": wanted}})

    def discard_replaced(self, cids: set[str]) -> None:
        """Delete the thumbnails with these CIDs, which no record contains any more.

        If MongoDB is unavailable, they stay until they expire.
        """
        try:
            self.discard(cids)
        except ThumbnailCacheUnavailableError as error:
            log.warning("%d replaced thumbnails not deleted: %s", len(cids), error.message)

    def forget(self, owner: str) -> int:
        """Delete and count an owner's thumbnails; raises ThumbnailCacheUnavailableError."""
        with _cache_errors(), long_query():
            return self._entries.delete_many({"owner": owner}).deleted_count


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
    """Parse an entry; return None if its bytes do not match its size and CID."""
    data, mime_type, cid = entry.get("data"), entry.get("mimeType"), entry.get("cid")
    if not isinstance(data, bytes) or not isinstance(mime_type, str):
        return None
    if entry.get("size") != len(data) or cid != cid_of_blob(data):
        return None
    return CachedThumbnail(Thumbnail(data, mime_type), str(cid))
