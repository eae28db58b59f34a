"""Prepare and upload the blobs of a record, with limited memory for images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from threading import Condition, Lock

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.cid import cid_of_blob
from worker.core.documents import BlobState
from worker.core.errors import (
    MediaError,
    PermanentError,
    TransientError,
    UnexpectedThumbnailError,
)
from worker.core.records import UploadedBlob
from worker.database.thumbnail_cache import Thumbnails
from worker.files.errors import SourceTooLargeError
from worker.files.store import SourceFile, SourceKey, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail
from worker.files.thumbnail_encoding import FORMATS
from worker.media.base import BlobSpec, BlobTransform
from worker.media.validation import BlobRule
from worker.sync.source_files import FoundFile, find_file

Upload = Callable[[bytes, str], UploadedBlob]


class MemoryBudget:
    """Limits the bytes that the threads of a process hold at the same time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._changed = Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Reserve `amount` bytes, at most the whole budget; block until they are free."""
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


@dataclass(frozen=True, slots=True)
class Content:
    """A blob to upload; `key` is the key of its file, `source` identifies its version."""

    data: bytes = field(repr=False)
    mime_type: str
    source: str
    key: str | None = None


class BlobBuilder:
    """Reads files and makes thumbnails for the blobs of drafts.

    Threads may share a builder. To limit memory, the images in memory have at most
    `max_source_bytes` in total, and one image is decoded at a time.
    """

    def __init__(
        self,
        sources: SourceStore,
        cache: Thumbnails,
        thumbnails: ThumbnailSettings,
        *,
        max_source_bytes: int,
    ) -> None:
        self.sources = sources
        self.thumbnails = thumbnails
        self._cache = cache
        self._max_source_bytes = max_source_bytes
        self._memory = MemoryBudget(max_source_bytes)
        self._decoding = Lock()

    def with_sources(self, sources: SourceStore, cache: Thumbnails) -> BlobBuilder:
        """Return a copy with another store and cache, but the same memory budget."""
        other = copy(self)
        other.sources, other._cache = sources, cache
        return other

    def prepare(
        self,
        spec: BlobSpec,
        rule: BlobRule,
        known: BlobState,
        owner: str,
        *,
        remake: bool = False,
    ) -> Content | BlobState:
        """Return the content to upload, or the blob's state if the blob is unchanged.

        A blob is unchanged if its source or its bytes are the same. A thumbnail is kept while its
        file is unchanged, whatever the thumbnail settings; one of another program is kept until its
        file changes. With `remake`, a thumbnail is made again, and kept if its bytes are the same.

        Raises PermanentError for an invalid file name or a file larger than its lexicon allows,
        UnexpectedThumbnailError for an unexpected exception of a decoder, and the errors of
        `find_file`, the source store and thumbnails.
        """
        if spec.content is not None:
            content: Content | BlobState = _document_content(spec, spec.content)
        else:
            found = find_file(self.sources, spec.files, known.key)
            is_made_again = remake and spec.transform is BlobTransform.THUMBNAIL
            content = self._read(spec, rule, found, BlobState() if is_made_again else known, owner)
        if isinstance(content, Content) and known.cid == cid_of_blob(content.data):
            return replace(known, source=content.source, key=content.key, error=None)
        return content

    def _read(
        self, spec: BlobSpec, rule: BlobRule, found: FoundFile, known: BlobState, owner: str
    ) -> Content | BlobState:
        """Read the file of a blob, unless the blob of this version of the file is known."""
        if kept := _keep(spec, known, found, found.stat.identity):
            return kept
        if spec.transform is BlobTransform.AS_IS:
            file = self._read_as_is(rule, found)
            return Content(file.data, found.ref.mime_type, file.identity, found.key.text)
        made, identity = self._thumbnail(self._settings(rule), found, owner)
        if kept := _keep(spec, known, found, identity):
            return kept
        return Content(made.data, made.mime_type, identity, found.key.text)

    def _read_as_is(self, rule: BlobRule, found: FoundFile) -> SourceFile:
        """Read a file to upload as it is; raises PermanentError if it is too large."""
        key = found.key
        _check_size(rule, found.stat.size)
        if rule.max_size is None or rule.max_size >= self._max_source_bytes:
            return self.sources.read(key, max_bytes=self._max_source_bytes)
        try:
            return self.sources.read(key, max_bytes=rule.max_size)
        except SourceTooLargeError as error:
            message = f"its lexicon allows {rule.max_size} bytes: {error.message}"
            raise PermanentError(message, step="upload", code="blob_too_large") from error

    def _settings(self, rule: BlobRule) -> ThumbnailSettings:
        """Return the settings of thumbnails in a format that the lexicon accepts.

        If it accepts none, all are permitted, and the upload is refused with a clear error.
        """
        accepted = tuple(each for each in FORMATS if rule.accepts(each))
        return replace(self.thumbnails, formats=accepted or FORMATS)

    def _thumbnail(
        self, settings: ThumbnailSettings, found: FoundFile, owner: str
    ) -> tuple[Thumbnail, str]:
        """Load or make a thumbnail; return it with the identity of its image file."""
        key, status, identity = found.key, found.stat, found.stat.identity
        if identity and (cached := self._cache.get(identity, settings)):
            return cached.thumbnail, identity
        announced = self._max_source_bytes if status.size is None else status.size
        with self._memory.reserve(announced):
            file = self._read_image(key, announced)
            if identity is None and (cached := self._cache.get(file.identity, settings)):
                return cached.thumbnail, file.identity
            with self._decoding:
                thumbnail = _make_thumbnail(file.data, settings)
        self._cache.put(file.identity, settings, thumbnail, owner=owner)
        return thumbnail, file.identity

    def _read_image(self, key: SourceKey, announced: int) -> SourceFile:
        """Read an image file, at most the `announced` bytes reserved for it."""
        limit = min(announced, self._max_source_bytes)
        try:
            return self.sources.read(key, max_bytes=limit)
        except SourceTooLargeError as error:
            if announced >= self._max_source_bytes:
                raise
            message = f"the file has grown since its size was read: {error.message}"
            raise TransientError(message, step="source", code="source_unavailable") from error


def _make_thumbnail(data: bytes, settings: ThumbnailSettings) -> Thumbnail:
    """Create a thumbnail; an unexpected exception becomes an UnexpectedThumbnailError.

    Decoders read untrusted files. No exception of theirs may prevent the record from being
    published.
    """
    try:
        return make_thumbnail(data, settings)
    except (MediaError, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        raise UnexpectedThumbnailError.of(error) from error


def _keep(
    spec: BlobSpec, known: BlobState, found: FoundFile, identity: str | None
) -> BlobState | None:
    """Return the state of a known blob of this version of its file, or None."""
    is_adopted = known.source is None and spec.transform is BlobTransform.THUMBNAIL
    if known.cid and identity and (is_adopted or known.source == identity):
        return replace(known, source=identity, key=found.key.text, error=None)
    return None


def _document_content(spec: BlobSpec, text: str) -> Content:
    return Content(text.encode(), spec.mime_type, source="document")


def _check_size(rule: BlobRule, size: int | None) -> None:
    """Raise PermanentError if `size` exceeds the limit of the lexicon."""
    if rule.max_size is not None and size is not None and size > rule.max_size:
        message = f"the blob has {size} bytes; its lexicon allows {rule.max_size}"
        raise PermanentError(message, step="upload", code="blob_too_large")


def upload_blob(content: Content, rule: BlobRule, upload: Upload) -> BlobState:
    """Upload a blob; return its state.

    Raises PermanentError if the blob is empty or its lexicon does not allow its size or type,
    TransientError if the PDS received other bytes, and the errors of `upload`.
    """
    size = len(content.data)
    if size == 0:
        raise _type_error("the source file is empty")
    _check_size(rule, size)
    blob = upload(content.data, content.mime_type)
    if (blob.cid, blob.size) != (cid_of_blob(content.data), size):
        message = "the PDS received other bytes than were sent"
        raise TransientError(message, step="upload", code="upload_damaged")
    if not rule.accepts(blob.mime_type):
        accepted = ", ".join(rule.accept)
        raise _type_error(f"the PDS found {blob.mime_type}, the lexicon accepts {accepted} only")
    return BlobState(blob.cid, blob.mime_type, blob.size, content.source, key=content.key)


def _type_error(message: str) -> PermanentError:
    return PermanentError(message, step="upload", code="blob_type_refused")
