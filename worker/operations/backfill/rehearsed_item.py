"""Rehearse the sync of one document with the engine's own code, without any write.

The engine gets a repo, a run, a cache and a reader of files that save nothing. Therefore the
records and errors are those of a real sync.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.documents import Account, MediaDocument, Status, SyncState
from worker.core.errors import MediaError, UnexpectedError
from worker.core.fields import FieldError
from worker.core.records import RecordKey
from worker.core.redis_errors import RedisUnavailableError
from worker.database.leases import is_held, new_lease, not_before, state_after_claim
from worker.database.mongo import StoreUnavailableError
from worker.database.thumbnail_cache import COLLECTION, CachedThumbnail, ThumbnailCache
from worker.files.errors import SourceTooLargeError
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings
from worker.media import MediaType
from worker.media.validation.validator import InvalidRecordError
from worker.operations.backfill.rehearsed_repo import AccountView, RehearsedRepo
from worker.operations.expected import compare
from worker.pds.repo import Repo
from worker.services import Services
from worker.sync.attachments import AttachmentBuilder
from worker.sync.blobs import BlobBuilder
from worker.sync.engine import Engine
from worker.sync.retry import after_failure
from worker.sync.run import Run
from worker.sync.source_files import FoundFile
from worker.telemetry.alerts import NULL_ALERTS

log = logging.getLogger(__name__)

_UNREAD = b"a file that was not read"
UNREAD_CID = cid_of_blob(_UNREAD)
_HOLDER = "dry run"
_HELD = "held"  # another run has the item, or its PDS asked to wait


class Effect(StrEnum):
    """What a backfill would do with an item.

    NEW, CHANGED and UNCHANGED items would be `synced`; the others have the status of this name.
    """

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    PARTIAL = "partial"
    FAILED = "failed"
    PENDING = "pending"
    REMOVED = "removed"
    SKIPPED = "skipped"


_EFFECTS = {
    Status.PARTIAL: Effect.PARTIAL,
    Status.FAILED: Effect.FAILED,
    Status.PENDING: Effect.PENDING,
    Status.REMOVED: Effect.REMOVED,
    Status.SKIPPED: Effect.SKIPPED,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an item would not be synced; `field` is a field of the document or record, or empty."""

    code: str
    field: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RehearsedItem:
    """The result of one item. `state` is the state that a sync would save.

    `changes` are the fields of an existing record that would change, `written` is the record that
    would be written, if any, and `uploads` maps the CIDs of blobs to upload to their sizes.
    """

    kind: MediaType
    document: MediaDocument
    effect: Effect
    state: SyncState
    reasons: tuple[Reason, ...] = ()
    changes: tuple[str, ...] = ()
    written: Mapping[str, object] | None = None
    uploads: Mapping[str, int] = field(default_factory=dict)

    @property
    def uri(self) -> str | None:
        """Return the URI of the item's record, also of one that does not exist yet."""
        state = self.state
        if state.repo is None or state.rkey is None:
            return None
        return RecordKey(state.repo, self.kind.nsid, state.rkey).uri


class _RehearsedRun(Run):
    """A run of a document that is not claimed; with `buffered`, it saves no state either."""

    def release_key(self, key: RecordKey) -> None:
        pass

    def begin_write(self, key: RecordKey) -> None:
        self.written.add(key.uri)


class _UnsavedThumbnails(ThumbnailCache):
    """Reads the cache of thumbnails, and leaves it as it is."""

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        return CachedThumbnail.of(thumbnail)

    def put_many(self, new: object) -> None:
        pass

    def discard(self, cids: object) -> None:
        pass


class _UnreadFiles(SourceStore):
    """Returns placeholders for the contents of existing files; raises the errors of `stat`."""

    def __init__(self, sources: SourceStore) -> None:
        self._sources = sources

    def stat(self, key: SourceKey) -> SourceStat:
        return self._sources.stat(key)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        found = self.stat(key)
        if found.size is not None and found.size > max_bytes:
            raise SourceTooLargeError(
                f"{key.text} has {found.size} bytes; {max_bytes} is the limit"
            )
        return SourceFile(b"" if found.size == 0 else _UNREAD, found.identity or key.text)

    def close(self) -> None:
        """Leave the store open, because its owner closes it."""


class _UnreadBlobs(BlobBuilder):
    """Builds blobs from placeholders; images are not decoded."""

    def _thumbnail(
        self, settings: ThumbnailSettings, found: FoundFile, owner: str
    ) -> tuple[Thumbnail, str]:
        file = self._read_image(found.key, self._max_source_bytes)
        return Thumbnail(file.data, settings.formats[0]), file.identity


def read_only_engine(services: Services, *, reads_files: bool) -> Engine:
    """Return an engine that saves no thumbnail and sends no alert.

    With `reads_files`, files are read and images decoded, within the memory limit of a worker.
    Without, only the existence and the size of files are checked.
    """
    engine, media = services.sync.bulk_engine, services.media
    cache = _UnsavedThumbnails(services.storage.database[COLLECTION])
    build = BlobBuilder if reads_files else _UnreadBlobs
    blobs = build(
        media.sources if reads_files else _UnreadFiles(media.sources),
        cache,
        media.thumbnail_settings,
        max_source_bytes=services.settings.media.max_source_bytes,
    )
    attachments = AttachmentBuilder(blobs, media.lexicons, NULL_ALERTS)
    publisher = replace(engine.publisher, attachments=attachments)
    return replace(engine, publisher=publisher, thumbnails=cache, alerts=NULL_ALERTS)


@dataclass(frozen=True, slots=True)
class ItemRehearsal:
    """Rehearses the items of one account with an `engine` of `read_only_engine`."""

    services: Services
    engine: Engine
    view: AccountView
    reads_files: bool

    def rehearse(self, kind: MediaType, document: MediaDocument) -> RehearsedItem:
        """Rehearse a document whose record is adopted; raises as `rehearse` does."""
        if is_held(document, holder=_HOLDER) or not_before(document, only_if_due=False):
            held = Reason(_HELD, message="another run has the item, or its PDS asked to wait")
            return RehearsedItem(kind, document, Effect.PENDING, document.state, (held,))
        claim = state_after_claim(document, new_lease(_HOLDER, 0))
        run = _RehearsedRun(
            self.services.storage.store,
            kind,
            document._replace(state=claim),
            self.view.account.did,
            buffered=True,
        )
        repo = RehearsedRepo(self.services, self.view, reads_blobs=self.reads_files)
        state, reasons = self._sync(run, repo)
        return _build_item(run, state, repo, reasons)

    def _sync(self, run: Run, repo: RehearsedRepo) -> tuple[SyncState, tuple[Reason, ...]]:
        """Return the state that a sync would save, and the reasons if it is not `synced`."""
        retry = self.services.settings.retry
        try:
            engine = replace(self.engine, open_repo=partial(self._open_repo, repo))
            engine.check(run, force=False)
            state = engine.carry_out(run, self.view.account, force=False)
        except (StoreUnavailableError, RedisUnavailableError):
            raise
        except MediaError as error:
            return after_failure(run.state, error, retry, now()), (reason_of(error),)
        except Exception as bug:
            # Any exception: a bug with one item must not end the dry run. In a worker, such an
            # item fails after a few attempts.
            log.exception("unexpected error with %s", run.document.ref)
            unexpected = UnexpectedError.of(bug)
            failed = after_failure(run.state, unexpected, retry, now())
            return failed._replace(status=Status.FAILED), (reason_of(unexpected),)
        return state, tuple(_reasons(state))

    def _open_repo(self, own: RehearsedRepo, account: Account) -> Repo:
        """Return the repo of an item, or another account's, from which the item has moved."""
        if account.did == own.did:
            return own
        view = AccountView.of(self.services, account)
        return RehearsedRepo(self.services, view, reads_blobs=self.reads_files)


def _build_item(
    run: Run, state: SyncState, repo: RehearsedRepo, reasons: tuple[Reason, ...]
) -> RehearsedItem:
    written, replaced = repo.written, repo.replaced
    changes: Iterator[str] = iter(())
    if written and replaced:
        changes = (each.field.partition(".")[0] for each in compare(written, replaced.value))
    return RehearsedItem(
        kind=run.kind,
        document=run.document,
        effect=_effect(state, repo),
        state=state,
        reasons=reasons,
        changes=tuple(dict.fromkeys(changes)),
        written=written,
        uploads=repo.uploads,
    )


def _effect(state: SyncState, repo: RehearsedRepo) -> Effect:
    if state.status in _EFFECTS:
        return _EFFECTS[state.status]
    if repo.written is None:
        return Effect.UNCHANGED
    return Effect.CHANGED if repo.replaced else Effect.NEW


def reason_of(error: MediaError) -> Reason:
    """Return the reason for an error."""
    # The path of a field may be `tags[2]` or `thumbnail.size`.
    path = error.field if isinstance(error, FieldError | InvalidRecordError) else ""
    return Reason(error.code, path.partition(".")[0].partition("[")[0], error.message)


def _reasons(state: SyncState) -> Iterator[Reason]:
    """Yield why a state that was reached without an exception is not `synced`."""
    if state.status in {Status.SKIPPED, Status.REMOVED}:
        yield Reason(state.reason or "")
    if state.status is not Status.PARTIAL:
        return
    failed = {name: blob.error for name, blob in state.blobs.items() if blob.error}
    yield from (Reason(error.code, name, error.message) for name, error in failed.items())
    if state.error and not failed:  # of a link
        yield Reason(state.error.code, "", state.error.message)
