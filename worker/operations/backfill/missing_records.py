"""Find the documents of an account whose records are missing from its repo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from worker.core.clock import now
from worker.core.documents import Account, Status
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.backfill.queries import BackfillQueries, StatusGroup
from worker.pds.repo_snapshot import RepoSnapshot
from worker.services import Services

PUBLISHED = StatusGroup({"atproto.status": {"$in": [Status.PARTIAL.value, Status.SYNCED.value]}})
_CHUNK = 500


def mark_missing(services: Services, account: Account, kinds: Sequence[MediaType]) -> int:
    """Make documents without a record pending; return how many were changed."""
    store, repo = services.storage.store, services.pds.repo(account)
    snapshot = repo.export()
    return sum(
        StateUpdates(store).apply(kind, missing, retry_at=now())
        for kind in kinds
        for missing in find_missing(store, account, kind, snapshot, store.mark_invalid_id)
    )


def find_missing(
    store: DocumentStore,
    account: Account,
    kind: MediaType,
    snapshot: RepoSnapshot,
    on_invalid_id: Callable[[MediaType, object], None],
) -> Iterator[list[StateUpdate]]:
    """Yield the updates of published documents without a record, in chunks.

    `on_invalid_id` is called as by `BackfillQueries`.
    """
    existing = snapshot.records(kind.nsid)
    ids = BackfillQueries(store, on_invalid_id).documents(kind, PUBLISHED, account.subject)
    while chunk := list(islice(ids, _CHUNK)):
        yield [
            StateUpdate(document, account.did, document.state.rkey, None, blobs={})
            for document in store.find_all(kind, chunk)
            if document.state.repo == account.did
            and document.state.rkey
            and document.state.rkey not in existing
        ]
