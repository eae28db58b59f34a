"""Build the records of a batch, from drafts to records that are ready to be written.

Each file is looked up once; thumbnails are fetched from the cache and saved there with one call.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.errors import MediaError, WaitError
from worker.database.thumbnail_cache import (
    CachedThumbnail,
    NewThumbnail,
    ThumbnailCache,
    ThumbnailCacheUnavailableError,
)
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
Made = PreparedRecord | MediaError | None
_Ready = Mapping[str, PreparedBlob] | MediaError | None

log = logging.getLogger(__name__)


class BatchFiles:
    """Makes the parts of many records."""

    def __init__(self, parts: AttachmentBuilder, cache: ThumbnailCache) -> None:
        self._parts = parts
        self._cache = cache

    @contextmanager
    def open(self, drafts: Sequence[Draft], pool: Executor) -> Iterator[AttachmentBuilder]:
        """Give a maker of these drafts' parts; the thumbnails it has made are kept at the end.

        Without the cache thumbnails are made anew.
        """
        blobs = self._parts.blobs
        sources = _StatCache(blobs.sources)
        stats = pool.map(sources.look, _images(drafts))
        shelf = _ThumbnailBuffer(self._fetch({s.identity for s in stats if s and s.identity}))
        try:
            yield self._parts.with_sources(blobs.with_sources(sources, shelf))
        finally:
            self._save(shelf.new)

    def _fetch(self, identities: set[str]) -> dict[str, CachedThumbnail]:
        try:
            return self._cache.get_many(identities, self._parts.blobs.thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("thumbnails are made anew: %s", error.message)
            return {}

    def _save(self, new: Sequence[NewThumbnail]) -> None:
        try:
            self._cache.put_many(new, self._parts.blobs.thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("%d thumbnails were not kept: %s", len(new), error.message)


class _StatCache(SourceStore):
    """A store whose files are looked at once; what a first look raised is raised by the next."""

    def __init__(self, sources: SourceStore) -> None:
        self._sources = sources
        self._stats: dict[SourceKey, SourceStat] = {}

    def look(self, key: SourceKey | None) -> SourceStat | None:
        if key is None:
            return None
        try:
            return self.stat(key)
        except Exception:  # noqa: BLE001 - it will be raised again, where it harms no neighbour
            return None

    def stat(self, key: SourceKey) -> SourceStat:
        if key not in self._stats:
            self._stats[key] = self._sources.stat(key)
        return self._stats[key]

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        return self._sources.read(key, max_bytes=max_bytes)

    def close(self) -> None:
        """Close nothing: the store goes on."""


class _ThumbnailBuffer:
    """The thumbnails of a batch: those that were there, and those that are new."""

    def __init__(self, known: dict[str, CachedThumbnail]) -> None:
        self._known = known
        self.new: list[NewThumbnail] = []

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        return self._known.get(identity)

    def put(
        self,
        identity: str,
        settings: ThumbnailSettings,
        thumbnail: Thumbnail,
        *,
        owner: str,
    ) -> CachedThumbnail:
        cached = CachedThumbnail.of(thumbnail)
        self.new.append(NewThumbnail(identity, owner, cached))
        return cached


def _images(drafts: Iterable[Draft]) -> Iterator[SourceKey | None]:
    """Go through the files that thumbnails are made of; None for one that no file can be."""
    for draft in drafts:
        for spec in draft.blobs.values():
            if spec.transform is BlobTransform.THUMBNAIL:
                with suppress(MediaError):
                    yield spec.file.key()


@dataclass(slots=True)
class RecordBuilder:
    """Makes the records of one repo.

    For a record that cannot be made there is the error, or None where nobody expected it.
    """

    publisher: Publisher
    batch_files: BatchFiles
    throttle: BulkThrottle
    repo: Repo
    _told_to_wait: WaitError | None = None

    def without_files(self, drafted: Sequence[Drafted]) -> Iterator[tuple[Run, Made]]:
        """Make records that need no files, one after the other."""
        parts = self.publisher.attachments
        for run, draft in drafted:
            yield run, self._make(parts, run, draft, self._prepare(parts, (run, draft)))

    def with_files(self, drafted: Sequence[Drafted]) -> Iterator[tuple[Run, Made]]:
        """Make records that need files: those of some are made, then uploaded in one go.

        A PDS that is asked now and then needs half as much again for each upload. Meanwhile the
        files of the next ones are being made.
        """
        at_once = self.throttle.uploads()
        drafts = [draft for _, draft in drafted]
        with (
            _threads(at_once) as builders,
            _threads(at_once) as senders,
            self.batch_files.open(drafts, builders) as parts,
        ):
            ahead: deque[tuple[Sequence[Drafted], Iterator[_Ready]]] = deque()
            for start in range(0, len(drafted), at_once):
                some = drafted[start : start + at_once]
                ahead.append((some, builders.map(partial(self._prepare, parts), some)))
                if start:
                    yield from self._upload(senders, parts, *ahead.popleft())
            while ahead:
                yield from self._upload(senders, parts, *ahead.popleft())

    def _upload(
        self,
        senders: Executor,
        parts: AttachmentBuilder,
        drafted: Sequence[Drafted],
        making: Iterator[_Ready],
    ) -> Iterator[tuple[Run, Made]]:
        """Make the records of some, all at once, as soon as their files are made."""
        ready = list(making)
        made = senders.map(
            lambda each, own: self._make(parts, each[0], each[1], own), drafted, ready
        )
        yield from zip((run for run, _ in drafted), made, strict=True)

    def _prepare(self, parts: AttachmentBuilder, drafted: Drafted) -> _Ready:
        """Make a record's files, unless the PDS has asked to wait: they would not be sent."""
        return self._told_to_wait or capture_errors(partial(parts.prepare, *drafted))

    def _make(self, parts: AttachmentBuilder, run: Run, draft: Draft, ready: _Ready) -> Made:
        """Make a run's record of what is ready.

        Once the PDS has asked to wait, for one of them, the others send nothing.
        """
        if ready is None or isinstance(ready, MediaError):
            return ready
        if self._told_to_wait:
            return self._told_to_wait
        result = capture_errors(
            partial(self.publisher.build_record, run, draft, self.repo, ready, parts)
        )
        if isinstance(result, WaitError):
            self._told_to_wait = result
        return result


def capture_errors(call: Callable[[], T]) -> T | MediaError | None:
    """Return what a call returns, the expected error that it raises, or None for any other.

    Nobody knows what that means for the neighbours: it is met again where there are none.
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
    """Have threads that begin nothing more once the block has ended."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
