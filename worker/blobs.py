"""Blobs of a record: from a source file to an upload, doing only what has not been done yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

from worker.cid import cid_of_blob
from worker.documents import BlobState
from worker.errors import PermanentError, TransientError
from worker.lexicon import BlobRule
from worker.media.base import BlobWish, Making
from worker.records import UploadedBlob
from worker.source import SourceFile, SourceKey, SourceStore
from worker.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail
from worker.thumbnail_cache import (
    CachedThumbnail,
    ThumbnailCacheUnavailableError,
    Thumbnails,
)

log = logging.getLogger(__name__)

Upload = Callable[[bytes, str], UploadedBlob]


class BlobTooLargeError(PermanentError):
    """The blob is larger than its lexicon allows."""

    step = "upload"
    code = "blob_too_large"


class BlobTypeError(PermanentError):
    """The PDS found the bytes to be of a type that the lexicon does not accept."""

    step = "upload"
    code = "blob_type_refused"


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes to upload, and the name of what they were made from."""

    data: bytes = field(repr=False)
    mime_type: str
    source: str


class BlobMaker:
    """Makes the blobs that drafts wish for."""

    def __init__(
        self,
        sources: SourceStore,
        cache: Thumbnails,
        thumbnails: ThumbnailSettings,
        *,
        max_source_bytes: int,
        decoding: Lock | None = None,
    ) -> None:
        self._sources = sources
        self._cache = cache
        self._thumbnails = thumbnails
        self._max_source_bytes = max_source_bytes
        # One image at a time in a process: a large one takes hundreds of megabytes.
        self._decoding = decoding or Lock()

    def over(self, sources: SourceStore, cache: Thumbnails) -> BlobMaker:
        """Return the same over another store and cache."""
        return BlobMaker(
            sources,
            cache,
            self._thumbnails,
            max_source_bytes=self._max_source_bytes,
            decoding=self._decoding,
        )

    @property
    def sources(self) -> SourceStore:
        """Return the store that files are read from."""
        return self._sources

    @property
    def thumbnails(self) -> ThumbnailSettings:
        """Return what thumbnails look like."""
        return self._thumbnails

    def prepare(self, wish: BlobWish, known: BlobState, owner: str) -> Content | BlobState:
        """Return what has to be uploaded, or the blob's state where nothing has.

        A blob whose source is what it was, or whose bytes come out the same, is not uploaded
        again. Raises the errors of sources and thumbnails.
        """
        key = wish.file.key()
        identity = self._sources.stat(key).identity
        if identity and known.cid and known.source == self._name(wish, identity):
            return replace(known, error=None)
        content = self._content(wish, key, identity, owner)
        if known.cid == cid_of_blob(content.data):
            return replace(known, source=content.source, error=None)
        return content

    def exists(self, key: SourceKey) -> bool:
        """Tell whether the store has a file."""
        return self._sources.exists(key)

    def _name(self, wish: BlobWish, identity: str) -> str:
        # Other thumbnail settings make another blob of the same file.
        is_thumbnail = wish.making is Making.THUMBNAIL
        return f"{identity} {self._thumbnails.key}" if is_thumbnail else identity

    def _content(self, wish: BlobWish, key: SourceKey, identity: str | None, owner: str) -> Content:
        if wish.making is Making.VERBATIM:
            file = self._read(key)
            return Content(file.data, wish.mime_type, self._name(wish, file.identity))
        made, identity = self._thumbnail(key, identity, owner)
        return Content(made.data, made.mime_type, self._name(wish, identity))

    def _thumbnail(self, key: SourceKey, identity: str | None, owner: str) -> tuple[Thumbnail, str]:
        """Return a thumbnail and the identity of the file that it is of."""
        if identity and (cached := self._kept(identity)):
            return cached.thumbnail, identity
        file = self._read(key)
        if identity is None and (cached := self._kept(file.identity)):
            return cached.thumbnail, file.identity
        with self._decoding:
            made = make_thumbnail(file.data, self._thumbnails)
        self._keep(file.identity, made, owner)
        return made, file.identity

    def _kept(self, identity: str) -> CachedThumbnail | None:
        """Return a thumbnail from the cache; without the cache it is made anew."""
        try:
            return self._cache.get(identity, self._thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("a thumbnail is made anew: %s", error.message)
            return None

    def _keep(self, identity: str, made: Thumbnail, owner: str) -> None:
        try:
            self._cache.put(identity, self._thumbnails, made, owner=owner)
        except ThumbnailCacheUnavailableError as error:
            log.warning("a thumbnail was not kept: %s", error.message)

    def _read(self, key: SourceKey) -> SourceFile:
        return self._sources.read(key, max_bytes=self._max_source_bytes)


def uploaded(content: Content, rule: BlobRule, upload: Upload) -> BlobState:
    """Upload a blob that its lexicon allows; return its state.

    Raises BlobTypeError, BlobTooLargeError and the errors of uploads.
    """
    size = len(content.data)
    if size == 0:
        raise BlobTypeError("the source file is empty")
    if rule.max_size is not None and size > rule.max_size:
        raise BlobTooLargeError(f"the blob has {size} bytes; its lexicon allows {rule.max_size}")
    blob = upload(content.data, content.mime_type)
    if blob.cid != cid_of_blob(content.data):
        message = "the PDS took in other bytes than were sent"
        raise TransientError(message, step="upload", code="upload_damaged")
    if not rule.accepts(blob.mime_type):
        accepted = ", ".join(rule.accept)
        raise BlobTypeError(f"the PDS found {blob.mime_type}, the lexicon accepts {accepted} only")
    return BlobState(blob.cid, blob.mime_type, blob.size, content.source)
