"""Build the records of a batch from their drafts.

The metadata of each file is read once. One call loads all cached thumbnails, and one call saves
all new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.documents import BlobState
from worker.core.errors import MediaError, WaitError
from worker.database.thumbnail_cache import CachedThumbnail, NewThumbnail, ThumbnailCache
from worker.files.errors import SourceForbiddenError, SourceMissingError
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings
from worker.media import Draft
from worker.media.base import BlobTransform
from worker.media.source_keys import SourceRef
from worker.pds.repo import Repo
from worker.sync.attachments import AttachmentBuilder, PreparedBlob
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.publisher import PreparedRecord, Publisher
from worker.sync.run import Run
from worker.sync.source_files import FoundFile, find_file

T = TypeVar("T")
Drafted = tuple[Run, Draft]
Built = tuple[Run, PreparedRecord | MediaError | None]
_Blobs = Mapping[str, PreparedBlob] | MediaError | None

_UPLOADS_PER_THREAD = 4  # in a group of documents with small blobs
_SMALL = 1 << 20  # bytes; two groups of blobs of this size need 64 MiB


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Shares file metadata and cached thumbnails between the documents of a batch."""

    attachments: AttachmentBuilder
    cache: ThumbnailCache

    @contextmanager
    def open(self, drafted: Sequence[Drafted], pool: Executor) -> Iterator[AttachmentBuilder]:
        """Yield an AttachmentBuilder for `drafted`; save its new thumbnails at the end."""
        blobs = self.attachments.blobs
        sources = _StatCache(blobs.sources)
        found = pool.map(partial(_try_find, sources), _images(drafted))
        identities = {file.stat.identity for file in found if file and file.stat.identity}
        known = self.cache.get_many(identities, blobs.thumbnails)
        thumbnails = _ThumbnailBuffer(blobs.thumbnails, known)
        try:
            yield replace(self.attachments, blobs=blobs.with_sources(sources, thumbnails))
        finally:
            self.cache.put_many(thumbnails.new)


class _StatCache(SourceStore):
    """A source store that caches the metadata of each file, and which files are absent."""

    def __init__(self, sources: SourceStore) -> None:
        self._sources = sources
        self._stats: dict[SourceKey, SourceStat] = {}
        self._absent: dict[SourceKey, SourceMissingError | SourceForbiddenError] = {}

    def stat(self, key: SourceKey) -> SourceStat:
        if key in self._absent:
            raise self._absent[key]
        if key not in self._stats:
            try:
                self._stats[key] = self._sources.stat(key)
            except (SourceMissingError, SourceForbiddenError) as error:
                self._absent[key] = error
                raise
        return self._stats[key]

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        return self._sources.read(key, max_bytes=max_bytes)

    def close(self) -> None:
        """Leave the store open, because other batches use it."""


class _ThumbnailBuffer:
    """Holds the cached thumbnails of a batch, and the new ones to save in the cache.

    The cached ones have the usual `settings`. Thumbnails with others, because of a lexicon that
    accepts one format only, are made again.
    """

    def __init__(self, settings: ThumbnailSettings, known: dict[str, CachedThumbnail]) -> None:
        self._settings = settings
        self._known = known
        self.new: list[NewThumbnail] = []

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        return self._known.get(identity) if settings == self._settings else None

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        cached = CachedThumbnail.of(thumbnail)
        self.new.append(NewThumbnail(identity, settings, owner, cached))
        return cached


_Candidates = tuple[Sequence[SourceRef], str | None]


def _images(drafted: Iterable[Drafted]) -> Iterator[_Candidates]:
    """Yield the candidates of files that need thumbnails, and the key of the last sync."""
    for run, draft in drafted:
        for name, spec in draft.blobs.items():
            if spec.transform is BlobTransform.THUMBNAIL:
                yield spec.files, run.state.blobs.get(name, BlobState()).key


def _try_find(sources: SourceStore, candidates: _Candidates) -> FoundFile | None:
    try:
        return find_file(sources, *candidates)
    except Exception:  # noqa: BLE001 - raised again when the document's blob is prepared
        return None


@dataclass(slots=True)
class RecordBuilder:
    """Builds the records of a batch for one repo.

    Each result is a record, a MediaError, or None after an unexpected error. After the PDS asks to
    wait, the result of every remaining document is the same WaitError.
    """

    publisher: Publisher
    batch_files: BatchFiles
    throttle: BulkThrottle
    repo: Repo
    _asked_to_wait: WaitError | None = None

    def without_files(self, drafted: Sequence[Drafted]) -> Iterator[Built]:
        for each in drafted:
            yield self._build(self.publisher, each, self._prepare(self.publisher, each))

    def with_files(self, drafted: Sequence[Drafted]) -> Iterator[Built]:
        """Build records in groups: prepare a group's files, then upload them together.

        The next group is prepared during the upload. Separate uploads would cost the PDS 50% more.
        A group has more documents than threads, because threads are idle at the end of each group.
        """
        uploads = self._max_uploads()
        size = self._group_size(drafted, uploads)
        with (
            _threads(uploads) as builders,
            _threads(uploads) as senders,
            self.batch_files.open(drafted, builders) as attachments,
        ):
            publisher = replace(self.publisher, attachments=attachments)
            prepare, build = partial(self._prepare, publisher), partial(self._build, publisher)
            groups = (drafted[start : start + size] for start in range(0, len(drafted), size))
            prepared = ((group, builders.map(prepare, group)) for group in groups)
            following = next(prepared, None)
            while following:
                (group, blobs), following = following, next(prepared, None)
                yield from senders.map(build, group, list(blobs))

    def _group_size(self, drafted: Iterable[Drafted], uploads: int) -> int:
        """Return the number of documents in a group, which is small if blobs may be large."""
        lexicons = self.publisher.attachments.lexicons
        rules = [lexicons.blob_rules(nsid) for nsid in {draft.nsid for _, draft in drafted}]
        sizes = [rule.max_size for each in rules for rule in each.values()]
        is_small = all(size is not None and size <= _SMALL for size in sizes)
        return uploads * _UPLOADS_PER_THREAD if is_small else uploads

    def _max_uploads(self) -> int:
        try:
            return self.throttle.uploads(self.repo.host)
        except MediaError:  # each upload raises it again, and it is saved on the document
            return 1

    def _prepare(self, publisher: Publisher, drafted: Drafted) -> _Blobs:
        prepare = partial(publisher.attachments.prepare, *drafted)
        return self._asked_to_wait or capture_errors(prepare)

    def _build(self, publisher: Publisher, drafted: Drafted, blobs: _Blobs) -> Built:
        run, draft = drafted
        if blobs is None or isinstance(blobs, MediaError):
            return run, blobs
        if self._asked_to_wait:
            return run, self._asked_to_wait
        result = capture_errors(partial(publisher.build_record, run, draft, self.repo, blobs))
        if isinstance(result, WaitError):
            self._asked_to_wait = result
        return run, result


def capture_errors(call: Callable[[], T]) -> T | MediaError | None:
    """Return the result of `call`, its MediaError, or None after an unexpected error.

    An unexpected error is dropped: the document falls back to `Engine`, which repeats the call.
    Raises SoftTimeLimitExceeded.
    """
    try:
        return call()
    except SoftTimeLimitExceeded:
        raise
    except MediaError as error:
        return error
    except Exception:  # noqa: BLE001
        # Any exception: a bug with one document must not fail the batch. `Engine` meets it again,
        # and saves and reports it.
        return None


@contextmanager
def _threads(number: int) -> Iterator[Executor]:
    """Yield a thread pool; cancel its pending calls at the end of the block."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
