"""Build the records of a batch from their drafts.

Each file's metadata is read once; thumbnails are fetched and saved with one call each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.errors import MediaError, WaitError
from worker.database.thumbnail_cache import CachedThumbnail, NewThumbnail, ThumbnailCache
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings
from worker.media import Draft
from worker.media.base import BlobTransform
from worker.pds.repo import Repo
from worker.sync.attachments import AttachmentBuilder, PreparedBlob
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.publisher import PreparedRecord, Publisher
from worker.sync.run import Run

T = TypeVar("T")
Drafted = tuple[Run, Draft]
Built = tuple[Run, PreparedRecord | MediaError | None]
_Blobs = Mapping[str, PreparedBlob] | MediaError | None


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Opens the files of a batch."""

    attachments: AttachmentBuilder
    cache: ThumbnailCache

    @contextmanager
    def open(self, drafts: Sequence[Draft], pool: Executor) -> Iterator[AttachmentBuilder]:
        """Yield a builder for these drafts; save its new thumbnails at the end."""
        blobs = self.attachments.blobs
        sources = _StatCache(blobs.sources)
        stats = pool.map(sources.try_stat, _images(drafts))
        identities = {stat.identity for stat in stats if stat and stat.identity}
        thumbnails = _ThumbnailBuffer(self.cache.get_many(identities, blobs.thumbnails))
        try:
            yield replace(self.attachments, blobs=blobs.with_sources(sources, thumbnails))
        finally:
            self.cache.put_many(thumbnails.new, blobs.thumbnails)


class _StatCache(SourceStore):
    """A store that reads the metadata of each file once."""

    def __init__(self, sources: SourceStore) -> None:
        self._sources = sources
        self._stats: dict[SourceKey, SourceStat] = {}

    def try_stat(self, key: SourceKey) -> SourceStat | None:
        try:
            return self.stat(key)
        except Exception:  # noqa: BLE001 - raised again when the document's blob is prepared
            return None

    def stat(self, key: SourceKey) -> SourceStat:
        if key not in self._stats:
            self._stats[key] = self._sources.stat(key)
        return self._stats[key]

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        return self._sources.read(key, max_bytes=max_bytes)

    def close(self) -> None:
        """Leave the store open: other batches use it."""


class _ThumbnailBuffer:
    """The thumbnails of a batch: those from the cache, and new ones to save there."""

    def __init__(self, known: dict[str, CachedThumbnail]) -> None:
        self._known = known
        self.new: list[NewThumbnail] = []

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        return self._known.get(identity)

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        cached = CachedThumbnail.of(thumbnail)
        self.new.append(NewThumbnail(identity, owner, cached))
        return cached


def _images(drafts: Iterable[Draft]) -> Iterator[SourceKey]:
    """Yield the files that need thumbnails, except those with invalid keys."""
    for draft in drafts:
        for spec in draft.blobs.values():
            if spec.transform is BlobTransform.THUMBNAIL:
                with suppress(MediaError):
                    yield spec.file.key()


@dataclass(slots=True)
class RecordBuilder:
    """Builds records for one repo.

    Instead of a record that cannot be built there is its error, or None for an unexpected error.
    Once the PDS asks to wait, no other record of the batch is built.
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
        """Build records with files in groups: prepare all files, then upload them.

        The next group is prepared meanwhile. Single uploads cost a PDS half as much again.
        """
        size = self.throttle.uploads()
        drafts = [draft for _, draft in drafted]
        with (
            _threads(size) as builders,
            _threads(size) as senders,
            self.batch_files.open(drafts, builders) as attachments,
        ):
            publisher = replace(self.publisher, attachments=attachments)
            prepare, build = partial(self._prepare, publisher), partial(self._build, publisher)
            groups = (drafted[start : start + size] for start in range(0, len(drafted), size))
            prepared = ((group, builders.map(prepare, group)) for group in groups)
            following = next(prepared, None)
            while following:
                (group, blobs), following = following, next(prepared, None)
                yield from senders.map(build, group, list(blobs))

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
    """Return the result of a call, its expected error, or None for any other.

    An unexpected error is not kept: the document falls back to `Engine`, which meets it again.
    """
    try:
        return call()
    except SoftTimeLimitExceeded:
        raise
    except MediaError as error:
        return error
    except Exception:  # noqa: BLE001
        return None


@contextmanager
def _threads(number: int) -> Iterator[Executor]:
    """Yield a pool that cancels its pending calls at the end of the block."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
