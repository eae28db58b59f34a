"""Create the blobs of a record, from a source file to an upload, and skip what is done already.

The bytes of images that are in memory at the same time are limited by a budget that threads
share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Condition, Lock

from worker.core.cid import cid_of_blob
from worker.core.documents import BlobState
from worker.core.errors import PermanentError, TransientError
from worker.core.records import UploadedBlob
from worker.database.thumbnail_cache import (
    CachedThumbnail,
    ThumbnailCacheUnavailableError,
    Thumbnails,
)
from worker.files.errors import SourceTooLargeError
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail
from worker.media.base import BlobSpec, BlobTransform
from worker.media.validation import BlobRule

Upload = Callable[[bytes, str], UploadedBlob]

log = logging.getLogger(__name__)


class MemoryBudget:
    """So many bytes, for the threads of one process."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._changed = Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Have some of it, as soon as there is as much; who asks for more than all gets all."""
        share = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._changed:
                self._left += share
                self._changed.notify_all()


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


class BlobBuilder:
    """Makes the blobs that drafts wish for.

    Several threads may: of images they hold no more bytes at once than one file may have, and
    decode one at a time, so that a process needs no more memory for many than for the worst.
    """

    def __init__(
        self,
        sources: SourceStore,
        cache: Thumbnails,
        thumbnails: ThumbnailSettings,
        *,
        max_source_bytes: int,
        limits: _ImageLimits | None = None,
    ) -> None:
        self._sources = sources
        self._cache = cache
        self._thumbnails = thumbnails
        self._max_source_bytes = max_source_bytes
        self._limits = limits or _ImageLimits(MemoryBudget(max_source_bytes), Lock())

    def with_sources(self, sources: SourceStore, cache: Thumbnails) -> BlobBuilder:
        """Return the same over another store and cache."""
        return BlobBuilder(
            sources,
            cache,
            self._thumbnails,
            max_source_bytes=self._max_source_bytes,
            limits=self._limits,
        )

    @property
    def sources(self) -> SourceStore:
        """Return the store that files are read from."""
        return self._sources

    @property
    def thumbnails(self) -> ThumbnailSettings:
        """Return what thumbnails look like."""
        return self._thumbnails

    def prepare(
        self, spec: BlobSpec, rule: BlobRule, known: BlobState, owner: str
    ) -> Content | BlobState:
        """Return what has to be uploaded, or the blob's state where nothing has.

        A blob whose source is what it was, or whose bytes come out the same, is not uploaded
        again. Raises BlobTooLargeError for a file that its lexicon does not allow, which is not
        read, and the errors of sources and thumbnails.
        """
        key = spec.file.key()
        status = self._sources.stat(key)
        if status.identity and known.cid and known.source == self._name(spec, status.identity):
            return replace(known, error=None)
        content = self._content(spec, rule, key, status, owner)
        if known.cid == cid_of_blob(content.data):
            return replace(known, source=content.source, error=None)
        return content

    def exists(self, key: SourceKey) -> bool:
        """Tell whether the store has a file."""
        return self._sources.exists(key)

    def _name(self, spec: BlobSpec, identity: str) -> str:
        # Other thumbnail settings make another blob of the same file.
        is_thumbnail = spec.transform is BlobTransform.THUMBNAIL
        return f"{identity} {self._thumbnails.key}" if is_thumbnail else identity

    def _content(
        self, spec: BlobSpec, rule: BlobRule, key: SourceKey, status: SourceStat, owner: str
    ) -> Content:
        if spec.transform is BlobTransform.AS_IS:
            file = self._read_as_is(rule, key, status)
            return Content(file.data, spec.mime_type, self._name(spec, file.identity))
        made, identity = self._thumbnail(key, status, owner)
        return Content(made.data, made.mime_type, self._name(spec, identity))

    def _read_as_is(self, rule: BlobRule, key: SourceKey, status: SourceStat) -> SourceFile:
        """Read a file that is sent as it is: a batch holds many, so no more than may be sent."""
        check_size(rule, status.size)
        if rule.max_size is None or rule.max_size >= self._max_source_bytes:
            return self._sources.read(key, max_bytes=self._max_source_bytes)
        try:
            return self._sources.read(key, max_bytes=rule.max_size)
        except SourceTooLargeError as error:
            message = f"its lexicon allows {rule.max_size} bytes: {error.message}"
            raise BlobTooLargeError(message) from error

    def _thumbnail(self, key: SourceKey, status: SourceStat, owner: str) -> tuple[Thumbnail, str]:
        """Return a thumbnail and the identity of the file that it is of."""
        identity = status.identity
        if identity and (cached := self._get_cached(identity)):
            return cached.thumbnail, identity
        announced = self._max_source_bytes if status.size is None else status.size
        with self._limits.memory.reserve(announced):
            file = self._image(key, announced)
            if identity is None and (cached := self._get_cached(file.identity)):
                return cached.thumbnail, file.identity
            with self._limits.decoding:
                made = make_thumbnail(file.data, self._thumbnails)
        self._save_to_cache(file.identity, made, owner)
        return made, file.identity

    def _get_cached(self, identity: str) -> CachedThumbnail | None:
        """Return a thumbnail from the cache; without the cache it is made anew."""
        try:
            return self._cache.get(identity, self._thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("a thumbnail is made anew: %s", error.message)
            return None

    def _save_to_cache(self, identity: str, made: Thumbnail, owner: str) -> None:
        try:
            self._cache.put(identity, self._thumbnails, made, owner=owner)
        except ThumbnailCacheUnavailableError as error:
            log.warning("a thumbnail was not kept: %s", error.message)

    def _image(self, key: SourceKey, announced: int) -> SourceFile:
        """Read a file of as many bytes as there is room for."""
        limit = min(announced, self._max_source_bytes)
        try:
            return self._sources.read(key, max_bytes=limit)
        except SourceTooLargeError as error:
            if announced >= self._max_source_bytes:
                raise
            message = f"the file has grown since it was looked at: {error.message}"
            raise TransientError(message, step="source", code="source_unavailable") from error


@dataclass(frozen=True, slots=True)
class _ImageLimits:
    """What the threads of a process share: room for images as files, and who decodes one."""

    memory: MemoryBudget
    decoding: Lock


def check_size(rule: BlobRule, size: int | None) -> None:
    """Accept a size in bytes that a lexicon allows, or that is not known; or BlobTooLargeError."""
    if rule.max_size is not None and size is not None and size > rule.max_size:
        raise BlobTooLargeError(f"the blob has {size} bytes; its lexicon allows {rule.max_size}")


def upload_blob(content: Content, rule: BlobRule, upload: Upload) -> BlobState:
    """Upload a blob that its lexicon allows; return its state.

    Raises BlobTypeError, BlobTooLargeError and the errors of uploads.
    """
    size = len(content.data)
    if size == 0:
        raise BlobTypeError("the source file is empty")
    check_size(rule, size)
    blob = upload(content.data, content.mime_type)
    if blob.cid != cid_of_blob(content.data):
        message = "the PDS took in other bytes than were sent"
        raise TransientError(message, step="upload", code="upload_damaged")
    if not rule.accepts(blob.mime_type):
        accepted = ", ".join(rule.accept)
        raise BlobTypeError(f"the PDS found {blob.mime_type}, the lexicon accepts {accepted} only")
    return BlobState(blob.cid, blob.mime_type, blob.size, content.source)
