"""A store of source files that calls a function of the test before each access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.services import Services
from worker.sync.batch.engine import BatchEngine
from worker.sync.batch.records import BatchFiles
from worker.sync.blobs import BlobBuilder

Hook = Callable[[str, str], object]
"""Called with `stat` or `read`, and the name of the file."""


class HookedSources(SourceStore):
    """A store that tells a hook of each access before it is made."""

    def __init__(self, store: SourceStore, hook: Hook) -> None:
        self._store = store
        self._hook = hook

    def stat(self, key: SourceKey) -> SourceStat:
        """Look at a file."""
        self._hook("stat", key.path[-1])
        return self._store.stat(key)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Read a file."""
        self._hook("read", key.path[-1])
        return self._store.read(key, max_bytes=max_bytes)

    def close(self) -> None:
        """Leave the store open: it is not ours."""


def with_hook(services: Services, batches: BatchEngine, hook: Hook) -> BatchEngine:
    """Return batches whose accesses to source files are told to a hook first."""
    return with_sources(services, batches, HookedSources(services.media.sources, hook))


def with_sources(services: Services, batches: BatchEngine, sources: SourceStore) -> BatchEngine:
    """Return batches, and their engine, that read source files from another store."""
    blobs = batches.publisher.attachments.blobs.with_sources(sources, services.media.thumbnails)
    return with_blobs(services, batches, blobs)


def with_blobs(services: Services, batches: BatchEngine, blobs: BlobBuilder) -> BatchEngine:
    """Return batches, and their engine, that make blobs with another builder."""
    attachments = replace(batches.publisher.attachments, blobs=blobs)
    publisher = replace(batches.publisher, attachments=attachments)
    return replace(
        batches,
        engine=replace(batches.engine, publisher=publisher),
        publisher=publisher,
        batch_files=BatchFiles(attachments, services.media.thumbnails),
    )
