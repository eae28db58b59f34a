"""Report what a backfill would do, without any write.

Each item goes through the engine's own code, with a repo that keeps its writes in memory (see
`rehearsed_item.py`). Files are read and images decoded, because a sync does so too. Each repo is
read once, as a stream, and the items are read in the batches of the backfill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from worker.core.documents import Account, MediaDocument, Status
from worker.core.errors import MediaError, PermanentError
from worker.core.records import RecordKey
from worker.core.redis_errors import RedisUnavailableError
from worker.database.mongo import StoreUnavailableError
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.backfill.missing_records import find_missing
from worker.operations.backfill.planner import BackfillPlanner, BackfillPreview, Batch, Scope
from worker.operations.backfill.rehearsal_result import Rehearsal
from worker.operations.backfill.rehearsed_item import (
    Effect,
    ItemRehearsal,
    RehearsedItem,
    read_only_engine,
    reason_of,
)
from worker.operations.backfill.rehearsed_repo import AccountView
from worker.operations.expected import Record
from worker.pds.repo_snapshot import RecordsByRef, RepoDamagedError, RepoSnapshot
from worker.services import Services
from worker.sync.adoption import adopt_record
from worker.sync.batch.progress import BackfillProgress
from worker.sync.engine import Engine

_THREADS = 8  # that read files and blobs; images are decoded one at a time

Show = Callable[[BackfillProgress], None]


def rehearse(
    services: Services,
    scope: Scope,
    preview: BackfillPreview,
    *,
    samples: int = 0,
    reads_files: bool = True,
    show: Show = lambda _progress: None,
) -> Rehearsal:
    """Rehearse a backfill of the items in `preview`, account by account.

    Raises StoreUnavailableError and RedisUnavailableError.
    """
    result = Rehearsal(samples)
    engine = read_only_engine(services, reads_files=reads_files)
    planner = BackfillPlanner.of(services, result.count_invalid_id)
    with _threads() as pool:
        run = _Run(services, scope, planner, engine, pool, result, show, reads_files=reads_files)
        for owner, batches in run.accounts(preview):
            run.rehearse_account(owner, batches)
    return result


@contextmanager
def _threads() -> Iterator[Executor]:
    """Yield a thread pool; cancel its pending calls at the end of the block."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Run:
    """One dry run."""

    services: Services
    scope: Scope
    planner: BackfillPlanner
    engine: Engine
    pool: Executor
    result: Rehearsal
    show: Show
    reads_files: bool

    def accounts(self, preview: BackfillPreview) -> Iterator[tuple[str, Iterable[Batch]]]:
        """Yield the subject and the batches of each account.

        With a limit, these are the batches that the backfill would enqueue first.
        """
        scope = self.scope
        if scope.limit is None:
            # A restore includes items that have a status, but no record.
            for owner in (scope.owners or ()) if scope.removed else sorted(preview.owners):
                yield owner, self.planner.batches(replace(scope, owners=[owner]))
            return
        chosen = defaultdict[str, list[Batch]](list)
        for batch in self.planner.batches(scope):
            chosen[batch.owner].append(batch)
        yield from chosen.items()

    def rehearse_account(self, owner: str, batches: Iterable[Batch]) -> None:
        """Rehearse the items of an account; if it cannot be read, count them with its error."""
        account = self.services.storage.accounts.find(owner)
        if account is None:  # it was removed since
            return
        try:
            view = AccountView.of(self.services, account)
            snapshot = view.host.pds.get_repo(account.did)
            by_ref = {kind.nsid: snapshot.by_ref(kind.nsid) for kind in MEDIA_TYPES.values()}
        except (StoreUnavailableError, RedisUnavailableError):
            raise
        except MediaError as error:
            self._count_unreadable(owner, batches, error)
            return
        view = replace(view, snapshot=snapshot)
        items = ItemRehearsal(self.services, self.engine, view, self.reads_files)
        one = _AccountRun(self, account, snapshot, by_ref, items)
        one.rehearse_batches(batches)
        one.rehearse_others()

    def _count_unreadable(self, owner: str, batches: Iterable[Batch], error: MediaError) -> None:
        self.result.add_unreadable(owner, error.message)
        effect = Effect.FAILED if isinstance(error, PermanentError) else Effect.PENDING
        for batch in batches:
            reasons, number = [reason_of(error)], len(batch.ids)
            self.result.count(batch.kind.name, effect, reasons, batch.ids[0], number)
        self.show(self.result.progress)


@dataclass(frozen=True, slots=True)
class _AccountRun:
    """The part of a dry run that concerns one account."""

    run: _Run
    account: Account
    snapshot: RepoSnapshot
    by_ref: Mapping[str, RecordsByRef]
    items: ItemRehearsal

    def rehearse_batches(self, batches: Iterable[Batch]) -> None:
        store = self.run.services.storage.store
        for batch in batches:
            self._rehearse(batch.kind, store.find_all(batch.kind, batch.ids))
            self.run.planner.keep_alive()

    def rehearse_others(self) -> None:
        """Rehearse the items that a backfill or a restore adds after it has read the repo."""
        for kind in self.run.scope.kinds:
            if self.run.scope.removed:
                self._rehearse_missing(kind)
            if self.run.scope.limit is None:
                self._rehearse_hidden(kind)

    def _rehearse_missing(self, kind: MediaType) -> None:
        """Rehearse the published items without a record; partial ones are in a batch."""
        store, result = self.run.services.storage.store, self.run.result
        on_invalid_id = result.count_invalid_id
        for updates in find_missing(store, self.account, kind, self.snapshot, on_invalid_id):
            result.missing[self.account.subject] += len(updates)
            documents = [each.document for each in updates]
            self._rehearse(kind, [e for e in documents if e.state.status is Status.SYNCED])

    def _rehearse_hidden(self, kind: MediaType) -> None:
        """Rehearse hidden items that have a record: a backfill adopts it, so it is removed."""
        adoption = self.run.engine.adoption
        for updates in adoption.find_updates(kind, self.account, self.snapshot):
            hidden = [each.document for each in updates if each.document.hidden]
            self._rehearse(kind, [each for each in hidden if each.state.rkey is None])

    def _prepare(self, kind: MediaType, document: MediaDocument) -> MediaDocument:
        """Return a document as a backfill would mark it, with the record that it would adopt."""
        if self.run.scope.synced:
            document = document._replace(state=document.state._replace(remake=True))
        if self.run.scope.removed and self._is_missing(kind, document):
            state = document.state._replace(status=Status.PENDING, uri=None, cid=None, blobs={})
            document = document._replace(state=state._replace(adopted=False))
        named = self.by_ref[kind.nsid].choose(str(document.ref.id), document.state.rkey)
        if named is None:
            return document
        rules = self.run.services.media.lexicons.blob_rules(kind.nsid)
        update = adopt_record(document, self.account.did, named, rules)
        state = update.state_of(kind, document.state) if update else document.state
        return document._replace(state=state)

    def _is_missing(self, kind: MediaType, document: MediaDocument) -> bool:
        state = document.state
        is_published = state.status in {Status.SYNCED, Status.PARTIAL}
        in_repo = is_published and state.repo == self.account.did and state.rkey is not None
        return in_repo and state.rkey not in self.snapshot.records(kind.nsid)

    def _rehearse(self, kind: MediaType, documents: Sequence[MediaDocument]) -> None:
        result = self.run.result
        for item in self.run.pool.map(partial(self._rehearse_one, kind), documents):
            result.add(item, partial(self._published, item))
        self.run.show(result.progress)

    def _rehearse_one(self, kind: MediaType, document: MediaDocument) -> RehearsedItem:
        try:
            prepared = self._prepare(kind, document)
        except RepoDamagedError as error:
            reasons = (reason_of(error),)
            return RehearsedItem(kind, document, Effect.PENDING, document.state, reasons)
        return self.items.rehearse(kind, prepared)

    def _published(self, item: RehearsedItem) -> Record | None:
        """Return the existing record of an item."""
        key = RecordKey.parse(item.uri) if item.uri else None
        found = self.snapshot.records(key.collection).get(key.rkey) if key else None
        return found.value if found else None
