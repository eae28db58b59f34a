"""Restoring an account: states that claim a record which is not in the repo are put right first.

What follows is a backfill of that account, which takes in what was wiped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Self

from worker.core.clock import now
from worker.core.documents import Account, Status
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.backfill.queries import BackfillQueries, StatusGroup
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot
from worker.services import Services

_UP = [Status.PARTIAL.value, Status.SYNCED.value]
PUBLISHED = StatusGroup("published", {"atproto.status": {"$in": _UP}})
_CHUNK = 500


class MissingRecords:
    """Finds the documents of an account whose records are gone from its repo."""

    def __init__(
        self, store: DocumentStore, selection: BackfillQueries, state_updates: StateUpdates
    ) -> None:
        self._store = store
        self._selection = selection
        self._state_updates = state_updates

    @classmethod
    def of(cls, services: Services) -> Self:
        """Return what finds such documents among these services'."""
        return cls(services.store, BackfillQueries(services.store), services.state_updates)

    def mark_pending(self, account: Account, repo: Repo, kinds: Sequence[MediaType]) -> int:
        """Make such documents pending, to be published anew; return how many there were."""
        snapshot = RepoSnapshot.parse(repo.did, repo.export())
        return sum(
            self._state_updates.apply(kind, gone, retry_at=now())
            for kind in kinds
            for gone in self._find(kind, account, snapshot)
        )

    def _find(
        self, kind: MediaType, account: Account, snapshot: RepoSnapshot
    ) -> Iterator[list[StateUpdate]]:
        there = snapshot.records(kind.nsid)
        ids = self._selection.documents(kind, PUBLISHED, account.subject)
        while chunk := list(islice(ids, _CHUNK)):
            yield [
                StateUpdate(document, account.did, document.state.rkey, None, drop_blobs=True)
                for document in self._store.find_all(kind, chunk)
                if document.state.repo == account.did
                and document.state.rkey
                and document.state.rkey not in there
            ]
