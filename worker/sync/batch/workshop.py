"""The files of a batch: each looked at once, their thumbnails fetched and kept with one call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress

from worker.core.errors import MediaError
from worker.database.thumbnails import (
    CachedThumbnail,
    NewThumbnail,
    ThumbnailCache,
    ThumbnailCacheUnavailableError,
)
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings
from worker.media import Draft
from worker.media.base import Making
from worker.sync.attachments import PartMaker

log = logging.getLogger(__name__)


class Workshop:
    """Makes the parts of many records."""

    def __init__(self, parts: PartMaker, cache: ThumbnailCache) -> None:
        self._parts = parts
        self._cache = cache

    @contextmanager
    def open(self, drafts: Sequence[Draft], pool: Executor) -> Iterator[PartMaker]:
        """Give a maker of these drafts' parts; the thumbnails it has made are kept at the end.

        Without the cache thumbnails are made anew.
        """
        blobs = self._parts.blobs
        sources = _Seen(blobs.sources)
        stats = pool.map(sources.look, _images(drafts))
        shelf = _Shelf(self._fetched({s.identity for s in stats if s and s.identity}))
        try:
            yield self._parts.over(blobs.over(sources, shelf))
        finally:
            self._keep(shelf.new)

    def _fetched(self, identities: set[str]) -> dict[str, CachedThumbnail]:
        try:
            return self._cache.get_many(identities, self._parts.blobs.thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("thumbnails are made anew: %s", error.message)
            return {}

    def _keep(self, new: Sequence[NewThumbnail]) -> None:
        try:
            self._cache.put_many(new, self._parts.blobs.thumbnails)
        except ThumbnailCacheUnavailableError as error:
            log.warning("%d thumbnails were not kept: %s", len(new), error.message)


class _Seen(SourceStore):
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


class _Shelf:
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
        for wish in draft.blobs.values():
            if wish.making is Making.THUMBNAIL:
                with suppress(MediaError):
                    yield wish.file.key()
